/* grpc.health.v1: what load balancers and orchestrators ask. One state for the process (does this node serve?), told to
 * every Watch.
 *
 * health_set may be called from any thread. Each loop that serves connections has a `struct health` of its own, whose
 * methods belong into the method table of that loop's connections. */
#ifndef LAPSE_PROTO_HEALTH_H
#define LAPSE_PROTO_HEALTH_H

#include "proto/grpc_server.h"

/* The process begins as not serving. */
void health_set(bool serving);
bool health_is_serving(void);

struct health;
#define HEALTH_METHODS 2
struct health *health_new(uv_loop_t *loop);
void health_methods(struct health *health, struct grpc_method methods[HEALTH_METHODS]);
/* When the loop's connections are closed. Frees it; the loop must still run once. Accepts NULL. */
void health_free(struct health *health);

#endif
