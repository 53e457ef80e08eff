/* The part of the workload that governs: policies, locks, offboarding, eligibility, campaigns, reviews, tokens, roles.
 *
 * What an operator does is drawn over few names, so that things replace each other, overlap, and are ended again. */
#ifndef LAPSE_SIM_WORKLOAD_GOVERNANCE_H
#define LAPSE_SIM_WORKLOAD_GOVERNANCE_H

#include "tests/sim/workload.h"

#define KNOWN_TOKENS 8u
#define KNOWN_LOCKS 8u

struct known_token {
    uint8_t sha256[32];
};

/* Whether the profile is about governance. Elsewhere it must leave the others' work alone, mostly. */
bool governance_is_heavy(const struct sim *sim);

struct governance {
    struct sim *sim;
    bool based; /* the policy that leaves everybody something to ask for has been applied */
    struct known_token tokens[KNOWN_TOKENS];
    uint64_t n_tokens;
    char locks[KNOWN_LOCKS][48]; /* names */
    uint64_t n_locks;
};

/* Of the grant that the operation may be about. */
struct governed_grant {
    struct grant_id id;
    uint32_t requester;
    bool break_glass;
};

/* The next operation; `grant` NULL: none is known. */
void governance_next(struct governance *governance, struct workload_op *op, const struct governed_grant *grant);
/* Completes it, at about this cluster time. */
void governance_fill(struct governance *governance, struct workload_op *op, int64_t now_ms);
void governance_succeeded(struct governance *governance, const struct workload_op *op);
/* A token that was set; false: none has been. */
bool governance_draw_token(struct governance *governance, uint8_t sha256[32]);

#endif
