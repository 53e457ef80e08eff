/* REQUEST and APPROVE, and what they share with the other commands about one grant. Internal to store/. */
#ifndef LAPSE_STORE_APPLY_GRANTS_H
#define LAPSE_STORE_APPLY_GRANTS_H

#include "store/transition.h"

lapse_result apply_request(struct apply *apply) LAPSE_MUST_USE;
lapse_result apply_approve(struct apply *apply) LAPSE_MUST_USE;

/* The grant that the command names, and the rule that lets this caller change it. NOT_FOUND, PERMISSION_DENIED, or
 * FAILED_PRECONDITION for its state. */
lapse_result apply_find(struct apply *apply, uint32_t *slot, const struct rule **rule) LAPSE_MUST_USE;

/* From when to when it would be, were it decided now. */
struct decision {
    int64_t start_ms, deadline_ms;
};
/* FAILED_PRECONDITION when its parent (slot; 0: none) leaves it no time, or isn't active by then. */
lapse_result decision_make(struct apply *apply, const struct grant *terms, uint32_t parent,
                           struct decision *decision) LAPSE_MUST_USE;
/* Moves a PENDING grant whose numbers are off the digest to APPROVED, and to ACTIVE if its time has come. */
void decision_carry_out(struct apply *apply, uint32_t slot, const struct decision *decision);
/* RESOURCE_EXHAUSTED when a break-glass grant could not have its review. */
lapse_result decision_check_review(struct apply *apply, const struct grant *terms,
                                   struct slice requester) LAPSE_MUST_USE;

#endif
