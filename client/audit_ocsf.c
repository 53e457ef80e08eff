/* Which class, and why:
 *
 *   a grant begins or ends       3005 User Access Management: privileges on a resource are given to a user and taken
 * away roles are set                3005, with the roles a subject is locked, let     3001 Account Change: as an
 * identity a person can't do anything, or can again go, or offboarded a session begins             3003 Authorize
 * Session: it gets the grant's privileges all else                     3004 Entity Management: a request, approval,
 * policy, lock, point, review, ... is made, changed, or ends
 *
 * The whole event goes along as `unmapped`, so nothing is lost on the way but the hashes. */
#include "client/audit_ocsf.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "client/audit_event.h"

enum { ACCOUNT_CHANGE = 3001, AUTHORIZE_SESSION = 3003, ENTITY = 3004, USER_ACCESS = 3005 };
enum { INFORMATIONAL = 1, LOW = 2, MEDIUM = 3 };
enum { CREATE = 1, UPDATE = 3, DELETE = 4 }; /* 3004 */
enum {
    ASSIGN_PRIVILEGES = 1,
    REVOKE_PRIVILEGES = 2,
    ASSIGN_ROLE = 3,
    REMOVE_ROLE = 4
};                                          /* 3005, and the first of 3003 */
enum { ENABLE = 2, DISABLE = 5, LOCK = 9 }; /* 3001 */
enum { OTHER = 99 };

struct mapping {
    const char *type;
    int class_uid, activity;
    const char *object; /* of the event: what it is about */
    const char *uid;    /* its member that names it */
    int severity;
};

static const struct mapping mappings[] = {
    {"REQUESTED", ENTITY, CREATE, "grant", "id", INFORMATIONAL},
    {"APPROVED", ENTITY, UPDATE, "grant", "id", INFORMATIONAL},
    {"ACTIVATED", USER_ACCESS, ASSIGN_PRIVILEGES, "grant", "id", INFORMATIONAL},
    {"USED", ENTITY, UPDATE, "grant", "id", INFORMATIONAL},
    {"EXPIRED", USER_ACCESS, REVOKE_PRIVILEGES, "grant", "id", INFORMATIONAL},
    {"REVOKED", USER_ACCESS, REVOKE_PRIVILEGES, "grant", "id", LOW},
    {"COMPLETED", USER_ACCESS, REVOKE_PRIVILEGES, "grant", "id", INFORMATIONAL},
    {"EXHAUSTED", USER_ACCESS, REVOKE_PRIVILEGES, "grant", "id", INFORMATIONAL},
    {"DENIED", ENTITY, DELETE, "grant", "id", LOW},
    {"CANCELLED", ENTITY, DELETE, "grant", "id", INFORMATIONAL},
    {"LAPSED", ENTITY, DELETE, "grant", "id", INFORMATIONAL},
    {"ROLES_CHANGED", USER_ACCESS, ASSIGN_ROLE, "roles", "member", LOW},
    {"POINT_REGISTERED", ENTITY, CREATE, "point", "id", INFORMATIONAL},
    {"POINT_FENCED", ENTITY, UPDATE, "point", "id", LOW},
    {"POINT_ENDED", ENTITY, DELETE, "point", "id", INFORMATIONAL},
    {"ENFORCED", ENTITY, UPDATE, "barrier", "id", INFORMATIONAL},
    {"SESSION_BEGAN", AUTHORIZE_SESSION, ASSIGN_PRIVILEGES, "session", "id", INFORMATIONAL},
    {"SESSION_ENDED", AUTHORIZE_SESSION, OTHER, "session", "id", INFORMATIONAL},
    {"SWEEP_BEGAN", ENTITY, CREATE, "sweep", "id", LOW},
    {"SWEEP_ENDED", ENTITY, UPDATE, "sweep", "id", LOW},
    {"POLICY_APPLIED", ENTITY, CREATE, "policy", "name", LOW},
    {"POLICY_REMOVED", ENTITY, DELETE, "policy", "name", MEDIUM},
    {"LOCKED", ENTITY, CREATE, "lock", "name", MEDIUM},
    {"UNLOCKED", ENTITY, DELETE, "lock", "name", LOW},
    {"ELIGIBILITY_PUT", ENTITY, CREATE, "eligibility", "name", LOW},
    {"ELIGIBILITY_CERTIFIED", ENTITY, UPDATE, "eligibility", "name", INFORMATIONAL},
    {"ELIGIBILITY_ENDED", ENTITY, DELETE, "eligibility", "name", INFORMATIONAL},
    {"CAMPAIGN_STARTED", ENTITY, CREATE, "campaign", "name", INFORMATIONAL},
    {"CAMPAIGN_ENDED", ENTITY, DELETE, "campaign", "name", INFORMATIONAL},
    {"REVIEW_OPENED", ENTITY, CREATE, "review", "name", MEDIUM},
    {"REVIEW_OVERDUE", ENTITY, UPDATE, "review", "name", MEDIUM},
    {"REVIEW_CLOSED", ENTITY, DELETE, "review", "name", LOW},
    {"TOKEN_SET", ENTITY, UPDATE, "grant", "id", LOW},
    {"RECEIPTS", ENTITY, UPDATE, "receipts", "", INFORMATIONAL},
    {"OFFBOARDED", ACCOUNT_CHANGE, DISABLE, "roles", "member", MEDIUM},
};

static struct mapping mapping_of(const json_t *event)
{
    struct mapping mapping = {audit_text(event, "type"), ENTITY, OTHER, "event", "", INFORMATIONAL};
    for (size_t i = 0; i < ARRAY_LEN(mappings); i++)
        if (strcmp(mappings[i].type, mapping.type) == 0)
            mapping = mappings[i];
    bool of_subject = strcmp(audit_text(event, "lock.kind"), "SUBJECT") == 0;
    if (strcmp(mapping.type, "LOCKED") == 0 && of_subject)
        mapping.class_uid = ACCOUNT_CHANGE, mapping.activity = LOCK;
    if (strcmp(mapping.type, "UNLOCKED") == 0 && of_subject)
        mapping.class_uid = ACCOUNT_CHANGE, mapping.activity = ENABLE;
    if (strcmp(mapping.type, "ROLES_CHANGED") == 0 && audit_member(event, "roles.roles") == NULL)
        mapping.activity = REMOVE_ROLE;
    return mapping;
}

static const char *class_name(int class_uid)
{
    return class_uid == USER_ACCESS         ? "User Access Management"
           : class_uid == ACCOUNT_CHANGE    ? "Account Change"
           : class_uid == AUTHORIZE_SESSION ? "Authorize Session"
                                            : "Entity Management";
}

static json_t *user(const char *principal)
{
    return json_pack("{s:s, s:s}", "name", principal, "uid", principal);
}

static json_t *copy_of(const json_t *event, const char *path)
{
    json_t *value = audit_member(event, path);
    return value == NULL ? json_array() : json_deep_copy(value);
}

/* The grant's subject where there is one, else whom the object is about. */
static const char *subject_of(const json_t *event)
{
    static const char *const paths[] = {"grant.subject", "roles.member", "lock.target", "session.grant_id"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        if (*audit_text(event, paths[i]) != '\0')
            return audit_text(event, paths[i]);
    return "unknown";
}

static void put_access(json_t *out, const json_t *event)
{
    json_object_set_new(out, "user", user(subject_of(event)));
    if (audit_member(event, "roles") != NULL) {
        json_object_set_new(out, "privileges", copy_of(event, "roles.roles"));
        return;
    }
    json_object_set_new(out, "privileges", copy_of(event, "grant.actions"));
    json_object_set_new(out, "resources",
                        json_pack("[{s:s, s:s}]", "name", audit_text(event, "grant.resource"), "uid",
                                  audit_text(event, "grant.resource")));
}

/* The class wants privileges: those of the grant where the event has it, else the grant itself is the privilege. */
static void put_session(json_t *out, const json_t *event)
{
    json_t *actions = audit_member(event, "grant.actions");
    json_object_set_new(out, "user", user(subject_of(event)));
    json_object_set_new(out, "session",
                        json_pack("{s:s, s:I}", "uid", audit_text(event, "session.id"), "created_time",
                                  (json_int_t)audit_number(event, "session.began_ms")));
    json_object_set_new(out, "privileges",
                        actions != NULL ? json_deep_copy(actions)
                                        : json_pack("[s]", audit_text(event, "session.grant_id")));
    json_object_set_new(out, "dst_endpoint", json_pack("{s:s}", "name", audit_text(event, "session.point")));
}

static void put_entity(json_t *out, const json_t *event, const struct mapping *mapping)
{
    char path[64], uid[64];
    snprintf(path, sizeof path, "%s.%s", mapping->object, mapping->uid);
    const json_t *named = *mapping->uid == '\0' ? NULL : audit_member(event, path);
    snprintf(uid, sizeof uid, "%" JSON_INTEGER_FORMAT,
             json_is_integer(named) ? json_integer_value(named) : audit_number(event, "revision"));
    const char *name = json_is_string(named) ? json_string_value(named) : uid;
    json_object_set_new(out, "entity",
                        json_pack("{s:s, s:s, s:s}", "type", mapping->object, "uid", name, "name", name));
}

static void put_class(json_t *out, const json_t *event, const struct mapping *mapping)
{
    switch (mapping->class_uid) {
    case USER_ACCESS:
        put_access(out, event);
        break;
    case ACCOUNT_CHANGE:
        json_object_set_new(out, "user", user(subject_of(event)));
        break;
    case AUTHORIZE_SESSION:
        put_session(out, event);
        break;
    default:
        put_entity(out, event, mapping);
    }
}

static json_t *metadata(const char *cluster, const struct lapse_audit_record *record, const struct mapping *mapping)
{
    char uid[200];
    snprintf(uid, sizeof uid, "%s/%llu/%llu", cluster, (unsigned long long)record->epoch,
             (unsigned long long)record->revision);
    return json_pack("{s:s, s:{s:s, s:s, s:s}, s:s, s:I, s:s, s:s}", "version", AUDIT_OCSF_VERSION, "product", "name",
                     "Lapse", "vendor_name", "Lapse", "version", lapse_version(), "uid", uid, "sequence",
                     (json_int_t)record->revision, "event_code", mapping->type, "log_name", "audit");
}

json_t *audit_ocsf(const char *cluster, const struct lapse_audit_record *record, const json_t *event)
{
    struct mapping mapping = mapping_of(event);
    const char *actor = audit_text(event, "actor");
    json_t *out = json_pack(
        "{s:i, s:i, s:s, s:i, s:s, s:i, s:i, s:i, s:I, s:o}", "category_uid", 3, "class_uid", mapping.class_uid,
        "class_name", class_name(mapping.class_uid), "activity_id", mapping.activity, "activity_name", mapping.type,
        "type_uid", mapping.class_uid * 100 + mapping.activity, "severity_id", mapping.severity, "status_id", 1, "time",
        (json_int_t)audit_number(event, "time_ms"), "metadata", metadata(cluster, record, &mapping));
    CHECK(out != NULL);
    if (*actor != '\0')
        json_object_set_new(out, "actor", json_pack("{s:o}", "user", user(actor)));
    put_class(out, event, &mapping);
    json_object_set_new(out, "unmapped", json_deep_copy(event));
    return out;
}
