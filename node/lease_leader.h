/* The leader's side of the enforcement leases: who may promise, until when promises run at the latest, and which
 * barriers are done (P2, P4, P7, P8). Exists on every node; works on the leader.
 *
 *   points (store)  x  nodes  -->  bound of the last promise         acks, failures, goodbyes (reports)
 *                                        \                           /
 *   open barriers (store) -----------------> each point's receipt --> RECEIPTS, END_POINT (leader-only writes)
 *
 * One thread; pure but for the io. Callbacks run from _receive, _applied, _tick and _flush. */
#ifndef LAPSE_NODE_LEASE_LEADER_H
#define LAPSE_NODE_LEASE_LEADER_H

#include "node/lease.h"
#include "node/lease_node.h"
#include "store/store.h"

struct lease_leader;

struct lease_leader_io {
    void (*send)(void *arg, uint64_t to, struct slice frame);
    /* Proposes a command of the cluster's own in this term or not at all (replica_write with `leader_only`); borrowed
     * for the call. What became of it shows in the store (lease_leader_applied), or comes by lease_leader_refused. */
    void (*propose)(void *arg, const struct command *command);
    /* The boot time since which a majority is known to have been in our term; INT64_MIN when not known. */
    int64_t (*evidence_us)(void *arg);
    /* Cluster time now, for receipts. */
    int64_t (*time_ms)(void *arg);
};

/* For tests, to show that their oracle would notice: a kind of waiting that is left out, by the rows of 0010's table (a
 * point's last promise; the node lease; earlier terms; earlier lives), or that admissions are remembered and refused at
 * all. LEASE_BROKEN_NOTHING in lapsed. */
enum lease_broken {
    LEASE_BROKEN_NOTHING,
    LEASE_BROKEN_POINT,
    LEASE_BROKEN_NODE,
    LEASE_BROKEN_TERM,
    LEASE_BROKEN_LIFE,
    LEASE_BROKEN_ADMISSION
};

struct lease_leader *lease_leader_new(const struct store *store, int64_t now_us, enum lease_broken broken,
                                      const struct lease_leader_io *io, void *arg);
void lease_leader_free(struct lease_leader *leader);

/* From the replica, on every node and from its start: the members in force (removed ones are remembered). */
void lease_leader_set_members(struct lease_leader *leader, const uint64_t *ids, uint32_t n, int64_t now_us);
/* This node leads `term` since `since_us`; `end` when it no longer does. */
void lease_leader_begin(struct lease_leader *leader, uint64_t term, int64_t since_us);
void lease_leader_end(struct lease_leader *leader);
/* The store was changed; `ready`: it holds the first entry of our own term, and so everything committed before it. */
void lease_leader_applied(struct lease_leader *leader, bool ready, int64_t now_us);
void lease_leader_set_store(struct lease_leader *leader, const struct store *store);
/* A frame from a node's lease_node, of process life `life`, in our term. `now_us` was read after the frame had been
 * taken: a lease rests on evidence that is not older than X then. */
void lease_leader_receive(struct lease_leader *leader, uint64_t from, uint64_t life, uint64_t term, struct slice frame,
                          int64_t now_us);
/* A proposal did not get into the log, or its outcome is not known. */
void lease_leader_refused(struct lease_leader *leader, int64_t now_us);

void lease_leader_flush(struct lease_leader *leader, int64_t now_us);
void lease_leader_tick(struct lease_leader *leader, int64_t now_us);
int64_t lease_leader_next_due_us(const struct lease_leader *leader);

struct lease_leader_status {
    uint32_t barriers_open;
    int64_t oldest_barrier_ms; /* age of the oldest open one */
    uint32_t points, points_absent;
    uint64_t receipts_enforced, receipts_failed, receipts_lapsed, receipts_left; /* proposed by this process */
};
void lease_leader_get_status(const struct lease_leader *leader, int64_t now_us, struct lease_leader_status *status);

#endif
