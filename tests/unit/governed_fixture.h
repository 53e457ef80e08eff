/* Stores under a policy, for tests of what policies lead to: rules with everything that is not said left open. */
#ifndef LAPSE_TESTS_GOVERNED_FIXTURE_H
#define LAPSE_TESTS_GOVERNED_FIXTURE_H

#include "store/policy.h"
#include "store_fixture.h"

/* A rule for whoever "user:*" asks, for whomever, for all in `resources` (one pattern). */
struct policy_rule governed_rule(const char *name, const char *resources);
/* Adds a step: `approvers` are patterns with one space between each; "": any approver. */
void governed_step(struct policy_rule *rule, uint32_t count, const char *approvers);
/* Who may close its reviews. */
void governed_reviewers(struct policy_rule *rule, const char *reviewers);

/* APPLY_POLICY by user:ops, of a policy "test" with these rules, in bytes that stay until the next call. */
struct command governed_policy(struct policy_rule *rules, uint32_t n);
/* fixture_store() under that policy, and with the roles of its approvers: a1, a2, a3, b1, b2 and dev1, all "user:NAME",
 * approve, and so does everybody as "spiffe://example.org/user/NAME". */
struct store *governed_store(struct policy_rule *rules, uint32_t n);

#endif
