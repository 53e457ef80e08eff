/* Certificates that are renewed while the agent runs (SPIFFE's often live for an hour): their files are watched, and
 * the guard goes over to the new ones. On the loop's thread. */
#ifndef LAPSE_CLIENT_AGENT_RENEWAL_H
#define LAPSE_CLIENT_AGENT_RENEWAL_H

#include <uv.h>

#include "client/agent/config.h"
#include "client/lapse_guard.h"

/* Its owner keeps it where it is, from _start until the loop has run once more after _stop. */
struct agent_renewal {
    struct lapse_guard *guard;
    uv_fs_poll_t files[3];
    uv_timer_t settle;
};

/* Borrows the guard. */
void agent_renewal_start(struct agent_renewal *renewal, uv_loop_t *loop, const struct agent_config *config,
                         struct lapse_guard *guard);
/* Reads them now, changed or not. */
void agent_renewal_now(struct agent_renewal *renewal);
void agent_renewal_stop(struct agent_renewal *renewal);

#endif
