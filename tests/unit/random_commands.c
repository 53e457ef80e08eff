#include "random_commands.h"

#include "base/check.h"
#include "store/eligibility.h"
#include "store/lock.h"
#include "store/policy.h"

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
static const char *const titles[] = {"t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9"};
static const char *const patterns[] = {"user:dev*", "user:dev1", "spiffe://a/*", "user:app*", "spiffe://a/user/dev1"};
static const char *const points[] = {"pod-0", "pod-1"};
static const char *const scopes[] = {"db/*", "web/*", "*"};

#define PICK(world, texts) slice_str((texts)[fixture_pick(&(world)->random, ARRAY_LEN(texts))])

uint32_t random_pick(struct random_commands *world, uint32_t n)
{
    return fixture_pick(&world->random, n);
}

bool random_chance(struct random_commands *world, uint32_t percent)
{
    return random_pick(world, 100) < percent;
}

/* --- commands ----------------------------------------------------------------------------------------------------- */

static struct buf *value(struct random_commands *world)
{
    buf_free(&world->value);
    buf_init(&world->value, LIMIT_OBJECT_BYTES);
    return &world->value;
}

static struct grant_id some_grant(struct random_commands *world)
{
    return fixture_id(world->recent[random_pick(world, RANDOM_RECENT)]);
}

static struct slice person(struct random_commands *world)
{
    return PICK(world, people);
}

static struct slice caller(struct random_commands *world)
{
    return random_chance(world, 70) ? slice_str("user:ops") : person(world);
}

/* One that waits for an approver, if there is any. */
static struct grant_id some_pending(struct random_commands *world)
{
    struct grant grant;
    uint32_t from = random_pick(world, RANDOM_RECENT);
    for (uint32_t i = 0; i < RANDOM_RECENT; i++)
        if (store_get(world->store, fixture_id(world->recent[(from + i) % RANDOM_RECENT]), &grant) &&
            grant.state == GRANT_PENDING)
            return grant.id;
    return some_grant(world);
}

static void decide(struct random_commands *world, struct command *command)
{
    static const char *const approvers[] = {"user:app0", "user:app1", "user:app2", "spiffe://a/user/app1"};
    command->grant = random_chance(world, 70) ? some_pending(world) : some_grant(world);
    command->principal = random_chance(world, 20) ? person(world) : PICK(world, approvers);
    command->text = slice_str("seen");
}

static void request(struct random_commands *world, struct command *command)
{
    struct grant parent;
    *command = fixture_request(++world->n_grants);
    struct grant *terms = &command->terms;
    command->principal = person(world);
    terms->subject = random_chance(world, 60) ? command->principal : person(world);
    terms->resource = PICK(world, resources);
    terms->duration_ms = 1 + random_pick(world, 400);
    terms->ticket = random_chance(world, 30) ? slice_str("T-1") : (struct slice){0};
    terms->break_glass = random_chance(world, 12);
    terms->policy = random_chance(world, 15) ? PICK(world, names) : (struct slice){0};
    terms->binding.spiffe_id = random_chance(world, 20) ? slice_str("spiffe://a/ci/x") : (struct slice){0};
    if (random_chance(world, 20) && !terms->break_glass)
        terms->not_before_ms = world->now_ms + random_pick(world, 60);
    if (random_chance(world, 20))
        terms->pending_until_ms = world->now_ms + 1 + random_pick(world, 60);
    terms->max_uses = random_chance(world, 30) ? 1 + random_pick(world, 3) : 0;
    if (random_chance(world, 25) && store_get(world->store, some_grant(world), &parent)) {
        terms->parent = parent.id;
        terms->subject = parent.subject;
        terms->resource = parent.resource;
        terms->binding.spiffe_id = parent.binding.spiffe_id;
    }
}

static void about_grant(struct random_commands *world, struct command *command)
{
    struct grant grant;
    command->grant = some_grant(world);
    bool own = store_get(world->store, command->grant, &grant) && random_chance(world, 60);
    command->principal = own ? grant.requester : caller(world);
    command->count = 1;
    if (command->type == COMMAND_USE)
        command->principal = slice_str("user:ep");
}

static void set_roles(struct random_commands *world, struct command *command)
{
    static const char *const usual[] = {"user:dev*", "user:app*", "spiffe://a/*"};
    static const uint32_t roles[] = {ROLE_REQUESTER, ROLE_REQUESTER | ROLE_APPROVER, ROLE_APPROVER, ROLE_OPERATOR, 0};
    command->principal = caller(world);
    command->member = random_chance(world, 70) ? PICK(world, members) : person(world);
    command->roles = roles[random_pick(world, ARRAY_LEN(roles))];
    if (random_chance(world, 50)) {
        command->principal = slice_str("user:ops");
        command->member = PICK(world, usual);
        command->roles = ROLE_REQUESTER | ROLE_APPROVER;
    }
}

static void revoke_matching(struct random_commands *world, struct command *command)
{
    command->principal = slice_str("user:ops");
    command->text = slice_str("sweep");
    switch (random_pick(world, 4)) {
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
static uint32_t some_instance(struct random_commands *world)
{
    uint32_t back = random_pick(world, 6);
    return world->n_instances > back ? world->n_instances - back : 1;
}

static void about_point(struct random_commands *world, struct command *command)
{
    uint32_t instance = some_instance(world);
    command->principal = slice_str("user:ep");
    if (command->type == COMMAND_REGISTER) {
        uint32_t id = random_pick(world, ARRAY_LEN(points));
        *command = fixture_register(points[id], ++world->n_instances, scopes[random_pick(world, ARRAY_LEN(scopes))]);
    } else if (command->type == COMMAND_END_POINT) {
        command->principal = (struct slice){0};
        command->instance = fixture_random_id(instance);
        command->count = 1 + random_pick(world, 3);
    } else {
        command->instance = fixture_random_id(instance);
        command->session = fixture_random_id(1 + random_pick(world, 6));
        command->grant = some_grant(world);
        command->text = slice_str("shell");
    }
}

static void give_receipt(struct random_commands *world, struct command *command)
{
    uint64_t revision = store_revision(world->store);
    uint64_t barrier = revision > 40 ? revision - random_pick(world, 40) : 1;
    uint32_t instance = some_instance(world);
    *command = fixture_receipt(barrier, instance, (enum receipt_level)(1 + random_pick(world, 4)), world->now_ms);
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

static void make_rule(struct random_commands *world, struct policy_rule *rule)
{
    rule->requesters = rule->subjects = everybody;
    rule->break_glass = random_chance(world, 30);
    rule->automatic = random_chance(world, 40);
    rule->eligibility = random_chance(world, 20);
    rule->self_approval = random_chance(world, 20);
    rule->delegation_depth = random_pick(world, 3);
    rule->token = (enum token_rule)random_pick(world, 3);
    rule->decide_within_ms = 20 + random_pick(world, 100);
    if (rule->break_glass)
        rule->review_within_ms = 10 + random_pick(world, 50);
    if (!rule->automatic && random_chance(world, 60)) {
        rule->steps[rule->n_steps++] = (struct policy_step){1 + random_pick(world, 2), approvers};
        if (random_chance(world, 50))
            rule->steps[rule->n_steps++] = (struct policy_step){.count = 1};
    }
    if (random_chance(world, 20))
        rule->limits = (struct policy_limits){.concurrent = 1 + random_pick(world, 6), .hold = false};
    else if (random_chance(world, 20))
        rule->limits = (struct policy_limits){.requests = 1 + random_pick(world, 6), .window_ms = 50, .hold = true};
}

static void apply_policy(struct random_commands *world, struct command *command)
{
    struct policy_rule rules[2];
    static char rule_names[2][8] = {"r0", "r1"};
    uint32_t n = 1 + random_pick(world, 2);
    for (uint32_t i = 0; i < n; i++) {
        rules[i] = (struct policy_rule){.name = slice_str(rule_names[i]), .resources = i == 0 ? databases : all};
        make_rule(world, &rules[i]);
    }
    struct policy policy = {.name = PICK(world, names),
                            .rules = rules,
                            .n_rules = n,
                            .priority = random_pick(world, 3),
                            .end_disallowed = random_chance(world, 40)};
    lapse_result result = policy_encode(&policy, value(world));
    CHECK(lapse_is_ok(result));
    command->principal = slice_str("user:ops");
    command->value = buf_slice(&world->value);
}

/* Some time ahead, the same as many others are given: what is due at once has an order, too. */
static int64_t some_time(struct random_commands *world)
{
    return (world->now_ms / 32 + 1 + random_pick(world, 4)) * 32;
}

static void lock(struct random_commands *world, struct command *command)
{
    struct lock lock = {.kind = (enum lock_kind)(1 + random_pick(world, 3)), .reason = slice_str("suspect")};
    lock.target = lock.kind == LOCK_SUBJECT    ? person(world)
                  : lock.kind == LOCK_RESOURCE ? PICK(world, resources)
                                               : PICK(world, points);
    if (random_chance(world, 80))
        lock.until_ms = some_time(world);
    lapse_result result = lock_encode(&lock, value(world));
    CHECK(lapse_is_ok(result));
    command->principal = caller(world);
    command->value = buf_slice(&world->value);
}

/* Most locks are lifted soon, or nothing else would happen. */
static void unlock(struct random_commands *world, struct command *command)
{
    static char name[LOCK_NAME_SIZE];
    command->principal = slice_str("user:ops");
    command->text = slice_str("over");
    if (random_chance(world, 70))
        command->name = lock_name(LOCK_SUBJECT, person(world), name);
    else if (random_chance(world, 60))
        command->name = lock_name(LOCK_RESOURCE, PICK(world, resources), name);
    else
        command->name = lock_name(LOCK_POINT, PICK(world, points), name);
}

static void put_eligibility(struct random_commands *world, struct command *command)
{
    struct eligibility eligibility = {.name = PICK(world, titles), .member = PICK(world, patterns), .n_resources = 1};
    eligibility.resources[0] = PICK(world, resources);
    eligibility.reason = slice_str("on call");
    eligibility.expires_ms = some_time(world);
    lapse_result result = eligibility_encode(&eligibility, value(world));
    CHECK(lapse_is_ok(result));
    command->principal = caller(world);
    command->value = buf_slice(&world->value);
}

static void start_campaign(struct random_commands *world, struct command *command)
{
    struct campaign campaign = {.name = PICK(world, titles), .due_ms = some_time(world)};
    campaign.reason = slice_str("quarter");
    if (random_chance(world, 50))
        campaign.members[campaign.n_members++] = PICK(world, patterns);
    else
        campaign.resources[campaign.n_resources++] = PICK(world, resources);
    lapse_result result = campaign_encode(&campaign, value(world));
    CHECK(lapse_is_ok(result));
    command->principal = caller(world);
    command->value = buf_slice(&world->value);
}

static void set_token(struct random_commands *world, struct command *command)
{
    struct buf *hash = value(world);
    uint8_t bytes[32] = {(uint8_t)(1 + random_pick(world, 40))};
    lapse_result result = buf_append(hash, bytes, sizeof bytes);
    CHECK(lapse_is_ok(result));
    about_grant(world, command);
    command->value = buf_slice(hash);
}

static void named(struct random_commands *world, struct command *command)
{
    command->principal = caller(world);
    command->name = command->type == COMMAND_REMOVE_POLICY ? PICK(world, names) : PICK(world, titles);
    command->text = slice_str("why");
    command->until_ms = command->type == COMMAND_CERTIFY ? some_time(world) : 0;
}

static void govern(struct random_commands *world, struct command *command)
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
        command->count = 1 + random_pick(world, 2);
        break;
    case COMMAND_SET_TOKEN:
        set_token(world, command);
        break;
    case COMMAND_HOOK_DONE:
        command->name = PICK(world, names);
        command->revision = random_pick(world, (uint32_t)store_revision(world->store) + 1);
        break;
    default:
        named(world, command);
    }
}

static void fill(struct random_commands *world, struct command *command)
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
        *command = fixture_advance(1 + random_pick(world, random_chance(world, 50) ? 2 : 40));
        break;
    default:
        if (command->type >= COMMAND_APPLY_POLICY)
            govern(world, command);
        else
            about_grant(world, command);
    }
}

/* How often each comes, of a thousand. */
static enum command_type some_type(struct random_commands *world)
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
        {COMMAND_SESSION_END, 20},
        {COMMAND_REVOKE_MATCHING, 8},
        {COMMAND_APPLY_POLICY, 12},
        {COMMAND_REMOVE_POLICY, 2},
        {COMMAND_LOCK, 8},
        {COMMAND_UNLOCK, 80},
        {COMMAND_OFFBOARD, 3},
        {COMMAND_PUT_ELIGIBILITY, 60},
        {COMMAND_REMOVE_ELIGIBILITY, 4},
        {COMMAND_CERTIFY, 10},
        {COMMAND_START_CAMPAIGN, 6},
        {COMMAND_CLOSE_CAMPAIGN, 6},
        {COMMAND_CLOSE_REVIEW, 40},
        {COMMAND_SET_TOKEN, 30},
        {COMMAND_HOOK_DONE, 5},
    };
    uint32_t in_all = 0, i = 0;
    for (size_t k = 0; k < ARRAY_LEN(shares); k++)
        in_all += shares[k].share;
    uint32_t dice = random_pick(world, in_all);
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

/* --- what tests see ----------------------------------------------------------------------------------------------- */

void random_commands_init(struct random_commands *world, uint64_t seed)
{
    *world = (struct random_commands){.random = {seed}, .now_ms = T0};
    make_patterns();
}

void random_commands_free(struct random_commands *world)
{
    buf_free(&world->value);
}

struct command random_command(struct random_commands *world)
{
    struct command command = {.type = some_type(world)};
    fill(world, &command);
    if (takes_a_key(command.type) && random_chance(world, 20))
        command.key = fixture_key(random_pick(world, 500));
    return command;
}

struct command random_policy(struct random_commands *world)
{
    struct command command = {.type = COMMAND_APPLY_POLICY};
    apply_policy(world, &command);
    return command;
}

void random_command_done(struct random_commands *world, const struct command *command)
{
    if (command->type == COMMAND_REQUEST)
        world->recent[world->n_recent++ % RANDOM_RECENT] = world->n_grants;
}
