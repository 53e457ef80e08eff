/* Signed heads. Every 5 s, if something has happened: the head of what is whole in the database is signed, kept (one in
 * ten minutes and the newest), held ready for enforcement points, and told to the other nodes.
 *
 * What other nodes tell is compared: two nodes with different records at one revision is what the chain is there to
 * show. Their keys are remembered, also after they have left, for whoever brings one of their heads. */
#include "node/audit_internal.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/metrics.h"

#define EVERY_US (5ll * 1000 * 1000)
#define KEEP_MS (600ll * 1000)

/* --- ours --------------------------------------------------------------------------------------------------------- */

static lapse_result store_head(struct audit_writer *writer, uint64_t revision, struct slice head, bool keep,
                               struct lapse_error *error)
{
    lapse_result result = audit_db_begin(writer->db, error);
    if (lapse_is_ok(result))
        result = audit_db_put_head(writer->db, revision, head, keep, error);
    return lapse_is_ok(result) ? audit_db_commit(writer->db, false, error) : result;
}

static void hold_ready(struct audit *audit, uint64_t revision, struct slice bytes)
{
    struct blob *head = blob_new(bytes);
    CHECK(pthread_mutex_lock(&audit->lock) == 0);
    struct blob *old = audit->head;
    audit->head = head;
    CHECK(pthread_cond_broadcast(&audit->asked) == 0);
    CHECK(pthread_mutex_unlock(&audit->lock) == 0);
    blob_unref(old);
    atomic_store_explicit(&audit->head_revision, revision, memory_order_release);
}

static void tell_others(struct audit *audit, struct slice head)
{
    const struct audit_frame told = {.kind = AUDIT_HEAD_TOLD, .signed_head = head};
    struct buf frame;
    buf_init(&frame, AUDIT_FRAME_MAX);
    CHECK(lapse_is_ok(audit_frame_encode(&told, &frame)));
    for (uint32_t i = 0; i < audit->writer.n_peers; i++)
        audit->handler.send(audit->handler_arg, audit->writer.peers[i], buf_slice(&frame));
    buf_free(&frame);
}

/* What is signed is in the database, without a gap, and the log has said so: not what lies there from an earlier life.
 */
static lapse_result find_place(struct audit_writer *writer, struct chain_statement *statement,
                               struct lapse_error *error)
{
    const struct audit_book *book = &writer->book;
    statement->revision = audit_book_whole(book);
    if (statement->revision == book->newest) {
        statement->head = book->head;
        return lapse_ok();
    }
    return audit_db_hash(writer->db, statement->revision, &statement->head, error);
}

static void sign(struct audit *audit)
{
    struct audit_writer *writer = &audit->writer;
    struct lapse_error error;
    struct buf head;
    struct chain_statement statement = {.cluster = slice_str(audit->cluster),
                                        .epoch = writer->told.epoch,
                                        .time_ms = atomic_load_explicit(&audit->time_ms, memory_order_relaxed),
                                        .node_id = audit->node_id};
    if (!lapse_is_ok(find_place(writer, &statement, &error)))
        return; /* the next batch meets the same and says so */
    bool keep = statement.time_ms - writer->heads.kept_ms >= KEEP_MS;
    buf_init(&head, AUDIT_HEAD_BYTES_MAX);
    CHECK(lapse_is_ok(audit_head_sign(audit->key, &statement, &head)));
    if (lapse_is_ok(store_head(writer, statement.revision, buf_slice(&head), keep, &error))) {
        writer->heads.signed_until = statement.revision;
        if (keep)
            writer->heads.kept_ms = statement.time_ms;
        hold_ready(audit, statement.revision, buf_slice(&head));
    } else {
        audit_write_failed(audit, &error);
    }
    buf_free(&head);
}

static void tell_newest(struct audit *audit)
{
    struct blob *head = audit_head(audit);
    if (head != NULL)
        tell_others(audit, blob_slice(head));
    blob_unref(head);
}

void audit_heads_step(struct audit *audit, int64_t now_us)
{
    struct audit_writer *writer = &audit->writer;
    uint64_t whole = audit_book_whole(&writer->book);
    bool first = audit_head_revision(audit) == 0;
    if (writer->db == NULL || whole == 0 || whole > writer->told.revision || now_us < writer->retry_us ||
        (now_us < writer->heads.next_us && !first))
        return;
    writer->heads.next_us = now_us + EVERY_US;
    if (whole > writer->heads.signed_until)
        sign(audit);
    tell_newest(audit);
}

/* --- those of others ---------------------------------------------------------------------------------------------- */

static void remember_key(struct audit *audit, const struct audit_claim *claim)
{
    struct audit_db *db = audit->writer.db;
    struct lapse_error error;
    lapse_result result = audit_db_begin(db, &error);
    if (lapse_is_ok(result))
        result = audit_db_put_key(db, claim->node_id, claim->public_key, &error);
    if (lapse_is_ok(result))
        result = audit_db_commit(db, false, &error);
    if (!lapse_is_ok(result))
        audit_write_failed(audit, &error);
}

static void compare(struct audit *audit, const struct audit_claim *claim)
{
    struct audit_writer *writer = &audit->writer;
    struct chain_head ours;
    if (claim->epoch != writer->told.epoch || claim->revision > audit_book_whole(&writer->book) ||
        claim->revision > writer->told.revision ||
        !lapse_is_ok(audit_db_hash(writer->db, claim->revision, &ours, NULL)) ||
        memcmp(ours.hash, claim->hash, sizeof ours.hash) == 0)
        return;
    metric_add(METRIC_AUDIT_DISPUTES, 1);
    log_error("another node has signed another history: one of the two has been changed",
              LOG_U64("peer", claim->node_id), LOG_U64("revision", claim->revision));
}

void audit_heads_told(struct audit *audit, uint64_t from, struct slice head)
{
    struct slice cluster = slice_str(audit->cluster);
    struct audit_claim claim;
    if (audit->writer.db == NULL || clock_boot_us() < audit->writer.retry_us ||
        !lapse_is_ok(audit_head_read(head, cluster, &claim, NULL)) || claim.node_id != from ||
        !audit_claim_is_signed(&claim, cluster))
        return;
    remember_key(audit, &claim);
    if (audit->writer.db != NULL)
        compare(audit, &claim);
}
