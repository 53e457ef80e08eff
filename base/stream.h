/* A connected, ordered byte stream on a libuv loop, whatever carries it: TLS over TCP (base/tls.h), or a pair in memory
 * for tests and fuzzers (base/stream_pair.h). What sits on top (HTTP/2, the peer protocol) knows only this header.
 *
 *   opening --> open --> closing --> closed
 *       \________________/
 *
 * All calls and callbacks happen on the loop's thread. Callbacks never run on the stack of a call into the stream. */
#ifndef LAPSE_BASE_STREAM_H
#define LAPSE_BASE_STREAM_H

#include "base/bytes.h"
#include "base/limits.h"

/* Who is at the other end, from its verified certificate. */
struct stream_peer {
    char principal[LIMIT_PRINCIPAL + 1]; /* the certificate's one URI SAN */
    char address[64];                    /* "127.0.0.1:34567", for logs */
    uint8_t certificate_sha256[32];
};

struct stream;

/* The owner's side. Set with stream_set_handler; NULL members are not called. */
struct stream_handler {
    /* The stream is open (handshake done, peer verified). Called once, before anything else but on_close. */
    void (*on_open)(struct stream *stream, const struct stream_peer *peer);
    /* Bytes arrived; borrowed for the call. */
    void (*on_data)(struct stream *stream, struct slice bytes);
    /* The bytes waiting to be sent fell below LIMIT_STREAM_LOW_WATER after having been at or above it. */
    void (*on_drain)(struct stream *stream);
    /* The last callback, exactly once, also after stream_close: `why` says what happened (OK: this side closed it;
     * UNAVAILABLE: the other side or the network; UNAUTHENTICATED: the handshake; DEADLINE_EXCEEDED: a stalled peer).
     * The stream is freed when this returns. */
    void (*on_close)(struct stream *stream, const struct lapse_error *why);
};

struct stream_ops {
    lapse_result (*write)(struct stream *stream, struct slice bytes);
    size_t (*pending)(const struct stream *stream);
    void (*pause_reading)(struct stream *stream, bool paused);
    void (*close)(struct stream *stream, const struct lapse_error *why);
    lapse_result (*send)(struct stream *stream, struct slice bytes); /* NULL: as write */
};

struct stream {
    const struct stream_ops *ops;
    struct stream_handler handler;
    void *owner; /* the handler's */
};

static inline void stream_set_handler(struct stream *stream, struct stream_handler handler, void *owner)
{
    stream->handler = handler;
    stream->owner = owner;
}

/* Queues bytes (copied). Writes of one loop iteration leave as few records and system calls as possible.
 * RESOURCE_EXHAUSTED when the stream's send limit would be passed (nothing is queued), FAILED_PRECONDITION when it is
 * not open. */
static inline LAPSE_MUST_USE lapse_result stream_write(struct stream *stream, struct slice bytes)
{
    return stream->ops->write(stream, bytes);
}
/* The same, but on their way when this returns, without a copy, unless others are queued before them: for a caller that
 * has collected what belongs together. */
static inline LAPSE_MUST_USE lapse_result stream_send(struct stream *stream, struct slice bytes)
{
    return (stream->ops->send != NULL ? stream->ops->send : stream->ops->write)(stream, bytes);
}
/* Bytes queued and not yet taken by the kernel. */
static inline size_t stream_pending(const struct stream *stream)
{
    return stream->ops->pending(stream);
}
/* Backpressure: while paused no on_data comes and the peer's window fills; the other side's end is noticed only after
 * resuming. */
static inline void stream_pause_reading(struct stream *stream, bool paused)
{
    stream->ops->pause_reading(stream, paused);
}
/* Starts closing; no callback but on_close comes any more; what is queued is sent first unless `why` (may be NULL for
 * an orderly end) is an error. on_close follows from the loop. Idempotent. */
static inline void stream_close(struct stream *stream, const struct lapse_error *why)
{
    stream->ops->close(stream, why);
}

#endif
