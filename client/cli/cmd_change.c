/* Commands that change a grant. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/tls.h"
#include "client/cli/cli.h"
#include "client/cli/output.h"
#include "client/cli/value.h"

#define WAIT_POLL_MS 250

static int finish(struct cli *cli, lapse_result result, struct lapse_mutation *done, const struct lapse_error *error)
{
    if (!lapse_is_ok(result))
        return cli_fail(error);
    output_mutation(cli, done);
    lapse_mutation_free(done);
    return CLI_OK;
}

/* ---- request */

struct request_lists {
    char **actions, **networks, **label_texts;
    size_t n_actions, n_networks, n_label_texts;
    struct lapse_label *labels;
    uint8_t thumbprint[32];
    char subject[LIMIT_PRINCIPAL + 1];
};

static void lists_free(struct request_lists *lists)
{
    cli_list_free(lists->actions, lists->n_actions);
    cli_list_free(lists->networks, lists->n_networks);
    cli_list_free(lists->label_texts, lists->n_label_texts);
    free(lists->labels);
}

/* "key=value", split in place. */
static bool labels_split(struct request_lists *lists)
{
    lists->labels = mem_calloc(lists->n_label_texts + 1, sizeof *lists->labels);
    for (size_t i = 0; i < lists->n_label_texts; i++) {
        char *equals = strchr(lists->label_texts[i], '=');
        if (equals == NULL || equals == lists->label_texts[i])
            return false;
        *equals = '\0';
        lists->labels[i] = (struct lapse_label){lists->label_texts[i], equals + 1};
    }
    return true;
}

/* Without --subject: whoever the certificate says we are. */
static lapse_result subject_take(struct cli *cli, struct request_lists *lists, struct lapse_error *error)
{
    struct tls_files files = {cli_text(cli, "cert"), cli_text(cli, "key"), cli_text(cli, "ca"), NULL};
    struct tls_identity *identity;
    lapse_result result = tls_identity_load(&files, &identity, error);
    if (!lapse_is_ok(result))
        return result;
    snprintf(lists->subject, sizeof lists->subject, "%s", tls_identity_principal(identity));
    tls_identity_unref(identity);
    return result;
}

static void request_fill(struct cli *cli, const struct request_lists *lists, struct lapse_request_args *args)
{
    *args = (struct lapse_request_args){.request_id = cli_text(cli, "request-id"),
                                        .subject = lists->subject,
                                        .resource = cli_text(cli, "resource"),
                                        .actions = (const char *const *)lists->actions,
                                        .n_actions = lists->n_actions,
                                        .justification = cli_text(cli, "justification"),
                                        .ticket = cli_text(cli, "ticket"),
                                        .task = cli_text(cli, "task"),
                                        .duration_ms = cli_number(cli, "duration"),
                                        .deadline_ms = cli_number(cli, "deadline"),
                                        .not_before_ms = cli_number(cli, "not-before"),
                                        .pending_until_ms = cli_number(cli, "decide-by"),
                                        .max_uses = (uint32_t)cli_number(cli, "max-uses"),
                                        .labels = lists->labels,
                                        .n_labels = lists->n_label_texts,
                                        .parent = cli_text(cli, "parent"),
                                        .policy = cli_text(cli, "policy"),
                                        .break_glass = cli_given(cli, "break-glass")};
    args->binding.spiffe_id = cli_text(cli, "bind-spiffe-id");
    args->binding.networks = (const char *const *)lists->networks;
    args->binding.n_networks = lists->n_networks;
    if (cli_given(cli, "bind-certificate-sha256"))
        args->binding.certificate_sha256 = (struct lapse_bytes){lists->thumbprint, sizeof lists->thumbprint};
}

static int request_check(struct cli *cli, struct request_lists *lists)
{
    const char *thumbprint = cli_text(cli, "bind-certificate-sha256");
    struct lapse_error error;
    if (cli_given(cli, "duration") == cli_given(cli, "deadline"))
        return cli_usage_error(cli, "say how long: either --duration DURATION or --deadline TIME");
    lists->n_actions = cli_list(cli, "action", &lists->actions);
    lists->n_networks = cli_list(cli, "bind-network", &lists->networks);
    lists->n_label_texts = cli_list(cli, "label", &lists->label_texts);
    if (!labels_split(lists))
        return cli_usage_error(cli, "a label is KEY=VALUE");
    if (thumbprint != NULL && !value_parse_hex(thumbprint, lists->thumbprint, sizeof lists->thumbprint))
        return cli_usage_error(cli, "--bind-certificate-sha256 is 64 hex digits");
    if (cli_given(cli, "subject"))
        snprintf(lists->subject, sizeof lists->subject, "%s", cli_text(cli, "subject"));
    else if (!lapse_is_ok(subject_take(cli, lists, &error)))
        return cli_fail(&error);
    return CLI_OK;
}

/* Whether there is nothing more to wait for: active, ended, or approved for a beginning that lies ahead. */
static bool is_settled(const struct lapse_grant *grant, int64_t now_ms)
{
    return grant->state == LAPSE_STATE_ACTIVE || lapse_grant_state_is_ended(grant->state) ||
           (grant->state == LAPSE_STATE_APPROVED && grant->not_before_ms > now_ms);
}

static int settled_exit(const struct lapse_grant *grant)
{
    if (grant->state == LAPSE_STATE_DENIED)
        return CLI_DENIED;
    return lapse_grant_state_is_ended(grant->state) ? CLI_CONFLICT : CLI_OK;
}

/* Replaces `done->grant` by how it was settled. */
static int wait_until_settled(struct cli *cli, struct lapse_mutation *done)
{
    struct lapse_grant_view view;
    struct lapse_error error;
    if (cli_output(cli) == CLI_TABLE)
        fprintf(stderr, "Waiting for a decision about %s.\n", done->grant.id);
    while (!is_settled(&done->grant, done->time_ms)) {
        nanosleep(&(struct timespec){0, WAIT_POLL_MS * 1000000L}, NULL);
        struct lapse_get_args args = {done->grant.id};
        if (!lapse_is_ok(lapse_get(cli->client, &args, cli->timeout_ms, &view, &error)))
            return cli_fail(&error);
        lapse_grant_free(&done->grant);
        done->grant = view.grant;
        done->time_ms = view.time_ms;
        done->epoch = view.epoch;
        done->revision = view.grant.revision;
    }
    return settled_exit(&done->grant);
}

static int request_send(struct cli *cli, const struct lapse_request_args *args)
{
    struct lapse_mutation done;
    struct lapse_error error;
    if (!lapse_is_ok(lapse_request(cli->client, args, cli->timeout_ms, &done, &error)))
        return cli_fail(&error);
    int code = cli_given(cli, "wait") ? wait_until_settled(cli, &done) : CLI_OK;
    output_mutation(cli, &done);
    lapse_mutation_free(&done);
    return code;
}

int cmd_request(struct cli *cli)
{
    struct request_lists lists = {0};
    struct lapse_request_args args;
    int code = request_check(cli, &lists);
    if (code == CLI_OK) {
        request_fill(cli, &lists, &args);
        code = request_send(cli, &args);
    }
    lists_free(&lists);
    return code;
}

/* ---- the others */

typedef lapse_result (*decision_call)(struct lapse_client *client, const struct lapse_decision_args *args,
                                      uint32_t timeout_ms, struct lapse_mutation *result, struct lapse_error *error);
typedef lapse_result (*end_call)(struct lapse_client *client, const struct lapse_end_args *args, uint32_t timeout_ms,
                                 struct lapse_mutation *result, struct lapse_error *error);

static int decide(struct cli *cli, decision_call call)
{
    struct lapse_decision_args args = {cli_text(cli, "request-id"), cli->operands[0], cli_text(cli, "comment")};
    struct lapse_mutation done;
    struct lapse_error error;
    return finish(cli, call(cli->client, &args, cli->timeout_ms, &done, &error), &done, &error);
}

static int end(struct cli *cli, end_call call)
{
    const struct lapse_end_args args = {
        .request_id = cli_text(cli, "request-id"), .grant_id = cli->operands[0], .reason = cli_text(cli, "reason")};
    struct lapse_mutation done;
    struct lapse_error error;
    return finish(cli, call(cli->client, &args, cli->timeout_ms, &done, &error), &done, &error);
}

int cmd_approve(struct cli *cli)
{
    return decide(cli, lapse_approve);
}

int cmd_deny(struct cli *cli)
{
    return decide(cli, lapse_deny);
}

int cmd_cancel(struct cli *cli)
{
    return end(cli, lapse_cancel);
}

int cmd_complete(struct cli *cli)
{
    return end(cli, lapse_complete);
}

int cmd_use(struct cli *cli)
{
    struct lapse_use_args args = {cli_text(cli, "request-id"), cli->operands[0], (uint32_t)cli_number(cli, "count")};
    struct lapse_mutation done;
    struct lapse_error error;
    return finish(cli, lapse_use(cli->client, &args, cli->timeout_ms, &done, &error), &done, &error);
}
