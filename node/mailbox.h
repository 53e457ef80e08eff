/* How loops talk: a bounded queue of messages that run on the receiving loop, in the order in which they were posted.
 *
 * Nothing else crosses threads but the event ring and the metrics. A mail is embedded in whatever it carries; its owner
 * is the receiver from the moment it is posted. */
#ifndef LAPSE_NODE_MAILBOX_H
#define LAPSE_NODE_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/wake.h"

struct mail {
    void (*run)(struct mail *mail); /* on the receiving loop */
    struct mail *next;              /* the mailbox's */
};

struct mailbox {
    struct wake wake;
    pthread_mutex_t lock;
    struct mail *head, **tail;
    uint32_t waiting, max;
};

/* On the loop's thread, or before it runs. The mailbox keeps the loop alive until mailbox_close. */
void mailbox_init(struct mailbox *mailbox, uv_loop_t *loop, uint32_t max);
/* Any thread. False when `max` mails wait: the sender keeps the mail and refuses what it was for. */
bool mailbox_post(struct mailbox *mailbox, struct mail *mail);
/* Any thread; for answers, whose number the senders of questions have bounded. */
void mailbox_answer(struct mailbox *mailbox, struct mail *mail);
/* On the loop's thread, when nobody posts any more: runs what is left, then closes the handle. */
void mailbox_close(struct mailbox *mailbox);

#endif
