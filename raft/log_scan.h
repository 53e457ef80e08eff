/* Reading a segment's bytes: pure, so that recovery, `verify` and the fuzzer see the same thing.
 *
 * A record that does not verify may be the end of the log (space never written), a torn tail (written, not yet synced
 * when the machine stopped), or damage. The bytes alone can't tell the last two apart, since sectors of one unsynced
 * write reach the disk in any order: a good record may follow a torn one. So each record says up to which index the log
 * was already synced when it was written. A later record that verifies and says so is the witness that the bad one had
 * been synced, that is, acknowledged: then it is damage. */
#ifndef LAPSE_RAFT_LOG_SCAN_H
#define LAPSE_RAFT_LOG_SCAN_H

#include "raft/log_format.h"

/* Where a log stands after some record: what the next one must follow. */
struct log_position {
    uint64_t index; /* of the last entry; the next has index + 1 */
    uint64_t term;
    uint32_t chain; /* checksum of the last frame */
};

struct segment_scan {
    bool header_ok;
    struct segment_header header;
    uint32_t previous;      /* the checksum that the header says came before */
    struct log_position at; /* after the last good record */
    uint64_t end;           /* offset behind it */
    bool stopped;           /* at `stop_at`, with the rest not looked at */
    bool clean;             /* nothing but zeros behind `end` */
    const char *fault;      /* damage for certain, at `end`; NULL if only the record there does not verify */
    uint64_t witness;       /* offset of a later record that proves the one at `end` was synced; 0: none */
};

typedef void (*segment_visit_cb)(void *arg, uint64_t offset, const struct entry_record *entry);

/* Scans a whole segment. Entries with index >= `stop_at` are not looked at (UINT64_MAX: all are). `visit` may be NULL.
 */
void segment_scan(struct slice bytes, uint64_t stop_at, segment_visit_cb visit, void *arg, struct segment_scan *scan);

#endif
