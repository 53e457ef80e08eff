/* A store that was restored from a snapshot must go on as the one that never was: the same answers, events, chain heads
 * and digests for whatever comes, governance above all, since most of its books are derived from objects.
 *
 * Random commands of all kinds go to a store and to its twin. Now and then the twin is frozen; the snapshot is read
 * some commands later, while the store has gone on; the one that is restored from it is told what it has missed, and
 * takes the twin's place. The world is small and its commands collide: few names (some of them of the same person), few
 * resources, times of some milliseconds. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "random_commands.h"
#include "store/lock.h"

#define MISSED_MAX 400u
#define KINDS (COMMAND_LAST + 1)
#define BURST 2300u /* more than one command ends */

struct missed {
    struct buf bytes;
    int64_t time_ms;
};

struct world {
    struct store *store, *twin;
    struct random_commands commands;
    uint64_t seed;
    struct store_view *view; /* of the twin */
    struct missed missed[MISSED_MAX];
    uint32_t n_missed, read_at;
    struct chain_head head, twin_head;
    uint32_t done[KINDS]; /* commands that took effect */
    uint32_t n_restored;
};

static const struct store_options options = {.ended_grants_max = 1000, .ended_retention_ms = 300};

/* --- both stores -------------------------------------------------------------------------------------------------- */

static void keep_head(void *arg, const struct store_event *event)
{
    *(struct chain_head *)arg = *event->head;
}

static void remember(struct world *world, const struct command *command)
{
    CHECK(world->n_missed < MISSED_MAX);
    struct missed *missed = &world->missed[world->n_missed++];
    missed->time_ms = world->commands.now_ms;
    buf_init(&missed->bytes, LIMIT_COMMAND_BYTES);
    lapse_result result = command_encode(command, &missed->bytes);
    CHECK(lapse_is_ok(result));
}

static void compare(const struct world *world, const struct command *command, const struct store_outcome *a,
                    const struct store_outcome *b)
{
    unsigned long long seed = world->seed;
    int type = command->type;
    cr_assert_eq(a->error.code, b->error.code, "seed %llu: command %d: %s, %s", seed, type, a->error.message,
                 b->error.message);
    cr_assert_str_eq(a->error.message, b->error.message, "seed %llu: command %d", seed, type);
    cr_assert(a->revision == b->revision && a->time_ms == b->time_ms && a->n_events == b->n_events &&
                  a->repeated == b->repeated && grant_id_compare(a->grant, b->grant) == 0,
              "seed %llu: command %d has another outcome", seed, type);
    cr_assert_eq(memcmp(&world->head, &world->twin_head, sizeof world->head), 0,
                 "seed %llu: command %d tells other events", seed, type);
    cr_assert(fixture_same_digest(world->store, world->twin), "seed %llu: command %d: digests differ", seed, type);
    cr_assert_eq(store_next_due_ms(world->store), store_next_due_ms(world->twin), "seed %llu: command %d", seed, type);
}

static enum lapse_code apply(struct world *world, const struct command *command)
{
    struct store_outcome outcome, twin;
    if (world->view != NULL)
        remember(world, command);
    uint64_t revision = store_revision(world->store);
    store_apply(world->store, command, world->commands.now_ms, keep_head, &world->head, &outcome);
    store_apply(world->twin, command, world->commands.now_ms, keep_head, &world->twin_head, &twin);
    compare(world, command, &outcome, &twin);
    if (outcome.error.code != LAPSE_OK)
        cr_assert_eq(store_revision(world->store), revision, "seed %llu: command %d was refused and told",
                     (unsigned long long)world->seed, command->type);
    if (outcome.error.code == LAPSE_OK && !outcome.repeated) {
        world->done[command->type]++;
        random_command_done(&world->commands, command);
    }
    return outcome.error.code;
}

static void freeze(struct world *world)
{
    if (world->view != NULL)
        return;
    world->view = store_freeze(world->twin);
    world->read_at = random_pick(&world->commands, MISSED_MAX - 100);
}

static struct buf read_view(struct world *world)
{
    struct buf bytes;
    bool done = false;
    buf_init(&bytes, 1u << 30);
    while (!done)
        cr_assert(lapse_is_ok(store_view_read(world->view, 5000, &bytes, &done)));
    store_view_free(world->view);
    world->view = NULL;
    return bytes;
}

static void catch_up(struct world *world, struct store *store)
{
    for (uint32_t i = 0; i < world->n_missed; i++) {
        struct command command;
        struct store_outcome outcome;
        lapse_result result = command_decode(buf_slice(&world->missed[i].bytes), &command);
        CHECK(lapse_is_ok(result));
        store_apply(store, &command, world->missed[i].time_ms, keep_head, &world->twin_head, &outcome);
        buf_free(&world->missed[i].bytes);
    }
    world->n_missed = 0;
}

static void restore(struct world *world)
{
    struct lapse_error error = {0};
    if (world->view == NULL || world->n_missed < world->read_at)
        return;
    struct buf bytes = read_view(world);
    struct store *restored = fixture_restore(buf_slice(&bytes), 5000, &options, &error);
    cr_assert_not_null(restored, "seed %llu: %s", (unsigned long long)world->seed, error.message);
    struct buf again = fixture_snapshot(restored, 5000);
    cr_assert(slice_equal(buf_slice(&bytes), buf_slice(&again)), "seed %llu", (unsigned long long)world->seed);
    buf_free(&bytes);
    buf_free(&again);
    catch_up(world, restored);
    cr_assert(fixture_same_digest(world->store, restored), "seed %llu: what was missed leads elsewhere",
              (unsigned long long)world->seed);
    store_free(world->twin);
    world->twin = restored;
    world->n_restored++;
}

/* --- a run -------------------------------------------------------------------------------------------------------- */

static void lift(struct world *world, enum lock_kind kind, const char *target)
{
    char name[LOCK_NAME_SIZE];
    const struct command command = {.type = COMMAND_UNLOCK,
                                    .principal = slice_str("user:ops"),
                                    .name = lock_name(kind, slice_str(target), name),
                                    .text = slice_str("needed")};
    (void)apply(world, &command);
}

/* So many requests of one person that a sweep needs several commands, and others wait behind it: often of a policy that
 * no longer allows them. */
static void burst(struct world *world)
{
    struct command roles = {.type = COMMAND_SET_ROLES, .principal = slice_str("user:ops"), .roles = ROLE_REQUESTER};
    roles.member = slice_str("user:dev0");
    (void)apply(world, &roles);
    lift(world, LOCK_SUBJECT, "user:dev0");
    lift(world, LOCK_RESOURCE, "web/shop");
    lift(world, LOCK_RESOURCE, "web/*");
    lift(world, LOCK_RESOURCE, "*");
    for (uint32_t i = 0; i < BURST; i++) {
        struct command command = fixture_request(++world->commands.n_grants);
        command.principal = command.terms.subject = slice_str("user:dev0");
        command.terms.resource = slice_str("web/shop");
        command.terms.duration_ms = 400;
        (void)apply(world, &command);
    }
    for (int i = 0; i < 4; i++) {
        const struct command change = random_policy(&world->commands);
        (void)apply(world, &change);
    }
}

static void step(struct world *world)
{
    const struct command command = random_command(&world->commands);
    world->commands.now_ms += random_chance(&world->commands, 30) ? random_pick(&world->commands, 4) : 0;
    (void)apply(world, &command);
    if (random_pick(&world->commands, 700) == 0 && world->view == NULL)
        burst(world);
    if (random_chance(&world->commands, 2))
        freeze(world);
    if (world->n_missed >= MISSED_MAX - 1)
        world->read_at = 0;
    restore(world);
}

static void bind(struct store *store, const char *member, uint32_t roles)
{
    struct command command = {.type = COMMAND_SET_ROLES, .principal = slice_str("user:ops"), .roles = roles};
    command.member = slice_str(member);
    fixture_must(store, command, T0);
}

static struct store *new_store(void)
{
    struct store *store = fixture_store(&options);
    bind(store, "user:dev*", ROLE_REQUESTER);
    bind(store, "user:app*", ROLE_APPROVER);
    bind(store, "spiffe://a/*", ROLE_REQUESTER);
    return store;
}

static void finish(struct world *world)
{
    struct command advance = fixture_advance(LIMIT_ADVANCE_BATCH);
    while (store_next_due_ms(world->store) <= world->commands.now_ms)
        (void)apply(world, &advance);
    world->read_at = 0;
    restore(world);
    store_free(world->store);
    store_free(world->twin);
    random_commands_free(&world->commands);
}

/* Adds to `done` how many commands of each type took effect. */
static void run(uint64_t seed, uint32_t steps, uint32_t done[KINDS])
{
    struct world *world = calloc(1, sizeof *world);
    world->seed = seed;
    random_commands_init(&world->commands, seed);
    world->commands.store = world->store = new_store();
    world->twin = new_store();
    for (uint32_t i = 0; i < steps; i++)
        step(world);
    finish(world);
    for (int type = 0; type < KINDS; type++)
        done[type] += world->done[type];
    cr_assert(world->n_restored > 0);
    free(world);
}

Test(store_twins, one_that_is_restored_again_and_again_goes_on_as_one_that_never_was)
{
    const char *from = getenv("STORE_TWINS_SEED"), *count = getenv("STORE_TWINS_RUNS");
    uint64_t seed = from == NULL ? 1 : strtoull(from, NULL, 10), runs = count == NULL ? 24 : strtoull(count, NULL, 10);
    uint32_t done[KINDS] = {0};
    for (uint64_t i = 0; i < runs; i++)
        run(seed + i, 4000, done);
    if (getenv("STORE_TWINS_SHOW") != NULL)
        for (int type = COMMAND_REQUEST; type < KINDS; type++)
            fprintf(stderr, "command %d: %u\n", type, done[type]);
    for (int type = COMMAND_REQUEST; type < KINDS; type++)
        cr_assert(type == COMMAND_INIT || done[type] > 0, "the runs are worth something: no command %d took effect",
                  type);
}
