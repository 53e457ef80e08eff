/* What a node keeps on disk: its identity, its term and vote, the log's segments, and the latest snapshot.
 *
 *   identity            cluster id, node id: written once by log_format, never changed
 *   vote-0, vote-1      term and vote, written and synced twice (log_cell.h says why)
 *   mark-0, mark-1      how far the log was acknowledged, and what change of several steps is under way; likewise twice
 *   mark                the same, newer and unsynced: a hint
 *   FIRST.segment       entries, a checksum on every record; FIRST = index of its first entry, 20 digits
 *   INDEX-TERM.snapshot metadata, then the store's bytes in checksummed blocks; 20 digits each
 *   *.tmp               unfinished work, removed at start
 *
 * A torn tail (an incomplete last write that was never acknowledged) is cut. Anything else that does not verify is corruption: log_open
 * fails with DATA_LOSS, naming file and offset and the way out, and changes nothing. */
#ifndef LAPSE_RAFT_LOG_H
#define LAPSE_RAFT_LOG_H

#include "raft/disk.h"
#include "raft/storage.h"

/* Enough for "name-" and a ULID. */
#define CLUSTER_ID_SIZE 92

struct log_identity {
    char cluster[CLUSTER_ID_SIZE]; /* empty: a newcomer that has not joined a cluster yet */
    uint64_t node_id;
};

/* Makes an empty log for a node. FAILED_PRECONDITION when the directory already holds one (it is left untouched).
 * With `first` (a cluster's bootstrap) the log starts at term 1 with these entries; else it is empty at term 0. */
lapse_result log_format(struct disk *disk, const struct log_identity *identity, const struct log_entry *first, uint32_t n_first,
                        struct lapse_error *error) LAPSE_MUST_USE;
/* Writes the cluster id of a newcomer once it is known. Blocking; FAILED_PRECONDITION when it has another one already. Touches no file
 * of the lanes, so it may run beside them, on one thread at a time. */
lapse_result log_adopt_cluster(struct log *log, const char *cluster, struct lapse_error *error) LAPSE_MUST_USE;

struct log_state {
    struct log_identity identity;
    uint64_t term;
    uint64_t voted_for;
    bool has_snapshot;
    struct snapshot_meta snapshot; /* one reference, the caller's */
    struct store *store;           /* restored from the snapshot; NULL without one; the caller's */
    uint64_t first_index;          /* of entries[0]; with no entries: the next index */
    struct log_entry *entries;     /* the caller's, with a blob reference each */
    uint32_t n_entries;
    bool torn_tail_cut;            /* for the log: what was cut where */
    char note[LAPSE_ERROR_MESSAGE_SIZE];
};

struct log_options {
    uint64_t segment_bytes;              /* 0: LIMIT_SEGMENT_BYTES */
    const struct store_options *store;   /* for restoring; may be NULL */
    uint64_t reserve_bytes;              /* space kept free for revocations and expiry; 0: none */
};

/* Opens and verifies everything. FAILED_PRECONDITION when log_format never ran here. `disk` stays the caller's and outlives the log. */
lapse_result log_open(struct disk *disk, const struct log_options *options, struct log **log, struct log_state *state,
                      struct lapse_error *error) LAPSE_MUST_USE;
void log_state_free(struct log_state *state);
void log_close(struct log *log);

/* True while the free space is below the reserve: grants are refused, revocations and expiry go on. Any thread. */
bool log_is_low_on_space(const struct log *log);
/* Looks at the free space now: others fill and empty the disk, too, while the log is quiet. Any thread. */
void log_look_at_space(struct log *log);

/* Offline check for operators (`lapsed verify`): like log_open but visits everything and reports the first fault. */
lapse_result log_verify(struct disk *disk, struct lapse_error *error) LAPSE_MUST_USE;

#endif
