/* lapse eligibility and lapse campaign: who may request, until when, and whether it is needed still. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/output.h"
#include "client/cli/value.h"
#include "client/lapse_governance.h"

/* ---- changes */

/* `what` has happened to the operand. */
static int finish(struct cli *cli, lapse_result result, struct lapse_change *change, const char *what,
                  const struct lapse_error *error)
{
    if (!lapse_is_ok(result))
        return cli_fail(error);
    if (cli_output(cli) == CLI_JSON) {
        output_json_message(cli->out, &schema_change, change);
    } else if (cli_output(cli) == CLI_ID) {
        fprintf(cli->out, "%s\n", cli->operands[0]);
    } else {
        output_text(cli->out, cli->operands[0]);
        fprintf(cli->out, " %s, at revision %" PRIu64 "%s.\n", what, change->revision,
                change->repeated_call ? " (by an earlier call with this request-id)" : "");
    }
    lapse_change_free(change);
    return CLI_OK;
}

int cmd_eligibility_put(struct cli *cli)
{
    char **resources, **actions;
    size_t n_resources = cli_list(cli, "resource", &resources), n_actions = cli_list(cli, "action", &actions);
    struct lapse_put_eligibility_args args = {.request_id = cli_text(cli, "request-id"),
                                              .eligibility = {.name = cli->operands[0],
                                                              .member = cli_text(cli, "member"),
                                                              .resources = (const char *const *)resources,
                                                              .n_resources = n_resources,
                                                              .actions = (const char *const *)actions,
                                                              .n_actions = n_actions,
                                                              .reason = cli_text(cli, "reason"),
                                                              .expires_ms = cli_number(cli, "expires")}};
    struct lapse_change change;
    struct lapse_error error;
    lapse_result result = lapse_put_eligibility(cli->client, &args, cli->timeout_ms, &change, &error);
    cli_list_free(resources, n_resources);
    cli_list_free(actions, n_actions);
    return finish(cli, result, &change, "is put", &error);
}

int cmd_eligibility_certify(struct cli *cli)
{
    struct lapse_certify_args args = {.request_id = cli_text(cli, "request-id"),
                                      .name = cli->operands[0],
                                      .expires_ms = cli_number(cli, "expires"),
                                      .comment = cli_text(cli, "comment")};
    struct lapse_change change;
    struct lapse_error error;
    lapse_result result = lapse_certify(cli->client, &args, cli->timeout_ms, &change, &error);
    return finish(cli, result, &change, "is certified", &error);
}

static struct lapse_remove_args remove_args(const struct cli *cli)
{
    return (struct lapse_remove_args){
        .request_id = cli_text(cli, "request-id"), .name = cli->operands[0], .reason = cli_text(cli, "reason")};
}

int cmd_eligibility_remove(struct cli *cli)
{
    struct lapse_remove_args args = remove_args(cli);
    struct lapse_change change;
    struct lapse_error error;
    lapse_result result = lapse_remove_eligibility(cli->client, &args, cli->timeout_ms, &change, &error);
    return finish(cli, result, &change, "is removed", &error);
}

int cmd_campaign_start(struct cli *cli)
{
    char **members, **resources;
    size_t n_members = cli_list(cli, "member", &members), n_resources = cli_list(cli, "resource", &resources);
    struct lapse_start_campaign_args args = {.request_id = cli_text(cli, "request-id"),
                                             .campaign = {.name = cli->operands[0],
                                                          .members = (const char *const *)members,
                                                          .n_members = n_members,
                                                          .resources = (const char *const *)resources,
                                                          .n_resources = n_resources,
                                                          .due_ms = cli_number(cli, "due"),
                                                          .reason = cli_text(cli, "reason")}};
    struct lapse_change change;
    struct lapse_error error;
    lapse_result result = lapse_start_campaign(cli->client, &args, cli->timeout_ms, &change, &error);
    cli_list_free(members, n_members);
    cli_list_free(resources, n_resources);
    return finish(cli, result, &change, "has begun", &error);
}

int cmd_campaign_close(struct cli *cli)
{
    struct lapse_remove_args args = remove_args(cli);
    struct lapse_change change;
    struct lapse_error error;
    lapse_result result = lapse_close_campaign(cli->client, &args, cli->timeout_ms, &change, &error);
    return finish(cli, result, &change, "is closed", &error);
}

/* ---- lists */

static void add_eligibility(struct output_table *table, const struct lapse_eligibility *e, int64_t now_ms)
{
    char resources[1024], actions[600], expires[96], used[96];
    output_join(e->resources, e->n_resources, resources, sizeof resources);
    output_join(e->actions, e->n_actions, actions, sizeof actions);
    value_format_time(e->expires_ms, now_ms, expires, sizeof expires);
    value_format_time(e->used_ms, now_ms, used, sizeof used);
    output_table_cell(table, "%s", e->name);
    output_table_cell(table, "%s", e->member);
    output_table_cell(table, "%s", resources);
    output_table_cell(table, "%s", e->n_actions == 0 ? "any" : actions);
    output_table_cell(table, "%s", expires);
    output_table_cell(table, "%s", e->uses == 0 ? "never" : used);
    output_table_cell(table, "%s", e->certified_ms > 0 ? e->certified_by : "");
    output_table_cell(table, "%s", e->reason);
}

static void add_campaign(struct output_table *table, const struct lapse_campaign *c, int64_t now_ms)
{
    char members[1024], resources[1024], due[96];
    output_join(c->members, c->n_members, members, sizeof members);
    output_join(c->resources, c->n_resources, resources, sizeof resources);
    value_format_time(c->due_ms, now_ms, due, sizeof due);
    output_table_cell(table, "%s", c->name);
    output_table_cell(table, "%s", c->n_members == 0 ? "all" : members);
    output_table_cell(table, "%s", c->n_resources == 0 ? "all" : resources);
    output_table_cell(table, "%s", due);
    output_table_cell(table, "%" PRIu32, c->items);
    output_table_cell(table, "%s", c->started_by);
    output_table_cell(table, "%s", c->reason);
}

/* One page of either list: prints it, and leaves the token of the next one. */
typedef lapse_result (*page_printer)(struct cli *cli, const struct lapse_list_objects_args *args,
                                     struct output_table *table, char *token, size_t size, struct lapse_error *error);

static lapse_result print_eligibilities(struct cli *cli, const struct lapse_list_objects_args *args,
                                        struct output_table *table, char *token, size_t size, struct lapse_error *error)
{
    struct lapse_eligibility_list page;
    lapse_result result = lapse_list_eligibilities(cli->client, args, cli->timeout_ms, &page, error);
    if (!lapse_is_ok(result))
        return result;
    for (size_t i = 0; i < page.n_eligibilities; i++) {
        if (cli_output(cli) == CLI_JSON)
            output_json_message(cli->out, &schema_eligibility, &page.eligibilities[i]);
        else if (cli_output(cli) == CLI_ID)
            fprintf(cli->out, "%s\n", page.eligibilities[i].name);
        else
            add_eligibility(table, &page.eligibilities[i], page.time_ms);
    }
    snprintf(token, size, "%s", page.next_page_token);
    lapse_eligibility_list_free(&page);
    return lapse_ok();
}

static lapse_result print_campaigns(struct cli *cli, const struct lapse_list_objects_args *args,
                                    struct output_table *table, char *token, size_t size, struct lapse_error *error)
{
    struct lapse_campaign_list page;
    lapse_result result = lapse_list_campaigns(cli->client, args, cli->timeout_ms, &page, error);
    if (!lapse_is_ok(result))
        return result;
    for (size_t i = 0; i < page.n_campaigns; i++) {
        if (cli_output(cli) == CLI_JSON)
            output_json_message(cli->out, &schema_campaign, &page.campaigns[i]);
        else if (cli_output(cli) == CLI_ID)
            fprintf(cli->out, "%s\n", page.campaigns[i].name);
        else
            add_campaign(table, &page.campaigns[i], page.time_ms);
    }
    snprintf(token, size, "%s", page.next_page_token);
    lapse_campaign_list_free(&page);
    return lapse_ok();
}

static int list(struct cli *cli, page_printer print, struct output_table *table, const char *none)
{
    char token[1024] = "";
    struct lapse_error error;
    lapse_result result;
    do {
        struct lapse_list_objects_args args = {.page_token = token, .prefix = cli_text(cli, "prefix")};
        result = print(cli, &args, table, token, sizeof token, &error);
    } while (lapse_is_ok(result) && *token != '\0' && !ferror(cli->out));
    if (lapse_is_ok(result) && cli_output(cli) == CLI_TABLE)
        output_table_print(table, cli->out, none);
    output_table_free(table);
    return lapse_is_ok(result) ? CLI_OK : cli_fail(&error);
}

int cmd_eligibility_list(struct cli *cli)
{
    static const char *const titles[] = {"NAME", "MEMBER",    "RESOURCES", "ACTIONS",
                                         "ENDS", "LAST USED", "CERTIFIED", "REASON"};
    return list(cli, print_eligibilities, output_table_new(8, titles), "No eligibility.");
}

int cmd_campaign_list(struct cli *cli)
{
    static const char *const titles[] = {"CAMPAIGN", "MEMBERS", "RESOURCES", "DUE", "ITEMS", "STARTED BY", "REASON"};
    return list(cli, print_campaigns, output_table_new(7, titles), "No campaign is under way.");
}
