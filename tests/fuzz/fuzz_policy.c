/* Policies as bytes, their patterns, and decisions by them. The first byte says what follows:
 *   0  a lapse.v1.Policy: if it decodes, its encoding is the input, and it decides about requests made of its own words
 *   1  a text pattern, NUL, a text
 *   2  a pattern of principals, NUL, a principal
 * The input is a heap block of its exact size, so that the address sanitizer sees a read past its end. */
#include <stdlib.h>

#include "base/check.h"
#include "store/policy_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_encoding(const struct policy *policy, struct slice bytes)
{
    struct buf again;
    struct lapse_error error = {0};
    buf_init(&again, LIMIT_OBJECT_BYTES);
    CHECK(lapse_is_ok(policy_encode(policy, &again)));
    CHECK(slice_equal(buf_slice(&again), bytes));
    CHECK(lapse_is_ok(policy_validate(policy, NULL, &error)));
    buf_free(&again);
}

static struct slice exact(struct slice pattern)
{
    bool open = pattern.len > 1 && pattern.data[pattern.len - 1] == '*';
    return slice_of(pattern.data, pattern.len - open);
}

/* A request that asks for what the rule gives, as far as one can tell from its patterns. */
static struct grant terms_for(const struct policy_rule *rule)
{
    struct grant terms = {.resource = rule->resources.items[0],
                          .subject = exact((rule->subjects.n > 0 ? &rule->subjects : &rule->requesters)->items[0]),
                          .actions = {rule->actions.n > 0 ? rule->actions.items[0] : slice_str("read")},
                          .n_actions = 1,
                          .duration_ms = rule->max_duration_ms > 0 ? rule->max_duration_ms : 60000,
                          .justification = slice_str("the quick brown fox jumps over the lazy dog"),
                          .ticket = slice_str("OPS-1"),
                          .max_uses = rule->max_uses,
                          .break_glass = rule->break_glass};
    terms.binding.spiffe_id = slice_str("spiffe://x/host/a");
    terms.binding.certificate_sha256 = slice_str("0123456789abcdef0123456789abcdef");
    terms.binding.networks[terms.binding.n_networks++] = slice_str("10.0.0.0/8");
    return terms;
}

static void check_rule(const struct policy *policy, const struct policy_rule *rule)
{
    struct grant terms = terms_for(rule);
    struct policy_request request = {exact(rule->requesters.items[0]), &terms, 1};
    struct policy_decision decision = {0};
    struct lapse_error error = {0};
    lapse_result result = policy_decide(&policy, 1, &request, NULL, &decision, &error);
    terms.requester = request.requester;
    /* What would be allowed now is what still is: offline there are no limits. */
    CHECK(policy_still_allows(policy, &terms) == lapse_is_ok(result));
    CHECK((decision.rule != NULL) == lapse_is_ok(result) && error.code == result.code);
    CHECK(decision.rule == NULL || (!decision.rule->deny && !decision.held));
    /* The very request of a deny rule is denied. */
    CHECK(!rule->deny || result.code == LAPSE_PERMISSION_DENIED);
}

static void run_policy(struct slice bytes)
{
    struct policy *policy = NULL;
    struct lapse_error error = {0};
    if (!lapse_is_ok(policy_decode(bytes, &policy, &error))) {
        CHECK(policy == NULL && error.code == LAPSE_INVALID_ARGUMENT && error.message[0] != '\0');
        return;
    }
    check_encoding(policy, bytes);
    for (uint32_t i = 0; i < policy->n_rules; i++)
        check_rule(policy, &policy->rules[i]);
    policy_free(policy);
}

/* What stands before the first NUL and behind it. */
static void halves(struct slice input, struct slice *first, struct slice *second)
{
    const uint8_t *nul = input.len == 0 ? NULL : memchr(input.data, '\0', input.len);
    size_t len = nul == NULL ? input.len : (size_t)(nul - input.data);
    *first = slice_of(input.data, len);
    *second = nul == NULL ? (struct slice){0} : slice_of(nul + 1, input.len - len - 1);
}

static uint32_t characters(struct slice text)
{
    uint32_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += (text.data[i] & 0xC0) != 0x80;
    return n;
}

static void run_text(struct slice input)
{
    struct slice pattern, text;
    struct lapse_error error = {0};
    uint32_t fewest, most;
    halves(input, &pattern, &text);
    if (!lapse_is_ok(text_pattern_validate(pattern, &error))) {
        CHECK(error.code == LAPSE_INVALID_ARGUMENT && error.message[0] != '\0');
        return;
    }
    text_pattern_lengths(pattern, &fewest, &most);
    CHECK(fewest <= most && fewest <= LIMIT_TEXT_STATES);
    if (text_matches(pattern, text) && pattern.len > 0)
        CHECK(characters(text) >= fewest && characters(text) <= most);
}

static void run_principal(struct slice input)
{
    struct slice pattern, principal;
    halves(input, &pattern, &principal);
    bool matches = principal_matches(pattern, principal);
    CHECK(!matches || (pattern.len > 0 && principal.len > 0));
    bool open = pattern.len > 0 && pattern.data[pattern.len - 1] == '*';
    CHECK(open || matches == principal_same(pattern, principal));
    if (!open || pattern.len < 2)
        return;
    /* A shorter beginning matches whatever a longer one does. */
    uint8_t *shorter = mem_alloc(pattern.len - 1);
    memcpy(shorter, pattern.data, pattern.len - 1);
    shorter[pattern.len - 2] = '*';
    CHECK(!matches || principal_matches(slice_of(shorter, pattern.len - 1), principal));
    free(shorter);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const runs[])(struct slice input) = {run_policy, run_text, run_principal};
    if (size == 0)
        return 0;
    uint8_t *copy = mem_alloc(size - 1);
    if (size > 1)
        memcpy(copy, data + 1, size - 1);
    runs[data[0] % ARRAY_LEN(runs)](slice_of(copy, size - 1));
    free(copy);
    return 0;
}
