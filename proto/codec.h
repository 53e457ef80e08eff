/* Generated messages to bytes and back (nanopb), with the checks that the generated code doesn't make. */
#ifndef LAPSE_PROTO_CODEC_H
#define LAPSE_PROTO_CODEC_H

#include <pb.h>

#include "base/bytes.h"

/* Decodes exactly one message, all of whose strings must be text (UTF-8 without control characters but tab and
 * newline): INVALID_ARGUMENT otherwise, and `message` is then unspecified. `type` and `message` belong together:
 * proto_decode(lapse_v1_GetRequest_fields, bytes, &request, error). A message need not be cleared before, unless it has
 * callbacks. */
lapse_result proto_decode(const pb_msgdesc_t *type, struct slice bytes, void *message,
                          struct lapse_error *error) LAPSE_MUST_USE;

/* The same into a message whose bytes are all zero: faster, since a large one is not cleared a second time. */
lapse_result proto_decode_zeroed(const pb_msgdesc_t *type, struct slice bytes, void *message,
                                 struct lapse_error *error) LAPSE_MUST_USE;

/* Appends a message's bytes. RESOURCE_EXHAUSTED at the buffer's bound (`out` is then unchanged). */
lapse_result proto_encode(const pb_msgdesc_t *type, const void *message, struct buf *out) LAPSE_MUST_USE;

#endif
