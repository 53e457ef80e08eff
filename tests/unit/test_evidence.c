/* Evidence from records that contradict each other, overlap, or are too many: what is called complete must be so. The
 * records are made by hand; those of a real store are in test_report.c. */
#include <criterion/criterion.h>

#include "client/audit_event.h"
#include "client/audit_evidence.h"
#include "tests/unit/told_grant.h"

static const struct evidence_proof proof = {true, "verified", "test", 1, 9, 1, T0};

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

/* A record as a store would write it, of which only what is set matters. */
static void tell(struct evidence *evidence, uint64_t revision, json_t *event)
{
    static const uint8_t hash[LAPSE_AUDIT_HASH_BYTES];
    struct lapse_audit_record record = {.epoch = 1, .revision = revision, .hash = {(uint8_t *)hash, sizeof hash}};
    cr_assert_not_null(event);
    evidence_add(evidence, &record, event);
    json_decref(event);
}

static json_t *sweep_event(const char *type, int id, const char *resource, const char *label)
{
    return json_pack("{s:s, s:{s:i, s:s, s:s, s:s, s:s}}", "type", type, "sweep", "id", id, "by", "user:ops", "reason",
                     "left", "resource", resource, "label", label);
}

static json_t *enforced_event(int id)
{
    return json_pack("{s:s, s:{s:i, s:i, s:i, s:b}}", "type", "ENFORCED", "barrier", "id", id, "points", 1, "enforced",
                     1, "done", 1);
}

static void must_be_enforced(struct evidence *evidence, const char *as)
{
    json_t *document = evidence_document(evidence, &proof, T0);
    must_stand(document, "Enforcement", as);
    json_decref(document);
}

/* Two revocations of many, by the same person for the same reason: which one was it? Both must be confirmed. */
Test(evidence, of_two_sweeps_at_work_both_must_be_confirmed)
{
    struct evidence *evidence = evidence_new("g1", false);
    tell(evidence, 10, grant_event("REQUESTED", ""));
    tell(evidence, 11, sweep_event("SWEEP_BEGAN", 11, "db/*", ""));
    tell(evidence, 12, sweep_event("SWEEP_BEGAN", 12, "db/*", "team=a"));
    tell(evidence, 13, sweep_event("SWEEP_BEGAN", 13, "web/*", ""));
    tell(evidence, 14, grant_event("REVOKED", "left"));
    tell(evidence, 15, enforced_event(11));
    must_be_enforced(evidence, "MISSING");
    tell(evidence, 16, enforced_event(12));
    must_be_enforced(evidence, "PRESENT");
    evidence_free(evidence);
}

/* A barrier of the very grant above it, but of another command, says nothing about it. */
Test(evidence, a_child_is_confirmed_by_the_command_that_ended_it_only)
{
    struct evidence *evidence = evidence_new("g1", false);
    json_t *request = grant_event("REQUESTED", ""),
           *above = json_pack("{s:s, s:{s:s, s:s}}", "type", "REQUESTED", "grant", "id", "p2", "parent", "p1");
    json_object_set_new(json_object_get(request, "grant"), "parent", json_string("p2"));
    tell(evidence, 9, above);
    tell(evidence, 10, request);
    json_t *end = grant_event("REVOKED", "parent ended");
    json_object_set_new(json_object_get(end, "grant"), "parent", json_string("p2"));
    tell(evidence, 14, end);
    json_t *enforced = enforced_event(15);
    json_object_set_new(json_object_get(enforced, "barrier"), "grant_id", json_string("p1"));
    json_object_set_new(json_object_get(enforced, "barrier"), "grants", json_integer(1));
    tell(evidence, 16, json_deep_copy(enforced));
    must_be_enforced(evidence, "MISSING");
    json_object_set_new(json_object_get(enforced, "barrier"), "grants", json_integer(3));
    tell(evidence, 17, enforced);
    must_be_enforced(evidence, "PRESENT");
    evidence_free(evidence);
}

/* Points choose the ids of their sessions. */
Test(evidence, a_point_can_not_end_the_session_of_another)
{
    struct evidence *evidence = evidence_new("g1", true);
    tell(evidence, 10, grant_event("REQUESTED", ""));
    static const char form[] = "{s:s, s:{s:s, s:s, s:s, s:I, s:I}}";
    tell(evidence, 11,
         json_pack(form, "type", "SESSION_BEGAN", "session", "id", "77", "point", "a", "grant_id", "g1", "began_ms", T0,
                   "ended_ms", (json_int_t)0));
    tell(evidence, 12,
         json_pack(form, "type", "SESSION_BEGAN", "session", "id", "77", "point", "b", "grant_id", "g1", "began_ms", T0,
                   "ended_ms", (json_int_t)0));
    tell(evidence, 13,
         json_pack(form, "type", "SESSION_ENDED", "session", "id", "77", "point", "b", "grant_id", "g1", "began_ms", T0,
                   "ended_ms", T0 + 1));
    tell(evidence, 14, grant_event("REVOKED", "left"));
    json_t *document = evidence_document(evidence, &proof, T0);
    must_stand(document, "Sessions", "MISSING");
    json_decref(document);
    evidence_free(evidence);
}

Test(evidence, of_more_records_than_it_shows_it_says_so)
{
    struct evidence *evidence = evidence_new("g1", true);
    tell(evidence, 1, grant_event("REQUESTED", ""));
    for (uint64_t revision = 2; revision < 5100; revision++)
        tell(evidence, revision, grant_event("TOKEN_SET", ""));
    tell(evidence, 5100, grant_event("REVOKED", "left"));
    json_t *document = evidence_document(evidence, &proof, T0);
    must_stand(document, "Timeline", "MISSING");
    cr_assert(json_is_false(audit_member(document, "complete")));
    json_decref(document);
    evidence_free(evidence);
}

/* snprintf cuts bytes, JSON takes characters. */
Test(evidence, a_name_that_is_cut_in_a_character_loses_no_step)
{
    char long_name[1200] = "x";
    for (size_t at = 1; at + 2 < sizeof long_name; at += 2)
        memcpy(long_name + at, "\xC3\xBC", 3);
    for (int shift = 0; shift < 2; shift++) {
        struct evidence *evidence = evidence_new("g1", true);
        json_t *request = grant_event("REQUESTED", "");
        json_object_set_new(json_object_get(request, "grant"), "requester", json_string(long_name + shift));
        json_object_set_new(json_object_get(request, "grant"), "policy", json_string(long_name + shift));
        tell(evidence, 10, request);
        json_t *document = evidence_document(evidence, &proof, T0);
        const char *title = audit_text(json_array_get(audit_member(document, "timeline"), 0), "title");
        cr_assert_eq(strncmp(title, "Requested by ", 13), 0, "%s", title);
        must_stand(document, "Policy", "MISSING");
        json_decref(document);
        evidence_free(evidence);
    }
}
