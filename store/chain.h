/* The audit chain: every event hashed with its predecessor's hash, so that nothing can be changed, left out, moved or added
 * without every later hash being another. What is hashed, byte by byte: docs/decisions/0013-audit.md. Shared by the store,
 * the audit database and the offline verifier. Pure; SHA-256 from OpenSSL. */
#ifndef LAPSE_STORE_CHAIN_H
#define LAPSE_STORE_CHAIN_H

#include "base/bytes.h"

#define CHAIN_HASH_BYTES 32

struct chain_head {
    uint8_t hash[CHAIN_HASH_BYTES]; /* all zero before the first event */
};

/* `head` becomes that of (epoch, event) behind it:
 *   SHA-256("lapse.audit.1" || previous hash || epoch as 8 bytes, big-endian || event bytes) */
void chain_extend(struct chain_head *head, uint64_t epoch, struct slice event);
bool chain_head_equal(const struct chain_head *a, const struct chain_head *b);

#endif
