/* What a subject has had under one policy, from the grants in memory. Internal to store/. */
#ifndef LAPSE_STORE_POLICY_USAGE_H
#define LAPSE_STORE_POLICY_USAGE_H

#include "store/internal.h"
#include "store/policy.h"

/* Looks at the subject's grants, LIMIT_POLICY_LOOKS at most, under all its names that can be known: a person who is
 * named by a SPIFFE ID is looked up as "user:NAME", too, and "user:NAME" by the SPIFFE ID of the requester's trust
 * domain. */
void policy_usage_count(const struct store *store, const struct policy_request *request, const struct policy *policy,
                        const struct policy_rule *rule, struct policy_usage *usage);

#endif
