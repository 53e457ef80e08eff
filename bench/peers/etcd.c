/* etcd, spoken to by the same HTTP/2 client as Lapse, without TLS. An item is a key; with a deadline it hangs on a
 * lease of its own. Whether a member leads, and how far it is, Maintenance.Status says. */
#include "bench/peers/etcd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "bench/peers/etcd_messages.h"
#include "bench/peers/kinds.h"

#define OPEN_MS 1000 /* a node that doesn't answer is asked again */
#define ASK_MS 2000

enum port { CLIENT, PEER, N_PORTS };

/* tuned: for failover. checkpoint: leases' remaining times are replicated, too. */
static const char *const tunings[] = {"default", "tuned", "checkpoint", NULL};

static bool is_here(void)
{
    char path[PROCESS_PATH_SIZE];
    return process_find("etcd", path);
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

/* Its answer stays in `answer`, to which `status` points. */
static lapse_result ask_status(struct etcd_system *etcd, uint32_t node, struct buf *answer, struct etcd_status *status,
                               struct lapse_error *error)
{
    struct grpc_link *link = NULL;
    const struct slice nothing = {0};
    lapse_result result = grpc_link_open(etcd->loop, &etcd->targets[node - 1], OPEN_MS, &link, error);
    if (lapse_is_ok(result))
        result = grpc_link_ask(etcd->loop, link, ETCD_STATUS, nothing, ASK_MS, answer, error);
    grpc_link_close(etcd->loop, link);
    if (lapse_is_ok(result) && !etcd_status_answer(buf_slice(answer), status))
        result = lapse_fail(error, LAPSE_INTERNAL, "etcd at %s: no status", etcd->peer.address[node - 1]);
    return result;
}

/* False when it doesn't answer (yet). */
static bool status_of(struct etcd_system *etcd, uint32_t node, struct etcd_status *status)
{
    struct buf answer;
    struct lapse_error error;
    const struct process *process = &etcd->peer.system.nodes[node - 1];
    if (etcd->peer.is_ours && (process->pid == 0 || process->frozen))
        return false;
    buf_init(&answer, 65536);
    bool ok = lapse_is_ok(ask_status(etcd, node, &answer, status, &error));
    if (ok) {
        struct system *system = &etcd->peer.system;
        (void)slice_to_cstr(status->version, system->version, sizeof system->version);
        status->version = (struct slice){0};
        etcd->members[node - 1] = status->member;
    }
    buf_free(&answer);
    return ok;
}

/* The node that `status` calls leader, unless it is dead or unknown: 0. */
static uint32_t leader_in(const struct etcd_system *etcd, const struct etcd_status *status)
{
    for (uint32_t i = 0; i < etcd->peer.system.n_nodes; i++) {
        const struct process *process = &etcd->peer.system.nodes[i];
        bool lives = !etcd->peer.is_ours || (process->pid != 0 && !process->frozen);
        if (lives && status->leader != 0 && etcd->members[i] == status->leader)
            return i + 1;
    }
    return 0;
}

static lapse_result leader(struct system *system, uint32_t *node, struct lapse_error *error)
{
    struct etcd_system *etcd = etcd_of(system);
    const struct peer_wait wait = peer_wait_for("a leader");
    struct etcd_status status;
    lapse_result result = lapse_ok();
    while (lapse_is_ok(result)) {
        for (uint32_t i = 1; i <= system->n_nodes; i++)
            if (status_of(etcd, i, &status) && (*node = leader_in(etcd, &status)) != 0)
                return result;
        result = peer_wait_more(&etcd->peer, &wait, error);
    }
    return result;
}

static lapse_result metric(struct system *system, uint32_t node, const char *name, double *value,
                           struct lapse_error *error)
{
    struct etcd_status status;
    /* Its database's size says nothing yet: it lags behind the writes, and keeps what was freed. */
    if (strcmp(name, "elections") != 0)
        return lapse_fail(error, LAPSE_NOT_FOUND, "etcd has no metric %s", name);
    if (!status_of(etcd_of(system), node, &status))
        return lapse_fail(error, LAPSE_UNAVAILABLE, "etcd %u does not answer", node);
    *value = (double)status.term;
    return lapse_ok();
}

/* --- servers ------------------------------------------------------------------------------------------------------ */

static void tune(const struct system *system, struct peer_args *args)
{
    if (strcmp(system->tuning, "tuned") == 0) {
        peer_flag(args, "--heartbeat-interval=20");
        peer_flag(args, "--election-timeout=200");
    }
    if (strcmp(system->tuning, "checkpoint") == 0) {
        peer_flag(args, "--experimental-enable-lease-checkpoint");
        peer_flag(args, "--experimental-enable-lease-checkpoint-persist");
    }
}

static lapse_result start_node(struct etcd_system *etcd, uint32_t node, struct lapse_error *error)
{
    const struct peer *peer = &etcd->peer;
    const uint16_t *ports = peer->ports[node - 1];
    struct peer_args args = {0};
    char members[SYSTEM_NODES_MAX * 40] = "";
    for (uint32_t i = 0; i < peer->system.n_nodes; i++) {
        size_t len = strlen(members);
        snprintf(members + len, sizeof members - len, "%snode%u=http://127.0.0.1:%u", i == 0 ? "" : ",", i + 1,
                 peer->ports[i][PEER]);
    }
    peer_place(&args, "--name=node%u", node);
    peer_place(&args, "--data-dir=%s/node%u", peer->system.dir, node);
    peer_place(&args, "--listen-client-urls=http://127.0.0.1:%u", ports[CLIENT]);
    peer_place(&args, "--advertise-client-urls=http://127.0.0.1:%u", ports[CLIENT]);
    peer_place(&args, "--listen-peer-urls=http://127.0.0.1:%u", ports[PEER]);
    peer_place(&args, "--initial-advertise-peer-urls=http://127.0.0.1:%u", ports[PEER]);
    peer_place(&args, "--initial-cluster=%s", members);
    tune(&peer->system, &args);
    return peer_start_node(&etcd->peer, node, &args, error);
}

/* Waits until the node has what the cluster had when this was asked. */
static lapse_result wait_for(struct etcd_system *etcd, uint32_t node, const char *what, struct lapse_error *error)
{
    const struct peer_wait wait = peer_wait_for(what);
    struct system *system = &etcd->peer.system;
    struct etcd_status status, leading;
    lapse_result result = lapse_ok();
    uint64_t goal = UINT64_MAX;
    while (lapse_is_ok(result)) {
        bool up = status_of(etcd, node, &status);
        if (up && system->ready_ns == 0)
            system->ready_ns = bench_now_ns();
        uint32_t at = up ? leader_in(etcd, &status) : 0;
        if (goal == UINT64_MAX && at != 0 && status_of(etcd, at, &leading))
            goal = leading.revision;
        if (at != 0 && status.revision >= goal)
            return result;
        result = peer_wait_more(&etcd->peer, &wait, error);
    }
    return result;
}

/* Until all know each other's ids, and one leader. */
static lapse_result wait_for_all(struct etcd_system *etcd, struct lapse_error *error)
{
    const struct peer_wait wait = peer_wait_for("the start");
    lapse_result result = lapse_ok();
    while (lapse_is_ok(result)) {
        uint32_t ready = 0;
        struct etcd_status status;
        for (uint32_t node = 1; node <= etcd->peer.system.n_nodes; node++)
            ready += status_of(etcd, node, &status) && leader_in(etcd, &status) != 0;
        if (ready == etcd->peer.system.n_nodes)
            return result;
        result = peer_wait_more(&etcd->peer, &wait, error);
    }
    return result;
}

static void stop(struct system *system)
{
    if (system == NULL)
        return;
    struct etcd_system *etcd = etcd_of(system);
    bench_loop_stop(etcd->loop);
    peer_end(&etcd->peer);
    free(etcd);
}

static lapse_result start(const struct system_options *options, struct system **system, struct lapse_error *error)
{
    struct etcd_system *etcd = mem_calloc(1, sizeof *etcd);
    struct peer *peer = &etcd->peer;
    lapse_result result = peer_begin(peer, &kind_etcd, options, "etcd", N_PORTS, error);
    etcd->loop = bench_loop_start("questions");
    for (uint32_t i = 0; i < peer->system.n_nodes && lapse_is_ok(result); i++)
        result = socket_target_parse(peer->address[i], NULL, &etcd->targets[i], error);
    for (uint32_t node = 1; node <= peer->system.n_nodes && peer->is_ours && lapse_is_ok(result); node++)
        result = start_node(etcd, node, error);
    if (lapse_is_ok(result))
        result = wait_for_all(etcd, error);
    if (lapse_is_ok(result))
        *system = &peer->system;
    else
        stop(&peer->system);
    return result;
}

static lapse_result restart(struct system *system, uint32_t node, struct lapse_error *error)
{
    struct etcd_system *etcd = etcd_of(system);
    CHECK(etcd->peer.is_ours && node >= 1 && node <= system->n_nodes && system->nodes[node - 1].pid == 0);
    system->ready_ns = 0;
    lapse_result result = start_node(etcd, node, error);
    return lapse_is_ok(result) ? wait_for(etcd, node, "a restarted node", error) : result;
}

const struct system_kind kind_etcd = {
    .name = "etcd",
    .package = "etcd-server",
    .tunings = tunings,
    .can = SYSTEM_CAN_EXPIRE | SYSTEM_CAN_FAIL_OVER | SYSTEM_CAN_WATCH,
    .ttl_ms_min = 2000, /* one and a half election timeouts, in whole seconds */
    .ttl_ms_step = 1000,
    .is_here = is_here,
    .start = start,
    .stop = stop,
    .leader = leader,
    .restart = restart,
    .metric = metric,
    .writer_open = etcd_writer_open,
    .writer_close = etcd_writer_close,
    .item_make = etcd_item_make,
    .item_end = etcd_item_end,
    .watchers_open = etcd_watchers_open,
    .watchers_close = etcd_watchers_close,
};
