/* Policies: who may request what, and what it takes (docs/decisions/0012-governance.md). Pure, without a store: the
 * state machine decides with it, and so do `lapse policy test` and `diff`, offline. */
#ifndef LAPSE_STORE_POLICY_H
#define LAPSE_STORE_POLICY_H

#include "store/grant.h"

/* Members as in lapse.v1.PolicyRule, TextRule and PolicyLimits, where they are explained. Lists are arrays. */
struct policy_patterns {
    struct slice *items;
    uint32_t n;
};

struct policy_text {
    bool required;
    uint32_t min_length; /* characters, not bytes */
    struct slice pattern;
};

struct policy_limits {
    uint32_t concurrent, requests, resources;
    int64_t window_ms, cool_down_ms;
    bool hold;
};

struct policy_step {
    uint32_t count;
    struct policy_patterns approvers;
};

struct policy_rule {
    /* What every request looks at comes first: it lies together in memory. */
    struct slice name;
    bool deny, break_glass, eligibility, automatic, self_approval;
    struct policy_patterns requesters, subjects, resources, actions;
    int64_t max_duration_ms;
    struct policy_step steps[LIMIT_STEPS];
    uint32_t n_steps;
    int64_t decide_within_ms;
    struct policy_text justification, ticket;
    bool bind_spiffe_id, bind_certificate, bind_network;
    uint32_t max_uses;
    struct policy_limits limits;
    uint32_t delegation_depth;
    int64_t review_within_ms;
    struct policy_patterns reviewers;
    enum token_rule token;
    struct slice description;
};

struct policy {
    struct slice name, description, source;
    uint64_t version;
    uint32_t priority;
    bool end_disallowed;
    struct policy_rule *rules;
    uint32_t n_rules;
    struct slice applied_by;
    int64_t applied_ms;
    uint64_t revision;
    struct slice removed; /* why; in the event of its removal only */
};

/* Where a fault lies, for whoever has the source: rule (from 0; -1: the policy itself), the member's name as in the
 * schema ("resources"), and its item, a pattern or a step (from 0; -1: the member as a whole). */
struct policy_place {
    int rule;
    const char *member;
    int item;
};

/* Form, limits, and contradictions: a deny rule with approvals, automatic with steps, a step of which nobody can be, a
 * pattern that doesn't parse, a rule behind one that takes all it could take, ... INVALID_ARGUMENT; `place`, which may be
 * NULL, is then where. */
lapse_result policy_validate(const struct policy *policy, struct policy_place *place,
                             struct lapse_error *error) LAPSE_MUST_USE;

/* A lapse.v1.Policy. Strict: fields in ascending order, each known, nothing empty: one policy has one encoding.
 * Decoding validates. The new policy owns all it points to. */
lapse_result policy_decode(struct slice bytes, struct policy **policy, struct lapse_error *error) LAPSE_MUST_USE;
void policy_free(struct policy *policy);
lapse_result policy_encode(const struct policy *policy, struct buf *out) LAPSE_MUST_USE;

/* "user:dev1", or a beginning ended by one asterisk ("*": everybody), against all names of the principal
 * (principal_same). Nobody without a name matches. */
bool principal_matches(struct slice pattern, struct slice principal);
/* The same for patterns with one space between each; an empty text matches all. */
bool principal_matches_any(struct slice patterns, struct slice principal);
/* Whether the whole of `text` matches a TextRule's pattern. Linear in the text. The pattern must be valid. */
bool text_matches(struct slice pattern, struct slice text);
lapse_result text_pattern_validate(struct slice pattern, struct lapse_error *error) LAPSE_MUST_USE;

/* What was asked for: subject, resource, actions, justification, ticket, duration (or deadline), binding, max_uses,
 * break_glass, parent and policy of `terms`. */
struct policy_request {
    struct slice requester;
    const struct grant *terms;
    int64_t now_ms;
};

/* What the subject has had under one policy. */
struct policy_usage {
    uint32_t concurrent;          /* live grants and undecided requests */
    uint32_t requests, resources; /* in the window; different ones, with the one asked for now */
    int64_t since_end_ms;         /* since one for this resource ended; -1: none did */
    bool overflow;                /* more than LIMIT_POLICY_LOOKS: past every limit */
};

/* What only a store knows. */
struct policy_facts {
    void *arg;
    /* Whether the requester holds an eligibility for it. */
    bool (*eligible)(void *arg, const struct policy_request *request);
    void (*usage)(void *arg, const struct policy_request *request, const struct policy *policy,
                  const struct policy_rule *rule, struct policy_usage *usage);
};

struct policy_decision {
    const struct policy *policy;
    const struct policy_rule *rule;
    bool held; /* past a limit that holds: an approver has to decide */
};

/* Decides over `policies`, which are sorted by (priority, name):
 *   1. If a deny rule of any policy matches who and what, it is refused. An overlap of the resources and one of the actions
 *      are enough for that.
 *   2. The first rule that matches who and what (and is break-glass if the request is, and is of the policy that the
 *      request names, if it names one) and whose requirements are all met, allows it, within its limits.
 *   3. Otherwise it is refused, for the first unmet requirement of the first rule that matched.
 * PERMISSION_DENIED: no rule, or a deny rule. FAILED_PRECONDITION: a requirement is not met; the message says which, and
 * of which rule. RESOURCE_EXHAUSTED: past a limit. With `facts` NULL, offline, everybody is eligible and has had nothing
 * before. */
lapse_result policy_decide(const struct policy *const *policies, uint32_t n, const struct policy_request *request,
                           const struct policy_facts *facts, struct policy_decision *decision,
                           struct lapse_error *error) LAPSE_MUST_USE;

/* Whether this policy would still allow a grant that stands under it: who, what, how long in all, and what it was to
 * bring; limits and eligibility aside. For end_disallowed and `lapse policy diff`. */
bool policy_still_allows(const struct policy *policy, const struct grant *grant);

#endif
