/* Frames between nodes: what is written is read again, and nothing else is. */
#include <criterion/criterion.h>

#include "base/wire.h"
#include "raft/entry.h"
#include "raft/message.h"
#include "tests/sim/prng.h"

static struct message sample(enum message_type type)
{
    return (struct message){.type = type,
                            .envelope = {.term = 7,
                                         .leading = true,
                                         .life = 0xDEADBEEF00000001,
                                         .stamp = 123456789,
                                         .echo_life = 42,
                                         .echo_stamp = 99,
                                         .time_us = 1800000000000000,
                                         .time_era = 3,
                                         .wall_ms = 1800000000001,
                                         .upper_us = 1800000000005000}};
}

static struct buf encode(const struct message *message)
{
    struct buf out;
    buf_init(&out, LIMIT_PEER_FRAME);
    cr_assert(lapse_is_ok(frame_encode(message, &out)));
    return out;
}

static struct message decode(const struct buf *frame)
{
    struct message message;
    struct lapse_error error;
    cr_assert(lapse_is_ok(frame_decode(buf_slice(frame), &message, &error)), "%s", error.message);
    return message;
}

static bool accepted(struct slice frame)
{
    struct message message;
    struct lapse_error error;
    lapse_result result = frame_decode(frame, &message, &error);
    cr_assert(lapse_is_ok(result) || result.code == LAPSE_INVALID_ARGUMENT);
    return lapse_is_ok(result);
}

/* A message of each type with all its fields set. */
static struct message full(enum message_type type, struct buf *list)
{
    struct message message = sample(type);
    struct blob *data = blob_new(slice_str("content"));
    struct log_entry entry = {5, 1, data}, barrier = {6, 2, NULL};
    lapse_result result = lapse_ok();
    switch (type) {
    case MESSAGE_VOTE_REQUEST:
        message.term = 8, message.index = 9, message.index_term = 6;
        message.pre_vote = message.disrupt_leader = true;
        break;
    case MESSAGE_VOTE:
        message.term = 8, message.pre_vote = message.granted = true;
        break;
    case MESSAGE_APPEND:
        message.index = 9, message.index_term = 6, message.commit = 8;
        result = message_append_add(list, &entry);
        cr_assert(lapse_is_ok(result) && lapse_is_ok(message_append_add(list, &barrier)));
        message.entries = buf_slice(list);
        break;
    case MESSAGE_APPEND_RESULT:
        message.index = 9, message.rejected = 10;
        break;
    case MESSAGE_TIMEOUT_NOW:
        message.index = 9, message.index_term = 6;
        break;
    case MESSAGE_CHUNK:
        message.term = 6, message.index = 9, message.sequence = 11, message.offset = 12, message.size = 19;
        message.configuration_index = 1, message.configuration = slice_str("members");
        message.data = slice_str("content"), message.last = true;
        break;
    case MESSAGE_CHUNK_ACK:
        message.sequence = 11, message.offset = 12, message.busy = true;
        break;
    case MESSAGE_FORWARD:
        result = message_forward_add(list, (struct message_command){13, slice_str("command")});
        cr_assert(lapse_is_ok(result));
        message.commands = buf_slice(list);
        break;
    case MESSAGE_REFUSED:
        result = message_refused_add(list, (struct message_refusal){13, LAPSE_UNAVAILABLE, slice_str("no")});
        cr_assert(lapse_is_ok(result));
        message.refusals = buf_slice(list);
        break;
    case MESSAGE_READ:
        message.sequence = 14;
        break;
    case MESSAGE_READ_INDEX:
        message.sequence = 14, message.index = 15;
        break;
    case MESSAGE_PROBE:
    case MESSAGE_PROBE_ACK:
        break;
    case MESSAGE_LEASE:
        message.data = slice_str("lease frame");
        break;
    case MESSAGE_AUDIT:
        message.data = slice_str("audit frame");
        break;
    }
    blob_unref(data);
    return message;
}

Test(message, every_type_comes_back_as_it_was_written)
{
    for (unsigned type = 1; type < MESSAGE_TYPES; type++) {
        struct buf list;
        buf_init(&list, 1 << 20);
        struct message message = full((enum message_type)type, &list);
        struct buf frame = encode(&message);
        struct message read = decode(&frame);
        struct buf again = encode(&read);
        cr_assert_eq(read.type, message.type);
        cr_assert(slice_equal(buf_slice(&frame), buf_slice(&again)), "type %u", type);
        cr_assert(read.envelope.term == 7 && read.envelope.leading && read.envelope.life == 0xDEADBEEF00000001);
        cr_assert(read.envelope.echo_stamp == 99 && read.envelope.time_era == 3 && read.envelope.upper_us > 0);
        cr_assert(read.term == message.term && read.index == message.index && read.index_term == message.index_term);
        cr_assert(read.sequence == message.sequence && read.offset == message.offset && read.size == message.size);
        cr_assert(read.commit == message.commit && read.rejected == message.rejected);
        cr_assert(read.granted == message.granted && read.pre_vote == message.pre_vote && read.last == message.last);
        cr_assert(slice_equal(read.data, message.data) && slice_equal(read.configuration, message.configuration));
        buf_free(&list);
        buf_free(&frame);
        buf_free(&again);
    }
}

Test(message, lists_are_read_item_by_item)
{
    struct buf list;
    buf_init(&list, 1 << 20);
    struct message message = full(MESSAGE_APPEND, &list);
    struct buf frame = encode(&message);
    struct message read = decode(&frame);
    struct message_entry entry;
    cr_assert_eq(read.n_entries, 2);
    cr_assert(message_append_next(&read.entries, &entry));
    cr_assert(entry.term == 5 && entry.type == 1 && slice_equal(entry.data, slice_str("content")));
    cr_assert(message_append_next(&read.entries, &entry));
    cr_assert(entry.term == 6 && entry.type == 2 && entry.data.len == 0);
    cr_assert(!message_append_next(&read.entries, &entry));
    buf_free(&list);
    buf_free(&frame);
}

static void assert_refused(void (*change)(struct wire_writer *wire))
{
    struct message probe = sample(MESSAGE_PROBE);
    struct buf frame = encode(&probe);
    cr_assert(accepted(buf_slice(&frame)));
    struct wire_writer wire = wire_writer(&frame);
    change(&wire);
    cr_assert(!accepted(buf_slice(&frame)));
    buf_free(&frame);
}

static void add_unknown(struct wire_writer *wire)
{
    wire_put_uint(wire, 39, 1);
}
static void add_out_of_order(struct wire_writer *wire)
{
    wire_put_uint(wire, 2, 1);
}
static void add_of_another_type(struct wire_writer *wire)
{
    wire_put_uint(wire, 17, 1);
}
static void add_list_of_another_type(struct wire_writer *wire)
{
    size_t mark = wire_begin(wire, 40);
    wire_put_uint(wire, 1, 1);
    wire_put_uint(wire, 2, 1);
    wire_end(wire, mark);
}

Test(message, fields_that_are_unknown_out_of_order_or_of_another_type_are_refused)
{
    assert_refused(add_unknown);
    assert_refused(add_out_of_order);
    assert_refused(add_of_another_type);
    assert_refused(add_list_of_another_type);
}

Test(message, a_frame_without_life_or_stamp_or_type_is_refused)
{
    struct message message = sample(MESSAGE_PROBE);
    message.envelope.life = 0;
    struct buf frame = encode(&message);
    cr_assert(!accepted(buf_slice(&frame)));
    buf_free(&frame);
    message = sample(MESSAGE_PROBE);
    message.envelope.stamp = 0;
    frame = encode(&message);
    cr_assert(!accepted(buf_slice(&frame)));
    buf_free(&frame);
    cr_assert(!accepted(slice_of(NULL, 0)));
    cr_assert(!accepted(slice_str("\x08\x0e")));
}

Test(message, what_passes_a_limit_is_refused)
{
    static uint8_t big[LIMIT_SNAPSHOT_CHUNK + 1];
    struct message chunk = sample(MESSAGE_CHUNK);
    chunk.data = slice_of(big, LIMIT_SNAPSHOT_CHUNK);
    struct buf frame = encode(&chunk);
    cr_assert(accepted(buf_slice(&frame)));
    buf_free(&frame);
    chunk.data = slice_of(big, LIMIT_SNAPSHOT_CHUNK + 1);
    frame = encode(&chunk);
    cr_assert(!accepted(buf_slice(&frame)));
    buf_free(&frame);
    struct message late = sample(MESSAGE_PROBE);
    late.envelope.wall_ms = INT64_MAX;
    frame = encode(&late);
    cr_assert(!accepted(buf_slice(&frame)), "times that could overflow");
    buf_free(&frame);
}

Test(message, damaged_frames_are_refused_or_read_and_never_more)
{
    struct prng prng = {1};
    for (uint32_t round = 0; round < 200000; round++) {
        struct buf list;
        buf_init(&list, 1 << 20);
        struct message message = full((enum message_type)(1 + prng_below(&prng, MESSAGE_TYPES - 1)), &list), read;
        struct buf frame = encode(&message);
        for (uint64_t n = 1 + prng_below(&prng, 3); n > 0; n--)
            frame.data[prng_below(&prng, frame.len)] ^= (uint8_t)(1u << prng_below(&prng, 8));
        frame.len -= prng_chance(&prng, 20) ? prng_below(&prng, frame.len) : 0;
        if (lapse_is_ok(frame_decode(buf_slice(&frame), &read, NULL))) {
            struct message_entry entry;
            uint32_t n = 0;
            while (message_append_next(&read.entries, &entry))
                n++;
            cr_assert_eq(n, read.n_entries);
        }
        buf_free(&list);
        buf_free(&frame);
    }
}

/* --- What a log entry holds --- */

Test(entry, a_batch_comes_back_as_it_was_written)
{
    struct entry_writer writer;
    struct entry_reader reader;
    struct entry_item item;
    entry_begin(&writer, 1800000000000);
    cr_assert(entry_add(&writer, (struct entry_item){3, 77, slice_str("first")}));
    cr_assert(entry_add(&writer, (struct entry_item){0, 0, slice_str("second")}));
    struct blob *payload = entry_take(&writer);
    cr_assert(lapse_is_ok(entry_open(blob_slice(payload), &reader, NULL)));
    cr_assert_eq(reader.time_ms, 1800000000000);
    cr_assert(entry_next(&reader, &item));
    cr_assert(item.node == 3 && item.sequence == 77 && slice_equal(item.command, slice_str("first")));
    cr_assert(entry_next(&reader, &item));
    cr_assert(item.node == 0 && item.sequence == 0 && slice_equal(item.command, slice_str("second")));
    cr_assert(!entry_next(&reader, &item));
    blob_unref(payload);
}

Test(entry, a_batch_is_bounded_in_commands_and_bytes)
{
    static uint8_t large[LIMIT_COMMAND_BYTES];
    struct entry_writer writer;
    uint32_t n = 0;
    entry_begin(&writer, 1);
    while (entry_add(&writer, (struct entry_item){1, n, slice_str("x")}))
        n++;
    cr_assert_eq(n, LIMIT_ENTRY_COMMANDS);
    entry_abort(&writer);
    entry_begin(&writer, 1);
    for (n = 0; entry_add(&writer, (struct entry_item){1, n, slice_of(large, sizeof large)}); n++)
        ;
    cr_assert_eq(n, LIMIT_ENTRY_BYTES / LIMIT_COMMAND_BYTES);
    struct blob *payload = entry_take(&writer);
    cr_assert_leq(payload->len, LIMIT_ENTRY_BYTES);
    blob_unref(payload);
}

Test(entry, damage_and_newer_versions_are_data_loss)
{
    struct entry_writer writer;
    struct entry_reader reader;
    struct entry_item item;
    struct prng prng = {2};
    for (uint32_t round = 0; round < 50000; round++) {
        entry_begin(&writer, 1800000000000);
        cr_assert(entry_add(&writer, (struct entry_item){3, 77, slice_str("first")}));
        cr_assert(entry_add(&writer, (struct entry_item){2, 78, slice_str("second")}));
        struct blob *payload = entry_take(&writer);
        payload->data[prng_below(&prng, payload->len)] ^= (uint8_t)(1u << prng_below(&prng, 8));
        size_t len = prng_chance(&prng, 30) ? prng_below(&prng, payload->len) : payload->len;
        lapse_result result = entry_open(slice_of(payload->data, len), &reader, NULL);
        cr_assert(lapse_is_ok(result) || result.code == LAPSE_DATA_LOSS);
        while (lapse_is_ok(result) && entry_next(&reader, &item))
            cr_assert_gt(item.command.len, 0);
        blob_unref(payload);
    }
    struct lapse_error error;
    cr_assert_eq(entry_open(slice_str("\x08\x02\x10\x01"), &reader, &error).code, LAPSE_DATA_LOSS);
}
