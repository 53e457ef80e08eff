/* The pure parts of the replica: cluster time, evidence, flow control, the tail of the log, members, the outbox. */
#include <criterion/criterion.h>

#include "raft/cluster_clock.h"
#include "raft/evidence.h"
#include "raft/members.h"
#include "raft/outbox.h"
#include "raft/sender.h"
#include "raft/tail.h"

#define SECOND INT64_C(1000000)
#define WALL (INT64_C(1800000000) * SECOND)

static const uint64_t trio[] = {1, 2, 3};

/* --- Cluster time --- */

static void hear(struct cluster_clock *clock, uint64_t from, bool leader, uint64_t era, int64_t time_us,
                 int64_t wall_us, int64_t echo_us, int64_t now_us)
{
    struct clock_sample sample = {from, leader, era, time_us, wall_us, echo_us, 0};
    (void)cluster_clock_hear(clock, &sample, now_us, WALL + now_us);
}

Test(cluster_clock, a_follower_knows_two_bounds_and_the_truth_lies_between)
{
    struct cluster_clock clock;
    cluster_clock_init(&clock);
    cr_assert_eq(cluster_clock_now(&clock, 5 * SECOND), 0);
    /* True cluster time is boot time + 100 s; 3 ms there, 2 ms back. */
    hear(&clock, 1, true, 1, 105 * SECOND + 3000, 0, 5 * SECOND, 5 * SECOND + 5000);
    int64_t truth = 105 * SECOND + 5000;
    cr_assert_eq(cluster_clock_now(&clock, 5 * SECOND + 5000), truth - 2000);
    cr_assert_geq(cluster_clock_upper(&clock, 5 * SECOND + 5000), truth);
    cr_assert_leq(cluster_clock_upper(&clock, 5 * SECOND + 5000), truth + 30000);
}

Test(cluster_clock, a_late_frame_does_not_lower_the_estimate)
{
    struct cluster_clock clock;
    cluster_clock_init(&clock);
    hear(&clock, 1, true, 1, 105 * SECOND, 0, 0, 5 * SECOND);
    hear(&clock, 1, true, 1, 105 * SECOND + 1000, 0, 0, 6 * SECOND + 500000);
    cr_assert_eq(cluster_clock_now(&clock, 6 * SECOND + 500000), 106 * SECOND + 500000);
}

Test(cluster_clock, a_new_leader_goes_on_from_the_best_estimate_among_its_voters)
{
    struct cluster_clock clock;
    cluster_clock_init(&clock);
    hear(&clock, 1, true, 4, 105 * SECOND, WALL, 0, 5 * SECOND);
    hear(&clock, 2, false, 4, 106 * SECOND + 7, WALL, 0, 6 * SECOND);
    cluster_clock_begin_leading(&clock, 9, 6 * SECOND);
    cr_assert_eq(cluster_clock_now(&clock, 6 * SECOND), 0, "not before it is established");
    cr_assert(cluster_clock_establish(&clock, 3, trio, 3, 6 * SECOND, WALL + 3600 * SECOND, SECOND));
    cr_assert_eq(cluster_clock_now(&clock, 6 * SECOND), 106 * SECOND + 7, "wall clocks play no part");
    cr_assert_eq(cluster_clock_era(&clock), 4);
}

Test(cluster_clock, an_estimate_of_a_later_era_replaces_a_greater_one_of_an_earlier)
{
    struct cluster_clock clock;
    cluster_clock_init(&clock);
    hear(&clock, 1, true, 4, 9000 * SECOND, WALL, 0, 5 * SECOND);
    hear(&clock, 2, false, 8, 106 * SECOND, WALL, 0, 6 * SECOND);
    cluster_clock_begin_leading(&clock, 9, 6 * SECOND);
    cr_assert(cluster_clock_establish(&clock, 3, trio, 3, 6 * SECOND, WALL, SECOND));
    cr_assert_eq(cluster_clock_now(&clock, 6 * SECOND), 106 * SECOND);
    cr_assert_eq(cluster_clock_era(&clock), 8);
}

Test(cluster_clock, from_vague_bounds_a_leader_goes_on_early_and_never_late)
{
    struct cluster_clock clock;
    cluster_clock_init(&clock);
    /* A frame that waited for 2 s while this process was paused. */
    hear(&clock, 1, true, 1, 105 * SECOND, WALL, 5 * SECOND, 7 * SECOND);
    cluster_clock_begin_leading(&clock, 9, 7 * SECOND);
    cr_assert(cluster_clock_establish(&clock, 3, trio, 3, 7 * SECOND, WALL, SECOND));
    cr_assert_eq(cluster_clock_now(&clock, 7 * SECOND), 107 * SECOND);
}

Test(cluster_clock, a_voter_that_knows_better_sharpens_vague_bounds)
{
    struct cluster_clock clock;
    cluster_clock_init(&clock);
    hear(&clock, 1, true, 1, 105 * SECOND, WALL, 5 * SECOND, 7 * SECOND);
    struct clock_sample voter = {2, false, 1, 106 * SECOND, WALL, 7 * SECOND - 1000, 106 * SECOND + 5000};
    (void)cluster_clock_hear(&clock, &voter, 7 * SECOND, WALL);
    cluster_clock_begin_leading(&clock, 9, 7 * SECOND);
    cr_assert(cluster_clock_establish(&clock, 3, trio, 3, 7 * SECOND, WALL, SECOND));
    cr_assert_eq(cluster_clock_now(&clock, 7 * SECOND), 106 * SECOND);
}

Test(cluster_clock, a_cold_start_takes_the_median_and_begins_an_era)
{
    struct cluster_clock clock;
    cluster_clock_init(&clock);
    cluster_clock_begin_leading(&clock, 9, 6 * SECOND);
    cr_assert(!cluster_clock_establish(&clock, 3, trio, 3, 6 * SECOND, WALL, SECOND), "one of three is no majority");
    cr_assert(!cluster_clock_establish(&clock, 3, trio, 3, 60 * SECOND, WALL, SECOND));
    hear(&clock, 1, false, 0, 0, WALL + 86400 * SECOND, 0, 6 * SECOND);
    cr_assert(!cluster_clock_establish(&clock, 3, trio, 3, 6 * SECOND, WALL, SECOND), "the third may answer");
    hear(&clock, 2, false, 0, 0, WALL + SECOND, 0, 6 * SECOND);
    cr_assert(cluster_clock_establish(&clock, 3, trio, 3, 6 * SECOND, WALL, SECOND));
    cr_assert_eq(cluster_clock_now(&clock, 6 * SECOND), WALL + SECOND);
    cr_assert_eq(cluster_clock_era(&clock), 9);
}

Test(cluster_clock, of_two_wall_clocks_the_later_counts_so_that_no_grant_is_prolonged)
{
    struct cluster_clock clock;
    cluster_clock_init(&clock);
    cluster_clock_begin_leading(&clock, 9, 6 * SECOND);
    hear(&clock, 1, false, 0, 0, WALL - 3600 * SECOND, 0, 6 * SECOND);
    cr_assert(cluster_clock_establish(&clock, 3, trio, 3, 8 * SECOND, WALL, SECOND));
    cr_assert_eq(cluster_clock_now(&clock, 8 * SECOND), WALL);
}

Test(cluster_clock, a_cold_start_never_begins_before_what_was_applied)
{
    struct cluster_clock clock;
    cluster_clock_init(&clock);
    cluster_clock_applied(&clock, WALL / 1000 + 5000);
    cluster_clock_begin_leading(&clock, 9, 6 * SECOND);
    uint64_t alone = 3;
    cr_assert(cluster_clock_establish(&clock, 3, &alone, 1, 6 * SECOND, WALL, SECOND));
    cr_assert_eq(cluster_clock_stamp_ms(&clock, 6 * SECOND), WALL / 1000 + 5000);
    cr_assert_eq(cluster_clock_stamp_ms(&clock, 7 * SECOND), WALL / 1000 + 6000, "and it runs from there");
    cr_assert_eq(cluster_clock_when(&clock, WALL / 1000 + 6000), 7 * SECOND);
}

Test(cluster_clock, a_deposed_leader_keeps_its_time_as_an_estimate)
{
    struct cluster_clock clock;
    cluster_clock_init(&clock);
    uint64_t alone = 3;
    cluster_clock_begin_leading(&clock, 9, 6 * SECOND);
    cr_assert(cluster_clock_establish(&clock, 3, &alone, 1, 6 * SECOND, WALL, SECOND));
    cluster_clock_end_leading(&clock, 7 * SECOND);
    cr_assert_eq(cluster_clock_now(&clock, 8 * SECOND), WALL + 2 * SECOND);
}

Test(cluster_clock, only_what_delay_cannot_explain_is_a_difference_of_wall_clocks)
{
    struct cluster_clock clock;
    cluster_clock_init(&clock);
    /* Theirs was read 2 s ago on the way here: no difference. */
    struct clock_sample slow = {1, false, 0, 0, WALL + 8 * SECOND, 7 * SECOND, 0};
    cr_assert_eq(cluster_clock_hear(&clock, &slow, 10 * SECOND, WALL + 10 * SECOND), 0);
    struct clock_sample ahead = {1, false, 0, 0, WALL + 11 * SECOND, 7 * SECOND, 0};
    cr_assert_eq(cluster_clock_hear(&clock, &ahead, 10 * SECOND, WALL + 10 * SECOND), SECOND);
    struct clock_sample behind = {1, false, 0, 0, WALL + 6 * SECOND, 7 * SECOND, 0};
    cr_assert_eq(cluster_clock_hear(&clock, &behind, 10 * SECOND, WALL + 10 * SECOND), -SECOND);
}

/* --- Evidence --- */

Test(evidence, a_majority_decides_and_its_oldest_member_says_since_when)
{
    struct evidence evidence = {0};
    static const uint64_t five[] = {1, 2, 3, 4, 5};
    evidence_set_voters(&evidence, five, 5);
    cr_assert_eq(evidence_since(&evidence, 1), 0);
    evidence_add(&evidence, 2, 100);
    cr_assert_eq(evidence_since(&evidence, 1), 0, "two of five");
    evidence_add(&evidence, 3, 50);
    cr_assert_eq(evidence_since(&evidence, 1), 50);
    evidence_add(&evidence, 4, 70);
    cr_assert_eq(evidence_since(&evidence, 1), 70);
    evidence_add(&evidence, 4, 10);
    cr_assert_eq(evidence_since(&evidence, 1), 70, "late frames take nothing back");
    evidence_add(&evidence, 9, 1000);
    cr_assert_eq(evidence_since(&evidence, 1), 70, "who does not vote does not count");
}

Test(evidence, a_leader_that_does_not_vote_does_not_count_itself)
{
    struct evidence evidence = {0};
    evidence_set_voters(&evidence, trio, 3);
    evidence_add(&evidence, 1, 10);
    cr_assert_eq(evidence_since(&evidence, 9), 0);
    evidence_add(&evidence, 2, 20);
    cr_assert_eq(evidence_since(&evidence, 9), 10);
}

Test(evidence, a_sole_voter_is_its_own_majority_and_nobody_is_none)
{
    struct evidence evidence = {0};
    cr_assert_eq(evidence_since(&evidence, 1), 0);
    evidence_set_voters(&evidence, trio, 1);
    cr_assert_eq(evidence_since(&evidence, 1), UINT64_MAX);
}

Test(evidence, voters_that_stay_keep_what_they_said)
{
    struct evidence evidence = {0};
    static const uint64_t others[] = {2, 3, 4};
    evidence_set_voters(&evidence, trio, 3);
    evidence_add(&evidence, 2, 30);
    evidence_set_voters(&evidence, others, 3);
    evidence_add(&evidence, 4, 40);
    cr_assert_eq(evidence_since(&evidence, 9), 30);
    evidence_reset(&evidence);
    cr_assert_eq(evidence_since(&evidence, 9), 0);
}

/* --- The tail --- */

static void append(struct tail *tail, uint64_t term, size_t bytes)
{
    static const uint8_t zeros[1 << 20];
    struct blob *data = bytes == 0 ? NULL : blob_new(slice_of(zeros, bytes));
    tail_append(tail, (struct log_entry){term, 1, data});
}

Test(tail, it_knows_terms_and_sums_through_appends_truncations_and_snapshots)
{
    struct tail tail;
    tail_init(&tail, 1);
    for (uint64_t i = 1; i <= 1000; i++)
        append(&tail, i / 100 + 1, 10);
    cr_assert_eq(tail_last(&tail), 1000);
    cr_assert_eq(tail_term(&tail, 250), 3);
    cr_assert_eq(tail_bytes(&tail, 1, 1000), 10000);
    cr_assert_eq(tail_bytes(&tail, 11, 20), 100);
    tail_truncate(&tail, 901);
    cr_assert_eq(tail_last(&tail), 900);
    tail_snapshot(&tail, 800, 9, 701);
    cr_assert_null(tail_at(&tail, 700));
    cr_assert_not_null(tail_at(&tail, 701));
    cr_assert_eq(tail_bytes(&tail, 701, 900), 2000);
    cr_assert_eq(tail_bytes(&tail, 1, 701), 10, "clipped to what is held");
    for (uint64_t i = 0; i < 5000; i++)
        append(&tail, 20, 1);
    cr_assert_eq(tail_last(&tail), 5900);
    cr_assert_eq(tail_bytes(&tail, 901, UINT64_MAX), 5000);
    tail_reset(&tail, 9000, 30);
    cr_assert_eq(tail_last(&tail), 9000);
    cr_assert_eq(tail_term(&tail, 9000), 30);
    append(&tail, 30, 5);
    cr_assert_eq(tail_last(&tail), 9001);
    tail_free(&tail);
}

/* --- Flow control --- */

struct flow {
    struct sender sender;
    struct tail tail;
    int64_t now_us;
};

static struct flow flow_of(uint32_t entries, size_t bytes)
{
    struct flow flow = {.now_us = SECOND};
    tail_init(&flow.tail, 1);
    for (uint32_t i = 0; i < entries; i++)
        append(&flow.tail, 1, bytes);
    return flow;
}

/* Sends all that may be sent; returns how many entries that were. */
static uint32_t pump(struct flow *flow, uint64_t match, uint32_t *pieces)
{
    struct sender_piece piece;
    uint32_t n = 0;
    *pieces = 0;
    while (sender_next(&flow->sender, &flow->tail, 2, match, 0, flow->now_us, &piece)) {
        n += piece.n;
        ++*pieces;
    }
    return n;
}

Test(sender, what_is_in_flight_is_not_sent_twice)
{
    struct flow flow = flow_of(10, 100);
    uint32_t pieces;
    sender_hint(&flow.sender, 2, 0, 0, 5, 0, flow.now_us);
    cr_assert_eq(pump(&flow, 0, &pieces), 5);
    sender_hint(&flow.sender, 2, 0, 0, 10, 0, flow.now_us);
    cr_assert_eq(pump(&flow, 0, &pieces), 5, "only what is new");
    sender_hint(&flow.sender, 2, 0, 0, 10, 0, flow.now_us);
    cr_assert_eq(pump(&flow, 0, &pieces), 0);
    cr_assert_eq(pieces, 1, "a heartbeat instead");
    tail_free(&flow.tail);
}

Test(sender, after_a_refusal_or_a_long_silence_everything_is_sent_again)
{
    struct flow flow = flow_of(10, 100);
    uint32_t pieces;
    sender_hint(&flow.sender, 2, 0, 0, 10, 0, flow.now_us);
    cr_assert_eq(pump(&flow, 0, &pieces), 10);
    sender_rejected(&flow.sender, 2, 5, 0);
    sender_hint(&flow.sender, 2, 0, 0, 10, 0, flow.now_us);
    cr_assert_eq(pump(&flow, 0, &pieces), 10);
    flow.now_us += SECOND;
    sender_hint(&flow.sender, 2, 0, 0, 10, 0, flow.now_us);
    cr_assert_eq(pump(&flow, 0, &pieces), 10);
    tail_free(&flow.tail);
}

Test(sender, bytes_in_flight_are_bounded_and_acknowledgements_open_the_window)
{
    struct flow flow = flow_of(100, 512 * 1024);
    uint32_t pieces;
    sender_hint(&flow.sender, 2, 0, 0, 100, 0, flow.now_us);
    uint32_t first = pump(&flow, 0, &pieces);
    cr_assert(first >= 16 && first <= 18, "8 MiB and a piece at most, not %u entries", first);
    cr_assert_geq(pieces, 8, "in pieces of a megabyte");
    cr_assert_eq(pump(&flow, 0, &pieces), 0);
    cr_assert_eq(pump(&flow, 10, &pieces), 10);
    cr_assert_gt(pump(&flow, first + 10, &pieces), 10);
    tail_free(&flow.tail);
}

Test(sender, a_heartbeat_stands_behind_what_was_sent_and_not_behind_what_is_held_back)
{
    struct flow flow = flow_of(100, 512 * 1024);
    struct sender_piece piece;
    uint32_t pieces;
    sender_hint(&flow.sender, 2, 0, 0, 100, 0, flow.now_us);
    uint32_t sent = pump(&flow, 0, &pieces);
    sender_hint(&flow.sender, 2, 100, 1, 100, 0, flow.now_us);
    cr_assert(sender_next(&flow.sender, &flow.tail, 2, 0, 0, flow.now_us, &piece));
    cr_assert_eq(piece.n, 0);
    cr_assert_eq(piece.index, sent);
    tail_free(&flow.tail);
}

Test(sender, a_commit_is_announced_once_and_only_as_far_as_it_was_acknowledged)
{
    struct flow flow = flow_of(10, 100);
    struct sender_piece piece;
    uint32_t pieces;
    sender_hint(&flow.sender, 2, 0, 0, 10, 0, flow.now_us);
    (void)pump(&flow, 0, &pieces);
    cr_assert(!sender_announce(&flow.sender, &flow.tail, 2, 0, 10, &piece));
    cr_assert(sender_announce(&flow.sender, &flow.tail, 2, 6, 10, &piece));
    cr_assert(piece.index == 6 && piece.n == 0);
    cr_assert(!sender_announce(&flow.sender, &flow.tail, 2, 6, 10, &piece));
    cr_assert(sender_announce(&flow.sender, &flow.tail, 2, 10, 10, &piece));
    tail_free(&flow.tail);
}

/* --- Members --- */

Test(members, libraft_and_we_read_the_same_bytes)
{
    struct members members = {.n = 0}, read;
    struct replica_member one = {1, "n1:7402", REPLICA_VOTER}, two = {2, "n2:7402", REPLICA_SPARE};
    cr_assert(lapse_is_ok(members_add(&members, &one, NULL)));
    cr_assert(lapse_is_ok(members_add(&members, &two, NULL)));
    struct blob *bytes = members_encode(&members);
    cr_assert(lapse_is_ok(members_decode(blob_slice(bytes), &read, NULL)));
    cr_assert_eq(read.n, 2);
    cr_assert_str_eq(read.list[1].address, "n2:7402");
    cr_assert_eq(read.list[1].role, REPLICA_SPARE);
    for (size_t len = 0; len + 8 <= bytes->len; len++)
        cr_assert_eq(members_decode(slice_of(bytes->data, len), &read, NULL).code, LAPSE_INVALID_ARGUMENT);
    blob_unref(bytes);
}

Test(members, an_id_or_address_is_used_once)
{
    struct members members = {.n = 0};
    struct replica_member one = {1, "n1:7402", REPLICA_VOTER}, same = {2, "n1:7402", REPLICA_VOTER};
    cr_assert(lapse_is_ok(members_add(&members, &one, NULL)));
    cr_assert_eq(members_add(&members, &one, NULL).code, LAPSE_ALREADY_EXISTS);
    cr_assert_eq(members_add(&members, &same, NULL).code, LAPSE_ALREADY_EXISTS);
}

/* --- The outbox --- */

static void note(void *arg, uint64_t to, struct slice frame)
{
    char *seen = arg;
    (void)frame;
    seen[strlen(seen)] = (char)('0' + to);
}

static void push(struct outbox *outbox, uint64_t to)
{
    struct buf frame;
    buf_init(&frame, 100);
    cr_assert(lapse_is_ok(buf_append(&frame, "x", 1)));
    outbox_push(outbox, to, &frame);
}

Test(outbox, nothing_behind_a_barrier_leaves_before_it_has_passed)
{
    struct outbox outbox = {0};
    char seen[16] = "";
    push(&outbox, 1);
    outbox_raise(&outbox);
    push(&outbox, 2);
    outbox_raise(&outbox);
    push(&outbox, 3);
    outbox_drain(&outbox, note, seen);
    cr_assert_str_eq(seen, "1");
    outbox_pass(&outbox);
    outbox_drain(&outbox, note, seen);
    cr_assert_str_eq(seen, "12");
    outbox_pass(&outbox);
    outbox_drain(&outbox, note, seen);
    cr_assert_str_eq(seen, "123");
    outbox_free(&outbox);
}
