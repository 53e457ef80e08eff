/* How the end of an item spreads: one writer ends items, and every watcher is told. What revocation and fanout measure.
 *
 *   start --item_end--> acknowledged                    (writer's loop)
 *     |<---- ack ---->|
 *     |<- first ->|<- median ->|<- last ->|             (watchers' loop)
 *
 * Closed (no rate): the next starts when the last is acknowledged and every watcher was told of it. Open (a rate): at
 * even distances, each counted from the moment at which it was to start, whatever became of the earlier ones: a stall
 * is seen by all that should have started in it, so that nothing is omitted. */
#ifndef LAPSE_BENCH_HARNESS_SPREAD_H
#define LAPSE_BENCH_HARNESS_SPREAD_H

#include "bench/harness/scenario.h"

struct spread;

struct spread_options {
    uint32_t node;     /* the writer's */
    uint32_t watchers; /* may be 0 */
    uint32_t warmup, writes, rate;
};

/* Opens the writer and watchers; items [0, warmup + writes) must be there. */
lapse_result spread_open(struct bench *bench, const struct spread_options *options, struct spread **spread,
                         struct lapse_error *error) LAPSE_MUST_USE;
/* Ends the items and fills the report's samples "ack", "first", "median", "last", also with what came before a
 * failure. UNAVAILABLE, CANCELLED. */
lapse_result spread_run(struct spread *spread, struct lapse_error *error) LAPSE_MUST_USE;
/* Accepts NULL. */
void spread_close(struct spread *spread);

#endif
