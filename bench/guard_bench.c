/* guard-bench: what a decision at an enforcement point costs.
 *
 * The guard's own check on a cache of many grants, without a cluster: one thread's latency (median and 99th
 * percentile), what several threads do a second, and both while a writer ends and activates grants as a stream would.
 * Questions go over all subjects at random, so most are not in a processor's cache; 1 in 4 is denied.
 *
 *   guard-bench [--grants N] [--seconds S] [--threads N] */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "client/guard_internal.h"

#define BATCH 16 /* checks between two readings of the clock, which cost 45 ns */
#define SAMPLES_MAX (1u << 20)
#define THREADS_MAX 64

struct bench {
    struct lapse_guard *guard;
    uint32_t n_grants, seconds, threads_max;
    uint32_t changes_per_second;
    _Atomic bool stop;
};

struct question {
    char subject[64], resource[64];
};

struct worker {
    struct bench *bench;
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

static void put(struct bench *bench, uint32_t number, enum lapse_grant_state state)
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
    CHECK(guard_cache_put(bench->guard->cache, &grant, NULL, NULL));
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

static struct lapse_guard *guard_make(struct bench *bench)
{
    struct lapse_guard *guard = aligned_alloc(64, (sizeof *guard + 63) / 64 * 64);
    struct lapse_error error;
    CHECK(guard != NULL);
    memset(guard, 0, sizeof *guard);
    bench->guard = guard;
    CHECK(lapse_is_ok(guard_reaper_new(&guard->reaper, &error)));
    guard->cache = guard_cache_new(guard->reaper, bench->n_grants);
    guard_state_init(&guard->state);
    guard_state_connected(&guard->state);
    CHECK(guard_state_snapshot_end(&guard->state, 1, bench->n_grants));
    guard_state_pong(&guard->state, guard_state_ping(&guard->state, clock_boot_us()), 3600000, 1750000000000000);
    for (uint32_t i = 0; i < bench->n_grants; i++)
        put(bench, i, LAPSE_STATE_ACTIVE);
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
    struct bench *bench = arg;
    int64_t begun = now_ns();
    uint64_t done = 0;
    while (!atomic_load(&bench->stop)) {
        uint64_t due = (uint64_t)(now_ns() - begun) * bench->changes_per_second / 1000000000;
        for (; done < due; done++) {
            put(bench, (uint32_t)(done / 2 * 7919) % bench->n_grants,
                done % 2 == 0 ? LAPSE_STATE_REVOKED : LAPSE_STATE_ACTIVE);
            if (done % 10 == 0)
                publish(bench->guard);
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
    worker->permits += lapse_guard_check(worker->bench->guard, &query, &decision);
    worker->checks++;
}

static void run_batch(struct worker *worker)
{
    struct question questions[BATCH];
    for (int i = 0; i < BATCH; i++)
        name_question(next_random(&worker->random) % worker->bench->n_grants, &questions[i]);
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
        name_question(next_random(&worker->random) % worker->bench->n_grants, &questions[i]);
    for (uint32_t i = 0; !atomic_load_explicit(&worker->bench->stop, memory_order_relaxed); i = (i + 1) % PREPARED)
        check_one(worker, &questions[i], i % 4 == 3);
    free(questions);
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    if (worker->samples == NULL)
        run_prepared(worker);
    while (!atomic_load(&worker->bench->stop))
        run_batch(worker);
    return NULL;
}

static void run(struct bench *bench, struct worker *workers, uint32_t n)
{
    pthread_t writer;
    atomic_store(&bench->stop, false);
    if (bench->changes_per_second > 0)
        CHECK(pthread_create(&writer, NULL, writer_main, bench) == 0);
    for (uint32_t i = 0; i < n; i++) {
        workers[i].bench = bench;
        workers[i].random = 88172645463325252ULL + i * 977;
        CHECK(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) == 0);
    }
    nanosleep(&(struct timespec){bench->seconds, 0}, NULL);
    atomic_store(&bench->stop, true);
    for (uint32_t i = 0; i < n; i++)
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
    if (bench->changes_per_second > 0)
        CHECK(pthread_join(writer, NULL) == 0);
}

/* ---- Reports */

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t percentile(const struct worker *worker, uint32_t per_mille)
{
    return worker->samples[(uint64_t)worker->n_samples * per_mille / 1000];
}

static void report_latency(struct bench *bench)
{
    struct worker worker = {.samples = mem_alloc(SAMPLES_MAX * sizeof(uint32_t))};
    run(bench, &worker, 1);
    qsort(worker.samples, worker.n_samples, sizeof *worker.samples, compare);
    printf("latency     changes/s %6u   p50 %4u ns   p99 %4u ns   p99.9 %5u ns   permitted %2.0f %%\n",
           bench->changes_per_second, percentile(&worker, 500), percentile(&worker, 990), percentile(&worker, 999),
           100.0 * (double)worker.permits / (double)worker.checks);
    free(worker.samples);
}

static void report_throughput(struct bench *bench, uint32_t threads)
{
    static struct worker workers[THREADS_MAX];
    uint64_t checks = 0;
    memset(workers, 0, sizeof workers);
    run(bench, workers, threads);
    for (uint32_t i = 0; i < threads; i++)
        checks += workers[i].checks;
    printf("throughput  changes/s %6u   threads %2u   %6.2f million checks/s\n", bench->changes_per_second, threads,
           (double)checks / bench->seconds / 1e6);
}

static uint32_t number_of(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*end != '\0' || value == 0 || value > 10000000) {
        fprintf(stderr, "guard-bench: \"%s\" is not a number from 1 to 10000000\n", text);
        exit(2);
    }
    return (uint32_t)value;
}

static void parse(struct bench *bench, int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        uint32_t *option = strcmp(argv[i], "--grants") == 0    ? &bench->n_grants
                           : strcmp(argv[i], "--seconds") == 0 ? &bench->seconds
                           : strcmp(argv[i], "--threads") == 0 ? &bench->threads_max
                                                               : NULL;
        if (option == NULL || i + 1 == argc) {
            fprintf(stderr, "usage: guard-bench [--grants N] [--seconds S] [--threads N]\n");
            exit(2);
        }
        *option = number_of(argv[i + 1]);
    }
    if (bench->threads_max > THREADS_MAX)
        bench->threads_max = THREADS_MAX;
}

int main(int argc, char **argv)
{
    static const uint32_t rates[] = {0, 1000, 50000};
    struct bench bench = {.n_grants = 100000, .seconds = 3, .threads_max = 2};
    parse(&bench, argc, argv);
    struct lapse_guard *guard = guard_make(&bench);
    printf("%u grants, %u a subject, paths of three segments\n", bench.n_grants, 4);
    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        bench.changes_per_second = rates[i];
        report_latency(&bench);
    }
    for (uint32_t threads = 1; threads <= bench.threads_max; threads *= 2)
        for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
            bench.changes_per_second = rates[i];
            report_throughput(&bench, threads);
        }
    guard_unmake(guard);
    return 0;
}
