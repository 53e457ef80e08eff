/* What the parts of the policy engine share. Internal to store/.
 *
 *   policy.c           patterns of principals; the story
 *   policy_codec.c     lapse.v1.Policy <-> struct policy
 *   policy_validate.c  form, limits, contradictions
 *   policy_cover.c     rules that another one leaves nothing to do
 *   policy_decide.c    the decision
 *   text_pattern.c     patterns of justifications and tickets */
#ifndef LAPSE_STORE_POLICY_INTERNAL_H
#define LAPSE_STORE_POLICY_INTERNAL_H

#include "store/policy.h"

/* A principal, taken apart once for many patterns. */
struct policy_principal {
    struct slice text;
    struct slice user; /* NAME of "user:NAME" and of "spiffe://<any domain>/user/NAME"; empty: neither */
    bool spiffe;       /* a SPIFFE ID */
};

struct policy_principal policy_principal_of(struct slice principal);
/* principal_matches() without taking it apart again. */
bool policy_principal_is(struct slice pattern, const struct policy_principal *principal);
/* Whether any of the patterns matches. */
bool policy_principal_in(const struct policy_patterns *patterns, const struct policy_principal *principal);

/* The fewest and the most characters of a text that matches; `most` is UINT32_MAX where there is no bound. The pattern
 * must be valid and not empty. */
void text_pattern_lengths(struct slice pattern, uint32_t *fewest, uint32_t *most);

/* Rule `i`, if no request could ever come to it: because a deny rule or an earlier one takes all that it could take.
 * That other rule, or NULL. */
const struct policy_rule *policy_rule_hidden_by(const struct policy *policy, uint32_t i);

#endif
