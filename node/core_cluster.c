/* The core's answers about the cluster itself: state, roles, and changes of who leads and who belongs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "node/core_internal.h"
#include "node/host_port.h"
#include "node/metrics.h"
#include "proto/codec.h"
#include "proto/convert.h"

/* --- status and roles --------------------------------------------------------------------------------------------- */

static const char *link_of(const struct core *core, uint64_t id)
{
    if (id == core->config.node_id)
        return "self";
    return peers_is_up(core->peers, id, true) ? "connected" : "unreachable";
}

static void fill_member(const struct core *core, const struct replica_member *member, lapse_v1_NodeStatus *node)
{
    static const char *const roles[] = {"standby", "voter", "spare"};
    node->id = member->id;
    (void)snprintf(node->address, sizeof node->address, "%s", member->address);
    (void)snprintf(node->role, sizeof node->role, "%s",
                   (size_t)member->role < ARRAY_LEN(roles) ? roles[member->role] : "unknown");
    (void)snprintf(node->link, sizeof node->link, "%s", link_of(core, member->id));
}

static const char *state_text(enum replica_state state)
{
    return state == REPLICA_LEADER ? "leader" : state == REPLICA_CANDIDATE ? "candidate" : "follower";
}

static void fill_replica(struct core *core, lapse_v1_StatusResponse *message)
{
    struct replica_status status;
    const struct replica_member *members = NULL;
    replica_get_status(core->replica, &status);
    (void)snprintf(message->state, sizeof message->state, "%s", state_text(status.state));
    message->leader_id = status.leader;
    message->term = status.term;
    message->commit_index = status.commit_index;
    message->applied_index = status.applied_index;
    message->snapshot_index = status.snapshot_index;
    message->time_ms = status.time_ms;
    uint32_t n = replica_members(core->replica, &members);
    for (uint32_t i = 0; i < n && i < ARRAY_LEN(message->nodes); i++)
        fill_member(core, &members[i], &message->nodes[message->nodes_count++]);
}

static void fill_store(const struct store *store, lapse_v1_StatusResponse *message)
{
    struct store_counts counts;
    struct store_digest digest = store_digest(store);
    store_counts(store, &counts);
    message->epoch = store_epoch(store);
    message->revision = store_revision(store);
    message->live_grants = counts.live;
    message->ended_grants = counts.ended;
    (void)snprintf(message->digest, sizeof message->digest, "%016" PRIx64 "%016" PRIx64, digest.words[0],
                   digest.words[1]);
}

void core_cluster_status(struct core_call *call)
{
    lapse_v1_StatusResponse *message = mem_calloc(1, sizeof *message);
    (void)snprintf(message->cluster, sizeof message->cluster, "%s", call->core->cluster);
    (void)snprintf(message->version, sizeof message->version, "%s", LAPSE_VERSION);
    message->node_id = call->core->config.node_id;
    message->watchers = (uint64_t)metric_get(METRIC_WATCHERS);
    fill_replica(call->core, message);
    fill_store(core_call_store(call), message);
    core_call_finish(call, proto_encode(lapse_v1_StatusResponse_fields, message, &call->response));
    free(message);
}

void core_cluster_roles(struct core_call *call)
{
    struct proto_point point = core_call_point(call);
    struct store_role_binding binding;
    if ((call->roles & (ROLE_OPERATOR | ROLE_AUDITOR)) == 0) {
        core_call_refuse(call, LAPSE_PERMISSION_DENIED, "only operators and auditors may list roles");
        return;
    }
    lapse_result result = proto_encode_list_roles_begin(&point, &call->response);
    for (uint32_t i = 0; lapse_is_ok(result) && store_role_at(core_call_store(call), i, &binding); i++)
        result = proto_encode_list_roles_binding(binding.member, binding.roles, binding.scope, &call->response);
    core_call_finish(call, result);
}

/* --- changes ------------------------------------------------------------------------------------------------------ */

/* Changes of who leads and who belongs are for operators, and for the leader to make. UNAVAILABLE, so that a client
 * goes on to another node. */
static bool may_change_cluster(struct core_call *call)
{
    struct replica_status status;
    replica_get_status(call->core->replica, &status);
    if ((call->roles & ROLE_OPERATOR) == 0)
        (void)lapse_fail(&call->error, LAPSE_PERMISSION_DENIED, "only operators may change the cluster");
    else if (status.state != REPLICA_LEADER && status.leader != 0)
        (void)lapse_fail(&call->error, LAPSE_UNAVAILABLE, "this node doesn't lead: ask node %" PRIu64, status.leader);
    else if (status.state != REPLICA_LEADER)
        (void)lapse_fail(&call->error, LAPSE_UNAVAILABLE, "no node leads right now: try again");
    return call->error.code == LAPSE_OK;
}

/* `begun`: what the replica said; its message is in call->error. */
static void answer_change(struct core_call *call, lapse_result begun, const pb_msgdesc_t *type, const void *message)
{
    if (lapse_is_ok(begun))
        core_call_finish(call, proto_encode(type, message, &call->response));
    else
        core_call_answer(call);
}

/* Handing over takes a round trip and an election; libraft gives up after an election timeout. */
void core_cluster_transfer(struct core_call *call)
{
    struct core *core = call->core;
    if (!may_change_cluster(call)) {
        core_call_answer(call);
    } else if (core->transfer != NULL) {
        core_call_refuse(call, LAPSE_FAILED_PRECONDITION,
                         "leadership is being handed over already: look at the status");
    } else if (call->node_id == core->config.node_id) {
        const lapse_v1_TransferLeadershipResponse message = {call->node_id};
        core_call_finish(call, proto_encode(lapse_v1_TransferLeadershipResponse_fields, &message, &call->response));
    } else if (!lapse_is_ok(replica_transfer(core->replica, call->node_id, &call->error))) {
        core_call_answer(call);
    } else {
        core->transfer = call;
        core->transfer_until_ms = clock_boot_ms() + 2 * (int64_t)core->config.election_timeout_ms;
    }
}

void core_cluster_transferred(struct core *core, uint64_t leader, int64_t now_ms)
{
    const lapse_v1_TransferLeadershipResponse message = {leader};
    struct core_call *call = core->transfer;
    bool moved = leader != 0 && leader != core->config.node_id;
    if (call == NULL || (!moved && now_ms < core->transfer_until_ms))
        return;
    core->transfer = NULL;
    if (moved)
        core_call_finish(call, proto_encode(lapse_v1_TransferLeadershipResponse_fields, &message, &call->response));
    else
        core_call_refuse(call, LAPSE_ABORTED,
                         "leadership was not handed over in time: is that node up and caught up? try again");
}

static bool is_member_at(const struct core *core, uint64_t id, const char *address)
{
    const struct replica_member *members = NULL;
    uint32_t n = replica_members(core->replica, &members);
    for (uint32_t i = 0; i < n; i++)
        if (members[i].id == id && strcmp(members[i].address, address) == 0)
            return true;
    return false;
}

void core_cluster_add_node(struct core_call *call)
{
    const lapse_v1_AddNodeResponse message = {.begun = true};
    char address[HOST_PORT_SIZE];
    if (!may_change_cluster(call)) {
        core_call_answer(call);
        return;
    }
    CHECK(slice_to_cstr(call->address, address, sizeof address));
    lapse_result begun = is_member_at(call->core, call->node_id, address)
                             ? lapse_ok() /* a repeated call */
                             : replica_add(call->core->replica, call->node_id, address, &call->error);
    answer_change(call, begun, lapse_v1_AddNodeResponse_fields, &message);
}

void core_cluster_remove_node(struct core_call *call)
{
    const lapse_v1_RemoveNodeResponse message = {.begun = true};
    if (!may_change_cluster(call))
        core_call_answer(call);
    else
        answer_change(call, replica_remove(call->core->replica, call->node_id, &call->error),
                      lapse_v1_RemoveNodeResponse_fields, &message);
}
