/* liblapse, continued: policies, locks, offboarding, eligibility, campaigns, break-glass reviews, bearer tokens.
 * Everything that lapse.h says of its calls holds here.
 *
 * What was changed is told by its event (lapse_watch_start) and kept in the audit log. The rules: docs/policies.md and
 * docs/decisions/0012-governance.md. */
#ifndef LAPSE_GOVERNANCE_H
#define LAPSE_GOVERNANCE_H

#include "client/lapse.h"

#ifdef __cplusplus
extern "C" {
#endif

/* "SUBJECT", "JUSTIFIED", "BOUND", ...; "UNKNOWN" for a number that is none. Never NULL. */
const char *lapse_lock_kind_name(enum lapse_lock_kind kind);
const char *lapse_review_verdict_name(enum lapse_review_verdict verdict);
const char *lapse_token_rule_name(enum lapse_token_rule rule);

/* ---- Changes --------------------------------------------------------------------------------------------------- */

struct lapse_change {
    uint64_t epoch;
    uint64_t revision; /* a watcher that has seen it has seen the change */
    int64_t time_ms;
    bool repeated_call;
    struct lapse_barrier barrier; /* of a lock or an offboarding: how far it has reached the enforcement points */
};
void lapse_change_free(struct lapse_change *change);
typedef void (*lapse_change_cb)(void *arg, const struct lapse_change *result, const struct lapse_error *error);

struct lapse_apply_policy_args {
    const char *request_id;
    struct lapse_policy policy; /* without what is the cluster's */
    uint64_t
        expected_version; /* of what it replaces: FAILED_PRECONDITION when that is another one; 0: whatever is there */
};

struct lapse_lock_args {
    const char *request_id;
    struct lapse_lock lock; /* kind, target, reason, until_ms */
    enum lapse_wait wait;   /* of a subject or a resource */
    uint32_t wait_ms;
};

struct lapse_offboard_args {
    const char *request_id;
    const char *subject; /* a principal; all its names are meant */
    const char *reason;
    enum lapse_wait wait;
    uint32_t wait_ms;
};

struct lapse_put_eligibility_args {
    const char *request_id;
    struct lapse_eligibility eligibility; /* without what is the cluster's */
};

struct lapse_certify_args {
    const char *request_id;
    const char *name;
    int64_t expires_ms; /* its new end, at most a year away */
    const char *comment;
};

struct lapse_start_campaign_args {
    const char *request_id;
    struct lapse_campaign campaign; /* without what is the cluster's */
};

struct lapse_close_review_args {
    const char *request_id;
    const char *grant_id;
    enum lapse_review_verdict verdict;
    const char *comment;
};

struct lapse_remove_args {
    const char *request_id;
    const char *name;
    const char *reason;
};

/* Puts a policy in the place of the one of its name, as its next version. By an operator. INVALID_ARGUMENT names the
 * rule and the member that is wrong. */
lapse_result lapse_apply_policy(struct lapse_client *client, const struct lapse_apply_policy_args *args,
                                uint32_t timeout_ms, struct lapse_change *result,
                                struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_apply_policy_async(struct lapse_client *client, const struct lapse_apply_policy_args *args,
                                      uint32_t timeout_ms, lapse_change_cb callback, void *arg,
                                      struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;
/* NOT_FOUND. By an operator. */
lapse_result lapse_remove_policy(struct lapse_client *client, const struct lapse_remove_args *args, uint32_t timeout_ms,
                                 struct lapse_change *result, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_remove_policy_async(struct lapse_client *client, const struct lapse_remove_args *args,
                                       uint32_t timeout_ms, lapse_change_cb callback, void *arg,
                                       struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;
/* Denies at once, everywhere. By an operator. `wait` and its errors as for lapse_revoke. */
lapse_result lapse_lock(struct lapse_client *client, const struct lapse_lock_args *args, uint32_t timeout_ms,
                        struct lapse_change *result, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_lock_async(struct lapse_client *client, const struct lapse_lock_args *args, uint32_t timeout_ms,
                              lapse_change_cb callback, void *arg, struct lapse_call **call,
                              struct lapse_error *error) LAPSE_MUST_USE;
/* NOT_FOUND. By an operator. */
lapse_result lapse_unlock(struct lapse_client *client, const struct lapse_remove_args *args, uint32_t timeout_ms,
                          struct lapse_change *result, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_unlock_async(struct lapse_client *client, const struct lapse_remove_args *args, uint32_t timeout_ms,
                                lapse_change_cb callback, void *arg, struct lapse_call **call,
                                struct lapse_error *error) LAPSE_MUST_USE;
/* Locks a principal under all its names, ends its grants, cancels its requests, takes its eligibility and roles: one
 * step. By an operator. `wait` as for lapse_revoke. */
lapse_result lapse_offboard(struct lapse_client *client, const struct lapse_offboard_args *args, uint32_t timeout_ms,
                            struct lapse_change *result, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_offboard_async(struct lapse_client *client, const struct lapse_offboard_args *args,
                                  uint32_t timeout_ms, lapse_change_cb callback, void *arg, struct lapse_call **call,
                                  struct lapse_error *error) LAPSE_MUST_USE;
/* By an operator. */
lapse_result lapse_put_eligibility(struct lapse_client *client, const struct lapse_put_eligibility_args *args,
                                   uint32_t timeout_ms, struct lapse_change *result,
                                   struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_put_eligibility_async(struct lapse_client *client, const struct lapse_put_eligibility_args *args,
                                         uint32_t timeout_ms, lapse_change_cb callback, void *arg,
                                         struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;
/* NOT_FOUND. By an operator. */
lapse_result lapse_remove_eligibility(struct lapse_client *client, const struct lapse_remove_args *args,
                                      uint32_t timeout_ms, struct lapse_change *result,
                                      struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_remove_eligibility_async(struct lapse_client *client, const struct lapse_remove_args *args,
                                            uint32_t timeout_ms, lapse_change_cb callback, void *arg,
                                            struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;
/* It is needed still. By an operator, never one for whom it is. NOT_FOUND. */
lapse_result lapse_certify(struct lapse_client *client, const struct lapse_certify_args *args, uint32_t timeout_ms,
                           struct lapse_change *result, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_certify_async(struct lapse_client *client, const struct lapse_certify_args *args,
                                 uint32_t timeout_ms, lapse_change_cb callback, void *arg, struct lapse_call **call,
                                 struct lapse_error *error) LAPSE_MUST_USE;
/* What lies in its scope and is not certified until due_ms, lapses. By an operator. ALREADY_EXISTS. */
lapse_result lapse_start_campaign(struct lapse_client *client, const struct lapse_start_campaign_args *args,
                                  uint32_t timeout_ms, struct lapse_change *result,
                                  struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_start_campaign_async(struct lapse_client *client, const struct lapse_start_campaign_args *args,
                                        uint32_t timeout_ms, lapse_change_cb callback, void *arg,
                                        struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;
/* Ends it before its time: nothing lapses. By an operator. NOT_FOUND. */
lapse_result lapse_close_campaign(struct lapse_client *client, const struct lapse_remove_args *args,
                                  uint32_t timeout_ms, struct lapse_change *result,
                                  struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_close_campaign_async(struct lapse_client *client, const struct lapse_remove_args *args,
                                        uint32_t timeout_ms, lapse_change_cb callback, void *arg,
                                        struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;
/* By an approver whom the rule names as reviewer, never by the grant's requester or subject. NOT_FOUND. */
lapse_result lapse_close_review(struct lapse_client *client, const struct lapse_close_review_args *args,
                                uint32_t timeout_ms, struct lapse_change *result,
                                struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_close_review_async(struct lapse_client *client, const struct lapse_close_review_args *args,
                                      uint32_t timeout_ms, lapse_change_cb callback, void *arg,
                                      struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;

/* ---- Tokens ---------------------------------------------------------------------------------------------------- */

/* "lps_" and 32 random bytes in base64url, and a NUL. */
#define LAPSE_TOKEN_SIZE 48
/* Draws a token. The caller keeps it, and wipes it; the cluster only gets its SHA-256. */
void lapse_token_make(char token[LAPSE_TOKEN_SIZE]);
/* SHA-256 of a token. INVALID_ARGUMENT unless it has the form above. */
lapse_result lapse_token_hash(const char *token, uint8_t sha256[32], struct lapse_error *error) LAPSE_MUST_USE;

struct lapse_set_token_args {
    const char *request_id;
    const char *grant_id;
    struct lapse_bytes token_sha256;
};
/* Gives an active grant its bearer token, once. By its requester or subject. FAILED_PRECONDITION when it has one, isn't
 * active, or its rule lets it have none. */
lapse_result lapse_set_token(struct lapse_client *client, const struct lapse_set_token_args *args, uint32_t timeout_ms,
                             struct lapse_mutation *result, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_set_token_async(struct lapse_client *client, const struct lapse_set_token_args *args,
                                   uint32_t timeout_ms, lapse_mutation_cb callback, void *arg, struct lapse_call **call,
                                   struct lapse_error *error) LAPSE_MUST_USE;

/* ---- Lists ----------------------------------------------------------------------------------------------------- */

/* In the order of names. By operators and auditors; policies and reviews by approvers, too. */
struct lapse_list_objects_args {
    uint32_t page_size;     /* 0: 100; at most 1000 */
    const char *page_token; /* from the previous page; NULL: the first */
    const char *prefix;     /* only names that begin with it */
};

struct lapse_policy_list {
    uint64_t epoch;
    uint64_t revision;
    int64_t time_ms;
    const struct lapse_policy *policies;
    size_t n_policies;
    const char *next_page_token; /* "" after the last page */
};
void lapse_policy_list_free(struct lapse_policy_list *list);
typedef void (*lapse_list_policies_cb)(void *arg, const struct lapse_policy_list *result,
                                       const struct lapse_error *error);
lapse_result lapse_list_policies(struct lapse_client *client, const struct lapse_list_objects_args *args,
                                 uint32_t timeout_ms, struct lapse_policy_list *result,
                                 struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_list_policies_async(struct lapse_client *client, const struct lapse_list_objects_args *args,
                                       uint32_t timeout_ms, lapse_list_policies_cb callback, void *arg,
                                       struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;

struct lapse_lock_list {
    uint64_t epoch;
    uint64_t revision;
    int64_t time_ms;
    const struct lapse_lock *locks;
    size_t n_locks;
    const char *next_page_token; /* "" after the last page */
};
void lapse_lock_list_free(struct lapse_lock_list *list);
typedef void (*lapse_list_locks_cb)(void *arg, const struct lapse_lock_list *result, const struct lapse_error *error);
lapse_result lapse_list_locks(struct lapse_client *client, const struct lapse_list_objects_args *args,
                              uint32_t timeout_ms, struct lapse_lock_list *result,
                              struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_list_locks_async(struct lapse_client *client, const struct lapse_list_objects_args *args,
                                    uint32_t timeout_ms, lapse_list_locks_cb callback, void *arg,
                                    struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;

struct lapse_eligibility_list {
    uint64_t epoch;
    uint64_t revision;
    int64_t time_ms;
    const struct lapse_eligibility *eligibilities;
    size_t n_eligibilities;
    const char *next_page_token; /* "" after the last page */
};
void lapse_eligibility_list_free(struct lapse_eligibility_list *list);
typedef void (*lapse_list_eligibilities_cb)(void *arg, const struct lapse_eligibility_list *result,
                                            const struct lapse_error *error);
lapse_result lapse_list_eligibilities(struct lapse_client *client, const struct lapse_list_objects_args *args,
                                      uint32_t timeout_ms, struct lapse_eligibility_list *result,
                                      struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_list_eligibilities_async(struct lapse_client *client, const struct lapse_list_objects_args *args,
                                            uint32_t timeout_ms, lapse_list_eligibilities_cb callback, void *arg,
                                            struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;

struct lapse_campaign_list {
    uint64_t epoch;
    uint64_t revision;
    int64_t time_ms;
    const struct lapse_campaign *campaigns;
    size_t n_campaigns;
    const char *next_page_token; /* "" after the last page */
};
void lapse_campaign_list_free(struct lapse_campaign_list *list);
typedef void (*lapse_list_campaigns_cb)(void *arg, const struct lapse_campaign_list *result,
                                        const struct lapse_error *error);
lapse_result lapse_list_campaigns(struct lapse_client *client, const struct lapse_list_objects_args *args,
                                  uint32_t timeout_ms, struct lapse_campaign_list *result,
                                  struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_list_campaigns_async(struct lapse_client *client, const struct lapse_list_objects_args *args,
                                        uint32_t timeout_ms, lapse_list_campaigns_cb callback, void *arg,
                                        struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;

struct lapse_review_list {
    uint64_t epoch;
    uint64_t revision;
    int64_t time_ms;
    const struct lapse_review *reviews;
    size_t n_reviews;
    const char *next_page_token; /* "" after the last page */
};
void lapse_review_list_free(struct lapse_review_list *list);
typedef void (*lapse_list_reviews_cb)(void *arg, const struct lapse_review_list *result,
                                      const struct lapse_error *error);
lapse_result lapse_list_reviews(struct lapse_client *client, const struct lapse_list_objects_args *args,
                                uint32_t timeout_ms, struct lapse_review_list *result,
                                struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_list_reviews_async(struct lapse_client *client, const struct lapse_list_objects_args *args,
                                      uint32_t timeout_ms, lapse_list_reviews_cb callback, void *arg,
                                      struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;

#ifdef __cplusplus
}
#endif

#endif
