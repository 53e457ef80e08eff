/* lapse cluster ... */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/output.h"
#include "client/cli/value.h"

static void print_status(FILE *out, const struct lapse_cluster_status *status)
{
    static const char *const titles[] = {"NODE", "ADDRESS", "ROLE", "LINK", "LEADS"};
    fprintf(out, "cluster    %s\n", status->cluster);
    fprintf(out, "leader     ");
    fprintf(out, status->leader_id == 0 ? "none known\n" : "node %" PRIu64 ", term %" PRIu64 "\n", status->leader_id,
            status->term);
    fprintf(out, "answered   node %" PRIu64 " (%s), version %s\n", status->node_id, status->state, status->version);
    fprintf(out, "state      epoch %" PRIu64 ", revision %" PRIu64 ", digest %s\n", status->epoch, status->revision,
            status->digest);
    fprintf(out, "log        committed %" PRIu64 ", applied %" PRIu64 ", snapshot %" PRIu64 "\n", status->commit_index,
            status->applied_index, status->snapshot_index);
    fprintf(out, "grants     %" PRIu64 " live, %" PRIu64 " ended; %" PRIu64 " watchers at this node\n\n",
            status->live_grants, status->ended_grants, status->watchers);
    struct output_table *table = output_table_new(5, titles);
    for (size_t i = 0; i < status->n_nodes; i++) {
        const struct lapse_node_status *node = &status->nodes[i];
        output_table_cell(table, "%" PRIu64, node->id);
        output_table_cell(table, "%s", node->address);
        output_table_cell(table, "%s", node->role);
        output_table_cell(table, "%s", node->link);
        output_table_cell(table, "%s", node->id == status->leader_id ? "yes" : " ");
    }
    output_table_print(table, out, "No nodes.");
    output_table_free(table);
}

int cmd_cluster_status(struct cli *cli)
{
    struct lapse_cluster_status status;
    struct lapse_error error;
    if (!lapse_is_ok(lapse_cluster_status(cli->client, NULL, cli->timeout_ms, &status, &error)))
        return cli_fail(&error);
    if (cli_output(cli) == CLI_JSON)
        output_json_message(cli->out, &schema_cluster_status, &status);
    else
        print_status(cli->out, &status);
    lapse_cluster_status_free(&status);
    return CLI_OK;
}

static void print_roles(FILE *out, const struct lapse_role_list *list)
{
    static const char *const titles[] = {"MEMBER", "ROLES", "SCOPE"};
    struct output_table *table = output_table_new(3, titles);
    for (size_t i = 0; i < list->n_bindings; i++) {
        char roles[256], scope[1100];
        output_join(list->bindings[i].roles, list->bindings[i].n_roles, roles, sizeof roles);
        output_join(list->bindings[i].scope, list->bindings[i].n_scope, scope, sizeof scope);
        output_table_cell(table, "%s", list->bindings[i].member);
        output_table_cell(table, "%s", roles);
        output_table_cell(table, "%s", scope);
    }
    output_table_print(table, out, "No roles.");
    output_table_free(table);
}

int cmd_roles_list(struct cli *cli)
{
    struct lapse_role_list list;
    struct lapse_error error;
    if (!lapse_is_ok(lapse_list_roles(cli->client, NULL, cli->timeout_ms, &list, &error)))
        return cli_fail(&error);
    if (cli_output(cli) == CLI_JSON)
        for (size_t i = 0; i < list.n_bindings; i++)
            output_json_message(cli->out, &schema_role_binding, &list.bindings[i]);
    else
        print_roles(cli->out, &list);
    lapse_role_list_free(&list);
    return CLI_OK;
}

static bool is_role(const char *name)
{
    static const char *const roles[] = {"requester", "approver", "operator", "auditor", "enforcer"};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        if (strcmp(name, roles[i]) == 0)
            return true;
    return false;
}

static int send_roles(struct cli *cli, const struct lapse_set_roles_args *args)
{
    struct lapse_roles_change change;
    struct lapse_error error;
    if (!lapse_is_ok(lapse_set_roles(cli->client, args, cli->timeout_ms, &change, &error)))
        return cli_fail(&error);
    if (cli_output(cli) == CLI_JSON)
        output_json_message(cli->out, &schema_roles_change, &change);
    else
        fprintf(cli->out, "Done, at revision %" PRIu64 ".\n", change.revision);
    return CLI_OK;
}

static bool names_enforcer(const struct cli *cli)
{
    for (int i = 1; i < cli->n_operands; i++)
        if (strcmp(cli->operands[i], "enforcer") == 0)
            return true;
    return false;
}

int cmd_roles_set(struct cli *cli)
{
    struct lapse_set_roles_args args = {
        .request_id = cli_text(cli, "request-id"),
        .binding = {.member = cli->operands[0], .roles = cli->operands + 1, .n_roles = (size_t)cli->n_operands - 1}};
    char **scope;
    if (cli_given(cli, "remove") != (cli->n_operands == 1))
        return cli_usage_error(cli, "name the roles, or take all away with --remove");
    for (int i = 1; i < cli->n_operands; i++)
        if (!is_role(cli->operands[i]))
            return cli_usage_error(cli, "\"%s\" is no role: requester, approver, operator, auditor, enforcer",
                                   cli->operands[i]);
    if (cli_given(cli, "scope") && !names_enforcer(cli))
        return cli_usage_error(cli, "--scope is for an enforcer: what it may guard");
    args.binding.n_scope = cli_list(cli, "scope", &scope);
    args.binding.scope = (const char *const *)scope;
    int code = send_roles(cli, &args);
    cli_list_free(scope, args.binding.n_scope);
    return code;
}

static bool parse_node_id(const char *text, uint64_t *id)
{
    char *end = NULL;
    *id = strtoull(text, &end, 10);
    return *id > 0 && *end == '\0' && text[0] >= '0' && text[0] <= '9';
}

static int bad_node_id(struct cli *cli)
{
    return cli_usage_error(cli, "\"%s\" is no node id: a number from 1 on", cli->operands[0]);
}

int cmd_transfer(struct cli *cli)
{
    struct lapse_transfer_args args = {0};
    struct lapse_transfer transfer;
    struct lapse_error error;
    if (cli->n_operands == 1 && !parse_node_id(cli->operands[0], &args.node_id))
        return bad_node_id(cli);
    if (!lapse_is_ok(lapse_transfer_leadership(cli->client, &args, cli->timeout_ms, &transfer, &error)))
        return cli_fail(&error);
    if (cli_output(cli) == CLI_JSON)
        output_json_message(cli->out, &schema_transfer, &transfer);
    else
        fprintf(cli->out, "Node %" PRIu64 " leads.\n", transfer.leader_id);
    return CLI_OK;
}

static int print_change(struct cli *cli, const struct lapse_node_change *change, const char *what)
{
    if (cli_output(cli) == CLI_JSON)
        output_json_message(cli->out, &schema_node_change, change);
    else
        fprintf(cli->out, "%s; `lapse cluster status` shows when it is done.\n", what);
    return CLI_OK;
}

int cmd_add_node(struct cli *cli)
{
    struct lapse_add_node_args args = {.address = cli->operands[1]};
    struct lapse_node_change change;
    struct lapse_error error;
    if (!parse_node_id(cli->operands[0], &args.node_id))
        return bad_node_id(cli);
    if (!lapse_is_ok(lapse_add_node(cli->client, &args, cli->timeout_ms, &change, &error)))
        return cli_fail(&error);
    return print_change(cli, &change, "The node is being added");
}

int cmd_remove_node(struct cli *cli)
{
    struct lapse_remove_node_args args = {0};
    struct lapse_node_change change;
    struct lapse_error error;
    if (!parse_node_id(cli->operands[0], &args.node_id))
        return bad_node_id(cli);
    if (!lapse_is_ok(lapse_remove_node(cli->client, &args, cli->timeout_ms, &change, &error)))
        return cli_fail(&error);
    return print_change(cli, &change, "The node is being removed");
}
