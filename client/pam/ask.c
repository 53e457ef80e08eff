#include "client/pam/ask.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define RETRY_NS 10000000 /* while the agent's queue of connections is full */

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The socket's directory is root's, but who may be tricked into another one must not believe it. */
static bool is_root(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.uid == 0;
}

static lapse_result connect_to(int fd, const struct pam_arguments *arguments, int64_t until_ms,
                               struct lapse_error *error)
{
    const struct timespec pause = {.tv_nsec = RETRY_NS};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(arguments->socket) >= sizeof address.sun_path)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "socket=: the path has more than %zu bytes",
                          sizeof address.sun_path - 1);
    memcpy(address.sun_path, arguments->socket, strlen(arguments->socket) + 1);
    while (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        if ((errno != EAGAIN && errno != EINTR) || now_ms() >= until_ms)
            return lapse_fail(error, LAPSE_UNAVAILABLE, "the agent can't be reached at %s: %s", arguments->socket,
                              strerror(errno));
        (void)nanosleep(&pause, NULL);
    }
    if (!is_root(fd))
        return lapse_fail(error, LAPSE_UNAVAILABLE, "%s isn't served by root: not believed", arguments->socket);
    return lapse_ok();
}

static lapse_result send_question(int fd, const json_t *question, struct lapse_error *error)
{
    char *text = json_dumps(question, JSON_COMPACT);
    size_t len = text == NULL ? 0 : strlen(text);
    ssize_t sent = text == NULL ? -1 : send(fd, text, len, MSG_NOSIGNAL);
    free(text);
    if (sent != (ssize_t)len || len == 0)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "the agent did not take the question");
    return lapse_ok();
}

/* A signal's handler must not make it give up early, nor wait longer. */
static bool wait_readable(int fd, int64_t until_ms)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    for (;;) {
        int64_t left_ms = until_ms - now_ms();
        int n = poll(&poller, 1, left_ms > 0 ? (int)left_ms : 0);
        if (n > 0)
            return true;
        if (n == 0 || errno != EINTR)
            return false;
    }
}

static lapse_result receive_answer(int fd, int64_t until_ms, json_t **answer, struct lapse_error *error)
{
    char bytes[LIMIT_LOCAL_MESSAGE];
    ssize_t n = wait_readable(fd, until_ms) ? recv(fd, bytes, sizeof bytes, 0) : -1;
    json_t *object = n <= 0 ? NULL : json_loadb(bytes, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(object)) {
        json_decref(object);
        return lapse_fail(error, LAPSE_UNAVAILABLE, n < 0 ? "the agent did not answer in time" : "the agent hung up");
    }
    const char *code = json_string_value(json_object_get(object, "error"));
    if (code != NULL) {
        const char *message = json_string_value(json_object_get(object, "message"));
        (void)lapse_fail(error, LAPSE_FAILED_PRECONDITION, "the agent refuses: %s: %s", code,
                         message == NULL ? "" : message);
        json_decref(object);
        return lapse_failed(LAPSE_FAILED_PRECONDITION);
    }
    *answer = object;
    return lapse_ok();
}

lapse_result pam_ask(const struct pam_arguments *arguments, const json_t *question, json_t **answer,
                     struct lapse_error *error)
{
    int64_t until_ms = now_ms() + arguments->timeout_ms;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "no socket: %s", strerror(errno));
    lapse_result result = connect_to(fd, arguments, until_ms, error);
    if (lapse_is_ok(result))
        result = send_question(fd, question, error);
    if (lapse_is_ok(result))
        result = receive_answer(fd, until_ms, answer, error);
    (void)close(fd);
    return result;
}
