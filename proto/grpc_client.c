/* The client's connection. Requests live in grpc_request.c; here are HTTP/2's callbacks, the deadlines of all requests
 * under one timer, and keepalive: with calls open, silence is answered with a PING, and an unanswered PING ends the
 * connection. */
#include "proto/grpc_client.h"

#include <stdlib.h>

#include "base/check.h"
#include "proto/grpc_request.h"

/* What the server may send before it must wait: snapshots and pages come in megabytes. Nothing is allocated for it
 * before it arrives. */
#define CLIENT_STREAM_WINDOW (4u * 1024 * 1024)
#define CLIENT_CONNECTION_WINDOW (16u * 1024 * 1024)
/* A message and what its envelope adds. */
#define CLIENT_MESSAGE_IN (LIMIT_MESSAGE_OUT + 1024u)
#define CLIENT_KEEPALIVE_MS 2000u

static struct grpc_channel *of_h2(struct h2 *h2)
{
    return CONTAINER_OF(h2, struct grpc_channel, h2);
}

static struct grpc_request *request_of(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

/* --- HTTP/2's callbacks ------------------------------------------------------------------------------------------- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user_data)
{
    struct grpc_channel *channel = user_data;
    (void)flags;
    int result = h2_count_header(&channel->h2, name_len, value_len);
    struct grpc_request *request = request_of(session, frame->hd.stream_id);
    if (result == 0 && request != NULL)
        grpc_request_on_header(request, slice_of(name, name_len), slice_of(value, value_len));
    return result;
}

static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                             const uint8_t *value, size_t value_len, uint8_t flags, void *user_data)
{
    struct grpc_channel *channel = user_data;
    (void)session, (void)frame, (void)name, (void)value, (void)flags;
    int result = h2_count_header(&channel->h2, name_len, value_len);
    return result == 0 ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : result;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct grpc_channel *channel = user_data;
    (void)session;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        channel->goaway = true; /* told in the turn: nghttp2 closes the refused streams first */
        h2_wake(&channel->h2);
    }
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t len,
                         void *user_data)
{
    struct grpc_request *request = request_of(session, stream_id);
    (void)flags, (void)user_data;
    /* One paused reader must not stop the others. */
    int result = nghttp2_session_consume_connection(session, len);
    if (request != NULL)
        grpc_request_on_data(request, slice_of(data, len));
    return result;
}

static int on_stream_closed(nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *user_data)
{
    struct grpc_request *request = request_of(session, stream_id);
    (void)user_data;
    if (request != NULL)
        grpc_request_on_stream_closed(request, error_code);
    return 0;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header, size_t len,
                        nghttp2_data_source *source, void *user_data)
{
    struct grpc_channel *channel = user_data;
    struct grpc_request *request = request_of(session, frame->hd.stream_id);
    (void)source;
    CHECK(request != NULL); /* on_read gave bytes just before, on the same stack */
    h2_put(&channel->h2, slice_of(header, 9));
    for (size_t left = len; left > 0;) {
        uint8_t prefix[GRPC_PREFIX_SIZE];
        struct slice bytes = grpc_outbox_next(&request->outbox, left, prefix);
        h2_put(&channel->h2, bytes);
        grpc_outbox_consume(&request->outbox, bytes.len);
        left -= bytes.len;
    }
    grpc_request_on_data_sent(request);
    return h2_put_done(&channel->h2);
}

static void set_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_closed);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
}

/* --- the channel -------------------------------------------------------------------------------------------------- */

static void on_frame_sent(struct h2 *h2, const nghttp2_frame *frame)
{
    if (frame->hd.type != NGHTTP2_HEADERS)
        return;
    struct grpc_request *request = request_of(h2->session, frame->hd.stream_id);
    if (request != NULL)
        request->headers_sent = true;
}

static void on_open(struct h2 *h2)
{
    struct grpc_channel *channel = of_h2(h2);
    if (channel->handler.on_open != NULL)
        channel->handler.on_open(channel, &h2->peer);
}

static void tell_goaway(struct grpc_channel *channel)
{
    if (!channel->goaway || channel->goaway_told)
        return;
    channel->goaway_told = true;
    if (channel->handler.on_goaway != NULL)
        channel->handler.on_goaway(channel);
}

static void on_turn(struct h2 *h2)
{
    struct grpc_channel *channel = of_h2(h2);
    tell_goaway(channel);
    /* Those that become due meanwhile wait for the next turn, so that a turn ends. */
    struct grpc_request *due = channel->due;
    channel->due = NULL;
    while (due != NULL) {
        struct grpc_request *request = due;
        due = request->next_due;
        request->due = false; /* not before: its link is in use */
        grpc_request_on_turn(request);
    }
}

static int64_t send_ping(struct grpc_channel *channel, int64_t now_ms)
{
    (void)nghttp2_submit_ping(channel->h2.session, NGHTTP2_FLAG_NONE, NULL);
    h2_wake(&channel->h2);
    channel->ping_sent_ms = now_ms;
    channel->ping_is_late = false;
    return now_ms + channel->options.keepalive_timeout_ms;
}

/* An unanswered PING that is due: the answer may lie in the socket while this loop was busy, so it is read once more
 * before that counts. */
static int64_t doubt_ping(struct grpc_channel *channel, int64_t now_ms)
{
    if (channel->ping_is_late)
        h2_end(&channel->h2, NGHTTP2_NO_ERROR, LAPSE_UNAVAILABLE, "the server has been silent for too long");
    channel->ping_is_late = true;
    return now_ms + 1;
}

static int64_t keep_alive(struct grpc_channel *channel, int64_t now_ms)
{
    int64_t quiet_until_ms = channel->h2.last_input_ms + channel->options.keepalive_ms;
    if (channel->n_requests == 0)
        return INT64_MAX;
    if (channel->ping_sent_ms == INT64_MAX || channel->h2.last_input_ms >= channel->ping_sent_ms) {
        channel->ping_sent_ms = INT64_MAX;
        return quiet_until_ms <= now_ms ? send_ping(channel, now_ms) : quiet_until_ms;
    }
    int64_t dead_ms = channel->ping_sent_ms + channel->options.keepalive_timeout_ms;
    return dead_ms <= now_ms ? doubt_ping(channel, now_ms) : dead_ms;
}

/* One request whose deadline has passed, if there is one; else `next_ms` is lowered to the next deadline. */
static struct grpc_request *find_late(struct grpc_channel *channel, int64_t now_ms, int64_t *next_ms)
{
    for (struct grpc_request *request = channel->requests; request != NULL; request = request->next) {
        if (request->deadline_ms <= now_ms)
            return request;
        if (request->deadline_ms < *next_ms)
            *next_ms = request->deadline_ms;
    }
    return NULL;
}

static int64_t on_timer(struct h2 *h2, int64_t now_ms)
{
    struct grpc_channel *channel = of_h2(h2);
    if (h2->state != H2_OPEN)
        return INT64_MAX;
    int64_t next_ms = keep_alive(channel, now_ms);
    struct grpc_request *late = NULL;
    /* From the front again after each: on_end may start and end requests. */
    while ((late = find_late(channel, now_ms, &next_ms)) != NULL)
        grpc_request_end(late, LAPSE_DEADLINE_EXCEEDED, "the deadline passed before the server answered");
    return next_ms;
}

static void on_down(struct h2 *h2)
{
    struct grpc_channel *channel = of_h2(h2);
    const char *why = h2->why.message[0] == '\0' ? "the connection was closed" : h2->why.message;
    while (channel->requests != NULL) {
        struct grpc_request *request = channel->requests;
        grpc_request_end(request, request->cancelled ? LAPSE_CANCELLED : LAPSE_UNAVAILABLE, why);
    }
}

static void on_freed(struct h2 *h2)
{
    struct grpc_channel *channel = of_h2(h2);
    if (channel->handler.on_close != NULL)
        channel->handler.on_close(channel, &h2->why);
    free((char *)channel->options.authority);
    free(channel);
}

static const struct h2_role client_role = {
    .set_callbacks = set_callbacks,
    .on_open = on_open,
    .on_turn = on_turn,
    .on_timer = on_timer,
    .on_down = on_down,
    .on_freed = on_freed,
    .on_frame_sent = on_frame_sent,
};

static void default_to(uint32_t *option, uint32_t value)
{
    if (*option == 0)
        *option = value;
}

static void set_options(struct grpc_channel_options *options, const struct grpc_channel_options *given)
{
    *options = *given;
    options->authority = mem_strdup(given->authority);
    default_to(&options->message_in_max, CLIENT_MESSAGE_IN);
    default_to(&options->keepalive_ms, CLIENT_KEEPALIVE_MS);
    default_to(&options->keepalive_timeout_ms, CLIENT_KEEPALIVE_MS);
}

struct grpc_channel *grpc_channel_new(uv_loop_t *loop, struct stream *stream,
                                      const struct grpc_channel_options *options,
                                      const struct grpc_channel_handler *handler, void *owner)
{
    struct grpc_channel *channel = mem_calloc(1, sizeof *channel);
    channel->handler = *handler;
    channel->owner = owner;
    channel->ping_sent_ms = INT64_MAX;
    set_options(&channel->options, options);
    const struct h2_config config = {
        .server = false,
        .streams_max = 0, /* servers don't call */
        .stream_window = CLIENT_STREAM_WINDOW,
        .connection_window = CLIENT_CONNECTION_WINDOW,
        .header_bytes_max = LIMIT_HEADER_BYTES,
        .frames_per_second = LIMIT_CONTROL_FRAMES_PER_SECOND,
        /* A busy server may refuse all calls of a second. */
        .resets_per_second = 10 * LIMIT_CONTROL_FRAMES_PER_SECOND,
    };
    h2_init(&channel->h2, loop, stream, &client_role, &config);
    return channel;
}

bool grpc_channel_is_ready(const struct grpc_channel *channel)
{
    const struct h2 *h2 = &channel->h2;
    return h2->state == H2_OPEN && !channel->goaway &&
           channel->n_requests <
               nghttp2_session_get_remote_settings(h2->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

void grpc_channel_close(struct grpc_channel *channel)
{
    h2_end(&channel->h2, NGHTTP2_NO_ERROR, LAPSE_OK, "closed by its owner");
}

static void watch_time(struct grpc_channel *channel, struct grpc_request *request, int64_t timeout_ms)
{
    struct h2 *h2 = &channel->h2;
    if (timeout_ms >= 0) {
        request->deadline_ms = h2_now(h2) + timeout_ms;
        h2_timer_at(h2, request->deadline_ms);
    }
    h2_timer_at(h2, h2_now(h2) + channel->options.keepalive_ms);
}

lapse_result grpc_channel_call(struct grpc_channel *channel, const char *path, struct slice message, bool more,
                               int64_t timeout_ms, const struct grpc_request_handler *handler, void *owner,
                               struct grpc_request **request)
{
    if (!grpc_channel_is_ready(channel))
        return lapse_failed(LAPSE_UNAVAILABLE);
    uv_update_time(channel->h2.loop); /* a deadline counts from now, not from when the loop last looked */
    struct grpc_request *made = grpc_request_new(channel, handler, owner);
    lapse_result result = grpc_request_submit(made, path, message, more, timeout_ms);
    if (!lapse_is_ok(result)) {
        grpc_request_free(made);
        return result;
    }
    watch_time(channel, made, timeout_ms);
    if (request != NULL)
        *request = made;
    return lapse_ok();
}

void *grpc_channel_owner(const struct grpc_channel *channel)
{
    return channel->owner;
}
