/* The registered instances of enforcement points, and those that are over but still named by receipts. Internal to
 * store/.
 *
 *   LIVE --fence--> FENCED --end--> OVER --its last receipt leaves--> (gone)
 *     '---------------end-----------'
 *
 * Registered ones (LIVE, FENCED) are listed twice: by age, that is by the revision of their registration, which is what
 * barriers walk, and by id for people. */
#ifndef LAPSE_STORE_POINT_TABLE_H
#define LAPSE_STORE_POINT_TABLE_H

#include "store/digest.h"
#include "store/points.h"
#include "store/slabs.h"
#include "store/table.h"

enum point_state { POINT_LIVE = 1, POINT_FENCED = 2, POINT_OVER = 3 };

struct point_item {
    uint32_t next; /* in the hash chain of instances */
    /* Derived, written in place. */
    uint32_t waits;                   /* open barriers that have no receipt of it yet */
    uint32_t named;                   /* places in all barriers */
    uint32_t sessions;                /* how many */
    uint32_t first_session;           /* of its chain */
    struct store_digest sessions_sum; /* of their digests: it goes with the point in one step */
    /* State. */
    uint8_t state; /* enum point_state; 0: the item is free */
    struct u48 revision, registered_ms;
    struct random_id instance;
    uint32_t lease_ms;
    string_id id;
    string_id principal, scope; /* none when OVER */
};

/* A registered instance, for walks over all of them. */
struct point_ref {
    uint64_t revision;
    uint32_t item;
    string_id scope;
};

struct points {
    struct slabs items;
    struct table table;       /* by instance */
    struct point_ref *by_age; /* registered ones */
    uint32_t *by_id;          /* the same, by (id, revision) */
    uint32_t n, capacity;
    uint32_t n_over;
    uint64_t seed;
};

void points_init(struct points *points, uint64_t seed);
void points_free(struct points *points);
size_t points_bytes(const struct points *points);

static inline struct point_item *points_at(const struct points *points, uint32_t item)
{
    return slabs_at(&points->items, item);
}

/* 0 when there is none; also one that is over. */
uint32_t points_find(const struct points *points, const struct random_id *instance);
/* The place in by_id of the first one whose id is not less than `id`. */
uint32_t points_first_of_id(const struct points *points, uint8_t *const *chunks, struct slice id);
/* Of the first one behind (id, revision). */
uint32_t points_behind(const struct points *points, uint8_t *const *chunks, struct slice id, uint64_t revision);

/* What is new: the item's state is filled by the caller's `point`, whose strings it owns from now on. */
uint32_t points_insert(struct points *points, uint8_t *const *chunks, const struct point_item *point);
/* Takes a registered one off both lists. */
void points_unlist(struct points *points, uint8_t *const *chunks, uint32_t item);
/* Frees the item of one that is on no list. */
void points_erase(struct points *points, uint32_t item);

struct store_digest point_digest(const struct point_item *item, uint8_t *const *chunks);
void point_read(const struct point_item *item, uint8_t *const *chunks, struct point *point);

#endif
