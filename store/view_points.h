/* What a frozen view holds of points, barriers and sessions, and how it writes them. Internal to store/.
 *
 * The directories of four slabs are copied; blocks of receipts are copied by the owner before it changes them. */
#ifndef LAPSE_STORE_VIEW_POINTS_H
#define LAPSE_STORE_VIEW_POINTS_H

#include "base/wire.h"
#include "store/internal.h"

struct frozen_slabs {
    uint8_t **directory;
    uint32_t item_size, n_slabs, n_items;
};

/* Sorted by revision or by id; `id` is used by sessions only. */
struct sorted_item {
    uint64_t revision;
    struct random_id id;
    uint32_t item;
};

/* A record of receipts. */
struct batch {
    uint32_t barrier; /* item */
    uint32_t first;   /* place in its block */
};

struct points_view {
    struct frozen_slabs points, barriers, tracks, sessions;
    uint32_t n_points, n_barriers, n_sessions, n_batches;
    struct sorted_item *sorted_points, *sorted_barriers, *sorted_sessions;
    struct batch *batches;
};

/* Owner's thread. */
void points_view_freeze(struct points_view *view, struct store *store);
void points_view_thaw(struct points_view *view, struct store *store);

/* Reader's thread. Once, before anything is put: after it all counts are known. */
void points_view_sort(struct points_view *view);
void points_view_put_point(const struct points_view *view, uint32_t i, uint8_t *const *chunks,
                           struct wire_writer *writer);
void points_view_put_barrier(const struct points_view *view, uint32_t i, uint8_t *const *chunks,
                             struct wire_writer *writer);
void points_view_put_receipts(const struct points_view *view, uint32_t i, uint8_t *const *chunks,
                              struct wire_writer *writer);
void points_view_put_session(const struct points_view *view, uint32_t i, uint8_t *const *chunks,
                             struct wire_writer *writer);

#endif
