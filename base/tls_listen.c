/* A listening port. Each accepted connection becomes a stream under the identity that is current then. */
#include "base/tls_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define BACKLOG 1024

struct tls_listener {
    uv_tcp_t tcp;
    struct tls_loop *loop;
    struct tls_identity *identity;
    struct tls_settings settings;
    tls_accept_cb accept;
    void *arg;
    uint16_t port;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void refuse(struct tls_stream *stream)
{
    stream_set_handler(&stream->stream, (struct stream_handler){0}, NULL);
    tls_stream_abort(stream, LAPSE_OK, "refused");
}

static void print_peer(struct tls_stream *stream)
{
    struct sockaddr_storage address = {0};
    int len = sizeof address;
    (void)uv_tcp_getpeername(&stream->tcp, (struct sockaddr *)&address, &len);
    tls_address_print((struct sockaddr *)&address, stream->peer.address, sizeof stream->peer.address);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct tls_listener *listener = CONTAINER_OF(server, struct tls_listener, tcp);
    /* Out of file descriptors, or gone before we looked: the next one may do better. */
    if (status != 0)
        return;
    struct tls_stream *stream = tls_stream_new(listener->loop->loop, listener->identity, &listener->settings, true);
    CHECK(uv_tcp_init(listener->loop->loop, &stream->tcp) == 0);
    stream->tcp.data = stream;
    stream->handles++;
    if (uv_accept(server, (uv_stream_t *)&stream->tcp) != 0) {
        refuse(stream);
        return;
    }
    tls_stream_tune(stream, listener->settings.stall_timeout_ms);
    print_peer(stream);
    if (!listener->accept(listener->arg, &stream->stream, stream->peer.address))
        refuse(stream);
    else if (stream->state == TLS_HANDSHAKE) /* the owner may have closed it */
        tls_stream_start(stream);
}

static lapse_result resolve_listen(uv_loop_t *loop, const char *host, uint16_t port, struct sockaddr_storage *address,
                                   struct lapse_error *error)
{
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)address) == 0 ||
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)address) == 0)
        return lapse_ok();
    /* At start a name may be looked up in place. */
    uv_getaddrinfo_t request;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int status = uv_getaddrinfo(loop, &request, NULL, host, NULL, &hints);
    if (status != 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "cannot listen on %s: %s", host, uv_strerror(status));
    memcpy(address, request.addrinfo->ai_addr, request.addrinfo->ai_addrlen);
    uv_freeaddrinfo(request.addrinfo);
    if (address->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)address)->sin_port = htons(port);
    return lapse_ok();
}

static int share_port(struct tls_listener *listener)
{
    uv_os_fd_t fd;
    int on = 1;
    int status = uv_fileno((uv_handle_t *)&listener->tcp, &fd);
    if (status == 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0)
        status = uv_translate_sys_error(errno);
    return status;
}

static int read_port(struct tls_listener *listener)
{
    struct sockaddr_storage address;
    int len = sizeof address;
    int status = uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&address, &len);
    if (status == 0)
        listener->port = ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                                             : ((struct sockaddr_in *)&address)->sin_port);
    return status;
}

/* Whether nobody listens there. SO_REUSEPORT alone would let a second process of ours take half of the first one's
 * connections. */
static int probe_port(const struct sockaddr_storage *address)
{
    int on = 1, status = 0;
    socklen_t len = address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return uv_translate_sys_error(errno);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *)address, len) != 0)
        status = uv_translate_sys_error(errno);
    (void)close(fd);
    return status;
}

static int start_listening(struct tls_listener *listener, const struct sockaddr_storage *address, enum tls_port use)
{
    int status = use == TLS_PORT_FIRST ? probe_port(address) : 0;
    if (status == 0 && use != TLS_PORT_ALONE)
        status = share_port(listener);
    if (status == 0)
        status = uv_tcp_bind(&listener->tcp, (const struct sockaddr *)address, 0);
    if (status == 0)
        status = uv_listen((uv_stream_t *)&listener->tcp, BACKLOG, on_connection);
    return status == 0 ? read_port(listener) : status;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct tls_listener *listener = CONTAINER_OF(handle, struct tls_listener, tcp);
    void (*closed)(void *) = listener->closed;
    void *arg = listener->closed_arg;
    tls_identity_unref(listener->identity);
    tls_loop_put(listener->loop);
    free(listener);
    if (closed != NULL)
        closed(arg);
}

lapse_result tls_listen(uv_loop_t *loop, const char *host, uint16_t port, enum tls_port use,
                        struct tls_identity *identity, const struct tls_options *options, tls_accept_cb accept,
                        void *arg, struct tls_listener **listener, struct lapse_error *error)
{
    struct tls_settings settings;
    struct sockaddr_storage address = {0};
    lapse_result result = tls_settings_fill(&settings, options, error);
    if (lapse_is_ok(result))
        result = resolve_listen(loop, host, port, &address, error);
    if (!lapse_is_ok(result))
        return result;

    struct tls_listener *made = mem_calloc(1, sizeof *made);
    int status = uv_tcp_init_ex(loop, &made->tcp, address.ss_family);
    if (status != 0) {
        free(made);
        return lapse_fail(error, LAPSE_UNAVAILABLE, "cannot make a socket: %s", uv_strerror(status));
    }
    made->loop = tls_loop_get(loop);
    made->identity = tls_identity_ref(identity);
    made->settings = settings;
    made->accept = accept;
    made->arg = arg;
    status = start_listening(made, &address, use);
    if (status != 0) {
        tls_listener_close(made, NULL, NULL);
        return lapse_fail(error, LAPSE_UNAVAILABLE, "cannot listen on %s:%u: %s", host, port, uv_strerror(status));
    }
    *listener = made;
    return lapse_ok();
}

uint16_t tls_listener_port(const struct tls_listener *listener)
{
    return listener->port;
}

void tls_listener_set_identity(struct tls_listener *listener, struct tls_identity *identity)
{
    struct tls_identity *old = listener->identity;
    listener->identity = tls_identity_ref(identity);
    tls_identity_unref(old);
}

void tls_listener_close(struct tls_listener *listener, void (*closed)(void *arg), void *arg)
{
    listener->closed = closed;
    listener->closed_arg = arg;
    uv_close((uv_handle_t *)&listener->tcp, on_listener_closed);
}
