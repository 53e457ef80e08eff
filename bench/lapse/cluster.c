/* kind_lapse: a cluster's life. See cluster.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/random.h"
#include "bench/lapse/cluster_internal.h"

static bool is_here(void)
{
    return true; /* or cluster_nodes_begin says where it was looked for */
}

static void stop(struct system *system)
{
    struct cluster *cluster = cluster_of(system);
    if (cluster == NULL)
        return;
    lapse_client_free(cluster->admin);
    for (uint32_t i = 0; i < system->n_nodes; i++)
        process_kill(&system->nodes[i]);
    partition_free(cluster->partition);
    if (cluster->keep && system->dir[0] != '\0')
        fprintf(stderr, "kept: %s\n", system->dir);
    else
        directory_remove(system->dir);
    for (int i = 0; i < CLUSTER_ROLES; i++) {
        struct ssl_ctx_st *tls = cluster->tls[i];
        for (int k = i; k < CLUSTER_ROLES; k++)
            if (cluster->tls[k] == tls)
                cluster->tls[k] = NULL;
        socket_tls_free(tls);
    }
    cluster_items_free(cluster);
    free(cluster);
}

/* --- identities --------------------------------------------------------------------------------------------------- */

static void file_name(char out[PROCESS_PATH_SIZE], const char *directory, const char *name, const char *end)
{
    int n = snprintf(out, PROCESS_PATH_SIZE, "%s/%s.%s", directory, name, end);
    CHECK(n > 0 && n < PROCESS_PATH_SIZE);
}

void cluster_user(const struct system *system, const char *name, uint32_t node, struct cluster_user *user)
{
    const struct cluster *cluster = (const struct cluster *)system;
    *user = (struct cluster_user){0};
    for (uint32_t i = 0; i < system->n_nodes; i++) {
        size_t len = strlen(user->endpoints);
        if (node == 0 || node == i + 1)
            snprintf(user->endpoints + len, sizeof user->endpoints - len, "%s%s:%u", len == 0 ? "" : ",",
                     cluster->host[i], cluster->client_port[i]);
    }
    file_name(user->certificate, cluster->pki, name, "pem");
    file_name(user->key, cluster->pki, name, "key");
    file_name(user->authorities, cluster->pki, "ca", "pem");
    user->options = (struct lapse_client_options){.endpoints = user->endpoints,
                                                  .certificate = user->certificate,
                                                  .key = user->key,
                                                  .authorities = user->authorities,
                                                  .backoff_max_ms = 100};
}

static lapse_result identities_load(struct cluster *cluster, struct lapse_error *error)
{
    static const char *const given[CLUSTER_ROLES] = {"dev1", "oncall", "operator", "proxy1"};
    static const char *const ours[CLUSTER_ROLES] = {"writer", NULL, "writer", "proxy1"};
    const char *const *names = cluster->is_ours ? ours : given;
    struct cluster_user user;
    lapse_result result = lapse_ok();
    for (int i = 0; i < CLUSTER_ROLES && lapse_is_ok(result); i++) {
        if (i > 0 && names[i] != NULL && names[0] != NULL && strcmp(names[i], names[0]) == 0) {
            cluster->tls[i] = cluster->tls[0];
        } else if (names[i] != NULL) {
            cluster_user(&cluster->system, names[i], 0, &user);
            result = socket_tls_new(user.certificate, user.key, user.authorities, &cluster->tls[i], error);
        }
    }
    return result;
}

static lapse_result start(const struct system_options *options, struct system **system, struct lapse_error *error)
{
    struct cluster *cluster = mem_calloc(1, sizeof *cluster);
    uint32_t nonce;
    cluster->system.kind = &kind_lapse;
    cluster->system.tuning = options->tuning;
    cluster->keep = options->keep;
    cluster->is_ours = options->endpoints == NULL;
    random_bytes(&nonce, sizeof nonce);
    snprintf(cluster->run, sizeof cluster->run, "%08x", nonce);
    lapse_result result =
        cluster->is_ours ? cluster_nodes_begin(cluster, options, error) : cluster_nodes_given(cluster, options, error);
    if (lapse_is_ok(result))
        result = identities_load(cluster, error);
    if (lapse_is_ok(result))
        result = cluster_client(cluster, "operator", 0, &cluster->admin, error);
    if (lapse_is_ok(result))
        result = cluster_set_up(cluster, error);
    if (lapse_is_ok(result))
        *system = &cluster->system;
    else
        stop(&cluster->system);
    return result;
}

/* --- who leads, and coming back ----------------------------------------------------------------------------------- */

static lapse_result status_of(struct lapse_client *client, struct lapse_cluster_status *status)
{
    return lapse_cluster_status(client, NULL, 1000, status, NULL);
}

static bool may_lead(const struct cluster *cluster, uint64_t node)
{
    if (node < 1 || node > cluster->system.n_nodes)
        return false;
    const struct process *process = &cluster->system.nodes[node - 1];
    return !cluster->is_ours || (process->pid != 0 && !process->frozen);
}

static lapse_result leader(struct system *system, uint32_t *node, struct lapse_error *error)
{
    struct cluster *cluster = cluster_of(system);
    struct cluster_wait wait = cluster_wait_begin("a leader");
    lapse_result result = lapse_ok();
    while (lapse_is_ok(result)) {
        struct lapse_cluster_status status = {0};
        bool known = lapse_is_ok(status_of(cluster->admin, &status)) && may_lead(cluster, status.leader_id);
        uint32_t found = (uint32_t)status.leader_id;
        lapse_cluster_status_free(&status);
        if (known) {
            *node = found;
            return result;
        }
        result = cluster_wait_more(cluster, &wait, error);
    }
    return result;
}

/* Until `client`'s node has applied what the cluster had committed when this began. */
static lapse_result catch_up(struct cluster *cluster, struct lapse_client *client, struct lapse_error *error)
{
    struct cluster_wait wait = cluster_wait_begin("a node that was restarted to catch up");
    struct lapse_cluster_status status = {0};
    uint64_t goal = 0;
    lapse_result result = lapse_ok();
    while (lapse_is_ok(result)) {
        bool answers = lapse_is_ok(status_of(client, &status));
        uint64_t applied = status.applied_index;
        lapse_cluster_status_free(&status);
        if (answers && cluster->system.ready_ns == 0)
            cluster->system.ready_ns = bench_now_ns();
        if (goal == 0 && lapse_is_ok(status_of(cluster->admin, &status)))
            goal = status.commit_index;
        lapse_cluster_status_free(&status);
        if (answers && goal > 0 && applied >= goal)
            break;
        result = cluster_wait_more(cluster, &wait, error);
    }
    return result;
}

static lapse_result restart(struct system *system, uint32_t node, struct lapse_error *error)
{
    struct cluster *cluster = cluster_of(system);
    struct lapse_client *client = NULL;
    system->ready_ns = 0;
    lapse_result result = cluster_node_start(cluster, node, error);
    if (lapse_is_ok(result))
        result = cluster_client(cluster, "operator", node, &client, error);
    if (lapse_is_ok(result))
        result = catch_up(cluster, client, error);
    lapse_client_free(client);
    return result;
}

static lapse_result cut(struct system *system, uint32_t node, bool is_cut, struct lapse_error *error)
{
    struct cluster *cluster = cluster_of(system);
    if (cluster->partition == NULL)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "this cluster's network can't be cut");
    return partition_cut(cluster->partition, node, is_cut, error);
}

void cluster_set_wait(struct system *system, enum lapse_wait wait)
{
    cluster_of(system)->wait = wait;
}

static const char *const tunings[] = {"default", NULL};

const struct system_kind kind_lapse = {
    .name = "lapse",
    .package = "lapsed (--program FILE)",
    .tunings = tunings,
    .can = SYSTEM_CAN_EXPIRE | SYSTEM_CAN_FAIL_OVER | SYSTEM_CAN_WATCH | SYSTEM_CAN_PARTITION,
    .is_here = is_here,
    .start = start,
    .stop = stop,
    .leader = leader,
    .restart = restart,
    .cut = cut,
    .metric = cluster_metric,
    .reserve = cluster_reserve,
    .writer_open = cluster_writer_open,
    .writer_close = cluster_writer_close,
    .item_make = cluster_item_make,
    .item_end = cluster_item_end,
    .watchers_open = cluster_watchers_open,
    .watchers_close = cluster_watchers_close,
};
