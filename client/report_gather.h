/* What can be counted about access in a period, from records alone, as one JSON document from which all forms are made.
 *
 *   records --report_add--> counts and what stands at the end --report_document--> JSON --> report_print_text, _html
 *
 * All records up to the period's end are needed, from revision 1 on: who held which role, which grants were live and
 * which enforcement points were registered is what the earlier ones tell. Of records that begin later the document says
 * so, and what can't be known is not counted against anybody. Pure: no clock, no files. */
#ifndef LAPSE_CLIENT_REPORT_GATHER_H
#define LAPSE_CLIENT_REPORT_GATHER_H

#include <jansson.h>
#include <stdio.h>

#include "client/lapse_audit.h"

/* Past this a grant that is live when the period ends counts as standing access. */
#define REPORT_LONG_MS (8LL * 3600 * 1000)
/* Grants of one subject for one resource with no more time than this between the end and the next beginning are one
 * access that is renewed; from so many on it is listed. */
#define REPORT_RENEWAL_GAP_MS (3600LL * 1000)
#define REPORT_RENEWALS 3
/* Lists are cut here, and say how many there are. */
#define REPORT_LIST 100

struct report;

/* `from_ms` <= time < `to_ms`; INT64_MAX: up to the last record. `from_start`: the records begin with revision 1. */
struct report *report_new(int64_t from_ms, int64_t to_ms, bool from_start);
/* Accepts NULL. */
void report_free(struct report *report);
/* The next record, in the order of revisions. An audit_record_cb. */
void report_add(void *report, const struct lapse_audit_record *record, const json_t *event);
/* A new object. `cluster`, `proof`: what is said about where the records are from. */
json_t *report_document(struct report *report, const char *cluster, const char *proof, int64_t made_ms);

/* Of `n` sorted values the smallest that at least `percent` of them do not pass; 0 for none. */
int64_t report_percentile(const int64_t *sorted, size_t n, double percent);

/* client/report_text.c, report_html.c */
void report_print_text(FILE *out, const json_t *document);
void report_print_html(FILE *out, const json_t *document);

#endif
