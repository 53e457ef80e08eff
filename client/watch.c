/* A watch: one stream after another, seen from outside as one.
 *
 *   WAITING --link ready--> OPENING --created--> IN PLACE
 *      ^                       |                    |
 *      +--- pause -------------+--------------------+   stream ended, node fell silent, or broke the rules below
 *
 * What makes the streams one is the *position*: the point (epoch, revision) behind which to go on. It is unknown at
 * first (unless the application resumes) and while a snapshot is being received: a snapshot that breaks off is begun
 * anew.
 *
 *   created        the stream is in place; sets an unknown position when no snapshot was asked for
 *   event          beyond the position and ascending; moves it. At or below the position: seen on an earlier stream,
 * skipped progress       moves the position resync         position unknown, a snapshot begins snapshot_end   sets the
 * position
 *
 * A node that sends anything else, or another epoch without a resync, is left, and the next stream goes on from the
 * position. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "client/client.h"
#include "client/schema.h"

#define PROGRESS_DEFAULT_MS 5000
#define PROGRESS_MIN_MS 100
#define PROGRESS_MAX_MS 60000
#define SILENCES_MAX 3 /* times progress_ms without a message: the node is left */

#define WATCH_PATH "/lapse.v1.Grants/Watch"

struct lapse_watch {
    struct client_task start_task, stop_task;
    TAILQ_ENTRY(lapse_watch) entry; /* in client->watches */
    _Atomic uint32_t refs;          /* one of the client until the timer is closed, one of the handle */
    _Atomic bool ended;
    struct lapse_client *client;
    struct lapse_watch_callbacks callbacks;
    void *arg;

    /* The client's thread. */
    struct lapse_watch_options
        options; /* owned deep copy; epoch, revision and snapshot say what the next stream asks for */
    struct pending pending;
    uv_timer_t silence;
    struct grpc_request *running;
    struct link_connection *connection;
    char endpoint[LINK_ENDPOINT_SIZE];
    bool stopping;
    bool was_in_place;        /* of any stream */
    bool created;             /* of this stream */
    bool in_snapshot;         /* of this stream: snapshot_end has not come */
    bool snapshot_partial;    /* grants of a snapshot were delivered that has not ended */
    uint64_t stream_revision; /* of this stream's latest event */
    int64_t heard_ms;
    struct lapse_error fault; /* why this side leaves the stream; code OK: it doesn't */
};

static void watch_unref(struct lapse_watch *watch)
{
    if (atomic_fetch_sub(&watch->refs, 1) != 1)
        return;
    codec_release(&schema_watch_options, &watch->options);
    free(watch);
}

static void tell_status(struct lapse_watch *watch, bool connected, const char *message)
{
    struct lapse_watch_status status = {connected, watch->endpoint, message};
    if (watch->callbacks.on_status != NULL)
        watch->callbacks.on_status(watch->arg, &status);
}

/* ---- The end */

static void on_timer_closed(uv_handle_t *handle)
{
    watch_unref(handle->data);
}

static void finish(struct lapse_watch *watch, const struct lapse_error *why)
{
    CHECK(watch->running == NULL && !watch->pending.waiting && !atomic_load(&watch->ended));
    atomic_store(&watch->ended, true);
    TAILQ_REMOVE(&watch->client->watches, watch, entry);
    uv_close((uv_handle_t *)&watch->silence, on_timer_closed);
    if (watch->callbacks.on_end != NULL)
        watch->callbacks.on_end(watch->arg, why);
}

static void finish_stopped(struct lapse_watch *watch)
{
    struct lapse_error why;
    (void)lapse_fail(&why, LAPSE_CANCELLED, watch->client->ending ? "the client was freed" : "the watch was stopped");
    finish(watch, &why);
}

/* ---- Messages */

/* Leaves this stream; on_end goes on from there. */
static void leave(struct lapse_watch *watch, const char *why)
{
    if (watch->fault.code != LAPSE_OK)
        return;
    (void)lapse_fail(&watch->fault, LAPSE_INTERNAL, "left %s: %s", watch->endpoint, why);
    grpc_request_cancel(watch->running);
}

static void move_to(struct lapse_watch *watch, uint64_t epoch, uint64_t revision)
{
    watch->options.epoch = epoch;
    watch->options.revision = revision;
    watch->options.snapshot = false;
}

static void tell_progress(struct lapse_watch *watch, uint64_t epoch, const struct watch_mark *mark)
{
    if (watch->callbacks.on_progress != NULL)
        watch->callbacks.on_progress(watch->arg, epoch, mark->revision, mark->time_ms);
}

static void begin_snapshot(struct lapse_watch *watch, const char *reason)
{
    move_to(watch, 0, 0);
    watch->options.snapshot = true;
    watch->in_snapshot = true;
    watch->snapshot_partial = false;
    if (watch->callbacks.on_resync != NULL)
        watch->callbacks.on_resync(watch->arg, reason);
}

static void take_created(struct lapse_watch *watch, const struct watch_message *message)
{
    watch->created = true;
    watch->was_in_place = true;
    watch->pending.attempts = 0;
    link_succeeded(watch->client->link);
    tell_status(watch, true, "");
    if (watch->options.snapshot) {
        if (watch->snapshot_partial)
            begin_snapshot(watch, "the connection was lost during the snapshot");
        watch->in_snapshot = true;
    } else if (watch->options.epoch == 0) {
        move_to(watch, message->epoch, message->created.revision);
        tell_progress(watch, message->epoch, &message->created);
    }
}

static void take_event(struct lapse_watch *watch, const struct watch_message *message)
{
    uint64_t revision = message->event.revision;
    if (watch->in_snapshot || message->epoch != watch->options.epoch) {
        leave(watch, "an event that doesn't connect to what was seen before");
    } else if (revision <= watch->stream_revision) {
        leave(watch, "events out of order");
    } else {
        watch->stream_revision = revision;
        if (revision <= watch->options.revision)
            return; /* a node that lags behind the one before: seen there */
        move_to(watch, message->epoch, revision);
        if (watch->callbacks.on_event != NULL)
            watch->callbacks.on_event(watch->arg, message->epoch, &message->event);
    }
}

static void take_progress(struct lapse_watch *watch, const struct watch_message *message)
{
    if (watch->in_snapshot || message->progress.revision < watch->options.revision)
        return; /* a sign of life, no more */
    if (message->epoch != watch->options.epoch) {
        leave(watch, "another epoch without a resync");
        return;
    }
    move_to(watch, message->epoch, message->progress.revision);
    tell_progress(watch, message->epoch, &message->progress);
}

static void take_snapshot_grant(struct lapse_watch *watch, const struct watch_message *message)
{
    if (!watch->in_snapshot) {
        leave(watch, "a snapshot that nobody asked for");
        return;
    }
    watch->snapshot_partial = true;
    if (watch->callbacks.on_snapshot_grant != NULL)
        watch->callbacks.on_snapshot_grant(watch->arg, &message->snapshot_grant);
}

static void take_snapshot_end(struct lapse_watch *watch, const struct watch_message *message)
{
    const struct watch_mark *end = &message->snapshot_end;
    if (!watch->in_snapshot) {
        leave(watch, "the end of a snapshot that never began");
        return;
    }
    watch->in_snapshot = watch->snapshot_partial = false;
    watch->stream_revision = end->revision;
    move_to(watch, message->epoch, end->revision);
    if (watch->callbacks.on_snapshot_end != NULL)
        watch->callbacks.on_snapshot_end(watch->arg, message->epoch, end->revision, end->time_ms);
}

static void take(struct lapse_watch *watch, const struct watch_message *message)
{
    if (message->has_created)
        take_created(watch, message);
    else if (!watch->created)
        leave(watch, "it didn't say first where the stream begins");
    else if (message->has_event)
        take_event(watch, message);
    else if (message->has_progress)
        take_progress(watch, message);
    else if (message->has_resync)
        begin_snapshot(watch, message->resync.reason);
    else if (message->has_snapshot_grant)
        take_snapshot_grant(watch, message);
    else if (message->has_snapshot_end)
        take_snapshot_end(watch, message);
}

static void on_message(struct grpc_request *request, struct slice bytes)
{
    struct lapse_watch *watch = grpc_request_owner(request);
    struct watch_message message;
    struct lapse_error error;
    watch->heard_ms = clock_boot_ms();
    if (watch->stopping || watch->client->ending || watch->fault.code != LAPSE_OK)
        return;
    if (!lapse_is_ok(codec_decode(&schema_watch_message, bytes, &message, &error))) {
        leave(watch, error.message);
        return;
    }
    take(watch, &message);
    codec_release(&schema_watch_message, &message);
}

/* ---- Streams */

static bool is_final(enum lapse_code code)
{
    switch (code) {
    case LAPSE_PERMISSION_DENIED:
    case LAPSE_INVALID_ARGUMENT:
    case LAPSE_UNAUTHENTICATED:
    case LAPSE_UNIMPLEMENTED:
        return true;
    default:
        return false;
    }
}

static void on_end(struct grpc_request *request, enum lapse_code code, const char *message, bool sent)
{
    struct lapse_watch *watch = grpc_request_owner(request);
    struct lapse_client *client = watch->client;
    struct lapse_error why;

    (void)sent;
    if (watch->fault.code != LAPSE_OK)
        why = watch->fault;
    else
        (void)lapse_fail(&why, code, "%s: %s", watch->endpoint,
                         code == LAPSE_OK ? "the node ended the stream" : message);
    watch->running = NULL;
    uv_timer_stop(&watch->silence);
    link_call_ended(watch->connection, code != LAPSE_UNAVAILABLE && watch->fault.code == LAPSE_OK);
    if (watch->stopping || client->ending) {
        finish_stopped(watch);
    } else if (is_final(why.code)) {
        finish(watch, &why);
    } else {
        client_wait_again(client, &watch->pending);
        tell_status(watch, false, why.message);
    }
    client_look(client);
}

/* A connection can be alive while the node behind it is cut off from the others: only progress says that it is not. */
static void on_silence(uv_timer_t *timer)
{
    struct lapse_watch *watch = timer->data;
    int64_t allowed = (int64_t)watch->options.progress_ms * SILENCES_MAX;
    if (watch->running != NULL && clock_boot_ms() - watch->heard_ms >= allowed)
        leave(watch, "nothing was heard for too long");
}

static const struct grpc_request_handler request_handler = {on_message, on_end, NULL};

static lapse_result open_stream(struct lapse_watch *watch)
{
    struct buf request;
    buf_init(&request, LIMIT_MESSAGE_IN);
    lapse_result result = codec_encode(&schema_watch_options, &watch->options, &request);
    CHECK(lapse_is_ok(result)); /* it was encoded once already, by lapse_watch_start */
    result = link_call(watch->client->link, WATCH_PATH, buf_slice(&request), -1, &request_handler, watch,
                       &watch->running, &watch->connection);
    buf_free(&request);
    return result;
}

static void start(struct pending *pending)
{
    struct lapse_watch *watch = CONTAINER_OF(pending, struct lapse_watch, pending);
    watch->created = watch->in_snapshot = false;
    watch->stream_revision = 0;
    watch->fault.code = LAPSE_OK;
    watch->heard_ms = clock_boot_ms();
    if (!lapse_is_ok(open_stream(watch))) {
        client_wait_again(watch->client, pending);
        return;
    }
    CHECK(
        slice_to_cstr(slice_str(link_connection_endpoint(watch->connection)), watch->endpoint, sizeof watch->endpoint));
    CHECK(uv_timer_start(&watch->silence, on_silence, watch->options.progress_ms, watch->options.progress_ms) == 0);
}

static void on_failure(struct pending *pending, const struct lapse_error *why)
{
    tell_status(CONTAINER_OF(pending, struct lapse_watch, pending), false, why->message);
}

/* A watch that was in place once keeps trying: its certificate may be renewed. */
static void give_up(struct pending *pending, const struct lapse_error *why)
{
    struct lapse_watch *watch = CONTAINER_OF(pending, struct lapse_watch, pending);
    if (watch->client->ending || !watch->was_in_place) {
        finish(watch, why);
        return;
    }
    client_wait_again(watch->client, pending);
    tell_status(watch, false, why->message);
}

static const struct pending_ops pending_ops = {start, give_up, on_failure};

/* ---- Starting and stopping */

static void run_start(struct client_task *task)
{
    struct lapse_watch *watch = CONTAINER_OF(task, struct lapse_watch, start_task);
    struct lapse_client *client = watch->client;
    CHECK(uv_timer_init(&client->loop, &watch->silence) == 0);
    watch->silence.data = watch;
    TAILQ_INSERT_TAIL(&client->watches, watch, entry);
    if (client->ending)
        finish_stopped(watch);
    else
        client_wait(client, &watch->pending);
}

static void run_stop(struct client_task *task)
{
    struct lapse_watch *watch = CONTAINER_OF(task, struct lapse_watch, stop_task);
    if (!atomic_load(&watch->ended)) {
        watch->stopping = true;
        if (watch->running != NULL) {
            grpc_request_cancel(watch->running);
        } else if (watch->pending.waiting) {
            client_wait_end(watch->client, &watch->pending);
            finish_stopped(watch);
        }
    }
    watch_unref(watch);
}

void watch_end_all(struct lapse_client *client)
{
    struct lapse_watch *watch;
    for (watch = TAILQ_FIRST(&client->watches); watch != NULL; watch = TAILQ_NEXT(watch, entry))
        if (watch->running != NULL)
            grpc_request_cancel(watch->running);
}

static lapse_result options_check(const struct lapse_watch_options *options, struct lapse_error *error)
{
    struct buf encoded;
    if (options->progress_ms != 0 && (options->progress_ms < PROGRESS_MIN_MS || options->progress_ms > PROGRESS_MAX_MS))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "progress_ms is not in %d to %d", PROGRESS_MIN_MS,
                          PROGRESS_MAX_MS);
    if (options->epoch == 0 && options->revision != 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a revision to resume from needs its epoch");
    if (options->epoch != 0 && options->snapshot)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "resume from a point or begin with a snapshot, not both");
    buf_init(&encoded, LIMIT_MESSAGE_IN);
    lapse_result result = codec_encode(&schema_watch_options, options, &encoded);
    buf_free(&encoded);
    if (!lapse_is_ok(result))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "the scope is longer than %u bytes, or names a state that is none", LIMIT_MESSAGE_IN);
    return result;
}

lapse_result lapse_watch_start(struct lapse_client *client, const struct lapse_watch_options *options,
                               const struct lapse_watch_callbacks *callbacks, void *arg, struct lapse_watch **out,
                               struct lapse_error *error)
{
    if (atomic_load(&client->ending))
        return lapse_fail(error, LAPSE_CANCELLED, "the client is being freed");
    lapse_result result = options_check(options, error);
    if (!lapse_is_ok(result))
        return result;
    struct lapse_watch *watch = mem_calloc(1, sizeof *watch);
    codec_copy(&schema_watch_options, options, &watch->options);
    if (watch->options.progress_ms == 0)
        watch->options.progress_ms = PROGRESS_DEFAULT_MS;
    watch->client = client;
    watch->callbacks = *callbacks;
    watch->arg = arg;
    watch->start_task.run = run_start;
    watch->stop_task.run = run_stop;
    watch->pending.ops = &pending_ops;
    watch->pending.deadline_ms = INT64_MAX;
    atomic_init(&watch->refs, 2);
    *out = watch;
    (void)client_post(client, &watch->start_task);
    return result;
}

void lapse_watch_stop(struct lapse_watch *watch)
{
    if (watch == NULL)
        return;
    if (atomic_load(&watch->ended) || !client_post(watch->client, &watch->stop_task))
        watch_unref(watch);
}
