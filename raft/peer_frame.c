#include "raft/peer_frame.h"

#include "base/check.h"

/* A larger buffer is given back once its frame is done. */
#define KEEP_BYTES (64u * 1024)

enum { HELLO_VERSION = 1, HELLO_CLUSTER = 2, HELLO_NODE = 3, HELLO_INSTANCE = 4, HELLO_REFUSAL = 5, HELLO_HOME = 6 };

lapse_result peer_hello_encode(const struct peer_hello *hello, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_uint(&writer, HELLO_VERSION, hello->version);
    wire_put_bytes(&writer, HELLO_CLUSTER, hello->cluster);
    wire_put_uint(&writer, HELLO_NODE, hello->node);
    wire_put_fixed64(&writer, HELLO_INSTANCE, hello->instance);
    wire_put_bytes(&writer, HELLO_REFUSAL, hello->refusal);
    wire_put_fixed64(&writer, HELLO_HOME, hello->home);
    return writer.failed ? lapse_failed(LAPSE_RESOURCE_EXHAUSTED) : lapse_ok();
}

static bool is_short_text(const struct wire_field *field, size_t size)
{
    return field->type == WIRE_BYTES && field->bytes.len < size && slice_is_text(field->bytes, false);
}

static bool take_field(const struct wire_field *field, struct peer_hello *hello)
{
    switch (field->number) {
    case HELLO_VERSION:
        hello->version = field->value;
        return field->type == WIRE_VARINT;
    case HELLO_CLUSTER:
        hello->cluster = field->bytes;
        return is_short_text(field, CLUSTER_ID_SIZE);
    case HELLO_NODE:
        hello->node = field->value;
        return field->type == WIRE_VARINT;
    case HELLO_INSTANCE:
        hello->instance = field->value;
        return field->type == WIRE_FIXED64;
    case HELLO_REFUSAL:
        hello->refusal = field->bytes;
        return is_short_text(field, PEER_REFUSAL_MAX);
    case HELLO_HOME:
        hello->home = field->value;
        return field->type == WIRE_FIXED64;
    default:
        return false;
    }
}

lapse_result peer_hello_decode(struct slice bytes, struct peer_hello *hello, struct lapse_error *error)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    struct peer_hello decoded = {0};
    bool good = true;
    /* The version comes first, so that it is read whatever follows. */
    while (good && wire_next(&reader, &field)) {
        good = take_field(&field, &decoded);
        if (good && field.number == HELLO_VERSION && field.value != PEER_PROTOCOL_VERSION) {
            *hello = (struct peer_hello){.version = field.value};
            return lapse_ok();
        }
    }
    if (!good || reader.failed || decoded.version == 0 || decoded.node == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "its Hello is malformed");
    *hello = decoded;
    return lapse_ok();
}

void peer_frame_header(uint32_t len, uint8_t out[PEER_FRAME_HEADER])
{
    for (int i = 0; i < PEER_FRAME_HEADER; i++)
        out[i] = (uint8_t)(len >> (24 - 8 * i));
}

static uint32_t read_header(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

void peer_frame_reader_init(struct peer_frame_reader *reader, uint32_t max)
{
    buf_init(&reader->partial, PEER_FRAME_HEADER + LIMIT_PEER_FRAME);
    reader->max = max;
}

void peer_frame_reader_free(struct peer_frame_reader *reader)
{
    buf_free(&reader->partial);
}

static lapse_result check_len(const struct peer_frame_reader *reader, uint32_t len, struct lapse_error *error)
{
    if (len == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "it sent an empty frame");
    if (len > reader->max)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "it sent a frame of %u bytes; at most %u are allowed", len,
                          reader->max);
    return lapse_ok();
}

static struct slice rest_of(struct slice bytes, size_t from)
{
    return slice_of(bytes.data + from, bytes.len - from);
}

static struct slice collect(struct peer_frame_reader *reader, struct slice bytes, size_t want)
{
    size_t need = want - reader->partial.len;
    size_t len = bytes.len < need ? bytes.len : need;
    lapse_result result = buf_append(&reader->partial, bytes.data, len);
    CHECK(lapse_is_ok(result)); /* want is within the bound: the header was checked */
    return rest_of(bytes, len);
}

/* Continues the frame in `partial`. `*frame` is filled when it is complete. */
static lapse_result feed_partial(struct peer_frame_reader *reader, struct slice *bytes, struct slice *frame,
                                 struct lapse_error *error)
{
    if (reader->partial.len < PEER_FRAME_HEADER)
        *bytes = collect(reader, *bytes, PEER_FRAME_HEADER);
    if (reader->partial.len < PEER_FRAME_HEADER)
        return lapse_ok();
    uint32_t len = read_header(reader->partial.data);
    lapse_result result = check_len(reader, len, error);
    if (!lapse_is_ok(result))
        return result;
    *bytes = collect(reader, *bytes, PEER_FRAME_HEADER + (size_t)len);
    if (reader->partial.len == PEER_FRAME_HEADER + (size_t)len)
        *frame = slice_of(reader->partial.data + PEER_FRAME_HEADER, len);
    return result;
}

/* Takes a frame straight from the input if it is whole there. */
static lapse_result feed_whole(struct peer_frame_reader *reader, struct slice *bytes, struct slice *frame,
                               struct lapse_error *error)
{
    uint32_t len = read_header(bytes->data);
    lapse_result result = check_len(reader, len, error);
    if (!lapse_is_ok(result))
        return result;
    if (bytes->len - PEER_FRAME_HEADER < len) {
        *bytes = collect(reader, *bytes, PEER_FRAME_HEADER + (size_t)len);
        return result;
    }
    *frame = slice_of(bytes->data + PEER_FRAME_HEADER, len);
    *bytes = rest_of(*bytes, PEER_FRAME_HEADER + (size_t)len);
    return result;
}

static void forget_partial(struct peer_frame_reader *reader)
{
    buf_clear(&reader->partial);
    if (reader->partial.capacity > KEEP_BYTES)
        buf_free(&reader->partial);
}

lapse_result peer_frame_reader_feed(struct peer_frame_reader *reader, struct slice bytes,
                                    bool (*on_frame)(void *arg, struct slice frame), void *arg,
                                    struct lapse_error *error)
{
    while (bytes.len > 0) {
        struct slice frame = {NULL, 0};
        bool whole = reader->partial.len == 0 && bytes.len >= PEER_FRAME_HEADER;
        lapse_result result =
            whole ? feed_whole(reader, &bytes, &frame, error) : feed_partial(reader, &bytes, &frame, error);
        if (!lapse_is_ok(result))
            return result;
        if (frame.len == 0)
            continue;
        bool more = on_frame(arg, frame);
        if (!whole)
            forget_partial(reader);
        if (!more)
            break;
    }
    return lapse_ok();
}
