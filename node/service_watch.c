/* Grants.Watch: the stream of events in a scope (guarantee G7).
 *
 *             WATCH_OPEN answered
 *   OPENING ----------------------> STREAMING <------------------------+
 *      |                               | the cursor fell off the ring    | last slice: snapshot_end
 *      |  snapshot wanted, or the      v                                 |
 *      +--cursor doesn't connect--> SNAPSHOT: slice by slice ------------+
 *
 * A snapshot is taken in slices while the store goes on changing. Its end carries the revision at which it *began*, and
 * the events after that revision follow from the ring: so nothing is missed, each event is sent once, and a snapshot's
 * grant that is already newer than an event says so by its own revision. No message is ever pushed at a connection that
 * isn't writable: the watch waits, and its place in the ring is all that it holds. */
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/wire.h"
#include "node/edge_internal.h"
#include "node/metrics.h"
#include "node/service_parse.h"
#include "proto/codec.h"
#include "proto/convert.h"
#include "proto/encode.h"

#define PROGRESS_MS_DEFAULT 5000
#define PROGRESS_MS_MIN 100
#define PROGRESS_MS_MAX 60000
/* Events read from the ring at a time. */
#define PUMP_BATCH 64
#define SNAPSHOT_PAGE 256

enum watch_stage { WATCH_OPENING, WATCH_SNAPSHOT, WATCH_STREAMING, WATCH_ENDED };

struct watch {
    struct edge *edge;
    struct grpc_call *grpc;  /* NULL once the stream is closed */
    struct core_call *asked; /* the scope; at the core, or resting here between two questions */
    bool waits;              /* `asked` is at the core */
    struct admission_entry *entry;
    enum watch_stage stage;
    bool writable;
    bool wants_snapshot;
    bool recheck; /* roles have changed: look again whether this principal may watch */
    uint64_t epoch, revision;
    uint64_t snapshot_revision;
    uint32_t roles;
    uint32_t progress_ms;
    int64_t sent_ms; /* when the last message went out */
    struct watch *next, *prev;
};

static void pump(struct watch *watch);

/* --- sending ------------------------------------------------------------------------------------------------------ */

static void send_blob(struct watch *watch, struct blob *message)
{
    watch->sent_ms = clock_boot_ms();
    watch->writable = grpc_call_send(watch->grpc, message);
}

/* `encoded` is what an encoder said about `bytes`; these messages are small and always fit. */
static void send_bytes(struct watch *watch, lapse_result encoded, struct buf *bytes)
{
    CHECK(lapse_is_ok(encoded));
    struct blob *message = blob_new(buf_slice(bytes));
    send_blob(watch, message);
    blob_unref(message);
    buf_free(bytes);
}

static void send_point(struct watch *watch, uint64_t revision,
                       lapse_result (*encode)(const struct proto_point *point, struct buf *out))
{
    struct buf bytes;
    const struct proto_point point = {watch->epoch, revision, core_time_ms(watch->edge->core)};
    buf_init(&bytes, LIMIT_MESSAGE_OUT);
    send_bytes(watch, encode(&point, &bytes), &bytes);
}

static void end(struct watch *watch, enum lapse_code code, const char *message)
{
    if (watch->stage == WATCH_ENDED)
        return;
    watch->stage = WATCH_ENDED;
    if (watch->grpc != NULL)
        grpc_call_finish(watch->grpc, code, message);
}

/* --- asking the core ---------------------------------------------------------------------------------------------- */

static void on_answer_mail(struct mail *mail);

static void on_answered(struct core_call *call)
{
    call->mail.run = on_answer_mail;
    mailbox_answer(call->reply_to, &call->mail);
}

static void ask(struct watch *watch, enum core_op op)
{
    struct core_call *call = watch->asked;
    CHECK(!watch->waits);
    call->op = op;
    call->error.code = LAPSE_OK;
    buf_clear(&call->response);
    watch->waits = core_ask(watch->edge->core, call);
    if (!watch->waits)
        end(watch, LAPSE_RESOURCE_EXHAUSTED, "this node has too much to do: watch again, or on another one");
}

/* --- the snapshot ------------------------------------------------------------------------------------------------- */

static void begin_snapshot(struct watch *watch, const char *reason)
{
    uint64_t oldest = 0;
    if (reason != NULL) {
        struct buf bytes;
        buf_init(&bytes, LIMIT_MESSAGE_OUT);
        metric_add(METRIC_RESYNCS, 1);
        send_bytes(watch, proto_encode_watch_resync(watch->epoch, reason, &bytes), &bytes);
    }
    ring_bounds(core_ring(watch->edge->core), &watch->epoch, &oldest, &watch->snapshot_revision);
    watch->stage = WATCH_SNAPSHOT;
    watch->asked->cursor = 0;
    watch->asked->page = SNAPSHOT_PAGE;
    ask(watch, CORE_SCAN);
}

static void send_slice(struct watch *watch)
{
    struct wire_reader reader = wire_reader(buf_slice(&watch->asked->response));
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        struct blob *message = blob_new(field.bytes);
        send_blob(watch, message);
        blob_unref(message);
    }
    CHECK(!reader.failed);
    /* Most watches never need it again. */
    buf_free(&watch->asked->response);
}

static void on_slice(struct watch *watch)
{
    send_slice(watch);
    if (watch->asked->more)
        return; /* pump asks for the next one when the connection is writable */
    watch->revision = watch->snapshot_revision;
    send_point(watch, watch->revision, proto_encode_watch_snapshot_end);
    watch->stage = WATCH_STREAMING;
}

/* --- streaming ---------------------------------------------------------------------------------------------------- */

static bool in_scope(const struct watch *watch, const struct ring_event *event)
{
    const struct store_filter *filter = &watch->asked->filter;
    /* store_filter_matches decides, as it does for snapshots, on the members that a scope may have. */
    const struct grant grant = {.id = event->grant,
                                .parent = event->parent,
                                .state = event->state,
                                .subject = event->subject,
                                .resource = event->resource,
                                .requester = event->requester};
    if (event->state == 0)
        return core_sees_all(watch->roles) && filter->subject.len == 0 && filter->resource.len == 0 &&
               filter->requester.len == 0 && filter->states == 0 && grant_id_is_zero(filter->parent);
    return store_filter_matches(filter, &grant) && core_may_see(watch->roles, watch->asked->principal, &grant);
}

/* Sends what is in scope of a batch; stops where the connection is full, and leaves the cursor there. */
static void send_batch(struct watch *watch, struct ring_event **events, uint32_t n, uint64_t before)
{
    uint32_t i = 0;
    watch->revision = before;
    for (; i < n && watch->writable; i++) {
        watch->revision = events[i]->revision;
        watch->recheck = watch->recheck || events[i]->type == STORE_EVENT_ROLES_CHANGED;
        if (!in_scope(watch, events[i]))
            continue;
        send_blob(watch, events[i]->payload);
        metric_add(METRIC_EVENTS_SENT, 1);
    }
    for (uint32_t k = 0; k < n; k++)
        ring_event_unref(events[k]);
}

static void stream(struct watch *watch)
{
    struct ring *ring = core_ring(watch->edge->core);
    struct ring_event *events[PUMP_BATCH];
    uint32_t n = PUMP_BATCH;
    while (watch->writable && !watch->recheck && n == PUMP_BATCH) {
        uint64_t before = watch->revision;
        if (ring_read(ring, watch->epoch, &watch->revision, events, PUMP_BATCH, &n) == RING_RESYNC) {
            begin_snapshot(watch, "the events after your revision are no longer held here");
            return;
        }
        send_batch(watch, events, n, before);
    }
    if (watch->recheck)
        ask(watch, CORE_WATCH_OPEN);
}

static void pump(struct watch *watch)
{
    if (watch->grpc == NULL || watch->waits || !watch->writable)
        return;
    if (watch->stage == WATCH_SNAPSHOT)
        ask(watch, CORE_SCAN);
    else if (watch->stage == WATCH_STREAMING)
        stream(watch);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static void on_opened(struct watch *watch)
{
    const struct core_call *call = watch->asked;
    uint64_t epoch = 0, oldest = 0, newest = 0;
    bool resumes = watch->epoch != 0 || watch->revision != 0;
    ring_bounds(core_ring(watch->edge->core), &epoch, &oldest, &newest);
    watch->roles = call->roles;
    bool connects = resumes && watch->epoch == epoch && watch->revision >= oldest && watch->revision <= call->revision;
    bool other_epoch = watch->epoch != epoch;
    watch->epoch = epoch;
    if (!resumes)
        watch->revision = call->revision;
    send_point(watch, connects || !resumes ? watch->revision : call->revision, proto_encode_watch_created);
    if (connects || (!resumes && !watch->wants_snapshot))
        watch->stage = WATCH_STREAMING;
    else if (!resumes)
        begin_snapshot(watch, NULL);
    else
        begin_snapshot(watch, other_epoch ? "the cluster has another epoch: it was restored or begun anew"
                                          : "the events after your revision are no longer held here");
}

static void on_rechecked(struct watch *watch)
{
    watch->recheck = false;
    watch->roles = watch->asked->roles;
}

static void on_answer(struct watch *watch)
{
    const struct lapse_error *error = &watch->asked->error;
    watch->waits = false;
    if (watch->grpc == NULL || watch->stage == WATCH_ENDED)
        return;
    if (error->code != LAPSE_OK)
        end(watch, error->code, error->message);
    else if (watch->stage == WATCH_OPENING)
        on_opened(watch);
    else if (watch->stage == WATCH_SNAPSHOT)
        on_slice(watch);
    else
        on_rechecked(watch);
    pump(watch);
}

static void release(struct watch *watch)
{
    if (watch->grpc != NULL || watch->waits)
        return;
    core_call_free(watch->asked);
    free(watch);
}

static void on_answer_mail(struct mail *mail)
{
    struct core_call *call = CONTAINER_OF(mail, struct core_call, mail);
    struct watch *watch = call->owner;
    on_answer(watch);
    release(watch);
}

static lapse_result parse_scope(struct watch *watch, const lapse_v1_WatchRequest *message, struct lapse_error *error)
{
    const lapse_v1_Filter *scope = &message->scope;
    uint32_t progress = message->progress_ms == 0 ? PROGRESS_MS_DEFAULT : message->progress_ms;
    if (scope->approver[0] != '\0' || scope->ticket[0] != '\0' || scope->policy[0] != '\0')
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "scope: a watch can be limited by subject, resource, requester, parent and states");
    if (progress < PROGRESS_MS_MIN || progress > PROGRESS_MS_MAX)
        return lapse_fail(error, LAPSE_OUT_OF_RANGE, "progress_ms %u: from %d to %d", progress, PROGRESS_MS_MIN,
                          PROGRESS_MS_MAX);
    watch->progress_ms = progress;
    watch->epoch = message->epoch;
    watch->revision = message->revision;
    watch->wants_snapshot = message->snapshot;
    return message->has_scope ? parse_filter(watch->asked, scope, error) : lapse_ok();
}

static lapse_result parse_watch(struct watch *watch, struct slice bytes, struct lapse_error *error)
{
    lapse_v1_WatchRequest *message = mem_calloc(1, sizeof *message);
    lapse_result result = proto_decode(lapse_v1_WatchRequest_fields, bytes, message, error);
    if (lapse_is_ok(result))
        result = parse_scope(watch, message, error);
    free(message);
    return result;
}

static void link_watch(struct watch *watch)
{
    struct edge *edge = watch->edge;
    watch->next = edge->watches;
    if (watch->next != NULL)
        watch->next->prev = watch;
    edge->watches = watch;
    metric_add(METRIC_WATCHERS, 1);
}

static void unlink_watch(struct watch *watch)
{
    if (watch->prev != NULL)
        watch->prev->next = watch->next;
    else
        watch->edge->watches = watch->next;
    if (watch->next != NULL)
        watch->next->prev = watch->prev;
    metric_add(METRIC_WATCHERS, -1);
}

static void on_message(struct grpc_call *grpc, struct slice bytes)
{
    struct edge_connection *connection = edge_connection_of(grpc);
    struct lapse_error error;
    struct watch *watch = mem_calloc(1, sizeof *watch);
    watch->edge = connection->edge;
    watch->grpc = grpc;
    watch->writable = true;
    watch->asked = core_call_new(CORE_WATCH_OPEN, edge_principal_of(grpc), CALL_TIMEOUT_MS_DEFAULT);
    watch->asked->owner = watch;
    watch->asked->reply_to = &watch->edge->mailbox;
    watch->asked->answered = on_answered;
    grpc_call_set_data(grpc, watch);
    link_watch(watch);
    lapse_result result = admission_begin(watch->edge->admission, connection->entry, &error);
    if (lapse_is_ok(result)) {
        watch->entry = connection->entry;
        result = parse_watch(watch, bytes, &error);
    }
    if (lapse_is_ok(result))
        ask(watch, CORE_WATCH_OPEN);
    else
        end(watch, error.code, error.message);
}

static void on_writable(struct grpc_call *grpc)
{
    struct watch *watch = grpc_call_data(grpc);
    watch->writable = true;
    pump(watch);
}

static void on_close(struct grpc_call *grpc)
{
    struct watch *watch = grpc_call_data(grpc);
    if (watch->entry != NULL)
        admission_end(watch->edge->admission, watch->entry);
    unlink_watch(watch);
    watch->grpc = NULL;
    release(watch);
}

/* --- for the edge --------------------------------------------------------------------------------------------------
 */

void watch_pump_all(struct edge *edge)
{
    for (struct watch *watch = edge->watches; watch != NULL; watch = watch->next)
        pump(watch);
}

void watch_tick_all(struct edge *edge)
{
    int64_t now_ms = clock_boot_ms();
    for (struct watch *watch = edge->watches; watch != NULL; watch = watch->next)
        if (watch->stage == WATCH_STREAMING && watch->writable && !watch->waits &&
            now_ms - watch->sent_ms >= watch->progress_ms)
            send_point(watch, watch->revision, proto_encode_watch_progress);
}

void watch_end_all(struct edge *edge)
{
    for (struct watch *watch = edge->watches; watch != NULL; watch = watch->next)
        end(watch, LAPSE_UNAVAILABLE,
            "this node is stopping: go on watching on another one, behind the last revision you saw");
}

const struct grpc_method *service_watch_methods(size_t *n)
{
    static const struct grpc_method methods[] = {
        {.path = "/lapse.v1.Grants/Watch", .on_message = on_message, .on_writable = on_writable, .on_close = on_close}};
    *n = ARRAY_LEN(methods);
    return methods;
}
