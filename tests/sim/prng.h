/* The simulator's randomness: splitmix64, seeded by the test, so that a failure is replayed from the seed it prints. */
#ifndef LAPSE_TESTS_SIM_PRNG_H
#define LAPSE_TESTS_SIM_PRNG_H

#include <stdbool.h>
#include <stdint.h>

struct prng {
    uint64_t state;
};

static inline uint64_t prng_next(struct prng *prng)
{
    uint64_t z = prng->state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* 0 .. bound - 1; bound > 0. The bias of the remainder is far below what a test could see. */
static inline uint64_t prng_below(struct prng *prng, uint64_t bound)
{
    return prng_next(prng) % bound;
}

/* True with a probability of `percent` in a hundred. */
static inline bool prng_chance(struct prng *prng, unsigned percent)
{
    return prng_below(prng, 100) < percent;
}

#endif
