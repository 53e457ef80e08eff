/* NATS JetStream as a system under test: Debian's server, with a key-value bucket on as many nodes as there are.
 *
 * An item is a key of the bucket, its end a deletion that the stream acknowledges, a watcher what a client library's KV
 * watch is: an ordered push consumer of the stream, a connection each. (A plain subscription to the bucket's subjects
 * would be quicker, but it hears of a deletion when it is asked for, not when it is decided.)
 *
 * Keys have no deadlines of their own before 2.11: a bucket has one for all, so this kind can't expire. And before 2.10
 * a stream's file is synced every two minutes whatever the settings: an acknowledged write is in the memory of a
 * majority. There is no fairer tuning of 2.9 than its defaults. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "bench/peers/peer_ask.h"
#include "bench/peers/kinds.h"
#include "bench/peers/peer_link_clients.h"
#include "bench/peers/nats_link.h"
#include "bench/peers/peer.h"

#define STREAM "KV_" NATS_BUCKET
#define HELLO "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB answer 1\r\n"
#define INFO_SIZE 16384

enum { PORT_CLIENT, PORT_PEER, PORT_MONITOR, N_PORTS };

struct nats {
    struct peer peer;
};

struct system_writer {
    struct peer_link_writer base;
    const struct system *system;
};

static struct nats *of_system(struct system *system)
{
    return CONTAINER_OF(system, struct nats, peer.system);
}

static bool is_here(void)
{
    char path[PROCESS_PATH_SIZE];
    return process_find("nats-server", path);
}

/* --- servers ------------------------------------------------------------------------------------------------------ */

static void write_config(const struct nats *nats, uint32_t node, FILE *file)
{
    const struct system *system = &nats->peer.system;
    fprintf(file, "server_name: n%u\nlisten: \"127.0.0.1:%u\"\nhttp: \"127.0.0.1:%u\"\n", node,
            nats->peer.ports[node - 1][PORT_CLIENT], nats->peer.ports[node - 1][PORT_MONITOR]);
    fprintf(file, "jetstream {\n  store_dir: \"%s/node%u\"\n}\n", system->dir, node);
    if (system->n_nodes == 1)
        return;
    fprintf(file, "cluster {\n  name: bench\n  listen: \"127.0.0.1:%u\"\n  routes: [\n",
            nats->peer.ports[node - 1][PORT_PEER]);
    for (uint32_t i = 0; i < system->n_nodes; i++)
        fprintf(file, "    \"nats-route://127.0.0.1:%u\"\n", nats->peer.ports[i][PORT_PEER]);
    fprintf(file, "  ]\n}\n");
}

static lapse_result configure(const struct nats *nats, uint32_t node, struct lapse_error *error)
{
    char path[PROCESS_PATH_SIZE + 32];
    snprintf(path, sizeof path, "%s/node%u.conf", nats->peer.system.dir, node);
    FILE *file = fopen(path, "w");
    if (file != NULL)
        write_config(nats, node, file);
    if (file == NULL || fclose(file) != 0)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "%s: can't be written", path);
    return lapse_ok();
}

static lapse_result start_node(struct nats *nats, uint32_t node, struct lapse_error *error)
{
    struct peer_args args = {0};
    peer_place(&args, "-c");
    peer_place(&args, "%s/node%u.conf", nats->peer.system.dir, node);
    lapse_result result = peer_start_node(&nats->peer, node, &args, error);
    /* Flags of nats-server are only those that the caller adds; the rest stands in its configuration. */
    snprintf(nats->peer.system.flags, sizeof nats->peer.system.flags,
             "jetstream: replicas %u, file storage, synced every 2 min", nats->peer.system.n_nodes);
    return result;
}

/* Its JetStream is up and has what the others have. */
static bool is_healthy(struct nats *nats, uint32_t node)
{
    char address[PEER_ADDRESS_SIZE], answer[2048];
    struct lapse_error unused;
    snprintf(address, sizeof address, "127.0.0.1:%u", nats->peer.ports[node - 1][PORT_MONITOR]);
    lapse_result result =
        peer_ask(address, "GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n", NULL, answer, sizeof answer, &unused);
    return lapse_is_ok(result) && strstr(answer, "\"ok\"") != NULL;
}

static lapse_result wait_for_node(struct nats *nats, uint32_t node, struct lapse_error *error)
{
    struct peer_wait wait = peer_wait_for("a node that has caught up");
    lapse_result result = lapse_ok();
    while (lapse_is_ok(result) && !is_healthy(nats, node))
        result = peer_wait_more(&nats->peer, &wait, error);
    nats->peer.system.ready_ns = bench_now_ns();
    return result;
}

static lapse_result restart(struct system *system, uint32_t node, struct lapse_error *error)
{
    lapse_result result = start_node(of_system(system), node, error);
    return lapse_is_ok(result) ? wait_for_node(of_system(system), node, error) : result;
}

/* --- the bucket --------------------------------------------------------------------------------------------------- */

/* The name of the server that leads the bucket, as `node` knows it. */
static bool leader_name(struct nats *nats, uint32_t node, char name[64])
{
    char answer[INFO_SIZE];
    struct lapse_error unused;
    const char *request = HELLO "PUB $JS.API.STREAM.INFO." STREAM " answer 0\r\n\r\n";
    return lapse_is_ok(
               peer_ask(nats->peer.address[node - 1], request, "\"replicas\":", answer, sizeof answer, &unused)) &&
           peer_json_text(answer, "leader", name, 64);
}

static bool server_name(struct nats *nats, uint32_t node, char name[64])
{
    char answer[INFO_SIZE], *version = nats->peer.system.version;
    struct lapse_error unused;
    return lapse_is_ok(peer_ask(nats->peer.address[node - 1], HELLO, "\r\n", answer, sizeof answer, &unused)) &&
           peer_json_text(answer, "version", version, sizeof nats->peer.system.version) &&
           peer_json_text(answer, "server_name", name, 64);
}

static bool may_answer(const struct nats *nats, uint32_t node)
{
    const struct process *process = &nats->peer.system.nodes[node - 1];
    return !nats->peer.is_ours || (process->pid != 0 && !process->frozen);
}

static bool find_leader(struct nats *nats, uint32_t *node)
{
    char leader[64], name[64];
    for (uint32_t i = 1; i <= nats->peer.system.n_nodes; i++) {
        if (!may_answer(nats, i) || !leader_name(nats, i, leader))
            continue;
        for (uint32_t k = 1; k <= nats->peer.system.n_nodes; k++)
            if (may_answer(nats, k) && server_name(nats, k, name) && strcmp(name, leader) == 0) {
                *node = k;
                return true;
            }
    }
    return false;
}

static lapse_result leader(struct system *system, uint32_t *node, struct lapse_error *error)
{
    struct nats *nats = of_system(system);
    struct peer_wait wait = peer_wait_for("a leader of the bucket");
    lapse_result result = lapse_ok();
    *node = 1;
    while (system->n_nodes > 1 && lapse_is_ok(result) && !find_leader(nats, node))
        result = peer_wait_more(&nats->peer, &wait, error);
    return result;
}

/* What a client library makes for a bucket with a history of one. */
static bool make_bucket(struct nats *nats)
{
    char body[512], request[1024], answer[INFO_SIZE];
    struct lapse_error unused;
    uint32_t n = nats->peer.system.n_nodes;
    int len = snprintf(body, sizeof body,
                       "{\"name\":\"" STREAM "\",\"subjects\":[\"$KV." NATS_BUCKET ".>\"],\"retention\":\"limits\","
                       "\"max_msgs_per_subject\":1,\"discard\":\"new\",\"storage\":\"file\",\"num_replicas\":%u,"
                       "\"allow_rollup_hdrs\":true,\"deny_delete\":true,\"allow_direct\":true}",
                       n);
    CHECK(len > 0 && (size_t)len < sizeof body);
    snprintf(request, sizeof request, HELLO "PUB $JS.API.STREAM.CREATE." STREAM " answer %d\r\n%s\r\n", len, body);
    return lapse_is_ok(peer_ask(nats->peer.address[0], request, "\"did_create\":true", answer, sizeof answer, &unused));
}

static lapse_result start_nodes(struct nats *nats, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    struct peer_wait wait = peer_wait_for("a bucket");
    uint32_t n = nats->peer.is_ours ? nats->peer.system.n_nodes : 0, who;
    char name[64];
    for (uint32_t i = 1; i <= n && lapse_is_ok(result); i++) {
        result = configure(nats, i, error);
        if (lapse_is_ok(result))
            result = start_node(nats, i, error);
    }
    for (uint32_t i = 1; i <= n && lapse_is_ok(result); i++)
        result = wait_for_node(nats, i, error);
    while (lapse_is_ok(result) && !(server_name(nats, 1, name) && make_bucket(nats)))
        result = peer_wait_more(&nats->peer, &wait, error);
    return lapse_is_ok(result) ? leader(&nats->peer.system, &who, error) : result;
}

static void stop(struct system *system)
{
    if (system == NULL)
        return;
    peer_end(&of_system(system)->peer);
    free(of_system(system));
}

static lapse_result start(const struct system_options *options, struct system **system, struct lapse_error *error)
{
    struct nats *nats = mem_calloc(1, sizeof *nats);
    lapse_result result = peer_begin(&nats->peer, &kind_nats, options, "nats-server", N_PORTS, error);
    if (lapse_is_ok(result))
        result = start_nodes(nats, error);
    if (lapse_is_ok(result))
        *system = &nats->peer.system;
    else
        stop(&nats->peer.system);
    return result;
}

static lapse_result reserve(struct system *system, uint32_t n, struct lapse_error *error)
{
    (void)system, (void)n, (void)error;
    return lapse_ok();
}

/* --- writers and watchers ----------------------------------------------------------------------------------------- */

static const char *address_of(struct system *system, uint32_t node)
{
    return of_system(system)->peer.address[node - 1];
}

static lapse_result writer_open(struct system *system, struct bench_loop *loop, uint32_t node,
                                struct system_writer **writer, struct lapse_error *error)
{
    struct system_writer *one = mem_calloc(1, sizeof *one);
    one->system = system;
    lapse_result result = peer_writer_open(&one->base, loop, address_of(system, node), &nats_protocol, 0, error);
    if (lapse_is_ok(result))
        *writer = one;
    else
        free(one);
    return result;
}

static void writer_close(struct system_writer *writer)
{
    if (writer == NULL)
        return;
    peer_writer_close(&writer->base);
    free(writer);
}

static void item_make(struct system_writer *writer, uint32_t item, int64_t ttl_ms, system_done done, void *arg)
{
    CHECK(ttl_ms == 0);
    nats_put(&writer->base.link, peer_writer_number(&writer->base, done, arg), item,
             system_is_quiet(writer->system, item));
}

static void item_end(struct system_writer *writer, uint32_t item, system_done done, void *arg)
{
    nats_delete(&writer->base.link, peer_writer_number(&writer->base, done, arg), item,
                system_is_quiet(writer->system, item));
}

static void subscribe(struct peer_link *link)
{
    nats_watch(link, 0);
}

static const struct peer_link_watchers_options watching = {&nats_protocol, 0, 0, subscribe, address_of};

static lapse_result watchers_open(struct system *system, struct bench_loop *loop, uint32_t n, uint32_t node,
                                  system_gone gone, void *args, size_t size, struct system_watcher **watchers,
                                  struct lapse_error *error)
{
    return peer_watchers_open(&watching, system, loop, n, node, gone, args, size,
                              (struct peer_link_watchers **)watchers, error);
}

static void watchers_close(struct system_watcher *watchers)
{
    peer_watchers_close((struct peer_link_watchers *)watchers);
}

static const char *const tunings[] = {"default", NULL};

const struct system_kind kind_nats = {
    .name = "nats",
    .package = "nats-server",
    .tunings = tunings,
    .can = SYSTEM_CAN_FAIL_OVER | SYSTEM_CAN_WATCH,
    .is_here = is_here,
    .start = start,
    .stop = stop,
    .leader = leader,
    .restart = restart,
    .reserve = reserve,
    .writer_open = writer_open,
    .writer_close = writer_close,
    .item_make = item_make,
    .item_end = item_end,
    .watchers_open = watchers_open,
    .watchers_close = watchers_close,
};
