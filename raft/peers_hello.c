/* What is said on a link: Hello both ways, with whatever makes one side turn the other away, then frames. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "raft/peers_internal.h"

static void link_up(struct link *link)
{
    link->up = true;
    link->reader.max = LIMIT_PEER_FRAME;
    link->peers->strangers -= !link->outgoing;
    if (link->peer != NULL) {
        link->peer->retry_ms = 0;
        link->peer->last_error[0] = '\0';
        link->peer->known = true;
        link->peer->refused = false;
        link->peer->up_at = uv_now(link->peers->loop);
    } else
        peers_dial_soon(link->peers, link->id);
    peers_report(link->peers, link->id, link->outgoing, true, NULL);
}

bool peers_link_write(struct link *link, struct slice payload)
{
    uint8_t header[PEER_FRAME_HEADER];
    /* Both or none: half a frame would be the end of the link. */
    if (stream_pending(link->stream) + sizeof header + payload.len > link->peers->queue_max)
        return false;
    peer_frame_header((uint32_t)payload.len, header);
    if (!lapse_is_ok(stream_write(link->stream, slice_of(header, sizeof header))))
        return false;
    if (lapse_is_ok(stream_write(link->stream, payload)))
        return true;
    peers_link_end(link, LAPSE_INTERNAL, "half a frame could be queued");
    return false;
}

static void say_hello(struct link *link, const char *refusal)
{
    struct buf bytes;
    struct peer_hello hello = {PEER_PROTOCOL_VERSION, slice_str(link->peers->cluster),
                               link->peers->node_id,  link->peers->instance,
                               slice_str(refusal),    link->peers->home};
    buf_init(&bytes, LIMIT_PEER_HELLO);
    lapse_result result = peer_hello_encode(&hello, &bytes);
    CHECK(lapse_is_ok(result));
    (void)peers_link_write(link, buf_slice(&bytes)); /* cannot be sent: the stream is ending and says so itself */
    buf_free(&bytes);
}

/* Turns an incoming link away, and tells the other side why. */
static void refuse(struct link *link, const struct lapse_error *why)
{
    say_hello(link, why->message);
    link->ending = true;
    link->why = *why;
    stream_close(link->stream, NULL);
}

static lapse_result check_hello(const struct link *link, const struct peer_hello *hello, struct lapse_error *error)
{
    const struct peers *peers = link->peers;
    unsigned long long node = hello->node, wanted = link->id;
    if (hello->version != PEER_PROTOCOL_VERSION)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "version %llu of the peer protocol meets our %d: upgrade one node at a time, and all of them",
                          (unsigned long long)hello->version, PEER_PROTOCOL_VERSION);
    if (hello->refusal.len > 0)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "node %llu refused us: %.*s", wanted,
                          (int)hello->refusal.len, (const char *)hello->refusal.data);
    if (hello->node != link->id)
        return lapse_fail(error, LAPSE_UNAUTHENTICATED, "says it is node %llu, but its certificate is node %llu's",
                          node, wanted);
    if (hello->cluster.len > 0 && peers->cluster[0] != '\0' && !slice_equal(hello->cluster, slice_str(peers->cluster)))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "node %llu is of the cluster %.*s, we are of %s", node,
                          (int)hello->cluster.len, (const char *)hello->cluster.data, peers->cluster);
    return lapse_ok();
}

/* One live process per identity. The same process dialling again has lost its old link, whatever we believe. */
static lapse_result check_single(struct link *link, const struct peer_hello *hello, struct lapse_error *error)
{
    struct link *first = peers_find_incoming(link->peers, link->id);
    if (link->id == link->peers->node_id)
        return lapse_fail(error, LAPSE_ALREADY_EXISTS, "node %llu is this very node: two processes have its identity",
                          (unsigned long long)link->id);
    if (first == NULL)
        return lapse_ok();
    if (first->instance != hello->instance)
        return lapse_fail(error, LAPSE_ALREADY_EXISTS, "another process is connected as node %llu: stop one of the two",
                          (unsigned long long)link->id);
    peers_link_end(first, LAPSE_UNAVAILABLE, "the peer connected anew");
    return lapse_ok();
}

/* Strangers are not looked at: a newcomer is not set yet, and who was removed is not any more. */
static lapse_result check_home(const struct link *link, const struct peer_hello *hello, struct lapse_error *error)
{
    const struct peers *peers = link->peers;
    if (peers->closing || peers->handler.on_home == NULL || peers_find(peers, link->id) == NULL)
        return lapse_ok();
    return peers->handler.on_home(peers->arg, link->id, hello->home, error);
}

static void take_hello(struct link *link, struct slice frame)
{
    struct peer_hello hello;
    struct lapse_error error = {0};
    lapse_result result = peer_hello_decode(frame, &hello, &error);
    if (lapse_is_ok(result))
        result = check_hello(link, &hello, &error);
    if (lapse_is_ok(result))
        result = check_home(link, &hello, &error);
    if (lapse_is_ok(result) && !link->outgoing)
        result = check_single(link, &hello, &error);
    if (!lapse_is_ok(result)) {
        if (link->outgoing)
            peers_link_end(link, error.code, error.message);
        else
            refuse(link, &error);
        return;
    }
    link->instance = hello.instance;
    CHECK(slice_to_cstr(hello.cluster, link->cluster, sizeof link->cluster));
    if (!link->outgoing)
        say_hello(link, "");
    link_up(link);
}

static bool on_frame(void *arg, struct slice frame)
{
    struct link *link = arg;
    if (!link->up)
        take_hello(link, frame);
    else if (link->outgoing)
        peers_link_end(link, LAPSE_INVALID_ARGUMENT, "sent a frame on the connection that is ours to send on");
    else if (link->peers->handler.on_frame != NULL)
        link->peers->handler.on_frame(link->peers->arg, link->id, frame);
    return !link->ending;
}

void peers_link_data(struct stream *stream, struct slice bytes)
{
    struct link *link = stream->owner;
    struct lapse_error error;
    if (link->ending)
        return;
    if (!lapse_is_ok(peer_frame_reader_feed(&link->reader, bytes, on_frame, link, &error)))
        peers_link_end(link, error.code, error.message);
}

/* The id in "spiffe://DOMAIN/lapse/node/ID", spelled as we spell it; 0: there is none. */
static uint64_t node_of_principal(const struct peers *peers, const char *principal)
{
    char spelled[LIMIT_PRINCIPAL + 1];
    const char *slash = strrchr(principal, '/');
    uint64_t id = slash == NULL ? 0 : strtoull(slash + 1, NULL, 10);
    peers_principal(peers, id, spelled);
    return strcmp(spelled, principal) == 0 ? id : 0;
}

void peers_link_opened(struct stream *stream, const struct stream_peer *remote)
{
    struct link *link = stream->owner;
    if (link->ending)
        return;
    if (link->outgoing) {
        say_hello(link, "");
        return;
    }
    link->id = node_of_principal(link->peers, remote->principal);
    if (link->id == 0) {
        char text[LAPSE_ERROR_MESSAGE_SIZE];
        (void)snprintf(text, sizeof text, "%s is no node: this port is for nodes only", remote->principal);
        peers_link_end(link, LAPSE_PERMISSION_DENIED, text);
    }
}
