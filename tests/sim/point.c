/* A point's life. Two actors may have one id: the second is the process that somebody started twice. */
#include "tests/sim/point.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/node.h"
#include "tests/sim/oracle_points.h"
#include "tests/sim/workload_governance.h"

/* How often a point looks around: pings, sessions, silence, and decisions in between. */
#define TURN_US (60 * SIM_MILLISECOND)

struct inbox_item {
    struct point_link *link;
    struct point_message message;
    struct inbox_item *next;
};

struct sim_points {
    struct sim *sim;
    struct sim_point all[POINTS_MAX];
    uint32_t n;
};

static void turn(void *arg, uint64_t tag);
static void dial(void *arg, uint64_t tag);

/* --- Clocks --- */

int64_t point_boot_us(const struct sim_point *point)
{
    int64_t elapsed = point->sim->now_us - point->boot_origin_us;
    return point->boot_base_us + elapsed + elapsed * point->drift_ppm / 1000000;
}

int64_t point_true_us(const struct sim_point *point, int64_t boot_us)
{
    int64_t counted = boot_us - point->boot_base_us;
    return point->boot_origin_us + counted * 1000000 / (1000000 + point->drift_ppm) - 2;
}

/* --- Deciding --- */

bool point_permits(const struct sim_point *point, const struct point_grant *grant)
{
    int64_t now_us = point_boot_us(point);
    if (!point->up || guard_state_phase(&point->state, now_us) != GUARD_DECIDING) {
        return false;
    }
    if (point_locks_deny(&point->locks, grant) && point->sim->broken != BREAK_LOCK) {
        return false;
    }
    int64_t time_ms = guard_state_time_ms(&point->state, now_us);
    while (grant != NULL && time_ms < grant->deadline_ms) {
        if (grant_id_is_zero(grant->parent)) {
            return true;
        }
        grant = cache_find(&point->cache, grant->parent);
    }
    return false;
}

void point_decide(struct sim_point *point)
{
    for (uint32_t i = 0; i < point->cache.n; i++) {
        if (point_permits(point, &point->cache.grants[i])) {
            points_model_permitted(point->sim->points_oracle, point, &point->cache.grants[i]);
        }
    }
}

/* --- The stream: sending --- */

void point_say(struct sim_point *point, struct point_message message)
{
    link_send(point->link, SIDE_POINT, &message);
}

static void ping(struct sim_point *point)
{
    uint64_t sequence = guard_state_ping(&point->state, point_boot_us(point));
    point_say(point, (struct point_message){.kind = MESSAGE_PING, .sequence = sequence, .sent_us = point->sim->now_us});
}

static void acknowledge(struct sim_point *point)
{
    struct guard_state *state = &point->state;
    guard_state_receive(state);
    guard_state_enforce(state, sessions_enforced_to(point));
    if (point->stage != POINT_STREAMING ||
        (state->received == point->told_received && state->enforced == point->told_enforced)) {
        return;
    }
    point->told_received = state->received;
    point->told_enforced = state->enforced;
    points_model_said(point->sim->points_oracle, point->instance, state->received, state->enforced);
    point_say(point,
              (struct point_message){.kind = MESSAGE_ACK, .received = state->received, .enforced = state->enforced});
}

/* --- The stream: its life --- */

static void wait_to_dial(struct sim_point *point, int64_t mean_us)
{
    point->stage = POINT_WAITING;
    point->attempt++;
    sim_after(point->sim, sim_around(point->sim, mean_us), dial, point, point->attempt);
}

static void inbox_drop(struct sim_point *point)
{
    while (point->inbox != NULL) {
        struct inbox_item *item = point->inbox;
        point->inbox = item->next;
        free(item);
    }
    point->inbox_tail = &point->inbox;
}

static void leave(struct sim_point *point, bool told)
{
    if (point->link != NULL) {
        link_close(point->link, SIDE_POINT, told);
        point->link = NULL;
        point->stage = POINT_WAITING;
        inbox_drop(point);
        guard_state_disconnected(&point->state);
        cache_clear(&point->next);
        locks_clear(&point->next_locks);
    }
}

static void lose(struct sim_point *point, bool told)
{
    sim_trace(point->sim, 0, "point-loses", point->number, told, 0);
    leave(point, told);
    wait_to_dial(point, 40 * SIM_MILLISECOND);
}

void point_move(struct sim_point *point, bool told)
{
    if (point->up && !point->paused && point->link != NULL) {
        lose(point, told);
    }
}

static void draw_instance(struct sim_point *point)
{
    sim_random_bytes(point->sim, point->instance.bytes, sizeof(point->instance.bytes));
    points_model_instance(point->sim->points_oracle, point);
}

/* --break cache-back: a cache that was stored away comes back with the new stream. */
static void go_back(struct sim_point *point)
{
    if (point->sim->broken == BREAK_CACHE_BACK && point->state.complete) {
        struct point_cache now = {0};
        cache_copy(&now, &point->cache);
        cache_copy(&point->cache, &point->old);
        cache_copy(&point->old, &now);
        cache_free(&now);
    }
}

static void dial(void *arg, uint64_t tag)
{
    struct sim_point *point = arg;
    struct sim *sim = point->sim;
    if (tag != point->attempt || !point->up || point->state.fenced) {
        return;
    }
    if (point->paused) {
        wait_to_dial(point, 100 * SIM_MILLISECOND);
        return;
    }
    struct sim_node *node = sim->nodes[sim_below(sim, sim->n_nodes)];
    if (!node->up || (sim->healed && !node_votes(node))) {
        wait_to_dial(point, 60 * SIM_MILLISECOND);
        return;
    }
    go_back(point);
    point->link = link_dial(point, node);
    point->stage = POINT_JOINING;
    point->heard_us = sim->now_us;
    point->told_received = point->told_enforced = 0;
    sim_trace(sim, node->id, "point-dials", point->number, point->state.revision, point->state.complete);
    point_say(point, (struct point_message){.kind = MESSAGE_REGISTRATION,
                                            .instance = point->instance,
                                            .epoch = point->state.epoch,
                                            .revision = point->state.revision});
}

/* --- The stream: receiving --- */

static void take_registered(struct sim_point *point)
{
    if (point->stage == POINT_JOINING) {
        guard_state_connected(&point->state);
        point->stage = POINT_STREAMING;
        ping(point);
        sessions_say_failures(point, 0);
        acknowledge(point);
    }
}

static void take_event(struct sim_point *point, const struct point_message *message)
{
    if (!guard_state_event(&point->state, message->epoch, message->revision)) {
        sim_fail(point->sim, "G7", "point %u at revision %" PRIu64 " is sent an event of %" PRIu64, point->number,
                 point->state.revision, message->revision);
        return;
    }
    bool ends = !message->grant.active;
    if (ends && point->sim->broken == BREAK_ACK && sim_chance(point->sim, 300000)) {
        cache_set(&point->held, &(struct point_grant){.id = message->grant.id, .active = true});
        return;
    }
    cache_set(&point->cache, &message->grant);
    if (ends) {
        sessions_end(point, message->grant.id, message->revision);
    } else {
        sessions_begin(point, message->grant.id);
    }
}

/* What is missing in it ended at some time after the old cache's revision: what was enforced so far stays so, no more.
 */
static void take_snapshot_end(struct sim_point *point, const struct point_message *message)
{
    uint64_t earliest = point->state.revision + 1;
    if (!guard_state_snapshot_end(&point->state, message->epoch, message->revision)) {
        sim_fail(point->sim, "G5", "point %u at revision %" PRIu64 " is sent a snapshot of %" PRIu64, point->number,
                 point->state.revision, message->revision);
        return;
    }
    struct point_cache before = point->cache;
    point->cache = point->next;
    point->next = before;
    cache_clear(&point->next);
    struct point_locks locks = point->locks;
    point->locks = point->next_locks;
    point->next_locks = locks;
    locks_clear(&point->next_locks);
    sessions_end_missing(point, earliest);
    sessions_end_locked(point, earliest, message->revision);
}

/* The process that somebody started twice. */
static bool is_twin(const struct sim_point *point)
{
    return point->number > 0 && strcmp(point->id, "ep0") == 0;
}

static void start_again(void *arg, uint64_t tag)
{
    struct sim_point *point = arg;
    if (point->incarnation == tag) {
        point_crash(point, true);
        point_start(point);
    }
}

static void take_ended(struct sim_point *point, enum lease_end why)
{
    sim_trace(point->sim, 0, "point-ended", point->number, why, 0);
    leave(point, true);
    if (why == LEASE_END_REPLACED) {
        wait_to_dial(point, 40 * SIM_MILLISECOND);
        return;
    }
    cache_clear(&point->cache);
    locks_clear(&point->locks);
    point->n_sessions = point->n_failures = 0;
    guard_state_ended(&point->state, why == LEASE_END_FENCED);
    if (why != LEASE_END_FENCED) {
        draw_instance(point);
        wait_to_dial(point, 40 * SIM_MILLISECOND);
    } else if (point->sim->healed && !is_twin(point)) {
        /* By a twin that is gone, whose registration was still under way. Somebody looks after it. */
        sim_after(point->sim, 10 * SIM_MILLISECOND, start_again, point, point->incarnation);
    } else if (governance_is_heavy(point->sim) && !is_twin(point)) {
        /* By a lock, which may be over when somebody starts it again. */
        sim_after(point->sim, sim_around(point->sim, SIM_SECOND), start_again, point, point->incarnation);
    }
}

static void take_pong(struct sim_point *point, const struct point_message *message)
{
    /* A node that goes on answering without any promise has lost the cluster. */
    if (message->ttl_ms > 0) {
        point->heard_us = point->sim->now_us;
    }
    guard_state_pong(&point->state, message->sequence, message->ttl_ms, message->time_us);
}

static void take(struct sim_point *point, const struct point_message *message)
{
    switch (message->kind) {
    case MESSAGE_REGISTERED:
        take_registered(point);
        break;
    case MESSAGE_PONG:
        take_pong(point, message);
        break;
    case MESSAGE_EVENT:
        take_event(point, message);
        break;
    case MESSAGE_PROGRESS:
        if (!guard_state_progress(&point->state, message->epoch, message->revision)) {
            sim_fail(point->sim, "G7", "point %u is sent progress that goes back", point->number);
        }
        break;
    case MESSAGE_RESYNC:
        guard_state_resync(&point->state);
        cache_clear(&point->next);
        locks_clear(&point->next_locks);
        break;
    case MESSAGE_SNAPSHOT_GRANT:
        cache_set(&point->next, &message->grant);
        break;
    case MESSAGE_LOCK:
        point_take_lock(point, message);
        break;
    case MESSAGE_SNAPSHOT_LOCK:
        locks_take(&point->next_locks, &message->lock);
        break;
    case MESSAGE_SNAPSHOT_END:
        take_snapshot_end(point, message);
        break;
    case MESSAGE_ENDED:
        take_ended(point, message->why);
        break;
    default:
        lose(point, false);
    }
}

static void read_inbox(struct sim_point *point)
{
    while (point->up && !point->paused && point->inbox != NULL) {
        struct inbox_item *item = point->inbox;
        point->inbox = item->next;
        if (point->inbox == NULL) {
            point->inbox_tail = &point->inbox;
        }
        if (item->link == point->link) {
            link_read(point->link);
            take(point, &item->message);
            point_decide(point);
            points_model_cached(point->sim->points_oracle, point);
        }
        free(item);
    }
    if (point->up && !point->paused) {
        acknowledge(point);
    }
}

void point_receive(struct sim_point *point, struct point_link *link, const struct point_message *message)
{
    if (link != point->link) {
        return;
    }
    struct inbox_item *item = mem_calloc(1, sizeof(*item));
    *item = (struct inbox_item){.link = link, .message = *message};
    *point->inbox_tail = item;
    point->inbox_tail = &item->next;
    read_inbox(point);
}

/* --- Turns --- */

/* A change of leader without a move; a dead node before the lease runs out, mostly. */
static int64_t patience_us(const struct sim_point *point)
{
    int64_t lease_us = point->lease_ms * SIM_MILLISECOND;
    return point->stage == POINT_JOINING ? lease_us / 2 + 2 * SIM_SECOND : lease_us * 3 / 4;
}

static void look_after_stream(struct sim_point *point)
{
    struct sim *sim = point->sim;
    if (point->link == NULL) {
        return;
    }
    int64_t silent_us = sim->now_us - point->heard_us;
    if (silent_us > patience_us(point)) {
        lose(point, sim_chance(sim, 500000));
    } else if (point->stage == POINT_STREAMING && sim_chance(sim, 350000)) {
        ping(point);
    }
}

/* --break ack: the cache does at last what was acknowledged. */
static void let_go(struct sim_point *point)
{
    for (uint32_t i = 0; i < point->held.n; i++) {
        cache_set(&point->cache, &(struct point_grant){.id = point->held.grants[i].id});
    }
    cache_clear(&point->held);
}

static void turn(void *arg, uint64_t tag)
{
    struct sim_point *point = arg;
    struct sim *sim = point->sim;
    if (tag != point->incarnation) {
        return;
    }
    point_decide(point);
    if (!point->paused) {
        let_go(point);
        sessions_tend(point);
        acknowledge(point);
        look_after_stream(point);
        if (sim->broken == BREAK_CACHE_BACK && sim_chance(sim, 50000)) {
            cache_copy(&point->old, &point->cache);
        }
    }
    sim_after(sim, sim_around(sim, TURN_US), turn, point, tag);
}

/* --- Life and death --- */

void point_start(struct sim_point *point)
{
    CHECK(!point->up);
    point->up = true;
    point->paused = false;
    point->incarnation++;
    guard_state_init(&point->state);
    draw_instance(point);
    sim_trace(point->sim, 0, "point-starts", point->number, point->lease_ms, 0);
    wait_to_dial(point, 20 * SIM_MILLISECOND);
    sim_after(point->sim, sim_around(point->sim, TURN_US), turn, point, point->incarnation);
}

static void end_process(struct sim_point *point, bool told)
{
    leave(point, told);
    inbox_drop(point);
    cache_clear(&point->cache);
    cache_clear(&point->next);
    cache_clear(&point->old);
    cache_clear(&point->held);
    locks_clear(&point->locks);
    locks_clear(&point->next_locks);
    point->n_sessions = point->n_failures = 0;
    point->up = point->paused = false;
    point->incarnation++;
    point->attempt++;
}

void point_crash(struct sim_point *point, bool told)
{
    if (point->up) {
        sim_trace(point->sim, 0, "point-crashes", point->number, told, 0);
        end_process(point, told);
    }
}

void point_goodbye(struct sim_point *point)
{
    if (!point->up || point->paused) {
        return;
    }
    sim_trace(point->sim, 0, "point-goodbye", point->number, 0, 0);
    if (point->stage == POINT_STREAMING) {
        cache_clear(&point->cache);
        points_model_left(point->sim->points_oracle, point->instance);
        point_say(point, (struct point_message){.kind = MESSAGE_GOODBYE});
    }
    end_process(point, true);
}

void point_pause(struct sim_point *point)
{
    if (point->up && !point->paused) {
        point->paused = true;
        sim_trace(point->sim, 0, "point-pauses", point->number, 0, 0);
    }
}

void point_resume(struct sim_point *point)
{
    if (point->up && point->paused) {
        point->paused = false;
        sim_trace(point->sim, 0, "point-resumes", point->number, 0, 0);
        point_decide(point);
        read_inbox(point);
    }
}

/* --- All of them --- */

static void point_init(struct sim_point *point, struct sim *sim, uint32_t number)
{
    static const char *const scopes[] = {"*", "db/r0 db/r1", "db/r1 db/r2 db/r4/*", "db/r4/*", "db/*", "db/r5/x"};
    int64_t drift_ppm = sim->profile->drift_ppm;
    uint32_t longest_ms = sim->profile->point_lease_ms;
    *point = (struct sim_point){.sim = sim, .number = number, .inbox_tail = &point->inbox};
    /* The last one has the name of the first. */
    bool twin = number > 2 && number + 1 == sim->profile->points;
    snprintf(point->id, sizeof(point->id), "ep%u", twin ? 0 : number);
    snprintf(point->principal, sizeof(point->principal), "user:ep%u", twin ? 0 : number);
    point->scope = scopes[(twin ? 0 : number) % ARRAY_LEN(scopes)];
    point->lease_ms = (uint32_t)sim_between(sim, LIMIT_LEASE_MS_MIN, longest_ms);
    point->drift_ppm = (int32_t)sim_between(sim, -drift_ppm, drift_ppm);
    point->boot_origin_us = sim->now_us;
    point->boot_base_us = sim_between(sim, SIM_SECOND, 1000 * SIM_SECOND);
}

static void start(void *arg, uint64_t tag)
{
    struct sim_point *point = arg;
    if (!point->up && point->incarnation == tag) {
        point_start(point);
    }
}

struct sim_points *sim_points_new(struct sim *sim)
{
    struct sim_points *points = mem_calloc(1, sizeof(*points));
    points->sim = sim;
    points->n = sim->profile->points;
    CHECK(points->n <= POINTS_MAX);
    for (uint32_t i = 0; i < points->n; i++) {
        point_init(&points->all[i], sim, i);
        /* A twin comes when chaos wants it. */
        if (!is_twin(&points->all[i])) {
            sim_after(sim, sim_between(sim, 1, SIM_SECOND), start, &points->all[i], 0);
        }
    }
    return points;
}

void sim_points_free(struct sim_points *points)
{
    if (points == NULL) {
        return;
    }
    for (uint32_t i = 0; i < points->n; i++) {
        struct sim_point *point = &points->all[i];
        end_process(point, false);
        cache_free(&point->cache);
        cache_free(&point->next);
        cache_free(&point->old);
        cache_free(&point->held);
        point_locks_free(&point->locks);
        point_locks_free(&point->next_locks);
    }
    free(points);
}

uint32_t sim_points_count(const struct sim_points *points)
{
    return points->n;
}

struct sim_point *point_at(const struct sim_points *points, uint32_t i)
{
    return (struct sim_point *)&points->all[i];
}

/* Of two with one id one stays. A fenced one is started again. */
void sim_points_heal(struct sim_points *points)
{
    for (uint32_t i = 0; i < points->n; i++) {
        struct sim_point *point = &points->all[i];
        bool twin = is_twin(point);
        point_resume(point);
        point->slow_sessions = false;
        if (point->link != NULL) {
            link_mend(point->link);
        }
        if (twin || point->state.fenced) {
            point_crash(point, true);
        }
        if (!twin && !point->up) {
            point_start(point);
        }
    }
}

static bool settled(struct sim_point *point)
{
    int64_t now_us = point_boot_us(point);
    return !point->up || (guard_state_phase(&point->state, now_us) == GUARD_DECIDING &&
                          points_model_cached(point->sim->points_oracle, point));
}

bool sim_points_settled(struct sim_points *points)
{
    for (uint32_t i = 0; i < points->n; i++) {
        if (!settled(&points->all[i])) {
            return false;
        }
    }
    return true;
}
