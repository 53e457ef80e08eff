/* What the encode_*.c files share: the pieces of messages that several messages hold. Nobody else includes this. */
#ifndef LAPSE_PROTO_ENCODE_PARTS_H
#define LAPSE_PROTO_ENCODE_PARTS_H

#include "base/wire.h"
#include "proto/encode.h"
#include "store/words.h"

static inline void put_int(struct wire_writer *writer, uint32_t field, int64_t value)
{
    wire_put_uint(writer, field, (uint64_t)value);
}

static inline void put_text(struct wire_writer *writer, uint32_t field, const char *text)
{
    wire_put_bytes(writer, field, slice_str(text));
}

static inline lapse_result written(const struct wire_writer *writer)
{
    return writer->failed ? lapse_failed(LAPSE_RESOURCE_EXHAUSTED) : lapse_ok();
}

/* All answers begin with their point in history under these numbers. */
enum { POINT_EPOCH = 1, POINT_REVISION = 2, POINT_TIME_MS = 3 };
#define HAS_POINT(message)                                                                                             \
    _Static_assert(message##_epoch_tag == POINT_EPOCH && message##_revision_tag == POINT_REVISION &&                   \
                       message##_time_ms_tag == POINT_TIME_MS,                                                         \
                   "put_point writes the beginning of " #message)

static inline void put_point(struct wire_writer *writer, const struct proto_point *point)
{
    wire_put_uint(writer, POINT_EPOCH, point->epoch);
    wire_put_uint(writer, POINT_REVISION, point->revision);
    put_int(writer, POINT_TIME_MS, point->time_ms);
}

#endif
