/* Requests that wait for their answers, by number: 0, 1, 2, ... as they are sent. Answers come in any order. */
#ifndef LAPSE_BENCH_PEERS_PEER_PENDING_H
#define LAPSE_BENCH_PEERS_PEER_PENDING_H

#include "bench/harness/system.h"

struct peer_pending {
    struct peer_pending_one {
        system_done done; /* NULL: answered */
        void *arg;
    } * list; /* number modulo capacity, which is a power of two */
    uint32_t capacity;
    uint32_t first, next; /* numbers in [first, next) may wait */
};

uint32_t peer_pending_add(struct peer_pending *pending, system_done done, void *arg);
/* Calls its done; nothing for a number that doesn't wait. */
void peer_pending_finish(struct peer_pending *pending, uint32_t number, const struct lapse_error *error);
/* All that wait now; not what the callbacks add. */
void peer_pending_finish_all(struct peer_pending *pending, const struct lapse_error *error);
void peer_pending_free(struct peer_pending *pending);

#endif
