/* A node's loop, clocks, and the wiring between a replica and the simulated world. */
#include "tests/sim/node.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/network.h"
#include "tests/sim/node_lease.h"
#include "tests/sim/oracle.h"
#include "tests/sim/subscriber.h"
#include "tests/sim/virtual_disk.h"

/* Small, so that logs rotate often. */
#define SEGMENT_BYTES (32u * 1024)
/* How long a loop may sleep past its wake-up. */
#define LOOP_DELAY_US 60

struct input {
    struct input_spec spec;
    struct input *next;
};

/* --- Clocks --- */

int64_t node_boot_us(const struct sim_node *node)
{
    int64_t elapsed = node->sim->now_us - node->boot_origin_us;
    return node->boot_base_us + elapsed + elapsed * node->drift_ppm / 1000000;
}

int64_t node_wall_ms(const struct sim_node *node)
{
    return SIM_EPOCH_WALL_MS + node->sim->now_us / 1000 + node->wall_offset_ms;
}

void node_step_wall(struct sim_node *node, int64_t by_ms)
{
    node->wall_offset_ms += by_ms;
    sim_trace(node->sim, node->id, "wall-step", (uint64_t)by_ms, 0, 0);
}

static void machine_boot(struct sim_node *node)
{
    node->boot_origin_us = node->sim->now_us;
    node->boot_base_us = sim_between(node->sim, SIM_SECOND, 1000 * SIM_SECOND);
}

static void on_clock(void *arg, struct replica_time *now)
{
    struct sim_node *node = arg;
    now->boot_us = node_boot_us(node);
    now->wall_ms = node_wall_ms(node);
}

/* --- The loop --- */

static void loop(void *arg, uint64_t tag);

static void wake_at(struct sim_node *node, int64_t at_us)
{
    if (node->wake_at_us <= at_us) {
        return;
    }
    node->wake_at_us = at_us;
    node->wake_tag++;
    events_add(&node->sim->events, (struct event){.at_us = at_us, .run = loop, .arg = node, .tag = node->wake_tag});
}

static void wake_soon(struct sim_node *node)
{
    wake_at(node, node->sim->now_us + 1 + (int64_t)sim_below(node->sim, LOOP_DELAY_US));
}

static void wake_when_due(struct sim_node *node)
{
    int64_t due_us = replica_next_due_us(node->replica);
    int64_t lease_us = node_lease_next_due_us(node->lease);
    due_us = lease_us < due_us ? lease_us : due_us;
    if (due_us == INT64_MAX) {
        return;
    }
    int64_t left = due_us == INT64_MIN ? 0 : due_us - node_boot_us(node);
    if (left <= 0) {
        wake_soon(node);
    } else {
        wake_at(node, node->sim->now_us + left - left * node->drift_ppm / 1000000 + 1 +
                          (int64_t)sim_below(node->sim, LOOP_DELAY_US));
    }
}

void node_input(struct sim_node *node, struct input_spec spec)
{
    struct input *input = mem_calloc(1, sizeof(*input));
    input->spec = spec;
    *node->inbox_tail = input;
    node->inbox_tail = &input->next;
    if (!node->paused) {
        wake_soon(node);
    }
}

static void input_free(struct input *input)
{
    blob_unref(input->spec.frame);
    free(input);
}

static void take_input(struct sim_node *node, struct input *input)
{
    struct input_spec *spec = &input->spec;
    if (spec->frame != NULL) {
        struct slice frame = blob_slice(spec->frame);
        sim_trace(node->sim, node->id, "frame", spec->from, frame.len, sim_hash_bytes(1, frame));
        replica_receive(node->replica, spec->from, frame);
    } else if (spec->job != NULL) {
        sim_trace(node->sim, node->id, "stored", spec->job->type, spec->job->index, spec->job->result.code);
        replica_storage_done(node->replica, spec->job);
    } else {
        spec->call(node, spec->arg, spec->tag);
    }
}

static void end_by_itself(void *arg, uint64_t tag)
{
    struct sim_node *node = arg;
    if (node->incarnation == tag) {
        node_end(node, NODE_KILLED);
    }
}

static void restart(void *arg, uint64_t tag)
{
    struct sim_node *node = arg;
    if (!node->up && node->incarnation == tag + 1) {
        node_start(node);
    }
}

static void stop_failed(struct sim_node *node)
{
    sim_after(node->sim, sim_between(node->sim, 10, 5000), end_by_itself, node, node->incarnation);
    sim_after(node->sim, sim_between(node->sim, 20 * SIM_MILLISECOND, 600 * SIM_MILLISECOND), restart, node,
              node->incarnation);
}

/* What the replica has applied concerns the leases, and what these send leaves in the same iteration. */
static void flush(struct sim_node *node)
{
    node_lease_tick(node->lease);
    replica_flush(node->replica);
    if (!node->fatal) {
        node_lease_flush(node->lease);
        replica_flush(node->replica);
    }
}

static void loop(void *arg, uint64_t tag)
{
    struct sim_node *node = arg;
    if (tag != node->wake_tag) {
        return;
    }
    node->wake_at_us = INT64_MAX;
    if (!node->up || node->paused || node->fatal) {
        return;
    }
    while (node->inbox != NULL && !node->fatal) {
        struct input *input = node->inbox;
        node->inbox = input->next;
        if (node->inbox == NULL) {
            node->inbox_tail = &node->inbox;
        }
        take_input(node, input);
        input_free(input);
    }
    if (!node->fatal && replica_next_due_us(node->replica) <= node_boot_us(node)) {
        replica_tick(node->replica);
    }
    if (!node->fatal) {
        flush(node);
    }
    if (node->lanes[STORAGE_LANE_LOG].failed && !node->fatal) {
        sim_fail(node->sim, "G1", "node %llu goes on after its log reported an error", (unsigned long long)node->id);
    }
    if (node->fatal) {
        stop_failed(node);
    } else {
        wake_when_due(node);
    }
}

void node_receive(struct sim_node *node, uint64_t from, struct blob *frame)
{
    if (node->up && !node->fatal) {
        node_input(node, (struct input_spec){.from = from, .frame = blob_ref(frame)});
    }
}

bool node_call(struct sim_node *node, node_call_cb call, void *arg, uint64_t tag)
{
    if (!node->up || node->fatal) {
        return false;
    }
    node_input(node, (struct input_spec){.call = call, .arg = arg, .tag = tag});
    return true;
}

static void take_gone(struct sim_node *node, void *arg, uint64_t id)
{
    (void)arg;
    sim_trace(node->sim, node->id, "peer-gone", id, 0, 0);
    replica_peer_gone(node->replica, id);
}

void node_hear_gone(struct sim_node *node, uint64_t id)
{
    (void)node_call(node, take_gone, NULL, id);
}

void node_pause(struct sim_node *node)
{
    node->paused = true;
    sim_trace(node->sim, node->id, "pause", 0, 0, 0);
}

void node_resume(struct sim_node *node)
{
    if (node->paused) {
        node->paused = false;
        sim_trace(node->sim, node->id, "resume", 0, 0, 0);
        wake_soon(node);
    }
}

/* --- What the replica does to the world --- */

static void on_storage(void *arg, struct storage_job *job)
{
    lane_submit(arg, job);
}

static void on_send(void *arg, uint64_t to, struct slice frame)
{
    struct sim_node *node = arg;
    if (node->fatal) {
        sim_fail(node->sim, "G1", "node %llu sends after it has stopped", (unsigned long long)node->id);
    }
    CHECK(to >= 1);
    if (to <= node->sim->n_nodes && to != node->id) {
        network_send(node->sim->network, node->place, (uint32_t)(to - 1), frame);
    }
}

/* --break chain: this node's chain leaves the event out, or another byte of it was hashed. `head` is the store's own.
 */
static void break_chain(struct sim_node *node, const struct chain_head *head)
{
    struct chain_head *broken = (struct chain_head *)(uintptr_t)head;
    if (sim_chance(node->sim, 500000)) {
        *broken = node->head;
    } else {
        broken->hash[sim_below(node->sim, CHAIN_HASH_BYTES)] ^= 1;
    }
}

static void on_event(void *arg, const struct store_event *event)
{
    struct sim_node *node = arg;
    oracle_event(node->sim->oracle, node->place, store_epoch(replica_store(node->replica)), event);
    if (node->sim->broken == BREAK_CHAIN && node->place == 0 && sim_chance(node->sim, 1000)) {
        break_chain(node, event->head);
    }
    node->head = *event->head;
    subscribers_publish(node, event);
}

static void on_applied(void *arg, uint64_t index, const struct command *command, const struct store_outcome *outcome)
{
    struct sim_node *node = arg;
    const struct store *store = replica_store(node->replica);
    oracle_applied(node->sim->oracle, node->place, index, command, outcome, store);
    sim_trace(node->sim, node->id, "applied", index, command->type, store_digest(store).words[0]);
    if (command->type == COMMAND_INIT) {
        ring_set_epoch(node->ring, store_epoch(store));
    }
    node_lease_on_applied(node->lease);
}

static void on_store_replaced(void *arg)
{
    struct sim_node *node = arg;
    const struct store *store = replica_store(node->replica);
    struct replica_status status;
    replica_get_status(node->replica, &status);
    sim_trace(node->sim, node->id, "store-replaced", status.applied_index, store_revision(store), 0);
    oracle_store_replaced(node->sim->oracle, node->place, status.applied_index, store);
    ring_reset(node->ring, store_epoch(store), store_revision(store));
    node_lease_on_store_replaced(node->lease);
}

static void on_lease(void *arg, uint64_t from, uint64_t life, uint64_t term, struct slice frame)
{
    struct sim_node *node = arg;
    node_lease_on_frame(node->lease, from, life, term, frame);
}

static void on_members(void *arg, const struct replica_member *members, uint32_t n)
{
    struct sim_node *node = arg;
    node_lease_on_members(node->lease, members, n);
}

static void on_leadership(void *arg, enum replica_state state, uint64_t leader, uint64_t term)
{
    struct sim_node *node = arg;
    sim_trace(node->sim, node->id, "leadership", state, leader, term);
    oracle_leadership(node->sim->oracle, node->place, state, term);
    node_lease_on_leadership(node->lease, state, leader, term);
}

static void on_fatal(void *arg, const struct lapse_error *error)
{
    struct sim_node *node = arg;
    node->fatal = true;
    sim_trace(node->sim, node->id, "fatal", error->code, 0, 0);
    if (node->sim->trace) {
        printf("             %s\n", error->message);
    }
    if (!node->lanes[STORAGE_LANE_LOG].failed && !node->lanes[STORAGE_LANE_SNAPSHOT].failed) {
        sim_fail(node->sim, "liveness", "node %llu stopped although its disk works: %s", (unsigned long long)node->id,
                 error->message);
    }
}

static void on_warning(void *arg, const struct lapse_error *error)
{
    struct sim_node *node = arg;
    sim_trace(node->sim, node->id, "warning", error->code, 0, 0);
    if (node->sim->trace) {
        printf("             %s\n", error->message);
    }
}

/* --- Life and death --- */

static const struct replica_io replica_io = {.clock = on_clock, .storage = on_storage, .send = on_send};
static const struct replica_observer replica_observer = {.on_event = on_event,
                                                         .on_applied = on_applied,
                                                         .on_store_replaced = on_store_replaced,
                                                         .on_leadership = on_leadership,
                                                         .on_members = on_members,
                                                         .on_lease = on_lease,
                                                         .on_fatal = on_fatal,
                                                         .on_warning = on_warning};

static void process_new(struct sim_node *node)
{
    struct sim *sim = node->sim;
    struct replica_options options = {.node_id = node->id,
                                      .snapshot_entries = sim->profile->snapshot_entries,
                                      .trailing_entries = sim->profile->trailing_entries,
                                      .seed = prng_next(&sim->prng)};
    node->replica = replica_new(&options, &replica_io, &replica_observer, node);
    node->ring = ring_new(sim->profile->ring_events, 1 << 20);
    node->lease = node_lease_new(node);
    node->incarnation++;
    node->up = true;
    node->fatal = false;
    node->paused = false;
    node->wake_at_us = INT64_MAX;
    lanes_init(node);
}

static void start_again(void *arg, uint64_t tag);

/* Only a disk that fails right now is an excuse: then the process is started again later. */
static void cannot_open(struct sim_node *node, const struct lapse_error *error)
{
    struct sim *sim = node->sim;
    sim_trace(sim, node->id, "cannot-open", error->code, 0, 0);
    if (node->rotten && error->code == LAPSE_DATA_LOSS) {
        node->lost = true;
    } else if (node->disk_faulty && (error->code == LAPSE_UNAVAILABLE || error->code == LAPSE_RESOURCE_EXHAUSTED)) {
        sim_after(sim, 100 * SIM_MILLISECOND, start_again, node, node->incarnation);
    } else {
        sim_fail(sim, "G1", "node %llu cannot open its log, which nobody damaged: %s", (unsigned long long)node->id,
                 error->message);
    }
}

static void start_again(void *arg, uint64_t tag)
{
    struct sim_node *node = arg;
    if (!node->up && node->incarnation == tag) {
        node_start(node);
    }
}

void node_start(struct sim_node *node)
{
    struct sim *sim = node->sim;
    CHECK(!node->up);
    if (node->lost) {
        return;
    }
    struct log_options options = {.segment_bytes = SEGMENT_BYTES};
    struct log_state state = {0};
    struct lapse_error error = {0};
    if (!lapse_is_ok(log_open(node->disk, &options, &node->log, &state, &error))) {
        cannot_open(node, &error);
        return;
    }
    sim_trace(sim, node->id, "start", state.term, state.first_index, state.n_entries);
    process_new(node);
    uint64_t applied = state.has_snapshot ? state.snapshot.index : 0;
    oracle_node_starts(sim->oracle, node->place, applied, state.store);
    if (state.store != NULL) {
        ring_reset(node->ring, store_epoch(state.store), store_revision(state.store));
    } else {
        ring_reset(node->ring, 0, 0);
    }
    if (!lapse_is_ok(replica_start(node->replica, &state, &error))) {
        sim_fail(sim, "liveness", "node %llu cannot start: %s", (unsigned long long)node->id, error.message);
    }
    log_state_free(&state);
    node_lease_started(node->lease);
    wake_soon(node);
}

static void inbox_drop(struct sim_node *node)
{
    while (node->inbox != NULL) {
        struct input *input = node->inbox;
        node->inbox = input->next;
        lane_job_free(input->spec.job);
        input_free(input);
    }
    node->inbox_tail = &node->inbox;
}

void node_count(struct sim_node *node)
{
    struct replica_status status;
    if (node->up) {
        replica_get_status(node->replica, &status);
        node->sim->early_elections += status.hints.begun;
        node->sim->wrong_hints += status.hints.wrong;
    }
}

void node_end(struct sim_node *node, enum node_end how)
{
    struct sim *sim = node->sim;
    if (!node->up) {
        return;
    }
    sim_trace(sim, node->id, how == NODE_KILLED ? "killed" : "power-lost", 0, 0, 0);
    node_count(node);
    node->ending = true;
    lanes_end(node);
    inbox_drop(node);
    node_lease_free(node->lease);
    replica_free(node->replica);
    log_close(node->log);
    ring_free(node->ring);
    node->replica = NULL;
    node->log = NULL;
    node->ring = NULL;
    node->lease = NULL;
    node->ending = false;
    node->up = false;
    node->incarnation++;
    oracle_node_ends(sim->oracle, node->place);
    if (how == NODE_POWER_LOST) {
        virtual_disk_crash(node->disk, &sim->prng);
        machine_boot(node);
    }
    for (uint32_t i = 0; i < sim->n_nodes; i++) {
        if (i != node->place) {
            network_break(sim->network, i, node->place);
        }
        if (i != node->place && how == NODE_KILLED) {
            network_tell_gone(sim->network, node->place, i);
        }
    }
}

static void format_disk(struct sim_node *node, const struct log_entry entries[2])
{
    struct log_identity identity = {.cluster = "sim-01", .node_id = node->id};
    struct lapse_error error = {0};
    bool votes = node->place < node->sim->n_voters;
    lapse_result result = log_format(node->disk, &identity, votes ? entries : NULL, votes ? 2 : 0, &error);
    CHECK(lapse_is_ok(result));
}

static struct sim_node *node_new(struct sim *sim, uint32_t place)
{
    struct sim_node *node = mem_calloc(1, sizeof(*node));
    node->sim = sim;
    node->place = place;
    node->id = place + 1;
    node->disk = virtual_disk_new();
    int64_t drift_ppm = sim->broken == BREAK_EXPIRY ? 500000 : sim->profile->drift_ppm;
    node->drift_ppm = (int32_t)sim_between(sim, -drift_ppm, drift_ppm);
    node->wall_offset_ms = sim_between(sim, -sim->profile->wall_skew_ms, sim->profile->wall_skew_ms);
    node->disk_slowness = 1;
    node->inbox_tail = &node->inbox;
    node->wake_at_us = INT64_MAX;
    machine_boot(node);
    return node;
}

const char *node_address(uint32_t place)
{
    static const char *const addresses[SIM_NODES_MAX] = {"n1:1", "n2:1", "n3:1", "n4:1", "n5:1"};
    return addresses[place];
}

void nodes_new(struct sim *sim)
{
    struct replica_member members[SIM_NODES_MAX];
    for (uint32_t i = 0; i < sim->n_nodes; i++) {
        sim->nodes[i] = node_new(sim, i);
        members[i] = (struct replica_member){.id = i + 1, .address = node_address(i), .role = REPLICA_VOTER};
    }
    struct log_entry entries[2] = {{0}};
    struct lapse_error error = {0};
    lapse_result result = replica_bootstrap(members, sim->n_voters, "sim-01", "user:operator", entries, &error);
    CHECK(lapse_is_ok(result));
    for (uint32_t i = 0; i < sim->n_nodes; i++) {
        format_disk(sim->nodes[i], entries);
    }
    blob_unref(entries[0].data);
    blob_unref(entries[1].data);
}

void nodes_free(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->n_nodes; i++) {
        node_end(sim->nodes[i], NODE_KILLED);
    }
    for (uint32_t i = 0; i < sim->n_nodes; i++) {
        struct sim_node *node = sim->nodes[i];
        node->disk->ops->destroy(node->disk);
        free(node);
        sim->nodes[i] = NULL;
    }
}

struct sim_node *nodes_leader(struct sim *sim)
{
    struct sim_node *leader = NULL;
    uint64_t term = 0;
    for (uint32_t i = 0; i < sim->n_nodes; i++) {
        struct replica_status status;
        if (!sim->nodes[i]->up) {
            continue;
        }
        replica_get_status(sim->nodes[i]->replica, &status);
        if (status.state == REPLICA_LEADER && status.term > term) {
            leader = sim->nodes[i];
            term = status.term;
        }
    }
    return leader;
}

bool node_votes(const struct sim_node *node)
{
    if (node->sim->profile->newcomers == 0) {
        return !node->lost;
    }
    const struct replica_member *members;
    const struct sim_node *leader = nodes_leader(node->sim);
    uint32_t n = leader == NULL ? 0 : replica_members(leader->replica, &members);
    for (uint32_t i = 0; i < n; i++) {
        if (members[i].id == node->id) {
            return members[i].role == REPLICA_VOTER;
        }
    }
    return false;
}
