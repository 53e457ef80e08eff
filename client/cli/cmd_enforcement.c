/* Commands about enforcement: revocations that wait for it, what became of them, and who enforces. */
#include <inttypes.h>
#include <string.h>

#include "base/limits.h"
#include "client/cli/enforcement.h"
#include "client/cli/filter.h"
#include "client/cli/output.h"
#include "client/cli/value.h"

/* ---- barriers and receipts */

static void print_receipts(FILE *out, const struct lapse_receipt *receipts, size_t n, int64_t now_ms)
{
    static const char *const titles[] = {"POINT", "RECEIPT", "WHEN", "NOTE"};
    struct output_table *table = output_table_new(4, titles);
    /* The last one may have come a little after what the caller calls now. */
    for (size_t i = 0; i < n; i++)
        now_ms = receipts[i].time_ms > now_ms ? receipts[i].time_ms : now_ms;
    for (size_t i = 0; i < n; i++) {
        char when[96] = "", note[320];
        if (receipts[i].time_ms != 0)
            value_format_time(receipts[i].time_ms, now_ms, when, sizeof when);
        snprintf(note, sizeof note, "%s", receipts[i].reason);
        if (receipts[i].level == LAPSE_RECEIPT_WAITING)
            snprintf(note, sizeof note, "waited out in %" PRIu32 " ms at the latest", receipts[i].left_ms);
        output_table_cell(table, "%s", receipts[i].point);
        output_table_cell(table, "%s", lapse_receipt_level_name(receipts[i].level));
        output_table_cell(table, "%s", when);
        output_table_cell(table, "%s", note);
    }
    output_table_print(table, out, "No receipts.");
    output_table_free(table);
}

static const char *standing(const struct lapse_barrier *barrier)
{
    if (barrier->untracked)
        return "not followed: too many revocations are open";
    if (!barrier->done)
        return "PENDING";
    return barrier->failed > 0 ? "FAILED" : "ENFORCED";
}

void enforcement_print_barrier(FILE *out, const struct lapse_barrier *barrier)
{
    fprintf(out, "revocation %" PRIu64 "  %s\n", barrier->id, standing(barrier));
    if (*barrier->grant_id != '\0')
        fprintf(out, "  grant           %s\n", barrier->grant_id);
    fprintf(out, "  grants ended    %" PRIu64 "\n", barrier->grants);
    fprintf(out,
            "  points          %" PRIu32 ": %" PRIu32 " enforced, %" PRIu32 " failed, %" PRIu32 " lapsed, %" PRIu32
            " left\n",
            barrier->points, barrier->enforced, barrier->failed, barrier->lapsed, barrier->left);
    if (barrier->done && barrier->done_ms >= barrier->time_ms)
        fprintf(out, "  done after      %" PRId64 " ms\n", barrier->done_ms - barrier->time_ms);
}

static bool is_number(const char *text)
{
    return *text != '\0' && strlen(text) < 20 && strspn(text, "0123456789") == strlen(text);
}

int cmd_barrier(struct cli *cli)
{
    struct lapse_get_barrier_args args = {0};
    struct lapse_barrier_view view;
    struct lapse_error error;
    if (is_number(cli->operands[0]))
        sscanf(cli->operands[0], "%" SCNu64, &args.barrier);
    else
        args.grant_id = cli->operands[0];
    if (!lapse_is_ok(lapse_get_barrier(cli->client, &args, cli->timeout_ms, &view, &error)))
        return cli_fail(&error);
    if (cli_output(cli) == CLI_JSON) {
        output_json_message(cli->out, &schema_barrier_view, &view);
    } else {
        enforcement_print_barrier(cli->out, &view.barrier);
        fputc('\n', cli->out);
        print_receipts(cli->out, view.receipts, view.n_receipts, view.barrier.done_ms);
        if (view.omitted > 0)
            fprintf(cli->out, "and %" PRIu32 " more\n", view.omitted);
    }
    int code = view.barrier.done && view.barrier.failed == 0 ? CLI_OK : CLI_CONFLICT;
    lapse_barrier_view_free(&view);
    return code;
}

/* ---- revoke and revoke-matching */

struct following {
    struct cli *cli;
    bool shows; /* each step, on standard error */
};

static void show_step(const struct lapse_revoke_progress *progress)
{
    const struct lapse_barrier *barrier = &progress->barrier;
    uint32_t confirmed = barrier->enforced + barrier->failed + barrier->lapsed + barrier->left;
    if (progress->committed)
        fprintf(stderr, "revoked at revision %" PRIu64 ", %" PRIu32 " enforcement points to confirm\n",
                progress->revision, barrier->points);
    else
        fprintf(stderr, "%" PRIu32 " of %" PRIu32 " confirmed\n", confirmed, barrier->points);
    for (size_t i = 0; !progress->committed && i < progress->n_receipts && i < 5; i++) {
        fputs("  ", stderr);
        output_text(stderr, progress->receipts[i].point);
        fprintf(stderr, ": %s", lapse_receipt_level_name(progress->receipts[i].level));
        if (progress->receipts[i].level == LAPSE_RECEIPT_WAITING)
            fprintf(stderr, ", waited out in %" PRIu32 " ms at the latest", progress->receipts[i].left_ms);
        fputc('\n', stderr);
    }
}

static void show_end(FILE *out, const struct lapse_revoke_progress *progress)
{
    enforcement_print_barrier(out, &progress->barrier);
    if (progress->n_receipts > 0) {
        fputc('\n', out);
        print_receipts(out, progress->receipts, progress->n_receipts, progress->time_ms);
    }
}

static void on_progress(void *arg, const struct lapse_revoke_progress *progress)
{
    struct following *following = arg;
    if (cli_output(following->cli) == CLI_JSON && (progress->last || following->shows))
        output_json_message(following->cli->out, &schema_revoke_progress, progress);
    else if (following->shows && !progress->last)
        show_step(progress);
    if (cli_output(following->cli) == CLI_TABLE && progress->last)
        show_end(following->cli->out, progress);
}

static int follow(struct cli *cli, const struct lapse_follow_args *args)
{
    struct following following = {cli, cli_given(cli, "progress")};
    struct lapse_error error;
    lapse_result result = lapse_revoke_and_follow(cli->client, args, cli->timeout_ms, on_progress, &following, &error);
    if (!lapse_is_ok(result))
        return cli_fail(&error);
    if (cli_output(cli) == CLI_ID && args->revoke.grant_id != NULL)
        fprintf(cli->out, "%s\n", args->revoke.grant_id);
    return CLI_OK;
}

enum lapse_wait enforcement_wait(const struct cli *cli)
{
    const char *level = cli_text(cli, "until");
    if (strcmp(level, "committed") == 0)
        return LAPSE_WAIT_COMMITTED;
    return strcmp(level, "received") == 0 ? LAPSE_WAIT_RECEIVED : LAPSE_WAIT_ENFORCED;
}

int cmd_revoke(struct cli *cli)
{
    const struct lapse_end_args args = {.request_id = cli_text(cli, "request-id"),
                                        .grant_id = cli->operands[0],
                                        .reason = cli_text(cli, "reason"),
                                        .wait = enforcement_wait(cli)};
    struct lapse_mutation done;
    struct lapse_error error;
    if (cli_given(cli, "progress"))
        return follow(cli, &(struct lapse_follow_args){.revoke = args});
    if (!lapse_is_ok(lapse_revoke(cli->client, &args, cli->timeout_ms, &done, &error)))
        return cli_fail(&error);
    output_mutation(cli, &done);
    if (cli_output(cli) == CLI_TABLE && done.barrier.points > 0)
        enforcement_print_barrier(cli->out, &done.barrier);
    lapse_mutation_free(&done);
    return CLI_OK;
}

int cmd_revoke_matching(struct cli *cli)
{
    struct cli_filter filter;
    cli_filter_take(cli, &filter);
    const struct lapse_follow_args args = {.revoke_matching = {.request_id = cli_text(cli, "request-id"),
                                                               .filter = filter.filter,
                                                               .reason = cli_text(cli, "reason"),
                                                               .wait = enforcement_wait(cli)}};
    const struct lapse_filter *f = &filter.filter;
    const char *texts[] = {f->subject, f->resource, f->requester, f->approver, f->ticket,
                           f->policy,  f->parent,   f->binding,   f->label,    f->person};
    size_t given = 0;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        given += texts[i] != NULL;
    if (given == 0)
        return cli_usage_error(cli, "say which grants: --subject, --resource, --requester, --approver, --ticket, "
                                    "--policy, --binding, --label, --person or --parent");
    return follow(cli, &args);
}

/* ---- points */

static void add_point(struct output_table *table, const struct lapse_point *point)
{
    char scope[1100], lease[32];
    output_join(point->scope, point->n_scope, scope, sizeof scope);
    value_format_duration(point->lease_ms, lease, sizeof lease);
    output_table_cell(table, "%s", point->id);
    output_table_cell(table, "%s", scope);
    output_table_cell(table, "%s", lease);
    output_table_cell(table, "%" PRIu32, point->sessions);
    output_table_cell(table, "%s", point->fenced ? "fenced" : "registered");
    output_table_cell(table, "%s", point->principal);
}

static void print_points(struct cli *cli, const struct lapse_point_list *page, struct output_table *table)
{
    for (size_t i = 0; i < page->n_points; i++) {
        if (cli_output(cli) == CLI_JSON)
            output_json_message(cli->out, &schema_point, &page->points[i]);
        else if (cli_output(cli) == CLI_ID)
            fprintf(cli->out, "%s\n", page->points[i].id);
        else
            add_point(table, &page->points[i]);
    }
}

static int points_pages(struct cli *cli, struct output_table *table)
{
    char token[128] = "";
    struct lapse_list_points_args args = {.page_size = LIMIT_PAGE, .page_token = token};
    struct lapse_point_list page;
    struct lapse_error error;
    do {
        if (!lapse_is_ok(lapse_list_points(cli->client, &args, cli->timeout_ms, &page, &error)))
            return cli_fail(&error);
        print_points(cli, &page, table);
        snprintf(token, sizeof token, "%s", page.next_page_token);
        lapse_point_list_free(&page);
    } while (*token != '\0' && !ferror(cli->out));
    return CLI_OK;
}

int cmd_points(struct cli *cli)
{
    static const char *const titles[] = {"POINT", "SCOPE", "LEASE", "SESSIONS", "STATE", "PRINCIPAL"};
    struct output_table *table = output_table_new(6, titles);
    int code = points_pages(cli, table);
    if (code == CLI_OK && cli_output(cli) == CLI_TABLE)
        output_table_print(table, cli->out, "No enforcement points.");
    output_table_free(table);
    return code;
}
