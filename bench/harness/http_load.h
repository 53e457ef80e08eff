/* HTTP/1.1 requests over connections that stay open, as fast as they are answered: one on each connection at a time (a
 * closed loop). One thread, the caller's, and epoll. */
#ifndef LAPSE_BENCH_HARNESS_HTTP_LOAD_H
#define LAPSE_BENCH_HARNESS_HTTP_LOAD_H

#include "bench/harness/report.h"

#define HTTP_LOAD_CONNECTIONS_MAX 1024

struct http_load {
    uint16_t port;       /* of 127.0.0.1 */
    const char *request; /* all of it, with the empty line */
    uint32_t connections;
    uint32_t ms;
};

struct http_outcome {
    uint64_t ok, others; /* answered with 200, or otherwise */
    int other_status;    /* one of those */
    double per_s;        /* answered */
};

/* Adds each answer's latency to `samples`. UNAVAILABLE: nobody listens, or a connection broke; CANCELLED. */
lapse_result http_load_run(const struct http_load *load, struct samples *samples, struct http_outcome *outcome,
                           struct lapse_error *error) LAPSE_MUST_USE;
/* One request, one answer: its status. UNAVAILABLE as above. */
lapse_result http_load_once(uint16_t port, const char *request, int *status, struct lapse_error *error) LAPSE_MUST_USE;

#endif
