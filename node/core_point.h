/* A stream of an enforcement point, between its edge and the core: what the two tell each other.
 *
 *   edge (service_enforcement.c)                       core (core_lease.c)
 *     register: CORE_WRITE of COMMAND_REGISTER ------>   (as any write)
 *     core_point_open(instance) --------------------->   lease_node_open
 *                       <-------- admitted(revision)     lease_node's on_admitted
 *     snapshot or events from the ring, behind `revision`
 *     core_point_tell(ping | ack | failure | goodbye) ->  lease_node_promise, _ack, ...
 *                       <-------- pong(sequence, ttl, cluster time)
 *                       <-------- ended(why)             then only core_point_close is left to do
 *     core_point_close ------------------------------>   freed by the core after it; no callback any more
 *
 * All functions here are the edge's; callbacks run on the edge's loop. Mail keeps its order both ways. */
#ifndef LAPSE_NODE_CORE_POINT_H
#define LAPSE_NODE_CORE_POINT_H

#include "node/lease_node.h"
#include "node/mailbox.h"

struct core;
struct core_point;

struct core_point_handler {
    void (*on_admitted)(void *owner, uint64_t revision, bool again);
    void (*on_pong)(void *owner, uint64_t sequence, uint32_t ttl_ms, int64_t time_us);
    void (*on_ended)(void *owner, enum lease_end why);
};

/* NULL when the core has too much waiting. */
struct core_point *core_point_open(struct core *core, struct mailbox *reply_to, struct random_id instance,
                                   const struct core_point_handler *handler, void *owner);

enum core_point_word { POINT_PING, POINT_ACK, POINT_FAILURE, POINT_GOODBYE };
struct core_point_tell {
    enum core_point_word word;
    uint64_t sequence;           /* PING */
    uint64_t received, enforced; /* ACK */
    uint64_t revision;           /* FAILURE */
    char reason[LIMIT_RECEIPT_REASON + 1];
};
/* False when the core has too much waiting: end the stream. */
bool core_point_tell(struct core_point *point, const struct core_point_tell *tell);
void core_point_close(struct core_point *point);

#endif
