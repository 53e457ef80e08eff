/* Idempotency: the outcomes of the last commands that had a request key, oldest out first. Internal to store/.
 *
 * Entries are appended to segments and never overwritten, so a frozen view reads them where they are: a segment that
 * empties while a view exists is put aside until the thaw. A key past its window is as good as absent, although its
 * entry may stay a little longer: few are evicted at a time, so that no command pays for a long silence before it. */
#ifndef LAPSE_STORE_KEYS_H
#define LAPSE_STORE_KEYS_H

#include "store/digest.h"
#include "store/table.h"

#define KEY_SEGMENT 1024u /* entries */

/* Only `next` changes once the entry is written. */
struct key_entry {
    struct request_key key;
    struct grant_id grant;
    uint32_t content; /* hash of the command's content */
    uint32_t next;    /* in the hash chain */
    struct u48 time_ms, revision;
};
_Static_assert(sizeof(struct key_entry) == 52, "a million of them are kept");

struct key_segment {
    struct key_entry entries[KEY_SEGMENT];
};

struct keys {
    struct key_segment **segments; /* by number; item = number * KEY_SEGMENT + place + 1 */
    uint32_t segments_capacity;
    uint32_t *order; /* ring of segment numbers, by age */
    uint32_t order_capacity, order_first, n_segments;
    uint32_t first; /* the oldest entry's place in the oldest segment */
    uint32_t n;     /* entries */
    uint32_t max;
    uint64_t seed;
    struct table table;
    bool frozen;
    struct key_segment **aside;
    uint32_t n_aside, aside_capacity;
};

void keys_init(struct keys *keys, uint32_t max, uint64_t seed);
void keys_free(struct keys *keys);

/* The entry of `key` if it is not older than the window at `now_ms`; NULL otherwise. */
const struct key_entry *keys_find(const struct keys *keys, const struct request_key *key, int64_t now_ms);
/* The path ahead of a keys_find(). */
struct table_path keys_path(const struct keys *keys, const struct request_key *key);
/* NULL when there is none. */
const struct key_entry *keys_newest(const struct keys *keys);
/* Appends; the caller has made room (keys_evict). The digest of the entry is added to `sum`. */
void keys_append(struct keys *keys, const struct key_entry *entry, struct store_digest *sum);
/* Drops the oldest entries: as many as are over `max - room`, and up to `extra` of those past the window. */
void keys_evict(struct keys *keys, uint32_t room, uint32_t extra, int64_t now_ms, struct store_digest *sum);

/* The segments that hold entries, oldest first: what a view needs besides `first` and `n`. Freed by keys_thaw's caller.
 */
struct key_segment **keys_freeze(struct keys *keys);
void keys_thaw(struct keys *keys);

struct store_digest keys_digest(const struct key_entry *entry);
size_t keys_bytes(const struct keys *keys);

#endif
