/* Streams without TLS over libuv, for loopback and unix sockets only: sidecars on the same machine, and tests. Nobody
 * is authenticated: the peer's principal is empty. Addresses are "127.0.0.1:7400", "[::1]:7400" (numeric; port 0: any)
 * or "unix:/run/lapse/x.sock". */
#ifndef LAPSE_BASE_TCP_STREAM_H
#define LAPSE_BASE_TCP_STREAM_H

#include <uv.h>

#include "base/stream.h"

struct tcp_options {
    uint32_t stall_timeout_ms; /* 0: 10000: bytes that the kernel doesn't take for so long end the stream */
    size_t send_max;           /* 0: LIMIT_STREAM_SEND */
};

/* Called right after accept, so that the owner can set a handler; on_open follows from the loop. False refuses (closed
 * at once). */
typedef bool (*tcp_accept_cb)(void *arg, struct stream *stream);

struct tcp_listener;
/* INVALID_ARGUMENT for an address that is none, UNAVAILABLE when it can't be listened on. */
lapse_result tcp_listen(uv_loop_t *loop, const char *address, const struct tcp_options *options, tcp_accept_cb accept,
                        void *arg, struct tcp_listener **listener, struct lapse_error *error) LAPSE_MUST_USE;
uint16_t tcp_listener_port(const struct tcp_listener *listener); /* 0 for unix sockets */
/* Stops accepting and frees the listener from the loop; streams live on. Accepts NULL. */
void tcp_listener_close(struct tcp_listener *listener);

/* Outcome through on_open or on_close. */
lapse_result tcp_connect(uv_loop_t *loop, const char *address, const struct tcp_options *options,
                         struct stream_handler handler, void *owner, struct stream **stream,
                         struct lapse_error *error) LAPSE_MUST_USE;

#endif
