/* Who sees what, by the store's own roles: what a scope limits, and what lifts the limit. */
#include <criterion/criterion.h>

#include "node/core_internal.h"
#include "tests/unit/store_fixture.h"

static struct store *store;

/* In place of the core. */
const struct store *core_call_store(const struct core_call *call)
{
    (void)call;
    return store;
}

static void begin(void)
{
    store = fixture_store(NULL);
}

static void end(void)
{
    store_free(store);
}

TestSuite(core_sight, .init = begin, .fini = end);

static void set_roles(const char *member, uint32_t roles, const char *scope)
{
    const struct command command = {.type = COMMAND_SET_ROLES,
                                    .principal = slice_str("user:ops"),
                                    .member = slice_str(member),
                                    .roles = roles,
                                    .scope = slice_str(scope)};
    (void)fixture_must(store, command, T0);
}

static bool sees(const char *principal, const char *resource)
{
    const struct grant grant = {
        .subject = slice_str("user:dev1"), .requester = slice_str("user:dev1"), .resource = slice_str(resource)};
    struct core_call *call = core_call_new(CORE_GET, principal, 1000);
    core_call_look_up_caller(call);
    bool seen = core_call_may_see(call, &grant);
    cr_assert(seen || !core_call_sees_all(call));
    core_call_free(call);
    return seen;
}

Test(core_sight, an_enforcer_without_a_scope_sees_everything)
{
    set_roles("user:edge", ROLE_ENFORCER, "");
    cr_assert(sees("user:edge", "db/prod/orders"));
    cr_assert(sees("user:edge", "anything"));
}

Test(core_sight, an_enforcer_with_a_scope_sees_what_overlaps_it)
{
    set_roles("user:edge", ROLE_ENFORCER, "db/prod/* web/a");
    cr_assert(sees("user:edge", "db/prod/orders"));
    cr_assert(sees("user:edge", "db/*"), "a wider grant reaches into it");
    cr_assert(sees("user:edge", "web/a"));
    cr_assert_not(sees("user:edge", "web/b"));
    cr_assert_not(sees("user:edge", "db/test/orders"));
}

Test(core_sight, the_bindings_of_a_principal_add_up)
{
    set_roles("user:edge", ROLE_ENFORCER, "web/a");
    set_roles("user:ed*", ROLE_ENFORCER, "db/test/*");
    set_roles("user:x*", ROLE_ENFORCER, "");
    cr_assert(sees("user:edge", "web/a"));
    cr_assert(sees("user:edge", "db/test/orders"));
    cr_assert_not(sees("user:edge", "db/prod/orders"), "the others' bindings are not its own");
    set_roles("user:e*", ROLE_ENFORCER, "");
    cr_assert(sees("user:edge", "db/prod/orders"), "one without a scope lifts the limit");
}

Test(core_sight, another_role_that_sees_everything_lifts_the_limit_and_a_requesters_does_not)
{
    set_roles("user:edge", ROLE_ENFORCER | ROLE_REQUESTER, "web/a");
    cr_assert_not(sees("user:edge", "db/prod/orders"));
    set_roles("user:edge", ROLE_ENFORCER | ROLE_AUDITOR, "web/a");
    cr_assert(sees("user:edge", "db/prod/orders"));
}

Test(core_sight, others_see_what_is_their_own)
{
    set_roles("user:dev1", ROLE_REQUESTER, "");
    set_roles("user:dev2", ROLE_REQUESTER, "");
    cr_assert(sees("user:dev1", "db/prod/orders"));
    cr_assert_not(sees("user:dev2", "db/prod/orders"));
    cr_assert_not(sees("user:stranger", "db/prod/orders"));
}

Test(core_sight, it_agrees_with_the_store_on_what_an_enforcer_guards)
{
    static const char *const resources[] = {"a/b", "a/*", "b/c/d", "b/*", "c", "*"};
    set_roles("user:edge", ROLE_ENFORCER, "a/b b/c/*");
    set_roles("user:*", ROLE_ENFORCER, "c");
    for (size_t i = 0; i < sizeof resources / sizeof resources[0]; i++)
        cr_assert_eq(sees("user:edge", resources[i]),
                     store_guards(store, slice_str("user:edge"), slice_str(resources[i])), "%s", resources[i]);
}
