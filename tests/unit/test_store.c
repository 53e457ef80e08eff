#include <criterion/criterion.h>
#include <stdio.h>

#include "base/check.h"
#include "store_fixture.h"

static struct store_outcome approve(struct store *store, uint64_t number, int64_t time_ms)
{
    return fixture_must(store, fixture_about(COMMAND_APPROVE, number, "user:app1"), time_ms);
}

static struct grant get(const struct store *store, uint64_t number)
{
    struct grant grant;
    bool found = store_get(store, fixture_id(number), &grant);
    cr_assert(found);
    return grant;
}

Test(store, an_approved_grant_is_active_until_its_deadline)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, fixture_request(1), T0 + 10);
    cr_assert_eq(store_next_due_ms(store), T0 + 10 + LIMIT_PENDING_MS_DEFAULT);
    struct store_outcome outcome = approve(store, 1, T0 + 20);
    cr_assert_eq(outcome.n_events, 2, "APPROVED, then ACTIVATED");
    struct grant grant = get(store, 1);
    cr_assert_eq(grant.state, GRANT_ACTIVE);
    cr_assert_eq(grant.deadline_ms, T0 + 20 + 60000);
    cr_assert_eq(grant.activated_revision, grant.approved_revision + 1);
    cr_assert_eq(grant.n_approvals, 1);
    cr_assert(slice_equal(grant.approvals[0].approver, slice_str("user:app1")));
    cr_assert_eq(store_next_due_ms(store), grant.deadline_ms);
    fixture_must(store, fixture_advance(10), grant.deadline_ms - 1);
    cr_assert_eq(fixture_state(store, 1), GRANT_ACTIVE);
    fixture_must(store, fixture_advance(10), grant.deadline_ms);
    grant = get(store, 1);
    cr_assert_eq(grant.state, GRANT_EXPIRED);
    cr_assert_eq(grant.ended_by.len, 0);
    cr_assert_eq(grant.ended_revision, store_revision(store));
    store_free(store);
}

Test(store, a_grant_for_later_waits_for_its_not_before)
{
    struct store *store = fixture_store(NULL);
    struct command request = fixture_request(1);
    request.terms.not_before_ms = T0 + 5000;
    fixture_must(store, request, T0);
    cr_assert_eq(approve(store, 1, T0).n_events, 1);
    cr_assert_eq(get(store, 1).deadline_ms, T0 + 5000 + 60000);
    fixture_must(store, fixture_advance(1), T0 + 4999);
    cr_assert_eq(fixture_state(store, 1), GRANT_APPROVED);
    fixture_must(store, fixture_advance(1), T0 + 5000);
    cr_assert_eq(fixture_state(store, 1), GRANT_ACTIVE);
    store_free(store);
}

Test(store, G3_past_its_deadline_a_grant_is_over_whether_advanced_or_not)
{
    static const enum command_type commands[] = {COMMAND_USE, COMMAND_COMPLETE, COMMAND_REVOKE};
    static const char *const by[] = {"user:ep", "user:req1", "user:ops"};
    struct store *store = fixture_store(NULL);
    fixture_must(store, fixture_request(1), T0);
    approve(store, 1, T0);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        struct store_outcome outcome = fixture_apply(store, fixture_about(commands[i], 1, by[i]), T0 + 60000);
        cr_assert_eq(outcome.error.code, LAPSE_FAILED_PRECONDITION);
        cr_assert_not_null(strstr(outcome.error.message, "past its deadline"));
    }
    cr_assert_eq(fixture_state(store, 1), GRANT_ACTIVE, "its end is an event of ADVANCE");
    struct command late = fixture_request(2);
    fixture_must(store, late, T0 + 60000);
    int64_t lapses = T0 + 60000 + LIMIT_PENDING_MS_DEFAULT;
    struct store_outcome outcome = fixture_apply(store, fixture_about(COMMAND_APPROVE, 2, "user:app1"), lapses);
    cr_assert_eq(outcome.error.code, LAPSE_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(outcome.error.message, "not decided in time"));
    store_free(store);
}

Test(store, a_request_lapses_at_its_absolute_deadline)
{
    struct store *store = fixture_store(NULL);
    struct command request = fixture_request(1);
    request.terms.duration_ms = 0;
    request.terms.deadline_ms = T0 + 1000;
    fixture_must(store, request, T0);
    cr_assert_eq(store_next_due_ms(store), T0 + 1000);
    cr_assert_eq(fixture_apply(store, fixture_about(COMMAND_APPROVE, 1, "user:app1"), T0 + 1000).error.code,
                 LAPSE_FAILED_PRECONDITION);
    fixture_must(store, fixture_advance(1), T0 + 1000);
    cr_assert_eq(fixture_state(store, 1), GRANT_LAPSED);
    store_free(store);
}

Test(store, time_never_runs_backwards)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, fixture_request(1), T0 + 500);
    fixture_must(store, fixture_request(2), T0);
    cr_assert_eq(get(store, 2).requested_ms, T0 + 500);
    fixture_apply(store, fixture_advance(1), INT64_MAX);
    cr_assert_leq(store_time_ms(store), LIMIT_TIME_MS_MAX);
    fixture_apply(store, fixture_advance(1), INT64_MIN);
    store_free(store);
}

Test(store, uses_are_counted_and_the_last_one_ends_the_grant)
{
    struct store *store = fixture_store(NULL);
    struct command request = fixture_request(1), use = fixture_about(COMMAND_USE, 1, "user:ep");
    request.terms.max_uses = 5;
    fixture_must(store, request, T0);
    approve(store, 1, T0);
    use.count = 4;
    cr_assert_eq(fixture_must(store, use, T0).n_events, 1);
    use.count = 2;
    struct store_outcome outcome = fixture_apply(store, use, T0);
    cr_assert_eq(outcome.error.code, LAPSE_RESOURCE_EXHAUSTED);
    cr_assert_eq(get(store, 1).uses, 4);
    use.count = 1;
    cr_assert_eq(fixture_must(store, use, T0).n_events, 2, "USED, then EXHAUSTED");
    cr_assert_eq(fixture_state(store, 1), GRANT_EXHAUSTED);
    store_free(store);
}

Test(store, a_repeated_request_id_gets_the_first_outcome)
{
    struct store *store = fixture_store(NULL);
    struct command request = fixture_request(1);
    request.key = fixture_key(1);
    struct store_outcome first = fixture_must(store, request, T0);
    fixture_must(store, fixture_request(2), T0 + 5);
    /* Another attempt chose another id. */
    request.grant = fixture_id(3);
    struct store_outcome again = fixture_must(store, request, T0 + 10);
    cr_assert(again.repeated);
    cr_assert_eq(again.n_events, 0);
    cr_assert_eq(again.revision, first.revision);
    cr_assert_eq(again.time_ms, T0);
    cr_assert_eq(grant_id_compare(again.grant, fixture_id(1)), 0);
    request.terms.ticket = slice_str("OPS-2");
    cr_assert_eq(fixture_apply(store, request, T0 + 10).error.code, LAPSE_ALREADY_EXISTS);
    cr_assert_not(fixture_must(store, request, T0 + LIMIT_REQUEST_ID_WINDOW_MS).repeated, "past the window");
    store_free(store);
}

Test(store, a_refused_command_is_not_remembered)
{
    struct store *store = fixture_store(NULL);
    struct command request = fixture_request(1);
    request.key = fixture_key(1);
    request.principal = slice_str("user:new");
    cr_assert_eq(fixture_apply(store, request, T0).error.code, LAPSE_PERMISSION_DENIED);
    struct command bind = {.type = COMMAND_SET_ROLES, .principal = slice_str("user:ops"), .roles = ROLE_REQUESTER};
    bind.member = slice_str("user:new");
    fixture_must(store, bind, T0);
    cr_assert_not(fixture_must(store, request, T0).repeated);
    store_free(store);
}

Test(store, the_oldest_request_ids_are_forgotten_first)
{
    struct store *store = fixture_store(&(struct store_options){.request_ids_max = 2});
    for (uint64_t i = 1; i <= 3; i++) {
        struct command request = fixture_request(i);
        request.key = fixture_key(i);
        fixture_must(store, request, T0);
    }
    struct command request = fixture_request(3);
    request.key = fixture_key(2);
    request.grant = fixture_id(9);
    cr_assert(fixture_must(store, request, T0).repeated);
    request.key = fixture_key(1);
    cr_assert_not(fixture_must(store, request, T0).repeated);
    store_free(store);
}

Test(store, the_last_operator_stays)
{
    struct store *store = fixture_store(NULL);
    struct command bind = {
        .type = COMMAND_SET_ROLES, .principal = slice_str("user:ops"), .member = slice_str("user:ops")};
    cr_assert_eq(fixture_apply(store, bind, T0).error.code, LAPSE_FAILED_PRECONDITION);
    bind.roles = ROLE_AUDITOR;
    cr_assert_eq(fixture_apply(store, bind, T0).error.code, LAPSE_FAILED_PRECONDITION);
    bind.member = slice_str("user:root*");
    bind.roles = ROLE_OPERATOR;
    fixture_must(store, bind, T0);
    bind.member = slice_str("user:ops");
    bind.roles = 0;
    fixture_must(store, bind, T0);
    cr_assert_eq(store_roles_of(store, slice_str("user:ops")), 0);
    cr_assert_eq(store_roles_of(store, slice_str("user:root2")), ROLE_OPERATOR);
    store_free(store);
}

Test(store, roles_are_the_union_of_all_bindings_that_match)
{
    static const struct {
        const char *member;
        uint32_t roles;
    } bindings[] = {{"a*", 1}, {"ab*", 2}, {"abc*", 4}, {"abc", 8}, {"b*", 16}, {"ab.c*", 8}, {"ab!*", 16}};
    struct store *store = fixture_store(NULL);
    for (size_t i = 0; i < ARRAY_LEN(bindings); i++) {
        struct command bind = {.type = COMMAND_SET_ROLES, .principal = slice_str("user:ops")};
        bind.member = slice_str(bindings[i].member);
        bind.roles = bindings[i].roles;
        fixture_must(store, bind, T0);
    }
    cr_assert_eq(store_roles_of(store, slice_str("abc")), 15);
    cr_assert_eq(store_roles_of(store, slice_str("abcd")), 7);
    cr_assert_eq(store_roles_of(store, slice_str("ab.cd")), 11);
    cr_assert_eq(store_roles_of(store, slice_str("abz")), 3);
    cr_assert_eq(store_roles_of(store, slice_str("a")), 1);
    cr_assert_eq(store_roles_of(store, slice_str("c")), 0);
    cr_assert_eq(store_roles_of(store, slice_str("")), 0);
    struct store_role_binding before = {0}, binding;
    uint32_t n = 0;
    for (; store_role_at(store, n, &binding); n++) {
        cr_assert(n == 0 || slice_compare(before.member, binding.member) < 0);
        before = binding;
    }
    cr_assert_eq(n, 12);
    store_free(store);
}

static struct command child_of(uint64_t parent, uint64_t number)
{
    struct command request = fixture_request(number);
    request.terms.parent = fixture_id(parent);
    return request;
}

Test(store, a_child_has_no_more_than_its_parent)
{
    struct store *store = fixture_store(NULL);
    struct command request = fixture_request(1);
    request.terms.resource = slice_str("db/prod/*");
    fixture_must(store, request, T0);
    cr_assert_eq(fixture_apply(store, child_of(1, 2), T0).error.code, LAPSE_FAILED_PRECONDITION, "not decided yet");
    approve(store, 1, T0);
    request = child_of(1, 2);
    request.terms.resource = slice_str("db/*");
    cr_assert_eq(fixture_apply(store, request, T0).error.code, LAPSE_PERMISSION_DENIED);
    request = child_of(1, 2);
    request.terms.actions[1] = slice_str("write");
    request.terms.n_actions = 2;
    cr_assert_eq(fixture_apply(store, request, T0).error.code, LAPSE_PERMISSION_DENIED);
    request = child_of(1, 2);
    request.terms.subject = slice_str("user:dev2");
    cr_assert_eq(fixture_apply(store, request, T0).error.code, LAPSE_PERMISSION_DENIED, "somebody else's parent");
    cr_assert_eq(fixture_apply(store, child_of(7, 2), T0).error.code, LAPSE_NOT_FOUND);
    fixture_must(store, child_of(1, 2), T0);
    approve(store, 2, T0 + 30000);
    cr_assert_eq(get(store, 2).deadline_ms, T0 + 60000, "its parent's");
    store_free(store);
}

Test(store, families_have_a_limited_depth)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, fixture_request(1), T0);
    approve(store, 1, T0);
    for (uint64_t i = 2; i <= LIMIT_GRANT_DEPTH; i++) {
        fixture_must(store, child_of(i - 1, i), T0);
        approve(store, i, T0);
    }
    cr_assert_eq(fixture_apply(store, child_of(LIMIT_GRANT_DEPTH, 99), T0).error.code, LAPSE_FAILED_PRECONDITION);
    cr_assert_eq(fixture_must(store, fixture_about(COMMAND_REVOKE, 1, "user:ops"), T0).n_events, LIMIT_GRANT_DEPTH);
    struct grant last = get(store, LIMIT_GRANT_DEPTH);
    cr_assert_eq(last.state, GRANT_REVOKED);
    cr_assert(slice_equal(last.reason, slice_str("parent ended")));
    cr_assert(slice_equal(last.ended_by, slice_str("user:ops")));
    store_free(store);
}

Test(store, children_beyond_one_command_end_with_the_next_advances_and_allow_nothing_meanwhile)
{
    const uint64_t n = 3 * LIMIT_CASCADE;
    struct store *store = fixture_store(NULL);
    fixture_must(store, fixture_request(1), T0);
    approve(store, 1, T0);
    for (uint64_t i = 2; i < 2 + n; i++) {
        fixture_must(store, child_of(1, i), T0);
        approve(store, i, T0);
    }
    cr_assert_eq(fixture_must(store, fixture_about(COMMAND_REVOKE, 1, "user:ops"), T0).n_events, 1 + LIMIT_CASCADE);
    cr_assert_eq(fixture_state(store, 1 + n), GRANT_ACTIVE);
    struct store_outcome use = fixture_apply(store, fixture_about(COMMAND_USE, 1 + n, "user:ep"), T0);
    cr_assert_eq(use.error.code, LAPSE_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(use.error.message, "lost its parent"));
    struct grant_query query = {slice_str("user:dev1"), slice_str("db/prod/orders"), slice_str("read"), {0}, {0}, {0}};
    struct grant grant;
    bool found;
    cr_assert_eq(store_check(store, &query, T0, &grant, &found), GRANT_NOT_ACTIVE);
    cr_assert_leq(store_next_due_ms(store), T0);
    struct lapse_error error;
    struct buf bytes = fixture_snapshot(store, 1000);
    struct store *restored = fixture_restore(buf_slice(&bytes), 1000, NULL, &error);
    buf_free(&bytes);
    struct store *both[] = {store, restored};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(fixture_must(both[i], fixture_advance(100), T0).n_events, 100);
        cr_assert_eq(fixture_must(both[i], fixture_advance(10000), T0).n_events, 2 * LIMIT_CASCADE - 100);
        cr_assert_eq(fixture_state(both[i], 1 + n), GRANT_REVOKED);
    }
    cr_assert(fixture_same_digest(store, restored));
    store_free(store);
    store_free(restored);
}

Test(store, ended_grants_leave_after_their_retention_without_an_event)
{
    struct store *store = fixture_store(&(struct store_options){.ended_retention_ms = 1000});
    fixture_must(store, fixture_request(1), T0);
    fixture_must(store, fixture_about(COMMAND_CANCEL, 1, "user:req1"), T0);
    cr_assert_eq(store_next_due_ms(store), T0 + 1000);
    uint64_t revision = store_revision(store);
    cr_assert_eq(fixture_must(store, fixture_advance(1), T0 + 1000).n_events, 0);
    cr_assert_eq(fixture_state(store, 1), 0);
    cr_assert_eq(store_revision(store), revision);
    cr_assert_eq(store_next_due_ms(store), INT64_MAX);
    store_free(store);
}

Test(store, G8_a_full_store_refuses_requests_and_still_ends_grants)
{
    struct store *store = fixture_store(&(struct store_options){.live_grants_max = 2, .ended_grants_max = 1});
    fixture_must(store, fixture_request(1), T0);
    fixture_must(store, fixture_request(2), T0);
    cr_assert_eq(fixture_apply(store, fixture_request(3), T0).error.code, LAPSE_RESOURCE_EXHAUSTED);
    fixture_must(store, fixture_about(COMMAND_CANCEL, 1, "user:req1"), T0);
    fixture_must(store, fixture_request(3), T0);
    fixture_must(store, fixture_about(COMMAND_CANCEL, 2, "user:req1"), T0 + 1);
    cr_assert_eq(fixture_state(store, 1), 0, "left early");
    cr_assert_eq(fixture_state(store, 2), GRANT_CANCELLED);
    store_free(store);
}

/* Listing */

struct seen {
    uint32_t times[400];
    uint32_t n, stop_after;
};

static bool see(void *arg, const struct grant *grant)
{
    struct seen *seen = arg;
    seen->times[grant->id.bytes[14] << 8 | grant->id.bytes[15]]++;
    seen->n++;
    return seen->stop_after == 0 || seen->n % seen->stop_after != 0;
}

static struct store *listed_store(uint64_t n)
{
    static const char *const resources[] = {"db/prod/orders", "db/test/*", "ssh/web1"};
    static const char *const subjects[] = {"user:dev1", "user:dev2"};
    struct store *store = fixture_store(&(struct store_options){.ended_retention_ms = 1});
    fixture_open(store, "prod");
    for (uint64_t i = 1; i <= n; i++) {
        struct command request = fixture_request(i);
        request.terms.resource = slice_str(resources[i % 3]);
        request.terms.subject = slice_str(subjects[i % 2]);
        request.terms.ticket = i % 5 == 0 ? slice_str("OPS-1") : (struct slice){0};
        request.terms.policy = slice_str("prod");
        fixture_must(store, request, T0);
        if (i % 4 == 0)
            approve(store, i, T0);
    }
    return store;
}

static uint32_t list_all(struct store *store, const struct store_filter *filter, uint32_t scan_max, struct seen *seen)
{
    uint64_t cursor = 0;
    uint32_t calls = 0;
    while (store_list(store, filter, &cursor, scan_max, see, seen))
        cr_assert_lt(++calls, 10000);
    return seen->n;
}

Test(store, every_filter_lists_exactly_what_matches)
{
    const struct store_filter filters[] = {
        {.states = 0},
        {.subject = slice_str("user:dev1")},
        {.resource = slice_str("db/*")},
        {.resource = slice_str("ssh/web1")},
        {.requester = slice_str("user:req1")},
        {.approver = slice_str("user:app1")},
        {.ticket = slice_str("OPS-1")},
        {.policy = slice_str("prod"), .subject = slice_str("user:dev2")},
        {.states = 1u << GRANT_ACTIVE},
        {.ticket = slice_str("OPS-1"), .resource = slice_str("db/test/*"), .states = 1u << GRANT_PENDING},
        {.ticket = slice_str("none")},
    };
    struct store *store = listed_store(300);
    for (size_t f = 0; f < ARRAY_LEN(filters); f++)
        for (uint32_t scan = 1; scan <= 1000; scan *= 10) {
            struct seen seen = {.stop_after = scan == 10 ? 3 : 0};
            uint32_t expected = 0;
            list_all(store, &filters[f], scan, &seen);
            for (uint64_t i = 1; i <= 300; i++) {
                struct grant grant = get(store, i);
                bool matches = store_filter_matches(&filters[f], &grant);
                expected += matches;
                cr_assert_eq(seen.times[i], matches, "filter %zu, grant %llu", f, (unsigned long long)i);
            }
            cr_assert_eq(seen.n, expected);
        }
    store_free(store);
}

Test(store, a_listing_goes_on_while_grants_come_and_go)
{
    struct store_filter filters[] = {{.states = 0}, {.policy = slice_str("prod")}, {.subject = slice_str("user:dev1")}};
    for (size_t f = 0; f < ARRAY_LEN(filters); f++) {
        struct store *store = listed_store(300);
        struct seen seen = {0};
        uint64_t cursor = 0, next = 301;
        bool gone[400] = {false};
        struct fixture_random random = {f};
        int64_t now = T0;
        while (store_list(store, &filters[f], &cursor, 1 + fixture_pick(&random, 8), see, &seen)) {
            /* Take away some, the last one seen among them, and add one. */
            for (int k = 0; k < 3; k++) {
                uint64_t victim = 1 + fixture_pick(&random, 300);
                enum grant_state state = fixture_state(store, victim);
                if (state == GRANT_PENDING)
                    fixture_must(store, fixture_about(COMMAND_CANCEL, victim, "user:ops"), now);
                if (state == GRANT_ACTIVE)
                    fixture_must(store, fixture_about(COMMAND_REVOKE, victim, "user:ops"), now);
                gone[victim] = true;
            }
            now += 2;
            fixture_must(store, fixture_advance(100), now);
            if (next < 390)
                fixture_must(store, fixture_request(next++), now);
        }
        for (uint64_t i = 1; i <= 300; i++) {
            cr_assert_leq(seen.times[i], 1);
            if (!gone[i]) {
                struct grant grant = get(store, i);
                cr_assert_eq(seen.times[i], store_filter_matches(&filters[f], &grant), "grant %llu",
                             (unsigned long long)i);
            }
        }
        store_free(store);
    }
}

Test(store, children_are_listed_by_their_parent)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, fixture_request(1), T0);
    approve(store, 1, T0);
    for (uint64_t i = 2; i < 50; i++)
        fixture_must(store, i % 2 == 0 ? child_of(1, i) : fixture_request(i), T0);
    fixture_must(store, fixture_about(COMMAND_CANCEL, 10, "user:req1"), T0);
    struct seen seen = {0};
    struct store_filter filter = {.parent = fixture_id(1)};
    cr_assert_eq(list_all(store, &filter, 5, &seen), 24);
    cr_assert_eq(seen.times[10], 1, "an ended one, too");
    filter.parent = fixture_id(77);
    cr_assert_eq(list_all(store, &filter, 5, &(struct seen){0}), 0);
    store_free(store);
}

Test(store, a_made_up_cursor_does_no_harm)
{
    struct store *store = listed_store(100);
    struct fixture_random random = {5};
    struct store_filter filters[] = {{.states = 0}, {.policy = slice_str("prod")}, {.parent = fixture_id(1)}};
    for (int i = 0; i < 20000; i++) {
        struct seen seen = {0};
        uint64_t cursor = fixture_random(&random);
        (void)store_list(store, &filters[i % 3], &cursor, 10, see, &seen);
        cr_assert_leq(seen.n, 10);
    }
    store_free(store);
}

/* Checking */

static enum grant_verdict check(struct store *store, const char *subject, const char *resource, const char *action,
                                int64_t now_ms, uint64_t *number)
{
    struct grant_query query = {.subject = slice_str(subject)};
    struct grant grant;
    bool found;
    query.resource = slice_str(resource);
    query.action = slice_str(action);
    enum grant_verdict verdict = store_check(store, &query, now_ms, &grant, &found);
    *number = found ? grant.id.bytes[15] : 0;
    return verdict;
}

Test(store, a_check_finds_the_grant_with_the_latest_deadline_that_allows)
{
    struct store *store = fixture_store(NULL);
    for (uint64_t i = 1; i <= 3; i++) {
        struct command request = fixture_request(i);
        request.terms.duration_ms = i == 2 ? 90000 : 60000;
        request.terms.resource = i == 3 ? slice_str("db/*") : slice_str("db/prod/orders");
        fixture_must(store, request, T0);
        approve(store, i, T0);
    }
    uint64_t number;
    cr_assert_eq(check(store, "user:dev1", "db/prod/orders", "read", T0, &number), GRANT_ALLOWS);
    cr_assert_eq(number, 2);
    cr_assert_eq(check(store, "user:dev1", "db/test", "read", T0, &number), GRANT_ALLOWS);
    cr_assert_eq(number, 3);
    cr_assert_eq(check(store, "user:dev1", "db/prod/orders", "write", T0, &number), GRANT_OTHER_ACTION);
    cr_assert_eq(check(store, "user:dev1", "ssh/web1", "read", T0, &number), GRANT_OTHER_RESOURCE);
    cr_assert_eq(check(store, "user:dev2", "db/prod/orders", "read", T0, &number), GRANT_NOT_ACTIVE);
    cr_assert_eq(number, 0);
    cr_assert_eq(check(store, "user:dev1", "db/prod/orders", "read", T0 + 90000, &number), GRANT_PAST_DEADLINE);
    store_free(store);
}

Test(store, a_check_answers_the_same_from_the_side_of_the_resource)
{
    struct store *store = fixture_store(NULL);
    char resource[32];
    for (uint64_t i = 1; i <= 200; i++) {
        struct command request = fixture_request(i);
        (void)snprintf(resource, sizeof resource, i == 150 ? "db/r150/*" : "db/r%d", (int)i);
        request.terms.resource = slice_str(resource);
        fixture_must(store, request, T0);
        approve(store, i, T0);
    }
    uint64_t number;
    cr_assert_eq(check(store, "user:dev1", "db/r77", "read", T0, &number), GRANT_ALLOWS);
    cr_assert_eq(number, 77);
    cr_assert_eq(check(store, "user:dev1", "db/r150/a/b", "read", T0, &number), GRANT_ALLOWS);
    cr_assert_eq(number, 150);
    cr_assert_eq(check(store, "user:dev1", "db/r150", "read", T0, &number), GRANT_OTHER_RESOURCE);
    cr_assert_eq(check(store, "user:dev1", "db/r77", "write", T0, &number), GRANT_OTHER_ACTION);
    store_free(store);
}

Test(store, what_is_read_is_what_was_asked_for)
{
    struct store *store = fixture_store(NULL);
    fixture_open(store, "prod");
    struct command request = fixture_request(1);
    request.terms.task = slice_str("task-7");
    request.terms.ticket = slice_str("OPS-1");
    request.terms.policy = slice_str("prod");
    request.terms.labels[0] = (struct grant_label){slice_str("env"), slice_str("prod")};
    request.terms.n_labels = 1;
    request.terms.binding.networks[0] = slice_str("10.0.0.0/8");
    request.terms.binding.n_networks = 1;
    request.terms.pending_until_ms = T0 + 77;
    fixture_must(store, request, T0);
    struct grant grant = get(store, 1);
    cr_assert(slice_equal(grant.justification, request.terms.justification));
    cr_assert(slice_equal(grant.task, slice_str("task-7")));
    cr_assert(slice_equal(grant.policy, slice_str("prod")));
    cr_assert(slice_equal(grant.requester, slice_str("user:req1")));
    cr_assert_eq(grant.n_labels, 1);
    cr_assert(slice_equal(grant.labels[0].value, slice_str("prod")));
    cr_assert_eq(grant.binding.n_networks, 1);
    cr_assert_eq(grant.pending_until_ms, T0 + 77);
    cr_assert_eq(grant.duration_ms, 60000);
    store_free(store);
}
