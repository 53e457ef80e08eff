/* A report for programs: "lapse-bench/1", which docs/benchmark.md describes. */
#include <errno.h>
#include <string.h>

#include "bench/harness/report_internal.h"
#include "client/lapse.h"

static json_t *text_or_null(const char *text)
{
    return text == NULL ? json_null() : json_string(text);
}

static json_t *system_json(const struct report *report)
{
    if (report->system == NULL)
        return json_null();
    return json_pack("{s:s,s:s,s:s,s:s,s:I}", "name", report->system, "version", report->version, "tuning",
                     report->tuning, "flags", report->flags, "nodes", (json_int_t)report->nodes);
}

static json_t *machine_json(const struct report_machine *machine)
{
    return json_pack("{s:I,s:s,s:s,s:I,s:s}", "cores", (json_int_t)machine->cores, "processor", machine->processor,
                     "kernel", machine->kernel, "memory_bytes", (json_int_t)machine->memory_bytes, "file_system",
                     machine->file_system);
}

static json_t *settings_json(const struct report *report)
{
    json_t *json = json_object();
    for (size_t i = 0; i < report->n_settings; i++) {
        const struct report_setting_entry *entry = &report->settings[i];
        json_object_set_new(json, entry->name,
                            entry->text != NULL ? json_string(entry->text) : json_integer(entry->number));
    }
    return json;
}

/* The distribution: [percent, ms] at each hundredth, and finer at the end. */
static json_t *distribution_json(struct samples *samples)
{
    static const double tail[] = {99.5, 99.9, 99.95, 99.99, 100};
    json_t *json = json_array();
    for (int percent = 0; percent < 100 && samples->n > 0; percent++)
        json_array_append_new(json,
                              json_pack("[f,f]", (double)percent, report_ms(samples_percentile(samples, percent))));
    for (size_t i = 0; i < sizeof tail / sizeof tail[0] && samples->n > 0; i++)
        json_array_append_new(json, json_pack("[f,f]", tail[i], report_ms(samples_percentile(samples, tail[i]))));
    return json;
}

static json_t *set_json(struct report_set *set)
{
    static const struct {
        const char *name;
        double percent;
    } columns[] = {{"min", 0}, {"p50", 50}, {"p90", 90}, {"p95", 95}, {"p99", 99}, {"p999", 99.9}, {"max", 100}};
    struct samples *samples = &set->samples;
    json_t *json = json_pack("{s:s,s:s,s:I,s:f}", "what", set->what, "unit", "ms", "n", (json_int_t)samples->n, "mean",
                             samples_mean_ms(samples));
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        json_object_set_new(json, columns[i].name,
                            json_real(report_ms(samples_percentile(samples, columns[i].percent))));
    json_object_set_new(json, "distribution", distribution_json(samples));
    return json;
}

static json_t *series_json(const struct report_series *series)
{
    json_t *points = json_array(), *moments = json_array();
    for (size_t i = 0; i < series->n; i++)
        json_array_append_new(points,
                              json_pack("[f,f]", report_ms(series->at_ns[i]), report_ms(series->latency_ns[i])));
    for (size_t i = 0; i < series->n_moments; i++)
        json_array_append_new(moments,
                              json_pack("[f,s]", report_ms(series->moments[i].at_ns), series->moments[i].what));
    return json_pack("{s:s,s:o,s:o}", "unit", "ms", "points", points, "moments", moments);
}

static json_t *report_json(struct report *report)
{
    json_t *sets = json_object(), *figures = json_object(), *series = json_object(), *notes = json_array();
    for (size_t i = 0; i < report->n_sets; i++)
        json_object_set_new(sets, report->sets[i]->name, set_json(report->sets[i]));
    for (size_t i = 0; i < report->n_figures; i++) {
        const struct report_figure *figure = &report->figures[i];
        json_object_set_new(
            figures, figure->name,
            json_pack("{s:s,s:s,s:f}", "what", figure->what, "unit", figure->unit, "value", figure->value));
    }
    for (size_t i = 0; i < report->n_series; i++)
        json_object_set_new(series, report->series[i].name, series_json(&report->series[i]));
    for (size_t i = 0; i < report->n_notes; i++)
        json_array_append_new(notes, json_string(report->notes[i]));
    return json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "schema", "lapse-bench/1", "scenario",
                     report->scenario, "time", report->time, "benchmark", lapse_version(), "system",
                     system_json(report), "machine", machine_json(&report->machine), "settings", settings_json(report),
                     "partial", text_or_null(report->partial), "samples", sets, "values", figures, "series", series,
                     "notes", notes);
}

lapse_result report_write_json(struct report *report, const char *path, struct lapse_error *error)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *out = standard ? stdout : fopen(path, "w");
    if (out == NULL)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "%s can't be written: %s", path, strerror(errno));
    json_t *json = report_json(report);
    bool ok =
        json != NULL && json_dumpf(json, out, JSON_COMPACT | JSON_REAL_PRECISION(7)) == 0 && fputc('\n', out) != EOF;
    int failed = errno;
    json_decref(json);
    if ((standard ? fflush(out) : fclose(out)) != 0) {
        failed = errno;
        ok = false;
    }
    return ok ? lapse_ok() : lapse_fail(error, LAPSE_UNAVAILABLE, "%s can't be written: %s", path, strerror(failed));
}
