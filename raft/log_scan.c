#include "raft/log_scan.h"

static bool all_zero(struct slice bytes)
{
    return bytes.len == 0 || (bytes.data[0] == 0 && memcmp(bytes.data, bytes.data + 1, bytes.len - 1) == 0);
}

static struct slice rest(struct slice bytes, uint64_t offset)
{
    return offset >= bytes.len ? slice_of(NULL, 0) : slice_of(bytes.data + offset, bytes.len - (size_t)offset);
}

static bool read_header(struct slice bytes, struct segment_scan *scan)
{
    struct frame frame;
    if (!frame_parse(bytes, FRAME_SEGMENT, &frame) || !segment_header_decode(frame.body, &scan->header))
        return false;
    if (scan->header.first == 0)
        return false;
    scan->previous = frame.previous;
    scan->at = (struct log_position){scan->header.first - 1, scan->header.previous_term, frame.checksum};
    scan->end = frame.size;
    return true;
}

/* Reads the record at scan->end if it is the one that must stand there. */
static bool read_next(struct slice bytes, struct segment_scan *scan, struct frame *frame, struct entry_record *entry)
{
    if (!frame_parse(rest(bytes, scan->end), FRAME_ENTRY, frame) || !entry_decode(frame->body, entry))
        return false;
    if (frame->previous != scan->at.chain || entry->index != scan->at.index + 1)
        return false;
    if (entry->term < scan->at.term) {
        scan->fault = "the term goes backwards";
        return false;
    }
    return true;
}

/* Looks for a record behind `end` that was written when entry at.index + 1 had already been synced. Records are 8-byte
 * aligned. */
static uint64_t find_witness(struct slice bytes, const struct segment_scan *scan)
{
    uint64_t bad = scan->at.index + 1;
    for (uint64_t offset = scan->end; offset + FRAME_HEADER_SIZE <= bytes.len; offset += 8) {
        struct frame frame;
        struct entry_record entry;
        if (!frame_parse(rest(bytes, offset), FRAME_ENTRY, &frame) || !entry_decode(frame.body, &entry))
            continue;
        if (entry.index >= bad && entry.durable >= bad)
            return offset;
    }
    return 0;
}

void segment_scan(struct slice bytes, uint64_t stop_at, segment_visit_cb visit, void *arg, struct segment_scan *scan)
{
    *scan = (struct segment_scan){0};
    scan->header_ok = read_header(bytes, scan);
    if (!scan->header_ok)
        return;
    for (;;) {
        struct frame frame;
        struct entry_record entry;
        if (scan->at.index + 1 >= stop_at) {
            scan->stopped = true;
            return;
        }
        if (!read_next(bytes, scan, &frame, &entry))
            break;
        if (visit != NULL)
            visit(arg, scan->end, &entry);
        scan->at = (struct log_position){entry.index, entry.term, frame.checksum};
        scan->end += frame.size;
    }
    scan->clean = scan->fault == NULL && all_zero(rest(bytes, scan->end));
    if (!scan->clean && scan->fault == NULL)
        scan->witness = find_witness(bytes, scan);
}
