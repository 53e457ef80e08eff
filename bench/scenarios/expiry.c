/* How late does a deadline's event come?
 *
 *   item_make(ttl) sent ------- acknowledged ---------------------- deadline ---- event at the last watcher
 *     |<------------------ ttl ----------------->|<--- "lateness" ----------------------->|
 *                        |<------------------ ttl ----------------->|<- "lateness_least" ->|
 *
 * No system says by this machine's clock when its deadline is: it lies between (sent + ttl) and (acknowledged + ttl).
 * The true lateness is between the two figures; `lateness`, the greater one, is what is compared.
 *
 * 1. Single deadlines, one at a time, at random phases of whatever clock the system sweeps by.
 * 2. A burst: N items whose deadlines lie within one second, spread evenly (for systems that take whole seconds only:
 *    as evenly as the makes were sent). Meanwhile other writes start at even distances; their latency before, during
 *    and after says what a cliff costs everybody else.
 * Both beside M other items whose deadlines are far away, if asked for. */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bench/harness/pool.h"
#include "bench/harness/scenario.h"
#include "bench/harness/tally.h"

#define ROUNDS 30
#define ITEMS 10000
#define RATE 100
#define IN_FLIGHT 64
#define SINGLE_TTL_MS 300
#define FAR_MS 3600000
#define PATIENCE_MS 60000
/* Redis may look at a deadline a minute late, when it has many others. */
#define EVENT_PATIENCE_MS 120000
#define WINDOW_NS 1000000000LL
/* Other writes go on for so long at most. */
#define WRITES_S 300
/* Makes may turn out slower than those that it was reckoned by: so many times, and so much. */
#define SLOWER 2
#define SPARE_MS 1500
#define PILOT_MIN 100u
#define PILOT_MAX 50000u

struct expiry {
    struct bench *bench;
    struct tally *tally;
    struct pool *pool, *others; /* the burst's writers; the other writes' */
    uint32_t next;              /* the next item's number */
    int64_t window_ns;          /* where the burst's deadlines begin */
    uint32_t first, n;          /* the burst's items */
    uint32_t late_made;         /* made too late for the window */
    struct pool_write alone;    /* the single deadline's: the pool looks at it until it is closed */
    struct pool_write *makes, *writes;
    uint32_t n_writes;
    uint64_t random;
};

/* --- deadlines ---------------------------------------------------------------------------------------------------- */

/* The least that the system takes and that is no less than `ms`. */
static int64_t ttl_allowed(const struct system_kind *kind, int64_t ms)
{
    int64_t step = kind->ttl_ms_step > 0 ? kind->ttl_ms_step : 1;
    ms = ms > kind->ttl_ms_min ? ms : kind->ttl_ms_min;
    return (ms + step - 1) / step * step;
}

static void note_lateness(struct expiry *x, const char *prefix, const struct pool_write *make)
{
    struct report *report = x->bench->report;
    char name[64], what[80];
    int64_t last_ns = tally_last_ns(x->tally, make->item), ttl_ns = make->ttl_ms * 1000000;
    if (last_ns == 0 || make->acked_ns == 0)
        return;
    snprintf(name, sizeof name, "%s_lateness", prefix);
    snprintf(what, sizeof what, "%s: event at the last watcher, after (sent + ttl)", prefix);
    samples_add(report_samples(report, name, what), last_ns - (make->sent_ns + ttl_ns));
    snprintf(name, sizeof name, "%s_lateness_least", prefix);
    samples_add(report_samples(report, name, "... after (acknowledged + ttl)"), last_ns - (make->acked_ns + ttl_ns));
}

static lapse_result events_wait(struct expiry *x, uint32_t first, uint32_t n, struct lapse_error *error)
{
    uint64_t missing;
    lapse_result result = tally_wait(x->tally, first, n, EVENT_PATIENCE_MS, &missing, error);
    if (lapse_is_ok(result) && missing > 0)
        report_note(x->bench->report,
                    "%" PRIu64 " of %" PRIu64
                    " events were not told: none came for %d s. A watcher that is left too far "
                    "behind gets the state instead, or nothing",
                    missing, (uint64_t)n * x->bench->system->n_nodes, EVENT_PATIENCE_MS / 1000);
    return result;
}

static void pause_ms(uint32_t ms)
{
    if (!bench_interrupted())
        (void)nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}

/* --- one at a time ------------------------------------------------------------------------------------------------ */

static uint32_t next_random(struct expiry *x)
{
    x->random ^= x->random << 13;
    x->random ^= x->random >> 7;
    x->random ^= x->random << 17;
    return (uint32_t)(x->random >> 32);
}

static lapse_result single(struct expiry *x, struct lapse_error *error)
{
    struct pool_write *make = &x->alone;
    *make = (struct pool_write){
        .item = x->next++, .verb = POOL_MAKE, .ttl_ms = ttl_allowed(x->bench->system->kind, SINGLE_TTL_MS)};
    lapse_result result = tally_arm(x->tally, make->item, 1, error);
    if (!lapse_is_ok(result))
        return result;
    pause_ms(next_random(x) % 500);
    pool_send_closed(x->pool, make, 1, 1, NULL, NULL);
    result = pool_wait(x->pool, PATIENCE_MS, error);
    if (lapse_is_ok(result))
        result = events_wait(x, make->item, 1, error);
    if (lapse_is_ok(result))
        note_lateness(x, "single", make);
    return result;
}

static lapse_result singles(struct expiry *x, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    for (uint32_t i = 0; i < x->bench->settings.rounds && lapse_is_ok(result); i++) {
        progress("expiry: single deadlines", i, x->bench->settings.rounds);
        result = bench_interrupted() ? lapse_fail(error, LAPSE_CANCELLED, "interrupted") : single(x, error);
    }
    return result;
}

/* --- many in one second ------------------------------------------------------------------------------------------- */

/* On the writers' loop, when the make is about to be sent: the ttl that brings its deadline into the window. */
static void aim(void *arg, struct pool_write *make)
{
    struct expiry *x = arg;
    const struct system_kind *kind = x->bench->system->kind;
    int64_t now_ns = bench_now_ns();
    int64_t target_ns = x->window_ns + (int64_t)((double)(make->item - x->first) / x->n * WINDOW_NS);
    if (kind->ttl_ms_step > 1)
        target_ns = x->window_ns;
    make->ttl_ms = ttl_allowed(kind, (target_ns - now_ns + 999999) / 1000000);
    x->late_made += now_ns + make->ttl_ms * 1000000 >= x->window_ns + 2 * WINDOW_NS;
}

static uint32_t pilot_items(const struct expiry *x)
{
    uint32_t n = x->n / 10;
    return n < PILOT_MIN ? PILOT_MIN : n > PILOT_MAX ? PILOT_MAX : n;
}

/* Items without a near deadline, to see how fast this system makes them. */
static lapse_result pilot(struct expiry *x, double *per_s, struct lapse_error *error)
{
    uint32_t n = pilot_items(x);
    struct pool_write *writes = mem_calloc(n, sizeof *writes);
    for (uint32_t i = 0; i < n; i++)
        writes[i] = (struct pool_write){.item = x->next++, .verb = POOL_MAKE, .ttl_ms = FAR_MS};
    int64_t begin_ns = bench_now_ns();
    pool_send_closed(x->pool, writes, n, IN_FLIGHT, NULL, NULL);
    lapse_result result = pool_wait(x->pool, PATIENCE_MS, error);
    *per_s = n * 1e9 / (double)(bench_now_ns() - begin_ns);
    free(writes);
    return result;
}

static lapse_result burst_make(struct expiry *x, struct lapse_error *error)
{
    const struct bench *bench = x->bench;
    double per_s = 0;
    lapse_result result = pilot(x, &per_s, error);
    if (!lapse_is_ok(result))
        return result;
    x->first = x->next;
    x->next += x->n;
    for (uint32_t i = 0; i < x->n; i++)
        x->makes[i] = (struct pool_write){.item = x->first + i, .verb = POOL_MAKE};
    result = tally_arm(x->tally, x->first, x->n, error);
    int64_t making_ns = (int64_t)(SLOWER * 1e9 * x->n / per_s);
    x->window_ns = bench_now_ns() + making_ns + (ttl_allowed(bench->system->kind, 1) + SPARE_MS) * 1000000;
    if (!lapse_is_ok(result))
        return result;
    pool_send_closed(x->pool, x->makes, x->n, IN_FLIGHT, aim, x);
    return pool_wait(x->pool, PATIENCE_MS, error);
}

static void others_start(struct expiry *x)
{
    int64_t begin_ns = bench_now_ns() + 10000000;
    for (uint32_t i = 0; i < x->n_writes; i++)
        x->writes[i] = (struct pool_write){.item = x->next + i,
                                           .verb = POOL_MAKE,
                                           .ttl_ms = FAR_MS,
                                           .due_ns = begin_ns + (int64_t)i * 1000000000 / x->bench->settings.rate};
    x->next += x->n_writes;
    pool_send_paced(x->others, x->writes, x->n_writes);
}

static void note_other(struct expiry *x, const struct pool_write *write, int64_t end_ns)
{
    struct report *report = x->bench->report;
    int64_t latency_ns = write->acked_ns - write->due_ns;
    if (write->acked_ns == 0)
        return;
    report_point(report, "other_writes", write->due_ns - x->window_ns, latency_ns);
    if (write->acked_ns < x->window_ns)
        samples_add(report_samples(report, "writes_before", "other writes acknowledged before the deadlines"),
                    latency_ns);
    else if (write->due_ns < end_ns)
        samples_add(report_samples(report, "writes_during", "... while deadlines pass"), latency_ns);
}

static void note_burst(struct expiry *x, uint32_t n_others)
{
    struct report *report = x->bench->report;
    int64_t end_ns = x->window_ns + WINDOW_NS;
    for (uint32_t i = 0; i < x->n; i++) {
        int64_t last_ns = tally_last_ns(x->tally, x->makes[i].item);
        end_ns = last_ns > end_ns ? last_ns : end_ns;
        note_lateness(x, "burst", &x->makes[i]);
    }
    for (uint32_t i = 0; i < n_others; i++)
        note_other(x, &x->writes[i], end_ns);
    report_moment(report, "other_writes", 0, "the deadlines begin");
    report_moment(report, "other_writes", end_ns - x->window_ns, "the last event");
    report_value(report, "burst_took", "from the first deadline to the last event", "s",
                 (double)(end_ns - x->window_ns) / 1e9);
    if (x->late_made > 0)
        report_note(report, "%u items were made too late for the window: their deadlines came after it", x->late_made);
}

/* Metrics before and after: 0 when the system doesn't say. */
static double metric(struct expiry *x, uint32_t node, const char *name)
{
    struct system *system = x->bench->system;
    struct lapse_error ignored;
    double value = 0;
    if (system->kind->metric != NULL && !lapse_is_ok(system->kind->metric(system, node, name, &value, &ignored)))
        value = 0;
    return value;
}

static void note_metrics(struct expiry *x, double term_before)
{
    struct system *system = x->bench->system;
    double longest = 0, term = metric(x, 1, "elections");
    for (uint32_t node = 1; node <= system->n_nodes; node++) {
        double us = metric(x, node, "loop_us_max");
        longest = us > longest ? us : longest;
    }
    if (term > 0)
        report_value(x->bench->report, "elections", "elections during the burst", "", term - term_before);
    if (longest > 0)
        report_value(x->bench->report, "loop_max", "longest iteration of a node's core loop, ever", "ms",
                     longest / 1000);
}

static lapse_result burst(struct expiry *x, struct lapse_error *error)
{
    double term_before = metric(x, 1, "elections");
    progress("expiry: making items", 0, x->n);
    lapse_result result = burst_make(x, error);
    if (!lapse_is_ok(result))
        return result;
    int64_t calm_ns = x->window_ns - bench_now_ns() - 2 * WINDOW_NS;
    if (calm_ns > 0)
        pause_ms((uint32_t)(calm_ns / 1000000));
    progress("expiry: deadlines", 0, x->n);
    others_start(x);
    result = events_wait(x, x->first, x->n, error);
    if (lapse_is_ok(result))
        pause_ms(200);
    uint32_t n_others = pool_stop(x->others);
    if (lapse_is_ok(result))
        result = pool_wait(x->others, PATIENCE_MS, error);
    note_burst(x, n_others);
    note_metrics(x, term_before);
    return result;
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

static lapse_result check(struct bench_settings *settings, struct lapse_error *error)
{
    bool both = settings->rounds == 0 && settings->items == 0;
    if (both) {
        settings->rounds = settings->brief ? 2 : ROUNDS;
        settings->items = settings->brief ? 100 : ITEMS;
    }
    settings->rate = settings->rate > 0 ? settings->rate : RATE;
    if (settings->rate > 10000)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--rate is at most 10000 for expiry");
    if ((uint64_t)settings->items + settings->beside > 10000000)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--items and --beside together are at most 10000000");
    return lapse_ok();
}

static lapse_result prepare(struct expiry *x, struct lapse_error *error)
{
    struct bench *bench = x->bench;
    const struct bench_settings *settings = &bench->settings;
    report_setting(bench->report, "rounds", settings->rounds);
    report_setting(bench->report, "items", settings->items);
    report_setting(bench->report, "beside", settings->beside);
    report_setting(bench->report, "rate", settings->rate);
    x->n = settings->items;
    x->n_writes = settings->items > 0 ? settings->rate * WRITES_S : 0;
    uint32_t total = settings->beside + settings->rounds + PILOT_MAX + x->n + x->n_writes;
    x->makes = mem_calloc(x->n + 1, sizeof *x->makes);
    x->writes = mem_calloc(x->n_writes + 1, sizeof *x->writes);
    lapse_result result = system_reserve(bench->system, total, error);
    if (lapse_is_ok(result))
        result = system_make_items(bench->system, bench->writers, 0, settings->beside, FAR_MS, error);
    x->next = settings->beside;
    if (lapse_is_ok(result))
        result = tally_open(bench->system, bench->watchers, 1, total, &x->tally, error);
    if (lapse_is_ok(result))
        result = pool_open(bench->system, bench->writers, &x->pool, error);
    return lapse_is_ok(result) ? pool_open(bench->system, bench->writers, &x->others, error) : result;
}

static lapse_result run(struct bench *bench, struct lapse_error *error)
{
    struct expiry x = {.bench = bench, .random = 88172645463325252ULL};
    lapse_result result = prepare(&x, error);
    if (lapse_is_ok(result))
        result = singles(&x, error);
    if (lapse_is_ok(result) && x.n > 0)
        result = burst(&x, error);
    pool_close(x.others);
    pool_close(x.pool);
    tally_close(x.tally);
    free(x.makes);
    free(x.writes);
    return result;
}

const struct scenario scenario_expiry = {
    .name = "expiry",
    .summary = "how late a deadline's event comes: one at a time, and many within one second",
    .flags = "--rounds --items --beside --rate",
    .needs = NEEDS_EXPIRY | NEEDS_WATCH,
    .check = check,
    .run = run,
};
