#include "node/lease_index.h"

#include <stdlib.h>

#include "base/check.h"

#define BUCKETS_MIN 64u

static struct lease_link **bucket_of(const struct lease_index *index, const struct random_id *id)
{
    uint32_t hash;
    memcpy(&hash, id->bytes, sizeof hash);
    return &index->buckets[hash & (index->n_buckets - 1)];
}

void lease_index_free(struct lease_index *index)
{
    free(index->buckets);
    *index = (struct lease_index){0};
}

void *lease_index_find(const struct lease_index *index, const struct random_id *id)
{
    if (index->n == 0)
        return NULL;
    struct lease_link *link = *bucket_of(index, id);
    while (link != NULL && memcmp(&link->id, id, sizeof *id) != 0)
        link = link->chain;
    return link;
}

static void insert(struct lease_index *index, struct lease_link *link)
{
    struct lease_link **bucket = bucket_of(index, &link->id);
    link->chain = *bucket;
    *bucket = link;
}

static void grow(struct lease_index *index)
{
    struct lease_index old = *index;
    index->n_buckets = old.n_buckets == 0 ? BUCKETS_MIN : 2 * old.n_buckets;
    index->buckets = mem_calloc(index->n_buckets, sizeof *index->buckets);
    for (uint32_t i = 0; i < old.n_buckets; i++) {
        struct lease_link *next;
        for (struct lease_link *link = old.buckets[i]; link != NULL; link = next) {
            next = link->chain;
            insert(index, link);
        }
    }
    free(old.buckets);
}

void lease_index_add(struct lease_index *index, struct lease_link *link)
{
    if (index->n == index->n_buckets)
        grow(index);
    insert(index, link);
    index->n++;
}

void lease_index_remove(struct lease_index *index, struct lease_link *link)
{
    struct lease_link **at = bucket_of(index, &link->id);
    while (*at != link) {
        CHECK(*at != NULL);
        at = &(*at)->chain;
    }
    *at = link->chain;
    index->n--;
}
