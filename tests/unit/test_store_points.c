/* Enforcement points in the store: who may register, what their sessions are, and that snapshots keep it all. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

#include "base/check.h"
#include "points_fixture.h"

/* --- registration ------------------------------------------------------------------------------------------------- */

Test(store_points, a_registered_point_can_be_seen)
{
    struct store *store = fixture_store(NULL);
    struct store_outcome outcome = fixture_must(store, fixture_register("edge-1", 1, "db/* web/*"), T0 + 5);
    struct point point;
    cr_assert(store_point_get(store, fixture_random_id(1), &point));
    cr_assert(slice_equal(point.id, slice_str("edge-1")));
    cr_assert(slice_equal(point.principal, slice_str("user:ep")));
    cr_assert(slice_equal(point.scope, slice_str("db/* web/*")));
    cr_assert_eq(point.lease_ms, 3000);
    cr_assert_eq(point.revision, outcome.revision);
    cr_assert_eq(point.registered_ms, T0 + 5);
    cr_assert_not(point.fenced);
    cr_assert_not(store_point_get(store, fixture_random_id(2), &point));
    points_finish(store);
}

Test(store_points, points_are_listed_by_id_and_then_by_age)
{
    static const char *const ids[] = {"b", "a", "c", "a"};
    static const char *const order[] = {"a", "a", "b", "c"};
    struct store *store = fixture_store(NULL);
    struct point point;
    uint64_t last = 0;
    for (uint64_t i = 0; i < 4; i++)
        fixture_must(store, fixture_register(ids[i], 10 + i, SCOPE), T0);
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert(store_point_at(store, i, &point));
        cr_assert(slice_equal(point.id, slice_str(order[i])));
        if (i == 1)
            cr_assert_gt(point.revision, last);
        last = point.revision;
    }
    cr_assert_not(store_point_at(store, 4, &point));
    cr_assert_eq(store_points(store), 4);
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert(store_point_at(store, i, &point));
        cr_assert_eq(store_point_behind(store, point.id, point.revision), i + 1);
        cr_assert_eq(store_point_behind(store, point.id, point.revision - 1), i);
    }
    cr_assert_eq(store_point_behind(store, slice_str("0"), 99), 0, "one that is gone, or never was");
    cr_assert_eq(store_point_behind(store, slice_str("d"), 0), 4);
    points_finish(store);
}

Test(store_points, a_new_instance_fences_the_older_one)
{
    struct store *store = fixture_store(NULL);
    struct points_log log;
    struct point point;
    points_told(store, fixture_register("edge-1", 1, SCOPE), T0, &log);
    cr_assert_eq(log.n, 1);
    struct store_outcome outcome = points_told(store, fixture_register("edge-1", 2, SCOPE), T0, &log);
    cr_assert_eq(log.n, 2);
    cr_assert_eq(log.types[0], STORE_EVENT_POINT_FENCED);
    cr_assert_eq(log.types[1], STORE_EVENT_POINT_REGISTERED);
    cr_assert_eq(log.point.revision, outcome.revision);
    cr_assert(store_point_get(store, fixture_random_id(1), &point) && point.fenced);
    cr_assert(store_point_get(store, fixture_random_id(2), &point) && !point.fenced);
    /* The one that is fenced already is not fenced again. */
    points_told(store, fixture_register("edge-1", 3, SCOPE), T0, &log);
    cr_assert_eq(log.n, 2);
    points_finish(store);
}

Test(store_points, the_same_instance_again_changes_nothing)
{
    struct store *store = fixture_store(NULL);
    struct points_log log;
    struct store_outcome first = fixture_must(store, fixture_register("edge-1", 1, SCOPE), T0);
    struct command newer = fixture_register("edge-1", 2, SCOPE);
    newer.key = fixture_key(3);
    fixture_must(store, newer, T0);
    struct command again = fixture_register("edge-1", 1, SCOPE);
    again.key = fixture_key(4);
    struct store_outcome outcome = points_told(store, again, T0 + 1, &log);
    cr_assert_eq(log.n, 0);
    cr_assert(outcome.repeated);
    cr_assert_eq(outcome.revision, first.revision);
    again.lease_ms++;
    again.key = fixture_key(5);
    cr_assert_eq(fixture_apply(store, again, T0).error.code, LAPSE_ALREADY_EXISTS);
    cr_assert_eq(fixture_apply(store, fixture_register("edge-2", 1, SCOPE), T0).error.code, LAPSE_ALREADY_EXISTS);
    cr_assert_eq(fixture_apply(store, fixture_register("edge-1", 1, "*"), T0).error.code, LAPSE_ALREADY_EXISTS);
    points_finish(store);
}

Test(store_points, a_request_key_is_for_one_scope)
{
    struct store *store = fixture_store(NULL);
    struct command bind = points_bind("user:ep", ROLE_ENFORCER, "db/*");
    bind.key = fixture_key(1);
    fixture_must(store, bind, T0);
    cr_assert(fixture_must(store, bind, T0).repeated);
    bind.scope = slice_str("web/*");
    cr_assert_eq(fixture_apply(store, bind, T0).error.code, LAPSE_ALREADY_EXISTS);
    points_finish(store);
}

Test(store_points, an_id_belongs_to_who_registered_it_while_it_is_registered)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, points_bind("user:ep2", ROLE_ENFORCER, ""), T0);
    fixture_must(store, fixture_register("edge-1", 1, SCOPE), T0);
    struct command other = fixture_register("edge-1", 2, SCOPE);
    other.principal = slice_str("user:ep2");
    cr_assert_eq(fixture_apply(store, other, T0).error.code, LAPSE_PERMISSION_DENIED);
    fixture_must(store, points_end(1, POINT_END_LEFT), T0);
    fixture_must(store, other, T0);
    points_finish(store);
}

Test(store_points, only_four_instances_of_an_id_may_wait_for_their_end)
{
    struct store *store = fixture_store(NULL);
    for (uint64_t i = 1; i <= LIMIT_POINT_INSTANCES; i++)
        fixture_must(store, fixture_register("edge-1", i, SCOPE), T0);
    cr_assert_eq(fixture_apply(store, fixture_register("edge-1", 9, SCOPE), T0).error.code, LAPSE_RESOURCE_EXHAUSTED);
    fixture_must(store, points_end(1, POINT_END_FENCED), T0);
    fixture_must(store, fixture_register("edge-1", 9, SCOPE), T0);
    points_finish(store);
}

Test(store_points, only_an_enforcer_registers_and_only_what_it_may_guard)
{
    struct store *store = fixture_store(NULL);
    struct command command = fixture_register("edge-1", 1, "db/prod/*");
    command.principal = slice_str("user:app1");
    cr_assert_eq(fixture_apply(store, command, T0).error.code, LAPSE_PERMISSION_DENIED);
    fixture_must(store, points_bind("user:ep", ROLE_ENFORCER, "db/prod/*"), T0);
    cr_assert_eq(fixture_apply(store, fixture_register("edge-1", 1, "db/*"), T0).error.code, LAPSE_PERMISSION_DENIED);
    cr_assert_eq(fixture_apply(store, fixture_register("edge-1", 1, "db/prod/* web"), T0).error.code,
                 LAPSE_PERMISSION_DENIED);
    fixture_must(store, fixture_register("edge-1", 1, "db/prod/a db/prod/b/*"), T0);
    points_finish(store);
}

Test(store_points, what_an_enforcer_may_guard_is_the_union_of_its_bindings)
{
    struct store *store = fixture_store(NULL);
    struct slice ep1 = slice_str("user:e1"), ep2 = slice_str("user:e2"), app = slice_str("user:app1");
    fixture_must(store, points_bind("user:e*", ROLE_ENFORCER, "db/*"), T0);
    fixture_must(store, points_bind("user:e1", ROLE_ENFORCER | ROLE_AUDITOR, "web"), T0);
    fixture_must(store, points_bind("user:*", ROLE_ENFORCER, "mail"), T0);
    fixture_must(store, points_bind("user:ep", ROLE_ENFORCER, ""), T0);
    cr_assert(store_may_guard(store, ep1, slice_str("db/x web")));
    cr_assert(store_may_guard(store, ep2, slice_str("db/x")));
    cr_assert(store_may_guard(store, ep1, slice_str("db/x mail web")), "each prefix counts, not the longest only");
    cr_assert_not(store_may_guard(store, ep2, slice_str("db/x web")));
    cr_assert_not(store_may_guard(store, ep2, slice_str("*")));
    cr_assert_not(store_may_guard(store, ep2, slice_str("")));
    cr_assert(store_may_guard(store, slice_str("user:ep"), slice_str("*")), "a binding without a scope lets all");
    cr_assert(store_guards(store, ep2, slice_str("*")));
    cr_assert(store_guards(store, ep2, slice_str("db/x/*")));
    cr_assert_not(store_guards(store, ep2, slice_str("web")));
    cr_assert_not(store_guards(store, app, slice_str("db/x")));
    cr_assert(store_guards(store, app, slice_str("mail")));
    struct store_role_binding binding;
    bool seen = false;
    for (uint32_t i = 0; store_role_at(store, i, &binding); i++)
        seen = seen ||
               (slice_equal(binding.member, slice_str("user:e*")) && slice_equal(binding.scope, slice_str("db/*")));
    cr_assert(seen);
    points_finish(store);
}

Test(store_points, a_scoped_enforcer_uses_only_grants_that_it_guards)
{
    struct store *store = fixture_store(NULL);
    points_activate(store, 1);
    fixture_must(store, points_bind("user:ep", ROLE_ENFORCER, "web/*"), T0);
    cr_assert_eq(fixture_apply(store, fixture_about(COMMAND_USE, 1, "user:ep"), T0).error.code,
                 LAPSE_PERMISSION_DENIED);
    fixture_must(store, points_bind("user:ep", ROLE_ENFORCER, "db/prod/*"), T0);
    fixture_must(store, fixture_about(COMMAND_USE, 1, "user:ep"), T0);
    points_finish(store);
}

/* --- sessions ----------------------------------------------------------------------------------------------------- */

Test(store_points, a_session_begins_and_ends)
{
    struct store *store = fixture_store(NULL);
    struct points_log log;
    struct session seen;
    struct point point;
    fixture_must(store, fixture_register("edge-1", 1, SCOPE), T0);
    points_activate(store, 1);
    points_told(store, points_session(COMMAND_SESSION_BEGIN, 5, 1, 1), T0 + 1, &log);
    cr_assert_eq(log.types[0], STORE_EVENT_SESSION_BEGAN);
    cr_assert(store_session_get(store, fixture_random_id(5), &seen));
    cr_assert(slice_equal(seen.point, slice_str("edge-1")));
    cr_assert(slice_equal(seen.description, slice_str("sshd pts/3")));
    cr_assert_eq(seen.began_ms, T0 + 1);
    points_told(store, points_session(COMMAND_SESSION_BEGIN, 5, 1, 1), T0 + 2, &log);
    cr_assert_eq(log.n, 0, "told again");
    cr_assert(store_point_get(store, fixture_random_id(1), &point) && point.sessions == 1);
    points_told(store, points_session(COMMAND_SESSION_END, 5, 1, 0), T0 + 3, &log);
    cr_assert_eq(log.types[0], STORE_EVENT_SESSION_ENDED);
    cr_assert_not(store_session_get(store, fixture_random_id(5), &seen));
    cr_assert_eq(fixture_apply(store, points_session(COMMAND_SESSION_END, 5, 1, 0), T0 + 3).error.code,
                 LAPSE_NOT_FOUND);
    points_finish(store);
}

Test(store_points, a_session_needs_its_point_and_an_active_grant_in_scope)
{
    struct store *store = fixture_store(NULL);
    struct command command = points_session(COMMAND_SESSION_BEGIN, 5, 1, 1);
    cr_assert_eq(fixture_apply(store, command, T0).error.code, LAPSE_NOT_FOUND, "no such instance");
    fixture_must(store, fixture_register("edge-1", 1, SCOPE), T0);
    fixture_must(store, fixture_register("edge-2", 2, SCOPE), T0);
    cr_assert_eq(fixture_apply(store, command, T0).error.code, LAPSE_NOT_FOUND, "no such grant");
    fixture_must(store, fixture_request(1), T0);
    cr_assert_eq(fixture_apply(store, command, T0).error.code, LAPSE_FAILED_PRECONDITION, "pending");
    fixture_must(store, fixture_about(COMMAND_APPROVE, 1, "user:app1"), T0);
    cr_assert_eq(fixture_apply(store, command, T0 + 60000).error.code, LAPSE_FAILED_PRECONDITION, "past its deadline");
    points_activate_on(store, 2, "web");
    points_activate(store, 3);
    cr_assert_eq(fixture_apply(store, points_session(COMMAND_SESSION_BEGIN, 5, 1, 2), T0).error.code,
                 LAPSE_PERMISSION_DENIED);
    fixture_must(store, points_bind("user:ep2", ROLE_ENFORCER, ""), T0);
    command = points_session(COMMAND_SESSION_BEGIN, 5, 1, 3);
    command.principal = slice_str("user:ep2");
    cr_assert_eq(fixture_apply(store, command, T0).error.code, LAPSE_PERMISSION_DENIED, "another's instance");
    command.principal = slice_str("user:ep");
    fixture_must(store, command, T0);
    command.text = slice_str("another");
    cr_assert_eq(fixture_apply(store, command, T0).error.code, LAPSE_ALREADY_EXISTS);
    cr_assert_eq(fixture_apply(store, points_session(COMMAND_SESSION_END, 5, 2, 0), T0).error.code, LAPSE_NOT_FOUND,
                 "only the point that began it ends it");
    points_finish(store);
}

Test(store_points, sessions_go_with_their_point_without_a_word)
{
    struct store *store = fixture_store(NULL);
    struct points_log log;
    struct session seen;
    struct store_counts counts;
    fixture_must(store, fixture_register("edge-1", 1, SCOPE), T0);
    fixture_must(store, fixture_register("edge-2", 2, SCOPE), T0);
    points_activate(store, 1);
    for (uint64_t i = 1; i <= 300; i++)
        fixture_must(store, points_session(COMMAND_SESSION_BEGIN, i, 1 + i % 2, 1), T0);
    fixture_must(store, points_session(COMMAND_SESSION_END, 150, 1, 0), T0);
    /* Its barrier remembers the point. */
    points_activate(store, 2);
    uint64_t id = points_revoke(store, 2);
    points_told(store, points_end(1, POINT_END_LAPSED), T0, &log);
    cr_assert_eq(log.n, 1);
    cr_assert_eq(points_barrier(store, id).lapsed, 1);
    cr_assert_eq(log.point.sessions, 149);
    cr_assert_not(store_session_get(store, fixture_random_id(2), &seen));
    cr_assert(store_session_get(store, fixture_random_id(3), &seen));
    store_counts(store, &counts);
    cr_assert_eq(counts.sessions, 150);
    points_finish(store);
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

Test(store_points, a_principal_has_a_share_of_the_points)
{
    struct store *store = points_store(LIMIT_POINTS_PER_PRINCIPAL);
    struct command command = fixture_register("one-more", 1, SCOPE);
    command.principal = slice_str("user:e0");
    cr_assert_eq(fixture_apply(store, command, T0).error.code, LAPSE_RESOURCE_EXHAUSTED);
    command.principal = slice_str("user:e1");
    fixture_must(store, command, T0);
    store_free(store);
}

/* A point may have its share of the sessions, and all points together no more than there are. */
Test(store_points, G8_bounded_sessions_are_refused_beyond_their_limits, .timeout = 300)
{
    struct store *store = fixture_store(NULL);
    const uint64_t points = LIMIT_SESSIONS / LIMIT_SESSIONS_PER_POINT;
    struct store_counts counts;
    fixture_must(store, points_bind("user:ep", ROLE_ENFORCER, ""), T0);
    points_activate(store, 1);
    for (uint64_t p = 1; p <= points + 1; p++) {
        char id[32];
        (void)snprintf(id, sizeof id, "edge-%u", (unsigned)p);
        fixture_must(store, fixture_register(id, p, SCOPE), T0);
    }
    for (uint64_t p = 1; p <= points; p++) {
        for (uint64_t i = 0; i < LIMIT_SESSIONS_PER_POINT; i++)
            fixture_must(store, points_session(COMMAND_SESSION_BEGIN, p << 32 | i, p, 1), T0 + 1);
        struct store_outcome outcome =
            fixture_apply(store, points_session(COMMAND_SESSION_BEGIN, p << 32 | 1u << 31, p, 1), T0 + 1);
        cr_assert_eq(outcome.error.code, LAPSE_RESOURCE_EXHAUSTED);
        cr_assert(strstr(outcome.error.message, p < points ? "at this point" : "sessions are open, which"));
    }
    struct store_outcome outcome =
        fixture_apply(store, points_session(COMMAND_SESSION_BEGIN, 1, points + 1, 1), T0 + 1);
    cr_assert_eq(outcome.error.code, LAPSE_RESOURCE_EXHAUSTED, "another point has none either");
    fixture_must(store, points_session(COMMAND_SESSION_END, 1ull << 32, 1, 0), T0 + 1);
    fixture_must(store, points_session(COMMAND_SESSION_BEGIN, 1, points + 1, 1), T0 + 1);
    store_counts(store, &counts);
    cr_assert_eq(counts.sessions, LIMIT_SESSIONS);
    points_finish(store);
}

/* --- snapshots ---------------------------------------------------------------------------------------------------- */

/* A little of everything: points in each state, barriers in each, sessions. */
static struct store *store_of_everything(void)
{
    struct store *store = fixture_store(NULL);
    uint64_t ids[5];
    fixture_must(store, points_bind("user:ep", ROLE_ENFORCER, "db/* web/*"), T0);
    fixture_must(store, fixture_register("edge-1", 1, SCOPE), T0);
    fixture_must(store, fixture_register("edge-1", 2, SCOPE), T0);
    fixture_must(store, fixture_register("edge-2", 3, "db/prod/orders web/*"), T0);
    fixture_must(store, fixture_register("edge-3", 4, SCOPE), T0);
    /* Two whose revisions are a bit apart, one of them in no barrier: a receipt can be damaged into the other's. */
    while (store_revision(store) % 2 == 0)
        fixture_must(store, points_bind("user:x", ROLE_AUDITOR, ""), T0);
    fixture_must(store, fixture_register("edge-4", 5, SCOPE), T0);
    fixture_must(store, fixture_register("edge-5", 8, "web/*"), T0);
    for (uint64_t i = 0; i < 4; i++)
        points_activate(store, i + 1);
    points_activate_on(store, 5, "other");
    fixture_must(store, points_session(COMMAND_SESSION_BEGIN, 7, 2, 4), T0);
    fixture_must(store, points_session(COMMAND_SESSION_BEGIN, 6, 3, 4), T0);
    for (uint64_t i = 0; i < 3; i++)
        ids[i] = points_revoke(store, i + 1);
    ids[3] = points_revoke(store, 5);
    for (uint64_t i = 1; i <= 4; i++)
        fixture_must(store, fixture_receipt(ids[1], i, i == 2 ? RECEIPT_FAILED : RECEIPT_ENFORCED, T0 + 2), T0 + 2);
    fixture_must(store, fixture_receipt(ids[0], 4, RECEIPT_LAPSED, T0 + 3), T0 + 3);
    fixture_must(store, fixture_receipt(ids[2], 3, RECEIPT_ENFORCED, T0 + 3), T0 + 3);
    return store;
}

Test(store_points, any_damaged_byte_of_a_snapshot_is_noticed)
{
    struct store *store = store_of_everything();
    struct buf bytes = fixture_snapshot(store, 100000);
    for (size_t i = 0; i < bytes.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            struct lapse_error error = {0};
            bytes.data[i] ^= (uint8_t)(1 << bit);
            struct store *restored = fixture_restore(buf_slice(&bytes), 1 << 20, NULL, &error);
            cr_assert_null(restored, "byte %zu bit %d", i, bit);
            bytes.data[i] ^= (uint8_t)(1 << bit);
        }
    buf_free(&bytes);
    points_finish(store);
}

static struct buf read_view(struct store_view *view)
{
    struct buf bytes;
    bool done = false;
    buf_init(&bytes, 1u << 24);
    while (!done) {
        lapse_result result = store_view_read(view, 300, &bytes, &done);
        cr_assert(lapse_is_ok(result));
    }
    return bytes;
}

Test(store_points, a_view_keeps_points_and_receipts_as_they_were)
{
    struct store *store = store_of_everything();
    struct buf before = fixture_snapshot(store, 100000);
    for (int round = 0; round < 3; round++) {
        struct barrier open;
        struct store_view *view = store_freeze(store);
        uint64_t base = 100 + (uint64_t)round * 10;
        fixture_must(store, fixture_register("edge-9", base, SCOPE), T0 + 4);
        points_activate(store, base);
        uint64_t id = points_revoke(store, base);
        fixture_must(store, points_session(COMMAND_SESSION_BEGIN, base, base, 4), T0 + 4);
        for (uint64_t after = 0; store_barrier_next_open(store, after, &open); after = open.id)
            fixture_must(store, fixture_receipt(open.id, 2, RECEIPT_FAILED, T0 + 5), T0 + 5);
        fixture_must(store, fixture_receipt(id, base, RECEIPT_LEFT, T0 + 6), T0 + 6);
        struct buf seen = read_view(view);
        store_view_free(view);
        cr_assert(slice_equal(buf_slice(&before), buf_slice(&seen)), "round %d", round);
        buf_free(&seen);
        buf_free(&before);
        before = fixture_snapshot(store, 100000);
    }
    buf_free(&before);
    points_finish(store);
}

static void *read_on_thread(void *arg)
{
    static struct buf bytes;
    bytes = read_view(arg);
    return &bytes;
}

/* Under a thread sanitizer it also shows that owner and reader touch nothing in common. */
Test(store_points, a_view_of_points_is_read_on_another_thread_while_the_owner_applies)
{
    struct store *store = store_of_everything();
    for (uint64_t i = 100; i < 400; i++) {
        points_activate(store, i);
        fixture_must(store, points_session(COMMAND_SESSION_BEGIN, i, 2, i), T0 + 4);
        if (i % 2 == 0)
            points_revoke(store, i);
    }
    struct buf before = fixture_snapshot(store, 100000);
    struct store_view *view = store_freeze(store);
    pthread_t reader;
    void *seen = NULL;
    cr_assert_eq(pthread_create(&reader, NULL, read_on_thread, view), 0);
    for (uint64_t i = 100; i < 400; i++) {
        struct barrier open;
        fixture_must(store, fixture_register("edge-9", i, SCOPE), T0 + 4);
        if (store_barrier_next_open(store, 0, &open))
            for (uint64_t instance = 1; instance < 6; instance++)
                fixture_must(store, fixture_receipt(open.id, instance, RECEIPT_ENFORCED, T0 + 5), T0 + 5);
        if (i % 2 == 1)
            points_revoke(store, i);
        fixture_must(store, points_session(COMMAND_SESSION_END, i, 2, 0), T0 + 5);
        fixture_must(store, points_end(i, POINT_END_LEFT), T0 + 5);
    }
    cr_assert_eq(pthread_join(reader, &seen), 0);
    struct buf *bytes = seen;
    cr_assert(slice_equal(buf_slice(&before), buf_slice(bytes)));
    store_view_free(view);
    buf_free(bytes);
    buf_free(&before);
    points_finish(store);
}
