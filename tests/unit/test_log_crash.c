/* The log against a simple model, with crashes everywhere: whatever was acknowledged is there afterwards, and what was
 * not is there as a clean prefix or not at all.
 *
 * The model keeps what is acknowledged (`now`) and, for the one operation under way, what it would lead to (`next`).
 * After a crash the log must be one of the states between the two. A failure prints the seed. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/unit/log_fixture.h"

#define MODEL_ENTRIES 4096

struct model_state {
    uint64_t term, voted_for;
    uint64_t snapshot_index, snapshot_term;
    uint64_t base; /* index before the first entry that must be there */
    uint64_t last;
    uint64_t terms[MODEL_ENTRIES]; /* by index */
    uint64_t nonces[MODEL_ENTRIES];
};

struct model {
    struct node node;
    struct prng prng;
    uint64_t seed;
    bool formatted;
    struct model_state now;
    struct model_state next;
    uint64_t append_at; /* the operation under way replaces entries from here on; 0: no APPEND */
};

/* ---- what the log must hold ---- */

static bool entries_match(const struct log_state *state, const struct model_state *model, uint64_t last)
{
    if (state->first_index > model->base + 1 || state->first_index + state->n_entries != last + 1)
        return false;
    for (uint64_t index = model->base + 1; index <= last; index++) {
        if (!entry_is(&state->entries[index - state->first_index], model->terms[index], model->nonces[index]))
            return false;
    }
    return true;
}

static bool rest_matches(const struct log_state *state, const struct model_state *model)
{
    if (state->term != model->term || state->voted_for != model->voted_for)
        return false;
    if (!state->has_snapshot)
        return model->snapshot_index == 0;
    return state->snapshot.index == model->snapshot_index && state->snapshot.term == model->snapshot_term &&
           store_time_ms(state->store) == (int64_t)model->snapshot_index &&
           slice_equal(blob_slice(state->snapshot.configuration), slice_str("configuration"));
}

/* True when the log is in a state that the operation under way may have left; makes that the acknowledged one. */
static bool model_accepts(struct model *model)
{
    const struct log_state *state = &model->node.state;
    if (rest_matches(state, &model->now) && entries_match(state, &model->now, model->now.last))
        return true;
    if (model->append_at == 0) {
        model->now = model->next;
        return rest_matches(state, &model->next) && entries_match(state, &model->next, model->next.last);
    }
    for (uint64_t last = model->append_at - 1; last <= model->next.last; last++) {
        if (rest_matches(state, &model->next) && entries_match(state, &model->next, last)) {
            model->now = model->next;
            model->now.last = last;
            return true;
        }
    }
    return false;
}

static void model_acknowledge(struct model *model)
{
    model->now = model->next;
    model->append_at = 0;
}

/* ---- operations: each sets `next`, acts, and returns whether it was acknowledged ---- */

static bool op_format(struct model *model)
{
    uint64_t nonces[3] = {prng_next(&model->prng), prng_next(&model->prng), prng_next(&model->prng)};
    model->now = model->next = (struct model_state){.term = 1, .last = 3};
    for (uint64_t i = 0; i < 3; i++) {
        model->next.terms[i + 1] = 1;
        model->next.nonces[i + 1] = nonces[i];
    }
    model->now = model->next;
    model->formatted = lapse_is_ok(node_format(&model->node, nonces, 3));
    return model->formatted;
}

static bool op_open(struct model *model)
{
    return lapse_is_ok(node_open(&model->node));
}

static bool op_vote(struct model *model)
{
    model->next = model->now;
    model->next.term += prng_below(&model->prng, 3);
    model->next.voted_for = prng_below(&model->prng, 4);
    return lapse_is_ok(node_vote(&model->node, model->next.term, model->next.voted_for));
}

/* Up to three jobs in one run, replacing entries from `at` on. */
static bool op_append(struct model *model, uint64_t at)
{
    struct storage_job *jobs[3] = {0};
    uint32_t n_jobs = 1 + (uint32_t)prng_below(&model->prng, 3);
    model->next = model->now;
    model->append_at = at;
    model->next.last = at - 1;
    uint64_t floor = at - 1 == model->now.snapshot_index ? model->now.snapshot_term : model->now.terms[at - 1];
    uint64_t term = floor + prng_below(&model->prng, model->now.term - floor + 1);
    for (uint32_t i = 0; i < n_jobs; i++) {
        uint64_t nonces[6], first = model->next.last + 1;
        uint32_t n = 1 + (uint32_t)prng_below(&model->prng, 6);
        for (uint32_t k = 0; k < n; k++) {
            nonces[k] = prng_next(&model->prng);
            model->next.last++;
            model->next.terms[model->next.last] = term;
            model->next.nonces[model->next.last] = nonces[k];
        }
        jobs[i] = job_append(first, term, nonces, n);
        if (i > 0)
            jobs[i - 1]->next = jobs[i];
    }
    storage_execute(model->node.log, jobs[0]);
    bool ok = true;
    for (uint32_t i = 0; i < n_jobs; i++) {
        ok = ok && lapse_is_ok(jobs[i]->result);
        storage_job_free(jobs[i]);
    }
    return ok;
}

static bool op_overwrite(struct model *model)
{
    uint64_t lowest = (model->now.base > model->now.snapshot_index ? model->now.base : model->now.snapshot_index) + 1;
    if (model->now.last < lowest)
        return op_append(model, model->now.last + 1);
    return op_append(model, lowest + prng_below(&model->prng, model->now.last - lowest + 1));
}

static bool op_snapshot(struct model *model)
{
    uint64_t lowest = model->now.snapshot_index + 1;
    if (model->now.last < lowest)
        return op_vote(model);
    uint64_t index = lowest + prng_below(&model->prng, model->now.last - lowest + 1);
    uint64_t keep_from = model->now.base + 1 + prng_below(&model->prng, index - model->now.base + 1);
    model->next = model->now;
    model->next.snapshot_index = index;
    model->next.snapshot_term = model->now.terms[index];
    model->next.base = keep_from - 1;
    return lapse_is_ok(node_snapshot(&model->node, index, model->next.snapshot_term, keep_from));
}

static bool op_install(struct model *model)
{
    uint64_t index = model->now.snapshot_index + 1 + prng_below(&model->prng, 30);
    if (prng_chance(&model->prng, 50) && model->now.last >= index)
        index = model->now.last + 1;
    model->next = model->now;
    model->next.snapshot_index = index;
    model->next.snapshot_term = model->now.term;
    model->next.base = model->next.last = index;
    model->next.terms[index] = model->now.term;
    return lapse_is_ok(node_install(&model->node, index, model->now.term));
}

static bool op_any(struct model *model)
{
    uint64_t choice = prng_below(&model->prng, 100);
    model->append_at = 0;
    if (choice < 55)
        return op_append(model, model->now.last + 1);
    if (choice < 70)
        return op_overwrite(model);
    if (choice < 85)
        return op_vote(model);
    return choice < 94 ? op_snapshot(model) : op_install(model);
}

/* ---- crash and recovery ---- */

static void model_check(struct model *model, const char *what, uint64_t step)
{
    bool accepted = model_accepts(model);
    cr_assert(
        accepted,
        "seed %llu step %llu: after %s the log holds %llu..%llu, snapshot %llu, term %llu; acknowledged %llu..%llu "
        "snapshot %llu, under way to %llu..%llu snapshot %llu",
        (unsigned long long)model->seed, (unsigned long long)step, what,
        (unsigned long long)model->node.state.first_index,
        (unsigned long long)(model->node.state.first_index + model->node.state.n_entries - 1),
        (unsigned long long)model->node.state.snapshot.index, (unsigned long long)model->node.state.term,
        (unsigned long long)model->now.base + 1, (unsigned long long)model->now.last,
        (unsigned long long)model->now.snapshot_index, (unsigned long long)model->next.base + 1,
        (unsigned long long)model->next.last, (unsigned long long)model->next.snapshot_index);
    model->append_at = 0;
    model->next = model->now;
}

/* Opens after a stop; sometimes that is interrupted, too. */
static void model_reopen(struct model *model, bool power, const char *what, uint64_t step)
{
    node_close(&model->node);
    if (power)
        virtual_disk_crash(model->node.disk, &model->prng);
    else
        virtual_disk_heal(model->node.disk);
    if (prng_chance(&model->prng, 30)) {
        virtual_disk_stop_at(model->node.disk, 1 + prng_below(&model->prng, 20));
        (void)op_open(model);
        node_close(&model->node);
        virtual_disk_crash(model->node.disk, &model->prng);
    }
    bool opened = op_open(model);
    cr_assert(opened, "seed %llu step %llu: after %s: %s", (unsigned long long)model->seed, (unsigned long long)step,
              what, model->node.error.message);
    model_check(model, what, step);
}

static void model_step(struct model *model, uint64_t step)
{
    bool interrupt = prng_chance(&model->prng, 12);
    if (interrupt)
        virtual_disk_stop_at(model->node.disk, 1 + prng_below(&model->prng, 30));
    bool done = op_any(model);
    cr_assert(done || interrupt, "seed %llu step %llu: %s", (unsigned long long)model->seed, (unsigned long long)step,
              model->node.error.message);
    if (done)
        model_acknowledge(model);
    virtual_disk_stop_at(model->node.disk, 0);
    if (!done || prng_chance(&model->prng, 4))
        model_reopen(model, prng_chance(&model->prng, 70), done ? "a crash at rest" : "a crash", step);
}

static void model_begin(struct model *model, uint64_t seed, uint64_t segment_bytes)
{
    *model = (struct model){.prng = {seed}, .seed = seed};
    model->node.disk = virtual_disk_new();
    model->node.segment_bytes = segment_bytes;
}

static uint64_t run_random(uint64_t seed, uint64_t steps)
{
    struct model *model = mem_calloc(1, sizeof *model);
    uint64_t step = 0;
    model_begin(model, seed, 1024 + 512 * (seed % 8));
    cr_assert(op_format(model) && op_open(model));
    model_acknowledge(model);
    while (step < steps && model->now.last < MODEL_ENTRIES - 100) {
        model_step(model, step);
        step++;
    }
    node_free(&model->node);
    free(model);
    return step;
}

Test(log_crash, acknowledged_entries_and_votes_survive_random_crashes, .timeout = 0)
{
    uint64_t steps = 0;
    for (uint64_t seed = 1; steps < 120000; seed++)
        steps += run_random(seed, 400);
    cr_assert(steps >= 120000);
}

/* ---- a crash at every operation of a fixed story ---- */

/* Runs the story until something is not acknowledged; true when it came to its end. */
static bool run_story(struct model *model)
{
    if (!op_format(model) || !op_open(model))
        return false;
    model_acknowledge(model);
    for (int chapter = 0; chapter < 3; chapter++) {
        bool (*const ops[])(struct model *) = {op_vote, op_overwrite, op_snapshot, op_install};
        for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
            for (int k = 0; k < 2; k++) {
                if (!op_append(model, model->now.last + 1))
                    return false;
                model_acknowledge(model);
            }
            if (!ops[i](model))
                return false;
            model_acknowledge(model);
        }
    }
    return true;
}

/* A crash inside log_format leaves nothing that was promised: formatting again must work. */
static void reformat(struct model *model)
{
    node_close(&model->node);
    if (lapse_is_ok(node_open(&model->node)))
        return;
    cr_assert(model->node.error.code == LAPSE_FAILED_PRECONDITION, "%s", model->node.error.message);
    cr_assert(op_format(model), "%s", model->node.error.message);
    cr_assert(op_open(model));
}

static void crash_story_at(uint64_t stop, uint64_t seed)
{
    struct model *model = mem_calloc(1, sizeof *model);
    model_begin(model, 42, 2048);
    virtual_disk_stop_at(model->node.disk, stop);
    bool ended = run_story(model);
    cr_assert_not(ended);
    node_close(&model->node);
    model->prng.state = seed;
    virtual_disk_crash(model->node.disk, &model->prng);
    if (!model->formatted)
        reformat(model);
    else
        cr_assert(op_open(model), "stop %llu seed %llu: %s", (unsigned long long)stop, (unsigned long long)seed,
                  model->node.error.message);
    model->seed = seed;
    model_check(model, "a crash in the story", stop);
    /* And it goes on. */
    cr_assert(op_append(model, model->now.last + 1));
    node_free(&model->node);
    free(model);
}

static uint64_t story_length(void)
{
    struct model *model = mem_calloc(1, sizeof *model);
    model_begin(model, 42, 2048);
    bool ended = run_story(model);
    cr_assert(ended, "%s", model->node.error.message);
    uint64_t operations = virtual_disk_counts(model->node.disk).operations;
    node_free(&model->node);
    free(model);
    return operations;
}

Test(log_crash, a_crash_at_any_single_operation_is_recovered, .timeout = 0)
{
    uint64_t operations = story_length();
    cr_assert(operations > 200);
    for (uint64_t stop = 1; stop <= operations; stop++) {
        for (uint64_t seed = 1; seed <= 12; seed++)
            crash_story_at(stop, seed);
    }
}
