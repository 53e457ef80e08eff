/* Each direction is a queue of deliveries on the virtual time line. */
#include "tests/sim/point_link.h"

#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/node_lease.h"
#include "tests/sim/point.h"

struct way {
    bool open; /* the receiving end still listens */
    bool cut, hold;
    int64_t last_us;
    struct flight *held, **held_tail;
};

struct point_link {
    struct sim *sim;
    struct sim_point *point;
    struct sim_node *node;
    uint64_t node_incarnation, point_incarnation;
    struct node_stream *stream;
    int64_t delay_us;
    uint32_t unread;
    struct way ways[2]; /* by the sending side */
    uint32_t refs;      /* each end that holds it, each message under way */
};

struct flight {
    struct point_link *link;
    enum link_side from;
    struct point_message message;
    struct flight *next;
};

void link_ref(struct point_link *link)
{
    link->refs++;
}

void link_unref(struct point_link *link)
{
    if (--link->refs == 0) {
        free(link);
    }
}

static void flight_drop(void *arg, uint64_t tag)
{
    (void)tag;
    struct flight *flight = arg;
    if (flight->from == SIDE_NODE) {
        flight->link->unread--;
    }
    link_unref(flight->link);
    free(flight);
}

static void held_drop(struct way *way)
{
    while (way->held != NULL) {
        struct flight *flight = way->held;
        way->held = flight->next;
        flight_drop(flight, 0);
    }
    way->held_tail = &way->held;
}

struct point_link *link_dial(struct sim_point *point, struct sim_node *node)
{
    struct point_link *link = mem_calloc(1, sizeof(*link));
    *link = (struct point_link){.sim = node->sim,
                                .point = point,
                                .node = node,
                                .node_incarnation = node->incarnation,
                                .point_incarnation = point->incarnation,
                                .delay_us = sim_between(node->sim, 100, 4000),
                                .refs = 1};
    for (uint32_t i = 0; i < 2; i++) {
        link->ways[i].open = true;
        link->ways[i].held_tail = &link->ways[i].held;
    }
    return link;
}

/* True when the message was handed over; its flight is gone then but for the count of unread ones. */
static void hand_over(struct flight *flight)
{
    struct point_link *link = flight->link;
    if (flight->from == SIDE_POINT) {
        node_lease_mail(link->node, link, &flight->message);
    } else {
        link->unread++; /* until link_read */
        point_receive(link->point, link, &flight->message);
    }
}

/* Nobody is there: the machine over there says so, if it can be reached. */
static bool is_gone(const struct point_link *link, enum link_side from)
{
    if (from == SIDE_POINT) {
        return !link->node->up || link->node->fatal || link->node->incarnation != link->node_incarnation;
    }
    return !link->point->up || link->point->incarnation != link->point_incarnation;
}

static void arrive(void *arg, uint64_t tag)
{
    (void)tag;
    struct flight *flight = arg;
    struct point_link *link = flight->link;
    struct way *way = &link->ways[flight->from];
    if (way->cut && way->hold) {
        flight->next = NULL;
        *way->held_tail = flight;
        way->held_tail = &flight->next;
        return;
    }
    if (!way->cut && is_gone(link, flight->from)) {
        static const struct point_message closed = {.kind = MESSAGE_CLOSED};
        if (flight->message.kind != MESSAGE_CLOSED) {
            link_send(link, 1 - flight->from, &closed);
        }
    } else if (!way->cut && way->open) {
        hand_over(flight);
    }
    flight_drop(flight, 0);
}

static void launch(struct flight *flight, int64_t at_us)
{
    struct point_link *link = flight->link;
    struct way *way = &link->ways[flight->from];
    way->last_us = at_us > way->last_us ? at_us : way->last_us + 1;
    events_add(&link->sim->events,
               (struct event){.at_us = way->last_us, .run = arrive, .drop = flight_drop, .arg = flight});
}

void link_send(struct point_link *link, enum link_side side, const struct point_message *message)
{
    struct sim *sim = link->sim;
    struct flight *flight = mem_calloc(1, sizeof(*flight));
    *flight = (struct flight){.link = link, .from = side, .message = *message};
    link->refs++;
    link->unread += side == SIDE_NODE;
    int64_t delay_us = link->delay_us / 2 + (int64_t)sim_below(sim, (uint64_t)link->delay_us);
    if (sim_chance(sim, 3000)) {
        delay_us += sim_around(sim, 20 * link->delay_us); /* a retransmission */
    }
    launch(flight, sim->now_us + delay_us);
}

void link_close(struct point_link *link, enum link_side side, bool told)
{
    static const struct point_message closed = {.kind = MESSAGE_CLOSED};
    if (told) {
        link_send(link, side, &closed);
    }
    link->ways[1 - side].open = false;
    held_drop(&link->ways[1 - side]);
    if (side == SIDE_NODE) {
        link->stream = NULL;
    } else {
        /* Nobody mends it any more: what was held back is lost. */
        held_drop(&link->ways[SIDE_POINT]);
        link->ways[SIDE_POINT].hold = link->ways[SIDE_NODE].hold = false;
    }
    link_unref(link);
}

struct sim_node *link_node(const struct point_link *link)
{
    return link->node;
}

struct sim_point *link_point(const struct point_link *link)
{
    return link->point;
}

struct node_stream *link_stream(const struct point_link *link)
{
    return link->stream;
}

void link_set_stream(struct point_link *link, struct node_stream *stream)
{
    link_ref(link); /* until link_close */
    link->stream = stream;
}

uint32_t link_unread(const struct point_link *link)
{
    return link->unread;
}

void link_read(struct point_link *link)
{
    link->unread--;
}

void link_cut(struct point_link *link, enum link_side side, bool hold)
{
    struct way *way = &link->ways[side];
    way->hold = hold && (!way->cut || way->hold); /* what is lost once can't be made up for */
    way->cut = true;
    if (!way->hold) {
        held_drop(way);
    }
}

/* What was lost is lost: a connection with a gap never delivers again what comes behind it. */
void link_mend(struct point_link *link)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct way *way = &link->ways[i];
        if (!way->cut || !way->hold) {
            continue;
        }
        way->cut = false;
        struct flight *flight = way->held;
        way->held = NULL;
        way->held_tail = &way->held;
        link_ref(link);
        while (flight != NULL) {
            struct flight *next = flight->next;
            arrive(flight, 0); /* before what is still under way */
            flight = next;
        }
        link_unref(link);
    }
}
