/* A node's threads, and how it ends:
 *
 *   RUNNING --stop, fatal--> DRAINING: edges drain, leadership is handed over --all done--> CLOSING: the core answers
 * what waits and closes --> the edges deliver these answers and close --> the loops run out --> node_wait joins
 *
 * The order matters: as long as an edge has a question at the core, both must be there to meet its answer. */
#include "node/node.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/thread.h"
#include "node/edge.h"
#include "node/http.h"
#include "node/http_evaluation.h"
#include "node/metrics.h"
#include "node/notify.h"
#include "proto/health.h"

/* Calls that are being answered when a stop is asked for get this long. */
#define GRACE_MS 2000
#define SEED_TIMEOUT_MS 5000
#define SEED_RETRY_US 20000

struct node_edge {
    struct node *node;
    struct edge *edge;
    uv_loop_t *loop; /* own_loop, or the core's when there are no edge threads */
    uv_loop_t own_loop;
    uv_thread_t thread;
    struct mail mail; /* drain, then close */
    struct mail drained;
};

struct node {
    struct config config;
    struct tls_identity *identity;
    struct admission *admission;
    struct core *core;
    uv_loop_t loop; /* the core's */
    uv_thread_t thread;
    uv_async_t stop, reload;
    struct node_edge *edges;
    uint32_t n_edges;
    struct http_server *http;
    pthread_mutex_t lock; /* guards `over`: past it `stop` and `reload` are closed */
    bool over;
    bool draining;
    uint32_t still_draining;
    struct lapse_error end; /* why it had to end; LAPSE_OK for a stop that was asked for */
};

/* --- the end --------------------------------------------------------------------------------------------------------
 */

static void close_edge(struct mail *mail)
{
    struct node_edge *edge = CONTAINER_OF(mail, struct node_edge, mail);
    edge_close(edge->edge);
}

static void on_core_closed(void *arg)
{
    struct node *node = arg;
    for (uint32_t i = 0; i < node->n_edges; i++) {
        node->edges[i].mail.run = close_edge;
        mailbox_answer(edge_mailbox(node->edges[i].edge), &node->edges[i].mail);
    }
    CHECK(pthread_mutex_lock(&node->lock) == 0);
    node->over = true;
    CHECK(pthread_mutex_unlock(&node->lock) == 0);
    uv_close((uv_handle_t *)&node->stop, NULL);
    uv_close((uv_handle_t *)&node->reload, NULL);
}

/* On the core loop: an edge, or the handing over of leadership, is done. */
static void on_drained(void *arg)
{
    struct node *node = arg;
    CHECK(node->still_draining > 0);
    if (--node->still_draining > 0)
        return;
    http_close_evaluations(node->http);
    core_close(node->core, on_core_closed, node);
}

static void on_edge_drained_mail(struct mail *mail)
{
    on_drained(CONTAINER_OF(mail, struct node_edge, drained)->node);
}

static void on_edge_drained(void *arg)
{
    struct node_edge *edge = arg;
    edge->drained.run = on_edge_drained_mail;
    mailbox_answer(core_mailbox(edge->node->core), &edge->drained);
}

static void drain_edge(struct mail *mail)
{
    struct node_edge *edge = CONTAINER_OF(mail, struct node_edge, mail);
    edge_drain(edge->edge, edge->node->end.code == LAPSE_OK ? GRACE_MS : 0, on_edge_drained, edge);
}

static void begin_end(struct node *node)
{
    if (node->draining)
        return;
    node->draining = true;
    node->still_draining = node->n_edges + 1;
    health_set(false);
    notify_stopping();
    for (uint32_t i = 0; i < node->n_edges; i++) {
        node->edges[i].mail.run = drain_edge;
        mailbox_answer(edge_mailbox(node->edges[i].edge), &node->edges[i].mail);
    }
    core_step_down(node->core, on_drained, node);
}

static void on_stop(uv_async_t *stop)
{
    log_info("stopping");
    begin_end(stop->data);
}

static void on_fatal(void *arg, const struct lapse_error *error)
{
    struct node *node = arg;
    node->end = *error;
    CHECK(uv_async_send(&node->stop) == 0);
}

/* --- events and certificates ----------------------------------------------------------------------------------------
 */

static void on_events(void *arg)
{
    struct node *node = arg;
    for (uint32_t i = 0; i < node->n_edges; i++)
        edge_wake(node->edges[i].edge);
}

static const struct core_handler core_handler = {.on_events = on_events, .on_fatal = on_fatal};

static struct tls_files tls_files_of(const struct config *config)
{
    return (struct tls_files){.certificate = config->certificate,
                              .key = config->key,
                              .authorities = config->authorities,
                              .deny_list = config->deny_list[0] == '\0' ? NULL : config->deny_list};
}

/* One reload on its way to one edge; several may be under way. */
struct reload {
    struct mail mail;
    struct edge *edge;
    struct tls_identity *identity;
};

static void set_edge_identity(struct mail *mail)
{
    struct reload *reload = CONTAINER_OF(mail, struct reload, mail);
    edge_set_identity(reload->edge, reload->identity);
    tls_identity_unref(reload->identity);
    free(reload);
}

static void reload_edge(struct edge *edge, struct tls_identity *identity)
{
    struct reload *reload = mem_calloc(1, sizeof *reload);
    reload->mail.run = set_edge_identity;
    reload->edge = edge;
    reload->identity = tls_identity_ref(identity);
    mailbox_answer(edge_mailbox(edge), &reload->mail);
}

static void on_reload(uv_async_t *reload)
{
    struct node *node = reload->data;
    struct tls_identity *identity = NULL;
    struct lapse_error error;
    const struct tls_files files = tls_files_of(&node->config);
    if (node->draining)
        return;
    if (!lapse_is_ok(tls_identity_load(&files, &identity, &error))) {
        log_error("certificates not reloaded; the old ones stay in use", LOG_STR("error", error.message));
        return;
    }
    for (uint32_t i = 0; i < node->n_edges; i++)
        reload_edge(node->edges[i].edge, identity);
    core_set_identity(node->core, identity);
    tls_identity_unref(node->identity);
    node->identity = identity;
    log_info("certificates and deny list reloaded");
}

/* --- the start ------------------------------------------------------------------------------------------------------
 */

static lapse_result open_edge(struct node *node, uint32_t i, struct lapse_error *error)
{
    struct node_edge *edge = &node->edges[i];
    const struct edge_options options = {.config = &node->config,
                                         .core = node->core,
                                         .identity = node->identity,
                                         .admission = node->admission,
                                         /* The first one may have chosen the port. */
                                         .use = node->config.edge_threads <= 1 ? TLS_PORT_ALONE : i == 0 ? TLS_PORT_FIRST : TLS_PORT_NEXT,
                                         .port = i == 0 ? node->config.client_port : edge_port(node->edges[0].edge)};
    edge->node = node;
    edge->loop = &node->loop;
    if (node->config.edge_threads > 0) {
        edge->loop = &edge->own_loop;
        CHECK(uv_loop_init(edge->loop) == 0);
    }
    return edge_open(edge->loop, &options, &edge->edge, error);
}

static lapse_result open_edges(struct node *node, struct lapse_error *error)
{
    const struct admission_limits limits = {.connections_max = node->config.connections_max,
                                            .connections_per_principal = node->config.connections_per_principal,
                                            .calls_per_principal = node->config.calls_per_principal,
                                            .held_max = LIMIT_PAGES_HELD,
                                            .held_per_principal = LIMIT_PAGES_HELD_PER_PRINCIPAL,
                                            .requests_per_second = node->config.requests_per_second};
    uint32_t n = node->config.edge_threads == 0 ? 1 : node->config.edge_threads;
    lapse_result result = lapse_ok();
    node->admission = admission_new(&limits);
    node->edges = mem_calloc(n, sizeof *node->edges);
    for (uint32_t i = 0; i < n && lapse_is_ok(result); i++)
        result = open_edge(node, i, error);
    node->n_edges = n;
    return result;
}

static void run_loop(void *arg)
{
    uv_loop_t *loop = arg;
    thread_take_short_turns();
    while (uv_run(loop, UV_RUN_DEFAULT) != 0)
        ;
    CHECK(uv_loop_close(loop) == 0);
}

static void start_threads(struct node *node)
{
    CHECK(uv_thread_create(&node->thread, run_loop, &node->loop) == 0);
    for (uint32_t i = 0; i < node->n_edges && node->config.edge_threads > 0; i++)
        CHECK(uv_thread_create(&node->edges[i].thread, run_loop, node->edges[i].loop) == 0);
}

/* A node that could not start is not taken apart again: the process ends with the error. */
lapse_result node_start(const struct config *config, struct node **out, struct lapse_error *error)
{
    struct node *node = mem_calloc(1, sizeof *node);
    const struct tls_files files = tls_files_of(config);
    node->config = *config;
    CHECK(uv_loop_init(&node->loop) == 0);
    CHECK(pthread_mutex_init(&node->lock, NULL) == 0);
    lapse_result result = tls_identity_load(&files, &node->identity, error);
    if (lapse_is_ok(result))
        result = core_open(&node->loop, &node->config, node->identity, &core_handler, node, &node->core, error);
    if (lapse_is_ok(result))
        result = open_edges(node, error);
    if (lapse_is_ok(result) && config->http_enabled)
        result = http_start(config->http_host, config->http_port, &node->http, error);
    if (!lapse_is_ok(result))
        return result;
    if (config->http_evaluation)
        http_serve_evaluations(node->http, http_evaluator_new(node->core));
    CHECK(uv_async_init(&node->loop, &node->stop, on_stop) == 0);
    CHECK(uv_async_init(&node->loop, &node->reload, on_reload) == 0);
    node->stop.data = node->reload.data = node;
    *out = node;
    start_threads(node);
    return lapse_ok();
}

void node_ports(const struct node *node, struct node_ports *ports)
{
    ports->client = edge_port(node->edges[0].edge);
    ports->peer = core_peer_port(node->core);
    ports->http = node->http != NULL ? http_port(node->http) : 0;
}

static void wake_unless_over(struct node *node, uv_async_t *handle)
{
    CHECK(pthread_mutex_lock(&node->lock) == 0);
    if (!node->over)
        CHECK(uv_async_send(handle) == 0);
    CHECK(pthread_mutex_unlock(&node->lock) == 0);
}

void node_stop(struct node *node)
{
    wake_unless_over(node, &node->stop);
}

void node_reload(struct node *node)
{
    wake_unless_over(node, &node->reload);
}

lapse_result node_wait(struct node *node, struct lapse_error *error)
{
    CHECK(uv_thread_join(&node->thread) == 0);
    for (uint32_t i = 0; i < node->n_edges && node->config.edge_threads > 0; i++)
        CHECK(uv_thread_join(&node->edges[i].thread) == 0);
    http_stop(node->http);
    node->http = NULL;
    if (node->end.code == LAPSE_OK)
        return lapse_ok();
    *error = node->end;
    return lapse_failed(node->end.code);
}

void node_free(struct node *node)
{
    if (node == NULL)
        return;
    for (uint32_t i = 0; i < node->n_edges; i++)
        edge_free(node->edges[i].edge);
    free(node->edges);
    core_free(node->core);
    admission_free(node->admission);
    tls_identity_unref(node->identity);
    CHECK(pthread_mutex_destroy(&node->lock) == 0);
    free(node);
}

bool node_is_ready(const struct node *node)
{
    (void)node;
    return metric_get(METRIC_READY) == 1;
}

/* --- seeding --------------------------------------------------------------------------------------------------------
 */

struct seed {
    struct core_call *call;
    uv_sem_t done;
};

static void on_seeded(struct core_call *call)
{
    struct seed *seed = call->owner;
    uv_sem_post(&seed->done);
}

/* One attempt in the name of the first operator, who is known once INIT is applied. */
static lapse_result seed_once(struct node *node, const struct store_role_binding *binding, struct lapse_error *error)
{
    struct seed seed = {.call = core_call_new(CORE_SEED_ROLES, "", SEED_TIMEOUT_MS)};
    struct command command = {.type = COMMAND_SET_ROLES, .member = binding->member, .roles = binding->roles};
    CHECK(uv_sem_init(&seed.done, 0) == 0);
    CHECK(lapse_is_ok(command_encode(&command, &seed.call->command)));
    seed.call->owner = &seed;
    seed.call->answered = on_seeded;
    lapse_result result = lapse_failed(LAPSE_UNAVAILABLE);
    if (core_ask(node->core, seed.call)) {
        uv_sem_wait(&seed.done);
        *error = seed.call->error;
        result = lapse_failed(error->code);
    }
    core_call_free(seed.call);
    uv_sem_destroy(&seed.done);
    return result;
}

lapse_result node_seed_roles(struct node *node, const char *member, uint32_t roles, struct lapse_error *error)
{
    const struct store_role_binding binding = {.member = slice_str(member), .roles = roles};
    int64_t until_ms = clock_boot_ms() + SEED_TIMEOUT_MS;
    lapse_result result = seed_once(node, &binding, error);
    while (result.code == LAPSE_UNAVAILABLE && clock_boot_ms() < until_ms) {
        (void)usleep(SEED_RETRY_US);
        result = seed_once(node, &binding, error);
    }
    return result;
}
