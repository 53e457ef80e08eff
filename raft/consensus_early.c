/* Electing early: a follower that is told that its leader's process is gone does not wait for the election timeout.
 *
 *   quiet --hint--> early --a leader is known, or the window is over--> quiet
 *
 * libraft waits for 1 to 2 election timeouts without a word of the leader, and refuses votes and pre-votes for as long
 * as it remembers one, so that the second follower's patience counts, too. A hint makes it forget the leader and
 * shortens the timer. The rest is libraft's own election: a pre-vote by a majority that has given up the leader, a
 * term, a majority. So a wrong hint can't harm what was committed; it can cost an election, and only if it reaches a
 * majority. While a wrong hint is alone, the leader's next heartbeat ends it.
 *
 * Who begins. Followers learn of a death at about the same moment; if they stood for election at the same moment they
 * would vote for themselves. So the voter with the least id begins, and each other one lets an election's length (the
 * spread) pass for each voter before it, again from when it has granted a vote. The first may lose, since its log is
 * shorter; then the next one's turn comes. Within the window whoever failed tries again after a random one to three
 * spreads. */
#include "base/check.h"
#include "raft/consensus_internal.h"

/* The others may hear of the death that much later. */
#define FIRST_MS 3u
#define SPREAD_MS_MIN 10u
/* One hint is taken in each election timeout, or so many at once. */
#define HINTS_AT_ONCE 4
/* None is taken for so long after one that proved wrong, doubled with each one in a row. */
#define PAUSE_MS_MIN 1000u
#define PAUSE_MS_MAX 60000u

/* splitmix64: spreading needs no better. */
static uint32_t draw(struct early *early, uint32_t low, uint32_t high)
{
    uint64_t z = early->random += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return low + (uint32_t)((z ^ (z >> 31)) % (high - low + 1));
}

void consensus_early_init(struct consensus *core)
{
    core->early = (struct early){.pause_ms = PAUSE_MS_MIN, .random = core->options.seed};
}

struct consensus_hints consensus_hints(const struct consensus *core)
{
    return core->early.hints;
}

/* libraft: followers and candidates have it at the same place; leaders have none. */
static unsigned *timeout_of(struct raft *raft)
{
    CHECK(raft->state == RAFT_FOLLOWER || raft->state == RAFT_CANDIDATE);
    return raft->state == RAFT_FOLLOWER ? &raft->follower_state.randomized_election_timeout
                                        : &raft->candidate_state.randomized_election_timeout;
}

static void set_timeout(struct consensus *core, unsigned timeout_ms)
{
    core->early.timeout_ms = timeout_ms;
    *timeout_of(&core->raft) = timeout_ms;
}

/* libraft: hearing of a leader starts the timer anew, but leaves its length. */
static void end(struct consensus *core)
{
    core->early.until_ms = 0;
    if (core->raft.state != RAFT_LEADER)
        set_timeout(core, draw(&core->early, core->options.election_timeout_ms, 2 * core->options.election_timeout_ms));
}

/* --- The hint --- */

static uint32_t voters_before(const struct consensus *core, uint64_t gone)
{
    uint64_t voters[LIMIT_PEERS];
    uint32_t n = members_voters(&core->members, voters), before = 0;
    for (uint32_t i = 0; i < n; i++)
        before += voters[i] < core->options.node_id && voters[i] != gone;
    return before;
}

static void forget_leader(struct raft *raft)
{
    raft_free(raft->follower_state.current_leader.address);
    raft->follower_state.current_leader.address = NULL;
    raft->follower_state.current_leader.id = 0;
}

static bool is_too_often(const struct consensus *core, int64_t now_ms)
{
    return core->early.booked_ms - now_ms > (HINTS_AT_ONCE - 1) * (int64_t)core->options.election_timeout_ms;
}

bool consensus_leader_gone(struct consensus *core, int64_t now_ms, uint64_t id, uint32_t spread_ms)
{
    struct early *early = &core->early;
    uint32_t patience_ms = core->options.election_timeout_ms;
    if (core->raft.state != RAFT_FOLLOWER || core->raft.snapshot.installing || id == 0 ||
        consensus_leader(core) != id || is_too_often(core, now_ms))
        return false;
    early->spread_ms = spread_ms < SPREAD_MS_MIN ? SPREAD_MS_MIN : spread_ms > patience_ms ? patience_ms : spread_ms;
    early->until_ms = now_ms + 2 * (int64_t)patience_ms;
    early->leader = id;
    early->term = consensus_term(core);
    early->booked_ms = (early->booked_ms > now_ms ? early->booked_ms : now_ms) + patience_ms;
    early->begun = false;
    early->hints.taken++;
    forget_leader(&core->raft);
    core->raft.election_timer_start = (raft_time)now_ms;
    early->turn_ms = FIRST_MS + voters_before(core, id) * early->spread_ms;
    set_timeout(core, early->turn_ms);
    return true;
}

/* --- What came of it --- */

static void judge(struct consensus *core, int64_t now_ms)
{
    struct early *early = &core->early;
    bool wrong = consensus_leader(core) == early->leader && consensus_term(core) == early->term;
    early->leader = 0;
    if (!wrong) {
        early->pause_ms = PAUSE_MS_MIN;
        return;
    }
    early->hints.wrong++;
    early->booked_ms = now_ms + early->pause_ms + HINTS_AT_ONCE * (int64_t)core->options.election_timeout_ms;
    early->pause_ms = early->pause_ms < PAUSE_MS_MAX / 2 ? early->pause_ms * 2 : PAUSE_MS_MAX;
}

static unsigned next_timeout(struct consensus *core)
{
    /* libraft: entries that are being written keep a follower out of elections. */
    if (core->raft.state == RAFT_FOLLOWER && core->raft.last_stored < tail_last(&core->tail))
        return core->early.turn_ms;
    return draw(&core->early, core->early.spread_ms, 3 * core->early.spread_ms);
}

void consensus_early_watch(struct consensus *core, int64_t now_ms)
{
    struct early *early = &core->early;
    bool led = consensus_leader(core) != 0;
    if (early->leader != 0 && led)
        judge(core, now_ms);
    if (early->until_ms == 0)
        return;
    if (core->raft.state != RAFT_FOLLOWER && !early->begun) {
        early->begun = true;
        early->hints.begun++;
    }
    if (led || now_ms >= early->until_ms)
        end(core);
    else if (*timeout_of(&core->raft) != early->timeout_ms)
        set_timeout(core, next_timeout(core));
}

void consensus_early_granted(struct consensus *core)
{
    if (core->early.until_ms != 0 && core->raft.state == RAFT_FOLLOWER)
        core->raft.election_timer_start = core->raft.now;
}
