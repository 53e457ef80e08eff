#include "raft/cluster_clock.h"

#include "base/check.h"

#define BUCKET_US 1000000
/* A voter's estimate is taken over for this long; drift makes it wrong by 1 % of that at most. */
#define VOICE_FRESH_US 5000000
/* Bounds further apart than this tell too little: see "Taking over". */
#define VAGUE_US 100000
#define DRIFT_PARTS 100 /* one part in 100: the drift bound of DESIGN's section 6 */

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static const struct clock_bounds no_bounds = {CLOCK_NONE, CLOCK_NONE, CLOCK_NONE};

void cluster_clock_init(struct cluster_clock *clock)
{
    *clock = (struct cluster_clock){
        .offset = CLOCK_NONE, .cold_gap_us = CLOCK_NONE, .current = no_bounds, .previous = no_bounds};
}

static struct clock_voice *voice_of(struct cluster_clock *clock, uint64_t id)
{
    struct clock_voice *oldest = &clock->voices[0];
    for (uint32_t i = 0; i < clock->n_voices; i++) {
        if (clock->voices[i].id == id)
            return &clock->voices[i];
        if (clock->voices[i].heard_us < oldest->heard_us)
            oldest = &clock->voices[i];
    }
    struct clock_voice *voice = clock->n_voices < LIMIT_PEERS ? &clock->voices[clock->n_voices++] : oldest;
    *voice = (struct clock_voice){
        .id = id, .lower = CLOCK_NONE, .upper = CLOCK_NONE, .wall = CLOCK_NONE, .warned_us = CLOCK_NONE};
    return voice;
}

static void bounds_add(struct clock_bounds *bounds, int64_t lower, int64_t upper, int64_t boot_us)
{
    bounds->lower = max64(bounds->lower, lower);
    if (upper != CLOCK_NONE && (bounds->upper == CLOCK_NONE || upper < bounds->upper))
        bounds->upper = upper;
    bounds->newest_us = boot_us;
}

static void hear_leader(struct cluster_clock *clock, const struct clock_sample *sample, int64_t boot_us)
{
    if (sample->era < clock->era)
        return;
    if (sample->era > clock->era) {
        clock->era = sample->era;
        clock->current = clock->previous = no_bounds;
    }
    if (clock->current.lower == CLOCK_NONE || boot_us - clock->bucket_us >= BUCKET_US) {
        clock->previous = clock->current;
        clock->current = no_bounds;
        clock->bucket_us = boot_us;
    }
    int64_t upper = sample->echo_us > 0 ? sample->time_us - sample->echo_us : CLOCK_NONE;
    bounds_add(&clock->current, sample->time_us - boot_us, upper, boot_us);
}

/* What the network's delay can't explain: their clock was read between our `echo` and now. */
static int64_t wall_difference(const struct clock_sample *sample, int64_t boot_us, int64_t wall_us)
{
    int64_t ahead = sample->wall_us - wall_us;
    if (ahead > 0)
        return ahead;
    int64_t behind = sample->echo_us > 0 ? sample->wall_us - (wall_us - (boot_us - sample->echo_us)) : 0;
    return behind < 0 ? behind : 0;
}

int64_t cluster_clock_hear(struct cluster_clock *clock, const struct clock_sample *sample, int64_t boot_us,
                           int64_t wall_us)
{
    struct clock_voice *voice = voice_of(clock, sample->from);
    voice->heard_us = boot_us;
    voice->lower = sample->time_us > 0 ? sample->time_us - boot_us : CLOCK_NONE;
    voice->upper = sample->upper_us > 0 && sample->echo_us > 0 ? sample->upper_us - sample->echo_us : CLOCK_NONE;
    voice->era = sample->era;
    if (sample->wall_us > 0)
        voice->wall = sample->wall_us - boot_us;
    if (sample->from_leader && sample->time_us > 0 && !clock->leading)
        hear_leader(clock, sample, boot_us);
    return sample->wall_us > 0 ? wall_difference(sample, boot_us, wall_us) : 0;
}

void cluster_clock_applied(struct cluster_clock *clock, int64_t time_ms)
{
    clock->floor_us = max64(clock->floor_us, time_ms * 1000);
}

static int64_t lower_offset(const struct cluster_clock *clock)
{
    return max64(clock->current.lower, clock->previous.lower);
}

void cluster_clock_begin_leading(struct cluster_clock *clock, uint64_t term, int64_t boot_us)
{
    clock->leading = true;
    clock->led_term = term;
    clock->offset = CLOCK_NONE;
    clock->led_since_us = boot_us;
    clock->cold_gap_us = CLOCK_NONE;
}

void cluster_clock_end_leading(struct cluster_clock *clock, int64_t boot_us)
{
    /* What we were sure of as the leader is the best lower bound there is, until the next leader speaks. */
    if (clock->leading && clock->offset != CLOCK_NONE) {
        clock->previous = no_bounds;
        clock->current = (struct clock_bounds){clock->offset, clock->offset, boot_us};
        clock->bucket_us = boot_us;
    }
    clock->leading = false;
    clock->offset = CLOCK_NONE;
}

static const struct clock_voice *voice_heard(const struct cluster_clock *clock, uint64_t id)
{
    for (uint32_t i = 0; i < clock->n_voices; i++) {
        if (clock->voices[i].id == id)
            return &clock->voices[i];
    }
    return NULL;
}

static int64_t min_known(int64_t a, int64_t b)
{
    return a == CLOCK_NONE ? b : b == CLOCK_NONE || a < b ? a : b;
}

/* What ourselves and the voters know together: the bounds of the latest era, and that era. */
static uint64_t common_bounds(const struct cluster_clock *clock, const uint64_t *voters, uint32_t n, int64_t boot_us,
                              int64_t *lower, int64_t *upper)
{
    uint64_t era = clock->era;
    *lower = lower_offset(clock);
    *upper = min_known(clock->current.upper, clock->previous.upper);
    for (uint32_t i = 0; i < n; i++) {
        const struct clock_voice *voice = voice_heard(clock, voters[i]);
        if (voice == NULL || voice->lower == CLOCK_NONE || boot_us - voice->heard_us > VOICE_FRESH_US ||
            voice->era < era)
            continue;
        if (voice->era > era)
            *lower = *upper = CLOCK_NONE;
        era = voice->era;
        *lower = max64(*lower, voice->lower);
        *upper = min_known(*upper, voice->upper);
    }
    return era;
}

static int64_t running_estimate(const struct cluster_clock *clock, const uint64_t *voters, uint32_t n, int64_t boot_us,
                                uint64_t *era)
{
    int64_t lower, upper;
    *era = common_bounds(clock, voters, n, boot_us, &lower, &upper);
    bool vague = lower != CLOCK_NONE && upper != CLOCK_NONE && upper - lower > VAGUE_US;
    return vague ? upper : lower;
}

/* The wall clocks' offsets of the voters heard from, ours included, in ascending order. */
static uint32_t wall_offsets(const struct cluster_clock *clock, uint64_t self, const uint64_t *voters, uint32_t n,
                             int64_t own, int64_t sorted[LIMIT_PEERS])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct clock_voice *voice = voice_heard(clock, voters[i]);
        int64_t offset = voters[i] == self ? own : voice != NULL ? voice->wall : CLOCK_NONE;
        if (offset == CLOCK_NONE)
            continue;
        uint32_t at = count++;
        for (; at > 0 && sorted[at - 1] > offset; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = offset;
    }
    return count;
}

bool cluster_clock_establish(struct cluster_clock *clock, uint64_t self, const uint64_t *voters, uint32_t n,
                             int64_t boot_us, int64_t wall_us, int64_t grace_us)
{
    CHECK(clock->leading && n <= LIMIT_PEERS);
    if (clock->offset != CLOCK_NONE)
        return true;
    uint64_t era;
    int64_t offset = running_estimate(clock, voters, n, boot_us, &era);
    if (offset == CLOCK_NONE) {
        int64_t sorted[LIMIT_PEERS];
        uint32_t count = wall_offsets(clock, self, voters, n, wall_us - boot_us, sorted);
        bool enough = count == n || (count > n / 2 && boot_us - clock->led_since_us >= grace_us);
        if (count == 0 || !enough)
            return false;
        offset = sorted[count / 2];
        era = clock->led_term;
        clock->cold_gap_us = boot_us + offset - clock->floor_us;
    }
    clock->era = era;
    clock->offset = max64(offset, clock->floor_us - boot_us);
    return true;
}

int64_t cluster_clock_now(const struct cluster_clock *clock, int64_t boot_us)
{
    int64_t offset = clock->leading ? clock->offset : lower_offset(clock);
    return offset == CLOCK_NONE ? 0 : max64(boot_us + offset, 1);
}

uint64_t cluster_clock_era(const struct cluster_clock *clock)
{
    return clock->era;
}

int64_t cluster_clock_upper(const struct cluster_clock *clock, int64_t boot_us)
{
    if (clock->leading)
        return cluster_clock_now(clock, boot_us);
    const struct clock_bounds *a = &clock->current, *b = &clock->previous;
    int64_t offset = min_known(a->upper, b->upper);
    if (offset == CLOCK_NONE)
        return 0;
    int64_t age = boot_us - (a->newest_us != CLOCK_NONE ? a->newest_us : b->newest_us) + 2 * BUCKET_US;
    return max64(boot_us + offset + age / DRIFT_PARTS, clock->floor_us);
}

int64_t cluster_clock_stamp_ms(struct cluster_clock *clock, int64_t boot_us)
{
    CHECK(clock->leading && clock->offset != CLOCK_NONE);
    clock->floor_us = max64(clock->floor_us, boot_us + clock->offset);
    return clock->floor_us / 1000;
}

int64_t cluster_clock_when(const struct cluster_clock *clock, int64_t time_ms)
{
    if (!clock->leading || clock->offset == CLOCK_NONE || time_ms > INT64_MAX / 1000)
        return INT64_MAX;
    return time_ms * 1000 - clock->offset;
}
