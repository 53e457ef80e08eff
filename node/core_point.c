/* The mails of a point's stream.
 *
 *   edge                                   core
 *   open  --open_mail-------------------->  lease_node_open, linked
 *   tell  --told (allocated)------------->  ack, failure, goodbye: freed; ping: goes back as the pong
 *         <--admitted (allocated)---------  held back until the store has applied its revision
 *         <--ended_mail-------------------  unlinked, once
 *   close --close_mail------------------->  lease_node_close, unlinked
 *         <--the same, as the last mail---  freed by the edge: no mail of this point is under way any more
 *
 * What an edge sends is bounded by the core's mailbox (but close, of which there is one a point); what the core sends
 * is bounded by the pings that the edge let through, and by changes of the leader. */
#include "node/core_point.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "node/core_lease.h"

struct core_point {
    struct core *core;
    struct random_id instance;

    /* The edge's. */
    struct mailbox *reply_to;
    struct core_point_handler handler;
    void *owner;
    bool closed; /* no callback any more */
    struct mail open_mail, ended_mail, close_mail;
    enum lease_end why;

    /* The core's. */
    struct lease_stream *stream; /* NULL: not open, or over */
    struct core_point *next, *prev;
    bool waits; /* admitted at `admitted`, which the store has not applied yet; in the list of those */
    struct core_point *next_waiting, **link_waiting;
    uint64_t admitted;
    bool told; /* of an admission: the next one is "again" */
};

/* --- the core's side: the lists ----------------------------------------------------------------------------------- */

static void link_point(struct core_point *point)
{
    struct core_point **first = &point->core->points.first;
    point->next = *first;
    if (point->next != NULL)
        point->next->prev = point;
    *first = point;
}

static void start_waiting(struct core_point *point)
{
    struct core_point **link = &point->core->points.waiting;
    point->waits = true;
    point->next_waiting = *link;
    point->link_waiting = link;
    if (*link != NULL)
        (*link)->link_waiting = &point->next_waiting;
    *link = point;
}

static void stop_waiting(struct core_point *point)
{
    if (!point->waits)
        return;
    *point->link_waiting = point->next_waiting;
    if (point->next_waiting != NULL)
        point->next_waiting->link_waiting = point->link_waiting;
    point->waits = false;
}

/* The stream is over, whoever ended it. */
static void unlink_point(struct core_point *point)
{
    stop_waiting(point);
    if (point->prev != NULL)
        point->prev->next = point->next;
    else
        point->core->points.first = point->next;
    if (point->next != NULL)
        point->next->prev = point->prev;
    point->next = point->prev = NULL;
    point->stream = NULL;
}

/* --- from the core to the edge ------------------------------------------------------------------------------------ */

struct admitted {
    struct mail mail;
    struct core_point *point;
    uint64_t revision;
    bool again;
};

static void run_admitted(struct mail *mail)
{
    struct admitted *admitted = CONTAINER_OF(mail, struct admitted, mail);
    struct core_point *point = admitted->point;
    if (!point->closed)
        point->handler.on_admitted(point->owner, admitted->revision, admitted->again);
    free(admitted);
}

static void tell_admitted(struct core_point *point)
{
    struct admitted *admitted = mem_alloc(sizeof *admitted);
    *admitted = (struct admitted){{.run = run_admitted}, point, point->admitted, point->told};
    point->told = true;
    mailbox_answer(point->reply_to, &admitted->mail);
}

static bool is_applied(const struct core_point *point)
{
    return store_revision(replica_store(point->core->replica)) >= point->admitted;
}

/* An admission in a later term replaces the one that still waits. */
void core_point_on_admitted(struct core_point *point, uint64_t revision)
{
    stop_waiting(point);
    point->admitted = revision;
    if (is_applied(point))
        tell_admitted(point);
    else
        start_waiting(point);
}

/* The list is short: those who were admitted while this node lags behind the leader. */
void core_points_applied(struct core *core)
{
    struct core_point *point = core->points.waiting;
    while (point != NULL) {
        struct core_point *next = point->next_waiting;
        if (is_applied(point)) {
            stop_waiting(point);
            tell_admitted(point);
        }
        point = next;
    }
}

static void run_ended(struct mail *mail)
{
    struct core_point *point = CONTAINER_OF(mail, struct core_point, ended_mail);
    if (!point->closed)
        point->handler.on_ended(point->owner, point->why);
}

void core_point_on_ended(struct core_point *point, enum lease_end why)
{
    unlink_point(point);
    point->why = why;
    point->ended_mail.run = run_ended;
    mailbox_answer(point->reply_to, &point->ended_mail);
}

/* The node stops: the edges have closed theirs, or never will. Nobody is told. */
void core_points_end(struct core *core)
{
    while (core->points.first != NULL)
        unlink_point(core->points.first);
}

/* --- open and close ----------------------------------------------------------------------------------------------- */

static void run_open(struct mail *mail)
{
    struct core_point *point = CONTAINER_OF(mail, struct core_point, open_mail);
    struct lease_node *node = core_lease_node(point->core);
    if (node == NULL || point->core->closing)
        return;
    point->stream = lease_node_open(node, point->instance, point, clock_boot_us());
    link_point(point);
}

struct core_point *core_point_open(struct core *core, struct mailbox *reply_to, struct random_id instance,
                                   const struct core_point_handler *handler, void *owner)
{
    struct core_point *point = mem_calloc(1, sizeof *point);
    *point = (struct core_point){.core = core,
                                 .instance = instance,
                                 .reply_to = reply_to,
                                 .handler = *handler,
                                 .owner = owner,
                                 .open_mail = {.run = run_open}};
    if (mailbox_post(core_mailbox(core), &point->open_mail))
        return point;
    free(point);
    return NULL;
}

/* The last mail of this point: all that were sent to the edge before have been run. */
static void run_closed(struct mail *mail)
{
    free(CONTAINER_OF(mail, struct core_point, close_mail));
}

static void run_close(struct mail *mail)
{
    struct core_point *point = CONTAINER_OF(mail, struct core_point, close_mail);
    struct lease_node *node = core_lease_node(point->core);
    struct lease_stream *stream = point->stream;
    if (stream != NULL) {
        unlink_point(point);
        lease_node_close(node, stream, clock_boot_us());
    }
    point->close_mail.run = run_closed;
    mailbox_answer(point->reply_to, &point->close_mail);
}

void core_point_close(struct core_point *point)
{
    CHECK(!point->closed);
    point->closed = true;
    point->close_mail.run = run_close;
    mailbox_answer(core_mailbox(point->core), &point->close_mail);
}

/* --- what a point says -------------------------------------------------------------------------------------------- */

struct told {
    struct mail mail;
    struct core_point *point;
    struct core_point_tell tell;
    uint32_t ttl_ms; /* the pong's */
    int64_t time_us;
};

static void run_pong(struct mail *mail)
{
    struct told *told = CONTAINER_OF(mail, struct told, mail);
    struct core_point *point = told->point;
    if (!point->closed)
        point->handler.on_pong(point->owner, told->tell.sequence, told->ttl_ms, told->time_us);
    free(told);
}

/* The bound of cluster time is taken after the ping was sent, which is all that the point relies on. A stream that
 * waits for the revision at which it was admitted is promised nothing. */
static void answer_ping(struct told *told, struct lease_node *node)
{
    struct core_point *point = told->point;
    told->ttl_ms = point->waits ? 0 : lease_node_promise(node, point->stream, clock_boot_us());
    told->time_us = core_lease_time_us(point->core);
    told->mail.run = run_pong;
    mailbox_answer(point->reply_to, &told->mail);
}

static void run_told(struct mail *mail)
{
    struct told *told = CONTAINER_OF(mail, struct told, mail);
    const struct core_point_tell *tell = &told->tell;
    struct lease_node *node = core_lease_node(told->point->core); /* which may end the stream */
    struct lease_stream *stream = told->point->stream;
    if (stream != NULL && tell->word == POINT_PING) {
        answer_ping(told, node);
        return;
    }
    if (stream != NULL && tell->word == POINT_ACK)
        lease_node_ack(node, stream, tell->received, tell->enforced);
    else if (stream != NULL && tell->word == POINT_FAILURE)
        lease_node_fail(node, stream, tell->revision, slice_str(tell->reason));
    else if (stream != NULL)
        lease_node_goodbye(node, stream);
    free(told);
}

bool core_point_tell(struct core_point *point, const struct core_point_tell *tell)
{
    struct told *told = mem_calloc(1, sizeof *told);
    told->mail.run = run_told;
    told->point = point;
    told->tell = *tell;
    if (mailbox_post(core_mailbox(point->core), &told->mail))
        return true;
    free(told);
    return false;
}
