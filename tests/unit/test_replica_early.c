/* Elections that begin when a follower is told that its leader's process is gone: soon when that is so, and at the cost
 * of an election at most when it isn't. */
#include <criterion/criterion.h>

#include "tests/unit/replica_fixture.h"

/* Everybody who runs finds `gone` gone. */
static void tell_all(struct fixture *fixture, const struct fixture_node *gone)
{
    for (uint32_t i = 0; i < fixture->n; i++)
        if (fixture->nodes[i].replica != NULL && &fixture->nodes[i] != gone)
            replica_peer_gone(fixture->nodes[i].replica, gone->id);
}

static uint64_t taken(const struct fixture_node *node)
{
    return fixture_status(node).hints.taken;
}

static uint64_t begun(const struct fixture *fixture)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < fixture->n; i++)
        sum += fixture->nodes[i].replica == NULL ? 0 : fixture_status(&fixture->nodes[i]).hints.begun;
    return sum;
}

/* A running follower beside `other`. */
static struct fixture_node *another_follower(struct fixture *fixture, const struct fixture_node *other)
{
    const struct fixture_node *leader = fixture_leader(fixture);
    for (uint32_t i = 0; i < fixture->n; i++)
        if (&fixture->nodes[i] != leader && &fixture->nodes[i] != other)
            return &fixture->nodes[i];
    cr_assert_fail("no other follower");
    return NULL;
}

Test(replica_early, the_others_elect_within_milliseconds_when_the_leaders_process_is_gone)
{
    for (uint32_t n = 3; n <= 5; n += 2) {
        struct fixture *fixture = fixture_new(n, n);
        fixture_start_all(fixture);
        struct fixture_node *old = fixture_leader(fixture);
        uint64_t term = fixture_status(old).term;
        fixture_kill(old);
        tell_all(fixture, old);
        int64_t from_us = fixture->now_us;
        struct fixture_node *leader = fixture_leader(fixture);
        cr_assert_leq(fixture->now_us - from_us, 10000);
        cr_assert_eq(fixture_status(leader).term, term + 1);
        cr_assert_eq(leader->id, old->id == 1 ? 2 : 1); /* the least id begins, the others wait for it */
        cr_assert_eq(begun(fixture), 1);
        fixture_fill(leader, 10, 1);
        fixture_free(fixture);
    }
}

Test(replica_early, one_death_after_another_is_no_reason_to_wait)
{
    struct fixture *fixture = three();
    for (int i = 0; i < 3; i++) {
        struct fixture_node *old = fixture_leader(fixture);
        fixture_kill(old);
        tell_all(fixture, old);
        fixture_run(fixture, 20);
        cr_assert_neq(fixture_leader(fixture), old);
        fixture_start(old);
        fixture_run(fixture, 50);
    }
    fixture_free(fixture);
}

Test(replica_early, who_has_the_longer_log_leads_although_its_turn_comes_second)
{
    struct fixture *fixture = three();
    struct fixture_node *old = fixture_leader(fixture);
    struct fixture_node *a = fixture_follower(fixture), *b = another_follower(fixture, a);
    struct fixture_node *first = a->id < b->id ? a : b, *second = a->id < b->id ? b : a;
    first->cut_off = true;
    fixture_fill(old, 5, 1);
    fixture_kill(old);
    first->cut_off = false;
    tell_all(fixture, old);
    fixture_run(fixture, 100);
    cr_assert_eq(fixture_leader(fixture), second);
    cr_assert_eq(fixture_status(first).hints.begun, 1);
    fixture_free(fixture);
}

Test(replica_early, a_log_that_is_being_written_holds_an_election_up_no_longer_than_that)
{
    struct fixture *fixture = three();
    struct fixture_node *old = fixture_leader(fixture);
    struct fixture_node *a = fixture_follower(fixture), *b = another_follower(fixture, a);
    struct fixture_write write;
    a->hold_disk = b->hold_disk = true;
    fixture_write(old, &write, 1, 1, 10000);
    fixture_run(fixture, 5);
    fixture_kill(old);
    tell_all(fixture, old);
    fixture_run(fixture, 60);
    cr_assert_eq(fixture_status(a).state, REPLICA_FOLLOWER);
    cr_assert_eq(fixture_status(b).state, REPLICA_FOLLOWER);
    a->hold_disk = b->hold_disk = false;
    fixture_run(fixture, 20);
    cr_assert(fixture_status(a).state == REPLICA_LEADER || fixture_status(b).state == REPLICA_LEADER);
    fixture_free(fixture);
}

Test(replica_early, who_has_granted_a_vote_waits_before_it_begins_itself)
{
    struct fixture *fixture = three();
    struct fixture_node *old = fixture_leader(fixture);
    struct fixture_node *a = fixture_follower(fixture), *b = another_follower(fixture, a);
    fixture_run(fixture, 50);
    fixture_kill(old);
    a->hold_disk = b->hold_disk = true;
    tell_all(fixture, old);
    fixture_run(fixture, 17); /* the first's vote is being written: the second's turn was at 15 ms */
    cr_assert_eq(begun(fixture), 1);
    a->hold_disk = b->hold_disk = false;
    fixture_run(fixture, 5);
    cr_assert_eq(fixture_leader(fixture)->id, a->id < b->id ? a->id : b->id);
    fixture_free(fixture);
}

Test(replica_early, who_was_not_heard_asks_again_soon)
{
    struct fixture *fixture = three();
    struct fixture_node *old = fixture_leader(fixture);
    struct fixture_node *a = fixture_follower(fixture), *b = another_follower(fixture, a);
    b->cut_off = true;
    fixture_fill(old, 5, 1); /* only the other one can lead */
    fixture_kill(old);
    b->cut_off = false;
    a->cut_off = true;
    tell_all(fixture, old);
    fixture_run(fixture, 20);
    cr_assert_eq(fixture_status(a).hints.begun, 1);
    a->cut_off = false;
    fixture_run(fixture, 60);
    cr_assert_eq(fixture_status(a).state, REPLICA_LEADER);
    fixture_free(fixture);
}

Test(replica_early, a_wrong_hint_to_one_follower_changes_nothing)
{
    struct fixture *fixture = three();
    struct fixture_node *leader = fixture_leader(fixture), *misled = fixture_follower(fixture);
    uint64_t term = fixture_status(leader).term;
    fixture_run(fixture, 100);
    replica_peer_gone(misled->replica, leader->id);
    cr_assert_eq(fixture_status(misled).leader, 0);
    fixture_run(fixture, 50);
    cr_assert_eq(fixture_leader(fixture), leader);
    cr_assert_eq(fixture_status(leader).term, term);
    cr_assert_eq(fixture_status(misled).hints.wrong, 1);
    fixture_free(fixture);
}

Test(replica_early, after_a_wrong_hint_a_follower_is_as_patient_as_before)
{
    struct fixture *fixture = three();
    struct fixture_node *leader = fixture_leader(fixture), *misled = fixture_follower(fixture);
    replica_peer_gone(misled->replica, leader->id);
    fixture_run(fixture, 50);
    for (int i = 0; i < 5; i++) {
        leader->cut_off = true; /* shorter than any election timeout */
        fixture_run(fixture, 120);
        cr_assert_eq(fixture_status(misled).state, REPLICA_FOLLOWER);
        cr_assert_eq(fixture_status(misled).leader, leader->id);
        leader->cut_off = false;
        fixture_run(fixture, 50);
    }
    fixture_free(fixture);
}

Test(replica_early, after_an_early_election_followers_are_as_patient_as_before)
{
    struct fixture *fixture = three();
    struct fixture_node *old = fixture_leader(fixture);
    fixture_kill(old);
    tell_all(fixture, old);
    struct fixture_node *leader = fixture_leader(fixture), *follower = fixture_follower(fixture);
    fixture_run(fixture, 50);
    leader->cut_off = true;
    fixture_run(fixture, 120);
    cr_assert_eq(fixture_status(follower).leader, leader->id);
    fixture_free(fixture);
}

Test(replica_early, wrong_hints_to_all_cost_no_more_than_an_election_and_become_rare)
{
    struct fixture *fixture = three();
    uint64_t term = fixture_status(fixture_leader(fixture)).term, hints = 0;
    for (int ms = 0; ms < 10000; ms += 10) {
        for (uint32_t i = 0; i < 3; i++)
            for (uint64_t id = 1; id <= 3; id++)
                if (id != i + 1)
                    replica_peer_gone(fixture->nodes[i].replica, id);
        fixture_run(fixture, 10);
        if (ms % 1000 == 0)
            fixture_fill(fixture_leader(fixture), 3, (uint32_t)ms + 1);
    }
    for (uint32_t i = 0; i < 3; i++)
        hints += taken(&fixture->nodes[i]);
    /* One in an election timeout of 150 ms on each node, and a few at the start. */
    cr_assert_leq(hints, 3 * (10000 / 150 + 5));
    cr_assert_leq(fixture_status(fixture_leader(fixture)).term - term, 2 * (10000 / 150 + 5));
    fixture_free(fixture);
}

Test(replica_early, a_follower_that_is_misled_again_and_again_stops_listening)
{
    struct fixture *fixture = three();
    struct fixture_node *leader = fixture_leader(fixture), *misled = fixture_follower(fixture);
    uint64_t term = fixture_status(leader).term;
    for (int i = 0; i < 1000; i++) {
        replica_peer_gone(misled->replica, leader->id);
        fixture_run(fixture, 30);
    }
    /* 30 s: at 0, 1, 3, 7 and 15 s. */
    cr_assert_leq(taken(misled), 5);
    cr_assert_eq(fixture_status(misled).hints.wrong, taken(misled));
    cr_assert_eq(fixture_status(leader).term, term);
    fixture_free(fixture);
}

Test(replica_early, only_the_leaders_end_counts)
{
    struct fixture *fixture = three();
    struct fixture_node *leader = fixture_leader(fixture), *follower = fixture_follower(fixture);
    replica_peer_gone(follower->replica, another_follower(fixture, follower)->id);
    replica_peer_gone(follower->replica, 99);
    replica_peer_gone(follower->replica, 0);
    replica_peer_gone(leader->replica, follower->id);
    replica_peer_gone(leader->replica, leader->id);
    cr_assert_eq(taken(follower) + taken(leader), 0);
    cr_assert_eq(fixture_status(follower).leader, leader->id);
    fixture_free(fixture);
}

Test(replica_early, a_node_that_does_not_vote_begins_nothing)
{
    struct fixture *fixture = fixture_new(4, 3);
    struct lapse_error error;
    fixture_start_all(fixture);
    struct fixture_node *leader = fixture_leader(fixture), *newcomer = &fixture->nodes[3];
    cr_assert(lapse_is_ok(replica_add(leader->replica, 4, "n4:1", &error)), "%s", error.message);
    fixture_run(fixture, 100);
    uint64_t term = fixture_status(leader).term;
    replica_peer_gone(newcomer->replica, leader->id);
    fixture_run(fixture, 1000);
    cr_assert_eq(fixture_status(newcomer).hints.begun, 0);
    cr_assert_eq(fixture_status(leader).term, term);
    cr_assert_eq(fixture_status(leader).state, REPLICA_LEADER);
    fixture_free(fixture);
}

Test(replica_early, a_write_on_a_follower_survives_the_death_of_the_leader)
{
    struct fixture *fixture = three();
    struct fixture_node *old = fixture_leader(fixture), *follower = fixture_follower(fixture);
    struct fixture_write write;
    fixture_kill(old);
    fixture_write(follower, &write, 1, 1, 10000);
    tell_all(fixture, old);
    fixture_run(fixture, 15);
    cr_assert_eq(write.done, 1);
    cr_assert_eq(write.outcome.error.code, LAPSE_OK);
    fixture_free(fixture);
}
