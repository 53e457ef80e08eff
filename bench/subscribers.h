/* Subscribers: each a client with a connection, a thread and a watch of its own, spread over the nodes. They all look
 * out for one grant's end at a time and note when its event arrived, on the clock of this process. */
#ifndef LAPSE_BENCH_SUBSCRIBERS_H
#define LAPSE_BENCH_SUBSCRIBERS_H

#include "bench/lapse_bench.h"

struct subscribers;

/* Returns when all are in place. Subscriber i is at node i % nodes + 1. */
lapse_result subscribers_start(struct cluster *cluster, uint32_t n, struct subscribers **subscribers,
                               struct lapse_error *error) LAPSE_MUST_USE;
void subscribers_stop(struct subscribers *subscribers);

/* From now on receipts count for this grant's events of `type`. */
void subscribers_expect(struct subscribers *subscribers, const char *grant_id, enum lapse_event_type type);
/* Waits until `need` of them have received it; *first_ns and *last_ns are the times of the first and the last of these.
 * UNAVAILABLE when that takes 30 s. */
lapse_result subscribers_wait(struct subscribers *subscribers, uint32_t need, int64_t *first_ns, int64_t *last_ns,
                              struct lapse_error *error) LAPSE_MUST_USE;

#endif
