/* Cluster time: one clock for all deadlines, carried by the leader and handed on at each change of leader.
 *
 *   leader:    cluster time = its boot clock + an offset that never changes during its term
 *   follower:  cluster time is between two bounds, from the leader's frames
 *
 * Every frame from the leader carries its cluster time T and echoes the newest stamp e (our own boot time) that it had
 * from us when it wrote the frame. We get it at r. Since T was read after e and before r:
 *
 *   cluster time at r >= T                    -> lower offset = T - r     (short by the way here, never more)
 *   cluster time at r <= T + (r - e)          -> upper offset = T - e
 *
 * Kept are the best bounds of the last one to two seconds of frames (two buckets that take turns): old ones go because
 * clocks drift, by 1 % at most, so that a bound is off by less than 20 ms beyond its own error. They go only when newer
 * ones come: a follower that hears nothing keeps counting at the pace of its own clock.
 *
 * Taking over. A new leader goes on from the greatest lower bound that it or any voter it has heard of lately has. It
 * can't run ahead of the old leader's clock by more than drift; it is behind by at most the shortest way from the old
 * leader to any of them. Every elected leader has just heard from a majority (votes carry the estimate, too), so a node
 * whose clock stood still (a paused virtual machine) is corrected by the nodes that voted for it. Wall clocks play no
 * part. Should all that is known be vague (frames that waited in a paused process say too little), which shows in the
 * smallest upper bound lying more than 100 ms above the greatest lower one, it goes on from the upper: early, never
 * late.
 *
 * Eras. A cold start (below) begins a new era, named by the term of its leader; a leader that takes over keeps the era.
 * Each estimate belongs to one, and one of a later era replaces all earlier ones, greater or not: a node that was cut
 * off may hold the time of a leader that the cluster never followed. Within an era bounds of different leaders are
 * comparable. Whatever a leader's time was used for (an entry committed, a read answered) took a majority that had it
 * from that leader's frames; the next leader hears from one of these. Times that were committed bound it from below in
 * any case: a leader establishes its time only when it has applied everything committed before its term.
 *
 * A cold start. When no voter has an estimate the whole cluster was down, and nobody knows for how long: the wall
 * clocks are asked, once. The median of the voters' heard from in this life (at least a majority, ourselves included;
 * all of them if they answer within the grace period) becomes cluster time, the later of the middle two when their
 * number is even: a single wrong clock can then neither prolong a grant nor, among three, end all of them. It is never
 * before the greatest time ever applied, so stepping all clocks back prolongs nothing either.
 *
 * Monotonic: what the leader stamps never decreases, and store_apply clamps it again.
 *
 * Pure: time goes in as an argument. Times are microseconds; offsets are cluster time minus our boot clock. */
#ifndef LAPSE_RAFT_CLUSTER_CLOCK_H
#define LAPSE_RAFT_CLUSTER_CLOCK_H

#include "base/bytes.h"
#include "base/limits.h"

#define CLOCK_NONE INT64_MIN

struct clock_bounds {
    int64_t lower, upper; /* greatest lower and smallest upper offset; CLOCK_NONE when not known */
    int64_t newest_us;    /* boot time of the newest sample */
};

struct clock_voice {
    uint64_t id;
    int64_t heard_us;
    int64_t lower;     /* offset by its own estimate; CLOCK_NONE: it has none */
    int64_t upper;     /* offset that cluster time can't pass by its own account; CLOCK_NONE: not known */
    uint64_t era;      /* of that estimate */
    int64_t wall;      /* offset of its wall clock to our boot clock, CLOCK_NONE: not heard */
    int64_t warned_us; /* about its wall clock */
};

struct cluster_clock {
    bool leading;
    int64_t offset; /* while leading; CLOCK_NONE: not established yet */
    uint64_t led_term;
    int64_t led_since_us;
    int64_t floor_us;    /* the greatest time applied or stamped */
    int64_t cold_gap_us; /* our cold start: wall clocks minus the greatest time applied; CLOCK_NONE: there was none */
    uint64_t era;        /* of the bounds, or of our own time while leading */
    struct clock_bounds current, previous;
    int64_t bucket_us; /* when `current` began */
    struct clock_voice voices[LIMIT_PEERS];
    uint32_t n_voices;
};

void cluster_clock_init(struct cluster_clock *clock);

/* What a frame said. `from_leader`: by the leader of our term. `time_us` 0: it knows no time. `echo_us` 0: no echo. */
struct clock_sample {
    uint64_t from;
    bool from_leader;
    uint64_t era; /* that the time belongs to */
    int64_t time_us;
    int64_t wall_us;
    int64_t echo_us;
    int64_t upper_us; /* what cluster time had not passed, by its account; 0: not known */
};
/* Returns by how much the sender's wall clock surely differs from ours, in microseconds (positive: it is ahead). */
int64_t cluster_clock_hear(struct cluster_clock *clock, const struct clock_sample *sample, int64_t boot_us,
                           int64_t wall_us);

/* An entry with this time was applied, or a store with it restored. */
void cluster_clock_applied(struct cluster_clock *clock, int64_t time_ms);

void cluster_clock_begin_leading(struct cluster_clock *clock, uint64_t term, int64_t boot_us);
void cluster_clock_end_leading(struct cluster_clock *clock, int64_t boot_us);
/* While leading, once all that was committed before the term is applied: tries to establish the time among `voters`
 * (ids; ourselves included if we vote). True once it is. Waits `grace_us` for voters beyond a majority before it
 * resorts to wall clocks. */
bool cluster_clock_establish(struct cluster_clock *clock, uint64_t self, const uint64_t *voters, uint32_t n,
                             int64_t boot_us, int64_t wall_us, int64_t grace_us);

/* The leader's cluster time, or a follower's lower bound of it; 0 when not known. */
int64_t cluster_clock_now(const struct cluster_clock *clock, int64_t boot_us);
/* The era that cluster_clock_now belongs to. */
uint64_t cluster_clock_era(const struct cluster_clock *clock);
/* Not before cluster time; the leader's own time when leading; 0 when not known. */
int64_t cluster_clock_upper(const struct cluster_clock *clock, int64_t boot_us);
/* The time for the next entry, in milliseconds: never decreases. Only while leading and established. */
int64_t cluster_clock_stamp_ms(struct cluster_clock *clock, int64_t boot_us);
/* The boot time at which cluster_clock_stamp_ms will reach `time_ms`; INT64_MAX when not established. */
int64_t cluster_clock_when(const struct cluster_clock *clock, int64_t time_ms);

#endif
