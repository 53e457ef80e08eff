#include "raft/pace.h"

#include "base/check.h"
#include "base/limits.h"

/* A slice, where others write and where nobody does. */
#define BUSY_SLICE_US 1000
#define CALM_SLICE_US 3000
/* Whoever wrote so recently may write again. */
#define BUSY_US (100ll * 1000)
/* Below it the cost of an entry counts for more than what is in it. */
#define SLICE_MIN 100u

#define ADVANCE_PRESSURE 25u
#define ADVANCE_PAUSE_US 5000ll
#define ADVANCE_PAUSE_US_MAX (200ll * 1000)
#define COMMANDS_PRESSURE 50u
#define COMMANDS_PAUSE_US 1000ll

void pace_init(struct pace *pace)
{
    *pace = (struct pace){.slice = LIMIT_ADVANCE_BATCH, .written_us = INT64_MIN};
}

static int64_t pause_us(uint32_t pressure, uint32_t from, int64_t each_us, int64_t max_us)
{
    int64_t pause = pressure > from ? (pressure - from) * each_us : 0;
    return pause < max_us ? pause : max_us;
}

void pace_set_pressure(struct pace *pace, uint32_t percent)
{
    CHECK(percent <= 100);
    pace->pressure = percent;
}

void pace_took_commands(struct pace *pace, int64_t now_us)
{
    pace->written_us = now_us;
    pace->commands_us = now_us + pause_us(pace->pressure, COMMANDS_PRESSURE, COMMANDS_PAUSE_US, INT64_MAX);
}

/* At most twice or half of what it was: one measurement may be chance. */
static uint32_t next_slice(uint32_t slice, int64_t took_us, int64_t goal_us)
{
    int64_t next = took_us > 0 ? slice * goal_us / took_us : INT64_MAX;
    next = next > 2 * slice ? 2 * slice : next < slice / 2 ? slice / 2 : next;
    return next < SLICE_MIN ? SLICE_MIN : next > LIMIT_ADVANCE_BATCH ? LIMIT_ADVANCE_BATCH : (uint32_t)next;
}

void pace_advanced(struct pace *pace, int64_t now_us, int64_t took_us, bool full)
{
    bool busy = pace->written_us != INT64_MIN && now_us - pace->written_us < BUSY_US;
    if (full)
        pace->slice = next_slice(pace->slice, took_us, busy ? BUSY_SLICE_US : CALM_SLICE_US);
    pace->advance_us = now_us + pause_us(pace->pressure, ADVANCE_PRESSURE, ADVANCE_PAUSE_US, ADVANCE_PAUSE_US_MAX);
}
