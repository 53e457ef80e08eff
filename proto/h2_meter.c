#include "proto/h2_meter.h"

void h2_meter_init(struct h2_meter *meter, size_t skip)
{
    *meter = (struct h2_meter){.skip = skip};
}

static void advance(struct slice *input, size_t len)
{
    input->data += len;
    input->len -= len;
}

static struct h2_frame_header parse(const uint8_t header[H2_FRAME_HEADER_SIZE])
{
    uint32_t length = (uint32_t)header[0] << 16 | (uint32_t)header[1] << 8 | header[2];
    return (struct h2_frame_header){.length = length, .type = header[3], .flags = header[4]};
}

bool h2_meter_next(struct h2_meter *meter, struct slice *input, struct h2_frame_header *header)
{
    while (input->len > 0) {
        if (meter->skip > 0) {
            size_t n = input->len < meter->skip ? input->len : meter->skip;
            advance(input, n);
            meter->skip -= n;
            continue;
        }
        meter->header[meter->header_len++] = input->data[0];
        advance(input, 1);
        if (meter->header_len < H2_FRAME_HEADER_SIZE)
            continue;
        *header = parse(meter->header);
        meter->skip = header->length;
        meter->header_len = 0;
        return true;
    }
    return false;
}
