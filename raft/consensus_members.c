/* What a leader is asked to do about the cluster itself: hand over, and bring a newcomer up to date. Changes of members
 * are entries (consensus_submit). */
#include "raft/consensus_internal.h"

lapse_result consensus_transfer(struct consensus *core, int64_t now_ms, uint64_t to, struct lapse_error *error)
{
    if (!consensus_can_submit(core))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "this node is not the leader, or is handing over already");
    struct raft_event event = {.type = RAFT_TRANSFER, .transfer.server_id = to};
    struct raft_update update;
    int rv = consensus_step(core, now_ms, &event, &update);
    if (rv == RAFT_NOTFOUND || rv == RAFT_BADID)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "there is no such other voter to hand over to");
    return rv == 0 ? lapse_ok() : consensus_broken(core, "a transfer", rv, error);
}

lapse_result consensus_catch_up(struct consensus *core, int64_t now_ms, uint64_t id, struct lapse_error *error)
{
    const struct replica_member *member = members_find(&core->members, id);
    if (!consensus_can_submit(core) || consensus_change_pending(core))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "this node is not the leader, or another change of members is under way");
    if (member == NULL || member->role == REPLICA_VOTER || id == core->options.node_id)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "node %llu is not a member that could become a voter",
                          (unsigned long long)id);
    struct raft_event event = {.type = RAFT_CATCH_UP, .catch_up.server_id = id};
    struct raft_update update;
    return consensus_run(core, now_ms, &event, &update, "catching up", error);
}

_Static_assert((int)CONSENSUS_CATCH_UP_NONE == RAFT_CATCH_UP_NONE &&
                   (int)CONSENSUS_CATCH_UP_FINISHED == RAFT_CATCH_UP_FINISHED,
               "the states of catching up are libraft's");

enum consensus_catch_up consensus_catch_up_status(const struct consensus *core, uint64_t id)
{
    int status = RAFT_CATCH_UP_NONE;
    if (raft_catch_up(&core->raft, id, &status) != 0)
        return CONSENSUS_CATCH_UP_NONE;
    return (enum consensus_catch_up)status;
}
