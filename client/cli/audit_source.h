/* Where `lapse evidence` and `lapse report` have their records from: an export, or the cluster. Verified as they come.
 */
#ifndef LAPSE_CLIENT_CLI_AUDIT_SOURCE_H
#define LAPSE_CLIENT_CLI_AUDIT_SOURCE_H

#include "client/audit_verify.h"
#include "client/cli/cli.h"

/* What a reading has shown about its records. */
struct audit_source {
    struct audit_verdict verdict;
    bool with_keys;  /* there were keys to check signatures with */
    bool own_keys;   /* the caller's, not what the cluster says of itself */
    char proof[400]; /* in words */
};

/* Records `from` (1: all) to the newest one go to `on_record`, in order. From --export if it is given (then all of the
 * file), with the keys of --keys; else from the cluster. Failures are said on standard error. Returns an exit code:
 * CLI_DENIED when a record is not what it should be. */
int audit_source_read(struct cli *cli, uint64_t from, audit_record_cb on_record, void *arg,
                      struct audit_source *source);

/* Records from..to, in calls that each take a moment, so that a change of node repeats little. */
lapse_result audit_source_tail(struct cli *cli, uint64_t from, uint64_t to,
                               const struct lapse_audit_callbacks *callbacks, void *arg,
                               struct lapse_error *error) LAPSE_MUST_USE;
/* The hash of the record before `from`, for a header. */
lapse_result audit_source_previous(struct cli *cli, uint64_t from, uint8_t hash[LAPSE_AUDIT_HASH_BYTES],
                                   struct lapse_error *error) LAPSE_MUST_USE;
/* Says what is wrong on standard error, where text of a hostile file can't move the cursor. An exit code: CLI_DENIED
 * for what doesn't verify. */
int audit_source_fail(const struct lapse_error *error);
/* The keys of --keys, or NULL when it isn't given. */
lapse_result audit_source_keys(const struct cli *cli, struct audit_keys **keys,
                               struct lapse_error *error) LAPSE_MUST_USE;

#endif
