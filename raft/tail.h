/* The entries of the log that are still in memory: from the last snapshot (minus what is kept for slow followers) to
 * the end.
 *
 *        first                       last
 *   [ 101 | 102 | ...        | 198 | 199 ]       base: what a snapshot says of index first - 1 or later
 *
 * libraft's core tracks only terms and indexes; this is where the entries themselves live, to be sent, applied and
 * compared with what the disk reports. Also keeps a running sum of sizes, so that the bytes between two indexes cost
 * nothing to ask. */
#ifndef LAPSE_RAFT_TAIL_H
#define LAPSE_RAFT_TAIL_H

#include "raft/storage.h"

struct tail {
    uint64_t first; /* index of the first entry held, or of the next one when there is none */
    uint64_t snapshot_index, snapshot_term;
    struct tail_slot *slots; /* slots[head] is `first` */
    size_t head, n, capacity;
    uint64_t start_bytes; /* running sum right before `first` */
};

struct tail_slot {
    struct log_entry entry;
    uint64_t end_bytes; /* running sum behind this entry */
};

/* Empty, the next index being `first` (>= 1). */
void tail_init(struct tail *tail, uint64_t first);
void tail_free(struct tail *tail);

/* The last index held, or the snapshot's (or 0) when there are no entries. */
uint64_t tail_last(const struct tail *tail);
/* The entry at `index`, or NULL. Valid until the next change. */
const struct log_entry *tail_at(const struct tail *tail, uint64_t index);
/* Term at `index`: of an entry held, or of the snapshot's last; 0 when not known. */
uint64_t tail_term(const struct tail *tail, uint64_t index);
/* Bytes of the payloads of entries `from` to `to`, both included; clipped to what is held. */
uint64_t tail_bytes(const struct tail *tail, uint64_t from, uint64_t to);

/* Takes over the reference of `entry.data`. Its index is tail_last() + 1, or `first` when empty. */
void tail_append(struct tail *tail, struct log_entry entry);
/* Drops the entries from `index` on. */
void tail_truncate(struct tail *tail, uint64_t index);
/* A snapshot now stands for everything up to `index`; entries before `keep_from` (<= index + 1) go. */
void tail_snapshot(struct tail *tail, uint64_t index, uint64_t term, uint64_t keep_from);
/* All entries go; the log starts again behind a snapshot. */
void tail_reset(struct tail *tail, uint64_t index, uint64_t term);

/* A copy of `n` entries from `index` on, each with a reference of its own; the caller frees array and references. */
struct log_entry *tail_copy(const struct tail *tail, uint64_t index, uint32_t n);

#endif
