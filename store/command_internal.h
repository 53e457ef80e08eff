/* What the store needs of commands beyond their contract. Internal to store/. */
#ifndef LAPSE_STORE_COMMAND_INTERNAL_H
#define LAPSE_STORE_COMMAND_INTERNAL_H

#include "store/command.h"

bool request_key_is_zero(const struct request_key *key);

/* The bytes by which two commands with the same key are compared: without the key and, for a REQUEST, without the new
 * grant's id, which each attempt chooses anew. */
lapse_result command_encode_content(const struct command *command, struct buf *out) LAPSE_MUST_USE;

#endif
