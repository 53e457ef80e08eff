#include "bench/harness/spread.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bench/harness/pacer.h"

#define NS_PER_S 1000000000LL
#define PATIENCE_MS 30000
#define POLL_MS 500

/* One item's way. Written by one loop each, read by the scenario when the gate has opened or both loops are still. */
struct spreading {
    struct spread *spread;
    int64_t start_ns, ack_ns;             /* writers' loop */
    int64_t first_ns, median_ns, last_ns; /* watchers' loop; 0: not yet */
    uint32_t told;
};

struct spread {
    struct bench *bench;
    struct spread_options options;
    struct system_writer *writer;
    struct system_watcher *watchers;
    struct spreading *items;
    uint32_t n;
    struct bench_gate *gate; /* two steps an item: acknowledged, and told to the last; one without watchers */
    struct pacer *pacer;
    uint32_t next; /* to be started */
    int64_t begin_ns;
    _Atomic uint64_t strays;
    struct lapse_error refusal; /* writers' loop; code OK: none */
    _Atomic bool refused;
};

/* --- loops -------------------------------------------------------------------------------------------------------- */

static void on_gone(void *arg, uint32_t item)
{
    struct spread *spread = arg;
    if (item >= spread->n) {
        atomic_fetch_add(&spread->strays, 1);
        return;
    }
    struct spreading *one = &spread->items[item];
    uint32_t watchers = spread->options.watchers, told = ++one->told;
    int64_t now = bench_now_ns();
    if (told == 1)
        one->first_ns = now;
    if (told == (watchers + 1) / 2)
        one->median_ns = now;
    if (told == watchers) {
        one->last_ns = now;
        bench_gate_step(spread->gate);
    } else if (told > watchers) {
        atomic_fetch_add(&spread->strays, 1);
    }
}

static void on_done(void *arg, const struct lapse_error *error)
{
    struct spreading *one = arg;
    struct spread *spread = one->spread;
    if (error == NULL) {
        one->ack_ns = bench_now_ns();
        bench_gate_step(spread->gate);
    } else if (error->code != LAPSE_CANCELLED && !atomic_load(&spread->refused)) {
        spread->refusal = *error;
        atomic_store(&spread->refused, true);
    }
}

static void end_item(struct spread *spread, uint32_t item, int64_t start_ns)
{
    spread->items[item].start_ns = start_ns;
    spread->bench->system->kind->item_end(spread->writer, item, on_done, &spread->items[item]);
}

static void send_next(void *arg)
{
    struct spread *spread = arg;
    uint32_t item = spread->next++;
    end_item(spread, item, bench_now_ns());
}

static int64_t due_of(const struct spread *spread, uint32_t i)
{
    return spread->begin_ns + (int64_t)((double)i * NS_PER_S / spread->options.rate);
}

static void on_due(void *arg)
{
    struct spread *spread = arg;
    int64_t now = bench_now_ns();
    while (spread->next < spread->n && due_of(spread, spread->next) <= now) {
        uint32_t item = spread->next++;
        end_item(spread, item, due_of(spread, item));
    }
    if (spread->next < spread->n)
        pacer_set(spread->pacer, due_of(spread, spread->next));
}

static void begin_paced(void *arg)
{
    struct spread *spread = arg;
    spread->begin_ns = bench_now_ns();
    spread->pacer = pacer_new(bench_loop_uv(spread->bench->writers), on_due, spread);
    pacer_set(spread->pacer, spread->begin_ns);
}

static void end_paced(void *arg)
{
    struct spread *spread = arg;
    pacer_close(spread->pacer);
    spread->pacer = NULL;
}

/* --- the scenario's thread ---------------------------------------------------------------------------------------- */

static uint32_t steps_of_one(const struct spread *spread)
{
    return spread->options.watchers > 0 ? 2 : 1;
}

/* Waits until all that was expected has come, and looks from time to time whether it still can. */
static lapse_result wait_for(struct spread *spread, int64_t patience_ms, struct lapse_error *error)
{
    int64_t until_ns = bench_now_ns() + patience_ms * 1000000;
    lapse_result result = lapse_ok();
    while (lapse_is_ok(result) && !bench_gate_wait(spread->gate, POLL_MS)) {
        if (bench_interrupted())
            result = lapse_fail(error, LAPSE_CANCELLED, "interrupted");
        else if (atomic_load(&spread->refused))
            result = lapse_fail(error, spread->refusal.code, "a write was not acknowledged: %.200s",
                                spread->refusal.message);
        else if (bench_now_ns() > until_ns)
            result = lapse_fail(error, LAPSE_UNAVAILABLE,
                                "not every watcher was told of every end within %" PRId64 " s", patience_ms / 1000);
        else
            result = system_check(spread->bench->system, error);
    }
    return result;
}

static lapse_result arm(struct spread *spread, uint32_t first, uint32_t n, struct lapse_error *error)
{
    const struct system_kind *kind = spread->bench->system->kind;
    if (kind->watchers_arm == NULL || spread->options.watchers == 0)
        return lapse_ok();
    return kind->watchers_arm(spread->watchers, first, n, error);
}

static lapse_result run_closed(struct spread *spread, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    for (uint32_t i = 0; i < spread->n && lapse_is_ok(result); i++) {
        progress("ending items", i, spread->n);
        result = arm(spread, i, 1, error);
        if (!lapse_is_ok(result))
            break;
        bench_gate_expect(spread->gate, steps_of_one(spread));
        bench_loop_call(spread->bench->writers, send_next, spread);
        result = wait_for(spread, PATIENCE_MS, error);
    }
    return result;
}

static lapse_result run_open(struct spread *spread, struct lapse_error *error)
{
    int64_t length_ms = (int64_t)spread->n * 1000 / spread->options.rate;
    lapse_result result = arm(spread, 0, spread->n, error);
    if (!lapse_is_ok(result))
        return result;
    progress("ending items at a rate", 0, 0);
    bench_gate_expect(spread->gate, spread->n * steps_of_one(spread));
    bench_loop_call(spread->bench->writers, begin_paced, spread);
    result = wait_for(spread, length_ms + PATIENCE_MS, error);
    bench_loop_call(spread->bench->writers, end_paced, spread);
    return result;
}

static void nothing(void *arg)
{
    (void)arg;
}

static void add(struct samples *samples, int64_t at_ns, int64_t start_ns)
{
    if (at_ns != 0 && start_ns != 0)
        samples_add(samples, at_ns - start_ns);
}

static void collect(struct spread *spread)
{
    struct report *report = spread->bench->report;
    struct samples *ack = report_samples(report, "ack", "acknowledged to its caller"), *first, *median, *last;
    /* What the loops wrote is seen after a call to each. */
    bench_loop_call(spread->bench->writers, nothing, NULL);
    bench_loop_call(spread->bench->watchers, nothing, NULL);
    for (uint32_t i = spread->options.warmup; i < spread->n; i++)
        add(ack, spread->items[i].ack_ns, spread->items[i].start_ns);
    if (atomic_load(&spread->strays) > 0)
        report_note(report, "watchers were told %" PRIu64 " times of what they knew", atomic_load(&spread->strays));
    if (spread->options.watchers == 0)
        return;
    first = report_samples(report, "first", "told to the first watcher");
    median = report_samples(report, "median", "told to half of the watchers");
    last = report_samples(report, "last", "told to the last watcher");
    for (uint32_t i = spread->options.warmup; i < spread->n; i++) {
        const struct spreading *one = &spread->items[i];
        if (one->last_ns == 0)
            continue; /* of a run that failed */
        add(first, one->first_ns, one->start_ns);
        add(median, one->median_ns, one->start_ns);
        add(last, one->last_ns, one->start_ns);
    }
}

lapse_result spread_run(struct spread *spread, struct lapse_error *error)
{
    lapse_result result = spread->options.rate == 0 ? run_closed(spread, error) : run_open(spread, error);
    progress_end();
    collect(spread);
    return result;
}

lapse_result spread_open(struct bench *bench, const struct spread_options *options, struct spread **out,
                         struct lapse_error *error)
{
    const struct system_kind *kind = bench->system->kind;
    struct spread *spread = mem_calloc(1, sizeof *spread);
    spread->bench = bench;
    spread->options = *options;
    spread->n = options->warmup + options->writes;
    spread->items = mem_calloc(spread->n, sizeof *spread->items);
    for (uint32_t i = 0; i < spread->n; i++)
        spread->items[i].spread = spread;
    spread->gate = bench_gate_new();
    lapse_result result = kind->writer_open(bench->system, bench->writers, options->node, &spread->writer, error);
    if (lapse_is_ok(result) && options->watchers > 0)
        /* All watchers have the same argument: nobody asks which of them was told. */
        result = kind->watchers_open(bench->system, bench->watchers, options->watchers, 0, on_gone, spread, 0,
                                     &spread->watchers, error);
    progress_end();
    if (lapse_is_ok(result))
        *out = spread;
    else
        spread_close(spread);
    return result;
}

void spread_close(struct spread *spread)
{
    if (spread == NULL)
        return;
    if (spread->watchers != NULL)
        spread->bench->system->kind->watchers_close(spread->watchers);
    spread->bench->system->kind->writer_close(spread->writer);
    bench_gate_free(spread->gate);
    free(spread->items);
    free(spread);
}
