/* Short ways to write policies and requests down. */
#ifndef LAPSE_TESTS_POLICY_FIXTURE_H
#define LAPSE_TESTS_POLICY_FIXTURE_H

#include "store/policy.h"

#define S(text) slice_str(text)
/* Patterns, each a string. */
#define LIST(...)                                                                                                      \
    {                                                                                                                  \
        .items = (struct slice[]){__VA_ARGS__}, .n = sizeof((struct slice[]){__VA_ARGS__}) / sizeof(struct slice)      \
    }
#define RULES(...)                                                                                                     \
    .rules = (struct policy_rule[]){__VA_ARGS__},                                                                      \
    .n_rules = sizeof((struct policy_rule[]){__VA_ARGS__}) / sizeof(struct policy_rule)

#define MINUTES(n) ((n)*60000LL)
#define HOURS(n) ((n)*3600000LL)

#endif
