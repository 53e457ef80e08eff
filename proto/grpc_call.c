/* One call of a server. The request side turns HTTP/2 into messages and refuses what gRPC or a limit forbids; the
 * answer side queues messages and one status. Everything is submitted to nghttp2 and leaves in the connection's next
 * turn. */
#include "proto/grpc_call.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"

struct grpc_server_counters grpc_server_counters;

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct grpc_call *grpc_call_new(struct grpc_connection *connection, int32_t stream_id)
{
    struct grpc_call *call = mem_calloc(1, sizeof *call);
    call->connection = connection;
    call->stream_id = stream_id;
    call->begun_ms = call->message_ms = call->progress_ms = h2_now(&connection->h2);
    call->deadline_ms = INT64_MAX;
    grpc_inbox_init(&call->inbox, connection->limits.message_in_max);
    grpc_outbox_init(&call->outbox);
    call->next = connection->calls;
    call->link = &connection->calls;
    if (call->next != NULL)
        call->next->link = &call->next;
    connection->calls = call;
    connection->n_calls++;
    count(&grpc_server_counters.calls);
    return call;
}

static void unlink_writable(struct grpc_call *call)
{
    if (!call->in_writable)
        return;
    struct grpc_call **link = &call->connection->writable;
    while (*link != call)
        link = &(*link)->next_writable;
    *link = call->next_writable;
    call->in_writable = false;
}

/* The application's part is over. */
static void tell_closed(struct grpc_call *call)
{
    if (!call->app_knows)
        return;
    call->app_knows = false;
    if (call->method->on_close != NULL)
        call->method->on_close(call);
}

static void clear_outbox(struct grpc_call *call)
{
    CHECK(call->connection->queued_bytes >= call->outbox.bytes);
    call->connection->queued_bytes -= call->outbox.bytes;
    grpc_outbox_clear(&call->outbox);
}

void grpc_call_gone(struct grpc_call *call)
{
    struct grpc_connection *connection = call->connection;
    call->finished = true; /* on_close may try to answer: too late */
    tell_closed(call);
    unlink_writable(call);
    clear_outbox(call);
    grpc_inbox_free(&call->inbox);
    *call->link = call->next;
    if (call->next != NULL)
        call->next->link = call->link;
    connection->n_calls--;
    free(call->status_text);
    free(call);
}

/* --- the answer --------------------------------------------------------------------------------------------------- */

/* A field of constants; nghttp2 copies neither. The casts are its interface's. */
#define CONSTANT_FIELD(name, value)                                                                                    \
    (nghttp2_nv)                                                                                                       \
    {                                                                                                                  \
        (uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, strlen(value),                                        \
            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE                                               \
    }

static const char *const status_digits[] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                            "9", "10", "11", "12", "13", "14", "15", "16"};

/* grpc-status and grpc-message; returns how many fields. */
static size_t status_fields(const struct grpc_call *call, nghttp2_nv fields[2])
{
    fields[0] = CONSTANT_FIELD("grpc-status", status_digits[call->status]);
    if (call->status_text == NULL)
        return 1;
    fields[1] = CONSTANT_FIELD("grpc-message", call->status_text);
    fields[1].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
    return 2;
}

static void submitted(struct grpc_call *call, int result)
{
    if (result != 0)
        h2_end(&call->connection->h2, NGHTTP2_INTERNAL_ERROR, LAPSE_INTERNAL, "an answer could not be submitted: %s",
               nghttp2_strerror(result));
    h2_wake(&call->connection->h2);
}

/* The status behind messages. It is HEADERS, which no flow control holds back. */
static int submit_status(struct grpc_call *call)
{
    nghttp2_nv fields[2];
    size_t n = status_fields(call, fields);
    return nghttp2_submit_trailer(call->connection->h2.session, call->stream_id, fields, n);
}

static ssize_t on_read(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t max, uint32_t *flags,
                       nghttp2_data_source *source, void *user_data)
{
    struct grpc_call *call = source->ptr;
    (void)session, (void)stream_id, (void)out, (void)user_data;
    if (call->outbox.bytes == 0) {
        call->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    size_t n = call->outbox.bytes < max ? call->outbox.bytes : max;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (call->finished && n == call->outbox.bytes) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (submit_status(call) != 0)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return (ssize_t)n;
}

/* Begins the answer, with messages to follow. */
static void begin_answer(struct grpc_call *call)
{
    const nghttp2_nv fields[] = {CONSTANT_FIELD(":status", "200"), CONSTANT_FIELD("content-type", "application/grpc")};
    nghttp2_data_provider provider = {.source.ptr = call, .read_callback = on_read};
    call->answering = true;
    submitted(call, nghttp2_submit_response(call->connection->h2.session, call->stream_id, fields, ARRAY_LEN(fields),
                                            &provider));
}

/* The whole answer in one HEADERS frame. */
static void answer_status_only(struct grpc_call *call)
{
    nghttp2_nv fields[5] = {CONSTANT_FIELD(":status", "200"), CONSTANT_FIELD("content-type", "application/grpc")};
    size_t n = 2 + status_fields(call, fields + 2);
    if (call->bad_encoding)
        fields[n++] = CONSTANT_FIELD("grpc-accept-encoding", "identity");
    call->answering = true;
    submitted(call, nghttp2_submit_response(call->connection->h2.session, call->stream_id, fields, n, NULL));
}

/* Makes nghttp2 ask for messages (on_read). */
static void continue_answer(struct grpc_call *call)
{
    if (!call->answering) {
        begin_answer(call);
    } else if (call->deferred) {
        call->deferred = false;
        submitted(call, nghttp2_session_resume_data(call->connection->h2.session, call->stream_id));
    }
}

/* Long enough for LAPSE_ERROR_MESSAGE_SIZE bytes that are all encoded. */
#define STATUS_TEXT_SIZE (3 * LAPSE_ERROR_MESSAGE_SIZE)

static void set_status(struct grpc_call *call, enum lapse_code code, const char *message)
{
    call->finished = true;
    call->status = (unsigned)code <= LAPSE_UNAUTHENTICATED ? code : LAPSE_UNKNOWN;
    if (code != LAPSE_OK && message != NULL && message[0] != '\0') {
        char text[STATUS_TEXT_SIZE];
        (void)grpc_message_encode(message, text, sizeof text);
        call->status_text = mem_strdup(text);
    }
    call->progress_ms = h2_now(&call->connection->h2);
    h2_timer_at(&call->connection->h2, grpc_call_due_ms(call));
}

static bool is_usable(const struct grpc_call *call)
{
    enum h2_state state = call->connection->h2.state;
    return !call->finished && (state == H2_OPEN || state == H2_OPENING);
}

void grpc_call_finish(struct grpc_call *call, enum lapse_code code, const char *message)
{
    if (!is_usable(call))
        return;
    set_status(call, code, message);
    call->reset_after =
        call->reset_after || (call->method != NULL && call->method->client_streams && !call->request_done);
    if (call->outbox.count > 0)
        continue_answer(call);
    else if (call->answering)
        submitted(call, submit_status(call));
    else
        answer_status_only(call);
}

static bool queue(struct grpc_call *call, struct blob *message)
{
    grpc_outbox_push(&call->outbox, message);
    call->connection->queued_bytes += GRPC_PREFIX_SIZE + (size_t)message->len;
    count(&grpc_server_counters.messages_out);
    bool more = call->outbox.bytes < call->connection->limits.call_queue_max;
    call->wants_writable = !more;
    return more;
}

bool grpc_call_send(struct grpc_call *call, struct blob *message)
{
    if (!is_usable(call))
        return true;
    bool more = queue(call, blob_ref(message));
    continue_answer(call);
    return more;
}

void grpc_call_flush(struct grpc_call *call)
{
    h2_turn_now(&call->connection->h2);
}

void grpc_call_reply(struct grpc_call *call, struct slice message)
{
    if (!is_usable(call))
        return;
    (void)queue(call, blob_new(message));
    grpc_call_finish(call, LAPSE_OK, NULL);
}

void grpc_call_on_data_sent(struct grpc_call *call, size_t len)
{
    struct grpc_connection *connection = call->connection;
    connection->queued_bytes -= len;
    call->progress_ms = h2_now(&connection->h2);
    if (!call->wants_writable || call->finished || call->outbox.bytes > connection->limits.call_queue_max / 2)
        return;
    call->wants_writable = false;
    call->in_writable = true;
    call->next_writable = connection->writable;
    connection->writable = call;
    h2_wake(&connection->h2);
}

void grpc_call_tell_writable(struct grpc_call *call)
{
    call->in_writable = false;
    if (call->app_knows && !call->finished && call->method->on_writable != NULL)
        call->method->on_writable(call);
}

/* --- the request -------------------------------------------------------------------------------------------------- */

static bool is(struct slice text, const char *other)
{
    return slice_equal(text, slice_str(other));
}

static const struct grpc_method *find_method(const struct grpc_connection *connection, struct slice path)
{
    for (size_t i = 0; i < connection->n_methods; i++)
        if (is(path, connection->methods[i].path))
            return &connection->methods[i];
    return NULL;
}

static void set_timeout(struct grpc_call *call, struct slice value)
{
    int64_t timeout_ms = 0;
    if (call->deadline_ms != INT64_MAX || !grpc_timeout_parse(value, &timeout_ms))
        call->bad_timeout = true;
    else
        call->deadline_ms = call->begun_ms + timeout_ms;
}

void grpc_call_on_header(struct grpc_call *call, struct slice name, struct slice value)
{
    if (is(name, ":method"))
        call->is_post = is(value, "POST");
    else if (is(name, ":path"))
        call->method = find_method(call->connection, value);
    else if (is(name, "content-type"))
        call->is_grpc = grpc_content_type_is_ours(value);
    else if (is(name, "te"))
        call->has_te = is(value, "trailers");
    else if (is(name, "grpc-timeout"))
        set_timeout(call, value);
    else if (is(name, "grpc-encoding"))
        call->bad_encoding = !is(value, "identity");
}

/* An HTTP answer for those who don't speak gRPC. */
static void answer_http(struct grpc_call *call, const char *status)
{
    const nghttp2_nv fields[] = {CONSTANT_FIELD(":status", status)};
    count(&grpc_server_counters.protocol_errors);
    set_status(call, LAPSE_INTERNAL, NULL);
    call->answering = true;
    submitted(call,
              nghttp2_submit_response(call->connection->h2.session, call->stream_id, fields, ARRAY_LEN(fields), NULL));
}

/* What gRPC itself asks of a request; true when it was answered. */
static bool refuse_by_protocol(struct grpc_call *call)
{
    if (!call->is_post)
        answer_http(call, "405");
    else if (!call->is_grpc)
        answer_http(call, "415");
    else if (!call->has_te)
        answer_http(call, "400");
    else if (call->method == NULL)
        grpc_call_finish(call, LAPSE_UNIMPLEMENTED,
                         "this server doesn't know the method: compare the versions of both sides");
    else if (call->bad_encoding)
        grpc_call_finish(call, LAPSE_UNIMPLEMENTED, "compressed messages aren't taken: send grpc-encoding identity");
    else if (call->bad_timeout)
        grpc_call_finish(call, LAPSE_INVALID_ARGUMENT,
                         "malformed grpc-timeout: send it once, up to 8 digits and one of H M S m u n");
    return call->finished;
}

static bool refuse_by_load(struct grpc_call *call)
{
    struct grpc_connection *connection = call->connection;
    struct lapse_error error = {0};
    if (connection->queued_bytes > LIMIT_CONNECTION_QUEUE) {
        grpc_call_finish(call, LAPSE_RESOURCE_EXHAUSTED, "read the answers that are waiting on this connection first");
    } else if (connection->handler.admit != NULL) {
        lapse_result admitted = connection->handler.admit(connection, call->method, &error);
        if (!lapse_is_ok(admitted))
            grpc_call_finish(call, admitted.code, error.message);
    }
    return call->finished;
}

void grpc_call_on_headers_done(struct grpc_call *call)
{
    call->headers_done = true;
    if (refuse_by_protocol(call) || refuse_by_load(call))
        return;
    h2_timer_at(&call->connection->h2, grpc_call_due_ms(call));
}

/* The request is wrong, or too much; what else comes of it is of no interest. */
static void refuse_message(struct grpc_call *call, enum lapse_code code, const char *message)
{
    count(&grpc_server_counters.refused_messages);
    call->reset_after = !call->request_done;
    grpc_call_finish(call, code, message);
}

static void deliver(struct grpc_call *call)
{
    count(&grpc_server_counters.messages_in);
    call->app_knows = true;
    if (call->method->on_message != NULL)
        call->method->on_message(call, grpc_inbox_message(&call->inbox));
    grpc_inbox_next(&call->inbox);
}

static void take_message(struct grpc_call *call)
{
    if (call->method->client_streams)
        deliver(call);
    else
        call->has_message = true; /* delivered when the client half-closes: there must be no second one */
}

void grpc_call_on_data(struct grpc_call *call, struct slice bytes)
{
    while (bytes.len > 0 && !call->finished) {
        if (call->has_message) {
            refuse_message(call, LAPSE_INVALID_ARGUMENT, "the call takes one message, more were sent");
            return;
        }
        if (!grpc_inbox_is_torn(&call->inbox))
            call->message_ms = h2_now(&call->connection->h2);
        switch (grpc_inbox_feed(&call->inbox, &bytes)) {
        case GRPC_INBOX_MORE:
            h2_timer_at(&call->connection->h2, grpc_call_due_ms(call));
            return;
        case GRPC_INBOX_MESSAGE:
            take_message(call);
            break;
        case GRPC_INBOX_COMPRESSED:
            refuse_message(call, LAPSE_UNIMPLEMENTED, "compressed messages aren't taken: send them as they are");
            return;
        case GRPC_INBOX_TOO_LARGE:
            refuse_message(call, LAPSE_RESOURCE_EXHAUSTED, "the message is larger than the server takes");
            return;
        }
    }
}

void grpc_call_on_half_close(struct grpc_call *call)
{
    call->request_done = true;
    if (call->finished)
        return;
    if (call->method->client_streams && !grpc_inbox_is_torn(&call->inbox)) {
        call->app_knows = true;
        if (call->method->on_half_close != NULL)
            call->method->on_half_close(call);
    } else if (call->has_message) {
        deliver(call);
    } else {
        refuse_message(call, LAPSE_INVALID_ARGUMENT, "the request ended before its message was complete");
    }
}

/* --- time --------------------------------------------------------------------------------------------------------- */

/* A request that must get complete by itself. */
static bool awaits_request(const struct grpc_call *call)
{
    return !call->headers_done || (!call->request_done && (call->method == NULL || !call->method->client_streams));
}

/* A streaming client may take its time between messages, but not before the first one, when nobody counts the call yet,
 * nor in the midst of one. */
static bool awaits_message(const struct grpc_call *call)
{
    return !call->request_done && !call->finished && (!call->app_knows || grpc_inbox_is_torn(&call->inbox));
}

static int64_t request_due_ms(const struct grpc_call *call)
{
    int64_t timeout_ms = call->connection->limits.request_timeout_ms;
    if (awaits_request(call))
        return call->begun_ms + timeout_ms;
    if (awaits_message(call))
        return (call->app_knows ? call->message_ms : call->begun_ms) + timeout_ms;
    return INT64_MAX;
}

static int64_t answer_due_ms(const struct grpc_call *call)
{
    return call->finished && call->outbox.bytes > 0 ? call->progress_ms + LIMIT_ANSWER_STALL_MS : INT64_MAX;
}

static int64_t deadline_due_ms(const struct grpc_call *call)
{
    return call->finished || !call->headers_done ? INT64_MAX : call->deadline_ms;
}

int64_t grpc_call_due_ms(const struct grpc_call *call)
{
    int64_t due_ms = request_due_ms(call);
    if (answer_due_ms(call) < due_ms)
        due_ms = answer_due_ms(call);
    return deadline_due_ms(call) < due_ms ? deadline_due_ms(call) : due_ms;
}

static void expire(struct grpc_call *call)
{
    clear_outbox(call);
    grpc_call_finish(call, LAPSE_DEADLINE_EXCEEDED, "the call's deadline passed before it was answered");
    tell_closed(call);
}

bool grpc_call_act(struct grpc_call *call, int64_t now_ms)
{
    if (deadline_due_ms(call) <= now_ms)
        expire(call);
    if (request_due_ms(call) <= now_ms)
        return h2_refuse(&call->connection->h2, H2_REFUSED_FLOOD, "a request that stays incomplete"), false;
    if (answer_due_ms(call) <= now_ms)
        return h2_refuse(&call->connection->h2, H2_REFUSED_FLOOD, "requests whose answers it doesn't read"), false;
    return true;
}

/* --- for the application ------------------------------------------------------------------------------------------ */

const struct grpc_method *grpc_call_method(const struct grpc_call *call)
{
    return call->method;
}

struct grpc_connection *grpc_call_connection(const struct grpc_call *call)
{
    return call->connection;
}

int64_t grpc_call_remaining_ms(const struct grpc_call *call)
{
    if (call->deadline_ms == INT64_MAX)
        return INT64_MAX;
    int64_t left_ms = call->deadline_ms - h2_now(&call->connection->h2);
    return left_ms > 0 ? left_ms : 0;
}

void grpc_call_set_data(struct grpc_call *call, void *data)
{
    call->data = data;
}

void *grpc_call_data(const struct grpc_call *call)
{
    return call->data;
}
