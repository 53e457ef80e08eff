/* A client's connection over TCP or TLS 1.3, as lean as can be: a readiness callback, one read, one decryption. Ten
 * thousand of them share one thread, and what they cost is not what a benchmark wants to measure.
 *
 *   connecting --> (handshake) --> open --> closed
 *
 * All of it on the thread of its loop, but socket_tls_*. Callbacks never run on the stack of a call into the socket. */
#ifndef LAPSE_BENCH_HARNESS_SOCKET_H
#define LAPSE_BENCH_HARNESS_SOCKET_H

#include <netinet/in.h>
#include <uv.h>

#include "base/bytes.h"

struct socket;
struct ssl_ctx_st;

struct socket_handler {
    void (*on_open)(void *arg);
    /* Bytes arrived; borrowed for the call. */
    void (*on_data)(void *arg, struct slice bytes);
    /* Once, last, also after socket_close (then CANCELLED). The socket is freed when this returns. */
    void (*on_close)(void *arg, const struct lapse_error *why);
};

/* Where to: "host:port". Names are resolved, so this blocks; any thread. INVALID_ARGUMENT, NOT_FOUND. */
struct socket_target {
    struct sockaddr_storage address;
    socklen_t len;
    char text[64];          /* as given */
    struct ssl_ctx_st *tls; /* NULL: plain; borrowed */
};
lapse_result socket_target_parse(const char *text, struct ssl_ctx_st *tls, struct socket_target *target,
                                 struct lapse_error *error) LAPSE_MUST_USE;

/* A client's identity for HTTP/2 over TLS 1.3; servers must have a certificate of `authorities`. Any thread.
 * INVALID_ARGUMENT, with the file that is wrong. */
lapse_result socket_tls_new(const char *certificate, const char *key, const char *authorities, struct ssl_ctx_st **tls,
                            struct lapse_error *error) LAPSE_MUST_USE;
void socket_tls_free(struct ssl_ctx_st *tls); /* accepts NULL */

/* Connects; the outcome is on_open or on_close. */
struct socket *socket_dial(uv_loop_t *loop, const struct socket_target *target, const struct socket_handler *handler,
                           void *arg);
/* Queues bytes (copied), and sends what the kernel takes unless corked. Before it is open, too. */
void socket_write(struct socket *socket, struct slice bytes);
/* While corked writes only queue; uncorking sends them as one. */
void socket_cork(struct socket *socket, bool corked);
/* on_close follows. Idempotent. */
void socket_close(struct socket *socket);

#endif
