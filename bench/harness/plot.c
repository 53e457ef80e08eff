/* SVG plots, drawn by gnuplot from a script with the data in it. */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "bench/harness/process.h"
#include "bench/harness/report_internal.h"

#define NAME_SIZE 160

/* SCENARIO-SYSTEM-NAME, of characters that any file system takes. */
static void plot_name(const struct report *report, const char *name, char out[NAME_SIZE])
{
    snprintf(out, NAME_SIZE, "%s-%s-%s", report->scenario, report->system == NULL ? "machine" : report->system, name);
    for (char *at = out; *at != '\0'; at++)
        if (!isalnum((unsigned char)*at) && *at != '-' && *at != '_')
            *at = '_';
}

/* In a gnuplot string in double quotes. */
static void print_quoted(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++)
        fputc(*text == '"' || *text == '\\' || *text == '`' || (unsigned char)*text < ' ' ? ' ' : *text, out);
    fputc('"', out);
}

static void print_head(const struct report *report, const char *directory, const char *name, const char *what,
                       FILE *out)
{
    char file[NAME_SIZE], title[300];
    plot_name(report, name, file);
    snprintf(title, sizeof title, "%s, %s %s: %s", report->scenario, report->system == NULL ? "" : report->system,
             report->version == NULL ? "" : report->version, what);
    fputs("reset\nset terminal svg noenhanced size 900,420 background rgb 'white'\nset output ", out);
    char path[PROCESS_PATH_SIZE + NAME_SIZE];
    snprintf(path, sizeof path, "%s/%s.svg", directory, file);
    print_quoted(out, path);
    fputs("\nset title ", out);
    print_quoted(out, title);
    fputs("\nset grid\nset key off\n", out);
}

static void print_cdf(struct report *report, struct report_set *set, const char *directory, FILE *out)
{
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s-cdf", set->name);
    print_head(report, directory, name, set->what, out);
    bool wide = samples_percentile(&set->samples, 0) > 0;
    fprintf(out, "set xlabel 'ms'\nset ylabel '%% of samples'\nset yrange [0:100]\n%splot '-' with lines lw 2\n",
            wide ? "set logscale x\n" : "");
    for (int permille = 0; permille <= 1000; permille++)
        fprintf(out, "%.6f %.1f\n", report_ms(samples_percentile(&set->samples, permille / 10.0)), permille / 10.0);
    fputs("e\n", out);
}

static void print_series(const struct report *report, const struct report_series *series, const char *directory,
                         FILE *out)
{
    print_head(report, directory, series->name, "latency over time", out);
    fputs("set xlabel 's'\nset ylabel 'ms'\nset logscale y\n", out);
    for (size_t i = 0; i < series->n_moments; i++) {
        double at = report_ms(series->moments[i].at_ns) / 1e3;
        fprintf(out, "set arrow from first %.6f, graph 0 to first %.6f, graph 1 nohead lc rgb 'red'\nset label ", at,
                at);
        print_quoted(out, series->moments[i].what);
        fprintf(out, " at first %.6f, graph 0.97 offset 0.5,0 textcolor rgb 'red'\n", at);
    }
    fputs("plot '-' with points pt 7 ps 0.3\n", out);
    for (size_t i = 0; i < series->n; i++)
        fprintf(out, "%.6f %.6f\n", report_ms(series->at_ns[i]) / 1e3, report_ms(series->latency_ns[i]));
    fputs("e\n", out);
}

lapse_result report_write_plots(struct report *report, const char *directory, struct lapse_error *error)
{
    char gnuplot[PROCESS_PATH_SIZE];
    if (!process_find("gnuplot", gnuplot))
        return lapse_fail(error, LAPSE_NOT_FOUND, "plots need gnuplot: install gnuplot-nox");
    if (strlen(directory) >= PROCESS_PATH_SIZE)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the directory's name is too long");
    if (mkdir(directory, 0777) != 0 && errno != EEXIST)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "%s: %s", directory, strerror(errno));
    FILE *script = popen("gnuplot", "we");
    if (script == NULL)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "gnuplot: %s", strerror(errno));
    for (size_t i = 0; i < report->n_sets; i++)
        if (report->sets[i]->samples.n > 0)
            print_cdf(report, report->sets[i], directory, script);
    for (size_t i = 0; i < report->n_series; i++)
        if (report->series[i].n > 0)
            print_series(report, &report->series[i], directory, script);
    return pclose(script) == 0 ? lapse_ok() : lapse_fail(error, LAPSE_UNAVAILABLE, "gnuplot failed");
}
