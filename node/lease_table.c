/* What the leader knows of promises: for each registered point and each member, until when the last one runs at most.
 * The rows of 0010's table are bound_at, below; lease_table_bound takes the latest over all nodes. */
#include "node/lease_leader_internal.h"

#include <stdlib.h>

#include "base/check.h"

void *lease_grow(void *array, uint32_t n, uint32_t *capacity, size_t size)
{
    if (n < *capacity)
        return array;
    *capacity = *capacity == 0 ? 64 : 2 * *capacity;
    return mem_realloc(array, *capacity * size);
}

/* --- Slots --- */

struct lease_slot *lease_slot_of(struct lease_leader *leader, uint64_t node)
{
    for (uint32_t i = 0; i < LIMIT_PEERS; i++) {
        if (leader->slots[i].id == node)
            return &leader->slots[i];
    }
    return NULL;
}

uint32_t lease_slot_index(const struct lease_leader *leader, const struct lease_slot *slot)
{
    return (uint32_t)(slot - leader->slots);
}

void lease_slot_clear(struct lease_slot *slot)
{
    free(slot->admissions);
    free(slot->ends);
    *slot = (struct lease_slot){.id = slot->id, .grant_us = NEVER, .born_us = NEVER, .answered_us = NEVER};
}

void lease_slot_new_session(struct lease_leader *leader, struct lease_slot *slot)
{
    slot->session = ++leader->last_session;
    slot->expected = 1;
    slot->reported = slot->echo_counts = false;
    slot->answer_due = true;
    slot->n_admissions = 0;
}

/* --- Bounds --- */

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Promises of earlier terms, made by nodes that have not told about them. */
static int64_t bound_of_earlier_terms(const struct lease_leader *leader, const struct lease_point *point)
{
    if (leader->broken == LEASE_BROKEN_TERM)
        return leader->since_us;
    return leader->since_us + lease_wait_us(LEASE_EVIDENCE_US + LEASE_NODE_US + point->lease_us);
}

static int64_t bound_of_earlier_lives(const struct lease_leader *leader, const struct lease_slot *slot,
                                      const struct lease_point *point)
{
    if (leader->broken == LEASE_BROKEN_LIFE || slot->born_us == NEVER)
        return NEVER;
    return slot->born_us + lease_wait_us(point->lease_us);
}

static int64_t bound_of_node_lease(const struct lease_leader *leader, const struct lease_slot *slot,
                                   const struct lease_point *point)
{
    if (slot->grant_us == NEVER)
        return NEVER;
    if (leader->broken == LEASE_BROKEN_NODE)
        return slot->grant_us;
    return slot->grant_us + lease_wait_us(LEASE_NODE_US + point->lease_us);
}

static int64_t bound_at(const struct lease_leader *leader, const struct lease_point *point, uint32_t i)
{
    const struct lease_slot *slot = &leader->slots[i];
    if (slot->id == 0)
        return NEVER;
    if (!slot->complete)
        return bound_of_earlier_terms(leader, point);
    int64_t bound = later(bound_of_earlier_lives(leader, slot, point), point->bound_us[i]);
    return point->admitted & 1u << i ? later(bound, bound_of_node_lease(leader, slot, point)) : bound;
}

int64_t lease_table_bound(const struct lease_leader *leader, const struct lease_point *point)
{
    int64_t bound = leader->strangers ? bound_of_earlier_terms(leader, point) : NEVER;
    bound = later(bound, point->floor_us);
    for (uint32_t i = 0; i < LIMIT_PEERS; i++)
        bound = later(bound, bound_at(leader, point, i));
    return bound;
}

void lease_table_withdraw(struct lease_leader *leader, struct lease_point *point)
{
    if (leader->broken == LEASE_BROKEN_ADMISSION)
        return;
    for (uint32_t i = 0; i < LIMIT_PEERS; i++) {
        if (point->admitted & 1u << i)
            lease_slot_new_session(leader, &leader->slots[i]);
    }
}

void lease_table_retire(struct lease_leader *leader, uint32_t slot)
{
    struct lease_point *point;
    uint16_t others = (uint16_t) ~(1u << slot);
    /* Also to points that we will see registered only when we have applied what was committed before our term. */
    if (!leader->slots[slot].complete)
        leader->strangers = true;
    TAILQ_FOREACH(point, &leader->all, all)
    {
        point->floor_us = later(point->floor_us, bound_at(leader, point, slot));
        point->present &= others;
        point->admitted &= others;
        point->unmentioned &= others;
        point->want[slot] = 0;
        point->bound_us[slot] = NEVER;
    }
}

/* --- Points --- */

static void free_failures(struct lease_point *point)
{
    struct leader_failure *failure;
    while ((failure = STAILQ_FIRST(&point->failures)) != NULL) {
        STAILQ_REMOVE_HEAD(&point->failures, next);
        free(failure);
    }
}

void lease_table_remove(struct lease_leader *leader, struct lease_point *point)
{
    lease_unwatch(leader, point);
    lease_index_remove(&leader->points, &point->link);
    TAILQ_REMOVE(&leader->all, point, all);
    free_failures(point);
    free(point);
}

void lease_table_clear(struct lease_leader *leader)
{
    while (!TAILQ_EMPTY(&leader->all))
        lease_table_remove(leader, TAILQ_FIRST(&leader->all));
    lease_index_free(&leader->points);
}

static struct lease_point *point_new(struct lease_leader *leader, const struct point *from, int64_t now_us)
{
    struct lease_point *point = mem_calloc(1, sizeof *point);
    point->link.id = from->instance;
    point->lease_us = from->lease_ms * 1000ll;
    point->floor_us = point->proposed_us = NEVER;
    point->absent_us = now_us;
    for (uint32_t i = 0; i < LIMIT_PEERS; i++)
        point->bound_us[i] = NEVER;
    STAILQ_INIT(&point->failures);
    bool fits = slice_to_cstr(from->id, point->id, sizeof point->id);
    CHECK(fits);
    lease_index_add(&leader->points, &point->link);
    TAILQ_INSERT_TAIL(&leader->all, point, all);
    return point;
}

/* The table's copy of what the store says. */
static struct lease_point *take(struct lease_leader *leader, const struct point *from, int64_t now_us)
{
    struct lease_point *point = lease_index_find(&leader->points, &from->instance);
    if (point == NULL)
        point = point_new(leader, from, now_us);
    if (from->fenced && !point->fenced) {
        point->fenced = true;
        lease_watch(leader, point, now_us);
    }
    return point;
}

struct lease_point *lease_table_point(struct lease_leader *leader, const struct random_id *instance, int64_t now_us)
{
    struct point registered;
    if (!store_point_get(leader->store, *instance, &registered))
        return NULL;
    return take(leader, &registered, now_us);
}

static void take_all(struct lease_leader *leader, int64_t now_us)
{
    struct point registered;
    struct lease_point *next;
    for (uint32_t i = 0; store_point_at(leader->store, i, &registered); i++)
        take(leader, &registered, now_us)->seen = true;
    for (struct lease_point *point = TAILQ_FIRST(&leader->all); point != NULL; point = next) {
        next = TAILQ_NEXT(point, all);
        if (!point->seen)
            lease_table_remove(leader, point);
        else
            point->seen = false;
    }
}

static void find_absent(struct lease_leader *leader, int64_t now_us)
{
    struct lease_point *point;
    TAILQ_FOREACH(point, &leader->all, all)
    {
        if (point->present == 0 && now_us - point->absent_us >= LIMIT_POINT_ABSENT_MS * 1000ll && !point->watched)
            lease_watch(leader, point, now_us);
    }
}

void lease_table_sync(struct lease_leader *leader, int64_t now_us)
{
    leader->sync_due_us = now_us + SYNC_US;
    leader->synced_us = now_us;
    if (leader->store != NULL && leader->synced_revision != store_revision(leader->store)) {
        leader->synced_revision = store_revision(leader->store);
        take_all(leader, now_us);
    }
    find_absent(leader, now_us);
}

/* --- Reports --- */

static void set_present(struct lease_point *point, uint32_t slot, bool present, int64_t now_us)
{
    uint16_t bit = (uint16_t)(1u << slot), before = point->present;
    point->present = (uint16_t)(present ? before | bit : before & ~bit);
    if (point->present == 0 && before != 0)
        point->absent_us = now_us;
}

static void set_unadmitted(struct lease_leader *leader, struct lease_point *point, uint32_t slot, uint64_t left_us,
                           int64_t now_us)
{
    point->admitted &= (uint16_t) ~(1u << slot);
    point->bound_us[slot] = NEVER;
    if (left_us > 0 && leader->broken != LEASE_BROKEN_POINT)
        point->bound_us[slot] = now_us + lease_wait_us((int64_t)left_us);
    if (point->watched)
        lease_watch(leader, point, now_us);
}

void lease_table_report(struct lease_leader *leader, struct lease_point *point, uint32_t slot,
                        const struct lease_item *item, int64_t now_us)
{
    point->unmentioned &= (uint16_t) ~(1u << slot);
    set_present(point, slot, item->state != LEASE_GONE, now_us);
    /* Said before our admission of that very want arrived: it may be promising by now. */
    if (item->state == LEASE_WANTED && item->want == point->granted[slot])
        return;
    if (item->state != LEASE_ADMITTED)
        set_unadmitted(leader, point, slot, item->left_us, now_us);
    point->want[slot] = item->want;
}

void lease_table_begin_report(struct lease_leader *leader, uint32_t slot)
{
    struct lease_point *point;
    TAILQ_FOREACH(point, &leader->all, all)
    {
        point->unmentioned |= (uint16_t)(1u << slot);
        /* A node numbers its wants anew in each session, and from 1 on in each life. */
        point->granted[slot] = 0;
    }
}

void lease_table_end_report(struct lease_leader *leader, uint32_t slot, int64_t now_us)
{
    struct lease_point *point;
    /* It has neither a stream nor a promise there. */
    TAILQ_FOREACH(point, &leader->all, all)
    {
        if (!(point->unmentioned & 1u << slot))
            continue;
        point->unmentioned &= (uint16_t) ~(1u << slot);
        point->want[slot] = 0;
        set_present(point, slot, false, now_us);
        set_unadmitted(leader, point, slot, 0, now_us);
    }
}
