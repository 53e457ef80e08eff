/* Many watchers, a connection each: how long until the last of them knows, what others' writes feel of it, and what a
 * connection costs the node that holds it.
 *
 * One after the other an item is ended and told to all; beside that a second connection writes at even distances, so
 * that some of its writes come while the watchers are being told. Resident memory is of the nodes' processes, before
 * the first watcher and after the last. */
#include <inttypes.h>
#include <time.h>

#include "bench/harness/scenario.h"
#include "bench/harness/spread.h"
#include "bench/harness/steady.h"

#define BACKGROUND_RATE 50u
#define BACKGROUND_ITEMS 100000u

static lapse_result check(struct bench_settings *settings, struct lapse_error *error)
{
    (void)error;
    if (settings->subscribers == 0)
        settings->subscribers = settings->brief ? 30 : 3000;
    if (settings->writes == 0)
        settings->writes = settings->brief ? 10 : 100;
    if (settings->warmup == 0)
        settings->warmup = settings->brief ? 2 : 10;
    if (settings->background == 0)
        settings->background = BACKGROUND_RATE;
    return lapse_ok();
}

static uint64_t resident(const struct bench *bench)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < bench->system->n_nodes; i++)
        sum += process_resident(&bench->system->nodes[i]);
    return sum;
}

static void note_memory(struct bench *bench, uint64_t before)
{
    uint64_t after = resident(bench);
    double n = bench->settings.subscribers;
    if (before > 0 && after > before)
        report_value(bench->report, "connection_bytes", "resident memory of the nodes a connection", "bytes",
                     (double)(after - before) / n);
}

static void note_thread_cpu(void *arg)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    *(uint64_t *)arg = (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

/* Processor time so far, of the nodes and of the thread that reads for all watchers. */
static void cpu_used(const struct bench *bench, uint64_t us[2])
{
    us[0] = 0;
    for (uint32_t i = 0; i < bench->system->n_nodes; i++)
        us[0] += process_cpu_us(&bench->system->nodes[i]);
    bench_loop_call(bench->watchers, note_thread_cpu, &us[1]);
}

/* What a model of more watchers than fit on one machine begins with (docs/scale.md). */
static void note_cpu(struct bench *bench, const uint64_t before[2])
{
    uint64_t after[2];
    double deliveries = (double)bench->settings.subscribers * (bench->settings.warmup + bench->settings.writes);
    cpu_used(bench, after);
    report_value(bench->report, "node_cpu_us", "processor time of the nodes a delivery", "us",
                 (double)(after[0] - before[0]) / deliveries);
    report_value(bench->report, "watcher_cpu_us", "processor time of the reader a delivery", "us",
                 (double)(after[1] - before[1]) / deliveries);
}

static lapse_result measure(struct bench *bench, uint32_t leader, struct lapse_error *error)
{
    const struct bench_settings *settings = &bench->settings;
    uint32_t n = settings->warmup + settings->writes;
    const struct spread_options options = {leader, settings->subscribers, settings->warmup, settings->writes,
                                           settings->rate};
    const struct steady_options others = {leader, n, BACKGROUND_ITEMS, settings->background};
    struct spread *spread = NULL;
    struct steady *steady = NULL;
    uint64_t failed = 0, before = resident(bench), cpu[2];
    lapse_result result = spread_open(bench, &options, &spread, error);
    if (lapse_is_ok(result)) {
        note_memory(bench, before);
        result = steady_start(bench->system, bench->writers, &others, &steady, error);
    }
    if (lapse_is_ok(result)) {
        cpu_used(bench, cpu);
        result = spread_run(spread, error);
        note_cpu(bench, cpu);
    }
    if (steady != NULL)
        steady_stop(steady, report_samples(bench->report, "other_ack", "others' writes acknowledged meanwhile"),
                    &failed);
    if (failed > 0)
        report_note(bench->report, "%" PRIu64 " of the others' writes failed", failed);
    spread_close(spread);
    return result;
}

static lapse_result run(struct bench *bench, struct lapse_error *error)
{
    const struct bench_settings *settings = &bench->settings;
    uint32_t n = settings->warmup + settings->writes, leader = 1;
    report_setting(bench->report, "subscribers", settings->subscribers);
    report_setting(bench->report, "writes", settings->writes);
    report_setting(bench->report, "background", settings->background);
    bench->system->quiet_from = n;
    lapse_result result = system_reserve(bench->system, n + BACKGROUND_ITEMS, error);
    if (lapse_is_ok(result))
        result = system_make_items(bench->system, bench->writers, 0, n, 0, error);
    if (lapse_is_ok(result))
        result = bench->system->kind->leader(bench->system, &leader, error);
    return lapse_is_ok(result) ? measure(bench, leader, error) : result;
}

const struct scenario scenario_fanout = {
    .name = "fanout",
    .summary = "thousands of watchers: until the last knows, others' writes meanwhile, memory a connection",
    .flags = "--subscribers --writes --warmup --rate --background",
    .needs = NEEDS_WATCH,
    .check = check,
    .run = run,
};
