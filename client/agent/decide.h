/* Deciding: request --> map --> guard --> answer; counted, timed, and when denied, logged. Every front asks here.
 *
 *   agent_decide ------------------------------------------------> answer
 *        \-- answer->waits (a use to be counted, a revision) --> agent_decide_waiting, on a worker --> answer
 *
 * Any thread, any number of them; the maps may be replaced at any time. It fails closed: an answer permits only when
 * the guard said so for exactly this question. */
#ifndef LAPSE_CLIENT_AGENT_DECIDE_H
#define LAPSE_CLIENT_AGENT_DECIDE_H

#include "client/agent/map.h"

struct agent_answer {
    bool permit;
    bool waits;            /* not an answer yet: agent_decide_waiting */
    unsigned status;       /* HTTP: 200, 401, 403 */
    const char *challenge; /* 401: for WWW-Authenticate; static */
    const char *reason;    /* the guard's verdict, or the agent's own: "NO_MAP", "NO_SUBJECT", "BUSY", ...; static */
    char detail[AGENT_DETAIL_SIZE];       /* "", or a line for people */
    struct lapse_guard_decision decision; /* `subject` filled, whoever named it */
    int64_t began_us;
};

struct agent_decider;

/* Borrows the guard, takes the maps over. */
struct agent_decider *agent_decider_new(struct lapse_guard *guard, struct agent_maps *maps);
void agent_decider_free(struct agent_decider *decider);                              /* accepts NULL */
void agent_decider_set_maps(struct agent_decider *decider, struct agent_maps *maps); /* takes them over */
struct lapse_guard *agent_decider_guard(const struct agent_decider *decider);

/* Does not block. `question` is filled for agent_decide_waiting. */
void agent_decide(struct agent_decider *decider, const struct agent_request *request, struct agent_question *question,
                  struct agent_answer *answer);
/* The same for a program that asks the question itself. */
void agent_decide_question(struct agent_decider *decider, const struct agent_question *question,
                           struct agent_answer *answer);
/* Blocks, LIMIT_AGENT_WAIT_MS at most for each thing to wait for. */
void agent_decide_waiting(struct agent_decider *decider, const struct agent_question *question,
                          struct agent_answer *answer);
/* A denial, since too many wait already. */
void agent_decide_busy(struct agent_decider *decider, const struct agent_question *question,
                       struct agent_answer *answer);

/* Prometheus' text format 0.0.4. */
lapse_result agent_metrics_render(struct agent_decider *decider, struct buf *out) LAPSE_MUST_USE;

#endif
