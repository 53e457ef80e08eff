/* The core loop: the replica with its disk, its peers and its store, and the event ring. One thread; everything that
 * must never wait for a client lives here.
 *
 *   mail from edges, frames from peers, finished disk jobs, timers
 *        |  poll phase: each only feeds the replica
 *        v
 *   check/prepare: replica_flush -> entries, frames, answers, events into the ring -> one wake-up per edge
 */
#ifndef LAPSE_NODE_CORE_H
#define LAPSE_NODE_CORE_H

#include "base/tls.h"
#include "node/config.h"
#include "node/core_call.h"
#include "node/ring.h"

struct audit;
struct core;

struct core_handler {
    /* New events are in the ring. On the core loop, at most once an iteration. */
    void (*on_events)(void *arg);
    /* The replica has stopped for good; the process must end. On the core loop. */
    void (*on_fatal)(void *arg, const struct lapse_error *error);
};

/* Opens the data directory and binds the peer port. The loop is not running yet. */
lapse_result core_open(uv_loop_t *loop, const struct config *config, struct tls_identity *identity,
                       const struct core_handler *handler, void *arg, struct core **core,
                       struct lapse_error *error) LAPSE_MUST_USE;

/* Any thread: hands a call over, or returns false when the core has too much waiting. */
bool core_ask(struct core *core, struct core_call *call);
/* Any thread. */
struct ring *core_ring(struct core *core);
/* Any thread: an upper bound of cluster time, refreshed with every event and at least every 100 ms; 0: not known yet.
 */
int64_t core_time_ms(const struct core *core);
struct mailbox *core_mailbox(struct core *core);
/* Any thread: the audit, until core_close. */
struct audit *core_audit(struct core *core);

/* On the core loop. */
uint16_t core_peer_port(const struct core *core);
void core_set_identity(struct core *core, struct tls_identity *identity);
/* The end begins: calls that wait for a barrier go to other nodes, and so does leadership if this node has it; `done` is called when it is gone or after an election timeout or two. */
void core_step_down(struct core *core, void (*done)(void *arg), void *arg);
/* Ends everything; what waits is answered with UNAVAILABLE. `closed` is called when the last handle of the core is
 * closed; then core_free. */
void core_close(struct core *core, void (*closed)(void *arg), void *arg);
void core_free(struct core *core);

#endif
