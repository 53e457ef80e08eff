/* gRPC over one HTTP/2 connection, plain or TLS, as a client; for Lapse and etcd alike. It stands for as long as its
 * owner wants it: a lost connection is dialled again until it is closed.
 *
 *        +--- 20 ms later ---+
 *        v                   |
 *      DOWN --dialled--> UP: on_up, calls --lost: calls end, on_down--+
 *
 * As lean as socket.h: what of HTTP/2 a client of trusted servers needs, and libnghttp2 for header compression only.
 * Calls beyond the server's limits wait their turn here.
 *
 * On its loop's thread, but the last group. Callbacks never run on the stack of a call into the link. */
#ifndef LAPSE_BENCH_HARNESS_GRPC_LINK_H
#define LAPSE_BENCH_HARNESS_GRPC_LINK_H

#include "bench/harness/loop.h"
#include "bench/harness/socket.h"

struct grpc_link;

/* Either may be NULL. */
struct grpc_link_handler {
    void (*on_up)(void *arg);
    /* The connection was lost, or an attempt failed; it is dialled again. */
    void (*on_down)(void *arg, const struct lapse_error *why);
};

/* The answer, or why there is none: the server's status, UNAVAILABLE (connection lost, or none), DEADLINE_EXCEEDED,
 * CANCELLED (the link was closed). Exactly once. `message` is borrowed. */
typedef void (*grpc_answer)(void *arg, struct slice message, const struct lapse_error *error);

struct grpc_stream_handler {
    void (*on_message)(void *arg, struct slice message); /* borrowed */
    /* Exactly once, last; code OK when the server ended it well. */
    void (*on_end)(void *arg, const struct lapse_error *why);
};

/* Begins to dial. `target` is copied. */
struct grpc_link *grpc_link_new(struct bench_loop *loop, const struct socket_target *target,
                                const struct grpc_link_handler *handler, void *arg);
bool grpc_link_is_up(const struct grpc_link *link);
/* Drops the connection (calls end with UNAVAILABLE); it is dialled again. */
void grpc_link_drop(struct grpc_link *link, const char *why);
/* Calls end with CANCELLED; then closed(arg), the last callback (`closed` may be NULL). */
void grpc_link_free(struct grpc_link *link, void (*closed)(void *arg), void *arg);

/* One message there, one back. `timeout_ms` 0: none. `message` is copied. Ends with UNAVAILABLE when the link is down.
 */
void grpc_link_call(struct grpc_link *link, const char *path, struct slice message, uint32_t timeout_ms,
                    grpc_answer answer, void *arg);
/* One message there, many back. `open`: this side's end stays open, as some services want it. */
void grpc_link_stream(struct grpc_link *link, const char *path, struct slice message, bool open,
                      const struct grpc_stream_handler *handler, void *arg);

/* From the scenario's thread: blocks. */

/* Returns when it is up. UNAVAILABLE after `patience_ms` with the last failure. */
lapse_result grpc_link_open(struct bench_loop *loop, const struct socket_target *target, uint32_t patience_ms,
                            struct grpc_link **link, struct lapse_error *error) LAPSE_MUST_USE;
/* A call; its answer is appended to `answer` (may be NULL). */
lapse_result grpc_link_ask(struct bench_loop *loop, struct grpc_link *link, const char *path, struct slice message,
                           uint32_t timeout_ms, struct buf *answer, struct lapse_error *error) LAPSE_MUST_USE;
/* grpc_link_free, awaited. Accepts NULL. */
void grpc_link_close(struct bench_loop *loop, struct grpc_link *link);

#endif
