/* A writer of Redis. WAIT holds up its whole connection until the replicas have confirmed, so writes that are under way
 * at the same time need a connection each: a writer has a pool of them, as Redis' clients do.
 *
 *   item_make, item_end --> a free connection --SET or DEL, WAIT--> done     (none free: queued until one is)
 *
 * Items that no watcher is to be told of live in database 1, whose events nobody subscribes to; a connection changes
 * its database when it must.
 *
 * Without WAIT one connection takes all writes, pipelined. All go to the primary: replicas are read-only. */
#include "bench/peers/redis.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

#define POOL_OPEN_AT_ONCE 8
#define POOL_MAX 64
#define WAIT_MS "5000"

struct redis_op {
    struct system_writer *writer;
    struct redis_connection *on;
    struct redis_op *next;
    uint32_t item;
    int64_t ttl_ms; /* -1: ends it */
    uint32_t replies_left;
    system_done done;
    void *arg;
    struct lapse_error error; /* code OK: none */
};

struct redis_connection {
    struct system_writer *writer;
    redisAsyncContext *context; /* NULL: lost */
    bool busy;                  /* with WAIT: an operation is under way */
    uint32_t database;
};

struct system_writer {
    struct redis_system *redis;
    struct bench_loop *loop;
    char replicas[16];                  /* for WAIT */
    struct redis_op *first, **last;     /* waiting for a connection */
    struct redis_op *ended, **ended_at; /* to be told on a fresh stack */
    uv_timer_t *turn;
    struct bench_gate *opening; /* while writer_open waits */
    struct lapse_error lost;    /* why there is no connection any more; code OK: there is one */
    bool closing;
    uint32_t n;
    struct redis_connection pool[POOL_MAX];
};

/* --- operations --------------------------------------------------------------------------------------------------- */

static void op_finish(struct redis_op *op)
{
    op->done(op->arg, op->error.code == LAPSE_OK ? NULL : &op->error);
    free(op);
}

static void tell_ended(struct system_writer *writer)
{
    struct redis_op *op = writer->ended;
    writer->ended = NULL;
    writer->ended_at = &writer->ended;
    while (op != NULL) {
        struct redis_op *next = op->next;
        op_finish(op);
        op = next;
    }
}

static void on_turn(uv_timer_t *turn)
{
    tell_ended(turn->data);
}

/* Fails it, but not on this stack, which may be its caller's. */
static void op_fail_later(struct redis_op *op, const struct lapse_error *error)
{
    struct system_writer *writer = op->writer;
    op->error = *error;
    op->next = NULL;
    *writer->ended_at = op;
    writer->ended_at = &op->next;
    if (!writer->closing)
        CHECK(uv_timer_start(writer->turn, on_turn, 0, 0) == 0);
}

static void start_queued(struct system_writer *writer);

/* Nothing goes through this writer any more. */
static void lose(struct redis_connection *connection, const char *why)
{
    struct system_writer *writer = connection->writer;
    connection->context = NULL;
    if (writer->lost.code == LAPSE_OK && !writer->closing)
        (void)lapse_fail(&writer->lost, LAPSE_UNAVAILABLE, "redis at %s: %s", writer->redis->peer.address[0], why);
}

static void take_reply(struct redis_op *op, const redisReply *reply)
{
    if (reply == NULL)
        lose(op->on, "the connection was lost");
    if (op->error.code != LAPSE_OK)
        return;
    if (reply == NULL)
        (void)lapse_fail(&op->error, op->writer->closing ? LAPSE_CANCELLED : LAPSE_UNAVAILABLE,
                         "redis: the connection was lost");
    else if (reply->type == REDIS_REPLY_ERROR)
        (void)lapse_fail(&op->error, LAPSE_UNAVAILABLE, "redis: %s", reply->str);
}

/* One of its replies came, or (NULL) never will. */
static void op_step(struct redis_op *op)
{
    struct system_writer *writer = op->writer;
    if (--op->replies_left > 0)
        return;
    op->on->busy = false;
    op_finish(op);
    if (!writer->closing)
        start_queued(writer);
}

static void on_write(redisAsyncContext *context, void *reply, void *arg)
{
    (void)context;
    take_reply(arg, reply);
    op_step(arg);
}

static void on_wait(redisAsyncContext *context, void *answer, void *arg)
{
    struct redis_op *op = arg;
    const redisReply *reply = answer;
    (void)context;
    take_reply(op, reply);
    if (op->error.code == LAPSE_OK &&
        (reply->type != REDIS_REPLY_INTEGER || reply->integer < (long long)op->writer->redis->replicas_needed))
        (void)lapse_fail(&op->error, LAPSE_UNAVAILABLE, "redis: %lld of %u replicas confirmed within " WAIT_MS " ms",
                         reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0, op->writer->redis->replicas_needed);
    op_step(op);
}

static int send_make(const struct redis_op *op, redisAsyncContext *context)
{
    char key[PEER_KEY_SIZE], value[PEER_VALUE_LEN + 1], ttl[24];
    const char *words[] = {"SET", key, value, "PX", ttl};
    peer_key(key, op->item);
    peer_value(value, op->item);
    snprintf(ttl, sizeof ttl, "%" PRId64, op->ttl_ms);
    return redisAsyncCommandArgv(context, on_write, (void *)(uintptr_t)op, op->ttl_ms > 0 ? 5 : 3, words, NULL);
}

static int send_end(const struct redis_op *op, redisAsyncContext *context)
{
    char key[PEER_KEY_SIZE];
    const char *words[] = {"DEL", key};
    peer_key(key, op->item);
    return redisAsyncCommandArgv(context, on_write, (void *)(uintptr_t)op, 2, words, NULL);
}

static void on_select(redisAsyncContext *context, void *reply, void *arg)
{
    (void)context, (void)reply, (void)arg; /* had it failed, the write behind it would be refused or told of */
}

static void use_database(struct redis_connection *connection, uint32_t database)
{
    if (connection->database == database)
        return;
    connection->database = database;
    CHECK(redisAsyncCommand(connection->context, on_select, NULL, "SELECT %u", database) == REDIS_OK);
}

static void send_on(struct redis_connection *connection, struct redis_op *op)
{
    struct system_writer *writer = op->writer;
    const char *wait[] = {"WAIT", writer->replicas, WAIT_MS};
    bool waits = writer->redis->replicas_needed > 0;
    op->on = connection;
    op->replies_left = waits ? 2 : 1;
    connection->busy = waits;
    use_database(connection, system_is_quiet(&writer->redis->peer.system, op->item) ? 1 : 0);
    /* A context that isn't being closed takes every command. */
    CHECK((op->ttl_ms < 0 ? send_end : send_make)(op, connection->context) == REDIS_OK);
    if (waits)
        CHECK(redisAsyncCommandArgv(connection->context, on_wait, op, 3, wait, NULL) == REDIS_OK);
}

/* --- connections -------------------------------------------------------------------------------------------------- */

static void fail_queued(struct system_writer *writer, const struct lapse_error *error)
{
    while (writer->first != NULL) {
        struct redis_op *op = writer->first;
        writer->first = op->next;
        op_fail_later(op, error);
    }
    writer->last = &writer->first;
}

static void opening_step(struct system_writer *writer)
{
    if (writer->opening != NULL)
        bench_gate_step(writer->opening);
}

static void on_connected(const redisAsyncContext *context, int status)
{
    struct redis_connection *connection = context->data;
    if (status != REDIS_OK) {
        lose(connection, context->errstr);
        fail_queued(connection->writer, &connection->writer->lost);
    }
    opening_step(connection->writer);
}

/* Only after it was connected, which was its step in opening. */
static void on_disconnected(const redisAsyncContext *context, int status)
{
    struct redis_connection *connection = context->data;
    lose(connection, status == REDIS_OK ? "closed" : context->errstr);
    if (!connection->writer->closing)
        fail_queued(connection->writer, &connection->writer->lost);
}

/* NULL, and writer->lost says why, when it can't be opened. */
static struct redis_connection *connection_add(struct system_writer *writer)
{
    struct redis_connection *connection = &writer->pool[writer->n];
    *connection = (struct redis_connection){.writer = writer};
    connection->context =
        redis_connect(bench_loop_uv(writer->loop), writer->redis->peer.address[0], connection, &writer->lost);
    if (connection->context == NULL)
        return NULL;
    CHECK(redisAsyncSetConnectCallback(connection->context, on_connected) == REDIS_OK);
    CHECK(redisAsyncSetDisconnectCallback(connection->context, on_disconnected) == REDIS_OK);
    writer->n++;
    return connection;
}

static struct redis_connection *find_free(struct system_writer *writer)
{
    uint32_t max = writer->redis->replicas_needed > 0 ? POOL_MAX : 1;
    for (uint32_t i = 0; i < writer->n; i++)
        if (writer->pool[i].context != NULL && !writer->pool[i].busy)
            return &writer->pool[i];
    return writer->n < max ? connection_add(writer) : NULL;
}

static void start_queued(struct system_writer *writer)
{
    struct redis_connection *connection;
    while (writer->first != NULL && writer->lost.code == LAPSE_OK && (connection = find_free(writer)) != NULL) {
        struct redis_op *op = writer->first;
        writer->first = op->next;
        if (writer->first == NULL)
            writer->last = &writer->first;
        send_on(connection, op);
    }
    if (writer->lost.code != LAPSE_OK)
        fail_queued(writer, &writer->lost);
}

/* --- the writer --------------------------------------------------------------------------------------------------- */

static void op_begin(struct system_writer *writer, uint32_t item, int64_t ttl_ms, system_done done, void *arg)
{
    struct redis_op *op = mem_calloc(1, sizeof *op);
    *op = (struct redis_op){.writer = writer, .item = item, .ttl_ms = ttl_ms, .done = done, .arg = arg};
    *writer->last = op;
    writer->last = &op->next;
    start_queued(writer);
}

void redis_item_make(struct system_writer *writer, uint32_t item, int64_t ttl_ms, system_done done, void *arg)
{
    op_begin(writer, item, ttl_ms, done, arg);
}

void redis_item_end(struct system_writer *writer, uint32_t item, system_done done, void *arg)
{
    op_begin(writer, item, -1, done, arg);
}

static void open_work(void *arg)
{
    struct system_writer *writer = arg;
    uint32_t n = writer->redis->replicas_needed > 0 ? POOL_OPEN_AT_ONCE : 1;
    writer->turn = mem_calloc(1, sizeof *writer->turn);
    CHECK(uv_timer_init(bench_loop_uv(writer->loop), writer->turn) == 0);
    writer->turn->data = writer;
    bench_gate_expect(writer->opening, n);
    for (uint32_t i = 0; i < n; i++)
        if (connection_add(writer) == NULL)
            opening_step(writer);
}

static void opened_work(void *arg)
{
    struct system_writer *writer = arg;
    writer->opening = NULL;
}

lapse_result redis_writer_open(struct system *system, struct bench_loop *loop, uint32_t node,
                               struct system_writer **out, struct lapse_error *error)
{
    struct system_writer *writer = mem_calloc(1, sizeof *writer);
    struct bench_gate *gate = bench_gate_new();
    (void)node; /* there is one that writes */
    writer->redis = redis_of(system);
    writer->loop = loop;
    writer->last = &writer->first;
    writer->ended_at = &writer->ended;
    writer->opening = gate;
    snprintf(writer->replicas, sizeof writer->replicas, "%u", writer->redis->replicas_needed);
    bench_loop_call(loop, open_work, writer);
    bool opened = bench_gate_wait(gate, 10000);
    bench_loop_call(loop, opened_work, writer);
    bench_gate_free(gate);
    if (!opened && writer->lost.code == LAPSE_OK)
        (void)lapse_fail(&writer->lost, bench_interrupted() ? LAPSE_CANCELLED : LAPSE_UNAVAILABLE,
                         "redis at %s does not answer", writer->redis->peer.address[0]);
    if (writer->lost.code == LAPSE_OK) {
        *out = writer;
        return lapse_ok();
    }
    lapse_result result = lapse_fail(error, writer->lost.code, "%s", writer->lost.message);
    redis_writer_close(writer);
    return result;
}

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void close_work(void *arg)
{
    struct system_writer *writer = arg;
    struct lapse_error cancelled;
    (void)lapse_fail(&cancelled, LAPSE_CANCELLED, "closed");
    writer->closing = true;
    for (uint32_t i = 0; i < writer->n; i++)
        if (writer->pool[i].context != NULL)
            redisAsyncFree(writer->pool[i].context);
    fail_queued(writer, &cancelled);
    tell_ended(writer);
    uv_close((uv_handle_t *)writer->turn, free_handle);
}

void redis_writer_close(struct system_writer *writer)
{
    if (writer == NULL)
        return;
    bench_loop_call(writer->loop, close_work, writer);
    free(writer);
}
