/* Locks: who and what is denied for now. */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "client/cli/enforcement.h"
#include "client/cli/output.h"
#include "client/cli/value.h"
#include "client/lapse_governance.h"
#include "client/schema.h"

/* The kind is the second word of the command: "lock subject". */
static enum lapse_lock_kind kind_of(const struct cli *cli)
{
    if (strcmp(cli->command->name, "lock subject") == 0)
        return LAPSE_LOCK_SUBJECT;
    return strcmp(cli->command->name, "lock resource") == 0 ? LAPSE_LOCK_RESOURCE : LAPSE_LOCK_POINT;
}

static int finish(struct cli *cli, lapse_result result, const char *name, const char *what, struct lapse_change *done,
                  const struct lapse_error *error)
{
    if (!lapse_is_ok(result))
        return cli_fail(error);
    if (cli_output(cli) == CLI_JSON) {
        output_json_message(cli->out, &schema_change, done);
    } else if (cli_output(cli) == CLI_ID) {
        fprintf(cli->out, "%s\n", name);
    } else {
        output_text(cli->out, name);
        fprintf(cli->out, " is %s, at revision %" PRIu64 "\n", what, done->revision);
        if (done->barrier.points > 0)
            enforcement_print_barrier(cli->out, &done->barrier);
    }
    lapse_change_free(done);
    return CLI_OK;
}

int cmd_lock(struct cli *cli)
{
    enum lapse_lock_kind kind = kind_of(cli);
    struct lapse_lock_args args = {
        .request_id = cli_text(cli, "request-id"),
        .lock = {.kind = kind, .target = cli->operands[0], .reason = cli_text(cli, "reason")},
        /* A point denies by itself once its lease has run out: there is nobody to wait for. */
        .wait = kind == LAPSE_LOCK_POINT ? LAPSE_WAIT_COMMITTED : enforcement_wait(cli)};
    struct lapse_change done;
    struct lapse_error error;
    if (cli_given(cli, "for"))
        args.lock.until_ms = clock_wall_ms() + cli_number(cli, "for");
    lapse_result result = lapse_lock(cli->client, &args, cli->timeout_ms, &done, &error);
    return finish(cli, result, cli->operands[0], "locked", &done, &error);
}

int cmd_unlock(struct cli *cli)
{
    const struct lapse_remove_args args = {
        .request_id = cli_text(cli, "request-id"), .name = cli->operands[0], .reason = cli_text(cli, "reason")};
    struct lapse_change done;
    struct lapse_error error;
    lapse_result result = lapse_unlock(cli->client, &args, cli->timeout_ms, &done, &error);
    return finish(cli, result, cli->operands[0], "unlocked", &done, &error);
}

/* ---- the list */

static void add_lock(struct output_table *table, const struct lapse_lock *lock, int64_t now_ms)
{
    char since[96], until[96] = "until it is lifted";
    value_format_time(lock->locked_ms, now_ms, since, sizeof since);
    if (lock->until_ms != 0)
        value_format_time(lock->until_ms, now_ms, until, sizeof until);
    output_table_cell(table, "%s", lock->name);
    output_table_cell(table, "%s", lock->offboarded ? "offboarded" : until);
    output_table_cell(table, "%s", since);
    output_table_cell(table, "%s", lock->locked_by);
    output_table_cell(table, "%s", lock->reason);
}

static void print_locks(struct cli *cli, const struct lapse_lock_list *page, struct output_table *table)
{
    for (size_t i = 0; i < page->n_locks; i++) {
        if (cli_output(cli) == CLI_JSON)
            output_json_message(cli->out, &schema_lock, &page->locks[i]);
        else if (cli_output(cli) == CLI_ID)
            fprintf(cli->out, "%s\n", page->locks[i].name);
        else
            add_lock(table, &page->locks[i], page->time_ms);
    }
}

static int lock_pages(struct cli *cli, struct output_table *table)
{
    char token[LIMIT_OBJECT_NAME * 2 + 1] = "";
    const struct lapse_list_objects_args args = {
        .page_size = LIMIT_PAGE, .page_token = token, .prefix = cli_text(cli, "prefix")};
    struct lapse_lock_list page;
    struct lapse_error error;
    do {
        if (!lapse_is_ok(lapse_list_locks(cli->client, &args, cli->timeout_ms, &page, &error)))
            return cli_fail(&error);
        print_locks(cli, &page, table);
        snprintf(token, sizeof token, "%s", page.next_page_token);
        lapse_lock_list_free(&page);
    } while (*token != '\0' && !ferror(cli->out));
    return CLI_OK;
}

int cmd_locks(struct cli *cli)
{
    static const char *const titles[] = {"LOCK", "UNTIL", "SINCE", "BY", "REASON"};
    struct output_table *table = output_table_new(5, titles);
    int code = lock_pages(cli, table);
    if (code == CLI_OK && cli_output(cli) == CLI_TABLE)
        output_table_print(table, cli->out, "No locks.");
    output_table_free(table);
    return code;
}
