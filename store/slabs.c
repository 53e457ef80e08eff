#include "store/slabs.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"

void slabs_init(struct slabs *slabs, uint32_t item_size)
{
    CHECK(item_size >= sizeof(uint32_t) && item_size % 4 == 0);
    *slabs = (struct slabs){.item_size = item_size, .n_items = 1};
}

void slabs_free(struct slabs *slabs)
{
    slabs_drain(slabs, UINT32_MAX);
    for (uint32_t i = 0; i < slabs->n_slabs; i++)
        free(slabs->slabs[i]);
    free(slabs->slabs);
    free(slabs->generations);
    *slabs = (struct slabs){0};
}

static size_t slab_bytes(const struct slabs *slabs)
{
    return (size_t)SLAB_ITEMS * slabs->item_size;
}

static void add_slab(struct slabs *slabs)
{
    if (slabs->n_slabs == slabs->capacity) {
        slabs->capacity = slabs->capacity == 0 ? 4 : slabs->capacity * 2;
        slabs->slabs = mem_realloc(slabs->slabs, slabs->capacity * sizeof slabs->slabs[0]);
        slabs->generations = mem_realloc(slabs->generations, slabs->capacity * sizeof slabs->generations[0]);
    }
    slabs->generations[slabs->n_slabs] = slabs->generation;
    slabs->slabs[slabs->n_slabs++] = mem_calloc(SLAB_ITEMS, slabs->item_size);
}

uint32_t slabs_take(struct slabs *slabs)
{
    uint32_t item = slabs->free;
    if (item == 0) {
        CHECK(slabs->n_items < UINT32_MAX);
        item = slabs->n_items++;
        if (item / SLAB_ITEMS >= slabs->n_slabs)
            add_slab(slabs);
        return item;
    }
    uint32_t *place = slabs_at(slabs, item);
    slabs->free = *place;
    *place = 0;
    return item;
}

void slabs_give(struct slabs *slabs, uint32_t item)
{
    uint32_t *place = slabs_edit(slabs, item);
    memset(place, 0, slabs->item_size);
    *place = slabs->free;
    slabs->free = item;
}

void *slabs_edit(struct slabs *slabs, uint32_t item)
{
    uint32_t i = item / SLAB_ITEMS;
    CHECK(item != 0 && item < slabs->n_items);
    if (slabs->frozen && slabs->generations[i] != slabs->generation) {
        uint8_t *copy = mem_alloc(slab_bytes(slabs));
        memcpy(copy, slabs->slabs[i], slab_bytes(slabs));
        slabs->slabs[i] = copy;
        slabs->generations[i] = slabs->generation;
    }
    return slabs_at(slabs, item);
}

uint8_t **slabs_freeze(struct slabs *slabs)
{
    CHECK(!slabs->frozen);
    slabs->frozen = true;
    slabs->generation++;
    uint8_t **copy = mem_alloc(slabs->n_slabs * sizeof copy[0]);
    if (slabs->n_slabs > 0)
        memcpy(copy, slabs->slabs, slabs->n_slabs * sizeof copy[0]);
    return copy;
}

void slabs_thaw(struct slabs *slabs, uint8_t **frozen, uint32_t n_slabs)
{
    CHECK(slabs->frozen);
    /* Those of the view before, if it was followed by hardly any command. */
    slabs_drain(slabs, UINT32_MAX);
    for (uint32_t i = 0; i < n_slabs; i++)
        if (frozen[i] != slabs->slabs[i])
            frozen[slabs->n_retired++] = frozen[i];
    slabs->retired = frozen;
    slabs->frozen = false;
}

void slabs_drain(struct slabs *slabs, uint32_t max)
{
    for (; max > 0 && slabs->n_retired > 0; max--)
        free(slabs->retired[--slabs->n_retired]);
    if (slabs->n_retired > 0)
        return;
    free(slabs->retired);
    slabs->retired = NULL;
}

size_t slabs_bytes(const struct slabs *slabs)
{
    return (slabs->n_slabs + slabs->n_retired) * slab_bytes(slabs) +
           slabs->capacity * (sizeof slabs->slabs[0] + sizeof slabs->generations[0]);
}
