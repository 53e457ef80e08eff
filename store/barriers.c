/* Barriers as a container: the items, their lists, their digests. What opens and closes them: barrier_steps.c. */
#include "store/barriers.h"

#include <stdlib.h>

#include "base/check.h"
#include "store/hash.h"

/* Ids are revisions: dense, and nobody can choose them. */
static uint64_t hash_item(const void *owner, uint32_t item)
{
    return u48_get(barrier_at(owner, item)->id);
}

static uint32_t *next_item(const void *owner, uint32_t item)
{
    return &barrier_at(owner, item)->next;
}

static const void *key_of_item(const void *owner, uint32_t item)
{
    return barrier_at(owner, item);
}

static const struct table_ops table_ops = {hash_item, next_item, key_of_item};

void barriers_init(struct barriers *barriers)
{
    *barriers = (struct barriers){0};
    slabs_init(&barriers->items, sizeof(struct barrier_item));
    slabs_init(&barriers->tracks, sizeof(struct track_item));
    table_init(&barriers->table, &table_ops, barriers);
}

void barriers_free(struct barriers *barriers)
{
    for (uint32_t track = 1; track < barriers->tracks.n_items; track++)
        free(track_at(barriers, track)->block);
    barriers_drain(barriers, UINT32_MAX);
    slabs_free(&barriers->items);
    slabs_free(&barriers->tracks);
    table_free(&barriers->table);
    free(barriers->matched);
    *barriers = (struct barriers){0};
}

size_t barriers_bytes(const struct barriers *barriers)
{
    return slabs_bytes(&barriers->items) + slabs_bytes(&barriers->tracks) + table_bytes(&barriers->table) +
           barriers->places * sizeof(struct receipt_entry);
}

void barriers_freeze(struct barriers *barriers)
{
    /* So that what is put aside from here on is this view's. */
    barriers_drain(barriers, UINT32_MAX);
    barriers->frozen = true;
    barriers->generation++;
}

void barriers_thaw(struct barriers *barriers)
{
    CHECK(barriers->frozen);
    barriers->frozen = false;
}

void barriers_drain(struct barriers *barriers, uint32_t max)
{
    if (barriers->frozen)
        return;
    for (; max > 0 && barriers->n_aside > 0; max--)
        free(barriers->aside[--barriers->n_aside]);
    if (barriers->n_aside > 0 || barriers->aside == NULL)
        return;
    free(barriers->aside);
    barriers->aside = NULL;
    barriers->aside_capacity = 0;
}

uint32_t barriers_find(const struct barriers *barriers, uint64_t id)
{
    uint32_t item = table_first(&barriers->table, id);
    while (item != 0 && u48_get(barrier_at(barriers, item)->id) != id)
        item = barrier_at(barriers, item)->next;
    return item;
}

void barriers_index(struct barriers *barriers, uint32_t item)
{
    table_insert(&barriers->table, item, hash_item(barriers, item));
}

void barriers_append(struct barriers *barriers, struct barrier_list *list, uint32_t item)
{
    uint32_t track = barrier_at(barriers, item)->track;
    barrier_at(barriers, item)->newer = 0;
    if (track != 0)
        track_at(barriers, track)->older = list->newest;
    if (list->n++ == 0)
        list->oldest = item;
    else
        barrier_at(barriers, list->newest)->newer = item;
    list->newest = item;
}

struct receipt_block *receipt_block_new(const struct barriers *barriers, uint32_t n)
{
    struct receipt_block *block = mem_alloc(sizeof *block + n * sizeof block->entries[0]);
    block->generation = barriers->generation;
    block->n = n;
    return block;
}

struct receipt_entry *receipt_find(const struct receipt_block *block, uint64_t revision)
{
    uint32_t low = 0, high = block == NULL ? 0 : block->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (u48_get(block->entries[middle].revision) < revision)
            low = middle + 1;
        else
            high = middle;
    }
    if (block == NULL || low == block->n || u48_get(block->entries[low].revision) != revision)
        return NULL;
    return (struct receipt_entry *)&block->entries[low];
}

/* Murmur's finalizer: sums of such numbers tell sets apart. */
uint64_t receipt_member(uint64_t revision)
{
    revision = (revision ^ revision >> 33) * 0xFF51AFD7ED558CCDULL;
    revision = (revision ^ revision >> 33) * 0xC4CEB9FE1A85EC53ULL;
    return revision ^ revision >> 33;
}

static void read_track(const struct track_item *track, struct barrier *barrier)
{
    barrier->revision = u48_get(track->revision);
    barrier->done_ms = (int64_t)u48_get(track->done_ms);
    barrier->done = u48_get(track->done_revision) != 0 && !barrier->untracked;
    barrier->enforced = track->counts[RECEIPT_ENFORCED];
    barrier->failed = track->counts[RECEIPT_FAILED];
    barrier->lapsed = track->counts[RECEIPT_LAPSED];
    barrier->left = track->counts[RECEIPT_LEFT];
    barrier->points = track->block == NULL ? 0 : track->block->n;
}

void barrier_read(const struct barriers *barriers, uint32_t item, uint8_t *const *chunks, struct barrier *barrier)
{
    const struct barrier_item *place = barrier_at(barriers, item);
    *barrier = (struct barrier){
        .id = u48_get(place->id),
        .revision = u48_get(place->id),
        .grant = place->grant,
        .scope = string_at(chunks, place->scope),
        .time_ms = (int64_t)u48_get(place->time_ms),
        .done_ms = place->untracked ? 0 : (int64_t)u48_get(place->time_ms),
        .done = !place->untracked,
        .untracked = place->untracked,
        .grants = place->grants,
    };
    if (place->track != 0)
        read_track(track_at(barriers, place->track), barrier);
}

struct store_digest barrier_digest(const struct barrier_item *item, const struct track_item *track,
                                   uint8_t *const *chunks)
{
    struct digest_message message;
    uint32_t numbers[2] = {item->grants, item->untracked};
    message.len = 0;
    digest_put(&message, item->grant.bytes, sizeof item->grant.bytes);
    digest_put(&message, &item->id, sizeof item->id);
    digest_put(&message, &item->time_ms, sizeof item->time_ms);
    digest_put(&message, numbers, sizeof numbers);
    digest_put_string(&message, chunks, item->scope);
    if (track != NULL) {
        digest_put(&message, &track->revision, sizeof track->revision);
        digest_put(&message, &track->done_ms, sizeof track->done_ms);
        digest_put(&message, &track->done_revision, sizeof track->done_revision);
        digest_put(&message, track->counts, sizeof track->counts);
        digest_put(&message, &track->members, sizeof track->members);
    }
    return digest_of_message(DIGEST_BARRIER, &message);
}

struct store_digest receipt_digest(uint64_t barrier, const struct receipt_entry *entry, uint8_t *const *chunks)
{
    struct digest_message message;
    message.len = 0;
    digest_put(&message, &barrier, sizeof barrier);
    digest_put(&message, &entry->revision, sizeof entry->revision);
    digest_put(&message, &entry->time_ms, sizeof entry->time_ms);
    digest_put(&message, &entry->level, sizeof entry->level);
    digest_put_string(&message, chunks, entry->reason);
    return digest_of_message(DIGEST_RECEIPT, &message);
}
