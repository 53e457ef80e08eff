/* AuthZEN at the agent: a question of proto/authzen.h as one to the guard, and the answer. */
#ifndef LAPSE_CLIENT_AGENT_EVALUATION_H
#define LAPSE_CLIENT_AGENT_EVALUATION_H

#include <microhttpd.h>

#include "client/agent/decide.h"

/* INVALID_ARGUMENT with what is wrong. */
lapse_result evaluation_parse(struct slice json, struct agent_question *question,
                              struct lapse_error *error) LAPSE_MUST_USE;
/* 200, permitted or not. */
enum MHD_Result evaluation_answer(struct MHD_Connection *connection, const struct agent_answer *answer);

#endif
