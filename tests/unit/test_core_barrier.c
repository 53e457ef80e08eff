/* Calls that wait for a barrier: the waiting itself, over a real store, with a clock, an edge and a leader that the
 * test plays. */
#include <criterion/criterion.h>
#include <pb_decode.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "node/core_barrier.h"
#include "node/core_lease.h"
#include "proto/codec.h"
#include "proto/lapse/v1/grants.pb.h"
#include "tests/unit/store_fixture.h"

#define MS 1000ll
#define RECEIVED lapse_v1_WaitLevel_RECEIVED
#define ENFORCED lapse_v1_WaitLevel_ENFORCED

/* --- what the core would be --------------------------------------------------------------------------------------- */

static struct core core;
static struct store *store;
static uv_loop_t loop;
static int64_t now_us;
static int follows;
static uint64_t next_grant, next_instance;

int64_t clock_boot_us(void)
{
    return now_us;
}

int64_t clock_boot_ms(void)
{
    return now_us / 1000;
}

int64_t clock_wall_ms(void)
{
    return now_us / 1000;
}

struct lease_node *core_lease_node(struct core *any)
{
    (void)any;
    return NULL;
}

void lease_node_follow(struct lease_node *node, uint64_t barrier)
{
    (void)node;
    (void)barrier;
    follows++;
}

void lease_node_unfollow(struct lease_node *node, uint64_t barrier)
{
    (void)node;
    (void)barrier;
    follows--;
}

struct mailbox *core_mailbox(struct core *any)
{
    return &any->mailbox;
}

int64_t core_time_ms(const struct core *any)
{
    (void)any;
    return store_time_ms(store);
}

const struct store *core_call_store(const struct core_call *call)
{
    (void)call;
    return store;
}

struct proto_point core_call_point(const struct core_call *call)
{
    return (struct proto_point){call->epoch, call->revision, call->time_ms};
}

void core_call_set_now(struct core_call *call, int64_t time_ms)
{
    call->epoch = store_epoch(store);
    call->revision = store_revision(store);
    call->time_ms = time_ms;
}

void core_call_refuse(struct core_call *call, enum lapse_code code, const char *message)
{
    (void)lapse_fail(&call->error, code, "%s", message);
    call->answered(call);
}

void core_call_finish(struct core_call *call, lapse_result encoded)
{
    cr_assert(lapse_is_ok(encoded));
    call->answered(call);
}

/* --- the store and the calls -------------------------------------------------------------------------------------- */

static void begin(void)
{
    store = fixture_store(NULL);
    now_us = 1000 * MS;
    CHECK(uv_loop_init(&loop) == 0);
    mailbox_init(&core.mailbox, &loop, 100);
    core_barriers_open(&core);
}

static void finish(void)
{
    core_barriers_end(&core);
    cr_expect_eq(follows, 0, "%d barriers are still followed", follows);
    mailbox_close(&core.mailbox);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    core_barriers_free(&core);
    CHECK(uv_loop_close(&loop) == 0);
    store_free(store);
}

TestSuite(core_barrier, .init = begin, .fini = finish);

static void on_event(void *arg, const struct store_event *event)
{
    (void)arg;
    core_barriers_event(&core, event);
}

static struct store_outcome apply(const struct command *command)
{
    struct store_outcome outcome;
    store_apply(store, command, T0 + now_us / 1000, on_event, NULL, &outcome);
    cr_assert_eq(outcome.error.code, LAPSE_OK, "%s", outcome.error.message);
    return outcome;
}

static struct random_id point(const char *id)
{
    struct random_id instance = {{(uint8_t)++next_instance}};
    const struct command command = {.type = COMMAND_REGISTER,
                                    .key = fixture_key(1000 + next_instance),
                                    .principal = slice_str("user:ep"),
                                    .text = slice_str(id),
                                    .instance = instance,
                                    .scope = slice_str("db/*"),
                                    .lease_ms = 3000};
    (void)apply(&command);
    return instance;
}

static uint64_t active_grant(void)
{
    uint64_t number = ++next_grant;
    struct command request = fixture_request(number), approve = fixture_about(COMMAND_APPROVE, number, "user:app1");
    (void)apply(&request);
    (void)apply(&approve);
    return number;
}

static struct store_outcome revoked(uint64_t number)
{
    struct command command = fixture_about(COMMAND_REVOKE, number, "user:ops");
    command.key = fixture_key(5000 + number);
    return apply(&command);
}

static void receipt(uint64_t barrier, struct random_id instance, enum receipt_level level, const char *reason)
{
    const struct receipt receipt = {
        .barrier = barrier, .instance = instance, .level = level, .time_ms = 1, .reason = slice_str(reason)};
    struct buf bytes;
    buf_init(&bytes, 4096);
    CHECK(lapse_is_ok(receipts_add(&bytes, &receipt)));
    const struct command command = {.type = COMMAND_RECEIPTS, .receipts = buf_slice(&bytes)};
    (void)apply(&command);
    buf_free(&bytes);
}

static void on_answered(struct core_call *call)
{
    bool *answered = call->owner;
    cr_assert_not(*answered, "answered twice");
    *answered = true;
}

static struct core_call *new_call(enum core_op op, uint32_t wait, int64_t wait_ms, bool *answered)
{
    struct core_call *call = core_call_new(op, "user:ops", 5000);
    *answered = false;
    call->core = &core;
    call->owner = answered;
    call->answered = on_answered;
    call->wait = wait;
    call->wait_until_us = now_us + wait_ms * MS;
    return call;
}

/* A Revoke that waits up to a second. */
static struct core_call *ask(struct store_outcome outcome, uint32_t wait, bool *answered)
{
    struct core_call *call = new_call(CORE_WRITE, wait, 1000, answered);
    call->revision = outcome.revision;
    core_barrier_committed(call, &outcome);
    return call;
}

static void flush(void)
{
    core_barriers_flush(&core);
}

static void pass(int64_t ms)
{
    now_us += ms * MS;
    flush();
}

static void says(const struct core_call *call, enum lapse_code code, const char *text)
{
    cr_expect_eq(call->error.code, code, "%s: %s", lapse_code_name(call->error.code), call->error.message);
    cr_expect_not_null(strstr(call->error.message, text), "%s", call->error.message);
}

static struct lease_progress_point told(const char *id, uint8_t level, uint32_t left_ms)
{
    struct lease_progress_point point = {.level = level, .left_ms = left_ms};
    (void)snprintf(point.point, sizeof point.point, "%s", id);
    return point;
}

static void tell(uint64_t barrier, struct lease_progress_point *points, uint32_t n, uint32_t omitted)
{
    const struct lease_progress progress = {.barrier = barrier, .n = n, .omitted = omitted, .points = points};
    core_barriers_progress(&core, &progress);
    flush();
}

#define WAITING lapse_v1_ReceiptLevel_RECEIPT_WAITING
#define HAS_RECEIVED lapse_v1_ReceiptLevel_RECEIPT_RECEIVED

/* --- Revoke ------------------------------------------------------------------------------------------------------- */

Test(core_barrier, without_points_a_revocation_is_enforced_at_once)
{
    bool answered;
    struct core_call *call = ask(revoked(active_grant()), ENFORCED, &answered);
    cr_expect(answered);
    says(call, LAPSE_OK, "");
    cr_expect_eq(follows, 0);
    core_call_free(call);
}

Test(core_barrier, a_wait_ends_with_the_last_receipt_and_tells_the_barrier)
{
    struct random_id one = point("edge-1"), two = point("edge-2");
    struct store_outcome outcome = revoked(active_grant());
    bool answered;
    struct core_call *call = ask(outcome, ENFORCED, &answered);
    receipt(outcome.revision, one, RECEIPT_ENFORCED, "");
    flush();
    cr_expect_not(answered);
    receipt(outcome.revision, two, RECEIPT_LAPSED, "");
    flush();
    cr_assert(answered);
    says(call, LAPSE_OK, "");
    lapse_v1_MutationResponse *message = mem_calloc(1, sizeof *message);
    cr_assert(lapse_is_ok(proto_decode(lapse_v1_MutationResponse_fields, buf_slice(&call->response), message, NULL)));
    cr_expect_eq(message->revision, outcome.revision, "the revision is the revocation's own");
    cr_expect_eq(message->grant.state, lapse_v1_GrantState_REVOKED);
    cr_expect(message->barrier.done);
    cr_expect_eq(message->barrier.id, outcome.revision);
    cr_expect_eq(message->barrier.enforced, 1);
    cr_expect_eq(message->barrier.lapsed, 1);
    free(message);
    core_call_free(call);
}

Test(core_barrier, a_session_that_could_not_be_ended_aborts_the_wait_and_is_named)
{
    struct random_id one = point("edge-1"), two = point("edge-2");
    struct store_outcome outcome = revoked(active_grant());
    bool answered, received;
    struct core_call *call = ask(outcome, ENFORCED, &answered);
    struct core_call *modest = ask(outcome, RECEIVED, &received);
    receipt(outcome.revision, one, RECEIPT_FAILED, "pts/3 would not die");
    receipt(outcome.revision, two, RECEIPT_ENFORCED, "");
    flush();
    cr_assert(answered && received);
    says(call, LAPSE_ABORTED, "FAILED: edge-1: pts/3 would not die");
    cr_expect_null(strstr(call->error.message, "edge-2"));
    says(modest, LAPSE_OK, "");
    core_call_free(call);
    core_call_free(modest);
}

Test(core_barrier, when_its_time_is_over_a_wait_names_who_is_waited_for)
{
    point("edge-1");
    point("edge-2");
    struct store_outcome outcome = revoked(active_grant());
    bool answered;
    struct core_call *call = ask(outcome, ENFORCED, &answered);
    struct lease_progress_point points[] = {told("edge-1", WAITING, 3000), told("edge-2", HAS_RECEIVED, 0)};
    tell(outcome.revision, points, 2, 0);
    cr_expect_leq(core_barriers_next_due_us(&core), call->wait_until_us);
    pass(999);
    cr_expect_not(answered);
    pass(1);
    cr_assert(answered);
    says(call, LAPSE_DEADLINE_EXCEEDED, "PENDING: revoked at revision ");
    says(call, LAPSE_DEADLINE_EXCEEDED,
         "not confirmed by edge-1 (until 2.0 s from now at the latest), edge-2 (denies;");
    says(call, LAPSE_DEADLINE_EXCEEDED, "ask again with the same request_id, or `lapse barrier 0");
    core_call_free(call);
}

Test(core_barrier, whoever_is_not_known_by_name_is_counted)
{
    for (int i = 0; i < 20; i++) {
        char id[LIMIT_POINT_ID + 1];
        (void)snprintf(id, sizeof id, "edge-%d", i);
        point(id);
    }
    struct store_outcome outcome = revoked(active_grant());
    bool quiet_answered, answered;
    struct core_call *quiet = ask(outcome, ENFORCED, &quiet_answered);
    pass(1000);
    says(quiet, LAPSE_DEADLINE_EXCEEDED, "not confirmed by 20 points: ask");
    struct core_call *call = ask(outcome, ENFORCED, &answered);
    struct lease_progress_point points[12];
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        char id[LIMIT_POINT_ID + 1];
        (void)snprintf(id, sizeof id, "edge-with-quite-a-long-name-%zu", i);
        points[i] = told(id, WAITING, 0);
    }
    tell(outcome.revision, points, ARRAY_LEN(points), 8);
    pass(1000);
    says(call, LAPSE_DEADLINE_EXCEEDED, "edge-with-quite-a-long-name-0, edge-with-quite-a-long-name-1, ");
    says(call, LAPSE_DEADLINE_EXCEEDED, " and 15 more: ask again");
    says(call, LAPSE_DEADLINE_EXCEEDED, "`lapse barrier 0");
    cr_expect_eq(call->error.message[strlen(call->error.message) - 1], '`', "the end fits, too");
    core_call_free(quiet);
    core_call_free(call);
}

Test(core_barrier, received_is_reached_when_no_point_is_waited_for_any_more)
{
    point("edge-1");
    point("edge-2");
    struct store_outcome outcome = revoked(active_grant());
    bool answered, strict_answered;
    struct core_call *call = ask(outcome, RECEIVED, &answered);
    struct core_call *strict = ask(outcome, ENFORCED, &strict_answered);
    struct lease_progress_point points[] = {told("edge-1", WAITING, 3000), told("edge-2", HAS_RECEIVED, 0)};
    tell(outcome.revision, points, 2, 0);
    cr_expect_not(answered);
    tell(outcome.revision, NULL, 0, 0);
    cr_expect_not(answered, "all enforced, the leader says, but nothing is committed");
    points[0].level = HAS_RECEIVED;
    tell(outcome.revision, points, 2, 0);
    cr_expect(answered);
    says(call, LAPSE_OK, "");
    cr_expect_not(strict_answered);
    core_barriers_end(&core);
    core_call_free(call);
    core_call_free(strict);
}

Test(core_barrier, a_repeated_call_waits_for_the_first_ones_barrier)
{
    struct random_id one = point("edge-1");
    uint64_t number = active_grant();
    struct store_outcome first = revoked(number), again = revoked(number);
    bool answered;
    cr_assert(again.repeated);
    struct core_call *call = ask(again, ENFORCED, &answered);
    cr_expect_not(answered);
    receipt(first.revision, one, RECEIPT_ENFORCED, "");
    flush();
    cr_expect(answered);
    core_call_free(call);
}

Test(core_barrier, of_a_barrier_that_is_no_longer_known_nothing_is_claimed)
{
    const struct store_outcome outcome = {.revision = 1, .repeated = true}; /* no revocation has this revision */
    bool answered;
    struct core_call *call = ask(outcome, ENFORCED, &answered);
    cr_expect(answered);
    says(call, LAPSE_DEADLINE_EXCEEDED, "not known any more");
    core_call_free(call);
}

Test(core_barrier, another_store_may_hold_the_end_of_a_wait)
{
    point("edge-1");
    struct store_outcome outcome = revoked(active_grant());
    bool answered;
    struct core_call *call = ask(outcome, ENFORCED, &answered);
    store_free(store);
    store = fixture_store(NULL); /* in which that barrier has left */
    core_barriers_replaced(&core);
    flush();
    cr_expect(answered);
    says(call, LAPSE_DEADLINE_EXCEEDED, "not known any more");
    core_call_free(call);
}

/* --- RevokeMatching ----------------------------------------------------------------------------------------------- */

Test(core_barrier, a_revocation_of_many_is_done_when_its_sweep_and_its_points_are)
{
    struct random_id one = point("edge-1");
    for (int i = 0; i < 3; i++)
        (void)active_grant();
    const struct command command = {.type = COMMAND_REVOKE_MATCHING,
                                    .key = fixture_key(99),
                                    .principal = slice_str("user:ops"),
                                    .text = slice_str("left"),
                                    .filter = {.subject = slice_str("user:dev1")}};
    struct store_outcome outcome = apply(&command);
    bool answered;
    struct core_call *call = new_call(CORE_REVOKE_MATCHING, ENFORCED, 1000, &answered);
    core_barrier_committed(call, &outcome);
    cr_expect_not(answered);
    receipt(outcome.revision, one, RECEIPT_ENFORCED, "");
    flush();
    cr_assert(answered);
    says(call, LAPSE_OK, "");
    lapse_v1_RevokeMatchingResponse message;
    cr_assert(
        lapse_is_ok(proto_decode(lapse_v1_RevokeMatchingResponse_fields, buf_slice(&call->response), &message, NULL)));
    cr_expect_eq(message.barrier.grants, 3);
    cr_expect_eq(message.barrier.id, outcome.revision);
    cr_expect(message.barrier.done);
    core_call_free(call);
}

/* --- RevokeAndFollow ---------------------------------------------------------------------------------------------- */

struct counted {
    uint32_t n;
    uint32_t left_ms; /* of the first */
};

static bool count_receipt(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    struct counted *counted = *arg;
    lapse_v1_Receipt receipt = lapse_v1_Receipt_init_zero;
    (void)field;
    cr_assert(pb_decode(stream, lapse_v1_Receipt_fields, &receipt));
    if (counted->n++ == 0)
        counted->left_ms = receipt.left_ms;
    return true;
}

static lapse_v1_RevokeProgress progress_of(const struct core_call *call, struct counted *counted)
{
    *counted = (struct counted){0};
    lapse_v1_RevokeProgress message = {.receipts = {.funcs.decode = count_receipt, .arg = counted}};
    cr_assert(lapse_is_ok(proto_decode(lapse_v1_RevokeProgress_fields, buf_slice(&call->response), &message, NULL)));
    return message;
}

static void ask_on(struct core_call *call, bool *answered)
{
    *answered = false;
    call->op = CORE_FOLLOW;
    call->error.code = LAPSE_OK;
    buf_clear(&call->response);
    core_barrier_follow(call);
}

Test(core_barrier, a_follower_hears_committed_then_changes_then_the_last)
{
    struct random_id one = point("edge-1"), two = point("edge-2");
    struct store_outcome outcome = revoked(active_grant());
    struct counted counted;
    bool answered;
    struct core_call *call = new_call(CORE_REVOKE_FOLLOW, ENFORCED, 5000, &answered);
    core_barrier_committed(call, &outcome);
    cr_assert(answered);
    lapse_v1_RevokeProgress message = progress_of(call, &counted);
    cr_expect(message.committed && !message.last && !message.barrier.done);
    cr_expect_eq(message.barrier.points, 2);

    ask_on(call, &answered);
    cr_expect_not(answered);
    struct lease_progress_point points[] = {told("edge-1", WAITING, 3000), told("edge-2", WAITING, 3000)};
    tell(outcome.revision, points, 2, 0);
    cr_assert(answered);
    message = progress_of(call, &counted);
    cr_expect(!message.committed && !message.last);
    cr_expect_eq(counted.n, 2);
    cr_expect_eq(counted.left_ms, 3000);

    receipt(outcome.revision, one, RECEIPT_ENFORCED, "");
    receipt(outcome.revision, two, RECEIPT_FAILED, "no");
    ask_on(call, &answered);
    cr_assert(answered);
    cr_expect(call->last);
    says(call, LAPSE_ABORTED, "FAILED: edge-2: no");
    message = progress_of(call, &counted);
    cr_expect(message.last && message.barrier.done);
    cr_expect_eq(counted.n, 1, "of those that are done only the one that is not ENFORCED");
    core_call_free(call);
}

Test(core_barrier, a_follower_that_is_slow_gets_the_latest_state_and_a_fast_one_at_most_one_in_20_ms)
{
    point("edge-1");
    struct store_outcome outcome = revoked(active_grant());
    struct counted counted;
    bool answered;
    struct core_call *call = new_call(CORE_REVOKE_FOLLOW, ENFORCED, 5000, &answered);
    struct lease_progress_point points[] = {told("edge-1", WAITING, 3000)};
    core_barrier_committed(call, &outcome);
    ask_on(call, &answered);
    tell(outcome.revision, points, 1, 0);
    cr_assert(answered);

    /* It does not ask for a while: what is told meanwhile is kept once. */
    for (uint32_t left = 2900; left >= 2500; left -= 100) {
        points[0].left_ms = left;
        tell(outcome.revision, points, 1, 0);
        pass(100);
    }
    ask_on(call, &answered);
    cr_assert(answered);
    (void)progress_of(call, &counted);
    cr_expect_eq(counted.left_ms, 2400, "what was left, less what has passed since, is %u", counted.left_ms);

    ask_on(call, &answered);
    tell(outcome.revision, points, 1, 0);
    cr_expect_not(answered, "20 ms have not passed");
    cr_expect_leq(core_barriers_next_due_us(&core), now_us + 20 * MS);
    pass(20);
    cr_expect(answered);

    ask_on(call, &answered);
    pass(5000);
    cr_assert(answered);
    cr_expect(call->last);
    says(call, LAPSE_DEADLINE_EXCEEDED, "PENDING: ");
    pass(10000);
    cr_expect_eq(follows, 0, "a barrier that nobody asks about is not followed for ever");
    core_call_free(call);
}

/* --- bounds and ends ---------------------------------------------------------------------------------------------- */

Test(core_barrier, a_client_that_goes_away_frees_its_wait)
{
    point("edge-1");
    struct store_outcome outcome = revoked(active_grant());
    bool answered, other;
    struct core_call *call = ask(outcome, ENFORCED, &answered);
    struct core_call *stays = ask(outcome, ENFORCED, &other);
    core_call_abandon(call);
    core_call_abandon(call);
    CHECK(uv_run(&loop, UV_RUN_NOWAIT) != 0);
    flush();
    cr_expect(answered);
    cr_expect_eq(call->error.code, LAPSE_CANCELLED);
    cr_expect_not(other);
    core_call_free(call);
    core_barriers_end(&core);
    core_call_free(stays);
}

Test(core_barrier, a_client_that_went_away_before_the_commit_does_not_wait)
{
    point("edge-1");
    struct store_outcome outcome = revoked(active_grant());
    bool answered;
    struct core_call *call = new_call(CORE_WRITE, ENFORCED, 1000, &answered);
    core_call_abandon(call);
    core_barrier_committed(call, &outcome);
    cr_expect(answered);
    core_call_free(call);
}

Test(core_barrier, beyond_the_limit_a_revocation_takes_effect_and_is_pending_at_once)
{
    static bool answered[LIMIT_BARRIER_WAITS + 1];
    static struct core_call *calls[LIMIT_BARRIER_WAITS + 1];
    point("edge-1");
    struct store_outcome outcome = revoked(active_grant());
    for (uint32_t i = 0; i <= LIMIT_BARRIER_WAITS; i++)
        calls[i] = ask(outcome, ENFORCED, &answered[i]);
    cr_expect_not(answered[LIMIT_BARRIER_WAITS - 1]);
    cr_expect(answered[LIMIT_BARRIER_WAITS]);
    says(calls[LIMIT_BARRIER_WAITS], LAPSE_DEADLINE_EXCEEDED, "too many calls wait on this node");
    pass(1000);
    for (uint32_t i = 0; i <= LIMIT_BARRIER_WAITS; i++) {
        cr_expect(answered[i]);
        core_call_free(calls[i]);
    }
}

Test(core_barrier, past_the_stores_limit_a_barrier_is_pending_at_once)
{
    point("edge-1");
    for (uint32_t i = 0; i < LIMIT_BARRIERS_OPEN; i++)
        (void)revoked(active_grant());
    bool answered;
    struct core_call *call = ask(revoked(active_grant()), ENFORCED, &answered);
    cr_expect(answered);
    says(call, LAPSE_DEADLINE_EXCEEDED, "it can't be followed");
    core_call_free(call);
}

Test(core_barrier, a_node_that_stops_sends_those_who_wait_elsewhere)
{
    point("edge-1");
    struct store_outcome outcome = revoked(active_grant());
    bool before, after;
    struct core_call *early = ask(outcome, ENFORCED, &before);
    core_barriers_end(&core);
    struct core_call *late = ask(outcome, ENFORCED, &after);
    cr_expect(before && after);
    says(early, LAPSE_UNAVAILABLE, "same request_id");
    says(late, LAPSE_UNAVAILABLE, "same request_id");
    core_call_free(early);
    core_call_free(late);
}
