/* What libraft asserts about its input, as checks, and its messages in our words: for consensus*.c only. Pure. */
#ifndef LAPSE_RAFT_CONSENSUS_CHECK_H
#define LAPSE_RAFT_CONSENSUS_CHECK_H

#include "raft/log.h"
#include "raft/members.h"
#include "raft/message.h"

/* Far beyond any log, and small enough that sums can't overflow. */
#define CONSENSUS_INDEX_MAX (1ull << 62)
/* Terms grow by elections, a few a second at most. One from far beyond would become durable everywhere, and the term
 * after the greatest is 0. */
#define CONSENSUS_TERM_JUMP_MAX (1ull << 32)

/* DATA_LOSS unless term, snapshot and entries fit together. */
lapse_result consensus_check_state(const struct log_state *state, struct lapse_error *error) LAPSE_MUST_USE;
/* The newest configuration on disk, none: n is 0. Every one of them is decoded, since libraft reads them unchecked. */
lapse_result consensus_newest_members(const struct log_state *state, struct members *members,
                                      struct lapse_error *error) LAPSE_MUST_USE;
/* INVALID_ARGUMENT when no leader of its term could have sent this. */
lapse_result consensus_check_append(const struct message *message, uint64_t from,
                                    struct lapse_error *error) LAPSE_MUST_USE;

/* Whether elections can have led from the term `current` to those that a frame speaks of. */
bool consensus_term_is_possible(uint64_t current, const struct message *message);

struct raft_message;
/* A message that libraft wants sent, other than entries and snapshots. */
void consensus_translate(const struct raft_message *from, struct message *message);

#endif
