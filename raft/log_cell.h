/* A small value that a crash can neither lose nor turn back: the vote, and the mark.
 *
 * The value stands in two files, NAME-0 and NAME-1, each with the same sequence number. A new value is written and
 * synced to copy 0 first, then to copy 1; only then is it acknowledged. So at any moment, whatever a crash does:
 *
 *   copy 0   copy 1   what happened                                     value
 *   n        n        at rest                                           n
 *   n + 1    n        crash between the copies; not acknowledged yet    n + 1 (either would do)
 *   bad      n        copy 0 was being written, or is damaged           n, the last one acknowledged
 *   n        bad      copy 1 was being written, or is damaged           n, acknowledged or about to be
 *   else              impossible without damage to both, or a lost write     corruption
 *
 * Why not two slots written in turn with one sync each: there a damaged newest slot looks just like a torn write, and
 * falling back to the older one forgets a vote, after which the node could vote twice in one term. Here the survivor of
 * a single damage always holds the newest acknowledged value. A vote costs two syncs; votes are rare.
 *
 * A repair overwrites the copy that is bad or behind with the other's value and sequence, never the good one. */
#ifndef LAPSE_RAFT_LOG_CELL_H
#define LAPSE_RAFT_LOG_CELL_H

#include "raft/log_frame.h"
#include "raft/disk.h"

/* One sector: a copy is overwritten in one piece by most disks, though nothing here relies on it. */
#define CELL_SIZE 512u
#define CELL_VALUE_MAX 256u

struct cell {
    const char *name; /* "vote", "mark" */
    struct disk *disk;
    struct disk_file *copies[2];
    uint64_t sequence;
    int stale; /* the copy to repair, or -1 */
    uint8_t value[CELL_VALUE_MAX];
    size_t value_len;
};

/* Name of copy `which`, e.g. "vote-0". */
void cell_copy_name(const struct cell *cell, int which, char *name, size_t size);

/* Makes both files anew with a first value, synced; their names are durable after sync_directory. */
lapse_result cell_create(struct cell *cell, struct disk *disk, const char *name, struct slice value,
                         struct lapse_error *error) LAPSE_MUST_USE;
/* Reads the value without writing anything. DATA_LOSS when the copies don't tell it. */
lapse_result cell_open(struct cell *cell, struct disk *disk, const char *name,
                       struct lapse_error *error) LAPSE_MUST_USE;
/* Restores the stale copy, if any; a must before the first cell_write. */
lapse_result cell_repair(struct cell *cell, struct lapse_error *error) LAPSE_MUST_USE;
/* Makes `value` durable, twice. After a failure the cell must not be used any more. */
lapse_result cell_write(struct cell *cell, struct slice value, struct lapse_error *error) LAPSE_MUST_USE;
static inline struct slice cell_value(const struct cell *cell)
{
    return slice_of(cell->value, cell->value_len);
}
/* Accepts a zeroed struct. */
void cell_close(struct cell *cell);

#endif
