/* A guard's life, and the turn of its thread. See guard_internal.h.
 *
 * Whatever happens, a message, a timer or a call from another thread, ends in guard_look, which goes through one order:
 *
 *   publish a view          checks that begin now decide from it; what the cache dropped is out of sight already
 *   acknowledge `received`
 *   end sessions            on_end_session, for those whose grants ended, or are past their deadlines
 *   acknowledge `enforced`  up to the first session that is still ending
 *   say the rest, and sleep until something is due */
#include <openssl/rand.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "client/guard_internal.h"

#define USE_SHARE_DEFAULT 1
#define SESSION_END_MS_DEFAULT 2000
#define LOOK_AGAIN_MS 60000 /* at deadlines that are far away */
#define GOODBYE_MS 1000     /* how long lapse_guard_close waits for the stream to end */

_Static_assert(LAPSE_GUARD_HEAD_MAX == LIMIT_SIGNED_HEAD, "what is told can be kept");

bool guard_is_own_thread(const struct lapse_guard *guard)
{
    return client_is_own_thread(guard->client);
}

void guard_wake(struct lapse_guard *guard)
{
    (void)client_post(guard->client, &guard->look_task);
}

void guard_set_message(struct lapse_guard *guard, const char *message)
{
    pthread_mutex_lock(&guard->lock);
    (void)snprintf(guard->message, sizeof guard->message, "%s", message);
    pthread_mutex_unlock(&guard->lock);
}

/* ---- Publishing */

static void view_release(struct guard_garbage *garbage)
{
    free(CONTAINER_OF(garbage, struct guard_view, garbage));
}

static struct guard_view *view_new(const struct lapse_guard *guard)
{
    struct guard_view *view = mem_calloc(1, sizeof *view);
    view->state = guard->state;
    view->cache = guard->cache;
    view->locks = guard->lock_set;
    view->process = guard->process;
    view->failed = guard->failed;
    return view;
}

/* The exchange also orders what the cache dropped before all that is said afterwards. */
void guard_publish(struct lapse_guard *guard)
{
    struct guard_view *old = atomic_exchange(&guard->view, view_new(guard));
    guard_reaper_defer(guard->reaper, &old->garbage, view_release);
    guard->changed_view = false;
    pthread_mutex_lock(&guard->lock);
    CHECK(pthread_cond_broadcast(&guard->changed) == 0);
    pthread_mutex_unlock(&guard->lock);
}

static bool is_missing(void *arg, struct grant_id grant)
{
    const struct lapse_guard *guard = arg;
    return guard_cache_get(guard->cache, grant) == NULL;
}

static bool is_locked(void *arg, struct grant_id grant)
{
    const struct lapse_guard *guard = arg;
    const struct guard_entry *entry = guard_cache_get(guard->cache, grant);
    return entry != NULL && guard_entry_locked(entry, guard->lock_set);
}

/* Under the lock, in which a session begins: so none is missed. The old set is returned, to be dropped when the view is
 * published. */
static struct guard_lock_set *take_locks(struct lapse_guard *guard, uint64_t revision)
{
    struct guard_lock_set *old = guard->lock_set;
    guard->lock_set = guard_locks_set(guard->locks);
    if (guard->lock_set != NULL)
        guard_sessions_end_those(&guard->sessions, is_locked, guard, "LOCKED", revision, guard_now_us(guard));
    return old;
}

static void drop_locks(struct lapse_guard *guard, struct guard_lock_set *old)
{
    if (old != NULL)
        guard_reaper_defer(guard->reaper, &old->garbage, guard_lock_set_release);
}

void guard_publish_locks(struct lapse_guard *guard, uint64_t revision)
{
    pthread_mutex_lock(&guard->lock);
    struct guard_lock_set *old = take_locks(guard, revision);
    pthread_mutex_unlock(&guard->lock);
    guard_publish(guard);
    drop_locks(guard, old);
}

void guard_swap_cache(struct lapse_guard *guard, uint64_t missing_since)
{
    struct guard_cache *old = guard->cache;
    struct guard_use *use;
    guard_cache_share(guard->staging);
    guard_locks_free(guard->locks);
    guard->locks = guard->staging_locks;
    guard->staging_locks = NULL;
    pthread_mutex_lock(&guard->lock);
    guard->cache = guard->staging;
    guard->staging = NULL;
    guard_sessions_end_those(&guard->sessions, is_missing, guard, "ENDED", missing_since, guard_now_us(guard));
    struct guard_lock_set *old_locks = take_locks(guard, missing_since);
    for (use = TAILQ_FIRST(&guard->uses); use != NULL; use = TAILQ_NEXT(use, entry))
        use->ended = use->ended || is_missing(guard, use->grant);
    pthread_mutex_unlock(&guard->lock);
    guard_publish(guard);
    guard_cache_retire(old);
    drop_locks(guard, old_locks);
}

/* The sessions stay for now: the snapshot will tell which of them are still under a grant. */
void guard_begin_anew(struct lapse_guard *guard, bool fenced)
{
    struct guard_cache *old = guard->cache, *empty = guard_cache_new(guard->reaper, guard->settings.grants_max);
    guard_state_ended(&guard->state, fenced);
    CHECK(RAND_bytes(guard->instance, sizeof guard->instance) == 1);
    guard_cache_share(empty);
    guard_locks_free(guard->locks);
    guard->locks = guard_locks_new();
    pthread_mutex_lock(&guard->lock);
    guard->cache = empty;
    struct guard_lock_set *old_locks = take_locks(guard, 0);
    guard_uses_ended_all(guard);
    session_reports_forget(&guard->sessions);
    pthread_mutex_unlock(&guard->lock);
    guard_publish(guard);
    guard_cache_retire(old);
    drop_locks(guard, old_locks);
}

/* ---- The turn */

static void announce(struct lapse_guard *guard, int64_t now_us)
{
    enum lapse_guard_state state = guard_view_state(guard_view(guard), now_us);
    char message[LAPSE_ERROR_MESSAGE_SIZE];
    if (state == guard->told)
        return;
    pthread_mutex_lock(&guard->lock);
    memcpy(message, guard->message, sizeof message);
    if (guard->told == LAPSE_GUARD_DECIDING && guard->settings.end_sessions_when_stale)
        guard_sessions_end_all(&guard->sessions, "STALE", now_us);
    pthread_mutex_unlock(&guard->lock);
    guard->told = state;
    if (guard->callbacks.on_state != NULL)
        guard->callbacks.on_state(guard->arg, state, message);
}

static void call(struct lapse_guard *guard, struct lapse_guard_session *session)
{
    char grant[GRANT_ID_TEXT_SIZE];
    grant_id_format(session->group->grant, grant);
    const char *reason = session->reason;
    guard->calling = session;
    pthread_mutex_unlock(&guard->lock);
    guard->callbacks.on_end_session(guard->arg, session, grant, reason);
    pthread_mutex_lock(&guard->lock);
    guard->calling = NULL;
    CHECK(pthread_cond_broadcast(&guard->changed) == 0);
}

static void call_sessions(struct lapse_guard *guard)
{
    struct lapse_guard_session *session;
    pthread_mutex_lock(&guard->lock);
    while ((session = guard_sessions_take_call(&guard->sessions)) != NULL)
        call(guard, session);
    pthread_mutex_unlock(&guard->lock);
}

/* Cluster time by what any instance of this guard has heard; 0 before that, when no session can be. */
static int64_t time_ms(const struct lapse_guard *guard, int64_t now_us)
{
    struct guard_state clock = {.time_us = guard->clock.time_us, .time_at_us = guard->clock.at_us};
    return clock.time_us == 0 ? 0 : guard_state_time_ms(&clock, now_us);
}

static int64_t min_us(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Deadlines and overdue ends. Returns when the next one comes. */
static int64_t look_at_sessions(struct lapse_guard *guard, int64_t now_us)
{
    int64_t time = time_ms(guard, now_us), deadline_ms;
    pthread_mutex_lock(&guard->lock);
    guard_sessions_end_due(&guard->sessions, time, now_us);
    int64_t due_us = guard_sessions_look(&guard->sessions, now_us);
    deadline_ms = guard_sessions_deadline_ms(&guard->sessions);
    pthread_mutex_unlock(&guard->lock);
    if (deadline_ms == INT64_MAX)
        return due_us;
    /* Our bound of cluster time runs ahead a little: 49 for 48. */
    int64_t left_ms = deadline_ms - time < LOOK_AGAIN_MS ? deadline_ms - time : LOOK_AGAIN_MS;
    return min_us(now_us + left_ms * 980, due_us);
}

static void confirm(struct lapse_guard *guard)
{
    pthread_mutex_lock(&guard->lock);
    uint64_t enforced = guard_sessions_enforced(&guard->sessions, guard->state.received);
    pthread_mutex_unlock(&guard->lock);
    guard_state_enforce(&guard->state, enforced);
}

static void on_timer(uv_timer_t *timer);

static void arm(struct lapse_guard *guard, int64_t due_us)
{
    int64_t left_us = due_us - guard_now_us(guard);
    uint64_t ms = left_us <= 0 ? 0 : (uint64_t)(left_us + 999) / 1000;
    if (due_us == INT64_MAX)
        uv_timer_stop(&guard->timer);
    else
        CHECK(uv_timer_start(&guard->timer, on_timer, ms, 0) == 0);
}

static int64_t promise_end_us(const struct lapse_guard *guard, int64_t now_us)
{
    return guard->state.valid_until_us > now_us ? guard->state.valid_until_us : INT64_MAX;
}

static void look(struct lapse_guard *guard)
{
    int64_t now_us = guard_now_us(guard);
    int64_t due_us = look_at_sessions(guard, now_us);
    if (guard->changed_view)
        guard_publish(guard);
    announce(guard, now_us);
    guard_state_receive(&guard->state);
    guard_speak_acks(guard, now_us);
    call_sessions(guard);
    confirm(guard);
    due_us = min_us(due_us, promise_end_us(guard, now_us));
    due_us = min_us(due_us, guard_stream_doubt(guard, now_us));
    due_us = min_us(due_us, guard_speak(guard, now_us));
    arm(guard, due_us);
}

static void look_closing(struct lapse_guard *guard)
{
    if (guard->stream.request == NULL)
        return;
    if (guard_now_us(guard) >= guard->close_by_us)
        guard_stream_leave(guard, "the guard is closed");
    else
        arm(guard, guard->close_by_us);
}

static void on_timer(uv_timer_t *timer)
{
    struct lapse_guard *guard = timer->data;
    if (guard->closing)
        look_closing(guard);
    else
        look(guard);
}

void guard_look_soon(struct lapse_guard *guard)
{
    CHECK(uv_timer_start(&guard->timer, on_timer, 0, 0) == 0);
}

static void run_look(struct client_task *task)
{
    struct lapse_guard *guard = CONTAINER_OF(task, struct lapse_guard, look_task);
    if (!guard->closing)
        look(guard);
}

/* ---- Renewed certificates */

static void run_reload(struct client_task *task)
{
    struct lapse_guard *guard = CONTAINER_OF(task, struct lapse_guard, reload_task);
    if (guard->closing)
        return;
    link_renew(guard->client->link);
    guard_stream_leave(guard, "the certificate is read anew");
    guard->pending.not_before_ms = 0;
    client_look(guard->client);
}

lapse_result lapse_guard_reload(struct lapse_guard *guard, struct lapse_error *error)
{
    lapse_result result = guard_may_call(guard, false, error);
    if (lapse_is_ok(result))
        result = link_check_files(guard->client->link, error);
    if (lapse_is_ok(result))
        (void)client_post(guard->client, &guard->reload_task);
    return result;
}

/* ---- Opening */

static void run_start(struct client_task *task)
{
    struct lapse_guard *guard = CONTAINER_OF(task, struct lapse_guard, start_task);
    CHECK(uv_timer_init(&guard->client->loop, &guard->timer) == 0);
    guard->timer.data = guard;
    client_wait(guard->client, &guard->pending);
    look(guard);
}

static lapse_result take_scope(struct guard_settings *settings, const struct lapse_guard_options *options,
                               struct lapse_error *error)
{
    if (options->n_scope < 1 || options->n_scope > LIMIT_SCOPE_PATTERNS)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "scope: 1 to %d resources, paths or subtrees",
                          LIMIT_SCOPE_PATTERNS);
    for (size_t i = 0; i < options->n_scope; i++) {
        struct slice pattern = slice_str(options->scope[i]);
        lapse_result result = resource_validate(pattern, true, error);
        if (!lapse_is_ok(result))
            return result;
        CHECK(slice_to_cstr(pattern, settings->scope[i], sizeof settings->scope[i]));
    }
    settings->n_scope = options->n_scope;
    return lapse_ok();
}

static lapse_result take_lease(struct guard_settings *settings, uint32_t lease_ms, struct lapse_error *error)
{
    settings->lease_ms = lease_ms == 0 ? LIMIT_LEASE_MS_DEFAULT : lease_ms;
    if (settings->lease_ms < LIMIT_LEASE_MS_MIN || settings->lease_ms > LIMIT_LEASE_MS_MAX)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "lease_ms is not in %u to %u", LIMIT_LEASE_MS_MIN,
                          LIMIT_LEASE_MS_MAX);
    return lapse_ok();
}

static lapse_result take_head(struct guard_head *head, struct lapse_bytes bytes, struct lapse_error *error)
{
    if (bytes.len > 0 && !guard_head_read(slice_of(bytes.data, bytes.len), head))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "head: not what on_head has given; leave it out to accept "
                          "whatever history the cluster has");
    return lapse_ok();
}

static lapse_result take_options(struct guard_settings *settings, const struct lapse_guard_options *options,
                                 struct lapse_error *error)
{
    struct slice id = slice_str(options->id);
    if (id.len == 0 || !slice_to_cstr(id, settings->id, sizeof settings->id))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "id: 1 to %d bytes, for example edge-eu-1", LIMIT_POINT_ID);
    settings->grants_max = options->grants_max == 0 ? LIMIT_GUARD_GRANTS_DEFAULT : options->grants_max;
    settings->use_share = options->use_share == 0 ? USE_SHARE_DEFAULT : options->use_share;
    settings->end_sessions_when_stale = options->end_sessions_when_stale;
    lapse_result result = take_lease(settings, options->lease_ms, error);
    return lapse_is_ok(result) ? take_scope(settings, options, error) : result;
}

static void guard_init(struct lapse_guard *guard, const struct lapse_guard_options *options,
                       const struct lapse_guard_callbacks *callbacks, void *arg)
{
    clock_condition_init(&guard->changed);
    CHECK(pthread_mutex_init(&guard->lock, NULL) == 0);
    if (callbacks != NULL)
        guard->callbacks = *callbacks;
    guard->arg = arg;
    guard->process = guard_process();
    guard_state_init(&guard->state);
    guard_sessions_init(&guard->sessions, guard->callbacks.on_end_session != NULL,
                        (options->session_end_ms == 0 ? SESSION_END_MS_DEFAULT : options->session_end_ms) * 1000LL);
    TAILQ_INIT(&guard->uses);
    guard->tokens_us = guard_now_us(guard);
    guard->tokens = LIMIT_GUARD_MESSAGES_PER_SECOND / 10;
    guard->start_task.run = run_start;
    guard->look_task.run = run_look;
    guard->reload_task.run = run_reload;
    guard->pending.ops = &guard_pending_ops;
    guard->pending.deadline_ms = INT64_MAX;
    guard->locks = guard_locks_new();
    CHECK(RAND_bytes(guard->instance, sizeof guard->instance) == 1);
}

/* Its thread has ended, or never began. */
static void guard_free(struct lapse_guard *guard)
{
    guard_reaper_free(guard->reaper);
    guard_cache_free(guard->staging);
    guard_cache_free(guard->cache);
    guard_locks_free(guard->staging_locks);
    guard_locks_free(guard->locks);
    guard_lock_set_free(guard->lock_set);
    guard_sessions_free(&guard->sessions);
    free(atomic_load(&guard->view));
    CHECK(pthread_mutex_destroy(&guard->lock) == 0 && pthread_cond_destroy(&guard->changed) == 0);
    free(guard);
}

lapse_result lapse_guard_open(const struct lapse_guard_options *options, const struct lapse_guard_callbacks *callbacks,
                              void *arg, struct lapse_guard **out, struct lapse_error *error)
{
    struct guard_settings settings = {0};
    struct guard_head head = {0};
    lapse_result result = take_options(&settings, options, error);
    if (lapse_is_ok(result))
        result = take_head(&head, options->head, error);
    if (!lapse_is_ok(result))
        return result;
    size_t size = (sizeof(struct lapse_guard) + 63) / 64 * 64;
    struct lapse_guard *guard = aligned_alloc(64, size);
    CHECK(guard != NULL);
    memset(guard, 0, size);
    guard->settings = settings;
    guard->head = head;
    guard_init(guard, options, callbacks, arg);
    result = guard_reaper_new(&guard->reaper, error);
    if (lapse_is_ok(result))
        result = lapse_client_new(&options->client, &guard->client, error);
    if (!lapse_is_ok(result)) {
        guard_free(guard);
        return result;
    }
    guard->cache = guard_cache_new(guard->reaper, settings.grants_max);
    guard_cache_share(guard->cache);
    atomic_store(&guard->view, view_new(guard));
    (void)client_post(guard->client, &guard->start_task);
    *out = guard;
    return result;
}

/* ---- Closing */

static void on_timer_closed(uv_handle_t *handle)
{
    struct lapse_guard *guard = handle->data;
    pthread_mutex_lock(&guard->lock);
    guard->closed = true;
    CHECK(pthread_cond_broadcast(&guard->changed) == 0);
    pthread_mutex_unlock(&guard->lock);
}

void guard_finish(struct lapse_guard *guard)
{
    uv_close((uv_handle_t *)&guard->timer, on_timer_closed);
}

static void run_close(struct client_task *task)
{
    struct lapse_guard *guard = CONTAINER_OF(task, struct lapse_guard, close_task);
    guard->closing = true;
    guard_begin_anew(guard, false);
    client_wait_end(guard->client, &guard->pending);
    if (guard->stream.request == NULL) {
        guard_finish(guard);
    } else if (guard->stream.admitted && guard->stream.fault.code == LAPSE_OK) {
        guard_say_goodbye(guard);
        guard->close_by_us = guard_now_us(guard) + GOODBYE_MS * 1000LL;
        arm(guard, guard->close_by_us);
    } else {
        guard_stream_leave(guard, "the guard is closed");
    }
}

void lapse_guard_close(struct lapse_guard *guard)
{
    if (guard == NULL || guard_is_forked(guard))
        return;
    CHECK(!guard_is_own_thread(guard));
    guard->close_task.run = run_close;
    (void)client_post(guard->client, &guard->close_task);
    pthread_mutex_lock(&guard->lock);
    while (!guard->closed)
        CHECK(pthread_cond_wait(&guard->changed, &guard->lock) == 0);
    pthread_mutex_unlock(&guard->lock);
    lapse_client_free(guard->client);
    guard_free(guard);
}
