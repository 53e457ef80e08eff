#include "base/wake.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct wake *wake = CONTAINER_OF(poll, struct wake, poll);
    uint64_t count;
    (void)events;
    CHECK(status == 0);
    ssize_t n = read(wake->fd, &count, sizeof count);
    CHECK(n == (ssize_t)sizeof count || errno == EAGAIN);
    /* Before `woken` looks: what is sent from here on needs another wake-up. */
    atomic_store(&wake->pending, 0);
    wake->woken(wake);
}

bool wake_init(struct wake *wake, uv_loop_t *loop, void (*woken)(struct wake *wake))
{
    wake->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wake->fd < 0)
        return false;
    wake->woken = woken;
    wake->closed = NULL;
    atomic_init(&wake->pending, 0);
    atomic_init(&wake->senders, 0);
    CHECK(uv_poll_init(loop, &wake->poll, wake->fd) == 0);
    CHECK(uv_poll_start(&wake->poll, UV_READABLE, on_readable) == 0);
    return true;
}

/* Nothing is touched once `senders` is given back: the loop may be closing the handle by then. */
void wake_send(struct wake *wake)
{
    static const uint64_t one = 1;
    atomic_fetch_add(&wake->senders, 1);
    if (atomic_exchange(&wake->pending, 1) == 0)
        CHECK(write(wake->fd, &one, sizeof one) == (ssize_t)sizeof one);
    atomic_fetch_sub(&wake->senders, 1);
}

static void on_closed(uv_handle_t *handle)
{
    struct wake *wake = CONTAINER_OF((uv_poll_t *)handle, struct wake, poll);
    if (wake->closed != NULL)
        wake->closed(wake);
}

void wake_close(struct wake *wake, void (*closed)(struct wake *wake))
{
    atomic_store(&wake->pending, 1); /* whoever sends from here on, all the same, finds it sent */
    while (atomic_load(&wake->senders) > 0)
        (void)sched_yield();
    wake->closed = closed;
    uv_close((uv_handle_t *)&wake->poll, on_closed);
    CHECK(close(wake->fd) == 0);
}

bool wake_is_closing(const struct wake *wake)
{
    return uv_is_closing((const uv_handle_t *)&wake->poll) != 0;
}
