/* NATS's client protocol (docs.nats.io, "Client Protocol") and the part of JetStream's that a key-value bucket is made
 * of: a key is a subject of a stream, a change a published message that the stream acknowledges to an inbox, a watch a
 * push consumer of the stream.
 *
 * Why not NATS's own C client: it hands each message to a thread of its own, also when its sockets are read by libuv,
 * so that time would be taken behind a hand-over that none of the others pays. */
#ifndef LAPSE_BENCH_PEERS_NATS_LINK_H
#define LAPSE_BENCH_PEERS_NATS_LINK_H

#include "bench/peers/peer_link.h"

#define NATS_BUCKET "items"

extern const struct peer_link_protocol nats_protocol;

/* Requests; `number` comes back in on_answer. A `quiet` item's key is one that no watcher is told of. */
void nats_put(struct peer_link *link, uint32_t number, uint32_t item, bool quiet);
void nats_delete(struct peer_link *link, uint32_t number, uint32_t item, bool quiet);
/* From its answer on, on_gone for each item of the bucket that is deleted. */
void nats_watch(struct peer_link *link, uint32_t number);

#endif
