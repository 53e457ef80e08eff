/* What the store needs of commands beyond their contract. Internal to store/. */
#ifndef LAPSE_STORE_COMMAND_INTERNAL_H
#define LAPSE_STORE_COMMAND_INTERNAL_H

#include "store/command.h"

bool request_key_is_zero(const struct request_key *key);
bool random_id_is_zero(const struct random_id *id);
bool random_id_equal(const struct random_id *a, const struct random_id *b);

/* By which two commands with the same key are compared: all but the key and, for a REQUEST, the new grant's id, which
 * each attempt chooses anew. It is kept in snapshots and digests: the same on all nodes. */
uint32_t command_content_hash(const struct command *command);

#endif
