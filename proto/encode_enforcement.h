/* The answers of Enforcement.Subscribe that a watch doesn't have; the others are those of proto/encode.h, whose bytes
 * serve both. As there: appended to `out`, RESOURCE_EXHAUSTED at its bound. */
#ifndef LAPSE_PROTO_ENCODE_ENFORCEMENT_H
#define LAPSE_PROTO_ENCODE_ENFORCEMENT_H

#include "proto/encode.h"

lapse_result proto_encode_point_registered(const struct proto_point *point, uint32_t lease_ms, uint64_t node_id,
                                           struct buf *out) LAPSE_MUST_USE;
/* `time_us`: cluster time hasn't passed it; 0: not known. */
lapse_result proto_encode_point_pong(uint64_t epoch, uint64_t sequence, uint32_t ttl_ms, int64_t time_us,
                                     struct buf *out) LAPSE_MUST_USE;
/* `code`: a gRPC code; 0: spent. */
lapse_result proto_encode_point_use_result(uint64_t epoch, const char *request_id, uint32_t code, const char *message,
                                           struct buf *out) LAPSE_MUST_USE;
/* `cause`: a number of lapse.v1.PointEnded.Cause. */
lapse_result proto_encode_point_ended(uint64_t epoch, uint32_t cause, const char *reason,
                                      struct buf *out) LAPSE_MUST_USE;

#endif
