/* Where the records end and which are missing. Everything up to `newest` is in the database or in one of the gaps; each
 * gap knows the hash of its last record, by which it can be closed from its end backwards. */
#include <inttypes.h>

#include "base/check.h"
#include "node/audit_internal.h"

bool audit_book_lacks(const struct audit_book *book, uint64_t first, uint64_t last)
{
    for (uint32_t i = 0; i < book->n_gaps; i++)
        if (book->gaps[i].first <= last && book->gaps[i].last >= first)
            return true;
    return false;
}

lapse_result audit_book_load(struct audit_db *db, struct audit_book *book, struct lapse_error *error)
{
    struct audit_book read = {.newest = 0};
    uint64_t newest = 0;
    lapse_result result = audit_db_gaps(db, read.gaps, &read.n_gaps, error);
    if (lapse_is_ok(result))
        result = audit_db_newest(db, &newest, error);
    if (!lapse_is_ok(result))
        return result;
    const struct audit_gap *gap = read.n_gaps > 0 ? &read.gaps[read.n_gaps - 1] : NULL;
    if (gap != NULL && gap->last > newest) {
        read.newest = gap->last;
        read.head = gap->head;
    } else if (newest > 0) {
        read.newest = newest;
        result = audit_db_hash(db, newest, &read.head, error);
    }
    if (lapse_is_ok(result))
        *book = read;
    return result;
}

static void insert_gap(struct audit_book *book, uint32_t at, const struct audit_gap *gap)
{
    CHECK(book->n_gaps < LIMIT_AUDIT_GAPS);
    memmove(&book->gaps[at + 1], &book->gaps[at], (book->n_gaps - at) * sizeof *gap);
    book->gaps[at] = *gap;
    book->n_gaps++;
}

static void remove_gap(struct audit_book *book, uint32_t at)
{
    book->n_gaps--;
    memmove(&book->gaps[at], &book->gaps[at + 1], (book->n_gaps - at) * sizeof book->gaps[0]);
}

static lapse_result store_gap(struct audit_db *db, uint64_t first, uint64_t last, const struct chain_head *head,
                              struct lapse_error *error)
{
    const struct audit_gap gap = {.first = first, .last = last, .head = *head};
    return audit_db_put_gap(db, &gap, error);
}

lapse_result audit_book_shrink(struct audit_book *book, struct audit_db *db, uint32_t i, uint64_t last,
                               const struct chain_head *head, struct lapse_error *error)
{
    struct audit_gap *gap = &book->gaps[i];
    lapse_result result = store_gap(db, gap->first, last, head, error);
    if (!lapse_is_ok(result))
        return result;
    if (last < gap->first) {
        remove_gap(book, i);
    } else {
        gap->last = last;
        gap->head = *head;
    }
    return lapse_ok();
}

/* --- what the core tells ------------------------------------------------------------------------------------------ */

static lapse_result contradiction(struct lapse_error *error, uint64_t revision)
{
    return lapse_fail(error, LAPSE_DATA_LOSS,
                      AUDIT_DB_NAME ": record %" PRIu64 " is not the one that this node's log leads to", revision);
}

static lapse_result add(struct audit_db *db, const struct audit_item *item, struct lapse_error *error)
{
    struct audit_fields fields;
    bool added = false;
    const struct audit_record record = {.epoch = item->place.epoch,
                                        .revision = item->place.revision,
                                        .event = slice_of(item->event, item->len),
                                        .head = item->place.head};
    lapse_result result = audit_fields_read(record.event, &fields, error);
    CHECK(lapse_is_ok(result) && fields.revision == record.revision); /* our own store has made it */
    return audit_db_add(db, &record, &fields, &added, error);
}

/* A hole behind all that is known, up to `revision`. No more gaps than fit: the caller's record then waits in vain, and
 * becomes part of the next one. */
static lapse_result open_gap(struct audit_book *book, struct audit_db *db, uint64_t revision,
                             const struct chain_head *head, struct lapse_error *error)
{
    const struct audit_gap gap = {.first = book->newest + 1, .last = revision, .head = *head};
    if (book->n_gaps == LIMIT_AUDIT_GAPS)
        return lapse_ok();
    lapse_result result = audit_db_put_gap(db, &gap, error);
    if (!lapse_is_ok(result))
        return result;
    insert_gap(book, book->n_gaps, &gap);
    book->newest = revision;
    book->head = *head;
    return lapse_ok();
}

/* The core knows the chain's head at a revision for which there is a record, or the end of a gap. */
static lapse_result compare(const struct audit_book *book, struct audit_db *db, uint64_t revision,
                            const struct chain_head *head, struct lapse_error *error)
{
    struct chain_head ours;
    bool known = true;
    if (revision == book->newest)
        ours = book->head;
    else if (revision == 0 || audit_book_lacks(book, revision, revision))
        known = false;
    else {
        lapse_result result = audit_db_hash(db, revision, &ours, error);
        if (result.code == LAPSE_NOT_FOUND)
            return contradiction(error, revision);
        if (!lapse_is_ok(result))
            return result;
    }
    return !known || chain_head_equal(&ours, head) ? lapse_ok() : contradiction(error, revision);
}

static uint32_t gap_of(const struct audit_book *book, uint64_t revision)
{
    uint32_t i = 0;
    while (i < book->n_gaps && book->gaps[i].last < revision)
        i++;
    return i < book->n_gaps && book->gaps[i].first <= revision ? i : UINT32_MAX;
}

/* After a restart the log brings a record that is missing: its gap becomes what lies before and what lies behind it. */
static lapse_result split_gap(struct audit_book *book, struct audit_db *db, uint32_t i, const struct audit_item *item,
                              struct lapse_error *error)
{
    const struct audit_gap gap = book->gaps[i];
    uint64_t revision = item->place.revision;
    const struct audit_gap behind = {.first = revision + 1, .last = gap.last, .head = gap.head};
    bool both = revision > gap.first && revision < gap.last;
    if (both && book->n_gaps == LIMIT_AUDIT_GAPS)
        return lapse_ok();
    if (revision == gap.last && !chain_head_equal(&gap.head, &item->place.head))
        return contradiction(error, revision);
    lapse_result result = add(db, item, error);
    if (lapse_is_ok(result))
        result = audit_book_shrink(book, db, i, revision - 1, &item->before, error);
    if (!lapse_is_ok(result) || revision == gap.last)
        return result;
    result = audit_db_put_gap(db, &behind, error);
    if (lapse_is_ok(result))
        insert_gap(book, both ? i + 1 : i, &behind);
    return result;
}

static lapse_result take_next(struct audit_book *book, struct audit_db *db, const struct audit_item *item,
                              struct lapse_error *error)
{
    if (!chain_head_equal(&book->head, &item->before))
        return contradiction(error, book->newest);
    lapse_result result = add(db, item, error);
    if (lapse_is_ok(result)) {
        book->newest = item->place.revision;
        book->head = item->place.head;
    }
    return result;
}

lapse_result audit_book_take(struct audit_book *book, struct audit_db *db, const struct audit_item *item,
                             struct lapse_error *error)
{
    uint64_t revision = item->place.revision;
    bool is_event = item->len > 0;
    uint64_t before = is_event ? revision - 1 : revision;
    lapse_result result = lapse_ok();
    if (before > book->newest)
        result = open_gap(book, db, before, is_event ? &item->before : &item->place.head, error);
    if (!lapse_is_ok(result))
        return result;
    if (!is_event)
        return revision <= book->newest ? compare(book, db, revision, &item->place.head, error) : lapse_ok();
    if (revision == book->newest + 1)
        return take_next(book, db, item, error);
    if (revision > book->newest)
        return lapse_ok(); /* too many gaps */
    uint32_t gap = gap_of(book, revision);
    return gap == UINT32_MAX ? add(db, item, error) : split_gap(book, db, gap, item, error);
}
