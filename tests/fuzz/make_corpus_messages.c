/* Seeds of the API: one message of each type with all its fields, and those that differ in kind. */
#include "base/check.h"
#include "proto/codec.h"
#include "proto/convert.h"
#include "proto/encode.h"
#include "proto/lapse/v1/enforcement.pb.h"
#include "tests/fuzz/fuzz_messages.h"
#include "tests/fuzz/make_corpus.h"
#include "tests/unit/watch_event.h"

#define GRANT_ID "01KDVM8W0001000000000000G0"
#define PRINCIPAL "spiffe://example.org/user/dev1"

/* Encodes a literal of lapse.v1's TYPE as the seed NAME. */
#define SEED(type, name, ...)                                                                                          \
    do {                                                                                                               \
        static const lapse_v1_##type message = {__VA_ARGS__};                                                          \
        seed_generated(FUZZ_##type, name, lapse_v1_##type##_fields, &message);                                         \
    } while (0)

static void seed_generated(enum fuzz_message which, const char *name, const pb_msgdesc_t *type, const void *message)
{
    struct buf bytes;
    buf_init(&bytes, SEED_BYTES_MAX);
    lapse_result result = proto_encode(type, message, &bytes);
    CHECK(lapse_is_ok(result));
    seed_write("messages", name, (int)which, buf_slice(&bytes));
    buf_free(&bytes);
}

static void seed_requests(void)
{
    SEED(RequestRequest, "request", .request_id = "r-1", .subject = PRINCIPAL, .resource = "db/prod/*",
         .actions_count = 2, .actions = {"write", "read"}, .justification = "restore one order\nby hand",
         .ticket = "OPS-17", .task = "restore", .duration_ms = 3600000, .not_before_ms = 1767225602000,
         .pending_until_ms = 1767312000000, .max_uses = 5, .has_binding = true,
         .binding = {.spiffe_id = PRINCIPAL,
                     .certificate_sha256 = {32, "0123456789abcdef0123456789abcdef"},
                     .networks_count = 2,
                     .networks = {"10.2.0.0/16", "2001:db8::/32"}},
         .labels_count = 2, .labels = {{"team", "orders"}, {"env", "prod"}}, .parent = GRANT_ID);
    SEED(RequestRequest, "request-repeated-action", .subject = "user:dev1", .resource = "*", .actions_count = 2,
         .actions = {"read", "read"}, .justification = "x", .deadline_ms = 1767312000000);
    SEED(DecisionRequest, "decision", .request_id = "r-2", .grant_id = GRANT_ID, .comment = "go ahead");
    SEED(EndRequest, "end", .request_id = "r-3", .grant_id = GRANT_ID, .reason = "done");
    SEED(UseRequest, "use", .request_id = "r-4", .grant_id = GRANT_ID, .count = 2);
    SEED(GetRequest, "get", .grant_id = GRANT_ID);
    SEED(CheckRequest, "check", .subject = PRINCIPAL, .resource = "db/prod/orders", .action = "read",
         .spiffe_id = PRINCIPAL, .certificate_sha256 = {32, "0123456789abcdef0123456789abcdef"}, .address = "10.2.3.4");
    SEED(ListRequest, "list", .has_filter = true,
         .filter = {.subject = PRINCIPAL,
                    .resource = "db/*",
                    .requester = "user:req1",
                    .approver = "user:app1",
                    .ticket = "OPS-17",
                    .policy = "two-eyes",
                    .parent = GRANT_ID,
                    .states_count = 2,
                    .states = {lapse_v1_GrantState_ACTIVE, lapse_v1_GrantState_LAPSED}},
         .page_size = 10, .page_token = "1.2.3");
    SEED(WatchRequest, "watch", .has_scope = true, .scope = {.resource = "db/*"}, .epoch = 1, .revision = 300,
         .snapshot = true, .progress_ms = 1000);
}

static void seed_cluster(void)
{
    SEED(SetRolesRequest, "set-roles", .request_id = "r-5", .has_binding = true,
         .binding = {.member = "user:req*", .roles_count = 2, .roles = {"requester", "auditor"}});
    SEED(
        SetRolesRequest, "set-roles-scope", .request_id = "r-6", .has_binding = true,
        .binding = {
            .member = "user:ep", .roles_count = 1, .roles = {"enforcer"}, .scope_count = 2, .scope = {"db/*", "vm/a"}});
    SEED(SetRolesResponse, "set-roles-answer", .epoch = 1, .revision = 300, .time_ms = 1767225600000);
    SEED(TransferLeadershipRequest, "transfer", .node_id = 2);
    SEED(TransferLeadershipResponse, "transfer-answer", .leader_id = 2);
    SEED(AddNodeRequest, "add-node", .node_id = 4, .address = "n4.example.org:7401");
    SEED(AddNodeResponse, "add-node-answer", .begun = true);
    SEED(RemoveNodeRequest, "remove-node", .node_id = 4);
    SEED(RemoveNodeResponse, "remove-node-answer", .begun = true);
    SEED(StatusResponse, "status-answer", .cluster = "test-1", .epoch = 1, .revision = 300, .node_id = 1,
         .state = "leader", .leader_id = 1, .term = 3, .commit_index = 40, .applied_index = 40,
         .time_ms = 1767225600000, .digest = "0123456789abcdef0123456789abcdef", .nodes_count = 2,
         .nodes = {{1, "n1:7401", "voter", "self"}, {2, "n2:7401", "standby", "unreachable"}}, .live_grants = 3,
         .ended_grants = 7, .watchers = 2, .version = "0.1.0", .snapshot_index = 20);
}

static void seed_enforcement(void)
{
    SEED(EndRequest, "revoke-wait", .request_id = "r-7", .grant_id = "01JD8Z5M3N0V6Q2R4T8W9X1Y7Z", .reason = "over",
         .wait = lapse_v1_WaitLevel_ENFORCED, .wait_ms = 2000);
    SEED(RevokeMatchingRequest, "revoke-matching", .request_id = "r-8", .has_filter = true,
         .filter = {.ticket = "T-1", .states_count = 1, .states = {lapse_v1_GrantState_ACTIVE}}, .reason = "closed",
         .wait = lapse_v1_WaitLevel_RECEIVED);
    SEED(RevokeAndFollowRequest, "revoke-and-follow", .which_what = lapse_v1_RevokeAndFollowRequest_revoke_tag,
         .what.revoke = {.request_id = "r-9", .grant_id = "01JD8Z5M3N0V6Q2R4T8W9X1Y7Z"});
    SEED(RevokeAndFollowRequest, "revoke-matching-and-follow",
         .which_what = lapse_v1_RevokeAndFollowRequest_revoke_matching_tag,
         .what.revoke_matching = {.has_filter = true, .filter = {.subject = "user:dev1"}});
    SEED(RevokeMatchingResponse, "revoke-matching-answer", .epoch = 1, .revision = 300, .has_barrier = true,
         .barrier = {.id = 300,
                     .revision = 310,
                     .points = 4,
                     .enforced = 1,
                     .failed = 1,
                     .lapsed = 1,
                     .left = 1,
                     .done = true,
                     .time_ms = 1767225600000,
                     .done_ms = 1767225600004,
                     .grants = 8});
    SEED(GetBarrierRequest, "get-barrier", .barrier = 300);
    SEED(SubscribeRequest, "registration", .which_kind = lapse_v1_SubscribeRequest_registration_tag,
         .kind.registration = {.id = "edge-1",
                               .instance = {16, "0123456789abcdef"},
                               .scope_count = 1,
                               .scope = {"db/*"},
                               .lease_ms = 3000,
                               .epoch = 1,
                               .revision = 299});
    SEED(SubscribeRequest, "ack", .which_kind = lapse_v1_SubscribeRequest_ack_tag, .kind.ack = {300, 298});
    SEED(SubscribeRequest, "failure", .which_kind = lapse_v1_SubscribeRequest_failure_tag,
         .kind.failure = {300, "pts/3 does not end"});
    SEED(SubscribeRequest, "session", .which_kind = lapse_v1_SubscribeRequest_session_began_tag,
         .kind.session_began = {{16, "0123456789abcdef"}, "01JD8Z5M3N0V6Q2R4T8W9X1Y7Z", "sshd pts/3"});
    SEED(SubscribeResponse, "pong", .epoch = 1, .which_kind = lapse_v1_SubscribeResponse_pong_tag,
         .kind.pong = {7, 3000, 1767225600000000});
    SEED(SubscribeResponse, "point-ended", .epoch = 1, .which_kind = lapse_v1_SubscribeResponse_ended_tag,
         .kind.ended = {lapse_v1_PointEnded_Cause_FENCED, "a newer instance has this id"});
}

/* What a server writes is made by its own encoder. */
static void seed_encoded(enum fuzz_message which, const char *name, struct buf *bytes, lapse_result result)
{
    CHECK(lapse_is_ok(result));
    seed_write("messages", name, (int)which, buf_slice(bytes));
    buf_clear(bytes);
}

static const struct proto_point point = {.epoch = 1, .revision = 300, .time_ms = 1767225600000};

static void seed_watch_answers(struct buf *out)
{
    struct grant grant = sample_grant();
    const struct event_words about_grant = {.revision = 300, .time_ms = 1767225600000, .type = 6, .grant = &grant};
    const struct event_words about_roles = {
        .revision = 301, .time_ms = 1767225600000, .type = 12, .member = slice_str("user:req*"), .roles = ROLE_ALL};
    seed_encoded(FUZZ_WatchResponse, "watch-event", out, encode_watch_event(1, &about_grant, out));
    seed_encoded(FUZZ_WatchResponse, "watch-roles", out, encode_watch_event(1, &about_roles, out));
    seed_encoded(FUZZ_WatchResponse, "watch-grant", out, proto_encode_watch_grant(1, &grant, out));
    seed_encoded(FUZZ_WatchResponse, "watch-created", out, proto_encode_watch_created(&point, out));
    seed_encoded(FUZZ_WatchResponse, "watch-progress", out, proto_encode_watch_progress(&point, out));
    seed_encoded(FUZZ_WatchResponse, "watch-snapshot-end", out, proto_encode_watch_snapshot_end(&point, out));
    seed_encoded(FUZZ_WatchResponse, "watch-resync", out, proto_encode_watch_resync(1, "too far behind", out));
}

static void seed_pages(struct buf *out)
{
    struct grant grant = sample_grant();
    lapse_result result = proto_encode_list_begin(&point, out);
    for (int i = 0; i < 2 && lapse_is_ok(result); i++)
        result = proto_encode_list_grant(&grant, out);
    CHECK(lapse_is_ok(result));
    seed_encoded(FUZZ_OTHERS, "list-answer", out, proto_encode_list_end(slice_str("1.2.3"), out));
    result = proto_encode_list_roles_begin(&point, out);
    CHECK(lapse_is_ok(result));
    result = proto_encode_list_roles_binding(slice_str("user:ops"), ROLE_ALL, slice_str("db/prod/*"), out);
    CHECK(lapse_is_ok(result));
    seed_encoded(FUZZ_OTHERS, "list-roles-answer", out,
                 proto_encode_list_roles_binding(slice_str("user:req*"), ROLE_REQUESTER, slice_of(NULL, 0), out));
}

static void seed_answers(void)
{
    struct grant grant = sample_grant();
    struct buf out;
    buf_init(&out, SEED_BYTES_MAX);
    seed_encoded(FUZZ_Grant, "grant", &out, proto_encode_grant(&grant, &out));
    seed_encoded(FUZZ_MutationResponse, "mutation-answer", &out,
                 proto_encode_mutation(&point, &grant, true, NULL, &out));
    seed_encoded(FUZZ_GetResponse, "get-answer", &out, proto_encode_get(&point, &grant, &out));
    seed_encoded(FUZZ_CheckResponse, "check-answer", &out,
                 proto_encode_check(&point, true, "ALLOWS", &grant, 1000, &out));
    seed_watch_answers(&out);
    seed_pages(&out);
    buf_free(&out);
}

/* ServerReflectionRequest: what is asked for is one string field each. */
static void seed_reflection(void)
{
    seed_write("messages", "reflection-list", FUZZ_OTHERS, slice_str("\x0A\x01h\x3A\x01*"));
    seed_write("messages", "reflection-file", FUZZ_OTHERS, slice_str("\x1A\x15lapse/v1/grants.proto"));
    seed_write("messages", "reflection-symbol", FUZZ_OTHERS, slice_str("\x22\x0Flapse.v1.Grants"));
    seed_write("messages", "reflection-extension", FUZZ_OTHERS, slice_str("\x2A\x06\x0A\x02x.\x10\x07"));
}

void seed_messages(void)
{
    seed_requests();
    seed_cluster();
    seed_enforcement();
    seed_answers();
    seed_reflection();
}
