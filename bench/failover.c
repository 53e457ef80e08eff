/* How long is the cluster without a leader when it dies?
 *
 *   kill -9 leader --> next write acknowledged (the client finds another node, the nodes elect another leader) --> its
 * event at the living nodes' subscribers
 *
 * The write is a Revoke started right after the kill, so it has to wait out the election. Then the dead node is
 * restarted and awaited, and the next round begins. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "bench/subscribers.h"

#define TIMEOUT_MS 60000

struct measured {
    struct samples ack, event;
};

static lapse_result one_round(struct cluster *cluster, struct lapse_client *admin, struct subscribers *subscribers,
                              const char *id, struct measured *measured, struct lapse_error *error)
{
    struct lapse_end_args args = {.grant_id = id, .reason = "measuring failover"};
    struct lapse_mutation done;
    uint64_t leader;
    int64_t first, last;
    lapse_result result = cluster_leader(cluster, &leader, error);
    if (!lapse_is_ok(result))
        return result;
    subscribers_expect(subscribers, id, LAPSE_EVENT_REVOKED);
    int64_t start = monotonic_ns();
    cluster_kill(cluster, leader);
    result = lapse_revoke(admin, &args, TIMEOUT_MS, &done, error);
    int64_t ack = monotonic_ns();
    if (!lapse_is_ok(result))
        return result;
    lapse_mutation_free(&done);
    result = subscribers_wait(subscribers, cluster_size(cluster) - 1, &first, &last, error);
    if (lapse_is_ok(result)) {
        samples_add(&measured->ack, ack - start);
        samples_add(&measured->event, last - start);
        result = cluster_restart(cluster, leader, error);
    }
    if (lapse_is_ok(result))
        result = cluster_wait_caught_up(cluster, leader, error);
    /* The dead node's subscriber, too, must be back before the next round. */
    return lapse_is_ok(result) ? subscribers_wait(subscribers, cluster_size(cluster), &first, &last, error) : result;
}

static json_t *report(const struct bench_settings *settings, struct measured *m)
{
    json_t *json = report_new("failover");
    json_object_set_new(json, "settings",
                        json_pack("{s:i,s:i}", "nodes", (int)settings->nodes, "rounds", (int)settings->rounds));
    json_object_set_new(json, "samples", json_integer((json_int_t)m->ack.n));
    json_object_set_new(json, "ack_ms", report_samples(&m->ack));
    json_object_set_new(json, "event_ms", report_samples(&m->event));
    printf("failover: %u nodes, %zu rounds\n", settings->nodes, m->ack.n);
    printf("  %-34s %10s %10s %10s\n", "ms after kill -9 of the leader", "p50", "p99", "max");
    report_line("next write acknowledged", &m->ack);
    report_line("its event at every living node", &m->event);
    return json;
}

lapse_result bench_failover(struct cluster *cluster, const struct bench_settings *settings, json_t **out,
                            struct lapse_error *error)
{
    bench_id *ids = mem_calloc(settings->rounds, sizeof *ids);
    struct measured measured = {0};
    struct subscribers *subscribers = NULL;
    struct lapse_client *admin = NULL;
    lapse_result result = bench_grants_make(cluster, settings->rounds, ids, error);
    if (lapse_is_ok(result))
        result = subscribers_start(cluster, settings->nodes, &subscribers, error);
    if (lapse_is_ok(result))
        result = cluster_client(cluster, "operator", 0, &admin, error);
    for (uint32_t i = 0; i < settings->rounds && lapse_is_ok(result); i++)
        result = bench_interrupted() ? lapse_fail(error, LAPSE_CANCELLED, "interrupted")
                                     : one_round(cluster, admin, subscribers, ids[i], &measured, error);
    if (lapse_is_ok(result))
        *out = report(settings, &measured);
    lapse_client_free(admin);
    subscribers_stop(subscribers);
    samples_free(&measured.ack);
    samples_free(&measured.event);
    free(ids);
    return result;
}
