/* A system under test that lives in the test: nodes that answer, that are dead, that hang or that refuse; items in
 * memory, with deadlines; watchers that are told at once. Everything on one bench_loop. */
#ifndef LAPSE_TESTS_FAKE_SYSTEM_H
#define LAPSE_TESTS_FAKE_SYSTEM_H

#include "bench/harness/system.h"

enum fake_mode {
    FAKE_UP,
    FAKE_DEAD,   /* every call is UNAVAILABLE */
    FAKE_HANGS,  /* no call is answered before its writer is closed */
    FAKE_REFUSES /* INVALID_ARGUMENT */
};

struct fake_system;

struct fake_system *fake_system_new(struct bench_loop *loop, uint32_t nodes, uint32_t items);
void fake_system_free(struct fake_system *fake);
struct system *fake_system_of(struct fake_system *fake);
void fake_system_set(struct fake_system *fake, uint32_t node, enum fake_mode mode);
/* Events reach the watchers of this node no more, or again. */
void fake_system_deafen(struct fake_system *fake, uint32_t node, bool deaf);
/* How often the item was ended, and calls that a node got. */
uint32_t fake_system_ends(struct fake_system *fake, uint32_t item);
uint32_t fake_system_calls(struct fake_system *fake, uint32_t node);

#endif
