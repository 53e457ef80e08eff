/* The frames between a node's lease_node and the leader's lease_leader. Schema: proto/lapse/peer/v1/lease.proto.
 *
 *   REPORT     node --> leader   ping, and what its points said and how their streams stand
 *   ANSWER     leader --> node   the node lease (or none), admissions, ends
 *   PROGRESS   leader --> node   how a barrier stands
 *
 * Frames come from authenticated nodes but are untrusted in form: lease_frame_decode takes what is written here and
 * nothing else, and the iterators over what it took can't fail. A frame has LEASE_FRAME_MAX bytes at most; whoever adds
 * to one looks at lease_frame_is_full and goes on in another. */
#ifndef LAPSE_NODE_LEASE_FRAME_H
#define LAPSE_NODE_LEASE_FRAME_H

#include "base/bytes.h"
#include "base/limits.h"
#include "node/lease_node.h"

#define LEASE_FRAME_MAX (256u * 1024)
/* Failures of one stream, and so in one item. */
#define LEASE_FAILURES_MAX 16u
/* Durations and times beyond it (35 years) are nonsense: sums of a few can't overflow. */
#define LEASE_TIME_MAX ((uint64_t)1 << 50)

enum lease_kind { LEASE_REPORT = 1, LEASE_ANSWER = 2, LEASE_PROGRESS = 3 };

/* One flat struct; which members mean something depends on the kind. Slices borrow from the frame. */
struct lease_frame {
    enum lease_kind kind;
    uint64_t sent_us;
    uint64_t age_us;
    uint64_t applied;
    uint64_t session;
    uint64_t sequence;
    uint64_t life;
    bool lease;
    uint64_t barrier;
    uint32_t omitted;
    bool complete;     /* REPORT; written by lease_frame_put_complete */
    struct slice list; /* from decoding only: for the iterators */
};

enum lease_state { LEASE_ADMITTED = 0, LEASE_WANTED = 1, LEASE_CUT = 2, LEASE_GONE = 3 };

/* A session under a grant whose end is one of these revisions could not be ended. */
struct lease_failure {
    uint64_t first, last;
    struct slice reason;
};

struct lease_item {
    struct random_id instance;
    enum lease_state state;
    uint64_t want;
    uint64_t left_us;
    uint64_t received, enforced;
    bool goodbye;
    const struct lease_failure *failures; /* for writing; of a decoded item lease_failure_next */
    uint32_t n_failures;
    struct slice failure_list;
};

struct lease_admission {
    struct random_id instance;
    uint64_t want;
};

struct lease_ending {
    struct random_id instance;
    enum lease_end why;
};

struct lease_waiting {
    struct random_id instance;
    struct slice point;
    uint8_t level;
    uint32_t left_ms;
    struct slice reason;
};

/* Writing: begin, then the lists in the order of these functions. The buffer was made with buf_init(..,
 * LEASE_FRAME_MAX) and nothing fails while lease_frame_is_full was false before each item. */
void lease_frame_begin(struct buf *out, const struct lease_frame *frame);
bool lease_frame_is_full(const struct buf *out);
void lease_frame_put_item(struct buf *out, const struct lease_item *item);
void lease_frame_put_follow(struct buf *out, uint64_t barrier);
void lease_frame_put_unfollow(struct buf *out, uint64_t barrier);
void lease_frame_put_complete(struct buf *out);
void lease_frame_put_admission(struct buf *out, const struct lease_admission *admission);
void lease_frame_put_end(struct buf *out, const struct lease_ending *end);
void lease_frame_put_waiting(struct buf *out, const struct lease_waiting *waiting);

/* Whether lease_leader_receive or lease_node_receive is to have it. Looks at the beginning only. */
bool lease_frame_for_leader(struct slice frame);
/* False, and nothing changed, unless `bytes` are well-formed. */
bool lease_frame_decode(struct slice bytes, struct lease_frame *frame) LAPSE_MUST_USE;

/* Reading the lists: begin with frame->list, or item->failure_list; each passes over what isn't its own. */
bool lease_item_next(struct slice *list, struct lease_item *item);
bool lease_follow_next(struct slice *list, uint64_t *barrier);
bool lease_unfollow_next(struct slice *list, uint64_t *barrier);
bool lease_admission_next(struct slice *list, struct lease_admission *admission);
bool lease_end_next(struct slice *list, struct lease_ending *end);
bool lease_waiting_next(struct slice *list, struct lease_waiting *waiting);
bool lease_failure_next(struct slice *list, struct lease_failure *failure);

#endif
