#include "tests/unit/lease_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

#define PING_US (500 * MS)
#define NOWHERE UINT32_MAX

struct world_frame {
    struct world_frame *next;
    int64_t due_us;
    uint64_t from, to, term, life;
    struct buf bytes;
};

int64_t world_clock(const struct world_node *node)
{
    return node->offset_us + node->world->now_us + node->world->now_us * node->drift / 1000;
}

struct world_node *world_leader(struct world *world)
{
    return &world->nodes[world->leader];
}

/* --- The network --- */

static void post(struct world *world, const struct world_node *from, uint64_t to, struct slice bytes)
{
    struct world_frame *frame = mem_calloc(1, sizeof *frame);
    *frame = (struct world_frame){.from = from->id, .to = to, .term = from->term, .life = from->life};
    int64_t delay_us = world->delay_us_max > 0 && to != from->id
                           ? (int64_t)prng_below(&world->prng, (uint64_t)world->delay_us_max)
                           : 0;
    frame->due_us = world->now_us + delay_us;
    buf_init(&frame->bytes, LEASE_FRAME_MAX);
    cr_assert(lapse_is_ok(buf_append(&frame->bytes, bytes.data, bytes.len)));
    frame->next = world->frames;
    world->frames = frame;
}

static void keep_if_gone(struct world_node *node, struct slice bytes)
{
    struct lease_frame frame;
    struct lease_item item;
    cr_assert(lease_frame_decode(bytes, &frame));
    if (!lease_item_next(&frame.list, &item) || item.state != LEASE_GONE)
        return;
    buf_clear(&node->gone);
    cr_assert(lapse_is_ok(buf_append(&node->gone, bytes.data, bytes.len)));
}

static void on_send(void *arg, uint64_t to, struct slice bytes)
{
    struct world_node *node = arg;
    struct world *world = node->world;
    cr_assert(bytes.len <= LEASE_FRAME_MAX);
    node->frames++;
    keep_if_gone(node, bytes);
    if (to != node->id) {
        if (node->cut_off || world->nodes[to - 1].cut_off || prng_chance(&world->prng, world->lose))
            return;
        if (prng_chance(&world->prng, world->repeat))
            post(world, node, to, bytes);
    }
    post(world, node, to, bytes);
}

static void deliver(struct world *world, struct world_frame *frame)
{
    struct world_node *to = &world->nodes[frame->to - 1];
    bool passes = frame->from == frame->to || !(to->cut_off || world->nodes[frame->from - 1].cut_off);
    /* As the replica has it: only frames of our own term. */
    if (!passes || frame->term != to->term)
        return;
    struct slice bytes = buf_slice(&frame->bytes);
    if (!lease_frame_for_leader(bytes))
        lease_node_receive(to->node, frame->from, frame->term, bytes, world_clock(to));
    else if (to->leads)
        lease_leader_receive(to->leader, frame->from, frame->life, frame->term, bytes, world_clock(to));
}

static bool deliver_due(struct world *world)
{
    bool any = false;
    struct world_frame **at = &world->frames;
    while (*at != NULL) {
        struct world_frame *frame = *at;
        if (frame->due_us > world->now_us || world->nodes[frame->to - 1].paused) {
            at = &frame->next;
            continue;
        }
        *at = frame->next;
        deliver(world, frame);
        buf_free(&frame->bytes);
        free(frame);
        at = &world->frames;
        any = true;
    }
    return any;
}

/* --- The oracle --- */

static struct world_point *point_of(struct world *world, const struct random_id *instance)
{
    for (uint32_t i = 0; i < world->n_points; i++) {
        struct random_id id = fixture_random_id(world->points[i].number);
        if (memcmp(&id, instance, sizeof id) == 0)
            return &world->points[i];
    }
    return NULL;
}

static void violate(struct world *world, const struct world_point *point, const char *what)
{
    world->violations++;
    if (world->broken == LEASE_BROKEN_NOTHING)
        cr_log_error("at %lld ms: point %llu %s; its promise ends at %lld ms", (long long)world->now_us / 1000,
                     (unsigned long long)(point != NULL ? point->number : 0), what,
                     (long long)(point != NULL ? point->promise_until_us / 1000 : 0));
}

static void check_over(struct world *world, const struct random_id *instance)
{
    const struct world_point *point = point_of(world, instance);
    if (point == NULL || point->promise_until_us > world->now_us)
        violate(world, point, "is declared over");
}

static void check_word(struct world *world, const struct world_point *point, uint64_t mark, uint64_t barrier,
                       const char *what)
{
    if (mark < world_barrier(world, barrier).revision)
        violate(world, point, what);
}

static void check_receipts(struct world *world, const struct command *command)
{
    struct slice list = command->receipts;
    struct receipt receipt;
    while (receipts_next(&list, &receipt)) {
        const struct world_point *point = point_of(world, &receipt.instance);
        world->receipts[receipt.level]++;
        if (receipt.level == RECEIPT_LAPSED)
            check_over(world, &receipt.instance);
        if (receipt.level == RECEIPT_ENFORCED)
            check_word(world, point, point != NULL ? point->enforced : 0, receipt.barrier, "has not confirmed");
        if (receipt.level == RECEIPT_FAILED)
            check_word(world, point, point != NULL ? point->received : 0, receipt.barrier, "has not received");
    }
}

static void check_proposal(struct world *world, const struct command *command)
{
    if (command->type == COMMAND_RECEIPTS)
        check_receipts(world, command);
    else if (command->count != POINT_END_LEFT)
        check_over(world, &command->instance);
}

/* --- The log --- */

static void append(struct world *world, const struct buf *bytes)
{
    if (world->n_log == world->log_capacity) {
        world->log_capacity = world->log_capacity ? 2 * world->log_capacity : 64;
        world->log = mem_realloc(world->log, world->log_capacity * sizeof *world->log);
    }
    world->log[world->n_log].bytes = *bytes;
    world->log[world->n_log++].time_ms = T0 + world->now_us / 1000;
}

static struct buf encode(const struct command *command)
{
    struct buf bytes;
    struct lapse_error error;
    buf_init(&bytes, LIMIT_COMMAND_BYTES);
    lapse_result result = command_validate(command, &error);
    cr_assert(lapse_is_ok(result), "%s", error.message);
    cr_assert(lapse_is_ok(command_encode(command, &bytes)));
    return bytes;
}

void world_commit(struct world *world, const struct command *command)
{
    struct buf bytes = encode(command);
    append(world, &bytes);
}

static void on_propose(void *arg, const struct command *command)
{
    struct world_node *node = arg;
    struct world *world = node->world;
    world->proposals++;
    /* Of a term that is over: it never enters the log, and may say what it likes. */
    if (node->term != world->term)
        return;
    check_proposal(world, command);
    if (world->refuse)
        return;
    struct buf bytes = encode(command);
    if (world->hold && world->n_held < ARRAY_LEN(world->held))
        world->held[world->n_held++] = bytes;
    else if (world->hold)
        buf_free(&bytes);
    else
        append(world, &bytes);
}

void world_release(struct world *world)
{
    world->hold = false;
    for (uint32_t i = 0; i < world->n_held; i++) {
        struct command command;
        cr_assert(lapse_is_ok(command_decode(buf_slice(&world->held[i]), &command)));
        check_proposal(world, &command); /* it must be as true now as it was */
        append(world, &world->held[i]);
    }
    world->n_held = 0;
}

/* Points hear what their node applies. */
static void tell_points(struct world *world, const struct world_node *node)
{
    for (uint32_t i = 0; i < world->n_points; i++) {
        struct world_point *point = &world->points[i];
        if (point->node != node->id - 1 || point->stream == NULL || point->deaf || point->silent)
            continue;
        /* A cache never goes back, also on a node that is behind. */
        if (store_revision(node->store) > point->received)
            point->received = store_revision(node->store);
        if (!point->busy)
            point->enforced = point->received;
        lease_node_ack(node->node, point->stream, point->received, point->enforced);
    }
}

static void apply(struct world *world, struct world_node *node)
{
    bool any = false;
    for (; node->applied < world->n_log && !node->stuck && !node->cut_off && !node->paused; any = true) {
        struct command command;
        uint32_t i = node->applied++;
        cr_assert(lapse_is_ok(command_decode(buf_slice(&world->log[i].bytes), &command)));
        fixture_apply(node->store, command, world->log[i].time_ms);
    }
    if (!any)
        return;
    lease_node_applied(node->node, world_clock(node));
    tell_points(world, node);
}

struct barrier world_barrier(const struct world *world, uint64_t id)
{
    struct barrier barrier = {.id = 0};
    /* Whoever has applied most knows. */
    const struct world_node *best = &world->nodes[0];
    for (uint32_t i = 1; i < WORLD_NODES; i++)
        best = world->nodes[i].applied > best->applied ? &world->nodes[i] : best;
    (void)store_barrier_get(best->store, id, &barrier);
    return barrier;
}

uint64_t world_revoke(struct world *world)
{
    uint64_t number = ++world->n_grants;
    struct command request = fixture_request(number), approve = fixture_about(COMMAND_APPROVE, number, "user:app1");
    struct command revoke = fixture_about(COMMAND_REVOKE, number, "user:ops");
    struct barrier barrier;
    world_commit(world, &request);
    world_commit(world, &approve);
    world_commit(world, &revoke);
    apply(world, world_leader(world));
    bool found = store_barrier_of(world_leader(world)->store, fixture_id(number), &barrier);
    cr_assert(found);
    return barrier.id;
}

/* --- Nodes --- */

static void on_admitted(void *arg, void *owner, uint64_t revision, bool again)
{
    struct world_node *node = arg;
    struct world_point *point = owner;
    (void)revision, (void)again;
    node->admitted++;
    /* Served: it hears what there is, the old news too. */
    tell_points(node->world, node);
    cr_assert(point->stream != NULL);
}

static void on_ended(void *arg, void *owner, enum lease_end why)
{
    struct world_node *node = arg;
    struct world_point *point = owner;
    node->ended++;
    node->why = why;
    if (why != LEASE_END_REPLACED) {
        point->stream = NULL;
        point->node = NOWHERE;
        point->over = true;
    }
}

static void on_progress(void *arg, const struct lease_progress *progress)
{
    struct world_node *node = arg;
    node->progress++;
    node->last_progress = *progress;
    node->first_level = progress->n > 0 ? progress->points[0].level : 0;
}

static int64_t evidence_us(void *arg)
{
    return ((struct world_node *)arg)->evidence_us;
}

static int64_t time_ms(void *arg)
{
    return T0 + ((struct world_node *)arg)->world->now_us / 1000;
}

static const struct lease_node_io node_io = {
    .send = on_send, .on_admitted = on_admitted, .on_ended = on_ended, .on_progress = on_progress};
static const struct lease_leader_io leader_io = {
    .send = on_send, .propose = on_propose, .evidence_us = evidence_us, .time_ms = time_ms};

static void start(struct world *world, struct world_node *node)
{
    static const uint64_t ids[] = {1, 2, 3};
    node->life = prng_next(&world->prng) | 1;
    node->node = lease_node_new(node->id, node->life, node->store, world_clock(node), &node_io, node);
    node->leader = lease_leader_new(node->store, world_clock(node), world->broken, &leader_io, node);
    lease_leader_set_members(node->leader, ids, WORLD_NODES, world_clock(node));
    lease_node_set_term(node->node, node->term, world->leader + 1, world_clock(node));
}

void world_set_members(struct world *world, uint32_t without)
{
    uint64_t ids[WORLD_NODES];
    uint32_t n = 0;
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        if (i != without)
            ids[n++] = i + 1;
    }
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        if (!world->nodes[i].cut_off)
            lease_leader_set_members(world->nodes[i].leader, ids, n, world_clock(&world->nodes[i]));
    }
}

static void learn_term(struct world *world, struct world_node *node)
{
    if (node->term == world->term)
        return;
    if (node->leads)
        lease_leader_end(node->leader);
    node->leads = false;
    node->term = world->term;
    lease_node_set_term(node->node, world->term, world->leader + 1, world_clock(node));
}

void world_elect(struct world *world, uint32_t index)
{
    struct world_node *node = &world->nodes[index];
    world->term++;
    world->leader = index;
    cr_assert(!node->cut_off);
    node->stuck = node->paused = false;
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        if (!world->nodes[i].cut_off && !world->nodes[i].paused)
            learn_term(world, &world->nodes[i]);
    }
    node->leads = true;
    node->ready_at = world->n_log;
    node->evidence_us = INT64_MIN;
    lease_leader_begin(node->leader, world->term, world_clock(node));
}

void world_heal(struct world *world, uint32_t index)
{
    world->nodes[index].cut_off = world->nodes[index].paused = false;
    learn_term(world, &world->nodes[index]);
}

void world_restart(struct world *world, uint32_t index)
{
    struct world_node *node = &world->nodes[index];
    cr_assert(index != world->leader);
    lease_node_free(node->node);
    lease_leader_free(node->leader);
    for (uint32_t i = 0; i < world->n_points; i++) {
        if (world->points[i].node == index) {
            world->points[i].node = NOWHERE;
            world->points[i].stream = NULL;
        }
    }
    node->leads = node->paused = false;
    start(world, node);
}

/* A majority answers it as long as nobody else leads. */
static void hear_majority(struct world *world, struct world_node *node)
{
    uint32_t heard = 0;
    for (uint32_t i = 0; i < WORLD_NODES; i++)
        heard += node->id == i + 1 || (!node->cut_off && !world->nodes[i].cut_off && !world->nodes[i].paused &&
                                       world->nodes[i].term == node->term);
    if (heard > WORLD_NODES / 2)
        node->evidence_us = world_clock(node);
}

static void flush_node(struct world *world, struct world_node *node)
{
    if (node->paused)
        return;
    apply(world, node);
    lease_node_flush(node->node, world_clock(node));
    if (!node->leads)
        return;
    hear_majority(world, node);
    lease_leader_applied(node->leader, node->applied >= node->ready_at, world_clock(node));
    lease_leader_flush(node->leader, world_clock(node));
}

/* --- Points --- */

static void ping(struct world *world, struct world_point *point)
{
    struct world_node *node = &world->nodes[point->node];
    uint32_t ttl_ms = lease_node_promise(node->node, point->stream, world_clock(node));
    point->ping_due_us = world->now_us + PING_US;
    /* Counted from the ping, on its own clock: sent just now. */
    int64_t until_us = world->now_us + ttl_ms * MS * 1000 / (1000 + point->drift);
    if (ttl_ms > 0 && until_us > point->promise_until_us)
        point->promise_until_us = until_us;
}

static void flush_points(struct world *world)
{
    for (uint32_t i = 0; i < world->n_points; i++) {
        struct world_point *point = &world->points[i];
        if (point->stream != NULL && !point->silent && point->ping_due_us <= world->now_us &&
            !world->nodes[point->node].paused)
            ping(world, point);
    }
}

void world_disconnect(struct world *world, struct world_point *point)
{
    if (point->stream != NULL) {
        struct world_node *node = &world->nodes[point->node];
        lease_node_close(node->node, point->stream, world_clock(node));
    }
    point->stream = NULL;
    point->node = NOWHERE;
}

void world_connect(struct world *world, struct world_point *point, uint32_t index)
{
    struct world_node *node = &world->nodes[index];
    world_disconnect(world, point);
    point->node = index;
    point->stream = lease_node_open(node->node, fixture_random_id(point->number), point, world_clock(node));
    point->ping_due_us = world->now_us;
}

struct world_point *world_point(struct world *world, uint32_t index)
{
    struct world_point *point = &world->points[world->n_points++];
    char id[16];
    CHECK(world->n_points <= WORLD_POINTS);
    *point = (struct world_point){.number = 100 + world->n_points, .node = NOWHERE};
    point->drift = (int)prng_below(&world->prng, 17) - 8;
    (void)snprintf(id, sizeof id, "p%u", world->n_points);
    struct command command = fixture_register(id, point->number, "db/prod/*");
    world_commit(world, &command);
    world_run(world, 5);
    world_connect(world, point, index);
    for (int i = 0; i < 3000 && point->promise_until_us == 0; i++)
        world_run(world, 1);
    return point;
}

/* --- Life --- */

void world_run(struct world *world, int64_t ms)
{
    for (int64_t end_us = world->now_us + ms * MS; world->now_us < end_us; world->now_us += MS) {
        /* What is sent without delay arrives in the same millisecond, as often as it takes. */
        do {
            for (uint32_t i = 0; i < WORLD_NODES; i++)
                flush_node(world, &world->nodes[i]);
        } while (deliver_due(world));
        flush_points(world);
    }
}

int64_t world_wait(struct world *world, uint64_t id, int64_t ms_max)
{
    for (int64_t ms = 0; ms <= ms_max; ms++) {
        if (world_barrier(world, id).done)
            return ms;
        world_run(world, 1);
    }
    return -1;
}

struct world *world_new(uint64_t seed, enum lease_broken broken)
{
    struct world *world = mem_calloc(1, sizeof *world);
    *world = (struct world){.prng = {seed}, .broken = broken, .now_us = 1000 * MS, .term = 1};
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        struct world_node *node = &world->nodes[i];
        *node = (struct world_node){.world = world, .id = i + 1, .term = 1, .evidence_us = INT64_MIN};
        node->offset_us = (int64_t)prng_below(&world->prng, 1000000000);
        node->drift = (int)prng_below(&world->prng, 17) - 8;
        node->store = fixture_store(NULL);
        buf_init(&node->gone, LEASE_FRAME_MAX);
        start(world, node);
    }
    /* Long enough after the start of all processes that earlier lives play no part. */
    world->now_us += 100000 * MS;
    world_elect(world, 0);
    world_run(world, 200);
    return world;
}

void world_free(struct world *world)
{
    struct world_frame *frame;
    while ((frame = world->frames) != NULL) {
        world->frames = frame->next;
        buf_free(&frame->bytes);
        free(frame);
    }
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        lease_node_free(world->nodes[i].node);
        lease_leader_free(world->nodes[i].leader);
        store_free(world->nodes[i].store);
        buf_free(&world->nodes[i].gone);
    }
    for (uint32_t i = 0; i < world->n_log; i++)
        buf_free(&world->log[i].bytes);
    for (uint32_t i = 0; i < world->n_held; i++)
        buf_free(&world->held[i]);
    free(world->log);
    free(world);
}
