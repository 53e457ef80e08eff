/* What a lock is, and the one function that says whether it denies something: as in grant.h, nodes and enforcement
 * points cannot disagree. */
#ifndef LAPSE_STORE_LOCK_H
#define LAPSE_STORE_LOCK_H

#include "store/grant.h"

/* lapse.v1.LockKind. */
enum lock_kind { LOCK_SUBJECT = 1, LOCK_RESOURCE = 2, LOCK_POINT = 3 };

/* As lapse.v1.Lock; slices are borrowed. */
struct lock {
    struct slice name; /* "subject:...", "resource:...", "point:..." */
    enum lock_kind kind;
    struct slice target;
    struct slice reason;
    int64_t until_ms; /* 0: until lifted */
    struct slice locked_by;
    int64_t locked_ms;
    uint64_t revision;
    bool offboarded;
    struct slice lifted; /* in the event UNLOCKED only: why */
};

/* "subject:TARGET", "resource:TARGET", "point:TARGET". */
#define LOCK_NAME_SIZE (sizeof "resource:" - 1 + LIMIT_RESOURCE)
_Static_assert(LOCK_NAME_SIZE <= LIMIT_OBJECT_NAME && LIMIT_RESOURCE >= LIMIT_PRINCIPAL, "each name fits");
/* Writes the name of the lock on a target that is no longer than LIMIT_RESOURCE; the slice is of `name`. */
struct slice lock_name(enum lock_kind kind, struct slice target, char name[LOCK_NAME_SIZE]);

/* Whether it is in force at `now_ms`. */
static inline bool lock_holds(const struct lock *lock, int64_t now_ms)
{
    return lock->until_ms == 0 || now_ms < lock->until_ms;
}
/* Whether the lock denies the query at cluster time `now_ms`: its subject, or who presents it (spiffe_id), is the
 * locked principal under any of its names; or its resource lies in the locked one, or holds it. A lock of a point
 * denies no query: the point itself is ended. */
bool lock_denies(const struct lock *lock, const struct grant_query *query, int64_t now_ms);
/* Whether a subject lock is about this principal (principal_same). */
bool lock_is_about(const struct lock *lock, struct slice principal);

/* Strict: fields in ascending order, each known; INVALID_ARGUMENT or DATA_LOSS as `error` says. The slices point into
 * the bytes. */
lapse_result lock_decode(struct slice bytes, struct lock *lock, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lock_encode(const struct lock *lock, struct buf *out) LAPSE_MUST_USE;

#endif
