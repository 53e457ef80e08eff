/* liblapse's calls against real servers that misbehave on demand (fake_node.h): outcomes, repeats, deadlines, failover,
 * cancelling, and the codec against the generated one. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bytes.h"
#include "client/schema.h"
#include "proto/codec.h"
#include "proto/convert.h"
#include "tests/unit/fake_node.h"
#include "tests/unit/tls_fixture.h"

#define LONG_MS 60000 /* longer than any test runs: outcomes must not depend on it */

static struct lapse_client *connect_to(struct fake_cluster *cluster, const char *endpoints)
{
    struct tls_files files = fixture_files(cluster->pki, "dev1");
    struct lapse_client_options options = {.endpoints = endpoints,
                                           .certificate = files.certificate,
                                           .key = files.key,
                                           .authorities = files.authorities,
                                           .backoff_max_ms = 50};
    struct lapse_client *client = NULL;
    struct lapse_error error = {0};
    cr_assert(lapse_is_ok(lapse_client_new(&options, &client, &error)), "%s", error.message);
    return client;
}

static void wait_for(bool (*condition)(void *arg), void *arg)
{
    while (!condition(arg))
        usleep(1000);
}

static const struct lapse_end_args revoke_args = {.grant_id = "01JD8Z5M3N0V6Q2R4T8W9X1Y7Z", .reason = "left"};

static enum lapse_code revoke_now(struct lapse_client *client, uint32_t timeout_ms, struct lapse_error *error)
{
    struct lapse_mutation done = {0};
    lapse_result result = lapse_revoke(client, &revoke_args, timeout_ms, &done, error);
    lapse_mutation_free(&done);
    return result.code;
}

/* ---- Outcomes */

Test(client, a_call_returns_what_the_node_answers)
{
    struct fake_cluster *cluster = fake_cluster_new();
    fake_node_start(cluster, 0);
    fake_cluster_set(cluster, 3, 42, 0, 0);
    struct lapse_client *client = connect_to(cluster, fake_endpoints(cluster));
    struct lapse_mutation done;
    struct lapse_error error;

    cr_assert(lapse_is_ok(lapse_revoke(client, &revoke_args, LONG_MS, &done, &error)), "%s", error.message);
    cr_assert_eq(done.epoch, 3);
    cr_assert_eq(done.revision, 42);
    cr_assert(!done.repeated_call);
    cr_assert_eq(done.grant.state, LAPSE_STATE_REVOKED);
    cr_assert_str_eq(done.grant.reason, "left");
    cr_assert_str_eq(done.grant.actions[1], "read");
    cr_assert_str_eq(done.grant.approvals[0].comment, "ok");
    cr_assert_str_eq(done.grant.ended_by, "", "strings of results are never NULL");
    lapse_mutation_free(&done);
    lapse_client_free(client);
    fake_cluster_free(cluster);
}

Test(client, a_refusal_of_the_node_is_not_repeated_and_keeps_its_message)
{
    struct fake_cluster *cluster = fake_cluster_new();
    struct fake_node *node = fake_node_start(cluster, 0);
    struct lapse_client *client = connect_to(cluster, fake_endpoints(cluster));
    struct lapse_error error;

    fake_node_set_mode(node, FAKE_REFUSES);
    cr_assert_eq(revoke_now(client, LONG_MS, &error), LAPSE_PERMISSION_DENIED);
    cr_assert_str_eq(error.message, "you lack the role operator");
    cr_assert_eq(fake_node_calls(node), 1);
    lapse_client_free(client);
    fake_cluster_free(cluster);
}

Test(client, an_answer_that_is_no_message_is_an_internal_error)
{
    struct fake_cluster *cluster = fake_cluster_new();
    struct fake_node *node = fake_node_start(cluster, 0);
    struct lapse_client *client = connect_to(cluster, fake_endpoints(cluster));
    struct lapse_error error;

    fake_node_set_mode(node, FAKE_ANSWERS_JUNK);
    cr_assert_eq(revoke_now(client, LONG_MS, &error), LAPSE_INTERNAL);
    lapse_client_free(client);
    fake_cluster_free(cluster);
}

Test(client, arguments_reach_the_node_whole)
{
    struct fake_cluster *cluster = fake_cluster_new();
    fake_node_start(cluster, 0);
    struct lapse_client *client = connect_to(cluster, fake_endpoints(cluster));
    const char *actions[] = {"read", "write"}, *networks[] = {"10.0.0.0/8"};
    struct lapse_label labels[] = {{"team", "core"}};
    uint8_t thumbprint[32] = {1, 2, 3};
    struct lapse_request_args args = {.subject = "user:dev1@example.com",
                                      .resource = "db/prod/*",
                                      .actions = actions,
                                      .n_actions = 2,
                                      .justification = "why\nnot",
                                      .duration_ms = 3600000,
                                      .max_uses = 3,
                                      .binding = {"spiffe://test.lapse/x", {thumbprint, 32}, networks, 1},
                                      .labels = labels,
                                      .n_labels = 1};
    struct lapse_mutation done;
    struct lapse_error error;

    cr_assert(lapse_is_ok(lapse_request(client, &args, LONG_MS, &done, &error)), "%s", error.message);
    cr_assert_str_eq(done.grant.subject, args.subject);
    cr_assert_str_eq(done.grant.justification, "why\nnot");
    cr_assert_eq(done.grant.n_actions, 2);
    cr_assert_eq(done.grant.duration_ms, 3600000);
    cr_assert_eq(done.grant.max_uses, 3);
    cr_assert_eq(done.grant.binding.certificate_sha256.len, 32);
    cr_assert_arr_eq(done.grant.binding.certificate_sha256.data, thumbprint, 32);
    cr_assert_str_eq(done.grant.labels[0].value, "core");
    lapse_mutation_free(&done);
    lapse_client_free(client);
    fake_cluster_free(cluster);
}

/* ---- Repeats */

Test(client, a_write_whose_answer_was_lost_is_repeated_with_the_same_request_id_and_done_once)
{
    struct fake_cluster *cluster = fake_cluster_new();
    struct fake_node *broken = fake_node_start(cluster, 0);
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "%s", fake_endpoints(cluster));
    fake_node_set_mode(broken, FAKE_HANGS_UP);
    struct fake_node *good = fake_node_start(cluster, 0);
    char both[128];
    snprintf(both, sizeof both, "%s,127.0.0.1:%u", endpoint, fake_node_port(good));

    /* The first endpoint is random: go on until the broken node was the one. */
    for (int i = 0; fake_node_calls(broken) == 0; i++) {
        struct lapse_client *client = connect_to(cluster, both);
        struct lapse_mutation done;
        struct lapse_error error;
        cr_assert(lapse_is_ok(lapse_revoke(client, &revoke_args, LONG_MS, &done, &error)), "%s", error.message);
        cr_assert_eq(done.repeated_call, fake_node_calls(broken) == 1);
        lapse_mutation_free(&done);
        lapse_client_free(client);
        cr_assert_eq(cluster->n_requests, (uint32_t)i + 1, "each call is one write, whatever it took");
    }
    cr_assert_eq(cluster->attempts, cluster->n_requests + 1);
    fake_cluster_free(cluster);
}

Test(client, a_call_moves_on_when_a_node_cannot_serve)
{
    struct fake_cluster *cluster = fake_cluster_new();
    struct fake_node *follower = fake_node_start(cluster, 0);
    fake_node_start(cluster, 0);
    struct lapse_error error;
    fake_node_set_mode(follower, FAKE_UNAVAILABLE);
    while (fake_node_calls(follower) == 0) {
        struct lapse_client *client = connect_to(cluster, fake_endpoints(cluster));
        cr_assert_eq(revoke_now(client, LONG_MS, &error), LAPSE_OK, "%s", error.message);
        cr_assert_leq(fake_node_calls(follower), 1);
        lapse_client_free(client);
    }
    fake_cluster_free(cluster);
}

Test(client, calls_survive_the_death_of_each_node_in_turn)
{
    struct fake_cluster *cluster = fake_cluster_new();
    for (int i = 0; i < 3; i++)
        fake_node_start(cluster, 0);
    uint16_t ports[3];
    for (int i = 0; i < 3; i++)
        ports[i] = fake_node_port(cluster->nodes[i]);
    struct lapse_client *client = connect_to(cluster, fake_endpoints(cluster));
    struct lapse_error error;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(revoke_now(client, LONG_MS, &error), LAPSE_OK, "%s", error.message);
        fake_node_stop(cluster->nodes[0]); /* stopping takes it out; the last one moves up */
        cr_assert_eq(cluster->n_nodes, 2u);
        cr_assert_eq(revoke_now(client, LONG_MS, &error), LAPSE_OK, "%s", error.message);
        for (int j = 0; j < 3; j++) {
            bool there = false;
            for (uint32_t k = 0; k < cluster->n_nodes; k++)
                there = there || fake_node_port(cluster->nodes[k]) == ports[j];
            if (!there)
                fake_node_start(cluster, ports[j]);
        }
    }
    lapse_client_free(client);
    fake_cluster_free(cluster);
}

Test(client, a_revocation_that_is_pending_says_who_has_not_confirmed)
{
    struct fake_cluster *cluster = fake_cluster_new();
    struct fake_node *node = fake_node_start(cluster, 0);
    struct lapse_client *client = connect_to(cluster, fake_endpoints(cluster));
    struct lapse_error error;
    fake_node_set_mode(node, FAKE_PENDING);
    cr_assert_eq(revoke_now(client, LONG_MS, &error), LAPSE_DEADLINE_EXCEEDED);
    cr_assert_not_null(strstr(error.message, "not confirmed by edge-1"), "%s", error.message);
    lapse_client_free(client);
    fake_cluster_free(cluster);
}

Test(client, a_call_waits_for_a_node_that_is_not_there_yet)
{
    struct fake_cluster *cluster = fake_cluster_new();
    struct fake_node *node = fake_node_start(cluster, 0);
    uint16_t port = fake_node_port(node);
    struct lapse_client *client = connect_to(cluster, fake_endpoints(cluster));
    struct lapse_error error;
    fake_node_stop(node);
    cr_assert_eq(revoke_now(client, 100, &error), LAPSE_DEADLINE_EXCEEDED);
    cr_assert_not_null(strstr(error.message, "127.0.0.1"), "it says where it failed: %s", error.message);
    fake_node_start(cluster, port);
    cr_assert_eq(revoke_now(client, LONG_MS, &error), LAPSE_OK, "%s", error.message);
    lapse_client_free(client);
    fake_cluster_free(cluster);
}

Test(client, a_change_of_the_cluster_is_repeated_until_its_deadline)
{
    struct fake_cluster *cluster = fake_cluster_new();
    struct fake_node *node = fake_node_start(cluster, 0);
    struct lapse_client *client = connect_to(cluster, fake_endpoints(cluster));
    struct lapse_transfer transfer;
    struct lapse_error error;
    cr_assert(lapse_is_ok(lapse_transfer_leadership(client, NULL, LONG_MS, &transfer, &error)), "%s", error.message);
    cr_assert_eq(transfer.leader_id, 2);
    fake_node_set_mode(node, FAKE_HANGS_UP);
    cr_assert_eq(lapse_transfer_leadership(client, NULL, 500, &transfer, &error).code, LAPSE_DEADLINE_EXCEEDED);
    cr_assert_gt(cluster->attempts, 2);
    lapse_client_free(client);
    fake_cluster_free(cluster);
}

Test(client, a_deadline_ends_a_call_that_nobody_answers_and_says_that_the_outcome_is_open)
{
    struct fake_cluster *cluster = fake_cluster_new();
    struct fake_node *node = fake_node_start(cluster, 0);
    struct lapse_client *client = connect_to(cluster, fake_endpoints(cluster));
    struct lapse_error error;
    fake_node_set_mode(node, FAKE_SILENT);
    cr_assert_eq(revoke_now(client, 100, &error), LAPSE_DEADLINE_EXCEEDED);
    cr_assert_not_null(strstr(error.message, "request_id"), "%s", error.message);
    lapse_client_free(client);
    fake_cluster_free(cluster);
}

Test(client, a_client_that_no_node_trusts_is_told_so_without_waiting)
{
    struct fake_cluster *cluster = fake_cluster_new(), *other = fake_cluster_new();
    fake_node_start(cluster, 0);
    struct lapse_client *client = connect_to(other, fake_endpoints(cluster));
    struct lapse_error error;
    cr_assert_eq(revoke_now(client, LONG_MS, &error), LAPSE_UNAUTHENTICATED, "%s", error.message);
    lapse_client_free(client);
    fake_cluster_free(cluster);
    fake_cluster_free(other);
}

/* ---- Asynchronous calls */

struct outcome {
    _Atomic int calls;
    _Atomic int code;
    struct lapse_client *client;
};

static void on_revoked(void *arg, const struct lapse_mutation *result, const struct lapse_error *error)
{
    struct outcome *outcome = arg;
    cr_assert_eq(result == NULL, error->code != LAPSE_OK);
    atomic_store(&outcome->code, (int)error->code);
    atomic_fetch_add(&outcome->calls, 1);
}

static bool is_done(void *arg)
{
    return atomic_load(&((struct outcome *)arg)->calls) > 0;
}

static bool has_call(void *arg)
{
    return fake_node_calls(arg) > 0;
}

#define MANY 1000

static void make_many_calls(struct lapse_client *client, struct outcome *outcomes)
{
    struct lapse_error error;
    for (int i = 0; i < MANY; i++)
        cr_assert(
            lapse_is_ok(lapse_revoke_async(client, &revoke_args, LONG_MS, on_revoked, &outcomes[i], NULL, &error)),
            "%s", error.message);
    for (int i = 0; i < MANY; i++)
        wait_for(is_done, &outcomes[i]);
}

/* Twice, so that a place taken by the first thousand and not given back would show. */
Test(client, a_thousand_calls_at_once_all_end_once)
{
    struct fake_cluster *cluster = fake_cluster_new();
    fake_node_start(cluster, 0);
    struct lapse_client *client = connect_to(cluster, fake_endpoints(cluster));
    struct outcome *outcomes = calloc(2 * MANY, sizeof *outcomes);
    make_many_calls(client, outcomes);
    make_many_calls(client, outcomes + MANY);
    lapse_client_free(client);
    for (int i = 0; i < 2 * MANY; i++) {
        cr_assert_eq(atomic_load(&outcomes[i].calls), 1);
        cr_assert_eq(atomic_load(&outcomes[i].code), LAPSE_OK);
    }
    cr_assert_eq(cluster->n_requests, 2 * MANY);
    free(outcomes);
    fake_cluster_free(cluster);
}

Test(client, more_open_calls_than_allowed_are_refused_at_once)
{
    struct fake_cluster *cluster = fake_cluster_new();
    struct fake_node *node = fake_node_start(cluster, 0);
    struct tls_files files = fixture_files(cluster->pki, "dev1");
    struct lapse_client_options options = {.endpoints = fake_endpoints(cluster),
                                           .certificate = files.certificate,
                                           .key = files.key,
                                           .authorities = files.authorities,
                                           .calls_max = 2};
    struct lapse_client *client;
    struct outcome outcomes[3] = {0};
    struct lapse_error error;
    fake_node_set_mode(node, FAKE_SILENT);
    cr_assert(lapse_is_ok(lapse_client_new(&options, &client, &error)), "%s", error.message);
    for (int i = 0; i < 2; i++)
        cr_assert(
            lapse_is_ok(lapse_revoke_async(client, &revoke_args, LONG_MS, on_revoked, &outcomes[i], NULL, &error)));
    cr_assert_eq(lapse_revoke_async(client, &revoke_args, LONG_MS, on_revoked, &outcomes[2], NULL, &error).code,
                 LAPSE_RESOURCE_EXHAUSTED);
    lapse_client_free(client);
    cr_assert_eq(atomic_load(&outcomes[0].code), LAPSE_CANCELLED, "freeing ends open calls");
    cr_assert_eq(atomic_load(&outcomes[1].calls), 1);
    cr_assert_eq(atomic_load(&outcomes[2].calls), 0, "a refused call never calls back");
    fake_cluster_free(cluster);
}

Test(client, a_cancelled_call_calls_back_once_and_its_handle_stays_valid)
{
    struct fake_cluster *cluster = fake_cluster_new();
    struct fake_node *node = fake_node_start(cluster, 0);
    struct lapse_client *client = connect_to(cluster, fake_endpoints(cluster));
    struct outcome outcome = {0};
    struct lapse_call *call;
    struct lapse_error error;
    fake_node_set_mode(node, FAKE_SILENT);
    cr_assert(lapse_is_ok(lapse_revoke_async(client, &revoke_args, LONG_MS, on_revoked, &outcome, &call, &error)));
    wait_for(has_call, node);
    lapse_call_cancel(call);
    lapse_call_cancel(call);
    wait_for(is_done, &outcome);
    lapse_call_cancel(call);
    lapse_client_free(client);
    lapse_call_cancel(call);
    lapse_call_free(call);
    cr_assert_eq(atomic_load(&outcome.calls), 1);
    cr_assert_eq(atomic_load(&outcome.code), LAPSE_CANCELLED);
    fake_cluster_free(cluster);
}

Test(client, a_call_that_waits_for_a_connection_can_be_cancelled)
{
    struct fake_cluster *cluster = fake_cluster_new();
    struct lapse_client *client = connect_to(cluster, "127.0.0.1:1");
    struct outcome outcome = {0};
    struct lapse_call *call;
    struct lapse_error error;
    cr_assert(lapse_is_ok(lapse_revoke_async(client, &revoke_args, LONG_MS, on_revoked, &outcome, &call, &error)));
    lapse_call_cancel(call);
    lapse_call_free(call);
    wait_for(is_done, &outcome);
    cr_assert_eq(atomic_load(&outcome.code), LAPSE_CANCELLED);
    lapse_client_free(client);
    fake_cluster_free(cluster);
}

static void call_blocking_inside(void *arg, const struct lapse_mutation *result, const struct lapse_error *error)
{
    struct outcome *outcome = arg;
    (void)result, (void)error;
    atomic_store(&outcome->code, (int)revoke_now(outcome->client, LONG_MS, NULL));
    atomic_fetch_add(&outcome->calls, 1);
}

Test(client, a_blocking_call_from_a_callback_is_refused)
{
    struct fake_cluster *cluster = fake_cluster_new();
    fake_node_start(cluster, 0);
    struct lapse_client *client = connect_to(cluster, fake_endpoints(cluster));
    struct outcome outcome = {.client = client};
    struct lapse_error error;
    cr_assert(
        lapse_is_ok(lapse_revoke_async(client, &revoke_args, LONG_MS, call_blocking_inside, &outcome, NULL, &error)));
    wait_for(is_done, &outcome);
    cr_assert_eq(atomic_load(&outcome.code), LAPSE_FAILED_PRECONDITION);
    lapse_client_free(client);
    fake_cluster_free(cluster);
}

Test(client, bad_options_are_refused_with_what_to_do)
{
    struct fake_cluster *cluster = fake_cluster_new();
    struct tls_files files = fixture_files(cluster->pki, "dev1");
    static const char *const bad[] = {"",         "127.0.0.1", "127.0.0.1:", ":7400", "127.0.0.1:0", "127.0.0.1:65536",
                                      "::1:7400", "a:1,",      "a:1,,b:2",   "a:7x",  "a b:1",       "[]:1"};
    struct lapse_client *client = NULL;
    struct lapse_error error;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct lapse_client_options options = {bad[i], files.certificate, files.key, files.authorities};
        cr_assert_eq(lapse_client_new(&options, &client, &error).code, LAPSE_INVALID_ARGUMENT, "\"%s\"", bad[i]);
    }
    struct lapse_client_options missing = {"[::1]:7400", "/nonexistent.pem", files.key, files.authorities};
    cr_assert(!lapse_is_ok(lapse_client_new(&missing, &client, &error)));
    cr_assert_not_null(strstr(error.message, "/nonexistent.pem"), "%s", error.message);
    cr_assert_null(client);
    fake_cluster_free(cluster);
}

/* ---- The codec */

/* The bytes of the public struct must be those of the generated codec, and the other way round. */
Test(client, a_request_has_the_bytes_that_the_generated_codec_reads_and_writes)
{
    static lapse_v1_RequestRequest generated;
    const char *actions[] = {"read", "write"}, *networks[] = {"10.0.0.0/8", "::/0"};
    struct lapse_label labels[] = {{"team", "core"}, {"x", ""}};
    struct lapse_request_args args = {
        "id-1", "s", "r/*", actions, 2, "why", "T-1",
        "task", 1,   2,     3,       4, 5,     {"spiffe://a/b", {(const uint8_t *)"0123", 4}, networks, 2},
        labels, 2,   "P"};
    struct buf ours, theirs;
    struct lapse_error error = {0};
    buf_init(&ours, 4096);
    buf_init(&theirs, 4096);
    cr_assert(lapse_is_ok(codec_encode(&schema_request_args, &args, &ours)));
    cr_assert(lapse_is_ok(proto_decode(lapse_v1_RequestRequest_fields, buf_slice(&ours), &generated, &error)), "%s",
              error.message);
    cr_assert_str_eq(generated.actions[1], "write");
    cr_assert_eq(generated.pending_until_ms, 4);
    cr_assert_str_eq(generated.parent, "P");
    cr_assert(lapse_is_ok(proto_encode(lapse_v1_RequestRequest_fields, &generated, &theirs)));
    cr_assert(slice_equal(buf_slice(&ours), buf_slice(&theirs)));
    buf_free(&ours);
    buf_free(&theirs);
}

Test(client, a_watch_request_has_the_bytes_that_the_generated_codec_reads_and_writes)
{
    static lapse_v1_WatchRequest generated;
    enum lapse_grant_state states[] = {LAPSE_STATE_ACTIVE, LAPSE_STATE_LAPSED};
    struct lapse_watch_options options = {{"s", "r", "q", "a", "t", "p", "P", states, 2}, 7, 9, true, 500};
    struct buf ours, theirs;
    buf_init(&ours, 4096);
    buf_init(&theirs, 4096);
    cr_assert(lapse_is_ok(codec_encode(&schema_watch_options, &options, &ours)));
    cr_assert(lapse_is_ok(proto_decode(lapse_v1_WatchRequest_fields, buf_slice(&ours), &generated, NULL)));
    cr_assert_eq(generated.scope.states_count, 2);
    cr_assert_eq(generated.scope.states[1], lapse_v1_GrantState_LAPSED);
    cr_assert_eq(generated.revision, 9);
    cr_assert(lapse_is_ok(proto_encode(lapse_v1_WatchRequest_fields, &generated, &theirs)));
    cr_assert(slice_equal(buf_slice(&ours), buf_slice(&theirs)));
    buf_free(&ours);
    buf_free(&theirs);
}

Test(client, a_status_of_the_generated_codec_is_read_whole)
{
    static lapse_v1_StatusResponse generated = {.cluster = "c-1",
                                                .epoch = 1,
                                                .revision = 2,
                                                .node_id = 3,
                                                .state = "leader",
                                                .leader_id = 3,
                                                .term = 4,
                                                .commit_index = 5,
                                                .applied_index = 6,
                                                .time_ms = 7,
                                                .digest = "ab",
                                                .nodes_count = 2,
                                                .live_grants = 8,
                                                .ended_grants = 9,
                                                .watchers = 10,
                                                .version = "0.1.0",
                                                .snapshot_index = 11};
    struct lapse_cluster_status status;
    struct buf bytes;
    generated.nodes[1].id = 77;
    strcpy(generated.nodes[1].link, "connected");
    buf_init(&bytes, 4096);
    cr_assert(lapse_is_ok(proto_encode(lapse_v1_StatusResponse_fields, &generated, &bytes)));
    cr_assert(lapse_is_ok(codec_decode(&schema_cluster_status, buf_slice(&bytes), &status, NULL)));
    cr_assert_str_eq(status.cluster, "c-1");
    cr_assert_eq(status.n_nodes, 2);
    cr_assert_eq(status.nodes[1].id, 77);
    cr_assert_str_eq(status.nodes[1].link, "connected");
    cr_assert_eq(status.snapshot_index, 11);
    lapse_cluster_status_free(&status);
    buf_free(&bytes);
}

Test(client, an_encoded_grant_decodes_to_the_same_and_so_does_its_copy)
{
    const char *actions[] = {"read", ""};
    struct lapse_approval approvals[] = {{"a", 1, ""}, {"b", 2, "ok"}, {"c", -1, "x"}};
    struct lapse_grant grant = {.id = "G",
                                .state = LAPSE_STATE_EXHAUSTED,
                                .subject = "s",
                                .actions = actions,
                                .n_actions = 2,
                                .approvals = approvals,
                                .n_approvals = 3,
                                .break_glass = true,
                                .deadline_ms = INT64_MAX,
                                .revision = UINT64_MAX};
    struct lapse_grant decoded, copy;
    struct buf first, second;
    buf_init(&first, 4096);
    buf_init(&second, 4096);
    cr_assert(lapse_is_ok(codec_encode(&schema_grant, &grant, &first)));
    cr_assert(lapse_is_ok(codec_decode(&schema_grant, buf_slice(&first), &decoded, NULL)));
    lapse_grant_copy(&decoded, &copy);
    lapse_grant_free(&decoded);
    lapse_grant_free(&decoded); /* zeroed by the first */
    cr_assert(lapse_is_ok(codec_encode(&schema_grant, &copy, &second)));
    cr_assert(slice_equal(buf_slice(&first), buf_slice(&second)));
    lapse_grant_free(&copy);
    buf_free(&first);
    buf_free(&second);
}

Test(client, malformed_bytes_are_refused_and_fill_nothing)
{
    struct lapse_grant grant = {.id = "untouched"};
    static const struct {
        const char *why;
        uint8_t bytes[8];
        size_t len;
    } bad[] = {{"truncated string", {0x0A, 5, 'a'}, 3},     {"string as a number", {0x08, 1}, 2},
               {"number as a string", {0x12, 1, 'a'}, 3},   {"NUL in a string", {0x0A, 2, 'a', 0}, 4},
               {"NUL in a list's string", {0x2A, 1, 0}, 3}, {"truncated message", {0x52, 2, 0x0A, 9}, 4},
               {"truncated number", {0x10, 0x80}, 2}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct lapse_error error;
        cr_assert_eq(codec_decode(&schema_grant, slice_of(bad[i].bytes, bad[i].len), &grant, &error).code,
                     LAPSE_INTERNAL, "%s", bad[i].why);
        cr_assert_str_eq(grant.id, "untouched");
    }
}

Test(client, more_elements_than_a_message_may_have_are_refused)
{
    uint8_t bytes[2 * 200];
    struct lapse_grant grant;
    for (size_t i = 0; i < sizeof bytes; i += 2) {
        bytes[i] = 0x62; /* labels, empty */
        bytes[i + 1] = 0;
    }
    cr_assert_eq(codec_decode(&schema_grant, slice_of(bytes, sizeof bytes), &grant, NULL).code, LAPSE_INTERNAL);
    cr_assert(lapse_is_ok(codec_decode(&schema_grant, slice_of(bytes, 32), &grant, NULL)));
    cr_assert_eq(grant.n_labels, 16);
    lapse_grant_free(&grant);
}

Test(client, fields_of_a_newer_cluster_are_skipped)
{
    static const uint8_t bytes[] = {0xFA, 0x07, 2, 'h', 'i', 0x0A, 1, 'G', 0xF0, 0x07, 1};
    struct lapse_grant grant;
    cr_assert(lapse_is_ok(codec_decode(&schema_grant, slice_of(bytes, sizeof bytes), &grant, NULL)));
    cr_assert_str_eq(grant.id, "G");
    lapse_grant_free(&grant);
}

Test(client, request_ids_are_different_uuids_of_version_4)
{
    char a[LAPSE_REQUEST_ID_SIZE], b[LAPSE_REQUEST_ID_SIZE];
    lapse_request_id_make(a);
    lapse_request_id_make(b);
    cr_assert_eq(strlen(a), 36);
    cr_assert_eq(a[14], '4');
    cr_assert_neq(strcmp(a, b), 0);
}
