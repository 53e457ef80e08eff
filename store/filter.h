/* Filters as bytes (message lapse.disk.v1.Filter, in commands and snapshots) and their rules. Internal to store/. */
#ifndef LAPSE_STORE_FILTER_H
#define LAPSE_STORE_FILTER_H

#include "base/wire.h"
#include "store/command.h"

/* The fields; the caller opens and closes the message. */
void filter_encode(struct wire_writer *writer, const struct store_filter *filter);
/* Fills `filter`, which must be zeroed. DATA_LOSS on anything unknown, repeated or out of order. */
lapse_result filter_decode(struct slice bytes, struct store_filter *filter) LAPSE_MUST_USE;
/* A filter by which grants may be ended: valid members, at least one beside `states`, and only states that can end. */
lapse_result filter_validate(const struct store_filter *filter, struct lapse_error *error) LAPSE_MUST_USE;
/* A hash of all members, behind `hash`. */
uint64_t filter_hash(uint64_t hash, const struct store_filter *filter);

#endif
