/* When each watcher was told of each item's end: one connection a node (or several), on the watchers' loop.
 *
 * Nodes may be left out and taken in again, as they die and come back; the record stays. */
#ifndef LAPSE_BENCH_HARNESS_TALLY_H
#define LAPSE_BENCH_HARNESS_TALLY_H

#include "bench/harness/system.h"

struct tally;

/* Opens `per_node` watchers at every node, for items 0 to n_items - 1; n_nodes * per_node up to 64 of them. */
lapse_result tally_open(struct system *system, struct bench_loop *loop, uint32_t per_node, uint32_t n_items,
                        struct tally **tally, struct lapse_error *error) LAPSE_MUST_USE;
/* Accepts NULL. */
void tally_close(struct tally *tally);

/* Closes the watchers of a node, which may have died; nobody waits for them any more. Opens them again. */
void tally_leave_out(struct tally *tally, uint32_t node);
lapse_result tally_take_in(struct tally *tally, uint32_t node, struct lapse_error *error) LAPSE_MUST_USE;
/* Nobody waits for the watchers of `node` until it is awaited again; they stay open. */
void tally_await(struct tally *tally, uint32_t node, bool awaited);
/* Items [first, first + n) will end next: for systems whose watches are set by item. */
lapse_result tally_arm(struct tally *tally, uint32_t first, uint32_t n, struct lapse_error *error) LAPSE_MUST_USE;

/* Waits until every awaited watcher was told of all items [first, first + n): 0. Otherwise so many (watcher, item) are
 * missing: when nothing has come for `patience_ms`, or a signal came. */
lapse_result tally_wait(struct tally *tally, uint32_t first, uint32_t n, uint32_t patience_ms, uint64_t *missing,
                        struct lapse_error *error) LAPSE_MUST_USE;
/* When the first and the last awaited watcher was told; 0: not all were. For items that were waited for. */
int64_t tally_first_ns(const struct tally *tally, uint32_t item);
int64_t tally_last_ns(const struct tally *tally, uint32_t item);

#endif
