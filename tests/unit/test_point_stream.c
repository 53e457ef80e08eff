/* A point's stream on its edge: in which order things happen, what the point gets, what it may say, and how it ends.
 * What a core and a cluster make of it is in tests/e2e/test_enforcement.py. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/wire.h"
#include "proto/encode.h"
#include "proto/grpc_client.h"
#include "store/lock.h"
#include "tests/unit/point_stream_fixture.h"

#define KIND(name) lapse_v1_SubscribeResponse_##name##_tag
#define SAYS(name) lapse_v1_SubscribeRequest_##name##_tag

TestSuite(point_stream, .init = fixture_begin, .fini = fixture_end);

static void assert_ended(enum lapse_code code, const char *word)
{
    cr_assert(f.ended, "the stream goes on");
    cr_assert_eq(f.code, code, "%s: %s", lapse_code_name(f.code), f.message);
    cr_assert_not_null(strstr(f.message, word), "\"%s\" has no \"%s\"", f.message, word);
}

static void put_in_snapshot(const char *resource)
{
    const struct grant grant = {.id = some_grant(), .state = GRANT_ACTIVE, .resource = slice_str(resource)};
    struct wire_writer writer = wire_writer(&f.snapshot);
    struct buf message;
    buf_init(&message, LIMIT_MESSAGE_OUT);
    cr_assert(lapse_is_ok(proto_encode_watch_grant(EPOCH, &grant, &message)));
    wire_put_bytes(&writer, 1, buf_slice(&message));
    buf_free(&message);
}

/* --- registration ---------------------------------------------------------------------------------------------------
 */

Test(point_stream, a_new_point_is_checked_registered_admitted_and_gets_a_snapshot)
{
    lapse_v1_SubscribeRequest first = registration();
    first.kind.registration.scope_count = 3;
    strcpy(first.kind.registration.scope[0], "db/test/*");
    strcpy(first.kind.registration.scope[1], "db/prod/*");
    strcpy(first.kind.registration.scope[2], "db/test/*");
    put_in_snapshot("db/prod/orders");
    f.registered_revision = 90;
    subscribe(&first);
    cr_assert_eq(f.n_guard, 1);
    cr_assert_eq(f.written[0].type, COMMAND_REGISTER);
    cr_assert_str_eq(f.scope, "db/prod/* db/test/*", "sorted, each once");
    cr_assert_str_eq(f.texts[0], "edge-1");
    cr_assert_eq(f.written[0].lease_ms, LIMIT_LEASE_MS_DEFAULT);
    cr_assert_eq(f.n_opened, 1);
    cr_assert_eq(f.n_seen, 0, "nothing before the leader has admitted it");
    f.point->on_admitted(f.owner, 100, false);
    fixture_run();
    cr_assert_eq(f.n_seen, 3);
    cr_assert_eq(f.seen[0].kind, KIND(registered));
    cr_assert_eq(f.seen[0].revision, 100);
    cr_assert_eq(f.seen[0].number, 3000);
    cr_assert_eq(f.seen[0].time_us, 3, "the node's id");
    cr_assert_eq(f.seen[1].kind, KIND(snapshot_grant));
    cr_assert_eq(f.seen[2].kind, KIND(snapshot_end));
    cr_assert_eq(f.seen[2].revision, 100);
    cr_assert_eq(metric_get(METRIC_POINT_STREAMS), 1);
}

Test(point_stream, the_same_instance_registers_with_the_same_key_and_another_one_with_another)
{
    lapse_v1_SubscribeRequest first = registration();
    for (int i = 0; i < 3; i++) {
        first.kind.registration.instance.bytes[0] = (pb_byte_t)(i == 2);
        subscribe(&first);
        f.point->on_ended(f.owner, LEASE_END_REPLACED);
        fixture_run();
    }
    cr_assert_arr_eq(&f.written[0].key, &f.written[1].key, sizeof f.written[0].key);
    cr_assert_arr_neq(&f.written[0].key, &f.written[2].key, sizeof f.written[0].key);
}

Test(point_stream, P1_who_comes_back_after_another_took_its_id_is_fenced_and_does_not_register)
{
    lapse_v1_SubscribeRequest first = registration();
    subscribe(&first);
    cr_assert_str_eq(f.asked_point, "", "a new one isn't looked for");
    f.point->on_ended(f.owner, LEASE_END_REPLACED);
    fixture_run();
    uint32_t written = f.n_written;
    first.kind.registration.epoch = EPOCH;
    first.kind.registration.revision = 90;
    f.superseded = true;
    subscribe(&first);
    cr_assert_str_eq(f.asked_point, "edge-1");
    assert_ended(LAPSE_FAILED_PRECONDITION, "newer instance");
    cr_assert_eq(last_seen(KIND(ended))->number, LEASE_END_FENCED);
    cr_assert_eq(f.n_written, written);
}

Test(point_stream, P2_it_is_served_only_from_a_ring_that_holds_what_it_was_admitted_at)
{
    const lapse_v1_SubscribeRequest first = registration();
    subscribe(&first);
    f.point->on_admitted(f.owner, 102, false);
    fixture_run();
    cr_assert_eq(f.n_seen, 0);
    (void)append_event(STORE_EVENT_REQUESTED, GRANT_PENDING, "x");
    fixture_run();
    cr_assert_eq(f.n_seen, 0);
    (void)append_event(STORE_EVENT_REQUESTED, GRANT_PENDING, "x");
    fixture_run();
    cr_assert_eq(last_seen(KIND(snapshot_end))->revision, 102);
    f.point->on_admitted(f.owner, 103, true);
    fixture_run();
    cr_assert_eq(count_seen(KIND(registered)), 1, "another leader's admission changes nothing");
}

static const struct bad_registration {
    const char *what, *id, *scope, *word;
    uint32_t lease_ms, instance_size;
    bool zero;
    enum lapse_code code;
} bad_registrations[] = {
    {"no id", "", "a/*", "id", 0, 16, false, LAPSE_INVALID_ARGUMENT},
    {"an id with a space", "edge 1", "a/*", "id", 0, 16, false, LAPSE_INVALID_ARGUMENT},
    {"no scope", "edge-1", "", "scope", 0, 16, false, LAPSE_INVALID_ARGUMENT},
    {"a scope with an asterisk inside", "edge-1", "a/*/b", "resource", 0, 16, false, LAPSE_INVALID_ARGUMENT},
    {"two patterns in one", "edge-1", "a/* b/*", "resource", 0, 16, false, LAPSE_INVALID_ARGUMENT},
    {"a lease too short", "edge-1", "a/*", "lease", 999, 16, false, LAPSE_OUT_OF_RANGE},
    {"a lease too long", "edge-1", "a/*", "lease", 60001, 16, false, LAPSE_OUT_OF_RANGE},
    {"a short instance", "edge-1", "a/*", "instance", 0, 15, false, LAPSE_INVALID_ARGUMENT},
    {"no instance", "edge-1", "a/*", "instance", 0, 0, false, LAPSE_INVALID_ARGUMENT},
    {"an instance of zeros", "edge-1", "a/*", "instance", 0, 16, true, LAPSE_INVALID_ARGUMENT},
};

Test(point_stream, a_malformed_registration_is_refused_before_the_core_hears_of_it)
{
    for (size_t i = 0; i < sizeof bad_registrations / sizeof bad_registrations[0]; i++) {
        const struct bad_registration *bad = &bad_registrations[i];
        lapse_v1_SubscribeRequest first = registration();
        lapse_v1_Registration *terms = &first.kind.registration;
        (void)snprintf(terms->id, sizeof terms->id, "%s", bad->id);
        (void)snprintf(terms->scope[0], sizeof terms->scope[0], "%s", bad->scope);
        terms->scope_count = bad->scope[0] != '\0';
        terms->lease_ms = bad->lease_ms;
        terms->instance.size = (pb_size_t)bad->instance_size;
        memset(terms->instance.bytes, bad->zero ? 0 : 1, 16);
        subscribe(&first);
        cr_assert(f.ended, "%s", bad->what);
        assert_ended(bad->code, bad->word);
    }
    cr_assert_eq(f.n_guard + f.n_written, 0);
}

Test(point_stream, a_scope_that_is_too_long_together_is_refused)
{
    lapse_v1_SubscribeRequest first = registration();
    first.kind.registration.scope_count = 8;
    for (int i = 0; i < 8; i++) {
        memset(first.kind.registration.scope[i], 'a' + i, 200);
        first.kind.registration.scope[i][200] = '\0';
    }
    subscribe(&first);
    assert_ended(LAPSE_INVALID_ARGUMENT, "1024");
}

Test(point_stream, the_first_message_must_be_a_registration)
{
    subscribe(&(lapse_v1_SubscribeRequest){.which_kind = SAYS(ping)});
    assert_ended(LAPSE_INVALID_ARGUMENT, "registration");
    subscribe_bytes(slice_of(NULL, 0));
    cr_assert_not(f.ended, "none was sent yet");
    grpc_request_half_close(f.request);
    fixture_run();
    assert_ended(LAPSE_INVALID_ARGUMENT, "registration");
}

Test(point_stream, a_second_registration_ends_the_stream)
{
    const lapse_v1_SubscribeRequest again = registration();
    be_served();
    say(&again);
    assert_ended(LAPSE_INVALID_ARGUMENT, "one registration");
}

Test(point_stream, garbage_ends_the_stream)
{
    subscribe_bytes(slice_str("\x0a\xff\xff\xff garbage"));
    assert_ended(LAPSE_INVALID_ARGUMENT, "schema");
    be_served();
    (void)grpc_request_send(f.request, slice_str("\x1a\xff\x01"));
    fixture_run();
    assert_ended(LAPSE_INVALID_ARGUMENT, "schema");
    cr_assert_eq(f.n_closed, 1);
}

Test(point_stream, a_scope_that_its_principal_may_not_guard_is_refused_without_a_write)
{
    const lapse_v1_SubscribeRequest first = registration();
    (void)lapse_fail(&f.guard, LAPSE_PERMISSION_DENIED, "not an enforcer of this scope");
    subscribe(&first);
    assert_ended(LAPSE_PERMISSION_DENIED, "not an enforcer");
    cr_assert_eq(f.n_written, 0);
}

Test(point_stream, what_the_store_says_about_the_registration_is_what_the_point_hears)
{
    const lapse_v1_SubscribeRequest first = registration();
    (void)lapse_fail(&f.write, LAPSE_RESOURCE_EXHAUSTED, "too many instances of this id");
    subscribe(&first);
    assert_ended(LAPSE_RESOURCE_EXHAUSTED, "too many instances");
    cr_assert_eq(f.n_opened, 0);
}

Test(point_stream, an_instance_that_was_over_before_it_connected_is_told_so)
{
    const lapse_v1_SubscribeRequest first = registration();
    (void)lapse_fail(&f.write, LAPSE_FAILED_PRECONDITION, "this instance has ended");
    subscribe(&first);
    assert_ended(LAPSE_ABORTED, "register as a new instance");
    cr_assert_eq(last_seen(KIND(ended))->number, LEASE_END_UNKNOWN);
    cr_assert_eq(f.n_opened, 0);
}

Test(point_stream, G8_bounded_a_principal_with_too_many_streams_is_refused)
{
    const lapse_v1_SubscribeRequest second = registration();
    be_served();
    struct grpc_request *first = f.request;
    subscribe(&second); /* the fixture allows one */
    assert_ended(LAPSE_RESOURCE_EXHAUSTED, "in flight");
    f.request = first;
}

/* --- resuming -------------------------------------------------------------------------------------------------------
 */

static void resume(uint64_t epoch, uint64_t revision)
{
    lapse_v1_SubscribeRequest first = registration();
    first.kind.registration.epoch = epoch;
    first.kind.registration.revision = revision;
    subscribe(&first);
    if (f.point != NULL)
        f.point->on_admitted(f.owner, newest(), false);
    fixture_run();
}

Test(point_stream, G7_gapless_a_point_resumes_behind_its_cursor)
{
    (void)append_event(STORE_EVENT_ACTIVATED, GRANT_ACTIVE, "db/prod/a");
    (void)append_event(STORE_EVENT_REVOKED, GRANT_REVOKED, "db/prod/a");
    resume(EPOCH, 101);
    cr_assert_eq(f.n_scans, 0);
    cr_assert_eq(f.n_seen, 2, "registered, and the revocation");
    cr_assert_eq(f.seen[1].revision, 102);
    cr_assert_eq(f.seen[1].number, STORE_EVENT_REVOKED);
}

Test(point_stream, a_cursor_of_another_epoch_gets_resync_and_a_snapshot)
{
    resume(EPOCH - 1, 500);
    cr_assert_eq(f.seen[1].kind, KIND(resync));
    cr_assert_not_null(strstr(f.seen[1].text, "epoch"));
    cr_assert_eq(f.seen[2].kind, KIND(snapshot_end));
    say_ack(101, 0);
    assert_ended(LAPSE_INVALID_ARGUMENT, "101"); /* what it held elsewhere counts for nothing here */
}

Test(point_stream, a_cursor_that_fell_off_gets_resync_and_a_snapshot)
{
    int64_t resyncs = metric_get(METRIC_POINT_RESYNCS);
    resume(EPOCH, 99);
    cr_assert_eq(f.seen[1].kind, KIND(resync));
    cr_assert_eq(last_seen(KIND(snapshot_end))->revision, 100);
    cr_assert_eq(metric_get(METRIC_POINT_RESYNCS), resyncs + 1);
}

Test(point_stream, a_cursor_from_before_the_registration_gets_a_snapshot)
{
    (void)append_event(STORE_EVENT_ACTIVATED, GRANT_ACTIVE, "db/prod/a");
    f.registered_revision = 101;
    resume(EPOCH, 100);
    cr_assert_eq(f.seen[1].kind, KIND(resync));
    cr_assert_not_null(strstr(f.seen[1].text, "registration"));
}

Test(point_stream, a_revision_that_no_quorum_knows_of_is_refused_counted_and_not_registered)
{
    int64_t lies = metric_get(METRIC_POINT_FALSE_CURSORS);
    f.quorum_revision = 100;
    resume(EPOCH, 101);
    assert_ended(LAPSE_FAILED_PRECONDITION, "drop the cache");
    cr_assert_eq(metric_get(METRIC_POINT_FALSE_CURSORS), lies + 1);
    cr_assert_eq(f.n_written, 0);
}

/* --- what it gets ---------------------------------------------------------------------------------------------------
 */

Test(point_stream, it_gets_what_happens_to_usable_grants_in_its_scope_and_nothing_else)
{
    const struct grant counted = {
        .id = some_grant(), .state = GRANT_ACTIVE, .resource = slice_str("db/prod/a"), .max_uses = 3};
    be_served();
    f.n_seen = 0;
    (void)append_event(STORE_EVENT_REQUESTED, GRANT_PENDING, "db/prod/a");
    (void)append_event(STORE_EVENT_APPROVED, GRANT_APPROVED, "db/prod/a");
    uint64_t activated = append_event(STORE_EVENT_ACTIVATED, GRANT_ACTIVE, "db/prod/a");
    (void)append_event(STORE_EVENT_USED, GRANT_ACTIVE, "db/prod/a");
    uint64_t used = append(&(struct store_event){.type = STORE_EVENT_USED, .grant = &counted});
    (void)append_event(STORE_EVENT_ACTIVATED, GRANT_ACTIVE, "db/test/a");
    uint64_t wider = append_event(STORE_EVENT_ACTIVATED, GRANT_ACTIVE, "db/*");
    uint64_t expired = append_event(STORE_EVENT_EXPIRED, GRANT_EXPIRED, "db/prod/a");
    uint64_t completed = append_event(STORE_EVENT_COMPLETED, GRANT_COMPLETED, "db/prod/a");
    uint64_t exhausted = append_event(STORE_EVENT_EXHAUSTED, GRANT_EXHAUSTED, "db/prod/a");
    (void)append(&(struct store_event){.type = STORE_EVENT_ENFORCED});
    (void)append(&(struct store_event){.type = STORE_EVENT_SESSION_BEGAN});
    fixture_run();
    const uint64_t expected[] = {activated, used, wider, expired, completed, exhausted};
    cr_assert_eq(f.n_seen, sizeof expected / sizeof expected[0]);
    for (uint32_t i = 0; i < f.n_seen; i++)
        cr_assert_eq(f.seen[i].revision, expected[i]);
}

static void put_lock_in_snapshot(struct buf *slice, const char *target)
{
    const struct lock lock = {
        .name = slice_str(target), .kind = LOCK_RESOURCE, .target = slice_str(target), .revision = 1};
    struct wire_writer writer = wire_writer(slice);
    struct buf bytes;
    buf_init(&bytes, 1024);
    cr_assert(lapse_is_ok(lock_encode(&lock, &bytes)));
    size_t mark = wire_begin(&writer, 1);
    wire_put_uint(&writer, 1, EPOCH);
    wire_put_bytes(&writer, KIND(snapshot_lock), buf_slice(&bytes));
    wire_end(&writer, mark);
    buf_free(&bytes);
}

Test(point_stream, a_snapshot_shows_the_locks_behind_the_grants)
{
    lapse_v1_SubscribeRequest first = registration();
    put_in_snapshot("db/prod/orders");
    put_lock_in_snapshot(&f.locks[0], "db/prod/a");
    put_lock_in_snapshot(&f.locks[0], "web/b");
    put_lock_in_snapshot(&f.locks[1], "web/c");
    f.n_locks = 2;
    subscribe(&first);
    f.point->on_admitted(f.owner, 100, false);
    fixture_run();
    const pb_size_t kinds[] = {KIND(registered),    KIND(snapshot_grant), KIND(snapshot_lock),
                               KIND(snapshot_lock), KIND(snapshot_lock),  KIND(snapshot_end)};
    cr_assert_eq(f.n_seen, ARRAY_LEN(kinds));
    for (uint32_t i = 0; i < f.n_seen; i++)
        cr_assert_eq(f.seen[i].kind, kinds[i]);
    cr_assert_str_eq(f.seen[3].text, "web/b", "out of its scope, too");
    cr_assert_str_eq(f.seen[4].text, "web/c");
    cr_assert_eq(f.n_scans, 1);
}

static uint64_t append_lock(enum store_event_type type, enum lock_kind kind, const char *target)
{
    const struct lock lock = {.name = slice_str(target), .kind = kind, .target = slice_str(target), .revision = 1};
    struct buf bytes;
    buf_init(&bytes, 1024);
    cr_assert(lapse_is_ok(lock_encode(&lock, &bytes)));
    const struct object object = {.kind = OBJECT_LOCK, .name = lock.name, .value = buf_slice(&bytes)};
    uint64_t revision = append(&(struct store_event){.type = type, .object = &object});
    buf_free(&bytes);
    return revision;
}

Test(point_stream, it_gets_every_lock_on_a_subject_or_resource_and_no_points)
{
    be_served();
    f.n_seen = 0;
    uint64_t subject = append_lock(STORE_EVENT_LOCKED, LOCK_SUBJECT, "user:dev1");
    fixture_run();
    uint64_t resource = append_lock(STORE_EVENT_LOCKED, LOCK_RESOURCE, "web/*");
    fixture_run();
    (void)append_lock(STORE_EVENT_LOCKED, LOCK_POINT, "edge-2");
    fixture_run();
    uint64_t lifted = append_lock(STORE_EVENT_UNLOCKED, LOCK_RESOURCE, "web/*");
    fixture_run();
    const struct object policy = {.kind = OBJECT_POLICY, .name = slice_str("p")};
    (void)append(&(struct store_event){.type = STORE_EVENT_POLICY_APPLIED, .object = &policy});
    fixture_run();
    const uint64_t expected[] = {subject, resource, lifted};
    cr_assert_eq(f.n_seen, ARRAY_LEN(expected));
    for (uint32_t i = 0; i < f.n_seen; i++)
        cr_assert_eq(f.seen[i].revision, expected[i]);
}

Test(point_stream, it_gets_a_grant_that_has_got_a_token)
{
    be_served();
    f.n_seen = 0;
    uint64_t revision = append_event(STORE_EVENT_TOKEN_SET, GRANT_ACTIVE, "db/prod/a");
    fixture_run();
    cr_assert_eq(f.n_seen, 1);
    cr_assert_eq(f.seen[0].revision, revision);
}

Test(point_stream, a_mark_tells_when_a_revocation_passed_unsent)
{
    be_served();
    f.n_seen = 0;
    uint64_t revision = append_event(STORE_EVENT_REVOKED, GRANT_REVOKED, "db/test/a");
    fixture_run();
    cr_assert_eq(f.n_seen, 1);
    cr_assert_eq(f.seen[0].kind, KIND(progress));
    cr_assert_eq(f.seen[0].revision, revision);
    say_ack(revision, revision);
    cr_assert_eq(f.told[0].received, revision);
}

Test(point_stream, a_mark_tells_when_a_revocation_ended_others_below_it_out_of_scope)
{
    be_served();
    f.n_seen = 0;
    (void)append_event(STORE_EVENT_REVOKED, GRANT_REVOKED, "db/*");
    fixture_run();
    cr_assert_eq(f.n_seen, 1, "it was sent itself");
    uint64_t last = append_event(STORE_EVENT_CANCELLED, GRANT_CANCELLED, "db/test/b");
    fixture_run();
    cr_assert_eq(f.n_seen, 2);
    cr_assert_eq(f.seen[1].kind, KIND(progress));
    cr_assert_eq(f.seen[1].revision, last);
    (void)append_event(STORE_EVENT_REQUESTED, GRANT_PENDING, "db/test/b");
    (void)append_event(STORE_EVENT_EXPIRED, GRANT_EXPIRED, "db/test/b");
    fixture_run();
    cr_assert_eq(f.n_seen, 2, "nobody waits for these");
}

Test(point_stream, a_mark_tells_of_the_end_of_a_sweep)
{
    be_served();
    f.n_seen = 0;
    uint64_t revision = append(&(struct store_event){.type = STORE_EVENT_SWEEP_ENDED});
    fixture_run();
    cr_assert_eq(f.n_seen, 1);
    cr_assert_eq(f.seen[0].revision, revision);
}

Test(point_stream, a_mark_comes_every_second_when_nothing_is_sent_whatever_the_pongs)
{
    be_served();
    f.n_seen = 0;
    uint64_t revision = append_event(STORE_EVENT_REQUESTED, GRANT_PENDING, "db/prod/a");
    for (int i = 0; i < 4; i++) {
        f.now_ms += 300;
        f.point->on_pong(f.owner, (uint64_t)i, 3000, 5);
        fixture_tick();
        fixture_run();
    }
    cr_assert_eq(count_seen(KIND(pong)), 4);
    cr_assert_eq(count_seen(KIND(progress)), 1);
    cr_assert_eq(last_seen(KIND(progress))->revision, revision);
}

Test(point_stream, roles_that_change_are_looked_at_again)
{
    be_served();
    (void)append(&(struct store_event){.type = STORE_EVENT_ROLES_CHANGED});
    fixture_run();
    cr_assert_eq(f.n_guard, 2);
    cr_assert_not(f.ended);
    (void)append_event(STORE_EVENT_ACTIVATED, GRANT_ACTIVE, "db/prod/a");
    fixture_run();
    cr_assert_eq(count_seen(KIND(event)), 1, "it goes on");
    (void)lapse_fail(&f.guard, LAPSE_PERMISSION_DENIED, "not an enforcer of this scope");
    first_feed()->writable = false; /* so that both are in one batch */
    (void)append(&(struct store_event){.type = STORE_EVENT_ROLES_CHANGED});
    (void)append_event(STORE_EVENT_ACTIVATED, GRANT_ACTIVE, "db/prod/b");
    feed_writable(first_feed());
    fixture_run();
    assert_ended(LAPSE_PERMISSION_DENIED, "not an enforcer");
    cr_assert_eq(count_seen(KIND(event)), 1, "and nothing after it has lost its role");
    cr_assert_eq(f.n_closed, 1, "the leases hear at once");
}

/* --- pings ----------------------------------------------------------------------------------------------------------
 */

Test(point_stream, P3_a_ping_is_answered_as_the_leases_say)
{
    be_served();
    say_ping(41);
    cr_assert_eq(f.n_told, 1);
    cr_assert_eq(f.told[0].word, POINT_PING);
    cr_assert_eq(f.told[0].sequence, 41);
    f.point->on_pong(f.owner, 41, 2900, 123456789);
    fixture_run();
    cr_assert_eq(last_seen(KIND(pong))->revision, 41);
    cr_assert_eq(last_seen(KIND(pong))->number, 2900);
    cr_assert_eq(last_seen(KIND(pong))->time_us, 123456789);
}

Test(point_stream, P2_no_ping_gets_through_before_the_point_is_admitted)
{
    const lapse_v1_SubscribeRequest first = registration();
    subscribe(&first);
    say_ping(1);
    cr_assert_not(f.ended);
    cr_assert_eq(f.n_told, 0);
    say_ack(0, 0);
    assert_ended(LAPSE_INVALID_ARGUMENT, "registered");
}

Test(point_stream, G8_bounded_pings_past_the_rate_end_the_stream)
{
    be_served();
    for (unsigned i = 0; i < LIMIT_POINT_PINGS_PER_SECOND; i++)
        say_ping(i);
    cr_assert_not(f.ended);
    f.now_ms += 1000;
    for (unsigned i = 0; i < LIMIT_POINT_PINGS_PER_SECOND; i++)
        say_ping(i);
    cr_assert_not(f.ended, "a second later as many may come again");
    say_ping(1);
    assert_ended(LAPSE_RESOURCE_EXHAUSTED, "pings");
    cr_assert_eq(f.n_told, 2 * LIMIT_POINT_PINGS_PER_SECOND);
}

/* Paused, and so much on its way that the stream is not writable. */
static void stop_reading(void)
{
    static const char prose[LIMIT_JUSTIFICATION];
    const struct grant grant = {.id = some_grant(),
                                .state = GRANT_ACTIVE,
                                .resource = slice_str("db/prod/a"),
                                .justification = slice_of(prose, sizeof prose)};
    grpc_request_pause(f.request, true);
    for (int i = 0; i < 100000 && first_feed()->writable; i++) {
        (void)append(&(struct store_event){.type = STORE_EVENT_ACTIVATED, .grant = &grant});
        fixture_turn();
    }
    cr_assert_not(first_feed()->writable);
    f.n_seen = 0;
}

Test(point_stream, G8_bounded_pongs_do_not_pile_up_for_a_point_that_does_not_read)
{
    be_served();
    stop_reading();
    for (uint64_t sequence = 1; sequence <= 1000; sequence++)
        f.point->on_pong(f.owner, sequence, 3000, 1);
    grpc_request_pause(f.request, false);
    fixture_run();
    cr_assert_eq(count_seen(KIND(pong)), 1);
    cr_assert_eq(last_seen(KIND(pong))->revision, 1000, "the newest");
}

Test(point_stream, G7_gapless_a_point_that_does_not_read_falls_off_and_resyncs)
{
    be_served();
    stop_reading();
    for (int i = 0; i < 100; i++) /* over a ring of 64 */
        (void)append_event(STORE_EVENT_ACTIVATED, GRANT_ACTIVE, "db/prod/b");
    grpc_request_pause(f.request, false);
    fixture_run();
    cr_assert_eq(count_seen(KIND(resync)), 1);
    cr_assert_eq(last_seen(KIND(snapshot_end))->revision, newest());
}

/* --- watermarks -----------------------------------------------------------------------------------------------------
 */

Test(point_stream, watermarks_go_to_the_leases_once_and_never_back)
{
    be_served();
    say_ack(100, 90);
    cr_assert_eq(f.told[0].word, POINT_ACK);
    cr_assert_eq(f.told[0].received, 100);
    cr_assert_eq(f.told[0].enforced, 90);
    say_ack(100, 90);
    say_ack(50, 50);
    cr_assert_eq(f.n_told, 1, "nothing new");
    say_ack(60, 60);
    say_ack(100, 100);
    cr_assert_eq(f.n_told, 2);
    cr_assert_eq(f.told[1].enforced, 100);
}

Test(point_stream, G5_an_ack_of_what_was_never_sent_ends_the_stream)
{
    int64_t lies = metric_get(METRIC_POINT_FALSE_ACKS);
    be_served();
    (void)append_event(STORE_EVENT_REQUESTED, GRANT_PENDING, "db/prod/a"); /* passes by */
    say_ack(101, 0);
    assert_ended(LAPSE_INVALID_ARGUMENT, "101");
    cr_assert_eq(f.n_told, 0);
    cr_assert_eq(metric_get(METRIC_POINT_FALSE_ACKS), lies + 1);
}

Test(point_stream, G5_enforced_above_received_ends_the_stream)
{
    be_served();
    say_ack(90, 91);
    assert_ended(LAPSE_INVALID_ARGUMENT, "enforced");
    cr_assert_eq(f.n_told, 0);
}

Test(point_stream, in_another_epoch_nothing_of_the_old_one_may_be_acknowledged)
{
    be_served();
    ring_reset(f.ring, EPOCH + 1, 50); /* the cluster was restored from a backup */
    feed_line_all_due(&f.edge);
    fixture_run();
    cr_assert_eq(count_seen(KIND(resync)), 1);
    cr_assert_eq(last_seen(KIND(snapshot_end))->epoch, EPOCH + 1);
    say_ack(50, 50);
    cr_assert_not(f.ended);
    say_ack(100, 50);
    assert_ended(LAPSE_INVALID_ARGUMENT, "100");
}

Test(point_stream, what_was_received_elsewhere_may_be_acknowledged_again)
{
    (void)append_event(STORE_EVENT_REVOKED, GRANT_REVOKED, "db/prod/a");
    resume(EPOCH, 101);
    say_ack(101, 101);
    cr_assert_not(f.ended);
    cr_assert_eq(f.told[0].received, 101);
}

static void say_failure(uint64_t revision, const char *reason)
{
    lapse_v1_SubscribeRequest message = {.which_kind = SAYS(failure), .kind.failure.revision = revision};
    (void)snprintf(message.kind.failure.reason, sizeof message.kind.failure.reason, "%s", reason);
    say(&message);
}

Test(point_stream, a_failure_goes_to_the_leases_in_one_line)
{
    be_served();
    say_failure(100, "pid 7:\nwould not\tdie");
    cr_assert_eq(f.told[0].word, POINT_FAILURE);
    cr_assert_eq(f.told[0].revision, 100);
    cr_assert_str_eq(f.told[0].reason, "pid 7: would not die");
    say_failure(101, "of what was never sent");
    assert_ended(LAPSE_INVALID_ARGUMENT, "101");
}

Test(point_stream, G8_bounded_messages_past_the_rate_end_the_stream)
{
    be_served();
    for (unsigned i = 0; i <= LIMIT_POINT_MESSAGES_PER_SECOND && !f.ended; i++)
        say_ack(1, 1);
    assert_ended(LAPSE_RESOURCE_EXHAUSTED, "messages");
}

/* --- how it ends ----------------------------------------------------------------------------------------------------
 */

static const struct ending {
    enum lease_end why;
    enum lapse_code code;
    bool told;
} endings[] = {{LEASE_END_LAPSED, LAPSE_ABORTED, true},
               {LEASE_END_FENCED, LAPSE_FAILED_PRECONDITION, true},
               {LEASE_END_UNKNOWN, LAPSE_ABORTED, true},
               {LEASE_END_REPLACED, LAPSE_ABORTED, false}};

Test(point_stream, an_instance_that_is_over_is_told_why)
{
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        f.n_seen = 0;
        be_served();
        f.point->on_ended(f.owner, endings[i].why);
        fixture_run();
        cr_assert(f.ended);
        cr_assert_eq(f.code, endings[i].code);
        cr_assert_eq(count_seen(KIND(ended)), endings[i].told);
        if (endings[i].told)
            cr_assert_eq(last_seen(KIND(ended))->number, (uint32_t)endings[i].why);
        cr_assert_eq(f.n_closed, i + 1);
    }
}

static void say_goodbye(void)
{
    say(&(lapse_v1_SubscribeRequest){.which_kind = SAYS(goodbye)});
}

Test(point_stream, a_goodbye_ends_the_stream_when_the_end_of_the_instance_is_committed)
{
    const struct point other = {.instance = {{9}}}, me = {.instance = {{1, 2, 3, 4}}};
    be_served();
    f.n_seen = 0;
    say_goodbye();
    cr_assert_eq(f.told[0].word, POINT_GOODBYE);
    say_ping(1);
    cr_assert_eq(f.n_told, 1, "it permits nothing any more and gets no promise");
    (void)append(&(struct store_event){.type = STORE_EVENT_POINT_ENDED, .point = &other});
    (void)append_event(STORE_EVENT_ACTIVATED, GRANT_ACTIVE, "db/prod/a");
    grpc_request_half_close(f.request);
    fixture_run();
    cr_assert_not(f.ended);
    cr_assert_eq(f.n_seen, 0);
    (void)append(&(struct store_event){.type = STORE_EVENT_POINT_ENDED, .point = &me});
    fixture_run();
    assert_ended(LAPSE_OK, "");
}

Test(point_stream, a_goodbye_that_is_not_confirmed_ends_after_a_while)
{
    be_served();
    say_goodbye();
    f.now_ms += LIMIT_POINT_LEAVE_MS - 1;
    fixture_tick();
    fixture_run();
    cr_assert_not(f.ended);
    f.now_ms += 1;
    fixture_tick();
    fixture_run();
    assert_ended(LAPSE_OK, "");
}

Test(point_stream, a_goodbye_before_the_registration_is_committed_is_told_behind_it)
{
    const lapse_v1_SubscribeRequest first = registration();
    f.holds_writes = true;
    subscribe(&first);
    say_goodbye();
    cr_assert_eq(f.n_told, 0);
    answer(f.asked[0], &f.write);
    fixture_run();
    cr_assert_eq(f.told[0].word, POINT_GOODBYE);
}

Test(point_stream, a_point_that_stops_talking_without_goodbye_is_let_go)
{
    be_served();
    grpc_request_half_close(f.request);
    fixture_run();
    assert_ended(LAPSE_OK, "");
    cr_assert_eq(f.n_closed, 1);
}

Test(point_stream, a_node_that_stops_sends_its_points_away)
{
    be_served();
    feed_end_all(&f.edge);
    fixture_run();
    assert_ended(LAPSE_UNAVAILABLE, "stopping");
    cr_assert_eq(f.n_closed, 1);
}

Test(point_stream, a_core_that_has_too_much_waiting_ends_the_stream)
{
    be_served();
    f.is_busy = true;
    say_ping(1);
    assert_ended(LAPSE_RESOURCE_EXHAUSTED, "too much");
}
