/* Enforcement points, barriers and sessions: what the store knows of where grants are enforced.
 *
 *   REGISTER --> LIVE --another instance of its id registers--> FENCED
 *                  \                                              |
 *                   '--END_POINT, or a receipt LAPSED or LEFT-----+--> gone; POINT_ENDED; LAPSED for all its open
 * barriers
 *
 *   REVOKE, or the end of a sweep --> barrier open: the points in scope are counted --a receipt of each--> done;
 * ENFORCED
 *
 * A revocation opens its barrier in the same command. What is not here: whose lease runs until when. That is the
 * leader's (node/lease_leader.h); what it finds out comes as receipts. The store counts them itself, so a leader that
 * forgets a point can't close a barrier. Rules, beside those in the comments below:
 *
 *   - A point's id belongs to the principal of its registered instances; another one's REGISTER is refused
 *     (PERMISSION_DENIED). REGISTER with an instance that is registered with equal terms changes nothing (the answer is
 *     its revision); with other terms ALREADY_EXISTS. A scope outside of what the principal may guard:
 * PERMISSION_DENIED; more than LIMIT_POINTS, LIMIT_POINTS_PER_PRINCIPAL, LIMIT_POINT_INSTANCES: RESOURCE_EXHAUSTED.
 *   - In scope of a barrier are the instances that were registered before it, LIVE or FENCED, and whose scope overlaps
 * its own. A barrier without any is done at once, with no event of its own.
 *   - A receipt for a barrier that is unknown, done, or has one of that instance already, or for an instance that is
 * not in scope, is ignored: leaders may repeat themselves.
 *   - An instance that ended can't register again while a barrier that is kept names it (FAILED_PRECONDITION).
 *   - An instance that ends is taken out of all open barriers with a receipt LAPSED (LEFT after a goodbye), and its
 *     sessions are forgotten.
 *   - Only what takes the reader's side is dropped early: done barriers with their receipts leave when LIMIT_RECEIPTS
 * is passed, oldest first, and after the retention of ended grants. Past LIMIT_BARRIERS_OPEN, or when the receipts of
 *     open ones would pass their limit, a revocation takes effect with a barrier `untracked`, which is never done.
 *   - SESSION_BEGIN needs a registered instance of the caller's and a live grant whose resource overlaps its scope. */
#ifndef LAPSE_STORE_POINTS_H
#define LAPSE_STORE_POINTS_H

#include "store/command.h"

struct store;

struct point {
    struct random_id instance;
    struct slice id;
    struct slice principal;
    struct slice scope; /* patterns, sorted, unique, one space between each */
    uint32_t lease_ms;
    bool fenced;
    uint64_t revision; /* of its registration */
    int64_t registered_ms;
    uint32_t sessions;    /* open ones */
    enum point_end ended; /* POINT_ENDED only; 0 otherwise */
};

struct barrier {
    uint64_t id;           /* the revision in the revoking command's outcome */
    uint64_t revision;     /* what points must acknowledge; 0 while a sweep is at work */
    struct grant_id grant; /* zero: RevokeMatching */
    struct slice scope;    /* the grant's resource, the filter's, or "*" */
    int64_t time_ms, done_ms;
    uint32_t points; /* in scope when it was opened */
    uint32_t enforced, failed, lapsed, left;
    bool done, untracked;
    uint64_t grants; /* ended by the command (those under ended grants included) or sweep */
};

struct session {
    struct random_id id;
    struct random_id instance;
    struct slice point; /* the id */
    struct grant_id grant;
    struct slice description;
    int64_t began_ms;
};

/* A RevokeMatching. */
struct sweep {
    uint64_t id; /* the revision of SWEEP_BEGAN, and of its barrier */
    struct store_filter filter;
    struct slice by, reason;
    uint64_t grants; /* ended so far */
};

/* All slices are valid until the next apply. */

bool store_point_get(const struct store *store, struct random_id instance, struct point *point);
/* Point `i` in canonical order (id, then revision); false past the end. O(1) for consecutive calls. */
bool store_point_at(const struct store *store, uint32_t i, struct point *point);
uint32_t store_points(const struct store *store);
/* The place of the first point behind (id, revision) in that order, whether such a point is there or not. */
uint32_t store_point_behind(const struct store *store, struct slice id, uint64_t revision);
/* Whether `principal` is an enforcer that may guard all of `scope`. */
bool store_may_guard(const struct store *store, struct slice principal, struct slice scope);
/* Whether `principal`, an enforcer, may guard something that overlaps `resource`. */
bool store_guards(const struct store *store, struct slice principal, struct slice resource);

/* The open barriers that have a revision or a sweep at work, oldest first: begin with id 0; false when there is none
 * above `after`. */
bool store_barrier_next_open(const struct store *store, uint64_t after, struct barrier *barrier);
uint32_t store_barriers_open(const struct store *store);
bool store_barrier_get(const struct store *store, uint64_t id, struct barrier *barrier);
/* The barrier of a grant that was revoked by itself (not with its parent, not by a sweep), while both are here. */
bool store_barrier_of(const struct store *store, struct grant_id grant, struct barrier *barrier);
/* Whether the instance is in scope of that open barrier and has no receipt yet. */
bool store_barrier_waits_for(const struct store *store, uint64_t id, struct random_id instance);
/* Visits the receipts of a barrier; `point` is the id. Returns false when there is no such barrier. */
typedef void (*store_receipt_cb)(void *arg, const struct receipt *receipt, struct slice point);
bool store_barrier_receipts(const struct store *store, uint64_t id, store_receipt_cb visit, void *arg);

bool store_session_get(const struct store *store, struct random_id id, struct session *session);

#endif
