/* One HTTP/2 connection over a struct stream: what both ends of gRPC share.
 *
 *   stream bytes --> nghttp2 --> the role's callbacks            (server: grpc_server.c, client: grpc_client.c)
 *   submissions  --> nghttp2 --> one turn of the loop --> stream_write
 *
 * A *turn* runs from the loop after input or submissions, before the loop waits again: deferred callbacks first, then
 * all output is collected, so a fan-out costs one write a connection. One timer serves all deadlines of a connection.
 *
 *   opening --> open --> ending --> down --> freed
 *       \_________________/ \________/
 * `ending`: the last frame (GOAWAY) is on its way, input is ignored. `down`: the stream is gone, handles are closing.
 */
#ifndef LAPSE_PROTO_H2_H
#define LAPSE_PROTO_H2_H

#include <nghttp2/nghttp2.h>
#include <uv.h>

#include "base/stream.h"
#include "proto/h2_budget.h"
#include "proto/h2_meter.h"

struct h2;
struct h2_output;

enum h2_state { H2_OPENING, H2_OPEN, H2_ENDING, H2_DOWN };

/* Why a peer was turned away, for counters. */
enum h2_refusal { H2_REFUSED_FLOOD, H2_REFUSED_HEADERS, H2_REFUSED_PROTOCOL };

/* What a server or client adds; all called from the loop. */
struct h2_role {
    void (*set_callbacks)(nghttp2_session_callbacks *callbacks);
    void (*on_open)(struct h2 *h2);
    void (*on_turn)(struct h2 *h2);
    /* Acts on what is due and returns when to be called next, INT64_MAX for never. */
    int64_t (*on_timer)(struct h2 *h2, int64_t now_ms);
    /* The stream is gone; nothing can be submitted any more. End every call. */
    void (*on_down)(struct h2 *h2);
    /* Last; free it. */
    void (*on_freed)(struct h2 *h2);
    void (*on_refusal)(enum h2_refusal refusal); /* may be NULL */
    /* A frame was sent, not at all to be acted on by sending on this stack. */
    void (*on_frame_sent)(struct h2 *h2, const nghttp2_frame *frame);
};

struct h2_config {
    bool server;
    uint32_t streams_max;
    uint32_t stream_window, connection_window; /* what the peer may send before it must wait, in bytes */
    uint32_t header_bytes_max;
    uint32_t frames_per_second, resets_per_second;
};

/* Embedded in its owner as first member. */
struct h2 {
    uv_loop_t *loop;
    struct stream *stream;
    nghttp2_session *session;
    const struct h2_role *role;
    enum h2_state state;
    bool server;
    bool goaway_due; /* ending, and the GOAWAY isn't submitted yet */
    uint8_t handles; /* open uv handles */
    uint32_t goaway_error;
    uint32_t header_bytes, header_bytes_max; /* of the block being received */
    struct h2_meter meter;
    struct h2_budget frames, resets;
    struct h2_output *output; /* while output is collected */
    int64_t last_input_ms;    /* bytes arrived */
    int64_t last_frame_ms;    /* a frame began */
    int64_t timer_at_ms;
    uv_idle_t turn;
    uv_timer_t timer;
    struct lapse_error why; /* the first reason to end */
    struct stream_peer peer;
};

/* Takes over `stream`. */
void h2_init(struct h2 *h2, uv_loop_t *loop, struct stream *stream, const struct h2_role *role,
             const struct h2_config *config);
static inline int64_t h2_now(const struct h2 *h2)
{
    return (int64_t)uv_now(h2->loop);
}
/* Makes sure that a turn follows. Call after submitting anything to the session. */
void h2_wake(struct h2 *h2);
/* The turn that is due, if one is, at once: from the loop, outside of all callbacks of this connection. Who has something
 * for thousands of connections sends it out one by one, while what belongs to each is at hand. */
void h2_turn_now(struct h2 *h2);
/* Makes sure that the timer fires at `due_ms` (of h2_now) at the latest. */
void h2_timer_at(struct h2 *h2, int64_t due_ms);
/* Ends the connection with a GOAWAY from the next turn on; the first call counts. `code` OK: an orderly end. Safe
 * inside nghttp2's callbacks. */
void h2_end(struct h2 *h2, uint32_t h2_error, enum lapse_code code, const char *format, ...) LAPSE_PRINTF(4, 5);
/* The peer broke a limit: ENHANCE_YOUR_CALM, counted. Returns what an nghttp2 callback must return then. */
int h2_refuse(struct h2 *h2, enum h2_refusal refusal, const char *what);
/* Counts a header field, as on_header callbacks must first: 0 or what to return. */
int h2_count_header(struct h2 *h2, size_t name_len, size_t value_len);
/* Counts one frame that only costs work. */
int h2_count_frame(struct h2 *h2);

/* Within nghttp2's send_data callback: bytes of the frame, in order; then what the callback must return. */
void h2_put(struct h2 *h2, struct slice bytes);
int h2_put_done(const struct h2 *h2);

#endif
