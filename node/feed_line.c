#include "node/feed_line.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/thread.h"
#include "node/feed.h"

/* What a slice may cost, in bytes' worth: 0.1 to 0.2 ms. To look at a feed, or to queue a message, costs some accesses
 * to memory; to send what was queued, one message or a hundred, costs a system call. (Were it charged for each message,
 * who is behind by many would have a slice for himself, and the others would fall behind in turn.) */
#define SLICE_COST ((size_t)128 * 1024)
#define SEND_COST ((size_t)4 * 1024)
#define LOOK_COST ((size_t)256)
/* After so long the processor is offered to others. */
#define RUN_NS (400ull * 1000)

void feed_line_join(struct feed_line *line, struct feed *feed)
{
    feed->place = ++line->places;
    TAILQ_INSERT_TAIL(&line->feeds, feed, in_line);
}

void feed_line_leave(struct feed_line *line, struct feed *feed)
{
    TAILQ_REMOVE(&line->feeds, feed, in_line);
}

static void spend(struct feed_line *line, size_t cost)
{
    line->left -= cost < line->left ? cost : line->left;
}

void feed_line_spend(struct feed_line *line, size_t bytes)
{
    spend(line, LOOK_COST + bytes);
}

static struct feed *first_due(const struct feed_line *line)
{
    struct feed *feed = TAILQ_FIRST(&line->feeds);
    return feed != NULL && feed->place <= line->goal ? feed : NULL;
}

static void take_turn(struct feed_line *line, struct feed *feed, const struct feed_news *news)
{
    feed_line_leave(line, feed);
    feed_line_join(line, feed);
    spend(line, LOOK_COST);
    size_t left = line->left;
    feed_turn(feed, news);
    if (line->left < left)
        spend(line, SEND_COST);
    if (feed->grpc != NULL)
        grpc_call_flush(feed->grpc); /* the feed may be gone now */
}

static void run_slice(struct edge *edge)
{
    struct feed_line *line = &edge->line;
    struct feed *feed = NULL;
    struct feed_news news = {.now_ms = clock_boot_ms()};
    uint64_t oldest = 0;
    ring_bounds(core_ring(edge->core), &news.epoch, &oldest, &news.revision);
    line->left = SLICE_COST;
    while (line->left > 0 && (feed = first_due(line)) != NULL)
        take_turn(line, feed, &news);
}

/* In between, so that a short fan-out is not cut in pieces by whoever computes beside us. */
static void let_others(struct feed_line *line)
{
    if (uv_hrtime() - line->ran_from_ns < RUN_NS)
        return;
    thread_let_others();
    line->ran_from_ns = uv_hrtime();
}

static void on_slice(uv_check_t *check)
{
    struct edge *edge = check->data;
    struct feed_line *line = &edge->line;
    run_slice(edge);
    if (first_due(line) != NULL) {
        let_others(line);
        return;
    }
    CHECK(uv_check_stop(&line->slice) == 0);
    CHECK(uv_idle_stop(&line->awake) == 0);
}

static void on_awake(uv_idle_t *awake)
{
    (void)awake; /* being active is its work */
}

void feed_line_open(struct edge *edge)
{
    struct feed_line *line = &edge->line;
    TAILQ_INIT(&line->feeds);
    CHECK(uv_check_init(edge->loop, &line->slice) == 0);
    CHECK(uv_idle_init(edge->loop, &line->awake) == 0);
    line->slice.data = edge;
}

void feed_line_close(struct edge *edge)
{
    CHECK(TAILQ_EMPTY(&edge->line.feeds));
    uv_close((uv_handle_t *)&edge->line.slice, NULL);
    uv_close((uv_handle_t *)&edge->line.awake, NULL);
}

void feed_line_all_due(struct edge *edge)
{
    struct feed_line *line = &edge->line;
    line->goal = line->places;
    if (first_due(line) == NULL)
        return;
    if (!uv_is_active((uv_handle_t *)&line->slice))
        line->ran_from_ns = uv_hrtime();
    CHECK(uv_check_start(&line->slice, on_slice) == 0);
    CHECK(uv_idle_start(&line->awake, on_awake) == 0);
}
