/* What a guard says on its stream, in the order of urgency: acks, pings, failures, reports of sessions, uses.
 *
 * A node bounds what it takes from one stream (messages a second, pings a second, reports that wait for the log), so
 * all are counted here: acks and pings may use the last tokens, the others leave some to them. A failure goes out
 * behind the ack that the cache denies and before the one that would say more: the failure must win. */
#include "base/check.h"
#include "base/wire.h"
#include "client/guard_internal.h"

#define TOKENS_MAX (LIMIT_GUARD_MESSAGES_PER_SECOND / 10)
#define TOKENS_LEFT_TO_ACKS 100
#define PING_GAP_US 60000 /* a node takes 20 a second */

/* ---- Messages */

enum word { WORD_REGISTRATION = 1, WORD_PING, WORD_ACK, WORD_FAILURE, WORD_BEGAN, WORD_ENDED, WORD_USE, WORD_GOODBYE };

void guard_registration(const struct lapse_guard *guard, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    const struct guard_settings *settings = &guard->settings;
    size_t mark = wire_begin(&writer, WORD_REGISTRATION);
    wire_put_bytes(&writer, 1, slice_str(settings->id));
    wire_put_bytes(&writer, 2, slice_of(guard->instance, sizeof guard->instance));
    for (size_t i = 0; i < settings->n_scope; i++)
        wire_put_bytes(&writer, 3, slice_str(settings->scope[i]));
    wire_put_uint(&writer, 4, settings->lease_ms);
    if (guard->state.complete) {
        wire_put_uint(&writer, 5, guard->state.epoch);
        wire_put_uint(&writer, 6, guard->state.revision);
    }
    wire_put_bytes(&writer, 7, slice_of(guard->head.bytes, guard->head.len));
    wire_end(&writer, mark);
    CHECK(!writer.failed);
}

/* One message under way to the stream. */
struct saying {
    struct buf bytes;
    struct wire_writer writer;
    size_t mark;
};

static void say_begin(struct saying *saying, enum word word)
{
    buf_init(&saying->bytes, LIMIT_MESSAGE_IN);
    saying->writer = wire_writer(&saying->bytes);
    saying->mark = wire_begin(&saying->writer, word);
}

static void say_end(struct lapse_guard *guard, struct saying *saying)
{
    wire_end(&saying->writer, saying->mark);
    CHECK(!saying->writer.failed); /* all members have limits below the message's */
    if (!grpc_request_send(guard->stream.request, buf_slice(&saying->bytes)))
        guard->stream.full = true;
    buf_free(&saying->bytes);
    guard->tokens--;
}

static void refill(struct lapse_guard *guard, int64_t now_us)
{
    int64_t gained = (now_us - guard->tokens_us) * LIMIT_GUARD_MESSAGES_PER_SECOND / 1000000;
    if (gained <= 0)
        return;
    guard->tokens_us = now_us;
    guard->tokens = guard->tokens + gained < TOKENS_MAX ? guard->tokens + gained : TOKENS_MAX;
}

/* For what can wait. */
static bool may_say(const struct lapse_guard *guard)
{
    return guard->tokens > TOKENS_LEFT_TO_ACKS && !guard->stream.full;
}

/* ---- Acks and failures */

static void say_ack(struct lapse_guard *guard, uint64_t received, uint64_t enforced)
{
    struct saying saying;
    say_begin(&saying, WORD_ACK);
    wire_put_uint(&saying.writer, 1, received);
    wire_put_uint(&saying.writer, 2, enforced);
    say_end(guard, &saying);
    guard->stream.received = received;
    guard->stream.enforced = enforced;
}

static void say_failure(struct lapse_guard *guard, const struct session_failure *failure)
{
    struct saying saying;
    say_begin(&saying, WORD_FAILURE);
    wire_put_uint(&saying.writer, 1, failure->revision);
    wire_put_bytes(&saying.writer, 2, slice_str(failure->reason));
    say_end(guard, &saying);
}

static uint64_t below(uint64_t enforced, uint64_t failed)
{
    return enforced < failed ? enforced : failed - 1;
}

/* A failure concerns what was not confirmed before it, and must come before what is confirmed in spite of it. */
static void say_failures(struct lapse_guard *guard, int64_t now_us)
{
    const struct session_failure *failure;
    pthread_mutex_lock(&guard->lock);
    while ((failure = session_failures_next(&guard->sessions)) != NULL) {
        say_ack(guard, guard->state.received, below(guard->state.enforced, failure->revision));
        say_failure(guard, failure);
        session_failures_sent(&guard->sessions, guard->state.next_ping, now_us);
    }
    pthread_mutex_unlock(&guard->lock);
}

static bool acks_due(const struct lapse_guard *guard)
{
    return guard->state.received != guard->stream.received || guard->state.enforced != guard->stream.enforced;
}

static bool can_speak(const struct lapse_guard *guard)
{
    const struct guard_stream *stream = &guard->stream;
    return stream->request != NULL && stream->admitted && !stream->half_closed && stream->fault.code == LAPSE_OK;
}

/* What the cache holds means nothing to a node that is about to send another history. */
static bool can_confirm(const struct lapse_guard *guard)
{
    return guard->stream.settled && guard->state.complete && !guard->state.resyncing;
}

void guard_speak_acks(struct lapse_guard *guard, int64_t now_us)
{
    refill(guard, now_us);
    if (!can_speak(guard) || !can_confirm(guard) || guard->tokens <= 0)
        return;
    say_failures(guard, now_us);
    if (acks_due(guard))
        say_ack(guard, guard->state.received, guard->state.enforced);
}

/* ---- Pings */

/* A tenth early or late, so that points don't ping in step. */
static int64_t ping_pause_us(const struct lapse_guard *guard)
{
    int64_t third = (int64_t)guard->settings.lease_ms * 1000 / 3;
    uint32_t spread = (uint32_t)(guard->state.next_ping * 2654435761u ^ (uint32_t)guard->stream.opened_us);
    return third - third / 10 + spread % (third / 5);
}

static int64_t ping(struct lapse_guard *guard, int64_t now_us)
{
    struct guard_stream *stream = &guard->stream;
    int64_t due_us = stream->ping_due_us;
    if (due_us < stream->pinged_us + PING_GAP_US)
        due_us = stream->pinged_us + PING_GAP_US;
    if (now_us < due_us)
        return due_us;
    struct saying saying;
    say_begin(&saying, WORD_PING);
    int64_t sent_us = guard_now_us(guard);
    wire_put_uint(&saying.writer, 1, guard_state_ping(&guard->state, sent_us));
    say_end(guard, &saying);
    stream->pinged_us = sent_us;
    stream->ping_due_us = sent_us + ping_pause_us(guard);
    return stream->ping_due_us;
}

/* ---- Sessions */

static void say_report(struct lapse_guard *guard, const struct session_report *report)
{
    struct saying saying;
    say_begin(&saying, report->ended ? WORD_ENDED : WORD_BEGAN);
    wire_put_bytes(&saying.writer, 1, slice_of(report->session, sizeof report->session));
    if (!report->ended) {
        wire_put_bytes(&saying.writer, 2, slice_str(report->grant));
        wire_put_bytes(&saying.writer, 3, slice_str(report->description));
    }
    say_end(guard, &saying);
}

/* Until the snapshot is complete it isn't known which sessions are still under a grant. Under the lock. */
static void say_reports(struct lapse_guard *guard)
{
    const struct session_report *report;
    if (!guard->state.complete || guard->state.resyncing)
        return;
    while (may_say(guard) && guard->stream.reports_left > 0 &&
           (report = session_reports_next(&guard->sessions)) != NULL) {
        say_report(guard, report);
        session_reports_sent(&guard->sessions, guard->state.next_ping);
        if (--guard->stream.reports_left == 0)
            guard->stream.ping_due_us = 0; /* its promise lets the others go */
    }
}

/* ---- Uses */

static void say_use(struct lapse_guard *guard, const struct guard_use *use)
{
    char grant[GRANT_ID_TEXT_SIZE];
    struct saying saying;
    grant_id_format(use->grant, grant);
    say_begin(&saying, WORD_USE);
    wire_put_bytes(&saying.writer, 1, slice_str(use->request_id));
    wire_put_bytes(&saying.writer, 2, slice_str(grant));
    wire_put_uint(&saying.writer, 3, use->count);
    say_end(guard, &saying);
}

static void say_uses(struct lapse_guard *guard, int64_t now_us)
{
    for (struct guard_use *use = TAILQ_FIRST(&guard->uses); use != NULL && may_say(guard); use = TAILQ_NEXT(use, entry))
        if (!use->sent && !use->done && use->again_us <= now_us) {
            say_use(guard, use);
            use->sent = use->ever_sent = true;
        }
}

static bool something_waits(const struct lapse_guard *guard)
{
    const struct guard_use *use = TAILQ_FIRST(&guard->uses);
    while (use != NULL && (use->sent || use->done))
        use = TAILQ_NEXT(use, entry);
    return use != NULL || (session_reports_next(&guard->sessions) != NULL && guard->stream.reports_left > 0 &&
                           guard->state.complete && !guard->state.resyncing);
}

/* ---- All of it */

void guard_say_goodbye(struct lapse_guard *guard)
{
    struct saying saying;
    say_begin(&saying, WORD_GOODBYE);
    say_end(guard, &saying);
    grpc_request_half_close(guard->stream.request);
    guard->stream.half_closed = true;
}

int64_t guard_speak(struct lapse_guard *guard, int64_t now_us)
{
    const struct guard_stream *stream = &guard->stream;
    if (!can_speak(guard))
        return INT64_MAX;
    guard_speak_acks(guard, now_us);
    int64_t due_us = ping(guard, now_us);
    pthread_mutex_lock(&guard->lock);
    say_reports(guard);
    say_uses(guard, now_us);
    bool waits = something_waits(guard) && !stream->full;
    pthread_mutex_unlock(&guard->lock);
    if (stream->ping_due_us < due_us)
        due_us = stream->pinged_us + PING_GAP_US;
    if ((waits || (acks_due(guard) && can_confirm(guard))) && now_us + 1000 < due_us)
        due_us = now_us + 1000; /* tokens come back */
    return due_us;
}
