/* G5 for locks: what a lock denies is permitted by no point that has confirmed it, and by no point at all once a caller
 * was told so, until the lock is lifted.
 *
 *   LOCKED --> in force --LOCKED: another one in its place, and no gap--> in force --UNLOCKED--> lifted
 *
 * A lock counts as lifted as soon as the first node has applied that: a point may know it from then on. */
#include <inttypes.h>

#include "base/check.h"
#include "store/lock.h"
#include "tests/sim/oracle_points_internal.h"

struct known_lock *model_find_lock(const struct points_model *model, enum lock_kind kind, struct slice target)
{
    for (uint32_t i = 0; i < model->n_locks; i++) {
        if (model->locks[i].kind == kind && slice_equal(slice_str(model->locks[i].target), target)) {
            return &model->locks[i];
        }
    }
    return NULL;
}

static struct known_lock *add_lock(struct points_model *model, const struct lock *lock)
{
    model->locks = model_grown(model->locks, model->n_locks, &model->locks_max, sizeof(*model->locks));
    struct known_lock *known = &model->locks[model->n_locks++];
    *known = (struct known_lock){.kind = lock->kind};
    CHECK(slice_to_cstr(lock->target, known->target, sizeof(known->target)));
    return known;
}

void model_lock_event(struct points_model *model, const struct store_event *event)
{
    struct lock lock;
    lapse_result decoded = lock_decode(event->object->value, &lock, NULL);
    CHECK(lapse_is_ok(decoded));
    struct known_lock *known = model_find_lock(model, lock.kind, lock.target);
    if (known == NULL) {
        known = add_lock(model, &lock);
    }
    if (event->type == STORE_EVENT_UNLOCKED && known->since == 0) {
        sim_fail(model->sim, "G5", "a lock ends at revision %" PRIu64 " that is not there", event->revision);
    }
    known->revision = event->revision;
    known->until_ms = lock.until_ms;
    if (event->type == STORE_EVENT_UNLOCKED) {
        known->since = 0;
        known->told = false;
    } else if (known->since == 0) {
        known->since = event->revision;
        model->counts.locks++;
    }
}

bool model_lock_denies(const struct known_lock *lock, const struct known_grant *grant)
{
    struct slice target = slice_str(lock->target);
    return lock->since != 0 && ((lock->kind == LOCK_SUBJECT && principal_same(target, slice_str(grant->subject))) ||
                                (lock->kind == LOCK_RESOURCE && resource_overlaps(target, slice_str(grant->resource))));
}

void model_check_locks(struct points_model *model, const struct known_instance *instance,
                       const struct known_grant *grant)
{
    for (uint32_t i = 0; i < model->n_locks; i++) {
        const struct known_lock *lock = &model->locks[i];
        if (!model_lock_denies(lock, grant)) {
            continue;
        }
        if (lock->told) {
            sim_fail(model->sim, "G5", "point %u permits what is locked after a caller was told that nobody does (%s)",
                     instance->point->number, lock->target);
        } else if (instance->received >= lock->since) {
            sim_fail(model->sim, "G5", "point %u permits what a lock denies that it has confirmed (%s)",
                     instance->point->number, lock->target);
        }
    }
}

bool model_locks_follow(const struct points_model *model, uint64_t revision)
{
    for (uint32_t i = 0; i < model->n_locks; i++) {
        if (model->locks[i].kind != LOCK_POINT && model->locks[i].revision > revision) {
            return true;
        }
    }
    return false;
}

bool model_locks_equal(const struct points_model *model, const struct point_locks *locks)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < model->n_locks; i++) {
        const struct known_lock *known = &model->locks[i];
        if (known->kind == LOCK_POINT || known->since == 0) {
            continue;
        }
        n++;
        if (!locks_hold(locks, known->kind, known->target)) {
            return false;
        }
    }
    return n == locks->n;
}
