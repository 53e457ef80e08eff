/* One call's incoming bytes, cut into messages. A length is judged before anything is kept for it. */
#ifndef LAPSE_PROTO_GRPC_INBOX_H
#define LAPSE_PROTO_GRPC_INBOX_H

#include "base/bytes.h"
#include "proto/grpc_wire.h"

struct grpc_inbox {
    uint8_t prefix[GRPC_PREFIX_SIZE];
    uint8_t prefix_len;
    uint32_t message_len; /* valid once the prefix is complete */
    struct buf body;      /* of the message being received */
};

/* What a piece of input led to. */
enum grpc_inbox_step {
    GRPC_INBOX_MORE,       /* all input taken; the message isn't complete */
    GRPC_INBOX_MESSAGE,    /* grpc_inbox_message is complete; call grpc_inbox_next before feeding on */
    GRPC_INBOX_COMPRESSED, /* flag set: nothing here decompresses */
    GRPC_INBOX_TOO_LARGE
};

void grpc_inbox_init(struct grpc_inbox *inbox, uint32_t message_max);
void grpc_inbox_free(struct grpc_inbox *inbox);
/* Takes bytes from the front of `input` up to the end of one message. After a refusal the inbox must not be fed again.
 */
enum grpc_inbox_step grpc_inbox_feed(struct grpc_inbox *inbox, struct slice *input);
static inline struct slice grpc_inbox_message(const struct grpc_inbox *inbox)
{
    return buf_slice(&inbox->body);
}
/* Forgets the complete message and its memory. */
void grpc_inbox_next(struct grpc_inbox *inbox);
/* Whether input ended inside a message. */
bool grpc_inbox_is_torn(const struct grpc_inbox *inbox);

#endif
