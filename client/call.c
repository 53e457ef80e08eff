/* One call, from its arguments to its outcome, across as many attempts as it takes.
 *
 *   POSTED --> WAITING --link ready--> RUNNING --OK, or an error that stands--> DONE
 *                 ^  \                    |
 *                 |   \ deadline           \ UNAVAILABLE, UNKNOWN, connection lost: pause
 *                 +----\--------------------+
 *                       +--> DONE
 *
 * The arguments are encoded once, with their request_id, so every attempt is the same call to the cluster. `deadline`
 * spans all attempts; each one tells the node what is left of it. */
#include "client/call.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"

#define TIMEOUT_DEFAULT_MS 10000
#define TIMEOUT_MAX_MS 3600000

struct lapse_call {
    struct client_task start_task, cancel_task;
    _Atomic uint32_t refs; /* one of the client until DONE, one of the handle */
    _Atomic bool done;
    struct lapse_client *client;
    const struct call_method *method;
    struct buf request;
    struct call_callback callback;

    /* The client's thread. */
    struct pending pending;
    TAILQ_ENTRY(lapse_call) entry; /* in client->running */
    struct grpc_request *running;
    struct link_connection *connection;
    bool cancelled;
    bool perhaps_sent; /* an attempt may have reached a node and had no outcome */
    uint32_t timeout_ms;
    void *result;               /* decoded output, or NULL */
    struct lapse_error trouble; /* the latest transient failure, or a malformed answer */
};

static void call_unref(struct lapse_call *call)
{
    if (atomic_fetch_sub(&call->refs, 1) != 1)
        return;
    buf_free(&call->request);
    free(call);
}

/* ---- Outcomes */

static void result_free(struct lapse_call *call)
{
    if (call->result != NULL)
        codec_release(call->method->output, call->result);
    free(call->result);
    call->result = NULL;
}

static void finish(struct lapse_call *call, const struct lapse_error *error)
{
    struct lapse_client *client = call->client;
    CHECK(!call->pending.waiting && call->running == NULL && !atomic_load(&call->done));
    atomic_store(&call->done, true);
    atomic_fetch_sub(&client->calls_open, 1);
    if (error->code != LAPSE_OK)
        result_free(call);
    call->callback.deliver(call->callback.callback, call->callback.arg, call->result, error);
    result_free(call);
    call_unref(call);
}

static void finish_with(struct lapse_call *call, enum lapse_code code, const char *message)
{
    struct lapse_error error = {.code = code};
    if (code != LAPSE_OK)
        (void)lapse_fail(&error, code, "%s", message);
    finish(call, &error);
}

/* What "too late" means depends on whether a node may have done it. */
static void finish_late(struct lapse_call *call)
{
    struct lapse_error error;
    const char *advice = "";
    if (call->perhaps_sent && call->method->request_id_offset != CALL_NO_REQUEST_ID)
        advice = "; the outcome is not known: repeat with the same request_id, or look at the grant";
    (void)lapse_fail(&error, LAPSE_DEADLINE_EXCEEDED, "no answer within %" PRIu32 " ms%s%s%s", call->timeout_ms,
                     call->trouble.message[0] != '\0' ? " (last: " : "", call->trouble.message,
                     call->trouble.message[0] != '\0' ? ")" : "");
    size_t len = strlen(error.message);
    snprintf(error.message + len, sizeof error.message - len, "%s", advice);
    finish(call, &error);
}

/* ---- Attempts */

static struct lapse_call *call_of(struct pending *pending)
{
    return CONTAINER_OF(pending, struct lapse_call, pending);
}

static void on_message(struct grpc_request *request, struct slice message)
{
    struct lapse_call *call = grpc_request_owner(request);
    void *result = mem_alloc(call->method->output->size);
    result_free(call);
    if (!lapse_is_ok(codec_decode(call->method->output, message, result, &call->trouble))) {
        free(result);
        return;
    }
    call->result = result;
    if (call->callback.deliver_message != NULL && !call->cancelled)
        call->callback.deliver_message(call->callback.each, call->callback.arg, result);
}

/* Every call can be repeated: reads, writes with their request_id, and changes of the cluster that say what shall be.
 */
static bool may_repeat(const struct lapse_call *call, enum lapse_code code)
{
    return !call->cancelled && !call->client->ending && client_is_transient(code);
}

/* Not too late, but the answer of a revocation that waits: who has not confirmed (grants.proto). */
static bool says_pending(enum lapse_code code, const char *message)
{
    static const char pending[] = "PENDING: ";
    return code == LAPSE_DEADLINE_EXCEEDED && strncmp(message, pending, sizeof pending - 1) == 0;
}

static void finish_attempt(struct lapse_call *call, enum lapse_code code, const char *message)
{
    if (call->client->ending)
        finish_with(call, LAPSE_CANCELLED, "the client was freed");
    else if (code == LAPSE_OK && call->result == NULL &&
             (call->callback.deliver_message == NULL || call->trouble.code == LAPSE_INTERNAL)) /* a stream may be empty */
        finish_with(call, LAPSE_INTERNAL,
                    call->trouble.code == LAPSE_INTERNAL ? call->trouble.message
                                                         : "the node answered without a result");
    else if (code == LAPSE_DEADLINE_EXCEEDED && !says_pending(code, message))
        finish_late(call);
    else
        finish_with(call, code, message);
}

static void on_end(struct grpc_request *request, enum lapse_code code, const char *message, bool sent)
{
    struct lapse_call *call = grpc_request_owner(request);
    struct lapse_client *client = call->client;

    call->running = NULL;
    TAILQ_REMOVE(&client->running, call, entry);
    link_call_ended(call->connection, code != LAPSE_UNAVAILABLE);
    if (!client_is_transient(code))
        link_succeeded(client->link);
    call->perhaps_sent = call->perhaps_sent || (sent && code != LAPSE_OK);
    if (may_repeat(call, code)) {
        (void)lapse_fail(&call->trouble, code, "%s: %s", link_connection_endpoint(call->connection), message);
        client_wait_again(client, &call->pending);
    } else {
        finish_attempt(call, code, message);
    }
    client_look(client); /* a place on the connection is free */
}

static const struct grpc_request_handler request_handler = {on_message, on_end, NULL};

static void start(struct pending *pending)
{
    struct lapse_call *call = call_of(pending);
    struct lapse_client *client = call->client;
    int64_t left = pending->deadline_ms - clock_boot_ms();
    if (left < 1)
        left = 1;
    if (lapse_is_ok(link_call(client->link, call->method->path, buf_slice(&call->request), left, &request_handler, call,
                              &call->running, &call->connection)))
        TAILQ_INSERT_TAIL(&client->running, call, entry);
    else
        client_wait_again(client, pending);
}

static void on_failure(struct pending *pending, const struct lapse_error *why)
{
    call_of(pending)->trouble = *why;
}

static void give_up(struct pending *pending, const struct lapse_error *why)
{
    struct lapse_call *call = call_of(pending);
    if (why->code == LAPSE_DEADLINE_EXCEEDED)
        finish_late(call);
    else
        finish(call, why);
}

static const struct pending_ops pending_ops = {start, give_up, on_failure};

/* ---- Starting and cancelling */

static void run_start(struct client_task *task)
{
    struct lapse_call *call = CONTAINER_OF(task, struct lapse_call, start_task);
    if (call->client->ending)
        finish_with(call, LAPSE_CANCELLED, "the client was freed");
    else if (call->cancelled)
        finish_with(call, LAPSE_CANCELLED, "cancelled by the caller");
    else
        client_wait(call->client, &call->pending);
}

/* Holds a reference of its own, so that the handle may be released right after lapse_call_cancel. */
static void run_cancel(struct client_task *task)
{
    struct lapse_call *call = CONTAINER_OF(task, struct lapse_call, cancel_task);
    if (!call->cancelled && !atomic_load(&call->done)) {
        call->cancelled = true;
        if (call->running != NULL) {
            grpc_request_cancel(call->running);
        } else if (call->pending.waiting) {
            client_wait_end(call->client, &call->pending);
            finish_with(call, LAPSE_CANCELLED, "cancelled by the caller");
        }
    }
    call_unref(call);
}

void call_end_all(struct lapse_client *client)
{
    struct lapse_call *call;
    for (call = TAILQ_FIRST(&client->running); call != NULL; call = TAILQ_NEXT(call, entry))
        grpc_request_cancel(call->running);
}

/* The arguments with a request_id of our own, if they have none: `copy` receives them, and `id` is what it points to.
 */
static const void *with_request_id(const struct call_method *method, const void *args, void *copy,
                                   char id[LAPSE_REQUEST_ID_SIZE])
{
    if (method->request_id_offset == CALL_NO_REQUEST_ID)
        return args;
    const char *given = *(const char *const *)((const char *)args + method->request_id_offset);
    if (given != NULL && *given != '\0')
        return args;
    memcpy(copy, args, method->input->size);
    lapse_request_id_make(id);
    *(const char **)((char *)copy + method->request_id_offset) = id;
    return copy;
}

static lapse_result request_encode(const struct call_method *method, const void *args, struct buf *out,
                                   struct lapse_error *error)
{
    char id[LAPSE_REQUEST_ID_SIZE];
    void *defaults = mem_calloc(1, method->input->size), *copy = mem_alloc(method->input->size);
    args = with_request_id(method, args == NULL ? defaults : args, copy, id);
    lapse_result result = codec_encode(method->input, args, out);
    free(defaults);
    free(copy);
    if (!lapse_is_ok(result))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "the arguments are longer than %u bytes in all, or name a state that is none",
                          LIMIT_MESSAGE_IN);
    return result;
}

static lapse_result place_take(struct lapse_client *client, struct lapse_error *error)
{
    if (atomic_load(&client->ending))
        return lapse_fail(error, LAPSE_CANCELLED, "the client is being freed");
    if (atomic_fetch_add(&client->calls_open, 1) < client->calls_max)
        return lapse_ok();
    atomic_fetch_sub(&client->calls_open, 1);
    return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "%" PRIu32 " calls are open: wait for one, or raise calls_max",
                      client->calls_max);
}

static lapse_result call_new(struct lapse_client *client, const struct call_method *method, const void *args,
                             uint32_t timeout_ms, struct lapse_call **out, struct lapse_error *error)
{
    if (timeout_ms > TIMEOUT_MAX_MS)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "timeout_ms is above %d", TIMEOUT_MAX_MS);
    lapse_result result = place_take(client, error);
    if (!lapse_is_ok(result))
        return result;
    struct lapse_call *call = mem_calloc(1, sizeof *call);
    buf_init(&call->request, LIMIT_MESSAGE_IN);
    result = request_encode(method, args, &call->request, error);
    if (!lapse_is_ok(result)) {
        atomic_fetch_sub(&client->calls_open, 1);
        buf_free(&call->request);
        free(call);
        return result;
    }
    call->client = client;
    call->method = method;
    call->start_task.run = run_start;
    call->cancel_task.run = run_cancel;
    call->timeout_ms = timeout_ms == 0 ? TIMEOUT_DEFAULT_MS : timeout_ms;
    call->pending.ops = &pending_ops;
    call->pending.deadline_ms = clock_boot_ms() + call->timeout_ms;
    *out = call;
    return result;
}

lapse_result call_start(struct lapse_client *client, const struct call_method *method, const void *args,
                        uint32_t timeout_ms, struct call_callback callback, struct lapse_call **out,
                        struct lapse_error *error)
{
    struct lapse_call *call;
    lapse_result result = call_new(client, method, args, timeout_ms, &call, error);
    if (!lapse_is_ok(result))
        return result;
    call->callback = callback;
    atomic_init(&call->refs, out == NULL ? 1 : 2);
    if (out != NULL)
        *out = call;
    (void)client_post(client, &call->start_task);
    return result;
}

void lapse_call_cancel(struct lapse_call *call)
{
    if (atomic_load(&call->done))
        return;
    atomic_fetch_add(&call->refs, 1);
    if (!client_post(call->client, &call->cancel_task))
        call_unref(call);
}

void lapse_call_free(struct lapse_call *call)
{
    if (call != NULL)
        call_unref(call);
}

/* ---- Blocking */

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    const struct codec_message *output;
    void *result; /* NULL: not wanted */
    struct lapse_error error;
    /* Of a stream. */
    call_deliver_message deliver_message;
    void *arg;
};

/* Moves the result out of the call: what it owned, the waiter owns now. */
static void deliver_to_waiter(void (*callback)(void), void *arg, const void *result, const struct lapse_error *error)
{
    struct waiter *waiter = arg;
    (void)callback;
    pthread_mutex_lock(&waiter->lock);
    waiter->error = *error;
    if (result != NULL && waiter->result != NULL) {
        void *moved = (void *)(uintptr_t)result;
        memcpy(waiter->result, moved, waiter->output->size);
        memset(moved, 0, waiter->output->size);
    }
    waiter->done = true;
    pthread_cond_signal(&waiter->changed);
    pthread_mutex_unlock(&waiter->lock);
}

static void deliver_message_past_waiter(void (*each)(void), void *arg, const void *message)
{
    struct waiter *waiter = arg;
    waiter->deliver_message(each, waiter->arg, message);
}

static lapse_result wait_for(struct lapse_client *client, const struct call_method *method, const void *args,
                             uint32_t timeout_ms, struct waiter *waiter, void (*each)(void), struct lapse_error *error)
{
    if (client_is_own_thread(client))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "a blocking call from a callback would wait for itself: use the asynchronous one");
    struct call_callback callback = {deliver_to_waiter, NULL, waiter,
                                     waiter->deliver_message == NULL ? NULL : deliver_message_past_waiter, each};
    waiter->output = method->output;
    pthread_mutex_init(&waiter->lock, NULL);
    pthread_cond_init(&waiter->changed, NULL);
    lapse_result started = call_start(client, method, args, timeout_ms, callback, NULL, error);
    if (lapse_is_ok(started)) {
        pthread_mutex_lock(&waiter->lock);
        while (!waiter->done)
            pthread_cond_wait(&waiter->changed, &waiter->lock);
        pthread_mutex_unlock(&waiter->lock);
        if (error != NULL && waiter->error.code != LAPSE_OK)
            *error = waiter->error;
        started = lapse_failed(waiter->error.code);
    }
    pthread_cond_destroy(&waiter->changed);
    pthread_mutex_destroy(&waiter->lock);
    return started;
}

lapse_result call_blocking(struct lapse_client *client, const struct call_method *method, const void *args,
                           uint32_t timeout_ms, void *result, struct lapse_error *error)
{
    struct waiter waiter = {.result = result};
    return wait_for(client, method, args, timeout_ms, &waiter, NULL, error);
}

lapse_result call_blocking_stream(struct lapse_client *client, const struct call_method *method, const void *args,
                                  uint32_t timeout_ms, call_deliver_message deliver_message, void (*each)(void),
                                  void *arg, struct lapse_error *error)
{
    struct waiter waiter = {.deliver_message = deliver_message, .arg = arg};
    return wait_for(client, method, args, timeout_ms, &waiter, each, error);
}
