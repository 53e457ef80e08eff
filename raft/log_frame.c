#include "raft/log_frame.h"

#include <zlib.h>

#include "base/check.h"

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Over kind, length and previous, then over body and padding: all but the checksum itself. */
static uint32_t frame_checksum(const uint8_t *frame, size_t size)
{
    uLong crc = crc32(0, frame, 12);
    return (uint32_t)crc32(crc, frame + FRAME_HEADER_SIZE, (uInt)(size - FRAME_HEADER_SIZE));
}

size_t frame_begin(struct buf *out)
{
    static const uint8_t blank[FRAME_HEADER_SIZE];
    size_t mark = out->len;
    lapse_result result = buf_append(out, blank, sizeof blank);
    CHECK(lapse_is_ok(result)); /* the buffers frames are built in are sized for the largest one */
    return mark;
}

uint32_t frame_end(struct buf *out, size_t mark, enum frame_kind kind, uint32_t previous)
{
    static const uint8_t zeros[8];
    size_t length = out->len - mark - FRAME_HEADER_SIZE;
    CHECK(length <= FRAME_BODY_MAX);
    lapse_result result = buf_append(out, zeros, frame_size(length) - FRAME_HEADER_SIZE - length);
    CHECK(lapse_is_ok(result));
    uint8_t *frame = out->data + mark;
    put_u32(frame, kind);
    put_u32(frame + 4, (uint32_t)length);
    put_u32(frame + 8, previous);
    uint32_t checksum = frame_checksum(frame, out->len - mark);
    put_u32(frame + 12, checksum);
    return checksum;
}

size_t frame_peek(struct slice bytes, enum frame_kind kind)
{
    if (bytes.len < FRAME_HEADER_SIZE || get_u32(bytes.data) != (uint32_t)kind)
        return 0;
    uint32_t length = get_u32(bytes.data + 4);
    return length <= FRAME_BODY_MAX ? frame_size(length) : 0;
}

bool frame_parse(struct slice bytes, enum frame_kind kind, struct frame *frame)
{
    size_t size = frame_peek(bytes, kind);
    if (size == 0 || size > bytes.len)
        return false;
    uint32_t length = get_u32(bytes.data + 4);
    for (size_t i = FRAME_HEADER_SIZE + length; i < size; i++) {
        if (bytes.data[i] != 0)
            return false;
    }
    uint32_t checksum = get_u32(bytes.data + 12);
    if (frame_checksum(bytes.data, size) != checksum)
        return false;
    *frame = (struct frame){get_u32(bytes.data + 8), checksum, slice_of(bytes.data + FRAME_HEADER_SIZE, length), size};
    return true;
}

void fields_encode(struct buf *out, const struct message_field *fields, size_t n)
{
    struct wire_writer writer = wire_writer(out);
    for (size_t i = 0; i < n; i++) {
        if (fields[i].type == WIRE_BYTES)
            wire_put_bytes(&writer, fields[i].number, *fields[i].bytes);
        else if (fields[i].type == WIRE_FIXED64)
            wire_put_fixed64(&writer, fields[i].number, *fields[i].value);
        else
            wire_put_uint(&writer, fields[i].number, *fields[i].value);
    }
    CHECK(!writer.failed);
}

static const struct message_field *field_find(const struct message_field *fields, size_t n,
                                              const struct wire_field *read)
{
    for (size_t i = 0; i < n; i++) {
        if (fields[i].number == read->number)
            return fields[i].type == read->type ? &fields[i] : NULL;
    }
    return NULL;
}

bool fields_decode(struct slice body, const struct message_field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (fields[i].type == WIRE_BYTES)
            *fields[i].bytes = slice_of(NULL, 0);
        else
            *fields[i].value = 0;
    }
    struct wire_reader reader = wire_reader(body);
    struct wire_field read;
    while (wire_next(&reader, &read)) {
        const struct message_field *field = field_find(fields, n, &read);
        if (field == NULL)
            return false;
        if (field->type == WIRE_BYTES)
            *field->bytes = read.bytes;
        else
            *field->value = read.value;
    }
    return !reader.failed;
}
