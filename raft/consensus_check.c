#include "raft/consensus_check.h"

#include <raft.h>

#include "base/check.h"

lapse_result consensus_check_state(const struct log_state *state, struct lapse_error *error)
{
    uint64_t term = state->has_snapshot ? state->snapshot.term : 0;
    uint64_t covered = state->has_snapshot ? state->snapshot.index : 0;
    bool connected = state->first_index > 0 && state->first_index <= covered + 1 &&
                     (state->n_entries == 0 || state->first_index + state->n_entries > covered);
    if (state->n_entries > 0 && state->first_index <= covered)
        term = 0; /* entries older than the snapshot may have older terms */
    for (uint32_t i = 0; connected && i < state->n_entries; i++) {
        connected = state->entries[i].term >= term && state->entries[i].term > 0;
        term = state->entries[i].term;
    }
    bool first_is_change = state->has_snapshot || state->n_entries == 0 || state->entries[0].type == RAFT_CHANGE;
    if (!connected || !first_is_change || term > state->term)
        return lapse_fail(error, LAPSE_DATA_LOSS,
                          "term, snapshot and log do not fit together (term %llu, snapshot %llu, first entry %llu, %u "
                          "entries); this node must not vote with them: let it rejoin empty",
                          (unsigned long long)state->term, (unsigned long long)covered,
                          (unsigned long long)state->first_index, state->n_entries);
    return lapse_ok();
}

lapse_result consensus_newest_members(const struct log_state *state, struct members *members, struct lapse_error *error)
{
    members->n = 0;
    lapse_result result = lapse_ok();
    if (state->has_snapshot)
        result = members_decode(blob_slice(state->snapshot.configuration), members, error);
    for (uint32_t i = 0; lapse_is_ok(result) && i < state->n_entries; i++) {
        const struct log_entry *entry = &state->entries[i];
        if (entry->type == RAFT_CHANGE)
            result = members_decode(entry->data == NULL ? slice_of(NULL, 0) : blob_slice(entry->data), members, error);
    }
    return result;
}

static bool entry_is_possible(const struct message_entry *entry, uint64_t previous_term, uint64_t leader_term)
{
    struct members members;
    if (entry->term < previous_term || entry->term > leader_term)
        return false;
    switch (entry->type) {
    case RAFT_COMMAND:
        return entry->data.len > 0;
    case RAFT_BARRIER:
        return true;
    case RAFT_CHANGE:
        return lapse_is_ok(members_decode(entry->data, &members, NULL));
    default:
        return false;
    }
}

lapse_result consensus_check_append(const struct message *message, uint64_t from, struct lapse_error *error)
{
    struct slice entries = message->entries;
    struct message_entry entry;
    uint64_t term = message->index_term, leader_term = message->envelope.term;
    bool possible = message->envelope.leading && leader_term > 0 && message->index < CONSENSUS_INDEX_MAX &&
                    (message->index == 0) == (message->index_term == 0) && term <= leader_term;
    while (possible && message_append_next(&entries, &entry)) {
        possible = entry_is_possible(&entry, term, leader_term);
        term = entry.term;
    }
    return possible ? lapse_ok()
                    : lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                                 "node %llu sent entries behind index %llu that no leader of term %llu could have",
                                 (unsigned long long)from, (unsigned long long)message->index,
                                 (unsigned long long)leader_term);
}

bool consensus_term_is_possible(uint64_t current, const struct message *message)
{
    uint64_t term = message->term > message->envelope.term ? message->term : message->envelope.term;
    return term <= current || term - current <= CONSENSUS_TERM_JUMP_MAX;
}

void consensus_translate(const struct raft_message *from, struct message *message)
{
    *message = (struct message){0};
    switch (from->type) {
    case RAFT_APPEND_ENTRIES_RESULT:
        message->type = MESSAGE_APPEND_RESULT;
        message->rejected = from->append_entries_result.rejected;
        message->index = from->append_entries_result.last_log_index;
        break;
    case RAFT_REQUEST_VOTE:
        message->type = MESSAGE_VOTE_REQUEST;
        message->term = from->request_vote.term;
        message->index = from->request_vote.last_log_index;
        message->index_term = from->request_vote.last_log_term;
        message->pre_vote = from->request_vote.pre_vote;
        message->disrupt_leader = from->request_vote.disrupt_leader;
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        message->type = MESSAGE_VOTE;
        message->term = from->request_vote_result.term;
        message->pre_vote = from->request_vote_result.pre_vote;
        message->granted = from->request_vote_result.vote_granted;
        break;
    case RAFT_TIMEOUT_NOW:
        message->type = MESSAGE_TIMEOUT_NOW;
        message->index = from->timeout_now.last_log_index;
        message->index_term = from->timeout_now.last_log_term;
        break;
    default:
        CHECK(false);
    }
}
