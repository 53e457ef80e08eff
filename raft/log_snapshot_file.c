/* The snapshot file: a frame with its metadata, frames with the store's bytes, and a frame that says how many those
 * were.
 *
 *   | SNAPSHOT: meta | BLOCK | BLOCK | ... | END: bytes, blocks |      nothing follows
 *
 * The chain of checksums runs through all of them, so a block that is missing, doubled or from another file is noticed
 * as surely as a flipped bit. The same bytes travel to a follower, which verifies them in the same way before it
 * believes any. */
#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"
#include "raft/log_internal.h"

/* Synced piece by piece: the log shares the disk, and its next sync would otherwise wait for all of it at once. */
#define SYNC_BYTES (8u * 1024 * 1024)

struct snapshot_writer {
    struct disk *disk;
    struct disk_file *file;
    struct buf out;
    uint64_t offset, synced;
    uint32_t chain;
    struct snapshot_end end;
};

/* Seals the frame begun at the front of `out` and writes it. */
static lapse_result writer_put(struct snapshot_writer *writer, enum frame_kind kind, struct lapse_error *error)
{
    writer->chain = frame_end(&writer->out, 0, kind, writer->chain);
    lapse_result result =
        writer->disk->ops->write(writer->disk, writer->file, writer->offset, writer->out.data, writer->out.len, error);
    writer->offset += writer->out.len;
    buf_clear(&writer->out);
    if (!lapse_is_ok(result) || writer->offset - writer->synced < SYNC_BYTES)
        return result;
    writer->synced = writer->offset;
    return writer->disk->ops->sync(writer->disk, writer->file, error);
}

static lapse_result write_blocks(struct snapshot_writer *writer, struct store_view *view, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    for (bool done = false; !done && lapse_is_ok(result);) {
        size_t mark = frame_begin(&writer->out);
        result = store_view_read(view, LIMIT_SNAPSHOT_CHUNK, &writer->out, &done);
        if (!lapse_is_ok(result))
            return lapse_fail(error, result.code, "the store's snapshot can't be encoded");
        uint64_t bytes = writer->out.len - mark - FRAME_HEADER_SIZE;
        writer->end.bytes += bytes;
        writer->end.blocks++;
        result = writer_put(writer, FRAME_BLOCK, error);
    }
    return result;
}

static lapse_result write_whole(struct snapshot_writer *writer, const struct snapshot_meta *meta,
                                struct store_view *view, struct lapse_error *error)
{
    (void)frame_begin(&writer->out);
    snapshot_meta_encode(&writer->out, meta);
    lapse_result result = writer_put(writer, FRAME_SNAPSHOT, error);
    if (lapse_is_ok(result))
        result = write_blocks(writer, view, error);
    if (!lapse_is_ok(result))
        return result;
    (void)frame_begin(&writer->out);
    snapshot_end_encode(&writer->out, &writer->end);
    result = writer_put(writer, FRAME_END, error);
    if (lapse_is_ok(result))
        result = writer->disk->ops->sync(writer->disk, writer->file, error);
    return result;
}

lapse_result snapshot_file_write(struct disk *disk, const char *name, const struct snapshot_meta *meta,
                                 struct store_view *view, struct lapse_error *error)
{
    struct snapshot_writer writer = {.disk = disk};
    lapse_result result = disk->ops->open(disk, name, true, &writer.file, error);
    if (!lapse_is_ok(result))
        return result;
    buf_init(&writer.out, FRAME_BODY_MAX);
    result = disk->ops->truncate(disk, writer.file, 0, error);
    if (lapse_is_ok(result))
        result = write_whole(&writer, meta, view, error);
    buf_free(&writer.out);
    disk->ops->close(disk, writer.file);
    return result;
}

struct snapshot_reader {
    struct disk *disk;
    struct disk_file *file;
    const char *name;
    uint64_t size;
    uint64_t offset;
    uint32_t chain;
    uint8_t *bytes;
    size_t capacity;
    struct frame frame; /* the last one read; its body is valid until the next */
};

static lapse_result reader_fault(const struct snapshot_reader *reader, const char *what, struct lapse_error *error)
{
    return log_corrupt(error, reader->name, reader->offset, "%s", what);
}

static lapse_result reader_fetch(struct snapshot_reader *reader, size_t len, struct lapse_error *error)
{
    if (len > reader->capacity) {
        reader->bytes = mem_realloc(reader->bytes, len);
        reader->capacity = len;
    }
    lapse_result result =
        reader->disk->ops->read(reader->disk, reader->file, reader->offset, reader->bytes, len, error);
    return result.code == LAPSE_OUT_OF_RANGE ? reader_fault(reader, "the snapshot is cut short", error) : result;
}

/* Reads and verifies the next frame, which must be a BLOCK, an END when `or_end`, or a SNAPSHOT at the front. */
static lapse_result reader_next(struct snapshot_reader *reader, enum frame_kind kind, bool or_end, bool *ended,
                                struct lapse_error *error)
{
    lapse_result result = reader_fetch(reader, FRAME_HEADER_SIZE, error);
    if (!lapse_is_ok(result))
        return result;
    struct slice header = slice_of(reader->bytes, FRAME_HEADER_SIZE);
    size_t size = frame_peek(header, kind);
    *ended = size == 0 && or_end;
    if (*ended)
        size = frame_peek(header, FRAME_END);
    if (size == 0 || size > reader->size - reader->offset)
        return reader_fault(reader, "a block's header is damaged", error);
    result = reader_fetch(reader, size, error);
    if (!lapse_is_ok(result))
        return result;
    if (!frame_parse(slice_of(reader->bytes, size), *ended ? FRAME_END : kind, &reader->frame) ||
        reader->frame.previous != reader->chain)
        return reader_fault(reader, "a block does not verify", error);
    reader->chain = reader->frame.checksum;
    return lapse_ok();
}

static lapse_result reader_open(struct snapshot_reader *reader, struct snapshot_meta *meta, struct lapse_error *error)
{
    bool ended;
    lapse_result result = reader->disk->ops->size(reader->disk, reader->file, &reader->size, error);
    if (lapse_is_ok(result))
        result = reader_next(reader, FRAME_SNAPSHOT, false, &ended, error);
    if (!lapse_is_ok(result))
        return result;
    if (!snapshot_meta_decode(reader->frame.body, meta))
        return reader_fault(reader, "its metadata is malformed or of a newer version", error);
    reader->offset += reader->frame.size;
    return lapse_ok();
}

static lapse_result read_end(struct snapshot_reader *reader, const struct snapshot_end *seen, struct lapse_error *error)
{
    struct snapshot_end end;
    if (!snapshot_end_decode(reader->frame.body, &end) || end.bytes != seen->bytes || end.blocks != seen->blocks)
        return reader_fault(reader, "its blocks are not those that were written", error);
    reader->offset += reader->frame.size;
    if (reader->offset != reader->size)
        return reader_fault(reader, "something follows the snapshot's end", error);
    return lapse_ok();
}

static lapse_result read_blocks(struct snapshot_reader *reader, snapshot_feed_cb feed, void *arg,
                                struct lapse_error *error)
{
    struct snapshot_end seen = {0};
    for (;;) {
        bool ended;
        lapse_result result = reader_next(reader, FRAME_BLOCK, true, &ended, error);
        if (!lapse_is_ok(result))
            return result;
        if (ended)
            return read_end(reader, &seen, error);
        if (feed != NULL) {
            struct lapse_error why = {0};
            result = feed(arg, reader->frame.body, &why);
            if (!lapse_is_ok(result))
                return log_corrupt(error, reader->name, reader->offset, "%s", why.message);
        }
        seen.bytes += reader->frame.body.len;
        seen.blocks++;
        reader->offset += reader->frame.size;
    }
}

lapse_result snapshot_file_read(struct disk *disk, struct disk_file *file, const char *name, struct snapshot_meta *meta,
                                snapshot_feed_cb feed, void *arg, struct lapse_error *error)
{
    struct snapshot_reader reader = {.disk = disk, .file = file, .name = name};
    struct snapshot_meta read = {0};
    lapse_result result = reader_open(&reader, &read, error);
    if (lapse_is_ok(result))
        result = read_blocks(&reader, feed, arg, error);
    free(reader.bytes);
    if (lapse_is_ok(result) && meta != NULL)
        *meta = read;
    else
        blob_unref(read.configuration);
    return result;
}

lapse_result snapshot_file_meta(struct disk *disk, struct disk_file *file, const char *name, struct snapshot_meta *meta,
                                struct lapse_error *error)
{
    struct snapshot_reader reader = {.disk = disk, .file = file, .name = name};
    lapse_result result = reader_open(&reader, meta, error);
    free(reader.bytes);
    return result;
}

static lapse_result restore_feed(void *arg, struct slice bytes, struct lapse_error *error)
{
    return store_restore_feed(arg, bytes, error);
}

lapse_result snapshot_file_restore(struct disk *disk, struct disk_file *file, const char *name,
                                   const struct store_options *options, struct snapshot_meta *meta,
                                   struct store **store, struct lapse_error *error)
{
    struct store_restore *restore = store_restore_begin(options);
    struct snapshot_meta read = {0};
    struct lapse_error why = {0};
    lapse_result result = snapshot_file_read(disk, file, name, &read, restore_feed, restore, error);
    if (!lapse_is_ok(result)) {
        store_restore_abort(restore);
        return result;
    }
    struct store *built = NULL;
    result = store_restore_end(restore, &built, &why);
    if (!lapse_is_ok(result)) {
        blob_unref(read.configuration);
        return log_corrupt(error, name, 0, "%s", why.message);
    }
    *meta = read;
    *store = built;
    return lapse_ok();
}
