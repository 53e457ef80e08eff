/* Writers and watchers over links: the parts of struct system_kind that ZooKeeper and NATS share. What they say to
 * their servers is theirs. */
#ifndef LAPSE_BENCH_PEERS_PEER_LINK_CLIENTS_H
#define LAPSE_BENCH_PEERS_PEER_LINK_CLIENTS_H

#include "bench/harness/system.h"
#include "bench/peers/peer_link.h"
#include "bench/peers/peer_pending.h"

/* --- writers ------------------------------------------------------------------------------------------------------ */

struct peer_link_writer {
    struct peer_link link;
    struct peer_pending pending;
    struct bench_loop *loop;
    struct bench_gate *gate;
    uv_timer_t keep;
    bool opening, closing;
    struct lapse_error error;
};

/* From the scenario's thread; returns when connected. A writer whose connection breaks connects again when it is given
 * something to do. After a failure it is closed already. `session_ms` is the protocol's. */
lapse_result peer_writer_open(struct peer_link_writer *writer, struct bench_loop *loop, const char *address,
                              const struct peer_link_protocol *protocol, int32_t session_ms,
                              struct lapse_error *error) LAPSE_MUST_USE;
/* What is under way is done with CANCELLED before this returns. */
void peer_writer_close(struct peer_link_writer *writer);
/* On the loop: a number for a request that the caller encodes and hands to peer_link_write. */
uint32_t peer_writer_number(struct peer_link_writer *writer, system_done done, void *arg);

/* --- watchers ----------------------------------------------------------------------------------------------------- */

struct peer_link_watchers;

struct peer_link_watchers_options {
    const struct peer_link_protocol *protocol;
    int32_t first_session_ms; /* of the first at each node */
    int32_t session_ms;
    /* The link is ready: ask to be told. Its on_answer, whatever the number, says that it will be. */
    void (*subscribe)(struct peer_link *link);
    const char *(*address)(struct system *system, uint32_t node);
};

/* struct system_kind's watchers_open and watchers_close; `options` outlives them. */
lapse_result peer_watchers_open(const struct peer_link_watchers_options *options, struct system *system,
                                struct bench_loop *loop, uint32_t n, uint32_t node, system_gone gone, void *args,
                                size_t size, struct peer_link_watchers **watchers,
                                struct lapse_error *error) LAPSE_MUST_USE;
void peer_watchers_close(struct peer_link_watchers *watchers);

#endif
