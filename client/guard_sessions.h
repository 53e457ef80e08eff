/* The uses of grants that last: who is still inside, who has to leave, and what of it the cluster was told.
 *
 *   OPEN --the grant ends, its deadline, stale--> ENDING --session_ended--> gone
 *     \                                             | not in time
 *      '--session_ended--> gone                     '--> FAILED --session_ended--> gone
 *
 * Sessions of one grant form a group; groups stand in a heap by their grants' deadlines. An ENDING session holds back
 * `enforced` below the revision that ended its grant. All functions run under the guard's lock; none calls back. */
#ifndef LAPSE_CLIENT_GUARD_SESSIONS_H
#define LAPSE_CLIENT_GUARD_SESSIONS_H

#include <sys/queue.h>

#include "client/lapse_guard.h"
#include "store/grant.h"

#define SESSION_ID_SIZE 16

enum session_phase { SESSION_OPEN, SESSION_ENDING, SESSION_FAILED };

struct session_group {
    struct session_group *next; /* in its bucket */
    struct grant_id grant;
    int64_t deadline_ms;
    size_t place; /* in the heap, from 1; 0: not there, since nothing of it is open */
    TAILQ_HEAD(, lapse_guard_session) sessions;
};

struct lapse_guard_session {
    struct lapse_guard *guard;
    void *data;
    uint8_t id[SESSION_ID_SIZE];
    char description[LIMIT_SESSION_DESCRIPTION + 1];
    struct session_group *group;
    TAILQ_ENTRY(lapse_guard_session) in_group;
    enum session_phase phase;
    const char *reason;
    int64_t ending_us; /* since when it is ENDING */
    uint64_t revision; /* that ended its grant, or locked it; 0: none yet (its deadline, or stale) */
    bool to_call;      /* in `calls` */
    TAILQ_ENTRY(lapse_guard_session) in_calls;  /* on_end_session is due */
    TAILQ_ENTRY(lapse_guard_session) in_ending; /* ENDING, oldest first */
    bool holds;                                 /* in `holding` */
    TAILQ_ENTRY(lapse_guard_session) in_holding;
};

/* What the cluster is to be told, in order. Kept until the node has answered a ping that was sent behind it. */
struct session_report {
    STAILQ_ENTRY(session_report) entry;
    bool ended;
    uint8_t session[SESSION_ID_SIZE];
    char grant[GRANT_ID_TEXT_SIZE];
    uint64_t ping; /* the first one behind it; once it is sent */
    char description[];
};
STAILQ_HEAD(session_reports, session_report);

struct session_failure {
    STAILQ_ENTRY(session_failure) entry;
    uint64_t revision;
    uint64_t ping;
    int64_t said_us;
    char reason[LIMIT_RECEIPT_REASON + 1];
};
STAILQ_HEAD(session_failures, session_failure);

#define SESSION_BUCKETS 4096u

struct guard_sessions {
    bool awaited;   /* somebody ends sessions; otherwise they count as ended at once */
    int64_t end_us; /* how long that may take */
    uint32_t n;
    struct session_group *buckets[SESSION_BUCKETS];
    struct session_group **heap; /* 1-based */
    size_t heap_n, heap_capacity;
    TAILQ_HEAD(, lapse_guard_session) calls;
    TAILQ_HEAD(, lapse_guard_session) ending;
    TAILQ_HEAD(, lapse_guard_session) holding; /* ENDING with a revision, which ascend */
    struct session_reports reports, reports_sent;
    struct session_failures failures, failures_sent;
    uint32_t n_reports;
    uint32_t n_failures;
    uint64_t failed_revision; /* of the newest failure */
};

void guard_sessions_init(struct guard_sessions *sessions, bool awaited, int64_t end_us);
/* Frees all sessions, too. */
void guard_sessions_free(struct guard_sessions *sessions);

/* NULL when there are too many, or too many to be told of. */
struct lapse_guard_session *guard_sessions_begin(struct guard_sessions *sessions, struct grant_id grant,
                                                 int64_t deadline_ms, const char *description, void *data);
/* It is over: frees it. */
void guard_sessions_remove(struct guard_sessions *sessions, struct lapse_guard_session *session, const char *failure);

/* The grant ended at `revision`, or is found to be missing since then. */
void guard_sessions_end_grant(struct guard_sessions *sessions, struct grant_id grant, const char *reason,
                              uint64_t revision, int64_t now_us);
/* As above for each grant that `ends` is true of. */
void guard_sessions_end_those(struct guard_sessions *sessions, bool (*ends)(void *arg, struct grant_id grant),
                              void *arg, const char *reason, uint64_t revision, int64_t now_us);
void guard_sessions_end_all(struct guard_sessions *sessions, const char *reason, int64_t now_us);
/* Those whose deadline is not after `time_ms` (cluster time). */
void guard_sessions_end_due(struct guard_sessions *sessions, int64_t time_ms, int64_t now_us);
/* INT64_MAX: none. */
int64_t guard_sessions_deadline_ms(const struct guard_sessions *sessions);

/* Those that did not end in time become FAILED. Returns when to look again; INT64_MAX: never. */
int64_t guard_sessions_look(struct guard_sessions *sessions, int64_t now_us);
/* All sessions under grants that ended up to here are ended, or reported as failed. */
uint64_t guard_sessions_enforced(const struct guard_sessions *sessions, uint64_t received);
/* The next session for which on_end_session is due (not any more when this returns it), or NULL. */
struct lapse_guard_session *guard_sessions_take_call(struct guard_sessions *sessions);

/* ---- What to tell (guard_reports.c) */

void session_reports_init(struct guard_sessions *sessions);
void session_reports_free(struct guard_sessions *sessions);
void session_report_begin(struct guard_sessions *sessions, const struct lapse_guard_session *session);
void session_report_end(struct guard_sessions *sessions, const struct lapse_guard_session *session);
void session_report_failure(struct guard_sessions *sessions, uint64_t revision, const char *reason);

/* The next one to send, NULL for none; `_sent` says that it was, in front of that ping. */
const struct session_report *session_reports_next(const struct guard_sessions *sessions);
void session_reports_sent(struct guard_sessions *sessions, uint64_t next_ping);
const struct session_failure *session_failures_next(const struct guard_sessions *sessions);
void session_failures_sent(struct guard_sessions *sessions, uint64_t next_ping, int64_t now_us);
/* The node has answered this ping: it has all that was sent before it. */
void session_reports_confirm(struct guard_sessions *sessions, uint64_t ping, int64_t now_us);
/* A new stream: what is not confirmed is sent again, and that each open session has begun. */
void session_reports_again(struct guard_sessions *sessions);
/* A new instance: the cluster has forgotten all about the former one's. */
void session_reports_forget(struct guard_sessions *sessions);

#endif
