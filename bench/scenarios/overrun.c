/* Does a deadline hold when the leader dies before it?
 *
 *   items made, ttl 10 s ---- 7 s: kill -9 of the leader ---- 10 s: their deadlines -- events at the other nodes
 *
 * A system that begins to count anew in its new leader lets them live on. How long an item outlives its deadline is
 * reckoned from (sent + ttl), the least that its deadline can be (see expiry.c).
 *
 * With Lapse real guards ask all the time whether the item's grant still allows: the last permit is compared with the
 * latest that the deadline can be (acknowledged + ttl). Not one may come after it. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bench/harness/pool.h"
#include "bench/harness/scenario.h"
#include "bench/harness/tally.h"
#include "bench/lapse/points.h"

#define ROUNDS 3
#define ITEMS 100
#define TTL_MS 10000
#define TTL_BRIEF_MS 2000
#define PATIENCE_MS 60000
#define IN_FLIGHT 16
#define POINTS 3
#define SWEEP_NS 200000

struct overrun {
    struct bench *bench;
    struct tally *tally;
    struct pool_write *makes;
    int64_t ttl_ms;
    uint32_t first; /* item of this round */

    struct lapse_points *points; /* NULL: not Lapse */
    pthread_t checker;
    atomic_bool stop;
    int64_t *permitted_ns; /* by item of this round: the last permit at any point */
    uint64_t checks;
};

/* --- the points --------------------------------------------------------------------------------------------------- */

static void *check_all_the_time(void *arg)
{
    struct overrun *o = arg;
    while (!atomic_load(&o->stop)) {
        for (uint32_t i = 0; i < o->bench->settings.items; i++)
            for (uint32_t point = 0; point < POINTS; point++) {
                /* Before the question: when it was permitted is no earlier than that. */
                int64_t now_ns = bench_now_ns();
                if (lapse_points_check(o->points, point, o->first + i))
                    o->permitted_ns[i] = now_ns;
                o->checks++;
            }
        (void)nanosleep(&(struct timespec){0, SWEEP_NS}, NULL);
    }
    return NULL;
}

static void checker_start(struct overrun *o)
{
    if (o->points == NULL)
        return;
    memset(o->permitted_ns, 0, o->bench->settings.items * sizeof *o->permitted_ns);
    atomic_store(&o->stop, false);
    CHECK(pthread_create(&o->checker, NULL, check_all_the_time, o) == 0);
}

static void checker_stop(struct overrun *o)
{
    if (o->points == NULL)
        return;
    atomic_store(&o->stop, true);
    CHECK(pthread_join(o->checker, NULL) == 0);
}

/* --- one round ---------------------------------------------------------------------------------------------------- */

static void pause_until(int64_t at_ns)
{
    int64_t left_ns;
    while ((left_ns = at_ns - bench_now_ns()) > 0 && !bench_interrupted()) {
        int64_t step_ns = left_ns < 100000000 ? left_ns : 100000000;
        (void)nanosleep(&(struct timespec){0, step_ns}, NULL);
    }
}

static lapse_result make(struct overrun *o, struct lapse_error *error)
{
    struct pool *pool = NULL;
    uint32_t n = o->bench->settings.items;
    lapse_result result = tally_arm(o->tally, o->first, n, error);
    if (lapse_is_ok(result))
        result = pool_open(o->bench->system, o->bench->writers, &pool, error);
    if (!lapse_is_ok(result))
        return result;
    for (uint32_t i = 0; i < n; i++)
        o->makes[i] = (struct pool_write){.item = o->first + i, .verb = POOL_MAKE, .ttl_ms = o->ttl_ms};
    pool_send_closed(pool, o->makes, n, IN_FLIGHT, NULL, NULL);
    result = pool_wait(pool, PATIENCE_MS, error);
    (void)pool_stop(pool);
    pool_close(pool);
    return result;
}

static void note_item(struct overrun *o, uint32_t i)
{
    struct report *report = o->bench->report;
    const struct pool_write *write = &o->makes[i];
    int64_t told_ns = tally_last_ns(o->tally, write->item), ttl_ns = o->ttl_ms * 1000000;
    if (told_ns != 0)
        samples_add(report_samples(report, "outlived", "event at the last other node's watcher, after the deadline"),
                    told_ns - (write->sent_ns + ttl_ns));
    if (o->points != NULL && o->permitted_ns[i] != 0)
        samples_add(report_samples(report, "last_permit", "last permit at any point, after the latest deadline"),
                    o->permitted_ns[i] - (write->acked_ns + ttl_ns));
}

static lapse_result round_wait(struct overrun *o, struct lapse_error *error)
{
    uint64_t missing = 0;
    uint32_t n = o->bench->settings.items;
    pause_until(o->makes[0].sent_ns + o->ttl_ms * 1000000);
    lapse_result result = tally_wait(o->tally, o->first, n, PATIENCE_MS, &missing, error);
    if (missing > 0)
        report_note(o->bench->report, "%" PRIu64 " events were not told within %d s of the deadline", missing,
                    PATIENCE_MS / 1000);
    return result;
}

static lapse_result one_round(struct overrun *o, struct lapse_error *error)
{
    struct system *system = o->bench->system;
    uint32_t leader = 0;
    lapse_result result = make(o, error);
    if (!lapse_is_ok(result))
        return result;
    checker_start(o);
    pause_until(o->makes[0].sent_ns + o->ttl_ms * 700000);
    result = system->kind->leader(system, &leader, error);
    if (lapse_is_ok(result)) {
        process_kill(&system->nodes[leader - 1]);
        tally_leave_out(o->tally, leader);
        result = round_wait(o, error);
    }
    checker_stop(o);
    for (uint32_t i = 0; i < o->bench->settings.items; i++)
        note_item(o, i);
    o->first += o->bench->settings.items;
    if (lapse_is_ok(result))
        result = system->kind->restart(system, leader, error);
    return lapse_is_ok(result) ? tally_take_in(o->tally, leader, error) : result;
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

static lapse_result check(struct bench_settings *settings, struct lapse_error *error)
{
    settings->rounds = settings->rounds > 0 ? settings->rounds : settings->brief ? 1 : ROUNDS;
    settings->items = settings->items > 0 ? settings->items : settings->brief ? 10 : ITEMS;
    if (settings->items > 1000 || (uint64_t)settings->items * settings->rounds > 10000000)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--items is at most 1000 for overrun");
    return lapse_ok();
}

static lapse_result prepare(struct overrun *o, struct lapse_error *error)
{
    struct bench *bench = o->bench;
    const struct system_kind *kind = bench->system->kind;
    int64_t step = kind->ttl_ms_step > 0 ? kind->ttl_ms_step : 1;
    uint32_t total = bench->settings.items * bench->settings.rounds;
    o->ttl_ms = bench->settings.brief ? TTL_BRIEF_MS : TTL_MS;
    o->ttl_ms = o->ttl_ms > kind->ttl_ms_min ? o->ttl_ms : kind->ttl_ms_min;
    o->ttl_ms = (o->ttl_ms + step - 1) / step * step;
    report_setting(bench->report, "items", bench->settings.items);
    report_setting(bench->report, "rounds", bench->settings.rounds);
    report_setting(bench->report, "ttl_ms", o->ttl_ms);
    if (bench->system->nodes[0].pid == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "overrun kills nodes: it starts its own, without --endpoints");
    o->makes = mem_calloc(bench->settings.items, sizeof *o->makes);
    o->permitted_ns = mem_calloc(bench->settings.items, sizeof *o->permitted_ns);
    lapse_result result = system_reserve(bench->system, total, error);
    if (lapse_is_ok(result))
        result = tally_open(bench->system, bench->watchers, 1, total, &o->tally, error);
    if (lapse_is_ok(result) && strcmp(kind->name, "lapse") == 0)
        result = lapse_points_open(bench->system, POINTS, &o->points, error);
    return result;
}

static void note_permits(struct overrun *o)
{
    struct report *report = o->bench->report;
    struct samples *last = report_samples(report, "last_permit", "last permit at any point, after the latest deadline");
    uint64_t late = 0;
    for (size_t i = 0; i < last->n; i++)
        late += last->ns[i] > 0;
    report_value(report, "permits_after_deadline", "items that a point permitted after the deadline", "", (double)late);
    report_value(report, "permit_checks", "questions to the points", "", (double)o->checks);
}

static lapse_result run(struct bench *bench, struct lapse_error *error)
{
    struct overrun o = {.bench = bench};
    lapse_result result = prepare(&o, error);
    for (uint32_t i = 0; i < bench->settings.rounds && lapse_is_ok(result); i++) {
        progress("overrun: rounds", i, bench->settings.rounds);
        result = bench_interrupted() ? lapse_fail(error, LAPSE_CANCELLED, "interrupted") : one_round(&o, error);
    }
    if (o.points != NULL)
        note_permits(&o);
    lapse_points_close(o.points);
    tally_close(o.tally);
    free(o.makes);
    free(o.permitted_ns);
    return result;
}

const struct scenario scenario_overrun = {
    .name = "overrun",
    .summary = "how long an item outlives its deadline when the leader dies before it",
    .flags = "--items --rounds",
    .needs = NEEDS_EXPIRY | NEEDS_FAIL_OVER | NEEDS_WATCH | NEEDS_THREE_NODES,
    .check = check,
    .run = run,
};
