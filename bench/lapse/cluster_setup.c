/* A cluster that was just started: waiting until it writes, roles, the policy. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "bench/lapse/cluster_internal.h"
#include "client/lapse_governance.h"

#define POLL_US 10000
#define CALL_MS 2000
#define WRITER "spiffe://bench.lapse/workload/writer"

struct cluster_wait cluster_wait_begin(const char *what)
{
    return (struct cluster_wait){clock_boot_ms() + CLUSTER_PATIENCE_MS, what};
}

lapse_result cluster_wait_more(struct cluster *cluster, const struct cluster_wait *wait, struct lapse_error *error)
{
    lapse_result result = system_check(&cluster->system, error);
    if (!lapse_is_ok(result))
        return result;
    if (bench_interrupted())
        return lapse_fail(error, LAPSE_CANCELLED, "interrupted");
    if (clock_boot_ms() > wait->until_ms)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "%s: not within %d s", wait->what, CLUSTER_PATIENCE_MS / 1000);
    usleep(POLL_US);
    return result;
}

lapse_result cluster_client(struct cluster *cluster, const char *user, uint32_t node, struct lapse_client **client,
                            struct lapse_error *error)
{
    struct cluster_user as;
    cluster_user(&cluster->system, user, node, &as);
    return lapse_client_new(&as.options, client, error);
}

/* One attempt at a step. */
typedef lapse_result (*cluster_step)(struct cluster *cluster, const void *arg, struct lapse_error *error);

/* Until it works; what can't come right by waiting ends it. */
static lapse_result until_done(struct cluster *cluster, cluster_step step, const void *arg, const char *what,
                               struct lapse_error *error)
{
    struct cluster_wait wait = cluster_wait_begin(what);
    lapse_result result = lapse_ok();
    while (lapse_is_ok(result)) {
        struct lapse_error refused;
        lapse_result tried = step(cluster, arg, &refused);
        if (lapse_is_ok(tried))
            return tried;
        bool may_work =
            tried.code == LAPSE_DEADLINE_EXCEEDED || tried.code == LAPSE_UNAVAILABLE || tried.code == LAPSE_UNKNOWN;
        result = may_work ? cluster_wait_more(cluster, &wait, error)
                          : lapse_fail(error, tried.code, "%s: %s", what, refused.message);
    }
    return result;
}

static lapse_result give_roles(struct cluster *cluster, const void *arg, struct lapse_error *error)
{
    struct lapse_roles_change change;
    return lapse_set_roles(cluster->admin,
                           &(struct lapse_set_roles_args){.binding = *(const struct lapse_role_binding *)arg}, CALL_MS,
                           &change, error);
}

static lapse_result apply_policy(struct cluster *cluster, const void *arg, struct lapse_error *error)
{
    struct lapse_change change;
    lapse_result result = lapse_apply_policy(cluster->admin, arg, CALL_MS, &change, error);
    if (lapse_is_ok(result))
        lapse_change_free(&change);
    return result;
}

/* The writer's requests need nobody; everybody else's need one approver, as without any policy. */
static lapse_result policy_set(struct cluster *cluster, struct lapse_error *error)
{
    static const char *const writer[] = {WRITER}, *const all[] = {"*"};
    static const struct lapse_policy_rule rules[] = {{.name = "writer",
                                                      .requesters = writer,
                                                      .n_requesters = 1,
                                                      .subjects = all,
                                                      .n_subjects = 1,
                                                      .resources = all,
                                                      .n_resources = 1,
                                                      .automatic = true},
                                                     {.name = "people",
                                                      .requesters = all,
                                                      .n_requesters = 1,
                                                      .subjects = all,
                                                      .n_subjects = 1,
                                                      .resources = all,
                                                      .n_resources = 1}};
    static const struct lapse_apply_policy_args args = {
        .policy = {.name = "bench", .priority = 1, .rules = rules, .n_rules = ARRAY_LEN(rules)}};
    return until_done(cluster, apply_policy, &args, "the benchmark's policy", error);
}

static lapse_result roles_set(struct cluster *cluster, struct lapse_error *error)
{
    static const char *const both[] = {"requester", "operator"}, *const requester[] = {"requester"},
                             *const approver[] = {"approver"}, *const enforcer[] = {"enforcer"};
    static const struct lapse_role_binding bindings[] = {
        {.member = WRITER, .roles = both, .n_roles = 2},
        {.member = "spiffe://bench.lapse/user/dev1", .roles = requester, .n_roles = 1},
        {.member = "spiffe://bench.lapse/user/oncall", .roles = approver, .n_roles = 1},
        {.member = "spiffe://bench.lapse/workload/proxy1", .roles = enforcer, .n_roles = 1}};
    lapse_result result = lapse_ok();
    for (size_t i = 0; i < ARRAY_LEN(bindings) && lapse_is_ok(result); i++)
        result = until_done(cluster, give_roles, &bindings[i], "the first writes", error);
    return result;
}

static lapse_result note_version(struct cluster *cluster, const void *arg, struct lapse_error *error)
{
    struct lapse_cluster_status status;
    (void)arg;
    lapse_result result = lapse_cluster_status(cluster->admin, NULL, CALL_MS, &status, error);
    if (!lapse_is_ok(result))
        return result;
    snprintf(cluster->system.version, sizeof cluster->system.version, "%s", status.version);
    lapse_cluster_status_free(&status);
    return result;
}

/* All nodes follow one leader: what is measured first would otherwise be how the last of them finds it. */
static lapse_result all_follow(struct cluster *cluster, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    for (uint32_t node = 1; node <= cluster->system.n_nodes && lapse_is_ok(result); node++) {
        struct cluster_wait wait = cluster_wait_begin("every node to follow a leader");
        struct lapse_client *client;
        bool follows = false;
        result = cluster_client(cluster, "operator", node, &client, error);
        if (!lapse_is_ok(result))
            return result;
        while (lapse_is_ok(result) && !follows) {
            struct lapse_cluster_status status = {0};
            follows = lapse_is_ok(lapse_cluster_status(client, NULL, CALL_MS, &status, NULL)) && status.leader_id != 0;
            lapse_cluster_status_free(&status);
            if (!follows)
                result = cluster_wait_more(cluster, &wait, error);
        }
        lapse_client_free(client);
    }
    return result;
}

lapse_result cluster_set_up(struct cluster *cluster, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    if (cluster->is_ours) {
        result = roles_set(cluster, error);
        if (lapse_is_ok(result))
            result = policy_set(cluster, error);
        if (lapse_is_ok(result))
            result = all_follow(cluster, error);
    }
    return lapse_is_ok(result) ? until_done(cluster, note_version, NULL, "the cluster's version", error) : result;
}
