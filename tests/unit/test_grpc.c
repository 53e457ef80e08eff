/* gRPC, both ends joined in memory: what a call may look like when both sides behave, and what happens to it when time
 * or a side ends it. What a hostile peer may try is in test_grpc_hostile.c. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/stream_pair.h"
#include "proto/grpc_client.h"
#include "proto/grpc_server.h"
#include "proto/grpc_wire.h"
#include "tests/e2e/grpc_echo/echo_service.h"

/* --- two ends ----------------------------------------------------------------------------------------------------- */

static uv_loop_t loop;
static struct grpc_channel *channel;
static struct grpc_connection *connection; /* NULL when closed */
static bool channel_closed, goaway_seen;
static struct lapse_error channel_why, connection_why;
static lapse_result admission;
static const struct stream_peer client_peer = {.principal = "spiffe://example.org/user/dev1"};
static const struct stream_peer server_peer = {.principal = "spiffe://example.org/lapse/node/1"};

static bool on_server_open(struct grpc_connection *opened, const struct stream_peer *peer)
{
    cr_assert_eq(opened, connection);
    cr_assert_str_eq(peer->principal, client_peer.principal);
    return true;
}

static lapse_result admit(struct grpc_connection *from, const struct grpc_method *method, struct lapse_error *error)
{
    (void)from, (void)method;
    return lapse_is_ok(admission) ? admission : lapse_fail(error, admission.code, "not you");
}

static void on_server_close(struct grpc_connection *closed, const struct lapse_error *why)
{
    cr_assert_eq(closed, connection);
    cr_assert_eq(grpc_connection_calls(closed), 0);
    connection_why = *why;
    connection = NULL;
}

static void on_goaway(struct grpc_channel *from)
{
    (void)from;
    goaway_seen = true;
}

static void on_channel_close(struct grpc_channel *closed, const struct lapse_error *why)
{
    cr_assert_eq(closed, channel);
    channel_why = *why;
    channel_closed = true;
}

static void begin(size_t chunk, const struct grpc_server_limits *limits)
{
    static const struct grpc_server_handler server = {on_server_open, admit, on_server_close};
    static const struct grpc_channel_handler client = {.on_goaway = on_goaway, .on_close = on_channel_close};
    static const struct grpc_channel_options options = {.authority = "lapse.test"};
    struct stream *a = NULL, *b = NULL;
    CHECK(uv_loop_init(&loop) == 0);
    stream_pair(&loop, &client_peer, &server_peer, chunk, &a, &b);
    connection = grpc_serve(&loop, b, echo_methods, ECHO_METHODS, limits, &server, NULL);
    channel = grpc_channel_new(&loop, a, &options, &client, NULL);
    while (!grpc_channel_is_ready(channel))
        (void)uv_run(&loop, UV_RUN_ONCE);
}

static void end(void)
{
    if (!channel_closed)
        grpc_channel_close(channel);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    cr_assert(channel_closed);
    cr_assert_null(connection);
    cr_assert_eq(atomic_load(&echo_calls_open), 0, "every call the application knew of was closed");
    cr_assert_eq(uv_loop_close(&loop), 0);
}

/* --- one call, recorded ------------------------------------------------------------------------------------------- */

struct record {
    struct grpc_request *request;
    unsigned n_messages;
    size_t bytes;
    char last[512];
    unsigned n_ends;
    enum lapse_code code;
    char text[LAPSE_ERROR_MESSAGE_SIZE];
    bool sent;
    unsigned pause_at;  /* pauses when so many messages have come; 0: never */
    unsigned cancel_at; /* likewise cancels */
    unsigned writable;
};

static void on_message(struct grpc_request *request, struct slice message)
{
    struct record *record = grpc_request_owner(request);
    record->n_messages++;
    record->bytes += message.len;
    if (!slice_to_cstr(message, record->last, sizeof record->last))
        (void)snprintf(record->last, sizeof record->last, "(%zu bytes)", message.len);
    if (record->n_messages == record->pause_at)
        grpc_request_pause(request, true);
    if (record->n_messages == record->cancel_at)
        grpc_request_cancel(request);
}

static void on_end(struct grpc_request *request, enum lapse_code code, const char *text, bool sent)
{
    struct record *record = grpc_request_owner(request);
    record->request = NULL;
    record->n_ends++;
    record->code = code;
    record->sent = sent;
    (void)snprintf(record->text, sizeof record->text, "%s", text);
}

static void on_writable(struct grpc_request *request)
{
    struct record *record = grpc_request_owner(request);
    record->writable++;
}

static const struct grpc_request_handler recorder = {on_message, on_end, on_writable};

static void call(struct record *record, const char *path, struct slice message, bool more, int64_t timeout_ms)
{
    lapse_result result =
        grpc_channel_call(channel, path, message, more, timeout_ms, &recorder, record, &record->request);
    cr_assert(lapse_is_ok(result));
    cr_assert_eq(record->n_ends, 0, "nothing is called back on the caller's stack");
}

static void run_until_ended(const struct record *record)
{
    while (record->n_ends == 0)
        (void)uv_run(&loop, UV_RUN_ONCE);
}

static struct record unary(const char *message)
{
    struct record record = {0};
    call(&record, ECHO_UNARY, slice_str(message), false, -1);
    run_until_ended(&record);
    return record;
}

static const size_t chunks[] = {0, 1, 2, 9, 1000, 16384};

ParameterizedTestParameters(grpc, calls_of_each_kind_work_however_bytes_arrive)
{
    return cr_make_param_array(const size_t, (size_t *)chunks, ARRAY_LEN(chunks));
}

ParameterizedTest(const size_t *chunk, grpc, calls_of_each_kind_work_however_bytes_arrive)
{
    begin(*chunk, NULL);
    struct record one = unary("hello");
    cr_expect_eq(one.code, LAPSE_OK);
    cr_expect_str_eq(one.last, "hello");
    cr_expect_eq(one.n_messages, 1);

    struct record many = {0};
    call(&many, ECHO_COUNT, slice_str("300"), false, -1);
    run_until_ended(&many);
    cr_expect_eq(many.code, LAPSE_OK);
    cr_expect_eq(many.n_messages, 300);
    cr_expect_str_eq(many.last, "299");

    struct record chat = {0};
    call(&chat, ECHO_CHAT, slice_str("one"), true, -1);
    (void)grpc_request_send(chat.request, slice_str("two"));
    while (chat.n_messages < 2)
        (void)uv_run(&loop, UV_RUN_ONCE);
    (void)grpc_request_send(chat.request, slice_str("three"));
    grpc_request_half_close(chat.request);
    run_until_ended(&chat);
    cr_expect_eq(chat.code, LAPSE_OK);
    cr_expect_eq(chat.n_messages, 3);
    cr_expect_str_eq(chat.last, "three");
    end();
}

Test(grpc, an_empty_message_is_a_message)
{
    begin(0, NULL);
    struct record record = unary("");
    cr_expect_eq(record.code, LAPSE_OK);
    cr_expect_eq(record.n_messages, 1);
    end();
}

Test(grpc, a_message_of_the_largest_size_passes)
{
    begin(0, NULL);
    struct record record = {0};
    char *large = mem_alloc(LIMIT_MESSAGE_IN);
    memset(large, 'x', LIMIT_MESSAGE_IN);
    call(&record, ECHO_UNARY, slice_of(large, LIMIT_MESSAGE_IN), false, -1);
    run_until_ended(&record);
    cr_expect_eq(record.code, LAPSE_OK);
    cr_expect_eq(record.bytes, LIMIT_MESSAGE_IN);
    free(large);
    end();
}

Test(grpc, a_message_over_the_limit_is_refused_before_it_is_received)
{
    begin(0, NULL);
    struct record record = {0};
    char *large = mem_calloc(1, LIMIT_MESSAGE_IN + 1);
    call(&record, ECHO_UNARY, slice_of(large, LIMIT_MESSAGE_IN + 1), false, -1);
    run_until_ended(&record);
    cr_expect_eq(record.code, LAPSE_RESOURCE_EXHAUSTED);
    cr_expect_eq(unary("and the connection lives on").code, LAPSE_OK);
    free(large);
    end();
}

Test(grpc, a_status_carries_its_message_in_any_script)
{
    begin(0, NULL);
    struct record record = unary("!5 kein Grant „π“ 100% 日本");
    cr_expect_eq(record.code, LAPSE_NOT_FOUND);
    cr_expect_str_eq(record.text, "kein Grant „π“ 100% 日本");
    cr_expect_eq(record.n_messages, 0);
    cr_expect(record.sent);
    end();
}

Test(grpc, an_unknown_method_is_unimplemented)
{
    begin(0, NULL);
    struct record record = {0};
    call(&record, "/test.Echo/Nothing", slice_str("x"), false, -1);
    run_until_ended(&record);
    cr_expect_eq(record.code, LAPSE_UNIMPLEMENTED);
    end();
}

Test(grpc, a_call_that_is_not_admitted_never_reaches_its_method)
{
    begin(0, NULL);
    admission = lapse_failed(LAPSE_PERMISSION_DENIED);
    struct record record = unary("hello");
    cr_expect_eq(record.code, LAPSE_PERMISSION_DENIED);
    cr_expect_str_eq(record.text, "not you");
    end();
}

/* --- flow control ------------------------------------------------------------------------------------------------- */

Test(grpc, ten_thousand_messages_pass_with_a_bounded_queue)
{
    begin(4096, NULL);
    struct record record = {0};
    call(&record, ECHO_COUNT, slice_str("10000"), false, -1);
    run_until_ended(&record);
    cr_expect_eq(record.code, LAPSE_OK);
    cr_expect_eq(record.n_messages, 10000);
    cr_expect_str_eq(record.last, "9999");
    end();
}

Test(grpc, a_paused_reader_stops_the_sender_and_loses_nothing)
{
    begin(0, &(struct grpc_server_limits){.call_queue_max = 4096});
    struct record record = {.pause_at = 10}, other = {0};
    /* Far more than a stream's window. */
    call(&record, ECHO_COUNT, slice_str("1000000"), false, -1);
    while (record.n_messages < 10)
        (void)uv_run(&loop, UV_RUN_ONCE);
    /* Another call of the connection is not held up; by its many round trips the sender has filled the window. */
    call(&other, ECHO_COUNT, slice_str("200000"), false, -1);
    run_until_ended(&other);
    cr_expect_eq(other.n_messages, 200000);
    cr_expect_eq(record.n_messages, 10, "paused");
    cr_expect_eq(record.n_ends, 0);
    cr_expect_leq(atomic_load(&echo_ahead_max), 4096, "the producer was stopped");
    grpc_request_pause(record.request, false);
    cr_expect_eq(record.n_messages, 10, "delivered from the loop, not on this stack");
    run_until_ended(&record);
    cr_expect_eq(record.code, LAPSE_OK);
    cr_expect_eq(record.n_messages, 1000000);
    cr_expect_str_eq(record.last, "999999");
    end();
}

Test(grpc, the_end_of_a_paused_call_waits_behind_its_messages)
{
    begin(0, NULL);
    struct record record = {.pause_at = 1};
    call(&record, ECHO_COUNT, slice_str("3"), false, -1);
    (void)unary("until both sides are at rest");
    (void)unary("once more");
    cr_expect_eq(record.n_messages, 1);
    cr_expect_eq(record.n_ends, 0);
    grpc_request_pause(record.request, false);
    run_until_ended(&record);
    cr_expect_eq(record.n_messages, 3);
    cr_expect_eq(record.code, LAPSE_OK);
    end();
}

Test(grpc, a_streaming_client_is_told_when_to_wait)
{
    begin(0, NULL);
    struct record record = {0};
    char message[1000] = "";
    unsigned sent = 1;
    call(&record, ECHO_CHAT, slice_of(message, sizeof message), true, -1);
    while (grpc_request_send(record.request, slice_of(message, sizeof message)))
        sent++;
    sent++;
    cr_expect_lt(sent, 100);
    while (record.writable == 0)
        (void)uv_run(&loop, UV_RUN_ONCE);
    grpc_request_half_close(record.request);
    run_until_ended(&record);
    cr_expect_eq(record.n_messages, sent);
    end();
}

/* --- endings ------------------------------------------------------------------------------------------------------ */

Test(grpc, a_deadline_ends_the_call_on_both_sides)
{
    begin(0, NULL);
    struct record record = {0};
    call(&record, ECHO_UNARY, slice_str("?"), false, 30);
    run_until_ended(&record);
    cr_expect_eq(record.code, LAPSE_DEADLINE_EXCEEDED);
    while (atomic_load(&echo_calls_open) > 0)
        (void)uv_run(&loop, UV_RUN_ONCE);
    cr_expect_eq(unary("the connection lives on").code, LAPSE_OK);
    end();
}

Test(grpc, a_cancelled_call_ends_once_and_from_the_loop)
{
    begin(0, NULL);
    struct record record = {0};
    call(&record, ECHO_UNARY, slice_str("?"), false, -1);
    while (atomic_load(&echo_calls_open) == 0)
        (void)uv_run(&loop, UV_RUN_ONCE);
    grpc_request_cancel(record.request);
    grpc_request_cancel(record.request);
    cr_expect_eq(record.n_ends, 0);
    while (atomic_load(&echo_calls_open) > 0)
        (void)uv_run(&loop, UV_RUN_ONCE);
    cr_expect_eq(record.n_ends, 1);
    cr_expect_eq(record.code, LAPSE_CANCELLED);
    end();
}

Test(grpc, a_call_cancelled_before_it_left_was_never_sent)
{
    begin(0, NULL);
    struct record record = {0};
    call(&record, ECHO_UNARY, slice_str("x"), false, -1);
    grpc_request_cancel(record.request);
    run_until_ended(&record);
    cr_expect_eq(record.code, LAPSE_CANCELLED);
    cr_expect_not(record.sent);
    end();
}

Test(grpc, a_reader_may_cancel_among_messages)
{
    begin(0, NULL);
    struct record record = {.cancel_at = 5};
    call(&record, ECHO_COUNT, slice_str("100000"), false, -1);
    run_until_ended(&record);
    cr_expect_eq(record.n_messages, 5);
    cr_expect_eq(record.code, LAPSE_CANCELLED);
    end();
}

Test(grpc, losing_the_connection_ends_every_call)
{
    begin(0, NULL);
    struct record waiting = {0}, unsent = {0};
    call(&waiting, ECHO_UNARY, slice_str("?"), false, -1);
    while (atomic_load(&echo_calls_open) == 0)
        (void)uv_run(&loop, UV_RUN_ONCE);
    call(&unsent, ECHO_UNARY, slice_str("x"), false, -1);
    stream_close(grpc_connection_stream(connection), &(struct lapse_error){LAPSE_UNAVAILABLE, "cut"});
    run_until_ended(&waiting);
    run_until_ended(&unsent);
    cr_expect_eq(waiting.code, LAPSE_UNAVAILABLE);
    cr_expect(waiting.sent);
    cr_expect_eq(unsent.code, LAPSE_UNAVAILABLE);
    end();
}

Test(grpc, a_server_that_shuts_down_finishes_open_calls_and_takes_no_new_ones)
{
    begin(0, NULL);
    struct record chat = {0}, late = {0};
    call(&chat, ECHO_CHAT, slice_str("one"), true, -1);
    while (chat.n_messages == 0)
        (void)uv_run(&loop, UV_RUN_ONCE);
    grpc_connection_shutdown(connection, 60000);
    /* On its way before the GOAWAY is known here: refused, and known not to have been done. */
    call(&late, ECHO_UNARY, slice_str("late"), false, -1);
    while (!goaway_seen)
        (void)uv_run(&loop, UV_RUN_ONCE);
    cr_expect_not(grpc_channel_is_ready(channel));
    cr_expect_eq(grpc_channel_call(channel, ECHO_UNARY, slice_str("x"), false, -1, &recorder, &late, NULL).code,
                 LAPSE_UNAVAILABLE);
    grpc_request_half_close(chat.request);
    run_until_ended(&chat);
    cr_expect_eq(chat.code, LAPSE_OK);
    run_until_ended(&late);
    cr_expect_eq(late.code, LAPSE_UNAVAILABLE);
    cr_expect_not(late.sent);
    while (connection != NULL)
        (void)uv_run(&loop, UV_RUN_ONCE);
    cr_expect_eq(connection_why.code, LAPSE_OK, "%s", connection_why.message);
    end();
}

Test(grpc, a_shutdown_waits_no_longer_than_its_grace)
{
    begin(0, NULL);
    struct record record = {0};
    call(&record, ECHO_UNARY, slice_str("?"), false, -1);
    while (atomic_load(&echo_calls_open) == 0)
        (void)uv_run(&loop, UV_RUN_ONCE);
    grpc_connection_shutdown(connection, 20);
    run_until_ended(&record);
    cr_expect_eq(record.code, LAPSE_UNAVAILABLE);
    end();
}

Test(grpc, a_thousand_calls_share_a_connection)
{
    enum { CALLS = 1000, AT_ONCE = 100 };
    static struct record records[CALLS];
    begin(0, NULL);
    unsigned started = 0, ended = 0;
    while (ended < CALLS) {
        while (started < CALLS && started - ended < AT_ONCE) {
            char text[16];
            (void)snprintf(text, sizeof text, "%u", started);
            call(&records[started], ECHO_UNARY, slice_str(text), false, 60000);
            started++;
        }
        (void)uv_run(&loop, UV_RUN_ONCE);
        for (ended = 0; ended < started && records[ended].n_ends == 1; ended++)
            ;
    }
    for (unsigned i = 0; i < CALLS; i++) {
        cr_expect_eq(records[i].code, LAPSE_OK);
        cr_expect_eq(strtoul(records[i].last, NULL, 10), i);
    }
    end();
}

Test(grpc, a_quiet_connection_without_calls_is_closed)
{
    begin(0, &(struct grpc_server_limits){.idle_timeout_ms = 30});
    cr_expect_eq(unary("x").code, LAPSE_OK);
    while (!channel_closed)
        (void)uv_run(&loop, UV_RUN_ONCE);
    end();
}

static bool refuse_open(struct grpc_connection *opened, const struct stream_peer *peer)
{
    (void)opened, (void)peer;
    return false;
}

Test(grpc, a_connection_that_the_application_refuses_is_closed)
{
    static const struct grpc_server_handler server = {refuse_open, NULL, on_server_close};
    static const struct grpc_channel_handler client = {.on_close = on_channel_close};
    struct stream *a = NULL, *b = NULL;
    CHECK(uv_loop_init(&loop) == 0);
    stream_pair(&loop, &client_peer, &server_peer, 0, &a, &b);
    connection = grpc_serve(&loop, b, echo_methods, ECHO_METHODS, NULL, &server, NULL);
    channel = grpc_channel_new(&loop, a, &(struct grpc_channel_options){.authority = "x"}, &client, NULL);
    while (!channel_closed)
        (void)uv_run(&loop, UV_RUN_ONCE);
    end();
}

/* A server that never speaks: the other end of the pair has no handler. */
Test(grpc, a_silent_server_is_given_up)
{
    static const struct grpc_channel_handler client = {.on_close = on_channel_close};
    const struct grpc_channel_options options = {.authority = "x", .keepalive_ms = 20, .keepalive_timeout_ms = 20};
    struct stream *a = NULL, *b = NULL;
    CHECK(uv_loop_init(&loop) == 0);
    stream_pair(&loop, &client_peer, &server_peer, 0, &a, &b);
    channel = grpc_channel_new(&loop, a, &options, &client, NULL);
    while (!grpc_channel_is_ready(channel))
        (void)uv_run(&loop, UV_RUN_ONCE);
    struct record record = {0};
    call(&record, ECHO_UNARY, slice_str("x"), false, -1);
    run_until_ended(&record);
    cr_expect_eq(record.code, LAPSE_UNAVAILABLE);
    end();
}

/* --- syntaxes ----------------------------------------------------------------------------------------------------- */

Test(grpc_wire, timeouts_are_read_strictly_and_rounded_up)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } cases[] = {
        {"1S", 1000},
        {"250m", 250},
        {"0n", 0},
        {"1n", 1},
        {"1001u", 2},
        {"2M", 120000},
        {"99999999H", 359999996400000},
        {"", -1},
        {"S", -1},
        {"1", -1},
        {"1s", -1},
        {"-1S", -1},
        {"+1S", -1},
        {" 1S", -1},
        {"100000000m", -1},
        {"1.5S", -1},
        {"1SS", -1},
        {"0x1S", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t ms = -1;
        bool ok = grpc_timeout_parse(slice_str(cases[i].text), &ms);
        cr_expect_eq(ok, cases[i].ms >= 0, "%s", cases[i].text);
        cr_expect_eq(ms, cases[i].ms, "%s", cases[i].text);
    }
}

Test(grpc_wire, timeouts_survive_being_written)
{
    static const int64_t values[] = {0, 1, 999, 99999999, 100000000, 99999999999, 100000000000, INT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        char text[GRPC_TIMEOUT_TEXT_SIZE];
        int64_t ms = -1;
        grpc_timeout_format(values[i], text);
        cr_assert(grpc_timeout_parse(slice_str(text), &ms), "%s", text);
        cr_expect_leq(ms, values[i]);
        cr_expect_geq(ms, values[i] < 359999996400000 ? values[i] - values[i] / 1000 : 359999996400000, "%s", text);
    }
}

Test(grpc_wire, messages_survive_percent_encoding)
{
    static const char *const texts[] = {"", "plain", "100%", "%41", "line\nbreak", "ü – 日本 🙂"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char encoded[256], decoded[256];
        size_t len = grpc_message_encode(texts[i], encoded, sizeof encoded);
        for (size_t j = 0; j < len; j++)
            cr_expect(encoded[j] >= 0x20 && encoded[j] <= 0x7E);
        grpc_message_decode(slice_of(encoded, len), decoded, sizeof decoded);
        cr_expect_str_eq(decoded, texts[i]);
    }
}

Test(grpc_wire, a_message_is_cut_between_characters)
{
    char encoded[10], decoded[4];
    cr_expect_eq(grpc_message_encode("aüü", encoded, sizeof encoded), 7); /* a%C3%BC */
    grpc_message_decode(slice_str("a%C3%BC%C3%BC"), decoded, sizeof decoded);
    cr_expect_str_eq(decoded, "aü");
    grpc_message_decode(slice_str("%FF%zz%"), encoded, sizeof encoded);
    cr_expect_str_eq(encoded, "?%zz%");
}

Test(grpc_wire, only_grpc_content_types_are_ours)
{
    cr_expect(grpc_content_type_is_ours(slice_str("application/grpc")));
    cr_expect(grpc_content_type_is_ours(slice_str("application/grpc+proto")));
    cr_expect(grpc_content_type_is_ours(slice_str("application/grpc;charset=utf-8")));
    cr_expect_not(grpc_content_type_is_ours(slice_str("application/grpc+json")));
    cr_expect_not(grpc_content_type_is_ours(slice_str("application/grpc-web")));
    cr_expect_not(grpc_content_type_is_ours(slice_str("application/json")));
    cr_expect_not(grpc_content_type_is_ours(slice_str("")));
}
