#include "raft/tail.h"

#include <stdlib.h>

#include "base/check.h"

#define CAPACITY_MIN 64

static size_t entry_bytes(const struct log_entry *entry)
{
    return entry->data == NULL ? 0 : entry->data->len;
}

static struct tail_slot *slot_at(const struct tail *tail, uint64_t index)
{
    if (index < tail->first || index - tail->first >= tail->n)
        return NULL;
    return &tail->slots[tail->head + (size_t)(index - tail->first)];
}

void tail_init(struct tail *tail, uint64_t first)
{
    CHECK(first > 0);
    *tail = (struct tail){.first = first};
}

static void release(struct tail *tail, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        blob_unref(tail->slots[i].entry.data);
}

void tail_free(struct tail *tail)
{
    release(tail, tail->head, tail->head + tail->n);
    free(tail->slots);
    *tail = (struct tail){.first = 1};
}

uint64_t tail_last(const struct tail *tail)
{
    return tail->n > 0 ? tail->first + tail->n - 1 : tail->snapshot_index;
}

const struct log_entry *tail_at(const struct tail *tail, uint64_t index)
{
    const struct tail_slot *slot = slot_at(tail, index);
    return slot == NULL ? NULL : &slot->entry;
}

uint64_t tail_term(const struct tail *tail, uint64_t index)
{
    const struct tail_slot *slot = slot_at(tail, index);
    if (slot != NULL)
        return slot->entry.term;
    return index > 0 && index == tail->snapshot_index ? tail->snapshot_term : 0;
}

/* Running sum behind `index`, clipped to what is held. */
static uint64_t sum_behind(const struct tail *tail, uint64_t index)
{
    if (tail->n == 0 || index < tail->first)
        return tail->start_bytes;
    uint64_t last = tail->first + tail->n - 1;
    return slot_at(tail, index < last ? index : last)->end_bytes;
}

uint64_t tail_bytes(const struct tail *tail, uint64_t from, uint64_t to)
{
    if (from > to || from == 0)
        return 0;
    return sum_behind(tail, to) - sum_behind(tail, from - 1);
}

/* Room for one more: reuses the gap that trimming left at the front once it is half of the array. */
static void make_room(struct tail *tail)
{
    if (tail->head + tail->n < tail->capacity)
        return;
    if (tail->head > 0 && tail->head >= tail->capacity / 2) {
        memmove(tail->slots, tail->slots + tail->head, tail->n * sizeof *tail->slots);
        tail->head = 0;
        return;
    }
    tail->capacity = tail->capacity < CAPACITY_MIN ? CAPACITY_MIN : tail->capacity * 2;
    tail->slots = mem_realloc(tail->slots, tail->capacity * sizeof *tail->slots);
}

void tail_append(struct tail *tail, struct log_entry entry)
{
    uint64_t before = sum_behind(tail, UINT64_MAX);
    make_room(tail);
    tail->slots[tail->head + tail->n] = (struct tail_slot){entry, before + entry_bytes(&entry)};
    tail->n++;
}

void tail_truncate(struct tail *tail, uint64_t index)
{
    if (slot_at(tail, index) == NULL)
        return;
    size_t keep = (size_t)(index - tail->first);
    release(tail, tail->head + keep, tail->head + tail->n);
    tail->n = keep;
}

void tail_snapshot(struct tail *tail, uint64_t index, uint64_t term, uint64_t keep_from)
{
    CHECK(keep_from <= index + 1 && tail_term(tail, index) == term);
    tail->snapshot_index = index;
    tail->snapshot_term = term;
    if (keep_from <= tail->first)
        return;
    size_t drop = (size_t)(keep_from - tail->first);
    CHECK(drop <= tail->n);
    tail->start_bytes = sum_behind(tail, keep_from - 1);
    release(tail, tail->head, tail->head + drop);
    tail->head += drop;
    tail->n -= drop;
    tail->first = keep_from;
}

void tail_reset(struct tail *tail, uint64_t index, uint64_t term)
{
    tail_free(tail);
    *tail = (struct tail){.first = index + 1, .snapshot_index = index, .snapshot_term = term};
}

struct log_entry *tail_copy(const struct tail *tail, uint64_t index, uint32_t n)
{
    struct log_entry *entries = mem_calloc(n, sizeof *entries);
    for (uint32_t i = 0; i < n; i++) {
        const struct log_entry *entry = tail_at(tail, index + i);
        CHECK(entry != NULL);
        entries[i] = *entry;
        if (entry->data != NULL)
            blob_ref(entry->data);
    }
    return entries;
}
