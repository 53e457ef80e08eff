/* What is said about enforcement points: who they are, how far a revocation has reached them, and their sessions. As in
 * encode.c, field by field in ascending order, under the generated names of the numbers. */
#include "base/check.h"
#include "proto/encode_parts.h"
#include "proto/lapse/v1/enforcement.pb.h"
#include "proto/lapse/v1/grants.pb.h"

void put_scope(struct wire_writer *writer, uint32_t field, struct slice scope)
{
    struct slice pattern;
    while (scope_next(&scope, &pattern))
        wire_put_bytes(writer, field, pattern);
}

static void put_random_id(struct wire_writer *writer, uint32_t field, const struct random_id *id)
{
    wire_put_bytes(writer, field, slice_of(id->bytes, sizeof id->bytes));
}

static const char *end_name(enum point_end end)
{
    static const char *const names[] = {
        [POINT_END_LAPSED] = "LAPSED", [POINT_END_LEFT] = "LEFT", [POINT_END_FENCED] = "FENCED"};
    return end == 0 ? "" : names[end];
}

void put_registered_point(struct wire_writer *writer, uint32_t field, const struct point *point)
{
    if (point == NULL)
        return;
    size_t mark = wire_begin(writer, field);
    wire_put_bytes(writer, lapse_v1_Point_id_tag, point->id);
    put_random_id(writer, lapse_v1_Point_instance_tag, &point->instance);
    wire_put_bytes(writer, lapse_v1_Point_principal_tag, point->principal);
    put_scope(writer, lapse_v1_Point_scope_tag, point->scope);
    wire_put_uint(writer, lapse_v1_Point_lease_ms_tag, point->lease_ms);
    wire_put_uint(writer, lapse_v1_Point_fenced_tag, point->fenced);
    wire_put_uint(writer, lapse_v1_Point_revision_tag, point->revision);
    put_int(writer, lapse_v1_Point_registered_ms_tag, point->registered_ms);
    wire_put_uint(writer, lapse_v1_Point_sessions_tag, point->sessions);
    put_text(writer, lapse_v1_Point_ended_tag, end_name(point->ended));
    wire_end(writer, mark);
}

void put_barrier(struct wire_writer *writer, uint32_t field, const struct barrier *barrier)
{
    if (barrier == NULL)
        return;
    size_t mark = wire_begin(writer, field);
    wire_put_uint(writer, lapse_v1_Barrier_id_tag, barrier->id);
    wire_put_uint(writer, lapse_v1_Barrier_revision_tag, barrier->revision);
    put_id(writer, lapse_v1_Barrier_grant_id_tag, barrier->grant);
    wire_put_uint(writer, lapse_v1_Barrier_points_tag, barrier->points);
    wire_put_uint(writer, lapse_v1_Barrier_enforced_tag, barrier->enforced);
    wire_put_uint(writer, lapse_v1_Barrier_failed_tag, barrier->failed);
    wire_put_uint(writer, lapse_v1_Barrier_lapsed_tag, barrier->lapsed);
    wire_put_uint(writer, lapse_v1_Barrier_left_tag, barrier->left);
    wire_put_uint(writer, lapse_v1_Barrier_done_tag, barrier->done);
    put_int(writer, lapse_v1_Barrier_time_ms_tag, barrier->time_ms);
    put_int(writer, lapse_v1_Barrier_done_ms_tag, barrier->done_ms);
    wire_put_uint(writer, lapse_v1_Barrier_untracked_tag, barrier->untracked);
    wire_put_uint(writer, lapse_v1_Barrier_grants_tag, barrier->grants);
    wire_end(writer, mark);
}

void put_session(struct wire_writer *writer, uint32_t field, const struct session *session, int64_t ended_ms)
{
    if (session == NULL)
        return;
    size_t mark = wire_begin(writer, field);
    put_random_id(writer, lapse_v1_Session_id_tag, &session->id);
    wire_put_bytes(writer, lapse_v1_Session_point_tag, session->point);
    put_id(writer, lapse_v1_Session_grant_id_tag, session->grant);
    wire_put_bytes(writer, lapse_v1_Session_description_tag, session->description);
    put_int(writer, lapse_v1_Session_began_ms_tag, session->began_ms);
    put_int(writer, lapse_v1_Session_ended_ms_tag, ended_ms);
    wire_end(writer, mark);
}

void put_sweep(struct wire_writer *writer, uint32_t field, const struct sweep *sweep)
{
    if (sweep == NULL)
        return;
    size_t mark = wire_begin(writer, field);
    wire_put_bytes(writer, lapse_v1_Sweep_subject_tag, sweep->filter.subject);
    wire_put_bytes(writer, lapse_v1_Sweep_resource_tag, sweep->filter.resource);
    wire_put_bytes(writer, lapse_v1_Sweep_requester_tag, sweep->filter.requester);
    wire_put_bytes(writer, lapse_v1_Sweep_approver_tag, sweep->filter.approver);
    wire_put_bytes(writer, lapse_v1_Sweep_ticket_tag, sweep->filter.ticket);
    wire_put_bytes(writer, lapse_v1_Sweep_policy_tag, sweep->filter.policy);
    put_id(writer, lapse_v1_Sweep_parent_tag, sweep->filter.parent);
    wire_put_bytes(writer, lapse_v1_Sweep_reason_tag, sweep->reason);
    wire_put_bytes(writer, lapse_v1_Sweep_by_tag, sweep->by);
    wire_put_uint(writer, lapse_v1_Sweep_grants_tag, sweep->grants);
    wire_put_uint(writer, lapse_v1_Sweep_id_tag, sweep->id);
    wire_end(writer, mark);
}

static lapse_result encode_receipt(uint32_t field, const struct proto_receipt *receipt, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    size_t mark = wire_begin(&writer, field);
    wire_put_bytes(&writer, lapse_v1_Receipt_point_tag, receipt->point);
    put_random_id(&writer, lapse_v1_Receipt_instance_tag, &receipt->instance);
    wire_put_uint(&writer, lapse_v1_Receipt_level_tag, receipt->level);
    put_int(&writer, lapse_v1_Receipt_time_ms_tag, receipt->time_ms);
    wire_put_bytes(&writer, lapse_v1_Receipt_reason_tag, receipt->reason);
    wire_put_uint(&writer, lapse_v1_Receipt_left_ms_tag, receipt->left_ms);
    wire_end(&writer, mark);
    return written(&writer);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

HAS_POINT(lapse_v1_RevokeMatchingResponse);
HAS_POINT(lapse_v1_RevokeProgress);

lapse_result proto_encode_revoke_matching(const struct proto_point *point, const struct barrier *barrier,
                                          bool repeated_call, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_point(&writer, point);
    put_barrier(&writer, lapse_v1_RevokeMatchingResponse_barrier_tag, barrier);
    wire_put_uint(&writer, lapse_v1_RevokeMatchingResponse_repeated_call_tag, repeated_call);
    return written(&writer);
}

lapse_result proto_encode_progress_begin(const struct proto_point *point, const struct barrier *barrier,
                                         struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_point(&writer, point);
    put_barrier(&writer, lapse_v1_RevokeProgress_barrier_tag, barrier);
    return written(&writer);
}

lapse_result proto_encode_progress_receipt(const struct proto_receipt *receipt, struct buf *out)
{
    return encode_receipt(lapse_v1_RevokeProgress_receipts_tag, receipt, out);
}

lapse_result proto_encode_progress_end(bool committed, bool last, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_uint(&writer, lapse_v1_RevokeProgress_committed_tag, committed);
    wire_put_uint(&writer, lapse_v1_RevokeProgress_last_tag, last);
    return written(&writer);
}

/* Both have only these two of a point's fields. */
_Static_assert(lapse_v1_ListPointsResponse_epoch_tag == POINT_EPOCH &&
                   lapse_v1_ListPointsResponse_revision_tag == POINT_REVISION &&
                   lapse_v1_GetBarrierResponse_epoch_tag == POINT_EPOCH &&
                   lapse_v1_GetBarrierResponse_revision_tag == POINT_REVISION,
               "put_place writes the beginning of both");

static void put_place(struct wire_writer *writer, const struct proto_point *point)
{
    wire_put_uint(writer, POINT_EPOCH, point->epoch);
    wire_put_uint(writer, POINT_REVISION, point->revision);
}

lapse_result proto_encode_list_points_begin(const struct proto_point *point, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_place(&writer, point);
    return written(&writer);
}

lapse_result proto_encode_list_points_point(const struct point *point, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_registered_point(&writer, lapse_v1_ListPointsResponse_points_tag, point);
    return written(&writer);
}

lapse_result proto_encode_list_points_end(struct slice next_page_token, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_bytes(&writer, lapse_v1_ListPointsResponse_next_page_token_tag, next_page_token);
    return written(&writer);
}

lapse_result proto_encode_get_barrier_begin(const struct proto_point *point, const struct barrier *barrier,
                                            struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_place(&writer, point);
    put_barrier(&writer, lapse_v1_GetBarrierResponse_barrier_tag, barrier);
    return written(&writer);
}

lapse_result proto_encode_get_barrier_receipt(const struct proto_receipt *receipt, struct buf *out)
{
    return encode_receipt(lapse_v1_GetBarrierResponse_receipts_tag, receipt, out);
}

lapse_result proto_encode_get_barrier_end(uint32_t omitted, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_uint(&writer, lapse_v1_GetBarrierResponse_omitted_tag, omitted);
    return written(&writer);
}
