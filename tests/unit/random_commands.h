/* Random commands of all kinds, for tests of the store that want all of them: the world is small and its commands
 * collide. Few names (some of them of the same person), few resources, times of some milliseconds. */
#ifndef LAPSE_TESTS_RANDOM_COMMANDS_H
#define LAPSE_TESTS_RANDOM_COMMANDS_H

#include "store_fixture.h"

#define RANDOM_RECENT 32u

struct random_commands {
    struct fixture_random random;
    const struct store *store; /* asked for what is there */
    int64_t now_ms;
    uint32_t n_grants, n_instances;
    uint32_t recent[RANDOM_RECENT]; /* requests that came about, by number */
    uint32_t n_recent;
    struct buf value; /* of the command that was made last */
};

void random_commands_init(struct random_commands *world, uint64_t seed);
void random_commands_free(struct random_commands *world);
uint32_t random_pick(struct random_commands *world, uint32_t n);
bool random_chance(struct random_commands *world, uint32_t percent);
/* The next one; valid until the one after it. */
struct command random_command(struct random_commands *world);
/* An APPLY_POLICY, likewise. */
struct command random_policy(struct random_commands *world);
/* To be told of each that took effect: REQUESTs are remembered, and others are made about them. */
void random_command_done(struct random_commands *world, const struct command *command);

#endif
