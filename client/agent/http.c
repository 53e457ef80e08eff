/* See http.h. What is asked is recognised here and answered by http_answer.c.
 *
 *   headers read --> [body read] --> decided --------------------------> answered
 *                                       \-- suspended --> worker --> resumed --'
 *
 * A request without a body needs no memory of its own until it has to wait. */
#include "client/agent/http.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "client/agent/evaluation.h"
#include "client/agent/http_answer.h"
#include "client/agent/listen.h"
#include "proto/authzen.h"

struct agent_http {
    struct MHD_Daemon *daemon;
    struct agent_http_options options;
    char address[AGENT_PATH_SIZE];
    uint16_t port;
    int quiesced; /* the listening socket, given back; -1 */
};

/* A request that has a body or waits. */
struct exchange {
    struct agent_job job;
    struct agent_http *http;
    struct MHD_Connection *connection;
    struct agent_question question;
    struct agent_answer answer;
    struct buf body;
    enum http_question { QUESTION_AUTH, QUESTION_CHECK, QUESTION_EVALUATION } kind;
    bool oversize;
    bool waited;
};

static char seen; /* the state of a request that needs no exchange */

/* ---- Deciding */

static enum MHD_Result add_header(void *arg, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                  const char *value, size_t value_len)
{
    (void)kind;
    agent_request_add(arg, slice_of(name, name_len), slice_of(value, value_len));
    return MHD_YES;
}

static void read_request(const struct agent_http *http, struct MHD_Connection *connection,
                         struct agent_request *request)
{
    const struct agent_config *config = http->options.config;
    request->n_headers = 0;
    request->fault = NULL;
    (void)MHD_get_connection_values_n(connection, MHD_HEADER_KIND, add_header, request);
    request->target = agent_request_told(request, config->uri_header);
    request->method = agent_request_told(request, config->method_header);
    request->host = agent_request_told(request, config->host_header);
    request->address = agent_request_told(request, config->address_header);
    request->certificate = agent_request_told(request, config->certificate_header);
    request->principal = slice_of(NULL, 0);
}

static enum MHD_Result answer(const struct exchange *exchange)
{
    switch (exchange->kind) {
    case QUESTION_CHECK:
        return http_answer_json(exchange->connection, &exchange->answer);
    case QUESTION_EVALUATION:
        return evaluation_answer(exchange->connection, &exchange->answer);
    default:
        return http_answer_auth(exchange->connection, &exchange->answer);
    }
}

/* On a worker. The connection, and with it the exchange, is the HTTP thread's again from the last line on. */
static void run_waiting(struct agent_job *job)
{
    struct exchange *exchange = CONTAINER_OF(job, struct exchange, job);
    agent_decide_waiting(exchange->http->options.decider, &exchange->question, &exchange->answer);
    exchange->waited = true;
    MHD_resume_connection(exchange->connection);
}

static enum MHD_Result wait_or_answer(struct exchange *exchange)
{
    if (!exchange->answer.waits)
        return answer(exchange);
    /* First: the worker may be done before this returns. */
    MHD_suspend_connection(exchange->connection);
    if (agent_pool_submit(exchange->http->options.pool, &exchange->job))
        return MHD_YES;
    agent_decide_busy(exchange->http->options.decider, &exchange->question, &exchange->answer);
    exchange->waited = true;
    MHD_resume_connection(exchange->connection);
    return MHD_YES;
}

static struct exchange *exchange_new(struct agent_http *http, struct MHD_Connection *connection)
{
    struct exchange *exchange = mem_calloc(1, sizeof *exchange);
    exchange->job.run = run_waiting;
    exchange->http = http;
    exchange->connection = connection;
    buf_init(&exchange->body, LIMIT_AGENT_BODY);
    return exchange;
}

static enum MHD_Result serve_auth(struct agent_http *http, struct MHD_Connection *connection, void **state)
{
    struct agent_request request;
    struct agent_question question;
    struct agent_answer decided;
    read_request(http, connection, &request);
    agent_decide(http->options.decider, &request, &question, &decided);
    if (!decided.waits)
        return http_answer_auth(connection, &decided);
    struct exchange *exchange = exchange_new(http, connection);
    exchange->question = question;
    exchange->answer = decided;
    *state = exchange;
    return wait_or_answer(exchange);
}

static bool says_json(struct MHD_Connection *connection)
{
    return authzen_is_json(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE));
}

/* The question that the body asks. */
static enum MHD_Result serve_body(struct exchange *exchange)
{
    struct lapse_error error;
    struct slice body = buf_slice(&exchange->body);
    bool evaluates = exchange->kind == QUESTION_EVALUATION;
    if (exchange->oversize)
        return http_answer_text(exchange->connection, MHD_HTTP_CONTENT_TOO_LARGE, "the question is too long");
    if (evaluates && !says_json(exchange->connection))
        return http_answer_text(exchange->connection, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                "the Content-Type must be application/json");
    if (!lapse_is_ok(evaluates ? evaluation_parse(body, &exchange->question, &error)
                               : http_question_parse(body, &exchange->question, &error)))
        return http_answer_text(exchange->connection, MHD_HTTP_BAD_REQUEST, error.message);
    agent_decide_question(exchange->http->options.decider, &exchange->question, &exchange->answer);
    return wait_or_answer(exchange);
}

/* ---- Routes */

static bool announces_body(struct MHD_Connection *connection)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH) != NULL ||
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
}

static bool is_read(const char *method)
{
    return strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
}

static enum MHD_Result serve_simple(struct agent_http *http, struct MHD_Connection *connection, const char *path,
                                    const char *method, void **state)
{
    bool metrics = http->options.use == AGENT_HTTP_METRICS;
    if (!metrics && strcmp(path, "/auth") == 0)
        return serve_auth(http, connection, state);
    if (!metrics && (strcmp(path, "/v1/check") == 0 || strcmp(path, AUTHZEN_PATH) == 0))
        return http_answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "POST a question in JSON");
    if (!is_read(method))
        return http_answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD");
    if (strcmp(path, "/healthz") == 0)
        return http_answer_text(connection, MHD_HTTP_OK, "ok");
    if (strcmp(path, "/readyz") == 0)
        return http_answer_readiness(connection, agent_decider_guard(http->options.decider));
    if (metrics && strcmp(path, "/metrics") == 0)
        return http_answer_metrics(connection, http->options.decider);
    return http_answer_text(connection, MHD_HTTP_NOT_FOUND,
                            metrics ? "there are /metrics, /healthz and /readyz"
                                    : "there are /auth, /v1/check, " AUTHZEN_PATH ", /healthz and /readyz");
}

/* QUESTION_AUTH: none that comes in a body. */
static enum http_question body_question(const struct agent_http *http, const char *path, const char *method)
{
    if (http->options.use != AGENT_HTTP_CHECKS || strcmp(method, MHD_HTTP_METHOD_POST) != 0)
        return QUESTION_AUTH;
    if (strcmp(path, AUTHZEN_PATH) == 0)
        return QUESTION_EVALUATION;
    return strcmp(path, "/v1/check") == 0 ? QUESTION_CHECK : QUESTION_AUTH;
}

/* A body's next part. What is too long is read to its end, since no answer can be given before. */
static enum MHD_Result take_body(struct exchange *exchange, const char *bytes, size_t *len)
{
    exchange->oversize = exchange->oversize || !lapse_is_ok(buf_append(&exchange->body, bytes, *len));
    *len = 0;
    return MHD_YES;
}

/* Called when the headers are there, for each part of a body, when the request is whole, and after a resumption. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **state)
{
    struct agent_http *http = arg;
    (void)version;
    enum http_question kind = body_question(http, url, method);
    if (*state == NULL && kind != QUESTION_AUTH) {
        struct exchange *exchange = exchange_new(http, connection);
        exchange->kind = kind;
        *state = exchange;
        return MHD_YES;
    }
    /* An answer right now makes libmicrohttpd close the connection: just right for a body that nobody will read. */
    if (*state == NULL && !announces_body(connection)) {
        *state = &seen;
        return MHD_YES;
    }
    if (*state == NULL || *state == &seen)
        return serve_simple(http, connection, url, method, state);
    struct exchange *exchange = *state;
    if (exchange->waited)
        return answer(exchange);
    return *upload_size > 0 ? take_body(exchange, upload, upload_size) : serve_body(exchange);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *state;
    (void)arg, (void)connection, (void)code;
    if (*state == NULL || *state == &seen)
        return;
    buf_free(&exchange->body);
    free(exchange);
    *state = NULL;
}

/* ---- Starting and stopping */

lapse_result agent_http_start(const struct agent_http_options *options, struct agent_http **http,
                              struct lapse_error *error)
{
    int fd = -1;
    lapse_result result = listen_open(options->address, &fd, error);
    if (!lapse_is_ok(result))
        return result;
    struct agent_http *made = mem_calloc(1, sizeof *made);
    made->options = *options;
    made->quiesced = -1;
    made->port = listen_port(fd);
    CHECK(slice_to_cstr(slice_str(options->address), made->address, sizeof made->address));
    /* The daemon owns the socket from here on, but for a failed start. */
    made->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0, NULL, NULL, on_request, made,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_CONNECTION_LIMIT,
        LIMIT_AGENT_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, LIMIT_AGENT_IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)LIMIT_AGENT_CONNECTION_BYTES, MHD_OPTION_END);
    if (made->daemon == NULL) {
        (void)close(fd);
        listen_remove(options->address);
        free(made);
        return lapse_fail(error, LAPSE_UNAVAILABLE, "%s: the HTTP server can't be started", options->address);
    }
    *http = made;
    return lapse_ok();
}

uint16_t agent_http_port(const struct agent_http *http)
{
    return http->port;
}

void agent_http_quiesce(struct agent_http *http)
{
    if (http == NULL || http->quiesced >= 0)
        return;
    listen_remove(http->address);
    http->quiesced = MHD_quiesce_daemon(http->daemon);
}

void agent_http_stop(struct agent_http *http)
{
    if (http == NULL)
        return;
    agent_http_quiesce(http);
    MHD_stop_daemon(http->daemon);
    if (http->quiesced >= 0)
        (void)close(http->quiesced);
    free(http);
}
