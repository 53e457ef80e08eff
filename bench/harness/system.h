/* A system under test: a cluster of one kind (Lapse, etcd, Redis, ZooKeeper, NATS), as scenarios see it. Every scenario
 * runs the same code on all of them.
 *
 * What is compared: an *item* is the record whose end others must learn of: a grant that is revoked or expires, a key
 * that is deleted or whose TTL runs out. Items have numbers. A *writer* is one connection that makes and ends items; a
 * *watcher* is one connection that is told of every end. Both belong to a node, and to a loop.
 *
 *   kind->start --> system --> writer_open, watcher_open --> item_make, item_end --> done   (writer's loop)
 *                                                                     watcher's loop: gone <--+
 *
 * Unless it says otherwise a function is called from the scenario's thread, blocks, and fails with a message that says
 * what to do. An acknowledgement means what it means to that system's users at its tuning: written by a majority and
 * synced, where the system can. */
#ifndef LAPSE_BENCH_HARNESS_SYSTEM_H
#define LAPSE_BENCH_HARNESS_SYSTEM_H

#include "base/result.h"
#include "bench/harness/loop.h"
#include "bench/harness/process.h"

#define SYSTEM_NODES_MAX 7

enum system_can {
    SYSTEM_CAN_EXPIRE = 1,    /* items with a deadline of their own */
    SYSTEM_CAN_FAIL_OVER = 2, /* goes on writing by itself when the leader dies */
    SYSTEM_CAN_WATCH = 4,
    SYSTEM_CAN_PARTITION = 8 /* system_ops.cut works */
};

struct system_kind;

/* Embedded as first member of each kind's own struct; filled by kind->start. */
struct system {
    const struct system_kind *kind;
    uint32_t n_nodes;
    struct process nodes[SYSTEM_NODES_MAX]; /* empty with endpoints given */
    char dir[PROCESS_PATH_SIZE];
    char version[64]; /* "3.4.23" */
    char flags[512];  /* what a node was started with, for the report */
    const char *tuning;
    uint32_t quiet_from; /* items from this one on are where no watcher looks, if the kind can do that; 0: none. Set before use */
    int64_t ready_ns; /* bench_now_ns when the node that was restarted last took calls again; 0: not known */
};

struct system_writer; /* each kind's own */
struct system_watcher;

struct system_options {
    uint32_t nodes;          /* 1 to SYSTEM_NODES_MAX */
    const char *tuning;      /* one of kind->tunings */
    const char *program;     /* NULL: found beside this program or in PATH */
    char *const *flags;      /* more flags for every node; NULL-terminated; may be NULL */
    const char *endpoints;   /* a running cluster instead ("host:port,host:port"); NULL: start one */
    const char *credentials; /* Lapse with endpoints: directory with ca.pem, operator.pem/.key, ...; otherwise NULL */
    bool keep;               /* leave the directory when it ends, and say where it is */
};

/* The item's change is acknowledged (error NULL) or not; once, on the writer's loop, never on the caller's stack.
 * UNAVAILABLE: the outcome is unknown or nothing was done; the caller tries again, perhaps at another node. */
typedef void (*system_done)(void *arg, const struct lapse_error *error);
/* A watcher learned that the item has ended; on the watcher's loop. Once for each item in an undisturbed run. */
typedef void (*system_gone)(void *arg, uint32_t item);

struct system_kind {
    const char *name;           /* "etcd", as in --system */
    const char *package;        /* what to install when it is missing: "etcd-server" */
    const char *const *tunings; /* NULL-terminated; the first is "default" */
    unsigned can;               /* enum system_can */
    int64_t ttl_ms_min;         /* the shortest deadline that it takes; 0: any */
    int64_t ttl_ms_step;        /* it takes multiples of this only; 0: any */

    /* True when its programs and libraries are here. */
    bool (*is_here)(void);
    /* Starts nodes and returns when writes work. Nodes are numbered from 1. */
    lapse_result (*start)(const struct system_options *options, struct system **system, struct lapse_error *error);
    /* Kills what runs, removes the directory, frees. After a failed scenario, too. Accepts NULL. */
    void (*stop)(struct system *system);

    /* Who leads; waits until somebody does. */
    lapse_result (*leader)(struct system *system, uint32_t *node, struct lapse_error *error);
    /* Starts a killed node on its data and ports and waits until it has caught up. */
    lapse_result (*restart)(struct system *system, uint32_t node, struct lapse_error *error);
    /* SYSTEM_CAN_PARTITION: the node can't reach the others nor they it (`cut`), or can again. Clients still reach it.
     */
    lapse_result (*cut)(struct system *system, uint32_t node, bool cut, struct lapse_error *error);
    /* What the system says of itself that a scenario reports: NULL, or metrics by name. NOT_FOUND for what it doesn't
     * know. "elections": the term or epoch, which each new leader raises; "loop_us_max": the longest iteration of what
     * must never wait; "accounted_bytes": what it says that its items take. */
    lapse_result (*metric)(struct system *system, uint32_t node, const char *name, double *value,
                           struct lapse_error *error);

    /* NULL, or: items 0 to n - 1 can be used from now on. */
    lapse_result (*reserve)(struct system *system, uint32_t n, struct lapse_error *error);

    /* Returns when connected. `node` from 1. */
    lapse_result (*writer_open)(struct system *system, struct bench_loop *loop, uint32_t node,
                                struct system_writer **writer, struct lapse_error *error);
    /* What is under way is done with CANCELLED before this returns. Accepts NULL. */
    void (*writer_close)(struct system_writer *writer);
    /* On the writer's loop. Makes an item that lasts `ttl_ms` (0: until it is ended) from now on. */
    void (*item_make)(struct system_writer *writer, uint32_t item, int64_t ttl_ms, system_done done, void *arg);
    /* On the writer's loop: deletes, revokes. What has ended already is acknowledged, too: an attempt whose outcome was
     * unknown is repeated. */
    void (*item_end)(struct system_writer *writer, uint32_t item, system_done done, void *arg);

    /* Opens `n` connections, watcher i at node i % n_nodes + 1 (or all at `node`, unless 0), and returns when each is
     * told of all that ends from then on. gone_arg(i) is &args[i * size]. */
    lapse_result (*watchers_open)(struct system *system, struct bench_loop *loop, uint32_t n, uint32_t node,
                                  system_gone gone, void *args, size_t size, struct system_watcher **watchers,
                                  struct lapse_error *error);
    void (*watchers_close)(struct system_watcher *watchers);
    /* NULL, or: items [first, first + n) will end next; returns when every watcher would be told. For systems whose
     * watches are one-shot or by item. */
    lapse_result (*watchers_arm)(struct system_watcher *watchers, uint32_t first, uint32_t n,
                                 struct lapse_error *error);
};

/* All kinds that this build knows, NULL-terminated; Lapse first. A peer whose client library is missing at build time
 * is there, too, and says so (is_here false). */
extern const struct system_kind *const system_kinds[];
const struct system_kind *system_find(const char *name);

/* One of those that no watcher is told of (system->quiet_from): the kind keeps it elsewhere. */
static inline bool system_is_quiet(const struct system *system, uint32_t item)
{
    return system->quiet_from != 0 && item >= system->quiet_from;
}

/* UNAVAILABLE when a node has ended that nobody killed. */
lapse_result system_check(struct system *system, struct lapse_error *error) LAPSE_MUST_USE;

/* kind->reserve, where it is needed: items are numbered 0 to n - 1. */
lapse_result system_reserve(struct system *system, uint32_t n, struct lapse_error *error) LAPSE_MUST_USE;

/* Makes items [first, first + n) through writers at every node, many at once. UNAVAILABLE, INTERNAL. */
lapse_result system_make_items(struct system *system, struct bench_loop *loop, uint32_t first, uint32_t n,
                               int64_t ttl_ms, struct lapse_error *error) LAPSE_MUST_USE;

#endif
