/* The core's answers about enforcement points: who is registered, and what became of a revocation. */
#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "node/core_internal.h"
#include "proto/lapse/v1/grant.pb.h"

/* --- who is registered -------------------------------------------------------------------------------------------- */

/* A page token is the last point of the page before: the revision of its registration, in hexadecimal, and its id. */
#define TOKEN_SIZE (16 + LIMIT_POINT_ID + 1)

/* Adds a page. Returns the token of what is behind it; empty: nothing. */
static lapse_result add_points(struct core_call *call, char token[TOKEN_SIZE])
{
    const struct store *store = core_call_store(call);
    uint32_t i = call->after.len == 0 ? 0 : store_point_behind(store, call->after, call->cursor);
    uint32_t end = store_points(store) - i > call->page ? i + call->page : store_points(store);
    lapse_result result = lapse_ok();
    struct point point;
    for (; i < end && lapse_is_ok(result) && call->response.len < LIMIT_PAGE_BYTES; i++) {
        CHECK(store_point_at(store, i, &point));
        result = proto_encode_list_points_point(&point, &call->response);
    }
    token[0] = '\0';
    if (i > 0 && i < store_points(store))
        (void)snprintf(token, TOKEN_SIZE, "%016" PRIx64 "%.*s", point.revision, (int)point.id.len,
                       (const char *)point.id.data);
    return result;
}

void core_points_list(struct core_call *call)
{
    struct proto_point place = core_call_point(call);
    char token[TOKEN_SIZE] = "";
    if ((call->roles & (ROLE_OPERATOR | ROLE_AUDITOR)) == 0) {
        core_call_refuse(call, LAPSE_PERMISSION_DENIED, "only operators and auditors may list enforcement points");
        return;
    }
    lapse_result result = proto_encode_list_points_begin(&place, &call->response);
    if (lapse_is_ok(result))
        result = add_points(call, token);
    if (lapse_is_ok(result))
        result = proto_encode_list_points_end(slice_str(token), &call->response);
    core_call_finish(call, result);
}

/* --- one barrier -------------------------------------------------------------------------------------------------- */

/* What goes into the answer: a page's worth of receipts; the others are counted. */
struct receipts {
    struct core_call *call;
    bool enforced; /* takes those, or all others */
    uint32_t n;
    lapse_result result;
};

static void add_message(struct receipts *receipts, const struct proto_receipt *message)
{
    if (receipts->n++ < LIMIT_PAGE && lapse_is_ok(receipts->result))
        receipts->result = proto_encode_get_barrier_receipt(message, &receipts->call->response);
}

static void add_receipt(void *arg, const struct receipt *receipt, struct slice point)
{
    struct receipts *receipts = arg;
    const struct proto_receipt message = {.point = point,
                                          .instance = receipt->instance,
                                          .level = receipt->level,
                                          .time_ms = receipt->time_ms,
                                          .reason = receipt->reason};
    if ((receipt->level == RECEIPT_ENFORCED) == receipts->enforced)
        add_message(receipts, &message);
}

/* Those that have given none yet, as far as the store knows. */
static void add_waiting(struct receipts *receipts, const struct barrier *barrier)
{
    const struct store *store = core_call_store(receipts->call);
    struct point point;
    for (uint32_t i = 0; store_point_at(store, i, &point); i++) {
        const struct proto_receipt message = {
            .point = point.id, .instance = point.instance, .level = lapse_v1_ReceiptLevel_RECEIPT_WAITING};
        if (store_barrier_waits_for(store, barrier->id, point.instance))
            add_message(receipts, &message);
    }
}

static lapse_result encode_barrier(struct core_call *call, const struct barrier *barrier)
{
    struct proto_point place = core_call_point(call);
    struct receipts receipts = {.call = call, .result = lapse_ok()};
    lapse_result result = proto_encode_get_barrier_begin(&place, barrier, &call->response);
    if (!lapse_is_ok(result))
        return result;
    if (!barrier->done && !barrier->untracked && barrier->revision != 0)
        add_waiting(&receipts, barrier);
    (void)store_barrier_receipts(core_call_store(call), barrier->id, add_receipt, &receipts);
    receipts.enforced = true;
    (void)store_barrier_receipts(core_call_store(call), barrier->id, add_receipt, &receipts);
    if (!lapse_is_ok(receipts.result))
        return receipts.result;
    return proto_encode_get_barrier_end(receipts.n > LIMIT_PAGE ? receipts.n - LIMIT_PAGE : 0, &call->response);
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
