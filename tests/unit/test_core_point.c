/* The mails between a point's stream on its edge and the core, with a lease_node and a store that the test plays. Both
 * mailboxes are on one loop, which runs what each side has sent when the test says so. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "node/core_lease.h"
#include "node/core_point.h"

#define CORE_MAILBOX_MAX 8u

/* --- what the core would be --------------------------------------------------------------------------------------- */

static uv_loop_t loop;
static struct core core;
static struct mailbox edge;
static uint64_t applied;   /* the store's revision */
static void *stream_owner; /* NULL: no stream is open */
static int64_t now_us = 1;
static char said[256]; /* to lease_node */

int64_t clock_boot_us(void)
{
    return now_us;
}

int64_t clock_boot_ms(void)
{
    return now_us / 1000;
}

int64_t clock_wall_ms(void)
{
    return now_us / 1000;
}

struct mailbox *core_mailbox(struct core *any)
{
    return &any->mailbox;
}

const struct store *replica_store(const struct replica *replica)
{
    (void)replica;
    return NULL;
}

uint64_t store_revision(const struct store *store)
{
    (void)store;
    return applied;
}

static int a_node, a_stream;

struct lease_node *core_lease_node(struct core *any)
{
    (void)any;
    return (struct lease_node *)&a_node;
}

int64_t core_lease_time_us(const struct core *any)
{
    (void)any;
    return 42000;
}

static void say(const char *word, uint64_t number)
{
    size_t len = strlen(said);
    (void)snprintf(said + len, sizeof said - len, "%s %u; ", word, (unsigned)number);
}

struct lease_stream *lease_node_open(struct lease_node *node, struct random_id instance, void *owner, int64_t now)
{
    (void)node;
    (void)now;
    say("open", instance.bytes[0]);
    stream_owner = owner;
    return (struct lease_stream *)&a_stream;
}

void lease_node_close(struct lease_node *node, struct lease_stream *stream, int64_t now)
{
    (void)node;
    (void)now;
    cr_assert(stream_owner != NULL && stream == (struct lease_stream *)&a_stream);
    say("close", 0);
    stream_owner = NULL;
}

uint32_t lease_node_promise(struct lease_node *node, struct lease_stream *stream, int64_t now)
{
    (void)node;
    (void)now;
    cr_assert_eq((void *)stream, &a_stream);
    return 3000;
}

void lease_node_ack(struct lease_node *node, struct lease_stream *stream, uint64_t received, uint64_t enforced)
{
    (void)node;
    (void)stream;
    say("received", received);
    say("enforced", enforced);
}

void lease_node_fail(struct lease_node *node, struct lease_stream *stream, uint64_t revision, struct slice reason)
{
    (void)node;
    (void)stream;
    cr_expect(slice_equal(reason, slice_str("stuck")));
    say("fail", revision);
}

void lease_node_goodbye(struct lease_node *node, struct lease_stream *stream)
{
    (void)node;
    (void)stream;
    say("goodbye", 0);
}

/* --- the edge ----------------------------------------------------------------------------------------------------- */

static int an_owner;
static char heard[256];

static void hear(void *owner, const char *word, uint64_t number)
{
    size_t len = strlen(heard);
    cr_assert_eq(owner, &an_owner);
    (void)snprintf(heard + len, sizeof heard - len, "%s %u; ", word, (unsigned)number);
}

static void on_admitted(void *owner, uint64_t revision, bool again)
{
    hear(owner, again ? "again" : "admitted", revision);
}

static void on_pong(void *owner, uint64_t sequence, uint32_t ttl_ms, int64_t time_us)
{
    hear(owner, "pong", sequence);
    hear(owner, "ttl", ttl_ms);
    cr_expect_eq(time_us, 42000);
}

static void on_ended(void *owner, enum lease_end why)
{
    hear(owner, "ended", why);
}

static const struct core_point_handler handler = {on_admitted, on_pong, on_ended};

static void begin(void)
{
    CHECK(uv_loop_init(&loop) == 0);
    mailbox_init(&core.mailbox, &loop, CORE_MAILBOX_MAX);
    mailbox_init(&edge, &loop, 1);
}

static void finish(void)
{
    mailbox_close(&core.mailbox);
    mailbox_close(&edge);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(uv_loop_close(&loop) == 0);
}

TestSuite(core_point, .init = begin, .fini = finish);

/* All mail that is under way. */
static void deliver(void)
{
    for (int i = 0; i < 5; i++)
        CHECK(uv_run(&loop, UV_RUN_NOWAIT) != 0);
}

static void heard_is(const char *expected)
{
    cr_expect_str_eq(heard, expected);
    heard[0] = '\0';
}

static void said_is(const char *expected)
{
    cr_expect_str_eq(said, expected);
    said[0] = '\0';
}

static struct core_point *opened(void)
{
    struct core_point *point = core_point_open(&core, &edge, (struct random_id){{7}}, &handler, &an_owner);
    cr_assert_not_null(point);
    deliver();
    cr_assert_eq(stream_owner, point);
    said_is("open 7; ");
    return point;
}

static void closed(struct core_point *point)
{
    core_point_close(point);
    deliver();
    heard_is("");
}

static bool ping(struct core_point *point, uint64_t sequence)
{
    return core_point_tell(point, &(struct core_point_tell){.word = POINT_PING, .sequence = sequence});
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

Test(core_point, an_admission_is_told_when_the_store_has_applied_its_revision)
{
    struct core_point *point = opened();
    applied = 9;
    core_point_on_admitted(point, 10);
    core_points_applied(&core);
    deliver();
    heard_is("");
    applied = 10;
    core_points_applied(&core);
    core_points_applied(&core);
    deliver();
    heard_is("admitted 10; ");
    core_point_on_admitted(point, 10);
    deliver();
    heard_is("again 10; ");
    closed(point);
}

Test(core_point, a_later_admission_replaces_one_that_still_waits)
{
    struct core_point *point = opened();
    core_point_on_admitted(point, 10);
    core_point_on_admitted(point, 20);
    applied = 15;
    core_points_applied(&core);
    deliver();
    heard_is("");
    applied = 20;
    core_points_applied(&core);
    deliver();
    heard_is("admitted 20; "); /* its first word of it, so not "again" */
    closed(point);
}

Test(core_point, nothing_is_promised_before_the_admissions_revision_is_applied)
{
    struct core_point *point = opened();
    core_point_on_admitted(point, 10);
    cr_assert(ping(point, 1));
    deliver();
    heard_is("pong 1; ttl 0; ");
    applied = 10;
    core_points_applied(&core);
    cr_assert(ping(point, 2));
    deliver();
    heard_is("admitted 10; pong 2; ttl 3000; ");
    closed(point);
}

Test(core_point, what_a_point_says_arrives_in_order)
{
    struct core_point *point = opened();
    cr_assert(core_point_tell(point, &(struct core_point_tell){.word = POINT_ACK, .received = 5, .enforced = 4}));
    cr_assert(
        core_point_tell(point, &(struct core_point_tell){.word = POINT_FAILURE, .revision = 5, .reason = "stuck"}));
    cr_assert(core_point_tell(point, &(struct core_point_tell){.word = POINT_GOODBYE}));
    core_point_close(point);
    deliver();
    said_is("received 5; enforced 4; fail 5; goodbye 0; close 0; ");
}

Test(core_point, after_its_close_a_stream_hears_nothing)
{
    struct core_point *point = opened();
    cr_assert(ping(point, 1));
    core_point_on_admitted(point, 0);
    core_point_on_ended(point, LEASE_END_LAPSED);
    core_point_close(point);
    deliver();
    heard_is("");
    cr_expect_null(core.points.first);
}

Test(core_point, an_ended_stream_is_told_once_and_its_words_are_dropped)
{
    struct core_point *point = opened();
    core_point_on_admitted(point, 99);
    core_point_on_ended(point, LEASE_END_FENCED);
    cr_expect_null(core.points.waiting);
    cr_assert(ping(point, 1));
    cr_assert(core_point_tell(point, &(struct core_point_tell){.word = POINT_ACK, .received = 5, .enforced = 4}));
    applied = 99;
    core_points_applied(&core);
    deliver();
    heard_is("ended 2; ");
    closed(point);
    said_is(""); /* lease_node has forgotten it: no close either */
}

Test(core_point, a_core_with_too_much_waiting_refuses_words_but_not_a_close)
{
    struct core_point *point = opened();
    for (uint32_t i = 0; i < CORE_MAILBOX_MAX; i++)
        cr_assert(ping(point, i));
    cr_expect_not(ping(point, 99));
    cr_expect_null(core_point_open(&core, &edge, (struct random_id){{8}}, &handler, &an_owner));
    core_point_close(point);
    deliver();
    said_is("close 0; ");
}

Test(core_point, streams_that_outlive_the_leases_are_closed_without_them)
{
    struct core_point *point = opened();
    core_points_end(&core);
    cr_assert(ping(point, 1));
    closed(point);
    said_is("");
}

Test(core_point, each_of_many_that_wait_is_told)
{
    struct core_point *points[6];
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        points[i] = opened();
        core_point_on_admitted(points[i], i % 2 == 0 ? 10 : 20);
    }
    core_point_close(points[2]);
    deliver();
    applied = 10;
    core_points_applied(&core);
    deliver();
    heard_is("admitted 10; admitted 10; ");
    applied = 20;
    core_points_applied(&core);
    deliver();
    heard_is("admitted 20; admitted 20; admitted 20; ");
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        stream_owner = points[i]; /* one stream is played for all */
        if (i != 2)
            closed(points[i]);
    }
}
