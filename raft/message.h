/* The frames that nodes send each other. Schema: proto/lapse/peer/v1/peer.proto.
 *
 * Every frame has the same envelope, whatever it is about: the sender's term, its clocks, its stamp, and an echo of the
 * addressee's newest stamp. So any frame serves as evidence (raft/evidence.h) and as a sample of cluster time
 * (raft/cluster_clock.h).
 *
 *   VOTE_REQUEST, VOTE                   elections                       candidate <-> voters
 *   APPEND, APPEND_RESULT                replication and heartbeats      leader <-> followers
 *   TIMEOUT_NOW                          hand over leadership            leader --> follower
 *   CHUNK, CHUNK_ACK                     a snapshot, piece by piece      leader <-> follower
 *   FORWARD, REFUSED                     commands for the leader         follower <-> leader
 *   READ, READ_INDEX                     where is the log's end?         follower <-> leader
 *   PROBE, PROBE_ACK                     are you still in my term?       leader <-> voters
 *   LEASE                                enforcement leases              follower <-> leader (node/lease_frame.h)
 *   AUDIT                                records and heads of the audit  any <-> any (node/audit_frame.h)
 *
 * Frames come from authenticated nodes but are untrusted in form: frame_decode accepts what frame_encode produces
 * and nothing outside of its limits (but other spellings of the same values, as protobuf allows), and the iterators
 * over what it accepted can't fail. */
#ifndef LAPSE_RAFT_MESSAGE_H
#define LAPSE_RAFT_MESSAGE_H

#include "base/bytes.h"
#include "base/limits.h"
#include "raft/storage.h"

enum message_type {
    MESSAGE_VOTE_REQUEST = 1,
    MESSAGE_VOTE = 2,
    MESSAGE_APPEND = 3,
    MESSAGE_APPEND_RESULT = 4,
    MESSAGE_TIMEOUT_NOW = 5,
    MESSAGE_CHUNK = 6,
    MESSAGE_CHUNK_ACK = 7,
    MESSAGE_FORWARD = 8,
    MESSAGE_REFUSED = 9,
    MESSAGE_READ = 10,
    MESSAGE_READ_INDEX = 11,
    MESSAGE_PROBE = 12,
    MESSAGE_PROBE_ACK = 13,
    MESSAGE_LEASE = 14,
    MESSAGE_AUDIT = 15
};
#define MESSAGE_TYPES 16u

/* `leading`: the sender leads `term`. Stamps count within one life of a process; `life` is random and not 0. */
struct message_envelope {
    uint64_t term;
    bool leading;
    uint64_t life, stamp;
    uint64_t echo_life, echo_stamp; /* the addressee's own, as last received; 0: none yet */
    int64_t time_us;                /* cluster time as the sender knows it; 0: it does not */
    uint64_t time_era;              /* the era of that time (raft/cluster_clock.h) */
    int64_t wall_ms;                /* the sender's wall clock */
    int64_t upper_us;               /* cluster time has not passed this, as far as the sender knows; 0: it does not */
};

/* One flat struct; which members mean something depends on the type. Slices borrow from the frame. */
struct message {
    enum message_type type;
    struct message_envelope envelope;

    /* VOTE_REQUEST, VOTE: the term asked for (in a pre-vote one more than the sender's). CHUNK: of the snapshot's last
     * entry. */
    uint64_t term;
    /* VOTE_REQUEST, TIMEOUT_NOW: the sender's last entry. APPEND: the entry before the first one. APPEND_RESULT: how
     * far our logs agree. CHUNK: the last entry in the snapshot. READ_INDEX: what must be applied. */
    uint64_t index;
    uint64_t index_term;
    bool pre_vote;
    bool disrupt_leader;  /* VOTE_REQUEST: the leader itself asked for this election */
    bool granted;         /* VOTE */
    uint64_t commit;      /* APPEND */
    struct slice entries; /* APPEND: message_append_next */
    uint32_t n_entries;   /* APPEND; from decoding only */
    uint64_t rejected;    /* APPEND_RESULT: the `index` that did not match; 0: all is well */
    uint64_t sequence;    /* READ, READ_INDEX; CHUNK, CHUNK_ACK: the transfer's id */
    uint64_t offset;      /* CHUNK: of `data`; CHUNK_ACK: what is expected next */
    uint64_t size;        /* CHUNK: of the whole file */
    uint64_t configuration_index;
    struct slice configuration; /* CHUNK: libraft's encoding */
    struct slice data;          /* CHUNK, LEASE, AUDIT */
    bool last;                  /* CHUNK */
    bool busy;                  /* CHUNK_ACK: can't take a snapshot now */
    struct slice commands;      /* FORWARD: message_forward_next */
    struct slice refusals;      /* REFUSED: message_refused_next */
};

/* Appends the frame to `out`. RESOURCE_EXHAUSTED past the buffer's bound. */
lapse_result frame_encode(const struct message *message, struct buf *out) LAPSE_MUST_USE;
/* INVALID_ARGUMENT, saying what is wrong, unless `frame` is well-formed. */
lapse_result frame_decode(struct slice frame, struct message *message, struct lapse_error *error) LAPSE_MUST_USE;

/* Lists inside a frame: append to a buffer that becomes the slice of the message; read one by one. */
lapse_result message_append_add(struct buf *entries, const struct log_entry *entry) LAPSE_MUST_USE;
struct message_entry {
    uint64_t term;
    uint8_t type;
    struct slice data;
};
bool message_append_next(struct slice *entries, struct message_entry *entry);

struct message_command {
    uint64_t sequence;
    struct slice command;
};
lapse_result message_forward_add(struct buf *commands, struct message_command command) LAPSE_MUST_USE;
bool message_forward_next(struct slice *commands, struct message_command *command);

struct message_refusal {
    uint64_t sequence;
    enum lapse_code code;
    struct slice text;
};
lapse_result message_refused_add(struct buf *refusals, struct message_refusal refusal) LAPSE_MUST_USE;
bool message_refused_next(struct slice *refusals, struct message_refusal *refusal);

#endif
