/* Fixed-size items addressed by u32, in slabs that are copied when a frozen view still reads them; 0 is none. Internal
 * to store/.
 *
 *   items:  1 2 3 ... 63 | 64 ... 127 | ...     slab = item / 64
 *   owner:  [slab 0] [slab 1] [slab 2']         slab 2 was written after the freeze: the owner has a copy,
 *   view:   [slab 0] [slab 1] [slab 2 ]         the view keeps the original
 *
 * What a view reads is written through slabs_edit(). Links, counts and the like that no view looks at may be written in
 * place, with slabs_at(). An item begins with a uint32_t that is the owner's while it is in use (a link; views don't
 * read it) and chains the free ones. */
#ifndef LAPSE_STORE_SLABS_H
#define LAPSE_STORE_SLABS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SLAB_ITEMS 64u

struct slabs {
    uint8_t **slabs;
    uint32_t *generations; /* at which each slab was made or copied */
    uint32_t n_slabs, capacity;
    uint32_t item_size;
    uint32_t n_items; /* ever used, item 0 included */
    uint32_t free;
    uint32_t generation;
    bool frozen;
    uint8_t **retired; /* what the last view left behind, freed a few at a time */
    uint32_t n_retired;
};

void slabs_init(struct slabs *slabs, uint32_t item_size);
void slabs_free(struct slabs *slabs);
/* A zeroed item. */
uint32_t slabs_take(struct slabs *slabs);
/* Zeroes the item but for the chain of free ones. */
void slabs_give(struct slabs *slabs, uint32_t item);
/* The item for writing what views read: copies its slab first when one does. Earlier pointers into the slab go stale.
 */
void *slabs_edit(struct slabs *slabs, uint32_t item);

/* In the present directory or in a frozen copy of it. */
static inline void *slabs_in(uint8_t *const *directory, uint32_t item_size, uint32_t item)
{
    return directory[item / SLAB_ITEMS] + (size_t)(item % SLAB_ITEMS) * item_size;
}

static inline void *slabs_at(const struct slabs *slabs, uint32_t item)
{
    return slabs_in(slabs->slabs, slabs->item_size, item);
}

/* A copy of the directory; the slabs in it stay as they are, links aside, until slabs_thaw() takes it back. */
uint8_t **slabs_freeze(struct slabs *slabs);
void slabs_thaw(struct slabs *slabs, uint8_t **frozen, uint32_t n_slabs);
/* Frees at most `max` of the slabs that only the view held. */
void slabs_drain(struct slabs *slabs, uint32_t max);

size_t slabs_bytes(const struct slabs *slabs);

#endif
