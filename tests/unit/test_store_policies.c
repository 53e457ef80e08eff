/* Policies in the store: applying and removing them, what a request becomes under them, what their limits count, and
 * what ends when they change. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "store/governance.h"
#include "tests/unit/store_policy_fixture.h"

#define SECOND 1000LL

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

/* --- applying and removing ---------------------------------------------------------------------------------------- */

Test(store_policies, without_any_policy_one_approver_decides)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, fixture_request(1), T0);
    struct grant grant = fixture_get(store, 1);
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
    struct policy policy = fixture_open_policy(&rule), *told;
    struct heard heard = {0};
    struct store_outcome outcome = fixture_apply_heard(store, fixture_applying(&policy), T0 + 5, &heard);
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
    struct policy policy = fixture_open_policy(&rule);
    uint64_t version = fixture_must(store, fixture_applying(&policy), T0).revision;
    struct store_outcome outcome = fixture_must(store, fixture_applying(&policy), T0 + 1);
    cr_assert(outcome.repeated && outcome.n_events == 0 && outcome.revision == version);
    struct command keyed = fixture_applying(&policy);
    keyed.key = fixture_key(1);
    cr_assert_eq(fixture_must(store, keyed, T0 + 2).revision, version);
    cr_assert_eq(store_revision(store), version);
    policy.description = S("with a comment");
    outcome = fixture_must(store, fixture_applying(&policy), T0 + 3);
    cr_assert(!outcome.repeated && outcome.revision == version + 1 && version_of(store, "p") == version + 1);
    store_free(store);
}

Test(store_policies, an_expected_version_guards_against_overwriting)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = fixture_open_policy(&rule);
    struct command command = fixture_applying(&policy);
    command.revision = 7;
    struct store_outcome outcome = fixture_apply(store, command, T0);
    cr_assert_eq(outcome.error.code, LAPSE_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(outcome.error.message, "has no version 7"), "%s", outcome.error.message);
    uint64_t version = fixture_must(store, fixture_applying(&policy), T0).revision;
    policy.priority = 3;
    command = fixture_applying(&policy);
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
    struct policy policy = fixture_open_policy(&rule), *told;
    struct heard heard = {0};
    uint64_t first = fixture_must(store, fixture_applying(&policy), T0).revision;
    struct store_outcome outcome = fixture_apply_heard(store, fixture_removing("p"), T0, &heard);
    cr_assert_eq(outcome.error.code, LAPSE_OK, "%s", outcome.error.message);
    cr_assert(heard.n == 1 && heard.types[0] == STORE_EVENT_POLICY_REMOVED);
    cr_assert(lapse_is_ok(policy_decode(buf_slice(&heard.policy), &told, NULL)));
    cr_assert(slice_equal(told->removed, S("not needed")) && told->version == first);
    cr_assert_null(store_object(store, OBJECT_POLICY, S("p")));
    cr_assert_gt(fixture_must(store, fixture_applying(&policy), T0).revision, first);
    policy_free(told);
    buf_free(&heard.policy);
    store_free(store);
}

Test(store_policies, only_operators_apply_and_remove)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = fixture_open_policy(&rule);
    struct command command = fixture_applying(&policy), removal = fixture_removing("p");
    command.principal = removal.principal = S("user:req1");
    cr_assert_eq(fixture_apply(store, command, T0).error.code, LAPSE_PERMISSION_DENIED);
    fixture_must(store, fixture_applying(&policy), T0);
    cr_assert_eq(fixture_apply(store, removal, T0).error.code, LAPSE_PERMISSION_DENIED);
    cr_assert_eq(fixture_apply(store, fixture_removing("q"), T0).error.code, LAPSE_NOT_FOUND);
    cr_assert_eq(fixture_apply(store, fixture_removing("a b"), T0).error.code, LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(fixture_apply(store, fixture_removing(""), T0).error.code, LAPSE_INVALID_ARGUMENT);
    store_free(store);
}

Test(store_policies, a_policy_comes_without_what_is_the_stores)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    for (int i = 0; i < 5; i++) {
        struct policy policy = fixture_open_policy(&rule);
        policy.version = i == 0;
        policy.revision = i == 1;
        policy.applied_ms = i == 2;
        policy.applied_by = i == 3 ? S("user:ops") : S("");
        policy.removed = i == 4 ? S("why") : S("");
        struct store_outcome outcome = fixture_apply(store, fixture_applying(&policy), T0);
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
    struct policy policy = fixture_open_policy(&rules[0]);
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
        fixture_must(store, fixture_applying(&policy), T0);
    }
    policy = numbered(LIMIT_POLICIES, 1);
    struct store_outcome outcome = fixture_apply(store, fixture_applying(&policy), T0);
    cr_assert_eq(outcome.error.code, LAPSE_RESOURCE_EXHAUSTED);
    cr_assert_not_null(strstr(outcome.error.message, "256 policies"), "%s", outcome.error.message);
    policy = numbered(9, LIMIT_POLICY_RULES / LIMIT_POLICIES + 1);
    outcome = fixture_apply(store, fixture_applying(&policy), T0);
    cr_assert_eq(outcome.error.code, LAPSE_RESOURCE_EXHAUSTED);
    cr_assert_not_null(strstr(outcome.error.message, "4097 rules"), "%s", outcome.error.message);
    /* A newer version takes the place of its own rules. */
    policy = numbered(9, 1);
    fixture_must(store, fixture_applying(&policy), T0);
    policy = numbered(10, LIMIT_POLICY_RULES / LIMIT_POLICIES + 15);
    fixture_must(store, fixture_applying(&policy), T0);
    store_free(store);
}

/* As many bytes as may be kept, and the longest reason on top in the event of the removal. */
Test(store_policies, the_largest_policy_comes_goes_and_survives_a_restore)
{
    static char text[32][LIMIT_RULE_PATTERNS][LIMIT_RESOURCE + 1], names[32][8], description[LIMIT_REASON + 1];
    static struct slice patterns[32][LIMIT_RULE_PATTERNS];
    struct store *store = fixture_store(NULL);
    struct policy_rule rules[32];
    struct policy policy = fixture_open_policy(&rules[0]);
    struct heard heard = {0};
    struct store_outcome outcome = {0};
    memset(description, 'd', LIMIT_REASON);
    for (uint32_t r = 0; r < 2; r++) {
        rules[r] = rules[0];
        (void)snprintf(names[r], sizeof names[r], "r%u", r);
        rules[r].name = S(names[r]);
        for (uint32_t i = 0; i < LIMIT_RULE_PATTERNS; i++) {
            (void)snprintf(text[r][i], sizeof text[r][i], "db/%02u-%02u-", r, i);
            memset(text[r][i] + 9, 'x', LIMIT_RESOURCE - 9);
            patterns[r][i] = S(text[r][i]);
        }
        rules[r].resources = (struct policy_patterns){patterns[r], LIMIT_RULE_PATTERNS};
    }
    policy.n_rules = 2;
    policy.description = policy.source = rules[0].description = S(description);
    /* It grows until the store's members don't fit any more. */
    for (size_t n = 200; outcome.error.code == LAPSE_OK; n++) {
        rules[1].description = slice_of(description, n);
        outcome = fixture_apply(store, fixture_applying(&policy), T0);
    }
    cr_assert_eq(outcome.error.code, LAPSE_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(outcome.error.message, "more than 18432 bytes"), "%s", outcome.error.message);
    size_t len = store_object(store, OBJECT_POLICY, S("p"))->value.len;
    cr_assert_eq(len, LIMIT_OBJECT_BYTES);
    struct buf snapshot = fixture_snapshot(store, 4096);
    struct lapse_error error = {0};
    struct store *restored = fixture_restore(buf_slice(&snapshot), 4096, NULL, &error);
    cr_assert_not_null(restored, "%s", error.message);
    cr_assert(fixture_same_digest(store, restored));
    struct command removal = fixture_removing("p");
    removal.text = S(description);
    outcome = fixture_apply_heard(restored, removal, T0, &heard);
    cr_assert_eq(outcome.error.code, LAPSE_OK, "%s", outcome.error.message);
    cr_assert_eq(heard.policy.len, len + LIMIT_REASON + 3);
    buf_free(&heard.policy);
    buf_free(&snapshot);
    store_free(restored);
    store_free(store);
}

Test(store_policies, an_object_that_was_never_applied_is_refused_by_a_restore)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = fixture_open_policy(&rule);
    fixture_must(store, fixture_applying(&policy), T0);
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
    object.value = fixture_applying(&policy).value;
    cr_assert_str_eq(policy_module.check(store, &object), "a policy that was never applied");
    policy.version = policy.revision = store_revision(store) + 1;
    policy.applied_by = S("user:ops");
    policy.applied_ms = T0;
    object.value = fixture_applying(&policy).value;
    cr_assert_str_eq(policy_module.check(store, &object), "a policy that was never applied");
    policy.version = policy.revision = 1;
    object.value = fixture_applying(&policy).value;
    cr_assert_null(policy_module.check(store, &object));
    policy.applied_ms = T0 + 1;
    object.value = fixture_applying(&policy).value;
    cr_assert_not_null(policy_module.check(store, &object));
    store_free(store);
}

/* --- what a request becomes --------------------------------------------------------------------------------------- */

Test(store_policies, a_grant_records_what_its_rule_made_of_it)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = fixture_open_policy(&rule);
    rule.self_approval = true;
    rule.steps[0] = (struct policy_step){2, LIST(S("user:app*"), S("user:lead1"))};
    rule.steps[1] = (struct policy_step){0, {NULL, 0}};
    rule.n_steps = 2;
    rule.decide_within_ms = HOURS(2);
    rule.delegation_depth = 3;
    rule.token = TOKEN_RULE_BOUND;
    uint64_t version = fixture_must(store, fixture_applying(&policy), T0).revision;
    fixture_must(store, fixture_request(1), T0 + 10);
    struct grant grant = fixture_get(store, 1);
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
    struct policy policy = fixture_open_policy(&rule);
    uint64_t version = fixture_must(store, fixture_applying(&policy), T0).revision;
    fixture_must(store, fixture_request(1), T0);
    rule.max_duration_ms = 1;
    rule.name = S("stricter");
    fixture_must(store, fixture_applying(&policy), T0);
    struct grant grant = fixture_get(store, 1);
    cr_assert(grant.state == GRANT_PENDING && grant.policy_version == version && slice_equal(grant.rule, S("r")));
    cr_assert_eq(fixture_apply(store, fixture_request(2), T0).error.code, LAPSE_FAILED_PRECONDITION);
    store_free(store);
}

Test(store_policies, a_request_lapses_when_the_rule_says_or_earlier_if_it_asks_for_that)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = fixture_open_policy(&rule);
    rule.decide_within_ms = HOURS(1);
    fixture_must(store, fixture_applying(&policy), T0);
    struct command command = fixture_request(1);
    command.terms.pending_until_ms = T0 + MINUTES(5);
    fixture_must(store, command, T0);
    cr_assert_eq(fixture_get(store, 1).pending_until_ms, T0 + MINUTES(5));
    command = fixture_request(2);
    command.terms.pending_until_ms = T0 + HOURS(5);
    fixture_must(store, command, T0);
    cr_assert_eq(fixture_get(store, 2).pending_until_ms, T0 + HOURS(1));
    rule.decide_within_ms = 0;
    fixture_must(store, fixture_applying(&policy), T0);
    command = fixture_request(3);
    command.terms.pending_until_ms = T0 + HOURS(48);
    fixture_must(store, command, T0);
    cr_assert_eq(fixture_get(store, 3).pending_until_ms, T0 + LIMIT_PENDING_MS_DEFAULT);
    store_free(store);
}

Test(store_policies, the_lower_priority_number_decides_then_the_name)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = fixture_open_policy(&rule);
    static const struct {
        const char *name;
        uint32_t priority;
    } order[] = {{"d", 5}, {"b", 5}, {"z", 4}, {"a", 9}, {"c", 4}};
    static const char *const first[] = {"d", "b", "z", "z", "c"};
    for (uint32_t i = 0; i < 5; i++) {
        policy.name = S(order[i].name);
        policy.priority = order[i].priority;
        fixture_must(store, fixture_applying(&policy), T0);
        fixture_must(store, fixture_request(i + 1), T0);
        struct grant grant = fixture_get(store, i + 1);
        cr_expect(slice_equal(grant.policy, S(first[i])), "%u: %.*s", i, (int)grant.policy.len,
                  (const char *)grant.policy.data);
    }
    fixture_must(store, fixture_removing("c"), T0);
    fixture_must(store, fixture_removing("z"), T0);
    fixture_must(store, fixture_request(10), T0);
    cr_assert(slice_equal(fixture_get(store, 10).policy, S("b")));
    store_free(store);
}

Test(store_policies, no_grant_bears_the_name_of_a_policy_that_did_not_decide_it)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = fixture_open_policy(&rule);
    struct command named = fixture_request(1);
    named.terms.policy = S("p");
    cr_assert_eq(fixture_apply(store, named, T0).error.code, LAPSE_PERMISSION_DENIED, "none was ever applied");
    fixture_must(store, fixture_applying(&policy), T0);
    fixture_must(store, fixture_removing("p"), T0);
    cr_assert_eq(fixture_apply(store, named, T0).error.code, LAPSE_PERMISSION_DENIED, "it was removed");
    named.terms.policy = (struct slice){0};
    fixture_must(store, named, T0);
    cr_assert_eq(fixture_get(store, 1).policy.len, 0);
    store_free(store);
}

Test(store_policies, with_the_last_policy_removed_the_built_in_rule_holds_again)
{
    struct store *store = fixture_store(NULL);
    struct policy_rule rule;
    struct policy policy = fixture_open_policy(&rule);
    rule.max_duration_ms = 1;
    fixture_must(store, fixture_applying(&policy), T0);
    cr_assert_eq(fixture_apply(store, fixture_request(1), T0).error.code, LAPSE_FAILED_PRECONDITION);
    fixture_must(store, fixture_removing("p"), T0);
    fixture_must(store, fixture_request(1), T0);
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
    struct policy policy = fixture_open_policy(&rules[0]);
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
    fixture_must(store, fixture_applying(&policy), T0);
    policy.name = S("q");
    policy.priority = 1;
    rules[0] = rules[3];
    rules[0].max_duration_ms = HOURS(1);
    rules[0].limits = (struct policy_limits){.requests = 5, .window_ms = MINUTES(20)};
    policy.n_rules = 1;
    fixture_must(store, fixture_applying(&policy), T0);
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
