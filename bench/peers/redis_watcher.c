/* Watchers of Redis: a connection each, subscribed to the events `del` and `expired` of all keys. A replica deletes
 * what has expired at the primary, and says `del`.
 *
 * Thousands of them share one thread, so they are as lean as those of the other systems (harness/socket.h): by hiredis,
 * which the writers use, a fifth of the readers' time would be its own. */
#include "bench/peers/redis.h"

#include <stdlib.h>
#include <uv.h>

#include "base/check.h"
#include "bench/peers/peer_fleet.h"
#include "bench/peers/redis_push.h"

#define N_CHANNELS 2
#define REST_MAX 131072

static const char subscribe[] =
    "*3\r\n$9\r\nSUBSCRIBE\r\n$18\r\n__keyevent@0__:del\r\n$22\r\n__keyevent@0__:expired\r\n";

struct watcher {
    struct system_watcher *all;
    struct socket *socket; /* NULL: none yet, or lost */
    void *arg;
    uint32_t confirmed;
    struct buf rest; /* a push that isn't whole yet */
};

struct system_watcher {
    struct peer_fleet fleet;
    const struct socket_target *targets;
    system_gone gone;
    struct watcher each[];
};

static struct system_watcher *of_fleet(struct peer_fleet *fleet)
{
    return CONTAINER_OF(fleet, struct system_watcher, fleet);
}

static void opening_failed(struct watcher *watcher, const char *why)
{
    struct system_watcher *all = watcher->all;
    peer_fleet_failed(&all->fleet, (uint32_t)(watcher - all->each), why);
}

static void on_confirmed(struct watcher *watcher)
{
    if (++watcher->confirmed == N_CHANNELS)
        peer_fleet_in_place(&watcher->all->fleet);
}

static void on_push(struct watcher *watcher, const struct redis_push *push)
{
    uint32_t item;
    if (push->kind == REDIS_PUSH_SUBSCRIBED)
        on_confirmed(watcher);
    else if (peer_item(push->key, &item))
        watcher->all->gone(watcher->arg, item);
}

/* Returns what is left: part of a push. */
static struct slice take_pushes(struct watcher *watcher, struct slice bytes)
{
    struct redis_push push;
    size_t len;
    while ((len = redis_push_take(bytes, &push)) != 0 && len != REDIS_PUSH_MALFORMED) {
        on_push(watcher, &push);
        bytes = slice_of(bytes.data + len, bytes.len - len);
    }
    if (len == REDIS_PUSH_MALFORMED) {
        char said[120];
        size_t n = 0;
        while (n < bytes.len && n < sizeof said - 1 && bytes.data[n] >= ' ')
            n++;
        opening_failed(watcher, slice_to_cstr(slice_of(bytes.data, n), said, sizeof said) ? said : "malformed event");
        socket_close(watcher->socket);
        bytes.len = 0;
    }
    return bytes;
}

static void on_data(void *arg, struct slice bytes)
{
    struct watcher *watcher = arg;
    if (watcher->rest.len == 0) {
        struct slice left = take_pushes(watcher, bytes);
        CHECK(lapse_is_ok(buf_append(&watcher->rest, left.data, left.len)));
        return;
    }
    CHECK(lapse_is_ok(buf_append(&watcher->rest, bytes.data, bytes.len)));
    struct slice left = take_pushes(watcher, buf_slice(&watcher->rest));
    buf_consume(&watcher->rest, watcher->rest.len - left.len);
}

static void on_open(void *arg)
{
    struct watcher *watcher = arg;
    socket_write(watcher->socket, slice_str(subscribe));
}

static void on_close(void *arg, const struct lapse_error *why)
{
    struct watcher *watcher = arg;
    watcher->socket = NULL;
    opening_failed(watcher, why->message);
    peer_fleet_closed(&watcher->all->fleet);
}

static void dial(struct peer_fleet *fleet, uint32_t i)
{
    static const struct socket_handler handler = {on_open, on_data, on_close};
    struct system_watcher *all = of_fleet(fleet);
    all->each[i].socket =
        socket_dial(bench_loop_uv(fleet->loop), &all->targets[peer_fleet_node(fleet, i) - 1], &handler, &all->each[i]);
}

static bool hang_up(struct peer_fleet *fleet, uint32_t i)
{
    struct socket *socket = of_fleet(fleet)->each[i].socket;
    if (socket != NULL)
        socket_close(socket);
    return socket != NULL;
}

lapse_result redis_watchers_open(struct system *system, struct bench_loop *loop, uint32_t n, uint32_t node,
                                 system_gone gone, void *args, size_t size, struct system_watcher **out,
                                 struct lapse_error *error)
{
    static const struct peer_fleet_ops ops = {dial, hang_up};
    const struct redis_system *redis = redis_of(system);
    struct system_watcher *all = mem_calloc(1, sizeof *all + n * sizeof all->each[0]);
    all->fleet = (struct peer_fleet){.ops = &ops, .peer = &redis->peer, .loop = loop, .n = n, .node = node};
    all->targets = redis->targets;
    all->gone = gone;
    for (uint32_t i = 0; i < n; i++) {
        all->each[i] = (struct watcher){.all = all, .arg = (char *)args + i * size};
        buf_init(&all->each[i].rest, REST_MAX);
    }
    lapse_result result = peer_fleet_open(&all->fleet, error);
    if (lapse_is_ok(result))
        *out = all;
    else
        redis_watchers_close(all);
    return result;
}

void redis_watchers_close(struct system_watcher *all)
{
    if (all == NULL)
        return;
    peer_fleet_close(&all->fleet);
    for (uint32_t i = 0; i < all->fleet.n; i++)
        buf_free(&all->each[i].rest);
    free(all);
}
