/* Seeds for the HTTP/2 fuzzers: what our own client and server really write to each other, taped while they talk over
 * a pair of streams. The server's fuzzer gets the client's half and the client's fuzzer the server's. */
#include <stdio.h>
#include <uv.h>

#include "base/check.h"
#include "base/stream_pair.h"
#include "proto/encode.h"
#include "proto/grpc_client.h"
#include "proto/reflection.h"
#include "tests/e2e/grpc_echo/echo_service.h"
#include "tests/fuzz/make_corpus.h"

#define CALLS_MAX 4
#define CLIENT_PREFACE_BYTES 24 /* RFC 9113, section 3.4 */

/* --- the tape ----------------------------------------------------------------------------------------------------- */

/* A stream whose writes are taped on their way. */
struct tape {
    struct stream *stream;
    const struct stream_ops *ops;
    struct buf bytes;
};
static struct tape of_client, of_server;

static lapse_result taped_write(struct stream *stream, struct slice bytes)
{
    struct tape *tape = stream == of_client.stream ? &of_client : &of_server;
    lapse_result result = buf_append(&tape->bytes, bytes.data, bytes.len);
    CHECK(lapse_is_ok(result));
    return tape->ops->write(stream, bytes);
}

static void tape_begin(struct tape *tape, struct stream *stream, struct stream_ops *taped)
{
    *tape = (struct tape){.stream = stream, .ops = stream->ops};
    buf_init(&tape->bytes, 1u << 20);
    *taped = *stream->ops;
    taped->write = taped_write;
    stream->ops = taped;
}

/* --- a talk ------------------------------------------------------------------------------------------------------- */

struct call {
    const char *path, *message;
    bool more; /* sends `message` three times, then ends its side; else once */
    bool cancel;
};

struct talk {
    const char *name;
    struct call calls[CALLS_MAX];
    bool goaway; /* the server shuts down while calls are open */
};

struct run {
    const struct talk *talk;
    struct grpc_channel *channel;
    struct grpc_connection *connection;
    struct grpc_request *requests[CALLS_MAX];
    bool client_closed, server_closed;
};

static void on_message(struct grpc_request *request, struct slice message)
{
    (void)request, (void)message;
}

static void on_end(struct grpc_request *request, enum lapse_code code, const char *message, bool sent)
{
    struct grpc_request **slot = grpc_request_owner(request);
    (void)code, (void)message, (void)sent;
    *slot = NULL;
}

static void begin_call(struct run *run, size_t i)
{
    static const struct grpc_request_handler handler = {.on_message = on_message, .on_end = on_end};
    const struct call *call = &run->talk->calls[i];
    struct slice message = slice_str(call->message);
    lapse_result result = grpc_channel_call(run->channel, call->path, message, call->more, call->more ? -1 : 5000,
                                            &handler, &run->requests[i], &run->requests[i]);
    CHECK(lapse_is_ok(result));
    if (!call->more)
        return;
    (void)grpc_request_send(run->requests[i], message);
    (void)grpc_request_send(run->requests[i], message);
    grpc_request_half_close(run->requests[i]);
}

static void on_channel_open(struct grpc_channel *channel, const struct stream_peer *peer)
{
    struct run *run = grpc_channel_owner(channel);
    (void)peer;
    for (size_t i = 0; i < CALLS_MAX && run->talk->calls[i].path != NULL; i++)
        begin_call(run, i);
}

static void on_channel_close(struct grpc_channel *channel, const struct lapse_error *why)
{
    struct run *run = grpc_channel_owner(channel);
    (void)why;
    run->client_closed = true;
}

static void on_connection_close(struct grpc_connection *connection, const struct lapse_error *why)
{
    struct run *run = grpc_connection_owner(connection);
    (void)why;
    run->server_closed = true;
}

static void turn(uv_loop_t *loop)
{
    for (int i = 0; i < 50; i++)
        (void)uv_run(loop, UV_RUN_NOWAIT);
}

/* Until nothing moves; then what the talk cancels or ends, and the client hangs up. */
static void let_run(uv_loop_t *loop, struct run *run)
{
    turn(loop);
    for (size_t i = 0; i < CALLS_MAX; i++)
        if (run->talk->calls[i].cancel && run->requests[i] != NULL)
            grpc_request_cancel(run->requests[i]);
    if (run->talk->goaway)
        grpc_connection_shutdown(run->connection, 0);
    turn(loop);
    if (!run->client_closed)
        grpc_channel_close(run->channel);
    CHECK(uv_run(loop, UV_RUN_DEFAULT) == 0);
    CHECK(run->client_closed && run->server_closed);
}

static void hold(const struct talk *talk, const struct grpc_method *methods, size_t n)
{
    static const struct grpc_channel_handler client = {.on_open = on_channel_open, .on_close = on_channel_close};
    static const struct grpc_server_handler server = {.on_close = on_connection_close};
    static const struct grpc_channel_options options = {.authority = "x"};
    static const struct stream_peer nobody;
    struct stream_ops taped_client, taped_server;
    struct stream *a = NULL, *b = NULL;
    struct run run = {.talk = talk};
    uv_loop_t loop;
    CHECK(uv_loop_init(&loop) == 0);
    stream_pair(&loop, &nobody, &nobody, 0, &a, &b);
    tape_begin(&of_client, a, &taped_client);
    tape_begin(&of_server, b, &taped_server);
    run.channel = grpc_channel_new(&loop, a, &options, &client, &run);
    run.connection = grpc_serve(&loop, b, methods, n, NULL, &server, &run);
    let_run(&loop, &run);
    CHECK(uv_loop_close(&loop) == 0);
}

static void tapes_free(void)
{
    buf_free(&of_client.bytes);
    buf_free(&of_server.bytes);
}

/* --- for the server: what a client writes ------------------------------------------------------------------------- */

/* The first byte's meaning in fuzz_h2_server.c. */
enum { RAW, AFTER_PREFACE, INSIDE_A_CALL };
#define SERVER_MODES 3
#define IN_PIECES_OF_7 2

static const struct talk client_talks[] = {
    {"handshake", {{0}}, false},
    {"unary", {{ECHO_UNARY, "hello", false, false}}, false},
    {"unary-error", {{ECHO_UNARY, "!5 gone \xE2\x9C\x93", false, false}}, false},
    {"watch", {{ECHO_COUNT, "300", false, false}}, false},
    {"watch-cancelled", {{ECHO_UNARY, "?", false, true}}, false},
    {"chat", {{ECHO_CHAT, "a piece", true, false}}, false},
    {"reflection", {{"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "\x3A\x01*", true, false}}, false},
    {"unknown-method", {{"/lapse.v1.Grants/Nothing", "x", false, false}}, false},
    {"four-at-once",
     {{ECHO_UNARY, "a", false, false},
      {ECHO_COUNT, "20", false, false},
      {ECHO_CHAT, "b", true, false},
      {ECHO_UNARY, "?", false, true}},
     false},
    {"goaway", {{ECHO_UNARY, "?", false, false}}, true},
};

static void seed_client_talks(void)
{
    struct grpc_method methods[ECHO_METHODS + REFLECTION_METHODS];
    char name[64];
    memcpy(methods, echo_methods, sizeof echo_methods);
    memcpy(methods + ECHO_METHODS, reflection_methods, sizeof reflection_methods);
    for (size_t i = 0; i < ARRAY_LEN(client_talks); i++) {
        hold(&client_talks[i], methods, ARRAY_LEN(methods));
        struct slice bytes = buf_slice(&of_client.bytes);
        seed_write("h2_server", client_talks[i].name, RAW, bytes);
        (void)snprintf(name, sizeof name, "%s-in-pieces", client_talks[i].name);
        bytes = slice_of(bytes.data + CLIENT_PREFACE_BYTES, bytes.len - CLIENT_PREFACE_BYTES);
        seed_write("h2_server", name, IN_PIECES_OF_7 * SERVER_MODES + AFTER_PREFACE, bytes);
        tapes_free();
    }
}

#define FRAME(length, type, flags, stream) "\0\0" length type flags "\0\0\0" stream

/* Frames inside of the call that the fuzzer opened as stream 1; a client that means well sends few of them. */
static void seed_frames(void)
{
    static const struct {
        const char *name;
        struct slice bytes;
    } seeds[] = {
#define SEED(name, frames)                                                                                             \
    {                                                                                                                  \
        name,                                                                                                          \
        {                                                                                                              \
            (const uint8_t *)(frames), sizeof(frames) - 1                                                              \
        }                                                                                                              \
    }
        SEED("data", FRAME("\12", "\0", "\1", "\1") "\0\0\0\0\5hello"),
        SEED("data-in-two", FRAME("\7", "\0", "\0", "\1") "\0\0\0\0\5he" FRAME("\3", "\0", "\1", "\1") "llo"),
        SEED("data-padded", FRAME("\16", "\0", "\11", "\1") "\3\0\0\0\0\5hello\0\0\0"),
        SEED("data-compressed", FRAME("\6", "\0", "\1", "\1") "\1\0\0\0\1x"),
        SEED("data-too-long", FRAME("\5", "\0", "\0", "\1") "\0\377\377\377\377"),
        SEED("reset", FRAME("\4", "\3", "\0", "\1") "\0\0\0\10"),
        SEED("window-update", FRAME("\4", "\10", "\0", "\1") "\0\0\1\0" FRAME("\4", "\10", "\0", "\0") "\0\0\1\0"),
        SEED("ping-twice", FRAME("\10", "\6", "\0", "\0") "12345678" FRAME("\10", "\6", "\0", "\0") "abcdefgh"),
        SEED("settings", FRAME("\14", "\4", "\0", "\0") "\0\4\0\0\0\0\0\3\0\0\0\1" FRAME("\0", "\4", "\1", "\0")),
        SEED("priority", FRAME("\5", "\2", "\0", "\3") "\0\0\0\1\20"),
        SEED("goaway", FRAME("\10", "\7", "\0", "\0") "\0\0\0\1\0\0\0\0"),
        SEED("trailers", FRAME("\6", "\1", "\5", "\1") "\0\1a\1b\0"),
        SEED("headers-continued", FRAME("\1", "\1", "\1", "\3") "\203" FRAME("\2", "\11", "\4", "\3") "\207\204"),
#undef SEED
    };
    char name[64];
    for (size_t i = 0; i < ARRAY_LEN(seeds); i++) {
        (void)snprintf(name, sizeof name, "call-%s", seeds[i].name);
        seed_write("h2_server", name, INSIDE_A_CALL, seeds[i].bytes);
    }
}

/* --- for the client: what a server answers to the three calls of fuzz_h2_client.c --------------------------------- */

#define PLAIN 0
#define PIECES_AND_PAUSE 6 /* of 7 bytes; the reader pauses */

static void send_watch(struct grpc_call *call, lapse_result result, struct buf *bytes)
{
    CHECK(lapse_is_ok(result));
    struct blob *blob = blob_new(buf_slice(bytes));
    (void)grpc_call_send(call, blob);
    blob_unref(blob);
    buf_clear(bytes);
}

static void answer_watch(struct grpc_call *call, struct slice message)
{
    const struct proto_point point = {1, 300, 1767225600000};
    struct grant grant = sample_grant();
    struct buf bytes;
    (void)message;
    buf_init(&bytes, LIMIT_MESSAGE_OUT);
    send_watch(call, proto_encode_watch_created(&point, &bytes), &bytes);
    send_watch(call, proto_encode_watch_grant(1, &grant, &bytes), &bytes);
    send_watch(call, proto_encode_watch_snapshot_end(&point, &bytes), &bytes);
    send_watch(call, proto_encode_watch_progress(&point, &bytes), &bytes);
    buf_free(&bytes);
}

static void answer_reply(struct grpc_call *call, struct slice message)
{
    grpc_call_reply(call, message);
}

static void answer_error(struct grpc_call *call, struct slice message)
{
    (void)message;
    grpc_call_finish(call, LAPSE_FAILED_PRECONDITION, "100% of it is gone\n\xE2\x9C\x93");
}

static void answer_late(struct grpc_call *call, struct slice message)
{
    (void)call, (void)message;
}

static void end_ok(struct grpc_call *call)
{
    grpc_call_finish(call, LAPSE_OK, NULL);
}

static void forget(struct grpc_call *call)
{
    (void)call;
}

static void seed_server_talk(const char *name, struct grpc_method method, bool goaway)
{
    char path[64];
    struct talk talk = {.name = name, .goaway = goaway};
    method.on_close = forget;
    for (size_t i = 0; i < 3; i++)
        talk.calls[i] = (struct call){"/x", "x", i == 1, false};
    hold(&talk, &method, 1);
    seed_write("h2_client", name, PLAIN, buf_slice(&of_server.bytes));
    (void)snprintf(path, sizeof path, "%s-in-pieces", name);
    seed_write("h2_client", path, PIECES_AND_PAUSE, buf_slice(&of_server.bytes));
    tapes_free();
}

void seed_h2(void)
{
    seed_client_talks();
    seed_frames();
    seed_server_talk("unary", (struct grpc_method){.path = "/x", .on_message = answer_reply}, false);
    seed_server_talk("error", (struct grpc_method){.path = "/x", .on_message = answer_error}, false);
    seed_server_talk("watch", (struct grpc_method){.path = "/x", .on_message = answer_watch}, false);
    seed_server_talk("goaway", (struct grpc_method){.path = "/x", .on_message = answer_late}, true);
    seed_server_talk("unknown-method", (struct grpc_method){.path = "/y", .on_message = answer_late}, false);
    seed_server_talk(
        "watch-to-its-end",
        (struct grpc_method){.path = "/x", .client_streams = true, .on_message = answer_watch, .on_half_close = end_ok},
        false);
}
