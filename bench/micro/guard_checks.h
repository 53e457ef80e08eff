/* What a decision at an enforcement point costs: the guard's own check on a cache of many grants, without a cluster,
 * while a writer ends and activates grants as a stream would. Questions go over all subjects at random, so most are not
 * in a processor's cache; 1 in 4 is denied. */
#ifndef LAPSE_BENCH_MICRO_GUARD_CHECKS_H
#define LAPSE_BENCH_MICRO_GUARD_CHECKS_H

#include <stdint.h>

#define GUARD_CHECKS_THREADS_MAX 64

struct guard_checks;

/* A guard of `n_grants` grants, four a subject, paths of three segments, made by hand. */
struct guard_checks *guard_checks_new(uint32_t n_grants);
void guard_checks_free(struct guard_checks *checks);

/* Nanoseconds of one check, averaged over 16: the clock costs more than half of one. */
struct guard_latency {
    uint32_t p50, p99, p999;
    double permitted; /* of all, 0 to 1 */
};
/* One thread, for `seconds`. */
struct guard_latency guard_checks_latency(struct guard_checks *checks, uint32_t changes_per_second, uint32_t seconds);
/* `threads` of them: checks a second, all together. */
double guard_checks_throughput(struct guard_checks *checks, uint32_t changes_per_second, uint32_t threads,
                               uint32_t seconds);

#endif
