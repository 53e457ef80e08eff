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
#include "node/core_audit.h"
#include "node/core_barrier.h"
#include "node/core_internal.h"
#include "node/lease_node.h"
#include "node/metrics.h"
#include "proto/codec.h"
#include "proto/convert.h"
#include "proto/encode.h"

/* Grants looked at for one page or one slice of a snapshot; about a millisecond. */
#define SCAN_MAX 4096u
/* A slice of a snapshot is at most this long; the edge waits for its connection between slices. */
#define SLICE_BYTES_MAX (64u * 1024)

/* A page token is the store's cursor in hexadecimal. */
#define PAGE_TOKEN_SIZE 17

const struct store *core_call_store(const struct core_call *call)
{
    return replica_store(call->core->replica);
}

void core_call_answer(struct core_call *call)
{
    call->mail.run = NULL;
    call->answered(call);
}

void core_call_refuse(struct core_call *call, enum lapse_code code, const char *message)
{
    (void)lapse_fail(&call->error, code, "%s", message);
    core_call_answer(call);
}

/* --- answers ---------------------------------------------------------------------------------------------------- */

struct proto_point core_call_point(const struct core_call *call)
{
    return (struct proto_point){.epoch = call->epoch, .revision = call->revision, .time_ms = call->time_ms};
}

void core_call_set_now(struct core_call *call, int64_t time_ms)
{
    call->epoch = store_epoch(core_call_store(call));
    call->revision = store_revision(core_call_store(call));
    call->time_ms = time_ms;
}

void core_call_finish(struct core_call *call, lapse_result encoded)
{
    if (!lapse_is_ok(encoded))
        (void)lapse_fail(&call->error, LAPSE_RESOURCE_EXHAUSTED, "the answer is too large: ask for smaller pages");
    core_call_answer(call);
}

/* A write that is no revocation has no barrier, and waits for none. */
static void answer_write(struct core_call *call, const struct store_outcome *outcome)
{
    call->epoch = store_epoch(core_call_store(call));
    call->revision = outcome->revision;
    call->time_ms = outcome->time_ms;
    if (call->op != CORE_SET_ROLES && call->op != CORE_SEED_ROLES) {
        core_barrier_committed(call, outcome);
        return;
    }
    const lapse_v1_SetRolesResponse message = {call->epoch, call->revision, call->time_ms};
    core_call_finish(call, proto_encode(lapse_v1_SetRolesResponse_fields, &message, &call->response));
}

/* --- reads ------------------------------------------------------------------------------------------------------- */

static void run_get(struct core_call *call)
{
    char id[GRANT_ID_TEXT_SIZE];
    struct grant grant;
    struct proto_point point = core_call_point(call);
    /* The same answer for what is not there and for what is none of the caller's business. */
    if (store_get(core_call_store(call), call->grant, &grant) && core_call_may_see(call, &grant)) {
        core_call_finish(call, proto_encode_get(&point, &grant, &call->response));
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
    if (!core_call_may_see(page->call, grant))
        return true;
    page->result = proto_encode_list_grant(grant, &page->call->response);
    return ++page->n < page->call->page && lapse_is_ok(page->result) && page->call->response.len < LIMIT_PAGE_BYTES;
}

static void run_list(struct core_call *call)
{
    struct page page = {.call = call};
    struct proto_point point = core_call_point(call);
    char token[PAGE_TOKEN_SIZE] = "";
    page.result = proto_encode_list_begin(&point, &call->response);
    if (store_list(core_call_store(call), &call->filter, &call->cursor, SCAN_MAX, add_to_page, &page))
        (void)snprintf(token, sizeof token, "%016" PRIx64, call->cursor);
    if (lapse_is_ok(page.result))
        page.result = proto_encode_list_end(slice_str(token), &call->response);
    core_call_finish(call, page.result);
}

static bool may_check(const struct core_call *call)
{
    return core_call_sees_all(call) || principal_same(slice_str(call->principal), call->query.subject) ||
           scope_overlaps(buf_slice(&call->guards), call->query.resource);
}

static void answer_check(struct core_call *call)
{
    struct proto_point point = core_call_point(call);
    struct grant grant;
    bool found = false;
    enum grant_verdict verdict = store_check(core_call_store(call), &call->query, call->time_ms, &grant, &found);
    bool allowed = verdict == GRANT_ALLOWS;
    /* The nearest miss may be about another resource. */
    found = found && (call->op == CORE_EVALUATE || core_call_may_see(call, &grant));
    core_call_finish(call, proto_encode_check(&point, allowed, grant_verdict_name(verdict), found ? &grant : NULL,
                                              allowed ? grant.deadline_ms - call->time_ms : 0, &call->response));
}

static void run_check(struct core_call *call)
{
    if (!may_check(call)) {
        core_call_refuse(
            call, LAPSE_PERMISSION_DENIED,
            "only enforcers (of that resource), approvers, operators and auditors may check others: ask an "
            "operator for the role");
        return;
    }
    answer_check(call);
}

static void run_watch_open(struct core_call *call)
{
    core_call_answer(call); /* epoch, revision, time and who sees what are all it asked for */
}

/* A machine that slept while another took its place would otherwise register anew, and fence the one that works. */
static bool is_superseded(const struct core_call *call)
{
    const struct store *store = core_call_store(call);
    struct point point;
    return call->point.len > 0 && !store_point_get(store, call->instance, &point) &&
           lease_has_successor(store, call->point, 0);
}

static void run_guard_open(struct core_call *call)
{
    call->superseded = is_superseded(call);
    if (store_may_guard(core_call_store(call), slice_str(call->principal), call->scope))
        core_call_answer(call);
    else
        core_call_refuse(
            call, LAPSE_PERMISSION_DENIED,
            "not an enforcer of all of this scope: an operator gives the role with `lapse cluster roles set`");
}

/* --- at once ------------------------------------------------------------------------------------------------------ */

struct snapshot_slice {
    struct core_call *call;
    struct buf message;
    uint32_t n;
    lapse_result result;
};

static bool is_in_snapshot(const struct core_call *call, const struct grant *grant)
{
    return core_call_may_see(call, grant) && (call->scope.len == 0 || scope_overlaps(call->scope, grant->resource));
}

/* One WatchResponse with a snapshot_grant, as field 1 of a list that the edge takes apart again. */
static bool add_to_snapshot(void *arg, const struct grant *grant)
{
    struct snapshot_slice *slice = arg;
    if (!is_in_snapshot(slice->call, grant))
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
    call->more = store_list(core_call_store(call), &call->filter, &call->cursor, SCAN_MAX, add_to_snapshot, &slice);
    buf_free(&slice.message);
    core_call_finish(call, slice.result);
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
    struct slice first = first_operator(core_call_store(call));
    struct command command;
    if (first.len == 0) {
        core_call_refuse(call, LAPSE_UNAVAILABLE, "the cluster has not begun yet");
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
    bool is_long; /* takes turns: core_turns.c */
} ops[CORE_OPS] = {
    [CORE_WRITE] = {.writes = true},
    [CORE_SET_ROLES] = {.writes = true},
    [CORE_SEED_ROLES] = {begin_seed, .unasked = true},
    [CORE_GET] = {run_get, .quorum = true},
    [CORE_LIST] = {run_list, .quorum = true, .is_long = true},
    [CORE_CHECK] = {run_check, .quorum = true},
    [CORE_EVALUATE] = {answer_check, .quorum = true, .unasked = true},
    [CORE_STATUS] = {core_cluster_status},
    [CORE_ROLES] = {core_cluster_roles, .quorum = true},
    [CORE_TRANSFER] = {core_cluster_transfer},
    [CORE_ADD_NODE] = {core_cluster_add_node},
    [CORE_REMOVE_NODE] = {core_cluster_remove_node},
    [CORE_WATCH_OPEN] = {run_watch_open, .quorum = true},
    [CORE_GUARD_OPEN] = {run_guard_open, .quorum = true},
    [CORE_REVOKE_MATCHING] = {.writes = true},
    [CORE_REVOKE_FOLLOW] = {.writes = true},
    [CORE_FOLLOW] = {core_barrier_follow, .unasked = true}, /* its revocation was allowed */
    [CORE_POINTS] = {core_points_list, .quorum = true, .is_long = true},
    [CORE_BARRIER] = {core_points_barrier, .quorum = true, .is_long = true},
    [CORE_CHANGE] = {.writes = true},
    [CORE_OBJECTS] = {core_objects_list, .quorum = true, .is_long = true},
    [CORE_AUDIT_OPEN] = {core_audit_opened, .quorum = true},
    [CORE_SCAN] = {run_scan, .is_long = true},
    [CORE_SCAN_LOCKS] = {core_locks_scan, .is_long = true},
};

/* Who is locked may still end what is theirs; the log takes nothing else from them, and nothing from a stranger. */
static bool may_write(const struct core_call *call)
{
    const struct store *store = core_call_store(call);
    struct command command;
    if (store_roles_of(store, slice_str(call->principal)) != 0)
        return true;
    if (store_roles_bound(store, slice_str(call->principal)) == 0)
        return false;
    CHECK(lapse_is_ok(command_decode(buf_slice(&call->command), &command)));
    return command.type == COMMAND_CANCEL || command.type == COMMAND_COMPLETE || command.type == COMMAND_REVOKE;
}

static void refuse_caller(struct core_call *call)
{
    bool locked = store_roles_bound(core_call_store(call), slice_str(call->principal)) != 0;
    (void)lapse_fail(&call->error, LAPSE_PERMISSION_DENIED,
                     locked ? "%s is locked: ask an operator to lift that (`lapse locks` says why)"
                            : "%s has no role: an operator gives one with `lapse cluster roles set`",
                     call->principal);
    core_call_answer(call);
}

static void run_now(struct core_call *call, int64_t time_ms)
{
    core_call_set_now(call, time_ms);
    core_call_look_up_caller(call);
    if (call->roles == 0 && !ops[call->op].unasked) {
        refuse_caller(call);
        return;
    }
    ops[call->op].run(call);
}

/* A long answer shows the store as it is when its turn comes: later than the quorum's word, and so not less. */
static void run_op(struct core_call *call, int64_t time_ms)
{
    call->time_ms = time_ms;
    if (ops[call->op].is_long && !call->core->closing)
        core_turns_add(call);
    else
        run_now(call, time_ms);
}

void core_call_run_long(struct core_call *call)
{
    run_now(call, call->time_ms);
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
        core_call_refuse(call, result.code,
                         result.code == LAPSE_UNAVAILABLE
                             ? "no quorum answered in time: ask again, or look at `lapse cluster status`"
                             : lapse_code_name(result.code));
        return;
    }
    if (!ops[call->op].writes)
        run_op(call, time_ms);
    else if (may_write(call))
        begin_write(call);
    else
        refuse_caller(call);
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
        core_call_refuse(call, LAPSE_UNAVAILABLE, "this node is stopping: ask another one");
        return;
    }
    /* Someone without any role here may have been given one that this node hasn't applied yet: look again after a
     * quorum answered, rather than let strangers write to the log. The store checks the roles of every command once
     * more. */
    if (ops[call->op].writes && may_write(call))
        begin_write(call);
    else if (ops[call->op].writes || ops[call->op].quorum)
        begin_read(call);
    else
        run_op(call, core_time_ms(call->core));
}
