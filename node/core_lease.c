#include "node/core_lease.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "node/core_barrier.h"
#include "node/lease_frame.h"
#include "node/lease_leader.h"
#include "node/metrics.h"

/* A proposal that is not applied by then counts as lost: the leader decides again. */
#define PROPOSAL_TIMEOUT_MS 5000

struct core_lease {
    struct lease_node *node; /* NULL once closed */
    struct lease_leader *leader;
    uint64_t led_term;   /* that lease_leader has begun; 0: not leading */
    bool ready;          /* as last told to lease_leader */
    bool applied;        /* the store has changed since lease_node was last told */
    bool applied_leader; /* likewise lease_leader */
    bool gave;           /* the replica has got something since its last flush */
};

/* --- what the leases ask for -------------------------------------------------------------------------------------- */

static void io_send(void *arg, uint64_t to, struct slice frame)
{
    struct core *core = arg;
    core->lease->gave = true;
    replica_send_lease(core->replica, to, frame);
}

struct proposal {
    struct replica_write write;
    struct core *core;
};

static void on_proposed(struct replica_write *write, const struct store_outcome *outcome)
{
    struct proposal *proposal = write->owner;
    struct core_lease *lease = proposal->core->lease;
    if (outcome->error.code != LAPSE_OK && lease->leader != NULL)
        lease_leader_refused(lease->leader, clock_boot_us());
    free(proposal);
}

static void io_propose(void *arg, const struct command *command)
{
    struct core *core = arg;
    struct proposal *proposal = mem_calloc(1, sizeof *proposal);
    proposal->core = core;
    proposal->write.done = on_proposed;
    proposal->write.owner = proposal;
    proposal->write.leader_only = true;
    core->lease->gave = true;
    replica_write(core->replica, &proposal->write, command, PROPOSAL_TIMEOUT_MS);
}

static int64_t io_evidence_us(void *arg)
{
    struct core *core = arg;
    return replica_evidence_us(core->replica);
}

static int64_t io_time_ms(void *arg)
{
    struct core *core = arg;
    struct replica_status status;
    replica_get_status(core->replica, &status);
    return status.time_ms;
}

static void io_admitted(void *arg, void *owner, uint64_t revision, bool again)
{
    (void)arg;
    (void)again; /* core_point.c knows what it has told */
    core_point_on_admitted(owner, revision);
}

static void io_ended(void *arg, void *owner, enum lease_end why)
{
    (void)arg;
    core_point_on_ended(owner, why);
}

static void io_progress(void *arg, const struct lease_progress *progress)
{
    core_barriers_progress(arg, progress);
}

static const struct lease_node_io node_io = {
    .send = io_send, .on_admitted = io_admitted, .on_ended = io_ended, .on_progress = io_progress};
static const struct lease_leader_io leader_io = {
    .send = io_send, .propose = io_propose, .evidence_us = io_evidence_us, .time_ms = io_time_ms};

/* --- life --------------------------------------------------------------------------------------------------------- */

void core_lease_open(struct core *core)
{
    int64_t now_us = clock_boot_us();
    core->lease = mem_calloc(1, sizeof *core->lease);
    core->lease->node = lease_node_new(core->config.node_id, replica_life(core->replica), NULL, now_us, &node_io, core);
    core->lease->leader = lease_leader_new(NULL, now_us, LEASE_BROKEN_NOTHING, &leader_io, core);
}

void core_lease_close(struct core *core)
{
    if (core->lease == NULL)
        return;
    core_points_end(core);
    lease_node_free(core->lease->node);
    lease_leader_free(core->lease->leader);
    core->lease->node = NULL;
    core->lease->leader = NULL;
}

void core_lease_free(struct core *core)
{
    core_lease_close(core);
    free(core->lease);
    core->lease = NULL;
}

/* --- what the replica tells --------------------------------------------------------------------------------------- */

void core_lease_on_leadership(struct core *core, enum replica_state state, uint64_t leader, uint64_t term)
{
    struct core_lease *lease = core->lease;
    lease_node_set_term(lease->node, term, leader, clock_boot_us());
    if (lease->led_term != 0 && (state != REPLICA_LEADER || lease->led_term != term)) {
        lease_leader_end(lease->leader);
        lease->led_term = 0;
    }
    if (state == REPLICA_LEADER && lease->led_term == 0) {
        lease->led_term = term;
        lease->ready = false;
        lease->applied_leader = true;
        lease_leader_begin(lease->leader, term, replica_leading_since_us(core->replica));
    }
}

void core_lease_on_members(struct core *core, const struct replica_member *members, uint32_t n)
{
    uint64_t ids[LIMIT_PEERS];
    CHECK(n <= ARRAY_LEN(ids));
    for (uint32_t i = 0; i < n; i++)
        ids[i] = members[i].id;
    lease_leader_set_members(core->lease->leader, ids, n, clock_boot_us());
}

void core_lease_on_frame(struct core *core, uint64_t from, uint64_t life, uint64_t term, struct slice frame)
{
    if (lease_frame_for_leader(frame))
        lease_leader_receive(core->lease->leader, from, life, term, frame, clock_boot_us());
    else
        lease_node_receive(core->lease->node, from, term, frame, clock_boot_us());
}

void core_lease_on_applied(struct core *core)
{
    core->lease->applied = core->lease->applied_leader = true;
}

void core_lease_on_store_replaced(struct core *core)
{
    const struct store *store = replica_store(core->replica);
    lease_node_set_store(core->lease->node, store, clock_boot_us());
    lease_leader_set_store(core->lease->leader, store);
    core_lease_on_applied(core);
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

static void tell_node_applied(struct core *core)
{
    if (!core->lease->applied)
        return;
    core->lease->applied = false;
    lease_node_applied(core->lease->node, clock_boot_us());
    core_points_applied(core);
}

/* Being ready changes without a command: the first entry of a term holds none. */
static void tell_leader_applied(struct core *core)
{
    struct core_lease *lease = core->lease;
    bool ready = lease->led_term != 0 && replica_is_ready(core->replica);
    if (!lease->applied_leader && ready == lease->ready)
        return;
    lease->applied_leader = false;
    lease->ready = ready;
    lease_leader_applied(lease->leader, ready, clock_boot_us());
}

bool core_lease_flush(struct core *core)
{
    struct core_lease *lease = core->lease;
    lease->gave = false;
    tell_node_applied(core);
    tell_leader_applied(core);
    lease_node_flush(lease->node, clock_boot_us());
    lease_leader_flush(lease->leader, clock_boot_us());
    return lease->gave;
}

void core_lease_tick(struct core *core)
{
    lease_node_tick(core->lease->node, clock_boot_us());
    lease_leader_tick(core->lease->leader, clock_boot_us());
}

int64_t core_lease_next_due_us(const struct core *core)
{
    int64_t node_us = lease_node_next_due_us(core->lease->node);
    int64_t leader_us = lease_leader_next_due_us(core->lease->leader);
    return node_us < leader_us ? node_us : leader_us;
}

/* A promise must not overlook what the store holds already and lease_node was not told yet. */
struct lease_node *core_lease_node(struct core *core)
{
    if (core->lease->node != NULL)
        tell_node_applied(core);
    return core->lease->node;
}

int64_t core_lease_time_us(const struct core *core)
{
    struct replica_status status;
    replica_get_status(core->replica, &status);
    return status.time_ms * 1000;
}

/* --- figures ------------------------------------------------------------------------------------------------------ */

static int64_t oldest_barrier_ms(const struct core *core)
{
    struct barrier oldest;
    int64_t now_ms = core_time_ms(core);
    if (!store_barrier_next_open(replica_store(core->replica), 0, &oldest) || now_ms < oldest.time_ms)
        return 0;
    return now_ms - oldest.time_ms;
}

void core_lease_set_gauges(struct core *core)
{
    struct lease_node_status node;
    struct lease_leader_status leader;
    const struct store *store = replica_store(core->replica);
    int64_t now_us = clock_boot_us();
    lease_node_get_status(core->lease->node, now_us, &node);
    lease_leader_get_status(core->lease->leader, now_us, &leader);
    metric_set(METRIC_NODE_LEASE, node.holds_lease);
    metric_set(METRIC_POINTS, store_points(store));
    metric_set(METRIC_PROMISES, (int64_t)node.promises);
    metric_set(METRIC_PROMISES_REFUSED, (int64_t)node.refused_promises);
    metric_set(METRIC_BARRIERS_OPEN, store_barriers_open(store));
    metric_set(METRIC_BARRIER_OLDEST_MS, oldest_barrier_ms(core));
    metric_set(METRIC_RECEIPTS_ENFORCED, (int64_t)leader.receipts_enforced);
    metric_set(METRIC_RECEIPTS_FAILED, (int64_t)leader.receipts_failed);
    metric_set(METRIC_RECEIPTS_LAPSED, (int64_t)leader.receipts_lapsed);
    metric_set(METRIC_RECEIPTS_LEFT, (int64_t)leader.receipts_left);
}
