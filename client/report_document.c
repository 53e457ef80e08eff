/* The counts as a document; and the judgement, for each grant that ended in the period, whether its evidence is
 * complete. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "client/audit_clock.h"
#include "client/audit_event.h"
#include "client/audit_sweep.h"
#include "client/report_internal.h"

#define DEPTH_MAX 16 /* of grants under grants, for records that can't be trusted */
#define BUCKETS_MAX 48

/* ---- Complete evidence */

static bool is_swept(const struct report *report, const struct facts *facts)
{
    size_t i;
    json_t *id;
    json_array_foreach(facts->sweeps, i, id)
    {
        char key[32];
        snprintf(key, sizeof key, "%" PRId64, (int64_t)json_integer_value(id));
        if (json_object_get(report->swept, key) == NULL)
            return false;
    }
    return facts->sweeps != NULL;
}

/* By its own barrier, by those of all sweeps that may have ended it, or by that of the grant it ended with: in the same
 * command, if that was a single revocation. */
static bool is_confirmed(const struct report *report, const struct facts *facts, uint64_t by, int depth)
{
    if (facts->confirmed != 0 && by <= facts->confirmed)
        return true;
    if (is_swept(report, facts))
        return true;
    const struct facts *parent = report_find(report, audit_text(facts->grant, "parent"));
    return depth < DEPTH_MAX && parent != NULL && strcmp(audit_text(facts->grant, "reason"), AUDIT_PARENT_ENDED) == 0 &&
           is_confirmed(report, parent, by, depth + 1);
}

/* Who had to confirm isn't known to records that begin later: that is no evidence. */
static bool is_enforced(const struct report *report, const struct facts *facts)
{
    return facts->points == 0 || is_confirmed(report, facts, facts->ended_revision, 0);
}

static size_t approvals_needed(const json_t *grant)
{
    size_t i, needed = 0;
    json_t *step;
    json_array_foreach(audit_member(grant, "steps"), i, step) needed += (size_t)audit_number(step, "count");
    return needed == 0 ? 1 : needed;
}

static bool is_decided(const struct facts *facts)
{
    const json_t *grant = facts->grant;
    size_t have = json_array_size(audit_member(grant, "approvals"));
    if (audit_number(grant, "approved_ms") == 0)
        return true; /* it never gave access: nothing to show */
    if (json_is_true(audit_member(grant, "automatic")))
        return *audit_text(grant, "rule") != '\0';
    return have >= approvals_needed(grant) && facts->approvals_told >= have;
}

/* What is missing, or NULL. */
static const char *missing_of(const struct report *report, const struct facts *facts)
{
    const json_t *grant = facts->grant;
    if (!facts->requested)
        return "its request";
    if (*audit_text(grant, "justification") == '\0')
        return "a reason";
    if (!is_decided(facts))
        return "the records of its approval";
    if (facts->sessions_open > 0)
        return "the end of a session";
    if (!is_enforced(report, facts))
        return "receipts of enforcement points";
    if (json_is_true(audit_member(grant, "break_glass")) && audit_number(grant, "activated_ms") != 0 &&
        !facts->reviewed)
        return "the review of a break-glass access";
    return NULL;
}

static json_t *evidence_json(const struct report *report)
{
    json_t *incomplete = json_array(), *missing = json_object();
    int64_t ended = 0, complete = 0;
    for (size_t i = 0; i < report->n_facts; i++) {
        const struct facts *facts = &report->facts[i];
        if (facts->ended_ms == 0 || !report_in_period(report, facts->ended_ms))
            continue;
        const char *what = missing_of(report, facts);
        ended++;
        complete += what == NULL;
        if (what == NULL)
            continue;
        json_object_set_new(missing, what, json_integer(json_integer_value(json_object_get(missing, what)) + 1));
        if (json_array_size(incomplete) < REPORT_LIST)
            json_array_append_new(incomplete, json_pack("{s:s, s:s, s:s, s:s}", "grant", audit_text(facts->grant, "id"),
                                                        "subject", audit_text(facts->grant, "subject"), "resource",
                                                        audit_text(facts->grant, "resource"), "missing", what));
    }
    return json_pack("{s:I, s:I, s:f, s:o, s:o}", "ended", (json_int_t)ended, "complete", (json_int_t)complete,
                     "share_percent", ended == 0 ? 100.0 : 100.0 * (double)complete / (double)ended, "missing", missing,
                     "incomplete", incomplete);
}

/* ---- Numbers */

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

struct bound {
    int64_t below_ms;
    const char *label;
};

static const struct bound duration_bounds[] = {
    {300000, "< 5 min"},      {900000, "< 15 min"},      {3600000, "< 1 h"},        {4 * 3600000LL, "< 4 h"},
    {8 * 3600000LL, "< 8 h"}, {24 * 3600000LL, "< 1 d"}, {7 * 86400000LL, "< 7 d"}, {INT64_MAX, "7 d and more"}};
static const struct bound latency_bounds[] = {{10, "< 10 ms"},   {25, "< 25 ms"},   {50, "< 50 ms"},
                                              {100, "< 100 ms"}, {250, "< 250 ms"}, {1000, "< 1 s"},
                                              {3000, "< 3 s"},   {10000, "< 10 s"}, {INT64_MAX, "10 s and more"}};

static json_t *histogram(const struct numbers *numbers, const struct bound *bounds, size_t n)
{
    json_t *array = json_array();
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        json_int_t count = 0;
        for (; at < numbers->n && numbers->values[at] < bounds[i].below_ms; at++)
            count++;
        json_array_append_new(array, json_pack("{s:s, s:I}", "label", bounds[i].label, "count", count));
    }
    return array;
}

/* Sorts. */
static json_t *numbers_json(struct numbers *numbers, const struct bound *bounds, size_t n)
{
    if (numbers->n > 0)
        qsort(numbers->values, numbers->n, sizeof *numbers->values, compare);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "count", (json_int_t)numbers->n, "p50_ms",
                     (json_int_t)report_percentile(numbers->values, numbers->n, 50), "p90_ms",
                     (json_int_t)report_percentile(numbers->values, numbers->n, 90), "p99_ms",
                     (json_int_t)report_percentile(numbers->values, numbers->n, 99), "max_ms",
                     (json_int_t)report_percentile(numbers->values, numbers->n, 100), "histogram",
                     histogram(numbers, bounds, n));
}

/* How often in each hour, day, ... of the period: the finest of these that gives few enough. */
static json_t *activity_json(const struct report *report, int64_t from_ms, int64_t to_ms)
{
    static const int64_t steps[] = {60000,      600000,         3600000,         6 * 3600000LL,
                                    86400000LL, 7 * 86400000LL, 30 * 86400000LL, 365 * 86400000LL};
    size_t i = 0;
    json_t *array = json_array();
    while (i + 1 < ARRAY_LEN(steps) && (to_ms - from_ms) / steps[i] >= BUCKETS_MAX)
        i++;
    for (int64_t at = from_ms - from_ms % steps[i]; at < to_ms && json_array_size(array) <= BUCKETS_MAX;
         at += steps[i]) {
        json_int_t began = 0, revoked = 0;
        for (size_t j = 0; j < report->began.n; j++)
            began += report->began.values[j] >= at && report->began.values[j] < at + steps[i];
        for (size_t j = 0; j < report->revoked.n; j++)
            revoked += report->revoked.values[j] >= at && report->revoked.values[j] < at + steps[i];
        json_array_append_new(array, json_pack("{s:I, s:I, s:I, s:I}", "from_ms", (json_int_t)at, "step_ms",
                                               (json_int_t)steps[i], "began", began, "revoked", revoked));
    }
    return array;
}

/* ---- Rows */

struct row {
    const char *key;
    json_t *counts;
    int64_t rank;
};

static int compare_rows(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return x->rank != y->rank ? (x->rank < y->rank) - (x->rank > y->rank) : strcmp(x->key, y->key);
}

/* The rows of a table of counts, the greatest `by` first. */
static json_t *rows_json(json_t *table, const char *by)
{
    size_t n = json_object_size(table), at = 0;
    struct row *rows = mem_calloc(n + 1, sizeof *rows);
    json_t *array = json_array(), *counts;
    const char *key;
    json_object_foreach(table, key, counts) rows[at++] = (struct row){key, counts, audit_number(counts, by)};
    qsort(rows, n, sizeof *rows, compare_rows);
    for (size_t i = 0; i < n && i < REPORT_LIST; i++) {
        json_t *row = json_pack("{s:s}", "name", rows[i].key);
        json_object_update(row, rows[i].counts);
        json_array_append_new(array, row);
    }
    free(rows);
    return array;
}

/* ---- Standing access */

static bool is_wide_resource(const char *resource)
{
    const char *slash = strchr(resource, '/');
    return strcmp(resource, "*") == 0 || (slash != NULL && strcmp(slash, "/*") == 0);
}

static bool is_wide_member(const char *member)
{
    size_t len = strlen(member);
    return len > 0 && member[len - 1] == '*';
}

static json_t *roles_json(const struct report *report)
{
    json_t *array = json_array(), *roles;
    const char *member;
    json_object_foreach(report->roles, member, roles)
    {
        json_t *row = json_deep_copy(roles);
        json_object_set_new(row, "wide", json_boolean(is_wide_member(member)));
        json_array_append_new(array, row);
    }
    return array;
}

static bool is_wide_eligibility(const json_t *eligibility)
{
    const json_t *resources = audit_member(eligibility, "resources");
    size_t i;
    json_t *resource;
    json_array_foreach(resources, i, resource) if (is_wide_resource(json_string_value(resource))) return true;
    return is_wide_member(audit_text(eligibility, "member"));
}

static json_t *eligibility_json(const struct report *report)
{
    json_t *array = json_array(), *eligibility;
    const char *name;
    json_object_foreach(report->eligibility, name, eligibility)
    {
        json_t *row = json_deep_copy(eligibility);
        json_object_set_new(row, "wide", json_boolean(is_wide_eligibility(eligibility)));
        json_object_set_new(row, "never_used", json_boolean(audit_number(eligibility, "used_ms") == 0));
        json_array_append_new(array, row);
    }
    return array;
}

/* Live at the end, and for longer than a working day. */
static json_t *long_grants_json(const struct report *report, int64_t end_ms, json_int_t *live)
{
    json_t *array = json_array();
    for (size_t i = 0; i < report->n_facts; i++) {
        const json_t *grant = report->facts[i].grant;
        int64_t began = audit_number(grant, "activated_ms"), deadline = audit_number(grant, "deadline_ms");
        if (report->facts[i].ended_ms != 0 || began == 0 || deadline <= end_ms)
            continue;
        ++*live;
        if ((deadline - began > REPORT_LONG_MS || is_wide_resource(audit_text(grant, "resource"))) &&
            json_array_size(array) < REPORT_LIST)
            json_array_append_new(array,
                                  json_pack("{s:s, s:s, s:s, s:I, s:I}", "grant", audit_text(grant, "id"), "subject",
                                            audit_text(grant, "subject"), "resource", audit_text(grant, "resource"),
                                            "began_ms", (json_int_t)began, "deadline_ms", (json_int_t)deadline));
    }
    return array;
}

static json_t *renewals_json(const struct report *report)
{
    json_t *array = json_array(), *renewal;
    const char *key;
    json_object_foreach(report->renewals, key, renewal)
    {
        if (audit_number(renewal, "longest") >= REPORT_RENEWALS && json_array_size(array) < REPORT_LIST)
            json_array_append_new(
                array, json_pack("{s:s, s:I}", "access", key, "grants", (json_int_t)audit_number(renewal, "longest")));
    }
    return array;
}

static json_t *standing_json(const struct report *report, int64_t end_ms)
{
    json_int_t live = 0;
    json_t *grants = long_grants_json(report, end_ms, &live);
    return json_pack("{s:o, s:o, s:I, s:o, s:o}", "roles", roles_json(report), "eligibility", eligibility_json(report),
                     "live_grants", live, "long_grants", grants, "renewed", renewals_json(report));
}

/* ---- The document */

static json_t *values_of(const json_t *table)
{
    json_t *array = json_array(), *value;
    const char *key;
    json_object_foreach((json_t *)(uintptr_t)table, key, value) if (json_array_size(array) < REPORT_LIST)
        json_array_append(array, value);
    return array;
}

static json_t *period_json(const struct report *report, const char *cluster, const char *proof, int64_t from_ms,
                           int64_t to_ms, int64_t made_ms)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:s}", "cluster", cluster, "from_ms",
                     (json_int_t)from_ms, "to_ms", (json_int_t)to_ms, "made_ms", (json_int_t)made_ms, "records",
                     (json_int_t)report->records, "first_revision", (json_int_t)report->first, "last_revision",
                     (json_int_t)report->last, "from_start", report->from_start, "proof", proof);
}

json_t *report_document(struct report *report, const char *cluster, const char *proof, int64_t made_ms)
{
    int64_t from_ms = report->from_ms > report->first_ms ? report->from_ms : report->first_ms;
    int64_t to_ms = report->to_ms == INT64_MAX ? report->last_ms + 1 : report->to_ms;
    json_t *document = json_pack(
        "{s:o, s:O, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:O, s:o, s:o, s:o, s:O, s:O}", "report",
        period_json(report, cluster, proof, from_ms, to_ms, made_ms), "counts", report->counts, "by_rule",
        rows_json(report->by_rule, "requested"), "by_resource", rows_json(report->by_resource, "requested"),
        "durations", numbers_json(&report->durations, duration_bounds, ARRAY_LEN(duration_bounds)), "evidence",
        evidence_json(report), "revocation_to_last_point",
        numbers_json(&report->barriers, latency_bounds, ARRAY_LEN(latency_bounds)), "revocation_to_each_point",
        numbers_json(&report->receipts, latency_bounds, ARRAY_LEN(latency_bounds)), "activity",
        activity_json(report, from_ms, to_ms), "odd_sessions", report->odd_sessions, "standing",
        standing_json(report, to_ms), "locks", values_of(report->locks), "reviews_open", values_of(report->reviews),
        "misused", report->misused, "offboarded", report->offboarded);
    CHECK(document != NULL);
    return document;
}
