/* How far the log was acknowledged, so that less log than that is noticed; and intents, so that a change in several
 * steps is finished after a crash instead of being taken for damage.
 *
 * The mark itself is a cell (log_cell.h), durable, written when a segment is started, a suffix or the whole log goes,
 * and at each start. Between those, each sync of entries is followed by a hint: two sectors in the file `mark`, written
 * in turn without a sync of their own, since one more sync a commit would double its time. A hint never runs ahead of
 * what is durable; a crash of the machine may lose it, and then the mark alone counts. A hint belongs to one mark by
 * its sequence, so lowering the mark before a truncation makes all older hints void. */
#include <stdlib.h>

#include "base/check.h"
#include "raft/log_internal.h"

struct mark mark_now(const struct log *log)
{
    CHECK(log->n_segments == 0 || log->tail.synced == log->tail.at.index);
    return (struct mark){
        .index = log->tail.at.index,
        .term = log->tail.at.term,
        .segment = log->n_segments == 0 ? 0 : log->segments[log->n_segments - 1],
    };
}

lapse_result mark_write(struct log *log, const struct mark *mark, struct lapse_error *error)
{
    struct buf out;
    buf_init(&out, CELL_VALUE_MAX);
    mark_encode(&out, mark);
    lapse_result result = cell_write(&log->mark_cell, buf_slice(&out), error);
    buf_free(&out);
    return result;
}

lapse_result hint_write(struct log *log, struct lapse_error *error)
{
    struct hint hint = {log->mark_cell.sequence, log->tail.synced, log->tail.at.term};
    uint8_t sector[CELL_SIZE] = {0};
    struct buf out;
    buf_init(&out, CELL_SIZE);
    size_t mark = frame_begin(&out);
    hint_encode(&out, &hint);
    (void)frame_end(&out, mark, FRAME_HINT, 0);
    memcpy(sector, out.data, out.len);
    buf_free(&out);
    uint64_t offset = (uint64_t)log->hint_slot * CELL_SIZE;
    log->hint_slot ^= 1;
    return log->disk->ops->write(log->disk, log->hint, offset, sector, sizeof sector, error);
}

bool hint_read(struct disk *disk, struct disk_file *file, uint64_t sequence, struct hint *hint)
{
    bool found = false;
    for (uint64_t slot = 0; slot < 2; slot++) {
        uint8_t sector[CELL_SIZE];
        struct frame frame;
        struct hint read;
        /* A hint that can't be read is a hint that was lost. */
        if (!lapse_is_ok(disk->ops->read(disk, file, slot * CELL_SIZE, sector, sizeof sector, NULL)))
            continue;
        if (!frame_parse(slice_of(sector, sizeof sector), FRAME_HINT, &frame) || !hint_decode(frame.body, &read))
            continue;
        if (read.sequence == sequence && (!found || read.index > hint->index)) {
            *hint = read;
            found = true;
        }
    }
    return found;
}
