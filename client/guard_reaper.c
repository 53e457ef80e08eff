/* The thread that frees what checks may still have been reading. See guard_rcu.h.
 *
 * It works in batches, PAUSE_MS apart: a grace period interrupts every processor that runs a thread of this process
 * (membarrier), so one for each change would slow the checks down. */
#include "client/guard_rcu.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"

#define PAUSE_MS 10

struct guard_reaper {
    pthread_t thread;
    pthread_mutex_t lock; /* the two below */
    pthread_cond_t changed;
    struct guard_garbage *waiting;
    bool stop;
};

#ifdef GUARD_TSAN
char guard_grace;
#endif

/* ---- Forks */

_Atomic(uint32_t) guard_forks;

static void after_fork_child(void)
{
    urcu_bp_after_fork_child();
    atomic_fetch_add_explicit(&guard_forks, 1, memory_order_relaxed);
}

/* The child has none of our threads, but it may check: so liburcu's locks are free in it, and it knows of no reading by
 * threads that only the parent has. */
static void watch_forks(void)
{
    CHECK(pthread_atfork(urcu_bp_before_fork, urcu_bp_after_fork_parent, after_fork_child) == 0);
}

/* ---- The thread */

/* All that waits, once there is something; NULL at the end. */
static struct guard_garbage *take(struct guard_reaper *reaper)
{
    pthread_mutex_lock(&reaper->lock);
    while (reaper->waiting == NULL && !reaper->stop)
        pthread_cond_wait(&reaper->changed, &reaper->lock);
    struct guard_garbage *list = reaper->waiting;
    reaper->waiting = NULL;
    pthread_mutex_unlock(&reaper->lock);
    return list;
}

/* Lets a batch gather; short when the reaper is to end. */
static void pause_between(struct guard_reaper *reaper)
{
    struct timespec until = clock_moment_after(PAUSE_MS);
    pthread_mutex_lock(&reaper->lock);
    int waited = 0;
    while (!reaper->stop && waited == 0)
        waited = pthread_cond_timedwait(&reaper->changed, &reaper->lock, &until);
    pthread_mutex_unlock(&reaper->lock);
}

static void *reaper_main(void *arg)
{
    struct guard_reaper *reaper = arg;
    struct guard_garbage *list, *next;
    while ((list = take(reaper)) != NULL) {
        guard_grace_wait();
        for (; list != NULL; list = next) {
            next = list->next;
            list->release(list);
        }
        pause_between(reaper);
    }
    return NULL;
}

static void reaper_init(struct guard_reaper *reaper)
{
    CHECK(pthread_mutex_init(&reaper->lock, NULL) == 0);
    clock_condition_init(&reaper->changed);
}

static void reaper_release(struct guard_reaper *reaper)
{
    pthread_cond_destroy(&reaper->changed);
    pthread_mutex_destroy(&reaper->lock);
    free(reaper);
}

lapse_result guard_reaper_new(struct guard_reaper **out, struct lapse_error *error)
{
    static pthread_once_t watched = PTHREAD_ONCE_INIT;
    struct guard_reaper *reaper = mem_calloc(1, sizeof *reaper);
    sigset_t all, before;
    CHECK(pthread_once(&watched, watch_forks) == 0);
    reaper_init(reaper);
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_BLOCK, &all, &before) == 0);
    int failed = pthread_create(&reaper->thread, NULL, reaper_main, reaper);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (failed != 0) {
        reaper_release(reaper);
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "can't start a thread: %s", strerror(failed));
    }
    *out = reaper;
    return lapse_ok();
}

void guard_reaper_free(struct guard_reaper *reaper)
{
    if (reaper == NULL)
        return;
    pthread_mutex_lock(&reaper->lock);
    reaper->stop = true;
    pthread_cond_signal(&reaper->changed);
    pthread_mutex_unlock(&reaper->lock);
    CHECK(pthread_join(reaper->thread, NULL) == 0);
    CHECK(reaper->waiting == NULL);
    reaper_release(reaper);
}

void guard_reaper_defer(struct guard_reaper *reaper, struct guard_garbage *garbage,
                        void (*release)(struct guard_garbage *garbage))
{
    garbage->release = release;
    pthread_mutex_lock(&reaper->lock);
    garbage->next = reaper->waiting;
    reaper->waiting = garbage;
    if (garbage->next == NULL)
        pthread_cond_signal(&reaper->changed);
    pthread_mutex_unlock(&reaper->lock);
}
