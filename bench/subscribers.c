#include "bench/subscribers.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"

#define PATIENCE_S 30

struct subscriber {
    struct subscribers *all;
    struct lapse_client *client;
    struct lapse_watch *watch;
    bool in_place;
};

struct subscribers {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t n, in_place, received;
    int64_t first_ns, last_ns;
    bench_id expected;
    enum lapse_event_type type;
    struct lapse_error error; /* of the first watch that ended */
    struct subscriber each[];
};

static void on_event(void *arg, uint64_t epoch, const struct lapse_event *event)
{
    int64_t now = monotonic_ns();
    struct subscribers *all = ((struct subscriber *)arg)->all;
    (void)epoch;
    pthread_mutex_lock(&all->lock);
    if (event->type == all->type && strcmp(event->grant.id, all->expected) == 0) {
        if (all->received++ == 0)
            all->first_ns = now;
        all->last_ns = now;
        pthread_cond_signal(&all->changed);
    }
    pthread_mutex_unlock(&all->lock);
}

static void on_progress(void *arg, uint64_t epoch, uint64_t revision, int64_t time_ms)
{
    struct subscriber *one = arg;
    (void)epoch, (void)revision, (void)time_ms;
    pthread_mutex_lock(&one->all->lock);
    if (!one->in_place) {
        one->in_place = true;
        one->all->in_place++;
        pthread_cond_signal(&one->all->changed);
    }
    pthread_mutex_unlock(&one->all->lock);
}

static void on_end(void *arg, const struct lapse_error *why)
{
    struct subscribers *all = ((struct subscriber *)arg)->all;
    pthread_mutex_lock(&all->lock);
    if (why->code != LAPSE_CANCELLED && all->error.code == LAPSE_OK)
        all->error = *why;
    pthread_cond_signal(&all->changed);
    pthread_mutex_unlock(&all->lock);
}

static const struct lapse_watch_callbacks callbacks = {
    .on_event = on_event, .on_progress = on_progress, .on_end = on_end};

/* Waits, with the lock held, until *counter >= need. */
static lapse_result wait_count(struct subscribers *all, const uint32_t *counter, uint32_t need, const char *what,
                               struct lapse_error *error)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    while (*counter < need && all->error.code == LAPSE_OK && !bench_interrupted())
        if (pthread_cond_timedwait(&all->changed, &all->lock, &until) == ETIMEDOUT)
            return lapse_fail(error, LAPSE_UNAVAILABLE, "%" PRIu32 " of %" PRIu32 " subscribers %s within %d s",
                              *counter, need, what, PATIENCE_S);
    if (all->error.code != LAPSE_OK)
        return lapse_fail(error, all->error.code, "a subscription ended: %s", all->error.message);
    return bench_interrupted() ? lapse_fail(error, LAPSE_CANCELLED, "interrupted") : lapse_ok();
}

lapse_result subscribers_start(struct cluster *cluster, uint32_t n, struct subscribers **out, struct lapse_error *error)
{
    struct subscribers *all = mem_calloc(1, sizeof *all + n * sizeof all->each[0]);
    lapse_result result = lapse_ok();
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->changed, NULL);
    all->n = n;
    for (uint32_t i = 0; i < n && lapse_is_ok(result); i++) {
        struct subscriber *one = &all->each[i];
        one->all = all;
        result = cluster_client(cluster, "proxy1", i % cluster_size(cluster) + 1, &one->client, error);
        if (lapse_is_ok(result))
            result =
                lapse_watch_start(one->client, &(struct lapse_watch_options){0}, &callbacks, one, &one->watch, error);
    }
    if (lapse_is_ok(result)) {
        pthread_mutex_lock(&all->lock);
        result = wait_count(all, &all->in_place, n, "were in place", error);
        pthread_mutex_unlock(&all->lock);
    }
    if (lapse_is_ok(result))
        *out = all;
    else
        subscribers_stop(all);
    return result;
}

void subscribers_stop(struct subscribers *all)
{
    if (all == NULL)
        return;
    for (uint32_t i = 0; i < all->n; i++) {
        lapse_watch_stop(all->each[i].watch);
        lapse_client_free(all->each[i].client);
    }
    pthread_cond_destroy(&all->changed);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

void subscribers_expect(struct subscribers *all, const char *grant_id, enum lapse_event_type type)
{
    pthread_mutex_lock(&all->lock);
    snprintf(all->expected, sizeof all->expected, "%s", grant_id);
    all->type = type;
    all->received = 0;
    pthread_mutex_unlock(&all->lock);
}

lapse_result subscribers_wait(struct subscribers *all, uint32_t need, int64_t *first_ns, int64_t *last_ns,
                              struct lapse_error *error)
{
    pthread_mutex_lock(&all->lock);
    lapse_result result = wait_count(all, &all->received, need, "received the event", error);
    if (lapse_is_ok(result)) {
        *first_ns = all->first_ns;
        *last_ns = all->last_ns;
    }
    pthread_mutex_unlock(&all->lock);
    return result;
}
