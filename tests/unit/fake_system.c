#include "fake_system.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"

struct call {
    struct call *next;
    struct system_writer *writer;
    uint32_t item;
    int64_t ttl_ms; /* -1: it ends the item */
    system_done done;
    void *arg;
};

struct system_writer {
    struct fake_system *fake;
    uint32_t node;
    struct call *calls; /* in order, newest first */
    uv_async_t answer;
};

struct system_watcher {
    struct fake_system *fake;
    struct system_watcher *next;
    uint32_t n, node;
    system_gone gone;
    char *args;
    size_t size;
};

struct fake_system {
    struct system system;
    struct bench_loop *loop;
    enum fake_mode mode[SYSTEM_NODES_MAX];
    bool deaf[SYSTEM_NODES_MAX];
    uint32_t calls[SYSTEM_NODES_MAX], n_items;
    uint32_t *ends;
    struct system_watcher *watchers;
};

/* --- items -------------------------------------------------------------------------------------------------------- */

static void tell(struct fake_system *fake, uint32_t item)
{
    for (struct system_watcher *watcher = fake->watchers; watcher != NULL; watcher = watcher->next)
        for (uint32_t i = 0; i < watcher->n && !fake->deaf[watcher->node - 1]; i++)
            watcher->gone(watcher->args + i * watcher->size, item);
}

static void carry_out(struct fake_system *fake, const struct call *call)
{
    CHECK(call->item < fake->n_items);
    if (call->ttl_ms >= 0)
        return;
    fake->ends[call->item]++;
    tell(fake, call->item);
}

/* --- writers ------------------------------------------------------------------------------------------------------ */

static void on_answer(uv_async_t *handle)
{
    struct system_writer *writer = handle->data;
    struct fake_system *fake = writer->fake;
    struct call *calls = writer->calls;
    const struct lapse_error dead = {LAPSE_UNAVAILABLE, "dead"}, refused = {LAPSE_INVALID_ARGUMENT, "no such thing"};
    enum fake_mode mode = fake->mode[writer->node - 1];
    if (mode == FAKE_HANGS)
        return;
    writer->calls = NULL;
    while (calls != NULL) {
        struct call *call = calls;
        calls = call->next;
        if (mode == FAKE_UP)
            carry_out(fake, call);
        call->done(call->arg, mode == FAKE_UP ? NULL : mode == FAKE_DEAD ? &dead : &refused);
        free(call);
    }
}

static void open_writer(void *arg)
{
    struct system_writer *writer = arg;
    CHECK(uv_async_init(bench_loop_uv(writer->fake->loop), &writer->answer, on_answer) == 0);
    writer->answer.data = writer;
}

static lapse_result fake_writer_open(struct system *system, struct bench_loop *loop, uint32_t node,
                                     struct system_writer **out, struct lapse_error *error)
{
    struct fake_system *fake = (struct fake_system *)system;
    struct system_writer *writer = mem_calloc(1, sizeof *writer);
    (void)error;
    CHECK(loop == fake->loop);
    writer->fake = fake;
    writer->node = node;
    bench_loop_call(loop, open_writer, writer);
    *out = writer;
    return lapse_ok();
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void close_writer(void *arg)
{
    struct system_writer *writer = arg;
    const struct lapse_error closed = {LAPSE_CANCELLED, "closed"};
    while (writer->calls != NULL) {
        struct call *call = writer->calls;
        writer->calls = call->next;
        call->done(call->arg, &closed);
        free(call);
    }
    uv_close((uv_handle_t *)&writer->answer, on_closed);
}

static void fake_writer_close(struct system_writer *writer)
{
    if (writer != NULL)
        bench_loop_call(writer->fake->loop, close_writer, writer);
}

static void call(struct system_writer *writer, uint32_t item, int64_t ttl_ms, system_done done, void *arg)
{
    struct call *call = mem_alloc(sizeof *call);
    *call = (struct call){writer->calls, writer, item, ttl_ms, done, arg};
    writer->calls = call;
    writer->fake->calls[writer->node - 1]++;
    CHECK(uv_async_send(&writer->answer) == 0);
}

static void fake_item_make(struct system_writer *writer, uint32_t item, int64_t ttl_ms, system_done done, void *arg)
{
    call(writer, item, ttl_ms, done, arg);
}

static void fake_item_end(struct system_writer *writer, uint32_t item, system_done done, void *arg)
{
    call(writer, item, -1, done, arg);
}

/* --- watchers ----------------------------------------------------------------------------------------------------- */

static void link_watchers(void *arg)
{
    struct system_watcher *watchers = arg;
    watchers->next = watchers->fake->watchers;
    watchers->fake->watchers = watchers;
}

static lapse_result fake_watchers_open(struct system *system, struct bench_loop *loop, uint32_t n, uint32_t node,
                                       system_gone gone, void *args, size_t size, struct system_watcher **out,
                                       struct lapse_error *error)
{
    struct system_watcher *watchers = mem_calloc(1, sizeof *watchers);
    (void)error;
    *watchers = (struct system_watcher){(struct fake_system *)system, NULL, n, node, gone, args, size};
    bench_loop_call(loop, link_watchers, watchers);
    *out = watchers;
    return lapse_ok();
}

static void unlink_watchers(void *arg)
{
    struct system_watcher *watchers = arg, **link = &watchers->fake->watchers;
    while (*link != watchers)
        link = &(*link)->next;
    *link = watchers->next;
}

static void fake_watchers_close(struct system_watcher *watchers)
{
    bench_loop_call(watchers->fake->loop, unlink_watchers, watchers);
    free(watchers);
}

/* --- the system --------------------------------------------------------------------------------------------------- */

static const struct system_kind kind = {
    .name = "fake",
    .can = SYSTEM_CAN_WATCH,
    .writer_open = fake_writer_open,
    .writer_close = fake_writer_close,
    .item_make = fake_item_make,
    .item_end = fake_item_end,
    .watchers_open = fake_watchers_open,
    .watchers_close = fake_watchers_close,
};

struct fake_system *fake_system_new(struct bench_loop *loop, uint32_t nodes, uint32_t items)
{
    struct fake_system *fake = mem_calloc(1, sizeof *fake);
    fake->system.kind = &kind;
    fake->system.n_nodes = nodes;
    fake->loop = loop;
    fake->n_items = items;
    fake->ends = mem_calloc(items, sizeof *fake->ends);
    return fake;
}

void fake_system_free(struct fake_system *fake)
{
    CHECK(fake->watchers == NULL);
    free(fake->ends);
    free(fake);
}

struct system *fake_system_of(struct fake_system *fake)
{
    return &fake->system;
}

struct change {
    struct fake_system *fake;
    uint32_t node, found;
    enum fake_mode mode;
    bool deaf;
};

static void change_mode(void *arg)
{
    struct change *change = arg;
    change->fake->mode[change->node - 1] = change->mode;
}

void fake_system_set(struct fake_system *fake, uint32_t node, enum fake_mode mode)
{
    struct change change = {.fake = fake, .node = node, .mode = mode};
    bench_loop_call(fake->loop, change_mode, &change);
}

static void change_hearing(void *arg)
{
    struct change *change = arg;
    change->fake->deaf[change->node - 1] = change->deaf;
}

void fake_system_deafen(struct fake_system *fake, uint32_t node, bool deaf)
{
    struct change change = {.fake = fake, .node = node, .deaf = deaf};
    bench_loop_call(fake->loop, change_hearing, &change);
}

static void read_ends(void *arg)
{
    struct change *change = arg;
    change->found = change->fake->ends[change->node];
}

uint32_t fake_system_ends(struct fake_system *fake, uint32_t item)
{
    struct change change = {.fake = fake, .node = item};
    bench_loop_call(fake->loop, read_ends, &change);
    return change.found;
}

static void read_calls(void *arg)
{
    struct change *change = arg;
    change->found = change->fake->calls[change->node - 1];
}

uint32_t fake_system_calls(struct fake_system *fake, uint32_t node)
{
    struct change change = {.fake = fake, .node = node};
    bench_loop_call(fake->loop, read_calls, &change);
    return change.found;
}

/* The pool and the tally ask whether the nodes still run: there are none. */
lapse_result system_check(struct system *system, struct lapse_error *error)
{
    (void)system, (void)error;
    return lapse_ok();
}
