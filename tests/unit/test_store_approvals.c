/* Approvals: steps, quorum, who may and who may not, automatic and held requests, delegation; and that all of it is
 * state: found by its index, in the digest, in views and snapshots. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/check.h"
#include "governed_fixture.h"
#include "store/internal.h"
#include "store/lock.h"

#define ORDERS "db/prod/orders"

static struct store_outcome approve(struct store *store, uint64_t number, const char *who)
{
    struct command command = fixture_about(COMMAND_APPROVE, number, who);
    command.text = slice_str("looks right");
    return fixture_apply(store, command, store_time_ms(store) + 1);
}

static void refused(struct store_outcome outcome, enum lapse_code code, const char *says)
{
    cr_assert_eq(outcome.error.code, code, "%s: %s", lapse_code_name(outcome.error.code), outcome.error.message);
    cr_assert_not_null(strstr(outcome.error.message, says), "\"%s\" lacks \"%s\"", outcome.error.message, says);
}

static void taken(struct store_outcome outcome)
{
    cr_assert_eq(outcome.error.code, LAPSE_OK, "%s", outcome.error.message);
}

static struct grant get(const struct store *store, uint64_t number)
{
    struct grant grant;
    cr_assert(store_get(store, fixture_id(number), &grant));
    return grant;
}

/* One of a1, a2 and a3 twice over, then one of b1 and b2. */
static struct policy_rule two_steps(void)
{
    struct policy_rule rule = governed_rule("two-steps", "db/*");
    governed_step(&rule, 2, "user:a1 user:a2 user:a3");
    governed_step(&rule, 1, "user:b*");
    return rule;
}

static struct store *store_of(struct policy_rule rule)
{
    struct store *store = governed_store(&rule, 1);
    fixture_must(store, fixture_request(1), T0);
    return store;
}

Test(store_approvals, a_grant_is_active_once_every_step_has_its_approvers)
{
    struct store *store = store_of(two_steps());
    static const char *const whom[] = {"user:a2", "user:a1", "user:b1"};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(fixture_state(store, 1), GRANT_PENDING);
        taken(approve(store, 1, whom[i]));
    }
    struct grant grant = get(store, 1);
    cr_assert_eq(grant.state, GRANT_ACTIVE);
    cr_assert_eq(grant.n_approvals, 3);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert(slice_equal(grant.approvals[i].approver, slice_str(whom[i])));
        cr_assert(slice_equal(grant.approvals[i].comment, slice_str("looks right")));
        cr_assert_eq(grant.approvals[i].time_ms, T0 + 1 + i);
        cr_assert_eq(grant.approvals[i].revision, grant.requested_revision + 1 + i);
    }
    cr_assert_eq(grant.approved_ms, T0 + 3);
    cr_assert_eq(grant.approved_revision, grant.approvals[2].revision);
    cr_assert_eq(grant.deadline_ms, T0 + 3 + 60000);
    cr_assert(slice_equal(grant.rule, slice_str("two-steps")));
    store_free(store);
}

Test(store_approvals, a_later_step_waits_for_its_turn)
{
    struct store *store = store_of(two_steps());
    refused(approve(store, 1, "user:b1"), LAPSE_FAILED_PRECONDITION, "takes 2 more of user:a1 user:a2 user:a3");
    taken(approve(store, 1, "user:a1"));
    refused(approve(store, 1, "user:b1"), LAPSE_FAILED_PRECONDITION, "takes 1 more of user:a1 user:a2 user:a3");
    taken(approve(store, 1, "user:a3"));
    refused(approve(store, 1, "user:a2"), LAPSE_PERMISSION_DENIED, "takes 1 more of user:b*");
    taken(approve(store, 1, "user:b1"));
    cr_assert_eq(fixture_state(store, 1), GRANT_ACTIVE);
    store_free(store);
}

Test(store_approvals, an_approver_counts_once_under_all_names)
{
    struct policy_rule rule = governed_rule("quorum", "db/*");
    governed_step(&rule, 2, "");
    struct store *store = store_of(rule);
    taken(approve(store, 1, "user:a1"));
    refused(approve(store, 1, "user:a1"), LAPSE_PERMISSION_DENIED, "has approved it already");
    refused(approve(store, 1, "spiffe://example.org/user/a1"), LAPSE_PERMISSION_DENIED, "has approved it already");
    cr_assert_eq(get(store, 1).n_approvals, 1);
    taken(approve(store, 1, "spiffe://example.org/user/a2"));
    cr_assert_eq(fixture_state(store, 1), GRANT_ACTIVE);
    store_free(store);
}

Test(store_approvals, a_refusal_names_who_can)
{
    struct store *store = store_of(two_steps());
    refused(approve(store, 1, "user:app1"), LAPSE_PERMISSION_DENIED, "user:a1 user:a2 user:a3");
    refused(approve(store, 1, "user:nobody"), LAPSE_PERMISSION_DENIED, "role approver");
    store_free(store);
}

Test(store_approvals, neither_requester_nor_subject_approves_under_any_name)
{
    struct store *store = store_of(governed_rule("any", "db/*"));
    static const char *const own[] = {"user:req1", "user:dev1", "spiffe://example.org/user/req1",
                                      "spiffe://example.org/user/dev1"};
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        refused(approve(store, 1, own[i]), LAPSE_PERMISSION_DENIED, "nobody decides on a grant for themselves");
    taken(approve(store, 1, "user:a1"));
    store_free(store);
}

Test(store_approvals, self_approval_lets_the_requester_but_not_another_subject)
{
    struct policy_rule rule = governed_rule("self", "db/*");
    governed_step(&rule, 2, "");
    rule.self_approval = true;
    struct store *store = store_of(rule);
    refused(approve(store, 1, "user:dev1"), LAPSE_PERMISSION_DENIED, "nobody decides on a grant for themselves");
    taken(approve(store, 1, "spiffe://example.org/user/req1"));
    refused(approve(store, 1, "user:req1"), LAPSE_PERMISSION_DENIED, "has approved it already");
    taken(approve(store, 1, "user:a1"));
    /* A subject who is the requester may, too. */
    struct command request = fixture_request(2);
    request.terms.subject = slice_str("user:req1");
    fixture_must(store, request, store_time_ms(store));
    taken(approve(store, 2, "user:req1"));
    taken(approve(store, 2, "user:a1"));
    cr_assert_eq(fixture_state(store, 2), GRANT_ACTIVE);
    store_free(store);
}

Test(store_approvals, whoever_has_approved_may_still_deny_what_is_undecided)
{
    struct store *store = store_of(two_steps());
    taken(approve(store, 1, "user:a1"));
    fixture_must(store, fixture_about(COMMAND_DENY, 1, "user:a1"), store_time_ms(store));
    struct grant grant = get(store, 1);
    cr_assert_eq(grant.state, GRANT_DENIED);
    cr_assert_eq(grant.n_approvals, 1);
    cr_assert_eq(grant.approved_revision, 0);
    cr_assert_eq(grant.approvals[0].revision, grant.requested_revision + 1);
    refused(approve(store, 1, "user:a2"), LAPSE_FAILED_PRECONDITION, "DENIED");
    store_free(store);
}

static void lock(struct store *store, const char *who, bool on)
{
    struct buf value;
    char name[LOCK_NAME_SIZE];
    const struct lock wanted = {.kind = LOCK_SUBJECT, .target = slice_str(who), .reason = slice_str("stolen laptop")};
    struct command command = {.type = on ? COMMAND_LOCK : COMMAND_UNLOCK, .principal = slice_str("user:ops")};
    buf_init(&value, 512);
    cr_assert(lapse_is_ok(lock_encode(&wanted, &value)));
    if (on)
        command.value = buf_slice(&value);
    else
        command.name = lock_name(LOCK_SUBJECT, wanted.target, name);
    fixture_must(store, command, store_time_ms(store));
    buf_free(&value);
}

Test(store_approvals, an_approval_does_not_count_while_whoever_gave_it_is_locked)
{
    struct store *store = store_of(two_steps());
    taken(approve(store, 1, "user:a1"));
    taken(approve(store, 1, "user:a2"));
    lock(store, "spiffe://example.org/user/a1", true);
    refused(approve(store, 1, "user:b1"), LAPSE_FAILED_PRECONDITION, "user:a1, who approved it before, is locked");
    lock(store, "spiffe://example.org/user/a1", false);
    taken(approve(store, 1, "user:b1"));
    cr_assert_eq(fixture_state(store, 1), GRANT_ACTIVE);
    store_free(store);
}

Test(store_approvals, what_a_locked_requester_asked_for_is_not_approved_for_anybody)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, fixture_request(1), T0);
    lock(store, "user:req1", true);
    refused(approve(store, 1, "user:app1"), LAPSE_FAILED_PRECONDITION, "user:req1 is locked (stolen laptop)");
    lock(store, "user:req1", false);
    taken(approve(store, 1, "user:app1"));
    store_free(store);
}

Test(store_approvals, an_undecided_request_lapses_with_the_approvals_that_it_has)
{
    struct policy_rule rule = two_steps();
    rule.decide_within_ms = 5000;
    struct store *store = store_of(rule);
    taken(approve(store, 1, "user:a1"));
    fixture_must(store, fixture_advance(10), T0 + 4999);
    cr_assert_eq(fixture_state(store, 1), GRANT_PENDING);
    fixture_must(store, fixture_advance(10), T0 + 5000);
    cr_assert_eq(fixture_state(store, 1), GRANT_LAPSED);
    cr_assert_eq(get(store, 1).n_approvals, 1);
    refused(approve(store, 1, "user:a2"), LAPSE_FAILED_PRECONDITION, "LAPSED");
    store_free(store);
}

/* --- automatic ---------------------------------------------------------------------------------------------------- */

struct told {
    enum store_event_type types[8];
    struct slice actors[8];
    uint32_t n;
};

static void on_event(void *arg, const struct store_event *event)
{
    struct told *told = arg;
    if (told->n < 8) {
        told->types[told->n] = event->type;
        told->actors[told->n] = event->actor;
        cr_assert(event->grant == NULL || event->grant->automatic);
    }
    told->n++;
}

Test(store_approvals, an_automatic_rule_grants_in_one_command_without_an_approver)
{
    struct policy_rule rule = governed_rule("automatic", "db/*");
    rule.automatic = true;
    struct store *store = governed_store(&rule, 1);
    struct command request = fixture_request(1);
    struct told told = {.n = 0};
    struct store_outcome outcome;
    store_apply(store, &request, T0, on_event, &told, &outcome);
    cr_assert_eq(outcome.error.code, LAPSE_OK, "%s", outcome.error.message);
    cr_assert_eq(told.n, 3);
    cr_assert_eq(told.types[0], STORE_EVENT_REQUESTED);
    cr_assert_eq(told.types[1], STORE_EVENT_APPROVED);
    cr_assert_eq(told.types[2], STORE_EVENT_ACTIVATED);
    for (int i = 0; i < 3; i++)
        cr_assert(slice_equal(told.actors[i], slice_str("user:req1")));
    struct grant grant = get(store, 1);
    cr_assert_eq(grant.state, GRANT_ACTIVE);
    cr_assert(grant.automatic);
    cr_assert_eq(grant.n_approvals, 0);
    cr_assert_eq(grant.approved_ms, T0);
    cr_assert_eq(grant.approved_revision, grant.requested_revision + 1);
    cr_assert_eq(grant.activated_revision, grant.requested_revision + 2);
    cr_assert_eq(grant.deadline_ms, T0 + 60000);
    cr_assert(slice_equal(grant.policy, slice_str("test")));
    cr_assert(slice_equal(grant.rule, slice_str("automatic")));
    fixture_must(store, fixture_advance(10), T0 + 60000);
    cr_assert_eq(fixture_state(store, 1), GRANT_EXPIRED);
    store_free(store);
}

Test(store_approvals, an_automatic_grant_waits_for_its_not_before)
{
    struct policy_rule rule = governed_rule("automatic", "db/*");
    rule.automatic = true;
    struct store *store = governed_store(&rule, 1);
    struct command request = fixture_request(1);
    request.terms.not_before_ms = T0 + 1000;
    fixture_must(store, request, T0);
    cr_assert_eq(fixture_state(store, 1), GRANT_APPROVED);
    cr_assert_eq(get(store, 1).deadline_ms, T0 + 61000);
    cr_assert_eq(store_next_due_ms(store), T0 + 1000);
    fixture_must(store, fixture_advance(10), T0 + 1000);
    cr_assert_eq(fixture_state(store, 1), GRANT_ACTIVE);
    store_free(store);
}

Test(store_approvals, a_held_request_waits_for_an_approver)
{
    struct policy_rule rule = governed_rule("automatic", "db/*");
    rule.automatic = true;
    rule.limits = (struct policy_limits){.requests = 2, .window_ms = 60000, .hold = true};
    struct store *store = governed_store(&rule, 1);
    for (uint64_t i = 1; i <= 3; i++)
        fixture_must(store, fixture_request(i), T0);
    cr_assert_eq(fixture_state(store, 2), GRANT_ACTIVE);
    cr_assert_eq(fixture_state(store, 3), GRANT_PENDING);
    cr_assert(get(store, 3).held);
    taken(approve(store, 3, "user:a1"));
    cr_assert_eq(fixture_state(store, 3), GRANT_ACTIVE);
    store_free(store);
}

/* --- delegation --------------------------------------------------------------------------------------------------- */

static struct command child_of(uint64_t number, uint64_t parent)
{
    struct command command = fixture_request(number);
    command.terms.parent = fixture_id(parent);
    return command;
}

Test(store_approvals, no_more_generations_than_every_rule_above_allows)
{
    struct policy_rule rules[] = {governed_rule("shallow", ORDERS), governed_rule("deep", "db/*")};
    rules[0].automatic = rules[1].automatic = true;
    rules[0].delegation_depth = 0;
    rules[1].delegation_depth = 2;
    struct store *store = governed_store(rules, 2);
    struct command root = fixture_request(1);
    root.terms.resource = slice_str("db/prod/*");
    fixture_must(store, root, T0);
    cr_assert_eq(get(store, 1).delegation_depth, 2);
    struct command child = child_of(2, 1);
    child.terms.resource = slice_str("db/prod/*");
    fixture_must(store, child, T0);
    cr_assert_eq(get(store, 2).delegation_depth, 1);
    child.grant = fixture_id(3);
    child.terms.parent = fixture_id(2);
    fixture_must(store, child, T0);
    cr_assert_eq(get(store, 3).delegation_depth, 0, "cut to what its ancestors leave");
    child.grant = fixture_id(4);
    child.terms.parent = fixture_id(3);
    refused(fixture_apply(store, child, T0), LAPSE_PERMISSION_DENIED, "lets no more be derived");
    /* A rule that allows none. */
    fixture_must(store, fixture_request(5), T0);
    refused(fixture_apply(store, child_of(6, 5), T0), LAPSE_PERMISSION_DENIED, "lets no more be derived");
    store_free(store);
}

Test(store_approvals, the_built_in_rule_does_not_widen_what_a_rule_above_allows)
{
    struct policy_rule rule = governed_rule("one", "db/*");
    rule.automatic = true;
    rule.delegation_depth = 1;
    struct store *store = store_of(rule);
    struct command remove = {
        .type = COMMAND_REMOVE_POLICY, .principal = slice_str("user:ops"), .name = slice_str("test")};
    fixture_must(store, remove, T0);
    fixture_must(store, child_of(2, 1), T0);
    taken(approve(store, 2, "user:a1"));
    refused(fixture_apply(store, child_of(3, 2), T0), LAPSE_PERMISSION_DENIED, "lets no more be derived");
    store_free(store);
}

Test(store_approvals, an_automatic_child_ends_with_its_parent_and_not_after_it)
{
    struct policy_rule rule = governed_rule("automatic", "db/*");
    rule.automatic = true;
    rule.delegation_depth = 1;
    struct store *store = store_of(rule);
    struct command child = child_of(2, 1);
    child.terms.duration_ms = 3600000;
    fixture_must(store, child, T0);
    cr_assert_eq(get(store, 2).deadline_ms, T0 + 60000);
    child = child_of(3, 1);
    child.terms.not_before_ms = T0 + 60000;
    refused(fixture_apply(store, child, T0), LAPSE_FAILED_PRECONDITION, "parent ends before");
    fixture_must(store, fixture_about(COMMAND_REVOKE, 1, "user:ops"), T0);
    cr_assert_eq(fixture_state(store, 2), GRANT_REVOKED);
    store_free(store);
}

/* --- what is kept of them ----------------------------------------------------------------------------------------- */

static bool count_visit(void *arg, const struct grant *grant)
{
    (void)grant;
    ++*(uint32_t *)arg;
    return true;
}

static uint32_t listed_for(const struct store *store, const char *approver)
{
    struct store_filter filter = {.approver = slice_str(approver)};
    uint64_t cursor = 0;
    uint32_t n = 0;
    while (store_list(store, &filter, &cursor, 3, count_visit, &n)) {
    }
    return n;
}

/* Requests 1 to `n`, each approved by a1, the even ones by a2, too, and every fourth by b1. */
static struct store *store_with_many(uint64_t n)
{
    struct store *store = store_of(two_steps());
    for (uint64_t i = 2; i <= n; i++)
        fixture_must(store, fixture_request(i), T0);
    for (uint64_t i = 1; i <= n; i++)
        taken(approve(store, i, "user:a1"));
    for (uint64_t i = 2; i <= n; i += 2)
        taken(approve(store, i, "user:a2"));
    for (uint64_t i = 4; i <= n; i += 4)
        taken(approve(store, i, "user:b1"));
    return store;
}

Test(store_approvals, every_approver_finds_what_they_approved)
{
    struct store *store = store_with_many(40);
    cr_assert_eq(listed_for(store, "user:a1"), 40);
    cr_assert_eq(listed_for(store, "user:a2"), 20);
    cr_assert_eq(listed_for(store, "user:b1"), 10);
    cr_assert_eq(listed_for(store, "user:b2"), 0);
    struct command sweep = {.type = COMMAND_REVOKE_MATCHING,
                            .principal = slice_str("user:ops"),
                            .text = slice_str("a2 was never asked"),
                            .filter = {.approver = slice_str("user:a2")}};
    fixture_must(store, sweep, store_time_ms(store));
    for (uint64_t i = 1; i <= 40; i++)
        cr_assert_eq(fixture_state(store, i), i % 2 != 0   ? GRANT_PENDING
                                              : i % 4 == 0 ? GRANT_REVOKED
                                                           : GRANT_CANCELLED);
    /* Their places in the lists leave with them. */
    fixture_must(store, fixture_advance(1000), store_time_ms(store) + LIMIT_ENDED_RETENTION_MS);
    cr_assert_eq(listed_for(store, "user:a1"), 20);
    cr_assert_eq(listed_for(store, "user:a2"), 0);
    store_free(store);
}

Test(store_approvals, a_sweep_takes_by_the_time_of_that_very_approval)
{
    struct store *store = store_of(two_steps());
    uint64_t many = LIMIT_SWEEP_AT_ONCE + 1;
    for (uint64_t i = 2; i <= many + 1; i++)
        fixture_must(store, fixture_request(i), T0);
    for (uint64_t i = 1; i <= many; i++)
        taken(approve(store, i, "user:a1"));
    taken(approve(store, many + 1, "user:a2"));
    struct command sweep = {.type = COMMAND_REVOKE_MATCHING,
                            .principal = slice_str("user:ops"),
                            .text = slice_str("a1 has left"),
                            .filter = {.approver = slice_str("user:a1")}};
    fixture_must(store, sweep, store_time_ms(store));
    /* Approved by a1 behind the sweep's beginning, after a2 had before it. */
    taken(approve(store, many + 1, "user:a1"));
    refused(approve(store, many, "user:a2"), LAPSE_FAILED_PRECONDITION, "revoked with others");
    while (store_next_due_ms(store) <= store_time_ms(store))
        fixture_must(store, fixture_advance(LIMIT_ADVANCE_BATCH), store_time_ms(store));
    cr_assert_eq(fixture_state(store, many), GRANT_CANCELLED);
    cr_assert_eq(fixture_state(store, many + 1), GRANT_PENDING);
    store_free(store);
}

static struct store *restored_from(struct slice bytes)
{
    struct lapse_error error = {0};
    struct store *restored = fixture_restore(bytes, 777, NULL, &error);
    cr_assert_not_null(restored, "%s", error.message);
    return restored;
}

Test(store_approvals, a_restored_store_has_them_all_and_goes_on)
{
    struct store *store = store_with_many(40);
    struct buf bytes = fixture_snapshot(store, 333);
    struct store *restored = restored_from(buf_slice(&bytes));
    cr_assert(fixture_same_digest(store, restored));
    struct buf again = fixture_snapshot(restored, 99999);
    cr_assert(slice_equal(buf_slice(&bytes), buf_slice(&again)));
    cr_assert_eq(listed_for(restored, "user:a2"), 20);
    struct store *both[] = {store, restored};
    for (int i = 0; i < 2; i++) {
        refused(approve(both[i], 2, "user:a2"), LAPSE_PERMISSION_DENIED, "already");
        taken(approve(both[i], 2, "user:b2"));
        taken(approve(both[i], 1, "user:a3"));
        fixture_must(both[i], fixture_advance(1000), T0 + LIMIT_PENDING_MS_DEFAULT);
        fixture_must(both[i], fixture_advance(1000), T0 + 2 * LIMIT_PENDING_MS_DEFAULT);
    }
    cr_assert(fixture_same_digest(store, restored));
    cr_assert_eq(listed_for(restored, "user:a1"), 0);
    buf_free(&bytes);
    buf_free(&again);
    store_free(store);
    store_free(restored);
}

struct order {
    uint64_t hash;
    uint32_t n;
};

static bool order_visit(void *arg, const struct grant *grant)
{
    struct order *order = arg;
    for (size_t i = 0; i < sizeof grant->id.bytes; i++)
        order->hash = (order->hash ^ grant->id.bytes[i]) * 1099511628211ULL;
    order->n++;
    return true;
}

static struct order order_of(const struct store *store, const char *approver)
{
    struct store_filter filter = {.approver = slice_str(approver)};
    struct order order = {.hash = 1469598103934665603ULL};
    uint64_t cursor = 0;
    while (store_list(store, &filter, &cursor, 3, order_visit, &order)) {
    }
    return order;
}

/* Sweeps go along these lists, and must end the same grants in the same order on every node. */
Test(store_approvals, a_restored_store_lists_approvals_in_the_order_in_which_they_came)
{
    struct store *store = store_of(two_steps());
    for (uint64_t i = 2; i <= 20; i++)
        fixture_must(store, fixture_request(i), T0);
    for (uint64_t i = 20; i >= 11; i--)
        taken(approve(store, i, "user:a2"));
    for (uint64_t i = 1; i <= 20; i++)
        taken(approve(store, i * 7 % 20 + 1, "user:a1"));
    for (uint64_t i = 1; i <= 10; i++)
        taken(approve(store, i, "user:a2"));
    struct buf bytes = fixture_snapshot(store, 333);
    struct store *restored = restored_from(buf_slice(&bytes));
    static const char *const both[] = {"user:a1", "user:a2"};
    for (int i = 0; i < 2; i++) {
        struct order here = order_of(store, both[i]), there = order_of(restored, both[i]);
        cr_assert_eq(here.n, 20);
        cr_assert_eq(there.n, 20);
        cr_assert_eq(here.hash, there.hash);
    }
    buf_free(&bytes);
    store_free(store);
    store_free(restored);
}

Test(store_approvals, a_view_keeps_the_approvals_of_its_freeze)
{
    struct store *store = store_with_many(40);
    struct store_digest then = store_digest(store);
    struct store_view *view = store_freeze(store);
    static const uint8_t hash[TOKEN_HASH_BYTES] = {7};
    struct buf bytes;
    bool done = false;
    buf_init(&bytes, 1u << 26);
    for (uint64_t i = 2; i <= 40; i += 4)
        taken(approve(store, i, "user:b1"));
    taken(approve(store, 1, "user:a2"));
    extras_set_token(store, slot_find(store, fixture_id(4)), slice_of(hash, sizeof hash));
    fixture_must(store, fixture_advance(1000), T0 + LIMIT_PENDING_MS_DEFAULT);
    fixture_must(store, fixture_advance(1000), T0 + 2 * LIMIT_PENDING_MS_DEFAULT);
    while (!done)
        cr_assert(lapse_is_ok(store_view_read(view, 1000, &bytes, &done)));
    store_view_free(view);
    struct store *restored = restored_from(buf_slice(&bytes));
    struct store_digest seen = store_digest(restored);
    cr_assert_eq(memcmp(&seen, &then, sizeof then), 0);
    cr_assert_eq(get(restored, 2).n_approvals, 2);
    cr_assert_eq(get(restored, 4).token_sha256.len, 0);
    buf_free(&bytes);
    store_free(store);
    store_free(restored);
}

/* The approval is found by its bytes in the snapshot and given to somebody else: the digest tells. */
Test(store_approvals, a_changed_approval_in_a_snapshot_is_noticed)
{
    struct store *store = store_with_many(4);
    struct buf bytes = fixture_snapshot(store, 99999);
    uint32_t found = 0;
    for (size_t i = 0; i + 7 <= bytes.len; i++) {
        if (memcmp(bytes.data + i, "user:a2", 7) != 0)
            continue;
        struct lapse_error error = {0};
        bytes.data[i + 6] = '3';
        cr_assert_null(fixture_restore(buf_slice(&bytes), 5000, NULL, &error));
        cr_assert_eq(error.code, LAPSE_DATA_LOSS);
        bytes.data[i + 6] = '2';
        found++;
    }
    cr_assert_geq(found, 2);
    buf_free(&bytes);
    store_free(store);
}

Test(store_approvals, a_grant_with_one_approval_costs_nothing_more)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, fixture_request(1), T0);
    taken(approve(store, 1, "user:app1"));
    cr_assert_eq(store->extras.table.n_items, 0);
    cr_assert_eq(get(store, 1).approvals[0].revision, get(store, 1).approved_revision);
    store_free(store);
    store = store_with_many(40);
    cr_assert_eq(store->extras.table.n_items, 40);
    fixture_must(store, fixture_advance(1000), T0 + LIMIT_PENDING_MS_DEFAULT);
    fixture_must(store, fixture_advance(1000), T0 + 2 * LIMIT_PENDING_MS_DEFAULT);
    cr_assert_eq(store->extras.table.n_items, 0);
    store_free(store);
}
