/* One pass over the message for each of its fields, in the order of the schema, so that a repeated field's elements stand
 * together. Messages are small. */
#include "proto/json.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/wire.h"
#include "proto/descriptors_index.h"

#define DEPTH_MAX 16

/* google/protobuf/descriptor.proto. */
enum { MESSAGE_FIELD = 2 };
enum { FIELD_NAME = 1, FIELD_NUMBER = 3, FIELD_LABEL = 4, FIELD_TYPE = 5, FIELD_TYPE_NAME = 6 };
enum { LABEL_REPEATED = 3 };
enum {
    TYPE_INT64 = 3,
    TYPE_UINT64 = 4,
    TYPE_INT32 = 5,
    TYPE_BOOL = 8,
    TYPE_STRING = 9,
    TYPE_MESSAGE = 11,
    TYPE_BYTES = 12,
    TYPE_UINT32 = 13,
    TYPE_ENUM = 14,
};
enum { ENUM_VALUE = 2, VALUE_NAME = 1, VALUE_NUMBER = 2 };

struct json_field {
    struct slice name, type_name;
    uint32_t number, type;
    bool repeated;
};

static lapse_result put(struct buf *out, const char *text)
{
    return buf_append(out, text, strlen(text));
}

static struct json_field read_field(struct slice bytes)
{
    struct json_field read = {.repeated = false};
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    while (wire_next(&reader, &field))
        switch (field.number) {
        case FIELD_NAME:
            read.name = field.bytes;
            break;
        case FIELD_NUMBER:
            read.number = (uint32_t)field.value;
            break;
        case FIELD_LABEL:
            read.repeated = field.value == LABEL_REPEATED;
            break;
        case FIELD_TYPE:
            read.type = (uint32_t)field.value;
            break;
        case FIELD_TYPE_NAME:
            read.type_name = field.bytes;
            break;
        }
    return read;
}

/* --- texts -------------------------------------------------------------------------------------------------------- */

/* How many bytes the character at the front of `text` has; 0: it is none. */
static size_t character(struct slice text)
{
    uint8_t first = text.data[0];
    size_t len = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (len == 1)
        return 1;
    /* Control characters above U+007F are text to JSON; slice_is_text would refuse them. */
    bool c1 = first == 0xC2 && text.len > 1 && text.data[1] >= 0x80 && text.data[1] < 0xA0;
    return c1 ? 2 : text.len >= len && slice_is_text(slice_of(text.data, len), true) ? len : 0;
}

static lapse_result put_character(struct slice one, struct buf *out)
{
    uint8_t c = one.data[0];
    if (c == '"' || c == '\\') {
        const uint8_t escaped[] = {'\\', c};
        return buf_append(out, escaped, sizeof escaped);
    }
    if (c < 0x20 || c == 0x7F)
        return buf_printf(out, "\\u%04x", c);
    return buf_append(out, one.data, one.len);
}

lapse_result json_of_text(struct slice text, struct buf *out)
{
    lapse_result result = put(out, "\"");
    while (lapse_is_ok(result) && text.len > 0) {
        size_t len = character(text);
        result = len == 0 ? put(out, "\\ufffd") : put_character(slice_of(text.data, len), out);
        len = len == 0 ? 1 : len;
        text = slice_of(text.data + len, text.len - len);
    }
    return lapse_is_ok(result) ? put(out, "\"") : result;
}

static lapse_result put_base64(struct slice bytes, struct buf *out)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    lapse_result result = put(out, "\"");
    for (size_t i = 0; lapse_is_ok(result) && i < bytes.len; i += 3) {
        size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t word = (uint32_t)bytes.data[i] << 16 | (n > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0) |
                        (n > 2 ? bytes.data[i + 2] : 0);
        char text[4] = {alphabet[word >> 18], alphabet[word >> 12 & 63], n > 1 ? alphabet[word >> 6 & 63] : '=',
                        n > 2 ? alphabet[word & 63] : '='};
        result = buf_append(out, text, sizeof text);
    }
    return lapse_is_ok(result) ? put(out, "\"") : result;
}

/* --- values ------------------------------------------------------------------------------------------------------- */

/* A value's name; a number that has none, from a newer cluster, stays a number. */
static lapse_result put_enum(struct slice type_name, uint64_t number, struct buf *out)
{
    struct slice type, name = {0};
    struct wire_field field;
    if (descriptor_enum(type_name, &type)) {
        struct wire_reader values = wire_reader(type);
        while (name.len == 0 && wire_next(&values, &field)) {
            struct wire_field part;
            struct slice candidate = {0};
            uint64_t value = 0;
            struct wire_reader parts = wire_reader(field.bytes);
            while (field.number == ENUM_VALUE && wire_next(&parts, &part)) {
                candidate = part.number == VALUE_NAME ? part.bytes : candidate;
                value = part.number == VALUE_NUMBER ? part.value : value;
            }
            if (field.number == ENUM_VALUE && value == number)
                name = candidate;
        }
    }
    return name.len > 0 ? json_of_text(name, out) : buf_printf(out, "%" PRIu64, number);
}

static lapse_result put_message(struct slice descriptor, struct slice bytes, unsigned depth, struct buf *out);

static lapse_result put_nested(const struct json_field *field, struct slice bytes, unsigned depth, struct buf *out)
{
    struct slice descriptor;
    if (depth == DEPTH_MAX || !descriptor_message(field->type_name, &descriptor))
        return lapse_failed(LAPSE_INVALID_ARGUMENT);
    return put_message(descriptor, bytes, depth + 1, out);
}

static lapse_result put_value(const struct json_field *field, const struct wire_field *value, unsigned depth,
                              struct buf *out)
{
    bool is_bytes = field->type == TYPE_STRING || field->type == TYPE_BYTES || field->type == TYPE_MESSAGE;
    if (value->type != (is_bytes ? WIRE_BYTES : WIRE_VARINT))
        return lapse_failed(LAPSE_INVALID_ARGUMENT);
    switch (field->type) {
    case TYPE_STRING:
        return json_of_text(value->bytes, out);
    case TYPE_BYTES:
        return put_base64(value->bytes, out);
    case TYPE_MESSAGE:
        return put_nested(field, value->bytes, depth, out);
    case TYPE_BOOL:
        return put(out, value->value != 0 ? "true" : "false");
    case TYPE_ENUM:
        return put_enum(field->type_name, value->value, out);
    case TYPE_INT64:
    case TYPE_INT32:
        return buf_printf(out, "%" PRId64, (int64_t)value->value);
    case TYPE_UINT64:
    case TYPE_UINT32:
        return buf_printf(out, "%" PRIu64, value->value);
    default:
        return lapse_failed(LAPSE_INVALID_ARGUMENT);
    }
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

/* The field with its name, if the message has it; a comma first unless it is the first of all. */
static lapse_result put_field(const struct json_field *field, struct slice bytes, unsigned depth, bool *first,
                              struct buf *out)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field value;
    lapse_result result = lapse_ok();
    uint32_t n = 0;
    while (lapse_is_ok(result) && wire_next(&reader, &value)) {
        if (value.number != field->number)
            continue;
        if (n == 0) {
            result = put(out, *first ? "" : ",");
            if (lapse_is_ok(result))
                result = json_of_text(field->name, out);
            if (lapse_is_ok(result))
                result = put(out, field->repeated ? ":[" : ":");
            *first = false;
        } else {
            result = field->repeated ? put(out, ",") : lapse_failed(LAPSE_INVALID_ARGUMENT);
        }
        if (lapse_is_ok(result))
            result = put_value(field, &value, depth, out);
        n++;
    }
    if (lapse_is_ok(result) && reader.failed)
        result = lapse_failed(LAPSE_INVALID_ARGUMENT);
    return lapse_is_ok(result) && n > 0 && field->repeated ? put(out, "]") : result;
}

static lapse_result put_message(struct slice descriptor, struct slice bytes, unsigned depth, struct buf *out)
{
    struct wire_reader reader = wire_reader(descriptor);
    struct wire_field part;
    bool first = true;
    lapse_result result = put(out, "{");
    while (lapse_is_ok(result) && wire_next(&reader, &part)) {
        if (part.number != MESSAGE_FIELD)
            continue;
        struct json_field field = read_field(part.bytes);
        result = put_field(&field, bytes, depth, &first, out);
    }
    return lapse_is_ok(result) ? put(out, "}") : result;
}

lapse_result json_of_message(const char *name, struct slice bytes, struct buf *out)
{
    struct slice descriptor;
    if (!descriptor_message(slice_str(name), &descriptor))
        return lapse_failed(LAPSE_INVALID_ARGUMENT);
    return put_message(descriptor, bytes, 0, out);
}
