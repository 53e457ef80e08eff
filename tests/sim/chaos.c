/* Faults overlap freely. Each has one undo, scheduled when it begins; undoing what has healed already does nothing. */
#include "tests/sim/chaos.h"

#include <stdlib.h>

#include "tests/sim/network.h"
#include "tests/sim/node.h"
#include "tests/sim/point.h"
#include "tests/sim/virtual_disk.h"

struct chaos {
    struct sim *sim;
    uint32_t total_weight;
};

static struct sim_node *draw_node(struct sim *sim)
{
    return sim->nodes[sim_below(sim, sim->n_nodes)];
}

/* Leaders are what faults are about. */
static struct sim_node *draw_victim(struct sim *sim)
{
    struct sim_node *leader = nodes_leader(sim);
    return leader != NULL && sim_chance(sim, 400000) ? leader : draw_node(sim);
}

static int64_t draw_length(struct sim *sim)
{
    return sim_around(sim, sim->profile->fault_length_us);
}

/* --- Undoing --- */

static void undo_end(void *arg, uint64_t tag)
{
    (void)tag;
    struct sim_node *node = arg;
    if (!node->up) {
        node_start(node);
    }
}

static void undo_pause(void *arg, uint64_t tag)
{
    (void)tag;
    node_resume(arg);
}

static void undo_disk(void *arg, uint64_t tag)
{
    (void)tag;
    struct sim_node *node = arg;
    node->disk_slowness = 1;
    node->disk_faulty = false;
    virtual_disk_heal(node->disk);
    virtual_disk_set_capacity(node->disk, 0);
}

/* The tag is from * SIM_NODES_MAX + to. */
static void undo_cut(void *arg, uint64_t tag)
{
    struct sim *sim = arg;
    network_mend(sim->network, (uint32_t)(tag / SIM_NODES_MAX), (uint32_t)(tag % SIM_NODES_MAX));
}

static void undo_delay(void *arg, uint64_t tag)
{
    struct sim *sim = arg;
    network_set_delay(sim->network, (uint32_t)(tag / SIM_NODES_MAX), (uint32_t)(tag % SIM_NODES_MAX), 0);
}

/* --- Doing --- */

static void end_one(struct sim_node *node, enum node_end how)
{
    node_end(node, how);
    sim_after(node->sim, draw_length(node->sim), undo_end, node, 0);
}

static void end_all(struct sim *sim, enum node_end how)
{
    for (uint32_t i = 0; i < sim->n_nodes; i++) {
        end_one(sim->nodes[i], how);
    }
}

static void bounce(struct sim_node *node)
{
    node_end(node, NODE_KILLED);
    sim_after(node->sim, sim_between(node->sim, 5, 100) * SIM_MILLISECOND, undo_end, node, 0);
}

static void pause_one(struct sim_node *node, int64_t length_us)
{
    if (node->up && !node->paused) {
        node_pause(node);
        sim_after(node->sim, length_us, undo_pause, node, 0);
    }
}

static void pause_later(void *arg, uint64_t length_us)
{
    struct sim_node *node = arg;
    if (!node->sim->healed) {
        pause_one(node, (int64_t)length_us);
    }
}

/* They stop and wake up in any order: between the first and the last of them, who is awake acts on what it knew. */
static void pause_all(struct sim *sim)
{
    int64_t length_us = draw_length(sim);
    if (sim_chance(sim, 400000)) {
        length_us += (1 + (int64_t)sim_below(sim, 2)) * sim->profile->point_lease_ms * SIM_MILLISECOND;
    }
    for (uint32_t i = 0; i < sim->n_nodes; i++) {
        int64_t own_us = length_us + sim_between(sim, 0, 500) * SIM_MILLISECOND;
        sim_after(sim, sim_between(sim, 0, 50) * SIM_MILLISECOND, pause_later, sim->nodes[i], (uint64_t)own_us);
    }
}

static void cut(struct sim *sim, uint32_t from, uint32_t to, bool hold, int64_t length_us)
{
    network_cut(sim->network, from, to, hold);
    sim_after(sim, length_us, undo_cut, sim, from * SIM_NODES_MAX + to);
}

static void isolate(struct sim *sim, const struct sim_node *node, bool inward, bool outward)
{
    bool hold = sim_chance(sim, 400000);
    int64_t length_us = draw_length(sim);
    for (uint32_t i = 0; i < sim->n_nodes; i++) {
        if (i == node->place) {
            continue;
        }
        if (inward) {
            cut(sim, i, node->place, hold, length_us);
        }
        if (outward) {
            cut(sim, node->place, i, hold, length_us);
        }
    }
}

/* Two nodes, in both directions; every third one reaches both. */
static void bridge(struct sim *sim)
{
    uint32_t a = (uint32_t)sim_below(sim, sim->n_nodes);
    uint32_t b = (a + 1 + (uint32_t)sim_below(sim, sim->n_nodes - 1)) % sim->n_nodes;
    bool hold = sim_chance(sim, 400000);
    int64_t length_us = draw_length(sim);
    cut(sim, a, b, hold, length_us);
    cut(sim, b, a, hold, length_us);
}

static void draw_link(struct sim *sim, uint32_t *from, uint32_t *to)
{
    *from = (uint32_t)sim_below(sim, sim->n_nodes);
    *to = (*from + 1 + (uint32_t)sim_below(sim, sim->n_nodes - 1)) % sim->n_nodes;
}

static void slow_link(struct sim *sim)
{
    uint32_t from, to;
    draw_link(sim, &from, &to);
    network_set_delay(sim->network, from, to, sim_between(sim, 5, 120) * SIM_MILLISECOND);
    sim_after(sim, draw_length(sim), undo_delay, sim, from * SIM_NODES_MAX + to);
}

static void break_link(struct sim *sim)
{
    uint32_t from, to;
    draw_link(sim, &from, &to);
    network_break(sim->network, from, to);
}

static void disk_fault(struct sim *sim, enum fault fault)
{
    struct sim_node *node = draw_victim(sim);
    node->disk_faulty = node->disk_faulty || fault != FAULT_DISK_SLOW;
    if (fault == FAULT_DISK_SLOW) {
        node->disk_slowness = (uint32_t)sim_between(sim, 5, 300);
    } else if (fault == FAULT_DISK_FULL) {
        virtual_disk_set_capacity(node->disk, 1);
    } else if (sim_chance(sim, 500000)) {
        virtual_disk_fail_write(node->disk, 1 + sim_below(sim, 6));
    } else {
        virtual_disk_fail_sync(node->disk, 1 + sim_below(sim, 4));
    }
    sim_after(sim, draw_length(sim), undo_disk, node, 0);
}

/* At most as many nodes as may be lost. */
static void rot(struct sim *sim)
{
    uint32_t rotten = 0, n_names = 0;
    struct sim_node *node = draw_node(sim);
    for (uint32_t i = 0; i < sim->n_nodes; i++) {
        rotten += sim->nodes[i]->rotten;
    }
    if (2 * (rotten + 1) >= sim->n_voters || node->rotten || !node->up) {
        return;
    }
    end_one(node, NODE_KILLED);
    node->rotten = true;
    while (virtual_disk_name(node->disk, n_names) != NULL) {
        n_names++;
    }
    const char *name = virtual_disk_name(node->disk, sim_below(sim, n_names));
    uint64_t size = virtual_disk_size(node->disk, name);
    if (size == 0) {
        return;
    }
    uint64_t span = sim_chance(sim, 500000) && size > 4096 ? 4096 : size;
    uint64_t offset = sim_below(sim, span);
    bool flipped = virtual_disk_flip(node->disk, name, offset, (uint8_t)(1u << sim_below(sim, 8)));
    sim_trace(sim, node->id, name, offset, flipped, 0);
}

static void step_wall(struct sim *sim)
{
    int64_t max_ms = sim->profile->wall_step_ms;
    node_step_wall(draw_victim(sim), sim_between(sim, -max_ms, max_ms) >> sim_below(sim, 16));
}

static void transfer(struct sim *sim)
{
    struct sim_node *leader = nodes_leader(sim);
    struct lapse_error error;
    if (leader == NULL || leader->paused || leader->fatal) {
        return;
    }
    /* Refused when it has none to hand over to, or no longer leads. */
    lapse_result result = replica_transfer(leader->replica, sim_chance(sim, 500000) ? 0 : draw_node(sim)->id, &error);
    sim_trace(sim, leader->id, "transfer", result.code, 0, 0);
}

static void hear_gone(void *arg, uint64_t id)
{
    struct sim_node *node = arg;
    if (!node->sim->healed) {
        node_hear_gone(node, id);
    }
}

/* One is said to be gone, a few times: to all or some of the others, at about the same moment. */
static void mislead(struct sim *sim)
{
    const struct sim_node *about = draw_victim(sim);
    int64_t length_us = draw_length(sim);
    for (uint64_t n = 1 + sim_below(sim, 8); n > 0; n--) {
        int64_t at_us = sim_between(sim, 1, length_us);
        for (uint32_t i = 0; i < sim->n_nodes; i++) {
            if (i != about->place && sim_chance(sim, 700000)) {
                sim_after(sim, at_us + sim_between(sim, 0, 3000), hear_gone, sim->nodes[i], about->id);
            }
        }
    }
}

static void press(void *arg, uint64_t percent)
{
    struct sim_node *node = arg;
    if (node->replica != NULL) {
        replica_set_pressure(node->replica, (uint32_t)percent);
    }
}

/* Its audit database does not keep up for a while. */
static void fall_behind(struct sim *sim)
{
    struct sim_node *node = draw_victim(sim);
    press(node, sim_below(sim, 101));
    sim_after(sim, draw_length(sim), press, node, 0);
}

/* There stay as many voters as there were at the start. */
static lapse_result change_member(struct sim *sim, struct replica *leader, uint64_t id, struct lapse_error *error)
{
    const struct replica_member *members;
    uint32_t n = replica_members(leader, &members);
    uint32_t voters = 0, at = n;
    for (uint32_t i = 0; i < n; i++) {
        voters += members[i].role == REPLICA_VOTER;
        at = members[i].id == id ? i : at;
    }
    if (at == n) {
        return replica_add(leader, id, node_address((uint32_t)id - 1), error);
    }
    if (members[at].role == REPLICA_VOTER) {
        return voters > sim->n_voters ? replica_remove(leader, id, error) : lapse_ok();
    }
    return sim_chance(sim, 200000) ? replica_remove(leader, id, error) : replica_promote(leader, id, error);
}

static void change_members(struct sim *sim)
{
    struct sim_node *leader = nodes_leader(sim);
    struct lapse_error error;
    if (leader == NULL || leader->paused || leader->fatal) {
        return;
    }
    /* Refused while another change is under way. */
    uint64_t id = draw_node(sim)->id;
    lapse_result result = change_member(sim, leader->replica, id, &error);
    sim_trace(sim, leader->id, "change-member", id, result.code, 0);
}

static void strike_network(struct sim *sim, enum fault fault)
{
    struct sim_node *leader = nodes_leader(sim);
    bool way = sim_chance(sim, 500000);
    if (sim->n_nodes == 1) {
        return;
    }
    switch (fault) {
    case FAULT_ISOLATE:
        isolate(sim, draw_node(sim), true, true);
        break;
    case FAULT_ISOLATE_LEADER:
        isolate(sim, leader == NULL ? draw_node(sim) : leader, true, true);
        break;
    case FAULT_ONE_WAY:
        isolate(sim, draw_victim(sim), way, !way);
        break;
    case FAULT_BRIDGE:
        bridge(sim);
        break;
    case FAULT_SLOW_LINK:
        slow_link(sim);
        break;
    default:
        break_link(sim);
        break;
    }
}

static void strike(struct sim *sim, enum fault fault)
{
    sim_trace(sim, 0, fault_name(fault), 0, 0, 0);
    switch (fault) {
    case FAULT_CRASH:
        end_one(draw_victim(sim), NODE_KILLED);
        break;
    case FAULT_POWER_LOSS:
        end_one(draw_victim(sim), NODE_POWER_LOST);
        break;
    case FAULT_CRASH_ALL:
        end_all(sim, NODE_KILLED);
        break;
    case FAULT_POWER_LOSS_ALL:
        end_all(sim, NODE_POWER_LOST);
        break;
    case FAULT_BOUNCE:
        bounce(draw_victim(sim));
        break;
    case FAULT_PAUSE:
        pause_one(draw_victim(sim), draw_length(sim));
        break;
    case FAULT_PAUSE_ALL:
        pause_all(sim);
        break;
    case FAULT_WALL_STEP:
        step_wall(sim);
        break;
    case FAULT_DISK_FAIL:
    case FAULT_DISK_FULL:
    case FAULT_DISK_SLOW:
        disk_fault(sim, fault);
        break;
    case FAULT_DISK_ROT:
        rot(sim);
        break;
    case FAULT_PRESSURE:
        fall_behind(sim);
        break;
    case FAULT_FALSE_HINT:
        mislead(sim);
        break;
    case FAULT_TRANSFER:
        transfer(sim);
        break;
    case FAULT_MEMBERS:
        change_members(sim);
        break;
    case FAULT_POINT_PAUSE:
    case FAULT_POINT_CRASH:
    case FAULT_POINT_GOODBYE:
    case FAULT_POINT_CUT:
    case FAULT_POINT_MOVE:
    case FAULT_POINT_SLOW:
    case FAULT_POINT_TWIN:
        sim_points_strike(sim->points, fault);
        break;
    default:
        strike_network(sim, fault);
        break;
    }
}

static enum fault draw_fault(struct chaos *chaos)
{
    uint64_t ball = sim_below(chaos->sim, chaos->total_weight);
    enum fault fault = 0;
    while (ball >= chaos->sim->profile->weights[fault]) {
        ball -= chaos->sim->profile->weights[fault];
        fault++;
    }
    return fault;
}

static void turn(void *arg, uint64_t tag)
{
    struct chaos *chaos = arg;
    if (chaos->sim->healed) {
        return;
    }
    strike(chaos->sim, draw_fault(chaos));
    sim_after(chaos->sim, sim_around(chaos->sim, chaos->sim->profile->fault_gap_us), turn, chaos, tag);
}

struct chaos *chaos_new(struct sim *sim)
{
    struct chaos *chaos = mem_calloc(1, sizeof(*chaos));
    chaos->sim = sim;
    for (uint32_t i = 0; i < FAULT_COUNT; i++) {
        chaos->total_weight += sim->profile->weights[i];
    }
    if (chaos->total_weight > 0) {
        sim_after(sim, sim_around(sim, sim->profile->fault_gap_us), turn, chaos, 0);
    }
    return chaos;
}

void chaos_free(struct chaos *chaos)
{
    free(chaos);
}

void chaos_heal(struct chaos *chaos)
{
    struct sim *sim = chaos->sim;
    sim->healed = true;
    network_heal(sim->network);
    for (uint32_t i = 0; i < sim->n_nodes; i++) {
        undo_disk(sim->nodes[i], 0);
        undo_pause(sim->nodes[i], 0);
        undo_end(sim->nodes[i], 0);
    }
    sim_points_heal(sim->points);
}
