/* What goes wrong, when, and for how long: draws faults by a profile's weights and undoes each of them after a while.
 */
#ifndef LAPSE_SIM_CHAOS_H
#define LAPSE_SIM_CHAOS_H

#include "tests/sim/sim.h"

struct chaos *chaos_new(struct sim *sim);
void chaos_free(struct chaos *chaos);
/* Ends all faults at once: links mend, disks work, processes run. Wall clocks stay as they are. */
void chaos_heal(struct chaos *chaos);

#endif
