/* What a break-glass review is, and its bytes: those of lapse.v1.Review. Internal to store/. */
#ifndef LAPSE_STORE_REVIEW_H
#define LAPSE_STORE_REVIEW_H

#include "base/wire.h"
#include "store/grant.h"

enum review_verdict { REVIEW_JUSTIFIED = 1, REVIEW_MISUSED = 2 };

/* As lapse.v1.Review, where the members are explained; slices are borrowed. */
struct review {
    struct slice name, subject, requester, resource, justification, policy, rule, reviewers;
    int64_t opened_ms, due_ms;
    bool overdue;
    uint32_t verdict; /* enum review_verdict, 0 while it is open */
    struct slice comment, closed_by;
    int64_t closed_ms;
    uint64_t revision;
    struct slice approvers; /* who approved the grant, a space between each: none of them may close it */
};

/* Everything of it that can stand in one object, its approvers included. */
#define REVIEW_BYTES_MAX 8192u

/* Strict: fields in ascending order, each known, none empty. NULL, or what is wrong. */
const char *review_decode(struct slice bytes, struct review *review);
/* Replaces what `out` holds, which must have room for REVIEW_BYTES_MAX. */
void review_encode(const struct review *review, struct buf *out);

/* Whether the principal is the requester, the subject or an approver of the grant that it is about. */
bool review_concerns(const struct review *review, struct slice principal);

#endif
