/* Reflection and health: what tools ask of any gRPC server. */
#include <criterion/criterion.h>
#include <stdatomic.h>

#include "base/check.h"
#include "base/stream_pair.h"
#include "base/wire.h"
#include "proto/descriptors_index.h"
#include "proto/grpc_client.h"
#include "proto/health.h"
#include "proto/reflection.h"

/* --- descriptors -------------------------------------------------------------------------------------------------- */

static void expect_symbol_in(const char *symbol, const char *name)
{
    struct descriptor_file file = {0};
    bool found = descriptor_file_by_symbol(slice_str(symbol), &file);
    cr_expect_eq(found, name != NULL, "%s", symbol);
    if (found && name != NULL)
        cr_expect(slice_equal(file.name, slice_str(name)), "%s is in %.*s", symbol, (int)file.name.len,
                  (const char *)file.name.data);
}

Test(reflection, symbols_of_every_kind_lead_to_their_file)
{
    expect_symbol_in("lapse.v1.Grants", "lapse/v1/grants.proto");
    expect_symbol_in("lapse.v1.Grants.Watch", "lapse/v1/grants.proto");
    expect_symbol_in("lapse.v1.Cluster", "lapse/v1/cluster.proto");
    expect_symbol_in("lapse.v1.Grant", "lapse/v1/grant.proto");
    expect_symbol_in("lapse.v1.GrantState", "lapse/v1/grant.proto");
    expect_symbol_in("grpc.health.v1.HealthCheckResponse.ServingStatus", "grpc/health/v1/health.proto");
    expect_symbol_in("grpc.reflection.v1.ServerReflection", "grpc/reflection/v1/reflection.proto");
    expect_symbol_in("grpc.reflection.v1alpha.ServerReflection", "grpc/reflection/v1alpha/reflection.proto");
    expect_symbol_in("lapse.v1.Gran", NULL);
    expect_symbol_in("lapse.v1.Grants.Nothing", NULL);
    expect_symbol_in("lapse.v1.Grants.Watch.More", NULL);
    expect_symbol_in("lapse.v1", NULL);
    expect_symbol_in("lapse.v1.", NULL);
    expect_symbol_in("", NULL);
}

Test(reflection, services_are_known_by_their_full_name_only)
{
    cr_expect(descriptor_has_service(slice_str("lapse.v1.Grants")));
    cr_expect(descriptor_has_service(slice_str("grpc.health.v1.Health")));
    cr_expect_not(descriptor_has_service(slice_str("lapse.v1.Grant")));
    cr_expect_not(descriptor_has_service(slice_str("Grants")));
    cr_expect_not(descriptor_has_service(slice_str("lapse.v1.Grants.Get")));
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static struct buf answer;

static void begin(void)
{
    buf_init(&answer, LIMIT_MESSAGE_OUT);
}

static void finish(void)
{
    buf_free(&answer);
}

TestSuite(reflection, .init = begin, .fini = finish);

static void ask(uint32_t field, const char *argument)
{
    struct buf request;
    struct lapse_error error = {0};
    buf_init(&request, 1024);
    struct wire_writer writer = wire_writer(&request);
    wire_put_bytes(&writer, 1, slice_str("host"));
    size_t mark = wire_begin(&writer, field);
    CHECK(lapse_is_ok(buf_append(&request, argument, strlen(argument))));
    wire_end(&writer, mark);
    buf_clear(&answer);
    cr_assert(lapse_is_ok(reflection_answer(buf_slice(&request), &answer, &error)), "%s", error.message);
    buf_free(&request);
}

/* Occurrence `i` of a field at `path[0]` / `path[1]` / ...; counts them when `value` is NULL. */
static bool nested(struct slice message, uint32_t number, size_t i, struct wire_field *value)
{
    struct wire_reader reader = wire_reader(message);
    while (wire_next(&reader, value))
        if (value->number == number && i-- == 0)
            return true;
    cr_assert_not(reader.failed);
    return false;
}

static void expect_files(size_t n, const char *first)
{
    struct wire_field response, file, name;
    cr_assert(nested(buf_slice(&answer), 4, 0, &response));
    for (size_t i = 0; i < n; i++)
        cr_expect(nested(response.bytes, 1, i, &file), "file %zu", i);
    cr_expect_not(nested(response.bytes, 1, n, &file), "no more than %zu", n);
    cr_assert(nested(response.bytes, 1, 0, &file) && nested(file.bytes, 1, 0, &name));
    cr_expect(slice_equal(name.bytes, slice_str(first)));
}

static void expect_error(enum lapse_code code)
{
    struct wire_field response, number;
    cr_assert(nested(buf_slice(&answer), 7, 0, &response));
    cr_assert(nested(response.bytes, 1, 0, &number));
    cr_expect_eq(number.value, code);
}

Test(reflection, a_file_comes_with_what_it_imports)
{
    ask(3, "lapse/v1/grants.proto");
    expect_files(3, "lapse/v1/grants.proto");
    ask(3, "lapse/v1/grant.proto");
    expect_files(2, "lapse/v1/grant.proto");
    ask(4, "lapse.v1.Cluster.Status");
    expect_files(3, "lapse/v1/cluster.proto");
}

Test(reflection, an_answer_repeats_its_question)
{
    struct wire_field field, file;
    ask(4, "lapse.v1.Grants");
    cr_assert(nested(buf_slice(&answer), 1, 0, &field));
    cr_expect(slice_equal(field.bytes, slice_str("host")));
    cr_assert(nested(buf_slice(&answer), 2, 0, &field) && nested(field.bytes, 4, 0, &file));
    cr_expect(slice_equal(file.bytes, slice_str("lapse.v1.Grants")));
}

Test(reflection, all_services_are_listed)
{
    static const char *const expected[] = {"lapse.v1.Grants",
                                           "lapse.v1.Cluster",
                                           "lapse.v1.Enforcement",
                                           "lapse.v1.Audit",
                                           "lapse.v1.Policies",
                                           "lapse.v1.Locks",
                                           "lapse.v1.Eligibilities",
                                           "lapse.v1.Reviews",
                                           "grpc.health.v1.Health",
                                           "grpc.reflection.v1.ServerReflection",
                                           "grpc.reflection.v1alpha.ServerReflection"};
    struct wire_field list, service, name;
    ask(7, "");
    cr_assert(nested(buf_slice(&answer), 6, 0, &list));
    unsigned found = 0;
    size_t n = 0;
    for (; nested(list.bytes, 1, n, &service); n++) {
        cr_assert(nested(service.bytes, 1, 0, &name));
        for (size_t i = 0; i < ARRAY_LEN(expected); i++)
            found |= slice_equal(name.bytes, slice_str(expected[i])) ? 1u << i : 0;
    }
    cr_expect_eq(n, ARRAY_LEN(expected));
    cr_expect_eq(found, (1u << ARRAY_LEN(expected)) - 1);
}

Test(reflection, what_is_not_there_is_an_error_in_the_answer)
{
    ask(3, "nothing.proto");
    expect_error(LAPSE_NOT_FOUND);
    ask(4, "lapse.v1.Nothing");
    expect_error(LAPSE_NOT_FOUND);
    ask(5, "");
    expect_error(LAPSE_NOT_FOUND);
    ask(6, "lapse.v1.Grant");
    expect_error(LAPSE_NOT_FOUND);
    buf_clear(&answer);
    cr_assert(lapse_is_ok(reflection_answer(slice_of(NULL, 0), &answer, NULL)));
    expect_error(LAPSE_UNIMPLEMENTED);
    cr_expect_eq(reflection_answer(slice_str("\x1A\x7F"), &answer, NULL).code, LAPSE_INVALID_ARGUMENT);
}

/* --- over gRPC ---------------------------------------------------------------------------------------------------- */

static uv_loop_t loop;
static struct health *health;
static struct grpc_channel *channel;
static bool server_closed, channel_closed;
static const struct stream_peer nobody;
static struct grpc_method methods[HEALTH_METHODS + REFLECTION_METHODS];

static void on_server_close(struct grpc_connection *connection, const struct lapse_error *why)
{
    (void)connection, (void)why;
    server_closed = true;
}

static void on_channel_close(struct grpc_channel *closed, const struct lapse_error *why)
{
    (void)closed, (void)why;
    channel_closed = true;
}

static void connect_both(void)
{
    static const struct grpc_server_handler server = {.on_close = on_server_close};
    static const struct grpc_channel_handler client = {.on_close = on_channel_close};
    struct stream *a = NULL, *b = NULL;
    CHECK(uv_loop_init(&loop) == 0);
    health = health_new(&loop);
    health_methods(health, methods);
    memcpy(methods + HEALTH_METHODS, reflection_methods, sizeof reflection_methods);
    stream_pair(&loop, &nobody, &nobody, 0, &a, &b);
    (void)grpc_serve(&loop, b, methods, ARRAY_LEN(methods), NULL, &server, NULL);
    channel = grpc_channel_new(&loop, a, &(struct grpc_channel_options){.authority = "x"}, &client, NULL);
    while (!grpc_channel_is_ready(channel))
        (void)uv_run(&loop, UV_RUN_ONCE);
}

static void disconnect(void)
{
    grpc_channel_close(channel);
    while (!server_closed || !channel_closed)
        (void)uv_run(&loop, UV_RUN_ONCE);
    health_free(health);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

struct record {
    struct grpc_request *request;
    unsigned n;
    uint8_t last[16];
    size_t len;
    bool ended;
    enum lapse_code code;
};

static void on_message(struct grpc_request *request, struct slice message)
{
    struct record *record = grpc_request_owner(request);
    record->n++;
    record->len = message.len;
    memcpy(record->last, message.data, message.len < sizeof record->last ? message.len : sizeof record->last);
}

static void on_end(struct grpc_request *request, enum lapse_code code, const char *text, bool sent)
{
    struct record *record = grpc_request_owner(request);
    (void)text, (void)sent;
    record->ended = true;
    record->code = code;
}

static const struct grpc_request_handler recorder = {on_message, on_end, NULL};

static void call(struct record *record, const char *path, const char *message, size_t len, bool more)
{
    cr_assert(lapse_is_ok(
        grpc_channel_call(channel, path, slice_of(message, len), more, -1, &recorder, record, &record->request)));
}

static void wait_for(struct record *record, unsigned n)
{
    while (record->n < n && !record->ended)
        (void)uv_run(&loop, UV_RUN_ONCE);
}

static void check(const char *message, size_t len, enum lapse_code code, uint8_t status)
{
    struct record record = {0};
    call(&record, "/grpc.health.v1.Health/Check", message, len, false);
    while (!record.ended)
        (void)uv_run(&loop, UV_RUN_ONCE);
    cr_expect_eq(record.code, code);
    if (code == LAPSE_OK)
        cr_expect_eq(record.last[1], status);
}

Test(health, a_check_tells_the_state_of_known_services)
{
    connect_both();
    check("", 0, LAPSE_OK, 2);
    health_set(true);
    check("", 0, LAPSE_OK, 1);
    check("\x0A\x0Flapse.v1.Grants", 17, LAPSE_OK, 1);
    check("\x0A\x01x", 3, LAPSE_NOT_FOUND, 0);
    check("\x0A\x7Fx", 3, LAPSE_INVALID_ARGUMENT, 0);
    health_set(false);
    check("", 0, LAPSE_OK, 2);
    disconnect();
}

Test(health, a_watch_is_told_of_each_change)
{
    struct record known = {0}, unknown = {0};
    connect_both();
    call(&known, "/grpc.health.v1.Health/Watch", "", 0, false);
    call(&unknown, "/grpc.health.v1.Health/Watch", "\x0A\x01x", 3, false);
    wait_for(&known, 1);
    wait_for(&unknown, 1);
    cr_expect_eq(known.last[1], 2);
    cr_expect_eq(unknown.last[1], 3);
    health_set(true);
    wait_for(&known, 2);
    cr_expect_eq(known.last[1], 1);
    health_set(true); /* no change */
    health_set(false);
    wait_for(&known, 3);
    cr_expect_eq(known.last[1], 2);
    cr_expect_eq(unknown.n, 1);
    disconnect();
    cr_expect(known.ended && unknown.ended);
}

Test(reflection, questions_are_answered_over_both_versions)
{
    connect_both();
    for (size_t i = 0; i < REFLECTION_METHODS; i++) {
        struct record record = {0};
        call(&record, reflection_methods[i].path, "\x3A\x00", 2, true);
        wait_for(&record, 1);
        (void)grpc_request_send(record.request, slice_str("\x22\x0Flapse.v1.Grants"));
        wait_for(&record, 2);
        cr_expect_gt(record.len, 1000);
        grpc_request_half_close(record.request);
        while (!record.ended)
            (void)uv_run(&loop, UV_RUN_ONCE);
        cr_expect_eq(record.code, LAPSE_OK);
    }
    disconnect();
}
