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
    COMMAND_ADVANCE = 8,   /* internal: act on timers that are due at the entry's time, at most `limit` of them */
    COMMAND_SET_ROLES = 9, /* who may do what; by an operator */
    COMMAND_INIT = 10      /* internal, the first command of a cluster: epoch, name and the first operator */
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

#endif
