/* Calls of a link, and the bytes of HTTP/2 that both its files write. Included by grpc_link.c and grpc_frames.c. */
#ifndef LAPSE_BENCH_HARNESS_GRPC_CALL_H
#define LAPSE_BENCH_HARNESS_GRPC_CALL_H

#include <nghttp2/nghttp2.h>

#include "bench/harness/grpc_link.h"

#define GRPC_BUCKETS 64
#define GRPC_PREFIX 5
#define H2_HEAD 9
#define H2_WINDOW 0x7fffffff
/* A call's head and message must fit in one frame each. */
#define GRPC_REQUEST_MAX (16384 - GRPC_PREFIX)
#define GRPC_MESSAGE_MAX (64u * 1024 * 1024)

enum h2_type {
    H2_DATA = 0,
    H2_HEADERS = 1,
    H2_RST_STREAM = 3,
    H2_SETTINGS = 4,
    H2_PING = 6,
    H2_GOAWAY = 7,
    H2_WINDOW_UPDATE = 8,
    H2_CONTINUATION = 9
};
enum h2_flag { H2_ACK = 1, H2_END_STREAM = 1, H2_END_HEADERS = 4, H2_PADDED = 8, H2_PRIORITY = 0x20 };

struct grpc_call {
    struct grpc_call *next; /* in its bucket, or of the waiting, failed or spare ones */
    uint32_t id;            /* 0: not sent yet */
    bool open;              /* this side's end stays open */
    const char *path;
    grpc_answer answer; /* unary */
    struct grpc_stream_handler handler;
    void *arg;
    uint32_t timeout_ms;
    int64_t deadline_ns; /* INT64_MAX: none */
    struct buf message;  /* waiting: the request; later what has come of an answer */
    uint64_t received;   /* bytes that its window still counts */
    bool has_status;
    struct lapse_error status;
};

struct grpc_link {
    uv_loop_t *loop;
    struct socket_target target;
    struct grpc_link_handler handler;
    void *arg;
    struct socket *socket; /* NULL: down */
    bool up, dropping, closing;
    unsigned handles;
    void (*closed)(void *arg);
    void *closed_arg;
    uv_timer_t redial, tick, later;
    struct lapse_error why; /* code OK: not dropped by this side */

    /* Of this connection. */
    nghttp2_hd_deflater *deflater;
    nghttp2_hd_inflater *inflater; /* made when needed */
    struct buf rest;               /* of a frame that is not complete */
    struct buf block;              /* of headers that CONTINUATION goes on with */
    uint8_t block_flags;
    bool corked;
    uint32_t next_id, n_open, open_max;
    int64_t window; /* what the server still takes */
    uint64_t received;

    struct grpc_call *buckets[GRPC_BUCKETS];
    struct grpc_call *waiting, **waiting_end;
    struct grpc_call *failed, *spare;
};

/* grpc_link.c */
struct grpc_call *grpc_call_find(struct grpc_link *link, uint32_t id);
/* Tells its end and forgets it. */
void grpc_call_end(struct grpc_link *link, struct grpc_call *call, const struct lapse_error *why);
/* Sends what waits, as far as the server allows. */
void grpc_calls_go_on(struct grpc_link *link);

/* grpc_frames.c */
void grpc_frames_begin(struct grpc_link *link);
void grpc_frames_end(struct grpc_link *link);
void grpc_frames_take(struct grpc_link *link, struct slice bytes);
void grpc_frames_request(struct grpc_link *link, const struct grpc_call *call, struct slice message);
void grpc_frames_reset(struct grpc_link *link, uint32_t id);

#endif
