#include "node/service_revoke.h"

#include "base/check.h"
#include "base/clock.h"
#include "node/edge_internal.h"
#include "node/service_parse.h"

/* What is left for the answer's way back: 5 % of the time, within these bounds. */
#define MARGIN_MS_MIN 20
#define MARGIN_MS_MAX 500

static int64_t less_margin(int64_t timeout_ms)
{
    int64_t margin = timeout_ms / 20;
    margin = margin < MARGIN_MS_MIN ? MARGIN_MS_MIN : margin > MARGIN_MS_MAX ? MARGIN_MS_MAX : margin;
    return timeout_ms > margin ? timeout_ms - margin : 0;
}

int64_t revoke_wait_ms(int64_t timeout_ms, bool open_ended, uint32_t asked_ms)
{
    int64_t most = open_ended ? CALL_TIMEOUT_MS_MAX : less_margin(timeout_ms);
    if (asked_ms == 0)
        return open_ended ? less_margin(timeout_ms) : most;
    return asked_ms < most ? asked_ms : most;
}

lapse_result parse_wait(struct core_call *call, uint32_t wait, uint32_t wait_ms, struct lapse_error *error)
{
    if (wait > lapse_v1_WaitLevel_ENFORCED)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "wait %d is unknown: use COMMITTED, RECEIVED or ENFORCED",
                          (int)wait);
    if (wait == lapse_v1_WaitLevel_COMMITTED && wait_ms != 0 && call->op != CORE_REVOKE_FOLLOW)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "wait_ms: say what to wait for, with wait RECEIVED or ENFORCED");
    call->wait = wait;
    /* Who follows wants to see how it ends. */
    if (wait == lapse_v1_WaitLevel_COMMITTED && call->op == CORE_REVOKE_FOLLOW)
        call->wait = lapse_v1_WaitLevel_ENFORCED;
    call->wait_until_us = clock_boot_us() + revoke_wait_ms(call->timeout_ms, call->open_ended, wait_ms) * 1000;
    return lapse_ok();
}

lapse_result parse_revoke(struct core_call *call, const lapse_v1_EndRequest *message, struct lapse_error *error)
{
    struct command command = {.type = COMMAND_REVOKE, .text = slice_str(message->reason)};
    lapse_result result = parse_wait(call, (uint32_t)message->wait, message->wait_ms, error);
    if (lapse_is_ok(result))
        result = parse_command(call, &command, message->request_id, message->grant_id, error);
    return result;
}

lapse_result parse_revoke_matching(struct core_call *call, const lapse_v1_RevokeMatchingRequest *message,
                                   struct lapse_error *error)
{
    struct command command = {.type = COMMAND_REVOKE_MATCHING, .text = slice_str(message->reason)};
    lapse_result result = parse_wait(call, (uint32_t)message->wait, message->wait_ms, error);
    if (lapse_is_ok(result) && message->has_filter)
        result = parse_filter(call, &message->filter, error);
    if (!lapse_is_ok(result))
        return result;
    command.filter = call->filter; /* command_validate says that an empty one won't do */
    return parse_command(call, &command, message->request_id, NULL, error);
}
