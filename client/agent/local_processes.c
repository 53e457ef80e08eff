#include "client/agent/local_processes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"

/* ---- One process */

static bool read_stat(pid_t pid, char *text, size_t size)
{
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0)
        (void)close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return true;
}

/* "PID (NAME) STATE PPID ...": a name may hold blanks and parentheses, so what follows is counted from its end. */
static bool parse_stat(pid_t pid, const char *text, struct process *out)
{
    const char *open = strchr(text, '('), *close = strrchr(text, ')');
    char state;
    int parent;
    long threads;
    unsigned long long start;
    if (open == NULL || close == NULL || close < open ||
        sscanf(close + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu", &state,
               &parent, &threads, &start) != 4)
        return false;
    *out = (struct process){.pid = pid, .parent = parent, .start = start};
    /* A first thread that has ended before the others is a zombie, too, but its process lives. */
    out->zombie = (state == 'Z' || state == 'X') && threads <= 1;
    size_t len = (size_t)(close - open - 1);
    memcpy(out->name, open + 1, len < sizeof out->name - 1 ? len : sizeof out->name - 1);
    return true;
}

bool process_read(pid_t pid, struct process *out)
{
    char text[1024];
    return read_stat(pid, text, sizeof text) && parse_stat(pid, text, out);
}

/* ---- All of them */

static void add(struct process_table *table, const struct process *process)
{
    if (table->n == table->capacity) {
        table->capacity = table->capacity == 0 ? 512 : table->capacity * 2;
        table->rows = mem_realloc(table->rows, table->capacity * sizeof table->rows[0]);
    }
    table->rows[table->n++] = *process;
}

static int compare_pids(const void *a, const void *b)
{
    const struct process *x = a, *y = b;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

lapse_result process_table_read(struct process_table *table, struct lapse_error *error)
{
    struct process process;
    const struct dirent *entry;
    DIR *proc = opendir("/proc");
    table->n = 0;
    if (proc == NULL)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "/proc can't be read: %s", strerror(errno));
    while ((entry = readdir(proc)) != NULL)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && process_read((pid_t)atoi(entry->d_name), &process))
            add(table, &process);
    (void)closedir(proc);
    if (table->n > 0)
        qsort(table->rows, table->n, sizeof table->rows[0], compare_pids);
    return lapse_ok();
}

void process_table_free(struct process_table *table)
{
    free(table->rows);
    *table = (struct process_table){0};
}

struct process *process_table_find(const struct process_table *table, pid_t pid)
{
    const struct process key = {.pid = pid};
    return table->n == 0 ? NULL : bsearch(&key, table->rows, table->n, sizeof table->rows[0], compare_pids);
}

void process_table_unmark(struct process_table *table)
{
    for (size_t i = 0; i < table->n; i++)
        table->rows[i].counted = false;
}

static bool has_marked_parent(const struct process_table *table, const struct process *process)
{
    const struct process *parent = process_table_find(table, process->parent);
    return parent != NULL && parent->counted && process->start >= parent->start;
}

void process_table_mark(struct process_table *table)
{
    bool changed = true;
    while (changed) {
        changed = false;
        for (size_t i = 0; i < table->n; i++) {
            struct process *process = &table->rows[i];
            if (!process->counted && has_marked_parent(table, process))
                process->counted = changed = true;
        }
    }
}

/* ---- Handles */

bool process_open(const struct process *process, struct process_handle *handle)
{
    struct process now;
    int fd = (int)syscall(SYS_pidfd_open, process->pid, 0);
    if (fd < 0)
        return false;
    if (!process_read(process->pid, &now) || now.start != process->start) {
        (void)close(fd);
        return false;
    }
    *handle = (struct process_handle){.pid = process->pid, .start = process->start, .fd = fd};
    memcpy(handle->name, now.name, sizeof handle->name);
    return true;
}

void process_close(struct process_handle *handle)
{
    if (handle->fd >= 0)
        (void)close(handle->fd);
    handle->fd = -1;
}

bool process_is_alive(const struct process_handle *handle)
{
    struct pollfd poller = {.fd = handle->fd, .events = POLLIN};
    return poll(&poller, 1, 0) == 0;
}

bool process_signal(const struct process_handle *handle, int signal)
{
    return syscall(SYS_pidfd_send_signal, handle->fd, signal, NULL, 0) == 0 || errno == ESRCH;
}
