/* How a stream that we dial begins: a name is resolved on libuv's thread pool, its addresses are tried one after
 * another, each for the connect timeout. An answer of the resolver that nobody waits for any more only frees its
 * question. */
#include "base/tls_internal.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>

/* Nobody has more addresses worth trying; a name server can't make us dial for minutes. */
#define ADDRESSES_MAX 8

struct tls_dial {
    uv_getaddrinfo_t resolve;
    struct tls_stream *stream; /* NULL: given up while the resolver works */
    bool resolving;
    struct sockaddr_storage addresses[ADDRESSES_MAX];
    unsigned count;
    unsigned next;
    unsigned refused;
    bool timed_out;
    uv_connect_t connect;
    char *expect; /* may be NULL */
    char *target; /* "host:port" as given, for messages */
};

static void dial_next(struct tls_stream *stream);

static void destroy(struct tls_dial *dial)
{
    free(dial->expect);
    free(dial->target);
    free(dial);
}

void tls_dial_free(struct tls_dial *dial)
{
    if (dial == NULL)
        return;
    dial->stream = NULL;
    if (dial->resolving)
        (void)uv_cancel((uv_req_t *)&dial->resolve); /* its callback destroys it */
    else
        destroy(dial);
}

const char *tls_dial_expect(const struct tls_dial *dial)
{
    return dial->expect;
}

static void on_socket_closed(uv_handle_t *handle)
{
    struct tls_stream *stream = handle->data;
    if (stream->state == TLS_CLOSED) {
        tls_stream_handle_closed(stream);
        return;
    }
    stream->handles--;
    stream->tcp.loop = NULL;
    dial_next(stream);
}

/* This address did not answer: the next one once the socket is closed. */
static void give_up_address(struct tls_stream *stream)
{
    stream->phase_deadline = 0;
    if (!uv_is_closing((uv_handle_t *)&stream->tcp))
        uv_close((uv_handle_t *)&stream->tcp, on_socket_closed);
}

static void on_connect(uv_connect_t *request, int status)
{
    struct tls_stream *stream = request->handle->data;
    struct tls_dial *dial = stream->dial;
    /* Closing: the deadline or the owner was faster. */
    if (stream->state != TLS_CONNECTING || uv_is_closing((uv_handle_t *)&stream->tcp))
        return;
    dial->refused += status == UV_ECONNREFUSED;
    stream->refused = dial->refused == dial->count;
    if (status == 0)
        tls_stream_start(stream);
    else if (dial->next < dial->count)
        give_up_address(stream);
    else
        tls_stream_abort(stream, LAPSE_UNAVAILABLE, "cannot connect to %s: %s", stream->peer.address,
                         uv_strerror(status));
}

void tls_dial_timed_out(struct tls_stream *stream)
{
    struct tls_dial *dial = stream->dial;
    if (stream->state == TLS_CONNECTING && dial->next < dial->count)
        give_up_address(stream);
    else
        tls_stream_abort(stream, LAPSE_UNAVAILABLE, "%s did not answer within %u ms",
                         stream->state == TLS_RESOLVING ? "the resolver" : stream->peer.address,
                         stream->settings.connect_timeout_ms);
}

bool tls_stream_was_refused(const struct stream *stream)
{
    return ((const struct tls_stream *)stream)->refused;
}

/* One SYN and one retry at most; the connect deadline is usually earlier. */
static void limit_syns(struct tls_stream *stream)
{
    uv_os_fd_t fd;
    int count = 1;
    if (uv_fileno((uv_handle_t *)&stream->tcp, &fd) == 0)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &count, sizeof count);
}

static int dial_address(struct tls_stream *stream, const struct sockaddr *address)
{
    int status = uv_tcp_init_ex(stream->loop->loop, &stream->tcp, address->sa_family);
    if (status != 0) {
        stream->tcp.loop = NULL;
        return status;
    }
    stream->tcp.data = stream;
    stream->handles++;
    tls_stream_tune(stream, stream->settings.connect_timeout_ms);
    limit_syns(stream);
    return uv_tcp_connect(&stream->dial->connect, &stream->tcp, address, on_connect);
}

static void dial_next(struct tls_stream *stream)
{
    struct tls_dial *dial = stream->dial;
    const struct sockaddr *address = (const struct sockaddr *)&dial->addresses[dial->next++];
    stream->state = TLS_CONNECTING;
    tls_address_print(address, stream->peer.address, sizeof stream->peer.address);
    tls_stream_set_deadline(stream, stream->settings.connect_timeout_ms);
    int status = dial_address(stream, address);
    if (status == 0)
        return;
    if (dial->next < dial->count && stream->tcp.loop != NULL)
        give_up_address(stream);
    else
        tls_stream_abort(stream, LAPSE_UNAVAILABLE, "cannot connect to %s: %s", stream->peer.address,
                         uv_strerror(status));
}

static void take_addresses(struct tls_dial *dial, const struct addrinfo *list)
{
    for (; list != NULL && dial->count < ADDRESSES_MAX; list = list->ai_next)
        if (list->ai_family == AF_INET || list->ai_family == AF_INET6)
            memcpy(&dial->addresses[dial->count++], list->ai_addr, list->ai_addrlen);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct tls_dial *dial = CONTAINER_OF(request, struct tls_dial, resolve);
    dial->resolving = false;
    take_addresses(dial, list);
    uv_freeaddrinfo(list);
    if (dial->stream == NULL)
        destroy(dial);
    else if (dial->stream->state != TLS_RESOLVING)
        return; /* closing; the stream frees us */
    else if (status != 0 || dial->count == 0)
        tls_stream_abort(dial->stream, LAPSE_UNAVAILABLE, "cannot resolve %s: %s", dial->target,
                         status == 0 ? "no address" : uv_strerror(status));
    else
        dial_next(dial->stream);
}

static bool parse_numeric(struct tls_dial *dial, const char *host, uint16_t port)
{
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)&dial->addresses[0]) != 0 &&
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)&dial->addresses[0]) != 0)
        return false;
    dial->count = 1;
    return true;
}

static lapse_result resolve(struct tls_stream *stream, const char *host, uint16_t port, struct lapse_error *error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char service[8];
    (void)snprintf(service, sizeof service, "%u", port);
    int status = uv_getaddrinfo(stream->loop->loop, &stream->dial->resolve, on_resolved, host, service, &hints);
    if (status != 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "\"%s\" is not a host: %s", host, uv_strerror(status));
    stream->dial->resolving = true;
    /* The resolver has time outs of its own, longer than ours. */
    tls_stream_set_deadline(stream, stream->settings.connect_timeout_ms);
    return lapse_ok();
}

static struct tls_dial *dial_new(struct tls_stream *stream, const char *host, uint16_t port, const char *expect)
{
    struct tls_dial *dial = mem_calloc(1, sizeof *dial);
    size_t size = strlen(host) + 8;
    dial->stream = stream;
    dial->expect = expect == NULL ? NULL : mem_strdup(expect);
    dial->target = mem_alloc(size);
    (void)snprintf(dial->target, size, "%s:%u", host, port);
    (void)slice_to_cstr(slice_str("?"), stream->peer.address, sizeof stream->peer.address);
    return dial;
}

lapse_result tls_connect(uv_loop_t *loop, const char *host, uint16_t port, const char *expect,
                         struct tls_identity *identity, const struct tls_options *options,
                         struct stream_handler handler, void *owner, struct stream **stream, struct lapse_error *error)
{
    struct tls_settings settings;
    lapse_result result = tls_settings_fill(&settings, options, error);
    if (!lapse_is_ok(result))
        return result;
    if (host[0] == '\0' || port == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a server's address has a host and a port");

    struct tls_stream *dialled = tls_stream_new(loop, identity, &settings, false);
    dialled->dial = dial_new(dialled, host, port, expect);
    if (parse_numeric(dialled->dial, host, port))
        dial_next(dialled);
    else
        result = resolve(dialled, host, port, error);
    if (!lapse_is_ok(result)) {
        stream_close(&dialled->stream, NULL); /* no handler yet: it goes silently */
        return result;
    }
    stream_set_handler(&dialled->stream, handler, owner);
    *stream = &dialled->stream;
    return result;
}
