/* A bearer token's text: "lps_" and 43 characters of base64url, which are 32 random bytes. Nobody but who presents it
 * has it; everybody else knows its hash. */
#ifndef LAPSE_BASE_TOKEN_H
#define LAPSE_BASE_TOKEN_H

#include "base/bytes.h"

#define TOKEN_PREFIX "lps_"
#define TOKEN_LENGTH 47 /* of the whole text */
#define TOKEN_HASH_BYTES 32

/* Whether it is meant to be one: it begins like one. */
bool token_is_meant(struct slice text);
/* SHA-256 of the whole text; false when it is no token. */
bool token_hash(struct slice text, uint8_t sha256[TOKEN_HASH_BYTES]);

#endif
