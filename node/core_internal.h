/* What core.c (the loop) and core_call.c (the questions) share. Nobody else includes this. */
#ifndef LAPSE_NODE_CORE_INTERNAL_H
#define LAPSE_NODE_CORE_INTERNAL_H

#include <stdatomic.h>

#include "node/core.h"
#include "node/loop_meter.h"
#include "proto/encode.h"
#include "raft/disk_thread.h"
#include "raft/homes.h"
#include "raft/peers.h"

struct core {
    uv_loop_t *loop;
    struct config config;
    char cluster[CLUSTER_ID_SIZE];
    struct core_handler handler;
    void *handler_arg;

    struct disk *disk;
    struct log *log;
    struct disk_thread *disk_thread;
    struct storage_job *jobs, **last_job; /* the leader's, until its frames are out */
    struct replica *replica;
    struct peers *peers;
    struct homes homes;
    uint64_t dialled[LIMIT_PEERS]; /* the peers that were set */
    uint32_t n_dialled;
    struct ring *ring;
    struct mailbox mailbox;

    uv_prepare_t prepare; /* last before the poll: flushes what timers did, arms the timer, ends the iteration */
    uv_check_t check;     /* after the poll: flushes what it brought */
    uv_timer_t due;       /* replica_next_due_us */
    uv_timer_t pulse;     /* gauges, readiness, disk space */
    struct loop_meter meter;

    struct mail *line_head, **line_tail; /* calls whose answers are long, in the order in which they came */
    uint32_t line_length;
    uv_idle_t turns; /* runs while somebody stands in line */

    struct core_audit *audit;       /* core_audit.c */
    struct core_lease *lease;       /* core_lease.c */
    bool leases_gave;               /* the replica something that it has not flushed yet */
    struct core_barriers *barriers; /* core_barrier.c */
    struct core_hooks *hooks;       /* core_hooks.c; NULL: there are none */
    struct {
        struct core_point *first;   /* whose streams are open */
        struct core_point *waiting; /* admitted at a revision that is not applied here yet */
    } points;                       /* core_point.c */

    uint64_t pulses;
    bool events_waiting; /* the ring has grown since the edges were last woken */
    bool closing;
    struct lapse_error fatal; /* code LAPSE_OK: none */

    int64_t watchdog_us, watchdog_fed_us; /* systemd's; 0: not asked for */

    struct replica_read probe; /* readiness: a linearizable read every now and then */
    bool probe_waits;

    struct core_call *transfer; /* waits until another node leads; NULL: none */
    int64_t transfer_until_ms;

    uv_timer_t step_down;
    void (*step_down_done)(void *arg);
    void *step_down_arg;
    int64_t step_down_until_ms;

    uint32_t handles; /* open; at 0 the core is closed */
    void (*closed)(void *arg);
    void *closed_arg;

    _Atomic(int64_t) time_ms;
};

/* core_pulse.c: gauges, readiness, watchdog, newcomers: everything that is looked at every now and then. */
void core_pulse_start(struct core *core);
bool core_is_leader(const struct core *core);

/* core_turns.c: calls that are answered when it is their turn. At the end those in line are refused; after that none
 * is added, and the handle may be closed. */
void core_turns_init(struct core *core);
void core_turns_add(struct core_call *call);
void core_turns_end(struct core *core);

/* core_call.c: runs on the core loop when a call's mail arrives. */
void core_call_run(struct mail *mail);
/* The turn of a call that stood in line has come. */
void core_call_run_long(struct core_call *call);
/* The one way back to the edge; the other two fill in the answer before. `encoded` is what its encoder said. */
void core_call_answer(struct core_call *call);
void core_call_refuse(struct core_call *call, enum lapse_code code, const char *message);
void core_call_finish(struct core_call *call, lapse_result encoded);
const struct store *core_call_store(const struct core_call *call);
struct proto_point core_call_point(const struct core_call *call);
/* The answer shows the store as it is now. */
void core_call_set_now(struct core_call *call, int64_t time_ms);

/* core_sight.c: roles of the caller, and what it may guard if it is an enforcer with a scope. */
void core_call_look_up_caller(struct core_call *call);
/* What one enforcer may guard: every binding may be about it. */
#define CORE_GUARDS_BYTES_MAX ((size_t)LIMIT_ROLE_BINDINGS * (LIMIT_SCOPE + 1))

/* core_points.c: who is registered, and what became of a revocation. */
void core_points_list(struct core_call *call);
void core_points_barrier(struct core_call *call);

/* core_locks.c: what enforcement points keep of them. */
void core_locks_scan(struct core_call *call);
/* core_objects.c: what governs, by name. */
void core_objects_list(struct core_call *call);

/* core_cluster.c: the operations about the cluster itself. */
void core_cluster_status(struct core_call *call);
void core_cluster_roles(struct core_call *call);
void core_cluster_transfer(struct core_call *call);
void core_cluster_add_node(struct core_call *call);
void core_cluster_remove_node(struct core_call *call);
/* Answers a waiting TransferLeadership when it is decided: `leader` leads now (0: nobody yet). */
void core_cluster_transferred(struct core *core, uint64_t leader, int64_t now_ms);

#endif
