/* Envoy's external authorisation: messages by field number, and a call over real gRPC. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/tcp_stream.h"
#include "base/wire.h"
#include "client/agent/ext_authz.h"
#include "proto/grpc_client.h"
#include "tests/unit/fake_guard.h"

static struct buf message;

static void put_text(struct wire_writer *writer, uint32_t field, const char *text)
{
    wire_put_bytes(writer, field, slice_str(text));
}

static void put_header(struct wire_writer *writer, const char *name, const char *value)
{
    size_t entry = wire_begin(writer, 3);
    put_text(writer, 1, name);
    put_text(writer, 2, value);
    wire_end(writer, entry);
}

/* As Envoy sends it; `path` NULL: of a connection that is no HTTP. */
static void make_check(const char *path, const char *user)
{
    buf_free(&message);
    buf_init(&message, 65536);
    struct wire_writer writer = wire_writer(&message);
    size_t attributes = wire_begin(&writer, 1), source = wire_begin(&writer, 1), address = wire_begin(&writer, 1),
           socket = wire_begin(&writer, 1);
    put_text(&writer, 2, "192.0.2.9");
    wire_put_uint(&writer, 3, 5555);
    wire_end(&writer, socket);
    wire_end(&writer, address);
    put_text(&writer, 2, "a service");
    put_text(&writer, 4, "spiffe://example.org/ns/front");
    wire_end(&writer, source);
    size_t request = wire_begin(&writer, 4), http = wire_begin(&writer, 2);
    put_text(&writer, 1, "an id");
    put_text(&writer, 2, "GET");
    put_header(&writer, ":path", "/elsewhere");
    if (user != NULL)
        put_header(&writer, "x-forwarded-user", user);
    if (path != NULL)
        put_text(&writer, 4, path);
    put_text(&writer, 5, "web.example.org");
    wire_put_uint(&writer, 9, 12);
    put_text(&writer, 99, "of a newer Envoy");
    wire_end(&writer, http);
    wire_end(&writer, request);
    wire_end(&writer, attributes);
    cr_assert_not(writer.failed);
}

static void free_message(void)
{
    buf_free(&message);
}

TestSuite(ext_authz, .fini = free_message);

Test(ext_authz, a_check_request_is_read_by_its_field_numbers)
{
    struct agent_request request;
    struct slice user;
    make_check("/reports/q3", "dev1");
    cr_assert(ext_authz_decode(buf_slice(&message), &request));
    cr_assert(slice_equal(request.method, slice_str("GET")));
    cr_assert(slice_equal(request.target, slice_str("/reports/q3")));
    cr_assert(slice_equal(request.host, slice_str("web.example.org")));
    cr_assert(slice_equal(request.address, slice_str("192.0.2.9")));
    cr_assert(slice_equal(request.principal, slice_str("spiffe://example.org/ns/front")));
    cr_assert_eq(agent_request_header(&request, slice_str("X-Forwarded-User"), &user), 1);
    cr_assert(slice_equal(user, slice_str("dev1")));
}

Test(ext_authz, no_cut_or_changed_message_harms)
{
    struct agent_request request;
    make_check("/reports/q3", "dev1");
    size_t refused = 0;
    for (size_t len = 0; len < message.len; len++)
        refused += !ext_authz_decode(slice_of(message.data, len), &request);
    cr_assert_geq(refused, message.len - 2);
    for (size_t i = 0; i < message.len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            message.data[i] ^= (uint8_t)(1u << bit);
            (void)ext_authz_decode(buf_slice(&message), &request);
            message.data[i] ^= (uint8_t)(1u << bit);
        }
}

/* ---- Over gRPC */

static struct {
    struct lapse_guard guard;
    struct agent_maps maps;
    struct agent_decider *decider;
    struct agent_pool *pool;
    struct ext_authz *ext_authz;
    struct grpc_channel *channel;
    uv_loop_t loop;
    bool open, closed;
    int ended;
    enum lapse_code code;
    uint8_t answer[4096];
    size_t answer_len;
} t;

static void on_channel_open(struct grpc_channel *channel, const struct stream_peer *peer)
{
    (void)channel, (void)peer;
    t.open = true;
}

static void on_channel_close(struct grpc_channel *channel, const struct lapse_error *why)
{
    (void)channel, (void)why;
    t.closed = true;
}

static void on_answer(struct grpc_request *request, struct slice bytes)
{
    (void)request;
    cr_assert_leq(bytes.len, sizeof t.answer);
    memcpy(t.answer, bytes.data, bytes.len);
    t.answer_len = bytes.len;
}

static void on_end(struct grpc_request *request, enum lapse_code code, const char *text, bool sent)
{
    (void)request, (void)text, (void)sent;
    t.code = code;
    t.ended++;
}

static void set(const char *key, const char *value)
{
    struct lapse_error error;
    cr_assert(lapse_is_ok(agent_map_set(agent_maps_get(&t.maps, "all"), key, value, &error)), "%s", error.message);
}

static void start(void)
{
    static const struct grpc_channel_handler handler = {.on_open = on_channel_open, .on_close = on_channel_close};
    struct lapse_error error;
    struct stream *stream;
    char address[32];
    log_setup(LOG_ERROR, LOG_TEXT, STDERR_FILENO);
    fake_guard_init(&t.guard);
    set("subject", "user:${header:x-forwarded-user}");
    set("resource", "web/${path}");
    set("action", "read");
    t.decider = agent_decider_new(&t.guard, &t.maps);
    t.pool = agent_pool_new(1);
    cr_assert_eq(uv_loop_init(&t.loop), 0);
    cr_assert(lapse_is_ok(ext_authz_start(&t.loop, "127.0.0.1:0", t.decider, t.pool, &t.ext_authz, &error)));
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", ext_authz_port(t.ext_authz));
    cr_assert(lapse_is_ok(tcp_connect(&t.loop, address, NULL, (struct stream_handler){0}, NULL, &stream, &error)));
    t.channel = grpc_channel_new(&t.loop, stream, &(struct grpc_channel_options){.authority = "agent"}, &handler, NULL);
    while (!t.open)
        (void)uv_run(&t.loop, UV_RUN_ONCE);
}

static void stop(void)
{
    if (!t.closed)
        grpc_channel_close(t.channel);
    ext_authz_shutdown(t.ext_authz);
    while (!t.closed || !ext_authz_is_idle(t.ext_authz))
        (void)uv_run(&t.loop, UV_RUN_ONCE);
    agent_pool_end(t.pool);
    ext_authz_free(t.ext_authz);
    cr_assert_eq(uv_run(&t.loop, UV_RUN_DEFAULT), 0);
    cr_assert_eq(uv_loop_close(&t.loop), 0);
    agent_pool_free(t.pool);
    agent_decider_free(t.decider);
    buf_free(&message);
}

TestSuite(ext_authz_call, .init = start, .fini = stop);

static struct grpc_request *begin_call(struct slice bytes)
{
    static const struct grpc_request_handler handler = {.on_message = on_answer, .on_end = on_end};
    struct grpc_request *request = NULL;
    cr_assert(lapse_is_ok(grpc_channel_call(t.channel, "/envoy.service.auth.v3.Authorization/Check", bytes, false,
                                            60000, &handler, NULL, &request)));
    return request;
}

static void call(struct slice bytes)
{
    int ended = t.ended;
    (void)begin_call(bytes);
    while (t.ended == ended)
        (void)uv_run(&t.loop, UV_RUN_ONCE);
}

/* The bytes of a field of the answer, along a path of numbers ended by 0. */
static struct slice field_of(struct slice bytes, const uint32_t *path, uint64_t *value)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    while (wire_next(&reader, &field))
        if (field.number == path[0]) {
            *value = field.value;
            return path[1] == 0 ? field.bytes : field_of(field.bytes, path + 1, value);
        }
    return slice_of(NULL, 0);
}

#define FIELD(...) field_of(slice_of(t.answer, t.answer_len), (const uint32_t[]){__VA_ARGS__, 0}, &number)

static bool answer_has(const char *text)
{
    return memmem(t.answer, t.answer_len, text, strlen(text)) != NULL;
}

Test(ext_authz_call, a_grant_permits_with_headers_for_the_application)
{
    uint64_t number = 99;
    fake_guard_grant(&t.guard, "user:dev1", "web/reports/q3", "read")->spiffe_id = "spiffe://example.org/ns/front";
    make_check("/reports/q3", "dev1");
    call(buf_slice(&message));
    cr_assert_eq(t.code, LAPSE_OK);
    (void)FIELD(1, 1);
    cr_assert_eq(number, 0, "google.rpc.Status.code is OK");
    cr_assert_gt(FIELD(3).len, 0, "there is an ok_response");
    cr_assert(slice_equal(FIELD(3, 2, 1, 1), slice_str("x-lapse-decision")));
    cr_assert(slice_equal(FIELD(3, 2, 1, 2), slice_str("permit")));
    cr_assert(answer_has("01M0000000000000000000TEST"));
}

Test(ext_authz_call, a_denial_says_403_and_why)
{
    uint64_t number = 0;
    make_check("/reports/q3", "dev1");
    call(buf_slice(&message));
    cr_assert_eq(t.code, LAPSE_OK);
    (void)FIELD(1, 1);
    cr_assert_eq(number, 7);
    (void)FIELD(2, 1, 1);
    cr_assert_eq(number, 403);
    cr_assert(slice_equal(FIELD(2, 3), slice_str("NO_GRANT")));
}

Test(ext_authz_call, nobody_presented_says_401)
{
    uint64_t number = 0;
    make_check("/reports/q3", NULL);
    call(buf_slice(&message));
    (void)FIELD(1, 1);
    cr_assert_eq(number, 16);
    (void)FIELD(2, 1, 1);
    cr_assert_eq(number, 401);
    cr_assert(answer_has("www-authenticate"));
}

Test(ext_authz_call, a_connection_that_is_no_http_is_denied)
{
    make_check(NULL, "dev1");
    call(buf_slice(&message));
    cr_assert_eq(t.code, LAPSE_OK);
    cr_assert(answer_has("BAD_REQUEST"));
}

Test(ext_authz_call, what_is_no_check_request_gets_an_error)
{
    call(slice_str("\x0a\xff"));
    cr_assert_eq(t.code, LAPSE_INVALID_ARGUMENT);
}

Test(ext_authz_call, a_use_waits_without_holding_up_others)
{
    struct fake_grant *grant = fake_guard_grant(&t.guard, "user:dev1", "web/counted", "read");
    grant->counts = true;
    grant->uses = 1;
    t.guard.hold = true;
    make_check("/counted", "dev1");
    (void)begin_call(buf_slice(&message));
    while (atomic_load(&t.guard.holding) == 0)
        (void)uv_run(&t.loop, UV_RUN_NOWAIT);
    make_check("/reports/q3", "dev1");
    call(buf_slice(&message));
    cr_assert(answer_has("NO_GRANT"));
    cr_assert_eq(t.ended, 1);
    t.guard.hold = false;
    while (t.ended < 2)
        (void)uv_run(&t.loop, UV_RUN_ONCE);
    cr_assert(answer_has("permit"));
}

Test(ext_authz_call, a_caller_that_gives_up_while_waiting_harms_nobody)
{
    struct fake_grant *grant = fake_guard_grant(&t.guard, "user:dev1", "web/counted", "read");
    grant->counts = true;
    grant->uses = 1;
    t.guard.hold = true;
    make_check("/counted", "dev1");
    struct grpc_request *request = begin_call(buf_slice(&message));
    while (atomic_load(&t.guard.holding) == 0)
        (void)uv_run(&t.loop, UV_RUN_NOWAIT);
    grpc_request_cancel(request);
    while (t.ended == 0)
        (void)uv_run(&t.loop, UV_RUN_ONCE);
    cr_assert_eq(t.code, LAPSE_CANCELLED);
    /* Behind this answer the server has seen the end of the other call. */
    make_check("/reports/q3", "dev1");
    call(buf_slice(&message));
    t.guard.hold = false;
    /* Not left to the suite's end, where a crash would not count. */
    stop();
    memset(&t, 0, sizeof t);
    start();
}
