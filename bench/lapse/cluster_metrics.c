/* What a node says of itself: GET /metrics of its HTTP port, a few times a run. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/check.h"
#include "bench/lapse/cluster_internal.h"

#define ANSWER_MAX (1024u * 1024)
#define PATIENCE_S 5

static const struct {
    const char *asked, *name;
} names[] = {{"elections", "lapse_raft_term"},
             {"loop_us_max", "lapse_core_loop_us_max"},
             {"accounted_bytes", "lapse_store_bytes"}};

static lapse_result read_all(int fd, struct buf *out, struct lapse_error *error)
{
    for (;;) {
        if (!lapse_is_ok(buf_reserve(out, 4096)))
            return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "too many metrics");
        ssize_t n = recv(fd, out->data + out->len, 4096, 0);
        if (n == 0)
            return lapse_ok();
        if (n < 0 && errno != EINTR)
            return lapse_fail(error, LAPSE_UNAVAILABLE, "metrics: %s", strerror(errno));
        out->len += n > 0 ? (size_t)n : 0;
    }
}

static lapse_result get(const struct socket_target *target, struct buf *out, struct lapse_error *error)
{
    static const char request[] = "GET /metrics HTTP/1.1\r\nHost: metrics\r\nConnection: close\r\n\r\n";
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    lapse_result result = lapse_ok();
    int fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *)&target->address, target->len) != 0 ||
        send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != (ssize_t)sizeof request - 1)
        result = lapse_fail(error, LAPSE_UNAVAILABLE, "%s: %s", target->text, strerror(errno));
    if (lapse_is_ok(result))
        result = read_all(fd, out, error);
    close(fd);
    return result;
}

/* "NAME VALUE" on a line of its own. */
static bool find(const char *text, const char *name, double *value)
{
    size_t len = strlen(name);
    for (const char *at = strstr(text, name); at != NULL; at = strstr(at + len, name))
        if (at > text && at[-1] == '\n' && at[len] == ' ') {
            *value = strtod(at + len, NULL);
            return true;
        }
    return false;
}

lapse_result cluster_metric(struct system *system, uint32_t node, const char *name, double *value,
                            struct lapse_error *error)
{
    struct cluster *cluster = cluster_of(system);
    struct socket_target target;
    struct buf answer;
    char text[80];
    if (!cluster->is_ours)
        return lapse_fail(error, LAPSE_NOT_FOUND, "the HTTP ports of a running cluster are not known");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(name, names[i].asked) == 0)
            name = names[i].name;
    snprintf(text, sizeof text, "%s:%u", cluster->host[node - 1], cluster->http_port[node - 1]);
    lapse_result result = socket_target_parse(text, NULL, &target, error);
    buf_init(&answer, ANSWER_MAX);
    if (lapse_is_ok(result))
        result = get(&target, &answer, error);
    if (lapse_is_ok(result) && (!lapse_is_ok(buf_append(&answer, "", 1)) || !find((char *)answer.data, name, value)))
        result = lapse_fail(error, LAPSE_NOT_FOUND, "no metric %s", name);
    buf_free(&answer);
    return result;
}
