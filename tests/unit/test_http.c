#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "node/http.h"
#include "node/metrics.h"

static struct http_server *server;
static char reply[LIMIT_METRICS_BYTES];

static void start(void)
{
    struct lapse_error error;
    cr_assert(lapse_is_ok(http_start("127.0.0.1", 0, &server, &error)), "%s", error.message);
    cr_assert_neq(http_port(server), 0);
}

static void stop(void)
{
    http_stop(server);
}

TestSuite(http, .init = start, .fini = stop);

static int dial(void)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(http_port(server)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void read_all(int fd)
{
    size_t len = 0;
    ssize_t n = 0;
    while ((n = recv(fd, reply + len, sizeof reply - 1 - len, 0)) > 0)
        len += (size_t)n;
    reply[len] = '\0';
}

/* Sends a request as it stands and returns everything that came back until the server closed. */
static const char *ask(const char *request)
{
    int fd = dial();
    cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    read_all(fd);
    (void)close(fd);
    return reply;
}

static const char *request(const char *method, const char *path)
{
    char text[512];
    (void)snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", method, path);
    return ask(text);
}

#define KEEP_ALIVE "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

static void ask_again(int fd)
{
    cr_assert_eq(send(fd, KEEP_ALIVE, strlen(KEEP_ALIVE), MSG_NOSIGNAL), (ssize_t)strlen(KEEP_ALIVE));
    cr_assert_gt(recv(fd, reply, sizeof reply - 1, 0), 0);
}

static void assert_status(const char *answer, const char *status)
{
    char line[64];
    (void)snprintf(line, sizeof line, "HTTP/1.1 %s", status);
    cr_assert_eq(strncmp(answer, line, strlen(line)), 0, "expected %s, got %.40s", status, answer);
}

static const char *body(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");
    cr_assert_not_null(end);
    return end + 4;
}

Test(http, metrics_are_served_in_prometheus_format)
{
    metric_set(METRIC_REVISION, 4711);
    const char *answer = request("GET", "/metrics");
    assert_status(answer, "200");
    cr_assert_not_null(strstr(answer, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    cr_assert_not_null(strstr(answer, "\nlapse_revision 4711\n"));
}

Test(http, a_query_does_not_change_the_page)
{
    assert_status(request("GET", "/metrics?name=lapse_revision"), "200");
}

Test(http, a_living_process_is_healthy_even_when_it_is_not_ready)
{
    metric_set(METRIC_READY, 0);
    assert_status(request("GET", "/healthz"), "200");
}

Test(http, readiness_follows_the_metric_and_gives_a_reason)
{
    metric_set(METRIC_READY, 1);
    assert_status(request("GET", "/readyz"), "200");
    metric_set(METRIC_READY, 0);
    metric_set(METRIC_PEERS_UP, 1);
    const char *answer = request("GET", "/readyz");
    assert_status(answer, "503");
    cr_assert_str_eq(body(answer), "not ready: no majority of the cluster has answered lately (peers linked: 1)\n");
}

Test(http, head_gives_the_headers_without_the_body)
{
    const char *answer = request("HEAD", "/healthz");
    assert_status(answer, "200");
    cr_assert_not_null(strstr(answer, "Content-Length: 3\r\n"));
    cr_assert_str_eq(body(answer), "");
}

Test(http, other_paths_are_not_found)
{
    const char *const paths[] = {"/", "/metric", "/metrics/", "/../metrics", "/debug/pprof", "//metrics"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        assert_status(request("GET", paths[i]), "404");
}

Test(http, other_methods_are_refused_and_told_the_right_ones)
{
    const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        const char *answer = request(methods[i], "/metrics");
        assert_status(answer, "405");
        cr_assert_not_null(strstr(answer, "Allow: GET, HEAD\r\n"));
    }
}

Test(http, answers_carry_the_headers_that_keep_browsers_from_guessing)
{
    const char *answer = request("GET", "/healthz");
    cr_assert_not_null(strstr(answer, "X-Content-Type-Options: nosniff\r\n"));
    cr_assert_not_null(strstr(answer, "Cache-Control: no-store\r\n"));
    cr_assert_not_null(strstr(answer, "Content-Security-Policy: default-src 'none'"));
}

Test(http, a_connection_serves_request_after_request)
{
    int fd = dial();
    for (int i = 0; i < 3; i++)
        ask_again(fd);
    (void)close(fd);
}

Test(http, a_body_is_not_read_and_its_connection_is_closed)
{
    assert_status(ask("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc"), "405");
    assert_status(ask("GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), "200");
    assert_status(request("GET", "/healthz"), "200");
}

Test(http, nonsense_and_huge_headers_are_refused_and_the_server_goes_on)
{
    char *huge = mem_calloc(1, 4 * LIMIT_HTTP_CONNECTION_BYTES);
    (void)snprintf(huge, 64, "GET /healthz HTTP/1.1\r\nHost: x\r\nX: ");
    memset(huge + strlen(huge), 'x', 3 * LIMIT_HTTP_CONNECTION_BYTES);
    int fd = dial();
    (void)send(fd, huge, strlen(huge), MSG_NOSIGNAL);
    read_all(fd);
    (void)close(fd);
    cr_assert(reply[0] == '\0' || strncmp(reply, "HTTP/1.1 4", 10) == 0, "%.40s", reply);
    (void)ask("\x16\x03\x01 nonsense\r\n\r\n");
    assert_status(request("GET", "/healthz"), "200");
    free(huge);
}

Test(http, one_more_connection_than_the_limit_waits_until_there_is_room)
{
    int fds[LIMIT_HTTP_CONNECTIONS];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = dial();
        ask_again(fds[i]);
    }
    int extra = dial();
    cr_assert_eq(send(extra, KEEP_ALIVE, strlen(KEEP_ALIVE), MSG_NOSIGNAL), (ssize_t)strlen(KEEP_ALIVE));
    /* The server has one thread: had it taken the extra connection, its answer would be here before these. */
    for (int i = 0; i < 20; i++)
        ask_again(fds[i]);
    cr_assert_lt(recv(extra, reply, sizeof reply - 1, MSG_DONTWAIT), 0);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        (void)close(fds[i]);
    cr_assert_gt(recv(extra, reply, sizeof reply - 1, 0), 0);
    assert_status(reply, "200");
    (void)close(extra);
}

Test(http, a_port_in_use_is_named_in_the_error)
{
    struct http_server *second = NULL;
    struct lapse_error error;
    cr_assert_eq(http_start("127.0.0.1", http_port(server), &second, &error).code, LAPSE_UNAVAILABLE);
    cr_assert_not_null(strstr(error.message, "in use"), "%s", error.message);
    cr_assert_null(second);
}

Test(http, a_host_that_is_none_is_refused)
{
    struct http_server *second = NULL;
    struct lapse_error error;
    cr_assert_eq(http_start("no.such.host.invalid", 0, &second, &error).code, LAPSE_UNAVAILABLE);
    cr_assert_null(second);
    http_stop(NULL);
}

Test(http, ipv6_is_served_where_the_machine_has_it)
{
    const struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in6 address = loopback;
    struct http_server *second = NULL;
    struct lapse_error error;
    int probe = socket(AF_INET6, SOCK_STREAM, 0);
    if (probe < 0 || bind(probe, (const struct sockaddr *)&loopback, sizeof loopback) != 0)
        cr_skip_test("no IPv6 here");
    (void)close(probe);
    cr_assert(lapse_is_ok(http_start("::1", 0, &second, &error)), "%s", error.message);
    address.sin6_port = htons(http_port(second));
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    const char *text = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    read_all(fd);
    assert_status(reply, "200");
    (void)close(fd);
    http_stop(second);
}
