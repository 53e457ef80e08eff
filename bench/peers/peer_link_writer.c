#include "base/check.h"
#include "bench/peers/peer_link_clients.h"

#define PATIENCE_MS 60000u
#define KEEP_MS 1000u

static struct peer_link_writer *of_link(struct peer_link *link)
{
    return CONTAINER_OF(link, struct peer_link_writer, link);
}

static void opened(struct peer_link_writer *writer, const struct lapse_error *error)
{
    if (!writer->opening)
        return;
    writer->opening = false;
    if (error != NULL)
        writer->error = *error;
    bench_gate_step(writer->gate);
}

static void on_ready(struct peer_link *link)
{
    opened(of_link(link), NULL);
}

static void on_answer(struct peer_link *link, uint32_t number, const struct lapse_error *error)
{
    peer_pending_finish(&of_link(link)->pending, number, error);
}

static void on_gone(struct peer_link *link, uint32_t item)
{
    (void)link, (void)item; /* a writer watches nothing */
}

static void on_closed(struct peer_link *link, const struct lapse_error *why)
{
    struct peer_link_writer *writer = of_link(link);
    struct lapse_error error = *why;
    error.code = writer->closing ? LAPSE_CANCELLED : LAPSE_UNAVAILABLE;
    peer_pending_finish_all(&writer->pending, &error);
    opened(writer, why);
    if (writer->closing)
        bench_gate_step(writer->gate);
}

static const struct peer_link_user user = {on_ready, on_answer, on_gone, on_closed};

static void on_keep(uv_timer_t *timer)
{
    struct peer_link_writer *writer = timer->data;
    if (writer->link.state == LINK_READY)
        writer->link.protocol->keep(&writer->link);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static void open_on_loop(void *arg)
{
    struct peer_link_writer *writer = arg;
    uv_loop_t *loop = bench_loop_uv(writer->loop);
    writer->link.loop = loop;
    CHECK(uv_timer_init(loop, &writer->keep) == 0);
    writer->keep.data = writer;
    if (writer->link.protocol->keep != NULL)
        CHECK(uv_timer_start(&writer->keep, on_keep, KEEP_MS, KEEP_MS) == 0);
    peer_link_open(&writer->link);
}

lapse_result peer_writer_open(struct peer_link_writer *writer, struct bench_loop *loop, const char *address,
                              const struct peer_link_protocol *protocol, int32_t session_ms, struct lapse_error *error)
{
    *writer = (struct peer_link_writer){.loop = loop, .gate = bench_gate_new(), .opening = true};
    peer_link_init(&writer->link, NULL, address, protocol, &user);
    writer->link.session_ms = session_ms;
    bench_gate_expect(writer->gate, 1);
    bench_loop_call(loop, open_on_loop, writer);
    if (!bench_gate_wait(writer->gate, PATIENCE_MS))
        (void)lapse_fail(error, LAPSE_UNAVAILABLE, "%s: no connection within %u s", address, PATIENCE_MS / 1000);
    else if (writer->error.code == LAPSE_OK)
        return lapse_ok();
    else
        (void)lapse_fail(error, LAPSE_UNAVAILABLE, "%s: %s", address, writer->error.message);
    peer_writer_close(writer);
    return lapse_failed(LAPSE_UNAVAILABLE);
}

uint32_t peer_writer_number(struct peer_link_writer *writer, system_done done, void *arg)
{
    uint32_t number = peer_pending_add(&writer->pending, done, arg);
    if (writer->link.state == LINK_CLOSED && !writer->closing)
        peer_link_open(&writer->link);
    return number;
}

/* --- closing ------------------------------------------------------------------------------------------------------ */

static void on_timer_closed(uv_handle_t *handle)
{
    struct peer_link_writer *writer = handle->data;
    bench_gate_step(writer->gate);
}

static void close_on_loop(void *arg)
{
    struct peer_link_writer *writer = arg;
    const struct lapse_error cancelled = {LAPSE_CANCELLED, "the writer was closed"};
    writer->closing = true;
    opened(writer, &cancelled);
    peer_pending_finish_all(&writer->pending, &cancelled);
    bench_gate_expect(writer->gate, writer->link.state == LINK_CLOSED ? 1 : 2);
    uv_close((uv_handle_t *)&writer->keep, on_timer_closed);
    peer_link_close(&writer->link);
}

void peer_writer_close(struct peer_link_writer *writer)
{
    bench_loop_call(writer->loop, close_on_loop, writer);
    while (!bench_gate_wait(writer->gate, PATIENCE_MS))
        ;
    peer_link_free(&writer->link);
    peer_pending_free(&writer->pending);
    bench_gate_free(writer->gate);
}
