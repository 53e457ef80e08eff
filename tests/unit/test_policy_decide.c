/* Which rule decides, what it asks for, and what a refusal says. */
#include <criterion/criterion.h>

#include "tests/unit/policy_fixture.h"

#define NOW 1767225600000LL

/* What the store would know. */
struct known {
    bool eligible;
    struct policy_usage usage;
    int asked_usage;
};

static bool known_eligible(void *arg, const struct policy_request *request)
{
    (void)request;
    return ((struct known *)arg)->eligible;
}

static void known_usage(void *arg, const struct policy_request *request, const struct policy *policy,
                        const struct policy_rule *rule, struct policy_usage *usage)
{
    struct known *known = arg;
    (void)request;
    (void)policy;
    (void)rule;
    known->asked_usage++;
    *usage = known->usage;
}

/* A request by dev1 for itself: read db/prod/orders for one hour. */
static struct grant terms(void)
{
    return (struct grant){.subject = S("user:dev1"),
                          .resource = S("db/prod/orders"),
                          .actions = {S("read")},
                          .n_actions = 1,
                          .justification = S("look into the failed orders"),
                          .duration_ms = HOURS(1)};
}

struct outcome {
    lapse_result result;
    struct policy_decision decision;
    struct lapse_error error;
};

static struct outcome decide_among(const struct policy *const *policies, uint32_t n, const char *requester,
                                   const struct grant *grant, struct known *known)
{
    struct outcome outcome = {0};
    struct policy_request request = {S(requester), grant, NOW};
    struct policy_facts facts = {known, known_eligible, known_usage};
    outcome.result =
        policy_decide(policies, n, &request, known == NULL ? NULL : &facts, &outcome.decision, &outcome.error);
    return outcome;
}

static struct outcome decide_one(const struct policy *policy, const struct grant *grant)
{
    return decide_among(&policy, 1, "spiffe://example.org/user/dev1", grant, NULL);
}

static void expect_rule(struct outcome outcome, const char *rule)
{
    cr_assert_eq(outcome.result.code, LAPSE_OK, "%s", outcome.error.message);
    cr_assert(slice_equal(outcome.decision.rule->name, S(rule)), "%.*s", (int)outcome.decision.rule->name.len,
              (const char *)outcome.decision.rule->name.data);
}

static void expect_refusal(struct outcome outcome, enum lapse_code code, const char *says)
{
    cr_expect_eq(outcome.result.code, code, "%s instead of %s", lapse_code_name(outcome.result.code), says);
    cr_expect_eq(outcome.error.code, outcome.result.code);
    cr_expect_not_null(strstr(outcome.error.message, says), "\"%s\" instead of \"%s\"", outcome.error.message, says);
    cr_expect_null(outcome.decision.rule);
}

/* --- who and what ------------------------------------------------------------------------------------------------- */

static const struct policy developers = {
    .name = {(const uint8_t *)"dev", 3},
    RULES({.name = {(const uint8_t *)"self", 4},
           .requesters = LIST({(const uint8_t *)"user:dev*", 9}),
           .resources = LIST({(const uint8_t *)"db/prod/*", 9}),
           .actions = LIST({(const uint8_t *)"read", 4}, {(const uint8_t *)"write", 5})},
          {.name = {(const uint8_t *)"for-agents", 10},
           .requesters = LIST({(const uint8_t *)"user:dev*", 9}),
           .subjects = LIST({(const uint8_t *)"agent:*", 7}),
           .resources = LIST({(const uint8_t *)"db/test/*", 9})}),
};

Test(policy_decide, a_rule_is_for_its_requesters_subjects_resources_and_actions)
{
    static const struct {
        const char *requester, *subject, *resource, *actions[2];
        const char *rule; /* NULL: none */
    } cases[] = {
        {"spiffe://x/user/dev1", "user:dev1", "db/prod/orders", {"read"}, "self"},
        {"spiffe://x/user/dev1", "spiffe://x/user/dev1", "db/prod/orders", {"read", "write"}, "self"},
        {"spiffe://x/user/dev1", "user:dev1", "db/prod/*", {"read"}, "self"},
        {"spiffe://x/user/dev1", "user:dev1", "db/*", {"read"}, NULL},
        {"spiffe://x/user/dev1", "user:dev1", "db/prod", {"read"}, NULL},
        {"spiffe://x/user/dev1", "user:dev1", "*", {"read"}, NULL},
        {"spiffe://x/user/dev1", "user:dev1", "db/prod/orders", {"drop", "read"}, NULL},
        {"spiffe://x/user/dev1", "user:dev2", "db/prod/orders", {"read"}, NULL},
        {"spiffe://x/user/ops1", "user:ops1", "db/prod/orders", {"read"}, NULL},
        {"spiffe://x/user/dev1", "agent:a", "db/test/x", {"drop"}, "for-agents"},
        {"spiffe://x/user/dev1", "user:dev1", "db/test/x", {"drop"}, NULL},
        {"spiffe://x/user/dev1", "agent:a", "db/prod/orders", {"read"}, NULL},
    };
    const struct policy *policies[] = {&developers};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct grant grant = terms();
        grant.subject = S(cases[i].subject);
        grant.resource = S(cases[i].resource);
        grant.n_actions = cases[i].actions[1] == NULL ? 1 : 2;
        for (uint32_t a = 0; a < grant.n_actions; a++)
            grant.actions[a] = S(cases[i].actions[a]);
        struct outcome outcome = decide_among(policies, 1, cases[i].requester, &grant, NULL);
        if (cases[i].rule != NULL)
            expect_rule(outcome, cases[i].rule);
        else
            expect_refusal(outcome, LAPSE_PERMISSION_DENIED, "no rule of any policy lets this requester");
    }
}

/* --- order -------------------------------------------------------------------------------------------------------- */

Test(policy_decide, the_first_rule_whose_requirements_are_met_decides)
{
    struct policy first = {.name = S("a"),
                           RULES({.name = S("short"),
                                  .requesters = LIST(S("*")),
                                  .resources = LIST(S("*")),
                                  .max_duration_ms = MINUTES(10),
                                  .automatic = true},
                                 {.name = S("ticket"),
                                  .requesters = LIST(S("*")),
                                  .resources = LIST(S("*")),
                                  .max_duration_ms = HOURS(2),
                                  .ticket = {.required = true}})};
    struct policy second = {.name = S("b"),
                            RULES({.name = S("long"), .requesters = LIST(S("*")), .resources = LIST(S("*"))})};
    const struct policy *policies[] = {&first, &second};
    struct grant grant = terms();
    grant.duration_ms = MINUTES(10);
    expect_rule(decide_among(policies, 2, "user:dev1", &grant, NULL), "short");
    grant.duration_ms = MINUTES(10) + 1;
    expect_rule(decide_among(policies, 2, "user:dev1", &grant, NULL), "long");
    grant.ticket = S("OPS-1");
    expect_rule(decide_among(policies, 2, "user:dev1", &grant, NULL), "ticket");
    grant.duration_ms = HOURS(3);
    struct outcome outcome = decide_among(policies, 2, "user:dev1", &grant, NULL);
    expect_rule(outcome, "long");
    cr_assert_eq(outcome.decision.policy, &second);
}

Test(policy_decide, a_refusal_names_the_first_requirement_of_the_first_rule_that_matched)
{
    struct policy policy = {
        .name = S("db"),
        RULES(
            {.name = S("other"), .requesters = LIST(S("user:ops*")), .resources = LIST(S("*")), .max_duration_ms = 1},
            {.name = S("short"), .requesters = LIST(S("*")), .resources = LIST(S("*")), .max_duration_ms = MINUTES(10)},
            {.name = S("ticket"),
             .requesters = LIST(S("*")),
             .resources = LIST(S("*")),
             .ticket = {.required = true}})};
    struct grant grant = terms();
    expect_refusal(decide_one(&policy, &grant), LAPSE_FAILED_PRECONDITION,
                   "policy db, rule short: at most 10m at a time");
}

Test(policy_decide, a_request_that_names_a_policy_is_allowed_by_that_one_only)
{
    struct policy a = {.name = S("a"),
                       RULES({.name = S("any"), .requesters = LIST(S("*")), .resources = LIST(S("*"))})};
    struct policy b = {
        .name = S("b"),
        RULES({.name = S("ops"), .requesters = LIST(S("user:ops*")), .resources = LIST(S("*"))},
              {.name = S("never"), .deny = true, .requesters = LIST(S("*")), .resources = LIST(S("db/prod/secrets"))})};
    const struct policy *policies[] = {&a, &b};
    struct grant grant = terms();
    grant.policy = S("a");
    expect_rule(decide_among(policies, 2, "user:dev1", &grant, NULL), "any");
    grant.policy = S("b");
    expect_refusal(decide_among(policies, 2, "user:dev1", &grant, NULL), LAPSE_PERMISSION_DENIED,
                   "no rule of policy b lets");
    grant.policy = S("c");
    expect_refusal(decide_among(policies, 2, "user:dev1", &grant, NULL), LAPSE_PERMISSION_DENIED,
                   "no policy c has been applied");
    grant.policy = S("a");
    grant.resource = S("db/prod/secrets");
    expect_refusal(decide_among(policies, 2, "user:dev1", &grant, NULL), LAPSE_PERMISSION_DENIED,
                   "policy b, rule never denies this");
}

/* --- deny rules --------------------------------------------------------------------------------------------------- */

Test(policy_decide, a_deny_rule_refuses_wherever_it_stands_and_says_why)
{
    struct policy policy = {.name = S("db"),
                            RULES({.name = S("any"), .requesters = LIST(S("*")), .resources = LIST(S("*"))},
                                  {.name = S("freeze"),
                                   .description = S("the quarter is being closed"),
                                   .deny = true,
                                   .requesters = LIST(S("user:dev1")),
                                   .resources = LIST(S("db/prod/*"))})};
    struct grant grant = terms();
    expect_refusal(decide_one(&policy, &grant), LAPSE_PERMISSION_DENIED,
                   "policy db, rule freeze denies this: the quarter is being closed");
    grant.resource = S("db/test/orders");
    expect_rule(decide_one(&policy, &grant), "any");
}

Test(policy_decide, nobody_gets_past_a_deny_rule_by_asking_for_more)
{
    struct policy policy = {.name = S("db"),
                            RULES({.name = S("any"), .requesters = LIST(S("*")), .resources = LIST(S("*"))},
                                  {.name = S("keep"),
                                   .deny = true,
                                   .requesters = LIST(S("*")),
                                   .resources = LIST(S("db/prod/*")),
                                   .actions = LIST(S("delete"))})};
    struct grant grant = terms();
    expect_rule(decide_one(&policy, &grant), "any");
    grant.actions[0] = S("delete");
    expect_refusal(decide_one(&policy, &grant), LAPSE_PERMISSION_DENIED, "rule keep denies");
    grant.resource = S("db/*");
    expect_refusal(decide_one(&policy, &grant), LAPSE_PERMISSION_DENIED, "rule keep denies");
    grant.resource = S("*");
    grant.actions[1] = S("read");
    grant.n_actions = 2;
    expect_refusal(decide_one(&policy, &grant), LAPSE_PERMISSION_DENIED, "rule keep denies");
    grant.resource = S("db/test/x");
    expect_rule(decide_one(&policy, &grant), "any");
}

Test(policy_decide, a_deny_rule_is_about_requester_and_subject_under_any_name)
{
    struct policy policy = {
        .name = S("db"),
        RULES({.name = S("any"), .requesters = LIST(S("*")), .subjects = LIST(S("*")), .resources = LIST(S("*"))},
              {.name = S("out"), .deny = true, .requesters = LIST(S("user:dev1")), .resources = LIST(S("*"))},
              {.name = S("robots"),
               .deny = true,
               .requesters = LIST(S("user:*")),
               .subjects = LIST(S("robot:*")),
               .resources = LIST(S("*"))})};
    const struct policy *policies[] = {&policy};
    struct grant grant = terms();
    grant.subject = S("user:dev2");
    expect_refusal(decide_among(policies, 1, "spiffe://x/user/dev1", &grant, NULL), LAPSE_PERMISSION_DENIED, "out");
    expect_rule(decide_among(policies, 1, "spiffe://x/user/dev2", &grant, NULL), "any");
    grant.subject = S("spiffe://y/user/dev1");
    expect_refusal(decide_among(policies, 1, "spiffe://x/user/dev2", &grant, NULL), LAPSE_PERMISSION_DENIED, "out");
    grant.subject = S("robot:r");
    expect_refusal(decide_among(policies, 1, "spiffe://x/user/dev2", &grant, NULL), LAPSE_PERMISSION_DENIED, "robots");
    expect_rule(decide_among(policies, 1, "spiffe://x/host/h", &grant, NULL), "any");
}

/* --- requirements ------------------------------------------------------------------------------------------------- */

/* A rule that asks for everything. */
static struct policy demanding(void)
{
    static struct slice everybody = {(const uint8_t *)"*", 1};
    static struct policy_rule rule;
    rule = (struct policy_rule){.name = S("r"),
                                .requesters = {&everybody, 1},
                                .resources = {&everybody, 1},
                                .max_duration_ms = HOURS(1),
                                .justification = {.min_length = 10},
                                .ticket = {.required = true, .pattern = S("OPS-[0-9]+")},
                                .bind_spiffe_id = true,
                                .bind_certificate = true,
                                .bind_network = true,
                                .max_uses = 5,
                                .eligibility = true};
    return (struct policy){.name = S("p"), .rules = &rule, .n_rules = 1};
}

static struct grant complete(void)
{
    static const uint8_t certificate[32];
    struct grant grant = terms();
    grant.ticket = S("OPS-12");
    grant.binding.spiffe_id = S("spiffe://x/host/a");
    grant.binding.certificate_sha256 = slice_of(certificate, sizeof certificate);
    grant.binding.networks[0] = S("10.0.0.0/8");
    grant.binding.n_networks = 1;
    grant.max_uses = 5;
    return grant;
}

Test(policy_decide, each_requirement_that_is_not_met_is_named)
{
    struct policy policy = demanding();
    const struct policy *policies[] = {&policy};
    struct known known = {.eligible = true};
    struct grant good = complete(), grant = good;
    expect_rule(decide_among(policies, 1, "user:dev1", &grant, &known), "r");
#define EXPECT(change, says)                                                                                           \
    do {                                                                                                               \
        grant = good;                                                                                                  \
        change;                                                                                                        \
        expect_refusal(decide_among(policies, 1, "user:dev1", &grant, &known), LAPSE_FAILED_PRECONDITION, says);       \
    } while (0)
    EXPECT(grant.duration_ms++, "policy p, rule r: at most 1h at a time; ask for less");
    EXPECT((grant.duration_ms = 0, grant.deadline_ms = NOW + HOURS(1) + 1), "at most 1h");
    EXPECT(grant.justification = S("too short"), "the justification needs at least 10 characters");
    EXPECT(grant.justification = S("\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9"), "at least 10 characters");
    EXPECT(grant.ticket = S(""), "needs a ticket");
    EXPECT(grant.ticket = S("INC-12"), "the ticket must have the form OPS-[0-9]+");
    EXPECT(grant.binding.spiffe_id = S(""), "bound to a SPIFFE ID");
    EXPECT(grant.binding.certificate_sha256 = S(""), "bound to a certificate");
    EXPECT(grant.binding.n_networks = 0, "bound to a network");
    EXPECT(grant.max_uses = 0, "set max_uses, at most 5");
    EXPECT(grant.max_uses = 6, "set max_uses, at most 5");
    known.eligible = false;
    EXPECT((void)0, "needs an eligibility");
#undef EXPECT
}

Test(policy_decide, a_deadline_is_measured_from_the_start_of_the_grant)
{
    struct policy policy = demanding();
    struct grant grant = complete();
    grant.duration_ms = 0;
    grant.deadline_ms = NOW + HOURS(1);
    expect_rule(decide_one(&policy, &grant), "r");
    grant.not_before_ms = NOW + HOURS(2);
    grant.deadline_ms = NOW + HOURS(3);
    expect_rule(decide_one(&policy, &grant), "r");
    grant.not_before_ms--;
    expect_refusal(decide_one(&policy, &grant), LAPSE_FAILED_PRECONDITION, "at most 1h");
}

Test(policy_decide, a_text_that_is_not_required_must_have_the_form_if_it_is_given)
{
    struct policy policy = {.name = S("p"),
                            RULES({.name = S("r"),
                                   .requesters = LIST(S("*")),
                                   .resources = LIST(S("*")),
                                   .ticket = {.pattern = S("OPS-[0-9]+")}})};
    struct grant grant = terms();
    expect_rule(decide_one(&policy, &grant), "r");
    grant.ticket = S("none");
    expect_refusal(decide_one(&policy, &grant), LAPSE_FAILED_PRECONDITION, "must have the form");
}

Test(policy_decide, break_glass_needs_a_rule_for_it_and_that_rule_serves_nothing_else)
{
    struct policy policy = {
        .name = S("p"),
        RULES({.name = S("glass"), .break_glass = true, .requesters = LIST(S("*")), .resources = LIST(S("db/*"))},
              {.name = S("plain"), .requesters = LIST(S("*")), .resources = LIST(S("*"))})};
    struct grant grant = terms();
    expect_rule(decide_one(&policy, &grant), "plain");
    grant.break_glass = true;
    expect_rule(decide_one(&policy, &grant), "glass");
    grant.resource = S("host/a");
    expect_refusal(decide_one(&policy, &grant), LAPSE_PERMISSION_DENIED, "by break-glass");
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

static struct policy limited(bool hold)
{
    static struct slice everybody = {(const uint8_t *)"*", 1};
    static struct policy_rule rules[2];
    rules[0] = (struct policy_rule){.name = S("limited"),
                                    .requesters = {&everybody, 1},
                                    .resources = {&everybody, 1},
                                    .max_duration_ms = HOURS(1),
                                    .automatic = true,
                                    .limits = {.concurrent = 2,
                                               .requests = 5,
                                               .resources = 3,
                                               .window_ms = MINUTES(10),
                                               .cool_down_ms = MINUTES(1),
                                               .hold = hold}};
    rules[1] = (struct policy_rule){
        .name = S("lax"), .requesters = {&everybody, 1}, .resources = {&everybody, 1}, .automatic = true};
    return (struct policy){.name = S("p"), .rules = rules, .n_rules = 2};
}

static struct outcome decide_used(bool hold, struct policy_usage usage)
{
    struct policy policy = limited(hold);
    const struct policy *policies[] = {&policy};
    struct known known = {.usage = usage};
    struct grant grant = terms();
    return decide_among(policies, 1, "user:dev1", &grant, &known);
}

Test(policy_decide, up_to_its_limits_a_rule_allows)
{
    struct outcome outcome = decide_used(
        false, (struct policy_usage){.concurrent = 1, .requests = 4, .resources = 3, .since_end_ms = MINUTES(1)});
    expect_rule(outcome, "limited");
    cr_assert_not(outcome.decision.held);
    expect_rule(decide_used(false, (struct policy_usage){.since_end_ms = -1}), "limited");
}

Test(policy_decide, past_a_limit_it_refuses_and_no_laxer_rule_steps_in)
{
    expect_refusal(decide_used(false, (struct policy_usage){.concurrent = 2, .since_end_ms = -1}),
                   LAPSE_RESOURCE_EXHAUSTED, "policy p, rule limited: at most 2 grants and open requests at a time");
    expect_refusal(decide_used(false, (struct policy_usage){.requests = 5, .since_end_ms = -1}),
                   LAPSE_RESOURCE_EXHAUSTED, "at most 5 requests in 10m");
    expect_refusal(decide_used(false, (struct policy_usage){.resources = 4, .since_end_ms = -1}),
                   LAPSE_RESOURCE_EXHAUSTED, "at most 3 different resources in 10m");
    expect_refusal(decide_used(false, (struct policy_usage){.since_end_ms = MINUTES(1) - 1}), LAPSE_RESOURCE_EXHAUSTED,
                   "wait for 1m from its end");
    expect_refusal(decide_used(false, (struct policy_usage){.overflow = true, .since_end_ms = -1}),
                   LAPSE_RESOURCE_EXHAUSTED, "at most 2 grants");
}

Test(policy_decide, a_rule_that_holds_holds_all_but_concurrency)
{
    static const struct policy_usage held[] = {
        {.requests = 5, .since_end_ms = -1}, {.resources = 4, .since_end_ms = -1}, {.since_end_ms = 0}};
    for (size_t i = 0; i < 3; i++) {
        struct outcome outcome = decide_used(true, held[i]);
        expect_rule(outcome, "limited");
        cr_expect(outcome.decision.held);
        cr_expect_eq(outcome.error.code, LAPSE_OK);
        cr_expect_eq(outcome.error.message[0], '\0');
    }
    expect_refusal(decide_used(true, (struct policy_usage){.concurrent = 2, .since_end_ms = -1}),
                   LAPSE_RESOURCE_EXHAUSTED, "at most 2 grants");
    expect_refusal(decide_used(true, (struct policy_usage){.overflow = true, .since_end_ms = -1}),
                   LAPSE_RESOURCE_EXHAUSTED, "at most 2 grants");
}

Test(policy_decide, what_a_subject_has_had_is_asked_only_for_a_rule_with_limits)
{
    struct policy policy = limited(false);
    const struct policy *policies[] = {&policy};
    struct known known = {.usage = {.since_end_ms = -1}};
    struct grant grant = terms();
    grant.duration_ms = HOURS(2);
    expect_rule(decide_among(policies, 1, "user:dev1", &grant, &known), "lax");
    cr_assert_eq(known.asked_usage, 0);
    grant.duration_ms = HOURS(1);
    expect_rule(decide_among(policies, 1, "user:dev1", &grant, &known), "limited");
    cr_assert_eq(known.asked_usage, 1);
}

/* --- still allowed ------------------------------------------------------------------------------------------------ */

Test(policy_decide, a_standing_grant_is_still_allowed_while_some_rule_covers_it)
{
    struct policy policy = demanding();
    struct grant good = complete(), grant;
    good.requester = S("spiffe://x/user/dev1");
    good.policy = S("p");
    good.state = GRANT_ACTIVE;
    good.requested_ms = NOW;
    good.deadline_ms = NOW + HOURS(50); /* approved late: its duration is what counts */
    cr_assert(policy_still_allows(&policy, &good));
#define EXPECT_ENDED(change)                                                                                           \
    do {                                                                                                               \
        grant = good;                                                                                                  \
        change;                                                                                                        \
        cr_expect_not(policy_still_allows(&policy, &grant), #change);                                                  \
    } while (0)
    EXPECT_ENDED(grant.duration_ms = HOURS(2));
    EXPECT_ENDED(grant.duration_ms = 0);
    EXPECT_ENDED(grant.subject = S("user:dev2"));
    EXPECT_ENDED(grant.ticket = S(""));
    EXPECT_ENDED(grant.max_uses = 0);
    EXPECT_ENDED(grant.binding.n_networks = 0);
    EXPECT_ENDED(grant.break_glass = true);
#undef EXPECT_ENDED
    struct policy_rule rules[2] = {policy.rules[0],
                                   {.name = S("out"),
                                    .deny = true,
                                    .requesters = policy.rules[0].requesters,
                                    .resources = LIST(S("db/prod/orders"))}};
    policy.rules = rules;
    policy.n_rules = 2;
    cr_assert_not(policy_still_allows(&policy, &good));
}
