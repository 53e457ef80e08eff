#include "store/pool.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"

void pool_init(struct pool *pool, uint32_t item_size)
{
    CHECK(item_size >= sizeof(uint32_t));
    *pool = (struct pool){.item_size = item_size, .n_used = 1};
}

void pool_free(struct pool *pool)
{
    for (uint32_t i = 0; i < pool->n_segments; i++)
        free(pool->segments[i]);
    free(pool->segments);
    *pool = (struct pool){0};
}

static void add_segment(struct pool *pool)
{
    if (pool->n_segments == pool->segments_capacity) {
        pool->segments_capacity = pool->segments_capacity == 0 ? 4 : pool->segments_capacity * 2;
        pool->segments = mem_realloc(pool->segments, pool->segments_capacity * sizeof pool->segments[0]);
    }
    pool->segments[pool->n_segments++] = mem_alloc((size_t)POOL_SEGMENT * pool->item_size);
}

uint32_t pool_take(struct pool *pool)
{
    uint32_t item = pool->free;
    if (item != 0) {
        memcpy(&pool->free, pool_at(pool, item), sizeof pool->free);
    } else {
        CHECK(pool->n_used < UINT32_MAX);
        if (pool->n_used / POOL_SEGMENT >= pool->n_segments)
            add_segment(pool);
        item = pool->n_used++;
    }
    memset(pool_at(pool, item), 0, pool->item_size);
    return item;
}

void pool_give(struct pool *pool, uint32_t item)
{
    memcpy(pool_at(pool, item), &pool->free, sizeof pool->free);
    pool->free = item;
}

size_t pool_bytes(const struct pool *pool)
{
    return (size_t)pool->n_segments * POOL_SEGMENT * pool->item_size;
}
