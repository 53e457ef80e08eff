/* How a cluster begins: each member's operator runs the same `lapsed init` with the same arguments, and all of them
 * make the very same cluster, without having talked to one another.
 *
 *   name, members, operator, token --> canonical text --> SHA-256 --> cluster id "NAME-16 hex digits"
 *                                  --> the first two log entries (raft/replica.h), equal on all members
 *
 * Nodes of different ids refuse each other, so a slip in one member's arguments shows at once instead of making two
 * halves. */
#ifndef LAPSE_NODE_BOOTSTRAP_H
#define LAPSE_NODE_BOOTSTRAP_H

#include <stdint.h>

#include "base/limits.h"
#include "base/result.h"
#include "node/host_port.h"

/* The id is a name, a hyphen, 16 digits and a NUL. */
#define CLUSTER_NAME_MAX 40
#define CLUSTER_PLAN_ID_SIZE (CLUSTER_NAME_MAX + 1 + 16 + 1)
#define CLUSTER_TOKEN_MAX 128

struct cluster_member {
    uint64_t id; /* 1 .. INT64_MAX */
    struct host_port address;
};

struct cluster_plan {
    char name[CLUSTER_NAME_MAX + 1];
    struct cluster_member members[LIMIT_PEERS]; /* ascending by id */
    uint32_t n_members;
    char operator[LIMIT_PRINCIPAL + 1];
    char token[CLUSTER_TOKEN_MAX + 1];
};

/* Checks and takes over all arguments as they were typed. `members`: "1=host:port,2=host:port"; `token` may be NULL: it
 * tells clusters apart that are otherwise made alike. INVALID_ARGUMENT names the flag; `plan` is then unspecified. */
lapse_result cluster_plan_make(const char *name, const char *members, const char *operator, const char * token,
                               struct cluster_plan *plan, struct lapse_error *error) LAPSE_MUST_USE;
void cluster_plan_id(const struct cluster_plan *plan, char id[CLUSTER_PLAN_ID_SIZE]);
/* A node's number as it was typed. INVALID_ARGUMENT unless 1 .. INT64_MAX. */
lapse_result node_id_parse(const char *text, uint64_t *id, struct lapse_error *error) LAPSE_MUST_USE;

/* Makes the data directory (0700; its parent must exist) of one of the plan's members, or of a newcomer that joins
 * later. ALREADY_EXISTS when there is anything in it; INVALID_ARGUMENT when `node_id` is not in the plan; UNAVAILABLE,
 * PERMISSION_DENIED and RESOURCE_EXHAUSTED from the disk. An interrupted attempt can be repeated. */
lapse_result bootstrap_member(const struct cluster_plan *plan, uint64_t node_id, const char *data_dir,
                              struct lapse_error *error) LAPSE_MUST_USE;
/* `cluster`: the id that `lapsed init` printed; a newcomer takes part in no other one. */
lapse_result bootstrap_newcomer(const char *cluster, uint64_t node_id, const char *data_dir,
                                struct lapse_error *error) LAPSE_MUST_USE;
/* "1=host:port,2=host:port" into plan->members, which is all of `plan` that is used. INVALID_ARGUMENT. */
lapse_result cluster_members_parse(const char *members, struct cluster_plan *plan,
                                   struct lapse_error *error) LAPSE_MUST_USE;

#endif
