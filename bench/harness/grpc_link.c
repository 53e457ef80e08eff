/* A link's life and its calls; see grpc_link.h. Frames are in grpc_frames.c. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "bench/harness/grpc_call.h"

#define REDIAL_MS 20
#define TICK_MS 20
/* Calls are kept for the next one up to so many. */
#define MESSAGE_KEPT (64u * 1024)

static void dial(struct grpc_link *link);

/* --- calls -------------------------------------------------------------------------------------------------------- */

static struct grpc_call **bucket_of(struct grpc_link *link, uint32_t id)
{
    return &link->buckets[(id >> 1) % GRPC_BUCKETS];
}

struct grpc_call *grpc_call_find(struct grpc_link *link, uint32_t id)
{
    struct grpc_call *call = *bucket_of(link, id);
    while (call != NULL && call->id != id)
        call = call->next;
    return call;
}

static struct grpc_call *call_new(struct grpc_link *link)
{
    struct grpc_call *call = link->spare;
    if (call == NULL) {
        call = mem_calloc(1, sizeof *call);
        buf_init(&call->message, GRPC_MESSAGE_MAX);
        return call;
    }
    link->spare = call->next;
    struct buf kept = call->message;
    buf_clear(&kept);
    *call = (struct grpc_call){.message = kept};
    return call;
}

static void call_keep(struct grpc_link *link, struct grpc_call *call)
{
    if (call->message.capacity > MESSAGE_KEPT)
        buf_free(&call->message);
    call->next = link->spare;
    link->spare = call;
}

static void call_free(struct grpc_call *call)
{
    buf_free(&call->message);
    free(call);
}

static void tell_end(struct grpc_link *link, struct grpc_call *call, const struct lapse_error *why)
{
    if (call->answer == NULL)
        call->handler.on_end(call->arg, why);
    else if (why->code == LAPSE_OK)
        call->answer(call->arg, buf_slice(&call->message), NULL);
    else
        call->answer(call->arg, slice_of(NULL, 0), why);
    call_keep(link, call);
}

void grpc_call_end(struct grpc_link *link, struct grpc_call *call, const struct lapse_error *why)
{
    struct grpc_call **at = bucket_of(link, call->id);
    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    link->n_open--;
    tell_end(link, call, why);
}

static bool may_send(const struct grpc_link *link, size_t bytes)
{
    return link->up && !link->dropping && link->n_open < link->open_max &&
           link->window >= (int64_t)(bytes + GRPC_PREFIX);
}

static void send_call(struct grpc_link *link, struct grpc_call *call, struct slice message)
{
    call->id = link->next_id;
    link->next_id += 2;
    link->n_open++;
    link->window -= (int64_t)(message.len + GRPC_PREFIX);
    struct grpc_call **bucket = bucket_of(link, call->id);
    call->next = *bucket;
    *bucket = call;
    grpc_frames_request(link, call, message);
}

void grpc_calls_go_on(struct grpc_link *link)
{
    while (link->waiting != NULL && may_send(link, link->waiting->message.len)) {
        struct grpc_call *call = link->waiting;
        link->waiting = call->next;
        if (link->waiting == NULL)
            link->waiting_end = &link->waiting;
        struct buf request = call->message;
        buf_init(&call->message, GRPC_MESSAGE_MAX);
        send_call(link, call, buf_slice(&request));
        buf_free(&request);
    }
}

static void on_later(uv_timer_t *timer)
{
    static const struct lapse_error down = {LAPSE_UNAVAILABLE, "not connected"};
    struct grpc_link *link = timer->data;
    struct grpc_call *call = link->failed;
    link->failed = NULL;
    while (call != NULL) {
        struct grpc_call *next = call->next;
        tell_end(link, call, &down);
        call = next;
    }
}

static void fail_later(struct grpc_link *link, struct grpc_call *call)
{
    call->next = link->failed;
    link->failed = call;
    CHECK(uv_timer_start(&link->later, on_later, 0, 0) == 0);
}

static void on_tick(uv_timer_t *timer)
{
    static const struct lapse_error late = {LAPSE_DEADLINE_EXCEEDED, "no answer in time"};
    struct grpc_link *link = timer->data;
    int64_t now = bench_now_ns();
    bool more = link->waiting != NULL;
    for (int i = 0; i < GRPC_BUCKETS; i++)
        for (struct grpc_call *call = link->buckets[i], *next; call != NULL; call = next) {
            next = call->next;
            more |= call->deadline_ns != INT64_MAX;
            if (call->deadline_ns > now)
                continue;
            grpc_frames_reset(link, call->id);
            grpc_call_end(link, call, &late);
            next = link->buckets[i]; /* the callback may have made others */
        }
    if (!more)
        CHECK(uv_timer_stop(timer) == 0);
}

static void begin(struct grpc_link *link, struct grpc_call *call, const char *path, struct slice message,
                  uint32_t timeout_ms)
{
    CHECK(message.len <= GRPC_REQUEST_MAX);
    call->path = path;
    call->timeout_ms = timeout_ms;
    call->deadline_ns = timeout_ms == 0 ? INT64_MAX : bench_now_ns() + (int64_t)timeout_ms * 1000000;
    if (!link->up || link->dropping || link->closing) {
        fail_later(link, call);
        return;
    }
    if (timeout_ms != 0 && !uv_is_active((uv_handle_t *)&link->tick))
        CHECK(uv_timer_start(&link->tick, on_tick, TICK_MS, TICK_MS) == 0);
    if (link->waiting == NULL && may_send(link, message.len)) {
        send_call(link, call, message);
        return;
    }
    CHECK(lapse_is_ok(buf_append(&call->message, message.data, message.len)));
    call->next = NULL;
    *link->waiting_end = call;
    link->waiting_end = &call->next;
}

void grpc_link_call(struct grpc_link *link, const char *path, struct slice message, uint32_t timeout_ms,
                    grpc_answer answer, void *arg)
{
    struct grpc_call *call = call_new(link);
    call->answer = answer;
    call->arg = arg;
    begin(link, call, path, message, timeout_ms);
}

void grpc_link_stream(struct grpc_link *link, const char *path, struct slice message, bool open,
                      const struct grpc_stream_handler *handler, void *arg)
{
    struct grpc_call *call = call_new(link);
    call->handler = *handler;
    call->arg = arg;
    call->open = open;
    begin(link, call, path, message, 0);
}

/* --- the link's life ---------------------------------------------------------------------------------------------- */

static void end_all(struct grpc_link *link, const struct lapse_error *why)
{
    struct grpc_call *waiting = link->waiting, *next;
    link->waiting = NULL;
    link->waiting_end = &link->waiting;
    for (; waiting != NULL; waiting = next) {
        next = waiting->next;
        tell_end(link, waiting, why);
    }
    for (int i = 0; i < GRPC_BUCKETS; i++)
        while (link->buckets[i] != NULL)
            grpc_call_end(link, link->buckets[i], why);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct grpc_link *link = handle->data;
    struct grpc_call *next;
    if (--link->handles > 0)
        return;
    for (; link->spare != NULL; link->spare = next) {
        next = link->spare->next;
        call_free(link->spare);
    }
    if (link->closed != NULL)
        link->closed(link->closed_arg);
    free(link);
}

static void close_handles(struct grpc_link *link)
{
    on_later(&link->later);
    uv_close((uv_handle_t *)&link->redial, on_handle_closed);
    uv_close((uv_handle_t *)&link->tick, on_handle_closed);
    uv_close((uv_handle_t *)&link->later, on_handle_closed);
}

static void on_redial(uv_timer_t *timer)
{
    dial(timer->data);
}

static void on_socket_open(void *arg)
{
    struct grpc_link *link = arg;
    link->up = true;
    grpc_frames_begin(link);
    if (link->handler.on_up != NULL)
        link->handler.on_up(link->arg);
}

static void on_socket_data(void *arg, struct slice bytes)
{
    grpc_frames_take(arg, bytes);
}

static void on_socket_close(void *arg, const struct lapse_error *why)
{
    struct grpc_link *link = arg;
    struct lapse_error said;
    if (link->why.code != LAPSE_OK)
        why = &link->why;
    enum lapse_code code = link->closing || why->code == LAPSE_UNAUTHENTICATED ? why->code : LAPSE_UNAVAILABLE;
    (void)lapse_fail(&said, code, "%s: %.200s", link->target.text, why->message);
    link->up = link->dropping = false;
    link->socket = NULL;
    link->why.code = LAPSE_OK;
    grpc_frames_end(link);
    end_all(link, &said);
    if (link->closing) {
        close_handles(link);
        return;
    }
    CHECK(uv_timer_start(&link->redial, on_redial, REDIAL_MS, 0) == 0);
    if (link->handler.on_down != NULL)
        link->handler.on_down(link->arg, &said);
}

static const struct socket_handler on_socket = {on_socket_open, on_socket_data, on_socket_close};

static void dial(struct grpc_link *link)
{
    link->socket = socket_dial(link->loop, &link->target, &on_socket, link);
}

struct grpc_link *grpc_link_new(struct bench_loop *loop, const struct socket_target *target,
                                const struct grpc_link_handler *handler, void *arg)
{
    struct grpc_link *link = mem_calloc(1, sizeof *link);
    link->loop = bench_loop_uv(loop);
    link->target = *target;
    link->handler = *handler;
    link->arg = arg;
    link->waiting_end = &link->waiting;
    link->handles = 3;
    CHECK(uv_timer_init(link->loop, &link->redial) == 0 && uv_timer_init(link->loop, &link->tick) == 0 &&
          uv_timer_init(link->loop, &link->later) == 0);
    link->redial.data = link->tick.data = link->later.data = link;
    dial(link);
    return link;
}

bool grpc_link_is_up(const struct grpc_link *link)
{
    return link->up && !link->dropping;
}

void grpc_link_drop(struct grpc_link *link, const char *why)
{
    if (link->socket == NULL || link->dropping)
        return;
    link->dropping = true;
    (void)lapse_fail(&link->why, LAPSE_UNAVAILABLE, "%s", why);
    socket_close(link->socket);
}

void grpc_link_free(struct grpc_link *link, void (*closed)(void *arg), void *arg)
{
    CHECK(!link->closing);
    link->closing = true;
    link->closed = closed;
    link->closed_arg = arg;
    if (link->socket == NULL) {
        close_handles(link);
        return;
    }
    (void)lapse_fail(&link->why, LAPSE_CANCELLED, "closed");
    link->dropping = true;
    socket_close(link->socket);
}

/* --- from the scenario's thread ----------------------------------------------------------------------------------- */

struct opening {
    struct bench_loop *loop;
    const struct socket_target *target;
    struct grpc_link *link;
    struct bench_gate *gate;
    bool up;
    struct lapse_error why; /* the last failure; the loop's until the link is parted with */
};

static void open_up(void *arg)
{
    struct opening *opening = arg;
    if (!opening->up)
        bench_gate_step(opening->gate);
    opening->up = true;
}

static void open_failed(void *arg, const struct lapse_error *why)
{
    struct opening *opening = arg;
    opening->why = *why;
}

static void open_begin(void *arg)
{
    static const struct grpc_link_handler handler = {open_up, open_failed};
    struct opening *opening = arg;
    opening->link = grpc_link_new(opening->loop, opening->target, &handler, opening);
}

/* The link outlives the question. */
static void open_part(void *arg)
{
    struct opening *opening = arg;
    opening->link->handler = (struct grpc_link_handler){0};
}

lapse_result grpc_link_open(struct bench_loop *loop, const struct socket_target *target, uint32_t patience_ms,
                            struct grpc_link **link, struct lapse_error *error)
{
    struct opening opening = {
        .loop = loop, .target = target, .gate = bench_gate_new(), .why = {LAPSE_UNAVAILABLE, "no answer"}};
    bench_gate_expect(opening.gate, 1);
    bench_loop_call(loop, open_begin, &opening);
    bool up = bench_gate_wait(opening.gate, patience_ms);
    bench_loop_call(loop, open_part, &opening);
    bench_gate_free(opening.gate);
    if (up) {
        *link = opening.link;
        return lapse_ok();
    }
    grpc_link_close(loop, opening.link);
    return lapse_fail(error, LAPSE_UNAVAILABLE, "%s can't be reached: %.200s", target->text, opening.why.message);
}

struct asking {
    struct grpc_link *link;
    const char *path;
    struct slice message;
    uint32_t timeout_ms;
    struct buf *answer;
    struct bench_gate *gate;
    struct lapse_error error;
};

static void ask_done(void *arg, struct slice message, const struct lapse_error *error)
{
    struct asking *asking = arg;
    if (error != NULL)
        asking->error = *error;
    else if (asking->answer != NULL && !lapse_is_ok(buf_append(asking->answer, message.data, message.len)))
        (void)lapse_fail(&asking->error, LAPSE_RESOURCE_EXHAUSTED, "%s: the answer is too large", asking->path);
    bench_gate_step(asking->gate);
}

static void ask_begin(void *arg)
{
    struct asking *asking = arg;
    grpc_link_call(asking->link, asking->path, asking->message, asking->timeout_ms, ask_done, asking);
}

lapse_result grpc_link_ask(struct bench_loop *loop, struct grpc_link *link, const char *path, struct slice message,
                           uint32_t timeout_ms, struct buf *answer, struct lapse_error *error)
{
    CHECK(timeout_ms > 0);
    struct asking asking = {link, path, message, timeout_ms, answer, bench_gate_new(), {0}};
    bench_gate_expect(asking.gate, 1);
    bench_loop_call(loop, ask_begin, &asking);
    while (!bench_gate_wait(asking.gate, timeout_ms)) /* it ends by itself, and until then it is in use */
        uv_sleep(1);
    bench_gate_free(asking.gate);
    return asking.error.code == LAPSE_OK ? lapse_ok()
                                         : lapse_fail(error, asking.error.code, "%s", asking.error.message);
}

struct shutting {
    struct grpc_link *link;
    struct bench_gate *gate;
};

static void shut_done(void *arg)
{
    struct shutting *shutting = arg;
    bench_gate_step(shutting->gate);
}

static void shut_begin(void *arg)
{
    struct shutting *shutting = arg;
    grpc_link_free(shutting->link, shut_done, shutting);
}

void grpc_link_close(struct bench_loop *loop, struct grpc_link *link)
{
    struct shutting shutting = {link, NULL};
    if (link == NULL)
        return;
    shutting.gate = bench_gate_new();
    bench_gate_expect(shutting.gate, 1);
    bench_loop_call(loop, shut_begin, &shutting);
    while (!bench_gate_wait(shutting.gate, 1000))
        uv_sleep(1);
    bench_gate_free(shutting.gate);
}
