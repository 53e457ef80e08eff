#include "client/agent/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"

#define UNIX_PREFIX "unix:"
#define BACKLOG 512

union address {
    struct sockaddr any;
    struct sockaddr_un un;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

static const char *path_of(const char *address)
{
    return strncmp(address, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0 ? address + strlen(UNIX_PREFIX) : NULL;
}

static bool parse_unix(const char *path, union address *out, socklen_t *len)
{
    out->un.sun_family = AF_UNIX;
    *len = sizeof out->un;
    return slice_to_cstr(slice_str(path), out->un.sun_path, sizeof out->un.sun_path);
}

static bool parse_ip(const char *address, union address *out, socklen_t *len)
{
    char host[64];
    const char *colon = strrchr(address, ':');
    size_t n = colon == NULL ? 0 : (size_t)(colon - address);
    bool v6 = n > 2 && address[0] == '[' && colon[-1] == ']';
    if (!slice_to_cstr(v6 ? slice_of(address + 1, n - 2) : slice_of(address, n), host, sizeof host))
        return false;
    uint16_t port = htons((uint16_t)atoi(colon == NULL ? "0" : colon + 1));
    if (v6) {
        out->in6.sin6_family = AF_INET6;
        out->in6.sin6_port = port;
        *len = sizeof out->in6;
        return inet_pton(AF_INET6, host, &out->in6.sin6_addr) == 1;
    }
    out->in.sin_family = AF_INET;
    out->in.sin_port = port;
    *len = sizeof out->in;
    return inet_pton(AF_INET, host, &out->in.sin_addr) == 1;
}

static lapse_result parse(const char *address, union address *out, socklen_t *len, struct lapse_error *error)
{
    const char *path = path_of(address);
    *out = (union address){0};
    if (!(path != NULL ? parse_unix(path, out, len) : parse_ip(address, out, len)))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s is no local address", address);
    return lapse_ok();
}

static bool somebody_listens(const union address *address, socklen_t len)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool answered = fd >= 0 && (connect(fd, &address->any, len) == 0 || errno != ECONNREFUSED);
    if (fd >= 0)
        (void)close(fd);
    return answered;
}

lapse_result listen_clear(const char *address, struct lapse_error *error)
{
    union address parsed;
    socklen_t len = 0;
    struct stat there;
    const char *path = path_of(address);
    lapse_result result = parse(address, &parsed, &len, error);
    if (!lapse_is_ok(result) || path == NULL || lstat(path, &there) != 0)
        return result;
    if (!S_ISSOCK(there.st_mode))
        return lapse_fail(error, LAPSE_UNAVAILABLE, "%s: a file that is no socket is in the way", address);
    if (somebody_listens(&parsed, len))
        return lapse_fail(error, LAPSE_UNAVAILABLE, "%s: another process listens there", address);
    if (unlink(path) != 0)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "%s: the old socket can't be removed: %s", address,
                          strerror(errno));
    return lapse_ok();
}

lapse_result listen_open(const char *address, int *fd, struct lapse_error *error)
{
    union address parsed;
    socklen_t len = 0;
    int on = 1;
    lapse_result result = listen_clear(address, error);
    if (!lapse_is_ok(result) || !lapse_is_ok(result = parse(address, &parsed, &len, error)))
        return result;
    int made = socket(parsed.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made >= 0 && path_of(address) == NULL)
        (void)setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (made < 0 || bind(made, &parsed.any, len) != 0 || listen(made, BACKLOG) != 0) {
        result = lapse_fail(error, LAPSE_UNAVAILABLE, "can't listen on %s: %s", address, strerror(errno));
        if (made >= 0)
            (void)close(made);
        return result;
    }
    *fd = made;
    return lapse_ok();
}

uint16_t listen_port(int fd)
{
    union address address;
    socklen_t len = sizeof address;
    CHECK(getsockname(fd, &address.any, &len) == 0);
    if (address.any.sa_family == AF_UNIX)
        return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.in6.sin6_port : address.in.sin_port);
}

void listen_remove(const char *address)
{
    const char *path = path_of(address);
    if (path != NULL)
        (void)unlink(path);
}
