/* What a grant is, and the one function that says whether it allows something.
 *
 * Plain data, shared by the store, the wire codecs and every enforcement point: `struct grant` borrows its strings and
 * owns nothing. `grant_allows` is the only place that decides, so that nodes and enforcement points cannot disagree. */
#ifndef LAPSE_STORE_GRANT_H
#define LAPSE_STORE_GRANT_H

#include "base/bytes.h"
#include "base/limits.h"

/* 128 bits, time-ordered: 48 bits of Unix milliseconds, 80 of randomness (https://github.com/ulid/spec), big-endian. */
struct grant_id {
    uint8_t bytes[16];
};

#define GRANT_ID_TEXT_SIZE 27 /* 26 characters of Crockford's base 32 and a NUL */

struct grant_id grant_id_make(int64_t unix_ms, const uint8_t random[10]);
void grant_id_format(struct grant_id id, char text[GRANT_ID_TEXT_SIZE]);
/* INVALID_ARGUMENT unless `text` is exactly 26 characters of the alphabet (case-insensitive) and no more than 128 bits.
 */
lapse_result grant_id_parse(struct slice text, struct grant_id *id) LAPSE_MUST_USE;
bool grant_id_is_zero(struct grant_id id);
int grant_id_compare(struct grant_id a, struct grant_id b);

/*                 +--> DENIED     (an approver)
 *                 +--> CANCELLED  (the requester)
 *                 +--> LAPSED     (nobody decided in time)
 *   PENDING ------+--> APPROVED --+--> CANCELLED / REVOKED
 *                                 +--> ACTIVE --+--> EXPIRED    (its deadline)
 *                                               +--> REVOKED    (an operator, its approver, its requester)
 *                                               +--> COMPLETED  (the requester or subject: the task is done)
 *                                               +--> EXHAUSTED  (its last use)
 * The numbers are those of lapse.v1.GrantState and of the disk format. */
enum grant_state {
    GRANT_PENDING = 1,
    GRANT_APPROVED = 2, /* decided, waits for not_before */
    GRANT_ACTIVE = 3,
    GRANT_EXPIRED = 4,
    GRANT_REVOKED = 5,
    GRANT_COMPLETED = 6,
    GRANT_EXHAUSTED = 7,
    GRANT_DENIED = 8,
    GRANT_CANCELLED = 9,
    GRANT_LAPSED = 10
};

bool grant_state_is_ended(enum grant_state state);
/* "ACTIVE", ...; "UNKNOWN" for a number that is none. */
const char *grant_state_name(enum grant_state state);

struct grant_label {
    struct slice key;
    struct slice value;
};

struct grant_approval {
    struct slice approver;
    int64_t time_ms; /* cluster time */
    struct slice comment;
    uint64_t revision;
};

/* So many different approvers of whom each matches one of the patterns. The next step begins when it is complete. */
struct grant_step {
    uint32_t count;
    struct slice approvers; /* patterns of principals, one space between each; empty: any approver */
};

/* lapse.v1.TokenRule. */
enum token_rule { TOKEN_RULE_ALLOWED = 0, TOKEN_RULE_FORBIDDEN = 1, TOKEN_RULE_BOUND = 2 };

/* What the presenter must also show. Empty members bind nothing. */
struct grant_binding {
    struct slice spiffe_id;
    struct slice certificate_sha256;       /* 32 bytes or none */
    struct slice networks[LIMIT_NETWORKS]; /* CIDR, canonical text */
    uint32_t n_networks;
};

/* Times are cluster time in milliseconds since the Unix epoch; 0 means "none" or "not yet". */
struct grant {
    struct grant_id id;
    enum grant_state state;
    struct slice subject;
    struct slice resource;               /* "db/prod/orders", or a subtree "db/prod/" followed by one asterisk */
    struct slice actions[LIMIT_ACTIONS]; /* sorted, unique */
    uint32_t n_actions;
    struct slice justification;
    struct slice ticket;
    struct slice task;
    struct slice requester;
    struct grant_approval approvals[LIMIT_APPROVALS];
    uint32_t n_approvals;
    struct grant_binding binding;
    struct grant_label labels[LIMIT_LABELS]; /* sorted by key, unique */
    uint32_t n_labels;
    struct grant_id parent; /* zero: none */
    struct slice policy;
    uint64_t policy_version;
    bool break_glass;
    /* What the policy's rule made of the request when it was made (0012): none of it changes with the policy. */
    struct slice rule;
    struct grant_step steps[LIMIT_STEPS];
    uint32_t n_steps; /* 0: one approver, or none when `automatic` */
    bool automatic, self_approval, held;
    uint32_t delegation_depth; /* generations of grants that may be derived from it */
    int64_t review_within_ms;  /* break_glass */
    struct slice reviewers;    /* patterns, as in a step */
    uint32_t token_rule;       /* enum token_rule */
    struct slice token_sha256; /* 32 bytes or none */
    int64_t duration_ms; /* asked for; 0 when an absolute deadline was */
    int64_t not_before_ms;
    int64_t deadline_ms; /* absolute, fixed at activation at the latest, never moved afterwards */
    int64_t pending_until_ms;
    uint32_t max_uses; /* 0: unlimited */
    uint32_t uses;
    /* How it ended. */
    struct slice ended_by; /* principal; empty for the clock */
    struct slice reason;
    /* When and at which revision each step happened; 0 when it has not. */
    int64_t requested_ms, approved_ms, activated_ms, ended_ms;
    uint64_t requested_revision, approved_revision, activated_revision, ended_revision;
    uint64_t revision; /* of its latest event */
};

/* How many approvals it takes in all: those of its steps; without steps one, or none where the rule is automatic (and the
 * request not held). */
uint32_t grant_approvals_needed(const struct grant *grant);

/* Whether a resource pattern of a grant covers a path: equal, or the pattern ends in a slash and one asterisk and the
 * path lies strictly below that prefix. A pattern of just "*" covers all. */
bool resource_covers(struct slice pattern, struct slice path);
/* Whether two patterns (or paths) have a path in common: what a grant names and what an enforcement point guards. */
bool resource_overlaps(struct slice a, struct slice b);
/* The same for a scope: patterns, sorted, unique, one space between each. An empty scope overlaps nothing. */
bool scope_overlaps(struct slice scope, struct slice resource);
/* Takes the first pattern off a scope; false when there is none left. */
bool scope_next(struct slice *scope, struct slice *pattern);

/* Validation of what enters from outside: one function for each kind of identifier, used by every caller. */
lapse_result principal_validate(struct slice principal, const char *field, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result resource_validate(struct slice resource, bool pattern, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result action_validate(struct slice action, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result network_validate(struct slice cidr, struct lapse_error *error) LAPSE_MUST_USE;

/* True when both name the same person or workload: equal text, or `user:NAME` against `spiffe://<any
 * domain>/user/NAME`. Approvals use it, so that nobody approves their own request under their other name. */
bool principal_same(struct slice a, struct slice b);
/* What all that are principal_same have in common, to look them up by: NAME for both forms of a user, else the whole text.
 * Equal names prove nothing: ask principal_same. */
struct slice principal_name(struct slice principal);

/* A question. Members that a grant's binding doesn't need may stay empty. */
struct grant_query {
    struct slice subject;
    struct slice resource;
    struct slice action;
    struct slice spiffe_id;
    struct slice certificate_sha256;
    struct slice address; /* the presenter's IP address, text */
    /* SHA-256 of a bearer token, 32 bytes: only its grant is looked at, and `subject` may be empty. Who finds the grant by
     * it answers for that: grant_allows() doesn't look at it. */
    struct slice token_sha256;
};

/* In the order in which they are tested: the first that applies is the answer. */
enum grant_verdict {
    GRANT_ALLOWS = 0,
    GRANT_NOT_ACTIVE,
    GRANT_NOT_YET,       /* before not_before */
    GRANT_PAST_DEADLINE, /* at or after the deadline: never late (G3) */
    GRANT_USED_UP,
    GRANT_OTHER_SUBJECT,
    GRANT_OTHER_RESOURCE,
    GRANT_OTHER_ACTION,
    GRANT_BINDING_MISSING, /* presented without, or with another, binding */
    GRANT_LOCKED           /* a lock denies it, whatever grants there are: store/lock.h */
};
const char *grant_verdict_name(enum grant_verdict verdict);

/* Whether `grant` allows `query` at cluster time `now_ms`. Pure; no allocation. */
enum grant_verdict grant_allows(const struct grant *grant, const struct grant_query *query, int64_t now_ms);

#endif
