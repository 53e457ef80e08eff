/* What liblapse's calls speak of: grants, enforcement points, what governs them, and events. Included by lapse.h, whose
 * conventions hold here. */
#ifndef LAPSE_TYPES_H
#define LAPSE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- What grants look like ------------------------------------------------------------------------------------- */

enum lapse_grant_state {
    LAPSE_STATE_PENDING = 1,  /* waits for an approver */
    LAPSE_STATE_APPROVED = 2, /* waits for its beginning */
    LAPSE_STATE_ACTIVE = 3,
    LAPSE_STATE_EXPIRED = 4, /* this and all that follow are ends */
    LAPSE_STATE_REVOKED = 5,
    LAPSE_STATE_COMPLETED = 6,
    LAPSE_STATE_EXHAUSTED = 7,
    LAPSE_STATE_DENIED = 8,
    LAPSE_STATE_CANCELLED = 9,
    LAPSE_STATE_LAPSED = 10 /* nobody decided in time */
};

/* "ACTIVE", ...; "UNKNOWN" for a number that is none (a newer cluster). Never NULL. */
const char *lapse_grant_state_name(enum lapse_grant_state state);
bool lapse_grant_state_is_ended(enum lapse_grant_state state);

struct lapse_bytes {
    const uint8_t *data;
    size_t len;
};

struct lapse_label {
    const char *key;
    const char *value;
};

struct lapse_approval {
    const char *approver;
    int64_t time_ms;
    const char *comment;
    uint64_t revision;
};

/* So many different approvers of whom each matches one of the patterns (a space between each; "": any approver). */
struct lapse_grant_step {
    uint32_t count;
    const char *approvers;
};

/* What the presenter of a grant must also show. Empty members bind nothing. */
struct lapse_binding {
    const char *spiffe_id;
    struct lapse_bytes certificate_sha256; /* 32 bytes: of the presenter's certificate in DER */
    const char *const *networks;           /* CIDR, "10.2.0.0/16" */
    size_t n_networks;
};

struct lapse_grant {
    const char *id; /* a ULID */
    enum lapse_grant_state state;
    const char *subject;
    const char *resource; /* "db/prod/orders", or a subtree: "db/prod/" followed by one asterisk */
    const char *const *actions;
    size_t n_actions;
    const char *justification;
    const char *ticket;
    const char *task;
    const char *requester;
    const struct lapse_approval *approvals;
    size_t n_approvals;
    struct lapse_binding binding;
    const struct lapse_label *labels;
    size_t n_labels;
    const char *parent;
    const char *policy;
    uint64_t policy_version;
    bool break_glass;
    int64_t duration_ms; /* as asked for; 0 when a deadline was */
    int64_t not_before_ms;
    int64_t deadline_ms; /* absolute; fixed when the grant begins at the latest */
    int64_t pending_until_ms;
    uint32_t max_uses; /* 0: unlimited */
    uint32_t uses;
    const char *ended_by; /* empty when the clock ended it */
    const char *reason;
    int64_t requested_ms, approved_ms, activated_ms, ended_ms;
    uint64_t requested_revision, approved_revision, activated_revision, ended_revision;
    uint64_t revision; /* of its latest event */
    /* What its policy's rule made of it when it was requested. */
    const char *rule;
    const struct lapse_grant_step
        *steps; /* who has to approve it, in this order; none: one approver, unless `automatic` */
    size_t n_steps;
    bool automatic;
    bool self_approval;
    bool held; /* it would have been automatic, but its subject asked for too much */
    uint32_t delegation_depth;
    int64_t review_within_ms; /* break_glass */
    const char *reviewers;
    uint32_t token_rule;             /* 0: may have a token, 1: may not, 2: with a binding only */
    struct lapse_bytes token_sha256; /* of its bearer token, if it has one */
};

/* An instance of an enforcement point that is registered with the cluster. */
struct lapse_point {
    const char *id;
    struct lapse_bytes instance; /* 16 bytes */
    const char *principal;
    const char *const *scope; /* what it guards */
    size_t n_scope;
    uint32_t lease_ms;
    bool fenced; /* a newer instance has taken its id */
    uint64_t revision;
    int64_t registered_ms;
    uint32_t sessions;
    const char *ended; /* in the event POINT_ENDED: "LAPSED", "LEFT", "FENCED" */
};

/* How far a revocation has reached the enforcement points in its scope. */
struct lapse_barrier {
    uint64_t id;       /* the revision of the revocation's answer; 0: there is none */
    uint64_t revision; /* what is to be acknowledged; 0: a revocation of many is still at work */
    const char *grant_id;
    uint32_t points; /* in scope; each ends up in one of the next four */
    uint32_t enforced, failed, lapsed, left;
    bool done;
    int64_t time_ms, done_ms;
    bool untracked;  /* past the cluster's limits: nothing is known of its enforcement */
    uint64_t grants; /* that it ended */
};

enum lapse_receipt_level {
    LAPSE_RECEIPT_ENFORCED = 1, /* it denies, and its sessions are ended */
    LAPSE_RECEIPT_FAILED = 2,   /* it denies, but a session may still run */
    LAPSE_RECEIPT_LAPSED = 3,   /* its lease ran out, so it denies by itself */
    LAPSE_RECEIPT_LEFT = 4,     /* it said goodbye */
    LAPSE_RECEIPT_RECEIVED = 5, /* so far: it denies; its sessions are being ended */
    LAPSE_RECEIPT_WAITING = 6   /* so far: nothing */
};
/* "ENFORCED", ...; "UNKNOWN" for a number that is none. Never NULL. */
const char *lapse_receipt_level_name(enum lapse_receipt_level level);

/* What one enforcement point did about a revocation. */
struct lapse_receipt {
    const char *point;
    struct lapse_bytes instance;
    enum lapse_receipt_level level;
    int64_t time_ms;
    const char *reason;
    uint32_t left_ms; /* WAITING: after this it is waited out */
    uint64_t barrier; /* in events RECEIPTS */
};

/* A use of a grant that lasts, as an enforcement point reports it. */
struct lapse_session {
    struct lapse_bytes id;
    const char *point;
    const char *grant_id;
    const char *description;
    int64_t began_ms, ended_ms;
};

/* A revocation of all grants that match. */
struct lapse_sweep {
    const char *subject, *resource, *requester, *approver, *ticket, *policy, *parent;
    const char *reason;
    const char *by;
    uint64_t grants;
    uint64_t id;
    uint64_t policy_version;
    const char *binding, *label, *person;
};

struct lapse_role_binding {
    const char *member;
    const char *const *roles; /* "requester", "approver", "operator", "auditor", "enforcer" */
    size_t n_roles;
    const char *const *scope; /* of an enforcer: the resources that it may guard, paths or subtrees; none: all */
    size_t n_scope;
};

/* ---- What governs ----------------------------------------------------------------------------------------------- */

/* Members as in lapse.v1 (objects.proto), where each is explained; docs/policies.md tells how a rule is chosen. */

struct lapse_approval_step {
    uint32_t count;
    const char *const *approvers;
    size_t n_approvers;
};

struct lapse_text_rule {
    bool required;
    uint32_t min_length;
    const char *pattern;
};

struct lapse_policy_limits {
    uint32_t concurrent, requests, resources;
    int64_t window_ms, cool_down_ms;
    bool hold;
};

enum lapse_token_rule { LAPSE_TOKEN_ALLOWED = 0, LAPSE_TOKEN_FORBIDDEN = 1, LAPSE_TOKEN_BOUND = 2 };

struct lapse_policy_rule {
    const char *name;
    bool deny, break_glass;
    const char *const *requesters;
    size_t n_requesters;
    const char *const *subjects;
    size_t n_subjects;
    const char *const *resources;
    size_t n_resources;
    const char *const *actions;
    size_t n_actions;
    int64_t max_duration_ms;
    bool eligibility, automatic, self_approval;
    const struct lapse_approval_step *steps;
    size_t n_steps;
    int64_t decide_within_ms;
    struct lapse_text_rule justification, ticket;
    bool bind_spiffe_id, bind_certificate, bind_network;
    uint32_t max_uses;
    struct lapse_policy_limits limits;
    uint32_t delegation_depth;
    int64_t review_within_ms;
    const char *const *reviewers;
    size_t n_reviewers;
    enum lapse_token_rule token;
    const char *description;
};

struct lapse_policy {
    const char *name;
    uint64_t version; /* this, and what stands behind `rules`, is the cluster's: empty in what a caller sends */
    const char *description;
    uint32_t priority;
    bool end_disallowed;
    const char *source;
    const struct lapse_policy_rule *rules;
    size_t n_rules;
    const char *applied_by;
    int64_t applied_ms;
    uint64_t revision;
    const char *removed; /* why; in the event of its removal only */
};

enum lapse_lock_kind { LAPSE_LOCK_SUBJECT = 1, LAPSE_LOCK_RESOURCE = 2, LAPSE_LOCK_POINT = 3 };

struct lapse_lock {
    const char *name; /* the cluster's: "subject:user:dev1@example.com" */
    enum lapse_lock_kind kind;
    const char *target;
    const char *reason;
    int64_t until_ms;      /* 0: until lifted */
    const char *locked_by; /* the cluster's from here */
    int64_t locked_ms;
    uint64_t revision;
    bool offboarded;
    const char *lifted; /* in the event UNLOCKED only: why */
};

struct lapse_eligibility {
    const char *name;
    const char *member;
    const char *const *resources;
    size_t n_resources;
    const char *const *actions; /* none: any */
    size_t n_actions;
    const char *reason;
    int64_t expires_ms;
    const char *put_by; /* the cluster's from here */
    int64_t put_ms;
    const char *certified_by;
    int64_t certified_ms;
    int64_t used_ms;
    uint64_t uses;
    uint64_t revision;
    const char *ended; /* in events */
};

struct lapse_campaign {
    const char *name;
    const char *const *members; /* none: all */
    size_t n_members;
    const char *const *resources; /* none: all */
    size_t n_resources;
    int64_t due_ms;
    const char *reason;
    const char *started_by; /* the cluster's from here */
    int64_t started_ms;
    uint64_t revision;
    uint32_t items, lapsed;
};

enum lapse_review_verdict { LAPSE_REVIEW_JUSTIFIED = 1, LAPSE_REVIEW_MISUSED = 2 };

/* Of a break-glass grant. */
struct lapse_review {
    const char *name; /* the grant's id */
    const char *subject, *requester, *resource, *justification, *policy, *rule;
    const char *reviewers; /* patterns, a space between each */
    int64_t opened_ms, due_ms;
    bool overdue;
    enum lapse_review_verdict verdict;
    const char *comment, *closed_by;
    int64_t closed_ms;
    uint64_t revision;
    const char *approvers; /* who approved the grant, a space between each: they can't close it either */
};

/* ---- Events ----------------------------------------------------------------------------------------------------- */

enum lapse_event_type {
    LAPSE_EVENT_REQUESTED = 1,
    LAPSE_EVENT_APPROVED = 2,
    LAPSE_EVENT_ACTIVATED = 3,
    LAPSE_EVENT_USED = 4,
    LAPSE_EVENT_EXPIRED = 5,
    LAPSE_EVENT_REVOKED = 6,
    LAPSE_EVENT_COMPLETED = 7,
    LAPSE_EVENT_EXHAUSTED = 8,
    LAPSE_EVENT_DENIED = 9,
    LAPSE_EVENT_CANCELLED = 10,
    LAPSE_EVENT_LAPSED = 11,
    LAPSE_EVENT_ROLES_CHANGED = 12,
    LAPSE_EVENT_INITIALIZED = 13,
    LAPSE_EVENT_POINT_REGISTERED = 14,
    LAPSE_EVENT_POINT_FENCED = 15,
    LAPSE_EVENT_POINT_ENDED = 16,
    LAPSE_EVENT_ENFORCED = 17, /* every enforcement point in scope of a revocation has given its receipt */
    LAPSE_EVENT_SESSION_BEGAN = 18,
    LAPSE_EVENT_SESSION_ENDED = 19,
    LAPSE_EVENT_SWEEP_BEGAN = 20,
    LAPSE_EVENT_SWEEP_ENDED = 21,
    LAPSE_EVENT_POLICY_APPLIED = 22,
    LAPSE_EVENT_POLICY_REMOVED = 23,
    LAPSE_EVENT_LOCKED = 24,
    LAPSE_EVENT_UNLOCKED = 25, /* lifted, or its time is over */
    LAPSE_EVENT_ELIGIBILITY_PUT = 26,
    LAPSE_EVENT_ELIGIBILITY_CERTIFIED = 27,
    LAPSE_EVENT_ELIGIBILITY_ENDED = 28,
    LAPSE_EVENT_CAMPAIGN_STARTED = 29,
    LAPSE_EVENT_CAMPAIGN_ENDED = 30,
    LAPSE_EVENT_REVIEW_OPENED = 31,
    LAPSE_EVENT_REVIEW_OVERDUE = 32,
    LAPSE_EVENT_REVIEW_CLOSED = 33,
    LAPSE_EVENT_TOKEN_SET = 34,
    LAPSE_EVENT_RECEIPTS = 35, /* the evidence of a revocation: what each enforcement point said */
    LAPSE_EVENT_OFFBOARDED = 36
};

/* "REVOKED", ...; "UNKNOWN" for a number that is none. Never NULL. */
const char *lapse_event_type_name(enum lapse_event_type type);

struct lapse_event {
    uint64_t revision;
    int64_t time_ms;
    enum lapse_event_type type;
    struct lapse_grant grant; /* right after the event; its id is "" for an event about no grant */
    struct lapse_role_binding roles;
    /* Of those, the one that the type is about is filled. */
    struct lapse_point point;
    struct lapse_barrier barrier;
    struct lapse_session session;
    struct lapse_sweep sweep;
    const char *actor; /* whose command it was; "": the cluster itself, by its clock */
    struct lapse_policy policy;
    struct lapse_lock lock;
    struct lapse_eligibility eligibility;
    struct lapse_campaign campaign;
    struct lapse_review review;
    const struct lapse_receipt *receipts;
    size_t n_receipts;
};

#ifdef __cplusplus
}
#endif

#endif
