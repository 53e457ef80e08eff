/* The server's connection: HTTP/2's callbacks are sorted to their calls, one timer looks after them all, and what the
 * application is to be told later is told in the next turn. */
#include "proto/grpc_server.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"
#include "proto/grpc_call.h"

/* What a client may send before it must wait: a few of the largest messages a call, and a burst of calls a connection.
 */
#define SERVER_STREAM_WINDOW (256u * 1024)
#define SERVER_CONNECTION_WINDOW (1024u * 1024)

static struct grpc_connection *of_h2(struct h2 *h2)
{
    return CONTAINER_OF(h2, struct grpc_connection, h2);
}

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* --- HTTP/2's callbacks ------------------------------------------------------------------------------------------- */

static struct grpc_call *call_of(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct grpc_connection *connection = user_data;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct grpc_call *call = grpc_call_new(connection, frame->hd.stream_id);
    h2_timer_at(&connection->h2, grpc_call_due_ms(call));
    return nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user_data)
{
    struct grpc_connection *connection = user_data;
    (void)flags;
    int result = h2_count_header(&connection->h2, name_len, value_len);
    struct grpc_call *call = call_of(session, frame->hd.stream_id);
    /* A request may have trailers; nothing in them matters to gRPC. */
    if (result == 0 && call != NULL && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        grpc_call_on_header(call, slice_of(name, name_len), slice_of(value, value_len));
    return result;
}

/* Fields that HTTP doesn't allow are counted like others before nghttp2 resets their stream. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                             const uint8_t *value, size_t value_len, uint8_t flags, void *user_data)
{
    struct grpc_connection *connection = user_data;
    (void)session, (void)frame, (void)name, (void)value, (void)flags;
    int result = h2_count_header(&connection->h2, name_len, value_len);
    return result == 0 ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : result;
}

static void on_settings(struct grpc_connection *connection, const nghttp2_frame *frame)
{
    if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0)
        connection->settled = true;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    if (frame->hd.type == NGHTTP2_SETTINGS)
        on_settings(user_data, frame);
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct grpc_call *call = call_of(session, frame->hd.stream_id);
    if (call == NULL)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        grpc_call_on_headers_done(call);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        grpc_call_on_half_close(call);
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t len,
                         void *user_data)
{
    struct grpc_call *call = call_of(session, stream_id);
    (void)flags, (void)user_data;
    if (call != NULL)
        grpc_call_on_data(call, slice_of(data, len));
    return 0;
}

/* The idle time begins when the last call ends. */
static void watch_idle(struct grpc_connection *connection)
{
    struct h2 *h2 = &connection->h2;
    if (connection->n_calls > 0)
        return;
    h2->last_frame_ms = h2_now(h2);
    h2_timer_at(h2, h2->last_frame_ms + connection->limits.idle_timeout_ms);
}

static int on_stream_closed(nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *user_data)
{
    struct grpc_connection *connection = user_data;
    struct grpc_call *call = call_of(session, stream_id);
    (void)error_code;
    if (call != NULL)
        grpc_call_gone(call);
    watch_idle(connection);
    return 0;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header, size_t len,
                        nghttp2_data_source *source, void *user_data)
{
    struct grpc_connection *connection = user_data;
    struct grpc_call *call = source->ptr;
    (void)session, (void)frame; /* we never pad */
    h2_put(&connection->h2, slice_of(header, 9));
    for (size_t left = len; left > 0;) {
        uint8_t prefix[GRPC_PREFIX_SIZE];
        struct slice bytes = grpc_outbox_next(&call->outbox, left, prefix);
        h2_put(&connection->h2, bytes);
        grpc_outbox_consume(&call->outbox, bytes.len);
        left -= bytes.len;
    }
    grpc_call_on_data_sent(call, len);
    return h2_put_done(&connection->h2);
}

static void set_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_closed);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
}

/* --- the connection ----------------------------------------------------------------------------------------------- */

static void on_frame_sent(struct h2 *h2, const nghttp2_frame *frame)
{
    if (frame->hd.type != NGHTTP2_HEADERS || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
        return;
    struct grpc_call *call = call_of(h2->session, frame->hd.stream_id);
    /* The status is out: whatever else the client has to say on this stream is not wanted. */
    if (call != NULL && call->reset_after && !call->request_done)
        CHECK(nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR) == 0);
}

static void on_open(struct h2 *h2)
{
    struct grpc_connection *connection = of_h2(h2);
    connection->opened_ms = h2_now(h2);
    h2_timer_at(h2, connection->opened_ms + connection->limits.request_timeout_ms);
    if (connection->handler.on_open != NULL && !connection->handler.on_open(connection, &h2->peer))
        h2_end(h2, NGHTTP2_NO_ERROR, LAPSE_OK, "refused by the application");
}

static void on_turn(struct h2 *h2)
{
    struct grpc_connection *connection = of_h2(h2);
    while (connection->writable != NULL) {
        struct grpc_call *call = connection->writable;
        connection->writable = call->next_writable;
        grpc_call_tell_writable(call);
    }
}

static int64_t min_ms(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The connection's own deadlines, apart from its calls'. */
static int64_t act_on_connection(struct grpc_connection *connection, int64_t now_ms)
{
    struct h2 *h2 = &connection->h2;
    int64_t due_ms = connection->shutdown_at_ms;
    if (connection->shutdown_at_ms <= now_ms) {
        h2_end(h2, NGHTTP2_NO_ERROR, LAPSE_OK, "shut down");
        return INT64_MAX;
    }
    if (!connection->settled) {
        int64_t settle_ms = connection->opened_ms + connection->limits.request_timeout_ms;
        if (settle_ms <= now_ms)
            (void)h2_refuse(h2, H2_REFUSED_PROTOCOL, "no HTTP/2 preface");
        due_ms = min_ms(due_ms, settle_ms);
    }
    if (connection->n_calls == 0) {
        int64_t idle_ms = h2->last_frame_ms + connection->limits.idle_timeout_ms;
        if (idle_ms <= now_ms)
            h2_end(h2, NGHTTP2_NO_ERROR, LAPSE_OK, "idle");
        due_ms = min_ms(due_ms, idle_ms);
    }
    return due_ms;
}

static int64_t on_timer(struct h2 *h2, int64_t now_ms)
{
    struct grpc_connection *connection = of_h2(h2);
    if (h2->state != H2_OPEN)
        return INT64_MAX;
    int64_t due_ms = act_on_connection(connection, now_ms);
    struct grpc_call *next = NULL;
    for (struct grpc_call *call = connection->calls; call != NULL && h2->state == H2_OPEN; call = next) {
        next = call->next; /* acting tells the application, which may not end other calls at once: they end in a turn */
        if (grpc_call_act(call, now_ms))
            due_ms = min_ms(due_ms, grpc_call_due_ms(call));
    }
    return h2->state == H2_OPEN ? due_ms : INT64_MAX;
}

static void on_down(struct h2 *h2)
{
    struct grpc_connection *connection = of_h2(h2);
    while (connection->calls != NULL)
        grpc_call_gone(connection->calls);
}

static void on_freed(struct h2 *h2)
{
    struct grpc_connection *connection = of_h2(h2);
    if (connection->handler.on_close != NULL)
        connection->handler.on_close(connection, &h2->why);
    free(connection);
}

static void on_refusal(enum h2_refusal refusal)
{
    switch (refusal) {
    case H2_REFUSED_FLOOD:
        count(&grpc_server_counters.refused_floods);
        break;
    case H2_REFUSED_HEADERS:
        count(&grpc_server_counters.refused_headers);
        break;
    case H2_REFUSED_PROTOCOL:
        count(&grpc_server_counters.protocol_errors);
        break;
    }
}

static const struct h2_role server_role = {
    .set_callbacks = set_callbacks,
    .on_open = on_open,
    .on_turn = on_turn,
    .on_timer = on_timer,
    .on_down = on_down,
    .on_freed = on_freed,
    .on_refusal = on_refusal,
    .on_frame_sent = on_frame_sent,
};

static void default_to(uint32_t *limit, uint32_t value)
{
    if (*limit == 0)
        *limit = value;
}

static void set_limits(struct grpc_server_limits *limits, const struct grpc_server_limits *given)
{
    if (given != NULL)
        *limits = *given;
    default_to(&limits->streams_max, LIMIT_STREAMS_PER_CONNECTION);
    default_to(&limits->message_in_max, LIMIT_MESSAGE_IN);
    default_to(&limits->header_bytes_max, LIMIT_HEADER_BYTES);
    default_to(&limits->frames_per_second, LIMIT_CONTROL_FRAMES_PER_SECOND);
    default_to(&limits->resets_per_second, LIMIT_RESETS_PER_SECOND);
    default_to(&limits->idle_timeout_ms, LIMIT_CONNECTION_IDLE_MS);
    default_to(&limits->request_timeout_ms, LIMIT_REQUEST_MS);
    default_to(&limits->call_queue_max, LIMIT_CALL_QUEUE);
}

struct grpc_connection *grpc_serve(uv_loop_t *loop, struct stream *stream, const struct grpc_method *methods, size_t n,
                                   const struct grpc_server_limits *limits, const struct grpc_server_handler *handler,
                                   void *owner)
{
    struct grpc_connection *connection = mem_calloc(1, sizeof *connection);
    connection->methods = methods;
    connection->n_methods = n;
    connection->handler = *handler;
    connection->owner = owner;
    connection->shutdown_at_ms = INT64_MAX;
    set_limits(&connection->limits, limits);
    const struct h2_config config = {
        .server = true,
        .streams_max = connection->limits.streams_max,
        .stream_window = SERVER_STREAM_WINDOW,
        .connection_window = SERVER_CONNECTION_WINDOW,
        .header_bytes_max = connection->limits.header_bytes_max,
        .frames_per_second = connection->limits.frames_per_second,
        .resets_per_second = connection->limits.resets_per_second,
    };
    h2_init(&connection->h2, loop, stream, &server_role, &config);
    return connection;
}

void grpc_connection_shutdown(struct grpc_connection *connection, uint32_t grace_ms)
{
    struct h2 *h2 = &connection->h2;
    if (h2->state == H2_OPENING || grace_ms == 0)
        h2_end(h2, NGHTTP2_NO_ERROR, LAPSE_OK, "shut down");
    if (h2->state != H2_OPEN || connection->shutdown_at_ms != INT64_MAX)
        return;
    connection->shutdown_at_ms = h2_now(h2) + grace_ms;
    h2_timer_at(h2, connection->shutdown_at_ms);
    /* Calls above this id were never seen by us: their client knows that it may send them elsewhere. */
    int32_t last_id = nghttp2_session_get_last_proc_stream_id(h2->session);
    if (nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE, last_id, NGHTTP2_NO_ERROR, NULL, 0) != 0)
        h2_end(h2, NGHTTP2_NO_ERROR, LAPSE_OK, "shut down");
    h2_wake(h2);
}

void *grpc_connection_owner(const struct grpc_connection *connection)
{
    return connection->owner;
}

const struct stream_peer *grpc_connection_peer(const struct grpc_connection *connection)
{
    return &connection->h2.peer;
}

struct stream *grpc_connection_stream(const struct grpc_connection *connection)
{
    return connection->h2.stream;
}

uint32_t grpc_connection_calls(const struct grpc_connection *connection)
{
    return connection->n_calls;
}
