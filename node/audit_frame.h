/* What nodes say to each other about the audit: frames inside of MESSAGE_AUDIT (raft/message.h). Schema:
 * proto/lapse/peer/v1/audit.proto.
 *
 *   RANGE     who lacks records --> any node   `first` to `last`, please
 *   RECORDS   the answer                       as many as fit, the last ones: they end at `last`, without a gap; `head`
 * is the hash before the first of them. None: they are not here HEAD      any node --> all others          its newest
 * signed head
 *
 * Frames come from authenticated nodes but are untrusted in form: audit_frame_decode takes what is written here and
 * nothing else, and audit_frame_next can't fail on what it took. */
#ifndef LAPSE_NODE_AUDIT_FRAME_H
#define LAPSE_NODE_AUDIT_FRAME_H

#include "node/audit_db.h"

#define AUDIT_FRAME_MAX LIMIT_SNAPSHOT_CHUNK
/* Of a frame without its records. */
#define AUDIT_FRAME_REST 256u

enum audit_frame_kind { AUDIT_RANGE = 1, AUDIT_RECORDS = 2, AUDIT_HEAD_TOLD = 3 };

struct audit_frame {
    enum audit_frame_kind kind;
    uint64_t sequence;        /* RANGE, RECORDS: the question */
    uint64_t first, last;     /* RANGE; RECORDS: of those that follow; 0, 0: none */
    struct chain_head head;   /* RECORDS: before the first */
    struct slice signed_head; /* HEAD */
    struct slice list;        /* RECORDS: for audit_frame_next */
};

/* Appends the frame; records follow with audit_frame_add, in the order of their revisions. */
lapse_result audit_frame_encode(const struct audit_frame *frame, struct buf *out) LAPSE_MUST_USE;
lapse_result audit_frame_add(uint64_t epoch, struct slice event, struct buf *out) LAPSE_MUST_USE;
lapse_result audit_frame_decode(struct slice bytes, struct audit_frame *frame,
                                struct lapse_error *error) LAPSE_MUST_USE;
bool audit_frame_next(struct slice *list, uint64_t *epoch, struct slice *event);

#endif
