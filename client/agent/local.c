#include "client/agent/local.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "client/agent/listen.h"
#include "client/agent/local_sessions.h"

#define BACKLOG 64
#define EVENTS 64

/* One that connected. It asks one thing at a time; while that waits on the pool nothing is read. */
struct local_client {
    TAILQ_ENTRY(local_client) entry;
    struct agent_local *local;
    int fd;
    struct ucred peer;
    int64_t heard_us;
    struct local_wait *wait;
    bool gone; /* freed after the present events */
};

/* A decision on the pool. */
struct local_wait {
    struct agent_job job;
    struct agent_local *local;
    struct local_client *client; /* NULL: it has gone; the local thread's */
    struct local_request request;
    struct agent_answer answer;
    struct local_wait *next;
};

struct agent_local {
    struct agent_local_options options;
    int listener, epoll, wake;
    pthread_t thread;
    bool running;
    _Atomic(bool) stopping;
    pthread_mutex_t lock; /* guards `done` */
    struct local_wait *done;
    TAILQ_HEAD(, local_client) clients;
    uint32_t n_clients;
    struct local_sessions sessions;
};

/* ---- Clients */

/* No event of this round may find it freed. */
static void client_close(struct local_client *client)
{
    if (client->gone)
        return;
    if (client->wait != NULL)
        client->wait->client = NULL;
    (void)close(client->fd);
    client->gone = true;
    client->local->n_clients--;
}

/* One that waits for the pool is not read, nor noticed when it leaves. */
static void client_listen(struct local_client *client, bool on)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    CHECK(epoll_ctl(client->local->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, client->fd, &event) == 0);
}

static void free_gone(struct agent_local *local)
{
    struct local_client *client, *next;
    for (client = TAILQ_FIRST(&local->clients); client != NULL; client = next) {
        next = TAILQ_NEXT(client, entry);
        if (!client->gone)
            continue;
        TAILQ_REMOVE(&local->clients, client, entry);
        free(client);
    }
}

/* Takes the text over. Who doesn't read its answer loses the connection. */
static void say(struct local_client *client, char *text)
{
    size_t len = strlen(text);
    if (send(client->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)len)
        client_close(client);
    free(text);
}

static void say_error(struct local_client *client, const struct lapse_error *error)
{
    log_warn("local request refused", LOG_STR("error", error->message), LOG_I64("pid", client->peer.pid),
             LOG_I64("uid", client->peer.uid));
    say(client, local_answer_error(error));
}

/* ---- Requests */

/* A session that can't begin is no permit. */
static void begin_session(struct local_client *client, const struct local_request *request, struct agent_answer *answer)
{
    char id[LOCAL_SESSION_ID_SIZE];
    struct lapse_error error;
    lapse_result result =
        local_session_begin(&client->local->sessions, request, answer->decision.grant, client->peer.pid, id, &error);
    if (lapse_is_ok(result)) {
        answer->permit = answer->decision.permit = true;
        answer->reason = "ALLOWS";
        say(client, local_answer_decision(answer, id));
        return;
    }
    log_warn("session refused", LOG_STR("error", error.message), LOG_I64("pid", client->peer.pid),
             LOG_STR("subject", request->question.subject), LOG_STR("resource", request->question.resource));
    answer->permit = answer->decision.permit = false;
    answer->decision.valid_for_ms = 0;
    answer->reason = "SESSION_REFUSED";
    (void)slice_to_cstr(slice_of(error.message, strnlen(error.message, sizeof answer->detail - 1)), answer->detail,
                        sizeof answer->detail);
    say(client, local_answer_decision(answer, NULL));
}

static void answer_decided(struct local_client *client, const struct local_request *request,
                           struct agent_answer *answer)
{
    if (answer->permit && request->op == LOCAL_SESSION_BEGIN)
        begin_session(client, request, answer);
    else
        say(client, local_answer_decision(answer, NULL));
}

/* On a worker. */
static void run_waiting(struct agent_job *job)
{
    const uint64_t one = 1;
    struct local_wait *wait = CONTAINER_OF(job, struct local_wait, job);
    struct agent_local *local = wait->local;
    agent_decide_waiting(local->options.decider, &wait->request.question, &wait->answer);
    CHECK(pthread_mutex_lock(&local->lock) == 0);
    wait->next = local->done;
    local->done = wait;
    CHECK(pthread_mutex_unlock(&local->lock) == 0);
    if (write(local->wake, &one, sizeof one) < 0)
        CHECK(errno == EAGAIN);
}

static void wait_for_cluster(struct local_client *client, const struct local_request *request,
                             struct agent_answer *answer)
{
    struct agent_local *local = client->local;
    struct local_wait *wait = mem_calloc(1, sizeof *wait);
    *wait = (struct local_wait){.job.run = run_waiting, .local = local, .request = *request, .answer = *answer};
    if (agent_pool_submit(local->options.pool, &wait->job)) {
        wait->client = client; /* the worker doesn't look at it */
        client->wait = wait;
        client_listen(client, false);
        return;
    }
    free(wait);
    agent_decide_busy(local->options.decider, &request->question, answer);
    answer_decided(client, request, answer);
}

static void answer_waited(struct agent_local *local)
{
    struct local_wait *wait, *next;
    CHECK(pthread_mutex_lock(&local->lock) == 0);
    wait = local->done;
    local->done = NULL;
    CHECK(pthread_mutex_unlock(&local->lock) == 0);
    for (; wait != NULL; wait = next) {
        next = wait->next;
        if (wait->client != NULL) {
            wait->client->wait = NULL;
            client_listen(wait->client, true);
            answer_decided(wait->client, &wait->request, &wait->answer);
        }
        free(wait);
    }
}

/* The account check has counted the use of this grant already; what is left to know is whether it still holds, and the
 * session's beginning tells. */
static bool use_was_counted(const struct local_request *request, const struct agent_answer *answer)
{
    return request->op == LOCAL_SESSION_BEGIN && request->question.revision == 0 && request->grant[0] != '\0' &&
           strcmp(answer->decision.verdict, "USES") == 0 && strcmp(answer->decision.grant, request->grant) == 0;
}

static void decide(struct local_client *client, const struct local_request *request)
{
    struct agent_answer answer;
    agent_decide_question(client->local->options.decider, &request->question, &answer);
    if (answer.waits && use_was_counted(request, &answer))
        begin_session(client, request, &answer);
    else if (answer.waits)
        wait_for_cluster(client, request, &answer);
    else
        answer_decided(client, request, &answer);
}

static void serve(struct local_client *client, struct slice datagram)
{
    struct local_request request;
    struct lapse_error error;
    lapse_result result =
        datagram.len > LIMIT_LOCAL_MESSAGE
            ? lapse_fail(&error, LAPSE_INVALID_ARGUMENT, "a datagram has at most %u bytes", LIMIT_LOCAL_MESSAGE)
            : local_request_parse(datagram, &request, &error);
    if (lapse_is_ok(result) && request.op == LOCAL_SESSION_END)
        result = local_session_end(&client->local->sessions, request.session, client->peer.pid, &error);
    if (!lapse_is_ok(result))
        say_error(client, &error);
    else if (request.op == LOCAL_SESSION_END)
        say(client, local_answer_ended());
    else
        decide(client, &request);
}

/* Descriptors that somebody sends are dropped by the kernel: there is no room for them. */
static void on_client(struct local_client *client)
{
    uint8_t bytes[LIMIT_LOCAL_MESSAGE + 1];
    if (client->gone || client->wait != NULL)
        return;
    ssize_t n = recv(client->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_close(client);
        return;
    }
    client->heard_us = clock_boot_us();
    serve(client, slice_of(bytes, (size_t)n));
}

/* ---- Connections */

static bool may_ask(const struct agent_config *config, uid_t uid)
{
    for (uint32_t i = 0; i < config->n_local_uids; i++)
        if (config->local_uids[i] == uid)
            return true;
    return false;
}

/* What a stranger, or one too many, hears before the connection ends. */
static bool admit(struct local_client *client)
{
    struct agent_local *local = client->local;
    struct lapse_error error;
    if (!may_ask(local->options.config, client->peer.uid))
        (void)lapse_fail(&error, LAPSE_PERMISSION_DENIED, "user %u may not ask: local.uids of the agent names who may",
                         (unsigned)client->peer.uid);
    else if (local->n_clients > LIMIT_LOCAL_CLIENTS)
        (void)lapse_fail(&error, LAPSE_RESOURCE_EXHAUSTED, "more than %u clients are connected", LIMIT_LOCAL_CLIENTS);
    else
        return true;
    say_error(client, &error);
    client_close(client);
    return false;
}

static void on_listener(struct agent_local *local)
{
    struct local_client *client;
    socklen_t len = sizeof client->peer;
    int fd = accept4(local->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    client = mem_calloc(1, sizeof *client);
    *client = (struct local_client){.local = local, .fd = fd, .heard_us = clock_boot_us()};
    CHECK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &client->peer, &len) == 0);
    TAILQ_INSERT_TAIL(&local->clients, client, entry);
    local->n_clients++;
    if (admit(client))
        client_listen(client, true);
}

/* Clients ask and leave; one that does neither is cut off. */
static void drop_idle(struct agent_local *local, int64_t now_us)
{
    struct local_client *client;
    TAILQ_FOREACH(client, &local->clients, entry)
    if (client->wait == NULL && now_us - client->heard_us > LIMIT_LOCAL_IDLE_MS * 1000LL)
        client_close(client);
}

/* ---- The loop */

static void drain(int wake)
{
    uint64_t count;
    if (read(wake, &count, sizeof count) < 0)
        CHECK(errno == EAGAIN || errno == EINTR);
}

/* No pointer: a session's client has exited, which the step sees. */
static void on_event(struct agent_local *local, const struct epoll_event *event)
{
    if (event->data.ptr == &local->listener)
        on_listener(local);
    else if (event->data.ptr == &local->wake)
        drain(local->wake);
    else if (event->data.ptr != NULL)
        on_client(event->data.ptr);
}

static int sooner(int a_ms, int b_ms)
{
    return a_ms < 0 ? b_ms : b_ms < 0 || a_ms < b_ms ? a_ms : b_ms;
}

static void *run(void *arg)
{
    struct agent_local *local = arg;
    struct epoll_event events[EVENTS];
    while (!atomic_load(&local->stopping)) {
        int due_ms = local_sessions_step(&local->sessions, clock_boot_us());
        drop_idle(local, clock_boot_us());
        free_gone(local);
        due_ms = sooner(due_ms, local->n_clients > 0 ? (int)LIMIT_LOCAL_IDLE_MS : -1);
        int n = epoll_wait(local->epoll, events, EVENTS, due_ms);
        CHECK(n >= 0 || errno == EINTR);
        for (int i = 0; i < n; i++)
            on_event(local, &events[i]);
        answer_waited(local);
    }
    return NULL;
}

/* ---- Starting and stopping */

/* With users beside root the socket is open to all, and the kernel's word about who connects decides. */
static lapse_result open_listener(const struct agent_config *config, int *listener, struct lapse_error *error)
{
    const char *path = config->local + strlen("unix:");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    bool only_root = config->n_local_uids == 1 && config->local_uids[0] == 0;
    lapse_result result = listen_clear(config->local, error);
    if (!lapse_is_ok(result))
        return result;
    CHECK(slice_to_cstr(slice_str(path), address.sun_path, sizeof address.sun_path));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(0177);
    bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    (void)umask(before);
    if (bound && (only_root || chmod(path, 0666) == 0) && listen(fd, BACKLOG) == 0) {
        *listener = fd;
        return lapse_ok();
    }
    result = lapse_fail(error, LAPSE_UNAVAILABLE, "can't listen on %s: %s", config->local, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return result;
}

static void watch(struct agent_local *local, int fd, void *pointer)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = pointer};
    CHECK(epoll_ctl(local->epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}

static void start_thread(struct agent_local *local)
{
    sigset_t all, before;
    CHECK(sigfillset(&all) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, &all, &before) == 0);
    CHECK(pthread_create(&local->thread, NULL, run, local) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    local->running = true;
}

lapse_result agent_local_start(const struct agent_local_options *options, struct agent_local **out,
                               struct lapse_error *error)
{
    struct agent_local *local = mem_calloc(1, sizeof *local);
    *local = (struct agent_local){.options = *options, .listener = -1};
    TAILQ_INIT(&local->clients);
    CHECK(pthread_mutex_init(&local->lock, NULL) == 0);
    CHECK((local->epoll = epoll_create1(EPOLL_CLOEXEC)) >= 0);
    CHECK((local->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) >= 0);
    lapse_result result =
        local_sessions_init(&local->sessions, agent_decider_guard(options->decider), options->config->local_state,
                            options->config->lease_ms * 1000LL, local->epoll, local->wake, error);
    if (lapse_is_ok(result))
        result = open_listener(options->config, &local->listener, error);
    if (!lapse_is_ok(result)) {
        agent_local_free(local);
        return result;
    }
    watch(local, local->listener, &local->listener);
    watch(local, local->wake, &local->wake);
    start_thread(local);
    *out = local;
    return lapse_ok();
}

void agent_local_stop(struct agent_local *local)
{
    const uint64_t one = 1;
    struct local_client *client;
    if (local == NULL || !local->running)
        return;
    listen_remove(local->options.config->local);
    atomic_store(&local->stopping, true);
    if (write(local->wake, &one, sizeof one) < 0)
        CHECK(errno == EAGAIN);
    CHECK(pthread_join(local->thread, NULL) == 0);
    local->running = false;
    answer_waited(local);
    TAILQ_FOREACH(client, &local->clients, entry)
    client_close(client);
    free_gone(local);
}

void agent_local_free(struct agent_local *local)
{
    if (local == NULL)
        return;
    CHECK(!local->running && local->done == NULL);
    local_sessions_free(&local->sessions);
    if (local->listener >= 0)
        (void)close(local->listener);
    (void)close(local->wake);
    (void)close(local->epoll);
    CHECK(pthread_mutex_destroy(&local->lock) == 0);
    free(local);
}

void agent_local_on_end_session(void *arg, struct lapse_guard_session *session, const char *grant_id,
                                const char *reason)
{
    (void)arg, (void)grant_id;
    local_session_must_end(lapse_guard_session_data(session), reason);
}
