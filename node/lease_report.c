/* What the leader is told: pings, and reports that are an ordered sequence (P6).
 *
 *   no session --answer gives a number--> complete report --> news, news, ... --gap seen by the leader: another
 * number-. ^                                      ^ |
 *       '-- another term                       '----------------------------------------------------------------------'
 *
 * The number is the leader's, so that no report of an earlier life or term can ever be taken for one of the present.
 * With a new session everything that was admitted asks anew. */
#include "node/lease_node_internal.h"

#include <stdlib.h>

static void drop_follow_news(struct lease_node *node)
{
    struct follow_news *news;
    while ((news = STAILQ_FIRST(&node->follow_news)) != NULL) {
        STAILQ_REMOVE_HEAD(&node->follow_news, next);
        free(news);
    }
}

void lease_report_free(struct lease_node *node)
{
    drop_follow_news(node);
}

void lease_report_follow(struct lease_node *node, uint64_t barrier, bool begin)
{
    struct follow_news *news = mem_calloc(1, sizeof *news);
    news->barrier = barrier;
    news->begin = begin;
    STAILQ_INSERT_TAIL(&node->follow_news, news, next);
    node->urgent = true;
}

void lease_report_restart(struct lease_node *node, uint64_t session)
{
    struct lease_seat *seat;
    struct failure *failure;
    struct follow *follow;
    node->session = session;
    node->sequence = 0;
    node->complete_due = session > 0;
    TAILQ_FOREACH(seat, &node->all, all)
    {
        if (seat->state != LEASE_GONE)
            lease_seat_want(node, seat);
        lease_seat_news(node, seat, true);
        if (store_barriers_open(node->store) == 0)
            lease_seat_free_failures(seat);
        STAILQ_FOREACH(failure, &seat->failures, next)
        failure->told = false;
    }
    drop_follow_news(node);
    TAILQ_FOREACH(follow, &node->follows, all)
    {
        if (!follow->told)
            lease_report_follow(node, follow->barrier, true);
    }
}

static void put_seat(struct buf *out, struct lease_seat *seat, int64_t now_us)
{
    struct lease_failure failures[LEASE_FAILURES_MAX];
    struct failure *failure;
    struct lease_item item = {.instance = seat->link.id,
                              .state = seat->state,
                              .want = seat->want,
                              .received = seat->received,
                              .enforced = seat->enforced,
                              .goodbye = seat->goodbye,
                              .failures = failures};
    if (seat->state != LEASE_ADMITTED && seat->promise_until_us > now_us)
        item.left_us = (uint64_t)(seat->promise_until_us - now_us);
    STAILQ_FOREACH(failure, &seat->failures, next)
    {
        if (failure->told)
            continue;
        failure->told = true;
        failures[item.n_failures++] = (struct lease_failure){failure->first, failure->last, slice_str(failure->reason)};
    }
    seat->asked_us = now_us;
    lease_frame_put_item(out, &item);
}

static void put_news(struct lease_node *node, struct buf *out, int64_t now_us)
{
    struct lease_seat *seat;
    while (!lease_frame_is_full(out) && (seat = TAILQ_FIRST(&node->news)) != NULL) {
        TAILQ_REMOVE(&node->news, seat, news);
        seat->dirty = false;
        put_seat(out, seat, now_us);
    }
}

/* A frame's lists come one behind the other: a change of mind in the queue waits for the next frame. */
static void put_follows(struct lease_node *node, struct buf *out)
{
    struct follow_news *news;
    bool begins = true;
    while (!lease_frame_is_full(out) && (news = STAILQ_FIRST(&node->follow_news)) != NULL) {
        if (news->begin && !begins)
            break;
        begins = news->begin;
        if (news->begin)
            lease_frame_put_follow(out, news->barrier);
        else
            lease_frame_put_unfollow(out, news->barrier);
        STAILQ_REMOVE_HEAD(&node->follow_news, next);
        free(news);
    }
}

static bool has_news(const struct lease_node *node)
{
    return !TAILQ_EMPTY(&node->news) || !STAILQ_EMPTY(&node->follow_news);
}

static void send_frame(struct lease_node *node, struct buf *out, int64_t now_us)
{
    struct lease_frame head = {.kind = LEASE_REPORT,
                               .sent_us = (uint64_t)now_us,
                               .age_us = (uint64_t)(now_us - node->born_us),
                               .applied = store_revision(node->store),
                               .session = node->session};
    buf_clear(out);
    if (node->session > 0) {
        head.sequence = ++node->sequence;
        lease_frame_begin(out, &head);
        put_news(node, out, now_us);
        if (TAILQ_EMPTY(&node->news))
            put_follows(node, out);
        if (node->complete_due && !has_news(node)) {
            lease_frame_put_complete(out);
            node->complete_due = false;
        }
    } else
        lease_frame_begin(out, &head);
    node->io.send(node->arg, node->leader, buf_slice(out));
}

void lease_report_send(struct lease_node *node, int64_t now_us)
{
    struct buf out;
    buf_init(&out, LEASE_FRAME_MAX);
    do
        send_frame(node, &out, now_us);
    while (node->session > 0 && has_news(node));
    node->urgent = false;
    node->ping_due_us = now_us + LEASE_PING_US;
    buf_free(&out);
}
