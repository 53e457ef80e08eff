/* Policies as files: what they become, where faults are, what is written back, expected decisions, differences. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "client/policy_diff.h"
#include "client/policy_test.h"

static struct policy_file parse(const char *text)
{
    struct policy_file file = {0};
    struct lapse_error error;
    lapse_result result = policy_yaml_parse(slice_str(text), "p.yaml", &file, &error);
    cr_assert(lapse_is_ok(result), "%s", error.message);
    return file;
}

static void assert_refused(const char *text, const char *place, const char *words)
{
    struct policy_file file = {0};
    struct lapse_error error = {.message = ""};
    lapse_result result = policy_yaml_parse(slice_str(text), "p.yaml", &file, &error);
    cr_assert_eq(result.code, LAPSE_INVALID_ARGUMENT, "accepted:\n%s", text);
    cr_assert_eq(strncmp(error.message, place, strlen(place)), 0, "not at %s: %s", place, error.message);
    cr_assert_not_null(strstr(error.message, words), "not \"%s\": %s", words, error.message);
    cr_assert_null(file.tree);
}

static void assert_slice(struct slice got, const char *wanted)
{
    cr_assert(slice_equal(got, slice_str(wanted)), "\"%.*s\" is not \"%s\"", (int)got.len, (const char *)got.data,
              wanted);
}

#define RULE "policy: p\nrules:\n  - name: r\n    requesters: [\"*\"]\n    resources: [\"*\"]\n"

static const char everything[] =
    "policy: prod\n"
    "description: 'all keys: # each'\n"
    "priority: 7\n"
    "on_change: end\n"
    "source: git@1f3c\n"
    "rules:\n"
    "  - name: no\n"
    "    deny: true\n"
    "    description: never\n"
    "    requesters: [user:ext-*]\n"
    "    subjects: [user:a, user:b]\n"
    "    resources: [db/x]\n"
    "    actions: [read]\n"
    "  - name: yes-rule\n"
    "    break_glass: true\n"
    "    requesters:\n"
    "      - user:oncall*\n"
    "    resources: [\"*\"]\n"
    "    max_duration: 1h30m\n"
    "    max_uses: 12\n"
    "    eligibility: required\n"
    "    justification: {required: true, min_length: 20}\n"
    "    ticket: {pattern: 'INC-\\.?'}\n"
    "    binding: [network, spiffe_id]\n"
    "    approval:\n"
    "      self: true\n"
    "      steps:\n"
    "        - {count: 2, approvers: [user:lead-*]}\n"
    "        - approvers: [user:dba-*]\n"
    "    decide_within: 45m\n"
    "    limits: {concurrent: 3, requests: 4, resources: 5, window: 10m, cool_down: 30s, excess: hold}\n"
    "    delegation: {depth: 2}\n"
    "    review: {within: 8h, reviewers: [user:sec-*]}\n"
    "    token: bound\n";

/* ---- Reading */

Test(policy_yaml, every_key_gets_where_it_belongs)
{

    struct policy_file file = parse(everything);
    const struct policy *policy = &file.policy;
    assert_slice(policy->name, "prod");
    assert_slice(policy->description, "all keys: # each");
    assert_slice(policy->source, "git@1f3c");
    cr_assert_eq(policy->priority, 7);
    cr_assert(policy->end_disallowed);
    cr_assert_eq(policy->n_rules, 2);
    cr_assert(policy->rules[0].deny);
    assert_slice(policy->rules[0].description, "never");
    assert_slice(policy->rules[0].subjects.items[1], "user:b");
    assert_slice(policy->rules[0].actions.items[0], "read");
    const struct policy_rule *rule = &policy->rules[1];
    cr_assert(rule->break_glass && rule->eligibility && rule->self_approval && !rule->automatic && !rule->deny);
    assert_slice(rule->requesters.items[0], "user:oncall*");
    cr_assert_eq(rule->max_duration_ms, 90 * 60000);
    cr_assert_eq(rule->max_uses, 12);
    cr_assert(rule->justification.required && !rule->ticket.required);
    cr_assert_eq(rule->justification.min_length, 20);
    assert_slice(rule->ticket.pattern, "INC-\\.?");
    cr_assert(rule->bind_spiffe_id && !rule->bind_certificate && rule->bind_network);
    cr_assert_eq(rule->n_steps, 2);
    cr_assert_eq(rule->steps[0].count, 2);
    assert_slice(rule->steps[1].approvers.items[0], "user:dba-*");
    cr_assert_eq(rule->decide_within_ms, 45 * 60000);
    cr_assert_eq(rule->limits.concurrent, 3);
    cr_assert_eq(rule->limits.requests, 4);
    cr_assert_eq(rule->limits.resources, 5);
    cr_assert_eq(rule->limits.window_ms, 600000);
    cr_assert_eq(rule->limits.cool_down_ms, 30000);
    cr_assert(rule->limits.hold);
    cr_assert_eq(rule->delegation_depth, 2);
    cr_assert_eq(rule->review_within_ms, 8 * 3600000);
    assert_slice(rule->reviewers.items[0], "user:sec-*");
    cr_assert_eq(rule->token, TOKEN_RULE_BOUND);
    policy_file_free(&file);
}

Test(policy_yaml, what_is_left_out_is_the_schemas_default)
{
    struct policy_file file =
        parse(RULE "    token: allowed\n    eligibility: optional\n    limits: {excess: refuse}\n");
    const struct policy_rule *rule = &file.policy.rules[0];
    cr_assert_eq(file.policy.priority, 0);
    cr_assert(!file.policy.end_disallowed && !rule->limits.hold && !rule->eligibility);
    cr_assert_eq(rule->n_steps, 0);
    cr_assert_eq(rule->max_duration_ms, 0);
    cr_assert_eq(rule->token, TOKEN_RULE_ALLOWED);
    policy_file_free(&file);
}

Test(policy_yaml, a_fault_of_form_is_told_with_line_and_column)
{
    static const struct {
        const char *text, *place, *words;
    } faults[] = {
        {"", "p.yaml:1:1: ", "empty"},
        {"# only a comment\n", "p.yaml:2:1: ", "empty"},
        {"policy: p\nrequestors: [a]\n", "p.yaml:2:1: ", "unknown key \"requestors\"; known here: policy, description"},
        {"policy: p\nprioritie: 1\n", "p.yaml:2:1: ", "did you mean \"priority\"?"},
        {RULE "    ticket: {patern: x}\n", "p.yaml:6:14: ", "did you mean \"pattern\"?"},
        {RULE "    <<: {deny: true}\n", "p.yaml:6:5: ", "unknown key \"<<\""},
        {"policy: p\nrules: []\npolicy: q\n", "p.yaml:3:1: ", "\"policy\" is here twice: first in line 1"},
        {"policy: &a p\n", "p.yaml:1:9: ", "anchors"},
        {"policy: !!str p\n", "p.yaml:1:9: ", "tags"},
        {"policy: p\nrules: *a\n", "p.yaml:2:8: ", "aliases"},
        {"policy: p\nrules:\n  - name: r\n    resources: [*]\n", "p.yaml:4:18: ", "\"*\""},
        {"policy: p\n---\npolicy: q\n", "p.yaml:2:1: ", "second document"},
        {"policy: [[[[[[[[[x]]]]]]]]]\n", "p.yaml:1:16: ", "nested more than 8 deep"},
        {"[policy]: p\n", "p.yaml:1:1: ", "a key is a word"},
        {"policy: p\nrules:\n\t- name: r\n", "p.yaml:3:1: ", "indent with blanks"},
        {"policy: p: q\n", "p.yaml:1:10: ", "mapping values"},
        {"policy: p\nx: \"a\x01\"\n", "p.yaml:2:6: ", "control characters"},
        {"policy: p\nx: \xC3\n", "p.yaml:2:5: ", "UTF-8"},
        {"policy: \"p\\0\"\nrules: [x]\n", "p.yaml:1:9: ", "NUL"},
        {"- policy: p\n", "p.yaml:1:1: ", "is a map, not a list"},
        {"policy: p\n", "p.yaml:1:1: ", "\"rules\" is missing"},
        {"rules: [x]\n", "p.yaml:1:1: ", "\"policy\" is missing"},
        {"policy: p\nrules: x\n", "p.yaml:2:8: ", "a list of at least one rule"},
        {"policy: p\nrules: []\n", "p.yaml:2:8: ", "a list of at least one rule"},
        {"policy: p\nrules: [x]\n", "p.yaml:2:9: ", "is a map, not a text"},
        {"policy: p\nrules:\n  - requesters: [a]\n", "p.yaml:3:5: ", "\"name\" is missing"},
        {"policy:\n", "p.yaml:1:8: ", "there is no value"},
        {"policy: ~\nrules: [x]\n", "p.yaml:1:9: ", "there is no value"},
        {"policy: p\nrules:\n  - name: r\n    resources:\n", "p.yaml:4:15: ", "there is no value"},
        {"policy: p\nrules:\n  - name: r\n    resources: db\n", "p.yaml:4:16: ", "\"resources\" is a list, not a text"},
        {RULE "    subjects: []\n", "p.yaml:6:15: ", "an empty list"},
        {RULE "    ticket: {}\n", "p.yaml:6:13: ", "an empty map"},
        {RULE "    deny: yes\n", "p.yaml:6:11: ", "\"yes\" is neither true nor false"},
        {RULE "    deny: \"true\"\n", "p.yaml:6:11: ", "neither true nor false"},
        {RULE "    max_uses: 010\n", "p.yaml:6:15: ", "\"010\" is not a whole number"},
        {RULE "    max_uses: 4294967296\n", "p.yaml:6:15: ", "not a whole number"},
        {RULE "    max_uses: -1\n", "p.yaml:6:15: ", "not a whole number"},
        {RULE "    max_uses: 1e3\n", "p.yaml:6:15: ", "not a whole number"},
        {RULE "    max_duration: 60\n", "p.yaml:6:19: ", "not a duration like 30s"},
        {RULE "    max_duration: 0s\n", "p.yaml:6:19: ", "not a duration"},
        {RULE "    token: maybe\n", "p.yaml:6:12: ", "not one of: allowed forbidden bound"},
        {RULE "    binding: [ip]\n", "p.yaml:6:15: ", "not one of: spiffe_id certificate network"},
        {RULE "    binding: [network, network]\n", "p.yaml:6:24: ", "here twice"},
        {RULE "    approval: {steps: [{count: 1}, {count: 1}, {count: 1}, {count: 1}, {count: 1}]}\n",
         "p.yaml:6:23: ", "more than 4"},
    };
    for (size_t i = 0; i < ARRAY_LEN(faults); i++)
        assert_refused(faults[i].text, faults[i].place, faults[i].words);
}

Test(policy_yaml, a_contradiction_is_told_with_line_and_column_in_the_words_of_the_file)
{
    static const struct {
        const char *text, *place, *words;
    } faults[] = {
        {"policy: a b\nrules:\n  - {name: r, requesters: ['*'], resources: ['*']}\n", "p.yaml:1:9: ", "policy"},
        {"policy: p\nrules:\n  - {name: r, requesters: [user:a, 'a b'], resources: ['*']}\n",
         "p.yaml:3:36: ", "requesters"},
        {"policy: p\nrules:\n  - {name: r, resources: ['*']}\n", "p.yaml:3:5: ", "requesters"},
        {RULE "    max_duration: 60d\n", "p.yaml:6:19: ", "rule r: max_duration: must be"},
        {RULE "    deny: true\n    binding: [network]\n", "p.yaml:7:14: ", "rule r: binding: contradicts deny"},
        {RULE "    review: {within: 2h}\n", "p.yaml:6:22: ", "rule r: review.within: only break-glass"},
        {RULE "    approval: {automatic: true, self: true}\n", "p.yaml:6:39: ", "approval.self: contradicts"},
        {RULE "    approval:\n      steps:\n        - {count: 1}\n        - {approvers: [user:a, user:a]}\n",
         "p.yaml:9:11: ", "approval.steps: "},
        {RULE "    ticket: {pattern: '[a'}\n", "p.yaml:6:13: ", "ticket: "},
        {RULE "  - {name: r, requesters: [user:a], resources: [b]}\n", "p.yaml:6:12: ", "name"},
        {RULE "  - {name: s, requesters: [user:a], resources: [b]}\n", "p.yaml:6:12: ", "never decides"},
    };
    for (size_t i = 0; i < ARRAY_LEN(faults); i++)
        assert_refused(faults[i].text, faults[i].place, faults[i].words);
}

/* `head`, `n` times `each`, `tail`. */
static char *repeated(const char *head, size_t n, const char *each, const char *tail)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    fputs(head, out);
    for (size_t i = 0; i < n; i++)
        fprintf(out, each, i); // NOLINT: the tests' own formats
    fputs(tail, out);
    cr_assert_eq(fclose(out), 0);
    return text;
}

Test(policy_yaml, what_is_too_much_is_refused)
{
    char *text = repeated("policy: p #", LIMIT_YAML_FILE, "%1.0zu", "\n");
    assert_refused(text, "p.yaml: ", "longer than 524288 bytes");
    free(text);
    text = repeated("policy: p\nrules: [", LIMIT_YAML_NODES, "a%zu,", "]\n");
    assert_refused(text, "p.yaml:2:", "more than 32768 values");
    free(text);
    text = repeated("", LIMIT_YAML_KEYS + 1, "k%zu: x\n", "");
    assert_refused(text, "p.yaml:65:1: ", "more than 64 keys");
    free(text);
    text = repeated("policy: p\nrules:\n", LIMIT_RULES_PER_POLICY + 1,
                    "  - {name: r%zu, requesters: [user:a], resources: [b]}\n", "");
    assert_refused(text, "p.yaml:3:3: ", "more than 128 rules");
    free(text);
}

Test(policy_yaml, a_file_that_is_not_there_is_not_found)
{
    struct policy_file file = {0};
    struct lapse_error error;
    cr_assert_eq(policy_yaml_read("/nonexistent/p.yaml", &file, &error).code, LAPSE_NOT_FOUND);
    cr_assert_not_null(strstr(error.message, "/nonexistent/p.yaml: No such file"), "%s", error.message);
    cr_assert_eq(policy_yaml_read("/tmp", &file, &error).code, LAPSE_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(error.message, "/tmp: "), "%s", error.message);
}

/* ---- Writing */

static struct buf encoded(const struct policy *policy)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_OBJECT_BYTES);
    cr_assert(lapse_is_ok(policy_encode(policy, &bytes)));
    return bytes;
}

/* What was written reads as the same policy, and is written the same again. Returns the text. */
static char *assert_round_trip(const struct policy *policy)
{
    struct buf text, again, bytes = encoded(policy), bytes_again;
    buf_init(&text, 1 << 20);
    buf_init(&again, 1 << 20);
    cr_assert(lapse_is_ok(policy_yaml_put(policy, &text)));
    cr_assert(lapse_is_ok(buf_append(&text, "", 1)));
    struct policy_file file = parse((const char *)text.data);
    bytes_again = encoded(&file.policy);
    cr_assert(slice_equal(buf_slice(&bytes), buf_slice(&bytes_again)), "%s", (const char *)text.data);
    cr_assert(lapse_is_ok(policy_yaml_put(&file.policy, &again)));
    cr_assert(slice_equal(slice_str((const char *)text.data), buf_slice(&again)));
    policy_file_free(&file);
    buf_free(&again);
    buf_free(&bytes);
    buf_free(&bytes_again);
    return (char *)text.data;
}

Test(policy_yaml, what_is_shown_is_what_was_applied)
{
    struct policy_file file = parse(everything);
    free(assert_round_trip(&file.policy));
    policy_file_free(&file);
}

Test(policy_yaml, texts_come_back_whatever_is_in_them)
{
    static const char *const texts[] = {
        "plain",
        "two words",
        "true",
        "NO",
        "null",
        "7",
        "-",
        "a: b",
        "a #b",
        "#",
        "trail:",
        "'single'",
        "\"dou\"",
        "back\\slash",
        "*",
        "&a",
        "!x",
        "%d",
        "@at",
        "[x]",
        "{x}",
        "a,b",
        " lead",
        "tail ",
        "~",
        "\xC3\xA9t\xC3\xA9",
        "\xE2\x80\xA8",
        "a \xE2\x80\xA8 b",
        "\xEF\xBB\xBFx",
        "x\ty",
        "two\nlines",
        "\xEF\xBF\xBFz",
        "\xF0\x9F\x94\x91",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct policy_file file = parse(RULE);
        file.policy.rules[0].description = slice_str(texts[i]);
        free(assert_round_trip(&file.policy));
        policy_file_free(&file);
    }
}

Test(policy_yaml, long_lists_and_durations_come_back)
{
    char *text = repeated(RULE "    actions: [", 12, "some-long-action-%zu, ", "]\n    max_duration: 1d1h1m1s1ms\n");
    struct policy_file file = parse(text);
    char *shown = assert_round_trip(&file.policy);
    cr_assert_not_null(strstr(shown, "      - some-long-action-11\n"), "%s", shown);
    cr_assert_not_null(strstr(shown, "    max_duration: 1d1h1m1s1ms\n"), "%s", shown);
    policy_file_free(&file);
    free(shown);
    free(text);
}

Test(policy_yaml, what_the_store_adds_is_a_comment)
{
    struct policy_file file = parse(RULE);
    struct buf out;
    file.policy.version = 3;
    file.policy.applied_by = slice_str("user:op");
    file.policy.revision = 99;
    buf_init(&out, 4096);
    cr_assert(lapse_is_ok(policy_yaml_put(&file.policy, &out)));
    static const char comment[] = "# Version 3, applied by user:op at revision 99.\npolicy: p\n";
    cr_assert_eq(memcmp(out.data, comment, sizeof comment - 1), 0, "%.*s", (int)out.len, (const char *)out.data);
    buf_free(&out);
    policy_file_free(&file);
}

/* ---- Expected decisions */

static void assert_tests_refused(const char *text, const char *place, const char *words)
{
    struct policy_tests tests = {0};
    struct lapse_error error;
    lapse_result result = policy_tests_parse(slice_str(text), "t.yaml", &tests, &error);
    cr_assert_eq(result.code, LAPSE_INVALID_ARGUMENT, "accepted:\n%s", text);
    cr_assert_eq(strncmp(error.message, place, strlen(place)), 0, "not at %s: %s", place, error.message);
    cr_assert_not_null(strstr(error.message, words), "not \"%s\": %s", words, error.message);
}

#define ASKS "request: {requester: user:a, resource: db/x, actions: [read], duration: 1h, justification: because}\n"

Test(policy_test, a_test_that_makes_no_sense_is_refused_with_line_and_column)
{
    assert_tests_refused("tests: []\n", "t.yaml:1:8: ", "at least one test");
    assert_tests_refused("test: []\n", "t.yaml:1:1: ", "did you mean \"tests\"?");
    assert_tests_refused(ASKS "tests:\n  - expect: deny\n", "t.yaml:3:5: ", "\"name\" is missing");
    assert_tests_refused(ASKS "tests:\n  - name: x\n", "t.yaml:3:5: ", "\"expect\" is missing");
    assert_tests_refused(ASKS "tests:\n  - {name: x, expect: yes}\n", "t.yaml:3:23: ", "deny allow automatic");
    assert_tests_refused(ASKS "tests:\n  - {name: x, expect: deny, rule: r}\n", "t.yaml:3:35: ", "because");
    assert_tests_refused(ASKS "tests:\n  - {name: x, expect: allow, because: r}\n", "t.yaml:3:39: ", "expect: deny");
    assert_tests_refused("tests:\n  - {name: x, expect: deny}\n", "t.yaml:2:5: ", "requester");
    assert_tests_refused(ASKS "tests:\n  - {name: x, expect: deny, request: {resource: /x}}\n",
                         "t.yaml:3:38: ", "resource");
    assert_tests_refused(ASKS "tests:\n  - {name: x, expect: deny, request: {history: {grants: 1}}}\n",
                         "t.yaml:3:49: ", "unknown key");
    assert_tests_refused(ASKS "tests:\n  - {name: x, expect: deny, request: {binding: {certificate_sha256: abc}}}\n",
                         "t.yaml:3:38: ", "64 hex");
    assert_tests_refused(
        "request: {requester: user:a, resource: x, actions: [a]}\ntests:\n  - {name: x, expect: deny}\n",
        "t.yaml:3:5: ", "duration");
}

static struct policy_outcome outcome_of(const char *policy_text, const char *test_text)
{
    struct policy_file file = parse(policy_text);
    struct policy_tests tests;
    struct policy_outcome outcome;
    struct lapse_error error;
    const struct policy *policies[] = {&file.policy};
    char text[1024];
    snprintf(text, sizeof text, ASKS "tests:\n  - {name: t, %s}\n", test_text);
    cr_assert(lapse_is_ok(policy_tests_parse(slice_str(text), "t.yaml", &tests, &error)), "%s", error.message);
    policy_test_run(&tests.tests[0], policies, 1, &outcome);
    policy_tests_free(&tests);
    policy_file_free(&file);
    return outcome;
}

Test(policy_test, the_outcome_is_compared_with_what_is_expected)
{
    static const char automatic[] =
        RULE "    approval: {automatic: true}\n    limits: {requests: 2, window: 1h, excess: hold}\n";
    static const struct {
        const char *policy, *test;
        bool passes;
        const char *verdict;
    } cases[] = {
        {RULE, "expect: approval", true, "allowed after approval by p/r"},
        {RULE, "expect: allow", true, "allowed after approval"},
        {RULE, "expect: automatic", false, "should be allowed at once, but is allowed after approval by p/r"},
        {RULE, "expect: deny", false, "should be refused, but is allowed after approval by p/r"},
        {RULE, "expect: allow, rule: r", true, "allowed"},
        {RULE, "expect: allow, rule: p/r", true, "allowed"},
        {RULE, "expect: allow, rule: p/s", false, "should be allowed by p/s, but is"},
        {RULE, "expect: allow, rule: q/r", false, "should be allowed by q/r, but is"},
        {automatic, "expect: automatic", true, "allowed at once by p/r"},
        {automatic, "expect: allow, request: {history: {requests: 9}}", false, "should be allowed, but is held by p/r"},
        {automatic, "expect: hold, request: {history: {requests: 9}}", true, "held by p/r"},
        {RULE "    deny: true\n", "expect: deny", true, "refused: "},
        {RULE "    deny: true\n", "expect: deny, because: p", true, "refused: "},
        {RULE "    deny: true\n", "expect: deny, because: weather", false,
         "should be refused because of weather, but is refused: "},
        {RULE "    eligibility: required\n", "expect: deny", true, "refused: "},
        {RULE "    eligibility: required\n", "expect: allow, request: {eligible: true}", true, "allowed"},
        {RULE "    binding: [certificate]\n", "expect: deny", true, "refused: "},
        {RULE "    binding: [certificate]\n",
         "expect: allow, request: {binding: {certificate_sha256: "
         "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff}}",
         true, "allowed"},
        {RULE "    break_glass: true\n", "expect: deny", true, "refused: "},
        {RULE "    break_glass: true\n", "expect: allow, request: {break_glass: true}", true, "allowed"},
        {RULE "    max_uses: 3\n", "expect: deny", true, "refused: "},
        {RULE "    max_uses: 3\n", "expect: allow, request: {max_uses: 3}", true, "allowed"},
        {RULE, "expect: deny, request: {policy: other}", true, "refused: "},
        {RULE "    limits: {cool_down: 10m}\n", "expect: deny, request: {history: {since_end: 1m}}", true, "refused: "},
        {RULE "    limits: {cool_down: 10m}\n", "expect: allow, request: {history: {since_end: 11m}}", true, "allowed"},
        {RULE "    limits: {cool_down: 10m}\n", "expect: allow", true, "allowed"},
        {RULE "    limits: {concurrent: 2}\n", "expect: deny, request: {history: {concurrent: 2}}", true, "refused: "},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct policy_outcome outcome = outcome_of(cases[i].policy, cases[i].test);
        cr_assert_eq(outcome.as_expected, cases[i].passes, "%s: %s", cases[i].test, outcome.verdict);
        cr_assert_eq(strncmp(outcome.verdict, cases[i].verdict, strlen(cases[i].verdict)), 0, "%s: %s", cases[i].test,
                     outcome.verdict);
    }
}

Test(policy_test, policies_decide_in_the_order_of_the_cluster)
{
    struct policy_file a = parse(
                           "policy: a\npriority: 2\nrules:\n  - {name: r, requesters: ['*'], resources: ['*']}\n"),
                       b = parse(
                           "policy: b\npriority: 1\nrules:\n  - {name: r, requesters: ['*'], resources: ['*']}\n"),
                       c = parse(
                           "policy: c\npriority: 1\nrules:\n  - {name: r, requesters: ['*'], resources: ['*']}\n");
    const struct policy *policies[] = {&a.policy, &c.policy, &b.policy}, *twice[] = {&a.policy, &a.policy};
    struct lapse_error error;
    cr_assert(lapse_is_ok(policies_sort(policies, 3, &error)));
    cr_assert_eq(policies[0], &b.policy);
    cr_assert_eq(policies[1], &c.policy);
    cr_assert_eq(policies[2], &a.policy);
    cr_assert_eq(policies_sort(twice, 2, &error).code, LAPSE_INVALID_ARGUMENT);
    policy_file_free(&a);
    policy_file_free(&b);
    policy_file_free(&c);
}

static void assert_examples_pass(const char *policy_name, const char *tests_name, uint32_t least)
{
    char path[512];
    struct policy_file file;
    struct policy_tests tests;
    struct policy_outcome outcome;
    struct lapse_error error;
    snprintf(path, sizeof path, "%s/dist/policies/%s", getenv("SOURCE_ROOT"), policy_name);
    cr_assert(lapse_is_ok(policy_yaml_read(path, &file, &error)), "%s", error.message);
    snprintf(path, sizeof path, "%s/dist/policies/%s", getenv("SOURCE_ROOT"), tests_name);
    cr_assert(lapse_is_ok(policy_tests_read(path, &tests, &error)), "%s", error.message);
    const struct policy *policies[] = {&file.policy};
    cr_assert_geq(tests.n, least);
    for (uint32_t i = 0; i < tests.n; i++) {
        policy_test_run(&tests.tests[i], policies, 1, &outcome);
        cr_assert(outcome.as_expected, "%s:%u: %s", tests_name, tests.tests[i].at->line, outcome.verdict);
    }
    free(assert_round_trip(&file.policy));
    policy_tests_free(&tests);
    policy_file_free(&file);
}

Test(policy_test, the_examples_that_come_with_lapse_pass_their_tests)
{
    assert_examples_pass("production.yaml", "production-tests.yaml", 10);
    assert_examples_pass("agents.yaml", "agents-tests.yaml", 8);
}

/* ---- Differences */

static void assert_diff(const char *before, const char *after, const char *wanted)
{
    struct policy_file old = {0}, new = parse(after);
    struct buf out;
    if (before != NULL)
        old = parse(before);
    buf_init(&out, 1 << 16);
    cr_assert(lapse_is_ok(policy_diff_put(before == NULL ? NULL : &old.policy, &new.policy, &out)));
    cr_assert(slice_equal(buf_slice(&out), slice_str(wanted)), "got:\n%.*s", (int)out.len, (const char *)out.data);
    if (before != NULL)
        cr_assert_eq(policy_same(&old.policy, &new.policy), *wanted == '\0' || strstr(wanted, "+ source") == wanted);
    buf_free(&out);
    policy_file_free(&old);
    policy_file_free(&new);
}

#define R(name, more) "  - {name: " name ", requesters: [user:" name "], resources: [x]" more "}\n"
#define P "policy: p\nrules:\n"

Test(policy_diff, says_which_lines_differ_and_nothing_else)
{
    assert_diff(P R("a", ""), P R("a", ""), "");
    assert_diff(P R("a", ""), "source: here\n" P R("a", ""), "+ source: here\n");
    assert_diff(P R("a", ""), "priority: 3\n" P R("a", ""), "+ priority: 3\n");
    assert_diff(P R("a", ", max_duration: 2h"), P R("a", ", max_duration: 1h"),
                "  rule a\n-     max_duration: 2h\n+     max_duration: 1h\n");
    assert_diff(P R("a", "") R("b", ""), P R("a", ""),
                "- rule b is gone\n-     name: b\n-     requesters: [user:b]\n-     resources: [x]\n");
    assert_diff(
        P R("a", ""), P R("a", "") R("b", ", token: bound"),
        "+ rule b is new\n+     name: b\n+     requesters: [user:b]\n+     resources: [x]\n+     token: bound\n");
    assert_diff(NULL, P R("a", ""),
                "+ policy: p\n+ rule a is new\n+     name: a\n+     requesters: [user:a]\n+     resources: [x]\n");
}

Test(policy_diff, the_order_of_rules_is_a_difference)
{
    static const char order[] = "  rules come in another order: the first that allows a request decides\n";
    char with_new[256];
    assert_diff(P R("a", "") R("b", ""), P R("b", "") R("a", ""), order);
    snprintf(with_new, sizeof with_new,
             "- rule c is gone\n-     name: c\n-     requesters: [user:c]\n-     resources: [x]\n%s", order);
    assert_diff(P R("c", "") R("a", "") R("b", ""), P R("b", "") R("a", ""), with_new);
}

static const char *const reads[] = {"read"};
static struct lapse_grant grant_like(enum lapse_grant_state state)
{
    return (struct lapse_grant){.id = "01JD8Z5M3N0V6Q2R4T8W9X1Y7Z",
                                .state = state,
                                .subject = "user:a",
                                .requester = "user:a",
                                .resource = "x",
                                .actions = reads,
                                .n_actions = 1,
                                .justification = "j",
                                .ticket = "",
                                .policy = "p",
                                .duration_ms = 3600000,
                                .binding.spiffe_id = "",
                                .activated_ms = state == LAPSE_STATE_ACTIVE ? 1000 : 0,
                                .deadline_ms = state == LAPSE_STATE_ACTIVE ? 3601000 : 0};
}

Test(policy_diff, a_live_grant_fares_as_the_policy_says)
{
    struct policy_file same = parse(P R("a", "")), other = parse(P R("b", "")),
                       end = parse("on_change: end\n" P R("b", "")), shorter = parse(P R("a", ", max_duration: 30m"));
    struct lapse_grant active = grant_like(LAPSE_STATE_ACTIVE), pending = grant_like(LAPSE_STATE_PENDING);
    cr_assert_eq(policy_fate_of(&same.policy, &active), POLICY_STAYS);
    cr_assert_eq(policy_fate_of(&other.policy, &active), POLICY_OUTLIVES);
    cr_assert_eq(policy_fate_of(&end.policy, &active), POLICY_ENDS);
    cr_assert_eq(policy_fate_of(&shorter.policy, &active), POLICY_OUTLIVES);
    cr_assert_eq(policy_fate_of(&shorter.policy, &pending), POLICY_OUTLIVES);
    cr_assert_eq(policy_fate_of(&end.policy, &pending), POLICY_ENDS);
    cr_assert_str_eq(policy_fate_words(POLICY_ENDS, &active), "not allowed any more; is revoked");
    cr_assert_str_eq(policy_fate_words(POLICY_ENDS, &pending), "not allowed any more; is cancelled");
    cr_assert_str_eq(policy_fate_words(POLICY_OUTLIVES, &pending), "not allowed any more; can still be approved");
    policy_file_free(&same);
    policy_file_free(&other);
    policy_file_free(&end);
    policy_file_free(&shorter);
}

/* ---- The manual */

static char *manual(void)
{
    char path[512];
    snprintf(path, sizeof path, "%s/docs/man/lapse-policy.5", getenv("SOURCE_ROOT"));
    FILE *in = fopen(path, "r");
    cr_assert_not_null(in, "%s", path);
    char *text = mem_calloc(1, 1 << 17);
    cr_assert_gt(fread(text, 1, (1 << 17) - 1, in), 0);
    fclose(in);
    return text;
}

static void assert_explained(const char *text, const struct yaml_key *keys)
{
    for (; keys->name != NULL; keys++) {
        char item[80];
        snprintf(item, sizeof item, "\n.It Ic %s\n", keys->name);
        cr_assert_not_null(strstr(text, item), "lapse-policy(5) says nothing of \"%s\"", keys->name);
        if (keys->keys != NULL)
            assert_explained(text, keys->keys);
    }
}

Test(policy_yaml, every_key_is_explained_in_the_manual)
{
    char *text = manual();
    assert_explained(text, policy_keys);
    assert_explained(text, policy_rule_keys);
    assert_explained(text, policy_test_keys);
    assert_explained(text, policy_case_keys);
    free(text);
}
