/* Seeds of what nodes send each other: single frames for the decoders, conversations for a follower that runs. */
#include <stdio.h>

#include "base/check.h"
#include "raft/entry.h"
#include "raft/members.h"
#include "raft/message.h"
#include "raft/peer_frame.h"
#include "tests/fuzz/fuzz_peer_bytes.h"
#include "tests/fuzz/make_corpus.h"

static const char *const type_names[MESSAGE_TYPES] = {
    [MESSAGE_VOTE_REQUEST] = "vote-request",
    [MESSAGE_VOTE] = "vote",
    [MESSAGE_APPEND] = "append",
    [MESSAGE_APPEND_RESULT] = "append-result",
    [MESSAGE_TIMEOUT_NOW] = "timeout-now",
    [MESSAGE_CHUNK] = "chunk",
    [MESSAGE_CHUNK_ACK] = "chunk-ack",
    [MESSAGE_FORWARD] = "forward",
    [MESSAGE_REFUSED] = "refused",
    [MESSAGE_READ] = "read",
    [MESSAGE_READ_INDEX] = "read-index",
    [MESSAGE_PROBE] = "probe",
    [MESSAGE_PROBE_ACK] = "probe-ack",
    [MESSAGE_LEASE] = "lease",
    [MESSAGE_AUDIT] = "audit",
};

/* --- parts -------------------------------------------------------------------------------------------------------- */

static struct blob *members_blob(void)
{
    static struct members members;
    static const struct replica_member list[] = {
        {1, "n1:1", REPLICA_VOTER}, {2, "n2:1", REPLICA_VOTER}, {3, "n3:1", REPLICA_VOTER}, {4, "n4:1", REPLICA_SPARE}};
    members.n = 0;
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        lapse_result result = members_add(&members, &list[i], NULL);
        CHECK(lapse_is_ok(result));
    }
    return members_encode(&members);
}

static struct buf command_bytes(enum command_type type)
{
    struct command command = sample_command(type);
    struct buf bytes;
    buf_init(&bytes, LIMIT_COMMAND_BYTES);
    lapse_result result = command_encode(&command, &bytes);
    CHECK(lapse_is_ok(result));
    return bytes;
}

/* A batch with one command of each of these types. */
static struct blob *batch(const enum command_type *types, size_t n)
{
    struct entry_writer writer;
    entry_begin(&writer, 1767225600000);
    for (size_t i = 0; i < n; i++) {
        struct buf bytes = command_bytes(types[i]);
        CHECK(entry_add(&writer, (struct entry_item){1 + i % 3, 17 + i, buf_slice(&bytes)}));
        buf_free(&bytes);
    }
    return entry_take(&writer);
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

/* From the leader of term 2, with every field of the envelope. */
static struct message message_of(enum message_type type, bool leading)
{
    return (struct message){.type = type,
                            .envelope = {.term = 2,
                                         .leading = leading,
                                         .life = 0xDEADBEEF00000001,
                                         .stamp = 123456789,
                                         .echo_life = 42,
                                         .echo_stamp = 99,
                                         .time_us = 1800000000000000,
                                         .time_era = 3,
                                         .wall_ms = 1800000000001,
                                         .upper_us = 1800000000005000}};
}

/* Three entries behind the two that the follower has. */
static struct message append_of(struct buf *list)
{
    static const enum command_type types[] = {COMMAND_SET_ROLES, COMMAND_REQUEST};
    struct log_entry entries[] = {{2, 2, NULL}, {2, 1, batch(types, ARRAY_LEN(types))}, {2, 3, members_blob()}};
    struct message message = message_of(MESSAGE_APPEND, true);
    message.index = 2, message.index_term = 1, message.commit = 5;
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        lapse_result result = message_append_add(list, &entries[i]);
        CHECK(lapse_is_ok(result));
        blob_unref(entries[i].data);
    }
    message.entries = buf_slice(list);
    return message;
}

static struct message forward_of(struct buf *list)
{
    struct message message = message_of(MESSAGE_FORWARD, false);
    for (enum command_type type = COMMAND_REQUEST; type <= COMMAND_APPROVE; type++) {
        struct buf bytes = command_bytes(type);
        lapse_result result = message_forward_add(list, (struct message_command){13 + type, buf_slice(&bytes)});
        CHECK(lapse_is_ok(result));
        buf_free(&bytes);
    }
    message.commands = buf_slice(list);
    return message;
}

static struct message refused_of(struct buf *list)
{
    struct message message = message_of(MESSAGE_REFUSED, true);
    lapse_result result = message_refused_add(list, (struct message_refusal){13, LAPSE_UNAVAILABLE, slice_str("no")});
    CHECK(lapse_is_ok(result));
    result = message_refused_add(list, (struct message_refusal){14, LAPSE_ABORTED, slice_str("another leads")});
    CHECK(lapse_is_ok(result));
    message.refusals = buf_slice(list);
    return message;
}

/* A piece of a snapshot of 19 bytes that holds entries up to 9. */
static struct message chunk_of(uint64_t offset, const char *data, struct slice configuration)
{
    struct message message = message_of(MESSAGE_CHUNK, true);
    message.term = 2, message.index = 9, message.sequence = 11, message.offset = offset, message.size = 19;
    message.configuration_index = 1, message.configuration = configuration;
    message.data = slice_str(data), message.last = offset + message.data.len == message.size;
    return message;
}

/* A message of each type that uses all its fields. Lists go to `list`. */
static struct message full(enum message_type type, struct buf *list, struct slice configuration)
{
    struct message message = message_of(type, type == MESSAGE_READ_INDEX || type == MESSAGE_PROBE);
    switch (type) {
    case MESSAGE_VOTE_REQUEST:
    case MESSAGE_TIMEOUT_NOW:
        message.index = 9, message.index_term = 2;
        if (type == MESSAGE_VOTE_REQUEST)
            message.term = 3, message.pre_vote = message.disrupt_leader = true;
        break;
    case MESSAGE_VOTE:
        message.term = 3, message.pre_vote = message.granted = true;
        break;
    case MESSAGE_APPEND:
        return append_of(list);
    case MESSAGE_APPEND_RESULT:
        message.index = 9, message.rejected = 10;
        break;
    case MESSAGE_CHUNK:
        return chunk_of(12, "content", configuration);
    case MESSAGE_CHUNK_ACK:
        message.sequence = 11, message.offset = 12, message.busy = true;
        break;
    case MESSAGE_FORWARD:
        return forward_of(list);
    case MESSAGE_REFUSED:
        return refused_of(list);
    case MESSAGE_READ:
    case MESSAGE_READ_INDEX:
        message.sequence = 14;
        if (type == MESSAGE_READ_INDEX)
            message.index = 15;
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
    return message;
}

/* --- conversations with the follower of fuzz_peer_frame.c --------------------------------------------------------- */

/* One frame of a conversation; `wait` is what its first byte does to the follower's clock, in steps of 5 ms. */
static void say(struct buf *talk, unsigned from, unsigned wait, const struct message *message)
{
    struct buf frame;
    buf_init(&frame, LIMIT_PEER_FRAME);
    lapse_result result = frame_encode(message, &frame);
    CHECK(lapse_is_ok(result) && frame.len <= UINT16_MAX);
    const uint8_t head[] = {(uint8_t)(wait << 2 | (from - 2)), (uint8_t)(frame.len >> 8), (uint8_t)frame.len};
    result = buf_append(talk, head, sizeof head);
    CHECK(lapse_is_ok(result));
    result = buf_append(talk, frame.data, frame.len);
    CHECK(lapse_is_ok(result));
    buf_free(&frame);
}

static void finish(const char *name, struct buf *talk)
{
    seed_write("peer_frame", name, SEED_NO_PREFIX, buf_slice(talk));
    buf_clear(talk);
}

/* Node 2 is elected, then writes and goes on with heartbeats; or hands over. */
static void seed_leader_2(struct buf *talk)
{
    struct buf list;
    struct message vote = message_of(MESSAGE_VOTE_REQUEST, false), beat = message_of(MESSAGE_APPEND, true);
    buf_init(&list, LIMIT_PEER_FRAME);
    struct message append = append_of(&list);
    vote.envelope.term = 1, vote.term = 2, vote.index = 2, vote.index_term = 1, vote.pre_vote = true;
    say(talk, 2, 40, &vote);
    vote.envelope.term = 2, vote.pre_vote = false;
    say(talk, 2, 1, &vote);
    say(talk, 2, 1, &append);
    beat.index = 5, beat.index_term = 2, beat.commit = 5;
    say(talk, 2, 2, &beat);
    finish("elected-then-appends", talk);
    struct message timeout_now = message_of(MESSAGE_TIMEOUT_NOW, true);
    timeout_now.index = 5, timeout_now.index_term = 2;
    say(talk, 2, 1, &append);
    say(talk, 2, 1, &timeout_now);
    finish("told-to-take-over", talk);
    append.index = 7;
    say(talk, 2, 1, &append);
    append.index = 2, append.commit = 0;
    say(talk, 2, 1, &append);
    append.envelope.term = 3, append.commit = 3;
    say(talk, 3, 1, &append);
    finish("gap-then-another-leader", talk);
    buf_free(&list);
}

/* The follower's time runs out and both others give it their votes: it leads, and is asked things. */
static void seed_candidate(struct buf *talk)
{
    struct buf list;
    struct message vote = message_of(MESSAGE_VOTE, false), result = message_of(MESSAGE_APPEND_RESULT, false);
    struct message read = message_of(MESSAGE_READ, false), ack = message_of(MESSAGE_PROBE_ACK, false);
    buf_init(&list, LIMIT_PEER_FRAME);
    struct message forward = forward_of(&list);
    vote.envelope.term = 1, vote.term = 2, vote.granted = vote.pre_vote = true;
    say(talk, 3, 63, &ack);
    say(talk, 2, 63, &vote);
    vote.envelope.term = 2, vote.pre_vote = false;
    say(talk, 2, 1, &vote);
    result.index = 3;
    say(talk, 2, 1, &result);
    say(talk, 3, 1, &forward);
    read.sequence = 5;
    say(talk, 3, 1, &read);
    say(talk, 3, 1, &ack);
    result.index = 4;
    say(talk, 2, 1, &result);
    finish("elects-itself-and-is-asked", talk);
    buf_free(&list);
}

static void seed_transfer(struct buf *talk, struct slice configuration)
{
    struct message first = chunk_of(0, "the content ", configuration), last = chunk_of(12, "content", configuration);
    struct message beat = message_of(MESSAGE_APPEND, true);
    beat.index = 2, beat.index_term = 1;
    say(talk, 2, 1, &beat);
    say(talk, 2, 1, &first);
    say(talk, 2, 1, &last);
    finish("snapshot-in-two-pieces", talk);
    say(talk, 2, 1, &beat);
    say(talk, 2, 1, &first);
    say(talk, 3, 1, &first);
    say(talk, 2, 1, &first);
    finish("snapshot-from-two-nodes", talk);
}

/* --- each decoder alone ------------------------------------------------------------------------------------------- */

static void seed_frames(struct slice configuration)
{
    for (enum message_type type = MESSAGE_VOTE_REQUEST; type < MESSAGE_TYPES; type++) {
        struct buf list, frame, talk;
        buf_init(&list, LIMIT_PEER_FRAME);
        buf_init(&frame, LIMIT_PEER_FRAME);
        buf_init(&talk, LIMIT_PEER_FRAME);
        struct message message = full(type, &list, configuration);
        lapse_result result = frame_encode(&message, &frame);
        CHECK(lapse_is_ok(result));
        char name[64];
        (void)snprintf(name, sizeof name, "frame-%s", type_names[type]);
        seed_write("peer_bytes", name, FUZZ_PEER_FRAME, buf_slice(&frame));
        say(&talk, 2, 1, &message);
        finish(type_names[type], &talk);
        buf_free(&talk);
        buf_free(&frame);
        buf_free(&list);
    }
}

static void seed_entries(void)
{
    enum command_type types[COMMAND_REVOKE_MATCHING];
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        types[i] = (enum command_type)(COMMAND_REQUEST + i);
    struct blob *one = batch(types, 1), *all = batch(types, ARRAY_LEN(types));
    seed_write("peer_bytes", "entry-one-command", FUZZ_PEER_ENTRY, blob_slice(one));
    seed_write("peer_bytes", "entry-each-command", FUZZ_PEER_ENTRY, blob_slice(all));
    blob_unref(one);
    blob_unref(all);
}

/* A Hello, and a stream that begins with one. */
static void seed_hello(const char *name, const struct peer_hello *hello)
{
    char path[64];
    struct buf bytes, stream;
    uint8_t header[PEER_FRAME_HEADER];
    buf_init(&bytes, LIMIT_PEER_HELLO);
    buf_init(&stream, 2 * LIMIT_PEER_HELLO);
    lapse_result result = peer_hello_encode(hello, &bytes);
    CHECK(lapse_is_ok(result));
    (void)snprintf(path, sizeof path, "hello-%s", name);
    seed_write("peer_bytes", path, FUZZ_PEER_HELLO, buf_slice(&bytes));
    peer_frame_header((uint32_t)bytes.len, header);
    for (int i = 0; i < 2; i++) {
        result = buf_append(&stream, header, sizeof header);
        CHECK(lapse_is_ok(result));
        result = buf_append(&stream, bytes.data, bytes.len);
        CHECK(lapse_is_ok(result));
    }
    (void)snprintf(path, sizeof path, "stream-%s", name);
    seed_write("peer_bytes", path, FUZZ_PEER_STREAM, buf_slice(&stream));
    buf_free(&bytes);
    buf_free(&stream);
}

static void seed_hellos(void)
{
    struct peer_hello hello = {.version = PEER_PROTOCOL_VERSION,
                               .cluster = slice_str("test-01ARZ3NDEKTSV4RRFFQ69G5FAV"),
                               .node = 2,
                               .instance = 0x1122334455667788};
    seed_hello("member", &hello);
    hello.refusal = slice_str("node 2 is not a member of this cluster");
    seed_hello("refusal", &hello);
    hello = (struct peer_hello){.version = PEER_PROTOCOL_VERSION, .node = 4, .instance = 1};
    seed_hello("newcomer", &hello);
    hello.version = 2;
    seed_hello("newer-version", &hello);
    seed_write("peer_bytes", "stream-too-long-frame", FUZZ_PEER_STREAM, slice_of("\0\0\x40\0abc", 7));
    seed_write("peer_bytes", "stream-empty-frame", FUZZ_PEER_STREAM, slice_of("\0\0\0\1a\0\0\0\0", 9));
}

void seed_peers(void)
{
    struct blob *configuration = members_blob();
    struct buf talk;
    buf_init(&talk, LIMIT_PEER_FRAME);
    seed_frames(blob_slice(configuration));
    seed_entries();
    seed_write("peer_bytes", "members", FUZZ_PEER_MEMBERS, blob_slice(configuration));
    seed_hellos();
    seed_leader_2(&talk);
    seed_candidate(&talk);
    seed_transfer(&talk, blob_slice(configuration));
    buf_free(&talk);
    blob_unref(configuration);
}
