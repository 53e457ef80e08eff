/* What a hostile or broken peer may try on the gRPC port, made of raw frames, and what stops it. The table of SECURITY:
 * floods of frames that carry nothing, header bombs, resets, requests that never get complete, and everything that
 * isn't quite gRPC. Then the other way round: answers that aren't. */
#include <criterion/criterion.h>
#include <stdatomic.h>

#include "grpc_raw.h"
#include "proto/grpc_client.h"
#include "proto/grpc_server.h"
#include "tests/e2e/grpc_echo/echo_service.h"

static uv_loop_t loop;
static struct raw raw;
static struct grpc_connection *connection;
static struct lapse_error why;
static const struct stream_peer nobody;

static void on_server_close(struct grpc_connection *closed, const struct lapse_error *reason)
{
    cr_assert_eq(closed, connection);
    why = *reason;
    connection = NULL;
}

static void turn(void)
{
    (void)uv_run(&loop, UV_RUN_NOWAIT);
}

/* A server, and the raw client's preface and SETTINGS. */
static void begin_server(const struct grpc_server_limits *limits)
{
    static const struct grpc_server_handler handler = {.on_close = on_server_close};
    struct stream *a = NULL, *b = NULL;
    CHECK(uv_loop_init(&loop) == 0);
    stream_pair(&loop, &nobody, &nobody, 0, &a, &b);
    connection = grpc_serve(&loop, b, echo_methods, ECHO_METHODS, limits, &handler, NULL);
    raw_begin(&raw, a, false);
    while (!raw.open)
        turn();
}

static void greet(void)
{
    raw_send(&raw, RAW_PREFACE, strlen(RAW_PREFACE));
    raw_frame(&raw, F_SETTINGS, 0, 0, NULL, 0);
}

static void end_server(void)
{
    if (raw.stream != NULL)
        stream_close(raw.stream, NULL);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    cr_assert_null(connection);
    cr_assert_eq(atomic_load(&echo_calls_open), 0);
    cr_assert_eq(uv_loop_close(&loop), 0);
    raw_end(&raw);
}

static void run_until_closed(void)
{
    while (!raw.closed)
        (void)uv_run(&loop, UV_RUN_ONCE);
}

static void run_until_answered(unsigned ends)
{
    while (raw.ends < ends && !raw.closed)
        (void)uv_run(&loop, UV_RUN_ONCE);
}

#define REQUEST_FIELDS(path) ":method", "POST", ":scheme", "https", ":path", (path), ":authority", "x"
static const char *const unary_fields[] = {
    REQUEST_FIELDS(ECHO_UNARY), "content-type", "application/grpc", "te", "trailers", NULL};
static const char *const count_fields[] = {
    REQUEST_FIELDS(ECHO_COUNT), "content-type", "application/grpc", "te", "trailers", NULL};
static const char *const chat_fields[] = {
    REQUEST_FIELDS(ECHO_CHAT), "content-type", "application/grpc", "te", "trailers", NULL};

static bool answered(const char *header)
{
    return strstr(raw.headers, header) != NULL;
}

static void expect_calm_down(void)
{
    run_until_closed();
    cr_expect_eq(raw.goaway, NGHTTP2_ENHANCE_YOUR_CALM);
    while (connection != NULL)
        turn();
    cr_expect_eq(why.code, LAPSE_RESOURCE_EXHAUSTED, "%s", why.message);
}

/* The connection still serves. */
static void expect_alive(uint32_t stream_id)
{
    unsigned ends = raw.ends;
    raw_headers(&raw, END_HEADERS, stream_id, unary_fields);
    raw_message(&raw, END_STREAM, stream_id, 0, 5, "alive");
    run_until_answered(ends + 1);
    cr_assert(raw.data.len >= 5);
    cr_expect_eq(memcmp(raw.data.data + raw.data.len - 5, "alive", 5), 0);
    cr_expect_eq(raw.goaway, -1);
}

Test(grpc_hostile, a_plain_request_by_hand_works)
{
    begin_server(NULL);
    greet();
    expect_alive(1);
    cr_expect(answered(":status: 200\n") && answered("content-type: application/grpc\n") &&
                  answered("grpc-status: 0\n"),
              "%s", raw.headers);
    end_server();
}

/* --- not gRPC ----------------------------------------------------------------------------------------------------- */

static void expect_answer(const char *const *fields, const char *header)
{
    begin_server(NULL);
    greet();
    raw_headers(&raw, END_HEADERS, 1, fields);
    raw_message(&raw, END_STREAM, 1, 0, 1, "x");
    run_until_answered(1);
    cr_expect(answered(header), "'%s' is not in:\n%s", header, raw.headers);
    cr_expect_eq(raw.data.len, 0);
    expect_alive(3);
    end_server();
}

Test(grpc_hostile, another_method_than_post_is_405)
{
    const char *const fields[] = {":method", "GET", ":scheme", "https", ":path", ECHO_UNARY, ":authority", "x", NULL};
    expect_answer(fields, ":status: 405\n");
}

Test(grpc_hostile, another_content_type_is_415)
{
    const char *const fields[] = {
        REQUEST_FIELDS(ECHO_UNARY), "content-type", "application/json", "te", "trailers", NULL};
    expect_answer(fields, ":status: 415\n");
}

Test(grpc_hostile, a_client_that_takes_no_trailers_is_400)
{
    const char *const fields[] = {REQUEST_FIELDS(ECHO_UNARY), "content-type", "application/grpc", NULL};
    expect_answer(fields, ":status: 400\n");
}

Test(grpc_hostile, a_compressed_encoding_is_unimplemented)
{
    const char *const fields[] = {REQUEST_FIELDS(ECHO_UNARY),
                                  "content-type",
                                  "application/grpc",
                                  "te",
                                  "trailers",
                                  "grpc-encoding",
                                  "gzip",
                                  NULL};
    expect_answer(fields, "grpc-status: 12\n");
}

Test(grpc_hostile, a_malformed_timeout_is_an_invalid_argument)
{
    const char *const fields[] = {
        REQUEST_FIELDS(ECHO_UNARY), "content-type", "application/grpc", "te", "trailers", "grpc-timeout", "1 S", NULL};
    expect_answer(fields, "grpc-status: 3\n");
}

Test(grpc_hostile, two_timeouts_are_an_invalid_argument)
{
    const char *const fields[] = {REQUEST_FIELDS(ECHO_UNARY),
                                  "content-type",
                                  "application/grpc",
                                  "te",
                                  "trailers",
                                  "grpc-timeout",
                                  "1S",
                                  "grpc-timeout",
                                  "2S",
                                  NULL};
    expect_answer(fields, "grpc-status: 3\n");
}

Test(grpc_hostile, an_answer_of_one_status_is_trailers_only)
{
    begin_server(NULL);
    greet();
    raw_headers(&raw, END_HEADERS, 1, unary_fields);
    raw_message(&raw, END_STREAM, 1, 0, 5, "!5 no");
    run_until_answered(1);
    cr_expect_str_eq(raw.headers, ":status: 200\ncontent-type: application/grpc\ngrpc-status: 5\ngrpc-message: no\n");
    end_server();
}

/* --- not a message ------------------------------------------------------------------------------------------------ */

static void expect_message_refused(const char *header, uint32_t next_id)
{
    run_until_answered(1);
    cr_expect(answered(header), "'%s' is not in:\n%s", header, raw.headers);
    cr_expect_eq(raw.data.len, 0);
    expect_alive(next_id);
    end_server();
}

Test(grpc_hostile, a_compressed_message_is_unimplemented)
{
    begin_server(NULL);
    greet();
    raw_headers(&raw, END_HEADERS, 1, unary_fields);
    raw_message(&raw, END_STREAM, 1, 1, 1, "x");
    expect_message_refused("grpc-status: 12\n", 3);
}

Test(grpc_hostile, a_message_that_claims_four_gigabytes_is_refused_by_its_prefix)
{
    begin_server(NULL);
    greet();
    raw_headers(&raw, END_HEADERS, 1, unary_fields);
    raw_message(&raw, 0, 1, 0, UINT32_MAX, "");
    expect_message_refused("grpc-status: 8\n", 3);
}

Test(grpc_hostile, a_unary_call_without_a_message_is_an_invalid_argument)
{
    begin_server(NULL);
    greet();
    raw_headers(&raw, END_HEADERS | END_STREAM, 1, unary_fields);
    expect_message_refused("grpc-status: 3\n", 3);
}

Test(grpc_hostile, a_unary_call_with_two_messages_is_an_invalid_argument)
{
    begin_server(NULL);
    greet();
    raw_headers(&raw, END_HEADERS, 1, unary_fields);
    raw_message(&raw, 0, 1, 0, 1, "x");
    raw_message(&raw, END_STREAM, 1, 0, 1, "y");
    expect_message_refused("grpc-status: 3\n", 3);
}

Test(grpc_hostile, a_message_cut_short_is_an_invalid_argument)
{
    begin_server(NULL);
    greet();
    raw_headers(&raw, END_HEADERS, 1, unary_fields);
    raw_message(&raw, END_STREAM, 1, 0, 10, "short");
    expect_message_refused("grpc-status: 3\n", 3);
}

Test(grpc_hostile, a_streamed_message_cut_short_is_an_invalid_argument)
{
    begin_server(NULL);
    greet();
    raw_headers(&raw, END_HEADERS, 1, chat_fields);
    raw_message(&raw, END_STREAM, 1, 0, 10, "short");
    expect_message_refused("grpc-status: 3\n", 3);
}

/* --- floods ------------------------------------------------------------------------------------------------------- */

#define FLOOD 100000

/* Until the other side has seen all that was sent. Ends without a limit of time: either it was read or it hung up. */
static void settle(void)
{
    while (raw.stream != NULL && stream_pending(raw.stream) > 0)
        turn();
    for (int i = 0; i < 10; i++)
        turn();
}

/* Sends `frames` in batches while reading, so that nothing but the budget can be what stops it. */
static void flood(unsigned frames, void (*send)(unsigned i))
{
    uint64_t before = atomic_load(&grpc_server_counters.refused_floods);
    for (unsigned i = 0; i < frames && !raw.closed; i++) {
        send(i);
        if (i % 50 == 0)
            turn();
    }
    settle();
    cr_assert(raw.closed, "nothing stopped the flood");
    expect_calm_down();
    cr_expect_eq(atomic_load(&grpc_server_counters.refused_floods), before + 1);
    end_server();
}

static void send_ping(unsigned i)
{
    (void)i;
    raw_frame(&raw, F_PING, 0, 0, "12345678", 8);
}

Test(grpc_hostile, a_flood_of_pings_is_stopped)
{
    begin_server(&(struct grpc_server_limits){.frames_per_second = 200});
    greet();
    flood(FLOOD, send_ping);
}

static void send_settings(unsigned i)
{
    (void)i;
    raw_frame(&raw, F_SETTINGS, 0, 0, NULL, 0);
}

Test(grpc_hostile, a_flood_of_settings_is_stopped)
{
    begin_server(&(struct grpc_server_limits){.frames_per_second = 200});
    greet();
    flood(FLOOD, send_settings);
}

static void send_priority(unsigned i)
{
    const uint8_t payload[5] = {0, 0, 0, 0, 16};
    raw_frame(&raw, F_PRIORITY, 0, 1 + 2 * (i % 1000), payload, sizeof payload);
}

Test(grpc_hostile, a_flood_of_priorities_is_stopped)
{
    begin_server(&(struct grpc_server_limits){.frames_per_second = 200});
    greet();
    flood(FLOOD, send_priority);
}

static void send_window_update(unsigned i)
{
    const uint8_t payload[4] = {0, 0, 0, 1};
    (void)i;
    raw_frame(&raw, F_WINDOW_UPDATE, 0, 0, payload, sizeof payload);
}

Test(grpc_hostile, a_flood_of_window_updates_is_stopped)
{
    begin_server(&(struct grpc_server_limits){.frames_per_second = 200});
    greet();
    flood(FLOOD, send_window_update);
}

static void send_unknown(unsigned i)
{
    (void)i;
    raw_frame(&raw, 0xBB, 0, 0, NULL, 0);
}

Test(grpc_hostile, a_flood_of_unknown_frames_is_stopped)
{
    begin_server(&(struct grpc_server_limits){.frames_per_second = 200});
    greet();
    flood(FLOOD, send_unknown);
}

static void send_empty_data(unsigned i)
{
    (void)i;
    raw_frame(&raw, F_DATA, 0, 1, NULL, 0);
}

Test(grpc_hostile, a_flood_of_empty_data_is_stopped)
{
    begin_server(&(struct grpc_server_limits){.frames_per_second = 200});
    greet();
    raw_headers(&raw, END_HEADERS, 1, chat_fields);
    flood(FLOOD, send_empty_data);
}

Test(grpc_hostile, a_flood_of_empty_data_on_a_closed_stream_is_stopped)
{
    begin_server(&(struct grpc_server_limits){.frames_per_second = 200});
    greet();
    raw_headers(&raw, END_HEADERS, 1, chat_fields);
    raw_frame(&raw, F_RST_STREAM, 0, 1, "\0\0\0\10", 4);
    flood(FLOOD, send_empty_data);
}

static void send_rapid_reset(unsigned i)
{
    raw_headers(&raw, END_HEADERS, 1 + 2 * i, unary_fields);
    raw_frame(&raw, F_RST_STREAM, 0, 1 + 2 * i, "\0\0\0\10", 4);
}

Test(grpc_hostile, rapid_resets_are_stopped)
{
    begin_server(&(struct grpc_server_limits){.resets_per_second = 50});
    greet();
    flood(FLOOD, send_rapid_reset);
}

/* A field that HTTP/2 forbids: the server resets, not the client. */
static void send_what_must_be_reset(unsigned i)
{
    const char *const fields[] = {REQUEST_FIELDS(ECHO_CHAT), "connection", "close", NULL};
    raw_headers(&raw, END_HEADERS, 1 + 2 * i, fields);
}

Test(grpc_hostile, making_the_server_reset_streams_is_stopped)
{
    begin_server(&(struct grpc_server_limits){.resets_per_second = 50});
    greet();
    flood(FLOOD, send_what_must_be_reset);
}

static void send_stream_too_many(unsigned i)
{
    raw_headers(&raw, END_HEADERS, 1 + 2 * i, chat_fields);
}

Test(grpc_hostile, opening_more_streams_than_allowed_is_stopped)
{
    begin_server(&(struct grpc_server_limits){.resets_per_second = 50, .streams_max = 10});
    greet();
    flood(FLOOD, send_stream_too_many);
}

Test(grpc_hostile, answers_earn_window_updates_back)
{
    begin_server(&(struct grpc_server_limits){.frames_per_second = 20});
    greet();
    /* More WINDOW_UPDATEs than the budget alone holds, each after an answer. */
    for (unsigned i = 0; i < 200; i++) {
        expect_alive(1 + 2 * i);
        send_window_update(0);
        send_window_update(0);
    }
    end_server();
}

/* --- headers ------------------------------------------------------------------------------------------------------ */

Test(grpc_hostile, a_header_bomb_is_stopped_while_it_is_decompressed)
{
    uint64_t before = atomic_load(&grpc_server_counters.refused_headers);
    begin_server(NULL);
    greet();
    /* One field of 3 KB enters the dynamic table, then one byte each repeats it: 48 MB in all. */
    uint8_t block[16384];
    size_t len = 0;
    block[len++] = 0x40; /* literal with indexing, new name */
    block[len++] = 1;
    block[len++] = 'x';
    block[len++] = 0x7F; /* 127 + 0x1639 = */
    block[len++] = 0xB9;
    block[len++] = 0x16; /* 127 + (0x39 + 128 * 0x16) = 3000 */
    memset(block + len, 'a', 3000);
    len += 3000;
    memset(block + len, 0xBE, sizeof block - len); /* index 62: the newest entry */
    raw_frame(&raw, F_HEADERS, END_HEADERS | END_STREAM, 1, block, sizeof block);
    expect_calm_down();
    cr_expect_eq(atomic_load(&grpc_server_counters.refused_headers), before + 1);
    end_server();
}

Test(grpc_hostile, headers_that_go_on_and_on_are_stopped)
{
    begin_server(NULL);
    greet();
    raw_headers(&raw, 0, 1, unary_fields);
    uint8_t block[256];
    size_t len = raw_field(block, "x-more", "and more");
    for (unsigned i = 0; i < 100000 && !raw.closed; i++) {
        raw_frame(&raw, F_CONTINUATION, 0, 1, block, len);
        if (i % 50 == 0)
            turn();
    }
    settle();
    cr_assert(raw.closed, "nothing stopped them");
    cr_expect_neq(raw.goaway, -1);
    end_server();
}

Test(grpc_hostile, trailers_of_a_request_are_bounded_too)
{
    begin_server(NULL);
    greet();
    raw_headers(&raw, END_HEADERS, 1, unary_fields);
    uint8_t block[16384];
    size_t len = 0;
    while (len + 64 < sizeof block)
        len += raw_field(block + len, "x", "y");
    raw_frame(&raw, F_HEADERS, END_HEADERS | END_STREAM, 1, block, len);
    expect_calm_down();
    end_server();
}

/* --- slow ones ---------------------------------------------------------------------------------------------------- */

Test(grpc_hostile, half_a_request_does_not_stay)
{
    begin_server(&(struct grpc_server_limits){.request_timeout_ms = 30});
    greet();
    raw_headers(&raw, END_HEADERS, 1, unary_fields);
    raw_message(&raw, 0, 1, 0, 10, "half");
    expect_calm_down();
    end_server();
}

Test(grpc_hostile, a_stream_that_never_says_anything_does_not_stay)
{
    begin_server(&(struct grpc_server_limits){.request_timeout_ms = 30});
    greet();
    raw_headers(&raw, END_HEADERS, 1, chat_fields);
    expect_calm_down();
    end_server();
}

Test(grpc_hostile, half_a_message_on_a_stream_does_not_stay)
{
    begin_server(&(struct grpc_server_limits){.request_timeout_ms = 30});
    greet();
    raw_headers(&raw, END_HEADERS, 1, chat_fields);
    raw_message(&raw, 0, 1, 0, 5, "whole");
    raw_message(&raw, 0, 1, 0, 10, "half");
    expect_calm_down();
    end_server();
}

Test(grpc_hostile, a_stream_may_be_silent_between_its_messages)
{
    const struct timespec nap = {.tv_nsec = 100 * 1000 * 1000};
    begin_server(&(struct grpc_server_limits){.request_timeout_ms = 30});
    greet();
    raw_headers(&raw, END_HEADERS, 1, chat_fields);
    raw_message(&raw, 0, 1, 0, 5, "whole");
    while (atomic_load(&echo_calls_open) == 0)
        turn();
    CHECK(nanosleep(&nap, NULL) == 0);
    for (int i = 0; i < 3; i++)
        turn();
    expect_alive(3);
    end_server();
}

Test(grpc_hostile, half_a_header_block_does_not_stay)
{
    begin_server(&(struct grpc_server_limits){.request_timeout_ms = 30});
    greet();
    raw_headers(&raw, 0, 1, unary_fields);
    expect_calm_down();
    end_server();
}

Test(grpc_hostile, a_refused_request_must_still_get_complete)
{
    const char *const fields[] = {
        REQUEST_FIELDS("/nothing"), "content-type", "application/grpc", "te", "trailers", NULL};
    begin_server(&(struct grpc_server_limits){.request_timeout_ms = 30});
    greet();
    raw_headers(&raw, END_HEADERS, 1, fields);
    expect_calm_down();
    end_server();
}

Test(grpc_hostile, a_peer_that_says_nothing_does_not_stay)
{
    begin_server(&(struct grpc_server_limits){.request_timeout_ms = 30});
    expect_calm_down();
    end_server();
}

Test(grpc_hostile, a_peer_that_does_not_speak_http2_is_turned_away)
{
    begin_server(NULL);
    raw_send(&raw, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
    run_until_closed();
    while (connection != NULL)
        turn();
    cr_expect_eq(why.code, LAPSE_UNAVAILABLE);
    end_server();
}

Test(grpc_hostile, a_deadline_passes_also_where_the_answer_is_not_read)
{
    const char *const fields[] = {
        REQUEST_FIELDS(ECHO_COUNT), "content-type", "application/grpc", "te", "trailers", "grpc-timeout", "30m", NULL};
    begin_server(NULL);
    raw_send(&raw, RAW_PREFACE, strlen(RAW_PREFACE));
    raw_frame(&raw, F_SETTINGS, 0, 0, "\0\4\0\0\0\0", 6); /* INITIAL_WINDOW_SIZE 0 */
    raw_headers(&raw, END_HEADERS, 1, fields);
    raw_message(&raw, END_STREAM, 1, 0, 7, "1000000");
    run_until_answered(1);
    cr_expect(answered("grpc-status: 4\n"), "%s", raw.headers);
    cr_expect_eq(raw.data.len, 0);
    end_server();
}

Test(grpc_hostile, answers_that_wait_on_a_connection_are_bounded)
{
    begin_server(&(struct grpc_server_limits){.call_queue_max = LIMIT_CONNECTION_QUEUE + LIMIT_CALL_QUEUE});
    raw_send(&raw, RAW_PREFACE, strlen(RAW_PREFACE));
    raw_frame(&raw, F_SETTINGS, 0, 0, "\0\4\0\0\0\0", 6);
    raw_headers(&raw, END_HEADERS, 1, count_fields);
    raw_message(&raw, END_STREAM, 1, 0, 7, "9999999");
    raw_headers(&raw, END_HEADERS, 3, unary_fields);
    raw_message(&raw, END_STREAM, 3, 0, 1, "x");
    run_until_answered(1);
    cr_expect(answered("grpc-status: 8\n"), "%s", raw.headers);
    end_server();
}

/* --- a client and a server that isn't quite gRPC -------------------------------------------------------------------
 */

static struct grpc_channel *channel;
static bool channel_closed;
static unsigned ends, messages;
static enum lapse_code end_code;
static char end_text[LAPSE_ERROR_MESSAGE_SIZE];
static bool end_sent;

static void on_channel_close(struct grpc_channel *closed, const struct lapse_error *reason)
{
    (void)closed;
    why = *reason;
    channel_closed = true;
}

static void on_message(struct grpc_request *request, struct slice message)
{
    (void)request, (void)message;
    messages++;
}

static void on_end(struct grpc_request *request, enum lapse_code code, const char *text, bool sent)
{
    (void)request;
    ends++;
    end_code = code;
    end_sent = sent;
    (void)snprintf(end_text, sizeof end_text, "%s", text);
}

/* A client with one call under way (stream 1). */
static void begin_client(void)
{
    static const struct grpc_channel_handler handler = {.on_close = on_channel_close};
    static const struct grpc_request_handler recorder = {on_message, on_end, NULL};
    struct stream *a = NULL, *b = NULL;
    CHECK(uv_loop_init(&loop) == 0);
    stream_pair(&loop, &nobody, &nobody, 0, &a, &b);
    channel = grpc_channel_new(&loop, a, &(struct grpc_channel_options){.authority = "x"}, &handler, NULL);
    raw_begin(&raw, b, true);
    while (!raw.open || !grpc_channel_is_ready(channel))
        turn();
    raw_frame(&raw, F_SETTINGS, 0, 0, NULL, 0);
    cr_assert(lapse_is_ok(grpc_channel_call(channel, ECHO_UNARY, slice_str("x"), false, -1, &recorder, NULL, NULL)));
    while (raw.ends == 0)
        (void)uv_run(&loop, UV_RUN_ONCE);
}

static void expect_end(enum lapse_code code)
{
    while (ends == 0)
        (void)uv_run(&loop, UV_RUN_ONCE);
    cr_expect_eq(end_code, code, "%s: %s", lapse_code_name(end_code), end_text);
    if (!channel_closed)
        grpc_channel_close(channel);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    cr_expect_eq(ends, 1);
    cr_assert_eq(uv_loop_close(&loop), 0);
    raw_end(&raw);
}

#define ANSWER_FIELDS ":status", "200", "content-type", "application/grpc"
static const char *const answer_fields[] = {ANSWER_FIELDS, NULL};
static const char *const ok_fields[] = {"grpc-status", "0", NULL};

static void answer(const char *const *headers, const char *message, const char *const *trailers)
{
    raw_headers(&raw, END_HEADERS, 1, headers);
    if (message != NULL)
        raw_message(&raw, 0, 1, 0, (uint32_t)strlen(message), message);
    raw_headers(&raw, END_HEADERS | END_STREAM, 1, trailers);
}

Test(grpc_answers, a_plain_answer_by_hand_works)
{
    begin_client();
    cr_expect(answered(":method: POST\n") && answered("te: trailers\n") && answered(":path: " ECHO_UNARY "\n"), "%s",
              raw.headers);
    answer(answer_fields, "x", ok_fields);
    expect_end(LAPSE_OK);
    cr_expect_eq(messages, 1);
}

Test(grpc_answers, http_errors_are_mapped)
{
    const char *const fields[] = {":status", "503", "content-type", "text/html", NULL};
    begin_client();
    raw_headers(&raw, END_HEADERS | END_STREAM, 1, fields);
    expect_end(LAPSE_UNAVAILABLE);
}

Test(grpc_answers, a_web_page_is_not_an_answer)
{
    const char *const fields[] = {":status", "200", "content-type", "text/html", NULL};
    begin_client();
    raw_headers(&raw, END_HEADERS | END_STREAM, 1, fields);
    expect_end(LAPSE_UNKNOWN);
}

Test(grpc_answers, an_answer_without_a_status_is_unknown)
{
    begin_client();
    raw_headers(&raw, END_HEADERS, 1, answer_fields);
    raw_message(&raw, END_STREAM, 1, 0, 1, "x");
    expect_end(LAPSE_UNKNOWN);
}

Test(grpc_answers, a_malformed_status_is_unknown)
{
    const char *const trailers[] = {"grpc-status", "17", NULL};
    begin_client();
    answer(answer_fields, "x", trailers);
    expect_end(LAPSE_UNKNOWN);
}

Test(grpc_answers, an_ok_inside_of_a_message_is_an_error)
{
    begin_client();
    raw_headers(&raw, END_HEADERS, 1, answer_fields);
    raw_message(&raw, 0, 1, 0, 10, "half");
    raw_headers(&raw, END_HEADERS | END_STREAM, 1, ok_fields);
    expect_end(LAPSE_INTERNAL);
}

Test(grpc_answers, a_message_that_claims_too_much_is_refused_by_its_prefix)
{
    begin_client();
    raw_headers(&raw, END_HEADERS, 1, answer_fields);
    raw_message(&raw, 0, 1, 0, UINT32_MAX, "");
    expect_end(LAPSE_RESOURCE_EXHAUSTED);
}

Test(grpc_answers, a_compressed_message_is_refused)
{
    begin_client();
    raw_headers(&raw, END_HEADERS, 1, answer_fields);
    raw_message(&raw, 0, 1, 1, 1, "x");
    expect_end(LAPSE_INTERNAL);
}

Test(grpc_answers, a_refused_stream_was_not_sent)
{
    begin_client();
    raw_frame(&raw, F_RST_STREAM, 0, 1, "\0\0\0\7", 4);
    expect_end(LAPSE_UNAVAILABLE);
    cr_expect_not(end_sent);
}

Test(grpc_answers, a_reset_stream_was_perhaps_done)
{
    begin_client();
    raw_frame(&raw, F_RST_STREAM, 0, 1, "\0\0\0\10", 4);
    expect_end(LAPSE_CANCELLED);
    cr_expect(end_sent);
}

Test(grpc_answers, a_goaway_below_the_call_refuses_it)
{
    begin_client();
    raw_frame(&raw, F_GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0", 8);
    expect_end(LAPSE_UNAVAILABLE);
    cr_expect_not(end_sent);
}

Test(grpc_answers, a_flood_of_informational_answers_is_stopped)
{
    const char *const fields[] = {":status", "103", NULL};
    begin_client();
    for (unsigned i = 0; i < 100000 && !channel_closed; i++) {
        raw_headers(&raw, END_HEADERS, 1, fields);
        if (i % 50 == 0)
            turn();
    }
    settle();
    cr_assert(ends > 0, "nothing stopped the flood");
    expect_end(LAPSE_UNAVAILABLE);
    cr_expect_eq(why.code, LAPSE_RESOURCE_EXHAUSTED);
}

Test(grpc_answers, a_server_that_floods_a_client_is_left)
{
    begin_client();
    for (unsigned i = 0; i < 100000 && !channel_closed; i++) {
        send_ping(i);
        if (i % 50 == 0)
            turn();
    }
    settle();
    cr_assert(ends > 0, "nothing stopped the flood");
    expect_end(LAPSE_UNAVAILABLE);
    cr_expect_eq(why.code, LAPSE_RESOURCE_EXHAUSTED);
}
