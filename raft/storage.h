/* The jobs a replica gives to its disk, and how they are done.
 *
 * A replica never waits for a disk. It fills a `struct storage_job`, hands it to its driver, and gets it back through
 * replica_storage_done() when it is done. In `lapsed` the driver is a pair of threads (raft/disk_thread.h); in the simulator it
 * runs the very same storage_execute() over a virtual disk when virtual time says so.
 *
 *   lane LOG        VOTE, APPEND, SNAPSHOT_COMMIT, SNAPSHOT_INSTALL    strictly in order; one sync for a run of appends
 *   lane SNAPSHOT   SAVE, READ, RECEIVE, RESTORE                       strictly in order; may take seconds
 *
 * The lanes touch different files, so one thread each is safe. Any result other than OK from the LOG lane ends the node: the
 * disk's state is then unknown. A job is owned by whoever holds it; the submitter frees it. */
#ifndef LAPSE_RAFT_STORAGE_H
#define LAPSE_RAFT_STORAGE_H

#include "base/bytes.h"

struct store;
struct store_view;
struct store_options;

/* Entry types are libraft's (RAFT_COMMAND = 1, RAFT_BARRIER = 2, RAFT_CHANGE = 3). */
struct log_entry {
    uint64_t term;
    uint8_t type;
    struct blob *data; /* shared and immutable; NULL when empty */
};

struct snapshot_meta {
    uint64_t index; /* of the last entry it includes */
    uint64_t term;
    uint64_t configuration_index;
    struct blob *configuration; /* libraft's encoding */
};

enum storage_lane { STORAGE_LANE_LOG, STORAGE_LANE_SNAPSHOT };

enum storage_job_type {
    STORAGE_VOTE,             /* make (term, voted_for) durable */
    STORAGE_APPEND,           /* make entries from `index` on durable, replacing what stood there */
    STORAGE_SNAPSHOT_COMMIT,  /* the saved file becomes the snapshot; entries before `keep_from` may go */
    STORAGE_SNAPSHOT_INSTALL, /* the received file becomes the snapshot and the whole log goes (it restarts behind meta.index) */
    STORAGE_SAVE,             /* write `view` with `meta` to the file that COMMIT renames */
    STORAGE_READ,             /* read up to LIMIT_SNAPSHOT_CHUNK bytes of the current snapshot file at `offset` into `chunk` */
    STORAGE_RECEIVE,          /* write `chunk` at `offset` of the file that INSTALL renames (offset 0 starts it anew); `last`: verify it whole */
    STORAGE_RESTORE           /* build a store from the received, verified file */
};

struct storage_job {
    enum storage_job_type type;
    /* VOTE */
    uint64_t term;
    uint64_t voted_for;
    /* APPEND: `entries` holds one blob reference each, owned by the job */
    uint64_t index;
    struct log_entry *entries;
    uint32_t n_entries;
    /* snapshots */
    struct snapshot_meta meta; /* in; READ: out (of the file read, so that a newer snapshot is noticed) */
    uint64_t keep_from;
    struct store_view *view;   /* SAVE: read on the lane's thread; freed by the submitter afterwards */
    uint64_t offset;
    struct blob *chunk;        /* READ: out; RECEIVE: in */
    bool last;                 /* READ: out; RECEIVE: in */
    uint64_t size;             /* READ: out, whole size of the file */
    struct store *store;       /* RESTORE: out */
    /* out */
    lapse_result result;
    struct lapse_error error;
    /* for the submitter, untouched by the lanes */
    uint64_t tag;
    void *owner;
    int64_t submitted_us;
    struct storage_job *next;
};

enum storage_lane storage_job_lane(const struct storage_job *job);

struct log;

/* Does the jobs of one lane in order and sets their results. `jobs` is a list linked by `next` (left as it is); adjacent APPENDs and
 * VOTEs are covered by as few syncs as their order allows. After a failed LOG job the later ones of the list fail with ABORTED and the
 * log refuses all further work. Blocking; call it on the lane's thread only. */
void storage_execute(struct log *log, struct storage_job *jobs);

/* Releases what a job holds (entries, chunk, meta.configuration) and the job. Accepts NULL. View and store are the submitter's. */
void storage_job_free(struct storage_job *job);

#endif
