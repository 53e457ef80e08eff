/* Plots as inline SVG, for html_page.h: bars with their numbers, and lines of time. No script, no library. */
#ifndef LAPSE_CLIENT_HTML_PLOT_H
#define LAPSE_CLIENT_HTML_PLOT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct plot_bar {
    const char *label;
    int64_t value;
};

/* One bar beside the other, from 0 up, each with its value above it; labels below, thinned out where they would touch.
 * What the plot shows is `title`, also for those who can't see it. */
void plot_bars(FILE *out, const char *title, const struct plot_bar *bars, size_t n);

struct plot_span {
    const char *label;
    int64_t from_ms, to_ms; /* equal: a moment */
    const char *tone;       /* "wait", "open", "use", "end" */
};

/* Spans below one another on one scale of time. */
void plot_spans(FILE *out, const char *title, const struct plot_span *spans, size_t n);

#endif
