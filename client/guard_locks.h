/* The locks that a guard denies by: subjects and resources of the whole cluster, few beside its grants.
 *
 *   the guard's thread                                  any thread
 *   guard_locks: by name, changed by events   --set-->  guard_lock_set: never changes, found by hashes
 *
 * A set is published with a view (guard_internal.h) and freed when no check can see it any more; without any lock there
 * is none, so a check costs one load. A lock ends when the cluster says so (the event UNLOCKED), never by the guard's
 * own clock: that one bounds cluster time from above, and a lock must not end early. */
#ifndef LAPSE_CLIENT_GUARD_LOCKS_H
#define LAPSE_CLIENT_GUARD_LOCKS_H

#include "client/guard_rcu.h"
#include "store/lock.h"

struct lapse_lock;

/* ---- What is known. The guard's thread. */

struct guard_locks;

struct guard_locks *guard_locks_new(void);
void guard_locks_free(struct guard_locks *locks); /* accepts NULL */
/* The lock as it is now, in the place of the one of its name. One that is older (by revision) than what is known
 * changes nothing; one that is no business of a guard's (a point's, or of a kind that a newer cluster added) isn't
 * kept. False: malformed, or more than a cluster has; nothing was changed. */
bool guard_locks_put(struct guard_locks *locks, const struct lapse_lock *lock);
/* It was lifted, or its time is over, at that revision. */
void guard_locks_lift(struct guard_locks *locks, const char *name, uint64_t revision);
uint32_t guard_locks_count(const struct guard_locks *locks);

/* ---- What is decided by */

struct guard_lock_set {
    struct guard_garbage garbage;
    uint32_t mask;
    uint32_t n, n_subjects; /* subjects come first */
    uint32_t *slots;        /* place + 1 by hash, open addressing; 0: free */
    struct guard_set_lock *locks;
};

/* All of them; NULL when there is none. It owns its texts. */
struct guard_lock_set *guard_locks_set(const struct guard_locks *locks);
/* For guard_reaper_defer; at once: guard_lock_set_free, which accepts NULL. */
void guard_lock_set_release(struct guard_garbage *garbage);
void guard_lock_set_free(struct guard_lock_set *set);

/* Any thread. Whether one of them denies the query: its subject, its spiffe_id or its resource, which may be a subtree
 * (a grant's). */
bool guard_lock_set_denies(const struct guard_lock_set *set, const struct grant_query *query);

#endif
