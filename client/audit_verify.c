/* The chain is one hash; beside it a ring of the last few, for heads that stand a little behind their record, and a
 * list of the heads that are still ahead: those from elsewhere, and those of the export that came before their record.
 */
#include "client/audit_verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
#include "client/audit_event.h"
#include "store/chain.h"

_Static_assert(CHAIN_HASH_BYTES == LAPSE_AUDIT_HASH_BYTES, "they are the same hashes");
_Static_assert(sizeof((struct audit_verdict *)0)->cluster == LIMIT_CLUSTER + 1, "a cluster's name fits");

enum state { BEGIN, RECORDS, END };

struct kept {
    uint64_t revision, epoch;
    struct chain_head hash;
};

/* A head whose record has not come yet. */
struct ahead {
    uint64_t epoch, revision, node_id;
    int64_t time_ms;
    struct chain_head hash;
    bool expected; /* from elsewhere */
    char from[64];
    char cluster[LIMIT_CLUSTER + 1];
};

struct audit_verify {
    const struct audit_keys *keys;
    audit_record_cb on_record;
    void *arg;
    enum state state;
    struct chain_head chain;
    uint64_t next, to; /* revisions: the one that must come, and the last one of the header */
    uint64_t epoch;    /* of all records: another one is another cluster, or one set up anew */
    struct audit_verdict verdict;
    uint64_t nodes;                            /* a bit each */
    struct kept kept[LIMIT_AUDIT_HASHES_KEPT]; /* by revision modulo its size; revision 0: nothing */
    struct ahead *ahead;
    size_t n_ahead;
};

struct audit_verify *audit_verify_new(const struct audit_keys *keys, audit_record_cb on_record, void *arg)
{
    struct audit_verify *verify = mem_calloc(1, sizeof *verify);
    verify->keys = keys;
    verify->on_record = on_record;
    verify->arg = arg;
    return verify;
}

void audit_verify_free(struct audit_verify *verify)
{
    if (verify == NULL)
        return;
    free(verify->ahead);
    free(verify);
}

/* ---- Heads */

static struct ahead ahead_of(const struct lapse_signed_head *head, const char *from)
{
    struct ahead ahead = {.epoch = head->epoch,
                          .revision = head->revision,
                          .node_id = head->node_id,
                          .time_ms = head->time_ms,
                          .expected = from != NULL};
    memcpy(ahead.hash.hash, head->hash.data, sizeof ahead.hash.hash);
    snprintf(ahead.from, sizeof ahead.from, "%s", from == NULL ? "the export" : from);
    snprintf(ahead.cluster, sizeof ahead.cluster, "%s", head->cluster);
    return ahead;
}

static lapse_result ahead_add(struct audit_verify *verify, const struct ahead *ahead, struct lapse_error *error)
{
    if (verify->n_ahead >= LIMIT_AUDIT_HEADS)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED,
                          "more than %u heads are ahead of their records: give the newest one of each file",
                          LIMIT_AUDIT_HEADS);
    verify->ahead = mem_realloc(verify->ahead, (verify->n_ahead + 1) * sizeof *verify->ahead);
    verify->ahead[verify->n_ahead++] = *ahead;
    return lapse_ok();
}

/* The record that the head is about is here. */
static lapse_result compare(struct audit_verify *verify, const struct ahead *head, const struct kept *record,
                            struct lapse_error *error)
{
    if (strcmp(head->cluster, verify->verdict.cluster) != 0)
        return lapse_fail(error, LAPSE_DATA_LOSS,
                          "the head of revision %" PRIu64 " from %s is of cluster \"%s\", the export of \"%s\"",
                          head->revision, head->from, head->cluster, verify->verdict.cluster);
    if (head->epoch != record->epoch)
        return lapse_fail(error, LAPSE_DATA_LOSS,
                          "record %" PRIu64 ": it is of epoch %" PRIu64 ", but node %" PRIu64
                          " signed (%s) the one of epoch %" PRIu64
                          ": the cluster was set up anew or restored from a backup since",
                          head->revision, record->epoch, head->node_id, head->from, head->epoch);
    if (!chain_head_equal(&head->hash, &record->hash))
        return lapse_fail(error, LAPSE_DATA_LOSS,
                          "record %" PRIu64 ": node %" PRIu64
                          " signed (%s) another hash for it: this record or one before it is "
                          "not what was signed, as after a restored backup",
                          head->revision, head->node_id, head->from);
    if (head->node_id < 64)
        verify->nodes |= 1ull << head->node_id;
    verify->verdict.expected_met += head->expected;
    if (head->revision >= verify->verdict.signed_to) {
        verify->verdict.signed_to = head->revision;
        verify->verdict.signed_by = head->node_id;
        verify->verdict.signed_ms = head->time_ms;
    }
    return lapse_ok();
}

static lapse_result compare_ahead(struct audit_verify *verify, const struct kept *record, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    for (size_t i = 0; i < verify->n_ahead && lapse_is_ok(result);) {
        if (verify->ahead[i].revision != record->revision) {
            i++;
            continue;
        }
        result = compare(verify, &verify->ahead[i], record, error);
        verify->ahead[i] = verify->ahead[--verify->n_ahead];
    }
    return result;
}

lapse_result audit_verify_expect(struct audit_verify *verify, const struct lapse_signed_head *head, const char *from,
                                 struct lapse_error *error)
{
    CHECK(verify->state == BEGIN && verify->keys != NULL);
    lapse_result result = audit_head_check(verify->keys, head, error);
    if (!lapse_is_ok(result))
        return result;
    struct ahead ahead = ahead_of(head, from);
    return ahead_add(verify, &ahead, error);
}

lapse_result audit_verify_head(struct audit_verify *verify, const struct lapse_signed_head *head,
                               struct lapse_error *error)
{
    verify->verdict.heads++;
    if (verify->keys == NULL)
        return lapse_ok();
    lapse_result result = audit_head_check(verify->keys, head, error);
    if (!lapse_is_ok(result))
        return result;
    struct ahead ahead = ahead_of(head, NULL);
    const struct kept *kept = &verify->kept[head->revision % LIMIT_AUDIT_HASHES_KEPT];
    if (head->revision >= verify->next)
        return ahead_add(verify, &ahead, error);
    if (kept->revision != head->revision || head->revision == 0)
        return lapse_ok(); /* too far behind its record, or before the first one: it shows nothing, and hides nothing */
    return compare(verify, &ahead, kept, error);
}

/* ---- Records */

lapse_result audit_verify_begin(struct audit_verify *verify, const struct audit_header *header,
                                struct lapse_error *error)
{
    static const uint8_t nothing[CHAIN_HASH_BYTES];
    CHECK(verify->state == BEGIN);
    if (header->from_revision == 0 || header->to_revision + 1 < header->from_revision ||
        strlen(header->cluster) > LIMIT_CLUSTER)
        return lapse_fail(error, LAPSE_DATA_LOSS, "the header's revisions or cluster can't be");
    if (header->from_revision == 1 && memcmp(header->previous.data, nothing, sizeof nothing) != 0)
        return lapse_fail(error, LAPSE_DATA_LOSS, "record 1: the hash before it must be zero");
    verify->state = RECORDS;
    verify->next = header->from_revision;
    verify->to = header->to_revision;
    verify->epoch = header->epoch;
    verify->verdict.first = header->from_revision;
    snprintf(verify->verdict.cluster, sizeof verify->verdict.cluster, "%s", header->cluster);
    memcpy(verify->chain.hash, header->previous.data, sizeof verify->chain.hash);
    for (size_t i = 0; i < verify->n_ahead;) {
        if (verify->ahead[i].revision >= verify->next) {
            i++;
            continue;
        }
        verify->verdict.expected_before++;
        verify->ahead[i] = verify->ahead[--verify->n_ahead];
    }
    return lapse_ok();
}

static lapse_result check_epoch(const struct audit_verify *verify, const struct lapse_audit_record *record,
                                struct lapse_error *error)
{
    if (record->epoch == verify->epoch)
        return lapse_ok();
    return lapse_fail(error, LAPSE_DATA_LOSS,
                      "record %" PRIu64 ": it is of epoch %" PRIu64 ", the export's header says %" PRIu64,
                      record->revision, record->epoch, verify->epoch);
}

static lapse_result check_order(const struct audit_verify *verify, uint64_t revision, struct lapse_error *error)
{
    if (revision == verify->next)
        return lapse_ok();
    if (revision == verify->next + 1)
        return lapse_fail(error, LAPSE_DATA_LOSS, "record %" PRIu64 " is missing: %" PRIu64 " stands in its place",
                          verify->next, revision);
    if (revision > verify->next)
        return lapse_fail(error, LAPSE_DATA_LOSS,
                          "records %" PRIu64 " to %" PRIu64 " are missing: %" PRIu64 " stands in their place",
                          verify->next, revision - 1, revision);
    return lapse_fail(error, LAPSE_DATA_LOSS,
                      "record %" PRIu64 " stands where %" PRIu64 " must: it was moved or put in", revision,
                      verify->next);
}

/* Of a record with something that this build doesn't know: what it knows must stand there, too. Names that it lacks are
 * numbers here, so only those of the same type are compared. */
static bool is_within(const json_t *known, const json_t *readable)
{
    const char *name;
    json_t *value;
    size_t i;
    if (json_typeof(known) != json_typeof(readable))
        return json_is_integer(known) && json_is_string(readable);
    if (json_is_array(known) && json_array_size(known) != json_array_size(readable))
        return false;
    json_array_foreach(known, i, value)
    {
        if (!is_within(value, json_array_get(readable, i)))
            return false;
    }
    json_object_foreach((json_t *)(uintptr_t)known, name, value)
    {
        const json_t *other = json_object_get(readable, name);
        if (other == NULL || !is_within(value, other))
            return false;
    }
    return json_is_array(known) || json_is_object(known) || json_equal(known, readable);
}

/* The readable form of the bytes, checked: it is about this record, and what stands beside the bytes is the same. */
static lapse_result check_readable(struct audit_verify *verify, const struct lapse_audit_record *record,
                                   const json_t *event, bool newer, const json_t *readable, struct lapse_error *error)
{
    if ((uint64_t)audit_number(event, "revision") != record->revision)
        return lapse_fail(error, LAPSE_DATA_LOSS, "record %" PRIu64 ": its bytes are those of revision %" PRId64,
                          record->revision, audit_number(event, "revision"));
    verify->verdict.newer += newer;
    if (readable != NULL && !(newer ? is_within(event, readable) : json_equal(readable, event)))
        return lapse_fail(error, LAPSE_DATA_LOSS, "record %" PRIu64 ": its readable form is not what its bytes say",
                          record->revision);
    return lapse_ok();
}

static lapse_result check_hash(struct audit_verify *verify, const struct lapse_audit_record *record,
                               struct lapse_error *error)
{
    struct chain_head head = verify->chain;
    chain_extend(&head, record->epoch, slice_of(record->event.data, record->event.len));
    if (record->hash.len != sizeof head.hash || memcmp(head.hash, record->hash.data, sizeof head.hash) != 0)
        return lapse_fail(error, LAPSE_DATA_LOSS,
                          "record %" PRIu64 ": its hash is not that of its bytes behind the record before",
                          record->revision);
    verify->chain = head;
    return lapse_ok();
}

static lapse_result take_record(struct audit_verify *verify, const struct lapse_audit_record *record,
                                struct lapse_error *error)
{
    struct kept *kept = &verify->kept[record->revision % LIMIT_AUDIT_HASHES_KEPT];
    *kept = (struct kept){record->revision, record->epoch, verify->chain};
    verify->next++;
    verify->verdict.records++;
    return compare_ahead(verify, kept, error);
}

lapse_result audit_verify_record(struct audit_verify *verify, const struct lapse_audit_record *record,
                                 const json_t *readable, struct lapse_error *error)
{
    CHECK(verify->state == RECORDS);
    bool newer = false;
    lapse_result result = check_order(verify, record->revision, error);
    if (lapse_is_ok(result))
        result = check_hash(verify, record, error);
    if (lapse_is_ok(result))
        result = check_epoch(verify, record, error);
    if (!lapse_is_ok(result))
        return result;
    json_t *event = audit_event_json(slice_of(record->event.data, record->event.len), &newer, error);
    if (event == NULL)
        return lapse_fail(error, LAPSE_DATA_LOSS, "record %" PRIu64 ": its bytes are no event", record->revision);
    result = check_readable(verify, record, event, newer, readable, error);
    if (lapse_is_ok(result))
        result = take_record(verify, record, error);
    if (lapse_is_ok(result) && verify->on_record != NULL)
        verify->on_record(verify->arg, record, event);
    json_decref(event);
    return result;
}

/* ---- Lines, and the end */

lapse_result audit_verify_trailer(struct audit_verify *verify, const struct audit_trailer *trailer,
                                  struct lapse_error *error)
{
    verify->state = END;
    if (trailer->records != verify->verdict.records || verify->next != verify->to + 1)
        return lapse_fail(error, LAPSE_DATA_LOSS,
                          "record %" PRIu64 " is missing: the export says that it has records up to %" PRIu64
                          ", %" PRIu64 " in all",
                          verify->next, verify->to, trailer->records);
    if (trailer->heads != verify->verdict.heads)
        return lapse_fail(error, LAPSE_DATA_LOSS, "%" PRIu64 " signed heads are there, the export says %" PRIu64,
                          verify->verdict.heads, trailer->heads);
    return lapse_ok();
}

static lapse_result take_line(struct audit_verify *verify, const struct audit_line *line, struct lapse_error *error)
{
    if (verify->state == END)
        return lapse_fail(error, LAPSE_DATA_LOSS, "something stands behind the trailer, at record %" PRIu64,
                          verify->next);
    if ((verify->state == BEGIN) != (line->kind == AUDIT_LINE_HEADER))
        return lapse_fail(error, LAPSE_DATA_LOSS,
                          verify->state == BEGIN ? "an export begins with a header"
                                                 : "a second header: this is two exports");
    switch (line->kind) {
    case AUDIT_LINE_HEADER:
        return audit_verify_begin(verify, &line->header, error);
    case AUDIT_LINE_RECORD:
        return audit_verify_record(verify, &line->record, line->readable, error);
    case AUDIT_LINE_HEAD:
        return audit_verify_head(verify, &line->head, error);
    case AUDIT_LINE_TRAILER:
        return audit_verify_trailer(verify, &line->trailer, error);
    default:
        return lapse_fail(error, LAPSE_DATA_LOSS, "a key has no place in an export");
    }
}

lapse_result audit_verify_line(void *arg, const char *text, size_t len, struct lapse_error *error)
{
    struct audit_verify *verify = arg;
    struct audit_line line;
    struct lapse_error why;
    lapse_result result = audit_line_parse(text, len, &line, &why);
    if (!lapse_is_ok(result) && verify->state == BEGIN)
        return lapse_fail(error, LAPSE_DATA_LOSS, "the header: %s", why.message);
    if (!lapse_is_ok(result))
        return lapse_fail(error, LAPSE_DATA_LOSS, "record %" PRIu64 ": %s", verify->next, why.message);
    result = take_line(verify, &line, error);
    audit_line_release(&line);
    return result;
}

/* Of the heads that nothing has met the one that tells most: the newest. */
static const struct ahead *newest_ahead(const struct audit_verify *verify)
{
    const struct ahead *newest = NULL;
    for (size_t i = 0; i < verify->n_ahead; i++)
        if (newest == NULL || verify->ahead[i].revision > newest->revision)
            newest = &verify->ahead[i];
    return newest;
}

lapse_result audit_verify_end(struct audit_verify *verify, struct audit_verdict *verdict, struct lapse_error *error)
{
    const struct ahead *missing = newest_ahead(verify);
    if (verify->state == BEGIN)
        return lapse_fail(error, LAPSE_DATA_LOSS, "there is no header: this is no export, or nothing is left of it");
    if (verify->state == RECORDS)
        return lapse_fail(error, LAPSE_DATA_LOSS,
                          "record %" PRIu64 " is missing: the export ends without a trailer, it was cut off",
                          verify->next);
    if (missing != NULL && strcmp(missing->cluster, verify->verdict.cluster) != 0)
        return lapse_fail(error, LAPSE_DATA_LOSS,
                          "the head of revision %" PRIu64 " (%s) is of cluster \"%s\", the export of \"%s\"",
                          missing->revision, missing->from, missing->cluster, verify->verdict.cluster);
    if (missing != NULL)
        return lapse_fail(error, LAPSE_DATA_LOSS,
                          "records %" PRIu64 " to %" PRIu64 " are missing: node %" PRIu64
                          " signed (%s) that they were there; the end was "
                          "cut off, or the cluster was restored from a backup",
                          verify->next, missing->revision, missing->node_id, missing->from);
    verify->verdict.last = verify->next - 1;
    verify->verdict.nodes = (uint32_t)__builtin_popcountll(verify->nodes);
    *verdict = verify->verdict;
    return lapse_ok();
}
