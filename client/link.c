/* One connection at a time, and where to go when it breaks. See link.h for the states. */
#include "client/link.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/check.h"
#include "client/lapse.h"

struct endpoint {
    char text[LINK_ENDPOINT_SIZE];
    char host[LINK_ENDPOINT_SIZE];
    uint16_t port;
};

struct link_connection {
    TAILQ_ENTRY(link_connection) entry;
    struct link *link;
    const struct endpoint *endpoint;
    struct grpc_channel *channel;
    uint32_t calls;
    bool retired; /* no new calls; closes with its last */
    bool closing;
};

struct link {
    uv_loop_t *loop;
    struct link_handler handler;
    void *arg;

    struct endpoint endpoints[LINK_ENDPOINTS_MAX];
    uint32_t n_endpoints;
    uint32_t next; /* endpoint to try next */

    char *certificate, *key, *authorities, *server;
    struct tls_identity *identity;
    uint32_t connect_timeout_ms, keepalive_ms, keepalive_timeout_ms, backoff_min_ms, backoff_max_ms;

    TAILQ_HEAD(, link_connection) connections;
    struct link_connection *current; /* connecting or ready; NULL: idle or pausing */
    uint32_t failures;               /* attempts in a row that came to nothing */
    uint32_t hopeless;               /* of these, those refused for the certificate */
    uv_timer_t pause;
    bool pausing;
    bool closing;
    bool timer_closed;
};

static void dial(struct link *link);

/* ---- Endpoints */

static lapse_result port_parse(struct slice text, uint16_t *port)
{
    uint32_t value = 0;
    for (size_t i = 0; i < text.len && value <= 65535; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return lapse_failed(LAPSE_INVALID_ARGUMENT);
        value = value * 10 + (uint32_t)(text.data[i] - '0');
    }
    if (text.len == 0 || value == 0 || value > 65535)
        return lapse_failed(LAPSE_INVALID_ARGUMENT);
    *port = (uint16_t)value;
    return lapse_ok();
}

lapse_result link_endpoint_parse(struct slice text, char host[LINK_ENDPOINT_SIZE], uint16_t *port,
                                 struct lapse_error *error)
{
    const char *at = (const char *)text.data;
    const char *colon = text.len > 0 ? memrchr(at, ':', text.len) : NULL;
    struct slice name = colon == NULL ? slice_of(NULL, 0) : slice_of(at, (size_t)(colon - at));
    bool bracketed = name.len > 2 && name.data[0] == '[' && name.data[name.len - 1] == ']';
    uint16_t parsed = 0;

    if (bracketed)
        name = slice_of(name.data + 1, name.len - 2);
    bool ok = colon != NULL && name.len > 0 && (bracketed || memchr(name.data, ':', name.len) == NULL) &&
              memchr(name.data, ' ', name.len) == NULL && memchr(name.data, '[', name.len) == NULL &&
              lapse_is_ok(port_parse(slice_of(colon + 1, text.len - (size_t)(colon + 1 - at)), &parsed)) &&
              slice_to_cstr(name, host, LINK_ENDPOINT_SIZE);
    if (!ok)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "endpoint \"%.*s\" is not host:port, for example 127.0.0.1:7400 or [::1]:7400", (int)text.len,
                          at == NULL ? "" : at);
    *port = parsed;
    return lapse_ok();
}

static lapse_result endpoint_add(struct link *link, struct slice text, struct lapse_error *error)
{
    if (link->n_endpoints == LINK_ENDPOINTS_MAX)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "more than %d endpoints", LINK_ENDPOINTS_MAX);
    struct endpoint *endpoint = &link->endpoints[link->n_endpoints];
    lapse_result result = link_endpoint_parse(text, endpoint->host, &endpoint->port, error);
    if (!lapse_is_ok(result))
        return result;
    if (!slice_to_cstr(text, endpoint->text, sizeof endpoint->text))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "an endpoint is longer than %d characters",
                          LINK_ENDPOINT_SIZE - 1);
    link->n_endpoints++;
    return result;
}

static lapse_result endpoints_parse(struct link *link, const char *list, struct lapse_error *error)
{
    if (list == NULL || *list == '\0')
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "no endpoints given: name at least one node as host:port");
    for (const char *at = list;; at++) {
        while (*at == ' ')
            at++;
        size_t len = strcspn(at, ",");
        size_t trimmed = len;
        while (trimmed > 0 && at[trimmed - 1] == ' ')
            trimmed--;
        lapse_result result = endpoint_add(link, slice_of(at, trimmed), error);
        if (!lapse_is_ok(result))
            return result;
        at += len;
        if (*at == '\0')
            return result;
    }
}

/* ---- Life */

static uint32_t random_below(uint32_t bound)
{
    uint32_t value = 0;
    CHECK(RAND_bytes((unsigned char *)&value, sizeof value) == 1);
    return value % bound;
}

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value == 0 ? fallback : value;
}

static void link_free(struct link *link)
{
    if (link == NULL)
        return;
    free(link->certificate);
    free(link->key);
    free(link->authorities);
    free(link->server);
    tls_identity_unref(link->identity);
    free(link);
}

static lapse_result identity_read(const struct link *link, struct tls_identity **identity, struct lapse_error *error)
{
    struct tls_files files = {link->certificate, link->key, link->authorities, NULL};
    return tls_identity_load(&files, identity, error);
}

lapse_result link_check_files(const struct link *link, struct lapse_error *error)
{
    struct tls_identity *identity = NULL;
    lapse_result result = identity_read(link, &identity, error);
    tls_identity_unref(identity);
    return result;
}

static lapse_result identity_load(struct link *link, struct lapse_error *error)
{
    struct tls_identity *identity;
    lapse_result result = identity_read(link, &identity, error);
    if (lapse_is_ok(result)) {
        tls_identity_unref(link->identity);
        link->identity = identity;
    }
    return result;
}

static lapse_result settings_take(struct link *link, const struct lapse_client_options *options,
                                  struct lapse_error *error)
{
    if (options->certificate == NULL || options->key == NULL || options->authorities == NULL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "a certificate, its key and the authorities are needed, as PEM files");
    link->certificate = mem_strdup(options->certificate);
    link->key = mem_strdup(options->key);
    link->authorities = mem_strdup(options->authorities);
    link->server = options->server == NULL ? NULL : mem_strdup(options->server);
    link->connect_timeout_ms = or_default(options->connect_timeout_ms, 1000);
    link->keepalive_ms = or_default(options->keepalive_ms, 2000);
    link->keepalive_timeout_ms = or_default(options->keepalive_timeout_ms, 2000);
    link->backoff_min_ms = or_default(options->backoff_min_ms, 20);
    link->backoff_max_ms = or_default(options->backoff_max_ms, 1000);
    if (link->backoff_max_ms < link->backoff_min_ms)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "backoff_max_ms is below backoff_min_ms");
    return endpoints_parse(link, options->endpoints, error);
}

lapse_result link_new(uv_loop_t *loop, const struct lapse_client_options *options, const struct link_handler *handler,
                      void *arg, struct link **out, struct lapse_error *error)
{
    struct link *link = mem_calloc(1, sizeof *link);
    lapse_result result = settings_take(link, options, error);
    if (lapse_is_ok(result))
        result = identity_load(link, error);
    if (!lapse_is_ok(result)) {
        link_free(link);
        return result;
    }
    link->loop = loop;
    link->handler = *handler;
    link->arg = arg;
    link->next = random_below(link->n_endpoints);
    TAILQ_INIT(&link->connections);
    CHECK(uv_timer_init(loop, &link->pause) == 0);
    link->pause.data = link;
    *out = link;
    return result;
}

static void connection_close(struct link_connection *connection)
{
    if (connection->closing)
        return;
    connection->closing = true;
    grpc_channel_close(connection->channel);
}

static void maybe_closed(struct link *link)
{
    if (!link->closing || !link->timer_closed || !TAILQ_EMPTY(&link->connections))
        return;
    link->handler.on_closed(link->arg);
    link_free(link);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;
    link->timer_closed = true;
    maybe_closed(link);
}

void link_close(struct link *link)
{
    CHECK(!link->closing);
    link->closing = true;
    link->current = NULL;
    struct link_connection *connection;
    for (connection = TAILQ_FIRST(&link->connections); connection != NULL; connection = TAILQ_NEXT(connection, entry))
        connection_close(connection);
    uv_close((uv_handle_t *)&link->pause, on_timer_closed);
}

/* ---- Failing and trying again */

static void on_pause_over(uv_timer_t *timer)
{
    struct link *link = timer->data;
    link->pausing = false;
    if (link->current == NULL && link->handler.is_wanted(link->arg))
        dial(link);
}

/* Half of the delay is fixed, half random: clients that lost the same node don't come back in step. */
static uint32_t pause_after(const struct link *link)
{
    uint32_t round = link->failures / link->n_endpoints;
    if (link->failures % link->n_endpoints != 0)
        return 0;
    uint64_t delay = link->backoff_max_ms;
    if (round <= 16 && (uint64_t)link->backoff_min_ms << (round - 1) < delay)
        delay = (uint64_t)link->backoff_min_ms << (round - 1);
    return (uint32_t)(delay / 2) + random_below((uint32_t)(delay / 2) + 1);
}

/* The next attempt always comes from the timer, so that no failure recurses into the next. */
static void schedule(struct link *link)
{
    link->pausing = true;
    CHECK(uv_timer_start(&link->pause, on_pause_over, pause_after(link), 0) == 0);
}

static bool is_hopeless(enum lapse_code code)
{
    return code == LAPSE_UNAUTHENTICATED || code == LAPSE_INVALID_ARGUMENT;
}

static void note_failure(struct link *link, enum lapse_code code)
{
    if (link->failures == UINT32_MAX - LINK_ENDPOINTS_MAX)
        link->failures = 0;
    link->failures++;
    link->hopeless = is_hopeless(code) ? link->hopeless + 1 : 0;
    schedule(link);
}

void link_succeeded(struct link *link)
{
    link->failures = link->hopeless = 0;
}

/* ---- Connections */

static void connection_retire(struct link_connection *connection)
{
    struct link *link = connection->link;
    if (link->current == connection)
        link->current = NULL;
    connection->retired = true;
    if (connection->calls == 0)
        connection_close(connection);
}

void link_renew(struct link *link)
{
    if (!link->closing && link->current != NULL)
        connection_retire(link->current);
}

static void on_channel_open(struct grpc_channel *channel, const struct stream_peer *peer)
{
    (void)peer;
    struct link_connection *connection = grpc_channel_owner(channel);
    if (connection == connection->link->current)
        connection->link->handler.on_ready(connection->link->arg);
}

static void on_channel_goaway(struct grpc_channel *channel)
{
    struct link_connection *connection = grpc_channel_owner(channel);
    struct link *link = connection->link;
    if (link->closing || connection->retired)
        return;
    connection_retire(connection);
    if (link->current == NULL)
        note_failure(link, LAPSE_UNAVAILABLE);
}

static void on_channel_close(struct grpc_channel *channel, const struct lapse_error *why)
{
    struct link_connection *connection = grpc_channel_owner(channel);
    struct link *link = connection->link;
    bool was_current = connection == link->current;

    CHECK(connection->calls == 0);
    TAILQ_REMOVE(&link->connections, connection, entry);
    if (was_current) {
        struct lapse_error error;
        link->current = NULL;
        note_failure(link, why->code);
        (void)lapse_fail(&error, why->code == LAPSE_OK ? LAPSE_UNAVAILABLE : why->code, "%s: %s",
                         connection->endpoint->text, why->message);
        link->handler.on_failure(link->arg, &error, link->hopeless >= link->n_endpoints);
    }
    free(connection);
    maybe_closed(link);
}

static const struct grpc_channel_handler channel_handler = {on_channel_open, on_channel_goaway, on_channel_close};

static lapse_result connect_to(struct link *link, const struct endpoint *endpoint, struct lapse_error *error)
{
    struct tls_options tls = {.alpn = "h2", .connect_timeout_ms = link->connect_timeout_ms};
    struct grpc_channel_options options = {.authority = endpoint->text,
                                           .keepalive_ms = link->keepalive_ms,
                                           .keepalive_timeout_ms = link->keepalive_timeout_ms};
    struct stream *stream;

    /* Files that can't be read just now (being replaced) are no reason to stop: the ones read before may still do. */
    lapse_result reload = identity_load(link, NULL);
    (void)reload;
    lapse_result result = tls_connect(link->loop, endpoint->host, endpoint->port, link->server, link->identity, &tls,
                                      (struct stream_handler){0}, NULL, &stream, error);
    if (!lapse_is_ok(result))
        return result;
    struct link_connection *connection = mem_calloc(1, sizeof *connection);
    connection->link = link;
    connection->endpoint = endpoint;
    connection->channel = grpc_channel_new(link->loop, stream, &options, &channel_handler, connection);
    TAILQ_INSERT_TAIL(&link->connections, connection, entry);
    link->current = connection;
    return result;
}

static void dial(struct link *link)
{
    const struct endpoint *endpoint = &link->endpoints[link->next];
    struct lapse_error error, named;

    link->next = (link->next + 1) % link->n_endpoints;
    if (lapse_is_ok(connect_to(link, endpoint, &error)))
        return;
    note_failure(link, error.code);
    (void)lapse_fail(&named, error.code, "%s: %s", endpoint->text, error.message);
    link->handler.on_failure(link->arg, &named, link->hopeless >= link->n_endpoints);
}

bool link_is_ready(const struct link *link)
{
    return link->current != NULL && grpc_channel_is_ready(link->current->channel);
}

void link_want(struct link *link)
{
    if (link->current != NULL || link->pausing || link->closing)
        return;
    link->pausing = true;
    CHECK(uv_timer_start(&link->pause, on_pause_over, 0, 0) == 0);
}

/* ---- Calls */

static lapse_result call_on(struct link *link, const char *path, struct slice message, bool more, int64_t timeout_ms,
                            const struct grpc_request_handler *handler, void *owner, struct grpc_request **request,
                            struct link_connection **connection)
{
    if (!link_is_ready(link))
        return lapse_failed(LAPSE_UNAVAILABLE);
    lapse_result result =
        grpc_channel_call(link->current->channel, path, message, more, timeout_ms, handler, owner, request);
    if (lapse_is_ok(result)) {
        link->current->calls++;
        *connection = link->current;
    }
    return result;
}

lapse_result link_call(struct link *link, const char *path, struct slice message, int64_t timeout_ms,
                       const struct grpc_request_handler *handler, void *owner, struct grpc_request **request,
                       struct link_connection **connection)
{
    return call_on(link, path, message, false, timeout_ms, handler, owner, request, connection);
}

lapse_result link_stream(struct link *link, const char *path, struct slice message,
                         const struct grpc_request_handler *handler, void *owner, struct grpc_request **request,
                         struct link_connection **connection)
{
    return call_on(link, path, message, true, -1, handler, owner, request, connection);
}

void link_call_ended(struct link_connection *connection, bool can_serve)
{
    struct link *link = connection->link;
    CHECK(connection->calls > 0);
    connection->calls--;
    if (link->closing)
        return;
    if (!can_serve && connection == link->current && link->n_endpoints > 1 &&
        grpc_channel_is_ready(connection->channel)) {
        connection_retire(connection);
        note_failure(link, LAPSE_UNAVAILABLE);
    } else if (connection->retired && connection->calls == 0) {
        connection_close(connection);
    }
}

const char *link_connection_endpoint(const struct link_connection *connection)
{
    return connection->endpoint->text;
}
