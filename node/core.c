#include "node/core.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "node/bootstrap.h"
#include "node/core_audit.h"
#include "node/core_barrier.h"
#include "node/core_hooks.h"
#include "node/core_lease.h"
#include "node/host_port.h"
#include "node/metrics.h"
#include "node/notify.h"
#include "proto/encode.h"

#define STEP_DOWN_POLL_MS 10
#define FLUSH_ROUNDS 4
#define CORE_MAILBOX_MAX 65536u
/* What a WatchResponse adds to an event, at most. */
#define WATCH_EVENT_HEAD 32u

/* --- what the replica asks for --------------------------------------------------------------------------------- */

static void io_clock(void *arg, struct replica_time *now)
{
    (void)arg;
    now->boot_us = clock_boot_us();
    now->wall_ms = clock_wall_ms();
}

static void submit_jobs(struct core *core)
{
    while (core->jobs != NULL) {
        struct storage_job *job = core->jobs;
        core->jobs = job->next;
        disk_thread_submit(core->disk_thread, job);
    }
    core->last_job = &core->jobs;
}

/* A leader's frames with new entries go out before its own disk is woken, which may take this thread's place: two
 * followers, or one and this node, make a majority, and those have further to go. */
static void io_storage(void *arg, struct storage_job *job)
{
    struct core *core = arg;
    if (core->closing) {
        storage_job_free(job); /* too late to be done: the node is past its last promise */
        return;
    }
    job->next = NULL;
    *core->last_job = job;
    core->last_job = &job->next;
    if (core->replica == NULL || !core_is_leader(core))
        submit_jobs(core);
}

static void io_send(void *arg, uint64_t to, struct slice frame)
{
    struct core *core = arg;
    if (!core->closing)
        peers_send(core->peers, to, frame);
}

static const struct replica_io replica_io = {.clock = io_clock, .storage = io_storage, .send = io_send};

/* --- what the replica tells ------------------------------------------------------------------------------------ */

static void count_event(const struct store_event *event)
{
    if (event->type == STORE_EVENT_EXPIRED) {
        metric_add(METRIC_EXPIRED, 1);
        metric_max(METRIC_EXPIRY_LATENESS_MS_MAX, event->time_ms - event->grant->deadline_ms);
    } else if (event->type == STORE_EVENT_REVOKED) {
        metric_add(METRIC_REVOKED, 1);
    }
}

static void publish_time(struct core *core)
{
    struct replica_status status;
    replica_get_status(core->replica, &status);
    atomic_store_explicit(&core->time_ms, status.time_ms, memory_order_relaxed);
}

static void on_event(void *arg, const struct store_event *event)
{
    struct core *core = arg;
    uint64_t epoch = store_epoch(replica_store(core->replica));
    if (event->type == STORE_EVENT_INITIALIZED)
        ring_set_epoch(core->ring, epoch);
    struct buf bytes;
    buf_init(&bytes, LIMIT_MESSAGE_OUT);
    CHECK(lapse_is_ok(buf_reserve(&bytes, event->encoded.len + WATCH_EVENT_HEAD)));
    CHECK(lapse_is_ok(proto_encode_watch_event(epoch, event->encoded, &bytes)));
    ring_append(core->ring, ring_event_new(event, blob_new(buf_slice(&bytes))));
    buf_free(&bytes);
    core_audit_event(core, event);
    count_event(event);
    core_barriers_event(core, event);
    core->events_waiting = true;
}

static void on_applied(void *arg, uint64_t index, const struct command *command, const struct store_outcome *outcome)
{
    (void)index;
    (void)command;
    (void)outcome;
    core_lease_on_applied(arg);
}

static void on_store_replaced(void *arg)
{
    struct core *core = arg;
    const struct store *store = replica_store(core->replica);
    ring_reset(core->ring, store_epoch(store), store_revision(store));
    core->events_waiting = true;
    core_audit_replaced(core);
    core_lease_on_store_replaced(core);
    core_barriers_replaced(core);
    log_info("snapshot installed; watchers resync", LOG_U64("revision", store_revision(store)));
}

static const char *state_name(enum replica_state state)
{
    static const char *const names[] = {"follower", "candidate", "leader", "stopped"};
    return (size_t)state < ARRAY_LEN(names) ? names[state] : "unknown";
}

static void on_leadership(void *arg, enum replica_state state, uint64_t leader, uint64_t term)
{
    struct core *core = arg;
    metric_set(METRIC_LEADER, state == REPLICA_LEADER);
    metric_set(METRIC_TERM, (int64_t)term);
    core_cluster_transferred(core, leader, clock_boot_ms());
    core_lease_on_leadership(core, state, leader, term);
    log_info("leadership", LOG_STR("state", state_name(state)), LOG_U64("leader", leader), LOG_U64("term", term));
}

static bool is_member(const struct replica_member *members, uint32_t n, uint64_t id)
{
    for (uint32_t i = 0; i < n; i++)
        if (members[i].id == id)
            return true;
    return false;
}

/* Of all that are no members: some may have been removed while this node was down. */
static void forget_homes(struct core *core, const struct replica_member *members, uint32_t n)
{
    for (uint32_t i = core->homes.n; i > 0; i--)
        if (!is_member(members, n, core->homes.known[i - 1].node))
            homes_forget(&core->homes, core->homes.known[i - 1].node);
}

/* Dials who belongs and hangs up on who no longer does. */
static void on_members(void *arg, const struct replica_member *members, uint32_t n)
{
    struct core *core = arg;
    for (uint32_t i = 0; i < core->n_dialled; i++)
        if (!is_member(members, n, core->dialled[i]))
            peers_remove(core->peers, core->dialled[i]);
    forget_homes(core, members, n);
    core_lease_on_members(core, members, n);
    core_audit_members(core, members, n);
    core->n_dialled = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct lapse_error error;
        if (members[i].id == core->config.node_id)
            continue;
        core->dialled[core->n_dialled++] = members[i].id;
        if (!lapse_is_ok(peers_set(core->peers, members[i].id, members[i].address, &error)))
            log_error("can't use a member's address", LOG_U64("node", members[i].id), LOG_STR("error", error.message));
    }
}

static void on_lease(void *arg, uint64_t from, uint64_t life, uint64_t term, struct slice frame)
{
    core_lease_on_frame(arg, from, life, term, frame);
}

static void on_audit(void *arg, uint64_t from, struct slice frame)
{
    core_audit_frame(arg, from, frame);
}

static bool may_drop(void *arg, uint64_t revision)
{
    return core_audit_may_drop(arg, revision);
}

static void on_fatal(void *arg, const struct lapse_error *error)
{
    struct core *core = arg;
    if (core->fatal.code != LAPSE_OK)
        return;
    core->fatal = *error;
    log_error("this node can't go on", LOG_STR("error", error->message));
    core->handler.on_fatal(core->handler_arg, error);
}

static void on_warning(void *arg, const struct lapse_error *error)
{
    (void)arg;
    if (error->code == LAPSE_FAILED_PRECONDITION)
        metric_add(METRIC_CLOCK_FAULTS, 1);
    log_warn("cluster", LOG_STR("warning", error->message));
}

static const struct replica_observer replica_observer = {
    .on_event = on_event,
    .on_applied = on_applied,
    .on_store_replaced = on_store_replaced,
    .on_leadership = on_leadership,
    .on_members = on_members,
    .on_lease = on_lease,
    .on_audit = on_audit,
    .may_drop = may_drop,
    .on_fatal = on_fatal,
    .on_warning = on_warning,
};

/* --- what disk and peers bring --------------------------------------------------------------------------------- */

static void on_storage_done(void *arg, struct storage_job *job)
{
    struct core *core = arg;
    replica_storage_done(core->replica, job);
}

static void on_frame(void *arg, uint64_t from, struct slice frame)
{
    struct core *core = arg;
    replica_receive(core->replica, from, frame);
}

static void on_link(void *arg, uint64_t id, bool outgoing, bool up, const struct lapse_error *error)
{
    (void)arg;
    const char *direction = outgoing ? "out" : "in";
    if (up)
        log_info("peer connected", LOG_U64("peer", id), LOG_STR("direction", direction));
    else
        log_warn("peer lost", LOG_U64("peer", id), LOG_STR("direction", direction),
                 LOG_STR("error", error != NULL ? error->message : "closed"));
}

static void on_gone(void *arg, uint64_t id)
{
    struct core *core = arg;
    log_warn("peer's process is gone", LOG_U64("peer", id));
    replica_peer_gone(core->replica, id);
}

static lapse_result on_home(void *arg, uint64_t id, uint64_t home, struct lapse_error *error)
{
    struct core *core = arg;
    return homes_check(&core->homes, id, home, error);
}

static const struct peers_handler peers_handler = {.on_frame = on_frame, .on_link = on_link, .on_gone = on_gone, .on_home = on_home};

/* --- the loop --------------------------------------------------------------------------------------------------- */

static void on_due(uv_timer_t *timer)
{
    struct core *core = timer->data;
    replica_tick(core->replica);
    core_lease_tick(core);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t next_due_us(struct core *core)
{
    if (core->leases_gave)
        return 0;
    int64_t due_us = earlier(replica_next_due_us(core->replica), core_lease_next_due_us(core));
    return earlier(due_us, core_barriers_next_due_us(core));
}

static void arm_timer(struct core *core)
{
    int64_t wait_us = next_due_us(core) - clock_boot_us();
    /* Rounded up: waking a millisecond early would only mean waking twice. */
    uint64_t wait_ms = wait_us <= 0 ? 0 : (uint64_t)(wait_us + 999) / 1000;
    uv_update_time(core->loop);
    CHECK(uv_timer_start(&core->due, on_due, wait_ms, 0) == 0);
}

/* Leases act on what was applied, and what they give goes out at once; on the leader's own node a question and its
 * answer are two rounds. What is left goes on in the next iteration, which comes at once. */
static void flush_replica(struct core *core)
{
    core->leases_gave = true;
    for (int round = 0; core->leases_gave && round < FLUSH_ROUNDS; round++) {
        replica_flush(core->replica);
        core->leases_gave = core_lease_flush(core);
    }
}

static void flush(struct core *core)
{
    flush_replica(core);
    core_barriers_flush(core);
    core_audit_flush(core);
    if (!core->events_waiting)
        return;
    core->events_waiting = false;
    publish_time(core);
    core->handler.on_events(core->handler_arg);
}

static void on_check(uv_check_t *check)
{
    struct core *core = check->data;
    flush(core);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct core *core = prepare->data;
    submit_jobs(core); /* TLS has written what the check left it */
    flush(core);
    submit_jobs(core);
    arm_timer(core);
    loop_meter_turn(&core->meter, uv_hrtime(), uv_metrics_idle_time(core->loop));
}

/* --- opening ---------------------------------------------------------------------------------------------------- */

static lapse_result open_log(struct core *core, struct log_state *state, struct lapse_error *error)
{
    const struct log_options options = {.segment_bytes = core->config.segment_bytes,
                                        .reserve_bytes = core->config.disk_reserve_bytes};
    lapse_result result = disk_posix_open(core->config.data_dir, &core->disk, error);
    if (lapse_is_ok(result))
        result = log_open(core->disk, &options, &core->log, state, error);
    if (!lapse_is_ok(result))
        return result;
    if (state->torn_tail_cut)
        log_info("log recovered", LOG_STR("note", state->note));
    if (state->identity.node_id != core->config.node_id)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "%s belongs to node %" PRIu64 ", but node.id is %" PRIu64
                          ": use that node's own directory, or the right id",
                          core->config.data_dir, state->identity.node_id, core->config.node_id);
    (void)snprintf(core->cluster, sizeof core->cluster, "%s", state->identity.cluster);
    return lapse_ok();
}

static lapse_result open_peers(struct core *core, struct tls_identity *identity, struct lapse_error *error)
{
    const struct peers_options options = {
        .node_id = core->config.node_id,
        .cluster = core->cluster,
        .listen_host = core->config.peer_host,
        .listen_port = core->config.peer_port,
        .seed = (uint64_t)clock_boot_us() ^ core->config.node_id << 56,
        .home = core->homes.own,
    };
    return peers_start(core->loop, &options, identity, &peers_handler, core, &core->peers, error);
}

static lapse_result open_replica(struct core *core, struct log_state *state, struct lapse_error *error)
{
    const struct replica_options options = {
        .node_id = core->config.node_id,
        .election_timeout_ms = core->config.election_timeout_ms,
        .heartbeat_ms = core->config.heartbeat_ms,
        .snapshot_bytes = core->config.snapshot_bytes,
        .seed = (uint64_t)clock_boot_us() * 0x9E3779B97F4A7C15u ^ core->config.node_id,
    };
    uint64_t revision = state->store != NULL ? store_revision(state->store) : 0;
    uint64_t epoch = state->store != NULL ? store_epoch(state->store) : 0;
    core->ring = ring_new(core->config.ring_events, core->config.ring_bytes);
    ring_reset(core->ring, epoch, revision);
    core->replica = replica_new(&options, &replica_io, &replica_observer, core);
    core_barriers_open(core);
    core_lease_open(core);
    lapse_result result = replica_start(core->replica, state, error);
    if (lapse_is_ok(result))
        core_lease_on_store_replaced(core);
    return result;
}

/* A newcomer knows no member yet, and its answers need a way back. */
static lapse_result dial_joined(struct core *core, struct lapse_error *error)
{
    struct cluster_plan plan;
    char address[HOST_PORT_SIZE];
    const struct replica_member *members = NULL;
    if (core->config.join[0] == '\0' || replica_members(core->replica, &members) > 0)
        return lapse_ok();
    lapse_result result = cluster_members_parse(core->config.join, &plan, error);
    for (uint32_t i = 0; lapse_is_ok(result) && i < plan.n_members; i++) {
        host_port_format(&plan.members[i].address, address);
        core->dialled[core->n_dialled++] = plan.members[i].id;
        result = peers_set(core->peers, plan.members[i].id, address, error);
    }
    return result;
}

static void open_handles(struct core *core)
{
    CHECK(uv_loop_configure(core->loop, UV_METRICS_IDLE_TIME) == 0);
    CHECK(uv_prepare_init(core->loop, &core->prepare) == 0);
    CHECK(uv_check_init(core->loop, &core->check) == 0);
    CHECK(uv_timer_init(core->loop, &core->due) == 0);
    CHECK(uv_timer_init(core->loop, &core->pulse) == 0);
    CHECK(uv_timer_init(core->loop, &core->step_down) == 0);
    core->prepare.data = core->check.data = core->due.data = core->pulse.data = core->step_down.data = core;
    core_turns_init(core);
    core->handles = 6;
    core->last_job = &core->jobs;
    core->watchdog_us = (int64_t)notify_watchdog_interval_us();
    mailbox_init(&core->mailbox, core->loop, CORE_MAILBOX_MAX);
}

static void start_handles(struct core *core)
{
    CHECK(uv_prepare_start(&core->prepare, on_prepare) == 0);
    CHECK(uv_check_start(&core->check, on_check) == 0);
    core_pulse_start(core);
}

/* Everything opened so far, in reverse; the loop has not run. Only core_open fails with handles open: the caller ends
 * the process. */
static void close_files(struct core *core)
{
    replica_free(core->replica);
    core->replica = NULL;
    log_close(core->log);
    core->log = NULL;
    if (core->disk != NULL)
        core->disk->ops->destroy(core->disk);
    core->disk = NULL;
}

lapse_result core_open(uv_loop_t *loop, const struct config *config, struct tls_identity *identity,
                       const struct core_handler *handler, void *arg, struct core **out, struct lapse_error *error)
{
    struct log_state state = {0};
    struct core *core = mem_calloc(1, sizeof *core);
    core->loop = loop;
    core->config = *config;
    core->handler = *handler;
    core->handler_arg = arg;
    lapse_result result = open_log(core, &state, error);
    if (lapse_is_ok(result))
        result = homes_open(&core->homes, core->disk, error);
    if (lapse_is_ok(result))
        result = open_peers(core, identity, error);
    if (lapse_is_ok(result)) {
        open_handles(core);
        result = disk_thread_start(loop, core->log, on_storage_done, core, &core->disk_thread, error);
    }
    if (lapse_is_ok(result))
        result = core_audit_open(core, state.store, error);
    if (lapse_is_ok(result))
        result = open_replica(core, &state, error);
    if (lapse_is_ok(result))
        result = dial_joined(core, error);
    if (lapse_is_ok(result))
        result = core_hooks_open(core, error);
    log_state_free(&state);
    if (!lapse_is_ok(result)) {
        close_files(core);
        core_audit_free(core);
        ring_free(core->ring);
        return result;
    }
    start_handles(core);
    *out = core;
    return lapse_ok();
}

/* --- any thread ------------------------------------------------------------------------------------------------- */

bool core_ask(struct core *core, struct core_call *call)
{
    call->core = core;
    call->mail.run = core_call_run;
    return mailbox_post(&core->mailbox, &call->mail);
}

struct ring *core_ring(struct core *core)
{
    return core->ring;
}

int64_t core_time_ms(const struct core *core)
{
    return atomic_load_explicit(&core->time_ms, memory_order_relaxed);
}

struct mailbox *core_mailbox(struct core *core)
{
    return &core->mailbox;
}

uint16_t core_peer_port(const struct core *core)
{
    return peers_port(core->peers);
}

void core_set_identity(struct core *core, struct tls_identity *identity)
{
    peers_set_identity(core->peers, identity);
}

/* --- stopping --------------------------------------------------------------------------------------------------- */

static void end_step_down(struct core *core)
{
    CHECK(uv_timer_stop(&core->step_down) == 0);
    core->step_down_done(core->step_down_arg);
}

static void on_step_down(uv_timer_t *timer)
{
    struct core *core = timer->data;
    if (!core_is_leader(core) || clock_boot_ms() >= core->step_down_until_ms)
        end_step_down(core);
}

void core_step_down(struct core *core, void (*done)(void *arg), void *arg)
{
    struct lapse_error error;
    core->step_down_done = done;
    core->step_down_arg = arg;
    core_barriers_end(core);
    core->step_down_until_ms = clock_boot_ms() + 2 * (int64_t)core->config.election_timeout_ms;
    if (core_is_leader(core) && lapse_is_ok(replica_transfer(core->replica, 0, &error)))
        log_info("handing leadership over");
    else
        core->step_down_until_ms = 0;
    CHECK(uv_timer_start(&core->step_down, on_step_down, 0, STEP_DOWN_POLL_MS) == 0);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct core *core = handle->data;
    if (--core->handles == 0)
        core->closed(core->closed_arg);
}

/* The disk thread has returned every job: nothing refers to the replica any more. */
static void on_disk_closed(void *arg)
{
    struct core *core = arg;
    core_cluster_transferred(core, 0, INT64_MAX);
    core_barriers_end(core);
    core_lease_close(core);
    close_files(core);
    core_audit_close(core);
    mailbox_close(&core->mailbox);
    core_turns_end(core);
    uv_close((uv_handle_t *)&core->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&core->check, on_handle_closed);
    uv_close((uv_handle_t *)&core->due, on_handle_closed);
    uv_close((uv_handle_t *)&core->pulse, on_handle_closed);
    uv_close((uv_handle_t *)&core->step_down, on_handle_closed);
    uv_close((uv_handle_t *)&core->turns, on_handle_closed);
}

static void on_peers_closed(void *arg)
{
    struct core *core = arg;
    disk_thread_close(core->disk_thread, on_disk_closed, core);
}

void core_close(struct core *core, void (*closed)(void *arg), void *arg)
{
    submit_jobs(core);
    core->closing = true;
    core_hooks_close(core);
    core->closed = closed;
    core->closed_arg = arg;
    metric_set(METRIC_READY, 0);
    CHECK(uv_timer_stop(&core->due) == 0);
    CHECK(uv_timer_stop(&core->pulse) == 0);
    CHECK(uv_prepare_stop(&core->prepare) == 0);
    CHECK(uv_check_stop(&core->check) == 0);
    peers_close(core->peers, on_peers_closed, core);
}

void core_free(struct core *core)
{
    if (core == NULL)
        return;
    core_lease_free(core);
    core_audit_free(core);
    core_barriers_free(core);
    core_hooks_free(core);
    ring_free(core->ring);
    free(core);
}
