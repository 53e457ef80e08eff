/* Commands: everything that can change the store, as plain data, and its bytes in the log.
 *
 * The schema of the bytes is proto/lapse/disk/v1/command.proto. Slices of a decoded command borrow from the encoded
 * bytes. `command_validate` knows every limit and is called twice: by the node that takes a call, for its error
 * message, and by store_apply, so that no node can smuggle a command past it. */
#ifndef LAPSE_STORE_COMMAND_H
#define LAPSE_STORE_COMMAND_H

#include "store/grant.h"

enum command_type {
    COMMAND_REQUEST = 1,
    COMMAND_APPROVE = 2,
    COMMAND_DENY = 3,
    COMMAND_CANCEL = 4,
    COMMAND_USE = 5,
    COMMAND_COMPLETE = 6,
    COMMAND_REVOKE = 7,
    COMMAND_ADVANCE = 8,        /* internal: act on timers that are due at the entry's time, at most `limit` of them */
    COMMAND_SET_ROLES = 9,      /* who may do what; by an operator */
    COMMAND_INIT = 10,          /* internal, the first command of a cluster: epoch, name and the first operator */
    COMMAND_REGISTER = 11,      /* an enforcement point's instance; by an enforcer */
    COMMAND_RECEIPTS = 12,      /* internal: what points have confirmed, or that they were waited out */
    COMMAND_END_POINT = 13,     /* internal: an instance is over, for `count` (enum point_end) */
    COMMAND_SESSION_BEGIN = 14, /* a point reports; by the principal that registered it */
    COMMAND_SESSION_END = 15,
    COMMAND_REVOKE_MATCHING = 16, /* all live grants that `filter` takes; by an operator */
    /* Governance (0012). `value` is a lapse.v1.Policy, Lock, ...; `name` names the one that is meant. */
    COMMAND_APPLY_POLICY = 17,       /* `value`; `revision`: the version that it replaces, 0: any */
    COMMAND_REMOVE_POLICY = 18,      /* `name`; `text`: the reason, as in all below */
    COMMAND_LOCK = 19,               /* `value` */
    COMMAND_UNLOCK = 20,             /* `name` */
    COMMAND_OFFBOARD = 21,           /* `member`, `text` */
    COMMAND_PUT_ELIGIBILITY = 22,    /* `value` */
    COMMAND_REMOVE_ELIGIBILITY = 23, /* `name` */
    COMMAND_CERTIFY = 24,            /* `name`, `until_ms`, `text` */
    COMMAND_START_CAMPAIGN = 25,     /* `value` */
    COMMAND_CLOSE_CAMPAIGN = 26,     /* `name` */
    COMMAND_CLOSE_REVIEW = 27,       /* `grant`, `count`: the verdict, `text`: the comment */
    COMMAND_SET_TOKEN = 28,          /* `grant`, `value`: SHA-256 of the token */
    COMMAND_HOOK_DONE = 29,          /* internal: the webhook `name` has everything up to `revision` */
    COMMAND_LAST = COMMAND_HOOK_DONE
};

/* Roles as a bit set. Default deny: a principal without a binding has none. */
enum role {
    ROLE_REQUESTER = 1 << 0,
    ROLE_APPROVER = 1 << 1,
    ROLE_OPERATOR = 1 << 2,
    ROLE_AUDITOR = 1 << 3,
    ROLE_ENFORCER = 1 << 4
};
#define ROLE_ALL 31u

/* An idempotency key: SHA-256 of (principal, request_id), cut to 16 bytes; all zero: none. */
struct request_key {
    uint8_t bytes[16];
};

/* 16 random bytes: an instance of an enforcement point, or a session. */
struct random_id {
    uint8_t bytes[16];
};

/* Which grants. All set members must hold; an empty filter takes everything. */
struct store_filter {
    struct slice subject, resource /* covered by or equal */, requester, approver, ticket, policy;
    struct grant_id parent;
    uint32_t states;         /* bit set of 1 << grant_state; 0: all */
    uint64_t policy_version; /* with `policy`; 0: any */
    struct slice binding;    /* the SPIFFE ID that it is bound to */
    struct slice label;      /* "key=value" */
    struct slice person;     /* its subject or requester is the same as this principal: principal_same */
};

/* What a point said about a barrier, or what is known of it without its word. */
enum receipt_level {
    RECEIPT_ENFORCED = 1, /* it denies, and its sessions are ended */
    RECEIPT_FAILED = 2,   /* it denies, but a session may still run */
    RECEIPT_LAPSED = 3,   /* its last promise has run out, so it denies by itself: the instance is over */
    RECEIPT_LEFT = 4      /* it said goodbye: the instance is over */
};

/* One of COMMAND_RECEIPTS. */
struct receipt {
    uint64_t barrier; /* the id */
    struct random_id instance;
    enum receipt_level level;
    int64_t time_ms;     /* cluster time at which the leader knew */
    struct slice reason; /* FAILED */
};

enum point_end { POINT_END_LAPSED = 1, POINT_END_LEFT = 2, POINT_END_FENCED = 3 };

struct command {
    enum command_type type;
    struct request_key key;
    struct slice principal; /* the caller, from its certificate; empty for the cluster itself (ADVANCE, INIT) */
    struct grant_id
        grant;         /* the grant acted on; REQUEST: the id of the new one, chosen by the node that took the call */
    struct slice text; /* APPROVE, DENY: comment; CANCEL, COMPLETE, REVOKE: reason */
    uint32_t count;    /* USE: how many uses; ADVANCE: the most timers to act on */

    /* REQUEST: the terms asked for. The store fills what is its own (state, times, revisions, approvals, ...). */
    struct grant terms;

    /* SET_ROLES: `roles` 0 removes the binding. `member` is a principal, or a prefix ended by one asterisk. INIT: the
     * first operator. */
    struct slice member;
    uint32_t roles;
    struct slice scope; /* SET_ROLES: what an enforcer may guard, empty: all; REGISTER: what the point guards. Patterns,
                           sorted, unique, one space between each */
    /* REGISTER: `text` is the point's id. SESSION_*: the instance that reports. END_POINT. */
    struct random_id instance;
    uint32_t lease_ms;
    /* SESSION_*: `grant` and `text`, its description, at the begin. */
    struct random_id session;
    struct slice receipts;      /* RECEIPTS: encoded, read with receipts_next */
    struct store_filter filter; /* REVOKE_MATCHING; `text` is the reason */
    /* Governance: see the types. */
    struct slice name, value;
    int64_t until_ms;
    uint64_t revision;
    /* INIT */
    uint64_t epoch;
    struct slice cluster; /* name and unique id of the cluster */
};

/* Every limit and form; INVALID_ARGUMENT (or OUT_OF_RANGE for numbers) with a message that names the field and the
 * limit. */
lapse_result command_validate(const struct command *command, struct lapse_error *error) LAPSE_MUST_USE;

/* Appends the canonical bytes of a command. RESOURCE_EXHAUSTED at the buffer's bound. */
lapse_result command_encode(const struct command *command, struct buf *out) LAPSE_MUST_USE;
/* DATA_LOSS when `bytes` is not exactly one well-formed command (an unknown field, too: a newer writer). */
lapse_result command_decode(struct slice bytes, struct command *command) LAPSE_MUST_USE;

/* Receipts in a command: appended one by one to a buffer that becomes its slice, at most LIMIT_RECEIPTS_PER_COMMAND;
 * read one by one. RESOURCE_EXHAUSTED when it belongs into the next command. `receipts_next` is for what
 * command_validate or command_decode accepted. */
lapse_result receipts_add(struct buf *receipts, const struct receipt *receipt) LAPSE_MUST_USE;
bool receipts_next(struct slice *receipts, struct receipt *receipt);

#endif
