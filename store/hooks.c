/* Webhooks: up to which event each one's deliveries have been taken. The deliveries are the leader's
 * (node/core_hooks.h); what is here is where its successor goes on. */
#include "base/check.h"
#include "store/command_internal.h"
#include "store/governance.h"
#include "store/identifiers.h"

static const char *check(const struct store *store, const struct object *object)
{
    if (!lapse_is_ok(token_validate(object->name, LIMIT_POLICY, "webhook", NULL)) || object->due_ms != 0 ||
        object->value.len != OBJECT_HOOK_BYTES)
        return "bad webhook";
    return object_hook_revision(object) > store->revision ? "a webhook from the future" : NULL;
}

const struct object_module hook_module = {.check = check};

lapse_result hooks_validate(const struct command *command, struct lapse_error *error)
{
    if (!request_key_is_zero(&command->key) || command->name.len == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "name a webhook; the cluster's own commands take no request key");
    return token_validate(command->name, LIMIT_POLICY, "webhook", error);
}

lapse_result hooks_apply(struct apply *apply)
{
    struct store *store = apply->store;
    const struct command *command = apply->command;
    struct lapse_error *error = &apply->outcome->error;
    const struct object *was = object_find(&store->objects, OBJECT_HOOK, command->name);
    uint8_t bytes[OBJECT_HOOK_BYTES];
    lapse_result result = rules_permit(store, rules_find(COMMAND_HOOK_DONE, GRANT_NONE), command->principal, 0, error);
    if (!lapse_is_ok(result))
        return result;
    if (command->revision > store->revision)
        return lapse_fail(error, LAPSE_OUT_OF_RANGE, "nothing has that revision yet");
    if (was == NULL && store->objects.kinds[OBJECT_HOOK].n == LIMIT_HOOKS)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "%u webhooks are known, which is the limit", LIMIT_HOOKS);
    /* A leader that was late repeats what its successor has gone past. */
    if (was != NULL && object_hook_revision(was) >= command->revision)
        return lapse_ok();
    for (int i = 0; i < OBJECT_HOOK_BYTES; i++)
        bytes[i] = (uint8_t)(command->revision >> (56 - 8 * i));
    governance_touch(
        store, &(struct object){.kind = OBJECT_HOOK, .name = command->name, .value = slice_of(bytes, sizeof bytes)});
    return lapse_ok();
}
