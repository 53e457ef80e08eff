/* The first four commands give roles; then everybody works on the latest grants. */
#include "tests/sim/workload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/node_lease.h"
#include "tests/sim/workload_governance.h"

#define RECENT 48u
#define SUBJECTS 5u
#define RESOURCES 6u
#define SUBTREES_FROM 4u /* the last resources are requested as subtrees */

struct known_grant {
    struct grant_id id;
    uint32_t requester, subject, resource;
    bool break_glass;
};

struct workload {
    struct sim *sim;
    uint32_t n_roles; /* role bindings made so far */
    struct known_grant recent[RECENT];
    uint64_t n_known;
    struct governance governance;
};

struct workload *workload_new(struct sim *sim)
{
    struct workload *workload = mem_calloc(1, sizeof(*workload));
    workload->sim = sim;
    workload->governance.sim = sim;
    return workload;
}

void workload_free(struct workload *workload)
{
    free(workload);
}

/* --- Names --- */

static struct slice name_in(char out[32], const char *prefix, uint64_t number)
{
    snprintf(out, 32, "%s%" PRIu64, prefix, number);
    return slice_str(out);
}

static void act_as(struct workload_op *op, const char *prefix, uint64_t number)
{
    op->command.principal = name_in(op->principal, prefix, number);
}

static void act_as_operator(struct workload_op *op)
{
    snprintf(op->principal, sizeof(op->principal), "user:operator");
    op->command.principal = slice_str(op->principal);
}

/* `suffix`: of a subtree's name. */
static struct slice name_resource(struct workload_op *op, uint32_t resource, const char *suffix)
{
    snprintf(op->resource, sizeof(op->resource), "db/r%u%s", resource, resource < SUBTREES_FROM ? "" : suffix);
    return slice_str(op->resource);
}

static void name_target(struct workload_op *op, uint32_t subject, uint32_t resource, const char *suffix)
{
    op->command.terms.subject = name_in(op->subject, "user:sub", subject);
    op->command.terms.resource = name_resource(op, resource, suffix);
}

/* --- Choosing --- */

/* Mostly one of the very latest. */
static const struct known_grant *draw_known(struct workload *workload)
{
    struct sim *sim = workload->sim;
    uint64_t n = workload->n_known < RECENT ? workload->n_known : RECENT;
    uint64_t span = sim_chance(sim, 700000) && n > 6 ? 6 : n;
    return &workload->recent[(workload->n_known - 1 - sim_below(sim, span)) % RECENT];
}

static enum command_type draw_type(struct workload *workload)
{
    static const struct {
        enum command_type type;
        uint32_t weight;
    } kinds[] = {{COMMAND_REQUEST, 30}, {COMMAND_APPROVE, 30}, {COMMAND_DENY, 2},    {COMMAND_CANCEL, 3},
                 {COMMAND_USE, 10},     {COMMAND_COMPLETE, 4}, {COMMAND_REVOKE, 10}, {COMMAND_REVOKE_MATCHING, 2}};
    uint64_t ball = sim_below(workload->sim, 91);
    size_t i = 0;
    while (ball >= kinds[i].weight) {
        ball -= kinds[i].weight;
        i++;
    }
    return kinds[i].type;
}

static void give_role(struct workload *workload, struct workload_op *op)
{
    static const struct {
        const char *member;
        uint32_t roles;
    } bindings[] = {{"user:req*", ROLE_REQUESTER}, {"user:app*", ROLE_APPROVER}, {"user:ep*", ROLE_ENFORCER}};
    uint32_t i = workload->n_roles % 3;
    workload->n_roles++;
    act_as_operator(op);
    op->command.type = COMMAND_SET_ROLES;
    snprintf(op->member, sizeof(op->member), "%s", bindings[i].member);
    op->command.member = slice_str(op->member);
    op->command.roles = bindings[i].roles;
}

static void begin_op(struct workload *workload, struct workload_op *op)
{
    *op = (struct workload_op){0};
    sim_random_bytes(workload->sim, op->command.key.bytes, sizeof(op->command.key.bytes));
}

void workload_probe(struct workload *workload, struct workload_op *op, bool is_read)
{
    begin_op(workload, op);
    op->is_read = is_read;
    name_target(op, 0, 0, "");
    if (!is_read) {
        give_role(workload, op);
    }
}

static void request(struct workload *workload, struct workload_op *op)
{
    struct sim *sim = workload->sim;
    op->command.type = COMMAND_REQUEST;
    act_as(op, "user:req", sim_below(sim, 4));
    if (workload->n_known > 0 && sim_chance(sim, 250000)) {
        const struct known_grant *parent = draw_known(workload);
        op->command.terms.parent = parent->id;
        name_target(op, parent->subject, parent->resource, "/x");
    } else {
        name_target(op, (uint32_t)sim_below(sim, SUBJECTS), (uint32_t)sim_below(sim, RESOURCES), "/*");
    }
}

static uint32_t draw_wait(struct sim *sim)
{
    uint64_t ball = sim_below(sim, 10);
    return ball < 5 ? RECEIPT_ENFORCED : ball < 8 ? RECEIPT_RECEIVED : 0;
}

static void revoke_matching(struct workload *workload, struct workload_op *op)
{
    struct sim *sim = workload->sim;
    struct store_filter *filter = &op->command.filter;
    op->command.type = COMMAND_REVOKE_MATCHING;
    op->wait = draw_wait(sim);
    act_as_operator(op);
    if (sim_chance(sim, 600000)) {
        filter->resource = name_resource(op, (uint32_t)sim_below(sim, RESOURCES), "/*");
    }
    if (filter->resource.len == 0 || sim_chance(sim, 300000)) {
        filter->subject = name_in(op->subject, "user:sub", sim_below(sim, SUBJECTS));
    }
}

/* Under policies requesters may try themselves, and under their other names. */
static void decide(struct workload *workload, struct workload_op *op, const struct known_grant *known)
{
    struct sim *sim = workload->sim;
    uint64_t ball = governance_is_heavy(sim) ? sim_below(sim, 100) : 0;
    if (ball < 75) {
        act_as(op, "user:app", sim_below(sim, 3));
    } else if (ball < 85) {
        act_as(op, "user:req", known->requester);
    } else if (ball < 90) {
        act_as(op, "user:sub", known->subject);
    } else {
        static const char *const forms[] = {"spiffe://sim.test/user/req", "spiffe://sim.test/user/app",
                                            "spiffe://sim.test/user/sub"};
        act_as(op, forms[sim_below(sim, 3)], sim_below(sim, 2));
    }
}

/* About one of the latest grants; of those for break-glass, if there is one, in half of the cases. */
static void govern(struct workload *workload, struct workload_op *op)
{
    const struct known_grant *known = workload->n_known == 0 ? NULL : draw_known(workload);
    for (int i = 0; known != NULL && !known->break_glass && i < 8 && sim_chance(workload->sim, 800000); i++) {
        known = draw_known(workload);
    }
    struct governed_grant grant = {0};
    if (known != NULL) {
        grant = (struct governed_grant){known->id, known->requester, known->break_glass};
    }
    op->governs = true;
    governance_next(&workload->governance, op, known == NULL ? NULL : &grant);
}

static void act_on(struct workload *workload, struct workload_op *op, enum command_type type)
{
    struct sim *sim = workload->sim;
    const struct known_grant *known = draw_known(workload);
    op->command.type = type;
    op->command.grant = known->id;
    switch (type) {
    case COMMAND_APPROVE:
    case COMMAND_DENY:
        decide(workload, op, known);
        break;
    case COMMAND_USE:
        act_as(op, "user:ep", 1);
        op->command.count = 1 + (uint32_t)sim_below(sim, 2);
        break;
    case COMMAND_REVOKE:
        act_as_operator(op);
        op->wait = draw_wait(sim);
        break;
    default:
        act_as(op, "user:req", known->requester);
        break;
    }
}

void workload_next(struct workload *workload, struct workload_op *op)
{
    struct sim *sim = workload->sim;
    begin_op(workload, op);
    if (workload->n_roles < 3) {
        give_role(workload, op);
        return;
    }
    if (sim_chance(sim, sim->profile->governance_ppm)) {
        govern(workload, op);
        return;
    }
    if (workload->n_known > 0 && sim_chance(sim, 200000)) {
        const struct known_grant *known = draw_known(workload);
        op->is_read = true;
        name_target(op, known->subject, known->resource, "/x");
        op->by_token = sim->profile->governance_ppm > 0 && sim_chance(sim, 200000) &&
                       governance_draw_token(&workload->governance, op->value);
        return;
    }
    enum command_type type = workload->n_known == 0 ? COMMAND_REQUEST : draw_type(workload);
    if (type == COMMAND_REQUEST) {
        request(workload, op);
    } else if (type == COMMAND_REVOKE_MATCHING) {
        revoke_matching(workload, op);
    } else {
        act_on(workload, op, type);
    }
}

/* --- A request's terms --- */

/* From 50 ms to about a minute, short ones as often as long ones. */
static int64_t draw_duration_ms(struct sim *sim)
{
    return (50 + (int64_t)sim_below(sim, 50)) << sim_below(sim, 11);
}

void workload_fill(struct workload *workload, struct workload_op *op, int64_t now_ms)
{
    static const struct slice action = {(const uint8_t *)"read", 4};
    struct sim *sim = workload->sim;
    if (op->governs) {
        governance_fill(&workload->governance, op, now_ms);
        return;
    }
    if (op->is_read || op->command.type != COMMAND_REQUEST) {
        return;
    }
    struct grant *terms = &op->command.terms;
    uint8_t random[10];
    sim_random_bytes(sim, random, sizeof(random));
    op->command.grant = grant_id_make(now_ms, random);
    terms->actions[0] = action;
    terms->n_actions = 1;
    terms->justification = slice_str("on call");
    if (sim_chance(sim, 150000)) {
        terms->deadline_ms = now_ms + draw_duration_ms(sim);
    } else {
        terms->duration_ms = draw_duration_ms(sim);
    }
    terms->break_glass = sim_chance(sim, governance_is_heavy(sim) ? 60000 : 10000);
    if (!terms->break_glass && sim_chance(sim, 150000)) {
        terms->not_before_ms = now_ms + sim_between(sim, 10, 4000);
    }
    if (sim_chance(sim, 200000)) {
        terms->pending_until_ms = now_ms + sim_between(sim, 50, 3000);
    }
    if (sim_chance(sim, 300000)) {
        terms->max_uses = 1 + (uint32_t)sim_below(sim, 5);
    }
}

void workload_succeeded(struct workload *workload, const struct workload_op *op)
{
    if (op->governs) {
        governance_succeeded(&workload->governance, op);
    }
    if (op->command.type != COMMAND_REQUEST) {
        return;
    }
    struct known_grant *known = &workload->recent[workload->n_known++ % RECENT];
    known->id = op->command.grant;
    known->requester = (uint32_t)(op->principal[8] - '0');
    known->subject = (uint32_t)(op->subject[8] - '0');
    known->resource = (uint32_t)(op->resource[4] - '0');
    known->break_glass = op->command.terms.break_glass;
}

void workload_query(const struct workload_op *op, struct grant_query *query)
{
    *query = (struct grant_query){
        .subject = op->command.terms.subject, .resource = op->command.terms.resource, .action = slice_str("read")};
    if (op->by_token) {
        query->subject = (struct slice){0};
        query->token_sha256 = slice_of(op->value, 32);
    }
}
