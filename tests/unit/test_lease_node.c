/* One node against a leader that says what the test wants: late, twice, of other lives and terms. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "node/lease_frame.h"
#include "node/lease_node.h"
#include "tests/unit/store_fixture.h"

#define LIFE 77u
#define LEADER 2u
#define START_US 5000000ll

struct desk {
    struct store *store;
    struct lease_node *node;
    struct lease_stream *stream;
    struct lease_frame head; /* of the newest report */
    struct lease_item item;  /* its first */
    uint64_t failed_first, failed_last;
    uint32_t frames, admitted, ended;
};

static void note_failures(struct desk *desk, struct slice list)
{
    struct lease_failure failure;
    while (lease_failure_next(&list, &failure)) {
        if (desk->failed_first == 0 || failure.first < desk->failed_first)
            desk->failed_first = failure.first;
        desk->failed_last = failure.last > desk->failed_last ? failure.last : desk->failed_last;
    }
}

static void on_send(void *arg, uint64_t to, struct slice bytes)
{
    struct desk *desk = arg;
    struct lease_item item;
    cr_assert(to == LEADER && lease_frame_decode(bytes, &desk->head));
    if (lease_item_next(&desk->head.list, &item)) {
        desk->item = item;
        note_failures(desk, item.failure_list);
    }
    desk->frames++;
}

static void on_admitted(void *arg, void *owner, uint64_t revision, bool again)
{
    (void)owner, (void)revision, (void)again;
    ((struct desk *)arg)->admitted++;
}

static void on_ended(void *arg, void *owner, enum lease_end why)
{
    (void)owner, (void)why;
    ((struct desk *)arg)->ended++;
}

static void on_progress(void *arg, const struct lease_progress *progress)
{
    (void)arg, (void)progress;
}

static const struct lease_node_io io = {on_send, on_admitted, on_ended, on_progress};

/* A node with one stream in session 1 of term 3, that has asked for its admission at START_US. */
static struct desk *desk_new(void)
{
    struct desk *desk = mem_calloc(1, sizeof *desk);
    desk->store = fixture_store(NULL);
    fixture_must(desk->store, fixture_register("p1", 1, "*"), T0);
    desk->node = lease_node_new(1, LIFE, desk->store, START_US - 1000000, &io, desk);
    desk->stream = lease_node_open(desk->node, fixture_random_id(1), desk, START_US);
    lease_node_set_term(desk->node, 3, LEADER, START_US);
    return desk;
}

static void desk_free(struct desk *desk)
{
    lease_node_free(desk->node);
    store_free(desk->store);
    free(desk);
}

struct answer {
    uint64_t life, term, session, want, revision;
    bool lease;
    int64_t sent_us;
};

static struct answer good(const struct desk *desk)
{
    return (struct answer){LIFE, 3, 1, desk->item.want, store_revision(desk->store), true, START_US};
}

static void say(struct desk *desk, struct answer answer, int64_t now_us)
{
    struct lease_frame head = {.kind = LEASE_ANSWER,
                               .sent_us = (uint64_t)answer.sent_us,
                               .applied = answer.revision,
                               .session = answer.session,
                               .life = answer.life,
                               .lease = answer.lease};
    struct buf out;
    buf_init(&out, LEASE_FRAME_MAX);
    lease_frame_begin(&out, &head);
    if (answer.want > 0)
        lease_frame_put_admission(&out, &(struct lease_admission){fixture_random_id(1), answer.want});
    lease_node_receive(desk->node, LEADER, answer.term, buf_slice(&out), now_us);
    buf_free(&out);
}

/* The leader gives session 1, and hears the complete report. */
static struct desk *in_session(void)
{
    struct desk *desk = desk_new();
    lease_node_flush(desk->node, START_US);
    cr_assert(desk->frames == 1 && desk->head.session == 0, "only a ping, before there is a number");
    say(desk, (struct answer){LIFE, 3, 1, 0, 1, false, START_US}, START_US);
    lease_node_flush(desk->node, START_US);
    cr_assert(desk->frames == 2 && desk->head.session == 1 && desk->head.sequence == 1 && desk->head.complete);
    cr_assert(desk->item.state == LEASE_WANTED && desk->item.want > 0);
    return desk;
}

static uint32_t promise(struct desk *desk, int64_t now_us)
{
    return lease_node_promise(desk->node, desk->stream, now_us);
}

Test(lease_node, a_promise_needs_a_lease_and_an_admission)
{
    struct desk *desk = in_session();
    struct answer answer = good(desk);
    answer.lease = false;
    say(desk, answer, START_US);
    cr_assert_eq(promise(desk, START_US), 0);
    answer = good(desk);
    answer.want = 0;
    say(desk, answer, START_US);
    cr_assert(promise(desk, START_US) == 3000 && desk->admitted == 1);
    desk_free(desk);
}

Test(lease_node, a_node_lease_counts_from_the_sending_of_the_ping)
{
    struct desk *desk = in_session();
    say(desk, good(desk), START_US + 400000);
    cr_assert_eq(promise(desk, START_US + LEASE_NODE_US - 1), 3000);
    cr_assert_eq(promise(desk, START_US + LEASE_NODE_US), 0);
    desk_free(desk);
}

Test(lease_node, an_answer_to_an_earlier_wish_admits_nothing)
{
    struct desk *desk = in_session();
    struct answer late = good(desk);
    /* It has told that the stream is gone; the leader counts on that. */
    lease_node_close(desk->node, desk->stream, START_US);
    lease_node_flush(desk->node, START_US);
    cr_assert_eq(desk->item.state, LEASE_GONE);
    desk->stream = lease_node_open(desk->node, fixture_random_id(1), desk, START_US);
    lease_node_flush(desk->node, START_US);
    say(desk, late, START_US);
    cr_assert(promise(desk, START_US) == 0 && desk->admitted == 0);
    say(desk, good(desk), START_US);
    cr_assert_eq(promise(desk, START_US), 3000);
    desk_free(desk);
}

Test(lease_node, an_unanswered_wish_is_repeated_under_another_number)
{
    struct desk *desk = in_session();
    struct answer first = good(desk);
    for (int64_t us = START_US; us <= START_US + 1300000; us += 100000)
        lease_node_flush(desk->node, us);
    cr_assert_gt(desk->item.want, first.want);
    desk_free(desk);
}

Test(lease_node, answers_of_other_lives_sessions_and_terms_are_ignored)
{
    struct desk *desk = in_session();
    struct answer other = good(desk);
    other.life = LIFE + 1;
    say(desk, other, START_US);
    other = good(desk);
    other.term = 2;
    say(desk, other, START_US);
    cr_assert_eq(promise(desk, START_US), 0);
    /* Another session: everything is asked for anew, and what the older one grants is void. */
    struct answer older = good(desk);
    say(desk, (struct answer){LIFE, 3, 2, 0, 1, false, START_US}, START_US);
    say(desk, older, START_US);
    cr_assert_eq(promise(desk, START_US), 0);
    lease_node_flush(desk->node, START_US);
    cr_assert(desk->head.session == 2 && desk->head.sequence == 1 && desk->item.want > older.want);
    desk_free(desk);
}

Test(lease_node, another_term_takes_lease_and_admission)
{
    struct desk *desk = in_session();
    say(desk, good(desk), START_US);
    cr_assert_eq(promise(desk, START_US), 3000);
    lease_node_set_term(desk->node, 4, 0, START_US);
    struct lease_node_status status;
    lease_node_get_status(desk->node, START_US, &status);
    cr_assert(!status.holds_lease && status.admitted == 0 && promise(desk, START_US) == 0);
    desk_free(desk);
}

Test(lease_node, a_store_behind_the_admission_makes_no_promise)
{
    struct desk *desk = in_session();
    struct answer answer = good(desk);
    answer.revision++;
    say(desk, answer, START_US);
    cr_assert(desk->admitted == 1 && promise(desk, START_US) == 0);
    fixture_must(desk->store, fixture_register("p2", 2, "*"), T0);
    cr_assert_eq(promise(desk, START_US), 3000);
    desk_free(desk);
}

Test(lease_node, what_is_left_of_the_last_promise_is_told_when_a_stream_goes)
{
    struct desk *desk = in_session();
    say(desk, good(desk), START_US);
    cr_assert_eq(promise(desk, START_US), 3000);
    lease_node_close(desk->node, desk->stream, START_US + 1000000);
    lease_node_flush(desk->node, START_US + 1000000);
    cr_assert_eq(desk->item.state, LEASE_GONE);
    cr_assert_eq((int64_t)desk->item.left_us, lease_wait_us(3000000) - 1000000);
    desk_free(desk);
}

Test(lease_node, a_stream_may_close_before_its_callback_comes)
{
    struct desk *desk = in_session();
    struct lease_stream *newer = lease_node_open(desk->node, fixture_random_id(1), desk, START_US);
    /* REPLACED is due for the older one. */
    lease_node_close(desk->node, desk->stream, START_US);
    lease_node_flush(desk->node, START_US);
    cr_assert_eq(desk->ended, 0);
    desk->stream = newer;
    desk_free(desk);
}

Test(lease_node, more_failures_than_fit_are_never_forgotten)
{
    struct desk *desk = in_session();
    struct command request = fixture_request(1);
    fixture_must(desk->store, request, T0);
    fixture_must(desk->store, fixture_about(COMMAND_APPROVE, 1, "user:app1"), T0);
    fixture_must(desk->store, fixture_about(COMMAND_REVOKE, 1, "user:ops"), T0);
    for (uint32_t i = 1; i <= 3 * LEASE_FAILURES_MAX; i++)
        lease_node_fail(desk->node, desk->stream, i, slice_str("stuck"));
    lease_node_ack(desk->node, desk->stream, 1000, 1000);
    lease_node_flush(desk->node, START_US);
    cr_assert_eq(desk->item.n_failures, LEASE_FAILURES_MAX);
    cr_assert(desk->failed_first == 1 && desk->failed_last >= store_revision(desk->store));
    desk_free(desk);
}
