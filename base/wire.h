/* Protobuf's wire format without generated structs, for what is decoded a million times a second (commands, snapshots,
 * log entries, peer messages): strings stay slices of the input, nothing is copied or allocated. The schemas stand in
 * proto/lapse/disk/v1 and proto/lapse/peer/v1; a test reads our bytes with a generated codec and back.
 *
 * Source: https://protobuf.dev/programming-guides/encoding/. Writers append to a `struct buf` and can only fail at its
 * bound; they record that in the writer so that a message is written straight and checked once. */
#ifndef LAPSE_BASE_WIRE_H
#define LAPSE_BASE_WIRE_H

#include "base/bytes.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct wire_writer {
    struct buf *out;
    bool failed; /* sticky: the buffer's bound was met */
};

static inline struct wire_writer wire_writer(struct buf *out)
{
    return (struct wire_writer){out, false};
}

/* As in proto3, a field with the value 0 (or no bytes) is left out, so that one value has one encoding. */
void wire_put_uint(struct wire_writer *writer, uint32_t field, uint64_t value);
void wire_put_fixed64(struct wire_writer *writer, uint32_t field, uint64_t value);
void wire_put_bytes(struct wire_writer *writer, uint32_t field, struct slice value);
/* Opens a nested message; `wire_end` with the returned mark closes it. Always written, also when empty. */
size_t wire_begin(struct wire_writer *writer, uint32_t field);
void wire_end(struct wire_writer *writer, size_t mark);

struct wire_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed; /* sticky: truncated, overlong, or a wire type that is none */
};

struct wire_field {
    uint32_t number;
    enum wire_type type;
    uint64_t value;     /* VARINT, FIXED64, FIXED32 */
    struct slice bytes; /* BYTES: borrowed from the input */
};

static inline struct wire_reader wire_reader(struct slice bytes)
{
    /* NULL + 0 is undefined in C. */
    return (struct wire_reader){bytes.data, bytes.len == 0 ? bytes.data : bytes.data + bytes.len, false};
}

/* The next field; false at the end or on malformed input (then reader->failed). Unknown fields are the caller's to
 * refuse or skip: disk and peer formats refuse them, since an unknown field there means a newer writer. */
bool wire_next(struct wire_reader *reader, struct wire_field *field);

#endif
