#include "node/mailbox.h"

#include <stddef.h>

#include "base/check.h"

static void run_all(struct mailbox *mailbox)
{
    CHECK(pthread_mutex_lock(&mailbox->lock) == 0);
    struct mail *mail = mailbox->head;
    mailbox->head = NULL;
    mailbox->tail = &mailbox->head;
    mailbox->waiting = 0;
    CHECK(pthread_mutex_unlock(&mailbox->lock) == 0);
    while (mail != NULL) {
        struct mail *next = mail->next; /* running it may free it */
        mail->run(mail);
        mail = next;
    }
}

static void on_wake(struct wake *wake)
{
    run_all(CONTAINER_OF(wake, struct mailbox, wake));
}

void mailbox_init(struct mailbox *mailbox, uv_loop_t *loop, uint32_t max)
{
    CHECK(wake_init(&mailbox->wake, loop, on_wake));
    CHECK(pthread_mutex_init(&mailbox->lock, NULL) == 0);
    mailbox->head = NULL;
    mailbox->tail = &mailbox->head;
    mailbox->waiting = 0;
    mailbox->max = max;
}

static bool post(struct mailbox *mailbox, struct mail *mail, bool bounded)
{
    mail->next = NULL;
    CHECK(pthread_mutex_lock(&mailbox->lock) == 0);
    bool taken = !bounded || mailbox->waiting < mailbox->max;
    bool first = mailbox->head == NULL;
    if (taken) {
        *mailbox->tail = mail;
        mailbox->tail = &mail->next;
        mailbox->waiting++;
    }
    CHECK(pthread_mutex_unlock(&mailbox->lock) == 0);
    if (taken && first)
        wake_send(&mailbox->wake);
    return taken;
}

bool mailbox_post(struct mailbox *mailbox, struct mail *mail)
{
    return post(mailbox, mail, true);
}

void mailbox_answer(struct mailbox *mailbox, struct mail *mail)
{
    CHECK(post(mailbox, mail, false));
}

static void on_closed(struct wake *wake)
{
    struct mailbox *mailbox = CONTAINER_OF(wake, struct mailbox, wake);
    CHECK(pthread_mutex_destroy(&mailbox->lock) == 0);
}

void mailbox_close(struct mailbox *mailbox)
{
    run_all(mailbox);
    wake_close(&mailbox->wake, on_closed);
}
