/* What a run found: sets of samples, values and series over time; as a table for people, JSON for programs
 * (docs/benchmark.md has the schema, "lapse-bench/1"), and SVG plots.
 *
 * A report can be written at any time: what a failed run had measured until then is written too, marked "partial" with
 * the reason. Times are nanoseconds of bench_now_ns; samples are durations in nanoseconds unless their unit says
 * otherwise. */
#ifndef LAPSE_BENCH_HARNESS_REPORT_H
#define LAPSE_BENCH_HARNESS_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/result.h"

struct report;
struct system;

struct samples {
    int64_t *ns;
    size_t n, capacity;
};
void samples_add(struct samples *samples, int64_t ns);
void samples_free(struct samples *samples);
/* Nearest rank: the smallest sample that at least `percent` of all do not exceed, in ns. 0 without samples. Sorts. */
int64_t samples_percentile(struct samples *samples, double percent);

/* `system` NULL: of the machine alone. Notes version, tuning, flags, machine (cores, processor, kernel, memory, file
 * system) and time. */
struct report *report_new(const char *scenario, const struct system *system);
void report_free(struct report *report);

void report_setting(struct report *report, const char *name, int64_t value);
void report_setting_text(struct report *report, const char *name, const char *value);
/* A named set of samples that belongs to the report from now on; the same name gives the same set. Shown in ms.
 * `what`: a line for people, "event at the last subscriber". One thread at a time. */
struct samples *report_samples(struct report *report, const char *name, const char *what);
/* A single figure: report_value(r, "acknowledged_per_s", "acknowledged writes a second", "1/s", 21000). */
void report_value(struct report *report, const char *name, const char *what, const char *unit, double value);
/* A point of a series over time, for plots: `at_ns` since the series began (negative: before the event that it is
 * about). */
void report_point(struct report *report, const char *series, int64_t at_ns, int64_t latency_ns);
/* A moment in the series: "kill -9 of the leader". */
void report_moment(struct report *report, const char *series, int64_t at_ns, const char *what);
/* Something the reader must know: "3 watchers were cut off". */
void report_note(struct report *report, const char *format, ...) LAPSE_PRINTF(2, 3);
/* The run ended early; why. */
void report_partial(struct report *report, const char *why);

void report_print(struct report *report, FILE *out);
/* `path` "-": standard output. UNAVAILABLE with the path and what is wrong. */
lapse_result report_write_json(struct report *report, const char *path, struct lapse_error *error) LAPSE_MUST_USE;
/* Latency over time for each series, and the distribution (CDF) of each set of samples, into `directory` (made when
 * missing) as SCENARIO-SYSTEM-NAME.svg. Drawn by gnuplot: NOT_FOUND, and nothing written, without it. */
lapse_result report_write_plots(struct report *report, const char *directory, struct lapse_error *error) LAPSE_MUST_USE;

/* A line on standard error that replaces itself on a terminal; `total` 0: unknown. At most ten times a second. */
void progress(const char *what, uint64_t done, uint64_t total);
void progress_end(void);

#endif
