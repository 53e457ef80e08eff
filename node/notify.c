#include "node/notify.h"

#include <systemd/sd-daemon.h>

/* A failed notification can't be helped: systemd's own time limits decide then. */

void notify_ready(const char *status)
{
    (void)sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void notify_status(const char *status)
{
    (void)sd_notifyf(0, "STATUS=%s", status);
}

void notify_stopping(void)
{
    (void)sd_notify(0, "STOPPING=1\nSTATUS=stopping");
}

uint64_t notify_watchdog_interval_us(void)
{
    uint64_t limit_us = 0;
    return sd_watchdog_enabled(0, &limit_us) > 0 ? limit_us / 2 : 0;
}

void notify_watchdog(void)
{
    (void)sd_notify(0, "WATCHDOG=1");
}
