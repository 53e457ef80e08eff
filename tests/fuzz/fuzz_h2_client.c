/* A client's channel with calls under way against any bytes from its server: each call ends exactly once, and nothing
 * is left behind.
 *
 * Input: a byte that says in which pieces it arrives and whether one reader pauses, then what the server sends. */
#include "fuzz_h2.h"
#include "proto/grpc_client.h"

#define CALLS 3

static unsigned ended;
static bool closed, pausing;

static void on_message(struct grpc_request *request, struct slice message)
{
    volatile uint8_t sum = 0; /* every byte is there */
    for (size_t i = 0; i < message.len; i++)
        sum = (uint8_t)(sum + message.data[i]);
    if (pausing)
        grpc_request_pause(request, true);
}

static void on_end(struct grpc_request *request, enum lapse_code code, const char *message, bool sent)
{
    bool *done = grpc_request_owner(request);
    (void)sent;
    CHECK(!*done && (unsigned)code <= LAPSE_UNAUTHENTICATED && slice_is_text(slice_str(message), true));
    *done = true;
    ended++;
}

static void on_close(struct grpc_channel *channel, const struct lapse_error *why)
{
    (void)channel, (void)why;
    CHECK(ended == CALLS);
    closed = true;
}

static bool done[CALLS];

static void on_open(struct grpc_channel *channel, const struct stream_peer *peer)
{
    static const struct grpc_request_handler handler = {.on_message = on_message, .on_end = on_end};
    (void)peer;
    for (int i = 0; i < CALLS; i++) {
        lapse_result result = grpc_channel_call(channel, "/x", slice_str("x"), i == 1, -1, &handler, &done[i], NULL);
        CHECK(lapse_is_ok(result));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct grpc_channel_handler handler = {.on_open = on_open, .on_close = on_close};
    static const struct grpc_channel_options options = {.authority = "x"};
    static const size_t chunks[] = {0, 1, 7, 100};
    static const struct stream_peer nobody;
    struct stream *a = NULL, *b = NULL;
    struct feeder feeder;
    uv_loop_t loop;
    if (size == 0 || size > LIMIT_STREAM_SEND)
        return 0;
    ended = 0;
    closed = false;
    memset(done, 0, sizeof done);
    pausing = data[0] & 4;
    CHECK(uv_loop_init(&loop) == 0);
    stream_pair(&loop, &nobody, &nobody, chunks[data[0] % 4], &a, &b);
    (void)grpc_channel_new(&loop, a, &options, &handler, NULL);
    feeder_begin(&feeder, b, slice_of(data + 1, size - 1));
    feeder_finish(&feeder, &loop);
    CHECK(closed && ended == CALLS);
    CHECK(uv_loop_close(&loop) == 0);
    return 0;
}
