/* What the limits of a policy count, and what ends when it changes. */
#include <criterion/criterion.h>

#include "tests/unit/store_policy_fixture.h"

/* --- limits ------------------------------------------------------------------------------------------------------- */

static struct store *limited_store(struct policy_limits limits, bool automatic)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = fixture_open_policy(&rule);
    rule.limits = limits;
    rule.automatic = automatic;
    fixture_must(store, fixture_applying(&policy), T0);
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

Test(store_policy_limits, concurrency_counts_live_grants_and_open_requests_of_one_subject)
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

Test(store_policy_limits, a_subject_is_counted_under_its_other_name)
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

Test(store_policy_limits, requests_are_counted_in_a_window_whatever_became_of_them)
{
    struct store *store = limited_store((struct policy_limits){.requests = 2, .window_ms = MINUTES(10)}, false);
    expect_taken(request_for(store, 1, "user:dev1", "a", T0));
    fixture_must(store, fixture_about(COMMAND_CANCEL, 1, "user:req1"), T0);
    expect_taken(request_for(store, 2, "user:dev1", "a", T0 + MINUTES(5)));
    expect_past_limit(request_for(store, 3, "user:dev1", "a", T0 + MINUTES(10) - 1), "at most 2 requests in 10m");
    expect_taken(request_for(store, 3, "user:dev1", "a", T0 + MINUTES(10)));
    store_free(store);
}

Test(store_policy_limits, different_resources_are_counted_in_a_window)
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

Test(store_policy_limits, after_the_end_of_a_grant_its_resource_cools_down)
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

Test(store_policy_limits, the_latest_end_counts_in_whatever_order_grants_ended)
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

Test(store_policy_limits, a_limit_counts_what_stands_under_its_own_policy)
{
    struct store *store = limited_store((struct policy_limits){.concurrent = 2}, false);
    struct policy_rule rule;
    struct policy policy = fixture_open_policy(&rule);
    policy.name = S("other");
    policy.priority = 1;
    fixture_must(store, fixture_applying(&policy), T0);
    struct command command = fixture_request(1);
    command.terms.policy = S("other");
    fixture_must(store, command, T0);
    expect_taken(request_for(store, 2, "user:dev1", "a", T0));
    expect_taken(request_for(store, 3, "user:dev1", "a", T0));
    expect_past_limit(request_for(store, 4, "user:dev1", "a", T0), "policy p, rule r: at most 2");
    command = fixture_request(4);
    command.terms.policy = S("other");
    fixture_must(store, command, T0);
    store_free(store);
}

Test(store_policy_limits, an_automatic_rule_that_holds_waits_for_an_approver_past_its_limit)
{
    struct store *store =
        limited_store((struct policy_limits){.requests = 1, .window_ms = MINUTES(10), .hold = true}, true);
    expect_taken(request_for(store, 1, "user:dev1", "a", T0));
    struct grant grant = fixture_get(store, 1);
    cr_assert(grant.automatic && !grant.held);
    cr_assert_eq(grant.state, GRANT_ACTIVE, "%s", grant_state_name(grant.state));
    expect_taken(request_for(store, 2, "user:dev1", "a", T0));
    grant = fixture_get(store, 2);
    cr_assert(!grant.automatic && grant.held);
    cr_assert_eq(grant.state, GRANT_PENDING, "%s", grant_state_name(grant.state));
    fixture_must(store, fixture_about(COMMAND_APPROVE, 2, "user:app1"), T0);
    cr_assert_eq(fixture_state(store, 2), GRANT_ACTIVE);
    store_free(store);
}

Test(store_policy_limits, a_subject_with_too_many_grants_in_memory_is_past_every_limit)
{
    struct store *store = limited_store((struct policy_limits){.concurrent = UINT32_MAX}, false);
    for (uint32_t i = 1; i <= LIMIT_POLICY_LOOKS + 1; i++)
        expect_taken(request_for(store, i, "user:dev1", "a", T0));
    expect_past_limit(request_for(store, LIMIT_POLICY_LOOKS + 2, "user:dev1", "a", T0), "at most");
    expect_taken(request_for(store, LIMIT_POLICY_LOOKS + 2, "user:dev2", "a", T0));
    store_free(store);
}

/* --- the end of what is no longer allowed ------------------------------------------------------------------------- */

Test(store_policy_limits, a_version_may_end_what_it_does_not_allow_any_more)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = fixture_open_policy(&rule);
    struct heard heard = {0};
    fixture_must(store, fixture_request(1), T0); /* before there was a policy */
    fixture_must(store, fixture_applying(&policy), T0);
    expect_taken(request_for(store, 2, "user:dev1", "db/prod/x", T0));
    expect_taken(request_for(store, 3, "user:dev1", "db/test/x", T0));
    expect_taken(request_for(store, 4, "user:dev2", "db/prod/y", T0));
    fixture_must(store, fixture_about(COMMAND_APPROVE, 2, "user:app1"), T0);
    fixture_must(store, fixture_about(COMMAND_APPROVE, 3, "user:app1"), T0);
    rule.resources = (struct policy_patterns)LIST(S("db/test/*"));
    policy.end_disallowed = true;
    struct store_outcome outcome = fixture_apply_heard(store, fixture_applying(&policy), T0 + 1, &heard);
    cr_assert_eq(outcome.error.code, LAPSE_OK, "%s", outcome.error.message);
    static const enum store_event_type told[] = {STORE_EVENT_POLICY_APPLIED, STORE_EVENT_SWEEP_BEGAN,
                                                 STORE_EVENT_REVOKED, STORE_EVENT_CANCELLED, STORE_EVENT_SWEEP_ENDED};
    for (uint32_t i = 0; i < 5; i++)
        cr_expect_eq(heard.types[i], told[i], "%u: %s", i, store_event_name(heard.types[i]));
    cr_assert_eq(fixture_state(store, 1), GRANT_PENDING);
    cr_assert_eq(fixture_state(store, 2), GRANT_REVOKED);
    cr_assert_eq(fixture_state(store, 3), GRANT_ACTIVE);
    cr_assert_eq(fixture_state(store, 4), GRANT_CANCELLED);
    struct grant ended = fixture_get(store, 2);
    cr_assert(slice_equal(ended.ended_by, S("user:ops")));
    cr_assert(slice_equal(ended.reason, S("a newer version of its policy doesn't allow it")));
    buf_free(&heard.policy);
    store_free(store);
}

Test(store_policy_limits, a_policy_applied_anew_ends_what_its_removed_version_had_allowed)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = fixture_open_policy(&rule);
    fixture_must(store, fixture_applying(&policy), T0);
    expect_taken(request_for(store, 1, "user:dev1", "db/prod/x", T0));
    fixture_must(store, fixture_removing("p"), T0);
    cr_assert_eq(fixture_state(store, 1), GRANT_PENDING);
    rule.max_duration_ms = 1;
    policy.end_disallowed = true;
    fixture_must(store, fixture_applying(&policy), T0);
    cr_assert_eq(fixture_state(store, 1), GRANT_CANCELLED);
    store_free(store);
}

/* So many grants that they end in slices. Odd ones are for db/prod. */
#define MANY 6000u

static struct store *store_in_the_middle(struct policy *policy, struct policy_rule *rule)
{
    static struct slice allowed = {(const uint8_t *)"db/test/*", 9};
    struct store *store = fixture_store(NULL);
    *policy = fixture_open_policy(rule);
    fixture_must(store, fixture_applying(policy), T0);
    for (uint32_t i = 1; i <= MANY; i++)
        expect_taken(request_for(store, i, "user:dev1", i % 2 == 0 ? "db/test/x" : "db/prod/x", T0));
    rule->resources = (struct policy_patterns){&allowed, 1};
    policy->end_disallowed = true;
    fixture_must(store, fixture_applying(policy), T0 + 1);
    return store;
}

static uint32_t advance_to_the_end(struct store *store)
{
    uint32_t slices = 0;
    for (; store_next_due_ms(store) <= T0 + 2; slices++)
        fixture_must(store, fixture_advance(LIMIT_ADVANCE_BATCH), T0 + 2);
    return slices;
}

Test(store_policy_limits, many_grants_end_in_slices_and_meanwhile_the_policy_stays)
{
    struct policy_rule rule;
    struct policy policy;
    struct store *store = store_in_the_middle(&policy, &rule);
    /* What is taken counts as ended before its event. */
    cr_assert_neq(fixture_apply(store, fixture_about(COMMAND_APPROVE, MANY - 1, "user:app1"), T0 + 1).error.code,
                  LAPSE_OK);
    fixture_must(store, fixture_about(COMMAND_APPROVE, MANY, "user:app1"), T0 + 1);
    rule.name = S("another");
    struct store_outcome outcome = fixture_apply(store, fixture_applying(&policy), T0 + 1);
    cr_assert_eq(outcome.error.code, LAPSE_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(outcome.error.message, "are still being ended"), "%s", outcome.error.message);
    cr_assert_eq(fixture_apply(store, fixture_removing("p"), T0 + 1).error.code, LAPSE_FAILED_PRECONDITION);
    cr_assert_gt(advance_to_the_end(store), 0);
    for (uint32_t i = 1; i < MANY; i++)
        cr_assert_eq(fixture_state(store, i), i % 2 == 0 ? GRANT_PENDING : GRANT_CANCELLED, "%u", i);
    cr_assert_eq(fixture_state(store, MANY), GRANT_ACTIVE);
    fixture_must(store, fixture_applying(&policy), T0 + 3);
    store_free(store);
}

Test(store_policy_limits, a_restored_store_ends_the_same_grants)
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
