/* Pages for auditors: one self-contained file, no script, nothing loaded from anywhere, readable on paper and in black
 * and white: what a colour says, a word says, too.
 *
 * Everything that comes from outside goes through html_text. */
#ifndef LAPSE_CLIENT_HTML_PAGE_H
#define LAPSE_CLIENT_HTML_PAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

void html_begin(FILE *out, const char *title);
void html_end(FILE *out, const char *footer);

/* `text` with what HTML gives a meaning escaped, and what would move or reorder text (control characters, bidirectional
 * overrides) made visible as \u{...}. Bytes that are no UTF-8 become U+FFFD. */
void html_text(FILE *out, const char *text);

/* A section with a heading; html_section_end closes it. */
void html_section(FILE *out, const char *title);
void html_section_end(FILE *out);
void html_paragraph(FILE *out, const char *text);

/* A list of names and values: begin, html_fact for each, end. Facts with an empty value are left out. */
void html_facts(FILE *out);
void html_fact(FILE *out, const char *name, const char *value);
void html_facts_end(FILE *out);

/* A table: begin with `n` titles, html_cells for each row, end. */
void html_table(FILE *out, int n, const char *const *titles);
void html_cells(FILE *out, int n, const char *const *cells);
void html_table_end(FILE *out);

/* A word in a coloured frame. `tone`: "good", "bad", "open", "plain". */
void html_badge(FILE *out, const char *tone, const char *text);

#endif
