/* Heads of the audit log on a point's stream: which it has kept, and newer ones for it to keep (0013).
 *
 *   registration with a head --committed--> audit: does our history have it? --AGREES, UNKNOWN--> the stream goes on
 *                                               |                  |--ROLLBACK--> DATA_LOSS
 *                                               |                  '--FORGED----> INVALID_ARGUMENT
 *                                               '-- no answer in CHECK_MS: the stream is served meanwhile
 *
 * The audit log is there to find out, not to let in: a database that lags, or is gone, keeps no point from enforcing.
 * But what it finds ends the stream, also later. */
#include "base/check.h"
#include "base/clock.h"
#include "base/wire.h"
#include "node/core.h"
#include "node/point_stream.h"

#define CHECK_MS 500 /* a healthy database answers in a millisecond or two */
#define CHECK_TOTAL_MS 30000
#define HEAD_EVERY_MS 30000

/* --- what it has kept --------------------------------------------------------------------------------------------- */

static bool take(const void *bytes, size_t len, uint8_t *out, size_t size)
{
    if (len == size)
        memcpy(out, bytes, size);
    return len == size;
}

lapse_result point_parse_head(struct point_stream *stream, const lapse_v1_SignedHead *head, struct lapse_error *error)
{
    struct audit_claim *claim = &stream->check.claim;
    *claim = (struct audit_claim){
        .epoch = head->epoch, .revision = head->revision, .time_ms = head->time_ms, .node_id = head->node_id};
    if (!take(head->hash.bytes, head->hash.size, claim->hash, sizeof claim->hash) ||
        !take(head->public_key.bytes, head->public_key.size, claim->public_key, sizeof claim->public_key) ||
        !take(head->signature.bytes, head->signature.size, claim->signature, sizeof claim->signature))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "head: give back what was sent: a hash of 32 bytes, a key of 32, a signature of 64");
    stream->claims = true;
    return lapse_ok();
}

static void judge(struct point_stream *stream)
{
    const struct audit_job *job = &stream->check;
    if (stream->feed.stage == FEED_ENDED || job->error.code != LAPSE_OK)
        return;
    if (job->verdict == AUDIT_ROLLBACK) {
        point_complain(stream, "an enforcement point has kept a head that this cluster has lost",
                       "see the audit's line");
        feed_end(
            &stream->feed, LAPSE_DATA_LOSS,
            "this cluster doesn't have any more what it once signed and this point has kept: it was set back, or its "
            "history was changed. An operator has to look into it before the point starts with a new history");
    } else if (job->verdict == AUDIT_FORGED) {
        feed_end(&stream->feed, LAPSE_INVALID_ARGUMENT, "head: its signature is not that of its key");
    }
}

static void on_checked(struct mail *mail)
{
    struct audit_job *job = CONTAINER_OF(mail, struct audit_job, mail);
    struct point_stream *stream = CONTAINER_OF(job, struct point_stream, check);
    stream->checking = stream->check_holds = false;
    judge(stream);
    audit_job_clear(job);
    if (stream->feed.stage == FEED_OPENING)
        point_serve_when_ready(stream);
    feed_release(&stream->feed);
}

/* What this node has applied. Its registration was, in this life of the stream (one that was registered before is answered
 * with its first revision, which may be long past), and so was all that any node had signed when the point asked. */
static uint64_t applied_revision(struct point_stream *stream)
{
    uint64_t epoch = 0, oldest = 0, newest = 0;
    ring_bounds(core_ring(stream->feed.edge->core), &epoch, &oldest, &newest);
    return newest;
}

void point_check_head(struct point_stream *stream)
{
    struct audit_claim claim = stream->check.claim;
    struct audit_job *job = &stream->check;
    struct audit *audit = core_audit(stream->feed.edge->core);
    if (!stream->claims || audit == NULL)
        return;
    audit_job_init(job, AUDIT_CHECK);
    job->claim = claim;
    job->upto = applied_revision(stream);
    job->epoch = stream->feed.asked->epoch;
    job->deadline_us = clock_boot_us() + CHECK_TOTAL_MS * 1000LL;
    job->reply_to = &stream->feed.edge->mailbox;
    job->mail.run = on_checked;
    feed_hold(&stream->feed);
    stream->checking = stream->check_holds = true;
    stream->check_ms = clock_boot_ms();
    if (audit_ask(audit, job))
        return;
    stream->checking = stream->check_holds = false;
    audit_job_clear(job);
    feed_release(&stream->feed);
}

void point_check_tick(struct point_stream *stream, int64_t now_ms)
{
    if (!stream->check_holds || now_ms - stream->check_ms < CHECK_MS)
        return;
    stream->check_holds = false;
    point_serve_when_ready(stream);
}

void point_check_abandon(struct point_stream *stream)
{
    if (stream->checking)
        audit_abandon(core_audit(stream->feed.edge->core), &stream->check);
}

/* --- what it is to keep ------------------------------------------------------------------------------------------- */

static void send_head(struct feed *feed, const struct blob *head)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_SIGNED_HEAD * 2);
    struct wire_writer writer = wire_writer(&bytes);
    wire_put_uint(&writer, lapse_v1_SubscribeResponse_epoch_tag, feed->epoch);
    wire_put_bytes(&writer, lapse_v1_SubscribeResponse_head_tag, slice_of(head->data, head->len));
    feed_send(feed, writer.failed ? lapse_failed(LAPSE_RESOURCE_EXHAUSTED) : lapse_ok(), &bytes);
}

void point_send_head(struct point_stream *stream, int64_t now_ms)
{
    struct feed *feed = &stream->feed;
    struct audit *audit = core_audit(feed->edge->core);
    if (audit == NULL || feed->stage != FEED_STREAMING || !feed->writable || stream->left)
        return;
    uint64_t revision = audit_head_revision(audit);
    bool early = stream->head_revision != 0 && now_ms - stream->head_ms < HEAD_EVERY_MS;
    struct blob *head = revision == stream->head_revision || early ? NULL : audit_head(audit);
    if (head == NULL)
        return;
    stream->head_revision = revision;
    stream->head_ms = now_ms;
    send_head(feed, head);
    blob_unref(head);
}
