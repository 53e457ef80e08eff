#include "bench/harness/http_load.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bench/harness/loop.h"

#define ANSWER_MAX 8192
#define EVENTS 64
#define POLL_MS 100
/* Without any answer for so long the other end counts as hung. */
#define PATIENCE_NS 10000000000LL

struct connection {
    int fd;
    int64_t sent_ns;
    size_t len;
    char answer[ANSWER_MAX + 1];
};

struct run {
    const struct http_load *load;
    size_t request_len;
    struct samples *samples;
    struct http_outcome *outcome;
    struct connection *connections;
    uint32_t n;
    int epoll;
};

static lapse_result dial(uint16_t port, int *out, struct lapse_error *error)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
        int failed = errno;
        if (fd >= 0)
            close(fd);
        return lapse_fail(error, LAPSE_UNAVAILABLE, "127.0.0.1:%u: %s", port, strerror(failed));
    }
    *out = fd;
    return lapse_ok();
}

/* A request fits into any socket's buffer that has nothing in it. */
static lapse_result ask(struct run *run, struct connection *connection, struct lapse_error *error)
{
    connection->len = 0;
    connection->sent_ns = bench_now_ns();
    ssize_t n = send(connection->fd, run->load->request, run->request_len, MSG_NOSIGNAL);
    if (n != (ssize_t)run->request_len)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "127.0.0.1:%u: %s", run->load->port, strerror(errno));
    return lapse_ok();
}

/* The status of a complete answer; 0: there is more to come; -1: it can't be read. */
static int answer_status(const struct connection *connection)
{
    const char *text = connection->answer, *end = strstr(text, "\r\n\r\n");
    unsigned long length = 0;
    if (end == NULL)
        return connection->len == ANSWER_MAX ? -1 : 0;
    for (const char *line = text; line < end; line = strstr(line, "\r\n") + 2)
        if (strncasecmp(line, "Content-Length:", 15) == 0)
            length = strtoul(line + 15, NULL, 10);
    size_t whole = (size_t)(end - text) + 4 + length;
    if (strncmp(text, "HTTP/1.1 ", 9) != 0 || whole > ANSWER_MAX || connection->len > whole)
        return -1;
    return connection->len == whole ? atoi(text + 9) : 0;
}

/* Reads what there is. `status` as above. */
static lapse_result hear(uint16_t port, struct connection *connection, int *status, struct lapse_error *error)
{
    ssize_t n = recv(connection->fd, connection->answer + connection->len, ANSWER_MAX - connection->len, MSG_DONTWAIT);
    *status = 0;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return lapse_ok();
    if (n <= 0)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "127.0.0.1:%u: %s", port,
                          n == 0 ? "the connection was closed" : strerror(errno));
    connection->len += (size_t)n;
    connection->answer[connection->len] = '\0';
    *status = answer_status(connection);
    if (*status < 0)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "127.0.0.1:%u: not an answer that can be read: %.40s", port,
                          connection->answer);
    return lapse_ok();
}

static lapse_result on_ready(struct run *run, struct connection *connection, struct lapse_error *error)
{
    int status;
    lapse_result result = hear(run->load->port, connection, &status, error);
    if (!lapse_is_ok(result) || status == 0)
        return result;
    samples_add(run->samples, bench_now_ns() - connection->sent_ns);
    if (status == 200) {
        run->outcome->ok++;
    } else {
        run->outcome->others++;
        run->outcome->other_status = status;
    }
    return ask(run, connection, error);
}

static lapse_result open_all(struct run *run, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    for (uint32_t i = 0; i < run->load->connections && lapse_is_ok(result); i++) {
        struct connection *connection = &run->connections[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        result = dial(run->load->port, &connection->fd, error);
        if (!lapse_is_ok(result))
            return result;
        run->n = i + 1;
        CHECK(epoll_ctl(run->epoll, EPOLL_CTL_ADD, connection->fd, &event) == 0);
        result = ask(run, connection, error);
    }
    return result;
}

static lapse_result go(struct run *run, struct lapse_error *error)
{
    struct epoll_event events[EVENTS];
    int64_t begin_ns = bench_now_ns(), end_ns = begin_ns + (int64_t)run->load->ms * 1000000, heard_ns = begin_ns;
    lapse_result result = open_all(run, error);
    while (lapse_is_ok(result) && bench_now_ns() < end_ns) {
        if (bench_interrupted())
            return lapse_fail(error, LAPSE_CANCELLED, "interrupted");
        int n = epoll_wait(run->epoll, events, EVENTS, POLL_MS);
        heard_ns = n > 0 ? bench_now_ns() : heard_ns;
        if (bench_now_ns() - heard_ns > PATIENCE_NS)
            return lapse_fail(error, LAPSE_UNAVAILABLE, "127.0.0.1:%u: no answer for %d s", run->load->port,
                              (int)(PATIENCE_NS / 1000000000));
        for (int i = 0; i < n && lapse_is_ok(result); i++)
            result = on_ready(run, events[i].data.ptr, error);
    }
    run->outcome->per_s = (double)(run->outcome->ok + run->outcome->others) * 1e9 / (double)(bench_now_ns() - begin_ns);
    return result;
}

lapse_result http_load_run(const struct http_load *load, struct samples *samples, struct http_outcome *outcome,
                           struct lapse_error *error)
{
    struct run run = {.load = load, .request_len = strlen(load->request), .samples = samples, .outcome = outcome};
    CHECK(load->connections > 0 && load->connections <= HTTP_LOAD_CONNECTIONS_MAX);
    *outcome = (struct http_outcome){0};
    run.connections = mem_calloc(load->connections, sizeof *run.connections);
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    CHECK(run.epoll >= 0);
    lapse_result result = go(&run, error);
    for (uint32_t i = 0; i < run.n; i++)
        close(run.connections[i].fd);
    close(run.epoll);
    free(run.connections);
    return result;
}

lapse_result http_load_once(uint16_t port, const char *request, int *status, struct lapse_error *error)
{
    struct connection *connection = mem_calloc(1, sizeof *connection);
    const struct timeval patience = {.tv_sec = PATIENCE_NS / 1000000000};
    lapse_result result = dial(port, &connection->fd, error);
    if (!lapse_is_ok(result)) {
        free(connection);
        return result;
    }
    CHECK(setsockopt(connection->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    ssize_t sent = send(connection->fd, request, strlen(request), MSG_NOSIGNAL);
    *status = 0;
    while (sent > 0 && lapse_is_ok(result) && *status == 0) {
        char byte;
        if (recv(connection->fd, &byte, 1, MSG_PEEK) < 0 && errno != EINTR)
            break;
        result = hear(port, connection, status, error);
    }
    if (lapse_is_ok(result) && *status == 0)
        result = lapse_fail(error, LAPSE_UNAVAILABLE, "127.0.0.1:%u: %s", port, strerror(errno));
    close(connection->fd);
    free(connection);
    return result;
}
