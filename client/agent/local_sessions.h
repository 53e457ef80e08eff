/* Sessions of this machine, and how they are ended.
 *
 *   begin --> OPEN --its grant ends--> ENDING --all gone--> OVER --its client exits--> freed
 *               \                         '--not in time, or it must not: reported as FAILED, then the same
 *                '--session_end, its client exits--> freed
 *   ADOPTED --the guard decides again--> OPEN, or ENDING when the grant has ended meanwhile
 *
 * A session belongs to the process that opened it, its client (sudo, sshd): it is over when that process exits or says
 * so. All descendants of the client are the session's processes. To end it: SIGHUP, SIGTERM and SIGCONT to them;
 * SIGKILL after a second (a third of a lease below 3 s) to what is left, and then to the client. It is ended when none
 * of them lives and the client has closed the session or exited: before that the client could still start something.
 *
 * Each session is a small file, so that the next agent finds those that this one left behind (killed, restarted): it
 * adopts them, and ends those whose grants have ended meanwhile.
 *
 * One thread uses this; only on_end_session (local_session_must_end) comes from another. */
#ifndef LAPSE_CLIENT_AGENT_LOCAL_SESSIONS_H
#define LAPSE_CLIENT_AGENT_LOCAL_SESSIONS_H

#include <stdatomic.h>
#include <sys/queue.h>

#include "client/agent/local_message.h"
#include "client/agent/local_processes.h"

enum local_phase { LOCAL_OPEN, LOCAL_ADOPTED, LOCAL_ENDING, LOCAL_OVER };

/* What has to go before a session is ended. */
struct local_target {
    struct process_handle process;
    bool told; /* SIGTERM */
};

/* What is written into the session's file. */
struct local_record {
    char id[LOCAL_SESSION_ID_SIZE];
    char grant[LOCAL_GRANT_SIZE];
    char description[LIMIT_SESSION_DESCRIPTION + 1];
    bool end_processes;
    struct process client; /* pid and start */
};

struct local_session {
    TAILQ_ENTRY(local_session) entry;
    struct local_sessions *owner;
    struct local_record record;
    struct process_handle client;
    struct lapse_guard_session *guarded; /* NULL: the guard need not know (any more) */
    _Atomic(bool) must_end;              /* the only member that another thread touches */
    enum local_phase phase;
    bool closed;          /* the client said so */
    bool client_left;     /* it has closed the session or exited, before the table of processes was read */
    uint32_t refusals;    /* ADOPTED: how often the guard said that the grant has ended */
    int64_t ending_us;    /* since when it is ENDING */
    const char *obstacle; /* why a process could not be signalled; NULL: all could */
    struct local_target *targets;
    uint32_t n_targets, targets_capacity;
};

struct local_sessions {
    struct lapse_guard *guard;
    const char *directory;
    int epoll;                  /* is woken, with no pointer, when a client exits */
    int wake;                   /* an eventfd: a session must end */
    int64_t term_us, failed_us; /* when processes are killed, and when it has failed */
    TAILQ_HEAD(, local_session) all;
    uint32_t n;
    struct process_table table;
};

/* Adopts what `directory` tells of; makes it when it isn't there. Borrows everything. FAILED_PRECONDITION when the
 * directory can't be used. */
lapse_result local_sessions_init(struct local_sessions *sessions, struct lapse_guard *guard, const char *directory,
                                 int64_t lease_us, int epoll, int wake, struct lapse_error *error) LAPSE_MUST_USE;
/* After the guard's end, since it may speak of sessions up to then. The files stay. Accepts a zeroed struct. */
void local_sessions_free(struct local_sessions *sessions);

/* Under a grant that was just permitted, for the process `client`. `id` is the session's name. FAILED_PRECONDITION (the
 * grant has ended; this process has a session already), RESOURCE_EXHAUSTED, UNAVAILABLE (the file). */
lapse_result local_session_begin(struct local_sessions *sessions, const struct local_request *request,
                                 const char *grant, pid_t client, char id[LOCAL_SESSION_ID_SIZE],
                                 struct lapse_error *error) LAPSE_MUST_USE;
/* NOT_FOUND: there is none with this id, or it is another process's. */
lapse_result local_session_end(struct local_sessions *sessions, const char *id, pid_t client,
                               struct lapse_error *error) LAPSE_MUST_USE;
/* On the guard's thread. */
void local_session_must_end(struct local_session *session, const char *reason);

/* Does what is due; returns when to be called again in milliseconds, -1: when something happens. */
int local_sessions_step(struct local_sessions *sessions, int64_t now_us);

/* ---- Files (local_records.c) */

/* UNAVAILABLE. Replaces an older one in one step. */
lapse_result local_record_write(const char *directory, const struct local_record *record,
                                struct lapse_error *error) LAPSE_MUST_USE;
void local_record_remove(const char *directory, const char *id);
/* Calls back for each readable one of this boot; removes the others. FAILED_PRECONDITION when the directory is not only
 * ours. */
lapse_result local_records_load(const char *directory, void (*each)(void *arg, const struct local_record *record),
                                void *arg, struct lapse_error *error) LAPSE_MUST_USE;

#endif
