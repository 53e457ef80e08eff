/* A data directory as a small set of blocking file operations: what the log and the snapshots are written with.
 *
 * Implementations: disk_posix.c (a real directory) and the simulator's virtual disk, which loses and tears unsynced writes
 * in a crash. Names are plain file names inside the directory. All calls return UNAVAILABLE for I/O errors,
 * RESOURCE_EXHAUSTED for a full disk, NOT_FOUND for a missing file, with a message that names the file and the cause. */
#ifndef LAPSE_RAFT_DISK_H
#define LAPSE_RAFT_DISK_H

#include "base/bytes.h"

struct disk;
struct disk_file;

struct disk_ops {
    /* Opens for reading and writing; `create`: makes it if absent (0600). The new name is durable only after sync_directory. */
    lapse_result (*open)(struct disk *disk, const char *name, bool create, struct disk_file **file, struct lapse_error *error);
    void (*close)(struct disk *disk, struct disk_file *file);
    lapse_result (*size)(struct disk *disk, struct disk_file *file, uint64_t *size, struct lapse_error *error);
    /* Reads exactly `len` bytes; OUT_OF_RANGE when the file ends before. */
    lapse_result (*read)(struct disk *disk, struct disk_file *file, uint64_t offset, void *data, size_t len, struct lapse_error *error);
    lapse_result (*write)(struct disk *disk, struct disk_file *file, uint64_t offset, const void *data, size_t len,
                          struct lapse_error *error);
    lapse_result (*truncate)(struct disk *disk, struct disk_file *file, uint64_t size, struct lapse_error *error);
    /* Makes the file's data durable (fdatasync). */
    lapse_result (*sync)(struct disk *disk, struct disk_file *file, struct lapse_error *error);
    /* Reserves space so that later writes below `size` don't grow the file (posix_fallocate); zeros are read there. */
    lapse_result (*reserve)(struct disk *disk, struct disk_file *file, uint64_t size, struct lapse_error *error);
    lapse_result (*rename)(struct disk *disk, const char *from, const char *to, struct lapse_error *error);
    lapse_result (*unlink)(struct disk *disk, const char *name, struct lapse_error *error);
    /* Makes created, renamed and unlinked names durable. */
    lapse_result (*sync_directory)(struct disk *disk, struct lapse_error *error);
    lapse_result (*list)(struct disk *disk, void (*each)(void *arg, const char *name), void *arg, struct lapse_error *error);
    lapse_result (*free_bytes)(struct disk *disk, uint64_t *bytes, struct lapse_error *error);
    void (*destroy)(struct disk *disk);
};

struct disk {
    const struct disk_ops *ops;
};

/* Opens an existing directory of mode 0700 owned by this user and takes an exclusive lock on it, held until destroy:
 * FAILED_PRECONDITION when another process has it, PERMISSION_DENIED when others could read it. */
lapse_result disk_posix_open(const char *path, struct disk **disk, struct lapse_error *error) LAPSE_MUST_USE;

#endif
