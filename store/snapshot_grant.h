/* Grants of a snapshot on their way in. Internal to store/. */
#ifndef LAPSE_STORE_SNAPSHOT_GRANT_H
#define LAPSE_STORE_SNAPSHOT_GRANT_H

#include "store/internal.h"

/* Decodes and validates one grant by itself. NULL, or what is wrong. pending_until_ms is the one asked for. */
const char *snapshot_grant_decode(struct slice bytes, struct grant *grant);
/* Adds it as state, without indexes, family and timer. */
void snapshot_grant_insert(struct store *store, const struct grant *grant);
/* Derives indexes, families and timers of all grants, and validates what they are to one another. NULL, or what is
 * wrong. */
const char *snapshot_grants_link(struct store *store);

#endif
