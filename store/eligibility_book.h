/* Who has which eligibility: derived from the objects, for requests and offboardings, which ask by principal. Internal
 * to store/.
 *
 *   principal --> its names --> members that are one of them          one look-up a name
 *                           --> prefixes that one of them begins with  one look-up a length that is in use
 *
 * A user's names are "user:NAME" and "spiffe://DOMAIN/user/NAME" in any domain, so the domain is no part of a key. What
 * is found is a candidate: principal_matches() decides. */
#ifndef LAPSE_STORE_ELIGIBILITY_BOOK_H
#define LAPSE_STORE_ELIGIBILITY_BOOK_H

#include "store/eligibility.h"
#include "store/governance.h"

void eligibility_book_add(struct store *store, const struct object *object);
void eligibility_book_remove(struct store *store, const struct object *object);

/* Calls for each eligibility whose member matches the principal, in no particular order: what follows from it must not
 * depend on the order. `visit` must change nothing. */
typedef void (*eligibility_visit)(void *arg, const struct object *object, const struct eligibility *eligibility);
void eligibility_each_of(const struct store *store, struct slice principal, eligibility_visit visit, void *arg);

/* Where the campaign that is ending has got to: a memory of work done, not state. What comes from its name on has been
 * looked at. */
struct campaign_progress {
    uint64_t revision; /* of the campaign */
    uint32_t len;      /* 0: nothing yet */
    uint8_t name[LIMIT_POLICY];
};
struct campaign_progress *eligibility_book_progress(struct store *store);

#endif
