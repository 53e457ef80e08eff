/* Sessions: uses of grants that enforcement points report. Internal to store/. Each is found by its id and hangs in the
 * chain of its point, with which it goes: tens of thousands in one step. What is left of them then is no state any
 * more, cannot be found, and is freed a few at a time. */
#ifndef LAPSE_STORE_SESSIONS_H
#define LAPSE_STORE_SESSIONS_H

#include "store/digest.h"
#include "store/point_table.h"

struct session_item {
    uint32_t next;                /* in the hash chain of ids */
    uint32_t previous, following; /* in the point's chain; derived */
    /* State. */
    uint32_t point; /* item in points; 0: the item is free */
    string_id description;
    struct u48 began_ms;
    struct u48 registered; /* the point's revision: when its item has another one, or is over, the session is gone */
    struct random_id id;
    struct grant_id grant;
};

struct sessions {
    struct slabs items;
    struct table table; /* by id */
    uint32_t n;
    uint64_t seed;
    uint32_t *gone; /* first ones of chains */
    uint32_t n_gone, gone_capacity;
};

void sessions_init(struct sessions *sessions, uint64_t seed);
void sessions_free(struct sessions *sessions);
size_t sessions_bytes(const struct sessions *sessions);

static inline struct session_item *session_at(const struct sessions *sessions, uint32_t item)
{
    return slabs_at(&sessions->items, item);
}
static inline bool session_is_live(const struct session_item *session, const struct point_item *point)
{
    return session->point != 0 && point->state != POINT_OVER &&
           u48_get(point->revision) == u48_get(session->registered);
}
/* 0 when there is none. */
uint32_t sessions_find(const struct sessions *sessions, const struct points *points, const struct random_id *id);
/* Chains the new one to its point. It owns the description from now on. */
uint32_t sessions_insert(struct sessions *sessions, struct points *points, const struct session_item *session,
                         struct store_digest digest);
/* Unchains and frees the item; its string and the store's digest are the caller's. */
void sessions_erase(struct sessions *sessions, struct points *points, uint32_t item, struct store_digest digest);
/* All sessions of a point that is ending are gone. */
void sessions_leave(struct sessions *sessions, struct point_item *point);
/* Frees one that is gone; `n_gone` says whether there is any. Returns its description, which is the caller's now. */
string_id sessions_reap(struct sessions *sessions);

void session_read(const struct sessions *sessions, const struct points *points, uint32_t item, uint8_t *const *chunks,
                  struct session *session);
struct store_digest session_digest(const struct session_item *item, const struct point_item *point,
                                   uint8_t *const *chunks);

#endif
