/* The parts of scenario floor: what this machine can do at best, in the same run as what is compared with it. */
#ifndef LAPSE_BENCH_SCENARIOS_FLOOR_H
#define LAPSE_BENCH_SCENARIOS_FLOOR_H

#include "bench/harness/process.h"
#include "bench/harness/scenario.h"

struct floor_run {
    struct bench *bench;
    char dir[PROCESS_PATH_SIZE];
    uint32_t rounds;
};

/* Children talk to this program by a socket pair: one byte there starts a piece of work, one back says that it is done.
 * They end with this program at the latest. */
struct floor_child {
    pid_t pid;
    int fd;
};
/* Forks; the child runs work(arg, fd) and exits. There must be no other threads. */
lapse_result floor_child_start(struct floor_child *child, void (*work)(void *arg, int fd), void *arg,
                               struct lapse_error *error) LAPSE_MUST_USE;
/* Kills it. Accepts one that was never started. */
void floor_child_end(struct floor_child *child);
/* False when the other end is closed. */
bool floor_say(int fd);
bool floor_hear(int fd);
/* Sleeps, so that what comes is paced as single requests are. */
void floor_pause(void);

lapse_result floor_syncs(struct floor_run *run, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result floor_round_trips(struct floor_run *run, struct lapse_error *error) LAPSE_MUST_USE;
/* To `n` connections, from three processes to one thread of this one. */
lapse_result floor_fanout(struct floor_run *run, uint32_t n, bool tls, struct lapse_error *error) LAPSE_MUST_USE;

#endif
