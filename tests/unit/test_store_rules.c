/* Every state against every command, by a table of its own: what the diagram in grant.h allows, and nothing else. */
#include <criterion/criterion.h>

#include "base/check.h"
#include "store/rules.h"
#include "store_fixture.h"

#define STATES (GRANT_LAPSED + 1)

/* A store whose grant 1 is in the wanted state. */
static struct store *store_in(enum grant_state state)
{
    struct store *store = fixture_store(NULL);
    struct command request = fixture_request(1);
    request.terms.max_uses = 1;
    if (state == GRANT_APPROVED)
        request.terms.not_before_ms = T0 + 1000;
    fixture_must(store, request, T0);
    if (state != GRANT_PENDING && state != GRANT_DENIED && state != GRANT_CANCELLED && state != GRANT_LAPSED)
        fixture_must(store, fixture_about(COMMAND_APPROVE, 1, "user:app1"), T0);
    if (state == GRANT_EXPIRED)
        fixture_must(store, fixture_advance(9), T0 + 60000);
    if (state == GRANT_REVOKED)
        fixture_must(store, fixture_about(COMMAND_REVOKE, 1, "user:ops"), T0);
    if (state == GRANT_COMPLETED)
        fixture_must(store, fixture_about(COMMAND_COMPLETE, 1, "user:dev1"), T0);
    if (state == GRANT_EXHAUSTED)
        fixture_must(store, fixture_about(COMMAND_USE, 1, "user:ep"), T0);
    if (state == GRANT_DENIED)
        fixture_must(store, fixture_about(COMMAND_DENY, 1, "user:app1"), T0);
    if (state == GRANT_CANCELLED)
        fixture_must(store, fixture_about(COMMAND_CANCEL, 1, "user:req1"), T0);
    if (state == GRANT_LAPSED)
        fixture_must(store, fixture_advance(9), T0 + LIMIT_PENDING_MS_DEFAULT);
    cr_assert_eq(fixture_state(store, 1), state);
    return store;
}

static const struct {
    enum command_type command;
    const char *by;              /* who may */
    enum grant_state to[STATES]; /* by present state; 0: refused */
} expected[] = {
    {COMMAND_APPROVE, "user:app2", {[GRANT_PENDING] = GRANT_ACTIVE}},
    {COMMAND_DENY, "user:app2", {[GRANT_PENDING] = GRANT_DENIED}},
    {COMMAND_CANCEL, "user:req1", {[GRANT_PENDING] = GRANT_CANCELLED, [GRANT_APPROVED] = GRANT_CANCELLED}},
    {COMMAND_CANCEL, "user:ops", {[GRANT_PENDING] = GRANT_CANCELLED, [GRANT_APPROVED] = GRANT_CANCELLED}},
    {COMMAND_USE, "user:ep", {[GRANT_ACTIVE] = GRANT_EXHAUSTED}},
    {COMMAND_COMPLETE, "user:req1", {[GRANT_ACTIVE] = GRANT_COMPLETED}},
    {COMMAND_COMPLETE, "spiffe://example.org/user/dev1", {[GRANT_ACTIVE] = GRANT_COMPLETED}},
    {COMMAND_REVOKE, "user:req1", {[GRANT_APPROVED] = GRANT_REVOKED, [GRANT_ACTIVE] = GRANT_REVOKED}},
    {COMMAND_REVOKE, "user:ops", {[GRANT_APPROVED] = GRANT_REVOKED, [GRANT_ACTIVE] = GRANT_REVOKED}},
};

Test(store_rules, each_command_changes_exactly_the_states_it_may)
{
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        for (int state = GRANT_PENDING; state < STATES; state++) {
            struct store *store = store_in((enum grant_state)state);
            struct command command = fixture_about(expected[i].command, 1, expected[i].by);
            int64_t now = store_time_ms(store);
            uint64_t revision = store_revision(store);
            struct store_outcome outcome = fixture_apply(store, command, now);
            enum grant_state to = expected[i].to[state];
            cr_assert_eq(outcome.error.code, to != 0 ? LAPSE_OK : LAPSE_FAILED_PRECONDITION, "command %d in %s: %s",
                         (int)expected[i].command, grant_state_name((enum grant_state)state), outcome.error.message);
            cr_assert_eq((int)fixture_state(store, 1), to != 0 ? (int)to : state);
            if (to == 0) {
                cr_assert_not_null(strstr(outcome.error.message, grant_state_name((enum grant_state)state)));
                cr_assert_eq(store_revision(store), revision);
            }
            store_free(store);
        }
}

/* Everybody who may not, in the state in which the command would be right. */
Test(store_rules, each_command_refuses_everybody_else)
{
    static const char *const everybody[] = {"user:req1", "user:req2", "user:app1", "user:app2",
                                            "user:ops",  "user:ep",   "user:dev1", "user:nobody"};
    static const struct {
        enum command_type command;
        enum grant_state state;
        const char *may; /* separated by spaces */
    } cases[] = {
        {COMMAND_APPROVE, GRANT_PENDING, "user:app1 user:app2"},
        {COMMAND_DENY, GRANT_PENDING, "user:app1 user:app2"},
        {COMMAND_CANCEL, GRANT_PENDING, "user:req1 user:ops"},
        {COMMAND_COMPLETE, GRANT_ACTIVE, "user:req1 user:dev1"},
        {COMMAND_USE, GRANT_ACTIVE, "user:ep"},
        {COMMAND_REVOKE, GRANT_ACTIVE, "user:req1 user:ops user:app1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (size_t k = 0; k < ARRAY_LEN(everybody); k++) {
            struct store *store = store_in(cases[i].state);
            bool may = strstr(cases[i].may, everybody[k]) != NULL;
            struct store_outcome outcome =
                fixture_apply(store, fixture_about(cases[i].command, 1, everybody[k]), store_time_ms(store));
            cr_assert_eq(outcome.error.code, may ? LAPSE_OK : LAPSE_PERMISSION_DENIED, "command %d by %s: %s",
                         (int)cases[i].command, everybody[k], outcome.error.message);
            store_free(store);
        }
}

Test(store_rules, nobody_approves_for_themselves_under_any_name)
{
    struct store *store = fixture_store(NULL);
    struct command bind = {.type = COMMAND_SET_ROLES, .principal = slice_str("user:ops"), .roles = ROLE_ALL};
    bind.member = slice_str("spiffe://example.org/user/*");
    fixture_must(store, bind, T0);
    fixture_must(store, fixture_request(1), T0);
    static const char *const own[] = {"spiffe://example.org/user/req1", "spiffe://example.org/user/dev1"};
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        struct store_outcome outcome = fixture_apply(store, fixture_about(COMMAND_APPROVE, 1, own[i]), T0);
        cr_assert_eq(outcome.error.code, LAPSE_PERMISSION_DENIED);
        cr_assert_not_null(strstr(outcome.error.message, "another approver"));
    }
    fixture_must(store, fixture_about(COMMAND_APPROVE, 1, "spiffe://example.org/user/else"), T0);
    store_free(store);
}

Test(store_rules, who_may_is_the_same_in_every_state_of_a_command)
{
    const struct rule *a, *b;
    for (size_t i = 0; (a = rules_at(i)) != NULL; i++) {
        cr_assert_not_null(a->refusal);
        for (size_t k = i + 1; (b = rules_at(k)) != NULL; k++) {
            cr_assert(a->command != b->command || a->who == b->who);
            cr_assert(a->command != b->command || a->state != b->state, "one rule a pair");
        }
        cr_assert_not(grant_state_is_ended((enum grant_state)a->state), "nothing leads out of an ended state");
    }
}

Test(store_rules, the_cluster_commands_take_no_principal)
{
    struct store *store = fixture_store(NULL);
    struct command advance = fixture_advance(1);
    advance.principal = slice_str("user:ops");
    cr_assert_eq(fixture_apply(store, advance, T0).error.code, LAPSE_PERMISSION_DENIED);
    struct command init = {.type = COMMAND_INIT, .epoch = 2, .cluster = slice_str("x"), .member = slice_str("user:x")};
    cr_assert_eq(fixture_apply(store, init, T0).error.code, LAPSE_FAILED_PRECONDITION);
    store_free(store);
    store = store_new(NULL);
    init.principal = slice_str("user:x");
    cr_assert_eq(fixture_apply(store, init, T0).error.code, LAPSE_PERMISSION_DENIED);
    cr_assert_eq(fixture_apply(store, fixture_request(1), T0).error.code, LAPSE_FAILED_PRECONDITION);
    store_free(store);
}

/* The answer of each command once there is nothing left to decide: the state, to whoever has the role for it. */
Test(store_rules, an_approver_is_told_the_state_before_what_they_are_to_the_grant)
{
    static const enum command_type commands[] = {COMMAND_APPROVE, COMMAND_DENY};
    struct store *store = store_in(GRANT_REVOKED);
    struct command bind = {.type = COMMAND_SET_ROLES, .principal = slice_str("user:ops"), .roles = ROLE_ALL};
    bind.member = slice_str("user:req1");
    fixture_must(store, bind, T0);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        static const char *const told[] = {"user:app1" /* approved it */, "user:app2", "user:req1" /* asked for it */};
        static const char *const not_told[] = {"user:ep", "user:ops", "user:dev1"};
        for (size_t k = 0; k < ARRAY_LEN(told); k++) {
            struct store_outcome outcome = fixture_apply(store, fixture_about(commands[i], 1, told[k]), T0);
            cr_assert_eq(outcome.error.code, LAPSE_FAILED_PRECONDITION, "%s: %s", told[k], outcome.error.message);
            cr_assert_not_null(strstr(outcome.error.message, "is REVOKED since revision"));
        }
        for (size_t k = 0; k < ARRAY_LEN(not_told); k++) {
            struct store_outcome outcome = fixture_apply(store, fixture_about(commands[i], 1, not_told[k]), T0);
            cr_assert_eq(outcome.error.code, LAPSE_PERMISSION_DENIED, "%s", not_told[k]);
            cr_assert_null(strstr(outcome.error.message, "REVOKED"));
        }
    }
    store_free(store);
}

Test(store_rules, who_asked_may_not_decide_while_it_is_pending)
{
    struct store *store = store_in(GRANT_PENDING);
    struct command bind = {.type = COMMAND_SET_ROLES, .principal = slice_str("user:ops"), .roles = ROLE_ALL};
    bind.member = slice_str("user:req1");
    fixture_must(store, bind, T0);
    struct store_outcome outcome = fixture_apply(store, fixture_about(COMMAND_APPROVE, 1, "user:req1"), T0);
    cr_assert_eq(outcome.error.code, LAPSE_PERMISSION_DENIED);
    cr_assert_not_null(strstr(outcome.error.message, "another approver"));
    store_free(store);
}

Test(store_rules, a_request_says_why)
{
    struct store *store = fixture_store(NULL);
    struct command request = fixture_request(1);
    request.terms.justification.len = 0;
    struct store_outcome outcome = fixture_apply(store, request, T0);
    cr_assert_eq(outcome.error.code, LAPSE_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(outcome.error.message, "justification"));
    cr_assert_not_null(strstr(outcome.error.message, "say why"));
    store_free(store);
}

/* A store whose active grant 1 is bound in every way, and whose grant 2 in none. */
static struct store *store_with_bound_parent(void)
{
    static const uint8_t thumb[32] = {7};
    struct store *store = fixture_store(NULL);
    struct command request = fixture_request(1);
    request.terms.binding.spiffe_id = slice_str("spiffe://example.org/proxy");
    request.terms.binding.certificate_sha256 = slice_of(thumb, sizeof thumb);
    request.terms.binding.networks[0] = slice_str("10.0.0.0/16");
    request.terms.binding.networks[1] = slice_str("2001:db8::/32");
    request.terms.binding.n_networks = 2;
    fixture_must(store, request, T0);
    fixture_must(store, fixture_about(COMMAND_APPROVE, 1, "user:app1"), T0);
    fixture_must(store, fixture_request(2), T0);
    fixture_must(store, fixture_about(COMMAND_APPROVE, 2, "user:app1"), T0);
    return store;
}

static struct command child(uint64_t parent, uint64_t number)
{
    struct command request = fixture_request(number);
    request.terms.parent = fixture_id(parent);
    return request;
}

Test(store_rules, a_child_inherits_each_binding_it_leaves_empty)
{
    struct grant parent, grant;
    struct store *store = store_with_bound_parent();
    fixture_must(store, child(1, 3), T0);
    cr_assert(store_get(store, fixture_id(1), &parent) && store_get(store, fixture_id(3), &grant));
    cr_assert(slice_equal(grant.binding.spiffe_id, slice_str("spiffe://example.org/proxy")));
    cr_assert(slice_equal(grant.binding.certificate_sha256, parent.binding.certificate_sha256));
    cr_assert_eq(grant.binding.n_networks, 2);
    cr_assert(slice_equal(grant.binding.networks[1], slice_str("2001:db8::/32")));
    /* What its parent leaves open it may bind. */
    struct command bound = child(2, 4);
    bound.terms.binding.networks[0] = slice_str("192.168.0.0/16");
    bound.terms.binding.n_networks = 1;
    fixture_must(store, bound, T0);
    cr_assert(store_get(store, fixture_id(4), &grant));
    cr_assert_eq(grant.binding.n_networks, 1);
    cr_assert_eq(grant.binding.spiffe_id.len, 0);
    store_free(store);
}

Test(store_rules, an_inherited_binding_binds_the_grandchild_too)
{
    struct grant grant;
    struct store *store = store_with_bound_parent();
    fixture_must(store, child(1, 3), T0);
    fixture_must(store, fixture_about(COMMAND_APPROVE, 3, "user:app1"), T0);
    fixture_must(store, child(3, 4), T0);
    cr_assert(store_get(store, fixture_id(4), &grant));
    cr_assert(slice_equal(grant.binding.spiffe_id, slice_str("spiffe://example.org/proxy")));
    store_free(store);
}

static enum lapse_code with_network(struct store *store, const char *network)
{
    static uint64_t number = 100;
    struct command request = child(1, number++);
    request.terms.binding.networks[0] = slice_str("10.0.2.0/24");
    request.terms.binding.networks[1] = slice_str(network);
    request.terms.binding.n_networks = 2;
    return fixture_apply(store, request, T0).error.code;
}

Test(store_rules, a_child_is_not_bound_otherwise_than_its_parent)
{
    static const uint8_t other[32] = {8};
    struct store *store = store_with_bound_parent();
    struct command request = child(1, 3);
    request.terms.binding.spiffe_id = slice_str("spiffe://example.org/other");
    struct store_outcome outcome = fixture_apply(store, request, T0);
    cr_assert_eq(outcome.error.code, LAPSE_PERMISSION_DENIED);
    cr_assert_not_null(strstr(outcome.error.message, "binding.spiffe_id"), "%s", outcome.error.message);
    request.terms.binding.spiffe_id = slice_str("spiffe://example.org/proxy");
    request.terms.binding.certificate_sha256 = slice_of(other, sizeof other);
    outcome = fixture_apply(store, request, T0);
    cr_assert_eq(outcome.error.code, LAPSE_PERMISSION_DENIED);
    cr_assert_not_null(strstr(outcome.error.message, "binding.certificate_sha256"));
    cr_assert_eq(with_network(store, "10.0.0.0/16"), LAPSE_OK, "the parent's own");
    cr_assert_eq(with_network(store, "10.0.255.255/32"), LAPSE_OK);
    cr_assert_eq(with_network(store, "2001:db8:1::/48"), LAPSE_OK);
    cr_assert_eq(with_network(store, "10.0.0.0/8"), LAPSE_PERMISSION_DENIED, "wider");
    cr_assert_eq(with_network(store, "10.2.0.0/16"), LAPSE_PERMISSION_DENIED, "beside");
    cr_assert_eq(with_network(store, "2001:d00::/24"), LAPSE_PERMISSION_DENIED, "wider");
    cr_assert_eq(with_network(store, "::/0"), LAPSE_PERMISSION_DENIED);
    store_free(store);
}
