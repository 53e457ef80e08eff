/* Questions to the audit database: pages, waiting, gaps and time. */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "base/clock.h"
#include "base/wire.h"
#include "proto/lapse/v1/audit.pb.h"
#include "tests/unit/audit_fixture.h"

static struct audit_world *world_with(uint32_t events)
{
    struct audit_world *world = audit_world_new();
    chain_grow(&world->chain, events);
    audit_node_start(world, 0, 0);
    audit_node_tell(&world->nodes[0], events);
    AUDIT_EVENTUALLY(audit_now(&world->nodes[0]).revision == events);
    return world;
}

/* Revisions of the records in an answer; 0 behind the last. */
static uint32_t revisions(const struct audit_job *job, uint64_t *out, uint32_t max)
{
    struct wire_reader wire = wire_reader(buf_slice(&job->response));
    struct wire_field field, member;
    uint32_t n = 0;
    while (wire_next(&wire, &field)) {
        struct slice record = field.bytes;
        if (job->op != AUDIT_QUERY) {
            struct wire_reader message = wire_reader(field.bytes);
            cr_assert(wire_next(&message, &member));
            if (member.number != lapse_v1_TailResponse_record_tag)
                continue;
            record = member.bytes;
        }
        struct wire_reader inside = wire_reader(record);
        while (wire_next(&inside, &member))
            if (member.number == lapse_v1_AuditRecord_revision_tag && n < max)
                out[n++] = member.value;
    }
    return n;
}

static struct audit_job query(uint32_t page)
{
    struct audit_job job;
    audit_job_init(&job, AUDIT_QUERY);
    job.page = page;
    return job;
}

/* Of all records (`of_one` false), or of every tenth. */
static void expect_pages(struct audit_node *node, bool descending, bool of_one)
{
    struct audit_job job = query(7);
    uint64_t got[7], last = descending ? UINT64_MAX : 0;
    uint32_t n = 0;
    job.filter.subject = slice_str(of_one ? "user:dev3" : "");
    job.descending = descending;
    do {
        audit_node_ask(node, &job);
        cr_assert_eq(job.error.code, LAPSE_OK);
        uint32_t found = revisions(&job, got, 7);
        for (uint32_t i = 0; i < found; i++, n++) {
            cr_expect(!of_one || (got[i] - 1) % 10 == 3);
            cr_expect(descending ? got[i] < last : got[i] > last);
            last = got[i];
        }
    } while (job.more);
    cr_expect_eq(n, of_one ? 100 : 1000);
    audit_job_clear(&job);
}

Test(audit_query, pages_hold_every_record_that_matches_once_in_both_directions)
{
    struct audit_world *world = world_with(1000);
    for (int i = 0; i < 4; i++)
        expect_pages(&world->nodes[0], (i & 1) != 0, (i & 2) != 0);
    audit_world_free(world);
}

/* All that match, in pages of `page`; each tenth record is about the same. */
static void expect_each_tenth(struct audit_node *node, struct audit_filter filter, bool descending, uint64_t events)
{
    struct audit_job job = query(LIMIT_PAGE);
    static uint64_t got[LIMIT_PAGE];
    uint64_t expected = descending ? events - events % 10 - 6 : 4;
    uint64_t n = 0;
    job.filter = filter;
    job.descending = descending;
    do {
        audit_node_ask(node, &job);
        cr_assert_eq(job.error.code, LAPSE_OK);
        uint32_t found = revisions(&job, got, LIMIT_PAGE);
        for (uint32_t i = 0; i < found; i++, n++, expected += descending ? (uint64_t)-10 : 10)
            cr_assert_eq(got[i], expected);
    } while (job.more);
    cr_expect_eq(n, events / 10);
    audit_job_clear(&job);
}

/* Record 16384, the first of the second stretch, is about dev3. */
Test(audit_query, what_is_indexed_stretch_by_stretch_is_found_in_each_of_them)
{
    enum { EVENTS = 40000 };
    struct audit_world *world = world_with(EVENTS);
    for (int descending = 0; descending < 2; descending++) {
        expect_each_tenth(&world->nodes[0], (struct audit_filter){.subject = slice_str("user:dev3")}, descending, EVENTS);
        expect_each_tenth(&world->nodes[0], (struct audit_filter){.resource = slice_str("db/prod/3")}, descending,
                          EVENTS);
        expect_each_tenth(&world->nodes[0],
                          (struct audit_filter){.subject = slice_str("user:dev3"), .actor = slice_str("user:oncall")},
                          descending, EVENTS);
    }
    audit_world_free(world);
}

Test(audit_query, a_file_of_version_1_is_indexed_anew)
{
    struct audit_world *world = world_with(1000);
    struct audit_node *node = &world->nodes[0];
    audit_node_stop(node);
    audit_execute(node, "DROP INDEX records_subject; DROP INDEX records_resource; DROP INDEX records_actor;"
                        "CREATE INDEX records_subject ON records(subject) WHERE subject IS NOT NULL;"
                        "CREATE INDEX records_resource ON records(resource) WHERE resource IS NOT NULL;"
                        "CREATE INDEX records_actor ON records(actor) WHERE actor IS NOT NULL; PRAGMA user_version = 1");
    audit_node_start(world, 0, 1000);
    AUDIT_EVENTUALLY(audit_now(node).revision == 1000);
    expect_each_tenth(node, (struct audit_filter){.subject = slice_str("user:dev3")}, false, 1000);
    cr_expect_eq(audit_number(node, "PRAGMA user_version"), 2);
    cr_expect_eq(audit_number(node, "SELECT count(*) FROM sqlite_schema WHERE sql LIKE '%(revision >> 14, %'"), 3);
    cr_expect_eq(audit_now(node).corrupt, 0);
    audit_world_free(world);
}

Test(audit_query, all_that_a_filter_has_must_hold)
{
    struct audit_world *world = world_with(1000);
    struct audit_job job = query(1000);
    struct grant_id grant = made_grant_id(3);
    uint64_t got[1000];
    memcpy(job.filter.grant, &grant, 16);
    job.filter.resource = slice_str("db/prod/*");
    job.filter.actor = slice_str("user:oncall");
    job.filter.types = 1 << 3;
    job.filter.from_ms = AUDIT_TIME_MS + 500 * 1000;
    job.filter.to_ms = AUDIT_TIME_MS + 534 * 1000; /* revision 534 has this very time */
    audit_node_ask(&world->nodes[0], &job);
    cr_assert_eq(revisions(&job, got, 1000), 3);
    cr_expect_eq(got[0], 504);
    cr_expect_eq(got[2], 524);
    job.filter.actor = slice_str("user:nobody");
    job.cursor = 0;
    audit_node_ask(&world->nodes[0], &job);
    cr_expect_eq(revisions(&job, got, 1000), 0);
    job.filter.actor = slice_str("user:oncall");
    job.filter.types = 1 << 4;
    audit_node_ask(&world->nodes[0], &job);
    cr_expect_eq(revisions(&job, got, 1000), 0);
    audit_job_clear(&job);
    audit_world_free(world);
}

Test(audit_query, a_question_waits_for_the_revision_that_it_must_see_and_no_longer_than_its_deadline)
{
    struct audit_world *world = world_with(100);
    struct audit_job job = query(10);
    job.upto = 101;
    job.deadline_us = clock_boot_us() + 50 * 1000;
    audit_node_ask(&world->nodes[0], &job);
    cr_expect_eq(job.error.code, LAPSE_UNAVAILABLE);
    cr_expect(strstr(job.error.message, "behind") != NULL);
    audit_job_clear(&job);
    audit_world_free(world);
}

Test(audit_query, what_lies_in_a_gap_is_not_left_out_silently)
{
    struct audit_world *world = world_with(100);
    struct audit_node *node = &world->nodes[0];
    struct audit_job job = query(1000);
    uint64_t got[1000];
    chain_grow(&world->chain, 300);
    audit_replaced(node->audit, &world->chain.places[200]);
    node->told = 200;
    audit_node_tell(node, 300);
    AUDIT_EVENTUALLY(audit_now(node).newest == 300);
    audit_node_ask(node, &job);
    cr_expect_eq(job.error.code, LAPSE_UNAVAILABLE);
    cr_expect(strstr(job.error.message, "lacks") != NULL);
    job.filter.from_ms = AUDIT_TIME_MS + 202 * 1000;
    audit_node_ask(node, &job);
    cr_assert_eq(job.error.code, LAPSE_OK, "%s", job.error.message);
    cr_expect_eq(revisions(&job, got, 1000), 99);
    audit_job_clear(&job);
    audit_world_free(world);
}

Test(audit_query, a_tail_goes_on_where_it_was_and_ends_at_its_last)
{
    struct audit_world *world = world_with(100);
    struct audit_node *node = &world->nodes[0];
    struct audit_job job;
    uint64_t got[100], next = 1;
    chain_grow(&world->chain, 120);
    audit_job_init(&job, AUDIT_TAIL);
    job.page = 30;
    job.cursor = 1;
    job.last = 115;
    audit_node_tell(node, 120);
    while (job.cursor <= job.last) {
        audit_node_ask(node, &job);
        cr_assert_eq(job.error.code, LAPSE_OK, "%s", job.error.message);
        uint32_t n = revisions(&job, got, 100);
        for (uint32_t i = 0; i < n; i++)
            cr_expect_eq(got[i], next++);
    }
    cr_expect_eq(next, 116);
    audit_job_clear(&job);
    audit_world_free(world);
}
