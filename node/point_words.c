/* What an enforcement point says on its stream, one function for each kind of message: what it may say, and to whom it
 * goes. Promises, watermarks and goodbyes go to the leases (core_point.h), sessions and uses to the log
 * (point_writes.c). */
#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "node/point_stream.h"
#include "node/service_parse.h"
#include "proto/codec.h"

/* "\1" and a word, so that no request_id of the principal is the same; and 16 bytes in hexadecimal. */
#define KEY_TEXT_SIZE 48

static struct request_key key_of(const struct point_stream *stream, const char *what, const struct random_id *id)
{
    char text[KEY_TEXT_SIZE];
    int len = snprintf(text, sizeof text, "\1%s ", what);
    CHECK(len > 0 && (size_t)len + 2 * sizeof id->bytes < sizeof text);
    for (size_t i = 0; i < sizeof id->bytes; i++)
        (void)snprintf(text + len + 2 * i, 3, "%02x", id->bytes[i]);
    return parse_request_key(stream->feed.asked->principal, text);
}

static lapse_result random_id_of(const char *field, const void *bytes, size_t size, struct random_id *id,
                                 struct lapse_error *error)
{
    if (size != sizeof id->bytes)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s: 16 random bytes", field);
    memcpy(id->bytes, bytes, sizeof id->bytes);
    return lapse_ok();
}

/* Validates and encodes. */
static lapse_result fill_write(struct point_write *write, const struct command *command, struct lapse_error *error)
{
    lapse_result result = command_validate(command, error);
    if (lapse_is_ok(result))
        CHECK(lapse_is_ok(command_encode(command, &write->command)));
    return result;
}

/* --- the first message -------------------------------------------------------------------------------------------- */

static void keep_question(struct point_stream *stream, const lapse_v1_Registration *registration, struct slice scope)
{
    struct feed *feed = &stream->feed;
    feed->asked->scope = scope;
    feed->asked->filter.states = 1u << GRANT_ACTIVE;
    feed->epoch = registration->epoch;
    feed->revision = registration->revision;
    (void)snprintf(stream->id, sizeof stream->id, "%s", registration->id);
    feed->asked->instance = stream->instance;
    if (registration->revision > 0)
        feed->asked->point = slice_str(stream->id);
}

static lapse_result parse_registration(struct point_stream *stream, const lapse_v1_Registration *registration,
                                       struct point_write *write, struct lapse_error *error)
{
    struct slice scope = {0};
    lapse_result result =
        random_id_of("instance", registration->instance.bytes, registration->instance.size, &stream->instance, error);
    if (lapse_is_ok(result))
        result = parse_scope(stream->feed.asked, registration->scope, registration->scope_count, &scope, error);
    stream->lease_ms = registration->lease_ms == 0 ? LIMIT_LEASE_MS_DEFAULT : registration->lease_ms;
    const struct command command = {.type = COMMAND_REGISTER,
                                    .key = key_of(stream, "register", &stream->instance),
                                    .principal = slice_str(stream->feed.asked->principal),
                                    .text = slice_str(registration->id),
                                    .scope = scope,
                                    .instance = stream->instance,
                                    .lease_ms = stream->lease_ms};
    if (lapse_is_ok(result))
        result = fill_write(write, &command, error);
    if (lapse_is_ok(result) && registration->has_head)
        result = point_parse_head(stream, &registration->head, error);
    if (lapse_is_ok(result))
        keep_question(stream, registration, scope);
    return result;
}

lapse_result point_parse_registration(struct point_stream *stream, struct slice bytes, struct point_write *write,
                                      struct lapse_error *error)
{
    lapse_v1_SubscribeRequest message;
    lapse_result result = proto_decode(lapse_v1_SubscribeRequest_fields, bytes, &message, error);
    if (lapse_is_ok(result) && message.which_kind != lapse_v1_SubscribeRequest_registration_tag)
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the first message must be the point's registration");
    if (lapse_is_ok(result))
        result = parse_registration(stream, &message.kind.registration, write, error);
    return result;
}

/* --- to the leases ------------------------------------------------------------------------------------------------ */

bool point_say(struct point_stream *stream, const struct core_point_tell *tell)
{
    bool said = core_point_tell(stream->core, tell);
    if (!said)
        feed_end(&stream->feed, LAPSE_RESOURCE_EXHAUSTED, "this node has too much to do: connect to another one");
    return said;
}

static lapse_result hear_ping(struct point_stream *stream, const lapse_v1_SubscribeRequest *message,
                              struct lapse_error *error)
{
    const struct core_point_tell tell = {.word = POINT_PING, .sequence = message->kind.ping.sequence};
    if (!h2_budget_take(&stream->pings, clock_boot_ms()))
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED,
                          "more than %u pings in a second: a few in a lease are enough", LIMIT_POINT_PINGS_PER_SECOND);
    if (stream->served)
        (void)point_say(stream, &tell);
    return lapse_ok();
}

/* Nobody confirms what this stream has not told, and what no earlier one can have. */
static lapse_result check_revision(const struct point_stream *stream, uint64_t revision, struct lapse_error *error)
{
    if (revision <= stream->feed.told)
        return lapse_ok();
    metric_add(METRIC_POINT_FALSE_ACKS, 1);
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                      "revision %" PRIu64 " was not sent on this stream, which stands at %" PRIu64
                      ": acknowledge only what has arrived",
                      revision, stream->feed.told);
}

static lapse_result hear_ack(struct point_stream *stream, const lapse_v1_SubscribeRequest *message,
                             struct lapse_error *error)
{
    const lapse_v1_Ack *ack = &message->kind.ack;
    lapse_result result = check_revision(stream, ack->received, error);
    if (lapse_is_ok(result) && ack->enforced > ack->received)
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "enforced %" PRIu64 " is above received %" PRIu64,
                            ack->enforced, ack->received);
    if (!lapse_is_ok(result) || (ack->received <= stream->received && ack->enforced <= stream->enforced))
        return result;
    stream->received = ack->received > stream->received ? ack->received : stream->received;
    stream->enforced = ack->enforced > stream->enforced ? ack->enforced : stream->enforced;
    const struct core_point_tell tell = {.word = POINT_ACK, .received = stream->received, .enforced = stream->enforced};
    (void)point_say(stream, &tell);
    return result;
}

/* What the log or a report to the leader will carry is a request of its principal like any other, so that a thousand
 * streams are allowed no more than one. */
static lapse_result count_request(const struct point_stream *stream, struct lapse_error *error)
{
    return admission_request(stream->feed.edge->admission, stream->feed.entry, clock_boot_ms(), error);
}

/* A receipt's reason is one line. */
static void keep_line(const char *text, char line[LIMIT_RECEIPT_REASON + 1])
{
    (void)snprintf(line, LIMIT_RECEIPT_REASON + 1, "%s", text);
    for (char *at = line; *at != '\0'; at++)
        if (*at == '\n' || *at == '\t')
            *at = ' ';
}

static lapse_result hear_failure(struct point_stream *stream, const lapse_v1_SubscribeRequest *message,
                                 struct lapse_error *error)
{
    const lapse_v1_Failure *failure = &message->kind.failure;
    struct core_point_tell tell = {.word = POINT_FAILURE, .revision = failure->revision};
    lapse_result result = check_revision(stream, failure->revision, error);
    if (lapse_is_ok(result))
        result = count_request(stream, error);
    if (!lapse_is_ok(result))
        return result;
    keep_line(failure->reason, tell.reason);
    (void)point_say(stream, &tell);
    return result;
}

static lapse_result hear_goodbye(struct point_stream *stream, const lapse_v1_SubscribeRequest *message,
                                 struct lapse_error *error)
{
    const struct core_point_tell tell = {.word = POINT_GOODBYE};
    (void)message, (void)error;
    stream->left = true;
    stream->left_ms = clock_boot_ms();
    /* One that is not registered yet says it when it is (point_registered). */
    if (stream->core != NULL)
        (void)point_say(stream, &tell);
    return lapse_ok();
}

/* --- to the log --------------------------------------------------------------------------------------------------- */

/* A report that is malformed, or one too many, isn't recorded, but for that nobody's access is cut off: it goes its way
 * as refused. */
static void begin_report(struct point_stream *stream, struct point_write *write, const struct command *command,
                         lapse_result parsed, struct lapse_error *error)
{
    if (lapse_is_ok(parsed))
        parsed = fill_write(write, command, error);
    if (lapse_is_ok(parsed))
        parsed = count_request(write->stream, error);
    if (!lapse_is_ok(parsed))
        write->outcome = *error;
    point_write_begin(stream, write);
}

static lapse_result hear_session_began(struct point_stream *stream, const lapse_v1_SubscribeRequest *message,
                                       struct lapse_error *error)
{
    const lapse_v1_SessionBegan *began = &message->kind.session_began;
    struct random_id session;
    lapse_result result = random_id_of("session", began->session.bytes, began->session.size, &session, error);
    if (!lapse_is_ok(result))
        return result;
    struct command command = {.type = COMMAND_SESSION_BEGIN,
                              .key = key_of(stream, "began", &session),
                              .principal = slice_str(stream->feed.asked->principal),
                              .text = slice_str(began->description),
                              .instance = stream->instance,
                              .session = session};
    struct point_write *write = point_write_new(stream, POINT_WRITE_SESSION);
    write->session = session;
    begin_report(stream, write, &command, parse_grant_id(began->grant_id, &command.grant, error), error);
    return result;
}

static lapse_result hear_session_ended(struct point_stream *stream, const lapse_v1_SubscribeRequest *message,
                                       struct lapse_error *error)
{
    const lapse_v1_SessionEnded *ended = &message->kind.session_ended;
    struct random_id session;
    lapse_result result = random_id_of("session", ended->session.bytes, ended->session.size, &session, error);
    if (!lapse_is_ok(result))
        return result;
    const struct command command = {.type = COMMAND_SESSION_END,
                                    .key = key_of(stream, "ended", &session),
                                    .principal = slice_str(stream->feed.asked->principal),
                                    .instance = stream->instance,
                                    .session = session};
    struct point_write *write = point_write_new(stream, POINT_WRITE_SESSION);
    write->session = session;
    begin_report(stream, write, &command, lapse_ok(), error);
    return result;
}

static lapse_result hear_use(struct point_stream *stream, const lapse_v1_SubscribeRequest *message,
                             struct lapse_error *error)
{
    const lapse_v1_UseReport *use = &message->kind.use;
    if (use->request_id[0] == '\0')
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "use: request_id is missing; the answer is known by it");
    struct command command = {.type = COMMAND_USE,
                              .key = parse_request_key(stream->feed.asked->principal, use->request_id),
                              .principal = slice_str(stream->feed.asked->principal),
                              .count = use->count == 0 ? 1 : use->count};
    struct point_write *write = point_write_new(stream, POINT_WRITE_USE);
    (void)snprintf(write->request_id, sizeof write->request_id, "%s", use->request_id);
    begin_report(stream, write, &command, parse_grant_id(use->grant_id, &command.grant, error), error);
    return lapse_ok();
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

static lapse_result hear_registration(struct point_stream *stream, const lapse_v1_SubscribeRequest *message,
                                      struct lapse_error *error)
{
    (void)stream, (void)message;
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a stream has one registration: open another stream");
}

static const struct {
    lapse_result (*hear)(struct point_stream *stream, const lapse_v1_SubscribeRequest *message,
                         struct lapse_error *error);
    bool any_time; /* also before the point is told that it is registered */
} words[] = {
    [lapse_v1_SubscribeRequest_registration_tag] = {hear_registration, .any_time = true},
    [lapse_v1_SubscribeRequest_ping_tag] = {hear_ping, .any_time = true},
    [lapse_v1_SubscribeRequest_ack_tag] = {hear_ack},
    [lapse_v1_SubscribeRequest_failure_tag] = {hear_failure},
    [lapse_v1_SubscribeRequest_session_began_tag] = {hear_session_began},
    [lapse_v1_SubscribeRequest_session_ended_tag] = {hear_session_ended},
    [lapse_v1_SubscribeRequest_use_tag] = {hear_use},
    [lapse_v1_SubscribeRequest_goodbye_tag] = {hear_goodbye, .any_time = true},
};

static lapse_result hear(struct point_stream *stream, const lapse_v1_SubscribeRequest *message,
                         struct lapse_error *error)
{
    pb_size_t kind = message->which_kind;
    if (kind >= ARRAY_LEN(words) || words[kind].hear == NULL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a message of no kind that this node knows");
    if (!stream->served && !words[kind].any_time)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "wait for `registered` before anything else is said");
    return words[kind].hear(stream, message, error);
}

void point_hear(struct point_stream *stream, struct slice bytes)
{
    lapse_v1_SubscribeRequest message;
    struct lapse_error error;
    lapse_result result = lapse_ok();
    if (stream->feed.stage == FEED_ENDED || stream->left)
        return;
    if (!h2_budget_take(&stream->messages, clock_boot_ms()))
        result = lapse_fail(&error, LAPSE_RESOURCE_EXHAUSTED, "more than %u messages in a second: send fewer",
                            LIMIT_POINT_MESSAGES_PER_SECOND);
    if (lapse_is_ok(result))
        result = proto_decode(lapse_v1_SubscribeRequest_fields, bytes, &message, &error);
    if (lapse_is_ok(result))
        result = hear(stream, &message, &error);
    if (lapse_is_ok(result))
        return;
    point_complain(stream, "an enforcement point's stream was ended", error.message);
    feed_end(&stream->feed, error.code, error.message);
}
