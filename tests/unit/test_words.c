/* What the store writes by hand is what the .proto files say: its field numbers against the embedded
 * descriptors, which know all fields (generated code leaves out what goes through as bytes). */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/check.h"
#include "base/wire.h"
#include "proto/descriptors_index.h"
#include "store/word_fields.h"

struct word {
    const char *message, *field;
    uint32_t number;
};

static const struct word words[] = {
    {"Approval", "approver", WORD_APPROVAL_APPROVER},
    {"Approval", "time_ms", WORD_APPROVAL_TIME_MS},
    {"Approval", "comment", WORD_APPROVAL_COMMENT},
    {"Approval", "revision", WORD_APPROVAL_REVISION},
    {"Barrier", "id", WORD_BARRIER_ID},
    {"Barrier", "revision", WORD_BARRIER_REVISION},
    {"Barrier", "grant_id", WORD_BARRIER_GRANT_ID},
    {"Barrier", "points", WORD_BARRIER_POINTS},
    {"Barrier", "enforced", WORD_BARRIER_ENFORCED},
    {"Barrier", "failed", WORD_BARRIER_FAILED},
    {"Barrier", "lapsed", WORD_BARRIER_LAPSED},
    {"Barrier", "left", WORD_BARRIER_LEFT},
    {"Barrier", "done", WORD_BARRIER_DONE},
    {"Barrier", "time_ms", WORD_BARRIER_TIME_MS},
    {"Barrier", "done_ms", WORD_BARRIER_DONE_MS},
    {"Barrier", "untracked", WORD_BARRIER_UNTRACKED},
    {"Barrier", "grants", WORD_BARRIER_GRANTS},
    {"Binding", "spiffe_id", WORD_BINDING_SPIFFE_ID},
    {"Binding", "certificate_sha256", WORD_BINDING_CERTIFICATE_SHA256},
    {"Binding", "networks", WORD_BINDING_NETWORKS},
    {"Event", "revision", WORD_EVENT_REVISION},
    {"Event", "time_ms", WORD_EVENT_TIME_MS},
    {"Event", "type", WORD_EVENT_TYPE},
    {"Event", "grant", WORD_EVENT_GRANT},
    {"Event", "roles", WORD_EVENT_ROLES},
    {"Event", "point", WORD_EVENT_POINT},
    {"Event", "barrier", WORD_EVENT_BARRIER},
    {"Event", "session", WORD_EVENT_SESSION},
    {"Event", "sweep", WORD_EVENT_SWEEP},
    {"Event", "actor", WORD_EVENT_ACTOR},
    {"Event", "policy", WORD_EVENT_POLICY},
    {"Event", "lock", WORD_EVENT_LOCK},
    {"Event", "eligibility", WORD_EVENT_ELIGIBILITY},
    {"Event", "campaign", WORD_EVENT_CAMPAIGN},
    {"Event", "review", WORD_EVENT_REVIEW},
    {"Event", "receipts", WORD_EVENT_RECEIPTS},
    {"GrantStep", "count", WORD_GRANT_STEP_COUNT},
    {"GrantStep", "approvers", WORD_GRANT_STEP_APPROVERS},
    {"Grant", "id", WORD_GRANT_ID},
    {"Grant", "state", WORD_GRANT_STATE},
    {"Grant", "subject", WORD_GRANT_SUBJECT},
    {"Grant", "resource", WORD_GRANT_RESOURCE},
    {"Grant", "actions", WORD_GRANT_ACTIONS},
    {"Grant", "justification", WORD_GRANT_JUSTIFICATION},
    {"Grant", "ticket", WORD_GRANT_TICKET},
    {"Grant", "task", WORD_GRANT_TASK},
    {"Grant", "requester", WORD_GRANT_REQUESTER},
    {"Grant", "approvals", WORD_GRANT_APPROVALS},
    {"Grant", "binding", WORD_GRANT_BINDING},
    {"Grant", "labels", WORD_GRANT_LABELS},
    {"Grant", "parent", WORD_GRANT_PARENT},
    {"Grant", "policy", WORD_GRANT_POLICY},
    {"Grant", "policy_version", WORD_GRANT_POLICY_VERSION},
    {"Grant", "break_glass", WORD_GRANT_BREAK_GLASS},
    {"Grant", "duration_ms", WORD_GRANT_DURATION_MS},
    {"Grant", "not_before_ms", WORD_GRANT_NOT_BEFORE_MS},
    {"Grant", "deadline_ms", WORD_GRANT_DEADLINE_MS},
    {"Grant", "pending_until_ms", WORD_GRANT_PENDING_UNTIL_MS},
    {"Grant", "max_uses", WORD_GRANT_MAX_USES},
    {"Grant", "uses", WORD_GRANT_USES},
    {"Grant", "ended_by", WORD_GRANT_ENDED_BY},
    {"Grant", "reason", WORD_GRANT_REASON},
    {"Grant", "requested_ms", WORD_GRANT_REQUESTED_MS},
    {"Grant", "approved_ms", WORD_GRANT_APPROVED_MS},
    {"Grant", "activated_ms", WORD_GRANT_ACTIVATED_MS},
    {"Grant", "ended_ms", WORD_GRANT_ENDED_MS},
    {"Grant", "requested_revision", WORD_GRANT_REQUESTED_REVISION},
    {"Grant", "approved_revision", WORD_GRANT_APPROVED_REVISION},
    {"Grant", "activated_revision", WORD_GRANT_ACTIVATED_REVISION},
    {"Grant", "ended_revision", WORD_GRANT_ENDED_REVISION},
    {"Grant", "revision", WORD_GRANT_REVISION},
    {"Grant", "rule", WORD_GRANT_RULE},
    {"Grant", "steps", WORD_GRANT_STEPS},
    {"Grant", "automatic", WORD_GRANT_AUTOMATIC},
    {"Grant", "self_approval", WORD_GRANT_SELF_APPROVAL},
    {"Grant", "held", WORD_GRANT_HELD},
    {"Grant", "delegation_depth", WORD_GRANT_DELEGATION_DEPTH},
    {"Grant", "review_within_ms", WORD_GRANT_REVIEW_WITHIN_MS},
    {"Grant", "reviewers", WORD_GRANT_REVIEWERS},
    {"Grant", "token_rule", WORD_GRANT_TOKEN_RULE},
    {"Grant", "token_sha256", WORD_GRANT_TOKEN_SHA256},
    {"Label", "key", WORD_LABEL_KEY},
    {"Label", "value", WORD_LABEL_VALUE},
    {"Point", "id", WORD_POINT_ID},
    {"Point", "instance", WORD_POINT_INSTANCE},
    {"Point", "principal", WORD_POINT_PRINCIPAL},
    {"Point", "scope", WORD_POINT_SCOPE},
    {"Point", "lease_ms", WORD_POINT_LEASE_MS},
    {"Point", "fenced", WORD_POINT_FENCED},
    {"Point", "revision", WORD_POINT_REVISION},
    {"Point", "registered_ms", WORD_POINT_REGISTERED_MS},
    {"Point", "sessions", WORD_POINT_SESSIONS},
    {"Point", "ended", WORD_POINT_ENDED},
    {"Receipt", "point", WORD_RECEIPT_POINT},
    {"Receipt", "instance", WORD_RECEIPT_INSTANCE},
    {"Receipt", "level", WORD_RECEIPT_LEVEL},
    {"Receipt", "time_ms", WORD_RECEIPT_TIME_MS},
    {"Receipt", "reason", WORD_RECEIPT_REASON},
    {"Receipt", "left_ms", WORD_RECEIPT_LEFT_MS},
    {"Receipt", "barrier", WORD_RECEIPT_BARRIER},
    {"RoleBinding", "member", WORD_ROLE_BINDING_MEMBER},
    {"RoleBinding", "roles", WORD_ROLE_BINDING_ROLES},
    {"RoleBinding", "scope", WORD_ROLE_BINDING_SCOPE},
    {"Session", "id", WORD_SESSION_ID},
    {"Session", "point", WORD_SESSION_POINT},
    {"Session", "grant_id", WORD_SESSION_GRANT_ID},
    {"Session", "description", WORD_SESSION_DESCRIPTION},
    {"Session", "began_ms", WORD_SESSION_BEGAN_MS},
    {"Session", "ended_ms", WORD_SESSION_ENDED_MS},
    {"Sweep", "subject", WORD_SWEEP_SUBJECT},
    {"Sweep", "resource", WORD_SWEEP_RESOURCE},
    {"Sweep", "requester", WORD_SWEEP_REQUESTER},
    {"Sweep", "approver", WORD_SWEEP_APPROVER},
    {"Sweep", "ticket", WORD_SWEEP_TICKET},
    {"Sweep", "policy", WORD_SWEEP_POLICY},
    {"Sweep", "parent", WORD_SWEEP_PARENT},
    {"Sweep", "reason", WORD_SWEEP_REASON},
    {"Sweep", "by", WORD_SWEEP_BY},
    {"Sweep", "grants", WORD_SWEEP_GRANTS},
    {"Sweep", "id", WORD_SWEEP_ID},
    {"Sweep", "policy_version", WORD_SWEEP_POLICY_VERSION},
    {"Sweep", "binding", WORD_SWEEP_BINDING},
    {"Sweep", "label", WORD_SWEEP_LABEL},
    {"Sweep", "person", WORD_SWEEP_PERSON},
};

/* google/protobuf/descriptor.proto. */
enum { MESSAGE_FIELD = 2, FIELD_NAME = 1, FIELD_NUMBER = 3 };

static struct slice descriptor(const char *message)
{
    char name[64];
    struct slice bytes;
    (void)snprintf(name, sizeof name, "lapse.v1.%s", message);
    cr_assert(descriptor_message(slice_str(name), &bytes), "%s", name);
    return bytes;
}

static void read_field(struct slice bytes, struct slice *name, uint32_t *number)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field part;
    while (wire_next(&reader, &part)) {
        if (part.number == FIELD_NAME)
            *name = part.bytes;
        else if (part.number == FIELD_NUMBER)
            *number = (uint32_t)part.value;
    }
}

/* 0: the message has no such field. */
static uint32_t number_of(const char *message, const char *field)
{
    struct wire_reader reader = wire_reader(descriptor(message));
    struct wire_field part;
    while (wire_next(&reader, &part)) {
        struct slice name = {0};
        uint32_t number = 0;
        if (part.number != MESSAGE_FIELD)
            continue;
        read_field(part.bytes, &name, &number);
        if (slice_equal(name, slice_str(field)))
            return number;
    }
    return 0;
}

Test(words, every_number_is_that_of_the_schema)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        cr_expect_eq(words[i].number, number_of(words[i].message, words[i].field), "%s.%s", words[i].message,
                     words[i].field);
}

Test(words, every_field_of_the_schema_has_a_word)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        struct wire_reader reader = wire_reader(descriptor(words[i].message));
        struct wire_field part;
        size_t said = 0, fields = 0;
        while (wire_next(&reader, &part))
            fields += part.number == MESSAGE_FIELD;
        for (size_t j = 0; j < ARRAY_LEN(words); j++)
            said += strcmp(words[j].message, words[i].message) == 0;
        cr_expect_eq(said, fields, "%s has %zu fields and %zu words", words[i].message, fields, said);
    }
}
