/* lapse-bench: its scenarios. Each runs on a cluster of its own, prints a table, and returns a report. */
#ifndef LAPSE_BENCH_LAPSE_BENCH_H
#define LAPSE_BENCH_LAPSE_BENCH_H

#include "bench/cluster.h"
#include "bench/report.h"

struct bench_settings {
    uint32_t nodes, subscribers, writes, warmup, rounds;
};

/* True once a signal asked for the end: scenarios stop with CANCELLED. */
bool bench_interrupted(void);

/* From Revoke to the acknowledgement, and to the first and the last subscriber's receipt of the event. */
lapse_result bench_revocation(struct cluster *cluster, const struct bench_settings *settings, json_t **report,
                              struct lapse_error *error) LAPSE_MUST_USE;
/* From kill -9 of the leader to the next acknowledged write, and to its event at a subscriber of a node that lives. */
lapse_result bench_failover(struct cluster *cluster, const struct bench_settings *settings, json_t **report,
                            struct lapse_error *error) LAPSE_MUST_USE;

/* ---- grants.c: what scenarios share */

/* Requests and approves `n` grants, many at once. ids[i] are ULIDs; the caller's array of [n]. */
typedef char bench_id[27];
lapse_result bench_grants_make(struct cluster *cluster, uint32_t n, bench_id *ids,
                               struct lapse_error *error) LAPSE_MUST_USE;

#endif
