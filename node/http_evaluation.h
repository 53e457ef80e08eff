/* POST /access/v1/evaluation on a node (AuthZEN; proto/authzen.h): what Grants.Check answers, for programs that speak
 * that.
 *
 *   body read --> core_ask(CORE_EVALUATE), connection suspended --a quorum--> answered on the core loop --> resumed,
 * told
 *
 * Nobody who asks is authenticated, and everybody may ask about anybody: off unless the configuration says otherwise,
 * and then on loopback only. */
#ifndef LAPSE_NODE_HTTP_EVALUATION_H
#define LAPSE_NODE_HTTP_EVALUATION_H

#include <microhttpd.h>

#include "node/core.h"

struct http_evaluator;

struct http_evaluator *http_evaluator_new(struct core *core);
/* Any thread, before the core is closed: no question goes to the core any more; those that have gone are answered. */
void http_evaluator_close(struct http_evaluator *evaluator);
/* All questions are answered, and the server is stopped. Accepts NULL. */
void http_evaluator_free(struct http_evaluator *evaluator);

/* A part of a request to AUTHZEN_PATH, as libmicrohttpd hands it over; `*state` is NULL at first. */
enum MHD_Result http_evaluate(struct http_evaluator *evaluator, struct MHD_Connection *connection, const char *method,
                              const char *upload, size_t *upload_size, void **state);
/* The request is over; accepts NULL. */
void http_evaluation_end(void *state);

#endif
