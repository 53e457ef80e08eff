/* The links between nodes: one in each direction of a pair, in order like the TCP connections they stand for.
 *
 *   up --break--> dialling --> up        frames under way are lost with the connection
 *   up --cut----> cut -------> up        a partition: frames are lost, or held and delivered late when it heals */
#ifndef LAPSE_SIM_NETWORK_H
#define LAPSE_SIM_NETWORK_H

#include "tests/sim/sim.h"

struct network *network_new(struct sim *sim);
void network_free(struct network *network);

/* Nodes are named by their place, 0 to n_nodes - 1. */
void network_send(struct network *network, uint32_t from, uint32_t to, struct slice frame);
/* Cuts one direction. `hold`: frames sent meanwhile (up to a connection's buffer) arrive when it heals. */
void network_cut(struct network *network, uint32_t from, uint32_t to, bool hold);
void network_mend(struct network *network, uint32_t from, uint32_t to);
/* Loses what is under way and needs a moment to connect again. */
void network_break(struct network *network, uint32_t from, uint32_t to);
/* The mean delay of a direction; 0: as it was at the start. */
void network_set_delay(struct network *network, uint32_t from, uint32_t to, int64_t delay_us);
/* The process at `gone` has ended, and `to` finds out: behind what was on its way, unless the network is cut. */
void network_tell_gone(struct network *network, uint32_t gone, uint32_t to);
void network_heal(struct network *network);
/* An upper bound of what a frame may take on a link that is up and not slowed. */
int64_t network_delay_max_us(const struct network *network);

#endif
