/* Barriers: what each revocation waits for. Internal to store/.
 *
 *   barrier_open ----------------- no point in scope, or untracked --> plain: 48 bytes
 *        |                                                                |
 *        '--> open --the last receipt; ENFORCED--> kept                   |
 *   barrier_begin ^                                  |                    |
 *        (a sweep at work)                           '--retention, limit--'--> gone
 *
 * A barrier with points has a track beside it, with one place for each point that was in scope, in the order in which
 * they registered. Each list is in the order in which its barriers came to it: open ones by id, the others by the
 * revision at which they were done. */
#ifndef LAPSE_STORE_BARRIERS_H
#define LAPSE_STORE_BARRIERS_H

#include "store/digest.h"
#include "store/points.h"
#include "store/slabs.h"
#include "store/table.h"

/* A point in scope. */
struct receipt_entry {
    struct u48 revision; /* of the point's registration */
    struct u48 time_ms;
    uint32_t point; /* item in points */
    string_id reason;
    uint8_t level; /* enum receipt_level; 0: waits */
};
_Static_assert(sizeof(struct receipt_entry) == 24, "a million of them are kept");

/* Copied before it is changed while a view reads it. */
struct receipt_block {
    uint32_t generation;
    uint32_t n;
    struct receipt_entry entries[];
};

struct track_item {
    uint32_t next;  /* in the chain of free ones */
    uint32_t older; /* in the list of open ones; derived */
    /* State. */
    struct u48 revision; /* 0: a sweep is at work */
    struct u48 done_ms, done_revision;
    uint32_t counts[RECEIPT_LEFT + 1]; /* by level; 0: those that wait */
    uint64_t members;                  /* stands for who is in scope, in the digest */
    struct receipt_block *block;       /* NULL: nobody is, or it isn't known yet */
};

struct barrier_item {
    uint32_t next;  /* in the hash chain of ids */
    uint32_t newer; /* in its list; derived */
    /* State. */
    uint32_t track; /* 0: plain */
    string_id scope;
    struct grant_id grant;
    struct u48 id, time_ms;
    uint32_t grants : 31;
    uint32_t untracked : 1;
};
_Static_assert(sizeof(struct barrier_item) == 48, "each revocation leaves one");

struct barrier_list {
    uint32_t oldest, newest, n;
};

struct barriers {
    struct slabs items, tracks;
    struct table table; /* by id */
    struct barrier_list open, kept, plain;
    uint32_t places;      /* of all tracks; one without any counts as one */
    uint32_t places_open; /* of open ones */
    uint32_t *matched;    /* scratch: places in points.by_age */
    uint32_t matched_capacity;
    uint32_t generation;
    bool frozen;
    struct receipt_block **aside; /* what the view still reads, or read */
    uint32_t n_aside, aside_capacity;
};

void barriers_init(struct barriers *barriers);
void barriers_free(struct barriers *barriers);
size_t barriers_bytes(const struct barriers *barriers);
void barriers_freeze(struct barriers *barriers);
void barriers_thaw(struct barriers *barriers);
/* Frees at most `max` of the blocks that the last view left behind. */
void barriers_drain(struct barriers *barriers, uint32_t max);

static inline struct barrier_item *barrier_at(const struct barriers *barriers, uint32_t item)
{
    return slabs_at(&barriers->items, item);
}
static inline struct track_item *track_at(const struct barriers *barriers, uint32_t track)
{
    return slabs_at(&barriers->tracks, track);
}
/* 0 when there is none. */
uint32_t barriers_find(const struct barriers *barriers, uint64_t id);
void barriers_index(struct barriers *barriers, uint32_t item);
void barriers_append(struct barriers *barriers, struct barrier_list *list, uint32_t item);
struct receipt_block *receipt_block_new(const struct barriers *barriers, uint32_t n);
/* The place of the point that registered at `revision`; NULL when it isn't in scope. */
struct receipt_entry *receipt_find(const struct receipt_block *block, uint64_t revision);
/* What one point adds to `members`. */
uint64_t receipt_member(uint64_t revision);

void barrier_read(const struct barriers *barriers, uint32_t item, uint8_t *const *chunks, struct barrier *barrier);
struct store_digest barrier_digest(const struct barrier_item *item, const struct track_item *track,
                                   uint8_t *const *chunks);
struct store_digest receipt_digest(uint64_t barrier, const struct receipt_entry *entry, uint8_t *const *chunks);

struct apply;
/* At the end of a REVOKE of the grant in `slot`: the barrier of the command's events so far. */
void barrier_open(struct apply *apply, uint32_t slot);
/* A sweep has begun: its barrier, whose id is the present revision, is open, and nobody can give a receipt yet. `scope`
 * is not empty. */
void barrier_begin(struct apply *apply, struct slice scope);
/* The sweep with that id is over: the present revision is what its points must receive. Without any it is done. */
void barrier_finish(struct apply *apply, uint64_t id, uint64_t grants);

/* At the end of a LOCK: the barrier of its event. `scope` is not empty. */
void barrier_open_scope(struct apply *apply, struct slice scope);

/* A receipt ENFORCED or FAILED of a registered point; ignored unless the barrier waits for it. */
void barrier_receive(struct apply *apply, const struct receipt *receipt, uint32_t point);
/* Gives a receipt of that point to all open barriers that wait for it. */
void barriers_give_up(struct apply *apply, uint32_t point, enum receipt_level level, int64_t time_ms);
/* Drops barriers that are past their retention, at most `max`. */
void barriers_evict(struct store *store, uint32_t max, int64_t now_ms);

#endif
