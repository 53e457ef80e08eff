/* The event ring: what G7 (gapless) rests on between the store and a subscriber. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "node/ring.h"

#define EPOCH 7

static void append(struct ring *ring, uint64_t revision)
{
    char payload[32];
    (void)snprintf(payload, sizeof payload, "event %llu", (unsigned long long)revision);
    const struct grant grant = {.state = GRANT_ACTIVE,
                                .subject = slice_str("user:dev1"),
                                .resource = slice_str("db/prod"),
                                .requester = slice_str("user:dev1")};
    const struct store_event event = {.revision = revision, .type = STORE_EVENT_ACTIVATED, .grant = &grant};
    ring_append(ring, ring_event_new(&event, blob_new(slice_str(payload))));
}

static struct ring *ring_with(uint32_t events_max, uint64_t newest)
{
    struct ring *ring = ring_new(events_max, 1 << 20);
    ring_reset(ring, EPOCH, 0);
    for (uint64_t revision = 1; revision <= newest; revision++)
        append(ring, revision);
    return ring;
}

/* Reads all that is there in batches of 3 and checks that revisions ascend by one. */
static uint64_t read_all(struct ring *ring, uint64_t cursor)
{
    struct ring_event *events[3];
    uint32_t n = 3;
    while (n == 3) {
        uint64_t before = cursor;
        cr_assert_eq(ring_read(ring, EPOCH, &cursor, events, 3, &n), RING_OK);
        for (uint32_t i = 0; i < n; i++) {
            cr_assert_eq(events[i]->revision, before + 1 + i);
            ring_event_unref(events[i]);
        }
    }
    return cursor;
}

Test(ring, G7_gapless_a_cursor_reads_every_event_once_in_order)
{
    struct ring *ring = ring_with(16, 10);
    cr_assert_eq(read_all(ring, 0), 10);
    cr_assert_eq(read_all(ring, 10), 10);
    append(ring, 11);
    cr_assert_eq(read_all(ring, 10), 11);
    ring_free(ring);
}

Test(ring, G7_gapless_a_cursor_that_fell_off_is_told_so)
{
    struct ring *ring = ring_with(4, 10);
    struct ring_event *events[4];
    uint32_t n = 9;
    uint64_t cursor = 5;
    cr_assert_eq(ring_read(ring, EPOCH, &cursor, events, 4, &n), RING_RESYNC);
    cr_assert_eq(n, 0);
    cr_assert_eq(cursor, 5, "a refused cursor does not move");
    cr_assert_eq(read_all(ring, 6), 10, "the oldest cursor that connects stands right before the oldest event");
    ring_free(ring);
}

Test(ring, a_cursor_of_another_epoch_or_from_the_future_is_told_to_resync)
{
    struct ring *ring = ring_with(16, 10);
    struct ring_event *events[1];
    uint32_t n;
    uint64_t cursor = 10;
    cr_assert_eq(ring_read(ring, EPOCH + 1, &cursor, events, 1, &n), RING_RESYNC);
    cursor = 11;
    cr_assert_eq(ring_read(ring, EPOCH, &cursor, events, 1, &n), RING_RESYNC);
    ring_free(ring);
}

Test(ring, a_reset_disconnects_every_cursor_but_the_one_at_its_revision)
{
    struct ring *ring = ring_with(16, 10);
    struct ring_event *events[1];
    uint32_t n;
    uint64_t cursor = 10;
    ring_reset(ring, EPOCH, 50);
    cr_assert_eq(ring_read(ring, EPOCH, &cursor, events, 1, &n), RING_RESYNC);
    append(ring, 51);
    cr_assert_eq(read_all(ring, 50), 51);
    ring_free(ring);
}

Test(ring, G8_bounded_bytes_drop_the_oldest_but_never_the_newest)
{
    struct ring *ring = ring_new(1024, 500);
    uint64_t epoch, oldest, newest;
    ring_reset(ring, EPOCH, 0);
    for (uint64_t revision = 1; revision <= 100; revision++)
        append(ring, revision);
    ring_bounds(ring, &epoch, &oldest, &newest);
    cr_assert_eq(epoch, EPOCH);
    cr_assert_eq(newest, 100);
    cr_assert_gt(oldest, 90);
    cr_assert_lt(oldest, 100);
    cr_assert_eq(read_all(ring, oldest), 100);
    ring_free(ring);
}

Test(ring, an_event_outlives_the_ring_while_a_reader_holds_it)
{
    struct ring *ring = ring_with(1, 1);
    struct ring_event *event;
    uint32_t n;
    uint64_t cursor = 0;
    cr_assert_eq(ring_read(ring, EPOCH, &cursor, &event, 1, &n), RING_OK);
    append(ring, 2);
    ring_free(ring);
    cr_assert(slice_equal(blob_slice(event->payload), slice_str("event 1")));
    cr_assert(slice_equal(event->resource, slice_str("db/prod")));
    ring_event_unref(event);
}

#define THREADED_EVENTS 20000

struct reader {
    struct ring *ring;
    _Atomic(uint64_t) seen;
    bool failed;
};

/* Sees each revision once, or is told to resync and goes on at the oldest. */
static void *read_while_written(void *arg)
{
    struct reader *reader = arg;
    struct ring_event *events[8];
    uint64_t cursor = 0;
    while (cursor < THREADED_EVENTS) {
        uint32_t n;
        uint64_t before = cursor, epoch, newest;
        if (ring_read(reader->ring, EPOCH, &cursor, events, 8, &n) == RING_RESYNC)
            ring_bounds(reader->ring, &epoch, &cursor, &newest);
        for (uint32_t i = 0; i < n; i++) {
            reader->failed = reader->failed || events[i]->revision != before + 1 + i;
            ring_event_unref(events[i]);
        }
    }
    reader->seen = cursor;
    return NULL;
}

Test(ring, G7_gapless_readers_on_other_threads_see_no_gap)
{
    struct ring *ring = ring_new(64, 1 << 20);
    struct reader readers[3];
    pthread_t threads[3];
    ring_reset(ring, EPOCH, 0);
    for (int i = 0; i < 3; i++) {
        readers[i] = (struct reader){.ring = ring};
        cr_assert_eq(pthread_create(&threads[i], NULL, read_while_written, &readers[i]), 0);
    }
    for (uint64_t revision = 1; revision <= THREADED_EVENTS; revision++)
        append(ring, revision);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        cr_assert_not(readers[i].failed);
        cr_assert_eq(readers[i].seen, THREADED_EVENTS);
    }
    ring_free(ring);
}
