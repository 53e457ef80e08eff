/* Evidence: everything about one grant.
 *
 *   its own records: requests to ends, sessions, review, token (by its id)
 *   the barrier of its end: receipts, ENFORCED (by the barrier's id; which it was, is told below)
 *   if a sweep ended it, the sweep's beginning and end, and its barrier; if its parent's end did, the parent's end and
 * barrier
 *
 * A barrier is named by the last revision of its command. That command's events are the REVOKED of the grant and those
 * of what was below it, one behind the other: each one's parent is among those before. */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "base/check.h"
#include "node/audit_internal.h"
#include "store/grant.h"
#include "store/store.h"

struct finding {
    struct audit_db *db;
    struct audit_job *job;
    uint32_t capacity;
};

static lapse_result note(struct finding *finding, uint64_t revision)
{
    struct audit_job *job = finding->job;
    if (job->n_found == LIMIT_AUDIT_EVIDENCE)
        return lapse_fail(&job->error, LAPSE_RESOURCE_EXHAUSTED,
                          "this grant has more than %u records: ask for them with Query", LIMIT_AUDIT_EVIDENCE);
    if (job->n_found == finding->capacity) {
        finding->capacity = finding->capacity == 0 ? 64 : finding->capacity * 2;
        job->found = mem_realloc(job->found, finding->capacity * sizeof *job->found);
    }
    job->found[job->n_found++] = revision;
    return lapse_ok();
}

/* Notes the first column of each row. `statement` is finished here. */
static lapse_result note_rows(struct finding *finding, struct sqlite3_stmt *statement)
{
    struct lapse_error error;
    lapse_result result = lapse_ok();
    while (lapse_is_ok(result) && audit_db_step(finding->db, statement))
        result = note(finding, (uint64_t)sqlite3_column_int64(statement, 0));
    lapse_result done = audit_db_done(finding->db, statement, &error);
    if (lapse_is_ok(result) && !lapse_is_ok(done)) {
        finding->job->error = error;
        return done;
    }
    return result;
}

static lapse_result note_by_number(struct finding *finding, const char *sql, uint64_t number)
{
    struct sqlite3_stmt *statement = audit_db_prepare(finding->db, sql, &finding->job->error);
    if (statement == NULL)
        return lapse_failed(finding->job->error.code);
    CHECK(sqlite3_bind_int64(statement, 1, (int64_t)number) == SQLITE_OK);
    return note_rows(finding, statement);
}

static lapse_result note_links(struct finding *finding, uint64_t id)
{
    return note_by_number(finding, "SELECT revision FROM links WHERE id = ?", id);
}

/* --- how it ended ------------------------------------------------------------------------------------------------- */

/* The latest record about the grant's end; NULL: it has none. The caller finishes it, also after an error. */
static struct sqlite3_stmt *find_end(struct finding *finding, const uint8_t grant[16], bool *found)
{
    struct sqlite3_stmt *statement =
        audit_db_prepare(finding->db,
                         "SELECT revision, event FROM records WHERE grant_id = ? AND type IN (5, 6, 7, 8, 9, 10, 11)"
                         " ORDER BY revision DESC LIMIT 1",
                         &finding->job->error);
    if (statement == NULL)
        return NULL;
    CHECK(sqlite3_bind_blob(statement, 1, grant, 16, SQLITE_TRANSIENT) == SQLITE_OK);
    *found = audit_db_step(finding->db, statement);
    return statement;
}

static struct slice event_of(struct sqlite3_stmt *row, int column)
{
    const void *data = sqlite3_column_blob(row, column);
    return slice_of(data, (size_t)sqlite3_column_bytes(row, column));
}

struct family {
    uint8_t ids[LIMIT_CASCADE + 1][16];
    uint32_t n;
};

static bool is_in(const struct family *family, const uint8_t id[16])
{
    for (uint32_t i = 0; i < family->n; i++)
        if (memcmp(family->ids[i], id, 16) == 0)
            return true;
    return false;
}

/* Whether the record ends a grant below one of the family, which then grows by it. */
static bool joins(struct family *family, struct sqlite3_stmt *row)
{
    struct audit_end end;
    struct grant_id parent;
    audit_end_read(event_of(row, 0), &end);
    if (end.ended_revision == 0 || sqlite3_column_bytes(row, 1) != 16 || family->n > LIMIT_CASCADE ||
        !lapse_is_ok(grant_id_parse(end.parent, &parent)) || !is_in(family, (const uint8_t *)&parent))
        return false;
    memcpy(family->ids[family->n++], sqlite3_column_blob(row, 1), 16);
    return true;
}

/* The barrier that the revocation at `revision` opened, if it opened one: the last revision of its command. */
static lapse_result find_barrier(struct finding *finding, const uint8_t grant[16], uint64_t revision, uint64_t *barrier)
{
    struct family *family = mem_calloc(1, sizeof *family);
    struct lapse_error *error = &finding->job->error;
    struct sqlite3_stmt *statement = audit_db_prepare(
        finding->db, "SELECT event, grant_id FROM records WHERE revision > ? ORDER BY revision LIMIT 256", error);
    memcpy(family->ids[family->n++], grant, 16);
    *barrier = revision;
    lapse_result result = lapse_failed(error->code);
    if (statement != NULL) {
        CHECK(sqlite3_bind_int64(statement, 1, (int64_t)revision) == SQLITE_OK);
        while (audit_db_step(finding->db, statement) && joins(family, statement))
            ++*barrier;
        result = audit_db_done(finding->db, statement, error);
    }
    free(family);
    return result;
}

/* Sweeps that had begun by then and not ended, for the reason and by whom the grant says. */
static lapse_result note_sweeps(struct finding *finding, uint64_t revision, const struct audit_end *end)
{
    struct audit_end sweep;
    uint64_t ids[LIMIT_SWEEPS];
    uint32_t n = 0;
    struct sqlite3_stmt *statement =
        audit_db_prepare(finding->db,
                         "SELECT revision, event FROM records r WHERE type = 20 AND revision < ?1 AND NOT EXISTS"
                         " (SELECT 1 FROM links l JOIN records e ON e.revision = l.revision WHERE l.id = r.revision"
                         " AND e.type = 21 AND e.revision < ?1) ORDER BY revision DESC LIMIT 64",
                         &finding->job->error);
    if (statement == NULL)
        return lapse_failed(finding->job->error.code);
    CHECK(sqlite3_bind_int64(statement, 1, (int64_t)revision) == SQLITE_OK);
    while (n < LIMIT_SWEEPS && audit_db_step(finding->db, statement)) {
        audit_end_read(event_of(statement, 1), &sweep);
        if (slice_equal(sweep.sweep_by, end->ended_by) && slice_equal(sweep.sweep_reason, end->reason))
            ids[n++] = (uint64_t)sqlite3_column_int64(statement, 0);
    }
    lapse_result result = audit_db_done(finding->db, statement, &finding->job->error);
    for (uint32_t i = 0; i < n && lapse_is_ok(result); i++) {
        result = note(finding, ids[i]);
        if (lapse_is_ok(result))
            result = note_links(finding, ids[i]);
    }
    return result;
}

/* What made this grant end; `parent` is set when that has to be asked of the grant above. */
static lapse_result note_end(struct finding *finding, const uint8_t grant[16], bool own, uint8_t parent[16],
                             bool *goes_on)
{
    bool found = false;
    struct audit_end end = {.state = 0};
    struct grant_id id;
    uint64_t revision = 0, barrier = 0;
    *goes_on = false;
    struct sqlite3_stmt *row = find_end(finding, grant, &found);
    if (row == NULL)
        return lapse_failed(finding->job->error.code);
    lapse_result result = lapse_ok();
    if (found) {
        revision = (uint64_t)sqlite3_column_int64(row, 0);
        audit_end_read(event_of(row, 1), &end);
        *goes_on = slice_equal(end.reason, slice_str("parent ended")) && lapse_is_ok(grant_id_parse(end.parent, &id));
        if (*goes_on)
            memcpy(parent, &id, 16);
        if (!own)
            result = note(finding, revision);
        if (lapse_is_ok(result) && end.ended_by.len > 0)
            result = note_sweeps(finding, revision, &end);
    }
    struct lapse_error error;
    lapse_result done = audit_db_done(finding->db, row, &error);
    if (lapse_is_ok(result) && !lapse_is_ok(done)) {
        finding->job->error = error;
        return done;
    }
    if (lapse_is_ok(result) && found)
        result = find_barrier(finding, grant, revision, &barrier);
    return lapse_is_ok(result) && found ? note_links(finding, barrier) : result;
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

static int by_revision(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void sort_once(struct audit_job *job)
{
    uint32_t kept = 0;
    if (job->n_found == 0)
        return;
    qsort(job->found, job->n_found, sizeof *job->found, by_revision);
    for (uint32_t i = 0; i < job->n_found; i++)
        if (kept == 0 || job->found[i] != job->found[kept - 1])
            job->found[kept++] = job->found[i];
    job->n_found = kept;
}

static lapse_result note_own(struct finding *finding)
{
    struct sqlite3_stmt *statement = audit_db_prepare(
        finding->db, "SELECT revision FROM records WHERE grant_id = ? ORDER BY revision", &finding->job->error);
    if (statement == NULL)
        return lapse_failed(finding->job->error.code);
    CHECK(sqlite3_bind_blob(statement, 1, finding->job->filter.grant, 16, SQLITE_TRANSIENT) == SQLITE_OK);
    return note_rows(finding, statement);
}

/* Up the family, as long as one ended because the one above did. */
static lapse_result find_all(struct finding *finding)
{
    uint8_t grant[16], parent[16] = {0};
    bool goes_on = true;
    lapse_result result = note_own(finding);
    if (lapse_is_ok(result) && finding->job->n_found == 0)
        return lapse_fail(&finding->job->error, LAPSE_NOT_FOUND, "there is no record of this grant: check the id");
    memcpy(grant, finding->job->filter.grant, sizeof grant);
    for (uint32_t depth = 0; depth <= LIMIT_GRANT_DEPTH && goes_on && lapse_is_ok(result); depth++) {
        result = note_end(finding, grant, depth == 0, parent, &goes_on);
        memcpy(grant, parent, sizeof grant);
    }
    sort_once(finding->job);
    return result;
}

static lapse_result put_found(struct audit_db *db, struct audit_job *job)
{
    lapse_result result = lapse_ok();
    struct sqlite3_stmt *statement =
        audit_db_prepare(db, "SELECT " AUDIT_DB_ROW " FROM records WHERE revision = ?", &job->error);
    if (statement == NULL)
        return lapse_failed(job->error.code);
    while (lapse_is_ok(result) && job->cursor < job->n_found && job->response.len < AUDIT_PIECE_BYTES) {
        struct audit_record record;
        (void)sqlite3_reset(statement);
        CHECK(sqlite3_bind_int64(statement, 1, (int64_t)job->found[job->cursor++]) == SQLITE_OK);
        if (audit_db_step(db, statement))
            result = audit_db_row(statement, 0, &record, &job->error);
        else
            continue;
        if (lapse_is_ok(result))
            result = audit_put_record(&record, &job->response);
    }
    struct lapse_error error;
    lapse_result done = audit_db_done(db, statement, &error);
    if (lapse_is_ok(result) && !lapse_is_ok(done)) {
        job->error = error;
        return done;
    }
    return result;
}

lapse_result audit_evidence_run(struct audit *audit, struct audit_db *db, const struct audit_book *book,
                                struct audit_job *job)
{
    struct finding finding = {.db = db, .job = job};
    lapse_result result = lapse_ok();
    if (book->n_gaps > 0)
        return lapse_fail(&job->error, LAPSE_UNAVAILABLE,
                          "this node's audit database is being completed from other nodes: ask another node");
    if (job->found == NULL)
        result = find_all(&finding);
    if (lapse_is_ok(result))
        result = put_found(db, job);
    job->more = job->cursor < job->n_found;
    if (!lapse_is_ok(result) || job->more)
        return result;
    return audit_put_head_now(audit, db, book, job);
}
