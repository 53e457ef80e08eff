/* Two threads that do storage jobs, and the way back to the loop.
 *
 *   loop --submit--> queue of a lane --thread: storage_execute--> done list --wake--> loop: done(job)
 *
 * A thread takes from its queue what one sync can cover: a run of adjacent APPENDs, or one other job. So while one sync
 * is on its way the next group gathers, and a job behind a slow one is not answered late because of a later one. The
 * done lists are emptied on the loop only; `done` may submit and close. Closing: the queues run dry, each thread says
 * that it ended, the loop joins them (at once, they have ended) and closes its handle; the last callback frees. */
#include "raft/disk_thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/thread.h"
#include "base/wake.h"

struct job_queue {
    struct storage_job *head;
    struct storage_job **tail;
};

struct lane {
    struct disk_thread *owner;
    pthread_t thread;
    bool started;
    bool joined;
    /* under owner->lock */
    pthread_cond_t wake;
    struct job_queue waiting;
    struct job_queue finished;
    bool ended;
};

struct disk_thread {
    struct log *log;
    disk_thread_done_cb done;
    void *arg;
    struct wake wake;
    struct lane lanes[2]; /* by enum storage_lane */
    pthread_mutex_t lock;
    bool stopping; /* under lock */
    bool closing;  /* loop only: disk_thread_close was called */
    void (*closed)(void *arg);
    void *closed_arg;
};

static void queue_init(struct job_queue *queue)
{
    queue->head = NULL;
    queue->tail = &queue->head;
}

/* Appends a list of jobs ending in `last`. */
static void queue_put(struct job_queue *queue, struct storage_job *first, struct storage_job *last)
{
    last->next = NULL;
    *queue->tail = first;
    queue->tail = &last->next;
}

/* Takes what one storage_execute shall do: the whole run of APPENDs at the front, or one job. */
static struct storage_job *queue_take_run(struct job_queue *queue, struct storage_job **last)
{
    struct storage_job *first = queue->head;
    *last = first;
    while (first->type == STORAGE_APPEND && (*last)->next != NULL && (*last)->next->type == STORAGE_APPEND)
        *last = (*last)->next;
    queue->head = (*last)->next;
    if (queue->head == NULL)
        queue->tail = &queue->head;
    (*last)->next = NULL;
    return first;
}

/* The loop is woken without the lock in our hand: it runs at once, perhaps in our place, and asks for it. */
static void lane_finish(struct lane *lane, struct storage_job *first, struct storage_job *last)
{
    pthread_mutex_lock(&lane->owner->lock);
    queue_put(&lane->finished, first, last);
    pthread_mutex_unlock(&lane->owner->lock);
    wake_send(&lane->owner->wake);
}

static void *lane_main(void *arg)
{
    struct lane *lane = arg;
    struct disk_thread *owner = lane->owner;
    if (lane == &owner->lanes[STORAGE_LANE_LOG])
        thread_take_short_turns(); /* acknowledgements wait for it */
    else
        thread_give_way();
    pthread_mutex_lock(&owner->lock);
    for (;;) {
        while (lane->waiting.head == NULL && !owner->stopping)
            pthread_cond_wait(&lane->wake, &owner->lock);
        if (lane->waiting.head == NULL)
            break;
        struct storage_job *last;
        struct storage_job *first = queue_take_run(&lane->waiting, &last);
        pthread_mutex_unlock(&owner->lock);
        storage_execute(owner->log, first);
        lane_finish(lane, first, last);
        pthread_mutex_lock(&owner->lock);
    }
    lane->ended = true;
    wake_send(&owner->wake);
    pthread_mutex_unlock(&owner->lock);
    return NULL;
}

/* Hands back what a lane has finished; true when the lane has ended and nothing of it is left. */
static bool lane_deliver(struct disk_thread *thread, struct lane *lane)
{
    pthread_mutex_lock(&thread->lock);
    struct storage_job *job = lane->finished.head;
    queue_init(&lane->finished);
    bool ended = lane->ended;
    pthread_mutex_unlock(&thread->lock);
    while (job != NULL) {
        struct storage_job *next = job->next;
        job->next = NULL;
        thread->done(thread->arg, job);
        job = next;
    }
    return ended;
}

static void lane_join(struct lane *lane)
{
    if (lane->started && !lane->joined) {
        int rc = pthread_join(lane->thread, NULL);
        CHECK(rc == 0);
        lane->joined = true;
    }
}

static void disk_thread_free(struct disk_thread *thread)
{
    for (int i = 0; i < 2; i++)
        pthread_cond_destroy(&thread->lanes[i].wake);
    pthread_mutex_destroy(&thread->lock);
    free(thread);
}

static void on_closed(struct wake *wake)
{
    struct disk_thread *thread = CONTAINER_OF(wake, struct disk_thread, wake);
    void (*closed)(void *arg) = thread->closed;
    void *arg = thread->closed_arg;
    disk_thread_free(thread);
    if (closed != NULL)
        closed(arg);
}

static void on_wake(struct wake *wake)
{
    struct disk_thread *thread = CONTAINER_OF(wake, struct disk_thread, wake);
    bool ended = true;
    for (int i = 0; i < 2; i++)
        ended = lane_deliver(thread, &thread->lanes[i]) && ended;
    if (!ended || wake_is_closing(wake))
        return;
    for (int i = 0; i < 2; i++)
        lane_join(&thread->lanes[i]);
    wake_close(wake, on_closed);
}

static void stop_lanes(struct disk_thread *thread)
{
    pthread_mutex_lock(&thread->lock);
    thread->stopping = true;
    for (int i = 0; i < 2; i++)
        pthread_cond_signal(&thread->lanes[i].wake);
    pthread_mutex_unlock(&thread->lock);
}

static lapse_result lanes_start(struct disk_thread *thread, struct lapse_error *error)
{
    for (int i = 0; i < 2; i++) {
        struct lane *lane = &thread->lanes[i];
        int rc = pthread_create(&lane->thread, NULL, lane_main, lane);
        if (rc != 0)
            return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "cannot start a disk thread: %s", strerror(rc));
        lane->started = true;
    }
    return lapse_ok();
}

static struct disk_thread *disk_thread_new(struct log *log, disk_thread_done_cb done, void *arg)
{
    struct disk_thread *thread = mem_calloc(1, sizeof *thread);
    thread->log = log;
    thread->done = done;
    thread->arg = arg;
    int rc = pthread_mutex_init(&thread->lock, NULL);
    CHECK(rc == 0);
    for (int i = 0; i < 2; i++) {
        struct lane *lane = &thread->lanes[i];
        lane->owner = thread;
        rc = pthread_cond_init(&lane->wake, NULL);
        CHECK(rc == 0);
        queue_init(&lane->waiting);
        queue_init(&lane->finished);
    }
    return thread;
}

lapse_result disk_thread_start(uv_loop_t *loop, struct log *log, disk_thread_done_cb done, void *arg,
                               struct disk_thread **thread, struct lapse_error *error)
{
    struct disk_thread *started = disk_thread_new(log, done, arg);
    if (!wake_init(&started->wake, loop, on_wake)) {
        disk_thread_free(started);
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "cannot watch the disk threads: %s", strerror(errno));
    }
    lapse_result result = lanes_start(started, error);
    if (!lapse_is_ok(result)) {
        /* The handle belongs to the loop by now: it frees the rest when it runs next. */
        stop_lanes(started);
        for (int i = 0; i < 2; i++)
            lane_join(&started->lanes[i]);
        wake_close(&started->wake, on_closed);
        return result;
    }
    *thread = started;
    return result;
}

void disk_thread_submit(struct disk_thread *thread, struct storage_job *job)
{
    CHECK(!thread->closing);
    struct lane *lane = &thread->lanes[storage_job_lane(job)];
    pthread_mutex_lock(&thread->lock);
    queue_put(&lane->waiting, job, job);
    pthread_mutex_unlock(&thread->lock);
    /* Not with the lock in our hand: the lane runs at once, perhaps in our place, and asks for it. */
    pthread_cond_signal(&lane->wake);
}

void disk_thread_close(struct disk_thread *thread, void (*closed)(void *arg), void *arg)
{
    CHECK(!thread->closing);
    thread->closing = true;
    thread->closed = closed;
    thread->closed_arg = arg;
    stop_lanes(thread);
}
