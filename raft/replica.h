/* One node's part in the cluster: libraft's core, the log, the store, and cluster time, without any I/O of its own.
 *
 * The driver (lapsed's core loop, or the simulator) feeds it time, frames from peers and finished storage jobs; it gets
 * frames to send, jobs to do, and events. One thread. What an application calls:
 *
 *   replica_write   on any node: the command reaches the leader, is committed, and is applied here before `done` is
 * called replica_read    on any node: `done` is called when the local store reflects everything acknowledged before the
 * call
 *
 *   write --> [batch] --> entry --> raft_step --> log + peers --> commit --> store_apply --> done, observer
 *
 * A write belongs to the node that took it: every command in the log carries (node, sequence), and each node finds its
 * own again when it applies them. So there are no result messages, and a write that was forwarded to a leader that died
 * is sent again to the next one under the same request key, which the store recognises.
 *
 * Callbacks (`done`, the observer) run from replica_flush or replica_tick or replica_receive or replica_storage_done,
 * never from replica_write or replica_read. */
#ifndef LAPSE_RAFT_REPLICA_H
#define LAPSE_RAFT_REPLICA_H

#include "raft/log.h"
#include "store/store.h"

struct replica;

struct replica_time {
    int64_t boot_us; /* CLOCK_BOOTTIME in microseconds */
    int64_t wall_ms; /* CLOCK_REALTIME */
};

/* What the driver gives. */
struct replica_io {
    void (*clock)(void *arg, struct replica_time *now);
    /* Takes the job; hands it back through replica_storage_done, later, from the loop, in each lane's order. */
    void (*storage)(void *arg, struct storage_job *job);
    /* Best effort, borrowed for the call. */
    void (*send)(void *arg, uint64_t to, struct slice frame);
};

enum replica_state { REPLICA_FOLLOWER, REPLICA_CANDIDATE, REPLICA_LEADER, REPLICA_STOPPED };

struct replica_member {
    uint64_t id;
    const char *address; /* host:port of its peer port */
    enum { REPLICA_STANDBY, REPLICA_VOTER, REPLICA_SPARE } role;
};

/* What the driver learns. NULL members are not called. */
struct replica_observer {
    /* Every applied command in log order, on every node, its events first. `index` is the entry's. */
    void (*on_event)(void *arg, const struct store_event *event);
    void (*on_applied)(void *arg, uint64_t index, const struct command *command, const struct store_outcome *outcome);
    /* A snapshot was installed: the store is another one now; what was derived from the old one no longer connects. */
    void (*on_store_replaced)(void *arg);
    /* State, leader (0: unknown) or term changed. */
    void (*on_leadership)(void *arg, enum replica_state state, uint64_t leader, uint64_t term);
    /* The configuration in force (also at start, if there is one). Borrowed. */
    void (*on_members)(void *arg, const struct replica_member *members, uint32_t n);
    /* The disk failed or an invariant broke: the replica has stopped for good and the process must end. Nothing
     * acknowledged is lost. */
    void (*on_fatal)(void *arg, const struct lapse_error *error);
    /* Another node's lease frame (or one of our own, sent to ourselves) of our present term; `life` is that of its
     * sender's process. Comes from replica_receive or replica_flush; borrowed. */
    void (*on_lease)(void *arg, uint64_t from, uint64_t life, uint64_t term, struct slice frame);
    /* A member's audit frame, of whatever term. Borrowed. */
    void (*on_audit)(void *arg, uint64_t from, struct slice frame);
    /* Whether the log may be dropped up to the state at `revision`: all that is derived from it is safe elsewhere. Asked
     * again and again while it isn't; NULL: yes. It doesn't hold the log back beyond LIMIT_LOG_HELD_SNAPSHOTS times the size at
     * which a snapshot is taken, nor when the leader sends a snapshot. */
    bool (*may_drop)(void *arg, uint64_t revision);
    /* For the log of the daemon: a fault that does not stop it (clocks that disagree, a peer that speaks nonsense). */
    void (*on_warning)(void *arg, const struct lapse_error *error);
};

struct replica_options {
    uint64_t node_id;
    uint32_t election_timeout_ms; /* 0: 150 */
    uint32_t heartbeat_ms;        /* 0: 10 */
    uint64_t snapshot_bytes;      /* log bytes after which a snapshot is taken; 0: 64 MiB */
    uint64_t snapshot_entries;    /* or entries; 0: 500,000 */
    uint64_t trailing_entries;    /* kept behind a snapshot for slow followers; 0: 8,192 */
    uint32_t clock_skew_ms_max;   /* wall clocks that differ by more are a fault (on_warning); 0: 500 */
    uint32_t waiting_max;         /* writes and reads that may wait; past it RESOURCE_EXHAUSTED; 0: 65,536 */
    uint64_t seed;                /* election jitter */
    struct store_options store;
};

/* Takes what log_open found (consumes state's entries, store and snapshot; the caller still calls log_state_free on the
 * emptied struct). Nothing happens before replica_start. */
struct replica *replica_new(const struct replica_options *options, const struct replica_io *io,
                            const struct replica_observer *observer, void *arg);
lapse_result replica_start(struct replica *replica, struct log_state *state, struct lapse_error *error) LAPSE_MUST_USE;
/* Ends all waiting operations with UNAVAILABLE through `done` (this once on this stack) and frees. Storage jobs must
 * have come back, or never will. */
void replica_free(struct replica *replica);

/* The driver's duties. */
int64_t replica_next_due_us(struct replica *replica); /* boot time at which to call replica_tick at the latest */
void replica_tick(struct replica *replica);           /* timeouts: raft, deadlines of grants, waiting operations */
void replica_receive(struct replica *replica, uint64_t from, struct slice frame);
void replica_storage_done(struct replica *replica, struct storage_job *job);
/* A hint, which may be wrong: node `id`'s process is gone, since its links ended and its port refuses. If it leads, an
 * election begins at once (raft/consensus_early.c). */
void replica_peer_gone(struct replica *replica, uint64_t id);
/* Once at the end of each loop iteration, after all input: batches waiting commands into entries, sends what is to be
 * sent, calls what is done. */
void replica_flush(struct replica *replica);

/* Waiting operations: memory of the caller, which lives until `done` was called exactly once. */
struct replica_write {
    /* OK or the store's refusal in `outcome->error`; UNAVAILABLE: no leader was found in time, it did not happen as far
     * as this node knows; UNKNOWN: it may have happened or still happen (ask again with the same request key);
     * RESOURCE_EXHAUSTED: too much is waiting; ABORTED (`leader_only`): it did not and will not happen. Inside `done`
     * the local store is the one right after the command (when it was applied). */
    void (*done)(struct replica_write *write, const struct store_outcome *outcome);
    void *owner;
    /* Set by the caller: this node leads and puts it into the log in the present term, or it never happens. Never
     * forwarded, never sent again. */
    bool leader_only;
    /* private */
    uint64_t sequence;
    int64_t deadline_us;
    int64_t resend_us; /* when to stop waiting for what was sent; INT64_MAX: never */
    uint32_t attempts; /* times sent */
    bool has_key;
    uint8_t stage;
    struct buf command;
    struct store_outcome outcome;
    struct replica_write *next, *prev, *chain;
};
/* `timeout_ms` > 0. The command is encoded (copied) now. It must have a request key if it may be sent again after its
 * leader dies; one without is not. */
void replica_write(struct replica *replica, struct replica_write *write, const struct command *command,
                   int64_t timeout_ms);

struct replica_read {
    /* OK: `time_ms` is an upper bound of cluster time now, at which the store may be asked. UNAVAILABLE: no quorum
     * answered in time. */
    void (*done)(struct replica_read *read, lapse_result result, int64_t time_ms);
    void *owner;
    /* private */
    uint64_t round; /* the question that covers it */
    uint64_t index; /* what must be applied */
    int64_t deadline_us;
    int64_t leader_time_us; /* cluster time, not earlier than any moment before `leader_stamp_us` */
    int64_t leader_stamp_us;
    lapse_result result;
    uint8_t stage;
    struct replica_read *next, *prev;
};
void replica_read(struct replica *replica, struct replica_read *read, int64_t timeout_ms);
/* Gives up on a waiting operation: `done` is not called any more. */
void replica_cancel_write(struct replica *replica, struct replica_write *write);
void replica_cancel_read(struct replica *replica, struct replica_read *read);

/* Asks a leader to hand over (0: to the voter that is furthest). Best effort; FAILED_PRECONDITION when not leader or
 * alone. */
lapse_result replica_transfer(struct replica *replica, uint64_t to, struct lapse_error *error) LAPSE_MUST_USE;

/* --- For leases (docs/decisions/0010-enforcement-leases.md) --- */

/* Sends a lease frame of at most LIMIT_SNAPSHOT_CHUNK bytes, best effort; one to ourselves comes back with the next
 * flush. */
void replica_send_lease(struct replica *replica, uint64_t to, struct slice frame);
/* Likewise an audit frame, to another node. */
void replica_send_audit(struct replica *replica, uint64_t to, struct slice frame);
/* This process life's number, which all its frames carry. Not 0. */
uint64_t replica_life(const struct replica *replica);
/* Leader, cluster time known, the own term's first entry applied, and so everything committed in earlier terms. */
bool replica_is_ready(const struct replica *replica);
/* The boot time such that a majority is known to have been in our term at or after it; now for a sole voter; INT64_MIN
 * when not leading or not known. */
int64_t replica_evidence_us(const struct replica *replica);
/* When this node won the present term: every vote for it was cast before. INT64_MIN when not leading. */
int64_t replica_leading_since_us(const struct replica *replica);

/* Membership, on the leader: one change at a time, outcome by on_members; FAILED_PRECONDITION when not leader or one is
 * under way. A newcomer is added as spare and promoted to voter once it has caught up. */
lapse_result replica_add(struct replica *replica, uint64_t id, const char *address,
                         struct lapse_error *error) LAPSE_MUST_USE;
lapse_result replica_promote(struct replica *replica, uint64_t id, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result replica_remove(struct replica *replica, uint64_t id, struct lapse_error *error) LAPSE_MUST_USE;

const struct store *replica_store(const struct replica *replica);
/* Refuses what makes new access (REQUEST, APPROVE, SET_TOKEN, eligibility, roles that add; taken here or forwarded here)
 * with RESOURCE_EXHAUSTED while set: the disk is low. What ends or denies access goes on. */
void replica_set_low_on_space(struct replica *replica, bool low);
/* How far what is derived from the log has fallen behind, in percent of what it can bear: slows a leader down
 * (raft/pace.h). */
void replica_set_pressure(struct replica *replica, uint32_t percent);

struct replica_status {
    enum replica_state state;
    uint64_t id, leader, term, commit_index, applied_index, last_index, snapshot_index;
    int64_t time_ms; /* estimate of cluster time, upper bound; 0: not known yet */
    uint64_t writes_waiting, reads_waiting;
    uint64_t elections; /* terms seen to begin since start */
    struct {
        uint64_t taken, begun, wrong; /* raft/consensus.h: struct consensus_hints */
    } hints;                          /* that the leader's process is gone */
    uint64_t snapshots_taken, snapshots_installed;
};
void replica_get_status(const struct replica *replica, struct replica_status *status);
/* Members in force; valid until the next driver call. */
uint32_t replica_members(const struct replica *replica, const struct replica_member **members);

/* Fills the entries with which `lapsed init` begins a cluster's log: the configuration, then INIT. */
lapse_result replica_bootstrap(const struct replica_member *members, uint32_t n, const char *cluster,
                               const char *first_operator, struct log_entry entries[2],
                               struct lapse_error *error) LAPSE_MUST_USE;

#endif
