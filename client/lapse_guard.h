/* The guard: an enforcement point in your own process. It keeps the grants of its scope in memory, decides without the
 * network in well under a microsecond, and denies everything when it can no longer know.
 *
 *   struct lapse_guard_options options = {.client = {.endpoints = ..., ...}, .id = "orders-db-1",
 *                                         .scope = (const char *const[]){"db/prod/orders"}, .n_scope = 1};
 *   struct lapse_guard *guard;
 *   if (!lapse_is_ok(lapse_guard_open(&options, &callbacks, arg, &guard, &error))) ...
 *   struct lapse_guard_query query = {.subject = "user:dev1@example.com", .resource = "db/prod/orders", .action =
 * "read"}; struct lapse_guard_decision decision; if (lapse_guard_check(guard, &query, &decision)) serve(); else
 * refuse(decision.verdict);
 *
 * What a revocation means here. When the cluster revokes a grant, the guard denies it at once, has the sessions under
 * it ended (on_end_session), and confirms. If it is cut off for longer than its lease, it denies everything by itself,
 * and the cluster counts on that. So a revocation that was confirmed holds here, whatever happened to this process, to
 * its machine or to the network. A lock on a subject or a resource means the same until it is lifted: what it concerns
 * is denied (LOCKED), its sessions are ended, and the grants stay.
 *
 * A forked child has a copy of what its parent knows, and none of the threads by which it hears of revocations: there
 * every check is denied (FAILED) from its first moment on, calls answer FAILED_PRECONDITION, and closing does nothing.
 * So fork first, and open a guard, with an id of its own, in each child that checks. (fork, that is: what calls clone
 * itself must not check afterwards.)
 *
 * Conventions are those of lapse.h. Time is this machine's CLOCK_BOOTTIME: a suspended machine wakes up denying. */
#ifndef LAPSE_GUARD_H
#define LAPSE_GUARD_H

#include "client/lapse.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lapse_guard;
struct lapse_guard_session;

struct lapse_guard_options {
    struct lapse_client_options client; /* calls_max is not used */
    const char *id;                     /* of this enforcement point, unique in the cluster; at most 64 bytes */
    const char *const *scope;           /* resources that it guards: paths or subtrees; 1 to 8 */
    size_t n_scope;
    uint32_t lease_ms;   /* how long it may decide without hearing from the cluster; 0: 3000; 1000 to 60,000 */
    uint32_t grants_max; /* in the cache; past it the guard denies and says so; 0: 1,000,000 */
    uint32_t use_share;  /* uses of a grant with max_uses that are taken at a time; 0: 1. What is left of a share when
                            the grant ends is lost */
    uint32_t
        session_end_ms; /* a session that is not ended so long after on_end_session is reported as FAILED; 0: 2000 */
    /* The newest head of the audit log that an earlier process was told (on_head); empty: none. A cluster that doesn't
     * know it any more has lost or changed history: the guard then denies everything (FAILED), for good. */
    struct lapse_bytes head;
    bool end_sessions_when_stale; /* also call on_end_session for all sessions when the guard lapses */
};

enum lapse_guard_state {
    LAPSE_GUARD_STARTING = 1, /* no complete cache yet: denies everything */
    LAPSE_GUARD_DECIDING = 2,
    LAPSE_GUARD_STALE = 3,  /* its lease ran out: denies everything, reconnects by itself */
    LAPSE_GUARD_FENCED = 4, /* another process has registered under its id: denies everything, for good */
    LAPSE_GUARD_FAILED = 5  /* what can't be mended by waiting (a role is missing, the scope is foreign): denies
                               everything; still retries, slowly. Not at all when the cluster has lost history that it
                               had signed: an operator has to look */
};
/* "STARTING", ...; never NULL. */
const char *lapse_guard_state_name(enum lapse_guard_state state);

#define LAPSE_GUARD_HEAD_MAX 512

/* NULL members are not called. All run on the guard's own thread; they must not block. */
struct lapse_guard_callbacks {
    void (*on_state)(void *arg, enum lapse_guard_state state, const char *message);
    /* The grant of this session has ended (`reason`: "REVOKED", "EXPIRED", ..., or "STALE"), or its subject or resource
     * is locked ("LOCKED"): end it, and call lapse_guard_session_ended, here or later from any thread. Without this
     * callback sessions count as ended at once.
     */
    void (*on_end_session)(void *arg, struct lapse_guard_session *session, const char *grant_id, const char *reason);
    /* A grant in scope has become active, changed, or ended, and the cache has it. For events only: what a snapshot
     * brings after a long absence is not told one by one. */
    void (*on_grant)(void *arg, const struct lapse_grant *grant);
    /* A newer head of the audit log, at most LAPSE_GUARD_HEAD_MAX bytes: to be kept where it survives this process, and
     * given to the next one in its options. Every 30 s at most. */
    void (*on_head)(void *arg, struct lapse_bytes head);
};

/* INVALID_ARGUMENT (an option), UNAUTHENTICATED (a certificate that can't be used). Returns at once; the guard is
 * STARTING until its cache is complete: lapse_guard_wait_ready. */
lapse_result lapse_guard_open(const struct lapse_guard_options *options, const struct lapse_guard_callbacks *callbacks,
                              void *arg, struct lapse_guard **guard, struct lapse_error *error) LAPSE_MUST_USE;
/* Denies from now on, says goodbye (so that no revocation has to wait for this guard; waits a second at most for the
 * answer), and frees. No other call may be under way or follow. Sessions that are open are reported as ended by the
 * goodbye, and their handles are gone. Accepts NULL. Not from a callback. */
void lapse_guard_close(struct lapse_guard *guard);
/* Certificate, key and authorities were renewed: a new connection is made with them. They are read again for every new
 * connection anyway, so also when a node ends the old one because its certificate has expired; this tells at once
 * whether they can be used, and not only then. UNAUTHENTICATED and others, naming the file: nothing has changed. Checks
 * go on meanwhile, by the promise that there is. Any thread. */
lapse_result lapse_guard_reload(struct lapse_guard *guard, struct lapse_error *error) LAPSE_MUST_USE;
/* UNAVAILABLE when it is not DECIDING after `timeout_ms` (at once when it is FENCED), with the reason. This and the
 * other functions that wait answer FAILED_PRECONDITION when called from a callback. */
lapse_result lapse_guard_wait_ready(struct lapse_guard *guard, uint32_t timeout_ms,
                                    struct lapse_error *error) LAPSE_MUST_USE;

struct lapse_guard_query {
    const char *subject;
    const char *resource; /* a path; what is no proper one ("db//x", "db/../x") is denied */
    const char *action;
    /* What the presenter showed, where a grant is bound; NULL or empty: nothing. */
    const char *spiffe_id;
    struct lapse_bytes certificate_sha256;
    const char *address;
    /* SHA-256 of the whole text of a bearer token, 32 bytes: only its grant is looked at. `subject` may then be NULL.
     */
    struct lapse_bytes token_sha256;
};

struct lapse_guard_decision {
    bool permit;
    /* "ALLOWS", or why not: "LOCKED", "NO_GRANT", "UNKNOWN_TOKEN", "STARTING", "STALE", "FENCED", "FAILED", "USES" (the
     * grant counts its uses: lapse_guard_use decides), or a grant's: "PAST_DEADLINE", "OTHER_ACTION",
     * "BINDING_MISSING", ... Static. */
    const char *verdict;
    char subject[257]; /* with a token: its grant's; "" otherwise */
    char grant[27];    /* the one that allows it, or the nearest miss; "" when there is none */
    uint64_t epoch;
    uint64_t revision;    /* what the cache holds */
    int64_t staleness_ms; /* since the cluster was last heard; -1: never */
    int64_t valid_for_ms; /* how long this answer holds without asking again: until the grant's deadline or the lease's
                             end; 0 for a denial */
};

/* Any thread, any number of them: lock-free, no allocation, no system call. Returns decision->permit. */
bool lapse_guard_check(struct lapse_guard *guard, const struct lapse_guard_query *query,
                       struct lapse_guard_decision *decision);
/* The same for grants that count their uses: one use is spent, with a round trip to the cluster when no share is left.
 * For a grant without max_uses as lapse_guard_check. UNAVAILABLE, DEADLINE_EXCEEDED: not known whether the use was
 * spent, and not permitted. A denial is OK with permit false. */
lapse_result lapse_guard_use(struct lapse_guard *guard, const struct lapse_guard_query *query, uint32_t timeout_ms,
                             struct lapse_guard_decision *decision, struct lapse_error *error) LAPSE_MUST_USE;
/* Waits until the cache holds `revision` (of an approval, say), so that a new grant works on first use.
 * DEADLINE_EXCEEDED otherwise. */
lapse_result lapse_guard_wait_revision(struct lapse_guard *guard, uint64_t revision, uint32_t timeout_ms,
                                       struct lapse_error *error) LAPSE_MUST_USE;

/* A use of a grant that lasts: reported to the cluster, ended when the grant ends. FAILED_PRECONDITION when the grant
 * doesn't allow anything any more (it has ended since the check). RESOURCE_EXHAUSTED. `data` is the application's. */
lapse_result lapse_guard_session_begin(struct lapse_guard *guard, const char *grant_id, const char *description,
                                       void *data, struct lapse_guard_session **session,
                                       struct lapse_error *error) LAPSE_MUST_USE;
void *lapse_guard_session_data(const struct lapse_guard_session *session);
/* It is over (of itself, or after on_end_session); `failure` NULL, or why it could not be ended. Frees the session,
 * exactly once. While another thread runs its on_end_session this waits for that to return, so that `data` may be freed
 * afterwards: don't hold a lock here that on_end_session takes. */
void lapse_guard_session_ended(struct lapse_guard_session *session, const char *failure);

struct lapse_guard_status {
    enum lapse_guard_state state;
    const char *message; /* static or until the next call from this thread */
    const char *endpoint;
    uint64_t epoch, revision;
    int64_t staleness_ms, valid_for_ms;
    uint64_t grants, sessions;
    uint64_t checks_permitted, checks_denied; /* approximate */
    uint64_t resyncs, reconnects, registrations;
};
void lapse_guard_get_status(struct lapse_guard *guard, struct lapse_guard_status *status);

#ifdef __cplusplus
}
#endif

#endif
