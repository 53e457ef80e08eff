#include "node/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

_Atomic(int64_t) metrics[METRIC_COUNT];

static const struct {
    const char *type, *name, *help;
} descriptions[METRIC_COUNT] = {
#define METRIC_DESCRIPTION(id, type, name, help) [id] = {#type, name, help},
    METRICS(METRIC_DESCRIPTION)
#undef METRIC_DESCRIPTION
};

void metric_max(enum metric metric, int64_t value)
{
    int64_t known = metric_get(metric);
    while (value > known && !atomic_compare_exchange_weak_explicit(&metrics[metric], &known, value,
                                                                   memory_order_relaxed, memory_order_relaxed))
        continue;
}

static lapse_result append_header(struct buf *out, const char *name, const char *type, const char *help)
{
    return buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Seconds since the Unix epoch of the machine's start; 0 when the kernel does not tell. */
static int64_t boot_time_s(void)
{
    char line[256];
    int64_t boot_s = 0;
    FILE *stat = fopen("/proc/stat", "re");
    if (stat == NULL)
        return 0;
    while (boot_s == 0 && fgets(line, sizeof line, stat) != NULL)
        (void)sscanf(line, "btime %" SCNd64, &boot_s);
    (void)fclose(stat);
    return boot_s;
}

/* Clock ticks between the machine's start and this process's: field 22 of /proc/self/stat. */
static uint64_t start_ticks(void)
{
    char text[1024] = "";
    uint64_t ticks = 0;
    FILE *stat = fopen("/proc/self/stat", "re");
    if (stat == NULL)
        return 0;
    text[fread(text, 1, sizeof text - 1, stat)] = '\0';
    (void)fclose(stat);
    /* The second field is a name in parentheses that may hold anything, so counting starts behind it. */
    const char *field = strrchr(text, ')');
    for (int i = 2; field != NULL && i < 22; i++)
        field = strchr(field + 1, ' ');
    if (field != NULL)
        (void)sscanf(field, "%" SCNu64, &ticks);
    return ticks;
}

static lapse_result append_process(struct buf *out)
{
    long hertz = sysconf(_SC_CLK_TCK);
    int64_t boot_s = boot_time_s();
    uint64_t ticks = start_ticks();
    if (boot_s == 0 || ticks == 0 || hertz <= 0)
        return lapse_ok();
    lapse_result result = append_header(out, "process_start_time_seconds", "gauge",
                                        "Start of the process in seconds since the Unix epoch");
    if (lapse_is_ok(result))
        result = buf_printf(out, "process_start_time_seconds %.2f\n", (double)boot_s + (double)ticks / (double)hertz);
    return result;
}

static lapse_result append_build(struct buf *out)
{
    lapse_result result = append_header(out, "lapse_build_info", "gauge", "Always 1; the version is in the label");
    if (lapse_is_ok(result))
        result = buf_printf(out, "lapse_build_info{version=\"%s\"} 1\n", LAPSE_VERSION);
    return result;
}

lapse_result metrics_render(struct buf *out)
{
    size_t start = out->len;
    lapse_result result = lapse_ok();
    for (size_t i = 0; i < METRIC_COUNT && lapse_is_ok(result); i++) {
        result = append_header(out, descriptions[i].name, descriptions[i].type, descriptions[i].help);
        if (lapse_is_ok(result))
            result = buf_printf(out, "%s %" PRId64 "\n", descriptions[i].name, metric_get((enum metric)i));
    }
    if (lapse_is_ok(result))
        result = append_build(out);
    if (lapse_is_ok(result))
        result = append_process(out);
    if (!lapse_is_ok(result))
        out->len = start;
    return result;
}
