/* Validation of every kind of identifier that enters from outside: one function each, used by every caller.
 *
 * ASCII is decided by one table of character classes, since these checks run for each command; only names with other
 * characters take the slow way through UTF-8. */
#include "store/grant.h"
#include "store/identifiers.h"

#include "base/check.h"
#include "store/network.h"

enum {
    IN_PRINCIPAL = 1,
    IN_RESOURCE = 2,
    IN_ACTION = 4,
    STARTS_ACTION = 8,
    IN_TEXT = 16,
};

#define GRAPH (IN_PRINCIPAL | IN_TEXT)
#define PATH (IN_PRINCIPAL | IN_RESOURCE | IN_TEXT)
#define WORD (PATH | IN_ACTION)

static const uint8_t classes[256] = {
    [' '] = IN_TEXT,
    ['!'] = GRAPH,
    ['"'] = IN_TEXT,
    ['#' ... '&'] = GRAPH,
    ['\''] = IN_TEXT,
    ['(' ... ')'] = GRAPH,
    ['*'] = IN_TEXT,
    ['+'] = PATH,
    [','] = GRAPH,
    ['-' ... '.'] = WORD,
    ['/'] = GRAPH,
    ['0' ... '9'] = WORD,
    [':'] = PATH,
    [';' ... '<'] = GRAPH,
    ['='] = PATH,
    ['>' ... '?'] = GRAPH,
    ['@' ... 'Z'] = PATH,
    ['['] = GRAPH,
    ['\\'] = IN_TEXT,
    [']' ... '^'] = GRAPH,
    ['_'] = WORD,
    ['`'] = IN_TEXT,
    ['a' ... 'z'] = WORD | STARTS_ACTION,
    ['{' ... '}'] = GRAPH,
    ['~'] = PATH,
};

static bool ascii_of(struct slice text, uint8_t class)
{
    uint8_t common = class;
    for (size_t i = 0; i < text.len; i++)
        common &= classes[text.data[i]];
    return common != 0;
}

/* Characters that look like nothing or like a space: two names that a person can't tell apart must not both exist. */
static bool has_invisible(struct slice text)
{
    static const struct {
        uint8_t len, bytes[3], last; /* a range in the last byte */
    } ranges[] = {
        {2, {0xC2, 0xA0}, 0xA0},       /* no-break space */
        {2, {0xC2, 0xAD}, 0xAD},       /* soft hyphen */
        {3, {0xE1, 0x9A, 0x80}, 0x80}, /* ogham space */
        {3, {0xE2, 0x80, 0x80}, 0x8F}, /* spaces, zero widths, directions */
        {3, {0xE2, 0x80, 0xA8}, 0xAF}, /* separators, directions */
        {3, {0xE2, 0x81, 0x9F}, 0xAF}, /* mathematical space, joiners, directions */
        {3, {0xE3, 0x80, 0x80}, 0x80}, /* ideographic space */
        {3, {0xEF, 0xBB, 0xBF}, 0xBF}, /* byte order mark */
    };
    for (size_t i = 0; i < text.len; i++)
        for (size_t r = 0; text.data[i] >= 0xC2 && r < ARRAY_LEN(ranges); r++) {
            size_t len = ranges[r].len;
            if (text.len - i >= len && memcmp(text.data + i, ranges[r].bytes, len - 1) == 0 &&
                text.data[i + len - 1] >= ranges[r].bytes[len - 1] && text.data[i + len - 1] <= ranges[r].last)
                return true;
        }
    return false;
}

static bool principal_characters(struct slice text)
{
    if (ascii_of(text, IN_PRINCIPAL))
        return true;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < 128 && (classes[text.data[i]] & IN_PRINCIPAL) == 0)
            return false;
    return slice_is_text(text, false) && !has_invisible(text);
}

lapse_result length_validate(struct slice text, size_t max, const char *field, struct lapse_error *error)
{
    if (text.len > max)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s has %zu bytes; shorten it to at most %zu", field, text.len,
                          max);
    return lapse_ok();
}

static lapse_result present(struct slice text, size_t max, const char *field, struct lapse_error *error)
{
    if (text.len == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s is missing", field);
    return length_validate(text, max, field, error);
}

lapse_result principal_validate(struct slice principal, const char *field, struct lapse_error *error)
{
    lapse_result result = present(principal, LIMIT_PRINCIPAL, field, error);
    if (lapse_is_ok(result) && !principal_characters(principal))
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                            "%s has a space, quote, backslash, asterisk or unprintable character; use a SPIFFE ID or "
                            "kind:name",
                            field);
    return result;
}

lapse_result member_validate(struct slice member, struct lapse_error *error)
{
    if (member.len > 1 && member.data[member.len - 1] == '*')
        member.len--;
    return principal_validate(member, "member", error);
}

lapse_result text_validate(struct slice text, size_t max, const char *field, struct lapse_error *error)
{
    lapse_result result = length_validate(text, max, field, error);
    if (lapse_is_ok(result) && !ascii_of(text, IN_TEXT) && !slice_is_text(text, true))
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s is not UTF-8 text without control characters", field);
    return result;
}

lapse_result token_validate(struct slice text, size_t max, const char *field, struct lapse_error *error)
{
    lapse_result result = length_validate(text, max, field, error);
    if (lapse_is_ok(result) && !ascii_of(text, IN_TEXT) && !slice_is_text(text, false))
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s is not one line of UTF-8 text", field);
    return result;
}

/* Neither empty nor a step: "." and ".." mean something else to the systems that a resource names. */
static bool segment_valid(const uint8_t *start, size_t len)
{
    return len > 0 && !(len == 1 && start[0] == '.') && !(len == 2 && start[0] == '.' && start[1] == '.') &&
           ascii_of(slice_of(start, len), IN_RESOURCE);
}

static bool path_valid(struct slice path)
{
    const uint8_t *at = path.data, *end = path.data + path.len;
    for (;;) {
        const uint8_t *slash = memchr(at, '/', (size_t)(end - at));
        if (!segment_valid(at, (size_t)((slash == NULL ? end : slash) - at)))
            return false;
        if (slash == NULL)
            return true;
        at = slash + 1;
    }
}

lapse_result resource_validate(struct slice resource, bool pattern, struct lapse_error *error)
{
    lapse_result result = present(resource, LIMIT_RESOURCE, "resource", error);
    if (!lapse_is_ok(result))
        return result;
    struct slice path = resource;
    if (pattern && path.data[path.len - 1] == '*') {
        if (path.len == 1)
            return lapse_ok();
        if (path.data[path.len - 2] == '/')
            path.len -= 2;
    }
    if (path.len == 0 || !path_valid(path))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "resource must be segments of A-Z a-z 0-9 . _ : @ + = ~ - joined by single slashes, without "
                          "'.' and '..'%s",
                          pattern ? "; it may end in /*" : "");
    return lapse_ok();
}

lapse_result scope_validate(struct slice scope, struct lapse_error *error)
{
    struct slice pattern, last = {0};
    uint32_t n = 0;
    lapse_result result = length_validate(scope, LIMIT_SCOPE, "scope", error);
    if (lapse_is_ok(result) && scope.len > 0 && scope.data[scope.len - 1] == ' ')
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "scope ends in a space");
    while (lapse_is_ok(result) && scope_next(&scope, &pattern)) {
        if (++n > LIMIT_SCOPE_PATTERNS)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "scope has more than %d patterns; join some by /*",
                              LIMIT_SCOPE_PATTERNS);
        if (n > 1 && slice_compare(last, pattern) >= 0)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "scope must be sorted, each pattern given once");
        result = resource_validate(pattern, true, error);
        last = pattern;
    }
    return result;
}

static lapse_result word_validate(struct slice word, size_t max, const char *field, struct lapse_error *error)
{
    lapse_result result = present(word, max, field, error);
    bool good = lapse_is_ok(result) && ascii_of(word, IN_RESOURCE);
    for (size_t i = 0; good && i < word.len; i++)
        good = memchr(":@+=~", word.data[i], 5) == NULL;
    if (lapse_is_ok(result) && !good)
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s must be of A-Z a-z 0-9 . _ -", field);
    return result;
}

lapse_result object_name_validate(struct slice name, const char *field, struct lapse_error *error)
{
    return word_validate(name, LIMIT_POLICY, field, error);
}

lapse_result point_id_validate(struct slice id, struct lapse_error *error)
{
    return word_validate(id, LIMIT_POINT_ID, "point id", error);
}

lapse_result action_validate(struct slice action, struct lapse_error *error)
{
    lapse_result result = present(action, LIMIT_ACTION, "action", error);
    if (lapse_is_ok(result) && (!ascii_of(action, IN_ACTION) || !ascii_of(slice_of(action.data, 1), STARTS_ACTION)))
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                            "action must be a lower-case word: a-z first, then a-z 0-9 . _ -");
    return result;
}

lapse_result network_validate(struct slice cidr, struct lapse_error *error)
{
    struct network network;
    const char *why = NULL;
    lapse_result result = present(cidr, LIMIT_NETWORK, "network", error);
    if (lapse_is_ok(result) && !network_parse_strict(cidr, &network, &why))
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "network is not in CIDR form: %s", why);
    return result;
}
