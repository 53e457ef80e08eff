/* What governs requests and access, as tables. See schema.c. */
#include "base/limits.h"
#include "client/schema.h"
#include "client/schema_table.h"

/* A policy's rules and a rule's patterns: the cluster admits fewer. */
#define COUNT_RULES 1024
#define COUNT_PATTERNS 256

static const char *lock_kind_name(int value)
{
    return lapse_lock_kind_name((enum lapse_lock_kind)value);
}

static const char *verdict_name(int value)
{
    return lapse_review_verdict_name((enum lapse_review_verdict)value);
}

static const char *token_rule_name(int value)
{
    return lapse_token_rule_name((enum lapse_token_rule)value);
}

#define S struct lapse_approval_step
static const struct codec_field approval_step_fields[] = {
    F(UINT32, 1, count),
    F_REPEATED(STRINGS, 2, approvers, COUNT_PATTERNS),
};
static MESSAGE(approval_step, "ApprovalStep");
#undef S

#define S struct lapse_text_rule
static const struct codec_field text_rule_fields[] = {
    F(BOOL, 1, required),
    F(UINT32, 2, min_length),
    F(STRING, 3, pattern),
};
static MESSAGE(text_rule, "TextRule");
#undef S

#define S struct lapse_policy_limits
static const struct codec_field policy_limits_fields[] = {
    F(UINT32, 1, concurrent), F(UINT32, 2, requests),    F(UINT32, 3, resources),
    F(INT64, 4, window_ms),   F(INT64, 5, cool_down_ms), F(BOOL, 6, hold),
};
static MESSAGE(policy_limits, "PolicyLimits");
#undef S

#define S struct lapse_policy_rule
static const struct codec_field policy_rule_fields[] = {
    F(STRING, 1, name),
    F(BOOL, 2, deny),
    F(BOOL, 3, break_glass),
    F_REPEATED(STRINGS, 4, requesters, COUNT_PATTERNS),
    F_REPEATED(STRINGS, 5, subjects, COUNT_PATTERNS),
    F_REPEATED(STRINGS, 6, resources, COUNT_PATTERNS),
    F_REPEATED(STRINGS, 7, actions, COUNT_PATTERNS),
    F(INT64, 8, max_duration_ms),
    F(BOOL, 9, eligibility),
    F(BOOL, 10, automatic),
    F(BOOL, 11, self_approval),
    F_MESSAGES(12, steps, approval_step, COUNT_FEW),
    F(INT64, 13, decide_within_ms),
    F_MESSAGE(14, justification, text_rule),
    F_MESSAGE(15, ticket, text_rule),
    F(BOOL, 16, bind_spiffe_id),
    F(BOOL, 17, bind_certificate),
    F(BOOL, 18, bind_network),
    F(UINT32, 19, max_uses),
    F_MESSAGE(20, limits, policy_limits),
    F(UINT32, 21, delegation_depth),
    F(INT64, 22, review_within_ms),
    F_REPEATED(STRINGS, 23, reviewers, COUNT_PATTERNS),
    F_ENUM(24, token, token_rule_name),
    F(STRING, 25, description),
};
static MESSAGE(policy_rule, "PolicyRule");
#undef S

#define S struct lapse_policy
static const struct codec_field schema_policy_fields[] = {
    F(STRING, 1, name),
    F(UINT64, 2, version),
    F(STRING, 3, description),
    F(UINT32, 4, priority),
    F(BOOL, 5, end_disallowed),
    F(STRING, 6, source),
    F_MESSAGES(7, rules, policy_rule, COUNT_RULES),
    F(STRING, 8, applied_by),
    F(INT64, 9, applied_ms),
    F(UINT64, 10, revision),
    F(STRING, 11, removed),
};
MESSAGE(schema_policy, "Policy");
#undef S

#define S struct lapse_lock
static const struct codec_field schema_lock_fields[] = {
    F(STRING, 1, name),     F_ENUM(2, kind, lock_kind_name), F(STRING, 3, target),
    F(STRING, 4, reason),   F(INT64, 5, until_ms),           F(STRING, 6, locked_by),
    F(INT64, 7, locked_ms), F(UINT64, 8, revision),          F(BOOL, 9, offboarded), F(STRING, 10, lifted),
};
MESSAGE(schema_lock, "Lock");
#undef S

#define S struct lapse_eligibility
static const struct codec_field schema_eligibility_fields[] = {
    F(STRING, 1, name),
    F(STRING, 2, member),
    F_REPEATED(STRINGS, 3, resources, COUNT_PATTERNS),
    F_REPEATED(STRINGS, 4, actions, COUNT_PATTERNS),
    F(STRING, 5, reason),
    F(INT64, 6, expires_ms),
    F(STRING, 7, put_by),
    F(INT64, 8, put_ms),
    F(STRING, 9, certified_by),
    F(INT64, 10, certified_ms),
    F(INT64, 11, used_ms),
    F(UINT64, 12, uses),
    F(UINT64, 13, revision),
    F(STRING, 14, ended),
};
MESSAGE(schema_eligibility, "Eligibility");
#undef S

#define S struct lapse_campaign
static const struct codec_field schema_campaign_fields[] = {
    F(STRING, 1, name),
    F_REPEATED(STRINGS, 2, members, COUNT_PATTERNS),
    F_REPEATED(STRINGS, 3, resources, COUNT_PATTERNS),
    F(INT64, 4, due_ms),
    F(STRING, 5, reason),
    F(STRING, 6, started_by),
    F(INT64, 7, started_ms),
    F(UINT64, 8, revision),
    F(UINT32, 9, items),
    F(UINT32, 10, lapsed),
};
MESSAGE(schema_campaign, "Campaign");
#undef S

#define S struct lapse_review
static const struct codec_field schema_review_fields[] = {
    F(STRING, 1, name),          F(STRING, 2, subject),    F(STRING, 3, requester), F(STRING, 4, resource),
    F(STRING, 5, justification), F(STRING, 6, policy),     F(STRING, 7, rule),      F(STRING, 8, reviewers),
    F(INT64, 9, opened_ms),      F(INT64, 10, due_ms),     F(BOOL, 11, overdue),    F_ENUM(12, verdict, verdict_name),
    F(STRING, 13, comment),      F(STRING, 14, closed_by), F(INT64, 15, closed_ms), F(UINT64, 16, revision),
    F(STRING, 17, approvers),
};
MESSAGE(schema_review, "Review");
#undef S

#define S struct lapse_apply_policy_args
static const struct codec_field schema_apply_policy_args_fields[] = {
    F(STRING, 1, request_id),
    F_MESSAGE(2, policy, schema_policy),
    F(UINT64, 3, expected_version),
};
MESSAGE(schema_apply_policy_args, "ApplyPolicyRequest");
#undef S

#define S struct lapse_lock_args
static const struct codec_field schema_lock_args_fields[] = {
    F(STRING, 1, request_id),
    F_MESSAGE(2, lock, schema_lock),
    F_ENUM(3, wait, schema_wait_name),
    F(UINT32, 4, wait_ms),
};
MESSAGE(schema_lock_args, "LockRequest");
#undef S

#define S struct lapse_offboard_args
static const struct codec_field schema_offboard_args_fields[] = {
    F(STRING, 1, request_id),   F(STRING, 2, subject), F(STRING, 3, reason),
    F_ENUM(4, wait, schema_wait_name), F(UINT32, 5, wait_ms),
};
MESSAGE(schema_offboard_args, "OffboardRequest");
#undef S

#define S struct lapse_put_eligibility_args
static const struct codec_field schema_put_eligibility_args_fields[] = {
    F(STRING, 1, request_id),
    F_MESSAGE(2, eligibility, schema_eligibility),
};
MESSAGE(schema_put_eligibility_args, "PutEligibilityRequest");
#undef S

#define S struct lapse_certify_args
static const struct codec_field schema_certify_args_fields[] = {
    F(STRING, 1, request_id),
    F(STRING, 2, name),
    F(INT64, 3, expires_ms),
    F(STRING, 4, comment),
};
MESSAGE(schema_certify_args, "CertifyRequest");
#undef S

#define S struct lapse_start_campaign_args
static const struct codec_field schema_start_campaign_args_fields[] = {
    F(STRING, 1, request_id),
    F_MESSAGE(2, campaign, schema_campaign),
};
MESSAGE(schema_start_campaign_args, "StartCampaignRequest");
#undef S

#define S struct lapse_close_review_args
static const struct codec_field schema_close_review_args_fields[] = {
    F(STRING, 1, request_id),
    F(STRING, 2, grant_id),
    F_ENUM(3, verdict, verdict_name),
    F(STRING, 4, comment),
};
MESSAGE(schema_close_review_args, "CloseReviewRequest");
#undef S

#define S struct lapse_remove_args
static const struct codec_field schema_remove_args_fields[] = {
    F(STRING, 1, request_id),
    F(STRING, 2, name),
    F(STRING, 3, reason),
};
MESSAGE(schema_remove_args, "RemoveRequest");
#undef S

#define S struct lapse_set_token_args
static const struct codec_field schema_set_token_args_fields[] = {
    F(STRING, 1, request_id),
    F(STRING, 2, grant_id),
    F(BYTES, 3, token_sha256),
};
MESSAGE(schema_set_token_args, "SetTokenRequest");
#undef S

#define S struct lapse_change
static const struct codec_field schema_change_fields[] = {
    F(UINT64, 1, epoch),
    F(UINT64, 2, revision),
    F(INT64, 3, time_ms),
    F(BOOL, 4, repeated_call),
    F_MESSAGE(5, barrier, schema_barrier),
};
MESSAGE(schema_change, "ChangeResponse");
#undef S

#define S struct lapse_list_objects_args
static const struct codec_field schema_list_objects_args_fields[] = {
    F(UINT32, 1, page_size),
    F(STRING, 2, page_token),
    F(STRING, 3, prefix),
};
MESSAGE(schema_list_objects_args, "ListObjectsRequest");
#undef S

#define S struct lapse_policy_list
static const struct codec_field schema_policy_list_fields[] = {
    F(UINT64, 1, epoch),           F(UINT64, 2, revision),
    F(INT64, 3, time_ms),          F_MESSAGES(4, policies, schema_policy, LIMIT_PAGE),
    F(STRING, 5, next_page_token),
};
MESSAGE(schema_policy_list, "ListPoliciesResponse");
#undef S

#define S struct lapse_lock_list
static const struct codec_field schema_lock_list_fields[] = {
    F(UINT64, 1, epoch),           F(UINT64, 2, revision),
    F(INT64, 3, time_ms),          F_MESSAGES(4, locks, schema_lock, LIMIT_PAGE),
    F(STRING, 5, next_page_token),
};
MESSAGE(schema_lock_list, "ListLocksResponse");
#undef S

#define S struct lapse_eligibility_list
static const struct codec_field schema_eligibility_list_fields[] = {
    F(UINT64, 1, epoch),           F(UINT64, 2, revision),
    F(INT64, 3, time_ms),          F_MESSAGES(4, eligibilities, schema_eligibility, LIMIT_PAGE),
    F(STRING, 5, next_page_token),
};
MESSAGE(schema_eligibility_list, "ListEligibilitiesResponse");
#undef S

#define S struct lapse_campaign_list
static const struct codec_field schema_campaign_list_fields[] = {
    F(UINT64, 1, epoch),           F(UINT64, 2, revision),
    F(INT64, 3, time_ms),          F_MESSAGES(4, campaigns, schema_campaign, LIMIT_PAGE),
    F(STRING, 5, next_page_token),
};
MESSAGE(schema_campaign_list, "ListCampaignsResponse");
#undef S

#define S struct lapse_review_list
static const struct codec_field schema_review_list_fields[] = {
    F(UINT64, 1, epoch),           F(UINT64, 2, revision),
    F(INT64, 3, time_ms),          F_MESSAGES(4, reviews, schema_review, LIMIT_PAGE),
    F(STRING, 5, next_page_token),
};
MESSAGE(schema_review_list, "ListReviewsResponse");
#undef S
