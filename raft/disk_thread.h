/* Runs storage jobs on two threads, one a lane, and hands them back on a libuv loop. */
#ifndef LAPSE_RAFT_DISK_THREAD_H
#define LAPSE_RAFT_DISK_THREAD_H

#include <uv.h>

#include "raft/log.h"

struct disk_thread;

/* `done` is called on the loop, once a job, in the order of each lane. */
typedef void (*disk_thread_done_cb)(void *arg, struct storage_job *job);

lapse_result disk_thread_start(uv_loop_t *loop, struct log *log, disk_thread_done_cb done, void *arg, struct disk_thread **thread,
                               struct lapse_error *error) LAPSE_MUST_USE;
/* Loop thread only. Ownership of the job passes until `done`. */
void disk_thread_submit(struct disk_thread *thread, struct storage_job *job);
/* Finishes what was submitted, joins the threads, then calls `closed` from the loop; jobs still done after that point are handed to `done` before. */
void disk_thread_close(struct disk_thread *thread, void (*closed)(void *arg), void *arg);

#endif
