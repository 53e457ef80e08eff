/* Evidence of one grant, reports of many, and their pages: made of a real store's records. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "client/audit_event.h"
#include "client/audit_evidence.h"
#include "client/audit_ocsf.h"
#include "client/html_page.h"
#include "client/html_plot.h"
#include "client/report_gather.h"
#include "tests/unit/export_fixture.h"
#include "tests/unit/told_grant.h"

static struct export_fixture fixture;

static void setup(void)
{
    export_fixture_init(&fixture);
}

static void teardown(void)
{
    export_fixture_free(&fixture);
}

TestSuite(evidence, .init = setup, .fini = teardown);
TestSuite(report, .init = setup, .fini = teardown);
TestSuite(ocsf, .init = setup, .fini = teardown);

static const struct evidence_proof proof = {true, "verified", "test", 1, 9, 1, T0};

static const char *grant_text(uint64_t number)
{
    static char text[GRANT_ID_TEXT_SIZE];
    grant_id_format(fixture_id(number), text);
    return text;
}

/* The records `from` to the newest one. */
static struct evidence *gather(uint64_t number, uint64_t from)
{
    struct evidence *evidence = evidence_new(grant_text(number), from == 1);
    for (uint64_t revision = from; revision <= fixture.n; revision++) {
        struct lapse_audit_record record = export_fixture_record(&fixture, revision);
        json_t *event = export_fixture_event(&fixture, revision);
        evidence_add(evidence, &record, event);
        json_decref(event);
    }
    return evidence;
}

static json_t *document_from(uint64_t number, uint64_t from)
{
    struct evidence *evidence = gather(number, from);
    cr_assert(evidence_found(evidence));
    json_t *document = evidence_document(evidence, &proof, fixture.now_ms);
    evidence_free(evidence);
    return document;
}

static const char *standing(const json_t *document, const char *what)
{
    size_t i;
    json_t *check;
    json_array_foreach(audit_member(document, "checks"), i, check)
    {
        if (strcmp(audit_text(check, "what"), what) == 0)
            return audit_text(check, "standing");
    }
    return "no such check";
}

static void must_stand(const json_t *document, const char *what, const char *as)
{
    cr_assert_str_eq(standing(document, what), as, "%s is %s", what, standing(document, what));
}

/* Registers a point, revokes grant `number`, and has the point confirm after `ms`, if it is to. The barrier's id. */
static uint64_t revoke_at_point(uint64_t number, uint64_t instance, int64_t ms, enum receipt_level level)
{
    char id[32];
    snprintf(id, sizeof id, "edge-%d", (int)instance);
    export_fixture_do(&fixture, fixture_register(id, instance, "db/*"));
    export_fixture_do(&fixture, fixture_about(COMMAND_REVOKE, number, "user:ops"));
    uint64_t barrier = fixture.n;
    fixture.now_ms += ms;
    if (level != 0)
        export_fixture_do(&fixture, fixture_receipt(barrier, instance, level, fixture.now_ms));
    return barrier;
}

static struct command session(enum command_type type, uint64_t number, uint64_t instance)
{
    return (struct command){.type = type,
                            .principal = slice_str("user:ep"),
                            .grant = type == COMMAND_SESSION_BEGIN ? fixture_id(number) : (struct grant_id){{0}},
                            .instance = fixture_random_id(instance),
                            .session = fixture_random_id(100 + number),
                            .text = slice_str(type == COMMAND_SESSION_BEGIN ? "psql from 10.2.0.9" : "")};
}

/* ---- Evidence */

Test(evidence, tells_a_grant_from_its_request_to_its_end)
{
    export_fixture_grant(&fixture, 1);
    export_fixture_grant(&fixture, 2);
    revoke_at_point(1, 5, 40, RECEIPT_ENFORCED);
    json_t *document = document_from(1, 1);
    const json_t *timeline = audit_member(document, "timeline");
    static const char *const types[] = {"REQUESTED", "APPROVED", "ACTIVATED", "REVOKED", "RECEIPTS", "ENFORCED"};
    cr_assert_eq(json_array_size(timeline), 6u, "another grant's records are not told");
    for (size_t i = 0; i < 6; i++)
        cr_assert_str_eq(audit_text(json_array_get(timeline, i), "type"), types[i]);
    cr_assert(json_is_true(audit_member(document, "complete")));
    cr_assert_str_eq(audit_text(document, "end.by"), "user:ops");
    cr_assert_str_eq(audit_text(json_array_get(audit_member(document, "approvals"), 0), "approver"), "user:app1");
    const json_t *receipt = json_array_get(audit_member(document, "enforcement.receipts"), 0);
    cr_assert_str_eq(audit_text(receipt, "point"), "edge-5");
    cr_assert_eq(audit_number(receipt, "after_ms"), 40);
    json_decref(document);
}

Test(evidence, says_that_a_live_grant_is_not_over)
{
    export_fixture_grant(&fixture, 1);
    json_t *document = document_from(1, 1);
    must_stand(document, "End", "OPEN");
    must_stand(document, "Decision", "PRESENT");
    must_stand(document, "Enforcement", "NOT_NEEDED");
    cr_assert(json_is_false(audit_member(document, "complete")));
    json_decref(document);
}

Test(evidence, says_when_an_enforcement_point_has_not_confirmed)
{
    export_fixture_grant(&fixture, 1);
    revoke_at_point(1, 5, 40, 0);
    json_t *document = document_from(1, 1);
    must_stand(document, "Enforcement", "MISSING");
    json_decref(document);
}

Test(evidence, says_when_an_enforcement_point_could_not_end_a_session)
{
    export_fixture_grant(&fixture, 1);
    revoke_at_point(1, 5, 40, RECEIPT_FAILED);
    json_t *document = document_from(1, 1);
    must_stand(document, "Enforcement", "MISSING");
    cr_assert_str_eq(audit_text(json_array_get(audit_member(document, "enforcement.receipts"), 0), "level"), "FAILED");
    json_decref(document);
}

Test(evidence, needs_no_receipts_where_nobody_enforces)
{
    export_fixture_grant(&fixture, 1);
    export_fixture_do(&fixture, fixture_about(COMMAND_REVOKE, 1, "user:ops"));
    json_t *document = document_from(1, 1);
    must_stand(document, "Enforcement", "NOT_NEEDED");
    cr_assert(json_is_true(audit_member(document, "complete")));
    json_decref(document);
}

/* Who was registered stands in earlier records. */
Test(evidence, claims_nothing_about_points_when_the_records_begin_later)
{
    export_fixture_grant(&fixture, 1);
    uint64_t from = fixture.n - 2;
    export_fixture_do(&fixture, fixture_about(COMMAND_REVOKE, 1, "user:ops"));
    json_t *document = document_from(1, from);
    must_stand(document, "Enforcement", "MISSING");
    json_decref(document);
    struct evidence *evidence = gather(1, from);
    evidence_barrier(evidence,
                     &(struct lapse_barrier){.id = fixture.n, .grant_id = grant_text(1), .points = 0, .done = true});
    document = evidence_document(evidence, &proof, fixture.now_ms);
    must_stand(document, "Enforcement", "NOT_NEEDED");
    json_decref(document);
    evidence_free(evidence);
}

static void must_stand_with(const struct lapse_barrier *barrier, uint64_t from, const char *as)
{
    struct evidence *evidence = gather(1, from);
    evidence_barrier(evidence, barrier);
    json_t *document = evidence_document(evidence, &proof, fixture.now_ms);
    must_stand(document, "Enforcement", as);
    cr_assert_eq(json_is_true(audit_member(document, "complete")), strcmp(as, "NOT_NEEDED") == 0);
    json_decref(document);
    evidence_free(evidence);
}

/* What a node says is not what the records prove. */
Test(evidence, does_not_take_a_nodes_word_for_receipts)
{
    export_fixture_grant(&fixture, 1);
    uint64_t later = fixture.n - 2;
    revoke_at_point(1, 5, 40, 0);
    struct lapse_barrier said = {.id = fixture.n, .grant_id = grant_text(1), .points = 2, .enforced = 2, .done = true};
    must_stand_with(&said, 1, "OPEN");
    said.points = said.enforced = 0;
    must_stand_with(&said, 1, "MISSING");
    said.untracked = true;
    must_stand_with(&said, later, "MISSING");
    said = (struct lapse_barrier){.id = fixture.n, .grant_id = "another one", .done = true};
    must_stand_with(&said, later, "MISSING");
}

Test(evidence, finds_the_revocation_of_many_that_ended_it)
{
    struct command sweep = {
        .type = COMMAND_REVOKE_MATCHING, .principal = slice_str("user:ops"), .text = slice_str("left")};
    sweep.filter.subject = slice_str("user:dev1");
    export_fixture_grant(&fixture, 1);
    export_fixture_grant(&fixture, 2);
    export_fixture_do(&fixture, fixture_register("edge-5", 5, "db/*"));
    uint64_t barrier = export_fixture_do(&fixture, sweep).revision;
    fixture.now_ms += 25;
    for (uint64_t revision = 1; revision <= fixture.n; revision++) {
        json_t *event = export_fixture_event(&fixture, revision);
        if (strcmp(audit_text(event, "type"), "SWEEP_BEGAN") == 0)
            barrier = (uint64_t)audit_number(event, "sweep.id");
        json_decref(event);
    }
    export_fixture_do(&fixture, fixture_receipt(barrier, 5, RECEIPT_ENFORCED, fixture.now_ms));
    json_t *document = document_from(2, 1);
    must_stand(document, "Enforcement", "PRESENT");
    cr_assert_eq(json_array_size(audit_member(document, "enforcement.receipts")), 1u);
    json_decref(document);
}

Test(evidence, tells_sessions_and_which_outlived_the_grant)
{
    export_fixture_grant(&fixture, 1);
    export_fixture_do(&fixture, fixture_register("edge-5", 5, "db/*"));
    export_fixture_do(&fixture, session(COMMAND_SESSION_BEGIN, 1, 5));
    export_fixture_do(&fixture, fixture_about(COMMAND_COMPLETE, 1, "user:dev1"));
    json_t *document = document_from(1, 1);
    must_stand(document, "Sessions", "MISSING");
    json_decref(document);
    fixture.now_ms += 700;
    export_fixture_do(&fixture, session(COMMAND_SESSION_END, 1, 5));
    document = document_from(1, 1);
    const json_t *told = json_array_get(audit_member(document, "sessions"), 0);
    must_stand(document, "Sessions", "PRESENT");
    cr_assert_eq(audit_number(told, "after_end_ms"), 700);
    cr_assert_str_eq(audit_text(told, "description"), "psql from 10.2.0.9");
    json_decref(document);
}

Test(evidence, misses_a_request_that_is_not_among_the_records)
{
    export_fixture_grant(&fixture, 1);
    json_t *document = document_from(1, fixture.n);
    must_stand(document, "Request", "MISSING");
    must_stand(document, "Decision", "MISSING");
    json_decref(document);
}

Test(evidence, knows_nothing_of_a_grant_that_is_not_there)
{
    struct evidence *evidence = gather(77, 1);
    cr_assert(!evidence_found(evidence));
    cr_assert_eq(evidence_first(evidence), 0u);
    evidence_free(evidence);
}

Test(evidence, is_not_complete_when_the_chain_is_not_verified)
{
    static const struct evidence_proof none = {false, "no keys were given", "test", 1, 0, 0, 0};
    export_fixture_grant(&fixture, 1);
    export_fixture_do(&fixture, fixture_about(COMMAND_REVOKE, 1, "user:ops"));
    struct evidence *evidence = gather(1, 1);
    json_t *document = evidence_document(evidence, &none, fixture.now_ms);
    must_stand(document, "Chain", "MISSING");
    cr_assert(json_is_false(audit_member(document, "complete")));
    json_decref(document);
    evidence_free(evidence);
}

/* ---- Pages */

static char *printed(void (*print)(FILE *out, const json_t *document), const json_t *document)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    print(out, document);
    fclose(out);
    return text;
}

static char *escaped(const char *raw)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    html_text(out, raw);
    fclose(out);
    return text;
}

Test(html, escapes_what_html_gives_a_meaning_and_shows_what_hides)
{
    static const struct {
        const char *raw, *shown;
    } cases[] = {
        {"<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"},
        {"a & \"b\" 'c'", "a &amp; &quot;b&quot; &#39;c&#39;"},
        {"two\nlines", "two<br>lines"},
        {"\x1b[2J", "\\u{1b}[2J"},
        {"\xC2\x9B", "\\u{9b}"},
        {"abc\xE2\x80\xAE"
         "fed",
         "abc\\u{202e}fed"},
        {"grün", "grün"},
        {"\xFF\xFE", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"cut \xE2\x80", "cut \xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xF0\x9F\x94\x92", "\xF0\x9F\x94\x92"},
        {"\xC0\xBC", "\xEF\xBF\xBD\xEF\xBF\xBD"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *text = escaped(cases[i].raw);
        cr_assert_str_eq(text, cases[i].shown);
        free(text);
    }
}

static const char hostile[] = "\"><script>alert(document.domain)</script><img src=x onerror=alert(1)>";

static void must_be_harmless(const char *page)
{
    static const char *const banned[] = {
        "<script", "<img", "<link", "http:", "https:", "@import", "javascript:", " onerror=alert(1)>"};
    for (size_t i = 0; i < sizeof banned / sizeof banned[0]; i++)
        cr_assert_null(strstr(page, banned[i]), "the page has %s", banned[i]);
}

Test(evidence, makes_a_page_that_loads_and_runs_nothing_whatever_people_write)
{
    struct command request = fixture_request(1);
    request.terms.justification = slice_str(hostile);
    request.terms.ticket = slice_str("<b>T</b>");
    export_fixture_do(&fixture, request);
    export_fixture_do(&fixture, fixture_about(COMMAND_APPROVE, 1, "user:app1"));
    revoke_at_point(1, 5, 12, RECEIPT_FAILED);
    json_t *document = document_from(1, 1);
    char *page = printed(evidence_print_html, document);
    must_be_harmless(page);
    cr_assert_not_null(strstr(page, "&lt;script&gt;alert(document.domain)"));
    cr_assert_not_null(strstr(page, "a shell does not end"));
    free(page);
    json_decref(document);
}

/* ---- Reports */

static json_t *report_of(int64_t from_ms, int64_t to_ms, uint64_t from)
{
    struct report *report = report_new(from_ms, to_ms, from == 1);
    for (uint64_t revision = from; revision <= fixture.n; revision++) {
        struct lapse_audit_record record = export_fixture_record(&fixture, revision);
        json_t *event = export_fixture_event(&fixture, revision);
        report_add(report, &record, event);
        json_decref(event);
    }
    json_t *document = report_document(report, "test", "verified", fixture.now_ms);
    report_free(report);
    return document;
}

static void must_count(const json_t *document, const char *name, int64_t number)
{
    cr_assert_eq(audit_number(audit_member(document, "counts"), name), number, "%s is %lld", name,
                 (long long)audit_number(audit_member(document, "counts"), name));
}

Test(report, counts_what_happened_in_the_period)
{
    export_fixture_grant(&fixture, 1);
    int64_t middle = fixture.now_ms;
    export_fixture_grant(&fixture, 2);
    export_fixture_do(&fixture, fixture_request(3));
    export_fixture_do(&fixture, fixture_about(COMMAND_DENY, 3, "user:app1"));
    export_fixture_do(&fixture, fixture_about(COMMAND_REVOKE, 2, "user:ops"));
    json_t *document = report_of(0, INT64_MAX, 1);
    must_count(document, "requested", 3);
    must_count(document, "activated", 2);
    must_count(document, "denied", 1);
    must_count(document, "revoked", 1);
    must_count(document, "role_changes", 5);
    cr_assert_eq(audit_number(json_array_get(audit_member(document, "by_resource"), 0), "requested"), 3);
    cr_assert_str_eq(audit_text(json_array_get(audit_member(document, "by_resource"), 0), "name"), "db/prod");
    cr_assert_str_eq(audit_text(json_array_get(audit_member(document, "by_rule"), 0), "name"), "built-in rule");
    cr_assert_eq(audit_number(document, "standing.live_grants"), 1);
    json_decref(document);
    document = report_of(middle, INT64_MAX, 1);
    must_count(document, "requested", 2);
    must_count(document, "role_changes", 0);
    cr_assert_eq(json_array_size(audit_member(document, "standing.roles")), 5u, "what stands is known from before");
    json_decref(document);
    document = report_of(0, middle, 1);
    must_count(document, "requested", 1);
    must_count(document, "revoked", 0);
    json_decref(document);
}

Test(report, measures_how_long_access_lasts)
{
    export_fixture_grant(&fixture, 1); /* begins a second before */
    fixture.now_ms += 9000;
    export_fixture_do(&fixture, fixture_about(COMMAND_COMPLETE, 1, "user:dev1"));
    json_t *document = report_of(0, INT64_MAX, 1);
    cr_assert_eq(audit_number(document, "durations.count"), 1);
    cr_assert_eq(audit_number(document, "durations.p50_ms"), 10000);
    cr_assert_eq(audit_number(json_array_get(audit_member(document, "durations.histogram"), 0), "count"), 1);
    json_decref(document);
}

Test(report, measures_how_fast_revocations_reach_the_points)
{
    for (uint64_t number = 1; number <= 4; number++) {
        export_fixture_grant(&fixture, number);
        uint64_t barrier = revoke_at_point(number, number, (int64_t)(10 * number), RECEIPT_ENFORCED);
        for (uint64_t earlier = 1; earlier < number; earlier++)
            export_fixture_do(&fixture, fixture_receipt(barrier, earlier, RECEIPT_ENFORCED, fixture.now_ms));
    }
    json_t *document = report_of(0, INT64_MAX, 1);
    cr_assert_eq(audit_number(document, "revocation_to_last_point.count"), 4);
    cr_assert_eq(audit_number(document, "revocation_to_last_point.p50_ms"), 20);
    cr_assert_eq(audit_number(document, "revocation_to_last_point.max_ms"), 40);
    cr_assert_eq(audit_number(document, "revocation_to_each_point.count"), 10);
    cr_assert_float_eq(json_real_value(audit_member(document, "evidence.share_percent")), 100.0, 0.01);
    json_decref(document);
}

Test(report, names_grants_with_incomplete_evidence)
{
    export_fixture_grant(&fixture, 1);
    export_fixture_grant(&fixture, 2);
    revoke_at_point(1, 5, 10, 0);
    export_fixture_do(&fixture, fixture_about(COMMAND_COMPLETE, 2, "user:dev1"));
    json_t *document = report_of(0, INT64_MAX, 1);
    cr_assert_eq(audit_number(document, "evidence.ended"), 2);
    cr_assert_eq(audit_number(document, "evidence.complete"), 1);
    const json_t *incomplete = json_array_get(audit_member(document, "evidence.incomplete"), 0);
    cr_assert_str_eq(audit_text(incomplete, "grant"), grant_text(1));
    cr_assert_str_eq(audit_text(incomplete, "missing"), "receipts of enforcement points");
    json_decref(document);
}

Test(report, names_sessions_that_outlived_their_grant)
{
    export_fixture_grant(&fixture, 1);
    export_fixture_do(&fixture, fixture_register("edge-5", 5, "db/*"));
    export_fixture_do(&fixture, session(COMMAND_SESSION_BEGIN, 1, 5));
    export_fixture_do(&fixture, fixture_about(COMMAND_COMPLETE, 1, "user:dev1"));
    fixture.now_ms += 5000;
    export_fixture_do(&fixture, session(COMMAND_SESSION_END, 1, 5));
    json_t *document = report_of(0, INT64_MAX, 1);
    must_count(document, "sessions", 1);
    must_count(document, "outlived_grant", 1);
    must_count(document, "without_owner", 0);
    cr_assert_eq(json_array_size(audit_member(document, "odd_sessions")), 1u);
    json_decref(document);
}

/* An event as a node would have encoded it, where the store itself would never let it come to that. */
static void add_odd(struct report *report, const char *json)
{
    struct lapse_audit_record record = {.epoch = 7, .revision = 1};
    json_t *event = json_loads(json, 0, NULL);
    cr_assert_not_null(event);
    report_add(report, &record, event);
    json_decref(event);
}

Test(report, counts_sessions_without_a_reason_or_an_owner)
{
    struct report *report = report_new(0, INT64_MAX, true);
    add_odd(report, "{\"type\":\"REQUESTED\",\"revision\":1,\"time_ms\":5,\"grant\":{\"id\":\"A\"}}");
    add_odd(report,
            "{\"type\":\"SESSION_BEGAN\",\"revision\":2,\"time_ms\":6,\"session\":{\"id\":\"1\",\"grant_id\":\"A\"}}");
    add_odd(report,
            "{\"type\":\"SESSION_BEGAN\",\"revision\":3,\"time_ms\":7,\"session\":{\"id\":\"2\",\"grant_id\":\"B\"}}");
    json_t *document = report_document(report, "test", "verified", 9);
    must_count(document, "without_reason", 1);
    must_count(document, "without_owner", 1);
    json_decref(document);
    report_free(report);
}

/* What can't be known is no evidence: a share of 100 % must mean something. */
Test(report, calls_nothing_complete_that_its_records_can_not_show)
{
    export_fixture_grant(&fixture, 1);
    revoke_at_point(1, 5, 10, RECEIPT_FAILED);
    json_t *document = report_of(0, INT64_MAX, 1);
    cr_assert_eq(audit_number(document, "evidence.complete"), 0, "a session may still run");
    json_decref(document);
    export_fixture_grant(&fixture, 2);
    uint64_t from = fixture.n - 2;
    export_fixture_do(&fixture, fixture_about(COMMAND_REVOKE, 2, "user:ops"));
    document = report_of(0, INT64_MAX, from);
    cr_assert_eq(audit_number(document, "evidence.ended"), 1);
    cr_assert_eq(audit_number(document, "evidence.complete"), 0, "who had to confirm is not among the records");
    json_decref(document);
}

static void add_event(struct report *report, uint64_t revision, json_t *event)
{
    struct lapse_audit_record record = {.epoch = 1, .revision = revision};
    cr_assert_not_null(event);
    report_add(report, &record, event);
    json_decref(event);
}

static void must_be_complete(struct report *report, int expected, const char *when)
{
    json_t *document = report_document(report, "test", "verified", T0);
    cr_assert_eq(audit_number(document, "evidence.complete"), expected, "%s", when);
    json_decref(document);
}

static json_t *with(json_t *event, const char *member, json_t *value)
{
    json_object_set_new(json_object_get(event, "grant"), member, value);
    return event;
}

static json_t *by_rule(json_t *event)
{
    return with(with(event, "automatic", json_true()), "rule", json_string("short"));
}

Test(report, misses_a_break_glass_review_that_was_never_opened)
{
    struct report *report = report_new(0, INT64_MAX, true);
    add_event(report, 1, grant_event("REQUESTED", ""));
    add_event(report, 2, by_rule(with(grant_event("EXPIRED", "over"), "break_glass", json_true())));
    must_be_complete(report, 0, "no review");
    add_event(report, 3, json_pack("{s:s, s:{s:s}}", "type", "REVIEW_OPENED", "review", "name", "g1"));
    must_be_complete(report, 0, "it is open");
    add_event(report, 4, json_pack("{s:s, s:{s:s}}", "type", "REVIEW_CLOSED", "review", "name", "g1"));
    must_be_complete(report, 1, "it is closed");
    report_free(report);
}

/* A parent that ended by itself opened no barrier: nobody was asked about the child. */
Test(report, takes_no_confirmation_from_a_parent_that_asked_for_none)
{
    struct report *report = report_new(0, INT64_MAX, false);
    add_event(report, 1, by_rule(with(grant_event("REQUESTED", ""), "id", json_string("p"))));
    add_event(report, 2, by_rule(grant_event("REQUESTED", "")));
    add_event(report, 3, by_rule(with(grant_event("COMPLETED", "done"), "id", json_string("p"))));
    add_event(report, 4, by_rule(with(grant_event("REVOKED", "parent ended"), "parent", json_string("p"))));
    must_be_complete(report, 1, "the parent's is, the child's is not");
    report_free(report);
}

Test(report, blames_nobody_for_what_earlier_records_would_tell)
{
    struct report *report = report_new(0, INT64_MAX, false);
    add_odd(report,
            "{\"type\":\"SESSION_BEGAN\",\"revision\":3,\"time_ms\":7,\"session\":{\"id\":\"2\",\"grant_id\":\"B\"}}");
    json_t *document = report_document(report, "test", "verified", 9);
    must_count(document, "without_owner", 0);
    cr_assert(json_is_false(audit_member(document, "report.from_start")));
    json_decref(document);
    report_free(report);
}

Test(report, shows_standing_access)
{
    struct report *report = report_new(0, INT64_MAX, true);
    char text[400];
    add_odd(report, "{\"type\":\"ROLES_CHANGED\",\"revision\":1,\"time_ms\":1,\"roles\":{\"member\":\"user:*\","
                    "\"roles\":[\"requester\"]}}");
    add_odd(report, "{\"type\":\"ELIGIBILITY_PUT\",\"revision\":2,\"time_ms\":1,\"eligibility\":{\"name\":\"e\","
                    "\"member\":\"user:a\",\"resources\":[\"db/*\"]}}");
    add_odd(report, "{\"type\":\"LOCKED\",\"revision\":3,\"time_ms\":1,\"lock\":{\"name\":\"subject:user:b\",\"kind\":"
                    "\"SUBJECT\"}}");
    add_odd(report, "{\"type\":\"OFFBOARDED\",\"revision\":4,\"time_ms\":1,\"actor\":\"user:ops\",\"roles\":{"
                    "\"member\":\"user:b\"}}");
    add_odd(report, "{\"type\":\"REVIEW_OPENED\",\"revision\":5,\"time_ms\":1,\"review\":{\"name\":\"G\"}}");
    add_odd(report, "{\"type\":\"REVIEW_OPENED\",\"revision\":6,\"time_ms\":1,\"review\":{\"name\":\"H\"}}");
    add_odd(report, "{\"type\":\"REVIEW_CLOSED\",\"revision\":7,\"time_ms\":2,\"review\":{\"name\":\"H\",\"verdict\":"
                    "\"MISUSED\",\"closed_ms\":2}}");
    for (int i = 0; i < 3; i++) { /* three of an hour each, a minute apart, then one for nine hours */
        snprintf(text, sizeof text,
                 "{\"type\":\"ACTIVATED\",\"revision\":1,\"time_ms\":%d,\"grant\":{\"id\":\"g%d\",\"subject\":\"user:"
                 "a\",\"resource\":\"db/x/y\",\"activated_ms\":%d}}",
                 1000 + i * 3660000, i, 1000 + i * 3660000);
        add_odd(report, text);
        snprintf(text, sizeof text,
                 "{\"type\":\"EXPIRED\",\"revision\":1,\"time_ms\":%d,\"grant\":{\"id\":\"g%d\",\"subject\":\"user:a\","
                 "\"resource\":\"db/x/y\",\"activated_ms\":%d,\"ended_ms\":1}}",
                 1000 + i * 3660000 + 3600000, i, 1000 + i * 3660000);
        add_odd(report, text);
    }
    add_odd(report,
            "{\"type\":\"ACTIVATED\",\"revision\":1,\"time_ms\":20000000,\"grant\":{\"id\":\"long\",\"subject\":\"user:"
            "c\",\"resource\":\"db/x/y\",\"activated_ms\":20000000,\"deadline_ms\":52400001}}");
    json_t *document = report_document(report, "test", "verified", 9);
    cr_assert(json_is_true(audit_member(json_array_get(audit_member(document, "standing.roles"), 0), "wide")));
    cr_assert(json_is_true(audit_member(json_array_get(audit_member(document, "standing.eligibility"), 0), "wide")));
    cr_assert_eq(json_array_size(audit_member(document, "standing.long_grants")), 1u);
    cr_assert_eq(audit_number(json_array_get(audit_member(document, "standing.renewed"), 0), "grants"), 3);
    cr_assert_eq(json_array_size(audit_member(document, "locks")), 1u);
    cr_assert_eq(json_array_size(audit_member(document, "offboarded")), 1u);
    cr_assert_eq(json_array_size(audit_member(document, "reviews_open")), 1u);
    must_count(document, "misused", 1);
    char *page = printed(report_print_html, document);
    must_be_harmless(page);
    cr_assert_not_null(strstr(page, "subject:user:b"));
    free(page);
    json_decref(document);
    report_free(report);
}

Test(report, makes_percentiles_by_nearest_rank)
{
    static const int64_t sorted[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    cr_assert_eq(report_percentile(sorted, 10, 50), 5);
    cr_assert_eq(report_percentile(sorted, 10, 90), 9);
    cr_assert_eq(report_percentile(sorted, 10, 99), 10);
    cr_assert_eq(report_percentile(sorted, 10, 100), 10);
    cr_assert_eq(report_percentile(sorted, 1, 50), 1);
    cr_assert_eq(report_percentile(sorted, 0, 50), 0);
}

Test(report, of_no_records_is_empty)
{
    struct report *report = report_new(0, INT64_MAX, true);
    json_t *document = report_document(report, "test", "verified", 9);
    char *page = printed(report_print_html, document);
    cr_assert_eq(audit_number(document, "evidence.ended"), 0);
    cr_assert_not_null(strstr(page, "</html>"));
    free(page);
    json_decref(document);
    report_free(report);
}

/* ---- OCSF */

static json_t *ocsf_of(uint64_t revision)
{
    struct lapse_audit_record record = export_fixture_record(&fixture, revision);
    json_t *event = export_fixture_event(&fixture, revision), *ocsf = audit_ocsf("test", &record, event);
    json_decref(event);
    return ocsf;
}

Test(ocsf, gives_every_record_what_the_schema_requires)
{
    export_fixture_grant(&fixture, 1);
    export_fixture_do(&fixture, fixture_register("edge-5", 5, "db/*"));
    export_fixture_do(&fixture, session(COMMAND_SESSION_BEGIN, 1, 5));
    export_fixture_do(&fixture, fixture_about(COMMAND_REVOKE, 1, "user:ops"));
    for (uint64_t revision = 1; revision <= fixture.n; revision++) {
        static const char *const required[] = {"class_uid",        "category_uid",         "activity_id",
                                               "type_uid",         "severity_id",          "time",
                                               "metadata.version", "metadata.product.name"};
        json_t *ocsf = ocsf_of(revision);
        for (size_t i = 0; i < sizeof required / sizeof required[0]; i++)
            cr_assert_not_null(audit_member(ocsf, required[i]), "record %d lacks %s", (int)revision, required[i]);
        int64_t class_uid = audit_number(ocsf, "class_uid");
        cr_assert_eq(audit_number(ocsf, "type_uid"), class_uid * 100 + audit_number(ocsf, "activity_id"));
        cr_assert_not_null(audit_member(ocsf, class_uid == 3004 ? "entity" : "user"));
        json_decref(ocsf);
    }
}

Test(ocsf, says_who_got_and_lost_which_privileges)
{
    export_fixture_grant(&fixture, 1);
    json_t *ocsf = ocsf_of(fixture.n);
    cr_assert_eq(audit_number(ocsf, "type_uid"), 300501);
    cr_assert_str_eq(audit_text(ocsf, "user.name"), "user:dev1");
    cr_assert_str_eq(json_string_value(json_array_get(audit_member(ocsf, "privileges"), 0)), "read");
    cr_assert_str_eq(audit_text(json_array_get(audit_member(ocsf, "resources"), 0), "name"), "db/prod/orders");
    json_decref(ocsf);
    export_fixture_do(&fixture, fixture_about(COMMAND_REVOKE, 1, "user:ops"));
    ocsf = ocsf_of(fixture.n);
    cr_assert_eq(audit_number(ocsf, "type_uid"), 300502);
    cr_assert_str_eq(audit_text(ocsf, "actor.user.name"), "user:ops");
    json_decref(ocsf);
}

Test(ocsf, tells_locks_of_subjects_as_changes_of_accounts)
{
    static const struct {
        const char *event;
        int type_uid;
    } cases[] = {
        {"{\"type\":\"LOCKED\",\"lock\":{\"kind\":\"SUBJECT\",\"target\":\"user:a\",\"name\":\"n\"}}", 300109},
        {"{\"type\":\"UNLOCKED\",\"lock\":{\"kind\":\"SUBJECT\",\"target\":\"user:a\",\"name\":\"n\"}}", 300102},
        {"{\"type\":\"LOCKED\",\"lock\":{\"kind\":\"RESOURCE\",\"target\":\"db/*\",\"name\":\"n\"}}", 300401},
        {"{\"type\":\"OFFBOARDED\",\"roles\":{\"member\":\"user:a\"}}", 300105},
        {"{\"type\":\"ROLES_CHANGED\",\"roles\":{\"member\":\"user:a\"}}", 300504},
        {"{\"type\":\"OF_TOMORROW\"}", 300499},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lapse_audit_record record = {.epoch = 7, .revision = 1};
        json_t *event = json_loads(cases[i].event, 0, NULL), *ocsf = audit_ocsf("test", &record, event);
        cr_assert_eq(audit_number(ocsf, "type_uid"), cases[i].type_uid, "%s", cases[i].event);
        json_decref(event);
        json_decref(ocsf);
    }
}
