/* The audit chain for programs: records as any node has them, signed heads, all that is known of one grant.
 *
 * Every event of the cluster is a record; each record's hash covers the hash of the one before it, and nodes sign such
 * hashes ("heads"). What is hashed and signed, byte by byte, and what it shows: docs/decisions/0013-audit.md; files of
 * records: lapse-audit(5). All of this is for the roles auditor and operator. The conventions are those of lapse.h. */
#ifndef LAPSE_AUDIT_H
#define LAPSE_AUDIT_H

#include "client/lapse.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LAPSE_AUDIT_HASH_BYTES 32
#define LAPSE_AUDIT_KEY_BYTES 32
#define LAPSE_AUDIT_SIGNATURE_BYTES 64

struct lapse_audit_record {
    uint64_t epoch;
    uint64_t revision;
    struct lapse_bytes event; /* a lapse.v1.Event: what is hashed */
    struct lapse_bytes hash;  /* LAPSE_AUDIT_HASH_BYTES: of the previous record's hash, the epoch and the event */
};

/* What a node has signed: that the record of this revision had this hash. */
struct lapse_signed_head {
    const char *cluster;
    uint64_t epoch;
    uint64_t revision;
    struct lapse_bytes hash;
    int64_t time_ms; /* when it was signed */
    uint64_t node_id;
    struct lapse_bytes public_key; /* Ed25519, LAPSE_AUDIT_KEY_BYTES */
    struct lapse_bytes signature;  /* LAPSE_AUDIT_SIGNATURE_BYTES */
};

/* All that is set must hold. */
struct lapse_audit_filter {
    const char *grant_id;
    const char *subject;
    const char *resource; /* this one, or with "/" and an asterisk at its end everything below it */
    const char *actor;
    const enum lapse_event_type *types;
    size_t n_types;
    int64_t from_ms;
    int64_t to_ms; /* before this moment; 0: now */
};

struct lapse_audit_query_args {
    struct lapse_audit_filter filter;
    uint32_t page_size;     /* 0: 100; at most 1000 */
    const char *page_token; /* from the previous page; NULL: the first */
    bool descending;        /* newest first */
};

struct lapse_audit_page {
    uint64_t epoch;
    uint64_t revision; /* up to which the node has answered */
    int64_t time_ms;
    const struct lapse_audit_record *records;
    size_t n_records;
    const char *next_page_token; /* "" after the last page */
};
void lapse_audit_page_free(struct lapse_audit_page *page);
typedef void (*lapse_audit_query_cb)(void *arg, const struct lapse_audit_page *result, const struct lapse_error *error);

/* One page of the records that match, in the order of revisions. INVALID_ARGUMENT for a token that is none. */
lapse_result lapse_audit_query(struct lapse_client *client, const struct lapse_audit_query_args *args,
                               uint32_t timeout_ms, struct lapse_audit_page *result,
                               struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_audit_query_async(struct lapse_client *client, const struct lapse_audit_query_args *args,
                                     uint32_t timeout_ms, lapse_audit_query_cb callback, void *arg,
                                     struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;

struct lapse_audit_tail_args {
    struct lapse_audit_filter filter;
    uint64_t from_revision; /* the first record; 0: from now on */
    uint64_t to_revision;   /* the last record; 0: goes on until the call's deadline, and ends with DEADLINE_EXCEEDED */
};

/* What is passed is lent for the callback, which runs on the client's thread. */
struct lapse_audit_callbacks {
    void (*on_record)(void *arg, const struct lapse_audit_record *record);
    void (*on_head)(void *arg, const struct lapse_signed_head *head); /* may be NULL */
};

/* Records as they are written, each once, in the order of revisions, and the signed heads in between. `callbacks` and
 * `arg` live until it returns. After a change of node it goes on behind the last record. */
lapse_result lapse_audit_tail(struct lapse_client *client, const struct lapse_audit_tail_args *args,
                              uint32_t timeout_ms, const struct lapse_audit_callbacks *callbacks, void *arg,
                              struct lapse_error *error) LAPSE_MUST_USE;

struct lapse_evidence_args {
    const char *grant_id;
};

/* Everything about one grant: its records, those of its revocation at the enforcement points, its sessions and its
 * review, in the order of revisions, and the newest signed head. NOT_FOUND. */
lapse_result lapse_audit_evidence(struct lapse_client *client, const struct lapse_evidence_args *args,
                                  uint32_t timeout_ms, const struct lapse_audit_callbacks *callbacks, void *arg,
                                  struct lapse_error *error) LAPSE_MUST_USE;

struct lapse_audit_head_args {
    char unused; /* nothing to say; NULL will do */
};

struct lapse_node_key {
    uint64_t node_id;
    struct lapse_bytes public_key;
};

struct lapse_audit_head {
    struct lapse_signed_head head;
    const struct lapse_node_key *keys; /* of all nodes, as far as the one that answered knows them */
    size_t n_keys;
};
void lapse_audit_head_free(struct lapse_audit_head *head);
typedef void (*lapse_audit_head_cb)(void *arg, const struct lapse_audit_head *result, const struct lapse_error *error);

/* The newest head of one node's chain, signed for this call. Kept elsewhere it shows later whether anything was lost.
 */
lapse_result lapse_audit_head(struct lapse_client *client, const struct lapse_audit_head_args *args,
                              uint32_t timeout_ms, struct lapse_audit_head *result,
                              struct lapse_error *error) LAPSE_MUST_USE;
lapse_result lapse_audit_head_async(struct lapse_client *client, const struct lapse_audit_head_args *args,
                                    uint32_t timeout_ms, lapse_audit_head_cb callback, void *arg,
                                    struct lapse_call **call, struct lapse_error *error) LAPSE_MUST_USE;

#ifdef __cplusplus
}
#endif

#endif
