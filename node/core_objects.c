/* The core's answers about what governs: policies, locks, eligibility, campaigns, reviews, page by page in the order of
 * their names. They are kept as the bytes of the messages that a list consists of. */
#include "base/check.h"
#include "node/core_internal.h"

/* Who may see all of a kind. */
static uint32_t readers_of(enum object_kind kind)
{
    bool for_approvers = kind == OBJECT_POLICY || kind == OBJECT_REVIEW;
    return ROLE_OPERATOR | ROLE_AUDITOR | (for_approvers ? (uint32_t)ROLE_APPROVER : 0);
}

static uint32_t first_of(const struct core_call *call)
{
    const struct store *store = core_call_store(call);
    if (call->after.len == 0)
        return store_object_from(store, call->kind, call->prefix);
    uint32_t i = store_object_from(store, call->kind, call->after);
    const struct object *object = store_object_at(store, call->kind, i);
    return object != NULL && slice_equal(object->name, call->after) ? i + 1 : i;
}

static bool in_list(const struct core_call *call, const struct object *object)
{
    return object != NULL && slice_starts_with(object->name, call->prefix);
}

/* Adds a page. `last` is the name of its last object if there is more behind it, empty otherwise. */
static lapse_result add_objects(struct core_call *call, struct slice *last)
{
    const struct store *store = core_call_store(call);
    const struct object *object = NULL;
    lapse_result result = lapse_ok();
    uint32_t i = first_of(call);
    *last = (struct slice){0};
    for (uint32_t n = 0; lapse_is_ok(result) && in_list(call, object = store_object_at(store, call->kind, i));
         n++, i++) {
        if (n == call->page || call->response.len >= LIMIT_PAGE_BYTES)
            return lapse_ok();
        result = proto_encode_objects_object(object->value, &call->response);
        *last = object->name;
    }
    *last = (struct slice){0};
    return result;
}

void core_objects_list(struct core_call *call)
{
    struct proto_point point = core_call_point(call);
    struct slice last;
    if ((call->roles & readers_of(call->kind)) == 0) {
        core_call_refuse(call, LAPSE_PERMISSION_DENIED, "only operators and auditors may list these: ask for the role");
        return;
    }
    lapse_result result = proto_encode_objects_begin(&point, &call->response);
    if (lapse_is_ok(result))
        result = add_objects(call, &last);
    if (lapse_is_ok(result))
        result = proto_encode_objects_end(last, &call->response);
    core_call_finish(call, result);
}
