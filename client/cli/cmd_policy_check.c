/* lapse policy test (offline: expected decisions) and lapse policy diff (what a change would do). */
#include "client/lapse_governance.h"

#include <inttypes.h>
#include <stdlib.h>

#include "client/cli/output.h"
#include "client/cli/policies.h"
#include "client/policy_diff.h"
#include "client/policy_test.h"

#define DIFF_MAX (512u * 1024)

/* ---- test */

struct testing {
    struct policy_files files;
    const struct policy *policies[CLI_OPERANDS_MAX];
    struct policy_tests tests;
    uint32_t passed, failed;
};

static json_t *outcome_json(const struct policy_test *test, const struct policy_outcome *outcome)
{
    char *name = strndup((const char *)test->name.data, test->name.len);
    json_t *json = json_pack("{s:s, s:b, s:s, s:i}", "test", name, "passed", outcome->as_expected, "verdict",
                             outcome->verdict, "line", (int)test->at->line);
    free(name);
    return json;
}

static void outcome_print(struct cli *cli, const struct testing *testing, const struct policy_test *test,
                          const struct policy_outcome *outcome)
{
    if (cli_output(cli) == CLI_JSON) {
        output_json_line(cli->out, outcome_json(test, outcome));
        return;
    }
    if (outcome->as_expected && !cli_given(cli, "verbose"))
        return;
    fprintf(cli->out, "%s:%" PRIu32 ": %s: ", yaml_file(testing->tests.tree), test->at->line,
            outcome->as_expected ? "ok" : "FAILED");
    output_text(cli->out, (const char *)test->name.data);
    fputs(": ", cli->out);
    output_text(cli->out, outcome->verdict);
    fputc('\n', cli->out);
}

static bool *rule_of(const struct testing *testing, bool *const *reached, const struct policy_outcome *outcome)
{
    uint32_t i = 0;
    while (testing->policies[i] != outcome->decision.policy)
        i++;
    return &reached[i][outcome->decision.rule - outcome->decision.policy->rules];
}

static void unreached_print(struct cli *cli, const struct testing *testing, bool *const *reached)
{
    for (uint32_t i = 0; i < testing->files.n; i++)
        for (uint32_t j = 0; j < testing->policies[i]->n_rules; j++) {
            const struct policy_rule *rule = &testing->policies[i]->rules[j];
            if (!rule->deny && !reached[i][j])
                fprintf(cli->out, "note: no test is allowed by %.*s/%.*s\n", (int)testing->policies[i]->name.len,
                        (const char *)testing->policies[i]->name.data, (int)rule->name.len,
                        (const char *)rule->name.data);
        }
}

static void tests_run(struct cli *cli, struct testing *testing)
{
    bool reached_rules[CLI_OPERANDS_MAX][LIMIT_RULES_PER_POLICY] = {{false}}, *reached[CLI_OPERANDS_MAX];
    for (uint32_t i = 0; i < CLI_OPERANDS_MAX; i++)
        reached[i] = reached_rules[i];
    for (uint32_t i = 0; i < testing->tests.n; i++) {
        struct policy_outcome outcome;
        policy_test_run(&testing->tests.tests[i], testing->policies, testing->files.n, &outcome);
        if (outcome.got != POLICY_DENY)
            *rule_of(testing, reached, &outcome) = true;
        outcome_print(cli, testing, &testing->tests.tests[i], &outcome);
        testing->passed += outcome.as_expected;
        testing->failed += !outcome.as_expected;
    }
    if (cli_output(cli) == CLI_JSON)
        return;
    unreached_print(cli, testing, reached);
    fprintf(cli->out, "%" PRIu32 " passed, %" PRIu32 " failed\n", testing->passed, testing->failed);
}

static lapse_result testing_load(const struct cli *cli, struct testing *testing, struct lapse_error *error)
{
    lapse_result result = policy_files_read(cli, 1, &testing->files, error);
    for (uint32_t i = 0; lapse_is_ok(result) && i < testing->files.n; i++)
        testing->policies[i] = &testing->files.files[i].policy;
    if (lapse_is_ok(result))
        result = policies_sort(testing->policies, testing->files.n, error);
    if (lapse_is_ok(result))
        result = policy_tests_read(cli->operands[0], &testing->tests, error);
    return result;
}

int cmd_policy_test(struct cli *cli)
{
    struct testing testing = {.passed = 0};
    struct lapse_error error;
    lapse_result result = testing_load(cli, &testing, &error);
    if (lapse_is_ok(result))
        tests_run(cli, &testing);
    policy_tests_free(&testing.tests);
    policy_files_free(&testing.files);
    if (!lapse_is_ok(result))
        return cli_fail(&error);
    return testing.failed == 0 ? CLI_OK : CLI_ERROR;
}

/* ---- diff */

/* One policy's comparison with what is applied. */
struct comparison {
    struct cli *cli;
    const struct policy *after;
    struct buf lines;
    uint64_t version; /* of what is there; 0: nothing */
    uint64_t grants, affected;
    struct output_table *table;
    json_t *list;
};

static void affected_add(struct comparison *comparison, const struct lapse_grant *grant, enum policy_fate fate)
{
    static const char *const names[] = {"STAYS", "OUTLIVES", "ENDS"};
    struct output_table *table = comparison->table;
    comparison->affected++;
    if (cli_output(comparison->cli) == CLI_JSON) {
        json_array_append_new(comparison->list,
                              json_pack("{s:s, s:o}", "fate", names[fate], "grant", output_json(&schema_grant, grant)));
        return;
    }
    output_table_cell(table, "%s", grant->id);
    output_table_cell(table, "%s", lapse_grant_state_name(grant->state));
    output_table_cell(table, "%s", grant->subject);
    output_table_cell(table, "%s", grant->resource);
    output_table_cell(table, "%s", policy_fate_words(fate, grant));
}

static void page_compare(struct comparison *comparison, const struct lapse_grant_list *page)
{
    for (size_t i = 0; i < page->n_grants; i++) {
        enum policy_fate fate = policy_fate_of(comparison->after, &page->grants[i]);
        comparison->grants++;
        if (fate != POLICY_STAYS)
            affected_add(comparison, &page->grants[i], fate);
    }
}

static lapse_result grants_compare(struct comparison *comparison, const char *name, struct lapse_error *error)
{
    static const enum lapse_grant_state live[] = {LAPSE_STATE_PENDING, LAPSE_STATE_APPROVED, LAPSE_STATE_ACTIVE};
    struct cli *cli = comparison->cli;
    char token[1024] = "";
    struct lapse_grant_list page;
    do {
        struct lapse_list_args args = {
            .filter = {.policy = name, .states = live, .n_states = 3}, .page_size = LIMIT_PAGE, .page_token = token};
        lapse_result result = lapse_list(cli->client, &args, cli->timeout_ms, &page, error);
        if (!lapse_is_ok(result))
            return result;
        page_compare(comparison, &page);
        snprintf(token, sizeof token, "%s", page.next_page_token);
        lapse_grant_list_free(&page);
    } while (*token != '\0');
    return lapse_ok();
}

static void comparison_json(struct comparison *comparison, const char *name)
{
    json_t *line = json_pack(
        "{s:s, s:I, s:b, s:s%, s:I, s:O}", "policy", name, "version", (json_int_t)comparison->version, "changed",
        comparison->lines.len > 0, "diff", comparison->lines.len > 0 ? (const char *)comparison->lines.data : "",
        comparison->lines.len, "grants", (json_int_t)comparison->grants, "affected", comparison->list);
    output_json_line(comparison->cli->out, line);
}

static void comparison_print(struct comparison *comparison, const char *name, bool first)
{
    FILE *out = comparison->cli->out;
    if (comparison->version == 0)
        fprintf(out, "%s: new\n", name);
    else
        fprintf(out, "%s: %s version %" PRIu64 "\n", name,
                comparison->lines.len == 0 ? "nothing differs from" : "compared with", comparison->version);
    fwrite(comparison->lines.data, 1, comparison->lines.len, out);
    if (first)
        fprintf(out, "No policy is applied so far: from the first one on a request needs a rule.\n");
    if (comparison->version != 0)
        fprintf(out, "%" PRIu64 " live grants and requests under it, %" PRIu64 " that it would not allow%s\n",
                comparison->grants, comparison->affected, comparison->affected == 0 ? "" : ":");
    if (comparison->affected > 0)
        output_table_print(comparison->table, out, "");
}

static lapse_result comparison_make(struct comparison *comparison, const char *name, struct lapse_error *error)
{
    struct policy *before = NULL;
    lapse_result result = policy_fetch(comparison->cli, name, &before, error);
    if (!lapse_is_ok(result))
        return result;
    comparison->version = before == NULL ? 0 : before->version;
    result = policy_diff_put(before, comparison->after, &comparison->lines);
    policy_free(before);
    if (!lapse_is_ok(result))
        return lapse_fail(error, LAPSE_INTERNAL, "the differences are longer than %u bytes", DIFF_MAX);
    return grants_compare(comparison, name, error);
}

static lapse_result diff_one(struct cli *cli, const struct policy *after, bool first, struct lapse_error *error)
{
    static const char *const titles[] = {"GRANT", "STATE", "SUBJECT", "RESOURCE", "WHAT HAPPENS"};
    struct comparison comparison = {
        .cli = cli, .after = after, .table = output_table_new(5, titles), .list = json_array()};
    char name[LIMIT_POLICY + 1];
    buf_init(&comparison.lines, DIFF_MAX);
    lapse_result result = comparison_make(&comparison, policy_name(after, name), error);
    if (lapse_is_ok(result) && cli_output(cli) == CLI_JSON)
        comparison_json(&comparison, name);
    else if (lapse_is_ok(result))
        comparison_print(&comparison, name, first);
    buf_free(&comparison.lines);
    output_table_free(comparison.table);
    json_decref(comparison.list);
    return result;
}

int cmd_policy_diff(struct cli *cli)
{
    struct policy_files files;
    struct lapse_error error;
    bool any = false;
    if (!lapse_is_ok(policy_files_read(cli, 0, &files, &error)))
        return cli_fail(&error);
    lapse_result result = policy_any(cli, &any, &error);
    for (uint32_t i = 0; i < files.n && lapse_is_ok(result); i++)
        result = diff_one(cli, &files.files[i].policy, !any && i == 0, &error);
    policy_files_free(&files);
    return lapse_is_ok(result) ? CLI_OK : cli_fail(&error);
}
