/* The inside of consensus, shared by the consensus_*.c files only.
 *
 *   consensus.c          life, steps and what follows from them, time, own entries
 *   consensus_receive.c  frames of other nodes
 *   consensus_snapshot.c snapshots, taken here or sent by the leader
 *   consensus_members.c  leadership handed over, newcomers
 *   consensus_early.c    elections that do not wait for the timeout */
#ifndef LAPSE_RAFT_CONSENSUS_INTERNAL_H
#define LAPSE_RAFT_CONSENSUS_INTERNAL_H

#include <raft.h>

#include "raft/consensus.h"

/* See consensus_early.c. */
struct early {
    int64_t until_ms; /* timeouts are ours until then; 0: libraft's */
    unsigned timeout_ms;
    uint32_t spread_ms, turn_ms;
    bool begun;            /* a candidate since the hint */
    uint64_t leader, term; /* given up by the newest hint, which the next leader will prove right or wrong; 0: judged */
    int64_t booked_ms;     /* the hints taken use up the time until then */
    uint32_t pause_ms;
    uint64_t random;
    struct consensus_hints hints;
};

struct consensus {
    struct raft raft;
    struct consensus_options options;
    const struct consensus_effects *effects;
    void *arg;
    struct tail tail;
    struct members members;
    uint64_t members_committed_index, members_uncommitted_index; /* as of `members` */
    uint64_t commit;
    int64_t quiet_until_ms;
    struct early early;
    /* The entries of the step under way, in libraft's view and in ours. */
    struct raft_entry *step_entries;
    struct log_entry *step_content;
};

/* --- consensus.c --- */
/* One step, and its update carried out. libraft's code, for refusals that are no faults. */
int consensus_step(struct consensus *core, int64_t now_ms, struct raft_event *event, struct raft_update *update);
/* A step that must not fail, then the configuration if that step committed it: at once and not when it is applied, so
 * that a later step can't find two uncommitted ones and fall back to a third. */
lapse_result consensus_run(struct consensus *core, int64_t now_ms, struct raft_event *event, struct raft_update *update,
                           const char *what, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result consensus_commit_configuration(struct consensus *core, int64_t now_ms,
                                            struct lapse_error *error) LAPSE_MUST_USE;
lapse_result consensus_broken(struct consensus *core, const char *what, int rv,
                              struct lapse_error *error) LAPSE_MUST_USE;
bool consensus_is_sole_voter(const struct members *members, uint64_t id);
/* libraft's form of a configuration that has passed our decoder. */
lapse_result consensus_load_configuration(struct slice bytes, struct raft_configuration *configuration,
                                          struct lapse_error *error) LAPSE_MUST_USE;
/* libraft's form of what describes a snapshot; the configuration in it is libraft's once it was shown. */
lapse_result consensus_load_metadata(const struct snapshot_meta *meta, struct raft_snapshot_metadata *metadata,
                                     struct lapse_error *error) LAPSE_MUST_USE;

/* --- consensus_receive.c --- */
lapse_result consensus_deliver(struct consensus *core, int64_t now_ms, struct raft_message *message,
                               struct raft_update *update, const char *what, struct lapse_error *error) LAPSE_MUST_USE;

/* --- consensus_early.c --- */
void consensus_early_init(struct consensus *core);
/* After every step. */
void consensus_early_watch(struct consensus *core, int64_t now_ms);
/* A vote or pre-vote of ours was granted. */
void consensus_early_granted(struct consensus *core);

#endif
