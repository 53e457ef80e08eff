/* What a point reports and the store decides: sessions and uses, and its registration.
 *
 *   point_write_begin --> waiting --its turn--> asked (at the core) --answer--> results (uses) --writable--> gone
 *                            |                                     '-> log (refused sessions), point_registered
 *                            '--too many: the stream ends
 *
 * Turns are taken in order, but several writes are under way at once; the two about one session never, so that its end
 * can't overtake its beginning when a leader changes in between. */
#include <stdlib.h>

#include "base/check.h"
#include "node/point_stream.h"
#include "proto/encode_enforcement.h"

static void push(struct point_write_list *list, struct point_write *write)
{
    write->next = NULL;
    *list->tail = write;
    list->tail = &write->next;
    list->n++;
}

static void take_out(struct point_write_list *list, struct point_write *write)
{
    struct point_write **link = &list->head;
    while (*link != write) {
        CHECK(*link != NULL);
        link = &(*link)->next;
    }
    *link = write->next;
    if (write->next == NULL)
        list->tail = link;
    list->n--;
}

static void drop_all(struct point_write_list *list)
{
    while (list->head != NULL) {
        struct point_write *write = list->head;
        take_out(list, write);
        point_write_free(write);
    }
}

void point_writes_init(struct point_stream *stream)
{
    stream->asked.tail = &stream->asked.head;
    stream->waiting.tail = &stream->waiting.head;
    stream->results.tail = &stream->results.head;
}

struct point_write *point_write_new(struct point_stream *stream, enum point_write_kind kind)
{
    struct point_write *write = mem_calloc(1, sizeof *write);
    write->stream = stream;
    write->kind = kind;
    buf_init(&write->command, LIMIT_COMMAND_BYTES);
    return write;
}

void point_write_free(struct point_write *write)
{
    if (write == NULL)
        return;
    buf_free(&write->command);
    free(write);
}

/* --- what became of it -------------------------------------------------------------------------------------------- */

static void send_result(struct point_stream *stream, const struct point_write *write)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_MESSAGE_OUT);
    bool spent = write->outcome.code == LAPSE_OK;
    feed_send(&stream->feed,
              proto_encode_point_use_result(stream->feed.epoch, write->request_id, (uint32_t)write->outcome.code,
                                            spent ? "" : write->outcome.message, &bytes),
              &bytes);
}

void point_send_results(struct point_stream *stream)
{
    while (stream->results.head != NULL && stream->feed.writable) {
        struct point_write *write = stream->results.head;
        take_out(&stream->results, write);
        send_result(stream, write);
        point_write_free(write);
    }
}

static void conclude_registration(struct point_stream *stream, const struct lapse_error *outcome, uint64_t revision)
{
    if (outcome->code == LAPSE_OK)
        point_registered(stream, revision);
    else
        point_not_registered(stream, outcome);
}

static void conclude_session(const struct point_stream *stream, const struct lapse_error *outcome)
{
    if (outcome->code == LAPSE_OK)
        return;
    metric_add(METRIC_POINT_REPORTS_REFUSED, 1);
    point_complain(stream, "a session was not recorded", outcome->message);
}

/* Frees `write`, or keeps it for the point to hear of. */
static void conclude(struct point_stream *stream, struct point_write *write, const struct lapse_error *outcome,
                     uint64_t revision)
{
    if (write->kind == POINT_WRITE_USE) {
        write->outcome = *outcome;
        push(&stream->results, write);
        point_send_results(stream);
        return;
    }
    if (write->kind == POINT_WRITE_REGISTER)
        conclude_registration(stream, outcome, revision);
    else
        conclude_session(stream, outcome);
    point_write_free(write);
}

/* --- its turn ----------------------------------------------------------------------------------------------------- */

static void take_turns(struct point_stream *stream);

static void on_answer_mail(struct mail *mail)
{
    struct core_call *call = CONTAINER_OF(mail, struct core_call, mail);
    struct point_write *write = call->owner;
    struct point_stream *stream = write->stream;
    take_out(&stream->asked, write);
    if (stream->feed.stage != FEED_ENDED)
        conclude(stream, write, &call->error, call->revision);
    else
        point_write_free(write);
    core_call_free(call);
    take_turns(stream);
    feed_release(&stream->feed);
}

static void on_answered(struct core_call *call)
{
    call->mail.run = on_answer_mail;
    mailbox_answer(call->reply_to, &call->mail);
}

static void ask(struct point_stream *stream, struct point_write *write)
{
    struct core_call *call = core_call_new(CORE_WRITE, stream->feed.asked->principal, CALL_TIMEOUT_MS_DEFAULT);
    buf_free(&call->command);
    call->command = write->command;
    buf_init(&write->command, LIMIT_COMMAND_BYTES);
    call->owner = write;
    call->reply_to = &stream->feed.edge->mailbox;
    call->answered = on_answered;
    if (core_ask(stream->feed.edge->core, call)) {
        push(&stream->asked, write);
        feed_hold(&stream->feed);
        return;
    }
    core_call_free(call);
    (void)lapse_fail(&write->outcome, LAPSE_RESOURCE_EXHAUSTED, "this node has too much to do: try again");
    const struct lapse_error outcome = write->outcome;
    conclude(stream, write, &outcome, 0);
}

static bool is_under_way(const struct point_stream *stream, const struct random_id *session)
{
    for (const struct point_write *write = stream->asked.head; write != NULL; write = write->next)
        if (write->kind == POINT_WRITE_SESSION && memcmp(&write->session, session, sizeof *session) == 0)
            return true;
    return false;
}

static bool may_go(const struct point_stream *stream, const struct point_write *write)
{
    return stream->asked.n + stream->results.n < LIMIT_POINT_WRITES &&
           !(write->kind == POINT_WRITE_SESSION && is_under_way(stream, &write->session));
}

static void take_turns(struct point_stream *stream)
{
    while (stream->waiting.head != NULL && may_go(stream, stream->waiting.head)) {
        struct point_write *write = stream->waiting.head;
        take_out(&stream->waiting, write);
        if (write->outcome.code != LAPSE_OK) {
            const struct lapse_error outcome = write->outcome;
            conclude(stream, write, &outcome, 0);
        } else {
            ask(stream, write);
        }
    }
}

void point_write_begin(struct point_stream *stream, struct point_write *write)
{
    if (stream->waiting.n >= LIMIT_POINT_WRITES_WAITING) {
        point_write_free(write);
        feed_end(&stream->feed, LAPSE_RESOURCE_EXHAUSTED,
                 "too many sessions and uses are reported at once: connect again, and report fewer at a time");
        return;
    }
    push(&stream->waiting, write);
    take_turns(stream);
}

void point_writes_drop(struct point_stream *stream)
{
    drop_all(&stream->waiting);
    drop_all(&stream->results);
}
