/* gRPC over HTTP/2, the client's end of one connection. The owner dials (base/tls.h) and hands the stream over. One
 * loop's thread. */
#ifndef LAPSE_PROTO_GRPC_CLIENT_H
#define LAPSE_PROTO_GRPC_CLIENT_H

#include <uv.h>

#include "base/stream.h"

struct grpc_channel;
struct grpc_request;

struct grpc_channel_handler {
    void (*on_open)(struct grpc_channel *channel, const struct stream_peer *peer);
    /* The server is going away: no new calls here (GOAWAY). */
    void (*on_goaway)(struct grpc_channel *channel);
    /* Last callback; every call was ended before with UNAVAILABLE. Freed when this returns. */
    void (*on_close)(struct grpc_channel *channel, const struct lapse_error *why);
};

struct grpc_request_handler {
    void (*on_message)(struct grpc_request *request, struct slice message); /* borrowed */
    /* Exactly once, last: the server's status with its message, or this side's own (deadline, connection lost,
     * malformed answer). `sent` is false when the request is known not to have reached the application (refused stream,
     * GOAWAY below its id, never written): safe to repeat anywhere. Freed when this returns. */
    void (*on_end)(struct grpc_request *request, enum lapse_code code, const char *message, bool sent);
    void (*on_writable)(struct grpc_request *request); /* streaming requests; may be NULL */
};

struct grpc_channel_options {
    const char *authority;         /* ":authority", for example "127.0.0.1:7400"; copied */
    uint32_t message_in_max;       /* 0: LIMIT_MESSAGE_OUT + some */
    uint32_t keepalive_ms;         /* PING when nothing was received for so long while calls are open; 0: 2000 */
    uint32_t keepalive_timeout_ms; /* 0: 2000; then the connection is closed */
};

/* `stream` may still be opening: pass it right after tls_connect with a NULL handler; this sets the handler. */
struct grpc_channel *grpc_channel_new(uv_loop_t *loop, struct stream *stream,
                                      const struct grpc_channel_options *options,
                                      const struct grpc_channel_handler *handler, void *owner);
void *grpc_channel_owner(const struct grpc_channel *channel);
bool grpc_channel_is_ready(const struct grpc_channel *channel); /* open, no GOAWAY, below the server's stream limit */
void grpc_channel_close(struct grpc_channel *channel);

/* Starts a call. `timeout_ms` < 0: none; it is sent as grpc-timeout and kept here, too. With `more` the request side
 * stays open for grpc_request_send. UNAVAILABLE when the channel is not ready (no callback then). Messages are copied.
 */
lapse_result grpc_channel_call(struct grpc_channel *channel, const char *path, struct slice message, bool more,
                               int64_t timeout_ms, const struct grpc_request_handler *handler, void *owner,
                               struct grpc_request **request) LAPSE_MUST_USE;
bool grpc_request_send(struct grpc_request *request,
                       struct slice message); /* false: full, wait for on_writable (the message was queued) */
void grpc_request_half_close(struct grpc_request *request);
/* Resets the stream; on_end (CANCELLED) follows from the loop. */
void grpc_request_cancel(struct grpc_request *request);
/* Flow control by the reader: while paused, messages wait at the sender. */
void grpc_request_pause(struct grpc_request *request, bool paused);
void *grpc_request_owner(const struct grpc_request *request);

#endif
