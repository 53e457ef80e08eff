/* Answers of the agent's HTTP ends, and the question in JSON that one of them takes. */
#ifndef LAPSE_CLIENT_AGENT_HTTP_ANSWER_H
#define LAPSE_CLIENT_AGENT_HTTP_ANSWER_H

#include <jansson.h>
#include <microhttpd.h>

#include "client/agent/decide.h"

enum MHD_Result http_answer_text(struct MHD_Connection *connection, unsigned status, const char *text);
/* 200, 401 or 403 with the X-Lapse- headers. */
enum MHD_Result http_answer_auth(struct MHD_Connection *connection, const struct agent_answer *answer);
/* 200 for permits and denials: {"permit": true, "reason": "ALLOWS", "grant": ...}. */
enum MHD_Result http_answer_json(struct MHD_Connection *connection, const struct agent_answer *answer);
/* 200 with a body in JSON, and the X-Request-ID that was brought along. */
enum MHD_Result http_answer_evaluated(struct MHD_Connection *connection, const char *body);
/* That object; NULL when it can't be made. To be released. */
json_t *http_answer_members(const struct agent_answer *answer);
enum MHD_Result http_answer_readiness(struct MHD_Connection *connection, struct lapse_guard *guard);
enum MHD_Result http_answer_metrics(struct MHD_Connection *connection, struct agent_decider *decider);

/* {"subject", "resource", "action", and optionally "spiffe_id", "certificate_sha256" (hex), "address", "token" (then
 * "subject" may be left out), "revision"}.
 * INVALID_ARGUMENT with what is wrong; unknown members are refused. */
lapse_result http_question_parse(struct slice json, struct agent_question *question,
                                 struct lapse_error *error) LAPSE_MUST_USE;

/* The same from an object, which is not changed. */
lapse_result http_question_take(json_t *object, struct agent_question *question,
                                struct lapse_error *error) LAPSE_MUST_USE;

#endif
