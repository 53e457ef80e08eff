/* The rules: which command moves a grant from which state to which, and who may give it. One table says it all; apply.c
 * looks up, never decides. Internal to store/. */
#ifndef LAPSE_STORE_RULES_H
#define LAPSE_STORE_RULES_H

#include "store/internal.h"

/* Who may. Bits: any one that applies is enough. */
enum authority {
    BY_CLUSTER = 1 << 0,        /* no principal: the leader itself */
    BY_ROLE_REQUESTER = 1 << 1, /* has the role */
    BY_OTHER_APPROVER = 1 << 2, /* has the role and is neither requester nor subject, unless the grant's rule lets its
                                   requester be one; that an approval counts once, and whose turn it is: apply_approve.c */
    BY_ENFORCER = 1 << 3,       /* has the role */
    BY_OPERATOR = 1 << 4,       /* has the role */
    BY_THE_REQUESTER = 1 << 5,  /* of this grant */
    BY_THE_SUBJECT = 1 << 6,    /* of this grant */
    BY_ITS_APPROVER = 1 << 7,   /* who approved this grant */
    BY_ROLE_APPROVER = 1 << 8   /* has the role: enough to be told that the state is a wrong one, never to decide */
};

/* Not commands: what follows from others. */
#define RULE_PARENT_ENDED 0                         /* a grant whose parent has ended */
#define RULE_LAST_USE (COMMAND_LAST + 1) /* a USE that leaves no use */
#define GRANT_NONE 0 /* "state" of a grant that is not there yet, and of commands about no grant */

struct rule {
    int command; /* enum command_type, or one of RULE_... */
    int state;   /* enum grant_state, or GRANT_NONE */
    uint32_t who;
    int next; /* enum grant_state */
    enum store_event_type event;
    const char *refusal; /* told to everybody else */
};

/* NULL when the command doesn't apply in that state. */
const struct rule *rules_find(int command, int state);
/* The n-th rule; NULL past the end. */
const struct rule *rules_at(size_t n);

/* Whether `principal` may use the rule on the grant in `slot` (0 for rules without a grant). PERMISSION_DENIED with the
 * rule's refusal otherwise. */
lapse_result rules_permit(const struct store *store, const struct rule *rule, struct slice principal, uint32_t slot,
                          struct lapse_error *error) LAPSE_MUST_USE;
/* Whether `principal` may hear that the grant's state doesn't admit the command: as above, but an approver needs the
 * role alone. Whether they asked, benefit or have approved already matters only where there is something to decide. */
lapse_result rules_permit_to_hear(const struct store *store, const struct rule *rule, struct slice principal,
                                  uint32_t slot, struct lapse_error *error) LAPSE_MUST_USE;
/* FAILED_PRECONDITION that says in which state the grant is, since when, and what to do. */
lapse_result rules_wrong_state(const struct store *store, int command, uint32_t slot, int64_t now_ms,
                               struct lapse_error *error);

/* The state in which commands must see a grant at `now_ms`, whether ADVANCE has got to it or not (G3). */
enum grant_state state_at(const struct store *store, uint32_t slot, int64_t now_ms);
/* The same, but for what its ancestors do to it. */
enum grant_state own_state_at(const struct store *store, uint32_t slot, int64_t now_ms);

const char *command_name(int command);

/* For "%.*s" in a refusal: as much of a name or of patterns as leaves room for the advice behind it. */
#define SHOWN_MAX 90u
#define SHOWN(text)                                                                                                    \
    (int)((text).len < SHOWN_MAX ? (text).len : SHOWN_MAX), (text).len == 0 ? "" : (const char *)(text).data

#endif
