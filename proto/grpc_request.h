/* Inside of the client: one channel and its requests. grpc_client.c owns the channel (callbacks of HTTP/2, time,
 * keepalive), grpc_request.c one request.
 *
 *   open --> closed by HTTP/2 --> ended (on_end, freed)
 *     \____________________________/
 *
 * A request ends at once when this side ends it (deadline, malformed answer, cancellation from the next turn on);
 * HTTP/2's stream is then reset and forgotten. While its reader pauses, received bytes are held, at most one stream
 * window of them, and the end waits behind them. */
#ifndef LAPSE_PROTO_GRPC_REQUEST_H
#define LAPSE_PROTO_GRPC_REQUEST_H

#include "proto/grpc_client.h"
#include "proto/grpc_inbox.h"
#include "proto/grpc_outbox.h"
#include "proto/h2.h"

struct grpc_channel {
    struct h2 h2;                        /* first */
    struct grpc_channel_options options; /* zeros replaced; authority is ours */
    struct grpc_channel_handler handler;
    void *owner;
    struct grpc_request *requests; /* all */
    struct grpc_request *due;      /* to be looked at in the next turn */
    uint32_t n_requests;
    bool goaway; /* the server's */
    bool goaway_told;
    bool ping_is_late;    /* once more, and the server counts as gone */
    int64_t ping_sent_ms; /* INT64_MAX: none is unanswered */
};

struct grpc_request {
    struct grpc_request *next, **link; /* in channel->requests */
    struct grpc_request *next_due;
    struct grpc_channel *channel;
    struct grpc_request_handler handler;
    void *owner;
    int32_t stream_id;
    bool due : 1;          /* in channel->due */
    bool headers_sent : 1; /* the server may have seen it */
    bool no_more : 1;      /* half-closed by the application */
    bool deferred : 1, wants_writable : 1, writable : 1;
    bool paused : 1, cancelled : 1;
    bool stream_closed : 1; /* by HTTP/2, with `reset_error` */
    bool has_http_status : 1, is_grpc : 1, has_status : 1;
    bool bad_status : 1;
    uint32_t reset_error;
    unsigned http_status;
    enum lapse_code status;
    int64_t deadline_ms;
    struct grpc_inbox inbox;
    struct grpc_outbox outbox;
    struct buf held;   /* received while paused */
    char *status_text; /* NULL: none */
};

struct grpc_request *grpc_request_new(struct grpc_channel *channel, const struct grpc_request_handler *handler,
                                      void *owner);
/* Queues the request with its first message. */
lapse_result grpc_request_submit(struct grpc_request *request, const char *path, struct slice message, bool more,
                                 int64_t timeout_ms) LAPSE_MUST_USE;
void grpc_request_free(struct grpc_request *request);
/* Ends it with this side's own verdict: resets the stream, calls on_end, frees. Only from the loop. */
void grpc_request_end(struct grpc_request *request, enum lapse_code code, const char *message);
/* What the turn owes the application. May free the request. */
void grpc_request_on_turn(struct grpc_request *request);

/* Input, in HTTP/2's order. Each may free the request, except on_header. */
void grpc_request_on_header(struct grpc_request *request, struct slice name, struct slice value);
void grpc_request_on_data(struct grpc_request *request, struct slice bytes);
void grpc_request_on_stream_closed(struct grpc_request *request, uint32_t error_code);

/* A message's bytes left. */
void grpc_request_on_data_sent(struct grpc_request *request);

#endif
