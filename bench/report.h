/* What a benchmark reports: percentiles, settings and the machine, as a table for people and JSON for programs. */
#ifndef LAPSE_BENCH_REPORT_H
#define LAPSE_BENCH_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Durations of one kind in nanoseconds of CLOCK_MONOTONIC. */
struct samples {
    int64_t *ns;
    size_t n, capacity;
};
void samples_add(struct samples *samples, int64_t ns);
void samples_free(struct samples *samples);
/* Nearest rank: the smallest sample that at least `percent` of all do not exceed. In ms. 0 without samples. Sorts. */
double samples_percentile(struct samples *samples, double percent);

int64_t monotonic_ns(void);

/* {"p50":..,"p99":..,"max":..} in ms. */
json_t *report_samples(struct samples *samples);
/* A line of the table: "  ack    1.234   2.345   3.456". */
void report_line(const char *name, struct samples *samples);
/* {"scenario":..,"version":..,"unit":"ms","machine":{cores,kernel,cpu}}; the caller adds the rest. */
json_t *report_new(const char *scenario);
/* Writes to `path` ("-": standard output) and releases; false with a message on standard error when that fails. */
bool report_write(json_t *report, const char *path);

#endif
