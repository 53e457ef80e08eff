/* One node's part in the cluster: how the parts in replica_internal.h are put together.
 *
 *   receive, tick, storage_done     feed consensus and the parts; each only notes what follows
 *   flush                           apply -> read -> finish -> lead (batch, expire) or follow (forward) -> announce ->
 * send
 *
 * All state changes hang on replica_watch: it compares state, leader and term with what they were, after every call
 * into consensus, and is the only place where leading begins and ends. */
#include "raft/replica_internal.h"

#include <stdlib.h>

#include "base/check.h"

#define DEFAULT_ELECTION_TIMEOUT_MS 150u
#define DEFAULT_HEARTBEAT_MS 10u
#define DEFAULT_SNAPSHOT_BYTES (64ull * 1024 * 1024)
#define DEFAULT_SNAPSHOT_ENTRIES 500000ull
#define DEFAULT_TRAILING_ENTRIES 8192ull
#define DEFAULT_CLOCK_SKEW_MS 500u
#define DEFAULT_WAITING 65536u
/* Between the elections that voters begin when the leader's process is gone, where writing takes no time. */
#define ELECTION_SPREAD_MS 12

/* splitmix64: spreads a seed over ids that must differ from those of earlier lives. */
static uint64_t mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15ull;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ x >> 27) * 0x94D049BB133111EBull;
    return x ^ x >> 31;
}

static struct replica_options with_defaults(const struct replica_options *given)
{
    struct replica_options options = *given;
    CHECK(options.node_id > 0);
    options.election_timeout_ms = given->election_timeout_ms ? given->election_timeout_ms : DEFAULT_ELECTION_TIMEOUT_MS;
    options.heartbeat_ms = given->heartbeat_ms ? given->heartbeat_ms : DEFAULT_HEARTBEAT_MS;
    options.snapshot_bytes = given->snapshot_bytes ? given->snapshot_bytes : DEFAULT_SNAPSHOT_BYTES;
    options.snapshot_entries = given->snapshot_entries ? given->snapshot_entries : DEFAULT_SNAPSHOT_ENTRIES;
    options.trailing_entries = given->trailing_entries ? given->trailing_entries : DEFAULT_TRAILING_ENTRIES;
    options.clock_skew_ms_max = given->clock_skew_ms_max ? given->clock_skew_ms_max : DEFAULT_CLOCK_SKEW_MS;
    options.waiting_max = given->waiting_max ? given->waiting_max : DEFAULT_WAITING;
    CHECK(options.heartbeat_ms < options.election_timeout_ms && options.trailing_entries <= UINT32_MAX);
    return options;
}

static void read_clock(struct replica *replica)
{
    replica->io.clock(replica->arg, &replica->now);
}

int64_t replica_now_ms(const struct replica *replica)
{
    return replica->now.boot_us / 1000;
}

struct replica *replica_new(const struct replica_options *options, const struct replica_io *io,
                            const struct replica_observer *observer, void *arg)
{
    struct replica *replica = mem_calloc(1, sizeof *replica);
    replica->options = with_defaults(options);
    replica->io = *io;
    replica->observer = *observer;
    replica->arg = arg;
    read_clock(replica);
    /* A life must differ from the one before, also when the seed does not: both clocks go in. */
    uint64_t birth =
        mix(options->seed ^ mix((uint64_t)replica->now.boot_us) ^ mix((uint64_t)replica->now.wall_ms << 1));
    replica->life = birth | 1;
    replica->writes.next_sequence = mix(birth);
    struct consensus_options consensus = {.node_id = replica->options.node_id,
                                          .election_timeout_ms = replica->options.election_timeout_ms,
                                          .heartbeat_ms = replica->options.heartbeat_ms,
                                          .seed = mix(options->seed ^ options->node_id)};
    replica->core = consensus_new(&consensus, &replica_effects, replica);
    cluster_clock_init(&replica->clock);
    pace_init(&replica->pace);
    replica_writes_init(replica);
    replica_reads_init(replica);
    return replica;
}

static void take_state(struct replica *replica, struct log_state *state)
{
    replica->store = state->store != NULL ? state->store : store_new(&replica->options.store);
    state->store = NULL;
    if (state->has_snapshot) {
        replica->applied = state->snapshot.index;
        replica->configuration = state->snapshot.configuration;
        replica->configuration_index = state->snapshot.configuration_index;
        state->snapshot = (struct snapshot_meta){0};
        state->has_snapshot = false;
    }
    cluster_clock_applied(&replica->clock, store_time_ms(replica->store));
}

lapse_result replica_start(struct replica *replica, struct log_state *state, struct lapse_error *error)
{
    CHECK(!replica->started);
    if (state->has_snapshot && state->store == NULL)
        return lapse_fail(error, LAPSE_DATA_LOSS, "the snapshot at index %llu was not restored",
                          (unsigned long long)state->snapshot.index);
    read_clock(replica);
    lapse_result result = consensus_start(replica->core, replica_now_ms(replica), state, error);
    if (!lapse_is_ok(result))
        return result;
    take_state(replica, state);
    replica->started = true;
    replica_watch(replica);
    replica->elections = 0;
    return lapse_ok();
}

void replica_free(struct replica *replica)
{
    if (replica == NULL)
        return;
    replica_writes_stop(replica);
    replica_reads_stop(replica);
    replica_writes_finish(replica);
    replica_reads_finish(replica);
    replica_writes_free(replica);
    replica_batch_clear(replica);
    replica_sending_abort(replica);
    replica_receiving_free(replica);
    outbox_free(&replica->outbox);
    outbox_free(&replica->loopback.frames);
    blob_unref(replica->configuration);
    store_view_free(replica->view);
    storage_job_free(replica->held);
    store_free(replica->store);
    consensus_free(replica->core);
    free(replica);
}

/* --- Faults --- */

void replica_stop(struct replica *replica, const struct lapse_error *error)
{
    if (replica->stopped)
        return;
    replica->stopped = true;
    replica->why_stopped = *error;
    replica->state = REPLICA_STOPPED;
    replica->leader = 0;
    replica_writes_stop(replica);
    replica_reads_stop(replica);
    if (replica->observer.on_leadership != NULL)
        replica->observer.on_leadership(replica->arg, REPLICA_STOPPED, 0, replica->term);
    if (replica->observer.on_fatal != NULL)
        replica->observer.on_fatal(replica->arg, error);
}

bool replica_survived(struct replica *replica, lapse_result result, const struct lapse_error *error)
{
    if (!lapse_is_ok(result))
        replica_stop(replica, error);
    return !replica->stopped;
}

void replica_warn(struct replica *replica, const struct lapse_error *error)
{
    if (replica->observer.on_warning != NULL)
        replica->observer.on_warning(replica->arg, error);
}

/* --- Leadership --- */

bool replica_is_ready(const struct replica *replica)
{
    return replica->state == REPLICA_LEADER && replica->clock.offset != CLOCK_NONE && replica->term_entry != 0 &&
           replica->applied >= replica->term_entry;
}

static void begin_leading(struct replica *replica)
{
    /* libraft submits a no-op by itself when it finds uncommitted entries. */
    const struct tail *tail = consensus_tail(replica->core);
    uint64_t last = tail_last(tail);
    const struct log_entry *entry = tail_at(tail, last);
    replica->term_entry = entry != NULL && entry->term == replica->term ? last : 0;
    replica->leading_since_us = replica->now.boot_us;
    evidence_reset(&replica->evidence);
    cluster_clock_begin_leading(&replica->clock, replica->term, replica->now.boot_us);
}

static void end_leading(struct replica *replica)
{
    replica->term_entry = 0;
    replica->promoting = 0;
    replica_batch_clear(replica);
    replica_writes_abort_leader_only(replica);
    replica_sending_abort(replica);
    cluster_clock_end_leading(&replica->clock, replica->now.boot_us);
}

void replica_watch(struct replica *replica)
{
    enum replica_state state = consensus_state(replica->core), before = replica->state;
    uint64_t leader = consensus_leader(replica->core), term = consensus_term(replica->core);
    bool new_term = term != replica->term;
    if (replica->stopped || (state == before && leader == replica->leader && !new_term))
        return;
    if (new_term)
        replica->elections++;
    replica->state = state;
    replica->leader = leader;
    replica->term = term;
    if (before == REPLICA_LEADER && (state != REPLICA_LEADER || new_term))
        end_leading(replica);
    if (state == REPLICA_LEADER && (before != REPLICA_LEADER || new_term))
        begin_leading(replica);
    replica_writes_leader_changed(replica);
    replica_reads_leader_changed(replica);
    if (replica->observer.on_leadership != NULL)
        replica->observer.on_leadership(replica->arg, state, leader, term);
}

/* --- The driver's entry points --- */

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool callbacks_are_due(const struct replica *replica)
{
    return replica->writes.lists[WRITE_FINISHED].n > 0 || replica->reads.lists[READ_FINISHED].n > 0;
}

int64_t replica_next_due_us(struct replica *replica)
{
    if (callbacks_are_due(replica))
        return 0;
    if (!replica->started || replica->stopped)
        return INT64_MAX;
    if (replica->more_to_apply || replica->loopback.frames.n > 0)
        return 0;
    int64_t due = consensus_due_ms(replica->core) * 1000;
    due = min64(due, replica_writes_due_us(replica));
    due = min64(due, replica_reads_due_us(replica));
    due = min64(due, replica_batch_due_us(replica));
    return min64(due, replica_sending_due_us(replica));
}

void replica_tick(struct replica *replica)
{
    struct lapse_error error;
    if (!replica->started || replica->stopped)
        return;
    read_clock(replica);
    lapse_result result = consensus_tick(replica->core, replica_now_ms(replica), &error);
    if (!replica_survived(replica, result, &error))
        return;
    replica_watch(replica);
    replica_writes_expire(replica);
    replica_reads_expire(replica);
    replica_sending_tick(replica);
    replica_receiving_tick(replica);
    replica_members_tick(replica);
}

static void receive_for_consensus(struct replica *replica, uint64_t from, const struct message *message)
{
    struct lapse_error error;
    if (message->type == MESSAGE_APPEND_RESULT)
        replica_on_rejected(replica, from, message);
    lapse_result result = consensus_receive(replica->core, replica_now_ms(replica), from, message, &error);
    if (result.code == LAPSE_INVALID_ARGUMENT)
        replica_warn(replica, &error);
    else if (replica_survived(replica, result, &error)) {
        replica_watch(replica);
        if (message->type == MESSAGE_APPEND_RESULT)
            replica_pump(replica, from);
    }
}

static void answer_probe(struct replica *replica, uint64_t from, const struct message *message)
{
    struct message answer = {.type = MESSAGE_PROBE_ACK};
    if (message->envelope.term == replica->term)
        replica_send(replica, from, &answer);
}

/* A node that was removed may still hold a certificate. It has no say here any more: the leader takes commands and
 * questions of members only. Votes and entries are consensus' own business, which knows of nodes that we do not. */
static bool may_ask(const struct replica *replica, uint64_t from, enum message_type type)
{
    return (type != MESSAGE_FORWARD && type != MESSAGE_READ && type != MESSAGE_AUDIT) ||
           members_find(consensus_members(replica->core), from) != NULL;
}

static void dispatch(struct replica *replica, uint64_t from, const struct message *message)
{
    if (!may_ask(replica, from, message->type))
        return;
    switch (message->type) {
    case MESSAGE_VOTE_REQUEST:
    case MESSAGE_VOTE:
    case MESSAGE_APPEND:
    case MESSAGE_APPEND_RESULT:
    case MESSAGE_TIMEOUT_NOW:
        receive_for_consensus(replica, from, message);
        break;
    case MESSAGE_CHUNK:
        replica_receiving_chunk(replica, from, message);
        break;
    case MESSAGE_CHUNK_ACK:
        replica_sending_ack(replica, from, message);
        break;
    case MESSAGE_FORWARD:
        replica_batch_forwarded(replica, from, message);
        break;
    case MESSAGE_REFUSED:
        replica_write_refused(replica, message);
        break;
    case MESSAGE_READ:
        replica_reads_asked(replica, from, message);
        break;
    case MESSAGE_READ_INDEX:
        replica_reads_answered(replica, message);
        break;
    case MESSAGE_PROBE:
        answer_probe(replica, from, message);
        break;
    case MESSAGE_PROBE_ACK:
        break; /* its envelope has said everything */
    case MESSAGE_LEASE:
        replica_lease_received(replica, from, message);
        break;
    case MESSAGE_AUDIT:
        replica_audit_received(replica, from, message);
        break;
    }
}

void replica_receive(struct replica *replica, uint64_t from, struct slice frame)
{
    struct message message;
    struct lapse_error error;
    if (!replica->started || replica->stopped || from == 0 || from == replica->options.node_id)
        return;
    read_clock(replica);
    if (!lapse_is_ok(frame_decode(frame, &message, &error))) {
        replica_warn(replica, &error);
        return;
    }
    replica_hear(replica, from, &message.envelope);
    dispatch(replica, from, &message);
}

static void dispose(struct replica *replica, struct storage_job *job)
{
    if (job->type == STORAGE_SAVE) {
        store_view_free(replica->view);
        replica->view = NULL;
    }
    if (job->type == STORAGE_RESTORE)
        store_free(job->store);
    storage_job_free(job);
}

void replica_storage_done(struct replica *replica, struct storage_job *job)
{
    if (replica->stopped) {
        dispose(replica, job);
        return;
    }
    read_clock(replica);
    switch (job->type) {
    case STORAGE_VOTE:
    case STORAGE_APPEND:
    case STORAGE_SNAPSHOT_COMMIT:
    case STORAGE_SNAPSHOT_INSTALL:
        replica_log_done(replica, job);
        break;
    case STORAGE_SAVE:
        replica_snapshot_saved(replica, job);
        break;
    case STORAGE_READ:
        replica_sending_read(replica, job);
        break;
    case STORAGE_RECEIVE:
    case STORAGE_RESTORE:
        replica_receiving_done(replica, job);
        break;
    }
    storage_job_free(job);
}

/* An election takes two writes of a vote, one after the other, and two round trips; and the nodes have other work. */
static uint32_t election_spread_ms(const struct replica *replica)
{
    int64_t ms = ELECTION_SPREAD_MS + 4 * replica->disk_us / 1000;
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

void replica_peer_gone(struct replica *replica, uint64_t id)
{
    if (!replica->started || replica->stopped)
        return;
    read_clock(replica);
    if (consensus_leader_gone(replica->core, replica_now_ms(replica), id, election_spread_ms(replica)))
        replica_watch(replica);
}

static void send_frame(void *arg, uint64_t to, struct slice frame)
{
    struct replica *replica = arg;
    replica->io.send(replica->arg, to, frame);
}

void replica_flush(struct replica *replica)
{
    if (!replica->started)
        return;
    read_clock(replica);
    if (!replica->stopped) {
        replica_apply(replica);
        replica_lease_flush(replica);
        replica_reads_flush(replica);
    }
    replica_writes_finish(replica);
    replica_reads_finish(replica);
    if (replica->stopped)
        return;
    replica_batch_flush(replica);
    replica_writes_forward(replica);
    replica_announce_commit(replica);
    replica_snapshot_maybe_take(replica);
    if (!replica->stopped)
        outbox_drain(&replica->outbox, send_frame, replica);
}

/* --- What is known --- */

const struct store *replica_store(const struct replica *replica)
{
    return replica->store;
}

void replica_set_low_on_space(struct replica *replica, bool low)
{
    replica->low_on_space = low;
}

void replica_set_pressure(struct replica *replica, uint32_t percent)
{
    pace_set_pressure(&replica->pace, percent);
}

void replica_get_status(const struct replica *replica, struct replica_status *status)
{
    struct replica_time now;
    replica->io.clock(replica->arg, &now);
    struct consensus_hints hints = consensus_hints(replica->core);
    int64_t upper = cluster_clock_upper(&replica->clock, now.boot_us);
    *status = (struct replica_status){
        .state = replica->state,
        .id = replica->options.node_id,
        .leader = replica->leader,
        .term = replica->term,
        .commit_index = consensus_commit(replica->core),
        .applied_index = replica->applied,
        .last_index = tail_last(consensus_tail(replica->core)),
        .snapshot_index = consensus_tail(replica->core)->snapshot_index,
        .time_ms = upper == 0 ? 0 : upper / 1000 + 1,
        .writes_waiting = replica->writes.lists[WRITE_UNSENT].n + replica->writes.lists[WRITE_SENT].n,
        .reads_waiting = replica->reads.lists[READ_NEW].n + replica->reads.lists[READ_ASKED].n +
                         replica->reads.lists[READ_APPLYING].n,
        .elections = replica->elections,
        .hints = {hints.taken, hints.begun, hints.wrong},
        .snapshots_taken = replica->snapshots_taken,
        .snapshots_installed = replica->snapshots_installed,
    };
}

uint32_t replica_members(const struct replica *replica, const struct replica_member **members)
{
    const struct members *in_force = consensus_members(replica->core);
    *members = in_force->list;
    return in_force->n;
}
