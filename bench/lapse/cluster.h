/* Lapse as a system under test: `lapsed` processes of this machine in one temporary directory, with certificates, ports
 * and roles of their own; or a running cluster (--endpoints).
 *
 *   DIR/pki/            the authority; operator, writer (requester and operator), dev1 (requester), oncall (approver),
 *                       proxy1 (enforcer), node1 ...
 *   DIR/node1/ ...      data        DIR/node1.log ...   what the nodes say
 *
 * An item is a grant. A policy makes requests of the writer automatic, so that making one is one call (Request). In a
 * running cluster, whose policies are not ours to change, it is two: dev1 requests, oncall approves. Ending one is
 * Revoke, and a watcher is a connection with a Watch stream of all grants. Which item a grant is stands in its ticket,
 * so that a watcher needs no table. */
#ifndef LAPSE_BENCH_LAPSE_CLUSTER_H
#define LAPSE_BENCH_LAPSE_CLUSTER_H

#include "bench/harness/grpc_link.h"
#include "bench/harness/system.h"
#include "client/lapse.h"

extern const struct system_kind kind_lapse;

/* --- for scenarios of Lapse alone --------------------------------------------------------------------------------- */

/* Where a user connects, and as whom; the strings are in it. `node` 0: all nodes. Users: see above. */
struct cluster_user {
    char endpoints[SYSTEM_NODES_MAX * 48];
    char certificate[PROCESS_PATH_SIZE], key[PROCESS_PATH_SIZE], authorities[PROCESS_PATH_SIZE];
    struct lapse_client_options options; /* points into the rest: don't copy it */
};
void cluster_user(const struct system *system, const char *name, uint32_t node, struct cluster_user *user);

/* What an item's grant is about. */
#define CLUSTER_TEXT_SIZE 64
#define CLUSTER_ACTION "connect"
void cluster_item_subject(uint32_t item, char subject[CLUSTER_TEXT_SIZE]);
void cluster_item_resource(uint32_t item, char resource[CLUSTER_TEXT_SIZE]);
/* Its id, a ULID; "" when it was not made. After its item_make is done; any thread. */
const char *cluster_item_id(const struct system *system, uint32_t item);

/* What item_end waits for from now on. Only while nothing is under way. */
void cluster_set_wait(struct system *system, enum lapse_wait wait);

#endif
