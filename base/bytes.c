#include "base/bytes.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

int slice_compare(struct slice a, struct slice b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

bool slice_to_cstr(struct slice text, char *out, size_t size)
{
    if (text.len >= size)
        return false;
    if (text.len > 0)
        memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return true;
}

/* Decodes one UTF-8 sequence at `at`; returns its length or 0 when it is malformed (overlong, surrogate, past U+10FFFF). */
static size_t utf8_decode(const uint8_t *at, const uint8_t *end, uint32_t *code)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = at[0] < 0x80 ? 1 : (at[0] & 0xE0) == 0xC0 ? 2 : (at[0] & 0xF0) == 0xE0 ? 3 : (at[0] & 0xF8) == 0xF0 ? 4 : 0;
    if (len == 0 || (size_t)(end - at) < len)
        return 0;
    *code = len == 1 ? at[0] : at[0] & (0x7Fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return 0;
        *code = *code << 6 | (at[i] & 0x3F);
    }
    if (*code < smallest[len] || *code > 0x10FFFF || (*code >= 0xD800 && *code <= 0xDFFF))
        return 0;
    return len;
}

bool slice_is_text(struct slice text, bool allow_newline)
{
    const uint8_t *at = text.data, *end = text.len == 0 ? text.data : text.data + text.len;
    while (at < end) {
        uint32_t code = 0;
        size_t len = utf8_decode(at, end, &code);
        if (len == 0)
            return false;
        bool control = code < 0x20 || (code >= 0x7F && code <= 0x9F);
        if (control && !(allow_newline && (code == '\n' || code == '\t')))
            return false;
        at += len;
    }
    return true;
}

void buf_init(struct buf *buf, size_t max)
{
    *buf = (struct buf){.max = max};
}

void buf_free(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){.max = buf->max};
}

lapse_result buf_reserve(struct buf *buf, size_t more)
{
    if (more > buf->max - buf->len)
        return lapse_failed(LAPSE_RESOURCE_EXHAUSTED);
    size_t need = buf->len + more;
    if (need <= buf->capacity)
        return lapse_ok();
    size_t capacity = buf->capacity < 64 ? 64 : buf->capacity;
    while (capacity < need)
        capacity *= 2;
    if (capacity > buf->max)
        capacity = buf->max;
    buf->data = mem_realloc(buf->data, capacity);
    buf->capacity = capacity;
    return lapse_ok();
}

lapse_result buf_append_grow(struct buf *buf, const void *data, size_t len)
{
    lapse_result result = buf_reserve(buf, len);
    if (!lapse_is_ok(result))
        return result;
    if (len > 0)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    return lapse_ok();
}

lapse_result buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    CHECK(n >= 0);
    /* One more for the NUL that vsnprintf writes; it is not counted in len. */
    lapse_result result = buf_reserve(buf, (size_t)n + 1);
    if (!lapse_is_ok(result))
        return result;
    va_start(args, format);
    (void)vsnprintf((char *)buf->data + buf->len, (size_t)n + 1, format, args);
    va_end(args);
    buf->len += (size_t)n;
    return lapse_ok();
}

void buf_consume(struct buf *buf, size_t len)
{
    CHECK(len <= buf->len);
    buf->len -= len;
    if (buf->len > 0 && len > 0)
        memmove(buf->data, buf->data + len, buf->len);
}

struct blob *blob_new(struct slice bytes)
{
    CHECK(bytes.len <= UINT32_MAX);
    struct blob *blob = mem_alloc(sizeof *blob + bytes.len);
    atomic_init(&blob->refs, 1);
    blob->len = (uint32_t)bytes.len;
    if (bytes.len > 0)
        memcpy(blob->data, bytes.data, bytes.len);
    return blob;
}

struct blob *blob_ref(struct blob *blob)
{
    atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
    return blob;
}

void blob_unref(struct blob *blob)
{
    if (blob != NULL && atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel) == 1)
        free(blob);
}

static void *or_die(void *pointer)
{
    if (pointer == NULL) {
        fputs("lapse: out of memory\n", stderr);
        abort();
    }
    return pointer;
}

void *mem_alloc(size_t size)
{
    return or_die(malloc(size == 0 ? 1 : size));
}

void *mem_calloc(size_t count, size_t size)
{
    return or_die(calloc(count == 0 ? 1 : count, size == 0 ? 1 : size));
}

void *mem_realloc(void *pointer, size_t size)
{
    return or_die(realloc(pointer, size == 0 ? 1 : size));
}

char *mem_strdup(const char *text)
{
    return or_die(strdup(text));
}
