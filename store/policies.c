#include "store/governance.h"

static const char *check(const struct store *store, const struct object *object)
{
    (void)store;
    (void)object;
    return "policies are not supported yet";
}

const struct object_module policy_module = {.check = check};

lapse_result policies_validate(const struct command *command, struct lapse_error *error)
{
    (void)command;
    return lapse_fail(error, LAPSE_UNIMPLEMENTED, "not yet");
}

lapse_result policies_apply(struct apply *apply)
{
    (void)apply;
    return lapse_failed(LAPSE_UNIMPLEMENTED);
}

lapse_result policies_decide(struct apply *apply, struct grant *terms)
{
    (void)apply;
    (void)terms;
    return lapse_ok();
}

void policies_free(struct store *store)
{
    (void)store;
}

bool policies_disallow(const struct store *store, uint32_t slot)
{
    (void)store;
    (void)slot;
    return false;
}
