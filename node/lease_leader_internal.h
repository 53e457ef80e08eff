/* The inside of lease_leader, shared by its files:
 *
 *   lease_leader.c     life, reports, admissions, answers
 *   lease_table.c      points x nodes: what is known of their promises, and the bounds that follow (0010's table)
 *   lease_barrier.c    open barriers, and receipts on their way into the log
 *   lease_decide.c     which points are waited out, and when
 *   lease_progress.c   what nodes that follow a barrier are told */
#ifndef LAPSE_NODE_LEASE_LEADER_INTERNAL_H
#define LAPSE_NODE_LEASE_LEADER_INTERNAL_H

#include <sys/queue.h>

#include "node/lease_frame.h"
#include "node/lease_index.h"
#include "node/lease_leader.h"

#define NEVER INT64_MIN

/* Barriers that are still open then have points that are worth a look; most are done before. */
#define BARRIER_LOOK_US (20 * 1000ll)
/* Points that are waited for are looked at in one go, this far apart. */
#define WATCH_US (5 * 1000ll)
/* The store's points are compared with the table. */
#define SYNC_US (1000 * 1000ll)
/* ... at the earliest, when a barrier waits for points that the table may not have. */
#define SYNC_SOON_US (200 * 1000ll)
/* Receipts of barriers that are not complete wait so long for others. */
#define RECEIPTS_WAIT_US (20 * 1000ll)
/* A proposal without effect is made again after this; one that was refused, after this. */
#define PROPOSE_AGAIN_US (1000 * 1000ll)
#define REFUSED_US (50 * 1000ll)
/* A node hears at least so often, while it pings. */
#define ANSWER_US (50 * 1000ll)
#define PROGRESS_US (20 * 1000ll)
/* One node's followed barriers, and progress frames in one go. */
#define FOLLOWS_MAX 4096u
#define PROGRESS_AT_ONCE 50u
/* Tables as small as this are walked through without waiting. */
#define FEW_POINTS 32u

struct leader_failure {
    STAILQ_ENTRY(leader_failure) next;
    uint64_t first, last;
    char reason[LIMIT_RECEIPT_REASON + 1];
};

/* A registered instance. The masks and arrays are by slot (see struct lease_slot). */
struct lease_point {
    struct lease_link link;
    TAILQ_ENTRY(lease_point) all;
    TAILQ_ENTRY(lease_point) watch;
    char id[LIMIT_POINT_ID + 1];
    int64_t lease_us;
    bool fenced;
    bool seen; /* by the sync under way */

    /* Where it has streams, where it is admitted (and not cut), and what a complete report under way has not mentioned.
     */
    uint16_t present, admitted, unmentioned;
    uint64_t want[LIMIT_PEERS];    /* 0: none */
    uint64_t granted[LIMIT_PEERS]; /* the want that was admitted last */
    int64_t bound_us[LIMIT_PEERS]; /* not admitted there: no promise of that node runs longer; NEVER: none runs */
    int64_t floor_us;              /* likewise for nodes that were removed */
    int64_t absent_us;             /* since when it has no stream anywhere */

    uint64_t received, enforced;
    uint64_t settled; /* receipts of all barriers up to here are on their way */
    uint64_t behind;  /* received, and not enforced since behind_us: FAILED a lease later */
    int64_t behind_us;
    uint64_t blocks; /* the newest barrier's revision that was seen to wait for it */
    bool goodbye;
    uint32_t n_failures;
    STAILQ_HEAD(, leader_failure) failures;

    /* It is over: sticky for the term, since what was proposed may still commit. No admission any more. */
    enum point_end decided;
    int64_t proposed_us; /* END_POINT; NEVER: not yet */
    bool watched;
    int64_t due_us;
};

/* A node that is a member. */
struct lease_slot {
    uint64_t id;       /* 0: free */
    uint64_t life;     /* of its process, as last heard in this term; 0: not heard */
    uint64_t session;  /* that we gave it */
    uint64_t expected; /* the sequence of its next frame */
    bool reported;     /* the session's complete report is here */
    bool complete;     /* one of this term was */
    int64_t born_us;   /* its process began before this; counts once complete */
    int64_t session_born_us;
    int64_t grant_us; /* the newest node lease; NEVER: none in this term */

    /* The answer that is due. */
    bool answer_due;
    uint64_t echo_us, applied;
    bool echo_counts; /* the ping was of the present session */
    int64_t answered_us;
    struct lease_admission *admissions;
    uint32_t n_admissions, admissions_capacity;
    struct lease_ending *ends;
    uint32_t n_ends, ends_capacity;
};

struct lease_want {
    struct random_id instance;
    uint32_t slot;
    uint64_t want;
};

/* An open barrier with a revision. */
struct lease_barrier {
    uint64_t id;
    uint64_t revision;
    int64_t opened_us;
    uint32_t needed, ready; /* receipts missing when it was seen, and those that are on their way */
    bool done, scanned;
};

/* A receipt on its way: proposed ones first, in the order of their proposal. */
struct lease_receipt {
    uint64_t barrier;
    struct random_id instance;
    enum receipt_level level;
    int64_t time_ms;
    int64_t ready_us;
    char *reason; /* NULL: none */
};

struct lease_follower {
    TAILQ_ENTRY(lease_follower) all;
    uint64_t node, barrier;
    int64_t due_us;
    uint64_t told; /* a digest of what was told last */
};

struct lease_leader {
    const struct store *store;
    struct lease_leader_io io;
    void *arg;
    enum lease_broken broken;
    int64_t born_us;
    int64_t removed_us;  /* when a member went away last, as far as this process has seen; NEVER */
    bool store_replaced; /* members may have come and gone without our seeing it */

    bool leading, ready;
    uint64_t term;
    int64_t since_us;
    bool strangers; /* nodes that we know nothing of may have promised in earlier terms */
    uint64_t last_session;

    struct lease_slot slots[LIMIT_PEERS];
    struct lease_index points;
    TAILQ_HEAD(point_list, lease_point) all;
    struct point_list watch;
    int64_t watch_due_us, watched_us;
    uint64_t n_decided; /* ends of points, by this process */
    int64_t sync_due_us, synced_us;
    uint64_t synced_revision;

    struct lease_want *wants;
    uint32_t n_wants, wants_capacity;

    /* Open barriers by revision; done ones among them are taken out now and then. */
    struct lease_barrier *barriers;
    uint32_t n_barriers, barriers_capacity;
    uint64_t seen_barrier, seen_revision;
    uint64_t sweeps[LIMIT_SWEEPS];
    uint32_t n_sweeps;
    int64_t look_due_us;

    /* Receipts [first_receipt, n_proposed) are in the log or on their way there, [n_proposed, n_receipts) wait. */
    struct lease_receipt *receipts;
    uint32_t first_receipt, n_proposed, n_receipts, receipts_capacity;
    int64_t proposed_us, not_before_us;
    bool barrier_complete;

    TAILQ_HEAD(, lease_follower) followers;
    uint32_t n_followers;
    int64_t progress_due_us;

    uint64_t decided_levels[RECEIPT_LEFT + 1]; /* receipts proposed, by level */
};

/* --- lease_table.c --- */
void lease_table_clear(struct lease_leader *leader);
/* The slot of a member; NULL when it is none. */
struct lease_slot *lease_slot_of(struct lease_leader *leader, uint64_t node);
uint32_t lease_slot_index(const struct lease_leader *leader, const struct lease_slot *slot);
void lease_slot_clear(struct lease_slot *slot);
/* The slot is going to be used for another: what it knows becomes the points' own. */
void lease_table_retire(struct lease_leader *leader, uint32_t slot);
/* A registered instance, new in the table if need be; NULL when the store has none. */
struct lease_point *lease_table_point(struct lease_leader *leader, const struct random_id *instance, int64_t now_us);
void lease_table_remove(struct lease_leader *leader, struct lease_point *point);
/* Makes the table hold what the store has. */
void lease_table_sync(struct lease_leader *leader, int64_t now_us);
/* When the last promise to the point has surely run out, on our clock. */
int64_t lease_table_bound(const struct lease_leader *leader, const struct lease_point *point);
/* No admission of the point that a node may still hold counts after this. */
void lease_table_withdraw(struct lease_leader *leader, struct lease_point *point);
/* A report's word about one point; the frame was received at `now_us`. */
void lease_table_report(struct lease_leader *leader, struct lease_point *point, uint32_t slot,
                        const struct lease_item *item, int64_t now_us);
void lease_table_begin_report(struct lease_leader *leader, uint32_t slot);
void lease_table_end_report(struct lease_leader *leader, uint32_t slot, int64_t now_us);
/* The node begins anew: nothing it says counts but a complete report under this number. */
void lease_slot_new_session(struct lease_leader *leader, struct lease_slot *slot);

/* --- lease_barrier.c --- */
void lease_barriers_clear(struct lease_leader *leader);
/* Notes barriers that are new in the store, and receipts that have come into it. */
void lease_barriers_look(struct lease_leader *leader, int64_t now_us);
/* Makes the points known that barriers wait for; drops done barriers. */
void lease_barriers_tick(struct lease_leader *leader, int64_t now_us);
/* Receipts for all barriers up to `upto` that wait for the point. */
void lease_settle(struct lease_leader *leader, struct lease_point *point, uint64_t upto, enum receipt_level level,
                  int64_t now_us);
/* FAILED for those barriers that a failure of the point falls in. */
void lease_settle_failure(struct lease_leader *leader, struct lease_point *point, const struct leader_failure *failure,
                          uint64_t received, int64_t now_us);
/* The oldest open barrier that waits for the point and that it has not received; NULL when there is none. */
struct lease_barrier *lease_barrier_blocked_by(const struct lease_leader *leader, const struct lease_point *point);
/* The newest revision that a node must have applied to get a lease. */
uint64_t lease_barriers_overdue(const struct lease_leader *leader, int64_t now_us);
void lease_receipt_add(struct lease_leader *leader, struct lease_barrier *barrier, const struct lease_point *point,
                       enum receipt_level level, const char *reason, int64_t now_us);
void lease_receipts_propose(struct lease_leader *leader, int64_t now_us);
/* What was proposed may be lost. */
void lease_receipts_refused(struct lease_leader *leader, int64_t now_us);
int64_t lease_barriers_due_us(const struct lease_leader *leader);

/* --- lease_decide.c --- */
/* Has the point looked at soon. */
void lease_watch(struct lease_leader *leader, struct lease_point *point, int64_t due_us);
void lease_unwatch(struct lease_leader *leader, struct lease_point *point);
void lease_decide_tick(struct lease_leader *leader, int64_t now_us);
void lease_decide_refused(struct lease_leader *leader, int64_t now_us);

/* --- lease_progress.c --- */
void lease_progress_clear(struct lease_leader *leader);
void lease_progress_follow(struct lease_leader *leader, uint64_t node, uint64_t barrier);
void lease_progress_unfollow(struct lease_leader *leader, uint64_t node, uint64_t barrier /* 0: all */);
void lease_progress_tick(struct lease_leader *leader, int64_t now_us);

/* Room for one more in a growing array. */
void *lease_grow(void *array, uint32_t n, uint32_t *capacity, size_t size);

#endif
