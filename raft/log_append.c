/* Writing entries: records into the tail segment, one sync for many of them, a new segment when one is full.
 *
 * A segment is made under a temporary name, reserved, given its header, synced, and only then named: so a segment that
 * has a name has a header, and no record is ever written to a file whose name a crash could take away. The one before
 * it is synced first: records of different segments are never in flight together. */
#include "base/check.h"
#include "raft/log_internal.h"

#include <stdlib.h>

void segments_push(struct log *log, uint64_t first)
{
    if (log->n_segments == log->segments_capacity) {
        log->segments_capacity = log->segments_capacity == 0 ? 8 : 2 * log->segments_capacity;
        log->segments = mem_realloc(log->segments, log->segments_capacity * sizeof *log->segments);
    }
    log->segments[log->n_segments++] = first;
}

void log_sample_space(struct log *log)
{
    log->syncs = 0;
    log_look_at_space(log);
}

void log_look_at_space(struct log *log)
{
    uint64_t bytes;
    if (log->reserve_bytes > 0 && lapse_is_ok(log->disk->ops->free_bytes(log->disk, &bytes, NULL)))
        atomic_store(&log->low_on_space, bytes < log->reserve_bytes);
}

/* A whole new segment file under its temporary name. */
static lapse_result segment_prepare(struct log *log, struct slice header, uint64_t size, struct lapse_error *error)
{
    const struct disk_ops *ops = log->disk->ops;
    struct disk_file *file = NULL;
    lapse_result result = ops->open(log->disk, NAME_NEXT_TMP, true, &file, error);
    if (!lapse_is_ok(result))
        return result;
    result = ops->truncate(log->disk, file, 0, error);
    if (lapse_is_ok(result))
        result = ops->reserve(log->disk, file, size, error);
    if (lapse_is_ok(result))
        result = ops->write(log->disk, file, 0, header.data, header.len, error);
    if (lapse_is_ok(result))
        result = ops->sync(log->disk, file, error);
    ops->close(log->disk, file);
    return result;
}

static lapse_result segment_publish(struct log *log, const char *name, struct disk_file **file,
                                    struct lapse_error *error)
{
    const struct disk_ops *ops = log->disk->ops;
    lapse_result result = ops->rename(log->disk, NAME_NEXT_TMP, name, error);
    if (lapse_is_ok(result))
        result = ops->sync_directory(log->disk, error);
    if (lapse_is_ok(result))
        result = ops->open(log->disk, name, false, file, error);
    return result;
}

static void tail_attach(struct log *log, struct disk_file *file, uint64_t first, uint64_t size, uint64_t offset,
                        const struct log_position *at)
{
    CHECK(log->tail.pending.len == 0);
    if (log->tail.file != NULL)
        log->disk->ops->close(log->disk, log->tail.file);
    log->tail.file = file;
    segment_name(first, log->tail.name);
    log->tail.size = size;
    log->tail.offset = offset;
    log->tail.at = *at;
    log->tail.synced = at->index;
}

lapse_result segment_start(struct log *log, const struct log_position *after, uint64_t room, struct lapse_error *error)
{
    char name[LOG_NAME_SIZE];
    struct disk_file *file = NULL;
    struct segment_header header = {after->index + 1, after->term};
    struct log_position at = *after;
    struct buf out;
    buf_init(&out, CELL_SIZE);
    size_t mark = frame_begin(&out);
    segment_header_encode(&out, &header);
    at.chain = frame_end(&out, mark, FRAME_SEGMENT, after->chain);
    uint64_t size = out.len + room > log->segment_bytes ? out.len + room : log->segment_bytes;
    uint64_t offset = out.len;

    segment_name(header.first, name);
    lapse_result result = segment_prepare(log, buf_slice(&out), size, error);
    if (lapse_is_ok(result))
        result = segment_publish(log, name, &file, error);
    if (lapse_is_ok(result)) {
        tail_attach(log, file, header.first, size, offset, &at);
        segments_push(log, header.first);
    }
    buf_free(&out);
    return result;
}

lapse_result segment_resume(struct log *log, const struct segment_scan *scan, struct lapse_error *error)
{
    char name[LOG_NAME_SIZE];
    struct disk_file *file = NULL;
    uint64_t size = 0;
    segment_name(scan->header.first, name);
    lapse_result result = log->disk->ops->open(log->disk, name, false, &file, error);
    if (!lapse_is_ok(result))
        return result;
    result = log->disk->ops->size(log->disk, file, &size, error);
    if (!lapse_is_ok(result)) {
        log->disk->ops->close(log->disk, file);
        return result;
    }
    tail_attach(log, file, scan->header.first, size, scan->end, &scan->at);
    return lapse_ok();
}

lapse_result tail_cut(struct log *log, uint64_t keep, struct lapse_error *error)
{
    const struct disk_ops *ops = log->disk->ops;
    lapse_result result = ops->truncate(log->disk, log->tail.file, keep, error);
    if (lapse_is_ok(result))
        result = ops->reserve(log->disk, log->tail.file, log->tail.size, error);
    if (lapse_is_ok(result))
        result = ops->sync(log->disk, log->tail.file, error);
    return result;
}

static lapse_result tail_flush(struct log *log, struct lapse_error *error)
{
    struct log_tail *tail = &log->tail;
    if (tail->pending.len == 0)
        return lapse_ok();
    lapse_result result = log->disk->ops->write(log->disk, tail->file, tail->offset - tail->pending.len,
                                                tail->pending.data, tail->pending.len, error);
    buf_clear(&tail->pending);
    return result;
}

lapse_result log_sync(struct log *log, struct lapse_error *error)
{
    if (log->tail.synced == log->tail.at.index)
        return lapse_ok();
    lapse_result result = tail_flush(log, error);
    if (lapse_is_ok(result))
        result = log->disk->ops->sync(log->disk, log->tail.file, error);
    if (!lapse_is_ok(result))
        return result;
    log->tail.synced = log->tail.at.index;
    if (++log->syncs >= LOG_SPACE_SAMPLE_SYNCS)
        log_sample_space(log);
    return hint_write(log, error);
}

static lapse_result rotate(struct log *log, uint64_t room, struct lapse_error *error)
{
    lapse_result result = log_sync(log, error);
    if (!lapse_is_ok(result))
        return result;
    struct log_position after = log->tail.at;
    result = segment_start(log, &after, room, error);
    if (!lapse_is_ok(result))
        return result;
    log_sample_space(log);
    struct mark mark = mark_now(log);
    return mark_write(log, &mark, error);
}

/* Room for a record that the tail can't take: a new segment, but for an empty tail, which has the right name already,
 * more space. */
static lapse_result make_room(struct log *log, uint64_t room, struct lapse_error *error)
{
    struct log_tail *tail = &log->tail;
    if (log->segments[log->n_segments - 1] != tail->at.index + 1)
        return rotate(log, room, error);
    lapse_result result = log->disk->ops->reserve(log->disk, tail->file, tail->offset + room, error);
    if (lapse_is_ok(result))
        tail->size = tail->offset + room; /* durable with the record itself */
    return result;
}

/* Appends the record to `pending`; returns its size and sets its checksum. */
static size_t record_encode(struct log *log, const struct log_entry *entry, uint32_t *checksum)
{
    struct log_tail *tail = &log->tail;
    struct entry_record record = {
        .index = tail->at.index + 1,
        .term = entry->term,
        .type = entry->type,
        .durable = tail->synced,
        .data = entry->data == NULL ? slice_of(NULL, 0) : blob_slice(entry->data),
    };
    size_t mark = frame_begin(&tail->pending);
    entry_encode(&tail->pending, &record);
    *checksum = frame_end(&tail->pending, mark, FRAME_ENTRY, tail->at.chain);
    return tail->pending.len - mark;
}

static lapse_result entry_write(struct log *log, const struct log_entry *entry, struct lapse_error *error)
{
    struct log_tail *tail = &log->tail;
    uint32_t checksum;
    if (entry->data != NULL && entry->data->len > FRAME_BODY_MAX - LOG_NAME_SIZE)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "entry of %u bytes is too large for the log",
                          entry->data->len);
    if (entry->term < tail->at.term)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "entry %llu would turn the log's term back",
                          (unsigned long long)(tail->at.index + 1));
    size_t size = record_encode(log, entry, &checksum);
    if (tail->offset + size > tail->size) {
        /* Encoded again behind the new header: it has another chain, and what it can vouch for has grown. */
        tail->pending.len -= size;
        lapse_result result = make_room(log, size + FRAME_HEADER_SIZE, error);
        if (!lapse_is_ok(result))
            return result;
        size = record_encode(log, entry, &checksum);
        CHECK(tail->offset + size <= tail->size);
    }
    tail->offset += size;
    tail->at = (struct log_position){tail->at.index + 1, entry->term, checksum};
    return tail->pending.len >= LOG_WRITE_BYTES ? tail_flush(log, error) : lapse_ok();
}

lapse_result log_append(struct log *log, uint64_t index, const struct log_entry *entries, uint32_t n,
                        struct lapse_error *error)
{
    uint64_t last = log->tail.at.index;
    lapse_result result = lapse_ok();
    if (n == 0)
        return result;
    if (index == 0 || index > last + 1)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "entry %llu would leave a gap behind entry %llu",
                          (unsigned long long)index, (unsigned long long)last);
    if (index <= last)
        result = log_truncate(log, index, error);
    for (uint32_t i = 0; i < n && lapse_is_ok(result); i++)
        result = entry_write(log, &entries[i], error);
    return result;
}

lapse_result log_drop_prefix(struct log *log, uint64_t keep_from, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    while (log->n_segments > 1 && log->segments[1] <= keep_from && lapse_is_ok(result)) {
        char name[LOG_NAME_SIZE];
        segment_name(log->segments[0], name);
        result = log->disk->ops->unlink(log->disk, name, error);
        /* One at a time, oldest first: a crash must not leave a hole that would look like a lost segment. */
        if (lapse_is_ok(result))
            result = log->disk->ops->sync_directory(log->disk, error);
        log->n_segments--;
        memmove(log->segments, log->segments + 1, log->n_segments * sizeof *log->segments);
    }
    return result;
}

lapse_result log_restart_behind(struct log *log, struct snapshot_id snapshot, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    for (size_t i = 0; i < log->n_segments && lapse_is_ok(result); i++) {
        char name[LOG_NAME_SIZE];
        segment_name(log->segments[i], name);
        result = log->disk->ops->unlink(log->disk, name, error);
    }
    log->n_segments = 0;
    if (lapse_is_ok(result))
        result = log->disk->ops->sync_directory(log->disk, error);
    struct log_position after = {snapshot.index, snapshot.term, 0};
    if (lapse_is_ok(result))
        result = segment_start(log, &after, 0, error);
    struct mark mark = mark_now(log);
    if (lapse_is_ok(result))
        result = mark_write(log, &mark, error);
    return result;
}
