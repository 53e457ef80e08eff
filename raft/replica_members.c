/* Membership, handing over leadership, and the first entries of a cluster.
 *
 *   add:      a spare, which gets no log yet
 *   promote:  the log is sent to it; once it has caught up it becomes a voter
 *   remove:   whoever is removed, the leader too (it steps down when that is committed)
 *
 * One change at a time, and only by a leader that has applied an entry of its own term: a leader that does not know yet
 * what is committed could otherwise propose a change from a configuration that was never agreed upon. */
#include "raft/replica_internal.h"

#include <raft.h>

#include "base/check.h"

void replica_members_changed(struct replica *replica)
{
    const struct members *members = consensus_members(replica->core);
    uint64_t voters[LIMIT_PEERS];
    evidence_set_voters(&replica->evidence, voters, members_voters(members, voters));
    sender_reset(&replica->sender, replica->sender.term);
    if (members_find(members, replica->sending.to) == NULL)
        replica_sending_abort(replica);
    if (replica->observer.on_members != NULL)
        replica->observer.on_members(replica->arg, members->list, members->n);
}

static lapse_result check_change(const struct replica *replica, struct lapse_error *error)
{
    if (replica->stopped || !replica_is_ready(replica))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "this node is not the leader, or became it just now; ask the leader");
    if (consensus_change_pending(replica->core) || replica->promoting != 0)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "another change of members is under way; try again later");
    return lapse_ok();
}

/* Ends the node on faults of consensus; refusals are the caller's. */
static lapse_result outcome(struct replica *replica, lapse_result result, const struct lapse_error *error)
{
    if (result.code == LAPSE_INTERNAL)
        replica_stop(replica, error);
    else
        replica_watch(replica);
    return result;
}

static lapse_result submit_members(struct replica *replica, const struct members *members, struct lapse_error *error)
{
    struct lapse_error local;
    struct log_entry entry = {.type = RAFT_CHANGE, .data = members_encode(members)};
    lapse_result result = consensus_submit(replica->core, replica_now_ms(replica), &entry, 1, &local);
    if (!lapse_is_ok(result) && error != NULL)
        *error = local;
    return outcome(replica, result, &local);
}

lapse_result replica_add(struct replica *replica, uint64_t id, const char *address, struct lapse_error *error)
{
    struct members members;
    struct replica_member member = {id, address, REPLICA_SPARE};
    replica->io.clock(replica->arg, &replica->now);
    lapse_result result = check_change(replica, error);
    if (!lapse_is_ok(result))
        return result;
    members_copy(&members, consensus_members(replica->core));
    result = members_add(&members, &member, error);
    return lapse_is_ok(result) ? submit_members(replica, &members, error) : result;
}

lapse_result replica_promote(struct replica *replica, uint64_t id, struct lapse_error *error)
{
    struct lapse_error local;
    replica->io.clock(replica->arg, &replica->now);
    lapse_result result = check_change(replica, error);
    if (!lapse_is_ok(result))
        return result;
    result = consensus_catch_up(replica->core, replica_now_ms(replica), id, &local);
    if (lapse_is_ok(result))
        replica->promoting = id;
    else if (error != NULL)
        *error = local;
    return outcome(replica, result, &local);
}

lapse_result replica_remove(struct replica *replica, uint64_t id, struct lapse_error *error)
{
    struct members members;
    uint64_t voters[LIMIT_PEERS];
    replica->io.clock(replica->arg, &replica->now);
    lapse_result result = check_change(replica, error);
    if (!lapse_is_ok(result))
        return result;
    members_copy(&members, consensus_members(replica->core));
    if (members_find(&members, id) == NULL)
        return lapse_fail(error, LAPSE_NOT_FOUND, "node %llu is not a member", (unsigned long long)id);
    members_remove(&members, id);
    if (members_voters(&members, voters) == 0)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "the last voter can't be removed");
    return submit_members(replica, &members, error);
}

/* The spare has caught up: it becomes a voter. */
static void finish_promotion(struct replica *replica)
{
    struct members members;
    uint64_t id = replica->promoting;
    replica->promoting = 0;
    members_copy(&members, consensus_members(replica->core));
    for (uint32_t i = 0; i < members.n; i++) {
        if (members.list[i].id == id)
            members.list[i].role = REPLICA_VOTER;
    }
    struct lapse_error error;
    if (!lapse_is_ok(submit_members(replica, &members, &error)) && !replica->stopped)
        replica_warn(replica, &error);
}

void replica_members_tick(struct replica *replica)
{
    struct lapse_error error;
    if (replica->stopped || replica->promoting == 0 || !consensus_can_submit(replica->core))
        return;
    switch (consensus_catch_up_status(replica->core, replica->promoting)) {
    case CONSENSUS_CATCH_UP_RUNNING:
        break;
    case CONSENSUS_CATCH_UP_FINISHED:
        finish_promotion(replica);
        break;
    case CONSENSUS_CATCH_UP_NONE:
    case CONSENSUS_CATCH_UP_ABORTED:
        (void)lapse_fail(
            &error, LAPSE_ABORTED,
            "node %llu did not catch up in time and stays a spare; check that it runs, and promote it again",
            (unsigned long long)replica->promoting);
        replica->promoting = 0;
        replica_warn(replica, &error);
        break;
    }
}

lapse_result replica_transfer(struct replica *replica, uint64_t to, struct lapse_error *error)
{
    struct lapse_error local;
    if (replica->stopped || replica->state != REPLICA_LEADER)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "this node is not the leader");
    replica->io.clock(replica->arg, &replica->now);
    lapse_result result = consensus_transfer(replica->core, replica_now_ms(replica), to, &local);
    if (!lapse_is_ok(result) && error != NULL)
        *error = local;
    return outcome(replica, result, &local);
}

/* --- Bootstrap --- */

#define BOOTSTRAP_EPOCH 1

static lapse_result first_command(const char *cluster, const char *first_operator, struct blob **payload,
                                  struct lapse_error *error)
{
    struct command command = {.type = COMMAND_INIT,
                              .epoch = BOOTSTRAP_EPOCH,
                              .cluster = slice_str(cluster),
                              .member = slice_str(first_operator),
                              .roles = ROLE_OPERATOR};
    lapse_result result = command_validate(&command, error);
    if (!lapse_is_ok(result))
        return result;
    struct buf bytes;
    struct entry_writer writer;
    buf_init(&bytes, LIMIT_COMMAND_BYTES);
    result = command_encode(&command, &bytes);
    CHECK(lapse_is_ok(result));
    entry_begin(&writer, BOOTSTRAP_TIME_MS);
    bool added = entry_add(&writer, (struct entry_item){0, 0, buf_slice(&bytes)});
    CHECK(added);
    *payload = entry_take(&writer);
    buf_free(&bytes);
    return lapse_ok();
}

lapse_result replica_bootstrap(const struct replica_member *members, uint32_t n, const char *cluster,
                               const char *first_operator, struct log_entry entries[2], struct lapse_error *error)
{
    struct members first = {.n = 0};
    uint64_t voters[LIMIT_PEERS];
    struct blob *payload = NULL;
    lapse_result result = lapse_ok();
    for (uint32_t i = 0; i < n && lapse_is_ok(result); i++)
        result = members_add(&first, &members[i], error);
    if (lapse_is_ok(result) && members_voters(&first, voters) == 0)
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a cluster needs at least one voter");
    if (lapse_is_ok(result))
        result = first_command(cluster, first_operator, &payload, error);
    if (!lapse_is_ok(result))
        return result;
    entries[0] = (struct log_entry){.term = 1, .type = RAFT_CHANGE, .data = members_encode(&first)};
    entries[1] = (struct log_entry){.term = 1, .type = RAFT_COMMAND, .data = payload};
    return lapse_ok();
}
