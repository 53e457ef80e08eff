/* How long after it was asked for does everybody know of a revocation?
 *
 * One connection, to the leader, ends items; watchers, a connection each, are spread over the nodes. With --wait the
 * acknowledgement itself says that every enforcement point denies (a real guard a node is there then). */
#include <string.h>

#include "bench/harness/scenario.h"
#include "bench/harness/spread.h"
#include "bench/harness/steady.h"
#include "bench/lapse/cluster.h"
#include "bench/lapse/points.h"

/* Other writes go on at most so long, at the rate asked for. */
#define BACKGROUND_S_MAX 300u
#define BACKGROUND_ITEMS_MAX 2000000u

static lapse_result check(struct bench_settings *settings, struct lapse_error *error)
{
    if (settings->subscribers == 0)
        settings->subscribers = 3;
    if (settings->writes == 0)
        settings->writes = settings->brief ? 20 : 500;
    if (settings->warmup == 0)
        settings->warmup = settings->brief ? 2 : 20;
    if (settings->brief && settings->writes > 20)
        settings->writes = 20;
    if (settings->warmup + settings->writes > 2000000)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "at most 2000000 writes");
    return lapse_ok();
}

static uint32_t background_items(const struct bench_settings *settings)
{
    uint64_t n = (uint64_t)settings->background * BACKGROUND_S_MAX;
    return n < BACKGROUND_ITEMS_MAX ? (uint32_t)n : BACKGROUND_ITEMS_MAX;
}

static void note_settings(const struct bench *bench)
{
    const struct bench_settings *settings = &bench->settings;
    report_setting(bench->report, "subscribers", settings->subscribers);
    report_setting(bench->report, "writes", settings->writes);
    report_setting(bench->report, "warmup", settings->warmup);
    if (settings->rate > 0)
        report_setting(bench->report, "rate", settings->rate);
    if (settings->background > 0)
        report_setting(bench->report, "background", settings->background);
    if (settings->wait != NULL)
        report_setting_text(bench->report, "wait", settings->wait);
}

static lapse_result prepare(struct bench *bench, struct lapse_error *error)
{
    uint32_t n = bench->settings.warmup + bench->settings.writes;
    bench->system->quiet_from = n;
    lapse_result result = system_reserve(bench->system, n + background_items(&bench->settings), error);
    return lapse_is_ok(result) ? system_make_items(bench->system, bench->writers, 0, n, 0, error) : result;
}

/* --wait: to Lapse alone. */
static lapse_result points_open(struct bench *bench, struct lapse_points **points, struct lapse_error *error)
{
    const char *wait = bench->settings.wait;
    if (wait == NULL || strcmp(wait, "committed") == 0)
        return lapse_ok();
    cluster_set_wait(bench->system, strcmp(wait, "received") == 0 ? LAPSE_WAIT_RECEIVED : LAPSE_WAIT_ENFORCED);
    return lapse_points_open(bench->system, bench->system->n_nodes, points, error);
}

static lapse_result measure(struct bench *bench, uint32_t leader, struct lapse_error *error)
{
    const struct bench_settings *settings = &bench->settings;
    const struct spread_options options = {leader, settings->subscribers, settings->warmup, settings->writes,
                                           settings->rate};
    const struct steady_options others = {leader, settings->warmup + settings->writes, background_items(settings),
                                          settings->background};
    struct spread *spread = NULL;
    struct steady *steady = NULL;
    uint64_t failed = 0;
    lapse_result result = spread_open(bench, &options, &spread, error);
    if (lapse_is_ok(result) && settings->background > 0)
        result = steady_start(bench->system, bench->writers, &others, &steady, error);
    if (lapse_is_ok(result))
        result = spread_run(spread, error);
    if (steady != NULL)
        steady_stop(steady, report_samples(bench->report, "background", "other writes acknowledged"), &failed);
    if (failed > 0)
        report_note(bench->report, "%llu other writes failed", (unsigned long long)failed);
    spread_close(spread);
    return result;
}

static lapse_result run(struct bench *bench, struct lapse_error *error)
{
    struct lapse_points *points = NULL;
    uint32_t leader = 1;
    note_settings(bench);
    lapse_result result = prepare(bench, error);
    if (lapse_is_ok(result))
        result = points_open(bench, &points, error);
    if (lapse_is_ok(result))
        result = bench->system->kind->leader(bench->system, &leader, error);
    if (lapse_is_ok(result))
        result = measure(bench, leader, error);
    lapse_points_close(points);
    return result;
}

const struct scenario scenario_revocation = {
    .name = "revocation",
    .summary = "from a call that ends an item to its acknowledgement, and to the first, median and last watcher",
    .flags = "--subscribers --writes --warmup --rate --background --wait",
    .needs = NEEDS_WATCH,
    .check = check,
    .run = run,
};
