#include "base/token.h"

#include <openssl/sha.h>

static bool is_base64url(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool token_is_meant(struct slice text)
{
    return text.len >= sizeof TOKEN_PREFIX - 1 && memcmp(text.data, TOKEN_PREFIX, sizeof TOKEN_PREFIX - 1) == 0;
}

bool token_hash(struct slice text, uint8_t sha256[TOKEN_HASH_BYTES])
{
    if (text.len != TOKEN_LENGTH || !token_is_meant(text))
        return false;
    for (size_t i = sizeof TOKEN_PREFIX - 1; i < text.len; i++)
        if (!is_base64url(text.data[i]))
            return false;
    return SHA256(text.data, text.len, sha256) != NULL;
}
