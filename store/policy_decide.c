/* The decision: which rule allows a request.
 *
 *   each rule, by (priority, policy, place):
 *     a deny rule that matches ------------------> refused
 *     another that matches who and what
 *       and whose requirements are met ----------> the first of these is the one
 *       but not what it requires ----------------> the first of these explains the refusal
 *   then the limits of the one: within them, held, or refused
 *
 * Deny rules are looked at wherever they stand. They match more widely than others: an allowed resource must be covered
 * by a pattern and all actions be listed, while one overlap and one action are enough to deny; otherwise a request for
 * more would get past what a request for less does not. */
#include "store/policy_internal.h"

#include <stdio.h>

#define NAME_FORMAT "policy %.*s, rule %.*s"
#define NAME_ARGS(policy, rule)                                                                                        \
    (int)(policy)->name.len, (const char *)(policy)->name.data, (int)(rule)->name.len, (const char *)(rule)->name.data

/* A request, taken apart once for all rules. */
struct question {
    const struct policy_request *request;
    const struct grant *terms;
    struct policy_principal requester, subject;
    bool for_itself; /* the subject is the requester */
};

static struct question question_of(const struct policy_request *request)
{
    return (struct question){
        .request = request,
        .terms = request->terms,
        .requester = policy_principal_of(request->requester),
        .subject = policy_principal_of(request->terms->subject),
        .for_itself = principal_same(request->terms->subject, request->requester),
    };
}

/* --- who and what ------------------------------------------------------------------------------------------------- */

static bool action_in(const struct policy_patterns *actions, struct slice action)
{
    for (uint32_t i = 0; i < actions->n; i++)
        if (slice_equal(actions->items[i], action))
            return true;
    return false;
}

static uint32_t actions_in(const struct policy_patterns *actions, const struct grant *terms)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < terms->n_actions; i++)
        n += action_in(actions, terms->actions[i]);
    return n;
}

static bool resource_in(const struct policy_patterns *resources, struct slice resource,
                        bool (*matches)(struct slice pattern, struct slice resource))
{
    for (uint32_t i = 0; i < resources->n; i++)
        if (matches(resources->items[i], resource))
            return true;
    return false;
}

static bool denies(const struct policy_rule *rule, const struct question *question)
{
    const struct grant *terms = question->terms;
    return resource_in(&rule->resources, terms->resource, resource_overlaps) &&
           (rule->actions.n == 0 || actions_in(&rule->actions, terms) > 0) &&
           (policy_principal_in(&rule->requesters, &question->requester) ||
            policy_principal_in(&rule->requesters, &question->subject)) &&
           (rule->subjects.n == 0 || policy_principal_in(&rule->subjects, &question->subject));
}

static bool matches(const struct policy_rule *rule, const struct question *question)
{
    const struct grant *terms = question->terms;
    return rule->break_glass == terms->break_glass && resource_in(&rule->resources, terms->resource, resource_covers) &&
           (rule->actions.n == 0 || actions_in(&rule->actions, terms) == terms->n_actions) &&
           policy_principal_in(&rule->requesters, &question->requester) &&
           (rule->subjects.n == 0 ? question->for_itself : policy_principal_in(&rule->subjects, &question->subject));
}

/* --- requirements ------------------------------------------------------------------------------------------------- */

struct requirement {
    const struct policy *policy;
    const struct policy_rule *rule;
    struct lapse_error *error;
};

#define UNMET(at, format, ...)                                                                                         \
    lapse_fail((at)->error, LAPSE_FAILED_PRECONDITION, NAME_FORMAT ": " format, NAME_ARGS((at)->policy, (at)->rule),   \
               __VA_ARGS__)

struct duration_text {
    char text[32];
};

/* "4h", "90m", "30s", "1500ms": the largest unit that divides it. */
static struct duration_text duration_text(int64_t ms)
{
    static const struct {
        int64_t ms;
        const char *name;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    struct duration_text out;
    size_t i = 0;
    while (ms % units[i].ms != 0)
        i++;
    (void)snprintf(out.text, sizeof out.text, "%lld%s", (long long)(ms / units[i].ms), units[i].name);
    return out;
}

static int64_t asked_ms(const struct policy_request *request)
{
    const struct grant *terms = request->terms;
    if (terms->duration_ms > 0)
        return terms->duration_ms;
    return terms->deadline_ms - (terms->not_before_ms > request->now_ms ? terms->not_before_ms : request->now_ms);
}

static lapse_result require_duration(const struct requirement *at, const struct policy_request *request)
{
    int64_t max_ms = at->rule->max_duration_ms;
    if (max_ms == 0 || asked_ms(request) <= max_ms)
        return lapse_ok();
    return UNMET(at, "at most %s at a time; ask for less", duration_text(max_ms).text);
}

static uint32_t characters(struct slice text)
{
    uint32_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += (text.data[i] & 0xC0) != 0x80;
    return n;
}

static lapse_result require_text(const struct requirement *at, const char *what, const struct policy_text *rule,
                                 struct slice text)
{
    if (text.len == 0)
        return rule->required ? UNMET(at, "needs a %s; give one", what) : lapse_ok();
    if (characters(text) < rule->min_length)
        return UNMET(at, "the %s needs at least %u characters; say more", what, rule->min_length);
    if (!text_matches(rule->pattern, text))
        return UNMET(at, "the %s must have the form %.*s", what, (int)rule->pattern.len,
                     (const char *)rule->pattern.data);
    return lapse_ok();
}

static lapse_result require_binding(const struct requirement *at, const struct grant_binding *binding)
{
    const struct policy_rule *rule = at->rule;
    const char *missing = rule->bind_spiffe_id && binding->spiffe_id.len == 0              ? "SPIFFE ID"
                          : rule->bind_certificate && binding->certificate_sha256.len == 0 ? "certificate"
                          : rule->bind_network && binding->n_networks == 0                 ? "network"
                                                                                           : NULL;
    return missing == NULL ? lapse_ok() : UNMET(at, "the grant must be bound to a %s; give one", missing);
}

static lapse_result require_uses(const struct requirement *at, uint32_t max_uses)
{
    uint32_t most = at->rule->max_uses;
    if (most == 0 || (max_uses > 0 && max_uses <= most))
        return lapse_ok();
    return UNMET(at, "the grant must be for a number of uses; set max_uses, at most %u", most);
}

static lapse_result require_terms(const struct requirement *at, const struct policy_request *request)
{
    const struct grant *terms = request->terms;
    lapse_result result = require_duration(at, request);
    if (lapse_is_ok(result))
        result = require_binding(at, &terms->binding);
    if (lapse_is_ok(result))
        result = require_uses(at, terms->max_uses);
    if (lapse_is_ok(result))
        result = require_text(at, "justification", &at->rule->justification, terms->justification);
    if (lapse_is_ok(result))
        result = require_text(at, "ticket", &at->rule->ticket, terms->ticket);
    return result;
}

static lapse_result require_all(const struct requirement *at, const struct policy_request *request,
                                const struct policy_facts *facts)
{
    lapse_result result = require_terms(at, request);
    if (!lapse_is_ok(result) || !at->rule->eligibility || facts == NULL || facts->eligible(facts->arg, request))
        return result;
    return UNMET(at, "%s", "the requester needs an eligibility for the resource and the actions; ask an operator");
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

#define PAST_LIMIT(at, format, ...)                                                                                    \
    lapse_fail((at)->error, LAPSE_RESOURCE_EXHAUSTED, NAME_FORMAT ": " format, NAME_ARGS((at)->policy, (at)->rule),    \
               __VA_ARGS__)

/* The limits that may hold. */
static lapse_result check_pace(const struct requirement *at, const struct policy_usage *usage)
{
    const struct policy_limits *limits = &at->rule->limits;
    if (limits->requests > 0 && (usage->overflow || usage->requests >= limits->requests))
        return PAST_LIMIT(at, "at most %u requests in %s for one subject; wait", limits->requests,
                          duration_text(limits->window_ms).text);
    if (limits->resources > 0 && (usage->overflow || usage->resources > limits->resources))
        return PAST_LIMIT(at, "at most %u different resources in %s for one subject; wait", limits->resources,
                          duration_text(limits->window_ms).text);
    if (limits->cool_down_ms > 0 &&
        (usage->overflow || (usage->since_end_ms >= 0 && usage->since_end_ms < limits->cool_down_ms)))
        return PAST_LIMIT(at, "a grant or request of the subject for this has just ended; wait for %s from its end",
                          duration_text(limits->cool_down_ms).text);
    return lapse_ok();
}

static lapse_result check_limits(const struct requirement *at, const struct policy_request *request,
                                 const struct policy_facts *facts, bool *held)
{
    const struct policy_limits *limits = &at->rule->limits;
    struct policy_usage usage = {.since_end_ms = -1};
    if (facts == NULL ||
        (limits->concurrent == 0 && limits->requests == 0 && limits->resources == 0 && limits->cool_down_ms == 0))
        return lapse_ok();
    facts->usage(facts->arg, request, at->policy, at->rule, &usage);
    if (limits->concurrent > 0 && (usage.overflow || usage.concurrent >= limits->concurrent))
        return PAST_LIMIT(at, "at most %u grants and open requests at a time for one subject; end or withdraw one",
                          limits->concurrent);
    lapse_result result = check_pace(at, &usage);
    if (lapse_is_ok(result) || !limits->hold)
        return result;
    *held = true;
    if (at->error != NULL)
        *at->error = (struct lapse_error){.code = LAPSE_OK};
    return lapse_ok();
}

/* --- the decision ------------------------------------------------------------------------------------------------- */

/* What the rules looked at so far make of the question. */
struct search {
    struct policy_decision allowed, unmet, denied;
};

static bool may_allow(const struct policy *policy, const struct grant *terms)
{
    return terms->policy.len == 0 || slice_equal(terms->policy, policy->name);
}

/* True when nothing more can change the answer. */
static bool search_policy(struct search *search, const struct policy *policy, const struct question *question,
                          const struct policy_facts *facts)
{
    bool named = may_allow(policy, question->terms);
    for (uint32_t i = 0; i < policy->n_rules; i++) {
        const struct policy_rule *rule = &policy->rules[i];
        const struct policy_decision here = {.policy = policy, .rule = rule};
        if (rule->deny) {
            if (denies(rule, question)) {
                search->denied = here;
                return true;
            }
        } else if (named && search->allowed.rule == NULL && matches(rule, question)) {
            const struct requirement at = {.policy = policy, .rule = rule};
            if (lapse_is_ok(require_all(&at, question->request, facts)))
                search->allowed = here;
            else if (search->unmet.rule == NULL)
                search->unmet = here;
        }
    }
    return false;
}

static lapse_result refuse_denied(const struct policy_decision *denied, struct lapse_error *error)
{
    struct slice why = denied->rule->description;
    return lapse_fail(error, LAPSE_PERMISSION_DENIED, NAME_FORMAT " denies this%s%.*s",
                      NAME_ARGS(denied->policy, denied->rule), why.len > 0 ? ": " : "", (int)why.len,
                      (const char *)why.data);
}

static lapse_result refuse_unmatched(const struct policy *const *policies, uint32_t n, const struct grant *terms,
                                     struct lapse_error *error)
{
    uint32_t i = 0;
    while (i < n && !may_allow(policies[i], terms))
        i++;
    if (i == n && terms->policy.len > 0)
        return lapse_fail(error, LAPSE_PERMISSION_DENIED,
                          "no policy %.*s has been applied; name another one, or none to have the first that allows it",
                          (int)terms->policy.len, (const char *)terms->policy.data);
    return lapse_fail(error, LAPSE_PERMISSION_DENIED,
                      "no rule of %s%.*s lets this requester ask for all of this subject, resource and actions%s; ask "
                      "for what a policy has a rule for",
                      terms->policy.len > 0 ? "policy " : "any policy", (int)terms->policy.len,
                      (const char *)terms->policy.data, terms->break_glass ? " by break-glass" : "");
}

lapse_result policy_decide(const struct policy *const *policies, uint32_t n, const struct policy_request *request,
                           const struct policy_facts *facts, struct policy_decision *decision,
                           struct lapse_error *error)
{
    const struct question question = question_of(request);
    struct search search = {0};
    for (uint32_t i = 0; i < n && !search_policy(&search, policies[i], &question, facts); i++)
        continue;
    if (search.denied.rule != NULL)
        return refuse_denied(&search.denied, error);
    if (search.allowed.rule != NULL) {
        const struct requirement at = {search.allowed.policy, search.allowed.rule, error};
        lapse_result result = check_limits(&at, request, facts, &search.allowed.held);
        if (lapse_is_ok(result))
            *decision = search.allowed;
        return result;
    }
    if (search.unmet.rule == NULL)
        return refuse_unmatched(policies, n, request->terms, error);
    const struct requirement at = {search.unmet.policy, search.unmet.rule, error};
    return require_all(&at, request, facts);
}

bool policy_still_allows(const struct policy *policy, const struct grant *grant)
{
    /* Its time in all is counted as it was when it was asked for. */
    const struct policy_request request = {grant->requester, grant, grant->requested_ms};
    const struct question question = question_of(&request);
    struct search search = {0};
    (void)search_policy(&search, policy, &question, NULL);
    return search.denied.rule == NULL && search.allowed.rule != NULL;
}
