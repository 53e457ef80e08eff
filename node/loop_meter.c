#include "node/loop_meter.h"

#include "node/metrics.h"

/* Two windows take turns: what is shown covers one to two of them. */
#define WINDOW_NS (10ull * 1000 * 1000 * 1000)

static void turn_window(struct loop_meter *meter, uint64_t now_ns)
{
    uint64_t windows = (now_ns - meter->window_ns) / WINDOW_NS;
    if (windows == 0)
        return;
    meter->longest_us[1] = windows == 1 ? meter->longest_us[0] : 0;
    meter->longest_us[0] = 0;
    meter->window_ns += windows * WINDOW_NS;
}

static void note(struct loop_meter *meter, int64_t took_us)
{
    if (took_us > meter->longest_us[0])
        meter->longest_us[0] = took_us;
    metric_max(METRIC_LOOP_US_MAX, took_us);
    metric_set(METRIC_LOOP_US_RECENT,
               meter->longest_us[0] > meter->longest_us[1] ? meter->longest_us[0] : meter->longest_us[1]);
}

void loop_meter_turn(struct loop_meter *meter, uint64_t now_ns, uint64_t idle_ns)
{
    if (meter->turned_ns == 0)
        meter->window_ns = now_ns;
    turn_window(meter, now_ns);
    if (meter->turned_ns != 0)
        note(meter, (int64_t)((now_ns - meter->turned_ns) - (idle_ns - meter->idle_ns)) / 1000);
    meter->turned_ns = now_ns;
    meter->idle_ns = idle_ns;
}
