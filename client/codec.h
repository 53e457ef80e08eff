/* From public structs to protobuf's bytes and back, by tables.
 *
 * Each message of lapse.v1 that the client speaks has one table (client/schema.c) of its fields: number, name, kind,
 * and where it lies in the struct of lapse.h. From that one table come the encoder, the decoder, the deep copy, the
 * release of what a result owns, and the command's JSON. Why not nanopb's structs, as in the nodes: those have fixed
 * bounds, so an older client could not read what a newer cluster admits, and every message would be copied once more,
 * field by field. A test holds the tables against the generated codec. */
#ifndef LAPSE_CLIENT_CODEC_H
#define LAPSE_CLIENT_CODEC_H

#include "base/bytes.h"

enum codec_kind {
    CODEC_UINT64,
    CODEC_INT64,
    CODEC_UINT32,
    CODEC_BOOL,
    CODEC_ENUM,    /* an int-sized enum */
    CODEC_STRING,  /* const char *; never NULL in a decoded struct */
    CODEC_BYTES,   /* struct lapse_bytes */
    CODEC_MESSAGE, /* a struct inside; written when it has content */
    CODEC_STRINGS, /* const char *const * and a size_t at count_offset; so are the two below */
    CODEC_ENUMS,
    CODEC_MESSAGES,
};

struct codec_message;

struct codec_field {
    uint32_t number;
    enum codec_kind kind;
    const char *name; /* as in the .proto */
    size_t offset;
    size_t count_offset; /* repeated fields */
    uint32_t count_max;  /* repeated fields: more of them make a message malformed */
    const struct codec_message *message;
    const char *(*enum_name)(int value);
    /* CODEC_MESSAGE: offset in the outer struct of a bool that tells whether it was there; 0: none (never the first
     * member). */
    size_t presence_offset;
};

struct codec_message {
    const char *name;
    size_t size; /* of the struct */
    const struct codec_field *fields;
    size_t n_fields;
};

/* Appends the bytes of `object`. RESOURCE_EXHAUSTED at the buffer's bound. */
lapse_result codec_encode(const struct codec_message *message, const void *object, struct buf *out) LAPSE_MUST_USE;
/* Fills `object` (uninitialised before), which then owns memory. INTERNAL on malformed bytes, and nothing is filled.
 * Unknown fields are skipped: a newer cluster. */
lapse_result codec_decode(const struct codec_message *message, struct slice bytes, void *object,
                          struct lapse_error *error) LAPSE_MUST_USE;
/* Releases what a decoded object owns and zeroes it. Accepts a zeroed one. */
void codec_release(const struct codec_message *message, void *object);
/* A deep copy into `copy` (uninitialised before). */
void codec_copy(const struct codec_message *message, const void *object, void *copy);
/* True when every field has its default. */
bool codec_is_empty(const struct codec_message *message, const void *object);

#endif
