/* The document as a page: verdict, the terms, a line of time, what was found, every step with its record, the proof. */
#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "client/audit_clock.h"
#include "client/audit_event.h"
#include "client/audit_evidence.h"
#include "client/html_page.h"
#include "client/html_plot.h"

#define TEXT 2048
#define SPANS_MAX 40

static const char *text_of(const json_t *value)
{
    return json_is_string(value) ? json_string_value(value) : "";
}

/* An array of strings with a comma between each. */
static const char *join(const json_t *array, char out[TEXT])
{
    size_t i, at = 0;
    json_t *item;
    *out = '\0';
    json_array_foreach(array, i, item) if (at < TEXT) at +=
        (size_t)snprintf(out + at, TEXT - at, "%s%s", i == 0 ? "" : ", ", text_of(item));
    return out;
}

static void print_verdict(FILE *out, const json_t *document)
{
    bool complete = json_is_true(audit_member(document, "complete"));
    size_t i;
    json_t *check;
    fprintf(out, "<div class=\"verdict %s\"><b>%s</b>\n", complete ? "good" : "bad",
            complete ? "The evidence is complete" : "The evidence is not complete");
    json_array_foreach(audit_member(document, "checks"), i, check)
    {
        const char *standing = audit_text(check, "standing");
        if (strcmp(standing, "MISSING") != 0 && strcmp(standing, "OPEN") != 0)
            continue;
        fputs("<p>", out);
        html_text(out, audit_text(check, "what"));
        fputs(strcmp(standing, "OPEN") == 0 ? " (not over yet): " : ": ", out);
        html_text(out, audit_text(check, "detail"));
        fputs("</p>\n", out);
    }
    fputs("</div>\n", out);
}

static void fact_clock(FILE *out, const char *name, int64_t unix_ms)
{
    char clock[AUDIT_CLOCK_SIZE];
    if (unix_ms != 0)
        html_fact(out, name, audit_clock(unix_ms, clock));
}

static void print_terms(FILE *out, const json_t *document)
{
    const json_t *grant = audit_member(document, "grant");
    char text[TEXT], duration[AUDIT_CLOCK_SIZE];
    html_section(out, "What was asked for");
    html_facts(out);
    html_fact(out, "Subject", audit_text(grant, "subject"));
    html_fact(out, "Resource", audit_text(grant, "resource"));
    html_fact(out, "Actions", join(audit_member(grant, "actions"), text));
    html_fact(out, "Reason", audit_text(grant, "justification"));
    html_fact(out, "Ticket", audit_text(grant, "ticket"));
    html_fact(out, "Task", audit_text(grant, "task"));
    html_fact(out, "Requester", audit_text(grant, "requester"));
    if (audit_number(grant, "duration_ms") != 0)
        html_fact(out, "Duration", audit_duration(audit_number(grant, "duration_ms"), duration));
    html_fact(out, "Bound to", audit_text(grant, "binding.spiffe_id"));
    html_fact(out, "From networks", join(audit_member(grant, "binding.networks"), text));
    html_fact(out, "Derived from", audit_text(grant, "parent"));
    html_fact(out, "Break-glass", json_is_true(audit_member(grant, "break_glass")) ? "yes" : "");
    html_facts_end(out);
    html_section_end(out);
}

static void print_decision(FILE *out, const json_t *document)
{
    static const char *const titles[] = {"Approver", "When", "Comment"};
    const json_t *policy = audit_member(document, "policy");
    char text[TEXT], clock[AUDIT_CLOCK_SIZE];
    size_t i;
    json_t *approval;
    html_section(out, "Who and what allowed it");
    html_facts(out);
    if (json_is_true(audit_member(policy, "built_in"))) {
        html_fact(out, "Policy", "the built-in rule: one approver");
    } else {
        snprintf(text, sizeof text, "%s, version %" PRId64, audit_text(policy, "name"),
                 audit_number(policy, "version"));
        html_fact(out, "Policy", text);
        html_fact(out, "Rule", audit_text(policy, "rule"));
        html_fact(out, "Kept at", audit_text(policy, "source"));
        html_fact(out, "Applied by", audit_text(policy, "applied_by"));
    }
    html_fact(out, "Approval", json_is_true(audit_member(policy, "automatic")) ? "automatic, by the rule" : "");
    html_facts_end(out);
    if (json_array_size(audit_member(document, "approvals")) > 0) {
        html_table(out, 3, titles);
        json_array_foreach(audit_member(document, "approvals"), i, approval)
        {
            const char *cells[] = {audit_text(approval, "approver"),
                                   audit_clock(audit_number(approval, "time_ms"), clock),
                                   audit_text(approval, "comment")};
            html_cells(out, 3, cells);
        }
        html_table_end(out);
    }
    html_section_end(out);
}

/* ---- The line of time */

static void span_add(struct plot_span *spans, size_t *n, const char *label, int64_t from_ms, int64_t to_ms,
                     const char *tone)
{
    if (from_ms != 0 && to_ms >= from_ms && *n < SPANS_MAX)
        spans[(*n)++] = (struct plot_span){label, from_ms, to_ms, tone};
}

static void print_line(FILE *out, const json_t *document)
{
    const json_t *grant = audit_member(document, "grant");
    int64_t asked = audit_number(grant, "requested_ms"), approved = audit_number(grant, "approved_ms");
    int64_t began = audit_number(grant, "activated_ms"), ended = audit_number(grant, "ended_ms");
    int64_t now = ended != 0 ? ended : audit_number(document, "made_ms");
    int64_t decided = approved != 0 ? approved : now;
    struct plot_span spans[SPANS_MAX];
    size_t n = 0, i;
    json_t *session;
    span_add(spans, &n, "waited for a decision", asked, decided, "wait");
    if (began > approved)
        span_add(spans, &n, "approved, not begun", approved, began, "wait");
    span_add(spans, &n, "access", began, now, "open");
    json_array_foreach(audit_member(document, "sessions"), i, session)
    {
        int64_t session_end = audit_number(session, "ended_ms");
        span_add(spans, &n, i == 0 ? "sessions" : "", audit_number(session, "began_ms"),
                 session_end == 0 ? now : session_end, "use");
    }
    if (json_is_true(audit_member(document, "enforcement.done")))
        span_add(spans, &n, "until enforced", ended, audit_number(document, "enforcement.done_ms"), "end");
    plot_spans(out, "When the grant waited, allowed access, was used and ended", spans, n);
}

static void print_timeline(FILE *out, const json_t *document)
{
    char clock[AUDIT_CLOCK_SIZE];
    size_t i;
    json_t *entry;
    html_section(out, "What happened");
    print_line(out, document);
    fputs("<ol class=\"time\">\n", out);
    json_array_foreach(audit_member(document, "timeline"), i, entry)
    {
        fprintf(out, "<li class=\"%s\"><span class=\"when\">%s · record %" PRId64 "</span><br><b>",
                audit_text(entry, "kind"), audit_clock(audit_number(entry, "time_ms"), clock),
                audit_number(entry, "revision"));
        html_text(out, audit_text(entry, "title"));
        fputs("</b>", out);
        if (*audit_text(entry, "detail") != '\0') {
            fputs("<br>", out);
            html_text(out, audit_text(entry, "detail"));
        }
        fputs("</li>\n", out);
    }
    fputs("</ol>\n", out);
    html_section_end(out);
}

/* ---- Enforcement, sessions, checks, proof */

static void print_enforcement(FILE *out, const json_t *document)
{
    static const char *const titles[] = {"Enforcement point", "Receipt", "When", "After", "Note"};
    const json_t *enforcement = audit_member(document, "enforcement");
    char clock[AUDIT_CLOCK_SIZE], after[AUDIT_CLOCK_SIZE];
    size_t i;
    json_t *receipt;
    if (json_array_size(audit_member(enforcement, "receipts")) == 0)
        return;
    html_section(out, "Receipts of the enforcement points");
    html_paragraph(
        out, "ENFORCED: it denies, and its sessions are ended. FAILED: it denies, but a session may still run. LAPSED: "
             "its lease ran out, so it denies by itself. LEFT: it said goodbye.");
    html_table(out, 5, titles);
    json_array_foreach(audit_member(enforcement, "receipts"), i, receipt)
    {
        const char *cells[] = {audit_text(receipt, "point"), audit_text(receipt, "level"),
                               audit_clock(audit_number(receipt, "time_ms"), clock),
                               audit_duration(audit_number(receipt, "after_ms"), after), audit_text(receipt, "reason")};
        html_cells(out, 5, cells);
    }
    html_table_end(out);
    html_section_end(out);
}

static void print_sessions(FILE *out, const json_t *document)
{
    static const char *const titles[] = {"Enforcement point", "What", "Began", "Ended", "After the grant"};
    char began[AUDIT_CLOCK_SIZE], ended[AUDIT_CLOCK_SIZE], late[AUDIT_CLOCK_SIZE];
    size_t i;
    json_t *session;
    if (json_array_size(audit_member(document, "sessions")) == 0)
        return;
    html_section(out, "Sessions");
    html_table(out, 5, titles);
    json_array_foreach(audit_member(document, "sessions"), i, session)
    {
        int64_t after = audit_number(session, "after_end_ms"), end = audit_number(session, "ended_ms");
        const char *cells[] = {audit_text(session, "point"), audit_text(session, "description"),
                               audit_clock(audit_number(session, "began_ms"), began),
                               end == 0 ? "no end recorded" : audit_clock(end, ended),
                               after == 0 ? "" : audit_duration(after, late)};
        html_cells(out, 5, cells);
    }
    html_table_end(out);
    html_section_end(out);
}

static void print_checks(FILE *out, const json_t *document)
{
    static const struct {
        const char *standing, *tone, *word;
    } tones[] = {{"PRESENT", "good", "present"},
                 {"MISSING", "bad", "missing"},
                 {"OPEN", "open", "not over"},
                 {"NOT_NEEDED", "plain", "not needed"}};
    size_t i;
    json_t *check;
    html_section(out, "How complete the evidence is");
    fputs("<table class=\"checks\"><thead><tr><th>Part</th><th>Standing</th><th>What was "
          "found</th></tr></thead><tbody>\n",
          out);
    json_array_foreach(audit_member(document, "checks"), i, check)
    {
        fputs("<tr><td>", out);
        html_text(out, audit_text(check, "what"));
        fputs("</td><td>", out);
        for (size_t j = 0; j < ARRAY_LEN(tones); j++)
            if (strcmp(tones[j].standing, audit_text(check, "standing")) == 0)
                html_badge(out, tones[j].tone, tones[j].word);
        fputs("</td><td>", out);
        html_text(out, audit_text(check, "detail"));
        fputs("</td></tr>\n", out);
    }
    html_table_end(out);
    html_section_end(out);
}

static void print_proof(FILE *out, const json_t *document)
{
    char text[TEXT];
    size_t i;
    json_t *entry;
    int64_t last = 0;
    html_section(out, "Proof");
    html_facts(out);
    html_fact(out, "Cluster", audit_text(document, "proof.cluster"));
    html_fact(out, "Chain", audit_text(document, "proof.text"));
    if (audit_number(document, "proof.signed_to") != 0) {
        snprintf(text, sizeof text, "record %" PRId64 ", by node %" PRId64, audit_number(document, "proof.signed_to"),
                 audit_number(document, "proof.signed_by"));
        html_fact(out, "Signed head", text);
        fact_clock(out, "Signed at", audit_number(document, "proof.signed_ms"));
    }
    html_facts_end(out);
    fputs("<h3>Hashes of the records shown</h3>\n<table><thead><tr><th>Record</th><th>SHA-256 of it and all before "
          "it</th></tr></thead><tbody>\n",
          out);
    json_array_foreach(audit_member(document, "timeline"), i, entry)
    {
        if (audit_number(entry, "revision") != last)
            fprintf(out, "<tr><td>%" PRId64 "</td><td><code>%s</code></td></tr>\n", audit_number(entry, "revision"),
                    audit_text(entry, "hash"));
        last = audit_number(entry, "revision");
    }
    html_table_end(out);
    html_section_end(out);
}

void evidence_print_html(FILE *out, const json_t *document)
{
    char text[TEXT], clock[AUDIT_CLOCK_SIZE];
    snprintf(text, sizeof text, "Evidence of grant %s", audit_text(document, "evidence"));
    html_begin(out, text);
    fputs("<p class=\"lead\">", out);
    html_badge(out, "plain", audit_text(document, "grant.state"));
    fputs(" ", out);
    html_text(out, audit_text(document, "grant.subject"));
    fputs(" on ", out);
    html_text(out, audit_text(document, "grant.resource"));
    fputs("</p>\n", out);
    print_verdict(out, document);
    print_terms(out, document);
    print_decision(out, document);
    print_timeline(out, document);
    print_sessions(out, document);
    print_enforcement(out, document);
    print_checks(out, document);
    print_proof(out, document);
    snprintf(text, sizeof text,
             "Made by lapse %s at %s. Times are the cluster's, in UTC. What the proof shows and what it does not: "
             "lapse-audit(5).",
             lapse_version(), audit_clock(audit_number(document, "made_ms"), clock));
    html_end(out, text);
}
