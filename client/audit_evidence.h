/* The whole story of one grant, gathered from records, as one JSON document from which all its forms are made.
 *
 *   records --evidence_add--> story --evidence_document--> JSON --+--> evidence_print_text
 *                                                                 '--> evidence_print_html
 *
 * The document (lapse-audit(5)): "grant" as last seen, "policy", "approvals", "sessions", "uses", "enforcement" with
 * receipts, "review", "timeline", "checks" (what is there, what is missing, said plainly), "complete", "proof". */
#ifndef LAPSE_CLIENT_AUDIT_EVIDENCE_H
#define LAPSE_CLIENT_AUDIT_EVIDENCE_H

#include <jansson.h>
#include <stdio.h>

#include "client/lapse_audit.h"

struct evidence;

/* `from_start`: the records begin with revision 1, so that what is not among them didn't happen. */
struct evidence *evidence_new(const char *grant_id, bool from_start);
/* Accepts NULL. */
void evidence_free(struct evidence *evidence);
/* The next record, in the order of revisions; what is not about the grant is passed over. An audit_record_cb. */
void evidence_add(void *evidence, const struct lapse_audit_record *record, const json_t *event);
/* What a node knows of the revocation's barrier, which no record tells while nobody has confirmed. */
void evidence_barrier(struct evidence *evidence, const struct lapse_barrier *barrier);
/* Whether a record of the grant was among them. */
bool evidence_found(const struct evidence *evidence);
/* Its first and last record of all that the document shows; 0: none. */
uint64_t evidence_first(const struct evidence *evidence);
uint64_t evidence_last(const struct evidence *evidence);
/* How far the records are proven to be the cluster's own. */
struct evidence_proof {
    bool verified;    /* the chain from the first record shown to a signed head, without a gap */
    const char *text; /* how it was verified, or why not */
    const char *cluster;
    uint64_t from, signed_to;
    uint64_t node_id; /* whose head it is */
    int64_t signed_ms;
};

/* A new object. `made_ms`: when it is made. */
json_t *evidence_document(const struct evidence *evidence, const struct evidence_proof *proof, int64_t made_ms);

/* client/audit_evidence_text.c, audit_evidence_html.c */
void evidence_print_text(FILE *out, const json_t *document);
void evidence_print_html(FILE *out, const json_t *document);

#endif
