/* The agent's local socket, for what lets people into this machine: pam_lapse(8).
 *
 * A SOCK_SEQPACKET socket (Unix); local_message.h says what is spoken. Only processes of the configured users may ask:
 * the kernel says who connects, and of which process a session is. One thread serves the socket and the sessions
 * (local_sessions.h); checks that have to wait do so on the pool. */
#ifndef LAPSE_CLIENT_AGENT_LOCAL_H
#define LAPSE_CLIENT_AGENT_LOCAL_H

#include "client/agent/config.h"
#include "client/agent/decide.h"
#include "client/agent/pool.h"

struct agent_local;

struct agent_local_options {
    const struct agent_config *config; /* [local] */
    struct agent_decider *decider;
    struct agent_pool *pool;
};

/* Borrows everything in `options`. UNAVAILABLE (the socket), FAILED_PRECONDITION (the directory of sessions). */
lapse_result agent_local_start(const struct agent_local_options *options, struct agent_local **local,
                               struct lapse_error *error) LAPSE_MUST_USE;
/* Ends all connections and the thread; sessions go on, and the next agent adopts them. The pool must have ended.
 * Accepts NULL. */
void agent_local_stop(struct agent_local *local);
/* After the guard's end. Accepts NULL. */
void agent_local_free(struct agent_local *local);

/* The guard's callback; all its sessions come from here. */
void agent_local_on_end_session(void *arg, struct lapse_guard_session *session, const char *grant_id,
                                const char *reason);

#endif
