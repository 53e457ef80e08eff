/* What is decoded of a peer's bytes before a replica sees any of it, each decoder alone: the first byte chooses. What
 * was taken must survive being encoded and decoded again. */
#include <stdlib.h>

#include "base/check.h"
#include "raft/entry.h"
#include "raft/members.h"
#include "raft/message.h"
#include "raft/peer_frame.h"
#include "tests/fuzz/fuzz_peer_bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sum;

/* Every byte is there. */
static void read_all(struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        sum = (uint8_t)(sum + bytes.data[i]);
}

static void walk_lists(const struct message *message)
{
    struct slice entries = message->entries, commands = message->commands, refusals = message->refusals;
    struct message_entry entry;
    struct message_command command;
    struct message_refusal refusal;
    uint32_t n = 0;
    while (message_append_next(&entries, &entry)) {
        read_all(entry.data);
        n++;
    }
    CHECK(n == message->n_entries && entries.len == 0);
    while (message_forward_next(&commands, &command))
        read_all(command.command);
    while (message_refused_next(&refusals, &refusal))
        read_all(refusal.text);
    CHECK(commands.len == 0 && refusals.len == 0);
}

static void encode(const struct message *message, struct buf *out)
{
    buf_init(out, LIMIT_PEER_FRAME);
    lapse_result result = frame_encode(message, out);
    CHECK(lapse_is_ok(result));
}

static void fuzz_frame(struct slice bytes)
{
    struct message message, back;
    struct lapse_error error;
    struct buf once, twice;
    if (!lapse_is_ok(frame_decode(bytes, &message, &error)))
        return;
    walk_lists(&message);
    read_all(message.configuration);
    read_all(message.data);
    /* A varint may have come with zeros in front; the encoder's form never changes again. */
    encode(&message, &once);
    CHECK(once.len <= bytes.len);
    lapse_result result = frame_decode(buf_slice(&once), &back, &error);
    CHECK(lapse_is_ok(result));
    encode(&back, &twice);
    CHECK(slice_equal(buf_slice(&once), buf_slice(&twice)));
    buf_free(&once);
    buf_free(&twice);
}

static void fuzz_entry(struct slice bytes)
{
    struct entry_reader reader;
    struct entry_item item;
    uint32_t n = 0;
    if (!lapse_is_ok(entry_open(bytes, &reader, NULL)))
        return;
    for (; entry_next(&reader, &item); n++)
        read_all(item.command);
    CHECK(n <= LIMIT_ENTRY_COMMANDS);
}

static void fuzz_members(struct slice bytes)
{
    struct members members, again;
    if (!lapse_is_ok(members_decode(bytes, &members, NULL)))
        return;
    CHECK(members.n >= 1 && members.n <= LIMIT_PEERS);
    struct blob *encoded = members_encode(&members);
    lapse_result result = members_decode(blob_slice(encoded), &again, NULL);
    CHECK(lapse_is_ok(result) && again.n == members.n);
    for (uint32_t i = 0; i < members.n; i++)
        CHECK(members_find(&again, members.list[i].id) != NULL);
    blob_unref(encoded);
}

static void fuzz_hello(struct slice bytes)
{
    struct peer_hello hello = {0}, back = {0};
    struct buf again;
    if (!lapse_is_ok(peer_hello_decode(bytes, &hello, NULL)) || hello.version != PEER_PROTOCOL_VERSION)
        return;
    read_all(hello.cluster);
    read_all(hello.refusal);
    buf_init(&again, LIMIT_PEER_HELLO);
    lapse_result result = peer_hello_encode(&hello, &again);
    CHECK(lapse_is_ok(result));
    result = peer_hello_decode(buf_slice(&again), &back, NULL);
    CHECK(lapse_is_ok(result) && back.node == hello.node && back.instance == hello.instance);
    CHECK(slice_equal(hello.cluster, back.cluster) && slice_equal(hello.refusal, back.refusal));
    buf_free(&again);
}

struct cut {
    size_t frames, bytes;
};

static bool on_frame(void *arg, struct slice frame)
{
    struct cut *cut = arg;
    CHECK(frame.len > 0 && frame.len <= LIMIT_PEER_HELLO);
    read_all(frame);
    cut->frames++;
    cut->bytes += PEER_FRAME_HEADER + frame.len;
    return true;
}

/* False once the stream was refused. */
static bool feed(struct slice bytes, size_t piece, struct cut *cut)
{
    struct peer_frame_reader reader;
    bool taken = true;
    peer_frame_reader_init(&reader, LIMIT_PEER_HELLO);
    for (size_t at = 0; at < bytes.len && taken; at += piece) {
        size_t len = bytes.len - at < piece ? bytes.len - at : piece;
        taken = lapse_is_ok(peer_frame_reader_feed(&reader, slice_of(bytes.data + at, len), on_frame, cut, NULL));
    }
    peer_frame_reader_free(&reader);
    return taken;
}

/* In whatever pieces a stream arrives, the same frames come out. */
static void fuzz_reader(struct slice bytes)
{
    struct cut whole = {0}, pieces = {0};
    bool taken = feed(bytes, bytes.len, &whole);
    CHECK(feed(bytes, 3, &pieces) == taken);
    CHECK(whole.frames == pieces.frames && whole.bytes == pieces.bytes && whole.bytes <= bytes.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const decoders[FUZZ_PEER_DECODERS])(struct slice bytes) = {
        [FUZZ_PEER_FRAME] = fuzz_frame, [FUZZ_PEER_ENTRY] = fuzz_entry,   [FUZZ_PEER_MEMBERS] = fuzz_members,
        [FUZZ_PEER_HELLO] = fuzz_hello, [FUZZ_PEER_STREAM] = fuzz_reader,
    };
    if (size == 0)
        return 0;
    uint8_t *exact = mem_alloc(size - 1); /* the sanitizer sees a read past its end */
    memcpy(exact, data + 1, size - 1);
    decoders[data[0] % FUZZ_PEER_DECODERS](slice_of(exact, size - 1));
    free(exact);
    return 0;
}
