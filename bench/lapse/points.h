/* Enforcement points within this program: real guards (client/lapse_guard.h), in whose scope all items are. */
#ifndef LAPSE_BENCH_LAPSE_POINTS_H
#define LAPSE_BENCH_LAPSE_POINTS_H

#include "bench/harness/system.h"

struct lapse_points;

/* `n` guards, each of which may use any node; deciding when this returns. */
lapse_result lapse_points_open(struct system *system, uint32_t n, struct lapse_points **points,
                               struct lapse_error *error) LAPSE_MUST_USE;
/* Accepts NULL. */
void lapse_points_close(struct lapse_points *points);

/* Whether guard `i` permits what the item's grant allows. Any thread; a microsecond at most. */
bool lapse_points_check(struct lapse_points *points, uint32_t i, uint32_t item);

#endif
