/* Statements are prepared once and named by an enum; whoever needs one of its own (queries) brings its text.
 *
 * Records go into the table in the order of their revisions, which is the order of the file; what they are found by has
 * partial indexes, since most records lack something. An index over all records by text would have each new one on
 * another page, all of which each transaction writes; those by stretch have them on the few that the last one wrote. synchronous is NORMAL: in WAL mode a commit then is atomic and in
 * order, but on the disk only with the next checkpoint. One durable commit syncs all that came before it. */
#include "node/audit_db.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/clock.h"

/* Virtual machine steps between two looks at the clock (50 us). */
#define STEPS_BETWEEN_LOOKS 10000
#define BUSY_MS 5000

#define VERSION_2 "PRAGMA user_version = 2;"
_Static_assert(AUDIT_STRETCH_BITS == 14, "AUDIT_DB_STRETCH says the same");
#define INDEXES_BY_STRETCH                                                                                             \
    "CREATE INDEX records_subject ON records(" AUDIT_DB_STRETCH ", subject) WHERE subject IS NOT NULL;"                \
    "CREATE INDEX records_resource ON records(" AUDIT_DB_STRETCH ", resource) WHERE resource IS NOT NULL;"             \
    "CREATE INDEX records_actor ON records(" AUDIT_DB_STRETCH ", actor) WHERE actor IS NOT NULL;"

static const char schema[] =
    "CREATE TABLE records(revision INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, time_ms INTEGER NOT NULL,"
    " type INTEGER NOT NULL, actor TEXT, grant_id BLOB, subject TEXT, resource TEXT, event BLOB NOT NULL, hash BLOB "
    "NOT NULL);"
    "CREATE INDEX records_grant ON records(grant_id) WHERE grant_id IS NOT NULL;"
    INDEXES_BY_STRETCH
    "CREATE INDEX records_sweep ON records(revision) WHERE type = 20;"
    "CREATE TABLE links(id INTEGER NOT NULL, revision INTEGER NOT NULL, PRIMARY KEY(id, revision)) WITHOUT ROWID;"
    "CREATE TABLE gaps(first INTEGER PRIMARY KEY, last INTEGER NOT NULL, hash BLOB NOT NULL);"
    "CREATE TABLE heads(revision INTEGER PRIMARY KEY, head BLOB NOT NULL);"
    "CREATE TABLE keys(node_id INTEGER NOT NULL, key BLOB NOT NULL, PRIMARY KEY(node_id, key)) WITHOUT ROWID;"
    "CREATE TABLE durable(id INTEGER PRIMARY KEY, times INTEGER NOT NULL);"
    VERSION_2;

/* Files of version 1 have them over all revisions. */
static const char to_version_2[] =
    "DROP INDEX records_subject; DROP INDEX records_resource; DROP INDEX records_actor;" INDEXES_BY_STRETCH VERSION_2;

#define VERSION 2

enum text {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ADD,
    SQL_LINK,
    SQL_HASH,
    SQL_NEWEST,
    SQL_GAP_REMOVE,
    SQL_GAP_PUT,
    SQL_GAPS,
    SQL_HEAD_DROP,
    SQL_HEAD_PUT,
    SQL_KEY_PUT,
    SQL_KEYS,
    SQL_DURABLE,
    SQL_TEXTS
};

static const char *const texts[SQL_TEXTS] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ADD] =
        ("INSERT OR IGNORE INTO records(revision, epoch, time_ms, type, actor, grant_id, subject, resource, event,"
         " hash) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
    [SQL_LINK] = "INSERT OR IGNORE INTO links(id, revision) VALUES(?, ?)",
    [SQL_HASH] = "SELECT hash FROM records WHERE revision = ?",
    [SQL_NEWEST] = "SELECT max(revision) FROM records",
    [SQL_GAP_REMOVE] = "DELETE FROM gaps WHERE first = ?",
    [SQL_GAP_PUT] = "INSERT OR REPLACE INTO gaps(first, last, hash) VALUES(?, ?, ?)",
    [SQL_GAPS] = "SELECT first, last, hash FROM gaps ORDER BY first",
    [SQL_HEAD_DROP] = "DELETE FROM heads WHERE revision = (SELECT max(revision) FROM heads)",
    [SQL_HEAD_PUT] = "INSERT OR REPLACE INTO heads(revision, head) VALUES(?, ?)",
    /* A node that makes ever new keys must not push out those of others. */
    [SQL_KEY_PUT] = ("INSERT OR IGNORE INTO keys(node_id, key) SELECT ?1, ?2"
                     " WHERE (SELECT count(*) FROM keys WHERE node_id = ?1) < ?3"),
    [SQL_KEYS] = "SELECT node_id, key FROM keys ORDER BY node_id, key",
    [SQL_DURABLE] = "INSERT OR REPLACE INTO durable(id, times) VALUES(1, coalesce((SELECT times FROM durable), 0) + 1)",
};

struct audit_db {
    sqlite3 *sqlite;
    sqlite3_stmt *statements[SQL_TEXTS];
    int64_t until_us;
    const _Atomic(bool) *stop;
    int stepped; /* what the last step of a caller's own statement said */
};

/* --- errors ------------------------------------------------------------------------------------------------------- */

static enum lapse_code code_of(sqlite3 *sqlite, int status)
{
    switch (status & 0xff) {
    case SQLITE_FULL:
        return LAPSE_RESOURCE_EXHAUSTED;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR: /* our statements are right: it is the schema that is not there */
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
        return LAPSE_DATA_LOSS;
    case SQLITE_INTERRUPT:
        return LAPSE_DEADLINE_EXCEEDED;
    case SQLITE_NOMEM:
        CHECK(!"memory for the audit database");
        return LAPSE_INTERNAL;
    default:
        return sqlite3_system_errno(sqlite) == ENOSPC || sqlite3_system_errno(sqlite) == EDQUOT
                   ? LAPSE_RESOURCE_EXHAUSTED
                   : LAPSE_UNAVAILABLE;
    }
}

static lapse_result failed(sqlite3 *sqlite, struct lapse_error *error)
{
    int status = sqlite3_extended_errcode(sqlite);
    return lapse_fail(error, code_of(sqlite, status), AUDIT_DB_NAME ": %s (%d)", sqlite3_errmsg(sqlite), status);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static int on_progress(void *arg)
{
    const struct audit_db *db = arg;
    return (db->until_us != 0 && clock_boot_us() > db->until_us) ||
           (db->stop != NULL && atomic_load_explicit(db->stop, memory_order_relaxed));
}

void audit_db_limit(struct audit_db *db, int64_t until_us, const _Atomic(bool) *stop)
{
    db->until_us = until_us;
    db->stop = stop;
    sqlite3_progress_handler(db->sqlite, until_us != 0 || stop != NULL ? STEPS_BETWEEN_LOOKS : 0, on_progress, db);
}

static lapse_result execute(struct audit_db *db, const char *sql, struct lapse_error *error)
{
    return sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL) == SQLITE_OK ? lapse_ok() : failed(db->sqlite, error);
}

static lapse_result read_version(struct audit_db *db, int *version, struct lapse_error *error)
{
    sqlite3_stmt *statement = audit_db_prepare(db, "PRAGMA user_version", error);
    if (statement == NULL)
        return lapse_failed(error->code);
    *version = audit_db_step(db, statement) ? sqlite3_column_int(statement, 0) : -1;
    return audit_db_done(db, statement, error);
}

/* A file that was begun and not finished has version 0 and no table: the schema is one transaction. */
static lapse_result change_schema(struct audit_db *db, const char *sql, struct lapse_error *error)
{
    lapse_result result = execute(db, "BEGIN IMMEDIATE", error);
    if (lapse_is_ok(result))
        result = execute(db, sql, error);
    return lapse_is_ok(result) ? execute(db, "COMMIT", error) : result;
}

static lapse_result set_up(struct audit_db *db, enum audit_db_use use, struct lapse_error *error)
{
    int version = 0;
    (void)sqlite3_busy_timeout(db->sqlite, BUSY_MS);
    lapse_result result = lapse_ok();
    if (use == AUDIT_DB_WRITE)
        result =
            execute(db,
                    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 1000;"
                    "PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -32768; PRAGMA trusted_schema = OFF",
                    error);
    if (lapse_is_ok(result))
        result = read_version(db, &version, error);
    if (!lapse_is_ok(result) || version == VERSION)
        return result;
    /* Who only reads waits for the writer. */
    bool is_ours = version == 0 || version == 1;
    if (!is_ours || use != AUDIT_DB_WRITE)
        return lapse_fail(error, is_ours ? LAPSE_UNAVAILABLE : LAPSE_DATA_LOSS, AUDIT_DB_NAME ": version %d", version);
    return change_schema(db, version == 0 ? schema : to_version_2, error);
}

static lapse_result prepare_all(struct audit_db *db, struct lapse_error *error)
{
    for (int i = 0; i < SQL_TEXTS; i++)
        if (sqlite3_prepare_v3(db->sqlite, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &db->statements[i], NULL) !=
            SQLITE_OK)
            return failed(db->sqlite, error);
    return lapse_ok();
}

/* Before SQLite is used first: figures about its memory that nobody asks for cost a lock at each allocation. */
static void tune_sqlite(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

lapse_result audit_db_open(const char *dir, enum audit_db_use use, struct audit_db **out, struct lapse_error *error)
{
    static pthread_once_t tuned = PTHREAD_ONCE_INIT;
    char path[AUDIT_DB_PATH_SIZE];
    CHECK(pthread_once(&tuned, tune_sqlite) == 0);
    struct audit_db *db = mem_calloc(1, sizeof *db);
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READWRITE | (use == AUDIT_DB_WRITE ? SQLITE_OPEN_CREATE : 0);
    lapse_result result = lapse_ok();
    (void)snprintf(path, sizeof path, "%s/" AUDIT_DB_NAME, dir);
    if (sqlite3_open_v2(path, &db->sqlite, flags, NULL) != SQLITE_OK)
        result = db->sqlite == NULL ? lapse_fail(error, LAPSE_UNAVAILABLE, "no memory for %s", path)
                                    : failed(db->sqlite, error);
    if (lapse_is_ok(result))
        result = set_up(db, use, error);
    if (lapse_is_ok(result))
        result = prepare_all(db, error);
    if (!lapse_is_ok(result)) {
        audit_db_close(db);
        return result;
    }
    (void)chmod(path, 0600);
    *out = db;
    return lapse_ok();
}

void audit_db_close(struct audit_db *db)
{
    if (db == NULL)
        return;
    for (int i = 0; i < SQL_TEXTS; i++)
        (void)sqlite3_finalize(db->statements[i]);
    CHECK(sqlite3_close(db->sqlite) == SQLITE_OK);
    free(db);
}

lapse_result audit_db_set_aside(const char *dir, int64_t stamp, struct lapse_error *error)
{
    static const char *const parts[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        char from[AUDIT_DB_PATH_SIZE], to[AUDIT_DB_PATH_SIZE];
        (void)snprintf(from, sizeof from, "%s/" AUDIT_DB_NAME "%s", dir, parts[i]);
        (void)snprintf(to, sizeof to, "%s/" AUDIT_DB_NAME ".bad-%" PRId64 "%s", dir, stamp, parts[i]);
        if (rename(from, to) != 0 && errno != ENOENT)
            return lapse_fail(error, LAPSE_UNAVAILABLE, "can't move %s aside: %s", from, strerror(errno));
    }
    return lapse_ok();
}

/* --- statements --------------------------------------------------------------------------------------------------- */

static void bind_text(sqlite3_stmt *statement, int at, struct slice text)
{
    CHECK((text.len == 0
               ? sqlite3_bind_null(statement, at)
               : sqlite3_bind_text(statement, at, (const char *)text.data, (int)text.len, SQLITE_STATIC)) == SQLITE_OK);
}

static void bind_blob(sqlite3_stmt *statement, int at, struct slice bytes)
{
    CHECK((bytes.len == 0 ? sqlite3_bind_null(statement, at)
                          : sqlite3_bind_blob(statement, at, bytes.data, (int)bytes.len, SQLITE_STATIC)) == SQLITE_OK);
}

static void bind_number(sqlite3_stmt *statement, int at, uint64_t number)
{
    CHECK(sqlite3_bind_int64(statement, at, (int64_t)number) == SQLITE_OK);
}

static void bind_head(sqlite3_stmt *statement, int at, const struct chain_head *head)
{
    bind_blob(statement, at, slice_of(head->hash, sizeof head->hash));
}

/* Runs a statement without rows to its end and makes it ready for the next time. */
static lapse_result run(struct audit_db *db, sqlite3_stmt *statement, struct lapse_error *error)
{
    int status = sqlite3_step(statement);
    lapse_result result = status == SQLITE_DONE || status == SQLITE_ROW ? lapse_ok() : failed(db->sqlite, error);
    (void)sqlite3_reset(statement);
    return result;
}

struct sqlite3_stmt *audit_db_prepare(struct audit_db *db, const char *sql, struct lapse_error *error)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db->sqlite, sql, -1, &statement, NULL) == SQLITE_OK)
        return statement;
    (void)failed(db->sqlite, error);
    return NULL;
}

bool audit_db_step(struct audit_db *db, struct sqlite3_stmt *statement)
{
    db->stepped = sqlite3_step(statement);
    return db->stepped == SQLITE_ROW;
}

bool audit_db_was_last(const struct audit_db *db)
{
    return db->stepped == SQLITE_DONE;
}

lapse_result audit_db_done(struct audit_db *db, struct sqlite3_stmt *statement, struct lapse_error *error)
{
    int status = sqlite3_reset(statement);
    lapse_result result = status == SQLITE_OK ? lapse_ok() : failed(db->sqlite, error);
    (void)sqlite3_finalize(statement);
    return result;
}

static struct slice column_blob(sqlite3_stmt *statement, int column)
{
    const void *data = sqlite3_column_blob(statement, column);
    return slice_of(data, (size_t)sqlite3_column_bytes(statement, column));
}

static bool column_head(sqlite3_stmt *statement, int column, struct chain_head *head)
{
    struct slice hash = column_blob(statement, column);
    if (hash.len != sizeof head->hash)
        return false;
    memcpy(head->hash, hash.data, sizeof head->hash);
    return true;
}

lapse_result audit_db_row(struct sqlite3_stmt *statement, int column, struct audit_record *record,
                          struct lapse_error *error)
{
    record->epoch = (uint64_t)sqlite3_column_int64(statement, column);
    record->revision = (uint64_t)sqlite3_column_int64(statement, column + 1);
    record->event = column_blob(statement, column + 2);
    if (!column_head(statement, column + 3, &record->head))
        return lapse_fail(error, LAPSE_DATA_LOSS, AUDIT_DB_NAME ": record %" PRIu64 " has no hash", record->revision);
    return lapse_ok();
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

lapse_result audit_db_begin(struct audit_db *db, struct lapse_error *error)
{
    return run(db, db->statements[SQL_BEGIN], error);
}

lapse_result audit_db_commit(struct audit_db *db, bool durable, struct lapse_error *error)
{
    lapse_result result = run(db, db->statements[SQL_COMMIT], error);
    if (!durable || !lapse_is_ok(result))
        return result;
    /* Something must be written for a sync to happen, and synchronous can't be changed inside a transaction. */
    result = execute(db, "PRAGMA synchronous = FULL", error);
    if (lapse_is_ok(result))
        result = run(db, db->statements[SQL_DURABLE], error);
    struct lapse_error other;
    lapse_result back = execute(db, "PRAGMA synchronous = NORMAL", &other);
    if (lapse_is_ok(result) && !lapse_is_ok(back)) {
        *error = other;
        return back;
    }
    return result;
}

void audit_db_rollback(struct audit_db *db)
{
    if (!sqlite3_get_autocommit(db->sqlite))
        (void)sqlite3_exec(db->sqlite, "ROLLBACK", NULL, NULL, NULL);
}

static lapse_result add_links(struct audit_db *db, const struct audit_fields *fields, struct lapse_error *error)
{
    sqlite3_stmt *statement = db->statements[SQL_LINK];
    lapse_result result = lapse_ok();
    for (uint32_t i = 0; i < fields->n_links && lapse_is_ok(result); i++) {
        bind_number(statement, 1, fields->links[i]);
        bind_number(statement, 2, fields->revision);
        result = run(db, statement, error);
    }
    return result;
}

static lapse_result compare(struct audit_db *db, const struct audit_record *record, struct lapse_error *error)
{
    struct chain_head head;
    lapse_result result = audit_db_hash(db, record->revision, &head, error);
    if (lapse_is_ok(result) && !chain_head_equal(&head, &record->head))
        result = lapse_fail(error, LAPSE_DATA_LOSS,
                            AUDIT_DB_NAME ": record %" PRIu64 " is not the one that the log has", record->revision);
    return result;
}

lapse_result audit_db_add(struct audit_db *db, const struct audit_record *record, const struct audit_fields *fields,
                          bool *added, struct lapse_error *error)
{
    sqlite3_stmt *statement = db->statements[SQL_ADD];
    CHECK(record->revision == fields->revision);
    bind_number(statement, 1, record->revision);
    bind_number(statement, 2, record->epoch);
    bind_number(statement, 3, (uint64_t)fields->time_ms);
    bind_number(statement, 4, fields->type);
    bind_text(statement, 5, fields->actor);
    bind_blob(statement, 6, slice_of(fields->grant, fields->has_grant ? sizeof fields->grant : 0));
    bind_text(statement, 7, fields->subject);
    bind_text(statement, 8, fields->resource);
    bind_blob(statement, 9, record->event);
    bind_head(statement, 10, &record->head);
    lapse_result result = run(db, statement, error);
    if (!lapse_is_ok(result))
        return result;
    *added = sqlite3_changes(db->sqlite) > 0;
    return *added ? add_links(db, fields, error) : compare(db, record, error);
}

lapse_result audit_db_put_gap(struct audit_db *db, const struct audit_gap *gap, struct lapse_error *error)
{
    sqlite3_stmt *statement = db->statements[gap->last < gap->first ? SQL_GAP_REMOVE : SQL_GAP_PUT];
    bind_number(statement, 1, gap->first);
    if (gap->last >= gap->first) {
        bind_number(statement, 2, gap->last);
        bind_head(statement, 3, &gap->head);
    }
    return run(db, statement, error);
}

lapse_result audit_db_put_head(struct audit_db *db, uint64_t revision, struct slice head, bool keep,
                               struct lapse_error *error)
{
    sqlite3_stmt *statement = db->statements[SQL_HEAD_PUT];
    lapse_result result = keep ? lapse_ok() : run(db, db->statements[SQL_HEAD_DROP], error);
    if (!lapse_is_ok(result))
        return result;
    bind_number(statement, 1, revision);
    bind_blob(statement, 2, head);
    return run(db, statement, error);
}

lapse_result audit_db_put_key(struct audit_db *db, uint64_t node_id, const uint8_t key[AUDIT_KEY_BYTES],
                              struct lapse_error *error)
{
    sqlite3_stmt *statement = db->statements[SQL_KEY_PUT];
    bind_number(statement, 1, node_id);
    bind_blob(statement, 2, slice_of(key, AUDIT_KEY_BYTES));
    bind_number(statement, 3, LIMIT_AUDIT_KEYS_PER_NODE);
    return run(db, statement, error);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* After the last step. */
static lapse_result end_of(struct audit_db *db, sqlite3_stmt *statement, struct lapse_error *error)
{
    return sqlite3_reset(statement) == SQLITE_OK ? lapse_ok() : failed(db->sqlite, error);
}

lapse_result audit_db_newest(struct audit_db *db, uint64_t *revision, struct lapse_error *error)
{
    sqlite3_stmt *statement = db->statements[SQL_NEWEST];
    uint64_t newest = sqlite3_step(statement) == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(statement, 0) : 0;
    lapse_result result = end_of(db, statement, error);
    if (lapse_is_ok(result))
        *revision = newest;
    return result;
}

lapse_result audit_db_hash(struct audit_db *db, uint64_t revision, struct chain_head *head, struct lapse_error *error)
{
    sqlite3_stmt *statement = db->statements[SQL_HASH];
    struct chain_head found;
    bind_number(statement, 1, revision);
    bool row = sqlite3_step(statement) == SQLITE_ROW;
    bool whole = row && column_head(statement, 0, &found);
    lapse_result result = end_of(db, statement, error);
    if (!lapse_is_ok(result))
        return result;
    if (!row)
        return lapse_fail(error, LAPSE_NOT_FOUND, "there is no record %" PRIu64, revision);
    if (!whole)
        return lapse_fail(error, LAPSE_DATA_LOSS, AUDIT_DB_NAME ": record %" PRIu64 " has no hash", revision);
    *head = found;
    return lapse_ok();
}

lapse_result audit_db_gaps(struct audit_db *db, struct audit_gap gaps[LIMIT_AUDIT_GAPS], uint32_t *n,
                           struct lapse_error *error)
{
    sqlite3_stmt *statement = db->statements[SQL_GAPS];
    uint32_t found = 0;
    bool sound = true;
    while (sound && sqlite3_step(statement) == SQLITE_ROW) {
        struct audit_gap gap = {.first = (uint64_t)sqlite3_column_int64(statement, 0),
                                .last = (uint64_t)sqlite3_column_int64(statement, 1)};
        sound = found < LIMIT_AUDIT_GAPS && column_head(statement, 2, &gap.head) && gap.first >= 1 &&
                gap.first <= gap.last && (found == 0 || gap.first > gaps[found - 1].last);
        if (sound)
            gaps[found++] = gap;
    }
    lapse_result result = end_of(db, statement, error);
    if (lapse_is_ok(result) && !sound)
        result = lapse_fail(error, LAPSE_DATA_LOSS, AUDIT_DB_NAME ": its list of gaps is damaged");
    if (lapse_is_ok(result))
        *n = found;
    return result;
}

lapse_result audit_db_keys(struct audit_db *db, struct audit_db_key keys[LIMIT_AUDIT_KEYS], uint32_t *n,
                           struct lapse_error *error)
{
    sqlite3_stmt *statement = db->statements[SQL_KEYS];
    uint32_t found = 0;
    while (found < LIMIT_AUDIT_KEYS && sqlite3_step(statement) == SQLITE_ROW) {
        struct slice key = column_blob(statement, 1);
        if (key.len != AUDIT_KEY_BYTES)
            continue;
        keys[found].node_id = (uint64_t)sqlite3_column_int64(statement, 0);
        memcpy(keys[found++].key, key.data, AUDIT_KEY_BYTES);
    }
    lapse_result result = end_of(db, statement, error);
    if (lapse_is_ok(result))
        *n = found;
    return result;
}
