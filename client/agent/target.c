#include "client/agent/target.h"

/* In a decoded path: what begins parameters, is a slash on Windows, would be decoded once more, or ends a path. */
#define TWO_MEANINGS ";\\%#?"

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool agent_percent_decode(struct slice text, bool form, char *out, size_t size, size_t *len)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (n == size)
            return false;
        if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.data[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (form && c == '+') {
            c = ' ';
        }
        out[n++] = (char)c;
    }
    *len = n;
    return true;
}

/* An encoded slash is a slash for some and a character for others. */
static bool has_encoded_slash(struct slice text)
{
    for (size_t i = 0; i + 2 < text.len; i++)
        if (text.data[i] == '%' && text.data[i + 1] == '2' && (text.data[i + 2] | 0x20) == 'f')
            return true;
    return false;
}

static bool is_dot_segment(struct slice segment)
{
    return slice_equal(segment, slice_str(".")) || slice_equal(segment, slice_str(".."));
}

static const char *segments_fault(struct slice path)
{
    const char *fault = NULL;
    while (path.len > 0 && fault == NULL) {
        const uint8_t *slash = memchr(path.data, '/', path.len);
        struct slice segment = slice_of(path.data, slash == NULL ? path.len : (size_t)(slash - path.data));
        size_t used = segment.len + (slash != NULL);
        if (segment.len == 0)
            fault = "the path has an empty segment";
        else if (is_dot_segment(segment))
            fault = "the path has a segment . or ..";
        path = slice_of(path.data + used, path.len - used);
    }
    return fault;
}

static const char *path_fault(struct slice raw, struct agent_target *out)
{
    if (has_encoded_slash(raw))
        return "the path has an encoded slash";
    if (!agent_percent_decode(raw, false, out->path, LIMIT_AGENT_PATH, &out->path_len))
        return "the path is too long, or has a percent sign without two hexadecimal digits";
    struct slice path = slice_of(out->path, out->path_len);
    if (!slice_is_text(path, false))
        return "the path has a control character, or is not UTF-8";
    for (size_t i = 0; i < path.len; i++)
        if (strchr(TWO_MEANINGS, path.data[i]) != NULL)
            return "the path has a character of " TWO_MEANINGS " , which servers read differently";
    return segments_fault(path);
}

const char *agent_target_parse(struct slice target, struct agent_target *out)
{
    if (target.len == 0)
        return "the proxy did not say which target was requested";
    if (target.data[0] != '/')
        return "the target does not begin with a slash";
    const uint8_t *mark = memchr(target.data, '?', target.len);
    size_t len = mark == NULL ? target.len : (size_t)(mark - target.data);
    out->query = mark == NULL ? slice_of(NULL, 0) : slice_of(mark + 1, target.len - len - 1);
    const char *fault = path_fault(slice_of(target.data + 1, len - 1), out);
    if (fault != NULL)
        return fault;
    if (out->path_len > 0 && out->path[out->path_len - 1] == '/')
        out->path_len--;
    out->path[out->path_len] = '\0';
    return NULL;
}

struct slice agent_target_segment(const struct agent_target *target, uint32_t n)
{
    struct slice rest = slice_of(target->path, target->path_len);
    while (rest.len > 0) {
        const uint8_t *slash = memchr(rest.data, '/', rest.len);
        struct slice segment = slice_of(rest.data, slash == NULL ? rest.len : (size_t)(slash - rest.data));
        size_t used = segment.len + (slash != NULL);
        if (--n == 0)
            return segment;
        rest = slice_of(rest.data + used, rest.len - used);
    }
    return slice_of(NULL, 0);
}

/* Whether a parameter's name, decoded, is `name`. One that can't be decoded, or is long, is none that is asked for. */
static bool names(struct slice encoded, struct slice name)
{
    char decoded[128];
    size_t len = 0;
    return agent_percent_decode(encoded, true, decoded, sizeof decoded, &len) &&
           slice_equal(slice_of(decoded, len), name);
}

static struct slice take_parameter(struct slice *query)
{
    const uint8_t *end = memchr(query->data, '&', query->len);
    struct slice parameter = slice_of(query->data, end == NULL ? query->len : (size_t)(end - query->data));
    size_t used = parameter.len + (end != NULL);
    *query = slice_of(query->data + used, query->len - used);
    return parameter;
}

enum agent_query_found agent_target_query(const struct agent_target *target, struct slice name, char *out, size_t size,
                                          size_t *len)
{
    struct slice query = target->query, found = {NULL, 0};
    size_t n = 0;
    if (query.len > 0 && memchr(query.data, ';', query.len) != NULL)
        return AGENT_QUERY_UNCLEAR;
    while (query.len > 0) {
        struct slice parameter = take_parameter(&query);
        const uint8_t *equals = parameter.len == 0 ? NULL : memchr(parameter.data, '=', parameter.len);
        size_t name_len = equals == NULL ? parameter.len : (size_t)(equals - parameter.data);
        if (!names(slice_of(parameter.data, name_len), name))
            continue;
        found = equals == NULL ? slice_of(NULL, 0) : slice_of(equals + 1, parameter.len - name_len - 1);
        n++;
    }
    if (n == 0)
        return AGENT_QUERY_NONE;
    bool clear = n == 1 && agent_percent_decode(found, true, out, size - 1, len);
    if (clear)
        out[*len] = '\0';
    return clear ? AGENT_QUERY_ONE : AGENT_QUERY_UNCLEAR;
}
