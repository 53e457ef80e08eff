/* Commands that ask about grants: get, list, check. */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "client/cli/filter.h"
#include "client/cli/output.h"
#include "client/cli/token.h"
#include "client/cli/value.h"

int cmd_get(struct cli *cli)
{
    struct lapse_get_args args = {cli->operands[0]};
    struct lapse_grant_view view;
    struct lapse_error error;
    if (!lapse_is_ok(lapse_get(cli->client, &args, cli->timeout_ms, &view, &error)))
        return cli_fail(&error);
    if (cli_output(cli) == CLI_JSON)
        output_json_message(cli->out, &schema_grant_view, &view);
    else if (cli_output(cli) == CLI_ID)
        fprintf(cli->out, "%s\n", view.grant.id);
    else
        output_grant(cli->out, &view.grant, view.time_ms);
    lapse_grant_view_free(&view);
    return CLI_OK;
}

/* ---- list */

static void add_row(struct output_table *table, const struct lapse_grant *grant, int64_t now_ms)
{
    char actions[256], deadline[96];
    output_join(grant->actions, grant->n_actions, actions, sizeof actions);
    value_format_time(lapse_grant_state_is_ended(grant->state) ? grant->ended_ms : grant->deadline_ms, now_ms, deadline,
                      sizeof deadline);
    output_table_cell(table, "%s", grant->id);
    output_table_cell(table, "%s", lapse_grant_state_name(grant->state));
    output_table_cell(table, "%s", grant->subject);
    output_table_cell(table, "%s", grant->resource);
    output_table_cell(table, "%s", actions);
    output_table_cell(table, "%s", deadline);
}

/* Prints at most `left` grants of a page, and returns how many. */
static size_t print_page(struct cli *cli, const struct lapse_grant_list *page, size_t left, struct output_table *table)
{
    size_t n = page->n_grants < left ? page->n_grants : left;
    for (size_t i = 0; i < n; i++) {
        if (cli_output(cli) == CLI_JSON)
            output_json_message(cli->out, &schema_grant, &page->grants[i]);
        else if (cli_output(cli) == CLI_ID)
            fprintf(cli->out, "%s\n", page->grants[i].id);
        else
            add_row(table, &page->grants[i], page->time_ms);
    }
    return n;
}

static int list_pages(struct cli *cli, struct lapse_list_args *args, size_t left, struct output_table *table)
{
    char token[1024] = "";
    struct lapse_grant_list page;
    struct lapse_error error;
    do {
        args->page_token = token;
        args->page_size = left < LIMIT_PAGE ? (uint32_t)left : LIMIT_PAGE;
        if (!lapse_is_ok(lapse_list(cli->client, args, cli->timeout_ms, &page, &error)))
            return cli_fail(&error);
        left -= print_page(cli, &page, left, table);
        snprintf(token, sizeof token, "%s", page.next_page_token);
        lapse_grant_list_free(&page);
    } while (*token != '\0' && left > 0 && !ferror(cli->out));
    return CLI_OK;
}

int cmd_list(struct cli *cli)
{
    static const char *const titles[] = {"ID", "STATE", "SUBJECT", "RESOURCE", "ACTIONS", "DEADLINE / ENDED"};
    struct cli_filter filter;
    struct output_table *table = output_table_new(6, titles);
    size_t limit = cli_given(cli, "limit") ? (size_t)cli_number(cli, "limit") : SIZE_MAX;
    cli_filter_take(cli, &filter);
    struct lapse_list_args args = {.filter = filter.filter};
    int code = limit == 0 ? CLI_OK : list_pages(cli, &args, limit, table);
    if (code == CLI_OK && cli_output(cli) == CLI_TABLE)
        output_table_print(table, cli->out, "No grants.");
    output_table_free(table);
    return code;
}

/* ---- check */

static void print_decision(struct cli *cli, const struct lapse_decision *decision)
{
    char duration[32];
    if (decision->allowed) {
        value_format_duration(decision->valid_for_ms, duration, sizeof duration);
        fprintf(cli->out, "yes: grant %s, for %s more\n", decision->grant.id, duration);
    } else if (*decision->grant.id != '\0') {
        fprintf(cli->out, "no: %s (nearest: grant %s)\n", decision->verdict, decision->grant.id);
    } else {
        fprintf(cli->out, "no: no grant for this\n");
    }
}

int cmd_check(struct cli *cli)
{
    uint8_t thumbprint[32], token[32];
    int at = cli->n_operands - 2; /* a token knows its subject */
    struct lapse_check_args args = {.subject = at > 0 ? cli->operands[0] : NULL,
                                    .resource = cli->operands[at],
                                    .action = cli->operands[at + 1],
                                    .spiffe_id = cli_text(cli, "spiffe-id"),
                                    .address = cli_text(cli, "address")};
    struct lapse_decision decision;
    struct lapse_error error;
    const char *hex = cli_text(cli, "certificate-sha256"), *path = cli_text(cli, "token-file");
    if (path == NULL && at == 0)
        return cli_usage_error(cli, "lapse check needs SUBJECT RESOURCE ACTION; only --token-file goes without SUBJECT");
    if (hex != NULL && !value_parse_hex(hex, thumbprint, sizeof thumbprint))
        return cli_usage_error(cli, "--certificate-sha256 is 64 hex digits");
    if (hex != NULL)
        args.certificate_sha256 = (struct lapse_bytes){thumbprint, sizeof thumbprint};
    if (path != NULL && !lapse_is_ok(cli_token_read(path, token, &error)))
        return cli_fail(&error);
    if (path != NULL)
        args.token_sha256 = (struct lapse_bytes){token, sizeof token};
    if (!lapse_is_ok(lapse_check(cli->client, &args, cli->timeout_ms, &decision, &error)))
        return cli_fail(&error);
    if (cli_output(cli) == CLI_JSON)
        output_json_message(cli->out, &schema_decision, &decision);
    else if (cli_output(cli) == CLI_ID)
        fprintf(cli->out, "%s\n", decision.grant.id);
    else
        print_decision(cli, &decision);
    int code = decision.allowed ? CLI_OK : CLI_DENIED;
    lapse_decision_free(&decision);
    return code;
}
