/* What must be true, checked as it happens, written from DESIGN.md's guarantees and from nothing else.
 *
 *   oracle.c          G1, G2: one history of commands, whatever node applies it and however often; acknowledged writes
 *                     are in it; one leader a term; reads that see what was acknowledged before they began
 *   oracle_grants.c   G4, G7: one history of events, and in it each grant's life, by a model of its own
 *   oracle_clock.c    G3: cluster time against true time
 *   oracle_points.c   G5, G6: enforcement points (with oracle_barriers.c and oracle_locks.c)
 *   oracle_chain.c    G9: one audit chain
 *   oracle_governance.c, oracle_access.c   what 0012-governance.md says of policies, approvals, locks, reviews, ...
 *
 * The oracle stands outside of the cluster: it sees all nodes at once, and true time. */
#ifndef LAPSE_SIM_ORACLE_H
#define LAPSE_SIM_ORACLE_H

#include "raft/replica.h"
#include "store/store.h"
#include "tests/sim/sim.h"

struct oracle *oracle_new(struct sim *sim);
void oracle_free(struct oracle *oracle);

/* --- What nodes do. `place`: the node's, from 0. --- */

/* A process starts with everything up to entry `applied` in its store (NULL: nothing). */
void oracle_node_starts(struct oracle *oracle, uint32_t place, uint64_t applied, const struct store *store);
void oracle_node_ends(struct oracle *oracle, uint32_t place);
/* In the order of the replica's observer: a command's events, then the command. */
void oracle_event(struct oracle *oracle, uint32_t place, uint64_t epoch, const struct store_event *event);
void oracle_applied(struct oracle *oracle, uint32_t place, uint64_t index, const struct command *command,
                    const struct store_outcome *outcome, const struct store *store);
void oracle_store_replaced(struct oracle *oracle, uint32_t place, uint64_t applied, const struct store *store);
void oracle_leadership(struct oracle *oracle, uint32_t place, enum replica_state state, uint64_t term);
/* Looks through a node's whole store and compares it with the model. */
void oracle_inspect(struct oracle *oracle, uint32_t place, const struct store *store);

/* --- What clients are told. --- */

/* A write was acknowledged on a node: `outcome->error.code` is OK. */
void oracle_acknowledged(struct oracle *oracle, struct request_key key, const struct store_outcome *outcome);

struct oracle_read {
    uint64_t revision; /* what a read that begins now must see at least */
    int64_t time_ms;   /* and the cluster time it must be at least */
    int64_t begun_us;
};
void oracle_read_begins(struct oracle *oracle, struct oracle_read *read);
/* The store of the answering node, and the time at which it is to be asked. */
void oracle_read_done(struct oracle *oracle, const struct oracle_read *read, const struct store *store,
                      int64_t time_ms);
/* A check after such a read said that `grant` allows at `time_ms`. */
void oracle_allowed(struct oracle *oracle, const struct oracle_read *read, const struct grant *grant, int64_t time_ms);
/* The same, asked of this store with this query. */
void oracle_allowed_here(struct oracle *oracle, const struct store *store, const struct grant_query *query,
                         const struct grant *grant, int64_t time_ms);

/* --- For subscribers. --- */

uint64_t oracle_revision(const struct oracle *oracle);
/* The hash of the event of a revision that was applied somewhere; 0 when there is none. */
uint64_t oracle_event_hash(const struct oracle *oracle, uint64_t revision);
/* The combined hash of all grants that have not ended right after `revision`. */
uint64_t oracle_live_hash(const struct oracle *oracle, uint64_t revision);
uint64_t oracle_hash_event(const struct store_event *event);
/* A live grant's share of oracle_live_hash (an exclusive or over all); 0 for an ended one. */
uint64_t oracle_hash_live(const struct grant *grant);

/* --- The end of a run. --- */

/* After healing: every node has applied everything and is equal to the others; nothing overdue is left. */
bool oracle_has_converged(const struct oracle *oracle);
void oracle_check_converged(struct oracle *oracle);

struct oracle_counts {
    uint64_t commands, revisions, acknowledged, reads, elections, snapshots;
};
void oracle_counts(const struct oracle *oracle, struct oracle_counts *counts);

void oracle_governance_counts(const struct oracle *oracle, struct governance_counts *counts);

#endif
