/* https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, section by section. */
#include "proto/grpc_wire.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>

#include "base/check.h"

/* --- Timeout: TimeoutValue TimeoutUnit --------------------------------------------------------------------------- */

#define TIMEOUT_DIGITS 8
#define TIMEOUT_VALUE_MAX 99999999

/* Milliseconds as a fraction, so that one table serves both directions. */
static const struct timeout_unit {
    char letter;
    int64_t ms;     /* of one unit, if at least one */
    int64_t per_ms; /* units a millisecond, if more than one */
} timeout_units[] = {
    {'n', 1, 1000000}, {'u', 1, 1000}, {'m', 1, 1}, {'S', 1000, 1}, {'M', 60000, 1}, {'H', 3600000, 1},
};

bool grpc_timeout_parse(struct slice text, int64_t *ms)
{
    if (text.len < 2 || text.len > TIMEOUT_DIGITS + 1)
        return false;
    int64_t value = 0;
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (text.data[i] - '0');
    }
    for (size_t i = 0; i < ARRAY_LEN(timeout_units); i++) {
        const struct timeout_unit *unit = &timeout_units[i];
        if (text.data[text.len - 1] != unit->letter)
            continue;
        *ms = (value * unit->ms + unit->per_ms - 1) / unit->per_ms;
        return true;
    }
    return false;
}

void grpc_timeout_format(int64_t ms, char text[GRPC_TIMEOUT_TEXT_SIZE])
{
    CHECK(ms >= 0);
    for (size_t i = 2; i < ARRAY_LEN(timeout_units); i++) {
        int64_t value = ms / timeout_units[i].ms;
        if (value > TIMEOUT_VALUE_MAX && i + 1 < ARRAY_LEN(timeout_units))
            continue;
        if (value > TIMEOUT_VALUE_MAX)
            value = TIMEOUT_VALUE_MAX;
        (void)snprintf(text, GRPC_TIMEOUT_TEXT_SIZE, "%d%c", (int)value, timeout_units[i].letter);
        return;
    }
}

/* --- Status-Message ----------------------------------------------------------------------------------------------- */

static bool is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte <= 0x7E && byte != '%';
}

static size_t character_len(const uint8_t *at)
{
    size_t len = 1;
    while (at[0] >= 0xC0 && len < 4 && (at[len] & 0xC0) == 0x80)
        len++;
    return len;
}

size_t grpc_message_encode(const char *message, char *out, size_t size)
{
    static const char hex[] = "0123456789ABCDEF";
    const uint8_t *at = (const uint8_t *)message;
    size_t n = 0;
    CHECK(size > 0);
    while (*at != '\0') {
        size_t len = character_len(at);
        size_t need = is_plain(*at) ? 1 : 3 * len;
        if (n + need >= size)
            break;
        for (size_t i = 0; i < len; i++) {
            if (is_plain(at[i])) {
                out[n++] = (char)at[i];
                continue;
            }
            out[n++] = '%';
            out[n++] = hex[at[i] >> 4];
            out[n++] = hex[at[i] & 15];
        }
        at += len;
    }
    out[n] = '\0';
    return n;
}

static int hex_value(uint8_t digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* The byte at *i, decoded; moves past it. */
static uint8_t next_decoded(struct slice encoded, size_t *i)
{
    uint8_t byte = encoded.data[*i];
    if (byte == '%' && encoded.len - *i > 2) {
        int high = hex_value(encoded.data[*i + 1]), low = hex_value(encoded.data[*i + 2]);
        if (high >= 0 && low >= 0) {
            *i += 3;
            return (uint8_t)(high << 4 | low);
        }
    }
    *i += 1;
    return byte;
}

/* Replaces what would not be text, and a character that was cut at the end. */
static void make_text(char *out, size_t n)
{
    for (size_t at = 0; at < n;) {
        size_t len = character_len((const uint8_t *)out + at);
        if (at + len > n)
            len = n - at;
        if (!slice_is_text(slice_of(out + at, len), true)) {
            memset(out + at, '?', len);
        }
        at += len;
    }
}

void grpc_message_decode(struct slice encoded, char *out, size_t size)
{
    size_t n = 0;
    CHECK(size > 0);
    for (size_t i = 0; i < encoded.len && n + 1 < size;)
        out[n++] = (char)next_decoded(encoded, &i);
    out[n] = '\0';
    make_text(out, n);
}

/* --- codes -------------------------------------------------------------------------------------------------------- */

bool grpc_status_parse(struct slice text, enum lapse_code *code)
{
    unsigned value = 0;
    if (text.len == 0 || text.len > 2 || (text.len == 2 && text.data[0] == '0'))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (text.data[i] - '0');
    }
    if (value > LAPSE_UNAUTHENTICATED)
        return false;
    *code = (enum lapse_code)value;
    return true;
}

bool grpc_content_type_is_ours(struct slice value)
{
    static const char *const ours[] = {"application/grpc+proto", "application/grpc"};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        size_t len = strlen(ours[i]);
        if (value.len >= len && memcmp(value.data, ours[i], len) == 0)
            return value.len == len || value.data[len] == ';';
    }
    return false;
}

enum lapse_code grpc_code_of_http(unsigned status)
{
    switch (status) {
    case 400:
        return LAPSE_INTERNAL;
    case 401:
        return LAPSE_UNAUTHENTICATED;
    case 403:
        return LAPSE_PERMISSION_DENIED;
    case 404:
        return LAPSE_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return LAPSE_UNAVAILABLE;
    default:
        return LAPSE_UNKNOWN;
    }
}

enum lapse_code grpc_code_of_reset(uint32_t h2_error)
{
    switch (h2_error) {
    case NGHTTP2_REFUSED_STREAM:
        return LAPSE_UNAVAILABLE;
    case NGHTTP2_CANCEL:
        return LAPSE_CANCELLED;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return LAPSE_RESOURCE_EXHAUSTED;
    case NGHTTP2_INADEQUATE_SECURITY:
        return LAPSE_PERMISSION_DENIED;
    default:
        return LAPSE_INTERNAL;
    }
}
