/* Seeds of lease frames: one of each kind with all its fields, and the smallest. */
#include "node/lease_frame.h"
#include "tests/fuzz/make_corpus.h"

static const struct random_id instance = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

static void finish(const char *name, struct buf *out)
{
    seed_write("lease", name, SEED_NO_PREFIX, buf_slice(out));
    buf_free(out);
}

static struct buf begin(const struct lease_frame *head)
{
    struct buf out;
    buf_init(&out, LEASE_FRAME_MAX);
    lease_frame_begin(&out, head);
    return out;
}

static void seed_reports(void)
{
    struct lease_failure failures[] = {{301, 304, slice_str("pts/3 does not end")}, {310, 310, slice_str("stuck")}};
    struct lease_item wanted = {.instance = instance, .state = LEASE_WANTED, .want = 7, .left_us = 2900000};
    struct lease_item acked = {.instance = instance, .received = 310, .enforced = 309, .goodbye = true};
    acked.failures = failures;
    acked.n_failures = 2;
    struct lease_item cut = {.instance = instance, .state = LEASE_CUT, .left_us = 1, .received = 5};
    struct lease_item gone = {.instance = instance, .state = LEASE_GONE};
    struct lease_frame head = {.kind = LEASE_REPORT, .sent_us = 123456789};
    struct buf ping = begin(&head);
    finish("report-ping", &ping);
    head.age_us = 3600000000, head.applied = 310, head.session = 2, head.sequence = 1;
    struct buf report = begin(&head);
    lease_frame_put_item(&report, &wanted);
    lease_frame_put_item(&report, &acked);
    lease_frame_put_item(&report, &cut);
    lease_frame_put_item(&report, &gone);
    lease_frame_put_follow(&report, 310);
    lease_frame_put_follow(&report, 312);
    lease_frame_put_unfollow(&report, 300);
    lease_frame_put_complete(&report);
    finish("report-full", &report);
}

static void seed_answers(void)
{
    struct lease_frame answer = {
        .kind = LEASE_ANSWER, .sent_us = 123456789, .applied = 310, .session = 2, .life = 42, .lease = true};
    struct lease_frame progress = {.kind = LEASE_PROGRESS, .barrier = 310, .omitted = 3};
    struct buf out = begin(&answer);
    lease_frame_put_admission(&out, &(struct lease_admission){instance, 7});
    lease_frame_put_end(&out, &(struct lease_ending){instance, LEASE_END_LAPSED});
    finish("answer-full", &out);
    out = begin(&progress);
    lease_frame_put_waiting(&out, &(struct lease_waiting){instance, slice_str("edge-eu-1"), LEASE_WAITING, 2900, {0}});
    lease_frame_put_waiting(
        &out, &(struct lease_waiting){instance, slice_str("edge-eu-2"), RECEIPT_FAILED, 0, slice_str("stuck")});
    finish("progress-full", &out);
}

void seed_lease(void)
{
    seed_reports();
    seed_answers();
}
