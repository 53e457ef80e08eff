/* A node's enforcement leases: the real lease_node and lease_leader, wired to replica, store and ring as in lapsed's
 * core (node/core_lease.c), the streams of its points, and the calls that wait for a barrier. All of it ends with the
 * process. */
#ifndef LAPSE_SIM_NODE_LEASE_H
#define LAPSE_SIM_NODE_LEASE_H

#include "node/lease_leader.h"
#include "node/lease_node.h"
#include "raft/replica.h"
#include "tests/sim/node.h"
#include "tests/sim/point_link.h"

struct node_lease;

/* After the replica was made; node_lease_started when it runs. */
struct node_lease *node_lease_new(struct sim_node *node);
void node_lease_started(struct node_lease *lease);
void node_lease_free(struct node_lease *lease);

/* From the replica's observer. */
void node_lease_on_frame(struct node_lease *lease, uint64_t from, uint64_t life, uint64_t term, struct slice frame);
void node_lease_on_leadership(struct node_lease *lease, enum replica_state state, uint64_t leader, uint64_t term);
void node_lease_on_members(struct node_lease *lease, const struct replica_member *members, uint32_t n);
void node_lease_on_applied(struct node_lease *lease);
void node_lease_on_store_replaced(struct node_lease *lease);

/* In each iteration of the node's loop: before replica_flush, and after it. */
void node_lease_tick(struct node_lease *lease);
void node_lease_flush(struct node_lease *lease);
int64_t node_lease_next_due_us(const struct node_lease *lease);

/* A message of a point has arrived at the machine. */
void node_lease_mail(struct sim_node *node, struct point_link *link, const struct point_message *message);

/* Waits until a barrier is known to be enforced (or received, at `level`); called when it is, or when it is known that
 * it won't be (FAILED). Memory of the caller. */
struct node_wait {
    void (*done)(struct node_wait *wait, bool ok);
    void *owner;
    uint64_t barrier;
    enum receipt_level level; /* RECEIPT_ENFORCED, or RECEIPT_RECEIVED */
    /* private */
    bool received; /* by what the leader told */
    struct node_wait *next;
};
/* As in lapse.v1.ReceiptLevel: levels that are never committed. */
#define RECEIPT_RECEIVED 5
#define RECEIPT_WAITING 6
void node_lease_wait(struct node_lease *lease, struct node_wait *wait);
void node_lease_cancel(struct node_lease *lease, struct node_wait *wait);

/* For node_stream.c. */
struct lease_node *node_lease_node(struct node_lease *lease);
struct sim_node *node_lease_owner(struct node_lease *lease);

/* --- node_stream.c --- */

/* A stream as node/service_enforcement.c serves it. */
struct node_stream {
    struct node_lease *lease;
    struct point_link *link;
    struct random_id instance;
    char scope[64];
    uint64_t registered;      /* the revision of its registration */
    uint64_t epoch, revision; /* where its cursor stands */
    uint64_t resume;          /* what the point said that it has; 0: nothing */
    uint64_t wanted;          /* the store must have it before the stream is served */
    uint64_t sent;            /* what may be acknowledged */
    bool admitted, serving, marked, in_snapshot;
    uint64_t snapshot_cursor;
    bool scans_locks;    /* in_snapshot: the grants are sent */
    char after_lock[48]; /* the name of the last lock that was */
    struct lease_stream *promises;
    bool writing;
    struct replica_write write;
    int64_t heard_us, marked_us; /* boot time */
    struct node_stream *next;
};

struct node_stream *stream_open(struct node_lease *lease, struct point_link *link, const struct point_message *message);
void stream_take(struct node_stream *stream, const struct point_message *message);
/* Sends what there is; false: it is over, close it. */
bool stream_pump(struct node_stream *stream);
/* Unlinks nothing: the owner of the list does. */
void stream_close(struct node_stream *stream, bool told);
void stream_on_store_replaced(struct node_stream *stream);
void stream_on_admitted(struct node_stream *stream, uint64_t revision);

#endif
