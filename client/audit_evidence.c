/* What belongs to a grant's story: the records that name it; the receipts for the barrier of whatever ended it; the
 * policy's version that allowed it; locks that denied it meanwhile.
 *
 * A revocation's record doesn't name its barrier, whose id is the last revision of the same command: at most
 * LIMIT_CASCADE behind. So receipts for barriers in that range are kept until ENFORCED (or a node) says which one it
 * is: that of the grant or of one above it, if the end is among the command's records. A sweep's barrier has the
 * sweep's id. Where several sweeps may have ended the grant all must be confirmed: what is called complete has to be.
 */
#include "client/audit_evidence.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
#include "client/audit_event.h"
#include "client/audit_evidence_internal.h"
#include "client/audit_sweep.h"
#include "store/grant.h"

/* A grant with a billion uses has a story, too: the first ones are shown, the others counted. */
#define USES_SHOWN 50
#define ENTRIES_MAX 5000
/* Of grants above grants, for records that can't be trusted. */
#define DEPTH_MAX 64

struct evidence *evidence_new(const char *grant_id, bool from_start)
{
    struct evidence *evidence = mem_calloc(1, sizeof *evidence);
    evidence->id = mem_strdup(grant_id);
    evidence->from_start = from_start;
    evidence->timeline = json_array();
    evidence->sessions = json_object();
    evidence->barriers = json_object();
    evidence->receipts = json_array();
    evidence->sweeps = json_object();
    evidence->swept = json_object();
    evidence->parents = json_object();
    evidence->points = json_object();
    evidence->policies = json_object();
    evidence->locks = json_array();
    return evidence;
}

void evidence_free(struct evidence *evidence)
{
    if (evidence == NULL)
        return;
    json_t *const all[] = {evidence->grant,    evidence->timeline, evidence->sessions, evidence->barriers,
                           evidence->receipts, evidence->sweeps,   evidence->points,   evidence->policies,
                           evidence->review,   evidence->end,      evidence->locks,    evidence->policy,
                           evidence->swept,    evidence->parents};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        json_decref(all[i]);
    free(evidence->id);
    free(evidence);
}

bool evidence_found(const struct evidence *evidence)
{
    return evidence->grant != NULL;
}

uint64_t evidence_first(const struct evidence *evidence)
{
    return (uint64_t)audit_number(json_array_get(evidence->timeline, 0), "revision");
}

uint64_t evidence_last(const struct evidence *evidence)
{
    size_t n = json_array_size(evidence->timeline), i;
    uint64_t last = n == 0 ? 0 : (uint64_t)audit_number(json_array_get(evidence->timeline, n - 1), "revision");
    json_t *receipt;
    json_array_foreach(evidence->receipts, i, receipt)
    {
        uint64_t revision = (uint64_t)audit_number(receipt, "record");
        last = revision > last ? revision : last;
    }
    return last;
}

/* ---- The timeline */

static json_t *hash_json(const struct lapse_audit_record *record)
{
    char hex[2 * LAPSE_AUDIT_HASH_BYTES + 1] = "";
    for (size_t i = 0; i < record->hash.len && i < LAPSE_AUDIT_HASH_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", record->hash.data[i]);
    return json_string(hex);
}

/* `kind`: "request", "decision", "access", "end", "enforcement", "review", "lock". */
static void tell(struct evidence *evidence, const struct lapse_audit_record *record, const json_t *event,
                 const char *kind, const char *title, const char *detail)
{
    if (json_array_size(evidence->timeline) >= ENTRIES_MAX) {
        evidence->untold++;
        return;
    }
    json_array_append_new(evidence->timeline,
                          json_pack("{s:I, s:I, s:I, s:s, s:s, s:s, s:o, s:s, s:o}", "revision",
                                    (json_int_t)record->revision, "epoch", (json_int_t)record->epoch, "time_ms",
                                    (json_int_t)audit_number(event, "time_ms"), "type", audit_text(event, "type"),
                                    "kind", kind, "actor", audit_text(event, "actor"), "title", audit_cut_text(title),
                                    "detail", detail, "hash", hash_json(record)));
}

static const char *by_whom(const json_t *event)
{
    const char *actor = audit_text(event, "actor");
    return *actor == '\0' ? "the cluster's clock" : actor;
}

/* ---- Events of the grant itself */

static void tell_approved(struct evidence *evidence, const struct lapse_audit_record *record, const json_t *event)
{
    const json_t *approvals = audit_member(event, "grant.approvals");
    size_t n = json_array_size(approvals);
    char title[512];
    if (json_is_true(audit_member(event, "grant.automatic"))) {
        snprintf(title, sizeof title, "Approved by rule %s of policy %s, without an approver",
                 audit_text(event, "grant.rule"), audit_text(event, "grant.policy"));
        tell(evidence, record, event, "decision", title, "");
        return;
    }
    const json_t *last = json_array_get(approvals, n == 0 ? 0 : n - 1);
    snprintf(title, sizeof title, "Approved by %s (approval %zu)", audit_text(last, "approver"), n);
    tell(evidence, record, event, "decision", title, audit_text(last, "comment"));
}

static void tell_used(struct evidence *evidence, const struct lapse_audit_record *record, const json_t *event)
{
    char title[64];
    evidence->uses_last_ms = audit_number(event, "time_ms");
    if (evidence->uses_told == 0)
        evidence->uses_first_ms = evidence->uses_last_ms;
    if (++evidence->uses_told > USES_SHOWN)
        return;
    snprintf(title, sizeof title, "Used (%" PRId64 " in all)", audit_number(event, "grant.uses"));
    tell(evidence, record, event, "access", title,
         evidence->uses_told == USES_SHOWN ? "further uses are counted, not shown" : "");
}

/* The grant itself, or one above it. */
static bool is_of_family(const struct evidence *evidence, const char *grant_id)
{
    const char *at = evidence->id;
    for (int depth = 0; depth < DEPTH_MAX && at != NULL; depth++) {
        if (strcmp(at, grant_id) == 0)
            return true;
        at = json_string_value(json_object_get(evidence->parents, at));
    }
    return false;
}

/* The sweeps at work that may have ended a grant of the family; a child that ended with its parent: that have ended the
 * parent. */
static void note_sweeps(struct evidence *evidence, const json_t *event)
{
    const json_t *grant = audit_member(event, "grant");
    const char *id, *grant_id = audit_text(grant, "id");
    json_t *sweep, *found = json_array();
    if (strcmp(audit_text(grant, "reason"), AUDIT_PARENT_ENDED) == 0)
        json_array_extend(found, json_object_get(evidence->swept, audit_text(grant, "parent")));
    json_object_foreach(evidence->sweeps, id, sweep)
    {
        if (audit_sweep_may_end(sweep, grant))
            json_array_append(found, json_object_get(sweep, "id"));
    }
    if (json_array_size(found) > 0)
        json_object_set(evidence->swept, grant_id, found);
    json_decref(found);
}

/* Records of grants above ours, which are not told. */
static void take_family(struct evidence *evidence, const json_t *event)
{
    const char *type = audit_text(event, "type"), *parent = audit_text(event, "grant.parent");
    if (strcmp(type, "REQUESTED") == 0 && *parent != '\0')
        json_object_set(evidence->parents, audit_text(event, "grant.id"), audit_member(event, "grant.parent"));
    if (strcmp(type, "REVOKED") == 0 && is_of_family(evidence, audit_text(event, "grant.id")))
        note_sweeps(evidence, event);
}

static bool scope_has(const json_t *scope, const char *resource)
{
    size_t i;
    json_t *pattern;
    json_array_foreach(scope, i, pattern) if (resource_overlaps(slice_str(json_string_value(pattern)),
                                                                slice_str(resource))) return true;
    return false;
}

static void count_points(struct evidence *evidence, const char *resource)
{
    const char *instance;
    json_t *point;
    evidence->points_in_scope = 0;
    json_object_foreach(evidence->points, instance, point) evidence->points_in_scope +=
        scope_has(audit_member(point, "scope"), resource);
}

static void tell_end(struct evidence *evidence, const struct lapse_audit_record *record, const json_t *event)
{
    static const struct {
        const char *type, *words;
    } ends[] = {
        {"EXPIRED", "Its time was over"},       {"REVOKED", "Revoked by"}, {"COMPLETED", "Completed by"},
        {"EXHAUSTED", "Its uses were used up"}, {"DENIED", "Denied by"},   {"CANCELLED", "Withdrawn or cancelled by"},
        {"LAPSED", "Nobody decided in time"}};
    const char *type = audit_text(event, "type"), *by = audit_text(event, "grant.ended_by");
    char title[512] = "Ended";
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (strcmp(ends[i].type, type) == 0)
            snprintf(title, sizeof title, "%s%s%s", ends[i].words, strstr(ends[i].words, " by") == NULL ? "" : " ",
                     strstr(ends[i].words, " by") == NULL ? ""
                     : *by == '\0'                        ? by_whom(event)
                                                          : by);
    tell(evidence, record, event, "end", title, audit_text(event, "grant.reason"));
    json_decref(evidence->end);
    evidence->end =
        json_pack("{s:s, s:s, s:s, s:I, s:I}", "type", type, "by", by, "reason", audit_text(event, "grant.reason"),
                  "time_ms", (json_int_t)audit_number(event, "time_ms"), "revision", (json_int_t)record->revision);
    evidence->end_revision = record->revision;
    count_points(evidence, audit_text(event, "grant.resource"));
}

static void tell_grant(struct evidence *evidence, const struct lapse_audit_record *record, const json_t *event)
{
    const char *type = audit_text(event, "type");
    char title[512];
    json_decref(evidence->grant);
    evidence->grant = json_deep_copy(audit_member(event, "grant"));
    if (strcmp(type, "REQUESTED") == 0) {
        snprintf(title, sizeof title, "Requested by %s", audit_text(event, "grant.requester"));
        tell(evidence, record, event, "request", title, audit_text(event, "grant.justification"));
        evidence->requested = true;
    } else if (strcmp(type, "APPROVED") == 0) {
        tell_approved(evidence, record, event);
        evidence->approvals_told++;
    } else if (strcmp(type, "ACTIVATED") == 0) {
        tell(evidence, record, event, "access", "Access began", "");
        evidence->activated = true;
    } else if (strcmp(type, "USED") == 0) {
        tell_used(evidence, record, event);
    } else if (strcmp(type, "TOKEN_SET") == 0) {
        tell(evidence, record, event, "access", "A bearer token was set", "");
    } else if (audit_number(event, "grant.ended_ms") != 0) {
        tell_end(evidence, record, event);
    } else {
        tell(evidence, record, event, "access", type, "");
    }
}

/* ---- What is around it */

static void tell_session(struct evidence *evidence, const struct lapse_audit_record *record, const json_t *event)
{
    const json_t *session = audit_member(event, "session");
    bool began = strcmp(audit_text(event, "type"), "SESSION_BEGAN") == 0;
    char title[512];
    snprintf(title, sizeof title, "A session %s at %s", began ? "began" : "ended", audit_text(session, "point"));
    tell(evidence, record, event, "access", title, audit_text(session, "description"));
    /* Points name their sessions themselves: one must not end another's. */
    snprintf(title, sizeof title, "%s %s", audit_text(session, "id"), audit_text(session, "point"));
    json_object_set_new(evidence->sessions, title, json_deep_copy(session));
}

static void tell_review(struct evidence *evidence, const struct lapse_audit_record *record, const json_t *event)
{
    const char *type = audit_text(event, "type");
    char title[512];
    json_decref(evidence->review);
    evidence->review = json_deep_copy(audit_member(event, "review"));
    if (strcmp(type, "REVIEW_OPENED") == 0)
        snprintf(title, sizeof title, "Break-glass: its review is open");
    else if (strcmp(type, "REVIEW_OVERDUE") == 0)
        snprintf(title, sizeof title, "Break-glass: its review is overdue");
    else
        snprintf(title, sizeof title, "Break-glass: reviewed by %s as %s", audit_text(event, "review.closed_by"),
                 audit_text(event, "review.verdict"));
    tell(evidence, record, event, "review", title, audit_text(event, "review.comment"));
}

static bool is_sweep_of_ours(const struct evidence *evidence, uint64_t barrier)
{
    size_t i;
    json_t *id;
    json_array_foreach(json_object_get(evidence->swept, evidence->id), i, id)
    {
        if ((uint64_t)json_integer_value(id) == barrier)
            return true;
    }
    return false;
}

/* Whether a barrier may be the one of the grant's end, as far as is known now. */
static bool may_be_ours(const struct evidence *evidence, uint64_t barrier)
{
    return evidence->end_revision != 0 &&
           (is_sweep_of_ours(evidence, barrier) ||
            (barrier >= evidence->end_revision && barrier - evidence->end_revision <= LIMIT_CASCADE));
}

static void take_receipts(struct evidence *evidence, const struct lapse_audit_record *record, const json_t *event)
{
    size_t i;
    json_t *receipt;
    json_array_foreach(audit_member(event, "receipts"), i, receipt)
    {
        if (!may_be_ours(evidence, (uint64_t)audit_number(receipt, "barrier")))
            continue;
        json_t *kept = json_deep_copy(receipt);
        json_object_set_new(kept, "record", json_integer((json_int_t)record->revision));
        json_object_set_new(kept, "hash", hash_json(record));
        json_object_set_new(kept, "epoch", json_integer((json_int_t)record->epoch));
        json_array_append_new(evidence->receipts, kept);
    }
}

/* Of the very command that has ended it: its records are the `grants` last ones up to the barrier's id. */
static bool is_of_our_command(const struct evidence *evidence, const json_t *barrier)
{
    uint64_t id = (uint64_t)audit_number(barrier, "id"), n = (uint64_t)audit_number(barrier, "grants");
    return evidence->end_revision != 0 && id >= evidence->end_revision && id - evidence->end_revision < n &&
           is_of_family(evidence, audit_text(barrier, "grant_id"));
}

static void take_enforced(struct evidence *evidence, const struct lapse_audit_record *record, const json_t *event)
{
    const json_t *barrier = audit_member(event, "barrier");
    char title[160], key[32];
    uint64_t id = (uint64_t)audit_number(barrier, "id");
    bool direct = is_of_our_command(evidence, barrier);
    if (!direct && !is_sweep_of_ours(evidence, id))
        return;
    if (direct)
        evidence->barrier = id;
    snprintf(key, sizeof key, "%" PRIu64, id);
    json_object_set_new(evidence->barriers, key, json_deep_copy(barrier));
    snprintf(title, sizeof title, "No enforcement point permits it any more: %" PRId64 " of %" PRId64 " confirmed",
             audit_number(barrier, "enforced"), audit_number(barrier, "points"));
    tell(evidence, record, event, "enforcement", title,
         audit_number(barrier, "failed") == 0 ? "" : "some could not end a session");
}

static void take_point(struct evidence *evidence, const json_t *event)
{
    const char *type = audit_text(event, "type"), *instance = audit_text(event, "point.instance");
    if (strcmp(type, "POINT_REGISTERED") == 0)
        json_object_set(evidence->points, instance, audit_member(event, "point"));
    else if (strcmp(type, "POINT_ENDED") == 0)
        json_object_del(evidence->points, instance);
}

static void take_sweep(struct evidence *evidence, const json_t *event)
{
    char key[32];
    snprintf(key, sizeof key, "%" PRId64, audit_number(event, "sweep.id"));
    if (strcmp(audit_text(event, "type"), "SWEEP_BEGAN") == 0)
        json_object_set(evidence->sweeps, key, audit_member(event, "sweep"));
    else
        json_object_del(evidence->sweeps, key);
}

/* Only versions: a policy's newest one, until the grant has taken its own. */
static void take_policy(struct evidence *evidence, const json_t *event)
{
    const json_t *policy = audit_member(event, "policy");
    json_t *kept =
        json_pack("{s:I, s:s, s:s, s:I, s:s}", "version", (json_int_t)audit_number(policy, "version"), "source",
                  audit_text(policy, "source"), "applied_by", audit_text(policy, "applied_by"), "applied_ms",
                  (json_int_t)audit_number(policy, "applied_ms"), "description", audit_text(policy, "description"));
    json_object_set_new(evidence->policies, audit_text(policy, "name"), kept);
}

static void fix_policy(struct evidence *evidence)
{
    const json_t *policy = json_object_get(evidence->policies, audit_text(evidence->grant, "policy"));
    if (evidence->policy == NULL && policy != NULL &&
        audit_number(policy, "version") == audit_number(evidence->grant, "policy_version"))
        evidence->policy = json_deep_copy(policy);
}

static bool lock_denies(const struct evidence *evidence, const json_t *lock)
{
    const char *kind = audit_text(lock, "kind"), *target = audit_text(lock, "target");
    if (strcmp(kind, "SUBJECT") == 0)
        return strcmp(target, audit_text(evidence->grant, "subject")) == 0;
    return strcmp(kind, "RESOURCE") == 0 &&
           resource_overlaps(slice_str(target), slice_str(audit_text(evidence->grant, "resource")));
}

static void take_lock(struct evidence *evidence, const struct lapse_audit_record *record, const json_t *event)
{
    const json_t *lock = audit_member(event, "lock");
    char title[600];
    if (evidence->grant == NULL || evidence->end != NULL || lock == NULL || !lock_denies(evidence, lock))
        return;
    snprintf(title, sizeof title, "%s: %s", strcmp(audit_text(event, "type"), "UNLOCKED") == 0 ? "Unlocked" : "Locked",
             audit_text(lock, "name"));
    tell(evidence, record, event, "lock", title, audit_text(lock, "reason"));
    json_array_append_new(evidence->locks, json_deep_copy(lock));
}

/* ---- One record */

static bool is_about(const struct evidence *evidence, const json_t *event, const char *path)
{
    return strcmp(audit_text(event, path), evidence->id) == 0;
}

void evidence_add(void *arg, const struct lapse_audit_record *record, const json_t *event)
{
    struct evidence *evidence = arg;
    const char *type = audit_text(event, "type");
    take_family(evidence, event);
    if (strcmp(type, "RECEIPTS") == 0)
        take_receipts(evidence, record, event);
    else if (strcmp(type, "ENFORCED") == 0)
        take_enforced(evidence, record, event);
    else if (is_about(evidence, event, "session.grant_id"))
        tell_session(evidence, record, event);
    else if (is_about(evidence, event, "review.name"))
        tell_review(evidence, record, event);
    else if (is_about(evidence, event, "grant.id"))
        tell_grant(evidence, record, event);
    else if (audit_member(event, "point") != NULL)
        take_point(evidence, event);
    else if (audit_member(event, "sweep") != NULL)
        take_sweep(evidence, event);
    else if (audit_member(event, "policy") != NULL)
        take_policy(evidence, event);
    else if (audit_member(event, "lock") != NULL)
        take_lock(evidence, record, event);
    if (evidence->grant != NULL)
        fix_policy(evidence);
}

void evidence_barrier(struct evidence *evidence, const struct lapse_barrier *barrier)
{
    char key[32];
    snprintf(key, sizeof key, "%" PRIu64, barrier->id);
    if (evidence->end_revision == 0 || barrier->id < evidence->end_revision ||
        strcmp(barrier->grant_id, evidence->id) != 0)
        return; /* another one's */
    evidence->barrier = barrier->id;
    if (json_object_get(evidence->barriers, key) != NULL)
        return;
    json_object_set_new(evidence->barriers, key,
                        json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:I, s:b, s:b}", "id",
                                  (json_int_t)barrier->id, "grant_id", barrier->grant_id, "points",
                                  (json_int_t)barrier->points, "enforced", (json_int_t)barrier->enforced, "failed",
                                  (json_int_t)barrier->failed, "lapsed", (json_int_t)barrier->lapsed, "left",
                                  (json_int_t)barrier->left, "done", barrier->done, "time_ms",
                                  (json_int_t)barrier->time_ms, "done_ms", (json_int_t)barrier->done_ms, "untracked",
                                  barrier->untracked, "unrecorded", 1));
}
