/* liblapse: a client of Lapse, the replicated store of just-in-time grants.
 *
 *   struct lapse_client_options options = {.endpoints = "127.0.0.1:7400,127.0.0.1:7410", .certificate = "dev1.pem",
 *                                          .key = "dev1.key", .authorities = "ca.pem"};
 *   struct lapse_client *client;
 *   struct lapse_mutation done;
 *   struct lapse_error error;
 *   if (!lapse_is_ok(lapse_client_new(&options, &client, &error)))
 *       errx(1, "%s", error.message);
 *   if (lapse_is_ok(lapse_revoke(client, &(struct lapse_end_args){.grant_id = id, .reason = "left"}, 5000, &done,
 * &error))) lapse_mutation_free(&done); lapse_client_free(client);
 *
 * Conventions, which hold for every function below unless it says otherwise:
 *
 * Results    A function that can fail returns `lapse_result` (base/result.h; the codes are gRPC's) and, if `error` is
 * not NULL, says in it what happened and what to do. What it would fill is untouched on failure. Time       Times are
 * milliseconds since the Unix epoch in *cluster time*; 0 means "none" or "not yet". Durations are milliseconds. Strings
 * UTF-8, NUL-terminated. In arguments NULL is the same as "". In results they are never NULL. Limits stand in the API's
 * description; the cluster refuses longer ones with INVALID_ARGUMENT and names the field. Ownership  Arguments are
 * copied before a function returns. A result struct owns what it points to: release it with its lapse_*_free, which
 * accepts a zeroed struct, and treat its members as read-only. Threads    Any thread may call anything at any time, but
 * lapse_client_free, which must be the client's last call. Callbacks run on the client's own thread, one at a time;
 * they must not block. The blocking functions refuse to be called from a callback (FAILED_PRECONDITION); the
 * asynchronous ones are fine there. Memory     Running out of memory ends the process.
 *
 * How calls are kept alive. A client holds one connection, to one of its endpoints, chosen at random; when it breaks,
 * or the node says that it can't serve (UNAVAILABLE), the client moves on to the next endpoint, after a round of
 * failures with a growing, jittered pause. A call that meets such a failure is repeated, elsewhere if possible, until
 * its deadline. That is safe: reads change nothing, and a write carries a request_id by which the cluster recognises it
 * and returns the first outcome again. So a call ends with UNAVAILABLE, UNKNOWN or DEADLINE_EXCEEDED only when its time
 * is used up; then the outcome of a write is not known. To be able to ask again later, set request_id yourself. */
#ifndef LAPSE_H
#define LAPSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "client/lapse_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library, for example "0.1.0". */
const char *lapse_version(void);

/* ---- The client ------------------------------------------------------------------------------------------------ */

struct lapse_client;

struct lapse_client_options {
    /* "host:port", several separated by commas; IPv6 as "[::1]:7400". 1 to 16 of them. All must be nodes of one
     * cluster. */
    const char *endpoints;
    /* PEM files: this client's certificate (leaf first) with one URI SAN, its key, and the authorities it trusts. */
    const char *certificate;
    const char *key;
    const char *authorities;
    /* The SPIFFE ID that nodes must show, or a prefix of it ended by one asterisk. NULL: any node of the own trust
     * domain. */
    const char *server;
    uint32_t connect_timeout_ms;   /* for TCP; 0: 1000 */
    uint32_t keepalive_ms;         /* a ping when nothing was heard for so long during a call; 0: 2000 */
    uint32_t keepalive_timeout_ms; /* without its answer for so long the connection counts as lost; 0: 2000 */
    uint32_t backoff_min_ms;       /* the first pause after all endpoints failed; it doubles each time; 0: 20 */
    uint32_t backoff_max_ms;       /* at least backoff_min_ms; 0: 1000 */
    uint32_t calls_max;            /* calls open at once; 0: 1024. One more gets RESOURCE_EXHAUSTED */
};

/* Reads the files and starts the client's thread. Connects with the first call or watch, not before.
 * INVALID_ARGUMENT (an endpoint, a file), UNAUTHENTICATED (a certificate that can't be used). */
lapse_result lapse_client_new(const struct lapse_client_options *options, struct lapse_client **client,
                              struct lapse_error *error) LAPSE_MUST_USE;
/* Ends open calls with CANCELLED and watches (their last callbacks run before this returns), then the thread. Accepts
 * NULL. Never from a callback. Handles of calls and watches stay valid and are still to be released. */
void lapse_client_free(struct lapse_client *client);

/* A random UUID (version 4) for a request_id. */
#define LAPSE_REQUEST_ID_SIZE 37
void lapse_request_id_make(char id[LAPSE_REQUEST_ID_SIZE]);

void lapse_grant_free(struct lapse_grant *grant);
/* A deep copy, to keep a grant that a callback only lent. */
void lapse_grant_copy(const struct lapse_grant *grant, struct lapse_grant *copy);

/* ---- Calls ----------------------------------------------------------------------------------------------------- */

/* Each call exists twice:
 *
 *   lapse_NAME(client, args, timeout_ms, result, error)                    blocks until the outcome is there
 *   lapse_NAME_async(client, args, timeout_ms, callback, arg, call, error) returns at once
 *
 * `timeout_ms`: the deadline for everything, repeats included; 0: 10,000; at most 3,600,000.
 *
 * The asynchronous one fails only with INVALID_ARGUMENT, RESOURCE_EXHAUSTED (calls_max) or CANCELLED (the client is
 * being freed), and then never calls back; else `callback` is called exactly once, with the result (lent for the
 * callback; NULL on failure) and `error->code` LAPSE_OK or what went wrong. `call` may be NULL; otherwise it receives a
 * handle that the caller releases with lapse_call_free, before or after the callback.
 *
 * Besides what each call names, all can end with UNAUTHENTICATED, PERMISSION_DENIED (a role is missing),
 * RESOURCE_EXHAUSTED (a limit of the cluster), UNAVAILABLE, UNKNOWN, DEADLINE_EXCEEDED, CANCELLED, INTERNAL. */
struct lapse_call;

/* Asks for the call's end: its callback comes with CANCELLED, or with its outcome if that was there first. A write that
 * was sent may still take effect. */
void lapse_call_cancel(struct lapse_call *call);
/* Releases the handle, nothing else. Accepts NULL. */
void lapse_call_free(struct lapse_call *call);

/* The outcome of a call that changed a grant. */
struct lapse_mutation {
    uint64_t epoch;
    uint64_t revision; /* a watcher that has seen it has seen the change */
    int64_t time_ms;
    struct lapse_grant grant; /* right after the change */
    bool repeated_call;       /* the outcome of an earlier call with this request_id */
    struct lapse_barrier barrier; /* of a revocation */
};
void lapse_mutation_free(struct lapse_mutation *mutation);
typedef void (*lapse_mutation_cb)(void *arg, const struct lapse_mutation *result, const struct lapse_error *error);

struct lapse_request_args {
    const char *request_id; /* at most 64 bytes; NULL: a new UUID */
    const char *subject;    /* who gets access */
    const char *resource;
    const char *const *actions; /* 1 to 16 */
    size_t n_actions;
    const char *justification; /* why; required */
    const char *ticket;
    const char *task;
    int64_t duration_ms; /* either this, counted from the grant's beginning, */
    int64_t deadline_ms; /* or this */
    int64_t not_before_ms;
    int64_t pending_until_ms; /* lapses when undecided by then; 0: after 24 hours */
    uint32_t max_uses;
    struct lapse_binding binding;
    const struct lapse_label *labels;
    size_t n_labels;
    const char *parent;
    const char *policy; /* under this one and no other; NULL: the first that allows it */
    bool break_glass;
};

struct lapse_decision_args {
    const char *request_id;
    const char *grant_id;
    const char *comment;
};

/* What a revocation waits for. */
enum lapse_wait {
    LAPSE_WAIT_COMMITTED = 0,
    LAPSE_WAIT_RECEIVED = 1, /* and every enforcement point in scope denies, or its lease has run out */
    LAPSE_WAIT_ENFORCED = 2  /* and every session under the grant is ended */
};

struct lapse_end_args {
    const char *request_id;
    const char *grant_id;
    const char *reason;
    enum lapse_wait wait; /* lapse_revoke only */
    uint32_t wait_ms;     /* how long; 0: until shortly before the call's own deadline */
};

struct lapse_use_args {
    const char *request_id;
    const char *grant_id;
    uint32_t count; /* 0 means 1 */
};

/* Asks for a grant; the caller is its requester. INVALID_ARGUMENT, OUT_OF_RANGE. */
lapse_result lapse_request(struct lapse_client *client, const struct lapse_request_args *args, uint32_t timeout_ms,
                           struct lapse_mutation *result, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_request_async(struct lapse_client *client, const struct lapse_request_args *args,
                                 uint32_t timeout_ms, lapse_mutation_cb callback, void *arg, struct lapse_call **call,
                                 struct lapse_error *error) LAPSE_MUST_USE;

/* Approves a pending grant. NOT_FOUND; FAILED_PRECONDITION when it is no longer pending; PERMISSION_DENIED for its
 * requester or subject. */
lapse_result lapse_approve(struct lapse_client *client, const struct lapse_decision_args *args, uint32_t timeout_ms,
                           struct lapse_mutation *result, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_approve_async(struct lapse_client *client, const struct lapse_decision_args *args,
                                 uint32_t timeout_ms, lapse_mutation_cb callback, void *arg, struct lapse_call **call,
                                 struct lapse_error *error) LAPSE_MUST_USE;

/* Denies a pending grant. Errors as for approval. */
lapse_result lapse_deny(struct lapse_client *client, const struct lapse_decision_args *args, uint32_t timeout_ms,
                        struct lapse_mutation *result, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_deny_async(struct lapse_client *client, const struct lapse_decision_args *args, uint32_t timeout_ms,
                              lapse_mutation_cb callback, void *arg, struct lapse_call **call,
                              struct lapse_error *error) LAPSE_MUST_USE;

/* Withdraws one's own request, or an approved grant before it begins. NOT_FOUND, FAILED_PRECONDITION. */
lapse_result lapse_cancel(struct lapse_client *client, const struct lapse_end_args *args, uint32_t timeout_ms,
                          struct lapse_mutation *result, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_cancel_async(struct lapse_client *client, const struct lapse_end_args *args, uint32_t timeout_ms,
                                lapse_mutation_cb callback, void *arg, struct lapse_call **call,
                                struct lapse_error *error) LAPSE_MUST_USE;

/* Reports uses of an active grant. FAILED_PRECONDITION when it doesn't hold any more or would pass max_uses. */
lapse_result lapse_use(struct lapse_client *client, const struct lapse_use_args *args, uint32_t timeout_ms,
                       struct lapse_mutation *result, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_use_async(struct lapse_client *client, const struct lapse_use_args *args, uint32_t timeout_ms,
                             lapse_mutation_cb callback, void *arg, struct lapse_call **call,
                             struct lapse_error *error) LAPSE_MUST_USE;

/* The task is done: ends one's own active grant. NOT_FOUND, FAILED_PRECONDITION. */
lapse_result lapse_complete(struct lapse_client *client, const struct lapse_end_args *args, uint32_t timeout_ms,
                            struct lapse_mutation *result, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_complete_async(struct lapse_client *client, const struct lapse_end_args *args, uint32_t timeout_ms,
                                  lapse_mutation_cb callback, void *arg, struct lapse_call **call,
                                  struct lapse_error *error) LAPSE_MUST_USE;

/* Ends an approved or active grant. NOT_FOUND, FAILED_PRECONDITION when it has ended otherwise.
 *
 * With `wait` it returns OK only when no enforcement point in scope permits the grant any more. Otherwise the grant is revoked all
 * the same, and the cluster goes on: DEADLINE_EXCEEDED ("PENDING: ...") names who has not confirmed in time; ABORTED ("FAILED: ...")
 * who could not end a session. The same call with the same request_id asks again. */
lapse_result lapse_revoke(struct lapse_client *client, const struct lapse_end_args *args, uint32_t timeout_ms,
                          struct lapse_mutation *result, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_revoke_async(struct lapse_client *client, const struct lapse_end_args *args, uint32_t timeout_ms,
                                lapse_mutation_cb callback, void *arg, struct lapse_call **call,
                                struct lapse_error *error) LAPSE_MUST_USE;

/* All that is set must hold. */
struct lapse_filter {
    const char *subject;
    const char *resource; /* this one, or with "/" and an asterisk at its end everything below it */
    const char *requester;
    const char *approver;
    const char *ticket;
    const char *policy;
    const char *parent;
    const enum lapse_grant_state *states;
    size_t n_states;
    uint64_t policy_version; /* with `policy` */
    const char *binding;     /* the SPIFFE ID that it is bound to */
    const char *label;       /* "key=value" */
    const char *person;      /* subject or requester, under all their names */
};

struct lapse_revoke_matching_args {
    const char *request_id;
    struct lapse_filter filter; /* of PENDING, APPROVED and ACTIVE grants; more than `states` must be set */
    const char *reason;
    enum lapse_wait wait;
    uint32_t wait_ms;
};

struct lapse_matching_revocation {
    uint64_t epoch;
    uint64_t revision;
    int64_t time_ms;
    struct lapse_barrier barrier;
    bool repeated_call;
};
void lapse_matching_revocation_free(struct lapse_matching_revocation *revocation);
typedef void (*lapse_revoke_matching_cb)(void *arg, const struct lapse_matching_revocation *result,
                                         const struct lapse_error *error);

/* Ends all live grants that match when it commits, in one step; later ones are not touched. By an operator. `wait` and
 * its errors as for lapse_revoke. */
lapse_result lapse_revoke_matching(struct lapse_client *client, const struct lapse_revoke_matching_args *args,
                                   uint32_t timeout_ms, struct lapse_matching_revocation *result,
                                   struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_revoke_matching_async(struct lapse_client *client, const struct lapse_revoke_matching_args *args,
                                         uint32_t timeout_ms, lapse_revoke_matching_cb callback, void *arg,
                                         struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;

/* One of the two is filled. */
struct lapse_follow_args {
    struct lapse_end_args revoke;
    struct lapse_revoke_matching_args revoke_matching;
};

struct lapse_revoke_progress {
    uint64_t epoch;
    uint64_t revision;
    int64_t time_ms;
    struct lapse_barrier barrier;
    const struct lapse_receipt *receipts; /* of those that are not ENFORCED, at most 100 */
    size_t n_receipts;
    bool committed; /* the first message */
    bool last;      /* how it stands at the end of the wait */
};
/* `progress` is lent. On the client's thread. After a change of node it begins again with `committed`. */
typedef void (*lapse_follow_cb)(void *arg, const struct lapse_revoke_progress *progress);
typedef void (*lapse_followed_cb)(void *arg, const struct lapse_error *error);

/* A revocation that tells how it goes: who has confirmed, who is waited for and until when. Its outcome as of
 * lapse_revoke. `on_progress` and `arg` live until it returns. */
lapse_result lapse_revoke_and_follow(struct lapse_client *client, const struct lapse_follow_args *args,
                                     uint32_t timeout_ms, lapse_follow_cb on_progress, void *arg,
                                     struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_revoke_and_follow_async(struct lapse_client *client, const struct lapse_follow_args *args,
                                           uint32_t timeout_ms, lapse_follow_cb on_progress, lapse_followed_cb callback,
                                           void *arg, struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;

struct lapse_get_args {
    const char *grant_id;
};

struct lapse_grant_view {
    uint64_t epoch;
    uint64_t revision; /* the store's, when it was read */
    int64_t time_ms;
    struct lapse_grant grant;
};
void lapse_grant_view_free(struct lapse_grant_view *view);
typedef void (*lapse_get_cb)(void *arg, const struct lapse_grant_view *result, const struct lapse_error *error);

/* One grant, with every change acknowledged before the call. NOT_FOUND. */
lapse_result lapse_get(struct lapse_client *client, const struct lapse_get_args *args, uint32_t timeout_ms,
                       struct lapse_grant_view *result, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_get_async(struct lapse_client *client, const struct lapse_get_args *args, uint32_t timeout_ms,
                             lapse_get_cb callback, void *arg, struct lapse_call **call,
                             struct lapse_error *error) LAPSE_MUST_USE;

struct lapse_list_args {
    struct lapse_filter filter;
    uint32_t page_size;     /* 0: 100; at most 1000 */
    const char *page_token; /* from the previous page; NULL: the first */
};

struct lapse_grant_list {
    uint64_t epoch;
    uint64_t revision;
    int64_t time_ms;
    const struct lapse_grant *grants;
    size_t n_grants;
    const char *next_page_token; /* "" after the last page */
};
void lapse_grant_list_free(struct lapse_grant_list *list);
typedef void (*lapse_list_cb)(void *arg, const struct lapse_grant_list *result, const struct lapse_error *error);

/* One page of the grants that match. INVALID_ARGUMENT for a token that is none. */
lapse_result lapse_list(struct lapse_client *client, const struct lapse_list_args *args, uint32_t timeout_ms,
                        struct lapse_grant_list *result, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_list_async(struct lapse_client *client, const struct lapse_list_args *args, uint32_t timeout_ms,
                              lapse_list_cb callback, void *arg, struct lapse_call **call,
                              struct lapse_error *error) LAPSE_MUST_USE;

struct lapse_check_args {
    const char *subject;
    const char *resource;
    const char *action;
    /* What the presenter showed, where the grant is bound. */
    const char *spiffe_id;
    struct lapse_bytes certificate_sha256;
    const char *address;
    struct lapse_bytes token_sha256; /* of the bearer token that was presented; `subject` may then be empty */
};

struct lapse_decision {
    uint64_t epoch;
    uint64_t revision;
    int64_t time_ms;
    bool allowed;
    const char *verdict;      /* "ALLOWS", or why not: "NOT_ACTIVE", "PAST_DEADLINE", "OTHER_ACTION", ... */
    struct lapse_grant grant; /* the one that allows it, or the nearest miss; its id is "" when there is none */
    int64_t valid_for_ms;     /* how long the answer still holds when allowed */
};
void lapse_decision_free(struct lapse_decision *decision);
typedef void (*lapse_check_cb)(void *arg, const struct lapse_decision *result, const struct lapse_error *error);

/* Whether some grant allows subject to do action on resource right now. A "no" is a result, not an error. */
lapse_result lapse_check(struct lapse_client *client, const struct lapse_check_args *args, uint32_t timeout_ms,
                         struct lapse_decision *result, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_check_async(struct lapse_client *client, const struct lapse_check_args *args, uint32_t timeout_ms,
                               lapse_check_cb callback, void *arg, struct lapse_call **call,
                               struct lapse_error *error) LAPSE_MUST_USE;

/* ---- The cluster ----------------------------------------------------------------------------------------------- */

struct lapse_node_status {
    uint64_t id;
    const char *address;
    const char *role; /* "voter", "standby", "spare" */
    const char *link; /* as the answering node sees it: "self", "connected", "unreachable" */
};

struct lapse_cluster_status {
    const char *cluster;
    uint64_t epoch;
    uint64_t revision;
    uint64_t node_id;   /* of the node that answered */
    const char *state;  /* its own: "leader", "follower", "candidate" */
    uint64_t leader_id; /* 0: none known */
    uint64_t term;
    uint64_t commit_index;
    uint64_t applied_index;
    int64_t time_ms;
    const char *digest; /* of the state at `revision`; equal on all nodes at equal revision */
    const struct lapse_node_status *nodes;
    size_t n_nodes;
    uint64_t live_grants;
    uint64_t ended_grants;
    uint64_t watchers;
    const char *version;
    uint64_t snapshot_index;
};
void lapse_cluster_status_free(struct lapse_cluster_status *status);
typedef void (*lapse_cluster_status_cb)(void *arg, const struct lapse_cluster_status *result,
                                        const struct lapse_error *error);

struct lapse_cluster_status_args {
    char unused; /* nothing to say; NULL will do */
};

/* How the cluster looks from the node that the client is connected to. */
lapse_result lapse_cluster_status(struct lapse_client *client, const struct lapse_cluster_status_args *args,
                                  uint32_t timeout_ms, struct lapse_cluster_status *result,
                                  struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_cluster_status_async(struct lapse_client *client, const struct lapse_cluster_status_args *args,
                                        uint32_t timeout_ms, lapse_cluster_status_cb callback, void *arg,
                                        struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;

/* The roles of a principal, or of all that begin with a prefix ended by one asterisk. */
struct lapse_set_roles_args {
    const char *request_id;
    struct lapse_role_binding binding; /* no roles: removes it */
};

struct lapse_roles_change {
    uint64_t epoch;
    uint64_t revision;
    int64_t time_ms;
};
typedef void (*lapse_set_roles_cb)(void *arg, const struct lapse_roles_change *result, const struct lapse_error *error);

/* Sets, whole, what a principal may do. By an operator. INVALID_ARGUMENT. */
lapse_result lapse_set_roles(struct lapse_client *client, const struct lapse_set_roles_args *args, uint32_t timeout_ms,
                             struct lapse_roles_change *result, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_set_roles_async(struct lapse_client *client, const struct lapse_set_roles_args *args,
                                   uint32_t timeout_ms, lapse_set_roles_cb callback, void *arg,
                                   struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;

struct lapse_list_roles_args {
    char unused; /* nothing to say; NULL will do */
};

struct lapse_role_list {
    uint64_t epoch;
    uint64_t revision;
    const struct lapse_role_binding *bindings;
    size_t n_bindings;
};
void lapse_role_list_free(struct lapse_role_list *list);
typedef void (*lapse_list_roles_cb)(void *arg, const struct lapse_role_list *result, const struct lapse_error *error);

lapse_result lapse_list_roles(struct lapse_client *client, const struct lapse_list_roles_args *args,
                              uint32_t timeout_ms, struct lapse_role_list *result,
                              struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_list_roles_async(struct lapse_client *client, const struct lapse_list_roles_args *args,
                                    uint32_t timeout_ms, lapse_list_roles_cb callback, void *arg,
                                    struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;

struct lapse_transfer_args {
    uint64_t node_id; /* 0: any voter that is up to date */
};

struct lapse_transfer {
    uint64_t leader_id; /* who leads now */
};
typedef void (*lapse_transfer_cb)(void *arg, const struct lapse_transfer *result, const struct lapse_error *error);

/* Hands leadership to another voter. By an operator. Returns when another node leads; ABORTED when it could not be
 * handed over. */
lapse_result lapse_transfer_leadership(struct lapse_client *client, const struct lapse_transfer_args *args,
                                       uint32_t timeout_ms, struct lapse_transfer *result,
                                       struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_transfer_leadership_async(struct lapse_client *client, const struct lapse_transfer_args *args,
                                             uint32_t timeout_ms, lapse_transfer_cb callback, void *arg,
                                             struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;

struct lapse_add_node_args {
    uint64_t node_id;    /* one that no node of the cluster has had */
    const char *address; /* "host:port" of its peer port, as the other nodes reach it */
};

struct lapse_remove_node_args {
    uint64_t node_id;
};

struct lapse_node_change {
    bool begun; /* always true: the change is under way; lapse_cluster_status tells when it is done */
};
typedef void (*lapse_node_change_cb)(void *arg, const struct lapse_node_change *result,
                                     const struct lapse_error *error);

/* Adds a node that was made with `lapsed join`: it catches up, then becomes a voter by itself. One change at a time
 * (FAILED_PRECONDITION while another is under way). By an operator. */
lapse_result lapse_add_node(struct lapse_client *client, const struct lapse_add_node_args *args, uint32_t timeout_ms,
                            struct lapse_node_change *result, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_add_node_async(struct lapse_client *client, const struct lapse_add_node_args *args,
                                  uint32_t timeout_ms, lapse_node_change_cb callback, void *arg,
                                  struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;
/* Takes a node out for good. NOT_FOUND when it is no member (any more). By an operator. */
lapse_result lapse_remove_node(struct lapse_client *client, const struct lapse_remove_node_args *args,
                               uint32_t timeout_ms, struct lapse_node_change *result,
                               struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_remove_node_async(struct lapse_client *client, const struct lapse_remove_node_args *args,
                                     uint32_t timeout_ms, lapse_node_change_cb callback, void *arg,
                                     struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;

/* ---- Enforcement points ---------------------------------------------------------------------------------------- */

struct lapse_list_points_args {
    uint32_t page_size;     /* 0: 100; at most 1000 */
    const char *page_token; /* from the previous page; NULL: the first */
};

struct lapse_point_list {
    uint64_t epoch;
    uint64_t revision;
    const struct lapse_point *points;
    size_t n_points;
    const char *next_page_token; /* "" after the last page */
};
void lapse_point_list_free(struct lapse_point_list *list);
typedef void (*lapse_list_points_cb)(void *arg, const struct lapse_point_list *result, const struct lapse_error *error);

/* The enforcement points that are registered, by id. By an operator or auditor. */
lapse_result lapse_list_points(struct lapse_client *client, const struct lapse_list_points_args *args,
                               uint32_t timeout_ms, struct lapse_point_list *result,
                               struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_list_points_async(struct lapse_client *client, const struct lapse_list_points_args *args,
                                     uint32_t timeout_ms, lapse_list_points_cb callback, void *arg,
                                     struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;

struct lapse_get_barrier_args {
    const char *grant_id; /* its newest one, */
    uint64_t barrier;     /* or the one with this id */
};

struct lapse_barrier_view {
    uint64_t epoch;
    uint64_t revision;
    struct lapse_barrier barrier;
    const struct lapse_receipt *receipts; /* those that wait, then all others that are not ENFORCED; at most 1000 */
    size_t n_receipts;
    uint32_t omitted; /* how many more there are */
};
void lapse_barrier_view_free(struct lapse_barrier_view *view);
typedef void (*lapse_get_barrier_cb)(void *arg, const struct lapse_barrier_view *result,
                                     const struct lapse_error *error);

/* What became of a revocation, with the enforcement points' receipts. NOT_FOUND. */
lapse_result lapse_get_barrier(struct lapse_client *client, const struct lapse_get_barrier_args *args,
                               uint32_t timeout_ms, struct lapse_barrier_view *result,
                               struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_get_barrier_async(struct lapse_client *client, const struct lapse_get_barrier_args *args,
                                     uint32_t timeout_ms, lapse_get_barrier_cb callback, void *arg,
                                     struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;

/* ---- Watching -------------------------------------------------------------------------------------------------- */

struct lapse_watch;

/* How a watch is doing. */
struct lapse_watch_status {
    bool connected;       /* in place at a node; else it is looking for one by itself */
    const char *endpoint; /* where it is, or was last; "" when nowhere yet */
    const char *message;  /* why it is not connected; "" otherwise */
};

/* NULL members are not called. What is passed is lent for the callback. */
struct lapse_watch_callbacks {
    /* Each event of the scope exactly once, in the order of revisions. */
    void (*on_event)(void *arg, uint64_t epoch, const struct lapse_event *event);
    /* What was seen so far no longer connects: drop it. A snapshot follows. */
    void (*on_resync)(void *arg, const char *reason);
    /* One grant of a snapshot; a later one with the same id replaces it. */
    void (*on_snapshot_grant)(void *arg, const struct lapse_grant *grant);
    /* The snapshot is the scope's state at this point; events after it follow. */
    void (*on_snapshot_end)(void *arg, uint64_t epoch, uint64_t revision, int64_t time_ms);
    /* Everything in scope up to this point has been delivered. Also the first sign of a new watch. */
    void (*on_progress)(void *arg, uint64_t epoch, uint64_t revision, int64_t time_ms);
    void (*on_status)(void *arg, const struct lapse_watch_status *status);
    /* Last, exactly once: `why` is CANCELLED after lapse_watch_stop or lapse_client_free, else what can't be mended by
     * waiting (PERMISSION_DENIED, INVALID_ARGUMENT, UNAUTHENTICATED, UNIMPLEMENTED). */
    void (*on_end)(void *arg, const struct lapse_error *why);
};

struct lapse_watch_options {
    struct lapse_filter scope;
    /* Resume behind this point, the last one seen. Both 0: from now on, or with `snapshot` from a snapshot. */
    uint64_t epoch;
    uint64_t revision;
    bool snapshot;
    uint32_t progress_ms; /* a sign of life at least this often; 0: 5000; 100 to 60,000 */
};

/* Watches until it is stopped. It reconnects by itself, to any endpoint, and goes on behind the last event delivered,
 * so that none is lost or doubled; if the cluster can't connect the two any more, on_resync and a snapshot come. A node
 * from which nothing is heard for three times progress_ms is left for the next one.
 * INVALID_ARGUMENT for options that can't be. The handle is released with lapse_watch_stop. */
lapse_result lapse_watch_start(struct lapse_client *client, const struct lapse_watch_options *options,
                               const struct lapse_watch_callbacks *callbacks, void *arg, struct lapse_watch **watch,
                               struct lapse_error *error) LAPSE_MUST_USE;
/* Stops the watch and releases the handle; on_end follows on the client's thread, unless it came before. Exactly once
 * for each watch, also after on_end, also after lapse_client_free. Accepts NULL. */
void lapse_watch_stop(struct lapse_watch *watch);

#ifdef __cplusplus
}
#endif

#endif
