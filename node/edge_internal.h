/* What the edge (edge.c) and its services (service_*.c) share. Nobody else includes this. */
#ifndef LAPSE_NODE_EDGE_INTERNAL_H
#define LAPSE_NODE_EDGE_INTERNAL_H

#include "node/edge.h"
#include "node/feed_line.h"
#include "proto/health.h"

/* A call without a deadline of its own gets this one, and none gets more than the most. */
#define CALL_TIMEOUT_MS_DEFAULT 5000
#define CALL_TIMEOUT_MS_MAX 60000

struct feed;

struct edge_connection {
    struct edge *edge;
    struct grpc_connection *grpc;
    struct stream *stream;
    struct admission_entry *entry; /* NULL until the handshake is done */
    struct edge_connection *next, *prev;
};

struct edge {
    uv_loop_t *loop;
    const struct config *config;
    struct core *core;
    struct admission *admission;
    struct tls_identity *identity;
    struct tls_listener *listener;
    struct mailbox mailbox;
    struct wake ring_wake;
    uv_timer_t tick; /* progress marks, revalidation of certificates */
    struct health *health;
    struct grpc_method *methods;
    size_t n_methods;
    struct edge_connection *connections;
    struct feed_line line; /* watches and enforcement points */
    bool draining;
    bool listener_closed;
    void (*drained)(void *arg);
    void *drained_arg;
};

/* Connection of a call, and who calls. */
struct edge_connection *edge_connection_of(const struct grpc_call *call);
const char *edge_principal_of(const struct grpc_call *call);
/* Milliseconds that the core may take for this call: what is left of its deadline, within the bounds above. */
int64_t edge_timeout_of(const struct grpc_call *call);
/* A fresh random grant id. */
struct grant_id edge_new_grant_id(const struct edge *edge);

/* service_grants.c, service_points.c and service_cluster.c: unary methods. service_follow.c: Grants.RevokeAndFollow. service_watch.c: Grants.Watch. service_enforcement.c:
 * Enforcement.Subscribe. Each returns its table. */
const struct grpc_method *service_grants_methods(size_t *n);
const struct grpc_method *service_cluster_methods(size_t *n);
const struct grpc_method *service_watch_methods(size_t *n);
const struct grpc_method *service_follow_methods(size_t *n);
const struct grpc_method *service_points_methods(size_t *n);
const struct grpc_method *service_governance_methods(size_t *n);
const struct grpc_method *service_enforcement_methods(size_t *n);
const struct grpc_method *service_audit_methods(size_t *n);

/* feed.c: the node stops. */
void feed_end_all(struct edge *edge);

/* service_unary.c: what every unary method shares. `prepare` decodes and validates the message into `call`; on failure
 * the call ends with its error. */
typedef lapse_result (*unary_prepare)(struct edge *edge, struct slice message, struct core_call *call,
                                      struct lapse_error *error);
struct unary_method {
    enum core_op op;
    unary_prepare prepare;
};
void unary_on_message(struct grpc_call *call, struct slice message);
void unary_on_close(struct grpc_call *call);
#define UNARY_METHOD(path_, spec)                                                                                      \
    {                                                                                                                  \
        .path = (path_), .on_message = unary_on_message, .on_close = unary_on_close, .data = (void *)(spec)            \
    }

#endif
