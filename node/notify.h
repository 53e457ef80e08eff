/* What systemd is told (sd_notify), when it asked. Outside of systemd all of this does nothing. Any thread. */
#ifndef LAPSE_NODE_NOTIFY_H
#define LAPSE_NODE_NOTIFY_H

#include <stdint.h>

/* The ports are bound and served. `status` is a line for `systemctl status`. */
void notify_ready(const char *status);
void notify_status(const char *status);
/* A clean stop has begun. */
void notify_stopping(void);
/* How often the watchdog expects notify_watchdog, in microseconds, already halved for safety; 0: never. */
uint64_t notify_watchdog_interval_us(void);
/* Called by the core loop: it lives, so the node does. */
void notify_watchdog(void);

#endif
