/* The document as plain text. Everything from outside goes through output_text. */
#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "client/audit_clock.h"
#include "client/audit_event.h"
#include "client/cli/output.h"
#include "client/report_gather.h"

static void print_counts(FILE *out, const json_t *document)
{
    static const char *const shown[] = {
        "requested", "automatic", "held",       "denied",       "activated",      "uses",           "expired",
        "revoked",   "completed", "sessions",   "break_glass",  "reviews_opened", "reviews_closed", "reviews_overdue",
        "locked",    "unlocked",  "offboarded", "role_changes", "policy_changes"};
    fputs("\nWhat happened\n", out);
    for (size_t i = 0; i < ARRAY_LEN(shown); i++)
        fprintf(out, "  %-16s %" PRId64 "\n", shown[i], audit_number(audit_member(document, "counts"), shown[i]));
}

static void print_rows(FILE *out, const char *title, const json_t *rows)
{
    const char *const titles[] = {title, "REQUESTED", "BEGUN", "ENDED"};
    struct output_table *table = output_table_new(4, titles);
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        output_table_cell(table, "%s", audit_text(row, "name"));
        output_table_cell(table, "%" PRId64, audit_number(row, "requested"));
        output_table_cell(table, "%" PRId64, audit_number(row, "activated"));
        output_table_cell(table, "%" PRId64, audit_number(row, "ended"));
    }
    fputc('\n', out);
    output_table_print(table, out, "No grants.");
    output_table_free(table);
}

static void print_numbers(FILE *out, const char *what, const json_t *numbers)
{
    char p50[AUDIT_CLOCK_SIZE], p90[AUDIT_CLOCK_SIZE], p99[AUDIT_CLOCK_SIZE], max[AUDIT_CLOCK_SIZE];
    if (audit_number(numbers, "count") == 0) {
        fprintf(out, "  %-34s none\n", what);
        return;
    }
    fprintf(out, "  %-34s %" PRId64 ": median %s, 90%% within %s, 99%% within %s, longest %s\n", what,
            audit_number(numbers, "count"), audit_duration(audit_number(numbers, "p50_ms"), p50),
            audit_duration(audit_number(numbers, "p90_ms"), p90), audit_duration(audit_number(numbers, "p99_ms"), p99),
            audit_duration(audit_number(numbers, "max_ms"), max));
}

static void print_evidence(FILE *out, const json_t *document)
{
    const json_t *evidence = audit_member(document, "evidence");
    size_t i;
    json_t *grant;
    fprintf(out, "\nComplete evidence: %.1f%% (%" PRId64 " of %" PRId64 " grants that ended)\n",
            json_real_value(audit_member(evidence, "share_percent")), audit_number(evidence, "complete"),
            audit_number(evidence, "ended"));
    json_array_foreach(audit_member(evidence, "incomplete"), i, grant)
    {
        fprintf(out, "  %s  ", audit_text(grant, "grant"));
        output_text(out, audit_text(grant, "subject"));
        fprintf(out, ": %s is missing\n", audit_text(grant, "missing"));
    }
}

static void print_standing(FILE *out, const json_t *document)
{
    const json_t *standing = audit_member(document, "standing");
    char until[AUDIT_CLOCK_SIZE];
    size_t i;
    json_t *row;
    fprintf(out, "\nStanding access at the end: %zu role bindings, %zu eligibilities, %" PRId64 " live grants\n",
            json_array_size(audit_member(standing, "roles")), json_array_size(audit_member(standing, "eligibility")),
            audit_number(standing, "live_grants"));
    json_array_foreach(audit_member(standing, "roles"), i, row) if (json_is_true(audit_member(row, "wide")))
    {
        fputs("  roles for many: ", out);
        output_text(out, audit_text(row, "member"));
        fputc('\n', out);
    }
    json_array_foreach(audit_member(standing, "eligibility"), i, row) if (json_is_true(audit_member(row, "wide")))
    {
        fputs("  wide eligibility: ", out);
        output_text(out, audit_text(row, "name"));
        fprintf(out, ", until %s\n", audit_clock(audit_number(row, "expires_ms"), until));
    }
    json_array_foreach(audit_member(standing, "long_grants"), i, row)
    {
        fprintf(out, "  long or wide grant: %s, ", audit_text(row, "grant"));
        output_text(out, audit_text(row, "subject"));
        fprintf(out, ", until %s\n", audit_clock(audit_number(row, "deadline_ms"), until));
    }
    json_array_foreach(audit_member(standing, "renewed"), i, row)
    {
        fprintf(out, "  renewed back to back %" PRId64 " times: ", audit_number(row, "grants"));
        output_text(out, audit_text(row, "access"));
        fputc('\n', out);
    }
}

static void print_names(FILE *out, const char *what, const json_t *list, const char *member)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        fprintf(out, "  %s: ", what);
        output_text(out, audit_text(item, member));
        fputc('\n', out);
    }
}

static void print_sessions(FILE *out, const json_t *document)
{
    const json_t *counts = audit_member(document, "counts");
    fprintf(out,
            "\nSessions: %" PRId64 ", of these without a reason %" PRId64 ", without an owner %" PRId64
            ", longer than their grant %" PRId64 "\n",
            audit_number(counts, "sessions"), audit_number(counts, "without_reason"),
            audit_number(counts, "without_owner"), audit_number(counts, "outlived_grant"));
    print_names(out, "look at", audit_member(document, "odd_sessions"), "description");
}

void report_print_text(FILE *out, const json_t *document)
{
    char from[AUDIT_CLOCK_SIZE], to[AUDIT_CLOCK_SIZE];
    fputs("Access to cluster ", out);
    output_text(out, audit_text(document, "report.cluster"));
    fprintf(out, ", %s to %s\n  %" PRId64 " records; ", audit_clock(audit_number(document, "report.from_ms"), from),
            audit_clock(audit_number(document, "report.to_ms"), to), audit_number(document, "report.records"));
    output_text(out, audit_text(document, "report.proof"));
    fputc('\n', out);
    if (!json_is_true(audit_member(document, "report.from_start")))
        fputs("  The records don't begin with revision 1: what stood before is not known.\n", out);
    print_counts(out, document);
    print_rows(out, "RULE", audit_member(document, "by_rule"));
    print_rows(out, "RESOURCE", audit_member(document, "by_resource"));
    fputs("\nHow long\n", out);
    print_numbers(out, "access", audit_member(document, "durations"));
    print_numbers(out, "revocation to the last point", audit_member(document, "revocation_to_last_point"));
    print_numbers(out, "revocation to each point", audit_member(document, "revocation_to_each_point"));
    print_evidence(out, document);
    print_sessions(out, document);
    print_standing(out, document);
    print_names(out, "locked", audit_member(document, "locks"), "name");
    print_names(out, "review open", audit_member(document, "reviews_open"), "name");
    print_names(out, "found misused", audit_member(document, "misused"), "name");
    print_names(out, "offboarded", audit_member(document, "offboarded"), "subject");
}
