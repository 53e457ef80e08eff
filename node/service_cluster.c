/* lapse.v1.Cluster: state of the cluster, roles, leadership. */
#include <stdlib.h>

#include "base/check.h"
#include "node/host_port.h"
#include "node/edge_internal.h"
#include "node/service_parse.h"
#include "proto/codec.h"
#include "proto/convert.h"

static lapse_result prepare_status(struct edge *edge, struct slice bytes, struct core_call *call,
                                   struct lapse_error *error)
{
    (void)edge;
    (void)call;
    lapse_v1_StatusRequest message;
    return proto_decode(lapse_v1_StatusRequest_fields, bytes, &message, error);
}

static lapse_result prepare_list_roles(struct edge *edge, struct slice bytes, struct core_call *call,
                                       struct lapse_error *error)
{
    (void)edge;
    (void)call;
    lapse_v1_ListRolesRequest message;
    return proto_decode(lapse_v1_ListRolesRequest_fields, bytes, &message, error);
}

static lapse_result prepare_set_roles(struct edge *edge, struct slice bytes, struct core_call *call,
                                      struct lapse_error *error)
{
    (void)edge;
    lapse_v1_SetRolesRequest message;
    struct command command = {.type = COMMAND_SET_ROLES};
    lapse_result result = proto_decode(lapse_v1_SetRolesRequest_fields, bytes, &message, error);
    if (lapse_is_ok(result) && !message.has_binding)
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "binding is missing: say whose roles to set");
    if (lapse_is_ok(result))
        result = proto_roles_borrow(&message.binding, &command.roles, error);
    if (lapse_is_ok(result))
        result = parse_scope(call, message.binding.scope, message.binding.scope_count, &command.scope, error);
    if (!lapse_is_ok(result))
        return result;
    command.member = slice_str(message.binding.member);
    return parse_command(call, &command, message.request_id, NULL, error);
}

static lapse_result prepare_transfer(struct edge *edge, struct slice bytes, struct core_call *call,
                                     struct lapse_error *error)
{
    (void)edge;
    lapse_v1_TransferLeadershipRequest message;
    lapse_result result = proto_decode(lapse_v1_TransferLeadershipRequest_fields, bytes, &message, error);
    if (lapse_is_ok(result))
        call->node_id = message.node_id;
    return result;
}

static lapse_result prepare_add_node(struct edge *edge, struct slice bytes, struct core_call *call,
                                     struct lapse_error *error)
{
    (void)edge;
    lapse_v1_AddNodeRequest message;
    struct host_port address;
    lapse_result result = proto_decode(lapse_v1_AddNodeRequest_fields, bytes, &message, error);
    if (lapse_is_ok(result) && (message.node_id == 0 || message.node_id > INT64_MAX))
        result =
            lapse_fail(error, LAPSE_INVALID_ARGUMENT, "node_id: a number from 1 that no node of this cluster has had");
    if (lapse_is_ok(result))
        result = host_port_parse(message.address, &address, error);
    if (!lapse_is_ok(result))
        return result;
    call->node_id = message.node_id;
    call->address = core_call_keep(call, message.address, strlen(message.address));
    return lapse_ok();
}

static lapse_result prepare_remove_node(struct edge *edge, struct slice bytes, struct core_call *call,
                                        struct lapse_error *error)
{
    (void)edge;
    lapse_v1_RemoveNodeRequest message;
    lapse_result result = proto_decode(lapse_v1_RemoveNodeRequest_fields, bytes, &message, error);
    if (lapse_is_ok(result))
        call->node_id = message.node_id;
    return result;
}

static const struct unary_method status_method = {CORE_STATUS, prepare_status};
static const struct unary_method set_roles_method = {CORE_SET_ROLES, prepare_set_roles};
static const struct unary_method list_roles_method = {CORE_ROLES, prepare_list_roles};
static const struct unary_method transfer_method = {CORE_TRANSFER, prepare_transfer};
static const struct unary_method add_node_method = {CORE_ADD_NODE, prepare_add_node};
static const struct unary_method remove_node_method = {CORE_REMOVE_NODE, prepare_remove_node};

const struct grpc_method *service_cluster_methods(size_t *n)
{
    static const struct grpc_method methods[] = {
        UNARY_METHOD("/lapse.v1.Cluster/Status", &status_method),
        UNARY_METHOD("/lapse.v1.Cluster/SetRoles", &set_roles_method),
        UNARY_METHOD("/lapse.v1.Cluster/ListRoles", &list_roles_method),
        UNARY_METHOD("/lapse.v1.Cluster/TransferLeadership", &transfer_method),
        UNARY_METHOD("/lapse.v1.Cluster/AddNode", &add_node_method),
        UNARY_METHOD("/lapse.v1.Cluster/RemoveNode", &remove_node_method),
    };
    *n = ARRAY_LEN(methods);
    return methods;
}
