#include "bench/harness/pool.h"

#include <stdlib.h>
#include <time.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bench/harness/pacer.h"

/* How long a node has for its answer before the next one is asked, too. */
#define HEDGE_NS (100 * 1000000LL)
#define TICK_MS 10
#define POLL_MS 5
/* Between looks whether the nodes still run, while waiting. */
#define CHECK_EVERY_MS 200

struct operation;

struct attempt {
    struct operation *operation;
    bool open; /* its outcome has not come */
};

/* A write under way: in the list until it is acknowledged, freed when its last attempt is over. */
struct operation {
    struct operation *next, **link; /* link NULL: not in the list */
    struct pool *pool;
    struct pool_write *write;
    struct attempt attempts[SYSTEM_NODES_MAX];
    uint32_t n_open, node, failures; /* the node that is asked next; failures in this round of all nodes */
    int64_t asked_ns;
};

/* What the scenario's thread waits for. */
struct progress_made {
    uint32_t sent, acked;
    bool refused;
};

struct pool {
    struct system *system;
    struct bench_loop *loop;
    struct system_writer *writers[SYSTEM_NODES_MAX];
    struct pacer *pacer;
    uv_timer_t tick;
    bool closing;

    struct pool_write *writes;
    uint32_t n, next, turn;
    uint32_t in_flight; /* closed: at most; 0: paced */
    void (*prepare)(void *arg, struct pool_write *write);
    void *arg;

    struct operation *under_way;
    struct progress_made made;
    struct lapse_error refusal;
    int64_t from_ns, first_acked_ns; /* pool_wait_first */
};

/* --- one write ---------------------------------------------------------------------------------------------------- */

static void on_done(void *arg, const struct lapse_error *error);

static void operation_unlink(struct operation *operation)
{
    if (operation->link == NULL)
        return;
    *operation->link = operation->next;
    if (operation->next != NULL)
        operation->next->link = operation->link;
    operation->link = NULL;
}

/* Asks the next node that has no attempt of it yet. */
static void ask(struct operation *operation, int64_t now_ns)
{
    struct pool *pool = operation->pool;
    const struct system_kind *kind = pool->system->kind;
    struct pool_write *write = operation->write;
    for (uint32_t i = 0; i < pool->system->n_nodes; i++) {
        uint32_t node = (operation->node + i) % pool->system->n_nodes;
        struct attempt *attempt = &operation->attempts[node];
        if (attempt->open)
            continue;
        attempt->open = true;
        operation->n_open++;
        operation->node = node + 1;
        operation->asked_ns = now_ns;
        if (write->verb == POOL_MAKE)
            kind->item_make(pool->writers[node], write->item, write->ttl_ms, on_done, attempt);
        else
            kind->item_end(pool->writers[node], write->item, on_done, attempt);
        return;
    }
}

static void start_next(struct pool *pool)
{
    struct pool_write *write = &pool->writes[pool->next++];
    struct operation *operation = mem_calloc(1, sizeof *operation);
    operation->pool = pool;
    operation->write = write;
    operation->node = pool->turn++ % pool->system->n_nodes;
    for (uint32_t i = 0; i < SYSTEM_NODES_MAX; i++)
        operation->attempts[i].operation = operation;
    operation->next = pool->under_way;
    if (operation->next != NULL)
        operation->next->link = &operation->next;
    operation->link = &pool->under_way;
    pool->under_way = operation;
    if (pool->prepare != NULL)
        pool->prepare(pool->arg, write);
    write->sent_ns = bench_now_ns();
    pool->made.sent++;
    ask(operation, write->sent_ns);
}

/* Starts what may start now. */
static void pump(struct pool *pool)
{
    if (pool->in_flight > 0) {
        while (pool->next < pool->n && pool->made.sent - pool->made.acked < pool->in_flight)
            start_next(pool);
        return;
    }
    while (pool->next < pool->n && pool->writes[pool->next].due_ns <= bench_now_ns())
        start_next(pool);
    if (pool->next < pool->n)
        pacer_set(pool->pacer, pool->writes[pool->next].due_ns);
}

static void acknowledged(struct pool *pool, struct operation *operation)
{
    struct pool_write *write = operation->write;
    operation_unlink(operation);
    write->acked_ns = bench_now_ns();
    pool->made.acked++;
    if (pool->first_acked_ns == 0 && pool->from_ns != 0 && write->due_ns >= pool->from_ns)
        pool->first_acked_ns = write->acked_ns;
    if (pool->in_flight > 0)
        pump(pool);
}

/* Worth another attempt: the outcome is unknown, or nothing was done for now. */
static bool is_passing(enum lapse_code code)
{
    return code == LAPSE_UNAVAILABLE || code == LAPSE_UNKNOWN || code == LAPSE_DEADLINE_EXCEEDED ||
           code == LAPSE_RESOURCE_EXHAUSTED || code == LAPSE_ABORTED || code == LAPSE_CANCELLED;
}

static void failed(struct pool *pool, struct operation *operation, const struct lapse_error *error)
{
    if (!is_passing(error->code)) {
        if (!pool->made.refused)
            pool->refusal = *error;
        pool->made.refused = true;
        operation_unlink(operation);
    } else if (++operation->failures < pool->system->n_nodes) {
        ask(operation, bench_now_ns());
    }
}

static void on_done(void *arg, const struct lapse_error *error)
{
    struct attempt *attempt = arg;
    struct operation *operation = attempt->operation;
    struct pool *pool = operation->pool;
    CHECK(attempt->open && operation->n_open > 0);
    attempt->open = false;
    operation->n_open--;
    if (operation->link != NULL && !pool->closing) {
        if (error == NULL)
            acknowledged(pool, operation);
        else
            failed(pool, operation, error);
    }
    if (operation->link == NULL && operation->n_open == 0)
        free(operation);
}

/* What waits too long, or has failed everywhere, is tried again. */
static void on_tick(uv_timer_t *tick)
{
    struct pool *pool = tick->data;
    int64_t now_ns = bench_now_ns();
    for (struct operation *operation = pool->under_way; operation != NULL; operation = operation->next)
        if (operation->n_open == 0 || now_ns - operation->asked_ns >= HEDGE_NS) {
            operation->failures = 0;
            ask(operation, now_ns);
        }
}

static void on_due(void *arg)
{
    pump(arg);
}

/* --- opening and closing ------------------------------------------------------------------------------------------ */

static void open_handles(void *arg)
{
    struct pool *pool = arg;
    uv_loop_t *loop = bench_loop_uv(pool->loop);
    pool->pacer = pacer_new(loop, on_due, pool);
    CHECK(uv_timer_init(loop, &pool->tick) == 0);
    pool->tick.data = pool;
    CHECK(uv_timer_start(&pool->tick, on_tick, TICK_MS, TICK_MS) == 0);
}

static void on_tick_closed(uv_handle_t *handle)
{
    struct pool *pool = handle->data;
    while (pool->under_way != NULL) {
        struct operation *operation = pool->under_way;
        CHECK(operation->n_open == 0);
        operation_unlink(operation);
        free(operation);
    }
    free(pool);
}

static void quiesce(void *arg)
{
    struct pool *pool = arg;
    pool->closing = true;
    pool->n = pool->next;
}

static void close_handles(void *arg)
{
    struct pool *pool = arg;
    pacer_close(pool->pacer);
    uv_close((uv_handle_t *)&pool->tick, on_tick_closed);
}

lapse_result pool_open(struct system *system, struct bench_loop *loop, struct pool **out, struct lapse_error *error)
{
    struct pool *pool = mem_calloc(1, sizeof *pool);
    lapse_result result = lapse_ok();
    pool->system = system;
    pool->loop = loop;
    bench_loop_call(loop, open_handles, pool);
    for (uint32_t i = 0; i < system->n_nodes && lapse_is_ok(result); i++)
        result = system->kind->writer_open(system, loop, i + 1, &pool->writers[i], error);
    if (lapse_is_ok(result))
        *out = pool;
    else
        pool_close(pool);
    return result;
}

void pool_close(struct pool *pool)
{
    if (pool == NULL)
        return;
    bench_loop_call(pool->loop, quiesce, pool);
    for (uint32_t i = 0; i < pool->system->n_nodes; i++)
        pool->system->kind->writer_close(pool->writers[i]);
    bench_loop_call(pool->loop, close_handles, pool);
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

struct order {
    struct pool *pool;
    struct pool_write *writes;
    uint32_t n, in_flight;
    void (*prepare)(void *arg, struct pool_write *write);
    void *arg;
};

static void take_order(void *arg)
{
    struct order *order = arg;
    struct pool *pool = order->pool;
    CHECK(pool->under_way == NULL && pool->next == pool->n);
    pool->writes = order->writes;
    pool->n = order->n;
    pool->next = 0;
    pool->in_flight = order->in_flight;
    pool->prepare = order->prepare;
    pool->arg = order->arg;
    pool->made = (struct progress_made){0};
    pool->from_ns = pool->first_acked_ns = 0;
    pump(pool);
}

void pool_send_paced(struct pool *pool, struct pool_write *writes, uint32_t n)
{
    struct order order = {.pool = pool, .writes = writes, .n = n};
    bench_loop_call(pool->loop, take_order, &order);
}

void pool_send_closed(struct pool *pool, struct pool_write *writes, uint32_t n, uint32_t in_flight,
                      void (*prepare)(void *arg, struct pool_write *write), void *arg)
{
    struct order order = {pool, writes, n, in_flight, prepare, arg};
    CHECK(in_flight > 0);
    bench_loop_call(pool->loop, take_order, &order);
}

static void stop(void *arg)
{
    struct pool *pool = arg;
    pool->n = pool->next;
}

uint32_t pool_stop(struct pool *pool)
{
    bench_loop_call(pool->loop, stop, pool);
    return pool->next;
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

struct view {
    struct pool *pool;
    struct progress_made made;
    bool all;
    int64_t from_ns, first_acked_ns;
};

static void look(void *arg)
{
    struct view *view = arg;
    struct pool *pool = view->pool;
    if (view->from_ns != pool->from_ns) {
        pool->from_ns = view->from_ns;
        pool->first_acked_ns = 0;
        /* It may have been acknowledged before anybody asked. */
        for (uint32_t i = 0; i < pool->next && view->from_ns != 0; i++) {
            const struct pool_write *write = &pool->writes[i];
            bool counts = write->due_ns >= view->from_ns && write->acked_ns != 0;
            if (counts && (pool->first_acked_ns == 0 || write->acked_ns < pool->first_acked_ns))
                pool->first_acked_ns = write->acked_ns;
        }
    }
    view->made = pool->made;
    view->all = pool->next == pool->n && pool->made.acked == pool->made.sent;
    view->first_acked_ns = pool->first_acked_ns;
}

static void pause_ms(uint32_t ms)
{
    struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};
    (void)nanosleep(&pause, NULL);
}

/* `view->from_ns` 0: all of them. */
static lapse_result wait_for(struct view *view, uint32_t patience_ms, struct lapse_error *error)
{
    struct pool *pool = view->pool;
    uint32_t acked = 0;
    int64_t since_ns = bench_now_ns(), checked_ns = since_ns;
    for (;;) {
        bench_loop_call(pool->loop, look, view);
        int64_t now_ns = bench_now_ns();
        if (view->made.refused)
            return lapse_fail(error, LAPSE_INTERNAL, "a write was refused: %s", pool->refusal.message);
        if (view->from_ns != 0 ? view->first_acked_ns != 0 : view->all)
            return lapse_ok();
        if (bench_interrupted())
            return lapse_fail(error, LAPSE_CANCELLED, "interrupted");
        if (view->made.acked != acked)
            since_ns = now_ns;
        acked = view->made.acked;
        if (now_ns - since_ns > (int64_t)patience_ms * 1000000)
            return lapse_fail(error, LAPSE_UNAVAILABLE, "no write was acknowledged for %u s", patience_ms / 1000);
        if (now_ns - checked_ns > CHECK_EVERY_MS * 1000000LL) {
            lapse_result result = system_check(pool->system, error);
            if (!lapse_is_ok(result))
                return result;
            checked_ns = now_ns;
        }
        pause_ms(POLL_MS);
    }
}

lapse_result pool_wait(struct pool *pool, uint32_t patience_ms, struct lapse_error *error)
{
    struct view view = {.pool = pool};
    return wait_for(&view, patience_ms, error);
}

lapse_result pool_wait_first(struct pool *pool, int64_t from_ns, uint32_t patience_ms, int64_t *acked_ns,
                             struct lapse_error *error)
{
    struct view view = {.pool = pool, .from_ns = from_ns};
    lapse_result result = wait_for(&view, patience_ms, error);
    if (lapse_is_ok(result))
        *acked_ns = view.first_acked_ns;
    return result;
}
