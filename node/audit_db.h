/* audit.db: what SQLite is asked for, and its errors in our words. One connection, one thread; the writer and the
 * reader have one each.
 *
 * Codes of all functions: DATA_LOSS: the file is no database, is damaged, or holds something else than it should;
 * RESOURCE_EXHAUSTED: the disk is full; DEADLINE_EXCEEDED: stopped by audit_db_limit; UNAVAILABLE: any other failure of
 * the disk. */
#ifndef LAPSE_NODE_AUDIT_DB_H
#define LAPSE_NODE_AUDIT_DB_H

#include "node/audit.h"
#include "node/audit_fields.h"

#define AUDIT_DB_NAME "audit.db"
#define AUDIT_DB_PATH_SIZE 600
/* Subjects, resources and actors are indexed stretch by stretch of so many revisions, so that adding a record touches what
 * lies in the cache, however many there are. Who looks for one names the stretch, too: AUDIT_DB_STRETCH = number. */
#define AUDIT_STRETCH_BITS 14
#define AUDIT_STRETCH (UINT64_C(1) << AUDIT_STRETCH_BITS)
#define AUDIT_DB_STRETCH "revision >> 14"

struct audit_db;
struct sqlite3;
struct sqlite3_stmt;

struct audit_record {
    uint64_t epoch, revision;
    struct slice event; /* borrowed */
    struct chain_head head;
};

/* A stretch of records that are missing; `head` is the last one's hash. */
struct audit_gap {
    uint64_t first, last;
    struct chain_head head;
};

enum audit_db_use { AUDIT_DB_WRITE /* made if it isn't there */, AUDIT_DB_READ };

lapse_result audit_db_open(const char *dir, enum audit_db_use use, struct audit_db **db,
                           struct lapse_error *error) LAPSE_MUST_USE;
void audit_db_close(struct audit_db *db); /* accepts NULL */
/* Moves a database that nobody has open, with what belongs to it, to audit.db.bad-`stamp`. */
lapse_result audit_db_set_aside(const char *dir, int64_t stamp, struct lapse_error *error) LAPSE_MUST_USE;

/* --- writing: between begin and commit or rollback ---------------------------------------------------------------- */

lapse_result audit_db_begin(struct audit_db *db, struct lapse_error *error) LAPSE_MUST_USE;
/* `durable`: it and everything committed before is on the disk when this returns. */
lapse_result audit_db_commit(struct audit_db *db, bool durable, struct lapse_error *error) LAPSE_MUST_USE;
void audit_db_rollback(struct audit_db *db);

/* A record that is there already is compared instead: DATA_LOSS if it is another one. `added` says which. */
lapse_result audit_db_add(struct audit_db *db, const struct audit_record *record, const struct audit_fields *fields,
                          bool *added, struct lapse_error *error) LAPSE_MUST_USE;
/* Replaces what was there from `first` on; last < first: there is no gap there any more. */
lapse_result audit_db_put_gap(struct audit_db *db, const struct audit_gap *gap,
                              struct lapse_error *error) LAPSE_MUST_USE;
/* `keep` the newest head but this one. */
lapse_result audit_db_put_head(struct audit_db *db, uint64_t revision, struct slice head, bool keep,
                               struct lapse_error *error) LAPSE_MUST_USE;
lapse_result audit_db_put_key(struct audit_db *db, uint64_t node_id, const uint8_t key[AUDIT_KEY_BYTES],
                              struct lapse_error *error) LAPSE_MUST_USE;

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* 0: there is none. */
lapse_result audit_db_newest(struct audit_db *db, uint64_t *revision, struct lapse_error *error) LAPSE_MUST_USE;
/* NOT_FOUND when there is no such record. */
lapse_result audit_db_hash(struct audit_db *db, uint64_t revision, struct chain_head *head,
                           struct lapse_error *error) LAPSE_MUST_USE;
/* In order; RESOURCE_EXHAUSTED is not an answer of this one: there are LIMIT_AUDIT_GAPS at most, or the file is
 * damaged. */
lapse_result audit_db_gaps(struct audit_db *db, struct audit_gap gaps[LIMIT_AUDIT_GAPS], uint32_t *n,
                           struct lapse_error *error) LAPSE_MUST_USE;
struct audit_db_key {
    uint64_t node_id;
    uint8_t key[AUDIT_KEY_BYTES];
};
lapse_result audit_db_keys(struct audit_db *db, struct audit_db_key keys[LIMIT_AUDIT_KEYS], uint32_t *n,
                           struct lapse_error *error) LAPSE_MUST_USE;

/* A statement of the caller's own: NULL with an error, or to be finished with audit_db_done, which says whether it met
 * one. */
struct sqlite3_stmt *audit_db_prepare(struct audit_db *db, const char *sql, struct lapse_error *error);
/* True: there is a row. */
bool audit_db_step(struct audit_db *db, struct sqlite3_stmt *statement);
/* After a step without a row: it was the end, not an error. */
bool audit_db_was_last(const struct audit_db *db);
lapse_result audit_db_done(struct audit_db *db, struct sqlite3_stmt *statement,
                           struct lapse_error *error) LAPSE_MUST_USE;
/* Columns from `column` on: epoch, revision, event, hash. Borrowed until the next step. DATA_LOSS for what is none. */
lapse_result audit_db_row(struct sqlite3_stmt *statement, int column, struct audit_record *record,
                          struct lapse_error *error) LAPSE_MUST_USE;
#define AUDIT_DB_ROW "epoch, revision, event, hash"
/* Statements end at that boot time, or when `*stop` is true; 0 and NULL: never. */
void audit_db_limit(struct audit_db *db, int64_t until_us, const _Atomic(bool) *stop);

#endif
