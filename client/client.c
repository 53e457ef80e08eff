/* The client's life and thread, and the queue of what waits for a connection. See client.h. */
#include "client/client.h"

#include <openssl/rand.h>
#include <signal.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"

#define CALLS_MAX_DEFAULT 1024
#define AGAIN_MIN_MS 10
#define AGAIN_MAX_MS 500

#ifndef LAPSE_VERSION
#error "the build defines LAPSE_VERSION"
#endif

const char *lapse_version(void)
{
    return LAPSE_VERSION;
}

bool client_is_transient(enum lapse_code code)
{
    return code == LAPSE_UNAVAILABLE || code == LAPSE_UNKNOWN;
}

/* ---- Tasks from other threads */

bool client_post(struct lapse_client *client, struct client_task *task)
{
    pthread_mutex_lock(&client->lock);
    bool fresh = !task->queued;
    if (fresh) {
        task->queued = true;
        task->next = NULL;
        *client->tasks_tail = task;
        client->tasks_tail = &task->next;
    }
    pthread_mutex_unlock(&client->lock);
    wake_send(&client->wake);
    return fresh;
}

static struct client_task *task_take(struct lapse_client *client, bool *stop)
{
    pthread_mutex_lock(&client->lock);
    struct client_task *task = client->tasks;
    if (task != NULL) {
        client->tasks = task->next;
        if (client->tasks == NULL)
            client->tasks_tail = &client->tasks;
        task->queued = false;
    }
    *stop = client->stop;
    pthread_mutex_unlock(&client->lock);
    return task;
}

bool client_is_own_thread(const struct lapse_client *client)
{
    return pthread_equal(pthread_self(), client->thread);
}

/* ---- Waiting */

static void on_timer(uv_timer_t *timer)
{
    client_look(timer->data);
}

void client_wait(struct lapse_client *client, struct pending *pending)
{
    CHECK(!pending->waiting);
    pending->waiting = true;
    TAILQ_INSERT_TAIL(&client->waiting, pending, entry);
    CHECK(uv_timer_start(&client->timer, on_timer, 0, 0) == 0);
}

void client_wait_again(struct lapse_client *client, struct pending *pending)
{
    uint32_t shift = pending->attempts < 8 ? pending->attempts : 8;
    uint32_t delay = AGAIN_MIN_MS << shift, random = 0;
    CHECK(RAND_bytes((unsigned char *)&random, sizeof random) == 1);
    if (delay > AGAIN_MAX_MS)
        delay = AGAIN_MAX_MS;
    pending->attempts++;
    pending->not_before_ms = clock_boot_ms() + delay / 2 + random % (delay / 2 + 1);
    client_wait(client, pending);
}

void client_wait_end(struct lapse_client *client, struct pending *pending)
{
    if (!pending->waiting)
        return;
    pending->waiting = false;
    TAILQ_REMOVE(&client->waiting, pending, entry);
}

static void give_up(struct lapse_client *client, struct pending *pending, const struct lapse_error *why)
{
    client_wait_end(client, pending);
    pending->ops->give_up(pending, why);
}

/* Gives up, starts, or leaves waiting. Returns when to look again. */
static int64_t look_at(struct lapse_client *client, struct pending *pending, int64_t now)
{
    if (now >= pending->deadline_ms) {
        struct lapse_error late = {.code = LAPSE_DEADLINE_EXCEEDED};
        give_up(client, pending, &late);
        return INT64_MAX;
    }
    if (now < pending->not_before_ms)
        return pending->not_before_ms < pending->deadline_ms ? pending->not_before_ms : pending->deadline_ms;
    if (!link_is_ready(client->link)) {
        link_want(client->link);
        return pending->deadline_ms;
    }
    client_wait_end(client, pending);
    pending->ops->start(pending);
    return INT64_MAX;
}

/* One pass over what waits now; what joins during it is seen in the next. Starting or giving up may end others that
 * wait, so the pass takes the queue's head each time instead of holding a pointer into it, up to a mark at its end. */
void client_look(struct lapse_client *client)
{
    struct pending *pending;
    int64_t now = clock_boot_ms(), again = INT64_MAX;
    struct pending mark = {.waiting = true}; /* the end of this pass */

    if (client->ending)
        return;
    TAILQ_INSERT_TAIL(&client->waiting, &mark, entry);
    while ((pending = TAILQ_FIRST(&client->waiting)) != &mark) {
        TAILQ_REMOVE(&client->waiting, pending, entry);
        TAILQ_INSERT_TAIL(&client->waiting, pending, entry);
        int64_t at = look_at(client, pending, now);
        again = at < again ? at : again;
    }
    TAILQ_REMOVE(&client->waiting, &mark, entry);
    if (again != INT64_MAX)
        CHECK(uv_timer_start(&client->timer, on_timer, again > now ? (uint64_t)(again - now) : 0, 0) == 0);
}

/* ---- What the link tells */

static void on_link_ready(void *arg)
{
    client_look(arg);
}

static bool on_link_asks(void *arg)
{
    struct lapse_client *client = arg;
    return !TAILQ_EMPTY(&client->waiting);
}

static void on_link_failure(void *arg, const struct lapse_error *why, bool hopeless)
{
    struct lapse_client *client = arg;
    struct pending *pending, *next;
    if (client->ending)
        return;
    for (pending = TAILQ_FIRST(&client->waiting); pending != NULL; pending = next) {
        next = TAILQ_NEXT(pending, entry);
        if (hopeless)
            give_up(client, pending, why);
        else if (pending->ops->on_failure != NULL)
            pending->ops->on_failure(pending, why);
    }
}

static void run_tasks(struct lapse_client *client, bool *stop)
{
    struct client_task *task;
    while ((task = task_take(client, stop)) != NULL)
        task->run(task);
}

/* Everything has ended. Tasks posted by the last callbacks find that out. */
static void on_link_closed(void *arg)
{
    struct lapse_client *client = arg;
    bool stop;
    run_tasks(client, &stop);
    uv_close((uv_handle_t *)&client->timer, NULL);
    wake_close(&client->wake, NULL);
}

static const struct link_handler link_handler = {on_link_ready, on_link_failure, on_link_asks, on_link_closed};

/* ---- Life */

static void end(struct lapse_client *client)
{
    struct lapse_error cancelled;
    struct pending *pending;
    (void)lapse_fail(&cancelled, LAPSE_CANCELLED, "the client was freed");
    client->ending = true;
    while ((pending = TAILQ_FIRST(&client->waiting)) != NULL)
        give_up(client, pending, &cancelled);
    call_end_all(client);
    watch_end_all(client);
    link_close(client->link);
}

/* What the tasks have begun starts now, not with the next iteration. */
static void on_wake(struct wake *wake)
{
    struct lapse_client *client = CONTAINER_OF(wake, struct lapse_client, wake);
    bool stop;
    run_tasks(client, &stop);
    if (!TAILQ_EMPTY(&client->waiting)) {
        CHECK(uv_timer_stop(&client->timer) == 0);
        client_look(client);
    }
    if (stop && !client->ending)
        end(client);
}

static void *thread_main(void *arg)
{
    struct lapse_client *client = arg;
    CHECK(uv_run(&client->loop, UV_RUN_DEFAULT) == 0);
    return NULL;
}

/* The thread takes no signals: they are the application's. */
static lapse_result thread_start(struct lapse_client *client, struct lapse_error *error)
{
    sigset_t all, before;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_BLOCK, &all, &before) == 0);
    int failed = pthread_create(&client->thread, NULL, thread_main, client);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (failed != 0)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "can't start a thread: %s", strerror(failed));
    return lapse_ok();
}

static void client_release(struct lapse_client *client)
{
    CHECK(uv_run(&client->loop, UV_RUN_DEFAULT) == 0);
    CHECK(uv_loop_close(&client->loop) == 0);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

static lapse_result client_init(struct lapse_client *client, struct lapse_error *error)
{
    int failed = uv_loop_init(&client->loop);
    if (failed != 0)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "can't start an event loop: %s", uv_strerror(failed));
    CHECK(wake_init(&client->wake, &client->loop, on_wake));
    CHECK(uv_timer_init(&client->loop, &client->timer) == 0);
    CHECK(pthread_mutex_init(&client->lock, NULL) == 0);
    client->timer.data = client;
    client->tasks_tail = &client->tasks;
    TAILQ_INIT(&client->waiting);
    TAILQ_INIT(&client->watches);
    TAILQ_INIT(&client->running);
    return lapse_ok();
}

lapse_result lapse_client_new(const struct lapse_client_options *options, struct lapse_client **out,
                              struct lapse_error *error)
{
    struct lapse_client *client = mem_calloc(1, sizeof *client);
    lapse_result result = client_init(client, error);
    if (!lapse_is_ok(result)) {
        free(client);
        return result;
    }
    client->calls_max = options->calls_max == 0 ? CALLS_MAX_DEFAULT : options->calls_max;
    result = link_new(&client->loop, options, &link_handler, client, &client->link, error);
    if (!lapse_is_ok(result)) {
        on_link_closed(client);
        client_release(client);
        return result;
    }
    result = thread_start(client, error);
    if (!lapse_is_ok(result)) {
        link_close(client->link);
        client_release(client);
        return result;
    }
    *out = client;
    return result;
}

void lapse_client_free(struct lapse_client *client)
{
    if (client == NULL)
        return;
    CHECK(!client_is_own_thread(client));
    pthread_mutex_lock(&client->lock);
    client->stop = true;
    pthread_mutex_unlock(&client->lock);
    wake_send(&client->wake);
    CHECK(pthread_join(client->thread, NULL) == 0);
    client_release(client);
}
