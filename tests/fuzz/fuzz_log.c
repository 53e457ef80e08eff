/* A segment's and a snapshot's bytes, as a damaged disk or a hostile leader would give them. The first byte chooses,
 * and says whether the frames are sealed again first: whoever writes damage on purpose also writes its checksum.
 * Whatever comes in: no crash, no read out of bounds, and what is accepted stays inside its file. */
#include <stdlib.h>

#include "base/check.h"
#include "raft/log_internal.h"
#include "tests/sim/virtual_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t offset;
    uint64_t index;
};

static void on_entry(void *arg, uint64_t offset, const struct entry_record *entry)
{
    struct seen *seen = arg;
    CHECK(offset > seen->offset);
    CHECK(seen->index == 0 || entry->index == seen->index + 1);
    *seen = (struct seen){offset, entry->index};
}

static void fuzz_segment(struct slice bytes)
{
    struct segment_scan scan;
    struct seen seen = {0};
    segment_scan(bytes, UINT64_MAX, on_entry, &seen, &scan);
    CHECK(scan.end <= bytes.len && scan.witness < (bytes.len == 0 ? 1 : bytes.len));
    CHECK(!scan.header_ok || scan.at.index + 1 >= scan.header.first);
    /* Cutting where the scan ended gives the same log. */
    struct segment_scan again;
    segment_scan(slice_of(bytes.data, (size_t)scan.end), UINT64_MAX, NULL, NULL, &again);
    CHECK(again.at.index == scan.at.index && again.at.chain == scan.at.chain && again.witness == 0);
}

static void fuzz_snapshot(struct slice bytes)
{
    struct disk *disk = virtual_disk_new();
    struct disk_file *file = NULL;
    struct snapshot_meta meta = {0};
    struct store *store = NULL;
    virtual_disk_put(disk, "snapshot", bytes);
    lapse_result result = disk->ops->open(disk, "snapshot", false, &file, NULL);
    CHECK(lapse_is_ok(result));
    result = snapshot_file_restore(disk, file, "snapshot", NULL, &meta, &store, NULL);
    CHECK(lapse_is_ok(result) == (store != NULL));
    store_free(store);
    blob_unref(meta.configuration);
    disk->ops->close(disk, file);
    virtual_disk_free(disk);
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void append(struct buf *out, const void *data, size_t len)
{
    lapse_result result = buf_append(out, data, len);
    CHECK(lapse_is_ok(result));
}

/* The same frames with right checksums, each chained to the one before; from the first thing that is no frame on, the
 * same bytes. */
static void seal_again(struct slice bytes, struct buf *out)
{
    uint32_t previous = bytes.len >= FRAME_HEADER_SIZE ? get_u32(bytes.data + 8) : 0;
    while (bytes.len >= FRAME_HEADER_SIZE) {
        enum frame_kind kind = (enum frame_kind)get_u32(bytes.data);
        size_t size = kind >= FRAME_IDENTITY ? frame_peek(bytes, kind) : 0;
        if (size == 0 || size > bytes.len)
            break;
        size_t mark = frame_begin(out);
        append(out, bytes.data + FRAME_HEADER_SIZE, get_u32(bytes.data + 4));
        previous = frame_end(out, mark, kind, previous);
        bytes = slice_of(bytes.data + size, bytes.len - size);
    }
    append(out, bytes.data, bytes.len);
}

static void fuzz(struct slice bytes, bool segment)
{
    if (segment)
        fuzz_segment(bytes);
    else
        fuzz_snapshot(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf sealed;
    if (size == 0)
        return 0;
    struct slice bytes = slice_of(data + 1, size - 1);
    buf_init(&sealed, 2 * size + FRAME_HEADER_SIZE);
    if (data[0] & 2)
        seal_again(bytes, &sealed);
    fuzz(data[0] & 2 ? buf_slice(&sealed) : bytes, data[0] & 1);
    buf_free(&sealed);
    return 0;
}
