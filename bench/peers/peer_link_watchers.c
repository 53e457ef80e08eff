/* `n` links, opened a few at a time so that no server's backlog overflows, and closed all at once. */
#include <stdlib.h>

#include "base/check.h"
#include "bench/peers/peer_link_clients.h"

#define PATIENCE_MS 120000u
/* The first at each node are kept this often, the others a tenth as often. */
#define KEEP_MS 1000u
/* ZooKeeper's backlog is 50. */
#define OPENING_MAX 32u
#define RETRY_MS 50u
/* One that isn't told of anything for so long begins anew: NATS sometimes leaves a consumer's creation unanswered. */
#define AGAIN_AFTER_NS 5000000000

struct peer_link_watcher {
    struct peer_link link;
    struct peer_link_watchers *all;
    void *arg;
    int64_t asked_ns;
    bool told, again;
};

struct peer_link_watchers {
    const struct peer_link_watchers_options *options;
    struct bench_loop *loop;
    struct bench_gate *gate; /* all told; then, all closed */
    system_gone gone;
    uv_timer_t keep, retry;
    uint32_t n, n_nodes, started, n_told, n_kept;
    bool closing;
    struct lapse_error error; /* why one could not be opened */
    struct peer_link_watcher list[];
};

static struct peer_link_watcher *of_link(struct peer_link *link)
{
    return CONTAINER_OF(link, struct peer_link_watcher, link);
}

static void start_next(struct peer_link_watchers *all)
{
    if (all->started < all->n && all->error.code == LAPSE_OK && !all->closing)
        peer_link_open(&all->list[all->started++].link);
}

static void on_ready(struct peer_link *link)
{
    struct peer_link_watcher *watcher = of_link(link);
    watcher->asked_ns = bench_now_ns();
    watcher->all->options->subscribe(link);
}

static void on_answer(struct peer_link *link, uint32_t number, const struct lapse_error *error)
{
    struct peer_link_watcher *watcher = of_link(link);
    struct peer_link_watchers *all = watcher->all;
    (void)number;
    if (error != NULL) {
        peer_link_break(link, error->code, "%s", error->message);
        return;
    }
    if (watcher->told)
        return;
    watcher->told = true;
    if (++all->n_told == all->n)
        bench_gate_step(all->gate);
    start_next(all);
}

static void on_gone(struct peer_link *link, uint32_t item)
{
    struct peer_link_watcher *watcher = of_link(link);
    watcher->all->gone(watcher->arg, item);
}

/* As client libraries do, one that is cut off connects again, to the same node: what happened meanwhile it misses. */
static void on_retry(uv_timer_t *timer)
{
    struct peer_link_watchers *all = timer->data;
    for (uint32_t i = 0; i < all->n; i++)
        if (all->list[i].told && all->list[i].link.state == LINK_CLOSED) {
            peer_link_renew(&all->list[i].link);
            peer_link_open(&all->list[i].link);
        }
}

static void on_closed(struct peer_link *link, const struct lapse_error *why)
{
    struct peer_link_watcher *watcher = of_link(link);
    struct peer_link_watchers *all = watcher->all;
    if (all->closing) {
        bench_gate_step(all->gate);
    } else if (watcher->again) {
        watcher->again = false;
        peer_link_renew(link);
        peer_link_open(link);
    } else if (watcher->told) {
        if (!uv_is_active((uv_handle_t *)&all->retry))
            CHECK(uv_timer_start(&all->retry, on_retry, RETRY_MS, 0) == 0);
    } else if (all->error.code == LAPSE_OK) {
        (void)lapse_fail(&all->error, LAPSE_UNAVAILABLE, "watcher at %s: %s", link->address, why->message);
        bench_gate_step(all->gate);
    }
}

static const struct peer_link_user user = {on_ready, on_answer, on_gone, on_closed};

static void keep(struct peer_link_watcher *watcher, int64_t now_ns)
{
    if (watcher->link.state != LINK_READY)
        return;
    watcher->again = !watcher->told && now_ns - watcher->asked_ns > AGAIN_AFTER_NS;
    if (watcher->again)
        peer_link_close(&watcher->link);
    else if (watcher->link.protocol->keep != NULL)
        watcher->link.protocol->keep(&watcher->link);
}

static void on_keep(uv_timer_t *timer)
{
    struct peer_link_watchers *all = timer->data;
    bool each = ++all->n_kept % 10 == 0 || all->n_told < all->n || all->started < all->n_nodes;
    uint32_t n = each ? all->started : all->n_nodes;
    for (uint32_t i = 0; i < n; i++)
        keep(&all->list[i], bench_now_ns());
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static void open_on_loop(void *arg)
{
    struct peer_link_watchers *all = arg;
    CHECK(uv_timer_init(bench_loop_uv(all->loop), &all->keep) == 0);
    CHECK(uv_timer_init(bench_loop_uv(all->loop), &all->retry) == 0);
    all->keep.data = all->retry.data = all;
    CHECK(uv_timer_start(&all->keep, on_keep, KEEP_MS, KEEP_MS) == 0);
    for (uint32_t i = 0; i < OPENING_MAX; i++)
        start_next(all);
}

static struct peer_link_watchers *watchers_new(const struct peer_link_watchers_options *options, struct system *system,
                                               struct bench_loop *loop, uint32_t n, uint32_t node)
{
    struct peer_link_watchers *all = mem_calloc(1, sizeof *all + n * sizeof all->list[0]);
    all->options = options;
    all->loop = loop;
    all->n = n;
    all->n_nodes = system->n_nodes;
    all->gate = bench_gate_new();
    for (uint32_t i = 0; i < n; i++) {
        const char *address = options->address(system, node != 0 ? node : i % system->n_nodes + 1);
        peer_link_init(&all->list[i].link, bench_loop_uv(loop), address, options->protocol, &user);
        all->list[i].link.session_ms = i < system->n_nodes ? options->first_session_ms : options->session_ms;
        all->list[i].all = all;
    }
    return all;
}

lapse_result peer_watchers_open(const struct peer_link_watchers_options *options, struct system *system,
                                struct bench_loop *loop, uint32_t n, uint32_t node, system_gone gone, void *args,
                                size_t size, struct peer_link_watchers **watchers, struct lapse_error *error)
{
    struct peer_link_watchers *all = watchers_new(options, system, loop, n, node);
    CHECK(n > 0);
    all->gone = gone;
    for (uint32_t i = 0; i < n; i++)
        all->list[i].arg = (char *)args + i * size;
    bench_gate_expect(all->gate, 1);
    bench_loop_call(loop, open_on_loop, all);
    if (!bench_gate_wait(all->gate, PATIENCE_MS))
        (void)lapse_fail(error, LAPSE_UNAVAILABLE, "%s: not all of %u watchers are told within %u s",
                         system->kind->name, n, PATIENCE_MS / 1000);
    else if (all->error.code != LAPSE_OK)
        (void)lapse_fail(error, LAPSE_UNAVAILABLE, "%s", all->error.message);
    else {
        *watchers = all;
        return lapse_ok();
    }
    peer_watchers_close(all);
    return lapse_failed(LAPSE_UNAVAILABLE);
}

/* --- closing ------------------------------------------------------------------------------------------------------ */

static void on_timer_closed(uv_handle_t *handle)
{
    struct peer_link_watchers *all = handle->data;
    bench_gate_step(all->gate);
}

static void close_on_loop(void *arg)
{
    struct peer_link_watchers *all = arg;
    uint32_t open = 0;
    all->closing = true;
    bench_gate_free(all->gate); /* it may still expect that all are told */
    all->gate = bench_gate_new();
    for (uint32_t i = 0; i < all->started; i++)
        open += all->list[i].link.state != LINK_CLOSED;
    bench_gate_expect(all->gate, open + 2);
    uv_close((uv_handle_t *)&all->keep, on_timer_closed);
    uv_close((uv_handle_t *)&all->retry, on_timer_closed);
    for (uint32_t i = 0; i < all->started; i++)
        peer_link_close(&all->list[i].link);
}

void peer_watchers_close(struct peer_link_watchers *all)
{
    if (all == NULL)
        return;
    bench_loop_call(all->loop, close_on_loop, all);
    while (!bench_gate_wait(all->gate, PATIENCE_MS))
        ;
    for (uint32_t i = 0; i < all->n; i++)
        peer_link_free(&all->list[i].link);
    bench_gate_free(all->gate);
    free(all);
}
