/* Commands of enforcement points, and of the leader about them. Internal to store/. */
#ifndef LAPSE_STORE_APPLY_POINTS_H
#define LAPSE_STORE_APPLY_POINTS_H

#include "store/transition.h"

lapse_result apply_register(struct apply *apply) LAPSE_MUST_USE;
lapse_result apply_receipts(struct apply *apply) LAPSE_MUST_USE;
lapse_result apply_end_point(struct apply *apply) LAPSE_MUST_USE;
lapse_result apply_session_begin(struct apply *apply) LAPSE_MUST_USE;
lapse_result apply_session_end(struct apply *apply) LAPSE_MUST_USE;
/* Fences the live instances of that id, with an event each: they get no promise any more. */
void points_fence(struct apply *apply, struct slice id);

#endif
