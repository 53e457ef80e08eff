/* The HTTP/1.1 port: GET /metrics (Prometheus), /healthz (the process lives), /readyz (it serves linearizable calls). libmicrohttpd, one thread of its own. */
#ifndef LAPSE_NODE_HTTP_H
#define LAPSE_NODE_HTTP_H

#include <stdint.h>

#include "base/result.h"

struct http_server;
lapse_result http_start(const char *host, uint16_t port, struct http_server **server, struct lapse_error *error) LAPSE_MUST_USE;
uint16_t http_port(const struct http_server *server);
void http_stop(struct http_server *server); /* joins its thread; accepts NULL */

#endif
