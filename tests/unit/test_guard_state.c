/* What an enforcement point may conclude from pongs and revisions, and that it errs to the safe side only (G3, G5, G6).
 */
#include <criterion/criterion.h>

#include "client/guard_state.h"

#define EPOCH 7
#define SECOND 1000000ll

static struct guard_state fresh(void)
{
    struct guard_state state;
    guard_state_init(&state);
    guard_state_connected(&state);
    return state;
}

/* Complete at `revision`, acknowledged, without a promise. */
static struct guard_state complete_at(uint64_t revision)
{
    struct guard_state state = fresh();
    cr_assert(guard_state_snapshot_end(&state, EPOCH, revision));
    guard_state_receive(&state);
    guard_state_enforce(&state, revision);
    return state;
}

static struct guard_state deciding_from(int64_t sent_us, uint32_t ttl_ms)
{
    struct guard_state state = complete_at(10);
    guard_state_pong(&state, guard_state_ping(&state, sent_us), ttl_ms, 1000 * SECOND);
    return state;
}

Test(guard_state, nothing_is_decided_before_a_snapshot_and_a_promise)
{
    struct guard_state state = fresh();
    cr_assert_eq(guard_state_phase(&state, SECOND), GUARD_STARTING);
    guard_state_pong(&state, guard_state_ping(&state, SECOND), 3000, 1000 * SECOND);
    cr_assert_eq(guard_state_phase(&state, SECOND), GUARD_STARTING, "a promise alone");
    cr_assert(guard_state_snapshot_end(&state, EPOCH, 10));
    cr_assert_eq(guard_state_phase(&state, SECOND), GUARD_DECIDING);

    state = complete_at(10);
    cr_assert_eq(guard_state_phase(&state, SECOND), GUARD_STARTING, "a snapshot alone");
}

Test(guard_state, g6_a_promise_counts_from_the_sending_of_the_ping_however_late_the_pong_is)
{
    struct guard_state state = deciding_from(10 * SECOND, 3000);
    cr_assert_eq(guard_state_phase(&state, 13 * SECOND - 1), GUARD_DECIDING);
    cr_assert_eq(guard_state_phase(&state, 13 * SECOND), GUARD_STALE);
    cr_assert_eq(guard_state_valid_for_ms(&state, 12 * SECOND), 1000);
    cr_assert_eq(guard_state_valid_for_ms(&state, 13 * SECOND), 0);
}

Test(guard_state, g6_a_promise_brings_a_stale_point_back)
{
    struct guard_state state = deciding_from(10 * SECOND, 3000);
    guard_state_pong(&state, guard_state_ping(&state, 20 * SECOND), 1000, 0);
    cr_assert_eq(guard_state_phase(&state, 21 * SECOND - 1), GUARD_DECIDING);
    cr_assert_eq(guard_state_phase(&state, 21 * SECOND), GUARD_STALE);
}

Test(guard_state, a_pong_without_a_promise_leaves_the_earlier_promise_as_it_was)
{
    struct guard_state state = deciding_from(10 * SECOND, 3000);
    guard_state_pong(&state, guard_state_ping(&state, 12 * SECOND), 0, 0);
    cr_assert_eq(guard_state_phase(&state, 13 * SECOND - 1), GUARD_DECIDING);
    cr_assert_eq(guard_state_phase(&state, 13 * SECOND), GUARD_STALE);
    cr_assert_eq(guard_state_staleness_ms(&state, 12 * SECOND), 2000, "it was no word of the cluster's");
}

Test(guard_state, a_shorter_promise_does_not_take_back_a_longer_one)
{
    struct guard_state state = deciding_from(10 * SECOND, 3000);
    guard_state_pong(&state, guard_state_ping(&state, 11 * SECOND), 1000, 0);
    cr_assert_eq(guard_state_phase(&state, 13 * SECOND - 1), GUARD_DECIDING);
}

Test(guard_state, a_pong_counts_once_and_only_for_a_ping_that_is_under_way)
{
    struct guard_state state = complete_at(10);
    uint64_t first = guard_state_ping(&state, SECOND);
    for (unsigned i = 1; i < GUARD_PINGS + 1; i++)
        (void)guard_state_ping(&state, 2 * SECOND);
    guard_state_pong(&state, first, 60000, 0);
    guard_state_pong(&state, 0, 60000, 0);
    guard_state_pong(&state, 999, 60000, 0);
    cr_assert_eq(state.valid_until_us, 0);
    guard_state_pong(&state, first + 1, 1000, 0);
    guard_state_pong(&state, first + 1, 60000, 0);
    cr_assert_eq(state.valid_until_us, 3 * SECOND);
}

Test(guard_state, pongs_of_a_lost_stream_promise_nothing_but_what_was_promised_holds)
{
    struct guard_state state = deciding_from(10 * SECOND, 3000);
    uint64_t sequence = guard_state_ping(&state, 11 * SECOND);
    guard_state_disconnected(&state);
    guard_state_pong(&state, sequence, 3000, 0);
    cr_assert_eq(state.valid_until_us, 13 * SECOND);
    cr_assert_eq(guard_state_phase(&state, 12 * SECOND), GUARD_DECIDING);
    guard_state_connected(&state);
    cr_assert_neq(guard_state_ping(&state, 12 * SECOND), sequence, "sequences are never used again");
}

Test(guard_state, staleness_is_told_since_the_last_promise)
{
    struct guard_state state = complete_at(10);
    cr_assert_eq(guard_state_staleness_ms(&state, SECOND), -1);
    state = deciding_from(10 * SECOND, 3000);
    cr_assert_eq(guard_state_staleness_ms(&state, 10 * SECOND + 1500), 1);
    cr_assert_eq(guard_state_staleness_ms(&state, 10 * SECOND - 1), 0);
}

/* --- cluster time ------------------------------------------------------------------------------------------------- */

Test(guard_state, g3_without_a_word_on_cluster_time_every_deadline_has_passed)
{
    struct guard_state state = complete_at(10);
    cr_assert_eq(guard_state_time_ms(&state, SECOND), INT64_MAX);
    guard_state_pong(&state, guard_state_ping(&state, SECOND), 3000, 0);
    cr_assert_eq(guard_state_time_ms(&state, SECOND), INT64_MAX);
}

/* The leader's clock is 1 % fast and ours 1 % slow: cluster time runs on by 99/101 more than we count. */
Test(guard_state, g3_cluster_time_is_never_taken_for_earlier_than_it_is)
{
    struct guard_state state = deciding_from(10 * SECOND, 3000);
    for (int64_t ours = 0; ours < 100 * SECOND; ours += 333333) {
        int64_t at_most_us = 1000 * SECOND + ours * 101 / 99;
        int64_t known_ms = guard_state_time_ms(&state, 10 * SECOND + ours);
        cr_assert_geq(known_ms * 1000, at_most_us);
        cr_assert_leq(known_ms * 1000, at_most_us + ours / 1000 + 2000, "needlessly early");
    }
}

Test(guard_state, g3_cluster_time_follows_the_newest_ping_even_where_it_jumps_ahead)
{
    struct guard_state state = deciding_from(10 * SECOND, 3000);
    guard_state_pong(&state, guard_state_ping(&state, 11 * SECOND), 3000, 5000 * SECOND);
    cr_assert_geq(guard_state_time_ms(&state, 11 * SECOND), 5000 * 1000);
    guard_state_pong(&state, guard_state_ping(&state, 12 * SECOND), 3000, 5001 * SECOND);
    cr_assert_leq(guard_state_time_ms(&state, 12 * SECOND), 5001 * 1000 + 1);
}

Test(guard_state, an_overtaken_pong_does_not_bring_back_an_older_time)
{
    struct guard_state state = complete_at(10);
    uint64_t first = guard_state_ping(&state, 10 * SECOND), second = guard_state_ping(&state, 11 * SECOND);
    guard_state_pong(&state, second, 3000, 1001 * SECOND);
    guard_state_pong(&state, first, 3000, 999 * SECOND);
    cr_assert_geq(guard_state_time_ms(&state, 11 * SECOND), 1001 * 1000);
    cr_assert_eq(state.valid_until_us, 14 * SECOND);
}

/* --- revisions ---------------------------------------------------------------------------------------------------- */

Test(guard_state, g5_events_only_go_forward)
{
    struct guard_state state = complete_at(10);
    cr_assert(guard_state_event(&state, EPOCH, 12), "others' events lie between");
    cr_assert_not(guard_state_event(&state, EPOCH, 12));
    cr_assert_not(guard_state_event(&state, EPOCH, 11));
    cr_assert_not(guard_state_event(&state, EPOCH + 1, 13));
    cr_assert_not(guard_state_progress(&state, EPOCH, 11));
    cr_assert_not(guard_state_progress(&state, EPOCH + 1, 13));
    cr_assert_eq(state.revision, 12, "what was refused changes nothing");
    cr_assert(guard_state_progress(&state, EPOCH, 12));
    cr_assert(guard_state_progress(&state, EPOCH, 20));
    cr_assert_eq(state.revision, 20);
}

Test(guard_state, events_before_a_snapshot_or_within_one_are_refused)
{
    struct guard_state state = fresh();
    cr_assert_not(guard_state_event(&state, EPOCH, 5));
    cr_assert_not(guard_state_progress(&state, EPOCH, 5));
    state = complete_at(10);
    guard_state_resync(&state);
    cr_assert_not(guard_state_event(&state, EPOCH, 11));
    cr_assert_not(guard_state_progress(&state, EPOCH, 11));
}

Test(guard_state, g5_a_snapshot_older_than_the_cache_is_refused)
{
    struct guard_state state = complete_at(10);
    cr_assert_not(guard_state_snapshot_end(&state, EPOCH, 30), "nobody announced it");
    guard_state_resync(&state);
    cr_assert_not(guard_state_snapshot_end(&state, EPOCH, 9));
    cr_assert(state.resyncing);
    cr_assert(guard_state_snapshot_end(&state, EPOCH, 10));
    cr_assert_not(state.resyncing);
}

Test(guard_state, a_point_goes_on_deciding_while_it_resyncs)
{
    struct guard_state state = deciding_from(10 * SECOND, 3000);
    guard_state_resync(&state);
    cr_assert_eq(guard_state_phase(&state, 11 * SECOND), GUARD_DECIDING);
    guard_state_receive(&state);
    cr_assert_eq(state.received, 10, "the old cache denies no more than it did");
}

Test(guard_state, a_snapshot_that_breaks_off_counts_for_nothing)
{
    struct guard_state state = complete_at(10);
    guard_state_resync(&state);
    guard_state_disconnected(&state);
    guard_state_connected(&state);
    cr_assert_eq(state.revision, 10, "resumes behind the cache that it has");
    cr_assert(guard_state_event(&state, EPOCH, 11));
}

Test(guard_state, another_epoch_needs_a_resync_and_begins_its_own_watermarks)
{
    struct guard_state state = complete_at(10);
    guard_state_resync(&state);
    cr_assert(guard_state_snapshot_end(&state, EPOCH + 1, 4));
    cr_assert_eq(state.received, 0);
    guard_state_receive(&state);
    guard_state_enforce(&state, 4);
    cr_assert_eq(state.received, 4);
    cr_assert_eq(state.enforced, 4);
}

Test(guard_state, g5_enforced_is_never_ahead_of_received_and_neither_goes_back)
{
    struct guard_state state = complete_at(10);
    cr_assert(guard_state_event(&state, EPOCH, 15));
    guard_state_enforce(&state, 15);
    cr_assert_eq(state.enforced, 10, "nothing beyond 10 was received");
    guard_state_receive(&state);
    cr_assert_eq(state.received, 15);
    guard_state_enforce(&state, 12);
    guard_state_enforce(&state, 11);
    cr_assert_eq(state.enforced, 12);
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

Test(guard_state, a_new_instance_begins_with_nothing)
{
    struct guard_state state = deciding_from(10 * SECOND, 3000);
    guard_state_ended(&state, false);
    cr_assert_eq(guard_state_phase(&state, 11 * SECOND), GUARD_STARTING);
    cr_assert_eq(state.received, 0);
    cr_assert_eq(state.revision, 0);
    guard_state_connected(&state);
    cr_assert(guard_state_snapshot_end(&state, EPOCH, 20));
    cr_assert_eq(guard_state_phase(&state, 11 * SECOND), GUARD_STARTING, "the promise went with the old one");
}

Test(guard_state, a_fenced_point_denies_for_good)
{
    struct guard_state state = deciding_from(10 * SECOND, 3000);
    guard_state_ended(&state, true);
    cr_assert_eq(guard_state_phase(&state, 11 * SECOND), GUARD_FENCED);
    guard_state_ended(&state, false);
    cr_assert_eq(guard_state_phase(&state, 11 * SECOND), GUARD_FENCED);
    cr_assert_eq(guard_state_valid_for_ms(&state, 11 * SECOND), 0);
}
