/* Enforcement.Subscribe: the life of an enforcement point's stream (docs/decisions/0010-enforcement-leases.md).
 *
 *   registration --CORE_GUARD_OPEN: it may guard this scope, its cursor is no lie--> COMMAND_REGISTER --committed-->
 *   core_point_open --admitted at R, the ring has reached R, its head was looked at (point_heads.c)--> Registered
 *     |
 *     | events behind its cursor, or a snapshot and events
 *     |
 *     | goodbye --> told to the leases --> its end is committed, or LIMIT_POINT_LEAVE_MS --> OK
 *     | the leases say that the instance is over --> PointEnded --> ABORTED
 *     '-- a false word, its role is gone, the node stops --> that status
 *
 * What the point gets is a feed (feed.h) of the grants in its scope that may be used, of what happens to them, and of all
 * locks on subjects and resources: who is locked is so everywhere. The promises come beside it, as pongs. Nothing piles up
 * for a point that doesn't read: events wait in the ring, one pong is kept, and who reports more without reading its
 * answers is cut off. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "node/point_stream.h"
#include "proto/encode_enforcement.h"

#define MARK_MS 1000
#define COMPLAINT_MS 1000

static struct point_stream *stream_of(struct feed *feed)
{
    return CONTAINER_OF(feed, struct point_stream, feed);
}

void point_complain(const struct point_stream *stream, const char *what, const char *message)
{
    static _Atomic(int64_t) next_ms; /* of all edges */
    int64_t now_ms = clock_boot_ms(), due_ms = atomic_load(&next_ms);
    if (now_ms < due_ms || !atomic_compare_exchange_strong(&next_ms, &due_ms, now_ms + COMPLAINT_MS))
        return;
    log_warn(what, LOG_STR("point", stream->id), LOG_STR("principal", stream->feed.asked->principal),
             LOG_STR("error", message));
}

/* --- what the point gets ------------------------------------------------------------------------------------------ */

static bool is_about_use(const struct ring_event *event)
{
    switch (event->type) {
    case STORE_EVENT_USED:
        return event->counts_uses;
    case STORE_EVENT_ACTIVATED:
    case STORE_EVENT_TOKEN_SET:
    case STORE_EVENT_EXPIRED:
    case STORE_EVENT_REVOKED:
    case STORE_EVENT_COMPLETED:
    case STORE_EVENT_EXHAUSTED:
        return true;
    default:
        return false;
    }
}

/* What a point must acknowledge is the last event of a revoking command, which may be the end of a grant below (in any
 * way, and outside of the scope), or the end of a sweep. If it passes the point unsent, a mark tells. */
static void note_mark(struct point_stream *stream, const struct ring_event *event, bool sent)
{
    bool ends = event->state != 0 && grant_state_is_ended(event->state);
    stream->in_revocation = event->type == STORE_EVENT_REVOKED || (stream->in_revocation && ends);
    if (sent)
        stream->owes_mark = false;
    else if (stream->in_revocation || event->type == STORE_EVENT_SWEEP_ENDED)
        stream->owes_mark = true;
}

static bool wants(struct feed *feed, const struct ring_event *event)
{
    struct point_stream *stream = stream_of(feed);
    bool concerns = event->locks || (is_about_use(event) && scope_overlaps(feed->asked->scope, event->resource));
    bool wanted = !stream->left && concerns;
    if (event->type == STORE_EVENT_POINT_ENDED)
        stream->gone = stream->gone || memcmp(&event->instance, &stream->instance, sizeof event->instance) == 0;
    note_mark(stream, event, wanted);
    return wanted;
}

static void on_pumped(struct feed *feed)
{
    struct point_stream *stream = stream_of(feed);
    if (stream->left && stream->gone)
        feed_end(feed, LAPSE_OK, NULL);
    point_send_head(stream, clock_boot_ms());
    if (!stream->owes_mark || !feed->writable || feed->stage != FEED_STREAMING)
        return;
    stream->owes_mark = false;
    feed_mark(feed, feed->revision, proto_encode_watch_progress);
}

/* --- admission ---------------------------------------------------------------------------------------------------- */

static void send_registered(struct point_stream *stream)
{
    struct feed *feed = &stream->feed;
    const struct proto_point point = {feed->epoch, stream->admitted_revision, core_time_ms(feed->edge->core)};
    struct buf bytes;
    buf_init(&bytes, LIMIT_MESSAGE_OUT);
    feed_send(feed, proto_encode_point_registered(&point, stream->lease_ms, feed->edge->config->node_id, &bytes),
              &bytes);
}

static void serve(struct point_stream *stream)
{
    struct feed *feed = &stream->feed;
    uint64_t epoch = feed->epoch;
    bool resumes = epoch != 0 || feed->revision != 0;
    const char *resync = feed_resume(feed);
    /* It was over once, and has registered anew: what it held then was promised to nobody since. */
    if (resync == NULL && feed->revision < stream->registered_revision)
        resync = "your revision is older than your registration";
    /* What it holds it may acknowledge again: another node may not have told the leader. */
    feed->told = epoch == feed->epoch ? feed->revision : 0;
    stream->served = true;
    metric_add(METRIC_POINT_STREAMS, 1);
    metric_add(METRIC_POINT_REGISTRATIONS, 1);
    send_registered(stream);
    if (!resumes)
        feed_snapshot(feed, NULL);
    else if (resync != NULL)
        feed_snapshot(feed, resync);
    else
        feed_stream(feed);
}

/* The core has applied what the point was admitted at, so the ring has it, too; whatever the order of threads. */
static void serve_when_ready(struct feed *feed)
{
    struct point_stream *stream = stream_of(feed);
    uint64_t epoch = 0, oldest = 0, newest = 0;
    ring_bounds(core_ring(feed->edge->core), &epoch, &oldest, &newest);
    if (!stream->admitted || newest < stream->admitted_revision || stream->check_holds)
        return;
    serve(stream);
    feed_pump(feed);
}

void point_serve_when_ready(struct point_stream *stream)
{
    if (stream->feed.grpc != NULL && stream->feed.stage == FEED_OPENING)
        serve_when_ready(&stream->feed);
}

static void on_admitted(void *owner, uint64_t revision, bool again)
{
    struct point_stream *stream = owner;
    (void)again; /* by another leader: the stream goes on */
    if (stream->feed.stage != FEED_OPENING)
        return;
    stream->admitted = true;
    stream->admitted_revision = revision;
    serve_when_ready(&stream->feed);
}

void point_send_pong(struct point_stream *stream)
{
    struct feed *feed = &stream->feed;
    struct buf bytes;
    if (!stream->owes_pong || !feed->writable)
        return;
    stream->owes_pong = false;
    buf_init(&bytes, LIMIT_MESSAGE_OUT);
    feed_send(
        feed,
        proto_encode_point_pong(feed->epoch, stream->pong_sequence, stream->pong_ttl_ms, stream->pong_time_us, &bytes),
        &bytes);
}

static void on_pong(void *owner, uint64_t sequence, uint32_t ttl_ms, int64_t time_us)
{
    struct point_stream *stream = owner;
    if (stream->feed.stage == FEED_ENDED)
        return;
    stream->owes_pong = true;
    stream->pong_sequence = sequence;
    stream->pong_ttl_ms = ttl_ms;
    stream->pong_time_us = time_us;
    point_send_pong(stream);
}

_Static_assert((int)LEASE_END_LAPSED == (int)lapse_v1_PointEnded_Cause_LAPSED &&
                   (int)LEASE_END_FENCED == (int)lapse_v1_PointEnded_Cause_FENCED &&
                   (int)LEASE_END_UNKNOWN == (int)lapse_v1_PointEnded_Cause_UNKNOWN,
               "a cause goes out as it is");

static const struct {
    enum lapse_code code;
    const char *message;
} endings[] = {
    [LEASE_END_LAPSED] = {LAPSE_ABORTED, "this instance was waited out: it had not confirmed a revocation in time; "
                                         "register as a new instance"},
    [LEASE_END_FENCED] = {LAPSE_FAILED_PRECONDITION,
                          "a newer instance has registered under this id: if both are meant to run, give them two ids"},
    [LEASE_END_UNKNOWN] = {LAPSE_ABORTED, "this instance is not registered any more: register as a new instance"},
    [LEASE_END_REPLACED] = {LAPSE_ABORTED, "a newer stream of this instance has taken over"},
};

static void send_ended(struct point_stream *stream, enum lease_end why)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_MESSAGE_OUT);
    feed_send(&stream->feed, proto_encode_point_ended(stream->feed.epoch, (uint32_t)why, endings[why].message, &bytes),
              &bytes);
}

static void end_instance(struct point_stream *stream, enum lease_end why)
{
    CHECK((size_t)why < ARRAY_LEN(endings) && endings[why].message != NULL);
    if (stream->feed.stage == FEED_ENDED)
        return;
    if (stream->left && (why == LEASE_END_LAPSED || why == LEASE_END_UNKNOWN)) {
        feed_end(&stream->feed, LAPSE_OK, NULL);
        return;
    }
    if (why != LEASE_END_REPLACED) /* the instance itself goes on */
        send_ended(stream, why);
    feed_end(&stream->feed, endings[why].code, endings[why].message);
}

static void on_lease_ended(void *owner, enum lease_end why)
{
    end_instance(owner, why);
}

static const struct core_point_handler point_handler = {
    .on_admitted = on_admitted, .on_pong = on_pong, .on_ended = on_lease_ended};

void point_registered(struct point_stream *stream, uint64_t revision)
{
    const struct core_point_tell goodbye = {.word = POINT_GOODBYE};
    struct edge *edge = stream->feed.edge;
    stream->registered_revision = revision;
    point_check_head(stream);
    stream->core = core_point_open(edge->core, &edge->mailbox, stream->instance, &point_handler, stream);
    if (stream->core == NULL)
        feed_end(&stream->feed, LAPSE_RESOURCE_EXHAUSTED, "this node has too much to do: connect to another one");
    else if (stream->left)
        (void)point_say(stream, &goodbye);
}

void point_not_registered(struct point_stream *stream, const struct lapse_error *error)
{
    if (error->code == LAPSE_FAILED_PRECONDITION)
        end_instance(stream, LEASE_END_UNKNOWN); /* it was over before it connected */
    else
        feed_end(&stream->feed, error->code, error->message);
}

/* --- its life ----------------------------------------------------------------------------------------------------- */

/* A cursor ahead of what a quorum knows of, in the same history: either the point lies, or this cluster has lost what
 * it once told. */
static bool has_false_cursor(const struct feed *feed)
{
    return feed->epoch == feed->asked->epoch && feed->revision > feed->asked->revision;
}

static void on_opened(struct feed *feed)
{
    struct point_stream *stream = stream_of(feed);
    struct lapse_error error;
    if (has_false_cursor(feed)) {
        (void)lapse_fail(&error, LAPSE_FAILED_PRECONDITION,
                         "revision %" PRIu64 " does not exist, the cluster stands at %" PRIu64
                         ": drop the cache and register as a new instance; tell an operator, for the cluster may have "
                         "lost history",
                         feed->revision, feed->asked->revision);
        metric_add(METRIC_POINT_FALSE_CURSORS, 1);
        point_complain(stream, "an enforcement point claims a revision that does not exist", error.message);
        feed_end(feed, error.code, error.message);
        return;
    }
    if (feed->asked->superseded) {
        end_instance(stream, LEASE_END_FENCED);
        return;
    }
    struct point_write *registration = stream->registration;
    stream->registration = NULL;
    point_write_begin(stream, registration);
}

static void on_tick(struct feed *feed, int64_t now_ms)
{
    struct point_stream *stream = stream_of(feed);
    point_check_tick(stream, now_ms);
    point_send_head(stream, now_ms);
    if (stream->left && now_ms - stream->left_ms >= LIMIT_POINT_LEAVE_MS)
        feed_end(feed, LAPSE_OK, NULL);
}

/* From here on the node promises nothing to this point, and the leader hears that its stream is gone. */
static void on_ended(struct feed *feed)
{
    struct point_stream *stream = stream_of(feed);
    metric_add(METRIC_POINT_STREAMS, stream->served ? -1 : 0);
    if (stream->core != NULL)
        core_point_close(stream->core);
    stream->core = NULL;
    point_check_abandon(stream);
    point_writes_drop(stream);
}

static void free_stream(struct feed *feed)
{
    struct point_stream *stream = stream_of(feed);
    CHECK(stream->asked.n == 0);
    point_write_free(stream->registration);
    free(stream);
}

static const struct feed_handler feed_handler = {
    .opened = on_opened,
    .opening = serve_when_ready,
    .wants = wants,
    .pumped = on_pumped,
    .tick = on_tick,
    .ended = on_ended,
    .free = free_stream,
    .farewell = "this node is stopping: connect to another one, behind the last revision you saw",
    .locks = true,
    .resyncs = METRIC_POINT_RESYNCS,
};

static void open_stream(struct grpc_call *grpc, struct slice message)
{
    struct lapse_error error;
    struct point_stream *stream = mem_calloc(1, sizeof *stream);
    int64_t now_ms = clock_boot_ms();
    h2_budget_init(&stream->pings, LIMIT_POINT_PINGS_PER_SECOND, LIMIT_POINT_PINGS_PER_SECOND, now_ms);
    h2_budget_init(&stream->messages, LIMIT_POINT_MESSAGES_PER_SECOND, LIMIT_POINT_MESSAGES_PER_SECOND, now_ms);
    point_writes_init(stream);
    lapse_result result = feed_init(&stream->feed, grpc, CORE_GUARD_OPEN, &feed_handler, &error);
    stream->feed.progress_ms = MARK_MS;
    stream->registration = point_write_new(stream, POINT_WRITE_REGISTER);
    grpc_call_set_data(grpc, stream);
    if (lapse_is_ok(result))
        result = point_parse_registration(stream, message, stream->registration, &error);
    if (lapse_is_ok(result))
        feed_open(&stream->feed);
    else
        feed_end(&stream->feed, error.code, error.message);
}

static void on_message(struct grpc_call *grpc, struct slice message)
{
    struct point_stream *stream = grpc_call_data(grpc);
    if (stream == NULL)
        open_stream(grpc, message);
    else
        point_hear(stream, message);
}

/* The point has said all it will: without pings it gets no promise, so there is nothing to go on for, unless it waits
 * for the end of its instance. */
static void on_half_close(struct grpc_call *grpc)
{
    struct point_stream *stream = grpc_call_data(grpc);
    if (stream == NULL)
        grpc_call_finish(grpc, LAPSE_INVALID_ARGUMENT, "the first message must be the point's registration");
    else if (!stream->left)
        feed_end(&stream->feed, LAPSE_OK, NULL);
}

static void on_writable(struct grpc_call *grpc)
{
    struct point_stream *stream = grpc_call_data(grpc);
    stream->feed.writable = true;
    if (stream->feed.stage != FEED_ENDED) {
        point_send_pong(stream);
        point_send_results(stream);
    }
    feed_pump(&stream->feed);
}

static void on_close(struct grpc_call *grpc)
{
    struct point_stream *stream = grpc_call_data(grpc);
    if (stream != NULL)
        feed_closed(&stream->feed);
}

const struct grpc_method *service_enforcement_methods(size_t *n)
{
    static const struct grpc_method methods[] = {{.path = "/lapse.v1.Enforcement/Subscribe",
                                                  .client_streams = true,
                                                  .on_message = on_message,
                                                  .on_half_close = on_half_close,
                                                  .on_writable = on_writable,
                                                  .on_close = on_close}};
    *n = ARRAY_LEN(methods);
    return methods;
}
