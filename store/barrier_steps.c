/* How barriers open, take receipts, are done, and leave.
 *
 * Opening is on the path of every revocation. Without points it is one small item; with many it is a walk over all that
 * are registered, whose scopes stand in one dense array, and one block of receipts to be. */
#include <stdlib.h>

#include "base/check.h"
#include "store/barriers.h"
#include "store/transition.h"
#include "store/word_fields.h"
#include "store/words.h"

static void digest_out(struct store *store, uint32_t item)
{
    const struct barrier_item *place = barrier_at(&store->barriers, item);
    const struct track_item *track = place->track == 0 ? NULL : track_at(&store->barriers, place->track);
    digest_sub(&store->sum, barrier_digest(place, track, store->strings.chunks));
}

static void digest_in(struct store *store, uint32_t item)
{
    const struct barrier_item *place = barrier_at(&store->barriers, item);
    const struct track_item *track = place->track == 0 ? NULL : track_at(&store->barriers, place->track);
    digest_add(&store->sum, barrier_digest(place, track, store->strings.chunks));
}

/* What it counts against LIMIT_RECEIPTS. */
static uint32_t weight(const struct track_item *track)
{
    return track->block == NULL || track->block->n == 0 ? 1 : track->block->n;
}

static void put_aside(struct barriers *barriers, struct receipt_block *block)
{
    if (!barriers->frozen || block == NULL || block->generation == barriers->generation) {
        free(block);
        return;
    }
    if (barriers->n_aside == barriers->aside_capacity) {
        barriers->aside_capacity = barriers->aside_capacity == 0 ? 16 : barriers->aside_capacity * 2;
        barriers->aside = mem_realloc(barriers->aside, barriers->aside_capacity * sizeof barriers->aside[0]);
    }
    barriers->aside[barriers->n_aside++] = block;
}

/* Leaving */

static void leave_point(struct store *store, uint32_t point)
{
    struct point_item *item = points_at(&store->points, point);
    if (--item->named > 0 || item->state != POINT_OVER)
        return;
    digest_sub(&store->sum, point_digest(item, store->strings.chunks));
    strings_unref(&store->strings, item->id);
    points_erase(&store->points, point);
}

static void drop_track(struct store *store, uint64_t id, uint32_t track)
{
    struct barriers *barriers = &store->barriers;
    struct receipt_block *block = track_at(barriers, track)->block;
    barriers->places -= weight(track_at(barriers, track));
    for (uint32_t i = 0; block != NULL && i < block->n; i++) {
        CHECK(block->entries[i].level != 0);
        digest_sub(&store->sum, receipt_digest(id, &block->entries[i], store->strings.chunks));
        strings_unref(&store->strings, block->entries[i].reason);
        leave_point(store, block->entries[i].point);
    }
    put_aside(barriers, block);
    slabs_give(&barriers->tracks, track);
}

static void drop_oldest(struct store *store, struct barrier_list *list)
{
    struct barriers *barriers = &store->barriers;
    uint32_t item = list->oldest;
    const struct barrier_item *place = barrier_at(barriers, item);
    uint64_t id = u48_get(place->id);
    digest_out(store, item);
    list->oldest = place->newer;
    list->n--;
    if (place->track != 0)
        drop_track(store, id, place->track);
    strings_unref(&store->strings, place->scope);
    table_remove(&barriers->table, item, id);
    slabs_give(&barriers->items, item);
}

static int64_t done_ms(const struct barriers *barriers, uint32_t item)
{
    const struct barrier_item *place = barrier_at(barriers, item);
    return (int64_t)u48_get(place->track == 0 ? place->time_ms : track_at(barriers, place->track)->done_ms);
}

void barriers_evict(struct store *store, uint32_t max, int64_t now_ms)
{
    struct barrier_list *lists[] = {&store->barriers.plain, &store->barriers.kept};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        for (uint32_t n = 0; n < max && lists[i]->n > 0; n++) {
            if (done_ms(&store->barriers, lists[i]->oldest) + store->retention_ms > now_ms)
                break;
            drop_oldest(store, lists[i]);
        }
}

/* Opening */

static uint32_t new_item(struct apply *apply, struct grant_id grant, string_id scope, uint64_t grants)
{
    struct barriers *barriers = &apply->store->barriers;
    uint32_t item = slabs_take(&barriers->items);
    struct barrier_item *place = slabs_edit(&barriers->items, item);
    place->scope = scope;
    place->grant = grant;
    place->id = u48_of(apply->store->revision);
    place->time_ms = u48_of((uint64_t)apply->now_ms);
    place->grants = grants & 0x7FFFFFFFu;
    barriers_index(barriers, item);
    return item;
}

/* Collects the points in scope. Many have the same one. */
static uint32_t match(struct store *store, struct slice scope)
{
    const struct points *points = &store->points;
    struct barriers *barriers = &store->barriers;
    string_id last = 0;
    bool last_overlaps = false;
    uint32_t n = 0;
    if (barriers->matched_capacity < points->n) {
        barriers->matched_capacity = points->capacity;
        barriers->matched = mem_realloc(barriers->matched, points->capacity * sizeof barriers->matched[0]);
    }
    for (uint32_t i = 0; i < points->n; i++) {
        if (points->by_age[i].scope != last) {
            last = points->by_age[i].scope;
            last_overlaps = scope_overlaps(store_string(store, last), scope);
        }
        if (last_overlaps)
            barriers->matched[n++] = i;
    }
    return n;
}

/* Places for the first `n` matched points. */
static void fill_track(struct store *store, uint32_t track, uint32_t n)
{
    struct barriers *barriers = &store->barriers;
    struct track_item *place = slabs_edit(&barriers->tracks, track);
    struct receipt_block *block = receipt_block_new(barriers, n);
    for (uint32_t i = 0; i < n; i++) {
        const struct point_ref *ref = &store->points.by_age[barriers->matched[i]];
        struct point_item *point = points_at(&store->points, ref->item);
        block->entries[i] = (struct receipt_entry){.revision = u48_of(ref->revision), .point = ref->item};
        place->members += receipt_member(ref->revision);
        point->waits++;
        point->named++;
    }
    place->counts[0] = n;
    place->block = block;
}

/* Room for `n` places more. What has been done for the longest time makes way. */
static bool make_room(struct store *store, uint32_t n)
{
    struct barriers *barriers = &store->barriers;
    if (barriers->places_open + n > LIMIT_RECEIPTS)
        return false;
    while (barriers->places + n > LIMIT_RECEIPTS && barriers->kept.n > 0)
        drop_oldest(store, &barriers->kept);
    return true;
}

static void add_plain(struct store *store, uint32_t item)
{
    struct barriers *barriers = &store->barriers;
    /* As many as ended grants: each has one at least. */
    while (barriers->plain.n >= store->ended_max)
        drop_oldest(store, &barriers->plain);
    barriers_append(barriers, &barriers->plain, item);
}

static void add_open(struct store *store, uint32_t item, uint32_t track)
{
    struct barriers *barriers = &store->barriers;
    barriers->places += weight(track_at(barriers, track));
    barriers->places_open += weight(track_at(barriers, track));
    ((struct barrier_item *)slabs_edit(&barriers->items, item))->track = track;
    barriers_append(barriers, &barriers->open, item);
}

void barrier_open(struct apply *apply, uint32_t slot)
{
    struct store *store = apply->store;
    struct barriers *barriers = &store->barriers;
    string_id scope = strings_ref(&store->strings, store_record(store, slot)->resource);
    uint32_t item = new_item(apply, store_record(store, slot)->id, scope, apply->outcome->n_events);
    uint32_t n = store->points.n == 0 ? 0 : match(store, store_string(store, scope));
    if (n == 0) {
        add_plain(store, item);
    } else if (barriers->open.n >= LIMIT_BARRIERS_OPEN || !make_room(store, n)) {
        ((struct barrier_item *)slabs_edit(&barriers->items, item))->untracked = true;
        add_plain(store, item);
    } else {
        uint32_t track = slabs_take(&barriers->tracks);
        fill_track(store, track, n);
        track_at(barriers, track)->revision = barrier_at(barriers, item)->id;
        add_open(store, item, track);
    }
    digest_in(store, item);
}

void barrier_begin(struct apply *apply, struct slice scope)
{
    struct store *store = apply->store;
    struct grant_id none = {{0}};
    uint32_t item = new_item(apply, none, strings_intern(&store->strings, scope), 0);
    uint32_t track = slabs_take(&store->barriers.tracks);
    /* Sweeps at work are few: theirs is opened beyond the limit, too, and a done one makes way. */
    if (!make_room(store, 1) && store->barriers.places >= LIMIT_RECEIPTS && store->barriers.kept.n > 0)
        drop_oldest(store, &store->barriers.kept);
    add_open(store, item, track);
    digest_in(store, item);
}

/* Being done */

static void unlink_open(struct barriers *barriers, uint32_t item)
{
    struct barrier_list *open = &barriers->open;
    const struct barrier_item *place = barrier_at(barriers, item);
    uint32_t older = track_at(barriers, place->track)->older;
    if (older == 0)
        open->oldest = place->newer;
    else
        barrier_at(barriers, older)->newer = place->newer;
    if (place->newer == 0)
        open->newest = older;
    else
        track_at(barriers, barrier_at(barriers, place->newer)->track)->older = older;
    open->n--;
}

/* `revision` is that of the event by which it is done, or after which nothing is left to wait for. */
static void settle(struct apply *apply, uint32_t item, uint64_t revision)
{
    struct barriers *barriers = &apply->store->barriers;
    uint32_t track = barrier_at(barriers, item)->track;
    struct track_item *place = slabs_edit(&barriers->tracks, track);
    place->done_ms = u48_of((uint64_t)apply->now_ms);
    place->done_revision = u48_of(revision);
    barriers->places_open -= weight(place);
    unlink_open(barriers, item);
    barriers_append(barriers, &barriers->kept, item);
}

static uint32_t receipt_events(const struct receipt_block *block)
{
    return (block->n + LIMIT_RECEIPTS_PER_COMMAND - 1) / LIMIT_RECEIPTS_PER_COMMAND;
}

/* One event for each LIMIT_RECEIPTS_PER_COMMAND receipts. */
static void tell_some_receipts(struct apply *apply, const struct barrier *barrier, const struct receipt_entry *entries,
                               uint32_t n)
{
    struct store *store = apply->store;
    struct wire_writer writer = wire_writer(&store->receipts);
    buf_clear(&store->receipts);
    for (uint32_t i = 0; i < n; i++) {
        const struct point_item *point = points_at(&store->points, entries[i].point);
        const struct receipt receipt = {barrier->id, point->instance, (enum receipt_level)entries[i].level,
                                        (int64_t)u48_get(entries[i].time_ms), store_string(store, entries[i].reason)};
        words_put_receipt(&writer, WORD_EVENT_RECEIPTS, store_string(store, point->id), &receipt);
    }
    CHECK(!writer.failed);
    transition_tell(apply, &(struct store_event){.type = STORE_EVENT_RECEIPTS,
                                                 .barrier = barrier,
                                                 .receipts = buf_slice(&store->receipts)});
}

/* The evidence: what each point has said, once all have. */
static void tell_receipts(struct apply *apply, uint32_t item)
{
    struct store *store = apply->store;
    struct barrier barrier;
    const struct receipt_block *block = track_at(&store->barriers, barrier_at(&store->barriers, item)->track)->block;
    barrier_read(&store->barriers, item, store->strings.chunks, &barrier);
    for (uint32_t i = 0; i < block->n; i += LIMIT_RECEIPTS_PER_COMMAND) {
        uint32_t left = block->n - i;
        tell_some_receipts(apply, &barrier, block->entries + i,
                           left < LIMIT_RECEIPTS_PER_COMMAND ? left : LIMIT_RECEIPTS_PER_COMMAND);
    }
}

static void tell_enforced(struct apply *apply, uint32_t item)
{
    struct store *store = apply->store;
    struct barrier barrier;
    struct grant grant;
    barrier_read(&store->barriers, item, store->strings.chunks, &barrier);
    bool here = !grant_id_is_zero(barrier.grant) && store_get(store, barrier.grant, &grant);
    struct store_event event = {.type = STORE_EVENT_ENFORCED, .barrier = &barrier, .grant = here ? &grant : NULL};
    transition_tell(apply, &event);
}

void barrier_finish(struct apply *apply, uint64_t id, uint64_t grants)
{
    struct store *store = apply->store;
    struct barriers *barriers = &store->barriers;
    uint32_t item = barriers_find(barriers, id);
    CHECK(item != 0);
    uint32_t track = barrier_at(barriers, item)->track;
    CHECK(track != 0 && u48_get(track_at(barriers, track)->revision) == 0);
    digest_out(store, item);
    ((struct barrier_item *)slabs_edit(&barriers->items, item))->grants = grants & 0x7FFFFFFFu;
    uint32_t n = match(store, store_string(store, barrier_at(barriers, item)->scope));
    barriers->places--;
    barriers->places_open--;
    bool room = barriers->open.n <= LIMIT_BARRIERS_OPEN && make_room(store, n);
    if (room)
        fill_track(store, track, n);
    barriers->places += weight(track_at(barriers, track));
    barriers->places_open += weight(track_at(barriers, track));
    ((struct track_item *)slabs_edit(&barriers->tracks, track))->revision = u48_of(store->revision);
    ((struct barrier_item *)slabs_edit(&barriers->items, item))->untracked = !room;
    if (n == 0 || !room)
        settle(apply, item, store->revision);
    digest_in(store, item);
}

void barrier_open_scope(struct apply *apply, struct slice scope)
{
    uint64_t id = apply->store->revision;
    barrier_begin(apply, scope);
    barrier_finish(apply, id, 0);
}

/* Receipts */

/* The block for writing. */
static struct receipt_block *edit_block(struct barriers *barriers, uint32_t track)
{
    struct receipt_block *block = track_at(barriers, track)->block;
    if (!barriers->frozen || block->generation == barriers->generation)
        return block;
    struct receipt_block *copy = receipt_block_new(barriers, block->n);
    memcpy(copy->entries, block->entries, block->n * sizeof block->entries[0]);
    ((struct track_item *)slabs_edit(&barriers->tracks, track))->block = copy;
    put_aside(barriers, block);
    return copy;
}

/* Fills the point's place in an open barrier, which waits for it. */
static void give(struct apply *apply, uint32_t item, uint32_t point, const struct receipt *receipt)
{
    struct store *store = apply->store;
    struct barriers *barriers = &store->barriers;
    uint32_t track = barrier_at(barriers, item)->track;
    digest_out(store, item);
    struct receipt_block *block = edit_block(barriers, track);
    struct receipt_entry *entry = receipt_find(block, u48_get(points_at(&store->points, point)->revision));
    struct track_item *place = slabs_edit(&barriers->tracks, track);
    entry->level = (uint8_t)receipt->level;
    entry->time_ms = u48_of((uint64_t)receipt->time_ms);
    entry->reason = strings_intern(&store->strings, receipt->reason);
    digest_add(&store->sum, receipt_digest(u48_get(barrier_at(barriers, item)->id), entry, store->strings.chunks));
    place->counts[0]--;
    place->counts[receipt->level]++;
    points_at(&store->points, point)->waits--;
    bool done = place->counts[0] == 0;
    if (done)
        settle(apply, item, store->revision + receipt_events(block) + 1);
    digest_in(store, item);
    if (done) {
        tell_receipts(apply, item);
        tell_enforced(apply, item);
    }
}

static bool waits_for(const struct store *store, uint32_t item, uint64_t registered)
{
    uint32_t track = barrier_at(&store->barriers, item)->track;
    if (track == 0)
        return false;
    const struct receipt_entry *entry = receipt_find(track_at(&store->barriers, track)->block, registered);
    return entry != NULL && entry->level == 0;
}

void barrier_receive(struct apply *apply, const struct receipt *receipt, uint32_t point)
{
    struct store *store = apply->store;
    uint32_t item = barriers_find(&store->barriers, receipt->barrier);
    if (item != 0 && waits_for(store, item, u48_get(points_at(&store->points, point)->revision)))
        give(apply, item, point, receipt);
}

void barriers_give_up(struct apply *apply, uint32_t point, enum receipt_level level, int64_t time_ms)
{
    struct store *store = apply->store;
    const struct receipt receipt = {.level = level, .time_ms = time_ms};
    uint64_t registered = u48_get(points_at(&store->points, point)->revision);
    uint32_t item = store->barriers.open.oldest;
    while (points_at(&store->points, point)->waits > 0) {
        uint32_t newer = barrier_at(&store->barriers, item)->newer;
        if (waits_for(store, item, registered))
            give(apply, item, point, &receipt);
        item = newer;
    }
}

/* Asking */

uint32_t store_barriers_open(const struct store *store)
{
    return store->barriers.open.n;
}

bool store_barrier_next_open(const struct store *store, uint64_t after, struct barrier *barrier)
{
    const struct barriers *barriers = &store->barriers;
    uint32_t item = barriers_find(barriers, after), track = item == 0 ? 0 : barrier_at(barriers, item)->track;
    bool open = track != 0 && u48_get(track_at(barriers, track)->done_revision) == 0;
    /* Behind one that is open it is a step; otherwise, one that is done since, it takes a search. */
    item = open ? barrier_at(barriers, item)->newer : barriers->open.oldest;
    while (item != 0 && u48_get(barrier_at(barriers, item)->id) <= after)
        item = barrier_at(barriers, item)->newer;
    if (item == 0)
        return false;
    barrier_read(barriers, item, store->strings.chunks, barrier);
    return true;
}

bool store_barrier_get(const struct store *store, uint64_t id, struct barrier *barrier)
{
    uint32_t item = barriers_find(&store->barriers, id);
    if (item == 0)
        return false;
    barrier_read(&store->barriers, item, store->strings.chunks, barrier);
    return true;
}

/* A barrier is the last event of its command: its id is that of the grant's end, or as far behind it as grants ended
 * with it. */
bool store_barrier_of(const struct store *store, struct grant_id grant, struct barrier *barrier)
{
    uint32_t slot = slot_find(store, grant);
    if (slot == 0 || store_record(store, slot)->state != GRANT_REVOKED)
        return false;
    uint64_t ended = u48_get(store_record(store, slot)->revision);
    for (uint64_t id = ended; id <= ended + LIMIT_CASCADE; id++) {
        uint32_t item = barriers_find(&store->barriers, id);
        if (item == 0)
            continue;
        if (grant_id_compare(barrier_at(&store->barriers, item)->grant, grant) != 0)
            return false;
        barrier_read(&store->barriers, item, store->strings.chunks, barrier);
        return true;
    }
    return false;
}

bool store_barrier_waits_for(const struct store *store, uint64_t id, struct random_id instance)
{
    uint32_t item = barriers_find(&store->barriers, id), point = points_find(&store->points, &instance);
    return item != 0 && point != 0 && waits_for(store, item, u48_get(points_at(&store->points, point)->revision));
}

bool store_barrier_receipts(const struct store *store, uint64_t id, store_receipt_cb visit, void *arg)
{
    uint32_t item = barriers_find(&store->barriers, id);
    if (item == 0)
        return false;
    uint32_t track = barrier_at(&store->barriers, item)->track;
    const struct receipt_block *block = track == 0 ? NULL : track_at(&store->barriers, track)->block;
    for (uint32_t i = 0; block != NULL && i < block->n; i++) {
        const struct receipt_entry *entry = &block->entries[i];
        const struct point_item *point = points_at(&store->points, entry->point);
        if (entry->level == 0)
            continue;
        struct receipt receipt = {id, point->instance, (enum receipt_level)entry->level,
                                  (int64_t)u48_get(entry->time_ms), store_string(store, entry->reason)};
        visit(arg, &receipt, store_string(store, point->id));
    }
    return true;
}
