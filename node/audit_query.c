/* Query and Tail: records that match, in the order of their revisions.
 *
 * Whatever is asked, one call looks at LIMIT_AUDIT_LOOKS revisions at most, or as many as it finds by an index, slice
 * by slice; what it has by then is the answer, with the place where it goes on. Cluster time never runs backwards, so
 * that a time is a place among the revisions. */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/wire.h"
#include "node/audit_internal.h"
#include "proto/lapse/v1/audit.pb.h"

#define SLICE 20000u
/* A page is answered after so long with what there is. */
#define PAGE_US (500ll * 1000)
#define SQL_SIZE 1024

/* --- the statement ------------------------------------------------------------------------------------------------ */

static bool has_grant(const struct audit_filter *filter)
{
    static const uint8_t none[sizeof filter->grant];
    return memcmp(filter->grant, none, sizeof none) != 0;
}

static bool is_subtree(struct slice resource)
{
    return resource.len > 2 && memcmp(resource.data + resource.len - 2, "/*", 2) == 0;
}

static void add_types(uint64_t types, char *sql)
{
    const char *comma = "";
    if (types == 0)
        return;
    strcat(sql, " AND type IN (");
    for (unsigned type = 1; type < 64; type++) {
        char number[8];
        if ((types & (uint64_t)1 << type) == 0)
            continue;
        (void)snprintf(number, sizeof number, "%s%u", comma, type);
        strcat(sql, number);
        comma = ",";
    }
    strcat(sql, ")");
}

/* Whether it is found by an index that is kept stretch by stretch; that of grants is better, and over everything. */
static bool is_by_stretch(const struct audit_filter *filter)
{
    return !has_grant(filter) && (filter->subject.len > 0 || filter->actor.len > 0 ||
                                  (filter->resource.len > 0 && !is_subtree(filter->resource)));
}

/* A subtree is looked through (the +): its records lie anywhere, and would have to be sorted. */
static void write_sql(const struct audit_filter *filter, bool descending, char sql[SQL_SIZE])
{
    (void)snprintf(sql, SQL_SIZE, "SELECT " AUDIT_DB_ROW " FROM records WHERE revision BETWEEN ?1 AND ?2");
    if (is_by_stretch(filter))
        strcat(sql, " AND " AUDIT_DB_STRETCH " = ?8");
    if (has_grant(filter))
        strcat(sql, " AND grant_id = ?3");
    if (filter->subject.len > 0)
        strcat(sql, " AND subject = ?4");
    if (is_subtree(filter->resource))
        strcat(sql, " AND +resource >= ?5 AND +resource < ?6");
    else if (filter->resource.len > 0)
        strcat(sql, " AND resource = ?5");
    if (filter->actor.len > 0)
        strcat(sql, " AND actor = ?7");
    add_types(filter->types, sql);
    strcat(sql, descending ? " ORDER BY revision DESC" : " ORDER BY revision");
}

static void bind_text(sqlite3_stmt *statement, int at, struct slice text)
{
    if (text.len > 0)
        CHECK(sqlite3_bind_text(statement, at, (const char *)text.data, (int)text.len, SQLITE_TRANSIENT) == SQLITE_OK);
}

static void bind_filter(sqlite3_stmt *statement, const struct audit_filter *filter)
{
    char after[LIMIT_RESOURCE + 1];
    struct slice resource = filter->resource;
    if (has_grant(filter))
        CHECK(sqlite3_bind_blob(statement, 3, filter->grant, sizeof filter->grant, SQLITE_TRANSIENT) == SQLITE_OK);
    bind_text(statement, 4, filter->subject);
    bind_text(statement, 7, filter->actor);
    if (is_subtree(resource)) {
        resource.len--; /* "db/prod/" to "db/prod0": the character after "/" */
        CHECK(slice_to_cstr(resource, after, sizeof after));
        after[resource.len - 1]++;
        bind_text(statement, 6, slice_str(after));
    }
    bind_text(statement, 5, resource);
}

/* --- times -------------------------------------------------------------------------------------------------------- */

/* The first record at or after `time_ms` among those from 1 to `newest`; newest + 1: none. */
static lapse_result find_time(struct audit_db *db, int64_t time_ms, uint64_t newest, uint64_t *revision,
                              struct lapse_error *error)
{
    uint64_t low = 1, high = newest + 1;
    struct sqlite3_stmt *statement = audit_db_prepare(
        db, "SELECT revision, time_ms FROM records WHERE revision >= ? ORDER BY revision LIMIT 1", error);
    if (statement == NULL)
        return lapse_failed(error->code);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        (void)sqlite3_reset(statement);
        CHECK(sqlite3_bind_int64(statement, 1, (int64_t)middle) == SQLITE_OK);
        bool is_later = !audit_db_step(db, statement) || sqlite3_column_int64(statement, 1) >= time_ms;
        if (is_later)
            high = middle;
        else
            low = (uint64_t)sqlite3_column_int64(statement, 0) + 1;
    }
    *revision = low;
    return audit_db_done(db, statement, error);
}

struct range {
    uint64_t first, last; /* last < first: nothing */
};

static lapse_result find_range(struct audit_db *db, const struct audit_filter *filter, uint64_t newest,
                               struct range *range, struct lapse_error *error)
{
    uint64_t end = newest + 1;
    lapse_result result = lapse_ok();
    range->first = 1;
    if (filter->from_ms > 0)
        result = find_time(db, filter->from_ms, newest, &range->first, error);
    if (lapse_is_ok(result) && filter->to_ms > 0)
        result = find_time(db, filter->to_ms, newest, &end, error);
    range->last = end - 1;
    return result;
}

/* --- slices ------------------------------------------------------------------------------------------------------- */

struct page {
    struct audit_job *job;
    lapse_result (*put)(const struct audit_record *record, struct buf *out);
    uint32_t n;
    uint64_t at; /* the last one that was put */
    bool full;
};

static size_t page_bytes(const struct audit_job *job)
{
    return job->op == AUDIT_QUERY ? LIMIT_PAGE_BYTES : AUDIT_PIECE_BYTES;
}

static lapse_result put_rows(struct audit_db *db, struct sqlite3_stmt *statement, struct page *page)
{
    struct audit_record record;
    while (!page->full && audit_db_step(db, statement)) {
        lapse_result result = audit_db_row(statement, 0, &record, &page->job->error);
        if (lapse_is_ok(result))
            result = page->put(&record, &page->job->response);
        if (!lapse_is_ok(result))
            return result;
        page->at = record.revision;
        page->full = ++page->n >= page->job->page || page->job->response.len >= page_bytes(page->job);
    }
    return lapse_ok();
}

/* What lies in one stretch. */
static struct range next_stretch(const struct range *rest, bool descending)
{
    struct range slice = *rest;
    uint64_t begin = rest->last & ~(AUDIT_STRETCH - 1), end = rest->first | (AUDIT_STRETCH - 1);
    if (descending && slice.first < begin)
        slice.first = begin;
    else if (!descending && slice.last > end)
        slice.last = end;
    return slice;
}

static struct range next_slice(const struct range *rest, bool descending, uint64_t size)
{
    struct range slice = *rest;
    if (rest->last - rest->first >= size && descending)
        slice.first = rest->last - size + 1;
    else if (rest->last - rest->first >= size)
        slice.last = rest->first + size - 1;
    return slice;
}

/* What is left after the slice, or after the record at which the page was full. */
static void advance(struct range *rest, const struct range *slice, const struct page *page)
{
    if (page->job->descending)
        rest->last = (page->full ? page->at : slice->first) - 1;
    else
        rest->first = (page->full ? page->at : slice->last) + 1;
}

/* Fills the page from `rest`, which becomes what is left. */
static lapse_result fill(struct audit_db *db, struct page *page, struct range *rest)
{
    struct audit_job *job = page->job;
    char sql[SQL_SIZE];
    bool by_stretch = is_by_stretch(&job->filter);
    uint64_t size = by_stretch || has_grant(&job->filter) ? UINT64_C(50) * SLICE : SLICE;
    uint64_t looks = 0, looks_max = size * (LIMIT_AUDIT_LOOKS / SLICE);
    int64_t until_us = clock_boot_us() + PAGE_US;
    lapse_result result = lapse_ok();
    write_sql(&job->filter, job->descending, sql);
    struct sqlite3_stmt *statement = audit_db_prepare(db, sql, &job->error);
    if (statement == NULL)
        return lapse_failed(job->error.code);
    bind_filter(statement, &job->filter);
    while (lapse_is_ok(result) && rest->first <= rest->last && !page->full && looks < looks_max &&
           clock_boot_us() < until_us) {
        struct range slice =
            by_stretch ? next_stretch(rest, job->descending) : next_slice(rest, job->descending, size);
        (void)sqlite3_reset(statement);
        CHECK(sqlite3_bind_int64(statement, 1, (int64_t)slice.first) == SQLITE_OK &&
              sqlite3_bind_int64(statement, 2, (int64_t)slice.last) == SQLITE_OK);
        if (by_stretch)
            CHECK(sqlite3_bind_int64(statement, 8, (int64_t)(slice.first >> AUDIT_STRETCH_BITS)) == SQLITE_OK);
        result = put_rows(db, statement, page);
        if (lapse_is_ok(result) && !page->full && !audit_db_was_last(db))
            break;
        advance(rest, &slice, page);
        looks += slice.last - slice.first + 1;
    }
    struct lapse_error error;
    lapse_result done = audit_db_done(db, statement, &error);
    if (lapse_is_ok(result) && !lapse_is_ok(done)) {
        job->error = error;
        return done;
    }
    return result;
}

static lapse_result refuse_gap(const struct audit_book *book, const struct range *range, struct lapse_error *error)
{
    if (range->last < range->first || !audit_book_lacks(book, range->first, range->last))
        return lapse_ok();
    return lapse_fail(error, LAPSE_UNAVAILABLE,
                      "this node's audit database lacks records up to revision %" PRIu64
                      " and is getting them from other nodes: ask another node",
                      book->gaps[book->n_gaps - 1].last);
}

/* --- the questions ------------------------------------------------------------------------------------------------ */

static lapse_result put_nested(uint32_t field, const struct audit_record *record, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    size_t mark = wire_begin(&writer, field);
    wire_put_uint(&writer, lapse_v1_AuditRecord_epoch_tag, record->epoch);
    wire_put_uint(&writer, lapse_v1_AuditRecord_revision_tag, record->revision);
    wire_put_bytes(&writer, lapse_v1_AuditRecord_event_tag, record->event);
    wire_put_bytes(&writer, lapse_v1_AuditRecord_hash_tag, slice_of(record->head.hash, sizeof record->head.hash));
    wire_end(&writer, mark);
    return writer.failed ? lapse_failed(LAPSE_RESOURCE_EXHAUSTED) : lapse_ok();
}

static lapse_result put_in_response(const struct audit_record *record, struct buf *out)
{
    return put_nested(lapse_v1_QueryResponse_records_tag, record, out);
}

/* One TailResponse as field 1 of a list. */
lapse_result audit_put_record(const struct audit_record *record, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    size_t mark = wire_begin(&writer, 1);
    lapse_result result = put_nested(lapse_v1_TailResponse_record_tag, record, out);
    wire_end(&writer, mark);
    return writer.failed ? lapse_failed(LAPSE_RESOURCE_EXHAUSTED) : result;
}

lapse_result audit_put_head(struct slice signed_head, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    size_t mark = wire_begin(&writer, 1);
    wire_put_bytes(&writer, lapse_v1_TailResponse_head_tag, signed_head);
    wire_end(&writer, mark);
    return writer.failed ? lapse_failed(LAPSE_RESOURCE_EXHAUSTED) : lapse_ok();
}

lapse_result audit_query_run(struct audit_db *db, const struct audit_book *book, struct audit_job *job)
{
    struct page page = {.job = job, .put = put_in_response};
    struct range rest;
    lapse_result result = find_range(db, &job->filter, book->newest, &rest, &job->error);
    if (!lapse_is_ok(result))
        return result;
    if (job->cursor != 0 && job->descending && job->cursor < rest.last)
        rest.last = job->cursor;
    else if (job->cursor != 0 && !job->descending && job->cursor > rest.first)
        rest.first = job->cursor;
    result = refuse_gap(book, &rest, &job->error);
    if (lapse_is_ok(result))
        result = fill(db, &page, &rest);
    job->more = rest.first <= rest.last;
    job->cursor = job->descending ? rest.last : rest.first;
    return result;
}

lapse_result audit_put_head_now(struct audit *audit, struct audit_db *db, const struct audit_book *book,
                                struct audit_job *job)
{
    struct buf head;
    buf_init(&head, AUDIT_HEAD_BYTES_MAX);
    lapse_result result = audit_sign_now(audit, db, book, &head, &job->revision, &job->error);
    if (lapse_is_ok(result))
        result = audit_put_head(buf_slice(&head), &job->response);
    buf_free(&head);
    return result;
}

/* Of records that were told already. */
static lapse_result put_new_head(struct audit *audit, struct audit_job *job)
{
    uint64_t revision = audit_head_revision(audit);
    if (revision == job->head_seen || revision == 0 || revision >= job->cursor)
        return lapse_ok();
    struct blob *head = audit_head(audit);
    lapse_result result = audit_put_head(blob_slice(head), &job->response);
    blob_unref(head);
    job->head_seen = revision;
    return result;
}

lapse_result audit_tail_run(struct audit *audit, struct audit_db *db, const struct audit_book *book,
                            struct audit_job *job)
{
    struct page page = {.job = job, .put = audit_put_record};
    struct range rest;
    (void)audit;
    lapse_result result = find_range(db, &job->filter, book->newest, &rest, &job->error);
    if (!lapse_is_ok(result))
        return result;
    if (rest.first < job->cursor)
        rest.first = job->cursor;
    if (job->last != 0 && rest.last > job->last)
        rest.last = job->last;
    result = refuse_gap(book, &rest, &job->error);
    if (lapse_is_ok(result) && rest.first <= rest.last)
        result = fill(db, &page, &rest);
    bool is_through = rest.first > rest.last;
    uint64_t end = job->last != 0 && job->last < book->newest ? job->last : book->newest;
    job->cursor = is_through && end >= job->cursor ? end + 1 : rest.first;
    job->revision = job->cursor - 1;
    if (!lapse_is_ok(result))
        return result;
    bool is_last = job->last != 0 && job->cursor > job->last;
    return is_last ? audit_put_head_now(audit, db, book, job) : put_new_head(audit, job);
}
