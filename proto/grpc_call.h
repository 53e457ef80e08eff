/* Inside of the server: one connection and its calls. grpc_server.c owns the connection (callbacks of HTTP/2, time,
 * shutdown), grpc_call.c one call.
 *
 *   headers --> request --> answering --> finished --> gone
 *
 * headers:   being received; what is wrong with them is noted
 * request:   the application may get messages
 * answering: the response has begun
 * finished:  a status is set and on its way
 * gone:      nghttp2 closed the stream; the call is freed
 * The application's on_close comes when the call is gone, or earlier when its deadline passes. */
#ifndef LAPSE_PROTO_GRPC_CALL_H
#define LAPSE_PROTO_GRPC_CALL_H

#include "proto/grpc_inbox.h"
#include "proto/grpc_outbox.h"
#include "proto/grpc_server.h"
#include "proto/h2.h"

struct grpc_connection {
    struct h2 h2; /* first */
    const struct grpc_method *methods;
    size_t n_methods;
    struct grpc_server_limits limits; /* zeros replaced */
    struct grpc_server_handler handler;
    void *owner;
    struct grpc_call *calls;    /* all */
    struct grpc_call *writable; /* to be told in the next turn */
    uint32_t n_calls;
    size_t queued_bytes; /* in all outboxes */
    int64_t opened_ms;
    int64_t shutdown_at_ms; /* INT64_MAX: not shutting down */
    bool settled;           /* the client's first SETTINGS arrived */
};

struct grpc_call {
    struct grpc_call *next, **link; /* in connection->calls */
    struct grpc_call *next_writable;
    struct grpc_connection *connection;
    const struct grpc_method *method; /* NULL: unknown path */
    void *data;
    int32_t stream_id;
    /* What the headers said. */
    bool is_post : 1, is_grpc : 1, has_te : 1;
    bool bad_encoding : 1, bad_timeout : 1;
    /* How far the request is. */
    bool headers_done : 1, request_done : 1, has_message : 1;
    /* How far the answer is. */
    bool answering : 1, deferred : 1, finished : 1;
    bool reset_after : 1; /* the client need not go on sending */
    bool app_knows : 1;   /* it is owed an on_close */
    bool wants_writable : 1, in_writable : 1;
    int64_t begun_ms;
    int64_t message_ms;  /* when the message that is not complete yet began */
    int64_t progress_ms; /* when something of the answer last left */
    int64_t deadline_ms; /* INT64_MAX: none */
    struct grpc_inbox inbox;
    struct grpc_outbox outbox;
    enum lapse_code status;
    char *status_text; /* percent-encoded; NULL: none */
};

struct grpc_call *grpc_call_new(struct grpc_connection *connection, int32_t stream_id);
/* The stream is closed, or the connection is gone. */
void grpc_call_gone(struct grpc_call *call);

/* Input, in HTTP/2's order. */
void grpc_call_on_header(struct grpc_call *call, struct slice name, struct slice value);
void grpc_call_on_headers_done(struct grpc_call *call);
void grpc_call_on_data(struct grpc_call *call, struct slice bytes);
void grpc_call_on_half_close(struct grpc_call *call);

/* Output, for nghttp2's callbacks. */
void grpc_call_on_data_sent(struct grpc_call *call, size_t len);
void grpc_call_tell_writable(struct grpc_call *call);

/* When something is due on this call, and acting on it. False when the connection had to be ended. */
int64_t grpc_call_due_ms(const struct grpc_call *call);
bool grpc_call_act(struct grpc_call *call, int64_t now_ms);

#endif
