#include "store/keys.h"

#include <stdlib.h>

#include "base/check.h"
#include "store/hash.h"

static struct key_entry *entry_at(const struct keys *keys, uint32_t item)
{
    return &keys->segments[(item - 1) / KEY_SEGMENT]->entries[(item - 1) % KEY_SEGMENT];
}

static uint64_t hash_key(const struct keys *keys, const struct request_key *key)
{
    return XXH3_64bits_withSeed(key->bytes, sizeof key->bytes, keys->seed);
}

static uint64_t hash_item(const void *owner, uint32_t item)
{
    const struct keys *keys = owner;
    return hash_key(keys, &entry_at(keys, item)->key);
}

static uint32_t *next_item(const void *owner, uint32_t item)
{
    return &entry_at(owner, item)->next;
}

static const void *key_of_item(const void *owner, uint32_t item)
{
    return &entry_at(owner, item)->key;
}

static const struct table_ops table_ops = {hash_item, next_item, key_of_item};

void keys_init(struct keys *keys, uint32_t max, uint64_t seed)
{
    *keys = (struct keys){.max = max, .seed = seed};
    table_init(&keys->table, &table_ops, keys);
}

void keys_free(struct keys *keys)
{
    for (uint32_t i = 0; i < keys->segments_capacity; i++)
        free(keys->segments[i]);
    for (uint32_t i = 0; i < keys->n_aside; i++)
        free(keys->aside[i]);
    free(keys->aside);
    free(keys->segments);
    free(keys->order);
    table_free(&keys->table);
    *keys = (struct keys){0};
}

static uint32_t segment_number(const struct keys *keys, uint32_t by_age)
{
    return keys->order[(keys->order_first + by_age) % keys->order_capacity];
}

/* Both arrays together, so that each segment number has a place in the ring. */
static void grow(struct keys *keys)
{
    uint32_t old = keys->order_capacity, capacity = old == 0 ? 16 : old * 2;
    uint32_t *order = mem_alloc(capacity * sizeof order[0]);
    for (uint32_t i = 0; i < keys->n_segments; i++)
        order[i] = segment_number(keys, i);
    free(keys->order);
    keys->order = order;
    keys->order_first = 0;
    keys->order_capacity = capacity;
    keys->segments = mem_realloc(keys->segments, capacity * sizeof keys->segments[0]);
    memset(keys->segments + old, 0, (capacity - old) * sizeof keys->segments[0]);
    keys->segments_capacity = capacity;
}

static void add_segment(struct keys *keys)
{
    if (keys->n_segments == keys->order_capacity)
        grow(keys);
    /* Numbers are given back in the order in which they were taken, so the free one is next to the newest. */
    uint32_t number =
        keys->n_segments == 0 ? 0 : (segment_number(keys, keys->n_segments - 1) + 1) % keys->order_capacity;
    while (keys->segments[number] != NULL)
        number = (number + 1) % keys->segments_capacity;
    keys->segments[number] = mem_alloc(sizeof(struct key_segment));
    keys->order[(keys->order_first + keys->n_segments) % keys->order_capacity] = number;
    keys->n_segments++;
}

static void put_aside(struct keys *keys, struct key_segment *segment)
{
    if (keys->n_aside == keys->aside_capacity) {
        keys->aside_capacity = keys->aside_capacity == 0 ? 16 : keys->aside_capacity * 2;
        keys->aside = mem_realloc(keys->aside, keys->aside_capacity * sizeof keys->aside[0]);
    }
    keys->aside[keys->n_aside++] = segment;
}

static void drop_first_segment(struct keys *keys)
{
    uint32_t number = segment_number(keys, 0);
    if (keys->frozen)
        put_aside(keys, keys->segments[number]);
    else
        free(keys->segments[number]);
    keys->segments[number] = NULL;
    keys->order_first = (keys->order_first + 1) % keys->order_capacity;
    keys->n_segments--;
    keys->first = 0;
}

static bool is_past(const struct key_entry *entry, int64_t now_ms)
{
    return (int64_t)u48_get(entry->time_ms) + LIMIT_REQUEST_ID_WINDOW_MS <= now_ms;
}

struct table_path keys_path(const struct keys *keys, const struct request_key *key)
{
    return table_path(&keys->table, hash_key(keys, key));
}

const struct key_entry *keys_find(const struct keys *keys, const struct request_key *key, int64_t now_ms)
{
    uint32_t item = table_first(&keys->table, hash_key(keys, key));
    while (item != 0) {
        const struct key_entry *entry = entry_at(keys, item);
        if (memcmp(entry->key.bytes, key->bytes, sizeof key->bytes) == 0 && !is_past(entry, now_ms))
            return entry;
        item = entry->next;
    }
    return NULL;
}

const struct key_entry *keys_newest(const struct keys *keys)
{
    if (keys->n == 0)
        return NULL;
    uint32_t place = keys->first + keys->n - 1;
    return &keys->segments[segment_number(keys, place / KEY_SEGMENT)]->entries[place % KEY_SEGMENT];
}

struct store_digest keys_digest(const struct key_entry *entry)
{
    struct key_entry copy = *entry;
    copy.next = 0;
    return digest_of(DIGEST_REQUEST_KEY, &copy, sizeof copy);
}

void keys_append(struct keys *keys, const struct key_entry *entry, struct store_digest *sum)
{
    uint32_t place = keys->first + keys->n;
    CHECK(keys->n < keys->max);
    if (place == keys->n_segments * KEY_SEGMENT)
        add_segment(keys);
    uint32_t item = segment_number(keys, place / KEY_SEGMENT) * KEY_SEGMENT + place % KEY_SEGMENT + 1;
    *entry_at(keys, item) = *entry;
    keys->n++;
    table_insert(&keys->table, item, hash_key(keys, &entry->key));
    digest_add(sum, keys_digest(entry));
}

static const struct key_entry *oldest(const struct keys *keys)
{
    return &keys->segments[segment_number(keys, 0)]->entries[keys->first];
}

static void evict_first(struct keys *keys, struct store_digest *sum)
{
    uint32_t item = segment_number(keys, 0) * KEY_SEGMENT + keys->first + 1;
    const struct key_entry *entry = entry_at(keys, item);
    digest_sub(sum, keys_digest(entry));
    table_remove(&keys->table, item, hash_key(keys, &entry->key));
    keys->n--;
    if (++keys->first == KEY_SEGMENT)
        drop_first_segment(keys);
    /* Once there is one to evict, there will soon be the next. */
    if (keys->n > 0)
        (void)keys_path(keys, &oldest(keys)->key);
}

void keys_evict(struct keys *keys, uint32_t room, uint32_t extra, int64_t now_ms, struct store_digest *sum)
{
    while (keys->n + room > keys->max && keys->n > 0)
        evict_first(keys, sum);
    for (; extra > 0 && keys->n > 0; extra--) {
        if (!is_past(oldest(keys), now_ms))
            break;
        evict_first(keys, sum);
    }
}

struct key_segment **keys_freeze(struct keys *keys)
{
    CHECK(!keys->frozen);
    keys->frozen = true;
    struct key_segment **segments = mem_alloc(keys->n_segments * sizeof segments[0]);
    for (uint32_t i = 0; i < keys->n_segments; i++)
        segments[i] = keys->segments[segment_number(keys, i)];
    return segments;
}

void keys_thaw(struct keys *keys)
{
    CHECK(keys->frozen);
    for (uint32_t i = 0; i < keys->n_aside; i++)
        free(keys->aside[i]);
    keys->n_aside = 0;
    keys->frozen = false;
}

size_t keys_bytes(const struct keys *keys)
{
    return (size_t)(keys->n_segments + keys->n_aside) * sizeof(struct key_segment) + table_bytes(&keys->table);
}
