/* The one container for bytes on disk: a frame of known kind whose damage is noticed.
 *
 *   0      4        8          12         16            16 + length   (padded with zeros to 8)
 *   +------+--------+----------+----------+-------------+---------+
 *   | kind | length | previous | checksum | body        | padding |    all little-endian
 *   +------+--------+----------+----------+-------------+---------+
 *
 * `previous` is the checksum of the frame before it, so that frames form a chain: a frame can be verified alone, and
 * whether it belongs where it stands is a second, separate question. The checksum is CRC-32 over everything else.
 * Bodies are protobuf messages (proto/lapse/disk/v1/log.proto) but for snapshot blocks, which are the store's own
 * bytes.
 *
 * The kinds consist of bytes that no UTF-8 text contains, so that text inside an entry can't pose as a frame. */
#ifndef LAPSE_RAFT_LOG_FRAME_H
#define LAPSE_RAFT_LOG_FRAME_H

#include "base/wire.h"

#define FRAME_HEADER_SIZE 16u
/* Larger bodies are refused by writer and reader; far above LIMIT_ENTRY_BYTES. */
#define FRAME_BODY_MAX (16u * 1024 * 1024)

enum frame_kind {
    FRAME_IDENTITY = 0xFEFDFCF5u,
    FRAME_CELL = 0xFEFDFCF6u,
    FRAME_HINT = 0xFEFDFCF7u,
    FRAME_SEGMENT = 0xFEFDFCF8u,
    FRAME_ENTRY = 0xFEFDFCF9u,
    FRAME_SNAPSHOT = 0xFEFDFCFAu,
    FRAME_BLOCK = 0xFEFDFCFBu,
    FRAME_END = 0xFEFDFCFCu
};

struct frame {
    uint32_t previous;
    uint32_t checksum;
    struct slice body;
    size_t size; /* header, body and padding */
};

static inline size_t frame_size(size_t body)
{
    return (FRAME_HEADER_SIZE + body + 7) & ~(size_t)7;
}

/* Opens a frame at the end of `out`; the caller appends the body and closes it with the returned mark. */
size_t frame_begin(struct buf *out);
/* Pads and seals the frame; returns its checksum. */
uint32_t frame_end(struct buf *out, size_t mark, enum frame_kind kind, uint32_t previous);

/* Reads only the header at the front of `bytes`: the whole frame's size; 0 when it can't be a frame of that kind. */
size_t frame_peek(struct slice bytes, enum frame_kind kind);
/* Verifies the frame of that kind at the front of `bytes`; false (out untouched) when there is none. */
bool frame_parse(struct slice bytes, enum frame_kind kind, struct frame *frame);

/* A message's fields, described once for both directions. Give `value` for numbers, `bytes` for byte strings. */
struct message_field {
    uint32_t number;
    enum wire_type type;
    uint64_t *value;
    struct slice *bytes;
};

void fields_encode(struct buf *out, const struct message_field *fields, size_t n);
/* Strict: an unknown field or a wrong type is refused, since it means a newer writer. Absent fields become 0. */
bool fields_decode(struct slice body, const struct message_field *fields, size_t n);

#endif
