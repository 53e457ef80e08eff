/* Policies in the store: the objects are their bytes, and the book has them decoded, in the order in which they decide.
 *
 *   APPLY_POLICY --> object (version = its event's revision) --> comes() --> book, sorted by (priority, name)
 *   REQUEST      --> policies_decide(): policy_decide() over the book, with what this store knows of the subject
 *
 * A version is the revision of the event that made it: versions of a name never come back, whatever was removed in
 * between, and a grant's version leads to the very event in the audit log. */
#include "store/policy.h"

#include <stdlib.h>

#include "base/check.h"
#include "store/governance.h"
#include "store/identifiers.h"
#include "store/policy_usage.h"

struct policy_book {
    struct policy **policies; /* by (priority, name) */
    uint32_t n, capacity;
    uint32_t n_rules;
    struct buf joined; /* what the last decision made of patterns */
};

#define JOINED_BYTES ((LIMIT_STEPS + 1) * LIMIT_STEP_PATTERNS)

static struct lapse_error *error_of(struct apply *apply)
{
    return &apply->outcome->error;
}

/* --- the book ----------------------------------------------------------------------------------------------------- */

static struct policy_book *book_of(struct store *store)
{
    if (store->policies == NULL) {
        store->policies = mem_calloc(1, sizeof *store->policies);
        buf_init(&store->policies->joined, JOINED_BYTES);
    }
    return store->policies;
}

static bool is_before(const struct policy *a, const struct policy *b)
{
    return a->priority != b->priority ? a->priority < b->priority : slice_compare(a->name, b->name) < 0;
}

static void comes(struct store *store, const struct object *object)
{
    struct policy_book *book = book_of(store);
    struct policy *policy = NULL;
    lapse_result result = policy_decode(object->value, &policy, NULL);
    CHECK(lapse_is_ok(result));
    if (book->n == book->capacity) {
        book->capacity = book->capacity == 0 ? 8 : book->capacity * 2;
        book->policies = mem_realloc(book->policies, book->capacity * sizeof(struct policy *));
    }
    uint32_t at = book->n++;
    for (; at > 0 && is_before(policy, book->policies[at - 1]); at--)
        book->policies[at] = book->policies[at - 1];
    book->policies[at] = policy;
    book->n_rules += policy->n_rules;
}

static uint32_t place_in(const struct policy_book *book, struct slice name)
{
    uint32_t i = 0;
    while (i < book->n && !slice_equal(book->policies[i]->name, name))
        i++;
    return i;
}

static void goes(struct store *store, const struct object *object)
{
    struct policy_book *book = store->policies;
    uint32_t at = place_in(book, object->name);
    CHECK(at < book->n);
    book->n_rules -= book->policies[at]->n_rules;
    policy_free(book->policies[at]);
    book->n--;
    memmove(book->policies + at, book->policies + at + 1, (book->n - at) * sizeof(struct policy *));
}

/* NULL when there is none of that name. */
static const struct policy *find(const struct store *store, struct slice name)
{
    const struct policy_book *book = store->policies;
    uint32_t i = book == NULL ? 0 : place_in(book, name);
    return book == NULL || i == book->n ? NULL : book->policies[i];
}

static uint32_t rules_in_all(const struct store *store)
{
    return store->policies == NULL ? 0 : store->policies->n_rules;
}

void policies_free(struct store *store)
{
    struct policy_book *book = store->policies;
    if (book == NULL)
        return;
    for (uint32_t i = 0; i < book->n; i++)
        policy_free(book->policies[i]);
    free(book->policies);
    buf_free(&book->joined);
    free(book);
    store->policies = NULL;
}

/* --- objects of a snapshot ---------------------------------------------------------------------------------------- */

static const char *check_decoded(const struct store *store, const struct object *object, const struct policy *policy)
{
    if (!slice_equal(policy->name, object->name) || object->due_ms != 0 || policy->removed.len > 0)
        return "a policy under another name";
    if (policy->version == 0 || policy->version != policy->revision || policy->revision > store->revision ||
        policy->applied_by.len == 0 || policy->applied_ms == 0 || policy->applied_ms > store->time_ms)
        return "a policy that was never applied";
    return policy->n_rules > LIMIT_POLICY_RULES - rules_in_all(store) ? "too many rules" : NULL;
}

static const char *check(const struct store *store, const struct object *object)
{
    struct policy *policy;
    if (!lapse_is_ok(policy_decode(object->value, &policy, NULL)))
        return "bad policy";
    const char *why = check_decoded(store, object, policy);
    policy_free(policy);
    return why;
}

const struct object_module policy_module = {.check = check, .comes = comes, .goes = goes};

/* --- APPLY_POLICY, REMOVE_POLICY ---------------------------------------------------------------------------------- */

lapse_result policies_validate(const struct command *command, struct lapse_error *error)
{
    struct policy *policy;
    if (command->type == COMMAND_REMOVE_POLICY)
        return object_name_validate(command->name, "policy", error);
    lapse_result result = policy_decode(command->value, &policy, error);
    if (!lapse_is_ok(result))
        return result;
    if (policy->version != 0 || policy->applied_by.len > 0 || policy->applied_ms != 0 || policy->revision != 0 ||
        policy->removed.len > 0)
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                            "policy: version, applied_by, applied_ms, revision and removed are the cluster's; leave "
                            "them out");
    policy_free(policy);
    return result;
}

static lapse_result check_version(struct apply *apply, const struct policy *was)
{
    uint64_t expected = apply->command->revision;
    if (expected == 0 || (was != NULL && was->version == expected))
        return lapse_ok();
    if (was == NULL)
        return lapse_fail(error_of(apply), LAPSE_FAILED_PRECONDITION,
                          "the policy is not applied, so it has no version %llu; look at the list of policies",
                          (unsigned long long)expected);
    return lapse_fail(error_of(apply), LAPSE_FAILED_PRECONDITION,
                      "the policy has version %llu, not %llu; look at what has changed and apply again",
                      (unsigned long long)was->version, (unsigned long long)expected);
}

static lapse_result check_room(struct apply *apply, const struct policy *was, const struct policy *policy)
{
    const struct store *store = apply->store;
    uint32_t others = rules_in_all(store) - (was == NULL ? 0 : was->n_rules);
    if (was == NULL && store->objects.kinds[OBJECT_POLICY].n == LIMIT_POLICIES)
        return lapse_fail(error_of(apply), LAPSE_RESOURCE_EXHAUSTED,
                          "%u policies are applied, which is the limit; remove one", LIMIT_POLICIES);
    if (policy->n_rules > LIMIT_POLICY_RULES - others)
        return lapse_fail(error_of(apply), LAPSE_RESOURCE_EXHAUSTED,
                          "the policies would have %u rules in all; the limit is %u", others + policy->n_rules,
                          LIMIT_POLICY_RULES);
    return lapse_ok();
}

/* While a sweep asks what the present version allows, its answer must stay the same. */
static lapse_result check_rest(struct apply *apply, struct slice name)
{
    if (!sweeps_disallow(apply->store, name))
        return lapse_ok();
    return lapse_fail(error_of(apply), LAPSE_FAILED_PRECONDITION,
                      "grants that policy %.*s no longer allows are still being ended; try again in a moment",
                      (int)name.len, (const char *)name.data);
}

/* The policy as it would be kept. */
static lapse_result encode(struct apply *apply, const struct policy *policy, struct buf *bytes)
{
    buf_init(bytes, LIMIT_OBJECT_BYTES);
    if (lapse_is_ok(policy_encode(policy, bytes)))
        return lapse_ok();
    return lapse_fail(error_of(apply), LAPSE_INVALID_ARGUMENT, "policy has more than %u bytes; make two of it",
                      LIMIT_OBJECT_BYTES);
}

/* Applying what is applied already changes nothing: whoever keeps policies in git may apply them with each run. */
static lapse_result is_applied(struct apply *apply, const struct policy *was, const struct policy *policy, bool *same)
{
    struct policy as_was = *policy;
    struct buf bytes = {0};
    as_was.version = was->version;
    as_was.revision = was->revision;
    as_was.applied_by = was->applied_by;
    as_was.applied_ms = was->applied_ms;
    lapse_result result = encode(apply, &as_was, &bytes);
    const struct object *object = object_find(&apply->store->objects, OBJECT_POLICY, policy->name);
    *same = lapse_is_ok(result) && slice_equal(buf_slice(&bytes), object->value);
    buf_free(&bytes);
    return result;
}

static lapse_result tell_unchanged(struct apply *apply, const struct policy *was)
{
    apply->outcome->repeated = true;
    apply->outcome->revision = was->revision;
    apply->outcome->time_ms = was->applied_ms;
    return lapse_ok();
}

static struct store_filter filter_of(const struct policy *policy)
{
    return (struct store_filter){.policy = policy->name};
}

static bool has_grants(const struct store *store, const struct policy *policy)
{
    return index_find(store, INDEX_POLICY, policy->name) != NULL;
}

/* Revokes what stands under earlier versions and would not be allowed any more. */
static void end_disallowed(struct apply *apply, const struct policy *policy)
{
    if (!policy->end_disallowed || !has_grants(apply->store, policy))
        return;
    const struct sweep sweep = {.filter = filter_of(policy),
                                .by = apply->command->principal,
                                .reason = slice_str("a newer version of its policy doesn't allow it")};
    sweeps_begin(apply, &sweep, true);
}

static lapse_result check_apply(struct apply *apply, const struct policy *was, const struct policy *policy)
{
    lapse_result result = check_version(apply, was);
    if (lapse_is_ok(result))
        result = check_rest(apply, policy->name);
    if (lapse_is_ok(result))
        result = check_room(apply, was, policy);
    if (lapse_is_ok(result) && policy->end_disallowed) {
        const struct store_filter filter = filter_of(policy);
        result = sweeps_have_room(apply, &filter, true);
    }
    return result;
}

static lapse_result put(struct apply *apply, struct policy *policy)
{
    struct buf bytes;
    policy->version = policy->revision = apply->store->revision + 1;
    policy->applied_by = apply->command->principal;
    policy->applied_ms = apply->now_ms;
    lapse_result result = encode(apply, policy, &bytes);
    if (lapse_is_ok(result)) {
        governance_put(apply, STORE_EVENT_POLICY_APPLIED,
                       &(struct object){.kind = OBJECT_POLICY, .name = policy->name, .value = buf_slice(&bytes)});
        end_disallowed(apply, policy);
    }
    buf_free(&bytes);
    return result;
}

static lapse_result apply_policy(struct apply *apply)
{
    struct policy *policy;
    bool same = false;
    lapse_result result = policy_decode(apply->command->value, &policy, error_of(apply));
    if (!lapse_is_ok(result))
        return result;
    const struct policy *was = find(apply->store, policy->name);
    result = check_apply(apply, was, policy);
    if (lapse_is_ok(result) && was != NULL)
        result = is_applied(apply, was, policy, &same);
    if (lapse_is_ok(result))
        result = same ? tell_unchanged(apply, was) : put(apply, policy);
    policy_free(policy);
    return result;
}

/* What stands under it goes on; with the last policy the built-in rule holds again. */
static lapse_result remove_policy(struct apply *apply)
{
    const struct command *command = apply->command;
    const struct policy *was = find(apply->store, command->name);
    struct buf bytes;
    if (was == NULL)
        return lapse_fail(error_of(apply), LAPSE_NOT_FOUND, "no policy %.*s is applied; look at the list of policies",
                          (int)command->name.len, (const char *)command->name.data);
    lapse_result result = check_rest(apply, command->name);
    if (!lapse_is_ok(result))
        return result;
    struct policy last = *was;
    last.removed = command->text;
    /* The reason comes on top of what was kept. */
    buf_init(&bytes, LIMIT_OBJECT_BYTES + LIMIT_REASON + 8);
    result = policy_encode(&last, &bytes);
    CHECK(lapse_is_ok(result));
    governance_remove(apply, STORE_EVENT_POLICY_REMOVED, OBJECT_POLICY, command->name,
                      &(struct object){.kind = OBJECT_POLICY, .name = command->name, .value = buf_slice(&bytes)});
    buf_free(&bytes);
    return result;
}

lapse_result policies_apply(struct apply *apply)
{
    const struct rule *rule = rules_find((int)apply->command->type, GRANT_NONE);
    lapse_result result = rules_permit(apply->store, rule, apply->command->principal, 0, error_of(apply));
    if (!lapse_is_ok(result))
        return result;
    return apply->command->type == COMMAND_APPLY_POLICY ? apply_policy(apply) : remove_policy(apply);
}

bool policies_disallow(const struct store *store, uint32_t slot)
{
    struct grant grant;
    const struct policy *policy = find(store, store_string(store, store_record(store, slot)->policy));
    if (policy == NULL)
        return false;
    slot_read(store, slot, &grant);
    return grant.policy_version > 0 && grant.policy_version < policy->version && !policy_still_allows(policy, &grant);
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

struct facts {
    struct apply *apply;
    struct slice eligibility; /* the name of the one that was found */
};

static bool eligible(void *arg, const struct policy_request *request)
{
    struct facts *facts = arg;
    if (facts->eligibility.len == 0)
        facts->eligibility = eligibility_find(facts->apply->store, request->requester, request->terms, request->now_ms);
    return facts->eligibility.len > 0;
}

static void usage(void *arg, const struct policy_request *request, const struct policy *policy,
                  const struct policy_rule *rule, struct policy_usage *usage)
{
    const struct facts *facts = arg;
    policy_usage_count(facts->apply->store, request, policy, rule, usage);
}

/* Patterns with a space between each, in a buffer that has room for all of a rule. */
static struct slice join(struct buf *joined, const struct policy_patterns *patterns)
{
    size_t start = joined->len;
    for (uint32_t i = 0; i < patterns->n; i++) {
        if (i > 0)
            joined->data[joined->len++] = ' ';
        memcpy(joined->data + joined->len, patterns->items[i].data, patterns->items[i].len);
        joined->len += patterns->items[i].len;
    }
    return slice_of(joined->data + start, joined->len - start);
}

static void fill_patterns(struct buf *joined, const struct policy_rule *rule, struct grant *terms)
{
    lapse_result result = buf_reserve(joined, JOINED_BYTES - joined->len);
    CHECK(lapse_is_ok(result));
    buf_clear(joined);
    terms->n_steps = rule->n_steps;
    for (uint32_t i = 0; i < rule->n_steps; i++) {
        terms->steps[i].count = rule->steps[i].count == 0 ? 1 : rule->steps[i].count;
        terms->steps[i].approvers = join(joined, &rule->steps[i].approvers);
    }
    terms->reviewers = join(joined, &rule->reviewers);
}

/* Where the rule and the request say nothing the default holds, and the terms stay such as many grants share. */
static int64_t pending_until(const struct policy_rule *rule, const struct grant *terms, int64_t now_ms)
{
    int64_t within_ms = rule->decide_within_ms > 0 ? rule->decide_within_ms : LIMIT_PENDING_MS_DEFAULT;
    if (rule->decide_within_ms == 0 && terms->pending_until_ms == 0)
        return 0;
    return terms->pending_until_ms == 0 || terms->pending_until_ms > now_ms + within_ms ? now_ms + within_ms
                                                                                        : terms->pending_until_ms;
}

static void fill(struct apply *apply, const struct policy_decision *decision, struct grant *terms)
{
    const struct policy_rule *rule = decision->rule;
    terms->policy = decision->policy->name;
    terms->policy_version = decision->policy->version;
    terms->rule = rule->name;
    terms->held = decision->held;
    terms->automatic = rule->automatic && !decision->held;
    terms->self_approval = rule->self_approval;
    terms->delegation_depth = rule->delegation_depth;
    terms->token_rule = rule->token;
    terms->review_within_ms = 0;
    if (rule->break_glass)
        terms->review_within_ms = rule->review_within_ms > 0 ? rule->review_within_ms : LIMIT_REVIEW_MS_DEFAULT;
    terms->pending_until_ms = pending_until(rule, terms, apply->now_ms);
    fill_patterns(&apply->store->policies->joined, rule, terms);
}

/* The built-in rule. A request that names a policy is for that one and no other: a grant never bears the name of a
 * policy that didn't decide it. */
static lapse_result decide_without(struct apply *apply, const struct grant *terms)
{
    if (terms->policy.len > 0)
        return lapse_fail(error_of(apply), LAPSE_PERMISSION_DENIED,
                          "no policy %.*s has been applied, nor any other; name none to ask under the built-in rule",
                          (int)terms->policy.len, (const char *)terms->policy.data);
    if (!terms->break_glass)
        return lapse_ok();
    return lapse_fail(error_of(apply), LAPSE_PERMISSION_DENIED,
                      "break-glass needs a policy with a break-glass rule; none is applied");
}

lapse_result policies_decide(struct apply *apply, struct grant *terms)
{
    struct policy_book *book = apply->store->policies;
    struct facts facts = {.apply = apply};
    const struct policy_facts asked = {&facts, eligible, usage};
    const struct policy_request request = {apply->command->principal, terms, apply->now_ms};
    struct policy_decision decision;
    if (book == NULL || book->n == 0)
        return decide_without(apply, terms);
    lapse_result result = policy_decide((const struct policy *const *)book->policies, book->n, &request, &asked,
                                        &decision, error_of(apply));
    if (!lapse_is_ok(result))
        return result;
    apply->eligibility = decision.rule->eligibility ? facts.eligibility : (struct slice){0};
    fill(apply, &decision, terms);
    return lapse_ok();
}
