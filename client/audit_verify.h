/* Verifies records one after the other, in bounded memory: hashes, order, completeness, signed heads. Needs no cluster.
 *
 *            header            record                       trailer
 *   BEGIN ------------> RECORDS ---, <--' head (any number) ----------> END --> verdict
 *                          '-------'
 *
 * What it shows. Each record's bytes are what was hashed, with all records before it: nothing was changed, left out,
 * moved or put in between, *as far as the newest head whose signature is good reaches*. What comes behind that head, or
 * an export without any, could have been written anew by whoever made the file: the verdict says so. The beginning of a
 * range is believed, unless it is revision 1. Heads from elsewhere (`audit_verify_expect`) find out that the end is
 * missing, or that history was another one before: a restored backup.
 *
 * Not safe for use by several threads at once. */
#ifndef LAPSE_CLIENT_AUDIT_VERIFY_H
#define LAPSE_CLIENT_AUDIT_VERIFY_H

#include "client/audit_keys.h"

struct audit_verify;

/* What was found, once everything was good. */
struct audit_verdict {
    uint64_t records, heads; /* in the export */
    uint64_t first, last;    /* revisions; last is first - 1 when there are no records */
    uint64_t signed_to;      /* the newest record that a good head covers; 0: none */
    uint64_t signed_by;      /* that head's node */
    int64_t signed_ms;
    uint32_t nodes;           /* that have signed a head of records here; ids above 63 are not counted */
    uint32_t expected_met;    /* heads from elsewhere that fit */
    uint32_t expected_before; /* heads from elsewhere that are older than the first record, and show nothing */
    uint64_t newer; /* records with fields that this build doesn't know: their bytes are verified, their JSON is not */
    char cluster[129];
};

/* Each record that is good so far, with its event in JSON, lent. May be NULL. */
typedef void (*audit_record_cb)(void *arg, const struct lapse_audit_record *record, const json_t *event);

/* Borrows `keys` until audit_verify_free; NULL: signed heads are passed over, and nothing counts as signed. */
struct audit_verify *audit_verify_new(const struct audit_keys *keys, audit_record_cb on_record, void *arg);
/* Accepts NULL. */
void audit_verify_free(struct audit_verify *verify);

/* A head from elsewhere: what it says must be found in the records. Before the first line. `from` names it in messages.
 * DATA_LOSS when its signature is not good, RESOURCE_EXHAUSTED past LIMIT_AUDIT_HEADS. */
lapse_result audit_verify_expect(struct audit_verify *verify, const struct lapse_signed_head *head, const char *from,
                                 struct lapse_error *error) LAPSE_MUST_USE;

/* The next line of an export. DATA_LOSS says which revision is bad and why; after a failure only audit_verify_free may
 * follow. An audit_file_cb. */
lapse_result audit_verify_line(void *verify, const char *text, size_t len, struct lapse_error *error) LAPSE_MUST_USE;

/* The same for what comes from a node. `readable` may be NULL. */
lapse_result audit_verify_begin(struct audit_verify *verify, const struct audit_header *header,
                                struct lapse_error *error) LAPSE_MUST_USE;
lapse_result audit_verify_record(struct audit_verify *verify, const struct lapse_audit_record *record,
                                 const json_t *readable, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result audit_verify_head(struct audit_verify *verify, const struct lapse_signed_head *head,
                               struct lapse_error *error) LAPSE_MUST_USE;
lapse_result audit_verify_trailer(struct audit_verify *verify, const struct audit_trailer *trailer,
                                  struct lapse_error *error) LAPSE_MUST_USE;

/* After the last line: DATA_LOSS when the end is missing (no trailer, or a head from elsewhere is newer than the last
 * record). */
lapse_result audit_verify_end(struct audit_verify *verify, struct audit_verdict *verdict,
                              struct lapse_error *error) LAPSE_MUST_USE;

#endif
