/* Calls that wait for a barrier: Revoke and RevokeMatching with `wait`, and the progress of RevokeAndFollow.
 *
 *   revocation applied here --+--> nothing to wait for, or done already --> answered
 *                             \--> WAITING --barrier done in the local store, or every point has received (RECEIVED),
 *                                     |      or progress to tell (FOLLOW)--------------------> answered
 *                                     '--its time is over, or it was abandoned---------------> answered PENDING,
 * CANCELLED
 *
 * What they end with: OK; ABORTED "FAILED: ..." when a session could not be ended; DEADLINE_EXCEEDED "PENDING: ..."
 * with the names of those that are waited for, which the leader tells while a barrier is followed. A barrier that the
 * store no longer holds was done.
 *
 * A follower of progress asks again and again with the same call (CORE_FOLLOW): it is answered when there is something
 * newer than the version it saw, with the latest state. Between two questions nothing is kept for it but, for a short
 * while, the barrier's progress.
 *
 * On the core loop. */
#ifndef LAPSE_NODE_CORE_BARRIER_H
#define LAPSE_NODE_CORE_BARRIER_H

#include "node/core_internal.h"
#include "node/lease_node.h"

void core_barriers_open(struct core *core);
/* The node stops: answers all that wait, and all that would from now on, with UNAVAILABLE. */
void core_barriers_end(struct core *core);
void core_barriers_free(struct core *core);

/* A revocation was applied here; its call is answered now or later. */
void core_barrier_committed(struct core_call *call, const struct store_outcome *outcome);
/* CORE_FOLLOW. */
void core_barrier_follow(struct core_call *call);

/* What changes the state of barriers: events, another store, what the leader tells. */
void core_barriers_event(struct core *core, const struct store_event *event);
void core_barriers_replaced(struct core *core);
void core_barriers_progress(struct core *core, const struct lease_progress *progress);

/* At the end of an iteration: answers those that are decided. */
void core_barriers_flush(struct core *core);
int64_t core_barriers_next_due_us(const struct core *core);

#endif
