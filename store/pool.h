/* Fixed-size items addressed by u32, in segments that never move; 0 is none. Freed items are used again first. Internal
 * to store/. */
#ifndef LAPSE_STORE_POOL_H
#define LAPSE_STORE_POOL_H

#include <stddef.h>
#include <stdint.h>

#define POOL_SEGMENT 1024u /* items */

struct pool {
    uint8_t **segments;
    uint32_t segments_capacity;
    uint32_t n_segments;
    uint32_t n_used; /* items ever handed out, item 0 included */
    uint32_t free;   /* chained through the first four bytes of each */
    uint32_t item_size;
};

void pool_init(struct pool *pool, uint32_t item_size);
void pool_free(struct pool *pool);
/* A zeroed item. */
uint32_t pool_take(struct pool *pool);
void pool_give(struct pool *pool, uint32_t item);

static inline void *pool_at(const struct pool *pool, uint32_t item)
{
    return pool->segments[item / POOL_SEGMENT] + (size_t)(item % POOL_SEGMENT) * pool->item_size;
}

size_t pool_bytes(const struct pool *pool);

#endif
