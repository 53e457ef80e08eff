/* The offline verifier finds out each way of tampering, and names the first bad record. The records are a real store's.
 */
#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/audit_event.h"
#include "client/audit_verify.h"
#include "tests/unit/export_fixture.h"

static struct export_fixture fixture;
static struct fixture_signer node1, node2;
static struct fixture_lines lines;
static struct audit_keys *keys;
static struct audit_verdict verdict;
static struct lapse_error error;

#define GRANTS 3

static void setup(void)
{
    export_fixture_init(&fixture);
    for (uint64_t number = 1; number <= GRANTS; number++)
        export_fixture_grant(&fixture, number);
    export_fixture_do(&fixture, fixture_about(COMMAND_REVOKE, 1, "user:ops"));
    fixture_signer_init(&node1, 1);
    fixture_signer_init(&node2, 2);
    keys = audit_keys_new();
    struct lapse_node_key key = fixture_signer_key(&node1);
    audit_keys_add(keys, &key);
    lines = fixture_export(&fixture, &node1, 1, fixture.n);
}

static void teardown(void)
{
    fixture_lines_free(&lines);
    audit_keys_free(keys);
    export_fixture_free(&fixture);
}

TestSuite(audit_verify, .init = setup, .fini = teardown);

/* Verifies the lines, with a head from elsewhere. True when all is good. */
static bool verify_with(const struct lapse_signed_head *head)
{
    struct audit_verify *verify = audit_verify_new(keys, NULL, NULL);
    lapse_result result = lapse_ok();
    error = (struct lapse_error){.code = LAPSE_OK};
    if (head != NULL)
        result = audit_verify_expect(verify, head, "a point", &error);
    for (size_t i = 0; i < lines.n && lapse_is_ok(result); i++)
        result = audit_verify_line(verify, lines.lines[i], strlen(lines.lines[i]), &error);
    if (lapse_is_ok(result))
        result = audit_verify_end(verify, &verdict, &error);
    audit_verify_free(verify);
    return lapse_is_ok(result);
}

static void must_be_bad(const struct lapse_signed_head *head, const char *what)
{
    cr_assert(!verify_with(head), "it was not found");
    cr_assert_eq(error.code, LAPSE_DATA_LOSS, "%s", error.message);
    cr_assert_not_null(strstr(error.message, what), "\"%s\" does not say \"%s\"", error.message, what);
}

/* Line 0 is the header, so line N is record N. */
static json_t *line_json(size_t line)
{
    return json_loads(lines.lines[line], 0, NULL);
}

static void line_put(size_t line, json_t *json)
{
    free(lines.lines[line]);
    lines.lines[line] = json_dumps(json, JSON_COMPACT);
    json_decref(json);
}

static void text_flip(size_t line, const char *member, size_t at, char to)
{
    json_t *json = line_json(line), *body = json_object_iter_value(json_object_iter(json));
    char *text = strdup(json_string_value(json_object_get(body, member)));
    cr_assert_neq(text[at], to);
    text[at] = to;
    json_object_set_new(body, member, json_string(text));
    free(text);
    line_put(line, json);
}

static char other(size_t line, const char *member, size_t at)
{
    json_t *json = line_json(line), *body = json_object_iter_value(json_object_iter(json));
    char now = json_string_value(json_object_get(body, member))[at];
    json_decref(json);
    return now == 'a' ? 'b' : 'a';
}

static void line_drop(size_t line)
{
    free(lines.lines[line]);
    memmove(&lines.lines[line], &lines.lines[line + 1], (lines.n - line - 1) * sizeof *lines.lines);
    lines.n--;
}

static void number_put(size_t line, const char *member, json_int_t number)
{
    json_t *json = line_json(line), *body = json_object_iter_value(json_object_iter(json));
    json_object_set_new(body, member, json_integer(number));
    line_put(line, json);
}

#define HEAD_LINE (lines.n - 2)
#define TRAILER_LINE (lines.n - 1)

Test(audit_verify, takes_what_a_cluster_has_written)
{
    cr_assert(verify_with(NULL), "%s", error.message);
    cr_assert_eq(verdict.records, fixture.n);
    cr_assert_eq(verdict.signed_to, fixture.n);
    cr_assert_eq(verdict.signed_by, 1u);
    cr_assert_eq(verdict.first, 1u);
    cr_assert_eq(verdict.last, fixture.n);
    cr_assert_str_eq(verdict.cluster, "test");
    cr_assert_eq(verdict.newer, 0u);
}

Test(audit_verify, takes_a_range_and_says_where_it_begins)
{
    fixture_lines_free(&lines);
    lines = fixture_export(&fixture, &node1, 4, 8);
    cr_assert(verify_with(NULL), "%s", error.message);
    cr_assert_eq(verdict.first, 4u);
    cr_assert_eq(verdict.last, 8u);
}

Test(audit_verify, finds_a_flipped_byte_in_the_bytes_of_every_record)
{
    for (size_t line = 1; line <= fixture.n; line++) {
        char what[32], *whole = strdup(lines.lines[line]);
        snprintf(what, sizeof what, "record %zu:", line);
        text_flip(line, "event", 8, other(line, "event", 8));
        must_be_bad(NULL, what);
        free(lines.lines[line]);
        lines.lines[line] = whole;
    }
}

Test(audit_verify, finds_a_flipped_digit_in_a_hash)
{
    text_flip(5, "hash", 17, other(5, "hash", 17));
    must_be_bad(NULL, "record 5: its hash is not that of its bytes");
}

Test(audit_verify, finds_a_changed_word_in_the_readable_form)
{
    json_t *json = line_json(6), *readable = json_object_get(json_object_get(json, "record"), "readable");
    json_object_set_new(readable, "actor", json_string("user:someone"));
    line_put(6, json);
    must_be_bad(NULL, "record 6: its readable form is not what its bytes say");
}

Test(audit_verify, finds_a_readable_form_with_something_left_out)
{
    json_t *json = line_json(6), *readable = json_object_get(json_object_get(json, "record"), "readable");
    json_object_del(readable, "time_ms");
    line_put(6, json);
    must_be_bad(NULL, "record 6: its readable form");
}

Test(audit_verify, finds_a_dropped_record)
{
    line_drop(4);
    number_put(TRAILER_LINE, "records", (json_int_t)fixture.n - 1);
    must_be_bad(NULL, "record 4 is missing");
}

/* Numbers are easily mended; the hash is not. */
Test(audit_verify, finds_a_dropped_record_whose_successors_were_numbered_anew)
{
    line_drop(4);
    for (size_t line = 4; line < fixture.n; line++)
        number_put(line, "revision", (json_int_t)line);
    number_put(0, "to_revision", (json_int_t)fixture.n - 1);
    number_put(HEAD_LINE, "revision", (json_int_t)fixture.n - 1);
    number_put(TRAILER_LINE, "records", (json_int_t)fixture.n - 1);
    must_be_bad(NULL, "record 4: its hash is not that of its bytes");
}

Test(audit_verify, finds_two_swapped_records)
{
    char *first = lines.lines[5];
    lines.lines[5] = lines.lines[6];
    lines.lines[6] = first;
    must_be_bad(NULL, "record 5 is missing: 6 stands in its place");
}

Test(audit_verify, finds_an_inserted_record)
{
    lines.lines = realloc(lines.lines, (lines.n + 1) * sizeof *lines.lines);
    memmove(&lines.lines[6], &lines.lines[5], (lines.n - 5) * sizeof *lines.lines);
    lines.lines[6] = strdup(lines.lines[5]);
    lines.n++;
    must_be_bad(NULL, "record 5 stands where 6 must");
}

/* Whoever can compute hashes can make a chain of their own; they can't sign its head. */
Test(audit_verify, finds_a_history_that_was_hashed_anew)
{
    struct chain_head head = {{0}};
    for (size_t i = 0; i < fixture.n; i++) {
        if (i == 4)
            fixture.records[i].event.data[fixture.records[i].event.len - 1] ^= 1;
        chain_extend(&head, 7, buf_slice(&fixture.records[i].event));
        fixture.records[i].hash = head;
    }
    char *signed_head = strdup(lines.lines[HEAD_LINE]);
    fixture_lines_free(&lines);
    lines = fixture_export(&fixture, &node1, 1, fixture.n);
    free(lines.lines[HEAD_LINE]);
    lines.lines[HEAD_LINE] = signed_head;
    must_be_bad(NULL, "node 1 signed (the export) another hash for it");
}

/* The same with a record left out and the others numbered anew: their bytes know their own numbers. */
Test(audit_verify, finds_records_under_other_numbers_than_their_own)
{
    struct chain_head head = fixture.records[3].hash;
    buf_free(&fixture.records[4].event);
    fixture.n--;
    for (size_t i = 4; i < fixture.n; i++) {
        fixture.records[i].event = fixture.records[i + 1].event;
        chain_extend(&head, 7, buf_slice(&fixture.records[i].event));
        fixture.records[i].hash = head;
    }
    fixture_lines_free(&lines);
    lines = fixture_export(&fixture, &node1, 1, fixture.n);
    must_be_bad(NULL, "record 5: its bytes are those of revision 6");
}

Test(audit_verify, finds_a_cut_end_by_the_trailer)
{
    line_drop(TRAILER_LINE);
    must_be_bad(NULL, "cut off");
    for (size_t n = lines.n; n > 1; n--) {
        lines.n = n;
        must_be_bad(NULL, "the export ends without a trailer");
    }
    lines.n = 0;
    must_be_bad(NULL, "there is no header");
    lines.n = fixture.n + 2;
}

/* An end that was cut with care: header, head and trailer fit. Only who has seen more can tell. */
Test(audit_verify, finds_a_truncated_tail_by_a_later_head_from_elsewhere)
{
    struct fixture_signer kept = node1;
    const struct lapse_signed_head *later = fixture_sign(&kept, &fixture, fixture.n);
    fixture_lines_free(&lines);
    lines = fixture_export(&fixture, &node1, 1, fixture.n - 3);
    cr_assert(verify_with(NULL), "%s", error.message);
    char what[64];
    snprintf(what, sizeof what, "records %zu to %zu are missing: node 1 signed (a point)", fixture.n - 2, fixture.n);
    must_be_bad(later, what);
}

/* The cluster went on from an old backup: as many records, other ones. */
Test(audit_verify, finds_a_restored_backup_by_a_head_from_elsewhere)
{
    static struct export_fixture restored;
    struct fixture_signer kept = node1;
    const struct lapse_signed_head *before = fixture_sign(&kept, &fixture, fixture.n);
    export_fixture_init(&restored);
    for (uint64_t number = 11; restored.n < fixture.n; number++)
        export_fixture_grant(&restored, number);
    fixture_lines_free(&lines);
    lines = fixture_export(&restored, &node1, 1, restored.n);
    cr_assert(verify_with(NULL), "%s", error.message);
    must_be_bad(before, "signed (a point) another hash for it");
    export_fixture_free(&restored);
}

Test(audit_verify, finds_a_cluster_that_was_set_up_anew)
{
    fixture_sign(&node1, &fixture, 3);
    node1.head.epoch = 6;
    fixture_sign_again(&node1);
    must_be_bad(&node1.head, "record 3: it is of epoch 7, but node 1 signed (a point) the one of epoch 6");
}

Test(audit_verify, finds_the_head_of_another_cluster)
{
    fixture_sign(&node1, &fixture, 3);
    node1.head.cluster = "other";
    fixture_sign_again(&node1);
    must_be_bad(&node1.head, "is of cluster \"other\"");
}

Test(audit_verify, takes_heads_from_elsewhere_that_fit)
{
    struct fixture_signer kept = node1;
    cr_assert(verify_with(fixture_sign(&kept, &fixture, 3)), "%s", error.message);
    cr_assert_eq(verdict.expected_met, 1u);
    fixture_lines_free(&lines);
    lines = fixture_export(&fixture, &node1, 5, fixture.n);
    cr_assert(verify_with(&kept.head), "%s", error.message);
    cr_assert_eq(verdict.expected_before, 1u);
}

Test(audit_verify, finds_a_head_whose_signature_is_not_good)
{
    text_flip(HEAD_LINE, "signature", 3, other(HEAD_LINE, "signature", 3));
    must_be_bad(NULL, "is not by node 1");
}

Test(audit_verify, finds_a_head_that_says_another_time_than_was_signed)
{
    number_put(HEAD_LINE, "time_ms", T0 - 1);
    must_be_bad(NULL, "is not by node 1");
}

Test(audit_verify, finds_a_head_with_an_unknown_key)
{
    struct audit_keys *others = audit_keys_new(), *mine = keys;
    struct lapse_node_key key = fixture_signer_key(&node2);
    audit_keys_add(others, &key);
    keys = others;
    must_be_bad(NULL, "is signed with a key that is not among the given ones of node 1");
    keys = mine;
    must_be_bad(fixture_sign(&node2, &fixture, 3), "of node 2");
    audit_keys_free(others);
}

/* The key of one node under the name of another. */
Test(audit_verify, finds_a_head_that_names_another_node)
{
    fixture_sign(&node1, &fixture, 3);
    node1.head.node_id = 2;
    fixture_sign_again(&node1);
    must_be_bad(&node1.head, "not among the given ones of node 2");
}

Test(audit_verify, says_how_far_signatures_reach)
{
    char *head = lines.lines[HEAD_LINE];
    memmove(&lines.lines[5], &lines.lines[4], (HEAD_LINE - 4) * sizeof *lines.lines);
    lines.lines[4] = head;
    cr_assert(verify_with(NULL), "a head may stand before its record: %s", error.message);
    cr_assert_eq(verdict.signed_to, fixture.n);
    free(lines.lines[4]);
    json_t *line = audit_head_line(fixture_sign(&node1, &fixture, 3));
    lines.lines[4] = json_dumps(line, JSON_COMPACT);
    json_decref(line);
    cr_assert(verify_with(NULL), "%s", error.message);
    cr_assert_eq(verdict.signed_to, 3u);
    line_drop(4);
    number_put(TRAILER_LINE, "heads", 0);
    cr_assert(verify_with(NULL), "%s", error.message);
    cr_assert_eq(verdict.signed_to, 0u);
}

Test(audit_verify, finds_heads_that_were_taken_out)
{
    line_drop(HEAD_LINE);
    must_be_bad(NULL, "0 signed heads are there, the export says 1");
}

Test(audit_verify, refuses_what_is_no_line_of_an_export)
{
    static const struct {
        const char *line, *what;
    } cases[] = {
        {"{}", "it is no header"},
        {"[1]", "it is no header"},
        {"no JSON", "it is no JSON"},
        {"{\"record\":{}}", "\"epoch\" is missing"},
        {"{\"record\":{\"epoch\":\"7\"}}", "\"epoch\" is of another type"},
        {"{\"record\":{\"epoch\":-7}}", "\"epoch\" is negative"},
        {"{\"trailer\":{\"records\":1,\"heads\":1,\"more\":1}}", "members that this program doesn't know"},
        {"{\"trailer\":{\"records\":1,\"records\":2,\"heads\":1}}", "it is no JSON: duplicate object key"},
        {"{\"trailer\":{\"records\":1,\"heads\":1},\"x\":{}}", "it is no header"},
        {"{\"key\":{\"node_id\":1,\"public_key\":\"00\"}}", "not 32 bytes in hex"},
        {"{\"record\":{\"epoch\":7,\"revision\":1,\"event\":\"A===\",\"hash\":\"\",\"readable\":{}}}",
         "\"event\" is not base64"},
        {"{\"record\":{\"epoch\":7,\"revision\":1,\"event\":\" QQ==\",\"hash\":\"\",\"readable\":{}}}",
         "\"event\" is not base64"},
        {"{\"record\":{\"epoch\":7,\"revision\":1,\"event\":\"QR==\",\"hash\":\"\",\"readable\":{}}}",
         "\"event\" is not base64"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        free(lines.lines[2]);
        lines.lines[2] = strdup(cases[i].line);
        must_be_bad(NULL, cases[i].what);
        must_be_bad(NULL, "record 2: ");
    }
}

Test(audit_verify, refuses_lines_in_wrong_places)
{
    char *header = lines.lines[0];
    lines.lines[0] = lines.lines[1];
    must_be_bad(NULL, "an export begins with a header");
    lines.lines[0] = header;
    char *record = lines.lines[1];
    lines.lines[1] = header;
    must_be_bad(NULL, "a second header");
    lines.lines[1] = record;
    char *last = lines.lines[HEAD_LINE];
    lines.lines[HEAD_LINE] = lines.lines[TRAILER_LINE];
    lines.lines[TRAILER_LINE] = last;
    must_be_bad(NULL, "1");
}

Test(audit_verify, refuses_headers_that_can_not_be)
{
    number_put(0, "format", 2);
    must_be_bad(NULL, "its format is 2, this program reads 1: use a newer one");
    number_put(0, "format", 1);
    number_put(0, "from_revision", 0);
    must_be_bad(NULL, "can't be");
    number_put(0, "from_revision", 1);
    text_flip(0, "previous_hash", 0, '1');
    must_be_bad(NULL, "record 1: the hash before it must be zero");
}

/* A newer cluster's event: hashed as it is, and not compared with a form that this build can't make. */
Test(audit_verify, takes_records_of_a_newer_cluster)
{
    static const uint8_t more[] = {0xF8, 0x06, 1}; /* field 111 */
    struct chain_head head = fixture.records[fixture.n - 2].hash;
    cr_assert(lapse_is_ok(buf_append(&fixture.records[fixture.n - 1].event, more, sizeof more)));
    chain_extend(&head, 7, buf_slice(&fixture.records[fixture.n - 1].event));
    fixture.records[fixture.n - 1].hash = head;
    fixture_lines_free(&lines);
    lines = fixture_export(&fixture, &node1, 1, fixture.n);
    json_t *json = line_json(fixture.n), *readable = json_object_get(json_object_get(json, "record"), "readable");
    json_object_set_new(readable, "of_tomorrow", json_true());
    line_put(fixture.n, json);
    cr_assert(verify_with(NULL), "%s", error.message);
    cr_assert_eq(verdict.newer, 1u);
}

/* ---- Keys and files */

static char path[64];

static void file_write(const char *text)
{
    snprintf(path, sizeof path, "/tmp/lapse-test-keys-XXXXXX");
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}

Test(audit_verify, reads_keys_from_files)
{
    struct lapse_node_key key = fixture_signer_key(&node2);
    json_t *line = audit_key_line(&key);
    char *text = json_dumps(line, 0);
    json_decref(line);
    file_write(text);
    cr_assert(lapse_is_ok(audit_keys_load(keys, path, &error)), "%s", error.message);
    cr_assert_eq(audit_keys_count(keys), 2u);
    cr_assert(lapse_is_ok(audit_keys_load(keys, path, &error)));
    cr_assert_eq(audit_keys_count(keys), 2u, "the same key counts once");
    unlink(path);
    file_write("{\"trailer\":{\"records\":1,\"heads\":1}}\n");
    cr_assert_eq(audit_keys_load(keys, path, &error).code, LAPSE_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(error.message, "line 1: it is no key"), "%s", error.message);
    unlink(path);
    cr_assert_eq(audit_keys_load(keys, path, &error).code, LAPSE_NOT_FOUND);
    free(text);
}

Test(audit_verify, reads_a_nodes_own_key_file)
{
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, node1.public_key, sizeof node1.public_key);
    struct audit_keys *mine = keys;
    file_write("");
    FILE *file = fopen(path, "w");
    cr_assert(PEM_write_PUBKEY(file, key) == 1 && fclose(file) == 0);
    EVP_PKEY_free(key);
    keys = audit_keys_new();
    cr_assert(lapse_is_ok(audit_keys_load(keys, path, &error)), "%s", error.message);
    cr_assert(verify_with(NULL), "%s", error.message);
    cr_assert_eq(verdict.signed_to, fixture.n);
    must_be_bad(fixture_sign(&node2, &fixture, 3), "not among the given ones");
    audit_keys_free(keys);
    keys = mine;
    unlink(path);
}

Test(audit_verify, refuses_a_line_without_end)
{
    char *text = malloc((2u << 20) + 1);
    memset(text, 'x', 2u << 20);
    text[2u << 20] = '\0';
    file_write(text);
    cr_assert_eq(audit_keys_load(keys, path, &error).code, LAPSE_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(error.message, "longer than"), "%s", error.message);
    unlink(path);
    free(text);
}

/* ---- The readable form */

Test(audit_verify, shows_all_fields_of_an_event_by_their_names)
{
    json_t *event = export_fixture_event(&fixture, fixture.n);
    cr_assert_str_eq(audit_text(event, "type"), "REVOKED");
    cr_assert_str_eq(audit_text(event, "actor"), "user:ops");
    cr_assert_str_eq(audit_text(event, "grant.state"), "REVOKED");
    cr_assert_str_eq(audit_text(event, "grant.resource"), "db/prod/orders");
    cr_assert_eq(audit_number(event, "revision"), (int64_t)fixture.n);
    cr_assert(json_is_array(audit_member(event, "grant.approvals")));
    cr_assert_null(audit_member(event, "grant.ticket"), "what is empty is left out");
    cr_assert_str_eq(audit_text(event, "no.such.member"), "");
    json_decref(event);
}

Test(audit_verify, knows_the_types_of_events_by_name)
{
    cr_assert_eq(audit_event_type("REVOKED"), STORE_EVENT_REVOKED);
    cr_assert_eq(audit_event_type("OFFBOARDED"), STORE_EVENT_OFFBOARDED);
    cr_assert_eq(audit_event_type("EVENT_REVOKED"), 0);
    cr_assert_eq(audit_event_type(""), 0);
}

Test(audit_verify, takes_no_bytes_that_are_no_event)
{
    static const uint8_t bad[][3] = {{0x08}, {0x22, 0x05, 0x00}, {0x0A, 0x01, 0x00}};
    for (size_t i = 0; i < 3; i++)
        cr_assert_null(audit_event_json(slice_of(bad[i], i == 0 ? 1 : 3), NULL, &error));
    cr_assert_eq(error.code, LAPSE_DATA_LOSS);
}

/* ---- What is made to look right */

Test(audit_verify, finds_a_header_that_names_another_epoch)
{
    number_put(0, "epoch", 8);
    must_be_bad(NULL, "record 1: it is of epoch 7, the export's header says 8");
}

Test(audit_verify, finds_records_of_another_epoch_behind_those_of_this_one)
{
    struct chain_head head = fixture.records[fixture.n - 2].hash;
    fixture.records[fixture.n - 1].epoch = 8;
    chain_extend(&head, 8, buf_slice(&fixture.records[fixture.n - 1].event));
    fixture.records[fixture.n - 1].hash = head;
    fixture_lines_free(&lines);
    lines = fixture_export(&fixture, &node1, 1, fixture.n);
    must_be_bad(NULL, "it is of epoch 8, the export's header says 7");
}

Test(audit_verify, finds_a_changed_word_beside_bytes_of_a_newer_cluster)
{
    static const uint8_t more[] = {0xF8, 0x06, 1}; /* field 111 */
    struct chain_head head = fixture.records[fixture.n - 2].hash;
    cr_assert(lapse_is_ok(buf_append(&fixture.records[fixture.n - 1].event, more, sizeof more)));
    chain_extend(&head, 7, buf_slice(&fixture.records[fixture.n - 1].event));
    fixture.records[fixture.n - 1].hash = head;
    fixture_lines_free(&lines);
    lines = fixture_export(&fixture, &node1, 1, fixture.n);
    cr_assert(verify_with(NULL), "%s", error.message);
    json_t *json = line_json(fixture.n), *readable = json_object_get(json_object_get(json, "record"), "readable");
    json_object_set_new(json_object_get(readable, "grant"), "ended_by", json_string("user:someone"));
    line_put(fixture.n, json);
    must_be_bad(NULL, "its readable form is not what its bytes say");
}

Test(audit_verify, takes_no_number_for_another_and_no_member_twice)
{
    static const char *const bad[] = {
        "{\"trailer\":{\"records\":18446744073709551617,\"heads\":0}}",
        "{\"trailer\":{\"records\":9223372036854775808,\"heads\":0}}",
        "{\"trailer\":{\"records\":1.0,\"heads\":0}}",
        "{\"trailer\":{\"records\":1,\"records\":2,\"heads\":0}}",
        "{\"trailer\":{\"records\":1,\"heads\":0},\"trailer\":{\"records\":1,\"heads\":0}}",
        "{\"trailer\":{\"records\":-1,\"heads\":0}}",
        "{\"trailer\":{\"records\":1,\"heads\":0}} {}",
        "{\"key\":{\"node_id\":1,\"public_key\":\"\\u0000\"}}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct audit_line line;
        cr_assert_eq(audit_line_parse(bad[i], strlen(bad[i]), &line, &error).code, LAPSE_INVALID_ARGUMENT, "%s",
                     bad[i]);
    }
}

/* What stands behind a zero must not be passed over: a file that shows more than was verified. */
Test(audit_verify, refuses_what_hides_behind_a_zero)
{
    char text[256];
    int len = snprintf(text, sizeof text, "{\"key\":{\"node_id\":1,\"public_key\":\"%064d\"}}", 7);
    memcpy(text + len, "\0hidden\n", 8);
    file_write("");
    FILE *file = fopen(path, "w");
    cr_assert_eq(fwrite(text, 1, (size_t)len + 8, file), (size_t)len + 8);
    fclose(file);
    cr_assert_eq(audit_keys_load(keys, path, &error).code, LAPSE_INVALID_ARGUMENT);
    unlink(path);
}
