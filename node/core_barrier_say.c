/* What callers are told about a barrier: the messages, in which the names come before what to do, since that is what an
 * operator reads first; and the messages of RevokeAndFollow. */
#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "node/core_barrier_internal.h"
#include "proto/lapse/v1/grant.pb.h"

/* What a list of names leaves of a message: for what stands before it, "and N more", and what to do. */
#define FAILED_REST_BYTES 90u
#define PENDING_REST_BYTES 165u

/* --- names in a message ------------------------------------------------------------------------------------------- */

/* A list that grows as long as it fits; the rest is counted. */
struct names {
    struct buf text;
    uint32_t left_out;
};

static void begin_names(struct names *names, size_t rest_bytes)
{
    *names = (struct names){.left_out = 0};
    buf_init(&names->text, LAPSE_ERROR_MESSAGE_SIZE - 1 - rest_bytes);
}

static const char *separator(const struct names *names, const char *between)
{
    return names->text.len == 0 ? "" : between;
}

/* " and 3 more", or "3 points" when there are no names, or nothing; ends the list's text with a NUL. */
static const char *end_names(struct names *names, uint32_t more, char rest[32])
{
    rest[0] = '\0';
    if (more > 0 && names->text.len == 0)
        (void)snprintf(rest, 32, "%" PRIu32 " point%s", more, more == 1 ? "" : "s");
    else if (more > 0)
        (void)snprintf(rest, 32, " and %" PRIu32 " more", more);
    names->text.max++;
    CHECK(lapse_is_ok(buf_append(&names->text, "", 1)));
    return (const char *)names->text.data;
}

/* --- FAILED ------------------------------------------------------------------------------------------------------- */

static void name_failed(void *arg, const struct receipt *receipt, struct slice point)
{
    struct names *names = arg;
    if (receipt->level != RECEIPT_FAILED)
        return;
    lapse_result named =
        buf_printf(&names->text, "%s%.*s: %.*s", separator(names, "; "), (int)point.len, (const char *)point.data,
                   (int)receipt->reason.len, (const char *)receipt->reason.data);
    if (!lapse_is_ok(named))
        named = buf_printf(&names->text, "%s%.*s", separator(names, "; "), (int)point.len, (const char *)point.data);
    names->left_out += !lapse_is_ok(named);
}

void say_failed(struct core_call *call, const struct barrier *barrier)
{
    struct names names;
    char rest[32];
    begin_names(&names, FAILED_REST_BYTES);
    (void)store_barrier_receipts(core_call_store(call), barrier->id, name_failed, &names);
    const char *text = end_names(&names, names.left_out, rest);
    (void)lapse_fail(&call->error, LAPSE_ABORTED, "FAILED: %s%s (access is denied there; end these sessions by hand)",
                     text, rest);
    buf_free(&names.text);
}

/* --- PENDING ------------------------------------------------------------------------------------------------------ */

static bool is_open(const struct lease_progress_point *point)
{
    return point->level == lapse_v1_ReceiptLevel_RECEIPT_WAITING ||
           point->level == lapse_v1_ReceiptLevel_RECEIPT_RECEIVED;
}

/* How much is left of what was left when the leader told it. */
static uint32_t left_ms(const struct tracked *tracked, const struct lease_progress_point *point, int64_t now_us)
{
    int64_t left = point->left_ms - (now_us - tracked->told_us) / 1000;
    return left < 0 ? 0 : (uint32_t)left;
}

static bool name_waited_for(struct names *names, const struct lease_progress_point *point, uint32_t left)
{
    const char *between = separator(names, ", ");
    lapse_result named;
    if (point->level == lapse_v1_ReceiptLevel_RECEIPT_RECEIVED)
        named = buf_printf(&names->text, "%s%s (denies; its sessions are not ended)", between, point->point);
    else if (left == 0)
        named = buf_printf(&names->text, "%s%s", between, point->point);
    else if (names->text.len == 0)
        named = buf_printf(&names->text, "%s (until %.1f s from now at the latest)", point->point, left / 1000.0);
    else
        named = buf_printf(&names->text, "%s%s (%.1f s)", between, point->point, left / 1000.0);
    return lapse_is_ok(named);
}

static uint32_t open_points(const struct barrier *barrier)
{
    return barrier->points - barrier->enforced - barrier->failed - barrier->lapsed - barrier->left;
}

/* Returns how many were named. */
static uint32_t name_open(struct names *names, const struct tracked *tracked, int64_t now_us)
{
    uint32_t named = 0;
    for (uint32_t i = 0; tracked != NULL && i < tracked->n_points; i++) {
        const struct lease_progress_point *point = &tracked->points[i];
        named += is_open(point) && name_waited_for(names, point, left_ms(tracked, point, now_us));
    }
    return named;
}

/* What `lapse barrier` takes: the grant, or the revision of a revocation of many. */
static void name_of(const struct barrier *barrier, char name[GRANT_ID_TEXT_SIZE])
{
    if (grant_id_is_zero(barrier->grant))
        (void)snprintf(name, GRANT_ID_TEXT_SIZE, "%" PRIu64, barrier->id);
    else
        grant_id_format(barrier->grant, name);
}

/* A lock revokes nothing. */
static const char *done_word(const struct core_call *call)
{
    return call->op == CORE_CHANGE ? "committed" : "revoked";
}

void say_pending(struct core_call *call, const struct barrier *barrier, const struct tracked *tracked, int64_t now_us)
{
    struct names names;
    char rest[32], name[GRANT_ID_TEXT_SIZE];
    name_of(barrier, name);
    if (barrier->revision == 0) {
        (void)lapse_fail(&call->error, LAPSE_DEADLINE_EXCEEDED,
                         "PENDING: %s at revision %" PRIu64 "; its grants are still being ended: ask again with "
                         "the same request_id, or `lapse barrier %s`",
                         done_word(call), barrier->id, name);
        return;
    }
    begin_names(&names, PENDING_REST_BYTES);
    uint32_t named = name_open(&names, tracked, now_us), open = open_points(barrier);
    const char *text = end_names(&names, open > named ? open - named : 0, rest);
    (void)lapse_fail(&call->error, LAPSE_DEADLINE_EXCEEDED,
                     "PENDING: %s at revision %" PRIu64 "; not confirmed by %s%s: ask again with the same "
                     "request_id, or `lapse barrier %s`",
                     done_word(call), barrier->id, text, rest, name);
    buf_free(&names.text);
}

void say_untracked(struct core_call *call)
{
    (void)lapse_fail(&call->error, LAPSE_DEADLINE_EXCEEDED,
                     "PENDING: %s at revision %" PRIu64 "; it can't be followed, since too many revocations are "
                     "open: points that are connected get it all the same, and others deny when their lease is over",
                     done_word(call), call->barrier);
}

void say_forgotten(struct core_call *call)
{
    (void)lapse_fail(&call->error, LAPSE_DEADLINE_EXCEEDED,
                     "PENDING: %s at revision %" PRIu64 "; how it was enforced is not known any more, since its "
                     "record has left memory",
                     done_word(call), call->barrier);
}

void say_too_many(struct core_call *call)
{
    (void)lapse_fail(&call->error, LAPSE_DEADLINE_EXCEEDED,
                     "PENDING: %s at revision %" PRIu64 "; too many calls wait on this node: ask again with the "
                     "same request_id, perhaps on another one",
                     done_word(call), call->barrier);
}

/* --- progress ----------------------------------------------------------------------------------------------------- */

struct listing {
    struct core_call *call;
    uint32_t n;
    lapse_result result;
};

static void list_receipt(void *arg, const struct receipt *receipt, struct slice point)
{
    struct listing *listing = arg;
    if (receipt->level == RECEIPT_ENFORCED || listing->n == LEASE_PROGRESS_MAX || !lapse_is_ok(listing->result))
        return;
    const struct proto_receipt message = {.point = point,
                                          .instance = receipt->instance,
                                          .level = receipt->level,
                                          .time_ms = receipt->time_ms,
                                          .reason = receipt->reason};
    listing->result = proto_encode_progress_receipt(&message, &listing->call->response);
    listing->n++;
}

static lapse_result list_told(struct core_call *call, const struct tracked *tracked, int64_t now_us)
{
    lapse_result result = lapse_ok();
    for (uint32_t i = 0; tracked != NULL && lapse_is_ok(result) && i < tracked->n_points; i++) {
        const struct lease_progress_point *point = &tracked->points[i];
        const struct proto_receipt message = {.point = slice_str(point->point),
                                              .instance = point->instance,
                                              .level = point->level,
                                              .reason = slice_str(point->reason),
                                              .left_ms = left_ms(tracked, point, now_us)};
        result = proto_encode_progress_receipt(&message, &call->response);
    }
    return result;
}

/* What is committed counts more than what was told; both say the same of a point. */
lapse_result say_progress(struct core_call *call, const struct barrier *barrier, const struct tracked *tracked,
                          int64_t now_us)
{
    struct proto_point point = core_call_point(call);
    struct listing listing = {.call = call, .result = lapse_ok()};
    lapse_result result = proto_encode_progress_begin(&point, barrier, &call->response);
    if (lapse_is_ok(result) && barrier != NULL && barrier->done) {
        (void)store_barrier_receipts(core_call_store(call), barrier->id, list_receipt, &listing);
        result = listing.result;
    } else if (lapse_is_ok(result)) {
        result = list_told(call, tracked, now_us);
    }
    if (lapse_is_ok(result))
        result = proto_encode_progress_end(call->op == CORE_REVOKE_FOLLOW, call->last, &call->response);
    return result;
}
