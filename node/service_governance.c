/* lapse.v1.Policies, Locks, Eligibilities and Reviews: changing and listing what governs.
 *
 * What is kept (a policy, a lock, ...) goes through as the bytes that the caller sent: the store decodes them strictly, and
 * command_validate has done so before they leave this node. */
#include <stdlib.h>

#include "base/check.h"
#include "base/wire.h"
#include "node/edge_internal.h"
#include "node/service_parse.h"
#include "node/service_revoke.h"
#include "proto/codec.h"
#include "proto/lapse/v1/governance.pb.h"
#include "store/lock.h"

/* Of ApplyPolicyRequest; generated code leaves it out. */
enum { APPLY_POLICY = 2 };

/* The bytes of a message within a well-formed message. Protobuf would merge one that stands there twice: what such a caller
 * means nobody can check, and no encoder writes it. */
static lapse_result nested(struct slice bytes, uint32_t number, const char *name, struct slice *value,
                           struct lapse_error *error)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    uint32_t n = 0;
    while (wire_next(&reader, &field))
        if (field.number == number && field.type == WIRE_BYTES) {
            *value = field.bytes;
            n++;
        }
    return n == 1 ? lapse_ok()
                  : lapse_fail(error, LAPSE_INVALID_ARGUMENT, n == 0 ? "%s is missing" : "%s: send one, once", name);
}

/* --- changes ------------------------------------------------------------------------------------------------------ */

static lapse_result prepare_apply_policy(struct edge *edge, struct slice bytes, struct core_call *call,
                                         struct lapse_error *error)
{
    (void)edge;
    struct command command = {.type = COMMAND_APPLY_POLICY};
    DECODE(lapse_v1_ApplyPolicyRequest, message, bytes, error);
    command.revision = message->expected_version;
    if (lapse_is_ok(result))
        result = nested(bytes, APPLY_POLICY, "policy", &command.value, error);
    if (lapse_is_ok(result))
        result = parse_command(call, &command, message->request_id, NULL, error);
    free(message);
    return result;
}

/* A point has no barrier of its own: its last promise runs out within its lease. */
static lapse_result may_wait_for(struct slice bytes, uint32_t wait, struct lapse_error *error)
{
    struct lock lock;
    lapse_result result = lock_decode(bytes, &lock, error);
    if (lapse_is_ok(result) && wait != 0 && lock.kind == LOCK_POINT)
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                            "wait: a locked enforcement point denies within its lease; there is nothing to wait for");
    return result;
}

static lapse_result prepare_lock(struct edge *edge, struct slice bytes, struct core_call *call,
                                 struct lapse_error *error)
{
    (void)edge;
    struct command command = {.type = COMMAND_LOCK};
    DECODE(lapse_v1_LockRequest, message, bytes, error);
    if (lapse_is_ok(result))
        result = nested(bytes, lapse_v1_LockRequest_lock_tag, "lock", &command.value, error);
    if (lapse_is_ok(result))
        result = may_wait_for(command.value, message->wait, error);
    if (lapse_is_ok(result))
        result = parse_wait(call, message->wait, message->wait_ms, error);
    if (lapse_is_ok(result))
        result = parse_command(call, &command, message->request_id, NULL, error);
    free(message);
    return result;
}

static lapse_result prepare_offboard(struct edge *edge, struct slice bytes, struct core_call *call,
                                     struct lapse_error *error)
{
    (void)edge;
    struct command command = {.type = COMMAND_OFFBOARD};
    DECODE(lapse_v1_OffboardRequest, message, bytes, error);
    if (lapse_is_ok(result))
        result = parse_wait(call, message->wait, message->wait_ms, error);
    if (lapse_is_ok(result)) {
        command.member = slice_str(message->subject);
        command.text = slice_str(message->reason);
        result = parse_command(call, &command, message->request_id, NULL, error);
    }
    free(message);
    return result;
}

static lapse_result prepare_put_eligibility(struct edge *edge, struct slice bytes, struct core_call *call,
                                            struct lapse_error *error)
{
    (void)edge;
    struct command command = {.type = COMMAND_PUT_ELIGIBILITY};
    DECODE(lapse_v1_PutEligibilityRequest, message, bytes, error);
    if (lapse_is_ok(result))
        result =
            nested(bytes, lapse_v1_PutEligibilityRequest_eligibility_tag, "eligibility", &command.value, error);
    if (lapse_is_ok(result))
        result = parse_command(call, &command, message->request_id, NULL, error);
    free(message);
    return result;
}

static lapse_result prepare_certify(struct edge *edge, struct slice bytes, struct core_call *call,
                                    struct lapse_error *error)
{
    (void)edge;
    struct command command = {.type = COMMAND_CERTIFY};
    DECODE(lapse_v1_CertifyRequest, message, bytes, error);
    if (lapse_is_ok(result)) {
        command.name = slice_str(message->name);
        command.until_ms = message->expires_ms;
        command.text = slice_str(message->comment);
        result = parse_command(call, &command, message->request_id, NULL, error);
    }
    free(message);
    return result;
}

static lapse_result prepare_start_campaign(struct edge *edge, struct slice bytes, struct core_call *call,
                                           struct lapse_error *error)
{
    (void)edge;
    struct command command = {.type = COMMAND_START_CAMPAIGN};
    DECODE(lapse_v1_StartCampaignRequest, message, bytes, error);
    if (lapse_is_ok(result))
        result = nested(bytes, lapse_v1_StartCampaignRequest_campaign_tag, "campaign", &command.value, error);
    if (lapse_is_ok(result))
        result = parse_command(call, &command, message->request_id, NULL, error);
    free(message);
    return result;
}

static lapse_result prepare_close_review(struct edge *edge, struct slice bytes, struct core_call *call,
                                         struct lapse_error *error)
{
    (void)edge;
    struct command command = {.type = COMMAND_CLOSE_REVIEW};
    DECODE(lapse_v1_CloseReviewRequest, message, bytes, error);
    if (lapse_is_ok(result)) {
        command.count = (uint32_t)message->verdict;
        command.text = slice_str(message->comment);
        result = parse_command(call, &command, message->request_id, message->grant_id, error);
    }
    free(message);
    return result;
}

static lapse_result prepare_remove(enum command_type type, struct slice bytes, struct core_call *call,
                                   struct lapse_error *error)
{
    struct command command = {.type = type};
    DECODE(lapse_v1_RemoveRequest, message, bytes, error);
    if (lapse_is_ok(result)) {
        command.name = slice_str(message->name);
        command.text = slice_str(message->reason);
        result = parse_command(call, &command, message->request_id, NULL, error);
    }
    free(message);
    return result;
}

static lapse_result prepare_remove_policy(struct edge *edge, struct slice bytes, struct core_call *call,
                                          struct lapse_error *error)
{
    (void)edge;
    return prepare_remove(COMMAND_REMOVE_POLICY, bytes, call, error);
}

static lapse_result prepare_unlock(struct edge *edge, struct slice bytes, struct core_call *call,
                                   struct lapse_error *error)
{
    (void)edge;
    return prepare_remove(COMMAND_UNLOCK, bytes, call, error);
}

static lapse_result prepare_remove_eligibility(struct edge *edge, struct slice bytes, struct core_call *call,
                                               struct lapse_error *error)
{
    (void)edge;
    return prepare_remove(COMMAND_REMOVE_ELIGIBILITY, bytes, call, error);
}

static lapse_result prepare_close_campaign(struct edge *edge, struct slice bytes, struct core_call *call,
                                           struct lapse_error *error)
{
    (void)edge;
    return prepare_remove(COMMAND_CLOSE_CAMPAIGN, bytes, call, error);
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

/* A page ends with a name of its list: one of another prefix would begin a page that is empty, or not the next one. */
static lapse_result check_page_token(const lapse_v1_ListObjectsRequest *message, struct lapse_error *error)
{
    bool good = message->page_token[0] == '\0' ||
                strncmp(message->page_token, message->prefix, strlen(message->prefix)) == 0;
    return good ? lapse_ok() : lapse_fail(error, LAPSE_INVALID_ARGUMENT, PAGE_TOKEN_ADVICE ", with the same prefix");
}

static lapse_result prepare_list(enum object_kind kind, struct slice bytes, struct core_call *call,
                                 struct lapse_error *error)
{
    DECODE(lapse_v1_ListObjectsRequest, message, bytes, error);
    if (lapse_is_ok(result))
        result = parse_page_size(message->page_size, &call->page, error);
    if (lapse_is_ok(result))
        result = check_page_token(message, error);
    if (lapse_is_ok(result)) {
        call->kind = kind;
        call->after = core_call_keep(call, message->page_token, strlen(message->page_token));
        call->prefix = core_call_keep(call, message->prefix, strlen(message->prefix));
    }
    free(message);
    return result;
}

#define LIST(name, kind)                                                                                               \
    static lapse_result name(struct edge *edge, struct slice bytes, struct core_call *call, struct lapse_error *error) \
    {                                                                                                                  \
        (void)edge;                                                                                                    \
        return prepare_list(kind, bytes, call, error);                                                                 \
    }
LIST(prepare_list_policies, OBJECT_POLICY)
LIST(prepare_list_locks, OBJECT_LOCK)
LIST(prepare_list_eligibilities, OBJECT_ELIGIBILITY)
LIST(prepare_list_campaigns, OBJECT_CAMPAIGN)
LIST(prepare_list_reviews, OBJECT_REVIEW)

static const struct unary_method apply_policy_method = {CORE_CHANGE, prepare_apply_policy};
static const struct unary_method remove_policy_method = {CORE_CHANGE, prepare_remove_policy};
static const struct unary_method list_policies_method = {CORE_OBJECTS, prepare_list_policies};
static const struct unary_method lock_method = {CORE_CHANGE, prepare_lock};
static const struct unary_method unlock_method = {CORE_CHANGE, prepare_unlock};
static const struct unary_method offboard_method = {CORE_CHANGE, prepare_offboard};
static const struct unary_method list_locks_method = {CORE_OBJECTS, prepare_list_locks};
static const struct unary_method put_eligibility_method = {CORE_CHANGE, prepare_put_eligibility};
static const struct unary_method remove_eligibility_method = {CORE_CHANGE, prepare_remove_eligibility};
static const struct unary_method certify_method = {CORE_CHANGE, prepare_certify};
static const struct unary_method list_eligibilities_method = {CORE_OBJECTS, prepare_list_eligibilities};
static const struct unary_method start_campaign_method = {CORE_CHANGE, prepare_start_campaign};
static const struct unary_method close_campaign_method = {CORE_CHANGE, prepare_close_campaign};
static const struct unary_method list_campaigns_method = {CORE_OBJECTS, prepare_list_campaigns};
static const struct unary_method close_review_method = {CORE_CHANGE, prepare_close_review};
static const struct unary_method list_reviews_method = {CORE_OBJECTS, prepare_list_reviews};

const struct grpc_method *service_governance_methods(size_t *n)
{
    static const struct grpc_method methods[] = {
        UNARY_METHOD("/lapse.v1.Policies/Apply", &apply_policy_method),
        UNARY_METHOD("/lapse.v1.Policies/Remove", &remove_policy_method),
        UNARY_METHOD("/lapse.v1.Policies/List", &list_policies_method),
        UNARY_METHOD("/lapse.v1.Locks/Lock", &lock_method),
        UNARY_METHOD("/lapse.v1.Locks/Unlock", &unlock_method),
        UNARY_METHOD("/lapse.v1.Locks/Offboard", &offboard_method),
        UNARY_METHOD("/lapse.v1.Locks/List", &list_locks_method),
        UNARY_METHOD("/lapse.v1.Eligibilities/Put", &put_eligibility_method),
        UNARY_METHOD("/lapse.v1.Eligibilities/Remove", &remove_eligibility_method),
        UNARY_METHOD("/lapse.v1.Eligibilities/Certify", &certify_method),
        UNARY_METHOD("/lapse.v1.Eligibilities/List", &list_eligibilities_method),
        UNARY_METHOD("/lapse.v1.Eligibilities/StartCampaign", &start_campaign_method),
        UNARY_METHOD("/lapse.v1.Eligibilities/CloseCampaign", &close_campaign_method),
        UNARY_METHOD("/lapse.v1.Eligibilities/ListCampaigns", &list_campaigns_method),
        UNARY_METHOD("/lapse.v1.Reviews/Close", &close_review_method),
        UNARY_METHOD("/lapse.v1.Reviews/List", &list_reviews_method),
    };
    *n = ARRAY_LEN(methods);
    return methods;
}
