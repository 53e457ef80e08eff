/* Revoking by where grants come from: each way takes what it says and leaves what another live grant still allows. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/check.h"
#include "governed_fixture.h"

static struct command revoke_by(struct store_filter filter)
{
    return (struct command){.type = COMMAND_REVOKE_MATCHING,
                            .principal = slice_str("user:ops"),
                            .text = slice_str("key leaked"),
                            .filter = filter};
}

static bool is_allowed(const struct store *store, const char *spiffe_id)
{
    struct grant grant;
    bool found;
    const struct grant_query query = {.subject = slice_str("user:dev1"),
                                      .resource = slice_str("db/prod/orders"),
                                      .action = slice_str("read"),
                                      .spiffe_id = slice_str(spiffe_id)};
    return store_check(store, &query, store_time_ms(store), &grant, &found) == GRANT_ALLOWS;
}

#define IDENTITY "spiffe://example.org/ci/deploy"

/* Number 1 has every mark that a filter can ask for; 2, which allows the same, has others; 3 is 1's parent. */
static struct store *two_that_overlap(void)
{
    struct store *store = fixture_store(NULL);
    struct command parent = fixture_request(3), marked = fixture_request(1), other = fixture_request(2);
    parent.terms.resource = slice_str("db/*");
    parent.terms.labels[0] = (struct grant_label){slice_str("team"), slice_str("blues")};
    parent.terms.n_labels = 1;
    fixture_must(store, parent, T0);
    fixture_must(store, fixture_about(COMMAND_APPROVE, 3, "user:app1"), T0);
    marked.principal = slice_str("user:req2");
    marked.terms.parent = fixture_id(3);
    marked.terms.ticket = slice_str("INC-1");
    marked.terms.binding.spiffe_id = slice_str(IDENTITY);
    marked.terms.labels[0] = (struct grant_label){slice_str("team"), slice_str("blue")};
    marked.terms.n_labels = 1;
    fixture_must(store, marked, T0);
    fixture_must(store, fixture_about(COMMAND_APPROVE, 1, "user:app2"), T0);
    other.terms.ticket = slice_str("INC-10");
    other.terms.resource = slice_str("db/prod/*");
    other.terms.labels[0] = (struct grant_label){slice_str("team"), slice_str("blu")};
    other.terms.n_labels = 1;
    fixture_must(store, other, T0);
    fixture_must(store, fixture_about(COMMAND_APPROVE, 2, "user:app1"), T0);
    return store;
}

Test(provenance, what_another_live_grant_allows_stays_allowed_whichever_way_one_is_revoked)
{
    const struct {
        const char *what;
        struct store_filter filter;
    } ways[] = {
        {"requester", {.requester = slice_str("user:req2")}},
        {"person", {.person = slice_str("spiffe://example.org/user/req2")}},
        {"approver", {.approver = slice_str("user:app2")}},
        {"ticket", {.ticket = slice_str("INC-1")}},
        {"binding", {.binding = slice_str(IDENTITY)}},
        {"label", {.label = slice_str("team=blue")}},
        {"parent", {.parent = fixture_id(3)}},
        {"resource", {.resource = slice_str("db/prod/orders")}},
        {"several",
         {.label = slice_str("team=blue"), .binding = slice_str(IDENTITY), .subject = slice_str("user:dev1")}},
    };
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        struct store *store = two_that_overlap();
        fixture_must(store, revoke_by(ways[i].filter), T0);
        cr_assert_eq(fixture_state(store, 1), GRANT_REVOKED, "%s", ways[i].what);
        cr_assert_eq(fixture_state(store, 2), GRANT_ACTIVE, "%s", ways[i].what);
        cr_assert_eq(fixture_state(store, 3), GRANT_ACTIVE, "%s", ways[i].what);
        cr_assert(is_allowed(store, IDENTITY), "%s", ways[i].what);
        store_free(store);
    }
}

Test(provenance, when_both_are_revoked_nothing_is_allowed)
{
    struct store *store = two_that_overlap();
    fixture_must(store, revoke_by((struct store_filter){.person = slice_str("user:dev1")}), T0);
    cr_assert(!is_allowed(store, IDENTITY));
    store_free(store);
}

Test(provenance, a_person_is_taken_as_subject_and_as_requester_under_all_names)
{
    struct store *store = fixture_store(NULL);
    struct command requests[] = {fixture_request(1), fixture_request(2), fixture_request(3), fixture_request(4)};
    requests[0].principal = slice_str("user:req1");
    requests[1].terms.subject = slice_str("user:req1");
    requests[1].principal = slice_str("user:req2");
    requests[2].terms.subject = slice_str("spiffe://example.org/user/req1");
    requests[2].principal = slice_str("user:req2");
    requests[3].terms.subject = slice_str("user:req11");
    requests[3].principal = slice_str("user:req2");
    for (size_t i = 0; i < ARRAY_LEN(requests); i++)
        fixture_must(store, requests[i], T0);
    fixture_must(store, revoke_by((struct store_filter){.person = slice_str("user:req1")}), T0);
    cr_assert_eq(fixture_state(store, 1), GRANT_CANCELLED);
    cr_assert_eq(fixture_state(store, 2), GRANT_CANCELLED);
    cr_assert_eq(fixture_state(store, 3), GRANT_CANCELLED);
    cr_assert_eq(fixture_state(store, 4), GRANT_PENDING);
    store_free(store);
}

Test(provenance, a_version_of_a_policy_is_revoked_and_the_next_one_stays)
{
    struct policy_rule rule = governed_rule("all", "db/*");
    rule.automatic = true;
    struct store *store = governed_store(&rule, 1);
    struct grant grant;
    fixture_must(store, fixture_request(1), T0);
    rule.max_duration_ms = 120000;
    fixture_must(store, governed_policy(&rule, 1), T0);
    fixture_must(store, fixture_request(2), T0);
    cr_assert(store_get(store, fixture_id(1), &grant));
    struct store_filter filter = {.policy = slice_str("test"), .policy_version = grant.policy_version};
    cr_assert(store_filter_matches(&filter, &grant));
    cr_assert(store_get(store, fixture_id(2), &grant));
    cr_assert(!store_filter_matches(&filter, &grant));
    fixture_must(store, revoke_by(filter), T0);
    cr_assert_eq(fixture_state(store, 1), GRANT_REVOKED);
    cr_assert_eq(fixture_state(store, 2), GRANT_ACTIVE);
    cr_assert(is_allowed(store, ""));
    store_free(store);
}

Test(provenance, a_filter_that_says_nothing_or_nonsense_is_refused)
{
    const struct {
        struct store_filter filter;
        const char *word;
    } bad[] = {
        {{.policy_version = 7}, "the filter takes every grant"},
        {{.subject = slice_str("user:dev1"), .policy_version = 7}, "without a policy"},
        {{.label = slice_str("team")}, "key=value"},
        {{.label = slice_str("=blue")}, "key=value"},
        {{.binding = slice_str("not one")}, "binding"},
        {{.person = slice_str("user:*")}, "person"},
    };
    struct store *store = fixture_store(NULL);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct store_outcome outcome = fixture_apply(store, revoke_by(bad[i].filter), T0);
        cr_assert_eq(outcome.error.code, LAPSE_INVALID_ARGUMENT, "%s", bad[i].word);
        cr_assert_not_null(strstr(outcome.error.message, bad[i].word), "%s", outcome.error.message);
    }
    store_free(store);
}

/* A policy that ends what it no longer allows */

#define MANY 7500u /* more than one slice asks for */

/* Grants of up to a minute under a rule that will allow half of that; every third is short enough. */
static struct store *before_the_change(void)
{
    struct policy_rule rule = governed_rule("all", "db/*");
    rule.automatic = true;
    struct store *store = governed_store(&rule, 1);
    for (uint32_t i = 1; i <= MANY; i++) {
        struct command command = fixture_request(i);
        command.terms.duration_ms = i % 3 == 0 ? 30000 : 60000;
        fixture_must(store, command, T0);
    }
    return store;
}

static struct command stricter_policy(void)
{
    static struct buf bytes;
    struct policy_rule rule = governed_rule("all", "db/*");
    rule.automatic = true;
    rule.max_duration_ms = 30000;
    struct policy policy = {.name = slice_str("test"), .rules = &rule, .n_rules = 1, .end_disallowed = true};
    buf_free(&bytes);
    buf_init(&bytes, LIMIT_OBJECT_BYTES);
    CHECK(lapse_is_ok(policy_encode(&policy, &bytes)));
    return (struct command){
        .type = COMMAND_APPLY_POLICY, .principal = slice_str("user:ops"), .value = buf_slice(&bytes)};
}

static uint32_t states(const struct store *store, enum grant_state state)
{
    uint32_t n = 0;
    for (uint32_t i = 1; i <= MANY; i++)
        n += fixture_state(store, i) == state;
    return n;
}

Test(provenance, a_policy_that_ends_what_it_no_longer_allows_does_so_in_slices_and_cannot_change_meanwhile)
{
    struct store *store = before_the_change(), *twin = NULL;
    struct policy_rule rule = governed_rule("all", "db/*");
    struct store_outcome outcome;
    uint32_t slices = 0;
    fixture_must(store, stricter_policy(), T0);
    cr_assert_gt(states(store, GRANT_ACTIVE), MANY / 3, "not in one command");
    outcome = fixture_apply(store, fixture_about(COMMAND_USE, MANY - 1, "user:ep"), T0);
    cr_assert_eq(outcome.error.code, LAPSE_FAILED_PRECONDITION, "what waits for its end counts as ended");
    outcome = fixture_apply(store, governed_policy(&rule, 1), T0);
    cr_assert_eq(outcome.error.code, LAPSE_FAILED_PRECONDITION, "%s", outcome.error.message);
    for (; store_next_due_ms(store) <= T0; slices++) {
        struct buf bytes = fixture_snapshot(store, 5000);
        struct lapse_error error = {0};
        twin = fixture_restore(buf_slice(&bytes), 5000, NULL, &error);
        cr_assert_not_null(twin, "%s", error.message);
        fixture_must(store, fixture_advance(LIMIT_ADVANCE_BATCH), T0);
        fixture_must(twin, fixture_advance(LIMIT_ADVANCE_BATCH), T0);
        cr_assert(fixture_same_digest(store, twin), "a restored store goes on alike");
        store_free(twin);
        buf_free(&bytes);
    }
    cr_assert_geq(slices, 3);
    cr_assert_eq(states(store, GRANT_ACTIVE), MANY / 3);
    cr_assert_eq(states(store, GRANT_REVOKED), MANY - MANY / 3);
    fixture_must(store, governed_policy(&rule, 1), T0);
    store_free(store);
}
