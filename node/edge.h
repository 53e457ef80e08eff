/* An edge: one loop with client connections, TLS, HTTP/2 and gRPC. It knows nothing of the replica: it asks the core by
 * mail and reads the event ring.
 *
 *   connection --> call --> service: decode, validate --> core_ask ... answered --> reply
 *                       \-> watch:   cursor over the ring, pulled whenever the connection is writable
 *
 * There are `edge_threads` of them, each with a thread and a listener of its own on the shared port; with 0 there is
 * one on the core loop. */
#ifndef LAPSE_NODE_EDGE_H
#define LAPSE_NODE_EDGE_H

#include "node/admission.h"
#include "node/core.h"
#include "proto/grpc_server.h"

struct edge;

struct edge_options {
    const struct config *config;
    struct core *core;
    struct tls_identity *identity; /* a reference is taken */
    struct admission *admission;
    uint16_t port; /* 0: any */
    enum tls_port use;
};

/* Binds the port. The loop is not running yet. */
lapse_result edge_open(uv_loop_t *loop, const struct edge_options *options, struct edge **edge,
                       struct lapse_error *error) LAPSE_MUST_USE;
uint16_t edge_port(const struct edge *edge);

/* Any thread: there are new events in the ring. */
void edge_wake(struct edge *edge);
/* Any thread: mail to the edge's loop. */
struct mailbox *edge_mailbox(struct edge *edge);

/* On the edge's loop. Drain: no new connections, GOAWAY, watches end with UNAVAILABLE; `drained` when the last
 * connection is gone. */
void edge_drain(struct edge *edge, uint32_t grace_ms, void (*drained)(void *arg), void *arg);
void edge_set_identity(struct edge *edge, struct tls_identity *identity);
/* After draining, and after the core has answered everything: closes the last handles; then edge_free. */
void edge_close(struct edge *edge);
void edge_free(struct edge *edge);

#endif
