/* Receipts of a command: message lapse.disk.v1.Receipts. Internal to store/; command.h has what others use. */
#ifndef LAPSE_STORE_RECEIPTS_H
#define LAPSE_STORE_RECEIPTS_H

#include "store/command.h"

/* Whether `receipts` is a list of well-formed receipts. */
bool receipts_well_formed(struct slice receipts);
lapse_result receipts_validate(struct slice receipts, struct lapse_error *error) LAPSE_MUST_USE;

#endif
