/* Which data directory each peer came with.
 *
 * A voter that lost its directory and was initialised again under its old id has forgotten votes and acknowledged
 * entries; with one node that lags it could elect a leader that lacks them. So every data directory has a random id,
 * its home, which is said in each Hello. A node notes the home of each member when it first sees it, durably, and turns
 * away whoever comes with another one later: such a node has to be removed, and a new one joins under a new id.
 *
 * Trust on first use: a node that has never been linked with the old one can't know. One thread. */
#ifndef LAPSE_RAFT_HOMES_H
#define LAPSE_RAFT_HOMES_H

#include "base/limits.h"
#include "raft/disk.h"

struct home {
    uint64_t node, id;
};

struct homes {
    struct disk *disk;
    uint64_t own;
    struct home known[LIMIT_PEERS];
    uint32_t n;
};

/* Reads the file, or makes one with a new home. DATA_LOSS when it is damaged. `disk` must outlive `homes`. */
lapse_result homes_open(struct homes *homes, struct disk *disk, struct lapse_error *error) LAPSE_MUST_USE;
/* FAILED_PRECONDITION when `node` was seen with another home. A member seen for the first time is noted: blocks for as
 * long as a small file takes to become durable, and fails when it can't be. */
lapse_result homes_check(struct homes *homes, uint64_t node, uint64_t home, struct lapse_error *error) LAPSE_MUST_USE;
/* The node was removed from the cluster. Durable with the next that is noted; until then it is remembered in vain. */
void homes_forget(struct homes *homes, uint64_t node);

#endif
