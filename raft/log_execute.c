/* Doing jobs: the LOG lane with its group commit and its poison, and the hand-over to the SNAPSHOT lane.
 *
 * A run of adjacent APPENDs is written piece by piece and synced once; a run of adjacent VOTEs is one write, of the
 * last, since none of them is answered before it is durable. A failed write or sync leaves unknown what is on the disk,
 * and after a failed fsync a second one would lie: so the log is poisoned at the first failure and does nothing more.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "raft/log_internal.h"

enum storage_lane storage_job_lane(const struct storage_job *job)
{
    switch (job->type) {
    case STORAGE_VOTE:
    case STORAGE_APPEND:
    case STORAGE_SNAPSHOT_COMMIT:
    case STORAGE_SNAPSHOT_INSTALL:
        return STORAGE_LANE_LOG;
    case STORAGE_SAVE:
    case STORAGE_READ:
    case STORAGE_RECEIVE:
    case STORAGE_RESTORE:
        return STORAGE_LANE_SNAPSHOT;
    }
    CHECK(false);
    return STORAGE_LANE_LOG;
}

void storage_job_free(struct storage_job *job)
{
    if (job == NULL)
        return;
    for (uint32_t i = 0; i < job->n_entries; i++)
        blob_unref(job->entries[i].data);
    free(job->entries);
    blob_unref(job->chunk);
    blob_unref(job->meta.configuration);
    free(job);
}

static lapse_result execute_vote(struct log *log, const struct storage_job *last, struct lapse_error *error)
{
    struct vote vote = {last->term, last->voted_for};
    struct buf out;
    buf_init(&out, CELL_VALUE_MAX);
    vote_encode(&out, &vote);
    lapse_result result = cell_write(&log->vote, buf_slice(&out), error);
    buf_free(&out);
    return result;
}

static lapse_result execute_appends(struct log *log, const struct storage_job *job, const struct storage_job *end,
                                    struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    for (; job != end && lapse_is_ok(result); job = job->next)
        result = log_append(log, job->index, job->entries, job->n_entries, error);
    return lapse_is_ok(result) ? log_sync(log, error) : result;
}

static bool same_snapshot(struct snapshot_id a, struct snapshot_id b)
{
    return a.index == b.index && a.term == b.term;
}

static lapse_result remove_snapshot(struct log *log, struct snapshot_id old, struct lapse_error *error)
{
    char name[LOG_NAME_SIZE];
    if (old.index == 0)
        return lapse_ok();
    snapshot_name(old.index, old.term, name);
    lapse_result result = log->disk->ops->unlink(log->disk, name, error);
    return lapse_is_ok(result) ? log->disk->ops->sync_directory(log->disk, error) : result;
}

/* Under the mutex: renames a complete temporary file to the snapshot in force. */
static lapse_result adopt_snapshot(struct log *log, struct snapshot_id *complete, const char *temporary,
                                   struct snapshot_id id, struct lapse_error *error)
{
    char name[LOG_NAME_SIZE];
    snapshot_name(id.index, id.term, name);
    lapse_result result = log->disk->ops->rename(log->disk, temporary, name, error);
    if (lapse_is_ok(result)) {
        log->shared.current = id;
        *complete = (struct snapshot_id){0};
    }
    return result;
}

static lapse_result check_commit(const struct log *log, struct snapshot_id id, struct lapse_error *error)
{
    if (!same_snapshot(log->shared.saved, id))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "no snapshot of entry %" PRIu64 " has been saved",
                          id.index);
    if (id.index < log->shared.current.index || id.index > log->tail.at.index)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "a snapshot of entry %" PRIu64 " does not fit the log",
                          id.index);
    return lapse_ok();
}

static lapse_result execute_commit(struct log *log, const struct storage_job *job, struct lapse_error *error)
{
    struct snapshot_id id = {job->meta.index, job->meta.term};
    pthread_mutex_lock(&log->shared.lock);
    struct snapshot_id old = log->shared.current;
    lapse_result result = check_commit(log, id, error);
    if (lapse_is_ok(result))
        result = adopt_snapshot(log, &log->shared.saved, NAME_SAVING_TMP, id, error);
    pthread_mutex_unlock(&log->shared.lock);
    /* Nothing older goes before the new name is durable. */
    if (lapse_is_ok(result))
        result = log->disk->ops->sync_directory(log->disk, error);
    if (lapse_is_ok(result) && !same_snapshot(old, id))
        result = remove_snapshot(log, old, error);
    if (lapse_is_ok(result))
        result = log_drop_prefix(log, job->keep_from <= id.index ? job->keep_from : id.index + 1, error);
    return result;
}

/* The intent is durable before the rename; from the rename on, recovery finishes what it says. The mutex is held over
 * both, so that the next transfer can't begin to overwrite the file between them. */
static lapse_result install_adopt(struct log *log, struct snapshot_id id, struct lapse_error *error)
{
    if (!same_snapshot(log->shared.received, id))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "no snapshot of entry %" PRIu64 " has been received",
                          id.index);
    if (id.index <= log->shared.current.index)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "the snapshot of entry %" PRIu64 " is not newer", id.index);
    struct mark mark = mark_now(log);
    mark.intent = INTENT_INSTALL;
    mark.intent_index = id.index;
    mark.intent_term = id.term;
    lapse_result result = mark_write(log, &mark, error);
    if (lapse_is_ok(result))
        result = adopt_snapshot(log, &log->shared.received, NAME_RECEIVING_TMP, id, error);
    return result;
}

static lapse_result execute_install(struct log *log, const struct storage_job *job, struct lapse_error *error)
{
    struct snapshot_id id = {job->meta.index, job->meta.term};
    pthread_mutex_lock(&log->shared.lock);
    struct snapshot_id old = log->shared.current;
    lapse_result result = install_adopt(log, id, error);
    pthread_mutex_unlock(&log->shared.lock);
    if (lapse_is_ok(result))
        result = log->disk->ops->sync_directory(log->disk, error);
    if (lapse_is_ok(result))
        result = remove_snapshot(log, old, error);
    if (lapse_is_ok(result))
        result = log_restart_behind(log, id, error);
    return result;
}

/* The end of the run that begins with `job`: jobs of one kind that one sync can cover. */
static struct storage_job *run_end(struct storage_job *job, struct storage_job **last)
{
    enum storage_job_type type = job->type;
    do {
        *last = job;
        job = job->next;
    } while (job != NULL && job->type == type && (type == STORAGE_APPEND || type == STORAGE_VOTE));
    return job;
}

static lapse_result execute_run(struct log *log, struct storage_job *job, struct storage_job *last,
                                struct lapse_error *error)
{
    if (log->poison.code != LAPSE_OK)
        return lapse_fail(error, LAPSE_ABORTED, "the log has stopped: %s", log->poison.message);
    switch (job->type) {
    case STORAGE_VOTE:
        return execute_vote(log, last, error);
    case STORAGE_APPEND:
        return execute_appends(log, job, last->next, error);
    case STORAGE_SNAPSHOT_COMMIT:
        return execute_commit(log, job, error);
    case STORAGE_SNAPSHOT_INSTALL:
        return execute_install(log, job, error);
    default:
        CHECK(false);
        return lapse_failed(LAPSE_INTERNAL);
    }
}

static void log_lane_execute(struct log *log, struct storage_job *jobs)
{
    while (jobs != NULL) {
        struct storage_job *last;
        struct storage_job *end = run_end(jobs, &last);
        struct lapse_error error = {0};
        lapse_result result = execute_run(log, jobs, last, &error);
        if (!lapse_is_ok(result) && log->poison.code == LAPSE_OK)
            log->poison = error;
        for (; jobs != end; jobs = jobs->next) {
            jobs->result = result;
            jobs->error = error;
        }
    }
}

void storage_execute(struct log *log, struct storage_job *jobs)
{
    if (jobs == NULL)
        return;
    if (storage_job_lane(jobs) == STORAGE_LANE_LOG) {
        log_lane_execute(log, jobs);
        return;
    }
    for (; jobs != NULL; jobs = jobs->next)
        snapshot_lane_execute(log, jobs);
}
