/* Deadlines and cluster time through a replica: expiry, changes of leader, cold starts on good and bad wall clocks
 * (G3). */
#include <criterion/criterion.h>

#include "base/check.h"
#include "tests/unit/replica_fixture.h"

static void activate_grant(struct fixture *fixture, int64_t duration_ms)
{
    struct fixture_node *leader = fixture_leader(fixture);
    struct fixture_write write;
    struct command command = {.type = COMMAND_SET_ROLES,
                              .principal = slice_str("user:operator"),
                              .member = slice_str("user:dev1"),
                              .roles = ROLE_REQUESTER};
    fixture_command(leader, &write, &command, 1000);
    fixture_run(fixture, 3);
    command.member = slice_str("user:oncall");
    command.roles = ROLE_APPROVER;
    fixture_command(leader, &write, &command, 1000);
    fixture_run(fixture, 3);
    struct command request = {.type = COMMAND_REQUEST, .principal = slice_str("user:dev1"), .grant = {{1}}};
    request.terms.subject = slice_str("user:dev1");
    request.terms.resource = slice_str("db/prod");
    request.terms.actions[0] = slice_str("read");
    request.terms.n_actions = 1;
    request.terms.duration_ms = duration_ms;
    request.terms.justification = slice_str("a test");
    fixture_command(leader, &write, &request, 1000);
    fixture_run(fixture, 3);
    cr_assert_eq(write.outcome.error.code, LAPSE_OK, "%s", write.outcome.error.message);
    struct command approve = {.type = COMMAND_APPROVE, .principal = slice_str("user:oncall"), .grant = {{1}}};
    fixture_command(leader, &write, &approve, 1000);
    fixture_run(fixture, 3);
    cr_assert_eq(write.outcome.error.code, LAPSE_OK, "%s", write.outcome.error.message);
}

Test(replica, a_grant_expires_on_every_node_at_its_deadline)
{
    struct fixture *fixture = three();
    activate_grant(fixture, 1000);
    fixture_run(fixture, 980);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_eq(fixture->nodes[i].expired, 0);
    fixture_run(fixture, 30);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_eq(fixture->nodes[i].expired, 1);
    fixture_free(fixture);
}

/* What is derived from the log has fallen behind: the leader waits for it, but not for ever. */
Test(replica, under_pressure_a_leader_goes_on_slowly)
{
    struct fixture *fixture = three();
    struct fixture_node *leader = fixture_leader(fixture);
    struct fixture_write first, second;
    replica_set_pressure(leader->replica, 100);
    fixture_write(leader, &first, 1, 1, 1000);
    fixture_run(fixture, 5);
    cr_assert_eq(first.done, 1);
    fixture_write(leader, &second, 2, 2, 1000);
    fixture_run(fixture, 30);
    cr_assert_eq(second.done, 0);
    fixture_run(fixture, 40);
    cr_assert_eq(second.done, 1);
    cr_assert_eq(second.outcome.error.code, LAPSE_OK);
    fixture_free(fixture);
}

Test(replica, under_pressure_a_grant_still_expires)
{
    struct fixture *fixture = three();
    activate_grant(fixture, 1000);
    replica_set_pressure(fixture_leader(fixture)->replica, 100);
    fixture_run(fixture, 1300);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_eq(fixture->nodes[i].expired, 1);
    fixture_free(fixture);
}

Test(replica, a_change_of_leader_and_stepped_wall_clocks_do_not_move_a_deadline)
{
    struct fixture *fixture = three();
    activate_grant(fixture, 3000);
    fixture_run(fixture, 1000);
    struct fixture_node *old = fixture_leader(fixture);
    for (uint32_t i = 0; i < 3; i++)
        fixture->nodes[i].wall_offset_ms = i == 1 ? 3600000 : -3600000;
    old->cut_off = true;
    fixture_run(fixture, 1900);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_eq(fixture->nodes[i].expired, 0);
    fixture_run(fixture, 120);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_eq(fixture->nodes[i].expired, &fixture->nodes[i] == old ? 0 : 1);
    fixture_free(fixture);
}

/* Followers take a leader's time for what cluster time is, so for an upper bound too: a point would permit too long. */
Test(replica, a_new_leader_tells_no_time_before_it_has_established_it)
{
    struct fixture *fixture = three();
    fixture_run(fixture, 500);
    for (int round = 0; round < 3; round++) {
        struct fixture_node *old = fixture_leader(fixture);
        old->cut_off = true;
        fixture_run(fixture, 1000);
        old->cut_off = false;
        fixture_run(fixture, 1000);
    }
    uint32_t early = 0;
    uint64_t led = 0;
    for (uint32_t i = 0; i < 3; i++) {
        early += fixture->nodes[i].early_times;
        led = fixture->nodes[i].led_term > led ? fixture->nodes[i].led_term : led;
    }
    cr_assert_geq(led, 4);
    cr_assert_eq(early, 0, "%u frames", early);
    fixture_free(fixture);
}

Test(replica, a_node_whose_wall_clock_was_set_back_while_it_was_down_goes_on_from_the_past_and_time_runs)
{
    struct fixture *fixture = fixture_new(1, 1);
    struct fixture_read first, second;
    fixture_start(&fixture->nodes[0]);
    fixture_run(fixture, 5000);
    fixture_fill(&fixture->nodes[0], 1, 1);
    int64_t before = store_time_ms(replica_store(fixture->nodes[0].replica));
    fixture_kill(&fixture->nodes[0]);
    fixture->nodes[0].wall_offset_ms = -3600000;
    fixture_start(&fixture->nodes[0]);
    fixture_read(&fixture->nodes[0], &first, 1000);
    fixture_run(fixture, 500);
    fixture_read(&fixture->nodes[0], &second, 1000);
    fixture_run(fixture, 10);
    cr_assert(first.done == 1 && second.done == 1);
    cr_assert_geq(first.time_ms, before);
    cr_assert_geq(second.time_ms, first.time_ms + 490, "time stands still");
    fixture_free(fixture);
}

Test(replica, after_a_cold_start_the_median_of_the_wall_clocks_decides_and_never_the_past)
{
    struct fixture *fixture = three();
    activate_grant(fixture, 3600000);
    int64_t before = store_time_ms(replica_store(fixture_leader(fixture)->replica));
    for (uint32_t i = 0; i < 3; i++)
        fixture_kill(&fixture->nodes[i]);
    /* Two are right, half an hour later; one is a day ahead. */
    fixture->now_us += 1800ll * 1000000;
    fixture->nodes[0].wall_offset_ms = 86400000;
    fixture_start_all(fixture);
    struct fixture_read read;
    fixture_read(fixture_leader(fixture), &read, 1000);
    fixture_run(fixture, 300);
    cr_assert(read.done == 1 && lapse_is_ok(read.result));
    cr_assert_geq(read.time_ms, before + 1800 * 1000);
    cr_assert_lt(read.time_ms, before + 1802 * 1000);
    for (uint32_t i = 0; i < 3; i++)
        fixture_kill(&fixture->nodes[i]);
    /* All of them a week back: time goes on from where it was. */
    for (uint32_t i = 0; i < 3; i++)
        fixture->nodes[i].wall_offset_ms = -7 * 86400000ll;
    fixture_start_all(fixture);
    fixture_read(fixture_leader(fixture), &read, 1000);
    fixture_run(fixture, 300);
    cr_assert(read.done == 1 && lapse_is_ok(read.result));
    cr_assert_geq(read.time_ms, before);
    fixture_free(fixture);
}

/* --- Who is not one of us --- */

Test(replica, a_cold_start_on_impossible_wall_clocks_is_a_warning)
{
    const int64_t offsets_ms[] = {0, -3600 * INT64_C(1000), 365 * 24 * 3600 * INT64_C(1000)};
    for (int i = 0; i < 3; i++) {
        struct fixture *fixture = fixture_new(1, 1);
        struct fixture_node *node = &fixture->nodes[0];
        fixture_start(node);
        fixture_fill(fixture_leader(fixture), 3, 1);
        cr_assert_eq(node->warnings, 0, "a cluster's first start is none");
        fixture_kill(node);
        node->wall_offset_ms = offsets_ms[i];
        fixture_start(node);
        fixture_fill(fixture_leader(fixture), 3, 10);
        cr_assert_eq(node->warnings, i == 0 ? 0 : 1);
        fixture_free(fixture);
    }
}

/* --- Homes --- */
