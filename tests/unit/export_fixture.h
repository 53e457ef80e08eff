/* Exports to test with: the records of a real store, chained as a node has them, and heads signed with keys of their
 * own. */
#ifndef LAPSE_TESTS_EXPORT_FIXTURE_H
#define LAPSE_TESTS_EXPORT_FIXTURE_H

#include <jansson.h>

#include "client/audit_keys.h"
#include "client/audit_line.h"
#include "tests/unit/store_fixture.h"

#define FIXTURE_RECORDS 4096

struct export_fixture {
    struct store *store;
    struct {
        struct buf event;
        struct chain_head hash;
        uint64_t epoch;
    } records[FIXTURE_RECORDS]; /* revision 1 is the first one */
    size_t n;
    int64_t now_ms;
};

/* With the roles of fixture_store. */
void export_fixture_init(struct export_fixture *fixture);
void export_fixture_free(struct export_fixture *fixture);
/* Applies a command at `now_ms`, which must take effect, and keeps its events as records. */
struct store_outcome export_fixture_do(struct export_fixture *fixture, struct command command);
/* Requests grant `number`, approves it by user:app1. */
void export_fixture_grant(struct export_fixture *fixture, uint64_t number);

struct lapse_audit_record export_fixture_record(const struct export_fixture *fixture, uint64_t revision);
/* The event in JSON; a new reference. */
json_t *export_fixture_event(const struct export_fixture *fixture, uint64_t revision);

/* A key pair of a node, always the same one. */
struct fixture_signer {
    uint64_t node_id;
    uint8_t public_key[LAPSE_AUDIT_KEY_BYTES], signature[LAPSE_AUDIT_SIGNATURE_BYTES];
    struct lapse_signed_head head; /* the last one that it signed; its bytes lie here and in the fixture */
};
void fixture_signer_init(struct fixture_signer *signer, uint64_t node_id);
struct lapse_node_key fixture_signer_key(const struct fixture_signer *signer);
/* Signs the head of that revision. */
const struct lapse_signed_head *fixture_sign(struct fixture_signer *signer, const struct export_fixture *fixture,
                                             uint64_t revision);
/* Signs whatever is in signer->head. */
void fixture_sign_again(struct fixture_signer *signer);

/* The lines of an export of these records with one head at its end; the caller frees each and the array. */
struct fixture_lines {
    char **lines;
    size_t n;
};
struct fixture_lines fixture_export(struct export_fixture *fixture, struct fixture_signer *signer, uint64_t from,
                                    uint64_t to);
void fixture_lines_free(struct fixture_lines *lines);

#endif
