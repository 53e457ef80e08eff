/* What other threads ask a guard beside checks: waiting, sessions, how it stands. */
#include <errno.h>

#include "base/check.h"
#include "base/clock.h"
#include "client/guard_internal.h"

#define FORKED "this process was forked from the guard's: fork first, then open a guard in each child"

lapse_result guard_may_call(const struct lapse_guard *guard, bool waits, struct lapse_error *error)
{
    if (guard_is_forked(guard))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, FORKED);
    if (waits && guard_is_own_thread(guard))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "from a callback it would wait for itself");
    return lapse_ok();
}

/* ---- Waiting */

static enum lapse_guard_state state_now(const struct lapse_guard *guard)
{
    guard_read_begin();
    enum lapse_guard_state state = guard_view_state(guard_view(guard), guard_now_us(guard));
    guard_read_end();
    return state;
}

static uint64_t revision_now(const struct lapse_guard *guard)
{
    guard_read_begin();
    const struct guard_view *view = guard_view(guard);
    uint64_t revision = view->state.complete ? view->state.revision : 0;
    guard_read_end();
    return revision;
}

static bool is_ready(const struct lapse_guard *guard, uint64_t unused)
{
    (void)unused;
    enum lapse_guard_state state = state_now(guard);
    return state == LAPSE_GUARD_DECIDING || state == LAPSE_GUARD_FENCED;
}

static bool has_revision(const struct lapse_guard *guard, uint64_t revision)
{
    return revision_now(guard) >= revision;
}

/* Each change of the view wakes it. False: not in time. */
static bool wait_until(struct lapse_guard *guard, bool (*met)(const struct lapse_guard *guard, uint64_t revision),
                       uint64_t revision, uint32_t timeout_ms)
{
    struct timespec until = clock_moment_after(timeout_ms);
    int waited = 0;
    pthread_mutex_lock(&guard->lock);
    while (!met(guard, revision) && waited != ETIMEDOUT)
        waited = pthread_cond_timedwait(&guard->changed, &guard->lock, &until);
    pthread_mutex_unlock(&guard->lock);
    return met(guard, revision);
}

lapse_result lapse_guard_wait_ready(struct lapse_guard *guard, uint32_t timeout_ms, struct lapse_error *error)
{
    lapse_result result = guard_may_call(guard, true, error);
    if (!lapse_is_ok(result))
        return result;
    (void)wait_until(guard, is_ready, 0, timeout_ms);
    enum lapse_guard_state state = state_now(guard);
    if (state == LAPSE_GUARD_DECIDING)
        return lapse_ok();
    pthread_mutex_lock(&guard->lock);
    result = lapse_fail(error, LAPSE_UNAVAILABLE, "the guard is %s after %u ms%s%s", lapse_guard_state_name(state),
                        timeout_ms, guard->message[0] == '\0' ? "" : ": ", guard->message);
    pthread_mutex_unlock(&guard->lock);
    return result;
}

lapse_result lapse_guard_wait_revision(struct lapse_guard *guard, uint64_t revision, uint32_t timeout_ms,
                                       struct lapse_error *error)
{
    lapse_result result = guard_may_call(guard, true, error);
    if (!lapse_is_ok(result) || wait_until(guard, has_revision, revision, timeout_ms))
        return result;
    return lapse_fail(error, LAPSE_DEADLINE_EXCEEDED, "the guard has revision %llu after %u ms, not %llu",
                      (unsigned long long)revision_now(guard), timeout_ms, (unsigned long long)revision);
}

/* ---- Sessions */

/* Whether the grant still allows something. Under the lock, so that its end can't come in between. */
static const struct guard_entry *live_grant(const struct lapse_guard *guard, struct grant_id id)
{
    int64_t now_us = guard_now_us(guard);
    const struct guard_entry *entry = guard_cache_get(guard->cache, id);
    guard_read_begin();
    const struct guard_view *view = guard_view(guard);
    bool live = entry != NULL && !guard_entry_locked(entry, guard->lock_set) &&
                guard_view_state(view, now_us) == LAPSE_GUARD_DECIDING &&
                guard_state_time_ms(&view->state, now_us) < entry->deadline_ms;
    guard_read_end();
    return live ? entry : NULL;
}

static lapse_result begin(struct lapse_guard *guard, struct grant_id id, const char *description, void *data,
                          struct lapse_guard_session **out, struct lapse_error *error)
{
    const struct guard_entry *entry = live_grant(guard, id);
    if (entry == NULL)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "the grant has ended or is locked, or the guard doesn't decide: check again");
    struct lapse_guard_session *session =
        guard_sessions_begin(&guard->sessions, id, entry->deadline_ms, description, data);
    if (session == NULL)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "more than %u sessions are open or still to be reported",
                          LIMIT_SESSIONS_PER_POINT);
    session->guard = guard;
    *out = session;
    return lapse_ok();
}

lapse_result lapse_guard_session_begin(struct lapse_guard *guard, const char *grant_id, const char *description,
                                       void *data, struct lapse_guard_session **session, struct lapse_error *error)
{
    struct grant_id id;
    const char *text = description == NULL ? "" : description;
    lapse_result result = guard_may_call(guard, false, error);
    if (!lapse_is_ok(result))
        return result;
    if (!lapse_is_ok(grant_id_parse(slice_str(grant_id), &id)))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "grant_id is none: take it from the decision");
    if (strlen(text) > LIMIT_SESSION_DESCRIPTION || !slice_is_text(slice_str(text), false))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "description: one line of UTF-8, at most %d bytes",
                          LIMIT_SESSION_DESCRIPTION);
    pthread_mutex_lock(&guard->lock);
    result = begin(guard, id, text, data, session, error);
    pthread_mutex_unlock(&guard->lock);
    if (lapse_is_ok(result))
        guard_wake(guard);
    return result;
}

void *lapse_guard_session_data(const struct lapse_guard_session *session)
{
    return session->data;
}

void lapse_guard_session_ended(struct lapse_guard_session *session, const char *failure)
{
    struct lapse_guard *guard = session->guard;
    if (guard_is_forked(guard))
        return;
    pthread_mutex_lock(&guard->lock);
    while (guard->calling == session && !guard_is_own_thread(guard))
        CHECK(pthread_cond_wait(&guard->changed, &guard->lock) == 0);
    guard_sessions_remove(&guard->sessions, session, failure);
    pthread_mutex_unlock(&guard->lock);
    guard_wake(guard);
}

/* ---- How it stands */

static void sum_counts(const struct lapse_guard *guard, struct lapse_guard_status *status)
{
    for (uint32_t i = 0; i < GUARD_COUNTS; i++) {
        status->checks_permitted += atomic_load_explicit(&guard->counts[i].permitted, memory_order_relaxed);
        status->checks_denied += atomic_load_explicit(&guard->counts[i].denied, memory_order_relaxed);
    }
}

static void fill_view(const struct lapse_guard *guard, struct lapse_guard_status *status)
{
    int64_t now_us = guard_now_us(guard);
    guard_read_begin();
    const struct guard_view *view = guard_view(guard);
    status->state = guard_view_state(view, now_us);
    status->epoch = view->state.epoch;
    status->revision = view->state.revision;
    status->staleness_ms = guard_state_staleness_ms(&view->state, now_us);
    status->valid_for_ms = guard_state_valid_for_ms(&view->state, now_us);
    guard_read_end();
}

/* Grants that found no place are denied: that has to be said, before anything else. */
static void fill_message(const struct lapse_guard *guard, char message[LAPSE_ERROR_MESSAGE_SIZE])
{
    uint64_t refused = guard_cache_refused(guard->cache);
    if (refused > 0)
        (void)snprintf(message, LAPSE_ERROR_MESSAGE_SIZE,
                       "%llu grants are denied since the cache holds at most %u: raise grants_max",
                       (unsigned long long)refused, guard->settings.grants_max);
    else
        (void)snprintf(message, LAPSE_ERROR_MESSAGE_SIZE, "%s", guard->message);
}

void lapse_guard_get_status(struct lapse_guard *guard, struct lapse_guard_status *status)
{
    static _Thread_local char message[LAPSE_ERROR_MESSAGE_SIZE], endpoint[LINK_ENDPOINT_SIZE];
    *status = (struct lapse_guard_status){.message = message, .endpoint = endpoint};
    fill_view(guard, status);
    sum_counts(guard, status);
    if (guard_is_forked(guard)) {
        (void)snprintf(message, sizeof message, "%s", FORKED);
        return;
    }
    pthread_mutex_lock(&guard->lock);
    fill_message(guard, message);
    memcpy(endpoint, guard->endpoint, sizeof endpoint);
    status->grants = guard_cache_grants(guard->cache);
    status->sessions = guard->sessions.n;
    status->resyncs = guard->resyncs;
    status->reconnects = guard->reconnects;
    status->registrations = guard->registrations;
    pthread_mutex_unlock(&guard->lock);
}
