/* The right to decide: what a promise, a pong and a revision are worth.
 *
 * Each rule errs to one side only. A promise counts from the ping, so a delay anywhere shortens it. Revisions move up
 * only, so a node that lags, or a snapshot from one, can't bring a grant back. Cluster time is assumed to run as fast
 * as it can, so a deadline is met early, by a round trip at most, and never late. */
#include "client/guard_state.h"

#include <string.h>

#include "base/check.h"

/* Both clocks, ours and the leader's, may be wrong by 1 %: while ours counts d, the leader's counts at most d + d/48.
 */
static int64_t as_counted_elsewhere(int64_t us)
{
    return us + us / 48 + 1;
}

void guard_state_init(struct guard_state *state)
{
    *state = (struct guard_state){.next_ping = 1};
}

static void forget_pings(struct guard_state *state)
{
    memset(state->pings, 0, sizeof state->pings);
}

void guard_state_connected(struct guard_state *state)
{
    CHECK(!state->fenced);
    guard_state_disconnected(state);
    state->connected = true;
}

void guard_state_disconnected(struct guard_state *state)
{
    state->connected = false;
    state->resyncing = false;
    forget_pings(state);
}

void guard_state_ended(struct guard_state *state, bool fenced)
{
    *state = (struct guard_state){.next_ping = state->next_ping, .fenced = fenced || state->fenced};
}

/* --- promises and time -------------------------------------------------------------------------------------------- */

uint64_t guard_state_ping(struct guard_state *state, int64_t now_us)
{
    uint64_t sequence = state->next_ping++;
    state->pings[sequence % GUARD_PINGS].sequence = sequence;
    state->pings[sequence % GUARD_PINGS].sent_us = now_us;
    return sequence;
}

/* The newest word counts, not the smallest bound: cluster time may be set forward when a whole cluster starts again,
 * and then what was known before is too low. */
static void take_time(struct guard_state *state, int64_t time_us, int64_t sent_us)
{
    if (time_us <= 0 || (state->time_us != 0 && sent_us < state->time_at_us))
        return;
    state->time_us = time_us;
    state->time_at_us = sent_us;
}

static void take_promise(struct guard_state *state, uint32_t ttl_ms, int64_t sent_us)
{
    const int64_t until_us = sent_us + (int64_t)ttl_ms * 1000;
    if (until_us > state->valid_until_us)
        state->valid_until_us = until_us;
    if (sent_us > state->heard_us)
        state->heard_us = sent_us;
}

void guard_state_pong(struct guard_state *state, uint64_t sequence, uint32_t ttl_ms, int64_t time_us)
{
    const uint32_t place = (uint32_t)(sequence % GUARD_PINGS);
    if (sequence == 0 || state->pings[place].sequence != sequence)
        return;
    state->pings[place].sequence = 0;
    take_time(state, time_us, state->pings[place].sent_us);
    if (ttl_ms > 0)
        take_promise(state, ttl_ms, state->pings[place].sent_us);
}

/* --- revisions ---------------------------------------------------------------------------------------------------- */

/* Events and progress come after a snapshot, in its epoch. */
static bool follows(const struct guard_state *state, uint64_t epoch)
{
    return state->complete && !state->resyncing && epoch == state->epoch;
}

bool guard_state_event(struct guard_state *state, uint64_t epoch, uint64_t revision)
{
    if (!follows(state, epoch) || revision <= state->revision)
        return false;
    state->revision = revision;
    return true;
}

bool guard_state_progress(struct guard_state *state, uint64_t epoch, uint64_t revision)
{
    if (!follows(state, epoch) || revision < state->revision)
        return false;
    state->revision = revision;
    return true;
}

void guard_state_resync(struct guard_state *state)
{
    state->resyncing = state->complete;
}

/* Another epoch is another history (the cluster was restored from a backup): its revisions say nothing about ours. */
bool guard_state_snapshot_end(struct guard_state *state, uint64_t epoch, uint64_t revision)
{
    if (state->complete && !state->resyncing)
        return false;
    if (state->complete && epoch == state->epoch && revision < state->revision)
        return false;
    if (epoch != state->epoch)
        state->received = state->enforced = 0;
    state->epoch = epoch;
    state->revision = revision;
    state->complete = true;
    state->resyncing = false;
    return true;
}

void guard_state_receive(struct guard_state *state)
{
    if (state->complete && state->revision > state->received)
        state->received = state->revision;
}

void guard_state_enforce(struct guard_state *state, uint64_t revision)
{
    if (revision > state->received)
        revision = state->received;
    if (revision > state->enforced)
        state->enforced = revision;
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

enum guard_phase guard_state_phase(const struct guard_state *state, int64_t now_us)
{
    if (state->fenced)
        return GUARD_FENCED;
    if (!state->complete || state->valid_until_us == 0)
        return GUARD_STARTING;
    return now_us < state->valid_until_us ? GUARD_DECIDING : GUARD_STALE;
}

int64_t guard_state_time_ms(const struct guard_state *state, int64_t now_us)
{
    if (state->time_us == 0)
        return INT64_MAX;
    int64_t passed_us = now_us > state->time_at_us ? now_us - state->time_at_us : 0;
    return (state->time_us + as_counted_elsewhere(passed_us) + 999) / 1000;
}

int64_t guard_state_staleness_ms(const struct guard_state *state, int64_t now_us)
{
    if (state->heard_us == 0)
        return -1;
    return now_us > state->heard_us ? (now_us - state->heard_us) / 1000 : 0;
}

int64_t guard_state_valid_for_ms(const struct guard_state *state, int64_t now_us)
{
    return guard_state_phase(state, now_us) == GUARD_DECIDING ? (state->valid_until_us - now_us) / 1000 : 0;
}
