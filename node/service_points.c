/* lapse.v1.Enforcement but for Subscribe: who is registered, and what became of a revocation. */
#include "base/check.h"
#include "node/edge_internal.h"
#include "node/service_parse.h"
#include "proto/codec.h"
#include "proto/lapse/v1/enforcement.pb.h"

/* The point that the page before ended with: the revision of its registration, and its id. */
static lapse_result parse_token(struct core_call *call, const char *token, struct lapse_error *error)
{
    char revision[17] = "";
    size_t len = strnlen(token, sizeof revision - 1);
    memcpy(revision, token, len);
    call->after = core_call_keep(call, token + len, strlen(token + len));
    if (call->after.len == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, PAGE_TOKEN_ADVICE);
    return parse_page_token(revision, &call->cursor, error);
}

static lapse_result prepare_list_points(struct edge *edge, struct slice bytes, struct core_call *call,
                                        struct lapse_error *error)
{
    (void)edge;
    lapse_v1_ListPointsRequest message;
    lapse_result result = proto_decode(lapse_v1_ListPointsRequest_fields, bytes, &message, error);
    if (lapse_is_ok(result))
        result = parse_page_size(message.page_size, &call->page, error);
    if (lapse_is_ok(result) && message.page_token[0] != '\0')
        result = parse_token(call, message.page_token, error);
    return result;
}

static lapse_result prepare_get_barrier(struct edge *edge, struct slice bytes, struct core_call *call,
                                        struct lapse_error *error)
{
    (void)edge;
    lapse_v1_GetBarrierRequest message;
    lapse_result result = proto_decode(lapse_v1_GetBarrierRequest_fields, bytes, &message, error);
    if (lapse_is_ok(result) && (message.grant_id[0] == '\0') == (message.barrier == 0))
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                            "name either the grant_id that was revoked, or the barrier: the revision that the "
                            "revocation's answer had");
    if (lapse_is_ok(result) && message.grant_id[0] != '\0')
        result = parse_grant_id(message.grant_id, &call->grant, error);
    if (lapse_is_ok(result))
        call->barrier = message.barrier;
    return result;
}

static const struct unary_method list_points_method = {CORE_POINTS, prepare_list_points};
static const struct unary_method get_barrier_method = {CORE_BARRIER, prepare_get_barrier};

const struct grpc_method *service_points_methods(size_t *n)
{
    static const struct grpc_method methods[] = {
        UNARY_METHOD("/lapse.v1.Enforcement/ListPoints", &list_points_method),
        UNARY_METHOD("/lapse.v1.Enforcement/GetBarrier", &get_barrier_method),
    };
    *n = ARRAY_LEN(methods);
    return methods;
}
