#include "store/point_table.h"

#include <stdlib.h>

#include "base/check.h"
#include "store/hash.h"

static uint64_t hash_instance(const struct points *points, const struct random_id *instance)
{
    return XXH3_64bits_withSeed(instance->bytes, sizeof instance->bytes, points->seed);
}

static uint64_t hash_item(const void *owner, uint32_t item)
{
    return hash_instance(owner, &points_at(owner, item)->instance);
}

static uint32_t *next_item(const void *owner, uint32_t item)
{
    return &points_at(owner, item)->next;
}

static const void *key_of_item(const void *owner, uint32_t item)
{
    return &points_at(owner, item)->instance;
}

static const struct table_ops table_ops = {hash_item, next_item, key_of_item};

void points_init(struct points *points, uint64_t seed)
{
    *points = (struct points){.seed = seed};
    slabs_init(&points->items, sizeof(struct point_item));
    table_init(&points->table, &table_ops, points);
}

void points_free(struct points *points)
{
    slabs_free(&points->items);
    table_free(&points->table);
    free(points->by_age);
    free(points->by_id);
    *points = (struct points){0};
}

size_t points_bytes(const struct points *points)
{
    return slabs_bytes(&points->items) + table_bytes(&points->table) +
           points->capacity * (sizeof points->by_age[0] + sizeof points->by_id[0]);
}

uint32_t points_find(const struct points *points, const struct random_id *instance)
{
    uint32_t item = table_first(&points->table, hash_instance(points, instance));
    while (item != 0 && memcmp(points_at(points, item)->instance.bytes, instance->bytes, sizeof instance->bytes) != 0)
        item = points_at(points, item)->next;
    return item;
}

/* Where (id, revision) stands or belongs in by_id. */
static uint32_t place_by_id(const struct points *points, uint8_t *const *chunks, struct slice id, uint64_t revision)
{
    uint32_t low = 0, high = points->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct point_item *item = points_at(points, points->by_id[middle]);
        int order = slice_compare(string_at(chunks, item->id), id);
        if (order < 0 || (order == 0 && u48_get(item->revision) < revision))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint32_t points_first_of_id(const struct points *points, uint8_t *const *chunks, struct slice id)
{
    return place_by_id(points, chunks, id, 0);
}

uint32_t points_behind(const struct points *points, uint8_t *const *chunks, struct slice id, uint64_t revision)
{
    return place_by_id(points, chunks, id, revision + 1);
}

static uint32_t place_by_age(const struct points *points, uint64_t revision)
{
    uint32_t low = 0, high = points->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (points->by_age[middle].revision < revision)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void list(struct points *points, uint8_t *const *chunks, uint32_t item)
{
    const struct point_item *point = points_at(points, item);
    uint64_t revision = u48_get(point->revision);
    if (points->n == points->capacity) {
        points->capacity = points->capacity == 0 ? 16 : points->capacity * 2;
        points->by_age = mem_realloc(points->by_age, points->capacity * sizeof points->by_age[0]);
        points->by_id = mem_realloc(points->by_id, points->capacity * sizeof points->by_id[0]);
    }
    uint32_t at = place_by_id(points, chunks, string_at(chunks, point->id), revision);
    memmove(points->by_id + at + 1, points->by_id + at, (points->n - at) * sizeof points->by_id[0]);
    points->by_id[at] = item;
    CHECK(points->n == 0 || points->by_age[points->n - 1].revision < revision);
    points->by_age[points->n++] = (struct point_ref){revision, item, point->scope};
}

uint32_t points_insert(struct points *points, uint8_t *const *chunks, const struct point_item *point)
{
    uint32_t item = slabs_take(&points->items);
    struct point_item *place = slabs_edit(&points->items, item);
    *place = *point;
    table_insert(&points->table, item, hash_instance(points, &place->instance));
    if (place->state == POINT_OVER)
        points->n_over++;
    else
        list(points, chunks, item);
    return item;
}

void points_unlist(struct points *points, uint8_t *const *chunks, uint32_t item)
{
    const struct point_item *point = points_at(points, item);
    uint64_t revision = u48_get(point->revision);
    uint32_t by_id = place_by_id(points, chunks, string_at(chunks, point->id), revision);
    uint32_t by_age = place_by_age(points, revision);
    CHECK(by_id < points->n && points->by_id[by_id] == item && points->by_age[by_age].item == item);
    points->n--;
    memmove(points->by_id + by_id, points->by_id + by_id + 1, (points->n - by_id) * sizeof points->by_id[0]);
    memmove(points->by_age + by_age, points->by_age + by_age + 1, (points->n - by_age) * sizeof points->by_age[0]);
    points->n_over++;
}

void points_erase(struct points *points, uint32_t item)
{
    CHECK(points->n_over > 0);
    points->n_over--;
    table_remove(&points->table, item, hash_item(points, item));
    slabs_give(&points->items, item);
}

struct store_digest point_digest(const struct point_item *item, uint8_t *const *chunks)
{
    struct digest_message message;
    message.len = 0;
    digest_put(&message, item->instance.bytes, sizeof item->instance.bytes);
    digest_put(&message, &item->state, sizeof item->state);
    digest_put(&message, &item->revision, sizeof item->revision);
    digest_put(&message, &item->registered_ms, sizeof item->registered_ms);
    digest_put(&message, &item->lease_ms, sizeof item->lease_ms);
    digest_put_string(&message, chunks, item->id);
    digest_put_string(&message, chunks, item->principal);
    digest_put_string(&message, chunks, item->scope);
    return digest_of_message(DIGEST_POINT, &message);
}

void point_read(const struct point_item *item, uint8_t *const *chunks, struct point *point)
{
    *point = (struct point){
        .instance = item->instance,
        .id = string_at(chunks, item->id),
        .principal = string_at(chunks, item->principal),
        .scope = string_at(chunks, item->scope),
        .lease_ms = item->lease_ms,
        .fenced = item->state == POINT_FENCED,
        .revision = u48_get(item->revision),
        .registered_ms = (int64_t)u48_get(item->registered_ms),
        .sessions = item->sessions,
    };
}
