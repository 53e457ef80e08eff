#include "base/wire.h"

#include "base/check.h"

#define VARINT_BYTES_MAX 10

static size_t varint_encode(uint64_t value, uint8_t out[VARINT_BYTES_MAX])
{
    size_t n = 0;
    while (value >= 0x80) {
        out[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[n++] = (uint8_t)value;
    return n;
}

static void put(struct wire_writer *writer, const void *data, size_t len)
{
    if (!writer->failed && !lapse_is_ok(buf_append(writer->out, data, len)))
        writer->failed = true;
}

static size_t tag_encode(uint32_t field, enum wire_type type, uint8_t out[VARINT_BYTES_MAX])
{
    return varint_encode((uint64_t)field << 3 | (uint64_t)type, out);
}

/* A tag and the varint behind it, in one piece: straight into place where there is room for the longest. */
static void put_head(struct wire_writer *writer, uint32_t field, enum wire_type type, uint64_t value)
{
    struct buf *out = writer->out;
    if (!writer->failed && out->capacity - out->len >= 2 * VARINT_BYTES_MAX) {
        out->len += tag_encode(field, type, out->data + out->len);
        out->len += varint_encode(value, out->data + out->len);
        return;
    }
    uint8_t bytes[2 * VARINT_BYTES_MAX];
    size_t n = tag_encode(field, type, bytes);
    n += varint_encode(value, bytes + n);
    put(writer, bytes, n);
}

void wire_put_uint(struct wire_writer *writer, uint32_t field, uint64_t value)
{
    if (value != 0)
        put_head(writer, field, WIRE_VARINT, value);
}

void wire_put_fixed64(struct wire_writer *writer, uint32_t field, uint64_t value)
{
    if (value == 0)
        return;
    uint8_t bytes[VARINT_BYTES_MAX + 8];
    size_t n = tag_encode(field, WIRE_FIXED64, bytes);
    for (int i = 0; i < 8; i++)
        bytes[n++] = (uint8_t)(value >> (8 * i));
    put(writer, bytes, n);
}

void wire_put_bytes(struct wire_writer *writer, uint32_t field, struct slice value)
{
    if (value.len == 0)
        return;
    put_head(writer, field, WIRE_BYTES, value.len);
    put(writer, value.data, value.len);
}

size_t wire_begin(struct wire_writer *writer, uint32_t field)
{
    uint8_t tag[VARINT_BYTES_MAX];
    put(writer, tag, tag_encode(field, WIRE_BYTES, tag));
    return writer->out->len;
}

void wire_end(struct wire_writer *writer, size_t mark)
{
    if (writer->failed)
        return;
    /* The length is known only now: open a gap of its exact size before the body, so that the bytes stay canonical. */
    uint8_t length[VARINT_BYTES_MAX];
    size_t body = writer->out->len - mark;
    size_t n = varint_encode(body, length);
    put(writer, length, n);
    if (writer->failed)
        return;
    memmove(writer->out->data + mark + n, writer->out->data + mark, body);
    memcpy(writer->out->data + mark, length, n);
}

static bool read_long_varint(struct wire_reader *reader, uint64_t *value)
{
    uint64_t result = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (reader->at == reader->end)
            return false;
        uint8_t byte = *reader->at++;
        if (shift == 63 && byte > 1)
            return false;
        result |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *value = result;
            return true;
        }
    }
    return false;
}

/* Tags, lengths and small numbers have one byte. */
static inline bool read_varint(struct wire_reader *reader, uint64_t *value)
{
    if (reader->at == reader->end || *reader->at >= 0x80)
        return read_long_varint(reader, value);
    *value = *reader->at++;
    return true;
}

static bool read_fixed(struct wire_reader *reader, size_t size, uint64_t *value)
{
    if ((size_t)(reader->end - reader->at) < size)
        return false;
    *value = 0;
    for (size_t i = 0; i < size; i++)
        *value |= (uint64_t)reader->at[i] << (8 * i);
    reader->at += size;
    return true;
}

static bool read_bytes(struct wire_reader *reader, struct slice *bytes)
{
    uint64_t len = 0;
    if (!read_varint(reader, &len) || len > (size_t)(reader->end - reader->at))
        return false;
    *bytes = slice_of(reader->at, (size_t)len);
    reader->at += len;
    return true;
}

static bool read_value(struct wire_reader *reader, struct wire_field *field)
{
    switch (field->type) {
    case WIRE_VARINT:
        return read_varint(reader, &field->value);
    case WIRE_FIXED64:
        return read_fixed(reader, 8, &field->value);
    case WIRE_FIXED32:
        return read_fixed(reader, 4, &field->value);
    case WIRE_BYTES:
        return read_bytes(reader, &field->bytes);
    }
    return false;
}

bool wire_next(struct wire_reader *reader, struct wire_field *field)
{
    if (reader->failed || reader->at == reader->end)
        return false;
    uint64_t tag = 0;
    *field = (struct wire_field){0};
    if (read_varint(reader, &tag) && tag >> 3 > 0 && tag >> 3 <= 0x1FFFFFFF) {
        field->number = (uint32_t)(tag >> 3);
        field->type = (enum wire_type)(tag & 7);
        if (read_value(reader, field))
            return true;
    }
    reader->failed = true;
    return false;
}
