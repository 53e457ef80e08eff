/* Conversions: the bytes that servers write by hand are those of the schema, and nothing is lost between plain data,
 * generated structs and bytes. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "proto/lapse/v1/enforcement.pb.h"
#include "store/store.h"
#include "tests/unit/convert_fixture.h"
#include "tests/unit/watch_event.h"

TestSuite(convert, .init = convert_begin, .fini = convert_end);

Test(convert, grants_are_encoded_as_the_schema_says)
{
    lapse_v1_Grant *message = mem_alloc(sizeof *message);
    for (int i = 0; i < 2000; i++) {
        struct grant grant = some_grant();
        fill(&grant, message);
        encode(lapse_v1_Grant_fields, message);
        expect_same_bytes(proto_encode_grant(&grant, &by_hand));
    }
    free(message);
}

Test(convert, events_are_encoded_as_the_schema_says)
{
    lapse_v1_WatchResponse *watch = mem_calloc(1, sizeof *watch);
    for (int i = 0; i < 500; i++) {
        struct grant grant = some_grant();
        struct point point = some_point();
        struct barrier barrier = some_barrier();
        struct session session = some_session();
        struct sweep sweep = some_sweep();
        struct event_words event = {.revision = any(1000),
                                    .time_ms = number(),
                                    .type = (uint32_t)any(STORE_EVENT_SWEEP_ENDED + 1),
                                    .grant = any(2) ? &grant : NULL,
                                    .point = any(4) ? NULL : &point,
                                    .barrier = any(4) ? NULL : &barrier,
                                    .session = any(4) ? NULL : &session,
                                    .sweep = any(4) ? NULL : &sweep};
        if (any(2)) {
            event.member = some_text(LIMIT_PRINCIPAL);
            event.roles = (uint32_t)any(ROLE_ALL + 1);
            event.scope = scope();
        }
        *watch = (lapse_v1_WatchResponse){.epoch = any(3), .which_kind = lapse_v1_WatchResponse_event_tag};
        fill_event(&event, &watch->kind.event);
        encode(lapse_v1_Event_fields, &watch->kind.event);
        expect_same_bytes(words_encode_event(&event, &by_hand));
        encode(lapse_v1_WatchResponse_fields, watch);
        expect_same_bytes(encode_watch_event(watch->epoch, &event, &by_hand));
    }
    free(watch);
}

Test(convert, the_other_messages_of_a_watch_are_encoded_as_the_schema_says)
{
    lapse_v1_WatchResponse *watch = mem_calloc(1, sizeof *watch);
    const struct proto_point points[] = {{0}, {7, 300, 1767225600000}};
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        const struct proto_point *point = &points[i];
        *watch = (lapse_v1_WatchResponse){.epoch = point->epoch,
                                          .which_kind = lapse_v1_WatchResponse_created_tag,
                                          .kind.created = {point->revision, point->time_ms}};
        encode(lapse_v1_WatchResponse_fields, watch);
        expect_same_bytes(proto_encode_watch_created(point, &by_hand));
        *watch = (lapse_v1_WatchResponse){.epoch = point->epoch,
                                          .which_kind = lapse_v1_WatchResponse_progress_tag,
                                          .kind.progress = {point->revision, point->time_ms}};
        encode(lapse_v1_WatchResponse_fields, watch);
        expect_same_bytes(proto_encode_watch_progress(point, &by_hand));
        *watch = (lapse_v1_WatchResponse){.epoch = point->epoch,
                                          .which_kind = lapse_v1_WatchResponse_snapshot_end_tag,
                                          .kind.snapshot_end = {point->revision, point->time_ms}};
        encode(lapse_v1_WatchResponse_fields, watch);
        expect_same_bytes(proto_encode_watch_snapshot_end(point, &by_hand));
    }
    *watch = (lapse_v1_WatchResponse){
        .epoch = 7, .which_kind = lapse_v1_WatchResponse_resync_tag, .kind.resync = {"fell behind"}};
    encode(lapse_v1_WatchResponse_fields, watch);
    expect_same_bytes(proto_encode_watch_resync(7, "fell behind", &by_hand));
    struct grant grant = full_grant();
    *watch = (lapse_v1_WatchResponse){.epoch = 7, .which_kind = lapse_v1_WatchResponse_snapshot_grant_tag};
    fill(&grant, &watch->kind.snapshot_grant);
    encode(lapse_v1_WatchResponse_fields, watch);
    expect_same_bytes(proto_encode_watch_grant(7, &grant, &by_hand));
    free(watch);
}

Test(convert, answers_are_encoded_as_the_schema_says)
{
    const struct proto_point point = {7, 300, 1767225600000};
    struct grant grant = full_grant();
    struct barrier barrier = some_barrier();
    lapse_v1_MutationResponse *mutation = mem_calloc(1, sizeof *mutation);
    *mutation = (lapse_v1_MutationResponse){.epoch = 7,
                                            .revision = 300,
                                            .time_ms = point.time_ms,
                                            .has_grant = true,
                                            .repeated_call = true,
                                            .has_barrier = true};
    fill(&grant, &mutation->grant);
    fill_barrier(&barrier, &mutation->barrier);
    encode(lapse_v1_MutationResponse_fields, mutation);
    expect_same_bytes(proto_encode_mutation(&point, &grant, true, &barrier, &by_hand));
    lapse_v1_GetResponse *get = mem_calloc(1, sizeof *get);
    *get = (lapse_v1_GetResponse){.epoch = 7, .revision = 300, .time_ms = point.time_ms, .has_grant = true};
    fill(&grant, &get->grant);
    encode(lapse_v1_GetResponse_fields, get);
    expect_same_bytes(proto_encode_get(&point, &grant, &by_hand));
    lapse_v1_CheckResponse *check = mem_calloc(1, sizeof *check);
    *check = (lapse_v1_CheckResponse){.epoch = 7,
                                      .revision = 300,
                                      .time_ms = point.time_ms,
                                      .allowed = true,
                                      .verdict = "ALLOWS",
                                      .has_grant = true,
                                      .valid_for_ms = 5000};
    fill(&grant, &check->grant);
    encode(lapse_v1_CheckResponse_fields, check);
    expect_same_bytes(proto_encode_check(&point, true, "ALLOWS", &grant, 5000, &by_hand));
    free(mutation);
    free(get);
    free(check);
}

/* nanopb can write a repeated submessage only through a callback. */
/* --- reading back ------------------------------------------------------------------------------------------------- */

static void expect_same_grant(const struct grant *a, const struct grant *b)
{
    buf_clear(&by_codec);
    cr_assert(lapse_is_ok(proto_encode_grant(a, &by_codec)));
    expect_same_bytes(proto_encode_grant(b, &by_hand));
}

Test(convert, a_grant_survives_the_way_to_a_client)
{
    lapse_v1_Grant *message = mem_alloc(sizeof *message);
    for (int i = 0; i < 500; i++) {
        struct grant sent = some_grant(), received;
        struct lapse_error error = {0};
        buf_clear(&by_hand);
        cr_assert(lapse_is_ok(proto_encode_grant(&sent, &by_hand)));
        cr_assert(lapse_is_ok(proto_decode_grant(buf_slice(&by_hand), message, &received, &error)), "%s",
                  error.message);
        buf_clear(&by_hand);
        cr_assert_eq(received.n_labels, sent.n_labels);
        cr_assert_eq(grant_id_compare(received.id, sent.id), 0);
        expect_same_grant(&sent, &received);
    }
    free(message);
}

struct visited {
    struct grant grants[3];
    uint32_t n, stop_at;
    char first_member[64];
};

static bool visit_grant(void *arg, const struct grant *grant)
{
    struct visited *visited = arg;
    visited->grants[visited->n++] = *grant; /* numbers only: the texts are gone when this returns */
    return visited->n != visited->stop_at;
}

static void encode_page(uint32_t n)
{
    const struct proto_point point = {7, 300, 5};
    cr_assert(lapse_is_ok(proto_encode_list_begin(&point, &by_hand)));
    for (uint32_t i = 0; i < n; i++) {
        struct grant grant = some_grant();
        grant.revision = i + 1;
        cr_assert(lapse_is_ok(proto_encode_list_grant(&grant, &by_hand)));
    }
    cr_assert(lapse_is_ok(proto_encode_list_end(slice_str("next"), &by_hand)));
}

Test(convert, a_page_is_visited_grant_by_grant)
{
    struct visited visited = {.n = 0};
    lapse_v1_ListResponse head;
    struct lapse_error error = {0};
    encode_page(3);
    cr_assert(lapse_is_ok(proto_decode_list(buf_slice(&by_hand), &head, visit_grant, &visited, &error)), "%s",
              error.message);
    cr_expect_eq(visited.n, 3);
    cr_expect_eq(visited.grants[2].revision, 3);
    cr_expect_eq(head.epoch, 7);
    cr_expect_eq(head.revision, 300);
    cr_expect_str_eq(head.next_page_token, "next");
}

Test(convert, a_visitor_may_stop)
{
    struct visited visited = {.stop_at = 2};
    lapse_v1_ListResponse head;
    encode_page(3);
    cr_expect_eq(proto_decode_list(buf_slice(&by_hand), &head, visit_grant, &visited, NULL).code, LAPSE_CANCELLED);
    cr_expect_eq(visited.n, 2);
}

static bool visit_binding(void *arg, struct slice member, uint32_t roles)
{
    struct visited *visited = arg;
    if (visited->n++ == 0)
        cr_assert(slice_to_cstr(member, visited->first_member, sizeof visited->first_member));
    cr_expect_eq(roles, visited->n == 1 ? ROLE_ALL : ROLE_AUDITOR);
    return true;
}

Test(convert, roles_are_listed_binding_by_binding)
{
    const struct proto_point point = {7, 300, 0};
    struct visited visited = {.n = 0};
    lapse_v1_ListRolesResponse head;
    cr_assert(lapse_is_ok(proto_encode_list_roles_begin(&point, &by_hand)));
    cr_assert(lapse_is_ok(
        proto_encode_list_roles_binding(slice_str("user:dev1"), ROLE_ALL, slice_str("db/* vm/a"), &by_hand)));
    cr_assert(
        lapse_is_ok(proto_encode_list_roles_binding(slice_str("user:*"), ROLE_AUDITOR, slice_of(NULL, 0), &by_hand)));
    cr_assert(lapse_is_ok(proto_decode_list_roles(buf_slice(&by_hand), &head, visit_binding, &visited, NULL)));
    cr_expect_eq(visited.n, 2);
    cr_expect_str_eq(visited.first_member, "user:dev1");
    cr_expect_eq(head.revision, 300);
}

/* --- requests and filters ----------------------------------------------------------------------------------------- */

Test(convert, a_request_becomes_a_command_with_sorted_terms)
{
    lapse_v1_RequestRequest request = {
        .subject = "user:dev1",
        .resource = "db/prod/*",
        .actions_count = 3,
        .actions = {"write", "read", "write"},
        .justification = "because",
        .duration_ms = 5000,
        .max_uses = 3,
        .labels_count = 2,
        .labels = {{"b", "2"}, {"a", "1"}},
        .has_binding = true,
        .binding = {.spiffe_id = "spiffe://example.org/x", .networks_count = 1, .networks = {"10.0.0.0/8"}},
        .parent = "01JD8Z5M3N0V6Q2R4T8W9X1Y7Z",
    };
    struct command command;
    cr_assert(lapse_is_ok(proto_request_borrow(&request, &command, NULL)));
    cr_expect_eq(command.type, COMMAND_REQUEST);
    cr_expect_eq(command.terms.n_actions, 2);
    cr_expect(slice_equal(command.terms.actions[0], slice_str("read")));
    cr_expect(slice_equal(command.terms.actions[1], slice_str("write")));
    cr_expect(slice_equal(command.terms.labels[0].key, slice_str("a")));
    cr_expect(slice_equal(command.terms.binding.networks[0], slice_str("10.0.0.0/8")));
    cr_expect_not(grant_id_is_zero(command.terms.parent));
    cr_expect_eq(command.terms.duration_ms, 5000);
    cr_expect_eq(command.terms.max_uses, 3);
}

Test(convert, a_malformed_parent_is_an_invalid_argument_that_names_it)
{
    lapse_v1_RequestRequest request = {.parent = "not an id"};
    struct command command = {.count = 17};
    struct lapse_error error = {0};
    cr_expect_eq(proto_request_borrow(&request, &command, &error).code, LAPSE_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(error.message, "parent"));
    cr_expect_eq(command.count, 17, "outputs are untouched on failure");
}

Test(convert, a_filter_survives_both_ways)
{
    struct store_filter filter = {.subject = slice_str("user:dev1"),
                                  .approver = slice_str("user:oncall"),
                                  .ticket = slice_str("T-1"),
                                  .parent = {{1, 2, 3}},
                                  .states = 1u << GRANT_PENDING | 1u << GRANT_LAPSED},
                        back;
    lapse_v1_Filter message;
    cr_assert(lapse_is_ok(proto_filter_fill(&filter, &message, NULL)));
    cr_assert(lapse_is_ok(proto_filter_borrow(&message, &back, NULL)));
    cr_expect(slice_equal(back.subject, filter.subject) && slice_equal(back.approver, filter.approver) &&
              slice_equal(back.ticket, filter.ticket));
    cr_expect_eq(back.resource.len, 0);
    cr_expect_eq(grant_id_compare(back.parent, filter.parent), 0);
    cr_expect_eq(back.states, filter.states);
    message.states[0] = (lapse_v1_GrantState)11;
    cr_expect_eq(proto_filter_borrow(&message, &back, NULL).code, LAPSE_INVALID_ARGUMENT);
}

Test(convert, a_word_that_is_no_role_is_refused)
{
    lapse_v1_RoleBinding binding = {.member = "user:dev1", .roles_count = 2, .roles = {"approver", "operator"}};
    uint32_t roles = 0;
    cr_assert(lapse_is_ok(proto_roles_borrow(&binding, &roles, NULL)));
    cr_expect_eq(roles, ROLE_APPROVER | ROLE_OPERATOR);
    strcpy(binding.roles[1], "root");
    cr_expect_eq(proto_roles_borrow(&binding, &roles, NULL).code, LAPSE_INVALID_ARGUMENT);
    cr_expect_eq(roles, ROLE_APPROVER | ROLE_OPERATOR);
}

/* --- what isn't a message ----------------------------------------------------------------------------------------- */

Test(convert, text_that_is_not_utf8_is_refused_wherever_it_is)
{
    static const struct {
        const char *bytes;
        size_t len;
        lapse_result expected;
    } cases[] = {
        {"\x12\x02\xC3\xBC", 4, {LAPSE_OK}},                   /* subject "ü" */
        {"\x12\x02\xC3\x28", 4, {LAPSE_INVALID_ARGUMENT}},     /* subject */
        {"\x22\x01\xFF", 3, {LAPSE_INVALID_ARGUMENT}},         /* an action */
        {"\x72\x03\x0A\x01\xFF", 5, {LAPSE_INVALID_ARGUMENT}}, /* the key of a label */
        {"\x6A\x03\x1A\x01\xFF", 5, {LAPSE_INVALID_ARGUMENT}}, /* a network of the binding */
        {"\x6A\x03\x12\x01\xFF", 5, {LAPSE_OK}},               /* its certificate's hash is bytes */
        {"\x12\x01\x1B", 3, {LAPSE_INVALID_ARGUMENT}},         /* a control character */
    };
    lapse_v1_RequestRequest *request = mem_alloc(sizeof *request);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        lapse_result result =
            proto_decode(lapse_v1_RequestRequest_fields, slice_of(cases[i].bytes, cases[i].len), request, NULL);
        cr_expect_eq(result.code, cases[i].expected.code, "case %zu", i);
    }
    free(request);
}

Test(convert, a_string_one_longer_than_its_limit_is_refused)
{
    static const struct {
        uint32_t field;
        size_t limit;
    } cases[] = {
        {lapse_v1_RequestRequest_request_id_tag, LIMIT_REQUEST_ID},
        {lapse_v1_RequestRequest_subject_tag, LIMIT_SUBJECT},
        {lapse_v1_RequestRequest_resource_tag, LIMIT_RESOURCE},
        {lapse_v1_RequestRequest_actions_tag, LIMIT_ACTION},
        {lapse_v1_RequestRequest_justification_tag, LIMIT_JUSTIFICATION},
        {lapse_v1_RequestRequest_ticket_tag, LIMIT_TICKET},
        {lapse_v1_RequestRequest_task_tag, LIMIT_TASK},
        {lapse_v1_RequestRequest_parent_tag, GRANT_ID_TEXT_SIZE - 1},
    };
    lapse_v1_RequestRequest *request = mem_alloc(sizeof *request);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (size_t over = 0; over <= 1; over++) {
            uint8_t message[2048] = {(uint8_t)(cases[i].field << 3 | 2)};
            size_t len = cases[i].limit + over, n = 1;
            for (size_t left = len; n == 1 || left > 0; left >>= 7)
                message[n++] = (uint8_t)((left & 0x7F) | (left > 0x7F ? 0x80 : 0));
            memset(message + n, 'x', len);
            lapse_result result =
                proto_decode(lapse_v1_RequestRequest_fields, slice_of(message, n + len), request, NULL);
            cr_expect_eq(result.code, over ? LAPSE_INVALID_ARGUMENT : LAPSE_OK, "field %u, %zu bytes", cases[i].field,
                         len);
        }
    free(request);
}

/* What .options say against what limits.h says. */
#define BOUND(type, member, limit) cr_expect_eq(sizeof((type *)0)->member, (limit) + 1, #type "." #member)
#define BOUND_MANY(type, member, n, limit)                                                                             \
    do {                                                                                                               \
        cr_expect_eq(ARRAY_LEN(((type *)0)->member), (n), #type "." #member);                                          \
        cr_expect_eq(sizeof((type *)0)->member[0], (limit) + 1, #type "." #member);                                    \
    } while (0)

Test(convert, generated_bounds_are_the_limits)
{
    BOUND(lapse_v1_Grant, subject, LIMIT_SUBJECT);
    BOUND(lapse_v1_Grant, resource, LIMIT_RESOURCE);
    BOUND(lapse_v1_Grant, justification, LIMIT_JUSTIFICATION);
    BOUND(lapse_v1_Grant, ticket, LIMIT_TICKET);
    BOUND(lapse_v1_Grant, task, LIMIT_TASK);
    BOUND(lapse_v1_Grant, requester, LIMIT_PRINCIPAL);
    BOUND(lapse_v1_Grant, policy, LIMIT_POLICY);
    BOUND(lapse_v1_Grant, ended_by, LIMIT_PRINCIPAL);
    BOUND(lapse_v1_Grant, reason, LIMIT_REASON);
    BOUND(lapse_v1_Grant, id, GRANT_ID_TEXT_SIZE - 1);
    BOUND_MANY(lapse_v1_Grant, actions, LIMIT_ACTIONS, LIMIT_ACTION);
    BOUND_MANY(lapse_v1_RequestRequest, actions, LIMIT_ACTIONS, LIMIT_ACTION);
    cr_expect_eq(ARRAY_LEN(((lapse_v1_Grant *)0)->approvals), LIMIT_APPROVALS);
    cr_expect_eq(ARRAY_LEN(((lapse_v1_Grant *)0)->labels), LIMIT_LABELS);
    BOUND(lapse_v1_Approval, approver, LIMIT_PRINCIPAL);
    BOUND(lapse_v1_Approval, comment, LIMIT_REASON);
    BOUND(lapse_v1_Label, key, LIMIT_LABEL_KEY);
    BOUND(lapse_v1_Label, value, LIMIT_LABEL_VALUE);
    BOUND(lapse_v1_Binding, spiffe_id, LIMIT_PRINCIPAL);
    BOUND_MANY(lapse_v1_Binding, networks, LIMIT_NETWORKS, LIMIT_NETWORK);
    BOUND(lapse_v1_RoleBinding, member, LIMIT_PRINCIPAL);
    BOUND_MANY(lapse_v1_RoleBinding, scope, LIMIT_SCOPE_PATTERNS, LIMIT_RESOURCE);
    BOUND(lapse_v1_Point, id, LIMIT_POINT_ID);
    BOUND(lapse_v1_Point, principal, LIMIT_PRINCIPAL);
    BOUND_MANY(lapse_v1_Point, scope, LIMIT_SCOPE_PATTERNS, LIMIT_RESOURCE);
    BOUND(lapse_v1_Receipt, point, LIMIT_POINT_ID);
    BOUND(lapse_v1_Receipt, reason, LIMIT_RECEIPT_REASON);
    BOUND(lapse_v1_Session, point, LIMIT_POINT_ID);
    BOUND(lapse_v1_Session, description, LIMIT_SESSION_DESCRIPTION);
    BOUND(lapse_v1_Sweep, subject, LIMIT_SUBJECT);
    BOUND(lapse_v1_Sweep, resource, LIMIT_RESOURCE);
    BOUND(lapse_v1_Sweep, requester, LIMIT_PRINCIPAL);
    BOUND(lapse_v1_Sweep, approver, LIMIT_PRINCIPAL);
    BOUND(lapse_v1_Sweep, ticket, LIMIT_TICKET);
    BOUND(lapse_v1_Sweep, policy, LIMIT_POLICY);
    BOUND(lapse_v1_Sweep, reason, LIMIT_REASON);
    BOUND(lapse_v1_Sweep, by, LIMIT_PRINCIPAL);
    BOUND(lapse_v1_RevokeMatchingRequest, request_id, LIMIT_REQUEST_ID);
    BOUND(lapse_v1_RevokeMatchingRequest, reason, LIMIT_REASON);
    BOUND(lapse_v1_DecisionRequest, request_id, LIMIT_REQUEST_ID);
    BOUND(lapse_v1_DecisionRequest, comment, LIMIT_REASON);
    BOUND(lapse_v1_EndRequest, reason, LIMIT_REASON);
    BOUND(lapse_v1_Filter, ticket, LIMIT_TICKET);
    BOUND(lapse_v1_CheckRequest, action, LIMIT_ACTION);
    cr_expect_eq(ARRAY_LEN(((lapse_v1_StatusResponse *)0)->nodes), LIMIT_PEERS);
}

Test(convert, a_full_buffer_is_reported)
{
    struct grant grant = full_grant();
    struct buf small;
    buf_init(&small, 100);
    cr_expect_eq(proto_encode_grant(&grant, &small).code, LAPSE_RESOURCE_EXHAUSTED);
    buf_free(&small);
}
