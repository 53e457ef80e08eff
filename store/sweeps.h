/* Sweeps: RevokeMatching at work. Internal to store/.
 *
 *   begun --+-- few candidates, found by an index --------------> done in the same command
 *           '-- waits its turn --> at work: a slice with each ADVANCE --> done
 *
 * From its revision on a sweep takes every grant that was live and matched then. Which ones these are can be read off a
 * grant at any later time, since what a filter asks for never changes but for approvals and states, and those have
 * revisions: nothing is marked, and state_at() asks. So a grant that is taken counts as ended for every command and
 * check, while its event comes with the slice that reaches it; only its own clock may still end it before.
 *
 * Sweeps that need more than one command are at work one after the other, oldest first. */
#ifndef LAPSE_STORE_SWEEPS_H
#define LAPSE_STORE_SWEEPS_H

#include "base/wire.h"
#include "store/digest.h"
#include "store/store.h"
#include "store/strings.h"

struct apply;

/* How a sweep gets to its grants; state, and so in snapshots. */
enum sweep_way {
    SWEEP_WAITS = 0,
    SWEEP_COLLECTS = 1, /* looks at all live grants, `left` slices more */
    SWEEP_ENDS = 2,     /* what was collected, in the order of the requests */
    SWEEP_CHILDREN = 3, /* along the children of filter.parent */
    SWEEP_ALONG = 4     /* + enum index_kind: along that list */
};

struct sweep_entry {
    uint64_t id; /* revision */
    string_id subject, resource, requester, approver, ticket, policy, binding, label, person, by, reason;
    struct grant_id parent;
    uint32_t states;
    uint64_t policy_version;
    bool disallowed; /* only what the policy, which the filter names, would not allow any more */
    uint32_t way, left;
    uint64_t after;          /* along a list: the order of the last one looked at, see sweep_walk.c */
    uint64_t grants;         /* ended so far, those below included */
    struct store_digest sum; /* its part of the store's */
};

/* Where the sweep at work is in this process's store: derived, rebuilt by a restore. */
struct sweep_walk {
    uint32_t next; /* slot: to be looked at, 0 at the end of a list; the first one not collected yet */
    struct sweep_run *runs;
    uint32_t n_runs;
};

struct sweeps {
    struct sweep_entry entries[LIMIT_SWEEPS + 1]; /* by id, the first one at work; one more for what is done at once */
    uint32_t n;
    struct sweep_walk walk;
};

/* sweeps.c */
void sweeps_free(struct store *store);
size_t sweeps_bytes(const struct store *store);
/* Whether any sweep takes the grant in `slot`, whose own state must be live. */
bool sweeps_take(const struct store *store, uint32_t slot);
/* COMMAND_REVOKE_MATCHING. */
lapse_result sweeps_apply(struct apply *apply) LAPSE_MUST_USE;
/* For commands that end grants among other things. RESOURCE_EXHAUSTED when so many are at work as there may be
 * (LIMIT_SWEEPS, the last LIMIT_SWEEPS_KEPT by offboardings only) and this one wouldn't be done at once: to be asked before
 * anything is changed. */
#define SWEEP_DISALLOWED true
lapse_result sweeps_have_room(struct apply *apply, const struct store_filter *filter, bool disallowed) LAPSE_MUST_USE;
/* Begins it: the filter, by whom and why are taken from `sweep`, the outcome's revision is its id. With SWEEP_DISALLOWED,
 * which needs filter.policy, it takes only what policies_disallow() says; the policy must not change until it is over. */
void sweeps_begin(struct apply *apply, const struct sweep *sweep, bool disallowed);
/* Whether one with SWEEP_DISALLOWED is at work for that policy. */
bool sweeps_disallow(const struct store *store, struct slice policy);
/* One slice of the sweep at work, of about `count` grants. */
void sweeps_advance(struct apply *apply, uint32_t count);
/* Ends the grant in `slot` now if a sweep takes it or one above it: for an APPROVED one that is due to become active.
 */
bool sweeps_end(struct apply *apply, uint32_t slot);
/* Before a grant leaves. */
void sweeps_forget(struct store *store, uint32_t slot);
/* Its slices are valid until the next apply. */
void sweep_show(const struct store *store, const struct sweep_entry *entry, struct sweep *sweep);

/* Snapshots. The fields of lapse.disk.v1.Sweep. */
void sweep_encode(struct wire_writer *writer, const struct store *store, const struct sweep_entry *entry);
/* Adds one as state. NULL, or what is wrong. */
const char *sweeps_read(struct store *store, struct slice bytes);
/* Once the grants' indexes are there: finds the place of the one at work. */
void sweeps_link(struct store *store);

/* sweep_match.c */
bool sweep_takes(const struct store *store, const struct sweep_entry *sweep, uint32_t slot);
/* Whether the label is "key=value" as in `text`. */
bool label_is(const struct grant_label *label, struct slice text);

/* sweep_walk.c */

/* Whether the filter's grants are found, among few candidates, by an index. */
bool sweep_is_short(const struct store *store, const struct store_filter *filter, bool disallowed);
/* Chooses the way. */
void sweep_walk_begin(const struct store *store, struct sweep_entry *entry, struct sweep_walk *walk);
/* Ends about `count` grants, and about as many below them. True when all have been dealt with. */
bool sweep_walk_slice(struct apply *apply, struct sweep_entry *entry, struct sweep_walk *walk, uint32_t count);
/* Whether a sweep with that filter can be on that way. */
bool sweep_way_fits(const struct store_filter *filter, uint32_t way);
/* Finds the place again in a restored store. */
void sweep_walk_resume(const struct store *store, struct sweep_entry *entry, struct sweep_walk *walk);
void sweep_walk_forget(const struct store *store, const struct sweep_entry *entry, struct sweep_walk *walk,
                       uint32_t slot);
void sweep_walk_free(struct sweep_walk *walk);
size_t sweep_walk_bytes(const struct sweep_walk *walk);

#endif
