/* Waking a loop from other threads: as uv_async does it, but for its handshake. There a receiver that runs before its
 * sender has returned from the wake-up, which is the rule where both share a processor, spins until it has: some 25 us
 * at each hop. */
#ifndef LAPSE_BASE_WAKE_H
#define LAPSE_BASE_WAKE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

struct wake {
    uv_poll_t poll;
    int fd; /* an eventfd */
    void (*woken)(struct wake *wake);
    void (*closed)(struct wake *wake);
    _Atomic(unsigned) pending; /* sent, and not begun to be answered */
    _Atomic(unsigned) senders; /* inside of wake_send */
};

/* On the loop's thread, or before it runs. Keeps the loop alive until closed. False: no file descriptor is left. */
bool wake_init(struct wake *wake, uv_loop_t *loop, void (*woken)(struct wake *wake));
/* Any thread. `woken` runs on the loop after this, at least once for all that was sent before it began. */
void wake_send(struct wake *wake);
/* On the loop's thread, when nobody begins to send any more. Waits for those who have begun; `closed` (may be NULL)
 * follows from the loop. */
void wake_close(struct wake *wake, void (*closed)(struct wake *wake));
bool wake_is_closing(const struct wake *wake);

#endif
