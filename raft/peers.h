/* The links between nodes: mutual TLS, our own frames, one connection in each direction that is wanted.
 *
 * Each node dials every other node and sends on the connection that it dialled; it receives on those it accepted. So a
 * link that breaks one way breaks one way only, as in the simulator. Frames are lost when a link is down or its queue
 * is full: the replica expects that.
 *
 *   4 bytes length (big-endian, of what follows) | payload (raft/message.h decides what is in it)
 *
 * The first frame each way is a Hello {protocol version, cluster id, node id, instance, home} (raft/peer_frame.h):
 * another cluster, another version, or an id that the certificate (spiffe://DOMAIN/lapse/node/ID) does not bear ends
 * the connection, with a reason for the log of both sides. Two live processes with one identity: the newcomer is
 * refused while the first one's connection lives; the same process dialling anew replaces its old connection.
 *
 * One thread: the loop's. No callback runs inside of a call; the handlers may call anything here, peers_close too. */
#ifndef LAPSE_RAFT_PEERS_H
#define LAPSE_RAFT_PEERS_H

#include "base/tls.h"

struct peers;

struct peers_handler {
    /* A frame from node `from`, complete and within LIMIT_PEER_FRAME; borrowed. */
    void (*on_frame)(void *arg, uint64_t from, struct slice frame);
    /* A link's state changed; for logs, metrics and Cluster.Status. `error` is set on a loss or refusal (borrowed). An
     * outgoing link that stays down is reported once for each reason; refused incoming ones (id 0 when not known) at
     * most LIMIT_PEER_REFUSALS times in 10 s. An incoming link that replaces one of the same process is reported up
     * again, without a down. */
    void (*on_link)(void *arg, uint64_t id, bool outgoing, bool up, const struct lapse_error *error);
    /* A peer's process is gone, by all signs: both links ended (or were never there), and its machine refuses ours at
     * its port. Said once for each time that it was connected. NULL: nobody asks. */
    void (*on_gone)(void *arg, uint64_t id);
    /* A peer that was set says which data directory it has (raft/homes.h): anything but OK turns it away. NULL: all are
     * welcome. May block for a small write; must not call anything here. */
    lapse_result (*on_home)(void *arg, uint64_t id, uint64_t home, struct lapse_error *error);
};

struct peers_options {
    uint64_t node_id;
    const char *cluster; /* cluster id; empty for a newcomer: it accepts the one it is told by nodes whose certificates
                            verify */
    const char *listen_host;
    uint16_t listen_port;  /* 0: any */
    size_t queue_max;      /* bytes a link may have queued before frames are dropped; 0: 32 MiB */
    uint32_t retry_ms_max; /* reconnect back-off cap; 0: 500 (starts at 4, doubles, jitter) */
    uint64_t seed;         /* for the jitter */
    uint64_t home;         /* of our data directory */
};

/* `identity` must be that of this node's id: FAILED_PRECONDITION otherwise. UNAVAILABLE when the port can't be had. */
lapse_result peers_start(uv_loop_t *loop, const struct peers_options *options, struct tls_identity *identity,
                         const struct peers_handler *handler, void *arg, struct peers **peers,
                         struct lapse_error *error) LAPSE_MUST_USE;
uint16_t peers_port(const struct peers *peers);
/* Sets (or moves) a peer's address "host:port"; dials it from now on. Our own id is ignored. */
lapse_result peers_set(struct peers *peers, uint64_t id, const char *address, struct lapse_error *error) LAPSE_MUST_USE;
void peers_remove(struct peers *peers, uint64_t id);
/* Queues one frame of 1 to LIMIT_PEER_FRAME bytes (copied); dropped and counted when the link is down or full. Frames
 * of one loop iteration leave together. */
void peers_send(struct peers *peers, uint64_t to, struct slice frame);
/* Frames to `id` dropped since it was set; 0 for one that is not. */
uint64_t peers_dropped(const struct peers *peers, uint64_t id);
/* The newcomer has learned its cluster id; links with another cluster end. */
void peers_set_cluster(struct peers *peers, const char *cluster);
/* A reload: links whose peer is not valid under the new identity end. */
void peers_set_identity(struct peers *peers, struct tls_identity *identity);
bool peers_is_up(const struct peers *peers, uint64_t id, bool outgoing);
/* Closes all; `closed` from the loop; no callbacks afterwards. */
void peers_close(struct peers *peers, void (*closed)(void *arg), void *arg);

#endif
