#include "bench/harness/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"

/* How often a waiting scenario looks whether a signal came. */
#define SIGNAL_POLL_MS 200

struct bench_loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_thread_t thread;
    char name[16];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    void (*work)(void *arg); /* what bench_loop_call waits for; NULL: nothing */
    void *arg;
    bool ending;
};

static volatile sig_atomic_t interrupted;

int64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* --- signals ------------------------------------------------------------------------------------------------------ */

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

bool bench_interrupted(void)
{
    return interrupted != 0;
}

void bench_catch_signals(void)
{
    const struct sigaction end = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};
    CHECK(sigaction(SIGINT, &end, NULL) == 0 && sigaction(SIGTERM, &end, NULL) == 0);
    CHECK(sigaction(SIGPIPE, &ignore, NULL) == 0);
}

/* --- the thread --------------------------------------------------------------------------------------------------- */

static void on_wake(uv_async_t *wake)
{
    struct bench_loop *loop = wake->data;
    pthread_mutex_lock(&loop->lock);
    void (*work)(void *arg) = loop->work;
    bool ending = loop->ending;
    pthread_mutex_unlock(&loop->lock);
    if (work != NULL) {
        work(loop->arg);
        pthread_mutex_lock(&loop->lock);
        loop->work = NULL;
        pthread_cond_broadcast(&loop->changed);
        pthread_mutex_unlock(&loop->lock);
    }
    if (ending)
        uv_close((uv_handle_t *)&loop->wake, NULL);
}

static void run(void *arg)
{
    struct bench_loop *loop = arg;
    (void)pthread_setname_np(pthread_self(), loop->name);
    CHECK(uv_run(&loop->uv, UV_RUN_DEFAULT) == 0);
}

struct bench_loop *bench_loop_start(const char *name)
{
    struct bench_loop *loop = mem_calloc(1, sizeof *loop);
    snprintf(loop->name, sizeof loop->name, "%s", name);
    pthread_mutex_init(&loop->lock, NULL);
    pthread_cond_init(&loop->changed, NULL);
    CHECK(uv_loop_init(&loop->uv) == 0);
    CHECK(uv_async_init(&loop->uv, &loop->wake, on_wake) == 0);
    loop->wake.data = loop;
    CHECK(uv_thread_create(&loop->thread, run, loop) == 0);
    return loop;
}

void bench_loop_stop(struct bench_loop *loop)
{
    if (loop == NULL)
        return;
    pthread_mutex_lock(&loop->lock);
    loop->ending = true;
    pthread_mutex_unlock(&loop->lock);
    CHECK(uv_async_send(&loop->wake) == 0);
    CHECK(uv_thread_join(&loop->thread) == 0);
    CHECK(uv_loop_close(&loop->uv) == 0);
    pthread_cond_destroy(&loop->changed);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

uv_loop_t *bench_loop_uv(struct bench_loop *loop)
{
    return &loop->uv;
}

void bench_loop_call(struct bench_loop *loop, void (*work)(void *arg), void *arg)
{
    pthread_mutex_lock(&loop->lock);
    while (loop->work != NULL)
        pthread_cond_wait(&loop->changed, &loop->lock);
    loop->work = work;
    loop->arg = arg;
    CHECK(uv_async_send(&loop->wake) == 0);
    while (loop->work != NULL)
        pthread_cond_wait(&loop->changed, &loop->lock);
    pthread_mutex_unlock(&loop->lock);
}

/* --- gates -------------------------------------------------------------------------------------------------------- */

struct bench_gate {
    pthread_mutex_t lock;
    pthread_cond_t open;
    uint32_t need;
};

struct bench_gate *bench_gate_new(void)
{
    struct bench_gate *gate = mem_calloc(1, sizeof *gate);
    pthread_mutex_init(&gate->lock, NULL);
    clock_condition_init(&gate->open);
    return gate;
}

void bench_gate_free(struct bench_gate *gate)
{
    if (gate == NULL)
        return;
    pthread_cond_destroy(&gate->open);
    pthread_mutex_destroy(&gate->lock);
    free(gate);
}

void bench_gate_expect(struct bench_gate *gate, uint32_t need)
{
    pthread_mutex_lock(&gate->lock);
    gate->need += need;
    pthread_mutex_unlock(&gate->lock);
}

void bench_gate_step(struct bench_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    CHECK(gate->need > 0);
    if (--gate->need == 0)
        pthread_cond_broadcast(&gate->open);
    pthread_mutex_unlock(&gate->lock);
}

bool bench_gate_wait(struct bench_gate *gate, uint32_t patience_ms)
{
    int64_t until_ns = bench_now_ns() + (int64_t)patience_ms * 1000000;
    pthread_mutex_lock(&gate->lock);
    while (gate->need > 0 && !bench_interrupted() && bench_now_ns() < until_ns) {
        struct timespec moment = clock_moment_after(patience_ms < SIGNAL_POLL_MS ? patience_ms : SIGNAL_POLL_MS);
        (void)pthread_cond_timedwait(&gate->open, &gate->lock, &moment);
    }
    bool opened = gate->need == 0;
    pthread_mutex_unlock(&gate->lock);
    return opened;
}
