/* Who is waited out, and when.
 *
 *   a barrier waits for it, and it has not received     LAPSED   once its bound has passed
 *   ... has received, and does not confirm              FAILED   a lease later (it stays: its cache denies)
 *   a newer instance of its id is registered            FENCED   once its bound has passed
 *   it has no stream anywhere for a minute              LAPSED   once its bound has passed
 *   it said goodbye                                     LEFT     at once
 *
 * LAPSED, FENCED and LEFT end the instance. From that decision on it is never admitted again in this term, also when
 * the proposal got lost: whether it did is not known for sure. */
#include "node/lease_leader_internal.h"

#include "base/check.h"

/* The end of a point makes every node's store look through its open barriers, at 130 ns each. Past this product of ends
 * and barriers the other ends wait for the next tick: 13 ms of the core loop at most. */
#define ENDS_TIMES_BARRIERS_MAX 100000u

void lease_watch(struct lease_leader *leader, struct lease_point *point, int64_t due_us)
{
    if (!point->watched)
        TAILQ_INSERT_TAIL(&leader->watch, point, watch);
    point->watched = true;
    point->due_us = due_us;
    /* Many words of many points come at once: one walk for all of them. */
    int64_t at_us = due_us > leader->watched_us + WATCH_US ? due_us : leader->watched_us + WATCH_US;
    if (at_us < leader->watch_due_us)
        leader->watch_due_us = at_us;
}

void lease_unwatch(struct lease_leader *leader, struct lease_point *point)
{
    if (!point->watched)
        return;
    TAILQ_REMOVE(&leader->watch, point, watch);
    point->watched = false;
}

static void propose_end(struct lease_leader *leader, struct lease_point *point, int64_t now_us)
{
    struct command command = {.type = COMMAND_END_POINT, .instance = point->link.id, .count = point->decided};
    point->proposed_us = now_us;
    leader->io.propose(leader->arg, &command);
}

static void tell_nodes(struct lease_leader *leader, const struct lease_point *point, enum lease_end why)
{
    for (uint32_t i = 0; i < LIMIT_PEERS; i++) {
        struct lease_slot *slot = &leader->slots[i];
        if (!(point->present & 1u << i))
            continue;
        slot->ends = lease_grow(slot->ends, slot->n_ends, &slot->ends_capacity, sizeof *slot->ends);
        slot->ends[slot->n_ends++] = (struct lease_ending){point->link.id, why};
        slot->answer_due = true;
    }
}

static void decide(struct lease_leader *leader, struct lease_point *point, enum point_end end, int64_t now_us)
{
    point->decided = end;
    leader->n_decided++;
    lease_table_withdraw(leader, point);
    tell_nodes(leader, point, end == POINT_END_FENCED ? LEASE_END_FENCED : LEASE_END_LAPSED);
    lease_watch(leader, point, now_us + WATCH_US);
}

/* One receipt is enough: it takes the instance out of all barriers. */
static void decide_blocking(struct lease_leader *leader, struct lease_point *point, struct lease_barrier *barrier,
                            int64_t now_us)
{
    decide(leader, point, POINT_END_LAPSED, now_us);
    lease_receipt_add(leader, barrier, point, RECEIPT_LAPSED, NULL, now_us);
    leader->barrier_complete = true; /* nothing is gained by waiting for others */
    point->proposed_us = now_us;
}

static void decide_end(struct lease_leader *leader, struct lease_point *point, enum point_end end, int64_t now_us)
{
    decide(leader, point, end, now_us);
    leader->decided_levels[end == POINT_END_LEFT ? RECEIPT_LEFT : RECEIPT_LAPSED]++;
    propose_end(leader, point, now_us);
}

/* --- One point --- */

static bool is_absent(const struct lease_point *point, int64_t now_us)
{
    return point->present == 0 && now_us - point->absent_us >= LIMIT_POINT_ABSENT_MS * 1000ll;
}

static bool is_behind(const struct lease_point *point)
{
    return point->behind > point->settled;
}

/* It is ended as soon as what was proposed is applied. */
static void see_it_ended(struct lease_leader *leader, struct lease_point *point, int64_t now_us)
{
    struct point registered;
    if (!store_point_get(leader->store, point->link.id, &registered)) {
        lease_table_remove(leader, point);
        return;
    }
    if (now_us - point->proposed_us >= PROPOSE_AGAIN_US)
        propose_end(leader, point, now_us);
    point->due_us = now_us + WATCH_US;
}

/* Its bound has passed: whether that ends it. */
static bool decide_waited_out(struct lease_leader *leader, struct lease_point *point, int64_t now_us)
{
    struct lease_barrier *barrier = lease_barrier_blocked_by(leader, point);
    if (point->fenced)
        decide_end(leader, point, POINT_END_FENCED, now_us);
    else if (barrier != NULL)
        decide_blocking(leader, point, barrier, now_us);
    else if (is_absent(point, now_us))
        decide_end(leader, point, POINT_END_LAPSED, now_us);
    else if (point->blocks > point->received)
        point->blocks = point->received; /* none of them waits for it; those that it has received may */
    return point->decided != 0;
}

static void fail_behind(struct lease_leader *leader, struct lease_point *point, int64_t now_us)
{
    lease_settle(leader, point, point->behind, RECEIPT_FAILED, now_us);
    point->behind_us = now_us;
    if (!is_behind(point))
        point->behind = point->received > point->behind ? point->received : 0;
}

static void evaluate(struct lease_leader *leader, struct lease_point *point, int64_t now_us)
{
    int64_t due_us = INT64_MAX;
    if (point->decided != 0) {
        see_it_ended(leader, point, now_us);
        return;
    }
    if (point->goodbye) {
        decide_end(leader, point, POINT_END_LEFT, now_us);
        return;
    }
    lease_settle(leader, point, point->enforced, RECEIPT_ENFORCED, now_us);
    if (point->enforced > point->settled)
        due_us = now_us + WATCH_US; /* of a revision that we have not applied yet */
    if (is_behind(point) && now_us >= point->behind_us + point->lease_us)
        fail_behind(leader, point, now_us);
    if (is_behind(point) && point->behind_us + point->lease_us < due_us)
        due_us = point->behind_us + point->lease_us;
    if (point->fenced || is_absent(point, now_us) || point->blocks > point->received) {
        int64_t bound_us = lease_table_bound(leader, point);
        if (now_us >= bound_us && decide_waited_out(leader, point, now_us))
            return;
        due_us = bound_us > now_us && bound_us < due_us ? bound_us : due_us;
    }
    point->due_us = due_us;
    if (due_us == INT64_MAX || (point->blocks <= point->settled && !point->fenced && !is_absent(point, now_us) &&
                                point->enforced <= point->settled))
        lease_unwatch(leader, point);
}

static bool is_enough(const struct lease_leader *leader, uint64_t n_ends)
{
    return n_ends * leader->n_barriers >= ENDS_TIMES_BARRIERS_MAX;
}

void lease_decide_tick(struct lease_leader *leader, int64_t now_us)
{
    struct lease_point *next;
    int64_t due_us = INT64_MAX;
    uint64_t before = leader->n_decided;
    if (!leader->ready || now_us < leader->watch_due_us)
        return;
    for (struct lease_point *point = TAILQ_FIRST(&leader->watch);
         point != NULL && !is_enough(leader, leader->n_decided - before); point = next) {
        next = TAILQ_NEXT(point, watch);
        if (point->due_us <= now_us)
            evaluate(leader, point, now_us);
    }
    /* Those that are left, and those that were added meanwhile. */
    struct lease_point *point;
    TAILQ_FOREACH(point, &leader->watch, watch)
    due_us = point->due_us < due_us ? point->due_us : due_us;
    leader->watched_us = now_us;
    leader->watch_due_us = due_us > now_us + WATCH_US ? due_us : now_us + WATCH_US;
}

void lease_decide_refused(struct lease_leader *leader, int64_t now_us)
{
    struct lease_point *point;
    TAILQ_FOREACH(point, &leader->watch, watch)
    {
        if (point->decided != 0)
            point->proposed_us = now_us - PROPOSE_AGAIN_US + REFUSED_US;
    }
}
