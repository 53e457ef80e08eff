#include "bench/micro/guard_checks.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "client/guard_internal.h"

#define BATCH 16 /* checks between two readings of the clock, which cost 45 ns */
#define SAMPLES_MAX (1u << 20)

struct guard_checks {
    struct lapse_guard *guard;
    uint32_t n_grants, seconds, changes_per_second;
    _Atomic bool stop;
};

struct question {
    char subject[64], resource[64];
};

struct worker {
    struct guard_checks *owner;
    pthread_t thread;
    uint64_t random, checks, permits;
    uint32_t *samples; /* nanoseconds of one check, averaged over a batch; NULL: not measured */
    uint32_t n_samples;
};

static int64_t now_ns(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static uint32_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

/* ---- The guard, made by hand: what a stream would have filled */

static void name_question(uint32_t number, struct question *question)
{
    snprintf(question->subject, sizeof question->subject, "user:dev%u@example.com", number / 4);
    snprintf(question->resource, sizeof question->resource, "db/prod/orders-%u", number);
}

static void put(struct guard_checks *checks, uint32_t number, enum lapse_grant_state state)
{
    static const char *const actions[] = {"connect", "read"};
    struct question question;
    char id[GRANT_ID_TEXT_SIZE];
    uint8_t random[10] = {(uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number};
    grant_id_format(grant_id_make(1700000000000 + number, random), id);
    name_question(number, &question);
    struct lapse_grant grant = {.id = id,
                                .state = state,
                                .subject = question.subject,
                                .resource = question.resource,
                                .actions = actions,
                                .n_actions = ARRAY_LEN(actions),
                                .binding.spiffe_id = "",
                                .parent = "",
                                .deadline_ms = 1900000000000};
    CHECK(guard_cache_put(checks->guard->cache, &grant, NULL, NULL));
}

static void publish(struct lapse_guard *guard)
{
    struct guard_view *view = mem_calloc(1, sizeof *view);
    view->state = guard->state;
    view->cache = guard->cache;
    struct guard_view *old = atomic_exchange(&guard->view, view);
    if (old != NULL)
        guard_reaper_defer(guard->reaper, &old->garbage, (void (*)(struct guard_garbage *))free);
}

static struct lapse_guard *guard_make(struct guard_checks *checks)
{
    struct lapse_guard *guard = aligned_alloc(64, (sizeof *guard + 63) / 64 * 64);
    struct lapse_error error;
    CHECK(guard != NULL);
    memset(guard, 0, sizeof *guard);
    checks->guard = guard;
    CHECK(lapse_is_ok(guard_reaper_new(&guard->reaper, &error)));
    guard->cache = guard_cache_new(guard->reaper, checks->n_grants);
    guard_state_init(&guard->state);
    guard_state_connected(&guard->state);
    CHECK(guard_state_snapshot_end(&guard->state, 1, checks->n_grants));
    guard_state_pong(&guard->state, guard_state_ping(&guard->state, clock_boot_us()), 3600000, 1750000000000000);
    for (uint32_t i = 0; i < checks->n_grants; i++)
        put(checks, i, LAPSE_STATE_ACTIVE);
    guard_cache_share(guard->cache);
    publish(guard);
    return guard;
}

static void guard_unmake(struct lapse_guard *guard)
{
    guard_reaper_free(guard->reaper);
    guard_cache_free(guard->cache);
    free(atomic_load(&guard->view));
    free(guard);
}

/* ---- Threads */

/* Ends and activates one grant after another, evenly over each millisecond; a view for each ten, as a busy stream does.
 */
static void *writer_main(void *arg)
{
    struct guard_checks *checks = arg;
    int64_t begun = now_ns();
    uint64_t done = 0;
    while (!atomic_load(&checks->stop)) {
        uint64_t due = (uint64_t)(now_ns() - begun) * checks->changes_per_second / 1000000000;
        for (; done < due; done++) {
            put(checks, (uint32_t)(done / 2 * 7919) % checks->n_grants,
                done % 2 == 0 ? LAPSE_STATE_REVOKED : LAPSE_STATE_ACTIVE);
            if (done % 10 == 0)
                publish(checks->guard);
        }
        nanosleep(&(struct timespec){0, 200000}, NULL);
    }
    return NULL;
}

static void check_one(struct worker *worker, const struct question *question, bool denied)
{
    struct lapse_guard_query query = {
        .subject = question->subject, .resource = question->resource, .action = denied ? "drop" : "read"};
    struct lapse_guard_decision decision;
    worker->permits += lapse_guard_check(worker->owner->guard, &query, &decision);
    worker->checks++;
}

static void run_batch(struct worker *worker)
{
    struct question questions[BATCH];
    for (int i = 0; i < BATCH; i++)
        name_question(next_random(&worker->random) % worker->owner->n_grants, &questions[i]);
    int64_t before = now_ns();
    for (int i = 0; i < BATCH; i++)
        check_one(worker, &questions[i], i % 4 == 3);
    if (worker->samples != NULL && worker->n_samples < SAMPLES_MAX)
        worker->samples[worker->n_samples++] = (uint32_t)((now_ns() - before) / BATCH);
}

/* For throughput: the questions are made before. */
#define PREPARED 65536
static void run_prepared(struct worker *worker)
{
    struct question *questions = mem_alloc(PREPARED * sizeof *questions);
    for (uint32_t i = 0; i < PREPARED; i++)
        name_question(next_random(&worker->random) % worker->owner->n_grants, &questions[i]);
    for (uint32_t i = 0; !atomic_load_explicit(&worker->owner->stop, memory_order_relaxed); i = (i + 1) % PREPARED)
        check_one(worker, &questions[i], i % 4 == 3);
    free(questions);
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    if (worker->samples == NULL)
        run_prepared(worker);
    while (!atomic_load(&worker->owner->stop))
        run_batch(worker);
    return NULL;
}

static void run(struct guard_checks *checks, struct worker *workers, uint32_t n)
{
    pthread_t writer;
    atomic_store(&checks->stop, false);
    if (checks->changes_per_second > 0)
        CHECK(pthread_create(&writer, NULL, writer_main, checks) == 0);
    for (uint32_t i = 0; i < n; i++) {
        workers[i].owner = checks;
        workers[i].random = 88172645463325252ULL + i * 977;
        CHECK(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) == 0);
    }
    nanosleep(&(struct timespec){checks->seconds, 0}, NULL);
    atomic_store(&checks->stop, true);
    for (uint32_t i = 0; i < n; i++)
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
    if (checks->changes_per_second > 0)
        CHECK(pthread_join(writer, NULL) == 0);
}

struct guard_checks *guard_checks_new(uint32_t n_grants)
{
    struct guard_checks *checks = mem_calloc(1, sizeof *checks);
    checks->n_grants = n_grants;
    guard_make(checks);
    return checks;
}

void guard_checks_free(struct guard_checks *checks)
{
    if (checks != NULL)
        guard_unmake(checks->guard);
    free(checks);
}

/* ---- Figures */

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Nearest rank. */
static uint32_t percentile(const struct worker *worker, uint32_t per_mille)
{
    uint64_t rank = ((uint64_t)worker->n_samples * per_mille + 999) / 1000;
    return worker->n_samples == 0 ? 0 : worker->samples[rank > 0 ? rank - 1 : 0];
}

struct guard_latency guard_checks_latency(struct guard_checks *checks, uint32_t changes_per_second, uint32_t seconds)
{
    struct worker worker = {.samples = mem_alloc(SAMPLES_MAX * sizeof(uint32_t))};
    checks->changes_per_second = changes_per_second;
    checks->seconds = seconds;
    run(checks, &worker, 1);
    qsort(worker.samples, worker.n_samples, sizeof *worker.samples, compare);
    struct guard_latency latency = {percentile(&worker, 500), percentile(&worker, 990), percentile(&worker, 999),
                                    (double)worker.permits / (double)worker.checks};
    free(worker.samples);
    return latency;
}

double guard_checks_throughput(struct guard_checks *checks, uint32_t changes_per_second, uint32_t threads,
                               uint32_t seconds)
{
    struct worker *workers = mem_calloc(threads, sizeof *workers);
    uint64_t n = 0;
    CHECK(threads > 0 && threads <= GUARD_CHECKS_THREADS_MAX);
    checks->changes_per_second = changes_per_second;
    checks->seconds = seconds;
    int64_t begin_ns = now_ns();
    run(checks, workers, threads);
    double took_s = (double)(now_ns() - begin_ns) / 1e9;
    for (uint32_t i = 0; i < threads; i++)
        n += workers[i].checks;
    free(workers);
    return (double)n / took_s;
}
