/* What Redis pushes to a subscriber, in its protocol (RESP2): arrays of three, ["subscribe", channel, count] and
 * ["message", channel, key]. Pure. */
#ifndef LAPSE_BENCH_PEERS_REDIS_PUSH_H
#define LAPSE_BENCH_PEERS_REDIS_PUSH_H

#include "base/bytes.h"

enum redis_push_kind { REDIS_PUSH_SUBSCRIBED, REDIS_PUSH_MESSAGE };

struct redis_push {
    enum redis_push_kind kind;
    struct slice key; /* of a message: borrowed */
};

#define REDIS_PUSH_MALFORMED SIZE_MAX

/* Takes one push from the front: its length; 0: it isn't whole yet; REDIS_PUSH_MALFORMED: it is none (an error of the
 * server begins with '-'). */
size_t redis_push_take(struct slice bytes, struct redis_push *push);

#endif
