/* What a run found, gathered; see report.h. How it is shown: report_table.c, report_json.c, plot.c. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bench/harness/report_internal.h"
#include "bench/harness/system.h"

/* --- samples ------------------------------------------------------------------------------------------------------ */

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

static bool is_sorted(const struct samples *samples)
{
    for (size_t i = 1; i < samples->n; i++)
        if (samples->ns[i - 1] > samples->ns[i])
            return false;
    return true;
}

int64_t samples_percentile(struct samples *samples, double percent)
{
    if (samples->n == 0)
        return 0;
    if (!is_sorted(samples))
        qsort(samples->ns, samples->n, sizeof *samples->ns, compare);
    /* Nearest rank: percent * n / 100, rounded up. The little that is taken off keeps 99 % of 1,000 at rank 990. */
    double exact = percent / 100 * (double)samples->n;
    size_t rank = (size_t)exact;
    if (exact - (double)rank > 1e-9 * (double)samples->n)
        rank++;
    if (rank < 1)
        rank = 1;
    return samples->ns[(rank > samples->n ? samples->n : rank) - 1];
}

double samples_mean_ms(const struct samples *samples)
{
    double sum = 0;
    for (size_t i = 0; i < samples->n; i++)
        sum += (double)samples->ns[i];
    return samples->n == 0 ? 0 : sum / (double)samples->n / 1e6;
}

double report_ms(int64_t ns)
{
    return (double)ns / 1e6;
}

/* --- the report --------------------------------------------------------------------------------------------------- */

static void note_time(struct report *report)
{
    time_t now = time(NULL);
    struct tm utc;
    CHECK(gmtime_r(&now, &utc) != NULL);
    CHECK(strftime(report->time, sizeof report->time, "%Y-%m-%dT%H:%M:%SZ", &utc) > 0);
}

struct report *report_new(const char *scenario, const struct system *system)
{
    struct report *report = mem_calloc(1, sizeof *report);
    report->scenario = mem_strdup(scenario);
    if (system != NULL) {
        report->system = mem_strdup(system->kind->name);
        report->version = mem_strdup(system->version);
        report->tuning = mem_strdup(system->tuning == NULL ? "default" : system->tuning);
        report->flags = mem_strdup(system->flags);
        report->nodes = system->n_nodes;
    }
    note_time(report);
    report_machine_read(&report->machine);
    return report;
}

static void free_series(struct report_series *series)
{
    for (size_t i = 0; i < series->n_moments; i++)
        free(series->moments[i].what);
    free(series->moments);
    free(series->at_ns);
    free(series->latency_ns);
    free(series->name);
}

static void free_contents(struct report *report)
{
    for (size_t i = 0; i < report->n_settings; i++) {
        free(report->settings[i].name);
        free(report->settings[i].text);
    }
    for (size_t i = 0; i < report->n_sets; i++) {
        free(report->sets[i]->name);
        free(report->sets[i]->what);
        samples_free(&report->sets[i]->samples);
        free(report->sets[i]);
    }
    for (size_t i = 0; i < report->n_figures; i++) {
        free(report->figures[i].name);
        free(report->figures[i].what);
        free(report->figures[i].unit);
    }
    for (size_t i = 0; i < report->n_series; i++)
        free_series(&report->series[i]);
    for (size_t i = 0; i < report->n_notes; i++)
        free(report->notes[i]);
}

void report_free(struct report *report)
{
    if (report == NULL)
        return;
    free_contents(report);
    free(report->settings);
    free(report->sets);
    free(report->figures);
    free(report->series);
    free(report->notes);
    free(report->scenario);
    free(report->system);
    free(report->version);
    free(report->tuning);
    free(report->flags);
    free(report->partial);
    free(report);
}

/* Room for one more in an array of `n`; arrays here are short. */
#define GROW(array, n) ((array) = mem_realloc((array), ((n) + 1) * sizeof *(array)), &(array)[(n)++])

static struct report_setting_entry *setting(struct report *report, const char *name)
{
    for (size_t i = 0; i < report->n_settings; i++)
        if (strcmp(report->settings[i].name, name) == 0)
            return &report->settings[i];
    struct report_setting_entry *entry = GROW(report->settings, report->n_settings);
    *entry = (struct report_setting_entry){.name = mem_strdup(name)};
    return entry;
}

void report_setting(struct report *report, const char *name, int64_t value)
{
    setting(report, name)->number = value;
}

void report_setting_text(struct report *report, const char *name, const char *value)
{
    struct report_setting_entry *entry = setting(report, name);
    free(entry->text);
    entry->text = mem_strdup(value);
}

struct samples *report_samples(struct report *report, const char *name, const char *what)
{
    for (size_t i = 0; i < report->n_sets; i++)
        if (strcmp(report->sets[i]->name, name) == 0)
            return &report->sets[i]->samples;
    struct report_set *set = mem_calloc(1, sizeof *set);
    *GROW(report->sets, report->n_sets) = set;
    set->name = mem_strdup(name);
    set->what = mem_strdup(what);
    return &set->samples;
}

void report_value(struct report *report, const char *name, const char *what, const char *unit, double value)
{
    for (size_t i = 0; i < report->n_figures; i++)
        if (strcmp(report->figures[i].name, name) == 0) {
            report->figures[i].value = value;
            return;
        }
    *GROW(report->figures, report->n_figures) =
        (struct report_figure){mem_strdup(name), mem_strdup(what), mem_strdup(unit), value};
}

static struct report_series *series_of(struct report *report, const char *name)
{
    for (size_t i = 0; i < report->n_series; i++)
        if (strcmp(report->series[i].name, name) == 0)
            return &report->series[i];
    struct report_series *series = GROW(report->series, report->n_series);
    *series = (struct report_series){.name = mem_strdup(name)};
    return series;
}

void report_point(struct report *report, const char *name, int64_t at_ns, int64_t latency_ns)
{
    struct report_series *series = series_of(report, name);
    if (series->n == series->capacity) {
        series->capacity = series->capacity == 0 ? 256 : series->capacity * 2;
        series->at_ns = mem_realloc(series->at_ns, series->capacity * sizeof *series->at_ns);
        series->latency_ns = mem_realloc(series->latency_ns, series->capacity * sizeof *series->latency_ns);
    }
    series->at_ns[series->n] = at_ns;
    series->latency_ns[series->n++] = latency_ns;
}

void report_moment(struct report *report, const char *name, int64_t at_ns, const char *what)
{
    struct report_series *series = series_of(report, name);
    *GROW(series->moments, series->n_moments) = (struct report_moment_entry){at_ns, mem_strdup(what)};
}

void report_note(struct report *report, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    *GROW(report->notes, report->n_notes) = mem_strdup(text);
}

void report_partial(struct report *report, const char *why)
{
    free(report->partial);
    report->partial = mem_strdup(why);
}
