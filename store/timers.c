/* What is due when. Every grant has at most one timer, and its state says which:
 *
 *   PENDING    lapses at pending_until          ended, live children   now: they have to end, too
 *   APPROVED   becomes active at not_before     ended, no children     leaves when its retention is over
 *   ACTIVE     expires at its deadline          ended, others          none: it leaves after its children
 *
 * Two heaps by (time, id): one of what produces events, one of ended grants by the time of their end, whose first
 * member is also the one to leave early when there are too many. */
#include <endian.h>
#include <stdlib.h>

#include "base/check.h"
#include "store/internal.h"

#define CHILDREN 4u
/* links.timer: place in the heap + 1, with this bit for HEAP_ENDED; 0: no timer. */
#define ENDED_BIT 0x20000000u
_Static_assert(LIMIT_LIVE_GRANTS + LIMIT_ENDED_GRANTS < ENDED_BIT, "each has its place");

static int64_t due_of(const struct timer *timer)
{
    return (int64_t)(timer->due[0] | (uint64_t)timer->due[1] << 16 | (uint64_t)timer->due[2] << 32);
}

static uint32_t slot_of(const struct timer *timer)
{
    return timer->slot[0] | (uint32_t)timer->slot[1] << 16;
}

static struct timer timer_make(int64_t due_ms, uint32_t slot)
{
    uint64_t due = (uint64_t)due_ms;
    return (struct timer){{(uint16_t)due, (uint16_t)(due >> 16), (uint16_t)(due >> 32)},
                          {(uint16_t)slot, (uint16_t)(slot >> 16)}};
}

/* grant_id_compare() < 0, without a call: heaps of equal times ask it all the time. */
static bool id_before(struct grant_id a, struct grant_id b)
{
    uint64_t x[2], y[2];
    memcpy(x, a.bytes, sizeof x);
    memcpy(y, b.bytes, sizeof y);
    int high = x[0] != y[0] ? 0 : 1;
    return be64toh(x[high]) < be64toh(y[high]);
}

static bool before(const struct store *store, const struct timer *a, const struct timer *b)
{
    int64_t due_a = due_of(a), due_b = due_of(b);
    if (due_a != due_b)
        return due_a < due_b;
    return id_before(store_record(store, slot_of(a))->id, store_record(store, slot_of(b))->id);
}

static void put(struct store *store, enum heap_kind kind, uint32_t place, struct timer timer)
{
    store->heaps[kind].timers[place] = timer;
    links_at(store, slot_of(&timer))->timer = (place + 1) | (kind == HEAP_ENDED ? ENDED_BIT : 0);
}

static void sift_up(struct store *store, enum heap_kind kind, uint32_t place, struct timer timer)
{
    struct timer *timers = store->heaps[kind].timers;
    while (place > 0) {
        uint32_t above = (place - 1) / CHILDREN;
        if (!before(store, &timer, &timers[above]))
            break;
        put(store, kind, place, timers[above]);
        place = above;
    }
    put(store, kind, place, timer);
}

/* A tie is decided by ids, which are far apart: ask for those of all children at once. */
static void prefetch_ids(const struct store *store, const struct timer *timers, uint32_t first, uint32_t end)
{
    if (end - first < 2 || due_of(&timers[first]) != due_of(&timers[first + 1]))
        return;
    for (uint32_t child = first; child < end; child++)
        __builtin_prefetch(store_record(store, slot_of(&timers[child])));
}

static void sift_down(struct store *store, enum heap_kind kind, uint32_t place, struct timer timer)
{
    struct heap *heap = &store->heaps[kind];
    for (;;) {
        uint32_t first = place * CHILDREN + 1, best = first;
        uint32_t end = first + CHILDREN < heap->n ? first + CHILDREN : heap->n;
        if (first >= heap->n)
            break;
        prefetch_ids(store, heap->timers, first, end);
        for (uint32_t child = first + 1; child < end; child++)
            if (before(store, &heap->timers[child], &heap->timers[best]))
                best = child;
        if (!before(store, &heap->timers[best], &timer))
            break;
        put(store, kind, place, heap->timers[best]);
        place = best;
    }
    put(store, kind, place, timer);
}

static void insert(struct store *store, enum heap_kind kind, struct timer timer)
{
    struct heap *heap = &store->heaps[kind];
    if (heap->n == heap->capacity) {
        heap->capacity = heap->capacity == 0 ? 64 : heap->capacity * 2;
        heap->timers = mem_realloc(heap->timers, heap->capacity * sizeof heap->timers[0]);
    }
    sift_up(store, kind, heap->n++, timer);
}

/* Moves a timer of `kind` at `place`, whose value there is out of date, to where `timer` belongs. */
static void settle(struct store *store, enum heap_kind kind, uint32_t place, struct timer timer)
{
    struct timer *timers = store->heaps[kind].timers;
    if (place > 0 && before(store, &timer, &timers[(place - 1) / CHILDREN]))
        sift_up(store, kind, place, timer);
    else
        sift_down(store, kind, place, timer);
}

void timers_disarm(struct store *store, uint32_t slot)
{
    uint32_t mark = links_at(store, slot)->timer;
    if (mark == 0)
        return;
    enum heap_kind kind = (mark & ENDED_BIT) != 0 ? HEAP_ENDED : HEAP_LIVE;
    struct heap *heap = &store->heaps[kind];
    uint32_t place = (mark & ~ENDED_BIT) - 1;
    links_at(store, slot)->timer = 0;
    struct timer last = heap->timers[--heap->n];
    if (place < heap->n)
        settle(store, kind, place, last);
}

/* Which timer the grant's state calls for; false: none. */
static bool wanted(const struct store *store, uint32_t slot, enum heap_kind *kind, int64_t *due_ms)
{
    const struct record *record = store_record(store, slot);
    struct grant terms;
    *kind = HEAP_LIVE;
    switch ((enum grant_state)record->state) {
    case GRANT_PENDING:
        slot_read_shared(store, slot, &terms);
        *due_ms = pending_until_ms(&terms, (int64_t)u48_get(record->requested_ms));
        return true;
    case GRANT_APPROVED:
        slot_read_shared(store, slot, &terms);
        *due_ms = terms.not_before_ms;
        return true;
    case GRANT_ACTIVE:
        *due_ms = (int64_t)u48_get(record->deadline_ms);
        return true;
    default:
        *due_ms = (int64_t)u48_get(record->ended_ms);
        if (family_live_child(store, slot) != 0)
            return true;
        *kind = HEAP_ENDED;
        return !family_has_children(store, slot);
    }
}

void timers_arm(struct store *store, uint32_t slot)
{
    enum heap_kind kind;
    int64_t due_ms;
    uint32_t mark = links_at(store, slot)->timer;
    bool armed = wanted(store, slot, &kind, &due_ms);
    bool stays = armed && mark != 0 && ((mark & ENDED_BIT) != 0) == (kind == HEAP_ENDED);
    if (stays) {
        settle(store, kind, (mark & ~ENDED_BIT) - 1, timer_make(due_ms, slot));
        return;
    }
    timers_disarm(store, slot);
    if (armed)
        insert(store, kind, timer_make(due_ms, slot));
}

/* When the first timer of a heap is due; INT64_MAX for never. */
static int64_t heap_due(const struct store *store, enum heap_kind kind)
{
    const struct heap *heap = &store->heaps[kind];
    if (heap->n == 0)
        return INT64_MAX;
    return due_of(&heap->timers[0]) + (kind == HEAP_ENDED ? store->retention_ms : 0);
}

int64_t timers_next_due(const struct store *store)
{
    int64_t live = heap_due(store, HEAP_LIVE), ended = heap_due(store, HEAP_ENDED);
    return live < ended ? live : ended;
}

uint32_t timers_due(const struct store *store, int64_t now_ms, enum heap_kind *kind)
{
    int64_t live = heap_due(store, HEAP_LIVE), ended = heap_due(store, HEAP_ENDED);
    if (live > now_ms && ended > now_ms)
        return 0;
    /* An empty heap has no memory: only a first timer that is due is looked at. */
    const struct timer *const *first =
        (const struct timer *const[]){store->heaps[HEAP_LIVE].timers, store->heaps[HEAP_ENDED].timers};
    if (live != ended) {
        *kind = live < ended ? HEAP_LIVE : HEAP_ENDED;
    } else {
        struct grant_id live_id = store_record(store, slot_of(first[HEAP_LIVE]))->id;
        struct grant_id ended_id = store_record(store, slot_of(first[HEAP_ENDED]))->id;
        *kind = grant_id_compare(live_id, ended_id) < 0 ? HEAP_LIVE : HEAP_ENDED;
    }
    return slot_of(first[*kind]);
}

void timers_prefetch(const struct store *store)
{
    const struct heap *heap = &store->heaps[HEAP_LIVE];
    for (uint32_t place = 1; place <= CHILDREN && place < heap->n; place++)
        slot_prefetch(store, slot_of(&heap->timers[place]));
}

uint32_t timers_oldest_ended(const struct store *store)
{
    const struct heap *heap = &store->heaps[HEAP_ENDED];
    return heap->n == 0 ? 0 : slot_of(&heap->timers[0]);
}

void timers_free(struct store *store)
{
    free(store->heaps[HEAP_LIVE].timers);
    free(store->heaps[HEAP_ENDED].timers);
}
