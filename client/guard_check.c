/* lapse_guard_check: the path that every access takes.
 *
 *   clock --> view --> may it decide? --> is it locked? --> cache --> grant_allows --> decision
 *
 * The clock is read before the view, so a machine that sleeps in between wakes up with an old time and a permission of
 * before; what begins after waking reads the new time and denies. Nothing is written but a counter of this thread's
 * own. With a token the grant is found first: it says whose it is, and that subject may be locked. */
#include "base/check.h"
#include "client/guard_internal.h"

const char *lapse_guard_state_name(enum lapse_guard_state state)
{
    static const char *const names[] = {"UNKNOWN", "STARTING", "DECIDING", "STALE", "FENCED", "FAILED"};
    return (unsigned)state < ARRAY_LEN(names) ? names[state] : names[0];
}

enum lapse_guard_state guard_view_state(const struct guard_view *view, int64_t now_us)
{
    if (view->process != guard_process())
        return LAPSE_GUARD_FAILED; /* a promise is its parent's: nobody tells this process of revocations */
    switch (guard_state_phase(&view->state, now_us)) {
    case GUARD_DECIDING:
        return LAPSE_GUARD_DECIDING;
    case GUARD_FENCED:
        return LAPSE_GUARD_FENCED;
    case GUARD_STALE:
        return view->failed ? LAPSE_GUARD_FAILED : LAPSE_GUARD_STALE;
    default:
        return view->failed ? LAPSE_GUARD_FAILED : LAPSE_GUARD_STARTING;
    }
}

struct grant_query guard_query_of(const struct lapse_guard_query *query)
{
    return (struct grant_query){.subject = slice_str(query->subject),
                                .resource = slice_str(query->resource),
                                .action = slice_str(query->action),
                                .spiffe_id = slice_str(query->spiffe_id),
                                .certificate_sha256 =
                                    slice_of(query->certificate_sha256.data, query->certificate_sha256.len),
                                .address = slice_str(query->address),
                                .token_sha256 = slice_of(query->token_sha256.data, query->token_sha256.len)};
}

/* How long a permission holds: to the grant's deadline or the promise's end, whichever is first. */
static int64_t holds_for_ms(const struct guard_view *view, const struct guard_entry *entry, int64_t now_us,
                            int64_t time_ms)
{
    int64_t promised = guard_state_valid_for_ms(&view->state, now_us), left = entry->deadline_ms - time_ms;
    return promised < left ? promised : left;
}

static void judge(const struct guard_view *view, const struct guard_match *match, int64_t now_us, int64_t time_ms,
                  struct lapse_guard_decision *decision)
{
    const struct guard_entry *entry = match->entry;
    memcpy(decision->grant, entry->id, sizeof decision->grant);
    if (match->verdict != GRANT_ALLOWS) {
        decision->verdict = grant_verdict_name(match->verdict);
    } else if (entry->max_uses > 0) {
        decision->verdict = "USES";
    } else {
        decision->permit = true;
        decision->verdict = "ALLOWS";
        decision->valid_for_ms = holds_for_ms(view, entry, now_us, time_ms);
    }
}

bool guard_is_locked(const struct guard_view *view, const struct grant_query *query)
{
    return view->locks != NULL && guard_lock_set_denies(view->locks, query);
}

static const struct guard_entry *decide(const struct guard_view *view, const struct grant_query *asked, int64_t now_us,
                                        struct lapse_guard_decision *decision)
{
    if (guard_is_locked(view, asked)) {
        decision->verdict = grant_verdict_name(GRANT_LOCKED);
        return NULL;
    }
    int64_t time_ms = guard_state_time_ms(&view->state, now_us);
    struct guard_match match = guard_cache_find(view->cache, asked, time_ms);
    if (match.entry == NULL)
        decision->verdict = "NO_GRANT";
    else
        judge(view, &match, now_us, time_ms, decision);
    return match.entry;
}

static const struct guard_entry *decide_by_token(const struct guard_view *view, struct grant_query *asked,
                                                 int64_t now_us, struct lapse_guard_decision *decision)
{
    int64_t time_ms = guard_state_time_ms(&view->state, now_us);
    struct guard_match match = guard_cache_find_token(view->cache, asked, time_ms);
    if (match.entry == NULL) {
        decision->verdict = "UNKNOWN_TOKEN";
        return NULL;
    }
    CHECK(slice_to_cstr(guard_entry_subject(match.entry), decision->subject, sizeof decision->subject));
    if (guard_is_locked(view, asked)) {
        decision->verdict = grant_verdict_name(GRANT_LOCKED);
        return NULL;
    }
    judge(view, &match, now_us, time_ms, decision);
    return match.entry;
}

const struct guard_entry *guard_decide(const struct guard_view *view, const struct lapse_guard_query *query,
                                       int64_t now_us, struct lapse_guard_decision *decision)
{
    enum lapse_guard_state state = guard_view_state(view, now_us);
    decision->permit = false;
    decision->grant[0] = decision->subject[0] = '\0';
    decision->epoch = view->state.epoch;
    decision->revision = view->state.revision;
    decision->staleness_ms = guard_state_staleness_ms(&view->state, now_us);
    decision->valid_for_ms = 0;
    if (state != LAPSE_GUARD_DECIDING) {
        decision->verdict = lapse_guard_state_name(state);
        return NULL;
    }
    struct grant_query asked = guard_query_of(query);
    return asked.token_sha256.len == 0 ? decide(view, &asked, now_us, decision)
                                       : decide_by_token(view, &asked, now_us, decision);
}

/* Threads beyond GUARD_COUNTS share a place, and may then lose a count of each other's. */
void guard_count_decision(struct lapse_guard *guard, bool permit)
{
    static _Atomic(uint32_t) places;
    static _Thread_local uint32_t place; /* + 1; 0: none yet */
    if (place == 0)
        place = atomic_fetch_add_explicit(&places, 1, memory_order_relaxed) % GUARD_COUNTS + 1;
    struct guard_count *count = &guard->counts[place - 1];
    _Atomic(uint64_t) *at = permit ? &count->permitted : &count->denied;
    atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + 1, memory_order_relaxed);
}

bool lapse_guard_check(struct lapse_guard *guard, const struct lapse_guard_query *query,
                       struct lapse_guard_decision *decision)
{
    int64_t now_us = guard_now_us(guard);
    guard_read_begin();
    (void)guard_decide(guard_view(guard), query, now_us, decision);
    guard_read_end();
    guard_count_decision(guard, decision->permit);
    return decision->permit;
}
