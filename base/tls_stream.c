/* One TLS connection's life (states: tls_internal.h).
 *
 *   libuv read -> input --BIO--> OpenSSL -> record -> on_data
 *   stream_write -> plain -> OpenSSL --BIO--> output -> uv_try_write, the rest -> uv_write
 *
 * OpenSSL never sees the socket: a BIO of ours takes ciphertext from `input` and leaves it in the loop's `output`,
 * which is sent after each call into OpenSSL. Calls from the owner only note what is wanted and mark the stream; the
 * work is done in tls_stream_service, from the loop, so that no callback runs on the owner's stack. */
#include "base/tls_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>

#include "base/clock.h"

/* How long the other side has for its FIN after ours. */
#define LINGER_MS 1000
/* A stall is found within the timeout plus a quarter. */
#define STALL_STRIKES 4u
/* The wall clock may be stepped: look at it at least so often. */
#define EXPIRY_CHECK_MS_MAX (60 * 1000)

static void arm_timer(struct tls_stream *stream);
static void set_reading(struct tls_stream *stream);

/* ---- ends ---- */

static void free_stream(struct tls_stream *stream)
{
    SSL_free(stream->ssl);
    tls_dial_free(stream->dial);
    tls_identity_unref(stream->identity);
    buf_free(&stream->held);
    buf_free(&stream->plain);
    tls_loop_put(stream->loop);
    free(stream);
}

void tls_stream_handle_closed(struct tls_stream *stream)
{
    CHECK(stream->handles > 0);
    if (--stream->handles > 0 || stream->state != TLS_CLOSED)
        return;
    if (stream->stream.handler.on_close != NULL)
        stream->stream.handler.on_close(&stream->stream, &stream->why);
    tls_loop_unmark(stream);
    free_stream(stream);
}

static void on_handle_closed(uv_handle_t *handle)
{
    tls_stream_handle_closed(handle->data);
}

static void close_handles(struct tls_stream *stream)
{
    CHECK(stream->state != TLS_CLOSED);
    stream->state = TLS_CLOSED;
    /* A dial between two addresses has its socket closing already. */
    if (stream->tcp.loop != NULL && !uv_is_closing((uv_handle_t *)&stream->tcp))
        uv_close((uv_handle_t *)&stream->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&stream->timer, on_handle_closed);
}

void tls_stream_abort(struct tls_stream *stream, enum lapse_code code, const char *format, ...)
{
    if (stream->state == TLS_CLOSED)
        return;
    if (stream->why.code == LAPSE_OK && stream->state < TLS_DRAINING && code != LAPSE_OK) {
        char message[LAPSE_ERROR_MESSAGE_SIZE];
        va_list args;
        va_start(args, format);
        (void)vsnprintf(message, sizeof message, format, args);
        va_end(args);
        (void)lapse_fail(&stream->why, code, "%s", message);
    }
    close_handles(stream);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    (void)request, (void)status; /* the other side's FIN, a reset or the deadline ends the wait */
}

/* Before a call into OpenSSL: what is left there would pass for its own. To look costs less than to clear. */
static void forget_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

/* ---- sending ---- */

struct write_request {
    uv_write_t write;
    struct tls_stream *stream;
    uint8_t bytes[];
};

static void on_written(uv_write_t *write, int status)
{
    struct write_request *request = CONTAINER_OF(write, struct write_request, write);
    struct tls_stream *stream = request->stream;
    free(request);
    if (stream->state == TLS_CLOSED)
        return;
    if (status < 0)
        tls_stream_abort(stream, LAPSE_UNAVAILABLE, "the connection to %s broke: %s", stream->peer.address,
                         uv_strerror(status));
    else
        tls_loop_mark(stream);
}

static void watch_for_stall(struct tls_stream *stream)
{
    if (stream->stall_check != 0)
        return;
    stream->stall_moved = stream->submitted - uv_stream_get_write_queue_size((uv_stream_t *)&stream->tcp);
    stream->stall_strikes = 0;
    stream->stall_check = uv_now(stream->loop->loop) + stream->settings.stall_timeout_ms / STALL_STRIKES;
    arm_timer(stream);
}

static int write_rest(struct tls_stream *stream, const uint8_t *bytes, size_t len)
{
    struct write_request *request = mem_alloc(sizeof *request + len);
    request->stream = stream;
    memcpy(request->bytes, bytes, len);
    uv_buf_t buffer = uv_buf_init((char *)request->bytes, (unsigned)len);
    int status = uv_write(&request->write, (uv_stream_t *)&stream->tcp, &buffer, 1, on_written);
    if (status < 0)
        free(request);
    else
        watch_for_stall(stream);
    return status;
}

/* Sends what the last call into OpenSSL left; may end the stream. */
static void send_output(struct tls_stream *stream)
{
    struct buf *output = &stream->loop->output;
    size_t len = output->len;
    if (len == 0)
        return;
    uv_buf_t buffer = uv_buf_init((char *)output->data, (unsigned)len);
    int n = uv_try_write((uv_stream_t *)&stream->tcp, &buffer, 1);
    int status = n < 0 && n != UV_EAGAIN ? n : 0;
    size_t sent = n > 0 ? (size_t)n : 0;
    stream->submitted += len;
    if (status == 0 && sent < len)
        status = write_rest(stream, output->data + sent, len - sent);
    buf_clear(output);
    if (status < 0)
        tls_stream_abort(stream, LAPSE_UNAVAILABLE, "the connection to %s broke: %s", stream->peer.address,
                         uv_strerror(status));
}

/* The last words (an alert or close_notify) and our FIN; then the other side has a second for its own. */
static void linger(struct tls_stream *stream, bool notify)
{
    buf_free(&stream->plain);
    buf_free(&stream->held);
    stream->plain_start = 0;
    if (notify)
        (void)SSL_shutdown(stream->ssl);
    ERR_clear_error();
    stream->state = TLS_LINGERING;
    send_output(stream);
    if (stream->state == TLS_CLOSED)
        return;
    stream->stall_check = stream->expiry_check = 0;
    tls_stream_set_deadline(stream, LINGER_MS);
    set_reading(stream);
    if (stream->state != TLS_CLOSED && uv_shutdown(&stream->shutdown, (uv_stream_t *)&stream->tcp, on_shutdown) != 0)
        tls_stream_abort(stream, LAPSE_OK, "gone");
}

static void fail_tls(struct tls_stream *stream)
{
    tls_explain(stream);
    linger(stream, false);
}

static size_t plain_len(const struct tls_stream *stream)
{
    return stream->plain.len - stream->plain_start;
}

static size_t tls_pending(const struct stream *stream)
{
    const struct tls_stream *tls = (const struct tls_stream *)stream;
    size_t queued = tls->state < TLS_HANDSHAKE ? 0 : uv_stream_get_write_queue_size((const uv_stream_t *)&tls->tcp);
    return plain_len(tls) + queued;
}

static bool kernel_is_full(const struct tls_stream *stream)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&stream->tcp) > 0;
}

/* Encrypts and sends one batch; false when the stream failed. */
static bool send_batch(struct tls_stream *stream, const uint8_t *bytes, size_t len)
{
    size_t written = 0;
    forget_errors();
    if (SSL_write_ex(stream->ssl, bytes, len, &written) != 1) {
        fail_tls(stream);
        return false;
    }
    CHECK(written == len); /* our BIO takes all */
    send_output(stream);
    return stream->state != TLS_CLOSED;
}

static void flush(struct tls_stream *stream)
{
    size_t budget = LIMIT_STREAM_TURN;
    while (plain_len(stream) > 0 && budget > 0 && !kernel_is_full(stream)) {
        size_t len = plain_len(stream) < TLS_WRITE_BYTES ? plain_len(stream) : TLS_WRITE_BYTES;
        const uint8_t *bytes = stream->plain.data + stream->plain_start;
        stream->plain_start += len;
        if (!send_batch(stream, bytes, len))
            return;
        budget -= len < budget ? len : budget;
    }
    if (plain_len(stream) == 0) {
        buf_free(&stream->plain); /* an idle stream keeps nothing */
        stream->plain_start = 0;
    } else if (!kernel_is_full(stream)) {
        tls_loop_mark(stream); /* the others' turn */
    }
}

/* Moves what is left to the front when the dead part outweighs it: amortised one copy a byte. */
static void compact(struct tls_stream *stream)
{
    if (stream->plain_start > stream->plain.len / 2) {
        buf_consume(&stream->plain, stream->plain_start);
        stream->plain_start = 0;
    }
}

static lapse_result may_write(const struct tls_stream *stream, size_t len)
{
    size_t pending = tls_pending(&stream->stream);
    if (stream->state != TLS_OPEN)
        return lapse_failed(LAPSE_FAILED_PRECONDITION);
    if (pending >= stream->settings.send_max || len > stream->settings.send_max - pending)
        return lapse_failed(LAPSE_RESOURCE_EXHAUSTED);
    return lapse_ok();
}

static lapse_result tls_write(struct stream *stream, struct slice bytes)
{
    struct tls_stream *tls = (struct tls_stream *)stream;
    lapse_result allowed = may_write(tls, bytes.len);
    if (!lapse_is_ok(allowed) || bytes.len == 0)
        return allowed;
    compact(tls);
    /* The bound above is the smaller one: the buffer has room for the dead part, too. */
    lapse_result result = buf_append(&tls->plain, bytes.data, bytes.len);
    if (!lapse_is_ok(result))
        return result;
    tls->above_mark = tls->above_mark || tls_pending(stream) >= LIMIT_STREAM_LOW_WATER;
    tls_loop_mark(tls);
    return lapse_ok();
}

/* Nothing waits: straight into OpenSSL. Should the stream fail over it, on_close tells, as for a queued write. */
static lapse_result tls_send(struct stream *stream, struct slice bytes)
{
    struct tls_stream *tls = (struct tls_stream *)stream;
    lapse_result allowed = may_write(tls, bytes.len);
    if (!lapse_is_ok(allowed) || bytes.len == 0)
        return allowed;
    if (plain_len(tls) > 0 || kernel_is_full(tls) || bytes.len > TLS_WRITE_BYTES)
        return tls_write(stream, bytes);
    if (send_batch(tls, bytes.data, bytes.len))
        tls->above_mark = tls->above_mark || tls_pending(stream) >= LIMIT_STREAM_LOW_WATER;
    return lapse_ok();
}

static void tell_drained(struct tls_stream *stream)
{
    if (stream->state != TLS_OPEN || !stream->above_mark || tls_pending(&stream->stream) >= LIMIT_STREAM_LOW_WATER)
        return;
    stream->above_mark = false;
    if (stream->stream.handler.on_drain != NULL)
        stream->stream.handler.on_drain(&stream->stream);
}

/* ---- receiving ---- */

static void deliver(struct tls_stream *stream, size_t len)
{
    stream->turn_bytes += len;
    if (stream->stream.handler.on_data != NULL)
        stream->stream.handler.on_data(&stream->stream, slice_of(stream->loop->record, len));
}

/* Takes records until the input is used up or the owner had enough. */
static void read_records(struct tls_stream *stream)
{
    while (stream->state == TLS_OPEN && !stream->paused) {
        size_t len = 0;
        forget_errors();
        if (SSL_read_ex(stream->ssl, stream->loop->record, TLS_RECORD_BYTES, &len) == 1) {
            send_output(stream);
            deliver(stream, len);
            continue;
        }
        int outcome = SSL_get_error(stream->ssl, 0);
        if (outcome == SSL_ERROR_ZERO_RETURN) {
            buf_clear(&stream->loop->output);
            tls_stream_abort(stream, LAPSE_UNAVAILABLE, "%s closed the connection", stream->peer.address);
        } else if (outcome == SSL_ERROR_WANT_READ) {
            send_output(stream);
            return;
        } else {
            fail_tls(stream);
        }
    }
}

static bool alpn_agreed(struct tls_stream *stream)
{
    const unsigned char *name = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(stream->ssl, &name, &len);
    return slice_equal(slice_of(name, len), slice_str(stream->settings.alpn));
}

static void become_open(struct tls_stream *stream)
{
    if (!alpn_agreed(stream)) {
        (void)lapse_fail(&stream->why, LAPSE_UNAUTHENTICATED,
                         "%s did not agree on the protocol (ALPN) %s: is the port right?", stream->peer.address,
                         stream->settings.alpn);
        linger(stream, true);
        return;
    }
    stream->state = TLS_OPEN;
    tls_dial_free(stream->dial);
    stream->dial = NULL;
    stream->phase_deadline = 0;
    stream->expiry_check = uv_now(stream->loop->loop);
    arm_timer(stream);
    if (stream->stream.handler.on_open != NULL)
        stream->stream.handler.on_open(&stream->stream, &stream->peer);
}

static void shake_hands(struct tls_stream *stream)
{
    ERR_clear_error();
    int done = SSL_do_handshake(stream->ssl);
    int outcome = SSL_get_error(stream->ssl, done);
    if (done != 1 && outcome != SSL_ERROR_WANT_READ) {
        fail_tls(stream);
        return;
    }
    send_output(stream);
    if (done == 1 && stream->state == TLS_HANDSHAKE)
        become_open(stream);
}

/* Strangers can ask for signatures; they get them a few a turn, so that known peers are never kept waiting. */
static bool take_handshake_step(struct tls_stream *stream)
{
    if (!SSL_is_server(stream->ssl))
        return true;
    if (stream->loop->handshake_steps == 0)
        return false;
    stream->loop->handshake_steps--;
    return true;
}

/* Runs OpenSSL on `input`; what it leaves is in stream->input. */
static void pump(struct tls_stream *stream, struct slice input)
{
    stream->input = input;
    if (stream->state == TLS_HANDSHAKE) {
        if (take_handshake_step(stream))
            shake_hands(stream);
        else
            tls_loop_mark(stream);
    }
    if (stream->state == TLS_OPEN)
        read_records(stream);
    if (stream->state > TLS_OPEN)
        stream->input.len = 0;
}

static void pump_held(struct tls_stream *stream)
{
    size_t had = stream->held.len;
    pump(stream, buf_slice(&stream->held));
    if (stream->held.len == had) /* not dropped by an end in between */
        buf_consume(&stream->held, had - stream->input.len);
    if (stream->held.len == 0)
        buf_free(&stream->held);
    stream->input = slice_of(NULL, 0);
}

static void pump_read(struct tls_stream *stream, struct slice bytes)
{
    CHECK(stream->held.len == 0);
    pump(stream, bytes);
    lapse_result result = buf_append(&stream->held, stream->input.data, stream->input.len);
    CHECK(lapse_is_ok(result)); /* at most one read */
    stream->input = slice_of(NULL, 0);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct tls_stream *stream = handle->data;
    (void)suggested;
    *buffer = uv_buf_init((char *)stream->loop->input, TLS_READ_BYTES);
}

static void on_end_of_file(struct tls_stream *stream, int status)
{
    const char *address = stream->peer.address;
    if (status != UV_EOF)
        tls_stream_abort(stream, LAPSE_UNAVAILABLE, "the connection to %s broke: %s", address, uv_strerror(status));
    else if (stream->state == TLS_HANDSHAKE)
        tls_stream_abort(stream, LAPSE_UNAVAILABLE, "%s closed the connection during the TLS handshake", address);
    else
        tls_stream_abort(stream, LAPSE_UNAVAILABLE, "%s closed the connection", address);
}

static void on_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *buffer)
{
    struct tls_stream *stream = tcp->data;
    if (n == 0)
        return;
    if (n < 0) {
        on_end_of_file(stream, (int)n);
        return;
    }
    if (stream->state > TLS_OPEN)
        return; /* we are leaving: read only to see the end */
    if (stream->turn != stream->loop->turn) {
        stream->turn = stream->loop->turn;
        stream->turn_bytes = 0;
    }
    pump_read(stream, slice_of(buffer->base, (size_t)n));
    if (stream->state == TLS_OPEN && stream->turn_bytes >= LIMIT_STREAM_TURN) {
        stream->resting = true;
        tls_loop_mark(stream);
    }
    set_reading(stream);
}

static bool wants_reading(const struct tls_stream *stream)
{
    switch (stream->state) {
    case TLS_HANDSHAKE:
        return stream->held.len == 0;
    case TLS_OPEN:
        return stream->held.len == 0 && !stream->paused && !stream->resting;
    case TLS_DRAINING:
    case TLS_LINGERING:
        return true;
    default:
        return false;
    }
}

/* The one place that starts and stops reading. */
static void set_reading(struct tls_stream *stream)
{
    bool wanted = wants_reading(stream);
    if (wanted == stream->reading || stream->state == TLS_CLOSED)
        return;
    stream->reading = wanted;
    int status = wanted ? uv_read_start((uv_stream_t *)&stream->tcp, on_alloc, on_read)
                        : uv_read_stop((uv_stream_t *)&stream->tcp);
    if (status != 0)
        tls_stream_abort(stream, LAPSE_UNAVAILABLE, "the connection to %s broke: %s", stream->peer.address,
                         uv_strerror(status));
}

static void tls_pause_reading(struct stream *stream, bool paused)
{
    struct tls_stream *tls = (struct tls_stream *)stream;
    tls->paused = paused;
    if (tls->state == TLS_OPEN)
        tls_loop_mark(tls);
}

/* ---- turns and deadlines ---- */

static void drain(struct tls_stream *stream)
{
    if (stream->why.code == LAPSE_OK)
        flush(stream);
    if (stream->state != TLS_DRAINING)
        return;
    if (stream->why.code != LAPSE_OK || (plain_len(stream) == 0 && !kernel_is_full(stream)))
        linger(stream, true);
    else
        set_reading(stream);
}

void tls_stream_service(struct tls_stream *stream)
{
    if (stream->state == TLS_DRAINING) {
        drain(stream);
        return;
    }
    if (stream->state != TLS_HANDSHAKE && stream->state != TLS_OPEN)
        return;
    stream->resting = false;
    if (stream->held.len > 0 && (stream->state == TLS_HANDSHAKE || !stream->paused))
        pump_held(stream);
    if (stream->state == TLS_OPEN)
        flush(stream);
    tell_drained(stream);
    set_reading(stream);
}

static void on_phase_deadline(struct tls_stream *stream)
{
    stream->phase_deadline = 0;
    if (stream->state <= TLS_CONNECTING)
        tls_dial_timed_out(stream);
    else
        tls_stream_abort(stream, LAPSE_DEADLINE_EXCEEDED, "%s did not finish the TLS handshake within %u ms",
                         stream->peer.address, stream->settings.handshake_timeout_ms);
}

static void on_stall_check(struct tls_stream *stream)
{
    size_t moved = stream->submitted - uv_stream_get_write_queue_size((uv_stream_t *)&stream->tcp);
    stream->stall_check = 0;
    if (!kernel_is_full(stream))
        return;
    unsigned strikes = moved == stream->stall_moved ? stream->stall_strikes + 1 : 0;
    if (strikes >= STALL_STRIKES) {
        if (stream->state == TLS_DRAINING)
            (void)lapse_fail(&stream->why, LAPSE_DEADLINE_EXCEEDED, "%s stopped reading before the end",
                             stream->peer.address);
        tls_stream_abort(stream, LAPSE_DEADLINE_EXCEEDED, "%s took none of the bytes sent to it for %u ms",
                         stream->peer.address, stream->settings.stall_timeout_ms);
        return;
    }
    watch_for_stall(stream);
    stream->stall_strikes = strikes;
}

static void on_expiry_check(struct tls_stream *stream)
{
    int64_t left_ms = stream->expires_at * 1000 - clock_wall_ms();
    if (left_ms <= 0 && stream->state == TLS_OPEN) {
        (void)lapse_fail(&stream->why, LAPSE_UNAUTHENTICATED,
                         "the certificate of %s has expired: issue a new one there", stream->peer.address);
        linger(stream, true);
    } else {
        uint64_t wait = left_ms < EXPIRY_CHECK_MS_MAX ? (left_ms > 0 ? (uint64_t)left_ms : 1) : EXPIRY_CHECK_MS_MAX;
        stream->expiry_check = uv_now(stream->loop->loop) + wait;
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct tls_stream *stream = timer->data;
    uint64_t now = uv_now(stream->loop->loop);
    if (stream->phase_deadline != 0 && now >= stream->phase_deadline)
        on_phase_deadline(stream);
    if (stream->state != TLS_CLOSED && stream->stall_check != 0 && now >= stream->stall_check)
        on_stall_check(stream);
    if (stream->state == TLS_OPEN && stream->expiry_check != 0 && now >= stream->expiry_check)
        on_expiry_check(stream);
    arm_timer(stream);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static void arm_timer(struct tls_stream *stream)
{
    if (stream->state == TLS_CLOSED)
        return;
    uint64_t now = uv_now(stream->loop->loop);
    uint64_t due = earlier(earlier(stream->phase_deadline, stream->stall_check), stream->expiry_check);
    int status = due == 0 ? uv_timer_stop(&stream->timer)
                          : uv_timer_start(&stream->timer, on_timer, due > now ? due - now : 0, 0);
    CHECK(status == 0);
}

void tls_stream_set_deadline(struct tls_stream *stream, uint64_t delay_ms)
{
    /* uv_now may be as old as the loop's last turn: a deadline from there could be over already. */
    uv_update_time(stream->loop->loop);
    stream->phase_deadline = uv_now(stream->loop->loop) + delay_ms;
    arm_timer(stream);
}

/* ---- beginnings ---- */

static void tls_close(struct stream *stream, const struct lapse_error *why)
{
    struct tls_stream *tls = (struct tls_stream *)stream;
    if (tls->state >= TLS_DRAINING)
        return;
    if (why != NULL && why->code != LAPSE_OK)
        tls->why = *why;
    if (tls->state == TLS_OPEN) {
        tls->state = TLS_DRAINING;
        buf_free(&tls->held);
        tls_loop_mark(tls);
    } else {
        close_handles(tls);
    }
}

static const struct stream_ops tls_ops = {tls_write, tls_pending, tls_pause_reading, tls_close, tls_send};

struct tls_stream *tls_stream_new(uv_loop_t *loop, struct tls_identity *identity, const struct tls_settings *settings,
                                  bool server)
{
    struct tls_stream *stream = mem_calloc(1, sizeof *stream);
    stream->stream.ops = &tls_ops;
    stream->state = server ? TLS_HANDSHAKE : TLS_RESOLVING;
    stream->loop = tls_loop_get(loop);
    stream->identity = tls_identity_ref(identity);
    stream->settings = *settings;
    buf_init(&stream->held, 2 * TLS_READ_BYTES);
    buf_init(&stream->plain, 2 * settings->send_max);
    tls_stream_attach_ssl(stream, server);
    CHECK(uv_timer_init(loop, &stream->timer) == 0);
    stream->timer.data = stream;
    stream->tcp.data = stream;
    stream->handles = 1;
    return stream;
}

void tls_stream_start(struct tls_stream *stream)
{
    stream->state = TLS_HANDSHAKE;
    tls_stream_set_deadline(stream, stream->settings.handshake_timeout_ms);
    set_reading(stream);
    if (stream->state == TLS_HANDSHAKE && !SSL_is_server(stream->ssl))
        pump(stream, slice_of(NULL, 0)); /* our ClientHello */
}
