/* How many writes a second are acknowledged, and how long each takes, with so many under way.
 *
 * A closed loop: a connection at the leader keeps its share in flight, and starts the next write when one is done. Half
 * of them make items, half end what was made: the mix of a store in its steady state. (A closed loop tells what the
 * system can do; how long a write takes at a given load is what --rate tells.) */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "bench/harness/scenario.h"

#define CONNECTIONS 4u
#define NS_PER_S 1000000000LL
#define ITEMS_MAX 4000000u
/* Of the first second only what comes after this much counts: connections and caches are warm then. */
#define WARM_UP_NS (NS_PER_S / 2)
#define DRAIN_MS 30000

struct load;

/* One of those in flight: makes an item, ends it, and so on. Or, paced, one write. */
struct lane {
    struct load *load;
    struct system_writer *writer;
    uint32_t item;
    bool made;
    int64_t start_ns;
};

struct load {
    struct bench *bench;
    struct system_writer *writers[CONNECTIONS];
    struct lane *lanes;
    struct bench_gate *gate; /* opens when the last lane has stopped */
    uint32_t n_lanes, next_item, items_max;
    int64_t begin_ns, warm_ns, end_ns;
    struct samples make, end;
    uint64_t failed;
    struct lapse_error failure;
};

static lapse_result check(struct bench_settings *settings, struct lapse_error *error)
{
    (void)error;
    if (settings->in_flight == 0)
        settings->in_flight = 64;
    if (settings->seconds == 0)
        settings->seconds = settings->brief ? 1 : 10;
    return lapse_ok();
}

static void go_on(struct lane *lane);

static void on_done(void *arg, const struct lapse_error *error)
{
    struct lane *lane = arg;
    struct load *load = lane->load;
    int64_t now = bench_now_ns();
    if (error != NULL && error->code == LAPSE_CANCELLED) { /* its writer is being closed: nothing more goes there */
        bench_gate_step(load->gate);
        return;
    }
    if (error != NULL) {
        if (load->failed++ == 0)
            load->failure = *error;
        lane->made = false; /* the next attempt is another item */
    } else {
        if (lane->start_ns >= load->warm_ns && now <= load->end_ns)
            samples_add(lane->made ? &load->end : &load->make, now - lane->start_ns);
        lane->made = !lane->made;
    }
    go_on(lane);
}

static void go_on(struct lane *lane)
{
    struct load *load = lane->load;
    const struct system_kind *kind = load->bench->system->kind;
    lane->start_ns = bench_now_ns();
    bool out_of_items = !lane->made && load->next_item == load->items_max;
    if (lane->start_ns >= load->end_ns || out_of_items || load->failed > load->n_lanes || bench_interrupted()) {
        bench_gate_step(load->gate);
        return;
    }
    if (lane->made) {
        kind->item_end(lane->writer, lane->item, on_done, lane);
    } else {
        lane->item = load->next_item++;
        kind->item_make(lane->writer, lane->item, 0, on_done, lane);
    }
}

static void begin(void *arg)
{
    struct load *load = arg;
    load->begin_ns = bench_now_ns();
    load->warm_ns = load->begin_ns + (load->bench->settings.brief ? 0 : WARM_UP_NS);
    load->end_ns = load->warm_ns + load->bench->settings.seconds * NS_PER_S;
    for (uint32_t i = 0; i < load->n_lanes; i++)
        go_on(&load->lanes[i]);
}

static void note(struct load *load)
{
    struct report *report = load->bench->report;
    double seconds = load->bench->settings.seconds;
    size_t n = load->make.n + load->end.n;
    report_value(report, "acknowledged_per_s", "acknowledged writes", "1/s", (double)n / seconds);
    *report_samples(report, "make", "made: acknowledged") = load->make;
    *report_samples(report, "end", "ended: acknowledged") = load->end;
    if (load->failed > 0)
        report_note(report, "%" PRIu64 " writes failed, the first: %s", load->failed, load->failure.message);
    if (load->next_item == load->items_max)
        report_note(report, "it ran out of items before its time was over");
}

static lapse_result open_writers(struct load *load, struct lapse_error *error)
{
    const struct system_kind *kind = load->bench->system->kind;
    uint32_t leader = 1;
    lapse_result result = kind->leader(load->bench->system, &leader, error);
    for (uint32_t i = 0; i < CONNECTIONS && lapse_is_ok(result); i++)
        result = kind->writer_open(load->bench->system, load->bench->writers, leader, &load->writers[i], error);
    load->lanes = mem_calloc(load->n_lanes, sizeof *load->lanes);
    for (uint32_t i = 0; i < load->n_lanes; i++)
        load->lanes[i] = (struct lane){.load = load, .writer = load->writers[i % CONNECTIONS]};
    return result;
}

static lapse_result load_run(struct load *load, struct lapse_error *error)
{
    uint32_t seconds = load->bench->settings.seconds + 1;
    lapse_result result = lapse_ok();
    bench_gate_expect(load->gate, load->n_lanes);
    bench_loop_call(load->bench->writers, begin, load);
    for (uint32_t s = 0; !bench_gate_wait(load->gate, 1000) && lapse_is_ok(result); s++) {
        progress("seconds", s, seconds);
        result = system_check(load->bench->system, error);
        if (lapse_is_ok(result) && bench_interrupted())
            result = lapse_fail(error, LAPSE_CANCELLED, "interrupted");
        else if (lapse_is_ok(result) && s > seconds + DRAIN_MS / 1000)
            result = lapse_fail(error, LAPSE_UNAVAILABLE, "writes are not acknowledged any more");
    }
    if (lapse_is_ok(result) && load->failed > load->n_lanes)
        result = lapse_fail(error, load->failure.code, "writes fail: %.200s", load->failure.message);
    return result;
}

static lapse_result run(struct bench *bench, struct lapse_error *error)
{
    const struct bench_settings *settings = &bench->settings;
    struct load load = {.bench = bench, .n_lanes = settings->in_flight, .items_max = ITEMS_MAX};
    report_setting(bench->report, "in_flight", settings->in_flight);
    report_setting(bench->report, "connections", CONNECTIONS);
    report_setting(bench->report, "seconds", settings->seconds);
    load.gate = bench_gate_new();
    lapse_result result = system_reserve(bench->system, ITEMS_MAX, error);
    if (lapse_is_ok(result))
        result = open_writers(&load, error);
    if (lapse_is_ok(result))
        result = load_run(&load, error);
    /* Closing them ends what is under way, so that nothing of this frame is in use. */
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        bench->system->kind->writer_close(load.writers[i]);
    note(&load);
    bench_gate_free(load.gate);
    free(load.lanes);
    return result;
}

const struct scenario scenario_throughput = {
    .name = "throughput",
    .summary = "writes acknowledged a second with so many under way: half of them make, half end",
    .flags = "--in-flight --seconds",
    .needs = 0,
    .check = check,
    .run = run,
};
