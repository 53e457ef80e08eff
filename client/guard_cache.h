/* The grants that a guard decides from: read by any number of threads without locks, written by one.
 *
 *   what readers see                                 what only the writer sees
 *   table --> bucket --> entry --> entry             records by grant id, each with its entry, its parent and children
 *
 * The key is (subject, resource pattern). A path has few patterns that cover it ("db/prod/orders", "db/prod/" and an
 * asterisk, ...), so a check looks at as many buckets, however many grants its subject has; whether what it finds
 * allows the question is decided by grant_allows (store/grant.h) and by nothing else. Entries never change: a grant
 * that changes gets a new one. A bucket tells by 64 bits which hashes may be in it, so that a wrong one is seldom
 * looked into.
 *
 * A grant with a bearer token has a second entry, found by the token's hash instead: the same in all else.
 *
 * A grant below another is in sight only while its parent is, whatever order they come in; when one ends, all below it
 * go out of sight in the same call.
 *
 * A cache begins *private*: its writer fills it with a snapshot, and nobody reads. guard_cache_share makes it live. */
#ifndef LAPSE_CLIENT_GUARD_CACHE_H
#define LAPSE_CLIENT_GUARD_CACHE_H

#include <stdatomic.h>

#include "client/guard_rcu.h"
#include "store/grant.h"

struct guard_cache;
struct guard_entry;
struct lapse_grant;

/* One grant in sight, aligned to cache lines. What a check reads comes first and lies close, since a hundred thousand
 * of these have to share a processor's cache: two lines of 64 bytes, if names aren't long. The texts lie behind one
 * another: subject, resource, spiffe_id, certificate, token (of a token's entry), then actions and networks, each
 * behind its length in one byte. Entries are chained twice, for the table and for its successor while the one grows
 * into the other. */
struct guard_entry {
    _Atomic(struct guard_entry *) next[2];
    int64_t deadline_ms;
    int64_t not_before_ms;
    uint32_t tag; /* the upper half of its hash */
    uint32_t max_uses, uses;
    uint16_t subject_len, resource_len;
    uint16_t spiffe_len;
    uint8_t certificate_len, token_len, n_actions, n_networks;
    uint8_t lines; /* of 64 bytes, struct guard_back included */
    char id[GRANT_ID_TEXT_SIZE];
    uint8_t text[];
};

/* What only changes need, in the entry's last bytes. */
struct guard_back {
    uint64_t hash;
    _Atomic(struct guard_entry *) *back[2]; /* what points here; the writer's */
    struct guard_entry *entry;
    struct guard_entry *primary; /* of a token's entry: the grant's other one, which lives as long; else NULL */
    struct guard_garbage garbage;
    _Atomic(uint32_t) share; /* uses that are spent already, and not given away (client/guard_uses.c) */
};

#define GUARD_LINE 64u

static inline struct guard_back *guard_back(const struct guard_entry *entry)
{
    return (struct guard_back *)((uintptr_t)entry + entry->lines * GUARD_LINE) - 1;
}

/* Of the grant, whichever entry it is. */
static inline _Atomic(uint32_t) *guard_entry_share(const struct guard_entry *entry)
{
    const struct guard_entry *primary = guard_back(entry)->primary;
    return &guard_back(primary != NULL ? primary : entry)->share;
}

static inline struct slice guard_entry_subject(const struct guard_entry *entry)
{
    return slice_of(entry->text, entry->subject_len);
}

struct guard_lock_set;
/* Whether its subject, who it is bound to, or its resource is locked. `set` may be NULL. */
bool guard_entry_locked(const struct guard_entry *entry, const struct guard_lock_set *set);

/* `grants_max`: more are not taken (guard_cache_refused counts them). `reaper` may be NULL when nobody will read. */
struct guard_cache *guard_cache_new(struct guard_reaper *reaper, uint32_t grants_max);
/* At once: nobody reads. Accepts NULL. */
void guard_cache_free(struct guard_cache *cache);

/* ---- Any thread, between guard_read_begin and guard_read_end */

struct guard_match {
    const struct guard_entry *entry; /* that allows it, or the nearest miss; NULL: no grant covers the question */
    enum grant_verdict verdict;
};
/* No allocation, no lock. `now_ms`: cluster time. Of several that allow it one that doesn't count its uses comes first.
 */
struct guard_match guard_cache_find(const struct guard_cache *cache, const struct grant_query *query, int64_t now_ms);

/* By the token's hash: its grant alone is looked at. An empty subject is filled with the grant's. `entry` NULL: there
 * is no grant with this token. */
struct guard_match guard_cache_find_token(const struct guard_cache *cache, struct grant_query *query, int64_t now_ms);

/* ---- The writer */

/* Readers may come now. */
void guard_cache_share(struct guard_cache *cache);
/* No reader finds the cache any more who begins now: frees it in time. */
void guard_cache_retire(struct guard_cache *cache);

/* Told for each grant that has left, after all of its family are out of sight. */
typedef void (*guard_ended_cb)(void *arg, struct grant_id id);
/* A grant as it is now: taken into the cache, or out of it with all below when it isn't active. False: malformed (an id
 * that is none, a text too long), and nothing was changed. `ended` may be NULL. */
bool guard_cache_put(struct guard_cache *cache, const struct lapse_grant *grant, guard_ended_cb ended, void *arg);
/* The entry of a grant that is in sight, or NULL. */
struct guard_entry *guard_cache_get(const struct guard_cache *cache, struct grant_id id);
uint32_t guard_cache_grants(const struct guard_cache *cache); /* in sight */
uint32_t guard_cache_hidden(const struct guard_cache *cache); /* whose parent is not here */
uint64_t guard_cache_refused(const struct guard_cache *cache);

#endif
