/* Proof that a majority still stood in the leader's term, and since when.
 *
 * Every frame carries its sender's stamp (its own boot time, strictly increasing) and echoes the newest stamp that it
 * has had from the addressee. A frame from voter v in term T that echoes stamp s says: "after you sent s, I was in term
 * T". So the evidence is as old as the moment at which the leader *sent* s, however long the network kept either frame.
 *
 * With such words from a majority (itself included) about stamps >= t, no leader of a later term can have been elected
 * before t: one of that majority would have had to vote for it, and would not have been in T afterwards. Reads rest on
 * this: a read that begins at t may be answered from the commit index as of t once evidence_since() >= t.
 *
 * Stamps of one leader, compared with each other only. Pure; no clock. */
#ifndef LAPSE_RAFT_EVIDENCE_H
#define LAPSE_RAFT_EVIDENCE_H

#include "base/bytes.h"
#include "base/limits.h"

struct evidence {
    uint64_t voters[LIMIT_PEERS];
    uint64_t stamps[LIMIT_PEERS]; /* 0: nothing yet */
    uint32_t n;
};

/* Sets who votes (ids, ourselves included if we do). What is known of voters that stay is kept. */
void evidence_set_voters(struct evidence *evidence, const uint64_t *voters, uint32_t n);
/* Forgets everything heard: a new term. */
void evidence_reset(struct evidence *evidence);
/* `voter` was in our term after we had sent `stamp`. Others than voters are ignored. */
void evidence_add(struct evidence *evidence, uint64_t voter, uint64_t stamp);
/* The newest t such that a majority was in our term after t; `self` counts as always. 0 without any such. */
uint64_t evidence_since(const struct evidence *evidence, uint64_t self);

#endif
