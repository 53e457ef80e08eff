#include "store/governance.h"

static const char *check(const struct store *store, const struct object *object)
{
    (void)store;
    (void)object;
    return "eligibility is not supported yet";
}

const struct object_module eligibility_module = {.check = check};
const struct object_module campaign_module = {.check = check};

lapse_result eligibility_validate(const struct command *command, struct lapse_error *error)
{
    (void)command;
    return lapse_fail(error, LAPSE_UNIMPLEMENTED, "not yet");
}

lapse_result eligibility_apply(struct apply *apply)
{
    (void)apply;
    return lapse_failed(LAPSE_UNIMPLEMENTED);
}

struct slice eligibility_find(const struct store *store, struct slice requester, const struct grant *terms,
                              int64_t now_ms)
{
    (void)store;
    (void)requester;
    (void)terms;
    (void)now_ms;
    return (struct slice){0};
}

void eligibility_used(struct apply *apply, struct slice name)
{
    (void)apply;
    (void)name;
}

uint32_t eligibility_remove_all(struct apply *apply, struct slice principal)
{
    (void)apply;
    (void)principal;
    return 0;
}

void eligibility_free(struct store *store)
{
    (void)store;
}
