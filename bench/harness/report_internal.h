/* A report's parts, for the files that show it: report_table.c, report_json.c, plot.c. */
#ifndef LAPSE_BENCH_HARNESS_REPORT_INTERNAL_H
#define LAPSE_BENCH_HARNESS_REPORT_INTERNAL_H

#include <jansson.h>

#include "bench/harness/report.h"

struct report_set {
    char *name, *what;
    struct samples samples;
};

struct report_figure {
    char *name, *what, *unit;
    double value;
};

struct report_setting_entry {
    char *name;
    char *text; /* NULL: a number */
    int64_t number;
};

struct report_moment_entry {
    int64_t at_ns;
    char *what;
};

struct report_series {
    char *name;
    int64_t *at_ns, *latency_ns;
    size_t n, capacity;
    struct report_moment_entry *moments;
    size_t n_moments;
};

struct report_machine {
    long cores;
    uint64_t memory_bytes;
    char processor[128], kernel[128], file_system[64];
};

struct report {
    char *scenario;
    char *system, *version, *tuning, *flags; /* system NULL: of the machine alone */
    uint32_t nodes;
    char time[32]; /* UTC, when it began */
    struct report_machine machine;
    struct report_setting_entry *settings;
    struct report_set **sets; /* pointers: scenarios hold on to the samples */
    struct report_figure *figures;
    struct report_series *series;
    char **notes;
    size_t n_settings, n_sets, n_figures, n_series, n_notes;
    char *partial; /* NULL: complete */
};

void report_machine_read(struct report_machine *machine);
double report_ms(int64_t ns);
double samples_mean_ms(const struct samples *samples);

#endif
