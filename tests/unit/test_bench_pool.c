/* The benchmark's writers and watchers: what they do when nodes die, hang or refuse, and that a stall is in the
 * figures. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bench/harness/pacer.h"
#include "bench/harness/pool.h"
#include "bench/harness/tally.h"
#include "fake_system.h"

#define NODES 3
#define ITEMS 60
/* Nothing waits so long unless it fails. */
#define PATIENCE_MS 60000
#define MS 1000000LL

static struct bench_loop *loop;
static struct fake_system *fake;
static struct pool *pool;
static struct pool_write writes[ITEMS];
static struct lapse_error error;

static void set_up(void)
{
    loop = bench_loop_start("test");
    fake = fake_system_new(loop, NODES, ITEMS);
    cr_assert(lapse_is_ok(pool_open(fake_system_of(fake), loop, &pool, &error)), "%s", error.message);
    for (uint32_t i = 0; i < ITEMS; i++)
        writes[i] = (struct pool_write){.item = i};
}

static void tear_down(void)
{
    pool_close(pool);
    bench_loop_stop(loop);
    fake_system_free(fake);
}

TestSuite(bench_pool, .init = set_up, .fini = tear_down);

static void pause_ms(uint32_t ms)
{
    nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * MS}, NULL);
}

static void assert_each_ended(void)
{
    for (uint32_t i = 0; i < ITEMS; i++) {
        cr_assert_geq(fake_system_ends(fake, i), 1, "item %u was never ended", i);
        cr_assert_neq(writes[i].acked_ns, 0, "item %u was not acknowledged", i);
        cr_assert_geq(writes[i].acked_ns, writes[i].sent_ns);
    }
}

static void send_all(void)
{
    pool_send_closed(pool, writes, ITEMS, 8, NULL, NULL);
    cr_assert(lapse_is_ok(pool_wait(pool, PATIENCE_MS, &error)), "%s", error.message);
}

Test(bench_pool, spreads_writes_over_all_nodes)
{
    send_all();
    assert_each_ended();
    for (uint32_t node = 1; node <= NODES; node++)
        cr_assert_eq(fake_system_calls(fake, node), ITEMS / NODES);
}

Test(bench_pool, tries_the_next_node_when_one_is_dead)
{
    fake_system_set(fake, 2, FAKE_DEAD);
    send_all();
    assert_each_ended();
    cr_assert_eq(fake_system_calls(fake, 3), 2 * ITEMS / NODES, "what node 2 refused goes to node 3");
}

Test(bench_pool, asks_another_node_when_one_hangs)
{
    fake_system_set(fake, 1, FAKE_HANGS);
    send_all();
    assert_each_ended();
}

Test(bench_pool, goes_on_when_all_nodes_were_dead_for_a_while)
{
    for (uint32_t node = 1; node <= NODES; node++)
        fake_system_set(fake, node, FAKE_DEAD);
    pool_send_closed(pool, writes, ITEMS, ITEMS, NULL, NULL);
    pause_ms(100);
    fake_system_set(fake, 3, FAKE_UP);
    cr_assert(lapse_is_ok(pool_wait(pool, PATIENCE_MS, &error)), "%s", error.message);
    assert_each_ended();
}

Test(bench_pool, gives_up_when_nothing_is_acknowledged)
{
    for (uint32_t node = 1; node <= NODES; node++)
        fake_system_set(fake, node, FAKE_HANGS);
    pool_send_closed(pool, writes, ITEMS, 8, NULL, NULL);
    cr_assert_eq(pool_wait(pool, 300, &error).code, LAPSE_UNAVAILABLE);
    cr_assert_eq(pool_stop(pool), 8, "no more than are allowed in flight");
}

Test(bench_pool, says_what_was_refused)
{
    fake_system_set(fake, 1, FAKE_REFUSES);
    pool_send_closed(pool, writes, ITEMS, 8, NULL, NULL);
    cr_assert_eq(pool_wait(pool, PATIENCE_MS, &error).code, LAPSE_INTERNAL);
    cr_assert_neq(strstr(error.message, "no such thing"), NULL, "%s", error.message);
}

static void stamp(void *arg, struct pool_write *write)
{
    write->ttl_ms = 5000 + (int64_t)write->item;
    ++*(uint32_t *)arg;
}

Test(bench_pool, prepares_each_write_once_before_it_is_sent)
{
    uint32_t prepared = 0;
    fake_system_set(fake, 2, FAKE_DEAD);
    for (uint32_t i = 0; i < ITEMS; i++)
        writes[i].verb = POOL_MAKE;
    pool_send_closed(pool, writes, ITEMS, 8, stamp, &prepared);
    cr_assert(lapse_is_ok(pool_wait(pool, PATIENCE_MS, &error)), "%s", error.message);
    cr_assert_eq(prepared, ITEMS, "%u, although attempts were repeated", prepared);
    cr_assert_eq(writes[7].ttl_ms, 5007);
}

static int64_t send_paced(int64_t apart_ns)
{
    int64_t begin_ns = bench_now_ns() + 20 * MS;
    for (uint32_t i = 0; i < ITEMS; i++)
        writes[i].due_ns = begin_ns + i * apart_ns;
    pool_send_paced(pool, writes, ITEMS);
    return begin_ns;
}

Test(bench_pool, starts_each_paced_write_when_it_is_due_whatever_became_of_the_others)
{
    for (uint32_t node = 1; node <= NODES; node++)
        fake_system_set(fake, node, FAKE_HANGS);
    int64_t begin_ns = send_paced(MS);
    while (bench_now_ns() < begin_ns + (ITEMS + 100) * MS)
        pause_ms(10);
    int64_t healed_ns = bench_now_ns();
    for (uint32_t node = 1; node <= NODES; node++)
        fake_system_set(fake, node, FAKE_UP);
    cr_assert(lapse_is_ok(pool_wait(pool, PATIENCE_MS, &error)), "%s", error.message);
    for (uint32_t i = 0; i < ITEMS; i++) {
        cr_assert_geq(writes[i].sent_ns, writes[i].due_ns, "write %u began early", i);
        cr_assert_lt(writes[i].sent_ns, healed_ns, "write %u waited for the others", i);
        cr_assert_geq(writes[i].acked_ns - writes[i].due_ns, healed_ns - writes[i].due_ns,
                      "the stall is missing in the latency of write %u", i);
    }
}

Test(bench_pool, tells_the_first_acknowledgement_of_what_was_due_after_a_moment)
{
    int64_t begin_ns = send_paced(MS), from_ns = begin_ns + ITEMS / 2 * MS, acked_ns = 0;
    cr_assert(lapse_is_ok(pool_wait_first(pool, from_ns, PATIENCE_MS, &acked_ns, &error)), "%s", error.message);
    cr_assert_geq(acked_ns, from_ns);
    cr_assert(lapse_is_ok(pool_wait(pool, PATIENCE_MS, &error)), "%s", error.message);
    int64_t least_ns = INT64_MAX;
    for (uint32_t i = 0; i < ITEMS; i++)
        if (writes[i].due_ns >= from_ns && writes[i].acked_ns < least_ns)
            least_ns = writes[i].acked_ns;
    cr_assert_eq(acked_ns, least_ns);
}

Test(bench_pool, tells_it_also_when_that_was_long_ago)
{
    int64_t from_ns = send_paced(MS) + ITEMS / 2 * MS, acked_ns = 0;
    cr_assert(lapse_is_ok(pool_wait(pool, PATIENCE_MS, &error)), "%s", error.message);
    cr_assert(lapse_is_ok(pool_wait_first(pool, from_ns, PATIENCE_MS, &acked_ns, &error)), "%s", error.message);
    cr_assert_geq(acked_ns, from_ns, "an earlier one's");
    cr_assert_leq(acked_ns, writes[ITEMS / 2].acked_ns);
}

Test(bench_pool, stops_before_what_is_not_due_yet)
{
    send_paced(3600 * 1000 * MS / ITEMS);
    uint32_t sent = pool_stop(pool);
    cr_assert_lt(sent, ITEMS);
    cr_assert(lapse_is_ok(pool_wait(pool, PATIENCE_MS, &error)), "%s", error.message);
    for (uint32_t i = 0; i < ITEMS; i++)
        cr_assert_eq(writes[i].acked_ns != 0, i < sent);
}

Test(bench_pool, closes_while_writes_are_under_way)
{
    for (uint32_t node = 1; node <= NODES; node++)
        fake_system_set(fake, node, FAKE_HANGS);
    pool_send_closed(pool, writes, ITEMS, ITEMS, NULL, NULL);
    pool_close(pool);
    pool = NULL;
    cr_assert_eq(writes[0].acked_ns, 0);
}

/* --- who was told ------------------------------------------------------------------------------------------------- */

static struct tally *tally_of(uint32_t per_node)
{
    struct tally *tally = NULL;
    cr_assert(lapse_is_ok(tally_open(fake_system_of(fake), loop, per_node, ITEMS, &tally, &error)), "%s",
              error.message);
    return tally;
}

static uint64_t missing_of(struct tally *tally, uint32_t patience_ms)
{
    uint64_t missing = UINT64_MAX;
    cr_assert(lapse_is_ok(tally_wait(tally, 0, ITEMS, patience_ms, &missing, &error)), "%s", error.message);
    return missing;
}

Test(bench_pool, tally_waits_for_every_watcher)
{
    struct tally *tally = tally_of(2);
    send_all();
    cr_assert_eq(missing_of(tally, PATIENCE_MS), 0);
    for (uint32_t i = 0; i < ITEMS; i++) {
        cr_assert_geq(tally_first_ns(tally, i), writes[i].sent_ns);
        cr_assert_geq(tally_last_ns(tally, i), tally_first_ns(tally, i));
    }
    tally_close(tally);
}

Test(bench_pool, tally_counts_what_a_watcher_was_not_told)
{
    struct tally *tally = tally_of(2);
    fake_system_deafen(fake, 3, true);
    send_all();
    cr_assert_eq(missing_of(tally, 200), 2 * ITEMS);
    cr_assert_eq(tally_last_ns(tally, 0), 0, "not all were told");
    cr_assert_neq(tally_first_ns(tally, 0), 0);
    tally_close(tally);
}

Test(bench_pool, tally_does_not_wait_for_a_node_that_is_left_out)
{
    struct tally *tally = tally_of(1);
    tally_leave_out(tally, 2);
    fake_system_deafen(fake, 3, true);
    tally_await(tally, 3, false);
    send_all();
    cr_assert_eq(missing_of(tally, PATIENCE_MS), 0);
    cr_assert(lapse_is_ok(tally_take_in(tally, 2, &error)), "%s", error.message);
    cr_assert_eq(missing_of(tally, 50), ITEMS, "back again, it was not told of what ended meanwhile");
    tally_close(tally);
}

Test(bench_pool, tally_keeps_when_each_watcher_was_told_first)
{
    struct tally *tally = tally_of(1);
    fake_system_deafen(fake, 2, true);
    send_all();
    int64_t between_ns = bench_now_ns();
    fake_system_deafen(fake, 2, false);
    send_all();
    cr_assert_eq(missing_of(tally, PATIENCE_MS), 0);
    for (uint32_t i = 0; i < ITEMS; i++) {
        cr_assert_lt(tally_first_ns(tally, i), between_ns);
        cr_assert_gt(tally_last_ns(tally, i), between_ns);
        tally_await(tally, 2, false);
        cr_assert_lt(tally_last_ns(tally, i), between_ns, "told twice, the later moment was kept");
        tally_await(tally, 2, true);
    }
    tally_close(tally);
}

Test(bench_pool, tally_waits_for_what_is_still_to_come)
{
    struct tally *tally = tally_of(1);
    send_paced(MS);
    cr_assert_eq(missing_of(tally, 20000), 0);
    tally_close(tally);
}

/* --- moments ------------------------------------------------------------------------------------------------------ */

struct alarm {
    struct pacer *pacer;
    struct bench_gate *gate;
    int64_t at_ns, called_ns;
};

static void on_alarm(void *arg)
{
    struct alarm *alarm = arg;
    alarm->called_ns = bench_now_ns();
    bench_gate_step(alarm->gate);
}

static void alarm_set(void *arg)
{
    struct alarm *alarm = arg;
    alarm->pacer = pacer_new(bench_loop_uv(loop), on_alarm, alarm);
    pacer_set(alarm->pacer, bench_now_ns() + 3600 * 1000 * MS);
    pacer_set(alarm->pacer, alarm->at_ns);
}

static void alarm_close(void *arg)
{
    pacer_close(((struct alarm *)arg)->pacer);
}

Test(bench_pool, pacer_calls_once_not_before_its_newest_moment)
{
    const int64_t from_now_ns[] = {30 * MS, -30 * MS, INT64_MIN};
    for (size_t i = 0; i < ARRAY_LEN(from_now_ns); i++) {
        struct alarm alarm = {.gate = bench_gate_new()};
        alarm.at_ns = from_now_ns[i] == INT64_MIN ? 0 : bench_now_ns() + from_now_ns[i];
        bench_gate_expect(alarm.gate, 1);
        bench_loop_call(loop, alarm_set, &alarm);
        cr_assert(bench_gate_wait(alarm.gate, PATIENCE_MS));
        cr_assert_geq(alarm.called_ns, alarm.at_ns);
        bench_loop_call(loop, alarm_close, &alarm);
        bench_gate_free(alarm.gate);
    }
}
