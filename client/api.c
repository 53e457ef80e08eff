/* lapse.h's calls: typed faces of the one core (call.c). One line a call. */
#include "client/api_internal.h"

#include "base/check.h"
#include "base/random.h"

#define CLUSTER "/lapse.v1.Cluster/"
#define ENFORCEMENT "/lapse.v1.Enforcement/"
#define WRITE(name, path, args)                                                                                        \
    CALL(name, GRANTS path, schema_##args, lapse_##args, schema_mutation, lapse_mutation, lapse_mutation_cb,           \
         offsetof(struct lapse_##args, request_id))

/* clang-format off */
WRITE(request, "Request", request_args)
WRITE(approve, "Approve", decision_args)
WRITE(deny, "Deny", decision_args)
WRITE(cancel, "Cancel", end_args)
WRITE(use, "Use", use_args)
WRITE(complete, "Complete", end_args)
WRITE(revoke, "Revoke", end_args)
CALL(revoke_matching, GRANTS "RevokeMatching", schema_revoke_matching_args, lapse_revoke_matching_args,
     schema_matching_revocation, lapse_matching_revocation, lapse_revoke_matching_cb,
     offsetof(struct lapse_revoke_matching_args, request_id))
READ(list_points, ENFORCEMENT "ListPoints", list_points_args, point_list, lapse_list_points_cb)
READ(get_barrier, ENFORCEMENT "GetBarrier", get_barrier_args, barrier_view, lapse_get_barrier_cb)
READ(get, GRANTS "Get", get_args, grant_view, lapse_get_cb)
READ(list, GRANTS "List", list_args, grant_list, lapse_list_cb)
READ(check, GRANTS "Check", check_args, decision, lapse_check_cb)
READ(cluster_status, CLUSTER "Status", cluster_status_args, cluster_status, lapse_cluster_status_cb)
READ(list_roles, CLUSTER "ListRoles", list_roles_args, role_list, lapse_list_roles_cb)
CALL(set_roles, CLUSTER "SetRoles", schema_set_roles_args, lapse_set_roles_args, schema_roles_change, lapse_roles_change,
     lapse_set_roles_cb, offsetof(struct lapse_set_roles_args, request_id))
CALL(transfer_leadership, CLUSTER "TransferLeadership", schema_transfer_args, lapse_transfer_args, schema_transfer,
     lapse_transfer, lapse_transfer_cb, CALL_NO_REQUEST_ID)
CALL(add_node, CLUSTER "AddNode", schema_add_node_args, lapse_add_node_args, schema_node_change, lapse_node_change,
     lapse_node_change_cb, CALL_NO_REQUEST_ID)
CALL(remove_node, CLUSTER "RemoveNode", schema_remove_node_args, lapse_remove_node_args, schema_node_change,
     lapse_node_change, lapse_node_change_cb, CALL_NO_REQUEST_ID)
/* clang-format on */

/* ---- The stream */

static const struct call_method follow_method = {GRANTS "RevokeAndFollow", &schema_follow_args, &schema_revoke_progress,
                                                 CALL_NO_REQUEST_ID};

/* Its request_id lies in whichever of the two is filled. */
static struct lapse_follow_args follow_with_request_id(const struct lapse_follow_args *args,
                                                       char id[LAPSE_REQUEST_ID_SIZE])
{
    struct lapse_follow_args copy = *args;
    bool single = copy.revoke.grant_id != NULL && *copy.revoke.grant_id != '\0';
    const char **given = single ? &copy.revoke.request_id : &copy.revoke_matching.request_id;
    if (*given == NULL || **given == '\0') {
        lapse_request_id_make(id);
        *given = id;
    }
    return copy;
}

static void follow_deliver_message(void (*on_message)(void), void *arg, const void *message)
{
    ((lapse_follow_cb)on_message)(arg, message);
}

static void follow_deliver(void (*callback)(void), void *arg, const void *result, const struct lapse_error *error)
{
    (void)result;
    ((lapse_followed_cb)callback)(arg, error);
}

lapse_result lapse_revoke_and_follow(struct lapse_client *client, const struct lapse_follow_args *args,
                                     uint32_t timeout_ms, lapse_follow_cb on_progress, void *arg,
                                     struct lapse_error *error)
{
    char id[LAPSE_REQUEST_ID_SIZE];
    struct lapse_follow_args copy = follow_with_request_id(args, id);
    return call_blocking_stream(client, &follow_method, &copy, timeout_ms, follow_deliver_message,
                                (void (*)(void))on_progress, arg, error);
}

lapse_result lapse_revoke_and_follow_async(struct lapse_client *client, const struct lapse_follow_args *args,
                                           uint32_t timeout_ms, lapse_follow_cb on_progress, lapse_followed_cb callback,
                                           void *arg, struct lapse_call **call, struct lapse_error *error)
{
    char id[LAPSE_REQUEST_ID_SIZE];
    struct lapse_follow_args copy = follow_with_request_id(args, id);
    struct call_callback typed = {follow_deliver, (void (*)(void))callback, arg, follow_deliver_message,
                                  (void (*)(void))on_progress};
    return call_start(client, &follow_method, &copy, timeout_ms, typed, call, error);
}

/* ---- Results */

/* clang-format off */
FREE(grant)
FREE(mutation)
FREE(grant_view)
FREE(grant_list)
FREE(decision)
FREE(cluster_status)
FREE(role_list)
FREE(matching_revocation)
FREE(point_list)
FREE(barrier_view)
/* clang-format on */

void lapse_grant_copy(const struct lapse_grant *grant, struct lapse_grant *copy)
{
    codec_copy(&schema_grant, grant, copy);
}

/* ---- Names */

const char *lapse_grant_state_name(enum lapse_grant_state state)
{
    static const char *const names[] = {"UNKNOWN",   "PENDING",   "APPROVED", "ACTIVE",    "EXPIRED", "REVOKED",
                                        "COMPLETED", "EXHAUSTED", "DENIED",   "CANCELLED", "LAPSED"};
    return (unsigned)state < ARRAY_LEN(names) ? names[state] : "UNKNOWN";
}

bool lapse_grant_state_is_ended(enum lapse_grant_state state)
{
    return state >= LAPSE_STATE_EXPIRED && state <= LAPSE_STATE_LAPSED;
}

const char *lapse_event_type_name(enum lapse_event_type type)
{
    static const char *const names[] = {
        "UNKNOWN",       "REQUESTED",     "APPROVED",         "ACTIVATED",    "USED",        "EXPIRED",
        "REVOKED",       "COMPLETED",     "EXHAUSTED",        "DENIED",       "CANCELLED",   "LAPSED",
        "ROLES_CHANGED", "INITIALIZED",   "POINT_REGISTERED", "POINT_FENCED", "POINT_ENDED", "ENFORCED",
        "SESSION_BEGAN", "SESSION_ENDED", "SWEEP_BEGAN",      "SWEEP_ENDED",
        "POLICY_APPLIED", "POLICY_REMOVED", "LOCKED", "UNLOCKED", "ELIGIBILITY_PUT", "ELIGIBILITY_CERTIFIED",
        "ELIGIBILITY_ENDED", "CAMPAIGN_STARTED", "CAMPAIGN_ENDED", "REVIEW_OPENED", "REVIEW_OVERDUE", "REVIEW_CLOSED",
        "TOKEN_SET", "RECEIPTS", "OFFBOARDED"};
    return (unsigned)type < ARRAY_LEN(names) ? names[type] : "UNKNOWN";
}

const char *lapse_receipt_level_name(enum lapse_receipt_level level)
{
    static const char *const names[] = {"UNKNOWN", "ENFORCED", "FAILED", "LAPSED", "LEFT", "RECEIVED", "WAITING"};
    return (unsigned)level < ARRAY_LEN(names) ? names[level] : "UNKNOWN";
}

void lapse_request_id_make(char id[LAPSE_REQUEST_ID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char b[16];
    random_bytes(b, sizeof b);
    b[6] = (b[6] & 0x0F) | 0x40; /* version 4 */
    b[8] = (b[8] & 0x3F) | 0x80; /* the RFC's variant */
    for (size_t i = 0; i < sizeof b; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *id++ = '-';
        *id++ = digits[b[i] >> 4];
        *id++ = digits[b[i] & 15];
    }
    *id = '\0';
}
