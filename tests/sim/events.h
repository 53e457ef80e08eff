/* What is going to happen, ordered by virtual time: the simulator's one source of progress.
 *
 * Two events of the same moment happen in the order in which they were added, so that a run depends on its seed alone.
 */
#ifndef LAPSE_SIM_EVENTS_H
#define LAPSE_SIM_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `tag` lets the receiver recognise an event that is out of date. */
typedef void (*event_cb)(void *arg, uint64_t tag);

struct event {
    int64_t at_us;
    uint64_t order;
    event_cb run;
    event_cb drop; /* called instead of `run` when the run ends before; NULL: nothing to release */
    void *arg;
    uint64_t tag;
};

struct events {
    struct event *heap;
    size_t n, capacity;
    uint64_t next_order;
};

void events_add(struct events *events, struct event event);
/* Takes the earliest event; false when there is none. */
bool events_take(struct events *events, struct event *event);
/* The time of the earliest event; INT64_MAX when there is none. */
int64_t events_next_us(const struct events *events);
/* Drops what is left and releases the memory. */
void events_free(struct events *events);

#endif
