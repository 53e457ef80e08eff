/* The guard's stream: one after another, and what they bring.
 *
 *   WAITING --link ready--> REGISTERING --registered--> ADMITTED
 *      ^                        |                           |
 *      +--- pause --------------+---------------------------+   ended, silent, without promises, or against the rules
 *      +--- 5 s ----------------+   what waiting won't mend: FAILED
 *
 * A new stream of the same instance goes on behind what the cache has; the promise of the old one goes on until it runs
 * out. A stream that contradicts what was seen before (an older revision, another epoch) is left, and nothing of it is
 * taken. */
#include <openssl/rand.h>

#include "base/check.h"
#include "client/guard_internal.h"

#define SUBSCRIBE_PATH "/lapse.v1.Enforcement/Subscribe"
#define FAILED_PAUSE_MS 5000
#define PING_AGAIN_US 100000 /* after an answer without a promise */
#define REPORTS_AT_ONCE 256u /* a node holds 1024 that wait for the log; a promise shows that it moves on */

static int64_t lease_us(const struct lapse_guard *guard)
{
    return (int64_t)guard->settings.lease_ms * 1000;
}

void guard_stream_leave(struct lapse_guard *guard, const char *why)
{
    struct guard_stream *stream = &guard->stream;
    if (stream->request == NULL || stream->fault.code != LAPSE_OK)
        return;
    (void)lapse_fail(&stream->fault, LAPSE_INTERNAL, "left %s: %s", link_connection_endpoint(stream->connection), why);
    grpc_request_cancel(stream->request);
}

/* ---- Registration */

static void take_registered(struct lapse_guard *guard)
{
    struct guard_stream *stream = &guard->stream;
    if (stream->admitted)
        return;
    stream->admitted = true;
    stream->promised_us = guard_now_us(guard);
    stream->reports_left = REPORTS_AT_ONCE;
    guard->pending.attempts = 0;
    guard->failed = false;
    guard_state_connected(&guard->state);
    link_succeeded(guard->client->link);
    guard_set_message(guard, "");
    pthread_mutex_lock(&guard->lock);
    guard->registrations += !guard->state.complete;
    session_reports_again(&guard->sessions);
    guard_uses_new_stream(guard);
    pthread_mutex_unlock(&guard->lock);
}

/* ---- Grants */

struct ending {
    struct lapse_guard *guard;
    const struct lapse_grant *grant; /* that ended, perhaps with others below it */
    struct grant_id id;
    uint64_t revision;
    int64_t now_us;
};

static void on_ended(void *arg, struct grant_id id)
{
    const struct ending *ending = arg;
    bool itself = grant_id_compare(id, ending->id) == 0;
    const char *reason = itself ? lapse_grant_state_name(ending->grant->state) : "REVOKED";
    guard_sessions_end_grant(&ending->guard->sessions, id, reason, ending->revision, ending->now_us);
    guard_uses_ended(ending->guard, id, itself && ending->grant->state == LAPSE_STATE_EXHAUSTED);
}

/* Sessions are looked for also when the cache doesn't know the grant: it may have gone with its parent. */
static bool take_grant(struct lapse_guard *guard, const struct lapse_grant *grant, uint64_t revision)
{
    struct ending ending = {guard, grant, {{0}}, revision, guard_now_us(guard)};
    if (!lapse_is_ok(grant_id_parse(slice_str(grant->id), &ending.id)))
        return false;
    pthread_mutex_lock(&guard->lock);
    bool taken = guard_cache_put(guard->cache, grant, on_ended, &ending);
    if (taken && grant->state != LAPSE_STATE_ACTIVE)
        on_ended(&ending, ending.id);
    pthread_mutex_unlock(&guard->lock);
    return taken;
}

/* Its revision must not count as received: everything is denied until a snapshot has come. */
static void refuse_event(struct lapse_guard *guard, const char *why)
{
    guard_begin_anew(guard, false);
    guard_stream_leave(guard, why);
}

static void take_grant_event(struct lapse_guard *guard, const struct lapse_event *event)
{
    if (!take_grant(guard, &event->grant, event->revision))
        refuse_event(guard, "an event with a grant that can't be");
    else if (guard->callbacks.on_grant != NULL)
        guard->callbacks.on_grant(guard->arg, &event->grant);
}

static void take_lock_event(struct lapse_guard *guard, const struct lapse_event *event)
{
    if (event->type == LAPSE_EVENT_UNLOCKED) {
        guard_locks_lift(guard->locks, event->lock.name, event->revision);
    } else if (!guard_locks_put(guard->locks, &event->lock)) {
        refuse_event(guard, "an event with a lock that can't be");
        return;
    }
    guard_publish_locks(guard, event->revision);
}

static void take_event(struct lapse_guard *guard, const struct guard_message *message)
{
    const struct lapse_event *event = &message->event;
    if (!guard_state_event(&guard->state, message->epoch, event->revision))
        guard_stream_leave(guard, "an event that doesn't connect to what was seen before");
    else if (event->type == LAPSE_EVENT_LOCKED || event->type == LAPSE_EVENT_UNLOCKED)
        take_lock_event(guard, event);
    else if (*event->grant.id != '\0')
        take_grant_event(guard, event);
}

/* ---- Snapshots */

static void drop_staging(struct lapse_guard *guard)
{
    guard_cache_free(guard->staging);
    guard_locks_free(guard->staging_locks);
    guard->staging = NULL;
    guard->staging_locks = NULL;
}

/* False: nobody asked for a snapshot. */
static bool begin_staging(struct lapse_guard *guard)
{
    if (guard->state.complete && !guard->state.resyncing) {
        guard_stream_leave(guard, "a snapshot that nobody asked for");
        return false;
    }
    if (guard->staging == NULL) {
        guard->staging = guard_cache_new(guard->reaper, guard->settings.grants_max);
        guard->staging_locks = guard_locks_new();
    }
    return true;
}

static void take_resync(struct lapse_guard *guard, const char *reason)
{
    drop_staging(guard);
    guard_state_resync(&guard->state);
    guard_set_message(guard, reason);
    pthread_mutex_lock(&guard->lock);
    guard->resyncs++;
    pthread_mutex_unlock(&guard->lock);
}

static void take_snapshot_grant(struct lapse_guard *guard, const struct lapse_grant *grant)
{
    if (begin_staging(guard) && !guard_cache_put(guard->staging, grant, NULL, NULL))
        guard_stream_leave(guard, "a snapshot with a grant that can't be");
}

static void take_snapshot_lock(struct lapse_guard *guard, const struct lapse_lock *lock)
{
    if (begin_staging(guard) && !guard_locks_put(guard->staging_locks, lock))
        guard_stream_leave(guard, "a snapshot with a lock that can't be");
}

static void take_snapshot_end(struct lapse_guard *guard, const struct guard_message *message)
{
    uint64_t before = guard->state.revision;
    if (!begin_staging(guard))
        return;
    if (!guard_state_snapshot_end(&guard->state, message->epoch, message->snapshot_end.revision)) {
        guard_stream_leave(guard, "a snapshot that is older than what was seen before");
        return;
    }
    guard_swap_cache(guard, before + 1);
    guard_set_message(guard, "");
    guard->stream.promised_us = guard_now_us(guard);
}

/* A mark within a snapshot is a sign of life, no more. */
static void take_progress(struct lapse_guard *guard, const struct guard_message *message)
{
    if (!guard->state.complete || guard->state.resyncing)
        return;
    if (!guard_state_progress(&guard->state, message->epoch, message->progress.revision))
        guard_stream_leave(guard, "a mark below what was seen before, or of another epoch");
}

/* ---- Promises, and their end */

static void take_pong(struct lapse_guard *guard, const struct guard_pong *pong)
{
    struct guard_stream *stream = &guard->stream;
    guard_state_pong(&guard->state, pong->sequence, pong->ttl_ms, pong->time_us);
    if (guard->state.time_us != 0) {
        guard->clock.time_us = guard->state.time_us;
        guard->clock.at_us = guard->state.time_at_us;
    }
    if (pong->ttl_ms > 0) {
        if (stream->promised_us < guard->state.heard_us)
            stream->promised_us = guard->state.heard_us;
        stream->reports_left = REPORTS_AT_ONCE;
    } else if (stream->ping_due_us > guard_now_us(guard) + PING_AGAIN_US) {
        stream->ping_due_us = guard_now_us(guard) + PING_AGAIN_US;
    }
    pthread_mutex_lock(&guard->lock);
    session_reports_confirm(&guard->sessions, pong->sequence, guard_now_us(guard));
    pthread_mutex_unlock(&guard->lock);
}

static void take_ended(struct lapse_guard *guard, const struct guard_ended *ended)
{
    bool fenced = ended->cause == GUARD_END_FENCED;
    guard_begin_anew(guard, fenced);
    guard_stream_leave(guard, *ended->reason != '\0' ? ended->reason : "the cluster has ended this instance");
    if (fenced)
        guard_set_message(guard, "another process has registered under this id: give each its own, and restart");
}

/* ---- Heads of the audit log */

bool guard_head_read(struct slice bytes, struct guard_head *head)
{
    struct guard_head_numbers numbers;
    if (bytes.len == 0 || bytes.len > sizeof head->bytes ||
        !lapse_is_ok(codec_decode(&schema_guard_head, bytes, &numbers, NULL)) || numbers.revision == 0)
        return false;
    *head = (struct guard_head){.epoch = numbers.epoch, .revision = numbers.revision, .len = bytes.len};
    memcpy(head->bytes, bytes.data, bytes.len);
    return true;
}

static bool is_newer(const struct guard_head *head, const struct guard_head *than)
{
    return head->epoch != than->epoch ? head->epoch > than->epoch : head->revision > than->revision;
}

static void take_head(struct lapse_guard *guard, struct lapse_bytes bytes)
{
    struct guard_head head;
    if (!guard_head_read(slice_of(bytes.data, bytes.len), &head)) {
        guard_stream_leave(guard, "a head of the audit log that is none");
    } else if (is_newer(&head, &guard->head)) {
        guard->head = head;
        if (guard->callbacks.on_head != NULL)
            guard->callbacks.on_head(guard->arg, bytes);
    }
}

/* The cluster has lost or changed what it once signed: what it says now is worth nothing until somebody has looked. */
static void take_data_loss(struct lapse_guard *guard)
{
    guard->forgotten = guard->failed = true;
    guard_begin_anew(guard, false);
}

/* ---- Messages */

static void take_admitted(struct lapse_guard *guard, const struct guard_message *message)
{
    guard->stream.settled = true;
    if (message->has_event)
        take_event(guard, message);
    else if (message->has_progress)
        take_progress(guard, message);
    else if (message->has_resync)
        take_resync(guard, message->resync.reason);
    else if (message->has_snapshot_grant)
        take_snapshot_grant(guard, &message->snapshot_grant);
    else if (message->has_snapshot_lock)
        take_snapshot_lock(guard, &message->snapshot_lock);
    else if (message->has_snapshot_end)
        take_snapshot_end(guard, message);
    else if (message->head.len > 0)
        take_head(guard, message->head);
    else if (message->has_pong)
        take_pong(guard, &message->pong);
    else if (message->has_use_result)
        guard_uses_result(guard, &message->use_result);
}

static void take(struct lapse_guard *guard, const struct guard_message *message)
{
    if (message->has_ended)
        take_ended(guard, &message->ended);
    else if (message->has_registered)
        take_registered(guard);
    else if (guard->stream.admitted)
        take_admitted(guard, message);
    else
        guard_stream_leave(guard, "it spoke before it had registered this point");
}

static void on_message(struct grpc_request *request, struct slice bytes)
{
    struct lapse_guard *guard = grpc_request_owner(request);
    struct guard_message message;
    struct lapse_error error;
    if (guard->closing || guard->stream.fault.code != LAPSE_OK)
        return;
    guard->stream.heard_us = guard_now_us(guard);
    if (lapse_is_ok(codec_decode(&schema_guard_message, bytes, &message, &error))) {
        take(guard, &message);
        codec_release(&schema_guard_message, &message);
    } else {
        guard_stream_leave(guard, error.message);
    }
    guard->changed_view = true;
    guard_look_soon(guard);
}

static void on_writable(struct grpc_request *request)
{
    struct lapse_guard *guard = grpc_request_owner(request);
    guard->stream.full = false;
    guard_look_soon(guard);
}

/* ---- Beginning and end of a stream */

static bool is_final(enum lapse_code code)
{
    return code == LAPSE_PERMISSION_DENIED || code == LAPSE_INVALID_ARGUMENT || code == LAPSE_UNAUTHENTICATED ||
           code == LAPSE_UNIMPLEMENTED;
}

static void wait_long(struct lapse_guard *guard)
{
    uint8_t random;
    CHECK(RAND_bytes(&random, 1) == 1);
    guard->failed = true;
    guard->pending.not_before_ms = clock_boot_ms() + FAILED_PAUSE_MS + random * 4;
    client_wait(guard->client, &guard->pending);
}

/* What was refused while it registered: the way in is closed, or this instance's history is not the cluster's. */
static void try_again(struct lapse_guard *guard, bool was_admitted, enum lapse_code code)
{
    if (code == LAPSE_DATA_LOSS)
        take_data_loss(guard);
    if (guard->state.fenced || guard->forgotten)
        return;
    if (!was_admitted && code == LAPSE_FAILED_PRECONDITION)
        guard_begin_anew(guard, false);
    if (!was_admitted && is_final(code))
        wait_long(guard);
    else
        client_wait_again(guard->client, &guard->pending);
}

static void say_why(struct lapse_guard *guard, enum lapse_code code, const char *message)
{
    const struct guard_stream *stream = &guard->stream;
    struct lapse_error why;
    if (guard->state.fenced)
        return; /* said already */
    if (stream->fault.code != LAPSE_OK)
        (void)lapse_fail(&why, stream->fault.code, "%s", stream->fault.message);
    else
        (void)lapse_fail(&why, code, "%s: %s", link_connection_endpoint(stream->connection),
                         *message == '\0' ? "the node ended the stream" : message);
    guard_set_message(guard, why.message);
}

static void on_end(struct grpc_request *request, enum lapse_code code, const char *message, bool sent)
{
    struct lapse_guard *guard = grpc_request_owner(request);
    struct link_connection *connection = guard->stream.connection;
    bool left = guard->stream.fault.code != LAPSE_OK, was_admitted = guard->stream.admitted;
    (void)sent;
    say_why(guard, code, message);
    guard->stream = (struct guard_stream){0};
    drop_staging(guard);
    guard_state_disconnected(&guard->state);
    pthread_mutex_lock(&guard->lock);
    guard->reconnects += was_admitted;
    pthread_mutex_unlock(&guard->lock);
    link_call_ended(connection, code != LAPSE_UNAVAILABLE && !left);
    if (guard->closing)
        guard_finish(guard);
    else
        try_again(guard, was_admitted, left ? LAPSE_INTERNAL : code);
    guard->changed_view = true;
    if (!guard->closing)
        guard_look_soon(guard);
    client_look(guard->client);
}

static const struct grpc_request_handler request_handler = {on_message, on_end, on_writable};

static void start(struct pending *pending)
{
    struct lapse_guard *guard = CONTAINER_OF(pending, struct lapse_guard, pending);
    struct guard_stream *stream = &guard->stream;
    struct buf registration;
    buf_init(&registration, LIMIT_MESSAGE_IN);
    guard_registration(guard, &registration);
    *stream = (struct guard_stream){0};
    lapse_result result = link_stream(guard->client->link, SUBSCRIBE_PATH, buf_slice(&registration), &request_handler,
                                      guard, &stream->request, &stream->connection);
    buf_free(&registration);
    if (!lapse_is_ok(result)) {
        client_wait_again(guard->client, pending);
        return;
    }
    stream->opened_us = stream->heard_us = guard_now_us(guard);
    pthread_mutex_lock(&guard->lock);
    CHECK(slice_to_cstr(slice_str(link_connection_endpoint(stream->connection)), guard->endpoint,
                        sizeof guard->endpoint));
    pthread_mutex_unlock(&guard->lock);
    guard_look_soon(guard);
}

static void on_failure(struct pending *pending, const struct lapse_error *why)
{
    guard_set_message(CONTAINER_OF(pending, struct lapse_guard, pending), why->message);
}

/* No endpoint takes this certificate. It may be renewed. */
static void give_up(struct pending *pending, const struct lapse_error *why)
{
    struct lapse_guard *guard = CONTAINER_OF(pending, struct lapse_guard, pending);
    guard_set_message(guard, why->message);
    guard->changed_view = true;
    wait_long(guard);
    guard_look_soon(guard);
}

const struct pending_ops guard_pending_ops = {start, give_up, on_failure};

/* ---- Doubt */

/* A node can be alive and yet be of no use: cut off from the others, it makes no promises. A third of the lease is left
 * then to find a better one. */
static int64_t doubt_at(const struct lapse_guard *guard, const char **why)
{
    const struct guard_stream *stream = &guard->stream;
    if (!stream->admitted) {
        *why = "it did not register this point in time";
        return stream->opened_us + lease_us(guard);
    }
    if (!guard->state.complete || guard->state.resyncing) {
        *why = "its snapshot has stopped";
        return stream->heard_us + lease_us(guard);
    }
    *why = "it makes no promises";
    return stream->promised_us + lease_us(guard) * 2 / 3;
}

int64_t guard_stream_doubt(struct lapse_guard *guard, int64_t now_us)
{
    const char *why;
    if (guard->stream.request == NULL || guard->stream.fault.code != LAPSE_OK)
        return INT64_MAX;
    int64_t at_us = doubt_at(guard, &why);
    if (now_us < at_us)
        return at_us;
    guard_stream_leave(guard, why);
    return INT64_MAX;
}
