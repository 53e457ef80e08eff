/* lapse review: gathers what the cluster has (eligibility, roles, active grants) and what the audit log tells of the
 * grants that have ended in the period, and prints what review_analysis.c finds. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "client/cli/output.h"
#include "client/cli/review_analysis.h"
#include "client/lapse_audit.h"
#include "client/lapse_governance.h"

#define ID_SIZE 27

/* Owns its span's texts. */
struct held_span {
    char id[ID_SIZE];
    bool ended;
    struct review_span span;
};

struct gathered {
    struct cli *cli;
    int64_t from_ms, now_ms;
    struct lapse_eligibility *eligibilities;
    size_t n_eligibilities;
    struct lapse_role_list roles;
    struct held_span *spans;
    size_t n_spans, spans_capacity;
};

/* ---- grants */

static void span_free(struct held_span *held)
{
    free((void *)held->span.subject);
    free((void *)held->span.resource);
    free((void *)held->span.ticket);
}

/* A grant that never was active has opened nothing. */
static void hold(struct gathered *all, const struct lapse_grant *grant)
{
    if (grant->activated_ms == 0)
        return;
    if (all->n_spans == all->spans_capacity) {
        all->spans_capacity = all->spans_capacity == 0 ? 256 : all->spans_capacity * 2;
        all->spans = mem_realloc(all->spans, all->spans_capacity * sizeof all->spans[0]);
    }
    struct held_span *held = &all->spans[all->n_spans++];
    snprintf(held->id, sizeof held->id, "%s", grant->id);
    held->ended = grant->ended_ms > 0;
    held->span = (struct review_span){.subject = mem_strdup(grant->subject),
                                      .resource = mem_strdup(grant->resource),
                                      .ticket = mem_strdup(grant->ticket),
                                      .begin_ms = grant->activated_ms,
                                      .end_ms = held->ended ? grant->ended_ms : all->now_ms,
                                      .length_ms = grant->deadline_ms - grant->activated_ms};
}

static int compare_held(const void *x, const void *y)
{
    const struct held_span *a = x, *b = y;
    int order = strcmp(a->id, b->id);
    return order != 0 ? order : (int)b->ended - (int)a->ended;
}

/* One that ended between the two questions was told twice: its end counts. */
static void drop_doubles(struct gathered *all)
{
    size_t n = 0;
    if (all->n_spans > 0)
        qsort(all->spans, all->n_spans, sizeof all->spans[0], compare_held);
    for (size_t i = 0; i < all->n_spans; i++) {
        if (n > 0 && strcmp(all->spans[n - 1].id, all->spans[i].id) == 0)
            span_free(&all->spans[i]);
        else
            all->spans[n++] = all->spans[i];
    }
    all->n_spans = n;
}

static lapse_result gather_active(struct gathered *all, struct lapse_error *error)
{
    static const enum lapse_grant_state active[] = {LAPSE_STATE_ACTIVE};
    char token[1024] = "";
    do {
        struct lapse_list_args args = {
            .filter = {.states = active, .n_states = 1}, .page_size = 1000, .page_token = token};
        struct lapse_grant_list page;
        lapse_result result = lapse_list(all->cli->client, &args, all->cli->timeout_ms, &page, error);
        if (!lapse_is_ok(result))
            return result;
        for (size_t i = 0; i < page.n_grants; i++)
            hold(all, &page.grants[i]);
        snprintf(token, sizeof token, "%s", page.next_page_token);
        lapse_grant_list_free(&page);
    } while (*token != '\0');
    return lapse_ok();
}

static lapse_result hold_record(struct gathered *all, const struct lapse_audit_record *record,
                                struct lapse_error *error)
{
    struct lapse_event event;
    lapse_result result = codec_decode(&schema_event, slice_of(record->event.data, record->event.len), &event, error);
    if (lapse_is_ok(result)) {
        hold(all, &event.grant);
        codec_release(&schema_event, &event);
    }
    return result;
}

static lapse_result gather_ended(struct gathered *all, struct lapse_error *error)
{
    static const enum lapse_event_type ends[] = {LAPSE_EVENT_EXPIRED, LAPSE_EVENT_REVOKED, LAPSE_EVENT_COMPLETED,
                                                 LAPSE_EVENT_EXHAUSTED};
    char token[1024] = "";
    do {
        struct lapse_audit_query_args args = {
            .filter = {.types = ends, .n_types = 4, .from_ms = all->from_ms}, .page_size = 1000, .page_token = token};
        struct lapse_audit_page page;
        lapse_result result = lapse_audit_query(all->cli->client, &args, all->cli->timeout_ms, &page, error);
        if (!lapse_is_ok(result))
            return result;
        for (size_t i = 0; i < page.n_records && lapse_is_ok(result); i++)
            result = hold_record(all, &page.records[i], error);
        snprintf(token, sizeof token, "%s", page.next_page_token);
        lapse_audit_page_free(&page);
        if (!lapse_is_ok(result))
            return result;
    } while (*token != '\0');
    return lapse_ok();
}

/* ---- what governs */

/* Also tells what time it is in the cluster. */
static lapse_result gather_eligibilities(struct gathered *all, struct lapse_error *error)
{
    char token[1024] = "";
    do {
        struct lapse_list_objects_args args = {.page_size = 1000, .page_token = token};
        struct lapse_eligibility_list page;
        lapse_result result = lapse_list_eligibilities(all->cli->client, &args, all->cli->timeout_ms, &page, error);
        if (!lapse_is_ok(result))
            return result;
        all->now_ms = page.time_ms;
        all->eligibilities = mem_realloc(all->eligibilities, (all->n_eligibilities + page.n_eligibilities + 1) *
                                                                 sizeof all->eligibilities[0]);
        for (size_t i = 0; i < page.n_eligibilities; i++)
            codec_copy(&schema_eligibility, &page.eligibilities[i], &all->eligibilities[all->n_eligibilities++]);
        snprintf(token, sizeof token, "%s", page.next_page_token);
        lapse_eligibility_list_free(&page);
    } while (*token != '\0');
    return lapse_ok();
}

static lapse_result gather(struct gathered *all, struct lapse_error *error)
{
    struct cli *cli = all->cli;
    struct lapse_list_roles_args roles = {0};
    lapse_result result = gather_eligibilities(all, error);
    all->from_ms = all->now_ms - cli_number(cli, "since");
    if (lapse_is_ok(result))
        result = lapse_list_roles(cli->client, &roles, cli->timeout_ms, &all->roles, error);
    if (lapse_is_ok(result))
        result = gather_active(all, error);
    if (lapse_is_ok(result))
        result = gather_ended(all, error);
    if (lapse_is_ok(result))
        drop_doubles(all);
    return result;
}

static void gathered_free(struct gathered *all)
{
    for (size_t i = 0; i < all->n_eligibilities; i++)
        codec_release(&schema_eligibility, &all->eligibilities[i]);
    for (size_t i = 0; i < all->n_spans; i++)
        span_free(&all->spans[i]);
    free(all->eligibilities);
    free(all->spans);
    lapse_role_list_free(&all->roles);
}

/* ---- the report */

static void analyze(const struct gathered *all, struct review *review)
{
    const struct cli *cli = all->cli;
    const struct review_limits limits = {.dormant_ms = cli_number(cli, "dormant"),
                                         .ends_ms = cli_number(cli, "ends-within"),
                                         .long_ms = cli_number(cli, "long"),
                                         .gap_ms = cli_number(cli, "gap"),
                                         .in_a_row = (uint32_t)cli_number(cli, "in-a-row"),
                                         .standing_share = (uint32_t)cli_number(cli, "standing")};
    struct review_span *spans = mem_alloc((all->n_spans + 1) * sizeof *spans);
    for (size_t i = 0; i < all->n_spans; i++)
        spans[i] = all->spans[i].span;
    const struct review_facts facts = {.from_ms = all->from_ms,
                                       .now_ms = all->now_ms,
                                       .eligibilities = all->eligibilities,
                                       .n_eligibilities = all->n_eligibilities,
                                       .roles = all->roles.bindings,
                                       .n_roles = all->roles.n_bindings,
                                       .spans = spans,
                                       .n_spans = all->n_spans};
    review_analyze(&facts, &limits, review);
    free(spans);
}

static void print_json(FILE *out, const struct review_finding *finding)
{
    json_t *json = json_object();
    json_object_set_new(json, "finding", json_string(review_kind_name(finding->kind)));
    json_object_set_new(json, "eligibility", json_string(finding->name));
    json_object_set_new(json, "who", json_string(finding->who));
    json_object_set_new(json, "what", json_string(finding->what));
    json_object_set_new(json, "number", json_integer(finding->number));
    json_object_set_new(json, "detail", json_string(finding->detail));
    output_json_line(out, json);
}

static void print(struct cli *cli, const struct review *review, struct output_table *table)
{
    for (size_t i = 0; i < review->n; i++) {
        const struct review_finding *finding = &review->findings[i];
        if (cli_output(cli) == CLI_JSON) {
            print_json(cli->out, finding);
            continue;
        }
        output_table_cell(table, "%s", review_kind_name(finding->kind));
        output_table_cell(table, "%s", finding->who);
        output_table_cell(table, "%s", finding->what);
        output_table_cell(table, "%s", finding->detail);
        output_table_cell(table, "%s", finding->name);
    }
    if (cli_output(cli) == CLI_JSON)
        return;
    output_table_print(table, cli->out, "Nothing found.");
}

int cmd_review(struct cli *cli)
{
    static const char *const titles[] = {"FINDING", "WHO", "WHAT", "WHY", "ELIGIBILITY"};
    struct gathered all = {.cli = cli};
    struct lapse_error error;
    struct review review;
    if (cli_output(cli) == CLI_ID)
        return cli_usage_error(cli, "findings have no ids; --output table or json");
    if (cli_number(cli, "standing") > 100)
        return cli_usage_error(cli, "--standing is a percentage: at most 100");
    if (cli_number(cli, "in-a-row") < 2)
        return cli_usage_error(cli, "--in-a-row: at least 2");
    lapse_result result = gather(&all, &error);
    if (lapse_is_ok(result)) {
        struct output_table *table = output_table_new(5, titles);
        analyze(&all, &review);
        print(cli, &review, table);
        review_free(&review);
        output_table_free(table);
    }
    gathered_free(&all);
    return lapse_is_ok(result) ? CLI_OK : cli_fail(&error);
}
