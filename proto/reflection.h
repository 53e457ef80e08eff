/* grpc.reflection.v1 and v1alpha: lets grpcurl and its like list and call the services without .proto files.
 *
 * The two entries of a server's method table; they need no state. What isn't served (extensions) is answered with an
 * error_response. */
#ifndef LAPSE_PROTO_REFLECTION_H
#define LAPSE_PROTO_REFLECTION_H

#include "proto/grpc_server.h"

#define REFLECTION_METHODS 2
extern const struct grpc_method reflection_methods[REFLECTION_METHODS];

/* The answer to one ServerReflectionRequest. INVALID_ARGUMENT when it is malformed. The part that does the work, for
 * tests. */
lapse_result reflection_answer(struct slice request, struct buf *out, struct lapse_error *error) LAPSE_MUST_USE;

#endif
