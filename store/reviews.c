#include "store/governance.h"

static const char *check(const struct store *store, const struct object *object)
{
    (void)store;
    (void)object;
    return "reviews are not supported yet";
}

const struct object_module review_module = {.check = check};

lapse_result reviews_validate(const struct command *command, struct lapse_error *error)
{
    (void)command;
    return lapse_fail(error, LAPSE_UNIMPLEMENTED, "not yet");
}

lapse_result reviews_apply(struct apply *apply)
{
    (void)apply;
    return lapse_failed(LAPSE_UNIMPLEMENTED);
}

void reviews_open(struct apply *apply, uint32_t slot)
{
    (void)apply;
    (void)slot;
}

const struct object *reviews_bar(const struct store *store, struct slice principal)
{
    (void)store;
    (void)principal;
    return NULL;
}

bool reviews_have_room(const struct store *store)
{
    return store->objects.kinds[OBJECT_REVIEW].n < LIMIT_REVIEWS;
}
