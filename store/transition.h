/* Transitions: the only functions that write grants. Internal to store/.
 *
 * transition_move() is the one writer of states: it writes the step with a revision of its own, puts the grant's
 * numbers back into the digest, keeps timers and counts in step, and tells the event. Whoever moves a grant that is
 * there already takes its numbers off the digest first, with transition_edit(), and may change them in between. */
#ifndef LAPSE_STORE_TRANSITION_H
#define LAPSE_STORE_TRANSITION_H

#include "store/rules.h"

/* One command on its way through the store. */
struct apply {
    struct store *store;
    const struct command *command;
    int64_t now_ms;
    store_event_cb on_event;
    void *arg;
    struct store_outcome *outcome;
    struct slice eligibility; /* REQUEST: the name of the one that its policy's rule asked for; policies_decide() */
};

/* The record for changing its numbers: until transition_move() puts them back, the digest is without them. */
struct record *transition_edit(struct apply *apply, uint32_t slot);
void transition_move(struct apply *apply, uint32_t slot, const struct rule *rule);
/* transition_move() through a state that the same command leaves again: the digest and the timer wait for the next
 * move, which must follow without another transition_edit(). */
void transition_pass(struct apply *apply, uint32_t slot, const struct rule *rule);
/* An APPROVED grant becomes ACTIVE, as transition_move(); a break-glass one gets its review. */
void transition_activate(struct apply *apply, uint32_t slot);
/* An event about no grant, with a revision of its own. */
void transition_about_none(struct apply *apply, const struct rule *rule);
/* An event about no grant whose other members are filled already: gives it the next revision, the time, and tells it.
 */
void transition_tell(struct apply *apply, const struct store_event *event);

/* Edit, ending, move: `by` is empty for the clock. Its children are left to transition_cascade() or to ADVANCE. */
void transition_end(struct apply *apply, uint32_t slot, const struct rule *rule, struct slice by, struct slice reason);
/* Ends a grant below an ended one; by its own clock if that ran out first. */
void transition_end_below(struct apply *apply, uint32_t ancestor, uint32_t slot);
/* Ends a grant because one above it ends, by whom that does. */
void transition_orphan(struct apply *apply, uint32_t slot, struct slice by);
/* Ends the descendants of `slot` breadth first, as many as one command may; the timers of the others' parents are due.
 */
void transition_cascade(struct apply *apply, uint32_t slot);

/* Removes an ended grant without children, and readies its parent to leave if it was the last child. No event. */
void transition_drop(struct store *store, uint32_t slot);
/* More ended grants than the store may hold: the oldest leave early, a bounded number in one command. Returns how many.
 */
uint32_t transition_trim(struct store *store);

#endif
