/* Watchers: a connection each, with one Watch stream of all grants. One that is cut off comes back behind what it has
 * seen, so that it misses nothing.
 *
 * An event's bytes are looked at only as far as the grant's ticket: a decoded copy of it is not what is measured. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/wire.h"
#include "bench/harness/report.h"
#include "bench/lapse/cluster_internal.h"
#include "client/schema.h"

/* Connections that shake hands at one time, and how long a batch of them may take. */
#define BATCH 256u
#define PATIENCE_MS 120000
/* Connections of one principal that a node takes, unless it is told otherwise. */
#define WATCHERS_PER_NODE 4096u
/* Marks while nothing happens, of thousands of watchers, would be in what is measured. */
#define PROGRESS_MS 60000

/* lapse.v1.WatchResponse, Event, Grant, Progress and WatchCreated */
enum {
    WATCH_EPOCH = 1,
    WATCH_EVENT = 2,
    WATCH_PROGRESS = 3,
    WATCH_SNAPSHOT_GRANT = 5,
    WATCH_SNAPSHOT_END = 6,
    WATCH_CREATED = 7
};
enum { EVENT_REVISION = 1, EVENT_TYPE = 3, EVENT_GRANT = 4 };
enum { GRANT_STATE = 2, GRANT_TICKET = 7 };
enum { MARK_REVISION = 1 };

struct watcher {
    struct system_watcher *all;
    struct grpc_link *link;
    void *arg;
    bool in_place;
    uint64_t epoch, revision; /* behind which to go on; 0: from now on */
};

struct system_watcher {
    struct cluster *cluster;
    struct bench_loop *loop;
    struct bench_gate *gate;
    system_gone gone;
    struct socket_target targets[SYSTEM_NODES_MAX];
    uint32_t node, n, n_open;   /* n_open: those that have a link */
    struct lapse_error trouble; /* the latest failure; the loop's while it runs */
    struct watcher each[];
};

/* --- what a stream says ------------------------------------------------------------------------------------------- */

static void take_grant(struct watcher *watcher, struct slice bytes)
{
    struct wire_reader grant = wire_reader(bytes);
    struct wire_field field;
    uint64_t state = 0;
    uint32_t item;
    while (wire_next(&grant, &field))
        if (field.number == GRANT_STATE) {
            state = field.value;
        } else if (field.number == GRANT_TICKET) {
            if (state >= LAPSE_STATE_EXPIRED && cluster_ticket_parse(watcher->all->cluster, field.bytes, &item))
                watcher->all->gone(watcher->arg, item);
            return;
        }
}

static void take_event(struct watcher *watcher, struct slice bytes)
{
    struct wire_reader event = wire_reader(bytes);
    struct wire_field field;
    uint64_t type = 0;
    while (wire_next(&event, &field))
        if (field.number == EVENT_REVISION) {
            watcher->revision = field.value;
        } else if (field.number == EVENT_TYPE) {
            type = field.value;
        } else if (field.number == EVENT_GRANT) {
            if (type >= LAPSE_EVENT_EXPIRED && type <= LAPSE_EVENT_LAPSED)
                take_grant(watcher, field.bytes);
            return;
        }
}

static void take_mark(struct watcher *watcher, struct slice bytes)
{
    struct wire_reader mark = wire_reader(bytes);
    struct wire_field field;
    while (wire_next(&mark, &field))
        if (field.number == MARK_REVISION)
            watcher->revision = field.value;
}

static void now_in_place(struct watcher *watcher)
{
    if (watcher->in_place)
        return;
    watcher->in_place = true;
    bench_gate_step(watcher->all->gate);
}

static void on_message(void *arg, struct slice message)
{
    struct watcher *watcher = arg;
    struct wire_reader reader = wire_reader(message);
    struct wire_field field;
    while (wire_next(&reader, &field))
        switch (field.number) {
        case WATCH_EPOCH:
            watcher->epoch = field.value;
            break;
        case WATCH_EVENT:
            take_event(watcher, field.bytes);
            break;
        case WATCH_SNAPSHOT_GRANT:
            take_grant(watcher, field.bytes);
            break;
        case WATCH_CREATED:
            if (watcher->revision == 0)
                take_mark(watcher, field.bytes);
            now_in_place(watcher);
            break;
        case WATCH_PROGRESS:
        case WATCH_SNAPSHOT_END:
            take_mark(watcher, field.bytes);
            break;
        default:
            break;
        }
}

static void on_end(void *arg, const struct lapse_error *why)
{
    struct watcher *watcher = arg;
    if (why->code == LAPSE_CANCELLED)
        return;
    watcher->all->trouble = *why;
    grpc_link_drop(watcher->link, "its stream ended"); /* and is dialled again */
}

/* --- connections -------------------------------------------------------------------------------------------------- */

static void on_up(void *arg)
{
    static const struct grpc_stream_handler handler = {on_message, on_end};
    struct watcher *watcher = arg;
    struct lapse_watch_options options = {
        .scope = {.resource = watcher->all->cluster->system.quiet_from == 0 ? NULL : "db/*"},
        .epoch = watcher->epoch,
        .revision = watcher->revision,
        .progress_ms = PROGRESS_MS};
    struct buf request;
    buf_init(&request, 256);
    CHECK(lapse_is_ok(codec_encode(&schema_watch_options, &options, &request)));
    grpc_link_stream(watcher->link, "/lapse.v1.Grants/Watch", buf_slice(&request), false, &handler, watcher);
    buf_free(&request);
}

static void on_down(void *arg, const struct lapse_error *why)
{
    struct watcher *watcher = arg;
    watcher->all->trouble = *why;
}

static void open_batch(void *arg)
{
    static const struct grpc_link_handler handler = {on_up, on_down};
    struct system_watcher *all = arg;
    for (uint32_t i = 0; i < BATCH && all->n_open < all->n; i++) {
        struct watcher *watcher = &all->each[all->n_open];
        uint32_t node = all->node != 0 ? all->node : all->n_open % all->cluster->system.n_nodes + 1;
        watcher->link = grpc_link_new(all->loop, &all->targets[node - 1], &handler, watcher);
        all->n_open++;
    }
}

static void copy_trouble(void *arg)
{
    struct lapse_error **both = arg;
    *both[0] = *both[1];
}

static lapse_result open_all(struct system_watcher *all, struct lapse_error *error)
{
    while (all->n_open < all->n) {
        uint32_t left = all->n - all->n_open;
        progress("opening watchers", all->n_open, all->n);
        bench_gate_expect(all->gate, left < BATCH ? left : BATCH);
        bench_loop_call(all->loop, open_batch, all);
        if (!bench_gate_wait(all->gate, PATIENCE_MS)) {
            struct lapse_error last, *both[] = {&last, &all->trouble};
            bench_loop_call(all->loop, copy_trouble, both);
            return bench_interrupted()
                       ? lapse_fail(error, LAPSE_CANCELLED, "interrupted")
                       : lapse_fail(error, LAPSE_UNAVAILABLE, "watchers are not in place: %.200s", last.message);
        }
    }
    progress_end();
    return lapse_ok();
}

/* Too many would be refused for ever, silently. */
static lapse_result check_room(const struct system *system, uint32_t n, uint32_t node, struct lapse_error *error)
{
    uint32_t nodes = node != 0 ? 1 : system->n_nodes;
    bool ours = system->nodes[0].pid != 0 && strstr(system->flags, "connections-per-principal") == NULL;
    if (!ours || n <= nodes * WATCHERS_PER_NODE)
        return lapse_ok();
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                      "%u watchers are more than %u on each of %u nodes: ask for fewer, for more --nodes, or give "
                      "--node-flag=--limits-connections-per-principal=N",
                      n, WATCHERS_PER_NODE, nodes);
}

lapse_result cluster_watchers_open(struct system *system, struct bench_loop *loop, uint32_t n, uint32_t node,
                                   system_gone gone, void *args, size_t size, struct system_watcher **watchers,
                                   struct lapse_error *error)
{
    lapse_result result = check_room(system, n, node, error);
    if (!lapse_is_ok(result))
        return result;
    struct system_watcher *all = mem_calloc(1, sizeof *all + n * sizeof all->each[0]);
    all->cluster = cluster_of(system);
    all->loop = loop;
    all->gate = bench_gate_new();
    all->gone = gone;
    all->node = node;
    all->n = n;
    (void)lapse_fail(&all->trouble, LAPSE_UNAVAILABLE, "no answer");
    for (uint32_t i = 0; i < n; i++) {
        all->each[i].all = all;
        all->each[i].arg = (char *)args + i * size;
    }
    for (uint32_t i = 1; i <= system->n_nodes && lapse_is_ok(result); i++)
        result = cluster_target(all->cluster, i, CLUSTER_ENFORCER, &all->targets[i - 1], error);
    if (lapse_is_ok(result))
        result = open_all(all, error);
    if (lapse_is_ok(result))
        *watchers = all;
    else
        cluster_watchers_close(all);
    return result;
}

static void on_closed(void *arg)
{
    struct system_watcher *all = arg;
    bench_gate_step(all->gate);
}

static void close_all(void *arg)
{
    struct system_watcher *all = arg;
    /* A watcher that never came into place has not made its step. */
    for (uint32_t i = 0; i < all->n_open; i++)
        now_in_place(&all->each[i]);
    bench_gate_expect(all->gate, all->n_open);
    for (uint32_t i = 0; i < all->n_open; i++)
        grpc_link_free(all->each[i].link, on_closed, all);
}

void cluster_watchers_close(struct system_watcher *all)
{
    if (all == NULL)
        return;
    bench_loop_call(all->loop, close_all, all);
    while (!bench_gate_wait(all->gate, 1000))
        uv_sleep(1);
    bench_gate_free(all->gate);
    free(all);
}
