/* Writes beside what is measured: one connection that makes items at even distances, whatever becomes of the earlier
 * ones (an open loop). Its acknowledgements are samples of their own, each counted from the moment at which its write
 * was to start. */
#ifndef LAPSE_BENCH_HARNESS_STEADY_H
#define LAPSE_BENCH_HARNESS_STEADY_H

#include "bench/harness/report.h"
#include "bench/harness/system.h"

struct steady;

struct steady_options {
    uint32_t node;
    uint32_t first, n; /* the items that it makes, [first, first + n); with the last of them it ends */
    uint32_t rate;     /* a second */
};

/* Begins at once; the items must have been reserved. */
lapse_result steady_start(struct system *system, struct bench_loop *loop, const struct steady_options *options,
                          struct steady **steady, struct lapse_error *error) LAPSE_MUST_USE;
/* Ends it. Adds the samples to `acks` (may be NULL) and the number of those that failed to *failed. Accepts NULL. */
void steady_stop(struct steady *steady, struct samples *acks, uint64_t *failed);

#endif
