/* The replica's behaviour, told in short scenarios. What goes wrong by chance is the simulator's (tests/sim). */
#include <criterion/criterion.h>

#include "base/check.h"
#include "raft/message.h"
#include "tests/sim/virtual_disk.h"
#include "tests/unit/replica_fixture.h"

static void assert_equal_stores(struct fixture *fixture)
{
    const struct fixture_node *leader = fixture_leader(fixture);
    struct store_digest digest = store_digest(replica_store(leader->replica));
    for (uint32_t i = 0; i < fixture->n; i++) {
        const struct fixture_node *node = &fixture->nodes[i];
        if (node->replica == NULL || node->n_members == 0)
            continue;
        struct store_digest other = store_digest(replica_store(node->replica));
        cr_assert_eq(fixture_status(node).applied_index, fixture_status(leader).applied_index);
        cr_assert(digest.words[0] == other.words[0] && digest.words[1] == other.words[1], "node %u differs", i + 1);
    }
}

/* --- Elections --- */

Test(replica, three_nodes_elect_one_leader_and_apply_the_first_command)
{
    struct fixture *fixture = three();
    fixture_run(fixture, 50);
    uint32_t leaders = 0;
    for (uint32_t i = 0; i < 3; i++) {
        leaders += fixture_status(&fixture->nodes[i]).state == REPLICA_LEADER;
        cr_assert_eq(fixture->nodes[i].applied, 1);
        cr_assert_eq(fixture->nodes[i].n_voters, 3);
        cr_assert_eq(store_epoch(replica_store(fixture->nodes[i].replica)), 1);
    }
    cr_assert_eq(leaders, 1);
    fixture_free(fixture);
}

Test(replica, a_healthy_leader_stays)
{
    struct fixture *fixture = three();
    uint64_t term = fixture_status(fixture_leader(fixture)).term;
    fixture_run(fixture, 5000);
    cr_assert_eq(fixture_status(fixture_leader(fixture)).term, term);
    fixture_free(fixture);
}

Test(replica, the_others_go_on_when_the_leader_dies)
{
    struct fixture *fixture = three();
    struct fixture_node *old = fixture_leader(fixture);
    fixture_kill(old);
    struct fixture_node *leader = fixture_leader(fixture);
    cr_assert_neq(leader, old);
    fixture_fill(leader, 10, 1);
    fixture_start(old);
    fixture_run(fixture, 300);
    assert_equal_stores(fixture);
    fixture_free(fixture);
}

Test(replica, a_single_node_leads_at_once_and_in_a_new_term_at_each_start)
{
    struct fixture *fixture = fixture_new(1, 1);
    uint64_t term = 0;
    for (int i = 0; i < 3; i++) {
        fixture_start(&fixture->nodes[0]);
        fixture_fill(fixture_leader(fixture), 5, (uint32_t)i * 10 + 1);
        cr_assert_gt(fixture_status(&fixture->nodes[0]).term, term);
        term = fixture_status(&fixture->nodes[0]).term;
        fixture_kill(&fixture->nodes[0]);
    }
    fixture_free(fixture);
}

Test(replica, nothing_leaves_before_the_vote_is_durable)
{
    struct fixture *fixture = fixture_new(3, 3);
    fixture_start_all(fixture);
    for (uint32_t i = 0; i < 3; i++)
        fixture->nodes[i].hold_disk = true;
    fixture_run(fixture, 2000);
    /* Pre-votes bind nobody and may leave; no term can begin. */
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_neq(fixture_status(&fixture->nodes[i]).state, REPLICA_LEADER);
    for (uint32_t i = 0; i < 3; i++)
        fixture->nodes[i].hold_disk = false;
    (void)fixture_leader(fixture);
    fixture_free(fixture);
}

Test(replica, leadership_is_handed_over_on_request)
{
    struct fixture *fixture = three();
    struct fixture_node *old = fixture_leader(fixture);
    struct lapse_error error;
    uint64_t to = fixture_follower(fixture)->id;
    fixture_run(fixture, 50);
    cr_assert_eq(replica_transfer(fixture_follower(fixture)->replica, 0, &error).code, LAPSE_FAILED_PRECONDITION);
    cr_assert(lapse_is_ok(replica_transfer(old->replica, to, &error)), "%s", error.message);
    fixture_run(fixture, 100);
    cr_assert_eq(fixture_leader(fixture)->id, to);
    fixture_free(fixture);
}

/* --- Writes --- */

Test(replica, a_write_on_any_node_is_applied_there_before_done)
{
    struct fixture *fixture = three();
    for (uint32_t i = 0; i < 3; i++) {
        struct fixture_write write;
        fixture_write(&fixture->nodes[i], &write, i + 1, i + 1, 1000);
        cr_assert_eq(write.done, 0, "never on the caller's stack");
        fixture_run(fixture, 5);
        cr_assert_eq(write.done, 1);
        cr_assert_eq(write.outcome.error.code, LAPSE_OK, "%s", write.outcome.error.message);
        cr_assert_gt(write.outcome.revision, 0);
        cr_assert_geq(write.applied, 3);
    }
    fixture_run(fixture, 50);
    assert_equal_stores(fixture);
    fixture_free(fixture);
}

Test(replica, followers_apply_at_once_and_not_with_the_next_heartbeat)
{
    struct fixture *fixture = three();
    fixture_run(fixture, 95);
    struct fixture_node *leader = fixture_leader(fixture);
    fixture_fill(leader, 1, 1);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_eq(fixture_status(&fixture->nodes[i]).applied_index, fixture_status(leader).applied_index);
    fixture_free(fixture);
}

Test(replica, the_writes_of_one_iteration_share_an_entry)
{
    struct fixture *fixture = three();
    struct fixture_node *leader = fixture_leader(fixture);
    fixture_run(fixture, 50);
    uint64_t before = fixture_status(leader).last_index;
    fixture_fill(leader, 500, 1);
    cr_assert_eq(fixture_status(leader).last_index, before + 1);
    fixture_free(fixture);
}

Test(replica, without_a_majority_a_write_that_was_not_sent_did_not_happen)
{
    struct fixture *fixture = three();
    struct fixture_node *alone = fixture_follower(fixture);
    for (uint32_t i = 0; i < 3; i++)
        fixture->nodes[i].cut_off = &fixture->nodes[i] != alone;
    fixture_run(fixture, 1000);
    struct fixture_write write;
    fixture_write(alone, &write, 1, 1, 500);
    fixture_run(fixture, 600);
    cr_assert_eq(write.done, 1);
    cr_assert_eq(write.outcome.error.code, LAPSE_UNAVAILABLE);
    fixture_free(fixture);
}

Test(replica, a_write_in_the_log_of_a_leader_that_lost_its_majority_is_unknown)
{
    struct fixture *fixture = three();
    struct fixture_node *leader = fixture_leader(fixture);
    struct fixture_write write;
    fixture_run(fixture, 50);
    leader->cut_off = true;
    fixture_write(leader, &write, 1, 1, 400);
    fixture_run(fixture, 500);
    cr_assert_eq(write.done, 1);
    cr_assert_eq(write.outcome.error.code, LAPSE_UNKNOWN);
    fixture_free(fixture);
}

Test(replica, a_write_with_a_key_survives_the_leader_that_it_was_sent_to)
{
    struct fixture *fixture = three();
    struct fixture_node *leader = fixture_leader(fixture), *follower = fixture_follower(fixture);
    struct fixture_write keyed, keyless;
    fixture_run(fixture, 50);
    leader->cut_off = true; /* the frames with the commands are lost */
    fixture_write(follower, &keyed, 1, 77, 5000);
    fixture_write(follower, &keyless, 2, 0, 5000);
    fixture_run(fixture, 2000);
    cr_assert_eq(keyed.done, 1);
    cr_assert_eq(keyed.outcome.error.code, LAPSE_OK, "%s", keyed.outcome.error.message);
    cr_assert_eq(keyless.done, 1);
    cr_assert_eq(keyless.outcome.error.code, LAPSE_UNKNOWN, "it must not be sent twice");
    fixture_free(fixture);
}

Test(replica, a_refusal_by_the_store_reaches_the_caller_on_a_follower)
{
    struct fixture *fixture = three();
    struct fixture_write write;
    struct command command = {.type = COMMAND_SET_ROLES,
                              .principal = slice_str("user:nobody"),
                              .member = slice_str("user:dev1"),
                              .roles = ROLE_REQUESTER};
    fixture_command(fixture_follower(fixture), &write, &command, 1000);
    fixture_run(fixture, 10);
    cr_assert_eq(write.done, 1);
    cr_assert_eq(write.outcome.error.code, LAPSE_PERMISSION_DENIED);
    fixture_free(fixture);
}

Test(replica, a_follower_cannot_smuggle_in_a_command_of_the_cluster_itself)
{
    struct fixture *fixture = three();
    struct fixture_write write;
    struct command command = {.type = COMMAND_ADVANCE, .count = 1};
    fixture_command(fixture_follower(fixture), &write, &command, 1000);
    fixture_run(fixture, 10);
    cr_assert_eq(write.done, 1);
    cr_assert_eq(write.outcome.error.code, LAPSE_INVALID_ARGUMENT);
    fixture_free(fixture);
}

Test(replica, too_many_waiting_writes_are_refused_by_name)
{
    struct fixture *fixture = fixture_new(3, 3);
    struct fixture_write writes[11];
    fixture->options.waiting_max = 10;
    fixture_start(&fixture->nodes[0]);
    for (uint32_t i = 0; i < 11; i++)
        fixture_write(&fixture->nodes[0], &writes[i], i, i + 1, 1000);
    fixture_run(fixture, 1);
    cr_assert_eq(writes[10].done, 1);
    cr_assert_eq(writes[10].outcome.error.code, LAPSE_RESOURCE_EXHAUSTED);
    cr_assert_eq(writes[9].done, 0);
    cr_assert_eq(fixture_status(&fixture->nodes[0]).writes_waiting, 10);
    fixture_free(fixture);
}

Test(replica, a_low_disk_stops_what_makes_new_access_and_nothing_else)
{
    struct fixture *fixture = three();
    struct fixture_node *leader = fixture_leader(fixture), *follower = fixture_follower(fixture);
    struct fixture_write request, before, same, more, none;
    const struct command fewer = {.type = COMMAND_SET_ROLES, .principal = slice_str("user:operator"), .member = slice_str("user:dev1")};
    struct command command = {.type = COMMAND_REQUEST, .principal = slice_str("user:dev1"), .grant = {{1}}};
    command.terms.subject = slice_str("user:dev1");
    command.terms.resource = slice_str("db/prod");
    command.terms.actions[0] = slice_str("read");
    command.terms.n_actions = 1;
    command.terms.duration_ms = 1000;
    command.terms.justification = slice_str("a test");
    fixture_write(follower, &before, 1, 1, 1000);
    fixture_run(fixture, 10);
    replica_set_low_on_space(leader->replica, true);
    fixture_command(follower, &request, &command, 1000);
    fixture_write(follower, &same, 1, 2, 1000);
    fixture_write(follower, &more, 2, 3, 1000);
    fixture_run(fixture, 10);
    fixture_command(follower, &none, &fewer, 1000);
    fixture_run(fixture, 10);
    cr_assert_eq(request.outcome.error.code, LAPSE_RESOURCE_EXHAUSTED, "%s", request.outcome.error.message);
    cr_assert_eq(before.outcome.error.code, LAPSE_OK);
    cr_assert_eq(same.outcome.error.code, LAPSE_OK);
    cr_assert_eq(more.outcome.error.code, LAPSE_RESOURCE_EXHAUSTED);
    cr_assert_eq(none.outcome.error.code, LAPSE_OK);
    fixture_free(fixture);
}

Test(replica, a_cancelled_write_is_not_called_back)
{
    struct fixture *fixture = three();
    struct fixture_write write;
    fixture_write(fixture_follower(fixture), &write, 1, 1, 1000);
    replica_cancel_write(write.node->replica, &write.write);
    fixture_run(fixture, 1500);
    cr_assert_eq(write.done, 0);
    fixture_free(fixture);
}

/* --- Reads --- */

Test(replica, a_read_on_any_node_sees_what_was_acknowledged)
{
    struct fixture *fixture = three();
    fixture_fill(fixture_leader(fixture), 3, 1);
    uint64_t revision = store_revision(replica_store(fixture_leader(fixture)->replica));
    for (uint32_t i = 0; i < 3; i++) {
        struct fixture_read read;
        fixture_read(&fixture->nodes[i], &read, 1000);
        cr_assert_eq(read.done, 0);
        fixture_run(fixture, 5);
        cr_assert_eq(read.done, 1);
        cr_assert(lapse_is_ok(read.result));
        cr_assert_eq(store_revision(replica_store(fixture->nodes[i].replica)), revision);
    }
    fixture_free(fixture);
}

Test(replica, a_leader_that_is_cut_off_answers_no_read)
{
    struct fixture *fixture = three();
    struct fixture_node *leader = fixture_leader(fixture);
    struct fixture_read read;
    fixture_run(fixture, 50);
    leader->cut_off = true;
    cr_assert_eq(fixture_status(leader).state, REPLICA_LEADER);
    fixture_read(leader, &read, 300);
    fixture_run(fixture, 400);
    cr_assert_eq(read.done, 1);
    cr_assert_eq(read.result.code, LAPSE_UNAVAILABLE);
    fixture_free(fixture);
}

Test(replica, a_read_survives_a_change_of_leader)
{
    struct fixture *fixture = three();
    struct fixture_node *leader = fixture_leader(fixture), *follower = fixture_follower(fixture);
    struct fixture_read read;
    fixture_run(fixture, 50);
    leader->cut_off = true;
    fixture_read(follower, &read, 5000);
    fixture_run(fixture, 2000);
    cr_assert_eq(read.done, 1);
    cr_assert(lapse_is_ok(read.result));
    fixture_free(fixture);
}

/* --- Snapshots and restarts --- */

Test(replica, a_cluster_restarts_with_everything_acknowledged)
{
    struct fixture *fixture = three();
    fixture_fill(fixture_leader(fixture), 100, 1);
    uint64_t revision = store_revision(replica_store(fixture_leader(fixture)->replica));
    for (uint32_t i = 0; i < 3; i++)
        fixture_kill(&fixture->nodes[i]);
    fixture_start_all(fixture);
    (void)fixture_leader(fixture);
    fixture_run(fixture, 100);
    cr_assert_eq(store_revision(replica_store(fixture_leader(fixture)->replica)), revision);
    assert_equal_stores(fixture);
    fixture_free(fixture);
}

static struct fixture *with_snapshots(uint32_t n, uint32_t voters)
{
    struct fixture *fixture = fixture_new(n, voters);
    fixture->options.snapshot_entries = 5;
    fixture->options.trailing_entries = 2;
    fixture_start_all(fixture);
    (void)fixture_leader(fixture);
    return fixture;
}

Test(replica, snapshots_bound_the_log_and_a_restart_goes_on_from_one)
{
    struct fixture *fixture = with_snapshots(3, 3);
    for (uint32_t i = 0; i < 20; i++)
        fixture_fill(fixture_leader(fixture), 1, i + 1);
    fixture_run(fixture, 100);
    struct replica_status status = fixture_status(fixture_leader(fixture));
    cr_assert_geq(status.snapshots_taken, 3);
    cr_assert_gt(status.snapshot_index, status.last_index - 10);
    for (uint32_t i = 0; i < 3; i++)
        fixture_kill(&fixture->nodes[i]);
    fixture_start_all(fixture);
    (void)fixture_leader(fixture);
    fixture_run(fixture, 100);
    assert_equal_stores(fixture);
    fixture_free(fixture);
}

Test(replica, a_follower_that_fell_behind_gets_a_snapshot)
{
    struct fixture *fixture = with_snapshots(3, 3);
    struct fixture_node *behind = fixture_follower(fixture);
    fixture_run(fixture, 50);
    fixture_kill(behind);
    for (uint32_t i = 0; i < 30; i++)
        fixture_fill(fixture_leader(fixture), 1, i + 1);
    fixture_start(behind);
    fixture_run(fixture, 3000);
    cr_assert_eq(behind->stores, 1);
    cr_assert_eq(fixture_status(behind).snapshots_installed, 1);
    assert_equal_stores(fixture);
    /* And it holds across a restart of that node. */
    fixture_kill(behind);
    fixture_start(behind);
    fixture_run(fixture, 300);
    assert_equal_stores(fixture);
    fixture_free(fixture);
}

/* The entries of snapshots are small here, and so is what may be held back. */
Test(replica, the_log_is_held_back_while_the_driver_says_so_but_not_beyond_its_limit)
{
    struct fixture *fixture = fixture_new(1, 1);
    struct fixture_node *node = &fixture->nodes[0];
    fixture->options.snapshot_bytes = 4096;
    fixture->options.trailing_entries = 2;
    fixture_start_all(fixture);
    (void)fixture_leader(fixture);
    node->hold_log = true;
    for (uint32_t i = 0; i < 100; i++)
        fixture_fill(node, 1, i + 1);
    cr_expect_eq(fixture_status(node).snapshots_taken, 0);
    node->hold_log = false;
    fixture_run(fixture, 100);
    cr_expect_eq(fixture_status(node).snapshots_taken, 1);
    node->hold_log = true;
    for (uint32_t i = 0; i < 1000; i++)
        fixture_fill(node, 1, i + 1);
    cr_expect_gt(fixture_status(node).snapshots_taken, 1);
    fixture_free(fixture);
}

Test(replica, a_snapshot_that_is_held_back_gives_way_to_the_leaders)
{
    struct fixture *fixture = with_snapshots(3, 3);
    struct fixture_node *behind = fixture_follower(fixture);
    behind->hold_log = true;
    for (uint32_t i = 0; i < 10; i++)
        fixture_fill(fixture_leader(fixture), 1, i + 1);
    fixture_run(fixture, 50);
    cr_expect_eq(fixture_status(behind).snapshots_taken, 0);
    behind->cut_off = true;
    for (uint32_t i = 10; i < 40; i++)
        fixture_fill(fixture_leader(fixture), 1, i + 1);
    behind->cut_off = false;
    fixture_run(fixture, 3000);
    cr_expect_eq(fixture_status(behind).snapshots_installed, 1);
    assert_equal_stores(fixture);
    fixture_free(fixture);
}

/* --- What is acknowledged to a leader --- */

/* Entries of `term`, the first behind `index`, as node `from` would send them when it leads that term. */
static void lead_by_hand(struct fixture_node *node, uint64_t from, uint64_t term, uint64_t index, uint64_t index_term,
                         uint32_t n)
{
    static uint64_t stamp;
    struct buf entries, frame;
    struct blob *data = blob_new(slice_str("not committed, so never read"));
    struct log_entry entry = {term, 1, data};
    buf_init(&entries, 4096);
    buf_init(&frame, 8192);
    for (uint32_t i = 0; i < n; i++)
        cr_assert(lapse_is_ok(message_append_add(&entries, &entry)));
    struct message message = {.type = MESSAGE_APPEND,
                              .envelope = {.term = term, .leading = true, .life = from, .stamp = ++stamp},
                              .index = index,
                              .index_term = index_term,
                              .entries = buf_slice(&entries)};
    cr_assert(lapse_is_ok(frame_encode(&message, &frame)));
    replica_receive(node->replica, from, buf_slice(&frame));
    replica_flush(node->replica);
    blob_unref(data);
    buf_free(&entries);
    buf_free(&frame);
}

/* The last answer on its way to `to`. */
static struct message last_result(struct fixture *fixture, uint64_t to)
{
    struct message message, last = {0};
    for (const struct fixture_frame *frame = fixture->frames; frame != NULL; frame = frame->next) {
        cr_assert(lapse_is_ok(frame_decode(buf_slice(&frame->bytes), &message, NULL)));
        if (frame->to == to && message.type == MESSAGE_APPEND_RESULT)
            last = message;
    }
    return last;
}

Test(replica, an_entry_that_was_replaced_while_it_was_written_is_not_acknowledged)
{
    struct fixture *fixture = fixture_new(3, 3);
    struct fixture_node *node = &fixture->nodes[0];
    node->hold_disk = true;
    fixture_start(node);
    lead_by_hand(node, 2, 5, 2, 1, 2); /* 3 and 4 of term 5 */
    lead_by_hand(node, 3, 6, 3, 5, 1); /* 4 of term 6 instead */
    cr_assert_eq(last_result(fixture, 3).type, 0, "nothing is durable yet");
    cr_assert(fixture_do_job(node)); /* term 5 */
    cr_assert(fixture_do_job(node)); /* 3 and 4 of term 5 */
    replica_flush(node->replica);
    cr_assert_eq(last_result(fixture, 3).type, 0, "term 6 is not durable yet");
    cr_assert(fixture_do_job(node));
    replica_flush(node->replica);
    cr_assert_eq(last_result(fixture, 3).index, 3, "4 was another one");
    cr_assert(fixture_do_job(node));
    replica_flush(node->replica);
    cr_assert_eq(last_result(fixture, 3).index, 4);
    fixture_free(fixture);
}

Test(replica, entries_of_a_deposed_leader_are_refused_with_nothing_acknowledged)
{
    struct fixture *fixture = fixture_new(3, 3);
    struct fixture_node *node = &fixture->nodes[0];
    fixture_start(node);
    lead_by_hand(node, 3, 6, 2, 1, 1);
    fixture_run(fixture, 2);
    lead_by_hand(node, 2, 5, 0, 0, 0);
    struct message result = last_result(fixture, 2);
    cr_assert_eq(result.type, MESSAGE_APPEND_RESULT);
    cr_assert_eq(result.envelope.term, 6);
    cr_assert_gt(result.rejected, 0);
    fixture_free(fixture);
}

Test(replica, a_leader_that_contradicts_what_is_committed_stops_the_node)
{
    struct fixture *fixture = three();
    struct fixture_node *follower = fixture_follower(fixture);
    fixture_fill(fixture_leader(fixture), 3, 1);
    lead_by_hand(follower, fixture_leader(fixture)->id, 99, 1, 98, 0);
    cr_assert_eq(follower->fatals, 1);
    fixture_free(fixture);
}

/* --- Faults --- */

Test(replica, a_failed_write_of_the_log_stops_the_node)
{
    struct fixture *fixture = three();
    struct fixture_node *leader = fixture_leader(fixture);
    struct fixture_write write;
    fixture_run(fixture, 50);
    virtual_disk_fail_sync(leader->disk, 1);
    fixture_write(leader, &write, 1, 1, 5000);
    fixture_run(fixture, 10);
    cr_assert_eq(leader->fatals, 1);
    cr_assert_eq(fixture_status(leader).state, REPLICA_STOPPED);
    cr_assert_eq(write.done, 1);
    /* The others may have it, and may not. */
    cr_assert(write.outcome.error.code == LAPSE_UNKNOWN || write.outcome.error.code == LAPSE_OK);
    fixture_kill(leader);
    virtual_disk_heal(leader->disk);
    fixture_fill(fixture_leader(fixture), 3, 10);
    fixture_free(fixture);
}

Test(replica, nonsense_from_a_peer_is_a_warning)
{
    struct fixture *fixture = three();
    struct fixture_node *node = &fixture->nodes[0];
    uint32_t before = node->warnings;
    replica_receive(node->replica, 2, slice_str("nonsense"));
    replica_receive(node->replica, 2, slice_of(NULL, 0));
    cr_assert_eq(node->warnings, before + 2);
    fixture_fill(fixture_leader(fixture), 1, 1);
    fixture_free(fixture);
}

Test(replica, freeing_ends_what_waits)
{
    struct fixture *fixture = fixture_new(3, 3);
    struct fixture_write write;
    struct fixture_read read;
    fixture_start(&fixture->nodes[0]);
    fixture_write(&fixture->nodes[0], &write, 1, 1, 1000);
    fixture_read(&fixture->nodes[0], &read, 1000);
    fixture_kill(&fixture->nodes[0]);
    cr_assert_eq(write.done, 1);
    cr_assert_eq(write.outcome.error.code, LAPSE_UNAVAILABLE);
    cr_assert_eq(read.done, 1);
    cr_assert_eq(read.result.code, LAPSE_UNAVAILABLE);
    fixture_free(fixture);
}

/* --- Members --- */

Test(replica, a_newcomer_is_added_catches_up_and_votes)
{
    struct fixture *fixture = with_snapshots(4, 3);
    struct fixture_node *newcomer = &fixture->nodes[3];
    struct lapse_error error;
    for (uint32_t i = 0; i < 20; i++)
        fixture_fill(fixture_leader(fixture), 1, i + 1);
    cr_assert(lapse_is_ok(replica_add(fixture_leader(fixture)->replica, 4, "n4:1", &error)), "%s", error.message);
    cr_assert_eq(replica_add(fixture_leader(fixture)->replica, 5, "n5:1", &error).code, LAPSE_FAILED_PRECONDITION);
    fixture_run(fixture, 50);
    cr_assert_eq(fixture->nodes[0].n_members, 4);
    cr_assert_eq(fixture->nodes[0].n_voters, 3);
    cr_assert(lapse_is_ok(replica_promote(fixture_leader(fixture)->replica, 4, &error)), "%s", error.message);
    fixture_run(fixture, 3000);
    cr_assert_eq(newcomer->n_voters, 4);
    cr_assert_eq(newcomer->stores, 1);
    assert_equal_stores(fixture);
    fixture_free(fixture);
}

Test(replica, a_leader_that_is_removed_steps_down_and_the_others_go_on)
{
    struct fixture *fixture = three();
    struct fixture_node *removed = fixture_leader(fixture);
    struct lapse_error error;
    fixture_run(fixture, 50);
    cr_assert(lapse_is_ok(replica_remove(removed->replica, removed->id, &error)), "%s", error.message);
    fixture_run(fixture, 50);
    cr_assert_neq(fixture_status(removed).state, REPLICA_LEADER);
    fixture_kill(removed);
    struct fixture_node *leader = fixture_leader(fixture);
    cr_assert_eq(leader->n_voters, 2);
    fixture_fill(leader, 3, 1);
    fixture_free(fixture);
}

Test(replica, the_last_voter_of_a_shrinking_cluster_leads_in_a_term_of_its_own)
{
    struct fixture *fixture = fixture_new(2, 2);
    struct lapse_error error;
    fixture_start_all(fixture);
    struct fixture_node *leader = fixture_leader(fixture), *other = fixture_follower(fixture);
    fixture_run(fixture, 50);
    uint64_t term = fixture_status(leader).term;
    cr_assert(lapse_is_ok(replica_remove(leader->replica, leader->id, &error)), "%s", error.message);
    fixture_run(fixture, 50);
    fixture_kill(leader);
    fixture_run(fixture, 1000);
    cr_assert_eq(fixture_status(other).state, REPLICA_LEADER);
    cr_assert_gt(fixture_status(other).term, term);
    fixture_fill(other, 3, 1);
    fixture_free(fixture);
}

/* --- Time --- */

/* Three members that run, and node 4 that is none and does not. */
static struct fixture *three_of_four(void)
{
    struct fixture *fixture = fixture_new(4, 3);
    for (uint32_t i = 0; i < 3; i++)
        fixture_start(&fixture->nodes[i]);
    (void)fixture_leader(fixture);
    return fixture;
}

static void receive_by_hand(struct fixture_node *node, uint64_t from, const struct message *message)
{
    struct buf frame;
    buf_init(&frame, 8192);
    cr_assert(lapse_is_ok(frame_encode(message, &frame)));
    replica_receive(node->replica, from, buf_slice(&frame));
    replica_flush(node->replica);
    buf_free(&frame);
}

Test(replica, a_term_that_no_election_leads_to_is_a_warning)
{
    struct fixture *fixture = three();
    struct fixture_node *follower = fixture_follower(fixture);
    uint64_t term = fixture_status(follower).term;
    uint32_t before = follower->warnings;
    lead_by_hand(follower, fixture_leader(fixture)->id, UINT64_MAX, 2, 1, 0);
    cr_assert_eq(follower->warnings, before + 1);
    cr_assert_eq(fixture_status(follower).term, term);
    fixture_fill(fixture_leader(fixture), 1, 1);
    fixture_free(fixture);
}

Test(replica, a_node_that_is_no_member_can_neither_depose_nor_stop_the_leader)
{
    struct fixture *fixture = three_of_four();
    struct fixture_node *leader = fixture_leader(fixture);
    uint64_t term = fixture_status(leader).term;
    uint32_t before = leader->warnings;
    const struct message request = {.type = MESSAGE_VOTE_REQUEST,
                                    .envelope = {.term = term, .life = 4, .stamp = 1},
                                    .term = term + 1,
                                    .index = 1000,
                                    .index_term = term,
                                    .disrupt_leader = true};
    receive_by_hand(leader, 4, &request);
    lead_by_hand(leader, 4, term, 2, 1, 0);
    fixture_run(fixture, 300);
    cr_assert_eq(leader->fatals, 0);
    cr_assert_eq(leader->warnings, before + 1);
    cr_assert_eq(fixture_status(leader).state, REPLICA_LEADER);
    cr_assert_eq(fixture_status(leader).term, term);
    fixture_free(fixture);
}

static void forward_by_hand(struct fixture_node *leader, uint64_t from)
{
    const struct command command = {.type = COMMAND_SET_ROLES,
                                    .principal = slice_str("spiffe://example.org/user/operator"),
                                    .member = slice_str("spiffe://example.org/user/mallory"),
                                    .roles = ROLE_OPERATOR};
    struct buf bytes, commands;
    buf_init(&bytes, LIMIT_COMMAND_BYTES);
    buf_init(&commands, 8192);
    cr_assert(lapse_is_ok(command_encode(&command, &bytes)));
    cr_assert(lapse_is_ok(message_forward_add(&commands, (struct message_command){7, buf_slice(&bytes)})));
    struct message message = {.type = MESSAGE_FORWARD,
                              .envelope = {.term = fixture_status(leader).term, .life = from, .stamp = 1},
                              .commands = buf_slice(&commands)};
    receive_by_hand(leader, from, &message);
    buf_free(&bytes);
    buf_free(&commands);
}

Test(replica, a_node_that_is_no_member_can_not_write)
{
    struct fixture *fixture = three_of_four();
    struct fixture_node *leader = fixture_leader(fixture);
    fixture_run(fixture, 50);
    uint64_t last = fixture_status(leader).last_index;
    forward_by_hand(leader, 4);
    fixture_run(fixture, 50);
    cr_assert_eq(fixture_status(leader).last_index, last);
    forward_by_hand(leader, fixture_follower(fixture)->id);
    fixture_run(fixture, 50);
    cr_assert_gt(fixture_status(leader).last_index, last, "a member's is taken");
    fixture_free(fixture);
}
