/* Everything that was in the database when it was opened, in the order of revisions: is each event still the one that
 * was hashed, does each hash follow from the one before, do the columns say what the event says? A slice at a time, so
 * that what happens meanwhile is written.
 *
 * The last hash was compared with the log's (audit_book.c), and so vouches for all before it. Behind a gap the first
 * record's own hash is taken as it is: the ones after it follow from it, and it is verified itself when the gap closes.
 */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>

#include "base/check.h"
#include "node/audit_internal.h"

#define SLICE_RECORDS 2048

void audit_verify_begin(struct audit_verify *verify, uint64_t newest)
{
    *verify = (struct audit_verify){.next = 1, .end = newest, .anchored = true};
}

bool audit_verify_is_over(const struct audit_verify *verify)
{
    return verify->next > verify->end;
}

static struct slice column(struct sqlite3_stmt *row, int at)
{
    const void *data = sqlite3_column_blob(row, at);
    return slice_of(data, (size_t)sqlite3_column_bytes(row, at));
}

/* Columns behind AUDIT_DB_ROW: time_ms, type, actor, grant_id, subject, resource. */
static bool columns_agree(struct sqlite3_stmt *row, const struct audit_fields *fields)
{
    struct slice grant = slice_of(fields->grant, fields->has_grant ? sizeof fields->grant : 0);
    return sqlite3_column_int64(row, 4) == fields->time_ms && (uint32_t)sqlite3_column_int64(row, 5) == fields->type &&
           slice_equal(column(row, 6), fields->actor) && slice_equal(column(row, 7), grant) &&
           slice_equal(column(row, 8), fields->subject) && slice_equal(column(row, 9), fields->resource);
}

static lapse_result look(struct audit_verify *verify, struct sqlite3_stmt *row, struct lapse_error *error)
{
    struct audit_record record;
    struct audit_fields fields;
    lapse_result result = audit_db_row(row, 0, &record, error);
    if (!lapse_is_ok(result))
        return result;
    if (!lapse_is_ok(audit_fields_read(record.event, &fields, NULL)) || fields.revision != record.revision ||
        !columns_agree(row, &fields))
        return lapse_fail(error, LAPSE_DATA_LOSS, AUDIT_DB_NAME ": record %" PRIu64 " was changed", record.revision);
    chain_extend(&verify->head, record.epoch, record.event);
    if (verify->anchored && !chain_head_equal(&verify->head, &record.head))
        return lapse_fail(error, LAPSE_DATA_LOSS, AUDIT_DB_NAME ": record %" PRIu64 " does not have its hash",
                          record.revision);
    verify->head = record.head;
    verify->anchored = true;
    verify->next = record.revision + 1;
    return lapse_ok();
}

/* Skips a gap; false when a record is missing that should be there. */
static bool reach(struct audit_verify *verify, const struct audit_book *book, uint64_t revision)
{
    for (uint32_t i = 0; i < book->n_gaps && verify->next < revision; i++) {
        if (book->gaps[i].first <= verify->next && verify->next <= book->gaps[i].last) {
            verify->next = book->gaps[i].last + 1;
            verify->anchored = false;
        }
    }
    return verify->next == revision;
}

static lapse_result look_at_slice(struct audit_verify *verify, const struct audit_book *book, struct audit_db *db,
                                  struct sqlite3_stmt *statement, struct lapse_error *error)
{
    uint32_t n = 0;
    lapse_result result = lapse_ok();
    CHECK(sqlite3_bind_int64(statement, 1, (int64_t)verify->next) == SQLITE_OK &&
          sqlite3_bind_int64(statement, 2, (int64_t)verify->end) == SQLITE_OK);
    while (lapse_is_ok(result) && audit_db_step(db, statement)) {
        uint64_t revision = (uint64_t)sqlite3_column_int64(statement, 1);
        n++;
        if (!reach(verify, book, revision))
            result = lapse_fail(error, LAPSE_DATA_LOSS, AUDIT_DB_NAME ": record %" PRIu64 " is missing", verify->next);
        else
            result = look(verify, statement, error);
    }
    bool at_end = lapse_is_ok(result) && n < SLICE_RECORDS && audit_db_was_last(db);
    if (at_end && !reach(verify, book, verify->end + 1))
        result = lapse_fail(error, LAPSE_DATA_LOSS, AUDIT_DB_NAME ": record %" PRIu64 " is missing", verify->next);
    return result;
}

lapse_result audit_verify_step(struct audit *audit, struct lapse_error *error)
{
    struct audit_writer *writer = &audit->writer;
    struct lapse_error at_end;
    char sql[256];
    (void)snprintf(sql, sizeof sql,
                   "SELECT " AUDIT_DB_ROW ", time_ms, type, actor, grant_id, subject, resource FROM records"
                   " WHERE revision BETWEEN ? AND ? ORDER BY revision LIMIT %d",
                   SLICE_RECORDS);
    struct sqlite3_stmt *statement = audit_db_prepare(writer->db, sql, error);
    if (statement == NULL)
        return lapse_failed(error->code);
    lapse_result result = look_at_slice(&writer->verify, &writer->book, writer->db, statement, error);
    lapse_result done = audit_db_done(writer->db, statement, &at_end);
    if (lapse_is_ok(result) && !lapse_is_ok(done)) {
        *error = at_end;
        return done;
    }
    return result;
}
