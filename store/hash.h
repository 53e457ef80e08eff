/* XXH3, compiled in: its inputs are short, and a call through the library's dispatch costs as much as the hash.
 * Chains hash several parts without copying them together: each part's hash seeds the next, so that where one ends and
 * the next begins counts. Internal to store/. */
#ifndef LAPSE_STORE_HASH_H
#define LAPSE_STORE_HASH_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/bytes.h"

static inline uint64_t hash_chain(uint64_t hash, const void *data, size_t len)
{
    return XXH3_64bits_withSeed(data, len, hash);
}

/* An empty text is a part, too. */
static inline uint64_t hash_chain_text(uint64_t hash, struct slice text)
{
    return text.len > 0 ? hash_chain(hash, text.data, text.len) : hash * 0x9E3779B97F4A7C15ULL + 1;
}

#endif
