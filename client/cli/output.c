#include "client/cli/output.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "client/cli/value.h"

/* ---- JSON */

/* jansson refuses bytes that are no UTF-8; a node that sends them must not make the line disappear. */
static json_t *json_text(const char *text)
{
    json_t *json = json_string(text);
    return json != NULL ? json : json_string("\xEF\xBF\xBD");
}

static json_t *json_hex(const struct lapse_bytes *bytes)
{
    char *hex = mem_calloc(bytes->len * 2 + 1, 1);
    for (size_t i = 0; i < bytes->len; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes->data[i]);
    json_t *json = json_string(hex);
    free(hex);
    return json;
}

static const void *member(const void *object, size_t offset)
{
    return (const char *)object + offset;
}

static json_t *json_array_of(const struct codec_field *field, const void *object)
{
    json_t *array = json_array();
    size_t n = *(const size_t *)member(object, field->count_offset);
    const void *elements = *(const void *const *)member(object, field->offset);
    for (size_t i = 0; i < n; i++) {
        if (field->kind == CODEC_STRINGS)
            json_array_append_new(array, json_text(((const char *const *)elements)[i]));
        else if (field->kind == CODEC_ENUMS)
            json_array_append_new(array, json_string(field->enum_name(((const int *)elements)[i])));
        else
            json_array_append_new(array, output_json(field->message, member(elements, i * field->message->size)));
    }
    return array;
}

static json_t *json_field(const struct codec_field *field, const void *object)
{
    const void *value = member(object, field->offset);
    switch (field->kind) {
    case CODEC_UINT64:
        return json_integer((json_int_t) * (const uint64_t *)value);
    case CODEC_INT64:
        return json_integer(*(const int64_t *)value);
    case CODEC_UINT32:
        return json_integer(*(const uint32_t *)value);
    case CODEC_BOOL:
        return json_boolean(*(const bool *)value);
    case CODEC_ENUM:
        return json_string(field->enum_name(*(const int *)value));
    case CODEC_STRING:
        return json_text(*(const char *const *)value);
    case CODEC_BYTES:
        return json_hex(value);
    case CODEC_MESSAGE:
        return codec_is_empty(field->message, value) ? json_null() : output_json(field->message, value);
    default:
        return json_array_of(field, object);
    }
}

json_t *output_json(const struct codec_message *message, const void *object)
{
    json_t *json = json_object();
    for (size_t i = 0; i < message->n_fields; i++)
        json_object_set_new(json, message->fields[i].name, json_field(&message->fields[i], object));
    return json;
}

void output_json_line(FILE *out, json_t *json)
{
    CHECK(json != NULL);
    json_dumpf(json, out, JSON_COMPACT);
    json_decref(json);
    fputc('\n', out);
    fflush(out);
}

void output_json_message(FILE *out, const struct codec_message *message, const void *object)
{
    output_json_line(out, output_json(message, object));
}

/* ---- Text */

void output_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        bool c1 = c == 0xC2 && (unsigned char)text[1] >= 0x80 && (unsigned char)text[1] < 0xA0;
        if (c1) {
            fprintf(out, "\\x%02x", (unsigned char)text[1]);
            text++;
        } else if (c < 0x20 || c == 0x7F) {
            fprintf(out, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\x%02x", c);
        } else {
            fputc(c, out);
        }
    }
}

void output_join(const char *const *words, size_t n, char *out, size_t size)
{
    size_t at = 0;
    *out = '\0';
    for (size_t i = 0; i < n && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s", i == 0 ? "" : ",", words[i]);
}

void output_state(FILE *out, enum lapse_grant_state state)
{
    const char *name = lapse_grant_state_name(state);
    if (!isatty(fileno(out)))
        fputs(name, out);
    else
        fprintf(out, "\033[%dm%s\033[0m",
                state == LAPSE_STATE_ACTIVE    ? 32
                : state == LAPSE_STATE_PENDING ? 33
                                               : 1,
                name);
}

/* ---- Tables */

struct output_table {
    int n_columns;
    size_t n_cells;
    char **cells; /* the titles first */
};

static void cell_add(struct output_table *table, const char *raw)
{
    char *text = NULL;
    size_t size;
    FILE *escaped = open_memstream(&text, &size);
    CHECK(escaped != NULL);
    output_text(escaped, *raw == '\0' ? "-" : raw);
    CHECK(fclose(escaped) == 0);
    table->cells = mem_realloc(table->cells, (table->n_cells + 1) * sizeof *table->cells);
    table->cells[table->n_cells++] = text;
}

struct output_table *output_table_new(int n_columns, const char *const *titles)
{
    struct output_table *table = mem_calloc(1, sizeof *table);
    table->n_columns = n_columns;
    for (int i = 0; i < n_columns; i++)
        cell_add(table, titles[i]);
    return table;
}

void output_table_cell(struct output_table *table, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cell_add(table, text);
}

/* Characters, not bytes: continuation bytes of UTF-8 take no room. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

static int column_width(const struct output_table *table, int column)
{
    int widest = 0;
    for (size_t i = (size_t)column; i < table->n_cells; i += (size_t)table->n_columns) {
        int width = width_of(table->cells[i]);
        widest = width > widest ? width : widest;
    }
    return widest;
}

static void print_rows(const struct output_table *table, FILE *out)
{
    for (size_t i = 0; i < table->n_cells; i++) {
        int column = (int)(i % (size_t)table->n_columns);
        bool last = column == table->n_columns - 1;
        fputs(table->cells[i], out);
        if (last)
            fputc('\n', out);
        else
            fprintf(out, "%*s", column_width(table, column) - width_of(table->cells[i]) + 2, "");
    }
}

void output_table_print(const struct output_table *table, FILE *out, const char *none)
{
    if (table->n_cells <= (size_t)table->n_columns)
        fprintf(out, "%s\n", none);
    else
        print_rows(table, out);
}

void output_table_free(struct output_table *table)
{
    for (size_t i = 0; i < table->n_cells; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table);
}

/* ---- A grant */

static void line(FILE *out, const char *name, const char *text)
{
    if (*text == '\0')
        return;
    fprintf(out, "  %-16s", name);
    output_text(out, text);
    fputc('\n', out);
}

static void line_time(FILE *out, const char *name, int64_t time_ms, int64_t now_ms)
{
    char text[96];
    if (time_ms == 0)
        return;
    value_format_time(time_ms, now_ms, text, sizeof text);
    line(out, name, text);
}

static void line_list(FILE *out, const char *name, const char *const *words, size_t n)
{
    char text[1024];
    output_join(words, n, text, sizeof text);
    line(out, name, text);
}

static void lines_of_approvals(FILE *out, const struct lapse_grant *grant, int64_t now_ms)
{
    for (size_t i = 0; i < grant->n_approvals; i++) {
        const struct lapse_approval *approval = &grant->approvals[i];
        char when[96], text[2048];
        value_format_time(approval->time_ms, now_ms, when, sizeof when);
        snprintf(text, sizeof text, "%s, %s%s%s", approval->approver, when, *approval->comment == '\0' ? "" : ": ",
                 approval->comment);
        line(out, "approved by", text);
    }
}

/* Version 0: asked for under the built-in rule. */
static void lines_of_policy(FILE *out, const struct lapse_grant *grant)
{
    char text[256];
    if (grant->policy_version == 0) {
        line(out, "policy", grant->policy);
        return;
    }
    snprintf(text, sizeof text, "%s, version %" PRIu64 ", rule %s%s", grant->policy, grant->policy_version, grant->rule,
             grant->break_glass ? " (break-glass)" : "");
    line(out, "policy", text);
    line(out, "held", grant->held ? "past a limit of its rule: an approver has to decide" : "");
    line(out, "approved by", grant->automatic && grant->state != LAPSE_STATE_PENDING ? "the rule, automatically" : "");
}

/* How many approvals of this step are there: those of the steps before it come first. */
static size_t approvals_of(const struct lapse_grant *grant, size_t step)
{
    size_t there = grant->n_approvals;
    for (size_t i = 0; i < step; i++)
        there -= there < grant->steps[i].count ? there : grant->steps[i].count;
    return there < grant->steps[step].count ? there : grant->steps[step].count;
}

/* Who is still to approve it. */
static void lines_of_steps(FILE *out, const struct lapse_grant *grant)
{
    char text[1024];
    if (grant->state != LAPSE_STATE_PENDING)
        return;
    if (grant->n_steps == 0)
        line(out, "waits for", "any approver");
    for (size_t i = 0; i < grant->n_steps; i++) {
        size_t missing = grant->steps[i].count - approvals_of(grant, i);
        if (missing == 0)
            continue;
        snprintf(text, sizeof text, "step %zu of %zu: %zu more of %s", i + 1, grant->n_steps, missing,
                 *grant->steps[i].approvers == '\0' ? "any approver" : grant->steps[i].approvers);
        line(out, "waits for", text);
    }
}

static void lines_of_terms(FILE *out, const struct lapse_grant *grant)
{
    char text[600];
    line_list(out, "networks", grant->binding.networks, grant->binding.n_networks);
    line(out, "spiffe id", grant->binding.spiffe_id);
    for (size_t i = 0; i < grant->n_labels; i++) {
        snprintf(text, sizeof text, "%s=%s", grant->labels[i].key, grant->labels[i].value);
        line(out, "label", text);
    }
    if (grant->max_uses > 0) {
        snprintf(text, sizeof text, "%" PRIu32 " of %" PRIu32, grant->uses, grant->max_uses);
        line(out, "uses", text);
    }
    if (grant->duration_ms > 0 && grant->deadline_ms == 0) {
        value_format_duration(grant->duration_ms, text, sizeof text);
        line(out, "duration", text);
    }
    line(out, "parent", grant->parent);
    lines_of_policy(out, grant);
    line(out, "token", grant->token_sha256.len > 0 ? "has one" : "");
}

void output_grant(FILE *out, const struct lapse_grant *grant, int64_t now_ms)
{
    fprintf(out, "%s  ", grant->id);
    output_state(out, grant->state);
    fputc('\n', out);
    line(out, "subject", grant->subject);
    line(out, "resource", grant->resource);
    line_list(out, "actions", grant->actions, grant->n_actions);
    line(out, "justification", grant->justification);
    line(out, "ticket", grant->ticket);
    line(out, "task", grant->task);
    line(out, "requester", grant->requester);
    lines_of_terms(out, grant);
    line_time(out, "requested", grant->requested_ms, now_ms);
    if (grant->state == LAPSE_STATE_PENDING)
        line_time(out, "decide by", grant->pending_until_ms, now_ms);
    lines_of_approvals(out, grant, now_ms);
    lines_of_steps(out, grant);
    line_time(out, "begins", grant->activated_ms == 0 ? grant->not_before_ms : 0, now_ms);
    line_time(out, "active since", grant->activated_ms, now_ms);
    line_time(out, "deadline", grant->deadline_ms, now_ms);
    line_time(out, "ended", grant->ended_ms, now_ms);
    line(out, "ended by", grant->ended_by);
    line(out, "reason", grant->reason);
}

void output_mutation(struct cli *cli, const struct lapse_mutation *done)
{
    switch (cli_output(cli)) {
    case CLI_JSON:
        output_json_message(cli->out, &schema_mutation, done);
        break;
    case CLI_ID:
        fprintf(cli->out, "%s\n", done->grant.id);
        break;
    default:
        output_grant(cli->out, &done->grant, done->time_ms);
    }
}
