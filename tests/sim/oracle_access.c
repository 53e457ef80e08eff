/* What governance must mean: for requests, approvals, uses, tokens. */
#include <inttypes.h>

#include "base/check.h"
#include "tests/sim/oracle_governance.h"
#include "tests/sim/oracle_points_internal.h"

#define G "governance"

struct governed_grant_seen *access_find(const struct governance_model *model, struct grant_id id)
{
    for (uint32_t i = model->n_grants; i-- > 0;) {
        if (grant_id_compare(model->grants[i].id, id) == 0) {
            return &model->grants[i];
        }
    }
    return NULL;
}

static void fail(struct governance_model *model, const struct store_event *event, const char *what)
{
    sim_fail(model->sim, G, "revision %" PRIu64 " (%s): %s", event->revision, store_event_name(event->type), what);
}

static bool any_matches(const struct policy_patterns *patterns, struct slice principal)
{
    for (uint32_t i = 0; i < patterns->n; i++) {
        if (governed_matches(patterns->items[i], principal)) {
            return true;
        }
    }
    return false;
}

/* --- Requests --- */

static bool shares_action(const struct policy_rule *rule, const struct grant *grant)
{
    for (uint32_t i = 0; i < rule->actions.n; i++) {
        for (uint32_t k = 0; k < grant->n_actions; k++) {
            if (slice_equal(rule->actions.items[i], grant->actions[k])) {
                return true;
            }
        }
    }
    return rule->actions.n == 0;
}

static bool overlaps(const struct policy_rule *rule, struct slice resource)
{
    for (uint32_t i = 0; i < rule->resources.n; i++) {
        if (resource_overlaps(rule->resources.items[i], resource)) {
            return true;
        }
    }
    return false;
}

static bool covers(const struct policy_rule *rule, struct slice resource)
{
    for (uint32_t i = 0; i < rule->resources.n; i++) {
        struct slice pattern = rule->resources.items[i];
        if (slice_equal(pattern, resource) || resource_covers(pattern, resource)) {
            return true;
        }
    }
    return false;
}

static bool denies(const struct policy_rule *rule, const struct grant *grant)
{
    return rule->deny &&
           (any_matches(&rule->requesters, grant->requester) || any_matches(&rule->requesters, grant->subject)) &&
           (rule->subjects.n == 0 || any_matches(&rule->subjects, grant->subject)) && overlaps(rule, grant->resource) &&
           shares_action(rule, grant);
}

static const struct policy *find_policy(const struct governance_model *model, struct slice name)
{
    for (uint32_t i = 0; i < model->n_policies; i++) {
        if (slice_equal(model->policies[i]->name, name)) {
            return model->policies[i];
        }
    }
    return NULL;
}

static const struct policy_rule *find_rule(const struct policy *policy, struct slice name)
{
    for (uint32_t i = 0; policy != NULL && i < policy->n_rules; i++) {
        if (slice_equal(policy->rules[i].name, name)) {
            return &policy->rules[i];
        }
    }
    return NULL;
}

/* Its own time, or that of one above it, is over; its event may be still to come. */
static bool is_over(const struct governance_model *model, const struct governed_grant_seen *seen, int64_t now_ms)
{
    while (seen != NULL) {
        int64_t end_ms = seen->state == GRANT_PENDING ? seen->pending_until_ms : seen->deadline_ms;
        if (grant_state_is_ended(seen->state) || (end_ms != 0 && end_ms <= now_ms)) {
            return true;
        }
        seen = grant_id_is_zero(seen->parent) ? NULL : access_find(model, seen->parent);
    }
    return false;
}

/* With the one that is being requested. */
static uint32_t count_concurrent(const struct governance_model *model, const struct store_event *event)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < model->n_grants; i++) {
        const struct governed_grant_seen *seen = &model->grants[i];
        n += slice_equal(slice_str(seen->policy), event->grant->policy) &&
             governed_same(slice_str(seen->subject), event->grant->subject) && !is_over(model, seen, event->time_ms);
    }
    return n;
}

static bool is_eligible(const struct governance_model *model, const struct store_event *event)
{
    for (uint32_t i = 0; i < model->n_eligibilities; i++) {
        const struct live_eligibility *live = &model->eligibilities[i];
        struct slice resource = slice_str(live->resource);
        bool wide = slice_equal(resource, event->grant->resource) || resource_covers(resource, event->grant->resource);
        if (wide && governed_matches(slice_str(live->member), event->grant->requester) &&
            event->time_ms < live->expires_ms) {
            return true;
        }
    }
    return false;
}

static const char *check_rule(const struct governance_model *model, const struct policy_rule *rule,
                              const struct store_event *event)
{
    const struct grant *grant = event->grant;
    if (rule == NULL || rule->deny || rule->break_glass != grant->break_glass) {
        return "no such rule allows requests of this kind";
    }
    bool subject = rule->subjects.n == 0 ? governed_same(grant->subject, grant->requester)
                                         : any_matches(&rule->subjects, grant->subject);
    if (!any_matches(&rule->requesters, grant->requester) || !subject || !covers(rule, grant->resource)) {
        return "the rule is about others, or about something else";
    }
    if (rule->max_duration_ms != 0 && grant->duration_ms > rule->max_duration_ms) {
        return "it is for longer than its rule allows";
    }
    if (rule->eligibility && !is_eligible(model, event)) {
        return "the requester is not eligible";
    }
    if (grant->n_steps != rule->n_steps || grant->self_approval != rule->self_approval ||
        grant->automatic != (rule->automatic && !grant->held) || (grant->held && !rule->limits.hold)) {
        return "it does not ask for the approvals of its rule";
    }
    if (rule->limits.concurrent != 0 && model->sweeps == 0 &&
        count_concurrent(model, event) > rule->limits.concurrent) {
        return "the subject has more at once than its rule allows";
    }
    return NULL;
}

static const char *check_policies(const struct governance_model *model, const struct store_event *event)
{
    const struct grant *grant = event->grant;
    if (model->n_policies == 0) {
        return grant->policy.len > 0 || grant->break_glass ? "it names a policy, and there is none" : NULL;
    }
    const struct policy *policy = find_policy(model, grant->policy);
    if (policy == NULL || policy->version != grant->policy_version) {
        return "it is under no policy that is in force";
    }
    for (uint32_t i = 0; i < model->n_policies; i++) {
        for (uint32_t k = 0; k < model->policies[i]->n_rules; k++) {
            if (denies(&model->policies[i]->rules[k], grant)) {
                return "a deny rule is about it";
            }
        }
    }
    return check_rule(model, find_rule(policy, grant->rule), event);
}

static bool is_barred(const struct governance_model *model, struct slice principal)
{
    for (uint32_t i = 0; i < model->n_reviews; i++) {
        const struct open_review *review = &model->reviews[i];
        if (review->overdue && (governed_same(slice_str(review->requester), principal) ||
                                governed_same(slice_str(review->subject), principal))) {
            return true;
        }
    }
    return false;
}

static bool is_locked(const struct governance_model *model, const struct store_event *event, struct slice principal,
                      struct slice resource)
{
    return governed_lock(model, event->revision, event->time_ms, principal, resource) != NULL;
}

static void requested(struct governance_model *model, const struct store_event *event)
{
    const struct grant *grant = event->grant;
    const struct slice none = {0};
    const char *wrong = check_policies(model, event);
    model->counts.requests++;
    model->counts.break_glass += grant->break_glass;
    if (is_locked(model, event, grant->subject, grant->resource) || is_locked(model, event, grant->requester, none)) {
        wrong = "it is locked";
    } else if (is_barred(model, grant->requester) || is_barred(model, grant->subject)) {
        wrong = "a review is overdue";
    }
    if (wrong != NULL) {
        fail(model, event, wrong);
    }
}

/* --- end_disallowed --- */

/* No rule of the policy is about it any more: the least that there is to say. */
static bool is_disallowed(const struct policy *policy, const struct governed_grant_seen *seen)
{
    struct slice requester = slice_str(seen->requester), subject = slice_str(seen->subject);
    for (uint32_t i = 0; i < policy->n_rules; i++) {
        const struct policy_rule *rule = &policy->rules[i];
        if (!rule->deny && rule->break_glass == seen->break_glass && any_matches(&rule->requesters, requester) &&
            any_matches(&rule->subjects, subject) && covers(rule, slice_str(seen->resource))) {
            return false;
        }
    }
    return true;
}

void access_swept(struct governance_model *model, const struct store_event *event)
{
    const struct policy *policy = find_policy(model, event->sweep->filter.policy);
    for (uint32_t i = 0; policy != NULL && i < model->n_grants; i++) {
        const struct governed_grant_seen *seen = &model->grants[i];
        if (slice_equal(slice_str(seen->policy), policy->name) && seen->policy_version < policy->version &&
            !is_over(model, seen, event->time_ms) && is_disallowed(policy, seen)) {
            fail(model, event, "a grant under an earlier version is left that no rule is about any more");
        }
    }
    model->counts.disallowed++;
}

/* --- Approvals --- */

static const char *check_approver(const struct governance_model *model, const struct store_event *event)
{
    const struct grant *grant = event->grant;
    const struct grant_approval *last = &grant->approvals[grant->n_approvals - 1];
    bool requester = governed_same(last->approver, grant->requester);
    bool subject = governed_same(last->approver, grant->subject);
    const struct slice none = {0};
    if (!slice_equal(last->approver, event->actor) || last->revision != event->revision) {
        return "the approval is not the caller's, or not of now";
    }
    if ((requester && !grant->self_approval) || (subject && !(requester && grant->self_approval))) {
        return "somebody approves for themselves";
    }
    for (uint32_t i = 0; i + 1 < grant->n_approvals; i++) {
        if (governed_same(grant->approvals[i].approver, last->approver)) {
            return "somebody approves twice";
        }
    }
    bool locked =
        is_locked(model, event, grant->subject, grant->resource) || is_locked(model, event, grant->requester, none);
    for (uint32_t i = 0; i < grant->n_approvals; i++) {
        locked = locked || is_locked(model, event, grant->approvals[i].approver, none);
    }
    return locked ? "it is locked" : NULL;
}

/* The approvals, in order, against the steps, in order. */
static const char *check_steps(const struct grant *grant)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < grant->n_steps; i++) {
        for (uint32_t k = 0; k < grant->steps[i].count; k++, at++) {
            if (at == grant->n_approvals) {
                return "an approval is missing";
            }
            struct slice patterns = grant->steps[i].approvers, pattern;
            bool fits = patterns.len == 0;
            while (scope_next(&patterns, &pattern)) {
                fits = fits || governed_matches(pattern, grant->approvals[at].approver);
            }
            if (!fits) {
                return "an approval is not of whom its step asks for";
            }
        }
    }
    uint32_t needed = grant->n_steps > 0 ? at : grant->automatic ? 0 : 1;
    return grant->n_approvals == needed ? NULL : "it has not as many approvals as it needs";
}

static void approved(struct governance_model *model, const struct store_event *event,
                     const struct governed_grant_seen *seen)
{
    const struct grant *grant = event->grant;
    const char *wrong = NULL;
    uint32_t before = seen->n_approvals;
    if (grant->n_approvals != before + (grant->automatic ? 0 : 1)) {
        wrong = "it counts approvals wrongly";
    } else if (!grant->automatic) {
        wrong = check_approver(model, event);
    }
    if (wrong == NULL && grant->state != GRANT_PENDING) {
        wrong = check_steps(grant);
    }
    model->counts.approvals++;
    model->counts.several += grant->n_approvals > 1;
    model->counts.automatic += grant->automatic;
    if (wrong != NULL) {
        fail(model, event, wrong);
    }
}

/* --- Use --- */

static void activated(struct governance_model *model, const struct store_event *event)
{
    const char *wrong = check_steps(event->grant);
    model->awaits_review = event->grant->break_glass;
    model->awaited = event->grant->id;
    if (wrong != NULL) {
        fail(model, event, wrong);
    }
}

static void token_set(struct governance_model *model, const struct store_event *event, struct governed_grant_seen *seen)
{
    struct slice token = event->grant->token_sha256;
    model->counts.tokens++;
    if (seen->has_token || token.len != sizeof(seen->token)) {
        fail(model, event, "it has a token already, or gets none");
        return;
    }
    for (uint32_t i = 0; i < model->n_grants; i++) {
        const struct governed_grant_seen *other = &model->grants[i];
        if (other->has_token && memcmp(other->token, token.data, token.len) == 0 &&
            !is_over(model, other, event->time_ms)) {
            fail(model, event, "another live grant has that token");
        }
    }
    if (event->grant->token_rule == TOKEN_RULE_FORBIDDEN ||
        is_locked(model, event, event->grant->subject, event->grant->resource)) {
        fail(model, event, "its rule, or a lock, says no token");
    }
    seen->has_token = true;
    memcpy(seen->token, token.data, token.len);
}

/* --- All --- */

static struct governed_grant_seen *see(struct governance_model *model, const struct grant *grant)
{
    struct governed_grant_seen *seen = access_find(model, grant->id);
    if (seen == NULL) {
        model->grants = model_grown(model->grants, model->n_grants, &model->grants_max, sizeof(*model->grants));
        seen = &model->grants[model->n_grants++];
        *seen = (struct governed_grant_seen){.id = grant->id,
                                             .parent = grant->parent,
                                             .policy_version = grant->policy_version,
                                             .break_glass = grant->break_glass};
        bool fits = slice_to_cstr(grant->subject, seen->subject, TEXT) &&
                    slice_to_cstr(grant->requester, seen->requester, TEXT) &&
                    slice_to_cstr(grant->resource, seen->resource, TEXT) &&
                    slice_to_cstr(grant->policy, seen->policy, TEXT);
        CHECK(fits);
    }
    seen->state = grant->state;
    seen->deadline_ms = grant->deadline_ms;
    seen->pending_until_ms = grant->pending_until_ms;
    return seen;
}

void access_event(struct governance_model *model, const struct store_event *event)
{
    struct governed_grant_seen *seen = see(model, event->grant);
    switch (event->type) {
    case STORE_EVENT_REQUESTED:
        requested(model, event);
        break;
    case STORE_EVENT_APPROVED:
        approved(model, event, seen);
        break;
    case STORE_EVENT_ACTIVATED:
        activated(model, event);
        break;
    case STORE_EVENT_USED:
    case STORE_EVENT_SESSION_BEGAN:
        if (is_locked(model, event, event->grant->subject, event->grant->resource)) {
            fail(model, event, "it is locked");
        }
        break;
    case STORE_EVENT_TOKEN_SET:
        token_set(model, event, seen);
        break;
    default:
        break;
    }
    seen->n_approvals = event->grant->n_approvals;
}
