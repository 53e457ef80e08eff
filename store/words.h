/* The words of lapse.v1 (grant.proto) as bytes, straight from plain data: what events, answers and the audit chain are made
 * of. They stand in the store since it hashes each event as it is told (chain.h): one encoding, made once.
 *
 * Canonical: fields in ascending order, none that is empty; the bytes are those that a generated codec writes
 * (tests/unit/test_convert.c compares). The functions with `field` write one nested message, nothing for NULL. */
#ifndef LAPSE_STORE_WORDS_H
#define LAPSE_STORE_WORDS_H

#include "base/wire.h"
#include "store/objects.h"
#include "store/points.h"

/* An event; `type` is one of enum store_event_type, which is lapse.v1.EventType. */
struct event_words {
    uint64_t revision;
    int64_t time_ms;
    uint32_t type;
    const struct grant *grant; /* NULL: about no grant */
    struct slice member;       /* not empty: roles of `member` were changed */
    uint32_t roles;
    struct slice scope; /* of the roles; empty: none */
    /* What else it is about; NULL: nothing of that kind. */
    const struct point *point;
    const struct barrier *barrier;
    const struct session *session;
    bool session_ended;
    const struct sweep *sweep;
    struct slice actor;
    const struct object *object;
    struct slice receipts; /* written by words_put_receipt under WORD_EVENT_RECEIPTS */
};

/* RESOURCE_EXHAUSTED at the buffer's bound; `out` then holds a fragment that must be dropped. */
lapse_result words_encode_event(const struct event_words *event, struct buf *out) LAPSE_MUST_USE;

void words_put_grant_fields(struct wire_writer *writer, const struct grant *grant);
void words_put_grant(struct wire_writer *writer, uint32_t field, const struct grant *grant);
void words_put_roles(struct wire_writer *writer, uint32_t field, struct slice member, uint32_t roles,
                     struct slice scope);
/* A scope's text: its patterns become the elements of a repeated field. */
void words_put_scope(struct wire_writer *writer, uint32_t field, struct slice scope);
void words_put_point(struct wire_writer *writer, uint32_t field, const struct point *point);
void words_put_barrier(struct wire_writer *writer, uint32_t field, const struct barrier *barrier);
void words_put_session(struct wire_writer *writer, uint32_t field, const struct session *session, int64_t ended_ms);
void words_put_sweep(struct wire_writer *writer, uint32_t field, const struct sweep *sweep);
void words_put_receipt(struct wire_writer *writer, uint32_t field, struct slice point, const struct receipt *receipt);
/* As text; nothing for a zero id. */
void words_put_id(struct wire_writer *writer, uint32_t field, struct grant_id id);

/* "requester", ... for one bit of enum role; NULL for anything else. */
const char *role_name(uint32_t role);

#endif
