/* How fast a leader goes on: slices of deadlines by their duration, and pauses under pressure. */
#include <criterion/criterion.h>

#include "base/limits.h"
#include "raft/pace.h"

#define START_US (1000ll * 1000 * 1000)

static struct pace fresh(void)
{
    struct pace pace;
    pace_init(&pace);
    return pace;
}

/* Each slice takes `each_us` a deadline; others write all the time, or nobody does. */
static uint32_t settled_slice(int64_t each_us, bool busy)
{
    struct pace pace = fresh();
    int64_t now_us = START_US;
    for (int i = 0; i < 20; i++) {
        int64_t took_us = pace.slice * each_us;
        now_us += took_us;
        if (busy)
            pace_took_commands(&pace, now_us);
        pace_advanced(&pace, now_us, took_us, true);
    }
    return pace.slice;
}

Test(pace, a_slice_is_as_long_as_it_may_take)
{
    cr_expect_eq(settled_slice(5, true), 200, "a millisecond while others write");
    cr_expect_eq(settled_slice(5, false), 600, "three while nobody does");
    cr_expect_eq(settled_slice(1, false), LIMIT_ADVANCE_BATCH, "never more than the command may say");
    cr_expect_eq(settled_slice(1000, true), 100, "never so few that the entry costs more than they do");
}

Test(pace, one_measurement_changes_a_slice_by_half_at_most)
{
    struct pace pace = fresh();
    pace_advanced(&pace, START_US, 10 * 1000 * 1000, true);
    cr_expect_eq(pace.slice, LIMIT_ADVANCE_BATCH / 2);
    pace_advanced(&pace, START_US, 1, true);
    cr_expect_eq(pace.slice, LIMIT_ADVANCE_BATCH);
    pace_advanced(&pace, START_US, 0, true);
    cr_expect_eq(pace.slice, LIMIT_ADVANCE_BATCH, "a clock that did not move says nothing");
}

Test(pace, a_slice_that_was_not_full_says_nothing)
{
    struct pace pace = fresh();
    pace_advanced(&pace, START_US, 10 * 1000 * 1000, false);
    cr_expect_eq(pace.slice, LIMIT_ADVANCE_BATCH);
}

Test(pace, who_has_not_written_for_long_is_not_waited_for)
{
    struct pace pace = fresh();
    pace_took_commands(&pace, START_US);
    for (int i = 0; i < 20; i++)
        pace_advanced(&pace, START_US + 200 * 1000, pace.slice * 5, true);
    cr_expect_eq(pace.slice, 600);
}

static int64_t advance_pause(uint32_t pressure)
{
    struct pace pace = fresh();
    pace_set_pressure(&pace, pressure);
    pace_advanced(&pace, START_US, 1000, false);
    return pace.advance_us - START_US;
}

static int64_t commands_pause(uint32_t pressure)
{
    struct pace pace = fresh();
    pace_set_pressure(&pace, pressure);
    pace_took_commands(&pace, START_US);
    return pace.commands_us - START_US;
}

Test(pace, pressure_slows_deadlines_first_and_stops_nothing)
{
    cr_expect_eq(advance_pause(0), 0);
    cr_expect_eq(advance_pause(25), 0);
    cr_expect_eq(advance_pause(30), 25 * 1000);
    cr_expect_eq(advance_pause(100), 200 * 1000);
    cr_expect_eq(commands_pause(50), 0);
    cr_expect_eq(commands_pause(60), 10 * 1000);
    cr_expect_eq(commands_pause(100), 50 * 1000);
}
