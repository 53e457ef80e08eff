/* lapse_watch_* against nodes that die, lag, lie and are restored (fake_node.h): every event exactly once and in order,
 * or a resync (G7). */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/lapse.h"
#include "tests/unit/fake_node.h"
#include "tests/unit/tls_fixture.h"

#define SEEN_MAX 8192

/* What the callbacks saw. */
struct seen {
    pthread_mutex_t lock;
    uint64_t epoch, revision; /* the last point */
    uint64_t revisions[SEEN_MAX];
    uint32_t n_events, n_resyncs, n_grants, n_snapshots, n_progress, n_ends, n_connects, n_failures;
    enum lapse_code end;
    char failure[400]; /* the last status's message */
};

static void on_event(void *arg, uint64_t epoch, const struct lapse_event *event)
{
    struct seen *seen = arg;
    pthread_mutex_lock(&seen->lock);
    cr_assert_eq(epoch, seen->epoch);
    cr_assert_gt(event->revision, seen->revision);
    cr_assert_eq(event->grant.revision, event->revision);
    seen->revision = event->revision;
    seen->revisions[seen->n_events++ % SEEN_MAX] = event->revision;
    pthread_mutex_unlock(&seen->lock);
}

static void on_resync(void *arg, const char *reason)
{
    struct seen *seen = arg;
    cr_assert_neq(*reason, '\0');
    pthread_mutex_lock(&seen->lock);
    seen->n_resyncs++;
    seen->n_grants = 0;
    pthread_mutex_unlock(&seen->lock);
}

static void on_snapshot_grant(void *arg, const struct lapse_grant *grant)
{
    struct seen *seen = arg;
    cr_assert_str_eq(grant->resource, "db/prod/orders");
    pthread_mutex_lock(&seen->lock);
    seen->n_grants++;
    pthread_mutex_unlock(&seen->lock);
}

static void point(struct seen *seen, uint64_t epoch, uint64_t revision, uint32_t *counter)
{
    pthread_mutex_lock(&seen->lock);
    seen->epoch = epoch;
    seen->revision = revision;
    ++*counter;
    pthread_mutex_unlock(&seen->lock);
}

static void on_snapshot_end(void *arg, uint64_t epoch, uint64_t revision, int64_t time_ms)
{
    struct seen *seen = arg;
    (void)time_ms;
    point(seen, epoch, revision, &seen->n_snapshots);
}

static void on_progress(void *arg, uint64_t epoch, uint64_t revision, int64_t time_ms)
{
    struct seen *seen = arg;
    (void)time_ms;
    point(seen, epoch, revision, &seen->n_progress);
}

static void on_status(void *arg, const struct lapse_watch_status *status)
{
    struct seen *seen = arg;
    pthread_mutex_lock(&seen->lock);
    if (status->connected) {
        seen->n_connects++;
    } else {
        seen->n_failures++;
        snprintf(seen->failure, sizeof seen->failure, "%s", status->message);
    }
    pthread_mutex_unlock(&seen->lock);
}

static void on_end(void *arg, const struct lapse_error *why)
{
    struct seen *seen = arg;
    pthread_mutex_lock(&seen->lock);
    seen->n_ends++;
    seen->end = why->code;
    pthread_mutex_unlock(&seen->lock);
}

static const struct lapse_watch_callbacks callbacks = {
    on_event, on_resync, on_snapshot_grant, on_snapshot_end, on_progress, on_status, on_end};

#define WAIT_FOR(seen, condition)                                                                                      \
    do {                                                                                                               \
        bool met_;                                                                                                     \
        do {                                                                                                           \
            pthread_mutex_lock(&(seen)->lock);                                                                         \
            met_ = (condition);                                                                                        \
            pthread_mutex_unlock(&(seen)->lock);                                                                       \
            if (!met_)                                                                                                 \
                usleep(1000);                                                                                          \
        } while (!met_);                                                                                               \
    } while (0)

struct fixture {
    struct fake_cluster *cluster;
    struct lapse_client *client;
    struct seen seen;
    struct lapse_watch *watch;
};

static void setup(struct fixture *f, int nodes)
{
    memset(f, 0, sizeof *f);
    pthread_mutex_init(&f->seen.lock, NULL);
    f->cluster = fake_cluster_new();
    for (int i = 0; i < nodes; i++)
        fake_node_start(f->cluster, 0);
    struct tls_files files = fixture_files(f->cluster->pki, "dev1");
    struct lapse_client_options options = {.endpoints = fake_endpoints(f->cluster),
                                           .certificate = files.certificate,
                                           .key = files.key,
                                           .authorities = files.authorities,
                                           .backoff_max_ms = 50};
    struct lapse_error error = {0};
    cr_assert(lapse_is_ok(lapse_client_new(&options, &f->client, &error)), "%s", error.message);
}

static void start(struct fixture *f, const struct lapse_watch_options *options)
{
    struct lapse_error error = {0};
    cr_assert(lapse_is_ok(lapse_watch_start(f->client, options, &callbacks, &f->seen, &f->watch, &error)), "%s",
              error.message);
}

static void teardown(struct fixture *f)
{
    lapse_watch_stop(f->watch);
    lapse_client_free(f->client);
    cr_assert_eq(f->seen.n_ends, 1, "on_end comes exactly once");
    fake_cluster_free(f->cluster);
}

static void assert_dense(const struct fixture *f, uint64_t first, uint64_t last)
{
    cr_assert_eq(f->seen.n_events, last - first + 1);
    for (uint64_t i = 0; i < f->seen.n_events; i++)
        cr_assert_eq(f->seen.revisions[i], first + i);
}

Test(watch, begins_now_and_sees_each_event_once)
{
    struct fixture f;
    setup(&f, 1);
    fake_cluster_publish(f.cluster, 5);
    start(&f, &(struct lapse_watch_options){0});
    WAIT_FOR(&f.seen, f.seen.n_progress > 0);
    cr_assert_eq(f.seen.revision, 5);
    fake_cluster_publish(f.cluster, 100);
    WAIT_FOR(&f.seen, f.seen.revision == 105);
    assert_dense(&f, 6, 105);
    teardown(&f);
    cr_assert_eq(f.seen.end, LAPSE_CANCELLED);
}

Test(watch, resumes_behind_a_given_point)
{
    struct fixture f;
    setup(&f, 1);
    fake_cluster_publish(f.cluster, 50);
    f.seen.epoch = 1;
    start(&f, &(struct lapse_watch_options){.epoch = 1, .revision = 20});
    WAIT_FOR(&f.seen, f.seen.revision == 50);
    assert_dense(&f, 21, 50);
    teardown(&f);
}

Test(watch, G7_loses_and_doubles_no_event_while_nodes_die_one_after_another)
{
    struct fixture f;
    setup(&f, 3);
    start(&f, &(struct lapse_watch_options){0});
    WAIT_FOR(&f.seen, f.seen.n_progress > 0);
    for (int round = 0; round < 12; round++) {
        struct fake_node *victim = f.cluster->nodes[0];
        for (uint32_t i = 0; i < f.cluster->n_nodes; i++)
            if (fake_node_watches(f.cluster->nodes[i]) > 0)
                victim = f.cluster->nodes[i];
        uint16_t port = fake_node_port(victim);
        fake_cluster_publish(f.cluster, 20);
        fake_node_stop(victim);
        fake_cluster_publish(f.cluster, 20);
        fake_node_start(f.cluster, port);
    }
    WAIT_FOR(&f.seen, f.seen.revision == 480);
    assert_dense(&f, 1, 480);
    cr_assert_gt(f.seen.n_connects, 1);
    teardown(&f);
}

Test(watch, skips_what_a_lagging_node_sends_again)
{
    struct fixture f;
    setup(&f, 1);
    struct fake_node *node = f.cluster->nodes[0];
    uint16_t port = fake_node_port(node);
    start(&f, &(struct lapse_watch_options){0});
    WAIT_FOR(&f.seen, f.seen.n_progress > 0);
    fake_cluster_publish(f.cluster, 10);
    WAIT_FOR(&f.seen, f.seen.revision == 10);
    fake_node_stop(node);
    fake_node_set_mode(fake_node_start(f.cluster, port), FAKE_LAGS);
    fake_cluster_publish(f.cluster, 1);
    WAIT_FOR(&f.seen, f.seen.revision == 11);
    assert_dense(&f, 1, 11);
    teardown(&f);
}

Test(watch, leaves_a_node_that_sends_events_out_of_order)
{
    struct fixture f;
    setup(&f, 1);
    start(&f, &(struct lapse_watch_options){0});
    WAIT_FOR(&f.seen, f.seen.n_progress > 0);
    fake_node_set_mode(f.cluster->nodes[0], FAKE_DISORDERS);
    fake_cluster_publish(f.cluster, 2);
    WAIT_FOR(&f.seen, f.seen.n_failures > 0);
    /* The event that came too early was delivered, in order; the one after it broke the rule. Nothing is delivered
     * twice. */
    cr_assert_eq(f.seen.revision, 2);
    cr_assert_not_null(strstr(f.seen.failure, "out of order"), "%s", f.seen.failure);
    fake_node_set_mode(f.cluster->nodes[0], FAKE_SERVES);
    fake_cluster_publish(f.cluster, 3);
    WAIT_FOR(&f.seen, f.seen.revision == 5);
    teardown(&f);
}

Test(watch, leaves_a_node_that_changes_the_epoch_without_a_resync)
{
    struct fixture f;
    setup(&f, 1);
    start(&f, &(struct lapse_watch_options){0});
    WAIT_FOR(&f.seen, f.seen.n_progress > 0);
    fake_node_set_mode(f.cluster->nodes[0], FAKE_BRINGS_ANOTHER_EPOCH);
    fake_cluster_publish(f.cluster, 1);
    WAIT_FOR(&f.seen, f.seen.n_failures > 0);
    cr_assert_eq(f.seen.n_events, 0);
    cr_assert_not_null(strstr(f.seen.failure, "doesn't connect"), "%s", f.seen.failure);
    fake_node_set_mode(f.cluster->nodes[0], FAKE_SERVES);
    WAIT_FOR(&f.seen, f.seen.revision == 1);
    assert_dense(&f, 1, 1);
    teardown(&f);
}

Test(watch, begins_with_a_snapshot_when_asked)
{
    struct fixture f;
    setup(&f, 1);
    fake_cluster_set(f.cluster, 1, 30, 0, 25);
    start(&f, &(struct lapse_watch_options){.snapshot = true});
    WAIT_FOR(&f.seen, f.seen.n_snapshots > 0);
    cr_assert_eq(f.seen.n_grants, 25);
    cr_assert_eq(f.seen.n_resyncs, 0);
    fake_cluster_publish(f.cluster, 5);
    WAIT_FOR(&f.seen, f.seen.revision == 35);
    assert_dense(&f, 31, 35);
    teardown(&f);
}

Test(watch, a_snapshot_that_breaks_off_is_announced_and_begun_anew)
{
    struct fixture f;
    setup(&f, 1);
    fake_cluster_set(f.cluster, 1, 30, 0, 20);
    fake_node_set_mode(f.cluster->nodes[0], FAKE_CUTS_SNAPSHOT);
    start(&f, &(struct lapse_watch_options){.snapshot = true});
    WAIT_FOR(&f.seen, f.seen.n_snapshots > 0);
    cr_assert_eq(f.seen.n_resyncs, 1, "what the first snapshot had brought must be dropped");
    cr_assert_eq(f.seen.n_grants, 20);
    teardown(&f);
}

Test(watch, a_point_that_the_cluster_no_longer_has_leads_to_a_resync)
{
    struct fixture f;
    setup(&f, 1);
    fake_cluster_set(f.cluster, 1, 1000, 900, 7);
    f.seen.epoch = 1;
    start(&f, &(struct lapse_watch_options){.epoch = 1, .revision = 5});
    WAIT_FOR(&f.seen, f.seen.n_snapshots > 0);
    cr_assert_eq(f.seen.n_resyncs, 1);
    cr_assert_eq(f.seen.n_grants, 7);
    cr_assert_eq(f.seen.revision, 1000);
    teardown(&f);
}

Test(watch, a_restored_cluster_is_not_mistaken_for_the_old_one)
{
    struct fixture f;
    setup(&f, 1);
    struct fake_node *node = f.cluster->nodes[0];
    uint16_t port = fake_node_port(node);
    start(&f, &(struct lapse_watch_options){0});
    WAIT_FOR(&f.seen, f.seen.n_progress > 0);
    fake_cluster_publish(f.cluster, 10);
    WAIT_FOR(&f.seen, f.seen.revision == 10);
    fake_node_stop(node);
    fake_cluster_set(f.cluster, 2, 4, 0, 3); /* an older state, another epoch */
    fake_node_start(f.cluster, port);
    WAIT_FOR(&f.seen, f.seen.n_snapshots > 0);
    cr_assert_eq(f.seen.n_resyncs, 1);
    fake_cluster_publish(f.cluster, 1);
    WAIT_FOR(&f.seen, f.seen.revision == 5);
    cr_assert_eq(f.seen.epoch, 2);
    teardown(&f);
}

Test(watch, leaves_a_node_that_falls_silent)
{
    struct fixture f;
    setup(&f, 2);
    fake_node_set_mode(f.cluster->nodes[0], FAKE_SILENT);
    fake_node_set_mode(f.cluster->nodes[1], FAKE_SILENT);
    start(&f, &(struct lapse_watch_options){.progress_ms = 100});
    WAIT_FOR(&f.seen, f.seen.n_failures >= 2);
    cr_assert_not_null(strstr(f.seen.failure, "nothing was heard"), "%s", f.seen.failure);
    fake_node_set_mode(f.cluster->nodes[0], FAKE_SERVES);
    fake_node_set_mode(f.cluster->nodes[1], FAKE_SERVES);
    WAIT_FOR(&f.seen, f.seen.n_progress > 0);
    teardown(&f);
}

Test(watch, ends_when_the_caller_may_not_watch)
{
    struct fixture f;
    setup(&f, 1);
    fake_node_set_mode(f.cluster->nodes[0], FAKE_REFUSES);
    start(&f, &(struct lapse_watch_options){0});
    WAIT_FOR(&f.seen, f.seen.n_ends == 1);
    cr_assert_eq(f.seen.end, LAPSE_PERMISSION_DENIED);
    teardown(&f);
}

Test(watch, may_be_stopped_after_its_client_was_freed)
{
    struct fixture f;
    setup(&f, 1);
    start(&f, &(struct lapse_watch_options){0});
    WAIT_FOR(&f.seen, f.seen.n_progress > 0);
    lapse_client_free(f.client);
    cr_assert_eq(f.seen.n_ends, 1);
    f.client = NULL;
    teardown(&f);
}

Test(watch, options_that_cannot_be_are_refused)
{
    struct fixture f;
    struct lapse_watch_options bad[] = {
        {.revision = 5}, {.epoch = 1, .revision = 1, .snapshot = true}, {.progress_ms = 99}, {.progress_ms = 60001}};
    setup(&f, 1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(lapse_watch_start(f.client, &bad[i], &callbacks, &f.seen, &f.watch, NULL).code,
                     LAPSE_INVALID_ARGUMENT);
    cr_assert_null(f.watch);
    lapse_client_free(f.client);
    fake_cluster_free(f.cluster);
}
