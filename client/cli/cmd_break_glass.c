/* lapse break-glass: the reviews of grants that were taken in an emergency, until somebody has closed them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/output.h"
#include "client/cli/value.h"
#include "client/lapse_governance.h"
#include "client/schema.h"

static void add_row(struct output_table *table, const struct lapse_review *review, int64_t now_ms)
{
    char opened[96], due[96];
    value_format_time(review->opened_ms, now_ms, opened, sizeof opened);
    value_format_time(review->due_ms, now_ms, due, sizeof due);
    output_table_cell(table, "%s", review->name);
    output_table_cell(table, "%s", review->overdue ? "OVERDUE" : "OPEN");
    output_table_cell(table, "%s", review->requester);
    output_table_cell(table, "%s", review->subject);
    output_table_cell(table, "%s", review->resource);
    output_table_cell(table, "%s", opened);
    output_table_cell(table, "%s", due);
    output_table_cell(table, "%s", *review->reviewers == '\0' ? "any approver" : review->reviewers);
    output_table_cell(table, "%s", review->justification);
}

static void print_page(struct cli *cli, const struct lapse_review_list *page, struct output_table *table)
{
    for (size_t i = 0; i < page->n_reviews; i++) {
        const struct lapse_review *review = &page->reviews[i];
        if (cli_given(cli, "overdue") && !review->overdue)
            continue;
        if (cli_output(cli) == CLI_JSON)
            output_json_message(cli->out, &schema_review, review);
        else if (cli_output(cli) == CLI_ID)
            fprintf(cli->out, "%s\n", review->name);
        else
            add_row(table, review, page->time_ms);
    }
}

int cmd_break_glass_list(struct cli *cli)
{
    static const char *const titles[] = {"GRANT",  "REVIEW", "REQUESTER", "SUBJECT",      "RESOURCE",
                                         "OPENED", "DUE",    "REVIEWERS", "JUSTIFICATION"};
    struct output_table *table = output_table_new(9, titles);
    char token[1024] = "";
    struct lapse_error error;
    lapse_result result;
    do {
        struct lapse_list_objects_args args = {.page_token = token};
        struct lapse_review_list page;
        result = lapse_list_reviews(cli->client, &args, cli->timeout_ms, &page, &error);
        if (!lapse_is_ok(result))
            break;
        print_page(cli, &page, table);
        snprintf(token, sizeof token, "%s", page.next_page_token);
        lapse_review_list_free(&page);
    } while (*token != '\0' && !ferror(cli->out));
    if (lapse_is_ok(result) && cli_output(cli) == CLI_TABLE)
        output_table_print(table, cli->out, "No review is open.");
    output_table_free(table);
    return lapse_is_ok(result) ? CLI_OK : cli_fail(&error);
}

int cmd_break_glass_close(struct cli *cli)
{
    bool misused = strcmp(cli_text(cli, "verdict"), "misused") == 0;
    struct lapse_close_review_args args = {.request_id = cli_text(cli, "request-id"),
                                           .grant_id = cli->operands[0],
                                           .verdict = misused ? LAPSE_REVIEW_MISUSED : LAPSE_REVIEW_JUSTIFIED,
                                           .comment = cli_text(cli, "comment")};
    struct lapse_change change;
    struct lapse_error error;
    lapse_result result = lapse_close_review(cli->client, &args, cli->timeout_ms, &change, &error);
    if (!lapse_is_ok(result))
        return cli_fail(&error);
    if (cli_output(cli) == CLI_JSON)
        output_json_message(cli->out, &schema_change, &change);
    else if (cli_output(cli) == CLI_ID)
        fprintf(cli->out, "%s\n", args.grant_id);
    else
        fprintf(cli->out, "The review of %s is closed: %s, at revision %" PRIu64 "%s.\n", args.grant_id,
                cli_text(cli, "verdict"), change.revision,
                change.repeated_call ? " (by an earlier call with this request-id)" : "");
    lapse_change_free(&change);
    return CLI_OK;
}
