/* The inside of the links between nodes, shared by peers.c (who they are, ends and retries, what the owner calls) and
 * peers_hello.c (what is said on a link). */
#ifndef LAPSE_RAFT_PEERS_INTERNAL_H
#define LAPSE_RAFT_PEERS_INTERNAL_H

#include <sys/queue.h>

#include "raft/peer_frame.h"
#include "raft/peers.h"

#define HOST_SIZE 256

struct peer {
    struct peers *peers;
    uint64_t id;
    char host[HOST_SIZE];
    uint16_t port;
    struct link *out; /* NULL: the retry timer runs */
    uv_timer_t retry;
    uint32_t retry_ms;
    bool known;     /* our link was up since it was last found gone */
    bool refused;   /* so was the latest attempt to dial it */
    uint64_t up_at; /* uv_now: when our link came up last */
    uint64_t dropped;
    char last_error[LAPSE_ERROR_MESSAGE_SIZE]; /* reported already */
    LIST_ENTRY(peer) entry;
};

struct link {
    struct peers *peers;
    struct peer *peer; /* outgoing, until the peer is removed */
    bool outgoing;
    uint64_t id; /* 0: not known yet */
    struct stream *stream;
    uint64_t born; /* uv_now */
    bool up;
    bool ending;
    uint64_t instance;
    char cluster[CLUSTER_ID_SIZE];
    struct peer_frame_reader reader;
    struct lapse_error why; /* ours; otherwise the stream's */
    LIST_ENTRY(link) entry;
};

struct peers {
    uv_loop_t *loop;
    uint64_t node_id;
    char cluster[CLUSTER_ID_SIZE];
    uint64_t instance, home;
    uint64_t random;
    size_t queue_max;
    uint32_t retry_ms_max;
    struct tls_options tls;
    struct tls_identity *identity;
    struct tls_listener *listener;
    uv_timer_t sweep;
    struct peers_handler handler;
    void *arg;
    LIST_HEAD(, peer) peers;
    LIST_HEAD(, link) links;
    unsigned strangers; /* incoming links that are not up */
    uint64_t refusal_window;
    unsigned refusals;
    bool closing;
    unsigned alive; /* listener, timers and links that have yet to go */
    void (*closed)(void *arg);
    void *closed_arg;
};

/* --- peers.c --- */
struct peer *peers_find(const struct peers *peers, uint64_t id);
/* The link from `id` that is up; NULL: none. */
struct link *peers_find_incoming(const struct peers *peers, uint64_t id);
void peers_report(struct peers *peers, uint64_t id, bool outgoing, bool up, const struct lapse_error *error);
void peers_principal(const struct peers *peers, uint64_t id, char out[LIMIT_PRINCIPAL + 1]);
void peers_link_end(struct link *link, enum lapse_code code, const char *text);
/* Dials `id` now, if it is a peer that waits for its next attempt. */
void peers_dial_soon(struct peers *peers, uint64_t id);

/* --- peers_hello.c --- */
/* Queues a frame whole; false when there is no room. */
bool peers_link_write(struct link *link, struct slice payload);
void peers_link_opened(struct stream *stream, const struct stream_peer *remote);
void peers_link_data(struct stream *stream, struct slice bytes);

#endif
