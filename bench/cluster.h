/* A real cluster for a benchmark: `lapsed` processes of this machine in one temporary directory, with certificates,
 * ports and roles of their own.
 *
 *   DIR/pki/            the authority; operator, dev1 (requester), oncall (approver), proxy1 (enforcer), node1 ...
 * nodeN DIR/node1/ ...      data directories DIR/node1.log ...   what the nodes say
 *
 * The nodes die with this process, however it ends (PR_SET_PDEATHSIG). Everything is called from one thread. */
#ifndef LAPSE_BENCH_CLUSTER_H
#define LAPSE_BENCH_CLUSTER_H

#include "client/lapse.h"

#define CLUSTER_NODES_MAX 7

struct cluster;

struct cluster_options {
    const char *lapsed; /* path of the program; NULL: beside this one, ../node/lapsed */
    uint32_t nodes;     /* 1 to CLUSTER_NODES_MAX */
    bool keep;          /* leave the directory when it ends, and say where it is */
    char *const *flags; /* for every node, as "--raft-election-timeout-ms=300"; NULL-terminated; may be NULL */
};

/* Makes and starts the cluster, and returns when it has a leader and its roles. NOT_FOUND without the program,
 * UNAVAILABLE when a node ends or nothing comes of it within a minute; the message quotes the end of a node's log. */
lapse_result cluster_start(const struct cluster_options *options, struct cluster **cluster,
                           struct lapse_error *error) LAPSE_MUST_USE;
/* Kills what runs and removes the directory. Accepts NULL. */
void cluster_stop(struct cluster *cluster);

/* UNAVAILABLE with the reason when a node has ended that nobody killed. */
lapse_result cluster_check(struct cluster *cluster, struct lapse_error *error) LAPSE_MUST_USE;

uint32_t cluster_size(const struct cluster *cluster);
/* kill -9, and its end awaited. `node` from 1. */
void cluster_kill(struct cluster *cluster, uint64_t node);
/* Starts it again on its data and ports; returns at once. */
lapse_result cluster_restart(struct cluster *cluster, uint64_t node, struct lapse_error *error) LAPSE_MUST_USE;
/* Waits until `node` answers and has applied what the cluster had committed by then. UNAVAILABLE after a minute. */
lapse_result cluster_wait_caught_up(struct cluster *cluster, uint64_t node, struct lapse_error *error) LAPSE_MUST_USE;
/* The leader's id, waited for. */
lapse_result cluster_leader(struct cluster *cluster, uint64_t *node, struct lapse_error *error) LAPSE_MUST_USE;

/* A client for one of the users above. `node` 0: all nodes are its endpoints; otherwise only that one. The caller frees
 * it. */
lapse_result cluster_client(struct cluster *cluster, const char *user, uint64_t node, struct lapse_client **client,
                            struct lapse_error *error) LAPSE_MUST_USE;
/* "spiffe://bench.lapse/user/dev1". */
#define CLUSTER_SUBJECT "spiffe://bench.lapse/user/dev1"

#endif
