/* How long until a member is back that was killed beside many items?
 *
 *   kill -9 of a follower --> some writes that it misses --> started --> takes calls ("ready") --> has caught up */
#include "bench/harness/pool.h"
#include "bench/harness/scenario.h"

#include <stdlib.h>

#include "base/bytes.h"

#define ITEMS 1000000
#define ITEMS_BRIEF 1000
#define ROUNDS 3
#define WRITES 1000
#define WRITES_BRIEF 20
#define IN_FLIGHT 64
#define PATIENCE_MS 60000

static lapse_result check(struct bench_settings *settings, struct lapse_error *error)
{
    (void)error;
    settings->items = settings->items > 0 ? settings->items : settings->brief ? ITEMS_BRIEF : ITEMS;
    settings->rounds = settings->rounds > 0 ? settings->rounds : settings->brief ? 1 : ROUNDS;
    settings->writes = settings->writes > 0 ? settings->writes : settings->brief ? WRITES_BRIEF : WRITES;
    if ((uint64_t)settings->writes * settings->rounds > settings->items)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--writes in all --rounds are more than --items has");
    return lapse_ok();
}

/* Ends [first, first + n) while a node is down. */
static lapse_result writes_missed(struct bench *bench, struct pool *pool, uint32_t first, struct lapse_error *error)
{
    uint32_t n = bench->settings.writes;
    struct pool_write *writes = mem_calloc(n, sizeof *writes);
    for (uint32_t i = 0; i < n; i++)
        writes[i].item = first + i;
    pool_send_closed(pool, writes, n, IN_FLIGHT, NULL, NULL);
    lapse_result result = pool_wait(pool, PATIENCE_MS, error);
    (void)pool_stop(pool);
    pool_close(pool);
    free(writes);
    return result;
}

static lapse_result one_round(struct bench *bench, uint32_t round, struct lapse_error *error)
{
    struct system *system = bench->system;
    struct pool *pool = NULL;
    uint32_t leader = 0;
    lapse_result result = system->kind->leader(system, &leader, error);
    if (lapse_is_ok(result))
        result = pool_open(system, bench->writers, &pool, error);
    if (!lapse_is_ok(result))
        return result;
    uint32_t victim = leader % system->n_nodes + 1;
    process_kill(&system->nodes[victim - 1]);
    result = writes_missed(bench, pool, round * bench->settings.writes, error);
    if (!lapse_is_ok(result))
        return result;
    int64_t begin_ns = bench_now_ns();
    system->ready_ns = 0;
    result = system->kind->restart(system, victim, error);
    if (!lapse_is_ok(result))
        return result;
    if (system->ready_ns != 0)
        samples_add(report_samples(bench->report, "ready", "start of the member until it takes calls"),
                    system->ready_ns - begin_ns);
    samples_add(report_samples(bench->report, "caught_up", "... until it has caught up"), bench_now_ns() - begin_ns);
    return result;
}

static lapse_result run(struct bench *bench, struct lapse_error *error)
{
    struct system *system = bench->system;
    const struct bench_settings *settings = &bench->settings;
    report_setting(bench->report, "items", settings->items);
    report_setting(bench->report, "rounds", settings->rounds);
    report_setting(bench->report, "writes", settings->writes);
    if (system->nodes[0].pid == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "restart kills nodes: it starts its own, without --endpoints");
    lapse_result result = system_reserve(system, settings->items, error);
    if (lapse_is_ok(result))
        result = system_make_items(system, bench->writers, 0, settings->items, 0, error);
    for (uint32_t i = 0; i < settings->rounds && lapse_is_ok(result); i++) {
        progress("restart: rounds", i, settings->rounds);
        result = bench_interrupted() ? lapse_fail(error, LAPSE_CANCELLED, "interrupted") : one_round(bench, i, error);
    }
    return result;
}

const struct scenario scenario_restart = {
    .name = "restart",
    .summary = "how long a killed member takes to serve and to catch up beside many items",
    .flags = "--items --rounds --writes",
    .needs = NEEDS_FAIL_OVER | NEEDS_THREE_NODES,
    .check = check,
    .run = run,
};
