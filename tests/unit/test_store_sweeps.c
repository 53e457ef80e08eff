/* RevokeMatching: what a sweep takes, that it counts as ended at once, and that slices, order and restores agree. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "store_fixture.h"

#define MANY 5000u /* more than one command ends */

/* What a store has told, in a form that two stores can be compared by. */
struct telling {
    uint64_t hash, n_events, n_revoked, n_cancelled;
    uint64_t began, ended; /* revisions of the latest */
    uint64_t grants;       /* as SWEEP_ENDED says */
};

static void on_event(void *arg, const struct store_event *event)
{
    struct telling *telling = arg;
    uint64_t parts[5] = {event->revision, (uint64_t)event->time_ms, event->type};
    if (event->grant != NULL)
        memcpy(&parts[3], event->grant->id.bytes, sizeof event->grant->id.bytes);
    if (event->sweep != NULL)
        parts[3] = event->sweep->id, parts[4] = event->sweep->grants;
    for (size_t i = 0; i < 5; i++)
        telling->hash = (telling->hash ^ parts[i]) * 0x9E3779B97F4A7C15ULL;
    telling->n_events++;
    telling->n_revoked += event->type == STORE_EVENT_REVOKED;
    telling->n_cancelled += event->type == STORE_EVENT_CANCELLED;
    if (event->type == STORE_EVENT_SWEEP_BEGAN)
        telling->began = event->revision;
    if (event->type == STORE_EVENT_SWEEP_ENDED) {
        telling->ended = event->revision;
        telling->grants = event->sweep->grants;
    }
}

static struct store_outcome tell(struct store *store, struct command command, int64_t time_ms, struct telling *telling)
{
    struct store_outcome outcome;
    store_apply(store, &command, time_ms, on_event, telling, &outcome);
    return outcome;
}

static struct command sweep_of(struct store_filter filter)
{
    return (struct command){.type = COMMAND_REVOKE_MATCHING,
                            .principal = slice_str("user:ops"),
                            .text = slice_str("laptop stolen"),
                            .filter = filter};
}

static struct command by_subject(const char *subject)
{
    return sweep_of((struct store_filter){.subject = slice_str(subject)});
}

static struct command by_resource(const char *resource)
{
    return sweep_of((struct store_filter){.resource = slice_str(resource)});
}

static void request(struct store *store, uint64_t number, const char *subject)
{
    struct command command = fixture_request(number);
    command.terms.subject = slice_str(subject);
    fixture_must(store, command, T0);
}

static void approve(struct store *store, uint64_t number)
{
    fixture_must(store, fixture_about(COMMAND_APPROVE, number, "user:app1"), T0);
}

/* `n` active grants of user:dev1 from number `first` on. */
static void activate(struct store *store, uint64_t first, uint32_t n)
{
    for (uint64_t i = first; i < first + n; i++) {
        request(store, i, "user:dev1");
        approve(store, i);
    }
}

static void advance_to_end(struct store *store, struct telling *telling)
{
    while (store_next_due_ms(store) <= T0)
        (void)tell(store, fixture_advance(LIMIT_ADVANCE_BATCH), T0, telling);
}

static struct store *copy_of(struct store *store)
{
    struct lapse_error error = {0};
    struct buf bytes = fixture_snapshot(store, 10000);
    struct store *copy = fixture_restore(buf_slice(&bytes), 10000, NULL, &error);
    cr_assert_not_null(copy, "%s", error.message);
    struct buf again = fixture_snapshot(copy, 10000);
    cr_assert(slice_equal(buf_slice(&bytes), buf_slice(&again)));
    buf_free(&bytes);
    buf_free(&again);
    cr_assert(fixture_same_digest(store, copy));
    return copy;
}

Test(store_sweeps, an_operator_ends_all_grants_that_match_and_no_others)
{
    struct store *store = fixture_store(NULL);
    struct telling telling = {0};
    struct grant grant;
    request(store, 1, "user:dev1");
    request(store, 2, "user:dev1");
    approve(store, 2);
    request(store, 3, "user:dev2");
    approve(store, 3);
    uint64_t before = store_revision(store);
    struct store_outcome outcome = tell(store, by_subject("user:dev1"), T0, &telling);
    cr_assert_eq(outcome.error.code, LAPSE_OK);
    cr_assert_eq(outcome.revision, before + 1, "that of SWEEP_BEGAN");
    cr_assert_eq(telling.began, before + 1);
    cr_assert_eq(telling.ended, before + 4);
    cr_assert_eq(telling.grants, 2);
    cr_assert_eq(store_revision(store), telling.ended);
    cr_assert_eq(fixture_state(store, 1), GRANT_CANCELLED, "a request was never a grant");
    cr_assert_eq(fixture_state(store, 2), GRANT_REVOKED);
    cr_assert_eq(fixture_state(store, 3), GRANT_ACTIVE);
    cr_assert(store_get(store, fixture_id(2), &grant));
    cr_assert(slice_equal(grant.ended_by, slice_str("user:ops")));
    cr_assert(slice_equal(grant.reason, slice_str("laptop stolen")));
    store_free(store);
}

Test(store_sweeps, only_operators_may_and_a_filter_must_say_something)
{
    struct store *store = fixture_store(NULL);
    struct command command = by_subject("user:dev1");
    command.principal = slice_str("user:app1");
    cr_assert_eq(fixture_apply(store, command, T0).error.code, LAPSE_PERMISSION_DENIED);
    command = sweep_of((struct store_filter){.states = 1u << GRANT_ACTIVE});
    cr_assert_eq(fixture_apply(store, command, T0).error.code, LAPSE_INVALID_ARGUMENT);
    command = by_subject("user:dev1");
    command.filter.states = 1u << GRANT_EXPIRED;
    cr_assert_eq(fixture_apply(store, command, T0).error.code, LAPSE_INVALID_ARGUMENT);
    store_free(store);
}

Test(store_sweeps, states_restrict_what_is_taken)
{
    struct store *store = fixture_store(NULL);
    struct command later = fixture_request(3), sweep = by_resource("db/*");
    request(store, 1, "user:dev1");
    request(store, 2, "user:dev1");
    approve(store, 2);
    later.terms.not_before_ms = T0 + 1000;
    fixture_must(store, later, T0);
    approve(store, 3);
    sweep.filter.states = 1u << GRANT_APPROVED;
    fixture_must(store, sweep, T0);
    cr_assert_eq(fixture_state(store, 1), GRANT_PENDING);
    cr_assert_eq(fixture_state(store, 2), GRANT_ACTIVE);
    cr_assert_eq(fixture_state(store, 3), GRANT_REVOKED);
    store_free(store);
}

Test(store_sweeps, a_sweep_that_takes_nothing_begins_and_ends)
{
    struct store *store = fixture_store(NULL);
    struct telling telling = {0};
    cr_assert_eq(tell(store, by_subject("user:nobody"), T0, &telling).n_events, 2);
    cr_assert_eq(tell(store, by_resource("nothing/*"), T0, &telling).n_events, 2);
    cr_assert_eq(tell(store, sweep_of((struct store_filter){.parent = fixture_id(9)}), T0, &telling).n_events, 2);
    cr_assert_eq(telling.grants, 0);
    cr_assert(store_next_due_ms(store) > T0);
    store_free(store);
}

Test(store_sweeps, a_repeated_request_id_has_the_first_outcome)
{
    struct store *store = fixture_store(NULL);
    struct command command = by_subject("user:dev1");
    command.key = fixture_key(1);
    activate(store, 1, 3);
    struct store_outcome first = fixture_must(store, command, T0);
    activate(store, 10, 1);
    struct store_outcome second = fixture_must(store, command, T0);
    cr_assert(second.repeated);
    cr_assert_eq(second.revision, first.revision);
    cr_assert_eq(fixture_state(store, 10), GRANT_ACTIVE);
    command.filter.subject = slice_str("user:dev2");
    cr_assert_eq(fixture_apply(store, command, T0).error.code, LAPSE_ALREADY_EXISTS);
    store_free(store);
}

static void expect_refused(struct store *store, struct command command, int64_t time_ms)
{
    struct store_outcome outcome = fixture_apply(store, command, time_ms);
    cr_assert_eq(outcome.error.code, LAPSE_FAILED_PRECONDITION, "command %d: %s", (int)command.type,
                 outcome.error.message);
}

static enum grant_verdict check(const struct store *store)
{
    struct grant grant;
    bool found;
    struct grant_query query = {slice_str("user:dev1"), slice_str("db/prod/orders"), slice_str("read"), {0}, {0}, {0}};
    return store_check(store, &query, T0, &grant, &found);
}

Test(store_sweeps, what_is_taken_counts_as_ended_before_its_event)
{
    static const char *const filters[] = {"subject", "subtree"};
    for (size_t i = 0; i < 2; i++) {
        struct store *store = fixture_store(NULL);
        struct telling telling = {0};
        struct command below = fixture_request(MANY + 10);
        activate(store, 1, MANY);
        request(store, MANY + 1, "user:dev1");
        struct command sweep = i == 0 ? by_subject("user:dev1") : by_resource("db/prod/*");
        cr_assert_eq(tell(store, sweep, T0, &telling).error.code, LAPSE_OK);
        cr_assert_eq(telling.ended, 0, "%s: not all in one command", filters[i]);
        cr_assert(store_next_due_ms(store) <= T0);
        cr_assert_eq(fixture_state(store, MANY), GRANT_ACTIVE, "not reached yet");
        cr_assert_neq(check(store), GRANT_ALLOWS);
        expect_refused(store, fixture_about(COMMAND_USE, MANY, "user:ep"), T0);
        expect_refused(store, fixture_about(COMMAND_REVOKE, MANY, "user:ops"), T0);
        expect_refused(store, fixture_about(COMMAND_COMPLETE, MANY, "user:dev1"), T0);
        expect_refused(store, fixture_about(COMMAND_APPROVE, MANY + 1, "user:app1"), T0);
        below.terms.parent = fixture_id(MANY);
        expect_refused(store, below, T0);
        activate(store, MANY + 2, 1);
        cr_assert_eq(check(store), GRANT_ALLOWS, "what comes later is not touched");
        advance_to_end(store, &telling);
        cr_assert_eq(telling.grants, MANY + 1);
        cr_assert_eq(telling.n_revoked, MANY);
        cr_assert_eq(telling.n_cancelled, 1);
        cr_assert_eq(fixture_state(store, MANY + 2), GRANT_ACTIVE);
        store_free(store);
    }
}

Test(store_sweeps, a_taken_grant_is_not_activated_while_it_waits_for_its_end)
{
    struct store *store = fixture_store(NULL);
    struct telling telling = {0};
    struct command later = fixture_request(MANY + 1), child = fixture_request(MANY + 2);
    struct command roles = {.type = COMMAND_SET_ROLES, .principal = slice_str("user:ops"), .roles = ROLE_REQUESTER};
    struct grant grant;
    activate(store, 1, MANY);
    later.terms.not_before_ms = T0 + 10;
    fixture_must(store, later, T0);
    approve(store, MANY + 1);
    /* Not taken itself, but below one that is. */
    roles.member = slice_str("user:dev1");
    fixture_must(store, roles, T0);
    child.principal = roles.member;
    child.terms.subject = slice_str("user:dev2");
    child.terms.parent = fixture_id(MANY);
    child.terms.not_before_ms = T0 + 10;
    fixture_must(store, child, T0);
    approve(store, MANY + 2);
    cr_assert_eq(tell(store, by_subject("user:dev1"), T0, &telling).error.code, LAPSE_OK);
    expect_refused(store, fixture_about(COMMAND_REVOKE, MANY + 1, "user:ops"), T0);
    expect_refused(store, fixture_about(COMMAND_REVOKE, MANY + 2, "user:ops"), T0);
    (void)tell(store, fixture_advance(4), T0 + 10, &telling);
    cr_assert_eq(fixture_state(store, MANY), GRANT_ACTIVE, "not reached yet");
    cr_assert_eq(fixture_state(store, MANY + 1), GRANT_REVOKED);
    cr_assert(store_get(store, fixture_id(MANY + 2), &grant));
    cr_assert_eq(grant.state, GRANT_REVOKED);
    cr_assert(slice_equal(grant.reason, slice_str("parent ended")));
    cr_assert(slice_equal(grant.ended_by, slice_str("user:ops")));
    while (store_next_due_ms(store) <= T0 + 10)
        (void)tell(store, fixture_advance(LIMIT_ADVANCE_BATCH), T0 + 10, &telling);
    cr_assert_eq(telling.grants, MANY + 1);
    store_free(store);
}

Test(store_sweeps, an_approval_after_the_sweep_does_not_bring_a_grant_under_it)
{
    struct store *store = fixture_store(NULL);
    struct telling telling = {0};
    activate(store, 1, MANY);
    request(store, MANY + 1, "user:dev1");
    struct command sweep = sweep_of((struct store_filter){.approver = slice_str("user:app1")});
    cr_assert_eq(tell(store, sweep, T0, &telling).error.code, LAPSE_OK);
    approve(store, MANY + 1);
    cr_assert_eq(telling.ended, 0, "still at work");
    fixture_must(store, fixture_about(COMMAND_USE, MANY + 1, "user:ep"), T0);
    advance_to_end(store, &telling);
    cr_assert_eq(telling.grants, MANY);
    cr_assert_eq(fixture_state(store, MANY + 1), GRANT_ACTIVE);
    store_free(store);
}

Test(store_sweeps, grants_below_end_with_those_above)
{
    struct store *store = fixture_store(NULL);
    struct telling telling = {0};
    struct command child = fixture_request(2);
    struct grant grant;
    struct command parent = fixture_request(1);
    parent.terms.ticket = slice_str("T-1");
    parent.terms.resource = slice_str("db/prod/*");
    fixture_must(store, parent, T0);
    approve(store, 1);
    child.terms.parent = fixture_id(1);
    fixture_must(store, child, T0);
    approve(store, 2);
    struct command sweep = sweep_of((struct store_filter){.ticket = slice_str("T-1")});
    cr_assert_eq(tell(store, sweep, T0, &telling).n_events, 4);
    cr_assert(store_get(store, fixture_id(2), &grant));
    cr_assert_eq(grant.state, GRANT_REVOKED);
    cr_assert(slice_equal(grant.reason, slice_str("parent ended")));
    cr_assert(slice_equal(grant.ended_by, slice_str("user:ops")));
    cr_assert_eq(telling.grants, 2);
    store_free(store);
}

Test(store_sweeps, a_short_sweep_does_not_wait_for_a_long_one)
{
    struct store *store = fixture_store(NULL);
    struct telling telling = {0};
    struct grant grant;
    struct command mine = fixture_request(MANY + 1);
    activate(store, 1, MANY);
    mine.terms.ticket = slice_str("T-1");
    fixture_must(store, mine, T0);
    approve(store, MANY + 1);
    (void)tell(store, by_resource("db/*"), T0, &telling);
    cr_assert_eq(telling.ended, 0);
    struct command sweep = sweep_of((struct store_filter){.ticket = slice_str("T-1")});
    sweep.text = slice_str("ticket closed");
    struct store_outcome outcome = tell(store, sweep, T0, &telling);
    cr_assert_eq(telling.ended, outcome.revision + 2, "it ends what the long one takes, too: its barrier may not wait");
    cr_assert(store_get(store, fixture_id(MANY + 1), &grant));
    cr_assert(slice_equal(grant.reason, slice_str("ticket closed")));
    advance_to_end(store, &telling);
    cr_assert_eq(telling.grants, MANY);
    cr_assert_eq(telling.n_revoked, MANY + 1, "each ends once (G4)");
    store_free(store);
}

Test(store_sweeps, the_barrier_is_open_from_the_beginning_and_has_its_revision_at_the_end)
{
    struct store *store = fixture_store(NULL);
    struct telling telling = {0};
    struct barrier barrier;
    activate(store, 1, MANY);
    struct store_outcome outcome = tell(store, by_resource("db/prod/*"), T0, &telling);
    cr_assert(store_barrier_get(store, outcome.revision, &barrier));
    cr_assert_eq(barrier.revision, 0);
    cr_assert_not(barrier.done);
    cr_assert(slice_equal(barrier.scope, slice_str("db/prod/*")));
    advance_to_end(store, &telling);
    cr_assert(store_barrier_get(store, outcome.revision, &barrier));
    cr_assert_eq(barrier.revision, telling.ended);
    cr_assert_eq(barrier.grants, MANY);
    outcome = tell(store, by_subject("user:dev1"), T0, &telling);
    cr_assert(store_barrier_get(store, outcome.revision, &barrier));
    cr_assert(slice_equal(barrier.scope, slice_str("*")));
    store_free(store);
}

Test(store_sweeps, only_so_many_are_at_work)
{
    struct store *store = fixture_store(NULL);
    struct telling telling = {0};
    activate(store, 1, MANY);
    for (uint32_t i = 0; i < LIMIT_SWEEPS - LIMIT_SWEEPS_KEPT; i++)
        cr_assert_eq(tell(store, by_resource("db/*"), T0, &telling).error.code, LAPSE_OK);
    cr_assert_eq(tell(store, by_resource("db/*"), T0, &telling).error.code, LAPSE_RESOURCE_EXHAUSTED);
    struct store *copy = copy_of(store);
    cr_assert_eq(tell(copy, by_resource("db/*"), T0, &telling).error.code, LAPSE_RESOURCE_EXHAUSTED);
    store_free(copy);
    cr_assert_eq(tell(store, by_subject("user:dev2"), T0, &telling).error.code, LAPSE_OK, "a short one");
    advance_to_end(store, &telling);
    cr_assert_eq(telling.n_revoked, MANY);
    cr_assert_eq(tell(store, by_resource("db/*"), T0, &telling).error.code, LAPSE_OK);
    store_free(store);
}

static struct command offboard(uint32_t number)
{
    static char who[32];
    snprintf(who, sizeof who, "user:gone%u", number);
    return (struct command){.type = COMMAND_OFFBOARD,
                            .principal = slice_str("user:ops"),
                            .member = slice_str(who),
                            .text = slice_str("left")};
}

Test(store_sweeps, offboardings_go_through_when_others_have_reached_the_limit)
{
    struct store *store = fixture_store(NULL);
    struct telling telling = {0};
    activate(store, 1, MANY);
    for (uint32_t i = 0; i < LIMIT_SWEEPS - LIMIT_SWEEPS_KEPT; i++)
        (void)tell(store, by_resource("db/*"), T0, &telling);
    for (uint32_t i = 0; i < LIMIT_SWEEPS_KEPT; i++)
        fixture_must(store, offboard(i), T0);
    struct store_outcome outcome = fixture_apply(store, offboard(LIMIT_SWEEPS_KEPT), T0);
    cr_assert_eq(outcome.error.code, LAPSE_RESOURCE_EXHAUSTED);
    cr_assert_not_null(strstr(outcome.error.message, "lock the subject meanwhile"), "%s", outcome.error.message);
    struct store *copy = copy_of(store);
    advance_to_end(copy, &telling);
    fixture_must(copy, offboard(LIMIT_SWEEPS_KEPT), T0);
    store_free(copy);
    store_free(store);
}

/* Every way, and a restore before each of its slices: events, digests and snapshots stay those of the other store. */
static void restored_goes_on_equally(struct command sweep, uint32_t n)
{
    struct store *store = fixture_store(NULL);
    struct telling a = {0}, b = {0};
    struct command root = fixture_request(1);
    root.terms.resource = slice_str("db/*");
    root.terms.duration_ms = 600000;
    fixture_open(store, "P");
    fixture_must(store, root, T0);
    approve(store, 1);
    /* Their ids are in another order than their requests, and so are the slots in a restored store. */
    for (uint64_t i = 0; i < n; i++) {
        struct command command = fixture_request(2 + (i * 7919) % n);
        command.terms.subject = slice_str("user:dev1");
        command.terms.ticket = slice_str("T-1");
        command.terms.policy = slice_str("P");
        command.terms.parent = fixture_id(1);
        if (i % 5 == 0)
            command.terms.pending_until_ms = T0 + 3;
        if (i % 50 == 7)
            command.principal = slice_str("user:req2");
        fixture_must(store, command, T0);
        if (i % 3 != 0)
            approve(store, 2 + (i * 7919) % n);
    }
    struct store *copy = copy_of(store), *by_id = copy_of(store);
    store_free(store);
    store = by_id;
    int64_t now = T0;
    (void)tell(store, sweep, now, &a);
    (void)tell(copy, sweep, now, &b);
    cr_assert_eq(a.ended, 0);
    for (uint32_t i = 0; a.ended == 0; i++) {
        cr_assert(i < 200, "it comes to an end");
        struct store *next = copy_of(copy);
        store_free(copy);
        copy = next;
        now += i % 3 == 0;
        struct command advance = fixture_advance(1 + (i * 97 + 900) % 2000);
        (void)tell(store, advance, now, &a);
        (void)tell(copy, advance, now, &b);
        cr_assert_eq(a.hash, b.hash, "slice %u", i);
        cr_assert(fixture_same_digest(store, copy), "slice %u", i);
        cr_assert_eq(store_next_due_ms(store), store_next_due_ms(copy));
    }
    cr_assert_eq(a.n_events, b.n_events);
    cr_assert(a.grants >= n / 60);
    store_free(store);
    store_free(copy);
}

Test(store_sweeps, restored_in_the_middle_of_a_walk_along_an_index)
{
    restored_goes_on_equally(by_subject("user:dev1"), MANY);
    restored_goes_on_equally(sweep_of((struct store_filter){.approver = slice_str("user:app1")}), 2 * MANY);
    restored_goes_on_equally(sweep_of((struct store_filter){.ticket = slice_str("T-1")}), MANY);
    restored_goes_on_equally(sweep_of((struct store_filter){.policy = slice_str("P")}), MANY);
    restored_goes_on_equally(by_resource("db/prod/orders"), MANY);
}

Test(store_sweeps, restored_in_the_middle_of_a_walk_that_finds_little)
{
    struct command sweep = by_subject("user:dev1");
    sweep.filter.requester = slice_str("user:req2");
    restored_goes_on_equally(sweep, 3 * LIMIT_SWEEP_LOOKS + 100);
}

Test(store_sweeps, restored_in_the_middle_of_a_walk_along_children)
{
    restored_goes_on_equally(sweep_of((struct store_filter){.parent = fixture_id(1)}), MANY);
}

Test(store_sweeps, restored_while_collecting_and_while_ending_what_was_collected)
{
    restored_goes_on_equally(by_resource("db/prod/*"), 2 * LIMIT_SWEEP_SCAN + 1000);
    restored_goes_on_equally(
        sweep_of((struct store_filter){.requester = slice_str("user:req1"), .states = 1u << GRANT_ACTIVE}), 2 * MANY);
}
