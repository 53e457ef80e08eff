/* One line a field, in the order of the .proto files: number, struct member, bounds. See codec.h. */
#include "client/schema.h"

#include "base/limits.h"
#include "client/schema_table.h"

#define F_STATES(n, m)                                                                                                 \
    {                                                                                                                  \
        .number = (n), .kind = CODEC_ENUMS, .name = #m, .offset = offsetof(S, m), .count_offset = offsetof(S, n_##m),  \
        .count_max = COUNT_STATES, .enum_name = state_name                                                             \
    }

/* A hostile node must not make few bytes into much memory: these are far above what a cluster sends. */
#define COUNT_STATES 32
#define COUNT_BINDINGS LIMIT_ROLE_BINDINGS
#define COUNT_RECEIPTS 1024

static const char *state_name(int value)
{
    return lapse_grant_state_name((enum lapse_grant_state)value);
}

static const char *event_name(int value)
{
    return lapse_event_type_name((enum lapse_event_type)value);
}

static const char *level_name(int value)
{
    return lapse_receipt_level_name((enum lapse_receipt_level)value);
}

const char *schema_wait_name(int value)
{
    static const char *const names[] = {"COMMITTED", "RECEIVED", "ENFORCED"};
    return value >= 0 && (unsigned)value < ARRAY_LEN(names) ? names[value] : "UNKNOWN";
}

#define S struct lapse_label
static const struct codec_field label_fields[] = {
    F(STRING, 1, key),
    F(STRING, 2, value),
};
static MESSAGE(label, "Label");
#undef S

#define S struct lapse_approval
static const struct codec_field approval_fields[] = {
    F(STRING, 1, approver),
    F(INT64, 2, time_ms),
    F(STRING, 3, comment),
    F(UINT64, 4, revision),
};
static MESSAGE(approval, "Approval");
#undef S

#define S struct lapse_grant_step
static const struct codec_field grant_step_fields[] = {
    F(UINT32, 1, count),
    F(STRING, 2, approvers),
};
static MESSAGE(grant_step, "GrantStep");
#undef S

#define S struct lapse_binding
static const struct codec_field binding_fields[] = {
    F(STRING, 1, spiffe_id),
    F(BYTES, 2, certificate_sha256),
    F_REPEATED(STRINGS, 3, networks, COUNT_FEW),
};
static MESSAGE(binding, "Binding");
#undef S

#define S struct lapse_grant
static const struct codec_field schema_grant_fields[] = {
    F(STRING, 1, id),
    F_ENUM(2, state, state_name),
    F(STRING, 3, subject),
    F(STRING, 4, resource),
    F_REPEATED(STRINGS, 5, actions, COUNT_FEW),
    F(STRING, 6, justification),
    F(STRING, 7, ticket),
    F(STRING, 8, task),
    F(STRING, 9, requester),
    F_MESSAGES(10, approvals, approval, COUNT_FEW),
    F_MESSAGE(11, binding, binding),
    F_MESSAGES(12, labels, label, COUNT_FEW),
    F(STRING, 13, parent),
    F(STRING, 14, policy),
    F(UINT64, 15, policy_version),
    F(BOOL, 16, break_glass),
    F(INT64, 17, duration_ms),
    F(INT64, 18, not_before_ms),
    F(INT64, 19, deadline_ms),
    F(INT64, 20, pending_until_ms),
    F(UINT32, 21, max_uses),
    F(UINT32, 22, uses),
    F(STRING, 23, ended_by),
    F(STRING, 24, reason),
    F(INT64, 25, requested_ms),
    F(INT64, 26, approved_ms),
    F(INT64, 27, activated_ms),
    F(INT64, 28, ended_ms),
    F(UINT64, 29, requested_revision),
    F(UINT64, 30, approved_revision),
    F(UINT64, 31, activated_revision),
    F(UINT64, 32, ended_revision),
    F(UINT64, 33, revision),
    F(STRING, 34, rule),
    F_MESSAGES(35, steps, grant_step, COUNT_FEW),
    F(BOOL, 36, automatic),
    F(BOOL, 37, self_approval),
    F(BOOL, 38, held),
    F(UINT32, 39, delegation_depth),
    F(INT64, 40, review_within_ms),
    F(STRING, 41, reviewers),
    F(UINT32, 42, token_rule),
    F(BYTES, 43, token_sha256),
};
MESSAGE(schema_grant, "Grant");
#undef S

#define S struct lapse_role_binding
static const struct codec_field schema_role_binding_fields[] = {
    F(STRING, 1, member),
    F_REPEATED(STRINGS, 2, roles, COUNT_FEW),
    F_REPEATED(STRINGS, 3, scope, COUNT_FEW),
};
MESSAGE(schema_role_binding, "RoleBinding");
#undef S

#define S struct lapse_point
static const struct codec_field schema_point_fields[] = {
    F(STRING, 1, id),       F(BYTES, 2, instance), F(STRING, 3, principal), F_REPEATED(STRINGS, 4, scope, COUNT_FEW),
    F(UINT32, 5, lease_ms), F(BOOL, 6, fenced),    F(UINT64, 7, revision),  F(INT64, 8, registered_ms),
    F(UINT32, 9, sessions), F(STRING, 10, ended),
};
MESSAGE(schema_point, "Point");
#undef S

#define S struct lapse_barrier
static const struct codec_field schema_barrier_fields[] = {
    F(UINT64, 1, id),      F(UINT64, 2, revision), F(STRING, 3, grant_id), F(UINT32, 4, points), F(UINT32, 5, enforced),
    F(UINT32, 6, failed),  F(UINT32, 7, lapsed),   F(UINT32, 8, left),     F(BOOL, 9, done),     F(INT64, 10, time_ms),
    F(INT64, 11, done_ms), F(BOOL, 12, untracked), F(UINT64, 13, grants),
};
MESSAGE(schema_barrier, "Barrier");
#undef S

#define S struct lapse_receipt
static const struct codec_field schema_receipt_fields[] = {
    F(STRING, 1, point),  F(BYTES, 2, instance), F_ENUM(3, level, level_name),
    F(INT64, 4, time_ms), F(STRING, 5, reason),  F(UINT32, 6, left_ms), F(UINT64, 7, barrier),
};
MESSAGE(schema_receipt, "Receipt");
#undef S

#define S struct lapse_session
static const struct codec_field schema_session_fields[] = {
    F(BYTES, 1, id),           F(STRING, 2, point),   F(STRING, 3, grant_id),
    F(STRING, 4, description), F(INT64, 5, began_ms), F(INT64, 6, ended_ms),
};
MESSAGE(schema_session, "Session");
#undef S

#define S struct lapse_sweep
static const struct codec_field schema_sweep_fields[] = {
    F(STRING, 1, subject), F(STRING, 2, resource), F(STRING, 3, requester), F(STRING, 4, approver),
    F(STRING, 5, ticket),  F(STRING, 6, policy),   F(STRING, 7, parent),    F(STRING, 8, reason),
    F(STRING, 9, by),      F(UINT64, 10, grants),  F(UINT64, 11, id), F(UINT64, 12, policy_version),
    F(STRING, 13, binding), F(STRING, 14, label), F(STRING, 15, person),
};
MESSAGE(schema_sweep, "Sweep");
#undef S

#define S struct lapse_event
static const struct codec_field schema_event_fields[] = {
    F(UINT64, 1, revision),
    F(INT64, 2, time_ms),
    F_ENUM(3, type, event_name),
    F_MESSAGE(4, grant, schema_grant),
    F_MESSAGE(5, roles, schema_role_binding),
    F_MESSAGE(6, point, schema_point),
    F_MESSAGE(7, barrier, schema_barrier),
    F_MESSAGE(8, session, schema_session),
    F_MESSAGE(9, sweep, schema_sweep),
    F(STRING, 10, actor),
    F_MESSAGE(11, policy, schema_policy),
    F_MESSAGE(12, lock, schema_lock),
    F_MESSAGE(13, eligibility, schema_eligibility),
    F_MESSAGE(14, campaign, schema_campaign),
    F_MESSAGE(15, review, schema_review),
    F_MESSAGES(16, receipts, schema_receipt, COUNT_RECEIPTS),
};
MESSAGE(schema_event, "Event");
#undef S

#define S struct lapse_request_args
static const struct codec_field schema_request_args_fields[] = {
    F(STRING, 1, request_id),
    F(STRING, 2, subject),
    F(STRING, 3, resource),
    F_REPEATED(STRINGS, 4, actions, COUNT_FEW),
    F(STRING, 5, justification),
    F(STRING, 6, ticket),
    F(STRING, 7, task),
    F(INT64, 8, duration_ms),
    F(INT64, 9, deadline_ms),
    F(INT64, 10, not_before_ms),
    F(INT64, 11, pending_until_ms),
    F(UINT32, 12, max_uses),
    F_MESSAGE(13, binding, binding),
    F_MESSAGES(14, labels, label, COUNT_FEW),
    F(STRING, 15, parent),
    F(STRING, 16, policy),
    F(BOOL, 17, break_glass),
};
MESSAGE(schema_request_args, "RequestRequest");
#undef S

#define S struct lapse_decision_args
static const struct codec_field schema_decision_args_fields[] = {
    F(STRING, 1, request_id),
    F(STRING, 2, grant_id),
    F(STRING, 3, comment),
};
MESSAGE(schema_decision_args, "DecisionRequest");
#undef S

#define S struct lapse_end_args
static const struct codec_field schema_end_args_fields[] = {
    F(STRING, 1, request_id),   F(STRING, 2, grant_id), F(STRING, 3, reason),
    F_ENUM(4, wait, schema_wait_name), F(UINT32, 5, wait_ms),
};
MESSAGE(schema_end_args, "EndRequest");
#undef S

#define S struct lapse_use_args
static const struct codec_field schema_use_args_fields[] = {
    F(STRING, 1, request_id),
    F(STRING, 2, grant_id),
    F(UINT32, 3, count),
};
MESSAGE(schema_use_args, "UseRequest");
#undef S

#define S struct lapse_mutation
static const struct codec_field schema_mutation_fields[] = {
    F(UINT64, 1, epoch),       F(UINT64, 2, revision),
    F(INT64, 3, time_ms),      F_MESSAGE(4, grant, schema_grant),
    F(BOOL, 5, repeated_call), F_MESSAGE(6, barrier, schema_barrier),
};
MESSAGE(schema_mutation, "MutationResponse");
#undef S

#define S struct lapse_get_args
static const struct codec_field schema_get_args_fields[] = {
    F(STRING, 1, grant_id),
};
MESSAGE(schema_get_args, "GetRequest");
#undef S

#define S struct lapse_grant_view
static const struct codec_field schema_grant_view_fields[] = {
    F(UINT64, 1, epoch),
    F(UINT64, 2, revision),
    F(INT64, 3, time_ms),
    F_MESSAGE(4, grant, schema_grant),
};
MESSAGE(schema_grant_view, "GetResponse");
#undef S

#define S struct lapse_filter
static const struct codec_field filter_fields[] = {
    F(STRING, 1, subject), F(STRING, 2, resource), F(STRING, 3, requester), F(STRING, 4, approver),
    F(STRING, 5, ticket),  F(STRING, 6, policy),   F(STRING, 7, parent),    F_STATES(8, states),
    F(UINT64, 9, policy_version), F(STRING, 10, binding), F(STRING, 11, label), F(STRING, 12, person),
};
static MESSAGE(filter, "Filter");
#undef S

#define S struct lapse_revoke_matching_args
static const struct codec_field schema_revoke_matching_args_fields[] = {
    F(STRING, 1, request_id),   F_MESSAGE(2, filter, filter), F(STRING, 3, reason),
    F_ENUM(4, wait, schema_wait_name), F(UINT32, 5, wait_ms),
};
MESSAGE(schema_revoke_matching_args, "RevokeMatchingRequest");
#undef S

#define S struct lapse_matching_revocation
static const struct codec_field schema_matching_revocation_fields[] = {
    F(UINT64, 1, epoch),       F(UINT64, 2, revision), F(INT64, 3, time_ms), F_MESSAGE(4, barrier, schema_barrier),
    F(BOOL, 5, repeated_call),
};
MESSAGE(schema_matching_revocation, "RevokeMatchingResponse");
#undef S

#define S struct lapse_follow_args
static const struct codec_field schema_follow_args_fields[] = {
    F_MESSAGE(1, revoke, schema_end_args),
    F_MESSAGE(2, revoke_matching, schema_revoke_matching_args),
};
MESSAGE(schema_follow_args, "RevokeAndFollowRequest");
#undef S

#define S struct lapse_revoke_progress
static const struct codec_field schema_revoke_progress_fields[] = {
    F(UINT64, 1, epoch),
    F(UINT64, 2, revision),
    F(INT64, 3, time_ms),
    F_MESSAGE(4, barrier, schema_barrier),
    F_MESSAGES(5, receipts, schema_receipt, COUNT_RECEIPTS),
    F(BOOL, 6, committed),
    F(BOOL, 7, last),
};
MESSAGE(schema_revoke_progress, "RevokeProgress");
#undef S

#define S struct lapse_list_points_args
static const struct codec_field schema_list_points_args_fields[] = {
    F(UINT32, 1, page_size),
    F(STRING, 2, page_token),
};
MESSAGE(schema_list_points_args, "ListPointsRequest");
#undef S

#define S struct lapse_point_list
static const struct codec_field schema_point_list_fields[] = {
    F(UINT64, 1, epoch),
    F(UINT64, 2, revision),
    F_MESSAGES(3, points, schema_point, LIMIT_PAGE),
    F(STRING, 4, next_page_token),
};
MESSAGE(schema_point_list, "ListPointsResponse");
#undef S

#define S struct lapse_get_barrier_args
static const struct codec_field schema_get_barrier_args_fields[] = {
    F(STRING, 1, grant_id),
    F(UINT64, 2, barrier),
};
MESSAGE(schema_get_barrier_args, "GetBarrierRequest");
#undef S

#define S struct lapse_barrier_view
static const struct codec_field schema_barrier_view_fields[] = {
    F(UINT64, 1, epoch),
    F(UINT64, 2, revision),
    F_MESSAGE(3, barrier, schema_barrier),
    F_MESSAGES(4, receipts, schema_receipt, LIMIT_PAGE),
    F(UINT32, 5, omitted),
};
MESSAGE(schema_barrier_view, "GetBarrierResponse");
#undef S

#define S struct lapse_list_args
static const struct codec_field schema_list_args_fields[] = {
    F_MESSAGE(1, filter, filter),
    F(UINT32, 2, page_size),
    F(STRING, 3, page_token),
};
MESSAGE(schema_list_args, "ListRequest");
#undef S

#define S struct lapse_grant_list
static const struct codec_field schema_grant_list_fields[] = {
    F(UINT64, 1, epoch),           F(UINT64, 2, revision),
    F(INT64, 3, time_ms),          F_MESSAGES(4, grants, schema_grant, LIMIT_PAGE),
    F(STRING, 5, next_page_token),
};
MESSAGE(schema_grant_list, "ListResponse");
#undef S

#define S struct lapse_check_args
static const struct codec_field schema_check_args_fields[] = {
    F(STRING, 1, subject),   F(STRING, 2, resource),          F(STRING, 3, action),
    F(STRING, 4, spiffe_id), F(BYTES, 5, certificate_sha256), F(STRING, 6, address),
    F(BYTES, 7, token_sha256),
};
MESSAGE(schema_check_args, "CheckRequest");
#undef S

#define S struct lapse_decision
static const struct codec_field schema_decision_fields[] = {
    F(UINT64, 1, epoch),       F(UINT64, 2, revision), F(INT64, 3, time_ms),
    F(BOOL, 4, allowed),       F(STRING, 5, verdict),  F_MESSAGE(6, grant, schema_grant),
    F(INT64, 7, valid_for_ms),
};
MESSAGE(schema_decision, "CheckResponse");
#undef S

const struct codec_message schema_cluster_status_args = {"StatusRequest", sizeof(struct lapse_cluster_status_args),
                                                         NULL, 0};

#define S struct lapse_node_status
static const struct codec_field node_status_fields[] = {
    F(UINT64, 1, id),
    F(STRING, 2, address),
    F(STRING, 3, role),
    F(STRING, 4, link),
};
static MESSAGE(node_status, "NodeStatus");
#undef S

#define S struct lapse_cluster_status
static const struct codec_field schema_cluster_status_fields[] = {
    F(STRING, 1, cluster),      F(UINT64, 2, epoch),           F(UINT64, 3, revision),
    F(UINT64, 4, node_id),      F(STRING, 5, state),           F(UINT64, 6, leader_id),
    F(UINT64, 7, term),         F(UINT64, 8, commit_index),    F(UINT64, 9, applied_index),
    F(INT64, 10, time_ms),      F(STRING, 11, digest),         F_MESSAGES(12, nodes, node_status, COUNT_FEW),
    F(UINT64, 13, live_grants), F(UINT64, 14, ended_grants),   F(UINT64, 15, watchers),
    F(STRING, 16, version),     F(UINT64, 17, snapshot_index),
};
MESSAGE(schema_cluster_status, "StatusResponse");
#undef S

#define S struct lapse_set_roles_args
static const struct codec_field schema_set_roles_args_fields[] = {
    F(STRING, 1, request_id),
    F_MESSAGE(2, binding, schema_role_binding),
};
MESSAGE(schema_set_roles_args, "SetRolesRequest");
#undef S

#define S struct lapse_roles_change
static const struct codec_field schema_roles_change_fields[] = {
    F(UINT64, 1, epoch),
    F(UINT64, 2, revision),
    F(INT64, 3, time_ms),
};
MESSAGE(schema_roles_change, "SetRolesResponse");
#undef S

const struct codec_message schema_list_roles_args = {"ListRolesRequest", sizeof(struct lapse_list_roles_args), NULL, 0};

#define S struct lapse_role_list
static const struct codec_field schema_role_list_fields[] = {
    F(UINT64, 1, epoch),
    F(UINT64, 2, revision),
    F_MESSAGES(3, bindings, schema_role_binding, COUNT_BINDINGS),
};
MESSAGE(schema_role_list, "ListRolesResponse");
#undef S

#define S struct lapse_transfer_args
static const struct codec_field schema_transfer_args_fields[] = {
    F(UINT64, 1, node_id),
};
MESSAGE(schema_transfer_args, "TransferLeadershipRequest");
#undef S

#define S struct lapse_transfer
static const struct codec_field schema_transfer_fields[] = {
    F(UINT64, 1, leader_id),
};
MESSAGE(schema_transfer, "TransferLeadershipResponse");
#undef S

#define S struct lapse_add_node_args
static const struct codec_field schema_add_node_args_fields[] = {
    F(UINT64, 1, node_id),
    F(STRING, 2, address),
};
MESSAGE(schema_add_node_args, "AddNodeRequest");
#undef S

#define S struct lapse_remove_node_args
static const struct codec_field schema_remove_node_args_fields[] = {
    F(UINT64, 1, node_id),
};
MESSAGE(schema_remove_node_args, "RemoveNodeRequest");
#undef S

#define S struct lapse_node_change
static const struct codec_field schema_node_change_fields[] = {
    F(BOOL, 1, begun),
};
MESSAGE(schema_node_change, "AddNodeResponse");
#undef S

#define S struct lapse_watch_options
static const struct codec_field schema_watch_options_fields[] = {
    F_MESSAGE(1, scope, filter), F(UINT64, 2, epoch),       F(UINT64, 3, revision),
    F(BOOL, 4, snapshot),        F(UINT32, 5, progress_ms),
};
MESSAGE(schema_watch_options, "WatchRequest");
#undef S

#define S struct watch_mark
static const struct codec_field mark_fields[] = {
    F(UINT64, 1, revision),
    F(INT64, 2, time_ms),
};
static MESSAGE(mark, "Progress");
#undef S

#define S struct watch_resync
static const struct codec_field resync_fields[] = {
    F(STRING, 1, reason),
};
static MESSAGE(resync, "Resync");
#undef S

#define S struct watch_message
static const struct codec_field schema_watch_message_fields[] = {
    F(UINT64, 1, epoch),        F_ONEOF(2, event, schema_event),          F_ONEOF(3, progress, mark),
    F_ONEOF(4, resync, resync), F_ONEOF(5, snapshot_grant, schema_grant), F_ONEOF(6, snapshot_end, mark),
    F_ONEOF(7, created, mark),
};
MESSAGE(schema_watch_message, "WatchResponse");
#undef S

#define S struct guard_registered
static const struct codec_field registered_fields[] = {
    F(UINT64, 1, revision),
    F(INT64, 2, time_ms),
    F(UINT32, 3, lease_ms),
    F(UINT64, 4, node_id),
};
static MESSAGE(registered, "Registered");
#undef S

#define S struct guard_pong
static const struct codec_field pong_fields[] = {
    F(UINT64, 1, sequence),
    F(UINT32, 2, ttl_ms),
    F(INT64, 3, time_us),
};
static MESSAGE(pong, "Pong");
#undef S

#define S struct guard_use_result
static const struct codec_field use_result_fields[] = {
    F(STRING, 1, request_id),
    F(UINT32, 2, code),
    F(STRING, 3, message),
};
static MESSAGE(use_result, "UseResult");
#undef S

#define S struct guard_ended
static const struct codec_field ended_fields[] = {
    F_ENUM(1, cause, NULL),
    F(STRING, 2, reason),
};
static MESSAGE(ended, "PointEnded");
#undef S

#define S struct guard_message
static const struct codec_field schema_guard_message_fields[] = {
    F(UINT64, 1, epoch),
    F_ONEOF(2, event, schema_event),
    F_ONEOF(3, progress, mark),
    F_ONEOF(4, resync, resync),
    F_ONEOF(5, snapshot_grant, schema_grant),
    F_ONEOF(6, snapshot_end, mark),
    F_ONEOF(8, registered, registered),
    F_ONEOF(9, pong, pong),
    F_ONEOF(10, use_result, use_result),
    F_ONEOF(11, ended, ended),
    F_ONEOF(12, snapshot_lock, schema_lock),
    F(BYTES, 13, head),
};
MESSAGE(schema_guard_message, "SubscribeResponse");
#undef S

#define S struct guard_head_numbers
static const struct codec_field schema_guard_head_fields[] = {
    F(UINT64, 2, epoch),
    F(UINT64, 3, revision),
};
MESSAGE(schema_guard_head, "SignedHead");
#undef S
