#include "raft/outbox.h"

#include <stdlib.h>

#include "base/check.h"

/* A write of the vote takes milliseconds; what a node has to say in that time is far less. */
#define OUTBOX_BYTES_MAX (64u * 1024 * 1024)

struct outbox_frame {
    struct outbox_frame *next;
    uint64_t to;
    uint64_t barrier; /* leaves once so many have passed */
    struct buf bytes;
};

static void pop(struct outbox *outbox)
{
    struct outbox_frame *frame = outbox->first;
    outbox->first = frame->next;
    if (outbox->first == NULL)
        outbox->last = NULL;
    outbox->n--;
    outbox->bytes -= frame->bytes.len;
    buf_free(&frame->bytes);
    free(frame);
}

void outbox_free(struct outbox *outbox)
{
    while (outbox->first != NULL)
        pop(outbox);
}

void outbox_push(struct outbox *outbox, uint64_t to, struct buf *frame)
{
    if (outbox->bytes + frame->len > OUTBOX_BYTES_MAX) {
        buf_free(frame);
        return;
    }
    struct outbox_frame *item = mem_calloc(1, sizeof *item);
    *item = (struct outbox_frame){.to = to, .barrier = outbox->raised, .bytes = *frame};
    *frame = (struct buf){.max = frame->max};
    if (outbox->last == NULL)
        outbox->first = item;
    else
        outbox->last->next = item;
    outbox->last = item;
    outbox->n++;
    outbox->bytes += item->bytes.len;
}

void outbox_raise(struct outbox *outbox)
{
    outbox->raised++;
}

void outbox_pass(struct outbox *outbox)
{
    CHECK(outbox->passed < outbox->raised);
    outbox->passed++;
}

void outbox_drain(struct outbox *outbox, void (*send)(void *arg, uint64_t to, struct slice frame), void *arg)
{
    while (outbox->first != NULL && outbox->first->barrier <= outbox->passed) {
        send(arg, outbox->first->to, buf_slice(&outbox->first->bytes));
        pop(outbox);
    }
}
