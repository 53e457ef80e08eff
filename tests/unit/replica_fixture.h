/* A few replicas in one thread over virtual disks, with an immediate network and a clock that only the test moves. */
#ifndef LAPSE_TESTS_UNIT_REPLICA_FIXTURE_H
#define LAPSE_TESTS_UNIT_REPLICA_FIXTURE_H

#include "raft/replica.h"

#define FIXTURE_NODES 5u
#define FIXTURE_WALL_MS INT64_C(1800000000000)

struct fixture;

struct fixture_frame {
    struct fixture_frame *next;
    uint64_t from, to;
    struct buf bytes;
};

struct fixture_node {
    struct fixture *fixture;
    uint64_t id;
    struct disk *disk;
    struct log *log;
    struct replica *replica; /* NULL: down */
    struct storage_job *jobs, **jobs_end;
    int64_t wall_offset_ms;
    bool cut_off; /* no frame comes or goes */
    bool hold_disk;
    bool hold_log; /* it may not be dropped */
    /* What the observer saw. */
    uint32_t applied, expired, stores, warnings, fatals;
    uint32_t n_members, n_voters;
    uint64_t led_term;    /* the newest term that it was told it leads */
    uint32_t early_times; /* frames sent as a leader's with a cluster time in them that it did not know yet */
    uint32_t leases;      /* lease frames */
    uint64_t lease_from, lease_life, lease_term;
    char lease[32];
};

struct fixture {
    struct fixture_node nodes[FIXTURE_NODES];
    uint32_t n;
    int64_t now_us;
    struct replica_options options;
    struct fixture_frame *frames, **frames_end;
    uint64_t frames_sent;
};

/* `voters` of `n` nodes begin the cluster; the others have empty disks. None runs yet. */
struct fixture *fixture_new(uint32_t n, uint32_t voters);
void fixture_free(struct fixture *fixture);
void fixture_start(struct fixture_node *node);
/* kill -9: what was written stays. */
void fixture_kill(struct fixture_node *node);
void fixture_start_all(struct fixture *fixture);

/* Lets everything happen that can within `ms` of virtual time. */
void fixture_run(struct fixture *fixture, int64_t ms);
/* Does the oldest waiting job of a node's disk, held or not; false when there is none. */
bool fixture_do_job(struct fixture_node *node);
/* Runs until one node leads and all others that run follow it; fails the test after 5 s of virtual time. */
struct fixture_node *fixture_leader(struct fixture *fixture);
/* A running follower. */
struct fixture_node *fixture_follower(struct fixture *fixture);
struct replica_status fixture_status(const struct fixture_node *node);

/* A write or a read that notes its end. */
struct fixture_write {
    struct replica_write write;
    uint32_t done;
    struct store_outcome outcome;
    uint64_t applied; /* the node's applied index inside `done` */
    struct fixture_node *node;
};
/* Gives a role to a made-up principal; `key` 0: without a request key. */
void fixture_write(struct fixture_node *node, struct fixture_write *write, uint32_t principal, uint64_t key,
                   int64_t timeout_ms);
void fixture_command(struct fixture_node *node, struct fixture_write *write, const struct command *command,
                     int64_t timeout_ms);
struct fixture_read {
    struct replica_read read;
    uint32_t done;
    lapse_result result;
    int64_t time_ms;
};
void fixture_read(struct fixture_node *node, struct fixture_read *read, int64_t timeout_ms);
/* Writes `n` roles through a node and waits for all. */
void fixture_fill(struct fixture_node *node, uint32_t n, uint32_t first_principal);

/* Three voters that have elected a leader. */
struct fixture *three(void);

#endif
