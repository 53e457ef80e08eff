/* The lines of an export, of kept heads and of keys: JSON, one object a line with one member that says what it is.
 *
 *   {"header":{...}}     first: of which cluster, from which record to which, and the hash of the record before
 *   {"record":{...}}     epoch, revision, the event in base64, its hash in hex, and "readable": the event for people
 *   {"head":{...}}       what a node has signed
 *   {"trailer":{...}}    last: how many records and heads there are
 *   {"key":{...}}        a node's public key
 *
 * Described for other programs in lapse-audit(5). Strict: a member that is missing, unknown, twice there or of another
 * type makes a line malformed, since what is not understood can't be verified. */
#ifndef LAPSE_CLIENT_AUDIT_LINE_H
#define LAPSE_CLIENT_AUDIT_LINE_H

#include <jansson.h>

#include "client/lapse_audit.h"

#define AUDIT_FORMAT 1

enum audit_line_kind {
    AUDIT_LINE_HEADER = 1,
    AUDIT_LINE_RECORD = 2,
    AUDIT_LINE_HEAD = 3,
    AUDIT_LINE_TRAILER = 4,
    AUDIT_LINE_KEY = 5
};

struct audit_header {
    const char *cluster;
    uint64_t epoch;
    uint64_t from_revision, to_revision; /* to_revision is from_revision - 1 when there are no records */
    struct lapse_bytes previous;         /* the hash of the record before the first one */
    int64_t exported_ms;
};

struct audit_trailer {
    uint64_t records, heads;
};

struct audit_line {
    enum audit_line_kind kind; /* of the members below the one that it names is filled */
    struct audit_header header;
    struct lapse_audit_record record;
    const json_t *readable; /* of the record */
    struct lapse_signed_head head;
    struct audit_trailer trailer;
    struct lapse_node_key key;
    /* What the members point into. */
    json_t *json;
    uint8_t *bytes;
};

/* Fills `line`, which then owns memory. INVALID_ARGUMENT with what is wrong; nothing is filled then. */
lapse_result audit_line_parse(const char *text, size_t len, struct audit_line *line,
                              struct lapse_error *error) LAPSE_MUST_USE;
/* Accepts a zeroed struct. */
void audit_line_release(struct audit_line *line);

/* New objects, to be written on a line each. */
json_t *audit_header_line(const struct audit_header *header);
/* `readable` is taken over. */
json_t *audit_record_line(const struct lapse_audit_record *record, json_t *readable);
json_t *audit_head_line(const struct lapse_signed_head *head);
json_t *audit_trailer_line(const struct audit_trailer *trailer);
json_t *audit_key_line(const struct lapse_node_key *key);

#endif
