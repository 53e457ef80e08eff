/* A report for people. */
#include <inttypes.h>

#include "bench/harness/report_internal.h"

#define WIDTH "46"

static void print_title(const struct report *report, FILE *out)
{
    fprintf(out, "%s: ", report->scenario);
    if (report->system == NULL)
        fputs("this machine", out);
    else
        fprintf(out, "%s %s (%s), %" PRIu32 " node%s", report->system, report->version, report->tuning, report->nodes,
                report->nodes == 1 ? "" : "s");
    for (size_t i = 0; i < report->n_settings; i++) {
        const struct report_setting_entry *entry = &report->settings[i];
        if (entry->text != NULL)
            fprintf(out, ", %s %s", entry->name, entry->text);
        else
            fprintf(out, ", %s %" PRId64, entry->name, entry->number);
    }
    fputc('\n', out);
}

static void print_sets(struct report *report, FILE *out)
{
    if (report->n_sets > 0)
        fprintf(out, "  %-" WIDTH "s %8s %10s %10s %10s %10s\n", "ms", "n", "p50", "p90", "p99", "max");
    for (size_t i = 0; i < report->n_sets; i++) {
        struct samples *samples = &report->sets[i]->samples;
        fprintf(out, "  %-" WIDTH "s %8zu %10.3f %10.3f %10.3f %10.3f\n", report->sets[i]->what, samples->n,
                report_ms(samples_percentile(samples, 50)), report_ms(samples_percentile(samples, 90)),
                report_ms(samples_percentile(samples, 99)), report_ms(samples_percentile(samples, 100)));
    }
}

void report_print(struct report *report, FILE *out)
{
    print_title(report, out);
    print_sets(report, out);
    for (size_t i = 0; i < report->n_figures; i++) {
        const struct report_figure *figure = &report->figures[i];
        int digits = figure->value >= 100 ? 0 : 3;
        fprintf(out, "  %-" WIDTH "s %19.*f %s\n", figure->what, digits, figure->value, figure->unit);
    }
    for (size_t i = 0; i < report->n_notes; i++)
        fprintf(out, "  note: %s\n", report->notes[i]);
    if (report->partial != NULL)
        fprintf(out, "  PARTIAL: %s\n", report->partial);
    fflush(out);
}
