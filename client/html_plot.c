#include "client/html_plot.h"

#include <inttypes.h>
#include <string.h>

#include "client/audit_clock.h"
#include "client/html_page.h"

#define WIDTH 900.0
#define HEIGHT 190.0  /* of bars */
#define BAR_MAX 110.0 /* a bar and its gap */
#define FOOT 24.0     /* labels below */
#define HEAD 20.0     /* numbers above */
#define LABEL 190.0   /* beside spans */
#define ROW 24.0

static void svg_begin(FILE *out, const char *title, double height)
{
    fprintf(out, "<svg viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\" role=\"img\"><title>", WIDTH, height,
            WIDTH, height);
    html_text(out, title);
    fputs("</title>\n", out);
}

static void text_at(FILE *out, double x, double y, const char *anchor, const char *text)
{
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    html_text(out, text);
    fputs("</text>\n", out);
}

static int64_t greatest(const struct plot_bar *bars, size_t n)
{
    int64_t greatest = 1;
    for (size_t i = 0; i < n; i++)
        greatest = bars[i].value > greatest ? bars[i].value : greatest;
    return greatest;
}

static size_t longest_label(const struct plot_bar *bars, size_t n)
{
    size_t longest = 1;
    for (size_t i = 0; i < n; i++)
        longest = strlen(bars[i].label) > longest ? strlen(bars[i].label) : longest;
    return longest;
}

void plot_bars(FILE *out, const char *title, const struct plot_bar *bars, size_t n)
{
    double even = n == 0 ? WIDTH : WIDTH / (double)n, step = even < BAR_MAX ? even : BAR_MAX,
           room = HEIGHT - FOOT - HEAD;
    double scale = room / (double)greatest(bars, n);
    size_t every = (size_t)((double)(longest_label(bars, n) * 7 + 8) / step) + 1;
    char number[32];
    svg_begin(out, title, HEIGHT);
    for (size_t i = 0; i < n; i++) {
        double height = (double)bars[i].value * scale, x = (double)i * step;
        fprintf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"#0b4f9e\"/>\n", x + step * .12,
                HEIGHT - FOOT - height, step * .76, height);
        snprintf(number, sizeof number, "%" PRId64, bars[i].value);
        if (bars[i].value > 0 && step > 7.0 * (double)strlen(number))
            text_at(out, x + step / 2, HEIGHT - FOOT - height - 5, "middle", number);
        if (i % every == 0)
            text_at(out, x + step / 2, HEIGHT - 7, "middle", bars[i].label);
    }
    fprintf(out, "<line x1=\"0\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#1b1f24\"/>\n</svg>\n", WIDTH,
            HEIGHT - FOOT, HEIGHT - FOOT);
}

/* ---- Spans */

static const char *fill_of(const char *tone)
{
    return strcmp(tone, "wait") == 0   ? "#fff\" stroke=\"#57606a\" stroke-dasharray=\"4 3"
           : strcmp(tone, "open") == 0 ? "#9ec5f4\" stroke=\"#0b4f9e"
           : strcmp(tone, "use") == 0  ? "#0b4f9e"
                                       : "#a40e26";
}

static void span(FILE *out, const struct plot_span *span, double y, int64_t from_ms, double scale)
{
    double x = LABEL + (double)(span->from_ms - from_ms) * scale, width = (double)(span->to_ms - span->from_ms) * scale;
    char duration[AUDIT_CLOCK_SIZE];
    if (width < 3)
        width = 3;
    if (x + width > WIDTH)
        x = WIDTH - width;
    text_at(out, 0, y + 14, "start", span->label);
    fprintf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"14\" rx=\"2\" fill=\"%s\"/>\n", x, y + 3, width,
            fill_of(span->tone));
    audit_duration(span->to_ms - span->from_ms, duration);
    if (span->to_ms > span->from_ms && x + width + 90 < WIDTH)
        text_at(out, x + width + 6, y + 14, "start", duration);
    else if (span->to_ms > span->from_ms && x - LABEL > 90)
        text_at(out, x - 6, y + 14, "end", duration);
}

void plot_spans(FILE *out, const char *title, const struct plot_span *spans, size_t n)
{
    int64_t from_ms = INT64_MAX, to_ms = 0;
    char clock[AUDIT_CLOCK_SIZE];
    for (size_t i = 0; i < n; i++) {
        from_ms = spans[i].from_ms < from_ms ? spans[i].from_ms : from_ms;
        to_ms = spans[i].to_ms > to_ms ? spans[i].to_ms : to_ms;
    }
    if (n == 0)
        return;
    double scale = (WIDTH - LABEL) / (double)(to_ms > from_ms ? to_ms - from_ms : 1), height = ROW * (double)n + FOOT;
    svg_begin(out, title, height);
    for (size_t i = 0; i < n; i++)
        span(out, &spans[i], ROW * (double)i, from_ms, scale);
    fprintf(out, "<line x1=\"%.0f\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#1b1f24\"/>\n", LABEL, WIDTH,
            ROW * (double)n, ROW * (double)n);
    text_at(out, LABEL, height - 7, "start", audit_clock(from_ms, clock));
    text_at(out, WIDTH, height - 7, "end", audit_clock(to_ms, clock));
    fputs("</svg>\n", out);
}
