/* Lease frames: what was taken can be walked through, and keeps within its limits. */
#include <stdlib.h>

#include "base/check.h"
#include "node/lease_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sum;

/* Every byte is there. */
static void read_all(struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        sum = (uint8_t)(sum + bytes.data[i]);
}

static void walk_report(const struct lease_frame *frame)
{
    struct slice items = frame->list, follows = frame->list, unfollows = frame->list;
    struct lease_item item;
    uint64_t barrier;
    while (lease_item_next(&items, &item)) {
        struct slice list = item.failure_list;
        struct lease_failure failure;
        uint32_t n = 0;
        for (; lease_failure_next(&list, &failure); n++)
            read_all(failure.reason);
        CHECK(n == item.n_failures && n <= LEASE_FAILURES_MAX && item.state <= LEASE_GONE);
        CHECK(item.left_us <= LEASE_TIME_MAX && item.enforced <= item.received);
    }
    while (lease_follow_next(&follows, &barrier) || lease_unfollow_next(&unfollows, &barrier))
        CHECK(barrier > 0);
}

static void walk_rest(const struct lease_frame *frame)
{
    struct slice admissions = frame->list, ends = frame->list, list = frame->list;
    struct lease_admission admission;
    struct lease_ending end;
    struct lease_waiting waiting;
    while (lease_admission_next(&admissions, &admission))
        CHECK(admission.want > 0);
    while (lease_end_next(&ends, &end))
        CHECK(end.why >= LEASE_END_LAPSED && end.why <= LEASE_END_UNKNOWN);
    while (lease_waiting_next(&list, &waiting)) {
        read_all(waiting.point);
        read_all(waiting.reason);
        CHECK(waiting.point.len <= LIMIT_POINT_ID && waiting.reason.len <= LIMIT_RECEIPT_REASON);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lease_frame frame;
    uint8_t *exact = mem_alloc(size > 0 ? size : 1); /* the sanitizer sees a read past its end */
    if (size > 0)
        memcpy(exact, data, size);
    struct slice bytes = slice_of(exact, size);
    bool for_leader = lease_frame_for_leader(bytes);
    if (lease_frame_decode(bytes, &frame)) {
        CHECK(for_leader == (frame.kind == LEASE_REPORT) && frame.sent_us <= LEASE_TIME_MAX);
        if (for_leader)
            walk_report(&frame);
        else
            walk_rest(&frame);
    }
    free(exact);
    return 0;
}
