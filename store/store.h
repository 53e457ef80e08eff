/* The grant state machine: pure, deterministic, single-threaded (but for a frozen view, see below).
 *
 * Time enters with each command, randomness inside it (ids); nothing else does. Two stores that applied the same
 * commands with the same times are equal: same digest, same snapshot bytes, whatever machine, whatever restarts in
 * between.
 *
 *   command, time --> store_apply --> outcome (for the caller) + events (for everybody)
 *
 * Every event has a revision of its own; revisions are dense (1, 2, 3, ...). */
#ifndef LAPSE_STORE_STORE_H
#define LAPSE_STORE_STORE_H

#include "store/chain.h"
#include "store/command.h"
#include "store/objects.h"
#include "store/points.h"

struct store;

enum store_event_type {
    STORE_EVENT_REQUESTED = 1,
    STORE_EVENT_APPROVED =
        2, /* an approval that is not yet the last one has this type, too, and leaves state PENDING */
    STORE_EVENT_ACTIVATED = 3,
    STORE_EVENT_USED = 4,
    STORE_EVENT_EXPIRED = 5,
    STORE_EVENT_REVOKED = 6,
    STORE_EVENT_COMPLETED = 7,
    STORE_EVENT_EXHAUSTED = 8,
    STORE_EVENT_DENIED = 9,
    STORE_EVENT_CANCELLED = 10,
    STORE_EVENT_LAPSED = 11,
    STORE_EVENT_ROLES_CHANGED = 12,
    STORE_EVENT_INITIALIZED = 13,
    STORE_EVENT_POINT_REGISTERED = 14,
    STORE_EVENT_POINT_FENCED = 15,
    STORE_EVENT_POINT_ENDED = 16,
    STORE_EVENT_ENFORCED = 17, /* a barrier is done; `grant` is its grant, if it has one that is still here */
    STORE_EVENT_SESSION_BEGAN = 18,
    STORE_EVENT_SESSION_ENDED = 19,
    STORE_EVENT_SWEEP_BEGAN = 20,
    STORE_EVENT_SWEEP_ENDED = 21,
    STORE_EVENT_POLICY_APPLIED = 22,
    STORE_EVENT_POLICY_REMOVED = 23,
    STORE_EVENT_LOCKED = 24,
    STORE_EVENT_UNLOCKED = 25, /* lifted, or its time is over */
    STORE_EVENT_ELIGIBILITY_PUT = 26,
    STORE_EVENT_ELIGIBILITY_CERTIFIED = 27,
    STORE_EVENT_ELIGIBILITY_ENDED = 28,
    STORE_EVENT_CAMPAIGN_STARTED = 29,
    STORE_EVENT_CAMPAIGN_ENDED = 30,
    STORE_EVENT_REVIEW_OPENED = 31,
    STORE_EVENT_REVIEW_OVERDUE = 32,
    STORE_EVENT_REVIEW_CLOSED = 33,
    STORE_EVENT_TOKEN_SET = 34,
    STORE_EVENT_RECEIPTS = 35, /* what of a COMMAND_RECEIPTS was counted: evidence */
    STORE_EVENT_OFFBOARDED = 36,
    STORE_EVENT_LAST = STORE_EVENT_OFFBOARDED
};
const char *store_event_name(enum store_event_type type);

struct store_event {
    uint64_t revision;
    int64_t time_ms; /* cluster time */
    enum store_event_type type;
    const struct grant
        *grant;          /* as it is right after the event; NULL for events about no grant. Valid during the callback */
    struct slice member; /* ROLES_CHANGED */
    uint32_t roles;
    struct slice scope;
    /* What the event's type is about; NULL otherwise. */
    const struct point *point;
    const struct barrier *barrier;
    const struct session *session;
    const struct sweep *sweep;
    const struct object *object; /* a policy, lock, ... as it is right after the event, or was right before its end */
    struct slice receipts;       /* RECEIPTS: encoded lapse.v1.Receipt messages of the event */
    /* The event as it is told and hashed: a lapse.v1.Event, canonical. */
    struct slice actor; /* the command's principal */
    struct slice encoded;
    const struct chain_head *head; /* of the audit chain right after it */
};

/* What the caller of a command is told. A refused command has a code, a message and no events. A repeated request_key
 * has the first outcome (code, grant, revision) again, `repeated` set, and no events; the same key with different
 * content is refused with ALREADY_EXISTS. Only what took effect is remembered: a refused command may be sent again and
 * then succeed. */
struct store_outcome {
    struct lapse_error error; /* code LAPSE_OK when it took effect */
    uint64_t revision;        /* of its last event; for a refused command: the store's current one */
    struct grant_id grant;
    int64_t time_ms; /* cluster time at which it took effect */
    bool repeated;
    uint32_t n_events;
};

typedef void (*store_event_cb)(void *arg, const struct store_event *event);

struct store_options {
    uint32_t live_grants_max;   /* 0: LIMIT_LIVE_GRANTS */
    uint32_t ended_grants_max;  /* 0: LIMIT_ENDED_GRANTS */
    int64_t ended_retention_ms; /* 0: LIMIT_ENDED_RETENTION_MS */
    uint32_t request_ids_max;   /* 0: LIMIT_REQUEST_IDS */
};

struct store *store_new(const struct store_options *options /* NULL: defaults */);
void store_free(struct store *store);

/* What follows from a grant's terms:
 *   - A request lapses at pending_until, or at the absolute deadline it asks for if that is earlier: a grant is never
 *     approved for a time that is over.
 *   - From its deadline on a grant counts as EXPIRED (a request from its pending_until on as LAPSED, a grant below an
 *     ended one as REVOKED) for every command, though the event comes with the next ADVANCE (G3).
 *   - A child has its parent's binding in each member that it leaves empty; it may bind more narrowly, not otherwise.
 *   - When a grant ends, those below it end, too: LIMIT_CASCADE of them in the same command, the others by ADVANCE,
 *     which is due at once. They are REVOKED, or CANCELLED if still PENDING, for the reason "parent ended" and by whom
 *     ended the parent; one that is past its own time EXPIRES or LAPSES.
 *   - REVOKE_MATCHING takes the grants that are live and match when it is applied; each is revoked (a PENDING one
 *     cancelled) and those below it as above. One that is found with few others by an index is done in the same
 * command, between SWEEP_BEGAN and SWEEP_ENDED; the others end in slices, with ADVANCE, which is due at once, one such
 * command after the other. From SWEEP_BEGAN on, whose revision is the outcome's, what is taken counts as ended.
 *   - An ended grant leaves when its retention is over, or earlier if too many ended ones are kept; never before its
 *     children. No event tells that. */

/* Applies one command at `time_ms` (clamped to never run backwards). Calls `on_event` in revision order, on this stack;
 * the callback must not call back into the store's writing functions. Never fails: what can't be done is an outcome. */
void store_apply(struct store *store, const struct command *command, int64_t time_ms, store_event_cb on_event,
                 void *arg, struct store_outcome *outcome);

uint64_t store_revision(const struct store *store);
uint64_t store_epoch(const struct store *store); /* 0 before INIT */
struct slice store_cluster(const struct store *store);
int64_t store_time_ms(const struct store *store); /* the greatest time applied */
/* The earliest moment at which an ADVANCE would do something; INT64_MAX for never. O(1). */
int64_t store_next_due_ms(const struct store *store);

/* A digest over the whole state: equal states, equal digests. Kept up incrementally: O(1) to read. */
struct store_digest {
    uint64_t words[2];
};
struct store_digest store_digest(const struct store *store);

/* The head of the audit chain at store_revision(): equal on all nodes at equal revision, and part of the digest. */
const struct chain_head *store_chain_head(const struct store *store);

/* What governs: policies, locks, ... by name. NULL when there is none. Valid until the next apply. */
const struct object *store_object(const struct store *store, enum object_kind kind, struct slice name);
/* Object `i` of a kind in the order of names; NULL past the end. */
const struct object *store_object_at(const struct store *store, enum object_kind kind, uint32_t i);
/* The place of the first one whose name is not less than `name`. */
uint32_t store_object_from(const struct store *store, enum object_kind kind, struct slice name);
/* Whether a lock denies the query. */
bool store_locked(const struct store *store, const struct grant_query *query, int64_t now_ms);

struct store_counts {
    uint64_t live, ended, pending, active, request_ids, roles;
    uint64_t points, barriers /* open ones */, sessions;
    uint64_t objects[OBJECT_KINDS];
    uint64_t bytes; /* memory held, as far as the store accounts for it */
};
void store_counts(const struct store *store, struct store_counts *counts);

/* Roles of a principal: the union of the bindings that match; none while it is locked. */
uint32_t store_roles_of(const struct store *store, struct slice principal);
/* The same, locked or not: what tells a stranger from somebody who may still end what is theirs. */
uint32_t store_roles_bound(const struct store *store, struct slice principal);
struct store_role_binding {
    struct slice member;
    uint32_t roles;
    struct slice scope; /* of an enforcer; empty: all */
};
/* Binding `i` in canonical order; false past the end. Valid until the next apply. */
bool store_role_at(const struct store *store, uint32_t i, struct store_role_binding *binding);

/* The grant with that id; its slices are valid until the next apply. */
bool store_get(const struct store *store, struct grant_id id, struct grant *grant);

/* Listing. The store uses its best index. */
bool store_filter_matches(const struct store_filter *filter, const struct grant *grant);

/* Visits grants that match, in a stable order. `cursor` starts as 0 and is advanced past what was looked at; at most
 * `scan_max` grants are looked at and the visitor returns false to stop (the grant it was given counts as visited).
 * Returns true when there may be more. A grant present during the whole scan is visited exactly once; one that comes or
 * goes during it may or may not be. The cursor stays valid across applies, for this store object and this filter only:
 * a restored store or another node numbers its grants differently. */
typedef bool (*store_visit_cb)(void *arg, const struct grant *grant);
bool store_list(const struct store *store, const struct store_filter *filter, uint64_t *cursor, uint32_t scan_max,
                store_visit_cb visit, void *arg);

/* Whether any live grant allows `query` at `now_ms`. On ALLOWS `grant` is the one with the latest deadline that does;
 * otherwise the verdict of the nearest miss and, if there is one, that grant. `found` says whether `grant` was filled.
 * A grant below an ended one allows nothing, also while its own end is still due. */
enum grant_verdict store_check(const struct store *store, const struct grant_query *query, int64_t now_ms,
                               struct grant *grant, bool *found);

/* Snapshots. `store_freeze` fixes the state in O(slabs) (well under 10 ms at a million grants); afterwards the store
 * goes on applying commands, copying what it changes (copy-on-write by slab). `store_view_read` may run on another
 * thread while the owner applies; one reader per view, one view at a time (freeze returns NULL while one exists).
 * `store_view_free` is called on the owner's thread when the reader is done. */
struct store_view;
struct store_view *store_freeze(struct store *store);
/* Appends up to about `max` bytes of the canonical snapshot to `out`; *done is set with the last piece. Deterministic:
 * equal states give equal bytes. Format: proto/lapse/disk/v1/snapshot.proto, a stream of length-delimited records. */
lapse_result store_view_read(struct store_view *view, size_t max, struct buf *out, bool *done) LAPSE_MUST_USE;
void store_view_free(struct store_view *view);

/* Restoring: a new store from a snapshot's bytes, fed in pieces of any size. Nothing is trusted: limits, order,
 * duplicates, counts and the digest recorded at the end are verified. DATA_LOSS with the offset otherwise. Any thread.
 */
struct store_restore;
struct store_restore *store_restore_begin(const struct store_options *options);
lapse_result store_restore_feed(struct store_restore *restore, struct slice bytes,
                                struct lapse_error *error) LAPSE_MUST_USE;
/* Hands out the finished store and frees `restore`, also on failure (an incomplete snapshot). */
lapse_result store_restore_end(struct store_restore *restore, struct store **store,
                               struct lapse_error *error) LAPSE_MUST_USE;
void store_restore_abort(struct store_restore *restore);

#endif
