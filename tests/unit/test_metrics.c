#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/limits.h"
#include "node/loop_meter.h"
#include "node/metrics.h"

static const char *render(struct buf *text)
{
    buf_init(text, LIMIT_METRICS_BYTES);
    cr_assert(lapse_is_ok(metrics_render(text)));
    cr_assert(lapse_is_ok(buf_append(text, "", 1)));
    return (const char *)text->data;
}

Test(metrics, every_metric_is_rendered_with_help_type_and_value)
{
    struct buf text;
    metric_set(METRIC_TERM, 7);
    metric_add(METRIC_WRITES, 2);
    metric_add(METRIC_WRITES, 3);
    const char *page = render(&text);
#define METRIC_ASSERT(id, type, name, help)                                                                            \
    cr_assert_not_null(strstr(page, "# HELP " name " " help "\n# TYPE " name " " #type "\n" name " "), "%s", name);
    METRICS(METRIC_ASSERT)
    cr_assert_not_null(strstr(page, "\nlapse_raft_term 7\n"));
    cr_assert_not_null(strstr(page, "\nlapse_writes_total 5\n"));
    cr_assert_not_null(strstr(page, "\nlapse_build_info{version=\"" LAPSE_VERSION "\"} 1\n"));
    buf_free(&text);
}

static bool ends_in_total(const char *name)
{
    size_t len = strlen(name);
    return len > 6 && strcmp(name + len - 6, "_total") == 0;
}

Test(metrics, counters_and_only_counters_end_in_total)
{
#define METRIC_NAME_ASSERT(id, type, name, help)                                                                       \
    cr_assert_eq(strcmp(#type, "counter") == 0, ends_in_total(name), "%s", name);
    METRICS(METRIC_NAME_ASSERT)
}

Test(metrics, the_start_of_the_process_is_now_or_a_little_earlier)
{
    struct buf text;
    const char *line = strstr(render(&text), "\nprocess_start_time_seconds ");
    cr_assert_not_null(line);
    double started = strtod(line + strlen("\nprocess_start_time_seconds "), NULL);
    double now = (double)time(NULL);
    cr_assert(started <= now + 2 && started > now - 3600, "%.2f, now %.2f", started, now);
    buf_free(&text);
}

Test(metrics, a_maximum_only_grows)
{
    metric_max(METRIC_LOOP_US_MAX, 5);
    metric_max(METRIC_LOOP_US_MAX, 3);
    cr_assert_eq(metric_get(METRIC_LOOP_US_MAX), 5);
    metric_max(METRIC_LOOP_US_MAX, 9);
    cr_assert_eq(metric_get(METRIC_LOOP_US_MAX), 9);
}

#define SECOND_NS (1000ull * 1000 * 1000)

/* One iteration of `work_us` at `at_s`, between two sleeps. */
static void turn(struct loop_meter *meter, uint64_t at_s, uint64_t work_us)
{
    uint64_t end_ns = at_s * SECOND_NS;
    if (meter->turned_ns == 0)
        loop_meter_turn(meter, end_ns - SECOND_NS, 0);
    uint64_t slept_ns = end_ns - meter->turned_ns - work_us * 1000;
    loop_meter_turn(meter, end_ns, meter->idle_ns + slept_ns);
}

Test(metrics, the_longest_iteration_of_the_loop_is_known_for_ever_and_of_late)
{
    struct loop_meter meter = {0};
    turn(&meter, 100, 700);
    turn(&meter, 101, 20);
    cr_expect_eq(metric_get(METRIC_LOOP_US_MAX), 700);
    cr_expect_eq(metric_get(METRIC_LOOP_US_RECENT), 700);
    turn(&meter, 112, 30);
    cr_expect_eq(metric_get(METRIC_LOOP_US_RECENT), 700, "the window before still counts");
    turn(&meter, 122, 40);
    cr_expect_eq(metric_get(METRIC_LOOP_US_RECENT), 40);
    turn(&meter, 200, 5);
    cr_expect_eq(metric_get(METRIC_LOOP_US_RECENT), 5, "nothing happened in between");
    cr_expect_eq(metric_get(METRIC_LOOP_US_MAX), 700);
}

static _Atomic(int) arrived;

/* Both threads leave together, so that they really race. */
static void meet(int round)
{
    (void)atomic_fetch_add(&arrived, 1);
    while (atomic_load(&arrived) < 2 * round)
        (void)sched_yield();
}

#define ROUNDS 50000

static void *race(void *arg)
{
    int64_t own = *(int64_t *)arg;
    intptr_t lost = 0;
    for (int round = 1; round <= ROUNDS; round++) {
        meet(2 * round - 1);
        metric_add(METRIC_CALLS, 1);
        metric_max(METRIC_LOOP_US_MAX, 2 * round + own);
        meet(2 * round);
        lost += metric_get(METRIC_LOOP_US_MAX) != 2 * round + 1;
    }
    return (void *)lost;
}

Test(metrics, threads_lose_no_count_and_no_maximum)
{
    pthread_t threads[2];
    int64_t own[2] = {0, 1};
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, race, &own[i]), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        void *lost = NULL;
        cr_assert_eq(pthread_join(threads[i], &lost), 0);
        cr_assert_null(lost, "a maximum was lost %td times", (intptr_t)lost);
    }
    cr_assert_eq(metric_get(METRIC_CALLS), 2 * ROUNDS);
}

Test(metrics, a_buffer_that_is_too_small_is_left_as_it_was)
{
    struct buf text;
    buf_init(&text, 512);
    cr_assert(lapse_is_ok(buf_append(&text, "before", 6)));
    cr_assert_eq(metrics_render(&text).code, LAPSE_RESOURCE_EXHAUSTED);
    cr_assert_eq(text.len, 6);
    buf_free(&text);
}
