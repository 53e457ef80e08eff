/* Who our peers are, and the connections to and from them.
 *
 *   peer    another node: its address, and the link that we dial and send on. Lives from peers_set to peers_remove.
 *   link    one TLS connection, dialled or accepted. Lives until its stream's on_close, which frees it.
 *
 *   link:  connecting --on_open--> greeting --Hello--> up --> ending --on_close--> gone
 *                 \____________________\_______________\_____^
 *
 * A dialler says Hello first; the acceptor answers with its own, or with a refusal. A peer's retry timer runs whenever
 * it has no link. Everything happens on the loop; the owner's callbacks never run inside of the owner's calls. */
#include "raft/peers.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/rand.h>

#include "base/check.h"
#include "raft/peers_internal.h"

#define ALPN "lapse-peer/1"
#define QUEUE_MAX (32u * 1024 * 1024)
#define RETRY_MS_MIN 4u
#define RETRY_MS_MAX 500u
/* A link that was up for so long is dialled again at once. */
#define STEADY_MS 100u
/* A heartbeat is due every few milliseconds: a connection that moves nothing for so long is dead. */
#define STALL_MS 2000u
/* A connection that has not said Hello by then, the TLS handshake included, is closed. */
#define HELLO_MS 10000u
#define SWEEP_MS 1000u
#define REFUSAL_WINDOW_MS 10000u

static void dial(struct peer *peer);
static void on_retry(uv_timer_t *timer);

/* ---- small things ---- */

static void release(struct peers *peers)
{
    CHECK(peers->alive > 0);
    if (--peers->alive > 0)
        return;
    CHECK(peers->closing && LIST_EMPTY(&peers->links) && LIST_EMPTY(&peers->peers));
    void (*closed)(void *) = peers->closed;
    void *arg = peers->closed_arg;
    tls_identity_unref(peers->identity);
    free(peers);
    if (closed != NULL)
        closed(arg);
}

struct peer *peers_find(const struct peers *peers, uint64_t id)
{
    struct peer *peer;
    LIST_FOREACH(peer, &peers->peers, entry)
    if (peer->id == id)
        return peer;
    return NULL;
}

struct link *peers_find_incoming(const struct peers *peers, uint64_t id)
{
    struct link *link;
    LIST_FOREACH(link, &peers->links, entry)
    if (!link->outgoing && link->up && !link->ending && link->id == id)
        return link;
    return NULL;
}

/* splitmix64: jitter needs no better. */
static uint64_t next_random(struct peers *peers)
{
    uint64_t z = peers->random += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void peers_report(struct peers *peers, uint64_t id, bool outgoing, bool up, const struct lapse_error *error)
{
    if (!peers->closing && peers->handler.on_link != NULL)
        peers->handler.on_link(peers->arg, id, outgoing, up, error);
}

void peers_principal(const struct peers *peers, uint64_t id, char out[LIMIT_PRINCIPAL + 1])
{
    (void)snprintf(out, LIMIT_PRINCIPAL + 1, "spiffe://%s/lapse/node/%llu", tls_identity_domain(peers->identity),
                   (unsigned long long)id);
}

/* ---- links ---- */

static struct link *link_new(struct peers *peers, struct peer *peer)
{
    struct link *link = mem_calloc(1, sizeof *link);
    link->peers = peers;
    link->peer = peer;
    link->outgoing = peer != NULL;
    link->id = peer == NULL ? 0 : peer->id;
    link->born = uv_now(peers->loop);
    peer_frame_reader_init(&link->reader, LIMIT_PEER_HELLO);
    LIST_INSERT_HEAD(&peers->links, link, entry);
    peers->strangers += !link->outgoing;
    peers->alive++;
    return link;
}

static void link_free(struct link *link)
{
    struct peers *peers = link->peers;
    LIST_REMOVE(link, entry);
    peers->strangers -= !link->outgoing && !link->up;
    peer_frame_reader_free(&link->reader);
    free(link);
    release(peers);
}

void peers_link_end(struct link *link, enum lapse_code code, const char *text)
{
    if (link->ending)
        return;
    link->ending = true;
    (void)lapse_fail(&link->why, code, "%s", text);
    stream_close(link->stream, &link->why);
}

/* Who has just reached us can be reached. */
void peers_dial_soon(struct peers *peers, uint64_t id)
{
    struct peer *peer = peers_find(peers, id);
    if (peer == NULL || peer->out != NULL || peers->closing)
        return;
    peer->retry_ms = 0;
    CHECK(uv_timer_start(&peer->retry, on_retry, 0, 0) == 0);
}

/* ---- ends and retries ---- */

static void on_retry(uv_timer_t *timer)
{
    dial(timer->data);
}

static void retry_later(struct peer *peer)
{
    struct peers *peers = peer->peers;
    uint32_t next = peer->retry_ms == 0 ? RETRY_MS_MIN : peer->retry_ms * 2;
    peer->retry_ms = next > peers->retry_ms_max ? peers->retry_ms_max : next;
    uint64_t half = peer->retry_ms / 2;
    uint64_t delay = half + next_random(peers) % (half + 1);
    CHECK(uv_timer_start(&peer->retry, on_retry, delay, 0) == 0);
}

/* A peer that stays away is reported once for each reason, not at each attempt. */
static void report_outgoing(struct link *link, const struct lapse_error *why)
{
    struct peer *peer = link->peer;
    if (!link->up && (peer == NULL || strcmp(peer->last_error, why->message) == 0))
        return;
    if (peer != NULL)
        CHECK(slice_to_cstr(slice_str(why->message), peer->last_error, sizeof peer->last_error));
    peers_report(link->peers, link->id, true, false, why);
}

/* Strangers can fail as often as they like: the log gets a few of them. */
static void report_incoming(struct link *link, const struct lapse_error *why)
{
    struct peers *peers = link->peers;
    uint64_t now = uv_now(peers->loop);
    if (link->up && peers_find_incoming(peers, link->id) != NULL)
        return; /* the peer connected anew: its link is up, and was reported so */
    if (now - peers->refusal_window >= REFUSAL_WINDOW_MS) {
        peers->refusal_window = now;
        peers->refusals = 0;
    }
    if (link->up || peers->refusals++ < LIMIT_PEER_REFUSALS)
        peers_report(peers, link->id, false, false, why);
}

/* The first attempt after a loss comes at once: it tells a process that is gone from a link that broke. Not so when the
 * link was up for a moment only, or both sides could do nothing else. */
static void retry(struct peer *peer, bool lost)
{
    if (lost && uv_now(peer->peers->loop) - peer->up_at >= STEADY_MS)
        CHECK(uv_timer_start(&peer->retry, on_retry, 0, 0) == 0);
    else
        retry_later(peer);
}

/* A process that lives keeps its links to us, or listens, or both. */
static void look_whether_gone(struct peers *peers, uint64_t id)
{
    struct peer *peer = peers_find(peers, id);
    if (peers->closing || peer == NULL || !peer->known || !peer->refused || peers_find_incoming(peers, id) != NULL)
        return;
    peer->known = false;
    if (peers->handler.on_gone != NULL)
        peers->handler.on_gone(peers->arg, id);
}

static void on_close(struct stream *stream, const struct lapse_error *why)
{
    struct link *link = stream->owner;
    const struct lapse_error *reason = link->why.code != LAPSE_OK ? &link->why : why;
    link->ending = true;
    if (link->outgoing)
        report_outgoing(link, reason);
    else
        report_incoming(link, reason);
    /* The report may have removed the peer, or closed everything. */
    struct peer *peer = link->peer;
    if (peer != NULL) {
        peer->out = NULL;
        peer->refused = tls_stream_was_refused(stream);
        if (!link->peers->closing)
            retry(peer, link->up);
    }
    if (link->id != 0)
        look_whether_gone(link->peers, link->id);
    link_free(link);
}

static const struct stream_handler link_handler = {peers_link_opened, peers_link_data, NULL, on_close};

static void dial(struct peer *peer)
{
    struct peers *peers = peer->peers;
    char expect[LIMIT_PRINCIPAL + 1];
    struct lapse_error error = {0};
    struct link *link = link_new(peers, peer);
    peers_principal(peers, peer->id, expect);
    if (lapse_is_ok(tls_connect(peers->loop, peer->host, peer->port, expect, peers->identity, &peers->tls, link_handler,
                                link, &link->stream, &error))) {
        peer->out = link;
        return;
    }
    report_outgoing(link, &error);
    peer = link->peer;
    link_free(link);
    if (peer != NULL && !peers->closing)
        retry_later(peer);
}

static bool on_accept(void *arg, struct stream *stream, const char *address)
{
    struct peers *peers = arg;
    (void)address;
    if (peers->closing || peers->strangers >= LIMIT_PEER_STRANGERS)
        return false;
    struct link *link = link_new(peers, NULL);
    link->stream = stream;
    stream_set_handler(stream, link_handler, link);
    return true;
}

static void on_sweep(uv_timer_t *timer)
{
    struct peers *peers = timer->data;
    uint64_t now = uv_now(peers->loop);
    struct link *link;
    LIST_FOREACH(link, &peers->links, entry)
    if (!link->up && !link->ending && link->stream != NULL && now - link->born > HELLO_MS)
        peers_link_end(link, LAPSE_DEADLINE_EXCEEDED, "no Hello came in time");
}

/* ---- what the owner calls ---- */

static lapse_result check_options(const struct peers_options *options, struct tls_identity *identity,
                                  struct lapse_error *error)
{
    char wanted[LIMIT_PRINCIPAL + 1];
    if (options->node_id == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a node's id is a number from 1");
    if (options->cluster != NULL && strlen(options->cluster) >= CLUSTER_ID_SIZE)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a cluster id has at most %d bytes", CLUSTER_ID_SIZE - 1);
    (void)snprintf(wanted, sizeof wanted, "spiffe://%s/lapse/node/%llu", tls_identity_domain(identity),
                   (unsigned long long)options->node_id);
    if (strcmp(wanted, tls_identity_principal(identity)) != 0)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "the certificate is for %s, but this is node %llu: it needs one for %s",
                          tls_identity_principal(identity), (unsigned long long)options->node_id, wanted);
    return lapse_ok();
}

static struct peers *peers_new(uv_loop_t *loop, const struct peers_options *options, struct tls_identity *identity,
                               const struct peers_handler *handler, void *arg)
{
    struct peers *peers = mem_calloc(1, sizeof *peers);
    peers->loop = loop;
    peers->node_id = options->node_id;
    CHECK(slice_to_cstr(slice_str(options->cluster), peers->cluster, sizeof peers->cluster));
    CHECK(RAND_bytes((unsigned char *)&peers->instance, sizeof peers->instance) == 1);
    peers->random = options->seed;
    peers->home = options->home;
    peers->queue_max = options->queue_max == 0 ? QUEUE_MAX : options->queue_max;
    peers->retry_ms_max = options->retry_ms_max == 0 ? RETRY_MS_MAX : options->retry_ms_max;
    peers->tls = (struct tls_options){.alpn = ALPN, .stall_timeout_ms = STALL_MS, .send_max = peers->queue_max};
    peers->identity = tls_identity_ref(identity);
    peers->handler = *handler;
    peers->arg = arg;
    LIST_INIT(&peers->peers);
    LIST_INIT(&peers->links);
    return peers;
}

lapse_result peers_start(uv_loop_t *loop, const struct peers_options *options, struct tls_identity *identity,
                         const struct peers_handler *handler, void *arg, struct peers **peers,
                         struct lapse_error *error)
{
    lapse_result result = check_options(options, identity, error);
    if (!lapse_is_ok(result))
        return result;
    struct peers *made = peers_new(loop, options, identity, handler, arg);
    result = tls_listen(loop, options->listen_host, options->listen_port, TLS_PORT_ALONE, identity, &made->tls,
                        on_accept, made, &made->listener, error);
    if (!lapse_is_ok(result)) {
        tls_identity_unref(made->identity);
        free(made);
        return result;
    }
    CHECK(uv_timer_init(loop, &made->sweep) == 0);
    made->sweep.data = made;
    CHECK(uv_timer_start(&made->sweep, on_sweep, SWEEP_MS, SWEEP_MS) == 0);
    made->alive = 2; /* listener and timer */
    *peers = made;
    return result;
}

uint16_t peers_port(const struct peers *peers)
{
    return tls_listener_port(peers->listener);
}

/* "host:port", "[v6]:port". */
static lapse_result parse_address(const char *address, char host[HOST_SIZE], uint16_t *port, struct lapse_error *error)
{
    const char *colon = strrchr(address, ':');
    char *end = NULL;
    unsigned long number = colon == NULL || colon[1] < '0' || colon[1] > '9' ? 0 : strtoul(colon + 1, &end, 10);
    struct slice name = slice_of(address, colon == NULL ? 0 : (size_t)(colon - address));
    if (name.len > 2 && name.data[0] == '[' && name.data[name.len - 1] == ']')
        name = slice_of(name.data + 1, name.len - 2);
    if (number == 0 || number > 65535 || *end != '\0' || name.len == 0 || !slice_to_cstr(name, host, HOST_SIZE))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "\"%s\" is not an address: write host:port", address);
    *port = (uint16_t)number;
    return lapse_ok();
}

static struct peer *peer_new(struct peers *peers, uint64_t id)
{
    struct peer *peer = mem_calloc(1, sizeof *peer);
    peer->peers = peers;
    peer->id = id;
    CHECK(uv_timer_init(peers->loop, &peer->retry) == 0);
    peer->retry.data = peer;
    LIST_INSERT_HEAD(&peers->peers, peer, entry);
    peers->alive++;
    return peer;
}

lapse_result peers_set(struct peers *peers, uint64_t id, const char *address, struct lapse_error *error)
{
    char host[HOST_SIZE];
    uint16_t port = 0;
    lapse_result result = parse_address(address, host, &port, error);
    if (!lapse_is_ok(result) || id == peers->node_id || peers->closing)
        return result;
    struct peer *peer = peers_find(peers, id);
    if (peer != NULL && strcmp(peer->host, host) == 0 && peer->port == port)
        return result;
    if (peer == NULL)
        peer = peer_new(peers, id);
    CHECK(slice_to_cstr(slice_str(host), peer->host, sizeof peer->host));
    peer->port = port;
    peer->retry_ms = 0;
    if (peer->out != NULL) /* its end dials the new address */
        peers_link_end(peer->out, LAPSE_CANCELLED, "the peer's address has changed");
    else
        CHECK(uv_timer_start(&peer->retry, on_retry, 0, 0) == 0);
    return result;
}

static void on_peer_closed(uv_handle_t *handle)
{
    struct peer *peer = handle->data;
    struct peers *peers = peer->peers;
    free(peer);
    release(peers);
}

static void peer_remove(struct peer *peer)
{
    LIST_REMOVE(peer, entry);
    if (peer->out != NULL) {
        peer->out->peer = NULL;
        peers_link_end(peer->out, LAPSE_CANCELLED, "the peer was removed");
    }
    uv_close((uv_handle_t *)&peer->retry, on_peer_closed);
}

void peers_remove(struct peers *peers, uint64_t id)
{
    struct peer *peer = peers_find(peers, id);
    struct link *incoming = peers_find_incoming(peers, id);
    if (peer != NULL)
        peer_remove(peer);
    if (incoming != NULL)
        peers_link_end(incoming, LAPSE_CANCELLED, "the peer was removed");
}

static bool can_send(const struct peer *peer)
{
    return peer->out != NULL && peer->out->up && !peer->out->ending;
}

void peers_send(struct peers *peers, uint64_t to, struct slice frame)
{
    struct peer *peer = peers_find(peers, to);
    CHECK(frame.len > 0 && frame.len <= LIMIT_PEER_FRAME);
    if (peer == NULL || peers->closing)
        return;
    if (!can_send(peer) || !peers_link_write(peer->out, frame))
        peer->dropped++;
}

uint64_t peers_dropped(const struct peers *peers, uint64_t id)
{
    const struct peer *peer = peers_find(peers, id);
    return peer == NULL ? 0 : peer->dropped;
}

void peers_set_cluster(struct peers *peers, const char *cluster)
{
    struct link *link;
    CHECK(slice_to_cstr(slice_str(cluster), peers->cluster, sizeof peers->cluster));
    LIST_FOREACH(link, &peers->links, entry)
    if (link->up && link->cluster[0] != '\0' && strcmp(link->cluster, cluster) != 0)
        peers_link_end(link, LAPSE_FAILED_PRECONDITION, "the peer is of another cluster than the one we joined");
}

void peers_set_identity(struct peers *peers, struct tls_identity *identity)
{
    struct tls_identity *old = peers->identity;
    struct link *link;
    peers->identity = tls_identity_ref(identity);
    tls_identity_unref(old);
    tls_listener_set_identity(peers->listener, identity);
    LIST_FOREACH(link, &peers->links, entry)
    if (link->up && !link->ending && !tls_stream_still_valid(link->stream, identity))
        peers_link_end(link, LAPSE_UNAUTHENTICATED, "the peer's certificate is not valid under our new identity");
}

bool peers_is_up(const struct peers *peers, uint64_t id, bool outgoing)
{
    const struct peer *peer = peers_find(peers, id);
    return outgoing ? peer != NULL && can_send(peer) : peers_find_incoming(peers, id) != NULL;
}

static void on_listener_closed(void *arg)
{
    release(arg);
}

static void on_sweep_closed(uv_handle_t *handle)
{
    release(handle->data);
}

void peers_close(struct peers *peers, void (*closed)(void *arg), void *arg)
{
    struct link *link;
    CHECK(!peers->closing);
    peers->closing = true;
    peers->closed = closed;
    peers->closed_arg = arg;
    while (!LIST_EMPTY(&peers->peers))
        peer_remove(LIST_FIRST(&peers->peers));
    LIST_FOREACH(link, &peers->links, entry)
    peers_link_end(link, LAPSE_CANCELLED, "this node is stopping");
    tls_listener_close(peers->listener, on_listener_closed, peers);
    uv_close((uv_handle_t *)&peers->sweep, on_sweep_closed);
}
