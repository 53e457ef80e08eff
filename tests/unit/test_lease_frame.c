/* Lease frames: what is written is read again, and nothing else is. */
#include <criterion/criterion.h>

#include "node/lease_frame.h"
#include "tests/sim/prng.h"

static const struct random_id instance = {{1, 2, 3, 4}};

static struct buf frame_of(const struct lease_frame *head)
{
    struct buf out;
    buf_init(&out, LEASE_FRAME_MAX);
    lease_frame_begin(&out, head);
    return out;
}

static const struct lease_frame report_head = {
    .kind = LEASE_REPORT, .sent_us = 5, .age_us = 6, .applied = 7, .session = 8, .sequence = 9};

static struct buf full_report(void)
{
    static const struct lease_failure failures[] = {{3, 4, {(const uint8_t *)"stuck", 5}}, {9, 9, {0}}};
    struct buf out = frame_of(&report_head);
    struct lease_item item = {.instance = instance,
                              .state = LEASE_WANTED,
                              .want = 11,
                              .left_us = 12,
                              .received = 14,
                              .enforced = 13,
                              .goodbye = true,
                              .failures = failures,
                              .n_failures = 2};
    lease_frame_put_item(&out, &item);
    lease_frame_put_item(&out, &(struct lease_item){.instance = instance, .state = LEASE_GONE});
    lease_frame_put_follow(&out, 21);
    lease_frame_put_unfollow(&out, 22);
    lease_frame_put_complete(&out);
    return out;
}

Test(lease_frame, a_report_comes_back_as_it_was_written)
{
    struct buf out = full_report();
    struct lease_frame frame;
    struct lease_item item;
    struct lease_failure failure;
    uint64_t barrier = 0;
    cr_assert(lease_frame_for_leader(buf_slice(&out)));
    cr_assert(lease_frame_decode(buf_slice(&out), &frame));
    cr_assert(frame.sent_us == 5 && frame.age_us == 6 && frame.applied == 7 && frame.session == 8);
    cr_assert(frame.sequence == 9 && frame.complete);
    struct slice items = frame.list, follows = frame.list, unfollows = frame.list;
    cr_assert(lease_item_next(&items, &item));
    cr_assert(item.state == LEASE_WANTED && item.want == 11 && item.left_us == 12 && item.received == 14);
    cr_assert(item.enforced == 13 && item.goodbye && item.n_failures == 2);
    cr_assert(lease_failure_next(&item.failure_list, &failure) && failure.first == 3 && failure.last == 4);
    cr_assert(slice_equal(failure.reason, slice_str("stuck")));
    cr_assert(lease_failure_next(&item.failure_list, &failure) && !lease_failure_next(&item.failure_list, &failure));
    cr_assert(lease_item_next(&items, &item) && item.state == LEASE_GONE && !lease_item_next(&items, &item));
    cr_assert(lease_follow_next(&follows, &barrier) && barrier == 21 && !lease_follow_next(&follows, &barrier));
    cr_assert(lease_unfollow_next(&unfollows, &barrier) && barrier == 22);
    buf_free(&out);
}

Test(lease_frame, an_answer_and_progress_come_back_as_they_were_written)
{
    struct lease_frame head = {
        .kind = LEASE_ANSWER, .sent_us = 1, .applied = 2, .session = 3, .life = 4, .lease = true};
    struct buf out = frame_of(&head);
    struct lease_frame frame;
    struct lease_admission admission;
    struct lease_ending end;
    struct lease_waiting waiting;
    lease_frame_put_admission(&out, &(struct lease_admission){instance, 5});
    lease_frame_put_end(&out, &(struct lease_ending){instance, LEASE_END_FENCED});
    cr_assert(lease_frame_decode(buf_slice(&out), &frame) && !lease_frame_for_leader(buf_slice(&out)));
    cr_assert(frame.life == 4 && frame.lease && frame.session == 3 && frame.applied == 2 && frame.sent_us == 1);
    struct slice admissions = frame.list, ends = frame.list;
    cr_assert(lease_admission_next(&admissions, &admission) && admission.want == 5);
    cr_assert(lease_end_next(&ends, &end) && end.why == LEASE_END_FENCED);
    buf_free(&out);
    head = (struct lease_frame){.kind = LEASE_PROGRESS, .barrier = 6, .omitted = 7};
    out = frame_of(&head);
    lease_frame_put_waiting(&out, &(struct lease_waiting){instance, slice_str("p"), 6, 8, slice_str("r")});
    cr_assert(lease_frame_decode(buf_slice(&out), &frame) && frame.barrier == 6 && frame.omitted == 7);
    cr_assert(lease_waiting_next(&frame.list, &waiting) && waiting.level == 6 && waiting.left_ms == 8);
    cr_assert(slice_equal(waiting.point, slice_str("p")) && slice_equal(waiting.reason, slice_str("r")));
    buf_free(&out);
}

Test(lease_frame, a_piece_of_a_frame_is_none_unless_it_ends_where_a_list_item_does)
{
    struct buf out = full_report();
    struct lease_frame frame;
    uint32_t taken = 0;
    for (size_t len = 0; len < out.len; len++)
        taken += lease_frame_decode(slice_of(out.data, len), &frame);
    /* A ping ends behind each of its three fields; a report behind its sequence and each of the four list items. */
    cr_assert_eq(taken, 3 + 1 + 4);
    buf_free(&out);
}

static bool accepted(const struct lease_frame *head, const struct lease_item *item)
{
    struct buf out = frame_of(head);
    struct lease_frame frame;
    if (item != NULL)
        lease_frame_put_item(&out, item);
    bool good = lease_frame_decode(buf_slice(&out), &frame);
    buf_free(&out);
    return good;
}

Test(lease_frame, contradictions_are_refused)
{
    const struct lease_item good = {.instance = instance, .state = LEASE_CUT, .left_us = 1};
    struct lease_item item = good;
    cr_assert(accepted(&report_head, &good));
    item.want = 1;
    cr_assert(!accepted(&report_head, &item), "a wish of one that is cut");
    item = good, item.state = LEASE_WANTED;
    cr_assert(!accepted(&report_head, &item), "a wish without a number");
    item = good, item.state = LEASE_ADMITTED;
    cr_assert(!accepted(&report_head, &item), "an end of promises that go on");
    item = good, item.enforced = 2, item.received = 1;
    cr_assert(!accepted(&report_head, &item), "enforced before it was received");
    item = good, item.left_us = LEASE_TIME_MAX + 1;
    cr_assert(!accepted(&report_head, &item));
    struct lease_frame head = report_head;
    head.sequence = 0;
    cr_assert(!accepted(&head, NULL), "a session without a sequence");
    head.session = 0;
    cr_assert(accepted(&head, NULL) && !accepted(&head, &good), "a report without a session");
    head = (struct lease_frame){.kind = LEASE_ANSWER, .sent_us = 1, .life = 1};
    cr_assert(!accepted(&head, NULL), "an answer without a session");
    head = (struct lease_frame){.kind = LEASE_PROGRESS, .barrier = 1};
    cr_assert(accepted(&head, NULL) && !accepted(&head, &good), "a report's item in progress");
}

Test(lease_frame, the_largest_items_fill_a_frame_to_its_limit_and_not_beyond)
{
    char text[LIMIT_RECEIPT_REASON];
    struct lease_failure failures[LEASE_FAILURES_MAX];
    struct lease_frame frame;
    struct buf out = frame_of(&report_head);
    memset(text, 'x', sizeof text);
    for (uint32_t i = 0; i < LEASE_FAILURES_MAX; i++)
        failures[i] = (struct lease_failure){UINT64_MAX - 1, UINT64_MAX, slice_of(text, sizeof text)};
    struct lease_item item = {.instance = instance, .received = UINT64_MAX, .enforced = UINT64_MAX, .goodbye = true};
    item.failures = failures;
    item.n_failures = LEASE_FAILURES_MAX;
    for (uint32_t n = 0; !lease_frame_is_full(&out); n++)
        lease_frame_put_item(&out, &item);
    lease_frame_put_complete(&out);
    cr_assert(out.len <= LEASE_FRAME_MAX && lease_frame_decode(buf_slice(&out), &frame) && frame.complete);
    buf_free(&out);
}

Test(lease_frame, changed_bytes_are_taken_or_refused_but_never_read_beyond)
{
    struct prng prng = {11};
    struct buf out = full_report();
    for (uint32_t round = 0; round < 100000; round++) {
        size_t at = prng_below(&prng, out.len);
        uint8_t before = out.data[at];
        struct lease_frame frame;
        struct lease_item item;
        out.data[at] = (uint8_t)prng_next(&prng);
        if (lease_frame_decode(buf_slice(&out), &frame)) {
            while (lease_item_next(&frame.list, &item))
                cr_assert_leq(item.enforced, item.received);
        }
        out.data[at] = before;
    }
    buf_free(&out);
}
