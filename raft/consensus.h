/* libraft's core behind a contract that can be kept: every call into libraft, and every byte that it owns, is in
 * consensus*.c.
 *
 *   what happened --> consensus_*() --> raft_step --> effects: vote, persist, send   (in this order, each to be carried
 * out so)
 *
 * Three things are added to libraft 0.22.1, built as it is packaged, without its assertions:
 *   - what it asserts about its input is checked before (frames come from outside);
 *   - the entries themselves are kept here (raft/tail.h), since libraft tracks only their terms;
 *   - faults that we know of are worked around; each has its reason at the place ("libraft:" in consensus*.c).
 *
 * Times are boot time in milliseconds and never go back. Not re-entrant: effects must not call back into the core. */
#ifndef LAPSE_RAFT_CONSENSUS_H
#define LAPSE_RAFT_CONSENSUS_H

#include "raft/log.h"
#include "raft/members.h"
#include "raft/message.h"
#include "raft/tail.h"

struct consensus;

struct consensus_effects {
    /* Make (term, vote) durable before anything that is sent from now on leaves. */
    void (*vote)(void *arg, uint64_t term, uint64_t voted_for);
    /* Make the tail's entries from `index` to its end durable, replacing what the disk has there. */
    void (*persist)(void *arg, uint64_t index);
    /* Entries behind `index` (of term `index_term`) up to `upto` are wanted by `to`; none when upto == index: a
     * heartbeat. */
    void (*replicate)(void *arg, uint64_t to, uint64_t index, uint64_t index_term, uint64_t upto);
    /* `to` needs a snapshot. Repeated as long as it does. */
    void (*snapshot)(void *arg, uint64_t to);
    /* Any other message; the envelope is the sender's business. */
    void (*send)(void *arg, uint64_t to, struct message *message);
    /* The configuration in force changed, or the one in force was committed. */
    void (*members)(void *arg);
};

struct consensus_options {
    uint64_t node_id;
    uint32_t election_timeout_ms, heartbeat_ms;
    uint64_t seed;
};

struct consensus *consensus_new(const struct consensus_options *options, const struct consensus_effects *effects,
                                void *arg);
void consensus_free(struct consensus *core);

/* Begins with what the disk holds; takes over the references of `state`'s entries (n_entries is then 0). DATA_LOSS when
 * the parts do not fit together. */
lapse_result consensus_start(struct consensus *core, int64_t now_ms, struct log_state *state,
                             struct lapse_error *error) LAPSE_MUST_USE;

/* In all of the following a failure other than those named means that the node must stop: libraft's state is not to be
 * trusted any more. */

/* When to call consensus_tick. */
int64_t consensus_due_ms(const struct consensus *core);
lapse_result consensus_tick(struct consensus *core, int64_t now_ms, struct lapse_error *error) LAPSE_MUST_USE;

/* A hint, which may be wrong: the process of node `id` is gone. A follower of `id` gives it up and stands for election
 * after a few milliseconds instead of the timeout, `spread_ms` (about what an election takes) behind each voter with a
 * smaller id; hearing of the leader ends that. Not taken: of another node than the leader, or too soon after another.
 */
bool consensus_leader_gone(struct consensus *core, int64_t now_ms, uint64_t id, uint32_t spread_ms);
struct consensus_hints {
    uint64_t taken;
    uint64_t begun; /* of these, those that made this node a candidate */
    uint64_t wrong; /* and those after which the same leader was followed again */
};
struct consensus_hints consensus_hints(const struct consensus *core);

/* A frame of type VOTE_REQUEST, VOTE, APPEND, APPEND_RESULT or TIMEOUT_NOW. INVALID_ARGUMENT, and nothing done, when it
 * is one that no correct node sends. */
lapse_result consensus_receive(struct consensus *core, int64_t now_ms, uint64_t from, const struct message *message,
                               struct lapse_error *error) LAPSE_MUST_USE;

/* The disk has these entries now. Those that were replaced meanwhile are recognised by their terms. */
lapse_result consensus_persisted(struct consensus *core, int64_t now_ms, uint64_t index,
                                 const struct log_entry *entries, uint32_t n, struct lapse_error *error) LAPSE_MUST_USE;

/* Appends entries as the leader (consensus_can_submit); takes over their references, also on failure. Their term is set
 * here. A RAFT_CHANGE stands alone: FAILED_PRECONDITION while another is under way. */
lapse_result consensus_submit(struct consensus *core, int64_t now_ms, struct log_entry *entries, uint32_t n,
                              struct lapse_error *error) LAPSE_MUST_USE;
bool consensus_can_submit(const struct consensus *core);

/* A complete, verified snapshot from the leader of `term` is at hand. With `*wanted` the log restarts behind it at
 * once, and consensus_snapshot_installed must follow when it is durable; until then nothing is appended. */
lapse_result consensus_snapshot_offered(struct consensus *core, int64_t now_ms, uint64_t from, uint64_t term,
                                        const struct snapshot_meta *meta, bool *wanted,
                                        struct lapse_error *error) LAPSE_MUST_USE;
lapse_result consensus_snapshot_installed(struct consensus *core, int64_t now_ms, const struct snapshot_meta *meta,
                                          struct lapse_error *error) LAPSE_MUST_USE;

/* A snapshot of our own at meta->index is durable. Entries before consensus_keep_from(index, trailing) go. */
uint64_t consensus_keep_from(const struct consensus *core, uint64_t index, uint64_t trailing);
lapse_result consensus_snapshot_taken(struct consensus *core, int64_t now_ms, const struct snapshot_meta *meta,
                                      uint64_t trailing, struct lapse_error *error) LAPSE_MUST_USE;

/* FAILED_PRECONDITION when not leader, when one is under way, or nobody suits. */
lapse_result consensus_transfer(struct consensus *core, int64_t now_ms, uint64_t to,
                                struct lapse_error *error) LAPSE_MUST_USE;
/* Starts replicating to a spare so that it can be made a voter. FAILED_PRECONDITION as above. */
lapse_result consensus_catch_up(struct consensus *core, int64_t now_ms, uint64_t id,
                                struct lapse_error *error) LAPSE_MUST_USE;
enum consensus_catch_up {
    CONSENSUS_CATCH_UP_NONE,
    CONSENSUS_CATCH_UP_RUNNING,
    CONSENSUS_CATCH_UP_ABORTED,
    CONSENSUS_CATCH_UP_FINISHED
};
enum consensus_catch_up consensus_catch_up_status(const struct consensus *core, uint64_t id);

enum replica_state consensus_state(const struct consensus *core);
uint64_t consensus_term(const struct consensus *core);
uint64_t consensus_leader(const struct consensus *core); /* 0: not known */
/* Never decreases. While a snapshot is being installed it may be ahead of what the tail holds. */
uint64_t consensus_commit(const struct consensus *core);
bool consensus_installing(const struct consensus *core);
bool consensus_change_pending(const struct consensus *core);
/* Leader: up to where `id` has our log. */
uint64_t consensus_match(const struct consensus *core, uint64_t id);
const struct tail *consensus_tail(const struct consensus *core);
const struct members *consensus_members(const struct consensus *core);

#endif
