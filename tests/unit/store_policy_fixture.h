/* What tests of policies in the store share. */
#ifndef LAPSE_TESTS_STORE_POLICY_FIXTURE_H
#define LAPSE_TESTS_STORE_POLICY_FIXTURE_H

#include "tests/unit/policy_fixture.h"
#include "tests/unit/store_fixture.h"

/* The events of one command; `policy` is freed by the test. */
struct heard {
    enum store_event_type types[64];
    uint32_t n;
    struct buf policy; /* of the last event about one */
};
struct store_outcome fixture_apply_heard(struct store *store, struct command command, int64_t time_ms,
                                         struct heard *heard);

/* A command by user:ops that applies the policy, in bytes that stay until the next call. */
struct command fixture_applying(const struct policy *policy);
struct command fixture_removing(const char *name);
/* "p": whoever is a user:req may ask for anything for anybody, by its one rule "r", which lies in `rule`. */
struct policy fixture_open_policy(struct policy_rule *rule);

/* There must be one. */
struct grant fixture_get(const struct store *store, uint64_t number);

#endif
