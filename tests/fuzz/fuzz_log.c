/* A segment's and a snapshot's bytes, as a damaged disk or a hostile leader would give them. The first byte chooses.
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice bytes = slice_of(data + 1, size - 1);
    if (data[0] & 1)
        fuzz_segment(bytes);
    else
        fuzz_snapshot(bytes);
    return 0;
}
