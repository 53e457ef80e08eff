/* Heads of the audit log on a point's stream: what it has kept is asked about before it is served, and what is new is
 * sent, with an audit that the test plays. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/check.h"
#include "base/wire.h"
#include "tests/unit/point_stream_fixture.h"

#define KIND(name) lapse_v1_SubscribeResponse_##name##_tag

TestSuite(point_heads, .init = fixture_begin, .fini = fixture_end);

static lapse_v1_SubscribeRequest with_head(uint64_t revision)
{
    lapse_v1_SubscribeRequest first = registration();
    lapse_v1_SignedHead *head = &first.kind.registration.head;
    first.kind.registration.has_head = true;
    head->epoch = EPOCH;
    head->revision = revision;
    head->node_id = 2;
    head->time_ms = 5;
    head->hash.size = head->public_key.size = 32;
    head->signature.size = 64;
    head->hash.bytes[31] = 9;
    head->signature.bytes[63] = 8;
    return first;
}

static void subscribe_with_head(void)
{
    lapse_v1_SubscribeRequest first = with_head(77);
    f.has_audit = true;
    f.registered_revision = 90;
    subscribe(&first);
    f.point->on_admitted(f.owner, newest(), false);
    fixture_run();
}

Test(point_heads, what_it_has_kept_is_asked_about_before_it_is_served)
{
    subscribe_with_head();
    cr_assert_eq(f.n_checks, 1);
    const struct audit_job *job = f.checks[0];
    cr_assert_eq(job->op, AUDIT_CHECK);
    cr_assert_eq(job->claim.epoch, EPOCH);
    cr_assert_eq(job->claim.revision, 77);
    cr_assert_eq(job->claim.node_id, 2);
    cr_assert_eq(job->claim.time_ms, 5);
    cr_assert_eq(job->claim.hash[31], 9);
    cr_assert_eq(job->claim.signature[63], 8);
    cr_assert_eq(job->upto, newest(), "what is applied; 90 may be the registration of long ago");
    cr_assert_eq(job->epoch, EPOCH);
    cr_assert_eq(f.n_seen, 0);
    answer_check(AUDIT_AGREES, LAPSE_OK);
    cr_assert_eq(f.seen[0].kind, KIND(registered));
    cr_assert_eq(count_seen(KIND(snapshot_end)), 1);
}

Test(point_heads, a_head_that_the_cluster_has_lost_ends_the_stream_with_DATA_LOSS)
{
    subscribe_with_head();
    answer_check(AUDIT_ROLLBACK, LAPSE_OK);
    cr_assert(f.ended);
    cr_assert_eq(f.code, LAPSE_DATA_LOSS);
    cr_assert_not_null(strstr(f.message, "operator"), "%s", f.message);
    cr_assert_eq(f.n_seen, 0, "it was not let in");
    cr_assert_eq(f.n_closed, 1);
}

Test(point_heads, a_forged_head_proves_nothing_and_is_refused)
{
    subscribe_with_head();
    answer_check(AUDIT_FORGED, LAPSE_OK);
    cr_assert(f.ended);
    cr_assert_eq(f.code, LAPSE_INVALID_ARGUMENT);
}

Test(point_heads, what_the_audit_can_not_say_keeps_nobody_out)
{
    subscribe_with_head();
    answer_check(AUDIT_UNKNOWN, LAPSE_OK);
    cr_assert_eq(count_seen(KIND(registered)), 1);
    cr_assert_not(f.ended);
}

Test(point_heads, a_database_that_is_away_keeps_nobody_out)
{
    subscribe_with_head();
    answer_check(0, LAPSE_UNAVAILABLE);
    cr_assert_eq(count_seen(KIND(registered)), 1);
    cr_assert_not(f.ended);
}

Test(point_heads, an_audit_that_is_busy_keeps_nobody_out)
{
    f.audit_is_busy = true;
    subscribe_with_head();
    cr_assert_eq(count_seen(KIND(registered)), 1);
}

Test(point_heads, an_answer_that_takes_long_holds_nobody_up_and_counts_all_the_same)
{
    subscribe_with_head();
    fixture_tick();
    fixture_run();
    cr_assert_eq(f.n_seen, 0);
    f.now_ms += 600;
    fixture_tick();
    fixture_run();
    cr_assert_eq(count_seen(KIND(registered)), 1);
    answer_check(AUDIT_ROLLBACK, LAPSE_OK);
    cr_assert_eq(f.code, LAPSE_DATA_LOSS);
}

Test(point_heads, a_stream_that_ends_before_its_answer_waits_for_nothing)
{
    subscribe_with_head();
    f.point->on_ended(f.owner, LEASE_END_REPLACED);
    fixture_run();
    cr_assert(f.ended);
    cr_assert_eq(f.n_checks, 0, "abandoned");
}

Test(point_heads, a_malformed_head_is_refused_before_the_core_hears_of_it)
{
    lapse_v1_SubscribeRequest first = with_head(77);
    first.kind.registration.head.hash.size = 31;
    subscribe(&first);
    cr_assert(f.ended);
    cr_assert_eq(f.code, LAPSE_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(f.message, "head"));
    cr_assert_eq(f.n_guard, 0);
}

/* ---- New ones */

static void make_head(uint64_t revision)
{
    struct buf bytes;
    buf_init(&bytes, 64);
    struct wire_writer writer = wire_writer(&bytes);
    wire_put_uint(&writer, 3, revision);
    CHECK(bytes.len < sizeof f.head);
    memcpy(f.head, bytes.data, bytes.len);
    f.head[bytes.len] = '\0';
    buf_free(&bytes);
    f.head_revision = revision;
}

Test(point_heads, the_newest_is_sent_once_and_another_one_not_before_half_a_minute)
{
    f.has_audit = true;
    be_served();
    cr_assert_eq(count_seen(KIND(head)), 0, "there is none");
    make_head(100);
    fixture_tick();
    fixture_run();
    cr_assert_eq(count_seen(KIND(head)), 1);
    cr_assert_eq(last_seen(KIND(head))->revision, 100);
    make_head(105);
    fixture_tick();
    fixture_run();
    cr_assert_eq(count_seen(KIND(head)), 1);
    f.now_ms += 30000;
    fixture_tick();
    fixture_run();
    fixture_tick();
    fixture_run();
    cr_assert_eq(count_seen(KIND(head)), 2);
    cr_assert_eq(last_seen(KIND(head))->revision, 105);
}
