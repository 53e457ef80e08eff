/* Who sees what: one answer for Get, List, Check, snapshots and events.
 *
 * Looked up in the store when a question runs, kept in the question, and asked there again by its edge: a watch decides
 * about each event by what its last answer said, and asks anew when roles have changed. */
#include "base/check.h"
#include "node/core_internal.h"

static bool is_about(struct slice member, struct slice principal)
{
    if (member.len == 0 || member.data[member.len - 1] != '*')
        return slice_equal(member, principal);
    return principal.len >= member.len - 1 && memcmp(principal.data, member.data, member.len - 1) == 0;
}

/* What an enforcer may guard, for those whom no other role shows everything. */
static void collect_guards(struct core_call *call)
{
    struct slice me = slice_str(call->principal);
    struct store_role_binding binding;
    for (uint32_t i = 0; store_role_at(core_call_store(call), i, &binding); i++) {
        if ((binding.roles & ROLE_ENFORCER) == 0 || !is_about(binding.member, me))
            continue;
        call->guards_all = call->guards_all || binding.scope.len == 0;
        lapse_result added = buf_append(&call->guards, " ", call->guards.len > 0 ? 1 : 0);
        if (lapse_is_ok(added))
            added = buf_append(&call->guards, binding.scope.data, binding.scope.len);
        CHECK(lapse_is_ok(added)); /* CORE_GUARDS_BYTES_MAX is the sum of all bindings */
    }
}

void core_call_look_up_caller(struct core_call *call)
{
    call->roles = store_roles_of(core_call_store(call), slice_str(call->principal));
    call->guards_all = false;
    buf_clear(&call->guards);
    if ((call->roles & ROLE_ENFORCER) != 0 && !core_call_sees_all(call))
        collect_guards(call);
}

bool core_call_sees_all(const struct core_call *call)
{
    return (call->roles & (ROLE_OPERATOR | ROLE_AUDITOR | ROLE_APPROVER)) != 0 ||
           ((call->roles & ROLE_ENFORCER) != 0 && call->guards_all);
}

bool core_call_may_see(const struct core_call *call, const struct grant *grant)
{
    struct slice me = slice_str(call->principal);
    return core_call_sees_all(call) || principal_same(me, grant->subject) || principal_same(me, grant->requester) ||
           scope_overlaps(buf_slice(&call->guards), grant->resource);
}
