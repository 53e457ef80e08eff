/* How long the core's loop was away from its poll: what a heartbeat or an answer may have had to wait. Measured by the
 * clock, so a machine without a processor to spare shows, too. */
#ifndef LAPSE_NODE_LOOP_METER_H
#define LAPSE_NODE_LOOP_METER_H

#include <stdint.h>

struct loop_meter {
    uint64_t turned_ns, idle_ns; /* at the last turn; 0: there was none */
    uint64_t window_ns;          /* when the present window began */
    int64_t longest_us[2];       /* in the present window and in the one before */
};

/* At each turn of the loop, with the time it has slept in its poll so far. Sets METRIC_LOOP_US_MAX and
 * METRIC_LOOP_US_RECENT. */
void loop_meter_turn(struct loop_meter *meter, uint64_t now_ns, uint64_t idle_ns);

#endif
