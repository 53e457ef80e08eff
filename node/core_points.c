/* The core's answers about enforcement points: who is registered, and what became of a revocation. */
#include <inttypes.h>

#include "base/check.h"
#include "node/core_internal.h"
#include "proto/lapse/v1/grant.pb.h"

void core_points_list(struct core_call *call)
{
    struct proto_point place = core_call_point(call);
    struct point point;
    if ((call->roles & (ROLE_OPERATOR | ROLE_AUDITOR)) == 0) {
        core_call_refuse(call, LAPSE_PERMISSION_DENIED, "only operators and auditors may list enforcement points");
        return;
    }
    lapse_result result = proto_encode_list_points_begin(&place, &call->response);
    for (uint32_t i = 0; lapse_is_ok(result) && store_point_at(core_call_store(call), i, &point); i++)
        result = proto_encode_list_points_point(&point, &call->response);
    core_call_finish(call, result);
}

/* --- one barrier -------------------------------------------------------------------------------------------------- */

struct receipts {
    struct core_call *call;
    lapse_result result;
};

static void add_receipt(void *arg, const struct receipt *receipt, struct slice point)
{
    struct receipts *receipts = arg;
    const struct proto_receipt message = {.point = point,
                                          .instance = receipt->instance,
                                          .level = receipt->level,
                                          .time_ms = receipt->time_ms,
                                          .reason = receipt->reason};
    if (lapse_is_ok(receipts->result))
        receipts->result = proto_encode_get_barrier_receipt(&message, &receipts->call->response);
}

/* Those that have given none yet, as far as the store knows. */
static lapse_result add_waiting(struct core_call *call, const struct barrier *barrier)
{
    const struct store *store = core_call_store(call);
    lapse_result result = lapse_ok();
    struct point point;
    for (uint32_t i = 0; lapse_is_ok(result) && store_point_at(store, i, &point); i++) {
        const struct proto_receipt message = {
            .point = point.id, .instance = point.instance, .level = lapse_v1_ReceiptLevel_RECEIPT_WAITING};
        if (store_barrier_waits_for(store, barrier->id, point.instance))
            result = proto_encode_get_barrier_receipt(&message, &call->response);
    }
    return result;
}

static lapse_result encode_barrier(struct core_call *call, const struct barrier *barrier)
{
    struct proto_point place = core_call_point(call);
    struct receipts receipts = {.call = call, .result = lapse_ok()};
    lapse_result result = proto_encode_get_barrier_begin(&place, barrier, &call->response);
    if (!lapse_is_ok(result))
        return result;
    (void)store_barrier_receipts(core_call_store(call), barrier->id, add_receipt, &receipts);
    if (lapse_is_ok(receipts.result) && !barrier->done && !barrier->untracked && barrier->revision != 0)
        return add_waiting(call, barrier);
    return receipts.result;
}

static bool find_barrier(const struct core_call *call, struct barrier *barrier)
{
    const struct store *store = core_call_store(call);
    return grant_id_is_zero(call->grant) ? store_barrier_get(store, call->barrier, barrier)
                                         : store_barrier_of(store, call->grant, barrier);
}

/* Who sees the grant sees what became of its revocation; what ended many grants is for those who see all. */
static bool may_see_barrier(const struct core_call *call, const struct barrier *barrier)
{
    struct grant grant;
    if (core_call_sees_all(call))
        return true;
    return !grant_id_is_zero(barrier->grant) && store_get(core_call_store(call), barrier->grant, &grant) &&
           core_call_may_see(call, &grant);
}

void core_points_barrier(struct core_call *call)
{
    struct barrier barrier;
    if (find_barrier(call, &barrier) && may_see_barrier(call, &barrier)) {
        core_call_finish(call, encode_barrier(call, &barrier));
        return;
    }
    core_call_refuse(call, LAPSE_NOT_FOUND,
                     "no such revocation that you may see: it never was, or all points confirmed it and its record has "
                     "left memory; check the id");
}
