/* Two texts in one string: the first, and, if the second is not empty, a NUL and the second. Texts hold no NUL.
 * Internal to store/. */
#ifndef LAPSE_STORE_PAIR_H
#define LAPSE_STORE_PAIR_H

#include "base/bytes.h"

static inline void pair_split(struct slice pair, struct slice *first, struct slice *second)
{
    const uint8_t *nul = pair.len == 0 ? NULL : memchr(pair.data, '\0', pair.len);
    *first = pair;
    *second = (struct slice){0};
    if (nul != NULL) {
        *first = slice_of(pair.data, (size_t)(nul - pair.data));
        *second = slice_of(nul + 1, pair.len - first->len - 1);
    }
}

/* Joins into `out`, which has room for both and one byte more. */
static inline struct slice pair_join(struct slice first, struct slice second, uint8_t *out)
{
    size_t len = first.len;
    if (first.len > 0)
        memcpy(out, first.data, first.len);
    if (second.len > 0) {
        out[len++] = '\0';
        memcpy(out + len, second.data, second.len);
        len += second.len;
    }
    return slice_of(out, len);
}

#endif
