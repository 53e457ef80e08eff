/* What both HTTP/2 fuzzers share: a stream end that sends the input in pieces and ignores what comes back. */
#ifndef LAPSE_TESTS_FUZZ_H2_H
#define LAPSE_TESTS_FUZZ_H2_H

#include <uv.h>

#include "base/check.h"
#include "base/stream_pair.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct feeder {
    struct slice input;
    struct stream *stream; /* NULL once closed */
};

static inline void feeder_on_open(struct stream *stream, const struct stream_peer *peer)
{
    struct feeder *feeder = stream->owner;
    (void)peer;
    if (!lapse_is_ok(stream_write(stream, feeder->input)))
        stream_close(stream, NULL);
}

static inline void feeder_on_close(struct stream *stream, const struct lapse_error *why)
{
    struct feeder *feeder = stream->owner;
    (void)why;
    feeder->stream = NULL;
}

static inline void feeder_begin(struct feeder *feeder, struct stream *stream, struct slice input)
{
    *feeder = (struct feeder){input, stream};
    stream_set_handler(stream, (struct stream_handler){.on_open = feeder_on_open, .on_close = feeder_on_close}, feeder);
}

/* Until the input has been read and answered, then hangs up and lets everything end. Never waits for a timer. */
static inline void feeder_finish(struct feeder *feeder, uv_loop_t *loop)
{
    int turns_at_rest = 0;
    while (feeder->stream != NULL && turns_at_rest < 8) {
        (void)uv_run(loop, UV_RUN_NOWAIT);
        turns_at_rest = feeder->stream != NULL && stream_pending(feeder->stream) > 0 ? 0 : turns_at_rest + 1;
    }
    if (feeder->stream != NULL)
        stream_close(feeder->stream, NULL);
    CHECK(uv_run(loop, UV_RUN_DEFAULT) == 0);
}

#endif
