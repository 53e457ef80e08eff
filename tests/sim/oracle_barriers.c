/* G5: what a barrier ended, who has to confirm it, who did, and what callers were told of it. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/oracle_points_internal.h"

static struct known_barrier *find_barrier(const struct points_model *model, uint64_t id)
{
    for (uint32_t i = model->n_barriers; i-- > 0;) {
        if (model->barriers[i].id == id) {
            return &model->barriers[i];
        }
    }
    return NULL;
}

static struct known_barrier *open_barrier(struct points_model *model, uint64_t id, struct slice scope)
{
    model->barriers = model_grown(model->barriers, model->n_barriers, &model->barriers_max, sizeof(*model->barriers));
    struct known_barrier *barrier = &model->barriers[model->n_barriers++];
    *barrier = (struct known_barrier){.id = id, .first = id, .opened_us = model->sim->now_us};
    CHECK(slice_to_cstr(scope, barrier->scope, sizeof(barrier->scope)));
    return barrier;
}

static void barrier_ends(struct known_barrier *barrier, struct grant_id grant)
{
    barrier->grants = mem_realloc(barrier->grants, (barrier->n_grants + 1) * sizeof(*barrier->grants));
    barrier->grants[barrier->n_grants++] = grant;
}

/* Who has to confirm: all that are registered in its scope. */
static void expect_points(struct points_model *model, struct known_barrier *barrier, uint64_t revision)
{
    barrier->revision = revision;
    barrier->expected = mem_calloc(model->n_instances + 1, sizeof(*barrier->expected));
    for (uint32_t i = 0; i < model->n_instances; i++) {
        const struct known_instance *instance = &model->instances[i];
        if (model_is_live(instance) && scope_overlaps(slice_str(instance->point->scope), slice_str(barrier->scope))) {
            barrier->expected[barrier->n_expected++] = (struct expected){.instance = i};
        }
    }
}

static bool matches(const struct store_filter *filter, const struct known_grant *grant)
{
    return (filter->subject.len == 0 || slice_equal(filter->subject, slice_str(grant->subject))) &&
           (filter->requester.len == 0 || slice_equal(filter->requester, slice_str(grant->requester))) &&
           (filter->person.len == 0 || principal_same(filter->person, slice_str(grant->subject)) ||
            principal_same(filter->person, slice_str(grant->requester))) &&
           (filter->resource.len == 0 || slice_equal(filter->resource, slice_str(grant->resource)) ||
            resource_covers(filter->resource, slice_str(grant->resource)));
}

/* An offboarding's barrier is that of its sweep: the lock comes before it. */
static uint32_t lock_of(const struct points_model *model, enum lock_kind kind, struct slice target)
{
    const struct known_lock *lock = target.len == 0 ? NULL : model_find_lock(model, kind, target);
    return lock == NULL ? 0 : (uint32_t)(lock - model->locks) + 1;
}

void model_sweep_begins(struct points_model *model, const struct sweep *sweep)
{
    struct slice scope = sweep->filter.resource.len == 0 ? slice_str("*") : sweep->filter.resource;
    struct known_barrier *barrier = open_barrier(model, sweep->id, scope);
    barrier->lock = lock_of(model, LOCK_SUBJECT, sweep->filter.person);
    /* What a policy's next version would not allow is the policy's secret: oracle_governance.c asks what is left. */
    for (uint32_t i = 0; i < model->n_grants && sweep->filter.policy.len == 0; i++) {
        const struct known_grant *grant = &model->grants[i];
        if (!grant_state_is_ended(grant->state) && matches(&sweep->filter, grant)) {
            barrier_ends(barrier, grant->id);
        }
    }
}

/* Ended, or past its own time or that of one above it: the clock's end is still to come, and denied already. */
static bool is_over(const struct points_model *model, const struct known_grant *grant, int64_t time_ms)
{
    while (grant != NULL) {
        int64_t end_ms = grant->state == GRANT_PENDING ? grant->pending_until_ms : grant->deadline_ms;
        if (grant_state_is_ended(grant->state) || (end_ms != 0 && end_ms <= time_ms)) {
            return true;
        }
        grant = grant_id_is_zero(grant->parent) ? NULL : model_find_grant(model, grant->parent);
    }
    return false;
}

void model_sweep_ends(struct points_model *model, const struct sweep *sweep, const struct store_event *event)
{
    struct known_barrier *barrier = find_barrier(model, sweep->id);
    for (uint32_t i = 0; i < barrier->n_grants; i++) {
        if (!is_over(model, model_find_grant(model, barrier->grants[i]), event->time_ms)) {
            sim_fail(model->sim, "G5", "a sweep that began at revision %" PRIu64 " is over and has left out a grant",
                     sweep->id);
        }
    }
    expect_points(model, barrier, event->revision);
    barrier->done = barrier->n_expected == 0;
}

static struct expected *find_expected(const struct points_model *model, const struct known_barrier *barrier,
                                      const struct known_instance *instance)
{
    for (uint32_t i = 0; i < barrier->n_expected; i++) {
        if (&model->instances[barrier->expected[i].instance] == instance) {
            return &barrier->expected[i];
        }
    }
    return NULL;
}

static bool all_said(const struct known_barrier *barrier)
{
    for (uint32_t i = 0; i < barrier->n_expected; i++) {
        if (barrier->expected[i].level == 0) {
            return false;
        }
    }
    return barrier->revision != 0;
}

/* An event comes before its command, which brings the receipts. */
void model_barrier_closes(struct points_model *model, const struct store_event *event)
{
    struct known_barrier *barrier = find_barrier(model, event->barrier->id);
    if (barrier == NULL || barrier->done || barrier->closing) {
        sim_fail(model->sim, "G5", "barrier %" PRIu64 " is done%s", event->barrier->id,
                 barrier == NULL ? ", and was never opened" : " twice");
        return;
    }
    barrier->closing = true;
    barrier->counted = event->barrier->points;
}

static void close_barrier(struct points_model *model, struct known_barrier *barrier)
{
    barrier->closing = false;
    barrier->done = true;
    model->counts.barriers++;
    if (!all_said(barrier)) {
        sim_fail(model->sim, "G5", "barrier %" PRIu64 " is done without a receipt of every point in its scope",
                 barrier->id);
    } else if (barrier->counted != barrier->n_expected) {
        sim_fail(model->sim, "G5", "barrier %" PRIu64 " counts %u points, and %u were registered in its scope",
                 barrier->id, barrier->counted, barrier->n_expected);
    }
}

/* --- Receipts --- */

static bool has_ended(const struct points_model *model, const struct known_barrier *barrier, struct grant_id id)
{
    const struct known_grant *grant = model_find_grant(model, id);
    return barrier->first <= grant->ended && grant->ended <= barrier->revision;
}

/* Whether it said that it could not end a session under what this barrier ended. */
static bool has_failed(const struct points_model *model, const struct known_instance *instance,
                       const struct known_barrier *barrier)
{
    for (uint32_t f = 0; f < instance->n_failed; f++) {
        const struct known_failure *failed = &instance->failed[f];
        if (failed->by_lock && barrier->lock != 0 && failed->first <= barrier->id && barrier->id <= failed->last &&
            model_lock_denies(&model->locks[barrier->lock - 1], model_find_grant(model, failed->grant))) {
            return true;
        }
        if (failed->by_lock || !has_ended(model, barrier, failed->grant)) {
            continue;
        }
        for (uint32_t g = 0; g < barrier->n_grants; g++) {
            if (model_is_below(model, failed->grant, barrier->grants[g])) {
                return true;
            }
        }
    }
    return false;
}

void model_check_waited_out(struct points_model *model, const struct known_instance *instance)
{
    if (instance->promised_until_us > model->sim->now_us) {
        sim_fail(model->sim, "G5", "point %u is taken for lapsed %" PRId64 " ms before its promise runs out",
                 instance->point->number, (instance->promised_until_us - model->sim->now_us) / 1000);
    }
}

/* What a leader says about a point, when it decides it and when it is written down. */
static void check_receipt(struct points_model *model, const struct receipt *receipt)
{
    struct sim *sim = model->sim;
    const struct known_instance *instance = model_find_instance(model, receipt->instance);
    const struct known_barrier *barrier = find_barrier(model, receipt->barrier);
    if (instance == NULL || barrier == NULL) {
        sim_fail(sim, "G5", "a receipt for barrier %" PRIu64 " of nobody who is registered", receipt->barrier);
        return;
    }
    bool confirmed = instance->enforced >= barrier->revision && !has_failed(model, instance, barrier);
    if (receipt->level == RECEIPT_ENFORCED && !confirmed) {
        sim_fail(sim, "G5", "point %u is said to have enforced barrier %" PRIu64 ", and has not",
                 instance->point->number, barrier->id);
    } else if (receipt->level == RECEIPT_FAILED && instance->received < barrier->revision) {
        sim_fail(sim, "G5", "point %u is said to deny what barrier %" PRIu64 " ended, and has not received it",
                 instance->point->number, barrier->id);
    } else if (receipt->level == RECEIPT_LEFT && !instance->left) {
        sim_fail(sim, "G5", "point %u is said to have left", instance->point->number);
    } else if (receipt->level == RECEIPT_LAPSED && !instance->left && instance->ended == 0) {
        model_check_waited_out(model, instance);
    }
}

static void check_end(struct points_model *model, const struct command *command)
{
    const struct known_instance *instance = model_find_instance(model, command->instance);
    if (instance != NULL && instance->ended == 0 && !instance->left) {
        model_check_waited_out(model, instance);
    }
}

static void check_decision(struct points_model *model, const struct command *command)
{
    struct slice receipts = command->receipts;
    struct receipt receipt;
    if (command->type == COMMAND_END_POINT) {
        check_end(model, command);
    }
    while (command->type == COMMAND_RECEIPTS && receipts_next(&receipts, &receipt)) {
        check_receipt(model, &receipt);
    }
}

void points_model_decided(struct points_model *model, uint64_t term, const struct command *command)
{
    if (model_superseded_us(model, term) == INT64_MAX) {
        check_decision(model, command);
    }
}

void model_note_level(struct points_model *model, struct known_barrier *barrier, struct known_instance *instance,
                      uint32_t level)
{
    struct expected *expected = find_expected(model, barrier, instance);
    if (expected != NULL && expected->level == 0) {
        expected->level = level;
        model->counts.receipts[level]++;
    }
}

static void note_receipts(struct points_model *model, struct slice receipts)
{
    struct receipt receipt;
    while (receipts_next(&receipts, &receipt)) {
        struct known_instance *instance = model_find_instance(model, receipt.instance);
        struct known_barrier *barrier = find_barrier(model, receipt.barrier);
        if (instance != NULL && barrier != NULL) {
            model_note_level(model, barrier, instance, receipt.level);
        }
    }
}

static void revoked(struct points_model *model, const struct command *command, const struct store_outcome *outcome)
{
    const struct known_grant *grant = model_find_grant(model, command->grant);
    CHECK(grant != NULL);
    struct known_barrier *barrier = open_barrier(model, outcome->revision, slice_str(grant->resource));
    barrier->first = outcome->revision - outcome->n_events + 1;
    barrier_ends(barrier, grant->id);
    expect_points(model, barrier, outcome->revision);
    barrier->done = barrier->n_expected == 0;
}

/* Points have to confirm it as they confirm an end; a point's own lock has no barrier. */
static void locked(struct points_model *model, const struct command *command, const struct store_outcome *outcome)
{
    struct lock lock;
    lapse_result decoded = lock_decode(command->value, &lock, NULL);
    CHECK(lapse_is_ok(decoded));
    if (lock.kind == LOCK_POINT) {
        return;
    }
    struct slice scope = lock.kind == LOCK_RESOURCE ? lock.target : slice_str("*");
    struct known_barrier *barrier = open_barrier(model, outcome->revision, scope);
    barrier->lock = lock_of(model, lock.kind, lock.target);
    expect_points(model, barrier, outcome->revision);
    barrier->done = barrier->n_expected == 0;
}

void points_model_applied(struct points_model *model, const struct command *command,
                          const struct store_outcome *outcome)
{
    bool works = outcome->error.code == LAPSE_OK && !outcome->repeated;
    if (command->type == COMMAND_REVOKE && works) {
        revoked(model, command, outcome);
    } else if (command->type == COMMAND_LOCK && works) {
        locked(model, command, outcome);
    } else if (command->type == COMMAND_RECEIPTS) {
        check_decision(model, command);
        note_receipts(model, command->receipts);
    }
    for (uint32_t i = 0; i < model->n_barriers; i++) {
        if (model->barriers[i].closing) {
            close_barrier(model, &model->barriers[i]);
        }
    }
}

/* --- What callers are told --- */

/* Whether the point has at least denied what the barrier ended. */
static bool denies(const struct points_model *model, const struct known_barrier *barrier,
                   const struct expected *expected, enum receipt_level level)
{
    const struct known_instance *instance = &model->instances[expected->instance];
    if (level != RECEIPT_ENFORCED) {
        return expected->level != 0 || instance->received >= barrier->revision;
    }
    return expected->level != 0 && expected->level != RECEIPT_FAILED;
}

void points_model_told(struct points_model *model, uint64_t id, enum receipt_level level)
{
    struct known_barrier *barrier = find_barrier(model, id);
    if (barrier == NULL || barrier->revision == 0) {
        sim_fail(model->sim, "G5", "a caller is told OK of a barrier %" PRIu64 " that %s", id,
                 barrier == NULL ? "nobody opened" : "is not complete");
        return;
    }
    for (uint32_t i = 0; i < barrier->n_expected; i++) {
        if (!denies(model, barrier, &barrier->expected[i], level)) {
            sim_fail(model->sim, "G5", "a caller is told OK of barrier %" PRIu64 ", and point %u has not confirmed it",
                     id, model->instances[barrier->expected[i].instance].point->number);
        }
    }
    for (uint32_t i = 0; i < barrier->n_grants; i++) {
        model_find_grant(model, barrier->grants[i])->told = true;
    }
    struct known_lock *lock = barrier->lock == 0 ? NULL : &model->locks[barrier->lock - 1];
    if (lock != NULL && lock->since != 0 && lock->since <= barrier->id) {
        lock->told = true;
    }
    model->counts.told++;
    for (uint32_t i = 0; i < sim_points_count(model->sim->points); i++) {
        point_decide(point_at(model->sim->points, i));
    }
}

/* --- The end --- */

bool points_model_quiet(const struct points_model *model)
{
    for (uint32_t i = 0; i < model->n_barriers; i++) {
        if (!model->barriers[i].done) {
            return false;
        }
    }
    return true;
}
