#include "proto/grpc_outbox.h"

#include <stdlib.h>

#include "base/check.h"

static struct blob **slots(struct grpc_outbox *outbox)
{
    return outbox->ring == NULL ? outbox->few : outbox->ring;
}

static struct blob *first(const struct grpc_outbox *outbox)
{
    return (outbox->ring == NULL ? outbox->few : outbox->ring)[outbox->head];
}

void grpc_outbox_init(struct grpc_outbox *outbox)
{
    *outbox = (struct grpc_outbox){.capacity = GRPC_OUTBOX_INLINE};
}

static void drop_first(struct grpc_outbox *outbox)
{
    blob_unref(first(outbox));
    outbox->head = (outbox->head + 1) & (outbox->capacity - 1);
    outbox->count--;
    outbox->sent = 0;
}

void grpc_outbox_clear(struct grpc_outbox *outbox)
{
    while (outbox->count > 0)
        drop_first(outbox);
    free(outbox->ring);
    grpc_outbox_init(outbox);
}

static void grow(struct grpc_outbox *outbox)
{
    struct blob **larger = mem_alloc(2 * sizeof *larger * outbox->capacity);
    for (uint32_t i = 0; i < outbox->count; i++)
        larger[i] = slots(outbox)[(outbox->head + i) & (outbox->capacity - 1)];
    free(outbox->ring);
    outbox->ring = larger;
    outbox->capacity *= 2;
    outbox->head = 0;
}

void grpc_outbox_push(struct grpc_outbox *outbox, struct blob *message)
{
    if (outbox->count == outbox->capacity)
        grow(outbox);
    slots(outbox)[(outbox->head + outbox->count) & (outbox->capacity - 1)] = message;
    outbox->count++;
    outbox->bytes += GRPC_PREFIX_SIZE + (size_t)message->len;
}

struct slice grpc_outbox_next(const struct grpc_outbox *outbox, size_t max, uint8_t prefix[GRPC_PREFIX_SIZE])
{
    if (outbox->count == 0)
        return slice_of(NULL, 0);
    const struct blob *blob = first(outbox);
    struct slice rest;
    if (outbox->sent < GRPC_PREFIX_SIZE) {
        prefix[0] = 0; /* not compressed */
        for (int i = 0; i < 4; i++)
            prefix[1 + i] = (uint8_t)(blob->len >> (24 - 8 * i));
        rest = slice_of(prefix + outbox->sent, GRPC_PREFIX_SIZE - outbox->sent);
    } else {
        size_t gone = outbox->sent - GRPC_PREFIX_SIZE;
        rest = slice_of(blob->data + gone, blob->len - gone);
    }
    return slice_of(rest.data, rest.len < max ? rest.len : max);
}

void grpc_outbox_consume(struct grpc_outbox *outbox, size_t len)
{
    CHECK(outbox->count > 0 && len <= outbox->bytes);
    outbox->sent += (uint32_t)len;
    outbox->bytes -= len;
    size_t whole = GRPC_PREFIX_SIZE + (size_t)first(outbox)->len;
    CHECK(outbox->sent <= whole);
    if (outbox->sent == whole)
        drop_first(outbox);
}
