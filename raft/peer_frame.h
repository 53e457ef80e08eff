/* The bytes of a peer link: frames, and the Hello that comes first. Pure; peers.c moves them.
 *
 *   4 bytes length (big-endian, of what follows, never 0) | payload
 *
 * Hello is a protobuf message: 1 version, 2 cluster id, 3 node id, 4 instance (fixed64), 5 refusal (text), 6 home
 * (fixed64, raft/homes.h). The instance
 * is drawn at random when a process starts: it tells a process that dials again from a second process with its
 * identity. A refusal is sent back instead of an acceptance, for the other side's log. */
#ifndef LAPSE_RAFT_PEER_FRAME_H
#define LAPSE_RAFT_PEER_FRAME_H

#include "base/limits.h"
#include "base/wire.h"
#include "raft/log.h"

#define PEER_PROTOCOL_VERSION 1
#define PEER_FRAME_HEADER 4
#define PEER_REFUSAL_MAX LAPSE_ERROR_MESSAGE_SIZE

struct peer_hello {
    uint64_t version;
    struct slice cluster; /* empty: a newcomer */
    uint64_t node;
    uint64_t instance;
    struct slice refusal; /* empty: welcome */
    uint64_t home;        /* of the data directory; 0: not said */
};

/* Appends the message (without a frame header). Fails only at the buffer's bound. */
lapse_result peer_hello_encode(const struct peer_hello *hello, struct buf *out) LAPSE_MUST_USE;
/* Borrows from `bytes`. INVALID_ARGUMENT for anything but a well-formed Hello; of another version only `version` is
 * looked at and filled, since the rest may have changed. */
lapse_result peer_hello_decode(struct slice bytes, struct peer_hello *hello, struct lapse_error *error) LAPSE_MUST_USE;

void peer_frame_header(uint32_t len, uint8_t out[PEER_FRAME_HEADER]);

/* Cuts a stream of bytes into frames. A frame that lies whole in the fed bytes is not copied. */
struct peer_frame_reader {
    struct buf partial;
    uint32_t max; /* longest payload taken; the callback may change it for the frames after its own */
};

void peer_frame_reader_init(struct peer_frame_reader *reader, uint32_t max);
void peer_frame_reader_free(struct peer_frame_reader *reader);
/* Calls `on_frame` for each complete frame until it returns false; the rest is then discarded. INVALID_ARGUMENT for an
 * empty or too long frame, found by its header, before any of it is kept. */
lapse_result peer_frame_reader_feed(struct peer_frame_reader *reader, struct slice bytes,
                                    bool (*on_frame)(void *arg, struct slice frame), void *arg,
                                    struct lapse_error *error) LAPSE_MUST_USE;

#endif
