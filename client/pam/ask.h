/* One question to the agent over its local socket, one answer: client/agent/local_message.h. */
#ifndef LAPSE_CLIENT_PAM_ASK_H
#define LAPSE_CLIENT_PAM_ASK_H

#include <jansson.h>

#include "client/pam/arguments.h"

/* Blocks for `timeout_ms` at most. The connection ends with the answer, so that no process that is forked later
 * inherits it. `answer` is to be released. UNAVAILABLE: the agent isn't there, is not root, or did not answer in time;
 * PERMISSION_DENIED and others: as it says. */
lapse_result pam_ask(const struct pam_arguments *arguments, const json_t *question, json_t **answer,
                     struct lapse_error *error) LAPSE_MUST_USE;

#endif
