/* The store's rules once more, as plainly as possible: an array of grants, every question answered by looking at all of
 * them. Shares no code with the store but the command itself. */
#ifndef LAPSE_TESTS_STORE_MODEL_H
#define LAPSE_TESTS_STORE_MODEL_H

#include "store/store.h"

#define MODEL_GRANTS 4096
#define MODEL_KEYS 4096

/* Rules of the policy that a governed world has, by resource: "a/b" is automatic; all else below "a/" needs p0 or p1,
 * then anybody; "a" needs two, of whom one may be the requester; the rest has none. */
enum model_rule { MODEL_BUILT_IN, MODEL_AUTOMATIC, MODEL_STEPS, MODEL_SELF, MODEL_RULES };
/* Their names, and how deep may be derived. */
extern const char *const model_rule_names[MODEL_RULES];
extern const uint32_t model_rule_depths[MODEL_RULES];

struct model_grant {
    bool present;
    struct grant_id id, parent;
    int state;
    char subject[32], requester[32], ended_by[32], resource[32];
    enum model_rule rule;
    char approvers[2][32];
    uint64_t approval_revisions[2];
    uint32_t n_approvals;
    uint32_t actions; /* bits: 1 read, 2 write */
    char spiffe_id[32], certificate[33];
    uint32_t networks; /* bits of model_networks */
    int64_t duration_ms, deadline_ms, not_before_ms, pending_until_ms, ended_ms;
    uint32_t max_uses, uses;
    uint64_t requested_revision, revision;
    int ends; /* how often it has ended */
};

/* Each lies within the one before it, but for the last. */
#define MODEL_NETWORKS 4
extern const char *const model_networks[MODEL_NETWORKS];

struct model_key {
    struct request_key key;
    uint64_t content;
    struct grant_id grant;
    uint64_t revision;
    int64_t time_ms;
};

struct model_role {
    char member[32];
    uint32_t roles;
};

struct model {
    struct model_grant grants[MODEL_GRANTS];
    uint32_t n_grants;
    struct model_key keys[MODEL_KEYS]; /* by age */
    uint32_t n_keys;
    struct model_role roles[64];
    uint32_t n_roles;
    uint64_t revision;
    int64_t now_ms;
    bool initialised, governed;
    uint32_t live_max, ended_max, keys_max;
    int64_t retention_ms;
    uint32_t n_events; /* of the last command */
    bool repeated;
};

/* `content` stands for all of the command but its key and a new grant's id. */
enum lapse_code model_apply(struct model *model, const struct command *command, uint64_t content, int64_t time_ms);
struct model_grant *model_find(struct model *model, struct grant_id id);
int64_t model_next_due(struct model *model);

#endif
