/* A node's side of the enforcement leases: the promises it makes to the points that are connected to it, and what it
 * tells the leader about them.
 *
 *   stream:  open --> WANTED --leader's answer--> ADMITTED --> pings get promises --> close
 *                        ^                            |
 *                        '---- another term ----------'
 *
 *   to the leader, at most one frame an iteration, and one every LEASE_PING_US:
 *     PING(sent, process age, applied revision) + REPORT(session, sequence, items: wanted, acks, failures, cut, gone)
 *   from the leader:
 *     PONG(echo of sent: node lease, or none) + acknowledgement of the report's sequence + admissions, refusals, ends
 *     + progress of barriers that this node follows
 *
 * It makes no promise without a node lease of the present term (P4), to a stream that is not admitted in it (P2), or to
 * a point that has not received a barrier which this node has applied (P5). One thread; pure but for the io; callbacks
 * run from lease_node_receive, _applied, _tick and _flush, never on the stack of the calls about streams. */
#ifndef LAPSE_NODE_LEASE_NODE_H
#define LAPSE_NODE_LEASE_NODE_H

#include "node/lease.h"
#include "store/store.h"

struct lease_node;
struct lease_stream; /* one stream of a point; owned by lease_node */

enum lease_end {
    LEASE_END_LAPSED = 1,
    LEASE_END_FENCED,
    LEASE_END_UNKNOWN,
    LEASE_END_REPLACED /* by a newer stream of the same instance */
};

/* How a barrier stands, as the leader last told. */
struct lease_progress {
    uint64_t barrier;
    bool done;
    uint32_t n;       /* points that are not ENFORCED, at most LEASE_PROGRESS_MAX; those that are WAITING first */
    uint32_t omitted; /* beyond those */
    struct lease_progress_point {
        struct random_id instance;
        char point[LIMIT_POINT_ID + 1];
        uint8_t level; /* enum lease_level or receipt_level */
        uint32_t left_ms;
        char reason[LIMIT_RECEIPT_REASON + 1];
    } * points;
};
#define LEASE_PROGRESS_MAX 100u

/* Whether an instance of the point `id` is registered and not fenced that is newer than `revision`. */
bool lease_has_successor(const struct store *store, struct slice id, uint64_t revision);

struct lease_node_io {
    /* To the leader (which may be this very node); best effort; borrowed for the call. */
    void (*send)(void *arg, uint64_t to, struct slice frame);
    /* Serve the stream from a store that has applied `revision`, not before. Called again, with `again` set, when the
     * stream is admitted anew (after a change of leader, or when it had been waited for): it goes on. */
    void (*on_admitted)(void *arg, void *owner, uint64_t revision, bool again);
    /* The stream is over; lease_node has forgotten it. */
    void (*on_ended)(void *arg, void *owner, enum lease_end why);
    /* Progress of a barrier that lease_node_follow asked for. Lent. */
    void (*on_progress)(void *arg, const struct lease_progress *progress);
};

/* `life`: of this process, the replica's (replica_life); `now_us` is taken as the beginning of the process, and must
 * not be before it really made its last promise in an earlier life: create it after the data directory is locked.
 * `store` may change with lease_node_set_store (a snapshot was installed). */
struct lease_node *lease_node_new(uint64_t node_id, uint64_t life, const struct store *store, int64_t now_us,
                                  const struct lease_node_io *io, void *arg);
void lease_node_free(struct lease_node *node); /* open streams are forgotten without a callback */

/* From the replica: term and leader (0: unknown) as often as they change; the store was changed by commands; another
 * store took its place; a frame of the leader's `term`. */
void lease_node_set_term(struct lease_node *node, uint64_t term, uint64_t leader, int64_t now_us);
void lease_node_applied(struct lease_node *node, int64_t now_us);
void lease_node_set_store(struct lease_node *node, const struct store *store, int64_t now_us);
void lease_node_receive(struct lease_node *node, uint64_t from, uint64_t term, struct slice frame, int64_t now_us);

/* A stream of a registered instance (its REGISTER has been applied here). The instance's older stream here ends with
 * REPLACED. */
struct lease_stream *lease_node_open(struct lease_node *node, struct random_id instance, void *owner, int64_t now_us);
void lease_node_close(struct lease_node *node, struct lease_stream *stream, int64_t now_us);
/* For the answer to a ping that has arrived: how long the point may decide, from its sending on; 0: no promise. The
 * promise counts as made. `now_us` was read from the clock after the ping had been taken. */
uint32_t lease_node_promise(struct lease_node *node, struct lease_stream *stream, int64_t now_us);
/* Watermarks never go back; smaller ones are ignored. The caller has checked that they are not above what was sent. */
void lease_node_ack(struct lease_node *node, struct lease_stream *stream, uint64_t received, uint64_t enforced);
void lease_node_fail(struct lease_node *node, struct lease_stream *stream, uint64_t revision, struct slice reason);
/* It said goodbye: it decides nothing any more. */
void lease_node_goodbye(struct lease_node *node, struct lease_stream *stream);

/* A caller here wants to see how a barrier stands: on_progress comes now and then until it is done or unfollowed.
 * Counted: as many unfollows as follows. */
void lease_node_follow(struct lease_node *node, uint64_t barrier);
void lease_node_unfollow(struct lease_node *node, uint64_t barrier);

/* At the end of each loop iteration: sends what is new. */
void lease_node_flush(struct lease_node *node, int64_t now_us);
void lease_node_tick(struct lease_node *node, int64_t now_us);
int64_t lease_node_next_due_us(const struct lease_node *node);

struct lease_node_status {
    bool holds_lease;
    uint32_t streams, admitted;
    uint64_t promises, refused_promises;
};
void lease_node_get_status(const struct lease_node *node, int64_t now_us, struct lease_node_status *status);

#endif
