#include "node/audit_frame.h"

#include "base/check.h"
#include "base/wire.h"

enum {
    FIELD_KIND = 1,
    FIELD_SEQUENCE = 2,
    FIELD_FIRST = 3,
    FIELD_LAST = 4,
    FIELD_HASH = 5,
    FIELD_HEAD = 6,
    FIELD_RECORD = 7
};
enum { RECORD_EPOCH = 1, RECORD_EVENT = 2 };

lapse_result audit_frame_encode(const struct audit_frame *frame, struct buf *out)
{
    struct wire_writer wire = wire_writer(out);
    wire_put_uint(&wire, FIELD_KIND, frame->kind);
    wire_put_fixed64(&wire, FIELD_SEQUENCE, frame->sequence);
    wire_put_uint(&wire, FIELD_FIRST, frame->first);
    wire_put_uint(&wire, FIELD_LAST, frame->last);
    if (frame->kind == AUDIT_RECORDS)
        wire_put_bytes(&wire, FIELD_HASH, slice_of(frame->head.hash, sizeof frame->head.hash));
    wire_put_bytes(&wire, FIELD_HEAD, frame->signed_head);
    return wire.failed ? lapse_failed(LAPSE_RESOURCE_EXHAUSTED) : lapse_ok();
}

lapse_result audit_frame_add(uint64_t epoch, struct slice event, struct buf *out)
{
    struct wire_writer wire = wire_writer(out);
    size_t mark = wire_begin(&wire, FIELD_RECORD);
    wire_put_uint(&wire, RECORD_EPOCH, epoch);
    wire_put_bytes(&wire, RECORD_EVENT, event);
    wire_end(&wire, mark);
    return wire.failed ? lapse_failed(LAPSE_RESOURCE_EXHAUSTED) : lapse_ok();
}

static bool record_read(struct slice bytes, uint64_t *epoch, struct slice *event)
{
    struct wire_reader wire = wire_reader(bytes);
    struct wire_field field;
    *epoch = 0;
    *event = slice_of(NULL, 0);
    while (wire_next(&wire, &field)) {
        if (field.number == RECORD_EPOCH && field.type == WIRE_VARINT)
            *epoch = field.value;
        else if (field.number == RECORD_EVENT && field.type == WIRE_BYTES)
            *event = field.bytes;
        else
            return false;
    }
    return !wire.failed && event->len > 0;
}

static bool take_field(const struct wire_field *field, struct audit_frame *frame)
{
    switch (field->number) {
    case FIELD_KIND:
        frame->kind = (enum audit_frame_kind)field->value;
        return field->type == WIRE_VARINT && field->value >= AUDIT_RANGE && field->value <= AUDIT_HEAD_TOLD;
    case FIELD_SEQUENCE:
        frame->sequence = field->value;
        return field->type == WIRE_FIXED64 && frame->kind != AUDIT_HEAD_TOLD;
    case FIELD_FIRST:
        frame->first = field->value;
        return field->type == WIRE_VARINT && frame->kind != AUDIT_HEAD_TOLD && field->value <= INT64_MAX;
    case FIELD_LAST:
        frame->last = field->value;
        return field->type == WIRE_VARINT && frame->kind != AUDIT_HEAD_TOLD && field->value <= INT64_MAX;
    case FIELD_HASH:
        if (field->type != WIRE_BYTES || frame->kind != AUDIT_RECORDS || field->bytes.len != sizeof frame->head.hash)
            return false;
        memcpy(frame->head.hash, field->bytes.data, sizeof frame->head.hash);
        return true;
    case FIELD_HEAD:
        frame->signed_head = field->bytes;
        return field->type == WIRE_BYTES && frame->kind == AUDIT_HEAD_TOLD;
    default:
        return false;
    }
}

/* From the first record, already read into `field`, to the end. */
static bool count_records(struct wire_reader *wire, struct wire_field *field, uint64_t *n)
{
    uint64_t epoch = 0;
    struct slice event;
    do {
        if (field->number != FIELD_RECORD || field->type != WIRE_BYTES || !record_read(field->bytes, &epoch, &event))
            return false;
        ++*n;
    } while (wire_next(wire, field));
    return !wire->failed;
}

static bool is_sound(const struct audit_frame *frame, uint64_t records)
{
    if (frame->kind == AUDIT_HEAD_TOLD)
        return frame->signed_head.len > 0 && records == 0;
    if (frame->kind == AUDIT_RANGE)
        return records == 0 && frame->first > 0 && frame->first <= frame->last;
    if (records == 0)
        return frame->first == 0 && frame->last == 0;
    return frame->first > 0 && frame->last >= frame->first && frame->last - frame->first + 1 == records;
}

lapse_result audit_frame_decode(struct slice bytes, struct audit_frame *frame, struct lapse_error *error)
{
    struct wire_reader wire = wire_reader(bytes);
    struct wire_field field;
    struct audit_frame read = {.first = 0};
    uint32_t previous = 0;
    uint64_t records = 0;
    const uint8_t *at = wire.at;
    bool sound = bytes.len <= AUDIT_FRAME_MAX;
    while (sound && wire_next(&wire, &field)) {
        if (field.number == FIELD_RECORD && read.kind == AUDIT_RECORDS) {
            sound = count_records(&wire, &field, &records);
            read.list = slice_of(at, (size_t)(wire.end - at));
            break;
        }
        sound = field.number > previous && (previous > 0 || field.number == FIELD_KIND) && take_field(&field, &read);
        previous = field.number;
        at = wire.at;
    }
    if (!sound || wire.failed || read.kind == 0 || !is_sound(&read, records))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "an audit frame of %zu bytes is malformed", bytes.len);
    *frame = read;
    return lapse_ok();
}

bool audit_frame_next(struct slice *list, uint64_t *epoch, struct slice *event)
{
    struct wire_reader wire = wire_reader(*list);
    struct wire_field field;
    if (!wire_next(&wire, &field))
        return false;
    *list = slice_of(wire.at, (size_t)(wire.end - wire.at));
    return record_read(field.bytes, epoch, event);
}
