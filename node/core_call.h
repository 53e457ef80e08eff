/* A question from an edge to the core, and its answer: the only messages between the two.
 *
 *   edge: fill, core_ask() --mail--> core: run, perhaps wait for a commit or a quorum --mail--> edge: answered()
 *
 * An edge owns the struct before core_ask and again from `answered` on. */
#ifndef LAPSE_NODE_CORE_CALL_H
#define LAPSE_NODE_CORE_CALL_H

#include <stdatomic.h>

#include "node/mailbox.h"
#include "raft/replica.h"

enum core_op {
    CORE_WRITE,       /* `command` -> MutationResponse */
    CORE_SET_ROLES,   /* `command` -> SetRolesResponse */
    CORE_SEED_ROLES,  /* the same without a caller: in the name of the cluster's first operator (`lapsed --dev`) */
    CORE_GET,         /* `grant` -> GetResponse */
    CORE_LIST,        /* `filter`, `cursor`, `page` -> ListResponse */
    CORE_CHECK,       /* `query` -> CheckResponse */
    CORE_EVALUATE,    /* the same without a caller: who asks was admitted by the configuration (http_evaluation.h) */
    CORE_STATUS,      /* -> StatusResponse; answered without a quorum */
    CORE_ROLES,       /* -> ListRolesResponse */
    CORE_TRANSFER,    /* `node_id` -> TransferLeadershipResponse */
    CORE_ADD_NODE,    /* `node_id`, `address` -> AddNodeResponse; likewise on the leader only */
    CORE_REMOVE_NODE, /* `node_id` -> RemoveNodeResponse */
    CORE_WATCH_OPEN,  /* -> `revision`, `epoch`, `time_ms`, and what the caller may see; linearizable */
    CORE_GUARD_OPEN,  /* the same for an enforcement point; PERMISSION_DENIED unless the caller may guard all of `scope`
                       */
    CORE_REVOKE_MATCHING, /* `command` -> RevokeMatchingResponse */
    CORE_REVOKE_FOLLOW,   /* `command` of a revocation -> its first RevokeProgress, `barrier` and `version` */
    CORE_FOLLOW,  /* `barrier`, `version` -> a newer RevokeProgress when there is one, or the `last`: core_barrier.h */
    CORE_POINTS,  /* `after`, `cursor`, `page` -> ListPointsResponse */
    CORE_BARRIER, /* `grant`, or if that is zero `barrier` -> GetBarrierResponse */
    CORE_CHANGE,  /* `command` about what governs -> ChangeResponse; may wait as a revocation does */
    CORE_OBJECTS, /* `kind`, `prefix`, `after`, `page` -> ListPoliciesResponse, ListLocksResponse, ... */
    CORE_AUDIT_OPEN, /* -> `revision`, `epoch`, `time_ms`; linearizable; PERMISSION_DENIED unless the caller may read it all */
    CORE_SCAN,    /* `filter`, `cursor`, `page` -> snapshot_grant messages, one WatchResponse each, length-prefixed */
    CORE_SCAN_LOCKS, /* behind the name `after` -> snapshot_lock messages, one SubscribeResponse each, likewise */
    CORE_OPS
};

struct tracked;
struct core_text;

struct core_call {
    struct mail mail;
    struct core *core;
    struct mailbox *reply_to;
    void (*answered)(struct core_call *call); /* on the core loop; mails the call to reply_to */
    void *owner;                              /* the edge's */

    enum core_op op;
    char principal[LIMIT_PRINCIPAL + 1];
    int64_t timeout_ms;

    /* The question. */
    struct buf command; /* encoded; the request key is always set */
    struct grant_id grant;
    struct store_filter filter;
    struct grant_query query;
    struct slice scope; /* GUARD_OPEN; SCAN: only grants that overlap it; empty: all */
    struct slice point; /* GUARD_OPEN: its id, when `instance` was connected before; empty: it is new */
    struct random_id instance;
    uint64_t cursor;
    uint32_t page;
    struct slice after; /* POINTS: begin behind this id and the revision `cursor`; empty: at the first. OBJECTS and
                           SCAN_LOCKS: behind this name */
    enum object_kind kind; /* OBJECTS */
    struct slice prefix;   /* OBJECTS: only names that begin with it */
    uint64_t node_id;
    struct slice address;
    uint64_t barrier;      /* the answer of a revocation; the question of FOLLOW and BARRIER */
    uint64_t version;      /* CORE_FOLLOW: of the progress that was seen last; 0: none */
    uint32_t wait;         /* lapse.v1.WaitLevel; revocations only */
    int64_t wait_until_us; /* boot time at which the wait is over */
    bool open_ended;       /* its caller has set no deadline */
    uint8_t *place;          /* SCAN_LOCKS: the room for `after` */
    struct core_text *texts; /* the caller's, owned: the filter, the query and others point into them */

    /* The answer: `error.code` LAPSE_OK, or why not. */
    struct lapse_error error;
    struct buf response;
    uint64_t epoch, revision;
    int64_t time_ms;
    uint32_t roles; /* of the caller; an enforcer's with the resources that it may guard: */
    bool guards_all;
    struct buf guards; /* patterns, one space between each; empty unless its role is limited to them */
    bool superseded;   /* GUARD_OPEN: `instance` is over, and another process has its id */
    bool more;         /* SCAN, SCAN_LOCKS: `cursor` or `after` was advanced and there is more */
    bool last; /* FOLLOW: `response` is the last message, and `error` the status behind it, which may not be OK */

    /* The core's. */
    struct replica_write write;
    struct replica_read read;
    bool repeated;           /* the outcome of an earlier call */
    struct tracked *tracked; /* the barrier that it waits for; NULL: it doesn't */
    struct core_call *next_wait, *prev_wait;
    int64_t not_before_us; /* FOLLOW: no answer before */
    _Atomic(bool) abandoned;
};

/* Room of the call's own, as long as it lives. A watch is a call that lives for weeks: it keeps no more than it has to. */
uint8_t *core_call_room(struct core_call *call, size_t len);
/* Copies a text into such room; an empty slice when it is empty. */
struct slice core_call_keep(struct core_call *call, const char *text, size_t len);

/* Any thread, for a call that was asked and is not answered yet: nobody waits for it any more. If it waits for a
 * barrier it is answered at once (CANCELLED); any other goes on. */
void core_call_abandon(struct core_call *call);

struct core_call *core_call_new(enum core_op op, const char *principal, int64_t timeout_ms);
void core_call_free(struct core_call *call);

/* Who sees what, for answers, snapshots and events alike: operators, auditors, approvers and enforcers without a scope
 * everything, others what they are subject or requester of, and what overlaps their scope. By what an answer says about
 * its caller. */
bool core_call_sees_all(const struct core_call *call);
bool core_call_may_see(const struct core_call *call, const struct grant *grant);

#endif
