/* How long do revocations stand still when a node dies, hangs or is cut off?
 *
 *   revocations, at even distances --+--------x----------+------------------> time
 *                                    |        fault      |  gap: until one that started after the fault is
 *                                    1 s before          |  acknowledged; then 1 s more
 *
 * They are an open loop: each starts when it is due, and its latency counts from there, so what should have happened
 * during the gap is in the figures. Clients are a pool (harness/pool.h) with a connection to each node: what one node
 * does not acknowledge is tried at the next. Watchers at the other nodes tell when each end was known there.
 *
 * Then the node is restarted, resumed or joined again, and it counts how many elections there were that nobody needed:
 * more than one a round for a leader, any for a follower. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bench/harness/pool.h"
#include "bench/harness/scenario.h"
#include "bench/harness/tally.h"
#include "bench/lapse/partition.h"

#define ROUNDS 10
#define RATE 200
/* So much of a stream is prepared; after so long without a leader nothing new starts. */
#define STREAM_S 20
#define PATIENCE_MS 60000
#define EVENT_PATIENCE_MS 10000
#define LEAD_MS 1000
#define LEAD_BRIEF_MS 200

enum fault { FAULT_KILL, FAULT_FREEZE, FAULT_PARTITION };

struct failover {
    struct bench *bench;
    enum fault fault;
    bool leader;                          /* is the victim */
    uint32_t lead_ms, stream, next, made; /* items: the next one that is alive, and how many were made */
    struct pool *pool;
    struct tally *tally;
    struct pool_write *writes;
    uint32_t victim, n_sent;
    int64_t fault_ns, gap_end_ns;
    double needless; /* elections */
};

/* --- the fault ---------------------------------------------------------------------------------------------------- */

static lapse_result fault_inject(struct failover *f, struct lapse_error *error)
{
    struct system *system = f->bench->system;
    struct process *process = &system->nodes[f->victim - 1];
    f->fault_ns = bench_now_ns();
    if (f->fault == FAULT_PARTITION)
        return system->kind->cut(system, f->victim, true, error);
    if (f->fault == FAULT_FREEZE)
        process_freeze(process);
    else
        process_kill(process);
    return lapse_ok();
}

static lapse_result fault_mend(struct failover *f, struct lapse_error *error)
{
    struct system *system = f->bench->system;
    if (f->fault == FAULT_PARTITION)
        return system->kind->cut(system, f->victim, false, error);
    if (f->fault == FAULT_KILL)
        return system->kind->restart(system, f->victim, error);
    process_thaw(&system->nodes[f->victim - 1]);
    return lapse_ok();
}

static const char *fault_name(const struct failover *f)
{
    static const char *const names[][2] = {{"kill -9 of a follower", "kill -9 of the leader"},
                                           {"SIGSTOP of a follower", "SIGSTOP of the leader"},
                                           {"a follower is cut off", "the leader is cut off"}};
    return names[f->fault][f->leader];
}

/* 0: the system doesn't say. */
static double term(struct failover *f, uint32_t node)
{
    struct system *system = f->bench->system;
    double value = 0;
    struct lapse_error ignored;
    if (system->kind->metric == NULL || !lapse_is_ok(system->kind->metric(system, node, "elections", &value, &ignored)))
        return 0;
    return value;
}

/* --- one round ---------------------------------------------------------------------------------------------------- */

/* A stream of items that are alive: what the last rounds have ended is made up for. */
static lapse_result items_fill(struct failover *f, struct lapse_error *error)
{
    uint32_t need = f->next + f->stream - f->made;
    lapse_result result = system_make_items(f->bench->system, f->bench->writers, f->made, need, 0, error);
    if (lapse_is_ok(result))
        f->made += need;
    return result;
}

static void stream_start(struct failover *f)
{
    int64_t begin_ns = bench_now_ns() + 10000000;
    uint32_t rate = f->bench->settings.rate;
    memset(f->writes, 0, f->stream * sizeof *f->writes);
    for (uint32_t i = 0; i < f->stream; i++)
        f->writes[i] = (struct pool_write){.item = f->next + i, .due_ns = begin_ns + (int64_t)i * 1000000000 / rate};
    pool_send_paced(f->pool, f->writes, f->stream);
}

static void pause_ms(uint32_t ms)
{
    struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};
    if (!bench_interrupted())
        (void)nanosleep(&pause, NULL);
}

static lapse_result victim_choose(struct failover *f, struct lapse_error *error)
{
    struct system *system = f->bench->system;
    lapse_result result = system->kind->leader(system, &f->victim, error);
    if (lapse_is_ok(result) && !f->leader)
        f->victim = f->victim % system->n_nodes + 1;
    return result;
}

/* Until all that was sent is acknowledged. */
static lapse_result stream_with_fault(struct failover *f, struct lapse_error *error)
{
    stream_start(f);
    pause_ms(f->lead_ms);
    tally_await(f->tally, f->victim, false);
    lapse_result result = fault_inject(f, error);
    if (lapse_is_ok(result))
        result = pool_wait_first(f->pool, f->fault_ns, PATIENCE_MS, &f->gap_end_ns, error);
    if (lapse_is_ok(result))
        pause_ms(f->lead_ms);
    f->n_sent = pool_stop(f->pool);
    return lapse_is_ok(result) ? pool_wait(f->pool, PATIENCE_MS, error) : result;
}

static void note_write(struct failover *f, const struct pool_write *write)
{
    struct report *report = f->bench->report;
    int64_t latency_ns = write->acked_ns - write->due_ns, told_ns = tally_last_ns(f->tally, write->item);
    bool before = write->acked_ns < f->fault_ns;
    if (write->acked_ns == 0)
        return;
    report_point(report, "acknowledgement", write->due_ns - f->fault_ns, latency_ns);
    if (told_ns != 0)
        report_point(report, "event", write->due_ns - f->fault_ns, told_ns - write->due_ns);
    if (before)
        samples_add(report_samples(report, "before", "acknowledgement of a revocation before the fault"), latency_ns);
    else
        samples_add(report_samples(report, "around", "acknowledgement of a revocation that the fault may touch"),
                    latency_ns);
    if (told_ns != 0 && !before)
        samples_add(report_samples(report, "event_around", "... its event at the last other node's watcher"),
                    told_ns - write->due_ns);
}

/* When the first revocation that started after the fault was known at all other nodes. */
static int64_t first_event_ns(const struct failover *f)
{
    int64_t first_ns = 0;
    for (uint32_t i = 0; i < f->n_sent; i++) {
        int64_t told_ns = f->writes[i].due_ns >= f->fault_ns ? tally_last_ns(f->tally, f->writes[i].item) : 0;
        if (told_ns != 0 && (first_ns == 0 || told_ns < first_ns))
            first_ns = told_ns;
    }
    return first_ns;
}

static lapse_result round_note(struct failover *f, struct lapse_error *error)
{
    struct report *report = f->bench->report;
    uint64_t missing = 0;
    lapse_result result = tally_wait(f->tally, f->next, f->n_sent, EVENT_PATIENCE_MS, &missing, error);
    samples_add(report_samples(report, "gap", "fault to the next acknowledged revocation"),
                f->gap_end_ns - f->fault_ns);
    int64_t event_ns = first_event_ns(f);
    if (event_ns != 0)
        samples_add(report_samples(report, "gap_event", "... its event at the last other node's watcher"),
                    event_ns - f->fault_ns);
    for (uint32_t i = 0; i < f->n_sent; i++)
        note_write(f, &f->writes[i]);
    if (missing > 0)
        report_note(report, "%llu events were not told to a watcher within %d s of the others",
                    (unsigned long long)missing, EVENT_PATIENCE_MS / 1000);
    return result;
}

/* The cluster is whole again, and stays so for a while. */
static lapse_result round_mend(struct failover *f, double term_before, struct lapse_error *error)
{
    struct system *system = f->bench->system;
    uint32_t leader = 0;
    tally_leave_out(f->tally, f->victim);
    pool_close(f->pool);
    f->pool = NULL;
    lapse_result result = fault_mend(f, error);
    if (lapse_is_ok(result))
        pause_ms(f->lead_ms);
    if (lapse_is_ok(result))
        result = system->kind->leader(system, &leader, error);
    if (!lapse_is_ok(result))
        return result;
    double elections = term(f, leader) - term_before;
    f->needless += term_before > 0 && elections > f->leader ? elections - f->leader : 0;
    return tally_take_in(f->tally, f->victim, error);
}

static lapse_result one_round(struct failover *f, struct lapse_error *error)
{
    lapse_result result = items_fill(f, error);
    if (lapse_is_ok(result))
        result = pool_open(f->bench->system, f->bench->writers, &f->pool, error);
    if (lapse_is_ok(result))
        result = tally_arm(f->tally, f->next, f->stream, error);
    if (lapse_is_ok(result))
        result = victim_choose(f, error);
    if (!lapse_is_ok(result))
        return result;
    double term_before = term(f, f->victim);
    result = stream_with_fault(f, error);
    if (lapse_is_ok(result))
        result = round_note(f, error);
    f->next += f->n_sent;
    return lapse_is_ok(result) ? round_mend(f, term_before, error) : result;
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

static bool is_one_of(const char *text, const char *a, const char *b, const char *c)
{
    return strcmp(text, a) == 0 || strcmp(text, b) == 0 || strcmp(text, c) == 0;
}

static lapse_result check(struct bench_settings *settings, struct lapse_error *error)
{
    settings->rounds = settings->rounds > 0 ? settings->rounds : settings->brief ? 1 : ROUNDS;
    settings->rate = settings->rate > 0 ? settings->rate : RATE;
    settings->fault = settings->fault != NULL ? settings->fault : "kill";
    settings->victim = settings->victim != NULL ? settings->victim : "leader";
    if (!is_one_of(settings->fault, "kill", "freeze", "partition"))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--fault is kill, freeze or partition, not \"%s\"",
                          settings->fault);
    if (!is_one_of(settings->victim, "leader", "follower", "leader"))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--victim is leader or follower, not \"%s\"",
                          settings->victim);
    if (settings->rate > 10000)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--rate is at most 10000 for failover");
    /* Before there is any other thread. */
    return strcmp(settings->fault, "partition") == 0 ? partition_isolate(error) : lapse_ok();
}

static lapse_result prepare(struct failover *f, struct lapse_error *error)
{
    struct bench *bench = f->bench;
    const struct bench_settings *settings = &bench->settings;
    const struct system_kind *kind = bench->system->kind;
    if (bench->system->nodes[0].pid == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "failover kills nodes: it starts its own, without --endpoints");
    if (f->fault == FAULT_PARTITION && (kind->can & SYSTEM_CAN_PARTITION) == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s can't be partitioned here: choose --fault freeze",
                          kind->name);
    f->stream = settings->rate * (settings->brief ? 4 : STREAM_S);
    f->lead_ms = settings->brief ? LEAD_BRIEF_MS : LEAD_MS;
    f->writes = mem_calloc(f->stream, sizeof *f->writes);
    report_setting_text(bench->report, "fault", settings->fault);
    report_setting_text(bench->report, "victim", settings->victim);
    report_setting(bench->report, "rounds", settings->rounds);
    report_setting(bench->report, "rate", settings->rate);
    uint64_t items = (uint64_t)f->stream * (settings->rounds + 1);
    if (items > UINT32_MAX / 8)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--rounds and --rate: too many revocations");
    lapse_result result = system_reserve(bench->system, (uint32_t)items, error);
    return lapse_is_ok(result) ? tally_open(bench->system, bench->watchers, 1, (uint32_t)items, &f->tally, error)
                               : result;
}

static lapse_result run(struct bench *bench, struct lapse_error *error)
{
    const struct bench_settings *settings = &bench->settings;
    struct failover f = {.bench = bench,
                         .leader = strcmp(settings->victim, "leader") == 0,
                         .fault = strcmp(settings->fault, "kill") == 0     ? FAULT_KILL
                                  : strcmp(settings->fault, "freeze") == 0 ? FAULT_FREEZE
                                                                           : FAULT_PARTITION};
    lapse_result result = prepare(&f, error);
    uint32_t round = 0;
    for (; round < settings->rounds && lapse_is_ok(result); round++) {
        progress("failover: rounds", round, settings->rounds);
        result = bench_interrupted() ? lapse_fail(error, LAPSE_CANCELLED, "interrupted") : one_round(&f, error);
    }
    report_moment(bench->report, "acknowledgement", 0, fault_name(&f));
    report_moment(bench->report, "event", 0, fault_name(&f));
    report_value(bench->report, "needless_elections", "elections that no fault asked for", "", f.needless);
    pool_close(f.pool);
    tally_close(f.tally);
    free(f.writes);
    return result;
}

const struct scenario scenario_failover = {
    .name = "failover",
    .summary = "a node dies, hangs or is cut off while revocations flow: the gap, and each one's latency",
    .flags = "--rounds --rate --fault --victim",
    .needs = NEEDS_FAIL_OVER | NEEDS_WATCH | NEEDS_THREE_NODES,
    .check = check,
    .run = run,
};
