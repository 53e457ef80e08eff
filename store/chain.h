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

/* What a node signs about its head (a lapse.v1.SignedHead). */
struct chain_statement {
    struct slice cluster; /* at most LIMIT_CLUSTER bytes */
    uint64_t epoch, revision;
    int64_t time_ms;
    uint64_t node_id;
    struct chain_head head;
};
#define CHAIN_STATEMENT_MAX (12 + 1 + 255 + 4 * 8 + CHAIN_HASH_BYTES)
/* The bytes that the signature is over; returns how many:
 *   "lapse.head.1" || length of the cluster's name, 1 byte || name || epoch || revision || time_ms || node_id, 8 bytes each,
 *   big-endian || hash */
size_t chain_statement_bytes(const struct chain_statement *statement, uint8_t out[CHAIN_STATEMENT_MAX]);

#endif
