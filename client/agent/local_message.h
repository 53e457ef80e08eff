/* What is said on the local socket: one JSON object in a datagram, LIMIT_LOCAL_MESSAGE bytes at most.
 *
 *   {"op": "check", "subject": ..., "resource": ..., "action": ..., and what POST /v1/check takes}
 *       --> {"permit": true, "reason": "ALLOWS", "grant": ..., ...}
 *   {"op": "session_begin", as above, "description": ..., "end_processes": true, "grant": ...}
 *       --> the same, and when permitted "session": its id
 *   {"op": "session_end", "session": ...}   --> {"ended": true}
 *   anything else                           --> {"error": "INVALID_ARGUMENT", "message": what to do}
 *
 * `grant` says that its use was counted by the check before. Pure. */
#ifndef LAPSE_CLIENT_AGENT_LOCAL_MESSAGE_H
#define LAPSE_CLIENT_AGENT_LOCAL_MESSAGE_H

#include "client/agent/decide.h"

#define LOCAL_SESSION_ID_SIZE 33 /* 32 hexadecimal digits */
#define LOCAL_GRANT_SIZE 27

enum local_op { LOCAL_CHECK, LOCAL_SESSION_BEGIN, LOCAL_SESSION_END };

struct local_request {
    enum local_op op;
    struct agent_question question;
    char grant[LOCAL_GRANT_SIZE];                    /* "": none */
    char description[LIMIT_SESSION_DESCRIPTION + 1]; /* one line of UTF-8 */
    bool end_processes;
    char session[LOCAL_SESSION_ID_SIZE];
};

/* INVALID_ARGUMENT with what is accepted; `request` is untouched then. */
lapse_result local_request_parse(struct slice json, struct local_request *request,
                                 struct lapse_error *error) LAPSE_MUST_USE;

/* To be freed. */
char *local_answer_decision(const struct agent_answer *answer, const char *session); /* NULL: none was begun */
char *local_answer_ended(void);
char *local_answer_error(const struct lapse_error *error);

#endif
