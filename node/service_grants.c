/* lapse.v1.Grants but for its streams (Watch, RevokeAndFollow): each method turns its message into a question to the
 * core. */
#include <stdlib.h>

#include "base/check.h"
#include "node/edge_internal.h"
#include "node/service_parse.h"
#include "node/service_revoke.h"
#include "proto/codec.h"
#include "proto/convert.h"

static lapse_result prepare_request(struct edge *edge, struct slice bytes, struct core_call *call,
                                    struct lapse_error *error)
{
    struct command command = {0};
    DECODE(lapse_v1_RequestRequest, message, bytes, error);
    if (lapse_is_ok(result))
        result = proto_request_borrow(message, &command, error);
    if (lapse_is_ok(result)) {
        command.grant = edge_new_grant_id(edge);
        result = parse_command(call, &command, message->request_id, NULL, error);
    }
    free(message);
    return result;
}

static lapse_result prepare_decision(enum command_type type, struct slice bytes, struct core_call *call,
                                     struct lapse_error *error)
{
    struct command command = {.type = type};
    DECODE(lapse_v1_DecisionRequest, message, bytes, error);
    if (lapse_is_ok(result)) {
        command.text = slice_str(message->comment);
        result = parse_command(call, &command, message->request_id, message->grant_id, error);
    }
    free(message);
    return result;
}

static lapse_result prepare_end(enum command_type type, struct slice bytes, struct core_call *call,
                                struct lapse_error *error)
{
    struct command command = {.type = type};
    DECODE(lapse_v1_EndRequest, message, bytes, error);
    if (lapse_is_ok(result)) {
        command.text = slice_str(message->reason);
        result = parse_command(call, &command, message->request_id, message->grant_id, error);
    }
    if (lapse_is_ok(result) && (message->wait != lapse_v1_WaitLevel_COMMITTED || message->wait_ms != 0))
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "wait: only a revocation can wait for enforcement points");
    free(message);
    return result;
}

static lapse_result prepare_approve(struct edge *edge, struct slice bytes, struct core_call *call,
                                    struct lapse_error *error)
{
    (void)edge;
    return prepare_decision(COMMAND_APPROVE, bytes, call, error);
}

static lapse_result prepare_deny(struct edge *edge, struct slice bytes, struct core_call *call,
                                 struct lapse_error *error)
{
    (void)edge;
    return prepare_decision(COMMAND_DENY, bytes, call, error);
}

static lapse_result prepare_cancel(struct edge *edge, struct slice bytes, struct core_call *call,
                                   struct lapse_error *error)
{
    (void)edge;
    return prepare_end(COMMAND_CANCEL, bytes, call, error);
}

static lapse_result prepare_complete(struct edge *edge, struct slice bytes, struct core_call *call,
                                     struct lapse_error *error)
{
    (void)edge;
    return prepare_end(COMMAND_COMPLETE, bytes, call, error);
}

static lapse_result prepare_revoke(struct edge *edge, struct slice bytes, struct core_call *call,
                                   struct lapse_error *error)
{
    (void)edge;
    DECODE(lapse_v1_EndRequest, message, bytes, error);
    if (lapse_is_ok(result))
        result = parse_revoke(call, message, error);
    free(message);
    return result;
}

static lapse_result prepare_revoke_matching(struct edge *edge, struct slice bytes, struct core_call *call,
                                            struct lapse_error *error)
{
    (void)edge;
    DECODE(lapse_v1_RevokeMatchingRequest, message, bytes, error);
    if (lapse_is_ok(result))
        result = parse_revoke_matching(call, message, error);
    free(message);
    return result;
}

static lapse_result prepare_use(struct edge *edge, struct slice bytes, struct core_call *call,
                                struct lapse_error *error)
{
    (void)edge;
    struct command command = {.type = COMMAND_USE};
    DECODE(lapse_v1_UseRequest, message, bytes, error);
    if (lapse_is_ok(result)) {
        command.count = message->count == 0 ? 1 : message->count;
        result = parse_command(call, &command, message->request_id, message->grant_id, error);
    }
    free(message);
    return result;
}

static lapse_result prepare_set_token(struct edge *edge, struct slice bytes, struct core_call *call,
                                      struct lapse_error *error)
{
    (void)edge;
    struct command command = {.type = COMMAND_SET_TOKEN};
    DECODE(lapse_v1_SetTokenRequest, message, bytes, error);
    if (lapse_is_ok(result)) {
        command.value = slice_of(message->token_sha256.bytes, message->token_sha256.size);
        result = parse_command(call, &command, message->request_id, message->grant_id, error);
    }
    free(message);
    return result;
}

static lapse_result prepare_get(struct edge *edge, struct slice bytes, struct core_call *call,
                                struct lapse_error *error)
{
    (void)edge;
    DECODE(lapse_v1_GetRequest, message, bytes, error);
    if (lapse_is_ok(result))
        result = parse_grant_id(message->grant_id, &call->grant, error);
    free(message);
    return result;
}

static lapse_result prepare_list(struct edge *edge, struct slice bytes, struct core_call *call,
                                 struct lapse_error *error)
{
    (void)edge;
    DECODE(lapse_v1_ListRequest, message, bytes, error);
    if (lapse_is_ok(result))
        result = parse_page_size(message->page_size, &call->page, error);
    if (lapse_is_ok(result))
        result = parse_page_token(message->page_token, &call->cursor, error);
    if (lapse_is_ok(result) && message->has_filter)
        result = parse_filter(call, &message->filter, error);
    free(message);
    return result;
}

static lapse_result prepare_check(struct edge *edge, struct slice bytes, struct core_call *call,
                                  struct lapse_error *error)
{
    (void)edge;
    DECODE(lapse_v1_CheckRequest, message, bytes, error);
    if (lapse_is_ok(result))
        result = parse_query(call, message, error);
    free(message);
    return result;
}

static const struct unary_method request_method = {CORE_WRITE, prepare_request};
static const struct unary_method approve_method = {CORE_WRITE, prepare_approve};
static const struct unary_method deny_method = {CORE_WRITE, prepare_deny};
static const struct unary_method cancel_method = {CORE_WRITE, prepare_cancel};
static const struct unary_method use_method = {CORE_WRITE, prepare_use};
static const struct unary_method complete_method = {CORE_WRITE, prepare_complete};
static const struct unary_method revoke_method = {CORE_WRITE, prepare_revoke};
static const struct unary_method revoke_matching_method = {CORE_REVOKE_MATCHING, prepare_revoke_matching};
static const struct unary_method set_token_method = {CORE_WRITE, prepare_set_token};
static const struct unary_method get_method = {CORE_GET, prepare_get};
static const struct unary_method list_method = {CORE_LIST, prepare_list};
static const struct unary_method check_method = {CORE_CHECK, prepare_check};

const struct grpc_method *service_grants_methods(size_t *n)
{
    static const struct grpc_method methods[] = {
        UNARY_METHOD("/lapse.v1.Grants/Request", &request_method),
        UNARY_METHOD("/lapse.v1.Grants/Approve", &approve_method),
        UNARY_METHOD("/lapse.v1.Grants/Deny", &deny_method),
        UNARY_METHOD("/lapse.v1.Grants/Cancel", &cancel_method),
        UNARY_METHOD("/lapse.v1.Grants/Use", &use_method),
        UNARY_METHOD("/lapse.v1.Grants/Complete", &complete_method),
        UNARY_METHOD("/lapse.v1.Grants/Revoke", &revoke_method),
        UNARY_METHOD("/lapse.v1.Grants/RevokeMatching", &revoke_matching_method),
        UNARY_METHOD("/lapse.v1.Grants/SetToken", &set_token_method),
        UNARY_METHOD("/lapse.v1.Grants/Get", &get_method),
        UNARY_METHOD("/lapse.v1.Grants/List", &list_method),
        UNARY_METHOD("/lapse.v1.Grants/Check", &check_method),
    };
    *n = ARRAY_LEN(methods);
    return methods;
}
