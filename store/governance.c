#include "store/governance.h"

#include "base/check.h"

static const struct object_module *const modules[OBJECT_KINDS] = {
    [OBJECT_POLICY] = &policy_module,     [OBJECT_LOCK] = &lock_module,     [OBJECT_ELIGIBILITY] = &eligibility_module,
    [OBJECT_CAMPAIGN] = &campaign_module, [OBJECT_REVIEW] = &review_module, [OBJECT_HOOK] = &hook_module,
};

/* Who answers for a command. */
static const struct {
    lapse_result (*validate)(const struct command *command, struct lapse_error *error);
    lapse_result (*apply)(struct apply *apply);
} commands[COMMAND_LAST + 1] = {
    [COMMAND_APPLY_POLICY] = {policies_validate, policies_apply},
    [COMMAND_REMOVE_POLICY] = {policies_validate, policies_apply},
    [COMMAND_LOCK] = {locks_validate, locks_apply},
    [COMMAND_UNLOCK] = {locks_validate, locks_apply},
    [COMMAND_OFFBOARD] = {locks_validate, locks_apply},
    [COMMAND_PUT_ELIGIBILITY] = {eligibility_validate, eligibility_apply},
    [COMMAND_REMOVE_ELIGIBILITY] = {eligibility_validate, eligibility_apply},
    [COMMAND_CERTIFY] = {eligibility_validate, eligibility_apply},
    [COMMAND_START_CAMPAIGN] = {eligibility_validate, eligibility_apply},
    [COMMAND_CLOSE_CAMPAIGN] = {eligibility_validate, eligibility_apply},
    [COMMAND_CLOSE_REVIEW] = {reviews_validate, reviews_apply},
    [COMMAND_SET_TOKEN] = {tokens_validate, tokens_apply},
    [COMMAND_HOOK_DONE] = {hooks_validate, hooks_apply},
};

lapse_result governance_validate(const struct command *command, struct lapse_error *error)
{
    if (command->value.len > LIMIT_OBJECT_BYTES)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%zu bytes: a policy, lock or eligibility has at most %u",
                          command->value.len, LIMIT_OBJECT_BYTES);
    if (command->name.len > LIMIT_OBJECT_NAME)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "name: at most %d bytes", LIMIT_OBJECT_NAME);
    return commands[command->type].validate(command, error);
}

lapse_result governance_apply(struct apply *apply)
{
    return commands[apply->command->type].apply(apply);
}

/* --- objects ------------------------------------------------------------------------------------------------------ */

static void comes(struct store *store, const struct object *object)
{
    if (modules[object->kind]->comes != NULL)
        modules[object->kind]->comes(store, object);
}

static void goes(struct store *store, const struct object *object)
{
    if (modules[object->kind]->goes != NULL)
        modules[object->kind]->goes(store, object);
}

static const struct object *replace(struct store *store, const struct object *object)
{
    const struct object *was = object_find(&store->objects, object->kind, object->name);
    if (was != NULL)
        goes(store, was);
    const struct object *now = object_put(&store->objects, &store->sum, object);
    comes(store, now);
    return now;
}

void governance_put(struct apply *apply, enum store_event_type type, const struct object *object)
{
    const struct object *now = replace(apply->store, object);
    transition_tell(apply, &(struct store_event){.type = type, .object = now});
}

void governance_touch(struct store *store, const struct object *object)
{
    (void)replace(store, object);
}

void governance_remove(struct apply *apply, enum store_event_type type, enum object_kind kind, struct slice name,
                       const struct object *last)
{
    struct store *store = apply->store;
    const struct object *was = object_find(&store->objects, kind, name);
    CHECK(was != NULL);
    goes(store, was);
    transition_tell(apply, &(struct store_event){.type = type, .object = last != NULL ? last : was});
    object_remove(&store->objects, &store->sum, kind, was->name);
}

uint32_t governance_advance(struct apply *apply, uint32_t count)
{
    struct object_table *objects = &apply->store->objects;
    const struct object *object;
    for (; count > 0 && (object = object_next_due(objects)) != NULL && object->due_ms <= apply->now_ms; count--) {
        CHECK(modules[object->kind]->due != NULL);
        modules[object->kind]->due(apply, object);
    }
    return count;
}

const char *governance_link(struct store *store)
{
    for (int kind = OBJECT_POLICY; kind < OBJECT_KINDS; kind++)
        for (uint32_t i = 0; i < store->objects.kinds[kind].n; i++) {
            const struct object *object = object_at(&store->objects, (enum object_kind)kind, i);
            const char *why = modules[kind]->check(store, object);
            if (why != NULL)
                return why;
            comes(store, object);
        }
    return NULL;
}
