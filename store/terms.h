/* The terms of a grant as bytes: message lapse.disk.v1.GrantTerms, used in commands, in snapshots and, for the part
 * that many grants have in common, inside the store. Internal to store/. */
#ifndef LAPSE_STORE_TERMS_H
#define LAPSE_STORE_TERMS_H

#include "base/wire.h"
#include "store/command.h"

/* The fields of a GrantTerms message, in ascending order; the caller opens and closes the message. */
void terms_encode(struct wire_writer *writer, const struct grant *terms);
/* Only those fields that grants tend to share: actions, limits, binding, labels, parent, ... (fields 8 and up). */
void terms_encode_shared(struct wire_writer *writer, const struct grant *terms);
/* Only the fields of a grant's own (1 to 7), for whoever appends the shared bytes behind them. */
void terms_encode_own(struct wire_writer *writer, const struct grant *terms);

/* Fills the term fields of `terms`, which must be zeroed (its counts at least). DATA_LOSS on anything unknown,
 * repeated, out of order or too long a list. Slices borrow from `bytes`. */
lapse_result terms_decode(struct slice bytes, struct grant *terms) LAPSE_MUST_USE;

/* A hash of all fields that terms_encode() writes, behind `hash`. */
uint64_t terms_hash(uint64_t hash, const struct grant *terms);

/* Everything that can be said about terms without a clock and a store. */
lapse_result terms_validate(const struct grant *terms, struct lapse_error *error) LAPSE_MUST_USE;

/* Helpers for decoders: a number in range, an id of 16 bytes. */
bool field_u32(const struct wire_field *field, uint32_t *out);
bool field_ms(const struct wire_field *field, int64_t *out);
bool field_u64(const struct wire_field *field, uint64_t *out);
bool field_bytes(const struct wire_field *field, struct slice *out);
bool field_id(const struct wire_field *field, struct grant_id *out);
bool field_random_id(const struct wire_field *field, struct random_id *out);

#endif
