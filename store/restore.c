/* Restoring a store from a snapshot's bytes. Nothing is trusted: each record is validated as if a client had sent it,
 * records must come in their order, and the counts and the digest at the end must be those of what was built.
 *
 *   feed: bytes -> whole records -> state (records, roles, keys)
 *   end:  state -> indexes in revision order, families, timers -> compare digest */
#include <stdlib.h>

#include "base/check.h"
#include "base/wire.h"
#include "store/governance.h"
#include "store/identifiers.h"
#include "store/internal.h"
#include "store/restore_points.h"
#include "store/snapshot.h"
#include "store/snapshot_grant.h"
#include "store/terms.h"

/* Input is taken in such pieces, so that a snapshot handed over whole is not copied whole. */
#define PIECE_BYTES (64u * 1024)
/* Tag and length of a record. */
#define PREFIX_BYTES_MAX 6u

struct store_restore {
    struct store *store;
    struct buf pending;
    uint64_t offset;      /* of the first pending byte */
    uint32_t last_field;  /* of Snapshot */
    lapse_result failure; /* sticky */
    uint64_t n_roles, n_grants, n_keys, n_sweeps, n_objects;
    struct restored_points points;
    struct grant_id last_id;
    struct store_digest digest; /* as the trailer says */
};

struct store_restore *store_restore_begin(const struct store_options *options)
{
    struct store_restore *restore = mem_calloc(1, sizeof *restore);
    restore->store = store_new(options);
    buf_init(&restore->pending, PIECE_BYTES + LIMIT_SNAPSHOT_RECORD + PREFIX_BYTES_MAX);
    return restore;
}

void store_restore_abort(struct store_restore *restore)
{
    if (restore == NULL)
        return;
    store_free(restore->store);
    buf_free(&restore->pending);
    free(restore);
}

/* What is wrong is said once, with the place; nothing can be fed afterwards. */
static lapse_result damaged(struct store_restore *restore, const char *what, struct lapse_error *error)
{
    restore->failure = lapse_failed(LAPSE_DATA_LOSS);
    return lapse_fail(error, LAPSE_DATA_LOSS,
                      "snapshot is damaged at offset %llu: %s; fetch it again or use another one",
                      (unsigned long long)restore->offset, what);
}

static const char *read_header(struct store_restore *restore, struct slice bytes)
{
    struct store *store = restore->store;
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    uint64_t version = 0;
    uint32_t last = 0;
    struct slice cluster = {0}, chain = {0};
    bool good = true;
    while (good && wire_next(&reader, &field)) {
        good = field.number > last;
        last = field.number;
        if (field.number == HEADER_VERSION)
            good = good && field_u64(&field, &version);
        else if (field.number == HEADER_EPOCH)
            good = good && field_u64(&field, &store->epoch);
        else if (field.number == HEADER_CLUSTER)
            good = good && field_bytes(&field, &cluster);
        else if (field.number == HEADER_REVISION)
            good = good && field_u64(&field, &store->revision);
        else if (field.number == HEADER_TIME_MS)
            good = good && field_ms(&field, &store->time_ms);
        else if (field.number == HEADER_CHAIN)
            good = good && field_bytes(&field, &chain);
        else
            good = false;
    }
    if (!good || reader.failed)
        return "bad header";
    if (version != SNAPSHOT_FORMAT_VERSION)
        return "unknown format version";
    if (chain.len != sizeof store->chain.hash)
        return "bad head of the audit chain";
    memcpy(store->chain.hash, chain.data, chain.len);
    if (store->epoch > INT64_MAX || store->revision >= U48_MAX || store->time_ms > LIMIT_TIME_MS_MAX)
        return "header out of range";
    if (!lapse_is_ok(token_validate(cluster, LIMIT_CLUSTER, "cluster", NULL)) ||
        (cluster.len == 0) != (store->epoch == 0))
        return "bad cluster name";
    if (cluster.len > 0)
        memcpy(store->cluster, cluster.data, cluster.len);
    store->cluster_len = (uint32_t)cluster.len;
    return NULL;
}

static const char *read_role(struct store_restore *restore, struct slice bytes)
{
    struct roles *roles = &restore->store->roles;
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    struct slice member = {0}, scope = {0};
    uint32_t bits = 0, last = 0;
    bool good = true;
    while (good && wire_next(&reader, &field)) {
        good = field.number > last && (field.number == ROLE_MEMBER  ? field_bytes(&field, &member)
                                       : field.number == ROLE_BITS  ? field_u32(&field, &bits)
                                       : field.number == ROLE_SCOPE ? field_bytes(&field, &scope)
                                                                    : false);
        last = field.number;
    }
    if (!good || reader.failed || !lapse_is_ok(member_validate(member, NULL)) || bits == 0 || (bits & ~ROLE_ALL) != 0)
        return "bad role binding";
    if (!lapse_is_ok(scope_validate(scope, NULL)) || (scope.len > 0 && (bits & ROLE_ENFORCER) == 0))
        return "bad scope of a role binding";
    if (roles->n == LIMIT_ROLE_BINDINGS)
        return "too many role bindings";
    if (roles->n > 0 && slice_compare(role_member(&roles->entries[roles->n - 1]), member) >= 0)
        return "role bindings out of order";
    roles_set(roles, member, bits, scope, &restore->store->sum);
    restore->n_roles++;
    return NULL;
}

static const char *read_grant(struct store_restore *restore, struct slice bytes)
{
    struct store *store = restore->store;
    struct grant grant;
    const char *why = snapshot_grant_decode(bytes, &grant);
    if (why != NULL)
        return why;
    if (restore->n_grants > 0 && grant_id_compare(restore->last_id, grant.id) >= 0)
        return "grants out of order";
    if (grant.revision > store->revision || grant.requested_ms > store->time_ms || grant.approved_ms > store->time_ms ||
        grant.activated_ms > store->time_ms || grant.ended_ms > store->time_ms)
        return "a grant from the future";
    if (!grant_state_is_ended(grant.state) && store_live(store) >= store->live_max)
        return "too many live grants";
    snapshot_grant_insert(store, &grant);
    restore->last_id = grant.id;
    restore->n_grants++;
    return NULL;
}

static bool decode_key(struct slice bytes, struct key_entry *entry)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    struct slice key = {0};
    uint64_t revision = 0;
    int64_t time_ms = 0;
    uint32_t last = 0;
    bool good = true;
    while (good && wire_next(&reader, &field)) {
        good = field.number > last;
        last = field.number;
        if (field.number == KEY_FIELD_KEY)
            good = good && field_bytes(&field, &key);
        else if (field.number == KEY_FIELD_GRANT)
            good = good && field_id(&field, &entry->grant);
        else if (field.number == KEY_FIELD_CONTENT)
            good = good && field_u32(&field, &entry->content);
        else if (field.number == KEY_FIELD_TIME_MS)
            good = good && field_ms(&field, &time_ms);
        else if (field.number == KEY_FIELD_REVISION)
            good = good && field_u64(&field, &revision);
        else
            good = false;
    }
    if (!good || reader.failed || key.len != sizeof entry->key.bytes || revision > U48_MAX ||
        (uint64_t)time_ms > U48_MAX)
        return false;
    memcpy(entry->key.bytes, key.data, key.len);
    entry->revision = u48_of(revision);
    entry->time_ms = u48_of((uint64_t)time_ms);
    return true;
}

static const char *read_key(struct store_restore *restore, struct slice bytes)
{
    struct store *store = restore->store;
    struct key_entry entry = {0};
    if (!decode_key(bytes, &entry))
        return "bad request key";
    if (store->keys.n >= store->keys.max)
        return "too many request keys";
    const struct key_entry *newest = keys_newest(&store->keys);
    bool ascends = newest == NULL || (u48_get(newest->revision) < u48_get(entry.revision) &&
                                      u48_get(newest->time_ms) <= u48_get(entry.time_ms));
    if (!ascends || u48_get(entry.revision) > store->revision || (int64_t)u48_get(entry.time_ms) > store->time_ms)
        return "request keys out of order";
    keys_append(&store->keys, &entry, &store->sum);
    restore->n_keys++;
    return NULL;
}

static const char *read_sweep(struct store_restore *restore, struct slice bytes)
{
    restore->n_sweeps++;
    return sweeps_read(restore->store, bytes);
}

static const char *read_trailer(struct store_restore *restore, struct slice bytes)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    uint64_t values[TRAILER_DIGEST_HIGH + 1] = {0};
    uint32_t last = 0;
    while (wire_next(&reader, &field)) {
        bool digest = field.number == TRAILER_DIGEST_LOW || field.number == TRAILER_DIGEST_HIGH;
        if (field.number <= last || field.number > TRAILER_DIGEST_HIGH ||
            field.type != (digest ? WIRE_FIXED64 : WIRE_VARINT))
            return "bad trailer";
        values[field.number] = field.value;
        last = field.number;
    }
    const uint64_t counts[] = {
        [TRAILER_ROLES] = restore->n_roles,
        [TRAILER_GRANTS] = restore->n_grants,
        [TRAILER_REQUEST_KEYS] = restore->n_keys,
        [TRAILER_SWEEPS] = restore->n_sweeps,
        [TRAILER_POINTS] = restore->points.n_points,
        [TRAILER_BARRIERS] = restore->points.n_barriers,
        [TRAILER_RECEIPTS] = restore->points.n_receipts,
        [TRAILER_SESSIONS] = restore->points.n_sessions,
        [TRAILER_OBJECTS] = restore->n_objects,
    };
    if (reader.failed || memcmp(values, counts, sizeof counts) != 0)
        return "records are missing";
    restore->digest = (struct store_digest){{values[TRAILER_DIGEST_LOW], values[TRAILER_DIGEST_HIGH]}};
    return NULL;
}

static const char *read_record(struct store_restore *restore, uint32_t number, struct slice bytes)
{
    bool once = number == SNAPSHOT_HEADER || number == SNAPSHOT_TRAILER;
    if (restore->last_field == 0 && number != SNAPSHOT_HEADER)
        return "no header";
    if (number < restore->last_field || (once && number == restore->last_field))
        return "records out of order";
    restore->last_field = number;
    switch (number) {
    case SNAPSHOT_HEADER:
        return read_header(restore, bytes);
    case SNAPSHOT_ROLE:
        return read_role(restore, bytes);
    case SNAPSHOT_GRANT:
        return read_grant(restore, bytes);
    case SNAPSHOT_REQUEST_KEY:
        return read_key(restore, bytes);
    case SNAPSHOT_SWEEP:
        return read_sweep(restore, bytes);
    case SNAPSHOT_POINT:
        return restore_point(restore->store, &restore->points, bytes);
    case SNAPSHOT_BARRIER:
        return restore_barrier(restore->store, &restore->points, bytes);
    case SNAPSHOT_RECEIPTS:
        return restore_receipts(restore->store, &restore->points, bytes);
    case SNAPSHOT_SESSION:
        return restore_session(restore->store, &restore->points, bytes);
    case SNAPSHOT_OBJECT:
        restore->n_objects++;
        return object_read(&restore->store->objects, &restore->store->sum, bytes);
    case SNAPSHOT_TRAILER:
        return read_trailer(restore, bytes);
    default:
        return "unknown record";
    }
}

/* The size of the record at the front of `bytes`, tag and length included; 0 when more bytes are needed to tell,
 * SIZE_MAX when it is none. */
static size_t record_size(struct slice bytes)
{
    size_t length = 0, at = 1;
    if (bytes.len < 2)
        return 0;
    for (unsigned shift = 0;; shift += 7, at++) {
        if (at >= PREFIX_BYTES_MAX)
            return SIZE_MAX;
        if (at >= bytes.len)
            return 0;
        length |= (size_t)(bytes.data[at] & 0x7F) << shift;
        if (bytes.data[at] < 0x80)
            break;
    }
    return (bytes.data[0] & 7) != WIRE_BYTES || length > LIMIT_SNAPSHOT_RECORD ? SIZE_MAX : at + 1 + length;
}

/* Reads the whole records at the front of what is pending. */
static lapse_result read_pending(struct store_restore *restore, struct lapse_error *error)
{
    size_t used = 0;
    for (;;) {
        struct slice rest = slice_of(restore->pending.data + used, restore->pending.len - used);
        struct wire_field field;
        size_t size = record_size(rest);
        if (size != SIZE_MAX && (size == 0 || size > rest.len))
            break;
        rest.len = size;
        struct wire_reader reader = wire_reader(size == SIZE_MAX ? (struct slice){0} : rest);
        if (size == SIZE_MAX || !wire_next(&reader, &field))
            return damaged(restore, "not a record", error);
        const char *why = read_record(restore, field.number, field.bytes);
        if (why != NULL)
            return damaged(restore, why, error);
        used += size;
        restore->offset += size;
    }
    buf_consume(&restore->pending, used);
    return lapse_ok();
}

lapse_result store_restore_feed(struct store_restore *restore, struct slice bytes, struct lapse_error *error)
{
    lapse_result result = restore->failure;
    if (!lapse_is_ok(result))
        return lapse_fail(error, result.code, "snapshot is damaged; start again with another one");
    while (bytes.len > 0 && lapse_is_ok(result)) {
        size_t piece = bytes.len < PIECE_BYTES ? bytes.len : PIECE_BYTES;
        result = buf_append(&restore->pending, bytes.data, piece);
        CHECK(lapse_is_ok(result));
        bytes = slice_of(bytes.data + piece, bytes.len - piece);
        result = read_pending(restore, error);
    }
    return result;
}

static bool digest_agrees(const struct store_restore *restore)
{
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    /* So that a fuzzer gets behind it: whoever can write a snapshot can also write its digest. */
    (void)restore;
    return true;
#else
    struct store_digest digest = store_digest(restore->store);
    return digest.words[0] == restore->digest.words[0] && digest.words[1] == restore->digest.words[1];
#endif
}

static lapse_result finish(struct store_restore *restore, struct lapse_error *error)
{
    if (!lapse_is_ok(restore->failure))
        return lapse_fail(error, restore->failure.code, "snapshot is damaged; start again with another one");
    if (restore->last_field != SNAPSHOT_TRAILER || restore->pending.len > 0)
        return damaged(restore, "it ends too early", error);
    const char *why = restore_points_link(restore->store);
    if (why == NULL && !digest_agrees(restore))
        why = "its digest is another";
    if (why == NULL)
        why = snapshot_grants_link(restore->store);
    if (why == NULL)
        why = governance_link(restore->store);
    if (why == NULL)
        why = tokens_link(restore->store);
    if (why != NULL)
        return damaged(restore, why, error);
    sweeps_link(restore->store);
    return lapse_ok();
}

lapse_result store_restore_end(struct store_restore *restore, struct store **store, struct lapse_error *error)
{
    lapse_result result = finish(restore, error);
    if (lapse_is_ok(result)) {
        *store = restore->store;
        restore->store = NULL;
    }
    store_restore_abort(restore);
    return result;
}
