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
#include "store/eligibility.h"
#include "store/lock.h"
#include "store/policy.h"
#include "store_fixture.h"

#define MISSED_MAX 400u
#define KINDS (COMMAND_LAST + 1)
#define RECENT 32u
#define BURST 2300u /* more than one command ends */

struct missed {
    struct buf bytes;
    int64_t time_ms;
};

struct world {
    struct store *store, *twin;
    struct fixture_random random;
    uint64_t seed;
    int64_t now_ms;
    uint32_t n_grants, n_instances;
    uint32_t recent[RECENT]; /* requests that came about, by number */
    uint32_t n_recent;
    struct store_view *view; /* of the twin */
    struct missed missed[MISSED_MAX];
    uint32_t n_missed, read_at;
    struct chain_head head, twin_head;
    uint32_t done[KINDS]; /* commands that took effect */
    uint32_t n_restored;
    struct buf value; /* of the command that is being made */
};

static const struct store_options options = {.ended_grants_max = 1000, .ended_retention_ms = 300};

static const char *const people[] = {"user:dev0",
                                     "user:dev1",
                                     "user:dev2",
                                     "spiffe://a/user/dev1",
                                     "spiffe://b/user/dev1",
                                     "spiffe://a/user/dev10",
                                     "user:app0",
                                     "user:app1",
                                     "user:app2",
                                     "spiffe://a/user/app1",
                                     "spiffe://a/ci/x",
                                     "user:op2",
                                     "spiffe://a/user/op2"};
static const char *const members[] = {"user:dev*", "user:app*", "user:op2", "spiffe://a/*", "user:dev1", "user:ep2"};
static const char *const resources[] = {"db/*", "db/prod/*", "db/prod/orders", "db/test/x", "web/shop", "web/*", "*"};
static const char *const names[] = {"one", "two", "three"};
static const char *const patterns[] = {"user:dev*", "user:dev1", "spiffe://a/*", "user:app*", "spiffe://a/user/dev1"};
static const char *const points[] = {"pod-0", "pod-1"};
static const char *const scopes[] = {"db/*", "web/*", "*"};

#define PICK(world, texts) slice_str((texts)[fixture_pick(&(world)->random, ARRAY_LEN(texts))])

static uint32_t pick(struct world *world, uint32_t n)
{
    return fixture_pick(&world->random, n);
}

static bool chance(struct world *world, uint32_t percent)
{
    return pick(world, 100) < percent;
}

/* --- both stores -------------------------------------------------------------------------------------------------- */

static void keep_head(void *arg, const struct store_event *event)
{
    *(struct chain_head *)arg = *event->head;
}

static void remember(struct world *world, const struct command *command)
{
    CHECK(world->n_missed < MISSED_MAX);
    struct missed *missed = &world->missed[world->n_missed++];
    missed->time_ms = world->now_ms;
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
    store_apply(world->store, command, world->now_ms, keep_head, &world->head, &outcome);
    store_apply(world->twin, command, world->now_ms, keep_head, &world->twin_head, &twin);
    compare(world, command, &outcome, &twin);
    if (outcome.error.code != LAPSE_OK)
        cr_assert_eq(store_revision(world->store), revision, "seed %llu: command %d was refused and told",
                     (unsigned long long)world->seed, command->type);
    if (command->type == COMMAND_REQUEST && outcome.error.code == LAPSE_OK && !outcome.repeated)
        world->recent[world->n_recent++ % RECENT] = world->n_grants;
    world->done[command->type] += outcome.error.code == LAPSE_OK && !outcome.repeated;
    return outcome.error.code;
}

static void freeze(struct world *world)
{
    if (world->view != NULL)
        return;
    world->view = store_freeze(world->twin);
    world->read_at = pick(world, MISSED_MAX - 100);
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

/* --- commands ----------------------------------------------------------------------------------------------------- */

static struct buf *value(struct world *world)
{
    buf_free(&world->value);
    buf_init(&world->value, LIMIT_OBJECT_BYTES);
    return &world->value;
}

static struct grant_id some_grant(struct world *world)
{
    return fixture_id(world->recent[pick(world, RECENT)]);
}

static struct slice person(struct world *world)
{
    return PICK(world, people);
}

static struct slice caller(struct world *world)
{
    return chance(world, 70) ? slice_str("user:ops") : person(world);
}

static void decide(struct world *world, struct command *command)
{
    command->grant = some_grant(world);
    command->principal =
        chance(world, 20)
            ? person(world)
            : PICK(world, ((const char *const[]){"user:app0", "user:app1", "user:app2", "spiffe://a/user/app1"}));
    command->text = slice_str("seen");
}

static void request(struct world *world, struct command *command)
{
    struct grant parent;
    *command = fixture_request(++world->n_grants);
    struct grant *terms = &command->terms;
    command->principal = person(world);
    terms->subject = chance(world, 60) ? command->principal : person(world);
    terms->resource = PICK(world, resources);
    terms->duration_ms = 1 + pick(world, 400);
    terms->ticket = chance(world, 30) ? slice_str("T-1") : (struct slice){0};
    terms->break_glass = chance(world, 12);
    terms->policy = chance(world, 15) ? PICK(world, names) : (struct slice){0};
    terms->binding.spiffe_id = chance(world, 20) ? slice_str("spiffe://a/ci/x") : (struct slice){0};
    if (chance(world, 20) && !terms->break_glass)
        terms->not_before_ms = world->now_ms + pick(world, 60);
    if (chance(world, 20))
        terms->pending_until_ms = world->now_ms + 1 + pick(world, 60);
    terms->max_uses = chance(world, 30) ? 1 + pick(world, 3) : 0;
    if (chance(world, 25) && store_get(world->store, some_grant(world), &parent)) {
        terms->parent = parent.id;
        terms->subject = parent.subject;
        terms->resource = parent.resource;
        terms->binding.spiffe_id = parent.binding.spiffe_id;
    }
}

static void about_grant(struct world *world, struct command *command)
{
    struct grant grant;
    command->grant = some_grant(world);
    bool own = store_get(world->store, command->grant, &grant) && chance(world, 60);
    command->principal = own ? grant.requester : caller(world);
    command->count = 1;
    if (command->type == COMMAND_USE)
        command->principal = slice_str("user:ep");
}

static void set_roles(struct world *world, struct command *command)
{
    static const char *const usual[] = {"user:dev*", "user:app*", "spiffe://a/*"};
    static const uint32_t roles[] = {ROLE_REQUESTER, ROLE_REQUESTER | ROLE_APPROVER, ROLE_APPROVER, ROLE_OPERATOR, 0};
    command->principal = caller(world);
    command->member = chance(world, 70) ? PICK(world, members) : person(world);
    command->roles = roles[pick(world, ARRAY_LEN(roles))];
    if (chance(world, 50)) {
        command->principal = slice_str("user:ops");
        command->member = PICK(world, usual);
        command->roles = ROLE_REQUESTER | ROLE_APPROVER;
    }
}

static void revoke_matching(struct world *world, struct command *command)
{
    command->principal = slice_str("user:ops");
    command->text = slice_str("sweep");
    switch (pick(world, 4)) {
    case 0:
        command->filter.person = person(world);
        break;
    case 1:
        command->filter.approver = person(world);
        break;
    case 2:
        command->filter.policy = PICK(world, names);
        break;
    default:
        command->filter.subject = person(world);
    }
}

/* One of the last. */
static uint32_t some_instance(struct world *world)
{
    uint32_t back = pick(world, 6);
    return world->n_instances > back ? world->n_instances - back : 1;
}

static void about_point(struct world *world, struct command *command)
{
    uint32_t instance = some_instance(world);
    command->principal = slice_str("user:ep");
    if (command->type == COMMAND_REGISTER) {
        uint32_t id = pick(world, ARRAY_LEN(points));
        *command = fixture_register(points[id], ++world->n_instances, scopes[pick(world, ARRAY_LEN(scopes))]);
    } else if (command->type == COMMAND_END_POINT) {
        command->principal = (struct slice){0};
        command->instance = fixture_random_id(instance);
        command->count = 1 + pick(world, 3);
    } else {
        command->instance = fixture_random_id(instance);
        command->session = fixture_random_id(1 + pick(world, 6));
        command->grant = some_grant(world);
        command->text = slice_str("shell");
    }
}

static void give_receipt(struct world *world, struct command *command)
{
    uint64_t revision = store_revision(world->store);
    uint64_t barrier = revision > 40 ? revision - pick(world, 40) : 1;
    uint32_t instance = some_instance(world);
    *command = fixture_receipt(barrier, instance, (enum receipt_level)(1 + pick(world, 4)), world->now_ms);
}

/* --- governance --------------------------------------------------------------------------------------------------- */

static struct policy_patterns everybody, approvers, all, databases; /* of one item each */

static struct policy_patterns one(struct slice *item, const char *text)
{
    *item = slice_str(text);
    return (struct policy_patterns){item, 1};
}

static void make_patterns(void)
{
    static struct slice items[4];
    everybody = one(&items[0], "*");
    approvers = one(&items[1], "user:app*");
    all = one(&items[2], "*");
    databases = one(&items[3], "db/*");
}

static void make_rule(struct world *world, struct policy_rule *rule)
{
    rule->requesters = rule->subjects = everybody;
    rule->break_glass = chance(world, 30);
    rule->automatic = chance(world, 40);
    rule->eligibility = chance(world, 20);
    rule->self_approval = chance(world, 20);
    rule->delegation_depth = pick(world, 3);
    rule->token = (enum token_rule)pick(world, 3);
    rule->decide_within_ms = 20 + pick(world, 100);
    if (rule->break_glass)
        rule->review_within_ms = 10 + pick(world, 50);
    if (!rule->automatic && chance(world, 60)) {
        rule->steps[rule->n_steps++] = (struct policy_step){1 + pick(world, 2), approvers};
        if (chance(world, 50))
            rule->steps[rule->n_steps++] = (struct policy_step){.count = 1};
    }
    if (chance(world, 20))
        rule->limits = (struct policy_limits){.concurrent = 1 + pick(world, 6), .hold = false};
    else if (chance(world, 20))
        rule->limits = (struct policy_limits){.requests = 1 + pick(world, 6), .window_ms = 50, .hold = true};
}

static void apply_policy(struct world *world, struct command *command)
{
    struct policy_rule rules[2];
    static char rule_names[2][8] = {"r0", "r1"};
    uint32_t n = 1 + pick(world, 2);
    for (uint32_t i = 0; i < n; i++) {
        rules[i] = (struct policy_rule){.name = slice_str(rule_names[i]), .resources = i == 0 ? databases : all};
        make_rule(world, &rules[i]);
    }
    struct policy policy = {.name = PICK(world, names),
                            .rules = rules,
                            .n_rules = n,
                            .priority = pick(world, 3),
                            .end_disallowed = chance(world, 40)};
    lapse_result result = policy_encode(&policy, value(world));
    CHECK(lapse_is_ok(result));
    command->principal = slice_str("user:ops");
    command->value = buf_slice(&world->value);
}

static void lock(struct world *world, struct command *command)
{
    struct lock lock = {.kind = (enum lock_kind)(1 + pick(world, 3)), .reason = slice_str("suspect")};
    lock.target = lock.kind == LOCK_SUBJECT    ? person(world)
                  : lock.kind == LOCK_RESOURCE ? PICK(world, resources)
                                               : PICK(world, points);
    if (chance(world, 80))
        lock.until_ms = world->now_ms + 1 + pick(world, 30);
    lapse_result result = lock_encode(&lock, value(world));
    CHECK(lapse_is_ok(result));
    command->principal = caller(world);
    command->value = buf_slice(&world->value);
}

/* Most locks are lifted soon, or nothing else would happen. */
static void unlock(struct world *world, struct command *command)
{
    static char name[LOCK_NAME_SIZE];
    command->principal = slice_str("user:ops");
    command->text = slice_str("over");
    if (chance(world, 70))
        command->name = lock_name(LOCK_SUBJECT, person(world), name);
    else if (chance(world, 60))
        command->name = lock_name(LOCK_RESOURCE, PICK(world, resources), name);
    else
        command->name = lock_name(LOCK_POINT, PICK(world, points), name);
}

static void put_eligibility(struct world *world, struct command *command)
{
    struct eligibility eligibility = {.name = PICK(world, names), .member = PICK(world, patterns), .n_resources = 1};
    eligibility.resources[0] = PICK(world, resources);
    eligibility.reason = slice_str("on call");
    eligibility.expires_ms = world->now_ms + 1 + pick(world, 100);
    lapse_result result = eligibility_encode(&eligibility, value(world));
    CHECK(lapse_is_ok(result));
    command->principal = caller(world);
    command->value = buf_slice(&world->value);
}

static void start_campaign(struct world *world, struct command *command)
{
    struct campaign campaign = {.name = PICK(world, names), .due_ms = world->now_ms + 1 + pick(world, 30)};
    campaign.reason = slice_str("quarter");
    if (chance(world, 50))
        campaign.members[campaign.n_members++] = PICK(world, patterns);
    else
        campaign.resources[campaign.n_resources++] = PICK(world, resources);
    lapse_result result = campaign_encode(&campaign, value(world));
    CHECK(lapse_is_ok(result));
    command->principal = caller(world);
    command->value = buf_slice(&world->value);
}

static void set_token(struct world *world, struct command *command)
{
    struct buf *hash = value(world);
    uint8_t bytes[32] = {(uint8_t)(1 + pick(world, 40))};
    lapse_result result = buf_append(hash, bytes, sizeof bytes);
    CHECK(lapse_is_ok(result));
    about_grant(world, command);
    command->value = buf_slice(hash);
}

static void named(struct world *world, struct command *command)
{
    command->principal = caller(world);
    command->name = PICK(world, names);
    command->text = slice_str("why");
    command->until_ms = command->type == COMMAND_CERTIFY ? world->now_ms + 1 + pick(world, 100) : 0;
}

static void govern(struct world *world, struct command *command)
{
    switch (command->type) {
    case COMMAND_APPLY_POLICY:
        apply_policy(world, command);
        break;
    case COMMAND_LOCK:
        lock(world, command);
        break;
    case COMMAND_UNLOCK:
        unlock(world, command);
        break;
    case COMMAND_OFFBOARD:
        command->principal = slice_str("user:ops");
        command->member = person(world);
        command->text = slice_str("left");
        break;
    case COMMAND_PUT_ELIGIBILITY:
        put_eligibility(world, command);
        break;
    case COMMAND_START_CAMPAIGN:
        start_campaign(world, command);
        break;
    case COMMAND_CLOSE_REVIEW:
        decide(world, command);
        command->count = 1 + pick(world, 2);
        break;
    case COMMAND_SET_TOKEN:
        set_token(world, command);
        break;
    case COMMAND_HOOK_DONE:
        command->name = PICK(world, names);
        command->revision = pick(world, (uint32_t)store_revision(world->store) + 1);
        break;
    default:
        named(world, command);
    }
}

static void fill(struct world *world, struct command *command)
{
    switch (command->type) {
    case COMMAND_REQUEST:
        request(world, command);
        break;
    case COMMAND_APPROVE:
    case COMMAND_DENY:
        decide(world, command);
        break;
    case COMMAND_SET_ROLES:
        set_roles(world, command);
        break;
    case COMMAND_REVOKE_MATCHING:
        revoke_matching(world, command);
        break;
    case COMMAND_REGISTER:
    case COMMAND_END_POINT:
    case COMMAND_SESSION_BEGIN:
    case COMMAND_SESSION_END:
        about_point(world, command);
        break;
    case COMMAND_RECEIPTS:
        give_receipt(world, command);
        break;
    case COMMAND_ADVANCE:
        *command = fixture_advance(1 + pick(world, 40));
        break;
    default:
        if (command->type >= COMMAND_APPLY_POLICY)
            govern(world, command);
        else
            about_grant(world, command);
    }
}

/* How often each comes, of a thousand. */
static enum command_type some_type(struct world *world)
{
    static const struct {
        enum command_type type;
        uint32_t share;
    } shares[] = {
        {COMMAND_REQUEST, 300},
        {COMMAND_APPROVE, 210},
        {COMMAND_DENY, 10},
        {COMMAND_CANCEL, 10},
        {COMMAND_USE, 20},
        {COMMAND_COMPLETE, 10},
        {COMMAND_REVOKE, 15},
        {COMMAND_ADVANCE, 150},
        {COMMAND_SET_ROLES, 20},
        {COMMAND_REGISTER, 10},
        {COMMAND_RECEIPTS, 40},
        {COMMAND_END_POINT, 5},
        {COMMAND_SESSION_BEGIN, 10},
        {COMMAND_SESSION_END, 5},
        {COMMAND_REVOKE_MATCHING, 8},
        {COMMAND_APPLY_POLICY, 12},
        {COMMAND_REMOVE_POLICY, 2},
        {COMMAND_LOCK, 8},
        {COMMAND_UNLOCK, 80},
        {COMMAND_OFFBOARD, 3},
        {COMMAND_PUT_ELIGIBILITY, 25},
        {COMMAND_REMOVE_ELIGIBILITY, 4},
        {COMMAND_CERTIFY, 10},
        {COMMAND_START_CAMPAIGN, 6},
        {COMMAND_CLOSE_CAMPAIGN, 2},
        {COMMAND_CLOSE_REVIEW, 40},
        {COMMAND_SET_TOKEN, 30},
        {COMMAND_HOOK_DONE, 5},
    };
    uint32_t in_all = 0, i = 0;
    for (size_t k = 0; k < ARRAY_LEN(shares); k++)
        in_all += shares[k].share;
    uint32_t dice = pick(world, in_all);
    while (dice >= shares[i].share)
        dice -= shares[i++].share;
    return shares[i].type;
}

static bool takes_a_key(enum command_type type)
{
    return type != COMMAND_ADVANCE && type != COMMAND_RECEIPTS && type != COMMAND_END_POINT &&
           type != COMMAND_HOOK_DONE && type != COMMAND_SESSION_BEGIN && type != COMMAND_SESSION_END &&
           type != COMMAND_REGISTER;
}

/* So many requests of one person that a sweep needs several commands, and others wait behind it. */
static void burst(struct world *world)
{
    for (uint32_t i = 0; i < BURST && world->view == NULL; i++) {
        struct command command = fixture_request(++world->n_grants);
        command.principal = command.terms.subject = slice_str("user:dev0");
        command.terms.resource = slice_str("web/shop");
        (void)apply(world, &command);
    }
}

static void step(struct world *world)
{
    struct command command = {.type = some_type(world)};
    fill(world, &command);
    if (takes_a_key(command.type) && chance(world, 20))
        command.key = fixture_key(pick(world, 500));
    world->now_ms += chance(world, 30) ? pick(world, 4) : 0;
    (void)apply(world, &command);
    if (pick(world, 1000) == 0)
        burst(world);
    if (chance(world, 2))
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
    while (store_next_due_ms(world->store) <= world->now_ms)
        (void)apply(world, &advance);
    world->read_at = 0;
    restore(world);
    store_free(world->store);
    store_free(world->twin);
    buf_free(&world->value);
}

/* Adds to `done` how many commands of each type took effect. */
static void run(uint64_t seed, uint32_t steps, uint32_t done[KINDS])
{
    struct world *world = calloc(1, sizeof *world);
    world->random.state = world->seed = seed;
    world->now_ms = T0;
    make_patterns();
    world->store = new_store();
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
    uint64_t seed = from == NULL ? 1 : strtoull(from, NULL, 10), runs = count == NULL ? 12 : strtoull(count, NULL, 10);
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
