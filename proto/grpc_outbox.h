/* Messages of one call on their way out: a ring of shared blobs, each sent with gRPC's prefix before it.
 *
 * nghttp2 asks how much it may send (grpc_outbox_available), frames it, then the bytes are written straight from the
 * blobs into the connection's output (grpc_outbox_next, grpc_outbox_consume): an event that goes to thousands of calls
 * is never copied per call before that. A message is dropped from the ring with its last byte. */
#ifndef LAPSE_PROTO_GRPC_OUTBOX_H
#define LAPSE_PROTO_GRPC_OUTBOX_H

#include "base/bytes.h"
#include "proto/grpc_wire.h"

#define GRPC_OUTBOX_INLINE 4

struct grpc_outbox {
    struct blob **ring; /* NULL: `few` */
    struct blob *few[GRPC_OUTBOX_INLINE];
    uint32_t capacity; /* of the ring; a power of two */
    uint32_t head;     /* index of the first message */
    uint32_t count;
    uint32_t sent; /* bytes of the first message with its prefix that are gone */
    size_t bytes;  /* left to send, prefixes included */
};

void grpc_outbox_init(struct grpc_outbox *outbox);
void grpc_outbox_clear(struct grpc_outbox *outbox);
/* Takes over the caller's reference. */
void grpc_outbox_push(struct grpc_outbox *outbox, struct blob *message);
/* The next contiguous bytes to send, at most `max`; `prefix` is scratch that the slice may point into. Empty when there
 * are none. */
struct slice grpc_outbox_next(const struct grpc_outbox *outbox, size_t max, uint8_t prefix[GRPC_PREFIX_SIZE]);
/* Drops bytes from the front; not more than grpc_outbox_next gave. */
void grpc_outbox_consume(struct grpc_outbox *outbox, size_t len);

#endif
