/* Feeds take turns (node/feed_line.h): watches over real gRPC, a real ring and real feeds, more of them than one slice
 * tells; the test plays the core and turns the loop, turn by turn. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/stream_pair.h"
#include "base/wire.h"
#include "node/core_internal.h"
#include "node/feed.h"
#include "proto/codec.h"
#include "proto/grpc_client.h"
#include "proto/grpc_server.h"
#include "proto/lapse/v1/grants.pb.h"
#include "tests/unit/watch_event.h"

#define EPOCH 7
#define FIRST 100 /* the ring's revision at the beginning */
#define WATCHES 200
#define TURNS_MAX 1000

struct watcher {
    struct edge_connection server;
    struct grpc_channel *channel;
    struct grpc_request *request;
    bool closed, opened;
    uint64_t newest;  /* the last event's revision; each is one more than the one before */
    uint32_t told_at; /* the turn in which it came */
};

static struct {
    uv_loop_t loop;
    struct edge edge;
    struct ring *ring;
    struct watcher watchers[WATCHES];
    struct watcher asker; /* has no watch, but a question: */
    struct grpc_call *question;
    struct mail mail;
    bool answered;
    uint32_t turn;
} f;

/* --- in place of the edge's connections and the core ----------------------------------------------------------------
 */

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
    return 1000000;
}

const struct store *core_call_store(const struct core_call *call)
{
    (void)call;
    return NULL;
}

static uint64_t newest(void)
{
    uint64_t epoch = 0, oldest = 0, revision = 0;
    ring_bounds(f.ring, &epoch, &oldest, &revision);
    return revision;
}

bool core_ask(struct core *core, struct core_call *call)
{
    (void)core;
    CHECK(call->op == CORE_WATCH_OPEN);
    call->epoch = EPOCH;
    call->revision = newest();
    call->roles = ROLE_OPERATOR;
    call->answered(call);
    return true;
}

/* An event of about `bytes`; its revision is the next one. */
static void append(size_t bytes)
{
    uint8_t *text = mem_calloc(1, bytes + 1);
    memset(text, 'x', bytes);
    const struct grant grant = {.state = GRANT_ACTIVE, .justification = slice_of(text, bytes)};
    const struct store_event event = {.type = STORE_EVENT_ACTIVATED, .revision = newest() + 1, .grant = &grant};
    const struct event_words words = {.revision = event.revision, .type = (uint32_t)event.type, .grant = &grant};
    struct buf encoded;
    buf_init(&encoded, LIMIT_MESSAGE_OUT);
    CHECK(lapse_is_ok(encode_watch_event(EPOCH, &words, &encoded)));
    ring_append(f.ring, ring_event_new(&event, blob_new(buf_slice(&encoded))));
    buf_free(&encoded);
    free(text);
    feed_line_all_due(&f.edge);
}

/* --- the question ---------------------------------------------------------------------------------------------------
 */

static void on_question(struct grpc_call *call, struct slice message)
{
    (void)message;
    f.question = call;
}

static void on_answer_mail(struct mail *mail)
{
    (void)mail;
    grpc_call_reply(f.question, slice_of(NULL, 0));
}

/* As the core does, from another thread. */
static void answer_question(void)
{
    f.mail.run = on_answer_mail;
    mailbox_answer(&f.edge.mailbox, &f.mail);
}

/* --- the watchers ---------------------------------------------------------------------------------------------------
 */

static struct slice field_of(struct slice message, uint32_t number, uint64_t *value)
{
    struct wire_reader reader = wire_reader(message);
    struct wire_field field;
    while (wire_next(&reader, &field))
        if (field.number == number) {
            *value = field.value;
            return field.bytes;
        }
    return slice_of(NULL, 0);
}

static void on_message(struct grpc_request *request, struct slice message)
{
    struct watcher *watcher = grpc_request_owner(request);
    uint64_t revision = 0;
    struct slice event = field_of(message, lapse_v1_WatchResponse_event_tag, &revision);
    if (event.len == 0) {
        watcher->opened = true; /* a mark */
        return;
    }
    (void)field_of(event, lapse_v1_Event_revision_tag, &revision);
    cr_assert_eq(revision, watcher->newest + 1, "once, in order: %llu behind %llu", (unsigned long long)revision,
                 (unsigned long long)watcher->newest);
    watcher->newest = revision;
    watcher->told_at = f.turn;
}

static void on_end(struct grpc_request *request, enum lapse_code code, const char *message, bool sent)
{
    struct watcher *watcher = grpc_request_owner(request);
    (void)code, (void)message, (void)sent;
    watcher->request = NULL;
    if (watcher == &f.asker)
        f.answered = true;
}

static void on_channel_close(struct grpc_channel *channel, const struct lapse_error *why)
{
    struct watcher *watcher = grpc_channel_owner(channel);
    (void)why;
    watcher->closed = true;
    watcher->channel = NULL;
}

static void turn(void)
{
    f.turn++;
    (void)uv_run(&f.loop, UV_RUN_NOWAIT);
}

static void turns(int n)
{
    for (int i = 0; i < n; i++)
        turn();
}

static void begin_connection(struct watcher *watcher, const struct grpc_method *methods, size_t n)
{
    static const struct stream_peer client = {.principal = "spiffe://example.org/user/a"};
    static const struct stream_peer node = {.principal = "spiffe://example.org/lapse/node/1"};
    static const struct grpc_server_handler server_handler = {0};
    static const struct grpc_channel_handler client_handler = {.on_close = on_channel_close};
    static const struct grpc_channel_options options = {.authority = "lapse.test"};
    struct stream *a = NULL, *b = NULL;
    struct lapse_error error;
    watcher->server.edge = &f.edge;
    watcher->newest = FIRST;
    CHECK(admission_answer(f.edge.admission));
    CHECK(lapse_is_ok(admission_enter(f.edge.admission, client.principal, &watcher->server.entry, &error)));
    stream_pair(&f.loop, &client, &node, 0, &a, &b);
    (void)grpc_serve(&f.loop, b, methods, n, NULL, &server_handler, &watcher->server);
    watcher->channel = grpc_channel_new(&f.loop, a, &options, &client_handler, watcher);
}

static void call(struct watcher *watcher, const char *path)
{
    static const struct grpc_request_handler handler = {.on_message = on_message, .on_end = on_end};
    CHECK(lapse_is_ok(
        grpc_channel_call(watcher->channel, path, slice_of(NULL, 0), false, -1, &handler, watcher, &watcher->request)));
}

static void begin(void)
{
    static const struct config config = {.node_id = 1};
    static const struct grpc_method question = {.path = "/test/Ask", .on_message = on_question};
    static const struct admission_limits limits = {.connections_max = 1000,
                                                   .connections_per_principal = 1000,
                                                   .calls_per_principal = 1000,
                                                   .requests_per_second = 10000};
    size_t n = 0;
    CHECK(uv_loop_init(&f.loop) == 0);
    f.edge = (struct edge){.loop = &f.loop, .config = &config, .admission = admission_new(&limits)};
    f.ring = ring_new(1024, 64 << 20);
    ring_reset(f.ring, EPOCH, FIRST);
    mailbox_init(&f.edge.mailbox, &f.loop, 1024);
    feed_line_open(&f.edge);
    const struct grpc_method *methods = service_watch_methods(&n);
    for (int i = 0; i < WATCHES; i++)
        begin_connection(&f.watchers[i], methods, n);
    begin_connection(&f.asker, &question, 1);
    turns(10);
    for (int i = 0; i < WATCHES; i++)
        call(&f.watchers[i], "/lapse.v1.Grants/Watch");
    turns(20);
    for (int i = 0; i < WATCHES; i++)
        cr_assert(f.watchers[i].opened);
}

static void end_connection(struct watcher *watcher)
{
    if (watcher->channel != NULL)
        grpc_channel_close(watcher->channel);
    turns(10);
    cr_assert(watcher->closed);
    admission_leave(f.edge.admission, watcher->server.entry);
    admission_hang_up(f.edge.admission);
}

static void end(void)
{
    for (int i = 0; i < WATCHES; i++)
        end_connection(&f.watchers[i]);
    end_connection(&f.asker);
    cr_assert(TAILQ_EMPTY(&f.edge.line.feeds), "no feed is left in the line");
    admission_free(f.edge.admission);
    feed_line_close(&f.edge);
    mailbox_close(&f.edge.mailbox);
    CHECK(uv_run(&f.loop, UV_RUN_DEFAULT) == 0);
    cr_assert_eq(uv_loop_close(&f.loop), 0);
    ring_free(f.ring);
}

TestSuite(feed_line, .init = begin, .fini = end);

static uint32_t count_at(uint64_t revision)
{
    uint32_t n = 0;
    for (int i = 0; i < WATCHES; i++)
        n += f.watchers[i].newest >= revision;
    return n;
}

/* Returns how many turns it took. */
static uint32_t until_all_are_at(uint64_t revision)
{
    uint32_t before = f.turn;
    while (count_at(revision) < WATCHES) {
        cr_assert_lt(f.turn - before, TURNS_MAX, "%u of %u are told", count_at(revision), WATCHES);
        turn();
    }
    return f.turn - before;
}

Test(feed_line, G7_everybody_is_told_once_in_order_some_in_each_turn)
{
    append(10);
    uint32_t n = until_all_are_at(FIRST + 1);
    cr_assert_geq(n, 5, "not all in one turn");
    cr_assert_leq(n, 40);
    turns(50);
    cr_assert_eq(uv_is_active((uv_handle_t *)&f.edge.line.awake), 0, "and then there is rest");
    cr_assert_eq(uv_is_active((uv_handle_t *)&f.edge.line.slice), 0);
}

Test(feed_line, an_answer_is_not_behind_a_fan_out)
{
    call(&f.asker, "/test/Ask");
    turns(10);
    cr_assert_not_null(f.question);
    append(10);
    turn();
    answer_question();
    while (!f.answered)
        turn();
    cr_assert_leq(count_at(FIRST + 1), WATCHES / 2, "%u were told before", count_at(FIRST + 1));
    (void)until_all_are_at(FIRST + 1);
}

Test(feed_line, G7_events_in_the_midst_of_a_fan_out_reach_everybody)
{
    append(10);
    turns(2);
    append(10);
    turns(3);
    append(10);
    (void)until_all_are_at(FIRST + 3);
}

Test(feed_line, nobody_starves_while_events_keep_coming)
{
    uint32_t gap_max = 0;
    append(10);
    (void)until_all_are_at(FIRST + 1);
    for (int round = 0; round < 300; round++) {
        append(10); /* in each turn, before anybody has had the one before */
        turn();
        for (int i = 0; i < WATCHES; i++)
            gap_max = f.turn - f.watchers[i].told_at > gap_max ? f.turn - f.watchers[i].told_at : gap_max;
    }
    cr_assert_leq(gap_max, 20, "somebody heard nothing for %u turns", gap_max);
    (void)until_all_are_at(FIRST + 301);
}

Test(feed_line, a_slice_is_bounded_in_bytes_too)
{
    append(48 * 1024);
    uint32_t n = until_all_are_at(FIRST + 1);
    cr_assert_geq(n, WATCHES / 4, "%u turns for %u MB", n, WATCHES * 48 / 1024);
}

Test(feed_line, watchers_that_leave_in_the_midst_leave_the_others_in_their_places)
{
    append(10);
    turns(2);
    for (int i = 0; i < WATCHES; i += 3)
        grpc_request_cancel(f.watchers[i].request);
    append(10);
    for (int i = 0; i < 100; i++)
        turn();
    for (int i = 0; i < WATCHES; i++)
        cr_assert(i % 3 == 0 ? f.watchers[i].request == NULL : f.watchers[i].newest == FIRST + 2, "watcher %d", i);
}

Test(feed_line, G8_who_does_not_read_holds_up_nobody)
{
    enum { SLOW = 3 };
    for (int i = 0; i < SLOW; i++)
        grpc_request_pause(f.watchers[i].request, true);
    for (int k = 0; k < 200; k++) {
        append(48 * 1024); /* 9 MB in all: more than a window and a queue */
        turns(2);
    }
    for (int k = 0; k < TURNS_MAX && count_at(FIRST + 200) < WATCHES - SLOW; k++)
        turn();
    cr_assert_eq(count_at(FIRST + 200), WATCHES - SLOW);
    for (int i = 0; i < SLOW; i++) {
        cr_assert_lt(f.watchers[i].newest, FIRST + 200);
        grpc_request_pause(f.watchers[i].request, false);
    }
    (void)until_all_are_at(FIRST + 200);
}
