/* What the core looks at every now and then: gauges, readiness, disk space, the watchdog, newcomers. */
#include "base/check.h"
#include "base/clock.h"
#include "node/core_audit.h"
#include "node/core_hooks.h"
#include "node/core_lease.h"
#include "node/metrics.h"
#include "node/notify.h"
#include "proto/health.h"

#define PULSE_MS 100
/* Free space is looked at once in so many pulses. */
#define SPACE_PULSES 10
/* A readiness probe that no quorum answers within this says "not ready". */
#define PROBE_TIMEOUT_MS 1000

static void on_probe(struct replica_read *read, lapse_result result, int64_t time_ms)
{
    struct core *core = read->owner;
    (void)time_ms;
    core->probe_waits = false;
    metric_set(METRIC_READY, lapse_is_ok(result));
    health_set(lapse_is_ok(result));
}

static int64_t peers_up(const struct core *core)
{
    const struct replica_member *members = NULL;
    uint32_t n = replica_members(core->replica, &members);
    int64_t up = 0;
    for (uint32_t i = 0; i < n; i++)
        up += members[i].id != core->config.node_id && peers_is_up(core->peers, members[i].id, true);
    return up;
}

/* Numbers that nobody asks for more often than a scrape does. */
static void set_gauges(struct core *core)
{
    metric_set(METRIC_PEERS_UP, peers_up(core));
    struct replica_status status;
    struct store_counts counts;
    replica_get_status(core->replica, &status);
    store_counts(replica_store(core->replica), &counts);
    atomic_store_explicit(&core->time_ms, status.time_ms, memory_order_relaxed);
    metric_set(METRIC_COMMIT_INDEX, (int64_t)status.commit_index);
    metric_set(METRIC_APPLIED_INDEX, (int64_t)status.applied_index);
    metric_set(METRIC_ELECTIONS, (int64_t)status.elections);
    metric_set(METRIC_HINTS_TAKEN, (int64_t)status.hints.taken);
    metric_set(METRIC_HINTS_BEGUN, (int64_t)status.hints.begun);
    metric_set(METRIC_HINTS_WRONG, (int64_t)status.hints.wrong);
    metric_set(METRIC_SNAPSHOTS_TAKEN, (int64_t)status.snapshots_taken);
    metric_set(METRIC_SNAPSHOTS_INSTALLED, (int64_t)status.snapshots_installed);
    metric_set(METRIC_REVISION, (int64_t)store_revision(replica_store(core->replica)));
    metric_set(METRIC_LIVE_GRANTS, (int64_t)counts.live);
    metric_set(METRIC_ENDED_GRANTS, (int64_t)counts.ended);
    metric_set(METRIC_STORE_BYTES, (int64_t)counts.bytes);
    core_lease_set_gauges(core);
    core_audit_set_gauges(core);
}

static void feed_watchdog(struct core *core)
{
    int64_t now_us = clock_boot_us();
    if (core->watchdog_us == 0 || now_us - core->watchdog_fed_us < core->watchdog_us)
        return;
    core->watchdog_fed_us = now_us;
    notify_watchdog();
}

bool core_is_leader(const struct core *core)
{
    struct replica_status status;
    replica_get_status(core->replica, &status);
    return status.state == REPLICA_LEADER;
}

/* A newcomer that has caught up becomes a voter: the leader tries until it has happened. */
static void promote_newcomers(struct core *core)
{
    const struct replica_member *members = NULL;
    struct lapse_error error;
    uint32_t n = core_is_leader(core) ? replica_members(core->replica, &members) : 0;
    for (uint32_t i = 0; i < n; i++) {
        if (members[i].role != REPLICA_SPARE)
            continue;
        /* Refused while it is under way, or while the newcomer is out of reach. */
        if (lapse_is_ok(replica_promote(core->replica, members[i].id, &error)))
            log_info("a new node is catching up", LOG_U64("node", members[i].id));
        return;
    }
}

static void on_pulse(uv_timer_t *timer)
{
    struct core *core = timer->data;
    feed_watchdog(core);
    if (core->pulses++ % SPACE_PULSES == 0)
        log_look_at_space(core->log);
    bool low = log_is_low_on_space(core->log);
    set_gauges(core);
    metric_set(METRIC_LOW_ON_SPACE, low);
    replica_set_low_on_space(core->replica, low || core_audit_is_full(core));
    promote_newcomers(core);
    core_cluster_transferred(core, 0, clock_boot_ms());
    core_hooks_pulse(core);
    if (!core->probe_waits && core->fatal.code == LAPSE_OK) {
        core->probe_waits = true;
        core->probe = (struct replica_read){.done = on_probe, .owner = core};
        replica_read(core->replica, &core->probe, PROBE_TIMEOUT_MS);
    }
}

void core_pulse_start(struct core *core)
{
    CHECK(uv_timer_start(&core->pulse, on_pulse, 0, PULSE_MS) == 0);
}
