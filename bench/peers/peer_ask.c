#include "bench/peers/peer_ask.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define SILENCE_S 1

static lapse_result connect_to(const char *address, int *fd, struct lapse_error *error)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    const struct timeval silence = {.tv_sec = SILENCE_S};
    char host[64];
    const char *colon = strrchr(address, ':');
    if (colon == NULL || !slice_to_cstr(slice_of(address, (size_t)(colon - address)), host, sizeof host) ||
        inet_pton(AF_INET, host, &at.sin_addr) != 1)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "'%s' is no numeric address HOST:PORT", address);
    at.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "socket: %s", strerror(errno));
    if (setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence) == 0 &&
        setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof silence) == 0 &&
        connect(*fd, (struct sockaddr *)&at, sizeof at) == 0)
        return lapse_ok();
    lapse_result result = lapse_fail(error, LAPSE_UNAVAILABLE, "%s: %s", address, strerror(errno));
    close(*fd);
    return result;
}

static lapse_result converse(int fd, const char *request, const char *enough, char *answer, size_t size,
                             struct lapse_error *error)
{
    size_t len = 0, sent = strlen(request);
    if (send(fd, request, sent, MSG_NOSIGNAL) != (ssize_t)sent)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "a server takes no request: %s", strerror(errno));
    while (len + 1 < size) {
        ssize_t n = recv(fd, answer + len, size - 1 - len, 0);
        if (n <= 0 && enough == NULL && n == 0)
            return lapse_ok();
        if (n <= 0)
            return lapse_fail(error, LAPSE_UNAVAILABLE, "a server doesn't answer: %s",
                              n == 0 ? "it closed the connection" : strerror(errno));
        len += (size_t)n;
        answer[len] = '\0';
        if (enough != NULL && strstr(answer, enough) != NULL)
            return lapse_ok();
    }
    return lapse_ok();
}

lapse_result peer_ask(const char *address, const char *request, const char *enough, char *answer, size_t size,
                      struct lapse_error *error)
{
    int fd = -1;
    answer[0] = '\0';
    lapse_result result = connect_to(address, &fd, error);
    if (!lapse_is_ok(result))
        return result;
    result = converse(fd, request, enough, answer, size, error);
    close(fd);
    return result;
}

bool peer_json_text(const char *json, const char *name, char *out, size_t size)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *at = strstr(json, quoted);
    if (at == NULL)
        return false;
    at += strlen(quoted);
    at += strspn(at, " ");
    if (*at != '"')
        return false;
    size_t len = strcspn(at + 1, "\"");
    return slice_to_cstr(slice_of(at + 1, len), out, size);
}
