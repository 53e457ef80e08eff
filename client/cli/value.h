/* What people type and read: durations, times, thumbprints. Pure. */
#ifndef LAPSE_CLIENT_CLI_VALUE_H
#define LAPSE_CLIENT_CLI_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "30s", "15m", "8h", "2d", "250ms", and several of them in falling order: "1h30m". Positive, at most ten years. False
 * when it is none. */
bool value_parse_duration(const char *text, int64_t *ms);
/* RFC 3339 ("2026-01-31T18:00:00Z", "2026-01-31T18:00:00.5+01:00"), or a plus sign and a duration from `now_ms`
 * ("+15m"). */
bool value_parse_time(const char *text, int64_t now_ms, int64_t *unix_ms);
/* Exactly `size` bytes as hex digits, colons between bytes allowed. */
bool value_parse_hex(const char *text, uint8_t *bytes, size_t size);

/* "2h05m", "14m", "1m20s", "32s", "450ms": two units at most. */
void value_format_duration(int64_t ms, char *out, size_t size);
/* Local time and how far away it is: "2026-01-31 19:00:00 (in 14m)", "... (3s ago)"; "-" for 0. */
void value_format_time(int64_t unix_ms, int64_t now_ms, char *out, size_t size);
/* "19:00:00.123", local. */
void value_format_clock(int64_t unix_ms, char *out, size_t size);

#endif
