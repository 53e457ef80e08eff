/* Server processes of a benchmark: started on loopback, killed with this program however it ends (PR_SET_PDEATHSIG).
 * What a process prints goes to a log file. One thread (the scenario's) starts, stops and asks. */
#ifndef LAPSE_BENCH_HARNESS_PROCESS_H
#define LAPSE_BENCH_HARNESS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/result.h"

#define PROCESS_PATH_SIZE 256

struct process {
    pid_t pid; /* 0: not running */
    bool frozen;
    char name[64]; /* "etcd 1", for messages */
    char log[PROCESS_PATH_SIZE];
};

/* NAME is looked up in PATH and the usual sbin directories: true, and its path, when it is there. */
bool process_find(const char *program, char path[PROCESS_PATH_SIZE]);
/* `process->name` and `log` are set by the caller; `args` is NULL-terminated, args[0] the program's path. `prepare`
 * (may be NULL) runs in the child before exec: only what may be done there. */
lapse_result process_start(struct process *process, char *const *args, void (*prepare)(void *arg), void *arg,
                           struct lapse_error *error) LAPSE_MUST_USE;
/* Runs it to its end. UNAVAILABLE, quoting the log's end, unless it exits with 0. */
lapse_result process_run(struct process *process, char *const *args, struct lapse_error *error) LAPSE_MUST_USE;
/* UNAVAILABLE, quoting the log's end, when it has ended although nobody killed it. */
lapse_result process_check(struct process *process, struct lapse_error *error) LAPSE_MUST_USE;
/* kill -9, and its end awaited. Does nothing when it isn't running. */
void process_kill(struct process *process);
/* SIGTERM; kill -9 after `grace_ms`. */
void process_end(struct process *process, uint32_t grace_ms);
/* SIGSTOP and SIGCONT. */
void process_freeze(struct process *process);
void process_thaw(struct process *process);
/* Resident memory in bytes (VmRSS), 0 when it isn't running; with children. */
uint64_t process_resident(const struct process *process);
/* Processor time used so far, user and system, in microseconds. */
uint64_t process_cpu_us(const struct process *process);

/* A new directory below $TMPDIR (or /tmp), and its removal with all that is in it. */
lapse_result directory_make(char path[PROCESS_PATH_SIZE], struct lapse_error *error) LAPSE_MUST_USE;
void directory_remove(const char *path);
/* `n` free TCP ports of loopback, below the range that outgoing connections take theirs from. */
lapse_result ports_find(uint16_t *ports, uint32_t n, struct lapse_error *error) LAPSE_MUST_USE;

#endif
