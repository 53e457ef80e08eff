/* Frames of other nodes, checked and in libraft's form. They come from outside: what no correct node sends is refused
 * here, since libraft only asserts that it does not come, and is built without assertions. */
#include <stdlib.h>

#include "base/check.h"
#include "raft/consensus_check.h"
#include "raft/consensus_internal.h"

lapse_result consensus_deliver(struct consensus *core, int64_t now_ms, struct raft_message *message,
                               struct raft_update *update, const char *what, struct lapse_error *error)
{
    message->server_address = "peer";
    struct raft_event event = {.type = RAFT_RECEIVE, .receive.message = message};
    return consensus_run(core, now_ms, &event, update, what, error);
}

static lapse_result receive_vote_request(struct consensus *core, int64_t now_ms, uint64_t from,
                                         const struct message *message, struct lapse_error *error)
{
    if (message->term == 0 || (message->index == 0) != (message->index_term == 0))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a vote request from node %llu has an impossible term",
                          (unsigned long long)from);
    /* Only a voter can have the permission to depose a leader, not one that was removed. */
    const struct replica_member *member = members_find(&core->members, from);
    bool may_disrupt = member != NULL && member->role == REPLICA_VOTER;
    struct raft_update update;
    struct raft_message request = {.type = RAFT_REQUEST_VOTE,
                                   .server_id = from,
                                   .request_vote = {.version = 2,
                                                    .term = message->term,
                                                    .candidate_id = from,
                                                    .last_log_index = message->index,
                                                    .last_log_term = message->index_term,
                                                    .disrupt_leader = message->disrupt_leader && may_disrupt,
                                                    .pre_vote = message->pre_vote}};
    return consensus_deliver(core, now_ms, &request, &update, "a vote request", error);
}

static lapse_result receive_vote(struct consensus *core, int64_t now_ms, uint64_t from, const struct message *message,
                                 struct lapse_error *error)
{
    /* libraft: reads the candidate's part of a union whatever its state, and a late pre-vote answer (which bears the
     * next term) can raise the term of a leader. Only candidates care for votes. */
    if (core->raft.state != RAFT_CANDIDATE || message->term == 0)
        return lapse_ok();
    uint64_t term = message->term, next = core->raft.current_term + 1;
    bool pre_voting = core->raft.candidate_state.in_pre_vote;
    if (pre_voting && message->pre_vote) {
        /* libraft: a refused pre-vote does not tell the refuser's term, so that a node with the better log and the
         * lower term, and one with the worse log and the higher term, refuse each other for ever. Our envelope tells
         * it. */
        if (!message->granted && message->envelope.term > next)
            term = message->envelope.term;
        else if (term != next)
            return lapse_ok();
    }
    struct raft_update update;
    struct raft_message vote = {
        .type = RAFT_REQUEST_VOTE_RESULT,
        .server_id = from,
        .request_vote_result = {
            .version = 2, .term = term, .vote_granted = message->granted, .pre_vote = message->pre_vote}};
    return consensus_deliver(core, now_ms, &vote, &update, "a vote", error);
}

static lapse_result receive_append_result(struct consensus *core, int64_t now_ms, uint64_t from,
                                          const struct message *message, struct lapse_error *error)
{
    if (core->raft.state != RAFT_LEADER || message->envelope.term == 0)
        return lapse_ok();
    /* libraft: asserts that nobody takes back what it has acknowledged. Late answers do, and so does a node that lost
     * its disk, which must be removed and join under a new id. */
    if (message->rejected > 0 && message->index < consensus_match(core, from))
        return lapse_ok();
    struct raft_update update;
    struct raft_message result = {.type = RAFT_APPEND_ENTRIES_RESULT,
                                  .server_id = from,
                                  .append_entries_result = {.version = 2,
                                                            .term = message->envelope.term,
                                                            .rejected = message->rejected,
                                                            .last_log_index = message->index}};
    return consensus_deliver(core, now_ms, &result, &update, "an append result", error);
}

static lapse_result receive_timeout_now(struct consensus *core, int64_t now_ms, uint64_t from,
                                        const struct message *message, struct lapse_error *error)
{
    /* A sole voter would lead in the old leader's term (see consensus_start); its own timeout elects it soon enough. */
    if (message->envelope.term == 0 || consensus_is_sole_voter(&core->members, core->options.node_id))
        return lapse_ok();
    struct raft_update update;
    struct raft_message timeout = {.type = RAFT_TIMEOUT_NOW,
                                   .server_id = from,
                                   .timeout_now = {.term = message->envelope.term,
                                                   .last_log_index = message->index,
                                                   .last_log_term = message->index_term}};
    return consensus_deliver(core, now_ms, &timeout, &update, "a transfer of leadership", error);
}

/* --- AppendEntries --- */

/* The part of an AppendEntries that one step gets. */
struct append {
    uint64_t from, term, commit;
    uint64_t index, index_term; /* the entry before the first */
    struct raft_entry *entries;
    struct log_entry *content;
    uint32_t n;
};

/* libraft: allows one uncommitted configuration. That a leader proposed another behind it proves that ours is committed
 * (a leader may propose only then), if our log agrees with that leader's up to there. */
static lapse_result commit_implied_configuration(struct consensus *core, int64_t now_ms, const struct append *append,
                                                 struct lapse_error *error)
{
    uint64_t pending = core->raft.configuration_uncommitted_index;
    if (append->n == 0 || append->entries[0].type != RAFT_CHANGE || pending == 0 || pending > append->index ||
        append->term < consensus_term(core) || consensus_installing(core) ||
        tail_term(&core->tail, append->index) != append->index_term)
        return lapse_ok();
    return consensus_commit_configuration(core, now_ms, error);
}

static lapse_result append_step(struct consensus *core, int64_t now_ms, const struct append *append,
                                struct lapse_error *error)
{
    lapse_result result = commit_implied_configuration(core, now_ms, append, error);
    if (!lapse_is_ok(result))
        return result;
    /* libraft: takes min(leader's commit index, last entry of this message), even if it has more already. */
    uint64_t end = append->index + append->n;
    uint64_t commit = append->commit < end ? append->commit : end;
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES,
                                   .server_id = append->from,
                                   .append_entries = {.term = append->term,
                                                      .prev_log_index = append->index,
                                                      .prev_log_term = append->index_term,
                                                      .leader_commit = commit > core->commit ? commit : 0,
                                                      .entries = append->entries,
                                                      .n_entries = append->n}};
    void *batch = append->n == 0 ? NULL : raft_malloc(1);
    for (uint32_t i = 0; i < append->n; i++)
        append->entries[i].batch = batch;
    core->step_entries = append->entries;
    core->step_content = append->content;
    struct raft_update update;
    result = consensus_deliver(core, now_ms, &message, &update, "entries of the leader", error);
    if (update.flags & RAFT_UPDATE_ENTRIES)
        raft_free(batch);
    return result;
}

/* libraft: notes the index of a message's first new entry as that of the configuration in it, wherever that stands. So
 * a configuration always begins a step of its own. */
static uint32_t run_length(const struct raft_entry *entries, uint32_t n)
{
    uint32_t run = n > 0 ? 1 : 0;
    while (run < n && entries[run].type != RAFT_CHANGE)
        run++;
    return run;
}

static lapse_result append_runs(struct consensus *core, int64_t now_ms, struct append append, struct lapse_error *error)
{
    uint32_t left = append.n;
    lapse_result result;
    do {
        append.n = run_length(append.entries, left);
        result = append_step(core, now_ms, &append, error);
        left -= append.n;
        if (append.n > 0)
            append.index_term = append.entries[append.n - 1].term;
        append.index += append.n;
        append.entries += append.n;
        append.content += append.n;
        /* A run that was refused, or ignored while a snapshot is installed, takes the rest with it. */
    } while (lapse_is_ok(result) && left > 0 && tail_term(&core->tail, append.index) == append.index_term);
    return result;
}

static void decode_entries(const struct message *message, struct raft_entry *entries, struct log_entry *content)
{
    struct slice rest = message->entries;
    struct message_entry entry;
    for (uint32_t i = 0; message_append_next(&rest, &entry); i++) {
        content[i] = (struct log_entry){entry.term, entry.type, entry.data.len == 0 ? NULL : blob_new(entry.data)};
        entries[i] = (struct raft_entry){.term = entry.term, .type = entry.type};
        if (content[i].data != NULL)
            entries[i].buf = (struct raft_buffer){content[i].data->data, content[i].data->len};
    }
}

/* libraft: answers a leader of an older term with an index it never set, and calls that a success when the request
 * began at 0; to the same node, leading again by now, that would be an acknowledgement. */
static void refuse_stale(struct consensus *core, uint64_t to, const struct message *message)
{
    struct message result = {.type = MESSAGE_APPEND_RESULT, .rejected = message->index + 1, .index = message->index};
    core->effects->send(core->arg, to, &result);
}

static lapse_result receive_append(struct consensus *core, int64_t now_ms, uint64_t from, const struct message *message,
                                   struct lapse_error *error)
{
    lapse_result result = consensus_check_append(message, from, error);
    if (!lapse_is_ok(result))
        return result;
    if (core->raft.state == RAFT_LEADER && message->envelope.term == consensus_term(core))
        return lapse_fail(error, members_find(&core->members, from) != NULL ? LAPSE_INTERNAL : LAPSE_INVALID_ARGUMENT,
                          "node %llu and this node both lead term %llu", (unsigned long long)from,
                          (unsigned long long)consensus_term(core));
    if (message->envelope.term < consensus_term(core)) {
        refuse_stale(core, from, message);
        return lapse_ok();
    }
    uint32_t n = message->n_entries;
    struct append append = {.from = from,
                            .term = message->envelope.term,
                            .commit = message->commit,
                            .index = message->index,
                            .index_term = message->index_term,
                            .entries = mem_calloc(n, sizeof *append.entries),
                            .content = mem_calloc(n, sizeof *append.content),
                            .n = n};
    decode_entries(message, append.entries, append.content);
    result = append_runs(core, now_ms, append, error);
    for (uint32_t i = 0; i < n; i++)
        blob_unref(append.content[i].data);
    free(append.entries);
    free(append.content);
    return result;
}

lapse_result consensus_receive(struct consensus *core, int64_t now_ms, uint64_t from, const struct message *message,
                               struct lapse_error *error)
{
    CHECK(from != 0 && from != core->options.node_id);
    if (!consensus_term_is_possible(consensus_term(core), message))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "node %llu speaks of a term that no election led to",
                          (unsigned long long)from);
    switch (message->type) {
    case MESSAGE_VOTE_REQUEST:
        return receive_vote_request(core, now_ms, from, message, error);
    case MESSAGE_VOTE:
        return receive_vote(core, now_ms, from, message, error);
    case MESSAGE_APPEND:
        return receive_append(core, now_ms, from, message, error);
    case MESSAGE_APPEND_RESULT:
        return receive_append_result(core, now_ms, from, message, error);
    case MESSAGE_TIMEOUT_NOW:
        return receive_timeout_now(core, now_ms, from, message, error);
    default:
        CHECK(false);
        return lapse_ok();
    }
}
