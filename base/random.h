/* Random bytes in small pieces: from OpenSSL, drawn in one go for many callers, since each draw costs as much as
 * hundreds of bytes. Every byte is given out once and then erased. What one thread draws no other sees, nor does a
 * child after fork. Not for keys that live long: those are drawn where they are made. */
#ifndef LAPSE_BASE_RANDOM_H
#define LAPSE_BASE_RANDOM_H

#include <stddef.h>

/* len <= RANDOM_BYTES_MAX. Without randomness the process ends. */
#define RANDOM_BYTES_MAX 64
void random_bytes(void *out, size_t len);

#endif
