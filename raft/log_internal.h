/* What the files of the log share. Nobody outside raft/log*.c includes this.
 *
 *   log.c            open, close, format, identity                  log_recovery.c   what is on the disk, and may it be
 * believed log_execute.c    jobs of the LOG lane                           log_snapshot.c   jobs of the SNAPSHOT lane
 *   log_append.c     records, segments, group commit                log_snapshot_file.c   the snapshot file's format
 *   log_mark.c       how far the log was acknowledged, intents      log_cell.c, log_scan.c, log_format.c, log_frame.c
 * bytes
 *
 * Two threads work on one log: the LOG lane owns everything in struct log but `snapshot_lane`, which the SNAPSHOT lane
 * owns, `shared`, which both use under its mutex, and what neither changes after log_open. The mutex is held over a
 * rename and, for INSTALL, over the write of its intent; never over the reading or writing of a snapshot. */
#ifndef LAPSE_RAFT_LOG_INTERNAL_H
#define LAPSE_RAFT_LOG_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "raft/log_cell.h"
#include "raft/log_format.h"
#include "raft/log_scan.h"
#include "store/store.h"

/* Free space is asked for once in so many syncs, and at each rotation. */
#define LOG_SPACE_SAMPLE_SYNCS 64u
/* Encoded records are handed to the disk in pieces of about this size. */
#define LOG_WRITE_BYTES (1024u * 1024)

struct snapshot_id {
    uint64_t index; /* 0: none */
    uint64_t term;
};

struct log_shared {
    pthread_mutex_t lock;
    struct snapshot_id current;  /* the snapshot in force: COMMIT and INSTALL set it, READ opens it */
    struct snapshot_id saved;    /* saving.tmp is complete and synced: SAVE sets it, COMMIT takes it */
    struct snapshot_id received; /* likewise receiving.tmp: RECEIVE sets it, INSTALL takes it */
};

/* The SNAPSHOT lane's own files, kept open between jobs. */
struct snapshot_lane {
    struct disk_file *receiving; /* also after INSTALL renamed it, until the next transfer begins */
    uint64_t received_bytes;
    bool received_whole;       /* verified to its end */
    struct disk_file *reading; /* the snapshot being sent: stays readable when a newer one replaces it */
    uint64_t reading_size;
    struct snapshot_meta reading_meta;
};

/* The log's end: the segment that is written to. */
struct log_tail {
    struct disk_file *file;
    char name[LOG_NAME_SIZE];
    uint64_t size;          /* reserved */
    uint64_t offset;        /* where the next record goes, counting what waits in `pending` */
    struct log_position at; /* the last record, also counting `pending` */
    uint64_t synced;        /* entries up to here are durable */
    struct buf pending;     /* encoded, not yet written: ends at `offset` */
};

struct log {
    struct disk *disk;
    uint64_t segment_bytes;
    uint64_t reserve_bytes;
    bool has_store_options;
    struct store_options store_options;
    struct log_identity identity;

    struct cell vote;
    struct cell mark_cell;
    struct disk_file *hint;
    unsigned hint_slot; /* the one to write next */

    uint64_t *segments; /* first indexes, ascending; the last is the tail's */
    size_t n_segments;
    size_t segments_capacity;
    struct log_tail tail;
    unsigned syncs;            /* since free space was asked for */
    struct lapse_error poison; /* code other than OK: a write or sync failed, and nothing is done any more */

    _Atomic(bool) low_on_space;
    struct log_shared shared;
    struct snapshot_lane snapshot_lane;
};

/* log_append.c */
/* Makes FIRST.segment, durable and empty, following `after`, with room for at least `room` bytes of records, and makes
 * it the tail. */
lapse_result segment_start(struct log *log, const struct log_position *after, uint64_t room,
                           struct lapse_error *error) LAPSE_MUST_USE;
/* Opens an existing segment as the tail, its good bytes ending where `scan` says. */
lapse_result segment_resume(struct log *log, const struct segment_scan *scan, struct lapse_error *error) LAPSE_MUST_USE;
/* Writes entries at `index` (1 .. last + 1), first removing durably what stands there. Durable only after log_sync. */
lapse_result log_append(struct log *log, uint64_t index, const struct log_entry *entries, uint32_t n,
                        struct lapse_error *error) LAPSE_MUST_USE;
lapse_result log_sync(struct log *log, struct lapse_error *error) LAPSE_MUST_USE;
/* Removes the segments that hold only entries below `keep_from`, the tail never. */
lapse_result log_drop_prefix(struct log *log, uint64_t keep_from, struct lapse_error *error) LAPSE_MUST_USE;
/* Removes every segment and starts an empty one behind the snapshot. Repeatable: an intent must stand. */
lapse_result log_restart_behind(struct log *log, struct snapshot_id snapshot, struct lapse_error *error) LAPSE_MUST_USE;
/* Removes everything behind `keep` in the tail's file and zeros it. */
lapse_result tail_cut(struct log *log, uint64_t keep, struct lapse_error *error) LAPSE_MUST_USE;
void segments_push(struct log *log, uint64_t first);
void log_sample_space(struct log *log);

/* log_truncate.c */
/* Removes entries >= `index` durably; the log must hold entry `index`. */
lapse_result log_truncate(struct log *log, uint64_t index, struct lapse_error *error) LAPSE_MUST_USE;
/* The segment's whole contents, released with free(). */
lapse_result segment_load(struct disk *disk, const char *name, uint8_t **bytes, size_t *len,
                          struct lapse_error *error) LAPSE_MUST_USE;

/* log_mark.c */
lapse_result mark_write(struct log *log, const struct mark *mark, struct lapse_error *error) LAPSE_MUST_USE;
/* The mark of the log as it stands, without an intent. */
struct mark mark_now(const struct log *log);
lapse_result hint_write(struct log *log, struct lapse_error *error) LAPSE_MUST_USE;
/* The best hint that belongs to the mark with `sequence`; false when there is none. */
bool hint_read(struct disk *disk, struct disk_file *file, uint64_t sequence, struct hint *hint);

/* log_snapshot_file.c */
lapse_result snapshot_file_write(struct disk *disk, const char *name, const struct snapshot_meta *meta,
                                 struct store_view *view, struct lapse_error *error) LAPSE_MUST_USE;
/* Reads a snapshot file from front to end and verifies every byte. `feed` gets the store's bytes and may be NULL.
 * `meta` (may be NULL) is the caller's, with its configuration; set on success only. */
typedef lapse_result (*snapshot_feed_cb)(void *arg, struct slice bytes, struct lapse_error *error);
lapse_result snapshot_file_read(struct disk *disk, struct disk_file *file, const char *name, struct snapshot_meta *meta,
                                snapshot_feed_cb feed, void *arg, struct lapse_error *error) LAPSE_MUST_USE;
/* Only the metadata, from the file's first frame. */
lapse_result snapshot_file_meta(struct disk *disk, struct disk_file *file, const char *name, struct snapshot_meta *meta,
                                struct lapse_error *error) LAPSE_MUST_USE;
/* Verifies the file and builds the store it holds. */
lapse_result snapshot_file_restore(struct disk *disk, struct disk_file *file, const char *name,
                                   const struct store_options *options, struct snapshot_meta *meta,
                                   struct store **store, struct lapse_error *error) LAPSE_MUST_USE;

/* log_snapshot.c: one job of the SNAPSHOT lane */
void snapshot_lane_execute(struct log *log, struct storage_job *job);
void snapshot_lane_close(struct log *log);

/* log_recovery.c */
struct name_list {
    uint64_t *segments; /* ascending */
    size_t n_segments, segments_capacity;
    struct snapshot_id *snapshots; /* ascending */
    size_t n_snapshots, snapshots_capacity;
    bool identity, format_tmp, any; /* any: some file of ours */
    bool temporaries[8];
};

struct recovery {
    struct disk *disk;
    const struct store_options *store_options;
    struct name_list names;
    struct cell vote, mark_cell;
    struct mark mark;
    struct disk_file *hint;
    uint64_t acked_index, acked_term;
    struct log_state state;
    bool install_finish;      /* the snapshot of an INSTALL intent is in place: the log before it goes */
    size_t keep_segments;     /* names.segments[0 .. keep) stay */
    struct segment_scan tail; /* of the last one kept */
    bool cut;                 /* something follows the tail's end that must be zeroed */
};

lapse_result names_list(struct disk *disk, struct name_list *names, struct lapse_error *error) LAPSE_MUST_USE;
void name_list_free(struct name_list *names);
/* Reads and verifies everything; writes nothing. */
lapse_result recovery_run(struct recovery *recovery, struct lapse_error *error) LAPSE_MUST_USE;
void recovery_free(struct recovery *recovery);

#endif
