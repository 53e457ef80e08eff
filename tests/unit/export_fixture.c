#include "tests/unit/export_fixture.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "base/check.h"
#include "client/audit_event.h"

static void on_event(void *arg, const struct store_event *event)
{
    struct export_fixture *fixture = arg;
    CHECK(fixture->n < FIXTURE_RECORDS && event->revision == fixture->n + 1);
    struct buf *bytes = &fixture->records[fixture->n].event;
    buf_init(bytes, LIMIT_MESSAGE_OUT);
    CHECK(lapse_is_ok(buf_append(bytes, event->encoded.data, event->encoded.len)));
    fixture->records[fixture->n].hash = *event->head;
    fixture->records[fixture->n++].epoch = store_epoch(fixture->store);
}

struct store_outcome export_fixture_do(struct export_fixture *fixture, struct command command)
{
    struct store_outcome outcome;
    store_apply(fixture->store, &command, fixture->now_ms, on_event, fixture, &outcome);
    cr_assert_eq(outcome.error.code, LAPSE_OK, "%s", outcome.error.message);
    return outcome;
}

static void set_roles(struct export_fixture *fixture, const char *member, uint32_t roles)
{
    struct command command = {
        .type = COMMAND_SET_ROLES, .principal = slice_str("user:ops"), .member = slice_str(member), .roles = roles};
    export_fixture_do(fixture, command);
}

void export_fixture_init(struct export_fixture *fixture)
{
    struct command init = {
        .type = COMMAND_INIT, .cluster = slice_str("test"), .epoch = 7, .member = slice_str("user:ops")};
    memset(fixture, 0, sizeof *fixture);
    fixture->store = store_new(NULL);
    fixture->now_ms = T0;
    export_fixture_do(fixture, init);
    set_roles(fixture, "user:req1", ROLE_REQUESTER);
    set_roles(fixture, "user:app1", ROLE_APPROVER);
    set_roles(fixture, "user:app2", ROLE_APPROVER);
    set_roles(fixture, "user:ep", ROLE_ENFORCER);
}

void export_fixture_free(struct export_fixture *fixture)
{
    for (size_t i = 0; i < fixture->n; i++)
        buf_free(&fixture->records[i].event);
    store_free(fixture->store);
}

void export_fixture_grant(struct export_fixture *fixture, uint64_t number)
{
    export_fixture_do(fixture, fixture_request(number));
    fixture->now_ms += 1000;
    export_fixture_do(fixture, fixture_about(COMMAND_APPROVE, number, "user:app1"));
    fixture->now_ms += 1000;
}

struct lapse_audit_record export_fixture_record(const struct export_fixture *fixture, uint64_t revision)
{
    CHECK(revision >= 1 && revision <= fixture->n);
    return (struct lapse_audit_record){
        .epoch = fixture->records[revision - 1].epoch,
        .revision = revision,
        .event = {fixture->records[revision - 1].event.data, fixture->records[revision - 1].event.len},
        .hash = {fixture->records[revision - 1].hash.hash, CHAIN_HASH_BYTES}};
}

json_t *export_fixture_event(const struct export_fixture *fixture, uint64_t revision)
{
    json_t *event = audit_event_json(buf_slice(&fixture->records[revision - 1].event), NULL, NULL);
    CHECK(event != NULL);
    return event;
}

/* ---- Signing */

static EVP_PKEY *key_of(const struct fixture_signer *signer)
{
    uint8_t seed[32];
    memset(seed, (int)signer->node_id, sizeof seed);
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof seed);
    CHECK(key != NULL);
    return key;
}

void fixture_signer_init(struct fixture_signer *signer, uint64_t node_id)
{
    size_t len = sizeof signer->public_key;
    memset(signer, 0, sizeof *signer);
    signer->node_id = node_id;
    EVP_PKEY *key = key_of(signer);
    CHECK(EVP_PKEY_get_raw_public_key(key, signer->public_key, &len) == 1);
    EVP_PKEY_free(key);
}

struct lapse_node_key fixture_signer_key(const struct fixture_signer *signer)
{
    return (struct lapse_node_key){signer->node_id, {signer->public_key, sizeof signer->public_key}};
}

void fixture_sign_again(struct fixture_signer *signer)
{
    uint8_t bytes[CHAIN_STATEMENT_MAX];
    size_t len = sizeof signer->signature, n = audit_head_bytes(&signer->head, bytes);
    EVP_PKEY *key = key_of(signer);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    CHECK(EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
          EVP_DigestSign(context, signer->signature, &len, bytes, n) == 1);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
}

const struct lapse_signed_head *fixture_sign(struct fixture_signer *signer, const struct export_fixture *fixture,
                                             uint64_t revision)
{
    struct lapse_audit_record record = export_fixture_record(fixture, revision);
    signer->head = (struct lapse_signed_head){.cluster = "test",
                                              .epoch = record.epoch,
                                              .revision = revision,
                                              .hash = record.hash,
                                              .time_ms = fixture->now_ms,
                                              .node_id = signer->node_id,
                                              .public_key = {signer->public_key, sizeof signer->public_key},
                                              .signature = {signer->signature, sizeof signer->signature}};
    fixture_sign_again(signer);
    return &signer->head;
}

/* ---- Exports */

static void line_add(struct fixture_lines *lines, json_t *json)
{
    lines->lines = mem_realloc(lines->lines, (lines->n + 1) * sizeof *lines->lines);
    lines->lines[lines->n++] = json_dumps(json, JSON_COMPACT);
    json_decref(json);
}

struct fixture_lines fixture_export(struct export_fixture *fixture, struct fixture_signer *signer, uint64_t from,
                                    uint64_t to)
{
    static const struct chain_head zero;
    const struct chain_head *previous = from == 1 ? &zero : &fixture->records[from - 2].hash;
    struct audit_header header = {"test", 7, from, to, {previous->hash, sizeof previous->hash}, fixture->now_ms};
    struct audit_trailer trailer = {to + 1 - from, 1};
    struct fixture_lines lines = {NULL, 0};
    line_add(&lines, audit_header_line(&header));
    for (uint64_t revision = from; revision <= to; revision++) {
        struct lapse_audit_record record = export_fixture_record(fixture, revision);
        line_add(&lines, audit_record_line(&record, export_fixture_event(fixture, revision)));
    }
    line_add(&lines, audit_head_line(fixture_sign(signer, fixture, to)));
    line_add(&lines, audit_trailer_line(&trailer));
    return lines;
}

void fixture_lines_free(struct fixture_lines *lines)
{
    for (size_t i = 0; i < lines->n; i++)
        free(lines->lines[i]);
    free(lines->lines);
    *lines = (struct fixture_lines){NULL, 0};
}
