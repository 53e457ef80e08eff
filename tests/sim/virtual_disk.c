#include "tests/sim/virtual_disk.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

#define NAMES_MAX 512
#define NAME_SIZE 96

/* Bytes up to `len` are held; from there to `size` they are zeros, so that reserved space costs nothing. */
struct content {
    uint8_t *data;
    uint64_t len;
    uint64_t size;
};

enum change_type { CHANGE_WRITE, CHANGE_TRUNCATE, CHANGE_RESERVE };

struct change {
    enum change_type type;
    uint64_t offset; /* the size, for the other two */
    size_t len;
    uint8_t *data;
};

struct inode {
    unsigned refs; /* names, pending names, open files */
    struct content now;
    struct content durable;
    struct change *changes;
    size_t n_changes, changes_capacity;
};

struct disk_file {
    struct inode *inode;
    char name[NAME_SIZE];
};

struct directory {
    size_t n;
    struct {
        char name[NAME_SIZE];
        struct inode *inode;
    } entries[NAMES_MAX];
};

/* remove `from` if set, then let `to` name the inode if set */
struct name_change {
    char from[NAME_SIZE];
    char to[NAME_SIZE];
    struct inode *inode;
};

struct virtual_disk {
    struct disk base;
    struct directory now;
    struct directory durable;
    struct name_change *name_changes;
    size_t n_name_changes, name_changes_capacity;
    uint64_t stop_at, fail_write, fail_sync; /* countdowns; 0: off */
    bool stopped;
    uint64_t capacity;
    struct virtual_disk_counts counts;
};

static struct virtual_disk *disk_of(const struct disk *disk)
{
    return CONTAINER_OF((struct disk *)disk, struct virtual_disk, base);
}

/* ---- contents ---- */

static void content_write(struct content *content, uint64_t offset, const uint8_t *data, size_t len)
{
    uint64_t end = offset + len;
    if (end > content->len) {
        content->data = mem_realloc(content->data, (size_t)end);
        memset(content->data + content->len, 0, (size_t)(end - content->len));
        content->len = end;
    }
    if (len > 0)
        memcpy(content->data + offset, data, len);
    if (content->size < end)
        content->size = end;
}

static void content_resize(struct content *content, uint64_t size)
{
    content->size = size;
    if (content->len > size)
        content->len = size;
}

static void content_reserve(struct content *content, uint64_t size)
{
    if (content->size < size)
        content->size = size;
}

static void content_copy(struct content *to, const struct content *from)
{
    free(to->data);
    *to = *from;
    to->data = NULL;
    if (from->len > 0) {
        to->data = mem_alloc((size_t)from->len);
        memcpy(to->data, from->data, (size_t)from->len);
    }
}

static uint8_t content_at(const struct content *content, uint64_t offset)
{
    return offset < content->len ? content->data[offset] : 0;
}

static bool content_equal(const struct content *a, const struct content *b)
{
    uint64_t longer = a->len > b->len ? a->len : b->len;
    for (uint64_t i = 0; i < longer; i++) {
        if (content_at(a, i) != content_at(b, i))
            return false;
    }
    return a->size == b->size;
}

/* ---- inodes ---- */

static void changes_clear(struct inode *inode)
{
    for (size_t i = 0; i < inode->n_changes; i++)
        free(inode->changes[i].data);
    inode->n_changes = 0;
}

static void inode_unref(struct inode *inode)
{
    if (inode == NULL || --inode->refs > 0)
        return;
    changes_clear(inode);
    free(inode->changes);
    free(inode->now.data);
    free(inode->durable.data);
    free(inode);
}

static struct inode *inode_ref(struct inode *inode)
{
    inode->refs++;
    return inode;
}

static void change_apply(struct content *content, const struct change *change)
{
    if (change->type == CHANGE_WRITE)
        content_write(content, change->offset, change->data, change->len);
    else if (change->type == CHANGE_TRUNCATE)
        content_resize(content, change->offset);
    else
        content_reserve(content, change->offset);
}

static void inode_change(struct inode *inode, enum change_type type, uint64_t offset, const void *data, size_t len)
{
    if (inode->n_changes == inode->changes_capacity) {
        inode->changes_capacity = inode->changes_capacity == 0 ? 8 : 2 * inode->changes_capacity;
        inode->changes = mem_realloc(inode->changes, inode->changes_capacity * sizeof *inode->changes);
    }
    struct change *change = &inode->changes[inode->n_changes++];
    *change = (struct change){type, offset, len, NULL};
    if (len > 0) {
        change->data = mem_alloc(len);
        memcpy(change->data, data, len);
    }
    change_apply(&inode->now, change);
}

static void inode_sync(struct inode *inode)
{
    for (size_t i = 0; i < inode->n_changes; i++)
        change_apply(&inode->durable, &inode->changes[i]);
    changes_clear(inode);
}

/* A torn write: each sector of the disk that it touches survives or not. */
static void crash_tear(struct content *content, const struct change *change, struct prng *prng)
{
    uint64_t at = change->offset, end = change->offset + change->len;
    while (at < end) {
        uint64_t next = (at / VIRTUAL_SECTOR + 1) * VIRTUAL_SECTOR;
        if (next > end)
            next = end;
        if (prng_chance(prng, 50))
            content_write(content, at, change->data + (at - change->offset), (size_t)(next - at));
        at = next;
    }
}

static void inode_crash(struct inode *inode, struct prng *prng)
{
    for (size_t i = 0; i < inode->n_changes; i++) {
        const struct change *change = &inode->changes[i];
        uint64_t fate = prng_below(prng, 3);
        if (fate == 0)
            change_apply(&inode->durable, change);
        else if (fate == 1 && change->type == CHANGE_WRITE)
            crash_tear(&inode->durable, change, prng);
    }
    changes_clear(inode);
    content_copy(&inode->now, &inode->durable);
}

/* ---- names ---- */

static size_t directory_find(const struct directory *directory, const char *name)
{
    size_t i = 0;
    while (i < directory->n && strcmp(directory->entries[i].name, name) != 0)
        i++;
    return i;
}

static void directory_apply(struct directory *directory, const struct name_change *change)
{
    struct inode *inode = change->inode == NULL ? NULL : inode_ref(change->inode);
    size_t i = directory_find(directory, change->from);
    if (change->from[0] != '\0' && i < directory->n) {
        inode_unref(directory->entries[i].inode);
        memmove(&directory->entries[i], &directory->entries[i + 1],
                (directory->n - i - 1) * sizeof directory->entries[0]);
        directory->n--;
    }
    if (change->to[0] == '\0')
        return;
    i = directory_find(directory, change->to);
    if (i == directory->n) {
        CHECK(directory->n < NAMES_MAX);
        directory->entries[directory->n++].inode = NULL;
        (void)snprintf(directory->entries[i].name, NAME_SIZE, "%s", change->to);
    }
    inode_unref(directory->entries[i].inode);
    directory->entries[i].inode = inode;
}

static void directory_clear(struct directory *directory)
{
    for (size_t i = 0; i < directory->n; i++)
        inode_unref(directory->entries[i].inode);
    directory->n = 0;
}

static void name_change_add(struct virtual_disk *disk, const char *from, const char *to, struct inode *inode)
{
    if (disk->n_name_changes == disk->name_changes_capacity) {
        disk->name_changes_capacity = disk->name_changes_capacity == 0 ? 8 : 2 * disk->name_changes_capacity;
        disk->name_changes = mem_realloc(disk->name_changes, disk->name_changes_capacity * sizeof *disk->name_changes);
    }
    struct name_change *change = &disk->name_changes[disk->n_name_changes++];
    *change = (struct name_change){.inode = inode == NULL ? NULL : inode_ref(inode)};
    (void)snprintf(change->from, NAME_SIZE, "%s", from);
    (void)snprintf(change->to, NAME_SIZE, "%s", to);
    directory_apply(&disk->now, change);
}

/* Makes the pending names durable: all of them, or in a crash (`prng` set) each by chance. */
static void name_changes_settle(struct virtual_disk *disk, struct prng *prng)
{
    for (size_t i = 0; i < disk->n_name_changes; i++) {
        if (prng == NULL || prng_chance(prng, 50))
            directory_apply(&disk->durable, &disk->name_changes[i]);
        inode_unref(disk->name_changes[i].inode);
    }
    disk->n_name_changes = 0;
}

static struct inode *find_inode(const struct virtual_disk *disk, const char *name)
{
    size_t i = directory_find(&disk->now, name);
    return i < disk->now.n ? disk->now.entries[i].inode : NULL;
}

/* ---- faults ---- */

static bool countdown(uint64_t *n)
{
    return *n > 0 && --*n == 0;
}

static lapse_result fault(struct lapse_error *error, const char *name)
{
    return lapse_fail(error, LAPSE_UNAVAILABLE, "%s: injected fault", name);
}

/* Called by each changing operation after it has taken effect. */
static lapse_result finish(struct virtual_disk *disk, const char *name, struct lapse_error *error)
{
    disk->counts.operations++;
    if (countdown(&disk->stop_at))
        disk->stopped = true;
    return disk->stopped ? fault(error, name) : lapse_ok();
}

static bool has_room(const struct virtual_disk *disk, const struct inode *inode, uint64_t size)
{
    uint64_t used = 0;
    for (size_t i = 0; i < disk->now.n; i++)
        used += disk->now.entries[i].inode->now.size;
    return disk->capacity == 0 || size <= inode->now.size || used + (size - inode->now.size) <= disk->capacity;
}

static lapse_result full(struct lapse_error *error, const char *name)
{
    return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "%s: no space left", name);
}

/* ---- operations ---- */

static lapse_result virtual_open(struct disk *base, const char *name, bool create, struct disk_file **file,
                                 struct lapse_error *error)
{
    struct virtual_disk *disk = disk_of(base);
    struct inode *inode = find_inode(disk, name);
    if (disk->stopped)
        return fault(error, name);
    if (inode == NULL && !create)
        return lapse_fail(error, LAPSE_NOT_FOUND, "%s: no such file", name);
    if (inode == NULL) {
        inode = mem_calloc(1, sizeof *inode);
        name_change_add(disk, "", name, inode);
        lapse_result result = finish(disk, name, error);
        if (!lapse_is_ok(result))
            return result;
    }
    struct disk_file *opened = mem_calloc(1, sizeof *opened);
    opened->inode = inode_ref(inode);
    (void)snprintf(opened->name, sizeof opened->name, "%s", name);
    *file = opened;
    return lapse_ok();
}

static void virtual_close(struct disk *base, struct disk_file *file)
{
    (void)base;
    if (file != NULL)
        inode_unref(file->inode);
    free(file);
}

static lapse_result virtual_size(struct disk *base, struct disk_file *file, uint64_t *size, struct lapse_error *error)
{
    if (disk_of(base)->stopped)
        return fault(error, file->name);
    *size = file->inode->now.size;
    return lapse_ok();
}

static lapse_result virtual_read(struct disk *base, struct disk_file *file, uint64_t offset, void *data, size_t len,
                                 struct lapse_error *error)
{
    const struct content *content = &file->inode->now;
    if (disk_of(base)->stopped)
        return fault(error, file->name);
    if (offset + len > content->size)
        return lapse_fail(error, LAPSE_OUT_OF_RANGE, "%s: ends at byte %llu", file->name,
                          (unsigned long long)content->size);
    uint64_t held = content->len > offset ? content->len - offset : 0;
    if (held > len)
        held = len;
    if (held > 0)
        memcpy(data, content->data + offset, (size_t)held);
    memset((uint8_t *)data + held, 0, len - (size_t)held);
    return lapse_ok();
}

static lapse_result virtual_write(struct disk *base, struct disk_file *file, uint64_t offset, const void *data,
                                  size_t len, struct lapse_error *error)
{
    struct virtual_disk *disk = disk_of(base);
    if (disk->stopped)
        return fault(error, file->name);
    if (!has_room(disk, file->inode, offset + len))
        return full(error, file->name);
    disk->counts.writes++;
    disk->counts.bytes_written += len;
    bool failing = countdown(&disk->fail_write);
    inode_change(file->inode, CHANGE_WRITE, offset, data, failing ? len / 2 : len);
    lapse_result result = finish(disk, file->name, error);
    return failing ? fault(error, file->name) : result;
}

static lapse_result virtual_truncate(struct disk *base, struct disk_file *file, uint64_t size,
                                     struct lapse_error *error)
{
    if (disk_of(base)->stopped)
        return fault(error, file->name);
    inode_change(file->inode, CHANGE_TRUNCATE, size, NULL, 0);
    return finish(disk_of(base), file->name, error);
}

static lapse_result virtual_reserve(struct disk *base, struct disk_file *file, uint64_t size, struct lapse_error *error)
{
    if (disk_of(base)->stopped)
        return fault(error, file->name);
    if (!has_room(disk_of(base), file->inode, size))
        return full(error, file->name);
    inode_change(file->inode, CHANGE_RESERVE, size, NULL, 0);
    return finish(disk_of(base), file->name, error);
}

static lapse_result virtual_sync(struct disk *base, struct disk_file *file, struct lapse_error *error)
{
    struct virtual_disk *disk = disk_of(base);
    if (disk->stopped)
        return fault(error, file->name);
    disk->counts.syncs++;
    if (countdown(&disk->fail_sync))
        return fault(error, file->name);
    /* A stop at a sync leaves its writes in flight: whether they arrived is the crash's to say. */
    lapse_result result = finish(disk, file->name, error);
    if (lapse_is_ok(result))
        inode_sync(file->inode);
    return result;
}

static lapse_result virtual_rename(struct disk *base, const char *from, const char *to, struct lapse_error *error)
{
    struct virtual_disk *disk = disk_of(base);
    struct inode *inode = find_inode(disk, from);
    if (disk->stopped)
        return fault(error, from);
    if (inode == NULL)
        return lapse_fail(error, LAPSE_NOT_FOUND, "%s: no such file", from);
    name_change_add(disk, from, to, inode);
    return finish(disk, from, error);
}

static lapse_result virtual_unlink(struct disk *base, const char *name, struct lapse_error *error)
{
    struct virtual_disk *disk = disk_of(base);
    if (disk->stopped)
        return fault(error, name);
    if (find_inode(disk, name) == NULL)
        return lapse_fail(error, LAPSE_NOT_FOUND, "%s: no such file", name);
    name_change_add(disk, name, "", NULL);
    return finish(disk, name, error);
}

static lapse_result virtual_sync_directory(struct disk *base, struct lapse_error *error)
{
    struct virtual_disk *disk = disk_of(base);
    if (disk->stopped)
        return fault(error, "data directory");
    disk->counts.directory_syncs++;
    if (countdown(&disk->fail_sync))
        return fault(error, "data directory");
    lapse_result result = finish(disk, "data directory", error);
    if (lapse_is_ok(result))
        name_changes_settle(disk, NULL);
    return result;
}

static lapse_result virtual_list(struct disk *base, void (*each)(void *arg, const char *name), void *arg,
                                 struct lapse_error *error)
{
    struct virtual_disk *disk = disk_of(base);
    if (disk->stopped)
        return fault(error, "data directory");
    for (size_t i = 0; i < disk->now.n; i++)
        each(arg, disk->now.entries[i].name);
    return lapse_ok();
}

static lapse_result virtual_free_bytes(struct disk *base, uint64_t *bytes, struct lapse_error *error)
{
    struct virtual_disk *disk = disk_of(base);
    uint64_t used = 0;
    if (disk->stopped)
        return fault(error, "data directory");
    for (size_t i = 0; i < disk->now.n; i++)
        used += disk->now.entries[i].inode->now.size;
    *bytes = disk->capacity == 0 ? UINT64_MAX : disk->capacity > used ? disk->capacity - used : 0;
    return lapse_ok();
}

static const struct disk_ops virtual_ops = {
    .open = virtual_open,
    .close = virtual_close,
    .size = virtual_size,
    .read = virtual_read,
    .write = virtual_write,
    .truncate = virtual_truncate,
    .sync = virtual_sync,
    .reserve = virtual_reserve,
    .rename = virtual_rename,
    .unlink = virtual_unlink,
    .sync_directory = virtual_sync_directory,
    .list = virtual_list,
    .free_bytes = virtual_free_bytes,
    .destroy = virtual_disk_free,
};

struct disk *virtual_disk_new(void)
{
    struct virtual_disk *disk = mem_calloc(1, sizeof *disk);
    disk->base.ops = &virtual_ops;
    return &disk->base;
}

void virtual_disk_free(struct disk *base)
{
    if (base == NULL)
        return;
    struct virtual_disk *disk = disk_of(base);
    for (size_t i = 0; i < disk->n_name_changes; i++)
        inode_unref(disk->name_changes[i].inode);
    free(disk->name_changes);
    directory_clear(&disk->now);
    directory_clear(&disk->durable);
    free(disk);
}

struct disk *virtual_disk_clone(const struct disk *base)
{
    const struct virtual_disk *disk = disk_of(base);
    struct disk *copy = virtual_disk_new();
    for (size_t i = 0; i < disk->now.n; i++) {
        virtual_disk_put(copy, disk->now.entries[i].name, slice_of(NULL, 0));
        struct inode *inode = find_inode(disk_of(copy), disk->now.entries[i].name);
        content_copy(&inode->now, &disk->now.entries[i].inode->now);
        content_copy(&inode->durable, &disk->now.entries[i].inode->now);
    }
    return copy;
}

void virtual_disk_crash(struct disk *base, struct prng *prng)
{
    struct virtual_disk *disk = disk_of(base);
    /* Inodes reachable by a durable name or one that may become durable: all that a later open can find. */
    for (size_t i = 0; i < disk->n_name_changes; i++) {
        if (disk->name_changes[i].inode != NULL)
            inode_crash(disk->name_changes[i].inode, prng);
    }
    for (size_t i = 0; i < disk->durable.n; i++)
        inode_crash(disk->durable.entries[i].inode, prng);
    name_changes_settle(disk, prng);
    directory_clear(&disk->now);
    for (size_t i = 0; i < disk->durable.n; i++) {
        disk->now.entries[i] = disk->durable.entries[i];
        (void)inode_ref(disk->now.entries[i].inode);
    }
    disk->now.n = disk->durable.n;
    virtual_disk_heal(base);
}

void virtual_disk_stop_at(struct disk *disk, uint64_t n)
{
    disk_of(disk)->stop_at = n;
}

void virtual_disk_fail_write(struct disk *disk, uint64_t n)
{
    disk_of(disk)->fail_write = n;
}

void virtual_disk_fail_sync(struct disk *disk, uint64_t n)
{
    disk_of(disk)->fail_sync = n;
}

void virtual_disk_set_capacity(struct disk *disk, uint64_t bytes)
{
    disk_of(disk)->capacity = bytes;
}

void virtual_disk_heal(struct disk *base)
{
    struct virtual_disk *disk = disk_of(base);
    disk->stop_at = disk->fail_write = disk->fail_sync = 0;
    disk->stopped = false;
    disk->capacity = 0;
}

bool virtual_disk_flip(struct disk *base, const char *name, uint64_t offset, uint8_t mask)
{
    struct inode *inode = find_inode(disk_of(base), name);
    if (inode == NULL || offset >= inode->now.size)
        return false;
    uint8_t byte = content_at(&inode->now, offset) ^ mask;
    content_write(&inode->now, offset, &byte, 1);
    byte = content_at(&inode->durable, offset) ^ mask;
    content_write(&inode->durable, offset, &byte, 1);
    return true;
}

bool virtual_disk_shorten(struct disk *base, const char *name, uint64_t size)
{
    struct inode *inode = find_inode(disk_of(base), name);
    if (inode == NULL || size > inode->now.size)
        return false;
    content_resize(&inode->now, size);
    content_resize(&inode->durable, size);
    return true;
}

bool virtual_disk_remove(struct disk *base, const char *name)
{
    if (find_inode(disk_of(base), name) == NULL)
        return false;
    name_change_add(disk_of(base), name, "", NULL);
    name_changes_settle(disk_of(base), NULL);
    return true;
}

void virtual_disk_put(struct disk *base, const char *name, struct slice bytes)
{
    struct virtual_disk *disk = disk_of(base);
    struct inode *inode = mem_calloc(1, sizeof *inode);
    name_change_add(disk, "", name, inode);
    name_changes_settle(disk, NULL);
    content_write(&inode->now, 0, bytes.data, bytes.len);
    content_copy(&inode->durable, &inode->now);
}

uint64_t virtual_disk_size(const struct disk *disk, const char *name)
{
    const struct inode *inode = find_inode(disk_of(disk), name);
    return inode == NULL ? UINT64_MAX : inode->now.size;
}

const char *virtual_disk_name(const struct disk *disk, size_t i)
{
    return i < disk_of(disk)->now.n ? disk_of(disk)->now.entries[i].name : NULL;
}

struct virtual_disk_counts virtual_disk_counts(const struct disk *disk)
{
    return disk_of(disk)->counts;
}

bool virtual_disk_equal(const struct disk *base_a, const struct disk *base_b)
{
    const struct virtual_disk *a = disk_of(base_a), *b = disk_of(base_b);
    if (a->now.n != b->now.n)
        return false;
    for (size_t i = 0; i < a->now.n; i++) {
        const struct inode *other = find_inode(b, a->now.entries[i].name);
        if (other == NULL || !content_equal(&a->now.entries[i].inode->now, &other->now))
            return false;
    }
    return true;
}
