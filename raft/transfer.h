/* A snapshot on its way from node to node. What libraft wants is only "this follower needs a snapshot"; the rest is
 * ours.
 *
 * Sending (transfer_send.c), one transfer at a time:
 *
 *   IDLE --wanted--> RUNNING: READ jobs -> CHUNK frames, at most WINDOW bytes unacknowledged
 *     ^                 |  silence: from the last acknowledged byte again; longer silence: given up
 *     '--all acked, busy, newer snapshot, not leader any more
 *
 * Receiving (transfer_receive.c), one at a time, never while a snapshot of our own is being written:
 *
 *   IDLE --chunk 0--> RECEIVING: RECEIVE jobs --last--> RESTORING: RESTORE job
 *     ^                   | silence                         | a store that verifies
 *     |<------------------'                                 v
 *     |<------ not wanted any more -------------- libraft is asked
 *     '<------ store swapped ---------- INSTALLING: INSTALL job
 *
 * The store is built before anything is replaced: a snapshot that does not verify costs nothing, and a crash at any
 * point finds either the old snapshot and log or the new snapshot. */
#ifndef LAPSE_RAFT_TRANSFER_H
#define LAPSE_RAFT_TRANSFER_H

#include "raft/storage.h"

struct transfer_send {
    uint64_t to; /* 0: idle */
    uint64_t id;
    struct snapshot_meta meta; /* known after the first read */
    uint64_t size;
    uint64_t read, acked; /* offsets */
    bool reading, at_end;
    int64_t progress_us, resent_us;
    int64_t quiet_until_us; /* not before that the next one begins */
};

enum receive_state { RECEIVE_IDLE, RECEIVE_RECEIVING, RECEIVE_RESTORING, RECEIVE_INSTALLING };

struct transfer_receive {
    enum receive_state state;
    uint64_t from, id, term;
    struct snapshot_meta meta;
    uint64_t size;
    uint64_t offset; /* of the next chunk */
    int64_t heard_us;
    struct store *store; /* restored */
};

#endif
