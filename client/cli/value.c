#include "client/cli/value.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEN_YEARS_MS (3653LL * 24 * 3600 * 1000)

static const struct unit {
    const char *name;
    int64_t ms;
} units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
#define N_UNITS (sizeof units / sizeof units[0])

static bool digits(const char **at, int64_t *value)
{
    if (!isdigit((unsigned char)**at))
        return false;
    for (*value = 0; isdigit((unsigned char)**at); (*at)++) {
        *value = *value * 10 + (**at - '0');
        if (*value > TEN_YEARS_MS)
            return false;
    }
    return true;
}

/* The unit at `at`, which must be smaller than the one before (`from`: first index allowed). */
static size_t unit_at(const char **at, size_t from)
{
    size_t len = strspn(*at, "dhms");
    /* In "1m500ms" letters and digits alternate, so the letters up to the next digit are one unit. */
    for (size_t i = from; i < N_UNITS; i++) {
        if (strlen(units[i].name) == len && strncmp(*at, units[i].name, len) == 0) {
            *at += len;
            return i;
        }
    }
    return N_UNITS;
}

bool value_parse_duration(const char *text, int64_t *ms)
{
    int64_t total = 0, value;
    size_t next = 0;
    const char *at = text;
    do {
        if (!digits(&at, &value))
            return false;
        size_t unit = unit_at(&at, next);
        if (unit == N_UNITS || value > TEN_YEARS_MS / units[unit].ms)
            return false;
        total += value * units[unit].ms;
        next = unit + 1;
    } while (*at != '\0');
    if (total <= 0 || total > TEN_YEARS_MS)
        return false;
    *ms = total;
    return true;
}

/* ---- RFC 3339 */

static bool fixed_digits(const char **at, int n, int low, int high, int *value)
{
    *value = 0;
    for (int i = 0; i < n; i++, (*at)++) {
        if (!isdigit((unsigned char)**at))
            return false;
        *value = *value * 10 + (**at - '0');
    }
    return *value >= low && *value <= high;
}

static bool expect(const char **at, char c)
{
    if (toupper((unsigned char)**at) != c)
        return false;
    (*at)++;
    return true;
}

static bool date_time(const char **at, struct tm *tm)
{
    bool ok = fixed_digits(at, 4, 1970, 9999, &tm->tm_year) && expect(at, '-') &&
              fixed_digits(at, 2, 1, 12, &tm->tm_mon) && expect(at, '-') && fixed_digits(at, 2, 1, 31, &tm->tm_mday) &&
              (expect(at, 'T') || expect(at, ' ')) && fixed_digits(at, 2, 0, 23, &tm->tm_hour) && expect(at, ':') &&
              fixed_digits(at, 2, 0, 59, &tm->tm_min) && expect(at, ':') && fixed_digits(at, 2, 0, 60, &tm->tm_sec);
    tm->tm_year -= 1900;
    tm->tm_mon -= 1;
    return ok;
}

static bool fraction(const char **at, int64_t *ms)
{
    int64_t scale = 100;
    *ms = 0;
    if (!expect(at, '.'))
        return true;
    if (!isdigit((unsigned char)**at))
        return false;
    for (; isdigit((unsigned char)**at); (*at)++, scale /= 10)
        *ms += (**at - '0') * scale;
    return true;
}

static bool offset(const char **at, int64_t *seconds)
{
    int hours, minutes, sign = **at == '-' ? -1 : 1;
    *seconds = 0;
    if (expect(at, 'Z'))
        return true;
    if (!expect(at, '+') && !expect(at, '-'))
        return false;
    if (!fixed_digits(at, 2, 0, 23, &hours) || !expect(at, ':') || !fixed_digits(at, 2, 0, 59, &minutes))
        return false;
    *seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

static bool parse_rfc3339(const char *text, int64_t *unix_ms)
{
    struct tm tm = {0};
    int64_t ms, seconds;
    const char *at = text;
    if (!date_time(&at, &tm) || !fraction(&at, &ms) || !offset(&at, &seconds) || *at != '\0')
        return false;
    int day = tm.tm_mday;
    int64_t whole = timegm(&tm);
    if (tm.tm_mday != day) /* the 31st of February */
        return false;
    *unix_ms = (whole - seconds) * 1000 + ms;
    return *unix_ms > 0;
}

bool value_parse_time(const char *text, int64_t now_ms, int64_t *unix_ms)
{
    int64_t ahead;
    if (*text != '+')
        return parse_rfc3339(text, unix_ms);
    if (!value_parse_duration(text + 1, &ahead))
        return false;
    *unix_ms = now_ms + ahead;
    return true;
}

bool value_parse_hex(const char *text, uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        char pair[3] = {0};
        if (i > 0 && *text == ':')
            text++;
        if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]))
            return false;
        memcpy(pair, text, 2);
        bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
        text += 2;
    }
    return *text == '\0';
}

/* ---- For people */

void value_format_duration(int64_t ms, char *out, size_t size)
{
    int64_t s = ms / 1000;
    if (ms < 1000)
        snprintf(out, size, "%" PRId64 "ms", ms);
    else if (s < 60)
        snprintf(out, size, "%" PRId64 "s", s);
    else if (s < 600 && s % 60 != 0)
        snprintf(out, size, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
    else if (s < 3600)
        snprintf(out, size, "%" PRId64 "m", s / 60);
    else if (s < 86400)
        snprintf(out, size, s % 3600 >= 60 ? "%" PRId64 "h%02" PRId64 "m" : "%" PRId64 "h", s / 3600, s % 3600 / 60);
    else
        snprintf(out, size, s % 86400 >= 3600 ? "%" PRId64 "d%02" PRId64 "h" : "%" PRId64 "d", s / 86400,
                 s % 86400 / 3600);
}

static bool local_time(int64_t unix_ms, struct tm *tm)
{
    time_t seconds = (time_t)(unix_ms / 1000);
    return localtime_r(&seconds, tm) != NULL;
}

void value_format_time(int64_t unix_ms, int64_t now_ms, char *out, size_t size)
{
    char when[32], away[32];
    struct tm tm;
    if (unix_ms == 0 || !local_time(unix_ms, &tm)) {
        snprintf(out, size, "-");
        return;
    }
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm);
    value_format_duration(unix_ms > now_ms ? unix_ms - now_ms : now_ms - unix_ms, away, sizeof away);
    if (unix_ms > now_ms)
        snprintf(out, size, "%s (in %s)", when, away);
    else
        snprintf(out, size, "%s (%s ago)", when, away);
}

void value_format_clock(int64_t unix_ms, char *out, size_t size)
{
    struct tm tm;
    char clock[16];
    if (!local_time(unix_ms, &tm)) {
        snprintf(out, size, "-");
        return;
    }
    strftime(clock, sizeof clock, "%H:%M:%S", &tm);
    snprintf(out, size, "%s.%03d", clock, (int)(unix_ms % 1000));
}
