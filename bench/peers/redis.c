/* Redis as its users run it for this: a primary and replicas, an append-only file that is synced before each answer,
 * and WAIT behind each write until so many replicas have it that, with the primary, a majority has. That is no
 * consensus: nothing elects another primary, and a replica confirms what it has in memory, not on its disk. So this
 * kind does not fail over by itself (Sentinel is not part of it), and node 1 is the primary for good.
 *
 * Ends are told by keyspace events: `del` and `expired`, on the primary and on every replica. */
#include "bench/peers/redis.h"

#include <hiredis/adapters/libuv.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "base/check.h"
#include "bench/peers/kinds.h"

#define CALL_TIMEOUT_S 5

static const char *const tunings[] = {"default", "tuned", "nowait", NULL};

static bool is_here(void)
{
    char path[PROCESS_PATH_SIZE];
    return process_find("redis-server", path);
}

/* --- connections -------------------------------------------------------------------------------------------------- */

/* "host:port" in two. */
static bool split(const char *address, char host[PEER_ADDRESS_SIZE], int *port)
{
    const char *colon = strrchr(address, ':');
    return colon != NULL && slice_to_cstr(slice_of(address, (size_t)(colon - address)), host, PEER_ADDRESS_SIZE) &&
           (*port = atoi(colon + 1)) > 0;
}

redisAsyncContext *redis_connect(uv_loop_t *loop, const char *address, void *data, struct lapse_error *error)
{
    char host[PEER_ADDRESS_SIZE];
    int port;
    if (!split(address, host, &port)) {
        (void)lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s: not HOST:PORT", address);
        return NULL;
    }
    redisAsyncContext *context = redisAsyncConnect(host, port);
    CHECK(context != NULL); /* out of memory */
    if (context->err != 0) {
        (void)lapse_fail(error, LAPSE_UNAVAILABLE, "%s: %s", address, context->errstr);
        redisAsyncFree(context);
        return NULL;
    }
    context->data = data;
    CHECK(redisLibuvAttach(context, loop) == REDIS_OK);
    return context;
}

/* A question to a node, from the scenario's thread: its answer in `out` (cut to `size`). */
static lapse_result ask(const struct peer *peer, uint32_t node, const char *question, char *out, size_t size,
                        struct lapse_error *error)
{
    char host[PEER_ADDRESS_SIZE];
    int port = 0;
    const char *address = peer->address[node - 1];
    if (!split(address, host, &port))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s: not HOST:PORT", address);
    redisContext *context = redisConnectWithTimeout(host, port, (struct timeval){CALL_TIMEOUT_S, 0});
    CHECK(context != NULL);
    redisReply *reply = NULL;
    if (context->err == 0 && redisSetTimeout(context, (struct timeval){CALL_TIMEOUT_S, 0}) == REDIS_OK)
        reply = redisCommand(context, question);
    lapse_result result = lapse_ok();
    if (reply == NULL)
        result = lapse_fail(error, LAPSE_UNAVAILABLE, "%s: %s", address, context->errstr);
    else if (reply->type == REDIS_REPLY_ERROR)
        result = lapse_fail(error, LAPSE_UNAVAILABLE, "%s: %s", address, reply->str);
    else
        snprintf(out, size, "%s", reply->str == NULL ? "" : reply->str);
    if (reply != NULL)
        freeReplyObject(reply);
    redisFree(context);
    return result;
}

/* A line "name:value" of an answer to INFO. */
static bool field(const char *info, const char *name, char *out, size_t size)
{
    size_t len = strlen(name);
    for (const char *line = info; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) == 0 && line[len] == ':') {
            line += len + 1;
            return slice_to_cstr(slice_of(line, strcspn(line, "\r\n")), out, size);
        }
    }
    return false;
}

static bool field_is(const char *info, const char *name, const char *value)
{
    char found[64];
    return field(info, name, found, sizeof found) && strcmp(found, value) == 0;
}

/* --- servers ------------------------------------------------------------------------------------------------------ */

static void tune(const struct redis_system *redis, struct peer_args *args)
{
    peer_flag(args, "--appendonly");
    peer_flag(args, "yes");
    peer_flag(args, "--appendfsync");
    peer_flag(args, "always");
    peer_flag(args, "--save"); /* the append-only file is enough; no forks beside it */
    peer_flag(args, "%s", "");
    peer_flag(args, "--notify-keyspace-events");
    peer_flag(args, "Egx");
    peer_flag(args, "--maxclients");
    peer_flag(args, "20000");
    if (strcmp(redis->peer.system.tuning, "tuned") != 0)
        return;
    peer_flag(args, "--hz");
    peer_flag(args, "100");
    peer_flag(args, "--active-expire-effort");
    peer_flag(args, "10");
}

static lapse_result start_node(struct redis_system *redis, uint32_t node, struct lapse_error *error)
{
    struct peer *peer = &redis->peer;
    struct peer_args args = {0};
    peer_place(&args, "--port");
    peer_place(&args, "%u", peer->ports[node - 1][0]);
    peer_place(&args, "--bind");
    peer_place(&args, "127.0.0.1");
    peer_place(&args, "--dir");
    peer_place(&args, "%s/node%u", peer->system.dir, node);
    peer_place(&args, "--repl-diskless-sync-delay"); /* or a start takes five seconds */
    peer_place(&args, "0");
    if (node > 1) {
        peer_place(&args, "--replicaof");
        peer_place(&args, "127.0.0.1 %u", peer->ports[0][0]);
    }
    tune(redis, &args);
    return peer_start_node(peer, node, &args, error);
}

/* It takes calls. */
static bool is_up(struct redis_system *redis, uint32_t node, char *info, size_t size)
{
    return lapse_is_ok(ask(&redis->peer, node, "INFO", info, size, NULL)) && field_is(info, "loading", "0");
}

static bool is_caught_up(uint32_t node, const char *info)
{
    return node == 1 || field_is(info, "master_link_status", "up");
}

static lapse_result wait_for(struct redis_system *redis, uint32_t node, const char *what, struct lapse_error *error)
{
    char info[16384];
    const struct peer_wait wait = peer_wait_for(what);
    struct system *system = &redis->peer.system;
    lapse_result result = lapse_ok();
    while (lapse_is_ok(result)) {
        bool up = is_up(redis, node, info, sizeof info);
        if (up && system->ready_ns == 0)
            system->ready_ns = bench_now_ns();
        if (up && is_caught_up(node, info)) {
            (void)field(info, "redis_version", system->version, sizeof system->version);
            return result;
        }
        result = peer_wait_more(&redis->peer, &wait, error);
    }
    return result;
}

static void stop(struct system *system)
{
    if (system == NULL)
        return;
    peer_end(&redis_of(system)->peer);
    free(redis_of(system));
}

static lapse_result start(const struct system_options *options, struct system **system, struct lapse_error *error)
{
    struct redis_system *redis = mem_calloc(1, sizeof *redis);
    struct peer *peer = &redis->peer;
    lapse_result result = peer_begin(peer, &kind_redis, options, "redis-server", 1, error);
    for (uint32_t i = 0; i < peer->system.n_nodes && lapse_is_ok(result); i++)
        result = socket_target_parse(peer->address[i], NULL, &redis->targets[i], error);
    for (uint32_t node = 1; node <= peer->system.n_nodes && peer->is_ours && lapse_is_ok(result); node++)
        result = start_node(redis, node, error);
    for (uint32_t node = 1; node <= peer->system.n_nodes && lapse_is_ok(result); node++)
        result = wait_for(redis, node, "the start", error);
    if (!lapse_is_ok(result)) {
        stop(&peer->system);
        return result;
    }
    if (strcmp(peer->system.tuning, "nowait") != 0)
        redis->replicas_needed = peer->system.n_nodes / 2;
    *system = &peer->system;
    return result;
}

static lapse_result leader(struct system *system, uint32_t *node, struct lapse_error *error)
{
    if (redis_of(system)->peer.is_ours && system->nodes[0].pid == 0)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "redis: the primary is dead, and nothing elects another");
    *node = 1;
    return lapse_ok();
}

static lapse_result restart(struct system *system, uint32_t node, struct lapse_error *error)
{
    struct redis_system *redis = redis_of(system);
    CHECK(redis->peer.is_ours && node >= 1 && node <= system->n_nodes && system->nodes[node - 1].pid == 0);
    system->ready_ns = 0;
    lapse_result result = start_node(redis, node, error);
    return lapse_is_ok(result) ? wait_for(redis, node, "a restarted node", error) : result;
}

static lapse_result metric(struct system *system, uint32_t node, const char *name, double *value,
                           struct lapse_error *error)
{
    char info[4096], text[32];
    if (strcmp(name, "accounted_bytes") != 0)
        return lapse_fail(error, LAPSE_NOT_FOUND, "redis has no metric %s", name);
    lapse_result result = ask(&redis_of(system)->peer, node, "INFO memory", info, sizeof info, error);
    if (!lapse_is_ok(result))
        return result;
    if (!field(info, "used_memory", text, sizeof text))
        return lapse_fail(error, LAPSE_NOT_FOUND, "redis doesn't say what it uses");
    *value = strtod(text, NULL);
    return result;
}

const struct system_kind kind_redis = {
    .name = "redis",
    .package = "redis-server",
    .tunings = tunings,
    .can = SYSTEM_CAN_EXPIRE | SYSTEM_CAN_WATCH,
    .ttl_ms_min = 1,
    .is_here = is_here,
    .start = start,
    .stop = stop,
    .leader = leader,
    .restart = restart,
    .metric = metric,
    .writer_open = redis_writer_open,
    .writer_close = redis_writer_close,
    .item_make = redis_item_make,
    .item_end = redis_item_end,
    .watchers_open = redis_watchers_open,
    .watchers_close = redis_watchers_close,
};
