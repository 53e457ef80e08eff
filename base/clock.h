/* The machine's clocks, read in one place. Rooms that decide take time as an argument instead. */
#ifndef LAPSE_BASE_CLOCK_H
#define LAPSE_BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* CLOCK_BOOTTIME: monotonic, counts suspend, is not stepped. Differences only. */
int64_t clock_boot_ms(void);
int64_t clock_boot_us(void);
/* CLOCK_REALTIME in milliseconds since the Unix epoch. */
int64_t clock_wall_ms(void);

/* Waiting by pthread_cond_timedwait that no step of the wall clock stretches: a condition on CLOCK_MONOTONIC, and the
 * moment `ms` from now to wait until. */
void clock_condition_init(pthread_cond_t *condition);
struct timespec clock_moment_after(uint32_t ms);

#endif
