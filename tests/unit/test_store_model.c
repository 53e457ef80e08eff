/* The store against the naive model: long random runs in a small world, where everything happens. Prints the seed and
 * the step that replay a difference. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "governed_fixture.h"
#include "store_model.h"

static const char *const people[] = {"user:p0", "user:p1", "user:p2", "user:p3", "user:p4", "user:p5"};
static const char *const resources[] = {"a", "a/b", "a/*", "*", "a/b/c", "a/b/*"};
static const char *const members[] = {"user:p0", "user:p1", "user:p*", "user:p4", "user:p5", "user:p2", "us*"};

struct world {
    bool governed; /* gets a policy at some time */
    struct fixture_random random;
    const struct store_options *options;
    struct store *store;
    struct model *model;
    uint32_t n_ids;
    int64_t now_ms;
    uint64_t last_revision; /* of events */
    uint32_t n_events;
};

/* Worlds with room, and worlds that are always full. */
static const struct store_options worlds[] = {
    {.live_grants_max = 100, .ended_grants_max = 80, .ended_retention_ms = 8000, .request_ids_max = 100},
    {.live_grants_max = 25, .ended_grants_max = 12, .ended_retention_ms = 8000, .request_ids_max = 30},
};

static void on_event(void *arg, const struct store_event *event)
{
    struct world *world = arg;
    cr_assert_eq(event->revision, world->last_revision + 1, "revisions are dense");
    world->last_revision = event->revision;
    world->n_events++;
    if (event->grant != NULL)
        cr_assert_eq(event->grant->revision, event->revision);
}

static struct slice pick_text(struct world *world, const char *const *texts, uint32_t n)
{
    return slice_str(texts[fixture_pick(&world->random, n)]);
}

static bool chance(struct world *world, uint32_t percent)
{
    return fixture_pick(&world->random, 100) < percent;
}

/* A grant that is there, most of the time. */
static const struct model_grant *random_grant(struct world *world)
{
    for (int attempt = 0; attempt < 20 && world->model->n_grants > 0; attempt++) {
        const struct model_grant *grant = &world->model->grants[fixture_pick(&world->random, world->model->n_grants)];
        /* Live ones rather than ended ones. */
        if (grant->present && (grant->state <= GRANT_ACTIVE || attempt > 3))
            return grant;
    }
    return NULL;
}

/* Mostly none, so that many children fit below their parents. */
static void random_binding(struct world *world, struct grant_binding *binding)
{
    static const char *const names[] = {"spiffe://x/a", "spiffe://x/b"};
    static const char *const certificates[] = {"11111111111111111111111111111111", "22222222222222222222222222222222"};
    if (chance(world, 10))
        binding->spiffe_id = pick_text(world, names, 2);
    if (chance(world, 10))
        binding->certificate_sha256 = pick_text(world, certificates, 2);
    if (chance(world, 70))
        return;
    for (uint32_t i = 0; i < MODEL_NETWORKS; i++)
        if (chance(world, 40))
            binding->networks[binding->n_networks++] = slice_str(model_networks[i]);
}

static struct command random_request(struct world *world)
{
    struct command command = {.type = COMMAND_REQUEST};
    struct grant *terms = &command.terms;
    command.principal = pick_text(world, people, 6);
    command.grant = fixture_id(chance(world, 95) ? ++world->n_ids : 1 + fixture_pick(&world->random, world->n_ids + 1));
    terms->subject = chance(world, 40) ? command.principal : pick_text(world, people, 6);
    terms->resource = pick_text(world, resources, 6);
    if (chance(world, 80))
        terms->actions[terms->n_actions++] = slice_str("read");
    if (terms->n_actions == 0 || chance(world, 50))
        terms->actions[terms->n_actions++] = slice_str("write");
    if (chance(world, 60))
        terms->duration_ms = 1 + fixture_pick(&world->random, 8000);
    else
        terms->deadline_ms = world->now_ms - 100 + fixture_pick(&world->random, 8000);
    if (chance(world, 25))
        terms->not_before_ms = world->now_ms + fixture_pick(&world->random, 5000);
    if (terms->deadline_ms > 0 && terms->deadline_ms <= terms->not_before_ms)
        terms->not_before_ms = 0;
    if (chance(world, 90))
        terms->pending_until_ms = world->now_ms - 10 + fixture_pick(&world->random, 5000);
    terms->max_uses = chance(world, 30) ? 1 + fixture_pick(&world->random, 4) : 0;
    const struct model_grant *parent = chance(world, 50) ? random_grant(world) : NULL;
    if (parent != NULL) {
        terms->parent = parent->id;
        if (chance(world, 80))
            terms->subject = slice_str(parent->subject);
    }
    if (grant_id_compare(terms->parent, command.grant) == 0)
        memset(&terms->parent, 0, sizeof terms->parent);
    terms->justification = slice_str(chance(world, 50) ? "why" : chance(world, 95) ? "why not" : "");
    random_binding(world, &terms->binding);
    return command;
}

static struct command random_about(struct world *world)
{
    static const enum command_type types[] = {COMMAND_APPROVE, COMMAND_APPROVE,  COMMAND_APPROVE,
                                              COMMAND_DENY,    COMMAND_CANCEL,   COMMAND_USE,
                                              COMMAND_USE,     COMMAND_COMPLETE, COMMAND_REVOKE};
    struct command command = {.type = types[fixture_pick(&world->random, 9)]};
    const struct model_grant *grant = chance(world, 97) ? random_grant(world) : NULL;
    command.grant = grant != NULL ? grant->id : fixture_id(world->n_ids + 1);
    command.principal = pick_text(world, people, 6);
    if (grant != NULL && chance(world, 20))
        command.principal = slice_str(chance(world, 50) ? grant->requester : grant->subject);
    command.count = command.type == COMMAND_USE ? 1 + fixture_pick(&world->random, 3) : 0;
    command.text = chance(world, 30) ? slice_str("because") : (struct slice){0};
    return command;
}

static struct command random_roles(struct world *world)
{
    struct command command = {.type = COMMAND_SET_ROLES, .principal = pick_text(world, people, 6)};
    command.member = pick_text(world, members, 7);
    command.roles = chance(world, 60) ? ROLE_ALL : fixture_pick(&world->random, ROLE_ALL + 1);
    return command;
}

/* model_rule in the form of a policy. */
static struct command the_policy(void)
{
    static struct policy_rule rules[MODEL_RULES - 1];
    static struct command command;
    if (command.type != 0)
        return command;
    rules[0] = governed_rule(model_rule_names[MODEL_AUTOMATIC], "a/b");
    rules[1] = governed_rule(model_rule_names[MODEL_STEPS], "a/*");
    rules[2] = governed_rule(model_rule_names[MODEL_SELF], "a");
    rules[0].automatic = rules[2].self_approval = true;
    governed_step(&rules[1], 1, "user:p0 user:p1");
    governed_step(&rules[1], 1, "");
    governed_step(&rules[2], 2, "");
    for (int i = 0; i < MODEL_RULES - 1; i++)
        rules[i].delegation_depth = model_rule_depths[i + 1];
    command = governed_policy(rules, MODEL_RULES - 1);
    command.principal = slice_str("user:p5");
    return command;
}

static struct command random_command(struct world *world)
{
    uint32_t dice = fixture_pick(&world->random, 1000);
    struct command init = {
        .type = COMMAND_INIT, .epoch = 7, .cluster = slice_str("model"), .member = slice_str("user:p5")};
    if (store_revision(world->store) == 0 && dice < 200)
        return init;
    if (dice < 2)
        return init;
    if (world->governed && !world->model->governed && dice < 12)
        return the_policy();
    if (dice < 10)
        return random_roles(world);
    if (dice < 300)
        return random_request(world);
    if (dice < 450)
        return fixture_advance(1 + fixture_pick(&world->random, 6));
    return random_about(world);
}

static void compare_binding(const struct grant_binding *binding, const struct model_grant *expected)
{
    uint32_t n = 0;
    cr_assert(slice_equal(binding->spiffe_id, slice_str(expected->spiffe_id)));
    cr_assert(slice_equal(binding->certificate_sha256, slice_str(expected->certificate)));
    cr_assert_eq(binding->n_networks, (uint32_t)__builtin_popcount(expected->networks));
    for (uint32_t i = 0; i < MODEL_NETWORKS; i++)
        if ((expected->networks >> i & 1) != 0)
            cr_assert(slice_equal(binding->networks[n++], slice_str(model_networks[i])));
}

static void compare_grant(struct world *world, const struct model_grant *expected)
{
    struct grant grant;
    cr_assert(store_get(world->store, expected->id, &grant));
    cr_assert_eq((int)grant.state, expected->state);
    cr_assert_eq(grant.revision, expected->revision);
    cr_assert_eq(grant.uses, expected->uses);
    cr_assert_eq(grant.deadline_ms, expected->deadline_ms);
    cr_assert_eq(grant.ended_ms, expected->ended_ms);
    cr_assert_eq(grant.requested_revision, expected->requested_revision);
    cr_assert_eq(grant.pending_until_ms, expected->pending_until_ms);
    cr_assert(slice_equal(grant.ended_by, slice_str(expected->ended_by)));
    cr_assert(slice_equal(grant.requester, slice_str(expected->requester)));
    cr_assert(slice_equal(grant.rule, slice_str(model_rule_names[expected->rule])));
    cr_assert_eq(grant.n_approvals, expected->n_approvals);
    for (uint32_t i = 0; i < grant.n_approvals; i++) {
        cr_assert(slice_equal(grant.approvals[i].approver, slice_str(expected->approvers[i])));
        cr_assert_eq(grant.approvals[i].revision, expected->approval_revisions[i]);
    }
    cr_assert_eq(expected->ends, grant_state_is_ended(grant.state), "each grant ends exactly once");
    compare_binding(&grant.binding, expected);
}

static void compare_all(struct world *world)
{
    struct store_counts counts;
    uint64_t n = 0;
    store_counts(world->store, &counts);
    for (uint32_t i = 0; i < world->model->n_grants; i++)
        if (world->model->grants[i].present) {
            compare_grant(world, &world->model->grants[i]);
            n++;
        }
    cr_assert_eq(counts.live + counts.ended, n);
    cr_assert_eq(store_next_due_ms(world->store), model_next_due(world->model));
}

/* The content of a command in the model's eyes: a hash of its parts, made apart from the store's encoder. */
static uint64_t content_of(const struct command *command)
{
    uint64_t hash = 1469598103934665603ULL;
    const struct grant *t = &command->terms;
    const struct slice texts[] = {command->principal,   command->text,
                                  command->member,      t->subject,
                                  t->resource,          t->justification,
                                  t->actions[0],        t->n_actions > 1 ? t->actions[1] : (struct slice){0},
                                  t->binding.spiffe_id, t->binding.certificate_sha256};
    uint64_t numbers[] = {(uint64_t)command->type,
                          command->count,
                          command->roles,
                          (uint64_t)t->duration_ms,
                          (uint64_t)t->deadline_ms,
                          (uint64_t)t->not_before_ms,
                          (uint64_t)t->pending_until_ms,
                          t->max_uses,
                          t->n_actions};
    for (uint32_t i = 0; i < t->binding.n_networks; i++)
        hash = (hash ^ t->binding.networks[i].len ^ t->binding.networks[i].data[t->binding.networks[i].len - 1]) *
               1099511628211ULL;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        for (size_t k = 0; k < texts[i].len; k++)
            hash = (hash ^ texts[i].data[k]) * 1099511628211ULL;
        hash = (hash ^ 256) * 1099511628211ULL;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        hash = (hash ^ numbers[i]) * 1099511628211ULL;
    for (int i = 0; i < 16; i++) {
        uint8_t id = command->type == COMMAND_REQUEST ? 0 : command->grant.bytes[i];
        hash = (hash ^ id) * 1099511628211ULL;
        hash = (hash ^ t->parent.bytes[i]) * 1099511628211ULL;
    }
    return hash;
}

static void step(struct world *world, struct command *command, uint64_t seed, uint32_t number)
{
    struct store_outcome outcome;
    world->n_events = 0;
    store_apply(world->store, command, world->now_ms, on_event, world, &outcome);
    enum lapse_code expected = model_apply(world->model, command, content_of(command), world->now_ms);
    cr_assert_eq(outcome.error.code, expected, "seed %llu step %u: command %d is %s (%s), expected %s",
                 (unsigned long long)seed, number, (int)command->type, lapse_code_name(outcome.error.code),
                 outcome.error.message, lapse_code_name(expected));
    cr_assert_eq(outcome.n_events, world->model->n_events, "seed %llu step %u", (unsigned long long)seed, number);
    cr_assert_eq(outcome.n_events, world->n_events);
    cr_assert_eq(outcome.repeated, world->model->repeated);
    cr_assert_eq(store_revision(world->store), world->model->revision);
    cr_assert_eq(world->last_revision, world->model->revision);
    cr_assert(outcome.error.code == LAPSE_OK || outcome.n_events == 0);
}

/* Snapshot and restore give an equal store that goes on equally: the run continues with it. */
static void swap_for_restored(struct world *world)
{
    struct lapse_error error = {0};
    struct buf bytes = fixture_snapshot(world->store, 1 + fixture_pick(&world->random, 5000));
    struct store *restored =
        fixture_restore(buf_slice(&bytes), 1 + fixture_pick(&world->random, 5000), world->options, &error);
    cr_assert_not_null(restored, "%s", error.message);
    cr_assert(fixture_same_digest(world->store, restored));
    struct buf again = fixture_snapshot(restored, 100000);
    cr_assert(slice_equal(buf_slice(&bytes), buf_slice(&again)));
    buf_free(&bytes);
    buf_free(&again);
    store_free(world->store);
    world->store = restored;
}

static void tick(struct world *world)
{
    if (chance(world, 60))
        world->now_ms += fixture_pick(&world->random, 150);
    if (fixture_pick(&world->random, 500) == 0)
        world->now_ms += fixture_pick(&world->random, 20000);
    if (fixture_pick(&world->random, 2000) == 0)
        world->now_ms += LIMIT_REQUEST_ID_WINDOW_MS / 2;
}

static void run(uint64_t seed, uint32_t steps)
{
    const struct store_options *options = &worlds[seed % 2];
    struct world world = {.random = {seed}, .options = options, .now_ms = T0, .governed = seed % 4 >= 2};
    struct store *twin = store_new(options);
    struct command last = {0};
    world.store = store_new(options);
    world.model = calloc(1, sizeof *world.model);
    world.model->live_max = options->live_grants_max;
    world.model->ended_max = options->ended_grants_max;
    world.model->retention_ms = options->ended_retention_ms;
    world.model->keys_max = options->request_ids_max;
    for (uint32_t i = 0; i < steps; i++) {
        struct store_outcome outcome;
        tick(&world);
        struct command command = random_command(&world);
        if (command.type != COMMAND_ADVANCE && chance(&world, 50))
            command.key = fixture_key(1 + fixture_pick(&world.random, 100000));
        if (last.type != 0 && chance(&world, 8)) {
            struct grant_id id = command.grant;
            bool request = command.type == COMMAND_REQUEST;
            command = last;
            if (command.type == COMMAND_REQUEST && request)
                command.grant = id;
            if (chance(&world, 20))
                command.text = slice_str("other");
        }
        if (command.key.bytes[0] != 0)
            last = command;
        step(&world, &command, seed, i);
        store_apply(twin, &command, world.now_ms, NULL, NULL, &outcome);
        cr_assert(fixture_same_digest(world.store, twin), "seed %llu step %u", (unsigned long long)seed, i);
        if (i % 50 == 0)
            compare_all(&world);
        if (fixture_pick(&world.random, 700) == 0)
            swap_for_restored(&world);
    }
    compare_all(&world);
    store_free(world.store);
    store_free(twin);
    free(world.model);
}

Test(store_model, long_random_runs_agree_with_the_naive_model)
{
    const char *from = getenv("STORE_MODEL_SEED");
    uint64_t seed = from == NULL ? 1 : strtoull(from, NULL, 10);
    for (uint64_t i = 0; i < 10; i++)
        run(seed + i, 30000);
}
