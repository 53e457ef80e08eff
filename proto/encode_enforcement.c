#include "proto/encode_enforcement.h"

#include "proto/encode_parts.h"
#include "proto/lapse/v1/enforcement.pb.h"

/* Events, marks, snapshots and resyncs are encoded once, for watches and points alike. */
#define SAME_KIND(kind)                                                                                                \
    _Static_assert(lapse_v1_SubscribeResponse_##kind##_tag == lapse_v1_WatchResponse_##kind##_tag,                     \
                   "a watch's message is a point's message")
SAME_KIND(epoch);
SAME_KIND(event);
SAME_KIND(progress);
SAME_KIND(resync);
SAME_KIND(snapshot_grant);
SAME_KIND(snapshot_end);

static size_t begin(struct wire_writer *writer, uint64_t epoch, uint32_t kind)
{
    wire_put_uint(writer, lapse_v1_SubscribeResponse_epoch_tag, epoch);
    return wire_begin(writer, kind);
}

lapse_result proto_encode_point_registered(const struct proto_point *point, uint32_t lease_ms, uint64_t node_id,
                                           struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    size_t mark = begin(&writer, point->epoch, lapse_v1_SubscribeResponse_registered_tag);
    wire_put_uint(&writer, lapse_v1_Registered_revision_tag, point->revision);
    put_int(&writer, lapse_v1_Registered_time_ms_tag, point->time_ms);
    wire_put_uint(&writer, lapse_v1_Registered_lease_ms_tag, lease_ms);
    wire_put_uint(&writer, lapse_v1_Registered_node_id_tag, node_id);
    wire_end(&writer, mark);
    return written(&writer);
}

lapse_result proto_encode_point_pong(uint64_t epoch, uint64_t sequence, uint32_t ttl_ms, int64_t time_us,
                                     struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    size_t mark = begin(&writer, epoch, lapse_v1_SubscribeResponse_pong_tag);
    wire_put_uint(&writer, lapse_v1_Pong_sequence_tag, sequence);
    wire_put_uint(&writer, lapse_v1_Pong_ttl_ms_tag, ttl_ms);
    put_int(&writer, lapse_v1_Pong_time_us_tag, time_us);
    wire_end(&writer, mark);
    return written(&writer);
}

lapse_result proto_encode_point_use_result(uint64_t epoch, const char *request_id, uint32_t code, const char *message,
                                           struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    size_t mark = begin(&writer, epoch, lapse_v1_SubscribeResponse_use_result_tag);
    put_text(&writer, lapse_v1_UseResult_request_id_tag, request_id);
    wire_put_uint(&writer, lapse_v1_UseResult_code_tag, code);
    put_text(&writer, lapse_v1_UseResult_message_tag, message);
    wire_end(&writer, mark);
    return written(&writer);
}

lapse_result proto_encode_point_ended(uint64_t epoch, uint32_t cause, const char *reason, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    size_t mark = begin(&writer, epoch, lapse_v1_SubscribeResponse_ended_tag);
    wire_put_uint(&writer, lapse_v1_PointEnded_cause_tag, cause);
    put_text(&writer, lapse_v1_PointEnded_reason_tag, reason);
    wire_end(&writer, mark);
    return written(&writer);
}
