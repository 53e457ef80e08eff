#include "store/table.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"

#define ITEMS_PER_BUCKET 2u

static uint32_t *bucket_at(const struct table *table, uint32_t bucket)
{
    return &table->segments[bucket / TABLE_SEGMENT][bucket % TABLE_SEGMENT];
}

/* Buckets behind the split point still use one bit less. */
static uint32_t bucket_of(const struct table *table, uint64_t hash)
{
    uint32_t bucket = (uint32_t)hash & (table->low * 2 - 1);
    return bucket < table->n_buckets ? bucket : bucket & (table->low - 1);
}

static void add_bucket(struct table *table)
{
    uint32_t segment = table->n_buckets / TABLE_SEGMENT;
    if (table->n_buckets % TABLE_SEGMENT == 0) {
        if (segment == table->segments_capacity) {
            table->segments_capacity = table->segments_capacity == 0 ? 4 : table->segments_capacity * 2;
            table->segments = mem_realloc(table->segments, table->segments_capacity * sizeof table->segments[0]);
        }
        table->segments[segment] = mem_calloc(TABLE_SEGMENT, sizeof table->segments[segment][0]);
    }
    table->n_buckets++;
    if (table->n_buckets == table->low * 2)
        table->low = table->n_buckets;
}

void table_init(struct table *table, const struct table_ops *ops, const void *owner)
{
    *table = (struct table){.ops = ops, .owner = owner, .low = 1};
    add_bucket(table);
    table->low = 1;
}

void table_free(struct table *table)
{
    uint32_t n_segments = (table->n_buckets + TABLE_SEGMENT - 1) / TABLE_SEGMENT;
    for (uint32_t i = 0; i < n_segments; i++)
        free(table->segments[i]);
    free(table->segments);
    *table = (struct table){0};
}

uint32_t table_first(const struct table *table, uint64_t hash)
{
    return *bucket_at(table, bucket_of(table, hash));
}

static void prefetch_item(const struct table *table, uint32_t item)
{
    if (item == 0)
        return;
    __builtin_prefetch(table->ops->next(table->owner, item));
    __builtin_prefetch(table->ops->key(table->owner, item));
}

struct table_path table_path(const struct table *table, uint64_t hash)
{
    __builtin_prefetch(bucket_at(table, bucket_of(table, hash)));
    return (struct table_path){.table = table, .hash = hash};
}

void table_path_step(struct table_path *path)
{
    if (!path->begun)
        path->item = table_first(path->table, path->hash);
    else if (path->item != 0)
        path->item = *path->table->ops->next(path->table->owner, path->item);
    path->begun = true;
    prefetch_item(path->table, path->item);
}

/* Deals the items of one bucket out to it and the new one. */
static void split(struct table *table)
{
    uint32_t new_bucket = table->n_buckets, old_bucket = new_bucket - table->low;
    uint32_t item = *bucket_at(table, old_bucket);
    *bucket_at(table, old_bucket) = 0;
    add_bucket(table);
    while (item != 0) {
        uint32_t *link = table->ops->next(table->owner, item), rest = *link;
        uint32_t *head = bucket_at(table, bucket_of(table, table->ops->hash(table->owner, item)));
        *link = *head;
        *head = item;
        item = rest;
    }
    /* The next one to be split, a few inserts from now. */
    prefetch_item(table, *bucket_at(table, table->n_buckets - table->low));
}

void table_insert(struct table *table, uint32_t item, uint64_t hash)
{
    uint32_t *head = bucket_at(table, bucket_of(table, hash));
    *table->ops->next(table->owner, item) = *head;
    *head = item;
    table->n_items++;
    if (table->n_items / ITEMS_PER_BUCKET > table->n_buckets)
        split(table);
}

void table_remove(struct table *table, uint32_t item, uint64_t hash)
{
    uint32_t *link = bucket_at(table, bucket_of(table, hash));
    while (*link != item) {
        CHECK(*link != 0);
        link = table->ops->next(table->owner, *link);
    }
    *link = *table->ops->next(table->owner, item);
    table->n_items--;
}

size_t table_bytes(const struct table *table)
{
    uint32_t n_segments = (table->n_buckets + TABLE_SEGMENT - 1) / TABLE_SEGMENT;
    return (size_t)n_segments * TABLE_SEGMENT * sizeof(uint32_t);
}
