/* The store from inside: the struct that ties its parts together, and what they offer one another.
 *
 *   apply.c     commands -> transitions                  transition.c      the only writer of grants
 *   rules.c     the table of transitions, and who may make them
 *   apply_request.c, apply_approve.c  what a request and a decision take
 *   records.c   the grants themselves (state)           keys.c, roles.c   the rest of the state
 *   extras.c    what few of them have: more approvals than one, a token
 *   index.c     lists by subject, resource, ...          families.c        parents and children
 *   timers.c    what is due when                         query.c           get, list, check
 *   binding.c   what a child takes over from its parent
 *   sweeps.c, sweep_walk.c  revoking many at once        snapshot_grant.c  grants of a snapshot
 *   apply_points.c  the same for enforcement points      barrier_steps.c   what revocations wait for
 *   point_table.c, barriers.c, sessions.c                more state
 *   view.c      snapshots out                            restore.c         snapshots in
 *
 * State is what the digest covers; indexes, families and timers are derived from it and rebuilt by a restore. */
#ifndef LAPSE_STORE_INTERNAL_H
#define LAPSE_STORE_INTERNAL_H

#include "store/barriers.h"
#include "store/digest.h"
#include "store/extras.h"
#include "store/keys.h"
#include "store/object_table.h"
#include "store/point_table.h"
#include "store/pool.h"
#include "store/records.h"
#include "store/roles.h"
#include "store/sessions.h"
#include "store/store.h"
#include "store/strings.h"
#include "store/sweeps.h"
#include "store/table.h"

enum index_kind {
    INDEX_SUBJECT,
    INDEX_RESOURCE,
    INDEX_TICKET,
    INDEX_POLICY,
    INDEX_APPROVER, /* one place for each approval: the first one's here, the others' in the extra */
    INDEX_KINDS
};

/* Everything about a slot that is not state: never copied for a view. */
struct links {
    uint32_t next_id;        /* hash chain of ids; the free list when the slot is free */
    uint32_t timer : 30;     /* place in a heap, see timers.c */
    uint32_t has_family : 1; /* it is a parent or a child */
    uint32_t has_extra : 1;  /* see extras.h */
    struct list_place index[INDEX_KINDS];
};
_Static_assert(sizeof(struct links) == 48, "a million of them are kept");

/* The grants that have one string in one role, in the order in which they got it. */
struct index_list {
    uint32_t next; /* in the hash chain */
    string_id string;
    uint32_t kind;
    uint32_t head, tail; /* slots */
    uint32_t count;
};

/* A grant that has children or a parent, found by its slot: few have either. Children are chained twice: all of them,
 * and those still live. */
struct family {
    uint32_t slot;
    uint32_t next_slot; /* in the hash chain */
    uint32_t parent;    /* family; 0: none */
    uint32_t prev, next;
    uint32_t live_prev, live_next;
    uint32_t first, last;           /* children */
    uint32_t live_first, live_last; /* live children */
};

struct timer {
    uint16_t due[3]; /* ms, 48 bits, the low ones first */
    uint16_t slot[2];
};

/* A heap of four children a node, by (due, id). */
struct heap {
    struct timer *timers;
    uint32_t n, capacity;
};

enum heap_kind {
    HEAP_LIVE, /* lapse, activation, deadline; an ended parent whose children still have to end */
    HEAP_ENDED /* ended grants that may leave, by the time of their end */
};

struct store {
    uint32_t live_max, ended_max;
    int64_t retention_ms;

    /* State. */
    uint64_t revision, epoch;
    int64_t time_ms;
    char cluster[LIMIT_CLUSTER];
    uint32_t cluster_len;
    struct records records;
    struct extras extras;
    struct strings strings;
    struct keys keys;
    struct roles roles;
    struct points points;
    struct barriers barriers;
    struct sessions sessions;
    struct sweeps sweeps;
    struct object_table objects;
    struct chain_head chain; /* at `revision` */
    struct store_digest sum; /* of all but the numbers */

    /* Derived from it. */
    struct pool links; /* by slot */
    uint32_t free_slot;
    uint64_t *live; /* a bit for each slot with a live grant */
    uint32_t n_live_words;
    struct table ids;
    struct table lists;
    struct pool list_pool;
    struct pool families;
    struct table family_slots;
    struct heap heaps[2];
    uint32_t states[GRANT_LAPSED + 1]; /* how many grants are in each */
    uint64_t seed;

    struct store_view *view;
    struct buf scratch;
    struct buf told;     /* the event that is being told, encoded */
    struct buf receipts; /* of an event, likewise */

    /* Derived from objects; each belongs to the module that it is named after (governance.h), NULL until it needs it. */
    struct policy_book *policies;
    struct review_book *reviews;
    struct lock_book *locks;
    struct eligibility_book *eligibility;
    struct token_book *tokens;
};

/* slots.c: a grant's place, its id and its derived data. */
static inline struct links *links_at(const struct store *store, uint32_t slot)
{
    return pool_at(&store->links, slot);
}
static inline const struct record *store_record(const struct store *store, uint32_t slot)
{
    return records_get(&store->records, slot);
}
static inline struct slice store_string(const struct store *store, string_id id)
{
    return string_at(store->strings.chunks, id);
}
/* 0 when there is none. */
uint32_t slot_find(const struct store *store, struct grant_id id);
/* Asks for what belongs to a record that is in reach. */
void slot_prefetch(const struct store *store, uint32_t slot);
/* The paths ahead of all look-ups that a command will make, asked for together. */
#define COMMAND_PATHS 6
struct command_paths {
    struct table_path paths[COMMAND_PATHS];
    uint32_t n;
};
void slot_paths(const struct store *store, const struct command *command, struct command_paths *paths);
void slot_paths_step(struct command_paths *paths);
/* A free slot, its record zeroed but for the id, found by that id from now on. */
uint32_t slot_take(struct store *store, struct grant_id id);
void slot_give(struct store *store, uint32_t slot);
/* Whether its grant is live. The next slot of a live grant, `from` included; 0 when there is none. */
void slot_mark_live(struct store *store, uint32_t slot, bool live);
uint32_t slot_next_live(const struct store *store, uint32_t from);
/* Fills a new record's terms, strings included; the requester comes beside. */
void slot_set_terms(struct store *store, uint32_t slot, const struct grant *terms, struct slice requester);
/* Sets by whom and why it ended. */
void slot_set_ending(struct store *store, uint32_t slot, struct slice ended_by, struct slice reason);
/* All of it. Slices are valid until the next apply. */
void slot_read(const struct store *store, uint32_t slot, struct grant *grant);
/* The shared terms alone: limits, actions, parent, what the policy's rule says. Slices are valid until the next apply. */
void slot_read_shared(const struct store *store, uint32_t slot, struct grant *terms);
uint32_t store_live(const struct store *store);
uint32_t store_ended(const struct store *store);
struct store_digest store_digest_of(const struct store_digest *sum, uint64_t revision, uint64_t epoch, int64_t time_ms,
                                    struct slice cluster, const struct chain_head *chain);

/* index.c */
void index_init(struct store *store);
void index_free(struct store *store);
void index_add(struct store *store, uint32_t slot, enum index_kind kind);
void index_add_approval(struct store *store, uint32_t slot, uint32_t approval);
/* Takes the grant out of all its lists. */
void index_remove_all(struct store *store, uint32_t slot);
/* NULL when no grant has that string in that role. */
const struct index_list *index_find(const struct store *store, enum index_kind kind, struct slice text);
/* Whether the grant in `slot`, which is in use, is in the list of `string`. */
bool index_holds(const struct store *store, enum index_kind kind, string_id string, uint32_t slot);
/* The next slot of the list of `list_string`, 0 at its end. */
uint32_t index_next(const struct store *store, enum index_kind kind, string_id list_string, uint32_t slot);
/* What the list of `string` is ordered by: a revision, ascending, of the request or of that approver's approval. */
uint64_t index_order(const struct store *store, enum index_kind kind, string_id string, uint32_t slot);

/* families.c */
void families_init(struct store *store);
void families_free(struct store *store);
size_t families_bytes(const struct store *store);
void family_adopt(struct store *store, uint32_t parent_slot, uint32_t child_slot);
/* When a child ends. */
void family_child_ended(struct store *store, uint32_t slot);
/* When a grant without children leaves. Returns its parent's slot if that has no children left, 0 otherwise. */
uint32_t family_leave(struct store *store, uint32_t slot);
bool family_has_children(const struct store *store, uint32_t slot);
/* The first live child's slot; 0 when there is none. */
uint32_t family_live_child(const struct store *store, uint32_t slot);
uint32_t family_parent(const struct store *store, uint32_t slot);
/* The next child of the same parent; `child_slot` 0 gives the first. */
uint32_t family_next_child(const struct store *store, uint32_t parent_slot, uint32_t child_slot);

/* timers.c */
void timers_free(struct store *store);
/* Puts the grant where its state says it belongs. */
void timers_arm(struct store *store, uint32_t slot);
void timers_disarm(struct store *store, uint32_t slot);
int64_t timers_next_due(const struct store *store);
/* The grant whose timer comes next and is due at `now_ms`; 0 when there is none. */
uint32_t timers_due(const struct store *store, int64_t now_ms, enum heap_kind *kind);
/* Asks for the grants that may come up after the present first one. */
void timers_prefetch(const struct store *store);
/* The ended grant that may leave first; 0 when there is none. */
uint32_t timers_oldest_ended(const struct store *store);

#endif
