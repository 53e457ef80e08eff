/* Finds frame headers in a connection's input, whatever nghttp2 makes of the frames: it silently skips some (unknown
 * types, DATA of closed streams), which cost work all the same. */
#ifndef LAPSE_PROTO_H2_METER_H
#define LAPSE_PROTO_H2_METER_H

#include "base/bytes.h"

#define H2_FRAME_HEADER_SIZE 9

struct h2_frame_header {
    uint32_t length;
    uint8_t type;
    uint8_t flags;
};

struct h2_meter {
    size_t skip; /* bytes until the next frame header */
    uint8_t header[H2_FRAME_HEADER_SIZE];
    uint8_t header_len;
};

/* `skip`: bytes before the first frame (a client's preface). */
void h2_meter_init(struct h2_meter *meter, size_t skip);
/* Consumes from the front of `input`; true with each frame header that is complete, false when all input is consumed.
 */
bool h2_meter_next(struct h2_meter *meter, struct slice *input, struct h2_frame_header *header);

#endif
