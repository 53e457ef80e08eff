/* nanopb bounds every field by its static array, so a decoder never allocates. Debian's build of it doesn't validate
 * UTF-8: that is done here, by walking the decoded struct along its descriptor, once for all message types. The walk
 * recurses as deep as the schema, which has no recursive type. */
#include "proto/codec.h"

#include <pb_common.h>
#include <pb_decode.h>
#include <pb_encode.h>

#include "base/check.h"

static bool message_is_text(const pb_msgdesc_t *type, const void *message, pb_size_t *bad_tag);

/* How many elements a statically allocated field holds right now. */
static size_t element_count(const pb_field_iter_t *field)
{
    switch (PB_HTYPE(field->type)) {
    case PB_HTYPE_REPEATED:
        return *(const pb_size_t *)field->pSize;
    case PB_HTYPE_ONEOF:
        return *(const pb_size_t *)field->pSize == field->tag;
    case PB_HTYPE_OPTIONAL:
        return field->pSize == NULL || *(const bool *)field->pSize;
    default:
        return 1;
    }
}

static bool element_is_text(const pb_field_iter_t *field, const void *element)
{
    pb_size_t nested = 0;
    if (PB_LTYPE(field->type) == PB_LTYPE_STRING)
        return slice_is_text(slice_str(element), true);
    if (PB_LTYPE_IS_SUBMSG(field->type))
        return message_is_text(field->submsg_desc, element, &nested);
    return true;
}

static bool field_is_text(const pb_field_iter_t *field)
{
    if (PB_ATYPE(field->type) != PB_ATYPE_STATIC)
        return true; /* a callback decodes with proto_decode in its turn */
    size_t n = element_count(field);
    for (size_t i = 0; i < n; i++)
        if (!element_is_text(field, (const char *)field->pData + i * field->data_size))
            return false;
    return true;
}

static bool message_is_text(const pb_msgdesc_t *type, const void *message, pb_size_t *bad_tag)
{
    pb_field_iter_t field;
    if (!pb_field_iter_begin_const(&field, type, message))
        return true; /* no fields */
    do {
        if (!field_is_text(&field)) {
            *bad_tag = field.tag;
            return false;
        }
    } while (pb_field_iter_next(&field));
    return true;
}

static lapse_result decode(const pb_msgdesc_t *type, struct slice bytes, void *message, unsigned flags,
                           struct lapse_error *error)
{
    static const uint8_t nothing;
    pb_istream_t stream = pb_istream_from_buffer(bytes.len == 0 ? &nothing : bytes.data, bytes.len);
    pb_size_t bad_tag = 0;
    if (!pb_decode_ex(&stream, type, message, flags))
        return lapse_fail(
            error, LAPSE_INVALID_ARGUMENT,
            "the message doesn't match its schema (%s): compare its fields and their lengths with lapse/v1/*.proto",
            PB_GET_ERROR(&stream));
    if (!message_is_text(type, message, &bad_tag))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "field %u of the message isn't text: send UTF-8 without control characters",
                          (unsigned)bad_tag);
    return lapse_ok();
}

lapse_result proto_decode(const pb_msgdesc_t *type, struct slice bytes, void *message, struct lapse_error *error)
{
    return decode(type, bytes, message, 0, error);
}

/* In proto3 nothing has another default than zero. */
lapse_result proto_decode_zeroed(const pb_msgdesc_t *type, struct slice bytes, void *message,
                                 struct lapse_error *error)
{
    return decode(type, bytes, message, PB_DECODE_NOINIT, error);
}

static bool append_to_buf(pb_ostream_t *stream, const pb_byte_t *bytes, size_t len)
{
    return lapse_is_ok(buf_append(stream->state, bytes, len));
}

lapse_result proto_encode(const pb_msgdesc_t *type, const void *message, struct buf *out)
{
    size_t before = out->len;
    pb_ostream_t stream = {.callback = append_to_buf, .state = out, .max_size = SIZE_MAX};
    if (pb_encode(&stream, type, message))
        return lapse_ok();
    out->len = before;
    return lapse_failed(LAPSE_RESOURCE_EXHAUSTED);
}
