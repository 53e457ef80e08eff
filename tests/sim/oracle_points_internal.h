/* The inside of the oracle's part for enforcement points: oracle_points.c (grants, instances, promises,
 * permits), oracle_barriers.c (barriers, receipts, what callers are told) and oracle_locks.c. */
#ifndef LAPSE_SIM_ORACLE_POINTS_INTERNAL_H
#define LAPSE_SIM_ORACLE_POINTS_INTERNAL_H

#include "store/lock.h"
#include "tests/sim/oracle_internal.h"

struct known_grant {
    struct grant_id id, parent;
    char subject[32], resource[32], requester[32];
    enum grant_state state;
    int64_t deadline_ms, pending_until_ms;
    uint64_t revision; /* of its last event that concerns points */
    uint64_t ended;    /* the revision of its end */
    bool told;         /* a caller was told that no point permits it any more */
};

/* A session that goes on. */
struct known_failure {
    struct grant_id grant;
    bool by_lock;         /* a lock denies the grant, which is not over, */
    uint64_t first, last; /* set at one of these revisions */
};

struct known_lock {
    enum lock_kind kind;
    char target[32];
    uint64_t revision; /* of its latest event */
    uint64_t since;    /* in force from this revision on; 0: lifted */
    int64_t until_ms;  /* 0: without an end. Nodes go by it, points wait for the event */
    bool told;         /* a caller was told that every point denies what it is about */
};

struct known_instance {
    struct random_id id;
    const struct sim_point *point;
    uint64_t registered, ended; /* revisions */
    int64_t promised_until_us;  /* true time */
    int64_t longest_promise_us;
    uint64_t received, enforced; /* what it said itself */
    struct known_failure failed[POINT_SESSIONS_MAX];
    uint32_t n_failed;
    bool left;
};

struct expected {
    uint32_t instance;
    uint32_t level; /* 0: no receipt yet */
};

struct known_barrier {
    uint64_t id, first, revision; /* what its command or sweep did; revision 0: a sweep is at work */
    char scope[32];
    struct grant_id *grants;
    uint32_t n_grants;
    struct expected *expected;
    uint32_t n_expected;
    int64_t opened_us;
    uint32_t lock; /* place in `locks` + 1; 0: it is about grants alone */
    bool done;
    bool closing;     /* ENFORCED was told by the command that is being applied */
    uint32_t counted; /* its points, by that event */
};

struct points_model {
    struct sim *sim;
    const struct clock_model *clock;
    struct known_grant *grants;
    uint32_t n_grants, grants_max;
    uint32_t *slots; /* open addressing: place in `grants` + 1 */
    uint32_t n_slots;
    struct known_instance *instances;
    uint32_t n_instances, instances_max;
    struct known_barrier *barriers;
    uint32_t n_barriers, barriers_max;
    struct known_lock *locks;
    uint32_t n_locks, locks_max;
    int64_t *elected_us; /* by term: when somebody first led it; 0: nobody has */
    uint64_t terms_max;
    struct oracle_point_counts counts;
};

/* Room for one more. */
void *model_grown(void *array, uint32_t n, uint32_t *max, size_t size);
struct known_grant *model_find_grant(const struct points_model *model, struct grant_id id);
/* Whether `id` is `above` or below it. */
bool model_is_below(const struct points_model *model, struct grant_id id, struct grant_id above);
struct known_instance *model_find_instance(const struct points_model *model, struct random_id id);
/* When the first later term than `term` had a leader; INT64_MAX: none yet. */
int64_t model_superseded_us(const struct points_model *model, uint64_t term);
/* Registered, and not ended. */
bool model_is_live(const struct known_instance *instance);

/* --- oracle_locks.c --- */

/* NULL: there was never one. */
struct known_lock *model_find_lock(const struct points_model *model, enum lock_kind kind, struct slice target);
void model_lock_event(struct points_model *model, const struct store_event *event);
bool model_lock_denies(const struct known_lock *lock, const struct known_grant *grant);
/* The point would permit the grant now. */
void model_check_locks(struct points_model *model, const struct known_instance *instance,
                       const struct known_grant *grant);
/* Whether a lock came or went after that revision. */
bool model_locks_follow(const struct points_model *model, uint64_t revision);
/* Whether these are all that are in force. */
bool model_locks_equal(const struct points_model *model, const struct point_locks *locks);

/* --- oracle_barriers.c --- */

void model_sweep_begins(struct points_model *model, const struct sweep *sweep);
void model_sweep_ends(struct points_model *model, const struct sweep *sweep, const struct store_event *event);
void model_barrier_closes(struct points_model *model, const struct store_event *event);
/* Somebody counts on it that this point has no promise any more. */
void model_check_waited_out(struct points_model *model, const struct known_instance *instance);
void model_note_level(struct points_model *model, struct known_barrier *barrier, struct known_instance *instance,
                      uint32_t level);

#endif
