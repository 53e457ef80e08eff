#include "node/feed.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/wire.h"

/* Events read from the ring at a time. */
#define PUMP_BATCH 64
#define SNAPSHOT_PAGE 256
#define FELL_OFF "the events after your revision are no longer held here"

/* --- sending ------------------------------------------------------------------------------------------------------ */

static void send_blob(struct feed *feed, struct blob *message)
{
    feed_line_spend(&feed->edge->line, message->len);
    feed->writable = grpc_call_send(feed->grpc, message);
}

void feed_send(struct feed *feed, lapse_result encoded, struct buf *bytes)
{
    CHECK(lapse_is_ok(encoded));
    struct blob *message = blob_new(buf_slice(bytes));
    send_blob(feed, message);
    blob_unref(message);
    buf_free(bytes);
}

void feed_mark(struct feed *feed, uint64_t revision,
               lapse_result (*encode)(const struct proto_point *point, struct buf *out))
{
    struct buf bytes;
    const struct proto_point point = {feed->epoch, revision, core_time_ms(feed->edge->core)};
    buf_init(&bytes, LIMIT_MESSAGE_OUT);
    feed_send(feed, encode(&point, &bytes), &bytes);
    feed->sent_ms = clock_boot_ms();
    feed->told = revision > feed->told ? revision : feed->told;
}

static void send_event(struct feed *feed, const struct ring_event *event)
{
    send_blob(feed, event->payload);
    feed->told = event->revision;
}

static void become_ended(struct feed *feed)
{
    if (feed->stage == FEED_ENDED)
        return;
    feed->stage = FEED_ENDED;
    if (feed->handler->ended != NULL)
        feed->handler->ended(feed);
}

void feed_end(struct feed *feed, enum lapse_code code, const char *message)
{
    if (feed->stage == FEED_ENDED)
        return;
    become_ended(feed);
    grpc_call_finish(feed->grpc, code, message);
}

/* --- asking the core ---------------------------------------------------------------------------------------------- */

static void on_answer_mail(struct mail *mail);

static void on_answered(struct core_call *call)
{
    call->mail.run = on_answer_mail;
    mailbox_answer(call->reply_to, &call->mail);
}

static void ask(struct feed *feed, enum core_op op)
{
    struct core_call *call = feed->asked;
    CHECK(!feed->waits);
    call->op = op;
    call->error.code = LAPSE_OK;
    buf_clear(&call->response);
    feed->waits = core_ask(feed->edge->core, call);
    if (feed->waits)
        feed_hold(feed);
    else
        feed_end(feed, LAPSE_RESOURCE_EXHAUSTED,
                 "this node has too much to do: open the stream again, or on another one");
}

void feed_open(struct feed *feed)
{
    ask(feed, feed->opening_op);
}

/* --- the snapshot ------------------------------------------------------------------------------------------------- */

static void stand_at_the_end(struct feed *feed)
{
    uint64_t epoch = 0, oldest = 0;
    ring_bounds(core_ring(feed->edge->core), &epoch, &oldest, &feed->snapshot_revision);
    if (epoch != feed->epoch)
        feed->told = 0; /* another history */
    feed->epoch = epoch;
}

static void ask_slice(struct feed *feed)
{
    ask(feed, feed->scans_locks ? CORE_SCAN_LOCKS : CORE_SCAN);
}

void feed_snapshot(struct feed *feed, const char *reason)
{
    if (reason != NULL) {
        struct buf bytes;
        buf_init(&bytes, LIMIT_MESSAGE_OUT);
        metric_add(feed->handler->resyncs, 1);
        feed_send(feed, proto_encode_watch_resync(feed->epoch, reason, &bytes), &bytes);
    }
    stand_at_the_end(feed);
    feed->stage = FEED_SNAPSHOT;
    feed->asked->cursor = 0;
    feed->asked->page = SNAPSHOT_PAGE;
    feed->asked->after = slice_of(NULL, 0);
    feed->scans_locks = false;
    ask_slice(feed);
}

static void send_slice(struct feed *feed)
{
    struct wire_reader reader = wire_reader(buf_slice(&feed->asked->response));
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        struct blob *message = blob_new(field.bytes);
        send_blob(feed, message);
        blob_unref(message);
    }
    CHECK(!reader.failed);
    /* Most feeds never need it again. */
    buf_free(&feed->asked->response);
}

static void on_slice(struct feed *feed)
{
    send_slice(feed);
    if (feed->asked->more)
        return; /* the pump asks for the next one when the connection is writable */
    if (feed->handler->locks && !feed->scans_locks) {
        feed->scans_locks = true;
        return;
    }
    feed->revision = feed->snapshot_revision;
    feed_mark(feed, feed->revision, proto_encode_watch_snapshot_end);
    feed->stage = FEED_STREAMING;
}

/* --- streaming ---------------------------------------------------------------------------------------------------- */

/* A lock takes all roles that its subject has. */
static bool changes_roles(uint32_t type)
{
    return type == STORE_EVENT_ROLES_CHANGED || type == STORE_EVENT_LOCKED || type == STORE_EVENT_UNLOCKED;
}

/* Sends what is wanted of a batch; stops where the connection is full, or where roles change (who sees what is behind
 * that is asked anew), and leaves the cursor there. */
static void send_batch(struct feed *feed, struct ring_event **events, uint32_t n, uint64_t before)
{
    uint32_t sent = 0;
    feed->revision = before;
    for (uint32_t i = 0; i < n && feed->writable && !feed->recheck; i++) {
        feed->revision = events[i]->revision;
        feed->recheck = feed->recheck || changes_roles(events[i]->type);
        if (!feed->handler->wants(feed, events[i]))
            continue;
        send_event(feed, events[i]);
        sent++;
    }
    if (sent > 0) {
        feed->sent_ms = clock_boot_ms();
        metric_add(METRIC_EVENTS_SENT, sent);
    }
    for (uint32_t k = 0; k < n; k++)
        ring_event_unref(events[k]);
}

static void stream(struct feed *feed)
{
    struct ring *ring = core_ring(feed->edge->core);
    struct ring_event *events[PUMP_BATCH];
    uint32_t n = PUMP_BATCH;
    while (feed->writable && !feed->recheck && n == PUMP_BATCH) {
        uint64_t before = feed->revision;
        if (ring_read(ring, feed->epoch, &feed->revision, events, PUMP_BATCH, &n) == RING_RESYNC) {
            feed_snapshot(feed, FELL_OFF);
            return;
        }
        send_batch(feed, events, n, before);
    }
    if (feed->handler->pumped != NULL)
        feed->handler->pumped(feed);
    if (feed->recheck && feed->stage == FEED_STREAMING)
        ask(feed, feed->opening_op);
}

void feed_pump(struct feed *feed)
{
    if (feed->grpc == NULL || feed->waits || !feed->writable)
        return;
    if (feed->stage == FEED_OPENING && feed->handler->opening != NULL)
        feed->handler->opening(feed);
    else if (feed->stage == FEED_SNAPSHOT)
        ask_slice(feed);
    else if (feed->stage == FEED_STREAMING)
        stream(feed);
}

const char *feed_resume(struct feed *feed)
{
    uint64_t epoch = 0, oldest = 0, newest = 0;
    ring_bounds(core_ring(feed->edge->core), &epoch, &oldest, &newest);
    bool same_epoch = feed->epoch == epoch;
    feed->epoch = epoch;
    if (!same_epoch)
        return "the cluster has another epoch: it was restored or begun anew";
    /* No cursor may be ahead of what a quorum knows of. */
    return feed->revision >= oldest && feed->revision <= feed->asked->revision ? NULL : FELL_OFF;
}

void feed_stream(struct feed *feed)
{
    feed->stage = FEED_STREAMING;
    feed->sent_ms = clock_boot_ms();
}

static void on_answer(struct feed *feed)
{
    const struct lapse_error *error = &feed->asked->error;
    if (feed->stage == FEED_ENDED)
        return;
    if (error->code == LAPSE_OK && feed->handler->judged != NULL)
        feed->handler->judged(feed);
    if (error->code != LAPSE_OK)
        feed_end(feed, error->code, error->message);
    else if (feed->stage == FEED_OPENING)
        feed->handler->opened(feed);
    else if (feed->stage == FEED_SNAPSHOT)
        on_slice(feed);
    else
        feed->recheck = false; /* `asked` has the new roles */
    feed_pump(feed);
}

static void on_answer_mail(struct mail *mail)
{
    struct core_call *call = CONTAINER_OF(mail, struct core_call, mail);
    struct feed *feed = call->owner;
    feed->waits = false;
    on_answer(feed);
    feed_release(feed);
}

/* --- its life ----------------------------------------------------------------------------------------------------- */

lapse_result feed_init(struct feed *feed, struct grpc_call *grpc, enum core_op opening_op,
                       const struct feed_handler *handler, struct lapse_error *error)
{
    struct edge_connection *connection = edge_connection_of(grpc);
    *feed = (struct feed){.handler = handler,
                          .edge = connection->edge,
                          .grpc = grpc,
                          .opening_op = opening_op,
                          .writable = true,
                          .holds = 1};
    feed->asked = core_call_new(opening_op, edge_principal_of(grpc), CALL_TIMEOUT_MS_DEFAULT);
    feed->asked->owner = feed;
    feed->asked->reply_to = &feed->edge->mailbox;
    feed->asked->answered = on_answered;
    feed_line_join(&feed->edge->line, feed);
    lapse_result result = admission_begin(feed->edge->admission, connection->entry, error);
    if (lapse_is_ok(result))
        feed->entry = connection->entry;
    return result;
}

void feed_hold(struct feed *feed)
{
    feed->holds++;
}

void feed_release(struct feed *feed)
{
    CHECK(feed->holds > 0);
    if (--feed->holds > 0)
        return;
    core_call_free(feed->asked);
    feed->handler->free(feed);
}

void feed_writable(struct feed *feed)
{
    feed->writable = true;
    feed_pump(feed);
}

void feed_closed(struct feed *feed)
{
    become_ended(feed);
    if (feed->entry != NULL)
        admission_end(feed->edge->admission, feed->entry);
    feed_line_leave(&feed->edge->line, feed);
    feed->grpc = NULL;
    feed_release(feed);
}

/* --- for the edge --------------------------------------------------------------------------------------------------
 */

static bool is_idle(const struct feed *feed, int64_t now_ms)
{
    return feed->stage == FEED_STREAMING && feed->writable && !feed->waits &&
           now_ms - feed->sent_ms >= feed->progress_ms;
}

static bool has_all(const struct feed *feed, const struct feed_news *news)
{
    return feed->stage == FEED_STREAMING && feed->revision == news->revision && feed->epoch == news->epoch &&
           !feed->recheck;
}

void feed_turn(struct feed *feed, const struct feed_news *news)
{
    if (!has_all(feed, news))
        feed_pump(feed);
    if (is_idle(feed, news->now_ms))
        feed_mark(feed, feed->revision, proto_encode_watch_progress);
    if (feed->stage != FEED_ENDED && feed->handler->tick != NULL)
        feed->handler->tick(feed, news->now_ms);
}

void feed_end_all(struct edge *edge)
{
    struct feed *feed = NULL;
    TAILQ_FOREACH (feed, &edge->line.feeds, in_line)
        feed_end(feed, LAPSE_UNAVAILABLE, feed->handler->farewell);
}
