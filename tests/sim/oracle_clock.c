/* G3: cluster time against true time.
 *
 * Cluster time is nobody's clock, so it is known by its effects. An entry that was applied proves that cluster time had
 * come that far; a read's answer is an upper bound of it. Between two such moments it must have advanced as clocks do
 * that are wrong by no more than their drift:
 *
 *      ms ^            .' at most           A failover that resets, freezes or jumps cluster time leaves the corridor.
 *         |         .'  .'
 *         |       o'  .'  at least          SLACK covers what an honest cluster can lose in a change of leaders: the
 *         |        .x'                      fastest of the frames that told the next leader what time it is.
 *         +-----------------------> us
 *
 * The corridor holds while a majority has known cluster time without a gap. After that wall clocks may decide anew;
 * where these are honest, cluster time must stay near to them through everything. */
#include "tests/sim/oracle_internal.h"

#include <inttypes.h>

#include "tests/sim/node.h"

#define SLACK_MS 300
/* A successor that knows nothing itself takes over its voter's upper bound, which may be VAGUE_MS off, and adds the
 * round trip of that vote: early by both at most. */
#define HANDED_ON_MS 150
/* Bounds that are further apart than this tell little. Less than SLACK_MS. */
#define VAGUE_MS 200
/* After time was lost a successor that knows it only vaguely goes on from its upper bound: early, never late. Bounds
 * are as far apart as frames were held up, in a paused process or a cut link: as long as a fault lasts at most
 * (sim_around). */
#define HELD_UP_MEANS 8
/* After time was lost, how long nodes must agree: whoever knew better, and was cut off, has come back and given in. */
#define REUNION_US (3 * SIM_SECOND)

void clock_model_init(struct clock_model *model, struct sim *sim)
{
    *model = (struct clock_model){.sim = sim};
}

/* What a node takes for an upper bound of cluster time; INT64_MAX when it knows none. */
static int64_t estimate_of(const struct sim_node *node)
{
    struct replica_status status = {0};
    if (node->up) {
        replica_get_status(node->replica, &status);
    }
    return status.time_ms == 0 ? INT64_MAX : status.time_ms;
}

/* Whoever is asked: among any majority of voters somebody knows. A node whose bound lies far above the others' has
 * heard of cluster time only through frames that were held up: nothing that a successor could go on from exactly. */
static bool majority_knows(const struct sim *sim, bool *agree)
{
    uint32_t ignorant = 0, vague = 0;
    int64_t best_ms = INT64_MAX;
    for (uint32_t i = 0; i < sim->n_nodes; i++) {
        int64_t estimate_ms = estimate_of(sim->nodes[i]);
        best_ms = estimate_ms < best_ms ? estimate_ms : best_ms;
    }
    for (uint32_t i = 0; i < sim->n_nodes; i++) {
        int64_t estimate_ms = estimate_of(sim->nodes[i]);
        ignorant += estimate_ms == INT64_MAX;
        vague += estimate_ms != INT64_MAX && estimate_ms > best_ms + VAGUE_MS;
    }
    *agree = vague == 0;
    return 2 * (ignorant + vague) < sim->n_voters;
}

void clock_model_recount(struct clock_model *model)
{
    bool agree;
    if (!majority_knows(model->sim, &agree)) {
        model->anchored = model->has_low = model->has_high = false;
        model->lost_us = model->sim->now_us;
    }
}

static bool anchor(struct clock_model *model)
{
    bool agree;
    int64_t now_us = model->sim->now_us;
    if (model->anchored) {
        return true;
    }
    if (!majority_knows(model->sim, &agree) || !agree) {
        model->lost_us = model->lost_us == 0 ? 0 : now_us;
    } else if (model->lost_us == 0 || now_us - model->lost_us > REUNION_US) {
        model->anchored = true;
        model->anchored_us = now_us;
    }
    return model->anchored;
}

static int64_t drift_of(const struct clock_model *model, int64_t span_us)
{
    return span_us * model->sim->profile->drift_ppm / 1000000 / 1000;
}

/* Clocks of different drift take over from one another: what they disagree by since the anchor. */
static int64_t tolerance_ms(const struct clock_model *model)
{
    return SLACK_MS + 2 * drift_of(model, model->sim->now_us - model->anchored_us);
}

int64_t clock_model_low_ms(const struct clock_model *model, int64_t at_us)
{
    if (!model->has_low || at_us < model->low_us) {
        return INT64_MIN;
    }
    int64_t span_us = at_us - model->low_us;
    return model->low_ms + span_us / 1000 - drift_of(model, span_us) - tolerance_ms(model);
}

static int64_t high_ms_now(const struct clock_model *model)
{
    if (!model->has_high) {
        return INT64_MAX;
    }
    int64_t span_us = model->sim->now_us - model->high_us;
    return model->high_ms + span_us / 1000 + drift_of(model, span_us) + tolerance_ms(model) + HANDED_ON_MS;
}

/* Honest walls differ from the truth by their skew only, and so does what was made from them. */
static void check_against_walls(const struct clock_model *model, int64_t time_ms, int64_t estimated_ms)
{
    const struct profile *profile = model->sim->profile;
    if (profile->wall_step_ms != 0) {
        return;
    }
    int64_t truth_ms = SIM_EPOCH_WALL_MS + model->sim->now_us / 1000;
    int64_t bound = profile->wall_skew_ms + drift_of(model, model->sim->now_us) + SLACK_MS + estimated_ms;
    if (model->lost_us != 0) {
        bound += HELD_UP_MEANS * profile->fault_length_us / 1000;
    }
    if (time_ms > truth_ms + bound) {
        sim_fail(model->sim, "G3", "cluster time is %" PRId64 " ms ahead of every wall clock", time_ms - truth_ms);
    }
}

void clock_model_at_least(struct clock_model *model, int64_t time_ms)
{
    check_against_walls(model, time_ms, 0);
    if (!anchor(model)) {
        return;
    }
    if (time_ms > high_ms_now(model)) {
        sim_fail(model->sim, "G3", "cluster time jumps ahead: an entry's time is %" PRId64 " ms past what clocks allow",
                 time_ms - high_ms_now(model));
        return;
    }
    if (time_ms - SLACK_MS > clock_model_low_ms(model, model->sim->now_us)) {
        model->has_low = true;
        model->low_us = model->sim->now_us;
        model->low_ms = time_ms;
    }
}

void clock_model_at_most(struct clock_model *model, int64_t time_ms, int64_t estimated_ms)
{
    check_against_walls(model, time_ms, estimated_ms);
    if (!anchor(model)) {
        return;
    }
    if (model->has_high && time_ms - estimated_ms > high_ms_now(model)) {
        sim_fail(model->sim, "G3", "cluster time jumps ahead: a read's time is %" PRId64 " ms past what clocks allow",
                 time_ms - estimated_ms - high_ms_now(model));
        return;
    }
    if (!model->has_high || time_ms + SLACK_MS < high_ms_now(model)) {
        model->has_high = true;
        model->high_us = model->sim->now_us;
        model->high_ms = time_ms;
    }
}
