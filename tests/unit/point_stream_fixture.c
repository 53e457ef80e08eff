#include "tests/unit/point_stream_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/stream_pair.h"
#include "base/wire.h"
#include "node/core_internal.h"
#include "proto/codec.h"
#include "proto/encode.h"
#include "proto/grpc_client.h"
#include "proto/grpc_server.h"
#include "tests/unit/watch_event.h"

struct fixture f;

static uv_loop_t loop;
static struct edge_connection server;
static struct grpc_channel *channel;
static bool channel_closed, server_closed;
static const struct admission_limits admission_limits = {
    .connections_max = 3, .connections_per_principal = 3, .calls_per_principal = 1, .requests_per_second = 1000};
static const struct stream_peer point_peer = {.principal = "spiffe://example.org/workload/proxy1"};
static const struct stream_peer node_peer = {.principal = "spiffe://example.org/lapse/node/1"};

/* --- in place of the clock, the edge's connections and the core -----------------------------------------------------
 */

int64_t clock_boot_ms(void)
{
    return f.now_ms;
}

int64_t clock_boot_us(void)
{
    return f.now_ms * 1000;
}

int64_t clock_wall_ms(void)
{
    return f.now_ms;
}

struct edge_connection *edge_connection_of(const struct grpc_call *call)
{
    return grpc_connection_owner(grpc_call_connection(call));
}

const char *edge_principal_of(const struct grpc_call *call)
{
    return grpc_connection_peer(grpc_call_connection(call))->principal;
}

struct ring *core_ring(struct core *core)
{
    (void)core;
    return f.ring;
}

int64_t core_time_ms(const struct core *core)
{
    (void)core;
    return 1000000 + f.now_ms;
}

const struct store *core_call_store(const struct core_call *call)
{
    (void)call;
    return NULL; /* roles are looked up by the core, which the test plays */
}

void answer(struct core_call *call, const struct lapse_error *error)
{
    uint32_t i = 0;
    while (i < f.n_asked && f.asked[i] != call)
        i++;
    cr_assert_lt(i, f.n_asked);
    memmove(f.asked + i, f.asked + i + 1, (f.n_asked - i - 1) * sizeof f.asked[0]);
    f.n_asked--;
    call->error = *error;
    call->epoch = EPOCH;
    call->revision = f.quorum_revision != 0 ? f.quorum_revision : newest();
    call->answered(call);
}

static void note_command(const struct core_call *call)
{
    struct command *command = &f.written[f.n_written];
    CHECK(f.n_written < ASKED_MAX);
    cr_assert(lapse_is_ok(command_decode(buf_slice(&call->command), command)));
    cr_assert(slice_to_cstr(command->text, f.texts[f.n_written], sizeof f.texts[0]));
    if (command->type == COMMAND_REGISTER)
        cr_assert(slice_to_cstr(command->scope, f.scope, sizeof f.scope));
    command->text = slice_of(NULL, 0); /* borrowed from the call */
    f.n_written++;
}

static void take_write(struct core_call *call)
{
    note_command(call);
    if (f.holds_writes)
        return;
    uint64_t quorum = f.quorum_revision;
    if (f.written[f.n_written - 1].type == COMMAND_REGISTER)
        f.quorum_revision = f.registered_revision;
    answer(call, &f.write);
    f.quorum_revision = quorum;
}

bool core_ask(struct core *core, struct core_call *call)
{
    static const struct lapse_error ok;
    (void)core;
    if (f.is_busy)
        return false;
    CHECK(f.n_asked < ASKED_MAX);
    f.asked[f.n_asked++] = call;
    if (call->op == CORE_WRITE) {
        take_write(call);
    } else if (call->op == CORE_GUARD_OPEN) {
        f.n_guard++;
        cr_assert(slice_to_cstr(call->scope, f.scope, sizeof f.scope));
        cr_assert(slice_to_cstr(call->point, f.asked_point, sizeof f.asked_point));
        call->superseded = f.superseded;
        answer(call, &f.guard);
    } else if (call->op == CORE_SCAN_LOCKS) {
        cr_assert_gt(f.n_scans, 0, "locks come behind the grants");
        cr_assert_eq(call->after.len, 0, "nobody but the core moves it");
        uint32_t i = f.n_lock_scans++ % ARRAY_LEN(f.locks);
        cr_assert(lapse_is_ok(buf_append(&call->response, f.locks[i].data, f.locks[i].len)));
        call->more = i + 1 < f.n_locks;
        if (!call->more)
            f.n_lock_scans = 0;
        answer(call, &ok);
    } else {
        cr_assert_eq(call->op, CORE_SCAN);
        cr_assert_eq(call->filter.states, 1u << GRANT_ACTIVE);
        f.n_scans++;
        cr_assert(lapse_is_ok(buf_append(&call->response, f.snapshot.data, f.snapshot.len)));
        answer(call, &ok);
    }
    return true;
}

struct audit *core_audit(struct core *core)
{
    (void)core;
    return f.has_audit ? (struct audit *)&f : NULL;
}

uint64_t audit_head_revision(const struct audit *audit)
{
    cr_assert_eq((const void *)audit, (const void *)&f);
    return f.head_revision;
}

struct blob *audit_head(struct audit *audit)
{
    (void)audit;
    return f.head_revision == 0 ? NULL : blob_new(slice_str(f.head));
}

void audit_job_init(struct audit_job *job, enum audit_op op)
{
    *job = (struct audit_job){.op = op};
}

void audit_job_clear(struct audit_job *job)
{
    (void)job;
}

bool audit_ask(struct audit *audit, struct audit_job *job)
{
    (void)audit;
    if (f.audit_is_busy)
        return false;
    CHECK(f.n_checks < ARRAY_LEN(f.checks));
    f.checks[f.n_checks++] = job;
    return true;
}

void answer_check(enum audit_verdict verdict, enum lapse_code code)
{
    CHECK(f.n_checks > 0);
    struct audit_job *job = f.checks[0];
    memmove(f.checks, f.checks + 1, --f.n_checks * sizeof(struct audit_job *));
    job->verdict = verdict;
    job->error.code = code;
    mailbox_answer(job->reply_to, &job->mail);
    fixture_run();
}

void audit_abandon(struct audit *audit, struct audit_job *job)
{
    (void)audit;
    cr_assert_eq(f.n_checks, 1);
    cr_assert_eq(f.checks[0], job);
    f.n_checks = 0;
    job->error.code = LAPSE_CANCELLED;
    mailbox_answer(job->reply_to, &job->mail);
}

struct core_point *core_point_open(struct core *core, struct mailbox *reply_to, struct random_id instance,
                                   const struct core_point_handler *handler, void *owner)
{
    (void)core, (void)reply_to, (void)instance;
    f.point = handler;
    f.owner = owner;
    f.n_opened++;
    return (struct core_point *)&f;
}

bool core_point_tell(struct core_point *point, const struct core_point_tell *tell)
{
    cr_assert_eq((void *)point, (void *)&f);
    CHECK(f.n_told < TOLD_MAX);
    f.told[f.n_told++] = *tell;
    return !f.is_busy;
}

void core_point_close(struct core_point *point)
{
    cr_assert_eq((void *)point, (void *)&f);
    f.point = NULL;
    f.n_closed++;
}

/* --- events ---------------------------------------------------------------------------------------------------------
 */

struct feed *first_feed(void)
{
    CHECK(!TAILQ_EMPTY(&f.edge.line.feeds));
    return TAILQ_FIRST(&f.edge.line.feeds);
}

struct grant_id some_grant(void)
{
    static const uint8_t random[10] = {1, 2, 3};
    return grant_id_make(1700000000000, random);
}

uint64_t newest(void)
{
    uint64_t epoch = 0, oldest = 0, revision = 0;
    ring_bounds(f.ring, &epoch, &oldest, &revision);
    return revision;
}

uint64_t append(const struct store_event *terms)
{
    struct store_event event = *terms;
    struct buf bytes;
    event.revision = newest() + 1;
    const struct event_words message = {.revision = event.revision, .type = (uint32_t)event.type, .grant = event.grant};
    buf_init(&bytes, LIMIT_MESSAGE_OUT);
    CHECK(lapse_is_ok(encode_watch_event(EPOCH, &message, &bytes)));
    ring_append(f.ring, ring_event_new(&event, blob_new(buf_slice(&bytes))));
    buf_free(&bytes);
    feed_line_all_due(&f.edge);
    return event.revision;
}

uint64_t append_event(enum store_event_type type, enum grant_state state, const char *resource)
{
    const struct grant grant = {
        .id = some_grant(), .state = state, .subject = slice_str("user:dev1"), .resource = slice_str(resource)};
    return append(&(struct store_event){.type = type, .grant = &grant});
}

/* --- the two ends of the connection ---------------------------------------------------------------------------------
 */

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

void fixture_turn(void)
{
    (void)uv_run(&loop, UV_RUN_NOWAIT);
}

void fixture_tick(void)
{
    feed_line_all_due(&f.edge);
    fixture_turn();
}

void fixture_run(void)
{
    for (int i = 0; i < 100; i++)
        fixture_turn();
}

void fixture_begin(void)
{
    static const struct grpc_server_handler server_handler = {.on_close = on_server_close};
    static const struct grpc_channel_handler client_handler = {.on_close = on_channel_close};
    static const struct grpc_channel_options options = {.authority = "lapse.test"};
    static struct config config = {.node_id = 3};
    struct stream *a = NULL, *b = NULL;
    struct lapse_error error;
    size_t n = 0;
    f = (struct fixture){.now_ms = 5000000, .registered_revision = 50};
    f.ring = ring_new(64, 1 << 20);
    ring_reset(f.ring, EPOCH, 100);
    buf_init(&f.snapshot, 1 << 20);
    buf_init(&f.locks[0], 1 << 20);
    buf_init(&f.locks[1], 1 << 20);
    CHECK(uv_loop_init(&loop) == 0);
    f.edge = (struct edge){.loop = &loop, .config = &config};
    mailbox_init(&f.edge.mailbox, &loop, 1024);
    feed_line_open(&f.edge);
    f.edge.admission = admission_new(&admission_limits);
    server = (struct edge_connection){.edge = &f.edge};
    cr_assert(admission_answer(f.edge.admission));
    cr_assert(lapse_is_ok(admission_enter(f.edge.admission, point_peer.principal, &server.entry, &error)));
    stream_pair(&loop, &point_peer, &node_peer, 0, &a, &b);
    const struct grpc_method *methods = service_enforcement_methods(&n);
    (void)grpc_serve(&loop, b, methods, n, NULL, &server_handler, &server);
    channel = grpc_channel_new(&loop, a, &options, &client_handler, NULL);
    while (!grpc_channel_is_ready(channel))
        (void)uv_run(&loop, UV_RUN_ONCE);
}

void fixture_end(void)
{
    grpc_channel_close(channel);
    fixture_run();
    while (f.n_asked > 0)
        answer(f.asked[0], &f.write);
    fixture_run();
    cr_assert(channel_closed && server_closed);
    cr_assert(TAILQ_EMPTY(&f.edge.line.feeds), "no feed is left");
    cr_assert_eq(f.n_opened, f.n_closed, "every stream of the leases is closed, once");
    cr_assert_eq(metric_get(METRIC_POINT_STREAMS), 0);
    admission_leave(f.edge.admission, server.entry);
    admission_hang_up(f.edge.admission);
    admission_free(f.edge.admission);
    feed_line_close(&f.edge);
    mailbox_close(&f.edge.mailbox);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    cr_assert_eq(uv_loop_close(&loop), 0);
    ring_free(f.ring);
    buf_free(&f.snapshot);
    buf_free(&f.locks[0]);
    buf_free(&f.locks[1]);
}

/* --- the point ------------------------------------------------------------------------------------------------------
 */

static void summarize(const lapse_v1_SubscribeResponse *message, struct seen *seen)
{
    const char *text = "";
    *seen = (struct seen){.kind = message->which_kind, .epoch = message->epoch};
    switch (message->which_kind) {
    case lapse_v1_SubscribeResponse_event_tag:
        seen->revision = message->kind.event.revision;
        seen->number = message->kind.event.type;
        text = message->kind.event.grant.id;
        break;
    case lapse_v1_SubscribeResponse_progress_tag:
        seen->revision = message->kind.progress.revision;
        break;
    case lapse_v1_SubscribeResponse_resync_tag:
        text = message->kind.resync.reason;
        break;
    case lapse_v1_SubscribeResponse_snapshot_grant_tag:
        text = message->kind.snapshot_grant.id;
        break;
    case lapse_v1_SubscribeResponse_head_tag:
        seen->revision = message->kind.head.revision;
        break;
    case lapse_v1_SubscribeResponse_snapshot_lock_tag:
        text = message->kind.snapshot_lock.target;
        break;
    case lapse_v1_SubscribeResponse_snapshot_end_tag:
        seen->revision = message->kind.snapshot_end.revision;
        break;
    case lapse_v1_SubscribeResponse_registered_tag:
        seen->revision = message->kind.registered.revision;
        seen->number = message->kind.registered.lease_ms;
        seen->time_us = (int64_t)message->kind.registered.node_id;
        break;
    case lapse_v1_SubscribeResponse_pong_tag:
        seen->revision = message->kind.pong.sequence;
        seen->number = message->kind.pong.ttl_ms;
        seen->time_us = message->kind.pong.time_us;
        break;
    case lapse_v1_SubscribeResponse_use_result_tag:
        seen->number = message->kind.use_result.code;
        text = message->kind.use_result.request_id;
        break;
    case lapse_v1_SubscribeResponse_ended_tag:
        seen->number = message->kind.ended.cause;
        text = message->kind.ended.reason;
        break;
    default:
        cr_assert_fail("kind %u", message->which_kind);
    }
    (void)snprintf(seen->text, sizeof seen->text, "%s", text);
}

static void on_message(struct grpc_request *request, struct slice bytes)
{
    struct lapse_error error;
    lapse_v1_SubscribeResponse *message = mem_calloc(1, sizeof *message);
    (void)request;
    lapse_result result = proto_decode(lapse_v1_SubscribeResponse_fields, bytes, message, &error);
    cr_assert(lapse_is_ok(result), "%s", lapse_is_ok(result) ? "" : error.message);
    CHECK(f.n_seen < SEEN_MAX);
    summarize(message, &f.seen[f.n_seen++]);
    free(message);
}

static void on_end(struct grpc_request *request, enum lapse_code code, const char *message, bool sent)
{
    (void)request, (void)sent;
    f.request = NULL;
    f.ended = true;
    f.code = code;
    (void)snprintf(f.message, sizeof f.message, "%s", message != NULL ? message : "");
}

void subscribe_bytes(struct slice first)
{
    static const struct grpc_request_handler handler = {.on_message = on_message, .on_end = on_end};
    f.ended = false;
    cr_assert(lapse_is_ok(
        grpc_channel_call(channel, "/lapse.v1.Enforcement/Subscribe", first, true, -1, &handler, NULL, &f.request)));
    fixture_run();
}

void subscribe(const lapse_v1_SubscribeRequest *first)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_MESSAGE_IN);
    cr_assert(lapse_is_ok(proto_encode(lapse_v1_SubscribeRequest_fields, first, &bytes)));
    subscribe_bytes(buf_slice(&bytes));
    buf_free(&bytes);
}

lapse_v1_SubscribeRequest registration(void)
{
    lapse_v1_SubscribeRequest first = {
        .which_kind = lapse_v1_SubscribeRequest_registration_tag,
        .kind.registration = {.id = "edge-1",
                              .instance = {.size = 16, .bytes = {1, 2, 3, 4}},
                              .scope_count = 1,
                              .scope = {"db/prod/*"}},
    };
    return first;
}

void say(const lapse_v1_SubscribeRequest *message)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_MESSAGE_IN);
    cr_assert(lapse_is_ok(proto_encode(lapse_v1_SubscribeRequest_fields, message, &bytes)));
    if (f.request != NULL)
        (void)grpc_request_send(f.request, buf_slice(&bytes));
    buf_free(&bytes);
    fixture_run();
}

void say_ping(uint64_t sequence)
{
    say(&(lapse_v1_SubscribeRequest){.which_kind = lapse_v1_SubscribeRequest_ping_tag, .kind.ping.sequence = sequence});
}

void say_ack(uint64_t received, uint64_t enforced)
{
    say(&(lapse_v1_SubscribeRequest){.which_kind = lapse_v1_SubscribeRequest_ack_tag,
                                     .kind.ack = {received, enforced}});
}

void be_served(void)
{
    const lapse_v1_SubscribeRequest first = registration();
    subscribe(&first);
    cr_assert_eq(f.n_opened, f.n_closed + 1, "%s", f.message);
    f.point->on_admitted(f.owner, newest(), false);
    fixture_run();
    cr_assert_eq(count_seen(lapse_v1_SubscribeResponse_snapshot_end_tag), 1);
}

uint32_t count_seen(pb_size_t kind)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < f.n_seen; i++)
        n += f.seen[i].kind == kind;
    return n;
}

const struct seen *last_seen(pb_size_t kind)
{
    for (uint32_t i = f.n_seen; i > 0; i--)
        if (f.seen[i - 1].kind == kind)
            return &f.seen[i - 1];
    cr_assert_fail("none of kind %u was seen", kind);
    return NULL;
}
