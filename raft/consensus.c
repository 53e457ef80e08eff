/* The only file that talks to libraft.
 *
 *   checked input -> event -> raft_step -> finish_step:  1 vote   2 entries   3 messages   4 configuration
 *
 * Who owns what (read from 0.22.1's source):
 *   RAFT_START           entries stay ours when it succeeds; on failure libraft frees each batch and the array
 *   RAFT_SUBMIT          entries and batch stay ours in any case
 *   APPEND_ENTRIES       the batch is ours if the step asks for entries to be persisted, else libraft has freed it; the
 *                        array is ours
 *   INSTALL_SNAPSHOT     ours if the step asks for a snapshot to be persisted (in the update), else libraft freed it
 *   other configurations libraft keeps or frees them; the no-op of a new leader is ours once it was handed out
 *   messages             libraft's, until the next step; addresses too
 * A batch is never read: libraft tracks terms. So it is one byte here, and the content stays in blobs of the tail. */
#include "raft/consensus.h"

#include <raft.h>
#include <stdlib.h>

#include "base/check.h"
#include "raft/consensus_check.h"

/* How often libraft repeats that a follower needs a snapshot. Not how long one may take: a transfer that is under way
 * (raft/transfer.h) ignores the repetitions, and ends by itself when nothing moves; one that could not begin, because
 * another was running or the follower was busy, begins with the next. */
#define INSTALL_SNAPSHOT_TIMEOUT_MS 2000u
/* One round of catching up may contain a snapshot; a newcomer that is silent for longer is given up. */
#define CATCH_UP_ROUND_MS (60u * 1000)
#define CATCH_UP_ROUNDS 50u
/* Bytes in flight are bounded by raft/sender.c; libraft counts entries only. */
#define INFLIGHT_ENTRIES_MAX (1u << 20)

struct consensus {
    struct raft raft;
    struct consensus_options options;
    const struct consensus_effects *effects;
    void *arg;
    struct tail tail;
    struct members members;
    uint64_t members_committed_index, members_uncommitted_index; /* as of `members` */
    uint64_t commit;
    int64_t quiet_until_ms;
    /* The entries of the step under way, in libraft's view and in ours. */
    struct raft_entry *step_entries;
    struct log_entry *step_content;
};

struct consensus *consensus_new(const struct consensus_options *options, const struct consensus_effects *effects,
                                void *arg)
{
    struct consensus *core = mem_calloc(1, sizeof *core);
    *core = (struct consensus){.options = *options, .effects = effects, .arg = arg};
    tail_init(&core->tail, 1);
    int rv = raft_init(&core->raft, NULL, NULL, options->node_id, "self");
    CHECK(rv == 0);
    /* libraft: its default tracer formats every line, even while it prints none. */
    core->raft.tracer = NULL;
    raft_seed(&core->raft, (unsigned)(options->seed ^ options->seed >> 32));
    raft_set_election_timeout(&core->raft, options->election_timeout_ms);
    raft_set_heartbeat_timeout(&core->raft, options->heartbeat_ms);
    raft_set_install_snapshot_timeout(&core->raft, INSTALL_SNAPSHOT_TIMEOUT_MS);
    raft_set_pre_vote(&core->raft, true);
    raft_set_max_inflight_entries(&core->raft, INFLIGHT_ENTRIES_MAX);
    raft_set_max_catch_up_rounds(&core->raft, CATCH_UP_ROUNDS);
    raft_set_max_catch_up_round_duration(&core->raft, CATCH_UP_ROUND_MS);
    return core;
}

void consensus_free(struct consensus *core)
{
    if (core == NULL)
        return;
    raft_close(&core->raft, NULL);
    tail_free(&core->tail);
    free(core);
}

/* --- What is known --- */

enum replica_state consensus_state(const struct consensus *core)
{
    unsigned short state = core->raft.state;
    return state == RAFT_LEADER ? REPLICA_LEADER : state == RAFT_CANDIDATE ? REPLICA_CANDIDATE : REPLICA_FOLLOWER;
}

uint64_t consensus_term(const struct consensus *core)
{
    return core->raft.current_term;
}

uint64_t consensus_leader(const struct consensus *core)
{
    if (core->raft.state == RAFT_LEADER)
        return core->options.node_id;
    return core->raft.state == RAFT_FOLLOWER ? core->raft.follower_state.current_leader.id : 0;
}

uint64_t consensus_commit(const struct consensus *core)
{
    return core->commit;
}

bool consensus_installing(const struct consensus *core)
{
    return core->raft.snapshot.installing;
}

bool consensus_change_pending(const struct consensus *core)
{
    return core->raft.configuration_uncommitted_index != 0 ||
           (core->raft.state == RAFT_LEADER && core->raft.leader_state.promotee_id != 0);
}

bool consensus_can_submit(const struct consensus *core)
{
    return core->raft.state == RAFT_LEADER && core->raft.leader_state.transferee == 0;
}

uint64_t consensus_match(const struct consensus *core, uint64_t id)
{
    raft_index match;
    return raft_match_index(&core->raft, id, &match) == 0 ? match : 0;
}

const struct tail *consensus_tail(const struct consensus *core)
{
    return &core->tail;
}

const struct members *consensus_members(const struct consensus *core)
{
    return &core->members;
}

static bool sole_voter(const struct members *members, uint64_t id)
{
    uint64_t voters[LIMIT_PEERS];
    return members_voters(members, voters) == 1 && voters[0] == id;
}

/* --- One step, and what follows from it --- */

static lapse_result broken(struct consensus *core, const char *what, int rv, struct lapse_error *error)
{
    return lapse_fail(error, LAPSE_INTERNAL, "consensus failed on %s at term %llu, index %llu: %s (%d)", what,
                      (unsigned long long)consensus_term(core), (unsigned long long)tail_last(&core->tail),
                      raft_strerror(rv), rv);
}

/* What a step handed out as entries to persist goes to the tail, replacing what conflicts. */
static void take_entries(struct consensus *core, const struct raft_update *update)
{
    bool barrier = update->entries.batch == &core->raft.barrier;
    tail_truncate(&core->tail, update->entries.index);
    CHECK(update->entries.index == tail_last(&core->tail) + 1);
    for (unsigned i = 0; i < update->entries.n; i++) {
        struct log_entry entry = {core->raft.barrier.term, RAFT_BARRIER, NULL};
        if (!barrier) {
            size_t at = (size_t)(update->entries.batch - core->step_entries) + i;
            entry = core->step_content[at];
            core->step_content[at].data = NULL;
        }
        tail_append(&core->tail, entry);
    }
    if (barrier)
        raft_free(core->raft.barrier.batch);
    core->effects->persist(core->arg, update->entries.index);
}

static void send_message(struct consensus *core, const struct raft_message *from)
{
    struct message message;
    if (from->type == RAFT_APPEND_ENTRIES) {
        const struct raft_append_entries *append = &from->append_entries;
        core->effects->replicate(core->arg, from->server_id, append->prev_log_index, append->prev_log_term,
                                 append->prev_log_index + append->n_entries);
    } else if (from->type == RAFT_INSTALL_SNAPSHOT)
        core->effects->snapshot(core->arg, from->server_id);
    else {
        consensus_translate(from, &message);
        core->effects->send(core->arg, from->server_id, &message);
    }
}

static void refresh_members(struct consensus *core, bool changed)
{
    struct raft *raft = &core->raft;
    if (!changed && core->members_committed_index == raft->configuration_committed_index &&
        core->members_uncommitted_index == raft->configuration_uncommitted_index)
        return;
    core->members_committed_index = raft->configuration_committed_index;
    core->members_uncommitted_index = raft->configuration_uncommitted_index;
    core->members = (struct members){.n = 0};
    for (unsigned i = 0; i < raft->configuration.n; i++) {
        const struct raft_server *server = &raft->configuration.servers[i];
        struct replica_member member = {server->id, server->address, (unsigned)server->role};
        lapse_result result = members_add(&core->members, &member, NULL);
        CHECK(lapse_is_ok(result));
    }
    core->effects->members(core->arg);
}

static void finish_step(struct consensus *core, const struct raft_update *update)
{
    bool changed = false;
    if (update->flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR))
        core->effects->vote(core->arg, core->raft.current_term, core->raft.voted_for);
    if (update->flags & RAFT_UPDATE_ENTRIES) {
        for (unsigned i = 0; i < update->entries.n; i++)
            changed = changed || update->entries.batch[i].type == RAFT_CHANGE;
        take_entries(core, update);
    }
    if (update->flags & RAFT_UPDATE_MESSAGES) {
        for (unsigned i = 0; i < update->messages.n; i++)
            send_message(core, &update->messages.batch[i]);
    }
    if (core->raft.commit_index > core->commit)
        core->commit = core->raft.commit_index;
    refresh_members(core, changed);
}

static int step(struct consensus *core, int64_t now_ms, struct raft_event *event, struct raft_update *update)
{
    *update = (struct raft_update){0};
    event->time = (raft_time)now_ms;
    event->capacity = UINT16_MAX;
    int rv = raft_step(&core->raft, event, update);
    if (rv == 0)
        finish_step(core, update);
    return rv;
}

/* libraft's form of a configuration that has passed our decoder. */
static lapse_result load_configuration(struct slice bytes, struct raft_configuration *configuration,
                                       struct lapse_error *error)
{
    struct members members;
    lapse_result result = members_decode(bytes, &members, error);
    if (!lapse_is_ok(result))
        return result;
    struct raft_buffer buffer = {(void *)bytes.data, bytes.len};
    int rv = raft_configuration_decode(&buffer, configuration);
    CHECK(rv == 0);
    return lapse_ok();
}

/* libraft's form of what describes a snapshot; the configuration in it is libraft's once it was shown. */
static lapse_result load_metadata(const struct snapshot_meta *meta, struct raft_snapshot_metadata *metadata,
                                  struct lapse_error *error)
{
    *metadata = (struct raft_snapshot_metadata){
        .index = meta->index, .term = meta->term, .configuration_index = meta->configuration_index};
    return load_configuration(blob_slice(meta->configuration), &metadata->configuration, error);
}

static lapse_result commit_configuration(struct consensus *core, int64_t now_ms, struct lapse_error *error)
{
    uint64_t index = core->raft.configuration_uncommitted_index;
    const struct log_entry *entry = tail_at(&core->tail, index);
    if (entry == NULL)
        return lapse_ok(); /* a snapshot that is being installed has it */
    struct raft_event event = {.type = RAFT_CONFIGURATION, .configuration.index = index};
    struct raft_update update;
    lapse_result result = load_configuration(blob_slice(entry->data), &event.configuration.conf, error);
    if (!lapse_is_ok(result))
        return result;
    int rv = step(core, now_ms, &event, &update);
    return rv == 0 ? lapse_ok() : broken(core, "a committed configuration", rv, error);
}

/* A step, then the configuration if that step committed it: at once and not when it is applied, so that a later step
 * can't find two uncommitted ones and fall back to a third. */
static lapse_result run(struct consensus *core, int64_t now_ms, struct raft_event *event, struct raft_update *update,
                        const char *what, struct lapse_error *error)
{
    int rv = step(core, now_ms, event, update);
    if (rv != 0)
        return broken(core, what, rv, error);
    uint64_t pending = core->raft.configuration_uncommitted_index;
    return pending != 0 && pending <= core->commit ? commit_configuration(core, now_ms, error) : lapse_ok();
}

/* --- Start --- */

static struct raft_entry *start_entries(const struct log_state *state)
{
    if (state->n_entries == 0)
        return NULL;
    struct raft_entry *entries = raft_calloc(state->n_entries, sizeof *entries);
    void *batch = raft_malloc(1);
    CHECK(entries != NULL && batch != NULL);
    for (uint32_t i = 0; i < state->n_entries; i++) {
        const struct log_entry *entry = &state->entries[i];
        entries[i] = (struct raft_entry){.term = entry->term, .type = entry->type, .batch = batch};
        if (entry->data != NULL)
            entries[i].buf = (struct raft_buffer){entry->data->data, entry->data->len};
    }
    return entries;
}

static void fill_tail(struct consensus *core, struct log_state *state)
{
    core->tail.first = state->first_index;
    for (uint32_t i = 0; i < state->n_entries; i++)
        tail_append(&core->tail, state->entries[i]);
    state->n_entries = 0;
    if (state->has_snapshot) {
        core->tail.snapshot_index = state->snapshot.index;
        core->tail.snapshot_term = state->snapshot.term;
    }
}

static lapse_result start_step(struct consensus *core, int64_t now_ms, struct log_state *state,
                               struct lapse_error *error)
{
    struct raft_snapshot_metadata metadata = {0};
    struct raft_entry *entries = start_entries(state);
    struct raft_event event = {.type = RAFT_START,
                               .start = {.term = state->term,
                                         .voted_for = state->voted_for,
                                         .start_index = state->first_index,
                                         .entries = entries,
                                         .n_entries = state->n_entries}};
    if (state->has_snapshot) {
        lapse_result result = load_metadata(&state->snapshot, &metadata, error);
        CHECK(lapse_is_ok(result)); /* consensus_newest_members has decoded it */
        event.start.metadata = &metadata;
    }
    fill_tail(core, state);
    struct raft_update update;
    lapse_result result = run(core, now_ms, &event, &update, "start", error);
    if (lapse_is_ok(result) && entries != NULL) {
        raft_free(entries[0].batch);
        raft_free(entries);
    }
    return result;
}

lapse_result consensus_start(struct consensus *core, int64_t now_ms, struct log_state *state, struct lapse_error *error)
{
    struct members members;
    lapse_result result = consensus_check_state(state, error);
    if (lapse_is_ok(result))
        result = consensus_newest_members(state, &members, error);
    if (!lapse_is_ok(result))
        return result;
    /* libraft: a sole voter elects itself without a new term. Its unwritten entries of that term may have reached a
     * standby, which would then hold another entry of the same index and term. */
    if (sole_voter(&members, core->options.node_id)) {
        state->term++;
        state->voted_for = core->options.node_id;
        core->effects->vote(core->arg, state->term, state->voted_for);
    }
    return start_step(core, now_ms, state, error);
}

/* --- Time --- */

int64_t consensus_due_ms(const struct consensus *core)
{
    int64_t due = (int64_t)raft_timeout(&core->raft);
    return due > core->quiet_until_ms ? due : core->quiet_until_ms;
}

/* libraft: see consensus_start; the same happens when a follower has become the sole voter by a change. */
static void raise_term_of_sole_voter(struct consensus *core)
{
    struct raft *raft = &core->raft;
    if (raft->state != RAFT_FOLLOWER || raft->snapshot.installing || raft->last_stored < tail_last(&core->tail) ||
        !sole_voter(&core->members, core->options.node_id))
        return;
    raft->current_term++;
    raft->voted_for = core->options.node_id;
    core->effects->vote(core->arg, raft->current_term, raft->voted_for);
}

lapse_result consensus_tick(struct consensus *core, int64_t now_ms, struct lapse_error *error)
{
    if (now_ms < consensus_due_ms(core))
        return lapse_ok();
    raise_term_of_sole_voter(core);
    struct raft_event event = {.type = RAFT_TIMEOUT};
    struct raft_update update;
    lapse_result result = run(core, now_ms, &event, &update, "a timeout", error);
    /* libraft: the timeout stays in the past while it counts a spare that it once sent to and no longer does. */
    if ((int64_t)raft_timeout(&core->raft) <= now_ms)
        core->quiet_until_ms = now_ms + core->options.heartbeat_ms;
    return result;
}

/* --- Frames --- */

static lapse_result receive(struct consensus *core, int64_t now_ms, struct raft_message *message,
                            struct raft_update *update, const char *what, struct lapse_error *error)
{
    message->server_address = "peer";
    struct raft_event event = {.type = RAFT_RECEIVE, .receive.message = message};
    return run(core, now_ms, &event, update, what, error);
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
    return receive(core, now_ms, &request, &update, "a vote request", error);
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
    return receive(core, now_ms, &vote, &update, "a vote", error);
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
    return receive(core, now_ms, &result, &update, "an append result", error);
}

static lapse_result receive_timeout_now(struct consensus *core, int64_t now_ms, uint64_t from,
                                        const struct message *message, struct lapse_error *error)
{
    /* A sole voter would lead in the old leader's term (see consensus_start); its own timeout elects it soon enough. */
    if (message->envelope.term == 0 || sole_voter(&core->members, core->options.node_id))
        return lapse_ok();
    struct raft_update update;
    struct raft_message timeout = {.type = RAFT_TIMEOUT_NOW,
                                   .server_id = from,
                                   .timeout_now = {.term = message->envelope.term,
                                                   .last_log_index = message->index,
                                                   .last_log_term = message->index_term}};
    return receive(core, now_ms, &timeout, &update, "a transfer of leadership", error);
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
    return commit_configuration(core, now_ms, error);
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
    result = receive(core, now_ms, &message, &update, "entries of the leader", error);
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

/* --- The disk reports --- */

lapse_result consensus_persisted(struct consensus *core, int64_t now_ms, uint64_t index,
                                 const struct log_entry *entries, uint32_t n, struct lapse_error *error)
{
    uint64_t persisted = 0;
    for (uint32_t i = 0; i < n && tail_at(&core->tail, index + i) != NULL; i++) {
        if (tail_term(&core->tail, index + i) != entries[i].term)
            break;
        persisted = index + i;
    }
    /* Replaced meanwhile, or behind a snapshot that is being installed: no longer news. */
    if (consensus_installing(core) || persisted <= core->raft.last_stored)
        return lapse_ok();
    /* A node with unwritten entries stays out of elections, so nothing new is reported to a candidate. */
    CHECK(core->raft.state != RAFT_CANDIDATE);
    struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES, .persisted_entries.index = persisted};
    struct raft_update update;
    return run(core, now_ms, &event, &update, "persisted entries", error);
}

/* --- The leader's own entries --- */

static lapse_result submit_refused(struct consensus *core, int rv, struct lapse_error *error)
{
    if (rv == RAFT_CANTCHANGE)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "another change of members is under way; try again later");
    if (rv == RAFT_NOTLEADER)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "this node is not the leader, or is handing over");
    return broken(core, "own entries", rv, error);
}

lapse_result consensus_submit(struct consensus *core, int64_t now_ms, struct log_entry *entries, uint32_t n,
                              struct lapse_error *error)
{
    CHECK(n > 0 && (n == 1 || entries[0].type != RAFT_CHANGE));
    struct raft_entry *view = mem_calloc(n, sizeof *view);
    char batch;
    for (uint32_t i = 0; i < n; i++) {
        entries[i].term = consensus_term(core);
        view[i] = (struct raft_entry){.term = entries[i].term, .type = entries[i].type, .batch = &batch};
        if (entries[i].data != NULL)
            view[i].buf = (struct raft_buffer){entries[i].data->data, entries[i].data->len};
    }
    core->step_entries = view;
    core->step_content = entries;
    struct raft_event event = {.type = RAFT_SUBMIT, .submit = {.entries = view, .n = n}};
    struct raft_update update;
    /* A healthy follower that libraft has set back to probing would otherwise get these with the next heartbeat. */
    raft_set_heartbeat_timeout(&core->raft, 0);
    int rv = step(core, now_ms, &event, &update);
    raft_set_heartbeat_timeout(&core->raft, core->options.heartbeat_ms);
    for (uint32_t i = 0; i < n; i++)
        blob_unref(entries[i].data);
    free(view);
    return rv == 0 ? lapse_ok() : submit_refused(core, rv, error);
}

/* --- Snapshots --- */

lapse_result consensus_snapshot_offered(struct consensus *core, int64_t now_ms, uint64_t from, uint64_t term,
                                        const struct snapshot_meta *meta, bool *wanted, struct lapse_error *error)
{
    *wanted = false;
    /* Of an older term: see refuse_stale; what libraft answers to those is not to be sent. */
    if (term < consensus_term(core) || consensus_installing(core) || meta->index == 0 || meta->term == 0 ||
        meta->term > term || meta->index >= CONSENSUS_INDEX_MAX)
        return lapse_ok();
    if (core->raft.state == RAFT_LEADER && term == consensus_term(core))
        return lapse_fail(error, LAPSE_INTERNAL, "node %llu and this node both lead term %llu",
                          (unsigned long long)from, (unsigned long long)term);
    struct raft_message message = {
        .type = RAFT_INSTALL_SNAPSHOT,
        .server_id = from,
        .install_snapshot = {
            .term = term, .last_index = meta->index, .last_term = meta->term, .conf_index = meta->configuration_index}};
    lapse_result result = load_configuration(blob_slice(meta->configuration), &message.install_snapshot.conf, error);
    if (!lapse_is_ok(result))
        return result;
    struct raft_update update;
    result = receive(core, now_ms, &message, &update, "a snapshot", error);
    if (lapse_is_ok(result) && (update.flags & RAFT_UPDATE_SNAPSHOT)) {
        raft_configuration_close(&update.snapshot.metadata.configuration);
        tail_reset(&core->tail, meta->index, meta->term);
        *wanted = true;
    }
    return result;
}

lapse_result consensus_snapshot_installed(struct consensus *core, int64_t now_ms, const struct snapshot_meta *meta,
                                          struct lapse_error *error)
{
    CHECK(consensus_installing(core) && core->raft.state == RAFT_FOLLOWER);
    struct raft_event event = {.type = RAFT_PERSISTED_SNAPSHOT, .persisted_snapshot.last = true};
    struct raft_update update;
    lapse_result result = load_metadata(meta, &event.persisted_snapshot.metadata, error);
    return lapse_is_ok(result) ? run(core, now_ms, &event, &update, "an installed snapshot", error) : result;
}

uint64_t consensus_keep_from(const struct consensus *core, uint64_t index, uint64_t trailing)
{
    if (index <= trailing || tail_at(&core->tail, index - trailing) == NULL)
        return core->tail.first;
    return index - trailing + 1;
}

lapse_result consensus_snapshot_taken(struct consensus *core, int64_t now_ms, const struct snapshot_meta *meta,
                                      uint64_t trailing, struct lapse_error *error)
{
    CHECK(!consensus_installing(core) && tail_at(&core->tail, meta->index) != NULL &&
          meta->index > core->tail.snapshot_index && trailing <= UINT32_MAX);
    uint64_t keep_from = consensus_keep_from(core, meta->index, trailing);
    struct raft_event event = {.type = RAFT_SNAPSHOT, .snapshot.trailing = (unsigned)trailing};
    struct raft_update update;
    lapse_result result = load_metadata(meta, &event.snapshot.metadata, error);
    if (lapse_is_ok(result))
        result = run(core, now_ms, &event, &update, "a snapshot taken", error);
    if (lapse_is_ok(result))
        tail_snapshot(&core->tail, meta->index, meta->term, keep_from);
    return result;
}

/* --- Leadership and members --- */

lapse_result consensus_transfer(struct consensus *core, int64_t now_ms, uint64_t to, struct lapse_error *error)
{
    if (!consensus_can_submit(core))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "this node is not the leader, or is handing over already");
    struct raft_event event = {.type = RAFT_TRANSFER, .transfer.server_id = to};
    struct raft_update update;
    int rv = step(core, now_ms, &event, &update);
    if (rv == RAFT_NOTFOUND || rv == RAFT_BADID)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "there is no such other voter to hand over to");
    return rv == 0 ? lapse_ok() : broken(core, "a transfer", rv, error);
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
    return run(core, now_ms, &event, &update, "catching up", error);
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
