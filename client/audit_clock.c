#include "client/audit_clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

const char *audit_clock(int64_t unix_ms, char out[AUDIT_CLOCK_SIZE])
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;
    char day[32];
    if (unix_ms <= 0 || gmtime_r(&seconds, &tm) == NULL) {
        snprintf(out, AUDIT_CLOCK_SIZE, "-");
        return out;
    }
    strftime(day, sizeof day, "%Y-%m-%d %H:%M:%S", &tm);
    snprintf(out, AUDIT_CLOCK_SIZE, "%.24s.%03d UTC", day, (int)(unix_ms % 1000));
    return out;
}

const char *audit_duration(int64_t ms, char out[AUDIT_CLOCK_SIZE])
{
    int64_t s = ms / 1000, min = s / 60, h = min / 60, d = h / 24;
    if (ms < 1000)
        snprintf(out, AUDIT_CLOCK_SIZE, "%" PRId64 " ms", ms);
    else if (s < 10)
        snprintf(out, AUDIT_CLOCK_SIZE, "%" PRId64 ".%" PRId64 " s", s, ms % 1000 / 100);
    else if (s < 60)
        snprintf(out, AUDIT_CLOCK_SIZE, "%" PRId64 " s", s);
    else if (min < 60)
        snprintf(out, AUDIT_CLOCK_SIZE, s % 60 == 0 ? "%" PRId64 " min" : "%" PRId64 " min %" PRId64 " s", min, s % 60);
    else if (h < 48)
        snprintf(out, AUDIT_CLOCK_SIZE, min % 60 == 0 ? "%" PRId64 " h" : "%" PRId64 " h %" PRId64 " min", h, min % 60);
    else
        snprintf(out, AUDIT_CLOCK_SIZE, h % 24 == 0 ? "%" PRId64 " d" : "%" PRId64 " d %" PRId64 " h", d, h % 24);
    return out;
}
