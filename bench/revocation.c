/* How long after Revoke does everybody know?
 *
 *   t0 --Revoke--> leader --commit--> nodes --event--> subscribers
 *    |<----- first_ms / last_ms: until the first and the last subscriber has the event ---->|
 *    |<-- ack_ms: until the caller has the answer -->|
 *
 * One at a time: the next Revoke starts when every subscriber has the last one's event. All times are CLOCK_MONOTONIC
 * of this one process. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "bench/subscribers.h"

#define TIMEOUT_MS 30000

struct measured {
    struct samples ack, first, last;
};

static lapse_result revoke_one(struct lapse_client *admin, struct subscribers *subscribers, uint32_t n, const char *id,
                               struct measured *measured, struct lapse_error *error)
{
    struct lapse_end_args args = {.grant_id = id, .reason = "measuring revocation"};
    struct lapse_mutation done;
    int64_t first, last;
    subscribers_expect(subscribers, id, LAPSE_EVENT_REVOKED);
    int64_t start = monotonic_ns();
    lapse_result result = lapse_revoke(admin, &args, TIMEOUT_MS, &done, error);
    int64_t ack = monotonic_ns();
    if (!lapse_is_ok(result))
        return result;
    lapse_mutation_free(&done);
    result = subscribers_wait(subscribers, n, &first, &last, error);
    if (lapse_is_ok(result) && measured != NULL) {
        samples_add(&measured->ack, ack - start);
        samples_add(&measured->first, first - start);
        samples_add(&measured->last, last - start);
    }
    return result;
}

static json_t *report(const struct bench_settings *settings, struct measured *m)
{
    json_t *json = report_new("revocation");
    json_object_set_new(json, "settings",
                        json_pack("{s:i,s:i,s:i,s:i}", "nodes", (int)settings->nodes, "subscribers",
                                  (int)settings->subscribers, "writes", (int)settings->writes, "warmup",
                                  (int)settings->warmup));
    json_object_set_new(json, "samples", json_integer((json_int_t)m->ack.n));
    json_object_set_new(json, "ack_ms", report_samples(&m->ack));
    json_object_set_new(json, "first_ms", report_samples(&m->first));
    json_object_set_new(json, "last_ms", report_samples(&m->last));
    printf("revocation: %u nodes, %u subscribers, %zu samples\n", settings->nodes, settings->subscribers, m->ack.n);
    printf("  %-34s %10s %10s %10s\n", "ms after Revoke was called", "p50", "p99", "max");
    report_line("acknowledged to the caller", &m->ack);
    report_line("event at the first subscriber", &m->first);
    report_line("event at the last subscriber", &m->last);
    return json;
}

lapse_result bench_revocation(struct cluster *cluster, const struct bench_settings *settings, json_t **out,
                              struct lapse_error *error)
{
    uint32_t n = settings->writes + settings->warmup;
    bench_id *ids = mem_calloc(n, sizeof *ids);
    struct measured measured = {0};
    struct subscribers *subscribers = NULL;
    struct lapse_client *admin = NULL;
    lapse_result result = bench_grants_make(cluster, n, ids, error);
    if (lapse_is_ok(result))
        result = subscribers_start(cluster, settings->subscribers, &subscribers, error);
    if (lapse_is_ok(result))
        result = cluster_client(cluster, "operator", 0, &admin, error);
    for (uint32_t i = 0; i < n && lapse_is_ok(result); i++) {
        result =
            bench_interrupted() ? lapse_fail(error, LAPSE_CANCELLED, "interrupted") : cluster_check(cluster, error);
        if (lapse_is_ok(result))
            result = revoke_one(admin, subscribers, settings->subscribers, ids[i],
                                i < settings->warmup ? NULL : &measured, error);
    }
    if (lapse_is_ok(result))
        *out = report(settings, &measured);
    lapse_client_free(admin);
    subscribers_stop(subscribers);
    samples_free(&measured.ack);
    samples_free(&measured.first);
    samples_free(&measured.last);
    free(ids);
    return result;
}
