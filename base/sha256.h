/* SHA-256 of a few pieces, as if they stood one behind the other. From OpenSSL; each thread keeps its context, since
 * making one costs as much as hashing an event. */
#ifndef LAPSE_BASE_SHA256_H
#define LAPSE_BASE_SHA256_H

#include "base/bytes.h"

#define SHA256_BYTES 32

/* `out` may be one of the pieces. */
void sha256_of(const struct slice *pieces, size_t n, uint8_t out[SHA256_BYTES]);

#endif
