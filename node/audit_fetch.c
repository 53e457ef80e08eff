/* Closing gaps: records from other nodes, by range over the peer links.
 *
 *   gap [first, last] whose last hash is known
 *      --RANGE--> a peer --RECORDS--> the last ones of it, and the hash before them
 *      hash them forward from there: it must lead to the known hash --> they are added, the gap is shorter, and the
 * hash before them is the known one now
 *
 * So each piece is verified at once, by a hash that goes back to what the log said: nobody can make up records that
 * lead to it. What doesn't verify is dropped whole, the peer is named in the log, and the next one is asked. When a gap
 * is closed, what lies before it must have the hash that the piece began with: otherwise that is damaged. */
#include "node/audit_internal.h"

#include "base/check.h"
#include "base/log.h"

#define ANSWER_US (2ll * 1000 * 1000)
/* After all were asked in vain. */
#define PAUSE_US (500ll * 1000)
#define PIECE_MAX 65536u

static uint32_t newest_gap(const struct audit_book *book)
{
    CHECK(book->n_gaps > 0);
    return book->n_gaps - 1;
}

static void ask(struct audit *audit, int64_t now_us)
{
    struct audit_writer *writer = &audit->writer;
    struct audit_fetch *fetch = &writer->fetch;
    const struct audit_gap *gap = &writer->book.gaps[newest_gap(&writer->book)];
    struct buf frame;
    uint64_t earliest = gap->last >= PIECE_MAX ? gap->last - PIECE_MAX + 1 : 1;
    fetch->peer = writer->peers[fetch->turn % writer->n_peers];
    fetch->first = earliest > gap->first ? earliest : gap->first;
    fetch->last = gap->last;
    fetch->sequence = (uint64_t)now_us << 8 | (fetch->turn & 0xff) | 1u << 7;
    fetch->until_us = now_us + ANSWER_US;
    buf_init(&frame, AUDIT_FRAME_MAX);
    const struct audit_frame question = {
        .kind = AUDIT_RANGE, .sequence = fetch->sequence, .first = fetch->first, .last = fetch->last};
    CHECK(lapse_is_ok(audit_frame_encode(&question, &frame)));
    audit->handler.send(audit->handler_arg, fetch->peer, buf_slice(&frame));
    buf_free(&frame);
}

/* The next one is asked; after a round, later. */
static void give_up(struct audit *audit, int64_t now_us)
{
    struct audit_fetch *fetch = &audit->writer.fetch;
    fetch->sequence = 0;
    fetch->turn++;
    fetch->failures++;
    fetch->until_us =
        audit->writer.n_peers > 0 && fetch->failures % audit->writer.n_peers == 0 ? now_us + PAUSE_US : now_us;
}

void audit_fetch_step(struct audit *audit, int64_t now_us)
{
    struct audit_writer *writer = &audit->writer;
    struct audit_fetch *fetch = &writer->fetch;
    if (writer->db == NULL || writer->book.n_gaps == 0 || writer->n_peers == 0 || now_us < writer->retry_us ||
        !audit_verify_is_over(&writer->verify) || now_us < fetch->until_us)
        return;
    if (fetch->sequence != 0)
        give_up(audit, now_us);
    if (now_us >= fetch->until_us)
        ask(audit, now_us);
}

/* --- the answer --------------------------------------------------------------------------------------------------- */

/* The records lead from what the peer says was before them to what is known to be behind them. */
static bool leads_to(const struct audit_frame *frame, const struct chain_head *known)
{
    struct chain_head head = frame->head;
    struct slice list = frame->list, event;
    struct audit_fields fields;
    uint64_t epoch = 0, revision = frame->first;
    while (audit_frame_next(&list, &epoch, &event)) {
        if (!lapse_is_ok(audit_fields_read(event, &fields, NULL)) || fields.revision != revision++)
            return false;
        chain_extend(&head, epoch, event);
    }
    static const struct chain_head beginning;
    return chain_head_equal(&head, known) && (frame->first > 1 || chain_head_equal(&frame->head, &beginning));
}

static lapse_result add_all(struct audit_db *db, const struct audit_frame *frame, struct lapse_error *error)
{
    struct chain_head head = frame->head;
    struct slice list = frame->list;
    struct audit_fields fields;
    struct audit_record record;
    bool added = false;
    lapse_result result = lapse_ok();
    while (lapse_is_ok(result) && audit_frame_next(&list, &record.epoch, &record.event)) {
        CHECK(lapse_is_ok(audit_fields_read(record.event, &fields, NULL)));
        chain_extend(&head, record.epoch, record.event);
        record.head = head;
        record.revision = fields.revision;
        result = audit_db_add(db, &record, &fields, &added, error);
    }
    return result;
}

/* What lies before a gap that is closed now is verified by the gap. */
static lapse_result check_joint(struct audit_db *db, const struct audit_frame *frame, const struct audit_gap *gap,
                                struct lapse_error *error)
{
    struct chain_head before;
    if (frame->first > gap->first || gap->first == 1)
        return lapse_ok();
    lapse_result result = audit_db_hash(db, gap->first - 1, &before, error);
    if (lapse_is_ok(result) && !chain_head_equal(&before, &frame->head))
        result = lapse_failed(LAPSE_NOT_FOUND);
    if (result.code == LAPSE_NOT_FOUND)
        return lapse_fail(error, LAPSE_DATA_LOSS,
                          AUDIT_DB_NAME ": record %llu is not the one that the records behind it follow from",
                          (unsigned long long)(gap->first - 1));
    return result;
}

static lapse_result write_piece(struct audit_writer *writer, struct audit_book *book, uint32_t gap,
                                const struct audit_frame *frame, struct lapse_error *error)
{
    lapse_result result = audit_db_begin(writer->db, error);
    if (lapse_is_ok(result))
        result = check_joint(writer->db, frame, &book->gaps[gap], error);
    if (lapse_is_ok(result))
        result = add_all(writer->db, frame, error);
    if (lapse_is_ok(result))
        result = audit_book_shrink(book, writer->db, gap, frame->first - 1, &frame->head, error);
    return lapse_is_ok(result) ? audit_db_commit(writer->db, false, error) : result;
}

static void take_piece(struct audit *audit, const struct audit_frame *frame, int64_t now_us)
{
    struct audit_writer *writer = &audit->writer;
    struct audit_book book = writer->book;
    struct lapse_error error;
    uint32_t gap = newest_gap(&book);
    writer->fetch.sequence = 0;
    writer->fetch.until_us = now_us;
    writer->fetch.failures = 0;
    if (!lapse_is_ok(write_piece(writer, &book, gap, frame, &error))) {
        audit_write_failed(audit, &error);
        return;
    }
    writer->book = book;
    audit_publish(audit);
    if (book.n_gaps == 0)
        log_info("the audit database is complete", LOG_U64("revision", book.newest));
}

void audit_fetch_answer(struct audit *audit, uint64_t from, const struct audit_frame *frame, int64_t now_us)
{
    struct audit_writer *writer = &audit->writer;
    struct audit_fetch *fetch = &writer->fetch;
    if (fetch->sequence == 0 || frame->sequence != fetch->sequence || from != fetch->peer || writer->db == NULL ||
        writer->book.n_gaps == 0)
        return;
    /* The log may have closed it meanwhile, or a newer one has opened. */
    const struct audit_gap *gap = &writer->book.gaps[newest_gap(&writer->book)];
    if (gap->last != fetch->last || frame->first == 0 || frame->last != fetch->last || frame->first < gap->first) {
        give_up(audit, now_us);
        return;
    }
    if (!leads_to(frame, &gap->head)) {
        log_warn("a node's audit records do not verify, they are thrown away", LOG_U64("peer", from),
                 LOG_U64("first", frame->first), LOG_U64("last", frame->last));
        give_up(audit, now_us);
        return;
    }
    take_piece(audit, frame, now_us);
    audit_fetch_step(audit, now_us);
}
