/* The one parser of SPIFFE IDs (https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md, section 2).
 *
 * Strict on purpose: an ID is compared byte by byte afterwards, so there must be one spelling of each.
 * Percent-encoding, upper-case domains, empty and dot segments, ports and queries are refused rather than normalised.
 */
#include "base/tls.h"

#define SCHEME "spiffe://"
/* SPIFFE-ID, section 2.1: a host name's bound. */
#define DOMAIN_MAX 255

static bool is_domain_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

static bool is_path_char(uint8_t c)
{
    return is_domain_char(c) || (c >= 'A' && c <= 'Z');
}

static lapse_result check_domain(struct slice domain, struct lapse_error *error)
{
    if (domain.len == 0 || domain.len > DOMAIN_MAX)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a SPIFFE ID's trust domain has 1 to %d characters",
                          DOMAIN_MAX);
    for (size_t i = 0; i < domain.len; i++)
        if (!is_domain_char(domain.data[i]))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                              "a SPIFFE ID's trust domain has only a-z, 0-9, '.', '-' and '_' (no port, no user)");
    return lapse_ok();
}

static bool is_dots(struct slice segment)
{
    return (segment.len == 1 && segment.data[0] == '.') ||
           (segment.len == 2 && segment.data[0] == '.' && segment.data[1] == '.');
}

static lapse_result check_segment(struct slice segment, struct lapse_error *error)
{
    if (segment.len == 0 || is_dots(segment))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a SPIFFE ID's path has no empty, '.' or '..' segment");
    for (size_t i = 0; i < segment.len; i++)
        if (!is_path_char(segment.data[i]))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                              "a SPIFFE ID's path has only letters, digits, '.', '-', '_' and '/'");
    return lapse_ok();
}

static lapse_result check_path(struct slice path, struct lapse_error *error)
{
    size_t start = 0;
    for (size_t i = 0; i <= path.len; i++) {
        if (i < path.len && path.data[i] != '/')
            continue;
        lapse_result result = check_segment(slice_of(path.data + start, i - start), error);
        if (!lapse_is_ok(result))
            return result;
        start = i + 1;
    }
    return lapse_ok();
}

lapse_result spiffe_id_parse(struct slice text, struct slice *domain, struct slice *path, struct lapse_error *error)
{
    size_t scheme = strlen(SCHEME);
    if (text.len > LIMIT_PRINCIPAL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a principal has at most %d bytes", LIMIT_PRINCIPAL);
    if (text.len < scheme || memcmp(text.data, SCHEME, scheme) != 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a principal is a SPIFFE ID: spiffe://DOMAIN/PATH");

    struct slice rest = slice_of(text.data + scheme, text.len - scheme);
    const uint8_t *slash = rest.len == 0 ? NULL : memchr(rest.data, '/', rest.len);
    if (slash == NULL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a principal's SPIFFE ID needs a path: spiffe://DOMAIN/PATH");
    struct slice host = slice_of(rest.data, (size_t)(slash - rest.data));
    struct slice tail = slice_of(slash + 1, rest.len - host.len - 1);

    lapse_result result = check_domain(host, error);
    if (lapse_is_ok(result))
        result = check_path(tail, error);
    if (lapse_is_ok(result)) {
        *domain = host;
        *path = tail;
    }
    return result;
}
