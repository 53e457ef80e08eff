#include "node/edge_internal.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/random.h"
#include "node/metrics.h"
#include "proto/health.h"
#include "proto/reflection.h"

#define TICK_MS 50
#define EDGE_MAILBOX_MAX 65536u

struct edge_connection *edge_connection_of(const struct grpc_call *call)
{
    return grpc_connection_owner(grpc_call_connection(call));
}

const char *edge_principal_of(const struct grpc_call *call)
{
    return grpc_connection_peer(grpc_call_connection(call))->principal;
}

int64_t edge_timeout_of(const struct grpc_call *call)
{
    int64_t left_ms = grpc_call_remaining_ms(call);
    if (left_ms == INT64_MAX)
        return CALL_TIMEOUT_MS_DEFAULT;
    return left_ms < 1 ? 1 : left_ms > CALL_TIMEOUT_MS_MAX ? CALL_TIMEOUT_MS_MAX : left_ms;
}

struct grant_id edge_new_grant_id(const struct edge *edge)
{
    uint8_t random[10];
    int64_t now_ms = core_time_ms(edge->core);
    random_bytes(random, sizeof random);
    return grant_id_make(now_ms != 0 ? now_ms : clock_wall_ms(), random);
}

/* --- connections ----------------------------------------------------------------------------------------------------
 */

static bool on_open(struct grpc_connection *grpc, const struct stream_peer *peer)
{
    struct edge_connection *connection = grpc_connection_owner(grpc);
    struct lapse_error error;
    if (!lapse_is_ok(admission_enter(connection->edge->admission, peer->principal, &connection->entry, &error))) {
        metric_add(METRIC_CONNECTIONS_REFUSED, 1);
        log_warn("connection refused", LOG_STR("principal", peer->principal), LOG_STR("address", peer->address),
                 LOG_STR("error", error.message));
        return false;
    }
    metric_add(METRIC_CONNECTIONS, 1);
    return true;
}

static lapse_result admit(struct grpc_connection *grpc, const struct grpc_method *method, struct lapse_error *error)
{
    struct edge_connection *connection = grpc_connection_owner(grpc);
    (void)method;
    lapse_result result = admission_request(connection->edge->admission, connection->entry, clock_boot_ms(), error);
    metric_add(lapse_is_ok(result) ? METRIC_CALLS : METRIC_CALLS_REFUSED, 1);
    return result;
}

static void check_drained(struct edge *edge)
{
    if (edge->draining && edge->connections == NULL && edge->listener_closed && edge->drained != NULL) {
        void (*drained)(void *arg) = edge->drained;
        edge->drained = NULL;
        drained(edge->drained_arg);
    }
}

static void unlink_connection(struct edge_connection *connection)
{
    if (connection->prev != NULL)
        connection->prev->next = connection->next;
    else
        connection->edge->connections = connection->next;
    if (connection->next != NULL)
        connection->next->prev = connection->prev;
}

static void on_close(struct grpc_connection *grpc, const struct lapse_error *why)
{
    struct edge_connection *connection = grpc_connection_owner(grpc);
    struct edge *edge = connection->edge;
    if (connection->entry != NULL) {
        admission_leave(edge->admission, connection->entry);
        metric_add(METRIC_CONNECTIONS, -1);
    } else {
        metric_add(METRIC_CONNECTIONS_REFUSED, 1);
        log_debug("connection failed", LOG_STR("error", why != NULL ? why->message : ""));
    }
    admission_hang_up(edge->admission);
    unlink_connection(connection);
    free(connection);
    check_drained(edge);
}

static const struct grpc_server_handler server_handler = {.on_open = on_open, .admit = admit, .on_close = on_close};

static bool on_accept(void *arg, struct stream *stream, const char *address)
{
    struct edge *edge = arg;
    (void)address;
    if (edge->draining || !admission_answer(edge->admission)) {
        metric_add(METRIC_CONNECTIONS_REFUSED, 1);
        return false;
    }
    struct edge_connection *connection = mem_calloc(1, sizeof *connection);
    connection->edge = edge;
    connection->stream = stream;
    connection->next = edge->connections;
    if (connection->next != NULL)
        connection->next->prev = connection;
    edge->connections = connection;
    connection->grpc =
        grpc_serve(edge->loop, stream, edge->methods, edge->n_methods, NULL, &server_handler, connection);
    return true;
}

/* --- the loop -------------------------------------------------------------------------------------------------------
 */

static void on_ring_wake(struct wake *wake)
{
    feed_line_all_due(CONTAINER_OF(wake, struct edge, ring_wake));
}

static void on_tick(uv_timer_t *timer)
{
    feed_line_all_due(timer->data); /* each looks at the clock in its turn */
}

static void add_methods(struct edge *edge, const struct grpc_method *methods, size_t n)
{
    edge->methods = mem_realloc(edge->methods, (edge->n_methods + n) * sizeof *methods);
    memcpy(edge->methods + edge->n_methods, methods, n * sizeof *methods);
    edge->n_methods += n;
}

static void collect_methods(struct edge *edge)
{
    const struct grpc_method *(*const services[])(size_t * n) = {service_grants_methods, service_watch_methods,
                                                                 service_enforcement_methods, service_cluster_methods,
                                                                 service_follow_methods,      service_points_methods,
                                                                 service_governance_methods, service_audit_methods};
    struct grpc_method health[HEALTH_METHODS];
    for (size_t i = 0; i < ARRAY_LEN(services); i++) {
        size_t n = 0;
        const struct grpc_method *methods = services[i](&n);
        add_methods(edge, methods, n);
    }
    edge->health = health_new(edge->loop);
    health_methods(edge->health, health);
    add_methods(edge, health, HEALTH_METHODS);
    add_methods(edge, reflection_methods, REFLECTION_METHODS);
}

static void open_handles(struct edge *edge)
{
    mailbox_init(&edge->mailbox, edge->loop, EDGE_MAILBOX_MAX);
    feed_line_open(edge);
    CHECK(wake_init(&edge->ring_wake, edge->loop, on_ring_wake));
    CHECK(uv_timer_init(edge->loop, &edge->tick) == 0);
    edge->tick.data = edge;
    CHECK(uv_timer_start(&edge->tick, on_tick, TICK_MS, TICK_MS) == 0);
}

lapse_result edge_open(uv_loop_t *loop, const struct edge_options *options, struct edge **out,
                       struct lapse_error *error)
{
    static const struct tls_options tls = {.alpn = "h2"};
    struct edge *edge = mem_calloc(1, sizeof *edge);
    edge->loop = loop;
    edge->config = options->config;
    edge->core = options->core;
    edge->admission = options->admission;
    edge->identity = tls_identity_ref(options->identity);
    lapse_result result = tls_listen(loop, options->config->client_host, options->port, options->use, edge->identity,
                                     &tls, on_accept, edge, &edge->listener, error);
    if (!lapse_is_ok(result)) {
        edge_free(edge);
        return result;
    }
    collect_methods(edge);
    open_handles(edge);
    *out = edge;
    return lapse_ok();
}

uint16_t edge_port(const struct edge *edge)
{
    return tls_listener_port(edge->listener);
}

void edge_wake(struct edge *edge)
{
    wake_send(&edge->ring_wake);
}

struct mailbox *edge_mailbox(struct edge *edge)
{
    return &edge->mailbox;
}

void edge_set_identity(struct edge *edge, struct tls_identity *identity)
{
    tls_identity_unref(edge->identity);
    edge->identity = tls_identity_ref(identity);
    tls_listener_set_identity(edge->listener, identity);
    for (struct edge_connection *connection = edge->connections; connection != NULL; connection = connection->next)
        if (connection->entry != NULL && !tls_stream_still_valid(connection->stream, identity))
            grpc_connection_shutdown(connection->grpc, 0);
}

/* --- the end --------------------------------------------------------------------------------------------------------
 */

static void on_listener_closed(void *arg)
{
    struct edge *edge = arg;
    edge->listener_closed = true;
    check_drained(edge);
}

void edge_drain(struct edge *edge, uint32_t grace_ms, void (*drained)(void *arg), void *arg)
{
    edge->draining = true;
    edge->drained = drained;
    edge->drained_arg = arg;
    feed_end_all(edge);
    for (struct edge_connection *connection = edge->connections; connection != NULL; connection = connection->next)
        grpc_connection_shutdown(connection->grpc, grace_ms);
    tls_listener_close(edge->listener, on_listener_closed, edge);
}

void edge_close(struct edge *edge)
{
    mailbox_close(&edge->mailbox);
    feed_line_close(edge);
    health_free(edge->health);
    wake_close(&edge->ring_wake, NULL);
    uv_close((uv_handle_t *)&edge->tick, NULL);
}

void edge_free(struct edge *edge)
{
    if (edge == NULL)
        return;
    tls_identity_unref(edge->identity);
    free(edge->methods);
    free(edge);
}
