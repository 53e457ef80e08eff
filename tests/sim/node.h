/* One machine of the simulated cluster: a process (replica, log, store, ring) over a disk and clocks that outlive it.
 *
 *   down --start--> up --pause--> paused --resume--> up --end(killed | power lost)--> down
 *    ^                \--its disk fails--> up, fatal --(the process ends by itself)--> down
 *    '--- restart --------------------------------------------------------------------'
 *
 * As in lapsed's core loop, inputs (frames, finished storage jobs, calls) gather in an inbox, one iteration takes them
 * all, ticks if something is due, and flushes once. */
#ifndef LAPSE_SIM_NODE_H
#define LAPSE_SIM_NODE_H

#include "node/ring.h"
#include "raft/disk.h"
#include "raft/log.h"
#include "raft/replica.h"
#include "tests/sim/sim.h"

struct input;

struct lane {
    struct sim_node *node;
    struct storage_job *first, **tail;
    struct storage_job *late; /* --break durable: copies of jobs that were reported done */
    int64_t reported_us;
    bool busy;
    bool failed; /* the LOG lane reported an error: the replica must stop */
};

struct sim_node {
    struct sim *sim;
    uint32_t place;
    uint64_t id;

    /* The machine. */
    struct disk *disk;
    int64_t boot_origin_us; /* true time at which `boot_base_us` was the boot clock's reading */
    int64_t boot_base_us;
    int32_t drift_ppm;
    int64_t wall_offset_ms; /* from the truth */
    uint32_t disk_slowness; /* factor on every job's duration */
    bool disk_faulty;       /* writes may fail: the process may be unable to start */

    bool rotten; /* a bit was flipped: it may refuse to start */
    bool lost;   /* and did: it takes no part any more */

    /* The process. */
    uint64_t incarnation;
    struct chain_head head; /* of its latest event */
    bool up, paused, fatal;
    bool ending; /* inside replica_free: what is done now is a lost connection to its client */
    struct log *log;
    struct replica *replica;
    struct ring *ring;
    struct node_lease *lease;
    struct lane lanes[2];
    struct input *inbox, **inbox_tail;
    int64_t wake_at_us;
    uint64_t wake_tag;
};

const char *node_address(uint32_t place);

enum node_end { NODE_KILLED, NODE_POWER_LOST };

/* Machines with formatted disks and processes not started yet. */
void nodes_new(struct sim *sim);
void nodes_free(struct sim *sim);

void node_start(struct sim_node *node);
void node_end(struct sim_node *node, enum node_end how);
void node_pause(struct sim_node *node);
void node_resume(struct sim_node *node);
/* The machine's wall clock is set. */
void node_step_wall(struct sim_node *node, int64_t by_ms);

/* A frame has arrived; the node takes its own reference. */
void node_receive(struct sim_node *node, uint64_t from, struct blob *frame);
/* The node finds, rightly or not, that the process of node `id` is gone. */
void node_hear_gone(struct sim_node *node, uint64_t id);
/* Adds up what the process's replica counts, before it ends. */
void node_count(struct sim_node *node);
/* Runs `call` on the node's loop; false when the process is down. A call whose process ends before is dropped. */
typedef void (*node_call_cb)(struct sim_node *node, void *arg, uint64_t tag);
bool node_call(struct sim_node *node, node_call_cb call, void *arg, uint64_t tag);

int64_t node_boot_us(const struct sim_node *node);
int64_t node_wall_ms(const struct sim_node *node);

/* The node that says it leads, in the highest term; NULL when none does. */
struct sim_node *nodes_leader(struct sim *sim);
/* Whether the node must take part: the leader knows it as a voter. */
bool node_votes(const struct sim_node *node);

/* For node_lane.c. */
struct input_spec {
    uint64_t from;
    struct blob *frame;
    struct storage_job *job;
    node_call_cb call;
    void *arg;
    uint64_t tag;
};
void node_input(struct sim_node *node, struct input_spec spec);
void lanes_init(struct sim_node *node);
void lane_submit(struct sim_node *node, struct storage_job *job);
/* Frees a job that was under way when its process ended. */
void lane_job_free(struct storage_job *job);
/* The process ends: work under way may have been done in part; nobody hears of it. */
void lanes_end(struct sim_node *node);

#endif
