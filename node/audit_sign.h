/* A node's own key for heads, and heads as bytes (lapse.v1.SignedHead). Ed25519 by OpenSSL. A key may be used by
 * several threads at once. */
#ifndef LAPSE_NODE_AUDIT_SIGN_H
#define LAPSE_NODE_AUDIT_SIGN_H

#include "node/audit.h"

struct audit_key;

/* Reads DIR/audit.key, or makes it (0600), and makes DIR/audit.pub what belongs to it. FAILED_PRECONDITION: it is there
 * and can't be used, or others than its owner may read it; UNAVAILABLE: it can't be read or written. */
lapse_result audit_key_open(const char *dir, struct audit_key **key, struct lapse_error *error) LAPSE_MUST_USE;
void audit_key_free(struct audit_key *key); /* accepts NULL */
void audit_key_public(const struct audit_key *key, uint8_t out[AUDIT_KEY_BYTES]);

/* Appends the signed head. RESOURCE_EXHAUSTED at the buffer's bound. */
lapse_result audit_head_sign(const struct audit_key *key, const struct chain_statement *statement,
                             struct buf *out) LAPSE_MUST_USE;
/* What somebody claims to be a head of this cluster. INVALID_ARGUMENT for another shape or another cluster. */
lapse_result audit_head_read(struct slice bytes, struct slice cluster, struct audit_claim *claim,
                             struct lapse_error *error) LAPSE_MUST_USE;
/* Whether the signature is that of the claim's own key. */
bool audit_claim_is_signed(const struct audit_claim *claim, struct slice cluster);

#endif
