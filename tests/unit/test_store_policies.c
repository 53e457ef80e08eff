/* Policies in the store: applying and removing them, what a request becomes under them, what their limits count, and
 * what ends when they change. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "store/governance.h"
#include "tests/unit/policy_fixture.h"
#include "tests/unit/store_fixture.h"

#define SECOND 1000LL

/* The events of one command. */
struct heard {
    enum store_event_type types[64];
    uint32_t n;
    struct buf policy; /* of the last event about one */
};

static void hear(void *arg, const struct store_event *event)
{
    struct heard *heard = arg;
    if (heard->n < 64)
        heard->types[heard->n] = event->type;
    heard->n++;
    if (event->object == NULL || event->object->kind != OBJECT_POLICY)
        return;
    buf_free(&heard->policy);
    buf_init(&heard->policy, 2 * LIMIT_OBJECT_BYTES);
    cr_assert(lapse_is_ok(buf_append(&heard->policy, event->object->value.data, event->object->value.len)));
}

static struct store_outcome apply_heard(struct store *store, struct command command, int64_t time_ms,
                                        struct heard *heard)
{
    struct store_outcome outcome;
    store_apply(store, &command, time_ms, hear, heard, &outcome);
    return outcome;
}

/* A command that applies the policy, in bytes that stay until the next call. */
static struct command applying(const struct policy *policy)
{
    static struct buf bytes;
    buf_free(&bytes);
    buf_init(&bytes, LIMIT_OBJECT_BYTES);
    cr_assert(lapse_is_ok(policy_encode(policy, &bytes)));
    return (struct command){.type = COMMAND_APPLY_POLICY, .principal = S("user:ops"), .value = buf_slice(&bytes)};
}

static struct command removing(const char *name)
{
    return (struct command){
        .type = COMMAND_REMOVE_POLICY, .principal = S("user:ops"), .name = S(name), .text = S("not needed")};
}

static uint64_t version_of(const struct store *store, const char *name)
{
    const struct object *object = store_object(store, OBJECT_POLICY, S(name));
    struct policy *policy;
    if (object == NULL)
        return 0;
    cr_assert(lapse_is_ok(policy_decode(object->value, &policy, NULL)));
    uint64_t version = policy->version;
    policy_free(policy);
    return version;
}

static struct grant get(const struct store *store, uint64_t number)
{
    struct grant grant = {0};
    cr_assert(store_get(store, fixture_id(number), &grant));
    return grant;
}

/* "p": whoever is a user:req may ask for anything for anybody. */
static struct policy open_policy(struct policy_rule *rule)
{
    static struct slice requesters = {(const uint8_t *)"user:req*", 9}, everything = {(const uint8_t *)"*", 1};
    *rule = (struct policy_rule){
        .name = S("r"), .requesters = {&requesters, 1}, .subjects = {&everything, 1}, .resources = {&everything, 1}};
    return (struct policy){.name = S("p"), .rules = rule, .n_rules = 1};
}

/* --- applying and removing ---------------------------------------------------------------------------------------- */

Test(store_policies, without_any_policy_one_approver_decides)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, fixture_request(1), T0);
    struct grant grant = get(store, 1);
    cr_assert(grant.state == GRANT_PENDING && grant.policy_version == 0 && grant.rule.len == 0 && grant.n_steps == 0);
    struct command glass = fixture_request(2);
    glass.terms.break_glass = true;
    struct store_outcome outcome = fixture_apply(store, glass, T0);
    cr_assert_eq(outcome.error.code, LAPSE_PERMISSION_DENIED);
    cr_assert_not_null(strstr(outcome.error.message, "break-glass"), "%s", outcome.error.message);
    store_free(store);
}

Test(store_policies, a_version_is_the_revision_of_its_event)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = open_policy(&rule), *told;
    struct heard heard = {0};
    struct store_outcome outcome = apply_heard(store, applying(&policy), T0 + 5, &heard);
    cr_assert_eq(outcome.error.code, LAPSE_OK, "%s", outcome.error.message);
    cr_assert(heard.n == 1 && heard.types[0] == STORE_EVENT_POLICY_APPLIED);
    cr_assert(lapse_is_ok(policy_decode(buf_slice(&heard.policy), &told, NULL)));
    cr_assert(told->version == outcome.revision && told->revision == outcome.revision);
    cr_assert(slice_equal(told->applied_by, S("user:ops")) && told->applied_ms == T0 + 5);
    cr_assert_eq(version_of(store, "p"), outcome.revision);
    policy_free(told);
    buf_free(&heard.policy);
    store_free(store);
}

Test(store_policies, applying_the_same_again_changes_nothing)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = open_policy(&rule);
    uint64_t version = fixture_must(store, applying(&policy), T0).revision;
    struct store_outcome outcome = fixture_must(store, applying(&policy), T0 + 1);
    cr_assert(outcome.repeated && outcome.n_events == 0 && outcome.revision == version);
    struct command keyed = applying(&policy);
    keyed.key = fixture_key(1);
    cr_assert_eq(fixture_must(store, keyed, T0 + 2).revision, version);
    cr_assert_eq(store_revision(store), version);
    policy.description = S("with a comment");
    outcome = fixture_must(store, applying(&policy), T0 + 3);
    cr_assert(!outcome.repeated && outcome.revision == version + 1 && version_of(store, "p") == version + 1);
    store_free(store);
}

Test(store_policies, an_expected_version_guards_against_overwriting)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = open_policy(&rule);
    struct command command = applying(&policy);
    command.revision = 7;
    struct store_outcome outcome = fixture_apply(store, command, T0);
    cr_assert_eq(outcome.error.code, LAPSE_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(outcome.error.message, "has no version 7"), "%s", outcome.error.message);
    uint64_t version = fixture_must(store, applying(&policy), T0).revision;
    policy.priority = 3;
    command = applying(&policy);
    command.revision = version - 1;
    cr_assert_eq(fixture_apply(store, command, T0).error.code, LAPSE_FAILED_PRECONDITION);
    command.revision = version;
    fixture_must(store, command, T0);
    store_free(store);
}

Test(store_policies, versions_never_come_back)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = open_policy(&rule), *told;
    struct heard heard = {0};
    uint64_t first = fixture_must(store, applying(&policy), T0).revision;
    struct store_outcome outcome = apply_heard(store, removing("p"), T0, &heard);
    cr_assert_eq(outcome.error.code, LAPSE_OK, "%s", outcome.error.message);
    cr_assert(heard.n == 1 && heard.types[0] == STORE_EVENT_POLICY_REMOVED);
    cr_assert(lapse_is_ok(policy_decode(buf_slice(&heard.policy), &told, NULL)));
    cr_assert(slice_equal(told->removed, S("not needed")) && told->version == first);
    cr_assert_null(store_object(store, OBJECT_POLICY, S("p")));
    cr_assert_gt(fixture_must(store, applying(&policy), T0).revision, first);
    policy_free(told);
    buf_free(&heard.policy);
    store_free(store);
}

Test(store_policies, only_operators_apply_and_remove)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = open_policy(&rule);
    struct command command = applying(&policy), removal = removing("p");
    command.principal = removal.principal = S("user:req1");
    cr_assert_eq(fixture_apply(store, command, T0).error.code, LAPSE_PERMISSION_DENIED);
    fixture_must(store, applying(&policy), T0);
    cr_assert_eq(fixture_apply(store, removal, T0).error.code, LAPSE_PERMISSION_DENIED);
    cr_assert_eq(fixture_apply(store, removing("q"), T0).error.code, LAPSE_NOT_FOUND);
    cr_assert_eq(fixture_apply(store, removing("a b"), T0).error.code, LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(fixture_apply(store, removing(""), T0).error.code, LAPSE_INVALID_ARGUMENT);
    store_free(store);
}

Test(store_policies, a_policy_comes_without_what_is_the_stores)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    for (int i = 0; i < 5; i++) {
        struct policy policy = open_policy(&rule);
        policy.version = i == 0;
        policy.revision = i == 1;
        policy.applied_ms = i == 2;
        policy.applied_by = i == 3 ? S("user:ops") : S("");
        policy.removed = i == 4 ? S("why") : S("");
        struct store_outcome outcome = fixture_apply(store, applying(&policy), T0);
        cr_expect_eq(outcome.error.code, LAPSE_INVALID_ARGUMENT, "%d", i);
        cr_expect_not_null(strstr(outcome.error.message, "are the cluster's"), "%s", outcome.error.message);
    }
    struct command garbage = {.type = COMMAND_APPLY_POLICY, .principal = S("user:ops"), .value = S("nonsense")};
    cr_assert_eq(fixture_apply(store, garbage, T0).error.code, LAPSE_INVALID_ARGUMENT);
    store_free(store);
}

/* Policy `i` of 256, each of `n_rules` rules that are for other resources. */
static struct policy numbered(uint32_t i, uint32_t n_rules)
{
    static char name[16], names[32][16], resources[32][32];
    static struct slice patterns[32];
    static struct policy_rule rules[32];
    struct policy policy = open_policy(&rules[0]);
    (void)snprintf(name, sizeof name, "p%u", i);
    for (uint32_t r = 0; r < n_rules; r++) {
        (void)snprintf(names[r], sizeof names[r], "r%u", r);
        (void)snprintf(resources[r], sizeof resources[r], "db/p%u/t%u", i, r);
        patterns[r] = S(resources[r]);
        rules[r] = rules[0];
        rules[r].name = S(names[r]);
        rules[r].resources = (struct policy_patterns){&patterns[r], 1};
    }
    policy.name = S(name);
    policy.n_rules = n_rules;
    return policy;
}

Test(store_policies, there_is_a_greatest_number_of_policies_and_of_rules)
{
    struct store *store = fixture_store(NULL);
    struct policy policy;
    for (uint32_t i = 0; i < LIMIT_POLICIES; i++) {
        policy = numbered(i, LIMIT_POLICY_RULES / LIMIT_POLICIES);
        fixture_must(store, applying(&policy), T0);
    }
    policy = numbered(LIMIT_POLICIES, 1);
    struct store_outcome outcome = fixture_apply(store, applying(&policy), T0);
    cr_assert_eq(outcome.error.code, LAPSE_RESOURCE_EXHAUSTED);
    cr_assert_not_null(strstr(outcome.error.message, "256 policies"), "%s", outcome.error.message);
    policy = numbered(9, LIMIT_POLICY_RULES / LIMIT_POLICIES + 1);
    outcome = fixture_apply(store, applying(&policy), T0);
    cr_assert_eq(outcome.error.code, LAPSE_RESOURCE_EXHAUSTED);
    cr_assert_not_null(strstr(outcome.error.message, "4097 rules"), "%s", outcome.error.message);
    /* A newer version takes the place of its own rules. */
    policy = numbered(9, 1);
    fixture_must(store, applying(&policy), T0);
    policy = numbered(10, LIMIT_POLICY_RULES / LIMIT_POLICIES + 15);
    fixture_must(store, applying(&policy), T0);
    store_free(store);
}

Test(store_policies, an_object_that_was_never_applied_is_refused_by_a_restore)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = open_policy(&rule);
    fixture_must(store, applying(&policy), T0);
    struct object good = *store_object(store, OBJECT_POLICY, S("p")), object = good;
    cr_assert_null(policy_module.check(store, &good));
    object.name = S("q");
    cr_assert_not_null(policy_module.check(store, &object));
    object = good;
    object.due_ms = 1;
    cr_assert_not_null(policy_module.check(store, &object));
    object = good;
    object.value.len--;
    cr_assert_str_eq(policy_module.check(store, &object), "bad policy");
    object = good;
    object.value = applying(&policy).value;
    cr_assert_str_eq(policy_module.check(store, &object), "a policy that was never applied");
    policy.version = policy.revision = store_revision(store) + 1;
    policy.applied_by = S("user:ops");
    policy.applied_ms = T0;
    object.value = applying(&policy).value;
    cr_assert_str_eq(policy_module.check(store, &object), "a policy that was never applied");
    policy.version = policy.revision = 1;
    object.value = applying(&policy).value;
    cr_assert_null(policy_module.check(store, &object));
    policy.applied_ms = T0 + 1;
    object.value = applying(&policy).value;
    cr_assert_not_null(policy_module.check(store, &object));
    store_free(store);
}

/* --- what a request becomes --------------------------------------------------------------------------------------- */

Test(store_policies, a_grant_records_what_its_rule_made_of_it)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = open_policy(&rule);
    rule.self_approval = true;
    rule.steps[0] = (struct policy_step){2, LIST(S("user:app*"), S("user:lead1"))};
    rule.steps[1] = (struct policy_step){0, {NULL, 0}};
    rule.n_steps = 2;
    rule.decide_within_ms = HOURS(2);
    rule.delegation_depth = 3;
    rule.token = TOKEN_RULE_BOUND;
    uint64_t version = fixture_must(store, applying(&policy), T0).revision;
    fixture_must(store, fixture_request(1), T0 + 10);
    struct grant grant = get(store, 1);
    cr_assert(slice_equal(grant.policy, S("p")) && grant.policy_version == version);
    cr_assert(slice_equal(grant.rule, S("r")) && grant.self_approval && !grant.automatic && !grant.held);
    cr_assert(grant.n_steps == 2 && grant.steps[0].count == 2 && grant.steps[1].count == 1);
    cr_assert(slice_equal(grant.steps[0].approvers, S("user:app* user:lead1")) && grant.steps[1].approvers.len == 0);
    cr_assert(grant.delegation_depth == 3 && grant.token_rule == TOKEN_RULE_BOUND);
    cr_assert_eq(grant.pending_until_ms, T0 + 10 + HOURS(2));
    store_free(store);
}

Test(store_policies, a_newer_version_changes_nothing_about_what_stands)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = open_policy(&rule);
    uint64_t version = fixture_must(store, applying(&policy), T0).revision;
    fixture_must(store, fixture_request(1), T0);
    rule.max_duration_ms = 1;
    rule.name = S("stricter");
    fixture_must(store, applying(&policy), T0);
    struct grant grant = get(store, 1);
    cr_assert(grant.state == GRANT_PENDING && grant.policy_version == version && slice_equal(grant.rule, S("r")));
    cr_assert_eq(fixture_apply(store, fixture_request(2), T0).error.code, LAPSE_FAILED_PRECONDITION);
    store_free(store);
}

Test(store_policies, a_request_lapses_when_the_rule_says_or_earlier_if_it_asks_for_that)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = open_policy(&rule);
    rule.decide_within_ms = HOURS(1);
    fixture_must(store, applying(&policy), T0);
    struct command command = fixture_request(1);
    command.terms.pending_until_ms = T0 + MINUTES(5);
    fixture_must(store, command, T0);
    cr_assert_eq(get(store, 1).pending_until_ms, T0 + MINUTES(5));
    command = fixture_request(2);
    command.terms.pending_until_ms = T0 + HOURS(5);
    fixture_must(store, command, T0);
    cr_assert_eq(get(store, 2).pending_until_ms, T0 + HOURS(1));
    rule.decide_within_ms = 0;
    fixture_must(store, applying(&policy), T0);
    command = fixture_request(3);
    command.terms.pending_until_ms = T0 + HOURS(48);
    fixture_must(store, command, T0);
    cr_assert_eq(get(store, 3).pending_until_ms, T0 + LIMIT_PENDING_MS_DEFAULT);
    store_free(store);
}

Test(store_policies, the_lower_priority_number_decides_then_the_name)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = open_policy(&rule);
    static const struct {
        const char *name;
        uint32_t priority;
    } order[] = {{"d", 5}, {"b", 5}, {"z", 4}, {"a", 9}, {"c", 4}};
    static const char *const first[] = {"d", "b", "z", "z", "c"};
    for (uint32_t i = 0; i < 5; i++) {
        policy.name = S(order[i].name);
        policy.priority = order[i].priority;
        fixture_must(store, applying(&policy), T0);
        fixture_must(store, fixture_request(i + 1), T0);
        struct grant grant = get(store, i + 1);
        cr_expect(slice_equal(grant.policy, S(first[i])), "%u: %.*s", i, (int)grant.policy.len,
                  (const char *)grant.policy.data);
    }
    fixture_must(store, removing("c"), T0);
    fixture_must(store, removing("z"), T0);
    fixture_must(store, fixture_request(10), T0);
    cr_assert(slice_equal(get(store, 10).policy, S("b")));
    store_free(store);
}

Test(store_policies, with_the_last_policy_removed_the_built_in_rule_holds_again)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = open_policy(&rule);
    rule.max_duration_ms = 1;
    fixture_must(store, applying(&policy), T0);
    cr_assert_eq(fixture_apply(store, fixture_request(1), T0).error.code, LAPSE_FAILED_PRECONDITION);
    fixture_must(store, removing("p"), T0);
    fixture_must(store, fixture_request(1), T0);
    store_free(store);
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

static struct store *limited_store(struct policy_limits limits, bool automatic)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = open_policy(&rule);
    rule.limits = limits;
    rule.automatic = automatic;
    fixture_must(store, applying(&policy), T0);
    return store;
}

static struct store_outcome request_for(struct store *store, uint64_t number, const char *subject, const char *resource,
                                        int64_t time_ms)
{
    struct command command = fixture_request(number);
    command.terms.subject = S(subject);
    command.terms.resource = S(resource);
    return fixture_apply(store, command, time_ms);
}

static void expect_past_limit(struct store_outcome outcome, const char *says)
{
    cr_expect_eq(outcome.error.code, LAPSE_RESOURCE_EXHAUSTED, "%s", outcome.error.message);
    cr_expect_not_null(strstr(outcome.error.message, says), "%s", outcome.error.message);
}

static void expect_taken(struct store_outcome outcome)
{
    cr_expect_eq(outcome.error.code, LAPSE_OK, "%s", outcome.error.message);
}

Test(store_policies, concurrency_counts_live_grants_and_open_requests_of_one_subject)
{
    struct store *store = limited_store((struct policy_limits){.concurrent = 2}, false);
    expect_taken(request_for(store, 1, "user:dev1", "a", T0));
    expect_taken(request_for(store, 2, "user:dev1", "b", T0));
    expect_past_limit(request_for(store, 3, "user:dev1", "c", T0), "at most 2 grants and open requests");
    expect_taken(request_for(store, 4, "user:dev2", "c", T0));
    fixture_must(store, fixture_about(COMMAND_APPROVE, 1, "user:app1"), T0);
    expect_past_limit(request_for(store, 3, "user:dev1", "c", T0), "at most 2");
    fixture_must(store, fixture_about(COMMAND_DENY, 2, "user:app1"), T0);
    expect_taken(request_for(store, 3, "user:dev1", "c", T0));
    expect_past_limit(request_for(store, 5, "user:dev1", "c", T0 + 59999), "at most 2");
    /* The grant is past its deadline, whether ADVANCE has come or not. */
    expect_taken(request_for(store, 5, "user:dev1", "c", T0 + 60000));
    store_free(store);
}

Test(store_policies, a_subject_is_counted_under_its_other_name)
{
    struct store *store = limited_store((struct policy_limits){.concurrent = 1}, false);
    expect_taken(request_for(store, 1, "user:dev1", "a", T0));
    expect_past_limit(request_for(store, 2, "spiffe://example.org/user/dev1", "a", T0), "at most 1");
    expect_taken(request_for(store, 3, "spiffe://example.org/user/dev2", "a", T0));
    /* From "user:" to the SPIFFE ID of the requester's domain. */
    struct command roles = {.type = COMMAND_SET_ROLES, .principal = S("user:ops"), .roles = ROLE_REQUESTER};
    roles.member = S("spiffe://example.org/user/req1");
    fixture_must(store, roles, T0);
    struct command command = fixture_request(4);
    command.principal = S("spiffe://example.org/user/req1");
    command.terms.subject = S("user:dev2");
    expect_past_limit(fixture_apply(store, command, T0), "at most 1");
    command.terms.subject = S("user:dev3");
    expect_taken(fixture_apply(store, command, T0));
    store_free(store);
}

Test(store_policies, requests_are_counted_in_a_window_whatever_became_of_them)
{
    struct store *store = limited_store((struct policy_limits){.requests = 2, .window_ms = MINUTES(10)}, false);
    expect_taken(request_for(store, 1, "user:dev1", "a", T0));
    fixture_must(store, fixture_about(COMMAND_CANCEL, 1, "user:req1"), T0);
    expect_taken(request_for(store, 2, "user:dev1", "a", T0 + MINUTES(5)));
    expect_past_limit(request_for(store, 3, "user:dev1", "a", T0 + MINUTES(10) - 1), "at most 2 requests in 10m");
    expect_taken(request_for(store, 3, "user:dev1", "a", T0 + MINUTES(10)));
    store_free(store);
}

Test(store_policies, different_resources_are_counted_in_a_window)
{
    struct store *store = limited_store((struct policy_limits){.resources = 2, .window_ms = MINUTES(10)}, false);
    expect_taken(request_for(store, 1, "user:dev1", "a", T0));
    expect_taken(request_for(store, 2, "user:dev1", "b", T0 + 1));
    expect_taken(request_for(store, 3, "user:dev1", "a", T0 + 2));
    expect_past_limit(request_for(store, 4, "user:dev1", "c", T0 + 3), "at most 2 different resources");
    expect_taken(request_for(store, 4, "user:dev1", "b", T0 + 4));
    /* b is left, "a" was last asked for at 2. */
    expect_past_limit(request_for(store, 5, "user:dev1", "c", T0 + MINUTES(10) + 1), "at most 2 different");
    expect_taken(request_for(store, 5, "user:dev1", "c", T0 + MINUTES(10) + 2));
    store_free(store);
}

Test(store_policies, after_the_end_of_a_grant_its_resource_cools_down)
{
    struct store *store = limited_store((struct policy_limits){.cool_down_ms = MINUTES(2)}, false);
    expect_taken(request_for(store, 1, "user:dev1", "db/prod/orders", T0));
    fixture_must(store, fixture_about(COMMAND_CANCEL, 1, "user:req1"), T0);
    expect_past_limit(request_for(store, 2, "user:dev1", "db/prod/orders", T0), "wait for 2m from its end");
    expect_past_limit(request_for(store, 2, "user:dev1", "db/prod/*", T0 + MINUTES(2) - 1), "wait for 2m");
    expect_taken(request_for(store, 2, "user:dev1", "db/test/*", T0));
    expect_taken(request_for(store, 3, "user:dev2", "db/prod/orders", T0));
    expect_taken(request_for(store, 4, "user:dev1", "db/prod/orders", T0 + MINUTES(2)));
    store_free(store);
}

Test(store_policies, the_latest_end_counts_in_whatever_order_grants_ended)
{
    struct store *store = limited_store((struct policy_limits){.cool_down_ms = MINUTES(2)}, false);
    expect_taken(request_for(store, 1, "user:dev1", "a", T0));
    expect_taken(request_for(store, 2, "user:dev1", "a", T0));
    fixture_must(store, fixture_about(COMMAND_CANCEL, 2, "user:req1"), T0);
    fixture_must(store, fixture_about(COMMAND_CANCEL, 1, "user:req1"), T0 + MINUTES(1));
    expect_past_limit(request_for(store, 3, "user:dev1", "a", T0 + MINUTES(3) - 1), "wait for 2m");
    expect_taken(request_for(store, 3, "user:dev1", "a", T0 + MINUTES(3)));
    expect_taken(request_for(store, 4, "user:dev1", "a", T0 + MINUTES(3)));
    fixture_must(store, fixture_about(COMMAND_CANCEL, 3, "user:req1"), T0 + MINUTES(3));
    fixture_must(store, fixture_about(COMMAND_CANCEL, 4, "user:req1"), T0 + MINUTES(4));
    expect_past_limit(request_for(store, 5, "user:dev1", "a", T0 + MINUTES(6) - 1), "wait for 2m");
    expect_taken(request_for(store, 5, "user:dev1", "a", T0 + MINUTES(6)));
    store_free(store);
}

Test(store_policies, a_limit_counts_what_stands_under_its_own_policy)
{
    struct store *store = limited_store((struct policy_limits){.concurrent = 1}, false);
    struct policy_rule rule;
    struct policy policy = open_policy(&rule);
    policy.name = S("other");
    policy.priority = 1;
    fixture_must(store, applying(&policy), T0);
    struct command command = fixture_request(1);
    command.terms.policy = S("other");
    fixture_must(store, command, T0);
    expect_taken(request_for(store, 2, "user:dev1", "a", T0));
    expect_past_limit(request_for(store, 3, "user:dev1", "a", T0), "policy p, rule r: at most 1");
    command = fixture_request(4);
    command.terms.policy = S("other");
    fixture_must(store, command, T0);
    store_free(store);
}

Test(store_policies, an_automatic_rule_that_holds_waits_for_an_approver_past_its_limit)
{
    struct store *store =
        limited_store((struct policy_limits){.requests = 1, .window_ms = MINUTES(10), .hold = true}, true);
    expect_taken(request_for(store, 1, "user:dev1", "a", T0));
    struct grant grant = get(store, 1);
    cr_assert(grant.automatic && !grant.held);
    cr_assert_eq(grant.state, GRANT_ACTIVE, "%s", grant_state_name(grant.state));
    expect_taken(request_for(store, 2, "user:dev1", "a", T0));
    grant = get(store, 2);
    cr_assert(!grant.automatic && grant.held);
    cr_assert_eq(grant.state, GRANT_PENDING, "%s", grant_state_name(grant.state));
    fixture_must(store, fixture_about(COMMAND_APPROVE, 2, "user:app1"), T0);
    cr_assert_eq(fixture_state(store, 2), GRANT_ACTIVE);
    store_free(store);
}

Test(store_policies, a_subject_with_too_many_grants_in_memory_is_past_every_limit)
{
    struct store *store = limited_store((struct policy_limits){.concurrent = UINT32_MAX}, false);
    for (uint32_t i = 1; i <= LIMIT_POLICY_LOOKS + 1; i++)
        expect_taken(request_for(store, i, "user:dev1", "a", T0));
    expect_past_limit(request_for(store, LIMIT_POLICY_LOOKS + 2, "user:dev1", "a", T0), "at most");
    expect_taken(request_for(store, LIMIT_POLICY_LOOKS + 2, "user:dev2", "a", T0));
    store_free(store);
}

/* --- the end of what is no longer allowed ------------------------------------------------------------------------- */

Test(store_policies, a_version_may_end_what_it_does_not_allow_any_more)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = open_policy(&rule);
    struct heard heard = {0};
    struct command unruled = fixture_request(1);
    unruled.terms.policy = S("p"); /* before there was such a policy */
    fixture_must(store, unruled, T0);
    fixture_must(store, applying(&policy), T0);
    expect_taken(request_for(store, 2, "user:dev1", "db/prod/x", T0));
    expect_taken(request_for(store, 3, "user:dev1", "db/test/x", T0));
    expect_taken(request_for(store, 4, "user:dev2", "db/prod/y", T0));
    fixture_must(store, fixture_about(COMMAND_APPROVE, 2, "user:app1"), T0);
    fixture_must(store, fixture_about(COMMAND_APPROVE, 3, "user:app1"), T0);
    rule.resources = (struct policy_patterns)LIST(S("db/test/*"));
    policy.end_disallowed = true;
    struct store_outcome outcome = apply_heard(store, applying(&policy), T0 + 1, &heard);
    cr_assert_eq(outcome.error.code, LAPSE_OK, "%s", outcome.error.message);
    static const enum store_event_type told[] = {STORE_EVENT_POLICY_APPLIED, STORE_EVENT_SWEEP_BEGAN,
                                                 STORE_EVENT_REVOKED, STORE_EVENT_CANCELLED, STORE_EVENT_SWEEP_ENDED};
    for (uint32_t i = 0; i < 5; i++)
        cr_expect_eq(heard.types[i], told[i], "%u: %s", i, store_event_name(heard.types[i]));
    cr_assert_eq(fixture_state(store, 1), GRANT_PENDING);
    cr_assert_eq(fixture_state(store, 2), GRANT_REVOKED);
    cr_assert_eq(fixture_state(store, 3), GRANT_ACTIVE);
    cr_assert_eq(fixture_state(store, 4), GRANT_CANCELLED);
    struct grant ended = get(store, 2);
    cr_assert(slice_equal(ended.ended_by, S("user:ops")));
    cr_assert(slice_equal(ended.reason, S("a newer version of its policy doesn't allow it")));
    buf_free(&heard.policy);
    store_free(store);
}

Test(store_policies, a_policy_applied_anew_ends_what_its_removed_version_had_allowed)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = open_policy(&rule);
    fixture_must(store, applying(&policy), T0);
    expect_taken(request_for(store, 1, "user:dev1", "db/prod/x", T0));
    fixture_must(store, removing("p"), T0);
    cr_assert_eq(fixture_state(store, 1), GRANT_PENDING);
    rule.max_duration_ms = 1;
    policy.end_disallowed = true;
    fixture_must(store, applying(&policy), T0);
    cr_assert_eq(fixture_state(store, 1), GRANT_CANCELLED);
    store_free(store);
}

/* So many grants that they end in slices. Odd ones are for db/prod. */
#define MANY 6000u

static struct store *store_in_the_middle(struct policy *policy, struct policy_rule *rule)
{
    static struct slice allowed = {(const uint8_t *)"db/test/*", 9};
    struct store *store = fixture_store(NULL);
    *policy = open_policy(rule);
    fixture_must(store, applying(policy), T0);
    for (uint32_t i = 1; i <= MANY; i++)
        expect_taken(request_for(store, i, "user:dev1", i % 2 == 0 ? "db/test/x" : "db/prod/x", T0));
    rule->resources = (struct policy_patterns){&allowed, 1};
    policy->end_disallowed = true;
    fixture_must(store, applying(policy), T0 + 1);
    return store;
}

static uint32_t advance_to_the_end(struct store *store)
{
    uint32_t slices = 0;
    for (; store_next_due_ms(store) <= T0 + 2; slices++)
        fixture_must(store, fixture_advance(LIMIT_ADVANCE_BATCH), T0 + 2);
    return slices;
}

Test(store_policies, many_grants_end_in_slices_and_meanwhile_the_policy_stays)
{
    struct policy_rule rule;
    struct policy policy;
    struct store *store = store_in_the_middle(&policy, &rule);
    /* What is taken counts as ended before its event. */
    cr_assert_neq(fixture_apply(store, fixture_about(COMMAND_APPROVE, MANY - 1, "user:app1"), T0 + 1).error.code,
                  LAPSE_OK);
    fixture_must(store, fixture_about(COMMAND_APPROVE, MANY, "user:app1"), T0 + 1);
    rule.name = S("another");
    struct store_outcome outcome = fixture_apply(store, applying(&policy), T0 + 1);
    cr_assert_eq(outcome.error.code, LAPSE_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(outcome.error.message, "are still being ended"), "%s", outcome.error.message);
    cr_assert_eq(fixture_apply(store, removing("p"), T0 + 1).error.code, LAPSE_FAILED_PRECONDITION);
    cr_assert_gt(advance_to_the_end(store), 0);
    for (uint32_t i = 1; i < MANY; i++)
        cr_assert_eq(fixture_state(store, i), i % 2 == 0 ? GRANT_PENDING : GRANT_CANCELLED, "%u", i);
    cr_assert_eq(fixture_state(store, MANY), GRANT_ACTIVE);
    fixture_must(store, applying(&policy), T0 + 3);
    store_free(store);
}

Test(store_policies, a_restored_store_ends_the_same_grants)
{
    struct policy_rule rule;
    struct policy policy;
    struct store *store = store_in_the_middle(&policy, &rule);
    for (int slices = 0; slices < 3; slices++) {
        struct buf snapshot = fixture_snapshot(store, 4096);
        struct lapse_error error = {0};
        struct store *restored = fixture_restore(buf_slice(&snapshot), 1000, NULL, &error);
        cr_assert_not_null(restored, "%s", error.message);
        cr_assert(fixture_same_digest(store, restored));
        fixture_must(store, fixture_advance(LIMIT_ADVANCE_BATCH), T0 + 2);
        fixture_must(restored, fixture_advance(LIMIT_ADVANCE_BATCH), T0 + 2);
        cr_assert(fixture_same_digest(store, restored));
        (void)advance_to_the_end(restored);
        cr_assert_eq(fixture_state(restored, 1), GRANT_CANCELLED);
        cr_assert_eq(fixture_state(restored, MANY - 1), GRANT_CANCELLED);
        cr_assert_eq(fixture_state(restored, MANY - 2), GRANT_PENDING);
        store_free(restored);
        buf_free(&snapshot);
    }
    (void)advance_to_the_end(store);
    store_free(store);
}

/* --- the same everywhere ------------------------------------------------------------------------------------------ */

static struct command random_request(struct fixture_random *random, uint64_t number)
{
    static const char *const subjects[] = {"user:dev1", "user:dev2", "spiffe://example.org/user/dev1"};
    static const char *const resources[] = {"db/prod/a", "db/prod/b", "db/test/a", "db/*", "host/a"};
    static const char *const tickets[] = {"", "OPS-1", "nonsense"};
    struct command command = fixture_request(number);
    command.terms.subject = S(subjects[fixture_pick(random, 3)]);
    command.terms.resource = S(resources[fixture_pick(random, 5)]);
    command.terms.ticket = S(tickets[fixture_pick(random, 3)]);
    command.terms.duration_ms = MINUTES(1 + fixture_pick(random, 90));
    command.terms.break_glass = fixture_pick(random, 8) == 0;
    return command;
}

static void apply_mixed_policies(struct store *store)
{
    struct policy_rule rules[4];
    struct policy policy = open_policy(&rules[0]);
    rules[1] = rules[2] = rules[3] = rules[0];
    rules[0].name = S("glass");
    rules[0].break_glass = rules[0].automatic = true;
    rules[0].max_duration_ms = MINUTES(10);
    rules[1].name = S("no-hosts");
    rules[1].deny = true;
    rules[1].resources = (struct policy_patterns)LIST(S("host/*"));
    rules[2].name = S("ticket");
    rules[2].ticket = (struct policy_text){.required = true, .pattern = S("OPS-[0-9]+")};
    rules[2].automatic = true;
    rules[2].limits = (struct policy_limits){
        .concurrent = 9, .requests = 3, .resources = 2, .window_ms = MINUTES(5), .cool_down_ms = MINUTES(1), .hold = 1};
    rules[3].name = S("short");
    rules[3].max_duration_ms = MINUTES(30);
    rules[3].limits.concurrent = 4;
    policy.n_rules = 4;
    fixture_must(store, applying(&policy), T0);
    policy.name = S("q");
    policy.priority = 1;
    rules[0] = rules[3];
    rules[0].max_duration_ms = HOURS(1);
    rules[0].limits = (struct policy_limits){.requests = 5, .window_ms = MINUTES(20)};
    policy.n_rules = 1;
    fixture_must(store, applying(&policy), T0);
}

Test(store_policies, the_same_requests_are_decided_alike_by_a_restored_store)
{
    struct store *store = fixture_store(NULL), *restored = NULL;
    struct fixture_random random = {4};
    uint32_t codes[20] = {0};
    apply_mixed_policies(store);
    for (uint64_t i = 1; i <= 2000; i++) {
        int64_t now_ms = T0 + (int64_t)i * 20 * SECOND;
        if (i % 100 == 1) {
            struct buf snapshot = fixture_snapshot(store, 4096);
            struct lapse_error error = {0};
            store_free(restored);
            restored = fixture_restore(buf_slice(&snapshot), 4096, NULL, &error);
            cr_assert_not_null(restored, "%s", error.message);
            buf_free(&snapshot);
        }
        struct command command = random_request(&random, i);
        struct store_outcome a = fixture_apply(store, command, now_ms), b = fixture_apply(restored, command, now_ms);
        cr_assert_eq(a.error.code, b.error.code);
        cr_assert_str_eq(a.error.message, b.error.message);
        codes[a.error.code]++;
        if (i % 7 == 0) {
            fixture_must(store, fixture_advance(100), now_ms);
            fixture_must(restored, fixture_advance(100), now_ms);
        }
        cr_assert(fixture_same_digest(store, restored), "%lu", (unsigned long)i);
    }
    /* Each kind of answer came up. */
    cr_assert(codes[LAPSE_OK] > 100 && codes[LAPSE_PERMISSION_DENIED] > 100 && codes[LAPSE_FAILED_PRECONDITION] > 20 &&
                  codes[LAPSE_RESOURCE_EXHAUSTED] > 20,
              "%u %u %u %u", codes[LAPSE_OK], codes[LAPSE_PERMISSION_DENIED], codes[LAPSE_FAILED_PRECONDITION],
              codes[LAPSE_RESOURCE_EXHAUSTED]);
    store_free(restored);
    store_free(store);
}
