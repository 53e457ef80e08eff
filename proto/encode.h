/* The server's answers as bytes, straight from plain data in one pass: no generated struct, no copy but the last.
 *
 * The bytes are those that a generated codec writes for the same message (tests/unit/test_convert.c compares). Every
 * function appends to `out` and fails only with RESOURCE_EXHAUSTED at its bound; `out` then holds a fragment that must
 * be dropped. */
#ifndef LAPSE_PROTO_ENCODE_H
#define LAPSE_PROTO_ENCODE_H

#include "store/points.h"

/* Where in history an answer stands. */
struct proto_point {
    uint64_t epoch;
    uint64_t revision;
    int64_t time_ms;
};

/* What is known of one point and one barrier. */
struct proto_receipt {
    struct slice point; /* its id */
    struct random_id instance;
    uint32_t level; /* lapse.v1.ReceiptLevel */
    int64_t time_ms;
    struct slice reason;
    uint32_t left_ms;
};

lapse_result proto_encode_grant(const struct grant *grant, struct buf *out) LAPSE_MUST_USE;

/* The kinds of lapse.v1.WatchResponse. Those about a point use its revision and time. */
/* `event`: the bytes of a lapse.v1.Event, which the store has made (store/words.h). */
lapse_result proto_encode_watch_event(uint64_t epoch, struct slice event, struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_watch_grant(uint64_t epoch, const struct grant *grant, struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_watch_created(const struct proto_point *point, struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_watch_progress(const struct proto_point *point, struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_watch_snapshot_end(const struct proto_point *point, struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_watch_resync(uint64_t epoch, const char *reason, struct buf *out) LAPSE_MUST_USE;

/* `grant` and `barrier` may be NULL. */
lapse_result proto_encode_mutation(const struct proto_point *point, const struct grant *grant, bool repeated_call,
                                   const struct barrier *barrier, struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_get(const struct proto_point *point, const struct grant *grant,
                              struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_check(const struct proto_point *point, bool allowed, const char *verdict,
                                const struct grant *grant, int64_t valid_for_ms, struct buf *out) LAPSE_MUST_USE;

/* A page is written in pieces: begin, each grant, end. */
lapse_result proto_encode_list_begin(const struct proto_point *point, struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_list_grant(const struct grant *grant, struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_list_end(struct slice next_page_token, struct buf *out) LAPSE_MUST_USE;

/* Likewise the roles: begin, then each binding. */
lapse_result proto_encode_list_roles_begin(const struct proto_point *point, struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_list_roles_binding(struct slice member, uint32_t roles, struct slice scope,
                                             struct buf *out) LAPSE_MUST_USE;

/* encode_points.c. `barrier` may be NULL: it is no longer known. What holds receipts or points is written in pieces, in
 * the order of these functions. */
lapse_result proto_encode_revoke_matching(const struct proto_point *point, const struct barrier *barrier,
                                          bool repeated_call, struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_progress_begin(const struct proto_point *point, const struct barrier *barrier,
                                         struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_progress_receipt(const struct proto_receipt *receipt, struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_progress_end(bool committed, bool last, struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_list_points_begin(const struct proto_point *point, struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_list_points_point(const struct point *point, struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_list_points_end(struct slice next_page_token, struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_get_barrier_begin(const struct proto_point *point, const struct barrier *barrier,
                                            struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_get_barrier_receipt(const struct proto_receipt *receipt, struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_get_barrier_end(uint32_t omitted, struct buf *out) LAPSE_MUST_USE;

/* encode_governance.c. `barrier` may be NULL. A list (ListPoliciesResponse, ListLocksResponse, ...) is written in pieces:
 * begin, each object's own bytes, end. */
lapse_result proto_encode_change(const struct proto_point *point, const struct barrier *barrier, bool repeated_call,
                                 struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_objects_begin(const struct proto_point *point, struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_objects_object(struct slice value, struct buf *out) LAPSE_MUST_USE;
lapse_result proto_encode_objects_end(struct slice next_page_token, struct buf *out) LAPSE_MUST_USE;

#endif
