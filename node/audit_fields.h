/* What a record is found by, taken from its event's bytes: one way for records of our own and those of peers, and so
 * what the columns say can be verified from what is hashed. Pure. */
#ifndef LAPSE_NODE_AUDIT_FIELDS_H
#define LAPSE_NODE_AUDIT_FIELDS_H

#include "base/bytes.h"
#include "base/limits.h"

/* A RECEIPTS event may be about as many barriers as it has receipts. */
#define AUDIT_LINKS_MAX LIMIT_RECEIPTS_PER_COMMAND

struct audit_fields {
    uint64_t revision;
    int64_t time_ms;
    uint32_t type;
    bool has_grant;
    uint8_t grant[16];
    /* Whom it is about, and what; empty: nobody, nothing. Slices borrow from the event. */
    struct slice subject, resource, actor;
    /* Barriers and sweeps by id, ascending, each once. */
    uint64_t links[AUDIT_LINKS_MAX];
    uint32_t n_links;
};

/* INVALID_ARGUMENT unless `event` is a lapse.v1.Event with a revision, a time and a type. */
lapse_result audit_fields_read(struct slice event, struct audit_fields *fields,
                               struct lapse_error *error) LAPSE_MUST_USE;

/* What evidence needs to know of an event; empty and zero where it is not of that kind. */
struct audit_end {
    uint32_t state;      /* of its grant */
    struct slice parent; /* text */
    struct slice ended_by, reason;
    uint64_t ended_revision;
    /* Of its sweep. */
    uint64_t sweep;
    struct slice sweep_by, sweep_reason;
};
void audit_end_read(struct slice event, struct audit_end *end);

#endif
