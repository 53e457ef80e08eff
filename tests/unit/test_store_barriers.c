/* What a revocation waits for, and what is left when it is over. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/check.h"
#include "points_fixture.h"

Test(store_barriers, a_revocation_waits_for_the_points_in_its_scope_and_no_others)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, fixture_register("all", 1, "*"), T0);
    fixture_must(store, fixture_register("near", 2, "db/prod/*"), T0);
    fixture_must(store, fixture_register("exact", 3, "db/prod/orders"), T0);
    fixture_must(store, fixture_register("beside", 4, "db/prod/order db/test/*"), T0);
    fixture_must(store, fixture_register("two", 5, "db/prod/orders web"), T0);
    points_activate(store, 1);
    uint64_t id = points_revoke(store, 1);
    fixture_must(store, fixture_register("late", 6, "*"), T0 + 2);
    struct barrier barrier = points_barrier(store, id);
    cr_assert_eq(barrier.id, id);
    cr_assert_eq(barrier.revision, id);
    cr_assert_eq(barrier.points, 4);
    cr_assert_eq(barrier.grants, 1);
    cr_assert_eq(barrier.time_ms, T0 + 1);
    cr_assert_not(barrier.done);
    cr_assert(slice_equal(barrier.scope, slice_str("db/prod/orders")));
    const bool expected[] = {true, true, true, false, true, false, false};
    for (uint64_t i = 1; i <= 7; i++)
        cr_assert_eq(store_barrier_waits_for(store, id, fixture_random_id(i)), expected[i - 1], "%d", (int)i);
    points_finish(store);
}

Test(store_barriers, a_subtree_that_is_revoked_reaches_points_within_it)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, fixture_register("within", 1, "db/prod/a/b"), T0);
    fixture_must(store, fixture_register("above", 2, "db/*"), T0);
    fixture_must(store, fixture_register("root", 3, "db/prod"), T0);
    points_activate_on(store, 1, "db/prod/*");
    uint64_t id = points_revoke(store, 1);
    cr_assert_eq(points_barrier(store, id).points, 2);
    cr_assert_not(store_barrier_waits_for(store, id, fixture_random_id(3)));
    points_finish(store);
}

Test(store_barriers, without_points_a_revocation_is_enforced_at_once)
{
    struct store *store = fixture_store(NULL);
    struct points_log log;
    struct barrier barrier;
    fixture_must(store, fixture_register("web", 1, "web/*"), T0);
    points_activate(store, 1);
    struct store_outcome outcome = points_told(store, fixture_about(COMMAND_REVOKE, 1, "user:ops"), T0 + 1, &log);
    cr_assert_eq(log.n, 1, "no event of its own");
    barrier = points_barrier(store, outcome.revision);
    cr_assert(barrier.done);
    cr_assert_eq(barrier.points, 0);
    cr_assert_eq(barrier.done_ms, T0 + 1);
    cr_assert(store_barrier_of(store, fixture_id(1), &barrier));
    cr_assert_eq(store_barriers_open(store), 0);
    cr_assert_not(store_barrier_next_open(store, 0, &barrier));
    points_finish(store);
}

Test(store_barriers, other_ends_open_no_barrier)
{
    struct store *store = fixture_store(NULL);
    struct barrier barrier;
    fixture_must(store, fixture_register("edge-1", 1, SCOPE), T0);
    points_activate(store, 1);
    points_activate(store, 2);
    fixture_must(store, fixture_about(COMMAND_COMPLETE, 1, "user:req1"), T0);
    fixture_must(store, fixture_advance(10), T0 + 60000);
    cr_assert_eq(fixture_state(store, 2), GRANT_EXPIRED);
    cr_assert_not(store_barrier_of(store, fixture_id(1), &barrier));
    cr_assert_not(store_barrier_of(store, fixture_id(2), &barrier));
    cr_assert_eq(store_barriers_open(store), 0);
    points_finish(store);
}

Test(store_barriers, the_last_receipt_closes_the_barrier)
{
    struct store *store = fixture_store(NULL);
    struct points_log log;
    fixture_must(store, fixture_register("edge-1", 1, SCOPE), T0);
    fixture_must(store, fixture_register("edge-2", 2, SCOPE), T0);
    points_activate(store, 1);
    uint64_t id = points_revoke(store, 1);
    points_told(store, fixture_receipt(id, 2, RECEIPT_ENFORCED, T0 + 3), T0 + 4, &log);
    cr_assert_eq(log.n, 0);
    cr_assert_not(points_barrier(store, id).done);
    points_told(store, fixture_receipt(id, 1, RECEIPT_FAILED, T0 + 5), T0 + 6, &log);
    cr_assert_eq(log.n, 1);
    cr_assert_eq(log.types[0], STORE_EVENT_ENFORCED);
    cr_assert_eq(log.barriers[0], id);
    cr_assert_eq(grant_id_compare(log.grant, fixture_id(1)), 0);
    cr_assert(log.barrier.done && log.barrier.enforced == 1 && log.barrier.failed == 1);
    cr_assert_eq(log.barrier.done_ms, T0 + 6);
    cr_assert_eq(store_barriers_open(store), 0);
    points_finish(store);
}

struct receipts {
    char points[8][16], reasons[8][64];
    enum receipt_level levels[8];
    int64_t times[8];
    uint32_t n;
};

static void on_receipt(void *arg, const struct receipt *receipt, struct slice point)
{
    struct receipts *receipts = arg;
    uint32_t i = receipts->n++;
    cr_assert_lt(i, 8);
    cr_assert(slice_to_cstr(point, receipts->points[i], sizeof receipts->points[i]));
    cr_assert(slice_to_cstr(receipt->reason, receipts->reasons[i], sizeof receipts->reasons[i]));
    receipts->levels[i] = receipt->level;
    receipts->times[i] = receipt->time_ms;
}

Test(store_barriers, receipts_can_be_read_also_of_points_that_are_gone)
{
    struct store *store = fixture_store(NULL);
    struct receipts receipts = {.n = 0};
    for (uint64_t i = 1; i <= 3; i++)
        fixture_must(store, fixture_register(i == 1 ? "c" : i == 2 ? "a" : "b", i, SCOPE), T0);
    points_activate(store, 1);
    uint64_t id = points_revoke(store, 1);
    fixture_must(store, fixture_receipt(id, 1, RECEIPT_LAPSED, T0 + 2), T0 + 9);
    fixture_must(store, fixture_receipt(id, 3, RECEIPT_FAILED, T0 + 4), T0 + 9);
    cr_assert(store_barrier_receipts(store, id, on_receipt, &receipts));
    cr_assert_eq(receipts.n, 2, "the one that waits has none");
    cr_assert_str_eq(receipts.points[0], "c");
    cr_assert_eq(receipts.levels[0], RECEIPT_LAPSED);
    cr_assert_eq(receipts.times[0], T0 + 2);
    cr_assert_str_eq(receipts.points[1], "b");
    cr_assert_str_eq(receipts.reasons[1], "a shell does not end");
    cr_assert_not(store_barrier_receipts(store, id + 1, on_receipt, &receipts));
    points_finish(store);
}

Test(store_barriers, the_receipts_are_told_as_evidence_before_the_barrier_is_done)
{
    struct store *store = fixture_store(NULL);
    struct points_log log;
    char name[16];
    for (uint64_t i = 1; i <= LIMIT_RECEIPTS_PER_COMMAND + 1; i++) {
        (void)snprintf(name, sizeof name, "edge-%u", (unsigned)i);
        fixture_must(store, fixture_register(name, i, SCOPE), T0);
    }
    points_activate(store, 1);
    uint64_t id = points_revoke(store, 1);
    for (uint64_t i = 1; i <= LIMIT_RECEIPTS_PER_COMMAND + 1; i++) {
        cr_assert_not(points_barrier(store, id).done);
        points_told(store, fixture_receipt(id, i, RECEIPT_ENFORCED, T0 + 3), T0 + 4, &log);
    }
    cr_assert_eq(log.n_evidence, 2);
    cr_assert(log.evidence[0].barrier == id && log.evidence[1].barrier == id);
    cr_assert_gt(log.evidence[0].bytes, 100 * log.evidence[1].bytes);
    cr_assert_gt(log.evidence[1].bytes, 0);
    cr_assert_eq(log.revisions[0], store_revision(store), "ENFORCED comes last");
    cr_assert_eq(log.types[0], STORE_EVENT_ENFORCED);
    points_finish(store);
}

Test(store_barriers, a_point_whose_lease_ran_out_is_ended_for_all_its_barriers)
{
    struct store *store = fixture_store(NULL);
    struct points_log log;
    struct point point;
    uint64_t ids[3];
    fixture_must(store, fixture_register("edge-1", 1, SCOPE), T0);
    fixture_must(store, fixture_register("edge-2", 2, SCOPE), T0);
    for (uint64_t i = 0; i < 3; i++) {
        points_activate(store, i + 1);
        ids[i] = points_revoke(store, i + 1);
    }
    fixture_must(store, fixture_receipt(ids[0], 2, RECEIPT_ENFORCED, T0 + 2), T0 + 2);
    fixture_must(store, fixture_receipt(ids[2], 2, RECEIPT_ENFORCED, T0 + 2), T0 + 2);
    points_told(store, fixture_receipt(ids[2], 1, RECEIPT_LAPSED, T0 + 3), T0 + 4, &log);
    cr_assert_eq(log.n, 3);
    cr_assert_eq(log.types[0], STORE_EVENT_POINT_ENDED);
    cr_assert_eq(log.point.ended, POINT_END_LAPSED);
    cr_assert(log.types[1] == STORE_EVENT_ENFORCED && log.barriers[1] == ids[0]);
    cr_assert(log.types[2] == STORE_EVENT_ENFORCED && log.barriers[2] == ids[2]);
    cr_assert_not(store_point_get(store, fixture_random_id(1), &point));
    cr_assert_eq(store_points(store), 1);
    cr_assert_eq(points_barrier(store, ids[1]).lapsed, 1);
    cr_assert_not(points_barrier(store, ids[1]).done);
    points_finish(store);
}

Test(store_barriers, each_way_to_end_leaves_its_receipt)
{
    static const struct {
        enum point_end how;
        uint32_t lapsed, left;
    } cases[] = {{POINT_END_LAPSED, 1, 0}, {POINT_END_LEFT, 0, 1}, {POINT_END_FENCED, 1, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct store *store = fixture_store(NULL);
        struct points_log log;
        fixture_must(store, fixture_register("edge-1", 1, SCOPE), T0);
        points_activate(store, 1);
        uint64_t id = points_revoke(store, 1);
        points_told(store, points_end(1, cases[i].how), T0 + 5, &log);
        cr_assert_eq(log.n, 2);
        cr_assert_eq(log.point.ended, cases[i].how);
        cr_assert_eq(points_barrier(store, id).lapsed, cases[i].lapsed);
        cr_assert_eq(points_barrier(store, id).left, cases[i].left);
        cr_assert_eq(fixture_apply(store, points_end(1, cases[i].how), T0).error.code, LAPSE_NOT_FOUND);
        points_finish(store);
    }
}

Test(store_barriers, a_receipt_that_nothing_waits_for_is_ignored)
{
    struct store *store = fixture_store(NULL);
    struct points_log log;
    struct point point;
    fixture_must(store, fixture_register("edge-1", 1, SCOPE), T0);
    fixture_must(store, fixture_register("edge-2", 2, SCOPE), T0);
    fixture_must(store, fixture_register("web", 3, "web/*"), T0);
    points_activate(store, 1);
    uint64_t id = points_revoke(store, 1);
    fixture_must(store, fixture_register("late", 4, SCOPE), T0);
    fixture_must(store, fixture_receipt(id, 1, RECEIPT_ENFORCED, T0), T0);
    struct store_digest before = store_digest(store);
    const struct {
        uint64_t barrier, instance;
    } cases[] = {{id, 1}, {id, 3}, {id, 4}, {id, 9}, {id + 1, 1}, {id - 1, 2}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (int level = RECEIPT_ENFORCED; level <= RECEIPT_LEFT; level++) {
            points_told(store, fixture_receipt(cases[i].barrier, cases[i].instance, (enum receipt_level)level, T0), T0,
                        &log);
            cr_assert_eq(log.n, 0, "case %zu", i);
        }
    struct store_digest after = store_digest(store);
    cr_assert_eq(memcmp(&before, &after, sizeof before), 0);
    cr_assert(store_point_get(store, fixture_random_id(1), &point));
    points_finish(store);
}

Test(store_barriers, many_receipts_come_in_one_command)
{
    struct store *store = fixture_store(NULL);
    struct points_log log;
    struct buf bytes;
    uint64_t ids[3];
    buf_init(&bytes, LIMIT_COMMAND_BYTES);
    fixture_must(store, fixture_register("edge-1", 1, SCOPE), T0);
    for (uint64_t i = 0; i < 3; i++) {
        points_activate(store, i + 1);
        ids[i] = points_revoke(store, i + 1);
    }
    for (int i = 2; i >= 0; i--) {
        struct receipt receipt = {ids[i], fixture_random_id(1), RECEIPT_ENFORCED, T0, {0}};
        lapse_result result = receipts_add(&bytes, &receipt);
        cr_assert(lapse_is_ok(result));
    }
    points_told(store, (struct command){.type = COMMAND_RECEIPTS, .receipts = buf_slice(&bytes)}, T0, &log);
    cr_assert_eq(log.n, 3);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(log.barriers[i], ids[2 - i], "in the order given");
    buf_free(&bytes);
    points_finish(store);
}

Test(store_barriers, open_barriers_are_walked_from_the_oldest)
{
    struct store *store = fixture_store(NULL);
    struct barrier barrier;
    uint64_t ids[4], after = 0;
    fixture_must(store, fixture_register("edge-1", 1, SCOPE), T0);
    for (uint64_t i = 0; i < 4; i++) {
        points_activate(store, i + 1);
        ids[i] = points_revoke(store, i + 1);
    }
    fixture_must(store, fixture_receipt(ids[1], 1, RECEIPT_ENFORCED, T0), T0);
    const uint64_t expected[] = {ids[0], ids[2], ids[3]};
    for (int i = 0; i < 3; i++) {
        cr_assert(store_barrier_next_open(store, after, &barrier));
        cr_assert_eq(barrier.id, expected[i]);
        after = barrier.id;
    }
    cr_assert_not(store_barrier_next_open(store, after, &barrier));
    /* Behind one that is done since, too. */
    cr_assert(store_barrier_next_open(store, ids[1], &barrier) && barrier.id == ids[2]);
    cr_assert_eq(store_barriers_open(store), 3);
    points_finish(store);
}

Test(store_barriers, the_barrier_of_a_family_is_its_eldest_ones)
{
    struct store *store = fixture_store(NULL);
    struct barrier barrier;
    fixture_must(store, fixture_register("edge-1", 1, SCOPE), T0);
    points_activate(store, 1);
    for (uint64_t i = 2; i < 12; i++) {
        struct command child = fixture_request(i);
        child.terms.parent = fixture_id(1);
        fixture_must(store, child, T0);
    }
    uint64_t id = points_revoke(store, 1);
    cr_assert(store_barrier_of(store, fixture_id(1), &barrier));
    cr_assert_eq(barrier.id, id);
    cr_assert_eq(barrier.grants, 11);
    cr_assert_not(store_barrier_of(store, fixture_id(5), &barrier));
    points_finish(store);
}

Test(store_barriers, what_is_done_is_forgotten_after_its_retention)
{
    const struct store_options options = {.ended_retention_ms = 1000};
    struct store *store = fixture_store(&options);
    struct store_counts counts;
    struct barrier barrier;
    fixture_must(store, fixture_register("edge-1", 1, SCOPE), T0);
    points_activate(store, 1);
    points_activate_on(store, 2, "web");
    uint64_t id = points_revoke(store, 1), plain = points_revoke(store, 2);
    fixture_must(store, fixture_receipt(id, 1, RECEIPT_LAPSED, T0 + 500), T0 + 500);
    /* An instance that is over must not come back while it is remembered. */
    cr_assert_eq(fixture_apply(store, fixture_register("edge-1", 1, SCOPE), T0 + 500).error.code,
                 LAPSE_FAILED_PRECONDITION);
    fixture_must(store, fixture_advance(10), T0 + 1001);
    cr_assert(store_barrier_get(store, id, &barrier), "counted from when it was done");
    cr_assert_not(store_barrier_get(store, plain, &barrier));
    fixture_must(store, fixture_advance(10), T0 + 1500);
    cr_assert_not(store_barrier_get(store, id, &barrier));
    store_counts(store, &counts);
    cr_assert_eq(counts.points + counts.barriers + counts.sessions, 0);
    fixture_must(store, fixture_register("edge-1", 1, SCOPE), T0 + 1500);
    struct buf bytes = fixture_snapshot(store, 1000);
    struct store *restored = fixture_restore(buf_slice(&bytes), 1000, &options, NULL);
    cr_assert_not_null(restored);
    cr_assert(fixture_same_digest(store, restored));
    buf_free(&bytes);
    store_free(restored);
    store_free(store);
}

Test(store_barriers, an_open_barrier_outlives_its_grant)
{
    const struct store_options options = {.ended_retention_ms = 1000};
    struct store *store = fixture_store(&options);
    struct points_log log;
    fixture_must(store, fixture_register("edge-1", 1, SCOPE), T0);
    points_activate(store, 1);
    uint64_t id = points_revoke(store, 1);
    fixture_must(store, fixture_advance(10), T0 + 5000);
    cr_assert_eq((int)fixture_state(store, 1), 0);
    points_told(store, fixture_receipt(id, 1, RECEIPT_ENFORCED, T0 + 5000), T0 + 5000, &log);
    cr_assert_eq(log.types[0], STORE_EVENT_ENFORCED);
    cr_assert(grant_id_is_zero(log.grant));
    store_free(store);
}

/* --- sweeps' barriers --------------------------------------------------------------------------------------------- */

Test(store_barriers, a_sweep_counts_its_points_when_it_has_ended)
{
    struct store *store = fixture_store(NULL);
    struct barrier barrier;
    points_activate(store, 1);
    struct command sweep = {.type = COMMAND_REVOKE_MATCHING, .principal = slice_str("user:ops")};
    sweep.filter.subject = slice_str("user:dev1");
    fixture_must(store, fixture_register("edge-1", 1, "web"), T0);
    uint64_t id = fixture_must(store, sweep, T0 + 1).revision;
    for (int i = 0; i < 10; i++)
        fixture_must(store, fixture_advance(1000), T0 + 1);
    barrier = points_barrier(store, id);
    cr_assert_eq(fixture_state(store, 1), GRANT_REVOKED);
    cr_assert_gt(barrier.revision, id);
    cr_assert_eq(barrier.points, 1, "any grant may have been taken: its scope is all");
    cr_assert_eq(barrier.grants, 1);
    cr_assert(grant_id_is_zero(barrier.grant));
    fixture_must(store, fixture_receipt(id, 1, RECEIPT_ENFORCED, T0 + 1), T0 + 1);
    cr_assert(points_barrier(store, id).done);
    sweep.filter.subject = slice_str("user:nobody");
    sweep.filter.resource = slice_str("db/*");
    id = fixture_must(store, sweep, T0 + 1).revision;
    for (int i = 0; i < 10; i++)
        fixture_must(store, fixture_advance(1000), T0 + 1);
    cr_assert(points_barrier(store, id).done, "no point in db");
    points_finish(store);
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

Test(store_barriers, G8_bounded_a_revocation_beyond_the_open_barriers_takes_effect_untracked, .timeout = 300)
{
    struct store *store = points_store(1);
    uint64_t id = 0;
    for (uint64_t i = 0; i <= LIMIT_BARRIERS_OPEN; i++) {
        points_activate(store, i + 1);
        id = points_revoke(store, i + 1);
        cr_assert_eq(points_barrier(store, id).untracked, i == LIMIT_BARRIERS_OPEN);
    }
    cr_assert_not(points_barrier(store, id).done);
    cr_assert_eq(fixture_state(store, LIMIT_BARRIERS_OPEN + 1), GRANT_REVOKED);
    cr_assert_eq(store_barriers_open(store), LIMIT_BARRIERS_OPEN);
    fixture_must(store, points_end(1000, POINT_END_LAPSED), T0 + 2);
    cr_assert_eq(store_barriers_open(store), 0);
    points_activate(store, LIMIT_BARRIERS_OPEN + 2);
    cr_assert(points_barrier(store, points_revoke(store, LIMIT_BARRIERS_OPEN + 2)).done, "there is room again");
    points_finish(store);
}

/* With as many points as there may be, 61 open barriers have all the receipts that are kept. */
Test(store_barriers, a_revocation_beyond_the_receipts_takes_effect_untracked, .timeout = 300)
{
    struct store *store = points_store(LIMIT_POINTS);
    const uint64_t n = LIMIT_RECEIPTS / LIMIT_POINTS;
    struct barrier barrier;
    uint64_t ids[LIMIT_RECEIPTS / LIMIT_POINTS + 1];
    cr_assert_eq(fixture_apply(store, fixture_register("one-more", 1, SCOPE), T0).error.code, LAPSE_RESOURCE_EXHAUSTED);
    for (uint64_t i = 0; i <= n; i++) {
        points_activate(store, i + 1);
        ids[i] = points_revoke(store, i + 1);
    }
    cr_assert_eq(points_barrier(store, ids[n - 1]).points, LIMIT_POINTS);
    barrier = points_barrier(store, ids[n]);
    cr_assert(barrier.untracked && !barrier.done && barrier.points == 0);
    cr_assert_eq(fixture_state(store, n + 1), GRANT_REVOKED);
    cr_assert_eq(store_barriers_open(store), n);
    /* What is done makes way, the oldest first. */
    for (uint64_t i = 0; i < LIMIT_POINTS - 1000; i++)
        fixture_must(store, points_end(1000 + i, POINT_END_LEFT), T0 + 1);
    cr_assert_eq(store_barriers_open(store), n);
    for (uint64_t i = 0; i < 1000; i++)
        fixture_must(store, fixture_receipt(ids[0], 1000 + LIMIT_POINTS - 1 - i, RECEIPT_ENFORCED, T0 + 1), T0 + 1);
    cr_assert(points_barrier(store, ids[0]).done);
    points_activate(store, n + 2);
    uint64_t next = points_revoke(store, n + 2);
    cr_assert_not(store_barrier_get(store, ids[0], &barrier));
    cr_assert_eq(points_barrier(store, next).points, 1000);
    points_finish(store);
}
