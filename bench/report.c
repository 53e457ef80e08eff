#include "bench/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "client/lapse.h"

int64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void samples_add(struct samples *samples, int64_t ns)
{
    if (samples->n == samples->capacity) {
        samples->capacity = samples->capacity == 0 ? 256 : samples->capacity * 2;
        samples->ns = mem_realloc(samples->ns, samples->capacity * sizeof *samples->ns);
    }
    samples->ns[samples->n++] = ns;
}

void samples_free(struct samples *samples)
{
    free(samples->ns);
    *samples = (struct samples){0};
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

double samples_percentile(struct samples *samples, double percent)
{
    if (samples->n == 0)
        return 0;
    qsort(samples->ns, samples->n, sizeof *samples->ns, compare);
    size_t rank = (size_t)(percent / 100 * (double)samples->n + 0.999999);
    if (rank < 1)
        rank = 1;
    if (rank > samples->n)
        rank = samples->n;
    return (double)samples->ns[rank - 1] / 1e6;
}

json_t *report_samples(struct samples *samples)
{
    return json_pack("{s:f,s:f,s:f}", "p50", samples_percentile(samples, 50), "p99", samples_percentile(samples, 99),
                     "max", samples_percentile(samples, 100));
}

void report_line(const char *name, struct samples *samples)
{
    printf("  %-34s %10.3f %10.3f %10.3f\n", name, samples_percentile(samples, 50), samples_percentile(samples, 99),
           samples_percentile(samples, 100));
}

static void cpu_model(char *out, size_t size)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(out, size, "unknown");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL)
            continue;
        colon[strcspn(colon, "\n")] = '\0';
        snprintf(out, size, "%s", colon + 2);
        break;
    }
    if (file != NULL)
        fclose(file);
}

json_t *report_new(const char *scenario)
{
    struct utsname kernel;
    char cpu[200];
    if (uname(&kernel) != 0)
        snprintf(kernel.release, sizeof kernel.release, "unknown");
    cpu_model(cpu, sizeof cpu);
    return json_pack("{s:s,s:s,s:s,s:{s:i,s:s,s:s}}", "scenario", scenario, "version", lapse_version(), "unit", "ms",
                     "machine", "cores", (int)sysconf(_SC_NPROCESSORS_ONLN), "kernel", kernel.release, "cpu", cpu);
}

bool report_write(json_t *report, const char *path)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *out = standard ? stdout : fopen(path, "w");
    bool ok =
        out != NULL && json_dumpf(report, out, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) == 0 && fputc('\n', out) != EOF;
    if (out != NULL && !standard)
        ok = fclose(out) == 0 && ok;
    if (!ok)
        fprintf(stderr, "lapse-bench: %s can't be written: %s\n", path, strerror(errno));
    json_decref(report);
    return ok;
}
