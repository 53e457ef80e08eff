/* Who belongs to the cluster, and the bytes in which libraft keeps that in its log.
 *
 * libraft's own decoder trusts its input (it reads past a short buffer). Configurations reach us from peers and from
 * disk, so they are decoded here, within bounds, and only what has passed is ever shown to libraft. */
#ifndef LAPSE_RAFT_MEMBERS_H
#define LAPSE_RAFT_MEMBERS_H

#include "base/bytes.h"
#include "base/limits.h"
#include "raft/replica.h"

#define MEMBER_ADDRESS_MAX 255u

struct members {
    struct replica_member list[LIMIT_PEERS];
    uint32_t n;
    char addresses[LIMIT_PEERS][MEMBER_ADDRESS_MAX + 1]; /* what list[i].address points to */
};

/* INVALID_ARGUMENT unless `bytes` is a whole configuration: 1 to LIMIT_PEERS members, unique ids > 0 and addresses,
 * known roles. `members` must not move in memory afterwards. */
lapse_result members_decode(struct slice bytes, struct members *members, struct lapse_error *error) LAPSE_MUST_USE;
/* The canonical bytes, one reference. */
struct blob *members_encode(const struct members *members);

const struct replica_member *members_find(const struct members *members, uint64_t id);
/* ALREADY_EXISTS, RESOURCE_EXHAUSTED or INVALID_ARGUMENT with the reason. */
lapse_result members_add(struct members *members, const struct replica_member *member,
                         struct lapse_error *error) LAPSE_MUST_USE;
void members_remove(struct members *members, uint64_t id);
void members_copy(struct members *to, const struct members *from);
/* Ids of those who vote; returns how many. */
uint32_t members_voters(const struct members *members, uint64_t voters[LIMIT_PEERS]);

#endif
