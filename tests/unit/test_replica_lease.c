/* What leases need of a replica: frames bound to a term, evidence of it, and writes that are the leader's or nobody's.
 */
#include <criterion/criterion.h>

#include "tests/unit/replica_fixture.h"

static void send(struct fixture_node *from, uint64_t to, const char *text)
{
    replica_send_lease(from->replica, to, slice_str(text));
}

Test(replica_lease, a_frame_arrives_with_its_senders_life_and_term)
{
    struct fixture *fixture = three();
    struct fixture_node *leader = fixture_leader(fixture), *other = fixture_follower(fixture);
    send(other, leader->id, "report");
    fixture_run(fixture, 2);
    cr_assert(leader->leases == 1 && leader->lease_from == other->id);
    cr_assert_str_eq(leader->lease, "report");
    cr_assert_eq(leader->lease_life, replica_life(other->replica));
    cr_assert_eq(leader->lease_term, fixture_status(leader).term);
    fixture_free(fixture);
}

Test(replica_lease, a_frame_to_ourselves_comes_back_with_a_later_flush)
{
    struct fixture *fixture = three();
    struct fixture_node *leader = fixture_leader(fixture);
    send(leader, leader->id, "ping");
    cr_assert_eq(leader->leases, 0, "not on the caller's stack");
    cr_assert_eq(replica_next_due_us(leader->replica), 0);
    fixture_run(fixture, 1);
    cr_assert(leader->leases == 1 && leader->lease_from == leader->id);
    cr_assert_eq(leader->lease_life, replica_life(leader->replica));
    fixture_free(fixture);
}

Test(replica_lease, a_frame_of_an_earlier_term_is_dropped)
{
    struct fixture *fixture = three();
    struct fixture_node *leader = fixture_leader(fixture);
    leader->cut_off = true;
    fixture_run(fixture, 1000);
    struct fixture_node *next = fixture_leader(fixture);
    cr_assert_neq(next, leader);
    uint32_t before = next->leases;
    leader->cut_off = false;
    send(leader, next->id, "of the old term");
    send(leader, leader->id, "of the old term");
    fixture_run(fixture, 100);
    cr_assert_eq(next->leases, before);
    fixture_free(fixture);
}

Test(replica_lease, evidence_is_fresh_while_a_majority_answers_and_grows_old_when_it_does_not)
{
    struct fixture *fixture = three();
    struct fixture_node *leader = fixture_leader(fixture);
    cr_assert_eq(replica_evidence_us(fixture_follower(fixture)->replica), INT64_MIN);
    fixture_run(fixture, 500);
    int64_t fresh = replica_evidence_us(leader->replica);
    cr_assert(fresh <= fixture->now_us && fresh > fixture->now_us - 50000);
    leader->cut_off = true;
    fixture_run(fixture, 100);
    int64_t old = replica_evidence_us(leader->replica);
    cr_assert(old == INT64_MIN || old < fixture->now_us - 90000);
    fixture_free(fixture);
}

Test(replica_lease, a_node_alone_is_its_own_evidence)
{
    struct fixture *fixture = fixture_new(1, 1);
    fixture_start_all(fixture);
    struct fixture_node *leader = fixture_leader(fixture);
    cr_assert_eq(replica_evidence_us(leader->replica), fixture->now_us);
    cr_assert_leq(replica_leading_since_us(leader->replica), fixture->now_us);
    fixture_free(fixture);
}

Test(replica_lease, leading_begins_after_the_votes)
{
    struct fixture *fixture = three();
    struct fixture_node *leader = fixture_leader(fixture), *other = fixture_follower(fixture);
    cr_assert_eq(replica_leading_since_us(other->replica), INT64_MIN);
    leader->cut_off = true;
    int64_t before = fixture->now_us;
    fixture_run(fixture, 1000);
    struct fixture_node *next = fixture_leader(fixture);
    int64_t since = replica_leading_since_us(next->replica);
    cr_assert(since > before && since <= fixture->now_us);
    cr_assert(replica_is_ready(next->replica) && !replica_is_ready(other == next ? leader->replica : other->replica));
    fixture_free(fixture);
}

/* --- Writes of the leader or nobody --- */

struct own_write {
    struct replica_write write;
    uint32_t done;
    enum lapse_code code;
};

static void own_done(struct replica_write *write, const struct store_outcome *outcome)
{
    struct own_write *self = write->owner;
    self->done++;
    self->code = outcome->error.code;
}

static void write_own(struct fixture_node *node, struct own_write *own)
{
    struct command command = {.type = COMMAND_SET_ROLES,
                              .principal = slice_str("user:operator"),
                              .member = slice_str("user:only"),
                              .roles = ROLE_AUDITOR,
                              .key = {{9, 9, 9}}};
    *own = (struct own_write){.write = {.done = own_done, .owner = own, .leader_only = true}};
    replica_write(node->replica, &own->write, &command, 2000);
}

Test(replica_lease, a_leaders_own_write_is_carried_out)
{
    struct fixture *fixture = three();
    struct own_write own;
    write_own(fixture_leader(fixture), &own);
    fixture_run(fixture, 50);
    cr_assert(own.done == 1 && own.code == LAPSE_OK);
    fixture_free(fixture);
}

Test(replica_lease, a_follower_never_forwards_a_leaders_own_write)
{
    struct fixture *fixture = three();
    struct fixture_node *other = fixture_follower(fixture);
    struct own_write own;
    write_own(other, &own);
    cr_assert_eq(own.done, 0, "not on the caller's stack");
    fixture_run(fixture, 300);
    cr_assert(own.done == 1 && own.code == LAPSE_ABORTED);
    cr_assert_eq(store_roles_of(replica_store(other->replica), slice_str("user:only")), 0);
    fixture_free(fixture);
}

Test(replica_lease, a_leadership_lost_before_the_flush_ends_the_write)
{
    struct fixture *fixture = three();
    struct fixture_node *leader = fixture_leader(fixture);
    struct own_write own;
    leader->cut_off = true;
    write_own(leader, &own);
    /* Nobody has answered for longer than a leader may believe in itself. */
    for (int i = 0; i < 5; i++) {
        fixture->now_us += 200000;
        replica_tick(leader->replica);
    }
    cr_assert_neq(fixture_status(leader).state, REPLICA_LEADER);
    cr_assert_eq(own.done, 0, "not on this stack");
    replica_flush(leader->replica);
    cr_assert(own.done == 1 && own.code == LAPSE_ABORTED, "code %d", own.code);
    leader->cut_off = false;
    fixture_run(fixture, 1000);
    cr_assert_eq(store_roles_of(replica_store(fixture_leader(fixture)->replica), slice_str("user:only")), 0);
    fixture_free(fixture);
}

Test(replica_lease, a_write_whose_leader_was_lost_is_not_sent_again)
{
    struct fixture *fixture = three();
    struct fixture_node *leader = fixture_leader(fixture);
    struct own_write own;
    leader->cut_off = true;
    write_own(leader, &own);
    replica_flush(leader->replica);
    fixture_run(fixture, 1000);
    leader->cut_off = false;
    fixture_run(fixture, 1500);
    cr_assert(own.done == 1 && own.code == LAPSE_UNKNOWN, "code %d", own.code);
    cr_assert_eq(store_roles_of(replica_store(fixture_leader(fixture)->replica), slice_str("user:only")), 0);
    fixture_free(fixture);
}
