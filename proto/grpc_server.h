/* gRPC over HTTP/2, the server's end of one connection (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md,
 * over nghttp2).
 *
 * A connection sits on a struct stream. It knows a table of methods; each request becomes a `struct grpc_call`, which
 * the application answers with messages and one status. All on one loop's thread; nothing here calls back on the stack
 * of a call into it.
 *
 * What a hostile peer may try is stopped here (limits below): header bombs, floods of PING, SETTINGS, PRIORITY, empty
 * DATA and resets, stalled streams, oversized messages, compressed messages, too many calls. */
#ifndef LAPSE_PROTO_GRPC_SERVER_H
#define LAPSE_PROTO_GRPC_SERVER_H

#include <uv.h>

#include "base/stream.h"

struct grpc_call;
struct grpc_connection;

struct grpc_method {
    const char *path; /* "/lapse.v1.Grants/Get" */
    bool client_streams;
    /* A message arrived, complete and within the limit; borrowed. Unary methods get exactly one, after the client
     * half-closed, else the call ends by itself with INVALID_ARGUMENT. */
    void (*on_message)(struct grpc_call *call, struct slice message);
    /* Streaming clients only: the client will send no more. */
    void (*on_half_close)(struct grpc_call *call);
    /* What was queued has been sent and more is wanted (only after grpc_call_send returned false). */
    void (*on_writable)(struct grpc_call *call);
    /* Exactly once for every call for which on_message or on_half_close was called: finished, cancelled by the client,
     * past its deadline, or the connection is gone. The call is freed when this returns. */
    void (*on_close)(struct grpc_call *call);
    void *data; /* the application's */
};

struct grpc_server_limits {
    uint32_t streams_max;        /* 0: LIMIT_STREAMS_PER_CONNECTION */
    uint32_t message_in_max;     /* 0: LIMIT_MESSAGE_IN */
    uint32_t header_bytes_max;   /* 0: LIMIT_HEADER_BYTES */
    uint32_t frames_per_second;  /* control and empty frames; 0: LIMIT_CONTROL_FRAMES_PER_SECOND */
    uint32_t resets_per_second;  /* sent or received */
    uint32_t idle_timeout_ms;    /* no stream open and no frame: 0: 300000 */
    uint32_t request_timeout_ms; /* headers begun, but not complete: the request, or of a stream of messages the first and
                                    * each that has begun. 0: LIMIT_REQUEST_MS */
    uint32_t call_queue_max;     /* bytes a call may have queued before grpc_call_send says false: 0: 64 KiB */
};

/* Why the application wants to refuse a call before it begins; see grpc_server_handler.admit. */
struct grpc_server_handler {
    /* The connection opened (peer known). Return false to end it with GOAWAY. */
    bool (*on_open)(struct grpc_connection *connection, const struct stream_peer *peer);
    /* Before each call: OK, or the status to refuse it with (authorisation, rate limits). */
    lapse_result (*admit)(struct grpc_connection *connection, const struct grpc_method *method,
                          struct lapse_error *error);
    /* Last callback; all calls were closed before. The connection is freed when this returns. */
    void (*on_close)(struct grpc_connection *connection, const struct lapse_error *why);
};

/* Takes over `stream` (sets its handler). `methods` is a table of n, borrowed for the connection's life; unknown paths
 * get UNIMPLEMENTED. */
struct grpc_connection *grpc_serve(uv_loop_t *loop, struct stream *stream, const struct grpc_method *methods, size_t n,
                                   const struct grpc_server_limits *limits, const struct grpc_server_handler *handler,
                                   void *owner);
void *grpc_connection_owner(const struct grpc_connection *connection);
const struct stream_peer *grpc_connection_peer(const struct grpc_connection *connection);
struct stream *grpc_connection_stream(const struct grpc_connection *connection);
uint32_t grpc_connection_calls(const struct grpc_connection *connection);
/* Graceful end: GOAWAY now, new calls refused, closes when the open ones are done or after `grace_ms`. */
void grpc_connection_shutdown(struct grpc_connection *connection, uint32_t grace_ms);

const struct grpc_method *grpc_call_method(const struct grpc_call *call);
struct grpc_connection *grpc_call_connection(const struct grpc_call *call);
/* Milliseconds left of the client's grpc-timeout; INT64_MAX without one. At 0 the call ends by itself with
 * DEADLINE_EXCEEDED. */
int64_t grpc_call_remaining_ms(const struct grpc_call *call);
void grpc_call_set_data(struct grpc_call *call, void *data);
void *grpc_call_data(const struct grpc_call *call);

/* Queues one message (takes its own reference of the blob: shared, not copied; a fan-out of one event to many calls
 * costs no copies). True while more may be queued; false when the queue is full now: wait for on_writable. A message
 * given is always queued, the caller stops at false. No-op on a call that ended. */
bool grpc_call_send(struct grpc_call *call, struct blob *message);
/* Sends what is queued now, not in the connection's next turn. Only from the loop, outside of all callbacks of the
 * connection; callbacks may run, and the call may be gone behind it. */
void grpc_call_flush(struct grpc_call *call);
/* Ends the call with a status and, if not OK, a message (percent-encoded in the trailers). Messages queued before go
 * out first. Once. */
void grpc_call_finish(struct grpc_call *call, enum lapse_code code, const char *message);
/* The usual end of a unary call: one message and OK. */
void grpc_call_reply(struct grpc_call *call, struct slice message);

/* What was refused or dropped, for metrics; all connections of the process (atomic). */
struct grpc_server_counters {
    _Atomic uint64_t calls, messages_in, messages_out, refused_floods, refused_headers, refused_messages,
        protocol_errors;
};
extern struct grpc_server_counters grpc_server_counters;

#endif
