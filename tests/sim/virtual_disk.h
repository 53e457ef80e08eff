/* A data directory in memory that behaves like a disk in a crash: what was not synced may be kept, lost, or torn.
 *
 * Each file has two contents: what a program reads now, and what is durable, with the writes in between kept as a list.
 * A crash plays each of those anew: it survives whole, not at all, or in some of its 512-byte sectors, in any order.
 * Names are likewise: created, renamed and removed names not yet covered by sync_directory survive or don't, one by
 * one. What was synced always survives. An open file outlives its name. Single-threaded. */
#ifndef LAPSE_TESTS_SIM_VIRTUAL_DISK_H
#define LAPSE_TESTS_SIM_VIRTUAL_DISK_H

#include "raft/disk.h"
#include "tests/sim/prng.h"

#define VIRTUAL_SECTOR 512u

struct virtual_disk_counts {
    uint64_t operations; /* that change something: writes, truncates, reserves, syncs, names */
    uint64_t writes;
    uint64_t bytes_written;
    uint64_t syncs;
    uint64_t directory_syncs;
};

struct disk *virtual_disk_new(void);
/* Like destroying it through disk_ops. Files still open are released with it. */
void virtual_disk_free(struct disk *disk);
/* A disk with the same durable and present contents, nothing open, no faults. */
struct disk *virtual_disk_clone(const struct disk *disk);

/* The machine stops: unsynced work survives by chance. Close files that are open (log_close does) before or after; they
 * must not be used. */
void virtual_disk_crash(struct disk *disk, struct prng *prng);
/* Every operation from the n-th changing one on (1: the next) fails with UNAVAILABLE, that one after it has taken
 * effect in memory. 0: none. */
void virtual_disk_stop_at(struct disk *disk, uint64_t n);
/* The n-th write or sync from now (1: the next) fails with UNAVAILABLE; once. 0: none. */
void virtual_disk_fail_write(struct disk *disk, uint64_t n);
void virtual_disk_fail_sync(struct disk *disk, uint64_t n);
/* Bytes that files may take in all (sizes, reserved space included). 0: unlimited. */
void virtual_disk_set_capacity(struct disk *disk, uint64_t bytes);
/* Takes all faults away again. */
void virtual_disk_heal(struct disk *disk);

/* Damage, durable at once. False when there is no such file or byte. */
bool virtual_disk_flip(struct disk *disk, const char *name, uint64_t offset, uint8_t mask);
bool virtual_disk_shorten(struct disk *disk, const char *name, uint64_t size);
bool virtual_disk_remove(struct disk *disk, const char *name);
/* Makes `name` hold exactly these bytes, durably. */
void virtual_disk_put(struct disk *disk, const char *name, struct slice bytes);

/* The file's present size; UINT64_MAX when there is no such file. */
uint64_t virtual_disk_size(const struct disk *disk, const char *name);
/* Name number `i` in order of creation; NULL past the last. */
const char *virtual_disk_name(const struct disk *disk, size_t i);
struct virtual_disk_counts virtual_disk_counts(const struct disk *disk);
/* True when every file and name is equal to the other disk's as a program would read them. */
bool virtual_disk_equal(const struct disk *a, const struct disk *b);

#endif
