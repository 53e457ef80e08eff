/* One request of a client: what the application hears of it, and how an answer is judged (doc/PROTOCOL-HTTP2.md,
 * "Responses"). */
#include "proto/grpc_request.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

/* --- life --------------------------------------------------------------------------------------------------------- */

struct grpc_request *grpc_request_new(struct grpc_channel *channel, const struct grpc_request_handler *handler,
                                      void *owner)
{
    struct grpc_request *request = mem_calloc(1, sizeof *request);
    request->channel = channel;
    request->handler = *handler;
    request->owner = owner;
    request->deadline_ms = INT64_MAX;
    grpc_inbox_init(&request->inbox, channel->options.message_in_max);
    grpc_outbox_init(&request->outbox);
    buf_init(&request->held, SIZE_MAX); /* bounded by the stream's window */
    request->next = channel->requests;
    request->link = &channel->requests;
    if (request->next != NULL)
        request->next->link = &request->next;
    channel->requests = request;
    channel->n_requests++;
    return request;
}

static void unlink_due(struct grpc_request *request)
{
    if (!request->due)
        return;
    struct grpc_request **link = &request->channel->due;
    while (*link != request)
        link = &(*link)->next_due;
    *link = request->next_due;
    request->due = false;
}

void grpc_request_free(struct grpc_request *request)
{
    unlink_due(request);
    *request->link = request->next;
    if (request->next != NULL)
        request->next->link = request->link;
    request->channel->n_requests--;
    grpc_inbox_free(&request->inbox);
    grpc_outbox_clear(&request->outbox);
    buf_free(&request->held);
    free(request->status_text);
    free(request);
}

static void make_due(struct grpc_request *request)
{
    struct grpc_channel *channel = request->channel;
    if (!request->due) {
        request->due = true;
        request->next_due = channel->due;
        channel->due = request;
    }
    h2_wake(&channel->h2);
}

/* The one place where a request's story ends. */
static void finish(struct grpc_request *request, enum lapse_code code, const char *message, bool sent)
{
    request->handler.on_end(request, code, message, sent);
    grpc_request_free(request);
}

static void forget_stream(struct grpc_request *request)
{
    nghttp2_session *session = request->channel->h2.session;
    if (request->stream_closed || session == NULL)
        return;
    request->stream_closed = true;
    (void)nghttp2_session_set_stream_user_data(session, request->stream_id, NULL);
    /* What was queued must not be read any more: the request's memory goes. */
    if (nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, request->stream_id, NGHTTP2_CANCEL) == 0)
        h2_wake(&request->channel->h2);
}

void grpc_request_end(struct grpc_request *request, enum lapse_code code, const char *message)
{
    bool sent = request->headers_sent;
    forget_stream(request);
    finish(request, code, message, sent);
}

/* --- the request side --------------------------------------------------------------------------------------------- */

static ssize_t on_read(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t max, uint32_t *flags,
                       nghttp2_data_source *source, void *user_data)
{
    (void)out, (void)source, (void)user_data;
    /* Not source->ptr: a request that ended is gone while its stream's reset is on the way. */
    struct grpc_request *request = nghttp2_session_get_stream_user_data(session, stream_id);
    if (request == NULL)
        return NGHTTP2_ERR_DEFERRED;
    if (request->outbox.bytes == 0 && !request->no_more) {
        request->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    size_t n = request->outbox.bytes < max ? request->outbox.bytes : max;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (request->no_more && n == request->outbox.bytes)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

/* nghttp2 copies what it must keep; the casts are its interface's. */
static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NO_COPY_NAME};
}

lapse_result grpc_request_submit(struct grpc_request *request, const char *path, struct slice message, bool more,
                                 int64_t timeout_ms)
{
    struct grpc_channel *channel = request->channel;
    char timeout[GRPC_TIMEOUT_TEXT_SIZE];
    nghttp2_nv fields[7] = {
        field(":method", "POST"),
        field(":scheme", "https"),
        field(":path", path),
        field(":authority", channel->options.authority),
        field("content-type", "application/grpc"),
        field("te", "trailers"),
    };
    size_t n = 6;
    if (timeout_ms >= 0) {
        grpc_timeout_format(timeout_ms, timeout);
        fields[n++] = field("grpc-timeout", timeout);
    }
    /* An empty message is a message too; a streaming request without bytes begins with none. */
    if (!more || message.len > 0)
        grpc_outbox_push(&request->outbox, blob_new(message));
    request->no_more = !more;
    nghttp2_data_provider provider = {.read_callback = on_read};
    int32_t stream_id = nghttp2_submit_request(channel->h2.session, NULL, fields, n, &provider, request);
    if (stream_id < 0)
        return lapse_failed(LAPSE_UNAVAILABLE); /* the connection has no stream ids left */
    request->stream_id = stream_id;
    h2_wake(&channel->h2);
    return lapse_ok();
}

static void resume(struct grpc_request *request)
{
    if (request->deferred && !request->stream_closed) {
        request->deferred = false;
        (void)nghttp2_session_resume_data(request->channel->h2.session, request->stream_id);
    }
    h2_wake(&request->channel->h2);
}

bool grpc_request_send(struct grpc_request *request, struct slice message)
{
    if (request->no_more || request->stream_closed || request->cancelled)
        return true;
    grpc_outbox_push(&request->outbox, blob_new(message));
    bool more = request->outbox.bytes < LIMIT_CALL_QUEUE;
    request->wants_writable = !more;
    resume(request);
    return more;
}

void grpc_request_half_close(struct grpc_request *request)
{
    if (request->no_more)
        return;
    request->no_more = true;
    resume(request);
}

void grpc_request_on_data_sent(struct grpc_request *request)
{
    if (!request->wants_writable || request->outbox.bytes > LIMIT_CALL_QUEUE / 2)
        return;
    request->wants_writable = false;
    request->writable = true;
    make_due(request);
}

void grpc_request_cancel(struct grpc_request *request)
{
    request->cancelled = true;
    make_due(request);
}

/* --- the answer's headers ----------------------------------------------------------------------------------------- */

static bool is(struct slice text, const char *other)
{
    return slice_equal(text, slice_str(other));
}

static void begin_response(struct grpc_request *request, struct slice status)
{
    char text[4];
    request->has_http_status = slice_to_cstr(status, text, sizeof text);
    request->http_status = request->has_http_status ? (unsigned)strtoul(text, NULL, 10) : 0;
    request->is_grpc = false;
    /* An informational answer costs work and carries nothing. */
    if (request->http_status < 200)
        (void)h2_count_frame(&request->channel->h2);
}

static void set_status_text(struct grpc_request *request, struct slice encoded)
{
    char text[LAPSE_ERROR_MESSAGE_SIZE];
    grpc_message_decode(encoded, text, sizeof text);
    free(request->status_text);
    request->status_text = mem_strdup(text);
}

void grpc_request_on_header(struct grpc_request *request, struct slice name, struct slice value)
{
    if (is(name, ":status")) {
        begin_response(request, value);
    } else if (is(name, "content-type")) {
        request->is_grpc = grpc_content_type_is_ours(value);
    } else if (is(name, "grpc-status")) {
        request->bad_status = request->has_status || !grpc_status_parse(value, &request->status);
        request->has_status = true;
    } else if (is(name, "grpc-message")) {
        set_status_text(request, value);
    }
}

/* --- the answer's messages ---------------------------------------------------------------------------------------- */

/* Lets the server send more. */
static void consumed(struct grpc_request *request, size_t len)
{
    struct h2 *h2 = &request->channel->h2;
    if (len == 0 || request->stream_closed || h2->session == NULL)
        return;
    (void)nghttp2_session_consume_stream(h2->session, request->stream_id, len);
    h2_wake(h2);
}

/* Delivers from `bytes` until it is empty or the application pauses or cancels. False when the request was ended (and
 * freed). */
static bool deliver(struct grpc_request *request, struct slice *bytes)
{
    while (bytes->len > 0 && !request->paused && !request->cancelled) {
        switch (grpc_inbox_feed(&request->inbox, bytes)) {
        case GRPC_INBOX_MORE:
            break;
        case GRPC_INBOX_MESSAGE:
            if (request->handler.on_message != NULL)
                request->handler.on_message(request, grpc_inbox_message(&request->inbox));
            grpc_inbox_next(&request->inbox);
            break;
        case GRPC_INBOX_COMPRESSED:
            grpc_request_end(request, LAPSE_INTERNAL, "the server sent a compressed message, which was not asked for");
            return false;
        case GRPC_INBOX_TOO_LARGE:
            grpc_request_end(request, LAPSE_RESOURCE_EXHAUSTED, "the server's message is larger than this side takes");
            return false;
        }
    }
    return true;
}

void grpc_request_on_data(struct grpc_request *request, struct slice bytes)
{
    size_t all = bytes.len;
    if (request->held.len == 0 && !deliver(request, &bytes))
        return;
    consumed(request, all - bytes.len);
    lapse_result held = buf_append(&request->held, bytes.data, bytes.len);
    CHECK(lapse_is_ok(held));
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

static void finish_by_status(struct grpc_request *request)
{
    const char *text = request->status_text == NULL ? "" : request->status_text;
    if (request->bad_status)
        finish(request, LAPSE_UNKNOWN, "the server's grpc-status is malformed", true);
    else if (request->status == LAPSE_OK && grpc_inbox_is_torn(&request->inbox))
        finish(request, LAPSE_INTERNAL, "the server ended the answer inside of a message", true);
    else
        finish(request, request->status, text, true);
}

static void finish_by_http(struct grpc_request *request)
{
    char message[128];
    (void)snprintf(message, sizeof message,
                   "the other side answered HTTP %u without a gRPC status: is this a Lapse port?",
                   request->http_status);
    finish(request, grpc_code_of_http(request->http_status), message, true);
}

static void finish_by_reset(struct grpc_request *request)
{
    char message[128];
    /* The server promises with REFUSED_STREAM that nothing was done; nghttp2 says so, too, of streams above a GOAWAY.
     */
    bool sent = request->headers_sent && request->reset_error != NGHTTP2_REFUSED_STREAM;
    (void)snprintf(message, sizeof message, "the stream was reset: %s", nghttp2_http2_strerror(request->reset_error));
    finish(request, grpc_code_of_reset(request->reset_error), message, sent);
}

static void finish_closed(struct grpc_request *request)
{
    if (request->has_status && request->is_grpc)
        finish_by_status(request);
    else if (request->has_http_status && (request->http_status != 200 || !request->is_grpc) &&
             request->http_status >= 200)
        finish_by_http(request);
    else if (request->reset_error != NGHTTP2_NO_ERROR)
        finish_by_reset(request);
    else
        finish(request, LAPSE_UNKNOWN, "the server ended the answer without a status", true);
}

void grpc_request_on_stream_closed(struct grpc_request *request, uint32_t error_code)
{
    request->stream_closed = true;
    request->reset_error = error_code;
    if (request->cancelled)
        return; /* the turn ends it */
    if (request->held.len == 0 && !request->paused)
        finish_closed(request);
}

static void deliver_held(struct grpc_request *request)
{
    struct slice rest = buf_slice(&request->held);
    size_t all = rest.len;
    if (!deliver(request, &rest))
        return;
    buf_consume(&request->held, all - rest.len);
    consumed(request, all - rest.len);
    if (request->held.len == 0)
        buf_free(&request->held);
    if (request->stream_closed && request->held.len == 0 && !request->paused && !request->cancelled)
        finish_closed(request);
}

void grpc_request_on_turn(struct grpc_request *request)
{
    if (request->cancelled) {
        grpc_request_end(request, LAPSE_CANCELLED, "cancelled by this side");
        return;
    }
    if (request->writable) {
        request->writable = false;
        if (request->handler.on_writable != NULL)
            request->handler.on_writable(request);
    }
    if (request->cancelled) /* just now: a turn follows */
        return;
    if (!request->paused)
        deliver_held(request);
}

void grpc_request_pause(struct grpc_request *request, bool paused)
{
    request->paused = paused;
    if (!paused)
        make_due(request);
}

void *grpc_request_owner(const struct grpc_request *request)
{
    return request->owner;
}
