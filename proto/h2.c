/* Where the cost of a hostile peer is bounded on this layer: every frame that asks for work but carries no message
 * (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA, unknown types) takes from one budget, every stream reset from
 * another; header bytes are counted as they are decompressed. nghttp2 bounds the rest by itself (CONTINUATION, unread
 * acknowledgements, streams).
 *
 * Answers earn frames back: a reader's WINDOW_UPDATEs and its PINGs for measuring bandwidth grow with what it is sent.
 */
#include "proto/h2.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "proto/h2_memory.h"

/* Collected on the stack and handed to the stream in pieces of this size: an idle connection holds no output buffer. */
#define H2_OUTPUT_PIECE (16u * 1024)
/* Collecting stops while so much waits in the stream. At or above the stream's low-water mark, so that on_drain
 * follows. */
#define H2_OUTPUT_HIGH (256u * 1024)
_Static_assert(H2_OUTPUT_HIGH >= LIMIT_STREAM_LOW_WATER, "collecting resumes with the stream's on_drain");

/* Our few header fields need no large dictionary; one is held per connection and direction. */
#define H2_DEFLATE_TABLE 1024u
/* As HPACK counts a field (RFC 7541, section 4.1). */
#define H2_HEADER_OVERHEAD 32
/* Frames that a DATA frame sent may cause: a WINDOW_UPDATE for the stream and one for the connection. */
#define H2_FRAMES_EARNED 2

struct h2_output {
    size_t len;
    size_t sent; /* in earlier pieces of this turn */
    uint8_t bytes[H2_OUTPUT_PIECE];
};

/* --- ending ------------------------------------------------------------------------------------------------------- */

void h2_end(struct h2 *h2, uint32_t h2_error, enum lapse_code code, const char *format, ...)
{
    if (h2->state == H2_ENDING || h2->state == H2_DOWN)
        return;
    h2->state = H2_ENDING;
    h2->goaway_due = true;
    h2->goaway_error = h2_error;
    va_list args;
    va_start(args, format);
    char message[LAPSE_ERROR_MESSAGE_SIZE];
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (code != LAPSE_OK)
        (void)lapse_fail(&h2->why, code, "%s", message);
    h2_wake(h2);
}

static void count_refusal(const struct h2 *h2, enum h2_refusal refusal)
{
    if (h2->role->on_refusal != NULL)
        h2->role->on_refusal(refusal);
}

int h2_refuse(struct h2 *h2, enum h2_refusal refusal, const char *what)
{
    if (h2->state == H2_OPEN || h2->state == H2_OPENING) {
        count_refusal(h2, refusal);
        h2_end(h2, NGHTTP2_ENHANCE_YOUR_CALM, LAPSE_RESOURCE_EXHAUSTED, "closed because the peer sent %s", what);
    }
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* --- budgets ------------------------------------------------------------------------------------------------------ */

int h2_count_header(struct h2 *h2, size_t name_len, size_t value_len)
{
    h2->header_bytes += (uint32_t)(name_len + value_len + H2_HEADER_OVERHEAD);
    return h2->header_bytes <= h2->header_bytes_max ? 0 : h2_refuse(h2, H2_REFUSED_HEADERS, "too many header bytes");
}

int h2_count_frame(struct h2 *h2)
{
    if (h2_budget_take(&h2->frames, h2_now(h2)))
        return 0;
    return h2_refuse(h2, H2_REFUSED_FLOOD, "too many frames that carry no message");
}

static int count_reset(struct h2 *h2)
{
    if (h2_budget_take(&h2->resets, h2_now(h2)))
        return 0;
    return h2_refuse(h2, H2_REFUSED_FLOOD, "or caused too many stream resets");
}

/* An empty DATA frame that ends its stream is how many clients half-close: bounded by the number of streams. A padded
 * one may hold nothing but its padding, without end: gRPC's clients don't pad. */
static bool carries_something(const struct h2_frame_header *frame)
{
    if (frame->type == NGHTTP2_DATA && (frame->flags & NGHTTP2_FLAG_PADDED) != 0)
        return false;
    if (frame->type == NGHTTP2_DATA)
        return frame->length > 0 || (frame->flags & NGHTTP2_FLAG_END_STREAM) != 0;
    return frame->type == NGHTTP2_HEADERS || frame->type == NGHTTP2_CONTINUATION;
}

/* Counts the frames that begin in `bytes`, before nghttp2 sees them. False when the peer was refused. */
static bool count_frames(struct h2 *h2, struct slice bytes)
{
    struct h2_frame_header frame;
    while (h2_meter_next(&h2->meter, &bytes, &frame)) {
        h2->last_frame_ms = h2_now(h2);
        int result = 0;
        if (frame.type == NGHTTP2_RST_STREAM)
            result = count_reset(h2);
        else if (!carries_something(&frame))
            result = h2_count_frame(h2);
        if (result != 0)
            return false;
    }
    return true;
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user_data)
{
    struct h2 *h2 = user_data;
    (void)session;
    if (hd->type == NGHTTP2_HEADERS)
        h2->header_bytes = 0;
    return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct h2 *h2 = user_data;
    (void)session;
    h2->role->on_frame_sent(h2, frame);
    if (frame->hd.type == NGHTTP2_DATA)
        h2_budget_earn(&h2->frames, H2_FRAMES_EARNED);
    if (frame->hd.type == NGHTTP2_RST_STREAM && h2->server)
        (void)count_reset(h2);
    /* nghttp2 found a violation by itself. */
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR && h2->state == H2_OPEN) {
        count_refusal(h2, H2_REFUSED_PROTOCOL);
        (void)lapse_fail(&h2->why, LAPSE_UNAVAILABLE, "closed because the peer broke HTTP/2's rules (%s)",
                         nghttp2_http2_strerror(frame->goaway.error_code));
    }
    return 0;
}

/* --- output ------------------------------------------------------------------------------------------------------- */

static void output_flush(struct h2 *h2)
{
    struct h2_output *output = h2->output;
    if (output->len == 0)
        return;
    lapse_result result = stream_send(h2->stream, slice_of(output->bytes, output->len));
    output->sent += output->len;
    output->len = 0;
    /* Not open: on_close is on its way and tells why. */
    if (result.code == LAPSE_RESOURCE_EXHAUSTED) {
        (void)lapse_fail(&h2->why, LAPSE_RESOURCE_EXHAUSTED, "closed because the peer doesn't read what it is sent");
        stream_close(h2->stream, &h2->why);
    }
}

void h2_put(struct h2 *h2, struct slice bytes)
{
    struct h2_output *output = h2->output;
    CHECK(output != NULL);
    while (bytes.len > 0) {
        if (output->len == sizeof output->bytes)
            output_flush(h2);
        size_t room = sizeof output->bytes - output->len;
        size_t n = bytes.len < room ? bytes.len : room;
        memcpy(output->bytes + output->len, bytes.data, n);
        output->len += n;
        bytes.data += n;
        bytes.len -= n;
    }
}

/* The others on this loop have their turn, too. */
static bool turn_is_over(const struct h2 *h2)
{
    return h2->output->sent + h2->output->len >= H2_OUTPUT_HIGH;
}

static bool output_is_full(const struct h2 *h2)
{
    return turn_is_over(h2) || stream_pending(h2->stream) + h2->output->len >= H2_OUTPUT_HIGH;
}

/* nghttp2 sends DATA after DATA in one call unless it is told to pause. */
int h2_put_done(const struct h2 *h2)
{
    return output_is_full(h2) ? NGHTTP2_ERR_PAUSE : 0;
}

static bool may_collect(const struct h2 *h2)
{
    /* After a GOAWAY that ends the session nothing else may follow. */
    if (h2->state == H2_ENDING && !nghttp2_session_want_write(h2->session))
        return false;
    return !output_is_full(h2);
}

static void collect_frames(struct h2 *h2)
{
    while (may_collect(h2)) {
        const uint8_t *bytes = NULL;
        ssize_t n = nghttp2_session_mem_send(h2->session, &bytes);
        if (n < 0) {
            h2_end(h2, NGHTTP2_INTERNAL_ERROR, LAPSE_INTERNAL, "HTTP/2 output failed: %s", nghttp2_strerror((int)n));
            return;
        }
        if (n > 0)
            h2_put(h2, slice_of(bytes, (size_t)n));
        /* 0: nothing left, or paused. */
        if (n == 0)
            return;
    }
}

static void collect_output(struct h2 *h2)
{
    struct h2_output output;
    output.len = output.sent = 0;
    h2->output = &output;
    collect_frames(h2);
    output_flush(h2);
    if (turn_is_over(h2))
        h2_wake(h2);
    h2->output = NULL;
}

static void submit_goaway(struct h2 *h2)
{
    h2->goaway_due = false;
    if (nghttp2_session_terminate_session(h2->session, h2->goaway_error) != 0)
        (void)lapse_fail(&h2->why, LAPSE_INTERNAL, "no GOAWAY could be sent");
}

/* Both sides are done: after a GOAWAY with the last stream, or after nghttp2's own. */
static bool session_is_over(const struct h2 *h2)
{
    return !nghttp2_session_want_read(h2->session) && !nghttp2_session_want_write(h2->session);
}

static void on_turn(uv_idle_t *idle)
{
    h2_turn_now(CONTAINER_OF(idle, struct h2, turn));
}

void h2_turn_now(struct h2 *h2)
{
    if (h2->state == H2_DOWN || !uv_is_active((uv_handle_t *)&h2->turn))
        return;
    CHECK(uv_idle_stop(&h2->turn) == 0);
    if (h2->state == H2_OPENING)
        return;
    h2->role->on_turn(h2);
    if (h2->goaway_due)
        submit_goaway(h2);
    collect_output(h2);
    if (session_is_over(h2) || (h2->state == H2_ENDING && !h2->goaway_due)) {
        h2->state = H2_ENDING;
        h2->goaway_due = false;
        stream_close(h2->stream, NULL);
    }
}

void h2_wake(struct h2 *h2)
{
    if (h2->state == H2_DOWN)
        return;
    /* Not yet open and already ending: there is nobody to say goodbye to. */
    if (h2->state == H2_ENDING && h2->last_input_ms < 0)
        stream_close(h2->stream, NULL);
    else
        CHECK(uv_idle_start(&h2->turn, on_turn) == 0);
}

/* --- time --------------------------------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer)
{
    struct h2 *h2 = CONTAINER_OF(timer, struct h2, timer);
    h2->timer_at_ms = INT64_MAX;
    int64_t due_ms = h2->role->on_timer(h2, h2_now(h2));
    h2_timer_at(h2, due_ms);
}

void h2_timer_at(struct h2 *h2, int64_t due_ms)
{
    if (due_ms >= h2->timer_at_ms || h2->state == H2_DOWN)
        return;
    int64_t wait_ms = due_ms - h2_now(h2);
    h2->timer_at_ms = due_ms;
    CHECK(uv_timer_start(&h2->timer, on_timer, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0) == 0);
}

/* --- the stream's callbacks --------------------------------------------------------------------------------------- */

static void on_stream_open(struct stream *stream, const struct stream_peer *peer)
{
    struct h2 *h2 = stream->owner;
    if (h2->state != H2_OPENING)
        return;
    h2->state = H2_OPEN;
    h2->peer = *peer;
    h2->last_input_ms = h2->last_frame_ms = h2_now(h2);
    h2_wake(h2);
    h2->role->on_open(h2);
}

static void on_stream_data(struct stream *stream, struct slice bytes)
{
    struct h2 *h2 = stream->owner;
    if (h2->state != H2_OPEN)
        return;
    h2->last_input_ms = h2_now(h2);
    if (!count_frames(h2, bytes))
        return;
    ssize_t taken = nghttp2_session_mem_recv(h2->session, bytes.data, bytes.len);
    h2_wake(h2);
    if (taken == NGHTTP2_ERR_FLOODED) {
        (void)h2_refuse(h2, H2_REFUSED_FLOOD, "frames without reading the answers");
    } else if (taken < 0 && h2->state == H2_OPEN) {
        count_refusal(h2, H2_REFUSED_PROTOCOL);
        h2_end(h2, NGHTTP2_PROTOCOL_ERROR, LAPSE_UNAVAILABLE, "closed because the peer doesn't speak HTTP/2: %s",
               nghttp2_strerror((int)taken));
    }
}

static void on_stream_drain(struct stream *stream)
{
    h2_wake(stream->owner);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct h2 *h2 = handle->data;
    CHECK(h2->handles > 0);
    if (--h2->handles == 0)
        h2->role->on_freed(h2);
}

static void on_stream_close(struct stream *stream, const struct lapse_error *why)
{
    struct h2 *h2 = stream->owner;
    h2->state = H2_DOWN;
    if (h2->why.code == LAPSE_OK)
        h2->why = *why;
    h2->role->on_down(h2);
    nghttp2_session_del(h2->session);
    h2->session = NULL;
    h2->stream = NULL;
    uv_close((uv_handle_t *)&h2->turn, on_handle_closed);
    uv_close((uv_handle_t *)&h2->timer, on_handle_closed);
}

/* --- setting up --------------------------------------------------------------------------------------------------- */

static nghttp2_option *make_option(const struct h2_config *config)
{
    nghttp2_option *option = NULL;
    CHECK(nghttp2_option_new(&option) == 0);
    nghttp2_option_set_no_auto_window_update(option, !config->server);
    nghttp2_option_set_max_deflate_dynamic_table_size(option, H2_DEFLATE_TABLE);
    nghttp2_option_set_no_closed_streams(option, 1);
    /* Ours is the stricter one and gives the reason. */
    nghttp2_option_set_stream_reset_rate_limit(option, 2 * ((uint64_t)config->resets_per_second + config->streams_max),
                                               2 * (uint64_t)config->resets_per_second);
    return option;
}

static nghttp2_session *make_session(struct h2 *h2, const struct h2_config *config)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = make_option(config);
    nghttp2_session *session = NULL;
    CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    h2->role->set_callbacks(callbacks);
    CHECK((config->server ? nghttp2_session_server_new3 : nghttp2_session_client_new3)(&session, callbacks, h2, option,
                                                                                       h2_memory()) == 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    return session;
}

static void submit_settings(nghttp2_session *session, const struct h2_config *config)
{
    nghttp2_settings_entry entries[4] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, config->stream_window},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, config->header_bytes_max},
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, config->streams_max},
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
    };
    /* Only clients may speak of push. */
    size_t n = config->server ? ARRAY_LEN(entries) - 1 : ARRAY_LEN(entries);
    CHECK(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, entries, n) == 0);
    CHECK(nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, (int32_t)config->connection_window) ==
          0);
}

void h2_init(struct h2 *h2, uv_loop_t *loop, struct stream *stream, const struct h2_role *role,
             const struct h2_config *config)
{
    *h2 = (struct h2){
        .loop = loop,
        .stream = stream,
        .role = role,
        .server = config->server,
        .header_bytes_max = config->header_bytes_max,
        .last_input_ms = -1,
        .timer_at_ms = INT64_MAX,
    };
    int64_t now_ms = h2_now(h2);
    /* All streams may be reset at once: their calls had the same deadline. */
    h2_budget_init(&h2->frames, config->frames_per_second, config->frames_per_second, now_ms);
    h2_budget_init(&h2->resets, config->resets_per_second, config->resets_per_second + config->streams_max, now_ms);
    CHECK(uv_idle_init(loop, &h2->turn) == 0);
    CHECK(uv_timer_init(loop, &h2->timer) == 0);
    h2->turn.data = h2->timer.data = h2;
    h2->handles = 2;
    h2_meter_init(&h2->meter, config->server ? NGHTTP2_CLIENT_MAGIC_LEN : 0);
    h2->session = make_session(h2, config);
    submit_settings(h2->session, config);
    stream_set_handler(stream,
                       (struct stream_handler){on_stream_open, on_stream_data, on_stream_drain, on_stream_close}, h2);
}
