/* The simplest cache that can be right: an array of live grants. */
#include <stdlib.h>

#include "tests/sim/point.h"

const struct point_grant *cache_find(const struct point_cache *cache, struct grant_id id)
{
    for (uint32_t i = 0; i < cache->n; i++) {
        if (grant_id_compare(cache->grants[i].id, id) == 0) {
            return &cache->grants[i];
        }
    }
    return NULL;
}

static void reserve(struct point_cache *cache, uint32_t n)
{
    if (n <= cache->max) {
        return;
    }
    cache->max = n < 32 ? 64 : 2 * n;
    cache->grants = mem_realloc(cache->grants, cache->max * sizeof(*cache->grants));
}

void cache_set(struct point_cache *cache, const struct point_grant *grant)
{
    uint32_t i = 0;
    while (i < cache->n && grant_id_compare(cache->grants[i].id, grant->id) != 0) {
        i++;
    }
    if (i < cache->n && !grant->active) {
        cache->grants[i] = cache->grants[--cache->n];
    } else if (i < cache->n) {
        cache->grants[i] = *grant;
    } else if (grant->active) {
        reserve(cache, cache->n + 1);
        cache->grants[cache->n++] = *grant;
    }
}

void cache_copy(struct point_cache *into, const struct point_cache *from)
{
    reserve(into, from->n);
    into->n = from->n;
    if (from->n > 0) {
        memcpy(into->grants, from->grants, from->n * sizeof(*from->grants));
    }
}

void cache_clear(struct point_cache *cache)
{
    cache->n = 0;
}

void cache_free(struct point_cache *cache)
{
    free(cache->grants);
    *cache = (struct point_cache){0};
}
