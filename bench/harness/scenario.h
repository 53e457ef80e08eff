/* Scenarios: one file each in bench/scenarios/, in the table of bench/lapse_bench.c. */
#ifndef LAPSE_BENCH_HARNESS_SCENARIO_H
#define LAPSE_BENCH_HARNESS_SCENARIO_H

#include "bench/harness/report.h"
#include "bench/harness/system.h"

/* What the command line says; a scenario uses what its help names. 0 (or NULL): its own default. */
struct bench_settings {
    uint32_t nodes, subscribers, writes, warmup, rounds, items, in_flight, seconds, connections;
    uint32_t rate;       /* operations a second, at even distances; 0: one after the other */
    uint32_t background; /* revocation: other writes a second meanwhile */
    uint32_t beside;     /* expiry: so many other items with deadlines far away */
    const char *wait;    /* revocation (Lapse): committed, received, enforced */
    const char *fault;   /* failover: kill, freeze, partition */
    const char *victim;  /* failover: leader, follower */
    bool brief;          /* a short form, for function, not for figures */
};

struct bench {
    struct bench_settings settings;
    struct system_options options;
    struct system *system; /* NULL for scenarios of the machine alone */
    struct bench_loop *writers, *watchers;
    struct report *report; /* what was measured so far stays in it when a scenario fails */
};

enum scenario_needs {
    NEEDS_NO_SYSTEM = 1,
    NEEDS_LAPSE = 2,
    NEEDS_EXPIRY = 4,
    NEEDS_FAIL_OVER = 8,
    NEEDS_WATCH = 16,
    NEEDS_THREE_NODES = 32
};

struct scenario {
    const char *name;
    const char *summary; /* one line of help */
    const char *flags;   /* the settings it uses, for help: "--subscribers --writes --rate" */
    unsigned needs;      /* enum scenario_needs */
    /* Fills in defaults and refuses impossible ones (INVALID_ARGUMENT); NULL: nothing to say. */
    lapse_result (*check)(struct bench_settings *settings, struct lapse_error *error);
    lapse_result (*run)(struct bench *bench, struct lapse_error *error);
};

extern const struct scenario scenario_revocation, scenario_fanout, scenario_floor, scenario_throughput, scenario_expiry,
    scenario_failover, scenario_overrun, scenario_memory, scenario_restart, scenario_check, scenario_agent;

#endif
