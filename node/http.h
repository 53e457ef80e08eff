/* The HTTP/1.1 port, for machines that watch: GET and HEAD of
 *
 *   /metrics   Prometheus' text format 0.0.4
 *   /healthz   200 while the process lives
 *   /readyz    200 while the node serves linearizable calls (METRIC_READY), else 503 and a line that says why
 *
 * and, where it is switched on, POST /access/v1/evaluation (http_evaluation.h).
 *
 * libmicrohttpd with one thread of its own. Clear text and no authentication: nothing secret is served, and the default
 * address is loopback. Connections, their memory and their silence are bounded (LIMIT_HTTP_*). */
#ifndef LAPSE_NODE_HTTP_H
#define LAPSE_NODE_HTTP_H

#include <stdint.h>

#include "base/result.h"

struct http_server;

/* Listens on `host` (a name or an address) and `port` (0: any; ask http_port). UNAVAILABLE, naming the address and the
 * cause, when that can't be had. */
lapse_result http_start(const char *host, uint16_t port, struct http_server **server,
                        struct lapse_error *error) LAPSE_MUST_USE;
uint16_t http_port(const struct http_server *server);
struct http_evaluator;
/* Evaluations are served from now on; takes the evaluator over. Once. */
void http_serve_evaluations(struct http_server *server, struct http_evaluator *evaluator);
/* Before the core is closed: they aren't any more. Accepts NULL. */
void http_close_evaluations(struct http_server *server);
/* Ends all connections, joins the thread and frees. Accepts NULL. */
void http_stop(struct http_server *server);

#endif
