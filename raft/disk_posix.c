/* A data directory on a real file system.
 *
 * All names are resolved relative to the directory's descriptor, which also holds the lock: two processes on one
 * directory would write one vote twice. Interrupted and short transfers are finished here; every other failure is
 * reported once and never retried, because after a failed fsync the kernel may have dropped the very pages that a
 * second one would call clean. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/check.h"
#include "raft/disk.h"

struct disk_posix {
    struct disk base;
    int fd;
};

struct disk_file {
    int fd;
    char name[NAME_MAX + 1]; /* for messages: what it was called when it was opened */
};

static struct disk_posix *posix_of(struct disk *disk)
{
    return CONTAINER_OF(disk, struct disk_posix, base);
}

/* The one place where errno becomes a result. */
static lapse_result io_fail(struct lapse_error *error, const char *verb, const char *name, int cause)
{
    char text[96];
    const char *why = strerror_r(cause, text, sizeof text);
    if (cause == ENOSPC || cause == EDQUOT)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "%s: cannot %s: %s; free some space", name, verb, why);
    if (cause == ENOENT)
        return lapse_fail(error, LAPSE_NOT_FOUND, "%s: cannot %s: %s", name, verb, why);
    return lapse_fail(error, LAPSE_UNAVAILABLE, "%s: cannot %s: %s; check the disk and the kernel's log", name, verb,
                      why);
}

static lapse_result posix_open(struct disk *disk, const char *name, bool create, struct disk_file **file,
                               struct lapse_error *error)
{
    CHECK(strlen(name) <= NAME_MAX && strchr(name, '/') == NULL);
    int fd;
    do {
        fd = openat(posix_of(disk)->fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return io_fail(error, create ? "create" : "open", name, errno);
    struct disk_file *opened = mem_calloc(1, sizeof *opened);
    opened->fd = fd;
    (void)snprintf(opened->name, sizeof opened->name, "%s", name);
    *file = opened;
    return lapse_ok();
}

static void posix_close(struct disk *disk, struct disk_file *file)
{
    (void)disk;
    if (file == NULL)
        return;
    (void)close(file->fd); /* nothing unsynced matters at this point: durability is sync's business alone */
    free(file);
}

static lapse_result posix_size(struct disk *disk, struct disk_file *file, uint64_t *size, struct lapse_error *error)
{
    (void)disk;
    struct stat stat;
    if (fstat(file->fd, &stat) != 0)
        return io_fail(error, "stat", file->name, errno);
    *size = (uint64_t)stat.st_size;
    return lapse_ok();
}

static lapse_result posix_read(struct disk *disk, struct disk_file *file, uint64_t offset, void *data, size_t len,
                               struct lapse_error *error)
{
    (void)disk;
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(file->fd, (char *)data + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return io_fail(error, "read", file->name, errno);
        if (n == 0)
            return lapse_fail(error, LAPSE_OUT_OF_RANGE, "%s: ends at byte %llu", file->name,
                              (unsigned long long)(offset + done));
        done += (size_t)n;
    }
    return lapse_ok();
}

static lapse_result posix_write(struct disk *disk, struct disk_file *file, uint64_t offset, const void *data,
                                size_t len, struct lapse_error *error)
{
    (void)disk;
    size_t done = 0;
    while (done < len) {
        ssize_t n = pwrite(file->fd, (const char *)data + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return io_fail(error, "write", file->name, n < 0 ? errno : ENOSPC);
        done += (size_t)n;
    }
    return lapse_ok();
}

static lapse_result posix_truncate(struct disk *disk, struct disk_file *file, uint64_t size, struct lapse_error *error)
{
    (void)disk;
    int rc;
    do {
        rc = ftruncate(file->fd, (off_t)size);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? lapse_ok() : io_fail(error, "truncate", file->name, errno);
}

static lapse_result posix_sync(struct disk *disk, struct disk_file *file, struct lapse_error *error)
{
    (void)disk;
    /* Not repeated on any error, EINTR included: see the top of this file. */
    return fdatasync(file->fd) == 0 ? lapse_ok() : io_fail(error, "sync", file->name, errno);
}

static lapse_result posix_reserve(struct disk *disk, struct disk_file *file, uint64_t size, struct lapse_error *error)
{
    (void)disk;
    int cause;
    do {
        cause = posix_fallocate(file->fd, 0, (off_t)size);
    } while (cause == EINTR);
    return cause == 0 ? lapse_ok() : io_fail(error, "reserve space for", file->name, cause);
}

static lapse_result posix_rename(struct disk *disk, const char *from, const char *to, struct lapse_error *error)
{
    int fd = posix_of(disk)->fd;
    return renameat(fd, from, fd, to) == 0 ? lapse_ok() : io_fail(error, "rename", from, errno);
}

static lapse_result posix_unlink(struct disk *disk, const char *name, struct lapse_error *error)
{
    return unlinkat(posix_of(disk)->fd, name, 0) == 0 ? lapse_ok() : io_fail(error, "remove", name, errno);
}

static lapse_result posix_sync_directory(struct disk *disk, struct lapse_error *error)
{
    return fsync(posix_of(disk)->fd) == 0 ? lapse_ok() : io_fail(error, "sync", "data directory", errno);
}

static lapse_result posix_list(struct disk *disk, void (*each)(void *arg, const char *name), void *arg,
                               struct lapse_error *error)
{
    /* A second description of the directory: the stream's position must not be shared with the lock's descriptor. */
    int fd = openat(posix_of(disk)->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return io_fail(error, "open", "data directory", errno);
    DIR *stream = fdopendir(fd);
    if (stream == NULL) {
        int cause = errno;
        (void)close(fd);
        return io_fail(error, "list", "data directory", cause);
    }
    struct dirent *entry;
    for (errno = 0; (entry = readdir(stream)) != NULL; errno = 0) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            each(arg, entry->d_name);
    }
    int cause = errno;
    (void)closedir(stream);
    return cause == 0 ? lapse_ok() : io_fail(error, "list", "data directory", cause);
}

static lapse_result posix_free_bytes(struct disk *disk, uint64_t *bytes, struct lapse_error *error)
{
    struct statvfs stat;
    if (fstatvfs(posix_of(disk)->fd, &stat) != 0)
        return io_fail(error, "measure the space of", "data directory", errno);
    *bytes = (uint64_t)stat.f_bavail * stat.f_frsize;
    return lapse_ok();
}

static void posix_destroy(struct disk *disk)
{
    if (disk == NULL)
        return;
    struct disk_posix *posix = posix_of(disk);
    if (posix->fd >= 0)
        (void)close(posix->fd); /* and with it the lock */
    free(posix);
}

static const struct disk_ops posix_ops = {
    .open = posix_open,
    .close = posix_close,
    .size = posix_size,
    .read = posix_read,
    .write = posix_write,
    .truncate = posix_truncate,
    .sync = posix_sync,
    .reserve = posix_reserve,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .sync_directory = posix_sync_directory,
    .list = posix_list,
    .free_bytes = posix_free_bytes,
    .destroy = posix_destroy,
};

/* The log holds what an intruder would need to forge a vote; nobody but this user may read or write it. */
static lapse_result check_private(int fd, const char *path, struct lapse_error *error)
{
    struct stat stat;
    if (fstat(fd, &stat) != 0)
        return io_fail(error, "stat", path, errno);
    if (stat.st_uid != geteuid())
        return lapse_fail(error, LAPSE_PERMISSION_DENIED,
                          "%s belongs to another user: chown it to the one lapsed runs as", path);
    if ((stat.st_mode & 077) != 0)
        return lapse_fail(error, LAPSE_PERMISSION_DENIED, "%s is open to other users: chmod 0700 it", path);
    return lapse_ok();
}

static lapse_result lock_directory(int fd, const char *path, struct lapse_error *error)
{
    int rc;
    do {
        rc = flock(fd, LOCK_EX | LOCK_NB);
    } while (rc != 0 && errno == EINTR);
    if (rc == 0)
        return lapse_ok();
    if (errno == EWOULDBLOCK)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "%s is in use by another process: stop that one first",
                          path);
    return io_fail(error, "lock", path, errno);
}

lapse_result disk_posix_open(const char *path, struct disk **disk, struct lapse_error *error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return io_fail(error, "open", path, errno);
    lapse_result result = check_private(fd, path, error);
    if (lapse_is_ok(result))
        result = lock_directory(fd, path, error);
    if (!lapse_is_ok(result)) {
        (void)close(fd);
        return result;
    }
    struct disk_posix *posix = mem_calloc(1, sizeof *posix);
    posix->base.ops = &posix_ops;
    posix->fd = fd;
    *disk = &posix->base;
    return lapse_ok();
}
