/* Watchers of Redis: a connection each, subscribed to the events `del` and `expired` of all keys. A replica deletes
 * what has expired at the primary, and says `del`.
 *
 * Thousands of them share one thread, so they are as lean as those of the other systems (harness/socket.h): by hiredis,
 * which the writers use, a fifth of the readers' time would be its own. */
#include "bench/peers/redis.h"

#include <stdlib.h>
#include <uv.h>

#include "base/check.h"
#include "bench/peers/redis_push.h"

#define OPENING_MAX 64 /* at a time: a listener's queue is short */
#define N_CHANNELS 2
#define PATIENCE_MS 60000
#define REST_MAX 131072

static const char subscribe[] =
    "*3\r\n$9\r\nSUBSCRIBE\r\n$18\r\n__keyevent@0__:del\r\n$22\r\n__keyevent@0__:expired\r\n";

struct watcher {
    struct system_watcher *all;
    struct socket *socket; /* NULL: none yet, or lost */
    void *arg;
    uint32_t node, confirmed;
    struct buf rest; /* a push that isn't whole yet */
};

struct system_watcher {
    struct redis_system *redis;
    struct bench_loop *loop;
    system_gone gone;
    struct bench_gate *opening; /* while watchers_open waits */
    struct lapse_error error;   /* of the first that failed while opening */
    struct bench_gate *closing; /* while watchers_close waits */
    uint32_t n, begun, in_place;
    struct watcher each[];
};

static void open_more(struct system_watcher *all);

static void opening_failed(struct watcher *watcher, const char *why)
{
    struct system_watcher *all = watcher->all;
    if (all->opening == NULL || all->error.code != LAPSE_OK)
        return;
    (void)lapse_fail(&all->error, LAPSE_UNAVAILABLE, "redis at %s: %s (watcher %u of %u)",
                     all->redis->peer.address[watcher->node - 1], why, all->in_place + 1, all->n);
    bench_gate_step(all->opening);
}

static void on_confirmed(struct watcher *watcher)
{
    struct system_watcher *all = watcher->all;
    if (++watcher->confirmed < N_CHANNELS)
        return;
    all->in_place++;
    if (all->in_place < all->n)
        open_more(all);
    else if (all->opening != NULL && all->error.code == LAPSE_OK)
        bench_gate_step(all->opening);
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
    if (watcher->all->closing != NULL)
        bench_gate_step(watcher->all->closing);
}

static void open_more(struct system_watcher *all)
{
    static const struct socket_handler handler = {on_open, on_data, on_close};
    while (all->begun < all->n && all->begun - all->in_place < OPENING_MAX && all->error.code == LAPSE_OK) {
        struct watcher *watcher = &all->each[all->begun++];
        watcher->socket =
            socket_dial(bench_loop_uv(all->loop), &all->redis->targets[watcher->node - 1], &handler, watcher);
    }
}

static void open_work(void *arg)
{
    struct system_watcher *all = arg;
    bench_gate_expect(all->opening, 1);
    open_more(all);
}

static void opened_work(void *arg)
{
    struct system_watcher *all = arg;
    all->opening = NULL;
}

static struct system_watcher *watchers_new(struct redis_system *redis, uint32_t n, uint32_t node, char *args,
                                           size_t size)
{
    struct system_watcher *all = mem_calloc(1, sizeof *all + n * sizeof all->each[0]);
    all->redis = redis;
    all->n = n;
    for (uint32_t i = 0; i < n; i++) {
        all->each[i].all = all;
        all->each[i].arg = args + i * size;
        buf_init(&all->each[i].rest, REST_MAX);
        all->each[i].node = node != 0 ? node : i % redis->peer.system.n_nodes + 1;
    }
    return all;
}

lapse_result redis_watchers_open(struct system *system, struct bench_loop *loop, uint32_t n, uint32_t node,
                                 system_gone gone, void *args, size_t size, struct system_watcher **out,
                                 struct lapse_error *error)
{
    struct system_watcher *all = watchers_new(redis_of(system), n, node, args, size);
    struct bench_gate *gate = bench_gate_new();
    all->loop = loop;
    all->gone = gone;
    all->opening = gate;
    bench_loop_call(loop, open_work, all);
    bool opened = bench_gate_wait(gate, PATIENCE_MS);
    bench_loop_call(loop, opened_work, all);
    bench_gate_free(gate);
    if (!opened)
        (void)lapse_fail(&all->error, bench_interrupted() ? LAPSE_CANCELLED : LAPSE_UNAVAILABLE,
                         "redis: %u of %u watchers are in place after %d s", all->in_place, n, PATIENCE_MS / 1000);
    if (all->error.code == LAPSE_OK) {
        *out = all;
        return lapse_ok();
    }
    lapse_result result = lapse_fail(error, all->error.code, "%s", all->error.message);
    redis_watchers_close(all);
    return result;
}

static void close_work(void *arg)
{
    struct system_watcher *all = arg;
    for (uint32_t i = 0; i < all->n; i++)
        if (all->each[i].socket != NULL) {
            bench_gate_expect(all->closing, 1);
            socket_close(all->each[i].socket);
        }
}

void redis_watchers_close(struct system_watcher *all)
{
    if (all == NULL)
        return;
    all->closing = bench_gate_new();
    bench_loop_call(all->loop, close_work, all);
    while (!bench_gate_wait(all->closing, PATIENCE_MS)) /* also when a signal came: the sockets are in use until then */
        uv_sleep(1);
    bench_gate_free(all->closing);
    for (uint32_t i = 0; i < all->n; i++)
        buf_free(&all->each[i].rest);
    free(all);
}
