/* The agent's HTTP/1.1 ends, each with one thread of libmicrohttpd:
 *
 *   checks    any /auth        nginx' auth_request, HAProxy: the original request in headers; 200, 401 or 403
 *             POST /v1/check   a question in JSON, its answer in JSON
 *             POST /access/v1/evaluation   the same as the OpenID Authorization API (AuthZEN) has it
 *             GET /healthz /readyz
 *   metrics   GET /metrics /healthz /readyz
 *
 * /readyz is 503 unless the guard decides. A denial's reason is in X-Lapse-Reason. */
#ifndef LAPSE_CLIENT_AGENT_HTTP_H
#define LAPSE_CLIENT_AGENT_HTTP_H

#include "client/agent/config.h"
#include "client/agent/decide.h"
#include "client/agent/pool.h"

struct agent_http;

enum agent_http_use { AGENT_HTTP_CHECKS, AGENT_HTTP_METRICS };

struct agent_http_options {
    enum agent_http_use use;
    const char *address;               /* see listen.h */
    const struct agent_config *config; /* the headers' names */
    struct agent_decider *decider;
    struct agent_pool *pool;
};

/* Borrows everything in `options`. UNAVAILABLE. */
lapse_result agent_http_start(const struct agent_http_options *options, struct agent_http **http,
                              struct lapse_error *error) LAPSE_MUST_USE;
uint16_t agent_http_port(const struct agent_http *http);
/* Takes no new connections any more. Accepts NULL. */
void agent_http_quiesce(struct agent_http *http);
/* Ends all connections, joins the thread, frees. The pool must have ended, so that nothing waits. Accepts NULL. */
void agent_http_stop(struct agent_http *http);

#endif
