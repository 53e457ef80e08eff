/* Writes of one loop iteration are gathered in `out` and leave from an idle handle with one uv_try_write; what the
 * kernel doesn't take goes with uv_write from `flying` while `out` gathers the next.
 *
 *   stream_write --> out --(turn)--> kernel
 *                       \--(kernel full)--> flying --(uv_write)--> kernel
 */
#include "base/tcp_stream.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

#define INPUT_SIZE (64u * 1024)
#define STALL_TIMEOUT_MS 10000u
#define BACKLOG 128

enum tcp_state { STATE_OPENING, STATE_OPEN, STATE_CLOSING, STATE_CLOSED };

union socket_handle {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

struct tcp_stream {
    struct stream stream; /* first */
    union socket_handle io;
    uv_idle_t turn;
    uv_timer_t stall;
    uv_connect_t connect;
    uv_write_t write;
    enum tcp_state state;
    bool connecting, reading, paused, above_mark;
    uint8_t handles;
    uint32_t stall_timeout_ms;
    struct buf out, flying;
    struct lapse_error why;
};

struct tcp_listener {
    union socket_handle io;
    struct tcp_options options;
    tcp_accept_cb accept;
    void *arg;
};

static void on_turn(uv_idle_t *idle);

static struct tcp_stream *of_stream(const struct stream *stream)
{
    return (struct tcp_stream *)stream;
}

static void wake(struct tcp_stream *tcp)
{
    CHECK(uv_idle_start(&tcp->turn, on_turn) == 0);
}

/* --- closing ------------------------------------------------------------------------------------------------------ */

static void on_handle_closed(uv_handle_t *handle)
{
    struct tcp_stream *tcp = handle->data;
    CHECK(tcp->handles > 0);
    if (--tcp->handles > 0)
        return;
    if (tcp->stream.handler.on_close != NULL)
        tcp->stream.handler.on_close(&tcp->stream, &tcp->why);
    buf_free(&tcp->out);
    buf_free(&tcp->flying);
    free(tcp);
}

static void close_handles(struct tcp_stream *tcp)
{
    if (tcp->state == STATE_CLOSED)
        return;
    tcp->state = STATE_CLOSED;
    uv_close(&tcp->io.handle, on_handle_closed);
    uv_close((uv_handle_t *)&tcp->turn, on_handle_closed);
    uv_close((uv_handle_t *)&tcp->stall, on_handle_closed);
}

static void fail(struct tcp_stream *tcp, enum lapse_code code, const char *what, int uv_error)
{
    if (tcp->state == STATE_CLOSED)
        return;
    if (tcp->why.code == LAPSE_OK && tcp->state != STATE_CLOSING)
        (void)lapse_fail(&tcp->why, code, "%s: %s", what,
                         uv_error == UV_EOF ? "the other side closed the stream" : uv_strerror(uv_error));
    close_handles(tcp);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static size_t tcp_pending(const struct stream *stream)
{
    const struct tcp_stream *tcp = of_stream(stream);
    return tcp->out.len + tcp->flying.len;
}

static void tell_drained(struct tcp_stream *tcp)
{
    if (!tcp->above_mark || tcp_pending(&tcp->stream) >= LIMIT_STREAM_LOW_WATER)
        return;
    tcp->above_mark = false;
    if (tcp->state == STATE_OPEN && tcp->stream.handler.on_drain != NULL)
        tcp->stream.handler.on_drain(&tcp->stream);
}

static void on_stall(uv_timer_t *timer)
{
    fail(timer->data, LAPSE_DEADLINE_EXCEEDED, "the other side doesn't read", UV_ETIMEDOUT);
}

static void on_written(uv_write_t *write, int status)
{
    struct tcp_stream *tcp = CONTAINER_OF(write, struct tcp_stream, write);
    if (tcp->state == STATE_CLOSED)
        return;
    if (status != 0) {
        fail(tcp, LAPSE_UNAVAILABLE, "writing failed", status);
        return;
    }
    buf_free(&tcp->flying);
    CHECK(uv_timer_stop(&tcp->stall) == 0);
    wake(tcp);
}

static void fly(struct tcp_stream *tcp)
{
    size_t max = tcp->out.max;
    tcp->flying = tcp->out;
    buf_init(&tcp->out, max);
    uv_buf_t bytes = uv_buf_init((char *)tcp->flying.data, (unsigned)tcp->flying.len);
    int result = uv_write(&tcp->write, &tcp->io.stream, &bytes, 1, on_written);
    if (result != 0)
        fail(tcp, LAPSE_UNAVAILABLE, "writing failed", result);
    else
        CHECK(uv_timer_start(&tcp->stall, on_stall, tcp->stall_timeout_ms, 0) == 0);
}

static void flush(struct tcp_stream *tcp)
{
    if (tcp->flying.len > 0 || tcp->out.len == 0)
        return;
    uv_buf_t bytes = uv_buf_init((char *)tcp->out.data, (unsigned)tcp->out.len);
    int taken = uv_try_write(&tcp->io.stream, &bytes, 1);
    if (taken < 0 && taken != UV_EAGAIN) {
        fail(tcp, LAPSE_UNAVAILABLE, "writing failed", taken);
        return;
    }
    if (taken > 0)
        buf_consume(&tcp->out, (size_t)taken);
    if (tcp->out.len == 0)
        buf_free(&tcp->out); /* an idle stream holds no buffer */
    else
        fly(tcp);
}

static lapse_result tcp_write(struct stream *stream, struct slice bytes)
{
    struct tcp_stream *tcp = of_stream(stream);
    if (tcp->state != STATE_OPEN)
        return lapse_failed(LAPSE_FAILED_PRECONDITION);
    if (bytes.len > tcp->out.max || tcp_pending(stream) > tcp->out.max - bytes.len)
        return lapse_failed(LAPSE_RESOURCE_EXHAUSTED);
    lapse_result result = buf_append(&tcp->out, bytes.data, bytes.len);
    CHECK(lapse_is_ok(result));
    tcp->above_mark = tcp->above_mark || tcp_pending(stream) >= LIMIT_STREAM_LOW_WATER;
    wake(tcp);
    return lapse_ok();
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *bytes)
{
    /* libuv reads into it and calls on_read before anything else happens on this thread. */
    static _Thread_local char input[INPUT_SIZE];
    (void)handle, (void)suggested;
    *bytes = uv_buf_init(input, sizeof input);
}

static void on_read(uv_stream_t *io, ssize_t n, const uv_buf_t *bytes)
{
    struct tcp_stream *tcp = io->data;
    if (n < 0)
        fail(tcp, LAPSE_UNAVAILABLE, "reading ended", (int)n);
    else if (n > 0 && tcp->state == STATE_OPEN && tcp->stream.handler.on_data != NULL)
        tcp->stream.handler.on_data(&tcp->stream, slice_of(bytes->base, (size_t)n));
}

static void set_reading(struct tcp_stream *tcp)
{
    bool wanted = tcp->state == STATE_OPEN && !tcp->paused;
    if (wanted == tcp->reading)
        return;
    tcp->reading = wanted;
    if (wanted)
        CHECK(uv_read_start(&tcp->io.stream, on_alloc, on_read) == 0);
    else
        (void)uv_read_stop(&tcp->io.stream);
}

static void tcp_pause_reading(struct stream *stream, bool paused)
{
    struct tcp_stream *tcp = of_stream(stream);
    tcp->paused = paused;
    if (tcp->state == STATE_OPEN)
        set_reading(tcp);
}

static void tcp_close(struct stream *stream, const struct lapse_error *why)
{
    struct tcp_stream *tcp = of_stream(stream);
    if (tcp->state == STATE_CLOSING || tcp->state == STATE_CLOSED)
        return;
    bool orderly = tcp->state == STATE_OPEN && (why == NULL || why->code == LAPSE_OK);
    if (why != NULL)
        tcp->why = *why;
    tcp->state = STATE_CLOSING;
    set_reading(tcp);
    if (orderly)
        wake(tcp); /* what is queued goes first */
    else
        close_handles(tcp);
}

static const struct stream_ops tcp_ops = {tcp_write, tcp_pending, tcp_pause_reading, tcp_close};

/* --- opening ------------------------------------------------------------------------------------------------------ */

static void describe_peer(struct tcp_stream *tcp, struct stream_peer *peer)
{
    struct sockaddr_storage address;
    int size = sizeof address;
    char host[48] = "";
    *peer = (struct stream_peer){0};
    if (tcp->io.handle.type != UV_TCP) {
        (void)snprintf(peer->address, sizeof peer->address, "unix");
    } else if (uv_tcp_getpeername(&tcp->io.tcp, (struct sockaddr *)&address, &size) == 0 &&
               uv_ip_name((struct sockaddr *)&address, host, sizeof host) == 0) {
        uint16_t port = ntohs(((struct sockaddr_in *)&address)->sin_port); /* at the same place in both families */
        (void)snprintf(peer->address, sizeof peer->address, address.ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host,
                       port);
    }
}

static void open_stream(struct tcp_stream *tcp)
{
    struct stream_peer peer;
    if (tcp->io.handle.type == UV_TCP)
        (void)uv_tcp_nodelay(&tcp->io.tcp, 1);
    tcp->state = STATE_OPEN;
    describe_peer(tcp, &peer);
    set_reading(tcp);
    if (tcp->stream.handler.on_open != NULL)
        tcp->stream.handler.on_open(&tcp->stream, &peer);
}

static void on_turn(uv_idle_t *idle)
{
    struct tcp_stream *tcp = idle->data;
    CHECK(uv_idle_stop(idle) == 0);
    if (tcp->state == STATE_OPENING && !tcp->connecting)
        open_stream(tcp);
    if (tcp->state == STATE_OPEN || tcp->state == STATE_CLOSING)
        flush(tcp);
    if (tcp->state == STATE_CLOSING && tcp_pending(&tcp->stream) == 0)
        close_handles(tcp);
    else
        tell_drained(tcp);
}

static void init_socket(uv_loop_t *loop, union socket_handle *io, bool unix_socket)
{
    CHECK((unix_socket ? uv_pipe_init(loop, &io->pipe, 0) : uv_tcp_init(loop, &io->tcp)) == 0);
}

static struct tcp_stream *stream_new(uv_loop_t *loop, bool unix_socket, const struct tcp_options *options)
{
    struct tcp_stream *tcp = mem_calloc(1, sizeof *tcp);
    tcp->stream.ops = &tcp_ops;
    tcp->stall_timeout_ms =
        options != NULL && options->stall_timeout_ms != 0 ? options->stall_timeout_ms : STALL_TIMEOUT_MS;
    buf_init(&tcp->out, options != NULL && options->send_max != 0 ? options->send_max : LIMIT_STREAM_SEND);
    init_socket(loop, &tcp->io, unix_socket);
    CHECK(uv_idle_init(loop, &tcp->turn) == 0);
    CHECK(uv_timer_init(loop, &tcp->stall) == 0);
    tcp->io.handle.data = tcp->turn.data = tcp->stall.data = tcp;
    tcp->handles = 3;
    return tcp;
}

/* --- addresses ---------------------------------------------------------------------------------------------------- */

#define UNIX_PREFIX "unix:"

static const char *unix_path(const char *address)
{
    return strncmp(address, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0 ? address + strlen(UNIX_PREFIX) : NULL;
}

static lapse_result parse_address(const char *address, struct sockaddr_storage *out, struct lapse_error *error)
{
    char host[64];
    char *rest = NULL;
    const char *colon = strrchr(address, ':');
    size_t len = colon == NULL ? 0 : (size_t)(colon - address);
    bool bracketed = len >= 2 && address[0] == '[' && colon[-1] == ']';
    unsigned long port = colon == NULL ? 0 : strtoul(colon + 1, &rest, 10);
    if (colon == NULL || rest == colon + 1 || *rest != '\0' || port > UINT16_MAX ||
        !slice_to_cstr(bracketed ? slice_of(address + 1, len - 2) : slice_of(address, len), host, sizeof host))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "'%s' is no address: use 127.0.0.1:PORT, [::1]:PORT or unix:PATH", address);
    int result = bracketed ? uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)out)
                           : uv_ip4_addr(host, (int)port, (struct sockaddr_in *)out);
    if (result != 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "'%s' is no numeric address: use 127.0.0.1:PORT, [::1]:PORT or unix:PATH", address);
    return lapse_ok();
}

/* --- connecting --------------------------------------------------------------------------------------------------- */

static void on_connected(uv_connect_t *connect, int status)
{
    struct tcp_stream *tcp = CONTAINER_OF(connect, struct tcp_stream, connect);
    tcp->connecting = false;
    if (tcp->state != STATE_OPENING)
        return;
    if (status != 0)
        fail(tcp, LAPSE_UNAVAILABLE, "connecting failed", status);
    else
        open_stream(tcp);
}

lapse_result tcp_connect(uv_loop_t *loop, const char *address, const struct tcp_options *options,
                         struct stream_handler handler, void *owner, struct stream **stream, struct lapse_error *error)
{
    struct sockaddr_storage socket_address;
    const char *path = unix_path(address);
    if (path == NULL) {
        lapse_result parsed = parse_address(address, &socket_address, error);
        if (!lapse_is_ok(parsed))
            return parsed;
    }
    struct tcp_stream *tcp = stream_new(loop, path != NULL, options);
    stream_set_handler(&tcp->stream, handler, owner);
    int result = 0;
    tcp->connecting = true;
    if (path != NULL)
        uv_pipe_connect(&tcp->connect, &tcp->io.pipe, path, on_connected);
    else
        result = uv_tcp_connect(&tcp->connect, &tcp->io.tcp, (struct sockaddr *)&socket_address, on_connected);
    /* One way to fail for all reasons: on_close. */
    if (result != 0)
        fail(tcp, LAPSE_UNAVAILABLE, "connecting failed", result);
    *stream = &tcp->stream;
    return lapse_ok();
}

/* --- listening ---------------------------------------------------------------------------------------------------- */

static void on_connection(uv_stream_t *server, int status)
{
    struct tcp_listener *listener = server->data;
    if (status != 0)
        return;
    struct tcp_stream *tcp = stream_new(server->loop, server->type != UV_TCP, &listener->options);
    int result = uv_accept(server, &tcp->io.stream);
    if (result != 0) {
        fail(tcp, LAPSE_UNAVAILABLE, "accepting failed", result); /* no handler yet: nobody is told */
    } else if (!listener->accept(listener->arg, &tcp->stream)) {
        tcp->stream.handler = (struct stream_handler){0};
        close_handles(tcp);
    } else {
        wake(tcp);
    }
}

static void on_listener_closed(uv_handle_t *handle)
{
    free(CONTAINER_OF(handle, struct tcp_listener, io));
}

static int bind_and_listen(struct tcp_listener *listener, const char *path, const struct sockaddr_storage *address)
{
    int result = path != NULL ? uv_pipe_bind(&listener->io.pipe, path)
                              : uv_tcp_bind(&listener->io.tcp, (const struct sockaddr *)address, 0);
    return result != 0 ? result : uv_listen(&listener->io.stream, BACKLOG, on_connection);
}

lapse_result tcp_listen(uv_loop_t *loop, const char *address, const struct tcp_options *options, tcp_accept_cb accept,
                        void *arg, struct tcp_listener **listener, struct lapse_error *error)
{
    struct sockaddr_storage socket_address;
    const char *path = unix_path(address);
    if (path == NULL) {
        lapse_result parsed = parse_address(address, &socket_address, error);
        if (!lapse_is_ok(parsed))
            return parsed;
    }
    struct tcp_listener *made = mem_calloc(1, sizeof *made);
    made->accept = accept;
    made->arg = arg;
    if (options != NULL)
        made->options = *options;
    init_socket(loop, &made->io, path != NULL);
    made->io.handle.data = made;
    int result = bind_and_listen(made, path, &socket_address);
    if (result != 0) {
        tcp_listener_close(made);
        return lapse_fail(error, LAPSE_UNAVAILABLE, "can't listen on %s: %s", address, uv_strerror(result));
    }
    *listener = made;
    return lapse_ok();
}

uint16_t tcp_listener_port(const struct tcp_listener *listener)
{
    struct sockaddr_storage address;
    int size = sizeof address;
    if (listener->io.handle.type != UV_TCP ||
        uv_tcp_getsockname(&listener->io.tcp, (struct sockaddr *)&address, &size) != 0)
        return 0;
    return ntohs(((struct sockaddr_in *)&address)->sin_port); /* at the same place in both families */
}

void tcp_listener_close(struct tcp_listener *listener)
{
    if (listener != NULL)
        uv_close(&listener->io.handle, on_listener_closed);
}
