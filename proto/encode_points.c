/* What is said about enforcement points: who they are, how far a revocation has reached them, and their sessions. As in
 * encode.c, field by field in ascending order, under the generated names of the numbers. */
#include "base/check.h"
#include "proto/encode_parts.h"
#include "proto/lapse/v1/enforcement.pb.h"
#include "proto/lapse/v1/grants.pb.h"

static lapse_result encode_receipt(uint32_t field, const struct proto_receipt *receipt, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    size_t mark = wire_begin(&writer, field);
    wire_put_bytes(&writer, lapse_v1_Receipt_point_tag, receipt->point);
    wire_put_bytes(&writer, lapse_v1_Receipt_instance_tag,
                   slice_of(receipt->instance.bytes, sizeof receipt->instance.bytes));
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
    words_put_barrier(&writer, lapse_v1_RevokeMatchingResponse_barrier_tag, barrier);
    wire_put_uint(&writer, lapse_v1_RevokeMatchingResponse_repeated_call_tag, repeated_call);
    return written(&writer);
}

lapse_result proto_encode_progress_begin(const struct proto_point *point, const struct barrier *barrier,
                                         struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_point(&writer, point);
    words_put_barrier(&writer, lapse_v1_RevokeProgress_barrier_tag, barrier);
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
    words_put_point(&writer, lapse_v1_ListPointsResponse_points_tag, point);
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
    words_put_barrier(&writer, lapse_v1_GetBarrierResponse_barrier_tag, barrier);
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
