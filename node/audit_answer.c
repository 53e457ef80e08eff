/* What else the reader answers: ranges for other nodes, heads signed on demand, and whether a head that was kept
 * elsewhere is one of ours. */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "base/wire.h"
#include "node/audit_internal.h"
#include "node/metrics.h"
#include "proto/lapse/v1/audit.pb.h"

/* --- ranges ------------------------------------------------------------------------------------------------------- */

/* The last records of the range that fit in a frame, the last one first, for they are read in this order. */
struct piece {
    struct {
        uint64_t epoch;
        struct blob *event;
    } * records;
    uint32_t n, capacity;
    size_t bytes;
    uint64_t first;         /* revision of the last one in `records` */
    struct chain_head head; /* before it */
};

static void piece_add(struct piece *piece, const struct audit_record *record)
{
    if (piece->n == piece->capacity) {
        piece->capacity = piece->capacity == 0 ? 256 : piece->capacity * 2;
        piece->records = mem_realloc(piece->records, piece->capacity * sizeof *piece->records);
    }
    piece->records[piece->n].epoch = record->epoch;
    piece->records[piece->n++].event = blob_new(record->event);
    piece->first = record->revision;
    /* Two tags, lengths and an epoch. */
    piece->bytes += record->event.len + 32;
}

static void piece_free(struct piece *piece)
{
    for (uint32_t i = 0; i < piece->n; i++)
        blob_unref(piece->records[i].event);
    free(piece->records);
}

/* One record more than is sent is read, for its hash: what stands before the others. False: it can't be answered. */
static bool read_piece(struct audit_db *db, const struct audit_frame *asked, struct piece *piece)
{
    struct lapse_error error;
    struct audit_record record;
    uint64_t expected = asked->last;
    bool begun = false; /* the hash before what was added is known */
    struct sqlite3_stmt *statement = audit_db_prepare(
        db, "SELECT " AUDIT_DB_ROW " FROM records WHERE revision BETWEEN ? AND ? ORDER BY revision DESC", &error);
    if (statement == NULL)
        return false;
    CHECK(sqlite3_bind_int64(statement, 1, (int64_t)asked->first - 1) == SQLITE_OK &&
          sqlite3_bind_int64(statement, 2, (int64_t)asked->last) == SQLITE_OK);
    while (!begun && audit_db_step(db, statement) && lapse_is_ok(audit_db_row(statement, 0, &record, &error)) &&
           record.revision == expected) {
        bool fits = piece->bytes + record.event.len + 32 + AUDIT_FRAME_REST <= AUDIT_FRAME_MAX;
        begun = piece->n > 0 && (expected < asked->first || !fits);
        if (begun)
            piece->head = record.head;
        else if (expected < asked->first || !fits)
            break;
        else
            piece_add(piece, &record);
        expected--;
    }
    bool sound = lapse_is_ok(audit_db_done(db, statement, &error));
    if (piece->n > 0 && piece->first == 1) {
        piece->head = (struct chain_head){.hash = {0}};
        begun = true;
    }
    return sound && begun;
}

static void encode_piece(const struct piece *piece, const struct audit_frame *asked, bool found, struct buf *out)
{
    struct audit_frame answer = {.kind = AUDIT_RECORDS, .sequence = asked->sequence};
    if (found) {
        answer.first = piece->first;
        answer.last = asked->last;
        answer.head = piece->head;
    }
    CHECK(lapse_is_ok(audit_frame_encode(&answer, out)));
    for (uint32_t i = piece->n; found && i > 0; i--)
        CHECK(lapse_is_ok(audit_frame_add(piece->records[i - 1].epoch, blob_slice(piece->records[i - 1].event), out)));
}

void audit_serve_range(struct audit *audit, struct audit_db *db, uint64_t from, const struct audit_frame *asked)
{
    struct piece piece = {.n = 0};
    struct buf frame;
    buf_init(&frame, AUDIT_FRAME_MAX);
    bool found = read_piece(db, asked, &piece);
    encode_piece(&piece, asked, found, &frame);
    audit->handler.send(audit->handler_arg, from, buf_slice(&frame));
    buf_free(&frame);
    piece_free(&piece);
}

/* --- heads -------------------------------------------------------------------------------------------------------- */

static lapse_result read_epoch(struct audit_db *db, uint64_t revision, struct chain_statement *statement,
                               struct lapse_error *error)
{
    struct audit_record record;
    struct sqlite3_stmt *row = audit_db_prepare(db, "SELECT " AUDIT_DB_ROW " FROM records WHERE revision = ?", error);
    if (row == NULL)
        return lapse_failed(error->code);
    CHECK(sqlite3_bind_int64(row, 1, (int64_t)revision) == SQLITE_OK);
    lapse_result result = audit_db_step(db, row)
                              ? audit_db_row(row, 0, &record, error)
                              : lapse_fail(error, LAPSE_UNAVAILABLE, "there is no record %" PRIu64 " yet", revision);
    if (lapse_is_ok(result)) {
        statement->epoch = record.epoch;
        statement->head = record.head;
    }
    struct lapse_error other;
    lapse_result done = audit_db_done(db, row, &other);
    return lapse_is_ok(done) ? result : done;
}

lapse_result audit_sign_now(struct audit *audit, struct audit_db *db, const struct audit_book *book, struct buf *out,
                            uint64_t *revision, struct lapse_error *error)
{
    struct chain_statement statement = {.cluster = slice_str(audit->cluster),
                                        .revision = audit_book_whole(book),
                                        .time_ms = atomic_load_explicit(&audit->time_ms, memory_order_relaxed),
                                        .node_id = audit->node_id};
    lapse_result result = read_epoch(db, statement.revision, &statement, error);
    if (!lapse_is_ok(result))
        return result;
    *revision = statement.revision;
    return audit_head_sign(audit->key, &statement, out);
}

static void put_key(struct wire_writer *writer, uint64_t node_id, const uint8_t key[AUDIT_KEY_BYTES])
{
    size_t mark = wire_begin(writer, lapse_v1_HeadResponse_keys_tag);
    wire_put_uint(writer, lapse_v1_NodeKey_node_id_tag, node_id);
    wire_put_bytes(writer, lapse_v1_NodeKey_public_key_tag, slice_of(key, AUDIT_KEY_BYTES));
    wire_end(writer, mark);
}

lapse_result audit_head_run(struct audit *audit, struct audit_db *db, const struct audit_book *book,
                            struct audit_job *job)
{
    struct audit_db_key keys[LIMIT_AUDIT_KEYS];
    uint8_t own[AUDIT_KEY_BYTES];
    uint32_t n = 0;
    struct buf head;
    struct wire_writer writer = wire_writer(&job->response);
    buf_init(&head, AUDIT_HEAD_BYTES_MAX);
    lapse_result result = audit_sign_now(audit, db, book, &head, &job->revision, &job->error);
    if (lapse_is_ok(result))
        result = audit_db_keys(db, keys, &n, &job->error);
    if (lapse_is_ok(result)) {
        wire_put_bytes(&writer, lapse_v1_HeadResponse_head_tag, buf_slice(&head));
        audit_key_public(audit->key, own);
        put_key(&writer, audit->node_id, own);
        for (uint32_t i = 0; i < n; i++)
            if (keys[i].node_id != audit->node_id)
                put_key(&writer, keys[i].node_id, keys[i].key);
    }
    buf_free(&head);
    return result;
}

/* --- a claim ------------------------------------------------------------------------------------------------------ */

static lapse_result is_known_key(struct audit *audit, struct audit_db *db, const struct audit_claim *claim, bool *known,
                                 struct lapse_error *error)
{
    struct audit_db_key keys[LIMIT_AUDIT_KEYS];
    uint8_t own[AUDIT_KEY_BYTES];
    uint32_t n = 0;
    audit_key_public(audit->key, own);
    *known = claim->node_id == audit->node_id && memcmp(own, claim->public_key, sizeof own) == 0;
    lapse_result result = *known ? lapse_ok() : audit_db_keys(db, keys, &n, error);
    for (uint32_t i = 0; i < n && !*known; i++)
        *known = keys[i].node_id == claim->node_id && memcmp(keys[i].key, claim->public_key, sizeof own) == 0;
    return result;
}

/* A head of an older epoch proves nothing here; one of this epoch must be in our history, which reaches up to `upto`. */
static lapse_result judge(struct audit_db *db, const struct audit_book *book, struct audit_job *job)
{
    const struct audit_claim *claim = &job->claim;
    struct chain_head ours;
    struct lapse_error error;
    if (claim->epoch != job->epoch || claim->revision > job->upto) {
        job->verdict = claim->epoch < job->epoch ? AUDIT_UNKNOWN : AUDIT_ROLLBACK;
        return lapse_ok();
    }
    job->verdict = AUDIT_UNKNOWN;
    if (claim->revision > book->newest || audit_book_lacks(book, claim->revision, claim->revision))
        return lapse_ok();
    lapse_result result = audit_db_hash(db, claim->revision, &ours, &error);
    if (lapse_is_ok(result))
        job->verdict = memcmp(ours.hash, claim->hash, sizeof ours.hash) == 0 ? AUDIT_AGREES : AUDIT_ROLLBACK;
    return result.code == LAPSE_NOT_FOUND ? lapse_ok() : result;
}

lapse_result audit_check_run(struct audit *audit, struct audit_db *db, const struct audit_book *book,
                             struct audit_job *job)
{
    bool known = false;
    if (!audit_claim_is_signed(&job->claim, slice_str(audit->cluster))) {
        job->verdict = AUDIT_FORGED;
        return lapse_ok();
    }
    lapse_result result = is_known_key(audit, db, &job->claim, &known, &job->error);
    job->verdict = AUDIT_UNKNOWN;
    if (lapse_is_ok(result) && known)
        result = judge(db, book, job);
    if (lapse_is_ok(result) && job->verdict == AUDIT_ROLLBACK) {
        metric_add(METRIC_AUDIT_ROLLBACKS, 1);
        log_error(
            "an enforcement point holds a head that this cluster has signed and does not have any more: something was "
            "lost or changed",
            LOG_U64("signer", job->claim.node_id), LOG_U64("revision", job->claim.revision),
            LOG_U64("epoch", job->claim.epoch), LOG_U64("registration", job->upto));
    }
    return result;
}
