/* The document, and what it says about itself: which parts of the story are there, which are missing.
 *
 * A check's standing is PRESENT, MISSING (evidence that should be there is not), OPEN (it is not over yet) or
 * NOT_NEEDED. The story is complete when none is MISSING or OPEN. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "client/audit_event.h"
#include "client/audit_evidence_internal.h"

#define DETAIL 512

struct checks {
    json_t *array;
    bool complete;
};

static void check_add(struct checks *checks, const char *what, const char *standing, const char *detail)
{
    json_array_append_new(checks->array, json_pack("{s:s, s:s, s:o}", "what", what, "standing", standing, "detail",
                                                   audit_cut_text(detail)));
    if (strcmp(standing, "MISSING") == 0 || strcmp(standing, "OPEN") == 0)
        checks->complete = false;
}

/* ---- Request and decision */

static void check_request(struct checks *checks, const struct evidence *evidence)
{
    const char *why = audit_text(evidence->grant, "justification");
    if (!evidence->requested)
        check_add(checks, "Request", "MISSING", "its record is not among those at hand");
    else if (*why == '\0')
        check_add(checks, "Request", "MISSING", "it has no justification");
    else
        check_add(checks, "Request", "PRESENT", "requester, justification and terms are recorded");
}

static size_t approvals_needed(const json_t *grant)
{
    size_t i, needed = 0;
    json_t *step;
    json_array_foreach(audit_member(grant, "steps"), i, step) needed += (size_t)audit_number(step, "count");
    return needed == 0 ? 1 : needed;
}

static void check_policy(struct checks *checks, const struct evidence *evidence)
{
    const char *policy = audit_text(evidence->grant, "policy");
    char detail[DETAIL];
    if (*policy == '\0') {
        check_add(checks, "Policy", "PRESENT", "the built-in rule: no policy was in force, one approver decides");
        return;
    }
    snprintf(detail, sizeof detail, "policy %s, version %" PRId64 ", rule %s%s%s", policy,
             audit_number(evidence->grant, "policy_version"), audit_text(evidence->grant, "rule"),
             *audit_text(evidence->policy, "source") == '\0' ? "" : ", kept at ",
             audit_text(evidence->policy, "source"));
    check_add(checks, "Policy", *audit_text(evidence->grant, "rule") == '\0' ? "MISSING" : "PRESENT", detail);
}

static void check_decision(struct checks *checks, const struct evidence *evidence)
{
    const json_t *grant = evidence->grant;
    size_t have = json_array_size(audit_member(grant, "approvals")), needed = approvals_needed(grant);
    const char *end = audit_text(evidence->end, "type");
    bool decided = audit_number(grant, "approved_ms") != 0;
    char detail[DETAIL];
    if (strcmp(end, "DENIED") == 0 || (evidence->end != NULL && !decided)) {
        check_add(checks, "Decision", "PRESENT", "it was never approved");
    } else if (json_is_true(audit_member(grant, "automatic"))) {
        check_add(checks, "Decision", *audit_text(grant, "rule") == '\0' ? "MISSING" : "PRESENT",
                  "approved by a rule, without an approver");
    } else if (!decided) {
        check_add(checks, "Decision", "OPEN", "it waits for an approver");
    } else {
        snprintf(detail, sizeof detail, "%zu of %zu approvals, %zu of them with a record of their own", have, needed,
                 evidence->approvals_told);
        check_add(checks, "Decision", have >= needed && evidence->approvals_told >= have ? "PRESENT" : "MISSING",
                  detail);
    }
}

/* ---- Access and end */

static void check_access(struct checks *checks, const struct evidence *evidence)
{
    bool began = audit_number(evidence->grant, "activated_ms") != 0;
    if (began)
        check_add(checks, "Beginning", evidence->activated ? "PRESENT" : "MISSING",
                  evidence->activated ? "the moment at which access began is recorded"
                                      : "its record is not among those at hand");
    else
        check_add(checks, "Beginning", evidence->end != NULL ? "NOT_NEEDED" : "OPEN", "access never began");
}

static void check_end(struct checks *checks, const struct evidence *evidence)
{
    char detail[DETAIL];
    if (evidence->end == NULL) {
        check_add(checks, "End", audit_number(evidence->grant, "ended_ms") != 0 ? "MISSING" : "OPEN",
                  "no end is recorded: the story is not over");
        return;
    }
    const char *by = audit_text(evidence->end, "by"), *reason = audit_text(evidence->end, "reason");
    snprintf(detail, sizeof detail, "%s, %s%s%s", audit_text(evidence->end, "type"),
             *by == '\0' ? "by the clock" : "by ", by,
             strcmp(audit_text(evidence->end, "type"), "REVOKED") == 0 && *reason == '\0' ? ", without a reason" : "");
    check_add(checks, "End", "PRESENT", detail);
}

/* Sessions that outlived the grant are what an auditor looks for first. */
static void check_sessions(struct checks *checks, const struct evidence *evidence)
{
    int64_t ended_ms = audit_number(evidence->end, "time_ms");
    size_t open = 0, late = 0;
    const char *id;
    json_t *session;
    char detail[DETAIL];
    json_object_foreach(evidence->sessions, id, session)
    {
        int64_t session_end = audit_number(session, "ended_ms");
        open += session_end == 0;
        late += ended_ms != 0 && session_end > ended_ms;
    }
    snprintf(detail, sizeof detail, "%zu sessions, %zu without an end, %zu ended after the grant",
             json_object_size(evidence->sessions), open, late);
    check_add(checks, "Sessions",
              json_object_size(evidence->sessions) == 0 ? "NOT_NEEDED"
              : open == 0                               ? "PRESENT"
              : evidence->end == NULL                   ? "OPEN"
                                                        : "MISSING",
              json_object_size(evidence->sessions) == 0 ? "no enforcement point reported one" : detail);
}

/* ---- Enforcement */

static const json_t *barrier_by_id(const struct evidence *evidence, uint64_t id)
{
    char key[32];
    snprintf(key, sizeof key, "%" PRIu64, id);
    return json_object_get(evidence->barriers, key);
}

static const json_t *sweeps_of(const struct evidence *evidence)
{
    return json_object_get(evidence->swept, evidence->id);
}

/* Of the command that ended it, else of the first of the sweeps that may have; 0: not known. */
static uint64_t barrier_id(const struct evidence *evidence)
{
    return evidence->barrier != 0 ? evidence->barrier
                                  : (uint64_t)json_integer_value(json_array_get(sweeps_of(evidence), 0));
}

static const json_t *barrier_of(const struct evidence *evidence)
{
    return barrier_by_id(evidence, barrier_id(evidence));
}

static bool is_good(const json_t *barrier)
{
    return json_is_true(audit_member(barrier, "done")) && audit_number(barrier, "failed") == 0;
}

/* The one that decides: where several sweeps may have ended the grant one that is not confirmed, if there is any. NULL:
 * no record is about it. */
static const json_t *barrier_to_judge(const struct evidence *evidence)
{
    const json_t *first = barrier_of(evidence);
    size_t i;
    json_t *id;
    if (evidence->barrier != 0)
        return first;
    json_array_foreach(sweeps_of(evidence), i, id)
    {
        const json_t *barrier = barrier_by_id(evidence, (uint64_t)json_integer_value(id));
        if (barrier == NULL || !is_good(barrier))
            return barrier;
    }
    return first;
}

/* What a node says of a barrier that no record is about: nobody had to confirm, or it is on its way. */
static void check_unrecorded(struct checks *checks, const struct evidence *evidence, const json_t *barrier)
{
    bool done = json_is_true(audit_member(barrier, "done")), none = audit_number(barrier, "points") == 0;
    if (done && none && evidence->from_start && evidence->points_in_scope > 0)
        check_add(checks, "Enforcement", "MISSING",
                  "a node says that nobody had to confirm, but the records have enforcement points in scope");
    else if (done && none)
        check_add(checks, "Enforcement", "NOT_NEEDED",
                  "a node says that no enforcement point for this resource was registered when it was revoked");
    else
        check_add(checks, "Enforcement", "OPEN",
                  done ? "a node says that all have confirmed, but their receipts are not among these records yet"
                       : "not all enforcement points have confirmed yet");
}

static void check_barrier(struct checks *checks, const json_t *barrier)
{
    char detail[DETAIL];
    snprintf(detail, sizeof detail,
             "%" PRId64 " enforcement points were in scope: %" PRId64 " confirmed, %" PRId64
             " could not end a session, %" PRId64 " were waited out, %" PRId64 " had left",
             audit_number(barrier, "points"), audit_number(barrier, "enforced"), audit_number(barrier, "failed"),
             audit_number(barrier, "lapsed"), audit_number(barrier, "left"));
    check_add(checks, "Enforcement", is_good(barrier) ? "PRESENT" : "MISSING", detail);
}

static void check_enforcement(struct checks *checks, const struct evidence *evidence)
{
    const json_t *barrier = barrier_to_judge(evidence);
    if (evidence->end == NULL || strcmp(audit_text(evidence->end, "type"), "REVOKED") != 0)
        check_add(checks, "Enforcement", "NOT_NEEDED",
                  "only a revocation asks enforcement points for receipts; other ends they see themselves");
    else if (audit_number(evidence->grant, "activated_ms") == 0)
        check_add(checks, "Enforcement", "NOT_NEEDED", "access never began");
    else if (json_is_true(audit_member(barrier, "untracked")))
        check_add(checks, "Enforcement", "MISSING",
                  "too many revocations were open when it was revoked: nobody kept who has confirmed");
    else if (json_is_true(audit_member(barrier, "unrecorded")))
        check_unrecorded(checks, evidence, barrier);
    else if (barrier != NULL)
        check_barrier(checks, barrier);
    else if (evidence->from_start && evidence->points_in_scope == 0)
        check_add(checks, "Enforcement", "NOT_NEEDED",
                  "no enforcement point for this resource was registered when it was revoked");
    else
        check_add(checks, "Enforcement", "MISSING",
                  evidence->from_start
                      ? "enforcement points were registered, and not all have confirmed in these records"
                      : "these records don't tell which enforcement points had to confirm");
}

/* A page that leaves records out must not look whole. */
static void check_timeline(struct checks *checks, const struct evidence *evidence)
{
    char detail[DETAIL];
    if (evidence->untold == 0)
        return;
    snprintf(detail, sizeof detail, "%" PRIu64 " further records are not shown; lapse audit query --grant lists them",
             evidence->untold);
    check_add(checks, "Timeline", "MISSING", detail);
}

static void check_review(struct checks *checks, const struct evidence *evidence)
{
    if (!json_is_true(audit_member(evidence->grant, "break_glass")) ||
        audit_number(evidence->grant, "activated_ms") == 0) {
        check_add(checks, "Review", "NOT_NEEDED", "it was no break-glass access");
        return;
    }
    if (evidence->review == NULL)
        check_add(checks, "Review", "MISSING", "break-glass, and no review is recorded");
    else if (audit_number(evidence->review, "closed_ms") == 0)
        check_add(checks, "Review", json_is_true(audit_member(evidence->review, "overdue")) ? "MISSING" : "OPEN",
                  json_is_true(audit_member(evidence->review, "overdue")) ? "overdue" : "it is still open");
    else
        check_add(checks, "Review", "PRESENT", audit_text(evidence->review, "verdict"));
}

/* ---- Parts of the document */

static json_t *approvals_json(const struct evidence *evidence)
{
    json_t *approvals = audit_member(evidence->grant, "approvals");
    return approvals == NULL ? json_array() : json_deep_copy(approvals);
}

static int compare_sessions(const void *a, const void *b)
{
    int64_t x = audit_number(*(json_t *const *)a, "began_ms"), y = audit_number(*(json_t *const *)b, "began_ms");
    return (x > y) - (x < y);
}

static json_t *sessions_json(const struct evidence *evidence)
{
    size_t n = json_object_size(evidence->sessions), at = 0;
    json_t **all = calloc(n + 1, sizeof *all), *array = json_array(), *session;
    int64_t ended_ms = audit_number(evidence->end, "time_ms");
    const char *id;
    CHECK(all != NULL);
    json_object_foreach(evidence->sessions, id, session) all[at++] = session;
    qsort(all, n, sizeof *all, compare_sessions);
    for (size_t i = 0; i < n; i++) {
        json_t *copy = json_deep_copy(all[i]);
        int64_t session_end = audit_number(copy, "ended_ms");
        if (ended_ms != 0 && session_end > ended_ms)
            json_object_set_new(copy, "after_end_ms", json_integer(session_end - ended_ms));
        json_array_append_new(array, copy);
    }
    free(all);
    return array;
}

/* Of those that were kept the ones of our barrier. */
static json_t *receipts_json(const struct evidence *evidence)
{
    json_t *array = json_array(), *receipt;
    int64_t from_ms = audit_number(evidence->end, "time_ms");
    size_t i;
    json_array_foreach(evidence->receipts, i, receipt)
    {
        if ((uint64_t)audit_number(receipt, "barrier") != barrier_id(evidence))
            continue;
        json_t *copy = json_deep_copy(receipt);
        json_object_set_new(copy, "after_ms", json_integer(audit_number(copy, "time_ms") - from_ms));
        json_array_append_new(array, copy);
    }
    return array;
}

static const char *via_of(const struct evidence *evidence, const json_t *barrier)
{
    if (evidence->barrier == 0 && json_array_size(sweeps_of(evidence)) > 0)
        return "a revocation of many";
    return barrier == NULL || strcmp(audit_text(barrier, "grant_id"), evidence->id) == 0
               ? "its own revocation"
               : "the revocation of a grant above it";
}

static json_t *enforcement_json(const struct evidence *evidence)
{
    const json_t *barrier = barrier_of(evidence);
    json_t *receipts = receipts_json(evidence);
    if (barrier == NULL && json_array_size(receipts) == 0) {
        json_decref(receipts);
        return json_null();
    }
    json_t *json = barrier == NULL ? json_object() : json_deep_copy(barrier);
    json_object_set_new(json, "via", json_string(via_of(evidence, barrier)));
    json_object_set_new(json, "receipts", receipts);
    return json;
}

static json_t *policy_json(const struct evidence *evidence)
{
    const json_t *grant = evidence->grant;
    json_t *json =
        json_pack("{s:s, s:I, s:s, s:b, s:b}", "name", audit_text(grant, "policy"), "version",
                  (json_int_t)audit_number(grant, "policy_version"), "rule", audit_text(grant, "rule"), "automatic",
                  json_is_true(audit_member(grant, "automatic")), "built_in", *audit_text(grant, "policy") == '\0');
    if (evidence->policy != NULL)
        json_object_update_missing(json, evidence->policy);
    return json;
}

static json_t *receipt_entry(const json_t *receipt)
{
    char title[512];
    snprintf(title, sizeof title, "%s: %s, after %" PRId64 " ms", audit_text(receipt, "point"),
             audit_text(receipt, "level"), audit_number(receipt, "after_ms"));
    return json_pack("{s:I, s:I, s:I, s:s, s:s, s:s, s:o, s:s, s:s}", "revision",
                     (json_int_t)audit_number(receipt, "record"), "epoch", (json_int_t)audit_number(receipt, "epoch"),
                     "time_ms", (json_int_t)audit_number(receipt, "time_ms"), "type", "RECEIPTS", "kind", "enforcement",
                     "actor", "", "title", audit_cut_text(title), "detail", audit_text(receipt, "reason"), "hash",
                     audit_text(receipt, "hash"));
}

/* The timeline with the receipts in their places. */
static json_t *timeline_json(const struct evidence *evidence)
{
    json_t *timeline = json_deep_copy(evidence->timeline), *receipts = receipts_json(evidence), *receipt;
    size_t i, at = 0;
    json_array_foreach(receipts, i, receipt)
    {
        while (at < json_array_size(timeline) &&
               audit_number(json_array_get(timeline, at), "revision") <= audit_number(receipt, "record"))
            at++;
        json_array_insert_new(timeline, at, receipt_entry(receipt));
    }
    json_decref(receipts);
    return timeline;
}

static json_t *proof_json(const struct evidence_proof *proof)
{
    return json_pack("{s:b, s:s, s:s, s:I, s:I, s:I, s:I}", "verified", proof->verified, "text", proof->text, "cluster",
                     proof->cluster, "from_revision", (json_int_t)proof->from, "signed_to",
                     (json_int_t)proof->signed_to, "signed_by", (json_int_t)proof->node_id, "signed_ms",
                     (json_int_t)proof->signed_ms);
}

json_t *evidence_document(const struct evidence *evidence, const struct evidence_proof *proof, int64_t made_ms)
{
    static void (*const all[])(struct checks *, const struct evidence *) = {
        check_request,  check_policy,      check_decision, check_access,  check_end,
        check_sessions, check_enforcement, check_review,   check_timeline};
    struct checks checks = {json_array(), true};
    CHECK(evidence->grant != NULL);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        all[i](&checks, evidence);
    check_add(&checks, "Chain", proof->verified ? "PRESENT" : "MISSING", proof->text);
    json_t *uses = json_pack("{s:I, s:I, s:I}", "count", (json_int_t)audit_number(evidence->grant, "uses"), "first_ms",
                             (json_int_t)evidence->uses_first_ms, "last_ms", (json_int_t)evidence->uses_last_ms);
    json_t *document = json_pack(
        "{s:s, s:I, s:b, s:O, s:o, s:o, s:o, s:o, s:o, s:O, s:O, s:O, s:o, s:o, s:o}", "evidence", evidence->id,
        "made_ms", (json_int_t)made_ms, "complete", checks.complete, "grant", evidence->grant, "policy",
        policy_json(evidence), "approvals", approvals_json(evidence), "sessions", sessions_json(evidence), "uses", uses,
        "enforcement", enforcement_json(evidence), "review", evidence->review == NULL ? json_null() : evidence->review,
        "end", evidence->end == NULL ? json_null() : evidence->end, "locks", evidence->locks, "timeline",
        timeline_json(evidence), "checks", checks.array, "proof", proof_json(proof));
    CHECK(document != NULL);
    return document;
}
