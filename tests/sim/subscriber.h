/* Enforcement points and watchers: cursors on the nodes' rings, which move from node to node and check that nothing is
 * missing (G7). */
#ifndef LAPSE_SIM_SUBSCRIBER_H
#define LAPSE_SIM_SUBSCRIBER_H

#include "node/ring.h"
#include "tests/sim/point_link.h"
#include "tests/sim/sim.h"

struct subscribers *subscribers_new(struct sim *sim);
/* After the nodes are gone. */
void subscribers_free(struct subscribers *subscribers);

/* A node applied an event: puts it into its ring, encoded as subscribers here expect it. */
void subscribers_publish(struct sim_node *node, const struct store_event *event);
/* What an enforcement point gets of the grant or lock that an event in the ring is about, */
void subscribers_grant(const struct ring_event *event, struct point_grant *out);
void subscribers_lock(const struct ring_event *event, struct point_lock *out);
/* or of one in a snapshot. */
void subscribers_show_grant(const struct grant *grant, struct point_grant *out);
void subscribers_show_lock(const struct object *object, bool lifted, struct point_lock *out);
/* Healed: from now on subscribers stay where they are and read fast. */
void subscribers_settle(struct subscribers *subscribers);
/* True when every subscriber has seen the last revision. */
bool subscribers_caught_up(const struct subscribers *subscribers);
uint64_t subscribers_resyncs(const struct subscribers *subscribers);

#endif
