/* The audit database: what is told is there, whatever happens to the node, the file, the disk or the other nodes. */
#include <criterion/criterion.h>

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "node/audit_db.h"
#include "node/audit_sign.h"
#include "tests/unit/audit_fixture.h"

static bool has_all(const struct audit_node *node, uint64_t revision)
{
    struct audit_status status = audit_now(node);
    return status.revision == revision && status.newest == revision;
}

static struct audit_world *world_with(uint32_t events)
{
    struct audit_world *world = audit_world_new();
    chain_grow(&world->chain, events);
    return world;
}

static int count_aside(const struct audit_node *node)
{
    DIR *dir = opendir(node->dir);
    int n = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        n += strncmp(entry->d_name, "audit.db.bad-", 13) == 0 && strchr(entry->d_name + 13, '-') == NULL;
    (void)closedir(dir);
    return n;
}

static void expect_equal(const struct audit_node *a, const struct audit_node *b)
{
    char first[65], second[65];
    audit_digest(a, first);
    audit_digest(b, second);
    cr_expect_str_eq(first, second);
}

/* --- what is told is there ---------------------------------------------------------------------------------------- */

Test(audit, what_is_told_is_written_and_is_there_after_a_restart)
{
    struct audit_world *world = world_with(5000);
    struct audit_node *node = &world->nodes[0];
    audit_node_start(world, 0, 0);
    audit_node_tell(node, 5000);
    AUDIT_EVENTUALLY(has_all(node, 5000));
    audit_node_stop(node);
    cr_expect_eq(audit_number(node, "SELECT count(*) FROM records"), 5000);
    /* The store begins at its snapshot, and the log brings the rest again. */
    audit_node_start(world, 0, 3000);
    audit_node_tell(node, 5000);
    AUDIT_EVENTUALLY(has_all(node, 5000) && audit_head_revision(node->audit) > 0);
    cr_expect_eq(audit_now(node).corrupt, 0);
    audit_node_stop(node);
    cr_expect_eq(audit_number(node, "SELECT count(*) FROM records"), 5000);
    audit_world_free(world);
}

Test(audit, the_log_may_be_dropped_once_everything_is_on_the_disk)
{
    struct audit_world *world = world_with(100);
    struct audit_node *node = &world->nodes[0];
    audit_node_start(world, 0, 0);
    cr_expect_not(audit_is_durable(node->audit, 100));
    audit_node_tell(node, 99);
    AUDIT_EVENTUALLY(has_all(node, 99));
    cr_expect_not(audit_is_durable(node->audit, 100));
    audit_node_tell(node, 100);
    AUDIT_EVENTUALLY(audit_is_durable(node->audit, 100));
    cr_expect_eq(audit_number(node, "SELECT count(*) FROM records"), 100);
    audit_world_free(world);
}

/* --- records gather ------------------------------------------------------------------------------------------------ */

#define AN_HOUR_US (3600ll * 1000 * 1000)
#define NAP_US 50000

/* One record is there, and what is told now gathers for an hour, unless something ends that. */
static struct audit_world *gathering_world(void)
{
    struct audit_world *world = world_with(5000);
    world->gather_us = AN_HOUR_US;
    audit_node_start(world, 0, 0);
    audit_node_tell(&world->nodes[0], 1);
    AUDIT_EVENTUALLY(has_all(&world->nodes[0], 1));
    return world;
}

Test(audit, records_gather_for_one_transaction_until_the_node_stops)
{
    struct audit_world *world = gathering_world();
    struct audit_node *node = &world->nodes[0];
    audit_node_tell(node, 50);
    (void)usleep(NAP_US);
    cr_expect_eq(audit_now(node).newest, 1);
    audit_node_stop(node);
    cr_expect_eq(audit_number(node, "SELECT count(*) FROM records"), 50);
    audit_world_free(world);
}

Test(audit, a_question_ends_the_gathering_of_what_it_is_about_and_of_nothing_else)
{
    struct audit_world *world = gathering_world();
    struct audit_node *node = &world->nodes[0];
    struct audit_job job;
    audit_job_init(&job, AUDIT_QUERY);
    job.page = 100;
    job.upto = 1;
    audit_node_tell(node, 50);
    audit_node_ask(node, &job);
    cr_expect_eq(job.error.code, LAPSE_OK);
    cr_expect_eq(audit_now(node).newest, 1);
    job.upto = 50;
    audit_node_ask(node, &job);
    cr_expect_eq(job.error.code, LAPSE_OK);
    AUDIT_EVENTUALLY(audit_now(node).newest == 50);
    audit_job_clear(&job);
    audit_world_free(world);
}

Test(audit, who_waits_for_whatever_comes_does_not_end_the_gathering)
{
    struct audit_world *world = gathering_world();
    struct audit_node *node = &world->nodes[0];
    struct audit_job job;
    audit_job_init(&job, AUDIT_TAIL);
    job.cursor = 2;
    job.upto = 1;
    job.head_seen = audit_head_revision(node->audit);
    job.deadline_us = clock_boot_us() + NAP_US;
    audit_node_tell(node, 50);
    audit_node_ask(node, &job);
    cr_expect_eq(audit_now(node).newest, 1);
    audit_job_clear(&job);
    audit_world_free(world);
}

Test(audit, a_log_that_waits_to_be_dropped_ends_the_gathering)
{
    struct audit_world *world = gathering_world();
    struct audit_node *node = &world->nodes[0];
    audit_node_tell(node, 50);
    AUDIT_EVENTUALLY(audit_is_durable(node->audit, 50));
    audit_world_free(world);
}

Test(audit, enough_records_are_written_without_waiting_for_more)
{
    struct audit_world *world = gathering_world();
    struct audit_node *node = &world->nodes[0];
    audit_node_tell(node, 5000);
    AUDIT_EVENTUALLY(audit_now(node).newest == 5000);
    audit_world_free(world);
}

Test(audit, a_record_that_the_log_contradicts_means_that_the_file_is_put_aside)
{
    struct audit_world *world = world_with(200);
    struct audit_node *node = &world->nodes[0];
    audit_node_start(world, 0, 0);
    audit_node_tell(node, 200);
    AUDIT_EVENTUALLY(has_all(node, 200));
    audit_node_stop(node);
    audit_execute(node, "UPDATE records SET hash = zeroblob(32) WHERE revision = 150");
    audit_node_start(world, 0, 100);
    audit_node_tell(node, 200);
    AUDIT_EVENTUALLY(audit_now(node).corrupt == 1);
    AUDIT_EVENTUALLY(audit_now(node).newest == 200);
    cr_expect_eq(count_aside(node), 1);
    audit_world_free(world);
}

/* --- gaps --------------------------------------------------------------------------------------------------------- */

Test(audit, a_new_node_gets_everything_from_the_others)
{
    struct audit_world *world = world_with(6000);
    for (uint32_t i = 0; i < 2; i++) {
        audit_node_start(world, i, 0);
        audit_node_tell(&world->nodes[i], 6000);
        AUDIT_EVENTUALLY(has_all(&world->nodes[i], 6000));
    }
    audit_node_start(world, 2, 5500); /* a snapshot from the leader */
    audit_connect(world);
    audit_node_tell(&world->nodes[2], 6000);
    AUDIT_EVENTUALLY(has_all(&world->nodes[2], 6000));
    cr_expect_geq(audit_now(&world->nodes[2]).gaps_total, 1);
    for (uint32_t i = 0; i < AUDIT_NODES; i++)
        audit_node_stop(&world->nodes[i]);
    expect_equal(&world->nodes[0], &world->nodes[2]);
    audit_world_free(world);
}

Test(audit, a_gap_is_still_known_after_a_restart)
{
    struct audit_world *world = world_with(3000);
    audit_node_start(world, 2, 0);
    audit_node_tell(&world->nodes[2], 1000);
    AUDIT_EVENTUALLY(has_all(&world->nodes[2], 1000));
    audit_replaced(world->nodes[2].audit, &world->chain.places[2000]);
    world->nodes[2].told = 2000;
    audit_node_tell(&world->nodes[2], 2500);
    AUDIT_EVENTUALLY(audit_now(&world->nodes[2]).newest == 2500);
    cr_expect_eq(audit_now(&world->nodes[2]).revision, 1000);
    audit_node_stop(&world->nodes[2]);
    audit_node_start(world, 2, 2400);
    audit_node_tell(&world->nodes[2], 3000);
    audit_node_start(world, 0, 0);
    audit_node_tell(&world->nodes[0], 3000);
    audit_connect(world);
    AUDIT_EVENTUALLY(has_all(&world->nodes[2], 3000));
    cr_expect_eq(audit_now(&world->nodes[2]).corrupt, 0);
    for (uint32_t i = 0; i < AUDIT_NODES; i++)
        audit_node_stop(&world->nodes[i]);
    expect_equal(&world->nodes[0], &world->nodes[2]);
    audit_world_free(world);
}

Test(audit, a_lone_node_fills_a_gap_from_its_log_after_a_restart)
{
    struct audit_world *world = world_with(300);
    struct audit_node *node = &world->nodes[0];
    audit_node_start(world, 0, 0);
    audit_node_tell(node, 100);
    audit_replaced(node->audit, &world->chain.places[200]);
    node->told = 200;
    audit_node_tell(node, 300);
    AUDIT_EVENTUALLY(audit_now(node).newest == 300);
    audit_node_stop(node);
    audit_node_start(world, 0, 150);
    audit_node_tell(node, 300);
    AUDIT_EVENTUALLY(audit_number(node, "SELECT count(*) FROM records") == 250);
    AUDIT_EVENTUALLY(audit_number(node, "SELECT last FROM gaps") == 150);
    audit_node_stop(node);
    audit_node_start(world, 0, 0);
    audit_node_tell(node, 300);
    AUDIT_EVENTUALLY(has_all(node, 300));
    cr_expect_eq(audit_number(node, "SELECT count(*) FROM gaps"), 0);
    audit_world_free(world);
}

Test(audit, records_that_do_not_verify_are_thrown_away_and_another_node_is_asked)
{
    struct audit_world *world = world_with(2000);
    for (uint32_t i = 0; i < 2; i++) {
        audit_node_start(world, i, 0);
        audit_node_tell(&world->nodes[i], 2000);
        AUDIT_EVENTUALLY(has_all(&world->nodes[i], 2000));
    }
    atomic_store(&world->liar, 1);
    audit_node_start(world, 2, 2000);
    audit_set_peers(world->nodes[2].audit, (const uint64_t[]){1}, 1);
    uint64_t frames = atomic_load(&world->frames);
    AUDIT_EVENTUALLY(atomic_load(&world->frames) >= frames + 4);
    cr_expect_eq(audit_now(&world->nodes[2]).revision, 0);
    audit_connect(world);
    AUDIT_EVENTUALLY(has_all(&world->nodes[2], 2000));
    for (uint32_t i = 0; i < AUDIT_NODES; i++)
        audit_node_stop(&world->nodes[i]);
    expect_equal(&world->nodes[0], &world->nodes[2]);
    audit_world_free(world);
}

Test(audit, what_the_queue_has_no_room_for_is_a_gap_and_never_waited_for)
{
    struct audit_world *world = audit_world_new();
    struct audit_node *node = &world->nodes[0];
    /* The thread gets nothing before a flush: so the queue fills up whatever the disk does. */
    const uint32_t n = LIMIT_AUDIT_QUEUE_BYTES / 1000 + 10;
    char reason[1000];
    memset(reason, 'r', sizeof reason);
    const struct grant grant = {
        .id = made_grant_id(1), .state = GRANT_REVOKED, .reason = slice_of(reason, sizeof reason)};
    struct event_words words = {.type = 6, .grant = &grant};
    while (world->chain.n < n)
        chain_add(&world->chain, &words);
    audit_node_start(world, 0, 0);
    audit_node_start(world, 1, 0);
    for (uint32_t told = 0; told < n;) { /* the other one has time */
        told = n - told > 10000 ? told + 10000 : n;
        audit_node_tell(&world->nodes[1], told);
        AUDIT_EVENTUALLY(has_all(&world->nodes[1], told));
    }
    for (uint32_t i = 0; i < n; i++) {
        node->told++;
        audit_event(node->audit, &world->chain.places[node->told], blob_slice(world->chain.events[node->told - 1]));
    }
    AUDIT_EVENTUALLY(audit_flush(node->audit));
    AUDIT_EVENTUALLY(audit_now(node).newest > 1000);
    AUDIT_EVENTUALLY(((void)audit_flush(node->audit), audit_now(node).newest == n));
    cr_expect_eq(audit_now(node).gaps_total, 1);
    cr_expect_lt(audit_now(node).revision, n);
    audit_connect(world);
    AUDIT_EVENTUALLY(has_all(node, n));
    audit_world_free(world);
}

/* --- a file that was changed -------------------------------------------------------------------------------------- */

static void expect_mended(const char *damage)
{
    struct audit_world *world = world_with(3000);
    for (uint32_t i = 0; i < 2; i++) {
        audit_node_start(world, i, 0);
        audit_node_tell(&world->nodes[i], 3000);
        AUDIT_EVENTUALLY(has_all(&world->nodes[i], 3000));
    }
    audit_node_stop(&world->nodes[0]);
    audit_execute(&world->nodes[0], damage);
    audit_node_start(world, 0, 3000);
    audit_connect(world);
    AUDIT_EVENTUALLY(audit_now(&world->nodes[0]).corrupt == 1);
    AUDIT_EVENTUALLY(has_all(&world->nodes[0], 3000));
    cr_expect_eq(count_aside(&world->nodes[0]), 1);
    audit_node_stop(&world->nodes[0]);
    audit_node_stop(&world->nodes[1]);
    expect_equal(&world->nodes[0], &world->nodes[1]);
    audit_world_free(world);
}

Test(audit, a_changed_event_is_found_at_start_and_mended_from_a_peer)
{
    expect_mended("UPDATE records SET event = replace(CAST(event AS TEXT), '4711', '4712') WHERE revision = 1234");
}

Test(audit, a_changed_hash_is_found_at_start_and_mended_from_a_peer)
{
    expect_mended("UPDATE records SET hash = zeroblob(32) WHERE revision = 1234");
}

Test(audit, a_column_that_says_something_else_than_the_event_is_found_at_start)
{
    expect_mended("UPDATE records SET subject = 'user:nobody' WHERE revision = 1234");
}

Test(audit, a_record_that_was_taken_out_is_found_at_start)
{
    expect_mended("DELETE FROM records WHERE revision = 1234");
}

Test(audit, a_last_record_that_was_changed_is_found_by_the_stores_head)
{
    expect_mended("UPDATE records SET hash = zeroblob(32) WHERE revision = 3000");
}

Test(audit, a_file_that_is_no_database_is_put_aside)
{
    struct audit_world *world = world_with(10);
    char command[128];
    (void)snprintf(command, sizeof command, "head -c 20000 /dev/urandom > %s/audit.db", world->nodes[0].dir);
    CHECK(system(command) == 0);
    audit_node_start(world, 0, 0);
    audit_node_tell(&world->nodes[0], 10);
    AUDIT_EVENTUALLY(has_all(&world->nodes[0], 10));
    cr_expect_eq(count_aside(&world->nodes[0]), 1);
    audit_world_free(world);
}

/* Sound in itself, but not what the log says: `start` is where the store's snapshot is. */
static void expect_other_history_put_aside(uint64_t start)
{
    struct audit_world *world = world_with(300), *fork = audit_world_new();
    const struct grant grant = {.id = made_grant_id(3), .state = GRANT_ACTIVE, .subject = slice_str("user:mallory")};
    struct event_words words = {.type = 3, .grant = &grant, .actor = slice_str("user:mallory")};
    char command[256];
    chain_grow(&fork->chain, 50);
    chain_add(&fork->chain, &words);
    chain_grow(&fork->chain, 300);
    audit_node_start(fork, 0, 0);
    audit_node_tell(&fork->nodes[0], 300);
    AUDIT_EVENTUALLY(has_all(&fork->nodes[0], 300));
    audit_node_stop(&fork->nodes[0]);
    (void)snprintf(command, sizeof command, "cp %s/* %s/", fork->nodes[0].dir, world->nodes[0].dir);
    cr_assert_eq(system(command), 0);
    audit_node_start(world, 0, start);
    AUDIT_EVENTUALLY(start == 0 || audit_now(&world->nodes[0]).corrupt == 1);
    audit_node_tell(&world->nodes[0], 300);
    AUDIT_EVENTUALLY(audit_now(&world->nodes[0]).corrupt == 1 && audit_now(&world->nodes[0]).newest == 300);
    cr_expect_eq(count_aside(&world->nodes[0]), 1);
    audit_world_free(fork);
    audit_world_free(world);
}

Test(audit, a_database_of_another_history_is_found_by_the_snapshots_head)
{
    expect_other_history_put_aside(100);
}

Test(audit, a_database_of_another_history_is_found_by_the_log_that_is_applied_again)
{
    expect_other_history_put_aside(0);
}

/* --- a full disk -------------------------------------------------------------------------------------------------- */

static bool mount_small(const char *dir)
{
    return (unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && mount("tmpfs", dir, "tmpfs", 0, "size=4m") == 0;
}

static void fill_disk(const char *dir)
{
    char command[128];
    (void)snprintf(command, sizeof command, "cat /dev/zero > %s/filler 2>/dev/null; true", dir);
    CHECK(system(command) == 0);
}

Test(audit, on_a_full_disk_the_reserve_takes_what_still_happens_and_room_mends_it)
{
    struct audit_world *world = world_with(20000);
    struct audit_node *node = &world->nodes[0];
    char filler[128];
    if (!mount_small(node->dir)) {
        audit_world_free(world);
        cr_skip_test("no mount namespaces here");
    }
    world->reserve_bytes = 1024 * 1024;
    audit_node_start(world, 0, 0);
    audit_node_tell(node, 100);
    AUDIT_EVENTUALLY(has_all(node, 100));
    cr_expect_not(audit_now(node).full);
    fill_disk(node->dir);
    audit_node_tell(node, 1000);
    AUDIT_EVENTUALLY(audit_now(node).full && has_all(node, 1000)); /* in the reserve */
    fill_disk(node->dir);
    audit_node_tell(node, 20000); /* nowhere: it waits */
    cr_expect_lt(audit_now(node).revision, 20000);
    cr_expect_not(audit_is_durable(node->audit, 20000));
    (void)snprintf(filler, sizeof filler, "mount -o remount,size=64m %s", node->dir);
    cr_assert_eq(system(filler), 0);
    AUDIT_EVENTUALLY(has_all(node, 20000));
    AUDIT_EVENTUALLY(!audit_now(node).full);
    cr_expect_eq(audit_now(node).gaps_total, 0);
    audit_node_stop(node);
    cr_assert_eq(umount(node->dir), 0);
    audit_world_free(world);
}

/* --- heads -------------------------------------------------------------------------------------------------------- */

static struct audit_claim claim_of(struct audit_node *node)
{
    struct audit_claim claim;
    struct blob *head = audit_head(node->audit);
    cr_assert(lapse_is_ok(audit_head_read(blob_slice(head), slice_str("test-1"), &claim, NULL)));
    blob_unref(head);
    return claim;
}

static enum audit_verdict check(struct audit_node *node, const struct audit_claim *claim, uint64_t upto)
{
    struct audit_job job;
    audit_job_init(&job, AUDIT_CHECK);
    job.claim = *claim;
    job.epoch = AUDIT_EPOCH;
    job.upto = upto;
    audit_node_ask(node, &job);
    cr_assert_eq(job.error.code, LAPSE_OK, "%s", job.error.message);
    audit_job_clear(&job);
    return job.verdict;
}

Test(audit, a_head_that_comes_back_is_compared_with_what_is_here)
{
    struct audit_world *world = world_with(500);
    struct audit_node *node = &world->nodes[0];
    audit_node_start(world, 0, 0);
    audit_node_tell(node, 100);
    AUDIT_EVENTUALLY(audit_head_revision(node->audit) > 0);
    struct audit_claim claim = claim_of(node), other;
    audit_node_tell(node, 500);
    AUDIT_EVENTUALLY(has_all(node, 500));
    cr_expect_eq(check(node, &claim, 400), AUDIT_AGREES);
    cr_expect_eq(check(node, &claim, claim.revision), AUDIT_AGREES);
    cr_expect_eq(check(node, &claim, claim.revision - 1), AUDIT_ROLLBACK, "it was signed, and is not here any more");
    other = claim;
    other.hash[5] ^= 1;
    cr_expect_eq(check(node, &other, 400), AUDIT_FORGED);
    other = claim;
    other.signature[5] ^= 1;
    cr_expect_eq(check(node, &other, 400), AUDIT_FORGED);
    audit_world_free(world);
}

/* What a node would say after its disk, with the key, was put back to an older state and went another way. */
Test(audit, a_head_of_another_history_is_a_rollback)
{
    struct audit_world *world = world_with(300), *fork = audit_world_new();
    char command[256];
    const struct grant grant = {.id = made_grant_id(3), .state = GRANT_ACTIVE, .subject = slice_str("user:mallory")};
    struct event_words words = {.type = 3, .grant = &grant, .actor = slice_str("user:mallory")};
    chain_grow(&fork->chain, 50);
    chain_add(&fork->chain, &words);
    chain_grow(&fork->chain, 300);
    audit_node_start(world, 0, 0);
    audit_node_tell(&world->nodes[0], 300);
    AUDIT_EVENTUALLY(has_all(&world->nodes[0], 300) && audit_head_revision(world->nodes[0].audit) > 0);
    struct audit_job job;
    audit_job_init(&job, AUDIT_HEAD);
    audit_node_ask(&world->nodes[0], &job);
    cr_assert_eq(job.revision, 300);
    /* The first field of a HeadResponse is the head: tag, length of two bytes. */
    struct audit_claim claim;
    struct slice head =
        slice_of(job.response.data + 3, (job.response.data[1] & 0x7f) | (size_t)job.response.data[2] << 7);
    cr_assert(lapse_is_ok(audit_head_read(head, slice_str("test-1"), &claim, NULL)));
    audit_job_clear(&job);
    (void)snprintf(command, sizeof command, "cp %s/audit.key %s", world->nodes[0].dir, fork->nodes[0].dir);
    cr_assert_eq(system(command), 0);
    audit_node_start(fork, 0, 0);
    chain_grow(&fork->chain, 400);
    audit_node_tell(&fork->nodes[0], 400);
    AUDIT_EVENTUALLY(has_all(&fork->nodes[0], 400));
    cr_expect_eq(check(&fork->nodes[0], &claim, 400), AUDIT_ROLLBACK);
    cr_expect_eq(check(&fork->nodes[0], &claim, 200), AUDIT_ROLLBACK);
    claim.epoch--;
    cr_expect_eq(check(&fork->nodes[0], &claim, 400), AUDIT_FORGED);
    audit_world_free(fork);
    audit_world_free(world);
}

Test(audit, nodes_learn_each_others_keys_and_accept_each_others_heads)
{
    struct audit_world *world = world_with(200);
    for (uint32_t i = 0; i < 2; i++) {
        audit_node_start(world, i, 0);
        audit_node_tell(&world->nodes[i], 200);
        AUDIT_EVENTUALLY(audit_head_revision(world->nodes[i].audit) > 0);
    }
    struct audit_claim claim = claim_of(&world->nodes[0]);
    chain_grow(&world->chain, 300); /* a registration behind it */
    for (uint32_t i = 0; i < 2; i++)
        audit_node_tell(&world->nodes[i], 300);
    cr_expect_eq(check(&world->nodes[1], &claim, 300), AUDIT_UNKNOWN, "its key is not known yet");
    audit_connect(world);
    AUDIT_EVENTUALLY(audit_number(&world->nodes[1], "SELECT count(*) FROM keys") == 1);
    AUDIT_EVENTUALLY(has_all(&world->nodes[1], 300));
    cr_expect_eq(check(&world->nodes[1], &claim, 300), AUDIT_AGREES);
    audit_world_free(world);
}

/* Opens an audit in the first node's directory after a shell command with it as $D. */
static lapse_result open_after(struct audit_world *world, const char *script, struct lapse_error *error)
{
    struct audit *audit = NULL;
    char command[512];
    const struct audit_handler handler = {.send = NULL};
    const struct audit_options options = {.dir = world->nodes[0].dir, .cluster = "test-1", .node_id = 1};
    (void)snprintf(command, sizeof command, "D=%s; %s", world->nodes[0].dir, script);
    cr_assert_eq(system(command), 0);
    lapse_result result = audit_open(&options, &handler, NULL, &audit, error);
    if (lapse_is_ok(result))
        audit_close(audit);
    return result;
}

static void must_refuse_key(const char *script, const char *what)
{
    struct audit_world *world = world_with(1);
    struct lapse_error error = {.message = ""};
    cr_expect_eq(open_after(world, script, &error).code, LAPSE_FAILED_PRECONDITION, "%s", script);
    cr_expect(strstr(error.message, "audit.key") != NULL && strstr(error.message, what) != NULL, "%s", error.message);
    audit_world_free(world);
}

Test(audit, a_key_that_is_none_stops_the_start_and_says_why)
{
    must_refuse_key("echo no key > $D/audit.key; chmod 600 $D/audit.key", "move it away");
    must_refuse_key("mkdir $D/audit.key", "is no file");
    /* Nobody is there to type it. */
    must_refuse_key("openssl genpkey -algorithm ed25519 -aes256 -pass pass:x -out $D/audit.key; chmod 600 $D/audit.key",
                    "move it away");
}

Test(audit, a_key_that_others_may_read_stops_the_start_and_says_why)
{
    must_refuse_key("openssl genpkey -algorithm ed25519 -out $D/audit.key; chmod 644 $D/audit.key", "chmod 600");
    must_refuse_key("openssl genpkey -algorithm ed25519 -out $D/audit.key; chmod 640 $D/audit.key", "chmod 600");
}

Test(audit, the_public_key_that_auditors_collect_is_that_of_the_key)
{
    struct audit_world *world = world_with(1);
    struct lapse_error error = {.message = ""};
    char command[512];
    cr_assert(
        lapse_is_ok(open_after(world, "umask 0; echo old > $D/audit.key.new; chmod 666 $D/audit.key.new", &error)),
        "%s", error.message);
    cr_assert(lapse_is_ok(open_after(world, "test $(stat -c %a $D/audit.key) = 600 && rm $D/audit.key", &error)), "%s",
              error.message);
    (void)snprintf(command, sizeof command, "cd %s && openssl pkey -in audit.key -pubout | cmp - audit.pub",
                   world->nodes[0].dir);
    cr_assert_eq(system(command), 0, "audit.pub is not that of audit.key");
    audit_world_free(world);
}

/* ---- What must not be believed */

/* The revision of the head that a tail to record 50 ends with. */
static uint64_t signed_now(struct audit_node *node)
{
    struct audit_job job;
    audit_job_init(&job, AUDIT_TAIL);
    job.page = 100;
    job.cursor = 1;
    job.last = job.upto = 50;
    audit_node_ask(node, &job);
    cr_assert_eq(job.error.code, LAPSE_OK, "%s", job.error.message);
    audit_job_clear(&job);
    return job.revision;
}

/* Somebody with the disk of a node that is down puts a record behind the others. The log has never said it: the node
 * must not sign it. */
Test(audit, signs_no_record_of_an_earlier_life_before_the_log_has_said_it)
{
    struct audit_world *world = world_with(200);
    audit_node_start(world, 0, 0);
    audit_node_tell(&world->nodes[0], 200);
    AUDIT_EVENTUALLY(has_all(&world->nodes[0], 200));
    audit_node_stop(&world->nodes[0]);
    audit_node_start(world, 0, 150);
    audit_node_tell(&world->nodes[0], 160);
    uint64_t signed_to = 0;
    AUDIT_EVENTUALLY((signed_to = signed_now(&world->nodes[0])) >= 160);
    cr_expect_eq(signed_to, 160u, "record %llu was signed", (unsigned long long)signed_to);
    cr_expect_eq(audit_head_revision(world->nodes[0].audit), 0u);
    audit_node_tell(&world->nodes[0], 200);
    AUDIT_EVENTUALLY(signed_now(&world->nodes[0]) == 200);
    audit_world_free(world);
}

Test(audit, a_node_that_makes_ever_new_keys_does_not_push_out_those_of_others)
{
    struct audit_world *world = world_with(20);
    audit_node_start(world, 0, 0);
    audit_node_tell(&world->nodes[0], 20);
    AUDIT_EVENTUALLY(has_all(&world->nodes[0], 20));
    audit_node_stop(&world->nodes[0]);
    struct audit_db *db = NULL;
    struct lapse_error error;
    struct audit_db_key keys[LIMIT_AUDIT_KEYS];
    uint8_t key[AUDIT_KEY_BYTES] = {0};
    uint32_t n = 0;
    cr_assert(lapse_is_ok(audit_db_open(world->nodes[0].dir, AUDIT_DB_WRITE, &db, &error)), "%s", error.message);
    for (uint32_t i = 0; i < 200; i++) {
        key[0] = (uint8_t)i;
        cr_assert(lapse_is_ok(audit_db_put_key(db, 2, key, &error)));
    }
    key[1] = 1;
    cr_assert(lapse_is_ok(audit_db_put_key(db, 3, key, &error)));
    cr_assert(lapse_is_ok(audit_db_keys(db, keys, &n, &error)));
    cr_expect_eq(n, LIMIT_AUDIT_KEYS_PER_NODE + 1);
    cr_expect_eq(keys[n - 1].node_id, 3u);
    audit_db_close(db);
    audit_world_free(world);
}

/* An older copy of the file, as of a backup: what is missing comes from the others, what is there is compared. */
Test(audit, a_file_that_was_set_back_is_filled_again)
{
    struct audit_world *world = world_with(400);
    char command[256];
    audit_node_start(world, 0, 0);
    audit_node_tell(&world->nodes[0], 100);
    AUDIT_EVENTUALLY(has_all(&world->nodes[0], 100));
    audit_node_stop(&world->nodes[0]);
    (void)snprintf(command, sizeof command, "cp %s/audit.db %s/old", world->nodes[0].dir, world->nodes[0].dir);
    cr_assert_eq(system(command), 0);
    audit_node_start(world, 0, 100);
    audit_node_tell(&world->nodes[0], 300);
    AUDIT_EVENTUALLY(has_all(&world->nodes[0], 300));
    audit_node_stop(&world->nodes[0]);
    (void)snprintf(command, sizeof command, "cd %s && mv old audit.db && rm -f audit.db-wal audit.db-shm",
                   world->nodes[0].dir);
    cr_assert_eq(system(command), 0);
    audit_node_start(world, 0, 250);
    audit_node_tell(&world->nodes[0], 400);
    AUDIT_EVENTUALLY(audit_now(&world->nodes[0]).newest == 400);
    cr_expect_eq(audit_now(&world->nodes[0]).revision, 100u, "what lies between is known to be missing");
    audit_node_start(world, 1, 0);
    audit_node_tell(&world->nodes[1], 400);
    audit_connect(world);
    AUDIT_EVENTUALLY(has_all(&world->nodes[0], 400));
    cr_expect_eq(audit_now(&world->nodes[0]).corrupt, 0u);
    audit_world_free(world);
}

/* Something else stands where the file must: what happens goes on, and is written when it is gone. */
Test(audit, a_directory_in_the_place_of_the_file_is_waited_out)
{
    struct audit_world *world = world_with(100);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/audit.db", world->nodes[0].dir);
    cr_assert_eq(mkdir(path, 0700), 0);
    audit_node_start(world, 0, 0);
    audit_node_tell(&world->nodes[0], 100);
    cr_expect_eq(audit_now(&world->nodes[0]).newest, 0u);
    cr_expect(!audit_is_durable(world->nodes[0].audit, 100), "the log must not be dropped");
    cr_assert_eq(rmdir(path), 0);
    AUDIT_EVENTUALLY(has_all(&world->nodes[0], 100));
    audit_world_free(world);
}
