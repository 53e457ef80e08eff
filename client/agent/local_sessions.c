/* Who is inside on this machine, and getting them out. See local_sessions.h. */
#include "client/agent/local_sessions.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

/* Processes may end by themselves for so long; then they are killed; then the failure is named: before the guard gives
 * up by itself (session_end_ms), and before the cluster does (a lease after it knows that we have received). */
#define TERM_US_MAX 1000000
#define FAILED_US_MAX 1700000
#define GIVE_UP_US 60000000 /* what can't be killed in a minute hangs in the kernel */
#define KILL_ROUNDS 8       /* of stopping what was found and looking for more, before it is killed */
#define ENDING_STEP_MS 10
#define ADOPTED_STEP_MS 200
#define REFUSALS_BELIEVED 2u

/* ---- Beginning */

/* The client's exit wakes the loop, once. */
static void watch_client(const struct local_session *session)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT};
    CHECK(epoll_ctl(session->owner->epoll, EPOLL_CTL_ADD, session->client.fd, &event) == 0);
}

static struct local_session *session_new(struct local_sessions *sessions, const struct local_record *record,
                                         const struct process_handle *client)
{
    struct local_session *session = mem_calloc(1, sizeof *session);
    session->owner = sessions;
    session->record = *record;
    session->client = *client;
    return session;
}

static void session_free(struct local_session *session)
{
    for (uint32_t i = 0; i < session->n_targets; i++)
        process_close(&session->targets[i].process);
    process_close(&session->client);
    free(session->targets);
    free(session);
}

static void keep(struct local_session *session)
{
    TAILQ_INSERT_TAIL(&session->owner->all, session, entry);
    session->owner->n++;
    watch_client(session);
}

/* No callback of the guard comes any more. `failure` NULL: it is over. */
static void tell_guard(struct local_session *session, const char *failure)
{
    if (session->guarded != NULL)
        lapse_guard_session_ended(session->guarded, failure);
    session->guarded = NULL;
}

static void forget(struct local_session *session)
{
    tell_guard(session, NULL);
    local_record_remove(session->owner->directory, session->record.id);
    TAILQ_REMOVE(&session->owner->all, session, entry);
    session->owner->n--;
    session_free(session);
}

static void draw_id(char id[LOCAL_SESSION_ID_SIZE])
{
    uint8_t random[(LOCAL_SESSION_ID_SIZE - 1) / 2];
    CHECK(getrandom(random, sizeof random, 0) == (ssize_t)sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        (void)snprintf(id + 2 * i, 3, "%02x", random[i]);
}

/* A client is killed with its session, so it must be a process for just this one, and none that we live in. */
static lapse_result check_client(const struct local_sessions *sessions, const struct process *client,
                                 struct lapse_error *error)
{
    const struct local_session *session;
    if (client->pid <= 1 || client->pid == getpid())
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "process %d can't have a session", (int)client->pid);
    TAILQ_FOREACH(session, &sessions->all, entry)
    if (session->phase != LOCAL_OVER && session->record.client.pid == client->pid &&
        session->record.client.start == client->start)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "process %d has a session already: end_sessions=yes is for programs with a process for "
                          "each session",
                          (int)client->pid);
    return lapse_ok();
}

static lapse_result open_client(struct local_sessions *sessions, const struct local_request *request, pid_t client,
                                struct local_record *record, struct process_handle *handle, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    if (sessions->n >= LIMIT_LOCAL_SESSIONS)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "%u sessions are open on this machine",
                          LIMIT_LOCAL_SESSIONS);
    if (!process_read(client, &record->client) || !process_open(&record->client, handle))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "process %d isn't visible to the agent: it has ended, or lives in another PID namespace",
                          (int)client);
    if (request->end_processes)
        result = check_client(sessions, &record->client, error);
    if (!lapse_is_ok(result))
        process_close(handle);
    return result;
}

static lapse_result start(struct local_session *session, struct lapse_error *error)
{
    struct lapse_guard *guard = session->owner->guard;
    lapse_result result = local_record_write(session->owner->directory, &session->record, error);
    if (lapse_is_ok(result))
        result = lapse_guard_session_begin(guard, session->record.grant, session->record.description, session,
                                           &session->guarded, error);
    if (!lapse_is_ok(result))
        local_record_remove(session->owner->directory, session->record.id);
    return result;
}

lapse_result local_session_begin(struct local_sessions *sessions, const struct local_request *request,
                                 const char *grant, pid_t client, char id[LOCAL_SESSION_ID_SIZE],
                                 struct lapse_error *error)
{
    struct local_record record = {.end_processes = request->end_processes};
    struct process_handle handle;
    lapse_result result = open_client(sessions, request, client, &record, &handle, error);
    if (!lapse_is_ok(result))
        return result;
    draw_id(record.id);
    CHECK(slice_to_cstr(slice_str(grant), record.grant, sizeof record.grant));
    memcpy(record.description, request->description, sizeof record.description);
    struct local_session *session = session_new(sessions, &record, &handle);
    result = start(session, error);
    if (!lapse_is_ok(result)) {
        session_free(session);
        return result;
    }
    keep(session);
    memcpy(id, record.id, LOCAL_SESSION_ID_SIZE);
    log_info("session begun", LOG_STR("session", id), LOG_STR("grant", grant), LOG_I64("pid", client),
             LOG_STR("description", record.description));
    return lapse_ok();
}

lapse_result local_session_end(struct local_sessions *sessions, const char *id, pid_t client, struct lapse_error *error)
{
    struct local_session *session;
    TAILQ_FOREACH(session, &sessions->all, entry)
    if (strcmp(session->record.id, id) == 0 && session->record.client.pid == client) {
        session->closed = true;
        return lapse_ok();
    }
    return lapse_fail(error, LAPSE_NOT_FOUND, "process %d has no session %s", (int)client, id);
}

/* ---- Ending */

void local_session_must_end(struct local_session *session, const char *reason)
{
    const uint64_t one = 1;
    log_info("session must end", LOG_STR("session", session->record.id), LOG_STR("grant", session->record.grant),
             LOG_STR("reason", reason), LOG_I64("pid", session->record.client.pid),
             LOG_STR("description", session->record.description));
    atomic_store(&session->must_end, true);
    /* Full means that it will wake, too. */
    if (write(session->owner->wake, &one, sizeof one) < 0)
        CHECK(errno == EAGAIN);
}

static bool is_target(const struct local_session *session, const struct process *process)
{
    for (uint32_t i = 0; i < session->n_targets; i++)
        if (session->targets[i].process.pid == process->pid && session->targets[i].process.start == process->start)
            return true;
    return false;
}

static void add_target(struct local_session *session, const struct process *process)
{
    struct process_handle handle;
    if (is_target(session, process) || !process_open(process, &handle))
        return;
    if (session->n_targets == session->targets_capacity) {
        session->targets_capacity = session->targets_capacity == 0 ? 16 : session->targets_capacity * 2;
        session->targets = mem_realloc(session->targets, session->targets_capacity * sizeof session->targets[0]);
    }
    session->targets[session->n_targets++] = (struct local_target){.process = handle};
}

static void mark_root(struct process_table *table, const struct process_handle *root)
{
    struct process *process = process_table_find(table, root->pid);
    if (process != NULL && process->start == root->start)
        process->counted = true;
}

/* Descendants of the client, and of those that were found before: they may have lost their parents. Never ourselves:
 * somebody may have started the agent in a session. */
static void find_targets(struct local_session *session, struct process_table *table)
{
    process_table_unmark(table);
    mark_root(table, &session->client);
    for (uint32_t i = 0; i < session->n_targets; i++)
        mark_root(table, &session->targets[i].process);
    process_table_mark(table);
    for (size_t i = 0; i < table->n; i++) {
        const struct process *process = &table->rows[i];
        if (process->counted && !process->zombie && process->pid > 1 && process->pid != getpid() &&
            process->pid != session->client.pid)
            add_target(session, process);
    }
}

static void signal_one(struct local_session *session, const struct process_handle *process, int signal)
{
    if (!process_signal(process, signal))
        session->obstacle = strerrordesc_np(errno);
}

static void drop_dead_targets(struct local_session *session)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < session->n_targets; i++)
        if (process_is_alive(&session->targets[i].process))
            session->targets[n++] = session->targets[i];
        else
            process_close(&session->targets[i].process);
    session->n_targets = n;
}

static void ask_targets(struct local_session *session)
{
    for (uint32_t i = 0; i < session->n_targets; i++) {
        struct local_target *target = &session->targets[i];
        if (target->told)
            continue;
        signal_one(session, &target->process, SIGHUP);
        signal_one(session, &target->process, SIGTERM);
        signal_one(session, &target->process, SIGCONT);
        target->told = true;
    }
}

static void send_all(struct local_session *session, int signal)
{
    for (uint32_t i = 0; i < session->n_targets; i++)
        signal_one(session, &session->targets[i].process, signal);
}

/* Last, since what is left would lose its reaper with it. Most end by themselves before. */
static void kill_client(struct local_session *session)
{
    if (!session->closed)
        signal_one(session, &session->client, SIGKILL);
}

static void name_failure(const struct local_session *session, char *out, size_t size)
{
    const struct process_handle *process = session->n_targets > 0 ? &session->targets[0].process : &session->client;
    (void)snprintf(out, size, "%u processes of \"%.120s\" could not be ended%s%s, among them %d (%s)",
                   session->n_targets + (session->n_targets == 0), session->record.description,
                   session->obstacle == NULL ? "" : ": ", session->obstacle == NULL ? "" : session->obstacle,
                   (int)process->pid, process->name);
}

static void report_failure(struct local_session *session)
{
    char failure[LIMIT_RECEIPT_REASON + 1];
    if (session->guarded == NULL)
        return;
    name_failure(session, failure, sizeof failure);
    log_error("session not ended", LOG_STR("session", session->record.id), LOG_STR("grant", session->record.grant),
              LOG_STR("failure", failure));
    tell_guard(session, failure);
}

static void finish(struct local_session *session, int64_t now_us)
{
    log_info("session ended", LOG_STR("session", session->record.id), LOG_STR("grant", session->record.grant),
             LOG_I64("ms", (now_us - session->ending_us) / 1000));
    tell_guard(session, NULL);
    session->phase = LOCAL_OVER;
}

static bool must_be_killed(const struct local_session *session, int64_t now_us)
{
    return session->phase == LOCAL_ENDING && session->n_targets > 0 &&
           now_us - session->ending_us >= session->owner->term_us;
}

/* The table was read after the client had been looked at: what it started before it left is in there. */
static void look_at_processes(struct local_session *session, int64_t now_us)
{
    find_targets(session, &session->owner->table);
    drop_dead_targets(session);
    if (session->n_targets == 0 && session->client_left)
        finish(session, now_us);
}

static void signal_session(struct local_session *session, int64_t now_us)
{
    if (must_be_killed(session, now_us))
        send_all(session, SIGKILL);
    else if (now_us - session->ending_us < session->owner->term_us)
        ask_targets(session);
    else if (session->n_targets == 0)
        kill_client(session);
}

static void look_at_clock(struct local_session *session, int64_t now_us)
{
    int64_t past_us = now_us - session->ending_us;
    if (past_us >= session->owner->failed_us)
        report_failure(session);
    if (past_us < GIVE_UP_US)
        return;
    log_error("session given up", LOG_STR("session", session->record.id));
    session->phase = LOCAL_OVER;
}

static void begin_ending(struct local_session *session, int64_t now_us)
{
    if (!session->record.end_processes) {
        tell_guard(session, "left to run: the PAM service says end_sessions=no");
        session->phase = LOCAL_OVER;
        return;
    }
    session->phase = LOCAL_ENDING;
    session->ending_us = now_us;
}

/* ---- Adopting */

static bool guard_decides(struct lapse_guard *guard)
{
    struct lapse_guard_status status;
    lapse_guard_get_status(guard, &status);
    return status.state == LAPSE_GUARD_DECIDING;
}

/* Only a guard that decides knows that a grant has ended, and it is asked twice. */
static void step_adopted(struct local_session *session, int64_t now_us)
{
    struct lapse_error error;
    struct lapse_guard *guard = session->owner->guard;
    if (!guard_decides(guard))
        return;
    lapse_result result = lapse_guard_session_begin(guard, session->record.grant, session->record.description, session,
                                                    &session->guarded, &error);
    if (lapse_is_ok(result)) {
        session->phase = LOCAL_OPEN;
        log_info("session adopted", LOG_STR("session", session->record.id), LOG_STR("grant", session->record.grant),
                 LOG_I64("pid", session->record.client.pid));
    } else if (result.code == LAPSE_FAILED_PRECONDITION && guard_decides(guard) &&
               ++session->refusals >= REFUSALS_BELIEVED) {
        log_info("the grant of an adopted session has ended", LOG_STR("session", session->record.id),
                 LOG_STR("grant", session->record.grant));
        begin_ending(session, now_us);
    }
}

static void adopt(void *arg, const struct local_record *record)
{
    struct local_sessions *sessions = arg;
    struct process_handle handle;
    if (sessions->n >= LIMIT_LOCAL_SESSIONS || !process_open(&record->client, &handle)) {
        local_record_remove(sessions->directory, record->id);
        return;
    }
    struct local_session *session = session_new(sessions, record, &handle);
    session->phase = LOCAL_ADOPTED;
    keep(session);
}

/* ---- All of them */

lapse_result local_sessions_init(struct local_sessions *sessions, struct lapse_guard *guard, const char *directory,
                                 int64_t lease_us, int epoll, int wake, struct lapse_error *error)
{
    *sessions = (struct local_sessions){.guard = guard, .directory = directory, .epoll = epoll, .wake = wake};
    sessions->term_us = lease_us / 3 < TERM_US_MAX ? lease_us / 3 : TERM_US_MAX;
    sessions->failed_us = lease_us * 11 / 20 < FAILED_US_MAX ? lease_us * 11 / 20 : FAILED_US_MAX;
    TAILQ_INIT(&sessions->all);
    return local_records_load(directory, adopt, sessions, error);
}

void local_sessions_free(struct local_sessions *sessions)
{
    struct local_session *session;
    if (sessions->guard == NULL)
        return;
    while ((session = TAILQ_FIRST(&sessions->all)) != NULL) {
        TAILQ_REMOVE(&sessions->all, session, entry);
        session_free(session);
    }
    process_table_free(&sessions->table);
}

/* Over when the client has closed it or is gone; one that is being ended stays until nothing is left. */
static bool is_over(const struct local_session *session)
{
    bool left = session->closed || !process_is_alive(&session->client);
    return left && session->phase != LOCAL_ENDING;
}

static bool any_in(const struct local_sessions *sessions, enum local_phase phase)
{
    const struct local_session *session;
    TAILQ_FOREACH(session, &sessions->all, entry)
    if (session->phase == phase)
        return true;
    return false;
}

static void step_states(struct local_sessions *sessions, int64_t now_us)
{
    struct local_session *session, *next;
    for (session = TAILQ_FIRST(&sessions->all); session != NULL; session = next) {
        next = TAILQ_NEXT(session, entry);
        if (session->phase == LOCAL_OPEN && atomic_load(&session->must_end))
            begin_ending(session, now_us);
        if (is_over(session))
            forget(session);
        else if (session->phase == LOCAL_ADOPTED)
            step_adopted(session, now_us);
    }
}

static void note_clients(struct local_sessions *sessions)
{
    struct local_session *session;
    TAILQ_FOREACH(session, &sessions->all, entry)
    session->client_left = session->closed || !process_is_alive(&session->client);
}

static bool any_to_kill(const struct local_sessions *sessions, int64_t now_us)
{
    const struct local_session *session;
    TAILQ_FOREACH(session, &sessions->all, entry)
    if (must_be_killed(session, now_us))
        return true;
    return false;
}

/* Whether there were more. */
static bool find_more(struct local_sessions *sessions, int64_t now_us)
{
    struct local_session *session;
    bool more = false;
    TAILQ_FOREACH(session, &sessions->all, entry)
    if (must_be_killed(session, now_us)) {
        uint32_t before = session->n_targets;
        find_targets(session, &sessions->table);
        more = more || session->n_targets > before;
    }
    return more;
}

/* What is stopped can't start anything: so all are stopped, until no more are found, before the first one is killed. */
static void stop_all_targets(struct local_sessions *sessions, int64_t now_us)
{
    struct lapse_error error;
    struct local_session *session;
    bool more = any_to_kill(sessions, now_us);
    for (int i = 0; i < KILL_ROUNDS && more; i++) {
        TAILQ_FOREACH(session, &sessions->all, entry)
        if (must_be_killed(session, now_us))
            send_all(session, SIGSTOP);
        more = lapse_is_ok(process_table_read(&sessions->table, &error)) && find_more(sessions, now_us);
    }
}

/* Without a table nothing counts as ended. */
static void step_all_ending(struct local_sessions *sessions, int64_t now_us)
{
    struct lapse_error error;
    struct local_session *session;
    note_clients(sessions);
    bool read = lapse_is_ok(process_table_read(&sessions->table, &error));
    TAILQ_FOREACH(session, &sessions->all, entry)
    if (read && session->phase == LOCAL_ENDING)
        look_at_processes(session, now_us);
    stop_all_targets(sessions, now_us);
    TAILQ_FOREACH(session, &sessions->all, entry)
    {
        if (session->phase != LOCAL_ENDING)
            continue;
        signal_session(session, now_us);
        session->obstacle = read ? session->obstacle : "/proc can't be read";
        look_at_clock(session, now_us);
    }
}

int local_sessions_step(struct local_sessions *sessions, int64_t now_us)
{
    step_states(sessions, now_us);
    if (any_in(sessions, LOCAL_ENDING)) {
        step_all_ending(sessions, now_us);
        return ENDING_STEP_MS;
    }
    return any_in(sessions, LOCAL_ADOPTED) ? ADOPTED_STEP_MS : -1;
}
