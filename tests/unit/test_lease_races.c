/* Words that come late, early, twice or in an odd order: what the leader makes of a node's reports one by one, and what
 * a node makes of barriers that it gets all at once. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/unit/lease_fixture.h"

/* --- A leader that hears one node, frame by frame --- */

#define NODE 2u
#define LIFE 9u
#define TERM 4u

struct desk {
    struct store *store;
    struct lease_leader *leader;
    int64_t now_us;
    uint64_t session, sequence; /* as the node knows them */
    uint64_t admitted;          /* the want that was admitted last */
    bool leased;                /* by the newest answer */
    uint32_t answers, progress;
    uint8_t first_level;
    uint32_t receipts[RECEIPT_LEFT + 1];
};

static void on_send(void *arg, uint64_t to, struct slice bytes)
{
    struct desk *desk = arg;
    struct lease_frame frame;
    struct lease_admission admission;
    struct lease_waiting waiting;
    cr_assert(to == NODE && lease_frame_decode(bytes, &frame));
    if (frame.kind == LEASE_PROGRESS) {
        desk->progress++;
        desk->first_level = lease_waiting_next(&frame.list, &waiting) ? waiting.level : 0;
        return;
    }
    desk->answers++;
    desk->session = frame.session;
    desk->leased = frame.lease;
    while (lease_admission_next(&frame.list, &admission))
        desk->admitted = admission.want;
}

static void on_propose(void *arg, const struct command *command)
{
    struct desk *desk = arg;
    struct slice list = command->receipts;
    struct receipt receipt;
    while (command->type == COMMAND_RECEIPTS && receipts_next(&list, &receipt))
        desk->receipts[receipt.level]++;
    fixture_apply(desk->store, *command, T0);
}

static int64_t evidence_us(void *arg)
{
    return ((struct desk *)arg)->now_us;
}

static int64_t time_ms(void *arg)
{
    (void)arg;
    return T0;
}

static void run(struct desk *desk, int64_t ms)
{
    desk->now_us += ms * MS;
    lease_leader_applied(desk->leader, true, desk->now_us);
    lease_leader_flush(desk->leader, desk->now_us);
}

/* One report with these items, and no turn of the leader's loop. */
static void report(struct desk *desk, const struct lease_item *items, uint32_t n, uint64_t follow)
{
    struct lease_frame head = {.kind = LEASE_REPORT,
                               .sent_us = (uint64_t)desk->now_us,
                               .age_us = 60000 * MS,
                               .applied = store_revision(desk->store),
                               .session = desk->session,
                               .sequence = desk->session > 0 ? ++desk->sequence : 0};
    struct buf out;
    buf_init(&out, LEASE_FRAME_MAX);
    lease_frame_begin(&out, &head);
    for (uint32_t i = 0; i < n; i++)
        lease_frame_put_item(&out, &items[i]);
    if (follow > 0)
        lease_frame_put_follow(&out, follow);
    if (desk->session > 0 && desk->sequence == 1)
        lease_frame_put_complete(&out);
    lease_leader_receive(desk->leader, NODE, LIFE, TERM, buf_slice(&out), desk->now_us);
    buf_free(&out);
}

static void ping(struct desk *desk)
{
    report(desk, NULL, 0, 0);
}

static struct lease_item item_of(uint64_t point, enum lease_state state, uint64_t want, uint64_t received)
{
    return (struct lease_item){
        .instance = fixture_random_id(point), .state = state, .want = want, .received = received, .enforced = received};
}

static void report_one(struct desk *desk, struct lease_item item)
{
    report(desk, &item, 1, 0);
}

/* The leader has led for long, and the node has its first session. */
static struct desk *desk_new(uint32_t points)
{
    static const struct lease_leader_io io = {on_send, on_propose, evidence_us, time_ms};
    static const uint64_t ids[] = {NODE};
    struct desk *desk = mem_calloc(1, sizeof *desk);
    char id[16];
    desk->now_us = 100000 * MS;
    desk->store = fixture_store(NULL);
    for (uint32_t i = 1; i <= points; i++) {
        (void)snprintf(id, sizeof id, "p%u", i);
        fixture_must(desk->store, fixture_register(id, i, "db/*"), T0);
    }
    desk->leader = lease_leader_new(desk->store, 0, LEASE_BROKEN_NOTHING, &io, desk);
    lease_leader_set_members(desk->leader, ids, ARRAY_LEN(ids), 0);
    lease_leader_begin(desk->leader, TERM, desk->now_us);
    run(desk, 10000);
    ping(desk);
    run(desk, 1);
    cr_assert(desk->session == 1 && !desk->leased, "a session is what a node gets first");
    return desk;
}

static void desk_free(struct desk *desk)
{
    lease_leader_free(desk->leader);
    store_free(desk->store);
    free(desk);
}

static uint64_t revoke(struct desk *desk, uint64_t number)
{
    struct barrier barrier;
    fixture_must(desk->store, fixture_request(number), T0);
    fixture_must(desk->store, fixture_about(COMMAND_APPROVE, number, "user:app1"), T0);
    fixture_must(desk->store, fixture_about(COMMAND_REVOKE, number, "user:ops"), T0);
    cr_assert(store_barrier_of(desk->store, fixture_id(number), &barrier));
    return barrier.id;
}

Test(lease_races, a_wish_that_is_repeated_while_it_is_being_granted_takes_nothing_back)
{
    struct desk *desk = desk_new(1);
    report_one(desk, item_of(1, LEASE_WANTED, 5, 0));
    run(desk, 1);
    cr_assert_eq(desk->admitted, 5);
    /* With an acknowledgement, sent before the admission had arrived; behind it one that was sent after it had. */
    report_one(desk, item_of(1, LEASE_WANTED, 5, 1));
    report_one(desk, item_of(1, LEASE_ADMITTED, 0, 2));
    run(desk, 1);
    (void)revoke(desk, 1);
    for (uint32_t i = 0; i < 50; i++) {
        ping(desk);
        run(desk, 100);
    }
    cr_assert(desk->leased, "so the node may promise to it");
    cr_assert_eq(desk->receipts[RECEIPT_LAPSED], 0);
    for (uint32_t i = 0; i < 34; i++)
        run(desk, 100);
    cr_assert_eq(desk->receipts[RECEIPT_LAPSED], 0);
    for (uint32_t i = 0; i < 4; i++)
        run(desk, 100);
    cr_assert_eq(desk->receipts[RECEIPT_LAPSED], 1);
    desk_free(desk);
}

Test(lease_races, a_failure_is_no_receipt_before_the_point_has_received)
{
    struct desk *desk = desk_new(1);
    report_one(desk, item_of(1, LEASE_WANTED, 5, 0));
    run(desk, 1);
    uint64_t barrier = revoke(desk, 1);
    run(desk, 1);
    /* The node had applied the barrier when it was told of a session that doesn't end. */
    const struct lease_failure failure = {1, barrier, slice_str("pts/3 does not die")};
    struct lease_item item = item_of(1, LEASE_ADMITTED, 0, barrier - 1);
    item.failures = &failure;
    item.n_failures = 1;
    report_one(desk, item);
    run(desk, 50);
    cr_assert_eq(desk->receipts[RECEIPT_FAILED], 0);
    report_one(desk, item_of(1, LEASE_ADMITTED, 0, barrier));
    run(desk, 50);
    cr_assert_eq(desk->receipts[RECEIPT_FAILED], 1);
    cr_assert_eq(desk->receipts[RECEIPT_ENFORCED], 0);
    desk_free(desk);
}

Test(lease_races, progress_is_not_told_before_all_points_were_looked_through)
{
    enum { POINTS = 40 };
    struct desk *desk = desk_new(POINTS);
    struct lease_item items[POINTS];
    for (uint32_t i = 0; i < POINTS; i++)
        items[i] = item_of(i + 1, LEASE_WANTED, i + 1, 1);
    report(desk, items, POINTS, 0);
    run(desk, 1);
    uint64_t first = revoke(desk, 1);
    run(desk, 30);
    /* The first point ends its sessions slowly, and is looked at for that; nobody waits for the others any more. */
    for (uint32_t i = 0; i < POINTS; i++)
        items[i] = item_of(i + 1, LEASE_ADMITTED, 0, first);
    items[0].enforced = first - 1;
    report(desk, items, POINTS, 0);
    run(desk, 30);
    uint64_t second = revoke(desk, 2);
    items[0].received = second;
    report(desk, items, 1, second);
    run(desk, 1);
    cr_assert_eq(desk->progress, 0, "it is not known yet that others have not received");
    for (uint32_t i = 0; i < 10; i++)
        run(desk, 30);
    cr_assert_geq(desk->progress, 1);
    cr_assert_eq(desk->first_level, LEASE_WAITING);
    desk_free(desk);
}

Test(lease_races, a_barrier_that_was_received_is_not_forgotten_when_a_newer_one_is_over)
{
    struct desk *desk = desk_new(1);
    report_one(desk, item_of(1, LEASE_WANTED, 5, 0));
    run(desk, 1);
    uint64_t first = revoke(desk, 1), second = revoke(desk, 2);
    for (uint32_t i = 0; i < 10; i++)
        run(desk, 30);
    struct lease_item item = item_of(1, LEASE_CUT, 0, first);
    item.enforced = first - 1;
    report_one(desk, item);
    /* By another leader's word, which had entered the log before ours. */
    fixture_must(desk->store, fixture_receipt(second, 1, RECEIPT_ENFORCED, T0), T0);
    for (uint32_t i = 0; i < 40; i++)
        run(desk, 100);
    struct barrier barrier;
    cr_assert(store_barrier_get(desk->store, first, &barrier));
    cr_assert(barrier.done && barrier.failed == 1);
    desk_free(desk);
}

Test(lease_races, a_receipt_is_proposed_once_while_another_point_is_waited_for)
{
    struct desk *desk = desk_new(2);
    const struct lease_item wishes[] = {item_of(1, LEASE_WANTED, 5, 0), item_of(2, LEASE_WANTED, 6, 0)};
    report(desk, wishes, 2, 0);
    run(desk, 1);
    uint64_t barrier = revoke(desk, 1);
    run(desk, 1);
    report_one(desk, item_of(1, LEASE_ADMITTED, 0, barrier));
    /* The other one is waited for; nothing else happens, so the store's revision stays. */
    for (uint32_t i = 0; i < 30; i++)
        run(desk, 100);
    cr_assert_eq(desk->receipts[RECEIPT_ENFORCED], 1);
    cr_assert_eq(desk->receipts[RECEIPT_LAPSED], 0);
    desk_free(desk);
}

/* Each end makes the store look through the open barriers: many ends in one entry would hold every core loop. */
Test(lease_races, many_points_that_are_waited_out_beside_many_barriers_are_ended_a_few_at_a_time)
{
    enum { POINTS = 40, BARRIERS = 4000 };
    struct desk *desk = desk_new(POINTS);
    uint32_t most = 0;
    for (uint64_t i = 1; i <= BARRIERS; i++)
        revoke(desk, i);
    for (uint32_t i = 0; i < 2000 && desk->receipts[RECEIPT_LAPSED] < POINTS; i++) {
        uint32_t before = desk->receipts[RECEIPT_LAPSED];
        run(desk, 5);
        ping(desk);
        uint32_t ended = desk->receipts[RECEIPT_LAPSED] - before;
        most = ended > most ? ended : most;
    }
    cr_assert_eq(desk->receipts[RECEIPT_LAPSED], POINTS);
    cr_assert(most >= 1 && most <= 100000 / BARRIERS, "%u in one turn", most);
    desk_free(desk);
}

/* --- A leader that is not ready --- */

Test(lease_races, a_leader_learns_of_promises_to_points_whose_registration_it_has_not_applied)
{
    struct world *world = world_new(3, LEASE_BROKEN_NOTHING);
    struct world_node *heir = &world->nodes[2];
    heir->stuck = true;
    struct world_point *point = world_point(world, 1);
    cr_assert_gt(point->promise_until_us, world->now_us);
    world_elect(world, 2);
    /* The entries are in its log; that they are committed it learns only with one of its own term. */
    heir->stuck = true;
    world_run(world, 150);
    heir->stuck = false;
    point->silent = true;
    int64_t waited = world_wait(world, world_revoke(world), 10000);
    cr_assert(waited >= 0 && waited <= 4000, "%lld", (long long)waited);
    cr_assert_eq(world->violations, 0);
    world_free(world);
}

Test(lease_races, a_node_that_comes_up_again_gets_its_points_admitted_at_once)
{
    struct world *world = world_new(3, LEASE_BROKEN_NOTHING);
    struct world_point *point = world_point(world, 1);
    struct lease_node_status status;
    /* The second life's number of the wish is that of the first one's last. */
    world_connect(world, point, 1);
    world_run(world, 300);
    world_restart(world, 1);
    world_connect(world, point, 1);
    world_run(world, 300);
    lease_node_get_status(world->nodes[1].node, world_clock(&world->nodes[1]), &status);
    cr_assert_eq(status.admitted, 1);
    world_free(world);
}

/* --- Barriers that a node gets all at once --- */

static void begin_sweep(struct world *world)
{
    struct command sweep = {.type = COMMAND_REVOKE_MATCHING,
                            .principal = slice_str("user:ops"),
                            .text = slice_str("laptop stolen"),
                            .filter = {.subject = slice_str("user:dev1")}};
    for (uint32_t i = 0; i < 2 * LIMIT_SWEEP_AT_ONCE + 1; i++) {
        struct command request = fixture_request(++world->n_grants);
        world_commit(world, &request);
    }
    world_commit(world, &sweep);
}

Test(lease_races, of_a_sweep_and_a_revocation_within_it_the_later_end_counts)
{
    struct world *world = world_new(3, LEASE_BROKEN_NOTHING);
    struct world_point *point = world_point(world, 1);
    struct world_node *node = &world->nodes[1];
    struct barrier swept = {.id = 0}, within;
    point->deaf = node->stuck = true;
    begin_sweep(world);
    uint64_t revoked = world_revoke(world);
    const struct command advance = fixture_advance(1000);
    for (uint32_t i = 0; i < 8; i++)
        world_commit(world, &advance);
    world_run(world, 5);
    cr_assert(store_barrier_next_open(world->nodes[0].store, 0, &swept) && swept.id < revoked);
    cr_assert(store_barrier_get(world->nodes[0].store, revoked, &within) && swept.revision > within.revision);
    node->stuck = false;
    world_run(world, 5);
    /* It has received the revocation, and not the sweep's end. */
    lease_node_ack(node->node, point->stream, within.revision, within.revision);
    cr_assert_eq(lease_node_promise(node->node, point->stream, world_clock(node)), 0);
    world_free(world);
}
