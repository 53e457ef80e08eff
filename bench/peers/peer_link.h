/* A plain TCP connection to a peer whose protocol is messages on one ordered stream (ZooKeeper, NATS), on a bench loop.
 *
 *   closed --peer_link_open--> connecting --> greeting --peer_link_ready--> ready
 *      \_______________________|_____________|_______________________/
 *
 * The protocol greets and takes messages apart; the user (a writer, a watcher) is told what they mean. All of it runs
 * on the loop's thread. */
#ifndef LAPSE_BENCH_PEERS_PEER_LINK_H
#define LAPSE_BENCH_PEERS_PEER_LINK_H

#include "base/bytes.h"
#include "base/stream.h"
#include "bench/harness/loop.h"

struct peer_link;

struct peer_link_protocol {
    /* Connected: say hello by peer_link_write_now. */
    void (*greet)(struct peer_link *link);
    /* Takes one message from the front: its length, 0 as long as it isn't whole. May call peer_link_ready,
     * peer_link_break and the user's functions. */
    size_t (*take)(struct peer_link *link, struct slice bytes);
    /* NULL, or called every few seconds: what keeps an idle session alive. */
    void (*keep)(struct peer_link *link);
};

/* Never called on the stack of a call into the link, but for peer_link_ready and from within `take`. */
struct peer_link_user {
    void (*on_ready)(struct peer_link *link);
    /* The request with this number was answered; `error` NULL: well. */
    void (*on_answer)(struct peer_link *link, uint32_t number, const struct lapse_error *error);
    void (*on_gone)(struct peer_link *link, uint32_t item);
    /* The connection has ended, or never came about; the link may be opened again or freed. */
    void (*on_closed)(struct peer_link *link, const struct lapse_error *why);
};

enum peer_link_state { LINK_CLOSED, LINK_CONNECTING, LINK_GREETING, LINK_READY };

struct peer_link {
    const struct peer_link_protocol *protocol;
    const struct peer_link_user *user;
    uv_loop_t *loop;
    const char *address; /* borrowed */
    struct stream *stream;
    enum peer_link_state state;
    bool ending;
    uint64_t id;        /* unique in this process */
    int32_t session_ms; /* the protocol's: asked for, then given */
    struct buf rest;    /* a message that isn't whole yet */
    struct buf waiting; /* written before it was ready */
};

/* A closed link. `address` outlives it. */
void peer_link_init(struct peer_link *link, uv_loop_t *loop, const char *address,
                    const struct peer_link_protocol *protocol, const struct peer_link_user *user);
/* Frees what it holds; it must be closed. */
void peer_link_free(struct peer_link *link);

/* A closed link gets another id: what comes for the old one is another's. */
void peer_link_renew(struct peer_link *link);

/* From LINK_CLOSED. Outcome through on_ready or on_closed. */
void peer_link_open(struct peer_link *link);
/* Ends it at once; on_closed follows from the loop. Does nothing when it is closed. */
void peer_link_close(struct peer_link *link);
/* The same for a reason. */
void peer_link_break(struct peer_link *link, enum lapse_code code, const char *format, ...) LAPSE_PRINTF(3, 4);

/* Queues bytes; they leave when the link is ready. */
void peer_link_write(struct peer_link *link, struct slice bytes);
/* For greetings. */
void peer_link_write_now(struct peer_link *link, struct slice bytes);
/* The protocol: the peer has answered the greeting. */
void peer_link_ready(struct peer_link *link);

/* What arrived; the stream's callback, and tests'. */
void peer_link_feed(struct peer_link *link, struct slice bytes);

#endif
