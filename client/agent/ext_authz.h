/* Envoy's external authorisation, version 3: gRPC method envoy.service.auth.v3.Authorization/Check, without TLS, on a
 * loopback port or a Unix socket. One loop's thread. */
#ifndef LAPSE_CLIENT_AGENT_EXT_AUTHZ_H
#define LAPSE_CLIENT_AGENT_EXT_AUTHZ_H

#include <uv.h>

#include "client/agent/decide.h"
#include "client/agent/pool.h"

struct ext_authz;

/* Borrows all. UNAVAILABLE. */
lapse_result ext_authz_start(uv_loop_t *loop, const char *address, struct agent_decider *decider,
                             struct agent_pool *pool, struct ext_authz **made,
                             struct lapse_error *error) LAPSE_MUST_USE;
uint16_t ext_authz_port(const struct ext_authz *ext_authz);
/* Takes no new connections any more, and closes the open ones when their calls are done. Accepts NULL. */
void ext_authz_shutdown(struct ext_authz *ext_authz);
/* Whether all connections are closed. */
bool ext_authz_is_idle(const struct ext_authz *ext_authz);
/* After the shutdown, the pool's end, and the last connection. The loop must run once more. Accepts NULL. */
void ext_authz_free(struct ext_authz *ext_authz);

/* ---- Messages: ext_authz_message.c. Field numbers as published in envoy/service/auth/v3 and envoy/config/core/v3. */

/* Fills the request from a CheckRequest; borrows from it. False when it is malformed. Unknown fields are skipped. */
bool ext_authz_decode(struct slice message, struct agent_request *request);
/* Appends a CheckResponse. */
lapse_result ext_authz_encode(const struct agent_answer *answer, struct buf *out) LAPSE_MUST_USE;

#endif
