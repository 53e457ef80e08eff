/* How long a revocation waits, and what it may be asked for. */
#include <criterion/criterion.h>

#include "base/check.h"
#include "base/clock.h"
#include "node/service_revoke.h"

#define ENFORCED lapse_v1_WaitLevel_ENFORCED

Test(service_revoke, a_wait_ends_a_little_before_the_calls_deadline)
{
    static const struct {
        int64_t timeout_ms;
        uint32_t asked_ms;
        int64_t expected_ms;
    } cases[] = {
        {60000, 0, 59500},                                       /* 500 ms at most */
        {2000, 0, 1900},                                         /* 5 % */
        {100, 0, 80},                                            /* 20 ms at least */
        {15, 0, 0},        {2000, 700, 700}, {2000, 1999, 1900}, /* not beyond it, whatever is asked for */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        cr_expect_eq(revoke_wait_ms(cases[i].timeout_ms, false, cases[i].asked_ms), cases[i].expected_ms, "case %zu",
                     i);
}

Test(service_revoke, without_a_deadline_it_waits_as_long_as_it_is_asked_to_within_bounds)
{
    cr_expect_eq(revoke_wait_ms(5000, true, 0), 4750);
    cr_expect_eq(revoke_wait_ms(5000, true, 30000), 30000);
    cr_expect_eq(revoke_wait_ms(5000, true, 600000), 60000);
}

static const char *const some_id = "01JD8Z5M3N0V6Q2R4T8W9X1Y7Z";

static lapse_result parse(enum core_op op, int wait, uint32_t wait_ms, struct core_call *copy)
{
    struct core_call *call = core_call_new(op, "user:ops", 1000);
    lapse_v1_EndRequest message = {.wait = (lapse_v1_WaitLevel)wait, .wait_ms = wait_ms};
    struct lapse_error error = {0};
    strcpy(message.grant_id, some_id);
    lapse_result result = parse_revoke(call, &message, &error);
    cr_expect(lapse_is_ok(result) || strstr(error.message, "wait") != NULL, "%s", error.message);
    *copy = *call;
    core_call_free(call);
    return result;
}

Test(service_revoke, what_it_may_wait_for)
{
    struct core_call call;
    int64_t before_us = clock_boot_us();
    cr_expect_eq(parse(CORE_WRITE, ENFORCED, 0, &call).code, LAPSE_OK);
    cr_expect_eq(call.wait, ENFORCED);
    cr_expect_geq(call.wait_until_us, before_us + 950 * 1000);
    cr_expect_eq(parse(CORE_WRITE, 0, 0, &call).code, LAPSE_OK);
    cr_expect_eq(call.wait, 0);
    cr_expect_eq(parse(CORE_WRITE, 3, 0, &call).code, LAPSE_INVALID_ARGUMENT);
    cr_expect_eq(parse(CORE_WRITE, -1, 0, &call).code, LAPSE_INVALID_ARGUMENT);
    cr_expect_eq(parse(CORE_WRITE, 0, 5, &call).code, LAPSE_INVALID_ARGUMENT);
    cr_expect_eq(parse(CORE_REVOKE_FOLLOW, 0, 5, &call).code, LAPSE_OK);
    cr_expect_eq(call.wait, ENFORCED, "who follows wants to see how it ends");
}

Test(service_revoke, a_revocation_of_many_says_which)
{
    struct core_call *call = core_call_new(CORE_REVOKE_MATCHING, "user:ops", 1000);
    lapse_v1_RevokeMatchingRequest message = {.reason = "left"};
    struct command command;
    cr_expect_eq(parse_revoke_matching(call, &message, NULL).code, LAPSE_INVALID_ARGUMENT);
    message.has_filter = true;
    message.filter.states_count = 1;
    message.filter.states[0] = lapse_v1_GrantState_ACTIVE;
    cr_expect_eq(parse_revoke_matching(call, &message, NULL).code, LAPSE_INVALID_ARGUMENT, "all that are active");
    strcpy(message.filter.subject, "user:dev1");
    cr_assert_eq(parse_revoke_matching(call, &message, NULL).code, LAPSE_OK);
    cr_assert(lapse_is_ok(command_decode(buf_slice(&call->command), &command)));
    cr_expect_eq(command.type, COMMAND_REVOKE_MATCHING);
    cr_expect(slice_equal(command.filter.subject, slice_str("user:dev1")));
    cr_expect(slice_equal(command.text, slice_str("left")));
    core_call_free(call);
}
