/* The enforcement leases on the core loop: owns lease_node and lease_leader, and ties them to the replica, to the
 * points' streams (core_point.c) and to the calls that wait for barriers (core_barrier.c).
 *
 *   replica --leadership, members, frames, applied--> lease_leader, lease_node --frames, commands--> replica
 *                                                        |          |
 *                                     progress: core_barrier.c    admitted, ended: core_point.c --mail--> edges
 *
 * On the core loop. */
#ifndef LAPSE_NODE_CORE_LEASE_H
#define LAPSE_NODE_CORE_LEASE_H

#include "node/core_internal.h"
#include "node/core_point.h"

/* Between replica_new and replica_start: the replica tells its members and its leadership on its start. It has its
 * store only then: core_lease_on_store_replaced gives it to the leases. */
void core_lease_open(struct core *core);
/* Ends all streams and forgets all promises; the replica is still there. What is proposed comes back later. */
void core_lease_close(struct core *core);
void core_lease_free(struct core *core);

/* From the replica's observer. */
void core_lease_on_leadership(struct core *core, enum replica_state state, uint64_t leader, uint64_t term);
void core_lease_on_members(struct core *core, const struct replica_member *members, uint32_t n);
void core_lease_on_frame(struct core *core, uint64_t from, uint64_t life, uint64_t term, struct slice frame);
void core_lease_on_applied(struct core *core);
void core_lease_on_store_replaced(struct core *core);

/* After replica_flush: acts on what was applied and sends what is new. True when it gave the replica something that
 * another replica_flush should take along. */
bool core_lease_flush(struct core *core);
void core_lease_tick(struct core *core);
int64_t core_lease_next_due_us(const struct core *core);
void core_lease_set_gauges(struct core *core);

/* For the streams: the promises as of what the store holds now. NULL once closed. */
struct lease_node *core_lease_node(struct core *core);
/* An upper bound of cluster time now, microseconds; 0: not known. */
int64_t core_lease_time_us(const struct core *core);

/* core_point.c: what lease_node says about a stream; admissions that had to wait for the store; the end of all. */
void core_point_on_admitted(struct core_point *point, uint64_t revision);
void core_point_on_ended(struct core_point *point, enum lease_end why);
void core_points_applied(struct core *core);
void core_points_end(struct core *core);

#endif
