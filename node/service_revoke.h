/* What the calls that revoke share: the command, and how long to wait for what. Each fails with INVALID_ARGUMENT (or
 * OUT_OF_RANGE) and a message that names the field. */
#ifndef LAPSE_NODE_SERVICE_REVOKE_H
#define LAPSE_NODE_SERVICE_REVOKE_H

#include "node/core_call.h"
#include "proto/lapse/v1/grants.pb.h"

/* `call->timeout_ms` and `call->open_ended` are set. */
lapse_result parse_revoke(struct core_call *call, const lapse_v1_EndRequest *message,
                          struct lapse_error *error) LAPSE_MUST_USE;
lapse_result parse_revoke_matching(struct core_call *call, const lapse_v1_RevokeMatchingRequest *message,
                                   struct lapse_error *error) LAPSE_MUST_USE;

/* What a change waits for (a lapse.v1.WaitLevel), and for how long. */
lapse_result parse_wait(struct core_call *call, uint32_t wait, uint32_t wait_ms,
                        struct lapse_error *error) LAPSE_MUST_USE;

/* How long a call waits for a barrier that has `timeout_ms` in all (`open_ended`: since its caller set no deadline) and
 * asks for `asked_ms` (0: as long as it may): it ends a little before the call's own deadline, so that its caller hears
 * who is waited for. */
int64_t revoke_wait_ms(int64_t timeout_ms, bool open_ended, uint32_t asked_ms);

#endif
