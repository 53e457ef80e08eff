#include "node/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "node/http_evaluation.h"
#include "node/metrics.h"
#include "proto/authzen.h"

struct http_server {
    struct MHD_Daemon *daemon;
    uint16_t port;
    _Atomic(struct http_evaluator *) evaluator; /* NULL: evaluations aren't served */
};

static char seen; /* the state of a request that needs none of its own */

struct answer {
    unsigned status;
    const char *type;
    struct buf body;
};

#define TYPE_TEXT "text/plain; charset=utf-8"
#define TYPE_METRICS "text/plain; version=0.0.4; charset=utf-8"

static void say(struct answer *answer, unsigned status, const char *text)
{
    buf_clear(&answer->body);
    answer->status = status;
    answer->type = TYPE_TEXT;
    CHECK(lapse_is_ok(buf_printf(&answer->body, "%s\n", text)));
}

static void serve_metrics(struct answer *answer)
{
    answer->status = MHD_HTTP_OK;
    answer->type = TYPE_METRICS;
    if (!lapse_is_ok(metrics_render(&answer->body)))
        say(answer, MHD_HTTP_INTERNAL_SERVER_ERROR, "the metrics are longer than their limit");
}

static void serve_health(struct answer *answer)
{
    say(answer, MHD_HTTP_OK, "ok");
}

static void serve_readiness(struct answer *answer)
{
    char reason[128];
    if (metric_get(METRIC_READY) != 0) {
        say(answer, MHD_HTTP_OK, "ready");
        return;
    }
    (void)snprintf(reason, sizeof reason,
                   "not ready: no majority of the cluster has answered lately (peers linked: %lld)",
                   (long long)metric_get(METRIC_PEERS_UP));
    say(answer, MHD_HTTP_SERVICE_UNAVAILABLE, reason);
}

static const struct {
    const char *path;
    void (*serve)(struct answer *answer);
} routes[] = {
    {"/metrics", serve_metrics},
    {"/healthz", serve_health},
    {"/readyz", serve_readiness},
};

static void serve(const char *path, const char *method, struct answer *answer)
{
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (strcmp(routes[i].path, path) != 0)
            continue;
        if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0)
            routes[i].serve(answer);
        else
            say(answer, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD");
        return;
    }
    say(answer, MHD_HTTP_NOT_FOUND, "there are /metrics, /healthz and /readyz");
}

/* Nothing here is a page: a browser that is made to load it shall neither guess a type, nor run, nor keep anything. */
static bool add_headers(struct MHD_Response *response, const struct answer *answer)
{
    const char *const headers[][2] = {
        {MHD_HTTP_HEADER_CONTENT_TYPE, answer->type},
        {MHD_HTTP_HEADER_CACHE_CONTROL, "no-store"},
        {"X-Content-Type-Options", "nosniff"},
        {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
        {MHD_HTTP_HEADER_ALLOW, "GET, HEAD"},
    };
    for (size_t i = 0; i < ARRAY_LEN(headers); i++)
        if (MHD_add_response_header(response, headers[i][0], headers[i][1]) != MHD_YES)
            return false;
    return true;
}

static bool announces_body(struct MHD_Connection *connection)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH) != NULL ||
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
}

static enum MHD_Result answer_request(struct MHD_Connection *connection, const char *path, const char *method)
{
    struct answer answer;
    enum MHD_Result queued = MHD_NO;

    buf_init(&answer.body, LIMIT_METRICS_BYTES);
    serve(path, method, &answer);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(answer.body.len, answer.body.data, MHD_RESPMEM_MUST_COPY);
    if (response != NULL && add_headers(response, &answer))
        queued = MHD_queue_response(connection, answer.status, response);
    if (response != NULL)
        MHD_destroy_response(response);
    buf_free(&answer.body);
    return queued;
}

/* Called twice: when the headers are there, and when the whole request is. An answer at the first call makes
 * libmicrohttpd close the connection: just right for a request with a body, which nobody will read; the others keep
 * their connection. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **state)
{
    struct http_server *server = arg;
    struct http_evaluator *evaluator = atomic_load(&server->evaluator);
    (void)version;
    if (evaluator != NULL && strcmp(url, AUTHZEN_PATH) == 0)
        return http_evaluate(evaluator, connection, method, upload, upload_size, state);
    if (*state == NULL && !announces_body(connection)) {
        *state = &seen;
        return MHD_YES;
    }
    return answer_request(connection, url, method);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode why)
{
    (void)arg, (void)connection, (void)why;
    if (*state != &seen)
        http_evaluation_end(*state);
    *state = NULL;
}

static int listen_on(const struct addrinfo *address)
{
    int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    /* After a restart the port is there at once. An IPv6 address means just that. */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, (int)LIMIT_HTTP_CONNECTIONS) == 0)
        return fd;
    int cause = errno;
    (void)close(fd);
    errno = cause;
    return -1;
}

/* A name may stand for several addresses: the first that works. `*fd` is -1 before. */
static lapse_result open_socket(const char *host, uint16_t port, int *fd, struct lapse_error *error)
{
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses = NULL;
    char service[8];

    (void)snprintf(service, sizeof service, "%u", (unsigned)port);
    int status = getaddrinfo(host, service, &hints, &addresses);
    if (status != 0)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "listen.http: %s: %s", host, gai_strerror(status));
    for (const struct addrinfo *at = addresses; at != NULL && *fd < 0; at = at->ai_next)
        *fd = listen_on(at);
    int cause = errno;
    freeaddrinfo(addresses);
    if (*fd < 0)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "listen.http: %s port %u: %s", host, (unsigned)port,
                          strerror(cause));
    return lapse_ok();
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    CHECK(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

lapse_result http_start(const char *host, uint16_t port, struct http_server **server, struct lapse_error *error)
{
    int fd = -1;
    lapse_result result = open_socket(host, port, &fd, error);
    if (!lapse_is_ok(result))
        return result;
    uint16_t bound = port_of(fd);
    struct http_server *made = mem_calloc(1, sizeof *made);
    /* The daemon owns the socket from here on, but for a failed start. */
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_AUTO_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, made,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_CONNECTION_LIMIT,
        LIMIT_HTTP_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, LIMIT_HTTP_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)LIMIT_HTTP_CONNECTION_BYTES, MHD_OPTION_END);
    if (daemon == NULL) {
        (void)close(fd);
        free(made);
        return lapse_fail(error, LAPSE_UNAVAILABLE, "listen.http: %s port %u: the HTTP server can't be started", host,
                          (unsigned)port);
    }
    made->daemon = daemon;
    made->port = bound;
    *server = made;
    return lapse_ok();
}

void http_serve_evaluations(struct http_server *server, struct http_evaluator *evaluator)
{
    CHECK(atomic_exchange(&server->evaluator, evaluator) == NULL);
}

void http_close_evaluations(struct http_server *server)
{
    struct http_evaluator *evaluator = server == NULL ? NULL : atomic_load(&server->evaluator);
    if (evaluator != NULL)
        http_evaluator_close(evaluator);
}

uint16_t http_port(const struct http_server *server)
{
    return server->port;
}

void http_stop(struct http_server *server)
{
    if (server == NULL)
        return;
    MHD_stop_daemon(server->daemon);
    http_evaluator_free(atomic_load(&server->evaluator));
    free(server);
}
