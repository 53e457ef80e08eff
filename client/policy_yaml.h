/* Policies as people write them (lapse-policy(5)): one policy, one file.
 *
 *   file --> struct policy --> policy_validate --> canonical bytes --> the cluster
 *     ^            |
 *     +------------+   policy_yaml_put: what was applied, as a file again
 *
 * Every fault, also one that policy_validate finds, is told with line and column. Pure but for reading the file. */
#ifndef LAPSE_CLIENT_POLICY_YAML_H
#define LAPSE_CLIENT_POLICY_YAML_H

#include "client/yaml_keys.h"

/* A policy and the file that it stands in; the policy's texts and rules belong to the tree. */
struct policy_file {
    struct yaml_tree *tree;
    struct policy policy;
};

/* INVALID_ARGUMENT with "FILE:LINE:COLUMN: ..."; NOT_FOUND when there is no such file. `file` is untouched then. */
lapse_result policy_yaml_read(const char *path, struct policy_file *file, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result policy_yaml_parse(struct slice bytes, const char *path, struct policy_file *file,
                               struct lapse_error *error) LAPSE_MUST_USE;
void policy_file_free(struct policy_file *file); /* accepts a zeroed one */

/* Appends the policy as a file: what is the store's (version, applied by, ...) as a comment on top. */
lapse_result policy_yaml_put(const struct policy *policy, struct buf *out) LAPSE_MUST_USE;

/* Keys of a policy (but "rules") and of a rule. */
extern const struct yaml_key policy_keys[], policy_rule_keys[];

#endif
