/* Rules that leave another one nothing to do.
 *
 * Careful on one side only: what is called hidden is; a rule that is hidden in some subtler way is let be. */
#include "store/policy_internal.h"

/* Whether all principals that `inner` matches, `outer` matches, too. By text: whoever means somebody under another name
 * hides nothing. */
static bool principal_pattern_covers(struct slice outer, struct slice inner)
{
    if (slice_equal(outer, inner))
        return true;
    size_t stem = outer.len - 1;
    return outer.data[stem] == '*' && inner.len >= stem && memcmp(outer.data, inner.data, stem) == 0;
}

typedef bool (*covers_fn)(struct slice outer, struct slice inner);

static bool covers_all(const struct policy_patterns *outer, const struct policy_patterns *inner, covers_fn covers)
{
    for (uint32_t i = 0; i < inner->n; i++) {
        uint32_t o = 0;
        while (o < outer->n && !covers(outer->items[o], inner->items[i]))
            o++;
        if (o == outer->n)
            return false;
    }
    return true;
}

/* None of them means any. */
static bool covers_actions(const struct policy_patterns *outer, const struct policy_patterns *inner)
{
    return outer->n == 0 || (inner->n > 0 && covers_all(outer, inner, slice_equal));
}

static bool covers_who_and_what(const struct policy_rule *outer, const struct policy_rule *inner)
{
    return covers_all(&outer->requesters, &inner->requesters, principal_pattern_covers) &&
           covers_all(&outer->resources, &inner->resources, resource_covers) &&
           covers_actions(&outer->actions, &inner->actions);
}

/* No subjects: the requester itself. */
static bool denies_subjects(const struct policy_rule *deny, const struct policy_rule *rule)
{
    const struct policy_patterns *subjects = rule->subjects.n > 0 ? &rule->subjects : &rule->requesters;
    return deny->subjects.n == 0 || covers_all(&deny->subjects, subjects, principal_pattern_covers);
}

static bool takes_subjects(const struct policy_rule *outer, const struct policy_rule *inner)
{
    if (outer->subjects.n == 0 || inner->subjects.n == 0)
        return outer->subjects.n == inner->subjects.n;
    return covers_all(&outer->subjects, &inner->subjects, principal_pattern_covers);
}

static bool text_no_stricter(const struct policy_text *outer, const struct policy_text *inner)
{
    return outer->required <= inner->required && outer->min_length <= inner->min_length &&
           (outer->pattern.len == 0 || slice_equal(outer->pattern, inner->pattern));
}

static int64_t longest_ms(const struct policy_rule *rule)
{
    return rule->max_duration_ms > 0 ? rule->max_duration_ms : LIMIT_DURATION_MS_MAX;
}

/* Whether what meets the requirements of `inner` meets those of `outer`. */
static bool no_stricter(const struct policy_rule *outer, const struct policy_rule *inner)
{
    return longest_ms(outer) >= longest_ms(inner) && outer->eligibility <= inner->eligibility &&
           text_no_stricter(&outer->justification, &inner->justification) &&
           text_no_stricter(&outer->ticket, &inner->ticket) && outer->bind_spiffe_id <= inner->bind_spiffe_id &&
           outer->bind_certificate <= inner->bind_certificate && outer->bind_network <= inner->bind_network &&
           (outer->max_uses == 0 || (inner->max_uses > 0 && inner->max_uses <= outer->max_uses));
}

static bool hides(const struct policy_rule *other, bool before, const struct policy_rule *rule)
{
    if (!covers_who_and_what(other, rule))
        return false;
    if (other->deny)
        return denies_subjects(other, rule) && (before || !rule->deny);
    return before && !rule->deny && other->break_glass == rule->break_glass && takes_subjects(other, rule) &&
           no_stricter(other, rule);
}

const struct policy_rule *policy_rule_hidden_by(const struct policy *policy, uint32_t i)
{
    for (uint32_t other = 0; other < policy->n_rules; other++)
        if (other != i && hides(&policy->rules[other], other < i, &policy->rules[i]))
            return &policy->rules[other];
    return NULL;
}
