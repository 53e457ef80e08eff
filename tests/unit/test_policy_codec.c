/* Documents: one encoding each, and none that contradicts itself. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "tests/unit/policy_fixture.h"

/* Every member of every message. */
static const struct policy_rule *full_rules(void)
{
    static struct slice requesters[] = {{(const uint8_t *)"user:dev*", 9}, {(const uint8_t *)"user:ops1", 9}};
    static struct slice subjects[] = {{(const uint8_t *)"*", 1}};
    static struct slice resources[] = {{(const uint8_t *)"db/*", 4}, {(const uint8_t *)"host/a", 6}};
    static struct slice actions[] = {{(const uint8_t *)"read", 4}, {(const uint8_t *)"write", 5}};
    static struct slice approvers[] = {{(const uint8_t *)"user:lead1", 10}, {(const uint8_t *)"user:lead2", 10}};
    static struct policy_rule rules[3];
    rules[0] = (struct policy_rule){
        .name = S("deny"),
        .description = S("not this"),
        .deny = true,
        .requesters = {requesters + 1, 1},
        .resources = {resources + 1, 1},
        .actions = {actions, 1},
    };
    rules[1] = (struct policy_rule){
        .name = S("full"),
        .description = S("a bit of everything"),
        .requesters = {requesters, 2},
        .subjects = {subjects, 1},
        .resources = {resources, 2},
        .actions = {actions, 2},
        .max_duration_ms = HOURS(4),
        .eligibility = true,
        .self_approval = true,
        .steps = {{.count = 2, .approvers = {approvers, 2}}, {.count = 0}, {.count = 1}},
        .n_steps = 3,
        .decide_within_ms = HOURS(1),
        .justification = {.min_length = 20},
        .ticket = {.required = true, .min_length = 5, .pattern = S("OPS-[0-9]{1,6}")},
        .bind_spiffe_id = true,
        .bind_certificate = true,
        .bind_network = true,
        .max_uses = 7,
        .limits = {.concurrent = 1,
                   .requests = 2,
                   .resources = 3,
                   .window_ms = MINUTES(5),
                   .cool_down_ms = MINUTES(1),
                   .hold = true},
        .delegation_depth = 2,
        .token = TOKEN_RULE_BOUND,
    };
    rules[2] = (struct policy_rule){
        .name = S("glass"),
        .break_glass = true,
        .requesters = {requesters, 2},
        .resources = {resources, 1},
        .automatic = true,
        .review_within_ms = HOURS(8),
        .reviewers = {approvers, 2},
    };
    return rules;
}

static struct policy full(void)
{
    return (struct policy){
        .name = S("prod-db"),
        .version = 12,
        .description = S("who gets at the database"),
        .priority = 5,
        .end_disallowed = true,
        .source = S("git@example.org:policies 0a1b2c"),
        .rules = (struct policy_rule *)full_rules(),
        .n_rules = 3,
        .applied_by = S("user:ops1"),
        .applied_ms = 1767225600000LL,
        .revision = 12,
        .removed = S("replaced"),
    };
}

static struct policy simple(void)
{
    static struct slice everybody = {(const uint8_t *)"*", 1};
    static struct policy_rule rule;
    rule = (struct policy_rule){.name = S("r"), .requesters = {&everybody, 1}, .resources = {&everybody, 1}};
    return (struct policy){.name = S("p"), .rules = &rule, .n_rules = 1};
}

static struct buf encode(const struct policy *policy)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_OBJECT_BYTES);
    cr_assert(lapse_is_ok(policy_encode(policy, &bytes)));
    return bytes;
}

/* --- bytes -------------------------------------------------------------------------------------------------------- */

Test(policy_codec, every_member_comes_back_and_the_bytes_are_the_same)
{
    struct policy policy = full(), *decoded = NULL;
    struct buf bytes = encode(&policy);
    struct lapse_error error = {0};
    cr_assert(lapse_is_ok(policy_decode(buf_slice(&bytes), &decoded, &error)), "%s", error.message);
    struct buf again = encode(decoded);
    cr_assert(slice_equal(buf_slice(&bytes), buf_slice(&again)));
    cr_assert(slice_equal(decoded->name, S("prod-db")));
    cr_assert(decoded->end_disallowed && decoded->version == 12 && decoded->n_rules == 3 && decoded->priority == 5);
    const struct policy_rule *rule = &decoded->rules[1];
    cr_assert_eq(rule->requesters.n, 2);
    cr_assert(slice_equal(rule->requesters.items[1], S("user:ops1")));
    cr_assert(slice_equal(rule->actions.items[0], S("read")));
    cr_assert(rule->n_steps == 3 && rule->steps[0].count == 2 && rule->steps[0].approvers.n == 2);
    cr_assert(slice_equal(rule->steps[0].approvers.items[1], S("user:lead2")));
    cr_assert(rule->ticket.required && slice_equal(rule->ticket.pattern, S("OPS-[0-9]{1,6}")));
    cr_assert(rule->limits.hold && rule->limits.window_ms == MINUTES(5));
    cr_assert(rule->delegation_depth == 2 && rule->token == TOKEN_RULE_BOUND && rule->max_uses == 7);
    rule = &decoded->rules[2];
    cr_assert(rule->break_glass && rule->automatic && rule->review_within_ms == HOURS(8) && rule->reviewers.n == 2);
    policy_free(decoded);
    buf_free(&bytes);
    buf_free(&again);
}

Test(policy_codec, a_decoded_policy_owns_all_it_points_to)
{
    struct policy policy = full(), *decoded = NULL;
    struct buf bytes = encode(&policy);
    cr_assert(lapse_is_ok(policy_decode(buf_slice(&bytes), &decoded, NULL)));
    memset(bytes.data, 'x', bytes.len);
    cr_assert(slice_equal(decoded->rules[1].resources.items[1], S("host/a")));
    cr_assert(slice_equal(decoded->applied_by, S("user:ops1")));
    policy_free(decoded);
    policy_free(NULL);
    buf_free(&bytes);
}

Test(policy_codec, what_is_cut_short_is_refused_at_any_place)
{
    struct policy policy = full(), *decoded = NULL;
    struct buf bytes = encode(&policy);
    /* Behind the last rule and behind each field of the store's there is a whole policy, too. */
    uint32_t whole = 0;
    for (size_t len = 0; len < bytes.len; len++) {
        uint8_t *copy = malloc(len + 1);
        memcpy(copy, bytes.data, len);
        if (lapse_is_ok(policy_decode(slice_of(copy, len), &decoded, NULL))) {
            whole++;
            policy_free(decoded);
        }
        free(copy);
    }
    cr_assert_eq(whole, 6, "%u", whole);
    buf_free(&bytes);
}

static void expect_bad_bytes(const void *data, size_t len, const char *says)
{
    struct policy *decoded = NULL;
    struct lapse_error error = {0};
    lapse_result result = policy_decode(slice_of(data, len), &decoded, &error);
    cr_expect_eq(result.code, LAPSE_INVALID_ARGUMENT, "%s", says);
    cr_expect_not_null(strstr(error.message, says), "\"%s\" instead of \"%s\"", error.message, says);
    cr_expect_null(decoded);
}

#define BAD_BYTES(bytes, says) expect_bad_bytes(bytes, sizeof(bytes) - 1, says)
/* A rule "r" for everybody and everything. */
#define RULE "\x3A\x09\x0A\x01r\x22\x01*\x32\x01*"

Test(policy_codec, a_policy_has_one_encoding_only)
{
    struct policy *decoded = NULL;
    static const char good[] = "\x0A\x01p" RULE;
    cr_assert(lapse_is_ok(policy_decode(slice_of(good, sizeof good - 1), &decoded, NULL)));
    policy_free(decoded);
    BAD_BYTES("", "missing");
    BAD_BYTES("\x0A\x01p\x10\x00" RULE, "canonical");          /* a zero that should be left out */
    BAD_BYTES("\x0A\x81\x00p" RULE, "canonical");              /* a length that is longer than it need be */
    BAD_BYTES("\x0A\x01q\x0A\x01p" RULE, "canonical");         /* a field that comes twice */
    BAD_BYTES("\x0A\x01p\x1A\x00" RULE, "canonical");          /* an empty text */
    BAD_BYTES("\x0A\x01p\x28\x02" RULE, "not a lapse.v1");     /* a flag that is neither */
    BAD_BYTES("\x0A\x01p\x28\x00" RULE, "not a lapse.v1");     /* a flag that is written though it is not set */
    BAD_BYTES(RULE "\x0A\x01p", "not a lapse.v1");             /* out of order */
    BAD_BYTES("\x0A\x01p" RULE "\x62\x01x", "not a lapse.v1"); /* a field of another version */
    BAD_BYTES("\x0A\x01p\x3A\x0B\x0A\x01r\x22\x01*\x32\x01*\x72\x00", "canonical");          /* an empty message */
    BAD_BYTES("\x0A\x01p\x3A\x0C\x0A\x01r\x22\x01*\x32\x01*\x22\x01x", "not a lapse.v1");    /* a list in two parts */
    BAD_BYTES("\x0A\x01p\x3A\x0C\x0A\x01r\x22\x01*\x32\x01*\xC0\x01\x03", "not a lapse.v1"); /* no such token rule */
}

Test(policy_codec, a_policy_that_is_too_large_is_refused)
{
    struct policy policy = simple(), *decoded = NULL;
    struct policy_rule rules[LIMIT_RULES_PER_POLICY + 1];
    char names[LIMIT_RULES_PER_POLICY + 1][8], resources[LIMIT_RULES_PER_POLICY + 1][16];
    struct slice patterns[LIMIT_RULES_PER_POLICY + 1];
    struct lapse_error error;
    for (uint32_t i = 0; i <= LIMIT_RULES_PER_POLICY; i++) {
        (void)snprintf(names[i], sizeof names[i], "r%u", i);
        (void)snprintf(resources[i], sizeof resources[i], "db/t%u", i);
        patterns[i] = S(resources[i]);
        rules[i] = policy.rules[0];
        rules[i].name = S(names[i]);
        rules[i].resources = (struct policy_patterns){&patterns[i], 1};
    }
    policy.rules = rules;
    policy.n_rules = LIMIT_RULES_PER_POLICY;
    struct buf bytes = encode(&policy);
    cr_assert(lapse_is_ok(policy_decode(buf_slice(&bytes), &decoded, &error)), "%s", error.message);
    policy_free(decoded);
    buf_free(&bytes);
    policy.n_rules++;
    bytes = encode(&policy);
    expect_bad_bytes(bytes.data, bytes.len, "has 129 rules; the limit is 128");
    buf_free(&bytes);
    static const uint8_t large[LIMIT_OBJECT_BYTES + 1];
    expect_bad_bytes(large, sizeof large, "the limit is 18432");
}

/* --- contradictions ----------------------------------------------------------------------------------------------- */

static void expect_refused(const struct policy *policy, int rule, const char *member, int item, const char *says)
{
    struct policy_place place = {.rule = -7, .item = -7};
    struct lapse_error error = {0};
    lapse_result result = policy_validate(policy, &place, &error);
    cr_expect_eq(result.code, LAPSE_INVALID_ARGUMENT, "%s", says);
    if (lapse_is_ok(result))
        return;
    cr_expect(place.rule == rule && place.item == item && strcmp(place.member, member) == 0,
              "%s: rule %d %s %d instead of rule %d %s %d", says, place.rule, place.member, place.item, rule, member,
              item);
    cr_expect_not_null(strstr(error.message, says), "\"%s\" instead of \"%s\"", error.message, says);
    cr_expect_eq(policy_validate(policy, NULL, NULL).code, LAPSE_INVALID_ARGUMENT);
}

#define EXPECT_RULE(change, member, item, says)                                                                        \
    do {                                                                                                               \
        struct policy policy = simple();                                                                               \
        struct policy_rule *rule = &policy.rules[0];                                                                   \
        change;                                                                                                        \
        expect_refused(&policy, 0, member, item, says);                                                                \
    } while (0)
#define PATTERNS(...) ((struct policy_patterns)LIST(__VA_ARGS__))

Test(policy_validate, a_complete_policy_is_valid)
{
    struct policy policy = full();
    struct lapse_error error = {0};
    cr_assert(lapse_is_ok(policy_validate(&policy, NULL, &error)), "%s", error.message);
    policy = simple();
    cr_assert(lapse_is_ok(policy_validate(&policy, NULL, &error)), "%s", error.message);
}

Test(policy_validate, the_policy_itself_has_a_form)
{
    struct policy policy = simple();
    policy.name = S("");
    expect_refused(&policy, -1, "name", -1, "name is missing");
    policy.name = S("a b");
    expect_refused(&policy, -1, "name", -1, "name must be of");
    policy = simple();
    policy.description = S("a\x01");
    expect_refused(&policy, -1, "description", -1, "control characters");
    policy = simple();
    policy.source = S("two\nlines");
    expect_refused(&policy, -1, "source", -1, "one line");
    policy = simple();
    policy.n_rules = 0;
    expect_refused(&policy, -1, "rules", -1, "missing");
}

Test(policy_validate, names_and_patterns_have_a_form)
{
    EXPECT_RULE(rule->name = S(""), "name", -1, "name is missing");
    EXPECT_RULE(rule->name = S("\xC3\xA9"), "name", -1, "name must be of");
    EXPECT_RULE(rule->description = S("a\x01"), "description", -1, "control characters");
    EXPECT_RULE(rule->requesters.n = 0, "requesters", -1, "say whom the rule is for");
    EXPECT_RULE(rule->resources.n = 0, "resources", -1, "say what the rule is for");
    EXPECT_RULE(rule->requesters = PATTERNS(S("user:a"), S("user b")), "requesters", 1, "has a space");
    EXPECT_RULE(rule->requesters = PATTERNS(S("")), "requesters", 0, "missing");
    EXPECT_RULE(rule->requesters = PATTERNS(S("**")), "requesters", 0, "asterisk");
    EXPECT_RULE(rule->requesters = PATTERNS(S("spiffe://a.org/user/*"), S("spiffe://a.org*")), "requesters", 1,
                "takes in other trust domains that begin so; write spiffe://a.org/*");
    EXPECT_RULE(rule->subjects = PATTERNS(S("us*er")), "subjects", 0, "asterisk");
    EXPECT_RULE(rule->resources = PATTERNS(S("db/*"), S("db//x")), "resources", 1, "segments");
    EXPECT_RULE(rule->resources = PATTERNS(S("db/../x")), "resources", 0, "segments");
    EXPECT_RULE(rule->actions = PATTERNS(S("Read")), "actions", 0, "lower-case");
    EXPECT_RULE(rule->actions = PATTERNS(S("read"), S("write"), S("read")), "actions", 2, "listed twice");
    EXPECT_RULE((rule->n_steps = 1, rule->steps[0].approvers = PATTERNS(S("a b"))), "steps", 0, "has a space");
    EXPECT_RULE((rule->break_glass = true, rule->reviewers = PATTERNS(S("a b"))), "reviewers", 0, "has a space");
}

Test(policy_validate, numbers_have_limits)
{
    static struct slice many[LIMIT_RULE_PATTERNS + 1];
    EXPECT_RULE((rule->requesters = (struct policy_patterns){many, LIMIT_RULE_PATTERNS + 1}), "requesters", -1,
                "33 patterns; the limit is 32");
    EXPECT_RULE(rule->max_duration_ms = LIMIT_DURATION_MS_MAX + 1, "max_duration_ms", -1, "at most 2592000 s");
    EXPECT_RULE(rule->max_duration_ms = -1, "max_duration_ms", -1, "at most");
    EXPECT_RULE(rule->decide_within_ms = LIMIT_PENDING_MS_MAX + 1, "decide_within_ms", -1, "at most");
    EXPECT_RULE(rule->max_uses = LIMIT_USES_MAX + 1, "max_uses", -1, "at most");
    EXPECT_RULE(rule->delegation_depth = LIMIT_GRANT_DEPTH, "delegation_depth", -1, "at most 7");
    EXPECT_RULE(rule->limits.window_ms = LIMIT_POLICY_WINDOW_MS + 1, "limits", -1, "at most 3600 s");
    EXPECT_RULE(rule->limits.cool_down_ms = LIMIT_POLICY_WINDOW_MS + 1, "limits", -1, "at most 3600 s");
    EXPECT_RULE((rule->break_glass = true, rule->review_within_ms = LIMIT_REVIEW_MS_MAX + 1), "review_within_ms", -1,
                "at most");
    EXPECT_RULE((rule->n_steps = 2, rule->steps[0].count = 8), "steps", -1, "more than 8 approvals");
    EXPECT_RULE((rule->n_steps = 2, rule->steps[0].count = rule->steps[1].count = UINT32_MAX / 2 + 1), "steps", -1,
                "more than 8 approvals");
    EXPECT_RULE(rule->justification.min_length = LIMIT_JUSTIFICATION + 1, "justification", -1, "at most 1024");
    EXPECT_RULE(rule->ticket.min_length = LIMIT_TICKET + 1, "ticket", -1, "at most 128");
    EXPECT_RULE(rule->token = (enum token_rule)3, "token", -1, "must be allowed");
}

Test(policy_validate, the_patterns_of_a_step_are_kept_with_each_grant_and_are_short)
{
    static char long_name[200] = "user:";
    memset(long_name + 5, 'a', sizeof long_name - 6);
    struct slice name = S(long_name);
    struct slice three[] = {name, slice_of(name.data, 198), slice_of(name.data, 197)};
    EXPECT_RULE((rule->n_steps = 1, rule->steps[0].approvers = (struct policy_patterns){three, 3}), "steps", 0,
                "596 bytes in all; shorten them to at most 512");
}

Test(policy_validate, contradictions_are_refused)
{
    EXPECT_RULE((rule->automatic = true, rule->n_steps = 1), "automatic", -1, "contradicts the steps");
    EXPECT_RULE((rule->automatic = true, rule->self_approval = true), "self_approval", -1, "contradicts automatic");
    EXPECT_RULE(rule->review_within_ms = 1000, "review_within_ms", -1, "only break-glass is reviewed");
    EXPECT_RULE(rule->reviewers = PATTERNS(S("user:a")), "reviewers", -1, "only break-glass is reviewed");
    EXPECT_RULE(rule->limits.requests = 3, "limits", -1, "counted in a window");
    EXPECT_RULE(rule->limits.resources = 3, "limits", -1, "counted in a window");
    EXPECT_RULE(rule->limits.window_ms = 1000, "limits", -1, "a window is for");
    EXPECT_RULE((rule->limits.hold = true, rule->limits.concurrent = 1), "limits", -1, "nothing is held without");
    EXPECT_RULE(rule->ticket.pattern = S("(a|b)"), "ticket", -1, "rule r: ticket: pattern, character 1");
    EXPECT_RULE((rule->ticket.min_length = 8, rule->ticket.pattern = S("OPS-[0-9]{1,3}")), "ticket", -1,
                "at most 7 characters");
    EXPECT_RULE(rule->ticket.pattern = S("a{129}"), "ticket", -1, "asks for 129 characters");
}

Test(policy_validate, a_deny_rule_says_whom_and_what_and_no_more)
{
    static const char *const members[] = {"break_glass",   "max_duration_ms", "eligibility",      "automatic",
                                          "self_approval", "steps",           "decide_within_ms", "justification",
                                          "ticket",        "bind_spiffe_id",  "bind_certificate", "bind_network",
                                          "max_uses",      "limits",          "delegation_depth", "token"};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        struct policy policy = simple();
        struct policy_rule *rule = &policy.rules[0];
        rule->deny = true;
        rule->break_glass = i == 0;
        rule->max_duration_ms = i == 1;
        rule->eligibility = i == 2;
        rule->automatic = i == 3;
        rule->self_approval = i == 4;
        rule->n_steps = i == 5;
        rule->decide_within_ms = i == 6;
        rule->justification.min_length = i == 7;
        rule->ticket.required = i == 8;
        rule->bind_spiffe_id = i == 9;
        rule->bind_certificate = i == 10;
        rule->bind_network = i == 11;
        rule->max_uses = i == 12;
        rule->limits.concurrent = i == 13;
        rule->delegation_depth = i == 14;
        rule->token = i == 15 ? TOKEN_RULE_FORBIDDEN : TOKEN_RULE_ALLOWED;
        expect_refused(&policy, 0, members[i], -1, "contradicts deny");
    }
}

Test(policy_validate, a_step_must_list_enough_persons)
{
    EXPECT_RULE((rule->n_steps = 1, rule->steps[0] = (struct policy_step){2, LIST(S("user:a"))}), "steps", 0,
                "more approvers than it lists");
    /* The same person under two names. */
    EXPECT_RULE(
        (rule->n_steps = 1, rule->steps[0] = (struct policy_step){2, LIST(S("user:a"), S("spiffe://x/user/a"))}),
        "steps", 0, "more approvers than it lists");
    /* Two steps that want the same one: an approver counts once. */
    EXPECT_RULE((rule->n_steps = 2, rule->steps[0] = (struct policy_step){1, LIST(S("user:a"))},
                 rule->steps[1] = (struct policy_step){1, LIST(S("user:a"))}),
                "steps", 1, "more approvers than it lists");
    /* Two persons for three steps, any two of which would do. */
    EXPECT_RULE((rule->n_steps = 3, rule->steps[0] = (struct policy_step){1, LIST(S("user:a"), S("user:b"))},
                 rule->steps[1] = rule->steps[2] = rule->steps[0]),
                "steps", 2, "more approvers than it lists");
    /* The only requester can't approve. */
    EXPECT_RULE((rule->requesters = PATTERNS(S("user:a")), rule->n_steps = 1,
                 rule->steps[0] = (struct policy_step){1, LIST(S("spiffe://x/user/a"))}),
                "steps", 0, "never the requester");
}

Test(policy_validate, a_step_with_a_pattern_may_have_anybody)
{
    struct policy policy = simple();
    struct policy_rule *rule = &policy.rules[0];
    rule->n_steps = 3;
    rule->steps[0] = (struct policy_step){1, LIST(S("user:a"))};
    rule->steps[1] = (struct policy_step){3, LIST(S("user:a"), S("user:lead*"))};
    rule->steps[2] = (struct policy_step){2, {NULL, 0}};
    cr_assert(lapse_is_ok(policy_validate(&policy, NULL, NULL)));
    rule->requesters = PATTERNS(S("user:a"));
    cr_assert_not(lapse_is_ok(policy_validate(&policy, NULL, NULL)));
    rule->self_approval = true;
    cr_assert(lapse_is_ok(policy_validate(&policy, NULL, NULL)));
}

/* --- rules among one another -------------------------------------------------------------------------------------- */

static struct policy pair(struct policy_rule first, struct policy_rule second)
{
    static struct policy_rule rules[2];
    rules[0] = first;
    rules[1] = second;
    return (struct policy){.name = S("p"), .rules = rules, .n_rules = 2};
}

Test(policy_validate, two_rules_cannot_have_one_name)
{
    struct policy_rule rule = simple().rules[0];
    struct policy policy = pair(rule, rule);
    expect_refused(&policy, 1, "name", -1, "an earlier rule has that name");
}

Test(policy_validate, a_rule_that_never_decides_is_refused)
{
    struct policy_rule all = simple().rules[0], part = all;
    part.name = S("part");
    part.resources = PATTERNS(S("db/*"));
    struct policy policy = pair(all, part);
    expect_refused(&policy, 1, "name", -1, "rule part: name: never decides: rule r takes all");
    policy = pair(part, all);
    cr_assert(lapse_is_ok(policy_validate(&policy, NULL, NULL)));
    /* Wherever the deny rule stands. */
    all.deny = true;
    policy = pair(part, all);
    expect_refused(&policy, 0, "name", -1, "rule r denies all");
    policy = pair(all, part);
    expect_refused(&policy, 1, "name", -1, "rule r denies all");
}

/* Each of these lets the second rule decide something. */
Test(policy_validate, a_rule_with_less_demands_or_more_reach_is_not_hidden)
{
    struct policy_rule base = simple().rules[0];
    base.requesters = PATTERNS(S("user:dev*"));
    base.subjects = PATTERNS(S("user:*"));
    base.resources = PATTERNS(S("db/*"));
    base.actions = PATTERNS(S("read"), S("write"));
    base.max_duration_ms = HOURS(1);
    base.max_uses = 5;
    struct policy_patterns requesters = PATTERNS(S("user:de*")), subjects = PATTERNS(S("agent:*"));
    struct policy_patterns resources = PATTERNS(S("db/*"), S("host/*")), actions = PATTERNS(S("read"), S("drop"));
    for (int i = 0; i < 14; i++) {
        struct policy_rule first = base, second = base;
        second.name = S("second");
        bool hidden = i == 0 || i == 13;
        if (i == 1)
            second.requesters = requesters;
        if (i == 2)
            second.subjects = subjects;
        if (i == 3)
            second.resources = resources;
        if (i == 4)
            second.actions = actions;
        if (i == 5)
            second.actions.n = 0;
        if (i == 6)
            second.max_duration_ms = 0;
        if (i == 7)
            second.max_uses = 0;
        if (i == 8)
            first.eligibility = true;
        if (i == 9)
            first.ticket.required = true;
        if (i == 10)
            first.bind_network = true;
        if (i == 11)
            second.break_glass = true;
        if (i == 12)
            second.subjects.n = 0;
        if (i == 13)
            second.ticket.required = second.eligibility = true;
        struct policy policy = pair(first, second);
        cr_expect_eq(lapse_is_ok(policy_validate(&policy, NULL, NULL)), !hidden, "case %d", i);
    }
}
