/* A binary heap on (time, order of insertion). */
#include "tests/sim/events.h"

#include <stdlib.h>

#include "base/bytes.h"

static bool before(const struct event *a, const struct event *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

void events_add(struct events *events, struct event event)
{
    if (events->n == events->capacity) {
        events->capacity = events->capacity == 0 ? 256 : events->capacity * 2;
        events->heap = mem_realloc(events->heap, events->capacity * sizeof(*events->heap));
    }
    event.order = events->next_order++;
    size_t at = events->n++;
    while (at > 0 && before(&event, &events->heap[(at - 1) / 2])) {
        events->heap[at] = events->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    events->heap[at] = event;
}

/* Puts `event` into the hole at the top. */
static void sift_down(struct events *events, struct event event)
{
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= events->n) {
            break;
        }
        if (child + 1 < events->n && before(&events->heap[child + 1], &events->heap[child])) {
            child++;
        }
        if (before(&event, &events->heap[child])) {
            break;
        }
        events->heap[at] = events->heap[child];
        at = child;
    }
    events->heap[at] = event;
}

bool events_take(struct events *events, struct event *event)
{
    if (events->n == 0) {
        return false;
    }
    *event = events->heap[0];
    events->n--;
    if (events->n > 0) {
        sift_down(events, events->heap[events->n]);
    }
    return true;
}

int64_t events_next_us(const struct events *events)
{
    return events->n == 0 ? INT64_MAX : events->heap[0].at_us;
}

void events_free(struct events *events)
{
    for (size_t i = 0; i < events->n; i++) {
        if (events->heap[i].drop != NULL) {
            events->heap[i].drop(events->heap[i].arg, events->heap[i].tag);
        }
    }
    free(events->heap);
    *events = (struct events){0};
}
