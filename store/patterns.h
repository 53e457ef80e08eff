/* The patterns that cover a resource, from itself to "*": for looking up by name what is kept by pattern. Internal to
 * store/.
 *
 *   db/prod/orders --> "db/prod/orders", "db/prod/" and an asterisk, "db/" and an asterisk, "*" */
#ifndef LAPSE_STORE_PATTERNS_H
#define LAPSE_STORE_PATTERNS_H

#include "base/bytes.h"
#include "base/limits.h"

struct patterns {
    struct slice resource;
    size_t len; /* of the prefix that comes next; SIZE_MAX: none */
    char text[LIMIT_RESOURCE + 1];
};

/* `resource` has at most LIMIT_RESOURCE bytes. A subtree is covered by itself, which then comes twice. */
static inline void patterns_begin(struct patterns *patterns, struct slice resource)
{
    patterns->resource = resource;
    patterns->len = resource.len;
}

/* False past the last. The slice is valid until the next call. */
static inline bool patterns_next(struct patterns *patterns, struct slice *out)
{
    size_t len = patterns->len;
    if (len == SIZE_MAX)
        return false;
    if (len == patterns->resource.len) {
        *out = patterns->resource;
    } else {
        memcpy(patterns->text, patterns->resource.data, len);
        patterns->text[len] = '*';
        *out = slice_of(patterns->text, len + 1);
    }
    /* The next shorter prefix that ends in a slash; none left: just "*", then the end. */
    size_t shorter = len;
    if (shorter == 0) {
        patterns->len = SIZE_MAX;
        return true;
    }
    do
        shorter--;
    while (shorter > 0 && patterns->resource.data[shorter - 1] != '/');
    patterns->len = shorter;
    return true;
}

#endif
