/* A hash table of u32 items that grows one bucket at a time (linear hashing, Litwin 1980), so that no insert ever pays
 * for a whole rehash. Internal to store/.
 *
 * The items live elsewhere; the table asks their owner for an item's hash and for the place of its chain link. Item 0
 * is none. Hashes come from a secret seed of each store: keys can't be chosen to collide. The table never shrinks: its
 * buckets cost two bytes for each item of the greatest number held. */
#ifndef LAPSE_STORE_TABLE_H
#define LAPSE_STORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TABLE_SEGMENT 4096u /* buckets */

struct table_ops {
    uint64_t (*hash)(const void *owner, uint32_t item);
    uint32_t *(*next)(const void *owner, uint32_t item);
    const void *(*key)(const void *owner, uint32_t item); /* what `hash` reads */
};

struct table {
    const struct table_ops *ops;
    const void *owner;
    uint32_t **segments;
    uint32_t segments_capacity;
    uint32_t n_buckets; /* low + split buckets so far */
    uint32_t low;       /* the greatest power of two not above n_buckets */
    uint32_t n_items;
};

void table_init(struct table *table, const struct table_ops *ops, const void *owner);
void table_free(struct table *table);
/* The first item of the chain in which `hash` belongs; the caller follows the links and compares. */
uint32_t table_first(const struct table *table, uint64_t hash);
/* Memory, not work, is what a look-up waits for, and each step of it needs what the one before has fetched. A path goes
 * ahead of a look-up to come: it asks for the bucket, and with each step, taken while other work is done, for one item
 * more of the chain. The table must not change before the last step. */
struct table_path {
    const struct table *table;
    uint64_t hash;
    uint32_t item;
    bool begun;
};
struct table_path table_path(const struct table *table, uint64_t hash);
void table_path_step(struct table_path *path);
void table_insert(struct table *table, uint32_t item, uint64_t hash);
/* `item` must be in the table. */
void table_remove(struct table *table, uint32_t item, uint64_t hash);
size_t table_bytes(const struct table *table);

#endif
