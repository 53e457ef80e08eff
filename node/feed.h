/* A feed: what one subscriber gets of the event ring, as a stream on one gRPC call (guarantee G7). Watches and
 * enforcement points are feeds with different tastes.
 *
 *             the opening question is answered
 *   OPENING ----------- handler.opened -----------> STREAMING <------------------------+
 *      |                                               | the cursor fell off the ring    | last slice: snapshot_end
 *      |  feed_snapshot                                v                                 |
 *      +-------------------------------------------> SNAPSHOT: slice by slice -----------+
 *   any of them --> ENDED (feed_end, or the stream is closed)
 *
 * A snapshot is taken in slices while the store goes on changing. Its end carries the revision at which it *began*, and
 * the events after that revision follow from the ring: so nothing is missed, each event is sent once, and a snapshot's
 * grant that is already newer than an event says so by its own revision. No message is ever pushed at a connection that
 * isn't writable: the feed waits, and its place in the ring is all that it holds.
 *
 * The locks, few beside the grants, come behind these; who gets them must take a lock's event as void when what is known
 * of that lock is newer.
 *
 * A service embeds a feed and frees it in handler.free: when the stream is closed and every hold is given back. All on
 * the edge's loop. */
#ifndef LAPSE_NODE_FEED_H
#define LAPSE_NODE_FEED_H

#include "node/edge_internal.h"
#include "node/metrics.h"
#include "proto/encode.h"

struct feed;

struct feed_handler {
    /* The opening question was answered (feed->asked): go on with feed_stream or feed_snapshot, now or later. */
    void (*opened)(struct feed *feed);
    /* NULL, or: `asked` says (again) who asks and what they may see. */
    void (*judged)(struct feed *feed);
    /* NULL, or: something is new in the ring, or the stream writable, while OPENING. */
    void (*opening)(struct feed *feed);
    /* Whether the subscriber gets this event; asked once for each event, in order. */
    bool (*wants)(struct feed *feed, const struct ring_event *event);
    /* NULL, or: all that could be sent for now has been. May send, and end. */
    void (*pumped)(struct feed *feed);
    /* NULL, or: every now and then, while not ENDED. */
    void (*tick)(struct feed *feed, int64_t now_ms);
    /* NULL, or: it is ENDED, for whatever reason. Once. */
    void (*ended)(struct feed *feed);
    void (*free)(struct feed *feed);
    bool locks;           /* its snapshots show the locks on subjects and resources, too */
    const char *farewell; /* why it ends when the node stops, and what to do */
    enum metric resyncs;  /* where they are counted */
};

enum feed_stage { FEED_OPENING, FEED_SNAPSHOT, FEED_STREAMING, FEED_ENDED };

struct feed {
    const struct feed_handler *handler;
    struct edge *edge;
    struct grpc_call *grpc;  /* NULL once the stream is closed */
    struct core_call *asked; /* what is wanted, and who asks; at the core, or resting here between two questions */
    enum core_op opening_op; /* asked at the beginning, and again whenever roles have changed */
    bool waits;              /* `asked` is at the core */
    struct admission_entry *entry;
    enum feed_stage stage;
    bool writable;
    bool recheck;             /* roles have changed */
    bool scans_locks;         /* SNAPSHOT: the grants are sent */
    uint64_t epoch, revision; /* the cursor */
    uint64_t told;            /* the highest revision that the subscriber was brought to by this stream */
    uint64_t snapshot_revision;
    uint32_t progress_ms; /* a mark after so long without an event */
    int64_t sent_ms;      /* when the last event or mark went out */
    uint32_t holds;       /* the stream, a question at the core, and whatever the service has under way */
    uint64_t place; /* in the edge's line */
    TAILQ_ENTRY(feed) in_line;
};

/* Begins with a stream's first message. RESOURCE_EXHAUSTED: its principal has too many; in any case the feed exists
 * from here on and gets feed_closed. */
lapse_result feed_init(struct feed *feed, struct grpc_call *grpc, enum core_op opening_op,
                       const struct feed_handler *handler, struct lapse_error *error) LAPSE_MUST_USE;
/* Asks the opening question; everything in `asked` is filled in. */
void feed_open(struct feed *feed);

/* Whether the cursor that the subscriber brought (epoch, revision) connects: NULL, or why it doesn't. It becomes one of
 * this cluster's epoch either way. */
const char *feed_resume(struct feed *feed);
/* From the cursor on. */
void feed_stream(struct feed *feed);
/* A snapshot, and what follows it; `reason` NULL: the subscriber has nothing yet. */
void feed_snapshot(struct feed *feed, const char *reason);

/* A message in the order of the events: everything the subscriber wants up to `revision` has been sent. */
void feed_mark(struct feed *feed, uint64_t revision,
               lapse_result (*encode)(const struct proto_point *point, struct buf *out));
/* Any other message; `encoded` is what its encoder said about `bytes`, which are freed. Only small ones, which always
 * fit. */
void feed_send(struct feed *feed, lapse_result encoded, struct buf *bytes);
/* How far the ring is, and what time it is, for the feeds of one slice (feed_line.h). */
struct feed_news {
    uint64_t epoch, revision;
    int64_t now_ms;
};
/* Its turn: sends what can be sent, and what is due by the clock. */
void feed_turn(struct feed *feed, const struct feed_news *news);
/* Sends what can be sent. */
void feed_pump(struct feed *feed);
/* Once; later calls do nothing. */
void feed_end(struct feed *feed, enum lapse_code code, const char *message);

/* gRPC's on_writable and on_close. */
void feed_writable(struct feed *feed);
void feed_closed(struct feed *feed);

/* Something of the service's refers to the feed. */
void feed_hold(struct feed *feed);
void feed_release(struct feed *feed);

#endif
