/* What a decision at an enforcement point costs: no cluster, the guard's own check on a cache of --items grants
 * (bench/micro/guard_checks.h), calm, and while grants change as fast as a busy cluster changes them. */
#include <stdio.h>

#include "base/check.h"
#include "bench/harness/scenario.h"
#include "bench/micro/guard_checks.h"

#define ITEMS 100000
#define SECONDS 3
#define THREADS 2

static lapse_result check(struct bench_settings *settings, struct lapse_error *error)
{
    settings->items = settings->items > 0 ? settings->items : settings->brief ? 1000 : ITEMS;
    settings->seconds = settings->seconds > 0 ? settings->seconds : settings->brief ? 1 : SECONDS;
    if (settings->items > 10000000)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--items is at most 10000000 for check");
    return lapse_ok();
}

static void measure(struct bench *bench, struct guard_checks *checks, uint32_t changes, const char *prefix,
                    const char *what)
{
    uint32_t seconds = bench->settings.seconds;
    char name[64], text[96];
    struct guard_latency latency = guard_checks_latency(checks, changes, seconds);
    const struct {
        const char *name;
        double ns;
    } figures[] = {{"p50", latency.p50}, {"p99", latency.p99}, {"p999", latency.p999}};
    for (size_t i = 0; i < ARRAY_LEN(figures); i++) {
        snprintf(name, sizeof name, "%s_check_%s", prefix, figures[i].name);
        snprintf(text, sizeof text, "one check, %s, %s", what, figures[i].name);
        report_value(bench->report, name, text, "ns", figures[i].ns);
    }
    snprintf(name, sizeof name, "%s_checks_per_s", prefix);
    snprintf(text, sizeof text, "checks by %d threads, %s", THREADS, what);
    report_value(bench->report, name, text, "1/s", guard_checks_throughput(checks, changes, THREADS, seconds));
}

static lapse_result run(struct bench *bench, struct lapse_error *error)
{
    static const struct {
        uint32_t changes;
        const char *prefix, *what;
    } loads[] = {{0, "calm", "no changes"}, {1000, "busy", "1,000 changes/s"}, {50000, "storm", "50,000 changes/s"}};
    struct guard_checks *checks = guard_checks_new(bench->settings.items);
    lapse_result result = lapse_ok();
    report_setting(bench->report, "items", bench->settings.items);
    report_setting(bench->report, "seconds", bench->settings.seconds);
    for (size_t i = 0; i < ARRAY_LEN(loads) && lapse_is_ok(result); i++) {
        progress("check: loads", i, ARRAY_LEN(loads));
        if (bench_interrupted())
            result = lapse_fail(error, LAPSE_CANCELLED, "interrupted");
        else
            measure(bench, checks, loads[i].changes, loads[i].prefix, loads[i].what);
    }
    guard_checks_free(checks);
    return result;
}

const struct scenario scenario_check = {
    .name = "check",
    .summary = "a decision at an enforcement point, beside many grants and while they change",
    .flags = "--items --seconds",
    .needs = NEEDS_NO_SYSTEM,
    .check = check,
    .run = run,
};
