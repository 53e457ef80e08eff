/* Leases: no promise runs at the moment a LAPSED receipt is proposed, whatever the network, the clocks and the
 * processes do; and nobody is waited for longer than necessary. Each row of the table in
 * docs/decisions/0010-enforcement-leases.md has a scenario, which shows a violation when that row's wait is left out.
 */
#include <criterion/criterion.h>

#include "tests/unit/lease_fixture.h"

/* L, Ln + L and X + Ln + L with what drifting clocks and the steps of the fixture add. */
#define LEASE_MS 3000
#define LEASE_MS_MAX 3200
#define NODE_MS_MAX 3800
#define TERM_MS_MAX 3900

static struct world *quiet(enum lease_broken broken)
{
    return world_new(7, broken);
}

/* Ends a scenario: it was sound, or it is a broken one and the oracle saw that. */
static void finish(struct world *world)
{
    if (world->broken == LEASE_BROKEN_NOTHING)
        cr_assert_eq(world->violations, 0);
    else
        cr_assert_gt(world->violations, 0, "the oracle must notice");
    world_free(world);
}

/* --- The good case --- */

Test(lease, a_revocation_is_enforced_within_a_millisecond_when_all_points_confirm)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    for (uint32_t i = 0; i < WORLD_POINTS; i++)
        cr_assert_gt(world_point(world, i % WORLD_NODES)->promise_until_us, world->now_us);
    uint32_t proposals = world->proposals;
    uint64_t barrier = world_revoke(world);
    cr_assert_leq(world_wait(world, barrier, 1000), 1);
    struct barrier done = world_barrier(world, barrier);
    cr_assert(done.points == WORLD_POINTS && done.enforced == WORLD_POINTS);
    cr_assert_eq(world->proposals, proposals + 1, "one command for all");
    finish(world);
}

Test(lease, several_barriers_are_closed_by_one_command)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    (void)world_point(world, 0);
    (void)world_point(world, 1);
    uint64_t barriers[3];
    uint32_t proposals = world->proposals;
    for (uint32_t i = 0; i < 3; i++)
        barriers[i] = world_revoke(world);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_leq(world_wait(world, barriers[i], 1000), 1);
    cr_assert_leq(world->proposals, proposals + 2);
    cr_assert_eq(world->receipts[RECEIPT_ENFORCED], 6);
    finish(world);
}

Test(lease, a_point_goes_on_getting_promises_through_many_revocations)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    struct world_point *point = world_point(world, 1);
    for (uint32_t i = 0; i < 100; i++) {
        (void)world_revoke(world);
        world_run(world, 50);
    }
    cr_assert_gt(point->promise_until_us, world->now_us + 2000 * MS);
    cr_assert(!point->over);
    finish(world);
}

/* --- The table of bounds --- */

static void a_deaf_point(enum lease_broken broken)
{
    struct world *world = quiet(broken);
    struct world_point *deaf = world_point(world, 1);
    (void)world_point(world, 2);
    deaf->deaf = true;
    int64_t waited = world_wait(world, world_revoke(world), 10000);
    cr_assert_geq(waited, 0);
    if (broken == LEASE_BROKEN_NOTHING) {
        cr_assert(waited >= LEASE_MS - 510 && waited <= LEASE_MS_MAX, "%lld", (long long)waited);
        world_run(world, 200);
        cr_assert(deaf->over && world->nodes[1].why == LEASE_END_LAPSED);
    }
    finish(world);
}

Test(lease, a_point_that_does_not_acknowledge_is_waited_out)
{
    a_deaf_point(LEASE_BROKEN_NOTHING);
}

Test(lease, without_waiting_for_the_points_promise_the_oracle_notices)
{
    a_deaf_point(LEASE_BROKEN_POINT);
}

static void a_point_that_went_away(enum lease_broken broken)
{
    struct world *world = quiet(broken);
    world_disconnect(world, world_point(world, 1));
    int64_t waited = world_wait(world, world_revoke(world), 10000);
    cr_assert(waited >= 0 && waited <= LEASE_MS_MAX);
    finish(world);
}

Test(lease, a_stream_that_is_gone_is_waited_out)
{
    a_point_that_went_away(LEASE_BROKEN_NOTHING);
}

Test(lease, without_waiting_for_a_gone_streams_promise_the_oracle_notices)
{
    a_point_that_went_away(LEASE_BROKEN_POINT);
}

static void a_silent_node(enum lease_broken broken)
{
    struct world *world = quiet(broken);
    struct world_point *point = world_point(world, 1);
    world_run(world, 1500);
    world->nodes[1].cut_off = true;
    int64_t waited = world_wait(world, world_revoke(world), 10000);
    cr_assert(waited >= 0 && waited <= NODE_MS_MAX, "%lld", (long long)waited);
    uint32_t ttl_ms = lease_node_promise(world->nodes[1].node, point->stream, world_clock(&world->nodes[1]));
    cr_assert(ttl_ms == 0 || broken != LEASE_BROKEN_NOTHING);
    finish(world);
}

Test(lease, a_node_that_fell_silent_is_waited_out_with_its_points)
{
    a_silent_node(LEASE_BROKEN_NOTHING);
}

Test(lease, without_waiting_for_the_node_lease_the_oracle_notices)
{
    a_silent_node(LEASE_BROKEN_NODE);
}

Test(lease, without_remembering_admissions_the_oracle_notices)
{
    a_silent_node(LEASE_BROKEN_ADMISSION);
}

static void a_new_leader(enum lease_broken broken)
{
    struct world *world = quiet(broken);
    (void)world_point(world, 1);
    world_run(world, 1500);
    world->nodes[1].cut_off = true;
    world_elect(world, 2);
    world_run(world, 20);
    int64_t waited = world_wait(world, world_revoke(world), 10000);
    cr_assert(waited >= 0 && waited <= TERM_MS_MAX, "%lld", (long long)waited);
    finish(world);
}

Test(lease, a_new_leader_waits_for_what_its_predecessor_may_have_granted)
{
    a_new_leader(LEASE_BROKEN_NOTHING);
}

Test(lease, without_waiting_for_earlier_terms_the_oracle_notices)
{
    a_new_leader(LEASE_BROKEN_TERM);
}

static void a_restarted_node(enum lease_broken broken)
{
    struct world *world = quiet(broken);
    (void)world_point(world, 1);
    world_restart(world, 1);
    world_run(world, 50);
    int64_t waited = world_wait(world, world_revoke(world), 10000);
    cr_assert(waited >= 0 && waited <= LEASE_MS_MAX, "%lld", (long long)waited);
    finish(world);
}

Test(lease, promises_of_a_nodes_earlier_life_are_waited_out)
{
    a_restarted_node(LEASE_BROKEN_NOTHING);
}

Test(lease, without_waiting_for_earlier_lives_the_oracle_notices)
{
    a_restarted_node(LEASE_BROKEN_LIFE);
}

static void a_removed_node(enum lease_broken broken, bool then_a_new_leader)
{
    struct world *world = quiet(broken);
    (void)world_point(world, 1);
    world_run(world, 1500);
    world->nodes[1].cut_off = true;
    world_set_members(world, 1);
    if (then_a_new_leader) {
        world_elect(world, 2);
        world_run(world, 20);
    }
    int64_t waited = world_wait(world, world_revoke(world), 10000);
    cr_assert(waited >= 0 && waited <= TERM_MS_MAX, "%lld", (long long)waited);
    finish(world);
}

Test(lease, a_removed_node_is_waited_out_by_the_leader_that_removed_it)
{
    a_removed_node(LEASE_BROKEN_NOTHING, false);
}

Test(lease, a_removed_node_is_waited_out_by_the_next_leader_too)
{
    a_removed_node(LEASE_BROKEN_NOTHING, true);
}

Test(lease, a_node_that_is_removed_before_it_has_reported_is_waited_out)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    (void)world_point(world, 1);
    world_run(world, 1500);
    world->nodes[1].cut_off = true;
    world_elect(world, 2);
    world_run(world, 20);
    world_set_members(world, 1);
    int64_t waited = world_wait(world, world_revoke(world), 10000);
    cr_assert(waited >= 0 && waited <= TERM_MS_MAX, "%lld", (long long)waited);
    finish(world);
}

Test(lease, without_waiting_for_removed_nodes_the_oracle_notices)
{
    a_removed_node(LEASE_BROKEN_TERM, true);
}

/* --- Admissions --- */

Test(lease, a_node_that_comes_back_does_not_promise_to_a_point_that_was_decided_about)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    struct world_point *point = world_point(world, 1);
    /* Stopped, so that no report of it is lost, which would make it begin anew; what it is told is lost. */
    point->deaf = true;
    world_run(world, 300);
    world->nodes[1].paused = world->nodes[1].cut_off = true;
    world->hold = true;
    uint64_t barrier = world_revoke(world);
    world_run(world, 5000);
    cr_assert_gt(world->n_held, 0);
    /* Its admission is older than the decision, which is in no log yet. The point may have confirmed by then, but
     * LAPSED will take it out of barriers that it knows nothing of. */
    point->deaf = false;
    world_heal(world, 1);
    world_run(world, 1000);
    world_release(world);
    cr_assert_geq(world_wait(world, barrier, 1000), 0);
    finish(world);
}

Test(lease, a_cut_point_that_answers_late_is_promised_to_again_only_after_another_admission)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    struct world_point *point = world_point(world, 1);
    point->deaf = true;
    uint64_t first = world_revoke(world);
    world_run(world, 100);
    /* Its word reaches the node, and the node's reaches nobody. */
    world->nodes[1].cut_off = true;
    point->received = point->enforced = store_revision(world->nodes[1].store);
    lease_node_ack(world->nodes[1].node, point->stream, point->received, point->enforced);
    cr_assert_eq(lease_node_promise(world->nodes[1].node, point->stream, world_clock(&world->nodes[1])), 0);
    world_run(world, 10);
    cr_assert_geq(world_wait(world, first, 10000), 0);
    finish(world);
}

Test(lease, a_report_that_comes_twice_counts_once)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    struct world_point *point = world_point(world, 1);
    struct world_node *from = &world->nodes[1], *to = &world->nodes[0];
    point->silent = true;
    world_run(world, 4000);
    world_disconnect(world, point);
    world_run(world, 10);
    point->silent = false;
    world_connect(world, point, 1);
    world_run(world, 1000);
    cr_assert_gt(point->promise_until_us, world->now_us);
    /* That it is gone, again: it was true once. */
    cr_assert_gt(from->gone.len, 0);
    lease_leader_receive(to->leader, from->id, from->life, from->term, buf_slice(&from->gone), world_clock(to));
    point->silent = true;
    from->paused = true;
    cr_assert_geq(world_wait(world, world_revoke(world), 10000), 0);
    finish(world);
}

Test(lease, a_late_answer_before_the_end_of_the_lease_counts)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    struct world_point *point = world_point(world, 1);
    point->deaf = true;
    uint64_t barrier = world_revoke(world);
    world_run(world, 1000);
    cr_assert_eq(world_barrier(world, barrier).enforced, 0);
    point->deaf = false;
    point->received = point->enforced = store_revision(world->nodes[1].store);
    lease_node_ack(world->nodes[1].node, point->stream, point->received, point->enforced);
    int64_t waited = world_wait(world, barrier, 100);
    cr_assert(waited >= 0 && waited <= 25, "%lld", (long long)waited);
    cr_assert_eq(world_barrier(world, barrier).enforced, 1);
    world_run(world, 1000);
    cr_assert_gt(point->promise_until_us, world->now_us + 2000 * MS, "and it is promised to again");
    finish(world);
}

Test(lease, a_stale_leader_that_wakes_up_grants_nothing)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    (void)world_point(world, 0);
    world->nodes[0].cut_off = true;
    world_elect(world, 1);
    world_run(world, 650);
    struct lease_node_status status;
    lease_node_get_status(world->nodes[0].node, world_clock(&world->nodes[0]), &status);
    cr_assert(!status.holds_lease);
    finish(world);
}

Test(lease, a_node_that_lags_behind_an_old_barrier_gets_no_lease)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    struct world_point *point = world_point(world, 1);
    world->nodes[1].stuck = true;
    int64_t waited = world_wait(world, world_revoke(world), 10000);
    cr_assert(waited >= 0 && waited <= 2 * 500 + LEASE_MS_MAX + 100, "%lld", (long long)waited);
    cr_assert_leq(point->promise_until_us, world->now_us);
    finish(world);
}

Test(lease, a_point_gets_no_promise_from_the_moment_its_node_has_applied_a_barrier)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    struct world_point *point = world_point(world, 0);
    struct world_node *node = &world->nodes[0];
    cr_assert_gt(lease_node_promise(node->node, point->stream, world_clock(node)), 0);
    point->deaf = true;
    (void)world_revoke(world);
    cr_assert_eq(lease_node_promise(node->node, point->stream, world_clock(node)), 0);
    point->promise_until_us = world->now_us + 3100 * MS; /* the one that was taken by hand */
    finish(world);
}

Test(lease, a_point_gets_no_promise_from_the_moment_its_node_has_applied_its_end)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    struct world_point *point = world_point(world, 1);
    struct world_node *node = &world->nodes[1];
    struct command end = {
        .type = COMMAND_END_POINT, .instance = fixture_random_id(point->number), .count = POINT_END_LEFT};
    struct store_outcome outcome;
    store_apply(node->store, &end, T0, NULL, NULL, &outcome);
    cr_assert_eq(outcome.error.code, LAPSE_OK);
    cr_assert_eq(lease_node_promise(node->node, point->stream, world_clock(node)), 0);
    finish(world);
}

/* --- Other ends --- */

Test(lease, a_goodbye_ends_the_waiting_at_once)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    struct world_point *point = world_point(world, 1);
    point->silent = true;
    uint64_t barrier = world_revoke(world);
    world_run(world, 50);
    lease_node_goodbye(world->nodes[1].node, point->stream);
    int64_t waited = world_wait(world, barrier, 1000);
    cr_assert(waited >= 0 && waited <= 10, "%lld", (long long)waited);
    cr_assert_eq(world_barrier(world, barrier).left, 1);
    finish(world);
}

Test(lease, sessions_that_do_not_end_are_a_failure_a_lease_later_and_the_point_stays)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    struct world_point *point = world_point(world, 1);
    point->busy = true;
    uint64_t barrier = world_revoke(world);
    int64_t waited = world_wait(world, barrier, 10000);
    cr_assert(waited >= LEASE_MS - 50 && waited <= LEASE_MS_MAX, "%lld", (long long)waited);
    cr_assert_eq(world_barrier(world, barrier).failed, 1);
    cr_assert(!point->over && point->promise_until_us > world->now_us);
    finish(world);
}

static void find_reason(void *arg, const struct receipt *receipt, struct slice point)
{
    (void)point;
    (void)slice_to_cstr(receipt->reason, arg, LIMIT_RECEIPT_REASON + 1);
}

Test(lease, a_failure_that_is_told_is_known_at_once_with_its_reason)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    struct world_point *point = world_point(world, 1);
    point->busy = true;
    uint64_t barrier = world_revoke(world);
    world_run(world, 2);
    lease_node_fail(world->nodes[1].node, point->stream, barrier, slice_str("pts/3 does not die"));
    int64_t waited = world_wait(world, barrier, 1000);
    cr_assert(waited >= 0 && waited <= 5, "%lld", (long long)waited);
    char reason[LIMIT_RECEIPT_REASON + 1] = "";
    world_run(world, 2);
    cr_assert(store_barrier_receipts(world->nodes[0].store, barrier, find_reason, reason));
    cr_assert_str_eq(reason, "pts/3 does not die");
    finish(world);
}

Test(lease, a_failure_concerns_what_was_not_confirmed_when_it_was_told)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    struct world_point *point = world_point(world, 1);
    world_point(world, 2)->deaf = true; /* keeps barriers open */
    uint64_t first = world_revoke(world);
    world_run(world, 50);
    point->busy = true;
    uint64_t second = world_revoke(world);
    world_run(world, 2);
    lease_node_fail(world->nodes[1].node, point->stream, second, slice_str("stuck"));
    point->busy = false;
    point->enforced = point->received;
    lease_node_ack(world->nodes[1].node, point->stream, point->received, point->enforced);
    world_run(world, 2);
    uint64_t third = world_revoke(world);
    /* Told once more, on another stream: nothing new. */
    world_connect(world, point, 0);
    lease_node_fail(world->nodes[0].node, point->stream, second, slice_str("stuck"));
    cr_assert_geq(world_wait(world, third, 10000), 0);
    cr_assert_eq(world_barrier(world, first).enforced, 1);
    cr_assert_eq(world_barrier(world, second).failed, 1);
    cr_assert_eq(world_barrier(world, third).enforced, 1);
    finish(world);
}

Test(lease, a_fenced_instance_ends_when_its_promise_has_run_out)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    struct world_point *old = world_point(world, 1);
    struct command command = fixture_register("p1", 999, "db/prod/*");
    struct point registered;
    world_commit(world, &command);
    world_run(world, 300);
    cr_assert(old->over && world->nodes[1].why == LEASE_END_FENCED);
    cr_assert(store_point_get(world->nodes[0].store, fixture_random_id(old->number), &registered));
    world_run(world, 5000);
    cr_assert(!store_point_get(world->nodes[0].store, fixture_random_id(old->number), &registered));
    cr_assert(store_point_get(world->nodes[0].store, fixture_random_id(999), &registered));
    finish(world);
}

Test(lease, a_point_without_a_stream_for_long_is_ended)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    struct world_point *point = world_point(world, 1);
    struct point registered;
    world_disconnect(world, point);
    world_run(world, LIMIT_POINT_ABSENT_MS - 2000);
    cr_assert(store_point_get(world->nodes[0].store, fixture_random_id(point->number), &registered));
    world_run(world, 6000);
    cr_assert(!store_point_get(world->nodes[0].store, fixture_random_id(point->number), &registered));
    finish(world);
}

Test(lease, a_newer_stream_of_an_instance_replaces_the_older_one)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    struct world_point *point = world_point(world, 1);
    struct world_node *node = &world->nodes[1];
    point->stream = lease_node_open(node->node, fixture_random_id(point->number), point, world_clock(node));
    cr_assert_eq(node->ended, 0, "not on the caller's stack");
    world_run(world, 1000);
    cr_assert(node->ended == 1 && node->why == LEASE_END_REPLACED);
    cr_assert_gt(point->promise_until_us, world->now_us);
    finish(world);
}

Test(lease, a_stream_of_an_unregistered_instance_is_ended)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    world->n_points = 1;
    world->points[0] = (struct world_point){.number = 4711, .node = UINT32_MAX};
    world_connect(world, &world->points[0], 1);
    world_run(world, 300);
    cr_assert(world->points[0].over && world->nodes[1].why == LEASE_END_UNKNOWN);
    finish(world);
}

Test(lease, lost_proposals_are_made_again)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    (void)world_point(world, 1);
    world_point(world, 2)->deaf = true;
    world->refuse = true;
    uint64_t barrier = world_revoke(world);
    world_run(world, 6000);
    cr_assert(!world_barrier(world, barrier).done);
    world->refuse = false;
    lease_leader_refused(world->nodes[0].leader, world_clock(&world->nodes[0]));
    int64_t waited = world_wait(world, barrier, 2000);
    cr_assert(waited >= 0 && waited <= 1200, "%lld", (long long)waited);
    finish(world);
}

/* --- Progress --- */

Test(lease, who_follows_a_barrier_hears_who_is_missing_and_that_it_is_done)
{
    struct world *world = quiet(LEASE_BROKEN_NOTHING);
    world_point(world, 1)->deaf = true;
    world_point(world, 2)->busy = true;
    uint64_t barrier = world_revoke(world);
    struct world_node *node = &world->nodes[2];
    lease_node_follow(node->node, barrier);
    world_run(world, 100);
    cr_assert(node->progress >= 1 && node->last_progress.n == 2 && node->first_level == LEASE_WAITING);
    cr_assert_geq(world_wait(world, barrier, 10000), 0);
    world_run(world, 100);
    cr_assert(node->last_progress.done && node->last_progress.n == 2);
    uint32_t told = node->progress;
    world_run(world, 500);
    cr_assert_eq(node->progress, told, "once");
    lease_node_unfollow(node->node, barrier);
    finish(world);
}

/* --- Any schedule --- */

static void chaos_step(struct world *world, uint32_t *cut)
{
    struct prng *prng = &world->prng;
    struct world_point *point = &world->points[prng_below(prng, world->n_points)];
    uint32_t node = (uint32_t)prng_below(prng, WORLD_NODES);
    switch (prng_below(prng, 11)) {
    case 0:
        if (*cut == UINT32_MAX) {
            *cut = node;
            world->nodes[node].cut_off = true;
            if (node == world->leader && prng_chance(prng, 80))
                world_elect(world, (node + 1) % WORLD_NODES);
        }
        break;
    case 1:
        if (*cut != UINT32_MAX) {
            world_heal(world, *cut);
            *cut = UINT32_MAX;
        }
        break;
    case 2:
        if (node != *cut && prng_chance(prng, 50)) {
            /* The old leader may sleep through it. */
            world->nodes[world->leader].paused = prng_chance(prng, 30);
            world_elect(world, node);
        }
        break;
    case 3:
        if (node != world->leader && node != *cut && prng_chance(prng, 50))
            world_restart(world, node);
        break;
    case 4:
        point->deaf = !point->deaf;
        break;
    case 5:
        point->silent = !point->silent;
        break;
    case 6:
        if (!point->over)
            world_connect(world, point, node);
        break;
    case 7:
        world_disconnect(world, point);
        break;
    case 9:
        /* A process that wakes up acts on what it knew before it hears anything new. */
        if (node != world->leader && node != *cut && !world->nodes[node].paused)
            world->nodes[node].paused = true;
        else if (node != *cut) {
            world->nodes[node].paused = false;
            world_run(world, 3);
            world_heal(world, node);
        }
        break;
    case 8:
        world->nodes[node].stuck = !world->nodes[node].stuck && node != world->leader;
        break;
    default:
        if (*cut != world->leader && !world->nodes[world->leader].paused)
            (void)world_revoke(world);
        break;
    }
}

static void chaos(uint64_t seed)
{
    struct world *world = world_new(seed, LEASE_BROKEN_NOTHING);
    uint32_t cut = UINT32_MAX;
    for (uint32_t i = 0; i < WORLD_POINTS; i++)
        (void)world_point(world, i % WORLD_NODES);
    world->lose = (unsigned)prng_below(&world->prng, 15);
    world->repeat = (unsigned)prng_below(&world->prng, 15);
    world->delay_us_max = (int64_t)prng_below(&world->prng, 30) * MS;
    for (uint32_t i = 0; i < 60; i++) {
        chaos_step(world, &cut);
        world_run(world, (int64_t)prng_below(&world->prng, 600));
    }
    cr_assert_eq(world->violations, 0, "seed %llu", (unsigned long long)seed);
    /* All is well again: nothing stays open. */
    world->lose = world->repeat = 0;
    if (cut != UINT32_MAX)
        world_heal(world, cut);
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        world->nodes[i].stuck = false;
        world_heal(world, i);
    }
    world_run(world, 10000);
    cr_assert_eq(store_barriers_open(world_leader(world)->store), 0, "seed %llu", (unsigned long long)seed);
    cr_assert_eq(world->violations, 0, "seed %llu", (unsigned long long)seed);
    world_free(world);
}

Test(lease, whatever_happens_no_promise_runs_when_a_point_is_declared_lapsed)
{
    for (uint64_t seed = 1; seed <= 150; seed++)
        chaos(seed);
}
