/* The locks that a point keeps, by kind and target. What denies is lock_denies and nothing else. */
#include <inttypes.h>
#include <stdlib.h>

#include "tests/sim/point.h"

static uint32_t place_of(const struct point_locks *locks, const struct point_lock *lock)
{
    uint32_t i = 0;
    while (i < locks->n && (locks->locks[i].kind != lock->kind || strcmp(locks->locks[i].target, lock->target) != 0)) {
        i++;
    }
    return i;
}

static void put(struct point_locks *locks, uint32_t place, const struct point_lock *lock)
{
    if (locks->n == locks->max) {
        locks->max = locks->max == 0 ? 8 : 2 * locks->max;
        locks->locks = mem_realloc(locks->locks, locks->max * sizeof(*locks->locks));
    }
    locks->locks[place] = *lock;
    locks->n += place == locks->n;
}

/* A snapshot may have shown what is newer than the events that follow it. */
void locks_take(struct point_locks *locks, const struct point_lock *lock)
{
    uint32_t place = place_of(locks, lock);
    if (place < locks->n && locks->locks[place].revision > lock->revision) {
        return;
    }
    if (!lock->lifted) {
        put(locks, place, lock);
    } else if (place < locks->n) {
        locks->locks[place] = locks->locks[--locks->n];
    }
}

bool point_locks_deny(const struct point_locks *locks, const struct point_grant *grant)
{
    const struct grant_query query = {.subject = slice_str(grant->subject), .resource = slice_str(grant->resource)};
    for (uint32_t i = 0; i < locks->n; i++) {
        struct lock lock = {.kind = locks->locks[i].kind, .target = slice_str(locks->locks[i].target)};
        if (lock_denies(&lock, &query, 0)) {
            return true;
        }
    }
    return false;
}

bool locks_hold(const struct point_locks *locks, enum lock_kind kind, const char *target)
{
    struct point_lock lock = {.kind = kind};
    memcpy(lock.target, target, strlen(target) + 1);
    return place_of(locks, &lock) < locks->n;
}

void locks_clear(struct point_locks *locks)
{
    locks->n = 0;
}

void point_locks_free(struct point_locks *locks)
{
    free(locks->locks);
    *locks = (struct point_locks){0};
}

void point_take_lock(struct sim_point *point, const struct point_message *message)
{
    if (!guard_state_event(&point->state, message->epoch, message->revision)) {
        sim_fail(point->sim, "G7", "point %u at revision %" PRIu64 " is sent a lock's event of %" PRIu64, point->number,
                 point->state.revision, message->revision);
        return;
    }
    locks_take(&point->locks, &message->lock);
    if (!message->lock.lifted) {
        sessions_end_locked(point, message->revision, message->revision);
    }
}
