/* How fast a leader goes on, so that nobody waits long for what nobody waits for.
 *
 * Deadlines that have passed end in slices, one ADVANCE each. A write that comes meanwhile waits for the slice that is
 * being applied, on the leader and on the followers that must acknowledge it. So a slice is as long as it may take, not
 * as many deadlines as fit: while others write, about a millisecond; else three.
 *
 * What is derived from the log (the audit database) may fall behind, and what it has no more room for would be missing
 * on all nodes at once. Its pressure slows the leader down, deadlines first:
 *
 *   pressure    0 .......... 25 ................... 50 ............................ 100 %
 *   deadlines   at once      a growing pause after each slice, 5 ms per percent, at most 200 ms
 *   commands    at once      at once                a growing pause after each batch, at most 50 ms
 *
 * It never stops: if the database can't be written at all, records go missing rather than revocations.
 *
 * Pure: time goes in as an argument. */
#ifndef LAPSE_RAFT_PACE_H
#define LAPSE_RAFT_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct pace {
    uint32_t slice;      /* deadlines that the next ADVANCE may end */
    uint32_t pressure;   /* percent */
    int64_t written_us;  /* when commands of others were last taken */
    int64_t advance_us;  /* no ADVANCE before */
    int64_t commands_us; /* no commands before */
};

void pace_init(struct pace *pace);
/* 0 to 100. */
void pace_set_pressure(struct pace *pace, uint32_t percent);
/* Commands of others went into the log. */
void pace_took_commands(struct pace *pace, int64_t now_us);
/* An ADVANCE was applied, in so long; `full`: it left deadlines that have passed. */
void pace_advanced(struct pace *pace, int64_t now_us, int64_t took_us, bool full);

#endif
