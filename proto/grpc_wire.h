/* The small syntaxes of gRPC over HTTP/2: timeouts, status messages, content types, codes. Pure functions. */
#ifndef LAPSE_PROTO_GRPC_WIRE_H
#define LAPSE_PROTO_GRPC_WIRE_H

#include "base/bytes.h"

/* Bytes of a message's prefix: a compressed flag and a big-endian length. */
#define GRPC_PREFIX_SIZE 5

/* A grpc-timeout as milliseconds, rounded up: 1 to 8 digits and one of HMSmun. False for anything else. */
bool grpc_timeout_parse(struct slice text, int64_t *ms);
/* Writes `ms` (>= 0) in the finest unit that its 8 digits can hold, rounded down so that the server never waits longer
 * than the client. */
#define GRPC_TIMEOUT_TEXT_SIZE 10
void grpc_timeout_format(int64_t ms, char text[GRPC_TIMEOUT_TEXT_SIZE]);

/* Percent-encodes everything but printable ASCII and the percent sign; cut at a whole character when `size` (with the
 * NUL) is too small. Returns the length. */
size_t grpc_message_encode(const char *message, char *out, size_t size);
/* The inverse, for messages of others: what isn't %XX stays as it is, and what isn't text afterwards becomes '?'. Cut
 * to `size`. */
void grpc_message_decode(struct slice encoded, char *out, size_t size);

/* "0" to "16" exactly; false otherwise. */
bool grpc_status_parse(struct slice text, enum lapse_code *code);

/* application/grpc, application/grpc+proto, either with parameters. */
bool grpc_content_type_is_ours(struct slice value);

/* What a client makes of an answer that isn't gRPC's (doc/http-grpc-status-mapping.md) and of a stream's reset
 * (doc/PROTOCOL-HTTP2.md). */
enum lapse_code grpc_code_of_http(unsigned status);
enum lapse_code grpc_code_of_reset(uint32_t h2_error);

#endif
