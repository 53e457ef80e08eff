/* Frames on their way out, in order, some of them behind a write of the disk.
 *
 *   push --> [ f1 f2 | f3 f4 ] --> drain      |: term or vote that must be durable before f3 may leave
 *
 * A node that answers with a term or a vote which it could forget in a crash could vote twice. So every new term or
 * vote raises a barrier: whatever is pushed afterwards, related or not, waits until that write is done. */
#ifndef LAPSE_RAFT_OUTBOX_H
#define LAPSE_RAFT_OUTBOX_H

#include "base/bytes.h"

struct outbox_frame;

struct outbox {
    struct outbox_frame *first, *last;
    uint64_t raised, passed; /* barriers */
    uint32_t n;
    size_t bytes;
};

void outbox_free(struct outbox *outbox);
/* Takes over the buffer's memory. Dropped beyond the bound: the peers' protocol expects loss. */
void outbox_push(struct outbox *outbox, uint64_t to, struct buf *frame);
void outbox_raise(struct outbox *outbox);
/* The oldest barrier's write is done. */
void outbox_pass(struct outbox *outbox);
/* Hands out what no barrier holds, in order. */
void outbox_drain(struct outbox *outbox, void (*send)(void *arg, uint64_t to, struct slice frame), void *arg);

#endif
