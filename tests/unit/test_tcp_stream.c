/* Plain streams over real sockets of this machine, TCP and unix. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/tcp_stream.h"

static uv_loop_t loop;
static struct tcp_listener *listener;

/* One end. The server's echoes what it reads, and stops reading while its echo waits. */
struct end {
    struct stream *stream;
    bool open, closed, echoes, paused;
    size_t received;
    unsigned drains;
    struct stream_peer peer;
    struct lapse_error why;
};

static struct end server, client;

static void on_open(struct stream *stream, const struct stream_peer *peer)
{
    struct end *end = stream->owner;
    end->open = true;
    end->peer = *peer;
}

static void on_data(struct stream *stream, struct slice bytes)
{
    struct end *end = stream->owner;
    for (size_t i = 0; i < bytes.len; i++)
        cr_assert_eq(bytes.data[i], (uint8_t)((end->received + i) % 251), "bytes come in order");
    end->received += bytes.len;
    if (!end->echoes)
        return;
    cr_assert(lapse_is_ok(stream_write(stream, bytes)));
    end->paused = stream_pending(stream) >= LIMIT_STREAM_LOW_WATER;
    stream_pause_reading(stream, end->paused);
}

static void on_drain(struct stream *stream)
{
    struct end *end = stream->owner;
    end->drains++;
    if (end->paused)
        stream_pause_reading(stream, end->paused = false);
}

static void on_close(struct stream *stream, const struct lapse_error *why)
{
    struct end *end = stream->owner;
    end->closed = true;
    end->stream = NULL;
    end->why = *why;
}

static const struct stream_handler handler = {on_open, on_data, on_drain, on_close};

static bool accept_one(void *arg, struct stream *stream)
{
    server.stream = stream;
    server.echoes = arg != NULL;
    stream_set_handler(stream, handler, &server);
    return true;
}

static bool accept_none(void *arg, struct stream *stream)
{
    (void)arg, (void)stream;
    return false;
}

static const char *listen_on(const char *address, tcp_accept_cb accept, bool echoes)
{
    static char real[128];
    struct lapse_error error = {0};
    CHECK(uv_loop_init(&loop) == 0);
    lapse_result result = tcp_listen(&loop, address, NULL, accept, echoes ? &server : NULL, &listener, &error);
    cr_assert(lapse_is_ok(result), "%s", error.message);
    (void)snprintf(real, sizeof real, "%s", address);
    if (tcp_listener_port(listener) != 0)
        (void)snprintf(strrchr(real, ':'), 8, ":%u", tcp_listener_port(listener));
    return real;
}

static void connect_to(const char *address)
{
    cr_assert(lapse_is_ok(tcp_connect(&loop, address, NULL, handler, &client, &client.stream, NULL)));
    cr_assert_not(client.open || client.closed, "nothing is called back on the caller's stack");
}

static void end_all(void)
{
    tcp_listener_close(listener);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

static size_t send_some(size_t sent, size_t len)
{
    uint8_t bytes[65536];
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)((sent + i) % 251);
    cr_assert(lapse_is_ok(stream_write(client.stream, slice_of(bytes, len))));
    return sent + len;
}

static void echo_megabytes(const char *address)
{
    const size_t total = 20 * 1024 * 1024;
    size_t sent = 0;
    connect_to(listen_on(address, accept_one, true));
    while (!client.open)
        (void)uv_run(&loop, UV_RUN_ONCE);
    while (client.received < total) {
        while (sent < total && stream_pending(client.stream) < 1024 * 1024)
            sent = send_some(sent, 65536);
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    cr_expect_gt(client.drains, 0);
    stream_close(client.stream, NULL);
    while (!server.closed || !client.closed)
        (void)uv_run(&loop, UV_RUN_ONCE);
    cr_expect_eq(client.why.code, LAPSE_OK);
    cr_expect_eq(server.why.code, LAPSE_UNAVAILABLE);
    end_all();
}

Test(tcp_stream, echoes_megabytes_over_ipv4)
{
    echo_megabytes("127.0.0.1:0");
    cr_expect_eq(strncmp(server.peer.address, "127.0.0.1:", 10), 0, "%s", server.peer.address);
    cr_expect_str_eq(server.peer.principal, "");
}

Test(tcp_stream, echoes_megabytes_over_a_unix_socket)
{
    char address[64];
    (void)snprintf(address, sizeof address, "unix:/tmp/lapse-test-%d.sock", (int)getpid());
    echo_megabytes(address);
    cr_expect_str_eq(server.peer.address, "unix");
}

Test(tcp_stream, what_was_written_before_an_orderly_close_arrives)
{
    connect_to(listen_on("127.0.0.1:0", accept_one, false));
    while (!client.open)
        (void)uv_run(&loop, UV_RUN_ONCE);
    size_t sent = 0;
    while (sent < 4 * 1024 * 1024)
        sent = send_some(sent, 65536);
    stream_close(client.stream, NULL);
    cr_expect_eq(stream_write(client.stream, slice_str("x")).code, LAPSE_FAILED_PRECONDITION);
    while (!server.closed || !client.closed)
        (void)uv_run(&loop, UV_RUN_ONCE);
    cr_expect_eq(server.received, sent);
    end_all();
}

Test(tcp_stream, more_than_the_limit_is_not_queued)
{
    connect_to(listen_on("127.0.0.1:0", accept_one, false));
    while (!client.open)
        (void)uv_run(&loop, UV_RUN_ONCE);
    size_t sent = 0;
    while (sent < LIMIT_STREAM_SEND)
        sent = send_some(sent, 65536);
    cr_expect_eq(stream_write(client.stream, slice_str("x")).code, LAPSE_RESOURCE_EXHAUSTED);
    stream_close(client.stream, &(struct lapse_error){LAPSE_ABORTED, "enough"});
    while (!server.closed || !client.closed)
        (void)uv_run(&loop, UV_RUN_ONCE);
    cr_expect_eq(client.why.code, LAPSE_ABORTED);
    end_all();
}

Test(tcp_stream, a_peer_that_does_not_read_is_left)
{
    const struct tcp_options impatient = {.stall_timeout_ms = 50};
    const char *address = listen_on("127.0.0.1:0", accept_one, false);
    cr_assert(lapse_is_ok(tcp_connect(&loop, address, &impatient, handler, &client, &client.stream, NULL)));
    while (!client.open || !server.open)
        (void)uv_run(&loop, UV_RUN_ONCE);
    stream_pause_reading(server.stream, true);
    size_t sent = 0;
    while (sent < LIMIT_STREAM_SEND)
        sent = send_some(sent, 65536);
    while (!client.closed)
        (void)uv_run(&loop, UV_RUN_ONCE);
    cr_expect_eq(client.why.code, LAPSE_DEADLINE_EXCEEDED, "%s", client.why.message);
    stream_close(server.stream, NULL);
    end_all();
}

Test(tcp_stream, nobody_listening_is_unavailable)
{
    char address[64];
    (void)snprintf(address, sizeof address, "%s", listen_on("127.0.0.1:0", accept_one, false));
    tcp_listener_close(listener);
    listener = NULL;
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    connect_to(address);
    while (!client.closed)
        (void)uv_run(&loop, UV_RUN_ONCE);
    cr_expect_eq(client.why.code, LAPSE_UNAVAILABLE);
    end_all();
}

Test(tcp_stream, a_refused_connection_is_closed)
{
    connect_to(listen_on("127.0.0.1:0", accept_none, false));
    while (!client.closed)
        (void)uv_run(&loop, UV_RUN_ONCE);
    cr_expect_eq(client.why.code, LAPSE_UNAVAILABLE);
    end_all();
}

Test(tcp_stream, addresses_are_read_strictly)
{
    static const char *const bad[] = {
        "", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "localhost:1", "::1:80", "[::1:80"};
    CHECK(uv_loop_init(&loop) == 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct lapse_error error = {0};
        lapse_result result = tcp_listen(&loop, bad[i], NULL, accept_none, NULL, &listener, &error);
        cr_expect_eq(result.code, LAPSE_INVALID_ARGUMENT, "'%s'", bad[i]);
    }
    end_all();
}
