/* What the policy commands share: policies between files, the store's form and liblapse's. */
#ifndef LAPSE_CLIENT_CLI_POLICIES_H
#define LAPSE_CLIENT_CLI_POLICIES_H

#include "client/cli/cli.h"
#include "client/policy_yaml.h"

/* By way of the canonical bytes. Free with policy_free; released with codec_release(&schema_policy, ...). */
lapse_result policy_from_message(const struct lapse_policy *message, struct policy **policy,
                                 struct lapse_error *error) LAPSE_MUST_USE;
lapse_result policy_to_message(const struct policy *policy, struct lapse_policy *message,
                               struct lapse_error *error) LAPSE_MUST_USE;

/* What is applied under this name; *policy is NULL when there is nothing. */
lapse_result policy_fetch(struct cli *cli, const char *name, struct policy **policy,
                          struct lapse_error *error) LAPSE_MUST_USE;
/* Whether any policy is applied. */
lapse_result policy_any(struct cli *cli, bool *any, struct lapse_error *error) LAPSE_MUST_USE;

/* Reads operands[from..] as policies; two of one name are refused. */
struct policy_files {
    struct policy_file files[CLI_OPERANDS_MAX];
    uint32_t n;
};
lapse_result policy_files_read(const struct cli *cli, int from, struct policy_files *files,
                               struct lapse_error *error) LAPSE_MUST_USE;
void policy_files_free(struct policy_files *files);

/* The policy's name as a C string, "NAME". */
const char *policy_name(const struct policy *policy, char out[LIMIT_POLICY + 1]);

#endif
