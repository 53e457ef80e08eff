/* Byte ranges, growable buffers with a bound, and shared immutable blobs.
 *
 * Three shapes cover every use of raw memory in Lapse:
 *   struct slice   borrowed bytes: a pointer and a length, owned by somebody else
 *   struct buf     owned bytes that grow up to a limit fixed at its start
 *   struct blob    immutable, reference-counted bytes that several threads may hold (an encoded event, a frame) */
#ifndef LAPSE_BASE_BYTES_H
#define LAPSE_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/result.h"

struct slice {
    const uint8_t *data; /* may be NULL when len is 0 */
    size_t len;
};

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){(const uint8_t *)data, len};
}

static inline struct slice slice_str(const char *text)
{
    return slice_of(text, text == NULL ? 0 : strlen(text));
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_starts_with(struct slice text, struct slice start)
{
    return text.len >= start.len && slice_equal(slice_of(text.data, start.len), start);
}

/* Like strcmp: by bytes, a prefix sorts first. */
int slice_compare(struct slice a, struct slice b);

/* Copies `text` into `out` as a NUL-terminated string; false (out untouched) when it does not fit in `size`. */
bool slice_to_cstr(struct slice text, char *out, size_t size);

/* True for well-formed UTF-8 (RFC 3629) without control characters (U+0000..U+001F, U+007F..U+009F), except that
 * `allow_newline` admits tab and newline. */
bool slice_is_text(struct slice text, bool allow_newline);

struct buf {
    uint8_t *data;
    size_t len;
    size_t capacity;
    size_t max; /* appends past this fail with RESOURCE_EXHAUSTED and change nothing */
};

void buf_init(struct buf *buf, size_t max);
/* Releases the memory; accepts a zeroed struct; the buf can be used again. */
void buf_free(struct buf *buf);
static inline void buf_clear(struct buf *buf)
{
    buf->len = 0;
}
static inline struct slice buf_slice(const struct buf *buf)
{
    return slice_of(buf->data, buf->len);
}
/* Makes room for `more` bytes behind `len`. RESOURCE_EXHAUSTED past the maximum. */
lapse_result buf_reserve(struct buf *buf, size_t more) LAPSE_MUST_USE;
lapse_result buf_append_grow(struct buf *buf, const void *data, size_t len) LAPSE_MUST_USE;
static inline LAPSE_MUST_USE lapse_result buf_append(struct buf *buf, const void *data, size_t len)
{
    /* Encoders append a few bytes at a time, millions of times: most fit in what is there. */
    if (len == 0 || len > buf->capacity - buf->len)
        return buf_append_grow(buf, data, len);
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    return lapse_ok();
}
lapse_result buf_printf(struct buf *buf, const char *format, ...) LAPSE_MUST_USE LAPSE_PRINTF(2, 3);
/* Drops `len` bytes from the front. */
void buf_consume(struct buf *buf, size_t len);

/* Reference-counted immutable bytes. The count is atomic: any thread may take and drop references. */
struct blob {
    _Atomic(uint32_t) refs;
    uint32_t len;
    uint8_t data[];
};

/* A new blob with one reference holding a copy of `bytes` (len < 4 GiB). Never NULL: out of memory ends the process. */
struct blob *blob_new(struct slice bytes);
struct blob *blob_ref(struct blob *blob);
/* Drops one reference; accepts NULL. */
void blob_unref(struct blob *blob);
static inline struct slice blob_slice(const struct blob *blob)
{
    return slice_of(blob->data, blob->len);
}

/* Memory or the end of the process: a daemon that can't allocate can't keep its promises either. */
void *mem_alloc(size_t size);
void *mem_calloc(size_t count, size_t size);
void *mem_realloc(void *pointer, size_t size);
char *mem_strdup(const char *text);

#endif
