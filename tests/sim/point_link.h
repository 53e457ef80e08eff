/* A connection between an enforcement point and a node, as TCP and HTTP/2 make it: each direction in order, nothing
 * twice, nothing lost as long as both ends believe in it.
 *
 *   open --close, or an end dies--> the other end reads CLOSED after what was sent before, unless it is cut off
 *   open --cut--> frames of that direction wait for the mending (they arrive late), or are gone and so is the
 * connection: its end over there learns nothing (half-open)
 *
 * Each end lets go by itself; the memory goes with the last of both ends and what is under way. */
#ifndef LAPSE_SIM_POINT_LINK_H
#define LAPSE_SIM_POINT_LINK_H

#include "node/lease_node.h"
#include "store/lock.h"
#include "store/store.h"
#include "tests/sim/sim.h"

enum message_kind {
    /* To the node; as in SubscribeRequest. */
    MESSAGE_REGISTRATION,
    MESSAGE_PING,
    MESSAGE_ACK,
    MESSAGE_FAILURE,
    MESSAGE_GOODBYE,
    /* To the point; as in SubscribeResponse. */
    MESSAGE_REGISTERED,
    MESSAGE_PONG,
    MESSAGE_EVENT,
    MESSAGE_PROGRESS,
    MESSAGE_RESYNC,
    MESSAGE_SNAPSHOT_GRANT,
    MESSAGE_LOCK,
    MESSAGE_SNAPSHOT_LOCK,
    MESSAGE_SNAPSHOT_END,
    MESSAGE_ENDED,
    /* Either way: nothing comes any more. */
    MESSAGE_CLOSED
};

/* What a point knows of a grant. */
struct point_grant {
    struct grant_id id, parent;
    bool active; /* not ended */
    int64_t deadline_ms;
    char subject[32], resource[32];
};

/* And of a lock on a subject or resource. */
struct point_lock {
    enum lock_kind kind;
    char target[32];
    bool lifted;
    uint64_t revision; /* of the lock; lifted: of the event that says so */
};

struct point_message {
    enum message_kind kind;
    uint64_t epoch, revision;    /* REGISTRATION: where to resume; FAILURE; what the others bring */
    struct random_id instance;   /* REGISTRATION */
    uint64_t sequence;           /* PING, PONG */
    int64_t sent_us;             /* PING: true time, for the oracle alone */
    uint32_t ttl_ms;             /* PONG */
    int64_t time_us;             /* PONG */
    uint64_t received, enforced; /* ACK */
    struct point_grant grant;    /* EVENT, SNAPSHOT_GRANT */
    struct point_lock lock;      /* LOCK, SNAPSHOT_LOCK */
    enum lease_end why;          /* ENDED */
};

enum link_side { SIDE_POINT, SIDE_NODE };

struct sim_point;
struct point_link;
struct node_stream;

/* The point's end; the node's begins with link_set_stream. */
struct point_link *link_dial(struct sim_point *point, struct sim_node *node);
void link_ref(struct point_link *link);
void link_unref(struct point_link *link);
/* From `side` to the other one. */
void link_send(struct point_link *link, enum link_side side, const struct point_message *message);
/* `side` hears nothing any more. `told`: the other end gets CLOSED; else it has to find out. */
void link_close(struct point_link *link, enum link_side side, bool told);

struct sim_node *link_node(const struct point_link *link);
struct sim_point *link_point(const struct point_link *link);
/* What the node's process keeps with it; NULL before and after. */
struct node_stream *link_stream(const struct point_link *link);
void link_set_stream(struct point_link *link, struct node_stream *stream);
/* How many messages to the point are under way or unread. */
uint32_t link_unread(const struct point_link *link);
/* The point has read one. */
void link_read(struct point_link *link);

/* Cuts the direction from `side`. */
void link_cut(struct point_link *link, enum link_side side, bool hold);
void link_mend(struct point_link *link);

#endif
