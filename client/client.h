/* Inside a client: its thread, and what waits for the link.
 *
 *   any thread  --client_post(task)-->  the client's thread: calls, watches, link
 *
 * Everything but `tasks` belongs to the client's thread. What wants a connection (a call, a watch) is a `struct
 * pending`: it waits in one queue, in order, until the link is ready and its own pause is over, or its deadline comes.
 */
#ifndef LAPSE_CLIENT_CLIENT_H
#define LAPSE_CLIENT_CLIENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <uv.h>

#include "base/wake.h"
#include "client/lapse.h"
#include "client/link.h"

/* Work for the client's thread, embedded in what it is about. `queued` keeps one task from being posted twice at once.
 */
struct client_task {
    struct client_task *next;
    void (*run)(struct client_task *task);
    bool queued;
};

struct pending;
struct pending_ops {
    /* The link is ready: start. */
    void (*start)(struct pending *pending);
    /* Waiting has no sense any more: the deadline came (DEADLINE_EXCEEDED), no endpoint takes this client (its code),
     * or the client ends (CANCELLED). */
    void (*give_up)(struct pending *pending, const struct lapse_error *why);
    /* An attempt to connect failed; there will be more. */
    void (*on_failure)(struct pending *pending, const struct lapse_error *why);
};

struct pending {
    TAILQ_ENTRY(pending) entry;
    const struct pending_ops *ops;
    int64_t not_before_ms; /* CLOCK_BOOTTIME, as are all local times here */
    int64_t deadline_ms;   /* INT64_MAX: none */
    bool waiting;          /* in the queue */
    uint32_t attempts;     /* in a row that ended with a transient failure */
};
TAILQ_HEAD(pending_queue, pending);

struct lapse_watch;
TAILQ_HEAD(watch_list, lapse_watch);

struct lapse_client {
    uv_loop_t loop;
    struct wake wake;
    uv_timer_t timer; /* for the earliest moment at which something waiting has to be looked at */
    pthread_t thread;
    struct link *link;
    struct pending_queue waiting;
    struct watch_list watches; /* all that have not ended */
    TAILQ_HEAD(, lapse_call) running;
    _Atomic bool ending; /* written here, read anywhere: nothing new begins */

    pthread_mutex_t lock; /* the four below */
    struct client_task *tasks;
    struct client_task **tasks_tail;
    bool stop;

    _Atomic uint32_t calls_open;
    uint32_t calls_max;
};

/* From any thread: runs `task` on the client's thread, in order, never on this stack. A task that is already queued is
 * not queued again, and false tells so. */
bool client_post(struct lapse_client *client, struct client_task *task);
bool client_is_own_thread(const struct lapse_client *client);

/* On the client's thread. Queues behind the others; the queue is looked at before the loop sleeps. */
void client_wait(struct lapse_client *client, struct pending *pending);
/* As above after a failure: pauses first, 10 ms doubling to 500 ms, jittered. */
void client_wait_again(struct lapse_client *client, struct pending *pending);
void client_wait_end(struct lapse_client *client, struct pending *pending);
/* Something changed for what waits. */
void client_look(struct lapse_client *client);

/* client/call.c and client/watch.c: the client ends. They end what runs; what waits is given up by the client. */
void call_end_all(struct lapse_client *client);
void watch_end_all(struct lapse_client *client);

/* Whether a failed attempt may be repeated elsewhere. */
bool client_is_transient(enum lapse_code code);

#endif
