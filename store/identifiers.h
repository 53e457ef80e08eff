/* Validation shared by commands and snapshots, beside what grant.h offers to everybody. Internal to store/.
 * All answer INVALID_ARGUMENT with a message that names the field. */
#ifndef LAPSE_STORE_IDENTIFIERS_H
#define LAPSE_STORE_IDENTIFIERS_H

#include "base/bytes.h"

lapse_result length_validate(struct slice text, size_t max, const char *field,
                             struct lapse_error *error) LAPSE_MUST_USE;
/* Prose: UTF-8, tabs and newlines allowed; may be empty. */
lapse_result text_validate(struct slice text, size_t max, const char *field, struct lapse_error *error) LAPSE_MUST_USE;
/* One line of text: UTF-8 without any control character; may be empty. */
lapse_result token_validate(struct slice text, size_t max, const char *field, struct lapse_error *error) LAPSE_MUST_USE;
/* A principal, or a prefix of one ended by an asterisk. */
lapse_result member_validate(struct slice member, struct lapse_error *error) LAPSE_MUST_USE;
/* Patterns, sorted, unique, one space between each; may be empty. */
lapse_result scope_validate(struct slice scope, struct lapse_error *error) LAPSE_MUST_USE;
/* The name of a policy, rule, eligibility, ...: letters, digits, "-", "_" and ".", at most LIMIT_POLICY. `field` is "name". */
lapse_result object_name_validate(struct slice name, const char *field, struct lapse_error *error) LAPSE_MUST_USE;
/* The name of an enforcement point. */
lapse_result point_id_validate(struct slice id, struct lapse_error *error) LAPSE_MUST_USE;

#endif
