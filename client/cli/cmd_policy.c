/* lapse policy: apply, list, show, remove, example. What changes nothing but tells: cmd_policy_check.c. */
#include "client/lapse_governance.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/output.h"
#include "client/cli/policies.h"
#include "client/cli/value.h"
#include "client/policy_diff.h"
#include "client/policy_example.h"

/* A policy as a file: its bytes, with indentation and quotes. */
#define FILE_MAX (256u * 1024)

/* ---- apply */

enum applying { APPLY_NEW, APPLY_CHANGED, APPLY_SAME };

/* What applying it does. A policy that is there already is left alone, so that a pipeline can apply all files each
 * time. */
static lapse_result compare(struct cli *cli, const struct policy *wanted, enum applying *what, uint64_t *version,
                            struct lapse_error *error)
{
    char name[LIMIT_POLICY + 1];
    struct policy *there = NULL;
    lapse_result result = policy_fetch(cli, policy_name(wanted, name), &there, error);
    if (!lapse_is_ok(result))
        return result;
    *what = there == NULL ? APPLY_NEW : policy_same(there, wanted) ? APPLY_SAME : APPLY_CHANGED;
    *version = there == NULL ? 0 : there->version;
    policy_free(there);
    return result;
}

static lapse_result send(struct cli *cli, const struct policy *policy, struct lapse_change *change,
                         struct lapse_error *error)
{
    struct lapse_apply_policy_args args = {.request_id = cli_text(cli, "request-id"),
                                           .expected_version = (uint64_t)cli_number(cli, "expect-version")};
    lapse_result result = policy_to_message(policy, &args.policy, error);
    if (!lapse_is_ok(result))
        return result;
    result = lapse_apply_policy(cli->client, &args, cli->timeout_ms, change, error);
    codec_release(&schema_policy, &args.policy);
    return result;
}

/* `version` 0: none. A version is the revision at which it was applied. */
static void tell(struct cli *cli, const char *name, const char *what, uint64_t version)
{
    if (cli_output(cli) == CLI_JSON) {
        json_t *line = json_pack("{s:s, s:s, s:I}", "policy", name, "result", what, "version", (json_int_t)version);
        output_json_line(cli->out, line);
    } else if (cli_output(cli) == CLI_ID) {
        fprintf(cli->out, "%s\n", name);
    } else {
        fprintf(cli->out, "%s: %s", name, what);
        if (version > 0)
            fprintf(cli->out, ", version %" PRIu64, version);
        fputc('\n', cli->out);
    }
}

static lapse_result apply_one(struct cli *cli, const struct policy *policy, struct lapse_error *error)
{
    static const char *const would[] = {"would be new", "would be changed", "unchanged"};
    static const char *const did[] = {"new", "changed", "unchanged"};
    char name[LIMIT_POLICY + 1];
    struct lapse_change change = {0};
    enum applying what;
    uint64_t version, expected = (uint64_t)cli_number(cli, "expect-version");
    lapse_result result = compare(cli, policy, &what, &version, error);
    if (!lapse_is_ok(result))
        return result;
    policy_name(policy, name);
    /* Of another version than expected the cluster says so itself. */
    if (cli_given(cli, "dry-run") || (what == APPLY_SAME && (expected == 0 || expected == version))) {
        tell(cli, name, cli_given(cli, "dry-run") ? would[what] : did[what], version);
        return lapse_ok();
    }
    result = send(cli, policy, &change, error);
    if (lapse_is_ok(result))
        tell(cli, name, did[what], change.revision);
    lapse_change_free(&change);
    return result;
}

int cmd_policy_apply(struct cli *cli)
{
    struct policy_files files;
    struct lapse_error error;
    bool alone = cli_given(cli, "expect-version") || cli_given(cli, "request-id");
    if (alone && cli->n_operands > 1)
        return cli_usage_error(cli, "--expect-version and --request-id go with one FILE");
    if (!lapse_is_ok(policy_files_read(cli, 0, &files, &error)))
        return cli_fail(&error);
    lapse_result result = lapse_ok();
    for (uint32_t i = 0; i < files.n && lapse_is_ok(result); i++) {
        if (cli_given(cli, "source"))
            files.files[i].policy.source = slice_str(cli_text(cli, "source"));
        result = apply_one(cli, &files.files[i].policy, &error);
    }
    policy_files_free(&files);
    return lapse_is_ok(result) ? CLI_OK : cli_fail(&error);
}

/* ---- list and show */

static void add_row(struct output_table *table, const struct lapse_policy *policy, int64_t now_ms)
{
    char applied[96];
    value_format_time(policy->applied_ms, now_ms, applied, sizeof applied);
    output_table_cell(table, "%s", policy->name);
    output_table_cell(table, "%" PRIu64, policy->version);
    output_table_cell(table, "%" PRIu32, policy->priority);
    output_table_cell(table, "%zu", policy->n_rules);
    output_table_cell(table, "%s", policy->end_disallowed ? "end" : "keep");
    output_table_cell(table, "%s", applied);
    output_table_cell(table, "%s", policy->applied_by);
    output_table_cell(table, "%s", policy->source);
}

static void print_page(struct cli *cli, const struct lapse_policy_list *page, struct output_table *table)
{
    for (size_t i = 0; i < page->n_policies; i++) {
        if (cli_output(cli) == CLI_JSON)
            output_json_message(cli->out, &schema_policy, &page->policies[i]);
        else if (cli_output(cli) == CLI_ID)
            fprintf(cli->out, "%s\n", page->policies[i].name);
        else
            add_row(table, &page->policies[i], page->time_ms);
    }
}

static lapse_result list_pages(struct cli *cli, struct output_table *table, struct lapse_error *error)
{
    char token[1024] = "";
    struct lapse_policy_list page;
    do {
        struct lapse_list_objects_args args = {.page_token = token};
        lapse_result result = lapse_list_policies(cli->client, &args, cli->timeout_ms, &page, error);
        if (!lapse_is_ok(result))
            return result;
        print_page(cli, &page, table);
        snprintf(token, sizeof token, "%s", page.next_page_token);
        lapse_policy_list_free(&page);
    } while (*token != '\0' && !ferror(cli->out));
    return lapse_ok();
}

int cmd_policy_list(struct cli *cli)
{
    static const char *const titles[] = {"POLICY",    "VERSION", "PRIORITY", "RULES",
                                         "ON CHANGE", "APPLIED", "BY",       "SOURCE"};
    struct output_table *table = output_table_new(8, titles);
    struct lapse_error error;
    lapse_result result = list_pages(cli, table, &error);
    if (lapse_is_ok(result) && cli_output(cli) == CLI_TABLE)
        output_table_print(table, cli->out, "No policies: the built-in rule holds, one approver decides.");
    output_table_free(table);
    return lapse_is_ok(result) ? CLI_OK : cli_fail(&error);
}

static lapse_result show(struct cli *cli, const struct policy *policy, struct lapse_error *error)
{
    struct lapse_policy message;
    struct buf file;
    lapse_result result;
    if (cli_output(cli) == CLI_JSON) {
        result = policy_to_message(policy, &message, error);
        if (!lapse_is_ok(result))
            return result;
        output_json_message(cli->out, &schema_policy, &message);
        codec_release(&schema_policy, &message);
        return result;
    }
    buf_init(&file, FILE_MAX);
    result = policy_yaml_put(policy, &file);
    if (lapse_is_ok(result))
        fwrite(file.data, 1, file.len, cli->out);
    else
        result = lapse_fail(error, LAPSE_INTERNAL, "the policy is longer than %u bytes as a file", FILE_MAX);
    buf_free(&file);
    return result;
}

int cmd_policy_show(struct cli *cli)
{
    struct policy *policy = NULL;
    struct lapse_error error;
    lapse_result result = policy_fetch(cli, cli->operands[0], &policy, &error);
    if (lapse_is_ok(result) && policy == NULL)
        result = lapse_fail(&error, LAPSE_NOT_FOUND, "there is no policy \"%.64s\"; lapse policy list shows all",
                            cli->operands[0]);
    if (lapse_is_ok(result))
        result = show(cli, policy, &error);
    policy_free(policy);
    return lapse_is_ok(result) ? CLI_OK : cli_fail(&error);
}

/* ---- remove and example */

/* Without any policy whoever may request may ask for anything: nobody should come to that by tidying up. */
static lapse_result check_last(struct cli *cli, struct lapse_error *error)
{
    struct lapse_list_objects_args args = {.page_size = 2};
    struct lapse_policy_list list;
    lapse_result result = lapse_list_policies(cli->client, &args, cli->timeout_ms, &list, error);
    if (!lapse_is_ok(result))
        return result;
    if (list.n_policies == 1 && strcmp(list.policies[0].name, cli->operands[0]) == 0)
        result =
            lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                       "%.64s is the last policy: without it the built-in rule holds, by which every requester may "
                       "ask for anything for up to 30 days and any one approver decides; apply what should hold "
                       "instead, or say --last",
                       cli->operands[0]);
    lapse_policy_list_free(&list);
    return result;
}

int cmd_policy_remove(struct cli *cli)
{
    struct lapse_remove_args args = {cli_text(cli, "request-id"), cli->operands[0], cli_text(cli, "reason")};
    struct lapse_change change;
    struct lapse_error error;
    lapse_result result = cli_given(cli, "last") ? lapse_ok() : check_last(cli, &error);
    if (lapse_is_ok(result))
        result = lapse_remove_policy(cli->client, &args, cli->timeout_ms, &change, &error);
    if (!lapse_is_ok(result))
        return cli_fail(&error);
    tell(cli, cli->operands[0], "removed", 0);
    lapse_change_free(&change);
    return CLI_OK;
}

int cmd_policy_example(struct cli *cli)
{
    fputs(cli_given(cli, "tests") ? policy_example_tests : policy_example, cli->out);
    return CLI_OK;
}
