/* A message of lapse.v1 as JSON, by the descriptors that the build embeds: one function for all messages, so that what a
 * webhook is sent has the names of the .proto files and can't fall behind them.
 *
 * After protobuf's JSON mapping (https://protobuf.dev/programming-guides/json/), with its options "names as in the .proto"
 * and "nothing that has its default", and one difference: 64-bit numbers are numbers, since times and revisions stay below
 * 2^53. Enums are names, bytes base64. */
#ifndef LAPSE_PROTO_JSON_H
#define LAPSE_PROTO_JSON_H

#include "base/bytes.h"

/* Appends the message `bytes` of type `name` ("lapse.v1.Event"), in which nested messages go no deeper than 16.
 * INVALID_ARGUMENT when the bytes are no such message (an unknown field is passed over); RESOURCE_EXHAUSTED at the
 * buffer's bound. `out` then holds a fragment that must be dropped. Any thread. */
lapse_result json_of_message(const char *name, struct slice bytes, struct buf *out) LAPSE_MUST_USE;

/* Appends a JSON string, quotes included: what must be escaped is, and what is not UTF-8 becomes U+FFFD. */
lapse_result json_of_text(struct slice text, struct buf *out) LAPSE_MUST_USE;

#endif
