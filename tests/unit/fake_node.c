#include "tests/unit/fake_node.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/check.h"
#include "base/clock.h"
#include "proto/codec.h"
#include "proto/convert.h"
#include "proto/encode.h"
#include "proto/grpc_server.h"
#include "tests/unit/tls_fixture.h"
#include "tests/unit/watch_event.h"

struct watch {
    TAILQ_ENTRY(watch) entry;
    struct grpc_call *call;
    uint64_t sent; /* up to this revision */
};

struct connection {
    TAILQ_ENTRY(connection) entry;
    struct fake_node *node;
    struct grpc_connection *grpc;
};

struct fake_node {
    struct fake_cluster *cluster;
    uv_loop_t loop;
    uv_async_t wake;
    pthread_t thread;
    struct tls_identity *identity;
    struct tls_listener *listener;
    uint16_t port;
    _Atomic int mode;
    _Atomic bool stop;
    bool stopping;
    _Atomic uint32_t calls, accepted, open_watches;
    TAILQ_HEAD(, connection) connections;
    TAILQ_HEAD(, watch) watches;
};

/* ---- Grants and events that are always the same for the same number */

static void grant_of(uint64_t number, struct grant *grant)
{
    static const uint8_t zeros[10];
    memset(grant, 0, sizeof *grant);
    grant->id = grant_id_make((int64_t)number, zeros);
    grant->state = GRANT_ACTIVE;
    grant->subject = slice_str("spiffe://test.lapse/user/dev1");
    grant->resource = slice_str("db/prod/orders");
    grant->actions[0] = slice_str("connect");
    grant->actions[1] = slice_str("read");
    grant->n_actions = 2;
    grant->justification = slice_str("a test: \xC3\xA4\xC3\xB6\xC3\xBC");
    grant->requester = grant->subject;
    grant->approvals[0] = (struct grant_approval){slice_str("spiffe://test.lapse/user/oncall"), 5, slice_str("ok")};
    grant->n_approvals = 1;
    grant->labels[0] = (struct grant_label){slice_str("team"), slice_str("core")};
    grant->n_labels = 1;
    grant->binding.networks[0] = slice_str("10.0.0.0/8");
    grant->binding.n_networks = 1;
    grant->deadline_ms = 1800000000000;
    grant->revision = number;
}

static struct proto_point point_now(struct fake_cluster *cluster)
{
    return (struct proto_point){cluster->epoch, cluster->revision, 1700000000000};
}

static void send_buf(struct grpc_call *call, struct buf *bytes)
{
    struct blob *blob = blob_new(buf_slice(bytes));
    (void)grpc_call_send(call, blob);
    blob_unref(blob);
    buf_clear(bytes);
}

/* ---- Unary calls */

static struct fake_node *node_of(struct grpc_call *call)
{
    struct connection *connection = grpc_connection_owner(grpc_call_connection(call));
    return connection->node;
}

static void hang_up(struct grpc_call *call)
{
    struct lapse_error why = {LAPSE_UNAVAILABLE, "hung up"};
    struct stream *stream = grpc_connection_stream(grpc_call_connection(call));
    if (stream != NULL) /* else it is closing already */
        stream_close(stream, &why);
}

/* True when the mode has dealt with the call. */
static bool misbehave(struct grpc_call *call)
{
    struct fake_node *node = node_of(call);
    atomic_fetch_add(&node->calls, 1);
    switch (atomic_load(&node->mode)) {
    case FAKE_UNAVAILABLE:
        grpc_call_finish(call, LAPSE_UNAVAILABLE, "no leader");
        return true;
    case FAKE_REFUSES:
        grpc_call_finish(call, LAPSE_PERMISSION_DENIED, "you lack the role operator");
        return true;
    case FAKE_PENDING:
        grpc_call_finish(call, LAPSE_DEADLINE_EXCEEDED, "PENDING: revoked at revision 7; not confirmed by edge-1");
        return true;
    case FAKE_SILENT:
        return true;
    case FAKE_ANSWERS_JUNK:
        grpc_call_reply(call, slice_str("\xFF\xFF\xFF"));
        return true;
    default:
        return false;
    }
}

/* Does the write, unless its request_id was there before. */
static bool write_once(struct fake_cluster *cluster, const char *request_id)
{
    cluster->attempts++;
    for (uint32_t i = 0; i < cluster->n_requests; i++)
        if (strcmp(cluster->request_ids[i], request_id) == 0)
            return false;
    CHECK(cluster->n_requests < FAKE_REQUESTS_MAX && strlen(request_id) < 65);
    strcpy(cluster->request_ids[cluster->n_requests++], request_id);
    return true;
}

static void on_revoke(struct grpc_call *call, struct slice message)
{
    struct fake_node *node = node_of(call);
    static __thread lapse_v1_EndRequest request;
    struct buf answer;
    struct grant grant;
    if (misbehave(call))
        return;
    CHECK(lapse_is_ok(proto_decode(lapse_v1_EndRequest_fields, message, &request, NULL)));
    pthread_mutex_lock(&node->cluster->lock);
    bool fresh = write_once(node->cluster, request.request_id);
    struct proto_point point = point_now(node->cluster);
    pthread_mutex_unlock(&node->cluster->lock);
    if (atomic_load(&node->mode) == FAKE_HANGS_UP) {
        hang_up(call);
        return;
    }
    grant_of(7, &grant);
    grant.state = GRANT_REVOKED;
    grant.reason = slice_str(request.reason);
    buf_init(&answer, LIMIT_MESSAGE_OUT);
    CHECK(lapse_is_ok(proto_encode_mutation(&point, &grant, !fresh, NULL, &answer)));
    grpc_call_reply(call, buf_slice(&answer));
    buf_free(&answer);
}

static void on_get(struct grpc_call *call, struct slice message)
{
    struct fake_node *node = node_of(call);
    struct buf answer;
    struct grant grant;
    (void)message;
    if (misbehave(call))
        return;
    grant_of(7, &grant);
    struct proto_point point = point_now(node->cluster);
    buf_init(&answer, LIMIT_MESSAGE_OUT);
    CHECK(lapse_is_ok(proto_encode_get(&point, &grant, &answer)));
    grpc_call_reply(call, buf_slice(&answer));
    buf_free(&answer);
}

/* Echoes the request's terms as a grant, by way of the nodes' own conversions. */
static void on_request(struct grpc_call *call, struct slice message)
{
    struct fake_node *node = node_of(call);
    static __thread lapse_v1_RequestRequest request;
    struct command command;
    struct lapse_error error;
    struct buf answer;
    if (misbehave(call))
        return;
    if (!lapse_is_ok(proto_decode(lapse_v1_RequestRequest_fields, message, &request, &error)) ||
        !lapse_is_ok(proto_request_borrow(&request, &command, &error))) {
        grpc_call_finish(call, error.code, error.message);
        return;
    }
    struct proto_point point = point_now(node->cluster);
    command.terms.state = GRANT_PENDING;
    buf_init(&answer, LIMIT_MESSAGE_OUT);
    CHECK(lapse_is_ok(proto_encode_mutation(&point, &command.terms, false, NULL, &answer)));
    grpc_call_reply(call, buf_slice(&answer));
    buf_free(&answer);
}

static void on_transfer(struct grpc_call *call, struct slice message)
{
    struct fake_node *node = node_of(call);
    static const uint8_t leader_two[] = {0x08, 0x02};
    (void)message;
    if (misbehave(call))
        return;
    pthread_mutex_lock(&node->cluster->lock);
    node->cluster->attempts++;
    pthread_mutex_unlock(&node->cluster->lock);
    if (atomic_load(&node->mode) == FAKE_HANGS_UP)
        hang_up(call);
    else
        grpc_call_reply(call, slice_of(leader_two, sizeof leader_two));
}

/* ---- Watches */

static void send_event(struct grpc_call *call, uint64_t epoch, uint64_t revision)
{
    struct buf bytes;
    struct grant grant;
    grant_of(revision, &grant);
    struct event_words event = {.revision = revision, .time_ms = 1, .type = 3, .grant = &grant};
    buf_init(&bytes, LIMIT_MESSAGE_OUT);
    CHECK(lapse_is_ok(encode_watch_event(epoch, &event, &bytes)));
    send_buf(call, &bytes);
    buf_free(&bytes);
}

static void send_snapshot(struct grpc_call *call, struct fake_node *node)
{
    struct fake_cluster *cluster = node->cluster;
    struct proto_point point = point_now(cluster);
    struct buf bytes;
    buf_init(&bytes, LIMIT_MESSAGE_OUT);
    for (uint32_t i = 1; i <= cluster->snapshot_grants; i++) {
        struct grant grant;
        grant_of(i, &grant);
        CHECK(lapse_is_ok(proto_encode_watch_grant(point.epoch, &grant, &bytes)));
        send_buf(call, &bytes);
        if (atomic_load(&node->mode) == FAKE_CUTS_SNAPSHOT && i == cluster->snapshot_grants / 2) {
            atomic_store(&node->mode, FAKE_SERVES);
            grpc_call_finish(call, LAPSE_UNAVAILABLE, "going down");
            buf_free(&bytes);
            return;
        }
    }
    CHECK(lapse_is_ok(proto_encode_watch_snapshot_end(&point, &bytes)));
    send_buf(call, &bytes);
    buf_free(&bytes);
}

static void push(struct fake_node *node, struct watch *watch)
{
    struct fake_cluster *cluster = node->cluster;
    uint64_t epoch = cluster->epoch + (atomic_load(&node->mode) == FAKE_BRINGS_ANOTHER_EPOCH);
    if (atomic_load(&node->mode) == FAKE_DISORDERS && cluster->revision >= watch->sent + 2) {
        send_event(watch->call, epoch, watch->sent + 2);
        send_event(watch->call, epoch, watch->sent + 1);
        watch->sent = cluster->revision;
    }
    while (watch->sent < cluster->revision)
        send_event(watch->call, epoch, ++watch->sent);
}

static void begin_watch(struct fake_node *node, struct grpc_call *call, const lapse_v1_WatchRequest *request)
{
    struct fake_cluster *cluster = node->cluster;
    struct watch *watch = mem_calloc(1, sizeof *watch);
    struct proto_point point = point_now(cluster);
    bool resume = request->epoch == cluster->epoch && request->revision >= cluster->ring;
    bool resync = request->epoch != 0 && !resume;
    struct buf bytes;

    buf_init(&bytes, LIMIT_MESSAGE_OUT);
    watch->call = call;
    watch->sent = resume ? request->revision : cluster->revision;
    if (resume && atomic_load(&node->mode) == FAKE_LAGS)
        watch->sent -= watch->sent < 2 ? watch->sent : 2;
    if (resume)
        point.revision = request->revision;
    CHECK(lapse_is_ok(proto_encode_watch_created(&point, &bytes)));
    send_buf(call, &bytes);
    if (resync) {
        CHECK(lapse_is_ok(proto_encode_watch_resync(cluster->epoch, "too far behind", &bytes)));
        send_buf(call, &bytes);
    }
    grpc_call_set_data(call, watch);
    TAILQ_INSERT_TAIL(&node->watches, watch, entry);
    atomic_fetch_add(&node->open_watches, 1);
    if (resync || request->snapshot)
        send_snapshot(call, node);
    buf_free(&bytes);
    push(node, watch);
}

static void on_watch(struct grpc_call *call, struct slice message)
{
    struct fake_node *node = node_of(call);
    static __thread lapse_v1_WatchRequest request;
    if (misbehave(call))
        return;
    CHECK(lapse_is_ok(proto_decode(lapse_v1_WatchRequest_fields, message, &request, NULL)));
    pthread_mutex_lock(&node->cluster->lock);
    begin_watch(node, call, &request);
    pthread_mutex_unlock(&node->cluster->lock);
}

static void on_watch_close(struct grpc_call *call)
{
    struct fake_node *node = node_of(call);
    struct watch *watch = grpc_call_data(call);
    if (watch == NULL)
        return;
    TAILQ_REMOVE(&node->watches, watch, entry);
    atomic_fetch_sub(&node->open_watches, 1);
    free(watch);
}

static void on_call_close(struct grpc_call *call)
{
    (void)call;
}

static const struct grpc_method methods[] = {
    {.path = "/lapse.v1.Grants/Revoke", .on_message = on_revoke, .on_close = on_call_close},
    {.path = "/lapse.v1.Grants/Get", .on_message = on_get, .on_close = on_call_close},
    {.path = "/lapse.v1.Grants/Request", .on_message = on_request, .on_close = on_call_close},
    {.path = "/lapse.v1.Cluster/TransferLeadership", .on_message = on_transfer, .on_close = on_call_close},
    {.path = "/lapse.v1.Grants/Watch", .on_message = on_watch, .on_close = on_watch_close},
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
    struct fake_node *node = arg;
    (void)address;
    if (node->stopping)
        return false;
    struct connection *connection = mem_calloc(1, sizeof *connection);
    connection->node = node;
    atomic_fetch_add(&node->accepted, 1);
    TAILQ_INSERT_TAIL(&node->connections, connection, entry);
    connection->grpc = grpc_serve(&node->loop, stream, methods, ARRAY_LEN(methods), &(struct grpc_server_limits){0},
                                  &server_handler, connection);
    return true;
}

static void on_listener_closed(void *arg)
{
    struct fake_node *node = arg;
    uv_close((uv_handle_t *)&node->wake, NULL);
}

static void stop_now(struct fake_node *node)
{
    struct lapse_error why = {LAPSE_UNAVAILABLE, "killed"};
    struct connection *connection;
    node->stopping = true;
    for (connection = TAILQ_FIRST(&node->connections); connection != NULL; connection = TAILQ_NEXT(connection, entry)) {
        struct stream *stream = grpc_connection_stream(connection->grpc);
        if (stream != NULL)
            stream_close(stream, &why);
    }
    tls_listener_close(node->listener, on_listener_closed, node);
}

static void on_wake(uv_async_t *async)
{
    struct fake_node *node = async->data;
    struct watch *watch;
    if (atomic_load(&node->stop)) {
        if (!node->stopping)
            stop_now(node);
        return;
    }
    pthread_mutex_lock(&node->cluster->lock);
    for (watch = TAILQ_FIRST(&node->watches); watch != NULL; watch = TAILQ_NEXT(watch, entry))
        push(node, watch);
    pthread_mutex_unlock(&node->cluster->lock);
}

static void *node_main(void *arg)
{
    struct fake_node *node = arg;
    CHECK(uv_run(&node->loop, UV_RUN_DEFAULT) == 0);
    return NULL;
}

struct fake_node *fake_node_start(struct fake_cluster *cluster, uint16_t port)
{
    struct fake_node *node = mem_calloc(1, sizeof *node);
    struct tls_files files = fixture_files(cluster->pki, "node");
    struct lapse_error error = {0};
    struct tls_options options = {.alpn = "h2"};
    node->cluster = cluster;
    TAILQ_INIT(&node->connections);
    TAILQ_INIT(&node->watches);
    CHECK(uv_loop_init(&node->loop) == 0);
    CHECK(uv_async_init(&node->loop, &node->wake, on_wake) == 0);
    node->wake.data = node;
    cr_assert(lapse_is_ok(tls_identity_load(&files, &node->identity, &error)), "%s", error.message);
    cr_assert(lapse_is_ok(tls_listen(&node->loop, "127.0.0.1", port, TLS_PORT_ALONE, node->identity, &options,
                                     on_accept, node, &node->listener, &error)),
              "%s", error.message);
    node->port = tls_listener_port(node->listener);
    pthread_mutex_lock(&cluster->lock);
    CHECK(cluster->n_nodes < ARRAY_LEN(cluster->nodes));
    cluster->nodes[cluster->n_nodes++] = node;
    pthread_mutex_unlock(&cluster->lock);
    CHECK(pthread_create(&node->thread, NULL, node_main, node) == 0);
    return node;
}

void fake_node_stop(struct fake_node *node)
{
    struct fake_cluster *cluster = node->cluster;
    pthread_mutex_lock(&cluster->lock);
    for (uint32_t i = 0; i < cluster->n_nodes; i++)
        if (cluster->nodes[i] == node)
            cluster->nodes[i] = cluster->nodes[--cluster->n_nodes];
    pthread_mutex_unlock(&cluster->lock);
    atomic_store(&node->stop, true);
    CHECK(uv_async_send(&node->wake) == 0);
    CHECK(pthread_join(node->thread, NULL) == 0);
    CHECK(uv_loop_close(&node->loop) == 0);
    tls_identity_unref(node->identity);
    free(node);
}

uint16_t fake_node_port(const struct fake_node *node)
{
    return node->port;
}

void fake_node_set_mode(struct fake_node *node, enum fake_mode mode)
{
    atomic_store(&node->mode, (int)mode);
}

uint32_t fake_node_calls(struct fake_node *node)
{
    return atomic_load(&node->calls);
}

uint32_t fake_node_connections(struct fake_node *node)
{
    return atomic_load(&node->accepted);
}

uint32_t fake_node_watches(struct fake_node *node)
{
    return atomic_load(&node->open_watches);
}

/* ---- The cluster */

struct fake_cluster *fake_cluster_new(void)
{
    struct fake_cluster *cluster = mem_calloc(1, sizeof *cluster);
    CHECK(pthread_mutex_init(&cluster->lock, NULL) == 0);
    cluster->epoch = 1;
    cluster->snapshot_grants = 10;
    cluster->pki = fixture_authority("test.lapse");
    fixture_issue(cluster->pki, "lapse/node/1", "node");
    fixture_issue(cluster->pki, "user/dev1", "dev1");
    return cluster;
}

void fake_cluster_free(struct fake_cluster *cluster)
{
    while (cluster->n_nodes > 0)
        fake_node_stop(cluster->nodes[0]);
    fixture_remove(cluster->pki);
    pthread_mutex_destroy(&cluster->lock);
    free(cluster);
}

static void wake_all(struct fake_cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->n_nodes; i++)
        CHECK(uv_async_send(&cluster->nodes[i]->wake) == 0);
}

void fake_cluster_publish(struct fake_cluster *cluster, uint32_t n)
{
    pthread_mutex_lock(&cluster->lock);
    cluster->revision += n;
    wake_all(cluster);
    pthread_mutex_unlock(&cluster->lock);
}

void fake_cluster_set(struct fake_cluster *cluster, uint64_t epoch, uint64_t revision, uint64_t ring, uint32_t grants)
{
    pthread_mutex_lock(&cluster->lock);
    cluster->epoch = epoch;
    cluster->revision = revision;
    cluster->ring = ring;
    cluster->snapshot_grants = grants;
    pthread_mutex_unlock(&cluster->lock);
}

const char *fake_endpoints(struct fake_cluster *cluster)
{
    static char text[512];
    size_t at = 0;
    for (uint32_t i = 0; i < cluster->n_nodes; i++)
        at +=
            (size_t)snprintf(text + at, sizeof text - at, "%s127.0.0.1:%u", i == 0 ? "" : ",", cluster->nodes[i]->port);
    return text;
}
