/* Enforcement points: processes on machines of their own, with the real guard_state, a simple cache, and sessions.
 *
 *   down --start--> waiting --dial--> joining --Registered--> streaming --lost, silent, moved--> waiting
 *    ^                 ^                  |                       |
 *    |                 '---- LAPSED, UNKNOWN: a new instance -----+
 *    '--crash, goodbye---------------------------FENCED: denies until it is started again
 *
 * A point would permit a grant when its process lives, guard_state says DECIDING, the grant and all above it are in its
 * cache, no lock that it knows denies the grant, and none of them has reached its deadline by guard_state's time. It is asked so after everything that happens
 * to it and at random moments, also while it is paused: it could wake up at any instruction. What it would permit is
 * shown to the oracle (point_decide). */
#ifndef LAPSE_SIM_POINT_H
#define LAPSE_SIM_POINT_H

#include "client/guard_state.h"
#include "tests/sim/point_link.h"

#define POINTS_MAX 8u

struct point_cache {
    struct point_grant *grants;
    uint32_t n, max;
};

/* By kind and target. */
struct point_locks {
    struct point_lock *locks;
    uint32_t n, max;
};

/* A use of a grant that outlives its end for a while. */
struct point_session {
    struct grant_id grant;
    bool ending;        /* its grant has ended at `revision` */
    bool by_lock;       /* it has not: a lock denies it from `revision` on, at the latest from `last` on */
    bool stuck;         /* it can't be ended: the point says so */
    uint64_t revision;  /* the earliest that may have ended it */
    uint64_t last;
    int64_t ends_at_us; /* true time */
};
#define POINT_SESSIONS_MAX 16u

/* A session that could not be ended. Said on each new stream again: the node that was told may be gone with it. */
struct point_failure {
    struct grant_id grant;
    uint64_t revision;
};
#define POINT_FAILURES_MAX 8u

enum point_stage { POINT_WAITING, POINT_JOINING, POINT_STREAMING };

struct sim_point {
    struct sim *sim;
    uint32_t number;
    char id[16], principal[24];
    const char *scope;
    uint32_t lease_ms;

    /* The machine. */
    int64_t boot_origin_us, boot_base_us;
    int32_t drift_ppm;

    /* The process. */
    uint64_t incarnation;
    bool up, paused;
    struct random_id instance;
    struct guard_state state;
    struct point_cache cache;
    struct point_cache next; /* the snapshot under way */
    struct point_cache old;  /* --break cache-back: what it had once */
    struct point_cache held; /* --break ack: ends that are acknowledged, and not yet in the cache */
    struct point_locks locks;
    struct point_locks next_locks; /* of the snapshot under way */
    struct point_session sessions[POINT_SESSIONS_MAX];
    uint32_t n_sessions;
    struct point_failure failures[POINT_FAILURES_MAX]; /* the latest */
    uint32_t n_failures;
    bool slow_sessions;

    /* The stream. */
    enum point_stage stage;
    struct point_link *link;
    uint64_t attempt; /* tag of timers: older ones are stale */
    uint64_t told_received, told_enforced;
    int64_t heard_us; /* true time of the last promise or of the dialling */
    struct inbox_item *inbox, **inbox_tail;
};

struct sim_points;

struct sim_points *sim_points_new(struct sim *sim);
void sim_points_free(struct sim_points *points);
uint32_t sim_points_count(const struct sim_points *points);
struct sim_point *point_at(const struct sim_points *points, uint32_t i);

void point_start(struct sim_point *point);
/* `told`: the nodes learn at once that its connections are gone. */
void point_crash(struct sim_point *point, bool told);
void point_pause(struct sim_point *point);
void point_resume(struct sim_point *point);
/* It permits nothing any more, says so, and ends. */
void point_goodbye(struct sim_point *point);
/* Leaves its stream for another node; the old stream lingers there if it isn't told. */
void point_move(struct sim_point *point, bool told);

/* A message has arrived. */
void point_receive(struct sim_point *point, struct point_link *link, const struct point_message *message);

int64_t point_boot_us(const struct sim_point *point);
/* The true time at which its clock reads `boot_us`, at least. */
int64_t point_true_us(const struct sim_point *point, int64_t boot_us);

/* Whether it would permit the grant at this moment. */
bool point_permits(const struct sim_point *point, const struct point_grant *grant);
/* Shows everything that it would permit now to the oracle. */
void point_decide(struct sim_point *point);

/* All faults are over: every point runs, alone under its id, and reconnects. */
void sim_points_heal(struct sim_points *points);
/* True when every point decides again and holds what the cluster says. */
bool sim_points_settled(struct sim_points *points);

/* --- point_chaos.c --- */

/* Something happens to one of them. */
void sim_points_strike(struct sim_points *points, enum fault fault);

/* --- point_session.c --- */

void point_say(struct sim_point *point, struct point_message message); /* on its stream */
/* What the point may confirm as enforced. */
uint64_t sessions_enforced_to(const struct sim_point *point);
/* Somebody uses the grant, perhaps. */
void sessions_begin(struct sim_point *point, struct grant_id grant);
/* The grant has ended, at `revision` at the earliest. */
void sessions_end(struct sim_point *point, struct grant_id grant, uint64_t revision);
/* A lock has come, between these revisions: what it denies ends. */
void sessions_end_locked(struct sim_point *point, uint64_t revision, uint64_t last);
/* The same for all whose grants the cache doesn't hold. */
void sessions_end_missing(struct sim_point *point, uint64_t revision);
void sessions_tend(struct sim_point *point);
/* Tells on this stream what could not be ended. */
void sessions_say_failures(struct sim_point *point, uint32_t from);

/* --- point_cache.c --- */

const struct point_grant *cache_find(const struct point_cache *cache, struct grant_id id);
/* Takes what an event or a snapshot says; an ended grant leaves. */
void cache_set(struct point_cache *cache, const struct point_grant *grant);
void cache_copy(struct point_cache *into, const struct point_cache *from);
void cache_clear(struct point_cache *cache);
void cache_free(struct point_cache *cache);

/* --- point_locks.c --- */

/* The event of a lock: what it denies is denied, and its sessions end, before more is acknowledged. */
void point_take_lock(struct sim_point *point, const struct point_message *message);

/* What an event or a snapshot says; what is known of that lock may be newer. */
void locks_take(struct point_locks *locks, const struct point_lock *lock);
bool point_locks_deny(const struct point_locks *locks, const struct point_grant *grant);
bool locks_hold(const struct point_locks *locks, enum lock_kind kind, const char *target);
void locks_clear(struct point_locks *locks);
void point_locks_free(struct point_locks *locks);

#endif
