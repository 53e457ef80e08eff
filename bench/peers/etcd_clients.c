/* Writers and watchers of etcd: a connection each.
 *
 *   item_make with a deadline: LeaseGrant, then Put with that lease: two calls, as every user of etcd makes them
 *   watchers: one Watch each of the deletions of all items */
#include "bench/peers/etcd.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "bench/peers/etcd_messages.h"
#include "bench/peers/peer_fleet.h"

#define CALL_MS 5000
#define OPEN_MS 10000

/* --- writers ------------------------------------------------------------------------------------------------------ */

struct system_writer {
    struct system *system;
    struct bench_loop *loop;
    struct grpc_link *link;
    struct buf message; /* of the call that is being made */
};

struct etcd_op {
    struct system_writer *writer;
    uint32_t item;
    system_done done;
    void *arg;
};

lapse_result etcd_writer_open(struct system *system, struct bench_loop *loop, uint32_t node, struct system_writer **out,
                              struct lapse_error *error)
{
    struct grpc_link *link = NULL;
    CHECK(node >= 1 && node <= system->n_nodes);
    lapse_result result = grpc_link_open(loop, &etcd_of(system)->targets[node - 1], OPEN_MS, &link, error);
    if (!lapse_is_ok(result))
        return result;
    struct system_writer *writer = mem_calloc(1, sizeof *writer);
    writer->system = system;
    writer->loop = loop;
    writer->link = link;
    buf_init(&writer->message, 4096);
    *out = writer;
    return result;
}

void etcd_writer_close(struct system_writer *writer)
{
    if (writer == NULL)
        return;
    grpc_link_close(writer->loop, writer->link);
    buf_free(&writer->message);
    free(writer);
}

/* What a client would try again is UNAVAILABLE to the scenario. */
static bool is_worth_another_try(enum lapse_code code)
{
    return code == LAPSE_DEADLINE_EXCEEDED || code == LAPSE_RESOURCE_EXHAUSTED || code == LAPSE_UNKNOWN;
}

static void op_end(struct etcd_op *op, const struct lapse_error *error)
{
    struct lapse_error told;
    if (error != NULL && is_worth_another_try(error->code)) {
        (void)lapse_fail(&told, LAPSE_UNAVAILABLE, "%s", error->message);
        error = &told;
    }
    op->done(op->arg, error);
    free(op);
}

static void on_answer(void *arg, struct slice message, const struct lapse_error *error)
{
    (void)message;
    op_end(arg, error);
}

static struct etcd_op *op_new(struct system_writer *writer, uint32_t item, system_done done, void *arg)
{
    struct etcd_op *op = mem_alloc(sizeof *op);
    *op = (struct etcd_op){writer, item, done, arg};
    buf_clear(&writer->message);
    return op;
}

static void key_of(const struct system_writer *writer, char key[PEER_KEY_SIZE], uint32_t item)
{
    if (system_is_quiet(writer->system, item))
        snprintf(key, PEER_KEY_SIZE, "quiet/%08u", item);
    else
        peer_key(key, item);
}

static void put(struct etcd_op *op, uint64_t lease)
{
    struct system_writer *writer = op->writer;
    char key[PEER_KEY_SIZE], value[PEER_VALUE_LEN + 1];
    key_of(writer, key, op->item);
    peer_value(value, op->item);
    buf_clear(&writer->message);
    etcd_put_request(&writer->message, slice_str(key), slice_of(value, PEER_VALUE_LEN), lease);
    grpc_link_call(writer->link, ETCD_PUT, buf_slice(&writer->message), CALL_MS, on_answer, op);
}

static void on_lease(void *arg, struct slice message, const struct lapse_error *error)
{
    struct lapse_error malformed;
    uint64_t lease = 0;
    if (error == NULL && !etcd_lease_answer(message, &lease)) {
        (void)lapse_fail(&malformed, LAPSE_INTERNAL, "etcd: no lease in the answer");
        error = &malformed;
    }
    if (error != NULL)
        op_end(arg, error);
    else
        put(arg, lease);
}

void etcd_item_make(struct system_writer *writer, uint32_t item, int64_t ttl_ms, system_done done, void *arg)
{
    struct etcd_op *op = op_new(writer, item, done, arg);
    CHECK(ttl_ms >= 0 && ttl_ms % 1000 == 0); /* kind->ttl_ms_step */
    if (ttl_ms == 0) {
        put(op, 0);
        return;
    }
    etcd_lease_request(&writer->message, (uint64_t)ttl_ms / 1000);
    grpc_link_call(writer->link, ETCD_LEASE_GRANT, buf_slice(&writer->message), CALL_MS, on_lease, op);
}

/* Deleting nothing is acknowledged, too. */
void etcd_item_end(struct system_writer *writer, uint32_t item, system_done done, void *arg)
{
    struct etcd_op *op = op_new(writer, item, done, arg);
    char key[PEER_KEY_SIZE];
    key_of(writer, key, item);
    etcd_delete_request(&writer->message, slice_str(key));
    grpc_link_call(writer->link, ETCD_DELETE_RANGE, buf_slice(&writer->message), CALL_MS, on_answer, op);
}

/* --- watchers ----------------------------------------------------------------------------------------------------- */

struct watcher {
    struct system_watcher *all;
    struct grpc_link *link; /* NULL: none yet, or lost */
    void *arg;
};

struct system_watcher {
    struct peer_fleet fleet;
    const struct socket_target *targets;
    system_gone gone;
    struct buf message; /* what each says */
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

static void on_created(void *arg)
{
    struct watcher *watcher = arg;
    peer_fleet_in_place(&watcher->all->fleet);
}

static void on_deleted(void *arg, struct slice key)
{
    const struct watcher *watcher = arg;
    uint32_t item;
    if (peer_item(key, &item))
        watcher->all->gone(watcher->arg, item);
}

static void on_canceled(void *arg, struct slice reason)
{
    char text[160];
    opening_failed(arg, slice_to_cstr(reason, text, sizeof text) ? text : "canceled");
}

static void on_message(void *arg, struct slice message)
{
    static const struct etcd_watch_handler handler = {on_created, on_deleted, on_canceled};
    if (!etcd_watch_answer(message, &handler, arg))
        opening_failed(arg, "malformed event");
}

static void on_end(void *arg, const struct lapse_error *why)
{
    opening_failed(arg, why->message);
}

static void on_up(void *arg)
{
    static const struct grpc_stream_handler handler = {on_message, on_end};
    struct watcher *watcher = arg;
    grpc_link_stream(watcher->link, ETCD_WATCH, buf_slice(&watcher->all->message), true, &handler, watcher);
}

/* A lost one is not dialled again: who lost its node opens new watchers. */
static void on_down(void *arg, const struct lapse_error *why)
{
    struct watcher *watcher = arg;
    opening_failed(watcher, why->message);
    grpc_link_free(watcher->link, NULL, NULL);
    watcher->link = NULL;
}

static void dial(struct peer_fleet *fleet, uint32_t i)
{
    static const struct grpc_link_handler handler = {on_up, on_down};
    struct system_watcher *all = of_fleet(fleet);
    all->each[i].link =
        grpc_link_new(fleet->loop, &all->targets[peer_fleet_node(fleet, i) - 1], &handler, &all->each[i]);
}

static void on_closed(void *arg)
{
    peer_fleet_closed(arg);
}

static bool hang_up(struct peer_fleet *fleet, uint32_t i)
{
    struct grpc_link *link = of_fleet(fleet)->each[i].link;
    if (link != NULL)
        grpc_link_free(link, on_closed, fleet);
    return link != NULL;
}

lapse_result etcd_watchers_open(struct system *system, struct bench_loop *loop, uint32_t n, uint32_t node,
                                system_gone gone, void *args, size_t size, struct system_watcher **out,
                                struct lapse_error *error)
{
    static const struct peer_fleet_ops ops = {dial, hang_up};
    const struct etcd_system *etcd = etcd_of(system);
    struct system_watcher *all = mem_calloc(1, sizeof *all + n * sizeof all->each[0]);
    all->fleet = (struct peer_fleet){.ops = &ops, .peer = &etcd->peer, .loop = loop, .n = n, .node = node};
    all->targets = etcd->targets;
    all->gone = gone;
    for (uint32_t i = 0; i < n; i++)
        all->each[i] = (struct watcher){.all = all, .arg = (char *)args + i * size};
    buf_init(&all->message, 256);
    /* From "items/" to the first key behind all that begin so. */
    etcd_watch_request(&all->message, slice_str(PEER_KEY_PREFIX), slice_str("items0"));
    lapse_result result = peer_fleet_open(&all->fleet, error);
    if (lapse_is_ok(result))
        *out = all;
    else
        etcd_watchers_close(all);
    return result;
}

void etcd_watchers_close(struct system_watcher *all)
{
    if (all == NULL)
        return;
    peer_fleet_close(&all->fleet);
    buf_free(&all->message);
    free(all);
}
