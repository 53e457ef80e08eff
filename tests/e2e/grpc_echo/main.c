/* A gRPC server on loopback without TLS, for checking our gRPC against a foreign client (test_echo.py): echo, health
 * and reflection. Prints its port, serves until its standard input ends. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/tcp_stream.h"
#include "echo_service.h"
#include "proto/health.h"
#include "proto/reflection.h"

static struct grpc_method methods[ECHO_METHODS + HEALTH_METHODS + REFLECTION_METHODS];
static uv_loop_t loop;
static struct tcp_listener *listener;
static struct health *health;
static uv_pipe_t input;

static void on_close(struct grpc_connection *connection, const struct lapse_error *why)
{
    (void)connection;
    if (why->code != LAPSE_OK)
        fprintf(stderr, "connection closed: %s\n", why->message);
}

static bool on_accept(void *arg, struct stream *stream)
{
    static const struct grpc_server_handler handler = {.on_close = on_close};
    (void)arg;
    (void)grpc_serve(&loop, stream, methods, ARRAY_LEN(methods), NULL, &handler, NULL);
    return true;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *bytes)
{
    static char sink[64];
    (void)handle, (void)suggested;
    *bytes = uv_buf_init(sink, sizeof sink);
}

/* The test toggles our health with a line, and ends us with the end of its pipe. */
static void on_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
    (void)bytes;
    if (n > 0) {
        health_set(!health_is_serving());
    } else if (n < 0) {
        uv_close((uv_handle_t *)stream, NULL);
        tcp_listener_close(listener);
        uv_stop(&loop);
    }
}

int main(void)
{
    struct lapse_error error = {0};
    CHECK(uv_loop_init(&loop) == 0);
    health = health_new(&loop);
    memcpy(methods, echo_methods, sizeof echo_methods);
    health_methods(health, methods + ECHO_METHODS);
    memcpy(methods + ECHO_METHODS + HEALTH_METHODS, reflection_methods, sizeof reflection_methods);
    if (!lapse_is_ok(tcp_listen(&loop, "127.0.0.1:0", NULL, on_accept, NULL, &listener, &error))) {
        fprintf(stderr, "%s\n", error.message);
        return EXIT_FAILURE;
    }
    CHECK(uv_pipe_init(&loop, &input, 0) == 0 && uv_pipe_open(&input, 0) == 0);
    CHECK(uv_read_start((uv_stream_t *)&input, on_alloc, on_input) == 0);
    health_set(true);
    printf("%u\n", tcp_listener_port(listener));
    fflush(stdout);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    return EXIT_SUCCESS;
}
