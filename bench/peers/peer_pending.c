#include "bench/peers/peer_pending.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"

#define CAPACITY_MIN 64u

static struct peer_pending_one *at(const struct peer_pending *pending, uint32_t number)
{
    return &pending->list[number & (pending->capacity - 1)];
}

static void grow(struct peer_pending *pending)
{
    struct peer_pending old = *pending;
    pending->capacity = old.capacity == 0 ? CAPACITY_MIN : 2 * old.capacity;
    pending->list = mem_calloc(pending->capacity, sizeof *pending->list);
    for (uint32_t i = old.first; i != old.next; i++)
        *at(pending, i) = *at(&old, i);
    free(old.list);
}

uint32_t peer_pending_add(struct peer_pending *pending, system_done done, void *arg)
{
    CHECK(done != NULL);
    if (pending->next - pending->first == pending->capacity)
        grow(pending);
    *at(pending, pending->next) = (struct peer_pending_one){done, arg};
    return pending->next++;
}

void peer_pending_finish(struct peer_pending *pending, uint32_t number, const struct lapse_error *error)
{
    if (number - pending->first >= pending->next - pending->first || at(pending, number)->done == NULL)
        return;
    struct peer_pending_one one = *at(pending, number);
    at(pending, number)->done = NULL;
    while (pending->first != pending->next && at(pending, pending->first)->done == NULL)
        pending->first++;
    one.done(one.arg, error);
}

void peer_pending_finish_all(struct peer_pending *pending, const struct lapse_error *error)
{
    uint32_t first = pending->first, n = pending->next - first;
    for (uint32_t i = 0; i < n; i++)
        peer_pending_finish(pending, first + i, error);
}

void peer_pending_free(struct peer_pending *pending)
{
    CHECK(pending->first == pending->next);
    free(pending->list);
    *pending = (struct peer_pending){0};
}
