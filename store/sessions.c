#include "store/sessions.h"

#include <stdlib.h>

#include "base/check.h"
#include "store/hash.h"

static uint64_t hash_id(const struct sessions *sessions, const struct random_id *id)
{
    return XXH3_64bits_withSeed(id->bytes, sizeof id->bytes, sessions->seed);
}

static uint64_t hash_item(const void *owner, uint32_t item)
{
    return hash_id(owner, &session_at(owner, item)->id);
}

static uint32_t *next_item(const void *owner, uint32_t item)
{
    return &session_at(owner, item)->next;
}

static const void *key_of_item(const void *owner, uint32_t item)
{
    return &session_at(owner, item)->id;
}

static const struct table_ops table_ops = {hash_item, next_item, key_of_item};

void sessions_init(struct sessions *sessions, uint64_t seed)
{
    *sessions = (struct sessions){.seed = seed};
    slabs_init(&sessions->items, sizeof(struct session_item));
    table_init(&sessions->table, &table_ops, sessions);
}

void sessions_free(struct sessions *sessions)
{
    slabs_free(&sessions->items);
    table_free(&sessions->table);
    free(sessions->gone);
    *sessions = (struct sessions){0};
}

size_t sessions_bytes(const struct sessions *sessions)
{
    return slabs_bytes(&sessions->items) + table_bytes(&sessions->table);
}

uint32_t sessions_find(const struct sessions *sessions, const struct points *points, const struct random_id *id)
{
    uint32_t item = table_first(&sessions->table, hash_id(sessions, id));
    for (; item != 0; item = session_at(sessions, item)->next) {
        const struct session_item *session = session_at(sessions, item);
        if (memcmp(session->id.bytes, id->bytes, sizeof id->bytes) == 0 &&
            session_is_live(session, points_at(points, session->point)))
            break;
    }
    return item;
}

uint32_t sessions_insert(struct sessions *sessions, struct points *points, const struct session_item *session,
                         struct store_digest digest)
{
    struct point_item *point = points_at(points, session->point);
    uint32_t item = slabs_take(&sessions->items);
    struct session_item *place = slabs_edit(&sessions->items, item);
    *place = *session;
    place->next = place->previous = 0;
    place->registered = point->revision;
    place->following = point->first_session;
    if (place->following != 0)
        session_at(sessions, place->following)->previous = item;
    point->first_session = item;
    point->sessions++;
    digest_add(&point->sessions_sum, digest);
    sessions->n++;
    table_insert(&sessions->table, item, hash_id(sessions, &place->id));
    return item;
}

static void free_item(struct sessions *sessions, uint32_t item)
{
    table_remove(&sessions->table, item, hash_item(sessions, item));
    slabs_give(&sessions->items, item);
}

void sessions_erase(struct sessions *sessions, struct points *points, uint32_t item, struct store_digest digest)
{
    const struct session_item *place = session_at(sessions, item);
    struct point_item *point = points_at(points, place->point);
    if (place->previous == 0)
        point->first_session = place->following;
    else
        session_at(sessions, place->previous)->following = place->following;
    if (place->following != 0)
        session_at(sessions, place->following)->previous = place->previous;
    CHECK(point->sessions > 0 && sessions->n > 0);
    point->sessions--;
    digest_sub(&point->sessions_sum, digest);
    sessions->n--;
    free_item(sessions, item);
}

void sessions_leave(struct sessions *sessions, struct point_item *point)
{
    if (point->sessions == 0)
        return;
    if (sessions->n_gone == sessions->gone_capacity) {
        sessions->gone_capacity = sessions->gone_capacity == 0 ? 16 : sessions->gone_capacity * 2;
        sessions->gone = mem_realloc(sessions->gone, sessions->gone_capacity * sizeof sessions->gone[0]);
    }
    sessions->gone[sessions->n_gone++] = point->first_session;
    sessions->n -= point->sessions;
    point->sessions = 0;
    point->first_session = 0;
    point->sessions_sum = (struct store_digest){{0}};
}

string_id sessions_reap(struct sessions *sessions)
{
    CHECK(sessions->n_gone > 0);
    uint32_t item = sessions->gone[sessions->n_gone - 1];
    const struct session_item *session = session_at(sessions, item);
    string_id description = session->description;
    sessions->gone[sessions->n_gone - 1] = session->following;
    if (session->following == 0)
        sessions->n_gone--;
    free_item(sessions, item);
    return description;
}

void session_read(const struct sessions *sessions, const struct points *points, uint32_t item, uint8_t *const *chunks,
                  struct session *session)
{
    const struct session_item *place = session_at(sessions, item);
    const struct point_item *point = points_at(points, place->point);
    *session = (struct session){
        .id = place->id,
        .instance = point->instance,
        .point = string_at(chunks, point->id),
        .grant = place->grant,
        .description = string_at(chunks, place->description),
        .began_ms = (int64_t)u48_get(place->began_ms),
    };
}

struct store_digest session_digest(const struct session_item *item, const struct point_item *point,
                                   uint8_t *const *chunks)
{
    struct digest_message message;
    message.len = 0;
    digest_put(&message, item->id.bytes, sizeof item->id.bytes);
    digest_put(&message, item->grant.bytes, sizeof item->grant.bytes);
    digest_put(&message, &item->began_ms, sizeof item->began_ms);
    digest_put(&message, &point->revision, sizeof point->revision);
    digest_put_string(&message, chunks, item->description);
    return digest_of_message(DIGEST_SESSION, &message);
}
