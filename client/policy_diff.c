#include "client/policy_diff.h"

#include <stdlib.h>

#include "base/check.h"

/* Of one key's lines. */
#define LINES_MAX (64u * 1024)

/* ---- Rules */

static const struct policy_rule *rule_find(const struct policy *policy, struct slice name)
{
    for (uint32_t i = 0; policy != NULL && i < policy->n_rules; i++)
        if (slice_equal(policy->rules[i].name, name))
            return &policy->rules[i];
    return NULL;
}

/* Each line of `lines` with a sign in front. */
static lapse_result put_signed(char sign, struct slice lines, struct buf *out)
{
    lapse_result result = lapse_ok();
    while (lines.len > 0 && lapse_is_ok(result)) {
        const uint8_t *end = memchr(lines.data, '\n', lines.len);
        size_t len = end == NULL ? lines.len : (size_t)(end - lines.data);
        result = buf_printf(out, "%c %.*s\n", sign, (int)len, (const char *)lines.data);
        len += end != NULL;
        lines = slice_of(lines.data + len, lines.len - len);
    }
    return result;
}

/* The lines of one key in both; NULL: none. */
static lapse_result key_diff(const struct yaml_key *key, const void *before, const void *after, unsigned indent,
                             struct buf *out)
{
    struct buf old, new;
    lapse_result result = lapse_ok();
    buf_init(&old, LINES_MAX);
    buf_init(&new, LINES_MAX);
    if (before != NULL)
        result = yaml_put_key(key, before, indent, &old);
    if (after != NULL && lapse_is_ok(result))
        result = yaml_put_key(key, after, indent, &new);
    if (lapse_is_ok(result) && !slice_equal(buf_slice(&old), buf_slice(&new))) {
        result = put_signed('-', buf_slice(&old), out);
        if (lapse_is_ok(result))
            result = put_signed('+', buf_slice(&new), out);
    }
    buf_free(&old);
    buf_free(&new);
    return result;
}

static lapse_result keys_diff(const struct yaml_key *keys, const void *before, const void *after, unsigned indent,
                              struct buf *out)
{
    lapse_result result = lapse_ok();
    for (; keys->name != NULL && lapse_is_ok(result); keys++)
        result = key_diff(keys, before, after, indent, out);
    return result;
}

/* The rule's name as a heading, when it stays; what differs below it. */
static lapse_result rule_diff(const struct policy_rule *before, const struct policy_rule *after, struct buf *out)
{
    const struct policy_rule *named = after != NULL ? after : before;
    struct buf differs;
    buf_init(&differs, LINES_MAX);
    lapse_result result = keys_diff(policy_rule_keys, before, after, 4, &differs);
    if (lapse_is_ok(result) && differs.len > 0)
        result = buf_printf(out, "%c rule %.*s%s\n",
                            before == NULL  ? '+'
                            : after == NULL ? '-'
                                            : ' ',
                            (int)named->name.len, (const char *)named->name.data,
                            before == NULL  ? " is new"
                            : after == NULL ? " is gone"
                                            : "");
    if (lapse_is_ok(result))
        result = buf_append(out, differs.data, differs.len);
    buf_free(&differs);
    return result;
}

/* The rules that both have, in one order or in two: the first that allows a request decides. */
static bool order_differs(const struct policy *before, const struct policy *after)
{
    uint32_t i = 0;
    for (uint32_t j = 0; j < after->n_rules; j++) {
        if (rule_find(before, after->rules[j].name) == NULL)
            continue;
        while (rule_find(after, before->rules[i].name) == NULL)
            i++;
        if (!slice_equal(before->rules[i++].name, after->rules[j].name))
            return true;
    }
    return false;
}

lapse_result policy_diff_put(const struct policy *before, const struct policy *after, struct buf *out)
{
    lapse_result result = keys_diff(policy_keys, before, after, 0, out);
    for (uint32_t i = 0; before != NULL && i < before->n_rules && lapse_is_ok(result); i++)
        if (rule_find(after, before->rules[i].name) == NULL)
            result = rule_diff(&before->rules[i], NULL, out);
    for (uint32_t i = 0; i < after->n_rules && lapse_is_ok(result); i++)
        result = rule_diff(rule_find(before, after->rules[i].name), &after->rules[i], out);
    if (lapse_is_ok(result) && before != NULL && order_differs(before, after))
        result = buf_printf(out, "  rules come in another order: the first that allows a request decides\n");
    return result;
}

bool policy_same(const struct policy *a, const struct policy *b)
{
    struct policy left = *a;
    struct buf differs;
    left.source = b->source;
    buf_init(&differs, 1024 * 1024);
    lapse_result result = policy_diff_put(&left, b, &differs);
    bool same = lapse_is_ok(result) && differs.len == 0;
    buf_free(&differs);
    return same;
}

/* ---- Grants */

/* What policy_still_allows looks at. */
static void grant_take(const struct lapse_grant *from, struct grant *grant)
{
    *grant = (struct grant){.state = (enum grant_state)from->state,
                            .subject = slice_str(from->subject),
                            .requester = slice_str(from->requester),
                            .resource = slice_str(from->resource),
                            .justification = slice_str(from->justification),
                            .ticket = slice_str(from->ticket),
                            .policy = slice_str(from->policy),
                            .policy_version = from->policy_version,
                            .break_glass = from->break_glass,
                            .duration_ms = from->duration_ms,
                            .not_before_ms = from->not_before_ms,
                            .deadline_ms = from->deadline_ms,
                            .max_uses = from->max_uses,
                            .requested_ms = from->requested_ms,
                            .approved_ms = from->approved_ms,
                            .activated_ms = from->activated_ms};
    for (size_t i = 0; i < from->n_actions && i < LIMIT_ACTIONS; i++)
        grant->actions[grant->n_actions++] = slice_str(from->actions[i]);
    grant->binding.spiffe_id = slice_str(from->binding.spiffe_id);
    grant->binding.certificate_sha256 =
        slice_of(from->binding.certificate_sha256.data, from->binding.certificate_sha256.len);
    for (size_t i = 0; i < from->binding.n_networks && i < LIMIT_NETWORKS; i++)
        grant->binding.networks[grant->binding.n_networks++] = slice_str(from->binding.networks[i]);
}

enum policy_fate policy_fate_of(const struct policy *after, const struct lapse_grant *from)
{
    struct grant grant;
    grant_take(from, &grant);
    if (policy_still_allows(after, &grant))
        return POLICY_STAYS;
    return after->end_disallowed ? POLICY_ENDS : POLICY_OUTLIVES;
}

const char *policy_fate_words(enum policy_fate fate, const struct lapse_grant *grant)
{
    bool pending = grant->state == LAPSE_STATE_PENDING;
    switch (fate) {
    case POLICY_STAYS:
        return "still allowed";
    case POLICY_OUTLIVES:
        return pending ? "not allowed any more; can still be approved" : "not allowed any more; goes on until its end";
    case POLICY_ENDS:
        return pending ? "not allowed any more; is cancelled" : "not allowed any more; is revoked";
    }
    return "";
}
