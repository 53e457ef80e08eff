#include "client/policy_test.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "client/cli/value.h"

/* Any time will do: rules know durations only. */
#define NOW_MS 1800000000000
#define CASE(member_) offsetof(struct policy_case, member_)
#define TEST(member_) offsetof(struct policy_test, member_)
#define END                                                                                                            \
    {                                                                                                                  \
        .name = NULL                                                                                                   \
    }

/* clang-format off */
static const struct yaml_key binding_keys[] = {
    {"spiffe_id", NULL, YAML_TEXT, CASE(spiffe_id)},
    {"certificate_sha256", NULL, YAML_TEXT, CASE(certificate)},
    {"networks", NULL, YAML_TEXTS, CASE(networks)},
    END};
static const struct yaml_key history_keys[] = {
    {"concurrent", NULL, YAML_NUMBER, CASE(concurrent)},
    {"requests", NULL, YAML_NUMBER, CASE(requests)},
    {"resources", NULL, YAML_NUMBER, CASE(resources)},
    {"since_end", NULL, YAML_DURATION, CASE(since_end_ms)},
    END};
const struct yaml_key policy_case_keys[] = {
    {"requester", NULL, YAML_TEXT, CASE(requester)},
    {"subject", NULL, YAML_TEXT, CASE(subject)},
    {"resource", NULL, YAML_TEXT, CASE(resource)},
    {"actions", NULL, YAML_TEXTS, CASE(actions)},
    {"duration", NULL, YAML_DURATION, CASE(duration_ms)},
    {"justification", NULL, YAML_TEXT, CASE(justification)},
    {"ticket", NULL, YAML_TEXT, CASE(ticket)},
    {"binding", NULL, YAML_KEYS, .keys = binding_keys},
    {"max_uses", NULL, YAML_NUMBER, CASE(max_uses)},
    {"break_glass", NULL, YAML_FLAG, CASE(break_glass)},
    {"policy", NULL, YAML_TEXT, CASE(policy)},
    {"eligible", NULL, YAML_FLAG, CASE(eligible)},
    {"history", NULL, YAML_KEYS, .keys = history_keys},
    END};
const struct yaml_key policy_test_keys[] = {
    {"name", NULL, YAML_TEXT, TEST(name), .required = true},
    {"request", NULL, YAML_OWN, 0},
    {"expect", NULL, YAML_CHOICE, TEST(expect), "deny allow automatic approval hold", .required = true},
    {"rule", NULL, YAML_TEXT, TEST(rule)},
    {"because", NULL, YAML_TEXT, TEST(because)},
    END};
static const struct yaml_key file_keys[] = {
    {"request", NULL, YAML_OWN, 0},
    {"tests", NULL, YAML_OWN, 0, .required = true},
    END};
/* clang-format on */

/* ---- Reading */

/* Whether a cluster would look at it at all. */
static lapse_result case_check(const struct policy_case *asked, struct lapse_error *error)
{
    uint8_t thumbprint[32];
    lapse_result result = principal_validate(asked->requester, "requester", error);
    if (lapse_is_ok(result) && asked->subject.len > 0)
        result = principal_validate(asked->subject, "subject", error);
    if (lapse_is_ok(result))
        result = resource_validate(asked->resource, true, error);
    if (lapse_is_ok(result) && (asked->actions.n == 0 || asked->actions.n > LIMIT_ACTIONS))
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a request has 1 to %u actions", LIMIT_ACTIONS);
    for (uint32_t i = 0; i < asked->actions.n && lapse_is_ok(result); i++)
        result = action_validate(asked->actions.items[i], error);
    if (lapse_is_ok(result) && asked->networks.n > LIMIT_NETWORKS)
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "more than %u networks", LIMIT_NETWORKS);
    for (uint32_t i = 0; i < asked->networks.n && lapse_is_ok(result); i++)
        result = network_validate(asked->networks.items[i], error);
    if (lapse_is_ok(result) && asked->certificate.len > 0 &&
        !value_parse_hex((const char *)asked->certificate.data, thumbprint, sizeof thumbprint))
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "certificate_sha256 is 64 hex digits");
    if (lapse_is_ok(result) && asked->duration_ms == 0)
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the request needs a duration");
    return result;
}

/* What makes no sense together would be a test that can't fail, or can't pass. */
static lapse_result expectation_check(const struct policy_tests *tests, const struct policy_test *test,
                                      struct lapse_error *error)
{
    if (test->rule.len > 0 && test->expect == POLICY_DENY)
        return yaml_fail(tests->tree, yaml_member(test->at, "rule"), error,
                         "\"rule\" names what allows it; for a refusal say \"because\"");
    if (test->because.len > 0 && test->expect != POLICY_DENY)
        return yaml_fail(tests->tree, yaml_member(test->at, "because"), error,
                         "\"because\" is a part of a refusal: it goes with \"expect: deny\"");
    return lapse_ok();
}

static lapse_result test_take(struct policy_tests *tests, const struct yaml_at *at, struct policy_test *test,
                              struct lapse_error *error)
{
    const struct yaml_at *defaults = yaml_member(yaml_root(tests->tree), "request");
    struct lapse_error fault;
    *test = (struct policy_test){.at = at, .request.since_end_ms = -1};
    lapse_result result = yaml_take(tests->tree, at, policy_test_keys, test, error);
    const struct yaml_at *request = lapse_is_ok(result) ? yaml_member(at, "request") : NULL;
    if (lapse_is_ok(result) && defaults != NULL)
        result = yaml_take(tests->tree, defaults, policy_case_keys, &test->request, error);
    if (lapse_is_ok(result) && request != NULL)
        result = yaml_take(tests->tree, request, policy_case_keys, &test->request, error);
    if (lapse_is_ok(result))
        result = expectation_check(tests, test, error);
    if (lapse_is_ok(result) && !lapse_is_ok(case_check(&test->request, &fault)))
        result = yaml_fail(tests->tree, request == NULL ? at : request, error, "%s", fault.message);
    return result;
}

static lapse_result tests_take(struct policy_tests *tests, struct lapse_error *error)
{
    const struct yaml_at *root = yaml_root(tests->tree);
    lapse_result result = yaml_take(tests->tree, root, file_keys, tests, error);
    if (!lapse_is_ok(result))
        return result;
    const struct yaml_at *list = yaml_member(root, "tests");
    if (list->kind != YAML_IS_LIST || list->n == 0)
        return yaml_fail(tests->tree, list, error, "\"tests\" is a list of at least one test");
    tests->tests = yaml_memory(tests->tree, list->n * sizeof *tests->tests);
    for (const struct yaml_at *at = list->first; at != NULL && lapse_is_ok(result); at = at->next)
        result = test_take(tests, at, &tests->tests[tests->n++], error);
    return result;
}

static lapse_result tree_to_tests(struct yaml_tree *tree, struct policy_tests *tests, struct lapse_error *error)
{
    struct policy_tests taken = {.tree = tree};
    lapse_result result = tests_take(&taken, error);
    if (lapse_is_ok(result))
        *tests = taken;
    else
        yaml_tree_free(tree);
    return result;
}

lapse_result policy_tests_parse(struct slice bytes, const char *path, struct policy_tests *tests,
                                struct lapse_error *error)
{
    struct yaml_tree *tree;
    lapse_result result = yaml_parse(bytes, path, &tree, error);
    return lapse_is_ok(result) ? tree_to_tests(tree, tests, error) : result;
}

lapse_result policy_tests_read(const char *path, struct policy_tests *tests, struct lapse_error *error)
{
    struct yaml_tree *tree;
    lapse_result result = yaml_read_file(path, &tree, error);
    return lapse_is_ok(result) ? tree_to_tests(tree, tests, error) : result;
}

void policy_tests_free(struct policy_tests *tests)
{
    yaml_tree_free(tests->tree);
    *tests = (struct policy_tests){0};
}

/* ---- Deciding */

static int by_text(const void *a, const void *b)
{
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

/* The request as the store would have it: actions sorted, the subject filled in. */
static void terms_fill(const struct policy_case *asked, uint8_t thumbprint[32], struct grant *terms)
{
    *terms = (struct grant){.subject = asked->subject.len > 0 ? asked->subject : asked->requester,
                            .requester = asked->requester,
                            .resource = asked->resource,
                            .justification = asked->justification,
                            .ticket = asked->ticket,
                            .policy = asked->policy,
                            .duration_ms = asked->duration_ms,
                            .max_uses = asked->max_uses,
                            .break_glass = asked->break_glass,
                            .binding.spiffe_id = asked->spiffe_id};
    for (; terms->n_actions < asked->actions.n; terms->n_actions++)
        terms->actions[terms->n_actions] = asked->actions.items[terms->n_actions];
    qsort(terms->actions, terms->n_actions, sizeof terms->actions[0], by_text);
    for (; terms->binding.n_networks < asked->networks.n; terms->binding.n_networks++)
        terms->binding.networks[terms->binding.n_networks] = asked->networks.items[terms->binding.n_networks];
    if (asked->certificate.len > 0) {
        CHECK(value_parse_hex((const char *)asked->certificate.data, thumbprint, 32));
        terms->binding.certificate_sha256 = slice_of(thumbprint, 32);
    }
}

static bool eligible(void *arg, const struct policy_request *request)
{
    (void)request;
    return ((const struct policy_case *)arg)->eligible;
}

static void usage(void *arg, const struct policy_request *request, const struct policy *policy,
                  const struct policy_rule *rule, struct policy_usage *used)
{
    const struct policy_case *asked = arg;
    (void)request, (void)policy, (void)rule;
    *used = (struct policy_usage){.concurrent = asked->concurrent,
                                  .requests = asked->requests,
                                  .resources = asked->resources > 0 ? asked->resources : 1,
                                  .since_end_ms = asked->since_end_ms};
}

static lapse_result decide(struct policy_case *asked, const struct policy *const *policies, uint32_t n,
                           struct policy_decision *decision, struct lapse_error *error)
{
    uint8_t thumbprint[32];
    struct grant terms;
    terms_fill(asked, thumbprint, &terms);
    struct policy_request request = {asked->requester, &terms, NOW_MS};
    struct policy_facts facts = {asked, eligible, usage};
    return policy_decide(policies, n, &request, &facts, decision, error);
}

/* ---- Judging */

static const char *const expect_words[] = {"refused", "allowed", "allowed at once", "allowed after approval", "held"};

/* "rule", or "policy/rule". */
static bool rule_is(struct slice wanted, const struct policy_decision *decision)
{
    struct slice policy = decision->policy->name, rule = decision->rule->name;
    if (wanted.len == 0 || slice_equal(wanted, rule))
        return true;
    return wanted.len == policy.len + 1 + rule.len && memcmp(wanted.data, policy.data, policy.len) == 0 &&
           wanted.data[policy.len] == '/' && memcmp(wanted.data + policy.len + 1, rule.data, rule.len) == 0;
}

static bool contains(const char *text, struct slice part)
{
    return part.len == 0 || memmem(text, strlen(text), part.data, part.len) != NULL;
}

static bool is_expected(const struct policy_test *test, const struct policy_outcome *outcome)
{
    bool kind = test->expect == (int)outcome->got ||
                (test->expect == POLICY_ALLOW && (outcome->got == POLICY_AUTOMATIC || outcome->got == POLICY_APPROVAL));
    if (outcome->got == POLICY_DENY)
        return kind && contains(outcome->refusal.message, test->because);
    return kind && rule_is(test->rule, &outcome->decision);
}

static void verdict_put(const struct policy_test *test, struct policy_outcome *outcome)
{
    char got[LAPSE_ERROR_MESSAGE_SIZE + 40];
    struct slice about = test->rule.len > 0 ? test->rule : test->because;
    const char *joint = about.len == 0 ? "" : test->rule.len > 0 ? " by " : " because of ";
    if (outcome->got == POLICY_DENY)
        snprintf(got, sizeof got, "refused: %s", outcome->refusal.message);
    else
        snprintf(got, sizeof got, "%s by %.*s/%.*s", expect_words[outcome->got],
                 (int)outcome->decision.policy->name.len, (const char *)outcome->decision.policy->name.data,
                 (int)outcome->decision.rule->name.len, (const char *)outcome->decision.rule->name.data);
    if (outcome->as_expected)
        snprintf(outcome->verdict, sizeof outcome->verdict, "%s", got);
    else
        snprintf(outcome->verdict, sizeof outcome->verdict, "should be %s%s%.*s, but is %s", expect_words[test->expect],
                 joint, about.len > 80 ? 80 : (int)about.len, (const char *)about.data, got);
}

void policy_test_run(const struct policy_test *test, const struct policy *const *policies, uint32_t n,
                     struct policy_outcome *outcome)
{
    struct policy_case asked = test->request;
    *outcome = (struct policy_outcome){.got = POLICY_DENY};
    if (lapse_is_ok(decide(&asked, policies, n, &outcome->decision, &outcome->refusal)))
        outcome->got = outcome->decision.held              ? POLICY_HOLD
                       : outcome->decision.rule->automatic ? POLICY_AUTOMATIC
                                                           : POLICY_APPROVAL;
    outcome->as_expected = is_expected(test, outcome);
    verdict_put(test, outcome);
}

static int by_priority(const void *a, const void *b)
{
    const struct policy *one = *(const struct policy *const *)a, *two = *(const struct policy *const *)b;
    if (one->priority != two->priority)
        return one->priority < two->priority ? -1 : 1;
    return slice_compare(one->name, two->name);
}

lapse_result policies_sort(const struct policy **policies, uint32_t n, struct lapse_error *error)
{
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = i + 1; j < n; j++)
            if (slice_equal(policies[i]->name, policies[j]->name))
                return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "two of the files hold a policy \"%.*s\"",
                                  (int)policies[i]->name.len, (const char *)policies[i]->name.data);
    qsort(policies, n, sizeof *policies, by_priority);
    return lapse_ok();
}
