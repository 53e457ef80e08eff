#include "bench/harness/pacer.h"

#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"

struct pacer {
    uv_poll_t poll;
    int fd;
    void (*due)(void *arg);
    void *arg;
};

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct pacer *pacer = poll->data;
    uint64_t times;
    (void)events;
    CHECK(status == 0);
    /* Nothing to read: it was set anew meanwhile. */
    if (read(pacer->fd, &times, sizeof times) == (ssize_t)sizeof times)
        pacer->due(pacer->arg);
}

struct pacer *pacer_new(uv_loop_t *loop, void (*due)(void *arg), void *arg)
{
    struct pacer *pacer = mem_calloc(1, sizeof *pacer);
    pacer->due = due;
    pacer->arg = arg;
    pacer->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    CHECK(pacer->fd >= 0);
    CHECK(uv_poll_init(loop, &pacer->poll, pacer->fd) == 0);
    pacer->poll.data = pacer;
    CHECK(uv_poll_start(&pacer->poll, UV_READABLE, on_readable) == 0);
    return pacer;
}

void pacer_set(struct pacer *pacer, int64_t at_ns)
{
    /* Zero would disarm it. */
    struct itimerspec moment = {.it_value = {at_ns / 1000000000, at_ns > 0 ? at_ns % 1000000000 : 1}};
    CHECK(timerfd_settime(pacer->fd, TFD_TIMER_ABSTIME, &moment, NULL) == 0);
}

static void on_closed(uv_handle_t *handle)
{
    struct pacer *pacer = handle->data;
    close(pacer->fd);
    free(pacer);
}

void pacer_close(struct pacer *pacer)
{
    if (pacer != NULL)
        uv_close((uv_handle_t *)&pacer->poll, on_closed);
}
