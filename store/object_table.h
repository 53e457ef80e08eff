/* The table of objects: state, in the digest and in snapshots. Internal to store/. */
#ifndef LAPSE_STORE_OBJECT_TABLE_H
#define LAPSE_STORE_OBJECT_TABLE_H

#include "base/wire.h"
#include "store/store.h"

struct held_object {
    struct object object;
    uint32_t refs;  /* the table's and a view's; the owner's thread only */
    uint32_t place; /* in the heap; 0: in none */
    uint8_t bytes[];
};

struct object_list {
    struct held_object **held; /* by name */
    uint32_t n, capacity;
};

struct object_table {
    struct object_list kinds[OBJECT_KINDS];
    struct held_object **heap; /* by (due_ms, kind, name from the last on); from 1 on */
    uint32_t n_heap, heap_capacity;
};

void object_table_free(struct object_table *table);
/* The most of a kind. */
uint32_t object_kind_max(enum object_kind kind);
const struct object *object_find(const struct object_table *table, enum object_kind kind, struct slice name);
const struct object *object_at(const struct object_table *table, enum object_kind kind, uint32_t i);
uint32_t object_lower_bound(const struct object_table *table, enum object_kind kind, struct slice name);
/* Puts it in the place of the one of its name; copies name and value. The pointer is valid until the next change of this
 * name. There must be room (object_kind_max) for a new one. */
const struct object *object_put(struct object_table *table, struct store_digest *sum, const struct object *object);
/* There must be one. */
void object_remove(struct object_table *table, struct store_digest *sum, enum object_kind kind, struct slice name);
/* The one that is due first; NULL: none ever. */
const struct object *object_next_due(const struct object_table *table);
size_t object_table_bytes(const struct object_table *table);

/* For a view: all objects in order of kind and name, shared. Released on the owner's thread. */
struct held_object **object_table_freeze(const struct object_table *table, uint32_t *n);
void object_table_thaw(struct held_object **held, uint32_t n);

/* A record of a snapshot; NULL or what is wrong with it. `sum` gets it, too. Records come in the order of kind and name. */
void object_write(struct wire_writer *writer, const struct object *object);
const char *object_read(struct object_table *table, struct store_digest *sum, struct slice bytes);

#endif
