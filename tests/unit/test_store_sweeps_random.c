/* Sweeps against a naive list of what each one takes, and against a store that is restored again and again. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "store_fixture.h"

#define GRANTS 40000u /* by number, from 1 on */
#define BURST 6000u   /* requested now and then: more of one subject than one command ends */
#define SWEEPS 64u

struct naive_sweep {
    uint64_t id; /* 0: over */
    bool takes[GRANTS + 1];
};

struct world {
    struct store *store, *twin;
    struct fixture_random random;
    int64_t now_ms;
    uint32_t n; /* grants requested so far */
    struct naive_sweep *sweeps;
    uint32_t n_sweeps, n_multiple; /* that needed more than one command */
    uint64_t hash, twin_hash;
    uint64_t seed;
};

static const char *const subjects[] = {"user:dev0", "user:dev1", "user:dev2"};
static const char *const resources[] = {"db/*", "db/prod/*", "db/prod/orders", "db/test/orders", "web/shop", "web/*"};
static const char *const requesters[] = {"user:req1", "user:req2"};
static const char *const approvers[] = {"user:app1", "user:app2"};
static const char *const words[] = {"A", "B", "C", ""};
static const char *const bindings[] = {"spiffe://a/ci/x", "spiffe://a/ci/y", ""};
static const char *const teams[] = {"blue", "red", ""};
static const char *const label_texts[] = {"team=blue", "team=red", "team=", "tier=blue"};
/* Under names that aren't the grants' own, too. */
static const char *const people[] = {"user:dev1", "spiffe://a/user/dev1", "spiffe://a/user/req2", "user:req1"};

/* Grants that have ended soon leave, from the middle of any list. */
static const struct store_options options = {.ended_grants_max = 1000, .ended_retention_ms = 300};

static bool chance(struct world *world, uint32_t percent)
{
    return fixture_pick(&world->random, 100) < percent;
}

#define PICK(world, texts) slice_str((texts)[fixture_pick(&(world)->random, ARRAY_LEN(texts))])

static uint32_t number_of(struct grant_id id)
{
    return (uint32_t)id.bytes[14] << 8 | id.bytes[15];
}

/* Whether some sweep under way takes it by itself. */
static bool is_taken(const struct world *world, uint32_t number)
{
    for (uint32_t i = 0; i < world->n_sweeps; i++)
        if (world->sweeps[i].id != 0 && world->sweeps[i].takes[number])
            return true;
    return false;
}

static bool is_live(const struct world *world, const struct grant *grant)
{
    if (grant_state_is_ended(grant->state))
        return false;
    return world->now_ms < (grant->state == GRANT_PENDING ? grant->pending_until_ms : grant->deadline_ms);
}

/* Whether commands must see it as live: itself and all above it. */
static bool counts_as_live(const struct world *world, uint32_t number)
{
    struct grant grant;
    while (store_get(world->store, fixture_id(number), &grant)) {
        if (!is_live(world, &grant) || is_taken(world, number))
            return false;
        if (grant_id_is_zero(grant.parent))
            return true;
        number = number_of(grant.parent);
    }
    return false;
}

static void mix(uint64_t *hash, const struct store_event *event)
{
    uint64_t parts[3] = {event->revision, event->type, event->grant == NULL ? 0 : number_of(event->grant->id)};
    if (event->sweep != NULL)
        parts[2] = event->sweep->id << 20 | event->sweep->grants;
    for (size_t i = 0; i < 3; i++)
        *hash = (*hash ^ parts[i]) * 0x9E3779B97F4A7C15ULL;
}

static void end_sweep(struct world *world, uint64_t id)
{
    struct grant grant;
    for (uint32_t i = 0; i < world->n_sweeps; i++) {
        struct naive_sweep *sweep = &world->sweeps[i];
        if (sweep->id != id)
            continue;
        for (uint32_t k = 1; k <= world->n; k++)
            cr_assert(!sweep->takes[k] || !store_get(world->store, fixture_id(k), &grant) || !is_live(world, &grant),
                      "seed %llu: %u is live though its sweep is over", (unsigned long long)world->seed, k);
        sweep->id = 0;
    }
}

static void on_event(void *arg, const struct store_event *event)
{
    struct world *world = arg;
    mix(&world->hash, event);
    if (event->type == STORE_EVENT_SWEEP_ENDED)
        end_sweep(world, event->sweep->id);
    if (event->grant != NULL && slice_equal(event->grant->reason, slice_str("sweep")))
        cr_assert(is_taken(world, number_of(event->grant->id)), "seed %llu: %u is ended by a sweep that didn't match",
                  (unsigned long long)world->seed, number_of(event->grant->id));
    if (event->type == STORE_EVENT_ACTIVATED && event->grant->approved_revision + 1 != event->revision)
        cr_assert(counts_as_live(world, number_of(event->grant->id)) || event->grant->deadline_ms <= world->now_ms);
}

static void on_twin_event(void *arg, const struct store_event *event)
{
    mix(&((struct world *)arg)->twin_hash, event);
}

static enum lapse_code apply(struct world *world, const struct command *command)
{
    struct store_outcome outcome, twin;
    store_apply(world->store, command, world->now_ms, on_event, world, &outcome);
    store_apply(world->twin, command, world->now_ms, on_twin_event, world, &twin);
    cr_assert_eq(outcome.error.code, twin.error.code);
    cr_assert_eq(outcome.revision, twin.revision);
    cr_assert_eq(world->hash, world->twin_hash, "seed %llu: the restored store tells other events",
                 (unsigned long long)world->seed);
    cr_assert(fixture_same_digest(world->store, world->twin), "seed %llu", (unsigned long long)world->seed);
    return outcome.error.code;
}

static void request(struct world *world)
{
    if (world->n == GRANTS)
        return;
    struct command command = fixture_request(++world->n);
    struct grant parent;
    command.principal = PICK(world, requesters);
    command.terms.subject = chance(world, 60) ? slice_str(subjects[0]) : PICK(world, subjects);
    command.terms.resource = PICK(world, resources);
    command.terms.ticket = PICK(world, words);
    command.terms.policy = PICK(world, words);
    command.terms.binding.spiffe_id = PICK(world, bindings);
    if (chance(world, 40))
        command.terms.labels[command.terms.n_labels++] = (struct grant_label){slice_str("team"), PICK(world, teams)};
    command.terms.duration_ms = 1 + fixture_pick(&world->random, 4000);
    if (chance(world, 20))
        command.terms.not_before_ms = world->now_ms + fixture_pick(&world->random, 200);
    if (chance(world, 30))
        command.terms.pending_until_ms = world->now_ms + 1 + fixture_pick(&world->random, 400);
    uint32_t other = 1 + fixture_pick(&world->random, world->n);
    if (chance(world, 15) && other < world->n && store_get(world->store, fixture_id(other), &parent)) {
        command.terms.parent = fixture_id(other);
        command.terms.subject = chance(world, 90) ? parent.subject : command.terms.subject;
        command.terms.resource = parent.resource;
    }
    (void)apply(world, &command);
    struct command decide = fixture_about(COMMAND_APPROVE, world->n, approvers[fixture_pick(&world->random, 2)]);
    if (chance(world, 75))
        (void)apply(world, &decide);
}

static struct store_filter random_filter(struct world *world)
{
    struct store_filter filter = {0};
    uint32_t some = fixture_pick(&world->random, GRANTS);
    do {
        if (chance(world, 25))
            filter.subject = PICK(world, subjects);
        if (chance(world, 25))
            filter.resource = PICK(world, resources);
        if (chance(world, 10))
            filter.requester = PICK(world, requesters);
        if (chance(world, 10))
            filter.approver = PICK(world, approvers);
        if (chance(world, 8))
            filter.ticket = PICK(world, words);
        if (chance(world, 8))
            filter.policy = PICK(world, words);
        if (chance(world, 8))
            filter.parent = fixture_id(1 + some);
        if (chance(world, 8))
            filter.binding = PICK(world, bindings);
        if (chance(world, 8))
            filter.label = PICK(world, label_texts);
        if (chance(world, 8))
            filter.person = PICK(world, people);
    } while (filter.subject.len + filter.resource.len + filter.requester.len + filter.approver.len + filter.ticket.len +
                     filter.policy.len + filter.binding.len + filter.label.len + filter.person.len ==
                 0 &&
             grant_id_is_zero(filter.parent));
    filter.states = chance(world, 80) ? 0 : 2 * (1 + fixture_pick(&world->random, 7));
    return filter;
}

static void sweep(struct world *world)
{
    struct grant grant;
    struct command command = {.type = COMMAND_REVOKE_MATCHING, .principal = slice_str("user:ops")};
    command.text = slice_str("sweep");
    command.filter = random_filter(world);
    CHECK(world->n_sweeps < SWEEPS);
    struct naive_sweep *sweep = &world->sweeps[world->n_sweeps++];
    for (uint32_t i = 1; i <= world->n; i++)
        sweep->takes[i] = store_get(world->store, fixture_id(i), &grant) && is_live(world, &grant) &&
                          store_filter_matches(&command.filter, &grant);
    sweep->id = store_revision(world->store) + 1;
    cr_assert_eq(apply(world, &command), LAPSE_OK);
    world->n_multiple += sweep->id != 0;
}

/* An operator may revoke whatever is decided and counts as live, nothing else. */
static void poke(struct world *world)
{
    struct grant grant;
    uint32_t number = 1 + fixture_pick(&world->random, world->n);
    struct command command = fixture_about(COMMAND_REVOKE, number, "user:ops");
    bool live = counts_as_live(world, number);
    if (!store_get(world->store, fixture_id(number), &grant))
        return;
    if (grant.state == GRANT_PENDING && chance(world, 50)) {
        /* What was requested long ago may come under no sweep by its late approver. Its parent may forbid it. */
        command = fixture_about(COMMAND_APPROVE, number, approvers[fixture_pick(&world->random, 2)]);
        cr_assert(apply(world, &command) != LAPSE_OK || live);
        return;
    }
    if (grant.state == GRANT_PENDING)
        command = fixture_about(COMMAND_CANCEL, number, "user:ops");
    cr_assert_eq(apply(world, &command), live ? LAPSE_OK : LAPSE_FAILED_PRECONDITION, "seed %llu: grant %u",
                 (unsigned long long)world->seed, number);
}

static void restore_twin(struct world *world)
{
    struct lapse_error error = {0};
    struct buf bytes = fixture_snapshot(world->twin, 5000);
    struct store *restored = fixture_restore(buf_slice(&bytes), 5000, &options, &error);
    cr_assert_not_null(restored, "seed %llu: %s", (unsigned long long)world->seed, error.message);
    struct buf again = fixture_snapshot(restored, 5000);
    cr_assert(slice_equal(buf_slice(&bytes), buf_slice(&again)));
    buf_free(&bytes);
    buf_free(&again);
    store_free(world->twin);
    world->twin = restored;
}

static uint64_t live_grants(const struct store *store)
{
    struct store_counts counts;
    store_counts(store, &counts);
    return counts.live;
}

static void fill(struct world *world)
{
    for (uint32_t i = 0; i < BURST; i++)
        request(world);
}

static void step(struct world *world)
{
    struct command advance = fixture_advance(1 + fixture_pick(&world->random, 300));
    uint32_t dice = fixture_pick(&world->random, 100);
    world->now_ms += chance(world, 30) ? fixture_pick(&world->random, 20) : 0;
    if (dice < 2 && live_grants(world->store) < BURST)
        fill(world);
    else if (dice < 8 && world->n_sweeps < SWEEPS)
        sweep(world);
    else if (dice < 30)
        poke(world);
    else if (dice < 60)
        request(world);
    else if (dice < 63)
        restore_twin(world);
    else
        (void)apply(world, &advance);
}

static struct store *new_store(void)
{
    struct store *store = fixture_store(&options);
    struct command roles = {.type = COMMAND_SET_ROLES, .principal = slice_str("user:ops")};
    roles.member = slice_str("user:dev*");
    roles.roles = ROLE_REQUESTER;
    fixture_must(store, roles, T0);
    for (size_t i = 0; *words[i] != '\0'; i++)
        fixture_open(store, words[i]);
    return store;
}

/* Returns how many sweeps took more than one command. */
static uint32_t run(uint64_t seed, uint32_t steps)
{
    struct world world = {.random = {seed}, .now_ms = T0, .seed = seed};
    struct command advance = fixture_advance(LIMIT_ADVANCE_BATCH);
    world.store = new_store();
    world.twin = new_store();
    world.sweeps = calloc(SWEEPS, sizeof world.sweeps[0]);
    fill(&world);
    for (uint32_t i = 0; i < steps; i++)
        step(&world);
    while (store_next_due_ms(world.store) <= world.now_ms)
        (void)apply(&world, &advance);
    for (uint32_t i = 0; i < world.n_sweeps; i++)
        cr_assert_eq(world.sweeps[i].id, 0, "every sweep ends");
    store_free(world.store);
    store_free(world.twin);
    free(world.sweeps);
    return world.n_multiple;
}

Test(store_sweeps, random_sweeps_take_what_a_naive_list_says_and_restored_stores_agree)
{
    const char *from = getenv("STORE_SWEEPS_SEED");
    uint64_t seed = from == NULL ? 1 : strtoull(from, NULL, 10);
    uint32_t n_multiple = 0;
    for (uint64_t i = 0; i < 8; i++)
        n_multiple += run(seed + i, 400);
    cr_assert(n_multiple > 8, "the runs are worth something");
}
