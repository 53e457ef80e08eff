#include "tests/unit/fake_enforcement.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <uv.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/wire.h"
#include "proto/codec.h"
#include "proto/encode.h"
#include "proto/grpc_server.h"
#include "proto/lapse/v1/enforcement.pb.h"
#include "store/word_fields.h"
#include "tests/unit/tls_fixture.h"
#include "tests/unit/watch_event.h"

/* Bytes that all streams of a node shall get. */
struct errand {
    STAILQ_ENTRY(errand) entry;
    enum { ERRAND_BYTES, ERRAND_RESYNC, ERRAND_FINISH, ERRAND_CUT } kind;
    enum lapse_code code;
    uint64_t told; /* by these bytes */
    size_t len;
    uint8_t bytes[];
};

struct fake_stream {
    TAILQ_ENTRY(fake_stream) entry;
    struct grpc_call *call;
    uint32_t sent; /* entries of the log */
    uint64_t told; /* the highest revision that it was brought to */
    uint64_t received, enforced;
};

struct connection {
    TAILQ_ENTRY(connection) entry;
    struct fake_edge_node *node;
    struct grpc_connection *grpc;
};

struct fake_edge_node {
    struct fake_edge *edge;
    uv_loop_t loop;
    uv_async_t wake;
    pthread_t thread;
    struct tls_identity *identity;
    struct tls_listener *listener;
    uint16_t port;
    bool stop, stopping, mute;     /* under the edge's lock */
    STAILQ_HEAD(, errand) errands; /* likewise */
    _Atomic uint32_t n_streams;
    TAILQ_HEAD(, connection) connections;
    TAILQ_HEAD(, fake_stream) streams;
};

/* ---- Grants */

static struct grant_id id_of(uint32_t number)
{
    uint8_t random[10] = {0};
    struct grant_id id;
    random[9] = (uint8_t)number;
    random[8] = (uint8_t)(number >> 8);
    id = grant_id_make(1700000000000 + number, random);
    return id;
}

const char *fake_edge_id(uint32_t number)
{
    static char texts[8][GRANT_ID_TEXT_SIZE];
    static unsigned next;
    char *text = texts[next++ % 8];
    grant_id_format(id_of(number), text);
    return text;
}

static struct slice or_default(const char *text, const char *fallback)
{
    return slice_str(text == NULL ? fallback : text);
}

static void grant_of(const struct fake_grant *fake, uint64_t revision, struct grant *grant)
{
    memset(grant, 0, sizeof *grant);
    grant->id = id_of(fake->number);
    if (fake->parent != 0)
        grant->parent = id_of(fake->parent);
    grant->state = fake->state;
    grant->subject = or_default(fake->subject, "user:dev1@example.com");
    grant->resource = or_default(fake->resource, "db/prod/orders");
    grant->actions[0] = or_default(fake->action, "read");
    grant->n_actions = 1;
    grant->binding.spiffe_id = slice_str(fake->spiffe_id);
    if (fake->network != NULL)
        grant->binding.networks[grant->binding.n_networks++] = slice_str(fake->network);
    grant->deadline_ms = fake->deadline_ms == 0 ? 1900000000000 : fake->deadline_ms;
    grant->max_uses = fake->max_uses;
    grant->uses = fake->uses;
    if (fake->token_sha256 != NULL)
        grant->token_sha256 = slice_of(fake->token_sha256, 32);
    grant->revision = revision;
}

static uint32_t event_type(const struct fake_grant *grant)
{
    switch (grant->state) {
    case GRANT_EXPIRED:
        return 5;
    case GRANT_REVOKED:
        return 6;
    case GRANT_COMPLETED:
        return 7;
    case GRANT_EXHAUSTED:
        return 8;
    default:
        return grant->uses > 0 ? 4 : 3;
    }
}

/* ---- Sending. Under the edge's lock. */

static void send_buf(struct grpc_call *call, struct buf *bytes)
{
    struct blob *blob = blob_new(buf_slice(bytes));
    (void)grpc_call_send(call, blob);
    blob_unref(blob);
    buf_free(bytes);
}

static void encode_event(uint64_t epoch, uint64_t revision, const struct fake_grant *fake, struct buf *out)
{
    struct grant grant;
    grant_of(fake, revision, &grant);
    struct event_words event = {.revision = revision, .time_ms = 1, .type = event_type(fake), .grant = &grant};
    buf_init(out, LIMIT_MESSAGE_OUT);
    CHECK(lapse_is_ok(encode_watch_event(epoch, &event, out)));
}

static void put_lock(struct wire_writer *writer, uint32_t field, const struct fake_lock *fake, uint64_t revision)
{
    const struct lock lock = {
        .name = slice_str(fake->target), .kind = fake->kind, .target = slice_str(fake->target), .revision = revision};
    struct buf bytes;
    buf_init(&bytes, 4096);
    CHECK(lapse_is_ok(lock_encode(&lock, &bytes)));
    wire_put_bytes(writer, field, buf_slice(&bytes));
    buf_free(&bytes);
}

static void encode_lock_event(uint64_t epoch, uint64_t revision, const struct fake_lock *lock, struct buf *out)
{
    buf_init(out, 4096);
    struct wire_writer writer = wire_writer(out);
    wire_put_uint(&writer, 1, epoch);
    size_t mark = wire_begin(&writer, 2);
    wire_put_uint(&writer, WORD_EVENT_REVISION, revision);
    wire_put_uint(&writer, WORD_EVENT_TYPE, lock->lifted ? 25 : 24);
    put_lock(&writer, WORD_EVENT_LOCK, lock, revision);
    wire_end(&writer, mark);
}

static void send_snapshot_locks(struct fake_edge *edge, struct grpc_call *call)
{
    for (uint32_t i = 0; i < edge->n_locks; i++) {
        struct buf bytes;
        buf_init(&bytes, 4096);
        struct wire_writer writer = wire_writer(&bytes);
        wire_put_uint(&writer, 1, edge->epoch);
        put_lock(&writer, 12, &edge->locks[i], edge->lock_revisions[i]);
        send_buf(call, &bytes);
    }
}

static void send_snapshot(struct fake_edge *edge, struct grpc_call *call)
{
    struct proto_point point = {edge->epoch, edge->revision, 1};
    struct buf bytes;
    for (uint32_t i = 0; i < ARRAY_LEN(edge->grants); i++) {
        struct grant grant;
        if (edge->grants[i].state != GRANT_ACTIVE)
            continue;
        grant_of(&edge->grants[i], edge->revision, &grant);
        buf_init(&bytes, LIMIT_MESSAGE_OUT);
        CHECK(lapse_is_ok(proto_encode_watch_grant(edge->epoch, &grant, &bytes)));
        send_buf(call, &bytes);
    }
    if (edge->holds_snapshots)
        return;
    send_snapshot_locks(edge, call);
    buf_init(&bytes, LIMIT_MESSAGE_OUT);
    CHECK(lapse_is_ok(proto_encode_watch_snapshot_end(&point, &bytes)));
    send_buf(call, &bytes);
}

/* A SubscribeResponse of up to three numbers. */
static void send_numbers(struct fake_edge *edge, struct grpc_call *call, uint32_t kind, uint64_t one, uint64_t two,
                         uint64_t three)
{
    struct buf bytes;
    buf_init(&bytes, 1024);
    struct wire_writer writer = wire_writer(&bytes);
    wire_put_uint(&writer, 1, edge->epoch);
    size_t mark = wire_begin(&writer, kind);
    wire_put_uint(&writer, 1, one);
    wire_put_uint(&writer, 2, two);
    wire_put_uint(&writer, 3, three);
    wire_end(&writer, mark);
    send_buf(call, &bytes);
}

static void push(struct fake_edge *edge, struct fake_stream *stream)
{
    struct buf bytes;
    for (; stream->sent < edge->n_log; stream->sent++) {
        if (edge->log[stream->sent].lock.kind != 0)
            encode_lock_event(edge->epoch, edge->log[stream->sent].revision, &edge->log[stream->sent].lock, &bytes);
        else
            encode_event(edge->epoch, edge->log[stream->sent].revision, &edge->log[stream->sent].grant, &bytes);
        send_buf(stream->call, &bytes);
        stream->told = edge->log[stream->sent].revision;
    }
}

/* ---- What a guard says */

static struct fake_edge_node *node_of(struct grpc_call *call)
{
    struct connection *connection = grpc_connection_owner(grpc_call_connection(call));
    return connection->node;
}

static void note_registration(struct fake_words *words, const lapse_v1_Registration *message)
{
    CHECK(words->n_registrations < ARRAY_LEN(words->registrations) && message->instance.size == 16);
    struct fake_registration *noted = &words->registrations[words->n_registrations++];
    memcpy(noted->instance, message->instance.bytes, 16);
    noted->epoch = message->epoch;
    noted->revision = message->revision;
    noted->lease_ms = message->lease_ms;
    noted->head_epoch = message->head.epoch;
    noted->head_revision = message->head.revision;
    strcpy(noted->scope, message->scope[0]);
}

/* The log's first entry behind a revision. */
static uint32_t behind(const struct fake_edge *edge, uint64_t revision)
{
    uint32_t i = 0;
    while (i < edge->n_log && edge->log[i].revision <= revision)
        i++;
    return i;
}

static void on_registration(struct fake_edge_node *node, struct grpc_call *call, const lapse_v1_Registration *message)
{
    struct fake_edge *edge = node->edge;
    note_registration(&edge->words, message);
    if (edge->refuses != LAPSE_OK) {
        grpc_call_finish(call, edge->refuses, "not this one");
        return;
    }
    struct fake_stream *stream = mem_calloc(1, sizeof *stream);
    stream->call = call;
    grpc_call_set_data(call, stream);
    atomic_fetch_add(&node->n_streams, 1);
    stream->sent = UINT32_MAX; /* until it is registered: no events */
    TAILQ_INSERT_TAIL(&node->streams, stream, entry);
    if (edge->holds_registrations)
        return;
    send_numbers(edge, call, 8, edge->revision, 1, message->lease_ms);
    bool resume = message->epoch == edge->epoch && message->revision >= edge->ring;
    if (!resume && message->epoch != 0)
        send_numbers(edge, call, 4, 0, 0, 0);
    if (!resume)
        send_snapshot(edge, call);
    stream->told = resume || edge->holds_snapshots ? message->revision : edge->revision;
    if (message->epoch != edge->epoch && edge->holds_snapshots)
        stream->told = 0;
    stream->sent = behind(edge, resume ? message->revision : edge->revision);
    push(edge, stream);
}

static void on_ping(struct fake_edge_node *node, struct grpc_call *call, uint64_t sequence)
{
    struct fake_edge *edge = node->edge;
    edge->words.n_pings++;
    if (edge->mute || node->mute)
        return;
    send_numbers(edge, call, 9, sequence, edge->ttl_ms,
                 edge->no_time ? 0 : (uint64_t)(edge->time_base_us + clock_boot_us()));
}

static void append(struct fake_edge *edge, const struct fake_grant *grant)
{
    CHECK(edge->n_log < FAKE_LOG_MAX && grant->number < ARRAY_LEN(edge->grants));
    edge->grants[grant->number] = *grant;
    edge->log[edge->n_log].revision = ++edge->revision;
    edge->log[edge->n_log++].grant = *grant;
}

static void wake_all(struct fake_edge *edge)
{
    for (uint32_t i = 0; i < edge->n_nodes; i++)
        CHECK(uv_async_send(&edge->nodes[i]->wake) == 0);
}

static enum lapse_code spend(struct fake_edge *edge, const lapse_v1_UseReport *use)
{
    for (uint32_t i = 0; i < ARRAY_LEN(edge->grants); i++) {
        struct fake_grant grant = edge->grants[i];
        if (grant.state != GRANT_ACTIVE || strcmp(fake_edge_id(i), use->grant_id) != 0)
            continue;
        if (grant.uses + use->count > grant.max_uses)
            return LAPSE_FAILED_PRECONDITION;
        grant.uses += use->count;
        grant.state = grant.uses == grant.max_uses ? GRANT_EXHAUSTED : GRANT_ACTIVE;
        append(edge, &grant);
        return LAPSE_OK;
    }
    return LAPSE_NOT_FOUND;
}

static void on_use(struct fake_edge_node *node, struct grpc_call *call, const lapse_v1_UseReport *use)
{
    struct fake_edge *edge = node->edge;
    struct buf bytes;
    edge->words.n_uses++;
    if (edge->holds_uses)
        return;
    enum lapse_code code = edge->refuses_uses;
    edge->refuses_uses = LAPSE_OK;
    if (code == LAPSE_OK)
        code = spend(edge, use);
    push(edge, grpc_call_data(call)); /* the event comes before the answer */
    buf_init(&bytes, 4096);
    struct wire_writer writer = wire_writer(&bytes);
    size_t mark = wire_begin(&writer, 10);
    wire_put_bytes(&writer, 1, slice_str(use->request_id));
    wire_put_uint(&writer, 2, code);
    wire_put_bytes(&writer, 3, slice_str(code == LAPSE_OK ? "" : "no"));
    wire_end(&writer, mark);
    send_buf(call, &bytes);
}

static void check_told(struct fake_words *words, struct grpc_call *call, uint64_t revision)
{
    const struct fake_stream *stream = grpc_call_data(call);
    if (revision <= stream->told)
        return;
    words->n_false++;
    grpc_call_finish(call, LAPSE_INVALID_ARGUMENT, "acknowledge only what has arrived");
}

/* Within a stream watermarks never go back. */
static void note_ack(struct fake_words *words, struct fake_stream *stream, const lapse_v1_Ack *ack)
{
    stream->received = ack->received > stream->received ? ack->received : stream->received;
    stream->enforced = ack->enforced > stream->enforced ? ack->enforced : stream->enforced;
    words->received = stream->received;
    words->enforced = stream->enforced;
}

static void on_word(struct fake_edge_node *node, struct grpc_call *call, const lapse_v1_SubscribeRequest *request)
{
    struct fake_words *words = &node->edge->words;
    switch (request->which_kind) {
    case lapse_v1_SubscribeRequest_registration_tag:
        on_registration(node, call, &request->kind.registration);
        break;
    case lapse_v1_SubscribeRequest_ping_tag:
        on_ping(node, call, request->kind.ping.sequence);
        break;
    case lapse_v1_SubscribeRequest_ack_tag:
        words->n_acks++;
        check_told(words, call, request->kind.ack.received);
        note_ack(words, grpc_call_data(call), &request->kind.ack);
        break;
    case lapse_v1_SubscribeRequest_failure_tag:
        words->n_failures++;
        check_told(words, call, request->kind.failure.revision);
        words->enforced_at_failure = words->enforced;
        words->failure_revision = request->kind.failure.revision;
        strcpy(words->failure, request->kind.failure.reason);
        break;
    case lapse_v1_SubscribeRequest_session_began_tag:
        words->n_began++;
        strcpy(words->began_grant, request->kind.session_began.grant_id);
        strcpy(words->description, request->kind.session_began.description);
        break;
    case lapse_v1_SubscribeRequest_session_ended_tag:
        words->n_ended++;
        break;
    case lapse_v1_SubscribeRequest_use_tag:
        on_use(node, call, &request->kind.use);
        break;
    case lapse_v1_SubscribeRequest_goodbye_tag:
        words->n_goodbyes++;
        grpc_call_finish(call, LAPSE_OK, "");
        break;
    default:
        CHECK(!"a guard says only what the schema has");
    }
}

static void on_message(struct grpc_call *call, struct slice message)
{
    static __thread lapse_v1_SubscribeRequest request;
    struct fake_edge_node *node = node_of(call);
    CHECK(lapse_is_ok(proto_decode(lapse_v1_SubscribeRequest_fields, message, &request, NULL)));
    pthread_mutex_lock(&node->edge->lock);
    on_word(node, call, &request);
    pthread_mutex_unlock(&node->edge->lock);
}

static void on_half_close(struct grpc_call *call)
{
    (void)call;
}

static void on_stream_close(struct grpc_call *call)
{
    struct fake_edge_node *node = node_of(call);
    struct fake_stream *stream = grpc_call_data(call);
    if (stream == NULL)
        return;
    TAILQ_REMOVE(&node->streams, stream, entry);
    atomic_fetch_sub(&node->n_streams, 1);
    free(stream);
}

static const struct grpc_method methods[] = {
    {.path = "/lapse.v1.Enforcement/Subscribe",
     .client_streams = true,
     .on_message = on_message,
     .on_half_close = on_half_close,
     .on_close = on_stream_close},
};

/* ---- Connections and threads */

static bool on_open(struct grpc_connection *connection, const struct stream_peer *peer)
{
    (void)connection, (void)peer;
    return true;
}

static lapse_result admit(struct grpc_connection *connection, const struct grpc_method *method,
                          struct lapse_error *error)
{
    (void)connection, (void)method, (void)error;
    return lapse_ok();
}

static void on_close(struct grpc_connection *grpc, const struct lapse_error *why)
{
    struct connection *connection = grpc_connection_owner(grpc);
    (void)why;
    TAILQ_REMOVE(&connection->node->connections, connection, entry);
    free(connection);
}

static const struct grpc_server_handler server_handler = {on_open, admit, on_close};

static bool on_accept(void *arg, struct stream *stream, const char *address)
{
    struct fake_edge_node *node = arg;
    (void)address;
    if (node->stopping)
        return false;
    struct connection *connection = mem_calloc(1, sizeof *connection);
    connection->node = node;
    TAILQ_INSERT_TAIL(&node->connections, connection, entry);
    connection->grpc =
        grpc_serve(&node->loop, stream, methods, ARRAY_LEN(methods),
                   &(struct grpc_server_limits){.call_queue_max = 64 << 20}, &server_handler, connection);
    return true;
}

static void on_listener_closed(void *arg)
{
    struct fake_edge_node *node = arg;
    uv_close((uv_handle_t *)&node->wake, NULL);
}

static void break_connections(struct fake_edge_node *node)
{
    struct lapse_error why = {LAPSE_UNAVAILABLE, "killed"};
    struct connection *connection;
    for (connection = TAILQ_FIRST(&node->connections); connection != NULL; connection = TAILQ_NEXT(connection, entry)) {
        struct stream *stream = grpc_connection_stream(connection->grpc);
        if (stream != NULL)
            stream_close(stream, &why);
    }
}

static void run_errand(struct fake_edge_node *node, const struct errand *errand)
{
    struct fake_stream *stream;
    if (errand->kind == ERRAND_CUT)
        break_connections(node);
    for (stream = TAILQ_FIRST(&node->streams); stream != NULL; stream = TAILQ_NEXT(stream, entry)) {
        struct buf bytes;
        buf_init(&bytes, LIMIT_MESSAGE_OUT);
        if (errand->kind == ERRAND_RESYNC) {
            send_numbers(node->edge, stream->call, 4, 0, 0, 0);
            send_snapshot(node->edge, stream->call);
            stream->sent = node->edge->n_log;
            stream->told = node->edge->revision;
            stream->received = stream->enforced = 0; /* it may be another history */
        } else if (errand->kind == ERRAND_BYTES) {
            CHECK(lapse_is_ok(buf_append(&bytes, errand->bytes, errand->len)));
            send_buf(stream->call, &bytes);
            stream->told = errand->told > stream->told ? errand->told : stream->told;
        } else if (errand->kind == ERRAND_FINISH) {
            grpc_call_finish(stream->call, errand->code, "ended");
        }
        buf_free(&bytes);
    }
}

static void on_wake(uv_async_t *async)
{
    struct fake_edge_node *node = async->data;
    struct fake_stream *stream;
    struct errand *errand;
    pthread_mutex_lock(&node->edge->lock);
    for (stream = TAILQ_FIRST(&node->streams); stream != NULL; stream = TAILQ_NEXT(stream, entry))
        push(node->edge, stream);
    while ((errand = STAILQ_FIRST(&node->errands)) != NULL) {
        STAILQ_REMOVE_HEAD(&node->errands, entry);
        run_errand(node, errand);
        free(errand);
    }
    if (node->stop && !node->stopping) {
        node->stopping = true;
        break_connections(node);
        tls_listener_close(node->listener, on_listener_closed, node);
    }
    pthread_mutex_unlock(&node->edge->lock);
}

static void *node_main(void *arg)
{
    struct fake_edge_node *node = arg;
    CHECK(uv_run(&node->loop, UV_RUN_DEFAULT) == 0);
    return NULL;
}

struct fake_edge_node *fake_edge_start(struct fake_edge *edge, uint16_t port)
{
    struct fake_edge_node *node = mem_calloc(1, sizeof *node);
    struct tls_options options = {.alpn = "h2"};
    struct lapse_error error = {0};
    node->edge = edge;
    STAILQ_INIT(&node->errands);
    TAILQ_INIT(&node->connections);
    TAILQ_INIT(&node->streams);
    CHECK(uv_loop_init(&node->loop) == 0 && uv_async_init(&node->loop, &node->wake, on_wake) == 0);
    node->wake.data = node;
    node->identity = fixture_identity(edge->pki, "node");
    cr_assert(lapse_is_ok(tls_listen(&node->loop, "127.0.0.1", port, TLS_PORT_ALONE, node->identity, &options,
                                     on_accept, node, &node->listener, &error)),
              "%s", error.message);
    node->port = tls_listener_port(node->listener);
    pthread_mutex_lock(&edge->lock);
    CHECK(edge->n_nodes < ARRAY_LEN(edge->nodes));
    edge->nodes[edge->n_nodes++] = node;
    pthread_mutex_unlock(&edge->lock);
    CHECK(pthread_create(&node->thread, NULL, node_main, node) == 0);
    return node;
}

void fake_edge_stop(struct fake_edge_node *node)
{
    struct fake_edge *edge = node->edge;
    pthread_mutex_lock(&edge->lock);
    for (uint32_t i = 0; i < edge->n_nodes; i++)
        if (edge->nodes[i] == node)
            edge->nodes[i] = edge->nodes[--edge->n_nodes];
    node->stop = true;
    pthread_mutex_unlock(&edge->lock);
    CHECK(uv_async_send(&node->wake) == 0);
    CHECK(pthread_join(node->thread, NULL) == 0);
    CHECK(uv_loop_close(&node->loop) == 0);
    tls_identity_unref(node->identity);
    free(node);
}

uint16_t fake_edge_port(const struct fake_edge_node *node)
{
    return node->port;
}

uint32_t fake_edge_streams(struct fake_edge_node *node)
{
    return atomic_load(&node->n_streams);
}

static void errand_add(struct fake_edge_node *node, int kind, enum lapse_code code, struct slice bytes)
{
    struct errand *errand = mem_calloc(1, sizeof *errand + bytes.len + 1);
    errand->kind = kind;
    errand->told = node->edge->telling;
    errand->code = code;
    errand->len = bytes.len;
    if (bytes.len > 0)
        memcpy(errand->bytes, bytes.data, bytes.len);
    STAILQ_INSERT_TAIL(&node->errands, errand, entry);
    CHECK(uv_async_send(&node->wake) == 0);
}

static void errand_all(struct fake_edge *edge, int kind, enum lapse_code code, struct slice bytes)
{
    for (uint32_t i = 0; i < edge->n_nodes; i++)
        errand_add(edge->nodes[i], kind, code, bytes);
}

void fake_edge_cut(struct fake_edge_node *node)
{
    pthread_mutex_lock(&node->edge->lock);
    errand_add(node, ERRAND_CUT, LAPSE_OK, slice_of(NULL, 0));
    pthread_mutex_unlock(&node->edge->lock);
}

void fake_edge_mute(struct fake_edge_node *node, bool mute)
{
    pthread_mutex_lock(&node->edge->lock);
    node->mute = mute;
    pthread_mutex_unlock(&node->edge->lock);
}

/* ---- The history */

struct fake_edge *fake_edge_new(void)
{
    struct fake_edge *edge = mem_calloc(1, sizeof *edge);
    CHECK(pthread_mutex_init(&edge->lock, NULL) == 0);
    edge->epoch = 1;
    edge->revision = 10;
    edge->ttl_ms = 3000;
    edge->time_base_us = 1750000000000000 - clock_boot_us();
    edge->pki = fixture_authority("test.lapse");
    fixture_issue(edge->pki, "lapse/node/1", "node");
    fixture_issue(edge->pki, "edge/eu-1", "edge");
    return edge;
}

void fake_edge_free(struct fake_edge *edge)
{
    while (edge->n_nodes > 0)
        fake_edge_stop(edge->nodes[0]);
    fixture_remove(edge->pki);
    pthread_mutex_destroy(&edge->lock);
    free(edge);
}

uint64_t fake_edge_put(struct fake_edge *edge, const struct fake_grant *grant)
{
    pthread_mutex_lock(&edge->lock);
    append(edge, grant);
    uint64_t revision = edge->revision;
    wake_all(edge);
    pthread_mutex_unlock(&edge->lock);
    return revision;
}

static uint64_t tell_lock(struct fake_edge *edge, const struct fake_lock *lock)
{
    CHECK(edge->n_log < FAKE_LOG_MAX);
    edge->log[edge->n_log].revision = ++edge->revision;
    edge->log[edge->n_log++].lock = *lock;
    wake_all(edge);
    return edge->revision;
}

uint64_t fake_edge_lock(struct fake_edge *edge, enum lock_kind kind, const char *target)
{
    const struct fake_lock lock = {.kind = kind, .target = target};
    pthread_mutex_lock(&edge->lock);
    CHECK(edge->n_locks < ARRAY_LEN(edge->locks));
    uint64_t revision = tell_lock(edge, &lock);
    edge->lock_revisions[edge->n_locks] = revision;
    edge->locks[edge->n_locks++] = lock;
    pthread_mutex_unlock(&edge->lock);
    return revision;
}

uint64_t fake_edge_unlock(struct fake_edge *edge, const char *target)
{
    uint32_t i = 0;
    pthread_mutex_lock(&edge->lock);
    while (strcmp(edge->locks[i].target, target) != 0)
        CHECK(++i < edge->n_locks);
    struct fake_lock lock = edge->locks[i];
    lock.lifted = true;
    edge->locks[i] = edge->locks[--edge->n_locks];
    edge->lock_revisions[i] = edge->lock_revisions[edge->n_locks];
    uint64_t revision = tell_lock(edge, &lock);
    pthread_mutex_unlock(&edge->lock);
    return revision;
}

void fake_head(uint64_t epoch, uint64_t revision, struct buf *out)
{
    static const uint8_t zero[64];
    buf_init(out, LIMIT_SIGNED_HEAD);
    struct wire_writer writer = wire_writer(out);
    wire_put_bytes(&writer, 1, slice_str("test"));
    wire_put_uint(&writer, 2, epoch);
    wire_put_uint(&writer, 3, revision);
    wire_put_bytes(&writer, 4, slice_of(zero, 32));
    wire_put_uint(&writer, 6, 1);
    wire_put_bytes(&writer, 7, slice_of(zero, 32));
    wire_put_bytes(&writer, 8, slice_of(zero, 64));
    CHECK(!writer.failed);
}

void fake_edge_head(struct fake_edge *edge, uint64_t epoch, uint64_t revision)
{
    struct buf head, bytes;
    fake_head(epoch, revision, &head);
    buf_init(&bytes, 1024);
    struct wire_writer writer = wire_writer(&bytes);
    wire_put_uint(&writer, 1, edge->epoch);
    wire_put_bytes(&writer, 13, buf_slice(&head));
    fake_edge_raw(edge, bytes.data, bytes.len);
    buf_free(&bytes);
    buf_free(&head);
}

void fake_edge_put_silently(struct fake_edge *edge, const struct fake_grant *grant)
{
    pthread_mutex_lock(&edge->lock);
    edge->grants[grant->number] = *grant;
    pthread_mutex_unlock(&edge->lock);
}

void fake_edge_progress(struct fake_edge *edge, uint64_t revision)
{
    struct buf bytes;
    buf_init(&bytes, 1024);
    pthread_mutex_lock(&edge->lock);
    struct proto_point point = {edge->epoch, revision, 1};
    CHECK(lapse_is_ok(proto_encode_watch_progress(&point, &bytes)));
    edge->telling = revision;
    errand_all(edge, ERRAND_BYTES, LAPSE_OK, buf_slice(&bytes));
    edge->telling = 0;
    pthread_mutex_unlock(&edge->lock);
    buf_free(&bytes);
}

void fake_edge_resync(struct fake_edge *edge, uint64_t epoch, uint64_t revision)
{
    pthread_mutex_lock(&edge->lock);
    edge->epoch = epoch;
    edge->revision = revision;
    errand_all(edge, ERRAND_RESYNC, LAPSE_OK, slice_of(NULL, 0));
    pthread_mutex_unlock(&edge->lock);
}

void fake_edge_end(struct fake_edge *edge, int cause, enum lapse_code code)
{
    struct buf bytes;
    buf_init(&bytes, 1024);
    struct wire_writer writer = wire_writer(&bytes);
    size_t mark = wire_begin(&writer, 11);
    wire_put_uint(&writer, 1, (uint64_t)cause);
    wire_put_bytes(&writer, 2, slice_str("as a test wants it"));
    wire_end(&writer, mark);
    pthread_mutex_lock(&edge->lock);
    errand_all(edge, ERRAND_BYTES, LAPSE_OK, buf_slice(&bytes));
    errand_all(edge, ERRAND_FINISH, code, slice_of(NULL, 0));
    pthread_mutex_unlock(&edge->lock);
    buf_free(&bytes);
}

void fake_edge_raw(struct fake_edge *edge, const void *bytes, size_t len)
{
    pthread_mutex_lock(&edge->lock);
    errand_all(edge, ERRAND_BYTES, LAPSE_OK, slice_of(bytes, len));
    pthread_mutex_unlock(&edge->lock);
}

void fake_edge_event(struct fake_edge *edge, uint64_t epoch, uint64_t revision, const struct fake_grant *grant)
{
    struct buf bytes;
    encode_event(epoch, revision, grant, &bytes);
    fake_edge_raw(edge, bytes.data, bytes.len);
    buf_free(&bytes);
}

int64_t fake_edge_time_ms(struct fake_edge *edge)
{
    return (edge->time_base_us + clock_boot_us()) / 1000;
}

const char *fake_edge_endpoints(struct fake_edge *edge)
{
    static char text[256];
    size_t len = 0;
    for (uint32_t i = 0; i < edge->n_nodes; i++)
        len +=
            (size_t)snprintf(text + len, sizeof text - len, "%s127.0.0.1:%u", i == 0 ? "" : ",", edge->nodes[i]->port);
    return text;
}
