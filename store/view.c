/* Frozen views and the snapshot they write.
 *
 * Freezing copies three directories (slabs of records, chunks of strings, segments of request keys) and the few role
 * bindings; what the directories point to stays put until the thaw. The reader touches nothing else, so it needs no
 * lock:
 *
 *   owner's thread    freeze ....... applies, copying slabs it changes, keeping strings it drops ....... free
 *   reader's thread          read, read, read, ... done
 *
 * Slots depend on a store's history, so the grants are sorted by id first: equal states give equal bytes. */
#include <stdlib.h>

#include "base/check.h"
#include "base/wire.h"
#include "store/internal.h"
#include "store/pair.h"
#include "store/snapshot.h"
#include "store/terms.h"
#include "store/view_points.h"

/* In the order in which they are written. */
enum view_phase {
    VIEW_HEADER,
    VIEW_ROLES,
    VIEW_GRANTS,
    VIEW_REQUEST_KEYS,
    VIEW_SWEEPS,
    VIEW_POINTS,
    VIEW_BARRIERS,
    VIEW_RECEIPTS,
    VIEW_SESSIONS,
    VIEW_OBJECTS,
    VIEW_TRAILER,
    VIEW_DONE
};

struct sorted_grant {
    struct grant_id id;
    uint32_t slot;
};

struct store_view {
    struct store *store; /* for the owner's thread only */
    /* What is frozen. */
    uint64_t revision, epoch;
    int64_t time_ms;
    char cluster[LIMIT_CLUSTER];
    uint32_t cluster_len;
    struct store_digest digest;
    struct slab **slabs;
    struct extras_view extras;
    uint32_t n_slabs, n_slots, n_grants;
    uint8_t **chunks;
    struct key_segment **keys;
    uint32_t first_key, n_keys;
    struct roles roles; /* a copy */
    struct buf sweeps;  /* their records: few and small */
    size_t sweep_ends[LIMIT_SWEEPS];
    uint32_t n_sweeps;
    struct points_view points;
    struct held_object **objects; /* shared */
    uint32_t n_objects;
    struct chain_head chain;
    /* How far the reader is. */
    enum view_phase phase;
    uint32_t next; /* in its phase */
    struct sorted_grant *sorted;
};

static void copy_roles(const struct roles *from, struct roles *to)
{
    *to = (struct roles){.n = from->n, .capacity = from->n};
    to->entries = mem_alloc(from->n * sizeof to->entries[0]);
    for (uint32_t i = 0; i < from->n; i++)
        role_copy(&from->entries[i], &to->entries[i]);
}

static void copy_sweeps(const struct store *store, struct store_view *view)
{
    buf_init(&view->sweeps, SNAPSHOT_SWEEPS_BYTES);
    struct wire_writer writer = wire_writer(&view->sweeps);
    view->n_sweeps = store->sweeps.n;
    for (uint32_t i = 0; i < view->n_sweeps; i++) {
        size_t mark = wire_begin(&writer, SNAPSHOT_SWEEP);
        sweep_encode(&writer, store, &store->sweeps.entries[i]);
        wire_end(&writer, mark);
        view->sweep_ends[i] = view->sweeps.len;
    }
    CHECK(!writer.failed);
}

struct store_view *store_freeze(struct store *store)
{
    if (store->view != NULL)
        return NULL;
    struct store_view *view = mem_calloc(1, sizeof *view);
    view->store = store;
    view->revision = store->revision;
    view->epoch = store->epoch;
    view->time_ms = store->time_ms;
    memcpy(view->cluster, store->cluster, sizeof view->cluster);
    view->cluster_len = store->cluster_len;
    view->digest = store_digest(store);
    view->n_slabs = store->records.n_slabs;
    view->n_slots = store->records.n_slots;
    view->n_grants = store_live(store) + store_ended(store);
    view->slabs = records_freeze(&store->records);
    extras_freeze(store, &view->extras);
    view->chunks = mem_alloc(store->strings.n_chunks * sizeof view->chunks[0]);
    memcpy(view->chunks, store->strings.chunks, store->strings.n_chunks * sizeof view->chunks[0]);
    strings_freeze(&store->strings);
    view->keys = keys_freeze(&store->keys);
    view->first_key = store->keys.first;
    view->n_keys = store->keys.n;
    copy_roles(&store->roles, &view->roles);
    copy_sweeps(store, view);
    points_view_freeze(&view->points, store);
    view->objects = object_table_freeze(&store->objects, &view->n_objects);
    view->chain = store->chain;
    store->view = view;
    return view;
}

void store_view_free(struct store_view *view)
{
    if (view == NULL)
        return;
    struct store *store = view->store;
    CHECK(store->view == view);
    records_thaw(&store->records, view->slabs, view->n_slabs);
    extras_thaw(store, &view->extras);
    strings_thaw(&store->strings);
    keys_thaw(&store->keys);
    points_view_thaw(&view->points, store);
    object_table_thaw(view->objects, view->n_objects);
    store->view = NULL;
    roles_free(&view->roles);
    buf_free(&view->sweeps);
    free(view->chunks);
    free(view->keys);
    free(view->sorted);
    free(view);
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct grant_id));
}

static void sort_grants(struct store_view *view)
{
    uint32_t n = 0;
    view->sorted = mem_alloc(view->n_grants * sizeof view->sorted[0]);
    for (uint32_t slot = 1; slot < view->n_slots; slot++) {
        const struct record *record = record_at(view->slabs, slot);
        if (record->state == 0)
            continue;
        CHECK(n < view->n_grants);
        view->sorted[n++] = (struct sorted_grant){record->id, slot};
    }
    CHECK(n == view->n_grants);
    if (n > 0)
        qsort(view->sorted, n, sizeof view->sorted[0], compare_ids);
}

static void put_header(struct wire_writer *writer, const struct store_view *view)
{
    size_t mark = wire_begin(writer, SNAPSHOT_HEADER);
    wire_put_uint(writer, HEADER_VERSION, SNAPSHOT_FORMAT_VERSION);
    wire_put_uint(writer, HEADER_EPOCH, view->epoch);
    wire_put_bytes(writer, HEADER_CLUSTER, slice_of(view->cluster, view->cluster_len));
    wire_put_uint(writer, HEADER_REVISION, view->revision);
    wire_put_uint(writer, HEADER_TIME_MS, (uint64_t)view->time_ms);
    wire_put_bytes(writer, HEADER_CHAIN, slice_of(view->chain.hash, sizeof view->chain.hash));
    wire_end(writer, mark);
}

static void put_role(struct wire_writer *writer, const struct role_entry *entry)
{
    size_t mark = wire_begin(writer, SNAPSHOT_ROLE);
    wire_put_bytes(writer, ROLE_MEMBER, role_member(entry));
    wire_put_uint(writer, ROLE_BITS, entry->roles);
    wire_put_bytes(writer, ROLE_SCOPE, role_scope(entry));
    wire_end(writer, mark);
}

/* The terms as they were asked for, not as record_read() completes them. */
static void put_terms(struct wire_writer *writer, const struct record *record, uint8_t *const *chunks)
{
    struct grant own;
    struct slice shared = string_at(chunks, record->shared);
    own.subject = string_at(chunks, record->subject);
    own.resource = string_at(chunks, record->resource);
    own.ticket = string_at(chunks, record->ticket);
    own.policy = string_at(chunks, record->policy);
    own.deadline_ms = (int64_t)u48_get(record->deadline_ms);
    pair_split(string_at(chunks, record->story), &own.justification, &own.task);
    size_t mark = wire_begin(writer, GRANT_FIELD_TERMS);
    terms_encode_own(writer, &own);
    /* Encoded long ago, and canonical. */
    if (!writer->failed && !lapse_is_ok(buf_append(writer->out, shared.data, shared.len)))
        writer->failed = true;
    wire_end(writer, mark);
}

/* The only approval of a grant was at its approved_revision. */
static void put_approvals(struct wire_writer *writer, const struct record *record, const struct extra *extra,
                          uint8_t *const *chunks)
{
    bool only = record->n_approvals == 1 && u48_get(record->approved_revision) > 0;
    for (uint32_t i = 0; i < record->n_approvals; i++) {
        struct approval approval = approval_of(record, extra, i);
        size_t mark = wire_begin(writer, GRANT_FIELD_APPROVALS);
        wire_put_bytes(writer, APPROVAL_APPROVER, string_at(chunks, approval.approver));
        wire_put_uint(writer, APPROVAL_TIME_MS, u48_get(approval.time_ms));
        wire_put_bytes(writer, APPROVAL_COMMENT, string_at(chunks, approval.comment));
        wire_put_uint(writer, APPROVAL_REVISION, only ? 0 : u48_get(approval.revision));
        wire_end(writer, mark);
    }
}

static void put_grant(struct wire_writer *writer, const struct store_view *view, uint32_t slot)
{
    uint8_t *const *chunks = view->chunks;
    const struct record *record = record_at(view->slabs, slot);
    const struct extra *extra = extras_view_find(&view->extras, slot);
    struct slice ended_by, reason;
    size_t mark = wire_begin(writer, SNAPSHOT_GRANT);
    wire_put_bytes(writer, GRANT_FIELD_ID, slice_of(record->id.bytes, sizeof record->id.bytes));
    wire_put_uint(writer, GRANT_FIELD_STATE, record->state);
    put_terms(writer, record, chunks);
    wire_put_bytes(writer, GRANT_FIELD_REQUESTER, string_at(chunks, record->requester));
    put_approvals(writer, record, extra, chunks);
    wire_put_uint(writer, GRANT_FIELD_USES, record->uses);
    pair_split(string_at(chunks, record->ending), &ended_by, &reason);
    wire_put_bytes(writer, GRANT_FIELD_ENDED_BY, ended_by);
    wire_put_bytes(writer, GRANT_FIELD_REASON, reason);
    wire_put_uint(writer, GRANT_FIELD_REQUESTED_MS, u48_get(record->requested_ms));
    wire_put_uint(writer, GRANT_FIELD_ACTIVATED_MS, u48_get(record->activated_ms));
    wire_put_uint(writer, GRANT_FIELD_ENDED_MS, u48_get(record->ended_ms));
    wire_put_uint(writer, GRANT_FIELD_REQUESTED_REVISION, u48_get(record->requested_revision));
    wire_put_uint(writer, GRANT_FIELD_APPROVED_REVISION, u48_get(record->approved_revision));
    wire_put_uint(writer, GRANT_FIELD_ACTIVATED_REVISION, u48_get(record->activated_revision));
    wire_put_uint(writer, GRANT_FIELD_REVISION, u48_get(record->revision));
    if (extra != NULL && extra->has_token)
        wire_put_bytes(writer, GRANT_FIELD_TOKEN, slice_of(extra->token, sizeof extra->token));
    wire_end(writer, mark);
}

static void put_key(struct wire_writer *writer, const struct key_entry *entry)
{
    size_t mark = wire_begin(writer, SNAPSHOT_REQUEST_KEY);
    wire_put_bytes(writer, KEY_FIELD_KEY, slice_of(entry->key.bytes, sizeof entry->key.bytes));
    if (!grant_id_is_zero(entry->grant))
        wire_put_bytes(writer, KEY_FIELD_GRANT, slice_of(entry->grant.bytes, sizeof entry->grant.bytes));
    wire_put_uint(writer, KEY_FIELD_CONTENT, entry->content);
    wire_put_uint(writer, KEY_FIELD_TIME_MS, u48_get(entry->time_ms));
    wire_put_uint(writer, KEY_FIELD_REVISION, u48_get(entry->revision));
    wire_end(writer, mark);
}

/* As it was encoded at the freeze. */
static void put_sweep(struct wire_writer *writer, const struct store_view *view, uint32_t i)
{
    size_t start = i == 0 ? 0 : view->sweep_ends[i - 1];
    if (!lapse_is_ok(buf_append(writer->out, view->sweeps.data + start, view->sweep_ends[i] - start)))
        writer->failed = true;
}

static void put_object(struct wire_writer *writer, const struct object *object)
{
    size_t mark = wire_begin(writer, SNAPSHOT_OBJECT);
    object_write(writer, object);
    wire_end(writer, mark);
}

static void put_trailer(struct wire_writer *writer, const struct store_view *view)
{
    size_t mark = wire_begin(writer, SNAPSHOT_TRAILER);
    wire_put_uint(writer, TRAILER_ROLES, view->roles.n);
    wire_put_uint(writer, TRAILER_GRANTS, view->n_grants);
    wire_put_uint(writer, TRAILER_REQUEST_KEYS, view->n_keys);
    wire_put_uint(writer, TRAILER_SWEEPS, view->n_sweeps);
    wire_put_uint(writer, TRAILER_POINTS, view->points.n_points);
    wire_put_uint(writer, TRAILER_BARRIERS, view->points.n_barriers);
    wire_put_uint(writer, TRAILER_RECEIPTS, view->points.n_batches);
    wire_put_uint(writer, TRAILER_SESSIONS, view->points.n_sessions);
    wire_put_uint(writer, TRAILER_OBJECTS, view->n_objects);
    wire_put_fixed64(writer, TRAILER_DIGEST_LOW, view->digest.words[0]);
    wire_put_fixed64(writer, TRAILER_DIGEST_HIGH, view->digest.words[1]);
    wire_end(writer, mark);
}

static uint32_t phase_length(const struct store_view *view)
{
    switch (view->phase) {
    case VIEW_ROLES:
        return view->roles.n;
    case VIEW_GRANTS:
        return view->n_grants;
    case VIEW_REQUEST_KEYS:
        return view->n_keys;
    case VIEW_SWEEPS:
        return view->n_sweeps;
    case VIEW_POINTS:
        return view->points.n_points;
    case VIEW_BARRIERS:
        return view->points.n_barriers;
    case VIEW_RECEIPTS:
        return view->points.n_batches;
    case VIEW_SESSIONS:
        return view->points.n_sessions;
    case VIEW_OBJECTS:
        return view->n_objects;
    default:
        return 1;
    }
}

static void put_next(struct wire_writer *writer, struct store_view *view)
{
    uint32_t i = view->next;
    switch (view->phase) {
    case VIEW_HEADER:
        put_header(writer, view);
        break;
    case VIEW_ROLES:
        put_role(writer, &view->roles.entries[i]);
        break;
    case VIEW_GRANTS:
        put_grant(writer, view, view->sorted[i].slot);
        break;
    case VIEW_REQUEST_KEYS:
        i += view->first_key;
        put_key(writer, &view->keys[i / KEY_SEGMENT]->entries[i % KEY_SEGMENT]);
        break;
    case VIEW_SWEEPS:
        put_sweep(writer, view, i);
        break;
    case VIEW_POINTS:
        points_view_put_point(&view->points, i, view->chunks, writer);
        break;
    case VIEW_BARRIERS:
        points_view_put_barrier(&view->points, i, view->chunks, writer);
        break;
    case VIEW_RECEIPTS:
        points_view_put_receipts(&view->points, i, view->chunks, writer);
        break;
    case VIEW_SESSIONS:
        points_view_put_session(&view->points, i, view->chunks, writer);
        break;
    case VIEW_OBJECTS:
        put_object(writer, &view->objects[i]->object);
        break;
    case VIEW_TRAILER:
        put_trailer(writer, view);
        break;
    case VIEW_DONE:
        break;
    }
}

lapse_result store_view_read(struct store_view *view, size_t max, struct buf *out, bool *done)
{
    size_t start = out->len;
    enum view_phase phase = view->phase;
    uint32_t next = view->next;
    struct wire_writer writer = wire_writer(out);
    if (view->sorted == NULL) {
        sort_grants(view);
        extras_view_sort(&view->extras);
        points_view_sort(&view->points);
    }
    while (view->phase != VIEW_DONE && out->len - start < max) {
        if (view->next == phase_length(view)) {
            view->phase++;
            view->next = 0;
            continue;
        }
        put_next(&writer, view);
        if (writer.failed) {
            out->len = start;
            view->phase = phase;
            view->next = next;
            return lapse_failed(LAPSE_RESOURCE_EXHAUSTED);
        }
        view->next++;
    }
    /* Phases without records left take no room: the last piece says so at once. */
    while (view->phase != VIEW_DONE && view->next == phase_length(view)) {
        view->phase++;
        view->next = 0;
    }
    *done = view->phase == VIEW_DONE;
    return lapse_ok();
}
