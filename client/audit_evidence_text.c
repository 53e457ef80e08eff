/* The document as plain text. Everything from outside goes through output_text. */
#include <inttypes.h>
#include <string.h>

#include "client/audit_clock.h"
#include "client/audit_event.h"
#include "client/audit_evidence.h"
#include "client/cli/output.h"

static void line(FILE *out, const char *name, const char *text)
{
    if (*text == '\0')
        return;
    fprintf(out, "  %-16s", name);
    output_text(out, text);
    fputc('\n', out);
}

static void print_terms(FILE *out, const json_t *document)
{
    const json_t *grant = audit_member(document, "grant");
    char text[512];
    size_t i, at = 0;
    json_t *action;
    line(out, "subject", audit_text(grant, "subject"));
    line(out, "resource", audit_text(grant, "resource"));
    *text = '\0';
    json_array_foreach(audit_member(grant, "actions"), i, action) if (at < sizeof text) at +=
        (size_t)snprintf(text + at, sizeof text - at, "%s%s", i == 0 ? "" : ",", json_string_value(action));
    line(out, "actions", text);
    line(out, "reason", audit_text(grant, "justification"));
    line(out, "ticket", audit_text(grant, "ticket"));
    line(out, "requester", audit_text(grant, "requester"));
    if (json_is_true(audit_member(document, "policy.built_in"))) {
        line(out, "policy", "the built-in rule: one approver");
    } else {
        snprintf(text, sizeof text, "%s, version %" PRId64 ", rule %s", audit_text(document, "policy.name"),
                 audit_number(document, "policy.version"), audit_text(document, "policy.rule"));
        line(out, "policy", text);
        line(out, "policy source", audit_text(document, "policy.source"));
    }
    line(out, "break-glass", json_is_true(audit_member(grant, "break_glass")) ? "yes" : "");
}

static void print_timeline(FILE *out, const json_t *document)
{
    char clock[AUDIT_CLOCK_SIZE];
    size_t i;
    json_t *entry;
    fputs("\nWhat happened\n", out);
    json_array_foreach(audit_member(document, "timeline"), i, entry)
    {
        fprintf(out, "  %s  %8" PRId64 "  ", audit_clock(audit_number(entry, "time_ms"), clock),
                audit_number(entry, "revision"));
        output_text(out, audit_text(entry, "title"));
        if (*audit_text(entry, "detail") != '\0') {
            fputs(": ", out);
            output_text(out, audit_text(entry, "detail"));
        }
        fputc('\n', out);
    }
}

static void print_checks(FILE *out, const json_t *document)
{
    static const char *const titles[] = {"PART", "STANDING", "WHAT WAS FOUND"};
    struct output_table *table = output_table_new(3, titles);
    size_t i;
    json_t *check;
    json_array_foreach(audit_member(document, "checks"), i, check)
    {
        output_table_cell(table, "%s", audit_text(check, "what"));
        output_table_cell(table, "%s", audit_text(check, "standing"));
        output_table_cell(table, "%s", audit_text(check, "detail"));
    }
    fprintf(out, "\nThe evidence is %s.\n",
            json_is_true(audit_member(document, "complete")) ? "complete" : "not complete");
    output_table_print(table, out, "");
    output_table_free(table);
}

void evidence_print_text(FILE *out, const json_t *document)
{
    fprintf(out, "Grant %s  %s\n", audit_text(document, "evidence"), audit_text(document, "grant.state"));
    print_terms(out, document);
    print_timeline(out, document);
    print_checks(out, document);
}
