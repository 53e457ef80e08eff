#include "store/sessions.h"

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
    *sessions = (struct sessions){0};
}

size_t sessions_bytes(const struct sessions *sessions)
{
    return slabs_bytes(&sessions->items) + table_bytes(&sessions->table);
}

uint32_t sessions_find(const struct sessions *sessions, const struct random_id *id)
{
    uint32_t item = table_first(&sessions->table, hash_id(sessions, id));
    while (item != 0 && memcmp(session_at(sessions, item)->id.bytes, id->bytes, sizeof id->bytes) != 0)
        item = session_at(sessions, item)->next;
    return item;
}

uint32_t sessions_insert(struct sessions *sessions, struct points *points, const struct session_item *session)
{
    struct point_item *point = points_at(points, session->point);
    uint32_t item = slabs_take(&sessions->items);
    struct session_item *place = slabs_edit(&sessions->items, item);
    *place = *session;
    place->next = place->previous = 0;
    place->following = point->first_session;
    if (place->following != 0)
        session_at(sessions, place->following)->previous = item;
    point->first_session = item;
    point->sessions++;
    sessions->n++;
    table_insert(&sessions->table, item, hash_id(sessions, &place->id));
    return item;
}

void sessions_erase(struct sessions *sessions, struct points *points, uint32_t item)
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
    sessions->n--;
    table_remove(&sessions->table, item, hash_item(sessions, item));
    slabs_give(&sessions->items, item);
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
