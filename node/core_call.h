/* A question from an edge to the core, and its answer: the only messages between the two.
 *
 *   edge: fill, core_ask() --mail--> core: run, perhaps wait for a commit or a quorum --mail--> edge: answered()
 *
 * An edge owns the struct before core_ask and again from `answered` on. */
#ifndef LAPSE_NODE_CORE_CALL_H
#define LAPSE_NODE_CORE_CALL_H

#include "node/mailbox.h"
#include "raft/replica.h"

enum core_op {
    CORE_WRITE,       /* `command` -> MutationResponse */
    CORE_SET_ROLES,   /* `command` -> SetRolesResponse */
    CORE_SEED_ROLES,  /* the same without a caller: in the name of the cluster's first operator (`lapsed --dev`) */
    CORE_GET,         /* `grant` -> GetResponse */
    CORE_LIST,        /* `filter`, `cursor`, `page` -> ListResponse */
    CORE_CHECK,       /* `query` -> CheckResponse */
    CORE_STATUS,      /* -> StatusResponse; answered without a quorum */
    CORE_ROLES,       /* -> ListRolesResponse */
    CORE_TRANSFER,    /* `node_id` -> TransferLeadershipResponse */
    CORE_ADD_NODE,    /* `node_id`, `address` -> AddNodeResponse; likewise on the leader only */
    CORE_REMOVE_NODE, /* `node_id` -> RemoveNodeResponse */
    CORE_WATCH_OPEN,  /* -> `revision`, `epoch`, `time_ms`, `roles` of the caller, linearizable */
    CORE_SCAN, /* `filter`, `cursor`, `page` -> snapshot_grant messages, one WatchResponse each, length-prefixed */
    CORE_OPS
};

/* A caller's texts, owned: the filter and the query point into `text`. */
#define CORE_CALL_TEXT_SIZE 2560

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
    uint64_t cursor;
    uint32_t page;
    uint64_t node_id;
    struct slice address;
    uint8_t text[CORE_CALL_TEXT_SIZE];
    size_t text_len;

    /* The answer: `error.code` LAPSE_OK, or why not. */
    struct lapse_error error;
    struct buf response;
    uint64_t epoch, revision;
    int64_t time_ms;
    uint32_t roles;
    bool more; /* SCAN: `cursor` was advanced and there is more */

    /* The core's. */
    struct replica_write write;
    struct replica_read read;
};

/* Copies a NUL-terminated text into the call's own memory; an empty slice when it is empty. The texts of one message
 * always fit: CORE_CALL_TEXT_SIZE is checked against their limits in core_call.c. */
struct slice core_call_keep(struct core_call *call, const char *text, size_t len);

struct core_call *core_call_new(enum core_op op, const char *principal, int64_t timeout_ms);
void core_call_free(struct core_call *call);

/* Who sees what, for answers, snapshots and events alike: with one of these roles everything, else what one is subject
 * or requester of. */
bool core_sees_all(uint32_t roles);
bool core_may_see(uint32_t roles, const char *principal, const struct grant *grant);

#endif
