/* Grants as values: ids, states, what a pattern covers, who is the same person, and the one decision function.
 *
 * No state, no allocation, no errors but for parsing: everything here runs the same in a node, in an enforcement point
 * and in a fuzzer. What enters from outside is checked in identifiers.c. */
#include "store/grant.h"

#include <endian.h>

#include "base/check.h"
#include "store/network.h"

/* Crockford's base 32: no I, L, O or U. */
static const char ulid_alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
#define ULID_TEXT_LEN (GRANT_ID_TEXT_SIZE - 1)

struct grant_id grant_id_make(int64_t unix_ms, const uint8_t random[10])
{
    struct grant_id id;
    for (int i = 0; i < 6; i++)
        id.bytes[i] = (uint8_t)((uint64_t)unix_ms >> (8 * (5 - i)));
    memcpy(id.bytes + 6, random, 10);
    return id;
}

static uint64_t load_big_endian(const uint8_t bytes[8])
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return be64toh(value);
}

/* Every check at an enforcement point answers with an id, so it is made five bits at a time from two words. */
void grant_id_format(struct grant_id id, char text[GRANT_ID_TEXT_SIZE])
{
    uint64_t high = load_big_endian(id.bytes), low = load_big_endian(id.bytes + 8);
    for (int i = ULID_TEXT_LEN - 1; i >= 0; i--) {
        text[i] = ulid_alphabet[low & 31];
        low = low >> 5 | high << 59;
        high >>= 5;
    }
    text[ULID_TEXT_LEN] = '\0';
}

/* What each character stands for, and one more, so that 0 means: it is none. Small letters count as capitals. */
#define LETTER(capital, value) [capital] = (value) + 1, [(capital) + 'a' - 'A'] = (value) + 1
static const uint8_t ulid_values[256] = {
    ['0'] = 1,       ['1'] = 2,       ['2'] = 3,       ['3'] = 4,       ['4'] = 5,       ['5'] = 6,
    ['6'] = 7,       ['7'] = 8,       ['8'] = 9,       ['9'] = 10,      LETTER('A', 10), LETTER('B', 11),
    LETTER('C', 12), LETTER('D', 13), LETTER('E', 14), LETTER('F', 15), LETTER('G', 16), LETTER('H', 17),
    LETTER('J', 18), LETTER('K', 19), LETTER('M', 20), LETTER('N', 21), LETTER('P', 22), LETTER('Q', 23),
    LETTER('R', 24), LETTER('S', 25), LETTER('T', 26), LETTER('V', 27), LETTER('W', 28), LETTER('X', 29),
    LETTER('Y', 30), LETTER('Z', 31)};

static void store_big_endian(uint64_t value, uint8_t bytes[8])
{
    value = htobe64(value);
    memcpy(bytes, &value, sizeof value);
}

lapse_result grant_id_parse(struct slice text, struct grant_id *id)
{
    uint64_t high = 0, low = 0;
    /* 26 digits hold 130 bits: a first digit past 7 would overflow. */
    if (text.len != ULID_TEXT_LEN || ulid_values[text.data[0]] > 8)
        return lapse_failed(LAPSE_INVALID_ARGUMENT);
    for (int i = 0; i < ULID_TEXT_LEN; i++) {
        uint8_t value = ulid_values[text.data[i]];
        if (value == 0)
            return lapse_failed(LAPSE_INVALID_ARGUMENT);
        high = high << 5 | low >> 59;
        low = low << 5 | (uint64_t)(value - 1);
    }
    store_big_endian(high, id->bytes);
    store_big_endian(low, id->bytes + 8);
    return lapse_ok();
}

bool grant_id_is_zero(struct grant_id id)
{
    static const struct grant_id zero;
    return memcmp(id.bytes, zero.bytes, sizeof id.bytes) == 0;
}

int grant_id_compare(struct grant_id a, struct grant_id b)
{
    return memcmp(a.bytes, b.bytes, sizeof a.bytes);
}

bool grant_state_is_ended(enum grant_state state)
{
    return state >= GRANT_EXPIRED && state <= GRANT_LAPSED;
}

const char *grant_state_name(enum grant_state state)
{
    static const char *const names[] = {NULL,        "PENDING",   "APPROVED", "ACTIVE",    "EXPIRED", "REVOKED",
                                        "COMPLETED", "EXHAUSTED", "DENIED",   "CANCELLED", "LAPSED"};
    return state >= GRANT_PENDING && (unsigned)state < ARRAY_LEN(names) ? names[state] : "UNKNOWN";
}

const char *grant_verdict_name(enum grant_verdict verdict)
{
    static const char *const names[] = {"ALLOWS",        "NOT_ACTIVE",     "NOT_YET",      "PAST_DEADLINE",  "USED_UP",
                                        "OTHER_SUBJECT", "OTHER_RESOURCE", "OTHER_ACTION", "BINDING_MISSING",
                                        "LOCKED"};
    return (unsigned)verdict < ARRAY_LEN(names) ? names[verdict] : "UNKNOWN";
}

bool resource_covers(struct slice pattern, struct slice path)
{
    if (slice_equal(pattern, path))
        return path.len > 0;
    if (pattern.len == 0 || pattern.data[pattern.len - 1] != '*')
        return false;
    if (pattern.len == 1)
        return path.len > 0;
    size_t prefix = pattern.len - 1; /* with its slash */
    return pattern.data[prefix - 1] == '/' && path.len > prefix && memcmp(pattern.data, path.data, prefix) == 0;
}

bool resource_overlaps(struct slice a, struct slice b)
{
    return resource_covers(a, b) || resource_covers(b, a);
}

bool scope_next(struct slice *scope, struct slice *pattern)
{
    if (scope->len == 0)
        return false;
    const uint8_t *space = memchr(scope->data, ' ', scope->len);
    size_t len = space == NULL ? scope->len : (size_t)(space - scope->data);
    size_t used = space == NULL ? len : len + 1;
    *pattern = slice_of(scope->data, len);
    *scope = slice_of(scope->data + used, scope->len - used);
    return true;
}

uint32_t grant_approvals_needed(const struct grant *grant)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < grant->n_steps; i++)
        n += grant->steps[i].count;
    return grant->n_steps > 0 ? n : grant->automatic && !grant->held ? 0 : 1;
}

bool scope_overlaps(struct slice scope, struct slice resource)
{
    struct slice pattern;
    while (scope_next(&scope, &pattern))
        if (resource_overlaps(pattern, resource))
            return true;
    return false;
}

/* The NAME of `user:NAME`; empty when it is not of that form. */
static struct slice name_of_user(struct slice principal)
{
    static const char prefix[] = "user:";
    size_t len = sizeof prefix - 1;
    if (principal.len <= len || memcmp(principal.data, prefix, len) != 0)
        return (struct slice){0};
    return slice_of(principal.data + len, principal.len - len);
}

/* The NAME of `spiffe://<domain>/user/NAME`; empty when it is not of that form. */
static struct slice name_of_spiffe_user(struct slice principal)
{
    static const char scheme[] = "spiffe://", path[] = "/user/";
    size_t scheme_len = sizeof scheme - 1, path_len = sizeof path - 1;
    if (principal.len <= scheme_len || memcmp(principal.data, scheme, scheme_len) != 0)
        return (struct slice){0};
    const uint8_t *end = principal.data + principal.len;
    const uint8_t *slash = memchr(principal.data + scheme_len, '/', principal.len - scheme_len);
    if (slash == NULL || slash == principal.data + scheme_len || (size_t)(end - slash) <= path_len ||
        memcmp(slash, path, path_len) != 0)
        return (struct slice){0};
    return slice_of(slash + path_len, (size_t)(end - slash) - path_len);
}

struct slice principal_name(struct slice principal)
{
    struct slice name = name_of_user(principal);
    if (name.len == 0)
        name = name_of_spiffe_user(principal);
    return name.len > 0 ? name : principal;
}

bool principal_same(struct slice a, struct slice b)
{
    if (slice_equal(a, b))
        return a.len > 0;
    struct slice user = name_of_user(a), spiffe = name_of_spiffe_user(b);
    if (user.len == 0) {
        user = name_of_user(b);
        spiffe = name_of_spiffe_user(a);
    }
    return user.len > 0 && slice_equal(user, spiffe);
}

static bool action_listed(const struct grant *grant, struct slice action)
{
    for (uint32_t i = 0; i < grant->n_actions; i++)
        if (slice_equal(grant->actions[i], action))
            return true;
    return false;
}

static bool address_admitted(const struct grant_binding *binding, struct slice text)
{
    struct network address;
    if (binding->n_networks == 0)
        return true;
    if (!address_parse(text, &address))
        return false;
    for (uint32_t i = 0; i < binding->n_networks; i++) {
        struct network network;
        if (network_parse(binding->networks[i], &network) && network_contains(&network, &address))
            return true;
    }
    return false;
}

static bool binding_shown(const struct grant_binding *binding, const struct grant_query *query)
{
    if (binding->spiffe_id.len > 0 && !slice_equal(binding->spiffe_id, query->spiffe_id))
        return false;
    if (binding->certificate_sha256.len > 0 && !slice_equal(binding->certificate_sha256, query->certificate_sha256))
        return false;
    return address_admitted(binding, query->address);
}

enum grant_verdict grant_allows(const struct grant *grant, const struct grant_query *query, int64_t now_ms)
{
    if (grant->state != GRANT_ACTIVE)
        return GRANT_NOT_ACTIVE;
    if (now_ms < grant->not_before_ms)
        return GRANT_NOT_YET;
    /* A grant without a deadline can't exist; if one did, it would be past it. */
    if (now_ms >= grant->deadline_ms)
        return GRANT_PAST_DEADLINE;
    if (grant->max_uses > 0 && grant->uses >= grant->max_uses)
        return GRANT_USED_UP;
    /* Exactly equal, not principal_same(): that one ignores the trust domain, which is right for refusing only. */
    if (query->subject.len == 0 || !slice_equal(grant->subject, query->subject))
        return GRANT_OTHER_SUBJECT;
    if (!resource_covers(grant->resource, query->resource))
        return GRANT_OTHER_RESOURCE;
    if (!action_listed(grant, query->action))
        return GRANT_OTHER_ACTION;
    if (!binding_shown(&grant->binding, query))
        return GRANT_BINDING_MISSING;
    return GRANT_ALLOWS;
}
