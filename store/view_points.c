#include "store/view_points.h"

#include <stdlib.h>

#include "base/check.h"
#include "store/snapshot.h"

static void freeze(struct frozen_slabs *frozen, struct slabs *slabs)
{
    *frozen =
        (struct frozen_slabs){.item_size = slabs->item_size, .n_slabs = slabs->n_slabs, .n_items = slabs->n_items};
    frozen->directory = slabs_freeze(slabs);
}

void points_view_freeze(struct points_view *view, struct store *store)
{
    const struct barriers *barriers = &store->barriers;
    *view = (struct points_view){
        .n_points = store->points.n + store->points.n_over,
        .n_barriers = barriers->open.n + barriers->kept.n + barriers->plain.n,
        .n_sessions = store->sessions.n,
    };
    freeze(&view->points, &store->points.items);
    freeze(&view->barriers, &store->barriers.items);
    freeze(&view->tracks, &store->barriers.tracks);
    freeze(&view->sessions, &store->sessions.items);
    barriers_freeze(&store->barriers);
}

void points_view_thaw(struct points_view *view, struct store *store)
{
    slabs_thaw(&store->points.items, view->points.directory, view->points.n_slabs);
    slabs_thaw(&store->barriers.items, view->barriers.directory, view->barriers.n_slabs);
    slabs_thaw(&store->barriers.tracks, view->tracks.directory, view->tracks.n_slabs);
    slabs_thaw(&store->sessions.items, view->sessions.directory, view->sessions.n_slabs);
    barriers_thaw(&store->barriers);
    free(view->sorted_points);
    free(view->sorted_barriers);
    free(view->sorted_sessions);
    free(view->batches);
}

static const void *frozen_at(const struct frozen_slabs *frozen, uint32_t item)
{
    return slabs_in(frozen->directory, frozen->item_size, item);
}

static int compare_revisions(const void *a, const void *b)
{
    const struct sorted_item *x = a, *y = b;
    return x->revision < y->revision ? -1 : x->revision > y->revision;
}

static int compare_ids(const void *a, const void *b)
{
    const struct sorted_item *x = a, *y = b;
    return memcmp(x->id.bytes, y->id.bytes, sizeof x->id.bytes);
}

/* Fills `sorted` with what `read` finds in use, which must be `n` items, and sorts it. */
static struct sorted_item *sort(const struct points_view *view, const struct frozen_slabs *frozen, uint32_t n,
                                bool (*read)(const struct points_view *view, const void *item,
                                             struct sorted_item *sorted),
                                int (*compare)(const void *a, const void *b))
{
    struct sorted_item *sorted = mem_alloc(n * sizeof sorted[0]);
    uint32_t found = 0;
    for (uint32_t item = 1; item < frozen->n_items; item++) {
        struct sorted_item next = {.item = item};
        if (!read(view, frozen_at(frozen, item), &next))
            continue;
        CHECK(found < n);
        sorted[found++] = next;
    }
    CHECK(found == n);
    if (n > 0)
        qsort(sorted, n, sizeof sorted[0], compare);
    return sorted;
}

static bool read_point(const struct points_view *view, const void *item, struct sorted_item *sorted)
{
    (void)view;
    const struct point_item *point = item;
    sorted->revision = u48_get(point->revision);
    return point->state != 0;
}

static bool read_barrier(const struct points_view *view, const void *item, struct sorted_item *sorted)
{
    (void)view;
    const struct barrier_item *barrier = item;
    sorted->revision = u48_get(barrier->id);
    return sorted->revision != 0;
}

static bool read_session(const struct points_view *view, const void *item, struct sorted_item *sorted)
{
    const struct session_item *session = item;
    sorted->id = session->id;
    return session_is_live(session, frozen_at(&view->points, session->point));
}

static const struct track_item *track_of(const struct points_view *view, const struct barrier_item *barrier)
{
    return barrier->track == 0 ? NULL : frozen_at(&view->tracks, barrier->track);
}

static uint32_t places_of(const struct points_view *view, uint32_t item)
{
    const struct track_item *track = track_of(view, frozen_at(&view->barriers, item));
    return track == NULL || track->block == NULL ? 0 : track->block->n;
}

static void make_batches(struct points_view *view)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < view->n_barriers; i++)
        n += (places_of(view, view->sorted_barriers[i].item) + SNAPSHOT_PLACES - 1) / SNAPSHOT_PLACES;
    view->batches = mem_alloc(n * sizeof view->batches[0]);
    for (uint32_t i = 0; i < view->n_barriers; i++) {
        uint32_t item = view->sorted_barriers[i].item, places = places_of(view, item);
        for (uint32_t first = 0; first < places; first += SNAPSHOT_PLACES)
            view->batches[view->n_batches++] = (struct batch){item, first};
    }
    CHECK(view->n_batches == n);
}

void points_view_sort(struct points_view *view)
{
    view->sorted_points = sort(view, &view->points, view->n_points, read_point, compare_revisions);
    view->sorted_barriers = sort(view, &view->barriers, view->n_barriers, read_barrier, compare_revisions);
    view->sorted_sessions = sort(view, &view->sessions, view->n_sessions, read_session, compare_ids);
    make_batches(view);
}

void points_view_put_point(const struct points_view *view, uint32_t i, uint8_t *const *chunks,
                           struct wire_writer *writer)
{
    const struct point_item *point = frozen_at(&view->points, view->sorted_points[i].item);
    size_t mark = wire_begin(writer, SNAPSHOT_POINT);
    wire_put_bytes(writer, POINT_FIELD_INSTANCE, slice_of(point->instance.bytes, sizeof point->instance.bytes));
    wire_put_bytes(writer, POINT_FIELD_ID, string_at(chunks, point->id));
    wire_put_bytes(writer, POINT_FIELD_PRINCIPAL, string_at(chunks, point->principal));
    wire_put_bytes(writer, POINT_FIELD_SCOPE, string_at(chunks, point->scope));
    wire_put_uint(writer, POINT_FIELD_LEASE_MS, point->lease_ms);
    wire_put_uint(writer, POINT_FIELD_STATE, point->state);
    wire_put_uint(writer, POINT_FIELD_REVISION, u48_get(point->revision));
    wire_put_uint(writer, POINT_FIELD_REGISTERED_MS, u48_get(point->registered_ms));
    wire_end(writer, mark);
}

void points_view_put_barrier(const struct points_view *view, uint32_t i, uint8_t *const *chunks,
                             struct wire_writer *writer)
{
    static const struct track_item none;
    uint32_t item = view->sorted_barriers[i].item;
    const struct barrier_item *barrier = frozen_at(&view->barriers, item);
    const struct track_item *track = barrier->track == 0 ? &none : track_of(view, barrier);
    size_t mark = wire_begin(writer, SNAPSHOT_BARRIER);
    wire_put_uint(writer, BARRIER_FIELD_ID, u48_get(barrier->id));
    wire_put_uint(writer, BARRIER_FIELD_REVISION, u48_get(track->revision));
    if (!grant_id_is_zero(barrier->grant))
        wire_put_bytes(writer, BARRIER_FIELD_GRANT, slice_of(barrier->grant.bytes, sizeof barrier->grant.bytes));
    wire_put_bytes(writer, BARRIER_FIELD_SCOPE, string_at(chunks, barrier->scope));
    wire_put_uint(writer, BARRIER_FIELD_TIME_MS, u48_get(barrier->time_ms));
    wire_put_uint(writer, BARRIER_FIELD_GRANTS, barrier->grants);
    wire_put_uint(writer, BARRIER_FIELD_POINTS, places_of(view, item));
    wire_put_uint(writer, BARRIER_FIELD_DONE_MS, u48_get(track->done_ms));
    wire_put_uint(writer, BARRIER_FIELD_DONE_REVISION, u48_get(track->done_revision));
    wire_put_uint(writer, BARRIER_FIELD_UNTRACKED, barrier->untracked);
    wire_end(writer, mark);
}

static void put_place(struct wire_writer *writer, const struct receipt_entry *entry, uint8_t *const *chunks)
{
    size_t mark = wire_begin(writer, RECEIPTS_FIELD_PLACE);
    wire_put_uint(writer, PLACE_FIELD_POINT, u48_get(entry->revision));
    wire_put_uint(writer, PLACE_FIELD_LEVEL, entry->level);
    wire_put_uint(writer, PLACE_FIELD_TIME_MS, u48_get(entry->time_ms));
    wire_put_bytes(writer, PLACE_FIELD_REASON, string_at(chunks, entry->reason));
    wire_end(writer, mark);
}

void points_view_put_receipts(const struct points_view *view, uint32_t i, uint8_t *const *chunks,
                              struct wire_writer *writer)
{
    const struct batch *batch = &view->batches[i];
    const struct barrier_item *barrier = frozen_at(&view->barriers, batch->barrier);
    const struct receipt_block *block = track_of(view, barrier)->block;
    size_t mark = wire_begin(writer, SNAPSHOT_RECEIPTS);
    wire_put_uint(writer, RECEIPTS_FIELD_BARRIER, u48_get(barrier->id));
    for (uint32_t place = batch->first; place < block->n && place < batch->first + SNAPSHOT_PLACES; place++)
        put_place(writer, &block->entries[place], chunks);
    wire_end(writer, mark);
}

void points_view_put_session(const struct points_view *view, uint32_t i, uint8_t *const *chunks,
                             struct wire_writer *writer)
{
    const struct session_item *session = frozen_at(&view->sessions, view->sorted_sessions[i].item);
    const struct point_item *point = frozen_at(&view->points, session->point);
    size_t mark = wire_begin(writer, SNAPSHOT_SESSION);
    wire_put_bytes(writer, SESSION_FIELD_ID, slice_of(session->id.bytes, sizeof session->id.bytes));
    wire_put_uint(writer, SESSION_FIELD_POINT, u48_get(point->revision));
    wire_put_bytes(writer, SESSION_FIELD_GRANT, slice_of(session->grant.bytes, sizeof session->grant.bytes));
    wire_put_bytes(writer, SESSION_FIELD_DESCRIPTION, string_at(chunks, session->description));
    wire_put_uint(writer, SESSION_FIELD_BEGAN_MS, u48_get(session->began_ms));
    wire_end(writer, mark);
}
