/* Counters and gauges of the process, readable by any thread at any time (GET /metrics, Cluster.Status).
 *
 * Every metric is one line of the table below; node/metrics.c renders the table in Prometheus' text format 0.0.4. */
#ifndef LAPSE_NODE_METRICS_H
#define LAPSE_NODE_METRICS_H

#include <stdatomic.h>

#include "base/bytes.h"

/*      identifier                 type     name in Prometheus                         help */
#define METRICS(X)                                                                                                          \
    X(METRIC_LEADER, gauge, "lapse_is_leader", "1 on the leader")                                                           \
    X(METRIC_TERM, gauge, "lapse_raft_term", "Raft term")                                                                   \
    X(METRIC_COMMIT_INDEX, gauge, "lapse_raft_commit_index", "Highest committed log index")                                 \
    X(METRIC_APPLIED_INDEX, gauge, "lapse_raft_applied_index", "Highest applied log index")                                 \
    X(METRIC_ELECTIONS, counter, "lapse_raft_elections_total", "Terms seen to begin since start")                           \
    X(METRIC_HINTS_TAKEN, counter, "lapse_raft_early_given_up_total", "Leaders given up before the election timeout, since their process was gone") \
    X(METRIC_HINTS_BEGUN, counter, "lapse_raft_early_elections_total", "Elections that this node began for that")            \
    X(METRIC_HINTS_WRONG, counter, "lapse_raft_early_wrong_total", "Leaders given up so that turned out to live")            \
    X(METRIC_SNAPSHOTS_TAKEN, counter, "lapse_snapshots_taken_total", "Snapshots taken")                                    \
    X(METRIC_SNAPSHOTS_INSTALLED, counter, "lapse_snapshots_installed_total", "Snapshots received from a leader")           \
    X(METRIC_REVISION, gauge, "lapse_revision", "Revision of the store")                                                    \
    X(METRIC_LIVE_GRANTS, gauge, "lapse_grants_live", "Grants that have not ended")                                         \
    X(METRIC_ENDED_GRANTS, gauge, "lapse_grants_ended", "Ended grants still in memory")                                     \
    X(METRIC_STORE_BYTES, gauge, "lapse_store_bytes", "Memory held by the store")                                           \
    X(METRIC_EXPIRED, counter, "lapse_grants_expired_total", "Grants ended by their deadline")                              \
    X(METRIC_REVOKED, counter, "lapse_grants_revoked_total", "Grants revoked")                                              \
    X(METRIC_EXPIRY_LATENESS_MS_MAX, gauge, "lapse_expiry_lateness_ms_max", "Longest time between a deadline and its expiry event, ms of cluster time") \
    X(METRIC_WRITES, counter, "lapse_writes_total", "Writes taken by this node")                                            \
    X(METRIC_WRITES_FAILED, counter, "lapse_writes_failed_total", "Writes of this node that ended without a known outcome") \
    X(METRIC_READS, counter, "lapse_reads_total", "Linearizable reads taken by this node")                                  \
    X(METRIC_CALLS, counter, "lapse_grpc_calls_total", "gRPC calls begun")                                                  \
    X(METRIC_CALLS_REFUSED, counter, "lapse_grpc_calls_refused_total", "gRPC calls refused before they began")              \
    X(METRIC_CONNECTIONS, gauge, "lapse_connections", "Open client connections")                                            \
    X(METRIC_CONNECTIONS_REFUSED, counter, "lapse_connections_refused_total", "Client connections refused or failed in the handshake") \
    X(METRIC_WATCHERS, gauge, "lapse_watchers", "Open Watch streams")                                                       \
    X(METRIC_EVENTS_SENT, counter, "lapse_watch_events_sent_total", "Events sent to watchers and enforcement points")       \
    X(METRIC_RESYNCS, counter, "lapse_watch_resyncs_total", "Watchers told to resync")                                      \
    X(METRIC_POINTS, gauge, "lapse_points", "Enforcement points that are registered")                                       \
    X(METRIC_NODE_LEASE, gauge, "lapse_node_lease", "1 while this node may make promises to enforcement points")            \
    X(METRIC_PROMISES, counter, "lapse_promises_total", "Pings of enforcement points answered with a promise")              \
    X(METRIC_PROMISES_REFUSED, counter, "lapse_promises_refused_total", "Pings of enforcement points answered without a promise") \
    X(METRIC_BARRIERS_OPEN, gauge, "lapse_barriers_open", "Revocations that some enforcement point has not confirmed")      \
    X(METRIC_BARRIER_OLDEST_MS, gauge, "lapse_barrier_oldest_ms", "Age of the oldest of them, ms of cluster time")          \
    X(METRIC_RECEIPTS_ENFORCED, counter, "lapse_receipts_enforced_total", "Receipts ENFORCED that this node has proposed as leader") \
    X(METRIC_RECEIPTS_FAILED, counter, "lapse_receipts_failed_total", "Receipts FAILED that this node has proposed as leader") \
    X(METRIC_RECEIPTS_LAPSED, counter, "lapse_receipts_lapsed_total", "Receipts LAPSED that this node has proposed as leader") \
    X(METRIC_RECEIPTS_LEFT, counter, "lapse_receipts_left_total", "Receipts LEFT that this node has proposed as leader")    \
    X(METRIC_BARRIER_WAITS, gauge, "lapse_barrier_waits", "Calls that wait for a revocation to be confirmed")               \
    X(METRIC_POINT_STREAMS, gauge, "lapse_point_streams", "Enforcement points that this node serves")                       \
    X(METRIC_POINT_REGISTRATIONS, counter, "lapse_point_registrations_total", "Streams of enforcement points that were admitted") \
    X(METRIC_POINT_RESYNCS, counter, "lapse_point_resyncs_total", "Enforcement points told to resync")                      \
    X(METRIC_POINT_FALSE_CURSORS, counter, "lapse_point_false_cursors_total", "Enforcement points that claimed a revision which does not exist") \
    X(METRIC_POINT_FALSE_ACKS, counter, "lapse_point_false_acks_total", "Acknowledgements of what was never sent")          \
    X(METRIC_POINT_REPORTS_REFUSED, counter, "lapse_point_reports_refused_total", "Sessions reported by enforcement points that were not recorded") \
    X(METRIC_WEBHOOKS, gauge, "lapse_webhooks", "Webhooks of this node that the cluster knows, and tells from some revision on") \
    X(METRIC_WEBHOOK_DELIVERED, counter, "lapse_webhook_delivered_total", "Events that webhooks have taken from this node")  \
    X(METRIC_WEBHOOK_FAILED, counter, "lapse_webhook_failed_total", "Attempts at webhooks that failed")                     \
    X(METRIC_WEBHOOK_DROPPED, counter, "lapse_webhook_dropped_total", "Events that were given up after give-up-after")      \
    X(METRIC_AUDIT_REVISION, gauge, "lapse_audit_revision", "Revision up to which the audit database has every record")     \
    X(METRIC_AUDIT_LAG, gauge, "lapse_audit_lag", "Revisions that the store is ahead of it")                                \
    X(METRIC_AUDIT_GAPS, counter, "lapse_audit_gaps_total", "Stretches of records that went missing and are got from other nodes") \
    X(METRIC_AUDIT_CORRUPT, counter, "lapse_audit_corrupt_total", "Audit databases that did not verify and were put aside") \
    X(METRIC_AUDIT_ROLLBACKS, counter, "lapse_audit_rollbacks_total", "Signed heads brought by enforcement points that are no longer in our history") \
    X(METRIC_AUDIT_DISPUTES, counter, "lapse_audit_disputes_total", "Signed heads of other nodes that contradict our records") \
    X(METRIC_AUDIT_FULL, gauge, "lapse_audit_full", "1 while the audit database's disk is full and what makes new access is refused") \
    X(METRIC_PEERS_UP, gauge, "lapse_peers_up", "Peers with an outgoing link")                                              \
    X(METRIC_CLOCK_FAULTS, counter, "lapse_clock_faults_total", "Wall clocks found to disagree beyond the limit")           \
    X(METRIC_LOOP_US_MAX, gauge, "lapse_core_loop_us_max", "Longest iteration of the core loop since start, microseconds")  \
    X(METRIC_LOOP_US_RECENT, gauge, "lapse_core_loop_us_recent", "The same in the last 10 to 20 seconds")                  \
    X(METRIC_LOW_ON_SPACE, gauge, "lapse_disk_low", "1 while the disk reserve is touched and new grants are refused")       \
    X(METRIC_READY, gauge, "lapse_ready", "1 when the node serves linearizable calls")

#define METRIC_ENUM(id, type, name, help) id,
enum metric { METRICS(METRIC_ENUM) METRIC_COUNT };
#undef METRIC_ENUM

extern _Atomic(int64_t) metrics[METRIC_COUNT];

static inline void metric_set(enum metric metric, int64_t value)
{
    atomic_store_explicit(&metrics[metric], value, memory_order_relaxed);
}
static inline void metric_add(enum metric metric, int64_t value)
{
    atomic_fetch_add_explicit(&metrics[metric], value, memory_order_relaxed);
}
static inline int64_t metric_get(enum metric metric)
{
    return atomic_load_explicit(&metrics[metric], memory_order_relaxed);
}
/* Raises a gauge that keeps a maximum. */
void metric_max(enum metric metric, int64_t value);
/* Appends the exposition; also build_info{version="..."} and process start time. */
lapse_result metrics_render(struct buf *out) LAPSE_MUST_USE;

#endif
