/* Inside the Redis kind: redis.c runs the servers, redis_writer.c and redis_watcher.c are its clients. */
#ifndef LAPSE_BENCH_PEERS_REDIS_H
#define LAPSE_BENCH_PEERS_REDIS_H

#include <hiredis/async.h>

#include "bench/harness/socket.h"
#include "bench/peers/peer.h"

struct redis_system {
    struct peer peer;
    struct socket_target targets[SYSTEM_NODES_MAX];
    uint32_t replicas_needed; /* that must confirm a write (WAIT): with the primary a majority; 0: none is asked */
};

static inline struct redis_system *redis_of(struct system *system)
{
    return (struct redis_system *)system;
}

/* Starts to connect on the loop's thread; `data` becomes the connection's. NULL with `error` when that fails at once.
 * Later failures come to hiredis' own callbacks. */
redisAsyncContext *redis_connect(uv_loop_t *loop, const char *address, void *data, struct lapse_error *error);

lapse_result redis_writer_open(struct system *system, struct bench_loop *loop, uint32_t node,
                               struct system_writer **writer, struct lapse_error *error) LAPSE_MUST_USE;
void redis_writer_close(struct system_writer *writer);
void redis_item_make(struct system_writer *writer, uint32_t item, int64_t ttl_ms, system_done done, void *arg);
void redis_item_end(struct system_writer *writer, uint32_t item, system_done done, void *arg);

lapse_result redis_watchers_open(struct system *system, struct bench_loop *loop, uint32_t n, uint32_t node,
                                 system_gone gone, void *args, size_t size, struct system_watcher **watchers,
                                 struct lapse_error *error) LAPSE_MUST_USE;
void redis_watchers_close(struct system_watcher *watchers);

#endif
