/* Expected decisions, for the CI of policies: a file of requests, each with what should come of it, decided offline by
 * the same code that decides in the cluster (store/policy.h). The file's form: lapse-policy(5). Pure but for reading
 * the file. */
#ifndef LAPSE_CLIENT_POLICY_TEST_H
#define LAPSE_CLIENT_POLICY_TEST_H

#include "client/policy_yaml.h"

enum policy_expect {
    POLICY_DENY,
    POLICY_ALLOW, /* one of the next two; only expected, never got */
    POLICY_AUTOMATIC,
    POLICY_APPROVAL, /* approvers decide, as the rule says */
    POLICY_HOLD      /* past a limit: an approver has to decide */
};

/* What is asked, by whom, and what the cluster would know about them. */
struct policy_case {
    struct slice requester, subject, resource, justification, ticket, policy, spiffe_id, certificate;
    struct policy_patterns actions, networks;
    int64_t duration_ms;
    uint32_t max_uses;
    bool break_glass, eligible;
    uint32_t concurrent, requests, resources;
    int64_t since_end_ms; /* -1: none has ended */
};

struct policy_test {
    struct slice name;
    const struct yaml_at *at;
    struct policy_case request;
    int expect;           /* enum policy_expect */
    struct slice rule;    /* "RULE" or "POLICY/RULE" that must allow it; empty: any */
    struct slice because; /* part of the refusal's message; empty: any */
};

struct policy_tests {
    struct yaml_tree *tree;
    struct policy_test *tests;
    uint32_t n;
};

/* As policy_yaml_read. Requests that no cluster would take are faults of the file. */
lapse_result policy_tests_read(const char *path, struct policy_tests *tests, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result policy_tests_parse(struct slice bytes, const char *path, struct policy_tests *tests,
                                struct lapse_error *error) LAPSE_MUST_USE;
void policy_tests_free(struct policy_tests *tests); /* accepts a zeroed one */

struct policy_outcome {
    bool as_expected;
    enum policy_expect got;
    struct policy_decision decision; /* not for POLICY_DENY */
    struct lapse_error refusal;      /* POLICY_DENY */
    char verdict[600]; /* "allowed by web/read, after approval"; with what was expected, when it is something else */
};

/* `policies` are valid and sorted by (priority, name). */
void policy_test_run(const struct policy_test *test, const struct policy *const *policies, uint32_t n,
                     struct policy_outcome *outcome);
/* Sorts as the cluster does. INVALID_ARGUMENT when two have the same name. */
lapse_result policies_sort(const struct policy **policies, uint32_t n, struct lapse_error *error) LAPSE_MUST_USE;

/* Keys of a test and of its request, for the manual's test. */
extern const struct yaml_key policy_test_keys[], policy_case_keys[];

#endif
