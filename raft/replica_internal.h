/* The inside of a replica, shared by the replica_*.c files only.
 *
 *   replica.c           life, the driver's entry points, leadership
 *   replica_link.c      frames: envelope, replication, barriers
 *   replica_log.c       what consensus wants on disk, and what the disk reports
 *   replica_apply.c     committed entries into the store
 *   replica_batch.c     the leader: commands into entries, expiry
 *   replica_write.c     writes that wait, on any node
 *   replica_read.c      reads that wait, on any node; the leader's rounds
 *   replica_lease.c     lease frames, and what leases rest on
 *   replica_snapshot.c  taking snapshots
 *   replica_members.c   membership, transfer of leadership, bootstrap
 *   transfer_send.c, transfer_receive.c   snapshots from node to node */
#ifndef LAPSE_RAFT_REPLICA_INTERNAL_H
#define LAPSE_RAFT_REPLICA_INTERNAL_H

#include "raft/cluster_clock.h"
#include "raft/consensus.h"
#include "raft/entry.h"
#include "raft/evidence.h"
#include "raft/message.h"
#include "raft/outbox.h"
#include "raft/pace.h"
#include "raft/replica.h"
#include "raft/sender.h"
#include "raft/transfer.h"

/* The first entries must be the same on every node that begins with them, so nothing in them may come from a clock: the
 * first command stands at the beginning of time, and the leader's clock takes over with the second. */
#define BOOTSTRAP_TIME_MS 1

/* Other nodes that we remember the stamps of: members, and some that no longer are. */
#define PEERS_MAX (2 * LIMIT_PEERS)

struct peer {
    uint64_t id;
    uint64_t life, stamp; /* the newest heard from it */
    int64_t heard_us;
    int64_t warned_us; /* about its wall clock; INT64_MIN: never */
};

/* A write's stages; each is a list.
 *
 *              dispatched                 applied
 *   UNSENT ---------------> SENT ---------------------> (done)
 *      ^                      |
 *      '----------------------'  lost: new leader, refused, no answer (only with a request key once it may be in a log)
 *   any --deadline, refusal, stop--> FINISHED --flush--> (done) */
enum write_stage { WRITE_UNSENT, WRITE_SENT, WRITE_FINISHED, WRITE_STAGES };

struct write_list {
    struct replica_write *first, *last;
    uint32_t n;
};

struct writes {
    struct write_list lists[WRITE_STAGES];
    struct replica_write **buckets; /* by sequence */
    uint32_t n_buckets;             /* a power of two */
    uint64_t next_sequence;
    int64_t due_us;              /* no deadline or resend before */
    uint64_t sent_to, sent_term; /* the leader that what is SENT was sent to */
};

/* A read's stages.
 *
 *           asked (a READ frame, or a round here)     index known          applied
 *   NEW -----------------------------------> ASKED -----------> APPLYING ----------> FINISHED --> (done)
 *    ^                                         |
 *    '-----------------------------------------'  new leader, round lost */
enum read_stage { READ_NEW, READ_ASKED, READ_APPLYING, READ_FINISHED, READ_STAGES };

struct read_list {
    struct replica_read *first, *last;
    uint32_t n;
};

/* A follower's question that the leader answers when its round is through. */
struct remote_read {
    uint64_t from, sequence;
};
#define REMOTE_READS_MAX 256u

struct reads {
    struct read_list lists[READ_STAGES];
    int64_t due_us;
    uint64_t next_round;
    int64_t asked_us; /* when the newest question was sent */
    /* The leader's round: one at a time; those who come meanwhile wait for the next. */
    bool round_running;
    uint64_t round;
    uint64_t round_stamp; /* evidence of a majority at or after this stamp confirms it */
    uint64_t round_index;
    int64_t probed_us;
    struct remote_read remote[2][REMOTE_READS_MAX]; /* [0]: in the round; [1]: waiting for the next */
    uint32_t n_remote[2];
};

/* A command that came from another node. */
struct forwarded {
    struct forwarded *next;
    uint64_t node, sequence;
    uint32_t len;
    uint8_t bytes[];
};

struct batch {
    struct forwarded *first, *last;
    uint32_t n_forwarded;
    size_t forwarded_bytes;
    bool advancing; /* an ADVANCE of this term is in the log, not applied yet */
};

/* Lease frames to ourselves. */
struct loopback {
    struct outbox frames;
    uint64_t term; /* in which all of them were sent */
};

struct replica {
    struct replica_options options;
    struct replica_io io;
    struct replica_observer observer;
    void *arg;
    struct consensus *core;
    struct store *store;
    struct cluster_clock clock;
    struct evidence evidence;
    struct sender sender;
    struct outbox outbox;
    struct peer peers[PEERS_MAX];
    uint32_t n_peers;
    uint64_t life, stamp;
    int64_t stamp_ahead_us; /* how far a stamp of ours has ever been ahead of the clock */
    struct replica_time now;

    bool started, stopped, low_on_space;
    struct lapse_error why_stopped;

    /* As last told to the observer. */
    enum replica_state state;
    uint64_t leader, term;
    uint64_t elections;
    int64_t disk_us; /* the slowest of the latest writes to the log */

    /* The leader's start: its own term's first entry must be applied before it reads or expires anything. */
    uint64_t term_entry; /* index; 0: not submitted yet */
    int64_t leading_since_us;

    uint64_t applied;
    struct blob *configuration; /* the newest one applied */
    uint64_t configuration_index;
    bool more_to_apply;

    struct writes writes;
    struct reads reads;
    struct batch batch;
    struct pace pace;
    struct loopback loopback;

    bool taking; /* SAVE, then COMMIT */
    struct storage_job *held; /* the COMMIT, while observer.may_drop says no; NULL: none */
    uint64_t held_revision;   /* of the view that was saved last */
    struct store_view *view;
    int64_t snapshot_retry_us;
    uint64_t snapshots_taken, snapshots_installed;
    struct transfer_send sending;
    struct transfer_receive receiving;

    uint64_t promoting; /* the spare that is catching up to become a voter; 0: none */
};

/* --- replica.c --- */
/* Stops for good: tells the driver once, ends what waits at the next flush. */
void replica_stop(struct replica *replica, const struct lapse_error *error);
/* Stops unless `result` is OK; returns whether it was. */
bool replica_survived(struct replica *replica, lapse_result result, const struct lapse_error *error);
void replica_warn(struct replica *replica, const struct lapse_error *error);
/* Notices what a step changed: state, leader, term. After every call into consensus. */
void replica_watch(struct replica *replica);
int64_t replica_now_ms(const struct replica *replica); /* boot time, for consensus */

/* --- replica_link.c --- */
extern const struct consensus_effects replica_effects;
void replica_send(struct replica *replica, uint64_t to, struct message *message);
uint64_t replica_next_stamp(struct replica *replica);
/* The boot time of ours that `from` had surely passed when it sent this; 0: not known. */
int64_t replica_echo_us(const struct replica *replica, const struct message_envelope *envelope);
void replica_hear(struct replica *replica, uint64_t from, const struct message_envelope *envelope);
void replica_on_rejected(struct replica *replica, uint64_t from, const struct message *message);
void replica_pump(struct replica *replica, uint64_t to);
void replica_announce_commit(struct replica *replica);

/* --- replica_log.c --- */
void replica_persist_vote(struct replica *replica, uint64_t term, uint64_t voted_for);
void replica_persist_entries(struct replica *replica, uint64_t index);
struct storage_job *replica_job(enum storage_job_type type);
/* A copy with references of its own. */
struct snapshot_meta replica_meta_copy(const struct snapshot_meta *meta);
void replica_meta_free(struct snapshot_meta *meta);
void replica_log_done(struct replica *replica, struct storage_job *job);

/* --- replica_apply.c --- */
/* Applies what is committed, a slice at a time. */
void replica_apply(struct replica *replica);

/* --- replica_batch.c --- */
void replica_batch_forwarded(struct replica *replica, uint64_t from, const struct message *message);
void replica_batch_flush(struct replica *replica);
void replica_batch_clear(struct replica *replica);
int64_t replica_batch_due_us(const struct replica *replica);
/* RESOURCE_EXHAUSTED for commands that open something new while the disk is low. */
lapse_result replica_admits(const struct replica *replica, const struct command *command,
                            struct lapse_error *error) LAPSE_MUST_USE;

/* --- replica_write.c --- */
void replica_writes_init(struct replica *replica);
void replica_writes_free(struct replica *replica);
/* Moves a sent write back, or ends it, since what it was sent to may be lost. */
void replica_writes_lost(struct replica *replica);
void replica_writes_leader_changed(struct replica *replica);
/* What was to happen under our leadership or not at all. */
void replica_writes_abort_leader_only(struct replica *replica);
void replica_write_refused(struct replica *replica, const struct message *message);
void replica_write_applied(struct replica *replica, uint64_t sequence, const struct store_outcome *outcome);
void replica_write_sent(struct replica *replica, struct replica_write *write);
void replica_writes_forward(struct replica *replica);
void replica_writes_expire(struct replica *replica);
void replica_writes_stop(struct replica *replica);
/* Calls `done` of those that are finished. */
void replica_writes_finish(struct replica *replica);
int64_t replica_writes_due_us(const struct replica *replica);

/* --- replica_read.c --- */
void replica_reads_init(struct replica *replica);
void replica_reads_leader_changed(struct replica *replica);
void replica_reads_asked(struct replica *replica, uint64_t from, const struct message *message);
void replica_reads_answered(struct replica *replica, const struct message *message);
void replica_reads_flush(struct replica *replica);
void replica_reads_expire(struct replica *replica);
void replica_reads_stop(struct replica *replica);
void replica_reads_finish(struct replica *replica);
int64_t replica_reads_due_us(const struct replica *replica);

/* --- replica_lease.c --- */
void replica_lease_received(struct replica *replica, uint64_t from, const struct message *message);
void replica_lease_flush(struct replica *replica);
void replica_audit_received(struct replica *replica, uint64_t from, const struct message *message);

/* --- replica_snapshot.c --- */
void replica_snapshot_maybe_take(struct replica *replica);
void replica_snapshot_saved(struct replica *replica, struct storage_job *job);
void replica_snapshot_committed(struct replica *replica, struct storage_job *job);
/* One of the leader's comes: ours, if it is still held back, is given up. */
void replica_snapshot_give_way(struct replica *replica);
/* A restored store takes the place of ours. */
void replica_swap_store(struct replica *replica, struct store *store, const struct snapshot_meta *meta);

/* --- transfer_send.c, transfer_receive.c --- */
void replica_sending_want(struct replica *replica, uint64_t to);
void replica_sending_ack(struct replica *replica, uint64_t from, const struct message *message);
void replica_sending_read(struct replica *replica, struct storage_job *job);
void replica_sending_tick(struct replica *replica);
void replica_sending_abort(struct replica *replica);
int64_t replica_sending_due_us(const struct replica *replica);
void replica_receiving_chunk(struct replica *replica, uint64_t from, const struct message *message);
void replica_receiving_done(struct replica *replica, struct storage_job *job);
void replica_receiving_installed(struct replica *replica, struct storage_job *job);
bool replica_receiving_busy(const struct replica *replica);
void replica_receiving_free(struct replica *replica);
void replica_receiving_tick(struct replica *replica);

/* --- replica_members.c --- */
void replica_members_changed(struct replica *replica);
void replica_members_tick(struct replica *replica);

#endif
