/* Reads points before barriers, barriers before their receipts: each record can be judged when it comes, but for what a
 * barrier's receipts sum up to. A new store hands out its items in order, so point `i` of a snapshot is item i + 1. */
#include "store/restore_points.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/wire.h"
#include "store/command_internal.h"
#include "store/identifiers.h"
#include "store/snapshot.h"
#include "store/terms.h"

static bool is_past(const struct store *store, int64_t time_ms)
{
    return time_ms >= 0 && time_ms <= store->time_ms;
}

static bool is_told(const struct store *store, uint64_t revision)
{
    return revision > 0 && revision <= store->revision;
}

/* Points */

static bool point_field(const struct wire_field *field, struct point *point, uint32_t *state)
{
    switch (field->number) {
    case POINT_FIELD_INSTANCE:
        return field_random_id(field, &point->instance);
    case POINT_FIELD_ID:
        return field_bytes(field, &point->id);
    case POINT_FIELD_PRINCIPAL:
        return field_bytes(field, &point->principal);
    case POINT_FIELD_SCOPE:
        return field_bytes(field, &point->scope);
    case POINT_FIELD_LEASE_MS:
        return field_u32(field, &point->lease_ms);
    case POINT_FIELD_STATE:
        return field_u32(field, state);
    case POINT_FIELD_REVISION:
        return field_u64(field, &point->revision);
    case POINT_FIELD_REGISTERED_MS:
        return field_ms(field, &point->registered_ms);
    default:
        return false;
    }
}

static bool point_valid(const struct point *point, uint32_t state)
{
    bool registered = state == POINT_LIVE || state == POINT_FENCED;
    if (random_id_is_zero(&point->instance) || !lapse_is_ok(point_id_validate(point->id, NULL)) ||
        point->lease_ms < LIMIT_LEASE_MS_MIN || point->lease_ms > LIMIT_LEASE_MS_MAX)
        return false;
    if (!registered)
        return state == POINT_OVER && point->principal.len == 0 && point->scope.len == 0;
    return lapse_is_ok(principal_validate(point->principal, "principal", NULL)) && point->scope.len > 0 &&
           lapse_is_ok(scope_validate(point->scope, NULL));
}

static void insert_point(struct store *store, const struct point *point, uint32_t state)
{
    const struct point_item item = {
        .state = (uint8_t)state,
        .instance = point->instance,
        .revision = u48_of(point->revision),
        .registered_ms = u48_of((uint64_t)point->registered_ms),
        .lease_ms = point->lease_ms,
        .id = strings_intern(&store->strings, point->id),
        .principal = strings_intern(&store->strings, point->principal),
        .scope = strings_intern(&store->strings, point->scope),
    };
    (void)points_insert(&store->points, store->strings.chunks, &item);
    digest_add(&store->sum, point_digest(&item, store->strings.chunks));
}

const char *restore_point(struct store *store, struct restored_points *read, struct slice bytes)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    struct point point = {0};
    uint32_t last = 0, state = 0;
    bool good = true;
    while (good && wire_next(&reader, &field)) {
        good = field.number > last && point_field(&field, &point, &state);
        last = field.number;
    }
    if (!good || reader.failed || !point_valid(&point, state))
        return "bad point";
    if (point.revision <= read->revision || !is_told(store, point.revision) || !is_past(store, point.registered_ms))
        return "points out of order";
    if (points_find(&store->points, &point.instance) != 0)
        return "two points of one instance";
    if (state == POINT_OVER ? store->points.n_over >= LIMIT_RECEIPTS : store->points.n >= LIMIT_POINTS)
        return "too many points";
    insert_point(store, &point, state);
    read->revision = point.revision;
    read->n_points++;
    return NULL;
}

/* 0 when none registered at that revision. */
static uint32_t find_point(const struct store *store, uint64_t revision)
{
    uint32_t low = 1, high = store->points.items.n_items;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (u48_get(points_at(&store->points, middle)->revision) < revision)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < store->points.items.n_items && u48_get(points_at(&store->points, low)->revision) == revision;
    return found ? low : 0;
}

/* Barriers */

struct barrier_record {
    struct barrier barrier;
    uint64_t done_revision;
    uint32_t untracked;
};

static bool barrier_field(const struct wire_field *field, struct barrier_record *record)
{
    struct barrier *barrier = &record->barrier;
    switch (field->number) {
    case BARRIER_FIELD_ID:
        return field_u64(field, &barrier->id);
    case BARRIER_FIELD_REVISION:
        return field_u64(field, &barrier->revision);
    case BARRIER_FIELD_GRANT:
        return field_id(field, &barrier->grant);
    case BARRIER_FIELD_SCOPE:
        return field_bytes(field, &barrier->scope);
    case BARRIER_FIELD_TIME_MS:
        return field_ms(field, &barrier->time_ms);
    case BARRIER_FIELD_GRANTS:
        return field_u64(field, &barrier->grants);
    case BARRIER_FIELD_POINTS:
        return field_u32(field, &barrier->points);
    case BARRIER_FIELD_DONE_MS:
        return field_ms(field, &barrier->done_ms);
    case BARRIER_FIELD_DONE_REVISION:
        return field_u64(field, &record->done_revision);
    case BARRIER_FIELD_UNTRACKED:
        return field_u32(field, &record->untracked) && record->untracked <= 1;
    default:
        return false;
    }
}

/* Revocations of one grant have a track when they have points, sweeps and locks always. */
static bool has_track(const struct barrier_record *record)
{
    return grant_id_is_zero(record->barrier.grant) || record->barrier.points > 0;
}

/* What is done, was done when it had to receive something, and not before. */
static bool done_valid(const struct store *store, const struct barrier_record *record)
{
    const struct barrier *barrier = &record->barrier;
    if (record->done_revision == 0)
        return barrier->done_ms == 0 && !record->untracked && (barrier->revision == 0) == (barrier->points == 0);
    return barrier->revision > 0 && record->done_revision >= barrier->revision &&
           is_told(store, record->done_revision) && barrier->done_ms >= barrier->time_ms &&
           is_past(store, barrier->done_ms) && (barrier->points == 0 || !record->untracked) &&
           (barrier->points > 0) == (record->done_revision > barrier->revision);
}

static bool barrier_valid(const struct store *store, const struct barrier_record *record)
{
    const struct barrier *barrier = &record->barrier;
    if (!lapse_is_ok(resource_validate(barrier->scope, true, NULL)) || barrier->grants > INT32_MAX ||
        barrier->points > LIMIT_POINTS || !is_past(store, barrier->time_ms))
        return false;
    if (!has_track(record))
        return barrier->revision == 0 && record->done_revision == 0 && barrier->done_ms == 0;
    if (grant_id_is_zero(barrier->grant))
        return (barrier->revision == 0 || (barrier->revision >= barrier->id && is_told(store, barrier->revision))) &&
               done_valid(store, record);
    return barrier->revision == barrier->id && !record->untracked && done_valid(store, record);
}

static void insert_track(struct store *store, uint32_t item, const struct barrier_record *record)
{
    struct barriers *barriers = &store->barriers;
    const struct barrier *barrier = &record->barrier;
    uint32_t track = slabs_take(&barriers->tracks), weight = barrier->points == 0 ? 1 : barrier->points;
    struct track_item *place = track_at(barriers, track);
    place->revision = u48_of(barrier->revision);
    place->done_ms = u48_of((uint64_t)barrier->done_ms);
    place->done_revision = u48_of(record->done_revision);
    place->block = barrier->points == 0 ? NULL : receipt_block_new(barriers, barrier->points);
    barrier_at(barriers, item)->track = track;
    barriers->places += weight;
    if (record->done_revision != 0)
        return; /* listed by restore_points_link() */
    barriers->places_open += weight;
    barriers_append(barriers, &barriers->open, item);
}

static void insert_barrier(struct store *store, const struct barrier_record *record)
{
    struct barriers *barriers = &store->barriers;
    const struct barrier *barrier = &record->barrier;
    uint32_t item = slabs_take(&barriers->items);
    struct barrier_item *place = barrier_at(barriers, item);
    place->scope = strings_intern(&store->strings, barrier->scope);
    place->grant = barrier->grant;
    place->id = u48_of(barrier->id);
    place->time_ms = u48_of((uint64_t)barrier->time_ms);
    place->grants = barrier->grants & INT32_MAX;
    place->untracked = record->untracked & 1;
    barriers_index(barriers, item);
    if (has_track(record))
        insert_track(store, item, record);
    else
        barriers_append(barriers, &barriers->plain, item);
}

static bool has_room(const struct store *store, const struct barrier_record *record)
{
    const struct barriers *barriers = &store->barriers;
    if (!has_track(record))
        return barriers->plain.n < store->ended_max;
    uint32_t weight = record->barrier.points == 0 ? 1 : record->barrier.points;
    return barriers->places + weight <= LIMIT_RECEIPTS + LIMIT_SWEEPS &&
           barriers->open.n < LIMIT_BARRIERS_OPEN + LIMIT_SWEEPS;
}

const char *restore_barrier(struct store *store, struct restored_points *read, struct slice bytes)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    struct barrier_record record = {0};
    uint32_t last = 0;
    bool good = true;
    while (good && wire_next(&reader, &field)) {
        good = field.number > last && barrier_field(&field, &record);
        last = field.number;
    }
    if (!good || reader.failed || !barrier_valid(store, &record))
        return "bad barrier";
    uint64_t previous = read->n_barriers == 0 ? 0 : read->revision;
    if (record.barrier.id <= previous || !is_told(store, record.barrier.id))
        return "barriers out of order";
    if (!has_room(store, &record))
        return "too many barriers";
    insert_barrier(store, &record);
    read->revision = record.barrier.id;
    read->n_barriers++;
    return NULL;
}

/* Receipts */

struct place_record {
    uint64_t point;
    uint32_t level;
    int64_t time_ms;
    struct slice reason;
};

static bool place_decode(struct slice bytes, struct place_record *place)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    uint32_t last = 0;
    bool good = true;
    while (good && wire_next(&reader, &field)) {
        good = field.number > last;
        last = field.number;
        if (field.number == PLACE_FIELD_POINT)
            good = good && field_u64(&field, &place->point);
        else if (field.number == PLACE_FIELD_LEVEL)
            good = good && field_u32(&field, &place->level);
        else if (field.number == PLACE_FIELD_TIME_MS)
            good = good && field_ms(&field, &place->time_ms);
        else if (field.number == PLACE_FIELD_REASON)
            good = good && field_bytes(&field, &place->reason);
        else
            good = false;
    }
    if (!good || reader.failed || place->level > RECEIPT_LEFT || place->time_ms > LIMIT_TIME_MS_MAX)
        return false;
    bool waits = place->level == 0;
    return lapse_is_ok(text_validate(place->reason, LIMIT_RECEIPT_REASON, "reason", NULL)) &&
           (!waits || (place->time_ms == 0 && place->reason.len == 0));
}

static uint32_t places_filled(const struct track_item *track)
{
    uint32_t n = 0;
    for (size_t level = 0; level < ARRAY_LEN(track->counts); level++)
        n += track->counts[level];
    return n;
}

static const char *insert_place(struct store *store, const struct barrier_item *barrier, struct track_item *track,
                                const struct place_record *record)
{
    uint32_t n = places_filled(track), item = find_point(store, record->point);
    struct receipt_entry *entries = track->block == NULL ? NULL : track->block->entries;
    if (entries == NULL || n == track->block->n)
        return "a barrier with more receipts than points";
    if (item == 0 || record->point >= u48_get(track->revision) ||
        (n > 0 && record->point <= u48_get(entries[n - 1].revision)))
        return "receipts out of order";
    struct point_item *point = points_at(&store->points, item);
    if (record->level == 0 && (point->state == POINT_OVER || u48_get(track->done_revision) != 0))
        return "a barrier that waits in vain";
    entries[n] = (struct receipt_entry){
        .revision = u48_of(record->point),
        .time_ms = u48_of((uint64_t)record->time_ms),
        .point = item,
        .reason = strings_intern(&store->strings, record->reason),
        .level = (uint8_t)record->level,
    };
    track->counts[record->level]++;
    track->members += receipt_member(record->point);
    point->named++;
    if (record->level == 0)
        point->waits++;
    else
        digest_add(&store->sum, receipt_digest(u48_get(barrier->id), &entries[n], store->strings.chunks));
    return NULL;
}

const char *restore_receipts(struct store *store, struct restored_points *read, struct slice bytes)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    uint64_t id = 0;
    if (!wire_next(&reader, &field) || field.number != RECEIPTS_FIELD_BARRIER || !field_u64(&field, &id))
        return "bad receipts";
    uint32_t item = barriers_find(&store->barriers, id), n = 0;
    const struct barrier_item *barrier = item == 0 ? NULL : barrier_at(&store->barriers, item);
    if (barrier == NULL || barrier->track == 0)
        return "receipts without their barrier";
    for (; wire_next(&reader, &field); n++) {
        struct place_record place = {0};
        struct slice inner;
        if (field.number != RECEIPTS_FIELD_PLACE || !field_bytes(&field, &inner) || !place_decode(inner, &place))
            return "bad receipt";
        const char *why = insert_place(store, barrier, track_at(&store->barriers, barrier->track), &place);
        if (why != NULL)
            return why;
    }
    if (reader.failed || n == 0 || n > SNAPSHOT_PLACES)
        return "bad receipts";
    read->n_receipts++;
    return NULL;
}

/* Sessions */

static bool session_decode(struct slice bytes, struct session *session, uint64_t *point)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    uint32_t last = 0;
    bool good = true;
    while (good && wire_next(&reader, &field)) {
        good = field.number > last;
        last = field.number;
        if (field.number == SESSION_FIELD_ID)
            good = good && field_random_id(&field, &session->id);
        else if (field.number == SESSION_FIELD_POINT)
            good = good && field_u64(&field, point);
        else if (field.number == SESSION_FIELD_GRANT)
            good = good && field_id(&field, &session->grant);
        else if (field.number == SESSION_FIELD_DESCRIPTION)
            good = good && field_bytes(&field, &session->description);
        else if (field.number == SESSION_FIELD_BEGAN_MS)
            good = good && field_ms(&field, &session->began_ms);
        else
            good = false;
    }
    return good && !reader.failed && !grant_id_is_zero(session->grant) &&
           lapse_is_ok(token_validate(session->description, LIMIT_SESSION_DESCRIPTION, "description", NULL));
}

const char *restore_session(struct store *store, struct restored_points *read, struct slice bytes)
{
    struct session session = {0};
    uint64_t revision = 0;
    if (!session_decode(bytes, &session, &revision) || !is_past(store, session.began_ms))
        return "bad session";
    /* The first one is above zero, too. */
    if (memcmp(read->session.bytes, session.id.bytes, sizeof session.id.bytes) >= 0)
        return "sessions out of order";
    uint32_t point = find_point(store, revision);
    if (point == 0 || points_at(&store->points, point)->state == POINT_OVER)
        return "a session without its point";
    if (store->sessions.n >= LIMIT_SESSIONS || points_at(&store->points, point)->sessions >= LIMIT_SESSIONS_PER_POINT)
        return "too many sessions";
    const struct session_item item = {
        .point = point,
        .description = strings_intern(&store->strings, session.description),
        .began_ms = u48_of((uint64_t)session.began_ms),
        .id = session.id,
        .grant = session.grant,
    };
    struct store_digest digest = session_digest(&item, points_at(&store->points, point), store->strings.chunks);
    (void)sessions_insert(&store->sessions, &store->points, &item, digest);
    digest_add(&store->sum, digest);
    read->session = session.id;
    read->n_sessions++;
    return NULL;
}

/* Link */

struct kept {
    uint64_t done_revision;
    uint32_t item;
};

static int compare_kept(const void *a, const void *b)
{
    const struct kept *x = a, *y = b;
    return x->done_revision < y->done_revision ? -1 : x->done_revision > y->done_revision;
}

/* Lists what is done in the order in which that came about. */
static const char *list_kept(struct barriers *barriers, struct kept *kept, uint32_t n)
{
    if (n > 0)
        qsort(kept, n, sizeof kept[0], compare_kept);
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0 && kept[i].done_revision == kept[i - 1].done_revision)
            return "two barriers done by one event";
        barriers_append(barriers, &barriers->kept, kept[i].item);
    }
    return NULL;
}

static bool is_at_work(const struct store *store, uint64_t id)
{
    for (uint32_t i = 0; i < store->sweeps.n; i++)
        if (store->sweeps.entries[i].id == id)
            return true;
    return false;
}

static const char *check_track(const struct store *store, const struct barrier_item *barrier, uint32_t *at_work)
{
    const struct track_item *track = track_at(&store->barriers, barrier->track);
    if (places_filled(track) != (track->block == NULL ? 0 : track->block->n))
        return "a barrier with fewer receipts than points";
    if (u48_get(track->revision) == 0) {
        ++*at_work;
        return is_at_work(store, u48_get(barrier->id)) ? NULL : "a barrier without its sweep";
    }
    bool open = u48_get(track->done_revision) == 0;
    return open == (track->counts[0] > 0) ? NULL : "an open barrier that waits for nobody";
}

static const char *check_barriers(struct store *store, struct kept *kept, uint32_t *n_kept)
{
    struct barriers *barriers = &store->barriers;
    uint32_t at_work = 0;
    for (uint32_t item = 1; item < barriers->items.n_items; item++) {
        const struct barrier_item *barrier = barrier_at(barriers, item);
        const struct track_item *track = barrier->track == 0 ? NULL : track_at(barriers, barrier->track);
        const char *why = track == NULL ? NULL : check_track(store, barrier, &at_work);
        if (why != NULL)
            return why;
        if (track != NULL && u48_get(track->done_revision) != 0)
            kept[(*n_kept)++] = (struct kept){u48_get(track->done_revision), item};
        digest_add(&store->sum, barrier_digest(barrier, track, store->strings.chunks));
    }
    return at_work == store->sweeps.n ? NULL : "a sweep without its barrier";
}

static const char *check_points(const struct store *store)
{
    for (uint32_t item = 1; item < store->points.items.n_items; item++) {
        const struct point_item *point = points_at(&store->points, item);
        if (point->state == POINT_OVER && point->named == 0)
            return "a point that is over and in no receipt";
    }
    return NULL;
}

const char *restore_points_link(struct store *store)
{
    struct kept *kept = mem_alloc(store->barriers.tracks.n_items * sizeof kept[0]);
    uint32_t n = 0;
    const char *why = check_points(store);
    if (why == NULL)
        why = check_barriers(store, kept, &n);
    if (why == NULL)
        why = list_kept(&store->barriers, kept, n);
    free(kept);
    return why;
}
