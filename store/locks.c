#include "store/governance.h"

static const char *check(const struct store *store, const struct object *object)
{
    (void)store;
    (void)object;
    return "locks are not supported yet";
}

const struct object_module lock_module = {.check = check};

lapse_result locks_validate(const struct command *command, struct lapse_error *error)
{
    (void)command;
    return lapse_fail(error, LAPSE_UNIMPLEMENTED, "not yet");
}

lapse_result locks_apply(struct apply *apply)
{
    (void)apply;
    return lapse_failed(LAPSE_UNIMPLEMENTED);
}

bool locks_deny(const struct store *store, const struct grant_query *query, int64_t now_ms)
{
    (void)store;
    (void)query;
    (void)now_ms;
    return false;
}

const struct object *locks_of_principal(const struct store *store, struct slice principal, int64_t now_ms)
{
    (void)store;
    (void)principal;
    (void)now_ms;
    return NULL;
}

const struct object *locks_of_resource(const struct store *store, struct slice resource, int64_t now_ms)
{
    return locks_of_principal(store, resource, now_ms);
}

const struct object *locks_of_point(const struct store *store, struct slice id, int64_t now_ms)
{
    return locks_of_principal(store, id, now_ms);
}

void locks_free(struct store *store)
{
    (void)store;
}
