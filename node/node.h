/* A running node: everything between its configuration and its end. `lapsed` is its only user. */
#ifndef LAPSE_NODE_NODE_H
#define LAPSE_NODE_NODE_H

#include "node/config.h"

struct node;

/* Opens the data directory, starts threads and listeners, and returns when the ports are bound. Ports given as 0 are chosen; see node_ports. */
lapse_result node_start(const struct config *config, struct node **node, struct lapse_error *error) LAPSE_MUST_USE;
struct node_ports {
    uint16_t client, peer, http;
};
void node_ports(const struct node *node, struct node_ports *ports);
/* Asks for a clean stop: leadership handed over, calls finished or refused, files closed. Any thread, also after the end. */
void node_stop(struct node *node);
/* Certificates and the deny list anew (SIGHUP). Any thread, also after the end. */
void node_reload(struct node *node);
/* Waits for the end. OK after node_stop; otherwise why the node had to end. */
lapse_result node_wait(struct node *node, struct lapse_error *error) LAPSE_MUST_USE;
/* After node_wait. Not part of it, since until then a signal may still call node_stop. Accepts NULL. */
void node_free(struct node *node);
/* Whether the node serves linearizable calls (a quorum answered lately). */
bool node_is_ready(const struct node *node);
/* Gives `member` its roles (enum role), in the name of the cluster itself: how `lapsed --dev` seeds a cluster of its own making.
 * Any thread but the node's; waits up to 5 s for the commit. UNAVAILABLE when there was none in time. */
lapse_result node_seed_roles(struct node *node, const char *member, uint32_t roles, struct lapse_error *error) LAPSE_MUST_USE;

#endif
