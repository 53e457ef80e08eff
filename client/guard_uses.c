/* Grants that count their uses: the store decides (max_uses), so each use, or a share of several, costs a round trip.
 *
 *   lapse_guard_use: a share left? take one of it
 *                    none: wait in `uses` --> guard_speak sends it --> UseResult --> the caller goes on
 *
 * A share lies in the cache's entry, where callers take from it without the lock. A use that was spent is permitted
 * although the grant may have ended meanwhile, if it ended of its uses: this was one of them. After any other end it
 * isn't. */
#include "base/check.h"
#include "base/clock.h"
#include "client/guard_internal.h"

#define USE_TIMEOUT_DEFAULT_MS 10000
#define AGAIN_US 50000 /* after the cluster could not say */

/* ---- The caller's side */

static bool share_take(const struct guard_entry *entry)
{
    _Atomic(uint32_t) *share = guard_entry_share(entry);
    uint32_t left = atomic_load_explicit(share, memory_order_relaxed);
    while (left > 0)
        if (atomic_compare_exchange_weak(share, &left, left - 1))
            return true;
    return false;
}

/* What there is to know of the grant after the reading has ended. */
struct wanted {
    struct grant_id grant;
    int64_t deadline_ms;
};

static int64_t min_ms(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void permit(const struct guard_view *view, int64_t deadline_ms, int64_t now_us,
                   struct lapse_guard_decision *decision)
{
    int64_t left_ms = deadline_ms - guard_state_time_ms(&view->state, now_us);
    decision->permit = true;
    decision->verdict = "ALLOWS";
    decision->valid_for_ms = min_ms(left_ms, guard_state_valid_for_ms(&view->state, now_us));
}

/* True when the decision stands; else a use of `wanted` has to be spent first. */
static bool decide_here(struct lapse_guard *guard, const struct lapse_guard_query *query,
                        struct lapse_guard_decision *decision, struct wanted *wanted)
{
    int64_t now_us = guard_now_us(guard);
    guard_read_begin();
    const struct guard_view *view = guard_view(guard);
    const struct guard_entry *entry = guard_decide(view, query, now_us, decision);
    bool counted = entry != NULL && !decision->permit && strcmp(decision->verdict, "USES") == 0;
    if (counted && share_take(entry)) {
        permit(view, entry->deadline_ms, now_us, decision);
        counted = false;
    }
    if (counted) {
        wanted->deadline_ms = entry->deadline_ms;
        CHECK(lapse_is_ok(grant_id_parse(slice_str(entry->id), &wanted->grant)));
    }
    guard_read_end();
    return !counted;
}

/* The use is spent. Is there still the right to decide? */
static void decide_after(struct lapse_guard *guard, const struct guard_use *use, const struct lapse_guard_query *query,
                         const struct wanted *wanted, struct lapse_guard_decision *decision)
{
    int64_t now_us = guard_now_us(guard);
    struct grant_query asked = guard_query_of(query);
    if (asked.subject.len == 0)
        asked.subject = slice_str(decision->subject);
    guard_read_begin();
    const struct guard_view *view = guard_view(guard);
    enum lapse_guard_state state = guard_view_state(view, now_us);
    decision->epoch = view->state.epoch;
    decision->revision = view->state.revision;
    decision->staleness_ms = guard_state_staleness_ms(&view->state, now_us);
    if (state != LAPSE_GUARD_DECIDING)
        decision->verdict = lapse_guard_state_name(state);
    else if (guard_is_locked(view, &asked))
        decision->verdict = grant_verdict_name(GRANT_LOCKED);
    else if (use->ended)
        decision->verdict = "NO_GRANT";
    else if (guard_state_time_ms(&view->state, now_us) >= wanted->deadline_ms)
        decision->verdict = grant_verdict_name(GRANT_PAST_DEADLINE);
    else
        permit(view, wanted->deadline_ms, now_us, decision);
    guard_read_end();
}

static lapse_result enqueue(struct lapse_guard *guard, struct guard_use *use, struct lapse_error *error)
{
    if (guard->n_uses == LIMIT_GUARD_USES)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "%u uses wait for the cluster already: try again",
                          LIMIT_GUARD_USES);
    TAILQ_INSERT_TAIL(&guard->uses, use, entry);
    guard->n_uses++;
    return lapse_ok();
}

static void wait_done(struct lapse_guard *guard, struct guard_use *use, const struct timespec *until)
{
    int waited = 0;
    while (!use->done && waited == 0)
        waited = pthread_cond_timedwait(&use->changed, &guard->lock, until);
    TAILQ_REMOVE(&guard->uses, use, entry);
    guard->n_uses--;
    if (use->done)
        return;
    if (use->ever_sent)
        (void)lapse_fail(&use->outcome, LAPSE_DEADLINE_EXCEEDED,
                         "no answer from the cluster in time: it is not known whether the use was spent");
    else
        (void)lapse_fail(&use->outcome, LAPSE_UNAVAILABLE, "no connection to the cluster in time%s%s",
                         guard->message[0] == '\0' ? "" : ": ", guard->message);
}

/* Spends `count` uses, or learns why not: OK, FAILED_PRECONDITION (the store says no), or that it isn't known. */
static lapse_result spend(struct lapse_guard *guard, struct guard_use *use, const struct timespec *until,
                          struct lapse_error *error)
{
    lapse_request_id_make(use->request_id);
    clock_condition_init(&use->changed);
    pthread_mutex_lock(&guard->lock);
    lapse_result result = enqueue(guard, use, error);
    pthread_mutex_unlock(&guard->lock);
    if (lapse_is_ok(result)) {
        guard_wake(guard);
        pthread_mutex_lock(&guard->lock);
        wait_done(guard, use, until);
        pthread_mutex_unlock(&guard->lock);
        result = lapse_failed(use->outcome.code);
        if (!lapse_is_ok(result) && error != NULL)
            *error = use->outcome;
    }
    CHECK(pthread_cond_destroy(&use->changed) == 0);
    return result;
}

/* What the store's refusal is as a decision; other failures stay failures. */
static lapse_result refused(lapse_result result, struct lapse_guard_decision *decision)
{
    if (result.code != LAPSE_FAILED_PRECONDITION && result.code != LAPSE_NOT_FOUND)
        return result;
    decision->verdict = result.code == LAPSE_NOT_FOUND ? "NO_GRANT" : grant_verdict_name(GRANT_USED_UP);
    return lapse_ok();
}

/* Fewer may be left than a share: the store says RESOURCE_EXHAUSTED to what it can't give as a whole. */
static bool may_be_too_many(lapse_result result)
{
    return result.code == LAPSE_RESOURCE_EXHAUSTED || result.code == LAPSE_FAILED_PRECONDITION;
}

static lapse_result use_counted(struct lapse_guard *guard, const struct lapse_guard_query *query,
                                const struct wanted *wanted, uint32_t timeout_ms, struct lapse_guard_decision *decision,
                                struct lapse_error *error)
{
    struct timespec until = clock_moment_after(timeout_ms == 0 ? USE_TIMEOUT_DEFAULT_MS : timeout_ms);
    struct guard_use use = {.grant = wanted->grant, .count = guard->settings.use_share};
    lapse_result result = spend(guard, &use, &until, error);
    if (use.count > 1 && may_be_too_many(result)) {
        use = (struct guard_use){.grant = wanted->grant, .count = 1};
        result = spend(guard, &use, &until, error);
    }
    if (!lapse_is_ok(result))
        return refused(result, decision);
    decide_after(guard, &use, query, wanted, decision);
    return lapse_ok();
}

lapse_result lapse_guard_use(struct lapse_guard *guard, const struct lapse_guard_query *query, uint32_t timeout_ms,
                             struct lapse_guard_decision *decision, struct lapse_error *error)
{
    struct lapse_guard_decision decided;
    struct wanted wanted;
    lapse_result result = guard_may_call(guard, true, error);
    if (!lapse_is_ok(result))
        return result;
    if (!decide_here(guard, query, &decided, &wanted))
        result = use_counted(guard, query, &wanted, timeout_ms, &decided, error);
    if (lapse_is_ok(result))
        *decision = decided;
    guard_count_decision(guard, lapse_is_ok(result) && decided.permit);
    return result;
}

/* ---- The guard's side */

void guard_uses_ended(struct lapse_guard *guard, struct grant_id grant, bool by_uses)
{
    struct guard_use *use;
    for (use = TAILQ_FIRST(&guard->uses); use != NULL && !by_uses; use = TAILQ_NEXT(use, entry))
        if (grant_id_compare(use->grant, grant) == 0)
            use->ended = true;
}

void guard_uses_ended_all(struct lapse_guard *guard)
{
    struct guard_use *use;
    for (use = TAILQ_FIRST(&guard->uses); use != NULL; use = TAILQ_NEXT(use, entry))
        use->ended = true;
}

void guard_uses_new_stream(struct lapse_guard *guard)
{
    struct guard_use *use;
    for (use = TAILQ_FIRST(&guard->uses); use != NULL; use = TAILQ_NEXT(use, entry))
        use->sent = false;
}

static struct guard_use *find(struct lapse_guard *guard, const char *request_id)
{
    struct guard_use *use = TAILQ_FIRST(&guard->uses);
    while (use != NULL && strcmp(use->request_id, request_id) != 0)
        use = TAILQ_NEXT(use, entry);
    return use;
}

/* The caller takes one; the others are for who comes next. */
static void share_add(struct lapse_guard *guard, const struct guard_use *use)
{
    struct guard_entry *entry = guard_cache_get(guard->cache, use->grant);
    if (entry != NULL)
        atomic_fetch_add_explicit(guard_entry_share(entry), use->count - 1, memory_order_relaxed);
}

static void take_result(struct lapse_guard *guard, struct guard_use *use, const struct guard_use_result *result)
{
    if (client_is_transient((enum lapse_code)result->code)) {
        use->sent = false; /* the same request_id: spent at most once */
        use->again_us = guard_now_us(guard) + AGAIN_US;
        return;
    }
    if (result->code == LAPSE_OK)
        share_add(guard, use);
    else
        (void)lapse_fail(&use->outcome,
                         result->code <= LAPSE_UNAUTHENTICATED ? (enum lapse_code)result->code : LAPSE_UNKNOWN, "%s",
                         result->message);
    use->done = true;
    CHECK(pthread_cond_signal(&use->changed) == 0);
}

void guard_uses_result(struct lapse_guard *guard, const struct guard_use_result *result)
{
    pthread_mutex_lock(&guard->lock);
    struct guard_use *use = find(guard, result->request_id);
    if (use != NULL && use->sent && !use->done)
        take_result(guard, use, result);
    pthread_mutex_unlock(&guard->lock);
}
