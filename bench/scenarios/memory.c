/* What does a member take for its items: resident memory before and after making them, and what it says itself. */
#include "bench/harness/scenario.h"

#define ITEMS 1000000
#define ITEMS_BRIEF 1000

static lapse_result check(struct bench_settings *settings, struct lapse_error *error)
{
    (void)error;
    settings->items = settings->items > 0 ? settings->items : settings->brief ? ITEMS_BRIEF : ITEMS;
    return lapse_ok();
}

struct sums {
    double least, most, accounted;
};

static struct sums members_look(struct system *system)
{
    struct sums sums = {0};
    for (uint32_t node = 1; node <= system->n_nodes; node++) {
        double resident = (double)process_resident(&system->nodes[node - 1]), accounted = 0;
        struct lapse_error ignored;
        sums.least = node == 1 || resident < sums.least ? resident : sums.least;
        sums.most = resident > sums.most ? resident : sums.most;
        if (system->kind->metric != NULL &&
            lapse_is_ok(system->kind->metric(system, node, "accounted_bytes", &accounted, &ignored)))
            sums.accounted = accounted > sums.accounted ? accounted : sums.accounted;
    }
    return sums;
}

static lapse_result run(struct bench *bench, struct lapse_error *error)
{
    struct system *system = bench->system;
    uint32_t items = bench->settings.items;
    report_setting(bench->report, "items", items);
    if (system->nodes[0].pid == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "memory looks at its own nodes' processes: it can't with --endpoints");
    lapse_result result = system_reserve(system, items, error);
    struct sums before = members_look(system);
    if (lapse_is_ok(result))
        result = system_make_items(system, bench->writers, 0, items, 0, error);
    if (!lapse_is_ok(result))
        return result;
    struct sums after = members_look(system);
    struct report *report = bench->report;
    report_value(report, "resident_empty", "resident memory of a member without items, the greatest", "MB",
                 before.most / 1e6);
    report_value(report, "resident", "... with them", "MB", after.most / 1e6);
    report_value(report, "resident_least", "... the smallest", "MB", after.least / 1e6);
    report_value(report, "per_item", "growth of the greatest, for each item", "bytes",
                 (after.most - before.most) / items);
    if (after.accounted > 0)
        report_value(report, "accounted_per_item", "what the member itself counts for each item", "bytes",
                     after.accounted / items);
    return system_check(system, error);
}

const struct scenario scenario_memory = {
    .name = "memory",
    .summary = "resident memory of a member, and for each item",
    .flags = "--items",
    .needs = 0,
    .check = check,
    .run = run,
};
