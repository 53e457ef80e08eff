/* Processes as /proc shows them, and handles of them that can't be mistaken for others.
 *
 * A number of a process is used again some time after its end. A handle is a pidfd, and was compared with what the
 * table said (its number and when it started) after it had been opened: a signal through it meets that process or
 * nobody. */
#ifndef LAPSE_CLIENT_AGENT_LOCAL_PROCESSES_H
#define LAPSE_CLIENT_AGENT_LOCAL_PROCESSES_H

#include <stdint.h>
#include <sys/types.h>

#include "base/result.h"

struct process {
    pid_t pid, parent;
    uint64_t start; /* clock ticks since the machine's start */
    char name[16];
    bool zombie;  /* dead, and only not yet waited for */
    bool counted; /* by process_table_mark */
};

/* All processes, roughly at one moment: those that came or went while it was read may be missing or stale. */
struct process_table {
    struct process *rows; /* by pid */
    size_t n, capacity;
};

/* UNAVAILABLE without /proc. The old rows are replaced. */
lapse_result process_table_read(struct process_table *table, struct lapse_error *error) LAPSE_MUST_USE;
void process_table_free(struct process_table *table);
struct process *process_table_find(const struct process_table *table, pid_t pid);
/* Clears all marks. */
void process_table_unmark(struct process_table *table);
/* Marks all descendants of those that are marked. A child that is older than its parent is none: the parent's number
 * was used again between two rows. */
void process_table_mark(struct process_table *table);
/* One row; false when there is none. */
bool process_read(pid_t pid, struct process *out);

struct process_handle {
    pid_t pid;
    uint64_t start;
    int fd;
    char name[16];
};

/* False: it has ended, or is another than `process`. */
bool process_open(const struct process *process, struct process_handle *handle);
void process_close(struct process_handle *handle); /* accepts a closed one (fd -1) */
/* False from its end on, also while nobody has waited for it. */
bool process_is_alive(const struct process_handle *handle);
/* False with errno when it may not be signalled; a process that has ended is none to fail on. */
bool process_signal(const struct process_handle *handle, int signal);

#endif
