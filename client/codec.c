/* Tables in, bytes out, and back. See codec.h.
 *
 * Four walks over one table: encode, decode, release, copy. What a decoded object owns is only: its non-empty strings
 * and bytes, its arrays, and what those hold. Empty strings are one shared constant, so that most of a grant costs no
 * memory. */
#include "client/codec.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/wire.h"
#include "client/lapse.h"

static const char empty_string[] = "";

static const void *member(const void *object, size_t offset)
{
    return (const char *)object + offset;
}

static void *member_mutable(void *object, size_t offset)
{
    return (char *)object + offset;
}

static bool is_repeated(const struct codec_field *field)
{
    return field->kind >= CODEC_STRINGS;
}

static size_t element_size(const struct codec_field *field)
{
    switch (field->kind) {
    case CODEC_STRINGS:
        return sizeof(const char *);
    case CODEC_ENUMS:
        return sizeof(int);
    default:
        return field->message->size;
    }
}

static size_t count_of(const struct codec_field *field, const void *object)
{
    return *(const size_t *)member(object, field->count_offset);
}

static const void *array_of(const struct codec_field *field, const void *object)
{
    return *(const void *const *)member(object, field->offset);
}

static uint64_t scalar_of(const struct codec_field *field, const void *object)
{
    const void *value = member(object, field->offset);
    switch (field->kind) {
    case CODEC_UINT64:
        return *(const uint64_t *)value;
    case CODEC_INT64:
        return (uint64_t) * (const int64_t *)value;
    case CODEC_UINT32:
        return *(const uint32_t *)value;
    case CODEC_BOOL:
        return *(const bool *)value;
    default:
        return (uint64_t)(int64_t) * (const int *)value;
    }
}

static void scalar_set(const struct codec_field *field, void *object, uint64_t number)
{
    void *value = member_mutable(object, field->offset);
    switch (field->kind) {
    case CODEC_UINT64:
        *(uint64_t *)value = number;
        break;
    case CODEC_INT64:
        *(int64_t *)value = (int64_t)number;
        break;
    case CODEC_UINT32:
        *(uint32_t *)value = (uint32_t)number;
        break;
    case CODEC_BOOL:
        *(bool *)value = number != 0;
        break;
    default:
        *(int *)value = (int)number;
    }
}

/* ---- Encoding */

static void put_message(struct wire_writer *writer, const struct codec_message *message, const void *object);

static void put_nested(struct wire_writer *writer, const struct codec_field *field, const void *object)
{
    size_t mark = wire_begin(writer, field->number);
    put_message(writer, field->message, object);
    wire_end(writer, mark);
}

/* proto3 packs numbers: one field with all of them behind one another. */
static void put_enums(struct wire_writer *writer, const struct codec_field *field, const int *values, size_t n)
{
    struct buf packed;
    buf_init(&packed, 1024);
    for (size_t i = 0; i < n && !writer->failed; i++) {
        uint8_t byte = (uint8_t)values[i];
        /* All enumerations of lapse.v1 are below 128: one byte a number. */
        if (values[i] < 0 || values[i] > 127 || !lapse_is_ok(buf_append(&packed, &byte, 1)))
            writer->failed = true;
    }
    wire_put_bytes(writer, field->number, buf_slice(&packed));
    buf_free(&packed);
}

static void put_repeated(struct wire_writer *writer, const struct codec_field *field, const void *object)
{
    const char *array = array_of(field, object);
    size_t n = count_of(field, object);
    if (field->kind == CODEC_ENUMS) {
        put_enums(writer, field, (const int *)(const void *)array, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const void *element = array + i * element_size(field);
        if (field->kind == CODEC_MESSAGES) {
            put_nested(writer, field, element);
        } else {
            struct slice text = slice_str(*(const char *const *)element);
            if (text.len > 0)
                wire_put_bytes(writer, field->number, text);
            else
                wire_end(writer, wire_begin(writer, field->number)); /* an element counts, also an empty one */
        }
    }
}

static void put_field(struct wire_writer *writer, const struct codec_field *field, const void *object)
{
    const void *value = member(object, field->offset);
    switch (field->kind) {
    case CODEC_STRING:
        wire_put_bytes(writer, field->number, slice_str(*(const char *const *)value));
        break;
    case CODEC_BYTES: {
        const struct lapse_bytes *bytes = value;
        wire_put_bytes(writer, field->number, slice_of(bytes->data, bytes->len));
        break;
    }
    case CODEC_MESSAGE:
        if (!codec_is_empty(field->message, value))
            put_nested(writer, field, value);
        break;
    case CODEC_STRINGS:
    case CODEC_ENUMS:
    case CODEC_MESSAGES:
        put_repeated(writer, field, object);
        break;
    default:
        wire_put_uint(writer, field->number, scalar_of(field, object));
    }
}

static void put_message(struct wire_writer *writer, const struct codec_message *message, const void *object)
{
    for (size_t i = 0; i < message->n_fields; i++)
        put_field(writer, &message->fields[i], object);
}

lapse_result codec_encode(const struct codec_message *message, const void *object, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_message(&writer, message, object);
    return writer.failed ? lapse_failed(LAPSE_RESOURCE_EXHAUSTED) : lapse_ok();
}

static bool field_is_empty(const struct codec_field *field, const void *object)
{
    const void *value = member(object, field->offset);
    switch (field->kind) {
    case CODEC_STRING: {
        const char *text = *(const char *const *)value;
        return text == NULL || *text == '\0';
    }
    case CODEC_BYTES:
        return ((const struct lapse_bytes *)value)->len == 0;
    case CODEC_MESSAGE:
        return codec_is_empty(field->message, value);
    case CODEC_STRINGS:
    case CODEC_ENUMS:
    case CODEC_MESSAGES:
        return count_of(field, object) == 0;
    default:
        return scalar_of(field, object) == 0;
    }
}

bool codec_is_empty(const struct codec_message *message, const void *object)
{
    for (size_t i = 0; i < message->n_fields; i++)
        if (!field_is_empty(&message->fields[i], object))
            return false;
    return true;
}

/* ---- Decoding */

/* All defaults: zeros, and the shared empty string where a string is. */
static void object_init(const struct codec_message *message, void *object)
{
    memset(object, 0, message->size);
    for (size_t i = 0; i < message->n_fields; i++) {
        const struct codec_field *field = &message->fields[i];
        if (field->kind == CODEC_STRING)
            *(const char **)member_mutable(object, field->offset) = empty_string;
        else if (field->kind == CODEC_MESSAGE)
            object_init(field->message, member_mutable(object, field->offset));
    }
}

static void string_release(const char *text)
{
    if (text != empty_string)
        free((void *)(uintptr_t)text);
}

static const char *string_new(struct slice bytes)
{
    if (bytes.len == 0)
        return empty_string;
    char *text = mem_alloc(bytes.len + 1);
    memcpy(text, bytes.data, bytes.len);
    text[bytes.len] = '\0';
    return text;
}

static void *bytes_new(struct slice bytes)
{
    void *copy = mem_alloc(bytes.len);
    memcpy(copy, bytes.data, bytes.len);
    return copy;
}

/* Room for one more element at the end of an array; NULL past the field's bound. Arrays grow by doubling. */
static void *array_add(const struct codec_field *field, void *object)
{
    void **array = member_mutable(object, field->offset);
    size_t *count = member_mutable(object, field->count_offset);
    size_t size = element_size(field);
    if (*count >= field->count_max)
        return NULL;
    if ((*count & (*count - 1)) == 0) /* 0, 1, 2, 4, 8, ...: full */
        *array = mem_realloc(*array, size * (*count == 0 ? 1 : *count * 2));
    return (char *)*array + size * (*count)++;
}

static bool take_message(const struct codec_message *message, struct slice bytes, void *object);

static bool take_enums(const struct codec_field *field, const struct wire_field *in, void *object)
{
    if (in->type == WIRE_VARINT) {
        int *element = array_add(field, object);
        if (element != NULL)
            *element = (int)in->value;
        return element != NULL;
    }
    for (size_t i = 0; in->type == WIRE_BYTES && i < in->bytes.len; i++) {
        int *element = in->bytes.data[i] < 128 ? array_add(field, object) : NULL;
        if (element == NULL)
            return false;
        *element = in->bytes.data[i];
    }
    return in->type == WIRE_BYTES;
}

static bool take_element(const struct codec_field *field, struct slice bytes, void *object)
{
    if (field->kind == CODEC_STRINGS && bytes.len > 0 && memchr(bytes.data, '\0', bytes.len) != NULL)
        return false;
    void *element = array_add(field, object);
    if (element == NULL)
        return false;
    if (field->kind == CODEC_STRINGS) {
        *(const char **)element = string_new(bytes);
        return true;
    }
    object_init(field->message, element);
    return take_message(field->message, bytes, element);
}

/* A field that comes twice: the last one counts, and messages are merged (proto3). */
static bool take_bytes(const struct codec_field *field, struct slice bytes, void *object)
{
    void *value = member_mutable(object, field->offset);
    switch (field->kind) {
    case CODEC_STRING:
        if (bytes.len > 0 && memchr(bytes.data, '\0', bytes.len) != NULL)
            return false;
        string_release(*(const char **)value);
        *(const char **)value = string_new(bytes);
        return true;
    case CODEC_BYTES: {
        struct lapse_bytes *out = value;
        free((void *)(uintptr_t)out->data);
        *out = (struct lapse_bytes){bytes.len > 0 ? bytes_new(bytes) : NULL, bytes.len};
        return true;
    }
    case CODEC_MESSAGE:
        if (field->presence_offset != 0)
            *(bool *)member_mutable(object, field->presence_offset) = true;
        return take_message(field->message, bytes, value);
    case CODEC_STRINGS:
    case CODEC_MESSAGES:
        return take_element(field, bytes, object);
    default:
        return false;
    }
}

static const struct codec_field *field_find(const struct codec_message *message, uint32_t number)
{
    for (size_t i = 0; i < message->n_fields; i++)
        if (message->fields[i].number == number)
            return &message->fields[i];
    return NULL;
}

static bool take_field(const struct codec_field *field, const struct wire_field *in, void *object)
{
    if (field->kind == CODEC_ENUMS)
        return take_enums(field, in, object);
    if (field->kind >= CODEC_STRING)
        return in->type == WIRE_BYTES && take_bytes(field, in->bytes, object);
    if (in->type != WIRE_VARINT)
        return false;
    scalar_set(field, object, in->value);
    return true;
}

static bool take_message(const struct codec_message *message, struct slice bytes, void *object)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field in;
    while (wire_next(&reader, &in)) {
        const struct codec_field *field = field_find(message, in.number);
        if (field != NULL && !take_field(field, &in, object))
            return false;
    }
    return !reader.failed;
}

lapse_result codec_decode(const struct codec_message *message, struct slice bytes, void *object,
                          struct lapse_error *error)
{
    void *decoded = mem_alloc(message->size);
    object_init(message, decoded);
    bool ok = take_message(message, bytes, decoded);
    if (ok)
        memcpy(object, decoded, message->size);
    else
        codec_release(message, decoded);
    free(decoded);
    return ok ? lapse_ok() : lapse_fail(error, LAPSE_INTERNAL, "the node sent a malformed %s", message->name);
}

/* ---- Releasing and copying */

static void release_array(const struct codec_field *field, void *object)
{
    char *array = *(char **)member_mutable(object, field->offset);
    size_t n = count_of(field, object);
    for (size_t i = 0; i < n; i++) {
        void *element = array + i * element_size(field);
        if (field->kind == CODEC_STRINGS)
            string_release(*(const char **)element);
        else if (field->kind == CODEC_MESSAGES)
            codec_release(field->message, element);
    }
    free(array);
}

void codec_release(const struct codec_message *message, void *object)
{
    for (size_t i = 0; i < message->n_fields; i++) {
        const struct codec_field *field = &message->fields[i];
        void *value = member_mutable(object, field->offset);
        if (field->kind == CODEC_STRING)
            string_release(*(const char **)value);
        else if (field->kind == CODEC_BYTES)
            free((void *)(uintptr_t)((struct lapse_bytes *)value)->data);
        else if (field->kind == CODEC_MESSAGE)
            codec_release(field->message, value);
        else if (is_repeated(field))
            release_array(field, object);
    }
    memset(object, 0, message->size);
}

static void copy_array(const struct codec_field *field, const void *object, void *copy)
{
    size_t n = count_of(field, object), size = element_size(field);
    const char *from = array_of(field, object);
    for (size_t i = 0; i < n; i++) {
        const void *element = from + i * size;
        void *to = array_add(field, copy);
        CHECK(to != NULL);
        if (field->kind == CODEC_STRINGS)
            *(const char **)to = string_new(slice_str(*(const char *const *)element));
        else if (field->kind == CODEC_MESSAGES)
            codec_copy(field->message, element, to);
        else
            memcpy(to, element, size);
    }
}

static void copy_field(const struct codec_field *field, const void *object, void *copy)
{
    const void *from = member(object, field->offset);
    void *to = member_mutable(copy, field->offset);
    if (field->kind == CODEC_STRING) {
        *(const char **)to = string_new(slice_str(*(const char *const *)from));
    } else if (field->kind == CODEC_BYTES) {
        const struct lapse_bytes *bytes = from;
        if (bytes->len > 0)
            *(struct lapse_bytes *)to = (struct lapse_bytes){bytes_new(slice_of(bytes->data, bytes->len)), bytes->len};
    } else if (field->kind == CODEC_MESSAGE) {
        codec_copy(field->message, from, to);
    } else if (is_repeated(field)) {
        copy_array(field, object, copy);
    } else {
        scalar_set(field, copy, scalar_of(field, object));
    }
}

void codec_copy(const struct codec_message *message, const void *object, void *copy)
{
    object_init(message, copy);
    for (size_t i = 0; i < message->n_fields; i++)
        copy_field(&message->fields[i], object, copy);
}
