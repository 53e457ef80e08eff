/* A hash table of things that have a random id: chains through the things themselves. The id's first bytes are the
 * hash: a point that chooses its ids badly slows down nobody but by LIMIT_POINTS_PER_PRINCIPAL steps. */
#ifndef LAPSE_NODE_LEASE_INDEX_H
#define LAPSE_NODE_LEASE_INDEX_H

#include "store/command.h"

/* The first member of the thing. */
struct lease_link {
    struct random_id id;
    struct lease_link *chain;
};

struct lease_index {
    struct lease_link **buckets;
    uint32_t n_buckets, n;
};

void lease_index_free(struct lease_index *index);
/* NULL when there is none. */
void *lease_index_find(const struct lease_index *index, const struct random_id *id);
/* There is none with its id. */
void lease_index_add(struct lease_index *index, struct lease_link *link);
void lease_index_remove(struct lease_index *index, struct lease_link *link);

#endif
