#include "client/report_gather.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "client/audit_event.h"
#include "client/audit_sweep.h"
#include "client/report_internal.h"
#include "store/grant.h"

struct report *report_new(int64_t from_ms, int64_t to_ms, bool from_start)
{
    struct report *report = mem_calloc(1, sizeof *report);
    json_t **const objects[] = {&report->counts,   &report->by_id,         &report->by_rule,  &report->by_resource,
                                &report->renewals, &report->points,        &report->sweeps,   &report->swept,
                                &report->roles,    &report->eligibility,   &report->locks,    &report->reviews,
                                &report->sessions, &report->open_receipts, &report->campaigns};
    for (size_t i = 0; i < ARRAY_LEN(objects); i++)
        *objects[i] = json_object();
    report->odd_sessions = json_array();
    report->offboarded = json_array();
    report->misused = json_array();
    report->from_ms = from_ms;
    report->to_ms = to_ms;
    report->from_start = from_start;
    return report;
}

void report_free(struct report *report)
{
    if (report == NULL)
        return;
    json_t *const all[] = {report->counts,     report->by_id,         report->by_rule,   report->by_resource,
                           report->renewals,   report->points,        report->sweeps,    report->swept,
                           report->roles,      report->eligibility,   report->locks,     report->reviews,
                           report->sessions,   report->open_receipts, report->campaigns, report->odd_sessions,
                           report->offboarded, report->misused};
    struct numbers *const numbers[] = {&report->durations, &report->barriers, &report->receipts, &report->began,
                                       &report->revoked};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        json_decref(all[i]);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        free(numbers[i]->values);
    for (size_t i = 0; i < report->n_facts; i++) {
        json_decref(report->facts[i].grant);
        json_decref(report->facts[i].sweeps);
    }
    free(report->facts);
    free(report);
}

bool report_in_period(const struct report *report, int64_t time_ms)
{
    return time_ms >= report->from_ms && time_ms < report->to_ms;
}

static void number_add(struct numbers *numbers, int64_t value)
{
    if (numbers->n == numbers->capacity) {
        numbers->capacity = numbers->capacity == 0 ? 64 : numbers->capacity * 2;
        numbers->values = mem_realloc(numbers->values, numbers->capacity * sizeof *numbers->values);
    }
    numbers->values[numbers->n++] = value;
}

static void count_in(json_t *counts, const char *name)
{
    json_object_set_new(counts, name, json_integer(audit_number(counts, name) + 1));
}

/* Only what happens in the period is counted. */
static void count(struct report *report, const json_t *event, const char *name)
{
    if (report_in_period(report, audit_number(event, "time_ms")))
        count_in(report->counts, name);
}

/* ---- Grants */

struct facts *report_find(const struct report *report, const char *grant_id)
{
    const json_t *place = json_object_get(report->by_id, grant_id);
    return place == NULL ? NULL : &report->facts[json_integer_value(place)];
}

static struct facts *facts_of(struct report *report, const char *grant_id)
{
    struct facts *facts = report_find(report, grant_id);
    if (facts != NULL)
        return facts;
    if (report->n_facts == report->capacity) {
        report->capacity = report->capacity == 0 ? 64 : report->capacity * 2;
        report->facts = mem_realloc(report->facts, report->capacity * sizeof *report->facts);
    }
    json_object_set_new(report->by_id, grant_id, json_integer((json_int_t)report->n_facts));
    facts = &report->facts[report->n_facts++];
    *facts = (struct facts){.points = POINTS_UNKNOWN};
    return facts;
}

static json_t *row_of(json_t *rows, const char *key)
{
    json_t *row = json_object_get(rows, key);
    if (row == NULL) {
        row = json_object();
        json_object_set_new(rows, key, row);
    }
    return row;
}

/* "db/prod" of "db/prod/orders/4711". */
static void first_parts(const char *resource, char out[LAPSE_ERROR_MESSAGE_SIZE])
{
    size_t len = strcspn(resource, "/");
    if (resource[len] == '/')
        len += 1 + strcspn(resource + len + 1, "/");
    snprintf(out, LAPSE_ERROR_MESSAGE_SIZE, "%.*s", (int)len, resource);
}

static void count_kinds(struct report *report, const json_t *event, const char *name)
{
    char key[512];
    const json_t *grant = audit_member(event, "grant");
    const char *policy = audit_text(grant, "policy");
    if (!report_in_period(report, audit_number(event, "time_ms")))
        return;
    if (*policy == '\0')
        snprintf(key, sizeof key, "built-in rule");
    else
        snprintf(key, sizeof key, "%s / %s", policy, audit_text(grant, "rule"));
    count_in(row_of(report->by_rule, key), name);
    first_parts(audit_text(grant, "resource"), key);
    count_in(row_of(report->by_resource, key), name);
}

static json_t *renewal_of(struct report *report, const json_t *grant)
{
    char key[1200];
    snprintf(key, sizeof key, "%s %s", audit_text(grant, "subject"), audit_text(grant, "resource"));
    return row_of(report->renewals, key);
}

static void note_begin(struct report *report, struct facts *facts, const json_t *event)
{
    int64_t time_ms = audit_number(event, "time_ms");
    json_t *renewal = renewal_of(report, facts->grant);
    int64_t ended = audit_number(renewal, "ended_ms"), chain = audit_number(renewal, "chain");
    chain = ended != 0 && time_ms - ended <= REPORT_RENEWAL_GAP_MS ? chain + 1 : 1;
    json_object_set_new(renewal, "chain", json_integer(chain));
    if (report_in_period(report, time_ms)) {
        facts->activated_in_period = true;
        number_add(&report->began, time_ms);
        if (chain > audit_number(renewal, "longest"))
            json_object_set_new(renewal, "longest", json_integer(chain));
    }
    count_kinds(report, event, "activated");
}

static json_t *sweeps_that_may_have_ended(const struct report *report, const json_t *grant)
{
    const char *id;
    json_t *sweep, *found = NULL;
    json_object_foreach(report->sweeps, id, sweep)
    {
        if (!audit_sweep_may_end(sweep, grant))
            continue;
        found = found == NULL ? json_array() : found;
        json_array_append(found, json_object_get(sweep, "id"));
    }
    return found;
}

static bool scope_has(const json_t *scope, const char *resource)
{
    size_t i;
    json_t *pattern;
    json_array_foreach(scope, i, pattern) if (resource_overlaps(slice_str(json_string_value(pattern)),
                                                                slice_str(resource))) return true;
    return false;
}

static int points_in_scope(const struct report *report, const char *resource)
{
    const char *instance;
    json_t *scope;
    int n = 0;
    if (!report->from_start)
        return POINTS_UNKNOWN;
    json_object_foreach(report->points, instance, scope) n += scope_has(scope, resource);
    return n;
}

static void note_end(struct report *report, struct facts *facts, uint64_t revision, const json_t *event)
{
    int64_t time_ms = audit_number(event, "time_ms"), began = audit_number(facts->grant, "activated_ms");
    bool revoked = strcmp(audit_text(event, "type"), "REVOKED") == 0;
    facts->ended_ms = time_ms;
    facts->ended_revision = revision;
    json_decref(facts->sweeps);
    facts->sweeps = revoked ? sweeps_that_may_have_ended(report, facts->grant) : NULL;
    facts->points = revoked && began != 0 ? points_in_scope(report, audit_text(facts->grant, "resource")) : 0;
    if (began != 0)
        json_object_set_new(renewal_of(report, facts->grant), "ended_ms", json_integer(time_ms));
    if (!report_in_period(report, time_ms))
        return;
    if (began != 0)
        number_add(&report->durations, time_ms - began);
    if (revoked)
        number_add(&report->revoked, time_ms);
    count_kinds(report, event, "ended");
}

static void count_request(struct report *report, const json_t *event)
{
    static const struct {
        const char *member, *name;
    } marks[] = {{"grant.automatic", "automatic"}, {"grant.held", "held"}, {"grant.break_glass", "break_glass"}};
    count(report, event, "requested");
    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        if (json_is_true(audit_member(event, marks[i].member)))
            count(report, event, marks[i].name);
    if (*audit_text(event, "grant.ticket") == '\0')
        count(report, event, "without_ticket");
    count_kinds(report, event, "requested");
}

static void take_grant(struct report *report, uint64_t revision, const json_t *event)
{
    static const char *const ends[] = {"expired", "revoked", "completed", "exhausted", "denied", "cancelled", "lapsed"};
    static const char *const types[] = {"EXPIRED", "REVOKED",   "COMPLETED", "EXHAUSTED",
                                        "DENIED",  "CANCELLED", "LAPSED"};
    const char *type = audit_text(event, "type");
    struct facts *facts = facts_of(report, audit_text(event, "grant.id"));
    json_decref(facts->grant);
    facts->grant = json_incref(audit_member(event, "grant"));
    facts->in_period = facts->in_period || report_in_period(report, audit_number(event, "time_ms"));
    if (strcmp(type, "REQUESTED") == 0) {
        facts->requested = true;
        count_request(report, event);
    } else if (strcmp(type, "APPROVED") == 0) {
        facts->approvals_told++;
        count(report, event, "approvals");
    } else if (strcmp(type, "ACTIVATED") == 0) {
        count(report, event, "activated");
        note_begin(report, facts, event);
    } else if (strcmp(type, "USED") == 0) {
        count(report, event, "uses");
    } else if (strcmp(type, "TOKEN_SET") == 0) {
        count(report, event, "tokens");
    }
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (strcmp(types[i], type) == 0) {
            count(report, event, ends[i]);
            note_end(report, facts, revision, event);
        }
}

/* ---- Sessions */

static void odd(struct report *report, const json_t *event, const char *what)
{
    const json_t *session = audit_member(event, "session");
    count(report, event, what);
    if (report_in_period(report, audit_number(event, "time_ms")) && json_array_size(report->odd_sessions) < REPORT_LIST)
        json_array_append_new(report->odd_sessions,
                              json_pack("{s:s, s:s, s:s, s:s, s:I}", "what", what, "point",
                                        audit_text(session, "point"), "grant", audit_text(session, "grant_id"),
                                        "description", audit_text(session, "description"), "time_ms",
                                        (json_int_t)audit_number(event, "time_ms")));
}

static void take_session(struct report *report, const json_t *event)
{
    struct facts *facts = report_find(report, audit_text(event, "session.grant_id"));
    char id[512]; /* points name their sessions themselves: one must not end another's */
    snprintf(id, sizeof id, "%s %s", audit_text(event, "session.id"), audit_text(event, "session.point"));
    if (strcmp(audit_text(event, "type"), "SESSION_BEGAN") == 0) {
        count(report, event, "sessions");
        json_object_set(report->sessions, id, audit_member(event, "session"));
        if (facts != NULL)
            facts->sessions_open++;
        if (facts == NULL && report->from_start)
            odd(report, event, "without_owner");
        else if (facts != NULL && *audit_text(facts->grant, "justification") == '\0')
            odd(report, event, "without_reason");
        return;
    }
    json_object_del(report->sessions, id);
    if (facts == NULL)
        return;
    facts->sessions_open -= facts->sessions_open > 0;
    if (facts->ended_ms != 0 && audit_number(event, "time_ms") > facts->ended_ms)
        odd(report, event, "outlived_grant");
}

/* ---- Enforcement */

static void take_receipts(struct report *report, const json_t *event)
{
    size_t i;
    json_t *receipt;
    json_array_foreach(audit_member(event, "receipts"), i, receipt)
    {
        char key[32];
        snprintf(key, sizeof key, "%" PRId64, audit_number(receipt, "barrier"));
        json_t *times = json_object_get(report->open_receipts, key);
        if (times == NULL) {
            times = json_array();
            json_object_set_new(report->open_receipts, key, times);
        }
        json_array_append_new(times, json_integer(audit_number(receipt, "time_ms")));
        count(report, event,
              strcmp(audit_text(receipt, "level"), "FAILED") == 0   ? "receipts_failed"
              : strcmp(audit_text(receipt, "level"), "LAPSED") == 0 ? "receipts_lapsed"
                                                                    : "receipts");
    }
}

static void take_enforced(struct report *report, const json_t *event)
{
    const json_t *barrier = audit_member(event, "barrier");
    struct facts *facts = report_find(report, audit_text(barrier, "grant_id"));
    int64_t began = audit_number(barrier, "time_ms");
    char key[32];
    size_t i;
    json_t *time;
    snprintf(key, sizeof key, "%" PRId64, audit_number(barrier, "id"));
    /* Where a point could not end a session something is missing. */
    if (audit_number(barrier, "failed") == 0 && facts != NULL)
        facts->confirmed = (uint64_t)audit_number(barrier, "id");
    else if (audit_number(barrier, "failed") == 0)
        json_object_set_new(report->swept, key, json_true());
    if (report_in_period(report, audit_number(event, "time_ms"))) {
        count(report, event, "enforced");
        number_add(&report->barriers, audit_number(barrier, "done_ms") - began);
        json_array_foreach(json_object_get(report->open_receipts, key), i, time)
            number_add(&report->receipts, json_integer_value(time) - began);
    }
    json_object_del(report->open_receipts, key);
}

static void take_point(struct report *report, const json_t *event)
{
    const char *type = audit_text(event, "type"), *instance = audit_text(event, "point.instance");
    if (strcmp(type, "POINT_REGISTERED") == 0)
        json_object_set(report->points, instance, audit_member(event, "point.scope"));
    else if (strcmp(type, "POINT_ENDED") == 0)
        json_object_del(report->points, instance);
}

static void take_sweep(struct report *report, const json_t *event)
{
    char key[32];
    snprintf(key, sizeof key, "%" PRId64, audit_number(event, "sweep.id"));
    if (strcmp(audit_text(event, "type"), "SWEEP_BEGAN") == 0) {
        json_object_set(report->sweeps, key, audit_member(event, "sweep"));
        count(report, event, "sweeps");
    } else {
        json_object_del(report->sweeps, key);
    }
}

/* ---- What stands */

static void take_standing(json_t *table, const json_t *event, const char *object, const char *end)
{
    const json_t *value = audit_member(event, object);
    const char *name = audit_text(value, "name");
    if (strcmp(audit_text(event, "type"), end) == 0)
        json_object_del(table, name);
    else
        json_object_set(table, name, (json_t *)(uintptr_t)value);
}

static void take_roles(struct report *report, const json_t *event)
{
    const char *member = audit_text(event, "roles.member");
    count(report, event, "role_changes");
    if (audit_member(event, "roles.roles") == NULL)
        json_object_del(report->roles, member);
    else
        json_object_set(report->roles, member, audit_member(event, "roles"));
}

static void take_lock(struct report *report, const json_t *event)
{
    take_standing(report->locks, event, "lock", "UNLOCKED");
    count(report, event, strcmp(audit_text(event, "type"), "LOCKED") == 0 ? "locked" : "unlocked");
}

static void take_offboarded(struct report *report, const json_t *event)
{
    json_object_del(report->roles, audit_text(event, "roles.member"));
    count(report, event, "offboarded");
    if (report_in_period(report, audit_number(event, "time_ms")) && json_array_size(report->offboarded) < REPORT_LIST)
        json_array_append_new(report->offboarded,
                              json_pack("{s:s, s:s, s:I}", "subject", audit_text(event, "roles.member"), "by",
                                        audit_text(event, "actor"), "time_ms",
                                        (json_int_t)audit_number(event, "time_ms")));
}

static void take_review(struct report *report, const json_t *event)
{
    const char *type = audit_text(event, "type");
    take_standing(report->reviews, event, "review", "REVIEW_CLOSED");
    count(report, event,
          strcmp(type, "REVIEW_OPENED") == 0   ? "reviews_opened"
          : strcmp(type, "REVIEW_CLOSED") == 0 ? "reviews_closed"
                                               : "reviews_overdue");
    struct facts *facts = report_find(report, audit_text(event, "review.name"));
    if (facts != NULL)
        facts->reviewed = strcmp(type, "REVIEW_CLOSED") == 0;
    if (strcmp(audit_text(event, "review.verdict"), "MISUSED") != 0)
        return;
    count(report, event, "misused");
    if (report_in_period(report, audit_number(event, "time_ms")) && json_array_size(report->misused) < REPORT_LIST)
        json_array_append(report->misused, audit_member(event, "review"));
}

static void take_other(struct report *report, const json_t *event)
{
    if (strcmp(audit_text(event, "type"), "OFFBOARDED") == 0)
        take_offboarded(report, event);
    else if (audit_member(event, "point") != NULL)
        take_point(report, event);
    else if (audit_member(event, "sweep") != NULL)
        take_sweep(report, event);
    else if (audit_member(event, "roles") != NULL)
        take_roles(report, event);
    else if (audit_member(event, "lock") != NULL)
        take_lock(report, event);
    else if (audit_member(event, "review") != NULL)
        take_review(report, event);
    else if (audit_member(event, "eligibility") != NULL)
        take_standing(report->eligibility, event, "eligibility", "ELIGIBILITY_ENDED");
    else if (audit_member(event, "campaign") != NULL)
        take_standing(report->campaigns, event, "campaign", "CAMPAIGN_ENDED");
    else if (audit_member(event, "policy") != NULL)
        count(report, event, "policy_changes");
}

void report_add(void *arg, const struct lapse_audit_record *record, const json_t *event)
{
    struct report *report = arg;
    const char *type = audit_text(event, "type");
    int64_t time_ms = audit_number(event, "time_ms");
    if (time_ms >= report->to_ms)
        return;
    report->first = report->first == 0 ? record->revision : report->first;
    if (report->first_ms == 0 && strcmp(type, "INITIALIZED") != 0) /* a cluster is made before it has a clock */
        report->first_ms = time_ms;
    report->last = record->revision;
    report->last_ms = time_ms;
    report->records += report_in_period(report, time_ms);
    if (strcmp(type, "RECEIPTS") == 0)
        take_receipts(report, event);
    else if (strcmp(type, "ENFORCED") == 0)
        take_enforced(report, event);
    else if (audit_member(event, "session") != NULL)
        take_session(report, event);
    else if (audit_member(event, "review") != NULL || audit_member(event, "grant") == NULL)
        take_other(report, event);
    else
        take_grant(report, record->revision, event);
}

int64_t report_percentile(const int64_t *sorted, size_t n, double percent)
{
    size_t place = (size_t)((double)n * percent / 100.0 + 0.999999);
    return n == 0 ? 0 : sorted[place == 0 ? 0 : place > n ? n - 1 : place - 1];
}
