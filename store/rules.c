#include "store/rules.h"

#include "base/check.h"
#include "store/governance.h"

#define ASK_REQUESTER "ask an operator for the role requester"
#define OTHER_APPROVER "it takes the role approver, and nobody decides on a grant for themselves; ask another approver"
#define REQUESTER_OR_OPERATOR "only its requester or an operator may; ask one of them"
#define REQUESTER_OR_SUBJECT "only its requester or subject may say that the task is done"
#define ENFORCERS "only enforcement points that guard its resource report uses; ask an operator for the role enforcer"
#define REVOKERS "only an operator, one who approved it or its requester may; ask one of them"
#define OPERATORS "only an operator may; ask one"
#define POINTS "only enforcement points register and report sessions; ask an operator for the role enforcer"
#define REVIEWERS "only an approver may, and never on their own; ask another approver"
#define REQUESTER_OR_SUBJECT_TOKEN "only its requester or subject may have its token"
#define CLUSTER "only the cluster itself may"

#define MAY_REVOKE (BY_OPERATOR | BY_ITS_APPROVER | BY_THE_REQUESTER)

/* Who may is the same in every state of a command: permission is checked before the state is told. */
static const struct rule rules[] = {
    /* command           state           who                              next             event                      */
    {COMMAND_REQUEST, GRANT_NONE, BY_ROLE_REQUESTER, GRANT_PENDING, STORE_EVENT_REQUESTED, ASK_REQUESTER},
    {COMMAND_APPROVE, GRANT_PENDING, BY_OTHER_APPROVER, GRANT_APPROVED, STORE_EVENT_APPROVED, OTHER_APPROVER},
    {COMMAND_DENY, GRANT_PENDING, BY_OTHER_APPROVER, GRANT_DENIED, STORE_EVENT_DENIED, OTHER_APPROVER},
    {COMMAND_CANCEL, GRANT_PENDING, BY_THE_REQUESTER | BY_OPERATOR, GRANT_CANCELLED, STORE_EVENT_CANCELLED,
     REQUESTER_OR_OPERATOR},
    {COMMAND_CANCEL, GRANT_APPROVED, BY_THE_REQUESTER | BY_OPERATOR, GRANT_CANCELLED, STORE_EVENT_CANCELLED,
     REQUESTER_OR_OPERATOR},
    {COMMAND_USE, GRANT_ACTIVE, BY_ENFORCER, GRANT_ACTIVE, STORE_EVENT_USED, ENFORCERS},
    {COMMAND_COMPLETE, GRANT_ACTIVE, BY_THE_REQUESTER | BY_THE_SUBJECT, GRANT_COMPLETED, STORE_EVENT_COMPLETED,
     REQUESTER_OR_SUBJECT},
    {COMMAND_REVOKE, GRANT_APPROVED, MAY_REVOKE, GRANT_REVOKED, STORE_EVENT_REVOKED, REVOKERS},
    {COMMAND_REVOKE, GRANT_ACTIVE, MAY_REVOKE, GRANT_REVOKED, STORE_EVENT_REVOKED, REVOKERS},
    /* When its timer is due. */
    {COMMAND_ADVANCE, GRANT_PENDING, BY_CLUSTER, GRANT_LAPSED, STORE_EVENT_LAPSED, CLUSTER},
    {COMMAND_ADVANCE, GRANT_APPROVED, BY_CLUSTER, GRANT_ACTIVE, STORE_EVENT_ACTIVATED, CLUSTER},
    {COMMAND_ADVANCE, GRANT_ACTIVE, BY_CLUSTER, GRANT_EXPIRED, STORE_EVENT_EXPIRED, CLUSTER},
    {RULE_LAST_USE, GRANT_ACTIVE, BY_ENFORCER, GRANT_EXHAUSTED, STORE_EVENT_EXHAUSTED, ENFORCERS},
    /* A request was never a grant, so it is not revoked but cancelled. */
    {RULE_PARENT_ENDED, GRANT_PENDING, BY_CLUSTER, GRANT_CANCELLED, STORE_EVENT_CANCELLED, CLUSTER},
    {RULE_PARENT_ENDED, GRANT_APPROVED, BY_CLUSTER, GRANT_REVOKED, STORE_EVENT_REVOKED, CLUSTER},
    {RULE_PARENT_ENDED, GRANT_ACTIVE, BY_CLUSTER, GRANT_REVOKED, STORE_EVENT_REVOKED, CLUSTER},
    /* Likewise; a sweep's own right is checked once, when it begins. */
    {COMMAND_REVOKE_MATCHING, GRANT_PENDING, BY_OPERATOR, GRANT_CANCELLED, STORE_EVENT_CANCELLED, OPERATORS},
    {COMMAND_REVOKE_MATCHING, GRANT_APPROVED, BY_OPERATOR, GRANT_REVOKED, STORE_EVENT_REVOKED, OPERATORS},
    {COMMAND_REVOKE_MATCHING, GRANT_ACTIVE, BY_OPERATOR, GRANT_REVOKED, STORE_EVENT_REVOKED, OPERATORS},
    /* About no grant. */
    {COMMAND_ADVANCE, GRANT_NONE, BY_CLUSTER, GRANT_NONE, 0, CLUSTER},
    {COMMAND_SET_ROLES, GRANT_NONE, BY_OPERATOR, GRANT_NONE, STORE_EVENT_ROLES_CHANGED, OPERATORS},
    {COMMAND_INIT, GRANT_NONE, BY_CLUSTER, GRANT_NONE, STORE_EVENT_INITIALIZED, CLUSTER},
    {COMMAND_REGISTER, GRANT_NONE, BY_ENFORCER, GRANT_NONE, STORE_EVENT_POINT_REGISTERED, POINTS},
    {COMMAND_RECEIPTS, GRANT_NONE, BY_CLUSTER, GRANT_NONE, 0, CLUSTER},
    {COMMAND_END_POINT, GRANT_NONE, BY_CLUSTER, GRANT_NONE, STORE_EVENT_POINT_ENDED, CLUSTER},
    {COMMAND_SESSION_BEGIN, GRANT_NONE, BY_ENFORCER, GRANT_NONE, STORE_EVENT_SESSION_BEGAN, POINTS},
    {COMMAND_SESSION_END, GRANT_NONE, BY_ENFORCER, GRANT_NONE, STORE_EVENT_SESSION_ENDED, POINTS},
    {COMMAND_REVOKE_MATCHING, GRANT_NONE, BY_OPERATOR, GRANT_NONE, STORE_EVENT_SWEEP_BEGAN, OPERATORS},
    {COMMAND_APPLY_POLICY, GRANT_NONE, BY_OPERATOR, GRANT_NONE, STORE_EVENT_POLICY_APPLIED, OPERATORS},
    {COMMAND_REMOVE_POLICY, GRANT_NONE, BY_OPERATOR, GRANT_NONE, STORE_EVENT_POLICY_REMOVED, OPERATORS},
    {COMMAND_LOCK, GRANT_NONE, BY_OPERATOR, GRANT_NONE, STORE_EVENT_LOCKED, OPERATORS},
    {COMMAND_UNLOCK, GRANT_NONE, BY_OPERATOR, GRANT_NONE, STORE_EVENT_UNLOCKED, OPERATORS},
    {COMMAND_OFFBOARD, GRANT_NONE, BY_OPERATOR, GRANT_NONE, STORE_EVENT_OFFBOARDED, OPERATORS},
    {COMMAND_PUT_ELIGIBILITY, GRANT_NONE, BY_OPERATOR, GRANT_NONE, STORE_EVENT_ELIGIBILITY_PUT, OPERATORS},
    {COMMAND_REMOVE_ELIGIBILITY, GRANT_NONE, BY_OPERATOR, GRANT_NONE, STORE_EVENT_ELIGIBILITY_ENDED, OPERATORS},
    {COMMAND_CERTIFY, GRANT_NONE, BY_OPERATOR, GRANT_NONE, STORE_EVENT_ELIGIBILITY_CERTIFIED, OPERATORS},
    {COMMAND_START_CAMPAIGN, GRANT_NONE, BY_OPERATOR, GRANT_NONE, STORE_EVENT_CAMPAIGN_STARTED, OPERATORS},
    {COMMAND_CLOSE_CAMPAIGN, GRANT_NONE, BY_OPERATOR, GRANT_NONE, STORE_EVENT_CAMPAIGN_ENDED, OPERATORS},
    {COMMAND_CLOSE_REVIEW, GRANT_NONE, BY_ROLE_APPROVER, GRANT_NONE, STORE_EVENT_REVIEW_CLOSED, REVIEWERS},
    {COMMAND_SET_TOKEN, GRANT_ACTIVE, BY_THE_REQUESTER | BY_THE_SUBJECT, GRANT_ACTIVE, STORE_EVENT_TOKEN_SET,
     REQUESTER_OR_SUBJECT_TOKEN},
    {COMMAND_HOOK_DONE, GRANT_NONE, BY_CLUSTER, GRANT_NONE, 0, CLUSTER},
};

const struct rule *rules_at(size_t n)
{
    return n < ARRAY_LEN(rules) ? &rules[n] : NULL;
}

const struct rule *rules_find(int command, int state)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (rules[i].command == command && rules[i].state == state)
            return &rules[i];
    return NULL;
}

const char *command_name(int command)
{
    static const char *const names[] = {NULL,          "REQUEST",        "APPROVE",  "DENY",      "CANCEL",
                                        "USE",         "COMPLETE",       "REVOKE",   "ADVANCE",   "SET_ROLES",
                                        "INIT",        "REGISTER",       "RECEIPTS", "END_POINT", "SESSION_BEGIN",
                                        "SESSION_END", "REVOKE_MATCHING", "APPLY_POLICY", "REMOVE_POLICY", "LOCK", "UNLOCK", "OFFBOARD",
                                        "PUT_ELIGIBILITY", "REMOVE_ELIGIBILITY", "CERTIFY", "START_CAMPAIGN", "CLOSE_CAMPAIGN",
                                        "CLOSE_REVIEW", "SET_TOKEN", "HOOK_DONE"};
    return command > 0 && (unsigned)command < ARRAY_LEN(names) ? names[command] : "UNKNOWN";
}

static bool approved_by(const struct store *store, uint32_t slot, struct slice principal)
{
    for (uint32_t i = 0; i < store_record(store, slot)->n_approvals; i++)
        if (principal_same(store_string(store, approval_at(store, slot, i).approver), principal))
            return true;
    return false;
}

/* What the principal is to this grant. */
static uint32_t relation(const struct store *store, uint32_t slot, struct slice principal)
{
    const struct record *record = store_record(store, slot);
    uint32_t held = 0;
    if (principal_same(store_string(store, record->requester), principal))
        held |= BY_THE_REQUESTER;
    if (principal_same(store_string(store, record->subject), principal))
        held |= BY_THE_SUBJECT;
    if (approved_by(store, slot, principal))
        held |= BY_ITS_APPROVER;
    return held;
}

/* Whether somebody with that relation to the grant would decide for themselves, and its rule doesn't let them. */
static bool is_for_themselves(const struct store *store, uint32_t slot, uint32_t held)
{
    struct grant terms;
    if ((held & (BY_THE_REQUESTER | BY_THE_SUBJECT)) == 0)
        return false;
    slot_read_shared(store, slot, &terms);
    return !terms.self_approval || (held & BY_THE_REQUESTER) == 0;
}

/* Whether an enforcer guards what the grant is for; one that is about no grant in particular may. */
static bool guards(const struct store *store, struct slice principal, uint32_t slot)
{
    return slot == 0 ||
           roles_guard_some(&store->roles, principal, store_string(store, store_record(store, slot)->resource));
}

/* Only the bits of `asked` are worked out. */
static uint32_t authority_of(const struct store *store, uint32_t asked, struct slice principal, uint32_t slot)
{
    static const uint32_t by_relation = BY_OTHER_APPROVER | BY_THE_REQUESTER | BY_THE_SUBJECT | BY_ITS_APPROVER;
    static const uint32_t by_role =
        BY_OTHER_APPROVER | BY_ROLE_APPROVER | BY_ROLE_REQUESTER | BY_ENFORCER | BY_OPERATOR;
    if (principal.len == 0)
        return BY_CLUSTER;
    uint32_t held = 0;
    if (slot != 0 && (asked & by_relation) != 0)
        held |= relation(store, slot, principal);
    uint32_t roles = (asked & by_role) != 0 ? store_roles_of(store, principal) : 0;
    held |= (roles & ROLE_REQUESTER) != 0 ? BY_ROLE_REQUESTER : 0;
    held |= (roles & ROLE_OPERATOR) != 0 ? BY_OPERATOR : 0;
    if ((roles & ROLE_ENFORCER) != 0 && guards(store, principal, slot))
        held |= BY_ENFORCER;
    held |= (roles & ROLE_APPROVER) != 0 ? BY_ROLE_APPROVER : 0;
    if ((roles & ROLE_APPROVER) != 0 && !is_for_themselves(store, slot, held))
        held |= BY_OTHER_APPROVER;
    return held;
}

static lapse_result permit(const struct store *store, const struct rule *rule, uint32_t who, struct slice principal,
                           uint32_t slot, struct lapse_error *error)
{
    if ((authority_of(store, who, principal, slot) & who) != 0)
        return lapse_ok();
    const struct object *lock = locks_of_principal(store, principal, store->time_ms);
    if (lock != NULL)
        return locks_refuse(lock, LAPSE_PERMISSION_DENIED, error);
    /* The name is cut so that the advice behind it always fits. */
    int len = principal.len > 100 ? 100 : (int)principal.len;
    return lapse_fail(error, LAPSE_PERMISSION_DENIED, "%.*s may not %s: %s", len,
                      len == 0 ? "" : (const char *)principal.data, command_name(rule->command), rule->refusal);
}

lapse_result rules_permit(const struct store *store, const struct rule *rule, struct slice principal, uint32_t slot,
                          struct lapse_error *error)
{
    return permit(store, rule, rule->who, principal, slot, error);
}

lapse_result rules_permit_to_hear(const struct store *store, const struct rule *rule, struct slice principal,
                                  uint32_t slot, struct lapse_error *error)
{
    uint32_t who = rule->who | ((rule->who & BY_OTHER_APPROVER) != 0 ? BY_ROLE_APPROVER : 0);
    return permit(store, rule, who, principal, slot, error);
}

static const char *advice(enum grant_state state)
{
    switch (state) {
    case GRANT_PENDING:
        return "it waits for an approver to decide, or CANCEL it";
    case GRANT_APPROVED:
        return "it becomes active at its not_before; until then it can be cancelled or revoked";
    case GRANT_ACTIVE:
        return "the decision has been made; REVOKE it to end it";
    default:
        return "request a new one";
    }
}

lapse_result rules_wrong_state(const struct store *store, int command, uint32_t slot, int64_t now_ms,
                               struct lapse_error *error)
{
    char id[GRANT_ID_TEXT_SIZE];
    const struct record *record = store_record(store, slot);
    enum grant_state seen = state_at(store, slot, now_ms);
    grant_id_format(record->id, id);
    if (seen == (enum grant_state)record->state)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "can't %s: grant %s is %s since revision %llu; %s",
                          command_name(command), id, grant_state_name(seen),
                          (unsigned long long)u48_get(record->revision), advice(seen));
    const char *why = seen == GRANT_EXPIRED      ? "is past its deadline"
                      : seen == GRANT_LAPSED     ? "was not decided in time"
                      : sweeps_take(store, slot) ? "was revoked with others"
                                                 : "has lost its parent";
    return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "can't %s: grant %s %s (%s); request a new one",
                      command_name(command), id, why, grant_state_name(seen));
}

enum grant_state own_state_at(const struct store *store, uint32_t slot, int64_t now_ms)
{
    const struct record *record = store_record(store, slot);
    enum grant_state state = (enum grant_state)record->state;
    if (state == GRANT_PENDING) {
        struct grant terms;
        slot_read_shared(store, slot, &terms);
        return now_ms >= pending_until_ms(&terms, (int64_t)u48_get(record->requested_ms)) ? GRANT_LAPSED : state;
    }
    bool decided = state == GRANT_APPROVED || state == GRANT_ACTIVE;
    return decided && now_ms >= (int64_t)u48_get(record->deadline_ms) ? GRANT_EXPIRED : state;
}

enum grant_state state_at(const struct store *store, uint32_t slot, int64_t now_ms)
{
    enum grant_state state = own_state_at(store, slot, now_ms);
    if (grant_state_is_ended(state))
        return state;
    if (sweeps_take(store, slot))
        return (enum grant_state)rules_find(COMMAND_REVOKE_MATCHING, (int)state)->next;
    uint32_t parent = family_parent(store, slot);
    for (; parent != 0; parent = family_parent(store, parent))
        if (grant_state_is_ended(own_state_at(store, parent, now_ms)) || sweeps_take(store, parent))
            return (enum grant_state)rules_find(RULE_PARENT_ENDED, (int)state)->next;
    return state;
}
