/* Inside the etcd kind: etcd.c runs the servers, etcd_clients.c has writers and watchers. */
#ifndef LAPSE_BENCH_PEERS_ETCD_H
#define LAPSE_BENCH_PEERS_ETCD_H

#include "bench/harness/grpc_link.h"
#include "bench/peers/peer.h"

struct etcd_system {
    struct peer peer;
    struct bench_loop *loop; /* for questions to nodes */
    struct socket_target targets[SYSTEM_NODES_MAX];
    uint64_t members[SYSTEM_NODES_MAX]; /* their ids */
};

static inline struct etcd_system *etcd_of(struct system *system)
{
    return (struct etcd_system *)system;
}

lapse_result etcd_writer_open(struct system *system, struct bench_loop *loop, uint32_t node,
                              struct system_writer **writer, struct lapse_error *error) LAPSE_MUST_USE;
void etcd_writer_close(struct system_writer *writer);
void etcd_item_make(struct system_writer *writer, uint32_t item, int64_t ttl_ms, system_done done, void *arg);
void etcd_item_end(struct system_writer *writer, uint32_t item, system_done done, void *arg);

lapse_result etcd_watchers_open(struct system *system, struct bench_loop *loop, uint32_t n, uint32_t node,
                                system_gone gone, void *args, size_t size, struct system_watcher **watchers,
                                struct lapse_error *error) LAPSE_MUST_USE;
void etcd_watchers_close(struct system_watcher *watchers);

#endif
