/* Results on the terminal: aligned tables for people, JSON for programs. Nothing from outside reaches a terminal
 * unescaped. */
#ifndef LAPSE_CLIENT_CLI_OUTPUT_H
#define LAPSE_CLIENT_CLI_OUTPUT_H

#include <jansson.h>
#include <stdio.h>

#include "client/cli/cli.h"
#include "client/schema.h"

/* An object with all fields of the message under their .proto names: 64-bit numbers as numbers, states by name, bytes
 * in hex, an empty message as null. */
json_t *output_json(const struct codec_message *message, const void *object);
/* One line; takes over `json`. */
void output_json_line(FILE *out, json_t *json);
void output_json_message(FILE *out, const struct codec_message *message, const void *object);

/* `text` with control characters as \xNN, so that a justification can't move the cursor. */
void output_text(FILE *out, const char *text);

/* A table is filled cell by cell, row after row, and printed with its columns aligned. */
struct output_table;
struct output_table *output_table_new(int n_columns, const char *const *titles);
void output_table_cell(struct output_table *table, const char *format, ...) LAPSE_PRINTF(2, 3);
/* `none` instead when there are no rows. */
void output_table_print(const struct output_table *table, FILE *out, const char *none);
void output_table_free(struct output_table *table);

/* Everything about a grant, a line a field; empty ones are left out. `now_ms`: cluster time. */
void output_grant(FILE *out, const struct lapse_grant *grant, int64_t now_ms);
/* The outcome of a change, in the form that was asked for. */
void output_mutation(struct cli *cli, const struct lapse_mutation *done);
/* One line. */
void output_event(FILE *out, const struct lapse_event *event);
/* "read,connect". */
void output_join(const char *const *words, size_t n, char *out, size_t size);
/* "ACTIVE", in colour when `out` is a terminal. */
void output_state(FILE *out, enum lapse_grant_state state);

#endif
