/* The SNAPSHOT lane: jobs that may take seconds and that the log does not wait for.
 *
 *   SAVE      view --> saving.tmp          then COMMIT (LOG lane) renames it
 *   RECEIVE   chunks --> receiving.tmp     then INSTALL (LOG lane) renames it; RESTORE reads it before or after
 *   READ      the snapshot in force --> chunks
 *
 * What passes between the lanes is three snapshot ids in log->shared. Whoever begins to rewrite a temporary file first
 * takes back, under the mutex, the word that it is complete; whoever renames it does so under the mutex, seeing that
 * word. So a file is never renamed while it is being rewritten. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"
#include "raft/log_internal.h"

static void shared_set(struct log *log, struct snapshot_id *slot, struct snapshot_id id)
{
    pthread_mutex_lock(&log->shared.lock);
    *slot = id;
    pthread_mutex_unlock(&log->shared.lock);
}

static lapse_result job_save(struct log *log, struct storage_job *job, struct lapse_error *error)
{
    shared_set(log, &log->shared.saved, (struct snapshot_id){0});
    lapse_result result = snapshot_file_write(log->disk, NAME_SAVING_TMP, &job->meta, job->view, error);
    if (lapse_is_ok(result))
        shared_set(log, &log->shared.saved, (struct snapshot_id){job->meta.index, job->meta.term});
    return result;
}

static void close_file(struct log *log, struct disk_file **file)
{
    if (*file != NULL)
        log->disk->ops->close(log->disk, *file);
    *file = NULL;
}

static void reading_close(struct log *log)
{
    struct snapshot_lane *lane = &log->snapshot_lane;
    close_file(log, &lane->reading);
    blob_unref(lane->reading_meta.configuration);
    lane->reading_meta = (struct snapshot_meta){0};
}

/* Opens the snapshot in force. Under the mutex, so that it can't be replaced and removed between the look and the open.
 */
static lapse_result open_current(struct log *log, struct disk_file **file, char name[LOG_NAME_SIZE],
                                 struct lapse_error *error)
{
    lapse_result result;
    pthread_mutex_lock(&log->shared.lock);
    struct snapshot_id id = log->shared.current;
    snapshot_name(id.index, id.term, name);
    if (id.index == 0)
        result = lapse_fail(error, LAPSE_NOT_FOUND, "there is no snapshot yet");
    else
        result = log->disk->ops->open(log->disk, name, false, file, error);
    pthread_mutex_unlock(&log->shared.lock);
    return result;
}

static lapse_result reading_open(struct log *log, struct lapse_error *error)
{
    struct snapshot_lane *lane = &log->snapshot_lane;
    char name[LOG_NAME_SIZE];
    reading_close(log);
    lapse_result result = open_current(log, &lane->reading, name, error);
    if (!lapse_is_ok(result))
        return result;
    result = log->disk->ops->size(log->disk, lane->reading, &lane->reading_size, error);
    if (lapse_is_ok(result))
        result = snapshot_file_meta(log->disk, lane->reading, name, &lane->reading_meta, error);
    if (!lapse_is_ok(result))
        close_file(log, &lane->reading);
    return result;
}

static lapse_result job_read(struct log *log, struct storage_job *job, struct lapse_error *error)
{
    struct snapshot_lane *lane = &log->snapshot_lane;
    lapse_result result = job->offset == 0 ? reading_open(log, error) : lapse_ok();
    if (!lapse_is_ok(result))
        return result;
    if (lane->reading == NULL || job->offset >= lane->reading_size)
        return lapse_fail(error, LAPSE_OUT_OF_RANGE, "no snapshot byte %" PRIu64 ": begin at 0", job->offset);
    uint64_t left = lane->reading_size - job->offset;
    size_t len = left < LIMIT_SNAPSHOT_CHUNK ? (size_t)left : LIMIT_SNAPSHOT_CHUNK;
    uint8_t *bytes = mem_alloc(len);
    result = log->disk->ops->read(log->disk, lane->reading, job->offset, bytes, len, error);
    if (lapse_is_ok(result)) {
        job->chunk = blob_new(slice_of(bytes, len));
        job->size = lane->reading_size;
        job->last = len == left;
        blob_unref(job->meta.configuration);
        job->meta = lane->reading_meta;
        if (job->meta.configuration != NULL)
            (void)blob_ref(job->meta.configuration);
    }
    free(bytes);
    return result;
}

static lapse_result receiving_begin(struct log *log, struct lapse_error *error)
{
    struct snapshot_lane *lane = &log->snapshot_lane;
    shared_set(log, &log->shared.received, (struct snapshot_id){0});
    close_file(log, &lane->receiving);
    lane->received_bytes = 0;
    lane->received_whole = false;
    lapse_result result = log->disk->ops->open(log->disk, NAME_RECEIVING_TMP, true, &lane->receiving, error);
    if (lapse_is_ok(result))
        result = log->disk->ops->truncate(log->disk, lane->receiving, 0, error);
    return result;
}

/* Verifies every byte before the file may be installed: a bad transfer must never become this node's state. */
static lapse_result receiving_finish(struct log *log, const struct snapshot_meta *announced, struct lapse_error *error)
{
    struct snapshot_lane *lane = &log->snapshot_lane;
    struct snapshot_meta meta = {0};
    struct lapse_error why = {0};
    lapse_result result = snapshot_file_read(log->disk, lane->receiving, NAME_RECEIVING_TMP, &meta, NULL, NULL, &why);
    if (result.code == LAPSE_DATA_LOSS)
        return lapse_fail(error, LAPSE_DATA_LOSS, "the snapshot received does not verify: ask the leader for it again");
    if (!lapse_is_ok(result))
        return lapse_fail(error, result.code, "%s", why.message);
    blob_unref(meta.configuration);
    if (announced->index != 0 && (announced->index != meta.index || announced->term != meta.term))
        return lapse_fail(error, LAPSE_DATA_LOSS,
                          "the snapshot received is of entry %" PRIu64 ", not %" PRIu64 ": ask the leader for it again",
                          meta.index, announced->index);
    result = log->disk->ops->sync(log->disk, lane->receiving, error);
    if (!lapse_is_ok(result))
        return result;
    lane->received_whole = true;
    shared_set(log, &log->shared.received, (struct snapshot_id){meta.index, meta.term});
    return result;
}

static lapse_result job_receive(struct log *log, struct storage_job *job, struct lapse_error *error)
{
    struct snapshot_lane *lane = &log->snapshot_lane;
    lapse_result result = job->offset == 0 ? receiving_begin(log, error) : lapse_ok();
    if (!lapse_is_ok(result))
        return result;
    if (lane->receiving == NULL || lane->received_whole || job->offset != lane->received_bytes)
        return lapse_fail(error, LAPSE_OUT_OF_RANGE, "the next byte of the snapshot is %" PRIu64 ", not %" PRIu64,
                          lane->received_bytes, job->offset);
    if (job->chunk != NULL) {
        result =
            log->disk->ops->write(log->disk, lane->receiving, job->offset, job->chunk->data, job->chunk->len, error);
        lane->received_bytes += job->chunk->len;
    }
    return lapse_is_ok(result) && job->last ? receiving_finish(log, &job->meta, error) : result;
}

static lapse_result job_restore(struct log *log, struct storage_job *job, struct lapse_error *error)
{
    struct snapshot_lane *lane = &log->snapshot_lane;
    struct snapshot_meta meta = {0};
    if (!lane->received_whole)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "no snapshot has been received");
    lapse_result result =
        snapshot_file_restore(log->disk, lane->receiving, NAME_RECEIVING_TMP,
                              log->has_store_options ? &log->store_options : NULL, &meta, &job->store, error);
    blob_unref(meta.configuration);
    return result;
}

void snapshot_lane_execute(struct log *log, struct storage_job *job)
{
    struct lapse_error error = {0};
    switch (job->type) {
    case STORAGE_SAVE:
        job->result = job_save(log, job, &error);
        break;
    case STORAGE_READ:
        job->result = job_read(log, job, &error);
        break;
    case STORAGE_RECEIVE:
        job->result = job_receive(log, job, &error);
        break;
    case STORAGE_RESTORE:
        job->result = job_restore(log, job, &error);
        break;
    default:
        CHECK(false);
    }
    job->error = error;
}

void snapshot_lane_close(struct log *log)
{
    reading_close(log);
    close_file(log, &log->snapshot_lane.receiving);
}
