/* The inside of the oracle's part for governance: oracle_governance.c (what is in force: policies, locks, eligibility,
 * campaigns, reviews) and oracle_access.c (what it must mean for requests, approvals, tokens and checks).
 *
 * Written from docs/decisions/0012-governance.md, over events and answers alone. Of store/ it uses what decodes the
 * messages, and nothing that decides. */
#ifndef LAPSE_SIM_ORACLE_GOVERNANCE_H
#define LAPSE_SIM_ORACLE_GOVERNANCE_H

#include "store/lock.h"
#include "store/policy.h"
#include "tests/sim/oracle_internal.h"

#define TEXT 40

/* A lock from one event to the next one of its name. */
struct lock_span {
    enum lock_kind kind;
    char target[TEXT];
    int64_t until_ms;
    uint64_t from, to; /* revisions: in force from `from` on, not at `to` any more; 0: still */
};

struct live_eligibility {
    char name[TEXT], member[TEXT], resource[TEXT];
    int64_t expires_ms;
    uint64_t revision;
};

struct open_review {
    struct grant_id grant;
    char requester[TEXT], subject[TEXT];
    bool overdue;
};

struct governed_grant_seen {
    struct grant_id id, parent;
    char subject[TEXT], requester[TEXT], resource[TEXT], policy[TEXT];
    enum grant_state state;
    uint64_t policy_version;
    bool break_glass;
    int64_t deadline_ms, pending_until_ms;
    uint32_t n_approvals;
    bool has_token;
    uint8_t token[32];
};

struct governance_model {
    struct sim *sim;
    struct policy **policies;
    uint32_t n_policies, policies_max;
    struct lock_span *locks;
    uint32_t n_locks, locks_max;
    struct live_eligibility *eligibilities;
    uint32_t n_eligibilities, eligibilities_max;
    struct open_review *reviews;
    uint32_t n_reviews, reviews_max;
    struct governed_grant_seen *grants;
    uint32_t n_grants, grants_max;
    uint32_t sweeps;    /* at work: what they take is over, and not told yet */
    bool awaits_review; /* the next event must open the one of: */
    struct grant_id awaited;
    struct governance_counts counts;
};

/* --- oracle_governance.c --- */

bool governed_same(struct slice a, struct slice b);
/* "*", a principal, or the beginning of one; against both names of a user. */
bool governed_matches(struct slice pattern, struct slice principal);
/* The first one that denies the subject (if it is not empty) or overlaps the resource (likewise) then; NULL: none. */
const struct lock_span *governed_lock(const struct governance_model *model, uint64_t revision, int64_t time_ms,
                                      struct slice subject, struct slice resource);

/* --- oracle_access.c --- */

void access_event(struct governance_model *model, const struct store_event *event);
/* A sweep for what the present version of a policy does not allow is over. */
void access_swept(struct governance_model *model, const struct store_event *event);
struct governed_grant_seen *access_find(const struct governance_model *model, struct grant_id id);

#endif
