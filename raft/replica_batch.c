/* The leader's side of writing: everything that waits becomes entries, once an iteration.
 *
 *   forwarded by others --.
 *   taken here -----------+--> entries of up to LIMIT_ENTRY_COMMANDS, under one cluster time --> consensus
 *   deadlines passed -----'    (one ADVANCE at most in the log at a time, in an entry of its own behind the others, so
 *                              that none of them waits for it)
 *
 * When, and how many deadlines at once: raft/pace.h.
 *
 * The store recognises repeated request keys; nothing is compared here. */
#include "raft/replica_internal.h"

#include <raft.h>
#include <stdlib.h>

#include "base/check.h"

#define ENTRIES_PER_FLUSH 16u
#define COLD_GAP_MS_MAX (24ll * 3600 * 1000)

/* --- Commands from other nodes --- */

static uint32_t roles_bound_to(const struct store *store, struct slice member)
{
    struct store_role_binding binding;
    for (uint32_t i = 0; store_role_at(store, i, &binding); i++)
        if (slice_equal(binding.member, member))
            return binding.roles;
    return 0;
}

static bool makes_access(const struct replica *replica, const struct command *command)
{
    switch (command->type) {
    case COMMAND_REQUEST:
    case COMMAND_APPROVE:
    case COMMAND_SET_TOKEN:
    case COMMAND_PUT_ELIGIBILITY:
    case COMMAND_CERTIFY:
        return true;
    case COMMAND_SET_ROLES:
        return (command->roles & ~roles_bound_to(replica->store, command->member)) != 0;
    default:
        return false;
    }
}

lapse_result replica_admits(const struct replica *replica, const struct command *command, struct lapse_error *error)
{
    if (replica->low_on_space && makes_access(replica, command))
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED,
                          "node %llu is low on disk space: only what ends or denies access is accepted until there is "
                          "more",
                          (unsigned long long)replica->options.node_id);
    return lapse_ok();
}

static bool is_the_clusters_own(enum command_type type)
{
    return type == COMMAND_ADVANCE || type == COMMAND_INIT || type == COMMAND_RECEIPTS || type == COMMAND_END_POINT;
}

/* All that the node which took the call has checked, again: no node smuggles a command past the rules. */
static lapse_result check_forwarded(const struct replica *replica, struct slice bytes, struct lapse_error *error)
{
    struct command command;
    if (replica->state != REPLICA_LEADER)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "node %llu is not the leader",
                          (unsigned long long)replica->options.node_id);
    if (replica->batch.n_forwarded >= replica->options.waiting_max ||
        replica->batch.forwarded_bytes + bytes.len > LIMIT_FORWARDED_BYTES)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "the leader has too many commands waiting; try again later");
    if (!lapse_is_ok(command_decode(bytes, &command)))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the leader does not know this command: upgrade it");
    if (is_the_clusters_own(command.type))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "this command is the cluster's own");
    lapse_result result = command_validate(&command, error);
    return lapse_is_ok(result) ? replica_admits(replica, &command, error) : result;
}

static void take_forwarded(struct batch *batch, uint64_t from, const struct message_command *command)
{
    struct forwarded *item = mem_alloc(sizeof *item + command->command.len);
    *item = (struct forwarded){.node = from, .sequence = command->sequence, .len = (uint32_t)command->command.len};
    memcpy(item->bytes, command->command.data, command->command.len);
    if (batch->last == NULL)
        batch->first = item;
    else
        batch->last->next = item;
    batch->last = item;
    batch->n_forwarded++;
    batch->forwarded_bytes += item->len;
}

void replica_batch_forwarded(struct replica *replica, uint64_t from, const struct message *message)
{
    struct slice commands = message->commands;
    struct message_command command;
    struct lapse_error error;
    struct buf refusals;
    buf_init(&refusals, LIMIT_PEER_FRAME / 2);
    while (message_forward_next(&commands, &command)) {
        if (lapse_is_ok(check_forwarded(replica, command.command, &error))) {
            take_forwarded(&replica->batch, from, &command);
            continue;
        }
        /* One that does not fit is told by its caller's own timeout. */
        struct message_refusal refusal = {command.sequence, error.code, slice_str(error.message)};
        if (!lapse_is_ok(message_refused_add(&refusals, refusal)))
            break;
    }
    struct message answer = {.type = MESSAGE_REFUSED, .refusals = buf_slice(&refusals)};
    if (refusals.len > 0)
        replica_send(replica, from, &answer);
    buf_free(&refusals);
}

static void pop_forwarded(struct batch *batch)
{
    struct forwarded *item = batch->first;
    batch->first = item->next;
    if (batch->first == NULL)
        batch->last = NULL;
    batch->n_forwarded--;
    batch->forwarded_bytes -= item->len;
    free(item);
}

void replica_batch_clear(struct replica *replica)
{
    while (replica->batch.first != NULL)
        pop_forwarded(&replica->batch);
    replica->batch.advancing = false;
}

/* --- Entries --- */

static bool has_room(const struct replica *replica)
{
    return tail_bytes(consensus_tail(replica->core), consensus_commit(replica->core) + 1, UINT64_MAX) <
           LIMIT_UNCOMMITTED_BYTES;
}

static bool may_batch(const struct replica *replica)
{
    return !replica->stopped && replica->state == REPLICA_LEADER && replica->clock.offset != CLOCK_NONE &&
           replica->term_entry != 0 && consensus_can_submit(replica->core) && has_room(replica);
}

static void submit(struct replica *replica, struct log_entry *entries, uint32_t n)
{
    struct lapse_error error;
    lapse_result result = consensus_submit(replica->core, replica_now_ms(replica), entries, n, &error);
    if (replica_survived(replica, result, &error))
        replica_watch(replica);
}

/* Only with an entry of its own term does a leader learn what is committed. */
static void begin_term(struct replica *replica)
{
    if (replica->term_entry != 0 || !consensus_can_submit(replica->core))
        return;
    struct log_entry barrier = {.type = RAFT_BARRIER};
    submit(replica, &barrier, 1);
    if (!replica->stopped)
        replica->term_entry = tail_last(consensus_tail(replica->core));
}

/* After a cold start nothing but the wall clocks tells how long the cluster was down: what they say is worth a look
 * when it is impossible, or when much ends by it at once. */
static void check_cold_start(struct replica *replica)
{
    const struct cluster_clock *clock = &replica->clock;
    int64_t gap_ms = clock->cold_gap_us / 1000;
    bool first = clock->floor_us <= BOOTSTRAP_TIME_MS * 1000;
    if (clock->cold_gap_us == CLOCK_NONE || first || (gap_ms >= 0 && gap_ms < COLD_GAP_MS_MAX))
        return;
    struct lapse_error error;
    (void)lapse_fail(&error, LAPSE_FAILED_PRECONDITION,
                     gap_ms < 0
                         ? "the whole cluster was down, and the wall clocks are %lld s behind its last entry: time "
                           "goes on from there, so that grants last as much longer as it was down; set the clocks "
                           "right (NTP) and revoke what should have ended"
                         : "the whole cluster was down for %lld s by the wall clocks: what fell due in that time "
                           "ends now; if it was not down for so long, they are wrong: set them right (NTP)",
                     (long long)(gap_ms < 0 ? -gap_ms : gap_ms) / 1000);
    replica_warn(replica, &error);
}

/* Not before everything committed in earlier terms is applied: cluster time must not begin behind any of it. */
static void establish_time(struct replica *replica)
{
    uint64_t voters[LIMIT_PEERS];
    if (replica->term_entry == 0 || replica->applied < replica->term_entry || replica->clock.offset != CLOCK_NONE)
        return;
    uint32_t n = members_voters(consensus_members(replica->core), voters);
    if (cluster_clock_establish(&replica->clock, replica->options.node_id, voters, n, replica->now.boot_us,
                                replica->now.wall_ms * 1000, replica->options.election_timeout_ms * 1000ll))
        check_cold_start(replica);
}

static int64_t advance_due_us(const struct replica *replica)
{
    if (!replica_is_ready(replica) || replica->batch.advancing)
        return INT64_MAX;
    int64_t due_us = cluster_clock_when(&replica->clock, store_next_due_ms(replica->store));
    return due_us > replica->pace.advance_us ? due_us : replica->pace.advance_us;
}

static void add_advance(struct replica *replica, struct entry_writer *writer)
{
    struct command command = {.type = COMMAND_ADVANCE, .count = replica->pace.slice};
    struct buf bytes;
    buf_init(&bytes, LIMIT_COMMAND_BYTES);
    lapse_result result = command_encode(&command, &bytes);
    CHECK(lapse_is_ok(result));
    bool added = entry_add(writer, (struct entry_item){0, replica->term, buf_slice(&bytes)});
    CHECK(added);
    replica->batch.advancing = true;
    buf_free(&bytes);
}

/* Fills one entry in the order of arrival: first what others sent, then our own. Returns how many commands it has. */
static uint32_t fill_entry(struct replica *replica, struct entry_writer *writer)
{
    struct batch *batch = &replica->batch;
    while (batch->first != NULL) {
        const struct forwarded *item = batch->first;
        if (!entry_add(writer, (struct entry_item){item->node, item->sequence, slice_of(item->bytes, item->len)}))
            return writer->n;
        pop_forwarded(batch);
    }
    struct replica_write *write;
    while ((write = replica->writes.lists[WRITE_UNSENT].first) != NULL) {
        struct entry_item item = {replica->options.node_id, write->sequence, buf_slice(&write->command)};
        if (!entry_add(writer, item))
            break;
        replica_write_sent(replica, write);
    }
    return writer->n;
}

static uint32_t take_commands(struct replica *replica, int64_t time_ms, struct log_entry *entries, uint32_t max)
{
    uint32_t n = 0;
    if (replica->now.boot_us < replica->pace.commands_us)
        return 0;
    for (; n < max; n++) {
        struct entry_writer writer;
        entry_begin(&writer, time_ms);
        if (fill_entry(replica, &writer) == 0) {
            entry_abort(&writer);
            break;
        }
        entries[n] = (struct log_entry){.type = RAFT_COMMAND, .data = entry_take(&writer)};
    }
    if (n > 0)
        pace_took_commands(&replica->pace, replica->now.boot_us);
    return n;
}

static uint32_t take_advance(struct replica *replica, int64_t time_ms, struct log_entry *entry)
{
    struct entry_writer writer;
    if (advance_due_us(replica) > replica->now.boot_us)
        return 0;
    entry_begin(&writer, time_ms);
    add_advance(replica, &writer);
    *entry = (struct log_entry){.type = RAFT_COMMAND, .data = entry_take(&writer)};
    return 1;
}

void replica_batch_flush(struct replica *replica)
{
    struct log_entry entries[ENTRIES_PER_FLUSH];
    if (replica->stopped || replica->state != REPLICA_LEADER)
        return;
    begin_term(replica);
    establish_time(replica);
    if (!may_batch(replica))
        return;
    int64_t time_ms = cluster_clock_stamp_ms(&replica->clock, replica->now.boot_us);
    uint32_t n = take_commands(replica, time_ms, entries, ENTRIES_PER_FLUSH - 1);
    n += take_advance(replica, time_ms, &entries[n]);
    if (n > 0)
        submit(replica, entries, n);
}

int64_t replica_batch_due_us(const struct replica *replica)
{
    if (!may_batch(replica))
        return INT64_MAX;
    int64_t due_us = advance_due_us(replica);
    if (replica->batch.first == NULL && replica->writes.lists[WRITE_UNSENT].n == 0)
        return due_us;
    return due_us < replica->pace.commands_us ? due_us : replica->pace.commands_us;
}
