/* One function a message type, fields in ascending order. Field numbers stand here a second time, since nanopb offers
 * no encoding without its structs; the names below are generated ones, so a renumbered schema changes both. */
#include "base/check.h"
#include "proto/convert.h"
#include "proto/encode_parts.h"

lapse_result proto_encode_grant(const struct grant *grant, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    words_put_grant_fields(&writer, grant);
    return written(&writer);
}

/* --- watch ------------------------------------------------------------------------------------------------------ */

lapse_result proto_encode_watch_event(uint64_t epoch, struct slice event, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_uint(&writer, lapse_v1_WatchResponse_epoch_tag, epoch);
    wire_put_bytes(&writer, lapse_v1_WatchResponse_event_tag, event);
    return written(&writer);
}

lapse_result proto_encode_watch_grant(uint64_t epoch, const struct grant *grant, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_uint(&writer, lapse_v1_WatchResponse_epoch_tag, epoch);
    words_put_grant(&writer, lapse_v1_WatchResponse_snapshot_grant_tag, grant);
    return written(&writer);
}

/* WatchCreated, Progress and SnapshotEnd have the same two fields. */
_Static_assert(lapse_v1_WatchCreated_revision_tag == lapse_v1_Progress_revision_tag &&
                   lapse_v1_SnapshotEnd_revision_tag == lapse_v1_Progress_revision_tag &&
                   lapse_v1_WatchCreated_time_ms_tag == lapse_v1_Progress_time_ms_tag &&
                   lapse_v1_SnapshotEnd_time_ms_tag == lapse_v1_Progress_time_ms_tag,
               "the marks of a watch are written by one function");

static lapse_result encode_watch_mark(uint32_t field, const struct proto_point *point, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_uint(&writer, lapse_v1_WatchResponse_epoch_tag, point->epoch);
    size_t mark = wire_begin(&writer, field);
    wire_put_uint(&writer, lapse_v1_Progress_revision_tag, point->revision);
    put_int(&writer, lapse_v1_Progress_time_ms_tag, point->time_ms);
    wire_end(&writer, mark);
    return written(&writer);
}

lapse_result proto_encode_watch_created(const struct proto_point *point, struct buf *out)
{
    return encode_watch_mark(lapse_v1_WatchResponse_created_tag, point, out);
}

lapse_result proto_encode_watch_progress(const struct proto_point *point, struct buf *out)
{
    return encode_watch_mark(lapse_v1_WatchResponse_progress_tag, point, out);
}

lapse_result proto_encode_watch_snapshot_end(const struct proto_point *point, struct buf *out)
{
    return encode_watch_mark(lapse_v1_WatchResponse_snapshot_end_tag, point, out);
}

lapse_result proto_encode_watch_resync(uint64_t epoch, const char *reason, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_uint(&writer, lapse_v1_WatchResponse_epoch_tag, epoch);
    size_t mark = wire_begin(&writer, lapse_v1_WatchResponse_resync_tag);
    put_text(&writer, lapse_v1_Resync_reason_tag, reason);
    wire_end(&writer, mark);
    return written(&writer);
}

/* --- unary answers ---------------------------------------------------------------------------------------------- */

HAS_POINT(lapse_v1_MutationResponse);
HAS_POINT(lapse_v1_GetResponse);
HAS_POINT(lapse_v1_CheckResponse);
HAS_POINT(lapse_v1_ListResponse);

lapse_result proto_encode_mutation(const struct proto_point *point, const struct grant *grant, bool repeated_call,
                                   const struct barrier *barrier, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_point(&writer, point);
    words_put_grant(&writer, lapse_v1_MutationResponse_grant_tag, grant);
    wire_put_uint(&writer, lapse_v1_MutationResponse_repeated_call_tag, repeated_call);
    words_put_barrier(&writer, lapse_v1_MutationResponse_barrier_tag, barrier);
    return written(&writer);
}

lapse_result proto_encode_get(const struct proto_point *point, const struct grant *grant, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_point(&writer, point);
    words_put_grant(&writer, lapse_v1_GetResponse_grant_tag, grant);
    return written(&writer);
}

lapse_result proto_encode_check(const struct proto_point *point, bool allowed, const char *verdict,
                                const struct grant *grant, int64_t valid_for_ms, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_point(&writer, point);
    wire_put_uint(&writer, lapse_v1_CheckResponse_allowed_tag, allowed);
    put_text(&writer, lapse_v1_CheckResponse_verdict_tag, verdict);
    words_put_grant(&writer, lapse_v1_CheckResponse_grant_tag, grant);
    put_int(&writer, lapse_v1_CheckResponse_valid_for_ms_tag, valid_for_ms);
    return written(&writer);
}

lapse_result proto_encode_list_begin(const struct proto_point *point, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_point(&writer, point);
    return written(&writer);
}

lapse_result proto_encode_list_grant(const struct grant *grant, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    words_put_grant(&writer, lapse_v1_ListResponse_grants_tag, grant);
    return written(&writer);
}

lapse_result proto_encode_list_end(struct slice next_page_token, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_bytes(&writer, lapse_v1_ListResponse_next_page_token_tag, next_page_token);
    return written(&writer);
}

lapse_result proto_encode_list_roles_begin(const struct proto_point *point, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_uint(&writer, lapse_v1_ListRolesResponse_epoch_tag, point->epoch);
    wire_put_uint(&writer, lapse_v1_ListRolesResponse_revision_tag, point->revision);
    return written(&writer);
}

lapse_result proto_encode_list_roles_binding(struct slice member, uint32_t roles, struct slice scope, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    words_put_roles(&writer, lapse_v1_ListRolesResponse_bindings_tag, member, roles, scope);
    return written(&writer);
}
