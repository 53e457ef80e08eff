#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "store_fixture.h"

/* A few of everything. */
static struct store *small_store(void)
{
    struct store *store = fixture_store(NULL);
    for (uint64_t i = 1; i <= 8; i++) {
        struct command request = fixture_request(i);
        request.key = fixture_key(i);
        request.terms.task = i % 2 == 0 ? slice_str("task") : (struct slice){0};
        request.terms.max_uses = i % 3 == 0 ? 2 : 0;
        fixture_must(store, request, T0 + (int64_t)i);
    }
    struct command approve = fixture_about(COMMAND_APPROVE, 1, "user:app1");
    approve.text = slice_str("fine");
    fixture_must(store, approve, T0 + 10);
    struct command child = fixture_request(9);
    child.terms.parent = fixture_id(1);
    fixture_must(store, child, T0 + 11);
    fixture_must(store, fixture_about(COMMAND_APPROVE, 3, "user:app1"), T0 + 12);
    fixture_must(store, fixture_about(COMMAND_USE, 3, "user:ep"), T0 + 13);
    struct command deny = fixture_about(COMMAND_DENY, 2, "user:app2");
    deny.text = slice_str("not today");
    fixture_must(store, deny, T0 + 14);
    return store;
}

Test(store_snapshot, a_restored_store_is_equal_in_digest_and_bytes)
{
    struct lapse_error error;
    struct store *store = small_store();
    struct buf whole = fixture_snapshot(store, 1u << 20), pieces = fixture_snapshot(store, 1);
    cr_assert(slice_equal(buf_slice(&whole), buf_slice(&pieces)));
    for (size_t piece = 1; piece <= whole.len; piece = piece * 3 + 1) {
        struct store *restored = fixture_restore(buf_slice(&whole), piece, NULL, &error);
        cr_assert_not_null(restored, "%s", error.message);
        cr_assert(fixture_same_digest(store, restored));
        cr_assert_eq(store_next_due_ms(store), store_next_due_ms(restored));
        struct buf again = fixture_snapshot(restored, 100);
        cr_assert(slice_equal(buf_slice(&whole), buf_slice(&again)));
        buf_free(&again);
        store_free(restored);
    }
    buf_free(&whole);
    buf_free(&pieces);
    store_free(store);
}

Test(store_snapshot, an_empty_store_has_a_snapshot_too)
{
    struct lapse_error error;
    struct store *store = store_new(NULL);
    struct buf bytes = fixture_snapshot(store, 100);
    struct store *restored = fixture_restore(buf_slice(&bytes), 100, NULL, &error);
    cr_assert_not_null(restored, "%s", error.message);
    cr_assert(fixture_same_digest(store, restored));
    buf_free(&bytes);
    store_free(store);
    store_free(restored);
}

/* Whatever one byte becomes, and wherever the snapshot is cut. */
Test(store_snapshot, a_damaged_snapshot_is_refused_or_gives_the_same_store)
{
    struct lapse_error error;
    struct store *store = small_store();
    struct buf bytes = fixture_snapshot(store, 1u << 20);
    uint32_t refused = 0;
    for (size_t at = 0; at < bytes.len; at++)
        for (int flip = 0; flip < 10; flip++) {
            uint8_t before = bytes.data[at];
            bytes.data[at] = flip < 8 ? before ^ (uint8_t)(1 << flip) : flip == 8 ? (uint8_t)~before : 0;
            struct store *restored = fixture_restore(buf_slice(&bytes), 4096, NULL, &error);
            if (restored == NULL) {
                cr_assert_eq(error.code, LAPSE_DATA_LOSS);
                refused++;
            } else {
                cr_assert(fixture_same_digest(store, restored), "byte %zu flip %d", at, flip);
            }
            store_free(restored);
            bytes.data[at] = before;
        }
    cr_assert_gt(refused, bytes.len * 8);
    for (size_t len = 0; len < bytes.len; len++) {
        struct store *restored = fixture_restore(slice_of(bytes.data, len), 4096, NULL, &error);
        cr_assert_null(restored, "cut at %zu", len);
    }
    buf_free(&bytes);
    store_free(store);
}

Test(store_snapshot, bytes_behind_the_end_are_refused)
{
    struct lapse_error error;
    struct store *store = small_store();
    struct buf bytes = fixture_snapshot(store, 1u << 20);
    lapse_result result = buf_append(&bytes, "\x2A\x00", 2);
    cr_assert(lapse_is_ok(result));
    cr_assert_null(fixture_restore(buf_slice(&bytes), 100, NULL, &error));
    cr_assert_eq(error.code, LAPSE_DATA_LOSS);
    cr_assert_not_null(strstr(error.message, "offset"));
    buf_free(&bytes);
    store_free(store);
}

Test(store_snapshot, a_snapshot_larger_than_the_limits_is_refused)
{
    struct lapse_error error;
    struct store *store = small_store();
    struct buf bytes = fixture_snapshot(store, 1u << 20);
    cr_assert_null(fixture_restore(buf_slice(&bytes), 100, &(struct store_options){.live_grants_max = 3}, &error));
    cr_assert_null(fixture_restore(buf_slice(&bytes), 100, &(struct store_options){.request_ids_max = 3}, &error));
    buf_free(&bytes);
    store_free(store);
}

Test(store_snapshot, there_is_one_view_at_a_time)
{
    struct store *store = small_store();
    struct store_view *view = store_freeze(store);
    cr_assert_not_null(view);
    cr_assert_null(store_freeze(store));
    store_view_free(view);
    view = store_freeze(store);
    cr_assert_not_null(view);
    store_view_free(view);
    store_view_free(NULL);
    store_free(store);
}

Test(store_snapshot, a_read_that_does_not_fit_can_be_done_again)
{
    struct store *store = small_store();
    struct buf small, whole = fixture_snapshot(store, 1u << 20), all;
    struct store_view *view = store_freeze(store);
    bool done = false;
    buf_init(&small, 100);
    buf_init(&all, 1u << 20);
    lapse_result result = store_view_read(view, 1000, &small, &done);
    cr_assert_eq(result.code, LAPSE_RESOURCE_EXHAUSTED);
    cr_assert_eq(small.len, 0);
    while (!done) {
        result = store_view_read(view, 1000, &all, &done);
        cr_assert(lapse_is_ok(result));
    }
    cr_assert(slice_equal(buf_slice(&all), buf_slice(&whole)));
    store_view_free(view);
    buf_free(&small);
    buf_free(&whole);
    buf_free(&all);
    store_free(store);
}

/* A store that keeps changing: requests, approvals, ends, leaves; strings come and go, slots are used again. */
static void churn(struct store *store, struct fixture_random *random, uint64_t *next, int64_t *now_ms, uint32_t n)
{
    char text[40];
    for (uint32_t i = 0; i < n; i++) {
        uint64_t old = *next > 400 ? *next - 1 - fixture_pick(random, 400) : 1;
        struct command command = fixture_request(*next);
        (void)snprintf(text, sizeof text, "text %u", fixture_pick(random, 500));
        switch (fixture_pick(random, 6)) {
        case 0:
        case 1:
            command.terms.justification = slice_str(text);
            command.terms.ticket = slice_str(text);
            command.key = fixture_key(*next);
            command.terms.pending_until_ms = *now_ms + 1000;
            command.terms.duration_ms = 2000;
            ++*next;
            break;
        case 2:
            command = fixture_about(COMMAND_APPROVE, old, "user:app1");
            command.text = slice_str(text);
            break;
        case 3:
            command = fixture_about(COMMAND_CANCEL, old, "user:ops");
            command.text = slice_str(text);
            break;
        case 4:
            command = fixture_about(COMMAND_REVOKE, old, "user:ops");
            command.text = slice_str(text);
            break;
        default:
            command = fixture_advance(20);
        }
        *now_ms += fixture_pick(random, 3);
        fixture_apply(store, command, *now_ms);
    }
}

static const struct store_options churning = {.ended_retention_ms = 300, .request_ids_max = 3000};

Test(store_snapshot, a_view_keeps_the_state_of_its_freeze)
{
    struct store *store = fixture_store(&churning);
    struct fixture_random random = {3};
    uint64_t next = 1;
    int64_t now_ms = T0;
    churn(store, &random, &next, &now_ms, 20000);
    for (int round = 0; round < 20; round++) {
        struct buf before = fixture_snapshot(store, 1u << 20), during;
        struct store_view *view = store_freeze(store);
        bool done = false;
        buf_init(&during, 1u << 24);
        while (!done) {
            churn(store, &random, &next, &now_ms, 300);
            lapse_result result = store_view_read(view, 20000, &during, &done);
            cr_assert(lapse_is_ok(result));
        }
        store_view_free(view);
        cr_assert(slice_equal(buf_slice(&before), buf_slice(&during)), "round %d", round);
        buf_free(&before);
        buf_free(&during);
        churn(store, &random, &next, &now_ms, 500);
    }
    store_free(store);
}

struct reader {
    struct store_view *view;
    struct buf bytes;
};

static void *read_all(void *arg)
{
    struct reader *reader = arg;
    bool done = false;
    while (!done) {
        lapse_result result = store_view_read(reader->view, 2000, &reader->bytes, &done);
        CHECK(lapse_is_ok(result));
    }
    return NULL;
}

Test(store_snapshot, a_view_is_read_on_another_thread_while_the_owner_applies)
{
    struct store *store = fixture_store(&churning);
    struct fixture_random random = {4};
    uint64_t next = 1;
    int64_t now_ms = T0;
    churn(store, &random, &next, &now_ms, 20000);
    for (int round = 0; round < 10; round++) {
        struct buf before = fixture_snapshot(store, 1u << 20);
        struct reader reader = {.view = store_freeze(store)};
        pthread_t thread;
        buf_init(&reader.bytes, 1u << 24);
        cr_assert_eq(pthread_create(&thread, NULL, read_all, &reader), 0);
        churn(store, &random, &next, &now_ms, 5000);
        cr_assert_eq(pthread_join(thread, NULL), 0);
        store_view_free(reader.view);
        cr_assert(slice_equal(buf_slice(&before), buf_slice(&reader.bytes)), "round %d", round);
        buf_free(&before);
        buf_free(&reader.bytes);
    }
    store_free(store);
}
