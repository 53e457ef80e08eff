/* A whole cluster in one thread, on virtual time: the same replica, log, store and ring as in `lapsed`, with a clock, a
 * disk and a network that do their worst, and an oracle that knows the guarantees (DESIGN.md, section 2) and nothing of
 * the implementation.
 *
 *            chaos --faults--> +-------------------------------------+
 *   clients --write, read----> | node: replica, log, store, ring     | --frames--> network --> other nodes
 *   subscribers <--events----- |       virtual disk, drifting clocks |
 *   points <--leases, events-> |       lease_node, lease_leader      |
 *                              +-------------------------------------+
 *                                  | every command, event, ack, read, leader
 *                                  v
 *                                oracle: G1 to G7, G9, linearizable reads, one leader a term
 *
 * A run is a function of its seed: every choice is drawn from one generator, in an order that only events decide. */
#ifndef LAPSE_SIM_SIM_H
#define LAPSE_SIM_SIM_H

#include "base/bytes.h"
#include "tests/sim/events.h"
#include "tests/sim/prng.h"
#include "tests/sim/profile.h"

#define SIM_NODES_MAX 5u
#define SIM_MILLISECOND INT64_C(1000)
#define SIM_SECOND INT64_C(1000000)
/* What the calendar says when a run begins. */
#define SIM_EPOCH_WALL_MS INT64_C(1800000000000)

/* Ways to break the house on purpose, to show that the oracle would notice. Those that aren't leases' are in the
 * simulator's own driver. */
enum sim_break {
    BREAK_NOTHING,
    BREAK_DURABLE, /* appends are reported done, and written some time later */
    BREAK_VOTE,    /* votes are reported done, and written some time later */
    BREAK_ORDER,   /* a write is acknowledged when it is taken, not when it is committed */
    BREAK_RING,    /* a subscriber's edge loses an event now and then */
    BREAK_EXPIRY,  /* boot clocks run wrong by far more than they may */
    BREAK_READ,    /* reads are answered from the local store, without a quorum */
    /* A wait of the enforcement leases is left out (enum lease_broken). */
    BREAK_LEASE_POINT,
    BREAK_LEASE_NODE,
    BREAK_LEASE_TERM,
    BREAK_LEASE_LIFE,
    BREAK_ADMISSION,
    BREAK_ACK,        /* a point confirms the end of a grant before its cache denies it */
    BREAK_CACHE_BACK, /* a point goes back to what its cache held earlier */
    BREAK_CHAIN,      /* a node leaves an event out of its audit chain, or hashes another byte */
    BREAK_LOCK,       /* a point acknowledges a lock, and permits what it denies */
    BREAK_COUNT
};
const char *sim_break_name(enum sim_break broken);

struct sim_node;
struct network;
struct clients;
struct subscribers;
struct chaos;
struct oracle;
struct sim_points;
struct points_model;

struct sim_options {
    uint64_t seed;
    const struct profile *profile; /* NULL: the seed chooses */
    int64_t virtual_us;            /* length of the eventful part; 0: the seed chooses */
    enum sim_break broken;
    bool trace;
};

struct sim {
    uint64_t seed;
    const struct profile *profile;
    enum sim_break broken;
    struct prng prng;
    struct events events;
    int64_t now_us;

    uint32_t n_nodes;
    uint32_t n_voters; /* at the start: the first ones of `nodes`; there are never fewer */
    struct sim_node *nodes[SIM_NODES_MAX];
    struct network *network;
    struct clients *clients;
    struct subscribers *subscribers;
    struct chaos *chaos;
    struct oracle *oracle;
    struct sim_points *points;
    struct points_model *points_oracle; /* part of the oracle */

    bool trace;
    uint64_t trace_hash; /* over everything that was traced */
    bool healed;         /* the eventful part is over: no more faults */
    int64_t quiet_at_us; /* from then on nothing excuses a delay: no faults, and a leader has been there for a while */
    uint64_t n_events, early_elections, wrong_hints;

    bool failed;
    char failure[1024];
};

/* What governance had to do with. */
struct governance_counts {
    uint64_t requests, approvals, several /* with another one before */, automatic, break_glass;
    uint64_t policies, locks, denied /* questions about what is locked */, offboarded, eligibilities, campaigns;
    uint64_t reviews, overdue, tokens, token_checks, disallowed /* sweeps for what a policy ends */;
};

struct sim_result {
    bool failed;
    char failure[1024];
    const char *profile;
    uint64_t trace_hash;
    uint64_t n_events, commands, revisions, acknowledged, reads, elections, snapshots, resyncs;
    uint64_t early_elections, wrong_hints; /* that a leader's process is gone */
    uint64_t promises, permits, barriers, told, lapsed, failed_receipts;
    struct governance_counts governance;
    int64_t virtual_us;
};

/* Runs one seed from an empty cluster to a healed one. */
void sim_run(const struct sim_options *options, struct sim_result *result);

/* Records that a guarantee was violated; the first one counts, the run ends after the event that is being handled. */
void sim_fail(struct sim *sim, const char *guarantee, const char *format, ...) LAPSE_PRINTF(3, 4);

/* Notes what happened: part of the run's hash, printed with --trace. `node` 0: none. */
void sim_trace(struct sim *sim, uint64_t node, const char *what, uint64_t a, uint64_t b, uint64_t c);

/* Chance. */
uint64_t sim_below(struct sim *sim, uint64_t bound);             /* [0, bound) */
int64_t sim_between(struct sim *sim, int64_t low, int64_t high); /* [low, high] */
bool sim_chance(struct sim *sim, uint32_t ppm);
/* Roughly exponential around `mean`, at least 1, at most 8 means. */
int64_t sim_around(struct sim *sim, int64_t mean);
void sim_random_bytes(struct sim *sim, uint8_t *bytes, size_t len);

/* Runs `run(arg, tag)` in `delay_us`. */
void sim_after(struct sim *sim, int64_t delay_us, event_cb run, void *arg, uint64_t tag);

/* One step of a 64-bit hash. */
static inline uint64_t sim_mix(uint64_t hash, uint64_t value)
{
    hash ^= value + 0x9e3779b97f4a7c15u + (hash << 6) + (hash >> 2);
    hash *= 0xbf58476d1ce4e5b9u;
    return hash ^ (hash >> 29);
}
uint64_t sim_hash_bytes(uint64_t hash, struct slice bytes);

#endif
