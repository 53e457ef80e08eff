/* Whether a policy is one: form, limits, and no contradictions.
 *
 * Each check names the member and its item, so that who wrote the policy finds the place (struct policy_place). Rules
 * are checked one by one, then against one another (policy_cover.c). A rule that nobody could ever use is refused, too:
 * who wrote it meant something else. */
#include "store/policy_internal.h"

#include "base/check.h"
#include "store/identifiers.h"

/* Where a check is. */
struct site {
    struct policy_place place;
    const struct policy_rule *rule;
    struct lapse_error *error;
};

static struct lapse_error *error_at(struct site *site, const char *member, int item)
{
    site->place.member = member;
    site->place.item = item;
    return site->error;
}

/* Puts the rule and the member before a message that a validator of identifiers made. */
static lapse_result explain(struct site *site, lapse_result result)
{
    struct lapse_error inner;
    if (lapse_is_ok(result) || site->error == NULL)
        return result;
    inner = *site->error;
    if (site->rule == NULL)
        return lapse_fail(site->error, inner.code, "policy: %s: %s", site->place.member, inner.message);
    return lapse_fail(site->error, inner.code, "rule %.*s: %s: %s", (int)site->rule->name.len,
                      (const char *)site->rule->name.data, site->place.member, inner.message);
}

#define REFUSE(site, member, item, ...)                                                                                \
    explain(site, lapse_fail(error_at(site, member, item), LAPSE_INVALID_ARGUMENT, __VA_ARGS__))

/* --- lists of patterns -------------------------------------------------------------------------------------------- */

/* Whether a beginning ends within a trust domain: "spiffe://example.org" is that of example.org.elsewhere.net, too. */
static bool ends_in_domain(struct slice stem)
{
    static const char scheme[] = "spiffe://";
    size_t len = sizeof scheme - 1;
    return stem.len > len && memcmp(stem.data, scheme, len) == 0 &&
           memchr(stem.data + len, '/', stem.len - len) == NULL;
}

static lapse_result principal_pattern(struct slice pattern, struct lapse_error *error)
{
    if (pattern.len == 1 && pattern.data[0] == '*')
        return lapse_ok();
    if (pattern.len == 0 || pattern.data[pattern.len - 1] != '*')
        return principal_validate(pattern, "pattern", error);
    pattern.len--;
    if (ends_in_domain(pattern))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "\"%.*s*\" takes in other trust domains that begin so; write %.*s/*", (int)pattern.len,
                          (const char *)pattern.data, (int)pattern.len, (const char *)pattern.data);
    return principal_validate(pattern, "pattern", error);
}

static lapse_result resource_pattern(struct slice pattern, struct lapse_error *error)
{
    return resource_validate(pattern, true, error);
}

typedef lapse_result (*pattern_fn)(struct slice pattern, struct lapse_error *error);

static bool listed_before(const struct policy_patterns *patterns, uint32_t i)
{
    for (uint32_t before = 0; before < i; before++)
        if (slice_equal(patterns->items[before], patterns->items[i]))
            return true;
    return false;
}

static lapse_result check_patterns(struct site *site, const char *member, const struct policy_patterns *patterns,
                                   pattern_fn check)
{
    if (patterns->n > LIMIT_RULE_PATTERNS)
        return REFUSE(site, member, -1, "%u patterns; the limit is %u: make two rules", patterns->n,
                      LIMIT_RULE_PATTERNS);
    for (uint32_t i = 0; i < patterns->n; i++) {
        lapse_result result = explain(site, check(patterns->items[i], error_at(site, member, (int)i)));
        if (!lapse_is_ok(result))
            return result;
        if (listed_before(patterns, i))
            return REFUSE(site, member, (int)i, "\"%.*s\" is listed twice", (int)patterns->items[i].len,
                          (const char *)patterns->items[i].data);
    }
    return lapse_ok();
}

/* Patterns that are kept with each grant, with a space between each. */
static lapse_result check_joined(struct site *site, const char *member, const struct policy_patterns *patterns)
{
    size_t len = 0;
    lapse_result result = check_patterns(site, member, patterns, principal_pattern);
    for (uint32_t i = 0; lapse_is_ok(result) && i < patterns->n; i++)
        len += patterns->items[i].len + (i > 0);
    if (lapse_is_ok(result) && len > LIMIT_STEP_PATTERNS)
        result = REFUSE(site, member, -1, "the patterns have %zu bytes in all; shorten them to at most %d", len,
                        LIMIT_STEP_PATTERNS);
    return result;
}

/* --- numbers and texts -------------------------------------------------------------------------------------------- */

static lapse_result check_ms(struct site *site, const char *member, int64_t ms, int64_t max)
{
    if (ms >= 0 && ms <= max)
        return lapse_ok();
    return REFUSE(site, member, -1, "must be at most %lld s", (long long)(max / 1000));
}

static lapse_result check_count(struct site *site, const char *member, uint32_t count, uint32_t max)
{
    if (count <= max)
        return lapse_ok();
    return REFUSE(site, member, -1, "must be at most %u", max);
}

/* What no text can be: its length has to fit both the pattern and the field. */
static lapse_result check_text(struct site *site, const char *member, const struct policy_text *text, uint32_t max)
{
    uint32_t fewest = 0, most = UINT32_MAX;
    lapse_result result = check_count(site, member, text->min_length, max);
    if (!lapse_is_ok(result) || text->pattern.len == 0)
        return result;
    result = explain(site, text_pattern_validate(text->pattern, error_at(site, member, -1)));
    if (!lapse_is_ok(result))
        return result;
    text_pattern_lengths(text->pattern, &fewest, &most);
    if (fewest > max)
        return REFUSE(site, member, -1, "the pattern asks for %u characters; the most there can be are %u", fewest,
                      max);
    if (most < text->min_length)
        return REFUSE(site, member, -1, "min_length is %u, and what matches the pattern has at most %u characters",
                      text->min_length, most);
    return result;
}

/* --- approval ----------------------------------------------------------------------------------------------------- */

/* Whether an exact pattern names nobody who hasn't been named by those before it. */
static bool named_before(struct slice pattern, const struct slice *persons, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (principal_same(persons[i], pattern))
            return true;
    return false;
}

static bool is_open(const struct policy_step *step)
{
    for (uint32_t i = 0; i < step->approvers.n; i++)
        if (step->approvers.items[i].data[step->approvers.items[i].len - 1] == '*')
            return true;
    return step->approvers.n == 0;
}

/* The one who alone may request, if it is one, and not approve for that reason. */
static struct slice only_requester(const struct policy_rule *rule)
{
    const struct policy_patterns *requesters = &rule->requesters;
    bool one = requesters->n == 1 && requesters->items[0].data[requesters->items[0].len - 1] != '*';
    return one && !rule->self_approval ? requesters->items[0] : (struct slice){0};
}

/* Whether the steps of the set `chosen`, all of which list persons, have enough of them: one counts once for a grant.
 */
static bool enough_persons(const struct policy_rule *rule, uint32_t chosen)
{
    struct slice persons[LIMIT_STEPS * LIMIT_RULE_PATTERNS], requester = only_requester(rule);
    uint32_t n = 0, needed = 0;
    for (uint32_t s = 0; s < rule->n_steps; s++) {
        const struct policy_step *step = &rule->steps[s];
        if ((chosen & 1u << s) == 0)
            continue;
        needed += step->count == 0 ? 1 : step->count;
        for (uint32_t i = 0; i < step->approvers.n; i++)
            if (!principal_same(requester, step->approvers.items[i]) &&
                !named_before(step->approvers.items[i], persons, n))
                persons[n++] = step->approvers.items[i];
    }
    return n >= needed;
}

/* Hall's condition over the steps that list persons: any of them together have enough. */
static lapse_result check_persons(struct site *site, const struct policy_rule *rule)
{
    uint32_t open = 0;
    for (uint32_t s = 0; s < rule->n_steps; s++)
        open |= (uint32_t)is_open(&rule->steps[s]) << s;
    for (uint32_t chosen = 1; chosen < 1u << rule->n_steps; chosen++)
        if ((chosen & open) == 0 && !enough_persons(rule, chosen))
            return REFUSE(site, "steps", 31 - __builtin_clz(chosen),
                          "asks for more approvers than it lists persons (one counts once, and never the requester "
                          "unless self_approval is set); list more");
    return lapse_ok();
}

static lapse_result check_steps(struct site *site, const struct policy_rule *rule)
{
    uint32_t total = 0;
    if (rule->n_steps > LIMIT_STEPS)
        return REFUSE(site, "steps", -1, "%u steps; the limit is %d", rule->n_steps, LIMIT_STEPS);
    for (uint32_t s = 0; s < rule->n_steps; s++) {
        const struct policy_step *step = &rule->steps[s];
        lapse_result result = check_joined(site, "steps", &step->approvers);
        if (!lapse_is_ok(result)) {
            site->place.item = (int)s;
            return result;
        }
        total += step->count > LIMIT_APPROVALS ? LIMIT_APPROVALS + 1 : step->count == 0 ? 1 : step->count;
    }
    if (total > LIMIT_APPROVALS)
        return REFUSE(site, "steps", -1, "more than %d approvals, which is the limit; ask for fewer", LIMIT_APPROVALS);
    return check_persons(site, rule);
}

static lapse_result check_approval(struct site *site, const struct policy_rule *rule)
{
    lapse_result result = check_steps(site, rule);
    if (lapse_is_ok(result) && rule->automatic && rule->n_steps > 0)
        result = REFUSE(site, "automatic", -1, "contradicts the steps of approval; leave one of them out");
    if (lapse_is_ok(result) && rule->automatic && rule->self_approval)
        result = REFUSE(site, "self_approval", -1, "contradicts automatic, by which nobody approves; leave one out");
    if (lapse_is_ok(result))
        result = check_ms(site, "decide_within_ms", rule->decide_within_ms, LIMIT_PENDING_MS_MAX);
    return result;
}

/* --- the rest of a rule ------------------------------------------------------------------------------------------- */

static lapse_result check_limits(struct site *site, const struct policy_limits *limits)
{
    bool windowed = limits->requests > 0 || limits->resources > 0;
    lapse_result result = check_ms(site, "limits", limits->window_ms, LIMIT_POLICY_WINDOW_MS);
    if (lapse_is_ok(result))
        result = check_ms(site, "limits", limits->cool_down_ms, LIMIT_POLICY_WINDOW_MS);
    if (lapse_is_ok(result) && windowed != (limits->window_ms > 0))
        result = REFUSE(site, "limits", -1,
                        windowed ? "requests and resources are counted in a window; set window"
                                 : "a window is for requests or resources; set one of them");
    if (lapse_is_ok(result) && limits->hold && !windowed && limits->cool_down_ms == 0)
        result = REFUSE(site, "limits", -1,
                        "nothing is held without a limit of requests or resources or a cool_down; set one");
    return result;
}

static lapse_result check_break_glass(struct site *site, const struct policy_rule *rule)
{
    if (!rule->break_glass && rule->review_within_ms != 0)
        return REFUSE(site, "review_within_ms", -1, "only break-glass is reviewed; set break_glass or leave it out");
    if (!rule->break_glass && rule->reviewers.n > 0)
        return REFUSE(site, "reviewers", -1, "only break-glass is reviewed; set break_glass or leave them out");
    lapse_result result = check_ms(site, "review_within_ms", rule->review_within_ms, LIMIT_REVIEW_MS_MAX);
    return lapse_is_ok(result) ? check_joined(site, "reviewers", &rule->reviewers) : result;
}

/* A deny rule says whom and what, and no more. NULL, or the member that has no place in it. */
static const char *beyond_deny(const struct policy_rule *rule)
{
    const struct policy_limits *limits = &rule->limits;
    const struct {
        bool set;
        const char *member;
    } members[] = {
        {rule->break_glass, "break_glass"},
        {rule->max_duration_ms != 0, "max_duration_ms"},
        {rule->eligibility, "eligibility"},
        {rule->automatic, "automatic"},
        {rule->self_approval, "self_approval"},
        {rule->n_steps > 0, "steps"},
        {rule->decide_within_ms != 0, "decide_within_ms"},
        {rule->justification.required || rule->justification.min_length > 0 || rule->justification.pattern.len > 0,
         "justification"},
        {rule->ticket.required || rule->ticket.min_length > 0 || rule->ticket.pattern.len > 0, "ticket"},
        {rule->bind_spiffe_id, "bind_spiffe_id"},
        {rule->bind_certificate, "bind_certificate"},
        {rule->bind_network, "bind_network"},
        {rule->max_uses != 0, "max_uses"},
        {limits->concurrent != 0 || limits->requests != 0 || limits->resources != 0 || limits->window_ms != 0 ||
             limits->cool_down_ms != 0 || limits->hold,
         "limits"},
        {rule->delegation_depth != 0, "delegation_depth"},
        {rule->review_within_ms != 0, "review_within_ms"},
        {rule->reviewers.n > 0, "reviewers"},
        {rule->token != TOKEN_RULE_ALLOWED, "token"},
    };
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (members[i].set)
            return members[i].member;
    return NULL;
}

static lapse_result check_scope(struct site *site, const struct policy_rule *rule)
{
    lapse_result result = explain(site, object_name_validate(rule->name, "name", error_at(site, "name", -1)));
    if (lapse_is_ok(result))
        result = explain(
            site, text_validate(rule->description, LIMIT_REASON, "description", error_at(site, "description", -1)));
    if (lapse_is_ok(result) && rule->requesters.n == 0)
        result = REFUSE(site, "requesters", -1, "missing; say whom the rule is for, \"*\" for everybody");
    if (lapse_is_ok(result) && rule->resources.n == 0)
        result = REFUSE(site, "resources", -1, "missing; say what the rule is for, \"*\" for everything");
    if (lapse_is_ok(result))
        result = check_patterns(site, "requesters", &rule->requesters, principal_pattern);
    if (lapse_is_ok(result))
        result = check_patterns(site, "subjects", &rule->subjects, principal_pattern);
    if (lapse_is_ok(result))
        result = check_patterns(site, "resources", &rule->resources, resource_pattern);
    if (lapse_is_ok(result))
        result = check_patterns(site, "actions", &rule->actions, action_validate);
    return result;
}

static lapse_result check_demands(struct site *site, const struct policy_rule *rule)
{
    lapse_result result = check_ms(site, "max_duration_ms", rule->max_duration_ms, LIMIT_DURATION_MS_MAX);
    if (lapse_is_ok(result))
        result = check_text(site, "justification", &rule->justification, LIMIT_JUSTIFICATION);
    if (lapse_is_ok(result))
        result = check_text(site, "ticket", &rule->ticket, LIMIT_TICKET);
    if (lapse_is_ok(result))
        result = check_count(site, "max_uses", rule->max_uses, LIMIT_USES_MAX);
    if (lapse_is_ok(result))
        result = check_limits(site, &rule->limits);
    if (lapse_is_ok(result))
        result = check_count(site, "delegation_depth", rule->delegation_depth, LIMIT_GRANT_DEPTH - 1);
    if (lapse_is_ok(result) && rule->token > TOKEN_RULE_BOUND)
        result = REFUSE(site, "token", -1, "must be allowed, forbidden or bound");
    return result;
}

static lapse_result check_rule(struct site *site, const struct policy_rule *rule)
{
    lapse_result result = check_scope(site, rule);
    const char *member = lapse_is_ok(result) && rule->deny ? beyond_deny(rule) : NULL;
    if (member != NULL)
        return REFUSE(site, member, -1, "contradicts deny, which refuses whatever it matches; leave one of them out");
    if (lapse_is_ok(result))
        result = check_demands(site, rule);
    if (lapse_is_ok(result))
        result = check_approval(site, rule);
    if (lapse_is_ok(result))
        result = check_break_glass(site, rule);
    return result;
}

/* --- the policy --------------------------------------------------------------------------------------------------- */

static lapse_result check_place(struct site *site, const struct policy *policy, uint32_t i)
{
    const struct policy_rule *rule = &policy->rules[i], *hider;
    for (uint32_t before = 0; before < i; before++)
        if (slice_equal(policy->rules[before].name, rule->name))
            return REFUSE(site, "name", -1, "an earlier rule has that name, too");
    hider = policy_rule_hidden_by(policy, i);
    if (hider == NULL)
        return lapse_ok();
    return REFUSE(site, "name", -1, "never decides: rule %.*s %s all that it could take; remove it or put it first",
                  (int)hider->name.len, (const char *)hider->name.data, hider->deny ? "denies" : "takes");
}

static lapse_result check_rules(struct site *site, const struct policy *policy)
{
    lapse_result result = lapse_ok();
    for (uint32_t i = 0; lapse_is_ok(result) && i < policy->n_rules; i++) {
        site->place.rule = (int)i;
        site->rule = &policy->rules[i];
        result = check_rule(site, site->rule);
    }
    /* Names are unique among valid rules only, and only those can hide one another. */
    for (uint32_t i = 0; lapse_is_ok(result) && i < policy->n_rules; i++) {
        site->place.rule = (int)i;
        site->rule = &policy->rules[i];
        result = check_place(site, policy, i);
    }
    return result;
}

static lapse_result check_head(struct site *site, const struct policy *policy)
{
    lapse_result result = explain(site, object_name_validate(policy->name, "name", error_at(site, "name", -1)));
    if (lapse_is_ok(result))
        result = explain(
            site, text_validate(policy->description, LIMIT_REASON, "description", error_at(site, "description", -1)));
    if (lapse_is_ok(result))
        result = explain(site, token_validate(policy->source, LIMIT_REASON, "source", error_at(site, "source", -1)));
    if (lapse_is_ok(result) && policy->applied_by.len > 0)
        result = explain(site, principal_validate(policy->applied_by, "applied_by", error_at(site, "applied_by", -1)));
    if (lapse_is_ok(result))
        result = check_ms(site, "applied_ms", policy->applied_ms, LIMIT_TIME_MS_MAX);
    if (lapse_is_ok(result))
        result = explain(site, text_validate(policy->removed, LIMIT_REASON, "removed", error_at(site, "removed", -1)));
    if (lapse_is_ok(result) && policy->n_rules == 0)
        result = REFUSE(site, "rules", -1, "missing; a policy without rules allows nothing and refuses nothing");
    if (lapse_is_ok(result))
        result = check_count(site, "rules", policy->n_rules, LIMIT_RULES_PER_POLICY);
    return result;
}

lapse_result policy_validate(const struct policy *policy, struct policy_place *place, struct lapse_error *error)
{
    struct site site = {.place = {.rule = -1, .item = -1}, .error = error};
    lapse_result result = check_head(&site, policy);
    if (lapse_is_ok(result))
        result = check_rules(&site, policy);
    if (!lapse_is_ok(result) && place != NULL)
        *place = site.place;
    return result;
}
