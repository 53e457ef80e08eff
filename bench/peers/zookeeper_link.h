/* ZooKeeper's protocol, as far as a benchmark needs it: a greeting, create, delete, addWatch and watch events. Messages
 * are Jute records (zookeeper.jute in ZooKeeper's sources): big-endian numbers, strings with their length before them,
 * the whole with its length before it. Answers come in the order of requests, and bear their numbers.
 *
 * Why not ZooKeeper's own C client: that of 3.8 knows no addWatch (persistent, recursive watches, which the Java
 * client has had since 3.6), so each watcher would have to set a watch for each item before each round. */
#ifndef LAPSE_BENCH_PEERS_ZOOKEEPER_LINK_H
#define LAPSE_BENCH_PEERS_ZOOKEEPER_LINK_H

#include "bench/peers/peer_link.h"

/* A session that lives as long as the connection. link->session_ms: what is asked for, then what was given. */
extern const struct peer_link_protocol zookeeper_protocol;
/* The same, but breaks unless the session gets exactly the time that was asked for. */
extern const struct peer_link_protocol zookeeper_deadline_protocol;

/* Requests; `number` comes back in on_answer. A create of what exists and a delete of what doesn't are answered well:
 * they are attempts repeated. */
void zookeeper_create(struct peer_link *link, uint32_t number, const char *path, struct slice data, bool ephemeral);
void zookeeper_delete(struct peer_link *link, uint32_t number, const char *path);
/* From then on on_gone for each "/items/NUMBER" that is deleted. */
void zookeeper_watch_below(struct peer_link *link, uint32_t number, const char *path);

#endif
