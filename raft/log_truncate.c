/* Removing a suffix that a new leader's entries replace, so that no crash brings any of it back.
 *
 *   1. the mark is lowered and says "entries from INDEX on are going" (durable)
 *   2. the segments wholly behind INDEX are removed, the directory synced
 *   3. the segment with INDEX is cut to the record before it and reserved again, which zeros the rest (synced)
 *   4. the mark says that nothing is under way (durable)
 *   5. only now are new records written
 *
 * A crash before 4 finds the intent and does 2 and 3 again. The old records are gone from the disk before the first new
 * one is written, so none can follow it; were the disk to lie about 3, the chain of checksums would still give the old
 * ones away. Dropping the suffix before its replacement is durable is safe: entries that conflict with a leader's were
 * never committed. */
#include <stdlib.h>

#include "raft/log_internal.h"

lapse_result segment_load(struct disk *disk, const char *name, uint8_t **bytes, size_t *len, struct lapse_error *error)
{
    struct disk_file *file = NULL;
    uint8_t *data = NULL;
    uint64_t size = 0;
    lapse_result result = disk->ops->open(disk, name, false, &file, error);
    if (!lapse_is_ok(result))
        return result;
    result = disk->ops->size(disk, file, &size, error);
    if (lapse_is_ok(result)) {
        data = mem_alloc((size_t)size);
        result = disk->ops->read(disk, file, 0, data, (size_t)size, error);
    }
    disk->ops->close(disk, file);
    if (!lapse_is_ok(result)) {
        free(data);
        return result;
    }
    *bytes = data;
    *len = (size_t)size;
    return lapse_ok();
}

/* The number of segments that begin at or before `index`. */
static size_t segments_through(const struct log *log, uint64_t index)
{
    size_t n = log->n_segments;
    while (n > 0 && log->segments[n - 1] > index)
        n--;
    return n;
}

/* Finds the place right before entry `index` in the segment that holds it. */
static lapse_result find_cut(struct log *log, uint64_t first, uint64_t index, struct segment_scan *scan,
                             struct lapse_error *error)
{
    char name[LOG_NAME_SIZE];
    uint8_t *bytes = NULL;
    size_t len = 0;
    segment_name(first, name);
    lapse_result result = segment_load(log->disk, name, &bytes, &len, error);
    if (!lapse_is_ok(result))
        return result;
    segment_scan(slice_of(bytes, len), index, NULL, NULL, scan);
    free(bytes);
    if (!scan->header_ok || !scan->stopped)
        return log_corrupt(error, name, scan->end, "a record that was written does not verify");
    return lapse_ok();
}

static lapse_result drop_behind(struct log *log, size_t keep, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    if (log->n_segments == keep)
        return result;
    while (log->n_segments > keep && lapse_is_ok(result)) {
        char name[LOG_NAME_SIZE];
        segment_name(log->segments[--log->n_segments], name);
        result = log->disk->ops->unlink(log->disk, name, error);
    }
    if (lapse_is_ok(result))
        result = log->disk->ops->sync_directory(log->disk, error);
    return result;
}

lapse_result log_truncate(struct log *log, uint64_t index, struct lapse_error *error)
{
    struct segment_scan scan;
    pthread_mutex_lock(&log->shared.lock);
    uint64_t snapshot = log->shared.current.index;
    pthread_mutex_unlock(&log->shared.lock);
    size_t keep = segments_through(log, index);
    if (index <= snapshot || keep == 0)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "entry %llu is part of a snapshot and can't be replaced",
                          (unsigned long long)index);
    /* What is pending may belong to jobs that come before this one. */
    lapse_result result = log_sync(log, error);
    if (lapse_is_ok(result))
        result = find_cut(log, log->segments[keep - 1], index, &scan, error);
    if (!lapse_is_ok(result))
        return result;
    struct mark mark = {index - 1, scan.at.term, log->segments[keep - 1], INTENT_TRUNCATE, index, 0};
    result = mark_write(log, &mark, error);
    if (lapse_is_ok(result))
        result = drop_behind(log, keep, error);
    if (lapse_is_ok(result))
        result = segment_resume(log, &scan, error);
    if (lapse_is_ok(result))
        result = tail_cut(log, scan.end, error);
    mark = mark_now(log);
    return lapse_is_ok(result) ? mark_write(log, &mark, error) : result;
}
