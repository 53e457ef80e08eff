/* A server's connection against any bytes: it must end, close every call that its application knew of, and leave
 * nothing behind.
 *
 * Input: a byte that says how it begins (raw; after a preface and SETTINGS; inside of an open call) and in which pieces
 * it arrives, then what the client sends. */
#include <stdatomic.h>

#include "fuzz_h2.h"
#include "proto/grpc_server.h"
#include "proto/reflection.h"
#include "tests/e2e/grpc_echo/echo_service.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
#define FIELD(name, value) "\0" name value
/* HEADERS of stream 1 for ECHO_CHAT: literals, each with its length in octal before it. */
#define OPEN_CALL                                                                                                      \
    "\0\0\156\1\4\0\0\0\1" FIELD("\7:method", "\4POST") FIELD("\12:authority", "\1x") FIELD("\7:scheme", "\5https")    \
        FIELD("\5:path", "\17/test.Echo/Chat") FIELD("\14content-type", "\20application/grpc")                         \
            FIELD("\2te", "\10trailers")

static bool closed;

static void on_close(struct grpc_connection *connection, const struct lapse_error *why)
{
    (void)why;
    CHECK(grpc_connection_calls(connection) == 0);
    closed = true;
}

static void prepend(struct buf *input, unsigned mode)
{
    lapse_result result = lapse_ok();
    if (mode > 0)
        result = buf_append(input, PREFACE, sizeof PREFACE - 1);
    CHECK(lapse_is_ok(result));
    if (mode > 1)
        result = buf_append(input, OPEN_CALL, sizeof OPEN_CALL - 1);
    CHECK(lapse_is_ok(result));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct grpc_server_handler handler = {.on_close = on_close};
    static const size_t chunks[] = {0, 1, 7, 100};
    static const struct stream_peer nobody;
    struct grpc_method methods[ECHO_METHODS + REFLECTION_METHODS];
    struct stream *a = NULL, *b = NULL;
    struct feeder feeder;
    struct buf input;
    uv_loop_t loop;
    if (size == 0)
        return 0;
    memcpy(methods, echo_methods, sizeof echo_methods);
    memcpy(methods + ECHO_METHODS, reflection_methods, sizeof reflection_methods);
    buf_init(&input, LIMIT_STREAM_SEND);
    prepend(&input, data[0] % 3);
    if (lapse_is_ok(buf_append(&input, data + 1, size - 1))) {
        closed = false;
        CHECK(uv_loop_init(&loop) == 0);
        stream_pair(&loop, &nobody, &nobody, chunks[data[0] / 3 % 4], &a, &b);
        feeder_begin(&feeder, a, buf_slice(&input));
        (void)grpc_serve(&loop, b, methods, ARRAY_LEN(methods), NULL, &handler, NULL);
        feeder_finish(&feeder, &loop);
        CHECK(closed && atomic_load(&echo_calls_open) == 0);
        CHECK(uv_loop_close(&loop) == 0);
    }
    buf_free(&input);
    return 0;
}
