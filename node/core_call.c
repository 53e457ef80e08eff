/* What the core does with a question: who may ask, does it need a quorum first, and the answer as a lapse.v1 message.
 *
 *   run --> [allowed?] --> write: replica_write --> on_written --+
 *                      \-> read:  replica_read  --> on_read    --+--> core_call_answer
 *                      \-> at once (STATUS, SCAN, TRANSFER)    --+
 *
 * Answers are written straight from the store with base/wire.h: no generated struct of many kilobytes is filled on the
 * core loop. Field numbers are those of proto/lapse/v1; the end-to-end tests read every answer with generated code. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/wire.h"
#include "node/core_internal.h"
#include "node/host_port.h"
#include "node/metrics.h"
#include "proto/codec.h"
#include "proto/convert.h"
#include "proto/encode.h"

/* Grants looked at for one page or one slice of a snapshot; about a millisecond. */
#define SCAN_MAX 4096u
/* A slice of a snapshot is at most this long; the edge waits for its connection between slices. */
#define SLICE_BYTES_MAX (64u * 1024)

/* A page ends early past this, with a token for the rest: one more grant (about 20 KiB at most) always fits in a
 * message. */
#define PAGE_BYTES_MAX (LIMIT_MESSAGE_OUT / 2)
/* A page token is the store's cursor in hexadecimal. */
#define PAGE_TOKEN_SIZE 17

#define ROLES_THAT_SEE_ALL (ROLE_OPERATOR | ROLE_AUDITOR | ROLE_ENFORCER | ROLE_APPROVER)

struct core_call *core_call_new(enum core_op op, const char *principal, int64_t timeout_ms)
{
    struct core_call *call = mem_calloc(1, sizeof *call);
    call->op = op;
    call->timeout_ms = timeout_ms;
    (void)snprintf(call->principal, sizeof call->principal, "%s", principal);
    buf_init(&call->command, LIMIT_COMMAND_BYTES);
    buf_init(&call->response, LIMIT_MESSAGE_OUT);
    return call;
}

void core_call_free(struct core_call *call)
{
    if (call == NULL)
        return;
    buf_free(&call->command);
    buf_free(&call->response);
    free(call);
}

/* The longest message that is kept: a List filter (subject, resource, requester, approver, ticket, policy) or a Check.
 */
_Static_assert(CORE_CALL_TEXT_SIZE >=
                   LIMIT_SUBJECT + LIMIT_RESOURCE + 2 * LIMIT_PRINCIPAL + LIMIT_TICKET + LIMIT_POLICY,
               "a filter fits");
_Static_assert(CORE_CALL_TEXT_SIZE >= LIMIT_SUBJECT + LIMIT_RESOURCE + LIMIT_ACTION + LIMIT_PRINCIPAL + 32 + 64,
               "a check fits");

struct slice core_call_keep(struct core_call *call, const char *text, size_t len)
{
    if (len == 0)
        return slice_of(NULL, 0);
    CHECK(len <= sizeof call->text - call->text_len);
    uint8_t *at = call->text + call->text_len;
    memcpy(at, text, len);
    call->text_len += len;
    return slice_of(at, len);
}

static const struct store *store_of(const struct core_call *call)
{
    return replica_store(call->core->replica);
}

void core_call_answer(struct core_call *call)
{
    call->mail.run = NULL;
    call->answered(call);
}

static void refuse(struct core_call *call, enum lapse_code code, const char *message)
{
    (void)lapse_fail(&call->error, code, "%s", message);
    core_call_answer(call);
}

/* --- answers ---------------------------------------------------------------------------------------------------- */

static struct proto_point point_of(const struct core_call *call)
{
    return (struct proto_point){.epoch = call->epoch, .revision = call->revision, .time_ms = call->time_ms};
}

static void set_now(struct core_call *call, int64_t time_ms)
{
    call->epoch = store_epoch(store_of(call));
    call->revision = store_revision(store_of(call));
    call->time_ms = time_ms;
}

/* `encoded`: what the encoder said. */
static void finish(struct core_call *call, lapse_result encoded)
{
    if (!lapse_is_ok(encoded))
        (void)lapse_fail(&call->error, LAPSE_RESOURCE_EXHAUSTED, "the answer is too large: ask for smaller pages");
    core_call_answer(call);
}

static void answer_write(struct core_call *call, const struct store_outcome *outcome)
{
    struct grant grant;
    call->epoch = store_epoch(store_of(call));
    call->revision = outcome->revision;
    call->time_ms = outcome->time_ms;
    struct proto_point point = point_of(call);
    if (call->op != CORE_WRITE) {
        const lapse_v1_SetRolesResponse message = {point.epoch, point.revision, point.time_ms};
        finish(call, proto_encode(lapse_v1_SetRolesResponse_fields, &message, &call->response));
        return;
    }
    bool found = store_get(store_of(call), outcome->grant, &grant);
    finish(call, proto_encode_mutation(&point, found ? &grant : NULL, outcome->repeated, &call->response));
}

/* --- reads ------------------------------------------------------------------------------------------------------- */

/* Whoever has no role that sees everything sees what concerns them: as subject or as requester. */
static bool may_see(const struct core_call *call, const struct grant *grant)
{
    struct slice me = slice_str(call->principal);
    return (call->roles & ROLES_THAT_SEE_ALL) != 0 || principal_same(me, grant->subject) ||
           principal_same(me, grant->requester);
}

static void run_get(struct core_call *call)
{
    char id[GRANT_ID_TEXT_SIZE];
    struct grant grant;
    struct proto_point point = point_of(call);
    /* The same answer for what is not there and for what is none of the caller's business. */
    if (store_get(store_of(call), call->grant, &grant) && may_see(call, &grant)) {
        finish(call, proto_encode_get(&point, &grant, &call->response));
        return;
    }
    grant_id_format(call->grant, id);
    (void)lapse_fail(&call->error, LAPSE_NOT_FOUND,
                     "no grant %s that you may see: it never was, or it ended and left memory; check the id", id);
    core_call_answer(call);
}

struct page {
    struct core_call *call;
    uint32_t n;
    lapse_result result;
};

static bool add_to_page(void *arg, const struct grant *grant)
{
    struct page *page = arg;
    if (!may_see(page->call, grant))
        return true;
    page->result = proto_encode_list_grant(grant, &page->call->response);
    return ++page->n < page->call->page && lapse_is_ok(page->result) && page->call->response.len < PAGE_BYTES_MAX;
}

static void run_list(struct core_call *call)
{
    struct page page = {.call = call};
    struct proto_point point = point_of(call);
    char token[PAGE_TOKEN_SIZE] = "";
    page.result = proto_encode_list_begin(&point, &call->response);
    if (store_list(store_of(call), &call->filter, &call->cursor, SCAN_MAX, add_to_page, &page))
        (void)snprintf(token, sizeof token, "%016" PRIx64, call->cursor);
    if (lapse_is_ok(page.result))
        page.result = proto_encode_list_end(slice_str(token), &call->response);
    finish(call, page.result);
}

static void run_check(struct core_call *call)
{
    struct proto_point point = point_of(call);
    struct grant grant;
    bool found = false;
    if ((call->roles & ROLES_THAT_SEE_ALL) == 0 && !principal_same(slice_str(call->principal), call->query.subject)) {
        refuse(call, LAPSE_PERMISSION_DENIED,
               "only enforcers, approvers, operators and auditors may check others: ask an operator for the role");
        return;
    }
    enum grant_verdict verdict = store_check(store_of(call), &call->query, call->time_ms, &grant, &found);
    bool allowed = verdict == GRANT_ALLOWS;
    finish(call, proto_encode_check(&point, allowed, grant_verdict_name(verdict), found ? &grant : NULL,
                                    allowed ? grant.deadline_ms - call->time_ms : 0, &call->response));
}

static void run_roles(struct core_call *call)
{
    struct proto_point point = point_of(call);
    struct store_role_binding binding;
    if ((call->roles & (ROLE_OPERATOR | ROLE_AUDITOR)) == 0) {
        refuse(call, LAPSE_PERMISSION_DENIED, "only operators and auditors may list roles");
        return;
    }
    lapse_result result = proto_encode_list_roles_begin(&point, &call->response);
    for (uint32_t i = 0; lapse_is_ok(result) && store_role_at(store_of(call), i, &binding); i++)
        result = proto_encode_list_roles_binding(binding.member, binding.roles, &call->response);
    finish(call, result);
}

static void run_watch_open(struct core_call *call)
{
    core_call_answer(call); /* epoch, revision, time and roles are all it asked for */
}

/* --- at once ------------------------------------------------------------------------------------------------------ */

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

static void run_status(struct core_call *call)
{
    lapse_v1_StatusResponse *message = mem_calloc(1, sizeof *message);
    (void)snprintf(message->cluster, sizeof message->cluster, "%s", call->core->cluster);
    (void)snprintf(message->version, sizeof message->version, "%s", LAPSE_VERSION);
    message->node_id = call->core->config.node_id;
    message->watchers = (uint64_t)metric_get(METRIC_WATCHERS);
    fill_replica(call->core, message);
    fill_store(store_of(call), message);
    finish(call, proto_encode(lapse_v1_StatusResponse_fields, message, &call->response));
    free(message);
}

struct snapshot_slice {
    struct core_call *call;
    struct buf message;
    uint32_t n;
    lapse_result result;
};

/* One WatchResponse with a snapshot_grant, as field 1 of a list that the edge takes apart again. */
static bool add_to_snapshot(void *arg, const struct grant *grant)
{
    struct snapshot_slice *slice = arg;
    if (!may_see(slice->call, grant))
        return true;
    struct wire_writer writer = wire_writer(&slice->call->response);
    buf_clear(&slice->message);
    slice->result = proto_encode_watch_grant(slice->call->epoch, grant, &slice->message);
    wire_put_bytes(&writer, 1, buf_slice(&slice->message));
    if (writer.failed)
        slice->result = lapse_failed(LAPSE_RESOURCE_EXHAUSTED);
    return ++slice->n < slice->call->page && writer.out->len < SLICE_BYTES_MAX && lapse_is_ok(slice->result);
}

static void run_scan(struct core_call *call)
{
    struct snapshot_slice slice = {.call = call};
    buf_init(&slice.message, LIMIT_MESSAGE_OUT);
    call->more = store_list(store_of(call), &call->filter, &call->cursor, SCAN_MAX, add_to_snapshot, &slice);
    buf_free(&slice.message);
    finish(call, slice.result);
}

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
        finish(call, proto_encode(type, message, &call->response));
    else
        core_call_answer(call);
}

/* Handing over takes a round trip and an election; libraft gives up after an election timeout. */
static void run_transfer(struct core_call *call)
{
    struct core *core = call->core;
    if (!may_change_cluster(call)) {
        core_call_answer(call);
    } else if (core->transfer != NULL) {
        refuse(call, LAPSE_FAILED_PRECONDITION, "leadership is being handed over already: look at the status");
    } else if (call->node_id == core->config.node_id) {
        const lapse_v1_TransferLeadershipResponse message = {call->node_id};
        finish(call, proto_encode(lapse_v1_TransferLeadershipResponse_fields, &message, &call->response));
    } else if (!lapse_is_ok(replica_transfer(core->replica, call->node_id, &call->error))) {
        core_call_answer(call);
    } else {
        core->transfer = call;
        core->transfer_until_ms = clock_boot_ms() + 2 * (int64_t)core->config.election_timeout_ms;
    }
}

void core_call_transferred(struct core *core, uint64_t leader, int64_t now_ms)
{
    const lapse_v1_TransferLeadershipResponse message = {leader};
    struct core_call *call = core->transfer;
    bool moved = leader != 0 && leader != core->config.node_id;
    if (call == NULL || (!moved && now_ms < core->transfer_until_ms))
        return;
    core->transfer = NULL;
    if (moved)
        finish(call, proto_encode(lapse_v1_TransferLeadershipResponse_fields, &message, &call->response));
    else
        refuse(call, LAPSE_ABORTED, "leadership was not handed over in time: is that node up and caught up? try again");
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

static void run_add_node(struct core_call *call)
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

static void run_remove_node(struct core_call *call)
{
    const lapse_v1_RemoveNodeResponse message = {.begun = true};
    if (!may_change_cluster(call))
        core_call_answer(call);
    else
        answer_change(call, replica_remove(call->core->replica, call->node_id, &call->error),
                      lapse_v1_RemoveNodeResponse_fields, &message);
}

static void on_written(struct replica_write *write, const struct store_outcome *outcome);

/* The first operator without an asterisk; nobody before INIT is applied. */
static struct slice first_operator(const struct store *store)
{
    struct store_role_binding binding;
    for (uint32_t i = 0; store_role_at(store, i, &binding); i++)
        if ((binding.roles & ROLE_OPERATOR) != 0 && memchr(binding.member.data, '*', binding.member.len) == NULL)
            return binding.member;
    return slice_of(NULL, 0);
}

static void begin_seed(struct core_call *call)
{
    struct slice first = first_operator(store_of(call));
    struct command command;
    if (first.len == 0) {
        refuse(call, LAPSE_UNAVAILABLE, "the cluster has not begun yet");
        return;
    }
    CHECK(lapse_is_ok(command_decode(buf_slice(&call->command), &command)));
    command.principal = first;
    call->write = (struct replica_write){.done = on_written, .owner = call};
    replica_write(call->core->replica, &call->write, &command, call->timeout_ms);
}

/* --- the way through ---------------------------------------------------------------------------------------------- */

static const struct {
    void (*run)(struct core_call *call);
    bool writes;
    bool quorum;  /* linearizable: a quorum answers first */
    bool unasked; /* by the node itself: nobody's role is looked at */
} ops[CORE_OPS] = {
    [CORE_WRITE] = {.writes = true},
    [CORE_SET_ROLES] = {.writes = true},
    [CORE_SEED_ROLES] = {begin_seed, .unasked = true},
    [CORE_GET] = {run_get, .quorum = true},
    [CORE_LIST] = {run_list, .quorum = true},
    [CORE_CHECK] = {run_check, .quorum = true},
    [CORE_STATUS] = {run_status},
    [CORE_ROLES] = {run_roles, .quorum = true},
    [CORE_TRANSFER] = {run_transfer},
    [CORE_ADD_NODE] = {run_add_node},
    [CORE_REMOVE_NODE] = {run_remove_node},
    [CORE_WATCH_OPEN] = {run_watch_open, .quorum = true},
    [CORE_SCAN] = {run_scan},
};

static bool is_stranger(const struct core_call *call)
{
    return store_roles_of(store_of(call), slice_str(call->principal)) == 0;
}

static void refuse_stranger(struct core_call *call)
{
    (void)lapse_fail(&call->error, LAPSE_PERMISSION_DENIED,
                     "%s has no role: an operator gives one with `lapse cluster roles set`", call->principal);
    core_call_answer(call);
}

static void run_op(struct core_call *call, int64_t time_ms)
{
    set_now(call, time_ms);
    call->roles = store_roles_of(store_of(call), slice_str(call->principal));
    if (call->roles == 0 && !ops[call->op].unasked) {
        refuse_stranger(call);
        return;
    }
    ops[call->op].run(call);
}

static void on_written(struct replica_write *write, const struct store_outcome *outcome)
{
    struct core_call *call = write->owner;
    call->error = outcome->error;
    if (outcome->error.code != LAPSE_OK) {
        metric_add(METRIC_WRITES_FAILED,
                   outcome->error.code == LAPSE_UNKNOWN || outcome->error.code == LAPSE_UNAVAILABLE);
        core_call_answer(call);
        return;
    }
    answer_write(call, outcome);
}

static void begin_write(struct core_call *call)
{
    struct command command;
    CHECK(lapse_is_ok(command_decode(buf_slice(&call->command), &command)));
    metric_add(METRIC_WRITES, 1);
    call->write = (struct replica_write){.done = on_written, .owner = call};
    replica_write(call->core->replica, &call->write, &command, call->timeout_ms);
}

static void on_read(struct replica_read *read, lapse_result result, int64_t time_ms)
{
    struct core_call *call = read->owner;
    if (!lapse_is_ok(result)) {
        refuse(call, result.code,
               result.code == LAPSE_UNAVAILABLE
                   ? "no quorum answered in time: ask again, or look at `lapse cluster status`"
                   : lapse_code_name(result.code));
        return;
    }
    if (!ops[call->op].writes)
        run_op(call, time_ms);
    else if (is_stranger(call))
        refuse_stranger(call);
    else
        begin_write(call);
}

static void begin_read(struct core_call *call)
{
    metric_add(METRIC_READS, 1);
    call->read = (struct replica_read){.done = on_read, .owner = call};
    replica_read(call->core->replica, &call->read, call->timeout_ms);
}

void core_call_run(struct mail *mail)
{
    struct core_call *call = CONTAINER_OF(mail, struct core_call, mail);
    if (call->core->closing) {
        refuse(call, LAPSE_UNAVAILABLE, "this node is stopping: ask another one");
        return;
    }
    /* Someone without any role here may have been given one that this node hasn't applied yet: look again after a
     * quorum answered, rather than let strangers write to the log. The store checks the roles of every command once
     * more. */
    if (ops[call->op].writes && !is_stranger(call))
        begin_write(call);
    else if (ops[call->op].writes || ops[call->op].quorum)
        begin_read(call);
    else
        run_op(call, core_time_ms(call->core));
}
