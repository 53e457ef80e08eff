/* The document as a page: the figures that one looks for first, then plots and tables for each question. */
#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "client/audit_clock.h"
#include "client/audit_event.h"
#include "client/html_page.h"
#include "client/html_plot.h"
#include "client/report_gather.h"

#define TEXT 1024
#define BARS_MAX 64

static int64_t count_of(const json_t *document, const char *name)
{
    return audit_number(audit_member(document, "counts"), name);
}

static void figure(FILE *out, const char *value, const char *what)
{
    fputs("<div class=\"figure\"><b>", out);
    html_text(out, value);
    fputs("</b><span>", out);
    html_text(out, what);
    fputs("</span></div>\n", out);
}

static void figure_number(FILE *out, int64_t value, const char *what)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    figure(out, text, what);
}

static void print_figures(FILE *out, const json_t *document)
{
    const json_t *last = audit_member(document, "revocation_to_last_point");
    char text[TEXT], duration[AUDIT_CLOCK_SIZE];
    fputs("<div class=\"figures\">\n", out);
    figure_number(out, count_of(document, "requested"), "requests");
    figure_number(out, count_of(document, "activated"), "grants that began");
    figure(out,
           audit_number(document, "durations.count") == 0
               ? "-"
               : audit_duration(audit_number(document, "durations.p50_ms"), duration),
           "median time of access");
    snprintf(text, sizeof text, "%.1f %%", json_real_value(audit_member(document, "evidence.share_percent")));
    figure(out, text, "of ended grants with complete evidence");
    figure(out, audit_number(last, "count") == 0 ? "-" : audit_duration(audit_number(last, "p99_ms"), duration),
           "until 99 % of revocations were enforced everywhere");
    figure_number(out, (int64_t)json_array_size(audit_member(document, "reviews_open")), "break-glass reviews open");
    fputs("</div>\n", out);
}

/* ---- Plots */

static void print_histogram(FILE *out, const char *title, const json_t *numbers)
{
    struct plot_bar bars[BARS_MAX];
    size_t n = 0, i;
    json_t *bucket;
    json_array_foreach(audit_member(numbers, "histogram"), i, bucket) if (n < BARS_MAX) bars[n++] =
        (struct plot_bar){audit_text(bucket, "label"), audit_number(bucket, "count")};
    fputs("<h3>", out);
    html_text(out, title);
    fputs("</h3>\n", out);
    if (audit_number(numbers, "count") == 0)
        html_paragraph(out, "None in this period.");
    else
        plot_bars(out, title, bars, n);
}

static void print_percentiles(FILE *out, const json_t *numbers)
{
    static const char *const members[] = {"p50_ms", "p90_ms", "p99_ms", "max_ms"};
    static const char *const titles[] = {"Count", "Median", "90 % within", "99 % within", "Longest"};
    char count[32], values[4][AUDIT_CLOCK_SIZE];
    const char *cells[5] = {count};
    if (audit_number(numbers, "count") == 0)
        return;
    snprintf(count, sizeof count, "%" PRId64, audit_number(numbers, "count"));
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        cells[i + 1] = audit_duration(audit_number(numbers, members[i]), values[i]);
    html_table(out, 5, titles);
    html_cells(out, 5, cells);
    html_table_end(out);
}

static void print_activity(FILE *out, const json_t *document)
{
    struct plot_bar bars[BARS_MAX];
    char labels[BARS_MAX][AUDIT_CLOCK_SIZE];
    size_t n = 0, i;
    json_t *bucket;
    int64_t step = audit_number(json_array_get(audit_member(document, "activity"), 0), "step_ms");
    json_array_foreach(audit_member(document, "activity"), i, bucket)
    {
        char clock[AUDIT_CLOCK_SIZE];
        if (n == BARS_MAX)
            break;
        audit_clock(audit_number(bucket, "from_ms"), clock);
        if (step >= 86400000)
            snprintf(labels[n], sizeof labels[n], "%.5s", clock + 5);
        else
            snprintf(labels[n], sizeof labels[n], "%.5s", clock + 11);
        bars[n] = (struct plot_bar){labels[n], audit_number(bucket, "began")};
        n++;
    }
    fputs("<h3>When access began</h3>\n", out);
    plot_bars(out, "Grants that began, over the period", bars, n);
}

/* ---- Sections */

static void print_rows(FILE *out, const char *title, const json_t *rows)
{
    const char *const titles[] = {title, "Requested", "Begun", "Ended"};
    size_t i;
    json_t *row;
    html_table(out, 4, titles);
    json_array_foreach(rows, i, row)
    {
        char numbers[3][32];
        snprintf(numbers[0], sizeof numbers[0], "%" PRId64, audit_number(row, "requested"));
        snprintf(numbers[1], sizeof numbers[1], "%" PRId64, audit_number(row, "activated"));
        snprintf(numbers[2], sizeof numbers[2], "%" PRId64, audit_number(row, "ended"));
        const char *cells[] = {audit_text(row, "name"), numbers[0], numbers[1], numbers[2]};
        html_cells(out, 4, cells);
    }
    html_table_end(out);
}

static void print_grants(FILE *out, const json_t *document)
{
    static const struct {
        const char *name, *what;
    } shown[] = {{"requested", "Requested"},
                 {"automatic", "Allowed by a rule, without an approver"},
                 {"held", "Held for an approver"},
                 {"denied", "Denied"},
                 {"lapsed", "Never decided"},
                 {"cancelled", "Withdrawn or cancelled"},
                 {"expired", "Ended by the clock"},
                 {"revoked", "Revoked"},
                 {"completed", "Completed by their holder"},
                 {"exhausted", "Used up"},
                 {"without_ticket", "Without a ticket"}};
    html_section(out, "Grants");
    print_activity(out, document);
    html_facts(out);
    for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
        char number[32];
        snprintf(number, sizeof number, "%" PRId64, count_of(document, shown[i].name));
        html_fact(out, shown[i].what, number);
    }
    html_facts_end(out);
    print_rows(out, "Policy / rule", audit_member(document, "by_rule"));
    print_rows(out, "Resource", audit_member(document, "by_resource"));
    print_histogram(out, "How long access lasted", audit_member(document, "durations"));
    print_percentiles(out, audit_member(document, "durations"));
    html_section_end(out);
}

static void print_evidence(FILE *out, const json_t *document)
{
    static const char *const titles[] = {"Grant", "Subject", "Resource", "What is missing"};
    const json_t *incomplete = audit_member(document, "evidence.incomplete");
    char text[TEXT];
    size_t i;
    json_t *grant;
    html_section(out, "Complete evidence");
    snprintf(text, sizeof text,
             "Of %" PRId64 " grants that ended, %" PRId64
             " have a request with a reason, a recorded decision, an end of each session, "
             "and, where they were revoked, receipts of all enforcement points in scope.",
             audit_number(document, "evidence.ended"), audit_number(document, "evidence.complete"));
    html_paragraph(out, text);
    if (json_array_size(incomplete) > 0) {
        html_table(out, 4, titles);
        json_array_foreach(incomplete, i, grant)
        {
            const char *cells[] = {audit_text(grant, "grant"), audit_text(grant, "subject"),
                                   audit_text(grant, "resource"), audit_text(grant, "missing")};
            html_cells(out, 4, cells);
        }
        html_table_end(out);
    }
    html_section_end(out);
}

static void print_revocations(FILE *out, const json_t *document)
{
    char text[TEXT];
    html_section(out, "How fast revocations reach the enforcement points");
    snprintf(text, sizeof text,
             "%" PRId64 " receipts said that a session could not be ended, %" PRId64
             " enforcement points were waited out.",
             count_of(document, "receipts_failed"), count_of(document, "receipts_lapsed"));
    html_paragraph(out, text);
    print_histogram(out, "Until the last enforcement point had confirmed",
                    audit_member(document, "revocation_to_last_point"));
    print_percentiles(out, audit_member(document, "revocation_to_last_point"));
    print_histogram(out, "Until each enforcement point had confirmed",
                    audit_member(document, "revocation_to_each_point"));
    print_percentiles(out, audit_member(document, "revocation_to_each_point"));
    html_section_end(out);
}

static void print_sessions(FILE *out, const json_t *document)
{
    static const char *const titles[] = {"When", "Enforcement point", "Grant", "What", "Why it is here"};
    static const struct {
        const char *name, *words;
    } kinds[] = {{"without_owner", "no grant of this id is recorded"},
                 {"without_reason", "its grant has no reason"},
                 {"outlived_grant", "it outlived its grant"}};
    char text[TEXT], clock[AUDIT_CLOCK_SIZE];
    size_t i;
    json_t *session;
    html_section(out, "Sessions without a reason or an owner");
    snprintf(text, sizeof text,
             "Of %" PRId64 " sessions %" PRId64 " have no owner, %" PRId64 " no reason, and %" PRId64
             " lasted longer than their grant.",
             count_of(document, "sessions"), count_of(document, "without_owner"), count_of(document, "without_reason"),
             count_of(document, "outlived_grant"));
    html_paragraph(out, text);
    if (json_array_size(audit_member(document, "odd_sessions")) > 0)
        html_table(out, 5, titles);
    json_array_foreach(audit_member(document, "odd_sessions"), i, session)
    {
        const char *why = "";
        for (size_t j = 0; j < ARRAY_LEN(kinds); j++)
            why = strcmp(kinds[j].name, audit_text(session, "what")) == 0 ? kinds[j].words : why;
        const char *cells[] = {audit_clock(audit_number(session, "time_ms"), clock), audit_text(session, "point"),
                               audit_text(session, "grant"), audit_text(session, "description"), why};
        html_cells(out, 5, cells);
    }
    if (i > 0)
        html_table_end(out);
    html_section_end(out);
}

/* ---- Standing access */

static void join(const json_t *array, char out[TEXT])
{
    size_t i, at = 0;
    json_t *item;
    *out = '\0';
    json_array_foreach(array, i, item) if (at < TEXT) at +=
        (size_t)snprintf(out + at, TEXT - at, "%s%s", i == 0 ? "" : ", ", json_string_value(item));
}

static void print_roles(FILE *out, const json_t *roles)
{
    static const char *const titles[] = {"Member", "Roles", "Note"};
    size_t i;
    json_t *row;
    fputs("<h3>Roles</h3>\n", out);
    html_table(out, 3, titles);
    json_array_foreach(roles, i, row)
    {
        char text[TEXT];
        join(audit_member(row, "roles"), text);
        const char *cells[] = {audit_text(row, "member"), text,
                               json_is_true(audit_member(row, "wide")) ? "for many principals" : ""};
        html_cells(out, 3, cells);
    }
    html_table_end(out);
}

static void print_eligibility(FILE *out, const json_t *list)
{
    static const char *const titles[] = {"Eligibility", "Member", "Resources", "Until", "Note"};
    size_t i;
    json_t *row;
    if (json_array_size(list) == 0)
        return;
    fputs("<h3>Who may request where a rule asks for eligibility</h3>\n", out);
    html_table(out, 5, titles);
    json_array_foreach(list, i, row)
    {
        char resources[TEXT], until[AUDIT_CLOCK_SIZE], note[64];
        join(audit_member(row, "resources"), resources);
        snprintf(note, sizeof note, "%s%s", json_is_true(audit_member(row, "wide")) ? "wide " : "",
                 json_is_true(audit_member(row, "never_used")) ? "never used" : "");
        const char *cells[] = {audit_text(row, "name"), audit_text(row, "member"), resources,
                               audit_clock(audit_number(row, "expires_ms"), until), note};
        html_cells(out, 5, cells);
    }
    html_table_end(out);
}

static void print_long_grants(FILE *out, const json_t *standing)
{
    static const char *const titles[] = {"Grant", "Subject", "Resource", "Until"}, *const renewed[] = {
                                                                                       "Subject and resource",
                                                                                       "Grants in a row"};
    char clock[AUDIT_CLOCK_SIZE], number[32];
    size_t i;
    json_t *row;
    if (json_array_size(audit_member(standing, "long_grants")) > 0) {
        fputs("<h3>Live grants for more than eight hours, or for a whole top level</h3>\n", out);
        html_table(out, 4, titles);
        json_array_foreach(audit_member(standing, "long_grants"), i, row)
        {
            const char *cells[] = {audit_text(row, "grant"), audit_text(row, "subject"), audit_text(row, "resource"),
                                   audit_clock(audit_number(row, "deadline_ms"), clock)};
            html_cells(out, 4, cells);
        }
        html_table_end(out);
    }
    if (json_array_size(audit_member(standing, "renewed")) == 0)
        return;
    fputs("<h3>Renewed back to back</h3>\n", out);
    html_table(out, 2, renewed);
    json_array_foreach(audit_member(standing, "renewed"), i, row)
    {
        snprintf(number, sizeof number, "%" PRId64, audit_number(row, "grants"));
        const char *cells[] = {audit_text(row, "access"), number};
        html_cells(out, 2, cells);
    }
    html_table_end(out);
}

static void print_standing(FILE *out, const json_t *document)
{
    const json_t *standing = audit_member(document, "standing");
    html_section(out, "Standing access at the end of the period");
    print_roles(out, audit_member(standing, "roles"));
    print_eligibility(out, audit_member(standing, "eligibility"));
    print_long_grants(out, standing);
    html_section_end(out);
}

/* ---- Break-glass, locks, offboarding */

static void print_list(FILE *out, const char *title, const json_t *list, const char *const members[4],
                       const char *time_member)
{
    const char *const titles[] = {"Name", "By", "Reason", "When"};
    size_t i;
    json_t *row;
    fputs("<h3>", out);
    html_text(out, title);
    fputs("</h3>\n", out);
    if (json_array_size(list) == 0) {
        html_paragraph(out, "None.");
        return;
    }
    html_table(out, 4, titles);
    json_array_foreach(list, i, row)
    {
        char clock[AUDIT_CLOCK_SIZE];
        const char *cells[] = {audit_text(row, members[0]), audit_text(row, members[1]), audit_text(row, members[2]),
                               audit_clock(audit_number(row, time_member), clock)};
        html_cells(out, 4, cells);
    }
    html_table_end(out);
}

static void print_exceptions(FILE *out, const json_t *document)
{
    static const char *const review[] = {"name", "requester", "justification", ""};
    static const char *const lock[] = {"name", "locked_by", "reason", ""};
    static const char *const gone[] = {"subject", "by", "reason", ""};
    char text[TEXT];
    html_section(out, "Break-glass, locks and offboarding");
    snprintf(text, sizeof text,
             "%" PRId64 " break-glass requests; reviews: %" PRId64 " opened, %" PRId64 " closed, %" PRId64
             " became overdue, %" PRId64 " found misuse. %" PRId64 " locks set, %" PRId64 " lifted. %" PRId64
             " offboarded.",
             count_of(document, "break_glass"), count_of(document, "reviews_opened"),
             count_of(document, "reviews_closed"), count_of(document, "reviews_overdue"), count_of(document, "misused"),
             count_of(document, "locked"), count_of(document, "unlocked"), count_of(document, "offboarded"));
    html_paragraph(out, text);
    print_list(out, "Reviews open", audit_member(document, "reviews_open"), review, "due_ms");
    print_list(out, "Found misused", audit_member(document, "misused"), review, "closed_ms");
    print_list(out, "Locks in force", audit_member(document, "locks"), lock, "locked_ms");
    print_list(out, "Offboarded", audit_member(document, "offboarded"), gone, "time_ms");
    html_section_end(out);
}

void report_print_html(FILE *out, const json_t *document)
{
    char text[TEXT], from[AUDIT_CLOCK_SIZE], to[AUDIT_CLOCK_SIZE];
    html_begin(out, "Just-in-time access: is it working?");
    snprintf(text, sizeof text, "Cluster %s, %s to %s. %" PRId64 " records; %s.",
             audit_text(document, "report.cluster"), audit_clock(audit_number(document, "report.from_ms"), from),
             audit_clock(audit_number(document, "report.to_ms"), to), audit_number(document, "report.records"),
             audit_text(document, "report.proof"));
    fputs("<p class=\"lead\">", out);
    html_text(out, text);
    fputs("</p>\n", out);
    if (!json_is_true(audit_member(document, "report.from_start")))
        html_paragraph(out, "The records don't begin with revision 1: what stood before is not known.");
    print_figures(out, document);
    print_grants(out, document);
    print_revocations(out, document);
    print_evidence(out, document);
    print_sessions(out, document);
    print_standing(out, document);
    print_exceptions(out, document);
    snprintf(text, sizeof text, "Made by lapse %s at %s. Times are the cluster's, in UTC.", lapse_version(),
             audit_clock(audit_number(document, "report.made_ms"), from));
    html_end(out, text);
}
