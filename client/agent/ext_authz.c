/* See ext_authz.h.
 *
 *   call --> decoded --> decided ------------------------------------> answered
 *                           \-- worker --> done list --> loop (async) ---'
 *
 * A call that waits may end before its worker is done: then the worker's outcome is dropped. */
#include "client/agent/ext_authz.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/tcp_stream.h"
#include "client/agent/listen.h"
#include "proto/grpc_server.h"

#define GRACE_MS 2000
#define ANSWER_MAX 4096

struct connection {
    struct grpc_connection *grpc;
    struct ext_authz *owner;
    struct connection *next, **link;
};

struct waiting {
    struct agent_job job;
    struct ext_authz *owner;
    struct grpc_call *call; /* NULL: it ended meanwhile */
    struct agent_question question;
    struct agent_answer answer;
    struct waiting *next; /* in the done list */
};

struct ext_authz {
    struct agent_decider *decider;
    struct agent_pool *pool;
    struct grpc_method method;
    struct tcp_listener *listener;
    struct connection *connections;
    uint32_t n_connections;
    uv_async_t done;
    uv_mutex_t lock; /* guards done_first */
    struct waiting *done_first;
};

/* ---- Calls */

static void reply(struct grpc_call *call, const struct agent_answer *answer)
{
    struct buf out;
    buf_init(&out, ANSWER_MAX);
    if (lapse_is_ok(ext_authz_encode(answer, &out)))
        grpc_call_reply(call, buf_slice(&out));
    else
        grpc_call_finish(call, LAPSE_INTERNAL, "the answer is too long");
    buf_free(&out);
}

/* On a worker. */
static void run_waiting(struct agent_job *job)
{
    struct waiting *waiting = CONTAINER_OF(job, struct waiting, job);
    struct ext_authz *owner = waiting->owner;
    agent_decide_waiting(owner->decider, &waiting->question, &waiting->answer);
    uv_mutex_lock(&owner->lock);
    waiting->next = owner->done_first;
    owner->done_first = waiting;
    uv_mutex_unlock(&owner->lock);
    CHECK(uv_async_send(&owner->done) == 0);
}

static void on_done(uv_async_t *async)
{
    struct ext_authz *owner = async->data;
    uv_mutex_lock(&owner->lock);
    struct waiting *waiting = owner->done_first;
    owner->done_first = NULL;
    uv_mutex_unlock(&owner->lock);
    while (waiting != NULL) {
        struct waiting *next = waiting->next;
        if (waiting->call != NULL) {
            grpc_call_set_data(waiting->call, NULL);
            reply(waiting->call, &waiting->answer);
        }
        free(waiting);
        waiting = next;
    }
}

static void wait_for(struct ext_authz *owner, struct grpc_call *call, const struct agent_question *question,
                     struct agent_answer *answer)
{
    struct waiting *waiting = mem_calloc(1, sizeof *waiting);
    *waiting = (struct waiting){
        .job = {.run = run_waiting}, .owner = owner, .call = call, .question = *question, .answer = *answer};
    /* The worker looks neither at the call nor at its data. */
    grpc_call_set_data(call, waiting);
    if (agent_pool_submit(owner->pool, &waiting->job))
        return;
    grpc_call_set_data(call, NULL);
    free(waiting);
    agent_decide_busy(owner->decider, question, answer);
    reply(call, answer);
}

static void on_message(struct grpc_call *call, struct slice message)
{
    struct ext_authz *owner = grpc_call_method(call)->data;
    struct agent_request request;
    struct agent_question question;
    struct agent_answer answer;
    if (!ext_authz_decode(message, &request)) {
        grpc_call_finish(call, LAPSE_INVALID_ARGUMENT, "the message is no CheckRequest");
        return;
    }
    agent_decide(owner->decider, &request, &question, &answer);
    if (answer.waits)
        wait_for(owner, call, &question, &answer);
    else
        reply(call, &answer);
}

static void on_call_closed(struct grpc_call *call)
{
    struct waiting *waiting = grpc_call_data(call);
    if (waiting != NULL)
        waiting->call = NULL;
}

/* ---- Connections */

static void on_connection_closed(struct grpc_connection *grpc, const struct lapse_error *why)
{
    struct connection *connection = grpc_connection_owner(grpc);
    (void)why;
    *connection->link = connection->next;
    if (connection->next != NULL)
        connection->next->link = connection->link;
    connection->owner->n_connections--;
    free(connection);
}

static const struct grpc_server_handler handler = {.on_close = on_connection_closed};
/* Whoever connects is on this machine, and a proxy sends all its requests through a few connections. */
static const struct grpc_server_limits limits = {.streams_max = 1024, .frames_per_second = 100000};

static bool on_accept(void *arg, struct stream *stream)
{
    struct ext_authz *owner = arg;
    if (owner->n_connections == LIMIT_AGENT_CONNECTIONS)
        return false;
    struct connection *connection = mem_calloc(1, sizeof *connection);
    connection->owner = owner;
    connection->next = owner->connections;
    connection->link = &owner->connections;
    if (connection->next != NULL)
        connection->next->link = &connection->next;
    owner->connections = connection;
    owner->n_connections++;
    connection->grpc = grpc_serve(owner->done.loop, stream, &owner->method, 1, &limits, &handler, connection);
    return true;
}

/* ---- Starting and stopping */

static void on_async_closed(uv_handle_t *handle)
{
    struct ext_authz *owner = handle->data;
    uv_mutex_destroy(&owner->lock);
    free(owner);
}

lapse_result ext_authz_start(uv_loop_t *loop, const char *address, struct agent_decider *decider,
                             struct agent_pool *pool, struct ext_authz **made, struct lapse_error *error)
{
    lapse_result result = listen_clear(address, error);
    if (!lapse_is_ok(result))
        return result;
    struct ext_authz *owner = mem_calloc(1, sizeof *owner);
    owner->decider = decider;
    owner->pool = pool;
    owner->method = (struct grpc_method){.path = "/envoy.service.auth.v3.Authorization/Check",
                                         .on_message = on_message,
                                         .on_close = on_call_closed,
                                         .data = owner};
    CHECK(uv_mutex_init(&owner->lock) == 0);
    CHECK(uv_async_init(loop, &owner->done, on_done) == 0);
    owner->done.data = owner;
    result = tcp_listen(loop, address, NULL, on_accept, owner, &owner->listener, error);
    if (lapse_is_ok(result))
        *made = owner;
    else
        ext_authz_free(owner);
    return result;
}

uint16_t ext_authz_port(const struct ext_authz *ext_authz)
{
    return tcp_listener_port(ext_authz->listener);
}

void ext_authz_shutdown(struct ext_authz *ext_authz)
{
    if (ext_authz == NULL || ext_authz->listener == NULL)
        return;
    tcp_listener_close(ext_authz->listener);
    ext_authz->listener = NULL;
    for (struct connection *at = ext_authz->connections; at != NULL; at = at->next)
        grpc_connection_shutdown(at->grpc, GRACE_MS);
}

bool ext_authz_is_idle(const struct ext_authz *ext_authz)
{
    return ext_authz->n_connections == 0;
}

void ext_authz_free(struct ext_authz *ext_authz)
{
    if (ext_authz == NULL)
        return;
    CHECK(ext_authz->n_connections == 0);
    on_done(&ext_authz->done); /* what the workers had not handed over yet */
    uv_close((uv_handle_t *)&ext_authz->done, on_async_closed);
}
