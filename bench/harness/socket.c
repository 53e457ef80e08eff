/* See socket.h. Readiness comes from uv_poll, which stays armed for reading: an event costs its share of an epoll_wait,
 * one read of all that is there, and its decryption. Nothing is read twice only to hear that there is no more. */
#include "bench/harness/socket.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"

#define READ_BYTES (64 * 1024)
/* Reads of one socket in a row before the others have their turn. */
#define READS_MAX 16
#define OUT_MAX (64u * 1024 * 1024)

enum socket_state { SOCKET_CONNECTING, SOCKET_HANDSHAKE, SOCKET_OPEN, SOCKET_CLOSED };

struct socket {
    enum socket_state state;
    bool corked;
    int fd;
    int armed; /* what uv_poll waits for */
    SSL *ssl;  /* NULL: plain */
    uv_poll_t poll;
    struct socket_handler handler;
    void *arg;
    struct buf out;
    struct lapse_error why;
};

/* --- where to, and as whom ---------------------------------------------------------------------------------------- */

lapse_result socket_target_parse(const char *text, struct ssl_ctx_st *tls, struct socket_target *target,
                                 struct lapse_error *error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    char host[sizeof target->text];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || colon[1] == '\0' || strlen(text) >= sizeof host)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "\"%.80s\" is not host:port", text);
    bool bracketed = text[0] == '[' && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(colon - text) - (bracketed ? 2 : 0), text + (bracketed ? 1 : 0));
    int failed = getaddrinfo(host, colon + 1, &hints, &found);
    if (failed != 0)
        return lapse_fail(error, LAPSE_NOT_FOUND, "%s: %s", text, gai_strerror(failed));
    *target = (struct socket_target){.len = found->ai_addrlen, .tls = tls};
    memcpy(&target->address, found->ai_addr, found->ai_addrlen);
    snprintf(target->text, sizeof target->text, "%s", text);
    freeaddrinfo(found);
    return lapse_ok();
}

static lapse_result tls_fill(SSL_CTX *tls, const char *certificate, const char *key, const char *authorities,
                             struct lapse_error *error)
{
    static const unsigned char alpn[] = {2, 'h', '2'};
    if (SSL_CTX_use_certificate_chain_file(tls, certificate) != 1)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s holds no usable certificate", certificate);
    if (SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s holds no key for %s", key, certificate);
    if (SSL_CTX_load_verify_locations(tls, authorities, NULL) != 1)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s holds no authorities", authorities);
    CHECK(SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION) == 1);
    CHECK(SSL_CTX_set_alpn_protos(tls, alpn, sizeof alpn) == 0);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_read_ahead(tls, 1); /* a record's head and body by one read */
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    return lapse_ok();
}

lapse_result socket_tls_new(const char *certificate, const char *key, const char *authorities, struct ssl_ctx_st **tls,
                            struct lapse_error *error)
{
    SSL_CTX *made = SSL_CTX_new(TLS_client_method());
    CHECK(made != NULL);
    lapse_result result = tls_fill(made, certificate, key, authorities, error);
    ERR_clear_error();
    if (lapse_is_ok(result))
        *tls = made;
    else
        SSL_CTX_free(made);
    return result;
}

void socket_tls_free(struct ssl_ctx_st *tls)
{
    SSL_CTX_free(tls);
}

/* --- closing ------------------------------------------------------------------------------------------------------ */

static void on_handle_closed(uv_handle_t *handle)
{
    struct socket *socket = handle->data;
    close(socket->fd);
    SSL_free(socket->ssl);
    buf_free(&socket->out);
    socket->handler.on_close(socket->arg, &socket->why);
    free(socket);
}

static void end(struct socket *socket, enum lapse_code code, const char *what)
{
    if (socket->state == SOCKET_CLOSED)
        return;
    socket->state = SOCKET_CLOSED;
    (void)lapse_fail(&socket->why, code, "%s", what);
    uv_close((uv_handle_t *)&socket->poll, on_handle_closed);
}

void socket_close(struct socket *socket)
{
    if (socket->state == SOCKET_OPEN && socket->ssl != NULL)
        (void)SSL_shutdown(socket->ssl);
    ERR_clear_error();
    end(socket, LAPSE_CANCELLED, "closed");
}

static void end_by_errno(struct socket *socket, int number)
{
    end(socket, LAPSE_UNAVAILABLE, strerror(number));
}

/* What OpenSSL's refusal means: true: wait for readiness (kept in `wants`). */
static bool tls_may_go_on(struct socket *socket, int outcome, int *wants)
{
    char text[200];
    int kind = SSL_get_error(socket->ssl, outcome);
    if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) {
        *wants |= kind == SSL_ERROR_WANT_WRITE ? UV_WRITABLE : UV_READABLE;
        return true;
    }
    unsigned long reason = ERR_get_error();
    if (kind == SSL_ERROR_ZERO_RETURN || reason == 0) {
        end(socket, LAPSE_UNAVAILABLE, "the server closed the connection");
    } else {
        ERR_error_string_n(reason, text, sizeof text);
        end(socket, socket->state == SOCKET_HANDSHAKE ? LAPSE_UNAUTHENTICATED : LAPSE_UNAVAILABLE, text);
    }
    ERR_clear_error();
    return false;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void on_ready(uv_poll_t *poll, int status, int events);

static void arm(struct socket *socket, int wants)
{
    if (socket->state == SOCKET_CLOSED || socket->armed == wants)
        return;
    socket->armed = wants;
    CHECK(uv_poll_start(&socket->poll, wants, on_ready) == 0);
}

/* Bytes sent; 0: not now; < 0: the socket has ended. */
static ssize_t send_some(struct socket *socket)
{
    int wants = 0;
    if (socket->ssl != NULL) {
        int n = SSL_write(socket->ssl, socket->out.data, (int)socket->out.len);
        if (n > 0)
            return n;
        return tls_may_go_on(socket, n, &wants) ? 0 : -1;
    }
    ssize_t n = send(socket->fd, socket->out.data, socket->out.len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        end_by_errno(socket, errno);
        return -1;
    }
    return n < 0 ? 0 : n;
}

static void flush(struct socket *socket)
{
    ssize_t n = 1;
    if (socket->state != SOCKET_OPEN || socket->corked)
        return;
    while (socket->out.len > 0 && (n = send_some(socket)) > 0)
        buf_consume(&socket->out, (size_t)n);
    if (n >= 0)
        arm(socket, UV_READABLE | (socket->out.len > 0 ? UV_WRITABLE : 0));
}

void socket_write(struct socket *socket, struct slice bytes)
{
    if (socket->state == SOCKET_CLOSED)
        return;
    if (!lapse_is_ok(buf_append(&socket->out, bytes.data, bytes.len))) {
        end(socket, LAPSE_RESOURCE_EXHAUSTED, "the server does not read");
        return;
    }
    flush(socket);
}

void socket_cork(struct socket *socket, bool corked)
{
    socket->corked = corked;
    if (!corked && socket->out.len > 0)
        flush(socket);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* Bytes read; 0: no more now, or the socket has ended. */
static size_t read_some(struct socket *socket, uint8_t *into)
{
    int wants = 0;
    if (socket->ssl != NULL) {
        int n = SSL_read(socket->ssl, into, READ_BYTES);
        if (n > 0)
            return (size_t)n;
        (void)tls_may_go_on(socket, n, &wants);
        return 0;
    }
    ssize_t n = recv(socket->fd, into, READ_BYTES, 0);
    if (n == 0)
        end(socket, LAPSE_UNAVAILABLE, "the server closed the connection");
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        end_by_errno(socket, errno);
    return n > 0 ? (size_t)n : 0;
}

static void take_input(struct socket *socket)
{
    static _Thread_local uint8_t bytes[READ_BYTES];
    bool more = true;
    for (int i = 0; i < READS_MAX && more && socket->state == SOCKET_OPEN; i++) {
        size_t n = read_some(socket, bytes);
        if (n == 0)
            return;
        socket->handler.on_data(socket->arg, slice_of(bytes, n));
        /* What OpenSSL holds raises no event; what the kernel holds does. */
        more = socket->state == SOCKET_OPEN && (socket->ssl != NULL ? SSL_has_pending(socket->ssl) : n == READ_BYTES);
    }
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static void opened(struct socket *socket)
{
    socket->state = SOCKET_OPEN;
    arm(socket, UV_READABLE);
    socket->handler.on_open(socket->arg);
    if (socket->state == SOCKET_OPEN)
        flush(socket);
}

static void shake_hands(struct socket *socket)
{
    int wants = 0;
    int outcome = SSL_do_handshake(socket->ssl);
    if (outcome == 1)
        opened(socket);
    else if (tls_may_go_on(socket, outcome, &wants))
        arm(socket, wants);
}

static void connected(struct socket *socket)
{
    int failed = 0;
    socklen_t size = sizeof failed;
    if (getsockopt(socket->fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0 || failed != 0) {
        end_by_errno(socket, failed);
        return;
    }
    if (socket->ssl == NULL) {
        opened(socket);
        return;
    }
    socket->state = SOCKET_HANDSHAKE;
    shake_hands(socket);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct socket *socket = poll->data;
    if (socket->state == SOCKET_CONNECTING) {
        connected(socket);
    } else if (status < 0) {
        end(socket, LAPSE_UNAVAILABLE, uv_strerror(status));
    } else if (socket->state == SOCKET_HANDSHAKE) {
        shake_hands(socket);
    } else if (socket->state == SOCKET_OPEN) {
        if ((events & UV_READABLE) != 0)
            take_input(socket);
        if (socket->state == SOCKET_OPEN && (events & UV_WRITABLE) != 0)
            flush(socket);
    }
}

struct socket *socket_dial(uv_loop_t *loop, const struct socket_target *target, const struct socket_handler *handler,
                           void *arg)
{
    struct socket *socket_ = mem_calloc(1, sizeof *socket_);
    int on = 1;
    socket_->handler = *handler;
    socket_->arg = arg;
    buf_init(&socket_->out, OUT_MAX);
    socket_->fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(socket_->fd >= 0); /* descriptors_raise has seen to it */
    (void)setsockopt(socket_->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    CHECK(uv_poll_init_socket(loop, &socket_->poll, socket_->fd) == 0);
    socket_->poll.data = socket_;
    if (target->tls != NULL) {
        socket_->ssl = SSL_new(target->tls);
        CHECK(socket_->ssl != NULL && SSL_set_fd(socket_->ssl, socket_->fd) == 1);
        SSL_set_connect_state(socket_->ssl);
    }
    if (connect(socket_->fd, (const struct sockaddr *)&target->address, target->len) == 0 || errno == EINPROGRESS)
        arm(socket_, UV_WRITABLE);
    else
        end_by_errno(socket_, errno);
    return socket_;
}
