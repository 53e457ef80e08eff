#include "tests/sim/workload_governance.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "store/eligibility.h"
#include "store/lock.h"
#include "store/policy.h"
#include "store/review.h"
#include "tests/sim/node_lease.h"

#define POLICIES 4u
#define ELIGIBILITIES 6u
#define CAMPAIGNS 2u
#define PATTERNS_MAX 64u
#define DRAWN_RULES 3u

#define PICK(sim, table) (table)[sim_below(sim, ARRAY_LEN(table))]

bool governance_is_heavy(const struct sim *sim)
{
    return sim->profile->governance_ppm >= 100000;
}

/* --- What to do --- */

static enum command_type draw_kind(struct sim *sim)
{
    static const struct {
        enum command_type type;
        uint32_t weight;
    } kinds[] = {{COMMAND_LOCK, 12},          {COMMAND_UNLOCK, 20},
                 {COMMAND_OFFBOARD, 2},       {COMMAND_APPLY_POLICY, 16},
                 {COMMAND_REMOVE_POLICY, 4},  {COMMAND_PUT_ELIGIBILITY, 12},
                 {COMMAND_CERTIFY, 6},        {COMMAND_REMOVE_ELIGIBILITY, 2},
                 {COMMAND_START_CAMPAIGN, 4}, {COMMAND_CLOSE_CAMPAIGN, 1},
                 {COMMAND_CLOSE_REVIEW, 25},  {COMMAND_SET_TOKEN, 12},
                 {COMMAND_SET_ROLES, 4}};
    uint32_t total = 0;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        total += kinds[i].weight;
    }
    uint64_t ball = sim_below(sim, total);
    size_t i = 0;
    while (ball >= kinds[i].weight) {
        ball -= kinds[i].weight;
        i++;
    }
    return kinds[i].type;
}

static void act_as(struct workload_op *op, const char *prefix, uint64_t number)
{
    snprintf(op->principal, sizeof(op->principal), "%s%" PRIu64, prefix, number);
    op->command.principal = slice_str(op->principal);
}

static void act_as_operator(struct workload_op *op)
{
    snprintf(op->principal, sizeof(op->principal), "user:operator");
    op->command.principal = slice_str(op->principal);
}

static struct slice name_object(struct workload_op *op, const char *prefix, uint64_t number)
{
    snprintf(op->name, sizeof(op->name), "%s%" PRIu64, prefix, number);
    return slice_str(op->name);
}

/* Subjects, requesters and approvers under both of their names; never the operator, never a point's principal. */
static struct slice draw_person(struct sim *sim, struct workload_op *op)
{
    static const char *const forms[] = {"user:sub", "user:sub", "user:sub",
                                        "user:req", "user:app", "spiffe://sim.test/user/sub"};
    snprintf(op->member, sizeof(op->member), "%s%" PRIu64, PICK(sim, forms), sim_below(sim, 4));
    return slice_str(op->member);
}

static void draw_roles(struct sim *sim, struct workload_op *op)
{
    static const char *const members[] = {"user:req0", "user:sub0", "spiffe://sim.test/user/req0",
                                          "spiffe://sim.test/user/app0", "spiffe://sim.test/user/sub1"};
    snprintf(op->member, sizeof(op->member), "%s", PICK(sim, members));
    op->command.member = slice_str(op->member);
    op->command.roles = sim_chance(sim, 700000) ? ROLE_REQUESTER | ROLE_APPROVER : 0;
}

static uint32_t draw_wait(struct sim *sim)
{
    uint64_t ball = sim_below(sim, 10);
    return ball < 6 ? RECEIPT_ENFORCED : ball < 8 ? RECEIPT_RECEIVED : 0;
}

/* Its kind, and the target in op->member. */
static enum lock_kind draw_lock(struct sim *sim, struct workload_op *op)
{
    static const char *const resources[] = {"db/r0", "db/r1", "db/r2", "db/r4/*", "db/r4/x", "db/*", "db/r5/*"};
    uint64_t ball = sim_below(sim, 100);
    if (ball < 55) {
        draw_person(sim, op);
        return LOCK_SUBJECT;
    }
    bool point = ball < 60 && sim->profile->points > 0 && governance_is_heavy(sim);
    if (point) {
        snprintf(op->member, sizeof(op->member), "ep%" PRIu64, sim_below(sim, sim->profile->points));
        return LOCK_POINT;
    }
    snprintf(op->member, sizeof(op->member), "%s", PICK(sim, resources));
    return LOCK_RESOURCE;
}

static void put_lock_name(enum lock_kind kind, const char *target, char out[48])
{
    char name[LOCK_NAME_SIZE];
    bool fits = slice_to_cstr(lock_name(kind, slice_str(target), name), out, 48);
    CHECK(fits);
}

/* Mostly one that was set lately. */
static void name_lock(struct governance *governance, struct workload_op *op)
{
    struct sim *sim = governance->sim;
    uint64_t n = governance->n_locks < KNOWN_LOCKS ? governance->n_locks : KNOWN_LOCKS;
    if (n > 0 && sim_chance(sim, 900000)) {
        memcpy(op->name, governance->locks[sim_below(sim, n)], sizeof(op->name));
    } else {
        enum lock_kind kind = draw_lock(sim, op);
        put_lock_name(kind, op->member, op->name);
    }
    op->command.name = slice_str(op->name);
}

static void close_review(struct sim *sim, struct workload_op *op, const struct governed_grant *grant)
{
    op->command.grant = grant->id;
    op->command.count = REVIEW_JUSTIFIED;
    op->command.text = slice_str("looked at");
    if (sim_chance(sim, 150000)) {
        act_as(op, "user:req", grant->requester);
    } else {
        act_as(op, "user:app", sim_below(sim, 3));
    }
}

static void name_what(struct governance *governance, struct workload_op *op)
{
    struct sim *sim = governance->sim;
    struct command *command = &op->command;
    switch (command->type) {
    case COMMAND_UNLOCK:
        name_lock(governance, op);
        break;
    case COMMAND_OFFBOARD:
        command->member = draw_person(sim, op);
        op->wait = draw_wait(sim);
        break;
    case COMMAND_REMOVE_POLICY:
        command->name = governance_is_heavy(sim) && sim_chance(sim, 100000)
                            ? slice_str("base")
                            : name_object(op, "p", sim_below(sim, POLICIES));
        break;
    case COMMAND_REMOVE_ELIGIBILITY:
    case COMMAND_CERTIFY:
        command->name = name_object(op, "e", sim_below(sim, ELIGIBILITIES));
        break;
    case COMMAND_CLOSE_CAMPAIGN:
        command->name = name_object(op, "c", sim_below(sim, CAMPAIGNS));
        break;
    default:
        break;
    }
}

void governance_next(struct governance *governance, struct workload_op *op, const struct governed_grant *grant)
{
    struct sim *sim = governance->sim;
    struct command *command = &op->command;
    command->type = governance->based ? draw_kind(sim) : COMMAND_APPLY_POLICY;
    bool of_grant = command->type == COMMAND_CLOSE_REVIEW || command->type == COMMAND_SET_TOKEN;
    if (!governance_is_heavy(sim) && command->type == COMMAND_OFFBOARD) {
        command->type = COMMAND_UNLOCK;
    }
    if (of_grant && (grant == NULL || (command->type == COMMAND_CLOSE_REVIEW && !grant->break_glass))) {
        command->type = COMMAND_LOCK;
    }
    act_as_operator(op);
    command->text = slice_str("as planned");
    if (command->type == COMMAND_CLOSE_REVIEW) {
        close_review(sim, op, grant);
    } else if (command->type == COMMAND_SET_TOKEN) {
        command->grant = grant->id;
        command->text = (struct slice){0};
        act_as(op, "user:req", grant->requester);
    } else if (command->type == COMMAND_SET_ROLES) {
        command->text = (struct slice){0};
        draw_roles(sim, op);
    } else if (command->type == COMMAND_LOCK) {
        op->lock_kind = draw_lock(sim, op);
        op->wait = op->lock_kind == LOCK_POINT ? 0 : draw_wait(sim);
    } else {
        name_what(governance, op);
    }
}

/* --- What is in it --- */

/* The value stands in the operation's own memory. */
static void end_value(struct workload_op *op, struct buf *out, lapse_result encoded)
{
    CHECK(lapse_is_ok(encoded) && out->len <= sizeof(op->value));
    memcpy(op->value, out->data, out->len);
    op->command.value = slice_of(op->value, out->len);
    buf_free(out);
}

static void fill_lock(struct sim *sim, struct workload_op *op, int64_t now_ms)
{
    struct lock lock = {.kind = op->lock_kind, .target = slice_str(op->member), .reason = slice_str("an incident")};
    if (lock.kind == LOCK_POINT || !governance_is_heavy(sim) || sim_chance(sim, 800000)) {
        lock.until_ms = now_ms + sim_between(sim, 20, 800);
    }
    op->command.text = (struct slice){0};
    struct buf out;
    buf_init(&out, sizeof(op->value));
    end_value(op, &out, lock_encode(&lock, &out));
}

/* Lists of patterns, with a space between each. */
struct draft {
    struct policy_rule rules[DRAWN_RULES + 2];
    struct slice items[PATTERNS_MAX];
    uint32_t n_items, n_rules;
};

static struct policy_patterns list(struct draft *draft, const char *texts)
{
    struct policy_patterns patterns = {.items = draft->items + draft->n_items};
    struct slice rest = slice_str(texts);
    while (draft->n_items < PATTERNS_MAX && scope_next(&rest, &draft->items[draft->n_items])) {
        draft->n_items++;
        patterns.n++;
    }
    CHECK(rest.len == 0);
    return patterns;
}

static struct policy_rule *add_rule(struct draft *draft, const char *name, const char *resources)
{
    CHECK(draft->n_rules < ARRAY_LEN(draft->rules));
    struct policy_rule *rule = &draft->rules[draft->n_rules++];
    *rule = (struct policy_rule){.name = slice_str(name),
                                 .requesters = list(draft, "*"),
                                 .subjects = list(draft, "*"),
                                 .resources = list(draft, resources),
                                 .delegation_depth = 4};
    return rule;
}

static void add_step(struct draft *draft, struct policy_rule *rule, uint32_t count, const char *approvers)
{
    rule->steps[rule->n_steps++] = (struct policy_step){count, list(draft, approvers)};
}

static void draw_limits(struct sim *sim, struct policy_rule *rule)
{
    rule->limits.concurrent = (uint32_t)sim_below(sim, 4);
    if (sim_chance(sim, 500000)) {
        rule->limits.requests = 1 + (uint32_t)sim_below(sim, 5);
        rule->limits.window_ms = sim_between(sim, 1000, 3000);
        rule->limits.hold = sim_chance(sim, 500000);
    }
}

static void draw_approval(struct sim *sim, struct draft *draft, struct policy_rule *rule)
{
    switch (sim_below(sim, 5)) {
    case 0:
        rule->automatic = true;
        break;
    case 1:
        add_step(draft, rule, 1, "user:app0");
        add_step(draft, rule, 1, "user:app*");
        break;
    case 2:
        add_step(draft, rule, 2, "user:app*");
        break;
    case 3:
        rule->self_approval = true;
        add_step(draft, rule, 1 + (uint32_t)sim_below(sim, 2), "user:req* user:app*");
        break;
    default:
        break;
    }
}

static void draw_rule(struct sim *sim, struct draft *draft)
{
    static const char *const names[DRAWN_RULES] = {"first", "second", "third"};
    static const char *const resources[] = {"db/r0", "db/r1 db/r2", "db/r3 db/r4/*", "db/r4/* db/r5/*", "db/*"};
    static const char *const requesters[] = {"user:req*", "user:req0 user:req1", "user:req2", "*"};
    struct policy_rule *rule = add_rule(draft, names[draft->n_rules], PICK(sim, resources));
    rule->requesters = list(draft, PICK(sim, requesters));
    uint64_t ball = sim_below(sim, 10);
    if (ball == 0) {
        static const char *const denied[] = {"db/r0", "db/r4/x", "db/r5/x", "db/r4/*"};
        *rule = (struct policy_rule){.name = rule->name,
                                     .deny = true,
                                     .requesters = list(draft, "user:req2 user:req3"),
                                     .resources = list(draft, PICK(sim, denied))};
        return;
    }
    draw_approval(sim, draft, rule);
    draw_limits(sim, rule);
    rule->break_glass = ball == 1;
    rule->review_within_ms = rule->break_glass ? sim_between(sim, 1000, 4000) : 0;
    rule->eligibility = ball == 2 || ball == 3;
    rule->token = (enum token_rule)sim_below(sim, 3);
    rule->delegation_depth = (uint32_t)sim_below(sim, 4);
    rule->max_duration_ms = sim_chance(sim, 300000) ? sim_between(sim, 5000, 60000) : 0;
    rule->decide_within_ms = sim_chance(sim, 300000) ? sim_between(sim, 1000, 3000) : 0;
}

/* What no other policy decides: one approver; in an emergency nobody. */
static void draft_base(struct sim *sim, struct draft *draft)
{
    struct policy_rule *emergency = add_rule(draft, "emergency", "*");
    emergency->break_glass = true;
    emergency->automatic = sim_chance(sim, 500000);
    emergency->review_within_ms = sim_between(sim, 1000, governance_is_heavy(sim) ? 5000 : 60000);
    add_rule(draft, "ordinary", "*");
}

static void fill_policy(struct governance *governance, struct workload_op *op)
{
    struct sim *sim = governance->sim;
    struct draft draft = {0};
    struct buf out;
    bool base = !governance->based || sim_chance(sim, 150000);
    struct policy policy = {.name = slice_str("base"), .priority = 1000};
    if (base) {
        draft_base(sim, &draft);
    } else {
        policy.name = name_object(op, "p", sim_below(sim, POLICIES));
        policy.priority = 1 + (uint32_t)sim_below(sim, 10);
        for (uint64_t n = 1 + sim_below(sim, DRAWN_RULES); n > 0; n--) {
            draw_rule(sim, &draft);
        }
    }
    policy.end_disallowed = sim_chance(sim, 300000);
    policy.rules = draft.rules;
    policy.n_rules = draft.n_rules;
    op->command.text = (struct slice){0};
    buf_init(&out, sizeof(op->value));
    end_value(op, &out, policy_encode(&policy, &out));
}

static void fill_eligibility(struct sim *sim, struct workload_op *op, int64_t now_ms)
{
    static const char *const members[] = {"user:req0", "user:req1", "user:req2", "user:req*"};
    static const char *const resources[] = {"*", "db/*", "db/r1", "db/r4/*"};
    struct eligibility eligibility = {.name = name_object(op, "e", sim_below(sim, ELIGIBILITIES)),
                                      .member = slice_str(PICK(sim, members)),
                                      .resources = {slice_str(PICK(sim, resources))},
                                      .n_resources = 1,
                                      .reason = slice_str("on the rota"),
                                      .expires_ms = now_ms + sim_between(sim, 100, 8000)};
    struct buf out;
    op->command.text = (struct slice){0};
    buf_init(&out, sizeof(op->value));
    end_value(op, &out, eligibility_encode(&eligibility, &out));
}

static void fill_campaign(struct sim *sim, struct workload_op *op, int64_t now_ms)
{
    static const char *const scopes[] = {"*", "db/*", "db/r4/*"};
    struct campaign campaign = {.name = name_object(op, "c", sim_below(sim, CAMPAIGNS)),
                                .due_ms = now_ms + sim_between(sim, 100, 3000),
                                .reason = slice_str("each quarter")};
    if (sim_chance(sim, 500000)) {
        campaign.members[campaign.n_members++] = slice_str("user:req*");
    }
    if (sim_chance(sim, 500000)) {
        campaign.resources[campaign.n_resources++] = slice_str(PICK(sim, scopes));
    }
    struct buf out;
    op->command.text = (struct slice){0};
    buf_init(&out, sizeof(op->value));
    end_value(op, &out, campaign_encode(&campaign, &out));
}

/* Mostly a new one; now and then one that another grant has. */
static void fill_token(struct governance *governance, struct workload_op *op)
{
    if (!sim_chance(governance->sim, 150000) || !governance_draw_token(governance, op->value)) {
        sim_random_bytes(governance->sim, op->value, 32);
    }
    op->command.value = slice_of(op->value, 32);
}

void governance_fill(struct governance *governance, struct workload_op *op, int64_t now_ms)
{
    struct sim *sim = governance->sim;
    switch (op->command.type) {
    case COMMAND_LOCK:
        fill_lock(sim, op, now_ms);
        break;
    case COMMAND_APPLY_POLICY:
        fill_policy(governance, op);
        break;
    case COMMAND_PUT_ELIGIBILITY:
        fill_eligibility(sim, op, now_ms);
        break;
    case COMMAND_CERTIFY:
        op->command.until_ms = now_ms + sim_between(sim, 100, 8000);
        break;
    case COMMAND_START_CAMPAIGN:
        fill_campaign(sim, op, now_ms);
        break;
    case COMMAND_SET_TOKEN:
        fill_token(governance, op);
        break;
    default:
        break;
    }
}

void governance_succeeded(struct governance *governance, const struct workload_op *op)
{
    governance->based = governance->based || op->command.type == COMMAND_APPLY_POLICY;
    if (op->command.type == COMMAND_SET_TOKEN) {
        memcpy(governance->tokens[governance->n_tokens++ % KNOWN_TOKENS].sha256, op->value, 32);
    } else if (op->command.type == COMMAND_LOCK || op->command.type == COMMAND_OFFBOARD) {
        enum lock_kind kind = op->command.type == COMMAND_LOCK ? op->lock_kind : LOCK_SUBJECT;
        put_lock_name(kind, op->member, governance->locks[governance->n_locks++ % KNOWN_LOCKS]);
    }
}

bool governance_draw_token(struct governance *governance, uint8_t sha256[32])
{
    uint64_t n = governance->n_tokens < KNOWN_TOKENS ? governance->n_tokens : KNOWN_TOKENS;
    if (n == 0) {
        return false;
    }
    memcpy(sha256, governance->tokens[sim_below(governance->sim, n)].sha256, 32);
    return true;
}
