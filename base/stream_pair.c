/* Two stream ends joined in memory.
 *
 *   a: stream_write --> b's inbox --(idle handle, one chunk a turn)--> b's on_data
 *
 * All that happens, happens from one idle handle, which is active only while there is something to do: so uv_run
 * returns when both ends are at rest, and each byte is delivered in a heap block of its exact size, where a sanitizer
 * sees a read past its end. */
#include "base/stream_pair.h"

#include <stdlib.h>

#include "base/check.h"

enum end_state { END_OPENING, END_OPEN, END_CLOSING };

struct end {
    struct stream stream; /* first: a struct stream * is a struct end * */
    struct pair *pair;
    struct end *other; /* NULL once it is gone */
    enum end_state state;
    struct stream_peer peer;
    struct buf inbox;   /* what the other end wrote */
    size_t inbox_start; /* delivered already */
    bool paused;
    bool above_mark; /* owes its owner an on_drain */
    struct lapse_error why;
};

struct pair {
    uv_idle_t idle;
    struct end *ends[2];
    size_t chunk;
};

static void on_idle(uv_idle_t *idle);

static void wake(struct pair *pair)
{
    CHECK(uv_idle_start(&pair->idle, on_idle) == 0);
}

static size_t inbox_len(const struct end *end)
{
    return end->inbox.len - end->inbox_start;
}

static size_t end_pending(const struct stream *stream)
{
    const struct end *end = (const struct end *)stream;
    return end->other == NULL ? 0 : inbox_len(end->other);
}

static lapse_result end_write(struct stream *stream, struct slice bytes)
{
    struct end *end = (struct end *)stream;
    if (end->state != END_OPEN)
        return lapse_failed(LAPSE_FAILED_PRECONDITION);
    /* As with a socket: what is written after the other side left is lost. */
    if (end->other == NULL || end->other->state == END_CLOSING)
        return lapse_ok();
    if (bytes.len > LIMIT_STREAM_SEND - end_pending(stream))
        return lapse_failed(LAPSE_RESOURCE_EXHAUSTED);
    struct end *other = end->other;
    buf_consume(&other->inbox, other->inbox_start);
    other->inbox_start = 0;
    lapse_result result = buf_append(&other->inbox, bytes.data, bytes.len);
    CHECK(lapse_is_ok(result));
    end->above_mark = end->above_mark || end_pending(stream) >= LIMIT_STREAM_LOW_WATER;
    wake(end->pair);
    return lapse_ok();
}

static void end_pause_reading(struct stream *stream, bool paused)
{
    struct end *end = (struct end *)stream;
    end->paused = paused;
    if (!paused)
        wake(end->pair);
}

static void end_close(struct stream *stream, const struct lapse_error *why)
{
    struct end *end = (struct end *)stream;
    if (end->state == END_CLOSING)
        return;
    end->state = END_CLOSING;
    if (why != NULL)
        end->why = *why;
    if (end->why.code != LAPSE_OK && end->other != NULL)
        end->other->inbox_start = end->other->inbox.len;
    wake(end->pair);
}

static const struct stream_ops end_ops = {end_write, end_pending, end_pause_reading, end_close};

static void end_free(struct end *end)
{
    struct pair *pair = end->pair;
    if (end->other != NULL)
        end->other->other = NULL;
    pair->ends[pair->ends[0] == end ? 0 : 1] = NULL;
    buf_free(&end->inbox);
    free(end);
}

static void end_finish(struct end *end)
{
    if (end->stream.handler.on_close != NULL)
        end->stream.handler.on_close(&end->stream, &end->why);
    end_free(end);
}

static void end_open(struct end *end)
{
    end->state = END_OPEN;
    if (end->stream.handler.on_open != NULL)
        end->stream.handler.on_open(&end->stream, &end->peer);
}

static void tell_drained(struct end *end)
{
    if (end == NULL || end->state != END_OPEN || !end->above_mark ||
        end_pending(&end->stream) >= LIMIT_STREAM_LOW_WATER)
        return;
    end->above_mark = false;
    if (end->stream.handler.on_drain != NULL)
        end->stream.handler.on_drain(&end->stream);
}

static void deliver(struct end *end)
{
    size_t len = inbox_len(end);
    if (end->pair->chunk > 0 && len > end->pair->chunk)
        len = end->pair->chunk;
    uint8_t *bytes = mem_alloc(len);
    memcpy(bytes, end->inbox.data + end->inbox_start, len);
    end->inbox_start += len;
    if (end->stream.handler.on_data != NULL)
        end->stream.handler.on_data(&end->stream, slice_of(bytes, len));
    free(bytes);
    tell_drained(end->other);
}

/* Whether nothing more will ever come from the other side. */
static bool at_end_of_file(const struct end *end)
{
    return inbox_len(end) == 0 && !end->paused && end->other == NULL;
}

static void end_step(struct end *end)
{
    if (end->state == END_OPENING) {
        end_open(end);
    } else if (end->state == END_CLOSING) {
        end_finish(end);
    } else if (inbox_len(end) > 0 && !end->paused) {
        deliver(end);
    } else if (at_end_of_file(end)) {
        (void)lapse_fail(&end->why, LAPSE_UNAVAILABLE, "the other side closed the stream");
        end->state = END_CLOSING;
        end_finish(end);
    }
}

static bool has_work(const struct end *end)
{
    return end != NULL && (end->state != END_OPEN || (inbox_len(end) > 0 && !end->paused) || at_end_of_file(end));
}

static void on_idle_closed(uv_handle_t *handle)
{
    free(CONTAINER_OF(handle, struct pair, idle));
}

static void on_idle(uv_idle_t *idle)
{
    struct pair *pair = CONTAINER_OF(idle, struct pair, idle);
    for (size_t i = 0; i < 2; i++)
        if (pair->ends[i] != NULL)
            end_step(pair->ends[i]);
    if (pair->ends[0] == NULL && pair->ends[1] == NULL)
        uv_close((uv_handle_t *)idle, on_idle_closed);
    else if (!has_work(pair->ends[0]) && !has_work(pair->ends[1]))
        CHECK(uv_idle_stop(idle) == 0);
}

static struct end *end_new(struct pair *pair, const struct stream_peer *peer)
{
    struct end *end = mem_calloc(1, sizeof *end);
    end->stream.ops = &end_ops;
    end->pair = pair;
    end->peer = *peer;
    buf_init(&end->inbox, LIMIT_STREAM_SEND);
    return end;
}

void stream_pair(uv_loop_t *loop, const struct stream_peer *peer_a, const struct stream_peer *peer_b, size_t chunk,
                 struct stream **a, struct stream **b)
{
    struct pair *pair = mem_calloc(1, sizeof *pair);
    CHECK(uv_idle_init(loop, &pair->idle) == 0);
    pair->chunk = chunk;
    pair->ends[0] = end_new(pair, peer_b);
    pair->ends[1] = end_new(pair, peer_a);
    pair->ends[0]->other = pair->ends[1];
    pair->ends[1]->other = pair->ends[0];
    wake(pair);
    *a = &pair->ends[0]->stream;
    *b = &pair->ends[1]->stream;
}
