#include "raft/entry.h"

#include "base/check.h"
#include "base/wire.h"

/* Entry: 1 version, 2 time_ms, 3 repeated Item. Item: 1 node, 2 sequence (fixed), 3 command. */
enum { ENTRY_FIELD_VERSION = 1, ENTRY_FIELD_TIME = 2, ENTRY_FIELD_ITEM = 3 };
enum { ITEM_FIELD_NODE = 1, ITEM_FIELD_SEQUENCE = 2, ITEM_FIELD_COMMAND = 3 };

/* An item's own fields: tags, lengths, node and sequence. */
#define ITEM_OVERHEAD 40u
/* Far beyond any date; microseconds still fit. */
#define TIME_MS_MAX (1ll << 52)
#define ENTRY_BYTES_MAX (LIMIT_ENTRY_BYTES + LIMIT_COMMAND_BYTES + ITEM_OVERHEAD)

void entry_begin(struct entry_writer *writer, int64_t time_ms)
{
    CHECK(time_ms > 0 && time_ms < TIME_MS_MAX);
    *writer = (struct entry_writer){.n = 0};
    buf_init(&writer->bytes, ENTRY_BYTES_MAX);
    struct wire_writer wire = wire_writer(&writer->bytes);
    wire_put_uint(&wire, ENTRY_FIELD_VERSION, ENTRY_VERSION);
    wire_put_uint(&wire, ENTRY_FIELD_TIME, (uint64_t)time_ms);
    CHECK(!wire.failed);
}

bool entry_add(struct entry_writer *writer, struct entry_item item)
{
    CHECK(item.command.len > 0 && item.command.len <= LIMIT_COMMAND_BYTES);
    if (writer->n == LIMIT_ENTRY_COMMANDS ||
        (writer->n > 0 && writer->bytes.len + item.command.len + ITEM_OVERHEAD > LIMIT_ENTRY_BYTES))
        return false;
    struct wire_writer wire = wire_writer(&writer->bytes);
    size_t mark = wire_begin(&wire, ENTRY_FIELD_ITEM);
    wire_put_uint(&wire, ITEM_FIELD_NODE, item.node);
    wire_put_fixed64(&wire, ITEM_FIELD_SEQUENCE, item.sequence);
    wire_put_bytes(&wire, ITEM_FIELD_COMMAND, item.command);
    wire_end(&wire, mark);
    CHECK(!wire.failed);
    writer->n++;
    return true;
}

struct blob *entry_take(struct entry_writer *writer)
{
    struct blob *payload = blob_new(buf_slice(&writer->bytes));
    entry_abort(writer);
    return payload;
}

void entry_abort(struct entry_writer *writer)
{
    buf_free(&writer->bytes);
    writer->n = 0;
}

static bool item_decode(struct slice bytes, struct entry_item *item)
{
    struct wire_reader wire = wire_reader(bytes);
    struct wire_field field;
    *item = (struct entry_item){0};
    while (wire_next(&wire, &field)) {
        if (field.number == ITEM_FIELD_NODE && field.type == WIRE_VARINT)
            item->node = field.value;
        else if (field.number == ITEM_FIELD_SEQUENCE && field.type == WIRE_FIXED64)
            item->sequence = field.value;
        else if (field.number == ITEM_FIELD_COMMAND && field.type == WIRE_BYTES)
            item->command = field.bytes;
        else
            return false;
    }
    return !wire.failed && item->command.len > 0 && item->command.len <= LIMIT_COMMAND_BYTES;
}

static bool header_read(struct wire_reader *wire, struct wire_field *field, int64_t *time_ms)
{
    if (!wire_next(wire, field) || field->number != ENTRY_FIELD_VERSION || field->value != ENTRY_VERSION)
        return false;
    if (!wire_next(wire, field) || field->number != ENTRY_FIELD_TIME || field->type != WIRE_VARINT)
        return false;
    *time_ms = (int64_t)field->value;
    return *time_ms > 0 && *time_ms < TIME_MS_MAX;
}

static bool items_verify(struct slice items)
{
    struct wire_reader wire = wire_reader(items);
    struct wire_field field;
    struct entry_item item;
    uint32_t n = 0;
    while (wire_next(&wire, &field)) {
        if (field.number != ENTRY_FIELD_ITEM || field.type != WIRE_BYTES || !item_decode(field.bytes, &item))
            return false;
        if (++n > LIMIT_ENTRY_COMMANDS)
            return false;
    }
    return !wire.failed && n > 0;
}

lapse_result entry_open(struct slice payload, struct entry_reader *reader, struct lapse_error *error)
{
    struct wire_reader wire = wire_reader(payload);
    struct wire_field field;
    int64_t time_ms = 0;
    if (!header_read(&wire, &field, &time_ms))
        return lapse_fail(error, LAPSE_DATA_LOSS,
                          "a log entry has an unknown version or header: it was written by a newer program, or is "
                          "damaged; upgrade this node");
    struct slice items = slice_of(wire.at, (size_t)(wire.end - wire.at));
    if (payload.len > ENTRY_BYTES_MAX || !items_verify(items))
        return lapse_fail(error, LAPSE_DATA_LOSS, "a log entry does not hold a well-formed batch of commands");
    *reader = (struct entry_reader){items, time_ms};
    return lapse_ok();
}

bool entry_next(struct entry_reader *reader, struct entry_item *item)
{
    struct wire_reader wire = wire_reader(reader->rest);
    struct wire_field field;
    if (!wire_next(&wire, &field))
        return false;
    bool decoded = item_decode(field.bytes, item);
    CHECK(decoded);
    reader->rest = slice_of(wire.at, (size_t)(wire.end - wire.at));
    return true;
}
