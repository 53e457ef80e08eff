/* Moments and durations as an auditor reads them: in UTC, whatever the machine's time zone is. */
#ifndef LAPSE_CLIENT_AUDIT_CLOCK_H
#define LAPSE_CLIENT_AUDIT_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define AUDIT_CLOCK_SIZE 40

/* "2026-01-31 18:00:00.123 UTC"; "-" for 0. Returns `out`. */
const char *audit_clock(int64_t unix_ms, char out[AUDIT_CLOCK_SIZE]);
/* "450 ms", "32 s", "14 min", "2 h 5 min", "3 d 4 h": two units at most. Returns `out`. */
const char *audit_duration(int64_t ms, char out[AUDIT_CLOCK_SIZE]);

#endif
