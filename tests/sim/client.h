/* People and programs who ask, approve, use and revoke, on any node, and ask again with the same key when they aren't
 * told. */
#ifndef LAPSE_SIM_CLIENT_H
#define LAPSE_SIM_CLIENT_H

#include "tests/sim/sim.h"

struct clients *clients_new(struct sim *sim);
/* After the nodes are gone. */
void clients_free(struct clients *clients);
/* No new operations; those under way are finished. */
void clients_stop(struct clients *clients);
/* Sends one write and one read to every node; true from clients_probed once all were served. */
void clients_probe(struct clients *clients);
bool clients_probed(const struct clients *clients);

#endif
