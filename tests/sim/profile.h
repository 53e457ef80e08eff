/* What kind of bad day a run simulates. A profile gives ranges and weights; the seed draws the day from them. */
#ifndef LAPSE_SIM_PROFILE_H
#define LAPSE_SIM_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What may go wrong. Each fault is undone after a while, at the latest when the run heals at its end. */
enum fault {
    FAULT_CRASH, /* kill -9: what was written survives */
    FAULT_CRASH_ALL,
    FAULT_POWER_LOSS, /* what was not synced may be lost or torn */
    FAULT_POWER_LOSS_ALL,
    FAULT_BOUNCE,    /* kill -9, and up again within a fraction of any lease */
    FAULT_PAUSE,     /* SIGSTOP, or a suspended VM: inputs wait, boot time goes on */
    FAULT_PAUSE_ALL, /* one by one, for longer than any lease now and then; each wakes up by itself */
    FAULT_ISOLATE,   /* one node is cut off */
    FAULT_ISOLATE_LEADER,
    FAULT_ONE_WAY, /* one node is no longer heard, or hears nothing */
    FAULT_BRIDGE,  /* two nodes no longer hear each other, a third hears both */
    FAULT_BREAK,   /* a connection breaks and is dialled again */
    FAULT_SLOW_LINK,
    FAULT_WALL_STEP, /* a wall clock is set to another time */
    FAULT_DISK_FAIL, /* a write or sync fails: the node must stop */
    FAULT_DISK_FULL,
    FAULT_DISK_SLOW,
    FAULT_DISK_ROT, /* a bit flips while the process is down: it must refuse to start, or not need that bit. A minority
                       only */
    FAULT_MEMBERS,  /* neither: a node is added, promoted or removed */
    FAULT_PRESSURE, /* what is derived from a node's log is behind: it goes slowly as a leader */
    FAULT_FALSE_HINT, /* nodes believe again and again that another one's process is gone */
    FAULT_TRANSFER,   /* not a fault: a leader is asked to hand over */
    /* Enforcement points. */
    FAULT_POINT_PAUSE,   /* for longer than any lease now and then */
    FAULT_POINT_CRASH,   /* a new instance comes back */
    FAULT_POINT_GOODBYE, /* no fault either: it leaves in order */
    FAULT_POINT_CUT,     /* its connection is cut: in one or both directions, half-open, or late */
    FAULT_POINT_MOVE,    /* it changes nodes; its old stream may linger */
    FAULT_POINT_SLOW,    /* its sessions end slowly, or can't be ended */
    FAULT_POINT_TWIN,    /* a second process starts under the name of one that lives */
    FAULT_COUNT
};

struct profile {
    const char *name;
    const char *guarantee; /* whose test it serves first */
    uint32_t weights[FAULT_COUNT];
    int64_t fault_gap_us;    /* mean time between faults; 0: none */
    int64_t fault_length_us; /* mean length of a fault */
    uint32_t drift_ppm;      /* boot clocks run wrong by up to this */
    int64_t wall_skew_ms;    /* wall clocks of a start differ by up to this from the truth */
    int64_t wall_step_ms;    /* a step's size; 0: walls are honest */
    uint64_t snapshot_entries;
    uint64_t trailing_entries;
    uint32_t loss_ppm;       /* frames lost without breaking the order of the others */
    bool datagrams;          /* frames may be reordered and duplicated, which connections don't do */
    uint32_t ring_events;    /* capacity; small: subscribers fall off */
    uint32_t newcomers;      /* nodes beyond the first voters, which may be added; 0: membership is fixed */
    uint32_t points;         /* actors, at most POINTS_MAX; the last of four and more has the first one's name */
    uint32_t point_lease_ms; /* their longest lease */
    uint32_t governance_ppm; /* of operations: policies, locks, eligibility, ...; from 100,000 on points' locks, too */
    int64_t think_us;        /* clients' mean pause between operations */
};

/* The profile of that name, NULL when there is none. */
const struct profile *profile_find(const char *name);
/* Profile number `i`, NULL past the last. */
const struct profile *profile_at(size_t i);
size_t profile_count(void);
const char *fault_name(enum fault fault);

#endif
