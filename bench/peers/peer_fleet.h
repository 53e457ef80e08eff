/* Many watchers of one peer, on one loop: opened some at a time, since a listener's queue is short, and closed all at
 * once. A kind says how one is opened and closed; the fleet counts, waits, and keeps the first failure.
 *
 *   peer_fleet_open --> dial(i) --> peer_fleet_in_place | peer_fleet_failed          (on the loop)
 *   peer_fleet_close --> hang_up(i) --> peer_fleet_closed
 *
 * Embedded in the kind's own struct. */
#ifndef LAPSE_BENCH_PEERS_PEER_FLEET_H
#define LAPSE_BENCH_PEERS_PEER_FLEET_H

#include "bench/peers/peer.h"

struct peer_fleet;

struct peer_fleet_ops {
    /* Begins to open watcher i. */
    void (*dial)(struct peer_fleet *fleet, uint32_t i);
    /* Begins to close it, and peer_fleet_closed follows from the loop; false when it isn't open. */
    bool (*hang_up)(struct peer_fleet *fleet, uint32_t i);
};

struct peer_fleet {
    const struct peer_fleet_ops *ops;
    const struct peer *peer;
    struct bench_loop *loop;
    uint32_t n, node; /* node 0: spread over all */
    uint32_t begun, in_place;
    struct bench_gate *opening; /* while peer_fleet_open waits */
    struct bench_gate *closing; /* while peer_fleet_close waits */
    struct lapse_error error;   /* of the first that failed while opening */
};

/* Where watcher i belongs: from 1. */
uint32_t peer_fleet_node(const struct peer_fleet *fleet, uint32_t i);

/* The caller has set `ops` to `node`, the rest is zero. Returns when all are in place. UNAVAILABLE, CANCELLED; then
 * peer_fleet_close is due as well. */
lapse_result peer_fleet_open(struct peer_fleet *fleet, struct lapse_error *error) LAPSE_MUST_USE;
/* Returns when all are closed, also when a signal came: until then they are in use. */
void peer_fleet_close(struct peer_fleet *fleet);

/* On the loop, once for each watcher at most. */
void peer_fleet_in_place(struct peer_fleet *fleet);
/* Counts while opening only. */
void peer_fleet_failed(struct peer_fleet *fleet, uint32_t i, const char *why);
/* Does nothing unless peer_fleet_close waits. */
void peer_fleet_closed(struct peer_fleet *fleet);

#endif
