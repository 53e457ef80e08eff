/* One webhook's own thread: an HTTP attempt at a time, by libcurl. What hangs there hangs alone.
 *
 *   core loop --hook_deliver()--> thread: POST --mail--> core loop: delivery->mail.run */
#ifndef LAPSE_NODE_HOOK_DELIVER_H
#define LAPSE_NODE_HOOK_DELIVER_H

#include "node/hook_config.h"
#include "node/mailbox.h"

struct hook_delivery {
    struct mail mail; /* `run` is the asker's */
    struct buf headers, body;
    /* The outcome. */
    bool taken;  /* the receiver answered 2xx, whatever came of the rest of its answer */
    long status; /* HTTP; 0: there was no answer */
    char message[200];
};

struct hook_thread;

/* `options` and `reply_to` outlive it. */
struct hook_thread *hook_thread_start(const struct hook_options *options, struct mailbox *reply_to);
/* The delivery belongs to the thread until its mail runs. One at a time. */
void hook_deliver(struct hook_thread *thread, struct hook_delivery *delivery);
/* Breaks off an attempt under way, and those that come, within a second or so; returns at once. Any number of times,
 * and before hook_thread_stop where several stop together. Accepts NULL. */
void hook_thread_break_off(struct hook_thread *thread);
/* Breaks off an attempt under way and waits for the thread; its mail has been posted then. Accepts NULL. */
void hook_thread_stop(struct hook_thread *thread);

#endif
