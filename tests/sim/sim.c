/* A run: an eventful part, then everything heals, every node must serve again, and all must agree. */
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/chaos.h"
#include "tests/sim/client.h"
#include "tests/sim/network.h"
#include "tests/sim/node.h"
#include "tests/sim/oracle_points.h"
#include "tests/sim/oracle.h"
#include "tests/sim/point.h"
#include "tests/sim/subscriber.h"

/* After healing: how soon a cluster must be as good as new. Elections take less than a second. */
#define RECOVERY_US (10 * SIM_SECOND)
/* And how long it is watched at least, so that what is overdue has time to end. */
#define SETTLE_US (2 * SIM_SECOND)
/* A change of members that is under way ends. */
#define MEMBERS_US (SIM_SECOND / 2)
/* Beyond the longest lease, for barriers and points. */
#define POINTS_US SIM_SECOND
/* When a cluster that nobody disturbs is certainly there. */
#define FIRST_LEADER_US (3 * SIM_SECOND)
/* Far above what a run has: something spins. */
#define EVENTS_MAX 20000000u

const char *sim_break_name(enum sim_break broken)
{
    static const char *const names[BREAK_COUNT] = {
        "nothing",    "durable",    "vote",       "order",     "ring", "expiry",     "read",  "lease-point",
        "lease-node", "lease-term", "lease-life", "admission", "ack",  "cache-back", "chain", "lock"};
    return names[broken];
}

void sim_fail(struct sim *sim, const char *guarantee, const char *format, ...)
{
    if (sim->failed) {
        return;
    }
    sim->failed = true;
    int n = snprintf(sim->failure, sizeof(sim->failure), "%s at %" PRId64 ".%06" PRId64 " s: ", guarantee,
                     sim->now_us / SIM_SECOND, sim->now_us % SIM_SECOND);
    va_list args;
    va_start(args, format);
    vsnprintf(sim->failure + n, sizeof(sim->failure) - (size_t)n, format, args);
    va_end(args);
    if (sim->trace) {
        printf("VIOLATED: %s\n", sim->failure);
    }
}

uint64_t sim_hash_bytes(uint64_t hash, struct slice bytes)
{
    uint64_t word;
    size_t at = 0;
    for (; at + 8 <= bytes.len; at += 8) {
        memcpy(&word, bytes.data + at, 8);
        hash = sim_mix(hash, word);
    }
    word = bytes.len;
    for (; at < bytes.len; at++) {
        word = word << 8 | bytes.data[at];
    }
    return sim_mix(hash, word);
}

void sim_trace(struct sim *sim, uint64_t node, const char *what, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t hash = sim_mix(sim->trace_hash, (uint64_t)sim->now_us);
    hash = sim_mix(sim_mix(hash, node), sim_hash_bytes(0, slice_str(what)));
    sim->trace_hash = sim_mix(sim_mix(sim_mix(hash, a), b), c);
    if (sim->trace) {
        printf("%4" PRId64 ".%06" PRId64 " n%" PRIu64 " %-14s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
               sim->now_us / SIM_SECOND, sim->now_us % SIM_SECOND, node, what, a, b, c);
    }
}

/* --- Chance --- */

uint64_t sim_below(struct sim *sim, uint64_t bound)
{
    return prng_below(&sim->prng, bound);
}

int64_t sim_between(struct sim *sim, int64_t low, int64_t high)
{
    CHECK(low <= high);
    return low + (int64_t)sim_below(sim, (uint64_t)(high - low) + 1);
}

bool sim_chance(struct sim *sim, uint32_t ppm)
{
    return ppm > 0 && sim_below(sim, 1000000) < ppm;
}

/* A geometric number of whole means, and a uniform part of one. */
int64_t sim_around(struct sim *sim, int64_t mean)
{
    int64_t value = 1 + (int64_t)sim_below(sim, (uint64_t)mean);
    for (int i = 0; i < 7 && sim_chance(sim, 350000); i++) {
        value += mean;
    }
    return value;
}

void sim_random_bytes(struct sim *sim, uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)prng_next(&sim->prng);
    }
}

void sim_after(struct sim *sim, int64_t delay_us, event_cb run, void *arg, uint64_t tag)
{
    events_add(&sim->events, (struct event){.at_us = sim->now_us + delay_us, .run = run, .arg = arg, .tag = tag});
}

/* --- The course of a run --- */

static void run_until(struct sim *sim, int64_t until_us)
{
    struct event event;
    while (!sim->failed && events_next_us(&sim->events) <= until_us && events_take(&sim->events, &event)) {
        sim->now_us = event.at_us;
        event.run(event.arg, event.tag);
        if (++sim->n_events > EVENTS_MAX) {
            sim_fail(sim, "liveness", "the run does not get ahead: something spins");
        }
    }
    if (!sim->failed) {
        sim->now_us = until_us;
    }
}

/* Runs until `ready` or the time is up; false when it is. */
static bool run_until_ready(struct sim *sim, int64_t until_us, bool (*ready)(struct sim *sim))
{
    while (!sim->failed && !ready(sim)) {
        if (sim->now_us >= until_us) {
            return false;
        }
        run_until(sim, sim->now_us + 10 * SIM_MILLISECOND);
    }
    return true;
}

static bool has_leader(struct sim *sim)
{
    return nodes_leader(sim) != NULL;
}

static bool serves_again(struct sim *sim)
{
    return clients_probed(sim->clients);
}

static bool agrees(struct sim *sim)
{
    return oracle_has_converged(sim->oracle) && subscribers_caught_up(sim->subscribers);
}

static bool points_are_quiet(struct sim *sim)
{
    return points_model_quiet(sim->points_oracle) && sim_points_settled(sim->points);
}

/* No barrier takes longer than the longest lease, and every point is allowed to decide again. */
static void recover_points(struct sim *sim)
{
    int64_t lease_us = sim->profile->point_lease_ms * SIM_MILLISECOND;
    int64_t begun_us = sim->now_us > sim->quiet_at_us ? sim->now_us : sim->quiet_at_us;
    if (run_until_ready(sim, begun_us + lease_us + lease_us / 48 + POINTS_US, points_are_quiet)) {
        return;
    }
    sim_fail(sim, "liveness", "%" PRId64 " ms after all is quiet %s", (sim->now_us - begun_us) / 1000,
             points_model_quiet(sim->points_oracle) ? "a point does not decide" : "a barrier is not done");
}

static void recover(struct sim *sim)
{
    sim_trace(sim, 0, "heal", 0, 0, 0);
    int64_t until_us = sim->now_us + RECOVERY_US;
    int64_t settled_us = sim->now_us + SETTLE_US;
    chaos_heal(sim->chaos);
    if (!run_until_ready(sim, until_us, has_leader)) {
        sim_fail(sim, "liveness", "10 s after all faults ended nobody leads");
    }
    run_until(sim, sim->now_us + MEMBERS_US);
    clients_probe(sim->clients);
    if (!run_until_ready(sim, until_us, serves_again)) {
        sim_fail(sim, "liveness", "10 s after all faults ended not every node serves a write and a read");
    }
    sim->quiet_at_us = sim->now_us + SIM_SECOND;
    clients_stop(sim->clients);
    subscribers_settle(sim->subscribers);
    run_until(sim, sim->now_us > settled_us ? sim->now_us : settled_us);
    if (!run_until_ready(sim, until_us + SETTLE_US, agrees)) {
        if (!sim->failed && oracle_has_converged(sim->oracle)) {
            sim_fail(sim, "G7", "12 s after all faults ended a subscriber has not seen every event");
        }
    }
    if (!sim->failed) {
        oracle_check_converged(sim->oracle);
    }
    if (!sim->failed) {
        recover_points(sim);
    }
}

static void draw_world(struct sim *sim, const struct sim_options *options)
{
    sim->profile = profile_at(sim_below(sim, profile_count()));
    if (options->profile != NULL) {
        sim->profile = options->profile;
    }
    uint64_t size = sim_below(sim, 100);
    sim->quiet_at_us = sim->profile->fault_gap_us == 0 ? FIRST_LEADER_US : INT64_MAX;
    sim->n_voters = sim->profile->newcomers > 0 ? 3 : size < 4 ? 1 : size < 80 ? 3 : 5;
    sim->n_nodes = sim->n_voters + sim->profile->newcomers;
    sim->oracle = oracle_new(sim);
    nodes_new(sim);
    sim->network = network_new(sim);
    sim->clients = clients_new(sim);
    sim->subscribers = subscribers_new(sim);
    sim->points = sim_points_new(sim);
    sim->chaos = chaos_new(sim);
}

static void destroy_world(struct sim *sim)
{
    nodes_free(sim);
    events_free(&sim->events);
    clients_free(sim->clients);
    subscribers_free(sim->subscribers);
    sim_points_free(sim->points);
    chaos_free(sim->chaos);
    network_free(sim->network);
    oracle_free(sim->oracle);
}

static void report(const struct sim *sim, struct sim_result *result)
{
    struct oracle_counts counts;
    struct oracle_point_counts points;
    oracle_counts(sim->oracle, &counts);
    points_model_counts(sim->points_oracle, &points);
    *result = (struct sim_result){.failed = sim->failed,
                                  .profile = sim->profile->name,
                                  .trace_hash = sim->trace_hash,
                                  .n_events = sim->n_events,
                                  .commands = counts.commands,
                                  .revisions = counts.revisions,
                                  .acknowledged = counts.acknowledged,
                                  .reads = counts.reads,
                                  .elections = counts.elections,
                                  .early_elections = sim->early_elections,
                                  .wrong_hints = sim->wrong_hints,
                                  .snapshots = counts.snapshots,
                                  .resyncs = subscribers_resyncs(sim->subscribers),
                                  .promises = points.promises,
                                  .permits = points.permits,
                                  .barriers = points.barriers,
                                  .told = points.told,
                                  .lapsed = points.receipts[RECEIPT_LAPSED],
                                  .failed_receipts = points.receipts[RECEIPT_FAILED],
                                  .virtual_us = sim->now_us};
    oracle_governance_counts(sim->oracle, &result->governance);
    memcpy(result->failure, sim->failure, sizeof(result->failure));
}

void sim_run(const struct sim_options *options, struct sim_result *result)
{
    struct sim sim = {
        .seed = options->seed, .prng = {options->seed}, .broken = options->broken, .trace = options->trace};
    sim.trace_hash = options->seed;
    draw_world(&sim, options);
    int64_t length_us = sim_between(&sim, 5 * SIM_SECOND, 15 * SIM_SECOND);
    if (options->virtual_us != 0) {
        length_us = options->virtual_us;
    }
    for (uint32_t i = 0; i < sim.n_nodes && !sim.failed; i++) {
        node_start(sim.nodes[i]);
    }
    run_until(&sim, length_us);
    if (!sim.failed) {
        recover(&sim);
    }
    for (uint32_t i = 0; i < sim.n_nodes; i++) {
        node_count(sim.nodes[i]);
    }
    report(&sim, result);
    destroy_world(&sim);
}
