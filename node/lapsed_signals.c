#include "node/lapsed_signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/check.h"

/* Wakes the thread so that it sees `over`. */
#define SIGNAL_WAKE SIGUSR2

static struct {
    pthread_t thread;
    sigset_t set;
    pthread_mutex_t lock; /* guards `node`: it is not freed while a signal is at it */
    struct node *node;
    _Atomic(bool) stopping;
    _Atomic(bool) over;
} signals = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_stop(int signal)
{
    if (atomic_exchange(&signals.stopping, true))
        _exit(128 + signal);
    if (signals.node == NULL)
        _exit(0);
    node_stop(signals.node);
}

static void on_reload(void)
{
    if (signals.node == NULL)
        return;
    log_info("reloading certificates and deny list");
    node_reload(signals.node);
}

static void take(int signal)
{
    CHECK(pthread_mutex_lock(&signals.lock) == 0);
    if (atomic_load(&signals.over))
        ; /* too late for anything */
    else if (signal == SIGTERM || signal == SIGINT)
        on_stop(signal);
    else if (signal == SIGHUP)
        on_reload();
    CHECK(pthread_mutex_unlock(&signals.lock) == 0);
}

static void *run(void *arg)
{
    (void)arg;
    while (!atomic_load(&signals.over)) {
        int signal = 0;
        CHECK(sigwait(&signals.set, &signal) == 0);
        take(signal);
    }
    return NULL;
}

void signals_start(void)
{
    const int taken[] = {SIGTERM, SIGINT, SIGHUP, SIGNAL_WAKE};
    CHECK(sigemptyset(&signals.set) == 0);
    for (size_t i = 0; i < ARRAY_LEN(taken); i++)
        CHECK(sigaddset(&signals.set, taken[i]) == 0);
    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    CHECK(pthread_sigmask(SIG_BLOCK, &signals.set, NULL) == 0);
    CHECK(pthread_create(&signals.thread, NULL, run, NULL) == 0);
}

void signals_attach(struct node *node)
{
    CHECK(pthread_mutex_lock(&signals.lock) == 0);
    signals.node = node;
    CHECK(pthread_mutex_unlock(&signals.lock) == 0);
}

bool signals_stopping(void)
{
    return atomic_load(&signals.stopping);
}

void signals_end(void)
{
    CHECK(pthread_mutex_lock(&signals.lock) == 0);
    signals.node = NULL;
    atomic_store(&signals.over, true);
    CHECK(pthread_mutex_unlock(&signals.lock) == 0);
    CHECK(pthread_kill(signals.thread, SIGNAL_WAKE) == 0);
    CHECK(pthread_join(signals.thread, NULL) == 0);
}
