/* libraft's life and steps. With the other consensus_*.c files (consensus_internal.h) the only ones that talk to it.
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

#include <stdlib.h>

#include "base/check.h"
#include "raft/consensus_check.h"
#include "raft/consensus_internal.h"

/* How often libraft repeats that a follower needs a snapshot. Not how long one may take: a transfer that is under way
 * (raft/transfer.h) ignores the repetitions, and ends by itself when nothing moves; one that could not begin, because
 * another was running or the follower was busy, begins with the next. */
#define INSTALL_SNAPSHOT_TIMEOUT_MS 2000u
/* One round of catching up may contain a snapshot; a newcomer that is silent for longer is given up. */
#define CATCH_UP_ROUND_MS (60u * 1000)
#define CATCH_UP_ROUNDS 50u
/* Bytes in flight are bounded by raft/sender.c; libraft counts entries only. */
#define INFLIGHT_ENTRIES_MAX (1u << 20)

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
    consensus_early_init(core);
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

bool consensus_is_sole_voter(const struct members *members, uint64_t id)
{
    uint64_t voters[LIMIT_PEERS];
    return members_voters(members, voters) == 1 && voters[0] == id;
}

/* --- One step, and what follows from it --- */

lapse_result consensus_broken(struct consensus *core, const char *what, int rv, struct lapse_error *error)
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
        if (message.type == MESSAGE_VOTE && message.granted)
            consensus_early_granted(core);
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

int consensus_step(struct consensus *core, int64_t now_ms, struct raft_event *event, struct raft_update *update)
{
    *update = (struct raft_update){0};
    event->time = (raft_time)now_ms;
    event->capacity = UINT16_MAX;
    int rv = raft_step(&core->raft, event, update);
    if (rv == 0) {
        finish_step(core, update);
        consensus_early_watch(core, now_ms);
    }
    return rv;
}

lapse_result consensus_load_configuration(struct slice bytes, struct raft_configuration *configuration,
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

lapse_result consensus_load_metadata(const struct snapshot_meta *meta, struct raft_snapshot_metadata *metadata,
                                     struct lapse_error *error)
{
    *metadata = (struct raft_snapshot_metadata){
        .index = meta->index, .term = meta->term, .configuration_index = meta->configuration_index};
    return consensus_load_configuration(blob_slice(meta->configuration), &metadata->configuration, error);
}

lapse_result consensus_commit_configuration(struct consensus *core, int64_t now_ms, struct lapse_error *error)
{
    uint64_t index = core->raft.configuration_uncommitted_index;
    const struct log_entry *entry = tail_at(&core->tail, index);
    if (entry == NULL)
        return lapse_ok(); /* a snapshot that is being installed has it */
    struct raft_event event = {.type = RAFT_CONFIGURATION, .configuration.index = index};
    struct raft_update update;
    lapse_result result = consensus_load_configuration(blob_slice(entry->data), &event.configuration.conf, error);
    if (!lapse_is_ok(result))
        return result;
    int rv = consensus_step(core, now_ms, &event, &update);
    return rv == 0 ? lapse_ok() : consensus_broken(core, "a committed configuration", rv, error);
}

lapse_result consensus_run(struct consensus *core, int64_t now_ms, struct raft_event *event, struct raft_update *update,
                           const char *what, struct lapse_error *error)
{
    int rv = consensus_step(core, now_ms, event, update);
    if (rv != 0)
        return consensus_broken(core, what, rv, error);
    uint64_t pending = core->raft.configuration_uncommitted_index;
    return pending != 0 && pending <= core->commit ? consensus_commit_configuration(core, now_ms, error) : lapse_ok();
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
        lapse_result result = consensus_load_metadata(&state->snapshot, &metadata, error);
        CHECK(lapse_is_ok(result)); /* consensus_newest_members has decoded it */
        event.start.metadata = &metadata;
    }
    fill_tail(core, state);
    struct raft_update update;
    lapse_result result = consensus_run(core, now_ms, &event, &update, "start", error);
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
    if (consensus_is_sole_voter(&members, core->options.node_id)) {
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
        !consensus_is_sole_voter(&core->members, core->options.node_id))
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
    lapse_result result = consensus_run(core, now_ms, &event, &update, "a timeout", error);
    /* libraft: the timeout stays in the past while it counts a spare that it once sent to and no longer does. */
    if ((int64_t)raft_timeout(&core->raft) <= now_ms)
        core->quiet_until_ms = now_ms + core->options.heartbeat_ms;
    return result;
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
    return consensus_run(core, now_ms, &event, &update, "persisted entries", error);
}

/* --- The leader's own entries --- */

static lapse_result submit_refused(struct consensus *core, int rv, struct lapse_error *error)
{
    if (rv == RAFT_CANTCHANGE)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "another change of members is under way; try again later");
    if (rv == RAFT_NOTLEADER)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "this node is not the leader, or is handing over");
    return consensus_broken(core, "own entries", rv, error);
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
    int rv = consensus_step(core, now_ms, &event, &update);
    raft_set_heartbeat_timeout(&core->raft, core->options.heartbeat_ms);
    for (uint32_t i = 0; i < n; i++)
        blob_unref(entries[i].data);
    free(view);
    return rv == 0 ? lapse_ok() : submit_refused(core, rv, error);
}
